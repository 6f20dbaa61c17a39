/* Time zones: known changes of clocks, rules beyond the tables, gaps and overlaps, and agreement with libc. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/tz.h"

static const struct hm_tz *zone(const char *name)
{
	const struct hm_tz *tz = hm_tz_find(hm_str_c(name));

	if (!tz)
		fail_msg("no zone %s: is tzdata installed?", name);
	return tz;
}

/* Vectors of Python's zoneinfo: the second before a change, and the change. */
static void test_known_changes(void **state)
{
	static const struct {
		const char *zone;
		int64_t at;
		int32_t before, after;
		bool dst_before, dst_after;
	} v[] = {
#include "tz_vectors.h"
	};

	for (size_t i = 0; i < hm_countof(v); i++) {
		const struct hm_tz *tz = zone(v[i].zone);
		bool before, after;

		if (hm_tz_offset(tz, v[i].at - 1, &before) != v[i].before ||
		    hm_tz_offset(tz, v[i].at, &after) != v[i].after || before != v[i].dst_before ||
		    after != v[i].dst_after)
			fail_msg("%s at %lld: %d to %d, not %d to %d", v[i].zone, (long long)v[i].at,
				 hm_tz_offset(tz, v[i].at - 1, NULL), hm_tz_offset(tz, v[i].at, NULL),
				 v[i].before, v[i].after);
	}
}

static void test_fixed(void **state)
{
	static const struct {
		const char *name, *canonical;
		int32_t offset;
	} good[] = {{"UTC", "UTC", 0},
		    {"Z", "UTC", 0},
		    {"GMT", "UTC", 0},
		    {"+08:00", "+08:00", 28800},
		    {"GMT+08:00", "+08:00", 28800},
		    {"UTC+8", "+08:00", 28800},
		    {"-0330", "-03:30", -12600},
		    {"GMT-3", "-03:00", -10800},
		    {"+5:45", "+05:45", 20700},
		    {"GMT-00:00", "UTC", 0},
		    {"+18:00", "+18:00", 64800}};
	static const char *const bad[] = {"+",	  "+19",	 "+08:60", "+08:0", "+080000",
					  "GMT+", "UTC+8:00:00", "8:00",   "+1e1"};
	int32_t offset;

	for (size_t i = 0; i < hm_countof(good); i++) {
		const struct hm_tz *tz = zone(good[i].name);

		assert_int_equal(hm_tz_offset(tz, 1700000000, NULL), good[i].offset);
		assert_true(hm_tz_is_fixed(tz, &offset));
		assert_int_equal(offset, good[i].offset);
		assert_true(hm_str_is(hm_tz_name(tz), good[i].canonical));
		assert_ptr_equal(tz, zone(good[i].canonical));
	}
	for (size_t i = 0; i < hm_countof(bad); i++)
		if (hm_tz_find(hm_str_c(bad[i])))
			fail_msg("%s is a zone", bad[i]);
	assert_false(hm_tz_is_fixed(zone("America/New_York"), &offset));
	assert_int_equal(hm_tz_offset(zone("Etc/GMT+8"), 0, NULL), -28800); /* POSIX' sign, as everywhere */
}

static void test_names(void **state)
{
	static const char *const bad[] = {
		"",
		"/etc/localtime",
		"../zoneinfo/UTC",
		"America/../Europe/London",
		"America//New_York",
		"America/New_York/",
		"America",
		"Mars/Olympus",
		"America/New York",
		"zone.tab",
		"tzdata.zi",
		".",
		"leapseconds",
		"america/new_york\n",
		"right/America/New_York",
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};

	for (size_t i = 0; i < hm_countof(bad); i++)
		if (hm_tz_find(hm_str_c(bad[i])))
			fail_msg("\"%s\" is a zone", bad[i]);
	assert_null(hm_tz_find(HM_STR("UTC\0x")));
	assert_ptr_equal(zone("Europe/London"), zone("Europe/London"));
}

static int64_t utc(const char *name, int64_t y, int mo, int d, int h, int mi, enum hm_tz_overlap which,
		   enum hm_tz_fit *fit)
{
	return hm_tz_seconds_to_utc(zone(name), hm_civil_seconds((struct hm_civil){y, mo, d, h, mi, 0}),
				    which, fit);
}

