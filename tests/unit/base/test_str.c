/* Strings, numbers with units, UTF-8, hash. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/str.h"

static void test_compare_and_cut(void **state)
{
	struct hm_str rest = HM_STR("a,,b"), part;

	assert_true(hm_str_cmp(HM_STR("a"), HM_STR("ab")) < 0);
	assert_true(hm_str_cmp(HM_STR("b"), HM_STR("ab")) > 0);
	assert_int_equal(hm_str_cmp(HM_STR("ab"), HM_STR("ab")), 0);
	assert_true(hm_str_ieq(HM_STR("Content-TYPE"), HM_STR("content-type")));
	assert_false(hm_str_ieq(HM_STR("a@"), HM_STR("a`"))); /* differ by 0x20 and are no letters */
	assert_true(hm_str_starts(HM_STR("push/apns"), HM_STR("push/")));
	assert_true(hm_str_ends(HM_STR("a.yaml"), HM_STR(".yaml")));
	assert_false(hm_str_ends(HM_STR("l"), HM_STR("yaml")));
	assert_true(hm_str_is(hm_str_trim(HM_STR(" \t x y\r\n")), "x y"));
	assert_int_equal(hm_str_trim(HM_STR("   ")).len, 0);
	assert_int_equal(hm_str_find(HM_STR("hello"), HM_STR("lo")), 3);
	assert_int_equal(hm_str_find(HM_STR("hello"), HM_STR("lx")), -1);
	assert_int_equal(hm_str_chr(HM_STR_NULL, 'x'), -1);

	assert_true(hm_str_split(&rest, ',', &part) && hm_str_is(part, "a"));
	assert_true(hm_str_split(&rest, ',', &part) && hm_str_is(part, ""));
	assert_true(hm_str_split(&rest, ',', &part) && hm_str_is(part, "b"));
	assert_false(hm_str_split(&rest, ',', &part));
}

static void test_numbers(void **state)
{
	uint64_t u = 7;
	int64_t i = 7;

	assert_true(hm_str_u64(HM_STR("18446744073709551615"), &u) && u == UINT64_MAX);
	assert_false(hm_str_u64(HM_STR("18446744073709551616"), &u));
	assert_false(hm_str_u64(HM_STR(""), &u));
	assert_false(hm_str_u64(HM_STR("+1"), &u));
	assert_false(hm_str_u64(HM_STR(" 1"), &u));
	assert_false(hm_str_u64(HM_STR("1x"), &u));
	assert_true(hm_str_i64(HM_STR("-9223372036854775808"), &i) && i == INT64_MIN);
	assert_true(hm_str_i64(HM_STR("9223372036854775807"), &i) && i == INT64_MAX);
	assert_false(hm_str_i64(HM_STR("9223372036854775808"), &i));
	assert_false(hm_str_i64(HM_STR("-"), &i));
}

static void test_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t want;
	} durations[] = {{"500ms", 500},  {"3s", 3000},	     {"5m", 300000},
			 {"2h", 7200000}, {"7d", 604800000}, {"0", 0}},
	  sizes[] = {{"4096", 4096}, {"64KiB", 65536},	   {"10MB", 10000000},
		     {"1B", 1},	     {"2GiB", 2147483648}, {"0", 0}};
	static const char *const bad[] = {"5", "s", "", "-1s", "1.5s", "1 s", "1year", "99999999999999999d"};
	static const char *const bad_sizes[] = {"1kb", "1K", "", "-1", "16777216TiB"};
	uint64_t v;

	for (size_t i = 0; i < hm_countof(durations); i++) {
		assert_true(hm_str_duration_ms(hm_str_c(durations[i].text), &v));
		assert_int_equal(v, durations[i].want);
		assert_true(hm_str_bytes(hm_str_c(sizes[i].text), &v));
		assert_int_equal(v, sizes[i].want);
	}
	for (size_t i = 0; i < hm_countof(bad); i++)
		assert_false(hm_str_duration_ms(hm_str_c(bad[i]), &v));
	for (size_t i = 0; i < hm_countof(bad_sizes); i++)
		assert_false(hm_str_bytes(hm_str_c(bad_sizes[i]), &v));
}

static void test_nearest(void **state)
{
	static const char *const names[] = {"listen", "max_body", "header_timeout", NULL};

	assert_int_equal(hm_str_distance(HM_STR("kitten"), HM_STR("sitting")), 3);
	assert_int_equal(hm_str_distance(HM_STR("ab"), HM_STR("ba")), 1);
	assert_int_equal(hm_str_distance(HM_STR(""), HM_STR("abc")), 3);
	assert_string_equal(hm_str_nearest(HM_STR("lisetn"), names), "listen");
	assert_string_equal(hm_str_nearest(HM_STR("maxbody"), names), "max_body");
	assert_null(hm_str_nearest(HM_STR("colour"), names));
}

