/*
 * conn.c - bytes in, bytes out, TLS, protocol detection, faults of connections
 */
#include "conn.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "smpp.h"
#include "smtp.h"

#define PREFACE	    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define PREFACE_LEN 24
#define SEND_AT	    (256u << 10) /* write when so much is ready */
#define PENDING_MAX (256u << 20)

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
	struct sink_conn *c = h->data;

	buf->base = c->worker->rbuf;
	buf->len = WORKER_READ;
}

static void on_closed(uv_handle_t *h)
{
	struct sink_conn *c = h->data;

	HM_CHECK(c, SINK_CONN_MAGIC);
	if (c->session && c->proto == PROTO_SMTP)
		smtp_free(c);
	else if (c->session)
		smpp_free(c);
	hm_buf_fini(&c->inflight);
	hm_buf_fini(&c->pending);
	hm_buf_fini(&c->raw);
	hm_buf_fini(&c->block);
	hm_buf_fini(&c->part);
	HM_MAGIC_CLEAR(c);
	free(c);
}

void conn_close(struct sink_conn *c)
{
	struct sink_worker *w = c->worker;

	if (c->closing)
		return;
	c->closing = true;
	while (c->reqs.len)
		req_free(hm_container_of(hm_list_first(&c->reqs), struct sink_req, node));
	if (c->h2)
		h2_stop(c);
	if (c->ssl)
		SSL_free(c->ssl);
	c->ssl = NULL;
	if (hm_node_linked(&c->dirty_node))
		hm_list_remove(&w->dirty, &c->dirty_node);
	hm_list_remove(&w->conns, &c->node);
	atomic_fetch_sub(&w->sink->open_conns, 1);
	if (c->doom != DOOM_RESET || uv_tcp_close_reset(&c->tcp, on_closed) != 0)
		uv_close((uv_handle_t *)&c->tcp, on_closed);
}

void conn_linger(struct sink_conn *c)
{
	uv_os_fd_t fd;

	if (c->linger_ms)
		return;
	c->linger_ms = c->worker->now_ms;
	if (uv_fileno((uv_handle_t *)&c->tcp, &fd) != 0 || shutdown(fd, SHUT_WR) != 0)
		conn_close(c);
}

void conn_touch(struct sink_conn *c)
{
	if (!hm_node_linked(&c->dirty_node) && !c->closing)
		hm_list_push(&c->worker->dirty, &c->dirty_node);
}

/* -- TLS over the loop's own buffers ------------------------------------------ */

static int bio_read(BIO *b, char *out, int len)
{
	struct sink_conn *c = BIO_get_data(b);
	size_t n = hm_min((size_t)len, c->in_len);

	BIO_clear_retry_flags(b);
	if (n == 0) {
		BIO_set_retry_read(b);
		return -1;
	}
	memcpy(out, c->in, n);
	c->in += n;
	c->in_len -= n;
	return (int)n;
}

static int bio_write(BIO *b, const char *p, int len)
{
	struct sink_conn *c = BIO_get_data(b);
	struct sink_worker *w = c->worker;

	BIO_clear_retry_flags(b);
	if ((size_t)len > WORKER_CIPHER - w->cipher_len)
		return -1;
	memcpy(w->cipher + w->cipher_len, p, (size_t)len);
	w->cipher_len += (size_t)len;
	return len;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
	return cmd == BIO_CTRL_FLUSH;
}

BIO_METHOD *conn_bio_new(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sink");

	if (m) {
		BIO_meth_set_read(m, bio_read);
		BIO_meth_set_write(m, bio_write);
		BIO_meth_set_ctrl(m, bio_ctrl);
	}
	return m;
}

bool conn_start_tls(struct sink_conn *c)
{
	BIO *bio = BIO_new(c->worker->bio);

	c->ssl = bio ? SSL_new(c->worker->sink->tls) : NULL;
	if (!c->ssl) {
		BIO_free(bio);
		return false;
	}
	BIO_set_data(bio, c);
	BIO_set_init(bio, 1);
	SSL_set_bio(c->ssl, bio, bio);
	SSL_set_accept_state(c->ssl);
	return true;
}

/* -- out ----------------------------------------------------------------------- */

static void start_write(struct sink_conn *c);

static void on_written(uv_write_t *req, int status)
{
	struct sink_conn *c = req->data;

	HM_CHECK(c, SINK_CONN_MAGIC);
	c->writing = false;
	hm_buf_reset(&c->inflight);
	if (c->closing)
		return;
	worker_tick(c->worker);
	if (status < 0)
		c->doom = DOOM_NOW;
	else if (c->pending.len)
		start_write(c);
	conn_touch(c);
	worker_flush(c->worker);
}

