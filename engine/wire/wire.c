/*
 * wire.c - origins, queues, deadlines, and the one way a call ends
 */
#include "wire/wire.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/clock.h"
#include "wire/wire_int.h"

#define DEFAULT_TIMEOUT_MS 30000u
#define DEFAULT_QUEUE	   10000u
#define NS_PER_MS	   1000000u

static void on_done_flush(struct hm_flush *f);
static void on_deadline(struct hm_timer *t);
static void on_pump(struct hm_flush *f);

/* -- calls ------------------------------------------------------------------------- */

/* Bytes that would break a header line or a frame apart: below 0x20 except tab, and 0x7f. Eight at a time. */
static bool clean_text(struct hm_str s, uint8_t lowest)
{
	const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
	size_t i = 0;

	for (; i + 8 <= s.len; i += 8) {
		uint64_t v, low, del;

		memcpy(&v, s.p + i, 8);
		low = (v - ones * lowest) & ~v & highs; /* a byte below `lowest` */
		del = v ^ (ones * 0x7f);
		del = (del - ones) & ~del & highs; /* a byte equal to 0x7f */
		if (hm_unlikely(low | del))
			break;
	}
	for (; i < s.len; i++) {
		uint8_t ch = (uint8_t)s.p[i];

		if ((ch < lowest && !(ch == '\t' && lowest == 0x20)) || ch == 0x7f)
			return false;
	}
	return true;
}

static bool clean_name(struct hm_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char ch = s.p[i];

		if (!((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '-' || ch == '_' ||
		      ch == '.'))
			return false;
	}
	return s.len > 0;
}

static int check_request(const struct hm_call *c, struct hm_err *e)
{
	if (c->method.len == 0 || c->method.len > 16 || !clean_text(c->method, 0x21))
		return hm_err_set(e, HM_EINVAL, "the request has a bad method");
	if (c->path.len == 0 || c->path.p[0] != '/' || !clean_text(c->path, 0x21))
		return hm_err_set(e, HM_EINVAL,
				  "the request's path must begin with '/' and be percent-encoded");
	if (c->n_headers > WIRE_MAX_HEADERS)
		return hm_err_set(e, HM_ELIMIT, "the request has more than %d headers", WIRE_MAX_HEADERS);
	for (size_t i = 0; i < c->n_headers; i++) {
		const struct hm_header *h = &c->headers[i];

		if (!clean_name(h->name))
			return hm_err_set(e, HM_EINVAL, "the request has a bad header name '%.*s'",
					  HM_STRF(h->name));
		if (!clean_text(h->value, 0x20))
			return hm_err_set(e, HM_EINVAL, "the value of header '%.*s' has a control character",
					  HM_STRF(h->name));
	}
	return 0;
}

static void arm_deadline(struct hm_wire *w)
{
	struct hm_heap_node *n = hm_heap_min(&w->deadlines);
	uint64_t now = w->tick->now_ns;

	/* A timer that fires too early looks again; only an earlier deadline has to move it. */
	if (n == NULL || (w->deadline_armed_ns && w->deadline_armed_ns <= n->key))
		return;
	w->deadline_armed_ns = n->key;
	hm_timer_start(w->tick, &w->deadline_timer, n->key > now ? (n->key - now) / NS_PER_MS + 1 : 0);
}

