/*
 * facts_int.h - the objects of the service and where they live
 *
 *   fact    one configured fact. On f->facts while the configuration has it, on f->gone until its last entry and
 *           request have come home.
 *   entry   one key of a fact, in exactly one state:
 *             PENDING  somebody waits: on fact.pending (oldest first, so the first is due first), and either
 *                      on fact.queue or in a request
 *             KNOWN    has a value, or is known to have none: on f->known
 *           In the hash table as long as it may be found; those of a fact that is gone are not.
 *   req     one request: a POST, a GET, an MGET, or in a cluster one GET for each of its keys. It points to the
 *           entries it will answer; an entry that is due lets go of it, the request goes on without.
 *             open     counts against max_in_flight and fact.pause
 *             given up its time is over; only the answer is still to come, to nobody
 *
 *   want ─▶ entry known? ── yes ─▶ copied into the waiter's arena
 *              │ no
 *              ▼                 flush, at the end of the tick
 *          fact.queue ──────────────────────────────────▶ req ──▶ answer ──▶ KNOWN, every waiter told
 *              └──────────── due ──▶ fallback ◀── due, failed ─────┘
 *
 * Waiters are told from f->ready, after the last entry of an answer has been filled: what they do then may change
 * any of the lists here.
 */
#ifndef HM_FACTS_FACTS_INT_H
#define HM_FACTS_FACTS_INT_H

#include "base/json.h"
#include "facts/facts.h"
#include "redis/redis.h"
#include "wire/wire.h"

#define HM_FACTS_MAGIC	      0x66616374u
#define HM_FACT_MAGIC	      0x66637421u
#define HM_FACT_ENTRY_MAGIC   0x66656e74u
#define HM_FACT_REQ_MAGIC     0x66726571u
#define HM_FACT_SOURCE_MAGIC  0x66737263u
#define HM_FACT_REASON_MAX    240
#define HM_FACT_CALL_GRACE_MS 50 /* the request's own timer comes first */

enum fact_counter {
#define HM_FACT_COUNTER(name, metric, help) FACT_CT_##name,
#include "tbl/fact_counters.h"
#undef HM_FACT_COUNTER
	FACT_CT_COUNT
};
/* Of one fact (by name) and shard; lives as long as the process, so that counters never go back. */
struct fact_stats {
	uint64_t c[FACT_CT_COUNT];
	struct hm_hist latency;
	char name[68];
	bool taken;
	struct fact_stats *next;
};

/* A Redis that is not the hub's own; facts with the same one share it. */
struct fact_source {
	uint32_t magic, refs;
	struct hm_facts *f;
	struct hm_node node; /* f->sources */
	struct hm_redis *redis;
	struct hm_config *cfg; /* its texts live there */
	const struct hm_fact_conf *conf;
	bool up;
};

struct fact {
	uint32_t magic;
	struct hm_node node;
	struct hm_facts *f;
	struct hm_config *cfg; /* conf is a part of it */
	const struct hm_fact_conf *conf;
	struct hm_redis *redis; /* the hub's or the source's; NULL: http, or broken */
	struct fact_source *source;
	struct hm_origin *origin;
	struct hm_str path;		 /* http: of the url */
	char broken[HM_FACT_REASON_MAX]; /* why it cannot work at all, or "" */
	struct hm_list queue, pending;
	struct hm_timer due;
	struct hm_flush flush;
	uint32_t in_flight; /* open requests */
	uint32_t fails;	    /* failed requests in a row */
	uint64_t paused_until_ms;
	char last_failure[HM_FACT_REASON_MAX];
	size_t n_entries, n_reqs;
	bool gone;
	struct fact_stats *stats;
};

