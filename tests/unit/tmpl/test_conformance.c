/*
 * test_conformance.c - every row of tests/conformance/templates/ (see its README.md) and tests/conformance/more.jsonl
 *
 * A row passes when the output is exactly the expected one, or the error is of the expected class; "type"
 * and "other" count as one, as the README allows, but the strict figure is printed as well. One row that
 * fails fails the test. HM_VERBOSE=1 prints each failing row.
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
#include "tmpl/cases.h"

struct tally {
	struct hm_arena *arena;
	unsigned rows, pass, strict;
};

static void check_row(struct hm_str row, void *arg)
{
	struct tally *t = arg;
	struct hm_buf out, expected, answer;
	msgpack_zone zone;
	msgpack_object want, got;
	struct hm_str a, b;
	bool pass = false, strict = false;

	hm_buf_init(&out, 64u << 20);
	hm_buf_init(&expected, 64u << 20);
	hm_buf_init(&answer, 64u << 20);
	msgpack_zone_init(&zone, 8192);
	hm_tmpl_case(row, t->arena, &out);
	assert_int_equal(hm_json_to_msgpack(row, &expected, NULL), 0);
	assert_int_equal(hm_json_to_msgpack(hm_buf_str(&out), &answer, NULL), 0);
	assert_int_equal(hm_msgpack_decode(&zone, hm_buf_str(&expected), &want, NULL), 0);
	assert_int_equal(hm_msgpack_decode(&zone, hm_buf_str(&answer), &got, NULL), 0);
	if (hm_mp_str(hm_mp_get(&want, HM_STR("expected")), &a)) {
		pass = strict = hm_mp_str(hm_mp_get(&got, HM_STR("output")), &b) && hm_str_eq(a, b);
	} else if (hm_mp_str(hm_mp_get(&want, HM_STR("error")), &a) &&
		   hm_mp_str(hm_mp_get(&got, HM_STR("error")), &b)) {
		strict = hm_str_eq(a, b);
		pass = strict || ((hm_str_is(a, "type") || hm_str_is(a, "other")) &&
				  (hm_str_is(b, "type") || hm_str_is(b, "other")));
	}
	if (getenv("HM_VERBOSE") && !pass)
		print_message("%.*s\n   -> %.*s\n", HM_STRF(row), HM_STRF(hm_buf_str(&out)));
	t->rows++;
	t->pass += pass;
	t->strict += strict;
	msgpack_zone_destroy(&zone);
	hm_buf_fini(&answer);
	hm_buf_fini(&expected);
	hm_buf_fini(&out);
}

static void run_file(const char *dir, const char *name, struct hm_arena *arena, struct tally *all)
{
	struct tally t = {.arena = arena};
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	each_row(path, check_row, &t);
	print_message("%-18s %4u of %4u%s", name, t.pass, t.rows, t.pass == t.rows ? "" : "  <--");
	if (t.strict != t.pass)
		print_message("  (%u with type and other told apart)", t.strict);
	print_message("\n");
	all->rows += t.rows;
	all->pass += t.pass;
	all->strict += t.strict;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_cases(const struct dirent *d)
{
	return hm_str_ends(hm_str_c(d->d_name), HM_STR(".jsonl"));
}

static void test_all_rows(void **state)
{
	const char *dir = HM_TEST_DIR "/conformance/templates";
	struct dirent **files;
	struct tally all = {0};
	struct hm_arena arena;
	int n = scandir(dir, &files, is_cases, by_name);

	assert_true(n > 20);
	hm_arena_init(&arena, NULL, 0);
	for (int i = 0; i < n; i++) {
		run_file(dir, files[i]->d_name, &arena, &all);
		free(files[i]);
	}
	run_file(HM_TEST_DIR "/conformance", "more.jsonl", &arena, &all);
	free(files);
	hm_arena_fini(&arena);
	print_message("%-18s %4u of %4u (%u strictly)\n", "all", all.pass, all.rows, all.strict);
	assert_int_equal(all.pass, all.rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_rows)};

	return cmocka_run_group_tests_name("template conformance", tests, NULL, NULL);
}
