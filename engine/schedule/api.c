/*
 * api.c - /v1/schedules
 */
#include "schedule/api.h"

#include "base/json.h"
#include "ingest/api_int.h"
#include "schedule/schedule.h"

struct ask {		       /* in the request's arena */
	struct hm_http_req *r; /* held */
	struct hm_str name;
	enum { SHOW, LIST, PAUSE, RESUME, RUN } what;
};

static struct ask *ask_new(struct hm_http_req *r, struct hm_str name)
{
	struct ask *a = hm_arena_zalloc(&r->arena, sizeof(*a));

	if (a != NULL)
		a->name = hm_arena_str(&r->arena, name);
	if (a == NULL || a->name.p == NULL) {
		hm_http_problem(r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
				"out of memory");
		return NULL;
	}
	a->r = r;
	hm_http_hold(r);
	return a;
}

static void missing(const struct ask *a)
{
	hm_http_problem(a->r, HM_PROBLEM_NOT_FOUND, NULL, "there is no schedule \"%.*s\"",
			(int)hm_min(a->name.len, (size_t)80), a->name.p);
}

static void say(const struct ask *a, int status, const char *state)
{
	struct hm_buf *b = &a->r->srv->body;

	hm_buf_reset(b);
	hm_buf_printf(b, "{\"name\":\"%.*s\",\"state\":\"%s\"}", HM_STRF(a->name), state);
	hm_http_json(a->r, status, hm_buf_str(b));
}

/* true: the request is answered, or nobody waits for it. */
static bool over(const struct ask *a, const struct hm_err *err)
{
	if (!a->r->answered && err)
		hm_http_problem_redis(a->r, err);
	return a->r->answered;
}

/* -- create ------------------------------------------------------------------------------------------ */

static void on_created(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct ask *a = arg;

	if (over(a, err)) {
		/* done */
	} else if (reply->i == 1) {
		say(a, 201, "scheduled");
	} else if (reply->i == 0) {
		hm_http_problem(a->r, HM_PROBLEM_CONFLICT, &(struct hm_problem_info){.field = HM_STR("name")},
				"there is a schedule \"%.*s\" already", HM_STRF(a->name));
	} else {
		hm_http_problem(a->r, HM_PROBLEM_CONFLICT, NULL, "there are %d schedules already",
				HM_SCHEDULES_MAX);
	}
	hm_http_release(a->r);
}

static void create(struct hm_http_req *r)
{
	struct hm_http_server *srv = r->srv;
	enum body_format f = hm_api_body_format(r->content_type);
	uint64_t now = srv->tick->wall_ms, next;
	struct hm_schedule s;
	msgpack_object root;
	struct hm_err e = {0};
	struct ask *a;

	if (f != BODY_JSON && f != BODY_MSGPACK) {
		hm_api_wrong_type(r, "application/json or application/msgpack");
		return;
	}
	if (hm_api_decode(srv, f, r->body, &root, &e) || hm_schedule_read(&root, &s, &e)) {
		hm_http_problem_err(r, &e);
		return;
	}
	if (hm_http_check_names(srv, &s.job, &e)) {
		hm_err_wrap(&e, "job");
		hm_http_problem_err(r, &e);
		return;
	}
	next = hm_schedule_next(&s, now, now);
	if (next == HM_SCHEDULE_NEVER) {
		hm_http_problem(r, HM_PROBLEM_INVALID, &(struct hm_problem_info){.field = HM_STR("until")},
				"until: nothing of it lies ahead");
		return;
	}
	hm_buf_reset(&srv->body);
	hm_msgpack_to_json(&root, &srv->body);
	if (srv->body.err || srv->body.len > HM_SCHEDULE_DOC_MAX) {
		hm_http_problem(r, HM_PROBLEM_TOO_LARGE, NULL, "a schedule may have %u bytes",
				HM_SCHEDULE_DOC_MAX);
		return;
	}
	a = ask_new(r, s.name);
	if (a != NULL)
		hm_schedule_create(srv->deps.redis, srv->prefix, a->name, next, hm_buf_str(&srv->body), now,
				   hm_str_c(r->key_id), on_created, a);
}

/* -- one or all ---------------------------------------------------------------------------------------- */

static void on_changed(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct ask *a = arg;

	if (over(a, err)) {
		/* done */
	} else if (reply->i < 0) {
		missing(a);
	} else {
		say(a, 200, a->what == PAUSE ? "paused" : "scheduled");
	}
	hm_http_release(a->r);
}

static void on_run(void *arg, const struct hm_err *err)
{
	struct ask *a = arg;

	if (!over(a, err))
		say(a, 202, "queued");
	hm_http_release(a->r);
}

