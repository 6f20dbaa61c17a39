/*
 * test_fast.c - what is done the short way gives what the long way gives
 *
 * The rows of the conformance files are rendered twice: as messages are, and with more roots than hm_strip() takes.
 * Searching for what needs an escape, printing decimals from their text: against the plain way.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/json.h"
#include "rows.h"
#include "tmpl/numfmt.h"
#include "tmpl/put.h"
#include "tmpl/tmpl.h"

static uint64_t random_state = 88172645463325252u;
static uint32_t random_below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 32) % n;
}

/* -- the rows ------------------------------------------------------------------------------- */

struct both {
	struct hm_arena arena;
	struct hm_buf fast, slow;
	unsigned rows, rendered;
};

static int render(struct both *b, const struct hm_tmpl *t, const msgpack_object *data, bool fast,
		  uint64_t steps, size_t output, struct hm_err *e)
{
	static const msgpack_object empty = {.type = MSGPACK_OBJECT_MAP};
	const msgpack_object *roots[12] = {NULL};
	size_t nroots = fast ? 1 + random_below(3) : hm_countof(roots);
	struct hm_tmpl_ctx ctx = {.roots = roots,
				  .nroots = nroots,
				  .arena = &b->arena,
				  .limits = {.steps = steps, .output = output}};
	struct hm_buf *out = fast ? &b->fast : &b->slow;
	int rc;

	for (size_t i = 0; i + 1 < nroots; i++)
		roots[i] = random_below(2) ? &empty : NULL;
	roots[nroots - 1] = data;

	if (random_below(2) == 0) /* room for all, or for nothing */
		hm_buf_fini(out);
	hm_buf_reset(out);
	hm_buf_lit(out, "before ");
	rc = hm_tmpl_render(t, &ctx, out, e);
	assert_int_equal(hm_arena_mark(&b->arena).used, 0);
	return rc;
}

static void compare(struct both *b, const struct hm_tmpl *t, const msgpack_object *data, uint64_t steps,
		    size_t output, struct hm_str row)
{
	struct hm_err ef = {0}, es = {0};
	int fast = render(b, t, data, true, steps, output, &ef),
	    slow = render(b, t, data, false, steps, output, &es);

	if (fast != slow || (fast != HM_ELIMIT && strcmp(ef.text, es.text) != 0) ||
	    !hm_str_eq(hm_buf_str(&b->fast), hm_buf_str(&b->slow)))
		fail_msg("limits %llu, %zu: %.*s\n   short %d %s %.*s\n   long %d %s %.*s",
			 (unsigned long long)steps, output, HM_STRF(row), fast, ef.text,
			 HM_STRF(hm_buf_str(&b->fast)), slow, es.text, HM_STRF(hm_buf_str(&b->slow)));
	b->rendered += fast == 0;
}

static void check_row(struct hm_str row, void *arg)
{
	struct both *b = arg;
	struct hm_tmpl_opts o = {.format = HM_TMPL_PLAIN};
	const msgpack_object *data;
	struct hm_buf packed;
	struct hm_tmpl *t;
	struct hm_str s;
	msgpack_zone zone;
	msgpack_object obj;
	struct hm_err e;

	hm_buf_init(&packed, 64u << 20);
	msgpack_zone_init(&zone, 8192);
	assert_int_equal(hm_json_to_msgpack(row, &packed, NULL), 0);
	assert_int_equal(hm_msgpack_decode(&zone, hm_buf_str(&packed), &obj, NULL), 0);
	data = hm_mp_get(&obj, HM_STR("data"));
	if (hm_mp_str(hm_mp_get(&obj, HM_STR("format")), &s))
		assert_true(hm_tmpl_format_by_name(s, &o.format));
	assert_true(hm_mp_str(hm_mp_get(&obj, HM_STR("template")), &s));
	if (data && data->type == MSGPACK_OBJECT_MAP && !memmem(s.p, s.len, ".data_model", 11) &&
	    hm_tmpl_compile(s, &o, &t, &e) == 0) {
		compare(b, t, data, 0, 0, row);
		compare(b, t, data, 1 + random_below(8), 0, row);
		compare(b, t, data, 0, 1 + random_below(40), row);
		hm_tmpl_free(t);
		b->rows++;
	}
	msgpack_zone_destroy(&zone);
	hm_buf_fini(&packed);
}

static void test_rows(void **state)
{
	const char *dir = HM_TEST_DIR "/conformance/templates";
	DIR *d = opendir(dir);
	struct both b = {.rows = 0};
	struct dirent *ent;

	assert_non_null(d);
	hm_arena_init(&b.arena, NULL, 0);
	hm_buf_init(&b.fast, 8 << 20);
	hm_buf_init(&b.slow, 8 << 20);
	while ((ent = readdir(d)) != NULL) {
		char path[512];
		size_t n = strlen(ent->d_name);

		if (n < 6 || strcmp(ent->d_name + n - 6, ".jsonl") != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, ent->d_name);
		each_row(path, check_row, &b);
	}
	closedir(d);
	assert_true(b.rows > 1000 && b.rendered > b.rows);
	hm_buf_fini(&b.fast);
	hm_buf_fini(&b.slow);
	hm_arena_fini(&b.arena);
}

