/*
 * decimal.c - see decimal.h. Products and quotients pass through 256 bits, so that
 * rounding is done once, on the exact value.
 */
#include "tmpl/decimal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef unsigned __int128 u128;
typedef __int128 i128;

struct u256 {
	u128 hi, lo;
};

#define MAX_DIGITS 38

static u128 pow10u(int n) /* n <= 38 */
{
	static const uint64_t small[20] = {1ull,
					   10ull,
					   100ull,
					   1000ull,
					   10000ull,
					   100000ull,
					   1000000ull,
					   10000000ull,
					   100000000ull,
					   1000000000ull,
					   10000000000ull,
					   100000000000ull,
					   1000000000000ull,
					   10000000000000ull,
					   100000000000000ull,
					   1000000000000000ull,
					   10000000000000000ull,
					   100000000000000000ull,
					   1000000000000000000ull,
					   10000000000000000000ull};

	hm_assert(n >= 0 && n <= MAX_DIGITS);
	return n < 20 ? (u128)small[n] : (u128)small[19] * small[n - 19];
}

static u128 mag(i128 v)
{
	return v < 0 ? (u128)0 - (u128)v : (u128)v;
}

static i128 with_sign(u128 m, bool neg)
{
	return neg ? -(i128)m : (i128)m;
}

static bool fits(u128 m)
{
	return m < pow10u(MAX_DIGITS);
}

static struct u256 mul128(u128 a, u128 b)
{
	uint64_t a0 = (uint64_t)a, a1 = (uint64_t)(a >> 64), b0 = (uint64_t)b, b1 = (uint64_t)(b >> 64);
	u128 p00 = (u128)a0 * b0, p01 = (u128)a0 * b1, p10 = (u128)a1 * b0, p11 = (u128)a1 * b1;
	u128 mid = (p00 >> 64) + (uint64_t)p01 + (uint64_t)p10;
	struct u256 r;

	r.lo = (mid << 64) | (uint64_t)p00;
	r.hi = p11 + (p01 >> 64) + (p10 >> 64) + (mid >> 64);
	return r;
}

/* a / d: quotient in *q, remainder returned. Bit by bit; only for values beyond 128 bits. */
static u128 div256(struct u256 a, u128 d, struct u256 *q)
{
	u128 rem = 0;
	int i;

	*q = (struct u256){0, 0};
	if (a.hi == 0) {
		q->lo = a.lo / d;
		return a.lo % d;
	}
	for (i = 255; i >= 0; i--) {
		bool carry = (rem >> 127) != 0;

		rem = (rem << 1) | ((i >= 128 ? a.hi >> (i - 128) : a.lo >> i) & 1);
		if (carry || rem >= d) {
			rem -= d;
			if (i >= 128)
				q->hi |= (u128)1 << (i - 128);
			else
				q->lo |= (u128)1 << i;
		}
	}
	return rem;
}

/* Adds one to q when the rule says so; rem/d is the part cut off. */
static u128 round_up(u128 q, u128 rem, u128 d, bool neg, enum hm_dec_round how)
{
	bool tie, above;

	if (rem == 0)
		return q;
	tie = rem == d - rem;
	above = rem > d - rem;
	switch (how) {
	case HM_ROUND_DOWN: return q;
	case HM_ROUND_FLOOR: return neg ? q + 1 : q;
	case HM_ROUND_CEILING: return neg ? q : q + 1;
	case HM_ROUND_HALF_UP: return tie || above ? q + 1 : q;
	case HM_ROUND_HALF_EVEN: return above || (tie && (q & 1)) ? q + 1 : q;
	}
	hm_unreachable();
}

struct hm_dec hm_dec_round(struct hm_dec a, int scale, enum hm_dec_round how)
{
	int cut = a.scale - scale;
	u128 m = mag(a.coef), q;
	bool neg = a.coef < 0;

	if (cut <= 0)
		return a;
	if (cut > MAX_DIGITS) { /* all digits and more are cut off: below one half */
		q = round_up(0, m ? 1 : 0, 4, neg, how);
	} else {
		u128 d = pow10u(cut);

		q = round_up(m / d, m % d, d, neg, how);
	}
	return (struct hm_dec){with_sign(q, neg), scale};
}

