/*
 * The guard: what a provider calls invalid goes on the list, unless it is too much at once. A redis-server of the
 * test's own; time is the test clock's.
 */
#include "supp.h"

static struct hm_config *cfg;
static struct hm_invalid_guard *g;

static void fail_report(void *arg, const struct hm_err *e)
{
	fail_msg("%s", e->text);
}

static int setup(void **state)
{
	static const char *const sets[] = {"gates.invalid_share=30", "gates.invalid_window=10s",
					   "gates.invalid_min=20", NULL};

	supp_setup(state);
	assert_int_equal(hm_config_load(NULL, sets, &cfg, fail_report, NULL), 0);
	return 0;
}

static int teardown(void **state)
{
	hm_config_unref(cfg);
	return supp_teardown(state);
}

static int guard_new(void **state)
{
	g = hm_invalid_guard_new(&w.env.tick, w.client.r, PREFIX);
	return g ? 0 : -1;
}

static int guard_free(void **state)
{
	hm_invalid_guard_free(g);
	return 0;
}

static void advance(uint64_t ms)
{
	hm_clock_advance_ms(ms);
	hm_tick_refresh(&w.env.tick);
}

static void ok(const char *channel, size_t n)
{
	while (n--)
		hm_invalid_guard_answer(g, cfg, hm_str_c(channel), HM_MED_PUSH, HM_STR("fine"), false,
					HM_STR(""), 0);
}

static void bad(const char *channel, const char *address)
{
	hm_invalid_guard_answer(g, cfg, hm_str_c(channel), HM_MED_PUSH, hm_str_c(address), true,
				HM_STR("Unregistered"), 0);
}

static const char *described(void)
{
	static struct hm_buf b;

	hm_buf_fini(&b);
	hm_buf_init(&b, 1u << 20);
	hm_invalid_guard_describe(g, &b);
	return hm_buf_cstr(&b);
}

static const char *metrics(void)
{
	static struct hm_buf b;

	hm_buf_fini(&b);
	hm_buf_init(&b, 1u << 20);
	hm_invalid_guard_metrics(&b);
	return hm_buf_cstr(&b);
}

#define HAS(text, part)                                          \
	do {                                                     \
		if (!strstr((text), (part)))                     \
			fail_msg("no %s in %s", (part), (text)); \
	} while (0)

static uint64_t wall(void)
{
	return w.env.tick.wall_ms;
}

static void wait_total(size_t n)
{
	uint64_t until = hm_clock_mono_ns() + UINT64_C(10000000000);

	while (total(wall()) != n)
		assert_true(hm_clock_mono_ns() < until);
}

static void test_an_invalid_address_is_added(void **state)
{
	const struct hm_suppress_entry *x;

	ok("c1", 1);
	hm_invalid_guard_answer(g, cfg, HM_STR("c1"), HM_MED_PUSH, HM_STR("gone-1"), true,
				HM_STR("Unregistered"), 4711);
	hm_invalid_guard_answer(g, cfg, HM_STR("c1"), HM_MED_EMAIL, HM_STR("Gone@x.y"), true,
				HM_STR("550 5.1.1"), 0);
	wait_total(2);
	x = entry_of("gone-1", wall());
	assert_non_null(x);
	assert_true(hm_str_is(x->reason, "invalid_token") && hm_str_is(x->proof, "Unregistered") &&
		    hm_str_is(x->by, "channel:c1"));
	assert_true(x->medium == HM_MED_PUSH && x->category.len == 0 && x->since_ms == 4711 && x->at_ms > 0);
	x = entry_of("gone@x.y", wall());
	assert_true(x && hm_str_is(x->reason, "hard_bounce"));
	HAS(described(),
	    "\"c1\":{\"answers\":3,\"invalid\":2,\"tripped\":false,\"added\":2,\"held\":0,\"lost\":0}");
	HAS(metrics(), "hermod_invalid_guard{channel=\"c1\"} 0\n");
	HAS(metrics(), "hermod_invalid_recipients_added_total{channel=\"c1\"} 2\n");
}