/* The values are part of the storage format: partitions and dedupe keys are made of them. */
static void test_hash_is_pinned(void **state)
{
	char text[256];
	unsigned seen[256] = {0};

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)i;
	assert_int_equal(hm_hash64("", 0, 0), 0xf463b9f4a6cf82a0u);
	assert_int_equal(hm_hash64("a", 1, 0), 0xdac415be90f08143u);
	assert_int_equal(hm_hash64("hermod", 6, 1), 0x17322555d06ccda4u);
	assert_int_equal(hm_hash64(text, 15, 0), 0x29af8187fe9abcffu);
	assert_int_equal(hm_hash64(text, 100, 0), 0x1c4df2095a019b3au);
	assert_int_equal(hm_hash64(text, 256, 7), 0x3dafe8fa2562803au);
	/* Every prefix differs, and the low byte of 4096 keys is spread evenly (16 expected each). */
	for (size_t i = 1; i < sizeof(text); i++)
		assert_true(hm_hash64(text, i, 0) != hm_hash64(text, i - 1, 0));
	for (uint32_t i = 0; i < 4096; i++)
		seen[hm_hash64(&i, sizeof(i), 0) & 255]++;
	for (size_t i = 0; i < 256; i++)
		assert_in_range(seen[i], 1, 40);
}

static void test_hash_avalanche(void **state)
{
	/* Each of the 512 input bits flips between a quarter and three quarters of the output. */
	unsigned char key[64];

	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (unsigned char)(i * 37);
	for (size_t len = 1; len <= sizeof(key); len++) {
		uint64_t base = hm_hash64(key, len, 5);

		for (size_t bit = 0; bit < len * 8; bit++) {
			int flips;

			key[bit / 8] ^= (unsigned char)(1u << (bit % 8));
			flips = __builtin_popcountll(base ^ hm_hash64(key, len, 5));
			key[bit / 8] ^= (unsigned char)(1u << (bit % 8));
			assert_in_range(flips, 10, 54);
		}
	}
}

static void test_utf8(void **state)
{
	static const char *const good[] = {"",
					   "plain",
					   "\xc2\x80",
					   "中文",
					   "\xf0\x9f\x98\x80",
					   "\xf4\x8f\xbf\xbf",
					   "\xed\x9f\xbf",
					   "12345678中1234567"};
	static const char *const bad[] = {"\x80",
					  "\xc0\xaf",
					  "\xc1\xbf",
					  "\xe0\x80\x80",
					  "\xed\xa0\x80",
					  "\xf4\x90\x80\x80",
					  "\xf5\x80\x80\x80",
					  "\xe4\xb8",
					  "\xf0\x9f\x98",
					  "ok\xff"};
	size_t n;
	char out[4];

	for (size_t i = 0; i < hm_countof(good); i++)
		assert_true(hm_utf8_valid(hm_str_c(good[i])));
	for (size_t i = 0; i < hm_countof(bad); i++)
		assert_false(hm_utf8_valid(hm_str_c(bad[i])));
	assert_int_equal(hm_utf8_valid_prefix(HM_STR("中\xff")), 3);
	assert_int_equal(hm_utf8_codepoints(HM_STR("a中\xf0\x9f\x98\x80")), 3);
	assert_int_equal(hm_utf8_utf16_units(HM_STR("a中\xf0\x9f\x98\x80")), 4);
	assert_int_equal(hm_utf8_decode(HM_STR("\xff"), &n), 0xfffd);
	assert_int_equal(n, 1);
	for (uint32_t cp = 0; cp <= 0x10ffff; cp += 61) {
		if (cp >= 0xd800 && cp <= 0xdfff)
			continue;
		size_t len = hm_utf8_encode(cp, out);

		assert_int_equal(hm_utf8_decode(hm_str_n(out, len), &n), cp);
		assert_int_equal(n, len);
	}
}

static void test_utf8_cut(void **state)
{
	struct hm_str s = HM_STR("a中b");
	static const size_t want[] = {0, 1, 1, 1, 4, 5, 5};

	for (size_t max = 0; max < hm_countof(want); max++)
		assert_int_equal(hm_utf8_cut(s, max), want[max]);
	assert_int_equal(hm_utf8_cut(HM_STR("\x80\x80\x80\x80\x80\x80"), 4), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_compare_and_cut),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_units),
		cmocka_unit_test(test_nearest),
		cmocka_unit_test(test_hash_is_pinned),
		cmocka_unit_test(test_hash_avalanche),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_utf8_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
