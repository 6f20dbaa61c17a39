/*
 * source.c - the text of a document to a tree with positions
 *
 * JSON is checked as JSON and then read by the YAML reader as well, which accepts it and knows
 * lines; what only JSON can say (surrogate pairs in escapes) is converted without them.
 */
#include <stdarg.h>
#include <stdio.h>

#include "content/content_int.h"

/* -- reports ------------------------------------------------------------------------------------- */

static void HM_PRINTF(5, 0)
	say(struct reading *r, int line, int col, const char *path, const char *fmt, va_list ap)
{
	char text[sizeof(((struct hm_err *)NULL)->text)];
	struct hm_err e;
	int n = 0;

	hm_err_clear(&e);
	if (path[0] != '\0')
		n = snprintf(text, sizeof(text), "%s: ", path);
	if (n < 0 || (size_t)n >= sizeof(text))
		n = 0;
	vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	hm_err_at(&e, HM_ECONFIG, r->file, line, col, "%s", text);
	hm_err_field(&e, path);
	r->errors++;
	r->report(r->arg, &e);
}

void hm_doc_fail(struct reading *r, const struct hm_yaml *n, bool at_key, const char *path, const char *fmt,
		 ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (n == NULL)
		say(r, 0, 0, path, fmt, ap);
	else if (at_key && n->key_line > 0)
		say(r, n->key_line, n->key_col, path, fmt, ap);
	else
		say(r, n->line, n->col, path, fmt, ap);
	va_end(ap);
}

void hm_doc_fail_in(struct reading *r, const struct hm_yaml *n, int line, const char *path, const char *fmt,
		    ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (n == NULL || n->line == 0)
		say(r, 0, 0, path, fmt, ap);
	else if (n->literal && line > 0)
		say(r, n->line + line, 0, path, fmt, ap);
	else
		say(r, n->line, n->col, path, fmt, ap);
	va_end(ap);
}

char *hm_doc_path(struct reading *r, const char *path, struct hm_str key)
{
	static char nowhere[] = "?";
	struct hm_str s = hm_arena_printf(&r->tmp, "%s%s%.*s", path, path[0] ? "." : "", HM_STRF(key));

	return s.p ? (char *)(uintptr_t)s.p : nowhere;
}

