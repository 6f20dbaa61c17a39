/*
 * dialect_text.c - words of users as a dialect's text: signs that would be markup are said otherwise
 *
 * A table per dialect says for every byte what care it needs; most need none and are copied in runs. Care
 * that depends on the neighbours looks at the byte written last and the byte that comes next; where the text
 * ends but the line does not (`more`), the next byte is taken for the worst one.
 */
#include "adapt/dialect_int.h"

/* clang-format off */
#define CONTROLS [0 ... 8] = CARE_DROP, [10 ... 31] = CARE_DROP, [0x7f] = CARE_DROP, [0xc2] = CARE_C2

const uint8_t hm_text_plain[256] = {CONTROLS};
const uint8_t hm_text_plain_chat[256] = {CONTROLS, ['<'] = CARE_TAG, ['@'] = CARE_AT};
const uint8_t hm_text_html[256] = {CONTROLS, ['&'] = CARE_ENTITY, ['<'] = CARE_ENTITY, ['>'] = CARE_ENTITY,
	[' '] = CARE_SPACE, ['\t'] = CARE_SPACE};
const uint8_t hm_text_matrix[256] = {CONTROLS, ['&'] = CARE_ENTITY, ['<'] = CARE_ENTITY, ['>'] = CARE_ENTITY,
	[' '] = CARE_SPACE, ['\t'] = CARE_SPACE, ['@'] = CARE_AT};
const uint8_t hm_text_tg_html[256] = {CONTROLS, ['&'] = CARE_ENTITY, ['<'] = CARE_ENTITY, ['>'] = CARE_ENTITY,
	['@'] = CARE_AT};
const uint8_t hm_code_html[256] = {CONTROLS, ['&'] = CARE_ENTITY, ['<'] = CARE_ENTITY, ['>'] = CARE_ENTITY};
const uint8_t hm_text_tg_mdv2[256] = {CONTROLS, ['_'] = CARE_SLASH, ['*'] = CARE_SLASH, ['['] = CARE_SLASH,
	[']'] = CARE_SLASH, ['('] = CARE_SLASH, [')'] = CARE_SLASH, ['~'] = CARE_SLASH, ['`'] = CARE_SLASH,
	['>'] = CARE_SLASH, ['#'] = CARE_SLASH, ['+'] = CARE_SLASH, ['-'] = CARE_SLASH, ['='] = CARE_SLASH,
	['|'] = CARE_SLASH, ['{'] = CARE_SLASH, ['}'] = CARE_SLASH, ['.'] = CARE_SLASH, ['!'] = CARE_SLASH,
	['\\'] = CARE_SLASH, ['@'] = CARE_AT};
const uint8_t hm_code_tg_mdv2[256] = {CONTROLS, ['`'] = CARE_SLASH, ['\\'] = CARE_SLASH};
const uint8_t hm_text_wecom_md[256] = {CONTROLS, ['*'] = CARE_PAIR, ['`'] = CARE_TWIN, ['<'] = CARE_TAG,
	['&'] = CARE_AMP, ['['] = CARE_LEFT, [']'] = CARE_RIGHT, ['!'] = CARE_BANG, ['\\'] = CARE_ESCAPE};
const uint8_t hm_text_wecom_md2[256] = {CONTROLS, ['\\'] = CARE_SLASH, ['*'] = CARE_SLASH, ['_'] = CARE_SLASH,
	['`'] = CARE_SLASH, ['['] = CARE_SLASH, [']'] = CARE_SLASH, ['~'] = CARE_SLASH, ['|'] = CARE_SLASH,
	['<'] = CARE_TAG, ['&'] = CARE_AMP, ['!'] = CARE_BANG};
const uint8_t hm_text_ding_md[256] = {CONTROLS, ['*'] = CARE_MARK, ['_'] = CARE_EDGE, ['~'] = CARE_PAIR,
	['`'] = CARE_TWIN, ['<'] = CARE_TAG, ['&'] = CARE_AMP, ['['] = CARE_LEFT, [']'] = CARE_RIGHT,
	['!'] = CARE_BANG, ['\\'] = CARE_ESCAPE};
