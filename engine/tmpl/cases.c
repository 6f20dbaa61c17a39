/* cases.c - see cases.h */
#include "tmpl/cases.h"

#include "base/json.h"
#include "tmpl/tmpl.h"

const char *hm_tmpl_error_class(int code)
{
	switch (code) {
	case HM_EPARSE: return "parse";
	case HM_EUNDEF: return "undefined";
	case HM_ETYPE: return "type";
	default: return "other";
	}
}

struct fragment {
	struct hm_str name;
	struct hm_tmpl *tmpl;
	struct fragment *next;
};

struct row {
	const msgpack_object *obj;
	struct hm_tmpl_opts opts;
	struct fragment *loaded;
	struct hm_arena mem;
};

static int fragment_load(void *arg, struct hm_str name, const struct hm_tmpl **out, struct hm_err *e)
{
	struct row *r = arg;
	struct fragment *f;
	struct hm_str text;
	struct hm_tmpl_opts o = r->opts;
	int rc;

	for (f = r->loaded; f; f = f->next)
		if (hm_str_eq(f->name, name)) {
			*out = f->tmpl;
			return 0;
		}
	if (!hm_mp_str(hm_mp_get(hm_mp_get(r->obj, HM_STR("fragments")), name), &text))
		return hm_err_set(e, HM_ENOENT, "no such fragment");
	f = hm_arena_zalloc(&r->mem, sizeof(*f));
	if (!f)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	f->name = hm_arena_str(&r->mem, name);
	o.name = f->name;
	rc = hm_tmpl_compile(text, &o, &f->tmpl, e);
	if (rc)
		return rc;
	f->next = r->loaded;
	r->loaded = f;
	*out = f->tmpl;
	return 0;
}

static void answer_error(struct hm_buf *out, int code, const char *text)
{
	hm_buf_printf(out, "\"ok\":false,\"error\":\"%s\",\"message\":\"", hm_tmpl_error_class(code));
	hm_buf_json(out, hm_str_c(text));
	hm_buf_lit(out, "\"}");
}

static int render(struct row *r, struct hm_arena *arena, struct hm_buf *text, struct hm_err *e)
{
	const msgpack_object *data = hm_mp_get(r->obj, HM_STR("data"));
	struct hm_tmpl_ctx ctx = {.roots = &data,
				  .nroots = data ? 1 : 0,
				  .arena = arena,
				  .now_ms = 1735689600000,
				  .fragment = fragment_load,
				  .fragment_arg = r};
	struct hm_tmpl *t;
	struct hm_str s;
	int rc;

	if (!hm_mp_str(hm_mp_get(r->obj, HM_STR("template")), &s))
		return hm_err_set(e, HM_EINVAL, "the row has no \"template\"");
	rc = hm_tmpl_compile(s, &r->opts, &t, e);
	if (rc)
		return rc;
	hm_mp_str(hm_mp_get(r->obj, HM_STR("locale")), &ctx.locale);
	if (hm_mp_str(hm_mp_get(r->obj, HM_STR("timezone")), &s) && !hm_tmpl_ctx_zone(&ctx, s))
		rc = hm_err_set(e, HM_EINVAL, "the time zone \"%.*s\" is not known", HM_STRF(s));
	if (rc == 0)
		rc = hm_tmpl_render(t, &ctx, text, e);
	hm_tmpl_free(t);
	return rc;
}

bool hm_tmpl_case(struct hm_str json, struct hm_arena *arena, struct hm_buf *out)
{
	struct hm_buf packed, text;
	msgpack_zone zone;
	msgpack_object obj = {0};
	struct row r = {.obj = &obj};
	struct hm_str s;
	struct hm_err e;
	int rc;

	hm_buf_init(&packed, 64u << 20);
	hm_buf_init(&text, 64u << 20);
	hm_arena_init(&r.mem, NULL, 0);
	msgpack_zone_init(&zone, 8192);
	hm_err_clear(&e);
	rc = hm_json_to_msgpack(json, &packed, &e);
	if (rc == 0)
		rc = hm_msgpack_decode(&zone, hm_buf_str(&packed), &obj, &e);
	if (rc == 0 && obj.type != MSGPACK_OBJECT_MAP)
		rc = hm_err_set(&e, HM_EINVAL, "the row is not a JSON object");
	hm_buf_lit(out, "{\"id\":");
	if (rc) {
		hm_buf_lit(out, "null,");
		answer_error(out, HM_EINVAL, e.text);
	} else {
		const msgpack_object *id = hm_mp_get(&obj, HM_STR("id"));
		bool braces = false;

		if (id)
			hm_msgpack_to_json(id, out);
		else
			hm_buf_lit(out, "null");
		hm_buf_putc(out, ',');
		if (hm_mp_str(hm_mp_get(&obj, HM_STR("format")), &s) &&
		    !hm_tmpl_format_by_name(s, &r.opts.format))
			rc = hm_err_set(&e, HM_EINVAL, "the format \"%.*s\" is not known", HM_STRF(s));
		if (hm_mp_bool(hm_mp_get(&obj, HM_STR("braces")), &braces))
			r.opts.single_brace = braces;
		if (rc == 0)
			rc = render(&r, arena, &text, &e);
		if (rc == 0) {
			hm_buf_lit(out, "\"ok\":true,\"output\":\"");
			hm_buf_json(out, hm_buf_str(&text));
			hm_buf_lit(out, "\"}");
		} else {
			answer_error(out, rc, e.text);
		}
	}
	for (struct fragment *f = r.loaded; f; f = f->next)
		hm_tmpl_free(f->tmpl);
	msgpack_zone_destroy(&zone);
	hm_arena_fini(&r.mem);
	hm_buf_fini(&text);
	hm_buf_fini(&packed);
	return obj.type == MSGPACK_OBJECT_MAP;
}
