/*
 * peer.h - a provider in a thread of the test: HTTP/2 (nghttp2) or HTTP/1.1 on conn.c, told by the path what to do
 *
 *   /ok            200 "ok"                      /echo       200, the body back, method in x-method
 *   /status/N      N, empty                      /big/N      200, N bytes
 *   /slow          no answer, ever               /kill       drops the TCP connection
 *   /head/N        200, a header of N bytes      /half       headers and half the body, then the connection ends
 *   /early         200 before the body is read   /info       103, then 200
 *   /trailers      200 with trailers             /slowest/N  answers when N requests are waiting, newest first
 * HTTP/2 only:
 *   /reset/CODE    RST_STREAM                    /refuse/N   RST_STREAM(REFUSED_STREAM) N times, then 200
 *   /goaway        GOAWAY that leaves this stream out; the others are answered
 *   /goaway-all    GOAWAY(2^31-1), then answers
 *   /limit/N       200, after SETTINGS_MAX_CONCURRENT_STREAMS = N
 */
#ifndef TESTS_WIRE_PEER_H
#define TESTS_WIRE_PEER_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include <nghttp2/nghttp2.h>

#include "base/buf.h"
#include "loop/conn.h"

enum peer_kind {
	PEER_H2,
	PEER_HTTP1,
	PEER_GARBAGE,	   /* greets with bytes that are no protocol */
	PEER_SILENT,	   /* accepts and says nothing */
	PEER_HANGUP,	   /* accepts and closes */
	PEER_GREET_HANGUP, /* HTTP/2 SETTINGS, then closes */
};

struct peer_conn;
struct peer {
	enum peer_kind kind;
	const char *cert, *client_ca; /* cert NULL = clear text */
	const char *alpn;
	uint32_t max_streams; /* SETTINGS at the start; 0 = not said */
	bool no_ping;	      /* never acknowledges PING */
	/* what it saw */
	atomic_uint conns, requests, streams, most_streams, resets, refused;
	/* private */
	uint16_t port;
	pthread_t thread;
	sem_t ready;
	uv_loop_t loop;
	uv_async_t stop;
	struct hm_tick tick;
	struct hm_listener listener;
	struct hm_tls *tls;
	struct hm_list list; /* peer_conn.node */
	struct hm_list parked;
	bool stopping;
	char order[4096]; /* paths in the order they came, one per line */
	size_t order_len;
	pthread_mutex_t lock;
};

struct peer_stream {
	struct hm_node node; /* conn->streams */
	struct hm_node park; /* peer->parked */
	struct peer_conn *conn;
	int32_t id;
	char method[16], path[128], length[16];
	struct hm_buf body;
	const char *answer;
	size_t answer_len, answer_off;
	bool answered;
};

struct peer_conn {
	struct hm_conn conn;
	struct peer *peer;
	struct hm_node node;
	struct hm_list streams;
	nghttp2_session *ng;
	struct hm_buf in; /* HTTP/1.1 */
	bool leave;	  /* after the next flush */
};

static char peer_filler[1 << 20];

static void peer_note(struct peer *p, const char *path)
{
	pthread_mutex_lock(&p->lock);
	p->order_len += (size_t)snprintf(p->order + p->order_len, sizeof(p->order) - p->order_len, "%s\n",
					 path);
	if (p->order_len >= sizeof(p->order))
		p->order_len = sizeof(p->order) - 1;
	pthread_mutex_unlock(&p->lock);
}

static unsigned long peer_arg(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? strtoul(slash + 1, NULL, 10) : 0;
}

static bool peer_is(const char *path, const char *prefix)
{
	return strncmp(path, prefix, strlen(prefix)) == 0;
}

/* -- HTTP/2 --------------------------------------------------------------------------------- */

