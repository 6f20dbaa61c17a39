/*
 * route.c - which channel a message takes, and which next
 *
 * A job names one channel, or a route: up to 32 steps. Its order is that of the file, of the channels' cost
 * (sorted when the configuration was read), or by weight: then every user has an order of his own, in which a step comes
 * first as often as its share of the weights says, and that stays the same for retries and after a restart.
 *
 * A position is a place in that order. `msg.passed` are the positions that are behind it: tried and left. Of the others
 * the first that is possible (its channel exists, the recipient has an address for it, its condition holds) and whose
 * channel is usable (chan.c) is taken. Are all possible ones unusable, the message waits on the first of them and
 * moves as soon as one takes messages again; that alone never ends it. What was passed over because its channel was not
 * usable is not behind: it may have its turn later.
 *
 * A step is left
 *   after an outcome of its list `on` (empty: after any failure), once the retries on its channel are used up;
 *   after `unknown` only when the list says so, or its time is over: both may reach the recipient then;
 *   when `within` is over, whatever the message waits for; a request on the wire ends with it;
 *   when a gate stands before it whose policy is to go on;
 *   `mode: all`: when its provider has accepted the message, too;
 *   `unless`, `after`: when the receipt has not come by then (escalate.c).
 * A message some provider has accepted (msg.reached) cannot fail any more: whatever ends it later, it is sent.
 */
#include "base/fault.h"
#include "base/log.h"
#include "dispatch/dispatch_int.h"
#include "tmpl/tmpl.h"

#include <math.h>

#define CONDITION_STEPS	 10000
#define CONDITION_OUTPUT 16
#define CONDITION_MEMORY (256u << 10)
#define NEARLY_MS	 20 /* a request that ended with its step's time may be so much early */

static struct chan *find_chan(struct runtime_ref *rt, struct hm_str name)
{
	struct hm_channel *ch = hm_channel_find(rt->rt->channels, name);

	return ch ? &rt->chans[hm_channel_info(ch)->index] : NULL;
}

int hm_route_resolve(struct job *j, struct hm_err *e)
{
	if (j->spec.channel.len > 0) {
		j->fixed = find_chan(j->rt, j->spec.channel);
		if (j->fixed == NULL)
			return hm_err_set(e, HM_ENOENT, "no channel \"%.*s\"", HM_STRF(j->spec.channel));
		return 0;
	}
	j->route = hm_config_route(j->rt->rt->cfg, j->spec.route);
	if (j->route == NULL)
		return hm_err_set(e, HM_ENOENT, "no route \"%.*s\"", HM_STRF(j->spec.route));
	if (j->route->deadline_ms > 0)
		j->expires_ms = hm_min(j->expires_ms,
				       hm_max(j->entry_ms, j->spec.at_ms) + j->route->deadline_ms);
	return 0;
}

/* -- order ----------------------------------------------------------------------------------------- */

/* Smaller is earlier. Exponentially distributed with the weight as rate: so the smallest is step i with the
 * probability weight / sum, and a step that is added or taken away moves no user between two others. */
static double draw(const struct hm_route *r, const struct hm_route_step *s, struct hm_str who)
{
	uint64_t h = hm_hash64(who.p, who.len,
			       hm_hash64(s->channel.p, s->channel.len, hm_hash64(r->name.p, r->name.len, 7)));
	double u = ((double)(h >> 11) + 1) / 9007199254740993.0; /* (0, 1) */

	return s->weight ? -log(u) / (double)s->weight : INFINITY;
}

/* Every position's step, or as the file has them when v stays NULL. */
static void order_of(const struct msg *m, uint8_t v[HM_ROUTE_STEPS_MAX])
{
	const struct hm_route *r = m->route;
	struct hm_str who = m->user.len ? m->user : hm_str_n((const char *)m->id.b, sizeof(m->id.b));
	double key[HM_ROUTE_STEPS_MAX];

	for (size_t i = 0; i < r->n; i++) {
		double d = draw(r, &r->steps[i], who);
		size_t k = i;

		for (; k > 0 && key[k - 1] > d; k--) {
			key[k] = key[k - 1];
			v[k] = v[k - 1];
		}
		key[k] = d;
		v[k] = (uint8_t)i;
	}
}

