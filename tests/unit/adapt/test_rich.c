/*
 * Texts and the nodes they are. `-bench` as the only argument measures instead (see engine/adapt/README.md).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "adapt/dialect.h"
#include "adapt/rich_int.h"

static struct hm_arena arena;
static struct hm_buf out;

/* Nodes as one line: text in quotes, <b> for an opening and </b> for a closing node, | a break, || a paragraph. */
static const char *nodes(const struct hm_rich *r)
{
	static const char *const names[] = {"", "", "", "b", "i", "code", "a", "img", "h", "li"};

	hm_buf_reset(&out);
	for (size_t i = 0; i < r->n; i++) {
		const struct hm_rich_node *n = &r->v[i];

		if (i)
			hm_buf_putc(&out, ' ');
		if (n->kind == HM_RICH_TEXT)
			hm_buf_printf(&out, "'%.*s'", HM_STRF(n->text));
		else if (n->kind == HM_RICH_BREAK)
			hm_buf_lit(&out, "|");
		else if (n->kind == HM_RICH_PARA)
			hm_buf_lit(&out, "||");
		else if (n->kind == HM_RICH_IMAGE)
			hm_buf_printf(&out, "<img %.*s '%.*s'>", HM_STRF(n->text), HM_STRF(n->alt));
		else if (n->kind == HM_RICH_CODE)
			hm_buf_printf(&out, "<code '%.*s'>", HM_STRF(n->text));
		else if (n->close)
			hm_buf_printf(&out, "</%s>", names[n->kind]);
		else if (n->kind == HM_RICH_LINK)
			hm_buf_printf(&out, "<a%s %.*s>", n->bare ? " bare" : "", HM_STRF(n->text));
		else if (n->kind == HM_RICH_HEADING)
			hm_buf_printf(&out, "<h%u>", n->n);
		else if (n->kind == HM_RICH_ITEM)
			hm_buf_printf(&out, "<li %u at %u>", n->n, n->depth);
		else
			hm_buf_printf(&out, "<%s>", names[n->kind]);
	}
	return hm_buf_cstr(&out);
}

static const char *parse(const char *s, enum hm_text_format f)
{
	struct hm_rich r;
	struct hm_err e;

	hm_arena_reset(&arena);
	assert_int_equal(hm_rich_parse(hm_str_c(s), f, &arena, &r, &e), 0);
	return nodes(&r);
}

struct example {
	const char *source, *nodes;
};

static void check(const struct example *x, size_t n, enum hm_text_format f)
{
	for (size_t i = 0; i < n; i++) {
		const char *got = parse(x[i].source, f);

		if (strcmp(got, x[i].nodes))
			fail_msg("%s\nis     %s\nshould %s", x[i].source, got, x[i].nodes);
	}
}

