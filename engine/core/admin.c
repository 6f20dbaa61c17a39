/*
 * admin.c - the admin routes
 */
#include "base/clock.h"
#include "base/json.h"
#include "core/admin.h"
#include "core/engine.h"
#include "core/shard.h"

#define MAX_ADVANCE_MS (366u * 86400000ull)

static void get_shard(struct hm_http_req *r)
{
	struct hm_shard *s = hm_http_server_arg(r->srv);
	struct hm_buf b;

	hm_buf_init_arena(&b, &r->arena, 4u << 20);
	hm_shard_describe(s, &b);
	hm_http_json(r, 200, hm_buf_str(&b));
}

static void post_reload(struct hm_http_req *r)
{
	hm_shard_ask_reload(hm_http_server_arg(r->srv));
	hm_http_json(r, 202, HM_STR("{\"reload\":\"asked for; the log says how it went\"}"));
}

static void post_clock(struct hm_http_req *r)
{
	struct hm_shard *s = hm_http_server_arg(r->srv);
	msgpack_object o;
	msgpack_zone zone;
	struct hm_err e = {0};
	struct hm_buf b;
	uint64_t ms = 0;
	bool ok;

	if (!hm_shard_engine(s)->first_cfg->settings.test.clock) {
		hm_http_problem(r, HM_PROBLEM_NOT_FOUND, NULL, "the test clock is off (test.clock)");
		return;
	}
	hm_buf_init_arena(&b, &r->arena, 4096);
	if (!msgpack_zone_init(&zone, 1024)) {
		hm_http_problem(r, HM_PROBLEM_INTERNAL, NULL, "out of memory");
		return;
	}
	ok = hm_json_to_msgpack(r->body, &b, &e) == 0 &&
	     hm_msgpack_decode(&zone, hm_buf_str(&b), &o, &e) == 0;
	if (ok && hm_mp_get(&o, HM_STR("advance_ms")) != NULL)
		ok = hm_mp_u64(hm_mp_get(&o, HM_STR("advance_ms")), &ms) && ms <= MAX_ADVANCE_MS;
	else
		ok = false;
	msgpack_zone_destroy(&zone);
	if (!ok) {
		hm_http_problem(r, HM_PROBLEM_INVALID, NULL,
				"the body must be {\"advance_ms\": N} with N up to %llu",
				(unsigned long long)MAX_ADVANCE_MS);
		return;
	}
	hm_clock_advance_ms(ms);
	hm_shard_ask_clock(s);
	hm_http_json(r, 200, HM_STR("{\"advanced\":true}"));
}

const struct hm_http_route hm_admin_routes[] = {
	{.method = HTTP_GET,
	 .scope = HM_SCOPE_ADMIN,
	 .pattern = "/v1/admin/shard",
	 .run = get_shard,
	 .summary = "What this shard holds"},
	{.method = HTTP_POST,
	 .scope = HM_SCOPE_ADMIN,
	 .pattern = "/v1/admin/reload",
	 .run = post_reload,
	 .summary = "Reload the configuration"},
	{.method = HTTP_POST,
	 .scope = HM_SCOPE_ADMIN,
	 .pattern = "/v1/admin/clock",
	 .run = post_clock,
	 .summary = "Advance the test clock"},
};
const size_t hm_admin_routes_n = hm_countof(hm_admin_routes);
