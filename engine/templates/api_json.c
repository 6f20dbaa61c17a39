/*
 * api_json.c - parameters in, JSON out
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "templates/api_int.h"

/* -- parameters -------------------------------------------------------------------------------- */

bool hm_tapi_name(struct hm_http_req *r, struct hm_str *name_r)
{
	struct hm_str name = hm_http_unescape(&r->arena, r->params[0], false);
	struct hm_err e = {0};

	if (!name.p) {
		hm_http_problem(r, HM_PROBLEM_BAD_REQUEST, &(struct hm_problem_info){.field = HM_STR("name")},
				"the name in the path is not percent-encoded right");
		return false;
	}
	if (hm_tstore_check_name(name, &e)) {
		hm_http_problem(r, HM_PROBLEM_BAD_REQUEST, &(struct hm_problem_info){.field = HM_STR("name")},
				"%s", e.text);
		return false;
	}
	*name_r = name;
	return true;
}

bool hm_tapi_version(struct hm_http_req *r, bool words, uint32_t *v_r, struct hm_str *word_r)
{
	struct hm_str text = r->params[1];
	uint64_t v = 0;

	if (words && (hm_str_is(text, "current") || hm_str_is(text, "draft"))) {
		*v_r = 0;
		*word_r = text;
		return true;
	}
	if (!hm_str_u64(text, &v) || v == 0 || v > HM_TSTORE_VERSIONS || text.p[0] == '0') {
		hm_http_problem(
			r, HM_PROBLEM_BAD_REQUEST, &(struct hm_problem_info){.field = HM_STR("version")},
			"a version is a number from 1%s, not \"%.*s\"",
			words ? ", \"current\" or \"draft\"" : "", (int)hm_min(text.len, (size_t)40), text.p);
		return false;
	}
	*v_r = (uint32_t)v;
	return true;
}

bool hm_tapi_limit(struct hm_http_req *r, uint32_t def, uint32_t most, uint32_t *v_r)
{
	struct hm_str text = hm_http_query(r, "limit");
	uint64_t v = def;

	if (text.p && (!hm_str_u64(text, &v) || v == 0 || v > most)) {
		hm_http_problem(r, HM_PROBLEM_BAD_REQUEST,
				&(struct hm_problem_info){.field = HM_STR("limit")},
				"limit must be a number from 1 to %u", most);
		return false;
	}
	*v_r = (uint32_t)v;
	return true;
}

/* -- answers ------------------------------------------------------------------------------------- */

void hm_tapi_out(struct hm_http_req *r, struct hm_buf *b)
{
	hm_buf_init_arena(b, &r->arena, TAPI_OUT_MAX);
}

void hm_tapi_answer(struct hm_http_req *r, int status, struct hm_buf *b, struct hm_str etag,
		    struct hm_str headers)
{
	struct hm_http_answer a = {.status = status, .type = "application/json", .headers = headers};

	if (b->err) {
		hm_http_problem(r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
				"the answer needs more memory than there is");
		return;
	}
	if (etag.len) {
		a.headers = hm_arena_printf(&r->arena, "ETag: \"%.*s\"\r\n%.*s", HM_STRF(etag),
					    HM_STRF(headers));
		if (!a.headers.p)
			a.headers = headers;
	}
	a.body = hm_buf_str(b);
	hm_http_reply(r, &a);
}

void hm_tapi_problem_redis(struct hm_http_req *r, const struct hm_err *e)
{
	enum hm_problem p = hm_http_redis_problem(e);
	struct hm_problem_info info = {.retry_after_s = p == HM_PROBLEM_BUSY ? 1 : 2};

	if (p == HM_PROBLEM_QUEUE_UNKNOWN)
		hm_http_problem(r, p, &info, "%s; look at the template to see whether it was changed",
				e->text);
	else
		hm_http_problem(r, p, &info, "%s", e->text);
}

static void key_of(struct hm_buf *b, const char *key)
{
	if (b->len && !strchr("{[,", b->p[b->len - 1]))
		hm_buf_putc(b, ',');
	hm_buf_printf(b, "\"%s\":", key);
}

void hm_tapi_str(struct hm_buf *b, const char *key, struct hm_str s)
{
	key_of(b, key);
	hm_buf_putc(b, '"');
	hm_buf_json(b, s);
	hm_buf_putc(b, '"');
}

void hm_tapi_u64(struct hm_buf *b, const char *key, uint64_t v)
{
	key_of(b, key);
	hm_buf_u64(b, v);
}

void hm_tapi_time(struct hm_buf *b, const char *key, uint64_t ms)
{
	char text[25];

	hm_clock_rfc3339(ms, text);
	hm_tapi_str(b, key, hm_str_c(text));
}

void hm_tapi_row(struct hm_buf *b, struct hm_str name, const struct hm_tstore_info *t)
{
	hm_tapi_str(b, "name", name);
	hm_tapi_str(b, "kind", hm_str_is(t->kind, "fragment") ? t->kind : HM_STR("message"));
	hm_tapi_str(b, "description", t->about);
	hm_tapi_str(b, "state",
		    t->current	? HM_STR("published")
		    : t->latest ? HM_STR("archived")
				: HM_STR("draft"));
	hm_tapi_str(b, "etag", t->etag);
	hm_tapi_u64(b, "latest", t->latest);
	hm_tapi_u64(b, "current", t->current);
	hm_tapi_time(b, "at", t->at_ms);
	hm_tapi_str(b, "by", t->by);
}

struct hm_str hm_tapi_syntax(struct hm_str doc)
{
	doc = hm_str_trim(doc);
	return doc.len && doc.p[0] == '{' ? HM_STR("json") : HM_STR("yaml");
}

