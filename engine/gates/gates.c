/*
 * gates.c - asking and settling: calls filled in a tick, sent before the loop blocks, answered from it
 *
 * A call is on one list at any time:
 *
 *   idle ─▶ asks ────▶ sent ─▶ idle               questions
 *     └───▶ settles ─▶ sent ─▶ idle               commits and releases
 *                       │ ▲
 *               failed  ▼ │  timer, or a flush with Redis up
 *                      again                      in the order they were made
 *
 * There are two queues of each: of critical messages, and of all others. Redis answers in order, so what was sent stands in
 * front of whatever comes later: of each queue only so many messages are under way, enough for Redis to have its next call
 * while the shard reads the last answer; the rest waits here, grows into full calls, and is overtaken by critical ones.
 *
 * Order: a message may be released and ask again in one tick. So settlements leave before questions of the same queue, those
 * that wait to be sent again first of all, and the script does not let a repeated release undo what came after it.
 *
 * An ask whose address lives on another node than its person has two parts; the answer is made when both are there. What a
 * part reserved and the answer does not let pass is released here.
 */
#include "gates/gates_int.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

#define GATES_MAGIC   0x67617465u
#define SETTLE_MAX    100000u /* settlements kept while they cannot be sent */
#define SETTLE_TRY_MS 600000u /* those that Redis answers with an error are tried so long */
#define AGAIN_MIN_MS  50
#define AGAIN_MAX_MS  2000
#define IDLE_MAX      256

/* Messages under way of a queue's group. They are sent when their answers come, at 10 to 20 us each, and a critical message waits
 * for that pass as well as for Redis: with 384 its median was 18 ms, with 96 it is 4 (bench/NOTES.md). In a cluster each
 * group is a slot, and a node has many: one call of each, so that a node that is away holds up nobody else's. */
#define UNDER_WAY_MAX	      (3 * GATE_BULK_MAX)
#define UNDER_WAY_MAX_CLUSTER GATE_BULK_MAX

/* hm_gate_ask.state */
enum { ASK_RESERVED = 1, ASK_CONSENT = 2, ASK_MAYBE = 4, ASK_SPLIT_CONSENT = 8 };

struct hm_gates {
	uint32_t magic;
	struct hm_gates_deps d;
	bool cluster, closing;
	bool refused; /* Redis answered a settlement with an error (no memory, read-only): only the timer tries again */
	struct hm_list idle, sent; /* gate_call.node */
	struct queue {
		struct hm_list asks, settles, again; /* gate_call.node */
		struct gate_call *filling
			[2]
			[HM_SUPPRESS_SLOTS]; /* of asks, of settles: the last of each group, while it has room */
		uint32_t under_way[HM_SUPPRESS_SLOTS]; /* messages of each group */
		bool resend;			       /* what is in `again` may go */
	} queues[GATES_QUEUES];
	struct hm_flush flush;
	struct hm_timer timer; /* again */
	uint32_t again_ms;
	size_t unsettled;
	uint64_t n_asked, n_calls, n_refused, n_unanswered, n_lost;
	struct hm_buf blob;
	struct gates_slot slots[HM_SUPPRESS_SLOTS];
	void (*on_closed)(void *arg);
	void *closed_arg;
};

static struct gate_call *call_of(struct hm_node *n)
{
	struct gate_call *c = hm_container_of(n, struct gate_call, node);

	HM_CHECK(c, GATE_CALL_MAGIC);
	return c;
}

/* -- calls ------------------------------------------------------------------------------------------------ */

static unsigned queue_of(const struct hm_gate_subject *s)
{
	return s->lane == HM_LANE_CRITICAL ? GATES_URGENT : GATES_BULK;
}

static struct gate_call *filling(struct hm_gates *g, const struct hm_gate_subject *s, bool settle,
				 uint32_t slot)
{
	struct queue *q = &g->queues[queue_of(s)];
	uint32_t group = g->cluster ? slot : 0;
	struct gate_call **at = &q->filling[settle][group], *c = *at;
	struct hm_node *n;

	if (c && !gates_call_full(c))
		return c;
	n = hm_list_pop(&g->idle);
	c = n ? call_of(n) : gates_call_new();
	if (c == NULL)
		return NULL;
	gates_call_reset(c, g, settle, group);
	c->queue = (uint8_t)queue_of(s);
	hm_list_push(settle ? &q->settles : &q->asks, &c->node);
	hm_flush_later(g->d.tick, &g->flush);
	*at = c;
	return c;
}

