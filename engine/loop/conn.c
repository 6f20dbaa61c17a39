/*
 * conn.c - connections: dialling, TLS, one write per tick, two-phase close
 *
 * Life of the bytes going out:
 *
 *   hm_conn_out -> out --SSL_write--> enc --swap--> tx --uv_try_write, rest uv_write--> kernel
 *                    \________________swap (clear)____/
 *
 * While a uv_write is under way (`writing`) tx belongs to libuv; new clear text waits
 * in out, so a slow peer never makes us encrypt what may have to be thrown away, and
 * `out` is what back-pressure counts.
 *
 * A handle exists from connect/accept until on_close; that the close callback of
 * libuv comes from the loop is what makes on_close come from the loop, always.
 */
#include <netdb.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/log.h"
#include "loop/conn.h"

#define READ_BYTES	   (64u * 1024)
#define PLAIN_BYTES	   (16u * 1024) /* largest TLS record, RFC 8446 section 5.1 */
#define SPARE_BUFS	   64
#define SPARE_BYTES	   (512u * 1024) /* a larger one is freed, not kept */
#define DEFAULT_CONNECT_MS 10000
#define DEFAULT_LINGER_MS  1000
#define DEFAULT_HIGH_BYTES (256u * 1024)
#define DEFAULT_MAX_BYTES  (64u * 1024 * 1024)
#define MIN_ADDRESS_MS	   250 /* least time one of several addresses gets */

/* What all connections of a thread share. Gone with the last of them. */
struct shared {
	unsigned users;
	unsigned n_spare;
	struct hm_buf spare[SPARE_BUFS];
	char in[READ_BYTES];
	uint8_t plain[PLAIN_BYTES];
};
static _Thread_local struct shared *shared;

struct hm_conn_dial {
	struct hm_conn *conn;
	uv_getaddrinfo_t resolve;
	uv_connect_t connect;
	struct addrinfo *found, *next;
	struct sockaddr_storage numeric;
	uint64_t give_up_ns;
	uint32_t timeout_ms;
	uint16_t port;
	bool resolving, deny_private, skipped_private;
	int last_error; /* of the address tried last */
	char host[256];
};

static void on_flush(struct hm_flush *f);
static void on_timer(struct hm_timer *t);
static void push(struct hm_conn *c);
static void dial_next(struct hm_conn *c);

/* -- shared buffers ------------------------------------------------------------- */

/* libuv writes with write(2): a peer that went away must be an error code, not the end of the process. */
static void ignore_sigpipe(void)
{
	struct sigaction sa;

	if (sigaction(SIGPIPE, NULL, &sa) == 0 && sa.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
}

static bool shared_get(void)
{
	static pthread_once_t sigpipe_once = PTHREAD_ONCE_INIT;

	pthread_once(&sigpipe_once, ignore_sigpipe);
	if (shared == NULL) {
		shared = malloc(sizeof(*shared));
		if (shared == NULL)
			return false;
		shared->users = shared->n_spare = 0;
	}
	shared->users++;
	return true;
}

static void shared_put(void)
{
	if (--shared->users > 0)
		return;
	while (shared->n_spare > 0)
		hm_buf_fini(&shared->spare[--shared->n_spare]);
	free(shared);
	shared = NULL;
}

static void borrow(struct hm_buf *b, size_t max)
{
	if (b->p != NULL || b->err)
		return;
	if (shared->n_spare > 0) {
		*b = shared->spare[--shared->n_spare];
		b->max = max;
		hm_buf_reset(b);
	} else {
		hm_buf_init(b, max);
	}
}

static void give_back(struct hm_buf *b)
{
	if (b->p != NULL && b->cap <= SPARE_BYTES && shared->n_spare < SPARE_BUFS)
		shared->spare[shared->n_spare++] = *b;
	else
		hm_buf_fini(b);
	memset(b, 0, sizeof(*b));
}

static void swap(struct hm_buf *a, struct hm_buf *b)
{
	struct hm_buf t = *a;

	*a = *b;
	*b = t;
}

/* -- OpenSSL's view of the connection: reads from tls_in, writes to enc ------------ */

static BIO_METHOD *bio_method;
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static int bio_read(BIO *b, char *out, int cap)
{
	struct hm_conn *c = BIO_get_data(b);
	size_t n = hm_min(c->tls_in_len, (size_t)cap);

	BIO_clear_retry_flags(b);
	if (n == 0) {
		if (c->eof)
			return 0;
		BIO_set_retry_read(b);
		return -1;
	}
	memcpy(out, c->tls_in, n);
	c->tls_in += n;
	c->tls_in_len -= n;
	return (int)n;
}

static int bio_write(BIO *b, const char *p, int n)
{
	struct hm_conn *c = BIO_get_data(b);

	BIO_clear_retry_flags(b);
	borrow(&c->enc, c->max_bytes + READ_BYTES);
	hm_buf_put(&c->enc, p, (size_t)n);
	return c->enc.err ? -1 : n;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
	struct hm_conn *c = BIO_get_data(b);

	switch (cmd) {
	case BIO_CTRL_FLUSH: return 1;
	case BIO_CTRL_EOF: return c->eof && c->tls_in_len == 0;
	default: return 0;
	}
}

static int bio_create(BIO *b)
{
	BIO_set_init(b, 1);
	return 1;
}

static void bio_method_new(void)
{
	bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "hermod connection");
	hm_assert(bio_method != NULL);
	BIO_meth_set_read(bio_method, bio_read);
	BIO_meth_set_write(bio_method, bio_write);
	BIO_meth_set_ctrl(bio_method, bio_ctrl);
	BIO_meth_set_create(bio_method, bio_create);
}

