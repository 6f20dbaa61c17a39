/*
 * http_server.c - listeners, limits and the life of one shard's HTTP server
 */
#include "ingest/http_server.h"

#include <stdlib.h>

#include "base/log.h"
#include "ingest/http_int.h"

static int tls_load(const struct hm_settings *st, struct hm_tls **tls_r, struct hm_err *e)
{
	struct hm_tls_opts o = {.server = true,
				.cert_file = st->http.tls_cert,
				.key_file = st->http.tls_key,
				.alpn = HM_STR("http/1.1")};

	*tls_r = NULL;
	if (st->http.tls_cert.len == 0) {
		if (st->http.tls_key.len)
			return hm_err_set(e, HM_ECONFIG, "http.tls_key is set without http.tls_cert");
		return 0;
	}
	if (hm_tls_new(&o, tls_r, e))
		return hm_err_wrap(e, "http.tls_cert");
	return 0;
}

static void limits_load(struct hm_http_server *s, const struct hm_settings *st)
{
	s->lim = (struct http_limits){
		.header_ms = st->http.header_timeout_ms,
		.body_ms = st->http.body_timeout_ms,
		.idle_ms = st->http.idle_timeout_ms,
		.idempotency_ttl_ms = st->http.idempotency_ttl_ms,
		.max_header = st->http.max_header,
		.max_body = st->http.max_body,
		.max_entry = st->queue.max_entry_bytes,
		.max_connections = (uint32_t)st->http.max_connections,
		.max_batch = (uint32_t)st->http.max_batch,
		.max_chunk = (uint32_t)st->queue.max_chunk,
		.auth_off = st->http.auth.index == HM_AUTH_OFF,
		.metrics_auth = st->metrics.auth.index == HM_AUTH_REQUIRED,
	};
}

/* The keys of all streams, once: hot requests only point at them. */
static int streams_make(struct hm_http_server *s, const struct hm_settings *st)
{
	s->partitions = (uint32_t)st->queue.partitions;
	s->prefix = hm_arena_str(&s->arena, st->queue.prefix);
	s->streams = hm_arena_zalloc(&s->arena, (size_t)s->partitions * HM_LANE_COUNT * sizeof(*s->streams));
	if (!s->streams || !s->prefix.p)
		return HM_ENOMEM;
	for (uint32_t p = 0; p < s->partitions; p++)
		for (int lane = 0; lane < HM_LANE_COUNT; lane++) {
			char key[128];
			size_t n = hm_job_stream_key(s->prefix, p, (enum hm_lane)lane, key, sizeof(key));
			struct hm_str kept = hm_arena_str(&s->arena, hm_str_n(key, n));

			if (!kept.p)
				return HM_ENOMEM;
			s->streams[p * HM_LANE_COUNT + (unsigned)lane] = kept;
		}
	return 0;
}

static void on_close_limit(struct hm_timer *t);

static void server_free(struct hm_http_server *s)
{
	hm_auth_free(s->auth);
	hm_tls_unref(s->tls);
	hm_buf_fini(&s->mp);
	hm_buf_fini(&s->entry);
	hm_buf_fini(&s->body);
	msgpack_zone_destroy(&s->zone);
	hm_slab_fini(&s->conn_slab);
	hm_slab_fini(&s->req_slab);
	hm_slab_fini(&s->pend_slab);
	hm_arena_fini(&s->arena);
	HM_MAGIC_CLEAR(s);
	free(s);
}

