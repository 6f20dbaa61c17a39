/*
 * api_write.c - POST and DELETE: one entry, many, all of a person
 *
 *   body -> entries, each on its own (a wrong one is reported, the others stand) -> hm_suppress_add or _remove -> answer
 */
#include <stdio.h>

#include "base/json.h"
#include "base/obj.h"
#include "gates/api_int.h"

#define WRITE_MAGIC 0x73777274u
#define ERRORS_MAX  1000 /* described; further ones are counted */

struct write { /* in the request's arena */
	uint32_t magic;
	struct hm_http_req *r; /* held from the call to Redis on */
	bool consents, remove, single;
	struct hm_str by;
	msgpack_zone zone;
	bool zone_open;
	struct hm_suppress_entry *v;
	size_t n, cap;
	struct hm_buf errors;
	size_t n_items, n_errors;
	struct hm_err first;
	bool oom;
	/* all of a person */
	struct hm_suppress_filter filter;
	size_t changed;
};

static struct write *write_new(struct hm_http_req *r, bool to_remove)
{
	struct write *w = hm_arena_zalloc(&r->arena, sizeof(*w));

	if (w == NULL || !msgpack_zone_init(&w->zone, 8192)) {
		hm_sapi_no_memory(r);
		return NULL;
	}
	HM_MAGIC_SET(w, WRITE_MAGIC);
	w->r = r;
	w->zone_open = true;
	w->consents = hm_sapi_consents(r);
	w->remove = to_remove;
	w->by = r->key_id[0] ? hm_arena_printf(&r->arena, "key:%s", r->key_id) : HM_STR("http");
	hm_buf_init_arena(&w->errors, &r->arena, 4u << 20);
	return w;
}

static void write_end(struct write *w)
{
	if (w->zone_open)
		msgpack_zone_destroy(&w->zone);
	w->zone_open = false;
}

/* -- reading ----------------------------------------------------------------------------------------------- */

static void put_error(struct write *w, uint32_t line, const struct hm_err *e)
{
	struct hm_buf *b = &w->errors;

	if (w->n_errors++ == 0)
		w->first = *e;
	if (w->n_errors > ERRORS_MAX)
		return;
	if (b->len)
		hm_buf_putc(b, ',');
	hm_buf_printf(b, "{\"index\":%zu", w->n_items);
	if (line)
		hm_buf_printf(b, ",\"line\":%u", line);
	if (e->field[0]) {
		hm_buf_lit(b, ",\"field\":\"");
		hm_buf_json(b, hm_str_c(e->field));
		hm_buf_putc(b, '"');
	}
	hm_buf_lit(b, ",\"detail\":\"");
	hm_buf_json(b, hm_str_c(e->text));
	hm_buf_lit(b, "\"}");
}

static void item(struct write *w, const msgpack_object *o, uint32_t line)
{
	struct hm_suppress_entry x;
	struct hm_err e = {0};

	if (hm_suppress_read(o, w->consents, w->remove, hm_http_server_wall_ms(w->r->srv), &x, &e)) {
		put_error(w, line, &e);
	} else {
		if (w->n == w->cap) {
			size_t cap = hm_max(w->cap * 2, (size_t)16);
			struct hm_suppress_entry *v = hm_arena_grow(&w->r->arena, w->v, w->cap * sizeof(*v),
								    cap * sizeof(*v));

			if (v == NULL) {
				w->oom = true;
				return;
			}
			w->v = v;
			w->cap = cap;
		}
		if (x.by.len == 0)
			x.by = w->by;
		w->v[w->n++] = x;
	}
	w->n_items++;
}

/* The msgpack form stays in the arena: the entries point into it. */
static int decode(struct write *w, struct hm_str json, msgpack_object *o, struct hm_err *e)
{
	struct hm_buf mp;

	hm_buf_init_arena(&mp, &w->r->arena, 2 * json.len + 1024);
	if (hm_json_to_msgpack(json, &mp, e))
		return e->code;
	return hm_msgpack_decode(&w->zone, hm_buf_str(&mp), o, e);
}

static void read_lines(struct write *w, struct hm_str rest)
{
	struct hm_str line;
	uint32_t number = 0;

	while (!w->oom && hm_str_split(&rest, '\n', &line)) {
		msgpack_object o;
		struct hm_err e = {0};

		number++;
		line = hm_str_trim(line);
		if (line.len == 0)
			continue;
		if (decode(w, line, &o, &e) == 0) {
			item(w, &o, number);
			continue;
		}
		/* "line 1" of this line would be taken for one of the body */
		if (strncmp(e.text, "line 1 ", 7) == 0)
			memmove(e.text, e.text + 7, strlen(e.text + 7) + 1);
		put_error(w, number, &e);
		w->n_items++;
	}
}

