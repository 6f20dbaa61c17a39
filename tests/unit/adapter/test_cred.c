/*
 * test_cred.c - the credential service: one fetch for all, early refresh, rejection, backoff
 *
 * One loop plays control thread and two shards; a token server of a few lines stands on the same loop. Time is
 * the test clock, so nothing sleeps.
 */
#include "kit.h"

#include <uv.h>

#include "base/clock.h"

/* -- a token server: HTTP/1.1, one answer per connection ------------------------------- */

struct server {
	uv_tcp_t listener;
	int port, hits;
	const char *body; /* with %d: number of the hit */
	int status;
	bool hold; /* do not answer until released */
	uv_tcp_t *held[8];
	int n_held;
};
static struct server srv;
static uv_loop_t loop;
static struct hm_tick tick;
static struct hm_mailbox boxes[3]; /* service, shard 1, shard 2 */
static struct hm_wire *wire;
static struct hm_cred_service *service;
static struct hm_cred_shard *shards[2];
static struct kit k;

static void on_gone(uv_handle_t *h)
{
	free(h);
}
static void on_written(uv_write_t *w, int status)
{
	uv_close((uv_handle_t *)w->handle, on_gone);
	free(w->data);
	free(w);
}
static void reply(uv_tcp_t *c)
{
	char body[400], *text = malloc(900);
	uv_write_t *w = malloc(sizeof(*w));
	uv_buf_t b;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(body, sizeof(body), srv.body, srv.hits);
#pragma GCC diagnostic pop
	snprintf(text, 900,
		 "HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %zu\r\nConnection: "
		 "close\r\n\r\n%s",
		 srv.status, strlen(body), body);
	w->data = text;
	b = uv_buf_init(text, (unsigned)strlen(text));
	uv_write(w, (uv_stream_t *)c, &b, 1, on_written);
}
static void on_alloc(uv_handle_t *h, size_t n, uv_buf_t *b)
{
	static char buf[65536];

	*b = uv_buf_init(buf, sizeof(buf));
}
static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
	if (n < 0) {
		if (!uv_is_closing((uv_handle_t *)s))
			uv_close((uv_handle_t *)s, on_gone);
		return;
	}
	if (n == 0)
		return;
	uv_read_stop(s);
	srv.hits++;
	if (srv.hold)
		srv.held[srv.n_held++] = (uv_tcp_t *)s;
	else
		reply((uv_tcp_t *)s);
}
static void on_connection(uv_stream_t *l, int status)
{
	uv_tcp_t *c = malloc(sizeof(*c));

	uv_tcp_init(&loop, c);
	assert_int_equal(uv_accept(l, (uv_stream_t *)c), 0);
	uv_read_start((uv_stream_t *)c, on_alloc, on_read);
}

/* -- actors --------------------------------------------------------------------------------- */

struct waiting {
	struct hm_cred_waiter w;
	int ready, failed;
	int code;
	char text[320];
};
static void on_ready(struct hm_cred_waiter *w, const struct hm_err *err)
{
	struct waiting *x = hm_container_of(w, struct waiting, w);

	if (err) {
		x->failed++;
		x->code = err->code;
		snprintf(x->text, sizeof(x->text), "%s", err->text);
	} else {
		x->ready++;
	}
}

