/*
 * tick.h - what one thread's event loop gives to everything that runs on it
 *
 * A tick is one pass of the uv loop. It owns the cached time, the timer heap (one
 * uv_timer for all timers), a scratch arena reset when the pass ends, and the
 * list of things to flush once before the loop blocks (sockets, batches), which
 * is how every boundary batches: one write per connection per tick.
 *
 * Lifetime: embedded in its owner (shard, control thread); init and fini there.
 * Threads:  owner only. Everything reachable from a tick belongs to its thread.
 */
#ifndef HM_LOOP_TICK_H
#define HM_LOOP_TICK_H

#include <uv.h>

#include "base/arena.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/obj.h"
#include "base/stats.h"

#define HM_TICK_MAGIC 0x7469636bu

struct hm_tick {
	uint32_t magic;
	uv_loop_t *loop;
	uint64_t now_ns;  /* monotonic, refreshed when the loop wakes */
	uint64_t wall_ms; /* Unix time, likewise */
	struct hm_stats *stats;
	struct hm_slab blocks;	 /* arena blocks of this thread */
	struct hm_arena scratch; /* dies at the end of the pass; never keep a pointer into it */
	/* private */
	struct hm_heap timers;
	struct hm_list flushes, next; /* next: of the pass to come */
	uv_timer_t timer;
	uv_prepare_t prepare;
	uv_check_t check;
	uv_idle_t idle;
	int open_handles;
	bool closing, awake;
};
int hm_tick_init(struct hm_tick *t, uv_loop_t *loop) HM_MUSTCHECK;
/* Starts closing the tick's handles; run the loop until it ends, then hm_tick_fini. */
void hm_tick_close(struct hm_tick *t);
void hm_tick_fini(struct hm_tick *t);
void hm_tick_refresh(
	struct hm_tick *t); /* re-reads the clocks (long callbacks, test clock) and re-arms timers */
void hm_tick_read_clocks(struct hm_tick *t);
/* Every callback through which the loop may have slept (I/O, mail, signals) begins with this: reads the clocks once a pass. */
static inline void hm_tick_wake(struct hm_tick *t)
{
	if (!t->awake)
		hm_tick_read_clocks(t);
}
static inline uint64_t hm_tick_ms(const struct hm_tick *t) /* monotonic ms */
{
	return t->now_ns / 1000000u;
}

/* Timers: embedded, one-shot, restartable; fn runs from the loop, never from start. */
struct hm_timer {
	struct hm_heap_node node; /* key: monotonic ns */
	void (*fn)(struct hm_timer *t);
};
void hm_timer_init(struct hm_timer *tm, void (*fn)(struct hm_timer *));
void hm_timer_start(struct hm_tick *t, struct hm_timer *tm, uint64_t delay_ms); /* re-arms when armed */
void hm_timer_stop(struct hm_tick *t, struct hm_timer *tm);			/* harmless when not armed */
static inline bool hm_timer_armed(const struct hm_timer *tm)
{
	return tm->node.pos != 0;
}

/* Flush: fn runs once, before the loop blocks, after everything queued before it. */
struct hm_flush {
	struct hm_node node;
	bool on_next;
	void (*fn)(struct hm_flush *f);
};
void hm_flush_init(struct hm_flush *f, void (*fn)(struct hm_flush *));
void hm_flush_later(struct hm_tick *t, struct hm_flush *f); /* harmless when already waiting */
/* Before everything else that waits, itself included: for the few things that must not wait behind a long pass. */
void hm_flush_soon(struct hm_tick *t, struct hm_flush *f);
/* In the next pass: I/O gets its turn before, and the loop does not block. Harmless when already waiting. */
void hm_flush_next(struct hm_tick *t, struct hm_flush *f);
void hm_flush_cancel(struct hm_tick *t, struct hm_flush *f);

#endif
