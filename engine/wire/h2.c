/*
 * h2.c - HTTP/2 to providers: nghttp2 sessions on conn.c, pooled per origin
 *
 *   CONNECTING --on_open--> GREETING --peer's SETTINGS--> READY --GOAWAY, ids used up, idle--> DRAINING --> (closed)
 *
 * Nothing is sent before the peer's SETTINGS have come: the wait is one round trip
 * per connection, and in return the real stream limit is known (APNs begins with 1)
 * and a peer that does not speak HTTP/2 has certainly not seen a request.
 *
 * Writing: the pump gives each waiting call to the session with the fewest streams,
 * nghttp2 serializes HEADERS and DATA straight into the connection's output, and
 * conn.c writes all of it once per tick. So many streams share one TLS record and one
 * system call, without a copy of the body before encryption.
 *
 * A call's stream carries the call as nghttp2's stream user data. When a call ends
 * before its stream does (deadline, cancel, oversize), the user data is cleared
 * and the stream reset; the callbacks ignore streams without a call.
 */
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

#include "wire/wire_int.h"

#define H2_SESSION_MAGIC  0x68327365u
#define BLOCKED_BYTES	  (512u * 1024) /* unsent output above which a session takes no new call */
#define CONNECTION_WINDOW (16 << 20)
#define BACKOFF_FIRST_MS  100u
#define BACKOFF_MOST_MS	  10000u
#define FAIL_FAST_MS	  1000u /* of backoff left: more than this, and nobody is kept waiting for the next try */
#define REFUSED_PAUSE_MS  20u
#define LAST_STREAM_ID	  (1 << 30) /* a fresh connection well before nghttp2 runs out of ids */
#define MAX_NV		  (WIRE_MAX_HEADERS + 5)
#define NS_PER_MS	  1000000u
#define IN_A_ROW	  16 /* calls */
#define EXPRESS_POOL	  4  /* connections an origin may have, from which on one is kept for urgent calls */
#define EXPRESS_KEEP_NS	  (60u * (uint64_t)1000000000u)

enum session_state { S_CONNECTING, S_GREETING, S_READY, S_DRAINING, S_CLOSING };
static const char *const state_names[] = {"connecting", "greeting", "ready", "draining", "closing"};

struct h2_session {
	uint32_t magic;
	enum session_state state;
	struct hm_conn conn;
	struct hm_origin *origin;
	struct hm_node node; /* origin->sessions */
	nghttp2_session *ng;
	struct hm_list calls;	      /* STREAM, oldest first */
	uint32_t streams;	      /* open, with and without a call */
	uint32_t limit;		      /* most at once: the smaller of ours and the peer's */
	uint64_t submitted, answered; /* calls */
	uint64_t produced;	      /* bytes put into the connection's output */
	uint64_t tx_seen, rx_seen;    /* already counted in stats */
	uint64_t last_rx_ns, idle_since_ns, pause_until_ns;
	bool express; /* only urgent calls, as long as there are any: they wait behind no bytes of others */
	bool over; /* its connection is being closed: `ng` is only good for deletion (it may have failed half-way) */
	bool ping_out, not_sent;    /* not_sent: nghttp2 gave the HEADERS just submitted back */
	struct hm_call *submitting; /* the call of those HEADERS */
	struct hm_timer health;
	struct hm_call *head_call; /* whose header block is arriving */
	struct answer_head head;
	struct hm_err why; /* what ended it, when we know better than the connection */
};

static void session_close(struct h2_session *s, int code, const char *fmt, ...) HM_PRINTF(3, 4);

/* -- output ---------------------------------------------------------------------------- */

/* Everything nghttp2 has to say goes into the connection's output. */
static bool drain(struct h2_session *s)
{
	const uint8_t *p;
	ssize_t n;

	if (s->over)
		return false;
	while ((n = nghttp2_session_mem_send(s->ng, &p)) > 0) {
		hm_conn_write(&s->conn, p, (size_t)n);
		s->produced += (uint64_t)n;
	}
	if (hm_unlikely(n < 0)) {
		session_close(s, n == NGHTTP2_ERR_NOMEM ? HM_ENOMEM : HM_EPROTO, "HTTP/2 with %s: %s",
			      s->origin->name.p, nghttp2_strerror((int)n));
		return false;
	}
	return true;
}

static ssize_t body_read(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t length, uint32_t *flags,
			 nghttp2_data_source *source, void *arg)
{
	struct hm_call *c = nghttp2_session_get_stream_user_data(ng, id);
	size_t left;

	if (c == NULL) /* ended early, the reset is on its way */
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	left = c->body.len - c->body_off;
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (left <= length)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)hm_min(left, length);
}