static const struct hm_route_step *step_at(const struct msg *m, size_t pos)
{
	uint8_t v[HM_ROUTE_STEPS_MAX];

	if (m->route->choose != HM_CHOOSE_WEIGHTED)
		return &m->route->steps[pos];
	order_of(m, v);
	return &m->route->steps[v[pos]];
}

const struct hm_route_step *hm_route_step(const struct msg *m)
{
	return m->route != NULL && m->route_pos < m->route->n ? step_at(m, m->route_pos) : NULL;
}

/* -- conditions ------------------------------------------------------------------------------------ */

static msgpack_object text(struct hm_str s)
{
	msgpack_object o = {.type = s.p ? MSGPACK_OBJECT_STR : MSGPACK_OBJECT_NIL};

	if (s.p) {
		o.via.str.ptr = s.p;
		o.via.str.size = (uint32_t)s.len;
	}
	return o;
}

static msgpack_object some(struct hm_str s) /* an empty label is a missing one */
{
	return text(s.len ? s : HM_STR_NULL);
}

static msgpack_object number(uint64_t v)
{
	msgpack_object o = {.type = MSGPACK_OBJECT_POSITIVE_INTEGER};

	o.via.u64 = v;
	return o;
}

static void put(msgpack_object *map, const char *key, msgpack_object val)
{
	msgpack_object_kv *kv = &map->via.map.ptr[map->via.map.size++];

	kv->key = text(hm_str_c(key));
	kv->val = val;
}

static msgpack_object map_of(struct hm_arena *a, size_t cap)
{
	msgpack_object o = {.type = MSGPACK_OBJECT_MAP};

	o.via.map.ptr = hm_arena_zalloc(a, cap * sizeof(*o.via.map.ptr));
	return o;
}

static bool has_key(const msgpack_object *map, const msgpack_object *key)
{
	for (uint32_t i = 0; i < map->via.map.size; i++)
		if (msgpack_object_equal(map->via.map.ptr[i].key, *key))
			return true;
	return false;
}

/* What a template sees as its data: the recipient's, and of the shared one what he has not. */
static msgpack_object all_data(const struct msg *m, const struct hm_rcpt *r, struct hm_arena *a)
{
	const msgpack_object *own = r->data, *shared = m->job->spec.data;
	msgpack_object o;

	if (own == NULL || own->type != MSGPACK_OBJECT_MAP || shared == NULL ||
	    shared->type != MSGPACK_OBJECT_MAP) {
		const msgpack_object *one = own != NULL ? own : shared;

		return one != NULL ? *one : (msgpack_object){.type = MSGPACK_OBJECT_NIL};
	}
	o = map_of(a, own->via.map.size + shared->via.map.size + 1);
	if (o.via.map.ptr == NULL)
		return *own;
	for (uint32_t i = 0; i < own->via.map.size; i++)
		o.via.map.ptr[o.via.map.size++] = own->via.map.ptr[i];
	for (uint32_t i = 0; i < shared->via.map.size; i++)
		if (!has_key(own, &shared->via.map.ptr[i].key))
			o.via.map.ptr[o.via.map.size++] = shared->via.map.ptr[i];
	return o;
}

/* Empty before the first attempt, so that last.outcome may be compared without asking whether there is one. */
static msgpack_object last_attempt(const struct msg *m, struct hm_arena *a)
{
	const struct past_attempt *p = m->past;
	msgpack_object o = map_of(a, 4);

	if (o.via.map.ptr == NULL)
		return (msgpack_object){.type = MSGPACK_OBJECT_NIL};
	put(&o, "channel", text(hm_str_c(p ? p->channel : "")));
	put(&o, "outcome", text(hm_str_c(p ? hm_outcome_name(p->outcome) : "")));
	put(&o, "status", number(p ? p->status : 0));
	put(&o, "reason", text(p ? hm_str_n(p->reason, p->reason_len) : HM_STR("")));
	return o;
}

