/*
 * http_conn.c - a connection of the API: bytes -> requests -> answers in order
 *
 *   on_read -> llhttp -> on_headers_complete -> route, key -> body -> handler
 *                                                  |                  |
 *                       answers wait in c->reqs until those before are written
 *
 * The parser stands still (c->paused) while a key is looked up or enough requests are
 * under way; what was read meanwhile waits in c->in, and the socket is not read, so
 * that is at most one read.
 *
 * An answer before the end of the body makes the rest of the body worthless: a short
 * one is read and dropped, a long one costs the connection.
 *
 * Nothing here frees a connection from inside a callback of the parser: hm_conn's
 * on_close, which comes from the loop, is the only place.
 */
#include "base/log.h"
#include "ingest/http_int.h"

static struct hm_http_conn *conn_of(struct hm_conn *conn)
{
	struct hm_http_conn *c = hm_container_of(conn, struct hm_http_conn, conn);

	HM_CHECK(c, HM_HTTP_CONN_MAGIC);
	return c;
}

static struct hm_http_conn *parser_conn(llhttp_t *p)
{
	struct hm_http_conn *c = p->data;

	HM_CHECK(c, HM_HTTP_CONN_MAGIC);
	return c;
}

/* The parser must not run; a streaming handler's pause stops the socket only. */
static bool stopped(const struct hm_http_conn *c)
{
	return (c->paused & (unsigned)~PAUSE_STREAM) != 0;
}

static void touch(struct hm_http_conn *c)
{
	c->since_ms = hm_tick_ms(c->srv->tick);
}

/* -- requests: birth and death ------------------------------------------------- */

static struct hm_http_req *req_new(struct hm_http_conn *c)
{
	struct hm_http_server *s = c->srv;
	struct hm_http_req *r = hm_slab_alloc(&s->req_slab);

	if (!r)
		return NULL;
	memset(r, 0, sizeof(*r));
	HM_MAGIC_SET(r, HM_HTTP_REQ_MAGIC);
	r->conn = c;
	r->srv = s;
	r->keep_alive = true;
	r->started_ns = s->tick->now_ns;
	/* Texts of the head and a body that came in pieces live here. */
	hm_arena_init(&r->arena, &s->tick->blocks, 0);
	hm_list_push(&c->reqs, &r->node);
	s->busy++;
	c->cur = r;
	return r;
}

/* Frees r when nobody needs it any more: off its connection and not held. */
static void req_put(struct hm_http_req *r)
{
	struct hm_http_server *s = r->srv;

	if (r->held || r->conn)
		return;
	if (r->fini)
		r->fini(r);
	s->busy--;
	hm_buf_fini(&r->body_buf);
	hm_arena_fini(&r->arena);
	HM_MAGIC_CLEAR(r);
	hm_slab_free(&s->req_slab, r);
	if (s->closing)
		hm_http_server_conn_gone(s);
}

static void req_unlink(struct hm_http_req *r)
{
	struct hm_http_conn *c = r->conn;

	if (c->cur == r)
		c->cur = NULL;
	hm_list_remove(&c->reqs, &r->node);
	r->conn = NULL;
	req_put(r);
}

void hm_http_release(struct hm_http_req *r)
{
	HM_CHECK(r, HM_HTTP_REQ_MAGIC);
	hm_assert(r->held > 0);
	r->held--;
	req_put(r);
}

static struct hm_http_req *first_req(const struct hm_http_conn *c)
{
	return hm_container_of(hm_list_first(&c->reqs), struct hm_http_req, node);
}

/* -- answers, in order ------------------------------------------------------------ */

static void end_input(struct hm_http_conn *c)
{
	c->paused |= PAUSE_END;
	hm_conn_read_stop(&c->conn);
}

void hm_http_reply(struct hm_http_req *r, const struct hm_http_answer *a)
{
	struct hm_http_conn *c = r->conn;
	struct hm_http_server *s = r->srv;
	struct hm_buf *b;
	bool close;

	HM_CHECK(r, HM_HTTP_REQ_MAGIC);
	hm_assert(!r->answered);
	r->answered = true;
	r->status = (uint16_t)a->status;
	hm_stats_inc(s->tick->stats, HM_CT_HTTP_REQUESTS);
	if (a->status >= 400)
		hm_stats_inc(s->tick->stats, HM_CT_HTTP_ERRORS);
	hm_stats_record_us(s->tick->stats, HM_HG_HTTP_SUBMIT, (s->tick->now_ns - r->started_ns) / 1000);
	if (!c) {
		req_put(r);
		return;
	}
	close = a->close || !r->keep_alive || s->draining || s->closing;
	if (!r->complete) {
		r->discard = true;
		/* A client that waits for 100 Continue may or may not send the body now: only closing is unambiguous. */
		if (r->want_continue || (c->parser.flags & F_CHUNKED) ||
		    c->parser.content_length > HTTP_DISCARD_MAX)
			close = true;
	}
	r->keep_alive = !close;
	if (hm_list_first(&c->reqs) == &r->node) {
		b = hm_conn_out(&c->conn);
	} else {
		hm_buf_init_arena(&r->out, &r->arena, HTTP_ANSWER_MAX + 4096);
		b = &r->out;
	}
	hm_http_write_answer(r, b, a, close);
	if (close)
		end_input(c);
	hm_http_conn_advance(c);
}