struct hm_dec hm_dec_strip(struct hm_dec a)
{
	while (a.scale > 0 && a.coef % 10 == 0) {
		a.coef /= 10;
		a.scale--;
	}
	return a;
}

/* The value with more decimals; false when it does not fit. */
static bool rescale(struct hm_dec a, int scale, i128 *r)
{
	int up = scale - a.scale;
	u128 m = mag(a.coef), p;

	if (up == 0 || m == 0) {
		*r = a.coef;
		return true;
	}
	if (up > MAX_DIGITS)
		return false;
	p = pow10u(up);
	if (m > (pow10u(MAX_DIGITS) - 1) / p)
		return false;
	*r = with_sign(m * p, a.coef < 0);
	return true;
}

bool hm_dec_add(struct hm_dec a, struct hm_dec b, struct hm_dec *r)
{
	i128 x, y;
	int scale = hm_max(a.scale, b.scale);

	if (!rescale(a, scale, &x) || !rescale(b, scale, &y)) {
		a = hm_dec_strip(a);
		b = hm_dec_strip(b);
		scale = hm_max(a.scale, b.scale);
		if (!rescale(a, scale, &x) || !rescale(b, scale, &y))
			return false;
	}
	x += y; /* both below 10^38: the sum stays below 2^127 */
	if (!fits(mag(x))) {
		struct hm_dec s = hm_dec_strip((struct hm_dec){x, scale});

		if (!fits(mag(s.coef)))
			return false;
		*r = s;
		return true;
	}
	*r = (struct hm_dec){x, scale};
	return true;
}

bool hm_dec_sub(struct hm_dec a, struct hm_dec b, struct hm_dec *r)
{
	b.coef = -b.coef;
	return hm_dec_add(a, b, r);
}

#define PRODUCT_SCALE 12

bool hm_dec_mul(struct hm_dec a, struct hm_dec b, struct hm_dec *r)
{
	bool neg = (a.coef < 0) != (b.coef < 0);
	int scale = a.scale + b.scale, cut;
	struct u256 p, q;
	u128 rem, d;

	p = mul128(mag(a.coef), mag(b.coef));
	cut = scale > PRODUCT_SCALE ? scale - PRODUCT_SCALE : 0;
	if (cut > MAX_DIGITS) {
		/* two rounds of cutting would round twice: first drop without rounding, keeping a sticky digit */
		int first = cut - MAX_DIGITS;

		while (first > 0) {
			int step = hm_min(first, MAX_DIGITS);

			rem = div256(p, pow10u(step), &q);
			p = q;
			if (rem)
				p.lo |= 1;
			first -= step;
		}
		cut = MAX_DIGITS;
	}
	d = pow10u(cut);
	rem = div256(p, d, &q);
	if (q.hi != 0)
		return false;
	q.lo = round_up(q.lo, rem, d, neg, HM_ROUND_HALF_UP);
	if (!fits(q.lo))
		return false;
	*r = (struct hm_dec){with_sign(q.lo, neg), hm_min(scale, PRODUCT_SCALE)};
	return true;
}

bool hm_dec_div(struct hm_dec a, struct hm_dec b, struct hm_dec *r)
{
	bool neg = (a.coef < 0) != (b.coef < 0);
	int scale = hm_max(PRODUCT_SCALE, hm_max(a.scale, b.scale));
	int up;
	struct u256 n, q;
	u128 rem, d = mag(b.coef);

	if (d == 0)
		return false;
	a = hm_dec_strip(a);
	b = hm_dec_strip(b);
	d = mag(b.coef);
	/* a / b = (a.coef / b.coef) * 10^(b.scale - a.scale); wanted: * 10^scale */
	up = scale + b.scale - a.scale;
	n = (struct u256){0, mag(a.coef)};
	if (up < 0) { /* cannot happen: scale >= a.scale and b.scale >= 0 */
		return false;
	}
	if (up > MAX_DIGITS) {
		if (mag(a.coef) != 0)
			return false;
		up = 0;
	}
	n = mul128(mag(a.coef), pow10u(up));
	rem = div256(n, d, &q);
	if (q.hi != 0)
		return false;
	q.lo = round_up(q.lo, rem, d, neg, HM_ROUND_HALF_UP);
	if (!fits(q.lo))
		return false;
	*r = (struct hm_dec){with_sign(q.lo, neg), scale};
	return true;
}

