/*
 * h2.c - HTTP/2 by nghttp2: requests in, replies out
 *
 * nghttp2 is driven by memory only: h2_input feeds it what was read, h2_fill takes
 * what it wants sent. Header names and values of replies are not copied: they are
 * static or live in the request, which stays until its stream is closed.
 */
#include "conn.h"

#include <stdlib.h>

static struct sink_req *stream_req(struct sink_conn *c, int32_t id)
{
	if (c->cur && c->cur->stream_id == id)
		return c->cur;
	return nghttp2_session_get_stream_user_data(c->h2, id);
}

static int on_begin_headers(nghttp2_session *s, const nghttp2_frame *f, void *user)
{
	struct sink_conn *c = user;
	struct sink_req *r;

	c->cur = NULL;
	if (f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	if (c->goaway_last >= 0 && f->hd.stream_id > c->goaway_last)
		return 0; /* announced as unprocessed; nghttp2 closes it when the GOAWAY is out */
	r = req_new(c->worker, c);
	if (!r)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	r->stream_id = f->hd.stream_id;
	r->keep_alive = true;
	c->cur = r;
	return nghttp2_session_set_stream_user_data(s, f->hd.stream_id, r);
}

static void put_pseudo(struct sink_req *r, const uint8_t *name, size_t name_len, const uint8_t *v, size_t n)
{
	uint32_t at = (uint32_t)r->data.len;

	if (name_len == 7 && memcmp(name, ":method", 7) == 0) {
		if (req_put(r, v, n, SINK_MAX_HEAD)) {
			r->method = at;
			r->method_len = (uint32_t)n;
			r->head_method = n == 4 && memcmp(v, "HEAD", 4) == 0;
		}
	} else if (name_len == 5 && memcmp(name, ":path", 5) == 0) {
		if (req_put(r, v, n, SINK_MAX_HEAD)) {
			r->path = at;
			r->path_len = (uint32_t)n;
		}
	} else if (name_len == 10 && memcmp(name, ":authority", 10) == 0) {
		r->headers[r->n_headers++] = (struct sink_header){at, 4, at + 4, (uint32_t)n};
		if (!req_put(r, "host", 4, SINK_MAX_HEAD) || !req_put(r, v, n, SINK_MAX_HEAD))
			r->n_headers--;
	}
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
	struct sink_conn *c = user;
	struct sink_req *r = c->cur;
	uint32_t at;

	if (!r || r->stream_id != f->hd.stream_id || r->body) /* ignored stream, or trailers */
		return 0;
	if (r->n_headers == SINK_MAX_HEADERS)
		r->head_too_big = true;
	if (r->head_too_big)
		return 0;
	if (name[0] == ':') {
		put_pseudo(r, name, name_len, value, value_len);
		return 0;
	}
	at = (uint32_t)r->data.len;
	if (req_put(r, name, name_len, SINK_MAX_HEAD) && req_put(r, value, value_len, SINK_MAX_HEAD))
		r->headers[r->n_headers++] = (struct sink_header){
			at, (uint32_t)name_len, at + (uint32_t)name_len, (uint32_t)value_len};
	else
		r->head_too_big = true;
	return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *user)
{
	struct sink_conn *c = user;
	struct sink_req *r = stream_req(c, id);

	c->cur = r;
	if (!r || r->state != REQ_READING)
		return 0;
	if (!r->body) /* the head is complete: it is never empty, so an offset of 0 means "no body yet" */
		r->body = (uint32_t)r->data.len;
	if (r->body_too_big || !req_put(r, p, n, r->body + c->worker->sink->options->max_body))
		r->body_too_big = true;
	else
		r->body_len += (uint32_t)n;
	return 0;
}

static void after_request(struct sink_conn *c, struct sink_req *r)
{
	const struct knobs_conn *k = &c->worker->knobs->conn;

	c->requests++;
	if (k->goaway_after && c->requests >= (uint64_t)k->goaway_after && c->goaway_last < 0)
		h2_goaway(c, r->stream_id);
	answer_request(r); /* r may be gone */
	if (k->close_after && c->requests >= (uint64_t)k->close_after)
		c->doom = DOOM_AFTER_FLUSH;
}

static int on_frame_recv(nghttp2_session *s, const nghttp2_frame *f, void *user)
{
	struct sink_conn *c = user;
	struct sink_req *r;

	if ((f->hd.type != NGHTTP2_DATA && f->hd.type != NGHTTP2_HEADERS) ||
	    !(f->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	r = stream_req(c, f->hd.stream_id);
	if (r && r->state == REQ_READING)
		after_request(c, r);
	return 0;
}

static int on_stream_close(nghttp2_session *s, int32_t id, uint32_t code, void *user)
{
	struct sink_conn *c = user;
	struct sink_req *r = nghttp2_session_get_stream_user_data(s, id);

	if (c->cur == r)
		c->cur = NULL;
	if (r)
		req_free(r);
	return 0;
}

static ssize_t read_body(nghttp2_session *s, int32_t id, uint8_t *buf, size_t cap, uint32_t *flags,
			 nghttp2_data_source *src, void *user)
{
	struct sink_conn *c = user;
	struct sink_req *r = src->ptr;
	size_t n;

	if (r->reply.trickle_ms) {
		if (r->deferred)
			return NGHTTP2_ERR_DEFERRED;
		cap = 1;
	}
	if (r->reply.fault == FAULT_TRUNCATE) {
		size_t half = r->reply.body.len / 2;

		if (r->sent >= half) {
			c->doom = DOOM_AFTER_FLUSH;
			return NGHTTP2_ERR_DEFERRED;
		}
		cap = hm_min(cap, half - (size_t)r->sent);
	}
	n = reply_body_read(r, (char *)buf, cap);
	if (reply_body_left(r) == 0) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	} else if (r->reply.trickle_ms) {
		r->deferred = true; /* after this byte, wait */
		worker_delay(c->worker, r, r->reply.trickle_ms);
	}
	return (ssize_t)n;
}

static const char *status_text(int status)
{
	static _Thread_local char text[600][4];
	unsigned i = status >= 100 && status < 600 ? (unsigned)status : 500;

	if (!text[i][0]) {
		text[i][0] = (char)('0' + i / 100);
		text[i][1] = (char)('0' + i / 10 % 10);
		text[i][2] = (char)('0' + i % 10);
	}
	return text[i];
}

#define NV_FLAGS (NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE)

static nghttp2_nv nv(struct hm_str name, struct hm_str value, uint8_t flags)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name.p, (uint8_t *)(uintptr_t)value.p, name.len, value.len,
			    (uint8_t)(NV_FLAGS | flags)};
}

