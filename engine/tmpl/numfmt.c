/* numfmt.c - see numfmt.h */
#include "tmpl/numfmt.h"

#include "tmpl/lex.h"

size_t hm_num_computer(struct hm_dec v, char out[HM_DEC_MAX_TEXT])
{
	size_t n;
	bool neg = v.coef < 0;

	v = hm_dec_strip(hm_dec_round(v, 16, HM_ROUND_HALF_EVEN));
	n = hm_dec_text(v, out);
	if (neg && v.coef == 0) { /* DecimalFormat keeps the sign of what it rounds to zero */
		memmove(out + 1, out, n);
		out[0] = '-';
		n++;
	}
	return n;
}

/* What DecimalFormat reads of one half of a pattern. Digits may be broken by other text, which then is suffix. */
struct half {
	char *prefix, *suffix;
	uint8_t *prefix_len, *suffix_len;
	int hashes, zeros, right; /* # before the zeros, zeros, # behind them */
	int point;		  /* digits in front of the point; -1: no point */
	int group;		  /* digits behind the last comma; -1: none */
	bool zh;
};

static bool digit(struct half *h, char c)
{
	if (c == ',') {
		h->group = 0;
		return true;
	}
	if (c == '.') {
		if (h->point >= 0)
			return false;
		h->point = h->hashes + h->zeros + h->right;
		return true;
	}
	if (c == '#') {
		if (h->zeros)
			h->right++;
		else
			h->hashes++;
	} else {
		if (h->right)
			return false; /* 0#0 */
		h->zeros++;
	}
	if (h->group >= 0 && h->point < 0)
		h->group++;
	return h->hashes + h->zeros + h->right <= 60;
}

static bool put_affix(struct half *h, bool suffix, char c)
{
	uint8_t *len = suffix ? h->suffix_len : h->prefix_len;

	if (*len >= HM_NUMFMT_AFFIX)
		return false;
	(suffix ? h->suffix : h->prefix)[(*len)++] = c;
	return true;
}

/* The currency sign; twice (its place is then moved on) it is the currency's code. */
static bool currency(struct half *h, bool suffix, size_t *twice)
{
	const char *s = twice ? (h->zh ? "CNY" : "USD") : h->zh ? "\xc2\xa5" : "$";

	if (twice)
		*twice += 2;
	while (*s)
		if (!put_affix(h, suffix, *s++))
			return false;
	return true;
}

/* Reads up to `;` or the end. */
static bool half(struct hm_str p, size_t *i, struct hm_numfmt *f, struct half *h, bool second)
{
	bool quoted = false, suffix = false;

	for (; *i < p.len; ++*i) {
		char c = p.p[*i];

		if (c == '\'') {
			if (*i + 1 >= p.len || p.p[*i + 1] != '\'') {
				quoted = !quoted;
				continue;
			}
			++*i;
		} else if (!quoted) {
			if (c == '0' || c == '#' || c == ',' || c == '.') {
				if (!digit(h, c))
					return false;
				suffix = true;
				continue;
			}
			if (c == ';') {
				if (!suffix && !second)
					return false;
				break;
			}
			if (c == 'E' && suffix && *h->suffix_len == 0)
				return false; /* exponents are not in the language */
			if (c == '%' ||
			    hm_str_starts(hm_str_n(p.p + *i, p.len - *i), HM_STR("\xe2\x80\xb0"))) {
				if (f->shift)
					return false;
				f->shift = c == '%' ? 2 : 3;
			}
			if (hm_str_starts(hm_str_n(p.p + *i, p.len - *i), HM_STR("\xc2\xa4"))) {
				if (!currency(h, suffix,
					      hm_str_starts(hm_str_n(p.p + *i + 2, p.len - *i - 2),
							    HM_STR("\xc2\xa4"))
						      ? i
						      : NULL))
					return false;
				++*i;
				continue;
			}
		}
		if (!put_affix(h, suffix, c))
			return false;
	}
	return !quoted;
}

static bool counts(struct half *h, struct hm_numfmt *f)
{
	int total, before;

	if (h->zeros == 0 && h->hashes > 0 && h->point >= 0) { /* "#.##": one of the # counts as a zero */
		int n = h->point == 0 ? 1 : h->point;

		h->right = h->hashes - n;
		h->hashes = n - 1;
		h->zeros = 1;
	}
	if ((h->point < 0 && h->right > 0) || h->group == 0 ||
	    (h->point >= 0 && (h->point < h->hashes || h->point > h->hashes + h->zeros)))
		return false;
	total = h->hashes + h->zeros + h->right;
	before = h->point >= 0 ? h->point : total;
	f->min_int = (uint8_t)(before - h->hashes);
	f->max_frac = (uint8_t)(h->point >= 0 ? total - h->point : 0);
	f->min_frac = (uint8_t)(h->point >= 0 ? h->hashes + h->zeros - h->point : 0);
	f->group = h->group > 0 ? (uint8_t)h->group : 0;
	f->point = h->point == 0 || h->point == total;
	return true;
}

/* @name is a custom format in FreeMarker, of which there are none here. */
static bool custom(struct hm_str p)
{
	size_t n;
	uint32_t c;

	if (p.len < 2 || p.p[0] != '@')
		return false;
	c = hm_utf8_decode(hm_str_n(p.p + 1, p.len - 1), &n);
	return c != '_' && c != '$' && c != '@' && hm_lex_id_start(c);
}