static void test_local_to_utc(void **state)
{
	static const struct {
		const char *zone;
		int y, mo, d, h, mi;
		enum hm_tz_fit fit;
		int64_t first, second;
	} v[] = {
		{"America/New_York", 2026, 7, 4, 12, 0, HM_TZ_ONCE, 1783180800, 1783180800},
		/* 02:30 is skipped and means 03:30 EDT */
		{"America/New_York", 2026, 3, 8, 2, 30, HM_TZ_GAP, 1772955000, 1772955000},
		{"America/New_York", 2026, 11, 1, 1, 30, HM_TZ_TWICE, 1793511000, 1793514600},
		{"Europe/London", 2026, 3, 29, 1, 0, HM_TZ_GAP, 1774746000, 1774746000},
		{"Europe/London", 2026, 10, 25, 1, 59, HM_TZ_TWICE, 1792889940, 1792893540},
		/* half an hour */
		{"Australia/Lord_Howe", 2026, 10, 4, 2, 15, HM_TZ_GAP, 1791042300, 1791042300},
		{"Australia/Lord_Howe", 2026, 4, 5, 1, 45, HM_TZ_TWICE, 1775313900, 1775315700},
		{"Asia/Kolkata", 2026, 1, 1, 0, 0, HM_TZ_ONCE, 1767205800, 1767205800},
		/* beyond the table */
		{"America/New_York", 2060, 3, 14, 2, 30, HM_TZ_GAP, 2846475000, 2846475000},
		/* 30 December 2011 did not take place */
		{"Pacific/Apia", 2011, 12, 30, 12, 0, HM_TZ_GAP, 1325282400, 1325282400},
		{"Pacific/Apia", 2011, 12, 31, 0, 0, HM_TZ_ONCE, 1325239200, 1325239200},
		{"UTC", 1969, 12, 31, 23, 59, HM_TZ_ONCE, -60, -60},
	};

	for (size_t i = 0; i < hm_countof(v); i++) {
		enum hm_tz_fit fit;
		int64_t first = utc(v[i].zone, v[i].y, v[i].mo, v[i].d, v[i].h, v[i].mi, HM_TZ_FIRST, &fit);
		int64_t second = utc(v[i].zone, v[i].y, v[i].mo, v[i].d, v[i].h, v[i].mi, HM_TZ_SECOND, NULL);

		if (first != v[i].first || second != v[i].second || fit != v[i].fit)
			fail_msg("%s %d-%d-%d %d:%02d: %lld, %lld, %d", v[i].zone, v[i].y, v[i].mo, v[i].d,
				 v[i].h, v[i].mi, (long long)first, (long long)second, fit);
	}
}

static void test_civil(void **state)
{
	for (int64_t s = -62135596800; s < 253402300800; s += 86399 * 97) {
		struct hm_civil c = hm_civil_of(s);
		time_t t = s;
		struct tm tm;

		gmtime_r(&t, &tm);
		assert_int_equal(c.year, tm.tm_year + 1900);
		assert_int_equal(c.month, tm.tm_mon + 1);
		assert_int_equal(c.day, tm.tm_mday);
		assert_int_equal(c.hour * 3600 + c.minute * 60 + c.second,
				 tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec);
		assert_int_equal(hm_civil_seconds(c), s);
	}
	assert_int_equal(
		hm_civil_seconds((struct hm_civil){2026, 14, 31, 25, 61, 61}),
		hm_civil_seconds((struct hm_civil){2027, 3, 4, 2, 2, 1})); /* 31 February carries over */
}

static uint64_t random_state = 88172645463325252u;
static uint64_t random_u64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	return random_state ^= random_state << 17;
}

static const char *const many[] = {
	"America/New_York", "Europe/London",	"Australia/Sydney",  "Australia/Lord_Howe",
	"Asia/Kolkata",	    "Asia/Shanghai",	"Africa/Casablanca", "America/Sao_Paulo",
	"Europe/Dublin",    "Asia/Tehran",	"America/St_Johns",  "Pacific/Apia",
	"Asia/Gaza",	    "America/Santiago", "Africa/Cairo",	     "America/Argentina/Buenos_Aires",
	"Antarctica/Troll", "Pacific/Chatham",	"Asia/Kathmandu",    "EST5EDT",
};

