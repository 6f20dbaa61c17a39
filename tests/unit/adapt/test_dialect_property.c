/*
 * Any data in any place of a template, in every dialect: read back, it is that data, with the template's style
 * and no other. Seeded; HM_TEST_SEED and HM_TEST_CASES (texts of data) change the run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#ifndef __clang__
#pragma GCC optimize("O2") /* the readers, in a debug build too: there are hundreds of thousands of texts */
#endif
#include "reader_markdown.h"

/* -- what each dialect is expected to show: written down here once more, not taken from the table ------------ */

enum reader {
	R_PLAIN,
	R_CHAT,
	R_HTML,
	R_MATRIX,
	R_TG_HTML,
	R_MDV2,
	R_WECOM,
	R_MD,
	R_SLACK,
	R_GCHAT,
	R_WA,
	R_SIGNAL
};
enum {
	LINES_EXACT,
	LINES_TWO,
	LINES_ONE
}; /* empty lines: as many as there are; one at most; no difference */
enum { L_WORDS, L_MARK, L_TAG };
enum { H_LINE, H_BOLD, H_MARK, H_TAG };

struct look {
	const char *name;
	enum reader reader;
	unsigned shows; /* ST_BOLD ST_ITALIC ST_CODE */
	int link, heading;
	bool bullets; /* an item's sign is not text */
	int lines;
	unsigned md; /* flags every reading has; with MD_BOTH it is read with and without escapes */
	bool emoji, mentions;
};
enum { MD_BOTH = 1024 };
#define BIC (ST_BOLD | ST_ITALIC | ST_CODE)
#define BI  (ST_BOLD | ST_ITALIC)

static const struct look looks[] = {
	{"plain", R_PLAIN, 0, L_WORDS, H_LINE, false, LINES_EXACT, 0, false, false},
	{"plain-chat", R_CHAT, 0, L_WORDS, H_LINE, false, LINES_EXACT, 0, false, true},
	{"html", R_HTML, BIC, L_TAG, H_TAG, true, LINES_TWO, 0, false, false},
	{"html-doc", R_HTML, BIC, L_TAG, H_TAG, true, LINES_TWO, 0, false, false},
	{"matrix-html", R_MATRIX, BIC, L_TAG, H_TAG, true, LINES_TWO, 0, false, false},
	{"tg-html", R_TG_HTML, BIC, L_TAG, H_BOLD, false, LINES_EXACT, 0, false, true},
	{"tg-mdv2", R_MDV2, BIC, L_TAG, H_BOLD, false, LINES_EXACT, 0, false, true},
	{"wecom-md", R_WECOM, ST_BOLD | ST_CODE, L_MARK, H_MARK, false, LINES_EXACT, 0, false, false},
	{"wecom-md2", R_MD, BIC, L_MARK, H_MARK, true, LINES_TWO, MD_SLASH | MD_ENTITY, false, false},
	{"ding-md", R_MD, BI, L_MARK, H_MARK, true, LINES_TWO, MD_BOTH, false, false},
	{"feishu-md", R_MD, BI, L_MARK, H_MARK, true, LINES_TWO, MD_ENTITY | MD_BOTH, true, false},
	{"slack-mrkdwn", R_SLACK, BIC, L_MARK, H_BOLD, false, LINES_EXACT, 0, true, false},
	{"gchat", R_GCHAT, BIC, L_MARK, H_BOLD, true, LINES_TWO, 0, false, false},
	{"discord-md", R_MD, BIC, L_MARK, H_MARK, true, LINES_TWO, MD_SLASH | MD_SPOILER | MD_NO_TABLE, true,
	 false},
	{"adaptive", R_MD, BI, L_MARK, H_BOLD, true, LINES_ONE, MD_BOTH, false, false},
	{"commonmark", R_MD, BIC, L_MARK, H_MARK, true, LINES_TWO, MD_SLASH | MD_ENTITY, true, true},
	{"wa-text", R_WA, BIC, L_WORDS, H_BOLD, false, LINES_EXACT, 0, false, false},
	{"signal-styled", R_SIGNAL, BIC, L_WORDS, H_BOLD, false, LINES_EXACT, 0, false, false},
};

