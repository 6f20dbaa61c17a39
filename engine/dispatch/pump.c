/*
 * pump.c - lanes by weight -> messages
 *
 * critical is strict: it is emptied first, and its messages may use the in-flight
 * reserve and the reserve of streams. The others share by smooth weighted round
 * robin: every turn each lane with work earns its weight, the richest sends one
 * message and pays the sum of all weights; so weights 8:4:1 interleave evenly and
 * no lane with weight starves. Within a lane tenants share, by weight too (fair.h).
 *
 * Nothing is expanded before it can leave: a job whose channel is full is parked on
 * that channel, so that one slow provider holds neither memory nor the lane.
 */
#include "base/fault.h"
#include "base/clock.h"
#include "dispatch/dispatch_int.h"

/* A pass expands messages for so long, then I/O gets its turn: what critical may wait behind. What else a pass does
 * (serializing, encrypting, settling) is about as much for each message again, twice. See bench/NOTES.md. */
#define PASS_NS	    300000u
#define PASS_STEP   8	 /* messages between two looks at the clock */
#define URGENT_MAX  1024 /* critical messages before the others get a turn */
#define WAITING_MAX 64	 /* per channel and lane: messages whose channel is known only per recipient */

void hm_pump_later(struct hm_dispatch *d)
{
	hm_flush_later(d->t, &d->pump);
}

static bool may_expand(const struct hm_dispatch *d, enum hm_lane lane)
{
	uint32_t limit = lane == HM_LANE_CRITICAL ? d->o.max_in_flight + d->o.critical_reserve
						  : d->o.max_in_flight;

	return d->in_flight < limit && hm_inflight_free_slots(d->inflight) > 0 &&
	       d->fifo_len + 2 < d->fifo_cap && hm_aside_room(d) &&
	       hm_ledger_backlog(d->writer) < d->o.ledger_backlog_max && hm_dead_room(d);
}

/* Goes on where an earlier run stopped: its attempts count and stay in the timeline. */
static void resume(struct msg *m, const struct hm_ledger_msg *before)
{
	for (size_t i = 0; i < before->n_attempts; i++)
		hm_settle_remember(m, &before->attempts[i]);
	m->attempts = (uint8_t)hm_min(before->n_attempts, (size_t)200);
	m->interim = true;
}

/* It left earlier in this run, and its end could not be recorded: it goes on with its slot. */
static void find_lost(struct msg *m)
{
	struct hm_dispatch *d = m->job->d;

	for (uint32_t i = 0; i < d->n_lost; i++) {
		if (memcmp(&d->lost[i].id, &m->id, sizeof(m->id)) != 0)
			continue;
		m->slot = d->lost[i].slot;
		m->lost_here = 1;
		d->lost[i] = d->lost[--d->n_lost];
		return;
	}
}

static struct msg *msg_new(struct job *j, uint32_t index)
{
	struct hm_dispatch *d = j->d;
	struct msg *m = hm_slab_alloc(&d->msg_slab);
	struct hm_rcpt r;

	if (m == NULL)
		return NULL;
	memset(m, 0, sizeof(*m));
	HM_MAGIC_SET(m, HM_MSG_MAGIC);
	m->job = j;
	m->lane = j->lane;
	m->route = j->route;
	m->index = index;
	m->slot = HM_INFLIGHT_NONE;
	m->id = j->id;
	hm_ulid_add(&m->id, j->spec.n0 + index);
	m->attempts = (uint8_t)hm_min(j->spec.attempts, 200u);
	m->maybe_repeat = j->redelivered;
	if (hm_unlikely(d->n_lost > 0) && j->redelivered)
		find_lost(m);
	hm_job_rcpt(&j->spec, index, &r);
	m->user = r.user;
	hm_msg_timer_init(m);
	if (j->spec.res.there)
		hm_aside_restore(m);
	if (j->prior != NULL && j->prior[index] != NULL)
		resume(m, j->prior[index]);
	if (hm_unlikely(m->past != NULL))
		hm_route_restore(m);
	j->open++;
	d->in_flight++;
	hm_stats_inc(d->t->stats, HM_CT_IN_FLIGHT);
	return m;
}

/* In how many earlier runs a redelivered message had left when the process died. What another node had in flight
 * cannot be known, so all of it counts. */
