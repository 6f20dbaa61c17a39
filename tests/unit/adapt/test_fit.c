/*
 * test_fit.c - texts made to fit: exact results, and what holds for any text, dialect, limit and unit
 *
 * The generated texts are made of words that count up (w0 w1 w2 ...) in bold, links, lists, headings; targets of
 * links begin with https://u and end in Z. So a result tells what it holds: which words in which order, and whether a
 * target was torn.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "adapt/breaks.h"
#include "adapt/fit.h"

static struct hm_arena a;

static int setup(void **state)
{
	hm_arena_init(&a, NULL, 0);
	return 0;
}
static int teardown(void **state)
{
	hm_arena_fini(&a);
	return 0;
}

static struct hm_rich md(const char *text)
{
	struct hm_rich r;
	struct hm_err e;

	hm_err_clear(&e);
	if (hm_rich_parse(hm_str_c(text), HM_TEXT_MARKDOWN, &a, &r, &e) != 0)
		fail_msg("%s", e.text);
	return r;
}

static struct hm_fit fitted(const char *text, const char *dialect, struct hm_fit_limit l)
{
	const struct hm_dialect *d = hm_dialect_find(hm_str_c(dialect));
	struct hm_rich r = md(text);
	struct hm_fit out;
	struct hm_err e;

	hm_err_clear(&e);
	assert_non_null(d);
	if (hm_fit_rich(&r, NULL, d, &l, &a, &out, &e) != 0)
		fail_msg("%s", e.text);
	return out;
}

#define ELLIPSIS "\xe2\x80\xa6"
#define CUT(n)	 ((struct hm_fit_limit){.max = (n), .unit = HM_UNIT_CHARS, .mark = HM_STR_INIT(ELLIPSIS)})
#define assert_part(f, i, text)                                                        \
	do {                                                                           \
		if (!hm_str_is((f).part[i], (text)))                                   \
			fail_msg("part %d: \"%.*s\"", (int)(i), HM_STRF((f).part[i])); \
	} while (0)

static void whole(void **state)
{
	struct hm_fit f = fitted("a **b** c", "commonmark", CUT(9));

	assert_part(f, 0, "a **b** c");
	assert_int_equal(f.n, 1);
	assert_int_equal(f.before, 9);
	assert_int_equal(f.after, 9);
	assert_int_equal(f.action, HM_FIT_WHOLE);
	assert_false(f.cut);
	f = fitted("a **b** c", "commonmark", (struct hm_fit_limit){.unit = HM_UNIT_BYTES});
	assert_int_equal(f.before, 9); /* no limit */
}

static void cuts(void **state)
{
	struct hm_fit f = fitted("one **two three** four", "commonmark", CUT(14));

	assert_part(f, 0, "one **two" ELLIPSIS "**");
	assert_int_equal(f.action, HM_FIT_CUT);
	assert_true(f.cut);
	assert_int_equal(f.before, 22);
	assert_int_equal(f.after, 12);
	f = fitted("one **two three** four", "tg-html", CUT(18));
	assert_part(f, 0, "one <b>two" ELLIPSIS "</b>");
	/* A target is whole or not there. */
	f = fitted("see [the page](https://x.example/abc) now", "commonmark", CUT(36));
	assert_part(f, 0, "see [the" ELLIPSIS "](https://x.example/abc)");
	f = fitted("see [the page](https://x.example/abc) now", "commonmark", CUT(20));
	assert_part(f, 0, "see" ELLIPSIS);
	f = fitted("see https://x.example/abc now", "plain", CUT(20));
	assert_part(f, 0, "see" ELLIPSIS);
	/* Escapes count, and stay whole. */
	f = fitted("a.b.c.d.e.f.g", "tg-mdv2", CUT(8));
	assert_part(f, 0, "a\\.b\\.c" ELLIPSIS);
	/* Lists and headings end where they end. */
	f = fitted("# Head\n- one\n- two\n- three", "plain", CUT(17));
	assert_part(f, 0, "Head\n\xe2\x80\xa2 one\n\xe2\x80\xa2 two" ELLIPSIS);
	f = fitted("first line\nsecond", "plain", CUT(12));
	assert_part(f, 0, "first line" ELLIPSIS);
	/* Smaller than its mark. */
	f = fitted("abc def", "plain",
		   (struct hm_fit_limit){.max = 2, .unit = HM_UNIT_BYTES, .mark = HM_STR("...")});
	assert_part(f, 0, "ab");
	f = fitted("**abc**", "html", CUT(3));
	assert_part(f, 0, "");
	f = fitted("abc", "html-doc", CUT(10));
	assert_part(f, 0, "");
	assert_int_equal(f.after, 0);
}

