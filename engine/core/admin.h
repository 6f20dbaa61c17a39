/*
 * admin.h - routes for people who run the engine: a look inside, reload, test clock
 *
 * GET  /v1/admin/shard    what this shard holds: lanes, channels, jobs, connections to providers
 * POST /v1/admin/reload   like SIGHUP
 * POST /v1/admin/clock    {"advance_ms": N}: only with test.clock: true
 */
#ifndef HM_CORE_ADMIN_H
#define HM_CORE_ADMIN_H

#include "ingest/http_req.h"

extern const struct hm_http_route hm_admin_routes[];
extern const size_t hm_admin_routes_n;

#endif