static nghttp2_nv peer_nv(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
			    strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static ssize_t peer_read_body(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t cap, uint32_t *flags,
			      nghttp2_data_source *src, void *arg)
{
	struct peer_stream *s = src->ptr;
	size_t n = hm_min(cap, s->answer_len - s->answer_off);

	memcpy(buf, s->answer + s->answer_off, n);
	s->answer_off += n;
	if (s->answer_off == s->answer_len) {
		if (peer_is(s->path, "/half")) { /* say half of what was promised, then go */
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM | NGHTTP2_DATA_FLAG_EOF;
			return (ssize_t)n;
		}
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (peer_is(s->path, "/trailers")) {
			nghttp2_nv nv = peer_nv("x-trailer", "late");

			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			nghttp2_submit_trailer(ng, id, &nv, 1);
		}
	}
	return (ssize_t)n;
}

static void peer_respond(struct peer_stream *s, const char *status, const char *body, size_t len)
{
	nghttp2_data_provider prd = {.source.ptr = s, .read_callback = peer_read_body};
	nghttp2_nv nv[4] = {peer_nv(":status", status), peer_nv("x-method", s->method)};
	size_t n = 2;
	char *big = NULL;

	s->answered = true;
	s->answer = body;
	s->answer_len = len;
	s->answer_off = 0;
	if (peer_is(s->path, "/head/")) {
		size_t size = peer_arg(s->path);

		big = malloc(size + 1);
		memset(big, 'h', size);
		big[size] = '\0';
		nv[n++] = peer_nv("x-big", big);
	}
	nv[n++] = peer_nv("server", "peer");
	nghttp2_submit_response(s->conn->ng, s->id, nv, n, len ? &prd : NULL);
	free(big);
}

static void peer_unpark(struct peer *p)
{
	struct hm_node *n;

	while (p->parked.len && (n = p->parked.head.prev) != NULL) { /* newest first */
		struct peer_stream *s = hm_container_of(n, struct peer_stream, park);

		hm_list_remove(&p->parked, n);
		peer_respond(s, "200", "ok", 2);
		hm_conn_kick(&s->conn->conn);
	}
}

static void peer_act(struct peer_stream *s)
{
	struct peer_conn *c = s->conn;
	struct peer *p = c->peer;
	char status[8];

	atomic_fetch_add(&p->requests, 1);
	peer_note(p, s->path);
	if (s->answered)
		return;
	if (peer_is(s->path, "/slowest/")) {
		hm_list_push(&p->parked, &s->park);
		if (p->parked.len >= peer_arg(s->path))
			peer_unpark(p);
	} else if (peer_is(s->path, "/slow")) {
		return;
	} else if (peer_is(s->path, "/echo")) {
		peer_respond(s, "200", s->body.p, s->body.len);
	} else if (peer_is(s->path, "/status/")) {
		snprintf(status, sizeof(status), "%lu", peer_arg(s->path));
		peer_respond(s, status, "", 0);
	} else if (peer_is(s->path, "/big/")) {
		peer_respond(s, "200", peer_filler, peer_arg(s->path));
	} else if (peer_is(s->path, "/kill")) {
		hm_conn_close(&c->conn, NULL);
	} else if (peer_is(s->path, "/reset/")) {
		nghttp2_submit_rst_stream(c->ng, NGHTTP2_FLAG_NONE, s->id, (uint32_t)peer_arg(s->path));
	} else if (peer_is(s->path, "/refuse/") && atomic_fetch_add(&p->refused, 1) < peer_arg(s->path)) {
		nghttp2_submit_rst_stream(c->ng, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_REFUSED_STREAM);
	} else if (peer_is(s->path, "/goaway-all")) {
		nghttp2_submit_shutdown_notice(c->ng);
		peer_respond(s, "200", "ok", 2);
	} else if (peer_is(s->path, "/goaway")) {
		if (atomic_fetch_add(&p->refused, 1) == 0)
			nghttp2_submit_goaway(c->ng, NGHTTP2_FLAG_NONE, s->id - 2, NGHTTP2_NO_ERROR,
					      (const uint8_t *)"bye", 3);
		else
			peer_respond(s, "200", "ok", 2);
	} else if (peer_is(s->path, "/limit/")) {
		nghttp2_settings_entry e = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
					    (uint32_t)peer_arg(s->path)};

		nghttp2_submit_settings(c->ng, NGHTTP2_FLAG_NONE, &e, 1);
		peer_respond(s, "200", "ok", 2);
	} else if (peer_is(s->path, "/info")) {
		nghttp2_nv nv = peer_nv(":status", "103");

		nghttp2_submit_headers(c->ng, NGHTTP2_FLAG_NONE, s->id, NULL, &nv, 1, NULL);
		peer_respond(s, "200", "ok", 2);
	} else if (peer_is(s->path, "/half")) {
		peer_respond(s, "200", "half", 4);
		c->leave = true;
	} else {
		peer_respond(s, "200", "ok", 2);
	}
}

