/* JSON to msgpack and back; hostile msgpack. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"

static struct hm_buf mp, json;
static msgpack_zone zone;

static int setup(void **state)
{
	hm_buf_init(&mp, 64u << 20);
	hm_buf_init(&json, 64u << 20);
	return msgpack_zone_init(&zone, 4096) ? 0 : -1;
}

static int teardown(void **state)
{
	hm_buf_fini(&mp);
	hm_buf_fini(&json);
	msgpack_zone_destroy(&zone);
	return 0;
}

static const msgpack_object *parse(struct hm_str text)
{
	static msgpack_object o;
	struct hm_err e;

	hm_buf_reset(&mp);
	if (hm_json_to_msgpack(text, &mp, &e) < 0)
		fail_msg("%s", e.text);
	msgpack_zone_clear(&zone);
	if (hm_msgpack_decode(&zone, hm_buf_str(&mp), &o, &e) < 0)
		fail_msg("%s", e.text);
	return &o;
}

static void round_trip(const char *in, const char *want)
{
	hm_buf_reset(&json);
	hm_msgpack_to_json(parse(hm_str_c(in)), &json);
	assert_string_equal(hm_buf_cstr(&json), want);
}

static void test_round_trip(void **state)
{
	static const char *const same[] = {"null",
					   "true",
					   "false",
					   "0",
					   "18446744073709551615",
					   "-9223372036854775808",
					   "12.50",
					   "-0.1e+10",
					   "18446744073709551616",
					   "\"\"",
					   "\"中\\n\\\"\"",
					   "[]",
					   "{}",
					   "[1,[2,[3,[]]],{}]",
					   "{\"a\":{\"b\":[1.0,2]},\"c\":null}",
					   "{\"a\":1,\"a\":2}"};

	for (size_t i = 0; i < hm_countof(same); i++)
		round_trip(same[i], same[i]);
	round_trip(" { \"a\" : [ 1 , 2 ] } \r\n", "{\"a\":[1,2]}");
	round_trip("\"\\u4e2d\\ud83d\\ude00\\/\\u0000\"", "\"中\xf0\x9f\x98\x80/\\u0000\"");
	round_trip("-0", "0");
}

/* Containers of every header size, also inside each other: the header grows after the fact. */
static void test_container_sizes(void **state)
{
	static const unsigned sizes[] = {0, 1, 15, 16, 17, 65535, 65536, 70000};
	struct hm_buf text;

	hm_buf_init(&text, 64u << 20);
	for (size_t i = 0; i < hm_countof(sizes); i++)
		for (int map = 0; map < 2; map++) {
			const msgpack_object *o;

			hm_buf_reset(&text);
			hm_buf_puts(&text, hm_str_c(map ? "[[{" : "[[["));
			for (unsigned k = 0; k < sizes[i]; k++)
				hm_buf_printf(&text, map ? "%s\"k%u\":%u" : "%s%.0u%u", k ? "," : "", k, k);
			hm_buf_puts(&text, hm_str_c(map ? "}],\"end\"]" : "]],\"end\"]"));
			o = parse(hm_buf_str(&text));
			assert_int_equal(o->via.array.size, 2);
			assert_true(hm_str_is(hm_str_n(o->via.array.ptr[1].via.str.ptr, 3), "end"));
			o = &o->via.array.ptr[0].via.array.ptr[0];
			assert_int_equal(map ? o->via.map.size : o->via.array.size, sizes[i]);
			if (map && sizes[i]) {
				char last[16];
				uint64_t v;

				snprintf(last, sizeof(last), "k%u", sizes[i] - 1);
				assert_true(hm_mp_u64(hm_mp_get(o, hm_str_c(last)), &v));
				assert_int_equal(v, sizes[i] - 1);
			}
		}
	hm_buf_fini(&text);
}