/* -- mistakes --------------------------------------------------------------------------------------- */

void hm_tapi_errors_init(struct hm_tapi_errors *x, struct hm_arena *a)
{
	memset(x, 0, sizeof(*x));
	hm_buf_init_arena(&x->json, a, 1u << 20);
}

void hm_tapi_errors_add(void *arg, const struct hm_err *e)
{
	struct hm_tapi_errors *x = arg;

	if (x->n == TAPI_ERRORS_MAX) {
		x->left_out++;
		return;
	}
	if (x->n++ == 0)
		x->first = *e;
	else
		hm_buf_putc(&x->json, ',');
	hm_buf_putc(&x->json, '{');
	if (e->field[0])
		hm_tapi_str(&x->json, "field", hm_str_c(e->field));
	if (e->line > 0)
		hm_tapi_u64(&x->json, "line", (uint64_t)e->line);
	if (e->col > 0)
		hm_tapi_u64(&x->json, "column", (uint64_t)e->col);
	hm_tapi_str(&x->json, "reason", hm_str_c(e->text));
	hm_buf_putc(&x->json, '}');
}

void hm_tapi_errors_answer(struct hm_http_req *r, struct hm_tapi_errors *x)
{
	struct hm_problem_info info = {.field = hm_str_c(x->first.field), .line = x->first.line};
	struct hm_buf also;

	hm_assert(x->n > 0);
	hm_tapi_out(r, &also);
	hm_buf_lit(&also, "\"errors\":[");
	hm_buf_puts(&also, hm_buf_str(&x->json));
	hm_buf_putc(&also, ']');
	if (x->left_out)
		hm_buf_printf(&also, ",\"errors_omitted\":%zu", x->left_out);
	info.also = also.err || x->json.err ? NULL : hm_buf_cstr(&also);
	if (x->n + x->left_out > 1)
		hm_http_problem(r, HM_PROBLEM_TEMPLATE, &info, "%s (and %zu more)", x->first.text,
				x->n + x->left_out - 1);
	else
		hm_http_problem(r, HM_PROBLEM_TEMPLATE, &info, "%s", x->first.text);
}

/* -- fields ------------------------------------------------------------------------------------------- */

void hm_tapi_fields(struct hm_buf *b, const struct hm_template *t)
{
	const struct hm_template_field *f;
	size_t n = hm_template_fields(t, &f);

	hm_buf_putc(b, '[');
	for (size_t i = 0; i < n; i++) {
		hm_buf_puts(b, i ? HM_STR(",{") : HM_STR("{"));
		hm_tapi_str(b, "name", f[i].name);
		hm_tapi_str(b, "type", hm_str_c(hm_field_type_name((enum hm_template_field_type)f[i].type)));
		hm_buf_puts(b, f[i].required ? HM_STR(",\"required\":true") : HM_STR(",\"required\":false"));
		if (f[i].description.len)
			hm_tapi_str(b, "description", f[i].description);
		if (f[i].def) {
			hm_buf_lit(b, ",\"default\":");
			hm_msgpack_to_json(f[i].def, b);
		}
		if (f[i].example) {
			hm_buf_lit(b, ",\"example\":");
			hm_msgpack_to_json(f[i].example, b);
		}
		hm_buf_putc(b, '}');
	}
	hm_buf_putc(b, ']');
}

/* -- bodies ------------------------------------------------------------------------------------ */

void hm_tapi_no_memory(struct hm_http_req *r)
{
	hm_http_problem(r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1}, "out of memory");
}

bool hm_tapi_object(struct hm_http_req *r, bool may_lack, const char *const *known, struct hm_tapi_body *b)
{
	struct hm_err e = {0};
	struct hm_buf mp;

	memset(b, 0, sizeof(*b));
	if (r->body.len == 0 && may_lack)
		return true;
	if (!hm_http_type_is(r->content_type, "application/json")) {
		hm_http_problem(r, HM_PROBLEM_MEDIA_TYPE,
				&(struct hm_problem_info){.field = HM_STR("Content-Type")},
				"Content-Type must be application/json");
		return false;
	}
	hm_buf_init_arena(&mp, &r->arena, 2 * HM_TSTORE_DOC_MAX + (64u << 10));
	if (!msgpack_zone_init(&b->zone, 4096)) {
		hm_tapi_no_memory(r);
		return false;
	}
	b->open = true;
	if (hm_json_to_msgpack(r->body, &mp, &e) || hm_msgpack_decode(&b->zone, hm_buf_str(&mp), &b->o, &e)) {
		hm_http_problem_err(r, &e);
		return false;
	}
	if (b->o.type != MSGPACK_OBJECT_MAP) {
		hm_http_problem(r, HM_PROBLEM_INVALID, NULL, "the body must be an object");
		return false;
	}
	for (uint32_t i = 0; i < b->o.via.map.size; i++) {
		struct hm_str key = HM_STR("");
		const char *const *k = known;

		(void)hm_mp_str(&b->o.via.map.ptr[i].key, &key);
		while (*k && !hm_str_is(key, *k))
			k++;
		if (!*k) {
			const char *near = hm_str_nearest(key, known);

			hm_http_problem(r, HM_PROBLEM_INVALID, &(struct hm_problem_info){.field = key},
					"%.*s is not known here%s%s%s", (int)hm_min(key.len, (size_t)60),
					key.p, near ? ", did you mean " : "", near ? near : "",
					near ? "?" : "");
			return false;
		}
	}
	return true;
}

void hm_tapi_body_end(struct hm_tapi_body *b)
{
	if (b->open)
		msgpack_zone_destroy(&b->zone);
}