static void test_markdown(void **state)
{
	static const struct example x[] = {
		{"", ""},
		{"a", "'a'"},
		{"  a  ", "'a'"},
		{"a\nb", "'a' | 'b'"},
		{"a \r\n b\rc", "'a' | 'b' | 'c'"},
		{"\n\na\n \n\t\nb\n\n", "'a' || 'b'"},
		/* spans */
		{"**a**", "<b> 'a' </b>"},
		{"*a* _b_", "<i> 'a' </i> ' ' <i> 'b' </i>"},
		{"中**“粗”**文", "'中' <b> '“粗”' </b> '文'"},
		{"***a***", "<i> <b> 'a' </b> </i>"},
		{"**a *b* c**", "<b> 'a ' <i> 'b' </i> ' c' </b>"},
		{"*a **b** c*", "<i> 'a ' <b> 'b' </b> ' c' </i>"},
		{"**a\nb**", "<b> 'a' | 'b' </b>"},
		{"**a\n\nb**", "'**a' || 'b**'"},
		{"**a **b** c**", "<b> 'a b c' </b>"},
		{"2 * 3 * 4", "'2 * 3 * 4'"},
		{"a_b_c", "'a_b_c'"},
		{"138****1234 和 139****5678", "'138****1234 和 139****5678'"},
		{"**a", "'**a'"},
		{"*a**", "<i> 'a' </i> '*'"},
		{"**a*", "'*' <i> 'a' </i>"},
		/* escapes */
		{"\\*a\\*", "'*a*'"},
		{"\\a\\", "'\\a\\'"},
		{"a\\\nb", "'a' | 'b'"},
		{"\\# a", "'# a'"},
		{"**\\***", "<b> '*' </b>"},
		/* code */
		{"`a*b*`", "<code 'a*b*'>"},
		{"`a\\`b`", "<code 'a`b'>"},
		{"`` `a` ``", "<code '`a`'>"},
		{"`a", "'`a'"},
		{"`a\nb`", "'`a' | 'b`'"},
		/* links */
		{"[a](https://e.com)", "<a https://e.com> 'a' </a>"},
		{"[a](https://e.com/(b))", "<a https://e.com/(b)> 'a' </a>"},
		{"[a](https://e.com/\\)b)", "<a https://e.com/)b> 'a' </a>"},
		{"[**a**](tel:+86)", "<a tel:+86> <b> 'a' </b> </a>"},
		{"**[a](sms:1)**", "<b> <a sms:1> 'a' </a> </b>"},
		{"*[a*](sms:1)", "'*' <a sms:1> 'a*' </a>"},
		{"[](https://e.com)", "<a https://e.com> 'https://e.com' </a>"},
		{"[ ](https://e.com)", "<a bare https://e.com> 'https://e.com' </a>"},
		{"[a [b](sms:1)](sms:2)", "'[a ' <a sms:1> 'b' </a> '](sms:2)'"},
		{"[a](javascript:alert(1))", "'a'"},
		{"[a](JaVa\\\nscript:x)", "'a'"},
		{"[a](data:text/html,x) b", "'a b'"},
		{"[a](weixin://dl)", "<a weixin://dl> 'a' </a>"},
		{"[1](see below)", "'[1](see below)'"},
		{"[1] [2]", "'[1] [2]'"},
		{"[a]\n(sms:1)", "'[a]' | '(sms:1)'"},
		{"![a *b*](https://e.com/i)", "<img https://e.com/i 'a b'>"},
		{"![a](file:///x)", "'a'"},
		{"[![a](https://e.com/i)](https://e.com)",
		 "<a https://e.com> <img https://e.com/i 'a'> </a>"},
		{"wow![a](sms:1)", "'wow' <img sms:1 'a'>"},
		{"wow\\![a](sms:1)", "'wow!' <a sms:1> 'a' </a>"},
		/* bare URLs */
		{"see https://e.com/a_b*c.",
		 "'see ' <a bare https://e.com/a_b*c> 'https://e.com/a_b*c' </a> '.'"},
		{"(http://e.com/(a))，", "'(' <a bare http://e.com/(a)> 'http://e.com/(a)' </a> ')，'"},
		{"**https://e.com**", "<b> <a bare https://e.com> 'https://e.com' </a> </b>"},
		{"打开https://e.com/x，好", "'打开' <a bare https://e.com/x> 'https://e.com/x' </a> '，好'"},
		{"https://e.com/\\_a\\_", "<a bare https://e.com/_a_> 'https://e.com/_a_' </a>"},
		{"[https://a.b](https://c.d)", "<a https://c.d> 'https://a.b' </a>"},
		{"https\\://e.com", "'https://e.com'"},
		{"https:// xhttp://e 12:30 ftp://e.com", "'https:// xhttp://e 12:30 ftp://e.com'"},
		/* blocks */
		{"# a", "<h1> 'a' </h>"},
		{"a\n### b #\nc", "'a' <h3> 'b #' </h> 'c'"},
		{"####### a", "'####### a'"},
		{"#a", "'#a'"},
		{"- a\n- b", "<li 0 at 0> 'a' </li> <li 0 at 0> 'b' </li>"},
		{"* *a*\n\n1. b\n   - c\n2. d",
		 "<li 0 at 0> <i> 'a' </i> </li> || <li 1 at 0> 'b' </li> <li 0 at 1> 'c' </li> "
		 "<li 2 at 0> 'd' </li>"},
		{"-\n-a\n1.a\n- ", "'-' | '-a' | '1.a' | '-'"},
		{"- a\nb", "<li 0 at 0> 'a' </li> 'b'"},
		{"\x01\n\na\x02"
		 "b\xc2\x85",
		 "'ab'"},
	};

	check(x, hm_countof(x), HM_TEXT_MARKDOWN);
}

