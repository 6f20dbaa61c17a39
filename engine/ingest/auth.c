/*
 * auth.c - who asks, and may they? API keys looked up in Redis and remembered
 *
 * A shard remembers what Redis said about a key id for CACHE_MS, also that there is no
 * such key (MISS_MS); a `keys` event on the control stream ends all memories at once
 * (hm_http_keys_changed). While a look-up runs, further requests with the same id wait
 * for it. A key that was known to any shard stays usable while Redis is away: submissions answer 503
 * by themselves then, and looking at the ledger should not end with Redis.
 *
 * The secret is compared as SHA-256 in constant time. A connection remembers the key it
 * verified last, so that keep-alive clients pay for one hash, not for one per request.
 */
#include <openssl/crypto.h>
#include <stdlib.h>

#include "base/log.h"
#include "ingest/api_key.h"
#include "ingest/cancel_mark.h"
#include "ingest/http_int.h"

#define CACHE_MS    10000
#define MISS_MS	    2000
#define CACHE_SIZE  1024 /* keys; a power of two */
#define PROBES	    8
#define WAITERS_MAX 1000 /* requests waiting for look-ups, per server */

enum slot_state { SLOT_FREE, SLOT_ASKING, SLOT_KNOWN, SLOT_NONE };
struct slot {
	enum slot_state state;
	struct hm_api_key key; /* id always; the rest when KNOWN */
	uint64_t until_ms, generation;
	uint64_t used_ms;
	struct waiter *waiters;
};
struct waiter { /* in the request's arena */
	struct waiter *next;
	struct hm_http_req *req;
	uint8_t scope;
};
struct auth_cache {
	struct hm_http_server *srv;
	uint32_t waiting;
	char key[HM_CTL_KEY_MAX];
	size_t key_len;
	struct slot slots[CACHE_SIZE];
};

struct auth_cache *hm_auth_new(struct hm_http_server *s)
{
	struct auth_cache *a = calloc(1, sizeof(*a));

	if (a) {
		a->srv = s;
		a->key_len = hm_ctl_key(s->prefix, "keys", a->key, sizeof(a->key));
	}
	return a;
}

void hm_auth_free(struct auth_cache *a)
{
	free(a);
}

static void unauthorized(struct hm_http_req *r, const char *detail)
{
	/* RFC 6750 section 3 */
	hm_http_problem(
		r, HM_PROBLEM_NO_KEY,
		&(struct hm_problem_info){.headers = HM_STR("WWW-Authenticate: Bearer realm=\"hermod\"\r\n")},
		"%s", detail);
}

/* The slot of an id: its own, else the one of its probes that is free or was not used for longest. */
static struct slot *slot_find(struct auth_cache *a, const char *id)
{
	uint64_t h = hm_hash64(id, HM_API_KEY_ID, 0);
	struct slot *victim = NULL;

	for (unsigned i = 0; i < PROBES; i++) {
		struct slot *s = &a->slots[(h + i) & (CACHE_SIZE - 1)];

		if (s->state != SLOT_FREE && memcmp(s->key.id, id, HM_API_KEY_ID) == 0)
			return s;
		if (s->state == SLOT_ASKING)
			continue;
		if (!victim ||
		    (victim->state != SLOT_FREE && (s->state == SLOT_FREE || s->used_ms < victim->used_ms)))
			victim = s;
	}
	if (victim)
		victim->state = SLOT_FREE;
	return victim;
}

/* The key is known: scope and rate. */
static enum auth_result judge(struct hm_http_req *r, const struct slot *s, uint8_t scope)
{
	struct hm_http_server *srv = r->srv;
	uint64_t wait_ms;