enum entry_state { ENTRY_PENDING, ENTRY_KNOWN };
struct req;
struct hm_fact_entry {
	uint32_t magic;
	uint8_t state;
	bool hashed;
	bool used; /* since evict last looked */
	struct fact *fact;
	struct hm_fact_entry *chain;
	uint64_t hash;
	struct hm_node node;  /* fact.pending or f->known */
	struct hm_node queue; /* fact.queue */
	struct hm_list waiters;
	struct req *req; /* that will answer it, */
	uint32_t index;	 /* at this place */
	uint64_t due_ms; /* PENDING: the fallback's time. KNOWN: asked again from then on */
	/* KNOWN: NIL and a reason when there is none */
	msgpack_object value;
	char *reason;
	void *mem; /* what value points to, and the reason */
	size_t bytes;
	size_t key_len;
	char key[];
};

struct req_part { /* one key's GET in a cluster */
	struct req *req;
	uint32_t index;
};
struct req {
	uint32_t magic;
	struct hm_node node; /* f->reqs */
	struct hm_facts *f;
	struct fact *fact; /* NULL: the service closes, nobody wants the answer */
	struct hm_arena arena;
	struct hm_fact_entry **entries; /* NULL where one has been let go */
	struct req_part *parts;
	uint32_t n, answers; /* keys; answers still to come */
	uint32_t refused;    /* keys of a cluster that were answered with an error */
	bool open, http;
	struct hm_call call;
	struct hm_timer timer;
	uint64_t started_ns;
};

struct hm_facts {
	uint32_t magic;
	struct hm_tick *tick;
	struct hm_redis *redis;
	struct hm_wire *wire;
	struct {
		size_t cache_entries, cache_bytes, max_value;
		uint64_t missing_ms, pause_ms;
		uint32_t pause_after;
	} o;
	struct hm_list facts, gone, sources, reqs;
	struct hm_fact_entry **table;
	size_t n_buckets, n_hashed;
	struct hm_list known; /* oldest first */
	size_t bytes;
	struct hm_list ready; /* waiters to be told */
	bool telling;
	msgpack_zone zone; /* for parsing one answer */
	struct hm_flush closed_flush;
	bool closing;
	size_t open_sources;
	void (*on_closed)(void *arg);
	void *closed_arg;
};

/* facts.c: what an answer does */
void fact_entry_known(struct hm_fact_entry *en, const msgpack_object *value, const char *why);
void fact_entry_failed(struct hm_fact_entry *en, const char *reason);
void fact_tell(struct hm_facts *f); /* everyone on f->ready */
void fact_maybe_free(struct fact *fa);
void fact_maybe_closed(struct hm_facts *f);

/* ask.c */
void fact_ask(struct fact *fa); /* what is queued, as far as it may go */
void fact_req_let_go(struct hm_fact_entry *en);
void fact_reqs_cut(struct hm_facts *f);
bool fact_paused(const struct fact *fa);

/* source.c */
int fact_open(struct fact *fa, struct hm_err *e); /* connects it to where its values are */
void fact_source_put(struct fact_source *s);
struct hm_str fact_key(struct hm_str form, struct hm_str key, bool percent, struct hm_arena *a);

/* value.c */
/* From the text an answer holds, or (text.p NULL) from a parsed value. 0: *o_r is the value, pointing into text, zone
 * and arena; 1: there is none; HM_E...: why says what is wrong with it. */
int fact_value_text(const struct hm_fact_conf *c, struct hm_str text, size_t max, msgpack_zone *zone,
		    struct hm_arena *a, msgpack_object *o_r, char why[HM_FACT_REASON_MAX]);
int fact_value(const struct hm_fact_conf *c, const msgpack_object *o, struct hm_arena *a, msgpack_object *o_r,
	       char why[HM_FACT_REASON_MAX]);
size_t fact_object_size(const msgpack_object *o);		     /* bytes outside the object itself */
msgpack_object fact_object_copy(const msgpack_object *o, char **at); /* at: room of that size, 8-aligned */

/* stats.c */
struct fact_stats *fact_stats_take(struct hm_str name); /* NULL: out of memory */
void fact_stats_leave(struct fact_stats *s);
static inline void fact_count(const struct fact *fa, enum fact_counter c)
{
	__atomic_store_n(&fa->stats->c[c], fa->stats->c[c] + 1, __ATOMIC_RELAXED);
}

#endif