static void test_plain(void **state)
{
	static const struct example x[] = {
		{"", ""},
		{" **a**\n- [b](c) ", "' **a**' | '- [b](c) '"},
		{"a\n\nb\n\n\nc", "'a' || 'b' || | 'c'"},
		{"\n\na\r\n", "| | 'a' |"},
		{"a\n\n\n", "'a' | | |"},
		{"a\x01\x7f\xc2\x9f"
		 "b\tc",
		 "'ab\tc'"},
		{"https://e.com", "'https://e.com'"},
	};

	check(x, hm_countof(x), HM_TEXT_PLAIN);
}

static void test_html(void **state)
{
	static const struct example x[] = {
		{"", ""},
		{"a  b\n c", "'a b c'"},
		{"<b>a</b> <em>b</em>", "<b> 'a' </b> ' ' <i> 'b' </i>"},
		{"<B CLASS=x>a<i>b</B>c</i>", "<b> 'a' <i> 'b' </i> </b> <i> 'c' </i>"},
		{"<b></b>a<i> </i>", "'a'"},
		{"<p>a</p>\n<p>b</p>", "'a' || 'b'"},
		{"<div>a</div><div>b<br>c</div>", "'a' | 'b' | 'c'"},
		{"a<br><br>b<br></p><p>c", "'a' || 'b' || 'c'"},
		{"<b>a<p>b</b>c", "<b> 'a' </b> || <b> 'b' </b> 'c'"},
		{"<h2>a <b>b</b></h2>c", "<h2> 'a ' <b> 'b' </b> </h> || 'c'"},
		{"<ul><li>a<li>b<ol><li>c</ol><li><p>d</ul>e",
		 "<li 0 at 0> 'a' </li> <li 0 at 0> 'b' </li> <li 1 at 1> 'c' </li> "
		 "<li 0 at 0> 'd' </li> || 'e'"},
		{"<a href=\"https://e.com/?a=1&amp;b=2\">x</a>", "<a https://e.com/?a=1&b=2> 'x' </a>"},
		{"<a href='https://e.com'>x <b>y</a> z</b>",
		 "<a https://e.com> 'x ' <b> 'y' </b> </a> ' ' <b> 'z' </b>"},
		{"<a href=https://e.com>x<a href=sms:1>y</a>",
		 "<a https://e.com> 'x' </a> <a sms:1> 'y' </a>"},
		{"<a href=\"java&#10;script:x\">a</a><a href=\" JAVASCRIPT:x\">b</a><a>c</a>", "'abc'"},
		{"<a href=https://e.com><img src=https://e.com/i></a>",
		 "<a https://e.com> 'https://e.com' </a>"},
		{"<img src=https://e.com/i alt=\"a &lt; b\"><img src=https://e.com/pixel>",
		 "<img https://e.com/i 'a < b'>"},
		{"<img src=cid:1 alt=logo>", "'logo'"},
		{"<code>a &lt;b&gt;  c</code>", "<code 'a <b> c'>"},
		{"<pre>a\n  b</pre>", "'a' | '  b'"},
		{"<style>b{}</style><script>if(a<b)</script><title>t</title>x<!-- y --><?z?><!a>", "'x'"},
		{"1 < 2 &amp; 3 &#x4e2d;&#20013; &nosuch; &copy;", "'1 < 2 & 3 中中 &nosuch; ©'"},
		{"a&nbsp;&nbsp;b", "'a  b'"},
		{"&lt;b&gt;**x**", "'<b>**x**'"},
		{"&#0;&#1;&#127;&#146;&#xd800;a", "'’\xef\xbf\xbd"
						  "a'"},
		{"<table><tr><td>a</td><td>b</td></tr><tr><td>c</table>", "'a b' | 'c'"},
		{"a<b", "'a<b'"},
		{"<a href = \"https://e.com/>x\">y</a>", "<a https://e.com/>x> 'y' </a>"},
		{"<x-y>a</x-y>", "'a'"},
	};

	check(x, hm_countof(x), HM_TEXT_HTML);
}

