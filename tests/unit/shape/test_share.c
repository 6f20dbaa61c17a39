/* What several shapers on one Redis take together: rates, windows, permits, waits told, pauses. */
#include "stage.h"

#define SENDS_MAX 200000
static uint64_t sends[SENDS_MAX]; /* when each left, ms since the start of the test */
static size_t n_sends;
static uint64_t start;

static uint64_t now(void)
{
	return hm_tick_ms(&env.tick);
}

/* Sends whatever it may; answers come at once unless hold. */
static void drain(struct side *s, bool urgent, bool hold, unsigned most)
{
	uint32_t room;

	while (most > 0 && (room = hm_shape_room(s->shape, urgent)) > 0) {
		unsigned n = hm_min(room, most);

		for (unsigned i = 0; i < n; i++) {
			struct hm_shape_answer a = {.outcome = HM_OUT_OK, .took_us = 100, .messages = 1};

			hm_shape_take(s->shape, 1, 1);
			assert_true(n_sends < SENDS_MAX);
			sends[n_sends++] = now() - start;
			s->sent++;
			if (hold)
				s->on_wire++;
			else
				hm_shape_answered(s->shape, &a);
		}
		most -= n;
	}
}

static void begin(void)
{
	n_sends = 0;
	start = now();
}

/* Everybody has more to send than may leave, for so long. (The machine's own time passes besides.) */
static void run(uint64_t ms, uint64_t step)
{
	for (uint64_t from = now(); now() - from < ms;) {
		pass(step);
		for (unsigned i = 0; i < n_sides; i++)
			drain(&sides[i], false, false, 100000);
	}
}

/* The most that left in any window of this length, wherever it begins. */
static size_t most_in(uint64_t window)
{
	size_t most = 0;

	for (size_t i = 0, from = 0; i < n_sends; i++) {
		while (sends[i] - sends[from] >= window)
			from++;
		most = hm_max(most, i - from + 1);
	}
	return most;
}

static struct hm_channel_info rated(uint32_t max, uint64_t window_ms, uint32_t burst)
{
	struct hm_channel_info info = channel();

	info.rate.n = 1;
	info.rate.v[0] = (struct hm_quota){.max = max, .window_ms = window_ms, .burst = burst};
	return info;
}

static void test_without_limits_nobody_asks(void **state)
{
	struct hm_channel_info info = channel();

	sides_open(1, &info, NULL);
	assert_int_equal(hm_shape_room(sides[0].shape, false), UINT32_MAX);
	begin();
	drain(&sides[0], false, false, 1000);
	assert_int_equal(sides[0].sent, 1000);
	sides_close();
}

static void test_two_hundred_a_second_together(void **state)
{
	struct hm_channel_info info = rated(200, 1000, 0);

	sides_open(4, &info, NULL);
	begin();
	run(10000, 10);
	/* 2,000 and what was saved up; hardly less, for all of it was wanted */
	assert_in_range(n_sends, 1900, 2030);
	assert_in_range(most_in(1000), 180, 200 + 20 + 10); /* leased a moment before it leaves */
	for (unsigned i = 0; i < 4; i++)
		assert_in_range(sides[i].sent, 350, 650);
	sides_close();
}

static void test_one_alone_has_all_of_it(void **state)
{
	struct hm_channel_info info = rated(200, 1000, 0);

	sides_open(4, &info, NULL);
	begin();
	run(2000, 10);
	n_sends = 0;
	for (uint64_t from = now(); now() - from < 5000;) { /* three of four have nothing left to do */
		pass(10);
		drain(&sides[2], false, false, 100000);
	}
	assert_in_range(n_sends, 930, 1025);
	sides_close();
}

static void test_slow_rates_are_exact(void **state)
{
	struct hm_channel_info info = rated(1, 1000, 0);

	sides_open(3, &info, NULL);
	begin();
	run(20000, 10);
	assert_in_range(n_sends, 19, 21);
	assert_true(most_in(990) == 1);
	sides_close();
}

static void test_a_window_is_never_overdrawn(void **state)
{
	struct hm_channel_info info = rated(20, 60000, 0);

	sides_open(3, &info, NULL);
	begin();
	run(200, 10);
	assert_int_equal(n_sends, 20); /* at once */
	run(59000, 100);
	assert_int_equal(n_sends, 20);
	run(120000, 100);
	assert_int_equal(most_in(60000), 20);
	assert_int_equal(n_sends, 60);
	sides_close();
}