bool hm_dec_mod(struct hm_dec a, struct hm_dec b, struct hm_dec *r)
{
	int64_t x = hm_dec_to_i64(a), y = hm_dec_to_i64(b);

	if (y == 0)
		return false;
	*r = hm_dec_i64(y == -1 ? 0 : x % y);
	return true;
}

/* Number of decimal digits of a magnitude; 0 has none. */
static int ndigits(u128 m)
{
	int n = 0;

	while (m) {
		m /= 10;
		n++;
	}
	return n;
}

int hm_dec_cmp(struct hm_dec a, struct hm_dec b)
{
	int sa = (a.coef > 0) - (a.coef < 0), sb = (b.coef > 0) - (b.coef < 0), da, db, up;
	struct u256 x, y;

	if (sa != sb)
		return sa < sb ? -1 : 1;
	if (sa == 0)
		return 0;
	if (a.scale == b.scale)
		return a.coef < b.coef ? -1 : a.coef > b.coef;
	/* the position of the leading digit decides unless it is the same */
	da = ndigits(mag(a.coef)) - a.scale;
	db = ndigits(mag(b.coef)) - b.scale;
	if (da != db)
		return (da < db ? -1 : 1) * sa;
	up = abs(a.scale - b.scale); /* at most 37 here: equal leading positions */
	x = a.scale < b.scale ? mul128(mag(a.coef), pow10u(up)) : (struct u256){0, mag(a.coef)};
	y = b.scale < a.scale ? mul128(mag(b.coef), pow10u(up)) : (struct u256){0, mag(b.coef)};
	if (x.hi != y.hi)
		return (x.hi < y.hi ? -1 : 1) * sa;
	return (x.lo < y.lo ? -1 : x.lo > y.lo) * sa;
}

bool hm_dec_round_half(struct hm_dec a, struct hm_dec *r)
{
	if (a.scale == 0) {
		*r = a;
		return true;
	}
	a = hm_dec_strip(a);
	if (!hm_dec_add(a, (struct hm_dec){5, 1}, r))
		return false;
	*r = hm_dec_round(*r, 0, HM_ROUND_FLOOR);
	return true;
}

int64_t hm_dec_to_i64(struct hm_dec a)
{
	return (int64_t)(uint64_t)(u128)hm_dec_round(a, 0, HM_ROUND_DOWN).coef;
}

int32_t hm_dec_to_i32(struct hm_dec a)
{
	return (int32_t)(uint32_t)(u128)hm_dec_round(a, 0, HM_ROUND_DOWN).coef;
}

bool hm_dec_round_double(struct hm_dec a, enum hm_dec_round how, struct hm_dec *r)
{
	char text[HM_DEC_MAX_TEXT + 1];
	double d, whole;

	if (a.coef < 1000000000000000 &&
	    a.coef > -1000000000000000) { /* 15 digits: no step of a double can matter */
		if (how == HM_ROUND_HALF_UP)
			return hm_dec_round_half(a, r);
		*r = hm_dec_round(a, 0, how);
		return true;
	}
	text[hm_dec_text(a, text)] = 0;
	d = strtod(text, NULL);
	whole = how == HM_ROUND_CEILING ? ceil(d) : floor(d);
	if (how == HM_ROUND_HALF_UP && d - whole >= 0.5)
		whole += 1;
	if (fabs(whole) >= 1e37)
		return false;
	*r = (struct hm_dec){(__int128)whole, 0};
	return true;
}