void h2_answer(struct sink_req *r)
{
	struct sink_conn *c = r->conn;
	nghttp2_nv h[SINK_REPLY_HEADERS + 2];
	nghttp2_data_provider body = {.source.ptr = r, .read_callback = read_body};
	bool has_body = reply_body_left(r) > 0 && !r->head_method;
	size_t n = 0;

	h[n++] = nv(HM_STR(":status"), hm_str_n(status_text(r->reply.status), 3), 0);
	if (r->reply.type.len)
		h[n++] = nv(HM_STR("content-type"), r->reply.type, 0);
	for (size_t i = 0; i < r->reply.n_h; i++) /* ids and the like: they must not thrash the HPACK table */
		h[n++] = nv(r->reply.h[i].name, r->reply.h[i].value, NGHTTP2_NV_FLAG_NO_INDEX);
	if (nghttp2_submit_response(c->h2, r->stream_id, h, n, has_body ? &body : NULL) != 0)
		c->doom = DOOM_NOW;
	if (r->reply.accepted && !c->opened) { /* the sender is known now: let it in */
		c->opened = true;
		if (c->max_streams != (uint32_t)c->worker->knobs->conn.max_streams)
			h2_max_streams(c, (uint32_t)c->worker->knobs->conn.max_streams);
	}
}