const uint8_t hm_text_feishu_md[256] = {CONTROLS, ['*'] = CARE_NUMBER, ['~'] = CARE_NUMBER, ['>'] = CARE_NUMBER,
	['<'] = CARE_NUMBER, ['['] = CARE_NUMBER, [']'] = CARE_NUMBER, ['_'] = CARE_NUMBER, ['`'] = CARE_NUMBER,
	['&'] = CARE_NUMBER, ['\\'] = CARE_NUMBER, ['!'] = CARE_BANG, [':'] = CARE_EMOJI};
const uint8_t hm_text_slack[256] = {CONTROLS, ['&'] = CARE_ENTITY, ['<'] = CARE_ENTITY, ['>'] = CARE_ENTITY,
	['*'] = CARE_EDGE, ['_'] = CARE_EDGE, ['~'] = CARE_EDGE, ['`'] = CARE_TWIN, [':'] = CARE_EMOJI,
	['@'] = CARE_AT};
const uint8_t hm_code_slack[256] = {CONTROLS, ['&'] = CARE_ENTITY, ['<'] = CARE_ENTITY, ['>'] = CARE_ENTITY,
	['`'] = CARE_TWIN};
const uint8_t hm_text_gchat[256] = {CONTROLS, ['&'] = CARE_ENTITY, ['<'] = CARE_ENTITY, ['>'] = CARE_ENTITY,
	['*'] = CARE_EDGE, ['_'] = CARE_EDGE, ['~'] = CARE_EDGE, ['`'] = CARE_TWIN};
const uint8_t hm_text_discord[256] = {CONTROLS, ['\\'] = CARE_SLASH, ['*'] = CARE_SLASH, ['_'] = CARE_SLASH,
	['~'] = CARE_SLASH, ['`'] = CARE_SLASH, ['>'] = CARE_SLASH, ['|'] = CARE_SLASH, ['['] = CARE_SLASH,
	[']'] = CARE_SLASH, ['<'] = CARE_TAG, ['@'] = CARE_AT, ['!'] = CARE_BANG, [':'] = CARE_EMOJI};
const uint8_t hm_text_adaptive[256] = {CONTROLS, ['*'] = CARE_MARK, ['_'] = CARE_EDGE, ['~'] = CARE_PAIR,
	['`'] = CARE_TWIN, ['<'] = CARE_TAG, ['&'] = CARE_AMP, ['['] = CARE_LEFT, [']'] = CARE_RIGHT,
	['!'] = CARE_BANG, ['\\'] = CARE_ESCAPE};
const uint8_t hm_text_commonmark[256] = {CONTROLS, ['\\'] = CARE_SLASH, ['*'] = CARE_SLASH, ['_'] = CARE_SLASH,
	['`'] = CARE_SLASH, ['['] = CARE_SLASH, [']'] = CARE_SLASH, ['~'] = CARE_SLASH, ['|'] = CARE_SLASH,
	['<'] = CARE_TAG, ['&'] = CARE_AMP, ['$'] = CARE_PAIR, ['!'] = CARE_BANG, ['@'] = CARE_AT,
	[':'] = CARE_EMOJI};
const uint8_t hm_text_wa[256] = {CONTROLS, ['*'] = CARE_EDGE, ['_'] = CARE_EDGE, ['~'] = CARE_EDGE,
	['`'] = CARE_TWIN};
const uint8_t hm_text_signal[256] = {CONTROLS, ['*'] = CARE_TWIN, ['~'] = CARE_TWIN, ['`'] = CARE_TWIN,
	['|'] = CARE_TWIN, ['\\'] = CARE_TWIN};
const uint8_t hm_code_twin[256] = {CONTROLS, ['`'] = CARE_TWIN};
/* clang-format on */