static void call_done(struct gate_call *c)
{
	struct hm_gates *g = c->g;

	if (g == NULL || g->idle.len >= IDLE_MAX)
		gates_call_free(c);
	else
		hm_list_push(&g->idle, &c->node);
}

static void on_asked(void *arg, const struct hm_reply *reply, const struct hm_err *err);
static void on_settled(void *arg, const struct hm_reply *reply, const struct hm_err *err);
static void on_list(void *arg, const struct hm_reply *reply, const struct hm_err *err);

static void under_way(struct hm_gates *g, struct hm_list *from, struct gate_call *c)
{
	struct queue *q = &g->queues[c->queue];

	hm_list_remove(from, &c->node);
	hm_list_push(&g->sent, &c->node);
	if (q->filling[c->settle][c->group] == c)
		q->filling[c->settle][c->group] = NULL;
	q->under_way[c->group] += c->n;
}

/* Its answer is there. */
static void came_back(struct hm_gates *g, struct gate_call *c)
{
	struct queue *q = &g->queues[c->queue];

	hm_assert(q->under_way[c->group] >= c->n);
	q->under_way[c->group] -= c->n;
	if (q->asks.len || q->settles.len || q->again.len)
		hm_flush_later(g->d.tick, &g->flush);
}

/* Takes it off its list. Without memory the answer is known at once: this is the loop. */
static void send_call(struct hm_gates *g, struct hm_list *from, struct gate_call *c)
{
	struct hm_err e;

	under_way(g, from, c);
	c->left = true;
	g->n_calls++;
	if (g->d.tick->stats)
		hm_stats_inc(g->d.tick->stats, HM_CT_GATE_CALLS);
	if (gates_call_lists_only(c)) {
		if (gates_call_send_lists(c, g->d.redis, g->slots, on_list))
			return;
	} else if (gates_call_send(c, g->d.redis, g->slots, &g->blob, c->settle ? on_settled : on_asked))
		return;
	hm_err_set(&e, HM_ENOMEM, "out of memory");
	if (c->settle)
		on_settled(c, NULL, &e);
	else
		on_asked(c, NULL, &e);
}

/* What may go, in its order; false: the gates were closed meanwhile. */
static bool send_list(struct hm_gates *g, struct queue *q, struct hm_list *l)
{
	uint32_t max = g->cluster ? UNDER_WAY_MAX_CLUSTER : UNDER_WAY_MAX;

	hm_list_foreach_safe (l, n, next) {
		struct gate_call *c = call_of(n);

		if (q->under_way[c->group] >= max) {
			if (!g->cluster)
				return true;
			continue;
		}
		send_call(g, l, c);
		if (g->closing)
			return false;
		if (l == &q->again && !q->resend) /* failed at once */
			return true;
	}
	return true;
}

static void send_all(struct hm_gates *g)
{
	for (unsigned i = GATES_QUEUES; i-- > 0;) { /* urgent ones first */
		struct queue *q = &g->queues[i];

		if ((q->resend && !send_list(g, q, &q->again)) || !send_list(g, q, &q->settles) ||
		    !send_list(g, q, &q->asks))
			return;
	}
}

/* For the last time: whatever becomes of it. */
static void send_settlements(struct hm_gates *g, struct queue *q)
{
	for (size_t n = q->again.len; n > 0; n--) /* one that fails at once comes back to the end */
		send_call(g, &q->again, call_of(hm_list_first(&q->again)));
	for (size_t n = q->settles.len; n > 0; n--)
		send_call(g, &q->settles, call_of(hm_list_first(&q->settles)));
}

static void on_flush(struct hm_flush *f)
{
	struct hm_gates *g = hm_container_of(f, struct hm_gates, flush);

	HM_CHECK(g, GATES_MAGIC);
	if (g->closing) {
		void (*fn)(void *arg) = g->on_closed;
		void *arg = g->closed_arg;

		HM_MAGIC_CLEAR(g);
		free(g);
		if (fn)
			fn(arg);
		return;
	}
	for (unsigned i = 0; i < GATES_QUEUES; i++)
		if (!g->refused && hm_redis_up(g->d.redis))
			g->queues[i].resend = true;
	send_all(g);
}

