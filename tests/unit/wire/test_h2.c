/*
 * test_h2.c - what only HTTP/2 has: streams and their limits, refusals, drains, PING, and the
 * line between "not sent" and "maybe" when a connection goes
 */
#include "harness.h"
#include "wire/wire_int.h"

static void fire_many(struct shot *s, size_t n, struct hm_origin *o, const char *path)
{
	for (size_t i = 0; i < n; i++) {
		shot_make(&s[i], o, path);
		shot_fire(&s[i]);
	}
}

static void wait_many(struct shot *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		shot_wait(&s[i]);
}

static void free_many(struct shot *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		shot_free(&s[i]);
}

static void test_one_connection_is_enough(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server, .max_streams = 100};
	struct shot s[90];

	peer_start(&p);
	fire_many(s, 90, origin_for(&p, HM_HTTP_2), "/echo");
	wait_many(s, 90);
	for (size_t i = 0; i < 90; i++)
		assert_answer(&s[i], 200, "{\"hello\":1}");
	assert_int_equal(atomic_load(&p.conns), 1);
	free_many(s, 90);
	peer_stop(&p);
}

static void test_pool_grows_when_streams_run_out(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server, .max_streams = 10};
	struct shot s[40];

	peer_start(&p);
	/* None is answered before all 40 are there, which takes all four connections. */
	fire_many(s, 40, origin_for(&p, HM_HTTP_2), "/slowest/40");
	wait_many(s, 40);
	assert_int_equal(atomic_load(&p.conns), 4);
	assert_true(atomic_load(&p.most_streams) == 40);
	free_many(s, 40);
	peer_stop(&p);
}

static void test_stream_limit_is_honoured(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server, .max_streams = 3};
	struct shot s[100];
	struct hm_origin *o;

	wire_stop();
	wire_opts.max_connections = 1;
	wire_start();
	peer_start(&p);
	o = origin_for(&p, HM_HTTP_2);
	fire_many(s, 100, o, "/ok");
	wait_many(s, 100);
	for (size_t i = 0; i < 100; i++)
		assert_answer(&s[i], 200, "ok");
	assert_true(atomic_load(&p.most_streams) <= 3);
	free_many(s, 100);
	peer_stop(&p);
}

static void test_limit_lowered_and_raised(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server, .max_streams = 50};
	struct shot s[60], change;
	struct hm_origin *o;

	wire_stop();
	wire_opts.max_connections = 1;
	wire_start();
	peer_start(&p);
	o = origin_for(&p, HM_HTTP_2);
	shot_go(&change, o, "/limit/2");
	assert_answer(&change, 200, "ok");
	shot_free(&change);
	atomic_store(&p.most_streams, 0);
	fire_many(s, 60, o, "/ok");
	wait_many(s, 60);
	assert_true(atomic_load(&p.most_streams) <= 2);
	free_many(s, 60);
	shot_go(&change, o, "/limit/40");
	shot_free(&change);
	fire_many(s, 38, o, "/slowest/38"); /* 40 less the reserve of 2; all 38 must be open together */
	wait_many(s, 38);
	free_many(s, 38);
	peer_stop(&p);
}

static void test_limit_of_zero_waits(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server, .max_streams = 1};
	struct shot s[3];

	wire_stop();
	wire_opts.max_connections = 1;
	wire_start();
	peer_start(&p);
	shot_go(&s[0], origin_for(&p, HM_HTTP_2), "/limit/0");
	shot_make(&s[1], s[0].call.origin, "/ok");
	s[1].call.timeout_ms = 200;
	shot_fire(&s[1]);
	shot_wait(&s[1]);
	assert_failed(&s[1], HM_FATE_NOT_SENT, HM_ETIMEDOUT, "no free stream");
	free_many(s, 2);
	peer_stop(&p);
}