static void read_back(const struct look *l, struct hm_str s, unsigned md, struct vis *v)
{
	v->n = v->nlinks = 0;
	switch (l->reader) {
	case R_PLAIN: vis_puts(v, s, 0); break;
	case R_CHAT:
		vis_puts(v, s, 0);
		find_tags(v);
		break;
	case R_HTML:
	case R_MATRIX:
		if (strcmp(l->name, "html-doc") == 0) {
			ptrdiff_t a = hm_str_find(s, HM_STR("auto\">\n")),
				  b = hm_str_find(s, HM_STR("\n</div>\n</body>"));

			assert_true(a > 0 && b > 0);
			s = hm_str_n(s.p + a + 7, (size_t)(b - a - 7));
		}
		read_html(v, s, true);
		break;
	case R_TG_HTML: read_html(v, s, false); break;
	case R_MDV2: read_mdv2(v, s); break;
	case R_WECOM: read_wecom(v, s); break;
	case R_MD: read_markdown(v, s, md | (l->emoji ? MD_EMOJI : 0u)); break;
	case R_SLACK: read_edges(v, s, true, false); break;
	case R_GCHAT: read_edges(v, s, true, true); break;
	case R_WA: read_edges(v, s, false, true); break;
	case R_SIGNAL: read_signal(v, s); break;
	}
	if (l->mentions || l->reader == R_SLACK || strcmp(l->name, "discord-md") == 0)
		find_mentions(v, l->mentions);
	if (l->reader == R_MATRIX)
		for (size_t i = 0; i + 4 < v->n; i++)
			if (v->cp[i] == '@' && v->cp[i + 1] == 'r' && v->cp[i + 2] == 'o' &&
			    v->cp[i + 3] == 'o' && v->cp[i + 4] == 'm' &&
			    !(i && rd_alnum((int)hm_min(v->cp[i - 1], 127u))))
				v->st[i] |= ST_MENTION;
	if (l->emoji && l->reader != R_MD)
		find_emoji(v);
}

/* Takes out what a dialect may add or change. */
static void canon(const struct look *l, struct vis *v)
{
	static const uint32_t twins[][2] = {{0x2217, '*'}, {0x2cd, '_'},   {0x223c, '~'}, {0x2cb, '`'},
					    {0x2223, '|'}, {0x2216, '\\'}, {0xff3b, '['}, {0xff3d, ']'}};
	bool md = l->reader == R_MD, html = l->reader == R_HTML || l->reader == R_MATRIX;
	static struct vis old;
	size_t n = 0, lines = 0;

	old.n = v->n;
	memcpy(old.cp, v->cp, v->n * sizeof(v->cp[0]));
	memcpy(old.st, v->st, v->n * sizeof(v->st[0]));
	for (size_t i = 0; i < old.n; i++) {
		uint32_t c = old.cp[i];
		unsigned st = old.st[i];

		if (c == 0x200b)
			continue;
		for (size_t k = 0; c >= 0x2cb && k < hm_countof(twins); k++)
			if (c == twins[k][0])
				c = twins[k][1];
		if (c == 0xa0)
			c = ' ';
		if (c == '\t' && html) {
			for (int k = 0; k < 4; k++, n++)
				v->cp[n] = ' ', v->st[n] = 0;
			continue;
		}
		if (c == ' ' || c == '\t' || c == '\n')
			st &= ST_OTHER;
		v->cp[n] = c;
		v->st[n++] = (uint16_t)st;
	}
	v->n = n;
	n = 0;
	for (size_t i = 0; i < v->n; i++) {
		uint32_t c = v->cp[i];

		if (c == '\n') {
			while (md && n && (v->cp[n - 1] == ' ' || v->cp[n - 1] == '\t'))
				n--;
			lines++;
			if ((l->lines == LINES_TWO && lines > 2) || (l->lines == LINES_ONE && lines > 1) ||
			    n == 0)
				continue;
		} else {
			if (md && (c == ' ' || c == '\t') && (n == 0 || v->cp[n - 1] == '\n'))
				continue;
			lines = 0;
		}
		v->cp[n] = c;
		v->st[n++] = v->st[i];
	}
	while (n && (v->cp[n - 1] == '\n' || v->cp[n - 1] == ' ' || v->cp[n - 1] == '\t'))
		n--;
	v->n = n;
}

