/*
 * tick.c - timers, flushes and scratch memory of one loop
 *
 * Order within one pass of uv: timers -> (idle) -> prepare: flushes -> poll: I/O,
 * mail -> check: clocks, scratch reset. Callbacks of the poll phase queue flushes;
 * prepare runs them all, including those that flushing itself queues, before the
 * loop may block. What is meant for the next pass joins them behind the poll phase.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "loop/tick.h"

#define NS_PER_MS 1000000u
/* A flush that queues itself for ever would stop the loop; beyond this many
 * rounds the rest waits for the next pass, which then must not block. */
#define FLUSH_ROUNDS 64

static void arm(struct hm_tick *t);

void hm_tick_read_clocks(struct hm_tick *t)
{
	t->awake = true;
	t->now_ns = hm_clock_mono_ns();
	t->wall_ms = hm_clock_wall_ms();
}

static void run_timers(struct hm_tick *t)
{
	struct hm_heap_node *n;
	uint64_t until = t->now_ns;

	/* Timers armed with no delay by a timer wait for the next pass. */
	while ((n = hm_heap_min(&t->timers)) != NULL && n->key <= until) {
		struct hm_timer *tm = hm_container_of(n, struct hm_timer, node);

		hm_heap_remove(&t->timers, n);
		tm->fn(tm);
	}
}

static void on_uv_timer(uv_timer_t *h)
{
	struct hm_tick *t = h->data;

	HM_CHECK(t, HM_TICK_MAGIC);
	hm_tick_read_clocks(t);
	run_timers(t);
	arm(t);
}

static void arm(struct hm_tick *t)
{
	struct hm_heap_node *n = hm_heap_min(&t->timers);
	uint64_t delay;

	if (t->closing)
		return;
	if (n == NULL) {
		uv_timer_stop(&t->timer);
		return;
	}
	/* Round up: a timer never fires early. */
	delay = n->key <= t->now_ns ? 0 : (n->key - t->now_ns + NS_PER_MS - 1) / NS_PER_MS;
	uv_update_time(t->loop);
	uv_timer_start(&t->timer, on_uv_timer, delay, 0);
}

static void on_idle(uv_idle_t *h)
{
	/* Its being active is the point: the loop polls without blocking. */
}

static void on_prepare(uv_prepare_t *h)
{
	struct hm_tick *t = h->data;
	int rounds = 0;

	HM_CHECK(t, HM_TICK_MAGIC);
	while (!hm_list_empty(&t->flushes) && rounds++ < FLUSH_ROUNDS) {
		/* One round: what waits now. What flushing queues comes behind it. */
		for (size_t n = t->flushes.len; n > 0 && !hm_list_empty(&t->flushes); n--) {
			struct hm_flush *f = hm_container_of(hm_list_pop(&t->flushes), struct hm_flush, node);

			f->fn(f); /* may queue itself again or cancel another */
		}
	}
	if ((!hm_list_empty(&t->flushes) || !hm_list_empty(&t->next)) && !t->closing)
		uv_idle_start(&t->idle, on_idle);
	else
		uv_idle_stop(&t->idle);
	t->awake = false; /* the loop may sleep now */
}

static void on_check(uv_check_t *h)
{
	struct hm_tick *t = h->data;

	HM_CHECK(t, HM_TICK_MAGIC);
	hm_arena_reset(&t->scratch);
	hm_list_foreach (&t->next, n)
		hm_container_of(n, struct hm_flush, node)->on_next = false;
	hm_list_splice(&t->flushes, &t->next);
}