bool hm_http_stream_begin(struct hm_http_req *r, struct hm_str headers)
{
	struct hm_http_conn *c = r->conn;
	struct hm_http_server *s = r->srv;
	struct hm_buf *b;

	HM_CHECK(r, HM_HTTP_REQ_MAGIC);
	hm_assert(!r->answered && !r->streaming);
	if (c == NULL || s->draining || s->closing || hm_list_first(&c->reqs) != &r->node || !r->complete) {
		hm_http_problem(r, HM_PROBLEM_BUSY,
				&(struct hm_problem_info){.retry_after_s = 1, .close = true},
				"a stream cannot begin here and now: the server is ending, or earlier "
				"requests of this connection are "
				"not answered yet");
		return false;
	}
	r->streaming = true;
	r->status = 200;
	r->keep_alive = false;
	c->paused |=
		PAUSE_END; /* no further request; reading goes on, so that the end of the client is seen */
	hm_stats_inc(s->tick->stats, HM_CT_HTTP_REQUESTS);
	b = hm_conn_out(&c->conn);
	hm_buf_lit(b, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
		      "X-Accel-Buffering: no\r\nConnection: close\r\n");
	hm_buf_puts(b, headers);
	hm_buf_lit(b, "\r\n");
	return true;
}

bool hm_http_stream_write(struct hm_http_req *r, struct hm_str events)
{
	struct hm_http_conn *c = r->conn;

	HM_CHECK(r, HM_HTTP_REQ_MAGIC);
	hm_assert(r->streaming);
	if (c == NULL || c->finished || r->answered)
		return false;
	if (hm_conn_pending(&c->conn) + events.len > HM_HTTP_STREAM_BEHIND) {
		hm_http_stream_end(r);
		return false;
	}
	hm_conn_write(&c->conn, events.p, events.len);
	return true;
}

void hm_http_stream_end(struct hm_http_req *r)
{
	struct hm_http_conn *c = r->conn;

	HM_CHECK(r, HM_HTTP_REQ_MAGIC);
	if (r->answered)
		return;
	r->answered = true;
	if (c == NULL) {
		req_put(r);
		return;
	}
	end_input(c);
	hm_http_conn_advance(c);
}

static void send_continue(struct hm_http_req *r)
{
	r->want_continue = false;
	hm_conn_write(&r->conn->conn, "HTTP/1.1 100 Continue\r\n\r\n", 25);
}

/* Writes what may be written, drops what is done. */
void hm_http_conn_advance(struct hm_http_conn *c)
{
	struct hm_node *n;

	while (!c->finished && (n = hm_list_first(&c->reqs)) != NULL) {
		struct hm_http_req *r = hm_container_of(n, struct hm_http_req, node);

		if (!r->answered) {
			if (r->want_continue && r->head_done)
				send_continue(r);
			return;
		}
		if (r->out.err) {
			struct hm_err e;

			hm_err_clear(&e);
			hm_err_set(&e, HM_ENOMEM, "no memory for an answer");
			c->finished = true;
			hm_conn_close(&c->conn, &e);
			return;
		}
		if (r->out.len) {
			hm_conn_write(&c->conn, r->out.p, r->out.len);
			r->out.len = 0;
		}
		if (!r->keep_alive) {
			c->finished = true;
			hm_conn_finish(&c->conn);
			return;
		}
		if (!r->complete)
			return;
		touch(c);
		req_unlink(r);
	}
	if (c->finished)
		return;
	if (c->srv->draining || c->srv->closing)
		hm_http_conn_drain(c);
	if ((c->paused & PAUSE_PIPELINE) && c->reqs.len < HTTP_PIPELINE_MAX / 2)
		hm_http_conn_resume(c, PAUSE_PIPELINE);
}

void hm_http_conn_drain(struct hm_http_conn *c)
{
	if (c->reqs.len && first_req(c)->streaming)
		hm_http_stream_end(first_req(c));
	if (c->finished || !c->opened || c->reqs.len || c->cur || c->in.len)
		return;
	c->finished = true;
	end_input(c);
	hm_conn_finish(&c->conn);
}

