/* The text of /metrics: what promtool says of it, and that the numbers are the right ones. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "admin/metrics.h"
#include "base/stats.h"

static void test_numbers(void **state)
{
	struct hm_stats *s = hm_stats_new();
	struct hm_buf b;
	const char *text;

	hm_stats_add(s, HM_CT_ACCEPTED, 42);
	hm_stats_record_us(s, HM_HG_ATTEMPT, 90);
	hm_stats_record_us(s, HM_HG_ATTEMPT, 3000000);
	hm_buf_init(&b, 1 << 20);
	hm_metrics_write(&b);
	assert_int_equal(b.err, 0);
	text = hm_buf_cstr(&b);
	assert_non_null(strstr(text, "\nhermod_messages_accepted_total 42\n"));
	assert_non_null(strstr(text, "hermod_attempt_seconds_bucket{le=\"0.0001\"} 1\n"));
	assert_non_null(strstr(text, "hermod_attempt_seconds_bucket{le=\"1\"} 1\n"));
	assert_non_null(strstr(text, "hermod_attempt_seconds_bucket{le=\"5\"} 2\n"));
	assert_non_null(strstr(text, "hermod_attempt_seconds_bucket{le=\"+Inf\"} 2\n"));
	assert_non_null(strstr(text, "hermod_attempt_seconds_sum 3.00009\n"));
	assert_non_null(strstr(text, "hermod_attempt_seconds_count 2\n"));
	hm_buf_fini(&b);
	hm_stats_free_all();
}

static void test_promtool_agrees(void **state)
{
	struct hm_stats *s = hm_stats_new();
	struct hm_buf b;
	FILE *p;

	if (system("command -v promtool >/dev/null") != 0)
		skip();
	hm_stats_record_us(s, HM_HG_HTTP_SUBMIT, 1234);
	hm_buf_init(&b, 1 << 20);
	hm_metrics_write(&b);
	p = popen("promtool check metrics >&2", "w");
	assert_non_null(p);
	assert_int_equal(fwrite(b.p, 1, b.len, p), b.len);
	assert_int_equal(WEXITSTATUS(pclose(p)), 0);
	hm_buf_fini(&b);
	hm_stats_free_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_promtool_agrees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
