/*
 * test_moved.c - messages that are another node's: out of the counters, whatever order things come in
 */
#include "shard.h"

static const char *dir;
static struct hm_ledger *l;
static struct shard s;
static struct hm_ulid job;

static int setup(void **state)
{
	dir = temp_dir();
	l = open_ledger(dir, 0, 0);
	shard_init(&s, l);
	job = id_at_ms(1700000000000);
	return 0;
}

static int teardown(void **state)
{
	shard_fini(&s);
	hm_ledger_close(l);
	rm_rf(dir);
	return 0;
}

static void move(uint32_t n0, uint32_t n, bool back)
{
	struct hm_ledger_moved m = {
		.id = job, .n0 = n0, .n = n, .back = back, .campaign = HM_STR("c"), .node = HM_STR("other")};

	hm_ulid_add(&m.id, n0);
	shard_wait(&s, hm_ledger_put_moved(s.w, &m));
}

static void assert_counts(uint64_t accepted, uint64_t sent, uint64_t pending, uint64_t moved)
{
	struct hm_ledger_balance b = total(l);

	assert_int_equal(b.accepted, accepted);
	assert_int_equal(hm_ledger_balance_of(&b, HM_ST_SENT), sent);
	assert_int_equal(b.pending, pending);
	assert_int_equal(b.moved, moved);
	assert_true(hm_ledger_balanced(&b));
	assert_verified(l);
}

static bool is_moved(uint32_t nth)
{
	struct hm_ulid id = job;
	struct hm_str node = HM_STR_NULL;
	struct hm_ledger_job j;
	struct hm_arena a;
	bool moved;

	hm_arena_init(&a, NULL, 0);
	hm_ulid_add(&id, nth);
	moved = hm_ledger_moved_to(l, &id, &a, &node, NULL) == 0;
	if (moved)
		assert_true(hm_str_is(node, "other"));
	/* here or there */
	assert_int_equal(hm_ledger_job_of(l, &id, &a, &j, NULL), moved ? HM_ENOENT : 0);
	hm_arena_fini(&a);
	return moved;
}

static void reopen(void)
{
	shard_fini(&s);
	hm_ledger_close(l);
	l = open_ledger(dir, 0, 0);
	shard_init(&s, l);
}

static void test_a_whole_job_and_what_it_had(void **state)
{
	shard_wait(&s, put_job(&s, &job, 100, "c"));
	for (uint32_t i = 0; i < 30; i++)
		shard_wait(&s, put_state(&s, &job, i, i < 20 ? HM_ST_SENT : HM_ST_HELD, "c", false));
	assert_counts(100, 20, 80, 0);
	assert_false(is_moved(0));
	move(0, 100, false);
	assert_counts(0, 0, 0, 100);
	move(0, 100, false); /* told twice */
	assert_counts(0, 0, 0, 100);
	assert_true(is_moved(0) && is_moved(99));
	reopen();
	assert_counts(0, 0, 0, 100);
	assert_true(is_moved(50));
	move(0, 100, true);
	assert_counts(100, 20, 80, 0);
	assert_false(is_moved(50));
	move(0, 100, true);
	assert_counts(100, 20, 80, 0);
	shard_wait(&s, put_state(&s, &job, 20, HM_ST_SENT, "c", true));
	assert_counts(100, 21, 79, 0);
	move(0, 100, false);
	reopen();
	assert_counts(0, 0, 0, 100);
}

static void test_one_message_of_a_job_then_the_rest(void **state)
{
	shard_wait(&s, put_job(&s, &job, 10, "c"));
	move(7, 1, false);
	assert_counts(9, 0, 9, 1);
	assert_true(is_moved(7) && !is_moved(6) && !is_moved(8) && !is_moved(9));
	move(0, 10, false); /* without the one that is gone already */
	assert_counts(0, 0, 0, 10);
	move(7, 1, true);
	assert_counts(1, 0, 1, 9);
	move(0, 10, true);
	assert_counts(10, 0, 10, 0);
}

/* The other node may be faster than the answer to the client. */
static void test_told_before_it_was_accepted(void **state)
{
	move(0, 5, false);
	assert_counts(0, 0, 0, 0);
	shard_wait(&s, put_job(&s, &job, 5, "c"));
	assert_counts(0, 0, 0, 0);
	move(0, 5, true);
	assert_counts(5, 0, 5, 0);
}

static void test_across_segments(void **state)
{
	struct hm_ulid filler;

	shard_fini(&s);
	hm_ledger_close(l);
	l = open_ledger(dir, 8192, 0);
	shard_init(&s, l);
	shard_wait(&s, put_job(&s, &job, 10, "c"));
	for (uint32_t i = 0; i < 4; i++)
		shard_wait(&s, put_state(&s, &job, i, HM_ST_SENT, "c", false));
	for (uint64_t k = 1; k <= 3; k++) {
		filler = id_at_ms(1700000000000 + k);
		put_job(&s, &filler, 200, "f");
		for (uint32_t i = 0; i < 200; i++)
			shard_wait(&s, put_state(&s, &filler, i, HM_ST_SENT, "f", false));
		hm_ledger_settle(l);
		move(0, 10, k == 2);
		assert_true(is_moved(3) == (k != 2));
		hm_ledger_settle(l);
	}
	assert_counts(600, 600, 0, 10);
	reopen();
	assert_counts(600, 600, 0, 10);
	assert_true(is_moved(9));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_whole_job_and_what_it_had, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_message_of_a_job_then_the_rest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_told_before_it_was_accepted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_across_segments, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
