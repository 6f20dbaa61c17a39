/*
 * test_measure.c - lengths in every unit, segments of text messages, cutting
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "adapt/breaks.h"
#include "adapt/measure.h"
#include "base/buf.h"

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

/* n times `s`, then `tail`. */
static struct hm_str times(size_t n, const char *s, const char *tail)
{
	size_t len = strlen(s), end = strlen(tail);
	char *p = hm_arena_alloc(&a, n * len + end + 1);

	for (size_t i = 0; i < n; i++)
		memcpy(p + i * len, s, len);
	memcpy(p + n * len, tail, end + 1);
	return hm_str_n(p, n * len + end);
}

static struct hm_str join(struct hm_str x, struct hm_str y)
{
	return hm_arena_printf(&a, "%.*s%.*s", HM_STRF(x), HM_STRF(y));
}

static void units(void **state)
{
	struct hm_str s = HM_STR("a\xc3\xa4\xe4\xb8\xad\xf0\x9f\x98\x80");

	assert_int_equal(hm_units(s, HM_UNIT_BYTES), 10);
	assert_int_equal(hm_units(s, HM_UNIT_CHARS), 4);
	assert_int_equal(hm_units(s, HM_UNIT_UTF16), 5);
	assert_int_equal(hm_units(s, HM_UNIT_SEGMENTS), 1);
	assert_int_equal(hm_units(HM_STR(""), HM_UNIT_SEGMENTS), 0);
	for (int u = 0; u <= HM_UNIT_SEGMENTS; u++)
		assert_true(strlen(hm_unit_name((enum hm_unit)u)) > 4);
	assert_int_equal(hm_unit_find(HM_STR("bytes")), HM_UNIT_BYTES);
	assert_int_equal(hm_unit_find(HM_STR("chars")), HM_UNIT_CHARS);
	assert_int_equal(hm_unit_find(HM_STR("utf16")), HM_UNIT_UTF16);
	assert_int_equal(hm_unit_find(HM_STR("segments")), HM_UNIT_SEGMENTS);
	assert_int_equal(hm_unit_find(HM_STR("byte")), -1);
}

/* A text in pieces is as long as in one. */
static void meters(void **state)
{
	struct hm_str s = times(100, "a[\xe2\x82\xac", "\xf0\x9f\x98\x80 end");

	for (int u = 0; u <= HM_UNIT_SEGMENTS; u++)
		for (size_t at = 0; at <= s.len; at++) {
			struct hm_meter m;

			if (at < s.len && ((unsigned char)s.p[at] & 0xc0) == 0x80)
				continue;
			hm_meter_init(&m, (enum hm_unit)u);
			hm_meter_add(&m, hm_str_n(s.p, at));
			hm_meter_add(&m, hm_str_n(s.p + at, s.len - at));
			assert_int_equal(hm_meter_units(&m), hm_units(s, (enum hm_unit)u));
		}
}

static void alphabet(void **state)
{
	/* The table of 3GPP TS 23.038, row by row: 127 characters (the escape is none) and ten in the extension. */
	static const char basic[] = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
				    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
	static const char extension[] = "\f^{}\\[~]|€", outside[] = "`çáíóúêâ\t–—‘’“”…\u00a0中А";
	struct hm_str s;
	size_t n, count = 0, one = 0, two = 0;

	for (s = hm_str_c(basic); s.len; s.p += n, s.len -= n, count++)
		assert_int_equal(hm_gsm_septets(hm_utf8_decode(s, &n)), 1);
	assert_int_equal(count, 127);
	count = 0;
	for (s = hm_str_c(extension); s.len; s.p += n, s.len -= n, count++)
		assert_int_equal(hm_gsm_septets(hm_utf8_decode(s, &n)), 2);
	assert_int_equal(count, 10);
	for (s = hm_str_c(outside); s.len; s.p += n, s.len -= n)
		assert_int_equal(hm_gsm_septets(hm_utf8_decode(s, &n)), 0);
	for (uint32_t cp = 0; cp < 0x110000; cp++) {
		one += hm_gsm_septets(cp) == 1;
		two += hm_gsm_septets(cp) == 2;
	}
	assert_int_equal(one, 127);
	assert_int_equal(two, 10);
}

static void check(struct hm_str s, bool ucs2, uint32_t want_units, uint32_t segments, uint32_t room)
{
	struct hm_sms m;

	hm_sms_measure(s, &m);
	if (m.ucs2 != ucs2 || m.units != want_units || m.segments != segments || m.room != room)
		fail_msg("%.*s: ucs2 %d, %u units, %u segments, room %u", HM_STRF(s), m.ucs2, m.units,
			 m.segments, m.room);
	assert_int_equal(hm_units(s, HM_UNIT_SEGMENTS), segments);
}

