/*
 * test_ledger_full.c - the disk is full: nothing is lost, nothing changes order, and it goes on when there is room
 *
 * The limit on file sizes stands in for a full disk: it needs no rights and fails in the same place.
 */
#include "shard.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "base/fault.h"

static const char *dir;
static struct hm_ledger *l;
static struct shard s;

static void limit_files(rlim_t bytes)
{
	struct rlimit r;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
	r.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

/* Runs the loop until the ledger says it fails (or no longer does). */
static void wait_failing(bool failing)
{
	struct hm_ledger_health h;

	do {
		uv_run(&s.loop, UV_RUN_NOWAIT);
		hm_ledger_health(l, &h);
	} while (h.failing != failing);
}

static void fill(struct hm_ulid *job, uint32_t from, uint32_t to, uint64_t *last_r)
{
	for (uint32_t i = from; i < to; i++) {
		*last_r = put_state(&s, job, i, HM_ST_SENT, "c", false);
		if (i % 10 == 9)
			uv_run(&s.loop, UV_RUN_NOWAIT); /* a tick of its own for every ten */
	}
}

static void check_after(struct hm_ulid *job, uint32_t n)
{
	struct hm_ledger_health h;

	hm_ledger_health(l, &h);
	assert_false(h.failing);
	assert_true(h.retries > 0);
	assert_true(h.err.code < 0);
	assert_int_equal(h.queued_bytes, 0);
	assert_int_equal(total(l).by_state[HM_ST_SENT], n);
	assert_int_equal(total(l).pending, 0);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(state_of(l, job, i), HM_ST_SENT);
	assert_verified(l);
}

static void test_file_too_large_then_room(void **state)
{
	struct hm_ulid job = id_at_ms(1700000000000);
	struct hm_ledger_health h;
	uint64_t last = 0, durable;
	struct hm_err e;

	dir = temp_dir();
	l = open_ledger(dir, 0, 0);
	shard_init(&s, l);
	shard_wait(&s, put_job(&s, &job, 2000, "c"));
	fill(&job, 0, 50, &last);
	shard_wait(&s, last);
	limit_files(20000);
	fill(&job, 50, 1000, &last);
	wait_failing(true);
	hm_ledger_health(l, &h);
	assert_non_null(strstr(h.err.text, "File too large"));
	assert_true(h.queued_bytes > 0 && hm_ledger_backlog(s.w) > 0);
	durable = s.durable;
	assert_true(durable < last);
	/* look-ups answer meanwhile, with what is written; verify says to wait */
	assert_int_equal(state_of(l, &job, 0), HM_ST_SENT);
	assert_int_equal(state_of(l, &job, 999), HM_ST_COUNT);
	assert_int_equal(hm_ledger_verify(l, &e), HM_EAGAIN);
	fill(&job, 1000, 2000, &last); /* putting still works */
	limit_files(RLIM_INFINITY);
	shard_wait(&s, last);
	wait_failing(false);
	check_after(&job, 2000);
	shard_fini(&s);
	hm_ledger_close(l);
	l = open_ledger(dir, 0, 0);
	assert_int_equal(total(l).by_state[HM_ST_SENT], 2000);
	assert_verified(l);
	hm_ledger_close(l);
	rm_rf(dir);
}

static void test_injected_failures(void **state)
{
	struct hm_ulid job = id_at_ms(1700000000000);
	uint64_t last = 0;
	struct hm_err e;

	dir = temp_dir();
	assert_int_equal(hm_fault_init("ledger_before_write:fail@3", &e),
			 0); /* before and after its threads */
	l = open_ledger(dir, 4096, 0);
	shard_init(&s, l);
	shard_wait(&s, put_job(&s, &job, 500, "c"));
	for (uint32_t i = 0; i < 500; i += 50) {
		fill(&job, i, i + 50, &last);
		shard_wait(&s, last);
	}
	check_after(&job, 500);
	shard_fini(&s);
	hm_ledger_close(l);
	assert_int_equal(hm_fault_init(NULL, &e), 0);
	rm_rf(dir);
}

/* A real full disk, where we may mount one: expiry makes the room that writing waits for. */
static void test_expiry_frees_a_full_disk(void **state)
{
	struct hm_ulid old = id_at_ms(hm_clock_wall_ms()), job;
	struct hm_ledger_health h;
	char sub[80];
	uint64_t last = 0;
	uint32_t i = 0;

	dir = temp_dir();
	if (mount("tmpfs", dir, "tmpfs", 0, "size=3m") < 0) {
		rmdir(dir);
		skip();
	}
	snprintf(sub, sizeof(sub), "%s/ledger", dir);
	l = open_ledger(sub, 65536, 3600);
	shard_init(&s, l);
	shard_wait(&s, put_job(&s, &old, 8000, "old"));
	for (; i < 8000; i++) {
		uint64_t t = put_state(&s, &old, i, HM_ST_SENT, "old", false);

		if (i % 100 == 99)
			shard_wait(&s, t);
	}
	hm_ledger_settle(l);
	job = id_at_ms(hm_clock_wall_ms());
	shard_wait(&s, put_job(&s, &job, 4000000, "c"));
	/* The packer makes room meanwhile, so how many fit is not known: until it is full, never far ahead of the writer. */
	for (i = 0, h.failing = false; !h.failing && i < 4000000;) {
		last = put_state(&s, &job, i++, HM_ST_SENT, "c", false);
		if (i % 1000)
			continue;
		do {
			uv_run(&s.loop, UV_RUN_NOWAIT);
			hm_ledger_health(l, &h);
		} while (!h.failing && s.durable < last);
	}
	assert_true(h.failing);
	hm_ledger_health(l, &h);
	assert_non_null(strstr(h.err.text, "No space left on device"));
	assert_true(s.durable < last);
	hm_clock_advance_ms(2 * 3600000);
	shard_wait(&s, last);
	wait_failing(false);
	assert_int_equal(total(l).by_state[HM_ST_SENT], 8000 + i);
	assert_int_equal(state_of(l, &job, i - 1), HM_ST_SENT);
	assert_verified(l);
	shard_fini(&s);
	hm_ledger_close(l);
}

/* Also after a failure: the next test starts without a limit, and no file system stays mounted. */
static int teardown(void **state)
{
	limit_files(RLIM_INFINITY);
	umount2(dir, MNT_DETACH);
	rm_rf(dir);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_file_too_large_then_room, teardown),
		cmocka_unit_test_teardown(test_injected_failures, teardown),
		cmocka_unit_test_teardown(test_expiry_frees_a_full_disk, teardown),
	};

	signal(SIGXFSZ, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