	memcpy(r->key_id, s->key.id, sizeof(s->key.id));
	if (!(s->key.scopes & (scope | HM_SCOPE_ADMIN))) {
		const char *name = scope == HM_SCOPE_SEND	    ? "send"
				   : scope == HM_SCOPE_READ	    ? "read"
				   : scope == HM_SCOPE_TEMPLATES    ? "templates"
				   : scope == HM_SCOPE_SUPPRESSIONS ? "suppressions"
								    : "admin";

		hm_http_problem(r, HM_PROBLEM_FORBIDDEN, NULL, "key %s does not have the scope \"%s\"",
				s->key.id, name);
		return AUTH_ANSWERED;
	}
	if (s->key.rate == 0)
		return AUTH_OK;
	wait_ms = hm_http_shared_take(srv->deps.shared, hm_str_n(s->key.id, HM_API_KEY_ID), s->key.rate,
				      srv->tick->now_ns);
	if (wait_ms == 0)
		return AUTH_OK;
	hm_http_problem(r, HM_PROBLEM_TOO_MANY,
			&(struct hm_problem_info){.retry_after_s = (uint32_t)((wait_ms + 999) / 1000)},
			"key %s allows %u requests per second", s->key.id, s->key.rate);
	return AUTH_ANSWERED;
}

static enum auth_result decide(struct hm_http_req *r, const struct slot *s, uint8_t scope,
			       struct hm_str token)
{
	struct hm_http_conn *c = r->conn;
	char id[HM_API_KEY_ID + 1];
	uint8_t hash[32];

	if (s->state == SLOT_NONE || s->key.revoked_ms || !hm_api_key_parse(token, id, hash) ||
	    CRYPTO_memcmp(hash, s->key.hash, sizeof(hash)) != 0) {
		/* The same sentence for all: whether an id exists is nobody's business. */
		unauthorized(r, "the API key is not valid");
		return AUTH_ANSWERED;
	}
	c->auth_generation = s->generation;
	c->auth_until_ms = s->until_ms;
	c->auth_slot = (uint32_t)(s - r->srv->auth->slots);
	hm_assert(token.len <= sizeof(c->auth_token));
	memcpy(c->auth_token, token.p, token.len);
	c->auth_token_len = (uint16_t)token.len;
	return judge(r, s, scope);
}

/* -- asking Redis ---------------------------------------------------------------- */

struct ask { /* one look-up */
	struct auth_cache *a;
	uint32_t slot;
	uint64_t generation;
};

static struct hm_str bearer(const struct hm_http_req *r)
{
	struct hm_str s = hm_str_trim(r->authorization);

	if (s.len < 7 || !hm_str_ieq(hm_str_n(s.p, 7), HM_STR("bearer ")))
		return HM_STR_NULL;
	return hm_str_trim(hm_str_n(s.p + 7, s.len - 7));
}

static void wake(struct auth_cache *a, struct slot *s, const struct hm_err *err)
{
	struct waiter *w = s->waiters, *next;

	s->waiters = NULL;
	for (; w; w = next) {
		struct hm_http_req *r = w->req;
		struct hm_http_conn *c = r->conn;
		enum auth_result res = AUTH_ANSWERED;

		next = w->next; /* w is in r's arena */
		a->waiting--;
		if (c && !r->answered) {
			if (err)
				hm_http_problem(r, HM_PROBLEM_QUEUE_DOWN,
						&(struct hm_problem_info){.retry_after_s = 2},
						"the API key cannot be checked: %s", err->text);
			else
				res = decide(r, s, w->scope, bearer(r));
			if (res == AUTH_OK)
				hm_http_req_proceed(r);
		}
		if (c)
			hm_http_conn_resume(c, PAUSE_AUTH);
		hm_http_release(r);
	}
}