void hm_doc_known(struct reading *r, const struct hm_yaml *map, const char *path, const char *const *keys)
{
	for (const struct hm_yaml *c = map->first; c != NULL; c = c->next) {
		const char *const *k = keys;
		const char *near;

		while (*k != NULL && !hm_str_is(c->key, *k))
			k++;
		if (*k != NULL)
			continue;
		near = hm_str_nearest(c->key, keys);
		hm_doc_fail(r, c, true, path, "\"%.*s\" is not known here%s%s%s", HM_STRF(c->key),
			    near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
	}
}

/* -- JSON ----------------------------------------------------------------------------------------- */

/* Where there are no positions: line 0. */
static struct hm_yaml *from_json(struct reading *r, const msgpack_object *o)
{
	struct hm_yaml *n = hm_arena_zalloc(&r->tmp, sizeof(*n)), **at;
	struct hm_buf b;

	if (n == NULL)
		return NULL;
	n->file = r->file;
	at = &n->first;
	switch (o->type) {
	case MSGPACK_OBJECT_NIL: n->type = HM_YAML_NULL; return n;
	case MSGPACK_OBJECT_ARRAY:
		n->type = HM_YAML_SEQ;
		n->len = o->via.array.size;
		for (uint32_t i = 0; i < o->via.array.size; i++, at = &(*at)->next)
			if ((*at = from_json(r, &o->via.array.ptr[i])) == NULL)
				return NULL;
		return n;
	case MSGPACK_OBJECT_MAP:
		n->type = HM_YAML_MAP;
		n->len = o->via.map.size;
		for (uint32_t i = 0; i < o->via.map.size; i++, at = &(*at)->next) {
			struct hm_str key = HM_STR("");

			if ((*at = from_json(r, &o->via.map.ptr[i].val)) == NULL)
				return NULL;
			(void)hm_mp_str(&o->via.map.ptr[i].key, &key);
			(*at)->key = hm_arena_printf(&r->tmp, "%.*s", HM_STRF(key));
			if ((*at)->key.p == NULL)
				return NULL;
			for (const struct hm_yaml *c = n->first; c != *at; c = c->next)
				if (hm_str_eq(c->key, (*at)->key))
					hm_doc_fail(r, *at, true, "", "\"%.*s\" stands here twice",
						    HM_STRF(key));
		}
		return n;
	default: break;
	}
	n->type = HM_YAML_SCALAR;
	n->quoted = o->type == MSGPACK_OBJECT_STR;
	hm_buf_init_arena(&b, &r->tmp, HM_YAML_MAX_BYTES);
	if (n->quoted)
		hm_buf_put(&b, o->via.str.ptr, o->via.str.size);
	else
		hm_msgpack_to_json(o, &b);
	hm_buf_cstr(&b);
	if (b.err != 0)
		return NULL;
	n->text = hm_buf_str(&b);
	if (n->text.p == NULL)
		n->text = HM_STR("");
	return n;
}

static int parse_json(struct reading *r, struct hm_str text, struct hm_yaml **root_r, struct hm_err *e)
{
	msgpack_object o;
	msgpack_zone zone;
	struct hm_buf b;
	struct hm_err ye = {0};
	int rc;

	hm_buf_init_arena(&b, &r->tmp, 2 * (size_t)HM_YAML_MAX_BYTES);
	rc = hm_json_to_msgpack(text, &b, e);
	if (rc != 0)
		return rc;
	if (hm_yaml_parse(&r->tmp, r->file, text, root_r, &ye) == 0)
		return 0;
	if (!msgpack_zone_init(&zone, MSGPACK_ZONE_CHUNK_SIZE))
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	rc = hm_msgpack_decode(&zone, hm_buf_str(&b), &o, e);
	if (rc == 0) {
		*root_r = from_json(r, &o);
		if (*root_r == NULL)
			rc = hm_err_set(e, HM_ENOMEM, "out of memory");
	}
	msgpack_zone_destroy(&zone);
	return rc;
}

/* A document that begins as {" is meant as JSON; another { may be YAML's own short form. */
static bool looks_like_json(struct hm_str text)
{
	text = hm_str_trim(text);
	if (text.len < 2 || text.p[0] != '{')
		return false;
	text = hm_str_trim(hm_str_n(text.p + 1, text.len - 1));
	return text.len > 0 && (text.p[0] == '"' || text.p[0] == '}');
}

int hm_doc_parse(struct reading *r, struct hm_str text, struct hm_yaml **root_r)
{
	struct hm_err e;
	int rc;

	hm_err_clear(&e);
	if (text.len > HM_YAML_MAX_BYTES) {
		hm_doc_fail(r, NULL, false, "", "the document has %zu bytes; %u are allowed", text.len,
			    HM_YAML_MAX_BYTES);
		return HM_ELIMIT;
	}
	rc = looks_like_json(text) ? parse_json(r, text, root_r, &e)
				   : hm_yaml_parse(&r->tmp, r->file, text, root_r, &e);
	if (rc == 0)
		return 0;
	if (e.file[0] == '\0')
		snprintf(e.file, sizeof(e.file), "%.*s", (int)hm_utf8_cut(hm_str_c(r->file), 159), r->file);
	r->errors++;
	r->report(r->arg, &e);
	return rc;
}

/* -- values ---------------------------------------------------------------------------------------- */

static bool scalar(struct hm_arena *a, const struct hm_yaml *n, msgpack_object *o)
{
	struct hm_str text;
	uint64_t u;
	int64_t i;

	if (!n->quoted && (hm_str_is(n->text, "true") || hm_str_is(n->text, "false"))) {
		o->type = MSGPACK_OBJECT_BOOLEAN;
		o->via.boolean = hm_str_is(n->text, "true");
		return true;
	}
	if (!n->quoted && hm_str_u64(n->text, &u)) {
		o->type = MSGPACK_OBJECT_POSITIVE_INTEGER;
		o->via.u64 = u;
		return true;
	}
	if (!n->quoted && hm_str_i64(n->text, &i) && i < 0) {
		o->type = MSGPACK_OBJECT_NEGATIVE_INTEGER;
		o->via.i64 = i;
		return true;
	}
	text = n->text.len ? hm_arena_str(a, n->text) : HM_STR("");
	if (text.p == NULL)
		return false;
	if (!n->quoted && hm_decimal_valid(text)) {
		o->type = MSGPACK_OBJECT_EXT;
		o->via.ext.type = HM_MP_DECIMAL;
		o->via.ext.ptr = text.p;
		o->via.ext.size = (uint32_t)text.len;
		return true;
	}
	o->type = MSGPACK_OBJECT_STR;
	o->via.str.ptr = text.p;
	o->via.str.size = (uint32_t)text.len;
	return true;
}

static bool value(struct reading *r, const struct hm_yaml *n, msgpack_object *o, const char *path, int depth)
{
	struct hm_arena *a = r->t->mem;
	size_t k = 0;

	memset(o, 0, sizeof(*o));
	if (depth > TREE_MAX_DEPTH) {
		hm_doc_fail(r, n, false, path, "values are nested deeper than %d", TREE_MAX_DEPTH);
		return false;
	}
	switch (n->type) {
	case HM_YAML_NULL: o->type = MSGPACK_OBJECT_NIL; return true;
	case HM_YAML_SCALAR:
		if (scalar(a, n, o))
			return true;
		hm_doc_fail(r, n, false, path, "out of memory");
		return false;
	case HM_YAML_SEQ:
		o->type = MSGPACK_OBJECT_ARRAY;
		o->via.array.size = (uint32_t)n->len;
		o->via.array.ptr = hm_arena_zalloc(a, (n->len + 1) * sizeof(msgpack_object));
		if (o->via.array.ptr == NULL)
			break;
		for (const struct hm_yaml *c = n->first; c != NULL; c = c->next)
			if (!value(r, c, &o->via.array.ptr[k++], path, depth + 1))
				return false;
		return true;
	case HM_YAML_MAP:
		o->type = MSGPACK_OBJECT_MAP;
		o->via.map.size = (uint32_t)n->len;
		o->via.map.ptr = hm_arena_zalloc(a, (n->len + 1) * sizeof(msgpack_object_kv));
		if (o->via.map.ptr == NULL)
			break;
		for (const struct hm_yaml *c = n->first; c != NULL; c = c->next) {
			msgpack_object_kv *kv = &o->via.map.ptr[k++];
			struct hm_str key = c->key.len ? hm_arena_str(a, c->key) : HM_STR("");

			if (key.p == NULL)
				goto nomem;
			kv->key.type = MSGPACK_OBJECT_STR;
			kv->key.via.str.ptr = key.p;
			kv->key.via.str.size = (uint32_t)key.len;
			if (!value(r, c, &kv->val, path, depth + 1))
				return false;
		}
		return true;
	}
nomem:
	hm_doc_fail(r, n, false, path, "out of memory");
	return false;
}

const msgpack_object *hm_doc_value(struct reading *r, const struct hm_yaml *n, const char *path)
{
	msgpack_object *o = hm_arena_alloc(r->t->mem, sizeof(*o));

	if (o == NULL) {
		hm_doc_fail(r, n, false, path, "out of memory");
		return NULL;
	}
	return value(r, n, o, path, 0) ? o : NULL;
}
