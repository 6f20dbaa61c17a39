/*
 * api_key.h - API keys: made, shown once, kept as a hash
 *
 *   hk_<id: 10 characters base32>_<secret: 43 characters base64url of 32 random bytes>
 *
 * In Redis, hash `{<prefix>:ctl}:keys`: field = id, value = JSON
 *   {"hash":"<SHA-256 of the secret, hex>","name":"...","scopes":["send","read"],"rate":0,"created":ms,"revoked":ms}
 * A revoked key stays in the list with its time. The secret has 256 bits of entropy, so
 * a plain hash is enough: there is nothing to guess faster.
 *
 * Threads: pure functions.
 */
#ifndef HM_INGEST_API_KEY_H
#define HM_INGEST_API_KEY_H

#include "base/buf.h"
#include "base/err.h"

#define HM_API_KEY_ID	    10
#define HM_API_KEY_TEXT	    57 /* hk_ + id + _ + 43 */
#define HM_API_KEY_NAME	    64
#define HM_API_KEY_RATE_MAX 1000000

struct hm_api_key {
	char id[HM_API_KEY_ID + 1];
	uint8_t hash[32];
	uint8_t scopes; /* enum hm_scope_bit of http_req.h: 1 send, 2 read, 4 admin, 8 templates, 16 suppressions */
	uint32_t rate; /* requests per second per process, 0 = no limit */
	uint64_t created_ms, revoked_ms;
	char name[HM_API_KEY_NAME + 1];
};

/* Fills id and hash of *k (scopes, name, rate, created_ms are the caller's) and writes the key itself into `text`. */
int hm_api_key_make(struct hm_api_key *k, char text[HM_API_KEY_TEXT + 1], struct hm_err *e) HM_MUSTCHECK;
/* Shape only: fills the id and the hash of the secret. False when it is no key of ours. */
bool hm_api_key_parse(struct hm_str text, char id_r[HM_API_KEY_ID + 1], uint8_t hash_r[32]) HM_MUSTCHECK;
bool hm_api_key_id_valid(struct hm_str id);
/* "send,read" */
int hm_api_key_scopes_parse(struct hm_str text, uint8_t *scopes_r, struct hm_err *e) HM_MUSTCHECK;
void hm_api_key_scopes_put(struct hm_buf *b, uint8_t scopes, const char *sep);
void hm_api_key_put_record(struct hm_buf *b, const struct hm_api_key *k);
int hm_api_key_read_record(struct hm_str id, struct hm_str json, struct hm_api_key *k_r,
			   struct hm_err *e) HM_MUSTCHECK;

#endif
