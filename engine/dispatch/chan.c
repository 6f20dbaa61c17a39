/*
 * chan.c - a channel as one shard sees it: has it room, who waits, when does it rest
 *
 * What may leave now is asked before a message is expanded, so that a slow provider
 * holds neither memory nor a lane. Whatever gives room back (an answer, the end of a
 * pause, a stream of the origin) ends in hm_chan_wake.
 */
#include "dispatch/dispatch_int.h"

#define UNSUBMITTED_MAX 512 /* sends waiting for a credential */
#define ASIDE_MS	2000
#define LATE_MS		1000

bool hm_chan_usable(const struct chan *c)
{
	return hm_shape_usable(c->shape);
}

void hm_chan_took(struct chan *c, const struct send *s)
{
	hm_shape_take(c->shape, 1, (uint32_t)s->msgs.len);
	if (hm_unlikely(hm_shape_has_lines(c->shape)))
		hm_list_foreach (&s->msgs, n) /* a retry stands in line again */
			hm_container_of(n, struct msg, node)->turn_at = NULL;
}

void hm_chan_answered(struct chan *c, const struct send *s)
{
	const struct hm_verdict *v = &s->verdict;
	struct hm_shape_answer a = {
		.outcome = v->outcome,
		.scope = v->scope,
		.took_us = s->call.done_ns > s->call.started_ns
				   ? (uint32_t)hm_min((s->call.done_ns - s->call.started_ns) / 1000,
						      (uint64_t)UINT32_MAX)
				   : 0,
		.messages = (uint32_t)s->msgs.len,
		.retry_after_ms = v->retry_after_ms,
		.lost = s->call.fate == HM_FATE_MAYBE && s->call.err.code != HM_ETIMEDOUT,
	};

	hm_list_foreach (&s->msgs, n)
		a.retried += hm_container_of(n, struct msg, node)->chan_attempts > 0;
	hm_shape_answered(c->shape, &a);
	if (hm_likely(v->outcome != HM_OUT_RATE_LIMITED || v->scope != HM_SCOPE_RECIPIENT))
		return;
	hm_list_foreach (&s->msgs, n)
		hm_shape_rest_recipient(c->shape, hm_container_of(n, struct msg, node)->addr,
					v->retry_after_ms);
}

bool hm_chan_may_retry(struct chan *c)
{
	return hm_shape_may_retry(c->shape);
}

bool hm_chan_has_room(const struct chan *c, enum hm_lane lane)
{
	const struct hm_dispatch *d = c->d;
	bool urgent = lane == HM_LANE_CRITICAL;
	size_t room, asking = c->asking; /* those who ask will leave here */
	uint32_t may;

	if (c->paused_until_ms > hm_tick_ms(d->t))
		return false;
	may = hm_shape_room(c->shape, urgent);
	if (may == 0)
		return false;
	if (c->open != NULL && c->open->msgs.len + asking < c->info->batch_max)
		return true;
	if (c->info->batch_max > 1)
		asking /= c->info->batch_max;
	if (c->unsubmitted >= UNSUBMITTED_MAX)
		return false;
	if (may <= c->unsubmitted + asking) {
		hm_shape_hungry(c->shape, urgent);
		return false;
	}
	if (c->origin == NULL)
		return c->sends.len + asking < d->o.max_in_flight;
	room = hm_origin_room(c->origin, urgent);
	return room > c->unsubmitted + asking;
}

/* A message ready for its channel: out now, or waiting there (in a drain: back with its entry). One that comes back from asking (gates, facts) has had its turn
 * among those who wait: were it put behind them, a channel with little room would ask for all of them and send none. */
void hm_msg_go(struct msg *m)
{
	struct chan *c = m->chan;
	bool back = m->gates_open;

	if ((back || hm_list_empty(&c->waiting[m->lane])) && hm_chan_has_room(c, m->lane)) {
		hm_send_join(m);
		return;
	}
	if (c->d->draining) {
		hm_msg_drop(m);
		return;
	}
	m->where = MSG_WAITING;
	if (back)
		hm_list_push_front(&c->waiting[m->lane], &m->node);
	else
		hm_list_push(&c->waiting[m->lane], &m->node);
	if (hm_unlikely(hm_shape_waits_long(c->shape)))
		hm_chan_wake_later(c);
}

/* A channel that is paused, or has used up its day, takes nothing for long: what was expanded for it would fill the places in
 * flight of all others. It waits in Redis and comes back as an entry, whose job is parked before it is expanded. */
static void put_aside(struct chan *c)
{
	struct hm_dispatch *d = c->d;
	struct hm_str why = hm_arena_str(&d->t->scratch, hm_str_c(hm_shape_why(c->shape)));

	for (int l = 0; l < HM_LANE_COUNT; l++)
		hm_list_foreach_safe (&c->waiting[l], n, tmp) {
			struct msg *m = hm_container_of(n, struct msg, node);

			if (m->route != NULL || m->part > 0) /* route.c; half-sent texts go on from memory */
				continue;
			hm_list_remove(&c->waiting[l], n);
			m->where = MSG_NOWHERE;
			if (hm_gates_pass(m))
				hm_aside_msg(m, d->t->wall_ms + ASIDE_MS,
					     why.len ? why : HM_STR("the channel takes nothing at present"));
		}
}

