/*
 * One text in every dialect, and the cases each dialect is known for
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "adapt/dialect.h"

#define Z "\xe2\x80\x8b" /* U+200B */

/* clang-format off */
static const char one[] =
	"## 发货通知\n"
	"\n"
	"**张三**，您的订单 *SF_123* 已发出：`A*1`\n"
	"[查看物流](https://x.example.com/t?a=1&b=(2))，或打开 https://x.example.com/a_b\n"
	"\n"
	"- 茶 *2\n"
	"  - 联系 [客服](tel:+861234)\n"
	"1. 第二步\n"
	"\n"
	"![图](https://x.example.com/i.png)\n"
	"\\# 5 < 6 & @everyone <!here> 138\\*\\*\\*\\*1234 **“粗”**体";

static const struct {
	const char *dialect, *text;
} all[] = {
	{"plain",
	 "发货通知\n"
	 "\n"
	 "张三，您的订单 SF_123 已发出：A*1\n"
	 "查看物流 (https://x.example.com/t?a=1&b=(2))，或打开 https://x.example.com/a_b\n"
	 "\n"
	 "• 茶 *2\n"
	 "  • 联系 客服: tel:+861234\n"
	 "1. 第二步\n"
	 "\n"
	 "图: https://x.example.com/i.png\n"
	 "# 5 < 6 & @everyone <!here> 138****1234 “粗”体"},
	{"plain-chat",
	 "发货通知\n"
	 "\n"
	 "张三，您的订单 SF_123 已发出：A*1\n"
	 "查看物流 (https://x.example.com/t?a=1&b=(2))，或打开 https://x.example.com/a_b\n"
	 "\n"
	 "• 茶 *2\n"
	 "  • 联系 客服: tel:+861234\n"
	 "1. 第二步\n"
	 "\n"
	 "图: https://x.example.com/i.png\n"
	 "# 5 < 6 & @" Z "everyone <" Z "!here> 138****1234 “粗”体"},
	{"html",
	 "<h2>发货通知</h2><p><strong>张三</strong>，您的订单 <em>SF_123</em> 已发出：<code>A*1</code><br><a href=\"https://x.example.com/t?a=1&amp;b=(2)\">查看物流</a>，或打开 <a href=\"https://x.example.com/a_b\">https://x.example.com/a_b</a></p><ul><li>茶 *2<ul><li>联系 <a href=\"tel:+861234\">客服</a></li></ul></li></ul><ol><li>第二步</li></ol><p><img src=\"https://x.example.com/i.png\" alt=\"图\"><br># 5 &lt; 6 &amp; @everyone &lt;!here&gt; 138****1234 <strong>“粗”</strong>体</p>"},
	{"html-doc",
	 "<!DOCTYPE html>\n"
	 "<html>\n"
	 "<head>\n"
	 "<meta charset=\"utf-8\">\n"
	 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	 "</head>\n"
	 "<body style=\"margin:0;padding:16px;font-family:-apple-system,'Segoe UI',Roboto,'PingFang SC','Microsoft YaHei',sans-serif;font-size:16px;line-height:1.6;word-break:break-word\">\n"
	 "<div style=\"max-width:640px;margin:0 auto\">\n"
	 "<h2>发货通知</h2><p><strong>张三</strong>，您的订单 <em>SF_123</em> 已发出：<code>A*1</code><br><a href=\"https://x.example.com/t?a=1&amp;b=(2)\">查看物流</a>，或打开 <a href=\"https://x.example.com/a_b\">https://x.example.com/a_b</a></p><ul><li>茶 *2<ul><li>联系 <a href=\"tel:+861234\">客服</a></li></ul></li></ul><ol><li>第二步</li></ol><p><img src=\"https://x.example.com/i.png\" alt=\"图\" style=\"max-width:100%;height:auto;border:0\"><br># 5 &lt; 6 &amp; @everyone &lt;!here&gt; 138****1234 <strong>“粗”</strong>体</p>\n"
	 "</div>\n"
	 "</body>\n"
	 "</html>\n"},
	{"matrix-html",
	 "<h2>发货通知</h2><p><strong>张三</strong>，您的订单 <em>SF_123</em> 已发出：<code>A*1</code><br><a href=\"https://x.example.com/t?a=1&amp;b=(2)\">查看物流</a>，或打开 <a href=\"https://x.example.com/a_b\">https://x.example.com/a_b</a></p><ul><li>茶 *2<ul><li>联系 客服: tel:+861234</li></ul></li></ul><ol><li>第二步</li></ol><p><a href=\"https://x.example.com/i.png\">图</a><br># 5 &lt; 6 &amp; @everyone &lt;!here&gt; 138****1234 <strong>“粗”</strong>体</p>"},
	{"tg-html",
	 "<b>发货通知</b>\n"
	 "\n"
	 "<b>张三</b>，您的订单 <i>SF_123</i> 已发出：<code>A*1</code>\n"
	 "<a href=\"https://x.example.com/t?a=1&amp;b=(2)\">查看物流</a>，或打开 https://x.example.com/a_b\n"
	 "\n"
	 "• 茶 *2\n"
	 "  • 联系 客服: tel:+861234\n"
	 "1. 第二步\n"
	 "\n"
	 "<a href=\"https://x.example.com/i.png\">图</a>\n"
	 "# 5 &lt; 6 &amp; @" Z "everyone &lt;!here&gt; 138****1234 <b>“粗”</b>体"},
	{"tg-mdv2",
	 "*发货通知*\n"
	 "\n"
	 "*张三*，您的订单 _SF\\_123_ 已发出：`A*1`\n"
	 "[查看物流](https://x.example.com/t?a=1&b=(2\\))，或打开 https://x\\.example\\.com/a\\_b\n"
	 "\n"
	 "• 茶 \\*2\n"
	 "  • 联系 客服: tel:\\+861234\n"
	 "1\\. 第二步\n"
	 "\n"
	 "[图](https://x.example.com/i.png)\n"
	 "\\# 5 < 6 & @" Z "everyone <\\!here\\> 138\\*\\*\\*\\*1234 *“粗”*体"},
	{"wecom-md",
	 "## 发货通知\n"
	 "\n"
	 "**张三**，您的订单 SF_123 已发出：`A*1`\n"
	 "[查看物流](https://x.example.com/t?a=1&b=%282%29)，或打开 [https://x.example.com/a_b](https://x.example.com/a_b)\n"
	 "\n"
	 "• 茶 *2\n"
	 "  • 联系 [客服](tel:+861234)\n"
	 "1. 第二步\n"
	 "\n"
	 "[图](https://x.example.com/i.png)\n"
	 "" Z "# 5 < 6 & @everyone <" Z "!here> 138*" Z "*" Z "*" Z "*1234 **“粗”**体"},
	{"wecom-md2",
	 "## 发货通知\n"
	 "\n"
	 "**张三**，您的订单 *SF\\_123* 已发出：`A*1`\n"
	 "[查看物流](https://x.example.com/t?a=1&b=%282%29)，或打开 [https://x.example.com/a\\_b](https://x.example.com/a_b)\n"
	 "\n"
	 "- 茶 \\*2\n"
	 "  - 联系 [客服](tel:+861234)\n"
	 "1. 第二步\n"
	 "\n"
	 "![图](https://x.example.com/i.png)\n"
	 "\\# 5 < 6 & @everyone <" Z "!here> 138\\*\\*\\*\\*1234 **“粗”" Z "**体"},
	{"ding-md",
	 "## 发货通知\n"
	 "\n"
	 "**张三**，您的订单 *SF_123* 已发出：A∗1  \n"
	 "[查看物流](https://x.example.com/t?a=1&b=%282%29)，或打开 [https://x.example.com/a_b](https://x.example.com/a_b)\n"
	 "\n"
	 "- 茶 ∗2\n"
	 "  - 联系 [客服](tel:+861234)\n"
	 "1. 第二步\n"
	 "\n"
	 "![图](https://x.example.com/i.png)  \n"
	 "" Z "# 5 < 6 & @everyone <" Z "!here> 138∗∗∗∗1234 **“粗”" Z "**体"},
	{"feishu-md",
	 "##### 发货通知\n"
	 "\n"
	 "**张三**，您的订单 *SF&#95;123* 已发出：A&#42;1\n"
	 "[查看物流](https://x.example.com/t?a=1&b=%282%29)，或打开 [https://x.example.com/a&#95;b](https://x.example.com/a_b)\n"
	 "\n"
	 "- 茶 &#42;2\n"
	 "  - 联系 [客服](tel:+861234)\n"
	 "1. 第二步\n"
	 "\n"
	 "[图](https://x.example.com/i.png)\n"
	 "&#35; 5 &#60; 6 &#38; @everyone &#60;!here&#62; 138&#42;&#42;&#42;&#42;1234 **“粗”" Z "**体"},
	{"slack-mrkdwn",
	 "*发货通知*\n"
	 "\n"
	 "*张三*" Z "，您的订单 _SF_123_ 已发出：" Z "`A*1`\n"
	 "<https://x.example.com/t?a=1&amp;b=(2)|查看物流>，或打开 <https://x.example.com/a_b|https://x.example.com/a_b>\n"
	 "\n"
	 "• 茶 ∗2\n"
	 "  • 联系 <tel:+861234|客服>\n"
	 "1. 第二步\n"
	 "\n"
	 "<https://x.example.com/i.png|图>\n"
	 "# 5 &lt; 6 &amp; @" Z "everyone &lt;!here&gt; 138∗∗∗∗1234 *“粗”*" Z "体"},
	{"gchat",
	 "*发货通知*\n"
	 "\n"
	 "*张三*" Z "，您的订单 _SF_123_ 已发出：" Z "`A*1`\n"
	 "<https://x.example.com/t?a=1&amp;b=(2)|查看物流>，或打开 <https://x.example.com/a_b|https://x.example.com/a_b>\n"
	 "\n"
	 "- 茶 ∗2\n"
	 "  - 联系 <tel:+861234|客服>\n"
	 "1. 第二步\n"
	 "\n"
	 "<https://x.example.com/i.png|图>\n"
	 "# 5 &lt; 6 &amp; @everyone &lt;!here&gt; 138∗∗∗∗1234 *“粗”*" Z "体"},
	{"discord-md",
	 "## 发货通知\n"
	 "\n"
	 "**张三**，您的订单 *SF\\_123* 已发出：`A*1`\n"
	 "[查看物流](https://x.example.com/t?a=1&b=%282%29)，或打开 https://x.example.com/a_b\n"
	 "\n"
	 "- 茶 \\*2\n"
	 "  - 联系 客服: tel:+861234\n"
	 "1. 第二步\n"
	 "\n"
	 "[图](https://x.example.com/i.png)\n"
	 "\\# 5 < 6 & @" Z "everyone <" Z "!here\\> 138\\*\\*\\*\\*1234 **“粗”" Z "**体"},
	{"adaptive",
	 "**发货通知**\n"
	 "\n"
	 "**张三**，您的订单 *SF_123* 已发出：A∗1\n"
	 "\n"
	 "[查看物流](https://x.example.com/t?a=1&b=%282%29)，或打开 [https://x.example.com/a_b](https://x.example.com/a_b)\n"
	 "\n"
	 "- 茶 ∗2\n"
	 "  - 联系 [客服](tel:+861234)\n"
	 "1. 第二步\n"
	 "\n"
	 "[图](https://x.example.com/i.png)\n"
	 "\n"
	 "" Z "# 5 < 6 & @everyone <" Z "!here> 138∗∗∗∗1234 **“粗”" Z "**体"},
	{"commonmark",
	 "## 发货通知\n"
	 "\n"
	 "**张三**，您的订单 *SF\\_123* 已发出：`A*1`  \n"
	 "[查看物流](https://x.example.com/t?a=1&b=%282%29)，或打开 [https://x.example.com/a\\_b](https://x.example.com/a_b)\n"
	 "\n"
	 "- 茶 \\*2\n"
	 "  - 联系 [客服](tel:+861234)\n"
	 "1. 第二步\n"
	 "\n"
	 "![图](https://x.example.com/i.png)  \n"
	 "\\# 5 < 6 & @" Z "everyone <" Z "!here> 138\\*\\*\\*\\*1234 **“粗”" Z "**体"},
	{"wa-text",
	 "*发货通知*\n"
	 "\n"
	 "*张三*" Z "，您的订单 _SF_123_ 已发出：" Z "```A*1```\n"
	 "查看物流 (https://x.example.com/t?a=1&b=(2))，或打开 https://x.example.com/a_b\n"
	 "\n"
	 "• 茶 ∗2\n"
	 "  • 联系 客服: tel:+861234\n"
	 "1. 第二步\n"
	 "\n"
	 "图: https://x.example.com/i.png\n"
	 "# 5 < 6 & @everyone <!here> 138∗∗∗∗1234 *“粗”*" Z "体"},
	{"signal-styled",
	 "**发货通知**\n"
	 "\n"
	 "**张三**，您的订单 *SF_123* 已发出：`A∗1`\n"
	 "查看物流 (https://x.example.com/t?a=1&b=(2))，或打开 https://x.example.com/a_b\n"
	 "\n"
	 "• 茶 ∗2\n"
	 "  • 联系 客服: tel:+861234\n"
	 "1. 第二步\n"
	 "\n"
	 "图: https://x.example.com/i.png\n"
	 "# 5 < 6 & @everyone <!here> 138∗∗∗∗1234 **“粗”**体"},
};
/* clang-format on */

