/* Recurring times: the dialect, and what daylight saving does to them. Expectations: python3 zoneinfo, and by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "schedule/cron.h"

static int64_t utc(int64_t y, int mo, int d, int h, int mi, int s)
{
	return hm_civil_seconds((struct hm_civil){y, mo, d, h, mi, s});
}

struct row {
	const char *cron, *tz;
	struct hm_civil after;	 /* UTC */
	struct hm_civil want[4]; /* UTC; year 0 ends the list */
};
static const struct row rows[] = {
	{"0 9 * * mon-fri",
	 "UTC",
	 {2026, 1, 2, 9, 0, 0},
	 {{2026, 1, 5, 9, 0, 0}, {2026, 1, 6, 9, 0, 0}}}, /* Friday -> Monday */
	{"0 9 * * mon-fri",
	 "Asia/Shanghai",
	 {2026, 1, 2, 0, 59, 59},
	 {{2026, 1, 2, 1, 0, 0}, {2026, 1, 5, 1, 0, 0}}},
	{"*/15 * * * *",
	 "UTC",
	 {2026, 1, 1, 0, 0, 0},
	 {{2026, 1, 1, 0, 15, 0}, {2026, 1, 1, 0, 30, 0}, {2026, 1, 1, 0, 45, 0}, {2026, 1, 1, 1, 0, 0}}},
	{"5/20 3 * * *",
	 "UTC",
	 {2026, 1, 1, 0, 0, 0},
	 {{2026, 1, 1, 3, 5, 0}, {2026, 1, 1, 3, 25, 0}, {2026, 1, 1, 3, 45, 0}, {2026, 1, 2, 3, 5, 0}}},
	{"0 0 29 2 *", "UTC", {2026, 1, 1, 0, 0, 0}, {{2028, 2, 29, 0, 0, 0}, {2032, 2, 29, 0, 0, 0}}},
	{"0 0 31 * *", "UTC", {2026, 1, 31, 0, 0, 0}, {{2026, 3, 31, 0, 0, 0}, {2026, 5, 31, 0, 0, 0}}},
	{"0 12 13 * fri",
	 "UTC",
	 {2026, 2, 1, 0, 0, 0},
	 {{2026, 2, 6, 12, 0, 0}, {2026, 2, 13, 12, 0, 0}, {2026, 2, 20, 12, 0, 0}, {2026, 2, 27, 12, 0, 0}}},
	{"0 12 */2 * sun",
	 "UTC",
	 {2026, 2, 1, 13, 0, 0},
	 {{2026, 2, 15, 12, 0, 0}, {2026, 3, 1, 12, 0, 0}}}, /* * does not restrict: both */
	{"0 8-18/5 * JAN,Jul 7",
	 "UTC",
	 {2026, 1, 1, 0, 0, 0},
	 {{2026, 1, 4, 8, 0, 0}, {2026, 1, 4, 13, 0, 0}, {2026, 1, 4, 18, 0, 0}, {2026, 1, 11, 8, 0, 0}}},
	{"@monthly", "UTC", {2026, 12, 1, 0, 0, 0}, {{2027, 1, 1, 0, 0, 0}}},
	{"@weekly", "UTC", {2026, 11, 23, 0, 0, 0}, {{2026, 11, 29, 0, 0, 0}}},
	/* Berlin, 2026-03-29: 02:00 becomes 03:00 (01:00 UTC). 02:30 counts at 03:00, and next day at 02:30 = 00:30 UTC. */
	{"30 2 * * *",
	 "Europe/Berlin",
	 {2026, 3, 28, 2, 0, 0},
	 {{2026, 3, 29, 1, 0, 0}, {2026, 3, 30, 0, 30, 0}}},
	{"*/20 2 * * *",
	 "Europe/Berlin",
	 {2026, 3, 28, 2, 0, 0},
	 {{2026, 3, 29, 1, 0, 0}, {2026, 3, 30, 0, 0, 0}, {2026, 3, 30, 0, 20, 0}}},
	/* Berlin, 2026-10-25: 03:00 becomes 02:00 (01:00 UTC). 02:30 counts at its first time, 00:30 UTC, once. */
	{"30 2 * * *",
	 "Europe/Berlin",
	 {2026, 10, 24, 12, 0, 0},
	 {{2026, 10, 25, 0, 30, 0}, {2026, 10, 26, 1, 30, 0}}},
	{"30 2 * * *", "Europe/Berlin", {2026, 10, 25, 0, 30, 0}, {{2026, 10, 26, 1, 30, 0}}},
	{"30 * * * *",
	 "Europe/Berlin",
	 {2026, 10, 25, 0, 0, 0},
	 {{2026, 10, 25, 0, 30, 0}, {2026, 10, 25, 2, 30, 0}}},
	/* New York, 2026-03-08 02:00 -> 03:00 (07:00 UTC), 2026-11-01 02:00 -> 01:00 (06:00 UTC). */
	{"15 2 8 3 *",
	 "America/New_York",
	 {2026, 1, 1, 0, 0, 0},
	 {{2026, 3, 8, 7, 0, 0}, {2027, 3, 8, 7, 15, 0}}},
	{"0 1 1 11 *",
	 "America/New_York",
	 {2026, 1, 1, 0, 0, 0},
	 {{2026, 11, 1, 5, 0, 0}, {2027, 11, 1, 5, 0, 0}}},
	/* Lord Howe moves by half an hour: 2026-10-04 02:00 -> 02:30 (15:30 UTC the day before). */
	{"15 2 * * *",
	 "Australia/Lord_Howe",
	 {2026, 10, 3, 0, 0, 0},
	 {{2026, 10, 3, 15, 30, 0}, {2026, 10, 4, 15, 15, 0}}},
	/* Apia had no 2011-12-30 at all: noon of that day counts when the 31st begins. */
	{"0 12 30 12 *", "Pacific/Apia", {2011, 1, 1, 0, 0, 0}, {{2011, 12, 30, 10, 0, 0}}},
};

