/*
 * test_moved.c - messages that are another node's: out of the counters, whatever order things come in
 */
#include "shard.h"

static const char *dir;
static struct hm_ledger *l;
static struct shard s;
static struct hm_ulid job;
static uint32_t hop; /* of the latest change of hands */

static int setup(void **state)
{
	dir = temp_dir();
	l = open_ledger(dir, 0, 0);
	shard_init(&s, l);
	job = id_at_ms(1700000000000);
	hop = 0;
	return 0;
}

static int teardown(void **state)
{
	shard_fini(&s);
	hm_ledger_close(l);
	rm_rf(dir);
	return 0;
}

static void move_at(uint32_t h, uint32_t n0, uint32_t n, bool back)
{
	struct hm_ledger_moved m = {.id = job,
				    .n0 = n0,
				    .n = n,
				    .hop = h,
				    .back = back,
				    .campaign = HM_STR("c"),
				    .node = HM_STR("other")};

	hm_ulid_add(&m.id, n0);
	shard_wait(&s, hm_ledger_put_moved(s.w, &m));
}

static void move(uint32_t n0, uint32_t n, bool back)
{
	move_at(++hop, n0, n, back);
}

static void again(uint32_t n0, uint32_t n, bool back) /* told twice */
{
	move_at(hop, n0, n, back);
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
	again(0, 100, false);
	assert_counts(0, 0, 0, 100);
	assert_true(is_moved(0) && is_moved(99));
	reopen();
	assert_counts(0, 0, 0, 100);
	assert_true(is_moved(50));
	move(0, 100, true);
	assert_counts(100, 20, 80, 0);
	assert_false(is_moved(50));
	again(0, 100, true);
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

/* A part of what moved comes back, leaves again, by other cuts than it came. */
static void test_a_part_comes_back(void **state)
{
	shard_wait(&s, put_job(&s, &job, 100, "c"));
	for (uint32_t i = 0; i < 30; i++)
		shard_wait(&s, put_state(&s, &job, i, HM_ST_SENT, "c", false));
	move(0, 100, false);
	assert_counts(0, 0, 0, 100);
	move(20, 40, true);
	assert_counts(40, 10, 30, 60);
	assert_true(is_moved(19) && !is_moved(20) && !is_moved(59) && is_moved(60));
	reopen();
	move(25, 10, false);
	assert_counts(30, 5, 25, 70);
	assert_true(!is_moved(24) && is_moved(25) && is_moved(34) && !is_moved(35));
	move(27, 1, true);
	assert_counts(31, 6, 25, 69);
	again(27, 1, true);
	assert_counts(31, 6, 25, 69);
	move(0, 100, false);
	assert_counts(0, 0, 0, 100);
	reopen();
	move(0, 100, true);
	assert_counts(100, 30, 70, 0);
	for (uint32_t i = 30; i < 100; i++)
		shard_wait(&s, put_state(&s, &job, i, HM_ST_SENT, "c", true));
	assert_counts(100, 100, 0, 0);
	reopen();
	assert_counts(100, 100, 0, 0);
}

/* It is back before the word comes that it had left: that word is old. */
static void test_old_news(void **state)
{
	shard_wait(&s, put_job(&s, &job, 10, "c"));
	move_at(3, 4, 2, true); /* another had it since 2, and gave these back */
	assert_counts(10, 0, 10, 0);
	reopen();
	move_at(2, 0, 10, false);
	assert_counts(2, 0, 2, 8);
	assert_true(is_moved(3) && !is_moved(4) && !is_moved(5) && is_moved(6));
	move_at(5, 4, 1, false);
	move_at(4, 4, 1, true); /* as old */
	assert_counts(1, 0, 1, 9);
	reopen();
	assert_true(is_moved(4) && !is_moved(5));
	move_at(6, 4, 1, true);
	assert_counts(2, 0, 2, 8);
}

/* A node that only seemed dead works on: what it records counts when the message is its own again. */
static void test_recorded_while_it_is_elsewhere(void **state)
{
	shard_wait(&s, put_job(&s, &job, 4, "c"));
	shard_wait(&s, put_state(&s, &job, 0, HM_ST_HELD, "c", false));
	move(0, 4, false);
	shard_wait(&s, put_state(&s, &job, 0, HM_ST_SENT, "c", true));
	shard_wait(&s, put_state(&s, &job, 1, HM_ST_FAILED, "c", false));
	assert_counts(0, 0, 0, 4);
	assert_int_equal(state_of(l, &job, 0), HM_ST_SENT);
	reopen();
	assert_counts(0, 0, 0, 4);
	shard_wait(&s, put_state(&s, &job, 0, HM_ST_DELIVERED, "c", true));
	assert_counts(0, 0, 0, 4);
	move(0, 4, true);
	assert_counts(4, 1, 2, 0);
	assert_int_equal(total(l).by_state[HM_ST_DELIVERED], 1);
	assert_int_equal(total(l).by_state[HM_ST_FAILED], 1);
	reopen();
	assert_counts(4, 1, 2, 0);
}

static struct hm_ledger_job part(uint32_t n0, uint32_t n)
{
	struct hm_ledger_job j = {.id = job,
				  .n0 = n0,
				  .n = n,
				  .campaign = HM_STR("c"),
				  .channel = HM_STR("apns-main"),
				  .if_absent = true};

	hm_ulid_add(&j.id, n0);
	return j;
}

/* A node gets parts of a job another one accepted, cut in different ways. */
static void test_parts_of_a_job_from_elsewhere(void **state)
{
	struct hm_ledger_job j = part(5, 5), whole = part(0, 20);
	struct hm_ledger_job found;
	struct hm_ulid id = job;
	struct hm_arena a;

	shard_wait(&s, hm_ledger_put_job(s.w, &j));
	assert_counts(5, 0, 5, 0);
	j = part(3, 5); /* 5, 6 and 7 are here */
	shard_wait(&s, hm_ledger_put_job(s.w, &j));
	assert_counts(7, 0, 7, 0);
	shard_wait(&s, hm_ledger_put_job(s.w, &j));
	assert_counts(7, 0, 7, 0);
	move(4, 3, false);
	assert_counts(4, 0, 4, 3);
	reopen();
	assert_true(!is_moved(3) && is_moved(4) && is_moved(6) && !is_moved(7) && !is_moved(9));
	shard_wait(&s, hm_ledger_put_job(s.w, &whole)); /* those that are elsewhere stay there */
	assert_counts(17, 0, 17, 3);
	move(0, 20, false);
	assert_counts(0, 0, 0, 20);
	move(0, 20, true);
	assert_counts(20, 0, 20, 0);
	hm_arena_init(&a, NULL, 0);
	hm_ulid_add(&id, 9);
	assert_int_equal(hm_ledger_job_of(l, &id, &a, &found, NULL), 0);
	assert_true(hm_ulid_eq(&found.id, &job)); /* the job, not the part */
	assert_true(hm_str_is(found.channel, "apns-main"));
	hm_arena_fini(&a);
}

/* Any order, any cuts, restarts and segments in between: as reckoned message by message. */
static void test_any_order(void **state)
{
	enum { N = 40 };
	uint32_t last[N] = {0}, accepted = 0, sent = 0;
	bool here[N], is_sent[N] = {false};
	uint64_t seed = 7;

	shard_fini(&s);
	hm_ledger_close(l);
	l = open_ledger(dir, 8192, 0);
	shard_init(&s, l);
	shard_wait(&s, put_job(&s, &job, N, "c"));
	memset(here, true, sizeof(here));
	for (uint32_t step = 1; step <= 400; step++) {
		uint32_t n0, n, h;
		bool back;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		n0 = (uint32_t)(seed >> 33) % N;
		n = 1 + (uint32_t)(seed >> 40) % (N - n0);
		h = hm_max(step / 2 + (uint32_t)(seed >> 48) % 8, 1u);
		h = h * 2 + (back = (seed >> 60) & 1); /* nobody else has the same one */
		if (step % 5 == 0 && !is_sent[n0]) {
			shard_wait(&s, put_state(&s, &job, n0, HM_ST_SENT, "c", true));
			is_sent[n0] = true;
		} else {
			move_at(h, n0, n, back);
			for (uint32_t i = n0; i < n0 + n; i++)
				if (h > last[i]) {
					last[i] = h;
					here[i] = back;
				}
		}
		accepted = sent = 0;
		for (uint32_t i = 0; i < N; i++) {
			accepted += here[i];
			sent += here[i] && is_sent[i];
		}
		assert_counts(accepted, sent, accepted - sent, N - accepted);
		if (step % 50 == 0) {
			hm_ledger_settle(l);
			shard_fini(&s);
			hm_ledger_close(l);
			l = open_ledger(dir, 8192, 0);
			shard_init(&s, l);
		}
	}
	for (uint32_t i = 0; i < N; i++)
		assert_true(is_moved(i) == !here[i]);
	assert_true(sent > 0 && accepted < N);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_whole_job_and_what_it_had, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_message_of_a_job_then_the_rest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_told_before_it_was_accepted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_across_segments, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_part_comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_old_news, setup, teardown),
		cmocka_unit_test_setup_teardown(test_recorded_while_it_is_elsewhere, setup, teardown),
		cmocka_unit_test_setup_teardown(test_parts_of_a_job_from_elsewhere, setup, teardown),
		cmocka_unit_test_setup_teardown(test_any_order, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