static struct hm_arena arena;
static struct hm_buf out;

static const char *write_as(const char *dialect, const char *text, enum hm_text_format f)
{
	const struct hm_dialect *d = hm_dialect_find(hm_str_c(dialect));
	struct hm_rich r;
	struct hm_err e;

	assert_non_null(d);
	hm_arena_reset(&arena);
	hm_buf_reset(&out);
	assert_int_equal(hm_rich_parse(hm_str_c(text), f, &arena, &r, &e), 0);
	assert_int_equal(hm_dialect_write(d, &r, &out), 0);
	return hm_buf_cstr(&out);
}

static void test_one_text(void **state)
{
	size_t i = 0;

	for (; i < hm_countof(all); i++)
		assert_string_equal(write_as(all[i].dialect, one, HM_TEXT_MARKDOWN), all[i].text);
	assert_null(hm_dialect_at(i)); /* all of them */
}

static void test_cases(void **state)
{
	static const struct {
		const char *dialect, *source, *text;
	} cases[] = {
		/* blanks at the edges of a span stand outside, empty spans leave nothing */
		{"commonmark", "**\\ a\\ **b", Z " **a** b"},
		{"commonmark", "\\ a", " a"},
		{"commonmark", "\\ \\ - a", Z "  - a"},
		{"commonmark", "a **\\ ** b", "a   b"},
		/* spans end with the line where they have to */
		{"slack-mrkdwn", "**a\nb**", "*a*\n*b*"},
		{"tg-html", "**a\nb**", "<b>a\nb</b>"},
		{"html", "**a\nb**", "<p><strong>a<br>b</strong></p>"},
		{"commonmark", "[a\nb](https://e.com)", "[a b](https://e.com)"},
		/* neighbours */
		{"tg-mdv2", "*a***b**", "_a_*b*"},
		{"commonmark", "**a**_b_", "**a**" Z "*b*"},
		{"slack-mrkdwn", "x**a**y", "x" Z "*a*" Z "y"},
		{"commonmark", "x**(a)**y", "x**" Z "(a)" Z "**y"},
		{"signal-styled", "**a *b* c**", "**a b c**"},
		/* links: where the text goes on, in parentheses */
		{"plain", "[a](https://e.com)", "a: https://e.com"},
		{"plain", "[a](https://e.com) b", "a (https://e.com) b"},
		{"plain", "[https://e.com](https://e.com) b", "https://e.com b"},
		{"plain", "**[a](https://e.com)**", "a: https://e.com"},
		{"tg-html", "[a](weixin://dl)", "a: weixin://dl"},
		{"tg-mdv2", "[a](weixin://dl.x) b", "a \\(weixin://dl\\.x\\) b"},
		{"html", "[a](https://e.com/?a=\"b\"&c=<d>)",
		 "<p><a href=\"https://e.com/?a=%22b%22&amp;c=%3Cd%3E\">a</a></p>"},
		{"slack-mrkdwn", "[a](https://e.com/a|b>c)", "<https://e.com/a%7Cb%3Ec|a>"},
		{"discord-md", "https://e.com/a_b_(c) x", "https://e.com/a_b_%28c%29 x"},
		{"wecom-md", "[a\\]b](https://e.com)",
		 "[a\xef\xbc\xbd"
		 "b](https://e.com)"},
		/* headings */
		{"feishu-md", "# a", "#### a"},
		{"discord-md", "##### a", "### a"},
		{"wa-text", "# a **b** c\nd", "*a b c*\nd"},
		{"commonmark", "# C #", "# C #" Z},
		{"tg-html", "a\n# b\nc", "a\n<b>b</b>\nc"},
		/* lists */
		{"commonmark", "a\n- b\nc", "a\n\n- b\n\nc"},
		{"slack-mrkdwn", "a\n- b\nc", "a\n\xe2\x80\xa2 b\nc"},
		{"html", "1. a\n   1. b\n2. c\n7. d",
		 "<ol><li>a<ol><li>b</li></ol></li><li>c</li><li value=\"7\">d</li></ol>"},
		{"html", "3. a\n- b", "<ol start=\"3\"><li>a</li></ol><ul><li>b</li></ul>"},
		{"commonmark", "1. a\n  - b\n    - c", "1. a\n   - b\n     - c"},
		{"tg-mdv2", "1. a", "1\\. a"},
		/* the start of a line */
		{"commonmark", "\\# a\n1\\. b\n\\- c\n> d\n=", "\\# a  \n1\\. b  \n\\- c  \n\\> d  \n" Z "="},
		{"commonmark", "123456", "123456"},
		{"commonmark", "2025-11-11 12:30", "2025-11-11 12:30"},
		{"wa-text", "> a", Z "> a"},
		{"slack-mrkdwn", "> a", Z "&gt; a"},
		/* left alone where it means nothing */
		{"slack-mrkdwn", "2 * 3 = 6, a_b, 5*3", "2 * 3 = 6, a_b, 5*3"},
		{"ding-md", "2 * 3, a_b, [FIRING:1] x", "2 * 3, a_b, [FIRING:1] x"},
		{"wecom-md", "a * b, [x] (y), 1 < 2 & 3", "a * b, [x] (y), 1 < 2 & 3"},
		{"commonmark", "ann@e.com 12:30:45 :)", "ann@e.com 12:30:45 :)"},
		/* mentions and emoji */
		{"commonmark", "@ann :tada:", "@" Z "ann :" Z "tada:"},
		{"discord-md", "@here @ann", "@" Z "here @ann"},
		{"slack-mrkdwn", "<!channel> <@U1>", "&lt;!channel&gt; &lt;@U1&gt;"},
		{"plain-chat", "<at user_id=\"all\">x</at>", "<" Z "at user_id=\"all\">x<" Z "/at>"},
		/* code */
		{"tg-mdv2", "`a\\`b\\\\.c`", "`a\\`b\\\\.c`"},
		{"slack-mrkdwn", "`a\\`<b>`", "`a\xcb\x8b&lt;b&gt;`"},
		{"ding-md", "`a_b`", "a_b"},
		/* images */
		{"plain", "![a](https://e.com/i.png)", "a: https://e.com/i.png"},
		{"plain", "![](https://e.com/i.png)", "https://e.com/i.png"},
		{"slack-mrkdwn", "![a](https://e.com/i.png)", "<https://e.com/i.png|a>"},
		{"matrix-html", "![a](mxc://e.com/i)", "<img src=\"mxc://e.com/i\" alt=\"a\">"},
		{"html", "![\"a\"](https://e.com/i)",
		 "<p><img src=\"https://e.com/i\" alt=\"&quot;a&quot;\"></p>"},
		/* paragraphs */
		{"adaptive", "a\nb\n\nc", "a\n\nb\n\nc"},
		{"ding-md", "a\nb\n\nc", "a  \nb\n\nc"},
		/* a heading that is only bold needs the line break of the medium */
		{"adaptive", "# a\nb", "**a**\n\nb"},
		{"adaptive", "# a\n- b\n# c\n## d", "**a**\n\n- b\n\n**c**\n\n**d**"},
		{"ding-md", "# a\nb", "# a\nb"},
		{"slack-mrkdwn", "# a\nb", "*a*\nb"},
		{"matrix-html", "a\nb", "a<br>b"},
		{"html", "a\\\n\\ \\ b", "<p>a<br>&nbsp; b</p>"},
		{"plain", "", ""},
		{"html", "", ""},
	};

	for (size_t i = 0; i < hm_countof(cases); i++)
		assert_string_equal(write_as(cases[i].dialect, cases[i].source, HM_TEXT_MARKDOWN),
				    cases[i].text);
}

