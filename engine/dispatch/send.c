/*
 * send.c - one attempt, from its first message to its settlement
 *
 *      join            credential?          request           answer
 *   msgs ──▶ CREDENTIAL ──▶ BUILD ──▶ TRANSMIT ──▶ CLASSIFY ──▶ SETTLE ──▶ gone
 *                │             │          │                        ▲
 *                └─ refused ───┴─ unfit ──┴─ driver busy: the messages wait again
 *
 * Rules. The runner (hm_send_run) is the only one that advances; callbacks note what
 * happened and run it. send_goto is the only place that sets the step. A send completes
 * exactly once: after SETTLE, or when the driver refused it before anything left.
 * The wire calls on_done exactly once per accepted call, never from inside submit.
 */
#include "base/fault.h"
#include "base/log.h"
#include "dispatch/dispatch_int.h"
#include "gates/suppress.h"

#define BUSY_MS 10 /* the driver's queue was full: a moment before the next try */

#define HM_SEND_STEP(fn, name, waits) static enum step_next step_##fn(struct send *s);
#include "tbl/send_steps.h"
#undef HM_SEND_STEP

static const struct {
	enum step_next (*run)(struct send *s);
} steps[SEND_STEP_COUNT] = {
#define HM_SEND_STEP(fn, name, waits) [SEND_##name] = {step_##fn},
#include "tbl/send_steps.h"
#undef HM_SEND_STEP
};

static void send_free(struct send *s)
{
	struct chan *c = s->chan;
	struct hm_dispatch *d = c->d;

	HM_CHECK(s, HM_SEND_MAGIC);
	hm_assert(hm_list_empty(&s->msgs) && !s->cred_waiting && !s->prepare.waiting &&
		  s->prepare.entry == NULL);
	if (c->open == s)
		c->open = NULL;
	if (!s->submitted)
		c->unsubmitted--;
	hm_list_remove(&c->sends, &s->node);
	hm_arena_fini(&s->arena);
	HM_MAGIC_CLEAR(s);
	d->sends_live--;
	hm_slab_free(&d->send_slab, s);
	hm_runtime_ref_put(c->rt);
}

static struct send *send_new(struct chan *c)
{
	struct hm_dispatch *d = c->d;
	struct send *s = hm_slab_alloc(&d->send_slab);

	if (s == NULL)
		return NULL;
	memset(s, 0, offsetof(struct send, call));
	memset((char *)s + offsetof(struct send, cred), 0, sizeof(*s) - offsetof(struct send, cred));
	HM_MAGIC_SET(s, HM_SEND_MAGIC);
	s->chan = c;
	hm_runtime_ref_get(c->rt);
	hm_list_init(&s->msgs);
	hm_arena_init(&s->arena, &d->t->blocks, 0);
	hm_list_push(&c->sends, &s->node);
	c->unsubmitted++;
	d->sends_live++;
	return s;
}

enum step_next hm_send_goto(struct send *s, enum send_step to)
{
	hm_assert(to > s->step || s->step == SEND_CREDENTIAL);
	s->step = to;
	return STEP_MORE;
}

/* The messages go back to waiting: nothing has left, nothing has happened. */
static void send_undo(struct send *s)
{
	struct hm_node *n;

	while ((n = hm_list_pop(&s->msgs)) != NULL) {
		struct msg *m = hm_container_of(n, struct msg, node);

		m->where = MSG_WAITING;
		hm_list_push(&s->chan->waiting[m->lane], &m->node);
	}
}

void hm_send_run(struct send *s)
{
	enum step_next next;

	HM_CHECK(s, HM_SEND_MAGIC);
	if (s->running) {
		s->again = true;
		return;
	}
	s->running = true;
	do {
		s->again = false;
		next = steps[s->step].run(s);
	} while (next == STEP_MORE || (next == STEP_WAIT && s->again));
	s->running = false;
	if (next == STEP_DONE) {
		struct chan *c = s->chan;

		send_free(s);
		hm_chan_wake(c);
	}
}

/* -- the steps ------------------------------------------------------------------------------------ */

static void on_credential(struct hm_cred_waiter *w, const struct hm_err *err)
{
	struct send *s = hm_container_of(w, struct send, cred);

	HM_CHECK(s, HM_SEND_MAGIC);
	s->cred_waiting = false;
	if (err != NULL) {
		bool passing = err->code == HM_ETIMEDOUT || err->code == HM_ECONN || err->code == HM_EAGAIN ||
			       err->code == HM_ECLOSED;

		s->verdict.outcome = passing ? HM_OUT_PROVIDER_DOWN : HM_OUT_AUTH;
		s->verdict.operator_needed = !passing;
		s->verdict.reason = HM_STR("credential");
		s->verdict.detail = hm_arena_str(&s->arena, hm_str_c(err->text));
		s->answered = true;
		(void)hm_send_goto(s, SEND_SETTLE);
	}
	hm_send_run(s);
}