static void refused(void **state)
{
	struct hm_fit_limit l = {.max = 5, .unit = HM_UNIT_CHARS, .over = HM_OVER_REFUSE};
	struct hm_rich r = md("abcdef");
	struct hm_fit out;
	struct hm_err e;

	hm_err_clear(&e);
	assert_int_equal(hm_fit_rich(&r, NULL, hm_dialect_plain(), &l, &a, &out, &e), HM_ELIMIT);
	assert_string_equal(e.text, "6 characters, at most 5 are allowed");
	l.unit = HM_UNIT_SEGMENTS;
	l.max = 1;
	assert_int_equal(hm_fit_rich(&r, NULL, hm_dialect_plain(), &l, &a, &out, &e), 0);
}

static void shorter(void **state)
{
	struct hm_fit_limit l = CUT(12);
	struct hm_rich r = md("a long text of many words"), s = md("in **short**"),
		       t = md("short but still too long");
	struct hm_fit out;
	struct hm_err e;

	hm_err_clear(&e);
	l.over = HM_OVER_SHORT;
	assert_int_equal(hm_fit_rich(&r, &s, hm_dialect_plain(), &l, &a, &out, &e), 0);
	assert_part(out, 0, "in short");
	assert_int_equal(out.action, HM_FIT_SHORT);
	assert_false(out.cut);
	assert_int_equal(out.before, 25);
	assert_int_equal(hm_fit_rich(&r, &t, hm_dialect_plain(), &l, &a, &out, &e), 0);
	assert_part(out, 0, "short but" ELLIPSIS);
	assert_int_equal(out.action, HM_FIT_SHORT);
	assert_true(out.cut);
	assert_int_equal(hm_fit_rich(&r, NULL, hm_dialect_plain(), &l, &a, &out, &e), 0);
	assert_part(out, 0, "a long text" ELLIPSIS);
	assert_int_equal(out.action, HM_FIT_CUT);
	l.max = 100;
	assert_int_equal(hm_fit_rich(&r, &s, hm_dialect_plain(), &l, &a, &out, &e), 0);
	assert_int_equal(out.action, HM_FIT_WHOLE);
}

static void tails(void **state)
{
	struct hm_rich tail = md("[Open](https://x.example/)");
	struct hm_fit_limit l = CUT(40);
	struct hm_fit f;

	l.tail = &tail;
	f = fitted("a text of more words than there is room for", "discord-md", l);
	assert_part(f, 0, "a text of" ELLIPSIS "\n[Open](https://x.example/)");
	l.max = 12; /* no room for it: the words are more worth */
	f = fitted("a text of more words", "commonmark", l);
	assert_part(f, 0, "a text of" ELLIPSIS);
	l.max = 100;
	f = fitted("short", "plain", l);
	assert_part(f, 0, "short\nOpen: https://x.example/");
	f = fitted("", "commonmark", l);
	assert_part(f, 0, "[Open](https://x.example/)");
	/* Around every part. */
	l = (struct hm_fit_limit){
		.max = 1, .unit = HM_UNIT_SEGMENTS, .mark = HM_STR("..."), .beside = HM_STR("[Shop] ")};
	f = fitted("0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 "
		   "0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789",
		   "plain", l);
	assert_int_equal(f.part[0].len, 13 * 11 - 1 + 3); /* 160 - 9 (brackets cost two) */
	assert_int_equal(f.before, 2);
	assert_int_equal(f.after, 1);
}

