/* Errors, vocabulary, counters, faults, panic: what hangs on the tables of facts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/obj.h"
#include "base/stats.h"
#include "base/vocab.h"

static void test_err(void **state)
{
	struct hm_err e;
	char out[600], small[10];

	assert_int_equal(hm_err_set(&e, HM_EINVAL, "field %s", "x"), HM_EINVAL);
	assert_string_equal(e.text, "field x");
	assert_int_equal(hm_err_wrap(&e, "channel %d", 3), HM_EINVAL);
	assert_string_equal(e.text, "channel 3: field x");
	hm_err_format(&e, out, sizeof(out));
	assert_string_equal(out, "channel 3: field x");
	hm_err_at(&e, HM_EPARSE, "a.yaml", 3, 5, "bad");
	hm_err_format(&e, out, sizeof(out));
	assert_string_equal(out, "a.yaml:3:5: bad");
	hm_err_at(&e, HM_EPARSE, "a.yaml", 0, 0, "bad");
	hm_err_format(&e, out, sizeof(out));
	assert_string_equal(out, "a.yaml: bad");
	assert_int_equal(hm_err_format(&e, small, sizeof(small)), 9);
	assert_string_equal(small, "a.yaml: b");
	assert_int_equal(hm_err_set(NULL, HM_EIO, "nobody listens"), HM_EIO);
	assert_string_equal(hm_err_name(HM_ETIMEDOUT), "ETIMEDOUT");
	assert_string_equal(hm_err_name(0), "OK");
	assert_string_equal(hm_err_name(-9999), "E?");
	assert_int_equal(hm_err_http(HM_ELIMIT), 413);
	assert_int_equal(hm_err_http(-9999), 500);
	hm_err_clear(&e);
	assert_int_equal(e.code, 0);
}

static void test_err_text_is_cut_at_a_character(void **state)
{
	struct hm_err e;
	struct hm_str t;

	for (int pad = 0; pad < 4; pad++) {
		char big[800];

		memset(big, 'a', (size_t)pad);
		for (size_t i = (size_t)pad; i + 3 < sizeof(big); i += 3)
			memcpy(big + i, "中", 4);
		hm_err_set(&e, HM_EINVAL, "%s", big);
		t = hm_str_c(e.text);
		assert_true(hm_utf8_valid(t));
		assert_in_range(t.len, sizeof(e.text) - 6, sizeof(e.text) - 1);
	}
}

static void test_vocab(void **state)
{
	assert_string_equal(hm_outcome_name(HM_OUT_RATE_LIMITED), "rate_limited");
	assert_true(hm_outcome_retryable(HM_OUT_RETRY));
	assert_false(hm_outcome_retryable(HM_OUT_UNKNOWN));
	assert_true(hm_outcome_health(HM_OUT_AUTH));
	assert_string_equal(hm_state_balance(HM_ST_DELIVERED), "sent");
	assert_true(hm_state_final(HM_ST_FAILED));
	assert_false(hm_state_final(HM_ST_SENDING));
	assert_int_equal(hm_lane_weight(HM_LANE_CRITICAL), 0);
	for (int i = 0; i < HM_OUT_COUNT; i++)
		assert_int_equal(hm_outcome_find(hm_str_c(hm_outcome_name((enum hm_outcome)i))), i);
	for (int i = 0; i < HM_ST_COUNT; i++)
		assert_int_equal(hm_state_find(hm_str_c(hm_state_name((enum hm_state)i))), i);
	for (int i = 0; i < HM_LANE_COUNT; i++)
		assert_int_equal(hm_lane_find(hm_str_c(hm_lane_name((enum hm_lane)i))), i);
	for (int i = 0; i < HM_MED_COUNT; i++)
		assert_int_equal(hm_medium_find(hm_str_c(hm_medium_name((enum hm_medium)i))), i);
	assert_string_equal(hm_media_list(), "push, sms, email, chat, voice, inbox, webhook, alert, iot");
	assert_int_equal(hm_lane_find(HM_STR("Bulk")), -1);
}

static void test_counters(void **state)
{
	struct hm_stats *a = hm_stats_new(), *b = hm_stats_new();
	uint64_t big = hm_stats_sum(HM_CT_ARENA_BIG);

	hm_stats_add(a, HM_CT_SENT, 3);
	hm_stats_inc(b, HM_CT_SENT);
	hm_stats_add(b, HM_CT_IN_FLIGHT, 5);
	hm_stats_sub(b, HM_CT_IN_FLIGHT, 2);
	assert_int_equal(hm_stats_sum(HM_CT_SENT), 4);
	assert_int_equal(hm_stats_sum(HM_CT_IN_FLIGHT), 3);
	assert_int_equal(big, hm_stats_sum(HM_CT_ARENA_BIG));
	for (int i = 0; i < HM_CT_COUNT; i++) {
		struct hm_str m = hm_str_c(hm_counter_metric((enum hm_counter)i));

		assert_true(hm_str_starts(m, HM_STR("hermod_")));
		assert_int_equal(hm_str_is(hm_str_c(hm_counter_type((enum hm_counter)i)), "counter"),
				 hm_str_ends(m, HM_STR("_total")));
		assert_true(strlen(hm_counter_help((enum hm_counter)i)) > 5);
	}
	hm_stats_free_all();
}

static void test_histogram(void **state)
{
	struct hm_stats *s = hm_stats_new();
	struct hm_hist sum, *h = calloc(1, sizeof(*h));

	assert_int_equal(hm_hist_quantile(h, 0.5), 0);
	/* Every value lands in a bucket that holds it and is at most a sixteenth wide. */
	for (uint64_t us = 0; us < 1u << 31; us += us / 7 + 1) {
		uint64_t q;

		memset(h, 0, sizeof(*h));
		hm_hist_record(h, us);
		q = hm_hist_quantile(h, 0.5);
		assert_true(q * 16 <= us * 17 && us * 16 <= q * 17 + 16);
	}
	memset(h, 0, sizeof(*h));
	for (uint64_t us = 1; us <= 10000; us++)
		hm_hist_record(h, us);
	assert_in_range(hm_hist_quantile(h, 0.5), 4700, 5300);
	assert_in_range(hm_hist_quantile(h, 0.99), 9300, 10500);
	assert_in_range(hm_hist_quantile(h, 1), 9700, 10500);
	assert_in_range(hm_hist_count_le(h, 1023), 1023, 1023);
	assert_int_equal(hm_hist_count_le(h, UINT64_MAX), 10000);
	hm_stats_record_us(s, HM_HG_ATTEMPT, UINT64_MAX / 2); /* clamped, not out of bounds */
	hm_stats_record_us(s, HM_HG_ATTEMPT, 7);
	hm_stats_sum_hist(HM_HG_ATTEMPT, &sum);
	assert_int_equal(sum.n, 2);
	assert_int_equal(hm_hist_quantile(&sum, 0), 7);
	for (unsigned i = 1; i < HM_HIST_BUCKETS; i++)
		assert_true(hm_hist_bucket_end(i) > hm_hist_bucket_end(i - 1));
	free(h);
	hm_stats_free_all();
}

