/* test_render.c - what the conformance rows do not show: the contract of tmpl.h, limits, sentences, sharing */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/json.h"
#include "tmpl/tmpl.h"

struct bench {
	struct hm_arena arena;
	struct hm_buf out, packed;
	msgpack_zone zone;
	msgpack_object data;
	const msgpack_object *root;
	struct hm_tmpl_opts opts;
	struct hm_tmpl_ctx ctx;
	struct hm_err e;
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	hm_arena_init(&b->arena, NULL, 0);
	hm_buf_init(&b->out, 8 << 20);
	hm_buf_init(&b->packed, 8 << 20);
	msgpack_zone_init(&b->zone, 4096);
	b->root = &b->data;
	b->ctx.roots = &b->root;
	b->ctx.nroots = 1;
	b->ctx.arena = &b->arena;
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	msgpack_zone_destroy(&b->zone);
	hm_buf_fini(&b->packed);
	hm_buf_fini(&b->out);
	hm_arena_fini(&b->arena);
	free(b);
	return 0;
}

static void give(struct bench *b, const char *json)
{
	hm_buf_reset(&b->packed);
	assert_int_equal(hm_json_to_msgpack(hm_str_c(json), &b->packed, &b->e), 0);
	assert_int_equal(hm_msgpack_decode(&b->zone, hm_buf_str(&b->packed), &b->data, &b->e), 0);
}

static struct hm_tmpl *compiled(struct bench *b, const char *text)
{
	struct hm_tmpl *t;

	assert_int_equal(hm_tmpl_compile(hm_str_c(text), &b->opts, &t, &b->e), 0);
	return t;
}

static int render(struct bench *b, const char *text, const char *json)
{
	struct hm_tmpl *t = compiled(b, text);
	int rc;

	give(b, json);
	hm_buf_reset(&b->out);
	rc = hm_tmpl_render(t, &b->ctx, &b->out, &b->e);
	hm_tmpl_free(t);
	return rc;
}

#define expect_text(b, text, json, want)                           \
	do {                                                       \
		assert_int_equal(render(b, text, json), 0);        \
		assert_string_equal(hm_buf_cstr(&(b)->out), want); \
	} while (0)

/* The message of the founding article: one text, three readers. */
static void test_article(void **state)
{
	static const char text[] =
		"尊敬的${name},您关注的${product}已降价!"
		"<#if vip_level > 3>专属折上折已生效,点击查看>>"
		"<#elseif cart?? && cart?size > 0>购物车里的商品:"
		"<#list cart as item>${item.name}仅剩${item.stock}件<#sep>、</#list>,立即结算>>"
		"<#else>新人首单立减${coupon!50}元>></#if>";
	struct bench *b = *state;

	expect_text(b, text, "{\"name\":\"王芳\",\"product\":\"相机\",\"vip_level\":5}",
		    "尊敬的王芳,您关注的相机已降价!专属折上折已生效,点击查看>>");
	expect_text(b, text,
		    "{\"name\":\"李雷\",\"product\":\"耳机\",\"vip_level\":1,"
		    "\"cart\":[{\"name\":\"耳机\",\"stock\":3},{\"name\":\"手机壳\",\"stock\":12}]}",
		    "尊敬的李雷,您关注的耳机已降价!购物车里的商品:耳机仅剩3件、手机壳仅剩12件,立即结算>>");
	expect_text(b, text, "{\"name\":\"新朋友\",\"product\":\"键盘\",\"vip_level\":0,\"cart\":[]}",
		    "尊敬的新朋友,您关注的键盘已降价!新人首单立减50元>>");
	expect_text(b, "<#if age>30>成熟之选</#if>", "{\"age\":31}", "成熟之选");
	expect_text(b, "<#if age>30>成熟之选</#if>", "{\"age\":30}", "");
	b->opts.single_brace = true;
	expect_text(b, "尊敬的{name},您关注的{goods.title}已降价!",
		    "{\"name\":\"王芳\",\"goods\":{\"title\":\"相机\"}}", "尊敬的王芳,您关注的相机已降价!");
}