static void test_an_older_word_does_not_count(void **state)
{
	struct hm_suppress_entry x = {
		.kind = HM_SUPPRESS_ADDRESS, .subject = HM_STR("back-again"), .medium = HM_MED_PUSH};
	size_t before = total(wall());

	hm_suppress_remove(w.client.r, PREFIX, wall(), &x, 1, on_count, NULL);
	assert_int_equal(wait_count(), 0);
	hm_invalid_guard_answer(g, cfg, HM_STR("c2"), HM_MED_PUSH, HM_STR("back-again"), true,
				HM_STR("Unregistered"), wall() - 1000);
	hm_invalid_guard_answer(g, cfg, HM_STR("c2"), HM_MED_PUSH, HM_STR("not-back"), true,
				HM_STR("Unregistered"), wall() - 1000);
	wait_total(before + 1);
	assert_null(entry_of("back-again", wall()));
}

static void test_too_many_at_once(void **state)
{
	char text[32];
	size_t before = total(wall());

	ok("c3", 14);
	for (int i = 0; i < 5; i++) {
		snprintf(text, sizeof(text), "c3-%d", i);
		bad("c3", text);
	}
	wait_total(before + 5); /* 5 of 19: too few answers to say anything */
	bad("c3", "c3-a");	/* 6 of 20: 30 % is not more than 30 % */
	bad("c3", "c3-b");	/* 7 of 21: it trips, and takes along what waits */
	HAS(described(), "\"c3\":{\"answers\":21,\"invalid\":7,\"tripped\":true");
	HAS(metrics(), "hermod_invalid_guard{channel=\"c3\"} 1\n");
	HAS(metrics(), "hermod_invalid_recipients_held_total{channel=\"c3\"} 2\n");
	for (int i = 0; i < 100; i++) {
		snprintf(text, sizeof(text), "more-%d", i);
		bad("c3", text);
	}
	HAS(metrics(), "hermod_invalid_recipients_held_total{channel=\"c3\"} 102\n");
	/* another channel is another matter */
	ok("c4", 1);
	bad("c4", "c4-1");
	wait_total(before + 6);
	/* low for less than a window, then bad again: it goes on */
	advance(11000);
	ok("c3", 30);
	advance(9000);
	for (int i = 0; i < 30; i++)
		bad("c3", "again");
	advance(11000);
	ok("c3", 30);
	HAS(metrics(), "hermod_invalid_guard{channel=\"c3\"} 1\n");
	/* silence is no sign of health; one answer after it is, when it stays so for a window */
	advance(60000);
	HAS(metrics(), "hermod_invalid_guard{channel=\"c3\"} 1\n");
	ok("c3", 1);
	HAS(metrics(), "hermod_invalid_guard{channel=\"c3\"} 0\n");
	bad("c3", "c3-after");
	wait_total(before + 7);
	assert_non_null(entry_of("c3-after", wall()));
	assert_null(entry_of("c3-a", wall()));
}

static void test_other_shards_hold_too(void **state)
{
	struct hm_invalid_guard *first = g, *second = hm_invalid_guard_new(&w.env.tick, w.client.r, PREFIX);
	size_t before = total(wall());

	for (int i = 0; i < 20; i++)
		bad("c5", "c5-x");
	HAS(metrics(), "hermod_invalid_guard{channel=\"c5\"} 1\n");
	g = second;
	ok("c5", 100);
	bad("c5", "c5-y");
	HAS(described(), "\"c5\":{\"answers\":101,\"invalid\":1,\"tripped\":false");
	HAS(metrics(), "hermod_invalid_recipients_held_total{channel=\"c5\"} 21\n");
	/* a shard that ends holds nothing up */
	hm_invalid_guard_free(first);
	HAS(metrics(), "hermod_invalid_guard{channel=\"c5\"} 0\n");
	bad("c5", "c5-z");
	wait_total(before + 1);
}