static int send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *head, size_t length,
		     nghttp2_data_source *source, void *arg)
{
	struct h2_session *s = arg;
	struct hm_call *c = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
	struct hm_buf *out = hm_conn_out(&s->conn);

	hm_assert(c != NULL && c->body.len - c->body_off >= length);
	hm_buf_put(out, head, 9);
	hm_buf_put(out, c->body.p + c->body_off, length);
	c->body_off += length;
	s->produced += 9 + length;
	return 0;
}

static nghttp2_nv nv_of(struct hm_str name, struct hm_str value, uint8_t flags)
{
	return (nghttp2_nv){
		.name = (uint8_t *)(uintptr_t)name.p,
		.value = (uint8_t *)(uintptr_t)value.p,
		.namelen = name.len,
		.valuelen = value.len,
		.flags = (uint8_t)(flags | NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE),
	};
}

/* Headers that mean a connection in HTTP/1.1 are malformed here (RFC 9113 section 8.2.2). */
static bool hop_by_hop(struct hm_str name)
{
	return hm_str_is(name, "connection") || hm_str_is(name, "host") ||
	       hm_str_is(name, "transfer-encoding") || hm_str_is(name, "keep-alive") ||
	       hm_str_is(name, "upgrade") || hm_str_is(name, "proxy-connection");
}

/* nghttp2 copies nothing: name and value must live until the frame is serialized, which happens before
 * submit_call returns. Its "no index" is the never-indexed literal; it has no other, so both of our flags
 * become that one. */
static size_t build_nv(const struct hm_call *c, nghttp2_nv *nv, char *length, size_t cap)
{
	const struct hm_origin *o = c->origin;
	struct hm_str authority = o->authority;
	bool has_length = false;
	size_t n = 4;

	for (size_t i = 0; i < c->n_headers; i++) {
		const struct hm_header *h = &c->headers[i];

		if (hm_unlikely(hop_by_hop(h->name))) {
			if (hm_str_is(h->name, "host"))
				authority = h->value;
			continue;
		}
		if (hm_str_is(h->name, "content-length"))
			has_length = true;
		nv[n++] = nv_of(h->name, h->value, h->flags ? NGHTTP2_NV_FLAG_NO_INDEX : 0);
	}
	nv[0] = nv_of(HM_STR(":method"), c->method, 0);
	nv[1] = nv_of(HM_STR(":scheme"), o->opts.tls ? HM_STR("https") : HM_STR("http"), 0);
	nv[2] = nv_of(HM_STR(":authority"), authority, 0);
	nv[3] = nv_of(HM_STR(":path"), c->path, 0);
	if (c->body.len && !has_length) {
		int len = snprintf(length, cap, "%zu", c->body.len);

		nv[n++] = nv_of(HM_STR("content-length"), hm_str_n(length, (size_t)len), 0);
	}
	return n;
}

/* Opens a stream for the call; a session that can take no more gives it back to the queue. */
static void submit_call(struct h2_session *s, struct hm_call *c)
{
	nghttp2_nv nv[MAX_NV];
	nghttp2_data_provider body = {.read_callback = body_read};
	char length[24];
	size_t n = build_nv(c, nv, length, sizeof(length));
	int32_t id;

	c->sent_off = s->produced;
	c->body_off = 0;
	id = nghttp2_submit_request(s->ng, NULL, nv, n, c->body.len ? &body : NULL, c);
	if (hm_unlikely(id < 0)) {
		if (id == NGHTTP2_ERR_NOMEM)
			call_finish(c, HM_FATE_NOT_SENT, HM_ENOMEM, "out of memory");
		else
			call_again(c, HM_ECLOSED, "the connection takes no more requests");
		s->state = S_DRAINING;
		return;
	}
	c->stream_id = id;
	c->state = CALL_STREAM;
	c->driver = s;
	hm_list_push(&s->calls, &c->node);
	s->streams++;
	s->submitted++;
	s->not_sent = false;
	s->submitting = c;
	hm_stats_inc(s->origin->wire->tick->stats, HM_CT_H2_REQUESTS);
	drain(s);
	if (c->urgent)
		hm_conn_kick_soon(&s->conn);
	if (hm_unlikely(s->not_sent)) {
		s->state = S_DRAINING;
		if (s->submitting) { /* the stream had not been opened, so there was no on_stream_close */
			hm_list_remove(&s->calls, &c->node);
			s->streams--;
			call_again(c, HM_ECLOSED, "the connection takes no more requests");
		}
	}
	s->submitting = NULL;
}

void h2_drop(struct hm_call *c)
{
	struct h2_session *s = c->driver;

	HM_CHECK(s, H2_SESSION_MAGIC);
	hm_list_remove(&s->calls, &c->node);
	if (s->head_call == c)
		s->head_call = NULL;
	if (s->state == S_CLOSING || s->over)
		return;
	nghttp2_session_set_stream_user_data(s->ng, c->stream_id, NULL);
	nghttp2_submit_rst_stream(s->ng, NGHTTP2_FLAG_NONE, c->stream_id, NGHTTP2_CANCEL);
	hm_conn_kick(&s->conn);
}