static void splits(void **state)
{
	struct hm_fit_limit l = {
		.max = 20, .unit = HM_UNIT_CHARS, .over = HM_OVER_SPLIT, .mark = HM_STR(ELLIPSIS)};
	struct hm_fit f = fitted("first paragraph\n\nsecond **bold words here** end", "commonmark", l);

	assert_int_equal(f.action, HM_FIT_SPLIT);
	assert_int_equal(f.n, 3);
	assert_part(f, 0, "first paragraph");
	assert_part(f, 1, "second **bold**");
	assert_part(f, 2, "**words here** end");
	assert_int_equal(f.after, 18);
	assert_false(f.cut);
	l.numbered = true;
	f = fitted("one two three four five six seven", "plain", l);
	assert_int_equal(f.n, 3);
	assert_part(f, 0, "(1/3) one two three");
	assert_part(f, 1, "(2/3) four five six");
	assert_part(f, 2, "(3/3) seven");
	l.numbered = false;
	l.max_parts = 2;
	f = fitted("one two three four five six seven eight nine ten", "plain", l);
	assert_int_equal(f.n, 2);
	assert_part(f, 0, "one two three four");
	assert_part(f, 1, "five six seven" ELLIPSIS);
	assert_true(f.cut);
	/* An item goes on without its bullet. */
	l.max_parts = 0;
	f = fitted("- one two three four five six", "plain", l);
	assert_part(f, 0, "\xe2\x80\xa2 one two three four");
	assert_part(f, 1, "five six");
	/* Sentences before words. */
	f = fitted("Hello there. How are you today?", "plain", l);
	assert_part(f, 0, "Hello there.");
	assert_part(f, 1, "How are you today?");
	/* A target too long for any part: the words remain. */
	f = fitted("see [words](https://x.example/a/very/long/address) ok", "commonmark", l);
	assert_part(f, 0, "see");
	assert_part(f, 1, "words ok");
	assert_true(f.cut);
	l.max = 2;
	f = fitted("a https://x.example/a b", "plain", l);
	assert_part(f, 0, "a");
	assert_part(f, 1, "b");
	assert_int_equal(f.n, 2);
	assert_true(f.cut);
}

/* -- anything ------------------------------------------------------------------------------------ */

static uint64_t seed = 88172645463325252ull;
static uint32_t rnd(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 33) % n;
}

static void word(struct hm_buf *b, uint32_t *n)
{
	static const char *const salt[] = {"",
					   "",
					   "",
					   "",
					   ".",
					   ",",
					   "!",
					   " *",
					   "<x",
					   "&amp;",
					   "_",
					   "\xe4\xb8\xad",
					   "\xf0\x9f\x98\x80",
					   "e\xcc\x81"};

	hm_buf_printf(b, "w%u", (*n)++);
	if (hm_rich_escape(hm_str_c(salt[rnd(hm_countof(salt))]), b) != 0)
		fail();
}

static void words(struct hm_buf *b, uint32_t *n, uint32_t most)
{
	for (uint32_t k = 1 + rnd(most); k; k--) {
		word(b, n);
		if (k > 1)
			hm_buf_putc(b, ' ');
	}
}

/* Markdown of about `size` pieces; *n_r words. */
static const char *text_of(uint32_t size, uint32_t *n_r, bool links)
{
	struct hm_buf b;
	uint32_t n = 0;

	hm_buf_init_arena(&b, &a, 1 << 22);
	for (uint32_t i = 0; i < size; i++) {
		switch (rnd(links ? 12 : 9)) {
		case 0:
			hm_buf_lit(&b, "**");
			words(&b, &n, 5);
			hm_buf_lit(&b, "** ");
			break;
		case 1:
			hm_buf_lit(&b, "*");
			words(&b, &n, 3);
			hm_buf_lit(&b, "* ");
			break;
		case 2: hm_buf_putc(&b, '\n'); break;
		case 3: hm_buf_lit(&b, "\n\n"); break;
		case 4:
			hm_buf_lit(&b, "\n- ");
			words(&b, &n, 6);
			hm_buf_putc(&b, '\n');
			break;
		case 5:
			hm_buf_lit(&b, "\n## ");
			words(&b, &n, 4);
			hm_buf_putc(&b, '\n');
			break;
		case 9:
			hm_buf_putc(&b, '[');
			words(&b, &n, 4);
			hm_buf_printf(&b, "](https://u%u.example/%.*sZ) ", rnd(9), (int)rnd(20),
				      "pppppppppppppppppppp");
			break;
		case 10:
			hm_buf_printf(&b, "https://u%u.example/%.*sZ ", rnd(9), (int)rnd(20),
				      "pppppppppppppppppppp");
			break;
		case 11:
			hm_buf_printf(&b, "![i](https://u%u.example/%.*sZ) ", rnd(9), (int)rnd(9),
				      "ppppppppp");
			break;
		default: words(&b, &n, 8); hm_buf_putc(&b, ' ');
		}
	}
	*n_r = n;
	return hm_buf_cstr(&b);
}

