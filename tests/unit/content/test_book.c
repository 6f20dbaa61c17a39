/* The book: files and managed versions, fragments, snapshots seen by several threads. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "content/content.h"

#include "content_help.h"

static struct hm_template *version(const char *name, uint32_t v, const char *text)
{
	struct hm_template *t = NULL;

	H.n = 0;
	assert_int_equal(
		hm_template_compile(hm_str_c(name), v, hm_str_c(text), name, opts(true, NULL), note, &H, &t),
		0);
	return t;
}

static void put(struct hm_book *b, const char *name, uint32_t n, uint32_t current, const char *const *texts)
{
	struct hm_template *v[8];

	for (uint32_t i = 0; i < n; i++)
		v[n - 1 - i] = version(name, i + 1, texts[i]); /* any order */
	assert_int_equal(hm_book_put(b, hm_str_c(name), v, n, current), 0);
}

static void put1(struct hm_book *b, const char *name, const char *text)
{
	put(b, name, 1, 1, &text);
}

static void assert_found(struct hm_book *b, const char *ref, uint32_t want)
{
	struct hm_template_set *s = hm_book_take(b);
	struct hm_err e = {0};
	const struct hm_template *t = hm_template_find(s, hm_str_c(ref), &e);

	assert_non_null(t);
	assert_int_equal(hm_template_version(t), want);
	hm_template_set_unref(s);
}

static void assert_not_found(struct hm_book *b, const char *ref, const char *text)
{
	struct hm_template_set *s = hm_book_take(b);
	struct hm_err e = {0};

	assert_null(hm_template_find(s, hm_str_c(ref), &e));
	assert_string_equal(e.text, text);
	hm_template_set_unref(s);
}

static char folder[64];

static void write_file(const char *name, const char *text)
{
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void remove_file(const char *name)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	assert_int_equal(unlink(path), 0);
}

static int load(struct hm_book *b)
{
	H.n = 0;
	return hm_book_load_files(b, hm_str_c(folder), opts(true, NULL), note, &H);
}

