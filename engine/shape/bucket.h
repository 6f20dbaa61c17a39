/*
 * bucket.h - a token bucket in whole numbers: `max` tokens per window, at most `burst` saved up
 *
 * Nothing is rounded: a token costs window_ms credits, and every millisecond earns max credits, so 20 per minute are 20 per
 * minute, however often it is looked at. The script in share.c keeps the buckets all processes share in the same units.
 *
 * Pure: time is a parameter (milliseconds of any clock that does not run backwards; if it does, nothing is earned). No
 * memory, no errors. Limits: burst * window_ms < 2^62.
 */
#ifndef HM_SHAPE_BUCKET_H
#define HM_SHAPE_BUCKET_H

#include "base/defs.h"

struct hm_bucket {
	uint64_t max, window_ms, burst;
	/* private */
	uint64_t credit, last_ms;
};
/* Full. */
void hm_bucket_init(struct hm_bucket *b, uint64_t max, uint64_t window_ms, uint64_t burst, uint64_t now_ms);
/* Another rate from now on; what is saved stays, up to the new burst. */
void hm_bucket_rate(struct hm_bucket *b, uint64_t max, uint64_t window_ms, uint64_t burst, uint64_t now_ms);
uint64_t hm_bucket_tokens(struct hm_bucket *b, uint64_t now_ms);
/* Takes n; false (and nothing taken) when there are fewer. */
bool hm_bucket_take(struct hm_bucket *b, uint64_t n, uint64_t now_ms) HM_MUSTCHECK;
/* Takes up to n; what is missing is forgiven. */
void hm_bucket_drain(struct hm_bucket *b, uint64_t n, uint64_t now_ms);
void hm_bucket_give(struct hm_bucket *b, uint64_t n);
/* Milliseconds until n tokens are there; 0: now; UINT64_MAX: never (n > burst, or max is 0). */
uint64_t hm_bucket_wait_ms(struct hm_bucket *b, uint64_t n, uint64_t now_ms);

#endif
