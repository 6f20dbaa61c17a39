/* Documents: what is read, what is merged, what is refused and where. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "content/content.h"

#include "content_help.h"

static void members_are_rendered(void **state)
{
	struct hm_template *t = good(
		"title: 'Hi ${name}'\n"
		"body: |\n  Dear {name},\n  ${n + 1}\n"
		"short: s\nurl: 'https://x.example/${n}'\nimage: https://x.example/i.png\n"
		"options: {badge: 1, sound: 'a${n}'}\n"
		"data: {n: '${n}', list: [1, 'x${n}', true, 1.50]}\n"
		"buttons: [{text: 'Go ${n}', url: 'https://x.example/'}]\n");
	struct hm_content c;

	assert_int_equal(render(t, HM_MED_PUSH, "{\"name\":\"Ann\",\"n\":4}", NULL, &c), 0);
	assert_str(c.title, "Hi Ann");
	assert_str(c.body, "Dear Ann,\n5\n");
	assert_str(c.short_text, "s");
	assert_str(c.url, "https://x.example/4");
	assert_str(c.image, "https://x.example/i.png");
	assert_json(c.options, "{\"badge\":1,\"sound\":\"a4\"}");
	assert_json(c.data, "{\"n\":\"4\",\"list\":[1,\"x4\",true,1.50]}");
	assert_json(c.buttons, "[{\"text\":\"Go 4\",\"url\":\"https://x.example/\"}]");
	assert_int_equal(c.format, HM_TEXT_PLAIN);
	assert_null(c.wrap);
	assert_false(hm_template_is_literal(t, HM_MED_PUSH));
	hm_template_unref(t);
}

static void media_and_locales_merge(void **state)
{
	struct hm_template *t = good(
		"title: base-title\nbody: base\nurl: https://x.example/\n"
		"default_locale: zh-CN\n"
		"media:\n  sms: {body: base-sms, title: ''}\n  email: {body: base-mail}\n"
		"locales:\n"
		"  en:\n    title: en-title\n    body: en\n    media: {sms: {body: en-sms}}\n"
		"  en-GB: {body: gb}\n"
		"  zh-Hant: {body: hant}\n");
	static const struct {
		const char *locale;
		enum hm_medium medium;
		const char *title, *body;
	} rows[] = {
		{"", HM_MED_PUSH, "base-title", "base"},
		{"zh-CN", HM_MED_PUSH, "base-title", "base"},
		{"zh_cn", HM_MED_SMS, "", "base-sms"},
		{"fr", HM_MED_EMAIL, "base-title", "base-mail"},
		{"en", HM_MED_PUSH, "en-title", "en"},
		{"en", HM_MED_SMS, "en-title", "en-sms"},
		{"en", HM_MED_EMAIL, "en-title",
		 "en"}, /* the right language is worth more than the right medium */
		{"en-US", HM_MED_PUSH, "en-title", "en"}, /* RFC 4647: en-US, en */
		{"en-GB", HM_MED_PUSH, "en-title", "gb"}, /* its title comes from en */
		{"EN_gb-oxendict", HM_MED_SMS, "en-title", "gb"},
		{"zh-Hant-TW", HM_MED_PUSH, "base-title", "hant"},
		{"zh-TW", HM_MED_PUSH, "base-title", "hant"}, /* written as in Taiwan */
		{"zh-HK", HM_MED_PUSH, "base-title", "hant"},
		{"zh-Hans-CN", HM_MED_SMS, "", "base-sms"}, /* what a phone says */
		{"zh", HM_MED_PUSH, "base-title", "base"},
		{"zh-Hant", HM_MED_PUSH, "base-title", "hant"},
		{"zh-SG-x-a", HM_MED_PUSH, "base-title", "base"},
		{"en-a-bbb", HM_MED_PUSH, "en-title",
		 "en"}, /* the single letter goes with what it announces */
		{"-", HM_MED_PUSH, "base-title", "base"},
	};

	for (size_t i = 0; i < hm_countof(rows); i++) {
		struct hm_content c;

		assert_int_equal(render(t, rows[i].medium, "{}", rows[i].locale, &c), 0);
		assert_str(c.title, rows[i].title);
		assert_str(c.body, rows[i].body);
		assert_str(c.url, "https://x.example/");
	}
	hm_template_unref(t);
}

