/*
 * templates_files.c - hermod templates push | pull | diff: a folder against the store
 *
 * push, in order: read all files; ask what Redis has; decide what changes; try all changes together on a copy of the
 * book, so that files may need each other; only then store, fragments before what includes them. Each change names the
 * state it was decided on, so what somebody changed meanwhile is not lost but refused.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/templates_int.h"
#include "templates/diff.h"
#include "templates/files.h"

enum todo { NOTHING, DRAFT, PUBLISH, PUBLISH_DRAFT };
struct item {
	const struct hm_tfile *file;
	struct tcli_state was;
	enum todo todo;
	struct hm_template *t; /* compiled */
	bool done;
};

static const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

/* -- push ----------------------------------------------------------------------------------------- */

/* What is to be done with a file; said when it cannot. */
static bool decide(struct tcli *c, struct item *it)
{
	const struct tcli_state *s = &it->was;
	struct hm_str text = it->file->text;
	bool is_current = s->current.p && hm_str_eq(s->current, text);
	bool is_draft = s->draft.p && hm_str_eq(s->draft, text);

	if (is_current || (is_draft && !c->a->publish))
		it->todo = NOTHING;
	else if (is_draft)
		it->todo = PUBLISH_DRAFT;
	else
		it->todo = c->a->publish ? PUBLISH : DRAFT;
	if ((it->todo == DRAFT || it->todo == PUBLISH) && s->draft.p && !c->a->force &&
	    !hm_str_eq(s->info.draft_by, c->by)) {
		fprintf(stderr,
			"hermod: %s: \"%.*s\" has a draft of %.*s that differs; pull or look at it first "
			"(hermod "
			"templates show %.*s@draft), or --force replaces it\n",
			it->file->path, HM_STRF(it->file->name), HM_STRF(s->info.draft_by),
			HM_STRF(it->file->name));
		return false;
	}
	return true;
}

static bool ask_all(struct tcli *c, struct item *v, size_t n)
{
	struct hm_err e = {0};
	bool ok = true;

	for (size_t i = 0; i < n; i++) {
		if (tcli_get(c, v[i].file->name, HM_STR(""), &v[i].was, &e)) {
			(void)tcli_failed(&e);
			return false;
		}
		ok &= decide(c, &v[i]);
	}
	return ok;
}

/* Everything that changes, compiled against everything as it will be. Returns the number of mistakes. */
static size_t check_all(struct tcli *c, struct item *v, size_t n)
{
	struct hm_template_opts o = c->opts;
	struct hm_template_set *after;
	struct hm_book *b = hm_book_fork(c->set);
	size_t wrong = 0;

	o.with = NULL;
	for (size_t i = 0; b && i < n; i++) {
		struct hm_template *t;

		if (v[i].todo == NOTHING)
			continue;
		if (hm_template_compile(v[i].file->name, HM_TCHECK_VERSION, v[i].file->text, v[i].file->path,
					&o, tcli_print_error, &wrong, &t))
			continue;
		v[i].t = hm_template_ref(t);
		if (hm_tcheck_overlay(b, c->set, v[i].file->name, t)) {
			hm_book_free(b);
			b = NULL;
		}
	}
	if (!b) {
		fprintf(stderr, "hermod: out of memory\n");
		return wrong + 1;
	}
	after = hm_book_take(b);
	o.with = after;
	/* beside files that are wrong themselves, what includes them would be blamed, too */
	for (size_t i = 0; i < n && wrong == 0; i++) {
		struct hm_template *t;

		if (v[i].todo != NOTHING &&
		    hm_template_compile(v[i].file->name, 0, v[i].file->text, v[i].file->path, &o,
					tcli_print_error, &wrong, &t) == 0)
			hm_template_unref(t);
	}
	if (wrong == 0 && c->a->publish)
		wrong += hm_tcheck_broken(c->set, after, &o, tcli_print_error, NULL);
	hm_template_set_unref(after);
	hm_book_free(b);
	return wrong;
}