static void test_url_ok(void **state)
{
	static const char *const good[] = {
		"http://e.com", "HTTPS://e.com/a?b#c", "mailto:a@b.c", "tel:+86",
		"sms:1",	"weixin://dl/x",       "x-a.b+c://y",  "https://例子.中国/路"};
	static const char *const bad[] = {"",
					  "e.com",
					  "//e.com",
					  "/a",
					  "#a",
					  "javascript:alert(1)",
					  "JavaScript://%0aalert(1)",
					  "java\nscript:x",
					  "java\tscript://x",
					  " https://e.com",
					  "https://e.com ",
					  "https://e.com/\n",
					  "https://e.com/\x01",
					  "https://e.com/\xc2\x85",
					  "https:e.com",
					  "https:/e.com",
					  "https://",
					  "data:text/html,x",
					  "DATA://x",
					  "vbscript:x",
					  "file:///etc",
					  "blob:https://e.com",
					  "view-source://x",
					  "weixin:dl",
					  "1a://x",
					  "a b://x",
					  "\x01javascript:x",
					  "java&#10;script:x",
					  "mailto:",
					  "://x",
					  ":x",
					  "&#106;avascript:x"};

	for (size_t i = 0; i < hm_countof(good); i++)
		if (!hm_rich_url_ok(hm_str_c(good[i])))
			fail_msg("%s refused", good[i]);
	for (size_t i = 0; i < hm_countof(bad); i++)
		if (hm_rich_url_ok(hm_str_c(bad[i])))
			fail_msg("%s taken", bad[i]);
	assert_false(hm_rich_url_ok(HM_STR("https://e.com/\0x")));
}

static void test_escape(void **state)
{
	static const struct example x[] = {
		{"", ""},
		{"Maria Lopez, 2025-11-11 12:30, 19.90", "Maria Lopez, 2025-11-11 12:30, 19.90"},
		{"*a_b*", "\\*a\\_b\\*"},
		{"- a", "\\- a"},
		{"1. a", "1\\. a"},
		{". a", "\\. a"},
		{"# a", "\\# a"},
		{" a ", "\\ a\\ "},
		{" ", "\\ "},
		{"a\r\nb", "a\\\nb"},
		{"https://e.com", "https\\://e.com"},
		{"a:b:", "a:b\\:"},
		{"wow!", "wow\\!"},
	};

	for (size_t i = 0; i < hm_countof(x); i++) {
		hm_buf_reset(&out);
		assert_int_equal(hm_rich_escape(hm_str_c(x[i].source), &out), 0);
		assert_string_equal(hm_buf_cstr(&out), x[i].nodes);
	}
	/* a backslash of the template in front does not eat ours */
	hm_buf_reset(&out);
	hm_buf_lit(&out, "C:\\");
	assert_int_equal(hm_rich_escape(HM_STR("*a*"), &out), 0);
	assert_string_equal(hm_buf_cstr(&out), "C:\\\\\\*a\\*");
}

