/*
 * http.c - the slow road: libcurl multi on libuv, for HTTP/1.1 and proxies
 *
 * One multi handle per wire (curl_loop.h), made when first needed; a call borrows an easy
 * handle from a free list for the time it runs.
 *
 * Fate: CURLOPT_PREREQFUNCTION runs when a connection stands and the request is
 * about to be written, so "it ran" is the line between NOT_SENT and MAYBE. If it
 * runs a second time, libcurl is about to repeat a request on a fresh connection
 * because the reused one died without an answer; for methods that are not
 * idempotent that could send a message twice, so it is refused (RFC 9110 section 9.2.2).
 *
 * Redirects are never followed and proxy settings of the environment are ignored.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "wire/curl_loop.h"
#include "wire/wire_int.h"

#define HTTP_DRIVER_MAGIC 0x68747031u
#define HTTP_EASY_MAGIC	  0x65617379u
#define KEPT_CONNECTIONS  256L
#define KEPT_EASIES	  256u

struct http_driver {
	uint32_t magic;
	struct hm_wire *wire;
	struct curl_loop loop;
	struct hm_list idle; /* easy.node */
};

struct easy {
	uint32_t magic;
	struct hm_node node;
	struct http_driver *driver;
	struct hm_call *call;
	CURL *h;
	struct answer_head head;
	bool sent, repeated, head_done;
	struct curl_guard guard;
	char error[CURL_ERROR_SIZE];
};

static void on_done(struct curl_loop *l, CURL *h, CURLcode rc);

static struct http_driver *driver_get(struct hm_wire *w)
{
	struct http_driver *d = w->http;

	if (d)
		return d;
	d = calloc(1, sizeof(*d));
	if (d == NULL || !curl_loop_init(&d->loop, w->tick, KEPT_CONNECTIONS, on_done)) {
		free(d);
		return NULL;
	}
	HM_MAGIC_SET(d, HTTP_DRIVER_MAGIC);
	d->wire = w;
	hm_list_init(&d->idle);
	w->http = d;
	return d;
}

static void on_closed(struct curl_loop *l)
{
	struct http_driver *d = hm_container_of(l, struct http_driver, loop);
	struct hm_wire *w = d->wire;

	HM_MAGIC_CLEAR(d);
	free(d);
	w->http = NULL;
	w->http_closed = true;
	wire_maybe_closed(w);
}

void http_close(struct hm_wire *w)
{
	struct http_driver *d = w->http;

	if (d == NULL) {
		w->http_closed = true;
		return;
	}
	while (!hm_list_empty(&d->idle)) {
		struct easy *e = hm_container_of(hm_list_pop(&d->idle), struct easy, node);

		curl_easy_cleanup(e->h);
		answer_head_fini(&e->head);
		HM_MAGIC_CLEAR(e);
		free(e);
	}
	curl_loop_close(&d->loop, on_closed);
}

/* -- callbacks of a transfer --------------------------------------------------------------- */

static bool idempotent(const struct hm_call *c)
{
	return hm_str_is(c->method, "GET") || hm_str_is(c->method, "HEAD") || hm_str_is(c->method, "PUT") ||
	       hm_str_is(c->method, "DELETE") || hm_str_is(c->method, "OPTIONS");
}

static int on_prereq(void *arg, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
	struct easy *e = arg;

	HM_CHECK(e, HTTP_EASY_MAGIC);
	if (e->sent && !idempotent(e->call)) {
		e->repeated = true;
		return CURL_PREREQFUNC_ABORT;
	}
	e->sent = true;
	return CURL_PREREQFUNC_OK;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
	struct easy *e = arg;
	struct hm_str line = hm_str_trim(hm_str_n(p, size * n));
	struct hm_str name;
	char *lower;

	HM_CHECK(e, HTTP_EASY_MAGIC);
	if (hm_str_starts(line, HM_STR("HTTP/"))) { /* also after a 100 or a proxy's own answer */
		answer_head_reset(&e->head);
		e->head_done = false;
		return size * n;
	}
	if (line.len == 0) {
		e->head_done = true;
		return size * n;
	}
	if (e->head_done || !hm_str_split(&line, ':', &name)) /* a trailer; a line without ':' */
		return size * n;
	/* In place, in libcurl's own buffer: case means nothing to it either. */
	name = hm_str_trim(name);
	lower = p;
	for (size_t i = 0; i < name.len; i++) {
		char ch = name.p[i];

		lower[i] = ch >= 'A' && ch <= 'Z' ? (char)(ch | 0x20) : ch;
	}
	answer_head_add(&e->head, hm_str_n(lower, name.len), hm_str_trim(line));
	return e->head.too_large ? 0 : size * n;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct easy *e = arg;

	HM_CHECK(e, HTTP_EASY_MAGIC);
	return call_append(e->call, p, size * n) ? size * n : 0;
}