static void test_urgent_overtakes(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server, .max_streams = 1};
	struct shot first, s[20], urgent;
	struct hm_origin *o;
	char *at;

	wire_stop();
	wire_opts.max_connections = 1;
	wire_start();
	peer_start(&p);
	o = origin_for(&p, HM_HTTP_2);
	shot_go(&first, o, "/ok");
	for (size_t i = 0; i < 20; i++) {
		shot_make(&s[i], o, "/echo");
		shot_fire(&s[i]);
	}
	shot_make(&urgent, o, "/status/204");
	urgent.call.urgent = true;
	shot_fire(&urgent);
	wait_many(s, 20);
	assert_answer(&urgent, 204, "");
	at = strstr(p.order, "/status/204");
	assert_non_null(at);
	assert_true(strncmp(at - 4, "/ok\n", 4) == 0); /* before every /echo */
	shot_free(&first);
	shot_free(&urgent);
	free_many(s, 20);
	peer_stop(&p);
}

static void test_reserve_for_urgent(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server, .max_streams = 40};
	struct shot first, s[40], urgent;
	struct hm_origin *o;

	wire_stop();
	wire_opts.max_connections = 1;
	wire_start();
	peer_start(&p);
	o = origin_for(&p, HM_HTTP_2);
	shot_go(&first, o, "/ok");
	assert_int_equal(hm_origin_room(o, false), 38);
	assert_int_equal(hm_origin_room(o, true), 40);
	fire_many(s, 40, o, "/slow");
	assert_int_equal(hm_origin_room(o, false), 0);
	shot_make(&urgent, o, "/ok");
	urgent.call.urgent = true;
	shot_fire(&urgent);
	shot_wait(&urgent);
	assert_answer(&urgent, 200, "ok");
	hm_wire_abort(wire);
	wait_many(s, 40);
	shot_free(&first);
	shot_free(&urgent);
	free_many(s, 40);
	peer_stop(&p);
}

static void test_refused_is_sent_again(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server};
	struct shot s;

	peer_start(&p);
	shot_go(&s, origin_for(&p, HM_HTTP_2), "/refuse/2");
	assert_answer(&s, 200, "ok");
	assert_int_equal(atomic_load(&p.requests), 3);
	shot_free(&s);
	peer_stop(&p);
}

static void test_refused_too_often(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server};
	struct shot s;

	peer_start(&p);
	shot_go(&s, origin_for(&p, HM_HTTP_2), "/refuse/1000");
	assert_failed(&s, HM_FATE_NOT_SENT, HM_EREFUSED, "refused");
	assert_int_equal(atomic_load(&p.requests), WIRE_MAX_TRIES);
	shot_free(&s);
	peer_stop(&p);
}

static void test_goaway_resends_the_refused(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server};
	struct shot s[10], left_out;
	struct hm_origin *o;

	peer_start(&p);
	o = origin_for(&p, HM_HTTP_2);
	fire_many(s, 9, o, "/slowest/9");
	shot_make(&left_out, o, "/goaway");
	/* GOAWAY names the streams before this one: they finish there, this one goes to a new connection. */
	run_until(atomic_load(&p.requests) == 8 || s[8].done || s[0].call.state == CALL_STREAM);
	shot_fire(&left_out);
	wait_many(s, 9);
	shot_wait(&left_out);
	for (size_t i = 0; i < 9; i++)
		assert_answer(&s[i], 200, "ok");
	assert_answer(&left_out, 200, "ok");
	assert_int_equal(atomic_load(&p.conns), 2);
	free_many(s, 9);
	shot_free(&left_out);
	peer_stop(&p);
}

static void test_goaway_graceful(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server};
	struct shot s[2];

	peer_start(&p);
	shot_go(&s[0], origin_for(&p, HM_HTTP_2), "/goaway-all");
	assert_answer(&s[0], 200, "ok");
	shot_go(&s[1], s[0].call.origin, "/ok");
	assert_answer(&s[1], 200, "ok");
	assert_int_equal(atomic_load(&p.conns), 2);
	free_many(s, 2);
	peer_stop(&p);
}

