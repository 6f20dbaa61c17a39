/*
 * api_control.c - POST /v1/pause, /v1/resume, /v1/cancel and GET /v1/pauses: what waits, goes on or ends, by label
 *
 * The body names one thing: {"campaign": "spring"}, or tag, tenant, message, job. It becomes a mark on the control
 * stream (cancel_mark.h), which every process hears of at once; the answer says that the mark is written, not that
 * everybody has heard.
 */
#include "base/json.h"
#include "ingest/api_int.h"
#include "ingest/cancel_mark.h"

static const char *const names[] = {"message", "job", "campaign", "tag", "tenant"};

static void refuse(struct hm_http_req *r, struct hm_str field, const char *what)
{
	hm_http_problem(r, HM_PROBLEM_INVALID, &(struct hm_problem_info){.field = field}, "%.*s: %s",
			(int)hm_min(field.len, (size_t)40), field.p, what);
}

/* false: answered. name_r: the key the client used. */
static bool read_body(struct hm_http_req *r, struct hm_ctl_event *ev, const char **name_r)
{
	enum body_format f = hm_api_body_format(r->content_type);
	msgpack_object root;
	struct hm_err e = {0};

	if (f != BODY_JSON && f != BODY_MSGPACK) {
		hm_api_wrong_type(r, "application/json or application/msgpack");
		return false;
	}
	if (hm_api_decode(r->srv, f, r->body, &root, &e)) {
		hm_http_problem_err(r, &e);
		return false;
	}
	if (root.type != MSGPACK_OBJECT_MAP || root.via.map.size != 1) {
		refuse(r, HM_STR("body"), "must be a map with one of message, job, campaign, tag and tenant");
		return false;
	}
	*name_r = NULL;
	for (size_t i = 0; i < hm_countof(names); i++) {
		const msgpack_object *v = hm_mp_get(&root, hm_str_c(names[i]));

		if (v == NULL)
			continue;
		*name_r = names[i];
		if (v->type != MSGPACK_OBJECT_STR) {
			refuse(r, hm_str_c(names[i]), "must be a string");
			return false;
		}
		ev->kind = i < 2 ? HM_STR("id") : hm_str_c(names[i]);
		ev->what = hm_arena_str(&r->arena, hm_str_n(v->via.str.ptr, v->via.str.size));
	}
	if (*name_r == NULL) {
		refuse(r, HM_STR("body"), "must name one of message, job, campaign, tag and tenant");
		return false;
	}
	if (!hm_ctl_name_ok(ev->kind, ev->what)) {
		refuse(r, hm_str_c(*name_r),
		       hm_str_is(ev->kind, "id") ? "must be a ULID: 26 characters"
						 : "must have 1 to 64 bytes");
		return false;
	}
	return true;
}

struct wish {		       /* in the request's arena */
	struct hm_http_req *r; /* held */
	struct hm_str what;
	const char *name, *state;
};

static void on_written(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct wish *w = arg;
	struct hm_http_req *r = w->r;

	if (r->answered) {
		/* nobody is there any more */
	} else if (err) {
		hm_http_problem_redis(r, err);
	} else {
		struct hm_buf *b = &r->srv->body;

		hm_buf_reset(b);
		hm_buf_printf(b, "{\"%s\":\"", w->name);
		hm_buf_json(b, w->what);
		hm_buf_printf(b, "\",\"state\":\"%s\"", w->state);
		if (reply->type == HM_REPLY_INT)
			hm_buf_printf(b, ",\"changed\":%s", reply->i ? "true" : "false");
		hm_buf_putc(b, '}');
		hm_http_json(r, 202, hm_buf_str(b));
	}
	hm_http_release(r);
}

static void control(struct hm_http_req *r, enum hm_ctl_type type, const char *state)
{
	struct hm_http_server *s = r->srv;
	struct hm_ctl_event ev = {.type = type, .by = hm_str_c(r->key_id), .at_ms = s->tick->wall_ms};
	struct wish *w;
	const char *name;
	struct hm_ulid id;

	if (!read_body(r, &ev, &name))
		return;
	if (hm_str_is(ev.kind, "id") &&
	    hm_ulid_parse(ev.what, &id)) /* clocks of several machines differ a little */
		ev.at_ms = hm_max(ev.at_ms, hm_ulid_ms(&id));
	w = hm_arena_zalloc(&r->arena, sizeof(*w));
	if (w == NULL || ev.what.p == NULL) {
		hm_http_problem(r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
				"out of memory");
		return;
	}
	*w = (struct wish){.r = r, .what = ev.what, .name = name, .state = state};
	hm_http_hold(r);
	if (type == HM_CTL_CANCEL)
		hm_ctl_send(s->deps.redis, s->prefix, &ev, on_written, w);
	else
		hm_ctl_pause(s->deps.redis, s->prefix, &ev, on_written, w);
}

void hm_api_pause(struct hm_http_req *r)
{
	control(r, HM_CTL_PAUSE, "pausing");
}

void hm_api_resume(struct hm_http_req *r)
{
	control(r, HM_CTL_RESUME, "resuming");
}

void hm_api_cancel(struct hm_http_req *r)
{
	control(r, HM_CTL_CANCEL, "cancelling");
}

static void on_pauses(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_http_req *r = arg;
	const struct hm_reply *list = hm_reply_at(reply, 1);
	struct hm_buf *b = &r->srv->body;
	size_t n = 0;

	if (r->answered) {
		/* nobody is there any more */
	} else if (err || list == NULL) {
		hm_http_problem_redis(r, err);
	} else {
		hm_buf_reset(b);
		hm_buf_lit(b, "{\"pauses\":[");
		for (size_t i = 0; i + 1 < list->n; i += 2) {
			struct hm_str what = list->v[i].s, kind;
			struct hm_str note = list->v[i + 1].s;

			if (!hm_str_split(&what, ':', &kind))
				continue;
			hm_buf_printf(b, "%s{\"%.*s\":\"", n++ ? "," : "", HM_STRF(kind));
			hm_buf_json(b, what);
			hm_buf_putc(b, '"');
			if (note.len > 2 && note.p[0] == '{' && note.p[note.len - 1] == '}') {
				hm_buf_putc(b, ',');
				hm_buf_put(b, note.p + 1, note.len - 2);
			}
			hm_buf_putc(b, '}');
		}
		hm_buf_lit(b, "]}");
		hm_http_json(r, 200, hm_buf_str(b));
	}
	hm_http_release(r);
}

void hm_api_pauses(struct hm_http_req *r)
{
	hm_http_hold(r);
	hm_ctl_pauses(r->srv->deps.redis, r->srv->prefix, on_pauses, r);
}