static bool store(struct tcli *c, struct item *it)
{
	struct hm_tstore_change x = {
		.op = it->todo == DRAFT ? HM_TSTORE_SAVE : HM_TSTORE_PUBLISH,
		.name = it->file->name,
		.match = it->was.there ? it->was.info.etag : HM_STR("-"),
	};
	struct hm_err e = {0};
	uint32_t version;

	if (it->todo != PUBLISH_DRAFT)
		x.doc = it->file->text;
	tcli_describe(&x, it->t, &c->arena);
	if (tcli_change(c, &x, &version, NULL, NULL, &e)) {
		(void)tcli_failed(&e);
		return false;
	}
	if (it->todo == DRAFT)
		printf("%.*s: draft saved\n", HM_STRF(x.name));
	else
		printf("%.*s@%u: published\n", HM_STRF(x.name), version);
	it->done = true;
	return true;
}

static void not_yet(void *arg, const struct hm_err *e)
{
}

/* Fragments first, and among them those whose own fragments are there. */
static bool store_all(struct tcli *c, struct item *v, size_t n)
{
	struct hm_book *b = hm_book_fork(c->set);
	bool progress = true, ok = b != NULL;

	while (ok && progress) {
		progress = false;
		for (size_t i = 0; ok && i < n; i++) {
			struct hm_template_set *now;
			struct hm_template_opts o = c->opts;
			struct hm_template *t = NULL;
			int rc;

			if (v[i].done || v[i].todo == NOTHING || !hm_template_is_fragment(v[i].t))
				continue;
			now = hm_book_take(b);
			o.with = now;
			rc = hm_template_compile(v[i].file->name, 0, v[i].file->text, "", &o, not_yet, NULL,
						 &t);
			hm_template_unref(t);
			if (rc == 0) {
				ok = store(c, &v[i]) && hm_tcheck_overlay(b, c->set, v[i].file->name,
									  hm_template_ref(v[i].t)) == 0;
				progress = true;
			}
			hm_template_set_unref(now);
		}
	}
	hm_book_free(b);
	for (size_t i = 0; ok && i < n; i++)
		if (!v[i].done && v[i].todo != NOTHING)
			ok = store(c, &v[i]);
	return ok;
}

static void say_plan(const struct item *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].todo == DRAFT)
			printf("%.*s: would be saved as a draft\n", HM_STRF(v[i].file->name));
		else if (v[i].todo != NOTHING)
			printf("%.*s: would be published as version %u\n", HM_STRF(v[i].file->name),
			       v[i].was.info.latest + 1);
}

int tcli_push(const struct tcli_args *a)
{
	struct hm_tfiles files;
	struct item *v = NULL;
	struct tcli c;
	size_t wrong = hm_tfiles_read(&files, a->what, false, tcli_print_error, NULL), todo = 0, done = 0;
	int rc = 1;

	if (wrong == 0 && files.n == 0)
		fprintf(stderr, "hermod: there are no *.yaml files in %s\n", a->what);
	if (wrong || files.n == 0) {
		hm_tfiles_free(&files);
		return 1;
	}
	if (tcli_open(&c, a)) {
		hm_tfiles_free(&files);
		return 1;
	}
	v = calloc(files.n, sizeof(*v));
	for (size_t i = 0; v && i < files.n; i++)
		v[i].file = &files.v[i];
	if (!v || tcli_load(&c) || !ask_all(&c, v, files.n))
		goto out;
	wrong = check_all(&c, v, files.n);
	for (size_t i = 0; i < files.n; i++)
		todo += v[i].todo != NOTHING;
	if (wrong) {
		fprintf(stderr, "%zu mistake%s in %s; nothing was stored\n", wrong, plural(wrong), a->what);
		goto out;
	}
	if (a->dry_run) {
		say_plan(v, files.n);
		rc = 0;
	} else if (store_all(&c, v, files.n)) {
		rc = 0;
	}
	for (size_t i = 0; i < files.n; i++)
		done += v[i].done;
	fprintf(stderr, "%zu template%s, %zu %s, %zu unchanged\n", files.n, plural(files.n),
		a->dry_run ? todo : done,
		a->dry_run   ? "would change"
		: a->publish ? "published"
			     : "saved as drafts",
		files.n - todo);
	if (rc && done < todo)
		fprintf(stderr, "hermod: %zu of them not stored; push again when that is settled\n",
			todo - done);
out:
	for (size_t i = 0; v && i < files.n; i++)
		hm_template_unref(v[i].t);
	free(v);
	hm_tfiles_free(&files);
	tcli_close(&c);
	return rc;
}

