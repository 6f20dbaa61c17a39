/*
 * http_shared.c - what the HTTP servers of a process count together
 *
 * Connections of the process, the generation of API keys, and one bucket per
 * rate-limited key. A bucket is GCRA: one number, the time at which the key would be
 * back at rest, moved forward by compare-and-swap. Buckets live in a fixed table found
 * by the hash of the key's id; two keys that fall on one bucket would share it, so a
 * bucket remembers whose it is and the next free one is taken. When the table is full
 * (4096 limited keys), further keys share the last probed bucket: stricter, never looser.
 *
 * What Redis last said about a key is kept here too, behind a lock: a server asks Redis once per key and
 * while, and looks here only when Redis does not answer, so that a key one shard knows is known to all.
 */
#include <pthread.h>
#include <stdlib.h>

#include "ingest/http_int.h"

#define SHARED_MAGIC 0x68736864u
#define BUCKETS	     4096
#define PROBES	     16
#define KEYS	     1024

struct bucket {
	uint64_t owner; /* hash of the key id, 0 = free */
	uint64_t rest_ns;
};
struct hm_http_shared {
	uint32_t magic;
	int64_t conns;
	uint64_t generation;
	struct bucket buckets[BUCKETS];
	pthread_mutex_t lock;	      /* of keys */
	struct hm_api_key keys[KEYS]; /* by hash of the id; the last one wins a place */
};

struct hm_http_shared *hm_http_shared_new(void)
{
	struct hm_http_shared *s = calloc(1, sizeof(*s));

	if (s) {
		HM_MAGIC_SET(s, SHARED_MAGIC);
		s->generation = 1;
		pthread_mutex_init(&s->lock, NULL);
	}
	return s;
}

void hm_http_shared_free(struct hm_http_shared *s)
{
	if (!s)
		return;
	HM_CHECK(s, SHARED_MAGIC);
	pthread_mutex_destroy(&s->lock);
	HM_MAGIC_CLEAR(s);
	free(s);
}

void hm_http_keys_changed(struct hm_http_shared *s)
{
	__atomic_add_fetch(&s->generation, 1, __ATOMIC_RELEASE);
}

uint64_t hm_http_shared_generation(const struct hm_http_shared *s)
{
	return __atomic_load_n(&s->generation, __ATOMIC_ACQUIRE);
}

int64_t hm_http_shared_conns(struct hm_http_shared *s, int64_t add)
{
	return __atomic_add_fetch(&s->conns, add, __ATOMIC_RELAXED);
}

static struct hm_api_key *place_of(struct hm_http_shared *s, const char *id)
{
	return &s->keys[hm_hash64(id, HM_API_KEY_ID, 2) % KEYS];
}

void hm_http_shared_learn(struct hm_http_shared *s, const struct hm_api_key *k)
{
	pthread_mutex_lock(&s->lock);
	*place_of(s, k->id) = *k;
	pthread_mutex_unlock(&s->lock);
}

void hm_http_shared_forget(struct hm_http_shared *s, const char *id)
{
	struct hm_api_key *k = place_of(s, id);

	pthread_mutex_lock(&s->lock);
	if (memcmp(k->id, id, HM_API_KEY_ID) == 0)
		memset(k, 0, sizeof(*k));
	pthread_mutex_unlock(&s->lock);
}

bool hm_http_shared_recall(struct hm_http_shared *s, const char *id, struct hm_api_key *k_r)
{
	const struct hm_api_key *k = place_of(s, id);
	bool known;

	pthread_mutex_lock(&s->lock);
	known = memcmp(k->id, id, HM_API_KEY_ID) == 0;
	if (known)
		*k_r = *k;
	pthread_mutex_unlock(&s->lock);
	return known;
}

static struct bucket *bucket_of(struct hm_http_shared *s, uint64_t hash)
{
	struct bucket *b = NULL;

	for (unsigned i = 0; i < PROBES; i++) {
		uint64_t owner;

		b = &s->buckets[(hash + i) % BUCKETS];
		owner = __atomic_load_n(&b->owner, __ATOMIC_ACQUIRE);
		if (owner == 0) {
			if (__atomic_compare_exchange_n(&b->owner, &owner, hash, false, __ATOMIC_ACQ_REL,
							__ATOMIC_ACQUIRE))
				return b;
		}
		if (owner == hash)
			return b;
	}
	return b;
}

uint64_t hm_http_shared_take(struct hm_http_shared *s, struct hm_str key_id, uint32_t rate, uint64_t now_ns)
{
	uint64_t cost = UINT64_C(1000000000) / rate,
		 burst = UINT64_C(1000000000); /* a second's worth may be saved up */
	struct bucket *b = bucket_of(s, hm_hash64(key_id.p, key_id.len, 1) | 1);
	uint64_t rest = __atomic_load_n(&b->rest_ns, __ATOMIC_RELAXED), next;

	do {
		next = hm_max(rest, now_ns) + cost;
		if (next > now_ns + hm_max(burst, cost))
			return (next - now_ns - hm_max(burst, cost)) / 1000000 + 1;
	} while (!__atomic_compare_exchange_n(&b->rest_ns, &rest, next, true, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	return 0;
}
