/*
 * prepare.c - two-step sends: what must be at the provider before a message can be sent
 *
 * A text that is saved there and sent by its id, a picture that is uploaded, a list that is created (section prepare of an
 * adapter). The value of the answer is kept per channel and key, and asked for once, however many messages wait for it:
 *
 *   none ── first send ─▶ asking (others wait) ─ yes ─▶ there, until its time is over or a send says that it is gone
 *                                               └ no ──▶ none; all who wait get the same no
 *
 * Nobody has been sent anything meanwhile, so that a crash needs no thought: it is asked again. Each shard has its own, at
 * most PREPARED_MAX; the one unused for longest goes first.
 */
#include <stdlib.h>

#include "base/log.h"
#include "dispatch/dispatch_int.h"

#define PREPARED_MAX   256
#define PREPARED_MAGIC 0x70727064u

struct prepared {
	uint32_t magic;
	struct hm_node node; /* d.prepared */
	uint64_t id;
	char *value; /* NULL: being asked for */
	size_t len;
	uint64_t until_ms, keep_ms;
	struct hm_list waiters; /* send.prepare.node */
};

static struct prepared *find(struct hm_dispatch *d, uint64_t id)
{
	hm_list_foreach (&d->prepared, n) {
		struct prepared *p = hm_container_of(n, struct prepared, node);

		HM_CHECK(p, PREPARED_MAGIC);
		if (p->id == id)
			return p;
	}
	return NULL;
}

static void drop(struct hm_dispatch *d, struct prepared *p)
{
	hm_assert(hm_list_empty(&p->waiters));
	hm_list_remove(&d->prepared, &p->node);
	HM_MAGIC_CLEAR(p);
	free(p->value);
	free(p);
}

void hm_prepare_drop(struct hm_dispatch *d, uint64_t id)
{
	struct prepared *p = find(d, id);

	if (p != NULL && p->value != NULL)
		drop(d, p);
}

void hm_prepare_fini(struct hm_dispatch *d)
{
	while (!hm_list_empty(&d->prepared))
		drop(d, hm_container_of(hm_list_first(&d->prepared), struct prepared, node));
}

static struct prepared *add(struct hm_dispatch *d, uint64_t id, uint64_t keep_ms)
{
	struct prepared *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	if (d->prepared.len >= PREPARED_MAX)
		hm_list_foreach (&d->prepared, n) {
			struct prepared *old = hm_container_of(n, struct prepared, node);

			if (old->value != NULL) {
				drop(d, old);
				break;
			}
		}
	HM_MAGIC_SET(p, PREPARED_MAGIC);
	p->id = id;
	p->keep_ms = keep_ms;
	hm_list_init(&p->waiters);
	hm_list_push(&d->prepared, &p->node);
	return p;
}

/* The same text is another thing on another channel, or elsewhere. */
static uint64_t id_of(const struct chan *c, struct hm_str key)
{
	const struct hm_channel_info *i = c->info;
	uint64_t h = hm_hash64(i->name.p, i->name.len, i->account);

	h = hm_hash64(i->origin.host.p, i->origin.host.len, h);
	h = hm_hash64(key.p, key.len, h);
	return h ? h : 1;
}

static void on_prepared(struct hm_call *call)
{
	struct send *s = hm_container_of(call, struct send, call);

	HM_CHECK(s, HM_SEND_MAGIC);
	s->prepare.answered = true;
	hm_send_run(s);
}

/* Ends the waiting of one. The texts live with the one who asked, for as long as this takes. */
static void tell(struct send *s, const struct hm_verdict *no, struct hm_str value)
{
	s->prepare.waiting = false;
	if (no == NULL) {
		s->in.prepared = hm_arena_str(&s->arena, value);
		s->prepare.done = true;
	} else {
		s->verdict = *no;
		s->verdict.reason = hm_arena_str(&s->arena, no->reason);
		s->verdict.detail = hm_arena_str(&s->arena, no->detail);
		(void)hm_send_goto(s, SEND_SETTLE);
	}
	hm_send_run(s);
}

static enum step_next answered(struct send *s)
{
	struct hm_dispatch *d = s->chan->d;
	struct prepared *p = s->prepare.entry;
	struct hm_list waiters;
	struct hm_str value;
	struct hm_node *n;
	bool ok;

