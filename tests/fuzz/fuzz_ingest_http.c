/*
 * Any bytes on a connection of the API, in two pieces: answered with HTTP/1.1 or closed, and nothing is left behind.
 * The server is the real one on a real socket; its Redis is never there, so submissions end with 503.
 */
#include "base/log.h"
#include "ingest/http_int.h"

static uv_loop_t loop;
static struct hm_tick tick;
static struct hm_http_server *srv;

static void metrics(void *arg, struct hm_buf *out)
{
	hm_buf_lit(out, "x 1\n");
}

static void start(void)
{
	static struct hm_config *cfg;
	static const char *const sets[] = {"http.listen=127.0.0.1:0", "http.auth=off",
					   "http.max_header=2KiB",    "http.max_body=4KiB",
					   "http.max_batch=5",	      NULL};
	struct hm_redis_opts ro = {.url = HM_STR("unix:///nonexistent/redis.sock"),
				   .connect_timeout_ms = 1000,
				   .command_timeout_ms = 1000,
				   .max_pending = 100};
	struct hm_http_deps d = {0};
	struct hm_err e = {0};

	hm_assert(hm_log_set_levels(HM_STR("error"), &e) == 0);
	hm_assert(uv_loop_init(&loop) == 0 && hm_tick_init(&tick, &loop) == 0);
	hm_assert(hm_config_load(NULL, sets, &cfg, NULL, NULL) == 0);
	hm_assert(hm_redis_new(&tick, &ro, &d.redis, &e) == 0);
	d.tick = &tick;
	d.settings = &cfg->settings;
	d.shared = hm_http_shared_new();
	d.metrics = metrics;
	d.node_id = HM_STR("fuzz");
	hm_assert(hm_http_server_new(&d, &srv, &e) == 0);
	if (hm_http_server_listen(srv, NULL, &e))
		hm_panic(__FILE__, __LINE__, __func__, "%s", e.text);
}

struct peer {
	struct hm_conn conn;
	const uint8_t *p;
	size_t n;
	size_t heard;
	bool closed;
};

static void on_open(struct hm_conn *c)
{
	struct peer *x = c->arg;

	hm_conn_write(c, x->p, x->n / 2);
}

static void on_read(struct hm_conn *c, const uint8_t *p, size_t n)
{
	struct peer *x = c->arg;

	if (x->heard == 0)
		hm_assert(n < 9 || memcmp(p, "HTTP/1.1 ", 9) == 0);
	x->heard += n;
}

static void on_close(struct hm_conn *c, const struct hm_err *why)
{
	struct peer *x = c->arg;

	x->closed = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct hm_conn_ops ops = {.on_open = on_open, .on_read = on_read, .on_close = on_close};
	struct peer x = {.p = data, .n = size};
	struct hm_conn_opts o = {.connect_timeout_ms = 1000};
	struct hm_err e = {0};

	if (!srv)
		start();
	o.host = HM_STR("127.0.0.1");
	o.port = hm_http_server_port(srv, 0);
	hm_assert(hm_conn_connect(&x.conn, &tick, &o, &ops, &x, &e) == 0);
	for (int i = 0; i < 4 && !x.closed; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	if (!x.closed && hm_conn_usable(&x.conn)) {
		hm_conn_write(&x.conn, data + size / 2, size - size / 2);
		for (int i = 0; i < 3 && !x.closed; i++)
			uv_run(&loop, UV_RUN_NOWAIT);
	}
	if (!x.closed)
		hm_conn_close(&x.conn, NULL);
	while (!x.closed || srv->conns.len)
		uv_run(&loop, UV_RUN_NOWAIT);
	/* what waits for the ledger's thread pool may still be on its way */
	while (srv->busy)
		uv_run(&loop, UV_RUN_ONCE);
	hm_assert(srv->conn_slab.live == 0 && srv->req_slab.live == 0 && srv->pend_slab.live == 0);
	return 0;
}