static int set_peer_name(struct hm_conn *c, struct hm_str name, struct hm_err *e)
{
	struct sockaddr_storage a;
	X509_VERIFY_PARAM *param = SSL_get0_param(c->ssl);
	char text[256];

	if (name.len == 0)
		return 0;
	if (name.len >= sizeof(text))
		return hm_err_set(e, HM_EINVAL, "the server name is too long");
	memcpy(text, name.p, name.len);
	text[name.len] = '\0';
	if (hm_addr_parse(name, 0, &a)) /* an address is never SNI, RFC 6066 section 3 */
		return X509_VERIFY_PARAM_set1_ip_asc(param, text) == 1
			       ? 0
			       : hm_err_set(e, HM_ENOMEM, "out of memory");
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (X509_VERIFY_PARAM_set1_host(param, text, name.len) != 1 ||
	    SSL_set_tlsext_host_name(c->ssl, text) != 1)
		return hm_err_set(e, HM_EINVAL, "'%s' is no usable server name", text);
	return 0;
}

static int tls_init(struct hm_conn *c, const struct hm_conn_opts *o, struct hm_err *e)
{
	BIO *bio;

	if (hm_tls_is_server(o->tls) != c->is_server)
		return hm_err_set(e, HM_EINVAL, "a TLS context of the wrong side");
	pthread_once(&bio_once, bio_method_new);
	c->ssl = SSL_new(hm_tls_ctx(o->tls));
	bio = c->ssl ? BIO_new(bio_method) : NULL;
	if (bio == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	BIO_set_data(bio, c);
	SSL_set_bio(c->ssl, bio, bio); /* takes one reference for both ends */
	c->tls = hm_tls_ref(o->tls);
	if (c->is_server) {
		SSL_set_accept_state(c->ssl);
		return 0;
	}
	SSL_set_connect_state(c->ssl);
	if (o->sessions) {
		SSL_SESSION *session = hm_tls_sessions_take(o->sessions);

		c->sessions = o->sessions;
		hm_tls_set_session_sink(c->ssl, o->sessions);
		if (session) {
			SSL_set_session(c->ssl, session);
			SSL_SESSION_free(session);
		}
	}
	return set_peer_name(c, o->server_name.len ? o->server_name : o->host, e);
}

/* -- birth and death --------------------------------------------------------------- */

static int conn_init(struct hm_conn *c, struct hm_tick *t, const struct hm_conn_opts *o,
		     const struct hm_conn_ops *ops, void *arg, struct hm_err *e)
{
	HM_CHECK(t, HM_TICK_MAGIC);
	memset(c, 0, sizeof(*c));
	if (!shared_get())
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	HM_MAGIC_SET(c, HM_CONN_MAGIC);
	c->tick = t;
	c->ops = ops;
	c->arg = arg;
	c->high_bytes = o->high_bytes ? o->high_bytes : DEFAULT_HIGH_BYTES;
	c->max_bytes = o->max_bytes ? o->max_bytes : DEFAULT_MAX_BYTES;
	c->linger_ms = o->linger_ms ? o->linger_ms : DEFAULT_LINGER_MS;
	c->faults = o->faults;
	hm_flush_init(&c->flush, on_flush);
	hm_timer_init(&c->timer, on_timer);
	return 0;
}

/* Gives back everything but the uv handle. */
static void conn_free(struct hm_conn *c)
{
	hm_flush_cancel(c->tick, &c->flush);
	hm_timer_stop(c->tick, &c->timer);
	if (c->dial) {
		if (c->dial->found)
			uv_freeaddrinfo(c->dial->found);
		free(c->dial);
		c->dial = NULL;
	}
	if (c->ssl) {
		SSL_free(c->ssl);
		c->ssl = NULL;
	}
	hm_tls_unref(c->tls);
	c->tls = NULL;
	give_back(&c->out);
	give_back(&c->enc);
	give_back(&c->tx);
	shared_put();
	c->state = HM_CONN_NONE;
	HM_MAGIC_CLEAR(c);
}

/* The handle and the resolver have both come home: nothing of the loop points here any more. */
static void maybe_closed(struct hm_conn *c)
{
	struct hm_err why;

	if (c->state != HM_CONN_CLOSING || c->handle_open || (c->dial && c->dial->resolving))
		return;
	why = c->why;
	conn_free(c);
	c->ops->on_close(c, &why); /* c may be gone after this */
}

static void on_handle_closed(uv_handle_t *h)
{
	struct hm_conn *c = h->data;

	HM_CHECK(c, HM_CONN_MAGIC);
	c->handle_open = false;
	if (c->state == HM_CONN_CLOSING)
		maybe_closed(c);
	else
		dial_next(c); /* the socket of the address that failed */
}

/* A last word (alert, close_notify) if the kernel takes it without waiting. */
static void last_word(struct hm_conn *c)
{
	uv_buf_t b;

	if (c->enc.len == 0 || c->writing || !c->handle_open || c->tx.len > c->tx_off)
		return;
	b = uv_buf_init(c->enc.p, (unsigned)c->enc.len);
	uv_try_write(&c->u.stream, &b, 1);
}

void hm_conn_close(struct hm_conn *c, const struct hm_err *why)
{
	enum hm_conn_state was = c->state;

	HM_CHECK(c, HM_CONN_MAGIC);
	if (was == HM_CONN_CLOSING || was == HM_CONN_NONE)
		return;
	if (why && why->code)
		c->why = *why;
	else
		hm_err_set(&c->why, HM_ECANCELLED, "closed");
	if (c->ssl && was == HM_CONN_OPEN && c->why.code != HM_ETLS) {
		if (hm_conn_pending(c) == 0)
			SSL_shutdown(c->ssl);
		ERR_clear_error();
	}
	if (was >= HM_CONN_HANDSHAKE)
		last_word(c);
	c->state = HM_CONN_CLOSING;
	hm_flush_cancel(c->tick, &c->flush);
	hm_timer_stop(c->tick, &c->timer);
	if (c->dial && c->dial->resolving)
		uv_cancel((uv_req_t *)&c->dial->resolve); /* its callback comes either way */
	if (c->handle_open && !uv_is_closing(&c->u.handle))
		uv_close(&c->u.handle, on_handle_closed);
}

static void close_with(struct hm_conn *c, int code, const char *fmt, ...) HM_PRINTF(3, 4);
static void close_with(struct hm_conn *c, int code, const char *fmt, ...)
{
	struct hm_err e;
	char text[sizeof(e.text)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	hm_err_clear(&e);
	hm_err_set(&e, code, "%s", text);
	hm_conn_close(c, &e);
}

/* -- reading -------------------------------------------------------------------------- */

static bool reading_state(const struct hm_conn *c)
{
	return c->state == HM_CONN_OPEN || c->state == HM_CONN_HANDSHAKE || c->state == HM_CONN_FINISHING;
}

static void on_end_of_input(struct hm_conn *c)
{
	if (c->state == HM_CONN_FINISHING) {
		if (c->fin_sent)
			hm_conn_close(c, NULL);
		return;
	}
	if (c->ops->on_eof)
		c->ops->on_eof(c);
	else
		close_with(c, HM_ECLOSED, "%s closed the connection", c->peer);
}

static void deliver(struct hm_conn *c, const uint8_t *p, size_t n)
{
	if (c->state == HM_CONN_OPEN)
		c->ops->on_read(c, p, n);
}

static void become_open(struct hm_conn *c)
{
	c->state = HM_CONN_OPEN;
	c->announced = true;
	hm_timer_stop(c->tick, &c->timer);
	hm_flush_later(c->tick, &c->flush); /* what was written before there was somebody to read it */
	if (c->ops->on_open)
		c->ops->on_open(c);
}

static void tls_failed(struct hm_conn *c)
{
	struct hm_err e;

	hm_err_clear(&e);
	if (c->state == HM_CONN_HANDSHAKE ||
	    ERR_GET_REASON(ERR_peek_error()) != SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		hm_tls_error(c->ssl, c->peer, &e);
	} else {
		ERR_clear_error();
		hm_err_set(&e, HM_ECLOSED, "%s closed the connection", c->peer);
	}
	hm_conn_close(c, &e);
}

static void handshake(struct hm_conn *c)
{
	int rc;

	ERR_clear_error();
	rc = SSL_do_handshake(c->ssl);
	if (c->enc.len)
		hm_flush_later(c->tick, &c->flush);
	if (rc != 1) {
		if (SSL_get_error(c->ssl, rc) != SSL_ERROR_WANT_READ)
			tls_failed(c);
		return;
	}
	if (c->sessions) {
		if (SSL_session_reused(c->ssl))
			c->sessions->resumed++;
		else
			c->sessions->full++;
	}
	become_open(c);
}

/* Everything OpenSSL can make of tls_in. */
static void tls_pump(struct hm_conn *c)
{
	if (c->state == HM_CONN_HANDSHAKE)
		handshake(c);
	while (c->state == HM_CONN_OPEN || c->state == HM_CONN_FINISHING) {
		int n;

		ERR_clear_error();
		n = SSL_read(c->ssl, shared->plain, sizeof(shared->plain));
		if (n > 0) {
			deliver(c, shared->plain, (size_t)n);
			continue;
		}
		switch (SSL_get_error(c->ssl, n)) {
		case SSL_ERROR_WANT_READ: break;
		case SSL_ERROR_ZERO_RETURN:
			if (!c->eof) {
				c->eof = true;
				on_end_of_input(c);
			}
			break;
		default: tls_failed(c); break;
		}
		break;
	}
	if (c->enc.len && reading_state(c)) /* key update, session ticket request ... */
		hm_flush_later(c->tick, &c->flush);
}

static void feed(struct hm_conn *c, const uint8_t *p, size_t n)
{
	if (c->ssl == NULL) {
		deliver(c, p, n);
		return;
	}
	c->tls_in = p;
	c->tls_in_len = n;
	tls_pump(c);
	c->tls_in_len = 0;
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *b)
{
	*b = uv_buf_init(shared->in, sizeof(shared->in));
}

static void on_uv_read(uv_stream_t *s, ssize_t nread, const uv_buf_t *b)
{
	struct hm_conn *c = s->data;
	const uint8_t *p = (const uint8_t *)b->base;

	HM_CHECK(c, HM_CONN_MAGIC);
	if (nread == 0 || !reading_state(c))
		return;
	hm_tick_wake(c->tick); /* the loop may have slept since the clocks were read */
	if (nread < 0) {
		uv_read_stop(s);
		if (nread != UV_EOF) {
			close_with(c, HM_ECLOSED, "the connection to %s broke: %s", c->peer,
				   uv_strerror((int)nread));
			return;
		}
		if (c->eof) { /* close_notify was the end already */
			if (c->state == HM_CONN_FINISHING && c->fin_sent)
				hm_conn_close(c, NULL);
			return;
		}
		c->eof = true;
		if (c->ssl && c->state == HM_CONN_HANDSHAKE)
			handshake(c);
		else
			on_end_of_input(c);
		return;
	}
	c->rx_bytes += (uint64_t)nread;
	if (c->faults) {
		switch (hm_fault(HM_FAULT_wire_read)) {
		case HM_FAULT_FAIL: close_with(c, HM_EIO, "reading from %s failed", c->peer); return;
		case HM_FAULT_SHORT:
			for (ssize_t i = 0; i < nread && reading_state(c); i++)
				feed(c, p + i, 1);
			return;
		case HM_FAULT_NONE: break;
		}
	}
	feed(c, p, (size_t)nread);
}

void hm_conn_read_stop(struct hm_conn *c)
{
	HM_CHECK(c, HM_CONN_MAGIC);
	if (c->handle_open && reading_state(c))
		uv_read_stop(&c->u.stream);
}

void hm_conn_read_start(struct hm_conn *c)
{
	HM_CHECK(c, HM_CONN_MAGIC);
	if (c->handle_open && reading_state(c) && !c->eof)
		uv_read_start(&c->u.stream, on_alloc, on_uv_read);
}

/* -- writing --------------------------------------------------------------------------- */

size_t hm_conn_pending(const struct hm_conn *c)
{
	return c->out.len + c->enc.len + (c->tx.len - c->tx_off);
}

uint64_t hm_conn_taken(const struct hm_conn *c)
{
	return c->taken;
}

struct hm_buf *hm_conn_out(struct hm_conn *c)
{
	HM_CHECK(c, HM_CONN_MAGIC);
	borrow(&c->out, c->max_bytes);
	hm_conn_kick(c);
	return &c->out;
}

void hm_conn_write(struct hm_conn *c, const void *p, size_t n)
{
	hm_buf_put(hm_conn_out(c), p, n);
}

void hm_conn_kick(struct hm_conn *c)
{
	HM_CHECK(c, HM_CONN_MAGIC);
	if (c->state == HM_CONN_OPEN && !c->writing)
		hm_flush_later(c->tick, &c->flush);
}

void hm_conn_kick_soon(struct hm_conn *c)
{
	HM_CHECK(c, HM_CONN_MAGIC);
	if (c->state == HM_CONN_OPEN && !c->writing)
		hm_flush_soon(c->tick, &c->flush);
}

static bool encrypt(struct hm_conn *c)
{
	size_t off = 0;

	while (off < c->out.len) {
		int n;

		ERR_clear_error();
		n = SSL_write(c->ssl, c->out.p + off, (int)hm_min(c->out.len - off, (size_t)PLAIN_BYTES));
		if (n <= 0) {
			tls_failed(c);
			return false;
		}
		off += (size_t)n;
	}
	give_back(&c->out);
	return true;
}

static void on_written(uv_write_t *req, int status)
{
	struct hm_conn *c = req->data;

	HM_CHECK(c, HM_CONN_MAGIC);
	c->writing = false;
	if (status < 0) {
		if (c->state != HM_CONN_CLOSING)
			close_with(c, HM_ECLOSED, "the connection to %s broke: %s", c->peer,
				   uv_strerror(status));
		return;
	}
	c->tx_off += c->tx_busy;
	c->tx_bytes += c->tx_busy;
	if (c->state != HM_CONN_CLOSING)
		hm_flush_later(c->tick, &c->flush);
}

/* Writes tx; true when all of it is gone. */
static bool write_tx(struct hm_conn *c)
{
	size_t most = SIZE_MAX;
	int n, rc;
	uv_buf_t b;

	if (c->tx.len ==
	    c->tx_off) { /* also when a uv_write finished it: push() swaps an empty buffer back */
		give_back(&c->tx);
		c->tx_off = 0;
		return true;
	}
	if (c->faults) {
		switch (hm_fault(HM_FAULT_wire_write)) {
		case HM_FAULT_FAIL: close_with(c, HM_EIO, "writing to %s failed", c->peer); return false;
		case HM_FAULT_SHORT: most = 1; break;
		case HM_FAULT_NONE: break;
		}
	}
	b = uv_buf_init(c->tx.p + c->tx_off, (unsigned)hm_min(c->tx.len - c->tx_off, most));
	n = uv_try_write(&c->u.stream, &b, 1);
	if (n < 0 && n != UV_EAGAIN) {
		close_with(c, HM_ECLOSED, "the connection to %s broke: %s", c->peer, uv_strerror(n));
		return false;
	}
	if (n > 0) {
		c->tx_off += (size_t)n;
		c->tx_bytes += (size_t)n;
	}
	if (c->tx_off == c->tx.len) {
		give_back(&c->tx);
		c->tx_off = 0;
		return true;
	}
	c->tx_busy = hm_min(c->tx.len - c->tx_off, most);
	b = uv_buf_init(c->tx.p + c->tx_off, (unsigned)c->tx_busy);
	c->write_req.data = c;
	rc = uv_write(&c->write_req, &c->u.stream, &b, 1, on_written);
	if (rc < 0)
		close_with(c, HM_ECLOSED, "the connection to %s broke: %s", c->peer, uv_strerror(rc));
	else
		c->writing = true;
	return false;
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
	struct hm_conn *c = req->data;

	HM_CHECK(c, HM_CONN_MAGIC);
	if (c->state == HM_CONN_FINISHING && (status < 0 || c->eof))
		hm_conn_close(c, NULL);
}

/* FINISHING with everything written: say so to the peer, then wait for its end. */
static void say_goodbye(struct hm_conn *c)
{
	if (c->fin_sent)
		return;
	if (c->ssl && !c->notify_sent) {
		c->notify_sent = true;
		ERR_clear_error();
		SSL_shutdown(c->ssl);
		ERR_clear_error();
		push(c);
		if (c->state != HM_CONN_FINISHING || hm_conn_pending(c) > 0)
			return; /* on_written leads here again */
	}
	c->fin_sent = true;
	c->shutdown_req.data = c;
	if (uv_shutdown(&c->shutdown_req, &c->u.stream, on_shutdown) < 0)
		hm_conn_close(c, NULL);
}

/* Moves what there is towards the kernel. */
static void push(struct hm_conn *c)
{
	for (;;) {
		if (c->writing)
			return;
		if (!write_tx(c))
			return;
		if (c->out.err || c->enc.err) {
			int err = c->out.err ? c->out.err : c->enc.err;

			close_with(c, err, "more than %zu bytes wait for %s", c->max_bytes, c->peer);
			return;
		}
		if (c->state != HM_CONN_HANDSHAKE)
			c->taken += c->out.len;
		if (c->ssl && c->out.len && c->state != HM_CONN_HANDSHAKE && !encrypt(c))
			return;
		swap(c->ssl ? &c->enc : &c->out, &c->tx);
		if (c->tx.len == 0)
			return;
	}
}

static void on_flush(struct hm_flush *f)
{
	struct hm_conn *c = hm_container_of(f, struct hm_conn, flush);

	HM_CHECK(c, HM_CONN_MAGIC);
	if (!c->announced && c->state == HM_CONN_OPEN)
		become_open(c);
	if (c->state == HM_CONN_OPEN && c->ops->on_flush)
		c->ops->on_flush(c);
	if (!reading_state(c))
		return;
	push(c);
	if (!reading_state(c))
		return;
	if (hm_conn_pending(c) > c->high_bytes) {
		c->above_high = true;
	} else if (c->above_high && hm_conn_pending(c) < c->high_bytes / 2) {
		c->above_high = false;
		if (c->state == HM_CONN_OPEN && c->ops->on_drain)
			c->ops->on_drain(c);
	}
	if (c->state == HM_CONN_FINISHING && !c->writing && hm_conn_pending(c) == 0)
		say_goodbye(c);
}

void hm_conn_finish(struct hm_conn *c)
{
	HM_CHECK(c, HM_CONN_MAGIC);
	if (c->state == HM_CONN_FINISHING || c->state == HM_CONN_CLOSING)
		return;
	if (c->state != HM_CONN_OPEN) {
		hm_conn_close(c, NULL);
		return;
	}
	c->state = HM_CONN_FINISHING;
	c->linger_tx = c->tx_bytes - 1; /* as if something had been written: the first look never ends it */
	hm_timer_start(c->tick, &c->timer, c->linger_ms);
	hm_conn_read_start(c); /* to see the peer's end */
	hm_flush_later(c->tick, &c->flush);
}

/* -- dialling ---------------------------------------------------------------------------- */

static void start_stream(struct hm_conn *c)
{
	c->u.handle.data = c;
	if (!c->is_unix)
		uv_tcp_nodelay(&c->u.tcp, 1);
	c->state = c->ssl ? HM_CONN_HANDSHAKE : HM_CONN_OPEN;
	uv_read_start(&c->u.stream, on_alloc, on_uv_read);
}

static void open_handle(struct hm_conn *c)
{
	int rc = c->is_unix ? uv_pipe_init(c->tick->loop, &c->u.pipe, 0)
			    : uv_tcp_init(c->tick->loop, &c->u.tcp);

	hm_assert(rc == 0); /* no system call in either */
	c->u.handle.data = c;
	c->handle_open = true;
}

static void dial_failed(struct hm_conn *c)
{
	struct hm_conn_dial *d = c->dial;

	if (d->skipped_private && d->last_error == 0)
		close_with(c, HM_EPERM, "'%s' is a private address and not allowed here", d->host);
	else if (d->last_error == UV_ETIMEDOUT)
		close_with(c, HM_ETIMEDOUT, "no connection to %s within %u ms", c->peer, d->timeout_ms);
	else
		close_with(c, HM_ECONN, "cannot connect to %s: %s", c->peer, uv_strerror(d->last_error));
}

static uint64_t left_ms(const struct hm_conn_dial *d, const struct hm_tick *t)
{
	return d->give_up_ns > t->now_ns ? (d->give_up_ns - t->now_ns) / 1000000u : 0;
}

/* Closes the socket of a failed address; on_handle_closed takes the next one. */
static void dial_failed_address(struct hm_conn *c, int error)
{
	c->dial->last_error = error;
	if (c->dial->next == NULL || left_ms(c->dial, c->tick) == 0) {
		dial_failed(c);
		return;
	}
	hm_timer_stop(c->tick, &c->timer);
	if (!uv_is_closing(&c->u.handle))
		uv_close(&c->u.handle, on_handle_closed);
}

static void on_connected(uv_connect_t *req, int status)
{
	struct hm_conn *c = req->data;

	HM_CHECK(c, HM_CONN_MAGIC);
	if (c->state != HM_CONN_CONNECTING || uv_is_closing(&c->u.handle))
		return;
	hm_tick_wake(c->tick);
	if (status < 0) {
		dial_failed_address(c, status);
		return;
	}
	if (c->dial->found)
		uv_freeaddrinfo(c->dial->found);
	/* The handshake gets what is left of the time. */
	hm_timer_start(c->tick, &c->timer, left_ms(c->dial, c->tick));
	free(c->dial);
	c->dial = NULL;
	start_stream(c);
	if (c->ssl)
		handshake(c);
	else
		become_open(c);
}

static void dial_address(struct hm_conn *c, const struct sockaddr *a, unsigned left)
{
	uint64_t ms = left_ms(c->dial, c->tick);
	int rc;

	hm_addr_text(a, c->peer, sizeof(c->peer));
	c->dial->connect.data = c;
	rc = uv_tcp_connect(&c->dial->connect, &c->u.tcp, a, on_connected);
	if (rc < 0) {
		dial_failed_address(c, rc);
		return;
	}
	hm_timer_start(c->tick, &c->timer,
		       left > 1 ? hm_min(ms, hm_max(ms / left, (uint64_t)MIN_ADDRESS_MS)) : ms);
}

/* The next address that may be used; a fresh socket for each. */
static void dial_next(struct hm_conn *c)
{
	struct hm_conn_dial *d = c->dial;

	while (d->next) {
		struct addrinfo *ai = d->next;
		unsigned left = 1;

		d->next = ai->ai_next;
		if (d->deny_private && hm_addr_is_private(ai->ai_addr)) {
			d->skipped_private = true;
			continue;
		}
		for (struct addrinfo *n = d->next; n; n = n->ai_next)
			left++;
		if (!c->handle_open)
			open_handle(c);
		dial_address(c, ai->ai_addr, left);
		return;
	}
	if (!c->handle_open)
		open_handle(c); /* only to be closed: on_close comes from its callback */
	dial_failed(c);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	struct hm_conn *c = req->data;
	struct hm_conn_dial *d;

	HM_CHECK(c, HM_CONN_MAGIC);
	d = c->dial;
	d->resolving = false;
	d->found = res;
	if (c->state == HM_CONN_CLOSING) {
		maybe_closed(c);
		return;
	}
	hm_tick_wake(c->tick);
	if (status < 0) {
		close_with(c, HM_ECONN, "cannot resolve '%s': %s", d->host, uv_strerror(status));
		return;
	}
	c->state = HM_CONN_CONNECTING;
	d->next = res;
	dial_next(c);
}

static int dial_host(struct hm_conn *c, const struct hm_conn_opts *o, struct hm_err *e)
{
	static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct hm_conn_dial *d = c->dial;
	struct sockaddr *numeric = (struct sockaddr *)&d->numeric;
	char port[8];
	int rc;

	snprintf(c->peer, sizeof(c->peer), "%.*s:%u", (int)hm_min(o->host.len, (size_t)50), o->host.p,
		 o->port);
	if (hm_addr_parse(o->host, o->port, &d->numeric)) {
		c->state = HM_CONN_CONNECTING;
		open_handle(c);
		if (d->deny_private && hm_addr_is_private(numeric)) {
			d->skipped_private = true;
			dial_failed(c);
		} else {
			dial_address(c, numeric, 1);
		}
		return 0;
	}
	snprintf(port, sizeof(port), "%u", o->port);
	d->resolve.data = c;
	rc = uv_getaddrinfo(c->tick->loop, &d->resolve, on_resolved, d->host, port, &hints);
	if (rc < 0)
		return hm_err_set(e, rc == UV_ENOMEM ? HM_ENOMEM : HM_EINVAL, "'%s' is no usable host name",
				  d->host);
	/* Only now: a connect that fails at once must leave no handle to close. */
	open_handle(c);
	d->resolving = true;
	c->state = HM_CONN_RESOLVING;
	hm_timer_start(c->tick, &c->timer, d->timeout_ms);
	return 0;
}

static int dial_unix(struct hm_conn *c, const struct hm_conn_opts *o, struct hm_err *e)
{
	char path[108];

	if (o->unix_path.len >= sizeof(path))
		return hm_err_set(e, HM_EINVAL, "the socket path '%.*s' is too long", HM_STRF(o->unix_path));
	memcpy(path, o->unix_path.p, o->unix_path.len);
	path[o->unix_path.len] = '\0';
	snprintf(c->peer, sizeof(c->peer), "unix:%.58s", path);
	open_handle(c);
	c->state = HM_CONN_CONNECTING;
	c->dial->connect.data = c;
	uv_pipe_connect(&c->dial->connect, &c->u.pipe, path, on_connected);
	hm_timer_start(c->tick, &c->timer, c->dial->timeout_ms);
	return 0;
}

int hm_conn_connect(struct hm_conn *c, struct hm_tick *t, const struct hm_conn_opts *o,
		    const struct hm_conn_ops *ops, void *arg, struct hm_err *e)
{
	struct hm_conn_dial *d;
	int rc;

	if (o->unix_path.len == 0 && (o->host.len == 0 || o->host.len >= sizeof(d->host)))
		return hm_err_set(e, HM_EINVAL, "'%.*s' is no usable host name", HM_STRF(o->host));
	if ((rc = conn_init(c, t, o, ops, arg, e)) < 0)
		return rc;
	c->is_unix = o->unix_path.len > 0;
	d = c->dial = calloc(1, sizeof(*d));
	if (d == NULL) {
		rc = hm_err_set(e, HM_ENOMEM, "out of memory");
		goto failed;
	}
	if (o->tls && (rc = tls_init(c, o, e)) < 0)
		goto failed;
	d->conn = c;
	d->timeout_ms = o->connect_timeout_ms ? o->connect_timeout_ms : DEFAULT_CONNECT_MS;
	d->give_up_ns = t->now_ns + (uint64_t)d->timeout_ms * 1000000u;
	d->port = o->port;
	d->deny_private = o->deny_private;
	memcpy(d->host, o->host.p ? o->host.p : "", o->host.len);
	rc = c->is_unix ? dial_unix(c, o, e) : dial_host(c, o, e);
	if (rc == 0)
		return 0;
failed:
	conn_free(c);
	return rc;
}

int hm_conn_accept(struct hm_conn *c, struct hm_listener *l, const struct hm_conn_opts *o,
		   const struct hm_conn_ops *ops, void *arg, struct hm_err *e)
{
	struct sockaddr_storage a;
	int len = sizeof(a), rc;

	HM_CHECK(l, HM_LISTENER_MAGIC);
	if ((rc = conn_init(c, l->tick, o, ops, arg, e)) < 0) {
		hm_listener_drop(l);
		return rc;
	}
	c->is_server = true;
	c->is_unix = l->is_unix;
	if (o->tls && (rc = tls_init(c, o, e)) < 0) {
		conn_free(c);
		hm_listener_drop(l);
		return rc;
	}
	open_handle(c);
	rc = uv_accept(&l->u.stream, &c->u.stream);
	hm_assert(rc == 0); /* inside on_accept there is one */
	snprintf(c->peer, sizeof(c->peer), "unix");
	if (!c->is_unix && uv_tcp_getpeername(&c->u.tcp, (struct sockaddr *)&a, &len) == 0)
		hm_addr_text((struct sockaddr *)&a, c->peer, sizeof(c->peer));
	start_stream(c);
	if (c->ssl)
		hm_timer_start(c->tick, &c->timer,
			       o->connect_timeout_ms ? o->connect_timeout_ms : DEFAULT_CONNECT_MS);
	else
		hm_flush_later(c->tick, &c->flush); /* on_open */
	return 0;
}

/* One timer: an address, the handshake, or the linger of a goodbye took too long. */
static void on_timer(struct hm_timer *t)
{
	struct hm_conn *c = hm_container_of(t, struct hm_conn, timer);

	HM_CHECK(c, HM_CONN_MAGIC);
	switch (c->state) {
	case HM_CONN_RESOLVING:
		close_with(c, HM_ETIMEDOUT, "'%s' did not resolve within %u ms", c->dial->host,
			   c->dial->timeout_ms);
		break;
	case HM_CONN_CONNECTING: dial_failed_address(c, UV_ETIMEDOUT); break;
	case HM_CONN_HANDSHAKE:
		close_with(c, HM_ETIMEDOUT, "no TLS handshake with %s in time", c->peer);
		break;
	case HM_CONN_FINISHING:
		/* A peer that takes what is pending gets the time to. The timer may also be due because this thread was
		 * busy for longer than the linger and has not written a byte since. */
		if (hm_conn_pending(c) > 0 && c->tx_bytes != c->linger_tx) {
			c->linger_tx = c->tx_bytes;
			hm_timer_start(c->tick, &c->timer, c->linger_ms);
			break;
		}
		hm_conn_close(c, NULL);
		break;
	default: break;
	}
}

/* -- asking ------------------------------------------------------------------------------- */

struct hm_str hm_conn_alpn(const struct hm_conn *c)
{
	const unsigned char *p = NULL;
	unsigned n = 0;

	if (c->ssl)
		SSL_get0_alpn_selected(c->ssl, &p, &n);
	return hm_str_n((const char *)p, n);
}

const char *hm_conn_peer(const struct hm_conn *c)
{
	return c->peer;
}

bool hm_conn_peer_addr(const struct hm_conn *c, struct sockaddr_storage *a_r)
{
	int len = sizeof(*a_r);

	return !c->is_unix && c->handle_open &&
	       uv_tcp_getpeername(&c->u.tcp, (struct sockaddr *)a_r, &len) == 0;
}

const char *hm_conn_tls_version(const struct hm_conn *c)
{
	return c->ssl ? SSL_get_version(c->ssl) : "";
}