	hm_channel_prepared(s->chan->ch, &s->in, &s->call, &s->arena, &s->verdict, &value);
	ok = s->verdict.outcome == HM_OUT_OK;
	if (ok && (p->value = malloc(value.len + 1)) != NULL) {
		memcpy(p->value, value.p, value.len);
		p->len = value.len;
		p->until_ms = d->t->wall_ms + p->keep_ms;
	}
	hm_list_init(&waiters);
	while ((n = hm_list_pop(&p->waiters)) != NULL)
		hm_list_push(&waiters, n);
	s->prepare.entry = NULL;
	s->prepare.answered = false;
	if (p->value == NULL)
		drop(d, p);
	if (!ok)
		HM_DEBUG(DISPATCH, "nothing could be prepared", HM_SV("channel", s->chan->info->name),
			 HM_SV("reason", s->verdict.reason));
	while ((n = hm_list_pop(&waiters)) != NULL)
		tell(hm_container_of(n, struct send, prepare.node), ok ? NULL : &s->verdict, value);
	if (!ok)
		return hm_send_goto(s, SEND_SETTLE);
	s->in.prepared = value;
	return hm_send_goto(s, SEND_BUILD);
}

static enum step_next ask(struct send *s)
{
	struct chan *c = s->chan;
	struct hm_dispatch *d = c->d;
	enum hm_outcome o = HM_OUT_BAD_REQUEST;
	struct hm_err e = {0};
	struct hm_str key;
	uint64_t keep_ms;

	memset(&s->call, 0, sizeof(s->call));
	HM_MAGIC_SET(&s->call, HM_CALL_MAGIC);
	s->call.arena = &s->arena;
	if (hm_channel_prepare(&s->in, &s->arena, &s->call, &key, &keep_ms, &o, &e) != 0)
		return hm_send_unfit(s, o, HM_STR("request"), &e);
	s->call.origin = c->origin;
	s->call.timeout_ms = c->info->timeout_ms ? c->info->timeout_ms : d->o.request_timeout_ms;
	s->call.urgent = s->lane == HM_LANE_CRITICAL;
	s->call.on_done = on_prepared;
	s->prepare.entry = add(d, s->prepare.id, keep_ms);
	if (s->prepare.entry == NULL) {
		hm_err_set(&e, HM_ENOMEM, "out of memory");
		return hm_send_unfit(s, HM_OUT_RETRY, HM_STR("memory"), &e);
	}
	if (hm_wire_submit(&s->call, &e) != 0) {
		drop(d, s->prepare.entry);
		s->prepare.entry = NULL;
		return e.code == HM_EAGAIN ? hm_send_later(s)
					   : hm_send_unfit(s, HM_OUT_RETRY, HM_STR("driver"), &e);
	}
	return STEP_WAIT;
}

enum step_next hm_prepare_step(struct send *s)
{
	struct hm_dispatch *d = s->chan->d;
	enum hm_outcome o = HM_OUT_BAD_REQUEST;
	struct hm_err e = {0};
	struct prepared *p;
	struct hm_str key;
	uint64_t keep_ms;

	if (s->prepare.done)
		return hm_send_goto(s, SEND_BUILD);
	if (s->prepare.answered)
		return answered(s);
	if (s->prepare.waiting || s->prepare.entry != NULL)
		return STEP_WAIT;
	if (hm_send_fill(s, &e) != 0)
		return hm_send_unfit(s, HM_OUT_RETRY, HM_STR("memory"), &e);
	if (hm_channel_prepare(&s->in, &s->arena, NULL, &key, &keep_ms, &o, &e) != 0)
		return hm_send_unfit(s, o, HM_STR("request"), &e);
	if (key.len == 0)
		return hm_send_goto(s, SEND_BUILD);
	s->prepare.id = id_of(s->chan, key);
	p = find(d, s->prepare.id);
	if (p != NULL && p->value != NULL && d->t->wall_ms >= p->until_ms) {
		drop(d, p);
		p = NULL;
	}
	if (p == NULL)
		return ask(s);
	if (p->value == NULL) {
		s->prepare.waiting = true;
		hm_list_push(&p->waiters, &s->prepare.node);
		return STEP_WAIT;
	}
	hm_list_remove(&d->prepared, &p->node);
	hm_list_push(&d->prepared, &p->node);
	s->in.prepared = hm_arena_str(&s->arena, hm_str_n(p->value, p->len));
	return hm_send_goto(s, SEND_BUILD);
}