/* -- parser callbacks --------------------------------------------------------------- */

/* Refuses the head for a limit of ours. */
static int refuse(struct hm_http_conn *c, enum http_refusal why)
{
	if (c->refused == REFUSED_NOT)
		c->refused = (uint8_t)why;
	return HPE_USER;
}

static int on_message_begin(llhttp_t *p)
{
	struct hm_http_conn *c = parser_conn(p);

	c->head_bytes = 0;
	c->n_headers = 0;
	c->name_len = 0;
	touch(c);
	return req_new(c) ? 0 : refuse(c, REFUSED_MEMORY);
}

/* Text of the head may come in pieces: the arena grows its last allocation in place. */
static bool append(struct hm_http_req *r, struct hm_str *s, const char *at, size_t n)
{
	char *p = hm_arena_grow(&r->arena, (char *)(uintptr_t)s->p, s->len, s->len + n);

	if (!p)
		return false;
	memcpy(p + s->len, at, n);
	*s = hm_str_n(p, s->len + n);
	return true;
}

static bool head_room(struct hm_http_conn *c, size_t n)
{
	c->head_bytes += n;
	return c->head_bytes <= c->srv->lim.max_header;
}

static int on_url(llhttp_t *p, const char *at, size_t n)
{
	struct hm_http_conn *c = parser_conn(p);

	if (!head_room(c, n) || c->cur->target.len + n > HTTP_URI_MAX)
		return refuse(c, REFUSED_URI);
	return append(c->cur, &c->cur->target, at, n) ? 0 : refuse(c, REFUSED_MEMORY);
}

/* What providers sign with stands in headers of any name; pages that ask for an inbox have an Origin. */
static bool keeps_head(struct hm_http_req *r)
{
	if (hm_likely(!hm_str_starts(r->target, HM_STR("/v1/callbacks/")) &&
		      !hm_str_starts(r->target, HM_STR("/v1/inbox"))))
		return false;
	if (r->head.p == NULL && r->head.len == 0)
		hm_buf_init_arena(&r->head, &r->arena, r->srv->lim.max_header + 2 * HTTP_HEADERS_MAX);
	return true;
}

bool hm_http_header_next(const struct hm_http_req *r, size_t *at, struct hm_str *name_r,
			 struct hm_str *value_r)
{
	const char *end;

	if (r->head.err != 0 || *at >= r->head.len)
		return false;
	for (int i = 0; i < 2; i++) {
		end = memchr(r->head.p + *at, '\0', r->head.len - *at);
		if (end == NULL)
			return false;
		*(i ? value_r : name_r) = hm_str_n(r->head.p + *at, (size_t)(end - r->head.p) - *at);
		*at = (size_t)(end - r->head.p) + 1;
	}
	return true;
}

static int on_header_field(llhttp_t *p, const char *at, size_t n)
{
	struct hm_http_conn *c = parser_conn(p);

	if (!head_room(c, n))
		return refuse(c, REFUSED_BYTES);
	if (keeps_head(c->cur))
		hm_buf_put(&c->cur->head, at, n);
	for (size_t i = 0; i < n && c->name_len != 255; i++) {
		if (c->name_len == sizeof(c->name))
			c->name_len = 255;
		else
			c->name[c->name_len++] = (char)(at[i] >= 'A' && at[i] <= 'Z' ? at[i] | 0x20 : at[i]);
	}
	return 0;
}

static enum http_header header_find(struct hm_str name)
{
	switch (name.len) {
	case 4: return memcmp(name.p, "host", 4) == 0 ? HDR_HOST : HDR_OTHER;
	case 6: return memcmp(name.p, "expect", 6) == 0 ? HDR_EXPECT : HDR_OTHER;
	case 8: return memcmp(name.p, "if-match", 8) == 0 ? HDR_IF_MATCH : HDR_OTHER;
	case 12: return memcmp(name.p, "content-type", 12) == 0 ? HDR_CONTENT_TYPE : HDR_OTHER;
	case 13: return memcmp(name.p, "authorization", 13) == 0 ? HDR_AUTHORIZATION : HDR_OTHER;
	case 15: return memcmp(name.p, "idempotency-key", 15) == 0 ? HDR_IDEMPOTENCY_KEY : HDR_OTHER;
	default: return HDR_OTHER;
	}
}