static void test_reset(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server};
	struct shot s, after;

	peer_start(&p);
	shot_go(&s, origin_for(&p, HM_HTTP_2), "/reset/2");
	assert_failed(&s, HM_FATE_MAYBE, HM_EPROTO, "INTERNAL_ERROR");
	shot_go(&after, s.call.origin, "/ok"); /* the connection lives on */
	assert_answer(&after, 200, "ok");
	assert_int_equal(atomic_load(&p.conns), 1);
	shot_free(&s);
	shot_free(&after);
	peer_stop(&p);
}

/* Killed with requests on the wire: those are "maybe"; the ones still waiting go over a new connection. */
static void test_killed_mid_flight(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server, .max_streams = 5};
	struct shot first, slow[4], kill_it, waiting[3];
	struct hm_origin *o;

	wire_stop();
	wire_opts.max_connections = 1;
	wire_start();
	peer_start(&p);
	o = origin_for(&p, HM_HTTP_2);
	shot_go(&first, o, "/ok");
	fire_many(slow, 4, o, "/slow");
	shot_make(&kill_it, o, "/kill");
	shot_fire(&kill_it);
	fire_many(waiting, 3, o, "/ok");
	wait_many(slow, 4);
	wait_many(waiting, 3);
	shot_wait(&kill_it);
	for (size_t i = 0; i < 4; i++)
		assert_failed(&slow[i], HM_FATE_MAYBE, 0, NULL);
	assert_failed(&kill_it, HM_FATE_MAYBE, 0, NULL);
	for (size_t i = 0; i < 3; i++)
		assert_answer(&waiting[i], 200, "ok");
	shot_free(&first);
	shot_free(&kill_it);
	free_many(slow, 4);
	free_many(waiting, 3);
	peer_stop(&p);
}

/* A failed write cannot be told from a loss on the way: the bytes had been handed over. */
static void test_write_fails(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server};
	struct shot first, s;
	struct hm_origin *o;
	struct hm_err e = {0};

	peer_start(&p);
	o = origin_for(&p, HM_HTTP_2);
	shot_go(&first, o, "/ok");
	assert_int_equal(hm_fault_init("wire_write:fail@1", &e), 0);
	shot_go(&s, o, "/ok");
	assert_failed(&s, HM_FATE_MAYBE, HM_EIO, "writing");
	shot_free(&first);
	shot_free(&s);
	peer_stop(&p);
}

/* One request trickles out byte by byte, a second waits behind it, then the peer goes: the first may have
 * arrived, the second certainly never left. */
