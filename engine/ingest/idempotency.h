/*
 * idempotency.h - a request with an Idempotency-Key counts once
 *
 * The key, its body's hash and the answer are stored in Redis by the very script that
 * adds the queue entries, so there is no moment at which one is there without the
 * other, and no "in progress": of two equal requests at the same time one submits and
 * the other gets its answer. For that, key and entries share a partition:
 *
 *   {hm:7}:idem:<SHA-256 of API key, path and Idempotency-Key>  PX http.idempotency_ttl
 *       value: <SHA-256 of the body, hex> <status> <JSON answer>
 *
 * Only accepted requests are stored; one that failed may be repeated with the same key.
 */
#ifndef HM_INGEST_IDEMPOTENCY_H
#define HM_INGEST_IDEMPOTENCY_H

#include "ingest/http_int.h"

#define HM_IDEM_KEY_MAX	    255	 /* bytes of an Idempotency-Key */
#define HM_IDEM_ENTRIES_MAX 1000 /* queue entries of one request with a key */

struct idem {
	uint8_t digest[32]; /* of API key, path and Idempotency-Key */
	uint8_t body[32];
	uint32_t partition;
};
/* Checks the header and computes partition and key. False: answered with a problem. */
bool hm_idem_begin(struct hm_http_req *r, struct idem *i) HM_MUSTCHECK;

struct idem_entry {
	enum hm_lane lane;
	struct hm_str entry;
};
enum idem_result {
	IDEM_NEW,      /* the entries were added, the answer is stored */
	IDEM_REPLAY,   /* the same request came before: its answer */
	IDEM_CONFLICT, /* the key was used with another body */
	IDEM_FAILED,   /* Redis: err is set */
};
typedef void (*idem_fn)(void *arg, enum idem_result res, int status, struct hm_str answer,
			const struct hm_err *err);
/* Entries and answer are copied. fn comes once: from the loop, or from inside when memory is out; `answer`
 * is valid during it. */
void hm_idem_submit(struct hm_http_server *s, const struct idem *i, const struct idem_entry *v, size_t n,
		    int status, struct hm_str answer, idem_fn fn, void *arg);
/* The answers of REPLAY and CONFLICT. */
void hm_idem_answer(struct hm_http_req *r, enum idem_result res, int status, struct hm_str answer);

#endif