static struct hm_str *header_slot(struct hm_http_req *r, enum http_header h)
{
	switch (h) {
	case HDR_CONTENT_TYPE: return &r->content_type;
	case HDR_AUTHORIZATION: return &r->authorization;
	case HDR_IDEMPOTENCY_KEY: return &r->idempotency_key;
	case HDR_EXPECT: return &r->expect;
	case HDR_IF_MATCH: return &r->if_match;
	default: return NULL;
	}
}

static int on_header_field_complete(llhttp_t *p)
{
	struct hm_http_conn *c = parser_conn(p);
	struct hm_str *slot;

	c->header = c->name_len == 255 ? HDR_OTHER : (uint8_t)header_find(hm_str_n(c->name, c->name_len));
	c->name_len = 0;
	if (keeps_head(c->cur))
		hm_buf_putc(&c->cur->head, '\0');
	if (++c->n_headers > HTTP_HEADERS_MAX)
		return refuse(c, REFUSED_COUNT);
	if (!head_room(c, 4)) /* colon, blank, line end */
		return refuse(c, REFUSED_BYTES);
	if (c->header == HDR_HOST)
		c->cur->hosts++;
	slot = header_slot(c->cur, (enum http_header)c->header);
	if (slot) {
		if (slot->p) /* given twice: which one would be meant? */
			return refuse(c, REFUSED_TWICE);
		*slot = HM_STR("");
	}
	return 0;
}

static int on_header_value(llhttp_t *p, const char *at, size_t n)
{
	struct hm_http_conn *c = parser_conn(p);
	struct hm_str *slot;

	if (!head_room(c, n))
		return refuse(c, REFUSED_BYTES);
	if (keeps_head(c->cur))
		hm_buf_put(&c->cur->head, at, n);
	slot = header_slot(c->cur, (enum http_header)c->header);
	if (!slot || n == 0)
		return 0;
	if (slot->len == 0)
		*slot = HM_STR_NULL; /* "" is no memory of the arena */
	return append(c->cur, slot, at, n) ? 0 : refuse(c, REFUSED_MEMORY);
}

static int on_header_value_complete(llhttp_t *p)
{
	struct hm_http_conn *c = parser_conn(p);

	if (keeps_head(c->cur))
		hm_buf_putc(&c->cur->head, '\0');
	return 0;
}

static void method_not_allowed(struct hm_http_req *r, uint64_t allow)
{
	char line[128];
	int n = snprintf(line, sizeof(line), "Allow: ");

	if (allow & (UINT64_C(1) << HTTP_GET))
		allow |= UINT64_C(1) << HTTP_HEAD;
	for (unsigned m = 0; m < 40 && n > 0 && (size_t)n < sizeof(line) - 24; m++)
		if (allow & (UINT64_C(1) << m))
			n += snprintf(line + n, sizeof(line) - (size_t)n, "%s%s", n > 7 ? ", " : "",
				      llhttp_method_name((llhttp_method_t)m));
	n += snprintf(line + n, sizeof(line) - (size_t)n, "\r\n");
	hm_http_problem(r, HM_PROBLEM_METHOD, &(struct hm_problem_info){.headers = hm_str_n(line, (size_t)n)},
			"%s is not allowed for %.*s", llhttp_method_name((llhttp_method_t)r->method),
			(int)hm_min(r->path.len, (size_t)80), r->path.p);
}

static bool needs_scope(const struct hm_http_req *r)
{
	if (r->srv->lim.auth_off)
		return false;
	if (r->route->scope == HM_SCOPE_NONE)
		return false;
	return r->route->run != hm_api_metrics || r->srv->lim.metrics_auth;
}

/* The head is fine and the key allows it: what does it promise of the body? */
void hm_http_req_proceed(struct hm_http_req *r)
{
	struct hm_http_conn *c = r->conn;
	bool chunked = (c->parser.flags & F_CHUNKED) != 0;
	uint64_t length = (c->parser.flags & F_CONTENT_LENGTH) ? c->parser.content_length : 0;

	if (r->expect.p) {
		if (!hm_str_ieq(r->expect, HM_STR("100-continue"))) {
			hm_http_problem(r, HM_PROBLEM_EXPECT, NULL, "only 100-continue can be expected");
			return;
		}
		r->want_continue = (chunked || length > 0) && c->parser.http_minor >= 1;
	}
	if (!r->route->begin && length > c->srv->lim.max_body) {
		hm_http_problem(r, HM_PROBLEM_TOO_LARGE, &(struct hm_problem_info){.close = true},
				"the body has %llu bytes; at most %zu are allowed (http.max_body)",
				(unsigned long long)length, c->srv->lim.max_body);
		return;
	}
	hm_buf_init(&r->body_buf, c->srv->lim.max_body);
	if (r->route->begin)
		r->route->begin(r);
	if (!r->answered && r->want_continue)
		hm_http_conn_advance(c);
}