/* The call has its answer; whatever else happens on the stream is of no interest. */
static void take_answer(struct h2_session *s, struct hm_call *c, uint32_t reset)
{
	hm_list_remove(&s->calls, &c->node);
	if (s->head_call == c)
		s->head_call = NULL;
	nghttp2_session_set_stream_user_data(s->ng, c->stream_id, NULL);
	/* Answered before all of the body was wanted, or more answer than we want. */
	if (reset != NGHTTP2_NO_ERROR || !nghttp2_session_get_stream_local_close(s->ng, c->stream_id))
		nghttp2_submit_rst_stream(s->ng, NGHTTP2_FLAG_NONE, c->stream_id, reset);
	s->answered++;
	call_answered(c);
}

/* -- nghttp2 callbacks --------------------------------------------------------------------- */

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
	struct h2_session *s = arg;
	struct hm_call *c = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);

	/* Trailers come as a second block after the final one, and are not kept. */
	s->head_call = frame->hd.type == NGHTTP2_HEADERS && c && c->status == 0 ? c : NULL;
	if (s->head_call)
		answer_head_reset(&s->head);
	return 0;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	struct h2_session *s = arg;

	if (s->head_call == NULL)
		return 0;
	if (name_len && name[0] == ':') {
		if (name_len == 7 && memcmp(name, ":status", 7) == 0 &&
		    value_len == 3) /* digits: nghttp2 has checked */
			s->head.status = (value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0');
		return 0;
	}
	answer_head_add(&s->head, hm_str_n((const char *)name, name_len),
			hm_str_n((const char *)value, value_len));
	return 0;
}

static void head_complete(struct h2_session *s, struct hm_call *c)
{
	s->head_call = NULL;
	if (s->head.status < 200 && !s->head.too_large) /* 100, 103: the answer is still to come */
		return;
	if (s->head.too_large || !answer_head_store(&s->head, c)) {
		h2_drop(c);
		if (s->head.too_large)
			call_finish(c, HM_FATE_MAYBE, HM_ELIMIT,
				    "the answer's headers are larger than %zu bytes", s->head.limit);
		else
			call_finish(c, HM_FATE_MAYBE, HM_ENOMEM, "no memory for the answer's headers");
		return;
	}
	c->status = s->head.status;
}

static void on_settings(struct h2_session *s)
{
	struct hm_origin *o = s->origin;
	uint32_t peer = nghttp2_session_get_remote_settings(s->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

	s->limit = hm_min(peer, o->opts.max_streams);
	o->known_limit = s->limit;
	if (s->state == S_GREETING) {
		s->state = S_READY;
		s->idle_since_ns = o->wire->tick->now_ns;
		hm_timer_start(o->wire->tick, &s->health, 0); /* from now on it watches silence */
		HM_DEBUG(WIRE, "connected", HM_SV("origin", o->name), HM_S("peer", hm_conn_peer(&s->conn)),
			 HM_S("tls", hm_conn_tls_version(&s->conn)), HM_U("streams", s->limit));
	}
	origin_pump_later(o);
}

static void on_goaway(struct h2_session *s, const nghttp2_goaway *g)
{
	struct hm_origin *o = s->origin;
	struct hm_str data = hm_str_n((const char *)g->opaque_data, hm_min(g->opaque_data_len, (size_t)200));

	hm_stats_inc(o->wire->tick->stats, HM_CT_H2_GOAWAY);
	if (s->state < S_DRAINING)
		s->state = S_DRAINING;
	if (g->error_code != NGHTTP2_NO_ERROR) {
		hm_err_set(&s->why, HM_ECLOSED, "%s closed the connection: %s %.*s", o->name.p,
			   nghttp2_http2_strerror(g->error_code), HM_STRF(data));
		origin_note(o, &s->why);
		HM_WARN(WIRE, "provider closed the connection", HM_SV("origin", o->name),
			HM_S("reason", nghttp2_http2_strerror(g->error_code)), HM_SV("data", data));
	} else {
		HM_DEBUG(WIRE, "provider drains the connection", HM_SV("origin", o->name),
			 HM_U("streams", s->streams));
	}
	origin_pump_later(o);
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
	struct h2_session *s = arg;
	struct hm_call *c;

	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
	case NGHTTP2_DATA:
		c = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
		if (c && s->head_call == c && frame->hd.type == NGHTTP2_HEADERS) {
			head_complete(s, c);
			c = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
		}
		if (c && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) && c->status)
			take_answer(s, c, NGHTTP2_NO_ERROR);
		break;
	case NGHTTP2_SETTINGS:
		if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
			on_settings(s);
		break;
	case NGHTTP2_GOAWAY: on_goaway(s, &frame->goaway); break;
	default: break;
	}
	return 0;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
	struct h2_session *s = arg;
	struct hm_call *c = nghttp2_session_get_stream_user_data(ng, id);

	if (c && !call_append(c, p, n))
		take_answer(s, c, NGHTTP2_CANCEL); /* answer_cut is set */
	return 0;
}

