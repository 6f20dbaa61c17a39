/* Declared fields: checked when the document is saved, and when a message is rendered. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/json.h"
#include "content/content.h"

#include "content_help.h"

static void names_used_and_declared_must_agree(void **state)
{
	bad("body: |\n  a\n  ${user.nmae}\nfields:\n  user.name: {type: string}\n",
	    "w.yaml:3: body: \"user.nmae\" is used, but not declared under fields; did you mean "
	    "\"user.name\"?",
	    "w.yaml:5:3: fields.user.name: is declared, but no text uses it", NULL);
	bad("body: ${a}\nmedia: {sms: {body: '${b}'}}\ndata: {x: '${c}'}\nfields: {a: string}\n",
	    "w.yaml:2:21: media.sms.body: \"b\" is used", "w.yaml:3:7: data: \"c\" is used", NULL);
	bad("body: ${a.b}\nfields: {a: {type: string}}\n",
	    "w.yaml:1:7: body: \"a.b\" is used, but the field \"a\" is a string",
	    "fields.a: is declared, but no text uses it", NULL);
	bad("body: ${facts.x}\nfields: {}\n", "\"facts.x\" is used", NULL);
	/* a map below a name, a name below a map, a list's items, what the text defines itself */
	hm_template_unref(good(
		"body: '<#if user?has_content>${user.name}</#if> ${address.city.zip} <#list items as "
		"i>${i.x}</#list>"
		"<#assign z = 1>${z}'\n"
		"fields:\n  user.name: string\n  user.age: integer\n  address: {type: map}\n  items: {type: "
		"list}\n"));
	hm_template_unref(good("body: ${anything.at.all}\n"));
}

static void declarations_are_checked(void **state)
{
	bad("body: ${a}${b}${c}${d}${e}\nfields:\n  a: {type: strng}\n  b: {type: integer, default: 1.5}\n"
	    "  c: {type: date, example: 2024-02-30}\n  d: {type: list, default: x}\n  e: {type: boolean, "
	    "default: 'true'}\n",
	    "w.yaml:3:13: fields.a.type: \"strng\" is not a type",
	    "w.yaml:4:31: fields.b.default: must be a whole number",
	    "w.yaml:5:28: fields.c.example: must be a date", "w.yaml:6:28: fields.d.default: must be a list",
	    "w.yaml:7:31: fields.e.default: must be true or false", NULL);
	bad("body: ${a}\nfields:\n  a: {typ: string}\n  a..b: string\n  1a: string\n  facts.x: string\n  c: "
	    "[1]\n",
	    "w.yaml:3:7: fields.a: \"typ\" is not known here; did you mean \"type\"?",
	    "w.yaml:4:3: fields.a..b: this is not the name", "w.yaml:5:3: fields.1a: this is not the name",
	    "w.yaml:6:3: fields.facts.x: facts are declared", "w.yaml:7:6: fields.c: expected a map", NULL);
	bad("body: ${a.b}\nfields: {a: {type: map, default: {b: 1}}, a.b: {default: 2}}\n",
	    "w.yaml:2:43: fields.a.b: its default and that of another field are in each other's way", NULL);
	bad("body: x\nfields: [a]\n", "w.yaml:2:9: fields: expected a map of names, found a list", NULL);
	bad("body: ${a}\nfields: {a: {type: string, required: true, default: ' '}}\n",
	    "fields.a: is required, but its default is empty", NULL);
	bad("kind: fragment\ntext: ${a}\nfields: {a: {default: x}}\n", "fields.a: a fragment has no defaults",
	    NULL);
}

static const char typed[] =
	"body: '${s} ${n} ${i} ${b?c} ${d} ${l?size} ${m.k}'\n"
	"fields:\n  s: {type: string, required: true}\n  n: {type: number, required: true}\n"
	"  i: {type: integer, required: true}\n  b: {type: boolean, required: true}\n"
	"  d: {type: date, required: true}\n  l: {type: list, required: true}\n  m: {type: map, required: "
	"true}\n";

