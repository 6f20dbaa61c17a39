/*
 * api_preview.c - POST /v1/templates/{name}/preview: the request read, the version found, preview.c asked
 *
 * Which text: `document` in the body (not stored; what an editor has on the screen), else `version`: a number or "draft",
 * else the version jobs get, else the draft. Only a draft is asked of Redis; everything else this process has.
 */
#include <stdlib.h>

#include <stdio.h>

#include "base/json.h"
#include "base/obj.h"
#include "templates/api_int.h"
#include "templates/preview.h"

#define PREVIEW_MAGIC 0x70727677u
#define WORK_MAGIC    0x70727771u
#define NAMES_MAX     64
#define ARENA_MAX     (64u << 20) /* of one preview */

struct view { /* in the request's arena, which is held */
	uint32_t magic;
	struct hm_http_req *r;
	struct hm_templates_api *api;
	struct hm_str name;
	struct hm_tapi_body body;
	struct hm_preview p;
	struct hm_str route;
	bool draft; /* asked for */
};

static void view_end(struct view *v)
{
	struct hm_http_req *r = v->r;

	hm_tapi_body_end(&v->body);
	HM_MAGIC_CLEAR(v);
	hm_http_release(r);
}

static bool wrong(struct view *v, const char *field, const char *sentence)
{
	hm_http_problem(v->r, HM_PROBLEM_INVALID, &(struct hm_problem_info){.field = hm_str_c(field)}, "%s",
			sentence);
	return false;
}

/* nil counts as absent, as everywhere in the API */
static const msgpack_object *member(const struct view *v, const char *name)
{
	const msgpack_object *o = v->body.open ? hm_mp_get(&v->body.o, hm_str_c(name)) : NULL;

	return o && o->type != MSGPACK_OBJECT_NIL ? o : NULL;
}

static bool read_map(struct view *v, const char *name, const msgpack_object **o_r)
{
	*o_r = member(v, name);
	if (*o_r && (*o_r)->type != MSGPACK_OBJECT_MAP)
		return wrong(v, name, "must be an object");
	return true;
}

static bool read_text(struct view *v, const char *name, struct hm_str *s_r)
{
	const msgpack_object *o = member(v, name);

	if (o && (o->type != MSGPACK_OBJECT_STR || !hm_mp_str(o, s_r)))
		return wrong(v, name, "must be a text");
	return true;
}

/* "channels" and "media": a list of texts, or one text */
static bool read_list(struct view *v, const char *name, struct hm_str *list, size_t *n_r)
{
	const msgpack_object *o = member(v, name);

	*n_r = 0;
	if (!o)
		return true;
	if (o->type == MSGPACK_OBJECT_STR) {
		*n_r = 1;
		return hm_mp_str(o, list);
	}
	if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size > NAMES_MAX)
		return wrong(v, name, "must be a list of at most 64 names");
	for (uint32_t i = 0; i < o->via.array.size; i++)
		if (o->via.array.ptr[i].type != MSGPACK_OBJECT_STR ||
		    !hm_mp_str(&o->via.array.ptr[i], &list[(*n_r)++]))
			return wrong(v, name, "must be a list of names");
	return true;
}

static bool read_request(struct view *v)
{
	struct hm_str *names = hm_arena_alloc(&v->r->arena, 2 * NAMES_MAX * sizeof(*names));
	struct hm_str *media = names ? names + NAMES_MAX : NULL;
	const msgpack_object *now = member(v, "now");
	size_t n_media;

	if (!names) {
		hm_tapi_no_memory(v->r);
		return false;
	}
	if (!read_map(v, "data", &v->p.data) || !read_map(v, "facts", &v->p.facts) ||
	    !read_text(v, "locale", &v->p.locale) || !read_text(v, "tz", &v->p.tz) ||
	    !read_text(v, "route", &v->route) || !read_list(v, "channels", names, &v->p.n_names) ||
	    !read_list(v, "media", media, &n_media))
		return false;
	v->p.names = names;
	v->p.to = member(v, "to");
	if (v->p.to && v->p.to->type != MSGPACK_OBJECT_STR && v->p.to->type != MSGPACK_OBJECT_MAP)
		return wrong(v, "to", "must be an address, or an object with one per medium or channel");
	if (now && (!hm_mp_u64(now, &v->p.now_ms) || v->p.now_ms == 0))
		return wrong(v, "now", "must be milliseconds of Unix time");
	for (size_t i = 0; i < n_media; i++) {
		int m = hm_medium_find(media[i]);

		if (m < 0) {
			char text[160];

			snprintf(text, sizeof(text), "must name media: %s", hm_media_list());
			return wrong(v, "media", text);
		}
		v->p.media |= 1u << m;
	}
	return true;
}

