/*
 * test_ledger_threads.c - several writers, look-ups and verifying at the same time
 */
#include "shard.h"

#define WRITERS 4
#define JOBS	20
#define SIZE	200

static struct hm_ledger *l;
static uint32_t running; /* atomic */

struct result {
	struct hm_ulid jobs[JOBS];
	bool failed;
};

/* Half the messages wait once before they end. */
static void writer_main(void *arg)
{
	struct result *r = arg;
	struct shard s;

	shard_init(&s, l);
	for (size_t j = 0; j < JOBS; j++) {
		uint64_t t;

		r->jobs[j] = id_at_ms(1700000000000 + j);
		t = put_job(&s, &r->jobs[j], SIZE, j % 2 ? "odd" : "even");
		for (uint32_t i = 0; i < SIZE; i++) {
			if (i % 2)
				put_state(&s, &r->jobs[j], i, HM_ST_HELD, j % 2 ? "odd" : "even", false);
			if (i % 40 == 39)
				uv_run(&s.loop, UV_RUN_NOWAIT);
		}
		for (uint32_t i = 0; i < SIZE; i++)
			t = put_state(&s, &r->jobs[j], i, HM_ST_SENT, j % 2 ? "odd" : "even", i % 2);
		if (j % 4 == 3)
			shard_wait(&s, t);
	}
	shard_fini(&s);
	__atomic_sub_fetch(&running, 1, __ATOMIC_ACQ_REL);
}

static bool on_msg(void *arg, const struct hm_ledger_msg *m)
{
	return m->state == HM_ST_SENT || m->state == HM_ST_HELD;
}

static void reader_main(void *arg)
{
	struct result *r = arg;
	struct hm_err e;

	while (__atomic_load_n(&running, __ATOMIC_ACQUIRE) > 0) {
		struct hm_ledger_balance b;

		r->failed |= hm_ledger_by_campaign(l, HM_STR("odd"), -1, NULL, 50, on_msg, NULL, &e) < 0;
		r->failed |= hm_ledger_by_recipient(l, HM_STR("user-7"), NULL, 50, on_msg, NULL, &e) < 0;
		r->failed |= hm_ledger_total(l, &b, &e) < 0 || !hm_ledger_balanced(&b);
		r->failed |= hm_ledger_verify(l, &e) < 0;
	}
}

static void test_writers_and_readers(void **state)
{
	static struct result results[WRITERS], reads;
	uv_thread_t writers[WRITERS], reader;
	const char *dir = temp_dir();
	struct hm_ledger_balance b;

	l = open_ledger(dir, 32768, 0);
	running = WRITERS;
	for (size_t i = 0; i < WRITERS; i++)
		assert_int_equal(uv_thread_create(&writers[i], writer_main, &results[i]), 0);
	assert_int_equal(uv_thread_create(&reader, reader_main, &reads), 0);
	for (size_t i = 0; i < WRITERS; i++)
		uv_thread_join(&writers[i]);
	uv_thread_join(&reader);
	assert_false(reads.failed);
	hm_ledger_settle(l);
	b = total(l);
	assert_int_equal(b.accepted, WRITERS * JOBS * SIZE);
	assert_int_equal(b.by_state[HM_ST_SENT], WRITERS * JOBS * SIZE);
	assert_int_equal(b.pending, 0);
	assert_int_equal(b.repeats, 0);
	for (size_t i = 0; i < WRITERS; i++)
		for (size_t j = 0; j < JOBS; j++)
			for (uint32_t k = 0; k < SIZE; k += 17)
				assert_int_equal(state_of(l, &results[i].jobs[j], k), HM_ST_SENT);
	assert_verified(l);
	hm_ledger_close(l);
	rm_rf(dir);
}

/* Batches of one tick are one write: power-loss safety costs one sync for all of them. */
static void test_sync_always(void **state)
{
	const char *dir = temp_dir();
	const struct hm_ledger_opts o = {
		.dir = hm_str_c(dir), .sync = HM_LEDGER_SYNC_ALWAYS, .batch_wait_us = 500};
	struct hm_ulid job = id_at_ms(1700000000000);
	struct hm_err e;
	struct shard s;

	assert_int_equal(hm_ledger_open(&o, &l, &e), 0);
	shard_init(&s, l);
	shard_wait(&s, put_job(&s, &job, 100, "c"));
	for (uint32_t i = 0; i < 100; i++)
		shard_wait(&s, put_state(&s, &job, i, HM_ST_SENT, "c", false));
	assert_int_equal(total(l).pending, 0);
	shard_fini(&s);
	assert_verified(l);
	hm_ledger_close(l);
	rm_rf(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writers_and_readers),
		cmocka_unit_test(test_sync_always),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