static int on_not_sent(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *arg)
{
	struct h2_session *s = arg;

	if (frame->hd.type == NGHTTP2_HEADERS)
		s->not_sent = true;
	return 0;
}

/* REFUSED_STREAM, or above GOAWAY's last id: not processed (RFC 9113 section 8.7), so it may go again. */
static void on_refused(struct h2_session *s, struct hm_call *c)
{
	struct hm_origin *o = s->origin;

	if (s->state == S_READY) { /* overloaded, not leaving: let others go first */
		uint32_t pause = REFUSED_PAUSE_MS << hm_min(c->tries, (uint8_t)4);

		s->pause_until_ns = o->wire->tick->now_ns +
				    (pause + wire_random(o->wire) % pause) * NS_PER_MS;
	}
	call_again(c, HM_EREFUSED, "the peer refused the stream before processing it");
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *arg)
{
	struct h2_session *s = arg;
	struct hm_call *c = nghttp2_session_get_stream_user_data(ng, id);

	hm_assert(s->streams > 0);
	if (--s->streams == 0)
		s->idle_since_ns = s->origin->wire->tick->now_ns;
	if (origin_waiting(s->origin) || s->origin->said_full)
		origin_pump_later(s->origin);
	if (c == NULL)
		return 0;
	hm_list_remove(&s->calls, &c->node);
	if (s->head_call == c)
		s->head_call = NULL;
	if (s->submitting == c && s->not_sent) {
		s->submitting = NULL;
		call_again(c, HM_ECLOSED, "the connection takes no more requests");
	} else if (code == NGHTTP2_REFUSED_STREAM) {
		on_refused(s, c);
	} else if (code == NGHTTP2_HTTP_1_1_REQUIRED && s->origin->opts.version == HM_HTTP_AUTO) {
		origin_use_http1(s->origin);
		call_again(c, HM_EREFUSED, "the peer wants HTTP/1.1");
	} else {
		call_finish(c, HM_FATE_MAYBE, HM_EPROTO, "%s ended the stream without an answer: %s",
			    s->origin->name.p, nghttp2_http2_strerror(code));
	}
	return 0;
}

static int on_ng_error(nghttp2_session *ng, int code, const char *msg, size_t len, void *arg)
{
	struct h2_session *s = arg;

	if (s->why.code == 0)
		hm_err_set(&s->why, HM_EPROTO, "HTTP/2 with %s: %.*s", s->origin->name.p, (int)len, msg);
	return 0;
}

static nghttp2_session_callbacks *callbacks_new(void)
{
	nghttp2_session_callbacks *cb;

	if (nghttp2_session_callbacks_new(&cb) != 0)
		return NULL;
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_not_sent);
	nghttp2_session_callbacks_set_send_data_callback(cb, send_data);
	nghttp2_session_callbacks_set_error_callback2(cb, on_ng_error);
	return cb;
}

static int ng_new(struct h2_session *s)
{
	const struct hm_wire_opts *o = &s->origin->wire->opts;
	nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
		 (uint32_t)hm_min(hm_max(o->max_response_bytes, (size_t)65535), (size_t)(4u << 20))},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
		 (uint32_t)hm_min(o->max_header_bytes, (size_t)UINT32_MAX)},
		{NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
	};
	nghttp2_session_callbacks *cb = callbacks_new();
	nghttp2_option *opt;
	int rc;

	if (cb == NULL)
		return NGHTTP2_ERR_NOMEM;
	if (nghttp2_option_new(&opt) != 0) {
		nghttp2_session_callbacks_del(cb);
		return NGHTTP2_ERR_NOMEM;
	}
	nghttp2_option_set_no_closed_streams(opt, 1);
	rc = nghttp2_session_client_new3(&s->ng, cb, s, opt, &s->origin->wire->mem.ng);
	nghttp2_option_del(opt);
	nghttp2_session_callbacks_del(cb);
	if (rc == 0)
		rc = nghttp2_submit_settings(s->ng, NGHTTP2_FLAG_NONE, settings, hm_countof(settings));
	if (rc == 0)
		rc = nghttp2_session_set_local_window_size(s->ng, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW);
	return rc;
}

/* -- a session's connection ------------------------------------------------------------------- */

