/*
 * cred.c - one maker of credentials, a table of current ones per shard
 *
 *   shard: get -> yes: the token            service (control thread)
 *          get -> no, wait  --- ASK ------>  entry by credential id:
 *          waiters woken   <-- TOKEN/FAIL --   valid, in flight, in backoff, or start
 *          reject          --- REJECT ---->   drop, DROP to all, start
 *
 *   start: shared? ─ no ─▶ produce ─▶ made ─▶ told to all shards
 *            └ yes ─▶ ask others ─▶ a newer token: taken over
 *                       ▲ │ ├ the lock ─▶ produce ─▶ made ─▶ tell others
 *                 again └─┘ busy: later
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

#include "adapter/cipher.h"
#include "adapter/cred_share.h"
#include "adapter/model.h"
#include "base/log.h"

#define SERVICE_MAGIC 0x63737276u
#define SHARD_MAGIC   0x63736864u
#define ENTRY_MAGIC   0x63656e74u

#define BACKOFF_FIRST_MS 1000u
#define BACKOFF_MAX_MS	 60000u
#define LOCK_SPARE_MS	 5000u /* of a lock, above the time of a request */
#define UNTOLD_MS	 1000u
#define POLL_MS		 50u	/* while another process fetches */
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
	bool closed, shared;
	struct hm_cred_share share; /* when shared */
	pthread_mutex_t lock;	    /* shards */
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
	/* shared with other processes */
	uint64_t serial;	     /* of the token, as Redis numbers them; 0: not from there */
	char *refresh;		     /* the newest refresh token when Redis may not have it yet, else NULL */
	uint64_t give_up;	     /* monotonic ms: no more asking who has the lock */
	bool locked, asking, untold; /* untold: made, and Redis did not take it */
	struct hm_share_call op;
	struct hm_timer again;
	/* while it is being made */
	bool busy, calling; /* calling: the request is with the wire */
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
		free(en->refresh);
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

static void on_again(struct hm_timer *t);

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
	hm_timer_init(&en->again, on_again);
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

	if (en->locked && !en->s->closed)
		hm_cred_share_release(&en->s->share, en->id);
	en->locked = false;
	en->busy = false;
	en->set = NULL;
	en->ch = NULL;
	hm_arena_reset(&en->arena);
	hm_channel_set_unref(set);
}

