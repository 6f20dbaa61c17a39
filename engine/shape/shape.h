/*
 * shape.h - how fast and how much a channel may send: rates, quotas, concurrency, circuit breaker, retry budget
 *
 * A shaper per shard, a shape per channel name (it outlives configuration reloads). Everything asked on the hot path is
 * local; what all processes share is leased from Redis in batches: a shard with work takes tokens for the next ~100 ms (more
 * when the rate is low: at least one) from `{<prefix>:ch:<channel>}:rate` by one script, which refills the bucket by Redis'
 * own clock. Unused tokens are given back when idle. While Redis is away nothing new is leased (nothing is pulled then either).
 *
 *   rate            token bucket: `rate` per period, at most `burst` at once; several (per second and per day) all hold
 *   concurrency     requests on the wire, of all processes together: leased the same way, with a heartbeat
 *   adaptive rate   (AIMD) a rate_limited answer multiplies the allowed rate by 0.5 (at most once per RTT or second), each
 *                   second without one adds 5 % of the declared (or best seen) rate until it is back; Retry-After of scope
 *                   channel or credential stops it for that long, in all processes (told through Redis)
 *   breaker         closed -> open when, of the last breaker.window with at least breaker.min answers, the share that counts
 *                   against health (tbl/outcomes.h) passes breaker.share, or their p90 latency breaker.latency; open for
 *                   breaker.open (doubling up to 10 x), then half-open: a few probes decide. Per shard: a shard that has seen
 *                   nothing needs no persuasion
 *   by hand         pause / resume of a channel: control stream, kept in Redis, all processes within a second
 *   retry budget    retries may be at most retry_budget (20 %) of a channel's first attempts over the last 10 s, plus 10 per second
 *
 * Threads: the shard's. on_change comes from the loop: room has come, or the state changed.
 */
#ifndef HM_SHAPE_SHAPE_H
#define HM_SHAPE_SHAPE_H

#include "adapter/adapter.h"
#include "loop/tick.h"

struct hm_redis;
struct hm_shaper;
struct hm_shape;

enum hm_breaker { HM_BREAKER_CLOSED, HM_BREAKER_OPEN, HM_BREAKER_HALF_OPEN };

struct hm_shaper_deps { /* all outlive the shaper */
	struct hm_tick *tick;
	struct hm_redis *redis;
	struct hm_str prefix, node; /* queue.prefix; name of this consumer */
};
struct hm_shaper *hm_shaper_new(const struct hm_shaper_deps *d, struct hm_err *e);
void hm_shaper_close(struct hm_shaper *s, void (*on_closed)(void *arg), void *arg);
/* The shape of a channel under a new or the first configuration; never NULL but out of memory. on_change is replaced. */
struct hm_shape *hm_shaper_channel(struct hm_shaper *s, const struct hm_channel_info *info,
				   const struct hm_config *cfg, void (*on_change)(void *arg), void *arg);
/* By hand, from the control stream (mail of the control thread). */
void hm_shaper_pause(struct hm_shaper *s, struct hm_str channel, bool paused);

/* -- the hot path ------------------------------------------------------------------------------------ */
/* Requests that may leave now (0: on_change comes when that changes; asks for a lease when there is work). urgent: lane critical,
 * which also gets the share of tokens kept for it. UINT32_MAX: no limit. */
uint32_t hm_shape_room(struct hm_shape *s, bool urgent);
void hm_shape_take(struct hm_shape *s, uint32_t requests, uint32_t messages); /* they leave now */
void hm_shape_untake(struct hm_shape *s, uint32_t requests,
		     uint32_t messages); /* they did not leave after all */
struct hm_shape_answer {
	enum hm_outcome outcome;
	enum hm_scope scope; /* of a rate limit */
	uint32_t took_us, messages;
	uint64_t retry_after_ms;
};
void hm_shape_answered(struct hm_shape *s, const struct hm_shape_answer *a); /* once per request taken */
/* Does it take messages at all? false: open breaker or paused by hand; a route goes to its next channel. */
bool hm_shape_usable(const struct hm_shape *s);
bool hm_shape_may_retry(struct hm_shape *s); /* takes one of the budget */
enum hm_breaker hm_shape_breaker(const struct hm_shape *s);
const char *
hm_shape_why(const struct hm_shape *s); /* "paused by hand", "circuit open: 62 % of 120 answers failed"; "" */
void hm_shape_describe(const struct hm_shape *s, struct hm_buf *out); /* one JSON object */

#endif