static void on_timer(struct hm_timer *t)
{
	struct hm_gates *g = hm_container_of(t, struct hm_gates, timer);

	HM_CHECK(g, GATES_MAGIC);
	g->refused = false;
	for (unsigned i = 0; i < GATES_QUEUES; i++)
		g->queues[i].resend = true;
	send_all(g);
}

/* -- life --------------------------------------------------------------------------------------------------- */

struct hm_gates *hm_gates_new(const struct hm_gates_deps *d, struct hm_err *e)
{
	struct hm_gates *g = calloc(1, sizeof(*g));

	if (g == NULL) {
		hm_err_set(e, HM_ENOMEM, "out of memory");
		return NULL;
	}
	HM_MAGIC_SET(g, GATES_MAGIC);
	g->d = *d;
	g->cluster = hm_redis_is_cluster(d->redis);
	hm_list_init(&g->idle);
	hm_list_init(&g->sent);
	for (unsigned i = 0; i < GATES_QUEUES; i++) {
		hm_list_init(&g->queues[i].asks);
		hm_list_init(&g->queues[i].settles);
		hm_list_init(&g->queues[i].again);
	}
	hm_flush_init(&g->flush, on_flush);
	hm_timer_init(&g->timer, on_timer);
	g->again_ms = AGAIN_MIN_MS;
	hm_buf_init(&g->blob, 32u << 20);
	for (uint32_t k = 0; k < HM_SUPPRESS_SLOTS; k++) {
		struct gates_slot *s = &g->slots[k];

		s->base_len = (uint8_t)hm_person_key(d->prefix, k, "", s->base, sizeof(s->base));
		s->supp_len = (uint8_t)hm_person_key(d->prefix, k, "supp", s->supp, sizeof(s->supp));
	}
	return g;
}

static void forget(struct hm_list *l)
{
	struct hm_node *n;

	while ((n = hm_list_pop(l)) != NULL)
		gates_call_free(call_of(n));
}

void hm_gates_close(struct hm_gates *g, void (*on_closed)(void *arg), void *arg)
{
	struct hm_node *n;

	HM_CHECK(g, GATES_MAGIC);
	hm_assert(!g->closing);
	g->closing = true;
	g->on_closed = on_closed;
	g->closed_arg = arg;
	hm_timer_stop(g->d.tick, &g->timer);
	for (unsigned i = GATES_QUEUES; i-- > 0;)
		send_settlements(g, &g->queues[i]);
	while ((n = hm_list_pop(&g->sent)) != NULL) /* their answers come and find nobody */
		call_of(n)->g = NULL;
	forget(&g->idle);
	for (unsigned i = 0; i < GATES_QUEUES; i++) {
		forget(&g->queues[i].asks);
		forget(&g->queues[i].again);
	}
	hm_timer_stop(g->d.tick, &g->timer);
	hm_buf_fini(&g->blob);
	hm_flush_later(g->d.tick, &g->flush);
}

size_t hm_gates_unsettled(const struct hm_gates *g)
{
	HM_CHECK(g, GATES_MAGIC);
	return g->unsettled;
}

/* -- settling ------------------------------------------------------------------------------------------------- */

static void lost(struct hm_gates *g, uint32_t n, const char *why)
{
	g->n_lost += n;
	if (g->d.tick->stats)
		hm_stats_add(g->d.tick->stats, HM_CT_GATE_LOST, n);
	HM_ERROR(DISPATCH, "what became of messages could not be told to the caps; their leases decide",
		 HM_U("messages", n), HM_S("error", why));
}

static void settle(struct hm_gates *g, const struct hm_gate_subject *s, bool commit)
{
	struct gates_want w;
	struct gate_call *c;

	HM_CHECK(g, GATES_MAGIC);
	gates_want(s, &w);
	w.caps = w.caps && w.count;
	if ((!w.caps && !w.dedupe && !w.content) || g->closing)
		return;
	c = g->unsettled < SETTLE_MAX ? filling(g, s, true, w.slot) : NULL;
	if (c == NULL) {
		lost(g, 1, g->unsettled < SETTLE_MAX ? "out of memory" : "too many wait for Redis");
		return;
	}
	gates_call_settle(c, g->slots, s, &w, commit);
	g->unsettled++;
}

void hm_gates_commit(struct hm_gates *g, const struct hm_gate_subject *s)
{
	settle(g, s, true);
}

void hm_gates_release(struct hm_gates *g, const struct hm_gate_subject *s)
{
	settle(g, s, false);
}