bool hm_dec_fits_i64(struct hm_dec a, int64_t *v_r)
{
	i128 c = hm_dec_round(a, 0, HM_ROUND_DOWN).coef;

	if (c > INT64_MAX || c < INT64_MIN)
		return false;
	*v_r = (int64_t)c;
	return true;
}

bool hm_dec_parse(struct hm_str s, struct hm_dec *r)
{
	size_t i = 0, digits = 0;
	bool neg = false, point = false, eneg = false;
	u128 m = 0;
	long scale = 0, exp = 0;
	bool lost = false;

	if (i < s.len && (s.p[i] == '+' || s.p[i] == '-'))
		neg = s.p[i++] == '-';
	for (; i < s.len; i++) {
		char c = s.p[i];

		if (c == '.' && !point) {
			point = true;
			continue;
		}
		if (c < '0' || c > '9')
			break;
		digits++;
		if (m >= pow10u(MAX_DIGITS - 1)) { /* no room: decimals may be dropped, integers not */
			if (!point && c != '0')
				lost = true;
			if (!point)
				scale--;
			continue;
		}
		m = m * 10 + (unsigned)(c - '0');
		if (point)
			scale++;
	}
	if (digits == 0)
		return false;
	if (i < s.len && (s.p[i] == 'e' || s.p[i] == 'E')) {
		size_t n = 0;

		i++;
		if (i < s.len && (s.p[i] == '+' || s.p[i] == '-'))
			eneg = s.p[i++] == '-';
		for (; i < s.len && s.p[i] >= '0' && s.p[i] <= '9'; i++, n++)
			if (exp < 100000)
				exp = exp * 10 + (s.p[i] - '0');
		if (n == 0)
			return false;
	}
	if (i != s.len || lost)
		return false;
	scale -= eneg ? -exp : exp;
	if (m == 0) {
		*r = (struct hm_dec){0, (int32_t)(scale < 0 ? 0 : hm_min(scale, (long)HM_DEC_MAX_SCALE))};
		return true;
	}
	if (scale < 0) {
		if (scale < -MAX_DIGITS || m > (pow10u(MAX_DIGITS) - 1) / pow10u((int)-scale))
			return false;
		m *= pow10u((int)-scale);
		scale = 0;
	}
	if (scale > 1000)
		scale = 1000;
	*r = (struct hm_dec){with_sign(m, neg), (int32_t)scale};
	if (r->scale > HM_DEC_MAX_SCALE)
		*r = hm_dec_round(*r, HM_DEC_MAX_SCALE, HM_ROUND_HALF_EVEN);
	return true;
}

bool hm_dec_double(double v, struct hm_dec *r)
{
	char text[40];
	int prec, n = 0;

	if (!isfinite(v))
		return false;
	for (prec = 15; prec <= 17; prec++) {
		n = snprintf(text, sizeof(text), "%.*e", prec - 1, v);
		if (strtod(text, NULL) == v)
			break;
	}
	if (!hm_dec_parse(hm_str_n(text, (size_t)n), r))
		return false;
	*r = hm_dec_strip(*r);
	return true;
}

size_t hm_dec_digits(struct hm_dec a, char out[40])
{
	char tmp[40];
	u128 m = mag(a.coef);
	size_t n = 0, i;

	do {
		tmp[n++] = (char)('0' + (int)(m % 10));
		m /= 10;
	} while (m);
	for (i = 0; i < n; i++)
		out[i] = tmp[n - 1 - i];
	return n;
}

size_t hm_dec_text(struct hm_dec a, char out[HM_DEC_MAX_TEXT])
{
	char d[40];
	size_t n = hm_dec_digits(a, d), o = 0, scale = (size_t)a.scale;

	if (a.coef < 0)
		out[o++] = '-';
	if (n <= scale) {
		out[o++] = '0';
		out[o++] = '.';
		memset(out + o, '0', scale - n);
		o += scale - n;
		memcpy(out + o, d, n);
		return o + n;
	}
	memcpy(out + o, d, n - scale);
	o += n - scale;
	if (scale) {
		out[o++] = '.';
		memcpy(out + o, d + n - scale, scale);
		o += scale;
	}
	return o;
}