static enum step_next step_credential(struct send *s)
{
	struct hm_dispatch *d = s->chan->d;
	struct hm_str token;

	if (s->cred_waiting)
		return STEP_WAIT;
	if (s->chan->info->needs_credential) {
		if (!hm_cred_get(d->deps.creds, s->chan->ch, &token)) {
			s->cred.on_ready = on_credential;
			s->cred_waiting = true;
			hm_cred_wait(d->deps.creds, s->chan->ch, &s->cred);
			return STEP_WAIT;
		}
		s->in.credential = hm_arena_str(&s->arena, token); /* kept for hm_cred_reject */
	}
	return hm_send_goto(s, SEND_PREPARE);
}

static enum step_next step_prepare(struct send *s)
{
	return s->chan->info->prepares ? hm_prepare_step(s) : hm_send_goto(s, SEND_BUILD);
}

static void on_answer(struct hm_call *call)
{
	struct send *s = hm_container_of(call, struct send, call);

	HM_CHECK(s, HM_SEND_MAGIC);
	s->answered = true;
	hm_send_run(s);
}

enum step_next hm_send_unfit(struct send *s, enum hm_outcome o, struct hm_str reason, const struct hm_err *e)
{
	memset(&s->verdict, 0, sizeof(s->verdict));
	s->verdict.outcome = o;
	s->verdict.reason = reason;
	s->verdict.detail = hm_arena_str(&s->arena, hm_str_c(e->text));
	return hm_send_goto(s, SEND_SETTLE);
}

/* Parts go out one after the other, each message by itself: all but the first message wait for a send of their own. */
static void one_message(struct send *s)
{
	struct hm_node *first = hm_list_pop(&s->msgs), *n;

	while ((n = hm_list_pop(&s->msgs)) != NULL) {
		struct msg *m = hm_container_of(n, struct msg, node);

		m->parts = (uint8_t)s->parts;
		m->where = MSG_WAITING;
		hm_list_push(&s->chan->waiting[m->lane], &m->node);
	}
	hm_list_push(&s->msgs, first);
	hm_chan_wake_later(s->chan);
}

