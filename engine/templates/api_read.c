/*
 * api_read.c - GET: the list, a template, a version, the history
 */
#include <stdio.h>

#include "base/obj.h"
#include "templates/api_int.h"

#define ASK_MAGIC    0x74617361u
#define LIST_DEFAULT 50
#define LIST_MAX     500
#define LOG_DEFAULT  100

struct ask { /* in the request's arena */
	uint32_t magic;
	struct hm_http_req *r; /* held */
	struct hm_str name, word;
	uint32_t version, limit;
};

static struct ask *ask_new(struct hm_http_req *r)
{
	struct ask *a = hm_arena_zalloc(&r->arena, sizeof(*a));

	if (!a) {
		hm_http_problem(r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
				"out of memory");
		return NULL;
	}
	HM_MAGIC_SET(a, ASK_MAGIC);
	a->r = r;
	hm_http_hold(r);
	return a;
}

static void ask_end(struct ask *a)
{
	struct hm_http_req *r = a->r;

	HM_MAGIC_CLEAR(a);
	hm_http_release(r);
}

static struct hm_str prefix_of(const struct hm_http_req *r)
{
	return hm_http_server_templates(r->srv)->prefix;
}

static void not_found(struct ask *a)
{
	if (a->version)
		hm_http_problem(a->r, HM_PROBLEM_NOT_FOUND, NULL, "\"%.*s\" has no version %u",
				HM_STRF(a->name), a->version);
	else if (a->word.len)
		hm_http_problem(a->r, HM_PROBLEM_NOT_FOUND, NULL, "\"%.*s\" has no %.*s%s", HM_STRF(a->name),
				HM_STRF(a->word), hm_str_is(a->word, "current") ? " version" : "");
	else
		hm_http_problem(a->r, HM_PROBLEM_NOT_FOUND, NULL, "there is no template \"%.*s\"",
				HM_STRF(a->name));
}

static void damaged(struct ask *a, const struct hm_err *e)
{
	hm_http_problem(a->r, HM_PROBLEM_INTERNAL, NULL, "%s", e->text);
}

/* -- the list ---------------------------------------------------------------------------------- */

static void put_draft(struct hm_buf *b, const struct hm_tstore_info *t, struct hm_str source)
{
	hm_buf_lit(b, ",\"draft\":");
	if (!t->draft) {
		hm_buf_lit(b, "null");
		return;
	}
	hm_buf_putc(b, '{');
	hm_tapi_time(b, "at", t->draft_at_ms);
	hm_tapi_str(b, "by", t->draft_by);
	if (source.p) {
		hm_tapi_str(b, "syntax", hm_tapi_syntax(source));
		hm_tapi_str(b, "source", source);
	}
	hm_buf_putc(b, '}');
}

static void on_list(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct ask *a = arg;
	struct hm_tstore_info info;
	struct hm_err e = {0};
	struct hm_arena tmp;
	struct hm_buf b;
	size_t n;

	HM_CHECK(a, ASK_MAGIC);
	if (err) {
		hm_tapi_problem_redis(a->r, err);
		ask_end(a);
		return;
	}
	hm_tapi_out(a->r, &b);
	hm_arena_init(&tmp, NULL, 0);
	n = hm_min(reply->n / 2, (size_t)a->limit);
	hm_buf_lit(&b, "{\"templates\":[");
	for (size_t i = 0, shown = 0; i < n; i++) {
		/* an entry that cannot be read must not hide the others */
		if (hm_tstore_read_info(reply->v[2 * i + 1].s, &tmp, &info, &e))
			continue;
		if (shown++)
			hm_buf_putc(&b, ',');
		hm_buf_putc(&b, '{');
		hm_tapi_row(&b, reply->v[2 * i].s, &info);
		put_draft(&b, &info, HM_STR_NULL);
		hm_buf_putc(&b, '}');
		hm_arena_reset(&tmp);
	}
	hm_arena_fini(&tmp);
	hm_buf_putc(&b, ']');
	if (reply->n / 2 > n)
		hm_tapi_str(&b, "next", reply->v[2 * n - 2].s);
	hm_buf_putc(&b, '}');
	hm_tapi_answer(a->r, 200, &b, HM_STR_NULL, HM_STR_NULL);
	ask_end(a);
}

void hm_tapi_list(struct hm_http_req *r)
{
	struct hm_str begin = hm_http_query(r, "prefix"), after = hm_http_query(r, "after");
	struct ask *a;
	uint32_t limit;

	if (begin.len > HM_TSTORE_NAME_MAX || after.len > HM_TSTORE_NAME_MAX) {
		hm_http_problem(r, HM_PROBLEM_BAD_REQUEST,
				&(struct hm_problem_info){.field = begin.len > HM_TSTORE_NAME_MAX
									   ? HM_STR("prefix")
									   : HM_STR("after")},
				"names have at most %d bytes", HM_TSTORE_NAME_MAX);
		return;
	}
	if (!hm_tapi_limit(r, LIST_DEFAULT, LIST_MAX, &limit))
		return;
	a = ask_new(r);
	if (!a)
		return;
	a->limit = limit;
	hm_tstore_list(hm_http_server_redis(r->srv), prefix_of(r), begin, after, limit + 1, on_list, a);
}

