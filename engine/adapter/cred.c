/*
 * cred.c - one maker of credentials, a table of current ones per shard
 *
 *   shard: get -> yes: the token            service (control thread)
 *          get -> no, wait  --- ASK ------>  entry by credential id:
 *          waiters woken   <-- TOKEN/FAIL --   valid, in flight, in backoff, or start
 *          reject          --- REJECT ---->   drop, DROP to all, start
 *
 * Refresh is driven by use: from its refresh time on, the first get of a shard asks
 * for a successor while the old token goes on being handed out. Nothing is fetched
 * for channels nobody sends through.
 *
 * News goes to all shards, so there is one fetch and no bookkeeping of who asked. The
 * service's lock guards its list of shards only: a shard that has left the list gets
 * no more mail. Shards and service are counted references, since mail may still be
 * under way when either is closed.
 */
#include "adapter/cred.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "adapter/model.h"
#include "base/log.h"

#define SERVICE_MAGIC 0x63737276u
#define SHARD_MAGIC   0x63736864u
#define ENTRY_MAGIC   0x63656e74u

#define BACKOFF_FIRST_MS 1000u
#define BACKOFF_MAX_MS	 60000u
#define OPERATOR_WAIT_MS 60000u /* a human must act: asking the provider often helps nobody */

enum news { NEWS_TOKEN, NEWS_DROP, NEWS_FAIL };

/* -- objects ------------------------------------------------------------------------- */

struct hm_cred_service {
	uint32_t magic;
	uint32_t refs; /* atomic: owner, each shard, each mail to us, each call in flight */
	struct hm_tick *tick;
	struct hm_mailbox *mb;
	struct hm_wire *wire;
	struct hm_list entries;
	bool closed;
	pthread_mutex_t lock; /* shards */
	struct hm_list shards;
};

/* One credential: made by us, never seen by shards. Lives as long as the service. */
struct entry {
	uint32_t magic;
	struct hm_node node; /* service.entries */
	struct hm_cred_service *s;
	uint64_t id;
	char *token;
	size_t len;
	uint64_t made_at, refresh_at, expires_at; /* wall ms */
	uint32_t failures;
	uint64_t next_try; /* wall ms, after failures */
	struct hm_err err; /* of the last try */
	/* while a request is in flight */
	bool busy;
	struct hm_channel_set *set;
	const struct hm_channel *ch;
	struct hm_arena arena;
	struct hm_call call;
};

struct slot { /* a shard's copy of one credential */
	uint64_t id;
	char *token;
	size_t len;
	uint64_t made_at, refresh_at, expires_at;
	bool asked; /* an ASK is under way */
	uint32_t round;
	struct hm_list waiters; /* hm_cred_waiter.node, oldest round first */
};
struct hm_cred_shard {
	uint32_t magic;
	uint32_t refs;	     /* atomic: owner, each mail to us */
	struct hm_node node; /* service.shards, under its lock */
	struct hm_cred_service *s;
	struct hm_tick *tick;
	struct hm_mailbox *mb;
	bool closed;
	struct slot **slots;
	size_t n_slots;
	uint32_t *by_index; /* channel index -> slot + 1 */
	size_t n_index;
	struct hm_flush flush; /* frees what this tick may still be looking at */
	char **retired;
	size_t n_retired, cap_retired;
};

struct to_service {
	struct hm_mail mail;
	struct hm_cred_service *s;
	struct hm_channel_set *set; /* a reference */
	const struct hm_channel *ch;
	bool reject;
	size_t len;
	char token[]; /* the refused one */
};
struct to_shard {
	struct hm_mail mail;
	struct hm_cred_shard *cs;
	enum news news;
	uint64_t id;
	uint64_t made_at, refresh_at, expires_at;
	struct hm_err err;
	size_t len;
	char token[];
};