int hm_http_server_new(const struct hm_http_deps *deps, struct hm_http_server **s_r, struct hm_err *e)
{
	struct hm_http_server *s = calloc(1, sizeof(*s));
	struct hm_http_table *extra;
	int rc;

	*s_r = NULL;
	if (!s)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	HM_CHECK(deps->tick, HM_TICK_MAGIC);
	hm_assert(deps->redis && deps->shared && deps->settings);
	if (!msgpack_zone_init(&s->zone, 64u << 10)) {
		free(s);
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	}
	HM_MAGIC_SET(s, HM_HTTP_SERVER_MAGIC);
	s->deps = *deps;
	s->tick = deps->tick;
	hm_arena_init(&s->arena, NULL, 0);
	hm_list_init(&s->conns);
	hm_slab_init(&s->conn_slab, "http connection", sizeof(struct hm_http_conn), 0);
	hm_slab_init(&s->req_slab, "http request", sizeof(struct hm_http_req), 0);
	hm_slab_init(&s->pend_slab, "http submission", hm_api_pend_size(), 0);
	limits_load(s, deps->settings);
	extra = hm_arena_alloc(&s->arena, (deps->n_extra + 1) * sizeof(*extra));
	if (extra && deps->n_extra)
		memcpy(extra, deps->extra, deps->n_extra * sizeof(*extra));
	s->deps.extra = extra;
	hm_buf_init(&s->mp, HTTP_ANSWER_MAX);
	hm_buf_init(&s->entry, HM_JOB_MAX_BYTES);
	hm_buf_init(&s->body, HTTP_ANSWER_MAX);
	hm_timer_init(&s->close_timer, on_close_limit);
	for (int i = 0; i < 8; i++)
		s->acc[i] = (char)(deps->boot_id >> (56 - 8 * i));
	s->acc_len = HM_JOB_ACC_BOOT + hm_min(deps->node_id.len, sizeof(s->acc) - HM_JOB_ACC_BOOT);
	if (deps->node_id.len)
		memcpy(s->acc + HM_JOB_ACC_BOOT, deps->node_id.p, s->acc_len - HM_JOB_ACC_BOOT);
	rc = extra ? streams_make(s, deps->settings) : HM_ENOMEM;
	if (rc == 0) {
		s->auth = hm_auth_new(s);
		rc = s->auth ? 0 : HM_ENOMEM;
	}
	if (rc)
		hm_err_set(e, rc, "out of memory");
	else
		rc = tls_load(deps->settings, &s->tls, e);
	if (rc) {
		server_free(s);
		return rc;
	}
	*s_r = s;
	return 0;
}

/* -- listening ----------------------------------------------------------------- */

static void on_accept(struct hm_listener *l)
{
	struct hm_http_server *s = l->arg;

	HM_CHECK(s, HM_HTTP_SERVER_MAGIC);
	hm_http_conn_accept(s, l);
}

static void on_listener_closed(struct hm_listener *l)
{
	struct hm_http_server *s = l->arg;

	HM_CHECK(s, HM_HTTP_SERVER_MAGIC);
	hm_assert(s->open_listeners > 0);
	s->open_listeners--;
	hm_http_server_conn_gone(s);
}

/* "127.0.0.1:7700", "[::1]:7700", "localhost:0", "*:80", ":80", "unix:/path" */
static int address_parse(struct hm_str text, struct hm_listen_opts *o, struct hm_err *e)
{
	struct hm_str host, port;
	uint64_t n;
	ptrdiff_t at;

	text = hm_str_trim(text);
	if (hm_str_starts(text, HM_STR("unix:"))) {
		o->unix_path = hm_str_n(text.p + 5, text.len - 5);
		return 0;
	}
	if (text.len && text.p[0] == '[') {
		at = hm_str_find(text, HM_STR("]:"));
		if (at < 0)
			goto bad;
		host = hm_str_n(text.p + 1, (size_t)at - 1);
		port = hm_str_n(text.p + at + 2, text.len - (size_t)at - 2);
	} else {
		at = hm_str_chr(text, ':');
		if (at < 0)
			goto bad;
		host = hm_str_n(text.p, (size_t)at);
		port = hm_str_n(text.p + at + 1, text.len - (size_t)at - 1);
	}
	if (!hm_str_u64(port, &n) || n > 65535)
		goto bad;
	o->host = host.len ? host : HM_STR("*");
	o->port = (uint16_t)n;
	return 0;
bad:
	return hm_err_set(e, HM_ECONFIG, "http.listen: \"%.*s\" is not host:port or [v6]:port",
			  HM_STRF(text));
}

int hm_http_server_listen(struct hm_http_server *s, const uint16_t *ports, struct hm_err *e)
{
	const struct hm_strs *list = &s->deps.settings->http.listen;

	HM_CHECK(s, HM_HTTP_SERVER_MAGIC);
	hm_assert(s->n_listeners == 0);
	for (size_t i = 0; i < list->n && i < HTTP_LISTEN_MAX; i++) {
		struct hm_listen_opts o = {.reuse_port = true};
		int rc = address_parse(list->v[i], &o, e);

		if (rc == 0 && o.port == 0 && ports && o.unix_path.len == 0)
			o.port = ports[i];
		if (rc == 0)
			rc = hm_listener_open(&s->listeners[i], s->tick, &o, on_accept, s, e);
		if (rc) {
			(void)hm_err_wrap(e, "http.listen");
			for (size_t k = 0; k < s->n_listeners; k++)
				hm_listener_close(&s->listeners[k], on_listener_closed);
			return rc;
		}
		s->n_listeners++;
		s->open_listeners++;
	}
	s->listening = true;
	return 0;
}

size_t hm_http_server_listeners(const struct hm_http_server *s)
{
	return s->n_listeners;
}

