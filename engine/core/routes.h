/*
 * routes.h - /v1/routes: the routes of this process' configuration
 */
#ifndef HM_CORE_ROUTES_H
#define HM_CORE_ROUTES_H

#include "ingest/http_req.h"

extern const struct hm_http_route hm_routes_routes[];
extern const size_t hm_routes_routes_n;

#endif
