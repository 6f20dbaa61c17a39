/*
 * Lists that are empty are not asked; what is on them always counts, however it came there. Critical questions overtake others.
 */
#include "stage.h"

#include "gates/lists.h"
#include "ingest/cancel_mark.h"

static unsigned long long calls(void)
{
	struct hm_buf b;
	unsigned long long n = 0;
	const char *at;

	hm_buf_init(&b, 4096);
	hm_gates_describe(gates, &b);
	at = strstr(hm_buf_cstr(&b), "\"calls\":");
	assert_non_null(at);
	n = strtoull(at + 8, NULL, 10);
	hm_buf_fini(&b);
	return n;
}

static void look_until(bool may_have)
{
	hm_lists_look(hub.r, HM_STR("hm"));
	RUN_UNTIL(&env, hm_lists_may_have() == may_have, 5000);
}

static int fresh(void **state)
{
	stage_fresh(state);
	hm_lists_forget();
	configure(CHANNELS);
	return 0;
}

static bool added;
static struct hm_err add_err;
static void on_added(void *arg, size_t n, const struct hm_err *err)
{
	added = true;
	add_err = err ? *err : (struct hm_err){0};
}

static void add(const char *user)
{
	struct hm_suppress_entry x = {.kind = HM_SUPPRESS_USER,
				      .subject = hm_str_c(user),
				      .medium = -1,
				      .reason = HM_STR_INIT("manual"),
				      .at_ms = T0};

	added = false;
	hm_suppress_add(hub.r, HM_STR("hm"), T0, &x, 1, on_added, NULL);
	RUN_UNTIL(&env, added, 5000);
	assert_int_equal(add_err.code, 0);
}

static void test_empty_lists_are_not_asked(void **state)
{
	unsigned long long before = calls();

	assert_true(hm_lists_may_have());
	PASSES(message(1, "u"));
	assert_int_equal(calls(), before + 1); /* unknown: asked */
	look_until(false);
	PASSES(message(2, "u"));
	assert_int_equal(calls(), before + 1);
	configure(CHANNELS "categories: {\"*\": {consent: opt_in}}\n");
	ANSWERS(message(3, "u"), HM_GATE_NO_CONSENT);
	assert_int_equal(calls(), before + 2); /* a consent is needed, and must be looked for */
	configure(CHANNELS);
	hm_lists_forget();
	PASSES(message(4, "u"));
	assert_int_equal(calls(), before + 3);
}

static void test_the_first_entry_is_announced(void **state)
{
	struct answer an;

	look_until(false);
	add("u");
	assert_true(hm_lists_may_have());
	ANSWERS(message(1, "u"), HM_GATE_SUPPRESSED);
	ASK(&hub, &an, "XLEN", "{hm:ctl}:events");
	assert_int_equal(an.i, 1);
	add("v"); /* once is enough */
	ASK(&hub, &an, "XLEN", "{hm:ctl}:events");
	assert_int_equal(an.i, 1);
	hm_lists_forget(); /* another process, or this one after a reconnect */
	look_until(true);
	RUN_WHILE(&env, hm_lists_may_have(), 50);
	ANSWERS(message(2, "u"), HM_GATE_SUPPRESSED);
}

/* Of a backup the key may be missing, of an older version it always is. */
static void test_entries_without_the_key_are_found(void **state)
{
	struct answer an;

	add("u");
	ASK(&hub, &an, "DEL", "{hm:ctl}:lists");
	hm_lists_forget();
	hm_lists_look(hub.r, HM_STR("hm"));
	RUN_WHILE(&env, hm_lists_may_have(), 100); /* never empty */
	assert_true(hm_lists_may_have());
	ANSWERS(message(1, "u"), HM_GATE_SUPPRESSED);
	ASK(&hub, &an, "GET", "{hm:ctl}:lists");
	assert_string_equal(an.text, "1");
}

/* Restored into a running server: nobody says so, the next look sees it. */
static void test_restored_behind_its_back(void **state)
{
	struct answer an;
	char key[HM_SUPPRESS_KEY_MAX];

	look_until(false);
	hm_person_key(HM_STR("hm"), hm_person_slot(HM_STR("u")), "supp", key, sizeof(key));
	ASK(&hub, &an, "HSET", key, "u\x1f*\x1f*\x1fu", "{\"reason\":\"manual\",\"at\":1}");
	PASSES(message(1, "u"));
	look_until(true);
	ANSWERS(message(2, "u"), HM_GATE_SUPPRESSED);
}