static void test_a_burst_smooths_a_window(void **state)
{
	struct hm_channel_info info = rated(20, 60000, 2);

	sides_open(2, &info, NULL);
	begin();
	run(1000, 10);
	assert_int_equal(n_sends, 2);
	run(180000, 50);
	assert_true(most_in(60000) <= 20);
	assert_in_range(n_sends, 55, 61);
	sides_close();
}

static void test_several_quotas_hold(void **state)
{
	struct hm_channel_info info = rated(5, 1000, 1);

	info.rate.n = 2;
	info.rate.v[1] = (struct hm_quota){.max = 100, .window_ms = 60000};
	sides_open(2, &info, NULL);
	begin();
	run(10000, 10);
	assert_in_range(n_sends, 48, 51);
	run(100000, 50);
	assert_true(most_in(60000) <= 100);
	assert_true(most_in(1000) <= 6);
	sides_close();
}

static void test_a_day_spills(void **state)
{
	struct hm_channel_info info = rated(10, 86400000, 0);

	sides_open(1, &info, NULL);
	begin();
	run(500, 10);
	assert_int_equal(n_sends, 10);
	assert_false(hm_shape_usable(sides[0].shape));
	assert_non_null(strstr(hm_shape_why(sides[0].shape), "quota of 10 in 1d used up"));
	/* Another process hears of it when it asks. */
	run(3600000, 60000);
	assert_int_equal(n_sends, 10);
	run(86400000 + 7200000, 600000);
	assert_int_equal(n_sends, 20);
	assert_int_equal(most_in(86400000), 10);
	sides_close();
}

static void test_unused_tokens_are_there_for_others(void **state)
{
	struct hm_channel_info info = rated(20, 60000, 0);

	sides_open(2, &info, NULL);
	begin();
	/* One asks for much and sends little. */
	for (int i = 0; i < 6; i++) {
		pass(10);
		drain(&sides[0], false, false, 1);
	}
	pass(400);
	pass(400);
	run(1000, 10);
	assert_int_equal(n_sends, 20);
	assert_true(sides[1].sent > 0);
	sides_close();
}

static void test_critical_finds_tokens(void **state)
{
	struct hm_channel_info info = rated(20, 60000, 0);

	sides_open(2, &info, NULL);
	begin();
	drain(&sides[1], true, false, 1);
	pass(10);
	drain(&sides[1], true, false, 1); /* this channel carries critical messages */
	assert_int_equal(n_sends, 1);
	for (int i = 0; i < 100; i++) {
		pass(10);
		drain(&sides[0], false, false, 100);
	}
	assert_int_equal(n_sends, 18); /* bulk leaves a tenth */
	for (int i = 0; i < 10; i++) {
		pass(10);
		drain(&sides[1], true, false, 100);
	}
	assert_int_equal(n_sends, 20);
	sides_close();
}

static unsigned wire(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < n_sides; i++)
		n += sides[i].on_wire;
	return n;
}

static void answer(struct side *s, unsigned n)
{
	struct hm_shape_answer a = {.outcome = HM_OUT_OK, .took_us = 1000, .messages = 1};

	for (; n > 0 && s->on_wire > 0; n--, s->on_wire--)
		hm_shape_answered(s->shape, &a);
}

static void test_permits_are_shared(void **state)
{
	struct hm_channel_info info = channel();
	unsigned least = 100, done[3] = {0};

	info.max_concurrency = 12;
	sides_open(3, &info, NULL);
	begin();
	/* Alone it has all of them. */
	for (int i = 0; i < 20; i++) {
		pass(10);
		drain(&sides[0], false, true, 100);
	}
	assert_int_equal(sides[0].on_wire, 12);
	/* Others come; each answers two in ten milliseconds. */
	for (int i = 0; i < 300; i++) {
		pass(10);
		for (unsigned k = 0; k < 3; k++) {
			unsigned had = sides[k].on_wire;

			answer(&sides[k], 2);
			done[k] += had - sides[k].on_wire;
			drain(&sides[k], false, true, 100);
			assert_true(wire() <= 12);
		}
		if (i > 50)
			least = hm_min(least, wire());
	}
	assert_true(least >= 8);
	for (unsigned k = 0; k < 3; k++)
		assert_in_range(sides[k].on_wire, 2, 6);
	/* Two have nothing left: the third gets what they had. */
	answer(&sides[1], 100);
	answer(&sides[2], 100);
	for (int i = 0; i < 60; i++) {
		pass(10);
		drain(&sides[0], false, true, 100);
		assert_true(wire() <= 12);
	}
	assert_int_equal(sides[0].on_wire, 12);
	for (unsigned k = 0; k < 3; k++)
		answer(&sides[k], 100);
	sides_close();
}

