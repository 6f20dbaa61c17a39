/*
 * test_http.c - what only the libcurl road has: keep-alive, proxies, and libcurl's own ideas about repeating
 */
#include "harness.h"
#include "wire/wire_int.h"

static void test_keep_alive(void **state)
{
	struct peer p = {.kind = PEER_HTTP1, .cert = certs.server};
	struct shot s;

	peer_start(&p);
	for (int i = 0; i < 10; i++) {
		shot_go(&s, origin_for(&p, HM_HTTP_1), "/echo");
		assert_answer(&s, 200, "{\"hello\":1}");
		shot_free(&s);
	}
	assert_int_equal(atomic_load(&p.conns), 1);
	assert_int_equal(tick.stats->c[HM_CT_HTTP1_REQUESTS], 10);
	peer_stop(&p);
}

/* A kept connection that dies under a request: a POST is never repeated, a GET is, once. */
static void test_repeating(void **state)
{
	struct peer p = {.kind = PEER_HTTP1};
	struct shot s;

	peer_start(&p);
	shot_go(&s, origin_for(&p, HM_HTTP_1), "/ok");
	shot_free(&s);
	shot_go(&s, origin_for(&p, HM_HTTP_1), "/kill");
	assert_failed(&s, HM_FATE_MAYBE, HM_ECLOSED, "without an answer");
	assert_int_equal(atomic_load(&p.requests), 2);
	shot_free(&s);
	shot_go(&s, origin_for(&p, HM_HTTP_1), "/ok");
	shot_free(&s);
	shot_make(&s, origin_for(&p, HM_HTTP_1), "/kill");
	s.call.method = HM_STR("GET");
	s.call.body = HM_STR_NULL;
	shot_fire(&s);
	shot_wait(&s);
	assert_failed(&s, HM_FATE_MAYBE, HM_ECLOSED, NULL);
	assert_int_equal(atomic_load(&p.requests), 5);
	shot_free(&s);
	peer_stop(&p);
}

static struct hm_origin *through(const struct peer *proxy, bool tls)
{
	struct hm_origin_opts o = {
		.tls = tls, .verify = true, .host = HM_STR("no-such-host.invalid"), .port = 81};
	struct hm_origin *r = NULL;
	struct hm_err e = {0};
	char url[64];

	snprintf(url, sizeof(url), "http://127.0.0.1:%u", proxy->port);
	o.proxy = hm_str_c(url);
	assert_int_equal(hm_wire_origin(wire, &o, &r, &e), 0);
	assert_true(r->http1);
	return r;
}

static void test_proxy(void **state)
{
	struct peer p = {.kind = PEER_HTTP1};
	struct shot s;

	peer_start(&p);
	shot_go(&s, through(&p, false), "/ok"); /* the proxy is given the whole URL and resolves it */
	assert_answer(&s, 200, "ok");
	assert_non_null(strstr(p.order, "http://no-such-host.invalid:81/ok\n"));
	shot_free(&s);
	shot_go(&s, through(&p, true),
		"/ok"); /* CONNECT is answered with 200, but behind it nobody speaks TLS */
	assert_failed(&s, HM_FATE_NOT_SENT, 0, NULL);
	assert_non_null(strstr(p.order, "no-such-host.invalid:81\n"));
	assert_null(strstr(p.order, "https"));
	shot_free(&s);
	peer_stop(&p);
}

static void test_environment_is_ignored(void **state)
{
	struct peer p = {.kind = PEER_HTTP1};
	struct shot s;

	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("all_proxy", "http://127.0.0.1:1", 1);
	peer_start(&p);
	shot_go(&s, origin_for(&p, HM_HTTP_1), "/ok");
	assert_answer(&s, 200, "ok");
	shot_free(&s);
	peer_stop(&p);
	unsetenv("http_proxy");
	unsetenv("all_proxy");
}

static void test_garbage(void **state)
{
	struct peer p = {.kind = PEER_GARBAGE};
	struct shot s;

	peer_start(&p);
	shot_go(&s, origin_for(&p, HM_HTTP_1), "/ok");
	assert_failed(&s, HM_FATE_MAYBE, HM_EPROTO, NULL);
	shot_free(&s);
	peer_stop(&p);
}

static void test_urgent_overtakes(void **state)
{
	struct peer p = {.kind = PEER_HTTP1};
	struct shot s[5], urgent;
	struct hm_origin *o;
	char *at;

	wire_stop();
	wire_opts.max_connections = 1;
	wire_start();
	peer_start(&p);
	o = origin_for(&p, HM_HTTP_1);
	for (int i = 0; i < 5; i++) {
		shot_make(&s[i], o, "/echo");
		shot_fire(&s[i]);
	}
	shot_make(&urgent, o, "/ok");
	urgent.call.urgent = true;
	shot_fire(&urgent);
	for (int i = 0; i < 5; i++)
		shot_wait(&s[i]);
	at = strstr(p.order, "/ok");
	assert_ptr_equal(at, p.order);
	assert_int_equal(atomic_load(&p.conns), 1);
	for (int i = 0; i < 5; i++)
		shot_free(&s[i]);
	shot_free(&urgent);
	peer_stop(&p);
}

static void test_connect_to(void **state)
{
	struct hm_origin_opts o = {.version = HM_HTTP_1, .host = HM_STR("localhost"), .port = 80};
	struct hm_origin *r;
	struct hm_err e = {0};
	struct shot s;

	o.connect_to = HM_STR("unix:/nonexistent/socket");
	assert_int_equal(hm_wire_origin(wire, &o, &r, &e), 0);
	shot_go(&s, r, "/ok");
	assert_failed(&s, HM_FATE_NOT_SENT, HM_ECONN, NULL);
	shot_free(&s);
	o.connect_to = HM_STR("localhost");
	assert_int_equal(hm_wire_origin(wire, &o, &r, &e), HM_EINVAL);
	assert_non_null(strstr(e.text, "host:port"));
}

static void test_describe_and_same_origin(void **state)
{
	struct peer p = {.kind = PEER_HTTP1};
	struct hm_buf b;
	struct shot s;

	peer_start(&p);
	assert_ptr_equal(origin_for(&p, HM_HTTP_1), origin_for(&p, HM_HTTP_1));
	assert_ptr_not_equal(origin_for(&p, HM_HTTP_1), origin_for(&p, HM_HTTP_2_PRIOR));
	shot_go(&s, origin_for(&p, HM_HTTP_1), "/kill");
	shot_free(&s);
	hm_buf_init(&b, 65536);
	hm_wire_describe(wire, &b);
	assert_non_null(strstr(hm_buf_cstr(&b), "\"protocol\":\"http/1.1\""));
	assert_non_null(strstr(hm_buf_cstr(&b), "\"maybe\":1"));
	assert_non_null(strstr(hm_buf_cstr(&b), "\"last_error\""));
	hm_buf_fini(&b);
	peer_stop(&p);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_keep_alive), T(test_repeating),
		T(test_proxy),	    T(test_environment_is_ignored),
		T(test_garbage),    T(test_urgent_overtakes),
		T(test_connect_to), T(test_describe_and_same_origin),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