static void test_lost_before_it_left(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server};
	struct shot first, begun, behind;
	static char body[60000];
	struct hm_origin *o;
	struct hm_err e = {0};

	peer_start(&p);
	o = origin_for(&p, HM_HTTP_2);
	shot_go(&first, o, "/ok");
	assert_int_equal(hm_fault_init("wire_write:short@1+", &e), 0);
	shot_make(&begun, o, "/ok");
	begun.call.body = hm_str_n(body, sizeof(body));
	shot_fire(&begun);
	for (int i = 0; i < 50; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	shot_make(&behind, o, "/ok");
	shot_fire(&behind);
	for (int i = 0; i < 50; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(behind.call.state, CALL_STREAM);
	peer_stop(&p);
	shot_wait(&begun);
	shot_wait(&behind);
	assert_failed(&begun, HM_FATE_MAYBE, 0, NULL);
	assert_failed(&behind, HM_FATE_NOT_SENT, HM_ECONN, "refused");
	shot_free(&first);
	shot_free(&begun);
	shot_free(&behind);
}

static void test_garbage(void **state)
{
	struct peer p = {.kind = PEER_GARBAGE};
	struct shot s;

	peer_start(&p);
	shot_go(&s, origin_for(&p, HM_HTTP_2_PRIOR), "/ok");
	assert_failed(&s, HM_FATE_NOT_SENT, HM_EPROTO, "HTTP/2");
	shot_free(&s);
	peer_stop(&p);
}

static void test_silent_peer(void **state)
{
	struct peer p = {.kind = PEER_SILENT};
	struct shot s;

	wire_stop();
	wire_opts.connect_timeout_ms = 150;
	wire_start();
	peer_start(&p);
	shot_go(&s, origin_for(&p, HM_HTTP_2_PRIOR), "/ok");
	assert_failed(&s, HM_FATE_NOT_SENT, HM_ETIMEDOUT, "SETTINGS");
	shot_free(&s);
	peer_stop(&p);
}

static void test_silent_tls_peer(void **state)
{
	struct peer p = {.kind = PEER_SILENT};
	struct hm_origin_opts o = {
		.tls = true, .verify = true, .version = HM_HTTP_2, .host = HM_STR("127.0.0.1")};
	struct hm_origin *r;
	struct hm_err e = {0};
	struct shot s;

	wire_stop();
	wire_opts.connect_timeout_ms = 150;
	wire_start();
	peer_start(&p);
	o.port = p.port;
	assert_int_equal(hm_wire_origin(wire, &o, &r, &e), 0);
	shot_go(&s, r, "/ok");
	assert_failed(&s, HM_FATE_NOT_SENT, HM_ETIMEDOUT, "handshake");
	shot_free(&s);
	peer_stop(&p);
}

/* A peer that greets and hangs up is backed off from, not dialled for ever. */
static void test_greets_and_hangs_up(void **state)
{
	struct peer p = {.kind = PEER_GREET_HANGUP};
	struct shot s;

	peer_start(&p);
	shot_make(&s, origin_for(&p, HM_HTTP_2_PRIOR), "/ok");
	s.call.timeout_ms = 600;
	shot_fire(&s);
	shot_wait(&s);
	assert_true(s.call.fate != HM_FATE_ANSWERED);
	assert_true(atomic_load(&p.conns) < 12);
	shot_free(&s);
	peer_stop(&p);
}

static void test_backoff_fails_fast(void **state)
{
	struct peer p = {.kind = PEER_HANGUP};
	struct shot s[5];

	peer_start(&p);
	for (size_t i = 0; i < 5; i++) {
		shot_go(&s[i], origin_for(&p, HM_HTTP_2_PRIOR), "/ok");
		assert_failed(&s[i], HM_FATE_NOT_SENT, HM_ECLOSED, NULL);
	}
	assert_true(atomic_load(&p.conns) <= 5);
	free_many(s, 5);
	peer_stop(&p);
}

/* After some failures in a row the next try is seconds away, and nobody is made to wait for it. */
static void test_down_for_long_fails_at_once(void **state)
{
	struct peer p = {.kind = PEER_HANGUP};
	struct hm_origin *o;
	struct shot s;
	unsigned conns;

	peer_start(&p);
	o = origin_for(&p, HM_HTTP_2_PRIOR);
	for (int i = 0; i < 8; i++) {
		hm_clock_advance_ms(20000); /* backoff is over */
		hm_tick_refresh(&tick);
		shot_go(&s, o, "/ok");
		assert_failed(&s, HM_FATE_NOT_SENT, HM_ECLOSED, NULL);
		shot_free(&s);
	}
	conns = atomic_load(&p.conns);
	assert_int_equal(conns, 8);
	shot_make(&s, o, "/ok");
	shot_fire(&s);
	for (int i = 0; i < 3 && !s.done; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	assert_failed(&s, HM_FATE_NOT_SENT, HM_ECLOSED, NULL);
	assert_int_equal(atomic_load(&p.conns), conns);
	assert_true(hm_origin_room(o, false) > 0); /* who asks first is told to come, and learns the reason */
	shot_free(&s);
	peer_stop(&p);
}

/* Every allocation point fails once: each call ends exactly once, with an answer or a reason. */
static void test_allocation_sweep(void **state)
{
	static const enum hm_http_version versions[] = {HM_HTTP_2_PRIOR, HM_HTTP_1};
	struct peer h2 = {.kind = PEER_H2}, h1 = {.kind = PEER_HTTP1};
	struct hm_err e = {0};
	unsigned failures = 0;

	peer_start(&h2);
	peer_start(&h1);
	for (int v = 0; v < 2; v++) {
		for (int n = 1; n <= 60; n++) {
			struct hm_origin *o;
			struct shot s;
			char spec[32];

			wire_stop();
			wire_start();
			o = origin_for(v ? &h1 : &h2, versions[v]);
			shot_make(&s, o, "/echo");
			s.call.timeout_ms = 500; /* an answer the peer could not allocate never comes */
			snprintf(spec, sizeof(spec), "alloc:fail@%d", n);
			assert_int_equal(hm_fault_init(spec, &e), 0);
			if (hm_wire_submit(&s.call, &e) == 0) {
				shot_wait(&s);
				failures += s.call.fate != HM_FATE_ANSWERED;
			} else {
				s.done = 1;
				failures++;
			}
			assert_int_equal(hm_fault_init(NULL, &e), 0);
			shot_free(&s);
		}
	}
	assert_true(failures > 5); /* the faults did hit something */
	peer_stop(&h2);
	peer_stop(&h1);
}

/* The same with many calls on a connection, each with headers that HPACK's tables do not know yet. */
static void test_allocation_sweep_many_calls(void **state)
{
	enum { CALLS = 24 };
	static struct shot s[CALLS];
	static struct hm_header extra[CALLS];
	static char text[CALLS][400];
	struct peer h2 = {.kind = PEER_H2};
	unsigned failures = 0;
	struct hm_err e = {0};
	uint64_t hits = UINT64_MAX;

	peer_start(&h2);
	for (unsigned n = 1; n <= hits; n++) {
		struct hm_origin *o;
		char spec[32];

		wire_stop();
		wire_start();
		o = origin_for(&h2, HM_HTTP_2_PRIOR);
		shot_go(&s[0], o, "/ok"); /* the connection is there when the others come */
		shot_free(&s[0]);
		snprintf(spec, sizeof(spec), "alloc:fail@%u", n);
		assert_int_equal(hm_fault_init(spec, &e), 0);
		for (int i = 0; i < CALLS; i++) {
			shot_make(&s[i], o, "/echo");
			memset(text[i], 'a' + i, sizeof(text[i]));
			extra[i] = (struct hm_header){hm_str_n("x-some-name", (size_t)(4 + i % 8)),
						      hm_str_n(text[i], (size_t)(100 + i * 12)), 0};
			s[i].call.headers = &extra[i];
			s[i].call.n_headers = 1;
			s[i].call.timeout_ms = 300;
			if (hm_wire_submit(&s[i].call, &e) != 0)
				s[i].done = 1;
		}
		for (int i = 0; i < CALLS; i++) {
			shot_wait(&s[i]);
			failures += s[i].call.fate != HM_FATE_ANSWERED;
		}
		hits = hm_fault_hits(HM_FAULT_alloc);
		assert_int_equal(hm_fault_init(NULL, &e), 0);
		for (int i = 0; i < CALLS; i++)
			shot_free(&s[i]);
	}
	print_message("%llu allocations, %u calls failed\n", (unsigned long long)hits, failures);
	assert_true(failures > 5);
	peer_stop(&h2);
}

static void test_alpn_fallback(void **state)
{
	struct peer p = {.kind = PEER_HTTP1, .cert = certs.server};
	struct shot s[3];
	struct hm_origin *o;

	peer_start(&p);
	o = origin_for(&p, HM_HTTP_AUTO);
	fire_many(s, 3, o, "/echo");
	wait_many(s, 3);
	for (size_t i = 0; i < 3; i++)
		assert_answer(&s[i], 200, "{\"hello\":1}");
	assert_true(o->http1);
	free_many(s, 3);
	peer_stop(&p);
}

static void test_alpn_required(void **state)
{
	struct peer p = {.kind = PEER_HTTP1, .cert = certs.server};
	struct shot s;

	peer_start(&p);
	shot_go(&s, origin_for(&p, HM_HTTP_2), "/ok");
	assert_failed(&s, HM_FATE_NOT_SENT, 0, "ALPN");
	shot_free(&s);
	peer_stop(&p);
}

static void test_ping_keeps_and_kills(void **state)
{
	struct peer alive = {.kind = PEER_H2, .cert = certs.server},
		    dead = {.kind = PEER_H2, .cert = certs.server, .no_ping = true};
	struct shot a, d;

	wire_stop();
	wire_opts.idle_ping_ms = 250;
	wire_start();
	peer_start(&alive);
	peer_start(&dead);
	warm_up(origin_for(&alive, HM_HTTP_2));
	warm_up(origin_for(&dead, HM_HTTP_2));
	shot_make(&a, origin_for(&alive, HM_HTTP_2), "/slow");
	shot_make(&d, origin_for(&dead, HM_HTTP_2), "/slow");
	a.call.timeout_ms = 1200;
	shot_fire(&a);
	shot_fire(&d);
	shot_wait(&d);
	assert_failed(&d, HM_FATE_MAYBE, HM_ETIMEDOUT, "PING");
	shot_wait(&a);
	assert_failed(&a, HM_FATE_MAYBE, HM_ETIMEDOUT, "no answer in 1200 ms");
	assert_int_equal(atomic_load(&alive.conns), 1);
	shot_free(&a);
	shot_free(&d);
	peer_stop(&alive);
	peer_stop(&dead);
}

static void test_idle_connections_go(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server};
	struct hm_origin *o;
	struct shot s;

	wire_stop();
	wire_opts.idle_close_ms = 50;
	wire_start();
	peer_start(&p);
	o = origin_for(&p, HM_HTTP_2);
	shot_go(&s, o, "/ok");
	shot_free(&s);
	assert_int_equal(o->sessions.len, 1);
	run_until(o->sessions.len == 0);
	shot_go(&s, o, "/ok");
	assert_answer(&s, 200, "ok");
	assert_int_equal(o->tickets.resumed, 1); /* and the next handshake is the short one */
	shot_free(&s);
	peer_stop(&p);
}

static void test_deadline_resets_the_stream(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server};
	struct shot s, after;

	peer_start(&p);
	warm_up(origin_for(&p, HM_HTTP_2));
	shot_make(&s, origin_for(&p, HM_HTTP_2), "/slow");
	s.call.timeout_ms = 100;
	shot_fire(&s);
	shot_wait(&s);
	assert_failed(&s, HM_FATE_MAYBE, HM_ETIMEDOUT, "no answer in 100 ms");
	shot_go(&after, s.call.origin, "/ok");
	assert_int_equal(atomic_load(&p.resets), 1);
	assert_int_equal(atomic_load(&p.conns), 1);
	shot_free(&s);
	shot_free(&after);
	peer_stop(&p);
}

