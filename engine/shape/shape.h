/*
 * shape.h - how fast and how much a channel may send: rates, quotas, concurrency, circuit breaker, retry budget
 *
 * A shaper per shard, a shape per channel name (it outlives configuration reloads). Everything asked on the hot path is
 * local; what all processes share is leased from Redis in batches: a shard with work takes tokens for the next ~100 ms (more
 * when the rate is low: at least one) from `{<prefix>:ch:<channel>}:rate` by one script, which refills the bucket by Redis'
 * own clock. Unused tokens are given back when idle. While Redis is away nothing new is leased (nothing is pulled then either).
 *
 *   rate            requests per window, several at once. Windows below ten seconds are a token bucket (so any window sees at
 *                   most max + burst); longer ones are exact: never more than max in any window of that length, wherever it
 *                   begins (counted in sixtieths; what was leased may leave up to a second later). A quota that makes one wait
 *                   longer than shape.spill_after makes the channel unusable for so long: routes go on to their next channel
 *   concurrency     requests on the wire, of all processes together: leased the same way, with a heartbeat
 *   adaptive rate   (AIMD) a rate_limited answer multiplies the allowed rate by 0.5 (at most once per RTT or second), each
 *                   second without one adds 5 % of the declared (or best seen) rate until it is back; Retry-After of scope
 *                   channel or credential stops it for that long, in all processes (told through Redis)
 *   breaker         closed -> open when, of the last breaker.window with at least breaker.min answers, the share that counts
 *                   against health (tbl/outcomes.h) passes breaker.share, or their p90 latency breaker.latency; open for
 *                   breaker.open (doubling up to 10 x), then half-open: a few probes decide. Per shard: a shard that has seen
 *                   nothing needs no persuasion
 *   per recipient   messages to one address, of all processes together: who is over it stands in line for its address, in order,
 *                   and holds up nobody else (recipient.c)
 *   by hand         pause / resume of a channel: control stream, kept in Redis, all processes within a second (pauses.h)
 *   retry budget    retries may be at most retry_budget (20 %) of a channel's first attempts over the last 10 s, plus 10 per second
 *
 * Lane critical: shape.critical_share percent of tokens, of what is left of a window, and of permits are kept for it, on
 * channels that carried such messages in the last ten minutes.
 *
 * Threads: the shard's; metrics: any. on_change comes from the loop: room has come, or the state changed. Memory: per
 * channel and shard some kilobytes, per address that waits 200 bytes; none per request.
 */
#ifndef HM_SHAPE_SHAPE_H
#define HM_SHAPE_SHAPE_H

#include "adapter/adapter.h"
#include "base/list.h"
#include "loop/tick.h"

struct hm_redis;
struct hm_shaper;
struct hm_shape;

enum hm_breaker { HM_BREAKER_CLOSED, HM_BREAKER_OPEN, HM_BREAKER_HALF_OPEN };

struct hm_pauses;
struct hm_shaper_deps { /* all outlive the shaper */
	struct hm_tick *tick;
	struct hm_redis *redis;
	struct hm_str prefix, node; /* queue.prefix; name of this consumer */
	struct hm_pauses *pauses;   /* who is paused by hand when a channel is first seen; NULL: nobody */
};
struct hm_shaper *hm_shaper_new(const struct hm_shaper_deps *d, struct hm_err *e);
void hm_shaper_close(struct hm_shaper *s, void (*on_closed)(void *arg), void *arg);
/* The shape of a channel under a new or the first configuration; NULL: out of memory. Each snapshot of the configuration that still
 * has messages listens for itself; the limits are those of the last call. */
struct hm_shape_listener { /* the caller's, until hm_shape_leave */
	void (*on_change)(struct hm_shape_listener *l);
	/* private */
	struct hm_node node;
	struct hm_shape *shape; /* NULL: left, or the shaper closed */
};
struct hm_shape *hm_shaper_channel(struct hm_shaper *s, const struct hm_channel_info *info,
				   const struct hm_config *cfg, struct hm_shape_listener *l);
