/* Unified diffs: known ones, and random pairs that patch(1) turns into each other. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "templates/diff.h"

static void check(const char *a, const char *b, const char *want)
{
	struct hm_buf out;

	hm_buf_init(&out, 1 << 20);
	assert_int_equal(hm_diff(&out, "a", hm_str_c(a), "b", hm_str_c(b)), *want != '\0');
	assert_string_equal(hm_buf_cstr(&out), want);
	hm_buf_fini(&out);
}

static void test_known(void **state)
{
	check("", "", "");
	check("x\n", "x\n", "");
	check("x\n", "y\n", "--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y\n");
	check("", "y\n", "--- a\n+++ b\n@@ -0,0 +1 @@\n+y\n");
	check("x\n", "", "--- a\n+++ b\n@@ -1 +0,0 @@\n-x\n");
	check("x\n", "x", "--- a\n+++ b\n@@ -1 +1 @@\n-x\n+x\n\\ No newline at end of file\n");
	check("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n",
	      "--- a\n+++ b\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n");
	/* two hunks that are near become one, far ones two */
	check("a\n1\n2\n3\n4\n5\n6\nb\n", "A\n1\n2\n3\n4\n5\n6\nB\n",
	      "--- a\n+++ b\n@@ -1,8 +1,8 @@\n-a\n+A\n 1\n 2\n 3\n 4\n 5\n 6\n-b\n+B\n");
	check("a\n1\n2\n3\n4\n5\n6\n7\nb\n", "A\n1\n2\n3\n4\n5\n6\n7\nB\n",
	      "--- a\n+++ b\n@@ -1,4 +1,4 @@\n-a\n+A\n 1\n 2\n 3\n@@ -6,4 +6,4 @@\n 5\n 6\n 7\n-b\n+B\n");
}

static void write_file(const char *path, struct hm_str s)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(s.p, 1, s.len, f), s.len);
	fclose(f);
}

static size_t make(char *to, unsigned *seed, int n, int words)
{
	size_t len = 0;

	for (int i = 0; i < n; i++)
		len += (size_t)sprintf(to + len, "%d%s", rand_r(seed) % words,
				       i + 1 < n || rand_r(seed) % 4 ? "\n" : "");
	return len;
}

static void test_patch_agrees(void **state)
{
	char dir[] = "/tmp/hm-diff-XXXXXX", a[8192], b[8192], got[8192], path[64], cmd[256];
	unsigned seed = 7;

	assert_non_null(mkdtemp(dir));
	for (int i = 0; i < 150; i++) {
		size_t na = make(a, &seed, 1 + rand_r(&seed) % 40, 2 + i % 8),
		       nb = make(b, &seed, 1 + rand_r(&seed) % 40, 2 + i % 8);
		struct hm_buf out;
		FILE *f;

		hm_buf_init(&out, 1 << 20);
		if (hm_diff(&out, "x", hm_str_n(a, na), "x", hm_str_n(b, nb))) {
			snprintf(path, sizeof(path), "%s/x", dir);
			write_file(path, hm_str_n(a, na));
			snprintf(path, sizeof(path), "%s/d", dir);
			write_file(path, hm_buf_str(&out));
			snprintf(cmd, sizeof(cmd), "cd %s && patch -s x d", dir);
			if (system(cmd) != 0)
				fail_msg("patch refuses:\n%s", hm_buf_cstr(&out));
			snprintf(path, sizeof(path), "%s/x", dir);
			f = fopen(path, "rb");
			assert_non_null(f);
			assert_int_equal(fread(got, 1, sizeof(got), f), nb);
			fclose(f);
			assert_memory_equal(got, b, nb);
		}
		hm_buf_fini(&out);
	}
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	assert_int_equal(system(cmd), 0);
}

/* More edits than are looked for: one block out, one in. */
static void test_nothing_in_common(void **state)
{
	static char a[40000], b[40000];
	size_t na = 0, nb = 0;
	struct hm_buf out;

	for (int i = 0; i < 1500; i++) {
		na += (size_t)sprintf(a + na, "a%d\n", i);
		nb += (size_t)sprintf(b + nb, "b%d\n", i);
	}
	hm_buf_init(&out, 1 << 20);
	assert_true(hm_diff(&out, "a", hm_str_n(a, na), "b", hm_str_n(b, nb)));
	assert_non_null(strstr(hm_buf_cstr(&out), "@@ -1,1500 +1,1500 @@\n-a0\n"));
	hm_buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_patch_agrees),
		cmocka_unit_test(test_nothing_in_common),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