/* -- templates: %: the data; %%: two of them. In what is expected a control sign switches a style. ----------- */

#define B "\1"
#define I "\2"
#define L "\3"
#define C "\4"
#define H "\5"
#define U "\6" /* an item's sign */
#define N "\7" /* that of item 1 */

static const struct {
	const char *source, *shown;
} places[] = {
	{"%", "%"},
	{"a % b", "a % b"},
	{"a%b", "a%b"},
	{"%7", "%7"},
	{"中%文", "中%文"},
	{"one\n%", "one\n%"},
	{"%\none", "%\none"},
	{"one\n\n%\n\ntwo", "one\n\n%\n\ntwo"},
	{"**%**", B "%" B},
	{"a**%**b", "a" B "%" B "b"},
	{"中**%**文", "中" B "%" B "文"},
	{"*%*", I "%" I},
	{"**b**%*i*", B "b" B "%" I "i" I},
	{"*a*%", I "a" I "%"},
	{"**a *%* b**", B "a " I "%" I " b" B},
	{"[%](https://e.com/)", L "%" L},
	{"see [a %](https://e.com/) %", "see " L "a %" L " %"},
	{"[a](https://e.com/)%", L "a" L "%"},
	{"%[a](https://e.com/)", "%" L "a" L},
	{"- %", U "%"},
	{"1. %", N "%"},
	{"# %", H "%" H},
	{"## a % b", H "a % b" H},
	{"`%`", C "%" C},
	{"code `%` %.", "code " C "%" C " %."},
	{"%%", "%%"},
	{"\\*%\\*", "*%*"},
	{"(%)", "(%)"},
};

/* The data as it is to be seen: line breaks are \n, what cannot be seen is not there. */
static struct hm_str visible(struct hm_str x, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < x.len; i++) {
		unsigned char c = (unsigned char)x.p[i];

		if (c == '\r') {
			out[n++] = '\n';
			i += i + 1 < x.len && x.p[i + 1] == '\n';
		} else if (c == 0xc2 && (unsigned char)x.p[i + 1] < 0xa0) {
			i++;
		} else if ((c >= 0x20 && c != 0x7f) || c == '\t' || c == '\n') {
			out[n++] = (char)c;
		}
	}
	return hm_str_n(out, n);
}

static void expect(const struct look *l, const char *shown, struct hm_str x, struct vis *v)
{
	unsigned st = 0;
	bool link = false, code = false, heading = false;

	v->n = v->nlinks = 0;
	for (const char *p = shown; *p;) {
		struct hm_str rest = hm_str_c(p);
		size_t n;
		unsigned now = st & (l->shows | ST_LINK | ST_HEADING);

		if (heading && l->heading == H_BOLD)
			now |= ST_BOLD;
		if (l->reader == R_SIGNAL && st & ST_BOLD)
			now &= ~(unsigned)ST_ITALIC; /* styles do not nest there */
		switch (*p) {
		case 1: st ^= ST_BOLD; break;
		case 2: st ^= ST_ITALIC; break;
		case 3:
			if (l->link != L_WORDS) {
				st ^= ST_LINK;
			} else if (link) {
				bool tail = p[1] == '%' ? x.len && x.p[0] != '\n' : p[1] && p[1] != '\n';

				vis_puts(v, tail ? HM_STR(" (https://e.com/)") : HM_STR(": https://e.com/"),
					 0);
			}
			link = !link;
			break;
		case 4:
			st ^= ST_CODE;
			code = !code;
			break;
		case 5:
			heading = !heading;
			st ^= l->heading >= H_MARK ? ST_HEADING : 0u;
			break;
		case 6:
		case 7:
			if (l->bullets && !(*p == 7 && l->reader == R_GCHAT))
				vis_put(v, CP_BULLET, 0);
			else
				vis_puts(v, *p == 6 ? HM_STR("• ") : HM_STR("1. "), 0);
			break;
		case '%':
			for (size_t i = 0; i < x.len; i += n) {
				uint32_t cp = hm_utf8_decode(hm_str_n(x.p + i, x.len - i), &n);

				if (cp == '\n' &&
				    (code || (link && l->link != L_WORDS && l->link != L_TAG) ||
				     (link && l->reader == R_MDV2) || (heading && l->heading == H_MARK)))
					cp = ' ';
				vis_put(v, cp, now);
			}
			break;
		default:
			vis_put(v, hm_utf8_decode(rest, &n), now);
			p += n;
			continue;
		}
		p++;
	}
}

