/*
 * check.h - may this be stored? The checks before a change of a managed template
 *
 * Against the set of published templates given in opts->with: what is stored was right when it was stored. Two people who
 * change two templates in the same moment can pass each other; rendering then says what is missing, as for any template.
 *
 * Threads: any. Memory: the heap, given back before return, but for *t_r.
 */
#ifndef HM_TEMPLATES_CHECK_H
#define HM_TEMPLATES_CHECK_H

#include "content/content.h"

/* Compiles the document under its name: mistakes go to report. 0: *t_r is the caller's (may be NULL). */
int hm_tcheck_document(struct hm_str name, struct hm_str doc, const struct hm_template_opts *opts,
		       hm_report_fn report, void *arg, struct hm_template **t_r) HM_MUSTCHECK;
/* Would every template that includes the fragment `name` still be right if the version jobs get became `doc`, or, with
 * doc empty, if there was none? Reports a sentence for each that would not, returns their number. */
size_t hm_tcheck_users(struct hm_str name, struct hm_str doc, const struct hm_template_opts *opts,
		       hm_report_fn report, void *arg);

/* The parts of it. In b, a fork of the book that `set` is of, `t` becomes what `name` stands for (NULL: nothing);
 * pinned versions stay. Takes t over; its version must be HM_TCHECK_VERSION. */
#define HM_TCHECK_VERSION 1000000
int hm_tcheck_overlay(struct hm_book *b, const struct hm_template_set *set, struct hm_str name,
		      struct hm_template *t) HM_MUSTCHECK;
/* Reports a sentence for each template that is the same in both sets, right in `before` and wrong in `after`. */
size_t hm_tcheck_broken(const struct hm_template_set *before, const struct hm_template_set *after,
			const struct hm_template_opts *opts, hm_report_fn report, void *arg);

#endif