/* Bytes no table has an entry for: letters, digits and what is not ASCII but for 0xc2. Quick passing only. */
static const char *skip(const uint8_t *care, const char *p, const char *e)
{
#ifdef __SSE2__
	/* blanks have an entry in HTML, so the quick test may not pass them there */
	const __m128i a = _mm_set1_epi8('a'), letters = _mm_set1_epi8(25), fold = _mm_set1_epi8(0x20),
		      zero = _mm_set1_epi8('0'), digits = _mm_set1_epi8(9), c2 = _mm_set1_epi8((char)0xc2),
		      blank = _mm_set1_epi8(care[' '] ? '0' : ' ');

	for (; e - p >= 16; p += 16) {
		__m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i l = _mm_sub_epi8(_mm_or_si128(x, fold), a), n = _mm_sub_epi8(x, zero);
		__m128i good = _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(l, letters), l),
					    _mm_cmpeq_epi8(_mm_min_epu8(n, digits), n));
		int mask;

		good = _mm_or_si128(good,
				    _mm_andnot_si128(_mm_cmpeq_epi8(x, c2), x)); /* the high bit counts */
		good = _mm_or_si128(good, _mm_cmpeq_epi8(x, blank));
		mask = _mm_movemask_epi8(good);
		if (mask != 0xffff) {
			p += __builtin_ctz(~(unsigned)mask);
			break;
		}
	}
#endif
	while (p < e && !care[(unsigned char)*p])
		p++;
	return p;
}

static void twin(struct hm_buf *out, char c)
{
	switch (c) {
	case '*': hm_buf_lit(out, "\xe2\x88\x97"); return;  /* U+2217 asterisk operator */
	case '_': hm_buf_lit(out, "\xcb\x8d"); return;	    /* U+02CD low macron */
	case '~': hm_buf_lit(out, "\xe2\x88\xbc"); return;  /* U+223C tilde operator */
	case '`': hm_buf_lit(out, "\xcb\x8b"); return;	    /* U+02CB grave accent */
	case '|': hm_buf_lit(out, "\xe2\x88\xa3"); return;  /* U+2223 divides */
	case '\\': hm_buf_lit(out, "\xe2\x88\x96"); return; /* U+2216 set minus */
	case '[': hm_buf_lit(out, "\xef\xbc\xbb"); return;  /* U+FF3B */
	case ']': hm_buf_lit(out, "\xef\xbc\xbd"); return;  /* U+FF3D */
	default: hm_unreachable();
	}
}

static void entity(struct hm_buf *out, char c)
{
	if (c == '&')
		hm_buf_lit(out, "&amp;");
	else if (c == '<')
		hm_buf_lit(out, "&lt;");
	else
		hm_buf_lit(out, "&gt;");
}

static void number(struct hm_buf *out, char c)
{
	hm_buf_lit(out, "&#");
	hm_buf_u64(out, (unsigned char)c);
	hm_buf_putc(out, ';');
}

/* The byte before; 0 at the start of a line. */
static unsigned char before(const struct hm_writer *w)
{
	return !w->fresh && w->out->len > w->line ? (unsigned char)w->out->p[w->out->len - 1] : 0;
}

/* Could "@name" start with what follows the "@"? */
static bool names(const struct hm_dialect *d, const char *p, const char *e, bool more)
{
	size_t left = (size_t)(e - p);

	if (left == 0)
		return more;
	if (!d->names)
		return hm_is_alnum((unsigned char)*p) || *p == '_' || *p == '*' || (unsigned char)*p >= 0x80;
	for (const char *const *n = d->names; *n; n++) {
		size_t len = strlen(*n);

		if (left < len ? more && hm_str_ieq(hm_str_n(*n, left), hm_str_n(p, left))
			       : hm_str_ieq(hm_str_n(*n, len), hm_str_n(p, len)))
			return true;
	}
	return false;
}

/* ":name:" after the colon; names of digits only are times. */
static bool emoji(const char *p, const char *e, bool more)
{
	bool letter = false;
	const char *from = p;

	while (p < e && (hm_is_alnum((unsigned char)*p) || *p == '_' || *p == '+' || *p == '-')) {
		letter |= !hm_is_digit((unsigned char)*p);
		p++;
	}
	if (p == e)
		return more;
	return *p == ':' && p > from && letter;
}

