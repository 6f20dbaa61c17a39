/*
 * cred.h - credentials: minted or fetched once, shared by all shards
 *
 * The service lives on the control thread and does the work once for all shards
 * (single flight, minimum age, early refresh before expiry, failure backoff);
 * every shard keeps a table of current tokens, so the hot path is a pointer read.
 * Static credentials (header, query, body field) are part of the channel and never
 * come here.
 */
#ifndef HM_ADAPTER_CRED_H
#define HM_ADAPTER_CRED_H

#include "adapter/adapter.h"
#include "loop/mailbox.h"

struct hm_cred_service; /* control thread */
struct hm_cred_shard;	/* one per shard */

/* w: the control thread's own wire (slow path calls to token endpoints). */
int hm_cred_service_new(struct hm_tick *t, struct hm_mailbox *mb, struct hm_wire *w,
			struct hm_cred_service **r, struct hm_err *e) HM_MUSTCHECK;
void hm_cred_service_close(struct hm_cred_service *s); /* after every shard's is closed */
struct hm_cred_shard *hm_cred_shard_new(struct hm_cred_service *s, struct hm_tick *t, struct hm_mailbox *mb);
void hm_cred_shard_close(struct hm_cred_shard *cs); /* waiters are dropped; mail in flight is harmless */

/* true: *token_r is usable now (points into the shard's table; valid until the tick ends). */
bool hm_cred_get(struct hm_cred_shard *cs, struct hm_channel *ch, struct hm_str *token_r) HM_MUSTCHECK;
struct hm_cred_waiter {
	struct hm_node node;
	/* err == NULL: hm_cred_get will say yes now. From the loop, never from inside wait. */
	void (*on_ready)(struct hm_cred_waiter *w, const struct hm_err *err);
};
void hm_cred_wait(struct hm_cred_shard *cs, struct hm_channel *ch, struct hm_cred_waiter *w);
void hm_cred_unwait(struct hm_cred_shard *cs, struct hm_channel *ch, struct hm_cred_waiter *w);
/* The provider refused `token`: if it is still the current one (and older than the adapter's minimum age), it is
 * dropped and the next hm_cred_get says no until a new one is there. */
void hm_cred_reject(struct hm_cred_shard *cs, struct hm_channel *ch, struct hm_str token);
/* Without threads, for dry-run and tests: mints a self-signed credential (JWT) or builds the token request. */
int hm_cred_mint(const struct hm_channel *ch, uint64_t wall_ms, struct hm_arena *a, struct hm_str *token_r,
		 struct hm_err *e) HM_MUSTCHECK;

#endif