/* Data of all kinds in all the places where the short way looks. */
static void test_kinds(void **state)
{
	static const char *const values[] = {
		"null",
		"true",
		"false",
		"0",
		"7",
		"99",
		"100",
		"-1",
		"9223372036854775807",
		"9223372036854775808",
		"18446744073709551615",
		"-9223372036854775808",
		"1.5",
		"24.0",
		"0.10",
		"-0.0",
		"0.0",
		"-2.50",
		"1e3",
		"0.00000000000000001",
		"123456789012345678901234567890.25",
		"\"\"",
		"\"x\"",
		"\"<a & 'b'>\"",
		"\"0123456789012345678901234567890123456789012345678901234567890123456789<\"",
		"[]",
		"[1]",
		"[\"a\", \"<b>\"]",
		"[{\"k\": 1}, {\"k\": \"v\"}, {}, null, 3]",
		"{}",
		"{\"k\": null}",
		"{\"k\": 5}",
		"{\"k\": {\"k\": \"deep\"}}",
		"{\"k\": 1, \"k\": \"last\"}",
	};
	static const char *const texts[] = {
		"a${x}b",
		"${x}${x}",
		"${x.k}",
		"${x.k.k}!",
		"${x.k!'none'}",
		"${(x.k.k)!'none'}",
		"<#if x?? >y<#else>n</#if>",
		"<#if x.k?? >y<#else>n</#if>",
		"<#if (x.k.k)?? >y</#if>",
		"<#if x>y<#else>n</#if>",
		"<#if x gt 3>y<#else>n</#if>",
		"<#if x == 7>y</#if>",
		"<#if x.k gte 5>y<#else>n</#if>",
		"<#if x != 0 && x lt 100>y</#if>",
		"<#list x as i>${i},</#list>",
		"<#list x as i>${i?counter}:${i.k!}<#sep>, </#list>",
		"<#list x as i>${i?index}<#else>none</#list>",
		"<#list x as k, v>${k}=${v!}</#list>",
		"<#list x as i><#if i.k?? >${i.k}<#break></#if></#list>",
		"<#setting number_format='0.00'>${x} ${x.k!}",
		"<#attempt>a${x}b<#recover>r</#attempt>",
		"<#compress> ${x}  </#compress>",
		"<#list x as i><#list x as j>${j?index}</#list>${i_has_next?c}</#list>",
		"<#switch x><#case 7>seven<#default>d</#switch>",
	};
	struct both b = {.rows = 0};
	msgpack_zone zone;

	hm_arena_init(&b.arena, NULL, 0);
	hm_buf_init(&b.fast, 8 << 20);
	hm_buf_init(&b.slow, 8 << 20);
	msgpack_zone_init(&zone, 8192);
	for (size_t k = 0; k < hm_countof(texts); k++) {
		for (int f = HM_TMPL_PLAIN; f <= HM_TMPL_HTML; f++) {
			struct hm_tmpl_opts o = {.format = (enum hm_tmpl_format)f};
			struct hm_tmpl *t;
			struct hm_err e;

			if (hm_tmpl_compile(hm_str_c(texts[k]), &o, &t, &e))
				fail_msg("%s: %s", texts[k], e.text);
			for (size_t i = 0; i < hm_countof(values); i++) {
				struct hm_buf packed;
				char json[512];
				msgpack_object obj;

				snprintf(json, sizeof(json), "{\"other\": 1, \"x\": %s, \"y\": 2}",
					 values[i]);
				hm_buf_init(&packed, 1u << 20);
				assert_int_equal(hm_json_to_msgpack(hm_str_c(json), &packed, &e), 0);
				assert_int_equal(hm_msgpack_decode(&zone, hm_buf_str(&packed), &obj, &e), 0);
				compare(&b, t, &obj, 0, 0, hm_str_c(json));
				compare(&b, t, &obj, 2, 0, hm_str_c(json));
				compare(&b, t, &obj, 0, 3, hm_str_c(json));
				hm_buf_fini(&packed);
			}
			hm_tmpl_free(t);
		}
	}
	assert_true(b.rendered > 500);
	msgpack_zone_destroy(&zone);
	hm_buf_fini(&b.fast);
	hm_buf_fini(&b.slow);
	hm_arena_fini(&b.arena);
}