/* -- data -------------------------------------------------------------------------------------------------------- */

static uint64_t seed = 20240511;
static uint32_t rnd(uint32_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % n;
}

static const char *const hostile[] = {
	"@everyone",
	"@here",
	"@all",
	"@room",
	"@channel",
	"<!channel>",
	"<!here>",
	"<@U012AB>",
	"<@zhangsan>",
	"<@&123>",
	"<#C1|x>",
	"<at id=all></at>",
	"<at user_id=\"all\">x</at>",
	"<users/all>",
	"</p><script>alert(1)</script>",
	"<b>",
	"</b>",
	"<img src=x onerror=a>",
	"<https://evil.example|click>",
	"[x](https://evil.example)",
	"![x](https://evil.example/i.png)",
	"](https://evil.example)",
	"[",
	"]",
	"(",
	")",
	"](",
	"[]",
	"**",
	"*",
	"***",
	"_",
	"__",
	"~~",
	"~",
	"||",
	"`",
	"```",
	"``",
	"**bold**",
	"*it*",
	"_it_",
	"~~s~~",
	"~s~",
	"||sp||",
	"`c`",
	"```\ncode\n```",
	"# h",
	"#",
	"###### x",
	"> q",
	">",
	">>> q",
	"- i",
	"-",
	"* i",
	"+ i",
	"1. i",
	"1) i",
	"1.",
	"12",
	"---",
	"===",
	"- - -",
	"| a | b |",
	"|-|-|",
	":-",
	"    code",
	"\tcode",
	" ",
	"  ",
	"\n",
	"\r\n",
	"\r",
	"\n\n",
	"\n\n\n",
	"\n- x",
	"\n# x",
	"\n> x",
	"\n    x",
	"\n1. x",
	"  \n",
	"\\",
	"\\\\",
	"\\*",
	"\\n",
	"\\\n",
	"&amp;",
	"&lt;b&gt;",
	"&#60;",
	"&copy;",
	"&",
	"<",
	">",
	"\"",
	"'",
	"!",
	"!\\[",
	"$$x$$",
	"{{x}}",
	"${x}",
	"%s",
	"%%",
	":smile:",
	":+1:",
	"12:30:45",
	":a",
	"https://evil.example/a_b*c",
	"http://e",
	"://",
	"https:",
	"mailto:a@b.c",
	"a@b.com",
	"@a",
	"\xe2\x80\xa8",
	"\xe2\x80\x8b",
	"\xe2\x80\xae abc",
	"\xd9\x85\xd8\xb1\xd8\xad",
	"\xf0\x9f\x98\x80",
	"\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb",
	"\xf0\x9f\x87\xa8\xf0\x9f\x87\xb3",
	"e\xcc\x81",
	"\xc2\xa0",
	"\xe3\x80\x80",
	"\xc2\x85",
	"\xc2\x9f",
	"\x01",
	"\x07",
	"\x1b[31m",
	"\x7f",
	"\x0b",
	"\x0c",
	"138****1234",
	"2 * 3",
	"a_b_c",
	"snake_case",
	"C:\\dir\\*",
	"\"quoted\"",
	"“引号”",
	"（括号）",
	"，",
	"。",
	"中文",
	"【顺丰】",
	"abc",
	"x",
	"7",
	"Maria Lopez",
	"@every\x01one",
	"<\x02!channel>",
	"*\x03*b**",
	"javascript:alert(1)",
	"=",
	"+",
	"{",
	"}",
	"^",
	";",
	",",
	".",
	"?",
	"/",
	"/me x",
	"•",
	"• x",
	"<font color=\"info\">x</font>",
	"~~~",
	"<br>",
	"<!--",
	"-->",
};