/* -- one -------------------------------------------------------------------------------------------- */

static void put_version(struct hm_buf *b, uint32_t v, const struct hm_tstore_info *t,
			const struct hm_reply *meta, struct hm_arena *tmp)
{
	struct hm_tstore_meta m = {.at_ms = 0};
	struct hm_err e = {0};

	if (v == 0)
		hm_buf_lit(b, "\"version\":null");
	else
		hm_tapi_u64(b, "version", v);
	hm_tapi_str(b, "state",
		    v == 0		       ? HM_STR("draft")
		    : hm_tstore_archived(t, v) ? HM_STR("archived")
					       : HM_STR("published"));
	if (meta && meta->type == HM_REPLY_STR && hm_tstore_read_meta(meta->s, tmp, &m, &e))
		memset(&m, 0, sizeof(m));
	hm_tapi_time(b, "at", m.at_ms);
	hm_tapi_str(b, "by", m.by.p ? m.by : HM_STR(""));
	if (m.note.len)
		hm_tapi_str(b, "note", m.note);
}

static struct hm_str text_at(const struct hm_reply *reply, size_t i)
{
	const struct hm_reply *x = hm_reply_at(reply, i);

	return x && x->type == HM_REPLY_STR ? x->s : HM_STR_NULL;
}

static void on_one(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct ask *a = arg;
	struct hm_tstore_info info;
	struct hm_str draft, doc;
	struct hm_err e = {0};
	struct hm_arena tmp;
	struct hm_buf b;

	HM_CHECK(a, ASK_MAGIC);
	hm_arena_init(&tmp, NULL, 0);
	if (err) {
		hm_tapi_problem_redis(a->r, err);
	} else if (reply->type != HM_REPLY_ARRAY || reply->n == 0) {
		not_found(a);
	} else if (hm_tstore_read_info(reply->v[0].s, &tmp, &info, &e)) {
		damaged(a, &e);
	} else {
		draft = text_at(reply, 2 + info.latest);
		doc = text_at(reply, 3 + info.latest);
		hm_tapi_out(a->r, &b);
		hm_buf_putc(&b, '{');
		hm_tapi_row(&b, a->name, &info);
		put_draft(&b, &info, draft);
		hm_buf_lit(&b, ",\"document\":");
		if (doc.p) {
			hm_buf_putc(&b, '{');
			hm_tapi_u64(&b, "version", info.current);
			hm_tapi_str(&b, "syntax", hm_tapi_syntax(doc));
			hm_tapi_str(&b, "source", doc);
			hm_buf_putc(&b, '}');
		} else {
			hm_buf_lit(&b, "null");
		}
		hm_buf_lit(&b, ",\"versions\":[");
		for (uint32_t v = info.latest; v > 0; v--) {
			hm_buf_puts(&b, v == info.latest ? HM_STR("{") : HM_STR(",{"));
			put_version(&b, v, &info, hm_reply_at(reply, 1 + v), &tmp);
			hm_buf_putc(&b, '}');
		}
		hm_buf_lit(&b, "]}");
		hm_tapi_answer(a->r, 200, &b, info.etag, HM_STR_NULL);
	}
	hm_arena_fini(&tmp);
	ask_end(a);
}

void hm_tapi_get(struct hm_http_req *r)
{
	const struct hm_str fields[] = {HM_STR_INIT("draft"), HM_STR_INIT("current")};
	struct hm_str name;
	struct ask *a;

	if (!hm_tapi_name(r, &name) || !(a = ask_new(r)))
		return;
	a->name = name;
	hm_tstore_get(hm_http_server_redis(r->srv), prefix_of(r), name, fields, 2, on_one, a);
}

/* -- a version ------------------------------------------------------------------------------------ */

static void ignore(void *arg, const struct hm_err *e)
{
}

/* The fields it declares. It was right when it was stored; what this program cannot compile has no fields here. */
static void put_fields(struct ask *a, struct hm_buf *b, struct hm_str doc)
{
	struct hm_templates_api *api = hm_http_server_templates(a->r->srv);
	struct hm_templates_now now = {.cfg = NULL};
	struct hm_template *t = NULL;

	hm_buf_lit(b, ",\"fields\":");
	api->now(api->arg, &now);
	if (hm_template_compile(a->name, 0, doc, "", &now.opts, ignore, NULL, &t) == 0) {
		hm_tapi_fields(b, t);
		hm_template_unref(t);
	} else {
		hm_buf_lit(b, "[]");
	}
}