static void on_settled(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct gate_call *c = arg;
	struct hm_gates *g = c->g;
	const char *why = NULL;
	bool answered = reply != NULL || err->code == HM_EREDIS, hopeless = false;
	char text[200];

	HM_CHECK(c, GATE_CALL_MAGIC);
	if (g == NULL) {
		gates_call_free(c);
		return;
	}
	HM_CHECK(g, GATES_MAGIC);
	hm_list_remove(&g->sent, &c->node);
	came_back(g, c);
	if (err) {
		why = err->text;
		hopeless = err->code == HM_ENOMEM && (c->keys.err || c->recs.err || c->plans.err);
	} else if (reply->type == HM_REPLY_STR) { /* "0" never: numbers come as such */
		snprintf(text, sizeof(text), "%.*s", HM_STRF(reply->s));
		why = text;
	}
	if (why == NULL) {
		g->unsettled -= c->n;
		g->again_ms = AGAIN_MIN_MS;
		call_done(c);
		return;
	}
	if (c->since_ms == 0)
		c->since_ms = hm_tick_ms(g->d.tick);
	if (hopeless || (answered && hm_tick_ms(g->d.tick) - c->since_ms > SETTLE_TRY_MS)) {
		lost(g, c->n, why);
		g->unsettled -= c->n;
		call_done(c);
		return;
	}
	HM_WARN(DISPATCH, "caps could not be told what became of messages; sent again",
		HM_U("messages", c->n), HM_S("error", why));
	g->refused = g->refused || answered;
	hm_list_push(&g->queues[c->queue].again, &c->node);
	g->queues[c->queue].resend = false;
	if (!hm_timer_armed(&g->timer)) {
		hm_timer_start(g->d.tick, &g->timer, g->again_ms);
		g->again_ms = hm_min(g->again_ms * 2, (uint32_t)AGAIN_MAX_MS);
	}
}

/* -- asking ----------------------------------------------------------------------------------------------------- */

static bool join(struct hm_gates *g, struct hm_gate_ask *a, const struct gates_want *w, unsigned part,
		 uint32_t slot, bool person, bool user, bool addr)
{
	struct gate_call *c = filling(g, &a->s, false, slot);

	if (c == NULL)
		return false;
	a->part[part].call = c;
	a->part[part].record = (uint16_t)gates_call_ask(c, g->slots, &a->s, w, person, user, addr);
	c->ask[a->part[part].record] = a;
	c->part[a->part[part].record] = (uint8_t)part;
	a->open++;
	return true;
}

static void leave(struct hm_gate_ask *a)
{
	for (unsigned i = 0; i < hm_countof(a->part); i++) {
		struct gate_call *c = a->part[i].call;

		if (c == NULL)
			continue;
		HM_CHECK(c, GATE_CALL_MAGIC);
		c->ask[a->part[i].record] = NULL;
		gates_call_dead(c, a->part[i].record); /* if it is still here */
		a->part[i].call = NULL;
	}
	a->open = 0;
	a->g = NULL;
}

bool hm_gates_ask(struct hm_gates *g, struct hm_gate_ask *a)
{
	const struct hm_gate_subject *s = &a->s;
	struct gates_want w;
	bool both, person, ok;

	HM_CHECK(g, GATES_MAGIC);
	a->answer = HM_GATE_PASS;
	a->free_at_ms = 0;
	a->route = HM_STR_NULL;
	a->reason[0] = '\0';
	a->reserved = false;
	a->g = NULL;
	a->open = a->state = 0;
	a->part[0].call = a->part[1].call = NULL;
	hm_assert(s->medium < HM_MED_COUNT && s->lane < HM_LANE_COUNT);
	gates_want(s, &w);
	person = w.caps || w.dedupe || w.content;
	if (w.cat->opt_in && !w.lists) { /* neither user nor address: nobody who could have consented */
		a->answer = HM_GATE_NO_CONSENT;
		snprintf(a->reason, sizeof(a->reason), "no consent: the message has no recipient");
		return true;
	}
	if ((!person && !w.lists) || g->closing)
		return true;
	a->g = g;
	g->n_asked++;
	if (g->d.tick->stats)
		hm_stats_inc(g->d.tick->stats, HM_CT_GATE_ASKED);
	both = !g->cluster || !w.lists || !w.is_user || s->addr.len == 0 || w.addr_slot == w.slot;
	if (both) {
		ok = join(g, a, &w, 0, w.slot, person, w.lists, w.lists);
	} else {
		a->state |= w.cat->opt_in ? ASK_SPLIT_CONSENT : 0;
		ok = join(g, a, &w, 0, w.slot, person, true, false) &&
		     join(g, a, &w, 1, w.addr_slot, false, false, true);
	}
	if (ok)
		return false;
	leave(a);
	a->answer = HM_GATE_UNANSWERED;
	snprintf(a->reason, sizeof(a->reason), "out of memory");
	return true;
}