static void test_formats(void **state)
{
	struct bench *b = *state;

	expect_text(b, "${x}", "{\"x\":\"<'&\\\">\"}", "<'&\">");
	b->opts.format = HM_TMPL_HTML;
	expect_text(b, "${x}", "{\"x\":\"<'&\\\">\"}", "&lt;&#39;&amp;&quot;&gt;");
	b->opts.format = HM_TMPL_XML;
	expect_text(b, "${x}", "{\"x\":\"<'&\\\">\"}", "&lt;&apos;&amp;&quot;&gt;");
	b->opts.format = HM_TMPL_JSON;
	expect_text(b, "{\"t\":\"${x?json_string}\"}", "{\"x\":\"a\\\"b\\n\"}", "{\"t\":\"a\\\"b\\n\"}");
}

static void test_roots_in_order(void **state)
{
	struct bench *b = *state;
	struct hm_buf second;
	msgpack_object defaults;
	const msgpack_object *roots[2] = {&b->data, &defaults};
	struct hm_tmpl *t = compiled(b, "${a}${b}${c!'-'}${.data_model.b}");

	hm_buf_init(&second, 4096);
	assert_int_equal(hm_json_to_msgpack(HM_STR("{\"a\":\"x\",\"b\":\"B\"}"), &second, &b->e), 0);
	assert_int_equal(hm_msgpack_decode(&b->zone, hm_buf_str(&second), &defaults, &b->e), 0);
	hm_buf_reset(&b->packed);
	assert_int_equal(hm_json_to_msgpack(HM_STR("{\"a\":\"A\",\"b\":null}"), &b->packed, &b->e), 0);
	{
		msgpack_zone z;

		msgpack_zone_init(&z, 1024);
		assert_int_equal(hm_msgpack_decode(&z, hm_buf_str(&b->packed), &b->data, &b->e), 0);
		assert_int_equal(hm_json_to_msgpack(HM_STR("{}"), &b->out, &b->e), 0);
		hm_buf_reset(&b->out);
		hm_buf_reset(&second);
		assert_int_equal(hm_json_to_msgpack(HM_STR("{\"a\":\"x\",\"b\":\"B\"}"), &second, &b->e), 0);
		assert_int_equal(hm_msgpack_decode(&b->zone, hm_buf_str(&second), &defaults, &b->e), 0);
		b->ctx.roots = roots;
		b->ctx.nroots = 2;
		assert_int_equal(hm_tmpl_render(t, &b->ctx, &b->out, &b->e), 0);
		assert_string_equal(hm_buf_cstr(&b->out), "AB-B");
		msgpack_zone_destroy(&z);
	}
	b->ctx.roots = &b->root;
	b->ctx.nroots = 1;
	hm_tmpl_free(t);
	hm_buf_fini(&second);
}

/* An error says what and where, and takes back what was written. */
static void test_sentences(void **state)
{
	struct bench *b = *state;
	struct hm_tmpl *t;

	give(b, "{\"user\":{\"name\":\"Ann\"},\"n\":1}");
	t = compiled(b, "Hi\n${user.nick}");
	hm_buf_reset(&b->out);
	hm_buf_lit(&b->out, "before ");
	assert_int_equal(hm_tmpl_render(t, &b->ctx, &b->out, &b->e), HM_EUNDEF);
	assert_string_equal(b->e.text, "`user.nick` is missing (line 2)");
	assert_int_equal(b->e.line, 2);
	assert_int_equal(b->e.col, 3);
	assert_string_equal(hm_buf_cstr(&b->out), "before ");
	hm_tmpl_free(t);

	assert_int_equal(render(b, "${user}", "{\"user\":{}}"), HM_ETYPE);
	assert_string_equal(b->e.text,
			    "text, a number or a date is wanted, but this is a hash, in `user` (line 1)");
	assert_int_equal(render(b, "${1 / n}", "{\"n\":0}"), HM_EINVAL);
	assert_string_equal(b->e.text, "division by zero, in `1 / n` (line 1)");
	assert_int_equal(render(b, "<#stop 'no stock'>", "{}"), HM_EINVAL);
	assert_non_null(strstr(b->e.text, "no stock"));

	assert_int_equal(hm_tmpl_compile(HM_STR("a\n <#if x>\n"), &b->opts, &t, &b->e), HM_EPARSE);
	assert_null(t);
	assert_int_equal(b->e.line, 2);
	assert_int_equal(b->e.col, 2);
	assert_string_equal(b->e.text, "<#if> is opened here and never closed");
	b->opts.name = HM_STR("welcome");
	assert_int_equal(hm_tmpl_compile(HM_STR("你好${x"), &b->opts, &t, &b->e), HM_EPARSE);
	assert_string_equal(b->e.file, "welcome");
	assert_int_equal(b->e.col, 5);
	assert_int_equal(hm_tmpl_compile(HM_STR("\xff"), &b->opts, &t, &b->e), HM_EPARSE);
}