/* Words w<from>... in order; the last may be torn when the text goes on behind it. Gives the next number. */
static uint32_t count_words(struct hm_str s, uint32_t from, bool may_tear, bool may_miss)
{
	for (size_t i = 0; i + 1 < s.len; i++) {
		char want[16];
		size_t k = i + 1;
		uint64_t got;

		if (s.p[i] != 'w' || s.p[i + 1] < '0' || s.p[i + 1] > '9')
			continue;
		while (k < s.len && s.p[k] >= '0' && s.p[k] <= '9')
			k++;
		assert_true(hm_str_u64(hm_str_n(s.p + i + 1, k - i - 1), &got));
		snprintf(want, sizeof(want), "w%u", from);
		if (got != from && !(may_miss && got > from)) {
			if (!may_tear || strncmp(want, s.p + i, k - i) != 0)
				fail_msg("%s is expected, not %.*s, in: %.*s", want, (int)(k - i), s.p + i,
					 HM_STRF(s));
			return from + 1;
		}
		from = (uint32_t)got + 1;
		i = k - 1;
	}
	return from;
}

/* No target is torn: each ends in Z. Escapes of MarkdownV2 may stand in it. */
static void check_targets(struct hm_str s)
{
	for (size_t i = 0; i + 9 < s.len; i++) {
		size_t k = i;

		if (memcmp(s.p + i, "https://u", 9) != 0)
			continue;
		while (k < s.len && s.p[k] != 'Z') {
			if (strchr(" \n)>\"<", s.p[k]))
				fail_msg("a torn target: %.*s", HM_STRF(s));
			k++;
		}
		if (k == s.len)
			fail_msg("a torn target at the end: %.*s", HM_STRF(s));
		i = k;
	}
}

/* Tags nest and close; entities and attributes are whole. */
static void check_tags(struct hm_str s)
{
	char open[64][16];
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++) {
		size_t k = i + 1, name;
		bool close = false;

		if (s.p[i] == '&') {
			while (k < s.len && s.p[k] != ';' && k - i < 10)
				k++;
			if (k >= s.len || s.p[k] != ';')
				fail_msg("a torn entity: %.*s", HM_STRF(s));
			continue;
		}
		if (s.p[i] != '<')
			continue;
		if (k < s.len && s.p[k] == '!') {
			while (k < s.len && s.p[k] != '>')
				k++;
			i = k;
			continue;
		}
		if (k < s.len && s.p[k] == '/') {
			close = true;
			k++;
		}
		for (name = k; k < s.len && s.p[k] != '>' && s.p[k] != ' '; k++)
			;
		assert_true(k - name < 15);
		snprintf(open[n], sizeof(open[n]), "%.*s", (int)(k - name), s.p + name);
		for (bool quoted = false; k < s.len && (quoted || s.p[k] != '>'); k++)
			quoted ^= s.p[k] == '"';
		if (k == s.len)
			fail_msg("a torn tag: %.*s", HM_STRF(s));
		i = k;
		if (strcmp(open[n], "br") == 0 || strcmp(open[n], "img") == 0 || strcmp(open[n], "meta") == 0)
			continue;
		if (!close) {
			assert_true(++n < 64);
		} else if (n == 0 || strcmp(open[n - 1], open[n]) != 0) {
			fail_msg("</%s> closes nothing: %.*s", open[n], HM_STRF(s));
		} else {
			n--;
		}
	}
	if (n)
		fail_msg("<%s> stays open: %.*s", open[n - 1], HM_STRF(s));
}

static bool is_html(const struct hm_dialect *d)
{
	return strstr(hm_dialect_name(d), "html") != NULL;
}