/* Runs the loop until *what is at least n; gives up after a while of real time. */
static void until(const int *what, int n)
{
	uint64_t end = uv_hrtime() + 10000000000ull;

	while (*what < n && uv_hrtime() < end)
		uv_run(&loop, UV_RUN_ONCE);
	assert_true(*what >= n);
}
static void spin(void)
{
	for (int i = 0; i < 20; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
}
static void advance(uint64_t ms)
{
	hm_clock_advance_ms(ms);
	hm_tick_refresh(&tick);
}

static int setup(void **state)
{
	struct hm_wire_opts o = {.max_connections = 4,
				 .max_streams = 100,
				 .queue_max = 1000,
				 .connect_timeout_ms = 2000,
				 .idle_ping_ms = 15000,
				 .idle_close_ms = 60000,
				 .max_response_bytes = 65536,
				 .max_header_bytes = 16384,
				 .verify = true,
				 .tls_min = HM_STR("1.2")};
	struct sockaddr_in addr;
	int n = sizeof(addr);
	struct hm_err e;

	kit_init(&k);
	memset(&srv, 0, sizeof(srv));
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(hm_tick_init(&tick, &loop), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(hm_mailbox_init(&boxes[i], &tick, NULL), 0);
	uv_tcp_init(&loop, &srv.listener);
	uv_ip4_addr("127.0.0.1", 0, &addr);
	uv_tcp_bind(&srv.listener, (const struct sockaddr *)&addr, 0);
	assert_int_equal(uv_listen((uv_stream_t *)&srv.listener, 16, on_connection), 0);
	uv_tcp_getsockname(&srv.listener, (struct sockaddr *)&addr, &n);
	srv.port = ntohs(addr.sin_port);
	srv.status = 200;
	srv.body = "{\"errcode\":0,\"access_token\":\"T%d\",\"expires_in\":7200}";
	assert_int_equal(hm_wire_new(&tick, &o, &wire, &e), 0);
	assert_int_equal(hm_cred_service_new(&tick, &boxes[0], wire, &service, &e), 0);
	for (int i = 0; i < 2; i++)
		shards[i] = hm_cred_shard_new(service, &tick, &boxes[i + 1]);
	return 0;
}

static void on_wire_closed(void *arg)
{
	*(bool *)arg = true;
}

static int teardown(void **state)
{
	bool closed = false;

	for (int i = 0; i < 2; i++)
		hm_cred_shard_close(shards[i]);
	hm_cred_service_close(service);
	spin();
	for (int i = 0; i < 3; i++)
		hm_mailbox_close(&boxes[i]);
	hm_wire_close(wire, on_wire_closed, &closed);
	uv_close((uv_handle_t *)&srv.listener, NULL);
	for (int i = 0; i < srv.n_held; i++)
		if (!uv_is_closing((uv_handle_t *)srv.held[i]))
			uv_close((uv_handle_t *)srv.held[i], on_gone);
	while (!closed)
		uv_run(&loop, UV_RUN_ONCE);
	hm_tick_close(&tick);
	uv_run(&loop, UV_RUN_DEFAULT);
	hm_tick_fini(&tick);
	assert_int_equal(uv_loop_close(&loop), 0);
	hm_stats_free_all();
	kit_fini(&k);
	return 0;
}

static void wecom(void)
{
	char map[400];

	snprintf(map, sizeof(map),
		 "    adapter: chat/wecom-app\n    corp_id: ww1\n    agent_id: 1000002\n    secret: s\n"
		 "    endpoint: {url: \"http://127.0.0.1:%d\", http: \"1.1\"}\n",
		 srv.port);
	kit_need_channel(&k, map);
}
static void apns(void)
{
	kit_need_channel(
		&k,
		"    adapter: push/apns\n    topic: t\n    team_id: T\n    key_id: K\n    key_file: " VECTORS
		"apns_key.p8\n");
}

static void wait_for(int shard, struct waiting *w)
{
	memset(w, 0, sizeof(*w));
	w->w.on_ready = on_ready;
	hm_cred_wait(shards[shard], k.c, &w->w);
	assert_int_equal(w->ready + w->failed, 0); /* never from inside wait */
}

static void one_fetch_for_all(void **state)
{
	struct waiting w[40];
	struct hm_str token;

	wecom();
	for (int i = 0; i < 40; i++) {
		assert_false(hm_cred_get(shards[i % 2], k.c, &token));
		wait_for(i % 2, &w[i]);
	}
	until(&w[39].ready, 1);
	until(&w[38].ready, 1);
	for (int i = 0; i < 40; i++)
		assert_int_equal(w[i].ready, 1);
	assert_int_equal(srv.hits, 1);
	for (int i = 0; i < 2; i++) {
		assert_true(hm_cred_get(shards[i], k.c, &token));
		assert_string_equal(kit_c(&k, token), "T1");
	}
	/* 7200 s less five minutes: then the next use fetches, and the old one goes on meanwhile. */
	advance(6899000);
	assert_true(hm_cred_get(shards[0], k.c, &token));
	spin();
	assert_int_equal(srv.hits, 1);
	advance(2000);
	assert_true(hm_cred_get(shards[0], k.c, &token));
	assert_true(hm_cred_get(shards[1], k.c, &token));
	assert_string_equal(kit_c(&k, token), "T1");
	until(&srv.hits, 2);
	for (uint64_t end = uv_hrtime() + 5000000000ull; uv_hrtime() < end;) {
		uv_run(&loop, UV_RUN_NOWAIT);
		assert_true(hm_cred_get(shards[1], k.c, &token));
		if (hm_str_is(token, "T2"))
			break;
	}
	assert_true(hm_cred_get(shards[0], k.c, &token));
	assert_string_equal(kit_c(&k, token), "T2");
	spin();
	assert_int_equal(srv.hits, 2);
	advance(7200000); /* past its end */
	assert_false(hm_cred_get(shards[0], k.c, &token));
}

static void rejected(void **state)
{
	struct waiting w;
	struct hm_str token;

	wecom();
	wait_for(0, &w);
	until(&w.ready, 1);
	hm_cred_reject(shards[0], k.c, HM_STR("something older"));
	assert_true(hm_cred_get(shards[0], k.c, &token));
	hm_cred_reject(shards[0], k.c, HM_STR("T1"));
	assert_false(hm_cred_get(shards[0], k.c, &token));
	hm_cred_reject(shards[0], k.c, HM_STR("T1")); /* twice is once */
	wait_for(0, &w);
	until(&w.ready, 1);
	assert_true(hm_cred_get(shards[0], k.c, &token));
	assert_string_equal(kit_c(&k, token), "T2");
	assert_int_equal(srv.hits, 2);
}

static void minimum_age(void **state)
{
	struct waiting w;
	struct hm_str token, again;

	apns();
	wait_for(0, &w);
	until(&w.ready, 1);
	assert_true(hm_cred_get(shards[0], k.c, &token));
	token = hm_arena_str(&k.a, token);
	hm_cred_reject(shards[0], k.c, token); /* Apple: not more than one in 20 minutes */
	assert_true(hm_cred_get(shards[0], k.c, &again));
	assert_true(hm_str_eq(token, again));
	advance(20 * 60000 + 1000);
	hm_cred_reject(shards[0], k.c, token);
	assert_false(hm_cred_get(shards[0], k.c, &again));
	wait_for(0, &w);
	until(&w.ready, 1);
	assert_true(hm_cred_get(shards[0], k.c, &again));
	assert_false(hm_str_eq(token, again));
	/* Refreshed at 50 minutes, by use. */
	token = hm_arena_str(&k.a, again);
	advance(50 * 60000 + 1000);
	assert_true(hm_cred_get(shards[0], k.c, &again));
	spin();
	assert_true(hm_cred_get(shards[0], k.c, &again));
	assert_false(hm_str_eq(token, again));
}

static void failures(void **state)
{
	struct waiting w;
	struct hm_str token;

	wecom();
	srv.body = "{\"errcode\":40001,\"errmsg\":\"invalid credential\"}";
	wait_for(0, &w);
	until(&w.failed, 1);
	assert_int_equal(w.code, HM_EAUTH);
	assert_non_null(strstr(w.text, "40001"));
	assert_non_null(strstr(w.text, "invalid credential"));
	/* In the pause the same answer comes without a request. */
	for (int i = 0; i < 5; i++) {
		wait_for(i % 2, &w);
		until(&w.failed, 1);
	}
	assert_int_equal(srv.hits, 1);
	advance(61000);
	srv.body = "{\"errcode\":0,\"access_token\":\"T%d\",\"expires_in\":7200}";
	wait_for(0, &w);
	until(&w.ready, 1);
	assert_int_equal(srv.hits, 2);
	/* A refresh that fails leaves the token in use. */
	srv.status = 500;
	advance(6901000);
	assert_true(hm_cred_get(shards[0], k.c, &token));
	until(&srv.hits, 3);
	for (int i = 0; i < 50; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	assert_true(hm_cred_get(shards[0], k.c, &token));
	assert_string_equal(kit_c(&k, token), "T2");
	srv.status = 200;
	advance(100000);
	assert_true(hm_cred_get(shards[0], k.c, &token));
	until(&srv.hits, 4);
}

static void passing_failure(void **state)
{
	struct waiting w;

	wecom();
	srv.status = 503;
	srv.body = "<html>%d";
	wait_for(0, &w);
	until(&w.failed, 1);
	assert_int_equal(w.code, HM_EAGAIN);
	srv.status = 200;
	srv.body = "{\"errcode\":0,\"access_token\":\"T%d\",\"expires_in\":7200}";
	advance(1100);
	wait_for(0, &w);
	until(&w.ready, 1);
}

static void unwait_and_close(void **state)
{
	struct waiting a, b;

	wecom();
	srv.hold = true;
	wait_for(0, &a);
	wait_for(0, &b);
	until(&srv.hits, 1);
	hm_cred_unwait(shards[0], k.c, &a.w);
	hm_cred_unwait(shards[0], k.c, &a.w);
	srv.hold = false;
	reply(srv.held[--srv.n_held]);
	until(&b.ready, 1);
	assert_int_equal(a.ready + a.failed, 0);
}

/* A shard closes while its token is being fetched; the service closes while it fetches. */
static void close_in_flight(void **state)
{
	static struct waiting a; /* teardown still finds it in the list */

	wecom();
	srv.hold = true;
	wait_for(0, &a);
	until(&srv.hits, 1);
	/* teardown closes shards, service and wire with the answer still owed */
}

struct again {
	struct waiting x;
	int rounds;
};
static void on_again(struct hm_cred_waiter *w, const struct hm_err *err)
{
	struct waiting *x = hm_container_of(w, struct waiting, w);
	struct again *ag = hm_container_of(x, struct again, x);

	if (++ag->rounds < 3)
		hm_cred_wait(shards[0], k.c, w); /* from inside: the next round, not this one */
}

static void wait_again_from_inside(void **state)
{
	struct again ag = {0};

	wecom();
	srv.status = 400;
	ag.x.w.on_ready = on_again;
	hm_cred_wait(shards[0], k.c, &ag.x.w);
	until(&ag.rounds, 3);
	assert_int_equal(srv.hits, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_fetch_for_all, setup, teardown),
		cmocka_unit_test_setup_teardown(rejected, setup, teardown),
		cmocka_unit_test_setup_teardown(minimum_age, setup, teardown),
		cmocka_unit_test_setup_teardown(failures, setup, teardown),
		cmocka_unit_test_setup_teardown(passing_failure, setup, teardown),
		cmocka_unit_test_setup_teardown(unwait_and_close, setup, teardown),
		cmocka_unit_test_setup_teardown(close_in_flight, setup, teardown),
		cmocka_unit_test_setup_teardown(wait_again_from_inside, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