bool hm_numfmt_parse(struct hm_str p, bool zh, struct hm_numfmt *f)
{
	static const struct {
		const char *name, *pattern, *zh;
	} named[] = {
		{"number", "#,##0.###", "#,##0.###"},
		{"currency", "$#,##0.00", "\xc2\xa5#,##0.00"},
		{"percent", "#,##0%", "#,##0%"},
		{"computer", "0.################", "0.################"},
	};
	struct hm_numfmt neg = {0};
	size_t i = 0;

	struct half h = {.group = -1, .point = -1, .zh = zh}, n = h;

	*f = (struct hm_numfmt){0};
	if (p.len == 0) { /* DecimalFormat's default */
		*f = (struct hm_numfmt){
			.max_frac = HM_DEC_MAX_SCALE, .group = 3, .neg_prefix = "-", .neg_prefix_len = 1};
		return true;
	}
	if (custom(p))
		return false;
	if (hm_str_ends(p, HM_STR(";;")) && hm_str_chr(p, ';') == (ptrdiff_t)p.len - 2)
		p.len -= 2; /* no options behind the ;; */
	for (size_t k = 0; k < hm_countof(named); k++)
		if (hm_str_is(p, named[k].name))
			p = hm_str_c(zh ? named[k].zh : named[k].pattern);
	h.prefix = f->prefix;
	h.suffix = f->suffix;
	h.prefix_len = &f->prefix_len;
	h.suffix_len = &f->suffix_len;
	if (!half(p, &i, f, &h, false) || !counts(&h, f))
		return false;
	f->neg_prefix[0] = '-';
	memcpy(f->neg_prefix + 1, f->prefix, hm_min((size_t)f->prefix_len, sizeof(f->neg_prefix) - 1));
	f->neg_prefix_len = (uint8_t)(f->prefix_len + 1);
	memcpy(f->neg_suffix, f->suffix, sizeof(f->suffix));
	f->neg_suffix_len = f->suffix_len;
	if (f->neg_prefix_len > HM_NUMFMT_AFFIX)
		return false;
	if (i + 1 >= p.len)
		return true;
	i++; /* ; and how negative numbers look: only the texts around the digits count */
	n.prefix = neg.prefix;
	n.suffix = neg.suffix;
	n.prefix_len = &neg.prefix_len;
	n.suffix_len = &neg.suffix_len;
	if (!half(p, &i, &neg, &n, true) ||
	    i + 1 < p.len) /* behind a second ; FreeMarker has options of its own */
		return false;
	if (neg.prefix_len == f->prefix_len && neg.suffix_len == f->suffix_len &&
	    memcmp(neg.prefix, f->prefix, neg.prefix_len) == 0 &&
	    memcmp(neg.suffix, f->suffix, neg.suffix_len) == 0)
		return true; /* the same as the positive one: the sign is what tells them apart */
	memcpy(f->neg_prefix, neg.prefix, sizeof(neg.prefix));
	memcpy(f->neg_suffix, neg.suffix, sizeof(neg.suffix));
	f->neg_prefix_len = neg.prefix_len;
	f->neg_suffix_len = neg.suffix_len;
	return true;
}

static struct hm_dec shifted(struct hm_dec v, unsigned shift, bool *ok)
{
	*ok = true;
	for (; shift > 0; shift--) {
		if (v.scale > 0) {
			v.scale--;
			continue;
		}
		if (v.coef > ((__int128)1 << 123) || v.coef < -((__int128)1 << 123)) {
			*ok = false;
			return v;
		}
		v.coef *= 10;
	}
	return v;
}

bool hm_numfmt_put(const struct hm_numfmt *f, struct hm_dec v, struct hm_buf *out)
{
	bool neg = v.coef < 0, ok;
	char d[40];
	size_t n, ints, lead, frac, i;

	v = shifted(v, f->shift, &ok);
	if (!ok)
		return false;
	v = hm_dec_strip(hm_dec_round(v, f->max_frac, HM_ROUND_HALF_EVEN));
	n = v.coef == 0 ? 0 : hm_dec_digits(v, d);
	if (neg)
		hm_buf_put(out, f->neg_prefix, f->neg_prefix_len);
	else
		hm_buf_put(out, f->prefix, f->prefix_len);
	/* digits before the point: those there are, and zeros in front up to the minimum */
	ints = n > (size_t)v.scale ? n - (size_t)v.scale : 0;
	lead = f->min_int > ints ? f->min_int - ints : 0;
	frac = (size_t)v.scale;
	for (i = 0; i < lead + ints; i++) {
		size_t left = lead + ints - i;

		hm_buf_putc(out, i < lead ? '0' : d[i - lead]);
		if (f->group && left > 1 && (left - 1) % f->group == 0)
			hm_buf_putc(out, ',');
	}
	if (frac > 0 || f->min_frac > 0) {
		size_t zeros = frac > n - ints ? frac - (n - ints) : 0;

		hm_buf_putc(out, '.');
		for (i = 0; i < zeros; i++)
			hm_buf_putc(out, '0');
		hm_buf_put(out, d + ints, n - ints);
		for (i = frac; i < f->min_frac; i++)
			hm_buf_putc(out, '0');
	} else {
		if (lead + ints == 0)
			hm_buf_putc(out, '0');
		if (f->point)
			hm_buf_putc(out, '.');
	}
	if (neg)
		hm_buf_put(out, f->neg_suffix, f->neg_suffix_len);
	else
		hm_buf_put(out, f->suffix, f->suffix_len);
	return true;
}
