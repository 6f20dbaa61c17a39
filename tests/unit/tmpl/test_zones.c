/* test_zones.c - dates in zones with daylight saving; expected values are FreeMarker 2.3.31's on Java 17 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tmpl/tmpl.h"

static const struct {
	const char *zone, *text, *expected; /* expected NULL: HM_EINVAL */
} rows[] = {
	{"America/New_York", "${'2026-07-04T12:00:00'?datetime}", "2026-07-04T12:00:00-04:00"},
	{"America/New_York", "${'2026-01-04T12:00:00Z'?datetime}", "2026-01-04T07:00:00-05:00"},
	{"America/New_York", "${1772953199000?number_to_datetime}", "2026-03-08T01:59:59-05:00"},
	{"America/New_York", "${1772953200000?number_to_datetime}", "2026-03-08T03:00:00-04:00"},
	{"America/New_York", "${'2026-07-04'?date}", "2026-07-04"},
	{"America/New_York", "${'2026-07-04T00:30:00Z'?datetime?date}", "2026-07-03"},
	{"America/New_York", "${'2026-07-04'?date?long} ${'12:30'?time?long}", "1783137600000 63000000"},
	{"America/New_York", "${'12:30'?time}", "12:30:00-05:00"},
	/* read twice by clocks: standard time, the later one */
	{"America/New_York", "${'2026-11-01T01:30:00'?datetime}", "2026-11-01T01:30:00-05:00"},
	{"America/New_York", "${'2026-11-01 01:30'?datetime('yyyy-MM-dd HH:mm')}",
	 "2026-11-01T01:30:00-05:00"},
	{"America/New_York", "${'2026-11-01T01:30:00-04:00'?datetime}", "2026-11-01T01:30:00-04:00"},
	/* never read: ISO text is wrong, a pattern moves forward */
	{"America/New_York", "${'2026-03-08T02:30:00'?datetime}", NULL},
	{"America/New_York", "${'2026-03-08 02:30'?datetime('yyyy-MM-dd HH:mm')}",
	 "2026-03-08T03:30:00-04:00"},
	{"America/New_York", "${'2026-07-04T12:00:00Z'?datetime?string('yyyy-MM-dd HH:mm Z X XXX')}",
	 "2026-07-04 08:00 -0400 -04 -04:00"},
	{"America/New_York", "${'2026-07-04T12:00:00Z'?datetime?iso('Europe/London')}",
	 "2026-07-04T13:00:00+01:00"},
	{"America/New_York", "${'2026-07-04T12:00:00Z'?datetime?iso_local}", "2026-07-04T08:00:00-04:00"},
	{"America/New_York", "${'2026-07-04T12:00:00Z'?datetime?iso_utc}", "2026-07-04T12:00:00Z"},
	{"America/New_York", "${'2060-07-04T12:00:00Z'?datetime}", "2060-07-04T08:00:00-04:00"},
	{"UTC",
	 "<#setting time_zone='Europe/London'>${'2026-07-04T12:00:00Z'?datetime} "
	 "${'2026-01-04T12:00:00Z'?datetime}",
	 "2026-07-04T13:00:00+01:00 2026-01-04T12:00:00Z"},
	{"Asia/Shanghai", "${'1990-07-04T12:00:00Z'?datetime} ${'2026-07-04T12:00:00Z'?datetime}",
	 "1990-07-04T21:00:00+09:00 2026-07-04T20:00:00+08:00"},
	{"Australia/Lord_Howe", "${'2026-01-04T12:00:00Z'?datetime} ${'2026-07-04T12:00:00Z'?datetime}",
	 "2026-01-04T23:00:00+11:00 2026-07-04T22:30:00+10:30"},
	{"Asia/Kolkata", "${'2026-07-04T12:00:00Z'?datetime}", "2026-07-04T17:30:00+05:30"},
	{"GMT+08:00", "${'2026-07-04T12:00:00Z'?datetime}", "2026-07-04T20:00:00+08:00"},
	{"Europe/London", "${'2026-185'?date('yyyy-DDD')}", "2026-07-04"},
	{"UTC", "<#setting time_zone='Mars/Olympus'>", NULL},
};

static void test_rows(void **state)
{
	for (size_t i = 0; i < hm_countof(rows); i++) {
		struct hm_arena arena;
		struct hm_tmpl_ctx ctx = {.arena = &arena};
		struct hm_tmpl *t;
		struct hm_buf out;
		struct hm_err e;
		int rc;

		hm_arena_init(&arena, NULL, 0);
		hm_buf_init(&out, 4096);
		if (!hm_tmpl_ctx_zone(&ctx, hm_str_c(rows[i].zone)))
			fail_msg("no zone %s: is tzdata installed?", rows[i].zone);
		assert_int_equal(hm_tmpl_compile(hm_str_c(rows[i].text), NULL, &t, &e), 0);
		rc = hm_tmpl_render(t, &ctx, &out, &e);
		if (rows[i].expected ? rc || !hm_str_is(hm_buf_str(&out), rows[i].expected) : rc != HM_EINVAL)
			fail_msg("%s %s: %.*s %s", rows[i].zone, rows[i].text, HM_STRF(hm_buf_str(&out)),
				 rc ? e.text : "");
		hm_tmpl_free(t);
		hm_buf_fini(&out);
		hm_arena_fini(&arena);
	}
}

static void test_ctx_zone(void **state)
{
	struct hm_tmpl_ctx ctx = {.utc_offset_min = 7};

	assert_false(hm_tmpl_ctx_zone(&ctx, HM_STR("Nowhere/Here")));
	assert_false(hm_tmpl_ctx_zone(&ctx, HM_STR("../UTC")));
	assert_int_equal(ctx.utc_offset_min, 7);
	assert_true(hm_tmpl_ctx_zone(&ctx, HM_STR("Europe/Paris")));
	assert_ptr_equal(ctx.tz, hm_tz_find(HM_STR("Europe/Paris")));
	assert_true(hm_tmpl_ctx_zone(&ctx, HM_STR("+05:45")));
	assert_null(ctx.tz);
	assert_int_equal(ctx.utc_offset_min, 345);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_ctx_zone)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
