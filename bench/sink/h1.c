/*
 * h1.c - HTTP/1.1 by llhttp: pipelined requests in, replies out in the same order
 */
#include "conn.h"

#include <stdlib.h>

#define MAX_QUEUED 4096 /* pipelined requests not yet answered; beyond, the connection is closed */

static struct sink_conn *conn_of(llhttp_t *p)
{
	struct sink_conn *c = p->data;

	HM_CHECK(c, SINK_CONN_MAGIC);
	return c;
}

static int on_begin(llhttp_t *p)
{
	struct sink_conn *c = conn_of(p);

	if (c->reqs.len >= MAX_QUEUED)
		return -1;
	c->cur = req_new(c->worker, c);
	c->h1_in_value = true; /* the next field begins a header */
	return c->cur ? 0 : -1;
}

static int on_url(llhttp_t *p, const char *at, size_t n)
{
	struct sink_req *r = conn_of(p)->cur;

	if (r->path_len == 0)
		r->path = (uint32_t)r->data.len;
	if (!req_put(r, at, n, SINK_MAX_HEAD)) {
		r->head_too_big = true;
		return -1;
	}
	r->path_len += (uint32_t)n;
	return 0;
}

static int on_field(llhttp_t *p, const char *at, size_t n)
{
	struct sink_conn *c = conn_of(p);
	struct sink_req *r = c->cur;
	struct sink_header *h;

	if (c->h1_in_value) {
		if (r->n_headers == SINK_MAX_HEADERS) {
			r->head_too_big = true;
			return -1;
		}
		h = &r->headers[r->n_headers++];
		*h = (struct sink_header){(uint32_t)r->data.len, 0, 0, 0};
		c->h1_in_value = false;
	}
	h = &r->headers[r->n_headers - 1];
	if (!req_put(r, at, n, SINK_MAX_HEAD)) {
		r->head_too_big = true;
		return -1;
	}
	for (char *q = r->data.p + r->data.len - n; q < r->data.p + r->data.len; q++)
		if (*q >= 'A' && *q <= 'Z')
			*q = (char)(*q | 0x20);
	h->name_len += (uint32_t)n;
	return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t n)
{
	struct sink_conn *c = conn_of(p);
	struct sink_req *r = c->cur;
	struct sink_header *h = &r->headers[r->n_headers - 1];

	if (!c->h1_in_value) {
		h->value = (uint32_t)r->data.len;
		c->h1_in_value = true;
	}
	if (!req_put(r, at, n, SINK_MAX_HEAD)) {
		r->head_too_big = true;
		return -1;
	}
	h->value_len += (uint32_t)n;
	return 0;
}

static int on_headers_complete(llhttp_t *p)
{
	struct sink_conn *c = conn_of(p);
	struct sink_req *r = c->cur;
	struct hm_str m = hm_str_c(llhttp_method_name((llhttp_method_t)llhttp_get_method(p)));

	r->method = (uint32_t)r->data.len;
	r->method_len = (uint32_t)m.len;
	r->head_method = hm_str_is(m, "HEAD");
	r->keep_alive = llhttp_should_keep_alive(p);
	if (!req_put(r, m.p, m.len, SINK_MAX_HEAD + 32))
		return -1;
	r->body = (uint32_t)r->data.len;
	if (hm_str_ieq(req_header(r, "expect"), HM_STR("100-continue")) && c->reqs.len == 1) {
		hm_buf_lit(&c->raw, "HTTP/1.1 100 Continue\r\n\r\n");
		conn_touch(c);
	}
	return 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
	struct sink_conn *c = conn_of(p);
	struct sink_req *r = c->cur;

	if (r->body_too_big || !req_put(r, at, n, r->body + c->worker->sink->options->max_body))
		r->body_too_big = true;
	else
		r->body_len += (uint32_t)n;
	return 0;
}

static int on_complete(llhttp_t *p)
{
	struct sink_conn *c = conn_of(p);
	struct sink_req *r = c->cur;
	const struct knobs_conn *k = &c->worker->knobs->conn;

	c->cur = NULL;
	c->requests++;
	if (k->goaway_after && c->requests >= (uint64_t)k->goaway_after)
		r->keep_alive = false;
	answer_request(r);
	if (k->close_after && c->requests >= (uint64_t)k->close_after)
		c->doom = hm_max(c->doom, DOOM_AFTER_FLUSH);
	return c->doom >= DOOM_NOW ? -1 : 0;
}

void h1_start(struct sink_conn *c)
{
	llhttp_init(&c->h1, HTTP_REQUEST, &c->worker->h1_settings);
	c->h1.data = c;
}

