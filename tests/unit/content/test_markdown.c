/* The output format markdown: what the data says arrives as words, what the author says as markup. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "adapt/rich.h"
#include "base/json.h"
#include "content/content.h"

#include "content_help.h"

static struct hm_str body_of(const char *text, const char *json)
{
	static char doc[2000];
	struct hm_template *t;
	struct hm_content c;

	snprintf(doc, sizeof(doc), "format: markdown\ntitle: '${x}'\nbody: |-\n  %s\n", text);
	t = good(doc);
	assert_int_equal(render(t, HM_MED_CHAT, json, NULL, &c), 0);
	assert_int_equal(c.format, HM_TEXT_MARKDOWN);
	c.body = hm_arena_str(&H.arena, c.body);
	hm_template_unref(t);
	return c.body;
}

static void values_are_escaped_and_marked_ones_are_not(void **state)
{
	static const char data[] = "{\"x\":\"a*b_c\",\"n\":7}";

	assert_str(body_of("**${x}** ${n}", data), "**a\\*b\\_c** 7");
	assert_str(body_of("{x}", data), "a\\*b\\_c");
	assert_str(body_of("${x?no_esc}", data), "a*b_c");
	assert_str(body_of("<#noautoesc>${x} ${x?esc}</#noautoesc>", data), "a*b_c a\\*b\\_c");
	assert_str(body_of("<#assign y>_${x}_</#assign>${y}", data), "_a\\*b\\_c_");
	assert_str(body_of("${'*'?no_esc + x + '*'?no_esc}", data), "*a\\*b\\_c*");
	assert_str(body_of("${x?esc?markup_string}", data), "a\\\\\\*b\\\\\\_c");
	assert_str(body_of("<#outputformat 'plainText'>${x}</#outputformat>", data), "a*b_c");
	assert_str(body_of("<#outputformat 'HTML'>${'<'}</#outputformat>", data), "&lt;");
	assert_str(body_of("${.output_format}", data), "markdown");
	assert_str(body_of("${(x == 'a*b_c')?c}", data), "true");
	/* nothing of HTML in it */
	assert_str(body_of("${y}", "{\"x\":1,\"y\":\"<b>&\\\"'\"}"), "<b>&\"'");
}

static void titles_stay_plain(void **state)
{
	struct hm_template *t = good(
		"format: markdown\ntitle: '${x}'\nbody: b\nshort: '${x}'\nurl: 'https://x.example/${x}'\n"
		"data: {k: '${x}'}\n");
	struct hm_content c;

	assert_int_equal(render(t, HM_MED_CHAT, "{\"x\":\"a_b\"}", NULL, &c), 0);
	assert_str(c.title, "a_b");
	assert_str(c.short_text, "a\\_b");
	assert_str(c.url, "https://x.example/a_b");
	assert_json(c.data, "{\"k\":\"a_b\"}");
	hm_template_unref(t);
}

static void a_leftover_is_seen_through_the_escape(void **state)
{
	struct hm_template *t = good("format: markdown\nbody: '${x}'\n");

	assert_error(t, "{\"x\":\"Dear {user_name}\"}", "body: a placeholder was left over: {user\\_name}");
	assert_error(t, "{\"x\":\"Dear ${user_name}\"}", "body: a placeholder was left over: ${user\\_name}");
	hm_template_unref(t);
}

/* Any value, anywhere: read back it is that text and nothing else. */
static void hostile_values_are_words(void **state)
{
	static const char *const values[] = {"**b**",
					     "[a](https://evil.example)",
					     "![i](https://evil.example/i.png)",
					     "# h",
					     "- i",
					     "1. one",
					     "`c`",
					     "\\*x\\*",
					     "https://evil.example",
					     "a  b",
					     "<b>x</b>",
					     "](",
					     "_",
					     "\\",
					     "!",
					     "x!"};

	for (size_t i = 0; i < hm_countof(values); i++) {
		struct hm_template *t = good("format: markdown\nbody: '${x}'\n");
		struct hm_content c;
		struct hm_rich r;
		struct hm_buf json, got;

		hm_buf_init(&json, 1000);
		hm_buf_lit(&json, "{\"x\":\"");
		hm_buf_json(&json, hm_str_c(values[i]));
		hm_buf_lit(&json, "\"}");
		assert_int_equal(render(t, HM_MED_CHAT, hm_buf_cstr(&json), NULL, &c), 0);
		assert_int_equal(hm_rich_parse(c.body, c.format, &H.arena, &r, NULL), 0);
		assert_int_equal(r.kinds & ~(1u << HM_RICH_TEXT), 0);
		hm_buf_init(&got, 1000);
		for (size_t k = 0; k < r.n; k++)
			hm_buf_puts(&got, r.v[k].text);
		assert_str(hm_buf_str(&got), values[i]);
		hm_buf_fini(&got);
		hm_buf_fini(&json);
		hm_template_unref(t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_escaped_and_marked_ones_are_not),
		cmocka_unit_test(titles_stay_plain),
		cmocka_unit_test(a_leftover_is_seen_through_the_escape),
		cmocka_unit_test(hostile_values_are_words),
	};

	return cmocka_run_group_tests(tests, help_setup, help_teardown);
}