void hm_gates_cancel(struct hm_gate_ask *a)
{
	struct hm_gates *g = a->g;
	bool sent = false;

	if (g == NULL)
		return;
	HM_CHECK(g, GATES_MAGIC);
	for (unsigned i = 0; i < hm_countof(a->part); i++)
		sent = sent || (a->part[i].call && a->part[i].call->left);
	sent = sent || (a->state & (ASK_RESERVED | ASK_MAYBE));
	leave(a);
	if (sent)
		hm_gates_release(g, &a->s);
}

/* Which of two parts' answers counts. */
static int weight(enum hm_gate_answer x)
{
	switch (x) {
	case HM_GATE_PASS: return 0;
	case HM_GATE_UNANSWERED: return 1;
	case HM_GATE_CAPPED: return 2;
	case HM_GATE_DUPLICATE: return 3;
	case HM_GATE_NO_CONSENT: return 4;
	case HM_GATE_SUPPRESSED: return 5;
	}
	return 0;
}

static void unanswered(struct hm_gate_ask *a, const char *why)
{
	if (weight(a->answer) > weight(HM_GATE_UNANSWERED))
		return;
	a->answer = HM_GATE_UNANSWERED;
	snprintf(a->reason, sizeof(a->reason), "the gates' Redis: %.140s", why);
}

/* i: place in the list's fields; the entry's JSON */
static void suppressed(struct hm_gate_ask *a, bool of_user, unsigned i, struct hm_str json)
{
	const struct hm_gate_subject *s = &a->s;
	bool some_categories = s->category.len > 0;
	bool medium = i < (some_categories ? 2u : 1u), category = some_categories && i % 2 == 0;
	struct hm_str reason = HM_STR("on the list");
	ptrdiff_t at = hm_str_find(json, HM_STR("\"reason\":\""));

	/* written by hm_suppress_value: one of a few words, without escapes */
	if (at >= 0) {
		struct hm_str rest = hm_str_n(json.p + at + 10, json.len - (size_t)at - 10);

		(void)hm_str_split(&rest, '"', &reason);
	}
	a->answer = HM_GATE_SUPPRESSED;
	snprintf(a->reason, sizeof(a->reason), "suppressed: the %s is on the list%s%s%s%.*s: %.*s",
		 of_user ? "user" : "address", medium ? " for " : "", medium ? hm_medium_name(s->medium) : "",
		 category ? (medium ? ", " : " for ") : "", category ? (int)s->category.len : 0,
		 s->category.p, HM_STRF(reason));
}

/* "k" or "c", the id of the message that has it */
static void duplicate(struct hm_gate_ask *a, struct hm_str said)
{
	char id[HM_ULID_TEXT + 1] = "?";
	struct hm_ulid u;

	if (said.len == 17) {
		memcpy(u.b, said.p + 1, 16);
		hm_ulid_text(&u, id);
	}
	a->answer = HM_GATE_DUPLICATE;
	if (said.len && said.p[0] == 'k')
		snprintf(a->reason, sizeof(a->reason),
			 "duplicate: message %s to this person has the same dedupe key", id);
	else
		snprintf(a->reason, sizeof(a->reason), "duplicate: message %s says the same to this person",
			 id);
}

static void no_consent(struct hm_gate_ask *a)
{
	a->answer = HM_GATE_NO_CONSENT;
	snprintf(a->reason, sizeof(a->reason),
		 "no consent: category %.*s needs one, and none is on the list for %s",
		 a->s.category.len ? (int)a->s.category.len : 1, a->s.category.len ? a->s.category.p : "*",
		 hm_medium_name(a->s.medium));
}

static void failed(struct hm_gate_ask *a, struct hm_str why)
{
	char text[120];

	snprintf(text, sizeof(text), "%.*s", (int)hm_utf8_cut(why, sizeof(text) - 1), why.len ? why.p : "");
	a->state |= ASK_MAYBE;
	unanswered(a, text);
}