static void test_a_dead_shard_loses_its_permits(void **state)
{
	struct hm_channel_info info = channel();
	struct answer a = {0};

	info.max_concurrency = 4;
	hm_redis_sendf(hub.r, HM_STR("{hm:ch:c}"), on_answer, &a, "HSET {hm:ch:c}:rate ndead %b",
		       HM_STR("0 0 4 4"));
	RUN_UNTIL(&env, a.calls > 0, 5000);
	sides_open(1, &info, NULL);
	begin();
	for (int i = 0; i < 5; i++) {
		pass(10);
		drain(&sides[0], false, true, 100);
	}
	assert_int_equal(sides[0].on_wire, 4);
	answer(&sides[0], 100);
	sides_close();
}

static void test_complaints_slow_down_and_stop(void **state)
{
	struct hm_channel_info info = channel();
	struct hm_shape_answer a = {
		.outcome = HM_OUT_RATE_LIMITED, .scope = HM_SCOPE_CHANNEL, .took_us = 1000};
	unsigned before;

	sides_open(1, &info, NULL);
	begin();
	for (int i = 0; i < 300; i++) {
		pass(10);
		drain(&sides[0], false, false, 2);
	}
	hm_shape_take(sides[0].shape, 1, 1);
	a.retry_after_ms = 700;
	hm_shape_answered(sides[0].shape, &a);
	assert_int_equal(hm_shape_room(sides[0].shape, true), 0);
	assert_non_null(strstr(hm_shape_why(sides[0].shape), "asked to wait"));
	pass(650);
	assert_int_equal(hm_shape_room(sides[0].shape, true), 0);
	before = sides[0].changes;
	pass(60);
	pass(10);
	assert_true(sides[0].changes > before);
	n_sends = 0;
	for (uint64_t from = now(); now() - from < 1000;) {
		pass(10);
		drain(&sides[0], false, false, 100);
	}
	assert_in_range(n_sends, 80, 130); /* half of 200 a second */
	assert_true(hm_shape_usable(sides[0].shape));
	for (int i = 0; i < 15; i++)
		pass(1000);
	assert_int_equal(hm_shape_room(sides[0].shape, false), UINT32_MAX);
	/* About one address: nobody else is slowed down. */
	hm_shape_take(sides[0].shape, 1, 1);
	a.scope = HM_SCOPE_RECIPIENT;
	hm_shape_answered(sides[0].shape, &a);
	assert_int_equal(hm_shape_room(sides[0].shape, false), UINT32_MAX);
	sides_close();
}

static void no_change(struct hm_shape_listener *l)
{
}

static void test_others_are_told(void **state)
{
	struct hm_channel_info info = channel();
	struct hm_shape_answer a = {
		.outcome = HM_OUT_RATE_LIMITED, .scope = HM_SCOPE_CREDENTIAL, .retry_after_ms = 5000};
	struct hm_shape_listener second = {.on_change = no_change}, third = second;
	struct hm_shape *twin, *stranger;
	struct answer got = {0};

	info.account = 77;
	sides_open(2, &info, NULL);
	info.name = HM_STR("twin");
	twin = hm_shaper_channel(sides[0].shaper, &info, cfg, &second);
	info.name = HM_STR("stranger");
	info.account = 78;
	stranger = hm_shaper_channel(sides[0].shaper, &info, cfg, &third);
	hm_shape_take(sides[0].shape, 1, 1);
	for (int i = 0; i < 10; i++) /* a burst of them is one event */
		hm_shape_answered(sides[0].shape, &a);
	assert_int_equal(hm_shape_room(twin, false), 0);
	assert_int_equal(hm_shape_room(stranger, false), UINT32_MAX);
	hm_redis_sendf(hub.r, HM_STR("{hm:ctl}"), on_answer, &got, "XLEN {hm:ctl}:flow");
	RUN_UNTIL(&env, got.calls > 0, 5000);
	assert_int_equal(got.i, 1);
	/* What the control thread of another process does with it. */
	hm_shaper_stop(sides[1].shaper, HM_STR("other"), 77, 5000);
	assert_int_equal(hm_shape_room(sides[1].shape, false), 0);
	pass(5001);
	pass(1);
	assert_true(hm_shape_room(sides[1].shape, false) > 0);
	sides_close();
	hm_shape_leave(&second);
	hm_shape_leave(&third);
}

