/*
 * check.c - a change is tried on a copy of the book
 */
#include "templates/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "templates/store.h"

struct first {
	struct hm_err e;
	bool any;
};

static void keep_first(void *arg, const struct hm_err *e)
{
	struct first *f = arg;

	if (!f->any)
		f->e = *e;
	f->any = true;
}

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

/* The book with `doc` as what the fragment's name stands for; pinned versions stay. NULL: no memory. */
static struct hm_book *with_change(struct hm_str name, struct hm_str doc, const struct hm_template_opts *opts)
{
	struct hm_template **v = calloc(HM_TSTORE_VERSIONS + 1, sizeof(struct hm_template *)), *t = NULL;
	struct hm_template_set *set = hm_template_set_ref((struct hm_template_set *)(uintptr_t)opts->with);
	struct hm_book *b = v ? hm_book_fork(set) : NULL;
	struct first f = {.any = false};
	struct hm_err e = {0};
	char ref[HM_TSTORE_NAME_MAX + 16];
	size_t n = 0;

	if (b && doc.len &&
	    hm_template_compile(name, HM_TSTORE_VERSIONS + 1, doc, "", opts, keep_first, &f, &t)) {
		hm_book_free(b); /* that has been told already */
		b = NULL;
	}
	for (uint32_t i = 1; b && i <= HM_TSTORE_VERSIONS; i++) {
		const struct hm_template *old;

		(void)snprintf(ref, sizeof(ref), "%.*s@%u", HM_STRF(name), i);
		old = hm_template_find(set, hm_str_c(ref), &e);
		if (old)
			v[n++] = hm_template_ref((struct hm_template *)(uintptr_t)old);
	}
	if (b && t)
		v[n++] = t;
	if (b && hm_book_put(b, name, v, n, t ? HM_TSTORE_VERSIONS + 1 : 0)) {
		hm_book_free(b);
		b = NULL;
	}
	hm_template_set_unref(set);
	free(v);
	return b;
}

/* Compiling all of a large book for one fragment would be slow: those that include nothing are left out. */
static bool includes_something(const struct hm_template *t)
{
	struct hm_str s = hm_template_source(t);

	return hm_str_find(s, HM_STR("include")) >= 0 || hm_str_find(s, HM_STR("import")) >= 0;
}

size_t hm_tcheck_users(struct hm_str name, struct hm_str doc, const struct hm_template_opts *opts,
		       hm_report_fn report, void *arg)
{
	const struct hm_template_set *set = opts->with;
	struct hm_template_opts o = *opts;
	struct hm_template_set *changed;
	struct hm_book *b;
	size_t wrong = 0;

	hm_assert(set);
	b = with_change(name, doc, opts);
	if (!b) {
		out_of_memory(report, arg);
		return 1;
	}
	changed = hm_book_take(b);
	o.with = changed;
	for (size_t i = 0; i < hm_template_set_count(set); i++) {
		const struct hm_template *t = hm_template_set_at(set, i);
		struct hm_template *again = NULL;
		struct first f = {.any = false};

		if (!t || hm_str_eq(hm_template_name(t), name) || !includes_something(t))
			continue;
		if (hm_template_compile(hm_template_name(t), 0, hm_template_source(t), "", &o, keep_first, &f,
					&again) == 0) {
			hm_template_unref(again);
			continue;
		}
		/* one that is wrong anyhow is not this change's fault */
		if (hm_template_compile(hm_template_name(t), 0, hm_template_source(t), "", opts, keep_first,
					&(struct first){.any = true}, &again) == 0)
			hm_template_unref(again);
		else
			continue;
		wrong++;
		hm_err_wrap(&f.e, "\"%.*s\" uses this fragment and would be wrong",
			    HM_STRF(hm_template_name(t)));
		f.e.line = f.e.col = 0; /* of another document */
		f.e.field[0] = '\0';
		report(arg, &f.e);
	}
	hm_template_set_unref(changed);
	hm_book_free(b);
	return wrong;
}
