/*
 * files.c - a folder of documents into the book
 *
 * All are compiled first and then linked against each other, so that their order does not matter. All
 * mistakes of all files are reported; one is enough to leave the book as it was.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "content/book_int.h"

#define DIR_DEPTH 8

struct loading {
	const struct hm_template_opts *o;
	hm_report_fn report;
	void *arg;
	struct reading **r;
	struct hm_template **t;
	size_t n, cap, errors;
};

static void HM_PRINTF(2, 3) fail(struct loading *l, const char *fmt, ...)
{
	struct hm_err e;
	char text[sizeof(e.text)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	hm_err_clear(&e);
	hm_err_set(&e, HM_EIO, "%s", text);
	l->errors++;
	l->report(l->arg, &e);
}

/* The whole file, at most HM_YAML_MAX_BYTES and one more. */
static bool read_file(struct loading *l, const char *path, struct hm_buf *b)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0;

	while (fd >= 0 && hm_buf_reserve(b, 65536) && (n = read(fd, b->p + b->len, 65536)) > 0)
		b->len += (size_t)n;
	if (fd < 0 || n < 0)
		fail(l, "cannot read %s: %s", path, strerror(errno));
	else if (b->err != 0)
		fail(l, "%s has more than the %u bytes a template may have", path, HM_YAML_MAX_BYTES);
	if (fd >= 0)
		close(fd);
	return fd >= 0 && n >= 0 && b->err == 0;
}

static void load_one(struct loading *l, const char *path, const char *name)
{
	struct hm_buf b;

	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 32;
		struct reading **r = realloc(l->r, cap * sizeof(struct reading *));

		if (r == NULL) {
			fail(l, "out of memory");
			return;
		}
		l->r = r;
		l->cap = cap;
	}
	hm_buf_init(&b, HM_YAML_MAX_BYTES + 65536);
	if (read_file(l, path, &b)) {
		if (hm_doc_open(hm_str_c(name), 0, hm_buf_str(&b), path, l->o, l->report, l->arg,
				&l->r[l->n]) == 0)
			l->n++;
		else
			l->errors++;
	}
	hm_buf_fini(&b);
}

static void load_dir(struct loading *l, const char *dir, const char *prefix, int depth)
{
	DIR *dp = opendir(dir);
	struct dirent *de;

	if (dp == NULL) {
		if (errno != ENOENT || depth > 0)
			fail(l, "cannot read the templates folder %s: %s", dir, strerror(errno));
		return;
	}
	while ((de = readdir(dp)) != NULL) {
		char path[4096], name[512];
		size_t len = strlen(de->d_name);
		struct stat st;

		if (de->d_name[0] == '.')
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", dir, de->d_name) >= (int)sizeof(path) ||
		    snprintf(name, sizeof(name) - 1, "%s%s", prefix, de->d_name) >= (int)sizeof(name) - 1) {
			fail(l, "%s/%s: the name is too long", dir, de->d_name);
			continue;
		}
		if (stat(path, &st) != 0) {
			fail(l, "%s: cannot be read: %s", path, strerror(errno));
			continue;
		}
		if (S_ISREG(st.st_mode) && len > 4 && strcmp(de->d_name + len - 4, ".yml") == 0)
			fail(l, "%s: would not be read: templates end in .yaml", path);
		if (S_ISDIR(st.st_mode) && depth < DIR_DEPTH) {
			strcat(name, "/");
			load_dir(l, path, name, depth + 1);
		} else if (S_ISREG(st.st_mode) && len > 5 && strcmp(de->d_name + len - 5, ".yaml") == 0 &&
			   (len <= 10 || strcmp(de->d_name + len - 10, ".test.yaml") != 0)) { /* fixtures */
			name[strlen(name) - 5] = '\0';
			load_one(l, path, name);
		}
	}
	closedir(dp);
}

static int by_name(const void *a, const void *b)
{
	const struct reading *const *x = a, *const *y = b;

	return hm_str_cmp((*x)->t->name, (*y)->t->name);
}

/* Links what compiled, in a snapshot that has all of it. false: something is wrong. */
static bool link_all(struct loading *l, struct hm_book *b, struct hm_template_set **set_r)
{
	struct hm_template **f = calloc(l->n + 1, sizeof(struct hm_template *));
	struct hm_template_set *s;
	size_t n = 0;

	for (size_t i = 0; f != NULL && i < l->n; i++) {
		l->errors += l->r[i]->errors;
		if (l->r[i]->errors == 0)
			f[n++] = hm_template_ref(l->r[i]->t);
	}
	s = f == NULL ? NULL : hm_book_with_files(b, f, n);
	free(f);
	if (s == NULL) {
		fail(l, "out of memory");
		return false;
	}
	/* Next to files that do not compile, what includes them would be blamed as well. */
	for (size_t i = 0; i < l->n; i++) {
		if (l->r[i]->errors > 0)
			continue;
		hm_doc_link(l->r[i], l->errors == 0 ? s : NULL);
	}
	for (size_t i = 0; i < l->n; i++)
		l->errors += l->r[i]->errors;
	*set_r = s;
	return l->errors == 0;
}

int hm_book_load_files(struct hm_book *b, struct hm_str dir, const struct hm_template_opts *o,
		       hm_report_fn report, void *arg)
{
	struct loading l = {.o = o, .report = report, .arg = arg};
	struct hm_template_set *set = NULL;
	char path[1024];
	bool ok;

	if (dir.len >= sizeof(path)) {
		fail(&l, "templates.dir is too long");
		return HM_ECONFIG;
	}
	snprintf(path, sizeof(path), "%.*s", HM_STRF(dir));
	hm_book_lock(b);
	if (dir.len > 0)
		load_dir(&l, path, "", 0);
	if (l.n > 1)
		qsort(l.r, l.n, sizeof(struct reading *), by_name);
	ok = link_all(&l, b, &set);
	for (size_t i = 0; i < l.n; i++)
		hm_template_unref(hm_doc_close(l.r[i]));
	if (!ok) {
		hm_template_set_unref(set);
		set = NULL;
	}
	hm_book_unlock(b, set);
	if (ok)
		HM_DEBUG(TMPL, "template files loaded", HM_SV("dir", dir), HM_U("templates", l.n));
	free(l.r);
	return ok ? 0 : HM_ECONFIG;
}
