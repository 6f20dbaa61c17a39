/*
 * test_ledger_ttl.c - old records go, whole segments at a time; the counters stay
 */
#include "shard.h"

#define HOUR 3600000ull

static struct hm_ledger *l;
static struct shard s;
static const char *dir;

static int setup(void **state)
{
	dir = temp_dir();
	l = open_ledger(dir, 8192, 3600);
	shard_init(&s, l);
	return 0;
}

static int teardown(void **state)
{
	shard_fini(&s);
	assert_verified(l);
	hm_ledger_close(l);
	rm_rf(dir);
	return 0;
}

static void write_campaign(const struct hm_ulid *job, const char *campaign)
{
	put_job(&s, job, 200, campaign);
	for (uint32_t i = 0; i < 200; i++) {
		uint64_t t = put_state(&s, job, i, HM_ST_SENT, campaign, false);

		if (i % 20 == 19)
			shard_wait(&s, t);
	}
}

static void test_records_live_for_their_time(void **state)
{
	struct hm_ulid old = id_at_ms(hm_clock_wall_ms()), fresh;
	struct hm_ledger_health h;
	struct seen seen = {.n = 0};
	struct hm_err e;

	write_campaign(&old, "old");
	hm_clock_advance_ms(HOUR / 2);
	fresh = id_at_ms(hm_clock_wall_ms());
	write_campaign(&fresh, "fresh");
	hm_ledger_settle(l);
	assert_int_equal(state_of(l, &old, 0), HM_ST_SENT);
	assert_int_equal(state_of(l, &old, 199), HM_ST_SENT);

	hm_clock_advance_ms(HOUR / 2 + HOUR / 16);
	hm_ledger_settle(l);
	for (uint32_t i = 0; i < 200; i++) {
		assert_int_equal(state_of(l, &old, i), HM_ST_COUNT);
		assert_int_equal(state_of(l, &fresh, i), HM_ST_SENT);
	}
	assert_int_equal(hm_ledger_by_recipient(l, HM_STR("token-5"), NULL, 10, on_seen, &seen, &e), 0);
	assert_int_equal(seen.n, 1);
	assert_true(hm_ulid_diff(&seen.id[0], &fresh) == 5);
	hm_ledger_health(l, &h);
	assert_true(h.segments < 12);

	/* the counters are of all time; the campaign without records left the table */
	assert_int_equal(total(l).accepted, 400);
	assert_int_equal(total(l).by_state[HM_ST_SENT], 400);
	assert_verified(l);
}

static bool count_row(void *arg, const struct hm_ledger_balance *b)
{
	if (hm_str_is(b->campaign, "old"))
		*(int *)arg += 1;
	if (hm_str_is(b->campaign, "fresh"))
		*(int *)arg += 10;
	return true;
}

static void test_forgotten_campaign_may_return(void **state)
{
	struct hm_ulid old = id_at_ms(hm_clock_wall_ms()), fresh;
	struct hm_err e;
	int rows = 0;

	write_campaign(&old, "old");
	hm_clock_advance_ms(2 * HOUR);
	hm_ledger_settle(l);
	fresh = id_at_ms(hm_clock_wall_ms());
	write_campaign(&fresh, "fresh");
	assert_int_equal(hm_ledger_each_campaign(l, count_row, &rows, &e), 0);
	assert_int_equal(rows, 10);
	assert_verified(l);
	old = id_at_ms(hm_clock_wall_ms());
	write_campaign(&old, "old");
	rows = 0;
	assert_int_equal(hm_ledger_each_campaign(l, count_row, &rows, &e), 0);
	assert_int_equal(rows, 11);
	assert_int_equal(total(l).accepted, 600);
	assert_verified(l);
	/* and the same after a restart */
	shard_fini(&s);
	hm_ledger_close(l);
	l = open_ledger(dir, 8192, 3600);
	shard_init(&s, l);
	assert_int_equal(total(l).accepted, 600);
}

/* Little traffic: a segment is sealed by age, or its records would stay for ever. */
static void test_quiet_ledger_expires_too(void **state)
{
	struct hm_ulid job = id_at_ms(hm_clock_wall_ms());
	struct hm_ledger_health h;

	put_job(&s, &job, 1, "c");
	shard_wait(&s, put_state(&s, &job, 0, HM_ST_SENT, "c", false));
	hm_clock_advance_ms(HOUR / 4);
	hm_ledger_settle(l);
	assert_int_equal(state_of(l, &job, 0), HM_ST_SENT);
	hm_clock_advance_ms(HOUR);
	hm_ledger_settle(l);
	assert_int_equal(state_of(l, &job, 0), HM_ST_COUNT);
	hm_ledger_health(l, &h);
	assert_int_equal(h.segments, 1);
	assert_int_equal(total(l).accepted, 1);
}

/* Expiry while the disk is full makes the room that writing waits for: see test_ledger_full.c. */

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_records_live_for_their_time),
		T(test_forgotten_campaign_may_return),
		T(test_quiet_ledger_expires_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