/* What is to happen needs the document: resume its next time, run its job. */
static bool with_document(struct ask *a, const struct hm_reply *row)
{
	struct hm_http_server *srv = a->r->srv;
	uint64_t now = srv->tick->wall_ms, created;
	struct hm_schedule s;
	msgpack_object root;
	struct hm_err e = {0};

	if (!hm_str_u64(row->v[4].s, &created) || hm_api_decode(srv, BODY_JSON, row->v[2].s, &root, &e) ||
	    hm_schedule_read(&root, &s, &e)) {
		hm_http_problem(a->r, HM_PROBLEM_INTERNAL, NULL, "the stored schedule cannot be read: %s",
				e.text);
		return false;
	}
	if (a->what == RUN) {
		hm_schedule_fire(srv->deps.redis, srv->prefix, srv->partitions, &s, row->v[3].s, now, on_run,
				 a);
		return true;
	}
	hm_schedule_pause(srv->deps.redis, srv->prefix, a->name, hm_schedule_next(&s, created, now),
			  on_changed, a);
	return true;
}

static void on_list(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct ask *a = arg;
	struct hm_buf *b = &a->r->srv->body;

	if (over(a, err)) {
		/* done */
	} else if (a->what == LIST) {
		hm_buf_reset(b);
		hm_buf_lit(b, "{\"schedules\":[");
		for (size_t i = 0; i < reply->n; i++) {
			if (i)
				hm_buf_putc(b, ',');
			hm_schedule_json(&reply->v[i], b);
		}
		hm_buf_lit(b, "]}");
		if (b->err)
			hm_http_problem(a->r, HM_PROBLEM_BUSY, NULL, "the answer is too large");
		else
			hm_http_json(a->r, 200, hm_buf_str(b));
	} else if (reply->n == 0) {
		missing(a);
	} else if (a->what == SHOW) {
		hm_buf_reset(b);
		hm_schedule_json(&reply->v[0], b);
		hm_http_json(a->r, 200, hm_buf_str(b));
	} else if (with_document(a, &reply->v[0])) {
		return;
	}
	hm_http_release(a->r);
}

static void list(struct hm_http_req *r)
{
	struct ask *a = ask_new(r, HM_STR(""));

	if (a == NULL)
		return;
	a->what = LIST;
	hm_schedule_list(r->srv->deps.redis, r->srv->prefix, HM_STR_NULL, on_list, a);
}

/* NULL: answered. */
static struct ask *named(struct hm_http_req *r)
{
	if (!hm_schedule_name_ok(r->params[0])) {
		hm_http_problem(r, HM_PROBLEM_NOT_FOUND, NULL, "no schedule has such a name");
		return NULL;
	}
	return ask_new(r, r->params[0]);
}

static void show(struct hm_http_req *r)
{
	struct ask *a = named(r);

	if (a == NULL)
		return;
	a->what = SHOW;
	hm_schedule_list(r->srv->deps.redis, r->srv->prefix, a->name, on_list, a);
}

static void resume(struct hm_http_req *r)
{
	struct ask *a = named(r);

	if (a == NULL)
		return;
	a->what = RESUME;
	hm_schedule_list(r->srv->deps.redis, r->srv->prefix, a->name, on_list, a);
}

static void run(struct hm_http_req *r)
{
	struct ask *a = named(r);

	if (a == NULL)
		return;
	a->what = RUN;
	hm_schedule_list(r->srv->deps.redis, r->srv->prefix, a->name, on_list, a);
}

static void hold(struct hm_http_req *r)
{
	struct ask *a = named(r);

	if (a == NULL)
		return;
	a->what = PAUSE;
	hm_schedule_pause(r->srv->deps.redis, r->srv->prefix, a->name, HM_SCHEDULE_NEVER, on_changed, a);
}

static void on_deleted(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct ask *a = arg;

	if (over(a, err)) {
		/* done */
	} else if (reply->i == 0) {
		missing(a);
	} else {
		say(a, 200, "deleted");
	}
	hm_http_release(a->r);
}

static void delete (struct hm_http_req *r)
{
	struct ask *a = named(r);

	if (a != NULL)
		hm_schedule_delete(r->srv->deps.redis, r->srv->prefix, a->name, on_deleted, a);
}

const struct hm_http_route hm_schedules_routes[] = {
	{.method = HTTP_POST, .scope = HM_SCOPE_SEND, .pattern = "/v1/schedules", .run = create},
	{.method = HTTP_GET, .scope = HM_SCOPE_READ, .pattern = "/v1/schedules", .run = list},
	{.method = HTTP_GET, .scope = HM_SCOPE_READ, .pattern = "/v1/schedules/{name}", .run = show},
	{.method = HTTP_DELETE, .scope = HM_SCOPE_SEND, .pattern = "/v1/schedules/{name}", .run = delete},
	{.method = HTTP_POST, .scope = HM_SCOPE_SEND, .pattern = "/v1/schedules/{name}/pause", .run = hold},
	{.method = HTTP_POST,
	 .scope = HM_SCOPE_SEND,
	 .pattern = "/v1/schedules/{name}/resume",
	 .run = resume},
	{.method = HTTP_POST, .scope = HM_SCOPE_SEND, .pattern = "/v1/schedules/{name}/run", .run = run},
};
const size_t hm_schedules_routes_n = hm_countof(hm_schedules_routes);