static void test_doubtful_answers(void **state)
{
	size_t before = total(wall());

#define DOUBT(a) \
	hm_invalid_guard_suspect(g, cfg, HM_STR("c6"), HM_MED_PUSH, HM_STR(a), HM_STR("BadDeviceToken"))
	DOUBT("d-1"); /* the channel has shown nothing: not even noted */
	ok("c6", 10);
	DOUBT("d-2");
	bad("c6", "c6-fence");
	wait_total(before + 1);
	advance(86400000);
	ok("c6", 10);
	DOUBT("d-1");
	DOUBT("d-2");
	wait_total(before + 2);
	assert_null(entry_of("d-1", wall()));
	assert_true(hm_str_is(entry_of("d-2", wall())->proof, "BadDeviceToken, said again on another day"));
	HAS(metrics(), "hermod_invalid_recipients_suspect_total{channel=\"c6\"} 4\n");
#undef DOUBT
}

static void test_switched_off(void **state)
{
	static const char *const sets[] = {"gates.add_invalid=false", NULL};
	struct hm_config *on = cfg;
	size_t before = total(wall());

	assert_int_equal(hm_config_load(NULL, sets, &cfg, fail_report, NULL), 0);
	bad("c7", "off-1");
	hm_config_unref(cfg);
	cfg = on;
	ok("c7", 10);
	bad("c7", "on-1");
	wait_total(before + 1);
	assert_null(entry_of("off-1", wall()));
}

static void test_redis_away(void **state)
{
	char text[32];
	size_t before = total(wall());

	server_kill(w.server);
	RUN_UNTIL(&w.env, !hm_redis_up(w.client.r), 5000);
	bad("c8", "away-first");
	RUN_UNTIL(&w.env, strstr(described(), "\"c8\""), 1000);
	for (int i = 0; i < 5; i++)
		uv_run(&w.env.loop, UV_RUN_ONCE); /* it is on its way, and fails */
	for (int i = 0; i < 5000; i++) {
		ok("c8", 9);
		snprintf(text, sizeof(text), "away-%d", i);
		bad("c8", text);
	}
	HAS(metrics(), "hermod_invalid_recipients_lost_total{channel=\"c8\"} 904\n");
	server_run(w.server);
	assert_true(server_wait(w.server));
	RUN_UNTIL(&w.env, hm_redis_up(w.client.r), 10000);
	advance(20000);	  /* the pause before the next try */
	wait_total(4097); /* the server came back empty */
	assert_true(before > 0);
	assert_non_null(entry_of("away-first", wall()));
	assert_non_null(entry_of("away-4095", wall()));
	assert_null(entry_of("away-4096", wall()));
}

static void test_limits(void **state)
{
	static char long_name[100], long_address[3000];
	char name[16];

	memset(long_name, 'n', sizeof(long_name) - 1);
	memset(long_address, 'a', sizeof(long_address) - 1);
	bad(long_name, "x"); /* cannot be: the configuration allows 64 */
	bad("c9", long_address);
	bad("c9", "");
	for (int i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "many-%d", i);
		ok(name, 1);
	}
	HAS(described(), "\"many-1022\"");
	assert_null(strstr(described(), "\"many-1023\""));
	wait_total(4097);
}

/* Closed with something under way: the answer finds nobody, and nothing leaks. */
static void test_free_with_a_call_open(void **state)
{
	bad("c10", "late");
	uv_run(&w.env.loop, UV_RUN_ONCE);
	hm_invalid_guard_free(g);
	g = hm_invalid_guard_new(&w.env.tick, w.client.r, PREFIX);
	wait_total(4098);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, guard_new, guard_free)
	const struct CMUnitTest tests[] = {
		T(test_an_invalid_address_is_added),
		T(test_an_older_word_does_not_count),
		T(test_too_many_at_once),
		T(test_other_shards_hold_too),
		T(test_doubtful_answers),
		T(test_switched_off),
		T(test_redis_away),
		T(test_limits),
		T(test_free_with_a_call_open),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
