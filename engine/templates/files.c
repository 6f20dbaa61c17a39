/*
 * files.c - folders of documents, read and written
 */
#include "templates/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "templates/store.h"

struct walk {
	struct hm_tfiles *f;
	bool fixtures;
	hm_report_fn report;
	void *arg;
	size_t wrong;
};

static void HM_PRINTF(3, 4) complain(struct walk *w, const char *path, const char *fmt, ...)
{
	struct hm_err e;
	char text[sizeof(e.text)];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	hm_err_clear(&e);
	hm_err_at(&e, HM_EIO, path, 0, 0, "%s", text);
	w->wrong++;
	w->report(w->arg, &e);
}

static bool add(struct hm_tfiles *f, const struct hm_tfile *x)
{
	if (f->n == f->cap) {
		size_t cap = f->cap ? 2 * f->cap : 64;
		struct hm_tfile *v = realloc(f->v, cap * sizeof(*v));

		if (!v)
			return false;
		f->v = v;
		f->cap = cap;
	}
	f->v[f->n++] = *x;
	return true;
}

static bool read_whole(int fd, struct hm_buf *b)
{
	ssize_t n;

	while (hm_buf_reserve(b, 65536) && (n = read(fd, b->p + b->len, 65536)) != 0) {
		if (n < 0)
			return false;
		b->len += (size_t)n;
	}
	return true;
}

static void take(struct walk *w, const char *path, struct hm_str name)
{
	struct hm_tfile x = {.name = hm_arena_str(&w->f->arena, name),
			     .path = hm_arena_strdup(&w->f->arena, hm_str_c(path))};
	struct hm_err e = {0};
	struct hm_buf b;
	int fd;

	if (hm_tstore_check_name(name, &e)) {
		complain(w, path, "%s", e.text);
		return;
	}
	hm_buf_init(&b, HM_TSTORE_DOC_MAX + 65536);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || !read_whole(fd, &b)) {
		complain(w, path, "cannot be read: %s", strerror(errno));
	} else if (b.len > HM_TSTORE_DOC_MAX) {
		complain(w, path, "has more than the %u bytes a template may have", HM_TSTORE_DOC_MAX);
	} else if (b.err != 0) {
		complain(w, path, "there is no memory for so many templates");
	} else {
		x.text = hm_arena_str(&w->f->arena, b.len ? hm_buf_str(&b) : HM_STR(""));
		if (!x.name.p || !x.path || !x.text.p || w->f->n == HM_TFILES_MAX || !add(w->f, &x))
			complain(w, path, "there is no memory for so many templates");
	}
	if (fd >= 0)
		close(fd);
	hm_buf_fini(&b);
}

static void walk_dir(struct walk *w, const char *dir, const char *begin, int depth)
{
	DIR *dp = opendir(dir);
	struct dirent *de;

	if (!dp) {
		complain(w, dir, "cannot be read: %s", strerror(errno));
		return;
	}
	while ((de = readdir(dp)) != NULL) {
		struct hm_str file = hm_str_c(de->d_name);
		char path[4096], name[1024];
		bool fixture = hm_str_ends(file, HM_STR(".test.yaml"));
		struct stat st;

		if (file.p[0] == '.')
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", dir, de->d_name) >= (int)sizeof(path) ||
		    snprintf(name, sizeof(name), "%s%s", begin, de->d_name) >= (int)sizeof(name) - 1) {
			complain(w, dir, "%s: the name is too long", de->d_name);
			continue;
		}
		if (stat(path, &st) != 0) {
			complain(w, path, "cannot be read: %s", strerror(errno));
		} else if (S_ISDIR(st.st_mode)) {
			if (depth == HM_TFILES_DEPTH) {
				complain(w, path, "folders are nested deeper than %d", HM_TFILES_DEPTH);
				continue;
			}
			strcat(name, "/");
			walk_dir(w, path, name, depth + 1);
		} else if (S_ISREG(st.st_mode) && hm_str_ends(file, HM_STR(".yml"))) {
			complain(w, path, "would not be read: templates end in .yaml");
		} else if (S_ISREG(st.st_mode) && fixture == w->fixtures &&
			   hm_str_ends(file, HM_STR(".yaml"))) {
			size_t end = fixture ? sizeof(".test.yaml") - 1 : sizeof(".yaml") - 1;

			take(w, path, hm_str_n(name, strlen(name) - end));
		}
	}
	closedir(dp);
}

static int by_name(const void *a, const void *b)
{
	const struct hm_tfile *x = a, *y = b;

	return hm_str_cmp(x->name, y->name);
}

size_t hm_tfiles_read(struct hm_tfiles *f, const char *dir, bool fixtures, hm_report_fn report, void *arg)
{
	struct walk w = {.f = f, .fixtures = fixtures, .report = report, .arg = arg};

	memset(f, 0, sizeof(*f));
	hm_arena_init(&f->arena, NULL, 0);
	walk_dir(&w, dir, "", 0);
	if (f->n > 1)
		qsort(f->v, f->n, sizeof(*f->v), by_name);
	return w.wrong;
}

void hm_tfiles_free(struct hm_tfiles *f)
{
	free(f->v);
	f->v = NULL;
	f->n = 0;
	hm_arena_fini(&f->arena);
}

const struct hm_tfile *hm_tfiles_find(const struct hm_tfiles *f, struct hm_str name)
{
	struct hm_tfile key = {.name = name};

	return f->n ? bsearch(&key, f->v, f->n, sizeof(*f->v), by_name) : NULL;
}

static int make_folders(const char *path, struct hm_err *e)
{
	char p[4096];

	if ((size_t)snprintf(p, sizeof(p), "%s", path) >= sizeof(p))
		return hm_err_set(e, HM_EINVAL, "%.80s...: the path is too long", path);
	for (char *c = p + 1; *c; c++) {
		if (*c != '/')
			continue;
		*c = '\0';
		if (mkdir(p, 0777) != 0 && errno != EEXIST)
			return hm_err_set(e, HM_EIO, "cannot make the folder %s: %s", p, strerror(errno));
		*c = '/';
	}
	return 0;
}

int hm_tfile_write(const char *path, struct hm_str text, struct hm_err *e)
{
	struct stat st;
	char tmp[4096];
	size_t at = 0;
	int fd, failed = 0;

	if (make_folders(path, e))
		return e->code;
	if ((size_t)snprintf(tmp, sizeof(tmp), "%s.XXXXXX", path) >= sizeof(tmp))
		return hm_err_set(e, HM_EINVAL, "%.80s...: the path is too long", path);
	fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0)
		return hm_err_set(e, HM_EIO, "cannot write beside %s: %s", path, strerror(errno));
	while (at < text.len) {
		ssize_t n = write(fd, text.p + at, text.len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			failed = errno;
			break;
		}
		at += (size_t)n;
	}
	/* mkstemp makes it private; the others of the folder are what they were, or what the umask says */
	if (stat(path, &st) == 0) {
		(void)fchmod(fd, st.st_mode & 0777);
	} else {
		mode_t mask = umask(0);

		(void)umask(mask);
		(void)fchmod(fd, 0666 & ~mask);
	}
	if (!failed && fsync(fd) != 0)
		failed = errno;
	if (close(fd) != 0 && !failed)
		failed = errno;
	if (!failed && rename(tmp, path) != 0)
		failed = errno;
	if (failed) {
		hm_err_set(e, HM_EIO, "cannot write %s: %s", path, strerror(failed));
		(void)unlink(tmp);
		return e->code;
	}
	return 0;
}
