/*
 * routes.c - what is served below /v1/templates
 */
#include "templates/api_int.h"

#define ONE	"/v1/templates/{name}"
#define VERSION ONE "/versions/{version}"

const struct hm_http_route hm_templates_routes[] = {
	{.method = HTTP_GET, .scope = HM_SCOPE_READ, .pattern = "/v1/templates", .run = hm_tapi_list},
	{.method = HTTP_POST, .scope = HM_SCOPE_TEMPLATES, .pattern = "/v1/templates", .run = hm_tapi_create},
	{.method = HTTP_GET, .scope = HM_SCOPE_READ, .pattern = ONE, .run = hm_tapi_get},
	{.method = HTTP_DELETE, .scope = HM_SCOPE_TEMPLATES, .pattern = ONE, .run = hm_tapi_delete},
	{.method = HTTP_GET, .scope = HM_SCOPE_READ, .pattern = ONE "/history", .run = hm_tapi_history},
	{.method = HTTP_PUT, .scope = HM_SCOPE_TEMPLATES, .pattern = ONE "/draft", .run = hm_tapi_save},
	{.method = HTTP_DELETE, .scope = HM_SCOPE_TEMPLATES, .pattern = ONE "/draft", .run = hm_tapi_discard},
	{.method = HTTP_POST, .scope = HM_SCOPE_TEMPLATES, .pattern = ONE "/publish", .run = hm_tapi_publish},
	{.method = HTTP_POST,
	 .scope = HM_SCOPE_TEMPLATES,
	 .pattern = ONE "/archive",
	 .run = hm_tapi_archive_all},
	{.method = HTTP_POST,
	 .scope = HM_SCOPE_TEMPLATES,
	 .pattern = ONE "/validate",
	 .run = hm_tapi_validate},
	{.method = HTTP_POST, .scope = HM_SCOPE_READ, .pattern = ONE "/preview", .run = hm_tapi_preview},
	{.method = HTTP_GET, .scope = HM_SCOPE_READ, .pattern = VERSION, .run = hm_tapi_get_version},
	{.method = HTTP_POST,
	 .scope = HM_SCOPE_TEMPLATES,
	 .pattern = VERSION "/archive",
	 .run = hm_tapi_archive},
	{.method = HTTP_POST,
	 .scope = HM_SCOPE_TEMPLATES,
	 .pattern = VERSION "/restore",
	 .run = hm_tapi_restore},
	{.method = HTTP_POST,
	 .scope = HM_SCOPE_TEMPLATES,
	 .pattern = VERSION "/current",
	 .run = hm_tapi_current},
};
const size_t hm_templates_routes_n = hm_countof(hm_templates_routes);
