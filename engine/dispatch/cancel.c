/*
 * cancel.c - the set of cancel marks
 *
 * One writer (control thread), many readers. Marks are hashes of what they name in an
 * open-addressing table; a slot goes from 0 to its hash with one atomic store and is
 * never changed while readers look, so look-ups need no lock. When the table fills,
 * a bigger copy is published and the old one is kept until the set is freed (tables
 * double, so all old ones together are smaller than the current one). Pruning
 * publishes a fresh copy as well.
 */
#include <stdlib.h>

#include "base/str.h"
#include "dispatch/cancel.h"

struct mark {
	uint64_t hash; /* 0 = free */
	uint64_t since_ms;
};
struct table {
	struct table *older;
	size_t cap, len; /* len: writer only */
	struct mark v[];
};
struct hm_cancel_set {
	struct table *cur; /* atomic */
};
enum { SEED_ID = 0x6964, SEED_CAMPAIGN = 0x63616d };

static struct table *table_new(size_t cap)
{
	struct table *t = calloc(1, sizeof(*t) + cap * sizeof(struct mark));

	if (t != NULL)
		t->cap = cap;
	return t;
}

struct hm_cancel_set *hm_cancel_new(void)
{
	struct hm_cancel_set *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->cur = table_new(256);
	if (s->cur == NULL) {
		free(s);
		return NULL;
	}
	return s;
}

void hm_cancel_free(struct hm_cancel_set *s)
{
	if (s == NULL)
		return;
	for (struct table *t = s->cur, *older; t != NULL; t = older) {
		older = t->older;
		free(t);
	}
	free(s);
}

static void table_put(struct table *t, uint64_t hash, uint64_t since_ms)
{
	size_t i = (size_t)hash & (t->cap - 1);

	while (t->v[i].hash != 0 && t->v[i].hash != hash)
		i = (i + 1) & (t->cap - 1);
	if (t->v[i].hash == 0)
		__atomic_store_n(&t->len, t->len + 1, __ATOMIC_RELAXED); /* readers look for 0 */
	/* since before hash: a reader that sees the hash sees a since */
	__atomic_store_n(&t->v[i].since_ms, since_ms, __ATOMIC_RELAXED);
	__atomic_store_n(&t->v[i].hash, hash, __ATOMIC_RELEASE);
}

static bool rebuild(struct hm_cancel_set *s, size_t cap, uint64_t older_than_ms)
{
	struct table *old = s->cur, *t = table_new(cap);

	if (t == NULL)
		return false;
	for (size_t i = 0; i < old->cap; i++)
		if (old->v[i].hash != 0 && old->v[i].since_ms >= older_than_ms)
			table_put(t, old->v[i].hash, old->v[i].since_ms);
	t->older = old;
	__atomic_store_n(&s->cur, t, __ATOMIC_RELEASE);
	return true;
}

static bool add(struct hm_cancel_set *s, uint64_t hash, uint64_t since_ms)
{
	if (s->cur->len * 2 >= s->cur->cap && !rebuild(s, s->cur->cap * 2, 0))
		return false;
	table_put(s->cur, hash, since_ms);
	return true;
}

static uint64_t hash_id(const struct hm_ulid *id)
{
	return hm_hash64(id->b, sizeof(id->b), SEED_ID) | 1u;
}

static uint64_t hash_campaign(struct hm_str c)
{
	return hm_hash64(c.p, c.len, SEED_CAMPAIGN) | 1u;
}

bool hm_cancel_add_id(struct hm_cancel_set *s, const struct hm_ulid *id, uint64_t since_ms)
{
	return add(s, hash_id(id), since_ms);
}

bool hm_cancel_add_campaign(struct hm_cancel_set *s, struct hm_str campaign, uint64_t since_ms)
{
	return add(s, hash_campaign(campaign), since_ms);
}

void hm_cancel_prune(struct hm_cancel_set *s, uint64_t older_than_ms)
{
	const struct table *t = s->cur;
	size_t dead = 0;

	for (size_t i = 0; i < t->cap; i++)
		dead += t->v[i].hash != 0 && t->v[i].since_ms < older_than_ms;
	if (dead > 1000 && dead > t->len / 2)
		(void)rebuild(s, t->cap, older_than_ms);
}

static bool has(const struct table *t, uint64_t hash, uint64_t accepted_ms)
{
	size_t i = (size_t)hash & (t->cap - 1);

	for (;;) {
		uint64_t h = __atomic_load_n(&t->v[i].hash, __ATOMIC_ACQUIRE);

		if (h == 0)
			return false;
		if (h == hash)
			return accepted_ms <= __atomic_load_n(&t->v[i].since_ms, __ATOMIC_RELAXED);
		i = (i + 1) & (t->cap - 1);
	}
}

bool hm_cancel_has(const struct hm_cancel_set *s, const struct hm_ulid *msg, const struct hm_ulid *job,
		   struct hm_str campaign)
{
	const struct table *t = __atomic_load_n(&s->cur, __ATOMIC_ACQUIRE);
	uint64_t ms = hm_ulid_ms(msg);

	if (__atomic_load_n(&t->len, __ATOMIC_RELAXED) == 0)
		return false;
	return has(t, hash_id(msg), ms) || (!hm_ulid_eq(msg, job) && has(t, hash_id(job), ms)) ||
	       (campaign.len > 0 && has(t, hash_campaign(campaign), ms));
}