static void start_write(struct sink_conn *c)
{
	struct hm_buf tmp = c->inflight;
	uv_buf_t b;

	c->inflight = c->pending;
	c->pending = tmp;
	b = uv_buf_init(c->inflight.p, (unsigned)c->inflight.len);
	c->write_req.data = c;
	if (uv_write(&c->write_req, (uv_stream_t *)&c->tcp, &b, 1, on_written) == 0)
		c->writing = true;
	else
		c->doom = DOOM_NOW;
}

/* Hands the worker's ready bytes to this connection's socket. */
static void send_ready(struct sink_conn *c)
{
	struct sink_worker *w = c->worker;
	size_t done = 0;

	if (w->cipher_len == 0)
		return;
	if (!c->writing && c->doom < DOOM_NOW) {
		uv_buf_t b = uv_buf_init(w->cipher, (unsigned)w->cipher_len);
		int n = uv_try_write((uv_stream_t *)&c->tcp, &b, 1);

		if (n > 0)
			done = (size_t)n;
		else if (n != UV_EAGAIN)
			c->doom = DOOM_NOW;
	}
	if (done < w->cipher_len && c->doom < DOOM_NOW) {
		hm_buf_put(&c->pending, w->cipher + done, w->cipher_len - done);
		if (c->pending.err)
			c->doom = DOOM_NOW;
		else if (!c->writing)
			start_write(c);
	}
	w->cipher_len = 0;
}

size_t conn_fill_raw(struct sink_conn *c, char *buf, size_t cap)
{
	size_t n = hm_min(cap, c->raw.len);

	if (n) {
		memcpy(buf, c->raw.p, n);
		hm_buf_consume(&c->raw, n);
	}
	return n;
}

static size_t fill(struct sink_conn *c, char *buf, size_t cap)
{
	size_t n = 0;

	switch (c->proto) {
	case PROTO_H2: n = h2_fill(c, buf, cap); break;
	case PROTO_H1: n = h1_fill(c, buf, cap); break;
	case PROTO_SMTP: n = smtp_fill(c, buf, cap); break;
	case PROTO_SMPP: n = smpp_fill(c, buf, cap); break;
	case PROTO_UNKNOWN: break;
	}
	if (c->raw.err) /* something is missing in it */
		c->doom = DOOM_NOW;
	return n + conn_fill_raw(c, buf + n, cap - n);
}

void conn_flush(struct sink_conn *c)
{
	struct sink_worker *w = c->worker;

	if (c->linger_ms)
		return;
	while (!c->writing && !c->mute && c->doom < DOOM_NOW && (!c->ssl || c->handshaken)) {
		size_t room = c->ssl ? WORKER_PLAIN : WORKER_CIPHER - w->cipher_len;
		char *to = c->ssl ? w->plain : w->cipher + w->cipher_len;
		size_t n = fill(c, to, hm_min(room, WORKER_PLAIN));

		if (n == 0)
			break;
		if (!c->ssl)
			w->cipher_len += n;
		else if (SSL_write(c->ssl, w->plain, (int)n) != (int)n)
			c->doom = DOOM_NOW;
		if (w->cipher_len >= SEND_AT)
			send_ready(c);
	}
	if (c->mute)
		w->cipher_len = 0;
	send_ready(c);
	if (c->doom == DOOM_AFTER_FLUSH && c->ssl && !c->writing &&
	    !(SSL_get_shutdown(c->ssl) & SSL_SENT_SHUTDOWN)) {
		SSL_shutdown(c->ssl); /* close_notify, once */
		send_ready(c);
	}
}

/* -- in ------------------------------------------------------------------------ */

static bool proto_input(struct sink_conn *c, const char *p, size_t n);

static void start_proto(struct sink_conn *c, enum conn_proto p)
{
	c->proto = p;
	if (p == PROTO_H1)
		h1_start(c);
	else if (h2_start(c) != 0)
		c->doom = DOOM_NOW;
}

/* Clear text, or TLS without ALPN: HTTP/2 announces itself by its preface. */
static bool sniff(struct sink_conn *c, const char *p, size_t n)
{
	char first[PREFACE_LEN];
	size_t take = hm_min(n, PREFACE_LEN - c->sniff_len), have;

	memcpy(c->sniff + c->sniff_len, p, take);
	c->sniff_len += take;
	have = c->sniff_len;
	if (memcmp(c->sniff, PREFACE, have) == 0) {
		if (have < PREFACE_LEN)
			return true;
		start_proto(c, PROTO_H2);
	} else {
		start_proto(c, PROTO_H1);
	}
	memcpy(first, c->sniff, have);
	return c->doom >= DOOM_NOW ||
	       (proto_input(c, first, have) && (take == n || proto_input(c, p + take, n - take)));
}

