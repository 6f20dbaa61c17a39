/*
 * dispatch.c - the dispatcher of one shard: put together, reload, drain, take apart
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "dispatch/dispatch_int.h"

#define TENANT_TURN 16 /* messages: those of one job share requests and writes */

/* -- configuration snapshots --------------------------------------------------------------------- */

/* An origin has room again; several channels may share it, under several snapshots. */
static void on_room(void *arg)
{
	struct hm_dispatch *d = arg;

	HM_CHECK(d, HM_DISPATCH_MAGIC);
	hm_flush_later(d->t, &d->room);
}

static void wake_all(struct hm_flush *f)
{
	struct hm_dispatch *d = hm_container_of(f, struct hm_dispatch, room);

	hm_list_foreach_safe (&d->runtimes, n, tmp) {
		struct runtime_ref *r = hm_container_of(n, struct runtime_ref, node);

		for (size_t i = 0; i < r->n_chans; i++)
			hm_chan_wake(&r->chans[i]);
	}
}

static int chan_open(struct chan *c, struct hm_err *e)
{
	struct hm_dispatch *d = c->d;

	if (c->shape == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	if (c->info->recipient_is_url)
		return 0;
	if (hm_wire_origin(d->deps.wire, &c->info->origin, &c->origin, e) != 0)
		return hm_err_wrap(e, "channel %.*s", HM_STRF(c->info->name));
	return 0;
}

static struct runtime_ref *runtime_ref_new(struct hm_dispatch *d, struct hm_runtime *rt, struct hm_err *e)
{
	struct runtime_ref *r = calloc(1, sizeof(*r));

	if (r == NULL ||
	    (rt->channels->n > 0 && (r->chans = calloc(rt->channels->n, sizeof(*r->chans))) == NULL)) {
		free(r);
		hm_err_set(e, HM_ENOMEM, "out of memory");
		return NULL;
	}
	r->rt = hm_runtime_ref(rt);
	r->refs = 1;
	r->d = d;
	r->n_chans = rt->channels->n;
	hm_list_push(&d->runtimes, &r->node);
	for (size_t i = 0; i < r->n_chans; i++)
		hm_chan_init(&r->chans[i], d, r, rt->channels->v[i]);
	for (size_t i = 0; i < r->n_chans; i++) {
		if (chan_open(&r->chans[i], e) != 0) {
			hm_runtime_ref_put(r);
			return NULL;
		}
	}
	return r;
}

struct runtime_ref *hm_runtime_ref_get(struct runtime_ref *r)
{
	r->refs++;
	return r;
}

void hm_runtime_ref_put(struct runtime_ref *r)
{
	if (--r->refs > 0)
		return;
	for (size_t i = 0; i < r->n_chans; i++)
		hm_chan_fini(&r->chans[i]);
	hm_list_remove(&r->d->runtimes, &r->node);
	hm_runtime_unref(r->rt);
	free(r->chans);
	free(r);
}

/* No list: every failure. */
static uint32_t dead_outcomes(const struct hm_settings *s)
{
	uint32_t bits = 0;

	if (!s->queue.dead_letter_failed)
		return 0;
	for (size_t i = 0; i < s->queue.dead_letter_outcomes.n; i++) {
		int o = hm_outcome_find(hm_str_trim(s->queue.dead_letter_outcomes.v[i]));

		bits |= 1u << (o < 0 ? HM_OUT_COUNT : o); /* "none"; anything else did not pass the check */
	}
	return bits ? bits : UINT32_MAX;
}

static void take_settings(struct hm_dispatch *d, const struct hm_settings *s)
{
	uint32_t in_flight = (uint32_t)s->dispatch.max_in_flight;

	d->o.read_count = (uint32_t)s->queue.read_count;
	d->o.block_ms = (uint32_t)s->queue.block_ms;
	d->o.claim_after_ms = (uint32_t)s->queue.claim_after_ms;
	d->o.heartbeat_ms = (uint32_t)s->queue.heartbeat_ms;
	d->o.dead_letter_max = (uint32_t)s->queue.dead_letter_max;
	d->o.dead_outcomes = dead_outcomes(s);
	d->o.max_entry_bytes = s->queue.max_entry_bytes;
	/* The in-flight table was sized at start: a reload may lower the limit, or raise it back. */
	d->o.max_in_flight = d->inflight_limit ? hm_min(in_flight, d->inflight_limit) : in_flight;
	d->o.critical_reserve = d->o.max_in_flight * (uint32_t)s->dispatch.critical_reserve / 100;
	d->o.max_attempts = (uint32_t)s->dispatch.max_attempts;
	d->o.retry_base_ms = (uint32_t)s->dispatch.retry_base_ms;
	d->o.retry_max_ms = (uint32_t)s->dispatch.retry_max_ms;
	d->o.request_timeout_ms = (uint32_t)s->dispatch.request_timeout_ms;
	d->o.read_ahead = (uint32_t)s->dispatch.read_ahead;
	d->o.default_deadline_ms = s->dispatch.deadline_ms;
	d->o.ledger_backlog_max = s->ledger.queue_max;
	d->lanes[HM_LANE_HIGH].weight = (uint32_t)s->queue.weight_high;
	d->lanes[HM_LANE_NORMAL].weight = (uint32_t)s->queue.weight_normal;
	d->lanes[HM_LANE_BULK].weight = (uint32_t)s->queue.weight_bulk;
}

static void listen_for_room(struct runtime_ref *r, bool on)
{
	for (size_t i = 0; i < r->n_chans; i++)
		if (r->chans[i].origin != NULL)
			hm_origin_on_room(r->chans[i].origin, on ? on_room : NULL, r->d);
}

/* What new work may go to keeps its sessions. */
static void hold_origins(struct runtime_ref *r, bool on)
{
	for (size_t i = 0; i < r->n_chans; i++) {
		if (r->chans[i].origin == NULL)
			continue;
		if (on)
			hm_origin_hold(r->chans[i].origin);
		else
			hm_origin_release(r->chans[i].origin);
	}
}

/* -- life ---------------------------------------------------------------------------------------- */

int hm_dispatch_new(const struct hm_dispatch_deps *deps, struct hm_runtime *rt, struct hm_dispatch **d_r,
		    struct hm_err *e)
{
	const struct hm_settings *s = &rt->cfg->settings;
	struct hm_dispatch *d = calloc(1, sizeof(*d));
	uint32_t slots;

	if (d == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	HM_MAGIC_SET(d, HM_DISPATCH_MAGIC);
	d->deps = *deps;
	d->t = deps->tick;
	d->writer = deps->writer;
	d->o.partitions = (uint32_t)s->queue.partitions;
	d->o.prefix = s->queue.prefix; /* the first configuration lives as long as the process (main.c) */
	d->o.group = s->queue.group;
	take_settings(d, s);
	d->inflight_limit = d->o.max_in_flight;
	snprintf(d->consumer, sizeof(d->consumer), "%.*s.%u", HM_STRF(deps->node_id), deps->shard);
	snprintf(d->taker, sizeof(d->taker), "%s+", d->consumer);
	d->acc_len = HM_JOB_ACC_BOOT + hm_min(deps->node_id.len, sizeof(d->acc) - HM_JOB_ACC_BOOT);
	memcpy(d->acc, deps->boot_id, HM_JOB_ACC_BOOT);
	if (deps->node_id.len)
		memcpy(d->acc + HM_JOB_ACC_BOOT, deps->node_id.p, d->acc_len - HM_JOB_ACC_BOOT);
	for (int l = 0; l < HM_LANE_COUNT; l++) {
		hm_fair_init(&d->lanes[l].runnable, l == HM_LANE_CRITICAL ? 1 : TENANT_TURN);
		d->lanes[l].per_entry_x16 = 100 * 16; /* nothing is known: better a small first read */
	}
	hm_list_init(&d->prepared);
	hm_list_init(&d->held);
	hm_list_init(&d->asking);
	hm_list_init(&d->free_jobs);
	hm_list_init(&d->jobs);
	hm_list_init(&d->runtimes);
	d->templates.book = deps->book;
	hm_flush_init(&d->room, wake_all);
	hm_slab_init(&d->msg_slab, "messages", sizeof(struct msg), 0);
	hm_slab_init(&d->send_slab, "sends", sizeof(struct send), 0);
	hm_slab_init(&d->past_slab, "past attempts", sizeof(struct past_attempt), 0);
	hm_msg_facts_init(d);
	hm_msg_gates_init(d);
	hm_escalate_init(d);
	hm_msg_turns_init(d);
	hm_flush_init(&d->pump, hm_pump_run);
	hm_flush_init(&d->urgent, hm_pump_urgent);
	hm_timer_init(&d->heartbeat, NULL);
	hm_timer_init(&d->delay_timer, NULL);
	hm_timer_init(&d->drain_timer, NULL);
	/* Slots: what is in flight, plus what is final but not yet durable. */
	slots = (d->o.max_in_flight + d->o.critical_reserve) * 4 + 4096;
	hm_pids_init(d);
	if (!hm_aside_init(d) || !hm_ack_init(d) || !hm_dead_init(d) || !hm_moves_init(d) ||
	    !hm_spill_init(d) || !hm_handback_init(d) ||
	    (d->lost = malloc(LOST_MAX * sizeof(*d->lost))) == NULL) {
		hm_err_set(e, HM_ENOMEM, "out of memory");
		goto fail;
	}
	if (hm_inflight_open(deps->data_dir, deps->shard, slots, &d->inflight, e) != 0)
		goto fail;
	d->rt = runtime_ref_new(d, rt, e);
	if (d->rt == NULL)
		goto fail;
	listen_for_room(d->rt, true);
	hold_origins(d->rt, true);
	*d_r = d;
	return 0;
fail:
	hm_inflight_close(d->inflight);
	hm_handback_fini(d);
	free(d->lost);
	hm_moves_fini(d);
	hm_spill_fini(d);
	hm_pids_fini(d);
	hm_dead_fini(d);
	hm_aside_fini(d);
	hm_ack_fini(d);
	HM_MAGIC_CLEAR(d);
	free(d);
	return e ? e->code : HM_ENOMEM;
}

int hm_dispatch_start(struct hm_dispatch *d, struct hm_err *e)
{
	d->redis_up = hm_redis_up(d->deps.redis);
	hm_recover_start(d);
	hm_delay_start(d);
	hm_moves_start(d);
	hm_spill_start(d);
	hm_timer_init(&d->late, hm_chan_end_late);
	hm_timer_start(d->t, &d->late, 1000);
	return hm_pull_start(d, e);
}

void hm_dispatch_reload(struct hm_dispatch *d, struct hm_runtime *rt)
{
	struct hm_err e = {0};
	struct runtime_ref *r = runtime_ref_new(d, rt, &e);

	if (r == NULL) {
		HM_ERROR(DISPATCH, "the new configuration cannot be used by this shard; the old one stays",
			 HM_E(&e));
		return;
	}
	hold_origins(r, true);
	hold_origins(d->rt, false);
	hm_runtime_ref_put(d->rt);
	d->rt = r;
	take_settings(d, &rt->cfg->settings);
	hm_pump_weights(d);
	listen_for_room(r, true);
	hm_pump_later(d);
}

void hm_dispatch_durable(void *arg, uint64_t ticket)
{
	hm_ack_durable(arg, ticket);
}

void hm_dispatch_redis_state(struct hm_dispatch *d, bool up)
{
	d->redis_up = up;
	if (up && !d->draining) {
		hm_timer_start(d->t, &d->heartbeat, 0);
		hm_flush_later(d->t, &d->ack_flush);
		hm_pull_kick(d);
	} else if (d->draining) {
		hm_dispatch_check_drained(d);
	}
}

/* -- drain --------------------------------------------------------------------------------------- */

/*
 *   nothing more is read ─▶ answers of what has left ─▶ records durable, letters and moves told, entries acknowledged
 *   ─▶ what is left goes back as new entries (handback.c) ─▶ farewell
 *
 * Until then heartbeats go on, so that nobody takes over what is being answered. When Redis is away, or the limit is over,
 * what is left stays pending, as after a crash.
 */

/* Jobs stand on their lane or parked on a channel, under any snapshot still in use. */
static void unlist_jobs(struct hm_dispatch *d)
{
	hm_pump_drop(d);
	hm_spill_stop(d);
	for (int l = 0; l < HM_LANE_COUNT; l++) {
		hm_list_foreach (&d->runtimes, n) {
			struct runtime_ref *r = hm_container_of(n, struct runtime_ref, node);

			for (size_t i = 0; i < r->n_chans; i++)
				while (hm_list_pop(&r->chans[i].parked[l]) != NULL)
					;
		}
	}
}

void hm_msg_drop(struct msg *m)
{
	struct job *j = m->job;
	struct hm_dispatch *d = j->d;

	j->handed_back = true;
	/* Nothing of it is on the wire. What was sent before has been answered; that is on record when its slot is free. */
	if (m->past != NULL && m->where != MSG_HELD &&
	    hm_settle_interim(m, HM_STR("handed back: this node stops")) == 0)
		j->stays = true;
	if (m->slot != HM_INFLIGHT_NONE)
		hm_ack_wait(d, j->ticket, NULL, m->slot);
	m->slot = HM_INFLIGHT_NONE;
	m->where = MSG_NOWHERE;
	if (!hm_handback_msg(m))
		j->stays = true;
	hm_msg_free(m);
}

/* A retry that is due in a while waits in Redis; the others are tried by whoever gets them. */
static void drop_held(struct hm_dispatch *d)
{
	struct hm_node *n;

	while ((n = hm_list_pop(&d->held)) != NULL) {
		struct msg *m = hm_container_of(n, struct msg, node);
		uint64_t left = hm_timer_armed(&m->timer) && m->timer.node.key > d->t->now_ns
					? (m->timer.node.key - d->t->now_ns) / 1000000u
					: 0;

		hm_timer_stop(d->t, &m->timer);
		if (m->turn == NULL && left > 1000 && d->redis_up && !d->drain_forced) {
			m->where = MSG_NOWHERE;
			hm_aside_msg(m, d->t->wall_ms + left, HM_STR("waiting for another try"));
		} else {
			hm_msg_drop(m);
		}
	}
}

static void drop_list(struct hm_list *l)
{
	struct hm_node *n;

	while ((n = hm_list_pop(l)) != NULL)
		hm_msg_drop(hm_container_of(n, struct msg, node));
}

static void drop_waiting(struct hm_dispatch *d)
{
	drop_held(d);
	if (!d->redis_up || d->drain_forced) /* else the answer comes soon */
		hm_escalate_drop(d);
	hm_list_foreach (&d->runtimes, n) {
		struct runtime_ref *r = hm_container_of(n, struct runtime_ref, node);

		for (size_t i = 0; i < r->n_chans; i++)
			for (int l = 0; l < HM_LANE_COUNT; l++)
				drop_list(&r->chans[i].waiting[l]);
	}
}

static void report_drained(struct hm_dispatch *d)
{
	if (d->drained)
		return;
	d->drained = true;
	hm_timer_stop(d->t, &d->drain_timer);
	hm_timer_stop(d->t, &d->heartbeat);
	HM_INFO(DISPATCH, "drained", HM_U("handed_back", hm_handback_count(d)),
		HM_U("left_pending", d->jobs.len), HM_U("sends_cut", d->sends_live));
	d->on_drained(d->drained_arg);
}

/* Nothing of this shard is under way to Redis, and every record is on the disk. */
static bool settled(const struct hm_dispatch *d)
{
	if (!hm_ack_idle(d) || !hm_dead_idle(d) || !hm_pids_idle(d) || !hm_moves_idle(d) ||
	    !hm_aside_idle(d) || hm_aside_count(d) > 0 || !hm_pull_idle(d))
		return false;
	hm_list_foreach (&d->jobs, n) {
		const struct job *j = hm_container_of(n, const struct job, all);

		if (j->lent || (j->ticket > d->durable && !j->stays))
			return false;
	}
	return true;
}

static void check_drained(struct hm_dispatch *d)
{
	if (d->sends_live > 0 || !hm_list_empty(&d->asking) || !hm_list_empty(&d->gating))
		return;
	drop_waiting(d); /* also retries that came back while draining */
	if (!d->redis_up)
		hm_aside_drop(d);
	if (d->rechecks > 0 || d->fifo_len > 0 || !hm_list_empty(&d->escalating))
		return;
	if (d->redis_up) {
		if (!settled(d))
			return;
		unlist_jobs(d);
		if (!hm_handback_done(d))
			return;
		if (!d->farewell && d->jobs.len == 0) {
			d->farewell = true;
			hm_recover_farewell(d);
		}
	}
	if (d->beats_open == 0)
		report_drained(d);
}

void hm_dispatch_check_drained(struct hm_dispatch *d)
{
	if (!d->draining || d->drained || d->checking)
		return;
	d->checking = true; /* what is dropped or put aside here asks again */
	check_drained(d);
	d->checking = false;
}

static void on_drain_limit(struct hm_timer *t)
{
	struct hm_dispatch *d = hm_container_of(t, struct hm_dispatch, drain_timer);

	if (!d->drain_forced) {
		d->drain_forced = true;
		HM_WARN(DISPATCH, "requests still without an answer at the drain limit are cut",
			HM_U("sends", d->sends_live));
		hm_msg_gates_drop(d);
		hm_msg_facts_drop(d);
		/* Their answers are lost: recorded as unknown or handed back, as after a crash. */
		hm_wire_abort(d->deps.wire);
		hm_timer_start(d->t, &d->drain_timer, 5000);
		hm_dispatch_check_drained(d);
		return;
	}
	report_drained(d);
}

void hm_dispatch_drain(struct hm_dispatch *d, uint64_t limit_ms, void (*on_drained)(void *arg), void *arg)
{
	HM_CHECK(d, HM_DISPATCH_MAGIC);
	d->draining = true;
	d->on_drained = on_drained;
	d->drained_arg = arg;
	hm_pull_stop(d);
	hm_timer_stop(d->t, &d->delay_timer);
	unlist_jobs(d);
	hm_timer_stop(d->t, &d->late);
	hm_timer_init(&d->drain_timer, on_drain_limit);
	hm_timer_start(d->t, &d->drain_timer, limit_ms);
	hm_dispatch_check_drained(d);
}

void hm_dispatch_close(struct hm_dispatch *d)
{
	HM_CHECK(d, HM_DISPATCH_MAGIC);
	hm_assert(d->drained);
	d->closed = true;
	hm_pull_close(d);
	listen_for_room(d->rt, false);
	hold_origins(d->rt, false);
}

void hm_dispatch_free(struct hm_dispatch *d)
{
	struct hm_node *n;

	HM_CHECK(d, HM_DISPATCH_MAGIC);
	hm_assert(d->closed);
	hm_pull_free(d);
	hm_flush_cancel(d->t, &d->pump);
	hm_flush_cancel(d->t, &d->urgent);
	hm_flush_cancel(d->t, &d->ack_flush);
	hm_timer_stop(d->t, &d->ack_retry);
	hm_timer_stop(d->t, &d->heartbeat);
	hm_timer_stop(d->t, &d->delay_timer);
	hm_timer_stop(d->t, &d->drain_timer);
	hm_timer_stop(d->t, &d->late);
	hm_handback_fini(d);
	free(d->lost);
	hm_moves_fini(d); /* before the jobs they are about */
	hm_spill_fini(d);
	hm_pids_fini(d);
	hm_dead_fini(d);
	hm_aside_fini(d);
	while ((n = hm_list_first(&d->jobs)) != NULL) {
		struct job *j = hm_container_of(n, struct job, all);

		j->open = 0;
		hm_job_free(j);
	}
	while ((n = hm_list_pop(&d->free_jobs)) != NULL) {
		struct job *j = hm_container_of(n, struct job, node);

		msgpack_zone_destroy(&j->zone);
		free(j);
	}
	hm_flush_cancel(d->t, &d->room);
	hm_runtime_ref_put(d->rt);
	hm_template_set_unref(d->templates.set);
	for (int l = 0; l < HM_LANE_COUNT; l++)
		hm_fair_fini(&d->lanes[l].runnable);
	hm_slab_fini(&d->msg_slab);
	hm_prepare_fini(d);
	hm_slab_fini(&d->send_slab);
	hm_slab_fini(&d->past_slab);
	hm_slab_fini(&d->facts_slab);
	hm_slab_fini(&d->gate_slab);
	hm_slab_fini(&d->wait_slab);
	hm_slab_fini(&d->turn_slab);
	hm_inflight_close(d->inflight);
	hm_ack_fini(d);
	HM_MAGIC_CLEAR(d);
	free(d);
}

void hm_dispatch_describe(const struct hm_dispatch *d, struct hm_buf *out)
{
	hm_buf_printf(out,
		      "{\"shard\":%u,\"consumer\":\"%s\",\"redis_up\":%s,\"draining\":%s,\"in_flight\":%u,"
		      "\"jobs\":%u,\"sends\":%u,"
		      "\"held\":%zu,\"gating\":%zu,\"asking\":%zu,\"rechecks\":%u,\"undurable\":%u,\"acks_"
		      "waiting\":%u,"
		      "\"lanes\":{",
		      d->deps.shard, d->consumer, d->redis_up ? "true" : "false",
		      d->draining ? "true" : "false", d->in_flight, d->jobs_live, d->sends_live, d->held.len,
		      d->gating.len, d->asking.len, d->rechecks, d->fifo_len, d->acks_waiting);
	for (int l = 0; l < HM_LANE_COUNT; l++)
		hm_buf_printf(out,
			      "%s\"%s\":{\"runnable_jobs\":%zu,\"buffered_messages\":%llu,\"tenants\":%zu,"
			      "\"entries_aside\":%llu}",
			      l ? "," : "", hm_lane_name((enum hm_lane)l), d->lanes[l].runnable.len,
			      (unsigned long long)d->lanes[l].buffered_msgs, d->lanes[l].runnable.tenants.len,
			      (unsigned long long)hm_spill_count(d, (enum hm_lane)l));
	hm_buf_lit(out, "},\"channels\":{");
	for (size_t i = 0; i < d->rt->n_chans; i++) {
		const struct chan *c = &d->rt->chans[i];
		size_t waiting = 0, parked = 0;

		for (int l = 0; l < HM_LANE_COUNT; l++) {
			waiting += c->waiting[l].len;
			parked += c->parked[l].len;
		}
		hm_buf_printf(out,
			      "%s\"%.*s\":{\"sends\":%zu,\"waiting\":%zu,\"parked_jobs\":%zu,\"paused\":%s}",
			      i ? "," : "", HM_STRF(c->info->name), c->sends.len, waiting, parked,
			      c->paused_until_ms > hm_tick_ms(d->t) ? "true" : "false");
	}
	hm_buf_lit(out, "}}");
}
