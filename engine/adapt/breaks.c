/*
 * breaks.c - visible characters, ends of words, sentences, lines
 */
#include "adapt/breaks.h"

struct range {
	uint32_t first, last;
};
static const struct range marks[] = {
#define HM_MARKS(first, last) {first, last},
#include "tbl/combining.h"
#undef HM_MARKS
};

static bool is_mark(uint32_t cp)
{
	size_t lo = 0, hi = hm_countof(marks);

	if (cp < marks[0].first)
		return false;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (cp > marks[mid].last)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < hm_countof(marks) && cp >= marks[lo].first;
}

static bool in(uint32_t cp, uint32_t first, uint32_t last)
{
	return cp >= first && cp <= last;
}

/* Belongs to the character before it: marks, skin tones, tags, joiners of Hangul, halfwidth voicing. */
static bool extends(uint32_t cp)
{
	return cp >= 0x300 && (is_mark(cp) || in(cp, 0x1f3fb, 0x1f3ff) || in(cp, 0xe0020, 0xe007f) ||
			       in(cp, 0x1160, 0x11ff) || in(cp, 0xd7b0, 0xd7ff) || in(cp, 0xff9e, 0xff9f) ||
			       cp == 0x200c || cp == 0x200d);
}

static bool regional(uint32_t cp)
{
	return in(cp, 0x1f1e6, 0x1f1ff);
}

static uint32_t decode(struct hm_str s, size_t at, size_t *len_r)
{
	return hm_utf8_decode(hm_str_n(s.p + at, s.len - at), len_r);
}

size_t hm_grapheme(struct hm_str s)
{
	size_t at, n;
	uint32_t cp = decode(s, 0, &at), next;
	uint32_t count = 1;

	if (cp == '\r' && at < s.len && s.p[at] == '\n')
		return 2;
	if (cp < 0x20 || cp == 0x7f)
		return at;
	if (at < s.len && (unsigned char)s.p[at] < 0x80) /* most of what there is */
		return at;
	if (regional(cp) && at < s.len && regional(decode(s, at, &n)))
		at += n;
	for (; at < s.len && count < HM_GRAPHEME_MAX; count++) {
		next = decode(s, at, &n);
		if (!extends(next))
			break;
		at += n;
		/* What a joiner joins; it does nothing before a blank or ASCII. */
		if (next == 0x200d && at < s.len && (unsigned char)s.p[at] >= 0x80) {
			next = decode(s, at, &n);
			if (!hm_blank(next) && !extends(next))
				at += n;
		}
	}
	return at;
}

bool hm_blank(uint32_t cp)
{
	return cp == ' ' || cp == '\n' || cp == '\t' || cp == '\r' || cp == 0x3000 ||
	       (in(cp, 0x2000, 0x200b) && cp != 0x2007);
}

/* Written without blanks between words: ideographs, kana, their punctuation, emoji. */
static bool ideographic(uint32_t cp)
{
	return in(cp, 0x2e80, 0x31ff) || in(cp, 0x3400, 0x4dbf) || in(cp, 0x4e00, 0x9fff) ||
	       in(cp, 0xf900, 0xfaff) || in(cp, 0xff01, 0xff60) || in(cp, 0x2600, 0x27bf) ||
	       in(cp, 0x1f000, 0x1faff) || in(cp, 0x20000, 0x3ffff);
}

static bool one_of(uint32_t cp, const char *list)
{
	for (struct hm_str s = hm_str_c(list); s.len;) {
		size_t n;

		if (decode(s, 0, &n) == cp)
			return true;
		s.p += n;
		s.len -= n;
	}
	return false;
}

static bool closing(uint32_t cp)
{
	return one_of(cp, ",.!?:;)]}%、。，．：；！？）」』】〉》〕’”…ー々");
}
static bool opening(uint32_t cp)
{
	return one_of(cp, "([{（「『【〈《〔‘“");
}

/* Start of the code point that ends at i > 0. */
static size_t before(struct hm_str s, size_t i)
{
	size_t k = i - 1, n;

	while (k > 0 && i - k < 4 && ((unsigned char)s.p[k] & 0xc0) == 0x80)
		k--;
	(void)hm_utf8_decode(hm_str_n(s.p + k, i - k), &n);
	return n == i - k ? k : i - 1; /* bad bytes stand alone */
}

enum hm_break hm_break_at(struct hm_str s, size_t i)
{
	uint32_t left, right;
	size_t at, n;

	if (i == 0 || i >= s.len)
		return HM_BREAK_PARA;
	right = decode(s, i, &n);
	at = before(s, i);
	left = decode(s, at, &n);
	if (right == '\n')
		return i + 1 < s.len && s.p[i + 1] == '\n' ? HM_BREAK_PARA : HM_BREAK_LINE;
	if (left == '\n')
		return HM_BREAK_LINE;
	/* Inside a character, or between two flags, which only counting from the start can tell apart. */
	if (extends(right) || left == 0x200d || (regional(left) && regional(right)))
		return HM_BREAK_CHAR;
	if (one_of(left, "。！？…") && !closing(right))
		return HM_BREAK_SENTENCE;
	if (hm_blank(right))
		return one_of(left, ".!?;") ? HM_BREAK_SENTENCE : HM_BREAK_WORD;
	if (hm_blank(left))
		return HM_BREAK_WORD;
	if ((ideographic(left) || ideographic(right)) && !closing(right) && !opening(left))
		return HM_BREAK_WORD;
	return HM_BREAK_CHAR;
}

void hm_breaks(struct hm_str s, uint8_t *level)
{
	memset(level, HM_BREAK_NEVER, s.len);
	level[s.len] = HM_BREAK_PARA;
	for (size_t i = 0; i < s.len; i += hm_grapheme(hm_str_n(s.p + i, s.len - i)))
		level[i] = (uint8_t)hm_break_at(s, i);
}

struct hm_str hm_trim_end(struct hm_str s)
{
	while (s.len) {
		size_t at = before(s, s.len), n;

		if (!hm_blank(decode(s, at, &n)))
			break;
		s.len = at;
	}
	return s;
}
