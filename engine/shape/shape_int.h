/*
 * shape_int.h - the inside of a shaper, shared by the files of this folder
 *
 *   shaper  one per shard: its shapes, slabs, and the commands to Redis that are open
 *   shape   one per channel name: a lease (lease.h), a breaker, an adaptive rate, a retry budget, lines of recipients
 *   line    an address messages wait for. On no list but the shape's table; asked for in batches
 *   ask     a command under way; it may outlive what asked: `shape` is NULL then
 */
#ifndef HM_SHAPE_SHAPE_INT_H
#define HM_SHAPE_SHAPE_INT_H

#include "base/obj.h"
#include "base/slab.h"
#include "redis/redis.h"
#include "shape/aimd.h"
#include "shape/breaker.h"
#include "shape/budget.h"
#include "shape/lease.h"
#include "shape/shape.h"

#define HM_SHAPER_MAGIC	     0x73687072u
#define HM_SHAPE_MAGIC	     0x73686170u
#define HM_SHAPE_ASK_MAGIC   0x73686b61u
#define HM_SHAPE_LINE_MAGIC  0x73686c6eu
#define HM_SHAPE_NAME	     64
#define HM_SHAPE_LONG_MS     10000 /* windows from here on are counted, not poured */
#define HM_SHAPE_WAIT_MAX_MS 30000 /* asked again at least so often: others give back, settings change */
#define HM_SHAPE_LINES_BATCH 64

/* Numbers anybody may read at any time: written by the shard only. */
struct hm_shape_stats {
	struct hm_shape_stats *next;
	char name[HM_SHAPE_NAME + 1];
	char why[160]; /* under the lock of stats.c */
	bool taken;
	uint64_t requests, rate_limited, waits, retries_refused, opened, leases, recipient_waits;
	uint64_t state;	  /* see enum shape_state */
	uint64_t allowed; /* thousandths per second, 0: not limited by complaints */
	uint64_t tokens, permits, on_wire, lines;
};
enum shape_state {
	SHAPE_OPEN,
	SHAPE_LIMITED,
	SHAPE_STOPPED,
	SHAPE_HALF_OPEN,
	SHAPE_BROKEN,
	SHAPE_PAUSED,
	SHAPE_STATES
};

struct hm_shaper {
	uint32_t magic;
	struct hm_shaper_deps deps;
	char prefix[40], node[96];
	struct hm_list shapes;
	struct hm_slab lines, line_asks;
	uint32_t open; /* commands under way */
	bool closing;
	struct hm_flush done;
	void (*on_closed)(void *arg);
	void *closed_arg;
};

struct hm_shape {
	uint32_t magic;
	/* -- what the hot path reads -- */
	bool limited; /* anything below may say no */
	bool paused, spilled;
	struct hm_shaper *s;
	struct hm_lease lease;
	uint64_t stop_until_ms;
	struct hm_breaker_state breaker;
	struct hm_aimd aimd;
	struct hm_budget budget;
	struct hm_shape_stats *stats;
	/* -- the rest -- */
	struct hm_node node; /* shaper.shapes */
	char name[HM_SHAPE_NAME + 1];
	struct hm_quotas rate, recipient;
	uint64_t account;
	uint32_t critical_share, lease_ms;
	uint64_t spill_after_ms, told_until_ms;
	uint64_t quota_until_ms; /* no token before, as Redis said */
	int quota_which;	 /* index into rate, of the one that is used up; -1: none */
	uint8_t state;		 /* enum shape_state, as last told */
	bool state_told;	 /* Redis has a word of ours on it */
	bool wanted;		 /* somebody found no room since listeners were last called */
	struct hm_list listeners;
	struct hm_timer timer;
	struct hm_flush change;
	struct hm_shape_ask *ask; /* the lease's, under way */
	/* lines */
	struct hm_shape_line **table;
	size_t n_buckets, n_lines;
	struct hm_list to_ask; /* lines */
	struct hm_flush ask_lines;
	uint16_t *credit; /* messages per hash of an address, of a large quota, in this window */
	uint64_t credit_until_ms;
};

static inline uint64_t shape_now(const struct hm_shape *sh)
{
	return hm_tick_ms(sh->s->deps.tick);
}
static inline struct hm_str shape_name(const struct hm_shape *sh)
{
	return hm_str_c(sh->name);
}

extern const char *const shape_state_words[];

/* shape.c */
void shape_changed(struct hm_shape *sh);  /* listeners are called soon */
void shape_refresh(struct hm_shape *sh);  /* looks at everything again; tells when the state changed */
void shape_schedule(struct hm_shape *sh); /* timer */
void shape_command_done(struct hm_shaper *s);

/* share.c: the lease and Redis */
void share_ask(struct hm_shape *sh);
void share_abandon(struct hm_shape *sh);
void share_tell_stop(struct hm_shape *sh, bool account, uint64_t ms);
/* For `hermod channels list`: what this shard says of the channel; SHAPE_OPEN and SHAPE_LIMITED take it back. */
void share_tell_state(struct hm_shape *sh, enum shape_state state);
/* "{<prefix>:ch:<channel>}:<what>" */
struct hm_str share_key(const struct hm_shape *sh, const char *what, struct hm_arena *a);
/* max, window, burst of each as arguments of the scripts; returns their number. */
size_t share_quota_args(const struct hm_quotas *q, struct hm_arena *a, struct hm_str *args);
extern const char share_lua[]; /* functions both scripts begin with */

/* recipient.c */
void recipient_slabs_init(struct hm_shaper *s);
void recipient_slabs_fini(struct hm_shaper *s);
void lines_init(struct hm_shape *sh);
void lines_fini(struct hm_shape *sh); /* who waits is forgotten: its messages go elsewhere */

/* stats.c */
struct hm_shape_stats *shape_stats_take(struct hm_str name);
void shape_stats_leave(struct hm_shape_stats *st);
void shape_stats_why(struct hm_shape_stats *st, const char *why);

#endif