uint16_t hm_http_server_port(const struct hm_http_server *s, size_t i)
{
	hm_assert(i < s->n_listeners);
	return hm_listener_port(&s->listeners[i]);
}

int hm_http_server_reload(struct hm_http_server *s, const struct hm_settings *settings, struct hm_err *e)
{
	struct hm_tls *tls;
	int rc;

	HM_CHECK(s, HM_HTTP_SERVER_MAGIC);
	rc = tls_load(settings, &tls, e);
	if (rc)
		return rc;
	if ((tls != NULL) != (s->tls != NULL)) {
		hm_tls_unref(tls);
		return hm_err_set(e, HM_ECONFIG, "http.tls_cert: switching TLS on or off needs a restart");
	}
	hm_tls_unref(s->tls);
	s->tls = tls;
	s->deps.settings = settings;
	limits_load(s, settings);
	return 0;
}

/* -- the end --------------------------------------------------------------------- */

void *hm_http_server_arg(const struct hm_http_server *s)
{
	return s->deps.arg;
}

struct hm_callbacks *hm_http_server_callbacks(const struct hm_http_server *s)
{
	return s->deps.callbacks;
}

struct hm_inbox *hm_http_server_inbox(const struct hm_http_server *s)
{
	return s->deps.inbox;
}

struct hm_templates_api *hm_http_server_templates(const struct hm_http_server *s)
{
	return s->deps.templates;
}

struct hm_str hm_http_server_prefix(const struct hm_http_server *s)
{
	return s->prefix;
}

uint64_t hm_http_server_wall_ms(const struct hm_http_server *s)
{
	return s->tick->wall_ms;
}

struct hm_redis *hm_http_server_redis(const struct hm_http_server *s)
{
	return s->deps.redis;
}

const struct hm_settings *hm_http_server_settings(const struct hm_http_server *s)
{
	return s->deps.settings;
}

size_t hm_http_server_busy(const struct hm_http_server *s)
{
	return s->busy;
}

static void close_idle(struct hm_http_server *s)
{
	hm_list_foreach_safe (&s->conns, n, tmp)
		hm_http_conn_drain(hm_container_of(n, struct hm_http_conn, node));
}

void hm_http_server_drain(struct hm_http_server *s)
{
	HM_CHECK(s, HM_HTTP_SERVER_MAGIC);
	s->draining = true;
	hm_list_foreach_safe (&s->conns, n, tmp) {
		struct hm_http_conn *c = hm_container_of(n, struct hm_http_conn, node);

		if (c->reqs.len &&
		    hm_container_of(hm_list_first(&c->reqs), struct hm_http_req, node)->streaming)
			hm_http_conn_drain(c);
	}
}

/* Something went: was it the last? */
void hm_http_server_conn_gone(struct hm_http_server *s)
{
	if (!s->closing || s->conns.len || s->busy || s->lookups || s->open_listeners || s->closed)
		return;
	s->closed = true;
	hm_timer_stop(s->tick, &s->close_timer);
	/* Not from here: the caller may still look at s. */
	hm_timer_init(&s->close_timer, on_close_limit);
	hm_timer_start(s->tick, &s->close_timer, 0);
}

static void on_close_limit(struct hm_timer *t)
{
	struct hm_http_server *s = hm_container_of(t, struct hm_http_server, close_timer);

	HM_CHECK(s, HM_HTTP_SERVER_MAGIC);
	if (s->closed) {
		void (*fn)(void *) = s->on_closed;
		void *arg = s->closed_arg;

		server_free(s);
		if (fn)
			fn(arg);
		return;
	}
	if (s->conns.len)
		HM_WARN(HTTP, "connections cut off at the end", HM_U("connections", s->conns.len));
	hm_list_foreach_safe (&s->conns, n, tmp) {
		struct hm_http_conn *c = hm_container_of(n, struct hm_http_conn, node);

		c->finished = true;
		hm_conn_close(&c->conn, NULL);
	}
}

void hm_http_server_close(struct hm_http_server *s, uint64_t limit_ms, void (*on_closed)(void *arg),
			  void *arg)
{
	HM_CHECK(s, HM_HTTP_SERVER_MAGIC);
	hm_assert(!s->closing);
	s->closing = s->draining = true;
	s->on_closed = on_closed;
	s->closed_arg = arg;
	if (s->listening)
		for (size_t i = 0; i < s->n_listeners; i++)
			hm_listener_close(&s->listeners[i], on_listener_closed);
	hm_timer_start(s->tick, &s->close_timer, limit_ms);
	close_idle(s);
	hm_http_server_conn_gone(s);
}