static unsigned lost_before(const struct msg *m)
{
	const struct job *j = m->job;

	if (!j->redelivered)
		return 0;
	return hm_inflight_runs(j->d->deps.old, &m->id) + (j->foreign ? 1 : 0) + m->lost_here;
}

/* What was lost is written down; the channel's policy decides. */
static bool goes_again(struct msg *m, unsigned runs)
{
	hm_settle_unknown_before(m, runs);
	if (m->chan->info->resend_unknown || m->chan->info->idempotent)
		return true;
	hm_settle_final(m, HM_ST_FAILED,
			HM_STR("its answer was lost and the channel does not send such messages again"));
	return false;
}

bool hm_pump_goes_on(struct msg *m)
{
	unsigned runs = lost_before(m);

	return runs == 0 || goes_again(m, runs);
}

static bool choose(struct msg *m)
{
	if (!hm_route_choose(m))
		return false;
	if (m->job->spec.res.there)
		hm_aside_chosen(m);
	return true;
}

/* A lost attempt comes before the gates: whatever they say now, the recipient may have the message. */
static bool may_go(struct msg *m)
{
	unsigned runs = lost_before(m);

	if (hm_dead_before(m)) {
		hm_settle_final(m, HM_ST_FAILED, HM_STR("failed on the node its entry was taken over from"));
		return false;
	}
	if (hm_likely(runs == 0))
		/* What it holds in caps is let go of on its channel, should the gates end it. */
		return m->job->spec.res.held && m->job->broken.code == 0 ? choose(m) && hm_gates_pass(m)
									 : hm_gates_pass(m) && choose(m);
	if (m->job->broken.code != 0) {
		hm_settle_unknown_before(m, runs);
		return hm_gates_pass(m); /* ends it */
	}
	return choose(m) && goes_again(m, runs) && hm_gates_pass(m);
}

static void give_back_tenant(struct job *j)
{
	j->tenant->bytes -= j->bytes;
	hm_fair_put(&j->d->lanes[j->lane].runnable, j->tenant);
	j->tenant = NULL;
}

/* Takes the next recipient of the job whose turn it is. false: the lane can do nothing now. */
static bool lane_step(struct hm_dispatch *d, enum hm_lane lane)
{
	struct lane *l = &d->lanes[lane];
	struct hm_node *n;

	while ((n = hm_fair_first(&l->runnable)) != NULL) {
		struct job *j = hm_container_of(n, struct job, node);
		struct chan *c = j->fixed;
		uint32_t i = j->cursor;
		struct msg *m;

		HM_CHECK(j, HM_JOB_MAGIC);
		if (!may_expand(d, lane))
			return false;
		/* Whoever is too late needs no room. */
		if (c != NULL && !(j->expires_ms != 0 && d->t->wall_ms >= j->expires_ms) &&
		    (!hm_list_empty(&c->waiting[lane]) || !hm_chan_has_room(c, lane))) {
			hm_fair_remove(&l->runnable, j->tenant, n);
			hm_list_push(&c->parked[lane], n);
			continue;
		}
		if (j->done != NULL && (j->done[i >> 3] & (1u << (i & 7)))) {
			m = NULL; /* final already, in an earlier run */
		} else {
			m = msg_new(j, i);
			if (m == NULL)
				return false; /* out of memory: goes on when something ends */
		}
		j->cursor++;
		l->buffered_msgs--;
		j->tenant->msgs--;
		if (m != NULL)
			hm_fair_charge(&l->runnable, j->tenant);
		if (j->cursor == j->spec.n_rcpts) {
			hm_fair_remove(&l->runnable, j->tenant, n);
			l->buffered_bytes -= j->bytes;
			give_back_tenant(j);
		}
		if (m == NULL) {
			hm_job_maybe_done(j);
			continue;
		}
		if (may_go(m)) {
			struct chan *at = m->chan;

			(void)hm_fault(HM_FAULT_route_after);
			hm_msg_go(m);
			if (hm_node_linked(n) && at->waiting[lane].len >= WAITING_MAX) {
				hm_fair_remove(&l->runnable, j->tenant, n);
				hm_list_push(&at->parked[lane], n);
			}
		}
		return true;
	}
	return false;
}