static void test_out_of_the_language(void **state)
{
	static const char *const texts[] = {
		"${x?eval}",  "<#import 'a' as b>", "<#function f></#function>",
		"${x?new()}", "${x?matches('a')}",  "<#foreach x in y></#foreach>",
		"<#ftl>"};
	struct bench *b = *state;
	struct hm_tmpl *t;

	for (size_t i = 0; i < hm_countof(texts); i++) {
		assert_int_equal(hm_tmpl_compile(hm_str_c(texts[i]), NULL, &t, &b->e), HM_EPARSE);
		assert_non_null(strstr(b->e.text, "is not part of this template language"));
	}
}

static void test_limits(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{"<#list 1.. as x></#list>", "steps"},
		{"<#list 1..1000000000 as x></#list>", "steps"},
		{"${(1..1000000000)?join('')}", ""},
		{"<#macro m><@m/></#macro><@m/>", "nested deeper"},
		{"<#macro m><@m><#nested></@m></#macro><@m>x</@m>", "nested deeper"},
		{"<#assign s='xxxxxxxxxxxxxxxx'><#list 1..60 as i><#assign s = s + s></#list>", "memory"},
		{"<#assign q=[1]><#list 1..60 as i><#assign q = q + q></#list>", ""},
		{"${''?left_pad(2000000000)}", "memory"},
		{"<#list 1..100000 as x>0123456789012345678901234567890123456789</#list>",
		 "longer than allowed"},
		{"<#attempt><#list 1.. as x></#list><#recover>caught</#attempt>", "steps"},
		{"${(1..)?filter(x -> true)?size}", ""},
	};
	struct bench *b = *state;

	for (size_t i = 0; i < hm_countof(rows); i++) {
		if (render(b, rows[i].text, "{}") != HM_ELIMIT)
			fail_msg("%s: not a limit, but %d %s", rows[i].text, b->e.code, b->e.text);
		if (!strstr(b->e.text, rows[i].says))
			fail_msg("%s: %s", rows[i].text, b->e.text);
		assert_int_equal(b->out.len, 0);
	}
	b->ctx.limits.steps = 10;
	assert_int_equal(render(b, "<#list 1..20 as x>${x}</#list>", "{}"), HM_ELIMIT);
	b->ctx.limits.steps = 100;
	assert_int_equal(render(b, "<#list 1..20 as x>${x}</#list>", "{}"), 0);
}

/* Depth of nesting is refused while compiling, long flat things are not. */
static void test_nesting(void **state)
{
	struct bench *b = *state;
	struct hm_tmpl *t;
	struct hm_buf text;
	int i;

	hm_buf_init(&text, 4 << 20);
	hm_buf_lit(&text, "${");
	for (i = 0; i < 100000; i++)
		hm_buf_putc(&text, '(');
	assert_int_equal(hm_tmpl_compile(hm_buf_str(&text), NULL, &t, &b->e), HM_EPARSE);
	hm_buf_reset(&text);
	hm_buf_lit(&text, "${1");
	for (i = 0; i < 100000; i++)
		hm_buf_lit(&text, "+1");
	hm_buf_lit(&text, "}");
	assert_int_equal(hm_tmpl_compile(hm_buf_str(&text), NULL, &t, &b->e), HM_EPARSE);
	hm_buf_reset(&text);
	for (i = 0; i < 100000; i++)
		hm_buf_lit(&text, "<#if x>");
	assert_int_equal(hm_tmpl_compile(hm_buf_str(&text), NULL, &t, &b->e), HM_EPARSE);
	hm_buf_reset(&text);
	for (i = 0; i < 20000; i++)
		hm_buf_lit(&text, "${a}<#if a == 1>x</#if><#-- c --> ");
	assert_int_equal(hm_tmpl_compile(hm_buf_str(&text), NULL, &t, &b->e), 0);
	hm_tmpl_free(t);
	hm_buf_reset(&text);
	for (i = 0; i < 100; i++)
		hm_buf_lit(&text, "<#if true>");
	hm_buf_lit(&text, "deep");
	for (i = 0; i < 100; i++)
		hm_buf_lit(&text, "</#if>");
	expect_text(b, hm_buf_cstr(&text), "{}", "deep");
	hm_buf_fini(&text);
}

