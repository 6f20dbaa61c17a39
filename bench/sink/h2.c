/*
 * h2.c - HTTP/2 by nghttp2: requests in, replies out
 *
 * nghttp2 is driven by memory only: h2_input feeds it what was read, h2_fill takes
 * what it wants sent. Header blocks are cut out on the way in and decoded by
 * hpack.c (see there why); nghttp2 sees the same frames with empty blocks, so its
 * own HTTP checks are off and on_request_head() makes them. Header names and values of replies are not copied: they are
 * static or live in the request, which stays until its stream is closed.
 */
#include "conn.h"

#include <stdlib.h>

/*
 * nghttp2's memory: it allocates some six small things a request. Classes of 32
 * bytes on free lists of the worker; a block remembers its class in front of it.
 */
#define MEM_CLASSES 16
#define MEM_STEP    32u

struct mem_block {
	struct mem_block *next; /* while free */
	size_t class;		/* MEM_CLASSES = from malloc, straight */
};
_Static_assert(sizeof(struct mem_block) == 16, "keeps 16-byte alignment");

struct h2_mem {
	nghttp2_mem mem;
	struct mem_block *free[MEM_CLASSES];
};

static void *mem_malloc(size_t n, void *user)
{
	struct h2_mem *m = user;
	size_t class = n ? (n - 1) / MEM_STEP : 0;
	struct mem_block *b;

	if (class < MEM_CLASSES && m->free[class]) {
		b = m->free[class];
		m->free[class] = b->next;
		return b + 1;
	}
	b = malloc(sizeof(*b) + (class < MEM_CLASSES ? (class + 1) * MEM_STEP : n));
	if (!b)
		return NULL;
	b->class = hm_min(class, (size_t)MEM_CLASSES);
	return b + 1;
}

static void mem_free(void *p, void *user)
{
	struct h2_mem *m = user;
	struct mem_block *b = p;

	if (!p)
		return;
	b--;
	if (b->class == MEM_CLASSES) {
		free(b);
		return;
	}
	b->next = m->free[b->class];
	m->free[b->class] = b;
}

static void *mem_calloc(size_t n, size_t size, void *user)
{
	void *p;

	if (size && n > SIZE_MAX / 2 / size)
		return NULL;
	p = mem_malloc(n * size, user);
	if (p)
		memset(p, 0, n * size);
	return p;
}

static void *mem_realloc(void *p, size_t n, void *user)
{
	struct mem_block *b = p;
	void *q;

	if (!p)
		return mem_malloc(n, user);
	b--;
	if (b->class == MEM_CLASSES && n > MEM_CLASSES * MEM_STEP) {
		b = realloc(b, sizeof(*b) + n);
		return b ? b + 1 : NULL;
	}
	if (b->class < MEM_CLASSES && n <= (b->class + 1) * MEM_STEP)
		return p;
	q = mem_malloc(n, user);
	if (q) { /* from a class: all of it; shrinking from malloc: what still fits */
		memcpy(q, p, b->class < MEM_CLASSES ? (b->class + 1) * MEM_STEP : n);
		mem_free(p, user);
	}
	return q;
}

static struct h2_mem *mem_new(void)
{
	struct h2_mem *m = calloc(1, sizeof(*m));

	if (m)
		m->mem = (nghttp2_mem){m, mem_malloc, mem_free, mem_calloc, mem_realloc};
	return m;
}

static void mem_delete(struct h2_mem *m)
{
	struct mem_block *b;

	for (size_t i = 0; m && i < MEM_CLASSES; i++)
		while ((b = m->free[i])) {
			m->free[i] = b->next;
			free(b);
		}
	free(m);
}

static struct sink_req *stream_req(struct sink_conn *c, int32_t id)
{
	if (c->cur && c->cur->stream_id == id)
		return c->cur;
	return nghttp2_session_get_stream_user_data(c->h2, id);
}

/* nghttp2 opened the stream: the request decoded just before belongs to it. */
static int on_begin_headers(nghttp2_session *s, const nghttp2_frame *f, void *user)
{
	struct sink_conn *c = user;
	struct sink_req *r = c->incoming;

	c->cur = NULL;
	if (!r || f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST ||
	    r->stream_id != f->hd.stream_id)
		return 0;
	if (c->goaway_last >= 0 && f->hd.stream_id > c->goaway_last)
		return 0; /* announced as unprocessed; nghttp2 closes it when the GOAWAY is out */
	c->incoming = NULL;
	c->cur = r;
	return nghttp2_session_set_stream_user_data(s, f->hd.stream_id, r);
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *user)
{
	struct sink_conn *c = user;
	struct sink_req *r = stream_req(c, id);

	c->cur = r;
	if (!r || r->state != REQ_READING)
		return 0;
	if (r->body_too_big || !req_put(r, p, n, r->body + c->worker->sink->options->max_body))
		r->body_too_big = true;
	else
		r->body_len += (uint32_t)n;
	return 0;
}

