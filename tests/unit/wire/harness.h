/* harness.h - a loop, a wire and calls for the tests of the drivers */
#ifndef TESTS_WIRE_HARNESS_H
#define TESTS_WIRE_HARNESS_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "loop/conn.h"
#include "wire/wire.h"

#pragma GCC diagnostic ignored "-Wunused-function" /* each test uses some of these */

#include "certs.h"
#include "peer.h"

static struct certs certs;
static uv_loop_t loop;
static uv_async_t awake; /* as a shard's mailbox does, it keeps the loop running when only a flush waits */
static struct hm_tick tick;
static struct hm_wire *wire;
static struct hm_wire_opts wire_opts;
static bool wire_closed;

struct shot {
	struct hm_call call;
	struct hm_arena arena;
	char path[128];
	int done;	   /* times on_done came */
	struct shot *then; /* fired by on_done */
};
static unsigned shots_done;

static void shot_done(struct hm_call *c)
{
	struct shot *s = hm_container_of(c, struct shot, call);

	assert_int_equal(s->done, 0);
	s->done++;
	shots_done++;
	uv_stop(&loop); /* flushes run just before the loop sleeps: let run_until look first */
	if (c->fate == HM_FATE_ANSWERED)
		assert_true(c->status >= 200 && c->err.code == 0);
	else
		assert_true(c->err.code < 0 && c->err.text[0]);
	assert_true(c->done_ns >= c->started_ns);
	if (s->then) {
		struct hm_err e = {0};

		if (hm_wire_submit(&s->then->call, &e) < 0)
			fail_msg("%s", e.text);
	}
}

static void shot_make(struct shot *s, struct hm_origin *o, const char *path)
{
	memset(s, 0, sizeof(*s));
	hm_arena_init(&s->arena, &tick.blocks, 0);
	snprintf(s->path, sizeof(s->path), "%s", path);
	s->call = (struct hm_call){
		.magic = HM_CALL_MAGIC,
		.origin = o,
		.method = HM_STR("POST"),
		.path = hm_str_c(s->path),
		.body = HM_STR("{\"hello\":1}"),
		.timeout_ms = 20000,
		.arena = &s->arena,
		.on_done = shot_done,
	};
}

static void shot_fire(struct shot *s)
{
	struct hm_err e = {0};

	if (hm_wire_submit(&s->call, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(s->done, 0); /* never from inside submit */
}

static void shot_free(struct shot *s)
{
	assert_int_equal(s->done, 1);
	hm_arena_fini(&s->arena);
}

/* Runs the loop until the condition holds; the alarm of setup ends a test that hangs. */
#define run_until(cond)                             \
	do {                                        \
		while (!(cond))                     \
			uv_run(&loop, UV_RUN_ONCE); \
	} while (0)

static void shot_wait(struct shot *s)
{
	run_until(s->done);
}

static void shot_go(struct shot *s, struct hm_origin *o, const char *path)
{
	shot_make(s, o, path);
	shot_fire(s);
	shot_wait(s);
}

/* Short deadlines should measure what they are about, not the handshake on a busy machine. */
static void warm_up(struct hm_origin *o)
{
	struct shot s;

	shot_go(&s, o, "/ok");
	shot_free(&s);
}

static void assert_answer(const struct shot *s, int status, const char *body)
{
	if (s->call.fate != HM_FATE_ANSWERED)
		fail_msg("%s: fate %d: %s", s->path, s->call.fate, s->call.err.text);
	assert_int_equal(s->call.status, status);
	if (body) {
		assert_int_equal(s->call.answer.len, strlen(body));
		assert_memory_equal(s->call.answer.p, body, strlen(body));
	}
}

static void assert_failed(const struct shot *s, enum hm_fate fate, int code, const char *text)
{
	if (s->call.fate != fate || (code && s->call.err.code != code) ||
	    (text && !strstr(s->call.err.text, text)))
		fail_msg("%s: fate %d status %d code %d '%s', expected fate %d code %d '%s'", s->path,
			 s->call.fate, s->call.status, s->call.err.code, s->call.err.text, fate, code,
			 text ? text : "");
}

static void on_wire_closed(void *arg)
{
	wire_closed = true;
	uv_stop(&loop);
}

static void wire_start(void)
{
	struct hm_err e = {0};

	if (hm_wire_new(&tick, &wire_opts, &wire, &e) < 0)
		fail_msg("%s", e.text);
}

static void wire_stop(void)
{
	wire_closed = false;
	hm_wire_close(wire, on_wire_closed, NULL);
	run_until(wire_closed);
	wire = NULL;
}

static int setup(void **state)
{
	struct hm_err e = {0};

	alarm(60);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(hm_tick_init(&tick, &loop), 0);
	uv_async_init(&loop, &awake, NULL);
	wire_opts = (struct hm_wire_opts){
		.max_connections = 4,
		.max_streams = 100,
		.queue_max = 10000,
		.connect_timeout_ms = 5000,
		.idle_ping_ms = 30000,
		.idle_close_ms = 60000,
		.max_response_bytes = 256 * 1024,
		.max_header_bytes = 16 * 1024,
		.ca_file = hm_str_c(certs.ca),
		.verify = true,
		.tls_min = HM_STR("1.2"),
	};
	assert_int_equal(hm_fault_init(NULL, &e), 0);
	shots_done = 0;
	wire_start();
	return 0;
}

static int teardown(void **state)
{
	if (wire)
		wire_stop();
	hm_tick_close(&tick);
	uv_close((uv_handle_t *)&awake, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	hm_tick_fini(&tick);
	assert_int_equal(uv_loop_close(&loop), 0);
	alarm(0);
	return 0;
}

static int group_setup(void **state)
{
	struct hm_err e = {0};

	certs_init(&certs);
	return hm_log_set_levels(hm_str_c(getenv("WIRE_TEST_LOG") ? "trace" : "error"), &e);
}

static int group_teardown(void **state)
{
	certs_fini(&certs);
	hm_stats_free_all();
	return 0;
}

static struct hm_origin *origin_for(const struct peer *p, enum hm_http_version v)
{
	struct hm_origin_opts o = {
		.tls = p->cert != NULL,
		.verify = true,
		.version = v,
		.host = HM_STR("localhost"),
		.port = p->port,
	};
	struct hm_origin *r = NULL;
	struct hm_err e = {0};
	char to[32];

	snprintf(to, sizeof(to), "127.0.0.1:%u", p->port);
	o.connect_to = hm_str_c(to);
	if (hm_wire_origin(wire, &o, &r, &e) < 0)
		fail_msg("%s", e.text);
	return r;
}

#endif
