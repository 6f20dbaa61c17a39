/*
 * test_battery.c - what every driver must survive, run for each: HTTP/2 over TLS, HTTP/2 clear, HTTP/1.1 over
 * TLS, HTTP/1.1 clear
 */
#include "harness.h"
#include "wire/wire_int.h"

struct road {
	const char *name;
	enum peer_kind kind;
	enum hm_http_version version;
	bool tls;
};
static const struct road roads[] = {
	{"h2 over TLS", PEER_H2, HM_HTTP_2, true},
	{"h2c", PEER_H2, HM_HTTP_2_PRIOR, false},
	{"http/1.1 over TLS", PEER_HTTP1, HM_HTTP_1, true},
	{"http/1.1", PEER_HTTP1, HM_HTTP_1, false},
};
static const struct road *road;

static struct peer a_peer(void)
{
	return (struct peer){.kind = road->kind, .cert = road->tls ? certs.server : NULL};
}

static struct hm_origin *to(const struct peer *p)
{
	return origin_for(p, road->version);
}

static uint16_t unused_port(void)
{
	struct peer p = {.kind = PEER_SILENT};

	peer_start(&p);
	peer_stop(&p);
	return p.port;
}

static void b_ok(void)
{
	struct peer p = a_peer();
	struct shot s;

	peer_start(&p);
	shot_go(&s, to(&p), "/ok");
	assert_answer(&s, 200, "ok");
	assert_true(hm_str_is(hm_call_header(&s.call, "x-method"), "POST"));
	shot_free(&s);
	peer_stop(&p);
}

static void b_methods_and_headers(void)
{
	static const char *const methods[] = {"GET", "POST", "PUT", "DELETE", "PATCH"};
	static const struct hm_header headers[] = {
		{HM_STR_INIT("authorization"), HM_STR_INIT("bearer x"), HM_HDR_NEVER_INDEX},
		{HM_STR_INIT("content-type"), HM_STR_INIT("application/json"), 0},
		{HM_STR_INIT("apns-id"), HM_STR_INIT("1234"), HM_HDR_NO_INDEX},
		{HM_STR_INIT("x-empty"), HM_STR_INIT(""), 0},
	};
	struct peer p = a_peer();

	peer_start(&p);
	for (size_t i = 0; i < hm_countof(methods); i++) {
		struct shot s;

		shot_make(&s, to(&p), "/echo?a=1&b=%20");
		s.call.method = hm_str_c(methods[i]);
		s.call.headers = headers;
		s.call.n_headers = hm_countof(headers);
		if (i == 0)
			s.call.body = HM_STR_NULL;
		shot_fire(&s);
		shot_wait(&s);
		assert_answer(&s, 200, i == 0 ? "" : "{\"hello\":1}");
		assert_true(hm_str_is(hm_call_header(&s.call, "x-method"), methods[i]));
		shot_free(&s);
	}
	peer_stop(&p);
}

static void b_statuses(void)
{
	static const int statuses[] = {204, 302, 400, 404, 410, 429, 500, 503};
	struct peer p = a_peer();

	peer_start(&p);
	for (size_t i = 0; i < hm_countof(statuses); i++) {
		struct shot s;
		char path[32];

		snprintf(path, sizeof(path), "/status/%d", statuses[i]);
		shot_go(&s, to(&p), path);
		assert_answer(&s, statuses[i], "");
		shot_free(&s);
	}
	assert_int_equal(atomic_load(&p.requests), hm_countof(statuses));
	peer_stop(&p);
}

static void b_many(void)
{
	enum { MANY = 500 };
	static struct shot s[MANY];
	struct peer p = a_peer();

	peer_start(&p);
	for (size_t i = 0; i < MANY; i++) {
		shot_make(&s[i], to(&p), "/echo");
		snprintf(s[i].path, sizeof(s[i].path), "/echo/%zu", i);
		s[i].call.path = hm_str_c(s[i].path);
		s[i].call.body = s[i].call.path;
		shot_fire(&s[i]);
	}
	for (size_t i = 0; i < MANY; i++) {
		shot_wait(&s[i]);
		assert_answer(&s[i], 200, s[i].path);
		shot_free(&s[i]);
	}
	assert_true(atomic_load(&p.conns) <= 4);
	peer_stop(&p);
}