static void test_leaving_bodies(void **state)
{
	struct bench *b = *state;

	/* <#break> in the body of a macro call leaves the macro, and its captures, for the list around it */
	expect_text(b,
		    "<#macro m><#assign c>lost<#nested>never</#assign></#macro>"
		    "<#list 1..3 as i>${i}<@m><#if i == 2><#break></#if></@m></#list>|${c!'-'}",
		    "{}", "12|lostnever");
	expect_text(b, "<#macro m>[<#nested>]</#macro><#list 1..3 as i><@m>${i}<#continue></@m></#list>",
		    "{}", "[1[2[3");
	/* <#return> in a body ends the macro that is running the body */
	expect_text(b, "<#macro o>(<#nested>)</#macro><#macro m>a<@o>b<#return>c</@o>d</#macro><@m/>e", "{}",
		    "a(bde");
	expect_text(b, "<#list 1..2 as i><#compress> a   b <#break> c </#compress></#list>", "{}", "a b");
	expect_text(b, "<#list 1..3 as i>x<#attempt>y<#break><#recover></#attempt></#list>", "{}", "x");
}

static void test_fields(void **state)
{
	static const char text[] = "${user.name} ${nick!'x'} <#if (order.no)?"
				   "?>${order.no}</#if>"
				   "<#list items as it>${it.title}${it?index}</#list><#assign t = total>${t}"
				   "<#macro m a>${a}${extra}</#macro><@m a=1/>${user.name!}<#include 'foot'>";
	static const struct {
		const char *path;
		bool needed;
	} want[] = {{"user.name", true}, {"nick", false}, {"order.no", true},
		    {"items", true},	 {"total", true}, {"extra", true}};
	struct bench *b = *state;
	struct hm_tmpl *t = compiled(b, text);
	const struct hm_tmpl_field *f;
	const struct hm_str *inc;

	assert_int_equal(hm_tmpl_fields(t, &f), hm_countof(want));
	for (size_t i = 0; i < hm_countof(want); i++) {
		assert_true(hm_str_is(f[i].path, want[i].path));
		assert_int_equal(f[i].needed, want[i].needed);
	}
	assert_int_equal(hm_tmpl_includes(t, &inc), 1);
	assert_true(hm_str_is(inc[0], "foot"));
	hm_tmpl_free(t);
}

static void test_literal(void **state)
{
	struct bench *b = *state;
	struct hm_str s;
	struct hm_tmpl *t = compiled(b, "just <b>text</b>");

	assert_true(hm_tmpl_is_literal(t, &s) && hm_str_is(s, "just <b>text</b>"));
	hm_tmpl_free(t);
	t = compiled(b, "");
	assert_true(hm_tmpl_is_literal(t, &s) && s.len == 0);
	hm_tmpl_free(t);
	t = compiled(b, "x${y}");
	assert_false(hm_tmpl_is_literal(t, &s));
	hm_buf_reset(&b->out);
	hm_tmpl_dump(t, &b->out);
	assert_non_null(strstr(hm_buf_cstr(&b->out), "EMITG"));
	hm_tmpl_free(t);
}

static int self_include(void *arg, struct hm_str name, const struct hm_tmpl **out, struct hm_err *e)
{
	if (!hm_str_is(name, "self"))
		return hm_err_set(e, HM_ENOENT, "none");
	*out = *(struct hm_tmpl **)arg;
	return 0;
}

