/*
 * str.c - views of bytes: comparing, cutting, and reading numbers with units
 */
#include "base/str.h"

static unsigned char lower(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c + 32) : c;
}

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' || c == '\v';
}

int hm_str_cmp(struct hm_str a, struct hm_str b)
{
	size_t n = hm_min(a.len, b.len);
	int d = n ? memcmp(a.p, b.p, n) : 0;

	if (d != 0)
		return d;
	return a.len < b.len ? -1 : a.len > b.len;
}

bool hm_str_ieq(struct hm_str a, struct hm_str b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (lower((unsigned char)a.p[i]) != lower((unsigned char)b.p[i]))
			return false;
	return true;
}

bool hm_str_starts(struct hm_str s, struct hm_str prefix)
{
	return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.p, prefix.p, prefix.len) == 0);
}

bool hm_str_ends(struct hm_str s, struct hm_str suffix)
{
	return s.len >= suffix.len &&
	       (suffix.len == 0 || memcmp(s.p + s.len - suffix.len, suffix.p, suffix.len) == 0);
}

struct hm_str hm_str_trim(struct hm_str s)
{
	while (s.len && blank(s.p[0])) {
		s.p++;
		s.len--;
	}
	while (s.len && blank(s.p[s.len - 1]))
		s.len--;
	return s;
}

ptrdiff_t hm_str_find(struct hm_str s, struct hm_str needle)
{
	const char *at;

	if (needle.len == 0)
		return 0;
	if (s.len < needle.len)
		return -1;
	at = memmem(s.p, s.len, needle.p, needle.len);
	return at ? at - s.p : -1;
}

ptrdiff_t hm_str_chr(struct hm_str s, char c)
{
	const char *at = s.len ? memchr(s.p, c, s.len) : NULL;

	return at ? at - s.p : -1;
}

bool hm_str_split(struct hm_str *rest_r, char sep, struct hm_str *part_r)
{
	ptrdiff_t at;

	if (rest_r->len == 0)
		return false;
	at = hm_str_chr(*rest_r, sep);
	if (at < 0) {
		*part_r = *rest_r;
		*rest_r = hm_str_n(rest_r->p + rest_r->len, 0);
		return true;
	}
	*part_r = hm_str_n(rest_r->p, (size_t)at);
	rest_r->p += at + 1;
	rest_r->len -= (size_t)at + 1;
	return true;
}

bool hm_str_u64(struct hm_str s, uint64_t *v_r)
{
	uint64_t v = 0;

	if (s.len == 0)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned digit = (unsigned)(unsigned char)s.p[i] - '0';

		if (digit > 9 || __builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, digit, &v))
			return false;
	}
	*v_r = v;
	return true;
}

bool hm_str_i64(struct hm_str s, int64_t *v_r)
{
	bool neg = s.len && s.p[0] == '-';
	uint64_t v;

	if (neg) {
		s.p++;
		s.len--;
	}
	if (!hm_str_u64(s, &v) || v > (uint64_t)INT64_MAX + neg)
		return false;
	*v_r = neg ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

struct unit {
	const char *name;
	uint64_t factor;
};

/* A decimal and one unit of the list; `bare` says whether no unit is fine. */
static bool number_with_unit(struct hm_str s, const struct unit *units, size_t n, bool bare, uint64_t *v_r)
{
	size_t digits = 0;
	uint64_t v;
	struct hm_str unit;

	while (digits < s.len && s.p[digits] >= '0' && s.p[digits] <= '9')
		digits++;
	if (!hm_str_u64(hm_str_n(s.p, digits), &v))
		return false;
	unit = hm_str_n(s.p + digits, s.len - digits);
	if (unit.len == 0) {
		if (!bare && v != 0)
			return false;
		*v_r = v;
		return true;
	}
	for (size_t i = 0; i < n; i++)
		if (hm_str_is(unit, units[i].name))
			return !__builtin_mul_overflow(v, units[i].factor, v_r);
	return false;
}

bool hm_str_duration_ms(struct hm_str s, uint64_t *ms_r)
{
	static const struct unit units[] = {
		{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
	};

	return number_with_unit(s, units, hm_countof(units), false, ms_r);
}

bool hm_str_bytes(struct hm_str s, uint64_t *bytes_r)
{
	static const struct unit units[] = {
		{"B", 1},
		{"KiB", 1ull << 10},
		{"MiB", 1ull << 20},
		{"GiB", 1ull << 30},
		{"TiB", 1ull << 40},
		{"KB", 1000},
		{"MB", 1000000},
		{"GB", 1000000000},
		{"TB", 1000000000000},
	};

	return number_with_unit(s, units, hm_countof(units), true, bytes_r);
}

/* Optimal string alignment over one rolling row pair; names are short. */
size_t hm_str_distance(struct hm_str a, struct hm_str b)
{
	enum { MAX = 64 };
	size_t row[3][MAX + 1];

	if (a.len > MAX || b.len > MAX)
		return hm_max(a.len, b.len);
	for (size_t j = 0; j <= b.len; j++)
		row[0][j] = j;
	for (size_t i = 1; i <= a.len; i++) {
		size_t *now = row[i % 3], *up = row[(i - 1) % 3];
		const size_t *up2 = row[(i + 1) % 3];

		now[0] = i;
		for (size_t j = 1; j <= b.len; j++) {
			size_t cost = a.p[i - 1] != b.p[j - 1];
			size_t d = hm_min(up[j] + 1, now[j - 1] + 1);

			d = hm_min(d, up[j - 1] + cost);
			if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1])
				d = hm_min(d, up2[j - 2] + 1);
			now[j] = d;
		}
	}
	return row[a.len % 3][b.len];
}

const char *hm_str_nearest(struct hm_str s, const char *const *names)
{
	const char *best = NULL;
	size_t best_d = SIZE_MAX;

	for (; *names; names++) {
		struct hm_str name = hm_str_c(*names);
		size_t d = hm_str_distance(s, name);

		if (d < best_d && d <= (hm_max(s.len, name.len) + 2) / 3) {
			best_d = d;
			best = *names;
		}
	}
	return best;
}