static bool proto_input(struct sink_conn *c, const char *p, size_t n)
{
	switch (c->proto) {
	case PROTO_H2: return h2_input(c, p, n);
	case PROTO_H1: return h1_input(c, p, n);
	case PROTO_SMTP: return smtp_input(c, p, n);
	case PROTO_SMPP: return smpp_input(c, p, n);
	case PROTO_UNKNOWN: break;
	}
	return sniff(c, p, n);
}

static bool handshake(struct sink_conn *c)
{
	const unsigned char *alpn;
	unsigned n;
	int rc = SSL_do_handshake(c->ssl);

	if (rc != 1)
		return SSL_get_error(c->ssl, rc) == SSL_ERROR_WANT_READ;
	c->handshaken = true;
	if (c->proto != PROTO_UNKNOWN) /* it asked for TLS itself */
		return true;
	SSL_get0_alpn_selected(c->ssl, &alpn, &n);
	if (n == 2 && memcmp(alpn, "h2", 2) == 0)
		start_proto(c, PROTO_H2);
	else if (n)
		start_proto(c, PROTO_H1);
	return true;
}

static bool tls_input(struct sink_conn *c)
{
	struct sink_worker *w = c->worker;

	if (!c->handshaken && !handshake(c))
		return false;
	while (c->handshaken && c->doom < DOOM_NOW) {
		int n = SSL_read(c->ssl, w->plain, (int)WORKER_PLAIN);

		if (n <= 0)
			return SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_READ;
		if (!proto_input(c, w->plain, (size_t)n))
			return false;
	}
	return true;
}

/* An HTTP/1.1 client may shut its side and still wait for the answers: the last one then ends the connection. */
static bool answers_due(struct sink_conn *c)
{
	if (c->proto != PROTO_H1 || c->linger_ms || c->doom)
		return false;
	if (c->cur) /* a request cut short */
		req_free(c->cur);
	if (c->reqs.len == 0)
		return false;
	hm_container_of(c->reqs.head.prev, struct sink_req, node)->keep_alive = false;
	c->deaf = true;
	return true;
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct sink_conn *c = s->data;
	struct sink_worker *w = c->worker;
	const struct knobs_conn *k = &w->knobs->conn;
	bool ok;

	HM_CHECK(c, SINK_CONN_MAGIC);
	if (n == 0)
		return;
	worker_tick(w);
	if (n < 0) {
		if (n != UV_EOF || !answers_due(c))
			c->doom = hm_max(c->doom, DOOM_NOW);
		conn_touch(c);
		worker_flush(w);
		return;
	}
	if (c->doom != DOOM_NONE || c->linger_ms || c->deaf)
		return; /* discarded */
	c->last_ms = w->now_ms;
	c->bytes_in += (uint64_t)n;
	if (k->close_after_bytes && c->bytes_in > (uint64_t)k->close_after_bytes) {
		c->doom = DOOM_NOW;
	} else if (c->ssl) {
		c->in = buf->base;
		c->in_len = (size_t)n;
		ok = tls_input(c);
		c->in_len = 0;
		if (!ok && c->doom == DOOM_NONE)
			c->doom = DOOM_AFTER_FLUSH;
		ERR_clear_error();
	} else if (!proto_input(c, buf->base, (size_t)n) && c->doom == DOOM_NONE) {
		c->doom = DOOM_AFTER_FLUSH;
	}
	conn_touch(c);
	worker_flush(w);
}

static bool begin(struct sink_conn *c, enum listener via)
{
	switch (via) {
	case LISTEN_CLEAR: return true;
	case LISTEN_TLS: return conn_start_tls(c);
	case LISTEN_SMTP: c->proto = PROTO_SMTP; return smtp_start(c);
	case LISTEN_SMPP: c->proto = PROTO_SMPP; return smpp_start(c);
	case LISTEN_COUNT: break;
	}
	hm_unreachable();
}

const char *conn_proto_name(enum conn_proto p)
{
	static const char *const names[] = {"none", "http/1.1", "h2", "smtp", "smpp"};

	return names[p];
}

void conn_new(struct sink_worker *w, int fd, enum listener via)
{
	struct sink_conn *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		atomic_fetch_sub(&w->sink->open_conns, 1);
		return;
	}
	HM_MAGIC_SET(c, SINK_CONN_MAGIC);
	c->worker = w;
	c->id = ++w->next_conn * w->sink->n_workers + w->index;
	c->goaway_last = -1;
	c->last_ms = w->now_ms;
	hm_list_init(&c->reqs);
	hm_buf_init(&c->inflight, PENDING_MAX);
	hm_buf_init(&c->pending, PENDING_MAX);
	hm_buf_init(&c->raw, 1 << 20);
	hm_buf_init(&c->block, 2 * SINK_MAX_HEAD);
	hm_buf_init(&c->part, 16 << 20);
	c->tcp.data = c;
	hm_list_push(&w->conns, &c->node);
	uv_tcp_init(&w->loop, &c->tcp);
	if (uv_tcp_open(&c->tcp, fd) != 0) {
		close(fd);
		conn_close(c);
		return;
	}
	uv_tcp_nodelay(&c->tcp, 1);
	if (!begin(c, via) || uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
		conn_close(c);
}

