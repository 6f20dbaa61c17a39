/*
 * gates.c - may this message leave now?
 *
 *   hm_gates_pass   what this process knows by itself: expiry, cancel. Asked when a message is expanded and
 *                   whenever it comes back from waiting.
 *   hm_msg_gates    once its channel is known and has room: quiet hours (computed), then what all processes
 *                   agree on in Redis (gates/gates.h): suppression, consent, duplicates, caps. While the answer
 *                   is under way the message is GATING and keeps its room on the channel.
 *
 * Every gate that stops a message says why in one sentence, and that stands in the ledger. What a gate reserved for a
 * message is used up when a provider has it (or may have: an unknown answer counts), and free again when it leaves the
 * channel or ends in any other way.
 */
#include "base/fault.h"
#include "base/json.h"
#include "dispatch/dispatch_int.h"

#define UNANSWERED_MS 500 /* Redis did not answer: asked again after this */

struct msg_gate {
	uint32_t magic;
	struct msg *m;
	struct hm_gate_ask ask;
};

bool hm_gates_pass(struct msg *m)
{
	struct job *j = m->job;
	struct hm_dispatch *d = j->d;

	if (j->broken.code != 0) {
		hm_settle_final(m, HM_ST_FAILED, hm_str_c(j->broken.text));
		return false;
	}
	if (j->expires_ms != 0 && d->t->wall_ms >= j->expires_ms) {
		hm_settle_final(m, HM_ST_EXPIRED,
				j->spec.expires_ms ? HM_STR("past its expiry")
						   : HM_STR("past the default deadline"));
		return false;
	}
	if (!hm_marks_pass(m) || !hm_spread_pass(m) || !hm_route_go_on(m))
		return false;
	(void)hm_fault(HM_FAULT_gates_after);
	return true;
}

/* -- what it says, as a number -------------------------------------------------------------------- */

/* Maps are sums over their pairs, so that the order of keys does not matter. */
static uint64_t hash_object(const msgpack_object *o, uint64_t seed)
{
	uint64_t h = hm_hash64(&o->type, sizeof(o->type), seed);

	switch (o->type) {
	case MSGPACK_OBJECT_STR: return hm_hash64(o->via.str.ptr, o->via.str.size, h);
	case MSGPACK_OBJECT_BIN: return hm_hash64(o->via.bin.ptr, o->via.bin.size, h);
	case MSGPACK_OBJECT_EXT: return hm_hash64(o->via.ext.ptr, o->via.ext.size, h);
	case MSGPACK_OBJECT_BOOLEAN: return h + (o->via.boolean ? 1 : 2);
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
	case MSGPACK_OBJECT_NEGATIVE_INTEGER: return hm_hash64(&o->via.u64, sizeof(o->via.u64), h);
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64: return hm_hash64(&o->via.f64, sizeof(o->via.f64), h);
	case MSGPACK_OBJECT_ARRAY:
		for (uint32_t i = 0; i < o->via.array.size; i++)
			h = hash_object(&o->via.array.ptr[i], h * 31 + i);
		return h;
	case MSGPACK_OBJECT_MAP: {
		uint64_t sum = h;

		for (uint32_t i = 0; i < o->via.map.size; i++)
			sum += hash_object(&o->via.map.ptr[i].val, hash_object(&o->via.map.ptr[i].key, h));
		return sum;
	}
	default: return h;
	}
}

/* Content and data as submitted: the same template with the same data says the same. */
static uint64_t said_hash(const struct job *j, const struct hm_rcpt *r)
{
	uint64_t h = hm_hash64(j->spec.template_ref.p, j->spec.template_ref.len, 0x73616964);

	if (j->spec.content != NULL)
		h = hash_object(j->spec.content, h);
	if (j->spec.data != NULL)
		h = hash_object(j->spec.data, h + 1);
	if (r->data != NULL)
		h = hash_object(r->data, h + 2);
	return h ? h : 1;
}

static void subject_of(const struct msg *m, struct hm_gate_subject *s)
{
	const struct job *j = m->job;
	struct hm_rcpt r;

	hm_job_rcpt(&j->spec, m->index, &r);
	*s = (struct hm_gate_subject){
		.cfg = j->rt->rt->cfg,
		.msg = m->id,
		.user = m->user,
		.addr = m->addr,
		.channel = m->chan->info->name,
		.category = j->spec.category,
		.tenant = j->spec.tenant,
		.tz = r.tz,
		.tags = j->spec.tags,
		.medium = (uint8_t)m->chan->info->medium,
		.lane = m->lane,
		.bypass_caps = j->spec.bypass_caps,
		.count_caps = !j->spec.uncounted,
		.dedupe = j->spec.dedupe,
		.content_hash = hm_config_category(j->rt->rt->cfg, j->spec.category)->content_dedupe_ms
					? said_hash(j, &r)
					: 0,
		.now_ms = j->d->t->wall_ms,
		.expires_ms = j->expires_ms,
	};
}

/* -- stopped -------------------------------------------------------------------------------------- */

/* Another channel of the route instead: it waits there. */
static bool elsewhere(struct msg *m, bool moved)
{
	if (!moved)
		return false;
	m->where = MSG_WAITING;
	hm_list_push(&m->chan->waiting[m->lane], &m->node);
	hm_chan_wake_later(m->chan);
	return true;
}

static void held_back(struct msg *m, enum hm_policy policy, struct hm_str route, uint64_t until_ms,
		      enum hm_state end, struct hm_str why)
{
	const struct job *j = m->job;