static void test_include_cycle(void **state)
{
	struct bench *b = *state;
	struct hm_tmpl *t = compiled(b, "a<#include 'self'>");

	give(b, "{}");
	b->ctx.fragment = self_include;
	b->ctx.fragment_arg = &t;
	assert_int_equal(hm_tmpl_render(t, &b->ctx, &b->out, &b->e), HM_ELIMIT);
	hm_tmpl_free(t);
	t = compiled(b, "<#attempt><#include 'gone'><#recover>no</#attempt>");
	assert_int_equal(hm_tmpl_render(t, &b->ctx, &b->out, &b->e), 0);
	assert_string_equal(hm_buf_cstr(&b->out), "no");
	hm_tmpl_free(t);
}

/* Once the arena and the output are warm, a render takes no memory from outside. */
static void test_arena_steady(void **state)
{
	struct bench *b = *state;
	struct hm_tmpl *t = compiled(
		b, "<#list 1..20 as i>${i * 1.5} ${('a' + i)?upper_case}<#sep>, </#list>${n + 0.5}");
	size_t used = 0;

	give(b, "{\"n\":1}");
	for (int i = 0; i < 100; i++) {
		hm_buf_reset(&b->out);
		hm_arena_reset(&b->arena);
		assert_int_equal(hm_tmpl_render(t, &b->ctx, &b->out, &b->e), 0);
		if (i == 1)
			used = b->arena.used;
		if (i > 1)
			assert_int_equal(b->arena.used, used);
	}
	hm_tmpl_free(t);
}

struct shared {
	struct hm_tmpl *t;
	const msgpack_object *root;
	int bad;
};

static void *renderer(void *arg)
{
	struct shared *s = arg;
	struct hm_arena arena;
	struct hm_buf out;
	struct hm_err e;
	struct hm_tmpl_ctx ctx = {.roots = &s->root, .nroots = 1, .arena = &arena};

	hm_arena_init(&arena, NULL, 0);
	hm_buf_init(&out, 1 << 20);
	for (int i = 0; i < 2000; i++) {
		struct hm_tmpl *mine = hm_tmpl_ref(s->t);

		hm_buf_reset(&out);
		if (hm_tmpl_render(mine, &ctx, &out, &e) || strcmp(hm_buf_cstr(&out), "Ann: a,b; 3.5 A"))
			__atomic_add_fetch(&s->bad, 1, __ATOMIC_RELAXED);
		hm_tmpl_free(mine);
	}
	hm_buf_fini(&out);
	hm_arena_fini(&arena);
	return NULL;
}

static void test_threads(void **state)
{
	struct bench *b = *state;
	struct shared s = {.t = compiled(b, "${u.n}: <#list xs as x>${x}<#sep>,</#list>; ${1.25 + 2.25} "
					    "<@m/><#macro m>A</#macro>"),
			   .root = &b->data};
	pthread_t th[4];

	give(b, "{\"u\":{\"n\":\"Ann\"},\"xs\":[\"a\",\"b\"]}");
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&th[i], NULL, renderer, &s), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(th[i], NULL);
	assert_int_equal(s.bad, 0);
	hm_tmpl_free(s.t);
}

static void test_zones(void **state)
{
	int32_t z;

	assert_true(hm_tmpl_zone(HM_STR("Asia/Shanghai"), &z) && z == 480);
	assert_true(hm_tmpl_zone(HM_STR("GMT-05:30"), &z) && z == -330);
	assert_true(hm_tmpl_zone(HM_STR("+0800"), &z) && z == 480);
	assert_true(hm_tmpl_zone(HM_STR("Etc/GMT-8"), &z) && z == 480);
	assert_true(hm_tmpl_zone(HM_STR("UTC"), &z) && z == 0);
	assert_false(hm_tmpl_zone(HM_STR("Europe/Berlin"), &z));
	assert_false(hm_tmpl_zone(HM_STR(""), &z));
	assert_false(hm_tmpl_zone(HM_STR("GMT+8:0x"), &z));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_article),
		T(test_formats),
		T(test_roots_in_order),
		T(test_sentences),
		T(test_out_of_the_language),
		T(test_limits),
		T(test_nesting),
		T(test_leaving_bodies),
		T(test_fields),
		T(test_literal),
		T(test_include_cycle),
		T(test_arena_steady),
		T(test_threads),
		T(test_zones),
	};

	return cmocka_run_group_tests_name("template rendering", tests, NULL, NULL);
}