/* The first root with a value wins; of two keys of one root the last counts, also when it is null. */
static void test_roots(void **state)
{
	static const char *const json[] = {
		"{\"a\": null, \"b\": 1, \"c\": 1, \"c\": null, \"d\": 1, \"d\": 2}",
		"{\"z\": 0, \"a\": 2, \"b\": 3, \"c\": 4, \"d\": 5, \"e\": {\"f\": 6}}"};
	msgpack_object obj[2], none = {.type = MSGPACK_OBJECT_NIL};
	const msgpack_object *roots[12] = {&obj[0], &none, NULL, &obj[1]};
	struct hm_buf packed[2], out;
	struct hm_arena arena;
	struct hm_tmpl *t;
	struct hm_err e;
	msgpack_zone zone;

	hm_arena_init(&arena, NULL, 0);
	hm_buf_init(&out, 4096);
	msgpack_zone_init(&zone, 8192);
	for (size_t i = 0; i < 2; i++) {
		hm_buf_init(&packed[i], 4096);
		assert_int_equal(hm_json_to_msgpack(hm_str_c(json[i]), &packed[i], &e), 0);
		assert_int_equal(hm_msgpack_decode(&zone, hm_buf_str(&packed[i]), &obj[i], &e), 0);
	}
	assert_int_equal(hm_tmpl_compile(HM_STR("${a}${b}${c}${d}${e.f}<#if c == 4>!</#if><#if g?? >g</#if>"),
					 NULL, &t, &e),
			 0);
	for (size_t n = 4; n <= 12; n += 8) {
		struct hm_tmpl_ctx ctx = {.roots = roots, .nroots = n, .arena = &arena};

		hm_buf_reset(&out);
		assert_int_equal(hm_tmpl_render(t, &ctx, &out, &e), 0);
		assert_true(hm_str_is(hm_buf_str(&out), "21426!"));
	}
	hm_tmpl_free(t);
	for (size_t i = 0; i < 2; i++)
		hm_buf_fini(&packed[i]);
	msgpack_zone_destroy(&zone);
	hm_buf_fini(&out);
	hm_arena_fini(&arena);
}

/* -- the pieces ----------------------------------------------------------------------------- */

static void test_markup_find(void **state)
{
	static const char some[] = "&<>\"'%(=?#!~aZ\x7f\x80\xa6\xa7\xbc\xbe\xff";

	for (int round = 0; round < 200000; round++) {
		size_t n = random_below(70);
		char *s = malloc(n + 1); /* so that a byte read beyond it shows */
		struct hm_str v = hm_str_n(s, n);

		assert_non_null(s);
		s = realloc(s, n ? n : 1);
		v.p = s;
		for (size_t i = 0; i < n; i++)
			s[i] = random_below(24) ? 'x' : some[random_below(sizeof(some) - 1)];
		if (hm_markup_find(v) != hm_markup_find_plain(v))
			fail_msg("%zu, not %zu, in %.*s", hm_markup_find(v), hm_markup_find_plain(v),
				 HM_STRF(v));
		free(s);
	}
	for (int c = 0; c < 256; c++) { /* every byte at every place */
		for (size_t n = 1; n < 40; n++)
			for (size_t at = 0; at < n; at++) {
				char s[40];

				memset(s, 'x', sizeof(s));
				s[at] = (char)c;
				assert_int_equal(hm_markup_find(hm_str_n(s, n)),
						 hm_markup_find_plain(hm_str_n(s, n)));
			}
	}
}

static void test_copies(void **state)
{
	char from[200], to[200];

	for (size_t i = 0; i < sizeof(from); i++)
		from[i] = (char)random_below(256);
	for (size_t n = 0; n < 150; n++) {
		memset(to, 1, sizeof(to));
		hm_copy(to, from, n);
		assert_memory_equal(to, from, n);
		for (size_t i = n; i < sizeof(to); i++)
			assert_int_equal(to[i], 1);
		hm_copy_padded(to, from, n);
		assert_memory_equal(to, from, n);
		for (size_t k = 0; k < n; k++) {
			memcpy(to, from, sizeof(to));
			assert_true(hm_same(to, from, n));
			to[k] ^= 1;
			assert_false(hm_same(to, from, n));
		}
	}
}

/* What is said to be shown as it stands is what the number prints as. */
static void test_decimals(void **state)
{
	unsigned shown = 0;

	for (int round = 0; round < 300000; round++) {
		char text[48], want[HM_DEC_MAX_TEXT];
		struct hm_str s = hm_str_n(text, 0);
		struct hm_dec d;
		size_t n, digits = 1 + random_below(round % 10 ? 5 : 22), point = random_below(8);

		if (random_below(4) == 0)
			text[s.len++] = '-';
		for (size_t i = 0; i < digits; i++)
			text[s.len++] = random_below(3) ? (char)('0' + random_below(10)) : '0';
		if (point) {
			text[s.len++] = '.';
			for (size_t i = 0; i < point * (1 + random_below(3)) && s.len < 44; i++)
				text[s.len++] = random_below(2) ? (char)('0' + random_below(10)) : '0';
		}
		if (random_below(50) == 0)
			text[random_below((uint32_t)s.len)] = "e+.x"[random_below(4)];
		n = hm_decimal_shown(s);
		if (n == 0)
			continue;
		shown++;
		if (!hm_dec_parse(s, &d) || hm_num_computer(d, want) != n || memcmp(want, text, n) != 0)
			fail_msg("%.*s is shown as %.*s", HM_STRF(s), (int)n, text);
	}
	assert_true(shown > 50000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_markup_find), cmocka_unit_test(test_copies),
		cmocka_unit_test(test_decimals),    cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_rows),	    cmocka_unit_test(test_roots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