static bool edge(unsigned char prev, unsigned char next)
{
	bool prev_blank = prev == 0 || hm_is_blank(prev), next_blank = next == 0 || hm_is_blank(next);

	return (!hm_is_alnum(prev) && !next_blank) || (!hm_is_alnum(next) && !prev_blank);
}

/* "[" that a "]" of this text closes before another "[" opens. */
static bool closed(const char *p, const char *e)
{
	for (; p < e && *p != '['; p++)
		if (*p == ']')
			return true;
	return false;
}

static void blank(struct hm_writer *w, char c, unsigned char next)
{
	if (c == '\t') {
		hm_buf_lit(w->out, "&nbsp;&nbsp;&nbsp;&nbsp;");
		w->space = false;
	} else if (w->fresh || w->space || next == 0 || hm_is_blank(next)) {
		hm_buf_lit(w->out, "&nbsp;");
		w->space = false;
	} else {
		hm_buf_putc(w->out, ' ');
		w->space = true;
	}
}

/* One byte that needs care; returns how many bytes of the text were used. */
static size_t careful(struct hm_writer *w, const uint8_t *care, const char *p, const char *e, bool more)
{
	struct hm_buf *out = w->out;
	const struct hm_dialect *d = w->d;
	unsigned char prev = before(w), next = e - p > 1 ? (unsigned char)p[1] : more ? 1 : 0;
	char c = *p;

	switch ((enum hm_care)care[(unsigned char)c]) {
	case CARE_NONE: hm_unreachable();
	case CARE_DROP: return 1;
	case CARE_C2:
		if (hm_control(p, e))
			return 2;
		hm_buf_putc(out, c);
		return 1;
	case CARE_SLASH:
		hm_buf_putc(out, '\\');
		hm_buf_putc(out, c);
		return 1;
	case CARE_ENTITY: entity(out, c); return 1;
	case CARE_NUMBER: number(out, c); return 1;
	case CARE_TWIN: twin(out, c); return 1;
	case CARE_EDGE:
		if (edge(prev, next))
			twin(out, c);
		else
			hm_buf_putc(out, c);
		return 1;
	case CARE_MARK:
		if ((prev == 0 || hm_is_blank(prev)) && (next == 0 || hm_is_blank(next)))
			hm_buf_putc(out, c);
		else
			twin(out, c);
		return 1;
	case CARE_PAIR:
		if (prev == (unsigned char)c)
			hm_buf_lit(out, HM_ZWSP);
		hm_buf_putc(out, c);
		if (next == 1)
			hm_buf_lit(out, HM_ZWSP);
		return 1;
	case CARE_TAG:
		hm_buf_putc(out, c);
		if (next == 1 ||
		    (next && !hm_is_blank(next) && !hm_is_digit(next) && next < 0x80 && next != '='))
			hm_buf_lit(out, HM_ZWSP);
		return 1;
	case CARE_AT:
		hm_buf_putc(out, c);
		if (!hm_is_alnum(prev) && names(d, p + 1, e, more))
			hm_buf_lit(out, HM_ZWSP);
		return 1;
	case CARE_AMP:
		hm_buf_putc(out, c);
		if (next == 1 || next == '#' || hm_is_alnum(next))
			hm_buf_lit(out, HM_ZWSP);
		return 1;
	case CARE_EMOJI:
		if (hm_is_alnum(prev) || !emoji(p + 1, e, more)) {
			hm_buf_putc(out, c);
		} else if (d->text[(unsigned char)'*'] == CARE_NUMBER) {
			number(out, c);
		} else {
			hm_buf_putc(out, c);
			hm_buf_lit(out, HM_ZWSP);
		}
		return 1;
	case CARE_LEFT:
		if (w->label || !closed(p + 1, e))
			twin(out, c);
		else
			hm_buf_putc(out, c);
		return 1;
	case CARE_RIGHT:
		if (w->label) {
			twin(out, c);
		} else {
			hm_buf_putc(out, c);
			if (next == '(' || next == 1 || next == '[')
				hm_buf_lit(out, HM_ZWSP);
		}
		return 1;
	case CARE_BANG:
		if (next != '[' && next != 1)
			hm_buf_putc(out, c);
		else if (d->text[(unsigned char)'*'] == CARE_NUMBER)
			number(out, c);
		else if (d->text[(unsigned char)'*'] == CARE_SLASH)
			hm_buf_lit(out, "\\!");
		else
			hm_buf_lit(out, "!" HM_ZWSP);
		return 1;
	case CARE_ESCAPE:
		hm_buf_putc(out, c);
		if (next == 1 || hm_is_punct(next))
			hm_buf_lit(out, HM_ZWSP);
		return 1;
	case CARE_SPACE: blank(w, c, next); return 1;
	}
	return 1;
}