/* Room or time has come for this channel. */
void hm_chan_wake(struct chan *c)
{
	struct hm_dispatch *d = c->d;

	HM_CHECK(c, HM_CHAN_MAGIC);
	if (d->draining)
		return;
	if (hm_unlikely(hm_shape_waits_long(c->shape))) {
		put_aside(c);
		return;
	}
	for (int l = 0; l < HM_LANE_COUNT; l++) {
		while (!hm_list_empty(&c->waiting[l]) && hm_chan_has_room(c, (enum hm_lane)l)) {
			struct msg *m = hm_container_of(hm_list_pop(&c->waiting[l]), struct msg, node);

			HM_CHECK(m, HM_MSG_MAGIC);
			m->where = MSG_NOWHERE;
			/* Time may have passed: the gates are asked again. */
			if (hm_gates_pass(m))
				hm_send_join(m);
		}
		if (!hm_list_empty(&c->parked[l]) && hm_chan_has_room(c, (enum hm_lane)l))
			hm_pump_back(d, (enum hm_lane)l, &c->parked[l]);
	}
}

/* Jobs with a route choose again: their messages need not wait for this channel. */
static void unpark_routes(struct chan *c)
{
	struct hm_dispatch *d = c->d;

	for (int l = 0; l < HM_LANE_COUNT; l++)
		hm_list_foreach_safe (&c->parked[l], n, tmp) {
			if (hm_container_of(n, struct job, node)->route == NULL)
				continue;
			hm_list_remove(&c->parked[l], n);
			hm_fair_push(&d->lanes[l].runnable, hm_container_of(n, struct job, node)->tenant, n);
			hm_pump_later(d);
		}
}

/* Tokens or permits have come, or the channel's state changed. */
static void on_shape(struct hm_shape_listener *l)
{
	struct chan *c = hm_container_of(l, struct chan, on_shape);

	HM_CHECK(c, HM_CHAN_MAGIC);
	if (c->d->draining)
		return;
	if (!hm_chan_usable(c)) {
		hm_route_away(c);
		unpark_routes(c);
	} else {
		hm_route_back(c);
	}
	hm_chan_wake(c);
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

/* A channel may have no room for longer than a message may wait: whoever is past his expiry ends now. */
static void end_late(struct chan *c)
{
	struct hm_dispatch *d = c->d;

	for (int l = 0; l < HM_LANE_COUNT; l++) {
		hm_list_foreach_safe (&c->waiting[l], n, tmp) {
			struct msg *m = hm_container_of(n, struct msg, node);

			if (m->job->expires_ms == 0 || d->t->wall_ms < m->job->expires_ms)
				continue;
			hm_list_remove(&c->waiting[l], n);
			m->where = MSG_NOWHERE;
			(void)hm_gates_pass(m); /* ends it */
		}
		hm_list_foreach_safe (&c->parked[l], n, tmp) {
			struct job *j = hm_container_of(n, struct job, node);

			if (j->expires_ms == 0 || d->t->wall_ms < j->expires_ms)
				continue;
			hm_list_remove(&c->parked[l], n);
			hm_fair_push(&d->lanes[l].runnable, j->tenant, n);
			hm_pump_later(d);
		}
	}
}

void hm_chan_end_late(struct hm_timer *t)
{
	struct hm_dispatch *d = hm_container_of(t, struct hm_dispatch, late);

	if (d->draining)
		return;
	hm_timer_start(d->t, t, LATE_MS);
	hm_list_foreach_safe (&d->runtimes, n, tmp) {
		struct runtime_ref *r = hm_runtime_ref_get(hm_container_of(n, struct runtime_ref, node));

		for (size_t i = 0; i < r->n_chans; i++)
			end_late(&r->chans[i]);
		hm_runtime_ref_put(r);
	}
}

void hm_chan_init(struct chan *c, struct hm_dispatch *d, struct runtime_ref *rt, struct hm_channel *ch)
{
	HM_MAGIC_SET(c, HM_CHAN_MAGIC);
	c->d = d;
	c->rt = rt;
	c->ch = ch;
	c->info = hm_channel_info(ch);
	hm_pids_chan(c);
	for (int l = 0; l < HM_LANE_COUNT; l++) {
		hm_list_init(&c->waiting[l]);
		hm_list_init(&c->parked[l]);
	}
	hm_list_init(&c->sends);
	hm_chan_flush_init(c);
	hm_flush_init(&c->wake, on_wake);
	hm_timer_init(&c->pause, on_pause_over);
	c->on_shape.on_change = on_shape;
	c->shape = hm_shaper_channel(d->deps.shaper, c->info, rt->rt->cfg, &c->on_shape);
}

void hm_chan_fini(struct chan *c)
{
	HM_CHECK(c, HM_CHAN_MAGIC);
	hm_assert(hm_list_empty(&c->sends));
	hm_flush_cancel(c->d->t, &c->flush);
	hm_flush_cancel(c->d->t, &c->wake);
	hm_timer_stop(c->d->t, &c->pause);
	hm_shape_leave(&c->on_shape);
	HM_MAGIC_CLEAR(c);
}