static struct hm_str data(char *out, size_t cap)
{
	uint32_t parts = 1 + rnd(rnd(4) ? 4 : 12), kind = rnd(10);
	size_t n = 0;

	if (rnd(300) == 0)
		parts = 400; /* very long */
	while (parts--) {
		const char *s = hostile[rnd(hm_countof(hostile))];
		char one[4];

		if (kind < 3) { /* any ASCII sign */
			one[0] = (char)(0x20 + rnd(0x5f));
			if (kind == 0 && rnd(2))
				one[0] = "*_`[]()<>&@#!~|\\-+.:\n "[rnd(22)];
			one[1] = '\0';
			s = one;
		}
		if (n + strlen(s) > cap)
			break;
		memcpy(out + n, s, strlen(s));
		n += strlen(s);
	}
	return hm_str_n(out, n);
}

/* -- the test ------------------------------------------------------------------------------------------------------ */

static struct vis seen, want;
static struct hm_arena arena;
static struct hm_buf source, sent;
static char clean_text[16384], twice_text[32768];

static void dump(const char *title, const struct vis *v, size_t at)
{
	fprintf(stderr, "%s: ", title);
	for (size_t i = at > 30 ? at - 30 : 0; i < v->n && i < at + 30; i++) {
		char t[4];
		size_t n = hm_utf8_encode(v->cp[i], t);

		if (i == 0 || v->st[i] != v->st[i - 1])
			fprintf(stderr, "{%u}", v->st[i]);
		fprintf(stderr, "%.*s", (int)n, t);
	}
	fprintf(stderr, "\n");
}

static void same(const struct look *l, const char *place, struct hm_str x)
{
	struct hm_str out = hm_buf_str(&sent);
	static const unsigned readings[] = {0, MD_SLASH};

	assert_true(hm_utf8_valid(out));
	for (size_t i = 0; i < out.len; i++)
		assert_false(((unsigned char)out.p[i] < 0x20 && out.p[i] != '\n' && out.p[i] != '\t') ||
			     out.p[i] == 0x7f ||
			     ((unsigned char)out.p[i] == 0xc2 && (unsigned char)out.p[i + 1] < 0xa0));
	canon(l, &want);
	for (size_t k = 0; k < (l->md & MD_BOTH ? 2u : 1u); k++) {
		read_back(l, out, (l->md & ~(unsigned)MD_BOTH) | (l->md & MD_BOTH ? readings[k] : 0), &seen);
		canon(l, &seen);
		if (seen.n != want.n || memcmp(seen.cp, want.cp, want.n * 4) ||
		    memcmp(seen.st, want.st, want.n * 2)) {
			size_t at = 0;

			while (at < seen.n && at < want.n && seen.cp[at] == want.cp[at] &&
			       seen.st[at] == want.st[at])
				at++;
			fprintf(stderr, "differs at %zu: U+%04X {%u}, should be U+%04X {%u}\n", at,
				seen.cp[at], seen.st[at], want.cp[at], want.st[at]);
			fprintf(stderr, "%s, \"%s\" with \"%.*s\" (reading %zu)\nsource: %.*s\nsent: %.*s\n",
				l->name, place, HM_STRF(x), k, (int)source.len, source.p, HM_STRF(out));
			dump("seen", &seen, at);
			dump("want", &want, at);
			fail_msg("%s: not what was said", l->name);
		}
	}
}

