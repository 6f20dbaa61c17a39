/*
 * cors.c - preflight requests of browsers: what their pages may ask below /v1/inbox
 */
#include "inbox/inbox_int.h"

#define PREFLIGHT(path)                                                                                 \
	{                                                                                               \
		.method = HTTP_OPTIONS, .scope = HM_SCOPE_NONE, .pattern = path, .run = inbox_preflight \
	}

const struct hm_http_route hm_inbox_cors_routes[] = {
	PREFLIGHT("/v1/inbox"),
	PREFLIGHT("/v1/inbox/{one}"),
	PREFLIGHT("/v1/inbox/{one}/{two}"),
};
const size_t hm_inbox_cors_routes_n = hm_countof(hm_inbox_cors_routes);
