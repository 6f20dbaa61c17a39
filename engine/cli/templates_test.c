/*
 * templates_test.c - hermod templates test: the fixtures of a folder, without Redis
 */
#include <stdio.h>
#include <stdlib.h>

#include "cli/templates_int.h"
#include "templates/files.h"
#include "templates/fixture.h"

static void print_problem(void *arg, const struct hm_err *e)
{
	tcli_print_error(NULL, e);
}

/* Which templates no fixture was about. */
static size_t untested(const struct hm_template_set *set, const struct hm_template *const *tested, size_t n)
{
	size_t count = 0;

	for (size_t i = 0; i < hm_template_set_count(set); i++) {
		const struct hm_template *t = hm_template_set_at(set, i);
		bool found = !t || hm_template_is_fragment(t);

		for (size_t k = 0; k < n && !found; k++)
			found = tested[k] == t;
		count += !found;
	}
	return count;
}

static int run_all(const struct tcli_args *a, const struct hm_fixture_opts *o, const struct hm_tfiles *f)
{
	const struct hm_template **tested = calloc(f->n + 1, sizeof(*tested));
	struct hm_fixture_result sum = {.passed = 0}, r;
	struct hm_buf out, text;
	struct hm_err e = {0};
	size_t left;

	if (!tested) {
		fprintf(stderr, "hermod: out of memory\n");
		return 1;
	}
	for (size_t i = 0; i < f->n; i++) {
		hm_buf_init(&out, 64u << 20);
		hm_buf_init(&text, 64u << 20);
		hm_fixture_run(f->v[i].name, f->v[i].path, f->v[i].text, o, &out, &text, &r);
		if (r.updated && (text.err || hm_tfile_write(f->v[i].path, hm_buf_str(&text), &e))) {
			if (text.err)
				hm_err_set(&e, text.err, "%s: too much to write", f->v[i].path);
			(void)tcli_failed(&e);
			r.failed += r.updated;
			r.updated = 0;
		}
		if (r.failed == 0)
			printf("%s %s (%zu)\n", r.updated ? "new " : "ok  ", f->v[i].path,
			       r.passed + r.updated);
		tcli_write(hm_buf_str(&out));
		tested[i] = r.tmpl;
		sum.passed += r.passed;
		sum.failed += r.failed;
		sum.updated += r.updated;
		hm_buf_fini(&out);
		hm_buf_fini(&text);
	}
	left = untested(o->set, tested, f->n);
	printf("%zu passed, %zu failed", sum.passed, sum.failed);
	if (sum.updated)
		printf(", %zu updated", sum.updated);
	printf(" in %zu file%s", f->n, f->n == 1 ? "" : "s");
	if (left)
		printf("; %zu template%s without tests", left, left == 1 ? "" : "s");
	printf("\n");
	free(tested);
	return sum.failed ? 1 : 0;
}

int tcli_test(const struct tcli_args *a)
{
	struct hm_template_opts opts;
	struct hm_fixture_opts o = {.update = a->update};
	struct hm_template_set *set = NULL;
	struct hm_tfiles f = {.n = 0};
	struct hm_config *cfg;
	struct hm_book *book;
	bool read = false;
	int rc = 1;

	if (hm_config_load(a->conf.path, a->conf.sets, &cfg, print_problem, NULL) != 0)
		return 2;
	book = hm_book_new();
	tcli_opts(cfg, &opts);
	if (!book || hm_book_load_files(book, hm_str_c(a->what), &opts, print_problem, NULL) != 0)
		goto out;
	read = true;
	if (hm_tfiles_read(&f, a->what, true, print_problem, NULL))
		goto out;
	if (f.n == 0) {
		fprintf(stderr, "hermod: there are no *.test.yaml files in %s\n", a->what);
		goto out;
	}
	set = hm_book_take(book);
	o.set = set;
	o.cfg = cfg;
	rc = run_all(a, &o, &f);
out:
	if (read)
		hm_tfiles_free(&f);
	hm_template_set_unref(set);
	hm_book_free(book);
	hm_config_unref(cfg);
	return rc;
}
