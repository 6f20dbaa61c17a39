/*
 * turn.c - messages that stand in line for their recipient
 *
 * Channels may send only so much to one address (shape.h, per recipient). A message over that is held, neither failed nor in
 * anybody's way: others leave meanwhile. When it waits for longer than a moment the ledger says so. It may expire or be
 * cancelled there; what it is asked for by the gates is asked again when its turn comes late.
 */
#include "dispatch/dispatch_int.h"

#define MOMENT_MS 1000	 /* no record for less */
#define LONG_MS	  120000 /* looked at again: expiry, cancel, quiet hours */

struct msg_turn {
	uint32_t magic;
	struct msg *m;
	struct hm_shape_turn turn;
	struct hm_timer moment;
};

void hm_msg_turns_init(struct hm_dispatch *d)
{
	hm_slab_init(&d->turn_slab, "turns", sizeof(struct msg_turn), 0);
}

void hm_msg_turn_free(struct msg *m)
{
	struct hm_dispatch *d = m->job->d;
	struct msg_turn *t = m->turn;

	if (t == NULL)
		return;
	HM_CHECK(t, HM_MSG_TURN_MAGIC);
	m->turn = NULL;
	hm_shape_turn_leave(&t->turn);
	hm_timer_stop(d->t, &t->moment);
	HM_MAGIC_CLEAR(t);
	hm_slab_free(&d->turn_slab, t);
}

static void on_turn(struct hm_shape_turn *x)
{
	struct msg_turn *t = hm_container_of(x, struct msg_turn, turn);
	struct msg *m = t->m;
	struct hm_dispatch *d = m->job->d;

	HM_CHECK(t, HM_MSG_TURN_MAGIC);
	HM_CHECK(m, HM_MSG_MAGIC);
	hm_assert(m->where == MSG_HELD);
	hm_msg_turn_free(m);
	hm_timer_stop(d->t, &m->timer);
	hm_list_remove(&d->held, &m->node);
	m->turn_at = m->chan;
	m->where = MSG_WAITING;
	hm_list_push_front(&m->chan->waiting[m->lane], &m->node);
	hm_chan_wake_later(m->chan);
}

static void on_moment(struct hm_timer *tm)
{
	struct msg_turn *t = hm_container_of(tm, struct msg_turn, moment);
	struct msg *m = t->m;
	struct hm_dispatch *d = m->job->d;
	uint64_t wait = LONG_MS;

	HM_CHECK(t, HM_MSG_TURN_MAGIC);
	hm_assert(m->where == MSG_HELD);
	hm_list_remove(&d->held, &m->node);
	m->where = MSG_NOWHERE;
	if (m->job->expires_ms != 0)
		wait = hm_min(wait, m->job->expires_ms > d->t->wall_ms
					    ? m->job->expires_ms - d->t->wall_ms + 1
					    : 1);
	hm_settle_hold(
		m, wait,
		hm_arena_printf(&d->t->scratch,
				"channel %.*s may send this recipient no more for a while: it stands in line",
				HM_STRF(m->chan->info->name)));
}

bool hm_msg_turn(struct msg *m)
{
	struct hm_dispatch *d = m->job->d;
	struct msg_turn *t;

	if (hm_likely(!hm_shape_has_lines(m->chan->shape)) || m->turn_at == m->chan)
		return true;
	t = hm_slab_alloc(&d->turn_slab);
	if (t == NULL)
		return true;
	memset(t, 0, sizeof(*t));
	HM_MAGIC_SET(t, HM_MSG_TURN_MAGIC);
	t->m = m;
	t->turn.on_turn = on_turn;
	hm_timer_init(&t->moment, on_moment);
	if (hm_shape_turn(m->chan->shape, m->addr, &t->turn)) {
		HM_MAGIC_CLEAR(t);
		hm_slab_free(&d->turn_slab, t);
		m->turn_at = m->chan;
		return true;
	}
	m->turn = t;
	if (d->draining) {
		hm_msg_drop(m);
		return false;
	}
	m->where = MSG_HELD;
	hm_list_push(&d->held, &m->node);
	hm_timer_start(d->t, &t->moment, MOMENT_MS);
	return false;
}