static int make_folder(void **state)
{
	char sub[100];

	snprintf(folder, sizeof(folder), "/tmp/hm-book-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(sub, sizeof(sub), "%s/order", folder);
	return mkdir(sub, 0755);
}

static int drop_folder(void **state)
{
	char cmd[100];

	snprintf(cmd, sizeof(cmd), "rm -r %s", folder);
	return system(cmd);
}

static void versions_and_files(void **state)
{
	static const char *const texts[] = {"body: one\n", "body: two\n", "body: three\n"};
	struct hm_book *b = hm_book_new();
	struct hm_template_set *old, *now;

	assert_not_found(b, "w", "no template \"w\"");
	write_file("w.yaml", "body: file\n");
	write_file("order/shipped.yaml", "body: sub\n");
	write_file("ignored.txt", "}");
	write_file(".hidden.yaml", "}");
	assert_int_equal(load(b), 0);
	assert_found(b, "w", 0);
	assert_found(b, "order/shipped", 0);
	assert_not_found(b, "w@1", "the template \"w\" has no version 1 that could be sent");
	old = hm_book_take(b);
	put(b, "w", 3, 2, texts);
	assert_found(b, "w", 2);
	assert_found(b, "w@1", 1);
	assert_found(b, "w@3", 3);
	assert_not_found(b, "w@4", "the template \"w\" has no version 4 that could be sent");
	assert_not_found(b, "w@", "no template \"w@\": after @ comes the number of a version");
	assert_not_found(b, "w@x", "no template \"w@x\": after @ comes the number of a version");
	assert_not_found(b, "x@1", "no template \"x\"");
	put(b, "w", 2, 0, texts);
	assert_not_found(b, "w", "no version of the template \"w\" is published");
	assert_found(b, "w@2", 2);
	/* what was taken before is what it was */
	assert_int_equal(hm_template_set_count(old), 2);
	assert_int_equal(hm_template_version(hm_template_set_at(old, 1)), 0);
	/* the managed layer survives a reload of the files, and a file comes back when nothing hides it */
	write_file("w.yaml", "body: newer\n");
	remove_file("order/shipped.yaml");
	assert_int_equal(load(b), 0);
	assert_found(b, "w@2", 2);
	assert_not_found(b, "order/shipped", "no template \"order/shipped\"");
	hm_book_drop(b, HM_STR("w"));
	assert_found(b, "w", 0);
	now = hm_book_take(b);
	assert_int_equal(hm_template_set_count(now), 1);
	assert_true(hm_str_starts(hm_template_source(hm_template_set_at(now, 0)), HM_STR("body: newer")));
	hm_template_set_unref(now);
	put1(b, "v", "body: managed only\n");
	hm_book_drop(b, HM_STR("v"));
	assert_not_found(b, "v", "no template \"v\"");
	hm_book_drop(b, HM_STR("v"));
	hm_template_set_unref(old);
	hm_book_free(b);
}

static void one_bad_file_changes_nothing(void **state)
{
	struct hm_book *b = hm_book_new();
	char want[200];

	write_file("a.yaml", "body: a\n");
	assert_int_equal(load(b), 0);
	write_file("a.yaml", "body: ${\n");
	write_file("b.yaml", "bdoy: b\n");
	write_file("c.yaml", "body: c\n");
	write_file("x@1.yaml", "body: c\n");
	assert_int_equal(load(b), HM_ECONFIG);
	assert_int_equal(H.n, 3);
	snprintf(want, sizeof(want), "%s/b.yaml:1:1: \"bdoy\" is not known here; did you mean \"body\"?",
		 folder);
	assert_true(strcmp(H.reports[0], want) == 0 || strcmp(H.reports[1], want) == 0 ||
		    strcmp(H.reports[2], want) == 0);
	assert_found(b, "a", 0);
	assert_not_found(b, "c", "no template \"c\"");
	remove_file("x@1.yaml");
	hm_book_free(b);
	b = hm_book_new();
	H.n = 0;
	assert_int_equal(hm_book_load_files(b, HM_STR("/nowhere/at/all"), opts(true, NULL), note, &H), 0);
	assert_int_equal(hm_book_load_files(b, HM_STR(""), opts(true, NULL), note, &H), 0);
	hm_book_free(b);
}

static void bad_in(struct hm_book *b, const char *text, ...)
{
	struct hm_template_set *s = hm_book_take(b);
	va_list ap;

	va_start(ap, text);
	bad_with(text, s, ap);
	va_end(ap);
	hm_template_set_unref(s);
}

static void fragments_go_into_texts(void **state)
{
	static const char *const footers[] = {"kind: fragment\ntext: 'v1 ${shop}'\n",
					      "kind: fragment\ntext: 'v2 ${shop}'\n"};
	struct hm_book *b = hm_book_new();
	struct hm_template *t;
	struct hm_content c;

	put(b, "footer", 2, 2, footers);
	put1(b, "parts/sig", "kind: fragment\ntext: '<#include \"logo\">!'\n"); /* beside it */
	put1(b, "parts/logo", "kind: fragment\ntext: LOGO\n");
	put1(b, "top", "kind: fragment\ntext: '<#include \"parts/sig\"><#include \"/footer\">'\n");
	put1(b, "md", "kind: fragment\nformat: markdown\ntext: '**${shop}**'\n");
	put1(b, "message", "body: x\n");
	H.set = hm_book_take(b);
	t = good_with("body: '${shop}: <#include \"footer\"> <#include \"footer@1\"> <#include \"/top\">'\n",
		      true, H.set);
	assert_int_equal(render(t, HM_MED_PUSH, "{\"shop\":\"S\"}", NULL, &c), 0);
	assert_str(c.body, "S: v2 S v1 S LOGO!v2 S");
	hm_template_unref(t);
	t = good_with("format: markdown\nbody: '<#include \"md\">'\n", true, H.set);
	assert_int_equal(render(t, HM_MED_PUSH, "{\"shop\":\"a*b\"}", NULL, &c), 0);
	assert_str(c.body, "**a\\*b**");
	hm_template_unref(t);
	bad_in(b, "body: |\n  <#include \"fooder\">\n",
	       "w.yaml:1:7: body: the included fragment: no template \"fooder\"", NULL);
	bad_in(b, "body: '<#include \"footer@9\">'\n", "the template \"footer\" has no version 9", NULL);
	bad_in(b, "body: '<#include \"../x\">'\n", "the include \"../x\" leads nowhere", NULL);
	bad_in(b, "body: '<#include \"message\">'\n", "\"message\" is a message and cannot be included",
	       NULL);
	bad_in(b, "body: '<#include \"w\">'\n", "\"w\" is a message and cannot be included", NULL);
	bad_in(b, "body: '<#include \"md\">'\n",
	       "the fragment \"md\" is markdown, the text it goes into is plain", NULL);
	bad_in(b, "format: markdown\ntitle: '<#include \"md\">'\nbody: x\n",
	       "w.yaml:2:8: title: the fragment \"md\" is markdown", NULL);
	/* the format is looked at again when it runs: the fragment may have changed */
	t = good_with("body: '<#include \"f\" + \"ooter\"> <#include \"m\" + \"d\">'\n", true, H.set);
	assert_int_not_equal(render(t, HM_MED_PUSH, "{\"shop\":\"S\"}", NULL, &c), 0);
	assert_non_null(strstr(render_err.text, "its format is not that of the text it goes into"));
	hm_template_unref(t);
	t = good_with("body: '<#include \"mess\" + \"age\">'\n", true, H.set);
	assert_int_not_equal(render(t, HM_MED_PUSH, "{}", NULL, &c), 0);
	assert_non_null(strstr(render_err.text, "it is a message, not a fragment"));
	assert_int_not_equal(hm_template_render(hm_template_find(H.set, HM_STR("footer"), NULL), HM_MED_PUSH,
						&(struct hm_render_env){.arena = &H.arena}, &c, &render_err),
			     0);
	assert_string_equal(render_err.text, "\"footer\" is a fragment: it is included, not sent");
	hm_template_unref(t);
	hm_template_set_unref(H.set);
	H.set = NULL;
	hm_book_free(b);
}

static void circles_are_refused_with_the_way_round(void **state)
{
	struct hm_book *b = hm_book_new();

	put1(b, "a", "kind: fragment\ntext: '<#include \"b\">'\n");
	put1(b, "b", "kind: fragment\ntext: '<#include \"w\">'\n");
	put1(b, "p", "kind: fragment\ntext: '<#include \"q\">'\n");
	put1(b, "q", "kind: fragment\ntext: '<#include \"p\">'\n");
	bad_in(b, "kind: fragment\ntext: 'x <#include \"a\">'\n",
	       "w.yaml:2:7: text: the includes go round in a circle: w -> a -> b -> w", NULL);
	bad_in(b, "kind: fragment\ntext: 'x <#include \"w\">'\n", "the includes go round in a circle: w -> w",
	       NULL);
	bad_in(b, "body: '<#include \"p\">'\n", "the includes go round in a circle: p -> q -> p", NULL);
	/* twice is no circle */
	put1(b, "b", "kind: fragment\ntext: B\n");
	H.set = hm_book_take(b);
	hm_template_unref(
		good_with("body: '<#include \"a\"><#include \"b\"><#include \"a\">'\n", true, H.set));
	hm_template_set_unref(H.set);
	H.set = NULL;
	hm_book_free(b);
}

static void fields_cover_fragments(void **state)
{
	struct hm_book *b = hm_book_new();

	put1(b, "free", "kind: fragment\ntext: '${shop} ${city}'\n");
	put1(b, "said", "kind: fragment\ntext: '${shop}'\nfields: {shop: string}\n");
	bad_in(b, "body: '<#include \"free\">'\nfields: {shop: string}\n",
	       "w.yaml:1:7: body: the fragment \"free\": \"city\" is used, but not declared under fields",
	       NULL);
	bad_in(b, "body: '<#include \"said\">'\nfields: {shop: string, town: string}\n",
	       "w.yaml:2:24: fields.town: is declared, but no text uses it", NULL);
	H.set = hm_book_take(b);
	hm_template_unref(good_with("body: '<#include \"free\">'\nfields: {shop: string, city: string}\n",
				    true, H.set));
	hm_template_unref(good_with("body: '${x}<#include \"said\">'\nfields: {x: string}\n", true, H.set));
	hm_template_set_unref(H.set);
	H.set = NULL;
	hm_book_free(b);
}

static void files_include_each_other_in_any_order(void **state)
{
	struct hm_book *b = hm_book_new();

	write_file("a.yaml", "body: '<#include \"zz\">'\n");
	write_file("b.yaml", "kind: fragment\ntext: b\n");
	write_file("c.yaml", "body: c\n");
	write_file("zz.yaml", "kind: fragment\ntext: '<#include \"b\">'\n");
	assert_int_equal(load(b), 0);
	write_file("b.yaml", "kind: fragment\ntext: 'b<#include \"zz\">'\n");
	assert_int_equal(load(b), HM_ECONFIG);
	assert_int_equal(H.n, 3); /* whoever comes past it is told */
	assert_found(b, "a", 0);
	hm_book_free(b);
}

#define ROUNDS 300
struct reader {
	struct hm_book *book;
	atomic_bool *stop;
	struct hm_settings settings;
	size_t seen;
};

static void *read_on(void *arg)
{
	struct reader *r = arg;
	struct hm_book_eye eye = {.book = r->book};
	struct hm_arena a, scratch;

	hm_arena_init(&a, NULL, 0);
	hm_arena_init(&scratch, NULL, 0);
	do {
		struct hm_template_set *mine = hm_template_set_ref(hm_book_look(&eye));
		const struct hm_template *t = hm_template_find(mine, HM_STR("w"), NULL);
		struct hm_template_set *other = hm_book_take(r->book);
		struct hm_render_env env = {
			.arena = &a, .scratch = &scratch, .settings = &r->settings, .set = mine};
		struct hm_content c;
		struct hm_err e;

		if (t != NULL) {
			if (hm_template_render(t, HM_MED_PUSH, &env, &c, &e) != 0)
				abort();
			r->seen++;
		}
		hm_arena_reset(&a);
		hm_template_set_unref(other);
		hm_template_set_unref(mine);
	} while (!atomic_load(r->stop));
	hm_template_set_unref(eye.set);
	hm_arena_fini(&a);
	hm_arena_fini(&scratch);
	return NULL;
}

static void threads_read_while_it_changes(void **state)
{
	struct hm_book *b = hm_book_new();
	atomic_bool stop = false;
	struct reader r[3];
	pthread_t t[3];

	write_file("w.yaml", "body: 'file ${1+1} <#include \"b\">'\n");
	write_file("b.yaml", "kind: fragment\ntext: b\n");
	assert_int_equal(load(b), 0);
	opts(true, NULL);
	for (int i = 0; i < 3; i++) {
		r[i] = (struct reader){.book = b, .stop = &stop, .settings = H.settings};
		assert_int_equal(pthread_create(&t[i], NULL, read_on, &r[i]), 0);
	}
	for (int i = 0; i < ROUNDS; i++) {
		put1(b, "w", "body: 'managed ${2+2} <#include \"b\">'\n");
		if (i % 10 == 0)
			assert_int_equal(load(b), 0);
		hm_book_drop(b, HM_STR("w"));
	}
	atomic_store(&stop, true);
	for (int i = 0; i < 3; i++) {
		pthread_join(t[i], NULL);
		assert_true(r[i].seen > 0);
	}
	hm_book_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(versions_and_files, make_folder, drop_folder),
		cmocka_unit_test_setup_teardown(one_bad_file_changes_nothing, make_folder, drop_folder),
		cmocka_unit_test(fragments_go_into_texts),
		cmocka_unit_test(circles_are_refused_with_the_way_round),
		cmocka_unit_test(fields_cover_fragments),
		cmocka_unit_test_setup_teardown(files_include_each_other_in_any_order, make_folder,
						drop_folder),
		cmocka_unit_test_setup_teardown(threads_read_while_it_changes, make_folder, drop_folder),
	};

	return cmocka_run_group_tests(tests, help_setup, help_teardown);
}
