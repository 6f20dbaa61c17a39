/*
 * lease.h - when a shard asks for tokens and permits, how many, and when it gives them back
 *
 * Tokens (of rates and quotas) and permits (of concurrency) belong to all processes; a shard has what it was granted. It asks
 * when work found too little, for as much as its last asking shows it can use (doubled when that was not
 * enough, halved when half came back); after an answer it waits as long as that said. What it does not use within
 * IDLE_MS goes back; what it kept for a second is worth nothing any more, because the quota counts it where it was granted.
 * Permits are good until LEASE_MS after the grant and renewed while there is something on the wire.
 *
 * A part of both is kept for lane critical, when this channel carries such messages.
 *
 * Pure: time is a parameter (monotonic ms). No memory, no errors, no Redis: share.c carries what is decided here.
 */
#ifndef HM_SHAPE_LEASE_H
#define HM_SHAPE_LEASE_H

#include "base/defs.h"

#define HM_LEASE_IDLE_MS   250
#define HM_LEASE_TTL_MS	   1000 /* of tokens */
#define HM_LEASE_BEAT_MS   100	/* asked again at the latest while limited by permits */
#define HM_LEASE_PERMIT_MS 3000 /* a shard that is gone holds its permits so long */
#define HM_LEASE_URGENT_MS 5	/* least time between two askings for lane critical */
#define HM_LEASE_RETRY_MS  200	/* Redis did not answer */
#define HM_LEASE_WANT_MAX  100000

struct hm_lease_ask { /* what Redis is told */
	uint64_t want, back, stamp;
	bool urgent;
	uint32_t permits_want, permits_used;
};
struct hm_lease_grant { /* and what it says */
	uint64_t tokens, wait_ms, stamp;
	uint32_t permits;
	bool critical; /* messages of lane critical were seen lately */
};
struct hm_lease {
	bool quotas;	      /* tokens are needed */
	uint32_t concurrency; /* permits are needed; 0: not */
	uint32_t share;	      /* percent kept for lane critical */
	uint64_t tokens;
	uint32_t permits, used;
	bool asking;
	/* private */
	bool hungry, hungry_urgent, critical, told; /* told: Redis knows of us */
	uint64_t debt;				    /* taken without having been there */
	uint64_t kept;				    /* tokens of the last grant, kept for critical */
	uint64_t want, asked_want, stamp;
	uint32_t asked_permits;
	uint64_t got_ms, used_ms, asked_ms, next_ms, permits_until_ms, hungry_ms;
};
void hm_lease_init(struct hm_lease *l, uint64_t now_ms);
/* Another configuration. What is held stays. */
void hm_lease_limits(struct hm_lease *l, bool quotas, uint32_t concurrency, uint32_t share);
/* Requests that may leave. */
uint64_t hm_lease_room(const struct hm_lease *l, bool urgent, uint64_t now_ms);
void hm_lease_take(struct hm_lease *l, uint32_t n, uint64_t now_ms);
void hm_lease_untake(struct hm_lease *l, uint32_t n);		     /* did not leave */
void hm_lease_done(struct hm_lease *l, uint32_t n, uint64_t now_ms); /* answered */
/* There is work and the room was not enough. */
void hm_lease_hungry(struct hm_lease *l, bool urgent, uint64_t now_ms);
/* Milliseconds until it wants to ask (or give back); UINT64_MAX: nothing to say. */
uint64_t hm_lease_due_ms(const struct hm_lease *l, uint64_t now_ms);
/* Its time has come: fills what to ask. An answer must follow: granted, or failed. */
void hm_lease_ask(struct hm_lease *l, struct hm_lease_ask *a, uint64_t now_ms);
void hm_lease_granted(struct hm_lease *l, const struct hm_lease_grant *g, uint64_t now_ms);
void hm_lease_leave(struct hm_lease *l); /* the next asking gives everything back */
void hm_lease_failed(struct hm_lease *l, uint64_t now_ms);

#endif
