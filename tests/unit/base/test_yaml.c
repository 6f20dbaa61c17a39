/* YAML trees and their places. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/yaml.h"

static struct hm_arena arena;

static int setup(void **state)
{
	hm_arena_init(&arena, NULL, 0);
	return 0;
}

static int teardown(void **state)
{
	hm_arena_fini(&arena);
	return 0;
}

static struct hm_yaml *parse(const char *text)
{
	struct hm_yaml *root = NULL;
	struct hm_err e;

	if (hm_yaml_parse(&arena, "t.yaml", hm_str_c(text), &root, &e) < 0)
		fail_msg("%d:%d %s", e.line, e.col, e.text);
	return root;
}

static void refuse(struct hm_str text, int code, int line, int col, const char *part)
{
	struct hm_yaml *root = NULL;
	struct hm_err e;

	assert_int_equal(hm_yaml_parse(&arena, "t.yaml", text, &root, &e), code);
	assert_null(root);
	assert_string_equal(e.file, "t.yaml");
	if (strstr(e.text, part) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", e.text, part);
	assert_int_equal(e.line, line);
	assert_int_equal(e.col, col);
}

static void test_tree(void **state)
{
	struct hm_yaml *r = parse("a: 1\n"
				  "中: \"5\"\n"
				  "list:\n"
				  "  - x\n"
				  "  - {k: v}\n"
				  "text: |\n"
				  "  two\n"
				  "  lines\n"
				  "none:\n"
				  "tilde: ~\n"
				  "empty: ''\n"),
		       *n;

	assert_int_equal(r->type, HM_YAML_MAP);
	assert_int_equal(r->len, 7);
	n = hm_yaml_get(r, "a");
	assert_true(hm_str_is(n->text, "1"));
	assert_false(n->quoted);
	assert_int_equal(n->line, 1);
	assert_int_equal(n->col, 4);
	n = hm_yaml_get(r, "中");
	assert_true(n->quoted);
	assert_int_equal(n->col, 4); /* in characters */
	n = hm_yaml_get(r, "list");
	assert_int_equal(n->type, HM_YAML_SEQ);
	assert_int_equal(n->len, 2);
	assert_int_equal(n->key_line, 3);
	assert_int_equal(n->first->next->first->line, 5);
	assert_true(hm_str_is(hm_yaml_get(n->first->next, "k")->text, "v"));
	assert_string_equal(hm_yaml_get(r, "text")->text.p, "two\nlines\n");
	assert_int_equal(hm_yaml_get(r, "none")->type, HM_YAML_NULL);
	assert_int_equal(hm_yaml_get(r, "tilde")->type, HM_YAML_NULL);
	assert_int_equal(hm_yaml_get(r, "empty")->type, HM_YAML_SCALAR);
	assert_null(hm_yaml_get(r, "nope"));
	assert_null(hm_yaml_get(n, "x"));
	assert_null(hm_yaml_get(NULL, "x"));
	assert_int_equal(parse("")->type, HM_YAML_NULL);
	assert_int_equal(parse("# only a comment\n")->type, HM_YAML_NULL);
	assert_int_equal(parse("just text")->type, HM_YAML_SCALAR);
}

static void test_refused(void **state)
{
	char deep[200];

	refuse(HM_STR("a: 1\na: 2\n"), HM_EPARSE, 2, 1, "\"a\" stands here twice; it is first on line 1");
	refuse(HM_STR("a: &x 1\n"), HM_EPARSE, 1, 4, "anchors");
	refuse(HM_STR("a: *x\n"), HM_EPARSE, 1, 4, "aliases");
	refuse(HM_STR("a: !!int 1\n"), HM_EPARSE, 1, 4, "tags");
	refuse(HM_STR("a: 1\n---\nb: 1\n"), HM_EPARSE, 2, 1, "second document");
	refuse(HM_STR("[1]: 2\n"), HM_EPARSE, 1, 1, "a key must be plain text");
	refuse(HM_STR("a: [1\n"), HM_EPARSE, 2, 1, "did not find expected");
	refuse(HM_STR("a:\n\t- b\n"), HM_EPARSE, 2, 1, "a tab stands here");
	refuse(HM_STR("a: \xff\n"), HM_EPARSE, 0, 0, "at byte 3");
	memset(deep, '[', sizeof(deep));
	refuse(hm_str_n(deep, sizeof(deep)), HM_ELIMIT, 1, 65, "deeper than 64");
}

