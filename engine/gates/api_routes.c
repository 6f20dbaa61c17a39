/*
 * api_routes.c - what is served below /v1/suppressions and /v1/consents
 */
#include "gates/api.h"

#define LIST	"/v1/suppressions"
#define CONSENT "/v1/consents"

const struct hm_http_route hm_suppress_routes[] = {
	{.method = HTTP_GET, .scope = HM_SCOPE_READ, .pattern = LIST, .run = hm_sapi_list},
	{.method = HTTP_POST, .scope = HM_SCOPE_SUPPRESSIONS, .pattern = LIST, .run = hm_sapi_add},
	{.method = HTTP_DELETE, .scope = HM_SCOPE_SUPPRESSIONS, .pattern = LIST, .run = hm_sapi_delete},
	{.method = HTTP_POST, .scope = HM_SCOPE_SUPPRESSIONS, .pattern = LIST "/batch", .run = hm_sapi_batch},
	{.method = HTTP_POST,
	 .scope = HM_SCOPE_SUPPRESSIONS,
	 .pattern = LIST "/remove",
	 .run = hm_sapi_remove},
	{.method = HTTP_GET, .scope = HM_SCOPE_READ, .pattern = CONSENT, .run = hm_sapi_list},
	{.method = HTTP_POST, .scope = HM_SCOPE_SUPPRESSIONS, .pattern = CONSENT, .run = hm_sapi_add},
	{.method = HTTP_DELETE, .scope = HM_SCOPE_SUPPRESSIONS, .pattern = CONSENT, .run = hm_sapi_delete},
	{.method = HTTP_POST,
	 .scope = HM_SCOPE_SUPPRESSIONS,
	 .pattern = CONSENT "/batch",
	 .run = hm_sapi_batch},
	{.method = HTTP_POST,
	 .scope = HM_SCOPE_SUPPRESSIONS,
	 .pattern = CONSENT "/remove",
	 .run = hm_sapi_remove},
};
const size_t hm_suppress_routes_n = hm_countof(hm_suppress_routes);