static void what_is_missing_empty_or_wrong_is_named(void **state)
{
	static const struct {
		const char *json, *error;
	} rows[] = {
		{"{}", "the field \"s\" is missing"},
		{"{\"s\":null}", "the field \"s\" is missing"},
		{"{\"s\":\" \\u3000\"}", "the field \"s\" is empty"},
		{"{\"s\":5}", "the field \"s\" must be a string; it is a number"},
		{"{\"s\":\"x\"}", "the field \"n\" is missing"},
		{"{\"s\":\"x\",\"n\":\"5\"}", "the field \"n\" must be a number; it is a string"},
		{"{\"s\":\"x\",\"n\":1.5,\"i\":2.5}",
		 "the field \"i\" must be a whole number; it is a number"},
		{"{\"s\":\"x\",\"n\":1.5,\"i\":2.0,\"b\":1}",
		 "the field \"b\" must be true or false; it is a number"},
		{"{\"s\":\"x\",\"n\":1,\"i\":2,\"b\":true,\"d\":\"tomorrow\"}",
		 "the field \"d\" must be a date (ISO 8601 text, or milliseconds since 1970); it is a "
		 "string"},
		{"{\"s\":\"x\",\"n\":1,\"i\":2,\"b\":true,\"d\":\"2024-02-29\",\"l\":[]}",
		 "the field \"l\" is empty"},
		{"{\"s\":\"x\",\"n\":1,\"i\":2,\"b\":true,\"d\":\"2024-02-29\",\"l\":[1],\"m\":[]}",
		 "the field \"m\" must be a map; it is a list"},
	};
	struct hm_template *t = good(typed);
	struct hm_content c;

	for (size_t i = 0; i < hm_countof(rows); i++) {
		assert_error(t, rows[i].json, rows[i].error);
		assert_true(strstr(rows[i].error, render_err.field) != NULL && render_err.field[0] != '\0');
	}
	assert_int_equal(render(t, HM_MED_PUSH,
				"{\"s\":\"x\",\"n\":1.5,\"i\":-2,\"b\":true,\"d\":1700000000000,\"l\":[1],"
				"\"m\":{\"k\":\"v\"}}",
				NULL, &c),
			 0);
	assert_str(c.body, "x 1.5 -2 true 1700000000000 1 v");
	assert_false(hm_template_is_literal(t, HM_MED_PUSH));
	hm_template_unref(t);
}

static void dates_are_iso_8601(void **state)
{
	static const char *const
		fine[] = {"2024-02-29",
			  "2024-01-31T23:59",
			  "2024-01-31 23:59:60",
			  "2024-01-31T00:00:00.123Z",
			  "2024-01-31T00:00:00+08:00",
			  "2024-01-31T00:00:00-0330",
			  "12:30",
			  "12:30:15+08"},
		*const wrong[] = {"",	      "2023-02-29",  "2024-13-01",	     "2024-1-1",
				  "24-01-01", "2024-01-01T", "2024-01-01T25:00",     "2024-01-01X12:00",
				  "12",	      "12:60",	     "2024-01-01T12:00:00.", "2024-01-01T12:00+8"};
	struct hm_template *t = good("body: x${d!}\nfields: {d: date}\n");
	struct hm_content c;
	char json[100];

	for (size_t i = 0; i < hm_countof(fine); i++) {
		snprintf(json, sizeof(json), "{\"d\":\"%s\"}", fine[i]);
		assert_int_equal(render(t, HM_MED_PUSH, json, NULL, &c), 0);
	}
	for (size_t i = 0; i < hm_countof(wrong); i++) {
		snprintf(json, sizeof(json), "{\"d\":\"%s\"}", wrong[i]);
		assert_int_equal(render(t, HM_MED_PUSH, json, NULL, &c), HM_ETYPE);
	}
	hm_template_unref(t);
}

static void defaults_fill_in(void **state)
{
	struct hm_template *t = good(
		"body: '${a} ${u.x} ${u.y} ${u.z.w} ${l?join(\",\")}'\n"
		"fields:\n  a: {type: string, default: A}\n  u.x: {type: integer, default: 1}\n"
		"  u.y: {type: integer, default: 2}\n  u.z.w: {default: 3}\n  l: {type: list, default: [p, "
		"q]}\n");
	struct hm_content c;

	assert_int_equal(render(t, HM_MED_PUSH, "{}", NULL, &c), 0);
	assert_str(c.body, "A 1 2 3 p,q");
	assert_int_equal(
		render(t, HM_MED_PUSH, "{\"a\":\"B\",\"u\":{\"y\":5,\"other\":6},\"l\":[\"r\"]}", NULL, &c),
		0);
	assert_str(c.body, "B 1 5 3 r");
	assert_int_equal(render(t, HM_MED_PUSH, "{\"u\":{\"x\":null,\"y\":5,\"z\":{\"v\":1}}}", NULL, &c), 0);
	assert_str(c.body, "A 1 5 3 p,q");
	assert_int_equal(render(t, HM_MED_PUSH, "{\"u\":{\"z\":null}}", NULL, &c), 0);
	assert_str(c.body, "A 1 2 3 p,q");
	assert_error(t, "{\"u\":\"x\"}", "the field \"u\" must be a map; it is a string");
	assert_error(t, "{\"u\":{\"z\":\"x\"}}", "the field \"u.z\" must be a map; it is a string");
	hm_template_unref(t);
}