static void count_bytes(struct h2_session *s)
{
	struct hm_stats *stats = s->origin->wire->tick->stats;

	hm_stats_add(stats, HM_CT_WIRE_TX_BYTES, s->conn.tx_bytes - s->tx_seen);
	hm_stats_add(stats, HM_CT_WIRE_RX_BYTES, s->conn.rx_bytes - s->rx_seen);
	s->tx_seen = s->conn.tx_bytes;
	s->rx_seen = s->conn.rx_bytes;
}

static void session_close(struct h2_session *s, int code, const char *fmt, ...)
{
	char text[sizeof(s->why.text)];
	va_list ap;

	if (s->state == S_CLOSING)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (s->why.code == 0)
		hm_err_set(&s->why, code, "%s", text);
	s->over = true;
	/* What has not been counted as a failure to connect yet is judged by the state it ends in. */
	hm_conn_close(&s->conn, &s->why);
}

static void on_open(struct hm_conn *conn)
{
	struct h2_session *s = conn->arg;
	struct hm_origin *o = s->origin;
	struct hm_str alpn = hm_conn_alpn(conn);

	HM_CHECK(s, H2_SESSION_MAGIC);
	if (o->opts.tls && !hm_str_is(alpn, "h2")) {
		if (o->opts.version == HM_HTTP_AUTO) {
			origin_use_http1(o);
			hm_conn_close(conn, NULL);
		} else {
			session_close(s, HM_EPROTO, "%s does not offer HTTP/2 (ALPN)", o->name.p);
		}
		return;
	}
	if (ng_new(s) != 0) {
		session_close(s, HM_ENOMEM, "out of memory");
		return;
	}
	s->state = S_GREETING;
	hm_stats_inc(o->wire->tick->stats, HM_CT_H2_CONNECTS);
	s->last_rx_ns = o->wire->tick->now_ns;
	hm_timer_start(o->wire->tick, &s->health, o->wire->opts.connect_timeout_ms);
	hm_conn_kick(conn);
}

/* The session has nothing more to do: its streams are over and it takes no new ones. */
static void maybe_finished(struct h2_session *s)
{
	if (s->state == S_CLOSING || s->over || s->ng == NULL)
		return;
	if (s->state == S_DRAINING && s->streams == 0) {
		/* GOAWAY (ours) leaves with the next flush; nghttp2 then wants neither to read nor to write. */
		nghttp2_session_terminate_session(s->ng, NGHTTP2_NO_ERROR);
		hm_conn_kick(&s->conn);
	}
}

static void on_read(struct hm_conn *conn, const uint8_t *p, size_t n)
{
	struct h2_session *s = conn->arg;
	ssize_t rc;

	HM_CHECK(s, H2_SESSION_MAGIC);
	if (s->over)
		return;
	s->last_rx_ns = s->origin->wire->tick->now_ns;
	s->ping_out = false;
	rc = nghttp2_session_mem_recv(s->ng, p, n);
	if (rc < 0) {
		session_close(s, rc == NGHTTP2_ERR_NOMEM ? HM_ENOMEM : HM_EPROTO, "HTTP/2 with %s: %s",
			      s->origin->name.p, nghttp2_strerror((int)rc));
		return;
	}
	maybe_finished(s);
	hm_conn_kick(conn);
}

static void on_flush(struct hm_conn *conn)
{
	struct h2_session *s = conn->arg;

	HM_CHECK(s, H2_SESSION_MAGIC);
	count_bytes(s);
	if (s->ng == NULL || s->state == S_CLOSING || !drain(s))
		return;
	if (nghttp2_session_want_read(s->ng) == 0 && nghttp2_session_want_write(s->ng) == 0) {
		if (s->why.code)
			session_close(s, s->why.code, "%s", s->why.text);
		else if (s->state == S_DRAINING)
			hm_conn_finish(conn); /* our GOAWAY is in the output */
		else
			session_close(s, HM_EPROTO, "HTTP/2 with %s broke down", s->origin->name.p);
	}
}

static void on_drain(struct hm_conn *conn)
{
	struct h2_session *s = conn->arg;

	origin_pump_later(s->origin);
}

