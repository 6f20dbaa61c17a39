/*
 * settle.c - what becomes of a message after an attempt
 *
 *   ok, of several parts not the last ▶ waiting with the next part
 *   refused because of another one of the call ▶ waiting, alone
 *   ok ─────────────────────────────▶ sent
 *   auth, credential just refreshed ─▶ once more, at once
 *   retryable, attempts and time left ▶ held (full jitter, provider's hint) ▶ waiting
 *   unknown ─ channel may resend ────▶ held;  may not ▶ failed, or the next channel if the route says so
 *   otherwise ── route has another ──▶ waiting there;  has none ▶ failed
 *
 * Every end goes through hm_settle_final: ledger record, counters, slot, job.
 */
#include <openssl/rand.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "dispatch/dispatch_int.h"

#define HOLD_MAX_MS 60000 /* longer waits are spent in Redis, not in memory */
#define MAX_PAST    32	  /* of the record: every part of a content and some failures */
_Static_assert(MAX_PAST > HM_FIT_MAX_PARTS, "all parts");

void hm_msg_free(struct msg *m)
{
	struct job *j = m->job;
	struct hm_dispatch *d = j->d;

	hm_timer_stop(d->t, &m->timer);
	hm_msg_facts_free(m);
	hm_route_msg_fini(m);
	hm_msg_gates_free(m);
	hm_msg_turn_free(m);
	for (struct past_attempt *p = m->past, *next; p != NULL; p = next) {
		next = p->next;
		hm_slab_free(&d->past_slab, p);
	}
	HM_MAGIC_CLEAR(m);
	hm_slab_free(&d->msg_slab, m);
	d->in_flight--;
	hm_stats_sub(d->t->stats, HM_CT_IN_FLIGHT, 1);
	j->open--;
}

/* What a later run needs most: the parts that are sent, then the answers that were lost. */
static unsigned rank_of(const struct past_attempt *p)
{
	return p->outcome == HM_OUT_OK ? 0 : p->outcome == HM_OUT_UNKNOWN ? 1 : 2;
}

/* Oldest first into v, at most max; returns the number. When there are more, old failures are left out first. */
static size_t attempts_of(const struct msg *m, struct hm_ledger_attempt *v, size_t max)
{
	size_t room[3] = {0}, n = 0, i;

	for (const struct past_attempt *p = m->past; p != NULL; p = p->next)
		room[rank_of(p)]++;
	for (i = 0; i < hm_countof(room); i++) {
		room[i] = hm_min(room[i], max - n);
		n += room[i];
	}
	i = n;
	for (const struct past_attempt *p = m->past; p != NULL && i > 0; p = p->next) {
		size_t *left = &room[rank_of(p)];

		if (*left == 0)
			continue;
		--*left;
		v[--i] = (struct hm_ledger_attempt){
			.channel = hm_str_c(p->channel),
			.outcome = p->outcome,
			.status = p->status,
			.at_ms = p->at_ms,
			.took_us = p->took_us,
			.reason = hm_str_n(p->reason, p->reason_len),
			.provider_id = hm_str_n(p->provider_id, p->provider_id_len),
		};
	}
	return n;
}

static uint64_t put_record(struct msg *m, enum hm_state state, struct hm_str reason,
			   const struct hm_ledger_attempt *attempts, size_t n)
{
	struct job *j = m->job;
	struct hm_dispatch *d = j->d;
	struct hm_ledger_msg r = {
		.id = m->id,
		.job = j->origin,
		.state = (uint8_t)state,
		.lane = m->lane,
		.accepted_ms = j->accepted_ms,
		.updated_ms = d->t->wall_ms,
		.user = m->user,
		.address = m->addr,
		.campaign = j->spec.campaign,
		.channel = m->chan ? m->chan->info->name : j->spec.channel,
		.template_ref = j->spec.template_ref,
		.reason = reason,
		.facts = m->facts != NULL ? hm_msg_facts_json(m) : HM_STR_NULL,
		.attempts = attempts,
		.n_attempts = n,
		.has_of = j->spec.of.len > 0,
		.of = hm_job_of_id(&j->spec),
		.maybe_repeat = m->maybe_repeat || m->interim,
	};

	if (r.address.p == NULL) {
		struct hm_rcpt rc;

		hm_job_rcpt(&j->spec, m->index, &rc);
		r.address = rc.addr;
	}
	return hm_ledger_put_msg(d->writer, &r);
}