/* A token to hand out; serial 0: this process's own. */
static bool adopt(struct entry *en, struct hm_str token, uint64_t made, uint64_t refresh, uint64_t expires,
		  uint64_t serial)
{
	char *copy = malloc(token.len + 1);

	if (copy == NULL)
		return false;
	memcpy(copy, token.p, token.len);
	copy[token.len] = '\0';
	drop_token(en);
	en->token = copy;
	en->len = token.len;
	en->made_at = made;
	en->refresh_at = refresh;
	en->expires_at = expires;
	en->serial = serial;
	if (en->failures)
		HM_INFO(ADAPTER, "credential works again", HM_SV("channel", en->ch->info.name));
	else
		HM_DEBUG(ADAPTER, "new credential", HM_SV("channel", en->ch->info.name),
			 HM_U("seconds", (en->expires_at - en->made_at) / 1000));
	en->failures = 0;
	en->next_try = 0;
	broadcast(en, NEWS_TOKEN);
	return true;
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

/* -- with other processes (cred_share.h) ------------------------------------------------------- */

static void ask_others(struct entry *en);
static void produce(struct entry *en, struct hm_str refresh);

static bool is_shared(const struct entry *en)
{
	return en->s->shared && en->ch->ad->cred.share;
}

/* An operation with Redis keeps the service, and with it the entry. */
static void hold(struct entry *en)
{
	__atomic_add_fetch(&en->s->refs, 1, __ATOMIC_RELAXED);
	en->asking = true;
}

/* false: the service is closing; nothing of the entry may be used then. */
static bool let_go(struct entry *en)
{
	struct hm_cred_service *s = en->s;
	bool on = !s->closed;

	en->asking = false;
	if (!on)
		settle(en);
	service_unref(s);
	return on;
}

static struct hm_str about(const struct entry *en)
{
	return hm_str_n((const char *)&en->id, sizeof(en->id));
}

static struct hm_str sealed(struct entry *en, struct hm_str text)
{
	struct hm_buf b;
	struct hm_err e;

	hm_buf_init_arena(&b, &en->arena, 1u << 20);
	return hm_seal(en->ch->seal, about(en), text, &b, &e) == 0 && !b.err ? hm_buf_str(&b) : HM_STR("");
}

/* What a refresh token descends from stands before it: an operator who enters another one means that. */
static uint64_t first_of(const struct entry *en)
{
	return hm_hash64(en->ch->first_refresh.p, en->ch->first_refresh.len, 1);
}

static struct hm_str sealed_refresh(struct entry *en, struct hm_str token)
{
	return token.len == 0 ? HM_STR("")
			      : sealed(en, hm_arena_printf(&en->arena, "%016llx %.*s",
							   (unsigned long long)first_of(en), HM_STRF(token)));
}

static struct hm_str opened_refresh(struct entry *en, struct hm_str text)
{
	char want[18];
	struct hm_buf b;

	hm_buf_init_arena(&b, &en->arena, 1u << 20);
	snprintf(want, sizeof(want), "%016llx ", (unsigned long long)first_of(en));
	if (text.len == 0 || !hm_unseal(en->ch->seal, about(en), text, &b) || b.len <= 17 ||
	    memcmp(b.p, want, 17) != 0)
		return HM_STR("");
	return hm_str_n(b.p + 17, b.len - 17);
}

/* "made refresh expires token", sealed. */
static struct hm_str sealed_token(struct entry *en)
{
	return sealed(en, hm_arena_printf(&en->arena, "%llu %llu %llu %.*s", (unsigned long long)en->made_at,
					  (unsigned long long)en->refresh_at,
					  (unsigned long long)en->expires_at, (int)en->len, en->token));
}

/* true: it is ours now, and settled. */
static bool adopt_shared(struct entry *en, const struct hm_share_reply *r)
{
	uint64_t now = en->s->tick->wall_ms, t[3];
	struct hm_str rest, part;
	struct hm_buf b;

	hm_buf_init_arena(&b, &en->arena, 1u << 20);
	if (!hm_unseal(en->ch->seal, about(en), r->text, &b))
		return false;
	rest = hm_buf_str(&b);
	for (int i = 0; i < 3; i++)
		if (!hm_str_split(&rest, ' ', &part) || !hm_str_u64(part, &t[i]))
			return false;
	if (rest.len == 0 || now >= t[1] || now >= t[2])
		return false;
	return adopt(en, rest, t[0], t[1], t[2], r->serial);
}

static void on_turn(struct hm_share_call *c, const struct hm_share_reply *r)
{
	struct entry *en = hm_container_of(c, struct entry, op);

	HM_CHECK(en, ENTRY_MAGIC);
	if (!let_go(en))
		return;
	switch (r->answer) {
	case HM_SHARE_TOKEN:
		if (adopt_shared(en, r)) {
			settle(en);
			return;
		}
		en->serial = r->serial; /* nothing to be had from that one */
		ask_others(en);
		return;
	case HM_SHARE_MINE:
		en->locked = true;
		produce(en, en->refresh ? hm_str_c(en->refresh) : opened_refresh(en, r->text));
		return;
	case HM_SHARE_BUSY:
		if (hm_tick_ms(en->s->tick) < en->give_up) {
			hm_timer_start(en->s->tick, &en->again, POLL_MS);
			return;
		}
		failed(en, "another process has been fetching it for too long", 0, false);
		settle(en);
		return;
	case HM_SHARE_DOWN:
		if (en->ch->ad->cred.refresh_token) {
			failed(en, "Redis has the refresh token and does not answer", 0, false);
			settle(en);
			return;
		}
		HM_WARN(ADAPTER, "a credential is fetched for this process alone",
			HM_SV("channel", en->ch->info.name), HM_E(r->err));
		produce(en, HM_STR(""));
		return;
	}
}

static uint32_t lock_ms(const struct entry *en)
{
	return en->ch->info.timeout_ms + LOCK_SPARE_MS;
}

static void ask_others(struct entry *en)
{
	hold(en);
	hm_cred_share_ask(&en->s->share, en->id, en->serial, lock_ms(en), &en->op, on_turn);
}

static void start(struct entry *en, struct hm_channel_set *set, const struct hm_channel *ch);
static void on_told(struct hm_share_call *c, const struct hm_share_reply *r);

static void tell_others(struct entry *en)
{
	uint64_t now = en->s->tick->wall_ms;

	hold(en);
	hm_cred_share_tell(
		&en->s->share, en->id, sealed_token(en), en->expires_at > now ? en->expires_at - now : 1,
		sealed_refresh(en, en->refresh ? hm_str_c(en->refresh) : HM_STR("")), &en->op, on_told);
}

static void on_again(struct hm_timer *t)
{
	struct entry *en = hm_container_of(t, struct entry, again);

	HM_CHECK(en, ENTRY_MAGIC);
	if (!en->untold) {
		ask_others(en);
		return;
	}
	hm_arena_reset(&en->arena);
	tell_others(en);
}

static void on_told(struct hm_share_call *c, const struct hm_share_reply *r)
{
	struct entry *en = hm_container_of(c, struct entry, op);
	struct hm_channel_set *set;
	const struct hm_channel *ch;

	HM_CHECK(en, ENTRY_MAGIC);
	if (!let_go(en))
		return;
	if (r->answer == HM_SHARE_DOWN) {
		if (!en->untold)
			HM_WARN(ADAPTER, "a new credential could not be shared",
				HM_SV("channel", en->ch->info.name), HM_E(r->err));
		en->untold = en->refresh != NULL;
		if (en->untold) { /* nobody else can go on without it */
			hm_timer_start(en->s->tick, &en->again, UNTOLD_MS);
			return;
		}
	} else {
		en->locked = en->untold = false;
		en->serial = r->serial;
		free(en->refresh);
		en->refresh = NULL;
	}
	if (en->token != NULL) {
		settle(en);
		return;
	}
	/* It was refused meanwhile, and those who wait were promised another one. */
	set = hm_channel_set_ref(en->set);
	ch = en->ch;
	settle(en);
	start(en, set, ch);
	hm_channel_set_unref(set);
}

/* Handed out here at once; the others hear of it through Redis. Until that has the refresh token it is kept, since it is the only one
 * that works. */
static void made(struct entry *en, const struct hm_cred_result *r)
{
	struct hm_cred_service *s = en->s;
	uint64_t now = s->tick->wall_ms;

	hm_stats_inc(s->tick->stats, HM_CT_TOKEN_FETCHES);
	if (r->refresh_token.len) {
		char *copy = malloc(r->refresh_token.len + 1);

		if (copy != NULL) {
			memcpy(copy, r->refresh_token.p, r->refresh_token.len);
			copy[r->refresh_token.len] = '\0';
			free(en->refresh);
			en->refresh = copy;
		}
	}
	if (!adopt(en, r->token, now, r->refresh_at_ms, r->expires_at_ms, 0) || !en->locked) {
		settle(en);
		return;
	}
	tell_others(en);
}

/* -- making one -------------------------------------------------------------------------------- */

static void on_answer(struct hm_call *call)
{
	struct entry *en = hm_container_of(call, struct entry, call);
	struct hm_cred_service *s = en->s;
	struct hm_cred_result r;
	char text[280];

	HM_CHECK(en, ENTRY_MAGIC);
	en->calling = false;
	if (s->closed) {
		settle(en);
	} else {
		hm_cred_judge(en->ch, call, s->tick->wall_ms, &en->arena, &r);
		if (r.outcome == HM_OUT_OK) {
			made(en, &r);
		} else {
			snprintf(text, sizeof(text), "%.*s (%s)%s%.*s", HM_STRF(r.reason),
				 hm_outcome_name(r.outcome), r.detail.len ? ": " : "", HM_STRF(r.detail));
			failed(en, text, r.retry_after_ms, r.operator_needed);
			settle(en);
		}
	}
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
		settle(en);
	} else {
		hm_cred_lifetime(en->ch, now, &r);
		made(en, &r);
	}
}