int hm_wire_submit(struct hm_call *c, struct hm_err *e)
{
	struct hm_origin *o = c->origin;
	struct hm_wire *w;
	int rc;

	hm_assert(c->magic == HM_CALL_MAGIC && c->arena && c->on_done);
	HM_CHECK(o, HM_ORIGIN_MAGIC);
	w = o->wire;
	hm_assert(!w->closing);
	if (hm_unlikely(origin_waiting(o) >= w->opts.queue_max))
		return hm_err_set(e, HM_EAGAIN, "%zu requests wait for %s already", origin_waiting(o),
				  o->name.p);
	if ((rc = check_request(c, e)) < 0)
		return rc;
	c->fate = HM_FATE_NOT_SENT;
	c->status = 0;
	c->answer_headers = NULL;
	c->n_answer_headers = 0;
	c->answer = HM_STR_NULL;
	c->answer_cut = false;
	c->err.code = 0;
	c->err.text[0] = '\0';
	c->started_ns = w->tick->now_ns;
	c->done_ns = 0;
	c->stream_id = 0;
	c->tries = 0;
	c->driver = NULL;
	c->sent_off = 0;
	hm_node_init(&c->node);
	c->deadline.pos = 0;
	if (!hm_heap_push(&w->deadlines, &c->deadline,
			  c->started_ns +
				  (uint64_t)(c->timeout_ms ? c->timeout_ms : DEFAULT_TIMEOUT_MS) * NS_PER_MS))
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	arm_deadline(w);
	c->state = CALL_QUEUED;
	hm_list_push(c->urgent ? &o->urgent : &o->normal, &c->node);
	o->calls++;
	w->live++;
	if (c->urgent)
		hm_flush_soon(w->tick, &o->pump);
	else
		hm_flush_later(w->tick, &o->pump);
	return 0;
}

static void done(struct hm_call *c)
{
	struct hm_wire *w = c->origin->wire;

	hm_assert(c->state != CALL_DONE && !hm_node_linked(&c->node));
	hm_heap_remove(&w->deadlines, &c->deadline);
	c->state = CALL_DONE;
	c->driver = NULL;
	c->done_ns = w->tick->now_ns;
	hm_list_push(&w->done, &c->node);
	hm_flush_later(w->tick, &w->done_flush);
}