static void the_locale_reaches_the_language(void **state)
{
	struct hm_template *t = good(
		"body: '${.locale}'\ndefault_locale: de\nlocales: {zh: {body: '${.locale} zh'}}\n");
	struct hm_content c;

	assert_int_equal(render(t, HM_MED_PUSH, "{}", NULL, &c), 0);
	assert_str(c.body, "de");
	assert_int_equal(render(t, HM_MED_PUSH, "{}", "zh-Hans-CN", &c), 0);
	assert_str(c.body, "zh_CN zh");
	assert_int_equal(render(t, HM_MED_PUSH, "{}", "fr-ca", &c), 0);
	assert_str(c.body, "fr_CA");
	hm_template_unref(t);
}

static void json_is_the_same_document(void **state)
{
	struct hm_template *t = good("{\"title\": \"T \\ud83d\\ude00\", \"body\": \"b ${x}\", "
				     "\"data\": {\"n\": 5, \"s\": \"5\", \"d\": 1.50, \"nil\": null}}");
	struct hm_content c;

	assert_int_equal(render(t, HM_MED_PUSH, "{\"x\":\"y\"}", NULL, &c), 0);
	assert_str(c.title, "T \xf0\x9f\x98\x80");
	assert_str(c.body, "b y");
	assert_json(c.data, "{\"n\":5,\"s\":\"5\",\"d\":1.50,\"nil\":null}");
	hm_template_unref(t);
	bad("{\n \"body\": \"x\",\n \"bdoy\": \"y\"\n}",
	    "w.yaml:3:2: \"bdoy\" is not known here; did you mean \"body\"?", NULL);
	bad("{\"body\": \"x\",}", "w.yaml:1:", NULL);
	bad("{\"title\": \"\\ud83d\\ude00\", \"body\": [1]}", "w.yaml: body: expected text, found a list",
	    NULL);
}

static void every_mistake_is_reported_where_it_is(void **state)
{
	bad("titel: x\nbody: |\n  fine\n  ${a b}\nurl: [1]\nmedia:\n  smms: {body: x}\n  sms: {bdy: y}\n"
	    "locales:\n  e: {body: x}\nbuttons: [{text: a}]\n",
	    "w.yaml:1:1: \"titel\" is not known here; did you mean \"title\"?",
	    "w.yaml:4: body: ", "w.yaml:5:6: url: expected text, found a list",
	    "w.yaml:7:3: media: \"smms\" is not a medium; did you mean \"sms\"?",
	    "w.yaml:8:9: media.sms: \"bdy\" is not known here; did you mean \"body\"?",
	    "w.yaml:10:3: locales.e: this is not a locale",
	    "w.yaml:11:10: buttons: [0]: needs exactly one of url and action", NULL);
	bad("format: pdf\nbody: x\n", "w.yaml:1:9: format: must be ", NULL);
	bad("kind: letter\nbody: x\n", "w.yaml:1:7: kind: must be message or fragment", NULL);
	bad("description: nothing else\n", "w.yaml:1:1: has nothing to send", NULL);
	bad("[1]\n", "w.yaml:1:1: a template is a map", NULL);
	bad("", "w.yaml:1:", NULL);
	bad("\tbody: x\n", "w.yaml:1:", NULL);
	bad("body: '  '\n", "w.yaml:1:7: body: there is nothing but white space in it", NULL);
	bad("body: '<#noparse>${x}</#noparse>'\n", "w.yaml:1:7: body: a placeholder would be left over: ${x}",
	    NULL);
	bad("body: x\ndata: [1]\n", "w.yaml:2:7: data: expected a map, found a list", NULL);
	bad("body: x\ndefault_locale: en\nlocales: {en: {body: y}}\n",
	    "w.yaml:3:11: locales: en is the default_locale", NULL);
	bad("body: x\nlocales: {en-GB: {body: y}, en_gb: {body: z}}\n",
	    "w.yaml:2:29: locales.en_gb: this locale stands here twice", NULL);
	bad("kind: fragment\nbody: x\ntext: y\n", "w.yaml:2:1: \"body\" is not known here", NULL);
	bad("kind: fragment\n", "w.yaml:1:1: a fragment needs a text", NULL);
	bad("body: x\nbuttons: [{text: a, url: b, action: c}]\n", "buttons: [0]: needs exactly one", NULL);
	bad("body: x\nbuttons: [{text: a, url: b, colour: c}]\n",
	    "buttons: [0]: \"colour\" is not known here", NULL);
	bad("body: x\nbuttons: {text: a}\n", "buttons: expected a list, found a map", NULL);
}