static void service_unref(struct hm_cred_service *s)
{
	if (__atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	HM_CHECK(s, SERVICE_MAGIC);
	for (struct hm_node *n; (n = hm_list_pop(&s->entries)) != NULL;) {
		struct entry *en = hm_container_of(n, struct entry, node);

		hm_arena_fini(&en->arena);
		free(en->token);
		free(en);
	}
	pthread_mutex_destroy(&s->lock);
	HM_MAGIC_CLEAR(s);
	free(s);
}

static void shard_unref(struct hm_cred_shard *cs)
{
	if (__atomic_sub_fetch(&cs->refs, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	HM_CHECK(cs, SHARD_MAGIC);
	for (size_t i = 0; i < cs->n_slots; i++) {
		free(cs->slots[i]->token);
		free(cs->slots[i]);
	}
	for (size_t i = 0; i < cs->n_retired; i++)
		free(cs->retired[i]);
	free(cs->retired);
	free(cs->slots);
	free(cs->by_index);
	service_unref(cs->s);
	HM_MAGIC_CLEAR(cs);
	free(cs);
}

/* -- the service -------------------------------------------------------------------------- */

static void on_news(struct hm_mail *m, void *owner);

/* Tells every shard. Failing to tell one (no memory) leaves it asking again at its next timeout. */
static void broadcast(struct entry *en, enum news news)
{
	struct hm_cred_service *s = en->s;
	size_t len = news == NEWS_TOKEN ? en->len : 0;

	pthread_mutex_lock(&s->lock);
	hm_list_foreach (&s->shards, n) {
		struct hm_cred_shard *cs = hm_container_of(n, struct hm_cred_shard, node);
		struct to_shard *m = calloc(1, sizeof(*m) + len + 1);

		if (m == NULL)
			continue;
		m->mail.deliver = on_news;
		m->cs = cs;
		m->news = news;
		m->id = en->id;
		m->made_at = en->made_at;
		m->refresh_at = en->refresh_at;
		m->expires_at = en->expires_at;
		if (news == NEWS_FAIL)
			m->err = en->err;
		m->len = len;
		if (len)
			memcpy(m->token, en->token, len);
		__atomic_add_fetch(&cs->refs, 1, __ATOMIC_RELAXED);
		hm_mailbox_post(cs->mb, &m->mail);
	}
	pthread_mutex_unlock(&s->lock);
}

static struct entry *find_entry(struct hm_cred_service *s, uint64_t id)
{
	struct entry *en;

	hm_list_foreach (&s->entries, n) {
		en = hm_container_of(n, struct entry, node);
		if (en->id == id)
			return en;
	}
	en = calloc(1, sizeof(*en));
	if (en == NULL)
		return NULL;
	HM_MAGIC_SET(en, ENTRY_MAGIC);
	en->s = s;
	en->id = id;
	hm_arena_init(&en->arena, NULL, 8u << 20);
	hm_list_push(&s->entries, &en->node);
	return en;
}

static void drop_token(struct entry *en)
{
	free(en->token);
	en->token = NULL;
	en->len = 0;
}

/* The try is over, well or not. */
static void settle(struct entry *en)
{
	struct hm_channel_set *set = en->set;

	en->busy = false;
	en->set = NULL;
	en->ch = NULL;
	hm_arena_reset(&en->arena);
	hm_channel_set_unref(set);
}

static void succeeded(struct entry *en, const struct hm_cred_result *r)
{
	char *copy = malloc(r->token.len + 1);

	if (copy == NULL)
		return;
	memcpy(copy, r->token.p, r->token.len);
	copy[r->token.len] = '\0';
	drop_token(en);
	en->token = copy;
	en->len = r->token.len;
	en->made_at = en->s->tick->wall_ms;
	en->refresh_at = r->refresh_at_ms;
	en->expires_at = r->expires_at_ms;
	if (en->failures)
		HM_INFO(ADAPTER, "credential works again", HM_SV("channel", en->ch->info.name));
	else
		HM_DEBUG(ADAPTER, "new credential", HM_SV("channel", en->ch->info.name),
			 HM_U("seconds", (en->expires_at - en->made_at) / 1000));
	hm_stats_inc(en->s->tick->stats, HM_CT_TOKEN_FETCHES);
	en->failures = 0;
	en->next_try = 0;
	broadcast(en, NEWS_TOKEN);
}

static void failed(struct entry *en, const char *text, uint64_t hint_ms, bool operator_needed)
{
	uint64_t wait = BACKOFF_FIRST_MS << hm_min(en->failures, 6u);

	wait = hm_max(hm_min(wait, (uint64_t)BACKOFF_MAX_MS), hint_ms);
	if (operator_needed)
		wait = hm_max(wait, (uint64_t)OPERATOR_WAIT_MS);
	hm_stats_inc(en->s->tick->stats, HM_CT_TOKEN_FAILURES);
	en->failures++;
	en->next_try = en->s->tick->wall_ms + wait;
	hm_err_set(&en->err, operator_needed ? HM_EAUTH : HM_EAGAIN, "no credential for channel %.*s: %s",
		   HM_STRF(en->ch->info.name), text);
	if (operator_needed)
		HM_ERROR(ADAPTER, "the credential is refused, an operator is needed",
			 HM_SV("channel", en->ch->info.name), HM_S("error", text));
	else
		HM_WARN(ADAPTER, "no credential", HM_SV("channel", en->ch->info.name), HM_S("error", text),
			HM_U("next_try_ms", wait));
	broadcast(en, NEWS_FAIL);
}

static void on_answer(struct hm_call *call)
{
	struct entry *en = hm_container_of(call, struct entry, call);
	struct hm_cred_service *s = en->s;
	struct hm_cred_result r;
	char text[280];

	HM_CHECK(en, ENTRY_MAGIC);
	if (!s->closed) {
		hm_cred_judge(en->ch, call, s->tick->wall_ms, &en->arena, &r);
		if (r.outcome == HM_OUT_OK) {
			succeeded(en, &r);
		} else {
			snprintf(text, sizeof(text), "%.*s (%s)%s%.*s", HM_STRF(r.reason),
				 hm_outcome_name(r.outcome), r.detail.len ? ": " : "", HM_STRF(r.detail));
			failed(en, text, r.retry_after_ms, r.operator_needed);
		}
	}
	settle(en);
	service_unref(s);
}

static void mint(struct entry *en)
{
	struct hm_cred_result r = {0};
	uint64_t now = en->s->tick->wall_ms;
	struct hm_err e;

	hm_err_clear(&e);
	if (hm_cred_mint(en->ch, now, &en->arena, &r.token, &e) != 0) {
		failed(en, e.text, 0, true);
	} else {
		hm_cred_lifetime(en->ch, now, &r);
		succeeded(en, &r);
	}
	settle(en);
}

static void start(struct entry *en, struct hm_channel_set *set, const struct hm_channel *ch)
{
	struct hm_cred_service *s = en->s;
	struct hm_origin_opts origin;
	struct hm_err e;
	int rc;

	en->busy = true;
	en->set = hm_channel_set_ref(set);
	en->ch = ch;
	if (!hm_cred_exchanges(ch)) {
		mint(en);
		return;
	}
	hm_err_clear(&e);
	memset(&en->call, 0, sizeof(en->call));
	en->call.magic = HM_CALL_MAGIC;
	rc = hm_cred_request(ch, s->tick->wall_ms, HM_STR(""), &en->arena, &en->call, &origin, &e);
	if (rc == 0)
		rc = hm_wire_origin(s->wire, &origin, &en->call.origin, &e);
	en->call.arena = &en->arena;
	en->call.timeout_ms = ch->info.timeout_ms;
	en->call.on_done = on_answer;
	if (rc == 0) {
		__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
		rc = hm_wire_submit(&en->call, &e);
		if (rc != 0)
			__atomic_sub_fetch(&s->refs, 1, __ATOMIC_RELAXED);
	}
	if (rc != 0) {
		failed(en, e.text, 0, rc == HM_EINVAL);
		settle(en);
	}
}

static void on_ask(struct entry *en, struct to_service *m, uint64_t now)
{
	if (en->token && now < en->refresh_at)
		broadcast(en, NEWS_TOKEN); /* it asked before it heard */
	else if (en->busy)
		return; /* the answer goes to everybody */
	else if (now < en->next_try)
		broadcast(en, NEWS_FAIL);
	else
		start(en, m->set, m->ch);
}

static void on_reject(struct entry *en, struct to_service *m, uint64_t now)
{
	if (en->token == NULL || en->len != m->len || memcmp(en->token, m->token, m->len) != 0)
		return; /* an older one; its successor is known already */
	if (now < en->made_at + m->ch->ad->cred.min_age_ms)
		return;
	drop_token(en);
	broadcast(en, NEWS_DROP);
	if (!en->busy && now >= en->next_try)
		start(en, m->set, m->ch);
}

static void on_request(struct hm_mail *mail, void *owner)
{
	struct to_service *m = hm_container_of(mail, struct to_service, mail);
	struct hm_cred_service *s = m->s;
	struct entry *en = s->closed ? NULL : find_entry(s, m->ch->cred_id);

	HM_CHECK(s, SERVICE_MAGIC);
	if (en != NULL && m->reject)
		on_reject(en, m, s->tick->wall_ms);
	else if (en != NULL)
		on_ask(en, m, s->tick->wall_ms);
	hm_channel_set_unref(m->set);
	free(m);
	service_unref(s);
}

int hm_cred_service_new(struct hm_tick *t, struct hm_mailbox *mb, struct hm_wire *w,
			struct hm_cred_service **r, struct hm_err *e)
{
	struct hm_cred_service *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	HM_MAGIC_SET(s, SERVICE_MAGIC);
	s->refs = 1;
	s->tick = t;
	s->mb = mb;
	s->wire = w;
	hm_list_init(&s->entries);
	hm_list_init(&s->shards);
	pthread_mutex_init(&s->lock, NULL);
	*r = s;
	return 0;
}

void hm_cred_service_close(struct hm_cred_service *s)
{
	if (s == NULL)
		return;
	HM_CHECK(s, SERVICE_MAGIC);
	hm_assert(hm_list_empty(&s->shards));
	s->closed = true;
	hm_list_foreach_safe (&s->entries, n, next) {
		struct entry *en = hm_container_of(n, struct entry, node);

		if (en->busy)
			hm_wire_cancel(&en->call); /* on_answer lets go of the service */
	}
	service_unref(s);
}

/* -- a shard ----------------------------------------------------------------------------------- */

static struct slot *find_slot(const struct hm_cred_shard *cs, const struct hm_channel *ch)
{
	uint32_t at = ch->info.index < cs->n_index ? cs->by_index[ch->info.index] : 0;

	if (hm_likely(at && cs->slots[at - 1]->id == ch->cred_id))
		return cs->slots[at - 1];
	for (size_t i = 0; i < cs->n_slots; i++)
		if (cs->slots[i]->id == ch->cred_id) {
			if (ch->info.index < cs->n_index)
				cs->by_index[ch->info.index] = (uint32_t)i + 1;
			return cs->slots[i];
		}
	return NULL;
}

static struct slot *need_slot(struct hm_cred_shard *cs, const struct hm_channel *ch)
{
	struct slot *sl = find_slot(cs, ch), **more;

	if (sl != NULL)
		return sl;
	if (ch->info.index >= cs->n_index) {
		size_t n = ch->info.index + 16;
		uint32_t *index = realloc(cs->by_index, n * sizeof(*index));

		if (index == NULL)
			return NULL;
		memset(index + cs->n_index, 0, (n - cs->n_index) * sizeof(*index));
		cs->by_index = index;
		cs->n_index = n;
	}
	more = realloc(cs->slots, (cs->n_slots + 1) * sizeof(*more));
	if (more == NULL)
		return NULL;
	cs->slots = more;
	sl = calloc(1, sizeof(*sl));
	if (sl == NULL)
		return NULL;
	sl->id = ch->cred_id;
	hm_list_init(&sl->waiters);
	cs->slots[cs->n_slots++] = sl;
	cs->by_index[ch->info.index] = (uint32_t)cs->n_slots;
	return sl;
}

/* Frees a token when nobody of this tick can look at it any more. */
static void retire(struct hm_cred_shard *cs, char *token)
{
	if (token == NULL)
		return;
	if (cs->n_retired == cs->cap_retired) {
		size_t cap = cs->cap_retired ? cs->cap_retired * 2 : 8;
		char **more = realloc(cs->retired, cap * sizeof(*more));

		if (more == NULL)
			return; /* lost until the end: better than a dangling pointer */
		cs->retired = more;
		cs->cap_retired = cap;
	}
	cs->retired[cs->n_retired++] = token;
	hm_flush_later(cs->tick, &cs->flush);
}

static void on_flush(struct hm_flush *f)
{
	struct hm_cred_shard *cs = hm_container_of(f, struct hm_cred_shard, flush);

	for (size_t i = 0; i < cs->n_retired; i++)
		free(cs->retired[i]);
	cs->n_retired = 0;
}

struct hm_cred_shard *hm_cred_shard_new(struct hm_cred_service *s, struct hm_tick *t, struct hm_mailbox *mb)
{
	struct hm_cred_shard *cs = calloc(1, sizeof(*cs));

	if (cs == NULL)
		return NULL;
	HM_CHECK(s, SERVICE_MAGIC);
	HM_MAGIC_SET(cs, SHARD_MAGIC);
	cs->refs = 1;
	cs->s = s;
	cs->tick = t;
	cs->mb = mb;
	hm_flush_init(&cs->flush, on_flush);
	__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_lock(&s->lock);
	hm_list_push(&s->shards, &cs->node);
	pthread_mutex_unlock(&s->lock);
	return cs;
}

void hm_cred_shard_close(struct hm_cred_shard *cs)
{
	if (cs == NULL)
		return;
	HM_CHECK(cs, SHARD_MAGIC);
	pthread_mutex_lock(&cs->s->lock);
	hm_list_remove(&cs->s->shards, &cs->node);
	pthread_mutex_unlock(&cs->s->lock);
	cs->closed = true;
	hm_flush_cancel(cs->tick, &cs->flush);
	for (size_t i = 0; i < cs->n_slots; i++)
		while (hm_list_pop(&cs->slots[i]->waiters) != NULL)
			;
	shard_unref(cs);
}

static bool ask(struct hm_cred_shard *cs, struct slot *sl, struct hm_channel *ch, struct hm_str refused)
{
	struct to_service *m = calloc(1, sizeof(*m) + refused.len + 1);

	if (m == NULL)
		return false;
	m->mail.deliver = on_request;
	m->s = cs->s;
	m->set = hm_channel_set_ref(ch->set);
	m->ch = ch;
	m->reject = refused.len > 0;
	m->len = refused.len;
	if (refused.len)
		memcpy(m->token, refused.p, refused.len);
	__atomic_add_fetch(&cs->s->refs, 1, __ATOMIC_RELAXED);
	if (!m->reject)
		sl->asked = true;
	hm_mailbox_post(cs->s->mb, &m->mail);
	return true;
}

bool hm_cred_get(struct hm_cred_shard *cs, struct hm_channel *ch, struct hm_str *token_r)
{
	struct slot *sl = find_slot(cs, ch);
	uint64_t now = cs->tick->wall_ms;

	if (sl == NULL || sl->token == NULL || now >= sl->expires_at)
		return false;
	if (hm_unlikely(now >= sl->refresh_at) && !sl->asked)
		ask(cs, sl, ch, HM_STR(""));
	*token_r = hm_str_n(sl->token, sl->len);
	return true;
}

void hm_cred_wait(struct hm_cred_shard *cs, struct hm_channel *ch, struct hm_cred_waiter *w)
{
	struct slot *sl = need_slot(cs, ch);

	/* Without memory for a slot the waiter stays outside; its own deadline ends the wait. */
	if (sl == NULL)
		return;
	w->round = sl->round;
	hm_list_push(&sl->waiters, &w->node);
	if (!sl->asked)
		ask(cs, sl, ch, HM_STR(""));
}

void hm_cred_unwait(struct hm_cred_shard *cs, struct hm_channel *ch, struct hm_cred_waiter *w)
{
	struct slot *sl = find_slot(cs, ch);

	if (sl != NULL && hm_node_linked(&w->node))
		hm_list_remove(&sl->waiters, &w->node);
}

void hm_cred_reject(struct hm_cred_shard *cs, struct hm_channel *ch, struct hm_str token)
{
	struct slot *sl = find_slot(cs, ch);

	if (sl == NULL || sl->token == NULL || !hm_str_eq(hm_str_n(sl->token, sl->len), token))
		return;
	if (cs->tick->wall_ms < sl->made_at + ch->ad->cred.min_age_ms)
		return;
	if (!ask(cs, sl, ch, token))
		return;
	retire(cs, sl->token);
	sl->token = NULL;
	sl->len = 0;
}

/* Waiters are told in order. One that waits again from inside belongs to the next round. */
static void wake(struct slot *sl, const struct hm_err *e)
{
	struct hm_cred_waiter *w;
	struct hm_node *n;

	sl->round++;
	while ((n = hm_list_first(&sl->waiters)) != NULL) {
		w = hm_container_of(n, struct hm_cred_waiter, node);
		if (w->round == sl->round)
			break;
		hm_list_remove(&sl->waiters, n);
		w->on_ready(w, e);
	}
}

static void on_news(struct hm_mail *mail, void *owner)
{
	struct to_shard *m = hm_container_of(mail, struct to_shard, mail);
	struct hm_cred_shard *cs = m->cs;
	struct slot *sl = NULL;

	HM_CHECK(cs, SHARD_MAGIC);
	for (size_t i = 0; !cs->closed && i < cs->n_slots; i++)
		if (cs->slots[i]->id == m->id)
			sl = cs->slots[i];
	if (sl == NULL) /* nobody of this shard uses it */
		goto out;
	switch (m->news) {
	case NEWS_TOKEN: {
		char *copy = malloc(m->len + 1);

		if (copy == NULL)
			goto out;
		memcpy(copy, m->token, m->len + 1);
		retire(cs, sl->token);
		sl->token = copy;
		sl->len = m->len;
		sl->made_at = m->made_at;
		sl->refresh_at = m->refresh_at;
		sl->expires_at = m->expires_at;
		sl->asked = false;
		wake(sl, NULL);
		break;
	}
	case NEWS_DROP:
		retire(cs, sl->token);
		sl->token = NULL;
		sl->len = 0;
		break;
	case NEWS_FAIL:
		sl->asked = false;
		/* A refresh that failed: the token there is still good, and the next use asks again. */
		if (sl->token && cs->tick->wall_ms < sl->expires_at)
			sl->refresh_at = cs->tick->wall_ms + BACKOFF_FIRST_MS;
		wake(sl, &m->err);
		break;
	}
out:
	free(m);
	shard_unref(cs);
}
