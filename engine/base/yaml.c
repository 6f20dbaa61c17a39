/*
 * yaml.c - libyaml's events to a tree in the caller's arena
 *
 * An explicit stack, no recursion. Refused on purpose: anchors and aliases (a file
 * should say what it says where it says it), tags, several documents in one file.
 */
#include "base/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

struct level {
	struct hm_yaml *node, *last; /* the container and its newest child */
	bool have_key;
	struct hm_str key;
	int key_line, key_col;
};
struct build {
	struct hm_arena *arena;
	const char *file;
	struct level stack[HM_YAML_MAX_DEPTH];
	unsigned depth;
	struct hm_yaml *root;
	struct hm_err *e;
};

static int fail(struct build *b, yaml_mark_t at, int code, const char *what)
{
	return hm_err_at(b->e, code, b->file, (int)at.line + 1, (int)at.column + 1, "%s", what);
}

static bool is_null(const char *s, size_t n)
{
	struct hm_str t = hm_str_n(s, n);

	return n == 0 || hm_str_is(t, "~") || hm_str_is(t, "null") || hm_str_is(t, "Null") ||
	       hm_str_is(t, "NULL");
}

static int take_key(struct build *b, struct level *up, const yaml_event_t *ev)
{
	struct hm_str key;

	if (ev->type != YAML_SCALAR_EVENT)
		return fail(b, ev->start_mark, HM_EPARSE, "a key must be plain text");
	key = hm_arena_str(b->arena, hm_str_n((const char *)ev->data.scalar.value, ev->data.scalar.length));
	if (key.p == NULL)
		return fail(b, ev->start_mark, HM_ENOMEM, "out of memory");
	if (up->node->len == HM_YAML_MAX_KEYS) /* keeps the search for duplicates below cheap */
		return fail(b, ev->start_mark, HM_ELIMIT, "a map has more than 10000 keys");
	for (const struct hm_yaml *c = up->node->first; c; c = c->next)
		if (hm_str_eq(c->key, key))
			return hm_err_at(b->e, HM_EPARSE, b->file, (int)ev->start_mark.line + 1,
					 (int)ev->start_mark.column + 1,
					 "\"%.*s\" stands here twice; it is first on line %d", HM_STRF(key),
					 c->key_line);
	up->key = key;
	up->key_line = (int)ev->start_mark.line + 1;
	up->key_col = (int)ev->start_mark.column + 1;
	up->have_key = true;
	return 0;
}

/* Puts a node where it belongs: under the open container, or at the root. */
static void attach(struct build *b, struct hm_yaml *n)
{
	struct level *up = b->depth ? &b->stack[b->depth - 1] : NULL;

	if (up == NULL) {
		b->root = n;
		return;
	}
	if (up->node->type == HM_YAML_MAP) {
		n->key = up->key;
		n->key_line = up->key_line;
		n->key_col = up->key_col;
		up->have_key = false;
	}
	if (up->last)
		up->last->next = n;
	else
		up->node->first = n;
	up->last = n;
	up->node->len++;
}

static int add_node(struct build *b, const yaml_event_t *ev)
{
	struct level *up = b->depth ? &b->stack[b->depth - 1] : NULL;
	struct hm_yaml *n;

	if (up && up->node->type == HM_YAML_MAP && !up->have_key)
		return take_key(b, up, ev);
	n = hm_arena_zalloc(b->arena, sizeof(*n));
	if (n == NULL)
		return fail(b, ev->start_mark, HM_ENOMEM, "out of memory");
	n->file = b->file;
	n->line = (int)ev->start_mark.line + 1;
	n->col = (int)ev->start_mark.column + 1;
	if (ev->type == YAML_SCALAR_EVENT) {
		const char *text = (const char *)ev->data.scalar.value;

		n->quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
		n->literal = ev->data.scalar.style == YAML_LITERAL_SCALAR_STYLE;
		n->type = !n->quoted && is_null(text, ev->data.scalar.length) ? HM_YAML_NULL : HM_YAML_SCALAR;
		n->text = hm_arena_str(b->arena, hm_str_n(text, ev->data.scalar.length));
		if (n->text.p == NULL)
			return fail(b, ev->start_mark, HM_ENOMEM, "out of memory");
		attach(b, n);
		return 0;
	}
	n->type = ev->type == YAML_MAPPING_START_EVENT ? HM_YAML_MAP : HM_YAML_SEQ;
	attach(b, n);
	if (b->depth == HM_YAML_MAX_DEPTH)
		return fail(b, ev->start_mark, HM_ELIMIT, "values are nested deeper than 64 levels");
	b->stack[b->depth++] = (struct level){.node = n};
	return 0;
}

