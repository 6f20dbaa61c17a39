/*
 * wire.h - requests to providers: the contract between dispatch and the drivers
 *
 * One hm_wire per shard. An origin is a host (scheme, host, port, TLS settings,
 * protocol) with its pool of connections; a call is one request and its answer.
 *
 *   origin -> h2.c    nghttp2 on conn.c (TLS + ALPN, or h2c by prior knowledge)
 *          -> http.c  libcurl multi: HTTP/1.1, proxies, everything on the slow path
 *          -> a driver of another protocol (driver.h): SMTP, SMPP, MQTT
 *   A version of AUTO asks for h2 by ALPN and falls back to http.c when the peer
 *   does not offer it.
 *
 * An HTTP/2 connection carries nothing before the peer's SETTINGS have come; the
 * pool of an origin grows by one connection at a time while all streams are taken and
 * shrinks after idle_close_ms. Of 20 or more streams (or HTTP/1.1 connections) 5 % are
 * kept for urgent calls; of 4 or more HTTP/2 connections one is, while there are such calls. While a provider is down, connecting is retried with
 * backoff and jitter: a failed attempt fails what waits (NOT_SENT), and when the next
 * attempt is more than a second away, new calls fail at once with the last reason.
 *
 * Ownership: the caller owns the hm_call and everything it points to until
 * on_done, which comes exactly once per accepted call, always from the loop,
 * never from inside hm_wire_submit. The answer lives in call->arena.
 * Fate: `fate` says whether the request may have been processed; this decides
 * between retry (not sent) and unknown (maybe). RFC 9113 section 8.7: a stream
 * refused (REFUSED_STREAM, or above GOAWAY's last_stream_id) was not processed;
 * h2.c resends those on another connection by itself while the deadline allows,
 * and so it does with requests whose bytes never reached the kernel when a
 * connection broke. Deadline or cancel after the bytes left is MAYBE. An answer without
 * an end (reset, connection lost in the middle) is MAYBE, with `status` when it was seen.
 * Threads: owner shard only.
 */
#ifndef HM_WIRE_WIRE_H
#define HM_WIRE_WIRE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "loop/tick.h"

#define HM_CALL_MAGIC 0x63616c6cu

enum hm_http_version {
	HM_HTTP_AUTO,	 /* ALPN h2, http/1.1 */
	HM_HTTP_1,	 /* HTTP/1.1 through libcurl */
	HM_HTTP_2,	 /* ALPN h2 required */
	HM_HTTP_2_PRIOR, /* clear-text HTTP/2 by prior knowledge */
};

/* What is spoken: HTTP, or a protocol of tbl/protocols.h. */
enum hm_protocol {
	HM_PROTO_HTTP,
#define HM_PROTOCOL(name, text, port, tls_port, sentence) HM_PROTO_##name,
#include "tbl/protocols.h"
#undef HM_PROTOCOL
	HM_PROTO_COUNT
};
const char *hm_protocol_name(enum hm_protocol p); /* "http", "smtp", ... */

struct hm_header {
	struct hm_str name, value; /* name in lower case */
	uint8_t flags;
};
#define HM_HDR_NEVER_INDEX 1 /* HPACK never-indexed literal: secrets (RFC 7541 section 7.1.3) */
#define HM_HDR_NO_INDEX	   2 /* changes with every request: literal without indexing */

struct hm_origin_opts {
	bool tls, verify;
	enum hm_http_version version;
	struct hm_str host; /* name or address; also SNI and certificate name unless server_name is set */
	uint16_t port;
	struct hm_str server_name;	       /* overrides SNI and verification name */
	struct hm_str connect_to;	       /* "host:port" to connect to instead (tests, gateways) */
	struct hm_str ca_file;		       /* PEM; empty = system store */
	struct hm_str cert_file, key_file;     /* client certificate, PEM */
	struct hm_str proxy;		       /* http://host:port; implies libcurl */
	uint32_t max_connections, max_streams; /* 0 = the wire's defaults */
	enum hm_protocol protocol;
	struct hm_str session; /* other protocols: "name\0value\0"... that logs in; see hm_origin_session */
	bool deny_private;     /* refuse private, loopback, link-local addresses after resolving (SSRF) */
};

struct hm_driver_ops;
struct hm_driver_event;
struct hm_wire_driver {
	const struct hm_driver_ops *ops; /* NULL: channels of that protocol are refused */
	void *arg;			 /* the driver's, kept in wire->opts */
};
struct hm_wire_opts { /* from settings, section wire */
	uint32_t max_connections, max_streams, queue_max;
	uint32_t connect_timeout_ms, idle_ping_ms, idle_close_ms;
	size_t max_response_bytes, max_header_bytes;
	struct hm_str ca_file;
	bool verify;
	struct hm_str tls_min; /* "1.2" or "1.3" */
	struct hm_wire_driver drivers[HM_PROTO_COUNT];
	/* What a provider says on its own session (driver.h); NULL: refused there. */
	void (*on_event)(void *arg, struct hm_driver_event *ev);
	void *event_arg;
};