static void gsm(void **state)
{
	check(HM_STR(""), false, 0, 0, 0);
	check(HM_STR("a"), false, 1, 1, 159);
	check(times(160, "a", ""), false, 160, 1, 0);
	check(times(161, "a", ""), false, 161, 2, 153 - 8);
	check(times(306, "a", ""), false, 306, 2, 0);
	check(times(307, "a", ""), false, 307, 3, 152);
	check(times(459, "a", ""), false, 459, 3, 0);
	/* Two septets each, also in one message. */
	check(times(158, "a", "€"), false, 160, 1, 0);
	check(times(159, "a", "€"), false, 161, 2, 153 - 8);
	check(times(80, "[", ""), false, 160, 1, 0);
	check(times(81, "]", ""), false, 162, 2,
	      153 - 10); /* 76 pairs in the first, one septet stays empty */
	/* An escape at the border: 152 septets, then a pair that does not fit into the 153rd. */
	check(join(times(152, "a", "{"), times(152, "b", "")), false, 306, 3, 153 - 1);
	check(join(times(151, "a", "{"), times(153, "b", "")), false, 306, 2, 0);
	check(join(times(152, "a", "{"), times(151, "b", "")), false, 305, 2, 0);
}

static void ucs2(void **state)
{
	check(HM_STR("中"), true, 1, 1, 69);
	check(times(70, "中", ""), true, 70, 1, 0);
	check(times(71, "中", ""), true, 71, 2, 67 - 4);
	check(times(134, "中", ""), true, 134, 2, 0);
	check(times(135, "中", ""), true, 135, 3, 66);
	check(times(68, "a", "\xf0\x9f\x98\x80"), true, 70, 1, 0);
	check(times(69, "a", "\xf0\x9f\x98\x80"), true, 71, 2, 67 - 4);
	/* A surrogate pair at the border goes into the next part whole. */
	check(join(times(66, "a", "\xf0\x9f\x98\x80"), times(66, "b", "")), true, 134, 3, 66);
	check(join(times(65, "a", "\xf0\x9f\x98\x80"), times(67, "b", "")), true, 134, 2, 0);
	/* What forces it. */
	check(times(70, "a", "\xe2\x80\x94"), true, 71, 2, 67 - 4); /* em dash */
	check(times(69, "a", "\xe2\x80\x99"), true, 70, 1, 0);	    /* curly quote */
	check(times(69, "a", "\xe2\x82\xac"), false, 71, 1, 89);    /* the euro does not */
}

static void reasons(void **state)
{
	struct hm_sms m;

	hm_sms_measure(join(times(150, "a", "\xf0\x9f\x98\x80"), HM_STR("\xe2\x80\x94")), &m);
	assert_true(hm_str_is(m.forced, "\xf0\x9f\x98\x80"));
	assert_int_equal(m.segments, 3);
	assert_int_equal(m.segments_gsm, 1);
	hm_sms_measure(HM_STR("ok"), &m);
	assert_int_equal(m.forced.len, 0);
	assert_int_equal(m.segments_gsm, 1);
	hm_sms_measure(HM_STR("\xf0\x9f\x87\xa8\xf0\x9f\x87\xb3 x"), &m); /* a flag is one character */
	assert_int_equal(m.forced.len, 8);
	hm_sms_measure(HM_STR("中"), &m);
	assert_int_equal(m.segments_gsm, 0);
	/* Bytes that are not UTF-8 are U+FFFD. */
	hm_sms_measure(HM_STR("a\xff"), &m);
	assert_true(m.ucs2);
	assert_int_equal(m.units, 2);
}