static void what_is_left_over_or_blank_never_leaves(void **state)
{
	struct hm_template *t = good("title: t\nbody: '${a}'\nurl: '${u!}'\ndata: {x: '${d!}'}\n"
				     "buttons: [{text: '${b!\"b\"}', url: 'https://x.example/'}]\n");
	struct hm_content c;

	assert_error(t, "{\"a\":\"hello ${name}\"}", "body: a placeholder was left over: ${name}");
	assert_error(t, "{\"a\":\"hello {user.name}!\"}", "body: a placeholder was left over: {user.name}");
	assert_error(t, "{\"a\":\" \\u3000\\n\\u200b\"}", "body: the result is blank");
	assert_error(t, "{\"a\":\"x\",\"d\":\"${y}\"}", "data: x: a placeholder was left over: ${y}");
	assert_error(t, "{\"a\":\"x\",\"b\":\" \"}", "buttons: [0].text: the result is blank");
	/* looks like one and is none */
	assert_int_equal(
		render(t, HM_MED_PUSH,
		       "{\"a\":\"{} {1} {a:b} { a } {a.} {.a} {true} {\\\"a\\\":1} {a ${\",\"u\":\"\"}", NULL,
		       &c),
		0);
	assert_str(c.url, "");
	hm_template_unref(t);
	t = good_with("body: '${a}'\n", false, NULL);
	assert_int_equal(render(t, HM_MED_PUSH, "{\"a\":\"{name}\"}", NULL, &c), 0);
	assert_error(t, "{\"a\":\"${name}\"}", "body: a placeholder was left over: ${name}");
	hm_template_unref(t);
}

static void literal_variants_are_known(void **state)
{
	struct hm_template *t = good("body: plain\nmedia: {sms: {body: '${x}'}}\ndata: {a: [1, {b: c}]}\n");

	assert_true(hm_template_is_literal(t, HM_MED_PUSH));
	assert_false(hm_template_is_literal(t, HM_MED_SMS));
	hm_template_unref(t);
	t = good("body: plain\nlocales: {en: {body: other}}\n");
	assert_false(hm_template_is_literal(t, HM_MED_PUSH));
	hm_template_unref(t);
}

static void what_a_template_says_of_itself(void **state)
{
	struct hm_template *t = good(
		"body: x ${a}\ndescription: For testing\nfields: {a: {type: string, example: hello}}\n");
	const struct hm_template_field *f;

	assert_str(hm_template_name(t), "w");
	assert_int_equal(hm_template_version(t), 3);
	assert_str(hm_template_description(t), "For testing");
	assert_true(hm_str_starts(hm_template_source(t), HM_STR("body: x ${a}")));
	assert_false(hm_template_is_fragment(t));
	assert_int_equal(hm_template_fields(t, &f), 1);
	assert_str(f[0].name, "a");
	assert_string_equal(hm_field_type_name((enum hm_template_field_type)f[0].type), "string");
	assert_json(f[0].example, "\"hello\"");
	hm_template_unref(t);
}

