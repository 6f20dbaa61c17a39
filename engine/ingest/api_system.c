/*
 * api_system.c - health, readiness, metrics, the description of the API
 */
#include "ingest/http_int.h"

void hm_api_healthz(struct hm_http_req *r)
{
	struct hm_http_server *s = r->srv;
	struct hm_buf *b = &s->body;

	hm_buf_reset(b);
	hm_buf_lit(b, "{\"status\":\"ok\",\"version\":\"" HM_VERSION "\",\"node\":\"");
	hm_buf_json(b, s->deps.node_id);
	hm_buf_lit(b, "\"}");
	hm_http_json(r, 200, hm_buf_str(b));
}

void hm_api_readyz(struct hm_http_req *r)
{
	struct hm_http_server *s = r->srv;
	struct hm_ledger_health health;
	char text[400];
	struct hm_buf why;

	hm_buf_init(&why, sizeof(text));
	if (s->draining)
		hm_buf_lit(&why, "draining");
	else if (!hm_redis_up(s->deps.redis))
		hm_buf_lit(&why, "Redis is away");
	if (why.len == 0 && s->deps.ledger) {
		hm_ledger_health(s->deps.ledger, &health);
		if (health.failing)
			hm_buf_printf(&why, "the ledger cannot be written: %s", health.err.text);
	}
	if (why.len == 0 && s->deps.ready && !s->deps.ready(s->deps.arg, &why) && why.len == 0)
		hm_buf_lit(&why, "not ready");
	if (why.len) {
		(void)snprintf(text, sizeof(text), "%s", hm_buf_cstr(&why));
		hm_buf_fini(&why);
		hm_http_problem(r, HM_PROBLEM_NOT_READY, &(struct hm_problem_info){.retry_after_s = 2}, "%s",
				text);
		return;
	}
	hm_buf_fini(&why);
	hm_http_json(r, 200, HM_STR("{\"ready\":true}"));
}

void hm_api_metrics(struct hm_http_req *r)
{
	struct hm_http_server *s = r->srv;
	struct hm_buf *b = &s->body;

	if (!s->deps.metrics) {
		hm_http_problem(r, HM_PROBLEM_NOT_FOUND, NULL, "metrics are not served here");
		return;
	}
	hm_buf_reset(b);
	s->deps.metrics(s->deps.arg, b);
	hm_http_reply(r, &(struct hm_http_answer){.status = 200,
						  .type = "text/plain; version=0.0.4; charset=utf-8",
						  .body = hm_buf_str(b)});
}

void hm_api_openapi(struct hm_http_req *r)
{
	hm_http_json(r, 200, hm_str_n(hm_openapi_json, hm_openapi_json_len));
}
