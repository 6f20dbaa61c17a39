/* test_decimal.c - exact decimals: parsing, the four operations and their rounding, printing */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "tmpl/decimal.h"
#include "tmpl/numfmt.h"

static struct hm_dec dec(const char *s)
{
	struct hm_dec d;

	if (!hm_dec_parse(hm_str_c(s), &d))
		fail_msg("%s does not parse", s);
	return d;
}

static void is(struct hm_dec d, const char *want)
{
	char text[HM_DEC_MAX_TEXT + 1];

	text[hm_dec_text(d, text)] = 0;
	assert_string_equal(text, want);
}

static void test_parse(void **state)
{
	static const char *const good[][2] = {
		{"0", "0"},
		{"-1.50", "-1.50"},
		{"+4", "4"},
		{".5", "0.5"},
		{"5.", "5"},
		{"1e3", "1000"},
		{"1E-3", "0.001"},
		{"-0", "0"},
		{"007", "7"},
		{"1.5e1", "15"},
		{"0.00", "0.00"},
		{"12345678901234567890123456789012345678", "12345678901234567890123456789012345678"},
	};
	static const char *const bad[] = {
		"",    " 1", "1 ", "1,000", "0x10", "--1",   "1e",
		"1e+", ".",  "+",  "1.2.3", "NaN",  "1e999", "123456789012345678901234567890123456789"};
	struct hm_dec d;

	for (size_t i = 0; i < hm_countof(good); i++)
		is(dec(good[i][0]), good[i][1]);
	for (size_t i = 0; i < hm_countof(bad); i++)
		assert_false(hm_dec_parse(hm_str_c(bad[i]), &d));
	assert_true(hm_dec_parse(HM_STR("1e-999"), &d) && d.coef == 0);
}

static void test_double(void **state)
{
	struct hm_dec d;

	assert_true(hm_dec_double(0.1, &d));
	is(d, "0.1");
	assert_true(hm_dec_double(1e-6, &d));
	is(d, "0.000001");
	assert_true(hm_dec_double(123456789.25, &d));
	is(d, "123456789.25");
	assert_true(hm_dec_double(-0.0, &d));
	is(d, "0");
	assert_false(hm_dec_double(1.0 / 0.0, &d));
	assert_false(hm_dec_double(1e300, &d));
}

static void test_operations(void **state)
{
	struct hm_dec r;

	assert_true(hm_dec_add(dec("0.1"), dec("0.2"), &r));
	is(r, "0.3");
	assert_true(hm_dec_sub(dec("1"), dec("0.9"), &r));
	is(r, "0.1");
	assert_true(hm_dec_mul(dec("19.99"), dec("3"), &r));
	is(r, "59.97");
	assert_true(hm_dec_mul(dec("123456789012"), dec("123456789012"), &r));
	is(r, "15241578753153483936144");
	assert_true(hm_dec_mul(dec("0.0000005"), dec("0.000001"), &r)); /* half up at 12 decimals */
	is(r, "0.000000000001");
	assert_true(hm_dec_mul(dec("-0.0000005"), dec("0.000001"), &r));
	is(r, "-0.000000000001");
	assert_true(hm_dec_div(dec("10"), dec("3"), &r));
	is(r, "3.333333333333");
	assert_true(hm_dec_div(dec("-20"), dec("3"), &r));
	is(r, "-6.666666666667");
	assert_true(hm_dec_div(dec("1"), dec("0.00000000000003"), &r)); /* an operand has 14 decimals */
	is(r, "33333333333333.33333333333333");
	assert_true(hm_dec_mod(dec("-7.9"), dec("3.9"), &r));
	is(r, "-1");
	assert_false(hm_dec_div(dec("1"), dec("0"), &r));
	assert_false(hm_dec_mod(dec("1"), dec("0.9"), &r));
	assert_true(hm_dec_mod(dec("-9223372036854775808"), dec("-1"), &r));
	is(r, "0");
	assert_false(hm_dec_mul(dec("12345678901234567890"), dec("12345678901234567890"), &r));
	assert_false(hm_dec_add(dec("99999999999999999999999999999999999999"), dec("1"), &r));
}

static void test_compare(void **state)
{
	assert_int_equal(hm_dec_cmp(dec("1"), dec("1.000")), 0);
	assert_int_equal(hm_dec_cmp(dec("-1"), dec("1")), -1);
	assert_int_equal(hm_dec_cmp(dec("0.1"), dec("0.09999")), 1);
	assert_int_equal(hm_dec_cmp(dec("-0.1"), dec("-0.09999")), -1);
	assert_int_equal(
		hm_dec_cmp(dec("99999999999999999999999999999999999999"), dec("0.0000000000000000001")), 1);
	assert_int_equal(hm_dec_cmp(dec("1e-50"), dec("2e-50")), -1);
	assert_int_equal(hm_dec_cmp(dec("0.00"), dec("0")), 0);
}