static void b_refused(void)
{
	struct peer p = {.port = unused_port()};
	struct shot s;

	p.cert = road->tls ? certs.server : NULL;
	shot_go(&s, to(&p), "/ok");
	assert_failed(&s, HM_FATE_NOT_SENT, HM_ECONN, NULL);
	shot_free(&s);
}

static void b_unknown_host(void)
{
	struct hm_origin_opts o = {.tls = road->tls, .verify = true, .version = road->version, .port = 443};
	struct hm_origin *r;
	struct hm_err e = {0};
	struct shot s;

	o.host = HM_STR("no-such-host.invalid");
	assert_int_equal(hm_wire_origin(wire, &o, &r, &e), 0);
	shot_go(&s, r, "/ok");
	assert_failed(&s, HM_FATE_NOT_SENT, HM_ECONN, "esolve");
	shot_free(&s);
}

static void b_deadline(void)
{
	struct peer p = a_peer();
	struct shot s;

	peer_start(&p);
	warm_up(to(&p));
	shot_make(&s, to(&p), "/slow");
	s.call.timeout_ms = 150;
	shot_fire(&s);
	shot_wait(&s);
	assert_failed(&s, HM_FATE_MAYBE, HM_ETIMEDOUT, "no answer in 150 ms");
	shot_free(&s);
	peer_stop(&p);
}

static void b_deadline_in_queue(void)
{
	struct peer p = a_peer();
	struct shot s[6];

	wire_stop();
	wire_opts.max_connections = 1;
	wire_opts.max_streams = 5;
	wire_start();
	peer_start(&p);
	warm_up(to(&p));
	for (size_t i = 0; i < 6; i++) {
		shot_make(&s[i], to(&p), "/slow");
		s[i].call.timeout_ms = i == 5 ? 200 : 3000;
		shot_fire(&s[i]);
	}
	shot_wait(&s[5]);
	assert_failed(&s[5], HM_FATE_NOT_SENT, HM_ETIMEDOUT, "no free stream");
	hm_wire_abort(wire);
	for (size_t i = 0; i < 5; i++)
		shot_wait(&s[i]);
	assert_failed(&s[0], HM_FATE_MAYBE, HM_ECANCELLED, "cancelled");
	for (size_t i = 0; i < 6; i++)
		shot_free(&s[i]);
	peer_stop(&p);
}

static void b_killed(void)
{
	struct peer p = a_peer();
	struct shot first, s;

	peer_start(&p);
	shot_go(&first, to(&p), "/ok");
	shot_go(&s, to(&p), "/kill");
	assert_failed(&s, HM_FATE_MAYBE, 0, NULL);
	shot_free(&s);
	assert_int_equal(atomic_load(&p.requests), 2); /* never sent twice */
	shot_go(&s, to(&p), "/ok");
	assert_answer(&s, 200, "ok");
	shot_free(&s);
	shot_free(&first);
	peer_stop(&p);
}

static void b_half_an_answer(void)
{
	struct peer p = a_peer();
	struct shot s;

	peer_start(&p);
	shot_go(&s, to(&p), "/half");
	assert_failed(&s, HM_FATE_MAYBE, 0, NULL);
	shot_free(&s);
	peer_stop(&p);
}

static void b_oversize_body(void)
{
	struct peer p = a_peer();
	struct shot s;

	peer_start(&p);
	shot_go(&s, to(&p), "/big/1000000");
	assert_answer(&s, 200, NULL);
	assert_true(s.call.answer_cut);
	assert_int_equal(s.call.answer.len, wire_opts.max_response_bytes);
	assert_int_equal(s.call.answer.p[s.call.answer.len - 1], 'x');
	shot_free(&s);
	shot_go(&s, to(&p), "/big/262144"); /* exactly the limit is whole */
	assert_answer(&s, 200, NULL);
	assert_false(s.call.answer_cut);
	assert_int_equal(s.call.answer.len, 262144);
	shot_free(&s);
	peer_stop(&p);
}