void call_finish(struct hm_call *c, enum hm_fate fate, int code, const char *fmt, ...)
{
	char text[sizeof(c->err.text)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	hm_err_clear(&c->err);
	hm_err_set(&c->err, code, "%s", text);
	c->fate = fate;
	if (fate == HM_FATE_NOT_SENT)
		c->origin->not_sent++;
	else
		c->origin->maybe++;
	done(c);
}

void call_answered(struct hm_call *c)
{
	c->fate = HM_FATE_ANSWERED;
	c->origin->answered++;
	c->origin->fails = 0;
	done(c);
}

void call_again(struct hm_call *c, int code, const char *why)
{
	struct hm_origin *o = c->origin;

	c->status = 0;
	c->answer = HM_STR_NULL;
	c->driver = NULL;
	if (++c->tries >= WIRE_MAX_TRIES || o->wire->closing) {
		call_finish(c, HM_FATE_NOT_SENT, code, "%s", why);
		return;
	}
	o->resent++;
	c->state = CALL_QUEUED;
	hm_list_push_front(c->urgent ? &o->urgent : &o->normal, &c->node);
	origin_pump_later(o);
}

static size_t round_up_pow2(size_t n)
{
	return n <= 256 ? 256 : (size_t)1 << (64 - __builtin_clzll((unsigned long long)n - 1));
}

/* The room behind c->answer follows from its length (the next power of two), so no field is needed for it. */
bool call_append(struct hm_call *c, const void *p, size_t n)
{
	size_t max = c->origin->wire->opts.max_response_bytes, have = c->answer.len, room;
	char *at = (char *)(uintptr_t)c->answer.p;

	if (n > max - have) {
		n = max - have;
		c->answer_cut = true;
	}
	room = have ? round_up_pow2(have) : 0;
	if (have + n > room) {
		at = hm_arena_grow(c->arena, at, room, round_up_pow2(have + n));
		if (at == NULL) {
			c->answer_cut = true;
			return false;
		}
	}
	if (n)
		memcpy(at + have, p, n);
	c->answer = hm_str_n(at, have + n);
	return !c->answer_cut;
}

struct hm_str hm_call_header(const struct hm_call *c, const char *name)
{
	for (size_t i = 0; i < c->n_answer_headers; i++)
		if (hm_str_is(c->answer_headers[i].name, name))
			return c->answer_headers[i].value;
	return HM_STR_NULL;
}

/* Takes a call off whatever it is on. True when the request may have left. */
static bool detach(struct hm_call *c)
{
	struct hm_origin *o = c->origin;
	bool maybe = false;

	switch (c->state) {
	case CALL_QUEUED: hm_list_remove(c->urgent ? &o->urgent : &o->normal, &c->node); break;
	case CALL_STREAM:
		h2_drop(c);
		maybe = true;
		break;
	case CALL_EASY: maybe = http_drop(c); break;
	case CALL_DRIVER: maybe = o->ops->drop(c); break;
	default: hm_unreachable();
	}
	return maybe;
}

void hm_wire_cancel(struct hm_call *c)
{
	hm_assert(c->magic == HM_CALL_MAGIC);
	if (c->state == CALL_DONE || c->state == CALL_NEW)
		return;
	if (detach(c))
		call_finish(c, HM_FATE_MAYBE, HM_ECANCELLED, "cancelled after the request left");
	else
		call_finish(c, HM_FATE_NOT_SENT, HM_ECANCELLED, "cancelled before the request left");
	origin_pump_later(c->origin);
}

static void expire(struct hm_call *c)
{
	unsigned ms = c->timeout_ms ? c->timeout_ms : DEFAULT_TIMEOUT_MS;

	if (detach(c))
		call_finish(c, HM_FATE_MAYBE, HM_ETIMEDOUT, "%s gave no answer in %u ms", c->origin->name.p,
			    ms);
	else if (c->origin->last_err.code && c->origin->fails)
		call_finish(c, HM_FATE_NOT_SENT, HM_ETIMEDOUT, "not sent in %u ms: %s", ms,
			    c->origin->last_err.text);
	else
		call_finish(c, HM_FATE_NOT_SENT, HM_ETIMEDOUT, "no free stream to %s in %u ms",
			    c->origin->name.p, ms);
	origin_pump_later(c->origin);
}

static void on_deadline(struct hm_timer *t)
{
	struct hm_wire *w = hm_container_of(t, struct hm_wire, deadline_timer);
	struct hm_heap_node *n;

	HM_CHECK(w, HM_WIRE_MAGIC);
	w->deadline_armed_ns = 0;
	while ((n = hm_heap_min(&w->deadlines)) != NULL && n->key <= w->tick->now_ns)
		expire(hm_container_of(n, struct hm_call, deadline));
	arm_deadline(w);
}

static void on_done_flush(struct hm_flush *f)
{
	struct hm_wire *w = hm_container_of(f, struct hm_wire, done_flush);

	HM_CHECK(w, HM_WIRE_MAGIC);
	for (size_t n = w->done.len; n > 0; n--) {
		struct hm_call *c = hm_container_of(hm_list_pop(&w->done), struct hm_call, node);

		w->live--;
		c->state = CALL_NEW;
		c->on_done(c); /* c may be gone, or submitted again */
	}
	if (!hm_list_empty(&w->done))
		hm_flush_later(w->tick, f);
	if (w->live == 0) {
		hm_timer_stop(w->tick, &w->deadline_timer); /* an idle loop may end */
		w->deadline_armed_ns = 0;
	}
	if (w->closing)
		wire_maybe_closed(w);
}

/* -- answer headers ------------------------------------------------------------------- */

void answer_head_init(struct answer_head *h, size_t limit)
{
	memset(h, 0, sizeof(*h));
	h->limit = limit;
	hm_buf_init(&h->bytes, limit + 1024);
}

void answer_head_fini(struct answer_head *h)
{
	hm_buf_fini(&h->bytes);
}

void answer_head_reset(struct answer_head *h)
{
	hm_buf_reset(&h->bytes);
	h->n = 0;
	h->seen = 0;
	h->status = 0;
	h->too_large = false;
}

void answer_head_add(struct answer_head *h, struct hm_str name, struct hm_str value)
{
	h->seen += name.len + value.len + 32; /* as RFC 9113 section 6.5.2 counts */
	if (h->seen > h->limit || h->n == hm_countof(h->v)) {
		h->too_large = true;
		return;
	}
	h->v[h->n].name = (uint32_t)h->bytes.len;
	h->v[h->n].name_len = (uint32_t)name.len;
	hm_buf_puts(&h->bytes, name);
	h->v[h->n].value = (uint32_t)h->bytes.len;
	h->v[h->n].value_len = (uint32_t)value.len;
	hm_buf_puts(&h->bytes, value);
	h->n++;
}

bool answer_head_store(struct answer_head *h, struct hm_call *c)
{
	size_t list = h->n * sizeof(struct hm_header);
	char *at;

	if (h->n == 0)
		return true;
	at = h->bytes.err ? NULL : hm_arena_alloc(c->arena, list + h->bytes.len);
	if (at == NULL)
		return false;
	c->answer_headers = (struct hm_header *)(void *)at;
	c->n_answer_headers = h->n;
	memcpy(at + list, h->bytes.p, h->bytes.len);
	for (uint32_t i = 0; i < h->n; i++)
		c->answer_headers[i] = (struct hm_header){
			.name = hm_str_n(at + list + h->v[i].name, h->v[i].name_len),
			.value = hm_str_n(at + list + h->v[i].value, h->v[i].value_len),
		};
	return true;
}

/* -- origins ------------------------------------------------------------------------------ */

uint32_t origin_reserve(uint32_t limit)
{
	return limit < 20 ? 0 : limit / 20;
}

struct hm_call *origin_next(struct hm_origin *o, bool urgent_only)
{
	struct hm_node *n = hm_list_pop(&o->urgent);

	if (n == NULL && !urgent_only)
		n = hm_list_pop(&o->normal);
	return n ? hm_container_of(n, struct hm_call, node) : NULL;
}

void origin_note(struct hm_origin *o, const struct hm_err *why)
{
	o->last_err = *why;
	o->last_err_ms = o->wire->tick->wall_ms;
}

void origin_fail_waiting(struct hm_origin *o, const struct hm_err *why)
{
	struct hm_call *c;

	while ((c = origin_next(o, false)) != NULL)
		call_finish(c, HM_FATE_NOT_SENT, why->code, "%s", why->text);
}

void origin_use_http1(struct hm_origin *o)
{
	if (o->http1)
		return;
	HM_INFO(WIRE, "provider does not offer HTTP/2, using HTTP/1.1", HM_SV("origin", o->name));
	o->http1 = true;
	origin_pump_later(o);
}

void origin_pump_later(struct hm_origin *o)
{
	hm_flush_later(o->wire->tick, &o->pump);
}

static void on_pump(struct hm_flush *f)
{
	struct hm_origin *o = hm_container_of(f, struct hm_origin, pump);

	HM_CHECK(o, HM_ORIGIN_MAGIC);
	if (o->ops)
		o->ops->pump(o);
	else if (o->http1)
		http_pump(o);
	else
		h2_pump(o);
	origin_check_room(o);
}

size_t hm_origin_room(const struct hm_origin *o, bool urgent)
{
	size_t room, waiting = urgent ? o->urgent.len : origin_waiting(o);

	HM_CHECK(o, HM_ORIGIN_MAGIC);
	room = o->ops ? o->ops->room(o, urgent) : o->http1 ? http_room(o, urgent) : h2_room(o, urgent);
	room = room > waiting ? room - waiting : 0;
	/* Asking is what arms the listener; to the asker the origin stays const. */
	if (room == 0)
		((struct hm_origin *)(uintptr_t)o)->said_full = true;
	return room;
}

void origin_check_room(struct hm_origin *o)
{
	if (!o->said_full || o->on_room == NULL)
		return;
	o->said_full = false;
	if (hm_origin_room(o, false) > 0) /* sets said_full again when there is none */
		o->on_room(o->on_room_arg);
}

void hm_origin_on_room(struct hm_origin *o, void (*fn)(void *arg), void *arg)
{
	HM_CHECK(o, HM_ORIGIN_MAGIC);
	o->on_room = fn;
	o->on_room_arg = arg;
}

const struct hm_origin_opts *hm_origin_options(const struct hm_origin *o)
{
	HM_CHECK(o, HM_ORIGIN_MAGIC);
	return &o->opts;
}

struct hm_str hm_origin_session(const struct hm_origin_opts *o, const char *name)
{
	const char *p = o->session.p, *end = p + o->session.len;

	while (p < end) {
		const char *value = p + strlen(p) + 1;

		if (strcmp(p, name) == 0)
			return hm_str_c(value);
		p = value + strlen(value) + 1;
	}
	return HM_STR_NULL;
}

void hm_origin_hold(struct hm_origin *o)
{
	HM_CHECK(o, HM_ORIGIN_MAGIC);
	if (o->holders++ == 0 && o->ops && o->ops->wanted)
		o->ops->wanted(o, true);
}

void hm_origin_release(struct hm_origin *o)
{
	HM_CHECK(o, HM_ORIGIN_MAGIC);
	hm_assert(o->holders > 0);
	if (--o->holders == 0 && o->ops && o->ops->wanted)
		o->ops->wanted(o, false);
}

bool hm_origin_opts_eq(const struct hm_origin_opts *a, const struct hm_origin_opts *b)
{
	return a->tls == b->tls && a->verify == b->verify && a->version == b->version && a->port == b->port &&
	       hm_str_ieq(a->host, b->host) && hm_str_eq(a->server_name, b->server_name) &&
	       hm_str_eq(a->connect_to, b->connect_to) && hm_str_eq(a->ca_file, b->ca_file) &&
	       hm_str_eq(a->cert_file, b->cert_file) && hm_str_eq(a->key_file, b->key_file) &&
	       hm_str_eq(a->proxy, b->proxy) && a->max_connections == b->max_connections &&
	       a->max_streams == b->max_streams && a->deny_private == b->deny_private &&
	       a->protocol == b->protocol && hm_str_eq(a->session, b->session);
}

static uint64_t bucket_of(const struct hm_origin_opts *o)
{
	uint64_t h = o->port;

	for (size_t i = 0; i < o->host.len; i++) /* host names do not care for case */
		h = (h ^ (uint64_t)(o->host.p[i] | 0x20)) * 0x100000001b3u;
	return (h ^ (h >> 32)) % WIRE_BUCKETS;
}

static bool own(struct hm_wire *w, struct hm_str *s)
{
	if (s->len == 0) {
		*s = HM_STR_NULL;
		return true;
	}
	*s = hm_str_n(hm_arena_strdup(&w->strings, *s), s->len);
	return s->p != NULL;
}

static bool own_all(struct hm_wire *w, struct hm_origin_opts *o)
{
	return own(w, &o->host) && own(w, &o->server_name) && own(w, &o->connect_to) && own(w, &o->ca_file) &&
	       own(w, &o->cert_file) && own(w, &o->key_file) && own(w, &o->proxy) && own(w, &o->session);
}

/* "host:port" | "[v6]:port" | "unix:/path" */
static int set_dial(struct hm_origin *o, struct hm_err *e)
{
	struct hm_str to = o->opts.connect_to;
	struct hm_str port = HM_STR_NULL;
	uint64_t v;

	o->dial_host = o->opts.host;
	o->dial_port = o->opts.port;
	if (to.len == 0)
		return 0;
	if (hm_str_starts(to, HM_STR("unix:"))) {
		o->dial_unix = hm_str_n(to.p + 5, to.len - 5);
		return 0;
	}
	for (size_t i = to.len; i > 0; i--) {
		if (to.p[i - 1] == ':') {
			port = hm_str_n(to.p + i, to.len - i);
			o->dial_host = hm_str_n(to.p, i - 1);
			break;
		}
	}
	if (!hm_str_u64(port, &v) || v == 0 || v > 65535 || o->dial_host.len == 0)
		return hm_err_set(e, HM_EINVAL, "connect_to '%.*s' is not host:port", HM_STRF(to));
	o->dial_port = (uint16_t)v;
	if (o->dial_host.p[0] == '[' && o->dial_host.p[o->dial_host.len - 1] == ']')
		o->dial_host = hm_str_n(o->dial_host.p + 1, o->dial_host.len - 2);
	return 0;
}

static void set_names(struct hm_origin *o)
{
	struct hm_arena *a = &o->wire->strings;
	bool v6 = hm_str_chr(o->opts.host, ':') >= 0;
	const char *open = v6 ? "[" : "", *close = v6 ? "]" : "";

	if (o->opts.protocol == HM_PROTO_HTTP && o->opts.port == (o->opts.tls ? 443 : 80))
		o->authority = hm_arena_printf(a, "%s%.*s%s", open, HM_STRF(o->opts.host), close);
	else
		o->authority = hm_arena_printf(a, "%s%.*s%s:%u", open, HM_STRF(o->opts.host), close,
					       o->opts.port);
	o->name = hm_arena_printf(a, "%s%s://%.*s", hm_protocol_name(o->opts.protocol),
				  o->opts.tls ? "s" : "", HM_STRF(o->authority));
}

static bool same_tls(const struct hm_tls_opts *a, const struct hm_tls_opts *b)
{
	return a->verify == b->verify && hm_str_eq(a->ca_file, b->ca_file) &&
	       hm_str_eq(a->cert_file, b->cert_file) && hm_str_eq(a->key_file, b->key_file) &&
	       hm_str_eq(a->min_version, b->min_version) && hm_str_eq(a->alpn, b->alpn);
}

int wire_tls_get(struct hm_wire *w, const struct hm_tls_opts *o, struct hm_tls **t_r, struct hm_err *e)
{
	struct wire_tls *t;
	int rc;

	for (t = w->tls; t; t = t->next) {
		if (same_tls(&t->opts, o)) {
			*t_r = t->tls;
			return 0;
		}
	}
	t = hm_arena_zalloc(&w->strings, sizeof(*t));
	if (t == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	if ((rc = hm_tls_new(o, &t->tls, e)) < 0)
		return rc;
	t->opts = *o; /* its strings are the origin's or the wire's, which live as long */
	t->next = w->tls;
	w->tls = t;
	*t_r = t->tls;
	return 0;
}

static int origin_new(struct hm_wire *w, const struct hm_origin_opts *opts, struct hm_origin **r,
		      struct hm_err *e)
{
	struct hm_origin *o = hm_arena_zalloc(&w->strings, sizeof(*o));
	int rc;

	if (o == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	o->wire = w;
	o->opts = *opts;
	if (!own_all(w, &o->opts))
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	if ((rc = set_dial(o, e)) < 0)
		return rc;
	set_names(o);
	if (o->authority.p == NULL || o->name.p == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	if (o->opts.max_connections == 0)
		o->opts.max_connections = w->opts.max_connections;
	if (o->opts.max_streams == 0)
		o->opts.max_streams = w->opts.max_streams;
	o->opts.verify = o->opts.verify && w->opts.verify;
	if (o->opts.ca_file.len == 0)
		o->opts.ca_file = w->opts.ca_file;
	o->http1 = opts->version == HM_HTTP_1 || opts->proxy.len > 0 ||
		   (opts->version == HM_HTTP_AUTO && !opts->tls);
	if (opts->version == HM_HTTP_2 && !opts->tls)
		return hm_err_set(e, HM_EINVAL,
				  "HTTP/2 by ALPN needs https:// (clear-text HTTP/2 is by prior knowledge)");
	if (opts->protocol != HM_PROTO_HTTP) {
		o->ops = w->opts.drivers[opts->protocol].ops;
		if (o->ops == NULL)
			return hm_err_set(e, HM_EINVAL, "there is no driver for %s:// here",
					  hm_protocol_name(opts->protocol));
		hm_assert(o->ops->protocol == opts->protocol);
	}
	if (opts->tls) {
		struct hm_tls_opts t = {
			.verify = o->opts.verify,
			.ca_file = o->opts.ca_file,
			.cert_file = o->opts.cert_file,
			.key_file = o->opts.key_file,
			.min_version = w->opts.tls_min,
			.alpn = o->ops				? HM_STR_NULL
				: opts->version == HM_HTTP_AUTO ? HM_STR("h2,http/1.1")
				: opts->version == HM_HTTP_1	? HM_STR("http/1.1")
								: HM_STR("h2"),
		};

		/* For HTTP/1.1 it is libcurl's affair, but a bad file should be reported here and now too. */
		if ((rc = wire_tls_get(w, &t, &o->tls, e)) < 0)
			return rc;
	}
	hm_list_init(&o->urgent);
	hm_list_init(&o->normal);
	hm_list_init(&o->running);
	hm_flush_init(&o->pump, on_pump);
	h2_origin_init(o);
	HM_MAGIC_SET(o, HM_ORIGIN_MAGIC);
	if (o->ops && (rc = o->ops->open(o, e)) < 0)
		return rc;
	*r = o;
	return 0;
}

/* What an origin holds: defaults filled in. */
static struct hm_origin_opts filled(const struct hm_wire *w, const struct hm_origin_opts *opts)
{
	struct hm_origin_opts o = *opts;

	o.max_connections = opts->max_connections ? opts->max_connections : w->opts.max_connections;
	o.max_streams = opts->max_streams ? opts->max_streams : w->opts.max_streams;
	o.verify = opts->verify && w->opts.verify;
	if (o.ca_file.len == 0)
		o.ca_file = w->opts.ca_file;
	return o;
}

bool hm_origin_is(const struct hm_origin *o, const struct hm_origin_opts *opts)
{
	struct hm_origin_opts want;

	HM_CHECK(o, HM_ORIGIN_MAGIC);
	want = filled(o->wire, opts);
	return hm_origin_opts_eq(&o->opts, &want);
}

int hm_wire_origin(struct hm_wire *w, const struct hm_origin_opts *opts, struct hm_origin **r,
		   struct hm_err *e)
{
	uint64_t b = bucket_of(opts);
	struct hm_origin_opts want = filled(w, opts);
	struct hm_origin *o;
	int rc;

	HM_CHECK(w, HM_WIRE_MAGIC);
	for (o = w->buckets[b]; o; o = o->next_same) {
		if (hm_origin_opts_eq(&o->opts, &want)) {
			*r = o;
			return 0;
		}
	}
	if (opts->host.len == 0 || opts->port == 0)
		return hm_err_set(e, HM_EINVAL, "an origin needs a host and a port");
	if (w->origins.len >= WIRE_MAX_ORIGINS)
		return hm_err_set(e, HM_ELIMIT, "more than %u different hosts", WIRE_MAX_ORIGINS);
	if ((rc = origin_new(w, opts, &o, e)) < 0)
		return rc;
	o->next_same = w->buckets[b];
	w->buckets[b] = o;
	hm_list_push(&w->origins, &o->node);
	*r = o;
	return 0;
}

/* -- the wire -------------------------------------------------------------------------------- */

uint64_t wire_random(struct hm_wire *w) /* xorshift64*: jitter, not secrets */
{
	w->rng ^= w->rng >> 12;
	w->rng ^= w->rng << 25;
	w->rng ^= w->rng >> 27;
	return w->rng * 0x2545f4914f6cdd1du;
}

int hm_wire_new(struct hm_tick *t, const struct hm_wire_opts *o, struct hm_wire **w_r, struct hm_err *e)
{
	struct hm_wire *w = calloc(1, sizeof(*w));

	*w_r = NULL;
	HM_CHECK(t, HM_TICK_MAGIC);
	if (w == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	HM_MAGIC_SET(w, HM_WIRE_MAGIC);
	w->tick = t;
	w->opts = *o;
	hm_arena_init(&w->strings, NULL, 0);
	hm_list_init(&w->origins);
	hm_list_init(&w->done);
	hm_heap_init(&w->deadlines);
	hm_flush_init(&w->done_flush, on_done_flush);
	hm_timer_init(&w->deadline_timer, on_deadline);
	h2_mem_init(&w->mem);
	if (uv_random(NULL, NULL, &w->rng, sizeof(w->rng), 0, NULL) != 0 || w->rng == 0)
		w->rng = t->now_ns | 1;
	if (!own(w, &w->opts.ca_file) || !own(w, &w->opts.tls_min)) {
		hm_arena_fini(&w->strings);
		free(w);
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	}
	if (w->opts.max_connections == 0)
		w->opts.max_connections = 8;
	if (w->opts.max_streams == 0)
		w->opts.max_streams = 1000;
	if (w->opts.queue_max == 0)
		w->opts.queue_max = DEFAULT_QUEUE;
	if (w->opts.connect_timeout_ms == 0)
		w->opts.connect_timeout_ms = 10000;
	if (w->opts.max_response_bytes == 0)
		w->opts.max_response_bytes = 1u << 20;
	if (w->opts.max_header_bytes == 0)
		w->opts.max_header_bytes = 64u << 10;
	*w_r = w;
	return 0;
}

void hm_wire_abort(struct hm_wire *w)
{
	HM_CHECK(w, HM_WIRE_MAGIC);
	for (;;) { /* every call that can still be cancelled has a deadline */
		struct hm_heap_node *n = hm_heap_min(&w->deadlines);

		if (n == NULL)
			break;
		hm_wire_cancel(hm_container_of(n, struct hm_call, deadline));
	}
}

/* Everything that points into the wire has come home. */
void wire_maybe_closed(struct hm_wire *w)
{
	void (*on_closed)(void *arg) = w->on_closed;
	void *arg = w->on_closed_arg;

	if (!w->closing || w->live || w->sessions || !w->http_closed)
		return;
	hm_list_foreach (&w->origins, n) {
		struct hm_origin *o = hm_container_of(n, struct hm_origin, node);

		hm_flush_cancel(w->tick, &o->pump);
		if (o->ops)
			o->ops->fini(o);
		h2_origin_fini(o);
		HM_MAGIC_CLEAR(o);
	}
	for (struct wire_tls *t = w->tls; t; t = t->next)
		hm_tls_unref(t->tls);
	hm_timer_stop(w->tick, &w->deadline_timer);
	hm_flush_cancel(w->tick, &w->done_flush);
	hm_heap_fini(&w->deadlines);
	h2_mem_fini(&w->mem);
	hm_arena_fini(&w->strings);
	HM_MAGIC_CLEAR(w);
	free(w);
	if (on_closed)
		on_closed(arg);
}

void hm_wire_close(struct hm_wire *w, void (*on_closed)(void *arg), void *arg)
{
	HM_CHECK(w, HM_WIRE_MAGIC);
	hm_assert(!w->closing && w->live == w->done.len);
	w->closing = true;
	w->on_closed = on_closed;
	w->on_closed_arg = arg;
	w->sessions++; /* what closes at once is not the end of the wire yet */
	hm_list_foreach (&w->origins, n) {
		struct hm_origin *o = hm_container_of(n, struct hm_origin, node);

		if (o->ops)
			o->ops->close(o);
		else
			h2_close_all(o);
	}
	http_close(w);
	w->sessions--;
	hm_flush_later(w->tick,
		       &w->done_flush); /* on_closed comes from the loop even when nothing was open */
}

/* -- describe ----------------------------------------------------------------------------------- */

static const char *version_name(const struct hm_origin *o)
{
	if (o->ops)
		return hm_protocol_name(o->opts.protocol);
	if (o->http1)
		return "http/1.1";
	return o->opts.version == HM_HTTP_2_PRIOR ? "h2c" : "h2";
}

static void describe_origin(const struct hm_origin *o, struct hm_buf *out)
{
	hm_buf_lit(out, "{\"origin\":\"");
	hm_buf_json(out, o->name);
	hm_buf_printf(out, "\",\"protocol\":\"%s\",\"waiting\":%zu,\"waiting_urgent\":%zu", version_name(o),
		      o->normal.len, o->urgent.len);
	hm_buf_printf(
		out, ",\"calls\":%llu,\"answered\":%llu,\"not_sent\":%llu,\"maybe\":%llu,\"resent\":%llu",
		(unsigned long long)o->calls, (unsigned long long)o->answered,
		(unsigned long long)o->not_sent, (unsigned long long)o->maybe, (unsigned long long)o->resent);
	if (o->ops)
		o->ops->describe(o, out);
	else if (o->http1)
		hm_buf_printf(out, ",\"in_flight\":%zu", o->running.len);
	else
		h2_describe(o, out);
	if (o->last_err.code) {
		char when[25];

		hm_clock_rfc3339(o->last_err_ms, when);
		hm_buf_printf(out, ",\"last_error\":{\"at\":\"%s\",\"text\":\"", when);
		hm_buf_json(out, hm_str_c(o->last_err.text));
		hm_buf_lit(out, "\"}");
	}
	hm_buf_putc(out, '}');
}

void hm_wire_describe(const struct hm_wire *w, struct hm_buf *out)
{
	bool first = true;

	HM_CHECK(w, HM_WIRE_MAGIC);
	hm_buf_putc(out, '[');
	hm_list_foreach (&w->origins, n) {
		if (!first)
			hm_buf_putc(out, ',');
		first = false;
		describe_origin(hm_container_of(n, const struct hm_origin, node), out);
	}
	hm_buf_putc(out, ']');
}