/* It left in this run, and that is nowhere but in the in-flight table: its entry, read again, must not forget it. */
static void remember_lost(const struct msg *m)
{
	struct hm_dispatch *d = m->job->d;

	if (m->slot == HM_INFLIGHT_NONE)
		return;
	if (d->n_lost == LOST_MAX) /* then a later run finds it in the table */
		hm_panic(__FILE__, __LINE__, __func__, "no memory for records of %u messages", LOST_MAX);
	d->lost[d->n_lost++] = (struct lost){.id = m->id, .slot = m->slot};
}

static void end(struct msg *m, enum hm_state state, struct hm_str reason,
		const struct hm_ledger_attempt *attempts, size_t n)
{
	static const enum hm_counter counter[HM_ST_COUNT] = {
		[HM_ST_SENT] = HM_CT_SENT,	     [HM_ST_DELIVERED] = HM_CT_SENT,
		[HM_ST_FAILED] = HM_CT_FAILED,	     [HM_ST_SUPPRESSED] = HM_CT_SUPPRESSED,
		[HM_ST_CAPPED] = HM_CT_CAPPED,	     [HM_ST_EXPIRED] = HM_CT_EXPIRED,
		[HM_ST_CANCELLED] = HM_CT_CANCELLED,
	};
	struct job *j = m->job;
	struct hm_dispatch *d = j->d;
	uint64_t ticket;

	HM_CHECK(m, HM_MSG_MAGIC);
	hm_assert(hm_state_final(state) && m->where == MSG_NOWHERE && !hm_node_linked(&m->node));
	if (hm_unlikely(m->reached) && counter[state] != HM_CT_SENT)
		state = hm_route_reached(m, &reason, n > 0 && attempts[n - 1].outcome == HM_OUT_UNKNOWN);
	/* An answer that was lost may have been a yes. */
	if (m->chan != NULL)
		hm_msg_gates_leave(m, counter[state] == HM_CT_SENT ||
					      (n > 0 && attempts[n - 1].outcome == HM_OUT_UNKNOWN));
	ticket = put_record(m, state, reason, attempts, n);
	hm_stats_inc(d->t->stats, counter[state]);
	(void)hm_fault(HM_FAULT_settle_record);
	if (ticket == 0) {
		j->unrecorded = true; /* out of memory: the entry must not be acknowledged */
		remember_lost(m);
	}
	if (ticket > j->ticket)
		j->ticket = ticket;
	if (state == HM_ST_FAILED && ticket > 0)
		hm_dead_message(m, reason);
	if (m->slot != HM_INFLIGHT_NONE && ticket > 0)
		hm_ack_wait(d, ticket, NULL, m->slot);
	hm_msg_free(m);
	hm_job_maybe_done(j);
	hm_dispatch_check_drained(d);
	hm_pump_later(d);
}

void hm_settle_final(struct msg *m, enum hm_state state, struct hm_str reason)
{
	struct hm_ledger_attempt v[MAX_PAST];
	size_t n = attempts_of(m, v, MAX_PAST);

	end(m, state, reason, v, n);
}

static void copy_cut(char *dst, size_t cap, uint8_t *len_r, struct hm_str s)
{
	size_t n = s.len ? hm_utf8_cut(s, cap) : 0;

	if (n)
		memcpy(dst, s.p, n);
	*len_r = (uint8_t)n;
}

void hm_settle_remember(struct msg *m, const struct hm_ledger_attempt *a)
{
	struct hm_dispatch *d = m->job->d;
	struct past_attempt *p = hm_slab_alloc(&d->past_slab);
	uint8_t n;

	if (p == NULL)
		return; /* the timeline loses a line, the message nothing */
	p->next = m->past;
	p->chan = m->chan;
	p->outcome = a->outcome;
	p->status = a->status;
	p->at_ms = a->at_ms;
	p->took_us = a->took_us;
	copy_cut(p->channel, sizeof(p->channel) - 1, &n, a->channel);
	p->channel[n] = '\0';
	copy_cut(p->reason, sizeof(p->reason), &p->reason_len, a->reason);
	copy_cut(p->provider_id, sizeof(p->provider_id), &p->provider_id_len, a->provider_id);
	m->past = p;
}

/* Earlier runs handed this message to a driver and nobody saw the answer. What a record has noted of it already is not
 * noted again. */