static void fail_some(struct side *s, unsigned n, enum hm_outcome o)
{
	struct hm_shape_answer a = {.outcome = o, .took_us = 1000, .messages = 1};

	for (unsigned i = 0; i < n; i++) {
		hm_shape_take(s->shape, 1, 1);
		hm_shape_answered(s->shape, &a);
	}
}

static void test_breaker_and_its_word_in_redis(void **state)
{
	struct hm_channel_info info = channel();
	struct answer got = {0};

	info.breaker.min = 10;
	info.breaker.open_ms = 1000;
	sides_open(1, &info, NULL);
	fail_some(&sides[0], 30, HM_OUT_INVALID_RECIPIENT); /* that is not the provider's fault */
	assert_true(hm_shape_usable(sides[0].shape));
	fail_some(&sides[0], 40, HM_OUT_PROVIDER_DOWN);
	assert_false(hm_shape_usable(sides[0].shape));
	assert_int_equal(hm_shape_breaker(sides[0].shape), HM_BREAKER_OPEN);
	assert_int_equal(hm_shape_room(sides[0].shape, true), 0);
	assert_non_null(strstr(hm_shape_why(sides[0].shape), "circuit open: 50 % of 60 answers failed"));
	pass(1);
	assert_true(sides[0].changes > 0);
	hm_redis_sendf(hub.r, HM_STR("{hm:ch:c}"), on_answer, &got, "HGET {hm:ch:c}:state side.0");
	RUN_UNTIL(&env, got.calls > 0, 5000);
	assert_int_equal(strncmp(got.text, "open ", 5), 0);
	pass(1000);
	pass(1);
	assert_int_equal(hm_shape_breaker(sides[0].shape), HM_BREAKER_HALF_OPEN);
	assert_true(hm_shape_usable(sides[0].shape));
	assert_int_equal(hm_shape_room(sides[0].shape, false), 3);
	fail_some(&sides[0], 3, HM_OUT_OK);
	assert_int_equal(hm_shape_breaker(sides[0].shape), HM_BREAKER_CLOSED);
	assert_int_equal(hm_shape_room(sides[0].shape, false), UINT32_MAX);
	pass(1);
	got.calls = 0;
	hm_redis_sendf(hub.r, HM_STR("{hm:ch:c}"), on_answer, &got, "HLEN {hm:ch:c}:state");
	RUN_UNTIL(&env, got.calls > 0, 5000);
	assert_int_equal(got.i, 0);
	sides_close();
}

/* While the breaker lets three probes through, and they are on their way, nothing but they are short: no tokens are hoarded. */
static void test_probes_do_not_hoard(void **state)
{
	struct hm_channel_info info = rated(600000, 60000, 600000);
	struct answer got = {0};
	uint64_t taken = 0;

	info.breaker.min = 10;
	info.breaker.open_ms = 1000;
	sides_open(1, &info, NULL);
	begin();
	for (int i = 0; i < 20 && sides[0].sent < 20; i++) { /* the first tokens */
		pass(10);
		drain(&sides[0], false, true, 20);
	}
	fail_some(&sides[0], 60, HM_OUT_PROVIDER_DOWN);
	assert_int_equal(hm_shape_breaker(sides[0].shape), HM_BREAKER_OPEN);
	pass(1001);
	pass(1);
	assert_int_equal(hm_shape_breaker(sides[0].shape), HM_BREAKER_HALF_OPEN);
	for (int i = 0; i < 300; i++) { /* what waits asks again and again */
		if (hm_shape_room(sides[0].shape, false) > 0 && i < 3)
			hm_shape_take(sides[0].shape, 1, 1);
		hm_shape_hungry(sides[0].shape, false);
		pass(5);
	}
	hm_redis_sendf(hub.r, HM_STR("{hm:ch:c}"), on_answer, &got, "HGET {hm:ch:c}:rate w60000");
	RUN_UNTIL(&env, got.calls > 0, 5000);
	for (char *p = got.text; *p;) { /* "second tokens second tokens ..." */
		(void)strtoull(p, &p, 10);
		taken += strtoull(p, &p, 10);
	}
	assert_in_range(taken, 20, 1000);
	sides_close();
}