static void b_oversize_headers(void)
{
	struct peer p = a_peer();
	struct shot s;

	peer_start(&p);
	shot_go(&s, to(&p), "/head/8000");
	assert_answer(&s, 200, NULL);
	assert_int_equal(hm_call_header(&s.call, "x-big").len, 8000);
	shot_free(&s);
	shot_go(&s, to(&p), "/head/20000");
	assert_failed(&s, HM_FATE_MAYBE, 0, NULL);
	shot_free(&s);
	shot_go(&s, to(&p), "/ok");
	assert_answer(&s, 200, "ok");
	shot_free(&s);
	peer_stop(&p);
}

static void b_informational_and_trailers(void)
{
	struct peer p = a_peer();
	struct shot s;

	peer_start(&p);
	shot_go(&s, to(&p), "/info");
	assert_answer(&s, 200, "ok");
	assert_null(hm_call_header(&s.call, "link").p);
	shot_free(&s);
	shot_go(&s, to(&p), "/trailers");
	assert_answer(&s, 200, "ok");
	assert_null(hm_call_header(&s.call, "x-trailer").p);
	shot_free(&s);
	peer_stop(&p);
}

static void b_cancel(void)
{
	struct peer p = a_peer();
	struct shot waiting, running, after;

	peer_start(&p);
	shot_make(&waiting, to(&p), "/slow");
	shot_fire(&waiting);
	hm_wire_cancel(&waiting.call);
	assert_int_equal(waiting.done, 0);
	shot_wait(&waiting);
	assert_failed(&waiting, HM_FATE_NOT_SENT, HM_ECANCELLED, "cancelled");
	shot_make(&running, to(&p), "/slow");
	shot_fire(&running);
	while (atomic_load(&p.requests) == 0)
		uv_run(&loop, UV_RUN_NOWAIT);
	hm_wire_cancel(&running.call);
	hm_wire_cancel(&running.call); /* a repeat is harmless */
	shot_wait(&running);
	assert_failed(&running, HM_FATE_MAYBE, HM_ECANCELLED, "cancelled");
	shot_go(&after, to(&p), "/ok");
	assert_answer(&after, 200, "ok");
	shot_free(&waiting);
	shot_free(&running);
	shot_free(&after);
	peer_stop(&p);
}

static void b_again_from_on_done(void)
{
	struct peer p = a_peer();
	struct shot first, second;

	peer_start(&p);
	shot_make(&first, to(&p), "/ok");
	shot_make(&second, to(&p), "/echo");
	first.then = &second;
	shot_fire(&first);
	shot_wait(&second);
	assert_answer(&first, 200, "ok");
	assert_answer(&second, 200, "{\"hello\":1}");
	shot_free(&first);
	shot_free(&second);
	peer_stop(&p);
}

static void tls_fails(const char *cert, const char *ca, const char *text)
{
	struct peer p = a_peer();
	struct shot s;

	p.cert = cert;
	wire_stop();
	wire_opts.ca_file = hm_str_c(ca);
	wire_start();
	peer_start(&p);
	shot_go(&s, to(&p), "/ok");
	assert_failed(&s, HM_FATE_NOT_SENT, HM_ETLS, text);
	assert_int_equal(atomic_load(&p.requests), 0);
	shot_free(&s);
	peer_stop(&p);
	wire_stop();
	wire_opts.ca_file = hm_str_c(certs.ca);
	wire_start();
}

static void b_tls_verification(void)
{
	if (!road->tls)
		return;
	tls_fails(certs.expired, certs.ca, "expired");
	tls_fails(certs.wrong, certs.ca, road->version == HM_HTTP_1 ? "name" : "wrong host");
	tls_fails(certs.stranger, certs.ca, road->version == HM_HTTP_1 ? "issuer" : "untrusted CA");
	tls_fails(certs.server, certs.other_ca, road->version == HM_HTTP_1 ? "issuer" : "untrusted CA");
}