/* Signs at the start of a line that would make it a heading, an item, a quote, a rule, code. Returns bytes used. */
static size_t line_start(struct hm_writer *w, const char *p, const char *e, bool more)
{
	const struct hm_dialect *d = w->d;
	struct hm_buf *out = w->out;
	const char *q = p;
	enum hm_care care = (enum hm_care)d->text[(unsigned char)*p];

	if (!d->start)
		return 0;
	if (hm_is_blank((unsigned char)*p)) { /* four are code, fewer hide nothing of what follows */
		while (q < e && *q == ' ')
			q++;
		if (d->start[0] == '#' &&
		    (q - p > 3 ||
		     (q == e ? more : *q == '\t' || strchr(d->start, *q) || hm_is_digit((unsigned char)*q))))
			hm_buf_lit(out, HM_ZWSP);
		return 0;
	}
	while (q < e && hm_is_digit((unsigned char)*q))
		q++;
	if (q > p) {
		if (!strchr(d->start, '1') || (q < e ? *q != '.' && *q != ')' : !more))
			return 0;
	} else if (!strchr(d->start, *p)) {
		return 0;
	}
	if (q == p && (care == CARE_SLASH || care == CARE_NUMBER || care == CARE_TWIN))
		return 0; /* disarmed wherever it stands */
	if (q == p && (care == CARE_EDGE || care == CARE_MARK) && e - p > 1 &&
	    !hm_is_blank((unsigned char)p[1]))
		return 0; /* a twin will take its place */
	if (d->text[(unsigned char)'*'] == CARE_NUMBER && (q == p || q < e)) {
		hm_buf_put(out, p, (size_t)(q - p));
		number(out, *q);
		return (size_t)(q - p) + 1;
	}
	if (d->start_slash && (q == p ? strchr("#>+-", *p) != NULL : q < e && *q == '.')) {
		hm_buf_put(out, p, (size_t)(q - p));
		hm_buf_putc(out, '\\');
		hm_buf_putc(out, *q);
		return (size_t)(q - p) + 1;
	}
	hm_buf_lit(out, HM_ZWSP);
	return 0;
}

void hm_write_text(struct hm_writer *w, struct hm_str s, bool more)
{
	const uint8_t *care = w->code ? w->d->code_text : w->d->text;
	const char *p = s.p, *e = p + s.len;

	while (p < e && hm_control(p, e)) /* what cannot be seen does not start a line */
		p += hm_control(p, e);
	if (p == e)
		return;
	if (w->fresh && !w->code) {
		size_t used = line_start(w, p, e, more);

		p += used;
		if (used)
			w->fresh = false;
	}
	while (p < e) {
		const char *q = skip(care, p, e);

		/* HTML: a blank between two words is no more than a sign */
		while (q > p && q + 1 < e && *q == ' ' && q[-1] != ' ' && !hm_is_blank((unsigned char)q[1]))
			q = skip(care, q + 1, e);
		if (q > p) {
			hm_buf_put(w->out, p, (size_t)(q - p));
			w->fresh = false;
			w->space = q[-1] == ' ';
			p = q;
			continue;
		}
		p += careful(w, care, p, e, more);
		w->fresh = false;
		if (care[(unsigned char)p[-1]] != CARE_SPACE)
			w->space = false;
	}
}

