/*
 * breaker.h - stops asking a provider that fails, and finds out when it is well again
 *
 *            share or p90 too high               open time over
 *   CLOSED ────────────────────────▶ OPEN ─────────────────────────▶ HALF_OPEN
 *     ▲                               ▲  a probe failed: twice as long  │  │
 *     │                               └─────────────────────────────────┘  │
 *     └──────────────────── all probes of a round succeeded ──────────────┘
 *
 * What is judged are the answers of the last `window` (ten slices), once there are at least `min`. The open time doubles up to ten
 * times its first length, and is back at that after a window without opening again. In HALF_OPEN only
 * answers to requests that began then count: what comes late from before says nothing about now.
 *
 * Pure: time is a parameter (monotonic ms). No memory, no errors.
 */
#ifndef HM_SHAPE_BREAKER_H
#define HM_SHAPE_BREAKER_H

#include "shape/shape.h"

#define HM_BREAKER_SLICES 10
#define HM_BREAKER_LAT	  32 /* of microseconds: bucket i holds what is below 2^(i+1) */

struct hm_breaker_opts {
	uint32_t share;	     /* percent of answers that fail, 0: not judged */
	uint32_t min;	     /* answers */
	uint32_t window_ms;  /* at least 100 */
	uint32_t latency_ms; /* 0: not judged */
	uint32_t open_ms;
	uint32_t probes;
};
struct hm_breaker_state {
	enum hm_breaker state;
	/* why it opened */
	bool by_latency;
	uint32_t seen, failed, p90_ms;
	uint64_t until_ms; /* OPEN: probes from then on */
	uint64_t opened;   /* times */
	/* private */
	struct hm_breaker_opts o;
	uint64_t slice_ms; /* begin of the current one */
	uint32_t slice;
	uint32_t answers[HM_BREAKER_SLICES], bad[HM_BREAKER_SLICES];
	uint32_t latency[HM_BREAKER_SLICES][HM_BREAKER_LAT];
	uint32_t open_ms;		/* length of the next opening */
	uint64_t half_ms;		/* since when HALF_OPEN */
	uint64_t closed_ms;		/* since when CLOSED again */
	uint64_t lost_ms;		/* of the latest connection that broke; 0: none */
	uint32_t probes_out, probes_ok; /* of this round */
};
void hm_breaker_init(struct hm_breaker_state *b, const struct hm_breaker_opts *o, uint64_t now_ms);
/* Other limits from now on; state and answers stay. A breaker that is off (share and latency 0) closes. */
void hm_breaker_opts(struct hm_breaker_state *b, const struct hm_breaker_opts *o, uint64_t now_ms);
/* One answer. true: the state changed. */
bool hm_breaker_answer(struct hm_breaker_state *b, bool failed, uint64_t took_us, uint64_t now_ms);
/* No answer, because its connection broke. What breaks in one millisecond is one event, however many requests were on it: a
 * provider that closes a busy connection now and then is not one that fails. */
bool hm_breaker_lost(struct hm_breaker_state *b, uint64_t took_us, uint64_t now_ms);
/* Time passed: OPEN becomes HALF_OPEN, and probes whose answers never came are given up. true: the state changed. */
bool hm_breaker_tick(struct hm_breaker_state *b, uint64_t now_ms);
/* Requests that may leave: UINT32_MAX closed, 0 open, what is left of the probes half-open. */
uint32_t hm_breaker_room(const struct hm_breaker_state *b);
void hm_breaker_sent(struct hm_breaker_state *b, uint32_t n);
void hm_breaker_unsent(struct hm_breaker_state *b, uint32_t n);
/* Milliseconds until hm_breaker_tick does something; UINT64_MAX: never by itself. */
uint64_t hm_breaker_wait_ms(const struct hm_breaker_state *b, uint64_t now_ms);

#endif
