/*
 * escape.c - text and bytes as JSON, HTML, XML, URL, form, hex, base64
 *
 * Each escaper copies runs of harmless bytes at once and stops only where a byte
 * needs another form.
 */
#include "base/buf.h"

#include "base/err.h"

static const char hex_digits[] = "0123456789abcdef", hex_upper[] = "0123456789ABCDEF";
static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/* Empty runs are left out here because s.p may be NULL, and NULL + 0 is not C. */
static void put_run(struct hm_buf *b, struct hm_str s, size_t from, size_t to)
{
	if (to > from)
		hm_buf_put(b, s.p + from, to - from);
}

/* Whether any of 8 bytes needs a look: a control character, a quote, a backslash, or not ASCII. The
 * borrow of the subtractions can only flag a byte above a flagged one, so no special byte is missed. */
static bool json_special_in(const char *p)
{
	const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
	uint64_t w, quote, slash;

	memcpy(&w, p, 8);
	quote = w ^ (ones * '"');
	slash = w ^ (ones * '\\');
	return ((w - ones * 0x20) | (quote - ones) | (slash - ones) | w) & high;
}

/* Bytes a JSON string may carry as they are; from 0x80 on the sequence must be checked. */
static bool json_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

static void json_special(struct hm_buf *b, unsigned char c)
{
	char text[6] = {'\\', 'u', '0', '0', 0, 0};

	switch (c) {
	case '"': hm_buf_lit(b, "\\\""); return;
	case '\\': hm_buf_lit(b, "\\\\"); return;
	case '\b': hm_buf_lit(b, "\\b"); return;
	case '\f': hm_buf_lit(b, "\\f"); return;
	case '\n': hm_buf_lit(b, "\\n"); return;
	case '\r': hm_buf_lit(b, "\\r"); return;
	case '\t': hm_buf_lit(b, "\\t"); return;
	default:
		text[4] = hex_digits[c >> 4];
		text[5] = hex_digits[c & 15];
		hm_buf_put(b, text, 6);
	}
}

void hm_buf_json(struct hm_buf *b, struct hm_str s)
{
	size_t run = 0, i = 0;

	while (i < s.len) {
		unsigned char c;

		while (s.len - i >= 8 && !json_special_in(s.p + i))
			i += 8;
		while (i < s.len && json_plain((unsigned char)s.p[i]))
			i++;
		if (i == s.len)
			break;
		c = (unsigned char)s.p[i];
		if (c >= 0x80) {
			size_t n;

			/* U+FFFD that is three bytes long was in the text; one byte long, it is our report. */
			if (hm_utf8_decode(hm_str_n(s.p + i, s.len - i), &n) != 0xfffd || n == 3) {
				i += n;
				continue;
			}
		}
		put_run(b, s, run, i);
		if (c >= 0x80)
			hm_buf_put(b, replacement, 3);
		else
			json_special(b, c);
		run = ++i;
	}
	put_run(b, s, run, i);
}

static void markup(struct hm_buf *b, struct hm_str s, const char *apos, bool xml)
{
	size_t run = 0;

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];
		const char *to;

		if (c == '&')
			to = "&amp;";
		else if (c == '<')
			to = "&lt;";
		else if (c == '>')
			to = "&gt;";
		else if (c == '"')
			to = "&quot;";
		else if (c == '\'')
			to = apos;
		else if (xml && c < 0x20 && c != '\t' && c != '\n' && c != '\r')
			to = replacement; /* XML 1.0 has no form at all for these */
		else
			continue;
		put_run(b, s, run, i);
		hm_buf_puts(b, hm_str_c(to));
		run = i + 1;
	}
	put_run(b, s, run, s.len);
}

void hm_buf_html(struct hm_buf *b, struct hm_str s)
{
	markup(b, s, "&#39;", false);
}

void hm_buf_xml(struct hm_buf *b, struct hm_str s)
{
	markup(b, s, "&apos;", true);
}

/* What stays as it is: bit 1 by RFC 3986, bit 2 in the WHATWG form set. */
static const unsigned char unreserved[256] = {
	['-'] = 3, ['.'] = 3,	      ['_'] = 3,	 ['~'] = 1,
	['*'] = 2, ['0' ... '9'] = 3, ['a' ... 'z'] = 3, ['A' ... 'Z'] = 3,
};

#define PIECE 64u /* bytes put at once */