static int refuse_decorations(struct build *b, const yaml_event_t *ev)
{
	const yaml_char_t *anchor = NULL, *tag = NULL;

	switch (ev->type) {
	case YAML_ALIAS_EVENT:
		return fail(b, ev->start_mark, HM_EPARSE, "aliases (*name) are not allowed here");
	case YAML_SCALAR_EVENT:
		anchor = ev->data.scalar.anchor;
		tag = ev->data.scalar.tag;
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = ev->data.sequence_start.anchor;
		tag = ev->data.sequence_start.tag;
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = ev->data.mapping_start.anchor;
		tag = ev->data.mapping_start.tag;
		break;
	default: return 0;
	}
	if (anchor)
		return fail(b, ev->start_mark, HM_EPARSE, "anchors (&name) are not allowed here");
	if (tag)
		return fail(b, ev->start_mark, HM_EPARSE,
			    "tags (!name) are not allowed here; quote the text if it starts with !");
	return 0;
}

static int on_event(struct build *b, const yaml_event_t *ev, unsigned *documents)
{
	int rc = refuse_decorations(b, ev);

	if (rc < 0)
		return rc;
	switch (ev->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (++*documents > 1)
			return fail(b, ev->start_mark, HM_EPARSE,
				    "a second document (---) is not allowed in one file");
		return 0;
	case YAML_SCALAR_EVENT:
	case YAML_SEQUENCE_START_EVENT:
	case YAML_MAPPING_START_EVENT: return add_node(b, ev);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT: b->depth--; return 0;
	default: return 0;
	}
}

/* The byte at a mark; marks count characters, so it is walked to. */
static char char_at(struct hm_str text, yaml_mark_t at)
{
	struct hm_str rest = text, line = HM_STR("");
	size_t n;

	for (size_t i = 0; i <= at.line; i++)
		if (!hm_str_split(&rest, '\n', &line))
			return '\0';
	for (size_t i = 0; i < at.column && line.len; i++) {
		(void)hm_utf8_decode(line, &n);
		line = hm_str_n(line.p + n, line.len - n);
	}
	return line.len ? line.p[0] : '\0';
}

static int parser_error(struct build *b, const yaml_parser_t *p, struct hm_str text)
{
	yaml_mark_t at = p->problem_mark;

	if (p->error == YAML_MEMORY_ERROR)
		return hm_err_at(b->e, HM_ENOMEM, b->file, 0, 0, "out of memory");
	if (p->error == YAML_SCANNER_ERROR && char_at(text, at) == '\t')
		return fail(b, at, HM_EPARSE, "a tab stands here; YAML is indented with spaces");
	if (p->problem && strcmp(p->problem, "mapping values are not allowed in this context") == 0)
		return fail(b, at, HM_EPARSE,
			    "\"key: value\" does not fit here; is the line indented like those beside it?");
	if (p->error == YAML_READER_ERROR)
		return hm_err_at(b->e, HM_EPARSE, b->file, 0, 0, "%s at byte %zu", p->problem,
				 p->problem_offset);
	if (p->context)
		return hm_err_at(b->e, HM_EPARSE, b->file, (int)at.line + 1, (int)at.column + 1,
				 "%s (%s, from line %zu)", p->problem, p->context, p->context_mark.line + 1);
	return fail(b, at, HM_EPARSE, p->problem ? p->problem : "this is not YAML");
}

int hm_yaml_parse(struct hm_arena *a, const char *file, struct hm_str text, struct hm_yaml **root_r,
		  struct hm_err *e)
{
	struct build b = {.arena = a, .e = e};
	unsigned documents = 0;
	yaml_parser_t parser;
	bool done = false;
	int rc = 0;

	b.file = hm_arena_strdup(a, hm_str_c(file));
	if (b.file == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	if (text.len > HM_YAML_MAX_BYTES)
		return hm_err_at(e, HM_ELIMIT, file, 0, 0, "the file is larger than %u bytes",
				 HM_YAML_MAX_BYTES);
	if (!yaml_parser_initialize(&parser))
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	yaml_parser_set_input_string(&parser, (const unsigned char *)(text.p ? text.p : ""), text.len);
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	while (rc == 0 && !done) {
		yaml_event_t ev;

		if (!yaml_parser_parse(&parser, &ev)) {
			rc = parser_error(&b, &parser, text);
			break;
		}
		done = ev.type == YAML_STREAM_END_EVENT;
		rc = on_event(&b, &ev, &documents);
		yaml_event_delete(&ev);
	}
	yaml_parser_delete(&parser);
	if (rc == 0 && b.root == NULL) { /* an empty file is an empty document */
		b.root = hm_arena_zalloc(a, sizeof(*b.root));
		if (b.root == NULL)
			return hm_err_set(e, HM_ENOMEM, "out of memory");
		*b.root = (struct hm_yaml){
			.type = HM_YAML_NULL, .file = b.file, .line = 1, .col = 1, .text = HM_STR("")};
	}
	if (rc == 0)
		*root_r = b.root;
	return rc;
}

int hm_yaml_read_file(struct hm_arena *a, const char *path, struct hm_yaml **root_r, struct hm_err *e)
{
	struct hm_arena_mark before = hm_arena_mark(a);
	size_t len = 0, size;
	char *text = NULL;
	struct stat st;
	int fd, rc;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return hm_err_at(e, errno == ENOENT ? HM_ENOENT : HM_EIO, path, 0, 0, "cannot be opened: %s",
				 strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		rc = hm_err_at(e, HM_EIO, path, 0, 0, "is not a file");
		goto out;
	}
	if (st.st_size > (off_t)HM_YAML_MAX_BYTES) {
		rc = hm_err_at(e, HM_ELIMIT, path, 0, 0, "the file is larger than %u bytes",
			       HM_YAML_MAX_BYTES);
		goto out;
	}
	size = (size_t)st.st_size;
	text = hm_arena_alloc(a, size + 1);
	if (text == NULL) {
		rc = hm_err_set(e, HM_ENOMEM, "out of memory");
		goto out;
	}
	while (len < size) {
		ssize_t n = read(fd, text + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			rc = hm_err_at(e, HM_EIO, path, 0, 0, "cannot be read: %s", strerror(errno));
			goto out;
		}
		if (n == 0)
			break;
		len += (size_t)n;
	}
	rc = hm_yaml_parse(a, path, hm_str_n(text, len), root_r, e);
out:
	close(fd);
	if (rc < 0)
		hm_arena_rewind(a, before);
	return rc;
}

struct hm_yaml *hm_yaml_get(const struct hm_yaml *map, const char *key)
{
	struct hm_str k = hm_str_c(key);