static void test_html_source(void **state)
{
	static const char part[] = "<div style=\"color:red\">Hi <b>Ann &amp; Bob</b></div><p>x</p>";
	static const char whole[] = "<!-- x --><HTML><body>Hi</body></HTML>";
	const char *t;

	/* what the author wrote goes out as it is, and a whole document is not wrapped again */
	assert_string_equal(write_as("html", part, HM_TEXT_HTML), part);
	assert_string_equal(write_as("html-doc", whole, HM_TEXT_HTML), whole);
	t = write_as("html-doc", part, HM_TEXT_HTML);
	assert_non_null(strstr(t, part));
	assert_int_equal(strncmp(t, "<!DOCTYPE html>", 15), 0);
	assert_non_null(strstr(t, "<meta charset=\"utf-8\">"));
	/* every other dialect gets its own markup */
	assert_string_equal(write_as("plain", part, HM_TEXT_HTML), "Hi Ann & Bob\n\nx");
	assert_string_equal(write_as("slack-mrkdwn", part, HM_TEXT_HTML), "Hi *Ann &amp; Bob*\n\nx");
	assert_string_equal(write_as("matrix-html", part, HM_TEXT_HTML),
			    "<p>Hi <strong>Ann &amp; Bob</strong></p><p>x</p>");
}

