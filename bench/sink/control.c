/*
 * control.c - the HTTP server of the control API
 */
#include "control.h"

#include <stdlib.h>

#define MAX_CONNS 128
#define MAX_URL	  8192

struct ctl_conn {
#define CTL_CONN_MAGIC 0x51ab0004u
	uint32_t magic;
	struct control *ctl;
	struct hm_node node;
	uv_tcp_t tcp;
	uv_write_t write_req;
	llhttp_t parser;
	struct hm_buf url, body, head, out; /* out: bytes being written */
	struct hm_buf in;		    /* read while an answer is under way */
	struct control_reply reply;
	bool busy, close, closing, chunked, last;
	char rbuf[65536];
};

static void on_closed(uv_handle_t *h)
{
	struct ctl_conn *c = h->data;

	hm_buf_fini(&c->url);
	hm_buf_fini(&c->body);
	hm_buf_fini(&c->head);
	hm_buf_fini(&c->out);
	hm_buf_fini(&c->in);
	hm_buf_fini(&c->reply.body);
	HM_MAGIC_CLEAR(c);
	free(c);
}

static void drop(struct ctl_conn *c)
{
	if (c->closing)
		return;
	c->closing = true;
	hm_list_remove(&c->ctl->conns, &c->node);
	uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static void feed(struct ctl_conn *c, const char *p, size_t n);
static void on_written(uv_write_t *w, int status);

static void write_out(struct ctl_conn *c)
{
	uv_buf_t b = uv_buf_init(c->out.p, (unsigned)c->out.len);

	c->write_req.data = c;
	if (c->out.err || uv_write(&c->write_req, (uv_stream_t *)&c->tcp, &b, 1, on_written) != 0)
		drop(c);
}

/* Next part of a streamed answer. */
static void write_chunk(struct ctl_conn *c)
{
	bool more;

	hm_buf_reset(&c->reply.body);
	hm_buf_reset(&c->out);
	more = c->reply.more(c->ctl, &c->reply);
	if (c->reply.body.len) {
		hm_buf_printf(&c->out, "%zx\r\n", c->reply.body.len);
		hm_buf_puts(&c->out, hm_buf_str(&c->reply.body));
		hm_buf_lit(&c->out, "\r\n");
	}
	if (!more) {
		hm_buf_lit(&c->out, "0\r\n\r\n");
		c->last = true;
	}
	if (c->out.len)
		write_out(c);
	else
		write_chunk(c);
}

static void on_written(uv_write_t *w, int status)
{
	struct ctl_conn *c = w->data;

	HM_CHECK(c, CTL_CONN_MAGIC);
	if (c->closing)
		return;
	if (status < 0) {
		drop(c);
	} else if (!c->last) {
		write_chunk(c);
	} else if (c->close) {
		drop(c);
	} else {
		struct hm_buf in = c->in;

		c->busy = false;
		hm_buf_init(&c->in, 1 << 20);
		if (in.len)
			feed(c, in.p, in.len);
		hm_buf_fini(&in);
	}
}

static void respond(struct ctl_conn *c)
{
	struct control_reply *r = &c->reply;
	const char *text = llhttp_status_name((llhttp_status_t)r->status);

	c->busy = true;
	c->last = !r->more;
	hm_buf_reset(&c->out);
	hm_buf_printf(&c->out, "HTTP/1.1 %d %s\r\ncontent-type: %s\r\n", r->status, text ? text : "-",
		      r->type);
	if (c->close)
		hm_buf_lit(&c->out, "connection: close\r\n");
	if (r->more) {
		hm_buf_lit(&c->out, "transfer-encoding: chunked\r\n\r\n");
	} else {
		hm_buf_printf(&c->out, "content-length: %zu\r\n\r\n", r->body.len);
		hm_buf_puts(&c->out, hm_buf_str(&r->body));
	}
	write_out(c);
}

static void reply_init(struct control_reply *r)
{
	hm_buf_reset(&r->body);
	r->status = 200;
	r->type = "application/json";
	r->more = NULL;
	r->cursor = (struct ledger_cursor){0, 0};
	r->profile = 0;
	r->min_count = 0;
}

static struct ctl_conn *conn_of(llhttp_t *p)
{
	struct ctl_conn *c = p->data;

	HM_CHECK(c, CTL_CONN_MAGIC);
	return c;
}

static int on_begin(llhttp_t *p)
{
	struct ctl_conn *c = conn_of(p);

	hm_buf_reset(&c->url);
	hm_buf_reset(&c->body);
	hm_buf_reset(&c->head);
	return 0;
}

static int on_url(llhttp_t *p, const char *at, size_t n)
{
	hm_buf_put(&conn_of(p)->url, at, n);
	return conn_of(p)->url.err ? -1 : 0;
}

static int on_head(llhttp_t *p, const char *at, size_t n) /* only its size matters */
{
	hm_buf_put(&conn_of(p)->head, at, n);
	return conn_of(p)->head.err ? -1 : 0;
}

static int on_headers_complete(llhttp_t *p)
{
	uv_buf_t b = uv_buf_init((char[]){"HTTP/1.1 100 Continue\r\n\r\n"}, 25);
	struct ctl_conn *c = conn_of(p);

	/* curl waits for this before larger bodies; harmless for all others that asked for it. */
	if (hm_str_find(hm_buf_str(&c->head), HM_STR("100-continue")) >= 0)
		uv_try_write((uv_stream_t *)&c->tcp, &b, 1);
	return 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
	hm_buf_put(&conn_of(p)->body, at, n);
	return 0;
}

static int on_complete(llhttp_t *p)
{
	struct ctl_conn *c = conn_of(p);
	struct control_req q = {
		.method = hm_str_c(llhttp_method_name((llhttp_method_t)llhttp_get_method(p)))};
	ptrdiff_t mark;

	reply_init(&c->reply);
	c->close = !llhttp_should_keep_alive(p);
	if (c->body.err) {
		c->reply.status = 413;
		hm_buf_printf(&c->reply.body, "{\"error\":\"the body is larger than %u bytes\"}\n",
			      CONTROL_MAX_BODY);
	} else {
		q.url = q.path = hm_buf_str(&c->url);
		mark = hm_str_chr(q.url, '?');
		if (mark >= 0)
			q.path.len = (size_t)mark;
		q.body = hm_buf_str(&c->body);
		hm_buf_init(&q.scratch, 1 << 20);
		hm_assert(hm_buf_reserve(&q.scratch, q.url.len + 64));
		control_route(c->ctl, &q, &c->reply);
		hm_buf_fini(&q.scratch);
	}
	respond(c);
	return HPE_PAUSED; /* the next request waits for this answer */
}

static void feed(struct ctl_conn *c, const char *p, size_t n)
{
	const char *end = p + n;
	llhttp_errno_t rc;

	if (c->busy) {
		hm_buf_put(&c->in, p, n);
		if (c->in.err)
			drop(c);
		return;
	}
	rc = llhttp_execute(&c->parser, p, n);
	if (rc == HPE_PAUSED) {
		const char *at = llhttp_get_error_pos(&c->parser);

		llhttp_resume(&c->parser);
		if (!c->closing && at && at < end)
			feed(c, at, (size_t)(end - at));
		return;
	}
	if (rc == HPE_OK || c->closing)
		return;
	reply_init(&c->reply);
	c->reply.status = 400;
	c->close = true;
	hm_buf_lit(&c->reply.body,
		   "{\"error\":\"this is not an HTTP/1.1 request the control API can read\"}\n");
	uv_read_stop((uv_stream_t *)&c->tcp);
	respond(c);
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
	struct ctl_conn *c = h->data;

	*buf = uv_buf_init(c->rbuf, sizeof(c->rbuf));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct ctl_conn *c = s->data;

	HM_CHECK(c, CTL_CONN_MAGIC);
	if (n < 0)
		drop(c);
	else if (n > 0)
		feed(c, buf->base, (size_t)n);
}

static void on_connection(uv_stream_t *s, int status)
{
	struct control *ctl = s->data;
	struct ctl_conn *c = status == 0 ? calloc(1, sizeof(*c)) : NULL;

	if (!c)
		return;
	HM_MAGIC_SET(c, CTL_CONN_MAGIC);
	c->ctl = ctl;
	c->tcp.data = c;
	hm_buf_init(&c->url, MAX_URL);
	hm_buf_init(&c->head, 65536);
	hm_buf_init(&c->body, CONTROL_MAX_BODY);
	hm_buf_init(&c->out, 1u << 30);
	hm_buf_init(&c->in, 1 << 20);
	hm_buf_init(&c->reply.body, 1u << 30);
	llhttp_init(&c->parser, HTTP_REQUEST, &ctl->settings);
	c->parser.data = c;
	uv_tcp_init(ctl->loop, &c->tcp);
	hm_list_push(&ctl->conns, &c->node);
	if (uv_accept(s, (uv_stream_t *)&c->tcp) != 0 || ctl->conns.len > MAX_CONNS) {
		drop(c);
		return;
	}
	uv_tcp_nodelay(&c->tcp, 1);
	if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
		drop(c);
}

int control_start(struct control *ctl, struct sink *s, uv_loop_t *loop, int fd, struct hm_err *e)
{
	int rc;

	ctl->sink = s;
	ctl->loop = loop;
	hm_list_init(&ctl->conns);
	llhttp_settings_init(&ctl->settings);
	ctl->settings.on_message_begin = on_begin;
	ctl->settings.on_url = on_url;
	ctl->settings.on_header_field = on_head;
	ctl->settings.on_header_value = on_head;
	ctl->settings.on_headers_complete = on_headers_complete;
	ctl->settings.on_body = on_body;
	ctl->settings.on_message_complete = on_complete;
	if (fd < 0)
		return 0;
	rc = uv_tcp_init(loop, &ctl->listener);
	if (rc == 0) {
		ctl->listener.data = ctl;
		ctl->listening = true;
		rc = uv_tcp_open(&ctl->listener, fd);
	}
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&ctl->listener, 128, on_connection);
	return rc == 0 ? 0 : hm_err_set(e, HM_EIO, "cannot listen for the control API: %s", uv_strerror(rc));
}

void control_stop(struct control *ctl)
{
	struct hm_node *n;

	while ((n = hm_list_first(&ctl->conns)))
		drop(hm_container_of(n, struct ctl_conn, node));
	if (ctl->listening)
		uv_close((uv_handle_t *)&ctl->listener, NULL);
	ctl->listening = false;
}