int hm_tick_init(struct hm_tick *t, uv_loop_t *loop)
{
	memset(t, 0, sizeof(*t));
	HM_MAGIC_SET(t, HM_TICK_MAGIC);
	t->loop = loop;
	t->stats = hm_stats_new();
	if (t->stats == NULL)
		return HM_ENOMEM;
	hm_slab_init(&t->blocks, "arena blocks", HM_ARENA_BLOCK, 0);
	hm_arena_init(&t->scratch, &t->blocks, 0);
	hm_heap_init(&t->timers);
	hm_list_init(&t->flushes);
	hm_list_init(&t->next);
	uv_timer_init(loop, &t->timer);
	uv_prepare_init(loop, &t->prepare);
	uv_check_init(loop, &t->check);
	uv_idle_init(loop, &t->idle);
	t->timer.data = t->prepare.data = t->check.data = t->idle.data = t;
	t->open_handles = 4;
	uv_prepare_start(&t->prepare, on_prepare);
	uv_check_start(&t->check, on_check);
	/* The tick itself never keeps the loop alive; armed timers do. */
	uv_unref((uv_handle_t *)&t->prepare);
	uv_unref((uv_handle_t *)&t->check);
	hm_tick_read_clocks(t);
	return 0;
}

static void on_closed(uv_handle_t *h)
{
	struct hm_tick *t = h->data;

	t->open_handles--;
}

void hm_tick_close(struct hm_tick *t)
{
	HM_CHECK(t, HM_TICK_MAGIC);
	if (t->closing)
		return;
	t->closing = true;
	uv_close((uv_handle_t *)&t->timer, on_closed);
	uv_close((uv_handle_t *)&t->prepare, on_closed);
	uv_close((uv_handle_t *)&t->check, on_closed);
	uv_close((uv_handle_t *)&t->idle, on_closed);
}

void hm_tick_fini(struct hm_tick *t)
{
	HM_CHECK(t, HM_TICK_MAGIC);
	hm_assert(t->closing && t->open_handles == 0);
	hm_heap_fini(&t->timers);
	hm_arena_fini(&t->scratch);
	hm_slab_fini(&t->blocks);
	HM_MAGIC_CLEAR(t);
}

void hm_tick_refresh(struct hm_tick *t)
{
	HM_CHECK(t, HM_TICK_MAGIC);
	hm_tick_read_clocks(t);
	arm(t);
}

void hm_timer_init(struct hm_timer *tm, void (*fn)(struct hm_timer *))
{
	tm->node.pos = 0;
	tm->node.key = 0;
	tm->fn = fn;
}

void hm_timer_start(struct hm_tick *t, struct hm_timer *tm, uint64_t delay_ms)
{
	struct hm_heap_node *first = hm_heap_min(&t->timers);
	uint64_t due;

	hm_tick_wake(t); /* a delay counted from before the loop slept would be too short */
	due = t->now_ns + delay_ms * NS_PER_MS;

	if (delay_ms > UINT64_MAX / NS_PER_MS / 2)
		due = UINT64_MAX;
	hm_heap_remove(&t->timers, &tm->node);
	if (!hm_heap_push(&t->timers, &tm->node, due))
		hm_panic(__FILE__, __LINE__, __func__, "no memory for a timer");
	/* Only a new minimum moves the uv timer; most timers never reach the top. */
	if (hm_heap_min(&t->timers) == &tm->node || first == &tm->node)
		arm(t);
}

void hm_timer_stop(struct hm_tick *t, struct hm_timer *tm)
{
	bool first = hm_heap_min(&t->timers) == &tm->node;

	hm_heap_remove(&t->timers, &tm->node);
	if (first && t->timers.len == 0)
		arm(t); /* an idle loop may end */
}

void hm_flush_init(struct hm_flush *f, void (*fn)(struct hm_flush *))
{
	hm_node_init(&f->node);
	f->on_next = false;
	f->fn = fn;
}

void hm_flush_later(struct hm_tick *t, struct hm_flush *f)
{
	if (!hm_node_linked(&f->node))
		hm_list_push(&t->flushes, &f->node);
}

void hm_flush_next(struct hm_tick *t, struct hm_flush *f)
{
	if (hm_node_linked(&f->node))
		return;
	f->on_next = true;
	hm_list_push(&t->next, &f->node);
}

void hm_flush_cancel(struct hm_tick *t, struct hm_flush *f)
{
	if (hm_node_linked(&f->node))
		hm_list_remove(f->on_next ? &t->next : &t->flushes, &f->node);
	f->on_next = false;
}

void hm_flush_soon(struct hm_tick *t, struct hm_flush *f)
{
	hm_flush_cancel(t, f);
	hm_list_push_front(&t->flushes, &f->node);
}