static void b_tls_unverified(void)
{
	struct peer p = a_peer();
	struct shot s;

	if (!road->tls)
		return;
	p.cert = certs.wrong;
	wire_stop();
	wire_opts.verify = false;
	wire_start();
	peer_start(&p);
	shot_go(&s, to(&p), "/ok");
	assert_answer(&s, 200, "ok");
	shot_free(&s);
	peer_stop(&p);
}

static void b_tls_other_name(void)
{
	struct peer p = a_peer();
	struct hm_origin_opts o = {
		.tls = true, .verify = true, .version = road->version, .host = HM_STR("127.0.0.1")};
	struct hm_origin *r, *again;
	struct hm_err e = {0};
	struct shot s;

	if (!road->tls)
		return;
	peer_start(&p);
	o.port = p.port;
	assert_int_equal(hm_wire_origin(wire, &o, &r, &e), 0); /* an address, verified as one */
	shot_go(&s, r, "/ok");
	assert_answer(&s, 200, "ok");
	shot_free(&s);
	o.server_name = HM_STR("provider.test");
	assert_int_equal(hm_wire_origin(wire, &o, &again, &e), 0);
	assert_ptr_not_equal(r, again);
	shot_go(&s, again, "/ok");
	assert_answer(&s, 200, "ok");
	shot_free(&s);
	o.server_name = HM_STR("somebody.test");
	assert_int_equal(hm_wire_origin(wire, &o, &again, &e), 0);
	shot_go(&s, again, "/ok");
	assert_failed(&s, HM_FATE_NOT_SENT, HM_ETLS, NULL);
	shot_free(&s);
	peer_stop(&p);
}

static void b_tls_client_certificate(void)
{
	struct peer p = a_peer();
	struct hm_origin_opts o = {
		.tls = true, .verify = true, .version = road->version, .host = HM_STR("127.0.0.1")};
	struct hm_origin *r;
	struct hm_err e = {0};
	struct shot s;

	if (!road->tls)
		return;
	p.client_ca = certs.ca;
	peer_start(&p);
	o.port = p.port;
	assert_int_equal(hm_wire_origin(wire, &o, &r, &e), 0);
	shot_go(&s, r, "/ok");
	/* In TLS 1.3 the refusal may come when the request has left already. */
	assert_true(s.call.fate != HM_FATE_ANSWERED);
	shot_free(&s);
	o.cert_file = hm_str_c(certs.client);
	assert_int_equal(hm_wire_origin(wire, &o, &r, &e), 0);
	shot_go(&s, r, "/ok");
	assert_answer(&s, 200, "ok");
	shot_free(&s);
	o.cert_file = HM_STR("/nonexistent/cert.pem");
	assert_int_equal(hm_wire_origin(wire, &o, &r, &e), HM_ETLS);
	assert_non_null(strstr(e.text, "/nonexistent/cert.pem"));
	assert_non_null(strstr(e.text, "No such file"));
	peer_stop(&p);
}

static void b_deny_private(void)
{
	struct peer p = a_peer();
	struct hm_origin_opts o = {
		.tls = road->tls, .verify = true, .version = road->version, .deny_private = true};
	static const char *const hosts[] = {"127.0.0.1", "localhost"};
	struct hm_err e = {0};

	peer_start(&p);
	o.port = p.port;
	for (size_t i = 0; i < 2; i++) {
		struct hm_origin *r;
		struct shot s;

		o.host = hm_str_c(hosts[i]);
		assert_int_equal(hm_wire_origin(wire, &o, &r, &e), 0);
		shot_go(&s, r, "/ok");
		assert_failed(&s, HM_FATE_NOT_SENT, HM_EPERM, "private address");
		shot_free(&s);
	}
	assert_int_equal(atomic_load(&p.conns), 0);
	peer_stop(&p);
}