static void on_health(struct hm_timer *t)
{
	struct h2_session *s = hm_container_of(t, struct h2_session, health);
	const struct hm_wire_opts *o = &s->origin->wire->opts;
	struct hm_tick *tick = s->origin->wire->tick;
	uint64_t silent_ms, idle_ms, next = UINT64_MAX;

	HM_CHECK(s, H2_SESSION_MAGIC);
	if (s->state == S_GREETING) {
		session_close(s, HM_ETIMEDOUT,
			      "%s accepted the connection but sent no HTTP/2 SETTINGS in %u ms",
			      s->origin->name.p, o->connect_timeout_ms);
		return;
	}
	if (s->state == S_CLOSING || s->over || s->ng == NULL)
		return;
	silent_ms = (tick->now_ns - s->last_rx_ns) / NS_PER_MS;
	idle_ms = s->streams ? 0 : (tick->now_ns - s->idle_since_ns) / NS_PER_MS;
	if (o->idle_close_ms) {
		if (s->streams == 0 && idle_ms >= o->idle_close_ms) {
			s->state = S_DRAINING;
			maybe_finished(s);
			return;
		}
		next = o->idle_close_ms - idle_ms;
	}
	if (o->idle_ping_ms) {
		if (s->ping_out && silent_ms >= o->idle_ping_ms) {
			session_close(s, HM_ETIMEDOUT, "%s did not answer a PING in %u ms", s->origin->name.p,
				      o->idle_ping_ms);
			return;
		}
		if (silent_ms >= o->idle_ping_ms) {
			s->ping_out = true;
			s->last_rx_ns = tick->now_ns; /* the answer has as long again */
			nghttp2_submit_ping(s->ng, NGHTTP2_FLAG_NONE, NULL);
			hm_conn_kick(&s->conn);
			silent_ms = 0;
		}
		next = hm_min(next, o->idle_ping_ms - silent_ms);
	}
	if (next != UINT64_MAX)
		hm_timer_start(tick, &s->health, hm_max(next, (uint64_t)1));
}

static void backoff(struct hm_origin *o)
{
	uint64_t most = BACKOFF_FIRST_MS << hm_min(o->fails, 10u);

	o->fails++;
	most = hm_min(most, (uint64_t)BACKOFF_MOST_MS);
	/* Between half and all of it, so that many shards do not knock together. */
	o->next_try_ns = o->wire->tick->now_ns +
			 (most / 2 + wire_random(o->wire) % (most / 2 + 1)) * NS_PER_MS;
}

/* The calls of a dead connection: those whose bytes never left go again, the others may have arrived. */
static void orphan_calls(struct h2_session *s, const struct hm_err *why)
{
	uint64_t taken = hm_conn_taken(&s->conn);

	while (!hm_list_empty(&s->calls)) {
		/* From the youngest to the oldest, because each goes back to the head of the queue. */
		struct hm_node *n = s->calls.head.prev;
		struct hm_call *c = hm_container_of(n, struct hm_call, node);

		hm_list_remove(&s->calls, n);
		if (c->sent_off >= taken)
			call_again(c, why->code, why->text);
		else
			call_finish(c, HM_FATE_MAYBE, why->code, "%s", why->text);
	}
}

static bool any_other(const struct hm_origin *o, const struct h2_session *but)
{
	hm_list_foreach (&o->sessions, n) {
		const struct h2_session *s = hm_container_of(n, const struct h2_session, node);

		if (s != but && s->state <= S_READY)
			return true;
	}
	return false;
}

static void on_close(struct hm_conn *conn, const struct hm_err *conn_why)
{
	struct h2_session *s = conn->arg;
	struct hm_origin *o = s->origin;
	struct hm_wire *w = o->wire;
	struct hm_err why = s->why.code ? s->why : *conn_why;
	enum session_state was = s->state;
	bool to_http1 = o->http1;

	HM_CHECK(s, H2_SESSION_MAGIC);
	count_bytes(s);
	s->state = S_CLOSING;
	hm_list_remove(&o->sessions, &s->node);
	if (o->last == s)
		o->last = NULL;
	orphan_calls(s, &why);
	/* A connection that served nobody is a failure too, or a peer that only hangs up would be dialled for ever. */
	if (!w->closing && !to_http1 &&
	    (was < S_READY || (s->answered == 0 && (s->submitted || origin_waiting(o))))) {
		backoff(o);
		origin_note(o, &why);
		HM_WARN(WIRE, "no connection to provider", HM_SV("origin", o->name), HM_E(&why),
			HM_U("again_in_ms", (o->next_try_ns - w->tick->now_ns) / NS_PER_MS));
		if (was < S_READY && !any_other(o, s))
			origin_fail_waiting(o, &why);
	} else if (why.code != HM_ECANCELLED && !w->closing) {
		if (was == S_READY)
			origin_note(o, &why);
		HM_DEBUG(WIRE, "connection to provider ended", HM_SV("origin", o->name), HM_E(&why));
	}
	hm_timer_stop(w->tick, &s->health);
	if (s->ng)
		nghttp2_session_del(s->ng);
	hm_stats_sub(w->tick->stats, HM_CT_H2_CONNS, 1);
	answer_head_fini(&s->head);
	HM_MAGIC_CLEAR(s);
	free(s);
	w->sessions--;
	if (w->closing)
		wire_maybe_closed(w);
	else
		origin_pump_later(o);
}

static const struct hm_conn_ops ops = {
	.on_open = on_open,
	.on_read = on_read,
	.on_flush = on_flush,
	.on_drain = on_drain,
	.on_close = on_close,
};