static void graphemes(void **state)
{
	static const char *const one[] = {
		"a",
		"中",
		"e\u0301",
		"\u0915\u093f",
		"\xf0\x9f\x98\x80",
		"\xf0\x9f\x91\x8d\xf0\x9f\x8f\xbd",				/* skin tone */
		"\u2764\ufe0f",							/* variation selector */
		"\xf0\x9f\x91\xa8\u200d\xf0\x9f\x91\xa9\u200d\xf0\x9f\x91\xa7", /* family */
		"\xf0\x9f\x8f\xb3\ufe0f\u200d\xf0\x9f\x8c\x88",			/* rainbow flag */
		"\xf0\x9f\x87\xa8\xf0\x9f\x87\xb3",				/* China */
		"1\ufe0f\u20e3",						/* keycap */
		"\xf0\x9f\x8f\xb4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", /* England */
		"\u1112\u1161\u11ab", /* Hangul, decomposed */
		"\r\n",
		"\xff",
	};

	for (size_t i = 0; i < hm_countof(one); i++) {
		struct hm_str s = hm_str_c(one[i]);

		if (hm_grapheme(s) != s.len)
			fail_msg("%s: %zu of %zu", one[i], hm_grapheme(s), s.len);
		for (size_t k = 0; k < hm_countof(one); k++) {
			struct hm_str two = hm_arena_printf(&a, "%s%s", one[i], one[k]);

			if (hm_grapheme(two) != s.len && k != 14)
				fail_msg("%s then %s: %zu", one[i], one[k], hm_grapheme(two));
		}
	}
	assert_int_equal(hm_grapheme(HM_STR("\n\u0301")), 1);
	assert_int_equal(hm_grapheme(HM_STR("a\u200d b")), 4);
	/* No pile is endless. */
	assert_int_equal(hm_grapheme(times(1000, "\u0301", "")), HM_GRAPHEME_MAX * 2);
}

static void levels(void **state)
{
	static const struct {
		const char *text;
		const char *level; /* one digit a byte, and the end */
	} t[] = {
		{"ab cd", "512215"},
		{"a. b", "51325"},
		{"a\n\nb", "55445"},
		{"a\nb", "5445"},
		{"中文", "500200"
			 "5"},
		{"中，文", "500100200"
			   "5"},
		{"（中", "500100"
			 "5"},
		{"好。好", "500100300"
			   "5"},
		{"a中", "520"
			"05"},
		{"x1.5", "51115"},
	};
	uint8_t level[64];

	for (size_t i = 0; i < hm_countof(t); i++) {
		struct hm_str s = hm_str_c(t[i].text);

		hm_breaks(s, level);
		for (size_t k = 0; k <= s.len; k++)
			if (level[k] != t[i].level[k] - '0')
				fail_msg("%s: %d at %zu, expected %c", t[i].text, level[k], k, t[i].level[k]);
	}
}

static struct hm_str cut(const char *s, size_t max, enum hm_unit u, const char *mark)
{
	return hm_cut(hm_str_c(s), max, u, hm_str_c(mark), &a);
}

static void cuts(void **state)
{
	const char *s = "The quick brown fox jumps over";

	assert_true(hm_str_is(cut(s, 30, HM_UNIT_CHARS, "..."), s));
	assert_true(hm_str_is(cut(s, 29, HM_UNIT_CHARS, "..."), "The quick brown fox jumps..."));
	assert_true(hm_str_is(cut(s, 29, HM_UNIT_BYTES, "\xe2\x80\xa6"),
			      "The quick brown fox jumps\xe2\x80\xa6"));
	assert_true(hm_str_is(cut(s, 19, HM_UNIT_CHARS, ""), "The quick brown fox"));
	assert_true(hm_str_is(cut(s, 18, HM_UNIT_CHARS, ""), "The quick brown"));
	assert_true(hm_str_is(cut(s, 7, HM_UNIT_CHARS, ""), "The qui"));   /* a word's end is too far back */
	assert_true(hm_str_is(cut("abc", 2, HM_UNIT_CHARS, "..."), "ab")); /* no room for the mark */
	assert_true(hm_str_is(cut("abcd", 3, HM_UNIT_CHARS, "..."), "..."));
	assert_true(hm_str_is(cut("abc", 0, HM_UNIT_CHARS, "\xe2\x80\xa6"), ""));
	assert_true(hm_str_is(cut("中文字符", 3, HM_UNIT_CHARS, "\xe2\x80\xa6"), "中文\xe2\x80\xa6"));
	assert_true(hm_str_is(cut("中文字符", 11, HM_UNIT_BYTES, "\xe2\x80\xa6"), "中文\xe2\x80\xa6"));
	/* Nothing visible is torn. */
	assert_true(hm_str_is(cut("a\xf0\x9f\x98\x80", 2, HM_UNIT_UTF16, ""), "a"));
	assert_true(hm_str_is(cut("ae\u0301x", 2, HM_UNIT_CHARS, ""), "a"));
	assert_true(hm_str_is(cut("x\xf0\x9f\x91\xa8\u200d\xf0\x9f\x91\xa9", 3, HM_UNIT_CHARS, ""), "x"));
	assert_true(hm_str_is(
		cut("\xf0\x9f\x87\xa8\xf0\x9f\x87\xb3\xf0\x9f\x87\xa8\xf0\x9f\x87\xb3", 3, HM_UNIT_CHARS, ""),
		"\xf0\x9f\x87\xa8\xf0\x9f\x87\xb3"));
	assert_true(hm_str_is(cut("1\ufe0f\u20e3", 1, HM_UNIT_CHARS, ""), ""));
}

