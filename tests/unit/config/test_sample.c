/* The sample files are the manual: complete, true, and valid. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/buf.h"
#include "config/config.h"

#define SAMPLE	HM_ROOT_DIR "/config/hermod.yaml"
#define MINIMAL HM_ROOT_DIR "/config/hermod-minimal.yaml"

static void show_error(void *arg, const struct hm_err *e)
{
	char text[600];

	hm_err_format(e, text, sizeof(text));
	print_message("%s\n", text);
}

static void test_samples_load(void **state)
{
	struct hm_config *sample = NULL, *minimal = NULL, *defaults = NULL;

	assert_int_equal(hm_config_load(SAMPLE, NULL, &sample, show_error, NULL), 0);
	assert_int_equal(hm_config_load(MINIMAL, NULL, &minimal, show_error, NULL), 0);
	assert_int_equal(hm_config_load(NULL, NULL, &defaults, show_error, NULL), 0);
	assert_int_equal(hm_config_diff(defaults, sample, NULL, NULL), 0);
	hm_config_unref(sample);
	hm_config_unref(minimal);
	hm_config_unref(defaults);
}

/* The examples of channels, routes, facts and policies, taken out of their comments, are valid as well. References stay
 * unresolved here: the files they name are not on this machine. */
static void test_examples_load(void **state)
{
	struct hm_config *cfg = NULL;
	char line[512];
	bool examples = false;
	struct hm_buf text;
	FILE *f = fopen(SAMPLE, "r");

	assert_non_null(f);
	hm_buf_init(&text, 1 << 20);
	while (fgets(line, sizeof(line), f)) {
		struct hm_str s = hm_str_c(line);

		if (s.p[0] != '#' && s.p[0] != ' ' && hm_str_ends(s, HM_STR(": {}\n"))) {
			examples = true;
			hm_buf_puts(&text, hm_str_n(s.p, s.len - 4));
			hm_buf_putc(&text, '\n');
			continue;
		}
		if (examples && hm_str_starts(s, HM_STR("#  ")))
			s = hm_str_n(s.p + 1, s.len - 1);
		for (size_t i = 0; i < s.len; i++)
			hm_buf_putc(&text, s.p[i] == '$' ? '_' : s.p[i]);
	}
	fclose(f);
	assert_int_equal(hm_config_load_text("sample", hm_buf_str(&text), NULL, &cfg, show_error, NULL), 0);
	assert_true(cfg->n_channels >= 2);
	assert_true(cfg->n_routes >= 2);
	assert_true(cfg->n_facts >= 2);
	assert_true(cfg->n_caps >= 2 && cfg->n_quiet >= 1 && cfg->n_categories >= 3);
	hm_config_unref(cfg);
	hm_buf_fini(&text);
}

/* Every option stands in the sample, with its default and under a comment. */
static struct hm_str joined(const struct hm_yaml *list, struct hm_arena *a)
{
	struct hm_buf b;

	hm_buf_init_arena(&b, a, 65536);
	for (const struct hm_yaml *c = list->first; c; c = c->next) {
		if (c != list->first)
			hm_buf_lit(&b, ", ");
		hm_buf_puts(&b, c->text);
	}
	return hm_buf_str(&b);
}

static void test_sample_is_complete(void **state)
{
	struct hm_yaml *root, *section, *n;
	struct hm_arena a;
	struct hm_err e;
	unsigned bad = 0;

	hm_arena_init(&a, NULL, 0);
	if (hm_yaml_read_file(&a, SAMPLE, &root, &e) < 0)
		fail_msg("%s", e.text);
	for (size_t i = 0; i < hm_settings_count; i++) {
		const struct hm_setting_info *row = &hm_settings_table[i];

		section = hm_yaml_get(root, row->section);
		n = section ? hm_yaml_get(section, row->key) : NULL;
		if (n == NULL) {
			print_message("config/hermod.yaml lacks %s.%s\n", row->section, row->key);
			bad++;
			continue;
		}
		if (row->type == HM_SET_LIST || row->type == HM_SET_SECRETS
			    ? !hm_str_is(joined(n, &a), row->def)
			    : !hm_str_is(n->text, row->def)) {
			print_message("config/hermod.yaml:%d: %s.%s has another default than the table: %s\n",
				      n->line, row->section, row->key, row->def);
			bad++;
		}
		if (n->type == HM_YAML_SCALAR && !n->quoted && row->type == HM_SET_STR && n->text.len == 0)
			bad++;
	}
	assert_int_equal(bad, 0);
	hm_arena_fini(&a);
}

/* A comment stands above or beside each option, or above the group it belongs to (no blank line between). */
static void test_sample_explains(void **state)
{
	char line[512];
	bool explained = false;
	unsigned bad = 0, at = 0;
	FILE *f = fopen(SAMPLE, "r");

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		struct hm_str s = hm_str_trim(hm_str_c(line));

		at++;
		if (s.len == 0)
			explained = false;
		else if (s.p[0] == '#')
			explained = true;
		else if (line[0] == ' ' && !explained && hm_str_chr(s, '#') < 0) {
			print_message("config/hermod.yaml:%u: no comment says what this is for\n", at);
			bad++;
		}
	}
	fclose(f);
	assert_int_equal(bad, 0);
}

/* The table itself: a real sentence for every option, a range that its default fits (asserted by
 * loading), and a place in the printed documentation. */
static void test_table_is_documented(void **state)
{
	struct hm_buf doc;
	char name[128];

	hm_buf_init(&doc, 1 << 20);
	hm_settings_doc(&doc);
	for (size_t i = 0; i < hm_settings_count; i++) {
		const struct hm_setting_info *row = &hm_settings_table[i];
		struct hm_str text = hm_str_c(row->doc);

		if (text.len < 15 || !hm_str_ends(text, HM_STR(".")))
			fail_msg("%s.%s is not documented: \"%s\"", row->section, row->key, row->doc);
		assert_true(row->min <= row->max);
		assert_int_equal(row->type == HM_SET_ENUM, row->choices != NULL);
		snprintf(name, sizeof(name), "  %s.%s = ", row->section, row->key);
		assert_non_null(strstr(hm_buf_cstr(&doc), name));
		for (size_t k = 0; k < i; k++)
			assert_false(strcmp(hm_settings_table[k].section, row->section) == 0 &&
				     strcmp(hm_settings_table[k].key, row->key) == 0);
	}
	hm_buf_fini(&doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_samples_load),	    cmocka_unit_test(test_examples_load),
		cmocka_unit_test(test_sample_is_complete),  cmocka_unit_test(test_sample_explains),
		cmocka_unit_test(test_table_is_documented),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