/* The names of hm_condition_names (config/condition.c). */
static msgpack_object values_of(const struct msg *m, struct hm_arena *a)
{
	const struct hm_job_spec *s = &m->job->spec;
	msgpack_object o = map_of(a, 16), rcpt = map_of(a, 8);
	struct hm_rcpt r;

	if (o.via.map.ptr == NULL || rcpt.via.map.ptr == NULL)
		return o;
	hm_job_rcpt(s, m->index, &r);
	put(&rcpt, "user", some(r.user));
	put(&rcpt, "locale", some(r.locale));
	put(&rcpt, "tz", some(r.tz));
	if (r.data != NULL)
		put(&rcpt, "data", *r.data);
	put(&o, "recipient", rcpt);
	put(&o, "user", some(r.user));
	put(&o, "locale", some(r.locale));
	put(&o, "tz", some(r.tz));
	put(&o, "data", all_data(m, &r, a));
	put(&o, "lane", text(hm_str_c(hm_lane_name(m->lane))));
	put(&o, "campaign", some(s->campaign));
	put(&o, "category", some(s->category));
	put(&o, "tenant", some(s->tenant));
	put(&o, "template", some(s->template_ref));
	put(&o, "tags", s->tags != NULL ? *s->tags : (msgpack_object){.type = MSGPACK_OBJECT_ARRAY});
	put(&o, "attempts", number(m->attempts));
	put(&o, "last", last_attempt(m, a));
	return o;
}

/* A condition that cannot be answered, because a value is missing or of another type, does not hold; *why_r says so. */
static bool holds(const struct msg *m, const struct hm_route_step *s, struct hm_str *why_r)
{
	struct hm_arena *a = &m->job->d->t->scratch;
	struct hm_tmpl_ctx ctx = {
		.nroots = 1,
		.arena = a,
		.now_ms = (int64_t)m->job->d->t->wall_ms,
		.limits = {.steps = CONDITION_STEPS, .output = CONDITION_OUTPUT, .memory = CONDITION_MEMORY},
	};
	const msgpack_object *roots[1];
	msgpack_object root;
	struct hm_err e = {0};
	struct hm_buf out;
	bool yes;

	if (s->cond == NULL)
		return true;
	root = values_of(m, a);
	roots[0] = &root;
	ctx.roots = roots;
	hm_buf_init(&out, CONDITION_OUTPUT);
	yes = hm_tmpl_render(s->cond, &ctx, &out, &e) == 0 && out.len > 0;
	hm_buf_fini(&out);
	if (e.code != 0)
		*why_r = hm_arena_str(a, hm_str_c(e.text));
	return yes;
}

/* -- taking a step --------------------------------------------------------------------------------- */

static struct hm_str address_at(const struct msg *m, const struct chan *c)
{
	struct hm_rcpt r;

	hm_job_rcpt(&m->job->spec, m->index, &r);
	return hm_rcpt_address(&r, c->info->name, c->info->medium);
}

static bool take(struct msg *m, struct chan *c)
{
	struct hm_str addr = address_at(m, c);

	if (addr.p == NULL)
		return false;
	if (m->chan != NULL)
		hm_msg_gates_leave(m, false); /* other rules may hold there */
	m->addr = addr;
	m->chan = c;
	m->chan_attempts = 0;
	m->auth_retried = false;
	m->retrying = false;
	m->part = hm_settle_parts_sent(m);
	m->parts = m->part > 0 ? (uint8_t)(m->part + 1) : 0;
	return true;
}

