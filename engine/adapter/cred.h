/*
 * cred.h - credentials: minted or fetched once, shared by all shards
 *
 * The service lives on the control thread and does the work once for all shards
 * (single flight, minimum age, early refresh before expiry, failure backoff);
 * every shard keeps a table of current tokens, so the hot path is a pointer read.
 * Given Redis, one process fetches for all (cred_share.h): where a new token ends the
 * old one, and where each exchange uses up the refresh token, it has to be so.
 * Static credentials (header, query, body field) are part of the channel and never
 * come here.
 */
#ifndef HM_ADAPTER_CRED_H
#define HM_ADAPTER_CRED_H

#include "adapter/adapter.h"
#include "base/list.h"
#include "loop/mailbox.h"
#include "redis/redis.h"

struct hm_cred_service; /* control thread */
struct hm_cred_shard;	/* one per shard */

/* w: the control thread's own wire (slow path calls to token endpoints). */
int hm_cred_service_new(struct hm_tick *t, struct hm_mailbox *mb, struct hm_wire *w,
			struct hm_cred_service **r, struct hm_err *e) HM_MUSTCHECK;
/* From now on tokens that are fetched (and those of `share: yes`) are one for all processes on this Redis; the prefix of keys has a
 * hash tag. Without Redis each process fetches its own, except where that would use up a refresh token. */
int hm_cred_service_share(struct hm_cred_service *s, struct hm_redis *r, struct hm_str prefix,
			  struct hm_err *e) HM_MUSTCHECK;
void hm_cred_service_close(struct hm_cred_service *s); /* after every shard's is closed */
struct hm_cred_shard *hm_cred_shard_new(struct hm_cred_service *s, struct hm_tick *t, struct hm_mailbox *mb);
void hm_cred_shard_close(struct hm_cred_shard *cs); /* waiters are dropped; mail in flight is harmless */

/* true: *token_r is usable now (points into the shard's table; valid until the tick ends). */
bool hm_cred_get(struct hm_cred_shard *cs, struct hm_channel *ch, struct hm_str *token_r) HM_MUSTCHECK;
struct hm_cred_waiter {
	struct hm_node node;
	/* err == NULL: hm_cred_get will say yes now. From the loop, never from inside wait. */
	void (*on_ready)(struct hm_cred_waiter *w, const struct hm_err *err);
	/* private */
	uint32_t round;
};
void hm_cred_wait(struct hm_cred_shard *cs, struct hm_channel *ch, struct hm_cred_waiter *w);
void hm_cred_unwait(struct hm_cred_shard *cs, struct hm_channel *ch, struct hm_cred_waiter *w);
/* The provider refused `token`: if it is still the current one (and older than the adapter's minimum age), it is
 * dropped and the next hm_cred_get says no until a new one is there. */
void hm_cred_reject(struct hm_cred_shard *cs, struct hm_channel *ch, struct hm_str token);

/* -- the work itself, without threads: the service, dry-run and tests use it ---------------------- */

/* Signs the channel's JWT: the credential itself, or the assertion of its token request. */
int hm_cred_mint(const struct hm_channel *ch, uint64_t wall_ms, struct hm_arena *a, struct hm_str *token_r,
		 struct hm_err *e) HM_MUSTCHECK;
bool hm_cred_exchanges(const struct hm_channel *ch); /* a token is asked for with a request */
/* Builds the token request; *origin_r says where it goes. */
int hm_cred_request(const struct hm_channel *ch, uint64_t wall_ms, struct hm_str nonce, struct hm_arena *a,
		    struct hm_call *call, struct hm_origin_opts *origin_r, struct hm_err *e) HM_MUSTCHECK;
/* The same, with what the last exchange gave for this one (empty: the first). */
int hm_cred_request_with(const struct hm_channel *ch, struct hm_str refresh_token, uint64_t wall_ms,
			 struct hm_str nonce, struct hm_arena *a, struct hm_call *call,
			 struct hm_origin_opts *origin_r, struct hm_err *e) HM_MUSTCHECK;
/* What a mint or an answer gave. */
struct hm_cred_result {
	enum hm_outcome outcome;	       /* ok: token and times are set */
	struct hm_str token;		       /* arena */
	struct hm_str refresh_token;	       /* for the next exchange; empty: as before */
	uint64_t refresh_at_ms, expires_at_ms; /* wall */
	struct hm_str reason, detail;
	uint64_t retry_after_ms;
	bool operator_needed;
};
void hm_cred_judge(const struct hm_channel *ch, const struct hm_call *call, uint64_t wall_ms,
		   struct hm_arena *a, struct hm_cred_result *r);
/* The times of a token minted at wall_ms. */
void hm_cred_lifetime(const struct hm_channel *ch, uint64_t wall_ms, struct hm_cred_result *r);

#endif