/* -- URLs ---------------------------------------------------------------------------------- */

bool hm_dialect_links_to(const struct hm_dialect *d, struct hm_str url)
{
	ptrdiff_t colon;
	struct hm_str scheme;

	if (!hm_rich_url_ok(url))
		return false;
	if (d->schemes == SCHEMES_ANY)
		return true;
	colon = hm_str_chr(url, ':');
	scheme = hm_str_n(url.p, (size_t)colon);
	return hm_str_ieq(scheme, HM_STR("https")) || hm_str_ieq(scheme, HM_STR("http")) ||
	       (d->schemes == SCHEMES_MAIL && hm_str_ieq(scheme, HM_STR("mailto")));
}

#define ALWAYS 1 /* a percent sign and two digits */
#define PARENS 2 /* that, inside markdown's parentheses */
#define FLATS  4 /* that, for signal-cli */
#define LOOK   8
/* clang-format off */
const uint8_t hm_url_signs[256] = {[0 ... 0x20] = ALWAYS, [0x7f] = ALWAYS, ['"'] = ALWAYS | HM_URL_MARKUP,
	['<'] = ALWAYS | HM_URL_MARKUP, ['>'] = ALWAYS | HM_URL_MARKUP, ['\\'] = ALWAYS | HM_URL_MARKUP,
	['^'] = ALWAYS | HM_URL_MARKUP, ['`'] = ALWAYS | HM_URL_MARKUP, ['{'] = ALWAYS | HM_URL_MARKUP,
	['|'] = ALWAYS | HM_URL_MARKUP, ['}'] = ALWAYS | HM_URL_MARKUP, ['&'] = LOOK, ['('] = PARENS | HM_URL_MARKUP,
	[')'] = PARENS | LOOK | HM_URL_MARKUP, ['['] = PARENS | HM_URL_MARKUP, [']'] = PARENS | HM_URL_MARKUP,
	['*'] = PARENS | FLATS | HM_URL_MARKUP, ['~'] = FLATS | HM_URL_MARKUP, ['_'] = HM_URL_MARKUP, ['@'] = HM_URL_MARKUP,
	['!'] = HM_URL_MARKUP, ['$'] = HM_URL_MARKUP, [';'] = HM_URL_MARKUP};
/* clang-format on */

void hm_write_url(struct hm_writer *w, struct hm_str url)
{
	static const char hex[] = "0123456789ABCDEF";
	const struct hm_dialect *d = w->d;
	struct hm_buf *out = w->out;
	bool mdv2 = d->code_text == hm_code_tg_mdv2, amp = d->link == LINK_TAG || d->link == LINK_ANGLE;
	unsigned percent = ALWAYS | (d->link == LINK_MARKDOWN && !mdv2 ? PARENS : 0u) |
			   (d->flags & FLAT ? FLATS : 0u);
	size_t run = 0, i;

	for (i = 0; i < url.len; i++) {
		unsigned char c = (unsigned char)url.p[i];
		unsigned sign = hm_url_signs[c];

		if (!(sign & (percent | LOOK)) || (!(sign & percent) && !(c == '&' ? amp : mdv2)))
			continue;
		if (i > run)
			hm_buf_put(out, url.p + run, i - run);
		run = i + 1;
		if (c == '&') {
			hm_buf_lit(out, "&amp;");
		} else if (!(sign & percent)) {
			hm_buf_lit(out, "\\)");
		} else {
			char t[3] = {'%', hex[c >> 4], hex[c & 15]};

			hm_buf_put(out, t, 3);
		}
	}
	if (i > run)
		hm_buf_put(out, url.p + run, i - run);
	w->fresh = w->space = false;
}