/* Of a step: may it be taken at all? */
static struct chan *possible(const struct msg *m, size_t pos, struct hm_str *why_r)
{
	const struct hm_route_step *s = step_at(m, pos);
	struct chan *c = find_chan(m->job->rt, s->channel);

	return c != NULL && address_at(m, c).p != NULL && holds(m, s, why_r) ? c : NULL;
}

/* The position to take now: -1 when there is none. */
static int candidate(const struct msg *m, struct chan **c_r, struct hm_str *why_r)
{
	int wait = -1;

	for (size_t pos = 0; pos < m->route->n; pos++) {
		struct chan *c;

		if ((m->passed >> pos & 1) || (c = possible(m, pos, why_r)) == NULL)
			continue;
		if (hm_chan_usable(c)) {
			*c_r = c;
			return (int)pos;
		}
		if (wait < 0) {
			*c_r = c;
			wait = (int)pos;
		}
	}
	return wait;
}

static bool take_next(struct msg *m, struct hm_str *why_r)
{
	struct hm_dispatch *d = m->job->d;
	struct chan *c = NULL;
	int pos = candidate(m, &c, why_r);
	const struct hm_route_step *s;

	hm_timer_stop(d->t, &m->step_timer);
	m->step_until_ms = 0;
	m->out_of_time = false;
	if (pos < 0 || !take(m, c))
		return false;
	m->route_pos = (uint8_t)pos;
	if (!hm_chan_usable(c))
		d->stranded = true;
	s = step_at(m, (size_t)pos);
	if (s->within_ms > 0) {
		m->step_until_ms = hm_tick_ms(d->t) + s->within_ms;
		hm_timer_start(d->t, &m->step_timer, s->within_ms);
	}
	return true;
}

static bool leave_step(struct msg *m)
{
	struct hm_str why = HM_STR_NULL;

	m->passed |= UINT32_C(1) << m->route_pos;
	return take_next(m, &why);
}

/* -- where a message of an earlier run stands ------------------------------------------------------ */

/* Of its timeline: which positions are behind it, at which one it was last. -1: it has none of this route. */
static int retrace(struct msg *m)
{
	const struct past_attempt *v[256], *p;
	size_t n = 0;
	int at = -1;

	for (p = m->past; p != NULL && n < hm_countof(v); p = p->next)
		v[n++] = p;
	while (n-- > 0) { /* oldest first */
		size_t pos = at < 0 ? 0 : (size_t)at;

		while (pos < m->route->n && !hm_str_is(step_at(m, pos)->channel, v[n]->channel))
			pos++;
		if (pos == m->route->n || (int)pos == at)
			continue;
		if (at >= 0)
			m->passed |= UINT32_C(1) << at;
		at = (int)pos;
	}
	return at;
}

/* Its record says that a provider has taken all of it: the last attempt was accepted, and it was not about to send
 * another part. */
static const struct past_attempt *accepted_before(const struct msg *m)
{
	const struct job *j = m->job;
	const struct hm_ledger_msg *before = j->prior != NULL ? j->prior[m->index] : NULL;

	if (before == NULL || before->state != HM_ST_HELD)
		return NULL;
	return m->past != NULL && m->past->outcome == HM_OUT_OK ? m->past : NULL;
}

void hm_route_restore(struct msg *m)
{
	m->reached |= accepted_before(m) != NULL;
}