int hm_send_fill(struct send *s, struct hm_err *e)
{
	const struct msg *first = hm_container_of(hm_list_first(&s->msgs), struct msg, node);
	size_t i = 0;

	s->rcpts = hm_arena_alloc(&s->arena, s->msgs.len * sizeof(*s->rcpts));
	if (s->rcpts == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	hm_list_foreach (&s->msgs, n) {
		const struct msg *m = hm_container_of(n, struct msg, node);

		s->rcpts[i++] = (struct hm_build_rcpt){.addr = m->addr, .user = m->user, .id = m->id};
	}
	s->in.channel = s->chan->ch;
	s->in.rcpts = s->rcpts;
	s->in.n_rcpts = i;
	s->in.content = &s->content;
	s->in.wall_ms = s->chan->d->t->wall_ms;
	s->in.expires_ms = first->job->expires_ms;
	s->in.lane = (enum hm_lane)s->lane;
	s->in.part = first->part;
	s->in.parts_r = &s->parts;
	return 0;
}

static enum step_next step_build(struct send *s)
{
	struct chan *c = s->chan;
	struct hm_dispatch *d = c->d;
	enum hm_outcome o = HM_OUT_BAD_REQUEST;
	struct hm_origin_opts origin;
	struct hm_err e = {0};

	if (hm_send_fill(s, &e) != 0)
		return hm_send_unfit(s, HM_OUT_RETRY, HM_STR("memory"), &e);
	memset(&s->call, 0, sizeof(s->call));
	HM_MAGIC_SET(&s->call, HM_CALL_MAGIC);
	s->call.arena = &s->arena;
	if (hm_channel_build(&s->in, &s->arena, &s->call, &origin, &o, &e) != 0)
		return hm_send_unfit(s, o, HM_STR("request"), &e);
	if (s->parts > 1 && s->msgs.len > 1) {
		one_message(s);
		return STEP_MORE; /* built again */
	}
	s->call.origin = c->origin;
	if (c->origin == NULL && hm_wire_origin(d->deps.wire, &origin, &s->call.origin, &e) != 0)
		return hm_send_unfit(s, HM_OUT_INVALID_RECIPIENT, HM_STR("address"), &e);
	s->call.timeout_ms = c->info->timeout_ms ? c->info->timeout_ms : d->o.request_timeout_ms;
	hm_list_foreach (&s->msgs, n) { /* a step of a route may end sooner */
		uint32_t left = hm_route_time_left(hm_container_of(n, struct msg, node));

		s->call.timeout_ms = hm_min(s->call.timeout_ms, left);
	}
	s->call.urgent = s->lane == HM_LANE_CRITICAL;
	s->call.on_done = on_answer;
	return hm_send_goto(s, SEND_TRANSMIT);
}

enum step_next hm_send_later(struct send *s)
{
	send_undo(s);
	hm_chan_rest(s->chan, BUSY_MS);
	return STEP_DONE;
}

static enum step_next step_transmit(struct send *s)
{
	struct chan *c = s->chan;
	struct hm_dispatch *d = c->d;
	struct hm_err e = {0};

	if (s->answered)
		return hm_send_goto(s, SEND_CLASSIFY);
	if (s->submitted)
		return STEP_WAIT;
	hm_list_foreach (&s->msgs, n) {
		struct msg *m = hm_container_of(n, struct msg, node);

		if (m->slot == HM_INFLIGHT_NONE)
			m->slot = hm_inflight_put(d->inflight, &m->id);
	}
	(void)hm_fault(HM_FAULT_transmit_before);
	if (hm_wire_submit(&s->call, &e) != 0) {
		if (e.code != HM_EAGAIN)
			return hm_send_unfit(s, HM_OUT_RETRY, HM_STR("driver"), &e);
		return hm_send_later(s);
	}
	s->submitted = true;
	(void)hm_fault(HM_FAULT_wire_submitted);
	c->unsubmitted--;
	hm_chan_took(c, s);
	s->started_ms = d->t->wall_ms;
	return STEP_WAIT;
}

static enum step_next step_classify(struct send *s)
{
	struct hm_dispatch *d = s->chan->d;

	(void)hm_fault(HM_FAULT_transmit_after);
	hm_channel_classify(s->chan->ch, &s->in, &s->call, &s->arena, &s->verdict);
	if (s->call.done_ns > s->call.started_ns)
		hm_stats_record_us(d->t->stats, HM_HG_ATTEMPT, (s->call.done_ns - s->call.started_ns) / 1000);
	(void)hm_fault(HM_FAULT_classify_after);
	return hm_send_goto(s, SEND_SETTLE);
}

/* Addresses that are gone are not used again (gates/suppress.h). What a wrong setting may have caused is no proof alone. */
static void tell_guard(struct chan *c, const struct msg *m, const struct hm_verdict *v, enum hm_outcome o,
		       struct hm_str reason)
{
	const struct hm_config *cfg = m->job->rt->rt->cfg;
	int medium = (int)c->info->medium;

	if (o == HM_OUT_INVALID_RECIPIENT && v->suspect)
		hm_invalid_guard_suspect(c->d->deps.guard, cfg, c->info->name, medium, m->addr, reason);
	else
		hm_invalid_guard_answer(c->d->deps.guard, cfg, c->info->name, medium, m->addr,
					o == HM_OUT_INVALID_RECIPIENT, reason, v->gone_since_ms);
}

static enum step_next step_settle(struct send *s)
{
	const struct hm_verdict *v = &s->verdict;
	const struct hm_partial **by_index = NULL;
	struct chan *c = s->chan;
	struct hm_node *n;
	uint32_t i = 0;

	if (c->open == s)
		c->open = NULL;
	if (s->submitted)
		hm_chan_answered(c, s);
	if (v->n_partial > 0) {
		by_index = hm_arena_zalloc(&s->arena, s->msgs.len * sizeof(*by_index));
		for (size_t k = 0; by_index != NULL && k < v->n_partial; k++)
			if (v->partial[k].index < s->msgs.len)
				by_index[v->partial[k].index] = &v->partial[k];
	}
	if (v->prepare_again && s->prepare.id)
		hm_prepare_drop(c->d, s->prepare.id);
	if (v->refresh_credential && s->in.credential.len > 0)
		hm_cred_reject(c->d->deps.creds, c->ch, s->in.credential);
	if (v->split && s->submitted && s->msgs.len > 1) {
		hm_settle_split(s);
		return STEP_DONE;
	}
	while ((n = hm_list_pop(&s->msgs)) != NULL) {
		struct msg *m = hm_container_of(n, struct msg, node);
		const struct hm_partial *p = by_index ? by_index[i] : NULL;

		i++;
		m->where = MSG_NOWHERE;
		if (s->submitted)
			tell_guard(c, m, v, p ? p->outcome : v->outcome, p ? p->reason : v->reason);
		hm_settle_attempt(s, m, v, p);
	}
	return STEP_DONE;
}

/* -- joining -------------------------------------------------------------------------------------- */

static uint64_t content_hash(const struct hm_content *x)
{
	const struct hm_str v[] = {x->title, x->body, x->short_text, x->url, x->image};
	uint64_t h = (uint64_t)(uintptr_t)x->data ^ ((uint64_t)(uintptr_t)x->options << 1) ^
		     ((uint64_t)(uintptr_t)x->buttons << 2) ^ (uint64_t)x->format;

	for (size_t i = 0; i < hm_countof(v); i++)
		h = hm_hash64(v[i].p, v[i].len, h + i);
	return h;
}

static bool content_eq(const struct hm_content *a, const struct hm_content *b)
{
	return a->data == b->data && a->options == b->options && a->buttons == b->buttons &&
	       a->format == b->format && a->wrap == b->wrap && hm_str_eq(a->title, b->title) &&
	       hm_str_eq(a->body, b->body) && hm_str_eq(a->short_text, b->short_text) &&
	       hm_str_eq(a->url, b->url) && hm_str_eq(a->image, b->image);
}

void hm_send_env(const struct msg *m, struct hm_arena *a, struct hm_render_env *env)
{
	struct job *j = m->job;
	struct hm_rcpt r;

	hm_job_rcpt(&j->spec, m->index, &r);
	*env = (struct hm_render_env){
		.roots = {hm_msg_facts_root(m), r.data, j->spec.data},
		.locale = r.locale,
		.tz = r.tz,
		.now_ms = j->d->t->wall_ms,
		.arena = a,
		.scratch = &j->d->t->scratch,
		.settings = &j->rt->rt->cfg->settings,
		.set = j->templates,
	};
}

static int render(struct msg *m, struct hm_arena *a, struct hm_content *out, struct hm_err *e)
{
	struct hm_render_env env;

	hm_send_env(m, a, &env);
	return hm_template_render(m->job->source, m->chan->info->medium, &env, out, e);
}

static void on_tick_end(struct hm_flush *f)
{
	struct chan *c = hm_container_of(f, struct chan, flush);

	HM_CHECK(c, HM_CHAN_MAGIC);
	if (c->open != NULL) {
		struct send *s = c->open;

		c->open = NULL;
		hm_send_run(s);
	}
}

void hm_chan_flush_init(struct chan *c)
{
	hm_flush_init(&c->flush, on_tick_end);
}

void hm_send_join(struct msg *m)
{
	struct chan *c = m->chan;
	struct job *j = m->job;
	struct hm_dispatch *d = c->d;
	bool literal = hm_template_is_literal(j->source, c->info->medium);
	struct hm_content content;
	struct hm_err e = {0};
	struct send *s, *open = m->parts > 1 || m->alone ? NULL : c->open;
	bool batch = c->info->batch_max > 1 && m->parts <= 1 && !m->alone;
	uint64_t hash = 0;

	if (!m->gates_open && !hm_msg_gates(m))
		return;
	if (!hm_msg_turn(m))
		return;
	if (hm_unlikely(j->n_facts > 0) && !literal && !hm_msg_facts(m))
		return;
	if (literal && open != NULL && open->content_job == j && open->lane == m->lane)
		goto join;
	s = send_new(c);
	if (s == NULL) {
		m->where = MSG_WAITING;
		hm_list_push(&c->waiting[m->lane], &m->node);
		hm_chan_rest(c, BUSY_MS);
		return;
	}
	s->lane = m->lane;
	if (render(m, literal ? &j->arena : &s->arena, &content, &e) != 0) {
		send_free(s);
		hm_settle_final(m, HM_ST_FAILED, hm_str_c(e.text));
		return;
	}
	(void)hm_fault(HM_FAULT_render_after);
	s->content = content;
	if (literal)
		s->content_job = j;
	if (batch) {
		hash = content_hash(&content);
		if (open != NULL && open->content_hash == hash && open->lane == m->lane &&
		    open->in.expires_ms == j->expires_ms && content_eq(&open->content, &content)) {
			send_free(s);
			goto join;
		}
		s->content_hash = hash;
		s->in.expires_ms = j->expires_ms;
	}
	m->where = MSG_SENDING;
	hm_list_push(&s->msgs, &m->node);
	if (!batch) {
		hm_send_run(s);
		return;
	}
	c->open = s;
	hm_flush_later(d->t, &c->flush);
	if (open != NULL)
		hm_send_run(open); /* another content: what was open leaves now */
	return;
join:
	m->where = MSG_SENDING;
	hm_list_push(&open->msgs, &m->node);
	if (open->msgs.len >= c->info->batch_max) {
		c->open = NULL;
		hm_send_run(open);
	}
}