/* MarkdownV2 as Telegram reads it: every sign that is not escaped opens or closes something. */
static void check_mdv2(struct hm_str s)
{
	int bold = 0, italic = 0, code = 0, link = 0;

	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] == '\\') {
			if (++i >= s.len)
				fail_msg("a torn escape: %.*s", HM_STRF(s));
			continue;
		}
		bold ^= s.p[i] == '*';
		italic ^= s.p[i] == '_';
		code ^= s.p[i] == '`';
		link += s.p[i] == '[';
		link -= s.p[i] == ')';
	}
	if (bold || italic || code || link)
		fail_msg("something stays open: %.*s", HM_STRF(s));
}

static void check_form(const struct hm_dialect *d, struct hm_str s)
{
	assert_true(hm_utf8_valid(s));
	check_targets(s);
	if (is_html(d))
		check_tags(s);
	if (strcmp(hm_dialect_name(d), "tg-mdv2") == 0)
		check_mdv2(s);
}

static const struct hm_dialect *any_dialect(void)
{
	size_t n = 0;

	while (hm_dialect_at(n) != NULL)
		n++;
	return hm_dialect_at(rnd((uint32_t)n));
}

static struct hm_fit_limit any_limit(void)
{
	static const char *const marks[] = {"", "...", ELLIPSIS, " [more]"};
	struct hm_fit_limit l = {.unit = (enum hm_unit)rnd(4), .mark = hm_str_c(marks[rnd(4)])};

	l.max = l.unit == HM_UNIT_SEGMENTS ? 1 + rnd(4) : 1 + rnd(rnd(4) ? 400 : 30);
	if (rnd(8) == 0)
		l.beside = HM_STR("[Shop] ");
	return l;
}

static size_t length(const struct hm_fit_limit *l, struct hm_str s)
{
	struct hm_meter m;

	hm_meter_init(&m, l->unit);
	hm_meter_add(&m, l->beside);
	hm_meter_add(&m, s);
	return hm_meter_units(&m);
}

static void any_cut(void **state)
{
	struct hm_rich tail = md("[Tail](https://u1.example/tailZ)");

	for (int round = 0; round < 3000; round++) {
		struct hm_arena_mark back = hm_arena_mark(&a);
		const struct hm_dialect *d = any_dialect();
		struct hm_fit_limit l = any_limit();
		uint32_t n, kept;
		struct hm_rich r = md(text_of(1 + rnd(40), &n, true));
		struct hm_fit f;
		struct hm_err e;

		hm_err_clear(&e);
		if (rnd(4) == 0)
			l.tail = &tail;
		if (hm_fit_rich(&r, NULL, d, &l, &a, &f, &e) != 0)
			fail_msg("%s", e.text);
		assert_int_equal(f.n, 1);
		assert_true(f.part[0].len == 0 || length(&l, f.part[0]) <= l.max);
		assert_true(f.part[0].len == 0 || f.after == length(&l, f.part[0]));
		check_form(d, f.part[0]);
		kept = count_words(f.part[0], 0, f.action == HM_FIT_CUT, false);
		assert_true(kept <= n);
		if (f.action == HM_FIT_WHOLE) {
			assert_int_equal(kept, n);
			assert_true(f.before <= l.max && !f.cut);
		} else {
			assert_int_equal(f.action, HM_FIT_CUT);
			assert_true(f.before > l.max && f.cut);
		}
		hm_arena_rewind(&a, back);
	}
}

/* Plain text: exactly the beginning of the whole, at a character's end, and no more than a word and a third is lost. */
static void any_plain_cut(void **state)
{
	for (int round = 0; round < 2000; round++) {
		struct hm_arena_mark back = hm_arena_mark(&a);
		struct hm_fit_limit l = any_limit(), none = {0};
		uint32_t n;
		struct hm_rich r = md(text_of(1 + rnd(30), &n, false));
		struct hm_fit f, all;
		struct hm_str kept;
		uint8_t *level;

		if (l.unit == HM_UNIT_SEGMENTS)
			l.unit = HM_UNIT_BYTES;
		assert_int_equal(hm_fit_rich(&r, NULL, hm_dialect_plain(), &none, &a, &all, NULL), 0);
		assert_int_equal(hm_fit_rich(&r, NULL, hm_dialect_plain(), &l, &a, &f, NULL), 0);
		if (f.action == HM_FIT_CUT) {
			kept = f.part[0];
			if (l.mark.len && hm_str_ends(kept, l.mark))
				kept.len -= l.mark.len;
			if (!hm_str_starts(all.part[0], kept))
				fail_msg("\"%.*s\" does not begin \"%.*s\"", HM_STRF(kept),
					 HM_STRF(all.part[0]));
			level = hm_arena_alloc(&a, all.part[0].len + 1);
			hm_breaks(all.part[0], level);
			assert_true(kept.len == 0 || level[kept.len] != HM_BREAK_NEVER);
			if (l.max > 40)
				assert_true(length(&l, f.part[0]) > l.max / 2);
		}
		hm_arena_rewind(&a, back);
	}
}