static void head_done(struct hm_http_conn *c, struct hm_http_req *r)
{
	const llhttp_t *p = &c->parser;
	uint64_t allow = 0;
	ptrdiff_t q;

	r->head_done = true;
	r->method = p->method;
	r->keep_alive = llhttp_should_keep_alive(p) != 0;
	r->path = r->target;
	q = hm_str_chr(r->target, '?');
	if (q >= 0) {
		r->path = hm_str_n(r->target.p, (size_t)q);
		r->query = hm_str_n(r->target.p + q + 1, r->target.len - (size_t)q - 1);
	}
	touch(c);
	if (p->http_major != 1 || p->http_minor > 1) {
		hm_http_problem(r, HM_PROBLEM_VERSION, &(struct hm_problem_info){.close = true},
				"HTTP/%u.%u is not spoken here, HTTP/1.1 is", p->http_major, p->http_minor);
		return;
	}
	if (r->hosts > 1 || (p->http_minor == 1 && r->hosts == 0)) {
		hm_http_problem(r, HM_PROBLEM_BAD_REQUEST, &(struct hm_problem_info){.close = true},
				"exactly one Host header is needed"); /* RFC 9112 section 3.2 */
		return;
	}
	if (p->method == HTTP_CONNECT) {
		hm_http_problem(r, HM_PROBLEM_METHOD, &(struct hm_problem_info){.close = true},
				"CONNECT is not served: this is no proxy");
		return;
	}
	r->route = hm_http_route_find(hm_http_routes, hm_http_routes_count, r->method, r->path, r->params,
				      &allow);
	for (size_t i = 0; !r->route && i < c->srv->deps.n_extra; i++)
		r->route = hm_http_route_find(c->srv->deps.extra[i].v, c->srv->deps.extra[i].n, r->method,
					      r->path, r->params, &allow);
	if (!r->route) {
		if (allow)
			method_not_allowed(r, allow);
		else
			hm_http_problem(r, HM_PROBLEM_NOT_FOUND, NULL,
					"nothing is served at %.*s; see /openapi.json%s",
					(int)hm_min(r->path.len, (size_t)120), r->path.p,
					hm_str_starts(r->path, HM_STR("/v1/templates/"))
						? " (a / in the name of a template is written %2F)"
						: "");
		return;
	}
	if (needs_scope(r)) {
		switch (hm_auth_check(r, r->route->scope)) {
		case AUTH_OK: break;
		case AUTH_ANSWERED: return;
		case AUTH_WAIT: c->paused |= PAUSE_AUTH; return;
		}
	}
	hm_http_req_proceed(r);
}

static int on_headers_complete(llhttp_t *p)
{
	struct hm_http_conn *c = parser_conn(p);

	head_done(c, c->cur);
	return stopped(c) ? HPE_PAUSED : 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
	struct hm_http_conn *c = parser_conn(p);
	struct hm_http_req *r = c->cur;

	touch(c);
	r->body_bytes += n;
	if (r->answered) {
		if (r->body_bytes > HTTP_DISCARD_MAX + c->srv->lim.max_body)
			return refuse(c, REFUSED_BODY);
		return 0;
	}
	if (r->route->data) {
		r->route->data(r, at, n);
		return 0;
	}
	if (r->body_bytes > c->srv->lim.max_body) {
		hm_http_problem(r, HM_PROBLEM_TOO_LARGE, &(struct hm_problem_info){.close = true},
				"the body has more than %zu bytes (http.max_body)", c->srv->lim.max_body);
		return 0;
	}
	/* The whole body in one piece is used where it lies: the handler runs before this buffer goes. */
	if (r->body_bytes == n && (p->flags & F_CONTENT_LENGTH) && p->content_length == 0) {
		r->body = hm_str_n(at, n);
		r->whole_body = true;
		return 0;
	}
	hm_buf_put(&r->body_buf, at, n);
	return 0;
}

static int on_message_complete(llhttp_t *p)
{
	struct hm_http_conn *c = parser_conn(p);
	struct hm_http_req *r = c->cur;

	c->cur = NULL;
	touch(c);
	if (!r)
		return 0;
	r->complete = true;
	if (!llhttp_should_keep_alive(p))
		r->keep_alive = false;
	if (r->answered) {
		hm_http_conn_advance(c);
	} else if (r->route->end) {
		r->want_continue = false;
		r->route->end(r);
	} else {
		r->want_continue = false;
		if (!r->whole_body)
			r->body = hm_buf_str(&r->body_buf);
		if (r->body_buf.err)
			hm_http_problem(r, HM_PROBLEM_BUSY,
					&(struct hm_problem_info){.retry_after_s = 1, .close = true},
					"out of memory");
		else
			r->route->run(r);
	}
	/* r may be gone */
	if (!llhttp_should_keep_alive(p))
		c->paused |= PAUSE_END;
	if (c->reqs.len >= HTTP_PIPELINE_MAX)
		c->paused |= PAUSE_PIPELINE;
	return stopped(c) ? HPE_PAUSED : 0;
}