static unsigned rooms;
static void on_room(void *arg)
{
	rooms++;
	uv_stop(&loop);
}
static void test_room_is_announced(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server, .max_streams = 2};
	struct shot first, s[2];
	struct hm_origin *o;

	wire_stop();
	wire_opts.max_connections = 1;
	wire_start();
	peer_start(&p);
	o = origin_for(&p, HM_HTTP_2);
	assert_true(hm_origin_room(o, false) > 0); /* before the first connection */
	shot_go(&first, o, "/ok");
	assert_int_equal(hm_origin_room(o, false), 2);
	rooms = 0;
	hm_origin_on_room(o, on_room, NULL);
	fire_many(s, 2, o, "/ok");
	assert_int_equal(hm_origin_room(o, false), 0);
	run_until(rooms > 0);
	assert_true(hm_origin_room(o, false) > 0);
	wait_many(s, 2);
	shot_free(&first);
	free_many(s, 2);
	peer_stop(&p);
}

/* Everything the client reads and writes in single bytes, both ways. */
static void test_byte_by_byte(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server};
	struct shot s[3];
	struct hm_err e = {0};

	peer_start(&p);
	assert_int_equal(hm_fault_init("wire_read:short@1+,wire_write:short@1+", &e), 0);
	fire_many(s, 3, origin_for(&p, HM_HTTP_2), "/echo");
	wait_many(s, 3);
	for (size_t i = 0; i < 3; i++)
		assert_answer(&s[i], 200, "{\"hello\":1}");
	free_many(s, 3);
	wire_stop();
	assert_int_equal(hm_fault_init(NULL, &e), 0);
	peer_stop(&p);
}