static void on_record(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct ask *ask = arg;
	struct auth_cache *a = ask->a;
	struct slot *s = &a->slots[ask->slot];
	uint64_t now = hm_tick_ms(a->srv->tick);
	struct hm_err e;

	hm_err_clear(&e);
	if (err) {
		char id[HM_API_KEY_ID];

		memcpy(id, s->key.id, sizeof(id));
		if (hm_http_shared_recall(a->srv->deps.shared, id, &s->key)) {
			/* Redis is away: what was true still is, for a while */
			s->state = SLOT_KNOWN;
			s->until_ms = now + MISS_MS;
			s->generation = ask->generation;
			err = NULL;
		} else {
			s->state = SLOT_FREE;
		}
	} else if (reply->type == HM_REPLY_NIL) {
		hm_http_shared_forget(a->srv->deps.shared, s->key.id);
		s->state = SLOT_NONE;
		s->until_ms = now + MISS_MS;
		s->generation = ask->generation;
	} else {
		char id[HM_API_KEY_ID];

		memcpy(id, s->key.id, sizeof(id));
		s->state = SLOT_KNOWN;
		s->until_ms = now + CACHE_MS;
		s->generation = ask->generation;
		if (hm_api_key_read_record(hm_str_n(id, sizeof(id)), reply->s, &s->key, &e)) {
			HM_WARN(HTTP, "API key unusable", HM_E(&e));
			memcpy(s->key.id, id, sizeof(id));
			s->state = SLOT_NONE;
		} else {
			hm_http_shared_learn(a->srv->deps.shared, &s->key);
		}
	}
	s->used_ms = now;
	free(ask);
	wake(a, s, err);
	a->srv->lookups--;
	hm_http_server_conn_gone(a->srv);
}

static bool ask(struct auth_cache *a, struct slot *s, const char *id)
{
	struct ask *q = calloc(1, sizeof(*q)); /* once per key and CACHE_MS */
	struct hm_str argv[3];

	if (!q)
		return false;
	q->a = a;
	q->slot = (uint32_t)(s - a->slots);
	q->generation = hm_http_shared_generation(a->srv->deps.shared);
	if (s->state == SLOT_FREE)
		memset(&s->key, 0, sizeof(s->key));
	memcpy(s->key.id, id, HM_API_KEY_ID);
	s->state = SLOT_ASKING;
	a->srv->lookups++;
	argv[0] = HM_STR("HGET");
	argv[1] = hm_str_n(a->key, a->key_len);
	argv[2] = hm_str_n(s->key.id, HM_API_KEY_ID);
	hm_redis_send(a->srv->deps.redis, argv[1], argv, 3, on_record, q);
	return true;
}

enum auth_result hm_auth_check(struct hm_http_req *r, uint8_t scope)
{
	struct hm_http_server *srv = r->srv;
	struct auth_cache *a = srv->auth;
	struct hm_http_conn *c = r->conn;
	uint64_t now = hm_tick_ms(srv->tick), generation = hm_http_shared_generation(srv->deps.shared);
	struct hm_str token;
	char id[HM_API_KEY_ID + 1];
	uint8_t hash[32];
	struct waiter *w;
	struct slot *s;

	if (!r->authorization.p) {
		unauthorized(r, "an API key is needed: Authorization: Bearer hk_... (hermod keys create)");
		return AUTH_ANSWERED;
	}
	token = bearer(r);
	if (token.len && token.len == c->auth_token_len && c->auth_generation == generation &&
	    now < c->auth_until_ms && CRYPTO_memcmp(token.p, c->auth_token, token.len) == 0) {
		s = &a->slots[c->auth_slot];
		/* the slot may have gone to another key meanwhile */
		if (s->state == SLOT_KNOWN && memcmp(s->key.id, token.p + 3, HM_API_KEY_ID) == 0 &&
		    !s->key.revoked_ms)
			return judge(r, s, scope);
	}
	if (!hm_api_key_parse(token, id, hash)) {
		unauthorized(r, "Authorization must be: Bearer hk_..., a key made by hermod keys create");
		return AUTH_ANSWERED;
	}
	s = slot_find(a, id);
	if (s && (s->state == SLOT_KNOWN || s->state == SLOT_NONE) && s->generation == generation &&
	    now < s->until_ms) {
		s->used_ms = now;
		return decide(r, s, scope, token);
	}
	w = a->waiting < WAITERS_MAX && s ? hm_arena_alloc(&r->arena, sizeof(*w)) : NULL;
	if (!w || (s->state != SLOT_ASKING && !ask(a, s, id))) {
		hm_http_problem(r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
				"too many API keys are being looked up");
		return AUTH_ANSWERED;
	}
	w->req = r;
	w->scope = scope;
	w->next = s->waiters;
	s->waiters = w;
	a->waiting++;
	hm_http_hold(r);
	return AUTH_WAIT;
}