void hm_settle_unknown_before(struct msg *m, unsigned runs)
{
	struct hm_ledger_attempt a = {
		.channel = m->chan ? m->chan->info->name : m->job->spec.channel,
		.outcome = HM_OUT_UNKNOWN,
		.at_ms = m->job->d->t->wall_ms,
		.reason = HM_STR("the engine stopped before the answer was recorded"),
	};
	unsigned noted = 0;

	for (const struct past_attempt *p = m->past; p != NULL; p = p->next)
		noted += p->outcome == HM_OUT_UNKNOWN &&
			 hm_str_eq(hm_str_n(p->reason, p->reason_len), a.reason);
	for (; noted < runs; noted++) {
		hm_settle_remember(m, &a);
		m->attempts++;
	}
	(void)hm_fault(HM_FAULT_unknown_before);
}

/* Full jitter (uniform in 0..cap, cap doubling), or the channel's own schedule and up to a tenth; never below the
 * provider's hint. */
static uint64_t backoff_ms(const struct msg *m, uint64_t hint_ms)
{
	const struct hm_dispatch *d = m->job->d;
	const struct hm_channel_info *info = m->chan->info;
	unsigned shift = hm_min((unsigned)(m->chan_attempts ? m->chan_attempts - 1 : 0), 20u);
	uint64_t cap = hm_min((uint64_t)d->o.retry_base_ms << shift, (uint64_t)d->o.retry_max_ms);
	uint64_t rnd = 0;

	(void)RAND_bytes((unsigned char *)&rnd, (int)sizeof(rnd));
	if (info->n_retry_waits > 0) {
		uint32_t past = m->chan_attempts ? m->chan_attempts - 1u : 0;

		cap = info->retry_waits_ms[hm_min(past, info->n_retry_waits - 1)];
		return hm_max(hint_ms, cap) + rnd % (cap / 10 + 1);
	}
	rnd = cap / 10 + rnd % (cap - cap / 10 + 1); /* a floor, so that a retry is never immediate */
	return hint_ms > rnd ? hint_ms + rnd / 10 : rnd;
}

/* Spread out, so that those who were refused together do not come again together. */
static uint64_t over_budget_ms(void)
{
	uint16_t rnd = 0;

	(void)RAND_bytes((unsigned char *)&rnd, (int)sizeof(rnd));
	return 500 + rnd % 1000;
}

static void on_held_due(struct hm_timer *t)
{
	struct msg *m = hm_container_of(t, struct msg, timer);
	struct hm_dispatch *d = m->job->d;

	HM_CHECK(m, HM_MSG_MAGIC);
	hm_assert(m->where == MSG_HELD);
	if (m->retrying && hm_chan_usable(m->chan) &&
	    (m->job->expires_ms == 0 || d->t->wall_ms < m->job->expires_ms) && !hm_chan_may_retry(m->chan)) {
		hm_timer_start(d->t, &m->timer, over_budget_ms()); /* too many retries already: later */
		return;
	}
	m->retrying = false;
	hm_msg_turn_free(m);
	hm_list_remove(&d->held, &m->node);
	m->where = MSG_WAITING;
	/* In front: it has waited already. */
	hm_list_push_front(&m->chan->waiting[m->lane], &m->node);
	if (hm_chan_usable(m->chan)) {
		hm_chan_wake(m->chan);
	} else {
		struct chan *c = m->chan;

		hm_route_away(c);
		hm_chan_wake_later(c);
	}
}

void hm_msg_timer_init(struct msg *m)
{
	hm_timer_init(&m->timer, on_held_due);
	hm_route_msg_init(m);
}

/* Nothing of it is on the wire, and what was is in the record of that ticket: as soon as that is durable, a crash leaves
 * nothing unknown. Slots that wait for the disk must not be missing for what leaves next. */
static void off_the_wire(struct msg *m, uint64_t ticket)
{
	struct hm_dispatch *d = m->job->d;

	if (m->slot == HM_INFLIGHT_NONE || ticket == 0 ||
	    hm_inflight_free_slots(d->inflight) < d->inflight_limit)
		return;
	hm_ack_wait(d, ticket, NULL, m->slot);
	m->slot = HM_INFLIGHT_NONE;
}

uint64_t hm_settle_interim(struct msg *m, struct hm_str reason)
{
	struct hm_dispatch *d = m->job->d;
	struct hm_ledger_attempt v[MAX_PAST];
	size_t n = attempts_of(m, v, MAX_PAST);
	uint64_t ticket = put_record(m, HM_ST_HELD, reason, v, n);

	if (ticket > m->job->ticket)
		m->job->ticket = ticket;
	if (m->slot != HM_INFLIGHT_NONE)
		hm_ack_wait(d, ticket ? ticket : d->durable, NULL, m->slot);
	m->slot = HM_INFLIGHT_NONE;
	return ticket;
}

