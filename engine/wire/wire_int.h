/*
 * wire_int.h - what wire.c, h2.c and http.c share
 *
 * A call is always on exactly one list, and its state says which:
 *
 *   submit -> QUEUED (origin: urgent | normal) -> STREAM (h2 session) | EASY (origin: running) | DRIVER -> DONE (wire)
 *                ^------------------------------------/  refused, or lost before it left
 *
 * call_finish() is the only way into DONE; on_done is called from there by the
 * wire's flush, so no driver ever runs user code from inside a library callback.
 */
#ifndef HM_WIRE_INT_H
#define HM_WIRE_INT_H

#include "base/heap.h"
#include "base/log.h"
#include "loop/conn.h"
#include "wire/driver.h"
#include "wire/h2_mem.h"
#include "wire/wire.h"

#define HM_WIRE_MAGIC	0x77697265u
#define HM_ORIGIN_MAGIC 0x6f726967u

#define WIRE_MAX_HEADERS 64 /* of a request */
#define WIRE_MAX_ORIGINS 65536u
#define WIRE_MAX_TRIES	 4 /* of a call the peer refuses */
#define WIRE_BUCKETS	 256

enum call_state { CALL_NEW, CALL_QUEUED, CALL_STREAM, CALL_EASY, CALL_DRIVER, CALL_DONE };

struct h2_session;
struct http_driver;

struct wire_tls { /* one TLS context for all origins with the same trust and certificate */
	struct wire_tls *next;
	struct hm_tls_opts opts;
	struct hm_tls *tls;
};

struct hm_origin {
	uint32_t magic;
	struct hm_wire *wire;
	struct hm_origin *next_same; /* hash chain */
	struct hm_node node;	     /* wire->origins */
	struct hm_origin_opts opts;
	struct hm_str authority; /* "host" or "host:port" */
	struct hm_str name;	 /* "https://host:port", for people */
	struct hm_str dial_host, dial_unix;
	uint16_t dial_port;
	bool http1;		       /* calls go to http.c */
	struct hm_list urgent, normal; /* QUEUED */
	struct hm_flush pump;
	void (*on_room)(void *arg);
	void *on_room_arg;
	bool said_full;
	/* h2 */
	struct hm_list sessions;
	struct hm_tls *tls;
	struct hm_tls_sessions tickets;
	struct hm_timer retry; /* backoff is over, or a session's pause */
	uint64_t next_try_ns;
	const struct h2_session *last; /* took the last call */
	uint64_t urgent_ns;	       /* the last urgent call */
	uint32_t fails;		       /* connections in a row that answered nothing */
	uint32_t known_limit;	       /* of streams, as the last session learned it */
	/* http */
	struct hm_list running; /* EASY */
	/* other protocols */
	const struct hm_driver_ops *ops; /* NULL: HTTP */
	void *driver;
	uint32_t holders;
	/* for describe */
	uint64_t calls, answered, not_sent, maybe, resent;
	struct hm_err last_err;
	uint64_t last_err_ms;
};

struct hm_wire {
	uint32_t magic;
	struct hm_tick *tick;
	struct hm_wire_opts opts;
	struct hm_arena strings;
	struct hm_list origins;
	struct hm_origin *buckets[WIRE_BUCKETS];
	struct wire_tls *tls;
	struct hm_list done;
	struct hm_flush done_flush;
	struct hm_heap deadlines;
	struct hm_timer deadline_timer;
	uint64_t deadline_armed_ns; /* 0 when not armed */
	size_t live;		    /* calls accepted, on_done not yet called */
	size_t sessions;	    /* h2 connections not yet closed */
	struct h2_mem mem;
	struct http_driver *http; /* NULL until needed */
	uint64_t rng;
	bool closing, http_closed;
	void (*on_closed)(void *arg);
	void *on_closed_arg;
};

/* wire.c */
void call_finish(struct hm_call *c, enum hm_fate fate, int code, const char *fmt, ...) HM_PRINTF(4, 5);
void call_answered(struct hm_call *c);
/* Back to the head of the queue: the peer certainly did not process it. Finishes as NOT_SENT when tried too often. */
void call_again(struct hm_call *c, int code, const char *why);
struct hm_call *origin_next(struct hm_origin *o, bool urgent_only); /* takes from the queue, urgent first */
static inline size_t origin_waiting(const struct hm_origin *o)
{
	return o->urgent.len + o->normal.len;
}
void origin_fail_waiting(struct hm_origin *o, const struct hm_err *why);
void origin_note(struct hm_origin *o, const struct hm_err *why);
void origin_use_http1(struct hm_origin *o);
void origin_pump_later(struct hm_origin *o);
void origin_check_room(struct hm_origin *o);
uint32_t origin_reserve(uint32_t limit); /* of `limit` slots, those kept for urgent calls */
int wire_tls_get(struct hm_wire *w, const struct hm_tls_opts *o, struct hm_tls **t_r,
		 struct hm_err *e) HM_MUSTCHECK;
uint64_t wire_random(struct hm_wire *w);
void wire_maybe_closed(struct hm_wire *w);
/* Appends to c->answer; false when that is the end of it (limit, memory): answer_cut is set. */
bool call_append(struct hm_call *c, const void *p, size_t n) HM_MUSTCHECK;

/* The headers of one answer while they arrive; copied to the call's arena in one piece. */
struct answer_head {
	struct hm_buf bytes;
	struct {
		uint32_t name, name_len, value, value_len;
	} v[128];
	uint32_t n;
	size_t limit, seen;
	int status;
	bool too_large;
};
void answer_head_init(struct answer_head *h, size_t limit);
void answer_head_fini(struct answer_head *h);
void answer_head_reset(struct answer_head *h);
void answer_head_add(struct answer_head *h, struct hm_str name, struct hm_str value);
bool answer_head_store(struct answer_head *h, struct hm_call *c) HM_MUSTCHECK;

/* h2.c */
void h2_origin_init(struct hm_origin *o);
void h2_origin_fini(struct hm_origin *o);
void h2_pump(struct hm_origin *o);
size_t h2_room(const struct hm_origin *o, bool urgent);
void h2_drop(struct hm_call *c); /* takes a STREAM call off its session (RST_STREAM CANCEL) */
void h2_close_all(struct hm_origin *o);
void h2_describe(const struct hm_origin *o, struct hm_buf *out);

/* http.c */
void http_pump(struct hm_origin *o);
size_t http_room(const struct hm_origin *o, bool urgent);
bool http_drop(struct hm_call *c); /* takes an EASY call off its handle; true when it may have left */
void http_close(struct hm_wire *w);

#endif