static int peer_begin(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct peer_conn *c = arg;
	struct peer_stream *s = calloc(1, sizeof(*s));
	unsigned now = atomic_fetch_add(&c->peer->streams, 1) + 1;

	if (now > atomic_load(&c->peer->most_streams))
		atomic_store(&c->peer->most_streams, now);
	s->conn = c;
	s->id = f->hd.stream_id;
	hm_buf_init(&s->body, 1 << 24);
	hm_list_push(&c->streams, &s->node);
	nghttp2_session_set_stream_user_data(ng, s->id, s);
	return 0;
}

static int peer_header(nghttp2_session *ng, const nghttp2_frame *f, const uint8_t *name, size_t nlen,
		       const uint8_t *value, size_t vlen, uint8_t flags, void *arg)
{
	struct peer_stream *s = nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);

	if (nlen == 5 && memcmp(name, ":path", 5) == 0)
		snprintf(s->path, sizeof(s->path), "%.*s", (int)vlen, (const char *)value);
	if (nlen == 7 && memcmp(name, ":method", 7) == 0)
		snprintf(s->method, sizeof(s->method), "%.*s", (int)vlen, (const char *)value);
	return 0;
}

static int peer_frame(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct peer_conn *c = arg;
	struct peer_stream *s;

	if (f->hd.type == NGHTTP2_RST_STREAM)
		atomic_fetch_add(&c->peer->resets, 1);
	if (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA)
		return 0;
	s = nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);
	if (s && f->hd.type == NGHTTP2_HEADERS && peer_is(s->path, "/early"))
		peer_respond(s, "200", "ok", 2);
	if (s && (f->hd.flags & NGHTTP2_FLAG_END_STREAM))
		peer_act(s);
	return 0;
}

static int peer_chunk(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
	struct peer_stream *s = nghttp2_session_get_stream_user_data(ng, id);

	if (s)
		hm_buf_put(&s->body, p, n);
	return 0;
}

static void peer_stream_free(struct peer_stream *s)
{
	if (hm_node_linked(&s->park))
		hm_list_remove(&s->conn->peer->parked, &s->park);
	hm_list_remove(&s->conn->streams, &s->node);
	atomic_fetch_sub(&s->conn->peer->streams, 1);
	hm_buf_fini(&s->body);
	free(s);
}

static int peer_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *arg)
{
	struct peer_stream *s = nghttp2_session_get_stream_user_data(ng, id);

	if (s)
		peer_stream_free(s);
	return 0;
}

static ssize_t peer_send(nghttp2_session *ng, const uint8_t *p, size_t n, int flags, void *arg)
{
	struct peer_conn *c = arg;

	hm_conn_write(&c->conn, p, n);
	return (ssize_t)n;
}

static void peer_h2_start(struct peer_conn *c)
{
	nghttp2_settings_entry e = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, c->peer->max_streams};
	nghttp2_session_callbacks *cb;
	nghttp2_option *opt;

	nghttp2_session_callbacks_new(&cb);
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, peer_begin);
	nghttp2_session_callbacks_set_on_header_callback(cb, peer_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, peer_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, peer_chunk);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, peer_stream_close);
	nghttp2_session_callbacks_set_send_callback(cb, peer_send);
	nghttp2_option_new(&opt);
	if (c->peer->no_ping)
		nghttp2_option_set_no_auto_ping_ack(opt, 1);
	nghttp2_session_server_new2(&c->ng, cb, c, opt);
	nghttp2_option_del(opt);
	nghttp2_session_callbacks_del(cb);
	nghttp2_submit_settings(c->ng, NGHTTP2_FLAG_NONE, &e, c->peer->max_streams ? 1 : 0);
	hm_conn_kick(&c->conn);
}