/* What the script says about one record. */
static void take_part(struct hm_gate_ask *a, const struct hm_reply *r)
{
	struct hm_str said = r->s;
	char kind = said.len ? said.p[0] : 0;
	static const struct {
		char kind;
		enum hm_gate_answer answer;
	} answers[] = {{'S', HM_GATE_SUPPRESSED},
		       {'N', HM_GATE_NO_CONSENT},
		       {'D', HM_GATE_DUPLICATE},
		       {'C', HM_GATE_CAPPED}};
	enum hm_gate_answer answer = HM_GATE_UNANSWERED;

	if (r->type == HM_REPLY_INT) {
		a->state |= (r->i & 1 ? ASK_RESERVED : 0) | (r->i & 2 ? ASK_CONSENT : 0);
		return;
	}
	for (size_t i = 0; i < hm_countof(answers); i++)
		if (r->type == HM_REPLY_STR && kind == answers[i].kind)
			answer = answers[i].answer;
	if (weight(answer) <= weight(a->answer))
		return;
	said = hm_str_n(said.p + 1, said.len - (said.len > 0));
	switch (answer) {
	case HM_GATE_SUPPRESSED: /* "u" or "a", place, JSON */
		suppressed(a, said.len > 0 && said.p[0] == 'u', said.len > 1 ? (unsigned char)said.p[1] : 0,
			   hm_str_n(said.p + hm_min(said.len, (size_t)2),
				    said.len - hm_min(said.len, (size_t)2)));
		break;
	case HM_GATE_NO_CONSENT: no_consent(a); break;
	case HM_GATE_DUPLICATE: duplicate(a, said); break;
	case HM_GATE_CAPPED:
		if (gates_refused(a, said))
			a->answer = HM_GATE_CAPPED;
		else
			failed(a, HM_STR("an answer that cannot be understood"));
		break;
	default: failed(a, kind == 'E' ? said : HM_STR("an answer that cannot be understood"));
	}
}

/* Both parts are there. */
static void finish(struct hm_gates *g, struct hm_gate_ask *a)
{
	if (a->answer == HM_GATE_PASS && (a->state & ASK_SPLIT_CONSENT) && !(a->state & ASK_CONSENT))
		no_consent(a);
	a->reserved = a->answer == HM_GATE_PASS && (a->state & ASK_RESERVED);
	if (a->answer != HM_GATE_PASS) {
		g->n_refused += a->answer != HM_GATE_UNANSWERED;
		g->n_unanswered += a->answer == HM_GATE_UNANSWERED;
		if (a->state & (ASK_RESERVED | ASK_MAYBE))
			hm_gates_release(g, &a->s);
	}
	a->g = NULL;
	a->on_answer(a);
}

/* Did Redis perhaps run it? */
static bool may_have_run(const struct hm_err *err)
{
	switch (err->code) {
	case HM_ELOST:
	case HM_ETIMEDOUT: return true;
	default:
		return false; /* EREDIS: the lists are read first, and what comes then fails record by record */
	}
}

/* Redis does not answer: who waits to be sent would only wait for that, too, and longer than one command may take. */
static void give_up(struct hm_gates *g, struct queue *q, uint32_t group, const struct hm_err *err)
{
	struct hm_err e = *err;
	struct hm_list all;
	struct hm_node *n;

	e.code = HM_EDOWN; /* these were not sent */
	hm_list_init(&all);
	hm_list_foreach_safe (&q->asks, at, next) {
		struct gate_call *c = call_of(at);

		if (c->group != group)
			continue;
		hm_list_remove(&q->asks, at);
		hm_list_push(&all, at);
	}
	while ((n = hm_list_first(&all)) != NULL) {
		struct gate_call *c = call_of(n);

		if (g->closing) { /* by a callback: nobody is told */
			hm_list_remove(&all, n);
			gates_call_free(c);
			continue;
		}
		under_way(g, &all, c);
		on_asked(c, NULL, &e);
	}
}