static bool read_whole(struct write *w, bool many)
{
	struct hm_http_req *r = w->r;
	struct hm_err e = {0};
	msgpack_object o;

	if (decode(w, r->body, &o, &e)) {
		hm_http_problem_err(r, &e);
		return false;
	}
	if (!many) {
		item(w, &o, 0);
		return true;
	}
	if (o.type == MSGPACK_OBJECT_MAP && o.via.map.size == 1) {
		const msgpack_object *list = hm_mp_get(&o, w->consents ? HM_STR("consents")
								       : HM_STR("suppressions"));

		if (list && list->type == MSGPACK_OBJECT_ARRAY)
			o = *list;
	}
	if (o.type != MSGPACK_OBJECT_ARRAY) {
		hm_http_problem(r, HM_PROBLEM_ENTRY, NULL,
				"the body must be an array of entries or {\"%s\": [...]}, not %s",
				w->consents ? "consents" : "suppressions", hm_mp_type_name(&o));
		return false;
	}
	for (uint32_t i = 0; i < o.via.array.size && !w->oom; i++)
		item(w, &o.via.array.ptr[i], 0);
	return true;
}

/* False: answered. */
static bool read_body(struct write *w, bool many)
{
	struct hm_http_req *r = w->r;
	uint64_t most = (uint64_t)hm_http_server_settings(r->srv)->http.max_batch;
	bool lines = hm_http_type_is(r->content_type, "application/x-ndjson") ||
		     hm_http_type_is(r->content_type, "application/jsonl");

	if (!(lines && many) && !hm_http_type_is(r->content_type, "application/json")) {
		hm_sapi_problem(r, HM_PROBLEM_MEDIA_TYPE, "Content-Type",
				many ? "Content-Type must be application/json or application/x-ndjson"
				     : "Content-Type must be application/json");
		return false;
	}
	if (lines)
		read_lines(w, r->body);
	else if (!read_whole(w, many))
		return false;
	if (w->oom || w->errors.err) {
		hm_sapi_no_memory(r);
		return false;
	}
	if (w->n_items > most) {
		hm_http_problem(r, HM_PROBLEM_TOO_LARGE, NULL,
				"the batch has %zu entries; at most %llu are allowed (http.max_batch)",
				w->n_items, (unsigned long long)most);
		return false;
	}
	if (w->n_items == 0) {
		hm_http_problem(r, HM_PROBLEM_ENTRY, NULL, "there is no entry in the body");
		return false;
	}
	return true;
}

/* -- answers ------------------------------------------------------------------------------------------------- */

static void put_errors(struct write *w, struct hm_buf *b)
{
	hm_buf_printf(b, "\"rejected\":%zu,\"errors\":[", w->n_errors);
	hm_buf_puts(b, hm_buf_str(&w->errors));
	hm_buf_putc(b, ']');
	if (w->n_errors > ERRORS_MAX)
		hm_buf_printf(b, ",\"errors_omitted\":%zu", w->n_errors - ERRORS_MAX);
}

/* All of it was wrong. */
static void answer_errors(struct write *w)
{
	struct hm_problem_info info = {.field = hm_str_c(w->first.field)};
	struct hm_buf b;

	if (w->single) {
		hm_http_problem(w->r, HM_PROBLEM_ENTRY, &info, "%s", w->first.text);
		return;
	}
	hm_buf_init_arena(&b, &w->r->arena, 8u << 20);
	hm_buf_lit(&b, "\"changed\":0,\"unchanged\":0,");
	put_errors(w, &b);
	info.also = b.err ? NULL : hm_buf_cstr(&b);
	hm_http_problem(w->r, HM_PROBLEM_ENTRY, &info, "none of the %zu entries is valid: %s", w->n_errors,
			w->first.text);
}

static void answer_changed(struct write *w)
{
	struct hm_buf b;

	hm_buf_init_arena(&b, &w->r->arena, 8u << 20);
	hm_buf_printf(&b, "{\"changed\":%zu", w->changed);
	if (!w->single) {
		hm_buf_printf(&b, ",\"unchanged\":%zu,", w->n > w->changed ? w->n - w->changed : 0);
		put_errors(w, &b);
	}
	hm_buf_putc(&b, '}');
	if (b.err)
		hm_sapi_no_memory(w->r);
	else
		hm_http_json(w->r, 200, hm_buf_str(&b));
}