static void test_paused_by_hand(void **state)
{
	struct hm_channel_info info = channel();
	struct hm_pauses *p = hm_pauses_new();
	struct answer got = {0};

	assert_non_null(p);
	assert_true(hm_pauses_set(p, HM_STR("c"), true, HM_STR("{}")));
	assert_false(hm_pauses_set(p, HM_STR("c"), true, HM_STR("{}")));
	sides_open(1, &info, p); /* from the first moment */
	assert_false(hm_shape_usable(sides[0].shape));
	assert_int_equal(hm_shape_room(sides[0].shape, true), 0);
	assert_string_equal(hm_shape_why(sides[0].shape), "paused by hand");
	assert_true(hm_pauses_set(p, HM_STR("c"), false, HM_STR_NULL));
	hm_shaper_look(sides[0].shaper);
	assert_int_equal(hm_shape_room(sides[0].shape, false), UINT32_MAX);
	pass(1);
	assert_true(sides[0].changes > 0);
	/* In Redis: the hash and the event, and whether it was news. */
	hm_pauses_store(hub.r, HM_STR("hm"), HM_STR("c"), true, HM_STR("key:x"), HM_STR("say \"why\""), 5,
			on_answer, &got);
	RUN_UNTIL(&env, got.calls > 0, 5000);
	assert_int_equal(got.i, 1);
	got.calls = 0;
	hm_pauses_store(hub.r, HM_STR("hm"), HM_STR("c"), true, HM_STR("key:x"), HM_STR(""), 6, on_answer,
			&got);
	RUN_UNTIL(&env, got.calls > 0, 5000);
	assert_int_equal(got.i, 0);
	got.calls = 0;
	hm_redis_sendf(hub.r, HM_STR("{hm:ctl}"), on_answer, &got, "HGET {hm:ctl}:channels c");
	RUN_UNTIL(&env, got.calls > 0, 5000);
	assert_string_equal(got.text, "{\"at\":6,\"by\":\"key:x\",\"reason\":\"\"}");
	sides_close();
	hm_pauses_free(p);
}

static void test_numbers(void **state)
{
	struct hm_channel_info info = rated(50, 1000, 0);
	struct hm_buf b;

	sides_open(2, &info, NULL);
	begin();
	run(300, 10);
	hm_buf_init(&b, 1 << 20);
	hm_shape_metrics(&b);
	assert_non_null(strstr(hm_buf_cstr(&b), "hermod_channel_state{channel=\"c\"} 0\n"));
	assert_non_null(strstr(hm_buf_cstr(&b), "# TYPE hermod_channel_requests_total counter\n"));
	hm_buf_reset(&b);
	hm_buf_putc(&b, '{');
	hm_shape_summary(HM_STR("c"), &b);
	hm_buf_putc(&b, '}');
	assert_non_null(strstr(hm_buf_cstr(&b), "\"state\":\"ok\""));
	{
		struct hm_buf packed;
		struct hm_err e = {0};

		hm_buf_init(&packed, 1 << 20);
		assert_int_equal(hm_json_to_msgpack(hm_buf_str(&b), &packed, &e), 0);
		hm_buf_reset(&b);
		hm_shaper_describe(sides[0].shaper, &b);
		assert_int_equal(hm_json_to_msgpack(hm_buf_str(&b), &packed, &e), 0);
		hm_buf_fini(&packed);
	}
	hm_buf_fini(&b);
	sides_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_without_limits_nobody_asks, fresh),
		cmocka_unit_test_setup(test_two_hundred_a_second_together, fresh),
		cmocka_unit_test_setup(test_one_alone_has_all_of_it, fresh),
		cmocka_unit_test_setup(test_slow_rates_are_exact, fresh),
		cmocka_unit_test_setup(test_a_window_is_never_overdrawn, fresh),
		cmocka_unit_test_setup(test_a_burst_smooths_a_window, fresh),
		cmocka_unit_test_setup(test_several_quotas_hold, fresh),
		cmocka_unit_test_setup(test_a_day_spills, fresh),
		cmocka_unit_test_setup(test_unused_tokens_are_there_for_others, fresh),
		cmocka_unit_test_setup(test_critical_finds_tokens, fresh),
		cmocka_unit_test_setup(test_permits_are_shared, fresh),
		cmocka_unit_test_setup(test_a_dead_shard_loses_its_permits, fresh),
		cmocka_unit_test_setup(test_complaints_slow_down_and_stop, fresh),
		cmocka_unit_test_setup(test_others_are_told, fresh),
		cmocka_unit_test_setup(test_breaker_and_its_word_in_redis, fresh),
		cmocka_unit_test_setup(test_probes_do_not_hoard, fresh),
		cmocka_unit_test_setup(test_paused_by_hand, fresh),
		cmocka_unit_test_setup(test_numbers, fresh),
	};

	return cmocka_run_group_tests(tests, stage_up, stage_down);
}