/* false: it has been taken over or ended. */
static bool go_back_to(struct msg *m)
{
	const struct past_attempt *ok = accepted_before(m);
	const struct job *j = m->job;
	int at;

	if (j->spec.res.there) {
		m->passed = m->route_pos < 32 ? (UINT32_C(1) << m->route_pos) - 1 : UINT32_MAX;
		if (m->reached && m->route_pos > 0 && m->route_pos <= m->route->n &&
		    step_at(m, m->route_pos - 1u)->after_ms > 0) {
			hm_escalate_claim(m);
			return false;
		}
		return true;
	}
	if (m->past == NULL)
		return true;
	at = retrace(m);
	if (at < 0)
		return true;
	m->route_pos = (uint8_t)at;
	if (m->route->choose == HM_CHOOSE_ORDERED && !m->route->all)
		m->passed |= (UINT32_C(1) << at) - 1;
	if (ok == NULL)
		return true;
	m->passed |= UINT32_C(1) << at;
	if (m->route->all)
		return true;
	if (step_at(m, (size_t)at)->after_ms > 0) {
		hm_escalate_begin(m, ok->at_ms + ok->took_us / 1000 + step_at(m, (size_t)at)->after_ms);
		return false;
	}
	hm_settle_final(m, HM_ST_SENT, HM_STR_NULL);
	return false;
}

bool hm_route_choose(struct msg *m)
{
	struct hm_str why = HM_STR_NULL;
	struct job *j = m->job;

	if (m->route == NULL) {
		if (take(m, j->fixed))
			return true;
		hm_settle_final(m, HM_ST_FAILED,
				hm_arena_printf(&j->d->t->scratch,
						"the recipient has no address for channel %.*s (%s)",
						HM_STRF(j->fixed->info->name),
						hm_medium_name(j->fixed->info->medium)));
		return false;
	}
	if (hm_unlikely(j->spec.res.there || m->past != NULL) && !go_back_to(m))
		return false;
	if (take_next(m, &why))
		return true;
	hm_route_none(m, why);
	return false;
}

/* No step is left that could be taken. */
void hm_route_none(struct msg *m, struct hm_str why)
{
	struct hm_arena *a = &m->job->d->t->scratch;

	if (m->passed != 0)
		hm_settle_final(m, HM_ST_FAILED, HM_STR("no further channel of the route is possible"));
	else if (why.len > 0)
		hm_settle_final(m, HM_ST_FAILED,
				hm_arena_printf(a, "no step of the route fits: %.*s", HM_STRF(why)));
	else
		hm_settle_final(m, HM_ST_FAILED,
				HM_STR("the recipient has no address for any channel of the route"));
}

/* -- and on ---------------------------------------------------------------------------------------- */

bool hm_route_skip(struct msg *m)
{
	return m->route != NULL && leave_step(m);
}

bool hm_route_resume(struct msg *m, struct hm_str *why_r)
{
	return take_next(m, why_r);
}

static bool time_is_up(const struct msg *m)
{
	return m->out_of_time ||
	       (m->step_until_ms > 0 && hm_tick_ms(m->job->d->t) + NEARLY_MS >= m->step_until_ms);
}

bool hm_route_next(struct msg *m, enum hm_outcome why)
{
	const struct hm_route_step *s;

	if (m->route == NULL)
		return false;
	s = step_at(m, m->route_pos);
	if (m->route->all || time_is_up(m))
		return leave_step(m);
	/* An empty list means: after any failure. That of an answer nobody saw is none. */
	if (s->on_mask ? !(s->on_mask & (1u << why)) : why == HM_OUT_UNKNOWN)
		return false;
	return leave_step(m);
}

bool hm_route_switch(struct msg *m, struct hm_str route)
{
	const struct hm_route *to = hm_config_route(m->job->rt->rt->cfg, route);
	struct hm_str why = HM_STR_NULL;

	if (to == NULL || to == m->route || m->rerouted)
		return false;
	m->rerouted = true;
	m->route = to;
	m->route_pos = 0;
	m->passed = 0;
	return take_next(m, &why);
}

/* -- time ------------------------------------------------------------------------------------------ */

static void wait_there(struct msg *m)
{
	m->where = MSG_WAITING;
	hm_list_push(&m->chan->waiting[m->lane], &m->node);
	hm_chan_wake_later(m->chan);
}

