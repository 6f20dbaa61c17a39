/*
 * utf8.c - UTF-8 by the Unicode standard, table 3-7: no overlong forms, no
 * surrogates, nothing above U+10FFFF
 */
#include "base/str.h"

/* Bytes of the well-formed sequence at p, 0 when it is not one. */
static size_t sequence(const unsigned char *p, size_t n)
{
	unsigned char c = p[0];

	if (c < 0x80)
		return 1;
	if (c < 0xc2 || n < 2)
		return 0;
	if (c < 0xe0)
		return (p[1] & 0xc0) == 0x80 ? 2 : 0;
	if (n < 3 || (p[2] & 0xc0) != 0x80)
		return 0;
	if (c < 0xf0) {
		unsigned char lo = c == 0xe0 ? 0xa0 : 0x80, hi = c == 0xed ? 0x9f : 0xbf;

		return p[1] >= lo && p[1] <= hi ? 3 : 0;
	}
	if (c > 0xf4 || n < 4 || (p[3] & 0xc0) != 0x80)
		return 0;
	unsigned char lo = c == 0xf0 ? 0x90 : 0x80, hi = c == 0xf4 ? 0x8f : 0xbf;

	return p[1] >= lo && p[1] <= hi ? 4 : 0;
}

size_t hm_utf8_valid_prefix(struct hm_str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t i = 0;

	while (i < s.len) {
		size_t n;

		while (s.len - i >= 8) { /* most text is mostly ASCII */
			uint64_t w;

			memcpy(&w, p + i, 8);
			if (w & 0x8080808080808080u)
				break;
			i += 8;
		}
		if (i >= s.len)
			break;
		n = sequence(p + i, s.len - i);
		if (n == 0)
			break;
		i += n;
	}
	return i;
}

bool hm_utf8_valid(struct hm_str s)
{
	return hm_utf8_valid_prefix(s) == s.len;
}

uint32_t hm_utf8_decode(struct hm_str s, size_t *len_r)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n = sequence(p, s.len);

	*len_r = n ? n : 1;
	switch (n) {
	case 1: return p[0];
	case 2: return (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3f);
	case 3: return (uint32_t)(p[0] & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
	case 4:
		return (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3f) << 12 |
		       (uint32_t)(p[2] & 0x3f) << 6 | (p[3] & 0x3f);
	default: return 0xfffd;
	}
}

size_t hm_utf8_encode(uint32_t cp, char out[4])
{
	unsigned char *o = (unsigned char *)out;

	if (cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
		cp = 0xfffd;
	if (cp < 0x80) {
		o[0] = (unsigned char)cp;
		return 1;
	}
	if (cp < 0x800) {
		o[0] = (unsigned char)(0xc0 | cp >> 6);
		o[1] = (unsigned char)(0x80 | (cp & 0x3f));
		return 2;
	}
	if (cp < 0x10000) {
		o[0] = (unsigned char)(0xe0 | cp >> 12);
		o[1] = (unsigned char)(0x80 | (cp >> 6 & 0x3f));
		o[2] = (unsigned char)(0x80 | (cp & 0x3f));
		return 3;
	}
	o[0] = (unsigned char)(0xf0 | cp >> 18);
	o[1] = (unsigned char)(0x80 | (cp >> 12 & 0x3f));
	o[2] = (unsigned char)(0x80 | (cp >> 6 & 0x3f));
	o[3] = (unsigned char)(0x80 | (cp & 0x3f));
	return 4;
}

size_t hm_utf8_codepoints(struct hm_str s)
{
	size_t count = 0, n;

	for (size_t i = 0; i < s.len; i += n, count++)
		hm_utf8_decode(hm_str_n(s.p + i, s.len - i), &n);
	return count;
}

size_t hm_utf8_utf16_units(struct hm_str s)
{
	size_t units = 0, n;

	for (size_t i = 0; i < s.len; i += n)
		units += hm_utf8_decode(hm_str_n(s.p + i, s.len - i), &n) > 0xffff ? 2 : 1;
	return units;
}

size_t hm_utf8_cut(struct hm_str s, size_t max)
{
	size_t at = max, back = 0;

	if (s.len <= max)
		return s.len;
	/* Step back over continuation bytes to the start of the sequence that crosses the cut. */
	while (at > 0 && back < 3 && ((unsigned char)s.p[at] & 0xc0) == 0x80) {
		at--;
		back++;
	}
	if (back > 0 && sequence((const unsigned char *)s.p + at, s.len - at) <= back)
		return max; /* stray continuation bytes: there is nothing to keep whole */
	return at;
}