static void on_asked(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct gate_call *c = arg;
	struct hm_gates *g = c->g;
	bool lists = gates_call_lists_only(c);
	bool understood = reply && reply->type == HM_REPLY_ARRAY && reply->n == c->n, late;
	struct queue *q;
	uint32_t group;

	HM_CHECK(c, GATE_CALL_MAGIC);
	if (g)
		came_back(g, c);
	for (uint32_t i = 0; c->g && i < c->n; i++) { /* a callback may close the gates */
		struct hm_gate_ask *a = c->ask[i];

		if (a == NULL)
			continue;
		a->part[c->part[i]].call = NULL;
		c->ask[i] = NULL;
		if (lists && err == NULL) {
			if (gates_call_needs_consent(c, i) && !(a->state & ASK_CONSENT) &&
			    a->answer == HM_GATE_PASS)
				no_consent(a);
		} else if (understood) {
			take_part(a, &reply->v[i]);
		} else {
			a->state |= err == NULL || may_have_run(err) ? ASK_MAYBE : 0;
			unanswered(a, err ? err->text : "an answer that cannot be understood");
		}
		hm_assert(a->open > 0);
		if (--a->open == 0)
			finish(g, a);
	}
	if (c->g == NULL) {
		call_done(c);
		return;
	}
	hm_list_remove(&g->sent, &c->node);
	q = &g->queues[c->queue];
	group = c->group;
	late = err && c->left && !g->closing && err->code == HM_ETIMEDOUT;
	call_done(c);
	if (late)
		give_up(g, q, group, err);
}

/* -- lists alone: what script.c does with them, here ------------------------------------------------------ */

static bool is_over(struct hm_str json, uint64_t now_ms)
{
	ptrdiff_t at = hm_str_find(json, HM_STR("\"until\":"));
	uint64_t until = 0;
	bool any = false;

	if (at < 0)
		return false;
	for (size_t i = (size_t)at + 8; i < json.len; i++) {
		if (json.p[i] == ' ' && !any)
			continue;
		if (json.p[i] < '0' || json.p[i] > '9' || until > UINT64_MAX / 10 - 1)
			break;
		until = until * 10 + (uint64_t)(json.p[i] - '0');
		any = true;
	}
	return any && until <= now_ms;
}

static void take_fields(struct hm_gate_ask *a, const struct gate_run *run, const struct hm_reply *v,
			unsigned lists, unsigned consents)
{
	for (unsigned f = 0; f < lists + consents; f++) {
		if (v[f].type != HM_REPLY_STR || is_over(v[f].s, a->s.now_ms))
			continue;
		if (f >= lists) {
			a->state |= ASK_CONSENT;
			return;
		}
		if (run->user || a->answer != HM_GATE_SUPPRESSED)
			suppressed(a, run->user, f, v[f].s);
		return;
	}
}

static bool take_list(struct gate_call *c, uint32_t slot, const struct hm_reply *reply)
{
	size_t at = 0;

	if (reply->type != HM_REPLY_ARRAY)
		return false;
	for (uint32_t i = c->run_head[slot]; i; i = c->run[i - 1].next) {
		const struct gate_run *run = &c->run[i - 1];
		unsigned lists, consents;

		gates_call_fields(c, run->rec, &lists, &consents);
		hm_assert(run->n == lists + consents);
		if (at + run->n > reply->n)
			return false;
		if (c->ask[run->rec])
			take_fields(c->ask[run->rec], run, &reply->v[at], lists, consents);
		at += run->n;
	}
	return at == reply->n;
}

static void on_list(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct gate_list *l = arg;
	struct gate_call *c = l->c;

	HM_CHECK(c, GATE_CALL_MAGIC);
	if (err) {
		if (c->lists_err.code == 0)
			c->lists_err = *err;
	} else if (c->g && !take_list(c, (uint32_t)(l - c->list), reply) && c->lists_err.code == 0) {
		hm_err_set(&c->lists_err, HM_EREDIS, "an answer that cannot be understood");
	}
	hm_assert(c->lists_open > 0);
	if (--c->lists_open == 0)
		on_asked(c, NULL, c->lists_err.code ? &c->lists_err : NULL);
}

/* -- for people ---------------------------------------------------------------------------------------------------- */

void hm_gates_describe(const struct hm_gates *g, struct hm_buf *out)
{
	HM_CHECK(g, GATES_MAGIC);
	hm_buf_printf(out,
		      "{\"asked\":%llu,\"refused\":%llu,\"unanswered\":%llu,\"calls\":%llu,\"under_way\":%zu,"
		      "\"unsettled\":%zu,\"settlements_lost\":%llu}",
		      (unsigned long long)g->n_asked, (unsigned long long)g->n_refused,
		      (unsigned long long)g->n_unanswered, (unsigned long long)g->n_calls, g->sent.len,
		      g->unsettled, (unsigned long long)g->n_lost);
}