static void produce(struct entry *en, struct hm_str refresh)
{
	struct hm_cred_service *s = en->s;
	const struct hm_channel *ch = en->ch;
	struct hm_origin_opts origin;
	struct hm_err e;
	int rc;

	if (!hm_cred_exchanges(ch)) {
		mint(en);
		return;
	}
	hm_err_clear(&e);
	memset(&en->call, 0, sizeof(en->call));
	en->call.magic = HM_CALL_MAGIC;
	rc = hm_cred_request_with(ch, refresh, s->tick->wall_ms, HM_STR(""), &en->arena, &en->call, &origin,
				  &e);
	if (rc == 0)
		rc = hm_wire_origin(s->wire, &origin, &en->call.origin, &e);
	en->call.arena = &en->arena;
	en->call.timeout_ms = ch->info.timeout_ms;
	en->call.on_done = on_answer;
	if (rc == 0) {
		__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
		en->calling = true;
		rc = hm_wire_submit(&en->call, &e);
		if (rc != 0) {
			en->calling = false;
			__atomic_sub_fetch(&s->refs, 1, __ATOMIC_RELAXED);
		}
	}
	if (rc != 0) {
		failed(en, e.text, 0, rc == HM_EINVAL);
		settle(en);
	}
}

static void start(struct entry *en, struct hm_channel_set *set, const struct hm_channel *ch)
{
	en->busy = true;
	en->set = hm_channel_set_ref(set);
	en->ch = ch;
	if (is_shared(en)) {
		en->give_up = hm_tick_ms(en->s->tick) + 2u * lock_ms(en);
		ask_others(en);
	} else {
		produce(en, en->refresh ? hm_str_c(en->refresh) : HM_STR(""));
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

int hm_cred_service_share(struct hm_cred_service *s, struct hm_redis *r, struct hm_str prefix,
			  struct hm_err *e)
{
	int rc = hm_cred_share_init(&s->share, r, prefix, e);

	HM_CHECK(s, SERVICE_MAGIC);
	s->shared = rc == 0;
	return rc;
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

		if (hm_timer_armed(&en->again)) {
			hm_timer_stop(s->tick, &en->again);
			settle(en);
		}
		if (en->calling)
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