static void names_have_a_rule(void **state)
{
	static const char *const fine[] = {"a", "order/shipped", "\xe9\x99\x8d\xe4\xbb\xb7", "a.b-c_d"},
				 *const wrong[] = {"",	   "/a",  "a/",	 "a//b", "../a",
						   "a/.b", "a@1", "a b", "a\nb", "\xff"};

	for (size_t i = 0; i < hm_countof(fine); i++)
		assert_true(hm_template_name_ok(hm_str_c(fine[i])));
	for (size_t i = 0; i < hm_countof(wrong); i++)
		assert_false(hm_template_name_ok(hm_str_c(wrong[i])));
}

static int inline_of(const char *json, bool with_templates, struct hm_template **t, struct hm_err *e)
{
	return hm_template_inline(object(json), with_templates, opts(true, NULL), &H.arena, t, e);
}

static void inline_content(void **state)
{
	struct hm_template *t;
	struct hm_content c;
	struct hm_err e;

	assert_int_equal(inline_of("{\"title\":\"T "
				   "{x}\",\"body\":\"${x}\",\"format\":\"html\",\"data\":{\"k\":\"${x}\"},"
				   "\"buttons\":[{\"text\":\"${x}\",\"action\":\"open\"}]}",
				   true, &t, &e),
			 0);
	assert_int_equal(render(t, HM_MED_EMAIL, "{\"x\":\"a<b\"}", NULL, &c), 0);
	assert_str(c.title, "T a<b");
	assert_str(c.body, "a&lt;b");
	assert_int_equal(c.format, HM_TEXT_HTML);
	assert_json(c.data, "{\"k\":\"a<b\"}");
	assert_json(c.buttons, "[{\"text\":\"a<b\",\"action\":\"open\"}]");
	hm_template_unref(t);
	/* literal: as it is, whatever it looks like */
	assert_int_equal(inline_of("{\"body\":\"${x} {y} <#if>\",\"data\":{\"k\":\"${x}\"}}", false, &t, &e),
			 0);
	assert_true(hm_template_is_literal(t, HM_MED_PUSH));
	assert_int_equal(render(t, HM_MED_PUSH, "{}", NULL, &c), 0);
	assert_str(c.body, "${x} {y} <#if>");
	assert_json(c.data, "{\"k\":\"${x}\"}");
	hm_template_unref(t);
	assert_int_not_equal(inline_of("{\"body\":\"<#if x>\"}", true, &t, &e), 0);
	assert_true(hm_str_starts(hm_str_c(e.text), HM_STR("content.body: ")));
	assert_int_not_equal(inline_of("{\"body\":\"b\",\"buttons\":[{\"text\":\"x\"}]}", false, &t, &e), 0);
	assert_string_equal(e.text, "content.buttons: [0]: needs exactly one of url and action");
}

static void the_link_hook_is_handed_on(void **state)
{
	static const struct hm_link_wrap wrap;
	struct hm_template_opts o = *opts(true, NULL);
	struct hm_template *t;
	struct hm_content c;

	o.wrap = &wrap;
	assert_int_equal(hm_template_compile(HM_STR("w"), 1, HM_STR("body: x\n"), "w", &o, note, &H, &t), 0);
	assert_int_equal(render(t, HM_MED_PUSH, "{}", NULL, &c), 0);
	assert_ptr_equal(c.wrap, &wrap);
	hm_template_unref(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_are_rendered),
		cmocka_unit_test(media_and_locales_merge),
		cmocka_unit_test(the_locale_reaches_the_language),
		cmocka_unit_test(json_is_the_same_document),
		cmocka_unit_test(every_mistake_is_reported_where_it_is),
		cmocka_unit_test(what_is_left_over_or_blank_never_leaves),
		cmocka_unit_test(literal_variants_are_known),
		cmocka_unit_test(what_a_template_says_of_itself),
		cmocka_unit_test(names_have_a_rule),
		cmocka_unit_test(inline_content),
		cmocka_unit_test(the_link_hook_is_handed_on),
	};

	return cmocka_run_group_tests(tests, help_setup, help_teardown);
}
