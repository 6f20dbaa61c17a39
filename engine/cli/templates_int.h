/*
 * templates_int.h - what the files of `hermod templates` share
 *
 * templates.c        the words of the command line; list, show, and the one-line changes
 * templates_store.c  one question to Redis at a time; what is published as a book to check against
 * templates_files.c  push, pull, diff
 * templates_test.c   test
 */
#ifndef HM_CLI_TEMPLATES_INT_H
#define HM_CLI_TEMPLATES_INT_H

#include "cli/queue_link.h"
#include "templates/check.h"
#include "templates/store.h"
#include "templates/templates.h"

struct tcli_args {
	struct hm_conf_args conf;
	const char *redis, *note, *what; /* what: NAME, DIR or PREFIX */
	bool json, publish, dry_run, force, published, update;
};

struct tcli {
	const struct tcli_args *a;
	struct hm_queue_link q;
	struct hm_arena arena;
	struct hm_str prefix, by;
	struct hm_template_opts opts; /* `with` is `set`, once loaded */
	struct hm_book *book;
	struct hm_template_set *set; /* what is published, and the files of templates.dir */
	struct hm_templates *sync;
};

/* -- templates_store.c -- */
int tcli_open(struct tcli *c, const struct tcli_args *a) HM_MUSTCHECK;
void tcli_close(struct tcli *c);
void tcli_opts(const struct hm_config *cfg, struct hm_template_opts *o);
/* Everything published into book and set. Prints what is wrong. */
int tcli_load(struct tcli *c) HM_MUSTCHECK;
struct tcli_state { /* one template as it is now; texts in the arena */
	bool there;
	struct hm_tstore_info info;
	struct hm_str draft, current, field; /* p NULL: not there; field: the one asked for, "v3" */
	struct hm_reply reply;		     /* of hm_tstore_get */
};
int tcli_get(struct tcli *c, struct hm_str name, struct hm_str field, struct tcli_state *s,
	     struct hm_err *e) HM_MUSTCHECK;
/* Any of the reading functions of store.h, waited for. */
typedef void (*tcli_send_fn)(struct tcli *c, void *what, hm_reply_fn fn, void *arg);
int tcli_ask(struct tcli *c, tcli_send_fn send, void *what, struct hm_reply *r,
	     struct hm_err *e) HM_MUSTCHECK;
/* 0 done, HM_E otherwise with the sentence; *same: it was so already. */
int tcli_change(struct tcli *c, struct hm_tstore_change *x, uint32_t *version_r, uint32_t *current_r,
		bool *same, struct hm_err *e) HM_MUSTCHECK;
void tcli_print_error(void *arg,
		      const struct hm_err *e); /* a hm_report_fn; arg: size_t that counts, or NULL */
void tcli_write(struct hm_str s);	       /* to stdout */
int tcli_failed(const struct hm_err *e);       /* prints, returns 1 */
/* kind and description of a document, as the index keeps them. */
void tcli_describe(struct hm_tstore_change *x, const struct hm_template *t, struct hm_arena *a);

/* -- templates_files.c -- */
int tcli_push(const struct tcli_args *a), tcli_pull(const struct tcli_args *a),
	tcli_diff(const struct tcli_args *a);
/* -- templates_test.c -- */
int tcli_test(const struct tcli_args *a);

#endif
