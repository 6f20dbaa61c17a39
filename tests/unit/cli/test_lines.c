/* Messages from files: JSON Lines and CSV, with defaults, odd line ends, quotes and mistakes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "cli/lines.h"

struct file {
	FILE *f;
	struct hm_lines l;
	msgpack_zone zone;
	struct hm_buf json;
	struct hm_err e;
};

static int open_text(struct file *x, const char *text, enum hm_lines_format format)
{
	x->f = fmemopen((char *)(uintptr_t)text, strlen(text), "r");
	assert_non_null(x->f);
	assert_true(msgpack_zone_init(&x->zone, 8192));
	hm_buf_init(&x->json, 1 << 20);
	hm_err_clear(&x->e);
	return hm_lines_open(&x->l, x->f, format, &x->e);
}

static void shut(struct file *x)
{
	hm_lines_close(&x->l);
	fclose(x->f);
	msgpack_zone_destroy(&x->zone);
	hm_buf_fini(&x->json);
}

static void wants(struct file *x, uint64_t line, const char *json)
{
	msgpack_object root;
	int rc = hm_lines_next(&x->l, &x->zone, &root, &x->e);

	if (rc != 1)
		fail_msg("wanted %s, got %d: %s", json, rc, x->e.text);
	hm_buf_reset(&x->json);
	hm_msgpack_to_json(&root, &x->json);
	assert_string_equal(hm_buf_cstr(&x->json), json);
	assert_int_equal(x->l.line, line);
}

static void wants_error(struct file *x, uint64_t line, const char *says)
{
	msgpack_object root;

	assert_true(hm_lines_next(&x->l, &x->zone, &root, &x->e) < 0);
	if (!strstr(x->e.text, says))
		fail_msg("wanted \"%s\", got \"%s\"", says, x->e.text);
	assert_int_equal(x->l.line, line);
}

static void wants_end(struct file *x)
{
	msgpack_object root;

	assert_int_equal(hm_lines_next(&x->l, &x->zone, &root, &x->e), 0);
}

static void test_json_lines(void **state)
{
	struct file x;
	struct hm_buf v;

	assert_int_equal(
		open_text(
			&x,
			"\xef\xbb\xbf{\"to\":\"a\"}\r\n\n  "
			"\n{\"to\":\"b\",\"channel\":\"own\"}\n{\"to\":\n[1]\n{\"to\":\"c\",\"route\":\"r\"}",
			HM_LINES_JSON),
		0);
	hm_buf_init(&v, 100);
	hm_mp_key(&v, "apns");
	x.l.defaults[0].key = HM_STR("channel");
	x.l.defaults[0].value = hm_buf_str(&v);
	x.l.n_defaults = 1;
	wants(&x, 1, "{\"to\":\"a\",\"channel\":\"apns\"}");
	wants(&x, 4, "{\"to\":\"b\",\"channel\":\"own\"}");
	wants_error(&x, 5, "column 7");
	wants(&x, 6, "[1]"); /* no message, but that is for the reader of messages to say */
	wants(&x, 7, "{\"to\":\"c\",\"route\":\"r\"}"); /* a route needs no channel */
	wants_end(&x);
	hm_buf_fini(&v);
	shut(&x);
}

static void test_csv(void **state)
{
	struct file x;

	assert_int_equal(
		open_text(&x,
			  "to,user,addr.sms,data.name,data.n:number,data.ok:bool,data.list:json,at,tags\r\n"
			  "a@b,u1,,\"Li, \"\"Lei\"\"\",1.50,yes,\"[1,\n2]\",1767323045000,x  y\r\n"
			  "\r\n"
			  ",u2,+86,,,,,2026-01-02T03:04:05Z,\n"
			  "a,b\n"
			  "a,,,x,1e,,,,\n"
			  "a,,,x,,maybe,,,\n"
			  "a,,,x,,,{,,\n"
			  "a,,,\"x\"y,,,,,\n"
			  "last,,,x,,,,,",
			  HM_LINES_CSV),
		0);
	wants(&x, 2,
	      "{\"at\":1767323045000,\"tags\":[\"x\",\"y\"],\"to\":{\"addr\":\"a@b\",\"user\":\"u1\","
	      "\"data\":{\"name\":\"Li, \\\"Lei\\\"\",\"n\":1.50,\"ok\":true,\"list\":[1,2]}}}");
	wants(&x, 5,
	      "{\"at\":\"2026-01-02T03:04:05Z\",\"to\":{\"user\":\"u2\",\"addr\":{\"sms\":\"+86\"},\"data\":{"
	      "\"name\":\"\"}}}");
	wants_error(&x, 6, "2 fields, but the header has 9 columns");
	wants_error(&x, 7, "data.n: \"1e\" is not a number");
	wants_error(&x, 8, "data.ok: \"maybe\"");
	wants_error(&x, 9, "data.list");
	wants_error(&x, 10, "text follows a quoted field");
	wants(&x, 11, "{\"to\":{\"addr\":\"last\",\"data\":{\"name\":\"x\"}}}");
	wants_end(&x);
	shut(&x);
}

static void test_bad_headers(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{"\n", "header row"},
		{"to,usr\n", "did you mean \"user\""},
		{"to,data.\n", "needs a name"},
		{"to,data.x:float\n", "text, number, bool or json"},
		{"to,to\n", "stands there twice"},
		{"to,\"x\n", "a quoted field does not end"},
	};

	for (size_t i = 0; i < hm_countof(rows); i++) {
		struct file x;

		assert_true(open_text(&x, rows[i].text, HM_LINES_CSV) < 0);
		if (!strstr(x.e.text, rows[i].says))
			fail_msg("%s: %s", rows[i].text, x.e.text);
		shut(&x);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json_lines),
		cmocka_unit_test(test_csv),
		cmocka_unit_test(test_bad_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