void hm_settle_hold(struct msg *m, uint64_t delay_ms, struct hm_str reason)
{
	struct hm_dispatch *d = m->job->d;
	struct hm_ledger_attempt v[MAX_PAST];
	size_t n = attempts_of(m, v, MAX_PAST);
	uint64_t ticket = put_record(m, HM_ST_HELD, reason, v, n);

	if (ticket > m->job->ticket)
		m->job->ticket = ticket;
	off_the_wire(m, ticket);
	m->interim = true;
	m->gates_open = false; /* asked again: what it reserved is still there */
	m->where = MSG_HELD;
	hm_list_push(&d->held, &m->node);
	hm_timer_start(d->t, &m->timer, delay_ms);
	(void)hm_fault(HM_FAULT_hold_after);
}

/* Attempts and time left: held for a while. */
static bool try_again(struct msg *m, uint64_t hint_ms)
{
	const struct hm_channel_info *info = m->chan->info;
	const struct hm_dispatch *d = m->job->d;
	uint32_t max = info->max_attempts ? info->max_attempts : d->o.max_attempts;
	uint64_t delay;

	if (m->chan_attempts >= max)
		return false;
	delay = backoff_ms(m, hint_ms);
	if (m->job->expires_ms != 0 && d->t->wall_ms + delay >= m->job->expires_ms)
		return false;
	if (!hm_route_may_wait(m, delay))
		return false;
	hm_stats_inc(d->t->stats, HM_CT_RETRIES);
	m->retrying = true;
	if (delay > HOLD_MAX_MS)
		hm_aside_msg(m, d->t->wall_ms + delay, HM_STR("waiting for another try"));
	else
		hm_settle_hold(m, delay, HM_STR("waiting for another try"));
	return true;
}

/* The channel is not to blame, so the next of the route would not do better. */
void hm_settle_unanswered(struct msg *m, struct hm_str reason)
{
	struct hm_ledger_attempt a = {
		.channel = m->chan->info->name,
		.outcome = HM_OUT_RETRY,
		.at_ms = m->job->d->t->wall_ms,
		.reason = reason,
	};

	hm_assert(m->where == MSG_NOWHERE);
	hm_settle_remember(m, &a);
	m->attempts++;
	m->chan_attempts++;
	hm_stats_inc(m->job->d->t->stats, HM_CT_ATTEMPTS);
	if (!try_again(m, 0))
		hm_settle_final(m, HM_ST_FAILED, reason);
}

uint8_t hm_settle_parts_sent(const struct msg *m)
{
	unsigned n = 0;

	for (const struct past_attempt *p = m->past; p != NULL; p = p->next)
		n += p->outcome == HM_OUT_OK && hm_str_is(m->chan->info->name, p->channel);
	return (uint8_t)hm_min(n, 255u);
}

/* The next part follows at once. What is sent is on record: neither a retry nor a later run sends it again. */
static void part_sent(struct send *s, struct msg *m, const struct hm_ledger_attempt *v, size_t n)
{
	uint64_t ticket;

	hm_settle_remember(m, &v[n - 1]);
	m->part++;
	m->parts = (uint8_t)s->parts;
	m->chan_attempts = 0;
	m->auth_retried = false;
	ticket = put_record(m, HM_ST_SENDING,
			    hm_arena_printf(&s->arena, "%u of %u parts are sent", m->part, m->parts), v, n);
	if (ticket > m->job->ticket)
		m->job->ticket = ticket;
	off_the_wire(m, ticket);
	m->interim = true;
	m->where = MSG_WAITING;
	hm_list_push_front(&m->chan->waiting[m->lane], &m->node); /* woken when this send is freed */
	(void)hm_fault(HM_FAULT_part_sent);
}

/* Nobody of them was sent anything, and whose fault it is shows only when each goes alone: no attempt of any of them. As soon
 * as that is durable, a crash leaves nothing unknown. */
void hm_settle_split(struct send *s)
{
	struct chan *c = s->chan;
	struct hm_dispatch *d = c->d;
	struct hm_str reason = hm_arena_printf(&s->arena,
					       "%.*s: refused together with %zu others, sent alone now",
					       HM_STRF(s->verdict.reason), s->msgs.len - 1);
	struct hm_ledger_attempt v[MAX_PAST];
	struct hm_node *n;

	HM_INFO(DISPATCH, "a call was refused because of one recipient, each goes alone",
		HM_SV("channel", c->info->name), HM_U("messages", s->msgs.len),
		HM_SV("reason", s->verdict.reason));
	hm_stats_inc(d->t->stats, HM_CT_SPLITS);
	while ((n = hm_list_pop(&s->msgs)) != NULL) {
		struct msg *m = hm_container_of(n, struct msg, node);
		uint64_t ticket = put_record(m, HM_ST_HELD, reason, v, attempts_of(m, v, MAX_PAST));

		if (ticket > m->job->ticket)
			m->job->ticket = ticket;
		off_the_wire(m, ticket);
		m->interim = true;
		m->alone = true;
		m->where = MSG_WAITING;
		hm_list_push_front(&c->waiting[m->lane], &m->node); /* woken when this send is freed */
	}
	(void)hm_fault(HM_FAULT_call_split);
}