static const llhttp_settings_t parser_settings = {
	.on_message_begin = on_message_begin,
	.on_url = on_url,
	.on_header_field = on_header_field,
	.on_header_value = on_header_value,
	.on_header_field_complete = on_header_field_complete,
	.on_header_value_complete = on_header_value_complete,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

/* -- bytes ------------------------------------------------------------------------------ */

static void refusal(struct hm_http_req *r, enum http_refusal why)
{
	const struct hm_problem_info info = {.close = true};

	switch (why) {
	case REFUSED_URI:
		hm_http_problem(r, HM_PROBLEM_URI, &info, "the request target is longer than %u bytes",
				HTTP_URI_MAX);
		break;
	case REFUSED_BYTES:
		hm_http_problem(r, HM_PROBLEM_HEADERS, &info,
				"the request head is larger than %zu bytes (http.max_header)",
				r->srv->lim.max_header);
		break;
	case REFUSED_COUNT:
		hm_http_problem(r, HM_PROBLEM_HEADERS, &info, "the request has more than %u headers",
				HTTP_HEADERS_MAX);
		break;
	case REFUSED_TWICE:
		hm_http_problem(r, HM_PROBLEM_BAD_REQUEST, &info,
				"Authorization, Content-Type, Expect and Idempotency-Key may each come once");
		break;
	case REFUSED_BODY: hm_http_problem(r, HM_PROBLEM_TOO_LARGE, &info, "the body is too large"); break;
	case REFUSED_MEMORY:
	case REFUSED_NOT: hm_http_problem(r, HM_PROBLEM_BUSY, &info, "out of memory"); break;
	}
}

/* What the parser refused becomes an answer behind those still under way; then the connection ends. */
static void parse_failed(struct hm_http_conn *c, llhttp_errno_t err)
{
	const struct hm_problem_info info = {.close = true};
	struct hm_http_req *r = c->cur ? c->cur : NULL;
	const char *reason = llhttp_get_error_reason(&c->parser);

	if (r && r->answered) { /* its answer says close, or the body was too long to drop */
		c->finished = true;
		hm_conn_finish(&c->conn);
		return;
	}
	if (!r)
		r = req_new(c);
	if (!r) {
		c->finished = true;
		hm_conn_close(&c->conn, NULL);
		return;
	}
	r->complete = true; /* nothing more will come of it */
	c->cur = NULL;
	r->method = c->parser.method;
	r->head_done = true;
	if (c->refused) {
		refusal(r, (enum http_refusal)c->refused);
	} else if (err == HPE_INVALID_VERSION || err == HPE_PAUSED_H2_UPGRADE) {
		hm_http_problem(r, HM_PROBLEM_VERSION, &info,
				"the HTTP version is not supported; HTTP/1.1 is");
	} else {
		hm_http_problem(r, HM_PROBLEM_BAD_REQUEST, &info, "not valid HTTP/1.1: %s",
				reason && reason[0] ? reason : llhttp_errno_name(err));
	}
}

static void feed(struct hm_http_conn *c, const char *p, size_t n)
{
	while ((n || c->owes) && !c->finished && !stopped(c)) {
		llhttp_errno_t err;
		const char *at;

		c->owes = false;
		c->executing = true;
		err = llhttp_execute(&c->parser, p, n);
		c->executing = false;
		if (err == HPE_OK)
			return;
		at = llhttp_get_error_pos(&c->parser);
		if (err == HPE_PAUSED_UPGRADE) {
			/* An upgrade nobody offered is ignored (RFC 9110 section 7.8): HTTP/1.1 goes on. */
			llhttp_resume_after_upgrade(&c->parser);
		} else if (err == HPE_PAUSED) {
			llhttp_resume(&c->parser);
			c->owes = true;
		} else {
			if (!c->finished)
				parse_failed(c, err);
			return;
		}
		hm_assert(at >= p && at <= p + n);
		n -= (size_t)(at - p);
		p = at;
	}
	if (n && !c->finished && !(c->paused & PAUSE_END)) {
		hm_buf_put(&c->in, p, n);
		hm_conn_read_stop(&c->conn);
	}
}

static void on_read(struct hm_conn *conn, const uint8_t *p, size_t n)
{
	struct hm_http_conn *c = conn_of(conn);

	if (c->finished || (c->paused & PAUSE_END))
		return;
	if (c->in.len || stopped(c)) {
		hm_buf_put(&c->in, p, n);
		if (c->in.err) {
			c->finished = true;
			hm_conn_close(conn, NULL);
		}
		return;
	}
	feed(c, (const char *)p, n);
}

void hm_http_conn_resume(struct hm_http_conn *c, enum http_pause bit)
{
	c->paused &= (uint8_t) ~(unsigned)bit;
	if (c->executing || c->finished)
		return;
	while ((c->in.len || c->owes) && !c->finished && !stopped(c)) {
		struct hm_buf full = c->in;

		c->in = c->in_spare; /* feed puts what it cannot use back into c->in */
		hm_buf_reset(&c->in);
		memset(&c->in_spare, 0, sizeof(c->in_spare));
		feed(c, full.p ? full.p : "", full.len);
		hm_buf_reset(&full);
		if (c->in_spare.p == NULL)
			c->in_spare = full;
		else
			hm_buf_fini(&full);
	}
	if (!c->finished && !c->paused && c->in.len == 0)
		hm_conn_read_start(&c->conn);
}

void hm_http_read_pause(struct hm_http_req *r, bool pause)
{
	struct hm_http_conn *c = r->conn;

	if (!c || c->finished)
		return;
	if (pause) {
		c->paused |= PAUSE_STREAM;
		hm_conn_read_stop(&c->conn);
	} else if (c->paused & PAUSE_STREAM) {
		touch(c); /* the silence was ours */
		hm_http_conn_resume(c, PAUSE_STREAM);
	}
}

/* -- time --------------------------------------------------------------------------------- */

/* Looks every quarter of the shortest limit instead of arming a timer per request. */
static uint64_t look_every(const struct http_limits *lim)
{
	uint64_t ms = hm_min(hm_min(lim->header_ms, lim->body_ms), lim->idle_ms) / 4;

	return ms < 10 ? 10 : ms;
}

static void timed_out(struct hm_http_conn *c, const char *what, uint64_t limit_ms)
{
	struct hm_http_req *r = c->cur;

	end_input(c);
	if (!r || r->answered) {
		c->finished = true;
		hm_conn_finish(&c->conn);
		return;
	}
	r->complete = true;
	r->head_done = true;
	r->method = c->parser.method;
	c->cur = NULL;
	hm_http_problem(r, HM_PROBLEM_TIMEOUT, &(struct hm_problem_info){.close = true},
			"the request %s did not arrive within %llu ms", what, (unsigned long long)limit_ms);
}

static void on_timer(struct hm_timer *t)
{
	struct hm_http_conn *c = hm_container_of(t, struct hm_http_conn, timer);
	const struct http_limits *lim = &c->srv->lim;
	uint64_t now = hm_tick_ms(c->srv->tick), idle = now - c->since_ms;

	HM_CHECK(c, HM_HTTP_CONN_MAGIC);
	hm_timer_start(c->srv->tick, t, look_every(lim));
	if (hm_conn_pending(&c->conn) == 0 || c->conn.tx_bytes != c->tx_seen) {
		c->tx_seen = c->conn.tx_bytes;
		c->tx_since_ms = now;
	} else if (now - c->tx_since_ms >= lim->idle_ms) {
		struct hm_err e;

		hm_err_clear(&e);
		hm_err_set(&e, HM_ETIMEDOUT, "the client does not read its answers");
		c->finished = true;
		hm_conn_close(&c->conn, &e);
		return;
	}
	if (c->finished || !c->opened || (c->paused & (PAUSE_AUTH | PAUSE_PIPELINE | PAUSE_STREAM)))
		return;
	if (c->cur && !c->cur->head_done) {
		/* touch() is not called while a head trickles in: since_ms is its first byte */
		if (idle >= lim->header_ms)
			timed_out(c, "head", lim->header_ms);
	} else if (c->cur) {
		if (idle >= lim->body_ms)
			timed_out(c, "body", lim->body_ms);
	} else if (c->reqs.len == 0) {
		/* Before the first request there is no reason to be slow. */
		if (idle >= (c->conn.rx_bytes ? lim->idle_ms : hm_min(lim->idle_ms, lim->header_ms)))
			hm_http_conn_drain(c);
	}
}

/* -- the connection's own life ------------------------------------------------------------- */

static void on_open(struct hm_conn *conn)
{
	struct hm_http_conn *c = conn_of(conn);
	struct hm_http_server *s = c->srv;

	c->opened = true;
	touch(c);
	if (s->closing || s->draining) {
		hm_http_conn_drain(c);
		return;
	}
	if (hm_http_shared_conns(s->deps.shared, 0) > (int64_t)s->lim.max_connections) {
		struct hm_buf *b = &s->body;

		hm_buf_reset(b);
		hm_problem_json(b, HM_PROBLEM_BUSY, NULL,
				HM_STR("all connections are taken (http.max_connections)"));
		hm_buf_printf(hm_conn_out(conn),
			      "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
			      "Retry-After: 1\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%.*s",
			      b->len, (int)b->len, b->p);
		c->finished = true;
		hm_conn_finish(conn);
	}
}

static void on_eof(struct hm_conn *conn)
{
	struct hm_http_conn *c = conn_of(conn);

	if (c->finished)
		return;
	if (c->reqs.len && first_req(c)->streaming) {
		hm_http_stream_end(first_req(c));
		return;
	}
	/* A half-closed client may still wait for answers to whole requests; a half request is nothing. */
	if (c->cur && !c->cur->answered) {
		struct hm_http_req *r = c->cur;

		r->complete = true;
		r->answered = true;
		r->keep_alive = false;
		if (hm_list_first(&c->reqs) == &r->node && c->reqs.len == 1) {
			c->finished = true;
			hm_conn_close(conn, NULL);
			return;
		}
	}
	end_input(c);
	if (c->reqs.len == 0) {
		c->finished = true;
		hm_conn_finish(conn);
		return;
	}
	hm_container_of(c->reqs.head.prev, struct hm_http_req, node)->keep_alive = false;
	hm_http_conn_advance(c);
}

static void on_close(struct hm_conn *conn, const struct hm_err *why)
{
	struct hm_http_conn *c = hm_container_of(conn, struct hm_http_conn, conn);
	struct hm_http_server *s = c->srv;
	struct hm_node *n;

	HM_CHECK(c, HM_HTTP_CONN_MAGIC);
	if (why && why->code == HM_ETLS)
		HM_DEBUG(HTTP, "handshake failed", HM_E(why));
	c->finished = true;
	hm_timer_stop(s->tick, &c->timer);
	c->cur = NULL;
	while ((n = hm_list_first(&c->reqs)) != NULL)
		req_unlink(hm_container_of(n, struct hm_http_req, node));
	hm_list_remove(&s->conns, &c->node);
	hm_http_shared_conns(s->deps.shared, -1);
	hm_stats_sub(s->tick->stats, HM_CT_HTTP_CONNS, 1);
	hm_buf_fini(&c->in);
	hm_buf_fini(&c->in_spare);
	HM_MAGIC_CLEAR(c);
	hm_slab_free(&s->conn_slab, c);
	hm_http_server_conn_gone(s);
}

static const struct hm_conn_ops conn_ops = {
	.on_open = on_open,
	.on_read = on_read,
	.on_eof = on_eof,
	.on_close = on_close,
};

void hm_http_conn_accept(struct hm_http_server *s, struct hm_listener *l)
{
	struct hm_conn_opts o = {.tls = s->tls,
				 .connect_timeout_ms = (uint32_t)hm_min(s->lim.header_ms, (uint64_t)600000)};
	struct hm_http_conn *c;
	struct hm_err e;

	/* A few above the limit get an answer that says so; beyond that only the door. */
	if (s->closing || hm_http_shared_conns(s->deps.shared, 0) >= (int64_t)s->lim.max_connections + 64) {
		hm_listener_drop(l);
		return;
	}
	c = hm_slab_alloc(&s->conn_slab);
	if (!c) {
		hm_listener_drop(l);
		return;
	}
	memset(c, 0, sizeof(*c));
	c->srv = s;
	HM_MAGIC_SET(c, HM_HTTP_CONN_MAGIC);
	hm_list_init(&c->reqs);
	hm_timer_init(&c->timer, on_timer);
	hm_buf_init(&c->in, 1u << 20);
	hm_buf_init(&c->in_spare, 1u << 20);
	llhttp_init(&c->parser, HTTP_REQUEST, &parser_settings);
	c->parser.data = c;
	hm_err_clear(&e);
	if (hm_conn_accept(&c->conn, l, &o, &conn_ops, NULL, &e)) {
		HM_WARN(HTTP, "accept failed", HM_E(&e));
		HM_MAGIC_CLEAR(c);
		hm_slab_free(&s->conn_slab, c);
		return;
	}
	hm_list_push(&s->conns, &c->node);
	hm_http_shared_conns(s->deps.shared, 1);
	hm_stats_inc(s->tick->stats, HM_CT_HTTP_CONNS);
	touch(c);
	hm_timer_start(s->tick, &c->timer, look_every(&s->lim));
}