/* -- all names of the store -------------------------------------------------------------------------- */

static void send_index(struct tcli *c, void *what, hm_reply_fn fn, void *arg)
{
	hm_tstore_index(c->q.redis, c->prefix, fn, arg);
}

static int by_text(const void *a, const void *b)
{
	const struct hm_str *x = a, *y = b;

	return hm_str_cmp(*x, *y);
}

/* Sorted, in the arena. */
static bool all_names(struct tcli *c, struct hm_str **v_r, size_t *n_r)
{
	struct hm_reply r;
	struct hm_err e = {0};
	struct hm_str *v;
	size_t n = 0;

	if (tcli_ask(c, send_index, NULL, &r, &e)) {
		(void)tcli_failed(&e);
		return false;
	}
	v = hm_arena_alloc(&c->arena, (r.n / 2 + 1) * sizeof(*v));
	for (size_t i = 0; v && i + 1 < r.n; i += 2)
		if (hm_tstore_check_name(r.v[i].s, &e) == 0) /* it becomes a path */
			v[n++] = r.v[i].s;
	if (n > 1)
		qsort(v, n, sizeof(*v), by_text);
	*v_r = v;
	*n_r = n;
	return v != NULL;
}

/* -- pull --------------------------------------------------------------------------------------------- */

struct pulled {
	struct hm_str name, text;
	uint32_t version;
	char *path;
};

static bool path_of(struct tcli *c, struct pulled *p)
{
	struct hm_str path = hm_arena_printf(&c->arena, "%s/%.*s.yaml", c->a->what, HM_STRF(p->name));

	p->path = path.p ? hm_arena_strdup(&c->arena, path) : NULL;
	return p->path != NULL;
}

int tcli_pull(const struct tcli_args *a)
{
	size_t n = 0, names_n = 0, differ = 0, written = 0, same = 0;
	struct hm_tfiles files = {.n = 0};
	struct pulled *v = NULL;
	struct tcli_state s;
	struct hm_err e = {0};
	struct hm_str *names;
	bool there;
	struct tcli c;
	int rc = 1;

	there = access(a->what, F_OK) == 0;
	if (!there && errno != ENOENT) {
		fprintf(stderr, "hermod: %s: %s\n", a->what, strerror(errno));
		return 1;
	}
	if (there && hm_tfiles_read(&files, a->what, false, tcli_print_error, NULL)) {
		hm_tfiles_free(&files);
		return 1;
	}
	if (tcli_open(&c, a)) {
		if (there)
			hm_tfiles_free(&files);
		return 1;
	}
	if (!all_names(&c, &names, &names_n) || !(v = calloc(names_n + 1, sizeof(*v))))
		goto out;
	for (size_t i = 0; i < names_n; i++) {
		const struct hm_tfile *f = hm_tfiles_find(&files, names[i]);

		if (tcli_get(&c, names[i], HM_STR(""), &s, &e)) {
			(void)tcli_failed(&e);
			goto out;
		}
		if (!s.current.p)
			continue;
		if (f && hm_str_eq(f->text, s.current)) {
			same++;
			continue;
		}
		v[n] = (struct pulled){.name = names[i], .text = s.current, .version = s.info.current};
		if (!path_of(&c, &v[n]))
			goto out;
		if (f && !a->force) {
			fprintf(stderr, "hermod: %s differs from %.*s@%u\n", f->path, HM_STRF(names[i]),
				s.info.current);
			differ++;
		}
		n++;
	}
	if (differ) {
		fprintf(stderr, "hermod: nothing was written; --force replaces %s\n",
			differ == 1 ? "it" : "them");
		goto out;
	}
	rc = 0;
	for (size_t i = 0; i < n; i++) {
		if (hm_tfile_write(v[i].path, v[i].text, &e)) {
			rc = tcli_failed(&e);
			break;
		}
		printf("%s: %.*s@%u\n", v[i].path, HM_STRF(v[i].name), v[i].version);
		written++;
	}
	fprintf(stderr, "%zu file%s written, %zu unchanged\n", written, plural(written), same);
out:
	free(v);
	if (there)
		hm_tfiles_free(&files);
	tcli_close(&c);
	return rc;
}