/* Every zone, moments of 1900 to 2200: the same offset and season as localtime_r, and there and back again. */
static void test_agrees_with_libc(void **state)
{
	for (size_t z = 0; z < hm_countof(many); z++) {
		const struct hm_tz *tz = zone(many[z]);

		setenv("TZ", many[z], 1);
		tzset();
		for (int i = 0; i < 4000; i++) {
			int64_t t = (int64_t)(random_u64() % 9467000000u) - 2208988800;
			time_t at = t;
			struct tm tm;
			bool dst;
			int32_t offset = hm_tz_offset(tz, t, &dst);
			enum hm_tz_fit fit;
			int64_t first, second;

			localtime_r(&at, &tm);
			if (offset != tm.tm_gmtoff || dst != (tm.tm_isdst > 0))
				fail_msg("%s at %lld: %d %d, libc %ld %d", many[z], (long long)t, offset, dst,
					 tm.tm_gmtoff, tm.tm_isdst);
			first = hm_tz_seconds_to_utc(tz, t + offset, HM_TZ_FIRST, &fit);
			second = hm_tz_seconds_to_utc(tz, t + offset, HM_TZ_SECOND, NULL);
			if ((first != t && second != t) || fit == HM_TZ_GAP ||
			    (fit == HM_TZ_ONCE) != (first == second))
				fail_msg("%s at %lld and back: %lld, %lld", many[z], (long long)t,
					 (long long)first, (long long)second);
		}
	}
	unsetenv("TZ");
	tzset();
}

/* Around every change found by walking: all readings of the day before and after come back, or are in a gap. */
static void test_around_changes(void **state)
{
	for (size_t z = 0; z < hm_countof(many); z++) {
		const struct hm_tz *tz = zone(many[z]);
		int32_t was = hm_tz_offset(tz, 0, NULL);

		for (int64_t t = 0; t < 3155760000; t += 6 * 3600) {
			int32_t is = hm_tz_offset(tz, t, NULL);

			if (is == was)
				continue;
			for (int64_t local = t - 86400; local < t + 86400; local += 1500) {
				enum hm_tz_fit fit;
				int64_t first = hm_tz_seconds_to_utc(tz, local, HM_TZ_FIRST, &fit);
				int64_t second = hm_tz_seconds_to_utc(tz, local, HM_TZ_SECOND, NULL);

				assert_true(first <= second);
				if (fit == HM_TZ_GAP) { /* forward: the clock then shows more */
					assert_true(first + hm_tz_offset(tz, first, NULL) > local);
					continue;
				}
				assert_int_equal(first + hm_tz_offset(tz, first, NULL), local);
				assert_int_equal(second + hm_tz_offset(tz, second, NULL), local);
			}
			was = is;
		}
	}
}

static void *find_all(void *arg)
{
	for (int round = 0; round < 200; round++)
		for (size_t z = 0; z < hm_countof(many); z++)
			if (!hm_tz_find(hm_str_c(many[z])))
				return arg;
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t t[4];
	void *r;

	for (size_t i = 0; i < hm_countof(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, find_all, t), 0);
	for (size_t i = 0; i < hm_countof(t); i++) {
		pthread_join(t[i], &r);
		assert_null(r);
	}
}

/* $TZDIR, and files that are cut short or changed: never more than NULL. */
static void test_broken_files(void **state)
{
	char dir[] = "/tmp/hm-tz-XXXXXX", path[128], name[32];
	uint8_t good[8192], bad[8192];
	FILE *f = fopen("/usr/share/zoneinfo/America/New_York", "rb");
	size_t n;

	assert_non_null(f);
	n = fread(good, 1, sizeof(good), f);
	fclose(f);
	assert_non_null(mkdtemp(dir));
	setenv("TZDIR", dir, 1);
	for (int i = 0; i < 1500; i++) {
		size_t len = i < 1000 ? n * (size_t)i / 1000 : n;

		memcpy(bad, good, n);
		if (i >= 1000)
			for (int k = 0; k < 3; k++)
				bad[random_u64() % n] ^= (uint8_t)(1 + random_u64() % 255);
		snprintf(name, sizeof(name), "Broken/Z%d", i);
		snprintf(path, sizeof(path), "%s/Broken", dir);
		mkdir(path, 0700);
		snprintf(path, sizeof(path), "%s/%s", dir, name);
		f = fopen(path, "wb");
		assert_non_null(f);
		fwrite(bad, 1, len, f);
		fclose(f);
		{
			const struct hm_tz *tz = hm_tz_find(hm_str_c(name));

			if (i < 1000)
				assert_null(tz);
			if (tz) /* changed, but still a table: any answer, no harm */
				for (int64_t t = -5000000000; t < 9000000000; t += 77777777)
					(void)hm_tz_offset(tz, t, NULL);
		}
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/Broken", dir);
	rmdir(path);
	rmdir(dir);
	unsetenv("TZDIR");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_known_changes),
		cmocka_unit_test(test_fixed),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_local_to_utc),
		cmocka_unit_test(test_civil),
		cmocka_unit_test(test_agrees_with_libc),
		cmocka_unit_test(test_around_changes),
		cmocka_unit_test(test_broken_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
