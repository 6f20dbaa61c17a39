/*
 * routes.c - what the API serves: the table, and how a path finds its row
 *
 * openapi.json describes the same rows; a unit test holds the two against each other.
 */
#include "ingest/http_int.h"

const struct hm_http_route hm_http_routes[] = {
	{.method = HTTP_POST, .scope = HM_SCOPE_SEND, .pattern = "/v1/messages", .run = hm_api_message_post},
	{.method = HTTP_POST,
	 .scope = HM_SCOPE_SEND,
	 .pattern = "/v1/messages/batch",
	 .begin = hm_api_batch_begin,
	 .data = hm_api_batch_data,
	 .end = hm_api_batch_end},
	{.method = HTTP_GET,
	 .scope = HM_SCOPE_READ,
	 .pattern = "/v1/messages/{id}",
	 .run = hm_api_message_get},
	{.method = HTTP_GET, .scope = HM_SCOPE_READ, .pattern = "/v1/messages", .run = hm_api_messages_list},
	{.method = HTTP_POST,
	 .scope = HM_SCOPE_SEND,
	 .pattern = "/v1/messages/{id}/cancel",
	 .run = hm_api_message_cancel},
	{.method = HTTP_POST, .scope = HM_SCOPE_ADMIN, .pattern = "/v1/pause", .run = hm_api_pause},
	{.method = HTTP_POST, .scope = HM_SCOPE_ADMIN, .pattern = "/v1/resume", .run = hm_api_resume},
	{.method = HTTP_POST, .scope = HM_SCOPE_ADMIN, .pattern = "/v1/cancel", .run = hm_api_cancel},
	{.method = HTTP_GET, .scope = HM_SCOPE_READ, .pattern = "/v1/pauses", .run = hm_api_pauses},
	{.method = HTTP_GET, .scope = HM_SCOPE_READ, .pattern = "/v1/report", .run = hm_api_report},
	{.method = HTTP_POST, .scope = HM_SCOPE_SEND, .pattern = "/v1/receipts", .run = hm_api_receipts_post},
	{.method = HTTP_GET, .scope = HM_SCOPE_READ, .pattern = "/v1/dead", .run = hm_api_dead_list},
	{.method = HTTP_DELETE, .scope = HM_SCOPE_ADMIN, .pattern = "/v1/dead", .run = hm_api_dead_drop},
	{.method = HTTP_GET, .scope = HM_SCOPE_READ, .pattern = "/v1/dead/count", .run = hm_api_dead_count},
	{.method = HTTP_POST,
	 .scope = HM_SCOPE_ADMIN,
	 .pattern = "/v1/dead/replay",
	 .run = hm_api_dead_replay},
	{.method = HTTP_GET, .scope = HM_SCOPE_READ, .pattern = "/v1/dead/{id}", .run = hm_api_dead_get},
	{.method = HTTP_POST,
	 .scope = HM_SCOPE_ADMIN,
	 .pattern = "/v1/campaigns/{name}/resend-failed",
	 .run = hm_api_campaign_resend},
	{.method = HTTP_GET, .scope = HM_SCOPE_NONE, .pattern = "/healthz", .run = hm_api_healthz},
	{.method = HTTP_GET, .scope = HM_SCOPE_NONE, .pattern = "/readyz", .run = hm_api_readyz},
	/* metrics.auth: required asks for a key here */
	{.method = HTTP_GET, .scope = HM_SCOPE_READ, .pattern = "/metrics", .run = hm_api_metrics},
	{.method = HTTP_GET, .scope = HM_SCOPE_NONE, .pattern = "/openapi.json", .run = hm_api_openapi},
};
const size_t hm_http_routes_count = hm_countof(hm_http_routes);

static bool match(const char *pattern, struct hm_str path, struct hm_str params[2])
{
	const char *p = path.p, *end = path.p + path.len;
	unsigned n = 0;

	while (*pattern) {
		if (*pattern == '{') {
			const char *start = p;

			while (p < end && *p != '/')
				p++;
			if (p == start || n == 2)
				return false;
			params[n++] = hm_str_n(start, (size_t)(p - start));
			while (*pattern++ != '}')
				;
			continue;
		}
		if (p == end || *p++ != *pattern++)
			return false;
	}
	return p == end;
}

const struct hm_http_route *hm_http_route_find(const struct hm_http_route *own, size_t n, uint8_t method,
					       struct hm_str path, struct hm_str params[2], uint64_t *allow_r)
{
	uint8_t wanted = method == HTTP_HEAD ? HTTP_GET : method;
	bool literal = false;

	for (size_t i = 0; i < n; i++) {
		struct hm_str found[2] = {HM_STR_NULL, HM_STR_NULL};

		if (!match(own[i].pattern, path, found))
			continue;
		/* "/v1/messages/batch" is no message id: a row without parameters hides those with */
		if (literal && found[0].p)
			continue;
		if (!found[0].p)
			literal = true;
		if (own[i].method == wanted) {
			memcpy(params, found, sizeof(found));
			return &own[i];
		}
		if (own[i].method < 64)
			*allow_r |= UINT64_C(1) << own[i].method;
	}
	return NULL;
}