	if (map == NULL || map->type != HM_YAML_MAP)
		return NULL;
	for (struct hm_yaml *c = map->first; c; c = c->next)
		if (hm_str_eq(c->key, k))
			return c;
	return NULL;
}

int hm_yaml_err(const struct hm_yaml *n, struct hm_err *e, int code, const char *fmt, ...)
{
	char text[sizeof(e->text)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	hm_err_at(e, code, n->file, n->line, n->col, "%s", text);
	if (n->key.p)
		hm_err_field(e, n->key.p);
	return code;
}

const char *hm_yaml_type_name(const struct hm_yaml *n)
{
	switch (n->type) {
	case HM_YAML_NULL: return "nothing";
	case HM_YAML_SCALAR: return "a value";
	case HM_YAML_SEQ: return "a list";
	case HM_YAML_MAP: return "a map";
	}
	return "?";
}

static int expected(const struct hm_yaml *n, struct hm_err *e, const char *what)
{
	const char *name = n->key.p ? n->key.p : "this";

	if (n->type == HM_YAML_SCALAR && !n->secret)
		return hm_yaml_err(n, e, HM_ECONFIG, "%s: expected %s, found \"%.*s\"", name, what,
				   (int)hm_utf8_cut(n->text, 60), n->text.p);
	return hm_yaml_err(n, e, HM_ECONFIG, "%s: expected %s, found %s", name, what, hm_yaml_type_name(n));
}

int hm_yaml_str(const struct hm_yaml *n, struct hm_str *v_r, struct hm_err *e)
{
	if (n->type != HM_YAML_SCALAR)
		return expected(n, e, "text");
	*v_r = n->text;
	return 0;
}

int hm_yaml_i64(const struct hm_yaml *n, int64_t min, int64_t max, int64_t *v_r, struct hm_err *e)
{
	char what[96];
	int64_t v;

	snprintf(what, sizeof(what), "a whole number from %lld to %lld", (long long)min, (long long)max);
	if (n->type != HM_YAML_SCALAR || n->quoted || !hm_str_i64(n->text, &v) || v < min || v > max)
		return expected(n, e, what);
	*v_r = v;
	return 0;
}

int hm_yaml_bool(const struct hm_yaml *n, bool *v_r, struct hm_err *e)
{
	static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};

	if (n->type == HM_YAML_SCALAR && !n->quoted)
		for (size_t i = 0; i < hm_countof(words); i++)
			if (hm_str_is(n->text, words[i])) {
				*v_r = i % 2;
				return 0;
			}
	return expected(n, e, "true or false");
}

int hm_yaml_duration(const struct hm_yaml *n, uint64_t *ms_r, struct hm_err *e)
{
	if (n->type != HM_YAML_SCALAR || !hm_str_duration_ms(n->text, ms_r))
		return expected(n, e, "a duration such as 500ms, 3s, 5m, 2h or 7d");
	return 0;
}

int hm_yaml_known(const struct hm_yaml *map, const char *const *keys, struct hm_err *e)
{
	if (map->type == HM_YAML_NULL)
		return 0;
	if (map->type != HM_YAML_MAP)
		return expected(map, e, "a map");
	for (const struct hm_yaml *c = map->first; c; c = c->next) {
		const char *const *k = keys;
		const char *near;

		while (*k && !hm_str_is(c->key, *k))
			k++;
		if (*k)
			continue;
		near = hm_str_nearest(c->key, keys);
		hm_err_at(e, HM_ECONFIG, c->file, c->key_line, c->key_col, "unknown option \"%.*s\"%s%s%s",
			  HM_STRF(c->key), near ? "; did you mean \"" : "", near ? near : "",
			  near ? "\"?" : "");
		hm_err_field(e, c->key.p);
		return HM_ECONFIG;
	}
	return 0;
}
