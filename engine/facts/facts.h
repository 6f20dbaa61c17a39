/*
 * facts.h - values fetched when a message is sent: "only ${facts.left} left"
 *
 * A fact is named in the configuration; a template says which it uses and with which key (content.h):
 *
 *   facts:
 *     stock:
 *       from: redis                  # GET of key; several in one MGET, in a cluster pipelined to the slots' owners
 *       redis: redis://10.0.0.7/2    # any form of redis/url.h; default: the hub's own Redis
 *       key: "stock:{key}"           # default "{key}"
 *     price:
 *       from: http
 *       url: https://shop.internal/prices/{key}  # with {key} (percent-encoded): one GET a key, the body is the value,
 *                                                # 404 and 204 say there is none
 *       url: https://shop.internal/prices        # without: one POST for up to `batch` keys, {"keys": [...]} ->
 *                                                # {"values": {key: value}}; a key that is not there has no value
 *       headers: {authorization: "Bearer ${env:SHOP_TOKEN}"}
 *       http: auto                   # auto | 1.1 | 2 | h2c
 *       path: data.amount            # where in the value; makes it JSON. Numbers index lists
 *     # both:
 *       type: number                 # string (default) | number | boolean | json: what the template sees. Numbers are
 *                                    # exact decimals (HM_MP_DECIMAL), never floats
 *       cache: 5s                    # a value is used this long without asking again; 0: never
 *       timeout: 300ms               # from asking to the fallback, whatever is waited for
 *       batch: 100                   # most keys in one request (redis, POST)
 *       max_in_flight: 16            # most requests at a time, per shard
 *       fallback: "few"              # when it cannot be had in time, does not exist or has the wrong type; what it is in
 *                                    # YAML it is for the template. Without one the message is tried again later
 *       ca_file, cert_file, key_file, tls_verify: as for channels
 *
 * A service per shard: one cache, one set of connections, no lock. Requests of one tick for the same fact travel
 * together; equal keys are asked once (also while the first asking is under way). The cache holds at most
 * facts.cache_entries values and facts.cache_bytes, those not used for long go first; a key without a value is
 * remembered for facts.missing_for. After facts.pause_after failed requests in a row a fact rests for facts.pause:
 * what is asked then falls back at once; afterwards a single request tries.
 *
 * Memory: a value in the cache is two mallocs, made when it is fetched; a hit costs none (the copy goes into the
 * arena given). Requests are malloc'ed and kept for the next.
 * Errors: none; what cannot be had is an answer with a reason ("fact stock: no answer in 300 ms"). Reasons and logs
 * never carry keys of credentials, header values or URLs.
 * Threads: the shard's own, except metrics and check. Callbacks never come from inside hm_facts_get.
 */
#ifndef HM_FACTS_FACTS_H
#define HM_FACTS_FACTS_H

#include <msgpack.h>

#include "config/config.h"
#include "loop/tick.h"

struct hm_facts;
struct hm_redis;
struct hm_wire;

struct hm_facts_deps { /* all outlive the service; of the redis only its commands need not have been answered */
	struct hm_tick *tick;
	struct hm_redis *redis; /* the hub's own */
	struct hm_wire *wire;
};
/* cfg is referenced as long as it is needed. */
struct hm_facts *hm_facts_new(const struct hm_facts_deps *d, struct hm_config *cfg, struct hm_err *e);
/* Facts that changed or are new begin with nothing remembered; what is under way for the old ones ends as it began. */
void hm_facts_reload(struct hm_facts *f, struct hm_config *cfg);
/* No waiter may be left. Requests under way are cut. Close it before the wire. on_closed from the loop. */
void hm_facts_close(struct hm_facts *f, void (*on_closed)(void *arg), void *arg);
/* What the configuration's own check cannot know: URLs in detail, files of TLS. Reports each problem with its line,
 * returns their number. Any thread. */
size_t hm_facts_check(const struct hm_config *cfg, hm_report_fn report, void *arg);
/* hermod_fact_* of all shards, one line per fact, as Prometheus text. Any thread. */
void hm_facts_metrics(struct hm_buf *out);
/* For /v1/admin: one JSON object. */
void hm_facts_describe(const struct hm_facts *f, struct hm_buf *out);

#define HM_FACTS_MAX	 16  /* of one message */
#define HM_FACTS_KEY_MAX 512 /* bytes of a key */

struct hm_facts_waiter;
struct hm_fact_entry;
struct hm_fact_want {
	struct hm_str fact, key;	/* must stay as long as the waiter waits */
	const msgpack_object *fallback; /* instead of the configuration's; NULL: that one */
	/* answer: */
	msgpack_object value; /* in the arena given, or the fallback itself; NIL: none and no fallback */
	bool fell_back;
	struct hm_str
		reason; /* why there is no value or it is the fallback; in the arena; empty when all is well */
	/* private */
	struct hm_node node;
	struct hm_facts_waiter *w;
	struct hm_fact_entry *entry;
};
struct hm_facts_waiter { /* the caller's; until on_ready or hm_facts_cancel */
	void (*on_ready)(struct hm_facts_waiter *w);
	struct hm_fact_want *want;
	size_t n;
	struct hm_arena *arena;
	/* private */
	struct hm_facts *f;
	uint32_t missing;
	struct hm_node node;
};
/* true: everything is known now (remembered, or known not to be had at present), the answers are there and on_ready is
 * not called. false: on_ready comes, within the longest timeout of the facts asked. */
bool hm_facts_get(struct hm_facts *f, struct hm_facts_waiter *w) HM_MUSTCHECK;
void hm_facts_cancel(struct hm_facts_waiter *w);

#endif