static void test_fault_spec(void **state)
{
	static const char *const bad[] = {"allok:fail",	  "alloc",	   "alloc:boom", "alloc:fail@0",
					  "alloc:fail@x", "alloc:delay=x", ":fail"};
	struct hm_err e;

	for (size_t i = 0; i < hm_countof(bad); i++) {
		assert_int_equal(hm_fault_init(bad[i], &e), HM_EINVAL);
		assert_false(hm_faults_armed);
	}
	assert_int_equal(hm_fault_init("allok:fail", &e), HM_EINVAL);
	assert_non_null(strstr(e.text, "did you mean \"alloc\"?"));
	assert_int_equal(hm_fault_init("", &e), 0);
	assert_int_equal(hm_fault(HM_FAULT_alloc), HM_FAULT_NONE);
	assert_int_equal(hm_fault_init("redis_write:short@2+, alloc:fail@3,render_after:delay=0", &e), 0);
	assert_int_equal(hm_fault(HM_FAULT_redis_write), HM_FAULT_NONE);
	assert_int_equal(hm_fault(HM_FAULT_redis_write), HM_FAULT_SHORT);
	assert_int_equal(hm_fault(HM_FAULT_redis_write), HM_FAULT_SHORT);
	assert_int_equal(hm_fault(HM_FAULT_alloc), HM_FAULT_NONE);
	assert_int_equal(hm_fault(HM_FAULT_alloc), HM_FAULT_NONE);
	assert_int_equal(hm_fault(HM_FAULT_alloc), HM_FAULT_FAIL);
	assert_int_equal(hm_fault(HM_FAULT_alloc), HM_FAULT_NONE);
	assert_int_equal(hm_fault(HM_FAULT_render_after), HM_FAULT_NONE);
	assert_int_equal(hm_fault_hits(HM_FAULT_alloc), 4);
	assert_int_equal(hm_fault_init(NULL, &e), 0);
}