/* The first root that has the first name counts, as in the language. */
static void roots_are_asked_in_order(void **state)
{
	struct hm_template *t = good(
		"body: '${u.x} ${v}'\nfields: {u.x: {default: d}, v: {required: true}}\n");
	struct hm_render_env env = {.roots = {object("{\"u\":{\"y\":1}}"), NULL,
					      object("{\"u\":{\"x\":\"second\"},\"v\":\"V\"}")},
				    .arena = &H.arena,
				    .scratch = &H.scratch,
				    .settings = &H.settings};
	struct hm_content c;
	struct hm_err e;

	assert_int_equal(hm_template_render(t, HM_MED_PUSH, &env, &c, &e), 0);
	assert_str(c.body, "d V");
	hm_template_unref(t);
}

static void examples_make_a_preview(void **state)
{
	struct hm_template *t = good("body: '${a} ${u.x} ${u.y} ${n}'\nfields:\n  a: {example: A}\n  u: "
				     "{type: map, example: {x: 1}}\n"
				     "  u.y: {example: 2}\n  n: {default: 4, example: 5}\n");
	struct hm_content c;
	struct hm_buf b;
	msgpack_object o;

	for (int i = 0; i < 2; i++) { /* twice: the template's own examples stay as they are */
		assert_int_equal(hm_template_example(t, &H.arena, &o, NULL), 0);
		assert_json(&o, "{\"a\":\"A\",\"u\":{\"x\":1,\"y\":2},\"n\":5}");
	}
	hm_buf_init(&b, 1000);
	hm_msgpack_to_json(&o, &b);
	assert_int_equal(render(t, HM_MED_PUSH, hm_buf_cstr(&b), NULL, &c), 0);
	assert_str(c.body, "A 1 2 5");
	hm_buf_fini(&b);
	hm_template_unref(t);
}

static bool known(void *arg, struct hm_str name)
{
	return hm_str_is(name, "stock");
}

static void facts_are_declared(void **state)
{
	struct hm_template_opts o = *opts(true, NULL);
	const struct hm_template_fact *f;
	struct hm_render_env env = {.roots = {object("{\"sku\":\"A-1\"}")},
				    .arena = &H.arena,
				    .scratch = &H.scratch,
				    .settings = &H.settings};
	struct hm_template *t;
	struct hm_str key;
	struct hm_err e;

	o.fact_known = known;
	H.n = 0;
	assert_int_equal(
		hm_template_compile(HM_STR("w"), 1,
				    HM_STR("body: '${facts.left} ${facts.stock}'\nfacts:\n  left: {fact: "
					   "stock, key: '${sku}', "
					   "fallback: few}\n  stock: {key: all}\nfields: {sku: string}\n"),
				    "w.yaml", &o, note, &H, &t),
		0);
	assert_int_equal(hm_template_facts(t, &f), 2);
	assert_str(f[0].name, "left");
	assert_str(f[0].fact, "stock");
	assert_json(f[0].fallback, "\"few\"");
	assert_str(f[1].fact, "stock");
	assert_null(f[1].fallback);
	assert_int_equal(hm_template_fact_key(t, 0, &env, &key, &e), 0);
	assert_str(key, "A-1");
	assert_int_equal(hm_template_fact_key(t, 1, &env, &key, &e), 0);
	assert_str(key, "all");
	env.roots[0] = object("{\"sku\":\"\"}");
	assert_int_not_equal(hm_template_fact_key(t, 0, &env, &key, &e), 0);
	assert_string_equal(e.text, "the key of the fact \"left\": the result is blank");
	hm_template_unref(t);
	H.n = 0;
	assert_int_not_equal(hm_template_compile(HM_STR("w"), 1,
						 HM_STR("body: '${facts.a}'\nfacts:\n  a: {fact: price}\n"),
						 "w.yaml", &o, note, &H, &t),
			     0);
	assert_int_equal(H.n, 1);
	assert_string_equal(H.reports[0],
			    "w.yaml:3:13: facts.a: there is no fact \"price\" in the configuration");
	bad("body: '${facts.b}'\nfacts: {a: {key: x}}\n",
	    "body: \"facts.b\" is used, but there is no \"b\" under facts",
	    "facts.a: is declared, but no text uses it", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_used_and_declared_must_agree),
		cmocka_unit_test(declarations_are_checked),
		cmocka_unit_test(what_is_missing_empty_or_wrong_is_named),
		cmocka_unit_test(dates_are_iso_8601),
		cmocka_unit_test(defaults_fill_in),
		cmocka_unit_test(roots_are_asked_in_order),
		cmocka_unit_test(examples_make_a_preview),
		cmocka_unit_test(facts_are_declared),
	};

	return cmocka_run_group_tests(tests, help_setup, help_teardown);
}