static void put_source(const char *tmpl, struct hm_str x)
{
	hm_buf_reset(&source);
	for (const char *p = tmpl; *p; p++)
		if (*p == '%')
			assert_int_equal(hm_rich_escape(x, &source), 0);
		else
			hm_buf_putc(&source, *p);
}

static void run(const struct look *l, uint32_t cases)
{
	const struct hm_dialect *d = hm_dialect_find(hm_str_c(l->name));
	char raw[8192];
	struct hm_rich r;
	struct hm_err e;

	assert_non_null(d);
	for (uint32_t i = 0; i < cases; i++) {
		struct hm_str x = data(raw, sizeof(raw)), clean = visible(x, clean_text),
			      trimmed = hm_str_trim(clean);

		for (size_t k = 0; k < hm_countof(places); k++) {
			/* an empty value leaves a template's own markers: "****" */
			if (trimmed.len == 0 && strpbrk(places[k].shown, B I L U N H C "\n"))
				continue;
			put_source(places[k].source, x);
			hm_arena_reset(&arena);
			assert_int_equal(hm_rich_parse(hm_buf_str(&source), HM_TEXT_MARKDOWN, &arena, &r, &e),
					 0);
			hm_buf_reset(&sent);
			assert_int_equal(hm_dialect_write(d, &r, &sent), 0);
			expect(l, places[k].shown, clean, &want);
			same(l, places[k].source, x);
			for (size_t j = 0; j < seen.nlinks; j++)
				assert_string_equal(seen.link[j], "https://e.com/");
		}
		hm_arena_reset(&arena);
		assert_int_equal(hm_rich_parse(x, HM_TEXT_PLAIN, &arena, &r, &e), 0);
		hm_buf_reset(&sent);
		assert_int_equal(hm_dialect_write(d, &r, &sent), 0);
		expect(l, "%", clean, &want);
		hm_buf_reset(&source);
		same(l, "plain", x);
		if (strcmp(l->name, "html-doc") == 0)
			continue;
		hm_buf_reset(&sent);
		assert_int_equal(hm_dialect_escape(d, x, &sent), 0);
		expect(l, "%", clean, &want);
		same(l, "escape", x);
	}
}

static void test_dialects(void **state)
{
	const char *s = getenv("HM_TEST_SEED"), *n = getenv("HM_TEST_CASES"),
		   *only = getenv("HM_TEST_DIALECT");
	uint32_t cases = n ? (uint32_t)atoi(n) : 500;

	if (s)
		seed = (uint64_t)atoll(s);
	for (size_t i = 0; i < hm_countof(looks); i++)
		if (!only || strcmp(only, looks[i].name) == 0)
			run(&looks[i], cases);
	for (size_t i = 0; hm_dialect_at(i); i++) { /* none is left out */
		size_t k = 0;

		while (k < hm_countof(looks) && strcmp(looks[k].name, hm_dialect_name(hm_dialect_at(i))))
			k++;
		assert_true(k < hm_countof(looks));
	}
}

/* The words of a list that should have no markup. */
static struct hm_str words(const struct hm_rich *r, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++) {
		assert_true(r->v[i].kind == HM_RICH_TEXT || r->v[i].kind == HM_RICH_BREAK ||
			    r->v[i].kind == HM_RICH_PARA);
		if (r->v[i].kind == HM_RICH_TEXT) {
			memcpy(out + n, r->v[i].text.p, r->v[i].text.len);
			n += r->v[i].text.len;
		} else {
			out[n++] = '\n';
			if (r->v[i].kind == HM_RICH_PARA)
				out[n++] = '\n';
		}
	}
	return hm_str_n(out, n);
}