static void test_big_body_both_ways(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server};
	static char body[200 * 1024];
	struct shot s[4];

	memset(body, 'b', sizeof(body));
	peer_start(&p);
	for (size_t i = 0; i < 4; i++) {
		shot_make(&s[i], origin_for(&p, HM_HTTP_2), "/echo");
		s[i].call.body = hm_str_n(body, sizeof(body)); /* larger than any initial window */
		shot_fire(&s[i]);
	}
	wait_many(s, 4);
	for (size_t i = 0; i < 4; i++) {
		assert_answer(&s[i], 200, NULL);
		assert_int_equal(s[i].call.answer.len, sizeof(body));
		assert_memory_equal(s[i].call.answer.p, body, sizeof(body));
		assert_false(s[i].call.answer_cut);
	}
	free_many(s, 4);
	peer_stop(&p);
}

/* The answer comes before the body was wanted: it counts, and the rest is not sent. */
static void test_early_answer(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server};
	static char body[1 << 20];
	struct shot s, after;

	peer_start(&p);
	shot_make(&s, origin_for(&p, HM_HTTP_2), "/early");
	s.call.body = hm_str_n(body, sizeof(body));
	shot_fire(&s);
	shot_wait(&s);
	assert_answer(&s, 200, "ok");
	shot_free(&s);
	shot_go(&after, s.call.origin, "/ok");
	assert_answer(&after, 200, "ok");
	shot_free(&after);
	peer_stop(&p);
}