static void session_new(struct hm_origin *o)
{
	struct hm_wire *w = o->wire;
	struct h2_session *s = calloc(1, sizeof(*s));
	struct hm_conn_opts co = {
		.tls = o->opts.tls ? o->tls : NULL,
		.connect_timeout_ms = w->opts.connect_timeout_ms,
		.faults = true,
		.host = o->dial_host,
		.port = o->dial_port,
		.unix_path = o->dial_unix,
		.server_name = o->opts.server_name.len ? o->opts.server_name : o->opts.host,
		.sessions = &o->tickets,
		/* An address the operator wrote down (connect_to) is meant. */
		.deny_private = o->opts.deny_private && o->opts.connect_to.len == 0,
	};
	struct hm_err e = {0};

	if (s == NULL) {
		hm_err_set(&e, HM_ENOMEM, "out of memory");
	} else {
		HM_MAGIC_SET(s, H2_SESSION_MAGIC);
		s->origin = o;
		hm_list_init(&s->calls);
		hm_timer_init(&s->health, on_health);
		answer_head_init(&s->head, w->opts.max_header_bytes);
		if (hm_conn_connect(&s->conn, w->tick, &co, &ops, s, &e) == 0) {
			hm_list_push(&o->sessions, &s->node);
			w->sessions++;
			hm_stats_inc(w->tick->stats, HM_CT_H2_CONNS);
			return;
		}
		answer_head_fini(&s->head);
		free(s);
	}
	backoff(o);
	origin_note(o, &e);
	if (!any_other(o, NULL))
		origin_fail_waiting(o, &e);
}

/* -- the pool --------------------------------------------------------------------------------- */

static uint32_t session_room(const struct h2_session *s, bool urgent)
{
	uint32_t limit = s->limit;

	if (s->state != S_READY || s->over || !hm_conn_usable(&s->conn) ||
	    s->pause_until_ns > s->origin->wire->tick->now_ns)
		return 0;
	if (hm_conn_pending(&s->conn) > BLOCKED_BYTES)
		return 0;
	if (!urgent && s->express && s->origin->wire->tick->now_ns - s->origin->urgent_ns < EXPRESS_KEEP_NS)
		return 0;
	if (!urgent)
		limit -= origin_reserve(limit);
	return limit > s->streams ? limit - s->streams : 0;
}

/* Streams, with a head start for the session taken last: some calls in a row share a TLS record and a write. */
static uint32_t load_of(const struct hm_origin *o, const struct h2_session *s)
{
	return s->streams + (s == o->last ? 0 : IN_A_ROW);
}

static struct h2_session *best_session(struct hm_origin *o, bool urgent)
{
	struct h2_session *best = NULL;

	hm_list_foreach (&o->sessions, n) {
		struct h2_session *s = hm_container_of(n, struct h2_session, node);

		if (session_room(s, urgent) == 0)
			continue;
		if (urgent && s->express)
			return s;
		if (best == NULL || load_of(o, s) < load_of(o, best))
			best = s;
	}
	o->last = best;
	return best;
}

static void session_new(struct hm_origin *o);

/* An urgent call on a connection full of others waits behind their bytes, in our buffers, the kernel's and the peer's.
 * Of a pool with room for it one connection takes no others any more: the one with the fewest streams. */
static void keep_express(struct hm_origin *o)
{
	struct h2_session *least = NULL;
	uint64_t now = o->wire->tick->now_ns;
	uint32_t ready = 0, starting = 0;

	o->urgent_ns = now;
	if (o->opts.max_connections < EXPRESS_POOL)
		return;
	hm_list_foreach (&o->sessions, n) {
		struct h2_session *s = hm_container_of(n, struct h2_session, node);

		starting += s->state < S_READY;
		if (s->state != S_READY)
			continue;
		if (s->express)
			return;
		ready++;
		if (least == NULL || s->streams < least->streams)
			least = s;
	}
	if (ready >= 2)
		least->express = true;
	else if (ready == 1 && starting == 0 && now >= o->next_try_ns)
		session_new(o);
}

static void wake_at(struct hm_origin *o, uint64_t when_ns)
{
	uint64_t now = o->wire->tick->now_ns;

	hm_timer_start(o->wire->tick, &o->retry, when_ns > now ? (when_ns - now) / NS_PER_MS + 1 : 0);
}

