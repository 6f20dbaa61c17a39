/*
 * aimd.h - a rate that falls when the provider complains and recovers by itself
 *
 * Not limiting until the first complaint. A complaint halves the rate this shard had (what it was allowed, or what it was
 * seen to send), at most once a second, so that the answers of one burst count once; every second without one gives back 5 %
 * of the base, which is the best rate seen in the last minutes (or the declared one, when that is lower). At the base it lets go.
 *
 * Rates are thousandths of a request per second. Pure: time is a parameter. No memory, no errors.
 */
#ifndef HM_SHAPE_AIMD_H
#define HM_SHAPE_AIMD_H

#include "shape/bucket.h"

#define HM_AIMD_FLOOR \
	100 /* one in ten seconds: it never stops altogether, or nobody would notice that it works again */

struct hm_aimd {
	bool active;
	uint64_t allowed, base; /* thousandths per second; meaningful while active */
	uint64_t declared;	/* 0: none */
	/* private */
	struct hm_bucket bucket;
	uint64_t second_ms; /* begin of the second being counted */
	uint64_t sent;	    /* in it */
	uint64_t rate;	    /* of the last full second */
	uint64_t best;	 /* fades by a hundredth each second, so that an hour-old rush is not the measure */
	uint64_t cut_ms; /* last complaint that counted */
	bool cut_seen;
};
void hm_aimd_init(struct hm_aimd *a, uint64_t declared, uint64_t now_ms);
void hm_aimd_declared(struct hm_aimd *a, uint64_t declared); /* a new configuration */
void hm_aimd_sent(struct hm_aimd *a, uint64_t n, uint64_t now_ms);
void hm_aimd_unsent(struct hm_aimd *a, uint64_t n, uint64_t now_ms);
/* The provider complained; true when that lowered the rate. */
bool hm_aimd_complaint(struct hm_aimd *a, uint64_t now_ms);
/* Requests that may leave; UINT64_MAX while it does not limit. */
uint64_t hm_aimd_room(struct hm_aimd *a, uint64_t now_ms);
/* Milliseconds until at least one may; 0: now. */
uint64_t hm_aimd_wait_ms(struct hm_aimd *a, uint64_t now_ms);

#endif
