/* Clock, dates, ids that sort by time. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/ulid.h"

static void test_clock_moves_when_told(void **state)
{
	uint64_t mono = hm_clock_mono_ns(), wall = hm_clock_wall_ms();

	hm_clock_advance_ms(3600000);
	assert_true(hm_clock_mono_ns() - mono >= 3600000000000u);
	assert_in_range(hm_clock_wall_ms() - wall, 3600000, 3660000);
	hm_clock_freeze_wall_ms(5000);
	assert_int_equal(hm_clock_wall_ms(), 5000);
	hm_clock_advance_ms(7);
	assert_int_equal(hm_clock_wall_ms(), 5007);
	hm_clock_freeze_wall_ms(0);
	assert_in_range(hm_clock_wall_ms() - wall, 3600007, 3660007);
}

static void test_rfc3339(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = {
		{"1970-01-01T00:00:00Z", 0},
		{"2026-01-02T03:04:05.678Z", 1767323045678},
		{"2026-01-02t03:04:05.6789123z", 1767323045678},
		{"2026-01-02 05:04:05.6+02:00", 1767323045600},
		{"2026-01-01T22:04:05-05:00", 1767323045000},
		{"2024-02-29T12:00:00Z", 1709208000000},
		{"9999-12-31T23:59:59.999Z", 253402300799999},
	};
	static const char *const bad[] = {"",
					  "2026-01-02",
					  "2026-01-02T03:04:05",
					  "2026-02-29T00:00:00Z",
					  "2026-13-01T00:00:00Z",
					  "2026-01-02T24:00:00Z",
					  "2026-01-02T03:04:05.Z",
					  "1969-12-31T23:59:59Z",
					  "2026-01-02T03:04:05+2:00",
					  "2026-01-02T03:04:05Zx",
					  "1970-01-01T00:00:00+01:00"};
	char out[25];
	uint64_t ms;

	for (size_t i = 0; i < hm_countof(good); i++) {
		assert_true(hm_clock_parse_rfc3339(hm_str_c(good[i].text), &ms));
		assert_int_equal(ms, good[i].ms);
	}
	for (size_t i = 0; i < hm_countof(bad); i++)
		assert_false(hm_clock_parse_rfc3339(hm_str_c(bad[i]), &ms));
	hm_clock_rfc3339(1767323045678, out);
	assert_string_equal(out, "2026-01-02T03:04:05.678Z");
	for (uint64_t t = 0; t < 253402300799999u; t += 86399999u * 97u) { /* over the centuries and back */
		hm_clock_rfc3339(t, out);
		assert_true(hm_clock_parse_rfc3339(hm_str_c(out), &ms));
		assert_int_equal(ms, t);
	}
	hm_clock_rfc3339(UINT64_MAX, out);
	assert_string_equal(out, "9999-12-31T23:59:59.999Z");
}

static void test_http_date(void **state)
{
	static const char *const same[] = {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
					   "Sun Nov  6 08:49:37 1994"};
	static const char *const bad[] = {"", "120", "Sun, 06 Nov 1994 08:49:37",
					  "Xxx, 06 Nov 1994 08:49:37 GMT", "Sun, 31 Feb 1994 08:49:37 GMT"};
	uint64_t ms;

	for (size_t i = 0; i < hm_countof(same); i++) {
		assert_true(hm_clock_parse_http_date(hm_str_c(same[i]), &ms));
		assert_int_equal(ms, 784111777000);
	}
	assert_true(hm_clock_parse_http_date(HM_STR("Wed, 21 Oct 2026 07:28:00 GMT"), &ms));
	assert_true(hm_clock_parse_http_date(HM_STR("Tue Dec 15 00:00:00 2026"), &ms));
	for (size_t i = 0; i < hm_countof(bad); i++)
		assert_false(hm_clock_parse_http_date(hm_str_c(bad[i]), &ms));
}