void hm_shape_leave(struct hm_shape_listener *l); /* harmless twice, and after the shaper is gone */
/* By hand, from the control stream (mail of the control thread). */
void hm_shaper_pause(struct hm_shaper *s, struct hm_str channel, bool paused);
void hm_shaper_look(struct hm_shaper *s); /* deps.pauses changed */
/* Another process was told to wait: by channel, or by account where that is not 0. */
void hm_shaper_stop(struct hm_shaper *s, struct hm_str channel, uint64_t account, uint64_t ms);
void hm_shaper_describe(const struct hm_shaper *s,
			struct hm_buf *out); /* all channels, as a JSON object by name */
void hm_shape_metrics(struct hm_buf *out);   /* hermod_channel_*, all shards of the process. Any thread. */
/* What all shards of this process say of a channel: a JSON object's members, without braces. Any thread. */
void hm_shape_summary(struct hm_str channel, struct hm_buf *out);

/* -- the hot path ------------------------------------------------------------------------------------ */
/* Requests that may leave now (0: on_change comes when that changes; asks for a lease when there is work). urgent: lane critical,
 * which also gets the share of tokens kept for it. UINT32_MAX: no limit. */
uint32_t hm_shape_room(struct hm_shape *s, bool urgent);
/* There is work, and that room was not enough for it: 0 says so by itself. */
void hm_shape_hungry(struct hm_shape *s, bool urgent);
void hm_shape_take(struct hm_shape *s, uint32_t requests, uint32_t messages); /* they leave now */
void hm_shape_untake(struct hm_shape *s, uint32_t requests,
		     uint32_t messages); /* they did not leave after all */
struct hm_shape_answer {
	enum hm_outcome outcome;
	enum hm_scope scope; /* of a rate limit */
	uint32_t took_us, messages;
	uint64_t retry_after_ms;
	uint32_t retried; /* of the messages: not their first attempt here */
	bool lost;	  /* its connection broke under it */
};
void hm_shape_answered(struct hm_shape *s, const struct hm_shape_answer *a); /* once per request taken */
/* Does it take messages at all? false: open breaker or paused by hand; a route goes to its next channel. */
bool hm_shape_usable(const struct hm_shape *s);
/* Not usable, and nobody knows for how long (paused), or for long (a day's quota): memory is no place to wait in. */
bool hm_shape_waits_long(const struct hm_shape *s);
bool hm_shape_may_retry(struct hm_shape *s); /* takes one of the budget */

/* -- per recipient -------------------------------------------------------------------------------------- */
struct hm_shape_line;
struct hm_shape_turn {				  /* the caller's, until its turn or hm_shape_turn_leave */
	void (*on_turn)(struct hm_shape_turn *t); /* from the loop: this message may leave */
	/* private */
	struct hm_node node;
	struct hm_shape_line *line; /* NULL: in none */
};
/* Is there anything to ask per recipient? One branch. */
bool hm_shape_has_lines(const struct hm_shape *s);
/* true: a message to addr may leave. false: it stands in line, on_turn comes; out of memory: true. */
bool hm_shape_turn(struct hm_shape *s, struct hm_str addr, struct hm_shape_turn *t);
void hm_shape_turn_leave(struct hm_shape_turn *t); /* harmless when in no line */
/* The provider asks that this address be left alone for so long. */
void hm_shape_rest_recipient(struct hm_shape *s, struct hm_str addr, uint64_t ms);
enum hm_breaker hm_shape_breaker(const struct hm_shape *s);
/* "paused by hand", "circuit open: 62 % of 120 answers failed", "quota of 20 in 1m used up for 12 s"; "". Valid until the
 * thread's next call. */
const char *hm_shape_why(const struct hm_shape *s);
void hm_shape_describe(const struct hm_shape *s, struct hm_buf *out); /* one JSON object */

#endif