/* -- on a thread of the pool: a long text on thirty channels takes its time ------------------------- */

struct work {
	uint32_t magic;
	uv_work_t work;
	struct view *v;
	struct hm_templates_api *api;
	struct hm_config *cfg; /* these are held */
	struct hm_channel_set *channels;
	struct hm_template_set *set;
	struct hm_template_opts opts;
	struct hm_str doc;	  /* to be compiled, or */
	struct hm_template *tmpl; /* one that there is */
	struct hm_arena arena;
	struct hm_tapi_errors errors;
	struct hm_buf out;
	struct hm_err err;
};

static void on_pool(uv_work_t *uw)
{
	struct work *w = hm_container_of(uw, struct work, work);
	struct hm_preview *p = &w->v->p;

	if (w->tmpl == NULL &&
	    hm_tcheck_document(w->v->name, w->doc, &w->opts, hm_tapi_errors_add, &w->errors, &w->tmpl))
		return;
	p->tmpl = w->tmpl;
	p->set = w->set;
	p->cfg = w->cfg;
	p->channels = w->channels;
	if (w->v->route.len && (p->route = hm_config_route(w->cfg, w->v->route)) == NULL) {
		hm_err_set(&w->err, HM_ENOENT, "no route \"%.*s\"", HM_STRF(w->v->route));
		hm_err_field(&w->err, "route");
	} else if (hm_template_is_fragment(w->tmpl)) {
		hm_err_set(&w->err, HM_EINVAL,
			   "\"%.*s\" is a fragment: it is previewed in a message that includes it",
			   HM_STRF(w->v->name));
	} else {
		int rc = hm_preview_write(p, &w->arena, &w->out, &w->err);

		hm_assert((rc != 0) == (w->err.code != 0));
	}
}

static void on_done(uv_work_t *uw, int status)
{
	struct work *w = hm_container_of(uw, struct work, work);
	struct view *v = w->v;
	struct hm_http_req *r = v->r;

	HM_CHECK(w, WORK_MAGIC);
	HM_CHECK(v, PREVIEW_MAGIC);
	if (w->errors.n)
		hm_tapi_errors_answer(r, &w->errors);
	else if (w->err.code != 0)
		hm_http_problem(r, HM_PROBLEM_INVALID,
				&(struct hm_problem_info){.field = hm_str_c(w->err.field)}, "%s",
				w->err.text);
	else
		hm_http_json(r, 200, hm_buf_str(&w->out));
	w->api->checks--;
	if (w->tmpl)
		hm_template_unref(w->tmpl);
	hm_template_set_unref(w->set);
	hm_channel_set_unref(w->channels);
	hm_config_unref(w->cfg);
	hm_buf_fini(&w->out);
	hm_arena_fini(&w->arena);
	HM_MAGIC_CLEAR(w);
	free(w);
	view_end(v);
}

/* Takes the view and the set; doc lives as long as the request. */
static void start(struct view *v, struct hm_template_set *set, const struct hm_template *t, struct hm_str doc)
{
	struct work *w = v->api->checks < HM_TAPI_CHECKS_MAX ? calloc(1, sizeof(*w)) : NULL;
	struct hm_templates_now now = {.cfg = NULL};
	int rc;

	if (!w) {
		hm_http_problem(v->r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
				"too many templates are being checked");
		hm_template_set_unref(set);
		view_end(v);
		return;
	}
	HM_MAGIC_SET(w, WORK_MAGIC);
	v->api->checks++;
	v->api->now(v->api->arg, &now);
	w->v = v;
	w->api = v->api;
	/* counted, which does not change them */
	w->cfg = hm_config_ref((struct hm_config *)(uintptr_t)now.cfg);
	w->channels = hm_channel_set_ref((struct hm_channel_set *)(uintptr_t)now.channels);
	w->set = set;
	w->opts = now.opts;
	w->opts.with = set;
	w->doc = doc;
	w->tmpl = t ? hm_template_ref((struct hm_template *)(uintptr_t)t) : NULL;
	hm_arena_init(&w->arena, NULL, ARENA_MAX);
	hm_buf_init(&w->out, HM_PREVIEW_MAX_BYTES);
	hm_tapi_errors_init(&w->errors, &w->arena);
	if (v->p.now_ms == 0)
		v->p.now_ms = hm_http_server_wall_ms(v->r->srv);
	rc = uv_queue_work(v->api->tick->loop, &w->work, on_pool, on_done);
	hm_assert(rc == 0); /* fails only for a NULL callback */
}