static void b_queue_limit(void)
{
	struct peer p = a_peer();
	struct shot s[11];
	struct hm_err e = {0};

	wire_stop();
	wire_opts.queue_max = 10;
	wire_start();
	peer_start(&p);
	for (size_t i = 0; i < 11; i++)
		shot_make(&s[i], to(&p), "/ok");
	for (size_t i = 0; i < 10; i++)
		shot_fire(&s[i]);
	assert_int_equal(hm_wire_submit(&s[10].call, &e), HM_EAGAIN);
	for (size_t i = 0; i < 10; i++)
		shot_wait(&s[i]);
	assert_int_equal(s[10].done, 0);
	for (size_t i = 0; i < 10; i++)
		shot_free(&s[i]);
	hm_arena_fini(&s[10].arena);
	peer_stop(&p);
}

static void b_bad_requests(void)
{
	struct peer p = a_peer();
	struct hm_header bad_value = {HM_STR("x-a"), HM_STR("one\r\nx-b: two"), 0};
	struct hm_header bad_name = {HM_STR("X-Upper"), HM_STR("one"), 0};
	struct hm_header long_bad = {HM_STR("x-a"), HM_STR("0123456789 0123456789\t0123456789\n"), 0};
	struct hm_err e = {0};
	struct shot s;

	peer_start(&p);
	shot_make(&s, to(&p), "/ok");
	s.call.headers = &bad_value;
	s.call.n_headers = 1;
	assert_int_equal(hm_wire_submit(&s.call, &e), HM_EINVAL);
	assert_non_null(strstr(e.text, "x-a"));
	s.call.headers = &bad_name;
	assert_int_equal(hm_wire_submit(&s.call, &e), HM_EINVAL);
	s.call.headers = &long_bad;
	assert_int_equal(hm_wire_submit(&s.call, &e), HM_EINVAL);
	s.call.n_headers = 0;
	s.call.path = HM_STR("/a b");
	assert_int_equal(hm_wire_submit(&s.call, &e), HM_EINVAL);
	s.call.path = HM_STR("relative");
	assert_int_equal(hm_wire_submit(&s.call, &e), HM_EINVAL);
	s.call.path = HM_STR("/ok");
	s.call.method = HM_STR("PO ST");
	assert_int_equal(hm_wire_submit(&s.call, &e), HM_EINVAL);
	hm_arena_fini(&s.arena);
	peer_stop(&p);
}

static void b_out_of_arena(void)
{
	struct peer p = a_peer();
	struct shot s;

	peer_start(&p);
	shot_make(&s, to(&p), "/big/200000");
	hm_arena_fini(&s.arena);
	hm_arena_init(&s.arena, &tick.blocks, 32 * 1024);
	shot_fire(&s);
	shot_wait(&s);
	/* The status is known; the body is what fitted. */
	assert_answer(&s, 200, NULL);
	assert_true(s.call.answer_cut);
	shot_free(&s);
	peer_stop(&p);
}

static void run(void (*fn)(void))
{
	for (size_t i = 0; i < hm_countof(roads); i++) {
		road = &roads[i];
		print_message("      over %s\n", road->name);
		setup(NULL);
		fn();
		teardown(NULL);
	}
}

#define BATTERY(X)                      \
	X(b_ok)                         \
	X(b_methods_and_headers)        \
	X(b_statuses)                   \
	X(b_many)                       \
	X(b_refused)                    \
	X(b_unknown_host)               \
	X(b_deadline)                   \
	X(b_deadline_in_queue)          \
	X(b_killed)                     \
	X(b_half_an_answer)             \
	X(b_oversize_body)              \
	X(b_oversize_headers)           \
	X(b_informational_and_trailers) \
	X(b_cancel)                     \
	X(b_again_from_on_done)         \
	X(b_tls_verification)           \
	X(b_tls_unverified)             \
	X(b_tls_other_name)             \
	X(b_tls_client_certificate)     \
	X(b_deny_private)               \
	X(b_queue_limit)                \
	X(b_bad_requests)               \
	X(b_out_of_arena)

#define DEFINE(fn)                          \
	static void test_##fn(void **state) \
	{                                   \
		run(fn);                    \
	}
BATTERY(DEFINE)

int main(void)
{
#define ENTRY(fn) cmocka_unit_test(test_##fn),
	const struct CMUnitTest tests[] = {BATTERY(ENTRY)};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