/* A look that began before something was heard does not say EMPTY after it. */
static void test_a_look_that_is_overtaken(void **state)
{
	hm_lists_look(hub.r, HM_STR("hm"));
	hm_lists_used();
	RUN_WHILE(&env, hm_lists_may_have(), 100);
	assert_true(hm_lists_may_have());
	hm_lists_forget();
	hm_lists_look(hub.r, HM_STR("hm"));
	hm_lists_forget(); /* a reconnect: the answers are the old server's */
	RUN_WHILE(&env, hm_lists_may_have(), 100);
	assert_true(hm_lists_may_have());
	look_until(false);
}

static void test_while_redis_is_away_they_are_asked(void **state)
{
	look_until(false);
	server_kill(server);
	RUN_UNTIL(&env, !hub.up, 10000);
	look_until(true);
	ANSWERS(message(1, "u"), HM_GATE_UNANSWERED);
	server_run(server);
	assert_true(server_wait(server));
	RUN_UNTIL(&env, hub.up, 10000);
	look_until(false);
}

/* -- critical ------------------------------------------------------------------------------------ */

#define MANY 5000

static unsigned answered_of(const struct asked *q, unsigned n)
{
	unsigned k = 0;

	for (unsigned i = 0; i < n; i++)
		k += q[i].answers;
	return k;
}

static void test_critical_overtakes(void **state)
{
	static struct asked q[MANY], urgent;
	static char users[MANY][12];
	struct hm_gate_subject s;
	unsigned before;

	configure(CHANNELS "caps: {a: {max: 1, per: 1h}}\n");
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(users[i], sizeof(users[i]), "b%u", i);
		s = message(i, users[i]);
		s.lane = HM_LANE_BULK;
		put(&q[i], s);
	}
	uv_run(&env.loop, UV_RUN_NOWAIT); /* these are on their way */
	s = message(MANY, "urgent");
	s.lane = HM_LANE_CRITICAL;
	put(&urgent, s);
	RUN_UNTIL(&env, urgent.answers > 0, 10000);
	before = answered_of(q, MANY);
	assert_true(before < MANY / 2); /* some hundreds are under way at most, and a few calls may follow */
	assert_int_equal(urgent.a.answer, HM_GATE_PASS);
	RUN_UNTIL(&env, answered_of(q, MANY) == MANY, 20000);
	/* settlements that wait are overtaken as well, and none is left behind */
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(q[i].a.answer, HM_GATE_PASS);
		hm_gates_commit(gates, &q[i].a.s);
	}
	uv_run(&env.loop, UV_RUN_NOWAIT);
	s = message(MANY + 1, "urgent");
	s.lane = HM_LANE_CRITICAL;
	put(&urgent, s);
	RUN_UNTIL(&env, urgent.answers > 0, 10000);
	assert_true(hm_gates_unsettled(gates) > MANY / 2);
	assert_int_equal(urgent.a.answer, HM_GATE_CAPPED);
	settled();
	ANSWERS(message(MANY + 2, users[MANY - 1]), HM_GATE_CAPPED);
}

/* Redis hangs: who waits to be sent is not left to wait for one time limit after the other. */
static void test_redis_hangs(void **state)
{
	static struct asked q[MANY];
	static char users[MANY][12];
	uint64_t begin;

	configure(CHANNELS "caps: {a: {max: 1, per: 1h}}\n");
	server_signal(server, SIGSTOP);
	begin = uv_hrtime();
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(users[i], sizeof(users[i]), "h%u", i);
		put(&q[i], message(i, users[i]));
	}
	RUN_UNTIL(&env, answered_of(q, MANY) == MANY, 20000);
	server_signal(server, SIGCONT);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(q[i].a.answer, HM_GATE_UNANSWERED);
	assert_true(uv_hrtime() - begin < 2 * 3000000000ull); /* command_timeout is 3 s */
	RUN_UNTIL(&env, hub.up, 10000);
	settled();
	PASSES(message(MANY, "h1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_empty_lists_are_not_asked, fresh),
		cmocka_unit_test_setup(test_the_first_entry_is_announced, fresh),
		cmocka_unit_test_setup(test_entries_without_the_key_are_found, fresh),
		cmocka_unit_test_setup(test_restored_behind_its_back, fresh),
		cmocka_unit_test_setup(test_a_look_that_is_overtaken, fresh),
		cmocka_unit_test_setup(test_while_redis_is_away_they_are_asked, fresh),
		cmocka_unit_test_setup(test_critical_overtakes, fresh),
		cmocka_unit_test_setup(test_redis_hangs, fresh),
	};

	return cmocka_run_group_tests(tests, stage_setup, stage_teardown);
}