static void percent(struct hm_buf *b, struct hm_str s, bool form)
{
	const unsigned char keep = form ? 2 : 1, *p = (const unsigned char *)s.p;
	unsigned char text[3 * PIECE];

	for (size_t i = 0; i < s.len;) {
		size_t end = hm_min(s.len, i + PIECE), n = 0;

		for (; i < end; i++) {
			unsigned char c = p[i];

			if (unreserved[c] & keep) {
				text[n++] = c;
			} else if (form && c == ' ') {
				text[n++] = '+';
			} else {
				text[n++] = '%';
				text[n++] = (unsigned char)hex_upper[c >> 4];
				text[n++] = (unsigned char)hex_upper[c & 15];
			}
		}
		hm_buf_put(b, text, n);
	}
}

void hm_buf_percent(struct hm_buf *b, struct hm_str s)
{
	percent(b, s, false);
}

void hm_buf_form(struct hm_buf *b, struct hm_str s)
{
	percent(b, s, true);
}

void hm_buf_hex(struct hm_buf *b, const void *p, size_t n)
{
	const unsigned char *s = p;

	if (n > SIZE_MAX / 2) {
		b->err = HM_ELIMIT;
		return;
	}
	if (!hm_buf_reserve(b, n * 2))
		return;
	for (size_t i = 0; i < n; i++) {
		b->p[b->len++] = hex_digits[s[i] >> 4];
		b->p[b->len++] = hex_digits[s[i] & 15];
	}
}

static const char b64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char b64url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void base64(struct hm_buf *b, const unsigned char *s, size_t n, const char *set, bool pad)
{
	if (n > SIZE_MAX / 2) {
		b->err = HM_ELIMIT;
		return;
	}
	if (n == 0 || !hm_buf_reserve(b, (n * 4 + 2) / 3 + (pad ? (3 - n % 3) % 3 : 0)))
		return;
	char *o = b->p + b->len;

	for (; n >= 3; n -= 3, s += 3) {
		*o++ = set[s[0] >> 2];
		*o++ = set[(s[0] & 3) << 4 | s[1] >> 4];
		*o++ = set[(s[1] & 15) << 2 | s[2] >> 6];
		*o++ = set[s[2] & 63];
	}
	if (n == 1) {
		*o++ = set[s[0] >> 2];
		*o++ = set[(s[0] & 3) << 4];
	} else if (n == 2) {
		*o++ = set[s[0] >> 2];
		*o++ = set[(s[0] & 3) << 4 | s[1] >> 4];
		*o++ = set[(s[1] & 15) << 2];
	}
	for (; pad && n && n < 3; n++)
		*o++ = '=';
	b->len = (size_t)(o - b->p);
}

void hm_buf_base64(struct hm_buf *b, const void *p, size_t n)
{
	base64(b, p, n, b64, true);
}

void hm_buf_base64url(struct hm_buf *b, const void *p, size_t n)
{
	base64(b, p, n, b64url, false);
}

static int b64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	if (c == '/' || c == '_')
		return 63;
	return -1;
}

bool hm_buf_unbase64(struct hm_buf *b, struct hm_str s)
{
	size_t start = b->len, pads = 0;
	uint32_t acc = 0;
	unsigned bits = 0;

	while (pads < 2 && s.len && s.p[s.len - 1] == '=') {
		s.len--;
		pads++;
	}
	if (s.len % 4 == 1 || (pads && (s.len + pads) % 4 != 0) || !hm_buf_reserve(b, s.len / 4 * 3 + 3))
		return false;
	for (size_t i = 0; i < s.len; i++) {
		int v = b64_value(s.p[i]);

		if (v < 0)
			goto junk;
		acc = acc << 6 | (uint32_t)v;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			b->p[b->len++] = (char)(acc >> bits & 0xff);
		}
	}
	if (acc & ((1u << bits) - 1)) /* spare bits must be zero: one text for one value */
		goto junk;
	return true;
junk:
	b->len = start;
	return false;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool hm_buf_unhex(struct hm_buf *b, struct hm_str s)
{
	size_t start = b->len;

	if (s.len % 2 || !hm_buf_reserve(b, s.len / 2))
		return false;
	for (size_t i = 0; i < s.len; i += 2) {
		int hi = hex_value(s.p[i]), lo = hex_value(s.p[i + 1]);

		if (hi < 0 || lo < 0) {
			b->len = start;
			return false;
		}
		b->p[b->len++] = (char)(hi << 4 | lo);
	}
	return true;
}
