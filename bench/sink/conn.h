/*
 * conn.h - one accepted connection: bytes, TLS, and what it speaks
 *
 * Bytes in: uv -> (TLS) -> h2_input or h1_input -> requests. Bytes out: the
 * protocol's fill() -> (TLS) -> one write per tick. Nothing is closed inside a
 * parser's callback: `doom` is set, conn_touch() puts the connection on the
 * dirty list, and worker_flush() closes it at the end of the callback.
 */
#ifndef HM_SINK_CONN_H
#define HM_SINK_CONN_H

#include "hpack.h"
#include "worker.h"

enum conn_proto { PROTO_UNKNOWN, PROTO_H1, PROTO_H2, PROTO_SMTP, PROTO_SMPP };
const char *conn_proto_name(enum conn_proto p);
enum conn_doom { DOOM_NONE, DOOM_AFTER_FLUSH, DOOM_NOW, DOOM_RESET };

struct sink_conn {
#define SINK_CONN_MAGIC 0x51ab0003u
	uint32_t magic;
	enum conn_proto proto;
	enum conn_doom doom;
	bool closing; /* uv_close was called */
	bool writing; /* a uv_write is under way with `inflight` */
	bool mute;    /* half open: neither reads nor writes any more */
	bool handshaken;
	bool deaf; /* HTTP/1.1 lost its way: input is discarded */
	uint64_t
		linger_ms; /* all is said, our side is shut: discards input until the peer closes; 0 = not yet */
	struct sink_worker *worker;
	struct hm_node node, dirty_node;
	struct hm_list reqs; /* oldest first */
	uv_tcp_t tcp;
	uv_write_t write_req;
	struct hm_buf inflight, pending; /* ready for the wire */
	struct hm_buf raw;		 /* plain bytes to send as they are: garbage, 100 Continue, ... */
	SSL *ssl;
	const char *in; /* what the TLS BIO reads from, during conn_input */
	size_t in_len;
	char sniff[24]; /* first bytes, until the protocol is known */
	size_t sniff_len;
	uint64_t id, last_ms, bytes_in, requests;
	void *session; /* SMTP: struct smtp; SMPP: struct smpp_sink */
	/* HTTP/2 */
	nghttp2_session *h2;
	const uint8_t *chunk; /* rest of what nghttp2 wants sent */
	size_t chunk_len;
	struct sink_req *cur;	   /* request of the frame at hand */
	struct sink_req *incoming; /* headers decoded, not yet a stream of nghttp2 */
	struct hpack *hpack;
	enum { FRAME_MAGIC, FRAME_HEAD, FRAME_PASS, FRAME_BLOCK } frame_state;
	uint8_t frame[9];  /* header of the frame at hand */
	size_t frame_have; /* bytes of it, while it is split */
	size_t frame_left; /* payload (or magic) still to come */
	bool in_block;	   /* between HEADERS and the last CONTINUATION */
	bool block_end_stream;
	int32_t block_stream, last_stream;
	struct hm_buf block, part; /* the block over frames; one frame's payload over reads */
	int32_t goaway_last;	   /* streams above are not processed; -1 = none */
	uint32_t max_streams;	   /* as announced */
	bool opened;		   /* first_streams was raised */
	/* HTTP/1.1 */
	llhttp_t h1;
	bool h1_in_value;
};

void conn_new(struct sink_worker *w, int fd, enum listener via);
/* From here on the peer speaks TLS; false when out of memory. */
bool conn_start_tls(struct sink_conn *c);
/* Moves bytes of c->raw to buf. */
size_t conn_fill_raw(struct sink_conn *c, char *buf, size_t cap);
void conn_touch(struct sink_conn *c);
void conn_flush(struct sink_conn *c);
void conn_close(struct sink_conn *c);
/* Ends our side after the last byte. Closing at once would, with input unread, reset the connection and destroy
 * answers still on their way; so the peer closes, or a second or two pass. */
void conn_linger(struct sink_conn *c);
/* Makes the reply in r->reply go out, faults included. */
void conn_answer(struct sink_req *r);
/* The delay is over, or the next byte of a trickled body is due. */
void conn_timer(struct sink_req *r);
BIO_METHOD *conn_bio_new(void);

/* h2.c */
int h2_start(struct sink_conn *c); /* -1 when out of memory */
bool h2_input(struct sink_conn *c, const char *p, size_t n);
size_t h2_fill(struct sink_conn *c, char *buf, size_t cap);
void h2_answer(struct sink_req *r);
void h2_reset(struct sink_req *r, uint32_t code);
void h2_goaway(struct sink_conn *c, int32_t last_stream_id); /* -1 = last one received */
void h2_resume(struct sink_req *r);
void h2_max_streams(struct sink_conn *c, uint32_t n);
bool h2_finished(struct sink_conn *c);
void h2_stop(struct sink_conn *c);
int h2_worker_init(struct sink_worker *w);
void h2_worker_fini(struct sink_worker *w);
/* h1.c */
void h1_start(struct sink_conn *c);
bool h1_input(struct sink_conn *c, const char *p, size_t n);
size_t h1_fill(struct sink_conn *c, char *buf, size_t cap);
void h1_answer(struct sink_req *r);
void h1_worker_init(struct sink_worker *w);
/* Body of a reply: copies the next part; *more_r tells whether there is more. */
size_t reply_body_read(struct sink_req *r, char *buf, size_t cap);
uint64_t reply_body_left(const struct sink_req *r);
/* Adds to the request's bytes; false when a limit is passed. */
bool req_put(struct sink_req *r, const void *p, size_t n, size_t limit);
/* A header of requests that are not HTTP; false when there are too many, or too much. */
bool req_put_header(struct sink_req *r, const char *name, struct hm_str value);
#endif
