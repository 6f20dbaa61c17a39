/*
 * api_int.h - what the handlers of the API share
 */
#ifndef HM_INGEST_API_INT_H
#define HM_INGEST_API_INT_H

#include "ingest/http_int.h"
#include "ingest/idempotency.h"
#include "ingest/job_encode.h"

/* An entry on its way into a stream, with what the ledger is told once it is there. From srv->pend_slab. */
struct hm_pend {
	struct hm_http_server *srv;
	struct hm_http_req *req; /* held */
	void *batch;
	uint64_t run;
	struct hm_ledger_job job; /* texts in labels */
	char labels[2 * HM_JOB_MAX_NAME + 3 * HM_JOB_MAX_LABEL];
};
struct hm_pend *hm_pend_new(struct hm_http_server *s, const struct hm_packed *from); /* NULL: out of memory */
void hm_pend_free(struct hm_pend *p);
void hm_pend_xadd(struct hm_pend *p, uint32_t partition, struct hm_str entry,
		  hm_reply_fn fn);	  /* arg of fn is p */
void hm_pend_accepted(struct hm_pend *p); /* Redis has it: count, record */

enum body_format { BODY_UNKNOWN, BODY_JSON, BODY_NDJSON, BODY_MSGPACK };
enum body_format hm_api_body_format(struct hm_str content_type);
bool hm_api_may_submit(struct hm_http_req *r) HM_MUSTCHECK; /* false: answered with 503 */
void hm_api_wrong_type(struct hm_http_req *r, const char *expected);
/* Into srv->zone; valid until the next decode. */
int hm_api_decode(struct hm_http_server *s, enum body_format f, struct hm_str body, msgpack_object *root,
		  struct hm_err *e) HM_MUSTCHECK;

#endif