/* -- HTTP/1.1 ---------------------------------------------------------------------------------- */

static void peer_http1_answer(struct peer_conn *c, const char *method, const char *path, struct hm_str body)
{
	struct hm_buf *out;
	const char *status = "200 OK";
	struct hm_str answer = HM_STR("ok");
	char text[64];

	atomic_fetch_add(&c->peer->requests, 1);
	peer_note(c->peer, path);
	if (peer_is(path, "/slow"))
		return;
	if (peer_is(path, "/kill")) {
		hm_conn_close(&c->conn, NULL);
		return;
	}
	if (peer_is(path, "/echo"))
		answer = body;
	if (peer_is(path, "/status/")) {
		snprintf(text, sizeof(text), "%lu X", peer_arg(path));
		status = text;
		answer = HM_STR("");
	}
	if (peer_is(path, "/big/"))
		answer = hm_str_n(peer_filler, peer_arg(path));
	out = hm_conn_out(&c->conn);
	if (peer_is(path, "/info"))
		hm_buf_lit(out, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
	hm_buf_printf(out, "HTTP/1.1 %s\r\nX-Method: %s\r\nServer: peer\r\n", status, method);
	if (peer_is(path, "/head/"))
		hm_buf_printf(out, "X-Big: %.*s\r\n", (int)peer_arg(path), peer_filler);
	if (peer_is(path, "/trailers")) {
		hm_buf_lit(out, "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Trailer: late\r\n\r\n");
		return;
	}
	if (peer_is(path, "/half")) {
		hm_buf_lit(out, "Content-Length: 8\r\n\r\nhalf");
		hm_conn_finish(&c->conn);
		return;
	}
	hm_buf_printf(out, "Content-Length: %zu\r\n\r\n", answer.len);
	hm_buf_puts(out, answer);
}

static void peer_http1_read(struct peer_conn *c, const uint8_t *p, size_t n)
{
	hm_buf_put(&c->in, p, n);
	for (;;) {
		char method[16], path[128], *end, *cl;
		size_t head, len = 0;
		const char *text = hm_buf_cstr(&c->in);

		end = strstr((char *)(uintptr_t)text, "\r\n\r\n");
		if (end == NULL || sscanf(text, "%15s %127s", method, path) != 2)
			return;
		head = (size_t)(end - text) + 4;
		cl = strcasestr(text, "content-length:");
		if (cl && cl < end)
			len = strtoul(cl + 15, NULL, 10);
		if (c->in.len < head + len)
			return;
		peer_http1_answer(c, method, path, hm_str_n(c->in.p + head, len));
		hm_buf_consume(&c->in, head + len);
	}
}

/* -- connections ---------------------------------------------------------------------------------- */

static void peer_on_open(struct hm_conn *conn)
{
	struct peer_conn *c = conn->arg;
	static const char garbage[] = "\x01\x02 220 this is not what you are looking for\r\n";

	switch (c->peer->kind) {
	case PEER_H2: peer_h2_start(c); break;
	case PEER_HTTP1: break;
	case PEER_GARBAGE: hm_conn_write(conn, garbage, sizeof(garbage) - 1); break;
	case PEER_SILENT: break;
	case PEER_HANGUP: hm_conn_close(conn, NULL); break;
	case PEER_GREET_HANGUP:
		peer_h2_start(c);
		nghttp2_session_send(c->ng);
		hm_conn_finish(conn);
		break;
	}
}

static void peer_on_read(struct hm_conn *conn, const uint8_t *p, size_t n)
{
	struct peer_conn *c = conn->arg;

	if (c->peer->kind == PEER_HTTP1) {
		peer_http1_read(c, p, n);
	} else if (c->peer->kind == PEER_H2) {
		if (nghttp2_session_mem_recv(c->ng, p, n) < 0)
			hm_conn_close(conn, NULL);
		else
			hm_conn_kick(conn);
	}
}

static void peer_on_flush(struct hm_conn *conn)
{
	struct peer_conn *c = conn->arg;

	if (c->peer->kind != PEER_H2 || c->ng == NULL)
		return;
	if (nghttp2_session_send(c->ng) != 0 || c->leave ||
	    (!nghttp2_session_want_read(c->ng) && !nghttp2_session_want_write(c->ng)))
		hm_conn_finish(conn);
}

static void peer_on_close(struct hm_conn *conn, const struct hm_err *why)
{
	struct peer_conn *c = conn->arg;

	while (!hm_list_empty(&c->streams))
		peer_stream_free(hm_container_of(hm_list_first(&c->streams), struct peer_stream, node));
	if (c->ng)
		nghttp2_session_del(c->ng);
	hm_buf_fini(&c->in);
	hm_list_remove(&c->peer->list, &c->node);
	free(c);
}

static const struct hm_conn_ops peer_ops = {
	.on_open = peer_on_open,
	.on_read = peer_on_read,
	.on_flush = peer_on_flush,
	.on_close = peer_on_close,
};

static void peer_on_accept(struct hm_listener *l)
{
	struct peer *p = l->arg;
	struct peer_conn *c = calloc(1, sizeof(*c));
	struct hm_conn_opts o = {.tls = p->tls, .linger_ms = 200};

	atomic_fetch_add(&p->conns, 1);
	c->peer = p;
	hm_list_init(&c->streams);
	hm_buf_init(&c->in, 1 << 24);
	if (hm_conn_accept(&c->conn, l, &o, &peer_ops, c, NULL) < 0)
		free(c);
	else
		hm_list_push(&p->list, &c->node);
}

static void peer_on_stop(uv_async_t *a)
{
	struct peer *p = a->data;

	hm_listener_close(&p->listener, NULL);
	hm_list_foreach_safe (&p->list, n, next)
		hm_conn_close(&hm_container_of(n, struct peer_conn, node)->conn, NULL);
	uv_close((uv_handle_t *)a, NULL);
	p->stopping = true;
}

static void *peer_main(void *arg)
{
	struct peer *p = arg;
	struct hm_listen_opts lo = {.host = HM_STR("127.0.0.1"), .port = p->port};
	struct hm_err e = {0};

	uv_loop_init(&p->loop);
	assert_int_equal(hm_tick_init(&p->tick, &p->loop), 0);
	uv_async_init(&p->loop, &p->stop, peer_on_stop);
	p->stop.data = p;
	hm_list_init(&p->list);
	hm_list_init(&p->parked);
	if (hm_listener_open(&p->listener, &p->tick, &lo, peer_on_accept, p, &e) < 0)
		hm_panic(__FILE__, __LINE__, __func__, "%s", e.text);
	p->port = hm_listener_port(&p->listener);
	sem_post(&p->ready);
	while (!p->stopping)
		uv_run(&p->loop, UV_RUN_ONCE);
	while (!hm_list_empty(&p->list))
		uv_run(&p->loop, UV_RUN_ONCE);
	hm_tick_close(&p->tick);
	uv_run(&p->loop, UV_RUN_DEFAULT);
	hm_tick_fini(&p->tick);
	assert_int_equal(uv_loop_close(&p->loop), 0);
	return NULL;
}

static void peer_start(struct peer *p)
{
	struct hm_err e = {0};

	memset(peer_filler, 'x', sizeof(peer_filler));
	pthread_mutex_init(&p->lock, NULL);
	if (p->cert) {
		struct hm_tls_opts o = {
			.server = true,
			.verify = p->client_ca != NULL,
			.ca_file = hm_str_c(p->client_ca),
			.cert_file = hm_str_c(p->cert),
			.alpn = hm_str_c(p->alpn		 ? p->alpn
					 : p->kind == PEER_HTTP1 ? "http/1.1"
								 : "h2"),
		};

		if (hm_tls_new(&o, &p->tls, &e) < 0)
			fail_msg("%s", e.text);
	}
	sem_init(&p->ready, 0, 0);
	assert_int_equal(pthread_create(&p->thread, NULL, peer_main, p), 0);
	sem_wait(&p->ready);
}

static void peer_stop(struct peer *p)
{
	uv_async_send(&p->stop);
	pthread_join(p->thread, NULL);
	hm_tls_unref(p->tls);
	sem_destroy(&p->ready);
	pthread_mutex_destroy(&p->lock);
}

#endif