/* -- diff ----------------------------------------------------------------------------------------------- */

/* true when they differ */
static bool diff_one(struct tcli *c, struct hm_str name, const struct hm_tfile *f, const struct tcli_state *s)
{
	bool draft = s->there && s->draft.p && !c->a->published;
	struct hm_str stored = draft ? s->draft : s->current;
	char a[HM_TSTORE_NAME_MAX + 24], b[4096];
	struct hm_buf out;
	bool differ;

	if (!f && !stored.p)
		return false; /* archived: nothing that a file should hold */
	if (!stored.p)
		(void)snprintf(a, sizeof(a), "/dev/null");
	else if (draft)
		(void)snprintf(a, sizeof(a), "%.*s@draft", HM_STRF(name));
	else
		(void)snprintf(a, sizeof(a), "%.*s@%u", HM_STRF(name), s->info.current);
	(void)snprintf(b, sizeof(b), "%s", f ? f->path : "/dev/null");
	hm_buf_init(&out, 16u << 20);
	differ = hm_diff(&out, a, stored.p ? stored : HM_STR(""), b, f ? f->text : HM_STR(""));
	if (!differ && !(f && stored.p)) { /* an empty file that is new */
		differ = true;
		hm_buf_printf(&out, "--- %s\n+++ %s\n", a, b);
	}
	tcli_write(hm_buf_str(&out));
	hm_buf_fini(&out);
	return differ;
}

int tcli_diff(const struct tcli_args *a)
{
	size_t n = 0, i = 0, k = 0, differ = 0;
	struct hm_tfiles files;
	struct hm_str *names;
	struct tcli_state s;
	struct hm_err e = {0};
	struct tcli c;
	int rc = 1;

	if (hm_tfiles_read(&files, a->what, false, tcli_print_error, NULL)) {
		hm_tfiles_free(&files);
		return 1;
	}
	if (tcli_open(&c, a)) {
		hm_tfiles_free(&files);
		return 1;
	}
	if (!all_names(&c, &names, &n))
		goto out;
	while (i < n || k < files.n) {
		int order = i == n ? 1 : k == files.n ? -1 : hm_str_cmp(names[i], files.v[k].name);
		struct hm_str name = order <= 0 ? names[i] : files.v[k].name;

		if (tcli_get(&c, name, HM_STR(""), &s, &e)) {
			(void)tcli_failed(&e);
			goto out;
		}
		differ += diff_one(&c, name, order >= 0 ? &files.v[k] : NULL, &s);
		i += order <= 0;
		k += order >= 0;
	}
	if (differ)
		fprintf(stderr, "%zu template%s\n", differ, differ == 1 ? " differs" : "s differ");
	rc = differ ? 1 : 0;
out:
	hm_tfiles_free(&files);
	tcli_close(&c);
	return rc;
}