static void on_version(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct ask *a = arg;
	struct hm_tstore_info info;
	struct hm_str doc, as = hm_http_query(a->r, "as");
	struct hm_err e = {0};
	struct hm_arena tmp;
	struct hm_buf b;
	uint32_t v;

	HM_CHECK(a, ASK_MAGIC);
	hm_arena_init(&tmp, NULL, 0);
	if (err) {
		hm_tapi_problem_redis(a->r, err);
	} else if (reply->type != HM_REPLY_ARRAY || reply->n == 0) {
		a->version = 0;
		a->word = HM_STR_NULL;
		not_found(a);
	} else if (hm_tstore_read_info(reply->v[0].s, &tmp, &info, &e)) {
		damaged(a, &e);
	} else if (!(doc = text_at(reply, 2 + info.latest)).p) {
		not_found(a);
	} else if (hm_str_is(as, "source")) {
		bool json = hm_str_is(hm_tapi_syntax(doc), "json");
		struct hm_http_answer answer = {
			.status = 200, .type = json ? "application/json" : "application/yaml", .body = doc};

		hm_http_reply(a->r, &answer);
	} else {
		v = hm_str_is(a->word, "current") ? info.current : a->version;
		hm_tapi_out(a->r, &b);
		hm_buf_putc(&b, '{');
		hm_tapi_str(&b, "name", a->name);
		hm_buf_putc(&b, ',');
		put_version(&b, v, &info, hm_reply_at(reply, 1 + v), &tmp);
		hm_buf_puts(&b, v && v == info.current ? HM_STR(",\"current\":true")
						       : HM_STR(",\"current\":false"));
		hm_tapi_str(&b, "syntax", hm_tapi_syntax(doc));
		hm_tapi_str(&b, "source", doc);
		put_fields(a, &b, doc);
		hm_buf_putc(&b, '}');
		hm_tapi_answer(a->r, 200, &b, info.etag, HM_STR_NULL);
	}
	hm_arena_fini(&tmp);
	ask_end(a);
}

void hm_tapi_get_version(struct hm_http_req *r)
{
	struct hm_str name, word = HM_STR_NULL, field, as = hm_http_query(r, "as");
	char text[16];
	struct ask *a;
	uint32_t v;

	if (!hm_tapi_name(r, &name) || !hm_tapi_version(r, true, &v, &word))
		return;
	if (as.p && !hm_str_is(as, "source")) {
		hm_http_problem(r, HM_PROBLEM_BAD_REQUEST, &(struct hm_problem_info){.field = HM_STR("as")},
				"as may be source");
		return;
	}
	a = ask_new(r);
	if (!a)
		return;
	a->name = name;
	a->word = word;
	a->version = v;
	field = word.len ? word : hm_str_n(text, (size_t)snprintf(text, sizeof(text), "v%u", v));
	hm_tstore_get(hm_http_server_redis(r->srv), prefix_of(r), name, &field, 1, on_version, a);
}

/* -- the history ------------------------------------------------------------------------------------- */

static void on_log(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct ask *a = arg;
	struct hm_tstore_meta m;
	struct hm_err e = {0};
	struct hm_arena tmp;
	struct hm_buf b;
	size_t shown = 0;

	HM_CHECK(a, ASK_MAGIC);
	if (err) {
		hm_tapi_problem_redis(a->r, err);
		ask_end(a);
		return;
	}
	if (reply->type != HM_REPLY_ARRAY || reply->n == 0) { /* every template has a history */
		not_found(a);
		ask_end(a);
		return;
	}
	hm_arena_init(&tmp, NULL, 0);
	hm_tapi_out(a->r, &b);
	hm_buf_lit(&b, "{\"history\":[");
	for (size_t i = reply->n; i-- > 0;) {
		if (hm_tstore_read_meta(reply->v[i].s, &tmp, &m, &e))
			continue;
		hm_buf_puts(&b, shown++ ? HM_STR(",{") : HM_STR("{"));
		hm_tapi_time(&b, "at", m.at_ms);
		hm_tapi_str(&b, "by", m.by);
		hm_tapi_str(&b, "change", m.op);
		if (m.version)
			hm_tapi_u64(&b, "version", m.version);
		if (m.note.len)
			hm_tapi_str(&b, "note", m.note);
		hm_buf_putc(&b, '}');
		hm_arena_reset(&tmp);
	}
	hm_buf_lit(&b, "]}");
	hm_arena_fini(&tmp);
	hm_tapi_answer(a->r, 200, &b, HM_STR_NULL, HM_STR_NULL);
	ask_end(a);
}

void hm_tapi_history(struct hm_http_req *r)
{
	struct hm_str name;
	uint32_t limit;
	struct ask *a;

	if (!hm_tapi_name(r, &name) || !hm_tapi_limit(r, LOG_DEFAULT, 1000, &limit) || !(a = ask_new(r)))
		return;
	a->name = name;
	hm_tstore_log(hm_http_server_redis(r->srv), prefix_of(r), name, limit, on_log, a);
}