	switch (policy) {
	case HM_POLICY_NEXT:
		if (elsewhere(m, hm_route_skip(m)))
			return;
		break;
	case HM_POLICY_ROUTE:
		if (elsewhere(m, hm_route_switch(m, route)))
			return;
		break;
	case HM_POLICY_DEFER:
		if (until_ms == 0)
			break;
		if (j->expires_ms == 0 || until_ms < j->expires_ms) {
			hm_aside_msg(m, until_ms, why);
			return;
		}
		why = hm_arena_printf(&j->d->t->scratch, "%.*s; it would have to wait beyond its expiry",
				      HM_STRF(why));
		break;
	case HM_POLICY_DROP: break;
	}
	hm_settle_final(m, end, why);
}

/* true: it may leave. */
static bool judge(struct msg *m, const struct hm_gate_ask *a)
{
	struct hm_str why = hm_arena_str(&m->job->d->t->scratch, hm_str_c(a->reason));

	switch (a->answer) {
	case HM_GATE_PASS:
		m->gates_open = true;
		m->reserved = a->reserved;
		(void)hm_fault(HM_FAULT_gates_shared);
		return true;
	case HM_GATE_SUPPRESSED:
	case HM_GATE_NO_CONSENT: /* the list may be of this medium only */
		held_back(m, HM_POLICY_NEXT, HM_STR_NULL, 0, HM_ST_SUPPRESSED, why);
		return false;
	case HM_GATE_DUPLICATE: hm_settle_final(m, HM_ST_SUPPRESSED, why); return false;
	case HM_GATE_CAPPED:
		held_back(m, a->policy, a->route, a->free_at_ms, HM_ST_CAPPED, why);
		return false;
	case HM_GATE_UNANSWERED: hm_settle_hold(m, UNANSWERED_MS, why); return false;
	}
	return false;
}

/* -- asking --------------------------------------------------------------------------------------- */

void hm_msg_gates_init(struct hm_dispatch *d)
{
	hm_list_init(&d->gating);
	hm_slab_init(&d->gate_slab, "gates", sizeof(struct msg_gate), 0);
}

void hm_msg_gates_free(struct msg *m)
{
	struct msg_gate *g = m->gate;

	if (g == NULL)
		return;
	HM_CHECK(g, HM_MSG_GATE_MAGIC);
	m->gate = NULL;
	HM_MAGIC_CLEAR(g);
	hm_slab_free(&m->job->d->gate_slab, g);
}

static void answered(struct msg *m)
{
	struct hm_dispatch *d = m->job->d;

	hm_assert(m->where == MSG_GATING);
	hm_list_remove(&d->gating, &m->node);
	m->where = MSG_NOWHERE;
	m->chan->asking--;
}

static void on_answer(struct hm_gate_ask *a)
{
	struct msg_gate *g = hm_container_of(a, struct msg_gate, ask);
	struct msg *m = g->m;
	struct hm_dispatch *d;
	struct hm_gate_ask got = *a;

	HM_CHECK(g, HM_MSG_GATE_MAGIC);
	HM_CHECK(m, HM_MSG_MAGIC);
	d = m->job->d;
	answered(m);
	hm_msg_gates_free(m);
	if (d->draining && got.answer != HM_GATE_PASS)
		hm_msg_drop(m);
	else if (judge(m, &got) && hm_gates_pass(m)) /* time has passed */
		hm_msg_go(m);
	hm_dispatch_check_drained(d);
}

bool hm_msg_gates(struct msg *m)
{
	struct hm_dispatch *d = m->job->d;
	struct hm_gate_subject s;
	struct hm_quiet_answer q;
	struct msg_gate *g;

	subject_of(m, &s);
	hm_quiet_check(&s, &q);
	if (q.until_ms > 0) {
		held_back(m, q.policy, q.route, q.until_ms, HM_ST_SUPPRESSED,
			  hm_arena_printf(&d->t->scratch, "quiet hours \"%.*s\"", HM_STRF(q.name)));
		return false;
	}
	g = hm_slab_alloc(&d->gate_slab);
	if (g == NULL) {
		hm_settle_hold(m, UNANSWERED_MS, HM_STR("out of memory"));
		return false;
	}
	memset(g, 0, sizeof(*g));
	HM_MAGIC_SET(g, HM_MSG_GATE_MAGIC);
	g->m = m;
	g->ask.s = s;
	g->ask.on_answer = on_answer;
	m->gate = g;
	if (hm_gates_ask(d->deps.gates, &g->ask)) {
		struct hm_gate_ask got = g->ask;

		hm_msg_gates_free(m);
		return judge(m, &got);
	}
	m->where = MSG_GATING;
	hm_list_push(&d->gating, &m->node);
	m->chan->asking++;
	return false;
}

void hm_msg_gates_leave(struct msg *m, bool used)
{
	struct hm_gate_subject s;

	m->gates_open = false;
	if (!m->reserved)
		return;
	m->reserved = false;
	subject_of(m, &s);
	if (used)
		hm_gates_commit(m->job->d->deps.gates, &s);
	else
		hm_gates_release(m->job->d->deps.gates, &s);
}

void hm_msg_gates_drop(struct hm_dispatch *d)
{
	struct hm_node *n;

	while ((n = hm_list_first(&d->gating)) != NULL) {
		struct msg *m = hm_container_of(n, struct msg, node);

		hm_gates_cancel(&m->gate->ask);
		answered(m);
		hm_msg_gates_free(m);
		hm_msg_drop(m);
	}
}