/* More calls than streams: one more connection at a time, when backoff and the limit allow. */
static void grow(struct hm_origin *o)
{
	uint64_t now = o->wire->tick->now_ns, wake = UINT64_MAX;
	uint32_t using = 0, starting = 0;

	hm_list_foreach (&o->sessions, n) {
		const struct h2_session *s = hm_container_of(n, const struct h2_session, node);

		using += s->state <= S_READY;
		starting += s->state < S_READY;
		if (s->state == S_READY && s->pause_until_ns > now)
			wake = hm_min(wake, s->pause_until_ns);
	}
	if (starting == 0 && using < o->opts.max_connections &&
	    o->sessions.len < 4ul * o->opts.max_connections) {
		if (now >= o->next_try_ns) {
			session_new(o);
			return;
		}
		if (using == 0 && o->next_try_ns - now > FAIL_FAST_MS * (uint64_t)NS_PER_MS) {
			/* Down for a while already: better told at once, so that another route can be taken. */
			origin_fail_waiting(o, &o->last_err);
			return;
		}
		wake = hm_min(wake, o->next_try_ns);
	}
	if (wake != UINT64_MAX)
		wake_at(o, wake);
}

void h2_pump(struct hm_origin *o)
{
	struct h2_session *s;

	if (o->wire->closing)
		return;
	if (!hm_list_empty(&o->urgent))
		keep_express(o);
	while (!hm_list_empty(&o->urgent) && (s = best_session(o, true)) != NULL)
		submit_call(s, origin_next(o, true));
	while (!hm_list_empty(&o->normal) && (s = best_session(o, false)) != NULL)
		submit_call(s, origin_next(o, false));
	hm_list_foreach_safe (&o->sessions, n, next) {
		s = hm_container_of(n, struct h2_session, node);
		if (s->state == S_READY && s->ng &&
		    nghttp2_session_get_next_stream_id(s->ng) > (uint32_t)LAST_STREAM_ID)
			s->state = S_DRAINING;
		maybe_finished(s);
	}
	if (origin_waiting(o))
		grow(o);
}

static void on_retry(struct hm_timer *t)
{
	struct hm_origin *o = hm_container_of(t, struct hm_origin, retry);

	HM_CHECK(o, HM_ORIGIN_MAGIC);
	origin_pump_later(o);
}

size_t h2_room(const struct hm_origin *o, bool urgent)
{
	uint32_t using = 0, fresh = o->known_limit ? hm_min(o->known_limit, o->opts.max_streams)
						   : hm_min(100u, o->opts.max_streams);
	size_t room = 0;

	if (!urgent)
		fresh -= origin_reserve(fresh);
	hm_list_foreach (&o->sessions, n) {
		const struct h2_session *s = hm_container_of(n, const struct h2_session, node);

		if (s->state == S_READY)
			room += session_room(s, urgent);
		else if (s->state < S_READY)
			room += fresh;
		using += s->state <= S_READY;
	}
	/* A connection that could be opened counts too; otherwise nobody would ever ask for the first one. */
	if (using < o->opts.max_connections)
		room += (size_t)(o->opts.max_connections - using) * fresh;
	return room;
}

void h2_origin_init(struct hm_origin *o)
{
	hm_list_init(&o->sessions);
	hm_tls_sessions_init(&o->tickets);
	hm_timer_init(&o->retry, on_retry);
}

void h2_origin_fini(struct hm_origin *o)
{
	hm_assert(hm_list_empty(&o->sessions));
	hm_timer_stop(o->wire->tick, &o->retry);
	hm_tls_sessions_fini(&o->tickets);
}

void h2_close_all(struct hm_origin *o)
{
	hm_timer_stop(o->wire->tick, &o->retry);
	hm_list_foreach (&o->sessions, n) {
		struct h2_session *s = hm_container_of(n, struct h2_session, node);

		if (s->ng && s->state == S_READY && !s->over) {
			s->state = S_DRAINING;
			nghttp2_session_terminate_session(s->ng, NGHTTP2_NO_ERROR);
			if (drain(s))
				hm_conn_finish(&s->conn);
		} else {
			hm_conn_close(&s->conn, NULL);
		}
	}
}

void h2_describe(const struct hm_origin *o, struct hm_buf *out)
{
	bool first = true;

	hm_buf_printf(out,
		      ",\"handshakes\":{\"full\":%llu,\"resumed\":%llu},\"failures\":%u,\"connections\":[",
		      (unsigned long long)o->tickets.full, (unsigned long long)o->tickets.resumed, o->fails);
	hm_list_foreach (&o->sessions, n) {
		const struct h2_session *s = hm_container_of(n, const struct h2_session, node);

		hm_buf_printf(out, "%s{\"state\":\"%s\",\"peer\":\"", first ? "" : ",",
			      state_names[s->state]);
		hm_buf_json(out, hm_str_c(hm_conn_peer(&s->conn)));
		hm_buf_printf(out,
			      "\",\"tls\":\"%s\",\"streams\":%u,\"limit\":%u,\"answered\":%llu,\"unsent_"
			      "bytes\":%zu}",
			      s->state >= S_GREETING ? hm_conn_tls_version(&s->conn) : "", s->streams,
			      s->limit, (unsigned long long)s->answered, hm_conn_pending(&s->conn));
		first = false;
	}
	hm_buf_putc(out, ']');
}