static void on_changed(void *arg, size_t changed, const struct hm_err *err)
{
	struct write *w = arg;
	struct hm_http_req *r = w->r;

	HM_CHECK(w, WRITE_MAGIC);
	w->changed += changed;
	if (err)
		hm_sapi_problem_redis(r, err);
	else
		answer_changed(w);
	HM_MAGIC_CLEAR(w);
	hm_http_release(r);
}

static void change(struct hm_http_req *r, bool to_remove, bool many)
{
	struct write *w = write_new(r, to_remove);

	if (w == NULL)
		return;
	w->single = !many;
	if (!read_body(w, many)) {
		write_end(w);
		return;
	}
	if (w->n == 0) {
		answer_errors(w);
		write_end(w);
		return;
	}
	hm_http_hold(r);
	(to_remove ? hm_suppress_remove
		   : hm_suppress_add)(hm_http_server_redis(r->srv), hm_http_server_prefix(r->srv),
				      hm_http_server_wall_ms(r->srv), w->v, w->n, on_changed, w);
	write_end(w);
}

void hm_sapi_add(struct hm_http_req *r)
{
	change(r, false, false);
}

void hm_sapi_batch(struct hm_http_req *r)
{
	change(r, false, true);
}

void hm_sapi_remove(struct hm_http_req *r)
{
	change(r, true, true);
}

/* -- DELETE: by the query ---------------------------------------------------------------------------------------- */

static void on_all(void *arg, const struct hm_suppress_entry *v, size_t n, struct hm_str next,
		   const struct hm_err *err);

static void next_page(struct write *w)
{
	struct hm_http_req *r = w->r;

	hm_suppress_page(hm_http_server_redis(r->srv), hm_http_server_prefix(r->srv),
			 hm_http_server_wall_ms(r->srv), &w->filter, HM_STR(""), HM_SUPPRESS_PAGE_MAX, on_all,
			 w);
}

static void on_page_removed(void *arg, size_t changed, const struct hm_err *err)
{
	struct write *w = arg;

	HM_CHECK(w, WRITE_MAGIC);
	if (err || changed == 0) {
		on_changed(w, changed, err);
		return;
	}
	w->changed += changed;
	next_page(w);
}

static void on_all(void *arg, const struct hm_suppress_entry *v, size_t n, struct hm_str next,
		   const struct hm_err *err)
{
	struct write *w = arg;
	struct hm_http_req *r = w->r;

	HM_CHECK(w, WRITE_MAGIC);
	if (err || n == 0)
		on_changed(w, 0, err);
	else
		hm_suppress_remove(hm_http_server_redis(r->srv), hm_http_server_prefix(r->srv),
				   hm_http_server_wall_ms(r->srv), v, n, on_page_removed, w);
}

void hm_sapi_delete(struct hm_http_req *r)
{
	struct hm_str all = hm_http_query(r, "all");
	struct hm_suppress_entry x;
	struct hm_suppress_filter f;
	struct write *w;

	if (!hm_sapi_filter(r, &f))
		return;
	if (f.subject.len == 0) {
		hm_sapi_problem(r, HM_PROBLEM_BAD_REQUEST, "address", "say whose entry: address or user");
		return;
	}
	if (all.p && !hm_str_is(all, "true") && !hm_str_is(all, "false")) {
		hm_sapi_problem(r, HM_PROBLEM_BAD_REQUEST, "all", "all may be true or false");
		return;
	}
	w = write_new(r, true);
	if (w == NULL)
		return;
	write_end(w);
	w->single = true;
	hm_http_hold(r);
	if (hm_str_is(all, "true")) {
		w->filter = f;
		next_page(w);
		return;
	}
	/* exactly one; what is not said is what the entry for all media or categories has */
	x = (struct hm_suppress_entry){
		.kind = f.consents ? (f.users ? HM_CONSENT_USER : HM_CONSENT_ADDRESS)
				   : (f.users ? HM_SUPPRESS_USER : HM_SUPPRESS_ADDRESS),
		.subject = f.subject,
		.medium = f.medium == HM_SUPPRESS_ANY ? -1 : f.medium,
		.category = f.category,
	};
	hm_suppress_remove(hm_http_server_redis(r->srv), hm_http_server_prefix(r->srv),
			   hm_http_server_wall_ms(r->srv), &x, 1, on_changed, w);
}
