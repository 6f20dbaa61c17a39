/*
 * channels.c - the channel routes
 */
#include "core/channels.h"

#include <stdio.h>

#include "adapter/jsonscan.h"
#include "base/clock.h"
#include "base/json.h"
#include "core/engine.h"
#include "core/shard.h"
#include "shape/pauses.h"
#include "shape/shape.h"

#define ANSWER_MAX (4u << 20)

struct note_search {
	struct hm_str channel;
	struct hm_buf *out;
	bool found;
};

static void on_pause_note(void *arg, struct hm_str channel, struct hm_str note)
{
	struct note_search *f = arg;

	if (f->found || !hm_str_eq(channel, f->channel))
		return;
	f->found = true;
	hm_buf_lit(f->out, ",\"paused\":");
	if (note.len > 0 && hm_json_check(note))
		hm_buf_puts(f->out, note);
	else
		hm_buf_lit(f->out, "{}");
}

static void quota_list(struct hm_buf *b, const char *key, const struct hm_quotas *q)
{
	hm_buf_printf(b, ",\"%s\":[", key);
	for (uint32_t i = 0; i < q->n; i++) {
		hm_buf_printf(b, "%s{\"max\":%u,\"window_ms\":%llu", i ? "," : "", q->v[i].max,
			      (unsigned long long)q->v[i].window_ms);
		if (q->v[i].burst > 0)
			hm_buf_printf(b, ",\"burst\":%u", q->v[i].burst);
		hm_buf_putc(b, '}');
	}
	hm_buf_putc(b, ']');
}

static void one_channel(const struct hm_shard *s, const struct hm_channel_info *info, struct hm_buf *b)
{
	struct note_search f = {.channel = info->name, .out = b};

	hm_buf_lit(b, "{\"name\":\"");
	hm_buf_json(b, info->name);
	hm_buf_lit(b, "\",\"adapter\":\"");
	hm_buf_json(b, info->adapter);
	hm_buf_printf(b, "\",\"medium\":\"%s\",", hm_medium_name(info->medium));
	hm_shape_summary(info->name, b);
	quota_list(b, "rate", &info->rate);
	quota_list(b, "per_recipient", &info->recipient);
	if (info->max_concurrency > 0)
		hm_buf_printf(b, ",\"concurrency\":%u", info->max_concurrency);
	hm_pauses_each(hm_shard_engine(s)->pauses, on_pause_note, &f);
	hm_buf_putc(b, '}');
}

static void get_channels(struct hm_http_req *r)
{
	struct hm_shard *s = hm_http_server_arg(r->srv);
	const struct hm_channel_set *set = hm_shard_runtime(s)->channels;
	struct hm_buf b;

	hm_buf_init_arena(&b, &r->arena, ANSWER_MAX);
	hm_buf_lit(&b, "{\"channels\":[");
	for (size_t i = 0; i < set->n; i++) {
		if (i > 0)
			hm_buf_putc(&b, ',');
		one_channel(s, hm_channel_info(set->v[i]), &b);
	}
	hm_buf_lit(&b, "]}");
	if (b.err)
		hm_http_problem(r, HM_PROBLEM_INTERNAL, NULL, "out of memory");
	else
		hm_http_json(r, 200, hm_buf_str(&b));
}

/* -- by hand ---------------------------------------------------------------------------------------- */

struct change {
	struct hm_str name;
	bool paused;
};

static void on_stored(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_http_req *r = arg;
	const struct change *c = r->state;
	struct hm_buf b;

	HM_CHECK(r, HM_HTTP_REQ_MAGIC);
	if (reply == NULL) {
		hm_http_problem_redis(r, err);
	} else {
		hm_buf_init_arena(&b, &r->arena, 1024);
		hm_buf_lit(&b, "{\"name\":\"");
		hm_buf_json(&b, c->name);
		hm_buf_printf(&b, "\",\"paused\":%s,\"changed\":%s}", c->paused ? "true" : "false",
			      reply->i > 0 ? "true" : "false");
		hm_http_json(r, 200, hm_buf_str(&b));
	}
	hm_http_release(r);
}

/* {"reason": "..."}; an empty body gives none. */
static bool read_reason(struct hm_http_req *r, msgpack_zone *zone, struct hm_str *reason_r)
{
	const msgpack_object *v;
	struct hm_err e = {0};
	msgpack_object o;
	struct hm_buf b;

	*reason_r = HM_STR_NULL;
	if (hm_str_trim(r->body).len == 0)
		return true;
	hm_buf_init_arena(&b, &r->arena, 8192);
	if (hm_json_to_msgpack(r->body, &b, &e) != 0 ||
	    hm_msgpack_decode(zone, hm_buf_str(&b), &o, &e) != 0 || o.type != MSGPACK_OBJECT_MAP)
		return false;
	v = hm_mp_get(&o, HM_STR("reason"));
	if (o.via.map.size != (v != NULL) ||
	    (v != NULL && (v->type != MSGPACK_OBJECT_STR || v->via.str.size > HM_PAUSE_REASON_MAX)))
		return false;
	if (v != NULL)
		*reason_r = hm_arena_str(&r->arena, hm_str_n(v->via.str.ptr, v->via.str.size));
	return true;
}

static void change(struct hm_http_req *r, bool paused)
{
	struct hm_shard *s = hm_http_server_arg(r->srv);
	struct change *c = hm_arena_zalloc(&r->arena, sizeof(*c));
	struct hm_str name = hm_http_unescape(&r->arena, r->params[0], false), reason, by;
	msgpack_zone zone;
	bool ok;

	if (name.p == NULL || hm_channel_find(hm_shard_runtime(s)->channels, name) == NULL) {
		hm_http_problem(r, HM_PROBLEM_NOT_FOUND, NULL, "there is no channel of this name");
		return;
	}
	if (c == NULL || !msgpack_zone_init(&zone, 1024)) {
		hm_http_problem(r, HM_PROBLEM_INTERNAL, NULL, "out of memory");
		return;
	}
	ok = read_reason(r, &zone, &reason);
	msgpack_zone_destroy(&zone);
	if (!ok) {
		hm_http_problem(r, HM_PROBLEM_INVALID, NULL,
				"the body may be empty or {\"reason\": \"text of at most %d bytes\"}",
				HM_PAUSE_REASON_MAX);
		return;
	}
	c->name = name;
	c->paused = paused;
	r->state = c;
	by = r->key_id[0] ? hm_arena_printf(&r->arena, "key:%s", r->key_id) : HM_STR("http");
	hm_http_hold(r);
	hm_pauses_store(hm_shard_redis(s), hm_shard_engine(s)->first_cfg->settings.queue.prefix, name, paused,
			by, reason, hm_clock_wall_ms(), on_stored, r);
}

static void post_pause(struct hm_http_req *r)
{
	change(r, true);
}

static void post_resume(struct hm_http_req *r)
{
	change(r, false);
}

const struct hm_http_route hm_channels_routes[] = {
	{.method = HTTP_GET,
	 .scope = HM_SCOPE_READ,
	 .pattern = "/v1/channels",
	 .run = get_channels,
	 .summary = "Channels, their state and rates"},
	{.method = HTTP_POST,
	 .scope = HM_SCOPE_ADMIN,
	 .pattern = "/v1/channels/{name}/pause",
	 .run = post_pause,
	 .summary = "Pause a channel by hand"},
	{.method = HTTP_POST,
	 .scope = HM_SCOPE_ADMIN,
	 .pattern = "/v1/channels/{name}/resume",
	 .run = post_resume,
	 .summary = "Resume it"},
};
const size_t hm_channels_routes_n = hm_countof(hm_channels_routes);