static void test_steady_state_does_not_malloc(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server};
	struct shot s[50];
	struct hm_origin *o;
	uint64_t before;

	peer_start(&p);
	o = origin_for(&p, HM_HTTP_2);
	for (int round = 0; round < 20; round++) {
		fire_many(s, 50, o, "/echo");
		wait_many(s, 50);
		free_many(s, 50);
		if (round == 5)
			before = wire->mem.mallocs;
	}
	assert_int_equal(wire->mem.mallocs, before);
	peer_stop(&p);
}

static void test_describe(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server};
	struct hm_buf b;
	struct shot s;

	peer_start(&p);
	shot_go(&s, origin_for(&p, HM_HTTP_2), "/ok");
	hm_buf_init(&b, 65536);
	hm_wire_describe(wire, &b);
	assert_non_null(strstr(hm_buf_cstr(&b), "\"protocol\":\"h2\""));
	assert_non_null(strstr(hm_buf_cstr(&b), "\"state\":\"ready\""));
	assert_non_null(strstr(hm_buf_cstr(&b), "\"answered\":1"));
	hm_buf_fini(&b);
	shot_free(&s);
	peer_stop(&p);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_one_connection_is_enough),
		T(test_pool_grows_when_streams_run_out),
		T(test_stream_limit_is_honoured),
		T(test_limit_lowered_and_raised),
		T(test_limit_of_zero_waits),
		T(test_urgent_overtakes),
		T(test_reserve_for_urgent),
		T(test_refused_is_sent_again),
		T(test_refused_too_often),
		T(test_goaway_resends_the_refused),
		T(test_goaway_graceful),
		T(test_reset),
		T(test_killed_mid_flight),
		T(test_write_fails),
		T(test_lost_before_it_left),
		T(test_garbage),
		T(test_silent_peer),
		T(test_silent_tls_peer),
		T(test_greets_and_hangs_up),
		T(test_backoff_fails_fast),
		T(test_down_for_long_fails_at_once),
		T(test_allocation_sweep),
		T(test_allocation_sweep_many_calls),
		T(test_alpn_fallback),
		T(test_alpn_required),
		T(test_ping_keeps_and_kills),
		T(test_idle_connections_go),
		T(test_deadline_resets_the_stream),
		T(test_room_is_announced),
		T(test_byte_by_byte),
		T(test_big_body_both_ways),
		T(test_early_answer),
		T(test_steady_state_does_not_malloc),
		T(test_describe),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
