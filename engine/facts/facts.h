/*
 * facts.h - values fetched when a message is sent: "only ${facts.left} left"
 *
 * A fact is named in the configuration; a template says which it uses and with which key (content.h):
 *
 *   facts:
 *     stock:
 *       from: redis                  # GET of key; several in one MGET / pipeline
 *       redis: redis://10.0.0.7/2    # default: the hub's own Redis
 *       key: "stock:{key}"
 *     price:
 *       from: http                   # one POST for up to `batch` keys: {"keys": [...]} -> {"values": {key: value}}
 *       url: https://shop.internal/prices     # or with {key}: one GET a key, the body is the value
 *       headers: {authorization: "Bearer ${env:SHOP_TOKEN}"}
 *       batch: 100
 *       path: data.amount            # where in the value, when it is JSON
 *     # both:
 *       type: number                 # string (default) | number | boolean | json: what the template sees
 *       cache: 5s                    # a value is used this long without asking again
 *       timeout: 300ms               # then the fallback
 *       fallback: "few"              # value when it cannot be had in time or does not exist; without one the message is
 *                                    # tried again later (retry), and fails when its attempts are used up
 *
 * A service per shard: one cache, one set of connections, no lock. Requests of one tick for the same fact travel
 * together; equal keys are asked once. The cache is bounded (facts.cache_entries); what is in it is malloc'ed once per entry.
 * Threads: the shard's own. Callbacks never come from inside hm_facts_get.
 */
#ifndef HM_FACTS_FACTS_H
#define HM_FACTS_FACTS_H

#include <msgpack.h>

#include "config/config.h"
#include "loop/tick.h"

struct hm_facts;
struct hm_redis;
struct hm_wire;

struct hm_facts_deps {
	struct hm_tick *tick;
	struct hm_redis *redis; /* the hub's own */
	struct hm_wire *wire;
};
struct hm_facts *hm_facts_new(const struct hm_facts_deps *d, const struct hm_config *cfg, struct hm_err *e);
void hm_facts_reload(struct hm_facts *f,
		     const struct hm_config *cfg); /* facts that changed lose their cache */
void hm_facts_close(struct hm_facts *f, void (*on_closed)(void *arg), void *arg);
bool hm_facts_known(const struct hm_config *cfg, struct hm_str name);

#define HM_FACTS_MAX 16 /* of one message */
struct hm_fact_want {
	struct hm_str fact, key;
	const msgpack_object *fallback; /* NULL: the configuration's */
	/* answer: */
	msgpack_object value; /* in the arena given; NIL: none and no fallback */
	bool fell_back;
};
struct hm_facts_waiter { /* the caller's; until on_ready or hm_facts_cancel */
	void (*on_ready)(struct hm_facts_waiter *w);
	struct hm_fact_want *want;
	size_t n;
	struct hm_arena *arena;
	/* private */
	uint32_t missing;
	struct hm_facts *f;
	struct hm_node node;
};
/* true: all were in the cache, the values are there and on_ready is not called. false: on_ready comes, within the
 * longest timeout of the facts asked. */
bool hm_facts_get(struct hm_facts *f, struct hm_facts_waiter *w);
void hm_facts_cancel(struct hm_facts_waiter *w);

#endif
