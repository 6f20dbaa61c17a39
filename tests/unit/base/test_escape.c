/* Escapers and encoders. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"

typedef void (*escape_fn)(struct hm_buf *b, struct hm_str s);

static void check(escape_fn fn, struct hm_str in, const char *want)
{
	struct hm_buf b;

	hm_buf_init(&b, 4096);
	fn(&b, in);
	assert_int_equal(b.err, 0);
	assert_string_equal(hm_buf_cstr(&b), want);
	hm_buf_fini(&b);
}

static void test_json(void **state)
{
	check(hm_buf_json, HM_STR("plain"), "plain");
	check(hm_buf_json, HM_STR(""), "");
	check(hm_buf_json, HM_STR("a\"b\\c/\b\f\n\r\t\x01\x7f"), "a\\\"b\\\\c/\\b\\f\\n\\r\\t\\u0001\x7f");
	check(hm_buf_json, HM_STR("中\xf0\x9f\x98\x80"), "中\xf0\x9f\x98\x80");
	check(hm_buf_json, HM_STR("x\xff\x80y\xe4\xb8"),
	      "x\xef\xbf\xbd\xef\xbf\xbdy\xef\xbf\xbd\xef\xbf\xbd");
	check(hm_buf_json, HM_STR("\xef\xbf\xbd"), "\xef\xbf\xbd"); /* a U+FFFD that was there stays */
	check(hm_buf_json, HM_STR("a\0b"), "a\\u0000b");
}

/* Eight bytes at a time must find what one byte at a time finds, wherever it stands. */
static void test_json_every_byte_everywhere(void **state)
{
	struct hm_buf whole, single;
	char text[21];

	hm_buf_init(&whole, 4096);
	hm_buf_init(&single, 4096);
	for (unsigned v = 0; v < 256; v++)
		for (unsigned filler = 0x20; filler < 0x80; filler += 0x5f)
			for (size_t at = 0; at < sizeof(text); at++) {
				memset(text, (int)filler, sizeof(text));
				text[at] = (char)v;
				hm_buf_reset(&whole);
				hm_buf_reset(&single);
				hm_buf_json(&whole, hm_str_n(text, sizeof(text)));
				for (size_t i = 0; i < sizeof(text); i++)
					hm_buf_json(&single, hm_str_n(text + i, 1));
				assert_true(hm_str_eq(hm_buf_str(&whole), hm_buf_str(&single)));
			}
	hm_buf_fini(&whole);
	hm_buf_fini(&single);
}

static void test_markup(void **state)
{
	check(hm_buf_html, HM_STR("<a href=\"x\">'&'"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;");
	check(hm_buf_xml, HM_STR("<a>'\t\x01"), "&lt;a&gt;&apos;\t\xef\xbf\xbd");
}

static void test_url(void **state)
{
	check(hm_buf_percent, HM_STR("aZ09-._~ +/中"), "aZ09-._~%20%2B%2F%E4%B8%AD");
	check(hm_buf_form, HM_STR("a b*~&="), "a+b*%7E%26%3D");
}

static void test_base64(void **state)
{
	static const char *const pairs[][2] = {{"", ""},
					       {"f", "Zg=="},
					       {"fo", "Zm8="},
					       {"foo", "Zm9v"},
					       {"foob", "Zm9vYg=="},
					       {"fooba", "Zm9vYmE="},
					       {"foobar", "Zm9vYmFy"}};
	static const char *const junk[] = {"Z", "Zg=", "Zg===", "Zh==", "Z!==", "=", "Zm9v=", "Zg==Zg=="};
	struct hm_buf b;

	hm_buf_init(&b, 4096);
	for (size_t i = 0; i < hm_countof(pairs); i++) {
		struct hm_str plain = hm_str_c(pairs[i][0]), coded = hm_str_c(pairs[i][1]);

		hm_buf_reset(&b);
		hm_buf_base64(&b, plain.p, plain.len);
		assert_string_equal(hm_buf_cstr(&b), coded.p);
		hm_buf_reset(&b);
		assert_true(hm_buf_unbase64(&b, coded));
		assert_string_equal(hm_buf_cstr(&b), plain.p);
		while (hm_str_ends(coded, HM_STR("="))) /* padding is optional */
			coded.len--;
		hm_buf_reset(&b);
		assert_true(hm_buf_unbase64(&b, coded));
		assert_string_equal(hm_buf_cstr(&b), plain.p);
	}
	for (size_t i = 0; i < hm_countof(junk); i++) {
		hm_buf_reset(&b);
		hm_buf_lit(&b, "keep");
		assert_false(hm_buf_unbase64(&b, hm_str_c(junk[i])));
		assert_string_equal(hm_buf_cstr(&b), "keep");
	}
	hm_buf_reset(&b);
	hm_buf_base64url(&b, "\xfb\xff\xfe", 3);
	hm_buf_base64url(&b, "\xff", 1);
	assert_string_equal(hm_buf_cstr(&b), "-__-_w");
	hm_buf_reset(&b);
	assert_true(hm_buf_unbase64(&b, HM_STR("-__-")));
	assert_true(hm_buf_unbase64(&b, HM_STR("+//+")));
	assert_memory_equal(b.p, "\xfb\xff\xfe\xfb\xff\xfe", 6);
	hm_buf_fini(&b);
}

static void test_hex(void **state)
{
	struct hm_buf b;

	hm_buf_init(&b, 64);
	hm_buf_hex(&b, "\x00\xff\x1a", 3);
	assert_string_equal(hm_buf_cstr(&b), "00ff1a");
	hm_buf_reset(&b);
	assert_true(hm_buf_unhex(&b, HM_STR("00Ff1a")));
	assert_memory_equal(b.p, "\x00\xff\x1a", 3);
	assert_false(hm_buf_unhex(&b, HM_STR("0")));
	assert_false(hm_buf_unhex(&b, HM_STR("0g")));
	assert_int_equal(b.len, 3);
	hm_buf_fini(&b);
}

static void test_ceiling(void **state)
{
	struct hm_buf b;

	hm_buf_init(&b, 8);
	hm_buf_json(&b, HM_STR("\x01\x01"));
	assert_int_equal(b.err, HM_ELIMIT);
	hm_buf_reset(&b);
	hm_buf_base64(&b, "1234567", 7);
	assert_int_equal(b.err, HM_ELIMIT);
	assert_int_equal(b.len, 0);
	hm_buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json),	cmocka_unit_test(test_json_every_byte_everywhere),
		cmocka_unit_test(test_markup),	cmocka_unit_test(test_url),
		cmocka_unit_test(test_base64),	cmocka_unit_test(test_hex),
		cmocka_unit_test(test_ceiling),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
