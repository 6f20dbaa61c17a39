/*
 * test_ledger_crash.c - kill -9 in the middle of writing: what was reported durable is there, exactly once
 */
#include "shard.h"

#include <signal.h>
#include <sys/wait.h>

#include "base/fault.h"

#define JOB_SIZE 100

/* What the child tells through a pipe the moment it is told itself. */
struct receipt {
	struct hm_ulid job;
	uint32_t sent;
};

static _Noreturn void child(const char *dir, int pipe_fd, uint32_t segment_bytes, const char *faults)
{
	struct hm_ledger *l;
	struct shard s;
	struct hm_err e;

	assert_int_equal(hm_fault_init(faults, &e), 0);
	l = open_ledger(dir, segment_bytes, 0);
	shard_init(&s, l);
	for (uint32_t round = 0;; round++) {
		struct receipt r = {id_at_ms(1700000000000 + round), 0};
		uint64_t t = put_job(&s, &r.job, JOB_SIZE, round % 2 ? "odd" : "even");

		for (; r.sent < JOB_SIZE - 1; r.sent++)
			t = put_state(&s, &r.job, r.sent, r.sent % 10 ? HM_ST_SENT : HM_ST_FAILED,
				      round % 2 ? "odd" : "even", false);
		shard_wait(&s, t);
		if (write(pipe_fd, &r, sizeof(r)) != (ssize_t)sizeof(r))
			_exit(1);
	}
}

/* Runs a child until it dies (by a fault, or by us after `kill_after` receipts) and returns how many jobs
 * it was told durable. */
static size_t run_and_kill(const char *dir, size_t kill_after, uint32_t segment_bytes, const char *faults,
			   struct receipt *got, size_t cap)
{
	size_t n = 0;
	int fds[2], status;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(fds[0]);
		child(dir, fds[1], segment_bytes, faults);
	}
	close(fds[1]);
	while (n < cap && read(fds[0], &got[n], sizeof(got[n])) == (ssize_t)sizeof(got[n]))
		if (++n == kill_after)
			kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	while (n < cap && read(fds[0], &got[n], sizeof(got[n])) == (ssize_t)sizeof(got[n]))
		n++;
	close(fds[0]);
	return n;
}

static void check(const char *dir, uint32_t segment_bytes, const struct receipt *got, size_t n)
{
	struct hm_ledger *l = open_ledger(dir, segment_bytes, 0);
	struct hm_ledger_balance b = total(l);

	/* of the latest jobs every message, of the older ones some: verify looks at all of them anyway */
	for (size_t i = 0; i < n; i++)
		for (uint32_t k = 0; k<JOB_SIZE; k += i + 10> n || k + 1 == JOB_SIZE ? 1 : 11) {
			enum hm_state st = state_of(l, &got[i].job, k);

			assert_int_equal(st, k == JOB_SIZE - 1 ? HM_ST_COUNT
					     : k % 10	       ? HM_ST_SENT
							       : HM_ST_FAILED);
		}
	assert_true(b.accepted >= n * JOB_SIZE);
	assert_true(b.by_state[HM_ST_FAILED] >= n * 10);
	assert_true(b.pending >= n);
	assert_true(hm_ledger_balanced(&b));
	assert_verified(l);
	hm_ledger_close(l);
}

static void test_kill_at_any_time(void **state)
{
	static struct receipt got[4000];
	const char *dir = temp_dir();
	size_t n = 0;

	/* One ledger, killed again and again, sealing and compressing all the time. */
	for (size_t round = 1; round <= 8; round++) {
		n += run_and_kill(dir, round * 7, 65536, NULL, got + n, hm_countof(got) - n);
		check(dir, 65536, got, n);
	}
	assert_true(n >= 8 * 9 / 2 * 7);
	rm_rf(dir);
}

static void fault_test(const char *faults)
{
	static struct receipt got[1000];
	const char *dir = temp_dir();
	size_t n = run_and_kill(dir, 0, 65536, faults, got, hm_countof(got));

	assert_true(n > 0);
	check(dir, 65536, got, n);
	rm_rf(dir);
}

static void test_kill_before_write(void **state)
{
	fault_test("ledger_before_write:kill@40");
}

static void test_kill_after_write(void **state)
{
	fault_test("ledger_after_write:kill@40");
}

/* Every length the last write may have had when the power went. */
static void test_torn_end_at_every_length(void **state)
{
	const char *dir = temp_dir();
	struct hm_ulid job = id_at_ms(1700000000000);
	struct hm_ledger *l = open_ledger(dir, 0, 0);
	char path[HM_SEG_PATH], *bytes;
	uint64_t kept, all;
	struct shard s;
	size_t len;
	FILE *f;

	shard_init(&s, l);
	put_job(&s, &job, 3, "c");
	shard_wait(&s, put_state(&s, &job, 0, HM_ST_SENT, "c", false));
	kept = l->active->end;
	shard_wait(&s, put_state(&s, &job, 1, HM_ST_SENT, "c", false));
	all = l->active->end;
	shard_fini(&s);
	hm_ledger_close(l);
	{
		struct hm_err e;

		assert_int_equal(hm_seg_image(dir, 1, &bytes, &len, &e), 0);
	}
	assert_int_equal(len, all);
	hm_seg_path(dir, 1, HM_SEG_LOG, path);
	for (uint64_t cut = kept; cut <= all; cut++) {
		f = fopen(path, "wb");
		assert_non_null(f);
		assert_int_equal(fwrite(bytes, 1, cut, f), cut);
		fclose(f);
		l = open_ledger(dir, 0, 0);
		assert_int_equal(l->active->end, cut == all ? all : kept);
		assert_int_equal(total(l).by_state[HM_ST_SENT], cut == all ? 2 : 1);
		assert_int_equal(state_of(l, &job, 0), HM_ST_SENT);
		assert_int_equal(state_of(l, &job, 1), cut == all ? HM_ST_SENT : HM_ST_COUNT);
		assert_verified(l);
		hm_ledger_close(l);
	}
	free(bytes);
	rm_rf(dir);
}

/* The power went while a segment was being made: its file is there, its beginning is not. */
static void test_segment_without_beginning_is_dropped(void **state)
{
	const char *dir = temp_dir();
	struct hm_ulid job = id_at_ms(1700000000000);
	struct hm_ledger *l = open_ledger(dir, 0, 0);
	char path[HM_SEG_PATH];
	struct shard s;
	FILE *f;

	shard_init(&s, l);
	put_job(&s, &job, 2, "c");
	shard_wait(&s, put_state(&s, &job, 0, HM_ST_SENT, "c", false));
	shard_fini(&s);
	hm_ledger_close(l);
	f = fopen(hm_seg_path(dir, 2, HM_SEG_LOG, path), "wb");
	assert_non_null(f);
	fputs("half", f);
	fclose(f);
	l = open_ledger(dir, 0, 0);
	assert_int_equal(l->active->seq, 1);
	assert_int_equal(total(l).accepted, 2);
	assert_verified(l);
	hm_ledger_close(l);
	rm_rf(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kill_at_any_time),
		cmocka_unit_test(test_kill_before_write),
		cmocka_unit_test(test_kill_after_write),
		cmocka_unit_test(test_torn_end_at_every_length),
		cmocka_unit_test(test_segment_without_beginning_is_dropped),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