static void times_come_as_written(void **state)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct hm_tz *tz = hm_tz_find(hm_str_c(rows[i].tz));
		int64_t t = hm_civil_seconds(rows[i].after);
		struct hm_cron c;
		struct hm_err e = {0};

		assert_non_null(tz);
		if (hm_cron_parse(hm_str_c(rows[i].cron), &c, &e) != 0)
			fail_msg("%s: %s", rows[i].cron, e.text);
		for (size_t k = 0; k < 4 && rows[i].want[k].year; k++) {
			int64_t want = hm_civil_seconds(rows[i].want[k]);

			t = hm_cron_next(&c, tz, t);
			if (t != want) {
				struct hm_civil g = hm_civil_of(t);

				fail_msg("row %zu (%s %s), %zu: got %lld-%02d-%02d %02d:%02d:%02d", i,
					 rows[i].cron, rows[i].tz, k, (long long)g.year, g.month, g.day,
					 g.hour, g.minute, g.second);
			}
		}
	}
}

static void wrong_ones_are_refused(void **state)
{
	static const char *const bad[] = {"",
					  "* * * *",
					  "* * * * * *",
					  "60 * * * *",
					  "* 24 * * *",
					  "* * 0 * *",
					  "* * 32 * *",
					  "* * * 13 *",
					  "* * * * 8",
					  "*/0 * * * *",
					  "5-1 * * * *",
					  "a * * * *",
					  "1,,2 * * * *",
					  "1, * * * *",
					  "* * * foo *",
					  "0 0 30 2 *",
					  "0 0 31 4,6 *",
					  "@never",
					  "-1 * * * *",
					  "1- * * * *",
					  "*/ * * * *",
					  "mon * * * *"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct hm_cron c;
		struct hm_err e = {0};

		if (hm_cron_parse(hm_str_c(bad[i]), &c, &e) == 0)
			fail_msg("\"%s\" was taken", bad[i]);
		assert_true(strncmp(e.text, "cron: ", 6) == 0);
	}
}

/* Whatever the zone: strictly rising, never twice the same reading of a clock. */
static void times_rise(void **state)
{
	static const char *const zones[] = {"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe",
					    "Asia/Kathmandu"};

	for (size_t z = 0; z < sizeof(zones) / sizeof(zones[0]); z++) {
		const struct hm_tz *tz = hm_tz_find(hm_str_c(zones[z]));
		int64_t t = utc(2026, 1, 1, 0, 0, 0), last = INT64_MIN;
		struct hm_cron c;
		struct hm_err e;

		assert_int_equal(hm_cron_parse(HM_STR("*/30 1-3 * * *"), &c, &e), 0);
		for (int i = 0; i < 3000; i++) {
			int64_t next = hm_cron_next(&c, tz, t), local = next + hm_tz_offset(tz, next, NULL);

			assert_true(next > t);
			assert_true(local > last);
			last = local;
			t = next;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_come_as_written),
		cmocka_unit_test(wrong_ones_are_refused),
		cmocka_unit_test(times_rise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