struct wrapping {
	uint32_t calls;
	char urls[512];
};

static int wrap(void *arg, struct hm_str url, uint32_t n, struct hm_buf *to, struct hm_err *e)
{
	struct wrapping *w = arg;

	assert_int_equal(n, w->calls++);
	snprintf(w->urls + strlen(w->urls), sizeof(w->urls) - strlen(w->urls), "%.*s ", HM_STRF(url));
	if (hm_str_starts(url, HM_STR("tel:")))
		return 0; /* stays */
	if (hm_str_starts(url, HM_STR("sms:")))
		return hm_err_set(e, HM_EINVAL, "no");
	hm_buf_printf(to, "https://t.e/?n=%u&x", n);
	return 0;
}

static void test_wrap_links(void **state)
{
	struct wrapping w = {0};
	const struct hm_link_wrap how = {wrap, &w};
	struct hm_rich r;
	struct hm_err e;

	hm_arena_reset(&arena);
	assert_int_equal(hm_rich_parse(HM_STR("[a](https://a.b) [c](tel:1) https://d.e"), HM_TEXT_MARKDOWN,
				       &arena, &r, &e),
			 0);
	assert_int_equal(hm_rich_wrap_links(&r, &how, &arena, &e), 0);
	assert_string_equal(w.urls, "https://a.b tel:1 https://d.e ");
	assert_string_equal(nodes(&r), "<a https://t.e/?n=0&x> 'a' </a> ' ' <a tel:1> 'c' </a> ' ' <a bare "
				       "https://t.e/?n=2&x> 'https://d.e' </a>");
	hm_buf_reset(&out);
	assert_int_equal(hm_dialect_write(hm_dialect_plain(), &r, &out), 0);
	assert_string_equal(hm_buf_cstr(&out), "a (https://t.e/?n=0&x) c (tel:1) https://t.e/?n=2&x");

	/* HTML: the author's source changes at the targets and nowhere else; a link over two blocks is one */
	w = (struct wrapping){0};
	assert_int_equal(hm_rich_parse(HM_STR("<a class=x href=\"https://a.b/?x=1&amp;y\">a<p>b</a> <A "
					      "HREF='tel:1'>c</A><a href=https://d.e>d</a>"
					      "<a href=javascript:x>e</a><a href=\"https://f.g\"></a>"),
				       HM_TEXT_HTML, &arena, &r, &e),
			 0);
	assert_int_equal(hm_rich_wrap_links(&r, &how, &arena, &e), 0);
	assert_string_equal(w.urls, "https://a.b/?x=1&y tel:1 https://d.e ");
	hm_buf_reset(&out);
	assert_int_equal(hm_dialect_write(hm_dialect_find(HM_STR("html")), &r, &out), 0);
	assert_string_equal(hm_buf_cstr(&out), "<a class=x href=\"https://t.e/?n=0&amp;x\">a<p>b</a> <A "
					       "HREF='tel:1'>c</A><a href=\"https://t.e/?n=2&amp;x\">d</a>"
					       "<a href=javascript:x>e</a><a href=\"https://f.g\"></a>");

	w = (struct wrapping){0};
	assert_int_equal(hm_rich_parse(HM_STR("[a](sms:1)"), HM_TEXT_MARKDOWN, &arena, &r, &e), 0);
	assert_int_equal(hm_rich_wrap_links(&r, &how, &arena, &e), HM_EINVAL);
}

