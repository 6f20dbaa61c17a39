/*
 * routes.c - GET /v1/routes
 */
#include "core/routes.h"

#include "core/engine.h"
#include "core/shard.h"

#define ANSWER_MAX (4u << 20)

static void text(struct hm_buf *b, const char *key, struct hm_str s)
{
	hm_buf_printf(b, "\"%s\":\"", key);
	hm_buf_json(b, s);
	hm_buf_putc(b, '"');
}

static void one_step(const struct hm_config *cfg, const struct hm_route *r, const struct hm_route_step *s,
		     struct hm_buf *b)
{
	const struct hm_channel_conf *c = hm_config_channel(cfg, s->channel);
	bool first = true;

	hm_buf_putc(b, '{');
	text(b, "channel", s->channel);
	if (c != NULL && c->cost > 0)
		hm_buf_printf(b, ",\"cost\":%.10g", c->cost);
	if (s->on_mask) {
		hm_buf_lit(b, ",\"on\":[");
		for (int o = 0; o < HM_OUT_COUNT; o++)
			if (s->on_mask >> o & 1) {
				hm_buf_printf(b, "%s\"%s\"", first ? "" : ",",
					      hm_outcome_name((enum hm_outcome)o));
				first = false;
			}
		hm_buf_putc(b, ']');
	}
	if (s->condition.len > 0) {
		hm_buf_putc(b, ',');
		text(b, "if", s->condition);
	}
	if (r->choose == HM_CHOOSE_WEIGHTED)
		hm_buf_printf(b, ",\"weight\":%u", s->weight);
	if (s->within_ms > 0)
		hm_buf_printf(b, ",\"within_ms\":%llu", (unsigned long long)s->within_ms);
	if (s->after_ms > 0)
		hm_buf_printf(b, ",\"unless\":\"%s\",\"after_ms\":%llu", hm_receipt_name(s->unless),
			      (unsigned long long)s->after_ms);
	hm_buf_putc(b, '}');
}

static void get_routes(struct hm_http_req *r)
{
	static const char *const choices[] = {"ordered", "weighted", "cheapest"};
	const struct hm_shard *s = hm_http_server_arg(r->srv);
	const struct hm_config *cfg = hm_shard_runtime(s)->cfg;
	struct hm_buf b;

	hm_buf_init_arena(&b, &r->arena, ANSWER_MAX);
	hm_buf_lit(&b, "{\"routes\":[");
	for (size_t i = 0; i < cfg->n_routes; i++) {
		const struct hm_route *x = &cfg->routes[i];

		hm_buf_puts(&b, i ? HM_STR(",{") : HM_STR("{"));
		text(&b, "name", x->name);
		hm_buf_printf(&b, ",\"choose\":\"%s\",\"mode\":\"%s\"", choices[x->choose],
			      x->all ? "all" : "first");
		if (x->deadline_ms > 0)
			hm_buf_printf(&b, ",\"deadline_ms\":%llu", (unsigned long long)x->deadline_ms);
		hm_buf_lit(&b, ",\"steps\":[");
		for (size_t k = 0; k < x->n; k++) {
			if (k > 0)
				hm_buf_putc(&b, ',');
			one_step(cfg, x, &x->steps[k], &b);
		}
		hm_buf_lit(&b, "]}");
	}
	hm_buf_lit(&b, "]}");
	if (b.err != 0) {
		hm_http_problem(r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
				"out of memory");
		return;
	}
	hm_http_json(r, 200, hm_buf_str(&b));
}

const struct hm_http_route hm_routes_routes[] = {
	{.method = HTTP_GET,
	 .scope = HM_SCOPE_READ,
	 .pattern = "/v1/routes",
	 .run = get_routes,
	 .summary = "Routes and their steps"},
};
const size_t hm_routes_routes_n = hm_countof(hm_routes_routes);