static void cut_segments(void **state)
{
	struct hm_str s = times(40, "word ", ""), r; /* 200 septets */

	r = hm_cut(s, 1, HM_UNIT_SEGMENTS, HM_STR("..."), &a);
	assert_int_equal(hm_units(r, HM_UNIT_SEGMENTS), 1);
	assert_int_equal(r.len, 157); /* 154 + 3 */
	/* A mark outside the alphabet makes all of it UCS-2: that is counted too. */
	r = hm_cut(s, 1, HM_UNIT_SEGMENTS, HM_STR("\xe2\x80\xa6"), &a);
	assert_int_equal(hm_units(r, HM_UNIT_SEGMENTS), 1);
	assert_int_equal(r.len, 69 + 3);
	assert_int_equal(hm_units(hm_cut(s, 2, HM_UNIT_SEGMENTS, HM_STR("..."), &a), HM_UNIT_SEGMENTS), 2);
	assert_int_equal(hm_cut(s, 0, HM_UNIT_SEGMENTS, HM_STR("..."), &a).len, 0);
	/* What follows may force UCS-2 and is cut away: the beginning stays in the alphabet. */
	s = join(times(150, "a", " "), times(50, "中", ""));
	r = hm_cut(s, 1, HM_UNIT_SEGMENTS, HM_STR(""), &a);
	assert_int_equal(r.len, 150);
}

static uint64_t seed = 88172645463325252ull;
static uint32_t rnd(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 33) % n;
}

/* Within the limit, a beginning of the text at a visible character's end, the mark behind it, and not much too short. */
static void any_cut(void **state)
{
	static const char *const bits[] = {"a",
					   "word",
					   " ",
					   "\n",
					   "\n\n",
					   "中",
					   "，",
					   "。",
					   "e\u0301",
					   "\xf0\x9f\x98\x80",
					   "\u2764\ufe0f",
					   "[",
					   "€",
					   "\xff",
					   "x.y",
					   "\xf0\x9f\x91\xa8\u200d\xf0\x9f\x91\xa9",
					   "\xf0\x9f\x87\xa8\xf0\x9f\x87\xb3"};
	static const char *const marks[] = {"", "...", "\xe2\x80\xa6", " [more]"};

	for (int round = 0; round < 20000; round++) {
		struct hm_arena_mark back = hm_arena_mark(&a);
		struct hm_buf b;
		uint8_t *level;
		uint32_t n = rnd(60);
		enum hm_unit u = (enum hm_unit)rnd(4);
		size_t max = u == HM_UNIT_SEGMENTS ? rnd(3) : rnd(120);
		struct hm_str mark = hm_str_c(marks[rnd(4)]), s, r, kept;

		hm_buf_init_arena(&b, &a, 1 << 20);
		for (uint32_t i = 0; i < n * (u == HM_UNIT_SEGMENTS ? 8 : 1); i++)
			hm_buf_puts(&b, hm_str_c(bits[rnd(hm_countof(bits))]));
		s = hm_buf_str(&b);
		r = hm_cut(s, max, u, mark, &a);
		assert_true(hm_units(r, u) <= max);
		if (hm_units(s, u) <= max) {
			assert_true(hm_str_eq(r, s));
		} else {
			bool marked = hm_units(mark, u) <= max && mark.len;

			kept = r;
			if (marked) {
				assert_true(hm_str_ends(r, mark));
				kept.len -= mark.len;
			}
			assert_true(kept.len < s.len && hm_str_starts(s, kept));
			level = hm_arena_alloc(&a, s.len + 1);
			hm_breaks(s, level);
			assert_true(kept.len == 0 || level[kept.len] != HM_BREAK_NEVER);
			assert_true(hm_trim_end(kept).len == kept.len);
		}
		hm_arena_rewind(&a, back);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(units),	cmocka_unit_test(meters),  cmocka_unit_test(alphabet),
		cmocka_unit_test(gsm),		cmocka_unit_test(ucs2),	   cmocka_unit_test(reasons),
		cmocka_unit_test(graphemes),	cmocka_unit_test(levels),  cmocka_unit_test(cuts),
		cmocka_unit_test(cut_segments), cmocka_unit_test(any_cut),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