static int pick(struct hm_dispatch *d)
{
	int best = -1, sum = 0;

	for (int l = HM_LANE_HIGH; l < HM_LANE_COUNT; l++) {
		struct lane *ln = &d->lanes[l];

		if (ln->runnable.len == 0) {
			ln->credit = 0;
			continue;
		}
		sum += (int)ln->weight;
		ln->credit += (int)ln->weight;
		if (best < 0 || ln->credit > d->lanes[best].credit)
			best = l;
	}
	if (best >= 0)
		d->lanes[best].credit -= sum;
	return best;
}

static void run_urgent(struct hm_dispatch *d)
{
	int budget = URGENT_MAX;

	while (budget > 0 && lane_step(d, HM_LANE_CRITICAL))
		budget--;
	if (budget == 0)
		hm_flush_next(d->t, &d->pump);
}

/* A critical job has come: out with it, before what else this pass has to do. */
void hm_pump_urgent(struct hm_flush *f)
{
	struct hm_dispatch *d = hm_container_of(f, struct hm_dispatch, urgent);

	HM_CHECK(d, HM_DISPATCH_MAGIC);
	if (!d->draining && hm_marks_known(d))
		run_urgent(d);
}

void hm_pump_run(struct hm_flush *f)
{
	struct hm_dispatch *d = hm_container_of(f, struct hm_dispatch, pump);
	uint64_t until = hm_clock_mono_ns() + PASS_NS;
	int step = PASS_STEP;

	HM_CHECK(d, HM_DISPATCH_MAGIC);
	if (d->draining || !hm_marks_known(d))
		return;
	run_urgent(d);
	for (;;) {
		int l = pick(d);

		if (l < 0)
			break;
		if (lane_step(d, (enum hm_lane)l)) {
			if (--step > 0)
				continue;
			step = PASS_STEP;
			if (hm_clock_mono_ns() < until)
				continue;
			hm_flush_next(d->t, &d->pump);
			break;
		}
		/* The lane with the turn is stuck on the shared limit: so is everyone. If it only
		 * ran out of runnable jobs the next pick sees that. */
		if (d->lanes[l].runnable.len > 0)
			break;
	}
	hm_spill_turn(d);
	hm_pull_kick(d);
}

static uint32_t weight_of(const struct hm_dispatch *d, struct hm_str tenant)
{
	const struct hm_tenant_conf *t = tenant.len > 0 ? hm_config_tenant(d->rt->rt->cfg, tenant) : NULL;

	return t != NULL ? t->weight : 1;
}

void hm_pump_job(struct job *j)
{
	struct hm_dispatch *d = j->d;
	struct lane *l = &d->lanes[j->lane];

	j->tenant = hm_fair_get(&l->runnable, j->spec.tenant, weight_of(d, j->spec.tenant));
	j->tenant->msgs += j->spec.n_rcpts;
	j->tenant->bytes += j->bytes;
	hm_fair_push(&l->runnable, j->tenant, &j->node);
	if (j->lane == HM_LANE_CRITICAL)
		hm_flush_soon(d->t, &d->urgent);
	else
		hm_pump_later(d);
}

void hm_pump_back(struct hm_dispatch *d, enum hm_lane lane, struct hm_list *parked)
{
	struct hm_node *n;

	while ((n = hm_list_pop(parked)) != NULL)
		hm_fair_push(&d->lanes[lane].runnable, hm_container_of(n, struct job, node)->tenant, n);
	hm_pump_later(d);
}

void hm_pump_weights(struct hm_dispatch *d)
{
	for (int l = 0; l < HM_LANE_COUNT; l++)
		hm_list_foreach (&d->lanes[l].runnable.tenants, n) {
			struct hm_tenant *t = hm_container_of(n, struct hm_tenant, all);

			hm_fair_weight(t, weight_of(d, hm_tenant_name(t)));
		}
}

void hm_pump_drop(struct hm_dispatch *d)
{
	for (int l = 0; l < HM_LANE_COUNT; l++) {
		struct hm_fair *f = &d->lanes[l].runnable;
		struct hm_node *n;

		while ((n = hm_fair_first(f)) != NULL)
			hm_fair_remove(f, hm_container_of(n, struct job, node)->tenant, n);
	}
}

void hm_pump_forget(struct job *j)
{
	if (j->tenant == NULL)
		return;
	j->tenant->msgs -= j->spec.n_rcpts - j->cursor;
	give_back_tenant(j);
}