/* Runs fn in a child with stderr in a pipe; returns the wait status. */
static int in_child(void (*fn)(void), char *out, size_t cap)
{
	int fds[2], status;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(fds[1], STDERR_FILENO);
		close(fds[0]);
		close(fds[1]);
		fn();
		_exit(0);
	}
	close(fds[1]);
	while ((n = read(fds[0], out + len, cap - 1 - len)) > 0)
		len += (size_t)n;
	out[len] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

struct thing {
	uint32_t magic;
	int v;
};
#define THING_MAGIC 0x7468696eu

static void print_thing(const void *obj, char *out, size_t cap)
{
	snprintf(out, cap, "thing with v=%d", ((const struct thing *)obj)->v);
}

static void break_a_magic(void)
{
	struct thing *t = calloc(1, sizeof(*t));
	struct hm_panic_printer p = {.what = "working on", .print = print_thing, .obj = t};

	if (t == NULL)
		_exit(1);
	t->v = 42;
	HM_MAGIC_SET(t, THING_MAGIC);
	HM_CHECK(t, THING_MAGIC);
	hm_panic_install("test");
	hm_panic_push(&p);
	HM_MAGIC_CLEAR(t);
	HM_CHECK(t, THING_MAGIC);
}

static void call_abort(void)
{
	hm_panic_install("test");
	abort();
}

#ifndef HM_ASAN
static void touch_nothing(void)
{
	volatile char *nowhere = NULL;

	hm_panic_install("test");
	*nowhere = 1;
}
#endif

static void die_at_fault(void)
{
	struct hm_err e;

	if (hm_fault_init("settle_before_ack:kill@2", &e) == 0)
		for (int i = 0; i < 5; i++) {
			fprintf(stderr, "%d", i);
			hm_fault(HM_FAULT_settle_before_ack);
		}
}

static void test_panic(void **state)
{
	char out[8192];
	int status = in_child(break_a_magic, out, sizeof(out));

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_non_null(strstr(out, "panic: bad object t"));
	assert_non_null(strstr(out, "magic deadbeef, expected THING_MAGIC"));
	assert_non_null(strstr(out, "test_facts.c:"));
	assert_non_null(strstr(out, "break_a_magic()"));
	assert_non_null(strstr(out, "working on: thing with v=42"));
	assert_non_null(strstr(out, "stack:"));
	status = in_child(call_abort, out, sizeof(out));
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_non_null(strstr(out, "panic: signal 6"));
#ifndef HM_ASAN
	status = in_child(touch_nothing, out, sizeof(out));
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	assert_non_null(strstr(out, "panic: signal 11"));
#endif
	status = in_child(die_at_fault, out, sizeof(out));
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_string_equal(out, "01");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_err),	  cmocka_unit_test(test_err_text_is_cut_at_a_character),
		cmocka_unit_test(test_vocab),	  cmocka_unit_test(test_counters),
		cmocka_unit_test(test_histogram), cmocka_unit_test(test_fault_spec),
		cmocka_unit_test(test_panic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