/* -- setting one up --------------------------------------------------------------------------- */

static struct easy *easy_get(struct http_driver *d)
{
	struct hm_node *n = hm_list_pop(&d->idle);
	struct easy *e;

	if (n)
		return hm_container_of(n, struct easy, node);
	e = calloc(1, sizeof(*e));
	if (e == NULL)
		return NULL;
	e->h = curl_easy_init();
	if (e->h == NULL) {
		free(e);
		return NULL;
	}
	HM_MAGIC_SET(e, HTTP_EASY_MAGIC);
	e->driver = d;
	answer_head_init(&e->head, d->wire->opts.max_header_bytes);
	return e;
}

static void easy_put(struct easy *e)
{
	struct http_driver *d = e->driver;

	e->call = NULL;
	if (d->idle.len >= KEPT_EASIES) {
		curl_easy_cleanup(e->h);
		answer_head_fini(&e->head);
		HM_MAGIC_CLEAR(e);
		free(e);
		return;
	}
	curl_easy_reset(e->h); /* keeps connections and sessions, which live in the multi and the share */
	hm_list_push_front(&d->idle, &e->node);
}

/* libcurl only reads the list, so it may live in the call's arena. */
static bool list_add(struct hm_arena *a, struct curl_slist ***tail, struct hm_str text)
{
	struct curl_slist *n = hm_arena_alloc(a, sizeof(*n));

	if (n == NULL || text.p == NULL)
		return false;
	n->data = (char *)(uintptr_t)text.p;
	n->next = NULL;
	**tail = n;
	*tail = &n->next;
	return true;
}

static bool set_headers(struct easy *e, const struct hm_call *c)
{
	struct curl_slist *list = NULL, **tail = &list;
	const struct hm_origin *o = c->origin;
	bool type = false, accept = false, host = false, agent = false;

	for (size_t i = 0; i < c->n_headers; i++) {
		const struct hm_header *h = &c->headers[i];

		if (hm_str_is(h->name, "content-length")) /* libcurl's own */
			continue;
		type |= hm_str_is(h->name, "content-type");
		accept |= hm_str_is(h->name, "accept");
		host |= hm_str_is(h->name, "host");
		agent |= hm_str_is(h->name, "user-agent");
		if (!list_add(c->arena, &tail,
			      hm_arena_printf(c->arena, h->value.len ? "%.*s: %.*s" : "%.*s;%.*s",
					      HM_STRF(h->name), HM_STRF(h->value))))
			return false;
	}
	/* A request carries what its adapter says and nothing else: "name:" takes libcurl's own header away. */
	if (!list_add(c->arena, &tail, HM_STR("Expect:")) ||
	    (!type && !list_add(c->arena, &tail, HM_STR("Content-Type:"))) ||
	    (!accept && !list_add(c->arena, &tail, HM_STR("Accept:"))) ||
	    (!agent && !list_add(c->arena, &tail, HM_STR("User-Agent:"))))
		return false;
	if (!host && o->opts.server_name.len &&
	    !list_add(c->arena, &tail, hm_arena_printf(c->arena, "Host: %.*s", HM_STRF(o->authority))))
		return false;
	return curl_easy_setopt(e->h, CURLOPT_HTTPHEADER, list) == CURLE_OK;
}

/* The URL's host is what libcurl verifies and says in SNI; CONNECT_TO leads it elsewhere. */
static bool set_target(struct easy *e, const struct hm_call *c)
{
	const struct hm_origin *o = c->origin;
	struct hm_str url, to;
	struct curl_slist *list = NULL, **tail = &list;
	bool v6 = hm_str_chr(o->dial_host, ':') >= 0;

	if (o->opts.server_name.len)
		url = hm_arena_printf(c->arena, "%s://%.*s:%u%.*s", o->opts.tls ? "https" : "http",
				      HM_STRF(o->opts.server_name), o->opts.port, HM_STRF(c->path));
	else
		url = hm_arena_printf(c->arena, "%.*s%.*s", HM_STRF(o->name), HM_STRF(c->path));
	if (url.p == NULL || curl_easy_setopt(e->h, CURLOPT_URL, url.p) != CURLE_OK)
		return false;
	if (o->dial_unix.len)
		return curl_easy_setopt(e->h, CURLOPT_UNIX_SOCKET_PATH, o->dial_unix.p) == CURLE_OK;
	if (o->opts.connect_to.len == 0 && o->opts.server_name.len == 0)
		return true;
	to = hm_arena_printf(c->arena, v6 ? "::[%.*s]:%u" : "::%.*s:%u", HM_STRF(o->dial_host), o->dial_port);
	return list_add(c->arena, &tail, to) && curl_easy_setopt(e->h, CURLOPT_CONNECT_TO, list) == CURLE_OK;
}