static void test_identity(void **state)
{
	char raw[8192];

	for (uint32_t i = 0; i < 40000; i++) {
		struct hm_str x = data(raw, sizeof(raw)), clean = visible(x, clean_text), got;
		struct hm_rich r;
		struct hm_err e;

		put_source("%", x);
		hm_arena_reset(&arena);
		assert_int_equal(hm_rich_parse(hm_buf_str(&source), HM_TEXT_MARKDOWN, &arena, &r, &e), 0);
		got = words(&r, twice_text);
		if (!hm_str_eq(got, clean))
			fail_msg("\"%.*s\" became \"%.*s\"", HM_STRF(clean), HM_STRF(got));
		assert_int_equal(hm_rich_parse(x, HM_TEXT_PLAIN, &arena, &r, &e), 0);
		got = words(&r, twice_text);
		if (!hm_str_eq(got, clean))
			fail_msg("plain \"%.*s\" became \"%.*s\"", HM_STRF(clean), HM_STRF(got));
		for (size_t k = 1; k < r.n; k++) /* texts are whole, blank lines are one */
			assert_false(r.v[k].kind == r.v[k - 1].kind && r.v[k].kind != HM_RICH_BREAK);
	}
}

/* A value in a link's target: the target is that value, or there is no link. */
static void test_targets(void **state)
{
	char raw[8192], url[8300];

	for (uint32_t i = 0; i < 20000; i++) {
		struct hm_str x = data(raw, sizeof(raw)), full;
		struct hm_rich r;
		struct hm_err e;
		size_t links = 0;
		bool prefix = rnd(4) != 0;

		put_source(prefix ? "a [t](https://e.com/%) b" : "a [t](%) b", x);
		full = hm_str_n(url, 0);
		if (prefix)
			memcpy(url, "https://e.com/", full.len = 14);
		for (size_t k = 0; k < x.len; k++) {
			if (x.p[k] == '\r') {
				url[full.len++] = '\n';
				k += k + 1 < x.len && x.p[k + 1] == '\n';
			} else {
				url[full.len++] = x.p[k];
			}
		}
		hm_arena_reset(&arena);
		assert_int_equal(hm_rich_parse(hm_buf_str(&source), HM_TEXT_MARKDOWN, &arena, &r, &e), 0);
		for (size_t k = 0; k < r.n; k++)
			if (r.v[k].kind == HM_RICH_LINK && !r.v[k].close) {
				if (r.v[k].bare && prefix &&
				    !hm_rich_url_ok(full)) /* it ends where the value spoils it */
					continue;
				links++;
				if (!hm_str_eq(r.v[k].text, full))
					fail_msg("\"%.*s\" became \"%.*s\", from %.*s", HM_STRF(full),
						 HM_STRF(r.v[k].text), (int)source.len, source.p);
				assert_true(hm_rich_url_ok(full));
				assert_true(hm_str_eq(r.v[k].text, full));
				assert_true(hm_str_is(r.v[k + 1].text, "t"));
			}
		assert_int_equal(links, hm_rich_url_ok(full));
		for (size_t k = 0; hm_dialect_at(k); k++) { /* and the markup around it holds */
			ptrdiff_t at;

			if (i % 16 || links == 0)
				break;
			hm_buf_reset(&sent);
			assert_int_equal(hm_dialect_write(hm_dialect_at(k), &r, &sent), 0);
			at = hm_str_find(hm_buf_str(&sent), HM_STR("https://e.com/"));
			if (prefix)
				assert_true(at > 0);
			assert_int_equal(hm_str_chr(hm_buf_str(&sent), '"') >= 0,
					 hm_str_find(hm_buf_str(&sent), HM_STR("href=\"")) >= 0 || k == 3);
		}
	}
}

static int setup(void **state)
{
	hm_arena_init(&arena, NULL, 0);
	hm_buf_init(&source, 1 << 20);
	hm_buf_init(&sent, 1 << 20);
	return 0;
}

static int teardown(void **state)
{
	hm_arena_fini(&arena);
	hm_buf_fini(&source);
	hm_buf_fini(&sent);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_dialects),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