/* Its step's time is over, and nothing of it is on the wire. */
static void step_over(struct msg *m)
{
	struct hm_dispatch *d = m->job->d;
	const struct hm_route_step *s = step_at(m, m->route_pos);
	const struct hm_ledger_attempt a = {
		.channel = m->chan->info->name,
		.outcome = HM_OUT_RETRY,
		.at_ms = d->t->wall_ms,
		.reason = hm_arena_printf(&d->t->scratch, "not accepted within %llu s",
					  (unsigned long long)(s->within_ms / 1000)),
	};

	hm_assert(m->where == MSG_NOWHERE);
	if (m->chan_attempts == 0) { /* else its attempts tell */
		hm_settle_remember(m, &a);
		m->attempts++;
		hm_stats_inc(d->t->stats, HM_CT_ATTEMPTS);
	}
	if (leave_step(m)) {
		(void)hm_fault(HM_FAULT_route_late);
		wait_there(m);
		return;
	}
	hm_settle_final(m, HM_ST_FAILED, a.reason);
}

static void on_step_over(struct hm_timer *t)
{
	struct msg *m = hm_container_of(t, struct msg, step_timer);
	struct hm_dispatch *d = m->job->d;

	HM_CHECK(m, HM_MSG_MAGIC);
	m->out_of_time = true;
	if (d->draining)
		return;
	if (m->where == MSG_WAITING) {
		hm_list_remove(&m->chan->waiting[m->lane], &m->node);
	} else if (m->where == MSG_HELD) {
		hm_timer_stop(d->t, &m->timer);
		hm_list_remove(&d->held, &m->node);
		hm_msg_turn_free(m);
	} else {
		return; /* it is found when the message comes back: hm_route_go_on, hm_route_next */
	}
	m->where = MSG_NOWHERE;
	step_over(m);
}

void hm_route_msg_init(struct msg *m)
{
	hm_timer_init(&m->step_timer, on_step_over);
}

void hm_route_msg_fini(struct msg *m)
{
	hm_timer_stop(m->job->d->t, &m->step_timer);
}

bool hm_route_go_on(struct msg *m)
{
	if (hm_likely(m->chan == NULL || m->route == NULL))
		return true;
	if (hm_unlikely(m->unclaimed)) {
		hm_escalate_claim(m);
		return false;
	}
	if (hm_unlikely(time_is_up(m))) {
		step_over(m);
		return false;
	}
	return true;
}

bool hm_route_may_wait(struct msg *m, uint64_t ms)
{
	if (m->step_until_ms == 0 || hm_tick_ms(m->job->d->t) + ms < m->step_until_ms)
		return true;
	m->out_of_time = true;
	return false;
}

uint32_t hm_route_time_left(const struct msg *m)
{
	uint64_t now = hm_tick_ms(m->job->d->t);

	if (m->step_until_ms == 0)
		return UINT32_MAX;
	return m->step_until_ms <= now ? 1 : (uint32_t)hm_min(m->step_until_ms - now, (uint64_t)UINT32_MAX);
}

/* -- channels that come and go --------------------------------------------------------------------- */

/* Who waits on c moves where somebody takes messages. Returns whether all with a route have. */
static bool move_from(struct chan *c)
{
	struct hm_dispatch *d = c->d;
	struct hm_str why = HM_STR_NULL;
	bool all = true;

	for (int l = 0; l < HM_LANE_COUNT; l++)
		hm_list_foreach_safe (&c->waiting[l], n, tmp) {
			struct msg *m = hm_container_of(n, struct msg, node);
			struct chan *to = NULL;

			HM_CHECK(m, HM_MSG_MAGIC);
			/* Some parts of it are sent: it stays. */
			if (m->route == NULL || m->part > 0)
				continue;
			if (candidate(m, &to, &why) < 0 || to == c || !hm_chan_usable(to)) {
				all = false;
				continue;
			}
			hm_list_remove(&c->waiting[l], n);
			m->where = MSG_NOWHERE;
			if (take_next(m, &why))
				wait_there(m);
			else
				hm_route_none(m, why);
		}
	if (!all)
		d->stranded = true;
	return all;
}