/* -- answers ------------------------------------------------------------------- */

uint64_t reply_body_left(const struct sink_req *r)
{
	uint64_t all = r->reply.fill ? r->reply.fill : r->reply.body.len;

	return all - r->sent;
}

size_t reply_body_read(struct sink_req *r, char *buf, size_t cap)
{
	uint64_t left = reply_body_left(r);
	size_t n = left < cap ? (size_t)left : cap;

	if (r->reply.fill)
		memset(buf, 'x', n);
	else if (n)
		memcpy(buf, r->reply.body.p + r->sent, n);
	r->sent += n;
	return n;
}

static void put_garbage(struct sink_conn *c)
{
	for (int i = 0; i < 64; i++) {
		uint64_t x = sink_rand(c->worker);

		hm_buf_put(&c->raw, &x, sizeof(x));
	}
	c->doom = DOOM_AFTER_FLUSH;
}

static void put_bad_frame(struct sink_conn *c)
{
	static const char data_on_stream_0[] = "\0\0\4\0\1\0\0\0\0oops";

	if (c->proto != PROTO_H2) {
		put_garbage(c);
		return;
	}
	hm_buf_put(&c->raw, data_on_stream_0, sizeof(data_on_stream_0) - 1);
	c->doom = DOOM_AFTER_FLUSH;
}

static void reset_stream(struct sink_req *r, uint32_t code)
{
	if (r->conn->proto == PROTO_H2)
		h2_reset(r, code);
	else
		r->conn->doom = DOOM_NOW;
}

static void proper_answer(struct sink_req *r)
{
	switch (r->conn->proto) {
	case PROTO_H2: h2_answer(r); return;
	case PROTO_SMTP: smtp_answer(r); return;
	case PROTO_SMPP: smpp_answer(r); return;
	case PROTO_H1:
	case PROTO_UNKNOWN: h1_answer(r); return;
	}
}

static void goaway_refuse(struct sink_req *r)
{
	struct sink_conn *c = r->conn;

	if (c->proto != PROTO_H2) {
		c->doom = DOOM_NOW;
		return;
	}
	if (nghttp2_session_get_last_proc_stream_id(c->h2) == r->stream_id) {
		h2_goaway(c, r->stream_id - 2 < 0 ? 0 : r->stream_id - 2);
	} else { /* later streams were taken already: this one alone is refused */
		h2_reset(r, NGHTTP2_REFUSED_STREAM);
		h2_goaway(c, -1);
	}
}

void conn_answer(struct sink_req *r)
{
	struct sink_conn *c = r->conn;

	r->state = REQ_ANSWERED;
	conn_touch(c);
	switch (r->reply.fault) {
	case FAULT_NONE:
	case FAULT_SLOW:
	case FAULT_HUGE:
	case FAULT_TRUNCATE: proper_answer(r); return;
	case FAULT_STALL: r->stalled = true; return;
	case FAULT_REFUSED: reset_stream(r, NGHTTP2_REFUSED_STREAM); return;
	case FAULT_INTERNAL: reset_stream(r, NGHTTP2_INTERNAL_ERROR); return;
	case FAULT_CANCEL: reset_stream(r, NGHTTP2_CANCEL); return;
	case FAULT_CLOSE: c->doom = DOOM_NOW; return;
	case FAULT_RESET: c->doom = DOOM_RESET; return;
	case FAULT_HALF_OPEN:
		c->mute = true;
		uv_read_stop((uv_stream_t *)&c->tcp);
		return;
	case FAULT_GOAWAY:
		if (c->proto == PROTO_H2)
			h2_goaway(c, -1);
		else
			r->keep_alive = false;
		proper_answer(r);
		return;
	case FAULT_GOAWAY_REFUSE: goaway_refuse(r); return;
	case FAULT_GARBAGE: put_garbage(c); return;
	case FAULT_BAD_FRAME: put_bad_frame(c); return;
	case FAULT_COUNT: break;
	}
	hm_unreachable();
}

void conn_timer(struct sink_req *r)
{
	HM_CHECK(r, SINK_REQ_MAGIC);
	if (r->state == REQ_WAITING) {
		conn_answer(r);
		return;
	}
	r->deferred = false;
	if (r->conn->proto == PROTO_H2)
		h2_resume(r);
	conn_touch(r->conn);
}
