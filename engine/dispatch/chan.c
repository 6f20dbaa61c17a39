/*
 * chan.c - a channel as one shard sees it: has it room, who waits, when does it rest
 *
 * What may leave now is asked before a message is expanded, so that a slow provider
 * holds neither memory nor a lane. Whatever gives room back (an answer, the end of a
 * pause, a stream of the origin) ends in hm_chan_wake.
 */
#include "base/log.h"
#include "dispatch/dispatch_int.h"

#define UNSUBMITTED_MAX 512 /* sends waiting for a credential */

bool hm_chan_usable(const struct chan *c)
{
	(void)c;
	return true;
}

void hm_chan_took(struct chan *c, const struct send *s)
{
	(void)c;
	(void)s;
}

void hm_chan_answered(struct chan *c, const struct send *s)
{
	(void)c;
	(void)s;
}

bool hm_chan_may_retry(struct chan *c)
{
	(void)c;
	return true;
}

bool hm_chan_has_room(const struct chan *c, enum hm_lane lane)
{
	const struct hm_dispatch *d = c->d;
	bool urgent = lane == HM_LANE_CRITICAL;
	size_t room, asking = c->asking; /* those who ask will leave here */

	if (c->paused_until_ms > hm_tick_ms(d->t))
		return false;
	if (c->open != NULL && c->open->msgs.len + asking < c->info->batch_max)
		return true;
	if (c->info->batch_max > 1)
		asking /= c->info->batch_max;
	if (c->unsubmitted >= UNSUBMITTED_MAX)
		return false;
	if (c->info->max_concurrency > 0 && c->sends.len + asking >= c->info->max_concurrency)
		return false;
	if (c->origin == NULL)
		return c->sends.len + asking < d->o.max_in_flight;
	room = hm_origin_room(c->origin, urgent);
	return room > c->unsubmitted + asking;
}

/* A message ready for its channel: out now, or waiting there. */
void hm_msg_go(struct msg *m)
{
	struct chan *c = m->chan;

	if (hm_list_empty(&c->waiting[m->lane]) && hm_chan_has_room(c, m->lane)) {
		hm_send_join(m);
		return;
	}
	m->where = MSG_WAITING;
	hm_list_push(&c->waiting[m->lane], &m->node);
}

/* Room or time has come for this channel. */
void hm_chan_wake(struct chan *c)
{
	struct hm_dispatch *d = c->d;

	HM_CHECK(c, HM_CHAN_MAGIC);
	if (d->draining)
		return;
	for (int l = 0; l < HM_LANE_COUNT; l++) {
		while (!hm_list_empty(&c->waiting[l]) && hm_chan_has_room(c, (enum hm_lane)l)) {
			struct msg *m = hm_container_of(hm_list_pop(&c->waiting[l]), struct msg, node);

			HM_CHECK(m, HM_MSG_MAGIC);
			m->where = MSG_NOWHERE;
			/* Time may have passed: the gates are asked again. */
			if (hm_gates_pass(m))
				hm_send_join(m);
		}
		if (!hm_list_empty(&c->parked[l]) && hm_chan_has_room(c, (enum hm_lane)l)) {
			hm_list_splice(&d->lanes[l].runnable, &c->parked[l]);
			hm_pump_later(d);
		}
	}
}

static void on_wake(struct hm_flush *f)
{
	hm_chan_wake(hm_container_of(f, struct chan, wake));
}

static void on_pause_over(struct hm_timer *t)
{
	hm_chan_wake(hm_container_of(t, struct chan, pause));
}

void hm_chan_wake_later(struct chan *c)
{
	hm_flush_later(c->d->t, &c->wake);
}

/* Nothing leaves for so long. */
void hm_chan_rest(struct chan *c, uint64_t ms)
{
	uint64_t until = hm_tick_ms(c->d->t) + ms;

	if (until <= c->paused_until_ms)
		return;
	c->paused_until_ms = until;
	hm_timer_start(c->d->t, &c->pause, ms);
}

/* The provider asks the whole channel to wait. */
void hm_chan_pause(struct chan *c, uint64_t ms)
{
	if (c->paused_until_ms <= hm_tick_ms(c->d->t))
		HM_INFO(DISPATCH, "channel waits as the provider asked", HM_SV("channel", c->info->name),
			HM_U("ms", ms));
	hm_chan_rest(c, ms);
}

void hm_chan_init(struct chan *c, struct hm_dispatch *d, struct runtime_ref *rt, struct hm_channel *ch)
{
	HM_MAGIC_SET(c, HM_CHAN_MAGIC);
	c->d = d;
	c->rt = rt;
	c->ch = ch;
	c->info = hm_channel_info(ch);
	for (int l = 0; l < HM_LANE_COUNT; l++) {
		hm_list_init(&c->waiting[l]);
		hm_list_init(&c->parked[l]);
	}
	hm_list_init(&c->sends);
	hm_chan_flush_init(c);
	hm_flush_init(&c->wake, on_wake);
	hm_timer_init(&c->pause, on_pause_over);
}

void hm_chan_fini(struct chan *c)
{
	HM_CHECK(c, HM_CHAN_MAGIC);
	hm_assert(hm_list_empty(&c->sends));
	hm_flush_cancel(c->d->t, &c->flush);
	hm_flush_cancel(c->d->t, &c->wake);
	hm_timer_stop(c->d->t, &c->pause);
	HM_MAGIC_CLEAR(c);
}
