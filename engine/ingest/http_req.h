/*
 * http_req.h - one request, as handlers see it
 *
 * Life of a request:
 *
 *   HEAD (being parsed) -> authorised? -> BODY -> handler -> answer -> written in order -> freed
 *
 * A handler answers exactly once, at once or later, with hm_http_reply,
 * hm_http_json or hm_http_problem. While it waits for something it holds the
 * request (hm_http_hold / hm_http_release), because the connection may die
 * meanwhile; an answer to a dead connection goes nowhere, quietly. r->conn says
 * whether somebody still listens.
 *
 * Body: complete in r->body while run() runs and not afterwards (it may point into
 * the read buffer); copy what is needed later into r->arena. A streaming route gets
 * pieces as they come instead.
 */
#ifndef HM_INGEST_HTTP_REQ_H
#define HM_INGEST_HTTP_REQ_H

#include <llhttp.h>

#include "ingest/http_server.h"
#include "loop/conn.h"

#define HM_HTTP_REQ_MAGIC  0x68726571u
#define HM_HTTP_CONN_MAGIC 0x68636f6eu

enum hm_scope_bit {
	HM_SCOPE_NONE = 0,
	HM_SCOPE_SEND = 1,
	HM_SCOPE_READ = 2,
	HM_SCOPE_ADMIN = 4, /* everything */
	HM_SCOPE_TEMPLATES = 8,
	HM_SCOPE_SUPPRESSIONS = 16,
};

enum hm_problem {
#define HM_PROBLEM(name, slug, status, title) HM_PROBLEM_##name,
#include "tbl/problems.h"
#undef HM_PROBLEM
	HM_PROBLEM_COUNT
};

struct hm_http_route {
	uint8_t method;	     /* HTTP_GET (answers HEAD too), HTTP_POST ... of llhttp */
	uint8_t scope;	     /* enum hm_scope_bit; admin includes all */
	const char *pattern; /* "/v1/messages/{id}": at most two parameters, each one segment */
	void (*run)(struct hm_http_req *r); /* the body is complete */
	/* Streaming instead of run: begin at the end of the head (may answer: then nothing more comes), data for every
	 * piece, end once. After an answer or the death of the connection nothing more comes but fini. */
	void (*begin)(struct hm_http_req *r);
	void (*data)(struct hm_http_req *r, const char *p, size_t n);
	void (*end)(struct hm_http_req *r);
	const char *summary;
};
extern const struct hm_http_route hm_http_routes[];
extern const size_t hm_http_routes_count;

/* Finds the route. NULL: 404 when *allow_r is 0, else 405 with these methods (bit per llhttp method). Path
 * parameters, still percent-encoded, go to params. */
const struct hm_http_route *hm_http_route_find(const struct hm_http_route *own, size_t n, uint8_t method,
					       struct hm_str path, struct hm_str params[2],
					       uint64_t *allow_r);

struct hm_http_conn;
struct hm_http_req {
	uint32_t magic;
	struct hm_node node; /* conn->reqs, in the order of arrival */
	struct hm_http_conn *conn;
	struct hm_http_server *srv;
	struct hm_arena arena;
	const struct hm_http_route *route;
	uint8_t method;
	bool head_done, complete, answered, discard, keep_alive, want_continue, counted, whole_body,
		streaming;
	uint16_t status;
	uint32_t held;
	struct hm_str target, path, query, params[2];
	struct hm_str content_type, authorization, idempotency_key, expect,
		if_match; /* p == NULL when absent */
	unsigned hosts;
	struct hm_buf
		head; /* below /v1/callbacks/ and /v1/inbox only: name NUL value NUL ..., see hm_http_header_next */
	struct hm_str body;
	struct hm_buf body_buf;
	struct hm_buf out; /* the answer, while requests before it are not answered */
	uint64_t started_ns, body_bytes;
	char key_id[24];		     /* of the API key, "" without */
	void *state;			     /* the handler's */
	void (*fini)(struct hm_http_req *r); /* before the request is freed */
};

static inline void hm_http_hold(struct hm_http_req *r)
{
	r->held++;
}
void hm_http_release(struct hm_http_req *r);

/* -- answering -- */
struct hm_http_answer {
	int status;
	const char *type; /* Content-Type */
	struct hm_str body;
	struct hm_str headers; /* further header lines, each with CRLF */
	bool close;
};
void hm_http_reply(struct hm_http_req *r, const struct hm_http_answer *a);
void hm_http_json(struct hm_http_req *r, int status, struct hm_str body);
struct hm_problem_info {
	struct hm_str field;	/* dotted path, may be empty */
	int line;		/* 1-based, 0 = none */
	uint32_t retry_after_s; /* 0 = none */
	struct hm_str headers;	/* further header lines */
	const char *also;	/* further JSON members, like "\"state\":\"sent\""; NULL = none */
	bool close;
};
void hm_http_problem(struct hm_http_req *r, enum hm_problem p, const struct hm_problem_info *info,
		     const char *fmt, ...) HM_PRINTF(4, 5);
/* The problem as JSON, for batch results and tests. */
void hm_problem_json(struct hm_buf *b, enum hm_problem p, const struct hm_problem_info *info,
		     struct hm_str detail);
/* An hm_err from reading a message (codes of job.h): bad-syntax or invalid-message with its field. */
void hm_http_problem_err(struct hm_http_req *r, const struct hm_err *e);
/* A failed Redis command: queue-down, queue-unknown or busy, with Retry-After. */
void hm_http_problem_redis(struct hm_http_req *r, const struct hm_err *e);
enum hm_problem hm_http_redis_problem(const struct hm_err *e);
int hm_problem_status(enum hm_problem p);
const char *hm_problem_title(enum hm_problem p), *hm_problem_slug(enum hm_problem p);

/* -- a stream of events instead of an answer (text/event-stream, WHATWG HTML section 9.2) --
 * begin sends the head (false: this cannot be, a problem has been answered); write adds whole events, which leave with the
 * tick (false: the stream has ended, because nobody reads or listens); end closes the connection. It also ends with the
 * client, when the server drains, and when more than HM_HTTP_STREAM_BEHIND bytes wait for a slow reader; r->fini says so. */
#define HM_HTTP_STREAM_BEHIND (256u << 10)
bool hm_http_stream_begin(struct hm_http_req *r, struct hm_str headers) HM_MUSTCHECK;
bool hm_http_stream_write(struct hm_http_req *r, struct hm_str events) HM_MUSTCHECK;
void hm_http_stream_end(struct hm_http_req *r);

/* -- helpers for handlers -- */
/* Headers as they came, one after another from *at = 0; requests below /v1/callbacks/ and /v1/inbox keep all of theirs. */
bool hm_http_header_next(const struct hm_http_req *r, size_t *at, struct hm_str *name_r,
			 struct hm_str *value_r);
/* A query parameter, decoded into the arena; p == NULL when absent. */
struct hm_str hm_http_query(struct hm_http_req *r, const char *name);
/* Percent-decodes; p == NULL on a bad escape. */
struct hm_str hm_http_unescape(struct hm_arena *a, struct hm_str s, bool plus_is_blank);
/* Media type without parameters equals (ASCII case ignored). */
bool hm_http_type_is(struct hm_str content_type, const char *type);
/* Streaming: stop and start reading more of this connection. */
void hm_http_read_pause(struct hm_http_req *r, bool pause);

#endif