static void test_size_limits(void **state)
{
	struct hm_buf b;

	hm_buf_init(&b, HM_YAML_MAX_BYTES + 100);
	while (b.len <= HM_YAML_MAX_BYTES)
		hm_buf_lit(&b, "# 0123456789 0123456789 0123456789\n");
	refuse(hm_buf_str(&b), HM_ELIMIT, 0, 0, "larger than");
	hm_buf_reset(&b);
	for (int i = 0; i <= HM_YAML_MAX_KEYS; i++)
		hm_buf_printf(&b, "k%d: 1\n", i);
	refuse(hm_buf_str(&b), HM_ELIMIT, HM_YAML_MAX_KEYS + 1, 1, "more than 10000 keys");
	hm_buf_fini(&b);
}

static void test_typed_reads(void **state)
{
	struct hm_yaml *r = parse("i: 5\nq: \"5\"\nb: yes\nd: 3s\nm: {}\nx: 1.5\n");
	struct hm_str s;
	struct hm_err e;
	int64_t i;
	uint64_t ms;
	bool b;

	assert_int_equal(hm_yaml_i64(hm_yaml_get(r, "i"), 0, 10, &i, &e), 0);
	assert_int_equal(i, 5);
	assert_int_equal(hm_yaml_i64(hm_yaml_get(r, "i"), 6, 10, &i, &e), HM_ECONFIG);
	assert_string_equal(e.text, "i: expected a whole number from 6 to 10, found \"5\"");
	assert_int_equal(e.line, 1);
	assert_string_equal(e.field, "i");
	assert_int_equal(hm_yaml_i64(hm_yaml_get(r, "q"), 0, 10, &i, &e), HM_ECONFIG);
	assert_int_equal(hm_yaml_i64(hm_yaml_get(r, "x"), 0, 10, &i, &e), HM_ECONFIG);
	assert_int_equal(hm_yaml_bool(hm_yaml_get(r, "b"), &b, &e), 0);
	assert_true(b);
	assert_int_equal(hm_yaml_bool(hm_yaml_get(r, "i"), &b, &e), HM_ECONFIG);
	assert_int_equal(hm_yaml_duration(hm_yaml_get(r, "d"), &ms, &e), 0);
	assert_int_equal(ms, 3000);
	assert_int_equal(hm_yaml_duration(hm_yaml_get(r, "i"), &ms, &e), HM_ECONFIG);
	assert_int_equal(hm_yaml_str(hm_yaml_get(r, "i"), &s, &e), 0);
	assert_int_equal(hm_yaml_str(hm_yaml_get(r, "m"), &s, &e), HM_ECONFIG);
	assert_string_equal(e.text, "m: expected text, found a map");
}

static void test_known_keys(void **state)
{
	static const char *const keys[] = {"url", "method", "headers", NULL};
	struct hm_err e;

	assert_int_equal(hm_yaml_known(parse("url: x\nmethod: y\n"), keys, &e), 0);
	assert_int_equal(hm_yaml_known(parse(""), keys, &e), 0);
	assert_int_equal(hm_yaml_known(parse("url: x\nmehtod: y\n"), keys, &e), HM_ECONFIG);
	assert_string_equal(e.text, "unknown option \"mehtod\"; did you mean \"method\"?");
	assert_int_equal(e.line, 2);
	assert_int_equal(e.col, 1);
	assert_int_equal(hm_yaml_known(parse("zzz: y\n"), keys, &e), HM_ECONFIG);
	assert_string_equal(e.text, "unknown option \"zzz\"");
	assert_int_equal(hm_yaml_known(parse("[a]"), keys, &e), HM_ECONFIG);
}

static void test_files(void **state)
{
	struct hm_yaml *root;
	struct hm_err e;
	char out[600];

	assert_int_equal(hm_yaml_read_file(&arena, "/no/such.yaml", &root, &e), HM_ENOENT);
	hm_err_format(&e, out, sizeof(out));
	assert_string_equal(out, "/no/such.yaml: cannot be opened: No such file or directory");
	assert_int_equal(hm_yaml_read_file(&arena, "/tmp", &root, &e), HM_EIO);
	assert_int_equal(hm_yaml_read_file(&arena, HM_ROOT_DIR "/config/hermod.yaml", &root, &e), 0);
	assert_string_equal(root->file, HM_ROOT_DIR "/config/hermod.yaml");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tree),	    cmocka_unit_test(test_refused),
		cmocka_unit_test(test_size_limits), cmocka_unit_test(test_typed_reads),
		cmocka_unit_test(test_known_keys),  cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
