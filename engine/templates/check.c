/*
 * check.c - a change is tried on a copy of the book
 */
#include "templates/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "templates/store.h"

static void out_of_memory(hm_report_fn report, void *arg)
{
	struct hm_err e;

	hm_err_clear(&e);
	hm_err_set(&e, HM_ENOMEM, "out of memory");
	report(arg, &e);
}

int hm_tcheck_document(struct hm_str name, struct hm_str doc, const struct hm_template_opts *opts,
		       hm_report_fn report, void *arg, struct hm_template **t_r)
{
	struct hm_template *t = NULL;
	struct hm_err e;
	int rc;

	hm_err_clear(&e);
	rc = hm_tstore_check_name(name, &e);
	if (rc == 0 && doc.len > HM_TSTORE_DOC_MAX)
		rc = hm_err_set(&e, HM_ELIMIT, "a document may have %u bytes", HM_TSTORE_DOC_MAX);
	if (rc) {
		report(arg, &e);
		return rc;
	}
	rc = hm_template_compile(name, 0, doc, "", opts, report, arg, &t);
	if (rc)
		return rc;
	if (t_r)
		*t_r = t;
	else
		hm_template_unref(t);
	return 0;
}

int hm_tcheck_overlay(struct hm_book *b, const struct hm_template_set *set, struct hm_str name,
		      struct hm_template *t)
{
	struct hm_template **v = calloc(HM_TSTORE_VERSIONS + 1, sizeof(struct hm_template *));
	char ref[HM_TSTORE_NAME_MAX + 16];
	size_t n = 0;
	int rc;

	if (!v) {
		hm_template_unref(t);
		return HM_ENOMEM;
	}
	for (uint32_t i = 1; i <= HM_TSTORE_VERSIONS; i++) {
		const struct hm_template *old;

		(void)snprintf(ref, sizeof(ref), "%.*s@%u", HM_STRF(name), i);
		old = hm_template_find(set, hm_str_c(ref), NULL);
		if (old)
			v[n++] = hm_template_ref((struct hm_template *)(uintptr_t)old);
	}
	if (t)
		v[n++] = t;
	rc = hm_book_put(b, name, v, n, t ? HM_TCHECK_VERSION : 0);
	free(v);
	return rc;
}

/* Compiling all of a large book for one fragment would be slow: those that include nothing are left out. */
static bool includes_something(const struct hm_template *t)
{
	struct hm_str s = hm_template_source(t);

	return hm_str_find(s, HM_STR("include")) >= 0 || hm_str_find(s, HM_STR("import")) >= 0;
}

size_t hm_tcheck_broken(const struct hm_template_set *before, const struct hm_template_set *after,
			const struct hm_template_opts *opts, hm_report_fn report, void *arg)
{
	struct hm_template_opts now = *opts, then = *opts;
	size_t wrong = 0;

	now.with = before;
	then.with = after;
	for (size_t i = 0; i < hm_template_set_count(before); i++) {
		const struct hm_template *t = hm_template_set_at(before, i);
		struct hm_err f, ignored;
		struct hm_template *again = NULL;
		struct hm_str name;

		if (!t || !includes_something(t))
			continue;
		name = hm_template_name(t);
		if (hm_template_find(after, name, NULL) != t)
			continue; /* it changes itself, and is checked for that */
		hm_err_clear(&f);
		if (hm_template_compile(name, 0, hm_template_source(t), "", &then, hm_err_keep_first, &f,
					&again) == 0) {
			hm_template_unref(again);
			continue;
		}
		/* one that is wrong anyhow is not this change's fault */
		hm_err_clear(&ignored);
		if (hm_template_compile(name, 0, hm_template_source(t), "", &now, hm_err_keep_first, &ignored,
					&again))
			continue;
		hm_template_unref(again);
		wrong++;
		hm_err_wrap(&f, "\"%.*s\", which uses it, would be wrong", HM_STRF(name));
		f.line = f.col = 0; /* of another document */
		f.field[0] = '\0';
		report(arg, &f);
	}
	return wrong;
}

size_t hm_tcheck_users(struct hm_str name, struct hm_str doc, const struct hm_template_opts *opts,
		       hm_report_fn report, void *arg)
{
	struct hm_template_set *before = hm_template_set_ref((struct hm_template_set *)(uintptr_t)opts->with),
			       *after;
	struct hm_book *b = hm_book_fork(before);
	struct hm_err f;
	struct hm_template *t = NULL;
	size_t wrong = 0;

	hm_err_clear(&f);
	if (doc.len &&
	    hm_template_compile(name, HM_TCHECK_VERSION, doc, "", opts, hm_err_keep_first, &f, &t)) {
		wrong = 1;
		report(arg, &f);
	} else if (!b || hm_tcheck_overlay(b, before, name, t)) {
		wrong = 1;
		out_of_memory(report, arg);
	} else {
		after = hm_book_take(b);
		wrong = hm_tcheck_broken(before, after, opts, report, arg);
		hm_template_set_unref(after);
	}
	hm_book_free(b);
	hm_template_set_unref(before);
	return wrong;
}