static void test_escape(void **state)
{
	static const struct {
		const char *dialect, *source, *text;
	} cases[] = {
		{"plain", "a*b", "a*b"},
		{"html", "a\n<b>", "a<br>&lt;b&gt;"},
		{"tg-mdv2", "v1.2", "v1\\.2"},
		{"commonmark", "# a", "\\# a"},
		{"discord-md", "@every\x01one", "@" Z "everyone"},
		{"wecom-md", "a*", "a*" Z},
	};

	for (size_t i = 0; i < hm_countof(cases); i++) {
		hm_buf_reset(&out);
		assert_int_equal(hm_dialect_escape(hm_dialect_find(hm_str_c(cases[i].dialect)),
						   hm_str_c(cases[i].source), &out),
				 0);
		assert_string_equal(hm_buf_cstr(&out), cases[i].text);
	}
}

static void test_table(void **state)
{
	const struct hm_dialect *d = hm_dialect_find(HM_STR("wecom-md"));
	uint32_t shows = hm_dialect_shows(d);

	assert_null(hm_dialect_find(HM_STR("markdown")));
	assert_string_equal(hm_dialect_name(hm_dialect_plain()), "plain");
	assert_true(shows & 1u << HM_RICH_BOLD && shows & 1u << HM_RICH_LINK &&
		    shows & 1u << HM_RICH_HEADING);
	assert_false(shows & (1u << HM_RICH_ITALIC | 1u << HM_RICH_IMAGE | 1u << HM_RICH_ITEM));
	for (size_t i = 0; hm_dialect_at(i); i++)
		assert_ptr_equal(hm_dialect_find(hm_str_c(hm_dialect_name(hm_dialect_at(i)))),
				 hm_dialect_at(i));
}

static void test_full(void **state)
{
	struct hm_buf small;
	struct hm_rich r;
	struct hm_err e;

	hm_arena_reset(&arena);
	hm_buf_init(&small, 10);
	assert_int_equal(hm_rich_parse(hm_str_c(one), HM_TEXT_MARKDOWN, &arena, &r, &e), 0);
	for (size_t i = 0; hm_dialect_at(i); i++) {
		hm_buf_reset(&small);
		assert_int_equal(hm_dialect_write(hm_dialect_at(i), &r, &small), HM_ELIMIT);
		assert_true(small.len <= 10);
	}
	hm_buf_fini(&small);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_text),    cmocka_unit_test(test_cases),
		cmocka_unit_test(test_html_source), cmocka_unit_test(test_escape),
		cmocka_unit_test(test_table),	    cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