void h2_reset(struct sink_req *r, uint32_t code)
{
	nghttp2_submit_rst_stream(r->conn->h2, NGHTTP2_FLAG_NONE, r->stream_id, code);
}

void h2_resume(struct sink_req *r)
{
	nghttp2_session_resume_data(r->conn->h2, r->stream_id);
}

void h2_goaway(struct sink_conn *c, int32_t last)
{
	const char *debug = c->worker->knobs->conn.goaway_debug;

	if (!c->h2)
		return;
	if (last < 0)
		last = nghttp2_session_get_last_proc_stream_id(c->h2);
	c->goaway_last = last;
	nghttp2_submit_goaway(c->h2, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, (const uint8_t *)debug,
			      strlen(debug));
	conn_touch(c);
}

void h2_max_streams(struct sink_conn *c, uint32_t n)
{
	nghttp2_settings_entry e = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, n};

	if (!c->h2 || c->max_streams == n)
		return;
	c->max_streams = n;
	nghttp2_submit_settings(c->h2, NGHTTP2_FLAG_NONE, &e, 1);
	conn_touch(c);
}

int h2_start(struct sink_conn *c)
{
	const struct knobs_conn *k = &c->worker->knobs->conn;
	nghttp2_settings_entry e[5];
	size_t n = 0;

	if (nghttp2_session_server_new2(&c->h2, c->worker->h2_callbacks, c, c->worker->h2_option) != 0)
		return -1;
	c->max_streams = (uint32_t)(k->first_streams ? k->first_streams : k->max_streams);
	e[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, c->max_streams};
	e[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)k->stream_window};
	e[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, SINK_MAX_HEAD};
	e[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1};
	if (k->max_frame != 16384)
		e[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_FRAME_SIZE, (uint32_t)k->max_frame};
	if (nghttp2_submit_settings(c->h2, NGHTTP2_FLAG_NONE, e, n) != 0)
		return -1;
	if (k->window > 65535)
		nghttp2_session_set_local_window_size(c->h2, NGHTTP2_FLAG_NONE, 0, (int32_t)k->window);
	return 0;
}

bool h2_input(struct sink_conn *c, const char *p, size_t n)
{
	return nghttp2_session_mem_recv(c->h2, (const uint8_t *)p, n) >= 0;
}

size_t h2_fill(struct sink_conn *c, char *buf, size_t cap)
{
	size_t n = 0;

	while (n < cap) {
		size_t m;

		if (c->chunk_len == 0) {
			ssize_t got = nghttp2_session_mem_send(c->h2, &c->chunk);

			if (got < 0)
				c->doom = DOOM_NOW;
			if (got <= 0)
				break;
			c->chunk_len = (size_t)got;
		}
		m = hm_min(cap - n, c->chunk_len);
		memcpy(buf + n, c->chunk, m);
		c->chunk += m;
		c->chunk_len -= m;
		n += m;
	}
	return n;
}

bool h2_finished(struct sink_conn *c)
{
	return c->h2 && c->chunk_len == 0 && !nghttp2_session_want_read(c->h2) &&
	       !nghttp2_session_want_write(c->h2);
}

void h2_stop(struct sink_conn *c)
{
	nghttp2_session_del(c->h2);
	c->h2 = NULL;
}

int h2_worker_init(struct sink_worker *w)
{
	nghttp2_session_callbacks *cb;

	if (nghttp2_session_callbacks_new(&cb) != 0)
		return -1;
	w->h2_callbacks = cb;
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	if (nghttp2_option_new(&w->h2_option) != 0)
		return -1;
	nghttp2_option_set_no_closed_streams(w->h2_option, 1);
	/* A client with deadlines cancels in bursts; that is its right here. */
	nghttp2_option_set_stream_reset_rate_limit(w->h2_option, 1000000, 1000000);
	return 0;
}

void h2_worker_fini(struct sink_worker *w)
{
	nghttp2_session_callbacks_del(w->h2_callbacks);
	nghttp2_option_del(w->h2_option);
}