static void test_limits(void **state)
{
	struct hm_rich r;
	struct hm_err e;
	struct hm_arena small;
	char *big = malloc(1 << 20);

	for (size_t i = 0; i < 1 << 20; i += 2)
		memcpy(big + i, "a\n", 2);
	hm_arena_reset(&arena);
	assert_int_equal(hm_rich_parse(hm_str_n(big, 1 << 20), HM_TEXT_PLAIN, &arena, &r, &e), HM_ELIMIT);
	assert_non_null(strstr(e.text, "65536"));
	assert_int_equal(hm_rich_parse(hm_str_n(big, 1 << 20), HM_TEXT_MARKDOWN, &arena, &r, &e), HM_ELIMIT);
	hm_arena_init(&small, NULL, 4096);
	assert_int_equal(hm_rich_parse(hm_str_n(big, 4096), HM_TEXT_PLAIN, &small, &r, &e), HM_ENOMEM);
	hm_arena_fini(&small);
	/* texts that invite quadratic work */
	static const char *const bad[] = {"*a ", "_a*",	     "[",	 "](",	   "![", "[a](",
					  "`",	 "``a`",     "\\",	 "<a \">", "<b", "<!--",
					  "&#",	 "https://", "<ul><li>", "**a_"};

	for (size_t k = 0; k < hm_countof(bad); k++)
		for (unsigned f = HM_TEXT_MARKDOWN; f <= HM_TEXT_HTML; f++) {
			size_t n = strlen(bad[k]), len = 0;
			clock_t from = clock(); /* processor time: other programs do not count */
			int rc;

			for (; len + n <= 100000; len += n)
				memcpy(big + len, bad[k], n);
			hm_arena_reset(&arena);
			rc = hm_rich_parse(hm_str_n(big, len), (enum hm_text_format)f, &arena, &r, &e);
			assert_true(rc == 0 || rc == HM_ELIMIT);
			if ((double)(clock() - from) / CLOCKS_PER_SEC > 2)
				fail_msg("%zu bytes of \"%s\" take %.1f s", len, bad[k],
					 (double)(clock() - from) / CLOCKS_PER_SEC);
		}
	free(big);
}

/* Passing over sixteen bytes at a time stops where going one by one does. */
static void test_skip(void **state)
{
	unsigned char t[80];
	uint32_t seed = 1;

	for (unsigned i = 0; i < 200000; i++) {
		size_t from, n;

		for (size_t k = 0; k < sizeof(t); k++) {
			seed = seed * 1664525 + 1013904223;
			t[k] = (unsigned char)(seed >> 24);
			if (hm_rich_stops(t[k]) && seed & 0x3f0000) /* mostly bytes that mean nothing */
				t[k] = 'a';
		}
		from = seed % 20;
		n = from + (seed >> 8) % (sizeof(t) - from);
		assert_ptr_equal(hm_rich_skip((char *)t + from, (char *)t + n),
				 hm_rich_skip_scalar((char *)t + from, (char *)t + n));
	}
}

static void test_clean(void **state)
{
	char t[48];

	/* every byte at every place of a block: what is no control character, and two bytes that together are one */
	for (unsigned at = 0; at + 1 < sizeof(t); at++)
		for (unsigned c = 0; c < 256; c++) {
			memset(t, 'a', sizeof(t));
			t[at] = (char)c;
			assert_int_equal(hm_rich_clean(hm_str_n(t, sizeof(t))),
					 hm_control(t + at, t + sizeof(t)) == 0);
			t[at] = (char)0xc2;
			t[at + 1] = (char)c;
			assert_int_equal(hm_rich_clean(hm_str_n(t, sizeof(t))),
					 hm_control(t + at, t + sizeof(t)) == 0 &&
						 hm_control(t + at + 1, t + sizeof(t)) == 0);
		}
	assert_true(hm_rich_clean(HM_STR("")));
	assert_true(hm_rich_clean(HM_STR("尊敬的林小满:\n\t您好,\r\ncafé")));
}

