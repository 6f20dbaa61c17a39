/*
 * cred_share.h - one token for all processes, kept in Redis
 *
 * Where a new token ends the old one (WeChat, WeCom) and where each fetch uses up the
 * refresh token (Zalo, some OAuth servers), processes that fetch for themselves would
 * lock each other out. So whoever needs a token asks here first:
 *
 *   ask ─▶ TOKEN   somebody has one that is newer than what the caller knows
 *       ─▶ MINE    nobody has; the lock is the caller's until tell, release or lock_ms
 *       ─▶ BUSY    somebody fetches right now: ask again in a moment
 *       ─▶ DOWN    Redis does not answer
 *
 * Keys, all on one slot (prefix is `{hm:ctl}:cred:`, id 16 hex digits):
 *   <prefix><id>          hash n (serial: larger is newer), t (sealed token), expires with it
 *   <prefix><id>:lock     who fetches
 *   <prefix><id>:refresh  sealed refresh token, for ever
 *
 * Texts are sealed (cipher.h) under a key made of the credential's own secrets, which every process with this
 * channel has and Redis has not.
 *
 * Threads: the control thread. Callbacks come once per call, from the loop.
 */
#ifndef HM_ADAPTER_CRED_SHARE_H
#define HM_ADAPTER_CRED_SHARE_H

#include "redis/redis.h"

enum hm_share_answer { HM_SHARE_TOKEN, HM_SHARE_MINE, HM_SHARE_BUSY, HM_SHARE_DOWN };
struct hm_share_reply {
	enum hm_share_answer answer;
	uint64_t serial;
	struct hm_str text;	  /* TOKEN: the sealed token; MINE: the sealed refresh token, or empty */
	uint64_t wait_ms;	  /* BUSY: the lock ends by then */
	const struct hm_err *err; /* DOWN */
};
struct hm_share_call; /* the caller's memory, one at a time; must outlive the call */
typedef void (*hm_share_fn)(struct hm_share_call *c,
			    const struct hm_share_reply *r); /* r: valid during the call */
struct hm_share_call {
	uint32_t magic;
	hm_share_fn fn;
};

struct hm_cred_share {
	struct hm_redis *redis;
	char prefix[128];
	char owner[33]; /* of this process: random */
};
int hm_cred_share_init(struct hm_cred_share *s, struct hm_redis *r, struct hm_str prefix,
		       struct hm_err *e) HM_MUSTCHECK;
/* have: the serial of the token the caller wants to be rid of, 0: none. */
void hm_cred_share_ask(struct hm_cred_share *s, uint64_t id, uint64_t have, uint32_t lock_ms,
		       struct hm_share_call *c, hm_share_fn fn);
/* What MINE has led to. refresh empty: none. answer MINE: kept, serial is its; BUSY: the lock was lost to somebody who fetches,
 * the refresh token is kept all the same. */
void hm_cred_share_tell(struct hm_cred_share *s, uint64_t id, struct hm_str token, uint64_t ttl_ms,
			struct hm_str refresh, struct hm_share_call *c, hm_share_fn fn);
void hm_cred_share_release(struct hm_cred_share *s, uint64_t id); /* it led to nothing */

#endif
