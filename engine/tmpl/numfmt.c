/* numfmt.c - see numfmt.h */
#include "tmpl/numfmt.h"

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

/* Literal text before or behind the digits, with '...' and '' and % taken care of. */
static bool affix(struct hm_str p, size_t *i, bool prefix, struct hm_numfmt *f, char *out, uint8_t *len)
{
	bool quoted = false;

	while (*i < p.len) {
		char c = p.p[*i];

		if (c == '\'') {
			if (*i + 1 < p.len && p.p[*i + 1] == '\'') {
				*i += 2;
			} else {
				quoted = !quoted;
				++*i;
				continue;
			}
		} else if (!quoted) {
			if (c == ';')
				break;
			if (c == '0' || c == '#' || c == ',' || c == '.' || (c >= '1' && c <= '9')) {
				if (prefix)
					break;
				return false; /* digits again behind the suffix */
			}
			if (c == '%')
				f->shift = 2;
			if ((unsigned char)c == 0xE2 && p.len - *i >= 3 &&
			    (unsigned char)p.p[*i + 1] == 0x80 &&
			    (unsigned char)p.p[*i + 2] == 0xB0) /* per mille */
				f->shift = 3;
			++*i;
		} else {
			++*i;
		}
		if (*len >= HM_NUMFMT_AFFIX)
			return false;
		out[(*len)++] = c;
	}
	return !quoted;
}

/* The digits: [#,][0,][.0#]. */
static bool digits(struct hm_str p, size_t *i, struct hm_numfmt *f)
{
	int hashes = 0, zeros = 0, frac_zero = 0, frac_hash = 0, group = -1;
	bool point = false;

	for (; *i < p.len; ++*i) {
		char c = p.p[*i];

		if (c == '#') {
			if (point)
				frac_hash++;
			else if (zeros)
				return false; /* 0# */
			else
				hashes++;
			if (group >= 0 && !point)
				group++;
		} else if (c == '0') {
			if (point && frac_hash)
				return false; /* .#0 */
			if (point)
				frac_zero++;
			else
				zeros++;
			if (group >= 0 && !point)
				group++;
		} else if (c == ',') {
			if (point)
				return false;
			group = 0;
		} else if (c == '.') {
			if (point)
				return false;
			point = true;
		} else {
			break;
		}
	}
	if (group == 0 || hashes + zeros > 60 || frac_zero + frac_hash > 60)
		return false;
	/* DecimalFormat: "#" and "#.##" print at least one digit before the point unless decimals must follow */
	if (zeros == 0 && hashes > 0 && !point)
		zeros = 1;
	else if (zeros == 0 && point && frac_zero == 0 && hashes > 0)
		zeros = 1;
	else if (point && zeros == 0 && hashes == 0 && frac_zero == 0 && frac_hash > 0) { /* ".##" */
		frac_zero = 1;
		frac_hash--;
	}
	f->min_int = (uint8_t)zeros;
	f->min_frac = (uint8_t)frac_zero;
	f->max_frac = (uint8_t)(frac_zero + frac_hash);
	f->group = group > 0 ? (uint8_t)group : 0;
	return true;
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

	*f = (struct hm_numfmt){0};
	for (size_t k = 0; k < hm_countof(named); k++)
		if (hm_str_is(p, named[k].name))
			p = hm_str_c(zh ? named[k].zh : named[k].pattern);
	if (!affix(p, &i, true, f, f->prefix, &f->prefix_len) || !digits(p, &i, f) ||
	    !affix(p, &i, false, f, f->suffix, &f->suffix_len))
		return false;
	f->neg_prefix[0] = '-';
	memcpy(f->neg_prefix + 1, f->prefix, hm_min((size_t)f->prefix_len, sizeof(f->neg_prefix) - 1));
	f->neg_prefix_len = (uint8_t)(f->prefix_len + 1);
	memcpy(f->neg_suffix, f->suffix, sizeof(f->suffix));
	f->neg_suffix_len = f->suffix_len;
	if (f->neg_prefix_len > HM_NUMFMT_AFFIX)
		return false;
	if (i < p.len) { /* ; and how negative numbers look: only its affixes count */
		i++;
		if (i >= p.len)
			return true;
		if (!affix(p, &i, true, &neg, neg.prefix, &neg.prefix_len) || !digits(p, &i, &neg) ||
		    !affix(p, &i, false, &neg, neg.suffix, &neg.suffix_len) || i < p.len)
			return false;
		if (neg.prefix_len == f->prefix_len && neg.suffix_len == f->suffix_len &&
		    memcmp(neg.prefix, f->prefix, neg.prefix_len) == 0 &&
		    memcmp(neg.suffix, f->suffix, neg.suffix_len) == 0)
			return true; /* the same as the positive one: the sign is what tells them apart */
		memcpy(f->neg_prefix, neg.prefix, sizeof(neg.prefix));
		memcpy(f->neg_suffix, neg.suffix, sizeof(neg.suffix));
		f->neg_prefix_len = neg.prefix_len;
		f->neg_suffix_len = neg.suffix_len;
	}
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
	} else if (lead + ints == 0) {
		hm_buf_putc(out, '0'); /* ".##" of zero */
	}
	if (neg)
		hm_buf_put(out, f->neg_suffix, f->neg_suffix_len);
	else
		hm_buf_put(out, f->suffix, f->suffix_len);
	return true;
}