/* -- measuring ---------------------------------------------------------------------------------------------------- */

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void measure(const char *title, const char *text, enum hm_text_format f)
{
	static const char *const names[] = {"plain",   "html",	   "slack-mrkdwn", "tg-html",
					    "tg-mdv2", "wecom-md", "commonmark",   "feishu-md"};
	struct hm_rich r;
	struct hm_err e;
	double best = 1e18;

	for (int k = 0; k < 20; k++) {
		double from = now_ns();

		for (int i = 0; i < 10000; i++) {
			hm_arena_reset(&arena);
			if (hm_rich_parse(hm_str_c(text), f, &arena, &r, &e))
				abort();
		}
		best = hm_min(best, (now_ns() - from) / 10000);
	}
	printf("%-28s %4zu bytes  parse %5.0f ns ", title, strlen(text), best);
	for (size_t d = 0; d < hm_countof(names); d++) {
		const struct hm_dialect *dialect = hm_dialect_find(hm_str_c(names[d]));

		best = 1e18;
		for (int k = 0; k < 20; k++) {
			double from = now_ns();

			for (int i = 0; i < 5000; i++) {
				hm_buf_reset(&out);
				if (hm_dialect_write(dialect, &r, &out))
					abort();
			}
			best = hm_min(best, (now_ns() - from) / 5000);
		}
		printf(" %s %.0f", names[d], best);
	}
	printf("\n");
}

static int bench(void)
{
	static const char clean[] = "您好，您的订单已经发出，预计明天下午送达，请保持电话畅通。如有疑问请联系"
				    "在线客服，我们的服务时间是每天上午九点到晚上九点，感谢您的支持";
	static const char marked[] =
		"**张三**，您的订单 *SF123* "
		"已发出，预计明天送达。\n[查看物流](https://x.example.com/t?a=1)，或打开 "
		"https://x.example.com/a\n\n- 茶\n- 咖啡\n\n验证码 `123456`，请勿告诉他人。";
	static const char html[] = "<h1>您好</h1><p><b>张三</b>，您的订单 <i>SF123</i> 已发出。<br><a "
				   "href=\"https://x.example.com/t?a=1&amp;b=2\">查看物流</a></p><ul><li>茶</"
				   "li><li>咖啡</li></ul>";
	static const char ascii[] = "Hello Maria, your parcel has left our warehouse and should arrive "
				    "tomorrow afternoon. Please keep your phone at hand; our people "
				    "are there for you every day from nine to nine. Thank you!";
	double best = 1e18;

	hm_arena_init(&arena, NULL, 0);
	hm_buf_init(&out, 1 << 20);
	measure("Chinese, no markup", clean, HM_TEXT_MARKDOWN);
	measure("Chinese, plain", clean, HM_TEXT_PLAIN);
	measure("English, no markup", ascii, HM_TEXT_MARKDOWN);
	measure("Chinese, some markup", marked, HM_TEXT_MARKDOWN);
	measure("HTML", html, HM_TEXT_HTML);
	for (int k = 0; k < 20; k++) {
		double from = now_ns();

		for (int i = 0; i < 10000; i++) {
			hm_buf_reset(&out);
			if (hm_rich_escape(HM_STR("Maria_Lopez (VIP) 2025-11-11 12:30"), &out))
				abort();
		}
		best = hm_min(best, (now_ns() - from) / 10000);
	}
	printf("hm_rich_escape, 34 bytes: %.0f ns\n", best);
	hm_buf_fini(&out);
	hm_arena_fini(&arena);
	return 0;
}

static int setup(void **state)
{
	hm_arena_init(&arena, NULL, 0);
	hm_buf_init(&out, 1 << 20);
	return 0;
}

static int teardown(void **state)
{
	hm_arena_fini(&arena);
	hm_buf_fini(&out);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_markdown), cmocka_unit_test(test_plain),
		cmocka_unit_test(test_html),	 cmocka_unit_test(test_url_ok),
		cmocka_unit_test(test_escape),	 cmocka_unit_test(test_wrap_links),
		cmocka_unit_test(test_limits),	 cmocka_unit_test(test_skip),
		cmocka_unit_test(test_clean),
	};

	if (argc == 2 && strcmp(argv[1], "-bench") == 0)
		return bench();
	return cmocka_run_group_tests(tests, setup, teardown);
}