enum hm_fate {
	HM_FATE_NOT_SENT, /* certainly not processed: safe to send again */
	HM_FATE_MAYBE,	  /* left (or may have left) without an answer: unknown */
	HM_FATE_ANSWERED, /* status and body are the provider's answer */
};

struct hm_origin;
struct hm_call {
	uint32_t magic;
	struct hm_origin *origin;
	/* request */
	struct hm_str method, path; /* path with query, already encoded */
	const struct hm_header *headers;
	size_t n_headers;
	struct hm_str body;
	uint32_t timeout_ms; /* from submit to the end of the answer; 0 = 30,000 */
	bool urgent;	     /* critical lane: first in the queue, may use the reserve of streams */
	struct hm_arena *arena;
	void (*on_done)(struct hm_call *c);
	/* answer */
	enum hm_fate fate;
	int status; /* HTTP status, 0 without answer */
	struct hm_header *answer_headers;
	size_t n_answer_headers;
	struct hm_str answer;
	bool answer_cut;   /* longer than max_response_bytes: `answer` holds the beginning */
	struct hm_err err; /* when fate != ANSWERED */
	uint64_t started_ns, done_ns;
	/* private to the driver */
	struct hm_node node;
	struct hm_heap_node deadline;
	int32_t stream_id;
	uint8_t tries, state;
	void *driver;
	size_t sent_off, body_off;
};

struct hm_wire;
int hm_wire_new(struct hm_tick *t, const struct hm_wire_opts *o, struct hm_wire **w_r,
		struct hm_err *e) HM_MUSTCHECK;
/* Cancels nothing: call when no call is in flight, or after hm_wire_abort. */
void hm_wire_close(struct hm_wire *w, void (*on_closed)(void *arg), void *arg);
/* Cancels every call (fate as it stands, HM_ECANCELLED); on_done comes from the loop as always. */
void hm_wire_abort(struct hm_wire *w);
/* Get or create; the same options give the same origin. Lives as long as the wire. */
int hm_wire_origin(struct hm_wire *w, const struct hm_origin_opts *o, struct hm_origin **r,
		   struct hm_err *e) HM_MUSTCHECK;
/* Value of a session's pair; p == NULL when absent. */
struct hm_str hm_origin_session(const struct hm_origin_opts *o, const char *name);
/* Whether both mean the same provider, account and way to it (host names without case). */
bool hm_origin_opts_eq(const struct hm_origin_opts *a, const struct hm_origin_opts *b);
/* Whether hm_wire_origin would give this origin for these options. */
bool hm_origin_is(const struct hm_origin *o, const struct hm_origin_opts *opts);
/* Who uses an origin says so, and when no longer (driver.h, wanted). */
void hm_origin_hold(struct hm_origin *o);
void hm_origin_release(struct hm_origin *o);
/* Parses "https://host[:port][/path]"; fills host, port, tls; *path_r gets the rest ("/" if none). */
int hm_wire_parse_url(struct hm_str url, struct hm_origin_opts *o, struct hm_str *path_r,
		      struct hm_err *e) HM_MUSTCHECK;
/* The same for every protocol, by its scheme ("smtp://", with TLS from the first byte "smtps://"); fills protocol too. */
int hm_wire_parse_endpoint(struct hm_str url, struct hm_origin_opts *o, struct hm_str *path_r,
			   struct hm_err *e) HM_MUSTCHECK;
/* Accepts or refuses; after a refusal on_done does not come. HM_EAGAIN: the queue is full. HM_EINVAL: a method, path or
 * header that would not survive on the wire (control characters, upper-case or empty names); HM_ELIMIT: over 64 headers. */
int hm_wire_submit(struct hm_call *c, struct hm_err *e) HM_MUSTCHECK;
void hm_wire_cancel(struct hm_call *c); /* on_done comes, with HM_ECANCELLED */
/* How many further calls would go out without waiting for streams. */
size_t hm_origin_room(const struct hm_origin *o, bool urgent);
/* Called (from the loop) when room appears after hm_origin_room said 0. One listener per origin. */
void hm_origin_on_room(struct hm_origin *o, void (*fn)(void *arg), void *arg);
const struct hm_origin_opts *hm_origin_options(const struct hm_origin *o);
struct hm_str hm_call_header(const struct hm_call *c,
			     const char *name); /* answer header, p == NULL when absent */
/* One JSON object per origin for /v1/admin/wire: connections, streams, settings, last error. */
void hm_wire_describe(const struct hm_wire *w, struct hm_buf *out);

#endif