void hm_route_away(struct chan *c)
{
	(void)move_from(c);
}

void hm_route_back(struct chan *c)
{
	struct hm_dispatch *d = c->d;

	if (hm_likely(!d->stranded))
		return;
	d->stranded = false;
	hm_list_foreach (&d->runtimes, n) {
		struct runtime_ref *r = hm_container_of(n, struct runtime_ref, node);

		for (size_t i = 0; i < r->n_chans; i++) {
			struct chan *from = &r->chans[i];

			if (hm_chan_usable(from))
				continue;
			(void)move_from(from);
			for (int l = 0; l < HM_LANE_COUNT; l++)
				hm_list_foreach_safe (&from->parked[l], p, tmp) {
					if (hm_container_of(p, struct job, node)->route == NULL)
						continue;
					hm_list_remove(&from->parked[l], p);
					hm_fair_push(&d->lanes[l].runnable,
						     hm_container_of(p, struct job, node)->tenant, p);
					hm_pump_later(d);
				}
		}
	}
}

/* -- accepted -------------------------------------------------------------------------------------- */

/* mode: all */
static bool send_rest(struct msg *m, const struct hm_ledger_attempt *a)
{
	struct hm_dispatch *d = m->job->d;
	struct hm_str why = HM_STR_NULL;
	struct chan *next = NULL;

	m->passed |= UINT32_C(1) << m->route_pos;
	if (candidate(m, &next, &why) < 0)
		return false;
	hm_settle_remember(m, a);
	m->reached = true;
	hm_msg_gates_leave(m, true);
	(void)hm_settle_interim(m, hm_arena_printf(&d->t->scratch, "sent by %.*s; next is %.*s",
						   HM_STRF(a->channel), HM_STRF(next->info->name)));
	m->interim = true;
	if (!take_next(m, &why)) { /* cannot be: it was possible a moment ago */
		hm_settle_final(m, HM_ST_SENT, HM_STR_NULL);
		return true;
	}
	(void)hm_fault(HM_FAULT_route_all);
	wait_there(m);
	return true;
}

bool hm_route_sent(struct msg *m, const struct hm_ledger_attempt *a, size_t n)
{
	const struct hm_route_step *s = hm_route_step(m);
	struct hm_dispatch *d = m->job->d;
	struct hm_str why = HM_STR_NULL;
	struct chan *next = NULL;

	if (hm_likely(s == NULL))
		return false;
	hm_timer_stop(d->t, &m->step_timer);
	m->step_until_ms = 0;
	if (m->route->all)
		return send_rest(m, &a[n - 1]);
	if (s->after_ms == 0)
		return false;
	m->passed |= UINT32_C(1) << m->route_pos;
	if (candidate(m, &next, &why) < 0)
		return false; /* nobody could take it further */
	hm_settle_remember(m, &a[n - 1]);
	hm_msg_gates_leave(m, true);
	m->reached = true;
	hm_escalate_begin(m, d->t->wall_ms + s->after_ms);
	return true;
}

enum hm_state hm_route_reached(struct msg *m, struct hm_str *reason, bool unknown)
{
	const struct past_attempt *p = m->past;

	while (p != NULL && p->outcome != HM_OUT_OK)
		p = p->next;
	if (m->chan != NULL)
		hm_msg_gates_leave(m, unknown);
	if (p != NULL) {
		struct chan *c = find_chan(m->job->rt, hm_str_c(p->channel));

		if (c != NULL) {
			m->chan = c;
			m->addr = address_at(m, c);
		}
	}
	if (reason->len > 0)
		*reason = hm_arena_printf(&m->job->d->t->scratch, "sent by %s; then: %.*s",
					  p != NULL ? p->channel : "an earlier step", HM_STRF(*reason));
	return HM_ST_SENT;
}