static void after_request(struct sink_conn *c, struct sink_req *r)
{
	const struct knobs_conn *k = &c->worker->knobs->conn;

	if (!r->body_too_big && r->content_length >= 0 && r->content_length != r->body_len) {
		h2_reset(r, NGHTTP2_PROTOCOL_ERROR);
		return;
	}
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

	if (nghttp2_session_server_new3(&c->h2, c->worker->h2_callbacks, c, c->worker->h2_option,
					&c->worker->h2_mem->mem) != 0)
		return -1;
	c->hpack = malloc(sizeof(*c->hpack));
	if (!c->hpack)
		return -1;
	hpack_init(c->hpack);
	c->frame_state = FRAME_MAGIC;
	c->frame_left = 24;
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

/* -- frames in --------------------------------------------------------------------- */

static bool feed(struct sink_conn *c, const void *p, size_t n)
{
	return n == 0 || nghttp2_session_mem_recv(c->h2, p, n) >= 0;
}

/* After this the header table or the frame order is lost: nothing more is read. */
static void fatal(struct sink_conn *c, uint32_t code)
{
	nghttp2_session_terminate_session(c->h2, code);
	c->doom = hm_max(c->doom, DOOM_AFTER_FLUSH);
}

/* RFC 9113 section 8: what makes a request well formed. */
static void check_head(struct sink_req *r)
{
	int64_t n;

	r->body = (uint32_t)r->data.len;
	if (r->authority_len && r->n_headers < SINK_MAX_HEADERS) { /* one name for both protocols */
		uint32_t at = (uint32_t)r->data.len;

		if (req_put(r, "host", 4, SINK_MAX_HEAD + 4)) {
			r->headers[r->n_headers++] = (struct sink_header){at, 4, r->authority,
									  r->authority_len};
			r->body = (uint32_t)r->data.len;
		}
	}
	if (!r->method_len || !r->path_len || !r->has_scheme)
		r->malformed = !r->head_too_big;
	for (size_t i = 0; i < r->n_headers; i++) {
		if (r->headers[i].name_len != 14 || !hm_str_is(req_header_name(r, i), "content-length"))
			continue;
		if (!hm_str_i64(req_header_value(r, i), &n) || n < 0 ||
		    (r->content_length >= 0 && r->content_length != n))
			r->malformed = true;
		else
			r->content_length = n;
	}
}

static bool on_block(struct sink_conn *c, const uint8_t *p, size_t n)
{
	bool request = c->block_stream > c->last_stream, bad, good;
	struct sink_req *r = req_new(c->worker, c);
	uint8_t f[9] = {0, 0, 0, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS};

	if (!r)
		return false;
	r->stream_id = c->block_stream;
	r->keep_alive = true;
	if (!hpack_decode(c->hpack, p, n, r)) {
		req_free(r);
		fatal(c, NGHTTP2_COMPRESSION_ERROR);
		return true;
	}
	if (request) {
		c->last_stream = c->block_stream;
		check_head(r);
	}
	bad = request ? r->malformed : !c->block_end_stream; /* trailers must end the stream */
	if (bad || !request) {
		req_free(r);
		r = NULL;
	}
	c->incoming = r;
	f[4] = (uint8_t)(f[4] | (c->block_end_stream ? NGHTTP2_FLAG_END_STREAM : 0));
	for (int i = 0; i < 4; i++)
		f[5 + i] = (uint8_t)((uint32_t)c->block_stream >> (24 - 8 * i));
	good = feed(c, f, sizeof(f));
	if (c->incoming) /* refused or ignored by nghttp2 */
		req_free(c->incoming);
	c->incoming = NULL;
	if (bad)
		nghttp2_submit_rst_stream(c->h2, NGHTTP2_FLAG_NONE, c->block_stream, NGHTTP2_PROTOCOL_ERROR);
	return good;
}

/* Payload of HEADERS or CONTINUATION, complete. */
static bool on_block_frame(struct sink_conn *c, const uint8_t *p, size_t n)
{
	uint8_t flags = c->frame[4];
	size_t pad = 0, skip = 0;

	if (c->frame[3] == NGHTTP2_HEADERS) {
		if (flags & NGHTTP2_FLAG_PADDED) {
			pad = n ? p[0] : 1;
			skip = 1;
		}
		if (flags & NGHTTP2_FLAG_PRIORITY)
			skip += 5;
		if (skip + pad > n) {
			fatal(c, NGHTTP2_PROTOCOL_ERROR);
			return true;
		}
		p += skip;
		n -= skip + pad;
		c->block_end_stream = flags & NGHTTP2_FLAG_END_STREAM;
		if ((flags & NGHTTP2_FLAG_END_HEADERS))
			return on_block(c, p, n);
		hm_buf_reset(&c->block);
		c->in_block = true;
	}
	hm_buf_put(&c->block, p, n);
	if (c->block.err) {
		fatal(c, NGHTTP2_ENHANCE_YOUR_CALM);
		return true;
	}
	if (!(flags & NGHTTP2_FLAG_END_HEADERS))
		return true;
	c->in_block = false;
	return on_block(c, (const uint8_t *)c->block.p, c->block.len);
}

static size_t frame_len(const uint8_t *f)
{
	return (size_t)f[0] << 16 | (size_t)f[1] << 8 | f[2];
}

/* A frame's header is here: whose is it? False when the frame breaks the order of a header block. */
static bool on_frame_head(struct sink_conn *c)
{
	int32_t id = (int32_t)(((uint32_t)c->frame[5] << 24 | (uint32_t)c->frame[6] << 16 |
				(uint32_t)c->frame[7] << 8 | c->frame[8]) &
			       0x7fffffff);
	bool cont = c->frame[3] == NGHTTP2_CONTINUATION;

	c->frame_left = frame_len(c->frame);
	c->frame_state = FRAME_PASS;
	if (c->in_block && (!cont || id != c->block_stream)) {
		fatal(c, NGHTTP2_PROTOCOL_ERROR);
		return false;
	}
	/* Oversized frames and ids no client may use go to nghttp2 as they are: it knows the right error. */
	if ((c->in_block || (c->frame[3] == NGHTTP2_HEADERS && id % 2)) &&
	    c->frame_left <= (size_t)c->worker->knobs->conn.max_frame) {
		c->block_stream = id;
		c->frame_state = FRAME_BLOCK;
	}
	return true;
}

bool h2_input(struct sink_conn *c, const char *data, size_t n)
{
	const uint8_t *p = (const uint8_t *)data, *end = p + n,
		      *run = p; /* run: bytes nghttp2 shall see, from here to p */

	while (p < end && c->doom == DOOM_NONE) {
		size_t m;

		switch (c->frame_state) {
		case FRAME_HEAD:
			m = hm_min((size_t)(end - p), 9 - c->frame_have);
			if (m < 9 && c->frame_have == 0 && !feed(c, run, (size_t)(p - run)))
				return false;
			memcpy(c->frame + c->frame_have, p, m);
			if (m < 9) { /* split: the header is given to nghttp2 from c->frame */
				c->frame_have += m;
				p += m;
				run = p;
				if (c->frame_have < 9)
					return true;
				c->frame_have = 0;
				if (!on_frame_head(c))
					return true;
				if (c->frame_state == FRAME_PASS && !feed(c, c->frame, 9))
					return false;
			} else {
				if (!on_frame_head(c))
					return feed(c, run, (size_t)(p - run));
				if (c->frame_state == FRAME_BLOCK && !feed(c, run, (size_t)(p - run)))
					return false;
				p += 9;
				if (c->frame_state == FRAME_BLOCK)
					run = p;
			}
			if (c->frame_state == FRAME_PASS && c->frame_left == 0)
				c->frame_state = FRAME_HEAD;
			else if (c->frame_state == FRAME_BLOCK && c->frame_left == 0) {
				c->frame_state = FRAME_HEAD;
				if (!on_block_frame(c, p, 0))
					return false;
			}
			break;
		case FRAME_MAGIC:
		case FRAME_PASS:
			m = hm_min((size_t)(end - p), c->frame_left);
			p += m;
			c->frame_left -= m;
			if (c->frame_left == 0)
				c->frame_state = FRAME_HEAD;
			break;
		case FRAME_BLOCK:
			m = hm_min((size_t)(end - p), c->frame_left);
			if (m < c->frame_left || c->part.len) { /* split over reads */
				hm_buf_put(&c->part, p, m);
				if (c->part.err)
					return false;
			}
			c->frame_left -= m;
			p += m;
			run = p;
			if (c->frame_left)
				break;
			c->frame_state = FRAME_HEAD;
			if (c->part.len) {
				if (!on_block_frame(c, (const uint8_t *)c->part.p, c->part.len))
					return false;
				hm_buf_reset(&c->part);
			} else if (!on_block_frame(c, p - m, m)) {
				return false;
			}
			break;
		}
	}
	return feed(c, run, (size_t)(p - run));
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
	free(c->hpack);
	c->hpack = NULL;
	c->h2 = NULL;
}

int h2_worker_init(struct sink_worker *w)
{
	nghttp2_session_callbacks *cb;

	w->h2_mem = mem_new();
	if (!w->h2_mem)
		return -1;
	if (nghttp2_session_callbacks_new(&cb) != 0)
		return -1;
	w->h2_callbacks = cb;
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	if (nghttp2_option_new(&w->h2_option) != 0)
		return -1;
	nghttp2_option_set_no_closed_streams(w->h2_option, 1);
	nghttp2_option_set_no_http_messaging(w->h2_option, 1);
	/* A client with deadlines cancels in bursts; that is its right here. */
	nghttp2_option_set_stream_reset_rate_limit(w->h2_option, 1000000, 1000000);
	return 0;
}

void h2_worker_fini(struct sink_worker *w)
{
	nghttp2_session_callbacks_del(w->h2_callbacks);
	nghttp2_option_del(w->h2_option);
	mem_delete(w->h2_mem);
}
