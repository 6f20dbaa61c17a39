/*
 * sink.h - the types every part of hermod-sink shares
 *
 * Threads: the main thread accepts connections, answers the control API and owns
 * the knobs; each worker thread owns its connections, requests and statistics.
 * A worker never waits for anybody except, for a few instructions, a mutex of a
 * ledger stripe, the ring of recent requests, the scripts or the token store.
 *
 * A request's life: req_new (headers arrive) -> answer_request (all of it is
 * here: profile, ledger, script or knobs, the reply is decided) -> [delay in the
 * worker's heap] -> conn_answer (frames are made) -> req_free (stream closed).
 */
#ifndef HM_SINK_H
#define HM_SINK_H

#include <stdatomic.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/defs.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/obj.h"
#include "base/str.h"

#define SINK_MAX_PROFILES  96 /* index 0 is "*", the defaults of all */
#define SINK_MAX_HEADERS   64
#define SINK_MAX_HEAD	   (64u << 10) /* bytes of path and headers together */
#define SINK_REPLY_HEADERS 12

struct sink_conn;
struct sink_worker;
struct sink_req;
struct script_reply;

/* What may happen instead of a proper answer. */
enum sink_fault {
#define SINK_FAULT(name, text, doc) FAULT_##name,
#include "tbl_faults.h"
#undef SINK_FAULT
	FAULT_COUNT
};
const char *sink_fault_name(enum sink_fault f);
int sink_fault_find(struct hm_str s); /* -1 when there is none */

struct sink_header {
	uint32_t name, name_len, value, value_len; /* offsets into req->data */
};

struct sink_reply {
	int status;
	struct {
		struct hm_str name, value; /* static text, or in req->hdr / req->data */
	} h[SINK_REPLY_HEADERS];
	size_t n_h;
	struct hm_str type; /* content-type, empty = none */
	struct hm_str body; /* static text, or all of req->out */
	uint64_t fill;	    /* instead of body: that many bytes of filler */
	uint32_t delay_ms;
	uint32_t trickle_ms; /* one body byte every so often, 0 = at once */
	enum sink_fault fault;
	bool accepted; /* the provider took the message: its ids go to the ledger */
};

struct sink_id {
	struct hm_str id; /* points into req->data, req->out or the worker's scratch */
	bool refused;	  /* this one recipient was refused (partial answers) */
};

enum sink_req_state { REQ_READING, REQ_WAITING, REQ_ANSWERED };

struct sink_req {
#define SINK_REQ_MAGIC 0x51ab0001u
	uint32_t magic;
	enum sink_req_state state;
	struct sink_conn *conn;
	struct hm_node node;	   /* conn->reqs, oldest first */
	struct hm_heap_node timer; /* worker's heap: delayed answer or next trickled byte */
	int32_t stream_id;	   /* SMPP: sequence number */
	uint32_t command;	   /* SMPP: submit_sm or data_sm */
	uint16_t n_headers;
	bool head_too_big, body_too_big, keep_alive, head_method;
	bool deferred;		 /* the body waits for its timer (trickle) */
	bool stalled;		 /* never answered, on purpose */
	uint32_t path, path_len; /* whole target, query included */
	uint32_t method, method_len;
	uint32_t authority, authority_len; /* HTTP/2; HTTP/1.1 has header host */
	bool has_scheme, malformed;	   /* HTTP/2 */
	int64_t content_length;		   /* HTTP/2: as announced, -1 = not */
	uint32_t body, body_len;
	uint64_t sent;	/* bytes of the reply's body made into frames */
	bool head_sent; /* HTTP/1.1: status line and headers were made */
	struct sink_header headers[SINK_MAX_HEADERS];
	struct hm_buf data; /* everything received */
	struct hm_buf out;  /* the reply's body, when it is not static text */
	struct hm_buf hdr;  /* copied reply headers; reserved once, so slices of it stay */
	unsigned profile;
	struct script_reply *script; /* taken before the request was complete */
	bool script_asked;
	struct hm_str target; /* token, user, hook name ...: what scripts and special rows look at */
	struct sink_reply reply;
	struct sink_req *next_free;
};

static inline struct hm_str req_path(const struct sink_req *r) /* without the query */
{
	struct hm_str p = hm_str_n(r->data.p + r->path, r->path_len);
	const char *q = p.len ? memchr(p.p, '?', p.len) : NULL;

	return q ? hm_str_n(p.p, (size_t)(q - p.p)) : p;
}
static inline struct hm_str req_url(const struct sink_req *r)
{
	return hm_str_n(r->data.p + r->path, r->path_len);
}
static inline struct hm_str req_method(const struct sink_req *r)
{
	return hm_str_n(r->data.p + r->method, r->method_len);
}
static inline struct hm_str req_body(const struct sink_req *r)
{
	return hm_str_n(r->data.p + r->body, r->body_len);
}
static inline struct hm_str req_header_name(const struct sink_req *r, size_t i)
{
	return hm_str_n(r->data.p + r->headers[i].name, r->headers[i].name_len);
}
static inline struct hm_str req_header_value(const struct sink_req *r, size_t i)
{
	return hm_str_n(r->data.p + r->headers[i].value, r->headers[i].value_len);
}
/* First header of that (lower case) name; p == NULL when absent. */
struct hm_str req_header(const struct sink_req *r, const char *name);
/* Parameter of the query, percent-decoded into `out` when needed; p == NULL when absent. */
struct hm_str req_query(const struct sink_req *r, const char *name, struct hm_buf *out);
/* The same on any form-encoded text. */
struct hm_str form_get(struct hm_str form, const char *name, struct hm_buf *out);

/* Per worker and profile; written by the worker, read by the control thread (relaxed). */
struct sink_counts {
	_Atomic uint64_t requests, accepted_requests, bytes_in;
	_Atomic uint64_t status[600]; /* [0] = no answer (fault) */
};
static inline void count_add(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

uint64_t sink_rand(struct sink_worker *w);    /* per worker generator, seeded by --seed */
double sink_rand_unit(struct sink_worker *w); /* [0, 1) */

#endif