/* All the words, in order, in well-formed parts. */
static void any_split(void **state)
{
	for (int round = 0; round < 2000; round++) {
		struct hm_arena_mark back = hm_arena_mark(&a);
		const struct hm_dialect *d = any_dialect();
		struct hm_fit_limit l = any_limit();
		uint32_t n, next = 0;
		bool roomy = l.max >=
			     (l.unit == HM_UNIT_SEGMENTS ? 3 : 200); /* else words may be torn, too */
		struct hm_rich r = md(text_of(1 + rnd(60), &n, true));
		struct hm_fit f;
		struct hm_err e;

		hm_err_clear(&e);
		l.over = HM_OVER_SPLIT;
		l.numbered = rnd(2);
		l.max_parts = rnd(3) ? 0 : 1 + rnd(HM_FIT_MAX_PARTS);
		if (hm_fit_rich(&r, NULL, d, &l, &a, &f, &e) != 0)
			fail_msg("%s", e.text);
		assert_in_range(f.n, 1, l.max_parts ? l.max_parts : HM_FIT_MAX_PARTS);
		for (uint32_t i = 0; i < f.n; i++) {
			char number[16];

			assert_true(f.part[i].len == 0 || length(&l, f.part[i]) <= l.max);
			check_form(d, f.part[i]);
			snprintf(number, sizeof(number), "%u/%u", i + 1, f.n);
			if (l.numbered && f.n > 1 && f.part[i].len)
				assert_true(hm_str_find(f.part[i], hm_str_c(number)) >= 0);
			if (roomy)
				next = count_words(f.part[i], next, f.cut && i + 1 == f.n, f.cut);
		}
		if (roomy && !f.cut)
			assert_int_equal(next, n);
		hm_arena_rewind(&a, back);
	}
}

/* The bound on work: a large text is no trouble. */
static void large(void **state)
{
	struct hm_buf b;
	struct hm_rich r;
	struct hm_fit_limit l = {.max = 200, .unit = HM_UNIT_CHARS, .mark = HM_STR(ELLIPSIS)};
	struct hm_fit f;

	hm_buf_init_arena(&b, &a, 1 << 22);
	for (int i = 0; i < 20000; i++)
		hm_buf_printf(&b, "%sword%d%s ", i % 7 ? "" : "**", i, i % 7 ? "" : "**");
	r = md(hm_buf_cstr(&b));
	for (int i = 0; i < 3; i++) {
		l.over = i == 2 ? HM_OVER_SPLIT : HM_OVER_CUT;
		l.max = i == 1 ? 100000 : 2000;
		assert_int_equal(hm_fit_rich(&r, NULL, hm_dialect_find(HM_STR("tg-html")), &l, &a, &f, NULL),
				 0);
		assert_true(f.after <= l.max && f.after > l.max * 9 / 10);
	}
	assert_int_equal(f.n, HM_FIT_MAX_PARTS);
	/* One word without an end. */
	hm_buf_reset(&b);
	for (int i = 0; i < 100000; i++)
		hm_buf_putc(&b, 'x');
	r = md(hm_buf_cstr(&b));
	l.over = HM_OVER_CUT;
	assert_int_equal(hm_fit_rich(&r, NULL, hm_dialect_plain(), &l, &a, &f, NULL), 0);
	assert_int_equal(f.after, 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole),   cmocka_unit_test(cuts),	    cmocka_unit_test(refused),
		cmocka_unit_test(shorter), cmocka_unit_test(tails),	    cmocka_unit_test(splits),
		cmocka_unit_test(any_cut), cmocka_unit_test(any_plain_cut), cmocka_unit_test(any_split),
		cmocka_unit_test(large),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
