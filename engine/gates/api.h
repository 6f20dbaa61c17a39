/*
 * api.h - /v1/suppressions and /v1/consents: the lists over HTTP
 *
 * The rows are in api_routes.c, described in ingest/openapi.json; both lists have the same ones. Reading needs the scope read,
 * changing the scope suppressions. An entry in JSON: supp_text.h.
 *
 * A change is answered when Redis has it, and the next message any process asks about meets it. Everything may be repeated:
 * what is there already is counted as unchanged.
 *
 * Threads: the shard's. Memory: the request's arena.
 */
#ifndef HM_GATES_API_H
#define HM_GATES_API_H

#include "ingest/http_req.h"

extern const struct hm_http_route hm_suppress_routes[];
extern const size_t hm_suppress_routes_n;

/* Handlers: api_read.c, api_write.c. The path tells which of the lists. */
void hm_sapi_list(struct hm_http_req *r), hm_sapi_add(struct hm_http_req *r),
	hm_sapi_batch(struct hm_http_req *r), hm_sapi_delete(struct hm_http_req *r),
	hm_sapi_remove(struct hm_http_req *r);

#endif
