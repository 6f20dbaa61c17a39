/*
 * tokens.c - access tokens handed out
 */
#include "tokens.h"

#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>

#define SLOTS 1024

struct slot {
	unsigned profile; /* 0 = free */
	uint64_t key_hash, expires_ms;
	char text[TOKEN_MAX];
	size_t len;
};

struct tokens {
	pthread_mutex_t lock;
	_Atomic uint64_t generation; /* changes when a token stops being good early */
	size_t next;
	struct slot v[SLOTS];
};

struct tokens *tokens_new(void)
{
	struct tokens *t = calloc(1, sizeof(*t));

	if (t) {
		pthread_mutex_init(&t->lock, NULL);
		t->generation = 1;
	}
	return t;
}

void tokens_free(struct tokens *t)
{
	if (!t)
		return;
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static struct slot *living(struct tokens *t, unsigned profile, uint64_t key_hash, uint64_t now_ms)
{
	for (size_t i = 0; i < SLOTS; i++)
		if (t->v[i].profile == profile && t->v[i].key_hash == key_hash && t->v[i].expires_ms > now_ms)
			return &t->v[i];
	return NULL;
}

int64_t tokens_issue(struct tokens *t, unsigned profile, struct hm_str key, bool reuse, const char *lead,
		     int64_t ttl_s, uint64_t now_ms, char out[TOKEN_MAX])
{
	uint64_t hash = hm_hash64(key.p, key.len, profile);
	unsigned char raw[24];
	struct slot *s;
	int64_t left;

	pthread_mutex_lock(&t->lock);
	s = reuse ? living(t, profile, hash, now_ms) : NULL;
	if (!s) {
		s = &t->v[t->next++ % SLOTS];
		hm_assert(RAND_bytes(raw, sizeof(raw)) == 1);
		s->len = (size_t)snprintf(s->text, sizeof(s->text), "%s", lead);
		for (size_t i = 0; i < sizeof(raw); i++)
			s->len += (size_t)snprintf(s->text + s->len, sizeof(s->text) - s->len, "%02x",
						   raw[i]);
		s->profile = profile;
		s->key_hash = hash;
		s->expires_ms = now_ms + (uint64_t)ttl_s * 1000;
	}
	memcpy(out, s->text, TOKEN_MAX);
	left = (int64_t)((s->expires_ms - now_ms) / 1000);
	pthread_mutex_unlock(&t->lock);
	return left;
}

enum token_verdict tokens_check(struct tokens *t, struct token_cache *c, unsigned profile,
				struct hm_str token, uint64_t now_ms)
{
	enum token_verdict v = TOKEN_UNKNOWN;
	uint64_t generation = atomic_load(&t->generation);

	if (c->generation == generation && c->len == token.len && now_ms < c->expires_ms &&
	    memcmp(c->text, token.p, token.len) == 0)
		return TOKEN_OK;
	if (token.len == 0 || token.len >= TOKEN_MAX)
		return TOKEN_UNKNOWN;
	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < SLOTS; i++) {
		const struct slot *s = &t->v[i];

		if (s->profile != profile || s->len != token.len || memcmp(s->text, token.p, token.len) != 0)
			continue;
		v = now_ms < s->expires_ms ? TOKEN_OK : TOKEN_EXPIRED;
		if (v == TOKEN_OK) {
			memcpy(c->text, s->text, sizeof(c->text));
			c->len = s->len;
			c->expires_ms = s->expires_ms;
			c->generation = generation;
		}
		break;
	}
	pthread_mutex_unlock(&t->lock);
	return v;
}

size_t tokens_invalidate(struct tokens *t, unsigned profile, bool expire)
{
	size_t n = 0;

	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *s = &t->v[i];

		if (!s->profile || (profile && s->profile != profile))
			continue;
		n++;
		s->expires_ms = 0;
		if (!expire)
			s->profile = 0;
	}
	atomic_fetch_add(&t->generation, 1);
	pthread_mutex_unlock(&t->lock);
	return n;
}
