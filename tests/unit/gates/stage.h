/*
 * stage.h - the gates on a loop, with a real redis-server and a configuration
 *
 * Time is what the questions say (`now`, ms), not the machine's. Header only, because a test is one program of one file.
 */
#ifndef HM_TEST_GATES_STAGE_H
#define HM_TEST_GATES_STAGE_H

#include "../redis/env.h"

#include "gates/gates.h"
#include "gates/suppress.h"

#define CHANNELS \
	"channels: {apns: {adapter: push/apns}, sms: {adapter: sms/twilio}}\nroutes: {r: [apns, sms]}\n"
#define T0     1763899200000ull /* 2025-11-23T12:00:00Z, a Sunday */
#define SECOND 1000ull
#define MINUTE 60000ull
#define HOUR   3600000ull
#define DAY    86400000ull

static struct env env;
static struct client hub;
static struct server *server;
static struct hm_gates *gates;
static struct hm_config *cfg;
static uint64_t now;

static void complain(void *arg, const struct hm_err *e)
{
	print_message("%d:%d: %s\n", e->line, e->col, e->text);
}

UNUSED_FN void configure(const char *fmt, ...) HM_PRINTF(1, 2);
UNUSED_FN void configure(const char *fmt, ...)
{
	static char text[16384];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	hm_config_unref(cfg);
	cfg = NULL;
	assert_int_equal(hm_config_load_text("t.yaml", hm_str_c(text), NULL, &cfg, complain, NULL), 0);
}

UNUSED_FN void gates_open(void)
{
	struct hm_gates_deps d = {.tick = &env.tick, .redis = hub.r, .prefix = HM_STR("hm")};
	struct hm_err e;

	gates = hm_gates_new(&d, &e);
	assert_non_null(gates);
}

static void on_gates_closed(void *arg)
{
	*(bool *)arg = true;
}

UNUSED_FN void gates_close(void)
{
	bool closed = false;

	hm_gates_close(gates, on_gates_closed, &closed);
	RUN_UNTIL(&env, closed, 5000);
	gates = NULL;
}

static const struct hm_redis_opts hub_opts = {
	.connect_timeout_ms = 2000, .command_timeout_ms = 3000, .max_pending = 100000};

/* One server on its socket, one client, the gates. */
UNUSED_FN int stage_setup(void **state)
{
	env_init(&env);
	server = server_start(&env, NULL);
	client_open(&hub, &env, hub_opts, "unix://%s", server->sock);
	RUN_UNTIL(&env, hub.up, 10000);
	gates_open();
	now = T0;
	return 0;
}

UNUSED_FN int stage_teardown(void **state)
{
	gates_close();
	client_close(&hub);
	env_fini(&env);
	hm_config_unref(cfg);
	cfg = NULL;
	return 0;
}

/* Every test begins with an empty Redis. */
UNUSED_FN int stage_fresh(void **state)
{
	struct answer an;

	RUN_UNTIL(&env, hm_gates_unsettled(gates) == 0, 5000);
	ASK(&hub, &an, "FLUSHALL");
	now = T0;
	return 0;
}

/* -- messages ---------------------------------------------------------------------------------------- */

struct asked {
	struct hm_gate_ask a;
	unsigned answers;
};

static void on_gate_answer(struct hm_gate_ask *a)
{
	struct asked *q = hm_container_of(a, struct asked, a);

	q->answers++;
}

/* A message of a user by SMS, its id made of a number. */
UNUSED_FN struct hm_gate_subject message(unsigned n, const char *user)
{
	struct hm_gate_subject s = {.cfg = cfg,
				    .user = hm_str_c(user),
				    .addr = HM_STR("+491700000000"),
				    .channel = HM_STR("sms"),
				    .medium = HM_MED_SMS,
				    .lane = HM_LANE_NORMAL,
				    .count_caps = true,
				    .now_ms = now,
				    .expires_ms = now + DAY};

	memset(s.msg.b, 0x5a, 8);
	for (unsigned i = 0; i < 4; i++)
		s.msg.b[15 - i] = (uint8_t)(n >> (8 * i));
	return s;
}

UNUSED_FN void put(struct asked *q, struct hm_gate_subject s)
{
	memset(q, 0, sizeof(*q));
	q->a.s = s;
	q->a.on_answer = on_gate_answer;
	if (hm_gates_ask(gates, &q->a))
		q->answers++;
	else
		assert_int_equal(q->answers, 0); /* never from inside */
}

/* The answer to one message, in static memory until the next. */
UNUSED_FN const struct hm_gate_ask *answer(struct hm_gate_subject s)
{
	static struct asked q;

	put(&q, s);
	RUN_UNTIL(&env, q.answers > 0, 10000);
	assert_int_equal(q.answers, 1);
	assert_true(q.a.answer == HM_GATE_PASS || q.a.reason[0]);
	assert_true(q.a.answer == HM_GATE_PASS || !q.a.reserved);
	return &q.a;
}

UNUSED_FN void settled(void)
{
	RUN_UNTIL(&env, hm_gates_unsettled(gates) == 0, 10000);
}

UNUSED_FN void commit(struct hm_gate_subject s)
{
	s.now_ms = now;
	hm_gates_commit(gates, &s);
	settled();
}

UNUSED_FN void release(struct hm_gate_subject s)
{
	s.now_ms = now;
	hm_gates_release(gates, &s);
	settled();
}

#define PASSES(s)                                                                                  \
	do {                                                                                       \
		const struct hm_gate_ask *a_ = answer(s);                                          \
		if (a_->answer != HM_GATE_PASS)                                                    \
			fail_msg("%s:%d: %d %s", __FILE__, __LINE__, (int)a_->answer, a_->reason); \
	} while (0)
#define ANSWERS(s, what)                                                                                  \
	do {                                                                                              \
		const struct hm_gate_ask *a_ = answer(s);                                                 \
		if (a_->answer != (what))                                                                 \
			fail_msg("%s:%d: answer %d %s", __FILE__, __LINE__, (int)a_->answer, a_->reason); \
	} while (0)

#endif