/* A request that does not parse gets a 4xx of its own, then the connection ends. */
static bool bad_request(struct sink_conn *c)
{
	struct sink_req *r = c->cur ? c->cur : req_new(c->worker, c);

	c->cur = NULL;
	if (!r || c->doom >= DOOM_NOW)
		return false;
	r->keep_alive = false;
	if (r->head_too_big)
		reply_static(r, 431, TYPE_TEXT, HM_STR("the request's headers are too many or too long\n"));
	else
		reply_static(r, 400, TYPE_TEXT, HM_STR("this is not an HTTP/1.1 request\n"));
	r->state = REQ_ANSWERED;
	conn_touch(c);
	c->deaf = true; /* fill() dooms the connection once the answer is made */
	return true;
}

bool h1_input(struct sink_conn *c, const char *p, size_t n)
{
	const char *end = p + n;
	llhttp_errno_t rc = llhttp_execute(&c->h1, p, n);

	while (rc == HPE_PAUSED_UPGRADE) { /* "Upgrade: h2c" and CONNECT are politely ignored */
		p = llhttp_get_error_pos(&c->h1);
		llhttp_resume_after_upgrade(&c->h1);
		if (p >= end)
			return true;
		rc = llhttp_execute(&c->h1, p, (size_t)(end - p));
	}
	return rc == HPE_OK || bad_request(c);
}

static const char *reason(int status)
{
	return llhttp_status_name((llhttp_status_t)status);
}

static void put_head(struct sink_req *r)
{
	struct sink_conn *c = r->conn;
	struct hm_buf *b = &c->raw;
	const char *text = reason(r->reply.status);

	hm_buf_printf(b, "HTTP/1.1 %d %s\r\ncontent-length: %llu\r\n", r->reply.status, text ? text : "-",
		      (unsigned long long)reply_body_left(r));
	if (r->reply.type.len)
		hm_buf_printf(b, "content-type: %.*s\r\n", HM_STRF(r->reply.type));
	for (size_t i = 0; i < r->reply.n_h; i++) {
		hm_buf_puts(b, r->reply.h[i].name);
		hm_buf_lit(b, ": ");
		hm_buf_puts(b, r->reply.h[i].value);
		hm_buf_lit(b, "\r\n");
	}
	if (!r->keep_alive)
		hm_buf_lit(b, "connection: close\r\n");
	hm_buf_lit(b, "\r\n");
	r->head_sent = true;
}

void h1_answer(struct sink_req *r)
{
	conn_touch(r->conn);
}

/* Body bytes of the oldest reply; sets *done_r when it is complete, *wait_r when it must pause. */
static size_t fill_body(struct sink_req *r, char *buf, size_t cap, bool *done_r, bool *wait_r)
{
	size_t n;

	if (r->head_method) {
		*done_r = true;
		return 0;
	}
	if (r->reply.fault == FAULT_TRUNCATE) {
		size_t half = r->reply.body.len / 2;

		if (r->sent >= half) {
			r->conn->doom = DOOM_AFTER_FLUSH;
			*wait_r = true;
			return 0;
		}
		cap = hm_min(cap, half - (size_t)r->sent);
	}
	if (r->reply.trickle_ms) {
		if (r->deferred) {
			*wait_r = true;
			return 0;
		}
		cap = hm_min(cap, (size_t)1);
	}
	n = reply_body_read(r, buf, cap);
	*done_r = reply_body_left(r) == 0;
	if (!*done_r && r->reply.trickle_ms) {
		r->deferred = true;
		worker_delay(r->conn->worker, r, r->reply.trickle_ms);
		*wait_r = true;
	}
	return n;
}

size_t h1_fill(struct sink_conn *c, char *buf, size_t cap)
{
	size_t n = conn_fill_raw(c, buf, cap); /* heads, garbage; then the body of the oldest reply */

	while (n < cap && c->reqs.len && c->doom == DOOM_NONE) {
		struct sink_req *r = hm_container_of(hm_list_first(&c->reqs), struct sink_req, node);
		bool done = false, wait = false;

		if (r->state != REQ_ANSWERED || r->stalled)
			break;
		if (!r->head_sent) {
			put_head(r);
			n += conn_fill_raw(c, buf + n, cap - n);
			if (c->raw.len)
				break;
		}
		n += fill_body(r, buf + n, cap - n, &done, &wait);
		if (done) {
			if (!r->keep_alive)
				c->doom = DOOM_AFTER_FLUSH;
			req_free(r);
			if (c->doom)
				break;
		}
		if (wait)
			break;
	}
	return n;
}

void h1_worker_init(struct sink_worker *w)
{
	llhttp_settings_t *s = &w->h1_settings;

	llhttp_settings_init(s);
	s->on_message_begin = on_begin;
	s->on_url = on_url;
	s->on_header_field = on_field;
	s->on_header_value = on_value;
	s->on_headers_complete = on_headers_complete;
	s->on_body = on_body;
	s->on_message_complete = on_complete;
}