static bool set_method(struct easy *e, const struct hm_call *c)
{
	char *method = hm_arena_strdup(c->arena, c->method);
	CURL *h = e->h;

	if (method == NULL)
		return false;
	if (hm_str_is(c->method, "HEAD"))
		return curl_easy_setopt(h, CURLOPT_NOBODY, 1L) == CURLE_OK;
	if (c->body.len || hm_str_is(c->method, "POST") || hm_str_is(c->method, "PUT") ||
	    hm_str_is(c->method, "PATCH")) {
		curl_easy_setopt(h, CURLOPT_POST, 1L);
		curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body.len);
		curl_easy_setopt(h, CURLOPT_POSTFIELDS, c->body.len ? c->body.p : "");
	} else {
		curl_easy_setopt(h, CURLOPT_HTTPGET, 1L);
	}
	return curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, method) == CURLE_OK;
}

/* HTTP/2 inside a proxy's tunnel is libcurl's as well: APNs speaks nothing else. */
static long http_version(const struct hm_origin *o)
{
	if (o->opts.proxy.len && o->opts.tls && o->opts.version != HM_HTTP_1)
		return CURL_HTTP_VERSION_2TLS;
	return CURL_HTTP_VERSION_1_1;
}

static bool set_up(struct easy *e, struct hm_call *c)
{
	const struct hm_origin *o = c->origin;
	const struct hm_wire_opts *w = &o->wire->opts;
	CURL *h = e->h;

	curl_easy_setopt(h, CURLOPT_PRIVATE, e);
	curl_easy_setopt(h, CURLOPT_ERRORBUFFER, e->error);
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(h, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(h, CURLOPT_HTTP_VERSION, http_version(o));
	curl_easy_setopt(h, CURLOPT_HTTP09_ALLOWED, 0L);
	curl_easy_setopt(h, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(h, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(h, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)w->connect_timeout_ms);
	if (w->idle_close_ms)
		curl_easy_setopt(h, CURLOPT_MAXAGE_CONN, (long)(w->idle_close_ms / 1000 + 1));
	curl_easy_setopt(h, CURLOPT_SHARE, e->driver->loop.share);
	curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(h, CURLOPT_HEADERDATA, e);
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(h, CURLOPT_WRITEDATA, e);
	curl_easy_setopt(h, CURLOPT_PREREQFUNCTION, on_prereq);
	curl_easy_setopt(h, CURLOPT_PREREQDATA, e);
	/* "" means none, whatever http_proxy in the environment says. With a proxy it is the proxy that resolves. */
	curl_easy_setopt(h, CURLOPT_PROXY, o->opts.proxy.len ? o->opts.proxy.p : "");
	e->guard = (struct curl_guard){.loop = &e->driver->loop,
				       .deny_private = o->opts.deny_private && o->opts.proxy.len == 0 &&
						       o->opts.connect_to.len == 0};
	curl_loop_guard(h, &e->guard);
	return set_target(e, c) && set_method(e, c) && set_headers(e, c) &&
	       (!o->opts.tls || curl_loop_tls(h, o));
}

static void start(struct http_driver *d, struct hm_call *c)
{
	struct hm_origin *o = c->origin;
	struct sockaddr_storage a;
	struct easy *e;

	if (o->opts.deny_private && o->opts.proxy.len && hm_addr_parse(o->opts.host, 0, &a) &&
	    hm_addr_is_private((struct sockaddr *)&a)) {
		call_finish(c, HM_FATE_NOT_SENT, HM_EPERM, "'%s' is a private address and not allowed here",
			    o->opts.host.p);
		return;
	}
	e = easy_get(d);
	if (e == NULL) {
		call_finish(c, HM_FATE_NOT_SENT, HM_ENOMEM, "out of memory");
		return;
	}
	e->call = c;
	e->sent = e->repeated = e->head_done = false;
	e->error[0] = '\0';
	answer_head_reset(&e->head);
	if (!set_up(e, c) || curl_multi_add_handle(d->loop.multi, e->h) != CURLM_OK) {
		easy_put(e);
		call_finish(c, HM_FATE_NOT_SENT, HM_ENOMEM, "out of memory");
		return;
	}
	c->state = CALL_EASY;
	c->driver = e;
	hm_list_push(&o->running, &c->node);
	hm_stats_inc(o->wire->tick->stats, HM_CT_HTTP1_REQUESTS);
}

/* -- the end of one ------------------------------------------------------------------------------ */

static void fail(struct easy *e, struct hm_call *c, CURLcode rc)
{
	enum hm_fate fate = e->sent ? HM_FATE_MAYBE : HM_FATE_NOT_SENT;
	const char *name = c->origin->name.p;

	if (e->guard.denied && !e->sent)
		call_finish(c, fate, HM_EPERM, "'%s' is a private address and not allowed here",
			    c->origin->opts.host.p);
	else if (e->repeated)
		call_finish(c, fate, HM_ECLOSED, "%s closed the connection without an answer", name);
	else if (e->head.too_large)
		call_finish(c, fate, HM_ELIMIT, "the answer's headers are larger than %zu bytes",
			    e->head.limit);
	else
		call_finish(c, fate, curl_loop_error(rc), "%s: %s", name,
			    e->error[0] ? e->error : curl_easy_strerror(rc));
	origin_note(c->origin, &c->err);
}

static void finish(struct easy *e, CURLcode rc)
{
	struct hm_call *c = e->call;
	struct hm_stats *stats = c->origin->wire->tick->stats;
	long status = 0, request = 0, headers = 0;
	curl_off_t up = 0, down = 0;

	curl_easy_getinfo(e->h, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(e->h, CURLINFO_REQUEST_SIZE, &request);
	curl_easy_getinfo(e->h, CURLINFO_HEADER_SIZE, &headers);
	curl_easy_getinfo(e->h, CURLINFO_SIZE_UPLOAD_T, &up);
	curl_easy_getinfo(e->h, CURLINFO_SIZE_DOWNLOAD_T, &down);
	hm_stats_add(stats, HM_CT_WIRE_TX_BYTES, (uint64_t)request + (uint64_t)up);
	hm_stats_add(stats, HM_CT_WIRE_RX_BYTES, (uint64_t)headers + (uint64_t)down);
	hm_list_remove(&c->origin->running, &c->node);
	if (c->answer_cut)
		rc = CURLE_OK; /* we stopped it: the beginning is the answer */
	if (rc == CURLE_OK && status >= 200) {
		c->status = (int)status;
		if (answer_head_store(&e->head, c))
			call_answered(c);
		else
			call_finish(c, HM_FATE_MAYBE, HM_ENOMEM, "no memory for the answer's headers");
	} else {
		fail(e, c, rc);
	}
}

static void on_done(struct curl_loop *l, CURL *h, CURLcode rc)
{
	struct hm_origin *o;
	struct easy *e;
	char *p;

	curl_easy_getinfo(h, CURLINFO_PRIVATE, &p);
	e = (struct easy *)(void *)p;
	HM_CHECK(e, HTTP_EASY_MAGIC);
	o = e->call->origin;
	finish(e, rc);
	curl_multi_remove_handle(l->multi, h);
	easy_put(e);
	origin_pump_later(o);
}

bool http_drop(struct hm_call *c)
{
	struct easy *e = c->driver;
	bool sent;

	HM_CHECK(e, HTTP_EASY_MAGIC);
	sent = e->sent;
	hm_list_remove(&c->origin->running, &c->node);
	curl_multi_remove_handle(e->driver->loop.multi, e->h);
	easy_put(e);
	return sent;
}

/* -- the queue ------------------------------------------------------------------------------------- */

static uint32_t slots(const struct hm_origin *o)
{
	/* In a tunnel that requires HTTP/2 libcurl multiplexes. */
	return o->opts.version == HM_HTTP_2 ? o->opts.max_streams : o->opts.max_connections;
}

size_t http_room(const struct hm_origin *o, bool urgent)
{
	size_t most = slots(o);

	if (!urgent)
		most -= origin_reserve((uint32_t)most);
	return most > o->running.len ? most - o->running.len : 0;
}

void http_pump(struct hm_origin *o)
{
	struct http_driver *d;

	if (o->wire->closing || origin_waiting(o) == 0)
		return;
	d = driver_get(o->wire);
	if (d == NULL) {
		struct hm_err e = {0};

		hm_err_set(&e, HM_ENOMEM, "out of memory");
		origin_fail_waiting(o, &e);
		return;
	}
	while (!hm_list_empty(&o->urgent) && http_room(o, true))
		start(d, origin_next(o, true));
	while (!hm_list_empty(&o->normal) && http_room(o, false))
		start(d, origin_next(o, false));
}