static void on_draft(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct view *v = arg;
	const struct hm_reply *last;

	HM_CHECK(v, PREVIEW_MAGIC);
	/* [index, m:draft, m:v1 ..., draft] */
	last = !err && reply->type == HM_REPLY_ARRAY && reply->n ? &reply->v[reply->n - 1] : NULL;
	if (last && last->type == HM_REPLY_STR) {
		start(v, hm_book_take(v->api->book), NULL, hm_arena_str(&v->r->arena, last->s));
		return;
	}
	if (err)
		hm_tapi_problem_redis(v->r, err);
	else
		hm_http_problem(v->r, HM_PROBLEM_NOT_FOUND, NULL,
				!last	   ? "there is no template \"%.*s\""
				: v->draft ? "\"%.*s\" has no draft"
					   : "all versions of \"%.*s\" are archived; say which version",
				HM_STRF(v->name));
	view_end(v);
}

static void ask_draft(struct view *v)
{
	static const struct hm_str fields[] = {HM_STR_INIT("draft")};

	hm_tstore_get(hm_http_server_redis(v->r->srv), v->api->prefix, v->name, fields, 1, on_draft, v);
}

/* A version the process has; without a number the current one, then the draft. */
static void show_version(struct view *v, uint64_t version)
{
	struct hm_template_set *set = hm_book_take(v->api->book);
	struct hm_str ref = version ? hm_arena_printf(&v->r->arena, "%.*s@%llu", HM_STRF(v->name),
						      (unsigned long long)version)
				    : v->name;
	struct hm_err e = {0};
	const struct hm_template *t = hm_template_find(set, ref, &e);

	if (t) {
		start(v, set, t, HM_STR(""));
		return;
	}
	hm_template_set_unref(set);
	if (!version) {
		ask_draft(v);
		return;
	}
	hm_http_problem(v->r, HM_PROBLEM_NOT_FOUND, &(struct hm_problem_info){.field = HM_STR("version")},
			"%s", e.text);
	view_end(v);
}

static void show_document(struct view *v, const msgpack_object *doc)
{
	struct hm_str s = HM_STR("");
	struct hm_buf text;

	hm_buf_init_arena(&text, &v->r->arena, HM_TSTORE_DOC_MAX);
	if (doc->type == MSGPACK_OBJECT_MAP)
		hm_msgpack_to_json(doc, &text);
	else if (doc->type == MSGPACK_OBJECT_STR && hm_mp_str(doc, &s))
		hm_buf_puts(&text, s);
	if (text.err == 0 && text.len > 0) {
		start(v, hm_book_take(v->api->book), NULL, hm_buf_str(&text));
		return;
	}
	if (text.err)
		hm_http_problem(v->r, HM_PROBLEM_TOO_LARGE,
				&(struct hm_problem_info){.field = HM_STR("document")},
				"a document may have %u bytes", HM_TSTORE_DOC_MAX);
	else
		(void)wrong(v, "document", "must be an object, or the text of a document");
	view_end(v);
}

void hm_tapi_preview(struct hm_http_req *r)
{
	static const char *const known[] = {"document", "version", "data",     "facts", "locale", "tz",
					    "now",	"route",   "channels", "media", "to",	  NULL};
	struct view *v = hm_arena_zalloc(&r->arena, sizeof(*v));
	const msgpack_object *version;
	struct hm_str s = HM_STR("");
	uint64_t n = 0;

	if (!v) {
		hm_tapi_no_memory(r);
		return;
	}
	HM_MAGIC_SET(v, PREVIEW_MAGIC);
	v->r = r;
	v->api = hm_http_server_templates(r->srv);
	hm_http_hold(r);
	if (!hm_tapi_name(r, &v->name) || !hm_tapi_object(r, true, known, &v->body) || !read_request(v)) {
		view_end(v);
		return;
	}
	version = member(v, "version");
	if (member(v, "document")) {
		show_document(v, member(v, "document"));
	} else if (version && hm_mp_str(version, &s) && hm_str_is(s, "draft")) {
		v->draft = true;
		ask_draft(v);
	} else if (version && (!hm_mp_u64(version, &n) || n == 0 || n > UINT32_MAX)) {
		(void)wrong(v, "version", "must be a number, or \"draft\"");
		view_end(v);
	} else {
		show_version(v, n);
	}
}