static void refuse(struct hm_str text, int code, int line, int col, const char *part)
{
	struct hm_err e;

	hm_buf_reset(&mp);
	hm_buf_lit(&mp, "keep");
	assert_int_equal(hm_json_to_msgpack(text, &mp, &e), code);
	assert_string_equal(hm_buf_cstr(&mp), "keep"); /* nothing half-written stays behind */
	if (strstr(e.text, part) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", e.text, part);
	if (e.line != line || e.col != col)
		fail_msg("%.*s: %s: expected %d:%d, found %d:%d", HM_STRF(text), e.text, line, col, e.line,
			 e.col);
}

static void test_refuse(void **state)
{
	refuse(HM_STR(""), HM_EPARSE, 1, 1, "ends too early");
	refuse(HM_STR("  "), HM_EPARSE, 1, 3, "ends too early");
	refuse(HM_STR("{\"a\":1"), HM_EPARSE, 1, 7, "ends too early");
	refuse(HM_STR("{\n \"a\": nul}"), HM_EPARSE, 2, 10, "invalid");
	refuse(HM_STR("{\n\"a\" 1}"), HM_EPARSE, 2, 5, "");
	refuse(HM_STR("[1,]"), HM_EPARSE, 1, 4, "");
	refuse(HM_STR("[1] x"), HM_EPARSE, 1, 5, "");
	refuse(HM_STR("[01]"), HM_EPARSE, 1, 3, "");
	refuse(HM_STR("\"a\tb\""), HM_EPARSE, 1, 3, "invalid character inside string");
	refuse(HM_STR("[1]/*c*/"), HM_EPARSE, 1, 3, "trailing");
	refuse(HM_STR("{\"a\":NaN}"), HM_EPARSE, 1, 6, "");
	refuse(HM_STR("[\"中\xff\"]"), HM_EPARSE, 1, 4, "not valid UTF-8");
	refuse(HM_STR("[\"\\udc00\"]"), HM_EPARSE, 1, 9, "half of a surrogate pair");
}

static void test_lone_high_surrogate(void **state)
{
	struct hm_err e;

	hm_buf_reset(&mp);
	/* Refused, or replaced by something that is text: never bytes that are not UTF-8. */
	if (hm_json_to_msgpack(HM_STR("\"\\ud83dx\""), &mp, &e) == 0)
		assert_true(hm_utf8_valid(hm_str_n(mp.p + 1, mp.len - 1)));
}

static void test_depth(void **state)
{
	char text[200];
	struct hm_err e;

	for (int depth = 1; depth <= 40; depth++) {
		for (int map = 0; map < 2; map++) {
			size_t n = 0;

			for (int i = 0; i < depth; i++)
				n += (size_t)sprintf(text + n, "%s", map && i + 1 < depth ? "{\"\":" : "[");
			for (int i = depth; i-- > 0;)
				text[n++] = map && i + 1 < depth ? '}' : ']';
			if (depth <= HM_JSON_MAX_DEPTH) {
				parse(hm_str_n(text, n)); /* msgpack-c's own stack is just as deep */
				continue;
			}
			hm_buf_reset(&mp);
			assert_int_equal(hm_json_to_msgpack(hm_str_n(text, n), &mp, &e), HM_ELIMIT);
			assert_non_null(strstr(e.text, "deeper than 32"));
		}
	}
}

static void test_number_length(void **state)
{
	char text[300];
	struct hm_err e;

	memset(text, '1', sizeof(text));
	hm_buf_reset(&mp);
	assert_int_equal(hm_json_to_msgpack(hm_str_n(text, HM_DECIMAL_MAX), &mp, &e), 0);
	hm_buf_reset(&mp);
	assert_int_equal(hm_json_to_msgpack(hm_str_n(text, HM_DECIMAL_MAX + 1), &mp, &e), HM_ELIMIT);
}

static void test_ceiling(void **state)
{
	struct hm_buf small;
	struct hm_err e;

	hm_buf_init(&small, 10);
	assert_int_equal(hm_json_to_msgpack(HM_STR("\"0123456789\""), &small, &e), HM_ELIMIT);
	assert_non_null(strstr(e.text, "too large"));
	assert_int_equal(hm_json_to_msgpack(HM_STR("[[[[\"01234567\"]]]]"), &small, &e), HM_ELIMIT);
	hm_buf_fini(&small);
}

/* Long strings with escapes make yajl ask for more memory than a thread keeps ready. */
static void test_big_strings(void **state)
{
	struct hm_buf text;
	struct hm_str s;

	hm_buf_init(&text, 4 << 20);
	for (size_t len = 1; len < 1 << 20; len *= 3) {
		hm_buf_reset(&text);
		hm_buf_lit(&text, "[\"");
		for (size_t i = 0; i < len; i++)
			hm_buf_puts(&text, hm_str_c(i % 2 ? "\\n" : "x"));
		hm_buf_lit(&text, "\",\"a\\tb\"]");
		const msgpack_object *o = parse(hm_buf_str(&text));

		assert_true(hm_mp_str(&o->via.array.ptr[0], &s));
		assert_int_equal(s.len, len);
		assert_true(hm_mp_str(&o->via.array.ptr[1], &s) && hm_str_is(s, "a\tb"));
	}
	hm_buf_fini(&text);
}

static void test_lookups(void **state)
{
	const msgpack_object *o = parse(
		HM_STR("{\"a\":1,\"b\":-1,\"s\":\"x\",\"t\":true,\"d\":1.5,\"n\":null,\"a\":2}"));
	struct hm_str s;
	uint64_t u;
	int64_t i;
	bool b;

	assert_true(hm_mp_u64(hm_mp_get(o, HM_STR("a")), &u) && u == 2); /* the last one wins */
	assert_false(hm_mp_u64(hm_mp_get(o, HM_STR("b")), &u));
	assert_true(hm_mp_i64(hm_mp_get(o, HM_STR("b")), &i) && i == -1);
	assert_true(hm_mp_str(hm_mp_get(o, HM_STR("s")), &s) && hm_str_is(s, "x"));
	assert_true(hm_mp_bool(hm_mp_get(o, HM_STR("t")), &b) && b);
	assert_true(hm_mp_decimal(hm_mp_get(o, HM_STR("d")), &s) && hm_str_is(s, "1.5"));
	assert_null(hm_mp_get(o, HM_STR("zz")));
	assert_null(hm_mp_get(NULL, HM_STR("zz")));
	assert_false(hm_mp_str(NULL, &s) || hm_mp_u64(NULL, &u) || hm_mp_i64(NULL, &i) ||
		     hm_mp_bool(NULL, &b));
	assert_string_equal(hm_mp_type_name(o), "object");
	assert_string_equal(hm_mp_type_name(hm_mp_get(o, HM_STR("d"))), "number");
	assert_string_equal(hm_mp_type_name(hm_mp_get(o, HM_STR("n"))), "null");
	assert_string_equal(hm_mp_type_name(NULL), "nothing");
}

static void test_packing(void **state)
{
	static const int64_t ints[] = {
		0,  127, 128, 255,  256,  65535,  65536,  4294967295, 4294967296,      INT64_MAX,
		-1, -32, -33, -128, -129, -32768, -32769, INT32_MIN,  INT32_MIN - 1ll, INT64_MIN};
	static const size_t lens[] = {0, 1, 2, 3, 4, 8, 16, 31, 32, 128, 255, 256, 65535, 65536};
	static char bytes[70000];
	msgpack_object o;
	struct hm_str s;
	struct hm_err e;
	int64_t v;

	memset(bytes, '7', sizeof(bytes));
	hm_buf_reset(&mp);
	hm_mp_put_array(&mp, hm_countof(ints));
	for (size_t i = 0; i < hm_countof(ints); i++)
		hm_mp_put_i64(&mp, ints[i]);
	assert_int_equal(hm_msgpack_decode(&zone, hm_buf_str(&mp), &o, &e), 0);
	for (size_t i = 0; i < hm_countof(ints); i++) {
		assert_true(hm_mp_i64(&o.via.array.ptr[i], &v));
		assert_true(v == ints[i]);
	}
	for (size_t i = 0; i < hm_countof(lens); i++) {
		struct hm_buf again;

		hm_buf_reset(&mp);
		hm_mp_put_map(&mp, 3);
		hm_mp_key(&mp, "s");
		hm_mp_put_str(&mp, hm_str_n(bytes, lens[i]));
		hm_mp_key(&mp, "b");
		hm_mp_put_bin(&mp, hm_str_n(bytes, lens[i]));
		hm_mp_key(&mp, "d");
		if (lens[i] && lens[i] <= HM_DECIMAL_MAX)
			hm_mp_put_decimal(&mp, hm_str_n(bytes, lens[i]));
		else
			hm_mp_put_nil(&mp);
		assert_int_equal(hm_msgpack_decode(&zone, hm_buf_str(&mp), &o, &e), 0);
		assert_true(hm_mp_str(hm_mp_get(&o, HM_STR("s")), &s) && s.len == lens[i]);
		assert_true(hm_mp_str(hm_mp_get(&o, HM_STR("b")), &s) && s.len == lens[i]);
		assert_int_equal(hm_mp_decimal(hm_mp_get(&o, HM_STR("d")), &s),
				 lens[i] && lens[i] <= HM_DECIMAL_MAX);
		hm_buf_init(&again, 1 << 20);
		hm_mp_put_object(&again, &o); /* the same bytes again */
		assert_int_equal(again.len, mp.len);
		assert_memory_equal(again.p, mp.p, mp.len);
		hm_buf_fini(&again);
	}
}

static void test_to_json_of_msgpack_only_types(void **state)
{
	/* {1: bin "ab", nil: 1.5 (double), ext 5: NaN, "f": 0.1f} */
	static const unsigned char doc[] = {0x84, 0x01, 0xc4, 2,    'a',  'b',	0xc0, 0xcb, 0x3f, 0xf8,
					    0,	  0,	0,    0,    0,	  0,	0xd4, 5,    'z',  0xcb,
					    0x7f, 0xf8, 0,    0,    0,	  0,	0,    0,    0xa1, 'f',
					    0xcb, 0x3f, 0xb9, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a};
	msgpack_object o;
	struct hm_err e;

	assert_int_equal(hm_msgpack_decode(&zone, hm_str_n((const char *)doc, sizeof(doc)), &o, &e), 0);
	hm_buf_reset(&json);
	hm_msgpack_to_json(&o, &json);
	assert_string_equal(hm_buf_cstr(&json), "{\"1\":\"YWI=\",\"null\":1.5,\"eg==\":null,\"f\":0.1}");
}

static void hostile(const char *bytes, size_t n, const char *part)
{
	char *copy = malloc(n); /* exact size: ASan sees any read past the end */
	msgpack_object o;
	struct hm_err e;

	if (copy == NULL)
		fail();
	memcpy(copy, bytes, n);
	assert_true(hm_msgpack_decode(&zone, hm_str_n(copy, n), &o, &e) < 0);
	if (strstr(e.text, part) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", e.text, part);
	free(copy);
}
#define HOSTILE(lit, part) hostile(lit, sizeof(lit) - 1, part)

static void test_hostile_msgpack(void **state)
{
	char deep[100];

	HOSTILE("\xdf\xff\xff\xff\xff", "cut short");		  /* a map of four billion */
	HOSTILE("\xdd\xff\xff\xff\xff\xc0\xc0\xc0", "cut short"); /* an array of them */
	HOSTILE("\x91\xdd\x10\x00\x00\x00\xc0", "cut short");	  /* inside another */
	HOSTILE("\xdb\xff\xff\xff\xff"
		"a",
		"cut short"); /* a string */
	HOSTILE("\xc6\xff\xff\xff\xff"
		"a",
		"cut short"); /* binary */
	HOSTILE("\xc9\xff\xff\xff\xff\x01"
		"1",
		"cut short"); /* an extension */
	HOSTILE("\xc1", "never used");
	HOSTILE("\xc0\xc0", "1 bytes follow");
	HOSTILE("\x92\x01", "cut short");
	HOSTILE("\xa2\xff\xfe", "byte 0: a string is not valid UTF-8");
	HOSTILE("\x91\xd6\x01"
		"1.x2",
		"byte 1: a decimal");
	HOSTILE("\xc7\x00\x01", "a decimal"); /* an empty one */
	HOSTILE("\xd9", "cut short");
	assert_true(hm_msgpack_decode(&zone, HM_STR_NULL, &(msgpack_object){0}, NULL) < 0);
	memset(deep, 0x91, sizeof(deep));
	hostile(deep, sizeof(deep), "nested deeper than 32");
	memset(deep, 0x91, 32);
	deep[32] = (char)0x80; /* an empty container counts as a level too */
	hostile(deep, 33, "nested deeper than 32");
}

static void test_too_many_values(void **state)
{
	size_t n = HM_MP_MAX_VALUES;

	hm_buf_reset(&mp);
	hm_mp_put_array(&mp, (uint32_t)n);
	for (size_t i = 0; i < n; i++)
		hm_mp_put_nil(&mp);
	hostile(mp.p, mp.len, "more than 1048576 values");
}

/* Every prefix of a good document is refused; every single-byte change is refused or decodes to
 * something that prints as JSON which parses again. */
static void test_cut_and_flipped(void **state)
{
	struct hm_buf good;
	struct hm_err e;

	hm_buf_init(&good, 4096);
	assert_int_equal(
		hm_json_to_msgpack(HM_STR("{\"a\":[1,-5,70000,1.25,\"text 中\",null,true],\"b\":{\"c\":\""
					  "0123456789012345678901234567890123456789\"},\"d\":[[[]]]}"),
				   &good, &e),
		0);
	for (size_t n = 0; n < good.len; n++)
		hostile(good.p, n, "");
	for (size_t i = 0; i < good.len; i++)
		for (unsigned v = 0; v < 256; v++) {
			msgpack_object o;
			char was = good.p[i];

			good.p[i] = (char)v;
			msgpack_zone_clear(&zone);
			if (hm_msgpack_decode(&zone, hm_buf_str(&good), &o, &e) == 0) {
				hm_buf_reset(&json);
				hm_buf_reset(&mp);
				hm_msgpack_to_json(&o, &json);
				if (hm_json_to_msgpack(hm_buf_str(&json), &mp, &e) < 0)
					fail_msg("%s: %s", e.text, hm_buf_cstr(&json));
			}
			good.p[i] = was;
		}
	hm_buf_fini(&good);
}

static void test_decimal(void **state)
{
	static const char *const good[] = {"0", "-0", "1.5", "10", "1e5", "1E-05", "-12.50e+3"};
	static const char *const bad[] = {"",	"-",  "01",  "1.",  ".5",  "1e",
					  "+1", "1 ", "0x1", "1e+", "NaN", "1.2.3"};

	for (size_t i = 0; i < hm_countof(good); i++)
		assert_true(hm_decimal_valid(hm_str_c(good[i])));
	for (size_t i = 0; i < hm_countof(bad); i++)
		assert_false(hm_decimal_valid(hm_str_c(bad[i])));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_container_sizes),
		cmocka_unit_test(test_refuse),
		cmocka_unit_test(test_lone_high_surrogate),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_number_length),
		cmocka_unit_test(test_ceiling),
		cmocka_unit_test(test_big_strings),
		cmocka_unit_test(test_lookups),
		cmocka_unit_test(test_packing),
		cmocka_unit_test(test_to_json_of_msgpack_only_types),
		cmocka_unit_test(test_hostile_msgpack),
		cmocka_unit_test(test_too_many_values),
		cmocka_unit_test(test_cut_and_flipped),
		cmocka_unit_test(test_decimal),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