static void test_ulid_text(void **state)
{
	struct hm_ulid id, back;
	char text[HM_ULID_TEXT + 1];

	/* the example of the ULID specification: 01ARYZ6S41 is 1469918176385 */
	assert_true(hm_ulid_parse(HM_STR("01ARYZ6S41DEADBEEFDEADBEEF"), &id));
	assert_int_equal(hm_ulid_ms(&id), 1469918176385);
	hm_ulid_text(&id, text);
	assert_string_equal(text, "01ARYZ6S41DEADBEEFDEADBEEF");
	assert_true(hm_ulid_parse(HM_STR("01aryz6s41deadbeefdeadbeef"), &back));
	assert_true(hm_ulid_eq(&id, &back));
	assert_true(hm_ulid_parse(HM_STR("7ZZZZZZZZZZZZZZZZZZZZZZZZZ"), &id));
	assert_false(hm_ulid_parse(HM_STR("8ZZZZZZZZZZZZZZZZZZZZZZZZZ"), &id)); /* more than 128 bits */
	assert_false(hm_ulid_parse(HM_STR("01ARYZ6S41DEADBEEFDEADBEE"), &id));
	assert_false(hm_ulid_parse(HM_STR("01ARYZ6S41DEADBEEFDEADBEEU"), &id));
	assert_false(hm_ulid_parse(hm_str_n("01ARYZ6S41DEADBEEFDEADBEE\0", 26), &id));
	for (int i = 0; i < 1000; i++) {
		hm_ulid_new(&id, 1700000000000u + (uint64_t)i);
		hm_ulid_text(&id, text);
		assert_true(hm_ulid_parse(hm_str_c(text), &back));
		assert_true(hm_ulid_eq(&id, &back));
		assert_int_equal(hm_ulid_ms(&id), 1700000000000u + (uint64_t)i);
	}
}

static void test_ulid_sorts_and_differs(void **state)
{
	enum { N = 2000 };
	static char texts[N][HM_ULID_TEXT + 1];

	for (size_t i = 0; i < N; i++) {
		struct hm_ulid id;

		hm_ulid_new(&id, 1000 + i / 2);
		hm_ulid_text(&id, texts[i]);
		for (size_t k = i > 10 ? i - 10 : 0; k < i; k++)
			assert_string_not_equal(texts[i], texts[k]);
		if (i >= 2)
			assert_true(strcmp(texts[i], texts[i - 2]) > 0);
	}
}

static void test_ulid_add(void **state)
{
	struct hm_ulid a, b;

	memset(&a, 0xff, sizeof(a));
	a.b[0] = 1;
	b = a;
	hm_ulid_add(&b, 1); /* carries through all bytes */
	assert_int_equal(b.b[0], 2);
	assert_int_equal(b.b[15], 0);
	assert_int_equal(hm_ulid_diff(&b, &a), 1);
	assert_int_equal(hm_ulid_diff(&a, &b), UINT32_MAX);
	assert_int_equal(hm_ulid_diff(&a, &a), 0);
	b = a;
	hm_ulid_add(&b, 999);
	assert_int_equal(hm_ulid_diff(&b, &a), 999);
	hm_ulid_add(&b, UINT32_MAX);
	assert_int_equal(hm_ulid_diff(&b, &a), UINT32_MAX);
}

static void test_ulid_derive(void **state)
{
	struct hm_ulid a, b, c;

	hm_ulid_derive(&a, 5, "entry-1", 7);
	hm_ulid_derive(&b, 5, "entry-1", 7);
	hm_ulid_derive(&c, 5, "entry-2", 7);
	assert_true(hm_ulid_eq(&a, &b));
	assert_false(hm_ulid_eq(&a, &c));
	assert_int_equal(hm_ulid_ms(&a), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clock_moves_when_told),
		cmocka_unit_test(test_rfc3339),
		cmocka_unit_test(test_http_date),
		cmocka_unit_test(test_ulid_text),
		cmocka_unit_test(test_ulid_sorts_and_differs),
		cmocka_unit_test(test_ulid_add),
		cmocka_unit_test(test_ulid_derive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