void hm_settle_attempt(struct send *s, struct msg *m, const struct hm_verdict *v, const struct hm_partial *p)
{
	enum hm_outcome outcome = p ? p->outcome : v->outcome;
	struct hm_str reason = p ? p->reason : v->reason;
	struct chan *c = s->chan;
	struct hm_dispatch *d = c->d;
	struct job *j = m->job;
	struct hm_ledger_attempt a[MAX_PAST];
	size_t n = attempts_of(m, a, MAX_PAST - 1);
	bool again;

	a[n] = (struct hm_ledger_attempt){
		.channel = c->info->name,
		.outcome = (uint8_t)outcome,
		.status = (uint16_t)(s->call.status > 0 && s->submitted ? s->call.status : 0),
		.at_ms = s->started_ms ? s->started_ms : d->t->wall_ms,
		.took_us = s->submitted && s->call.done_ns > s->call.started_ns
				   ? (uint32_t)((s->call.done_ns - s->call.started_ns) / 1000)
				   : 0,
		.reason = outcome == HM_OUT_OK ? HM_STR_NULL : reason,
		.provider_id = p && p->provider_id.len ? p->provider_id : v->provider_id,
	};
	if (outcome != HM_OUT_OK && v->detail.len > 0 && outcome == v->outcome)
		a[n].reason = hm_arena_printf(&s->arena, "%.*s: %.*s", HM_STRF(reason), HM_STRF(v->detail));
	n++;
	m->attempts++;
	m->chan_attempts++;
	hm_stats_inc(d->t->stats, HM_CT_ATTEMPTS);
	if (outcome == HM_OUT_OK)
		hm_pids_sent(m, a[n - 1].provider_id, s->in.n_rcpts > 1 && !(p && p->provider_id.len));
	if (outcome == HM_OUT_OK && m->part + 1u < s->parts) {
		part_sent(s, m, a, n);
		return;
	}
	if (outcome == HM_OUT_OK && hm_route_sent(m, a, n))
		return;
	if (outcome == HM_OUT_OK) {
		uint64_t now = hm_clock_wall_ms();

		hm_stats_record_us(d->t->stats, HM_HG_QUEUE_TO_ACCEPTED,
				   now > j->entry_ms ? (now - j->entry_ms) * 1000 : 0);
		end(m, HM_ST_SENT, HM_STR_NULL, a, n);
		return;
	}
	HM_DEBUG(DISPATCH, "attempt failed", HM_SV("channel", c->info->name),
		 HM_S("outcome", hm_outcome_name(outcome)), HM_SV("reason", a[n - 1].reason),
		 HM_U("status", s->call.status));
	hm_settle_remember(m, &a[n - 1]);
	if (outcome == HM_OUT_AUTH && v->refresh_credential && !m->auth_retried) {
		m->auth_retried = true;
		m->where = MSG_WAITING;
		hm_list_push_front(&c->waiting[m->lane], &m->node); /* woken when this send is freed */
		hm_stats_inc(d->t->stats, HM_CT_RETRIES);
		return;
	}
	again = hm_outcome_retryable(outcome) && !(outcome == HM_OUT_AUTH && v->operator_needed);
	if (outcome == HM_OUT_UNKNOWN)
		again = c->info->resend_unknown || c->info->idempotent;
	if (again && try_again(m, v->retry_after_ms))
		return;
	if (hm_route_next(m, outcome)) {
		(void)hm_fault(HM_FAULT_route_next);
		m->alone = false;
		m->where = MSG_WAITING;
		hm_list_push(&m->chan->waiting[m->lane], &m->node);
		hm_stats_inc(d->t->stats, HM_CT_RETRIES);
		hm_chan_wake_later(m->chan);
		return;
	}
	hm_settle_final(m, HM_ST_FAILED,
			a[n - 1].reason.len ? a[n - 1].reason : hm_str_c(hm_outcome_name(outcome)));
}