static void test_round(void **state)
{
	struct hm_dec r;

	is(hm_dec_round(dec("2.5"), 0, HM_ROUND_HALF_EVEN), "2");
	is(hm_dec_round(dec("3.5"), 0, HM_ROUND_HALF_EVEN), "4");
	is(hm_dec_round(dec("-2.5"), 0, HM_ROUND_HALF_UP), "-3");
	is(hm_dec_round(dec("-2.1"), 0, HM_ROUND_FLOOR), "-3");
	is(hm_dec_round(dec("-2.9"), 0, HM_ROUND_CEILING), "-2");
	is(hm_dec_round(dec("2.999"), 1, HM_ROUND_DOWN), "2.9");
	is(hm_dec_round(dec("1e-50"), 2, HM_ROUND_CEILING), "0.01");
	assert_true(hm_dec_round_half(dec("-2.5"), &r));
	is(r, "-2");
	assert_true(hm_dec_round_half(dec("-3.5001"), &r));
	is(r, "-4");
	assert_int_equal(hm_dec_to_i64(dec("-7.99")), -7);
}

/* Division against long division by hand: q * b + rest must give a again. */
static void test_division_holds(void **state)
{
	uint64_t seed = 12345;

	for (int i = 0; i < 20000; i++) {
		struct hm_dec a, b, q, back, diff, half;
		char text[64];

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		snprintf(text, sizeof(text), "%lld.%02u", (long long)(seed >> 24), (unsigned)(seed & 63));
		a = dec(text);
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		snprintf(text, sizeof(text), "%lld.%03u", (long long)(seed >> 40) + 1,
			 (unsigned)(seed & 511));
		b = dec(text);
		assert_true(hm_dec_div(a, b, &q));
		/* |a - q*b| <= b * 0.5e-12; checked without rounding: multiply the integers */
		back = (struct hm_dec){q.coef * b.coef, q.scale + b.scale};
		diff = (struct hm_dec){a.coef, a.scale};
		while (diff.scale < back.scale) {
			diff.coef *= 10;
			diff.scale++;
		}
		diff.coef -= back.coef;
		if (diff.coef < 0)
			diff.coef = -diff.coef;
		half = (struct hm_dec){b.coef, b.scale + 12};
		assert_true(diff.coef * 2 <= half.coef);
	}
}

static void formatted(const char *pattern, const char *number, const char *want)
{
	struct hm_numfmt f;
	struct hm_buf out;

	hm_buf_init(&out, 4096);
	assert_true(hm_numfmt_parse(hm_str_c(pattern), false, &f));
	assert_true(hm_numfmt_put(&f, dec(number), &out));
	assert_string_equal(hm_buf_cstr(&out), want);
	hm_buf_fini(&out);
}

static void test_patterns(void **state)
{
	struct hm_numfmt f;

	formatted("0.00", "1234567.891", "1234567.89");
	formatted(",##0.00", "-1234.5", "-1,234.50");
	formatted("0.00;(0.00)", "-1234.5", "(1234.50)");
	formatted("#", "0", "0");
	formatted("#.##", "0.5", "0.5");
	formatted("#.00", "0.5", ".50");
	formatted(".##", "5", "5.0");
	formatted("0%", "0.125", "12%");
	formatted("000", "7", "007");
	formatted("#,####", "1000000", "100,0000");
	formatted("'#'0", "42", "#42");
	formatted("0''", "1", "1'");
	formatted("0", "-0.4", "-0");
	formatted("currency", "19.9", "$19.90");
	formatted("0.0000000000", "0.1", "0.1000000000");
	assert_false(hm_numfmt_parse(HM_STR("#.#.#"), false, &f));
	assert_false(hm_numfmt_parse(HM_STR("0#"), false, &f));
	assert_false(hm_numfmt_parse(HM_STR("0.#0"), false, &f));
	assert_false(hm_numfmt_parse(HM_STR("0'x"), false, &f));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),	   cmocka_unit_test(test_double),
		cmocka_unit_test(test_operations), cmocka_unit_test(test_compare),
		cmocka_unit_test(test_round),	   cmocka_unit_test(test_division_holds),
		cmocka_unit_test(test_patterns),
	};

	return cmocka_run_group_tests_name("decimals", tests, NULL, NULL);
}
