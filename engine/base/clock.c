/*
 * clock.c - the only file that asks the system for the time
 */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static uint64_t offset_ms, frozen_ms;

static uint64_t read_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t hm_clock_mono_ns(void)
{
	return read_ns(CLOCK_MONOTONIC) + __atomic_load_n(&offset_ms, __ATOMIC_RELAXED) * 1000000u;
}

uint64_t hm_clock_wall_ms(void)
{
	uint64_t frozen = __atomic_load_n(&frozen_ms, __ATOMIC_RELAXED);

	if (frozen)
		return frozen;
	return read_ns(CLOCK_REALTIME) / 1000000u + __atomic_load_n(&offset_ms, __ATOMIC_RELAXED);
}

void hm_clock_advance_ms(uint64_t ms)
{
	__atomic_add_fetch(&offset_ms, ms, __ATOMIC_RELAXED);
	if (__atomic_load_n(&frozen_ms, __ATOMIC_RELAXED)) /* frozen time still moves when told to */
		__atomic_add_fetch(&frozen_ms, ms, __ATOMIC_RELAXED);
}

uint64_t hm_clock_offset_ms(void)
{
	return __atomic_load_n(&offset_ms, __ATOMIC_RELAXED);
}

void hm_clock_freeze_wall_ms(uint64_t ms)
{
	__atomic_store_n(&frozen_ms, ms, __ATOMIC_RELAXED);
}

/* Days since 1970-01-01 of a civil date, and back (Howard Hinnant, "chrono-compatible
 * low-level date algorithms"), for years 1970 and later. */
static uint64_t days_from_civil(uint64_t y, unsigned m, unsigned d)
{
	uint64_t era, yoe, doy;

	y -= m <= 2;
	era = y / 400;
	yoe = y - era * 400;
	doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void civil_from_days(uint64_t z, unsigned *y, unsigned *m, unsigned *d)
{
	uint64_t era, doe, yoe, doy, mp;

	z += 719468;
	era = z / 146097;
	doe = z - era * 146097;
	yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	mp = (5 * doy + 2) / 153;
	*d = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
	*m = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
	*y = (unsigned)(yoe + era * 400 + (*m <= 2));
}

static void digits(char *out, unsigned v, int n)
{
	while (n-- > 0) {
		out[n] = (char)('0' + v % 10);
		v /= 10;
	}
}

void hm_clock_rfc3339(uint64_t wall_ms, char out[25])
{
	static const char shape[25] = "0000-00-00T00:00:00.000Z";
	unsigned y, m, d, ms_of_day;

	wall_ms = hm_min(wall_ms, 253402300799999u); /* the format ends with year 9999 */
	civil_from_days(wall_ms / 86400000u, &y, &m, &d);
	ms_of_day = (unsigned)(wall_ms % 86400000u);
	memcpy(out, shape, 25);
	digits(out, y, 4);
	digits(out + 5, m, 2);
	digits(out + 8, d, 2);
	digits(out + 11, ms_of_day / 3600000, 2);
	digits(out + 14, ms_of_day / 60000 % 60, 2);
	digits(out + 17, ms_of_day / 1000 % 60, 2);
	digits(out + 20, ms_of_day % 1000, 3);
}

struct date {
	unsigned y, mon, d, h, min, s;
};

static bool number(struct hm_str *s, size_t n, unsigned *v_r)
{
	unsigned v = 0;

	if (s->len < n)
		return false;
	for (size_t i = 0; i < n; i++) {
		unsigned c = (unsigned)(unsigned char)s->p[i] - '0';

		if (c > 9)
			return false;
		v = v * 10 + c;
	}
	s->p += n;
	s->len -= n;
	*v_r = v;
	return true;
}

static bool literal(struct hm_str *s, const char *lit)
{
	struct hm_str l = hm_str_c(lit);

	if (!hm_str_starts(*s, l))
		return false;
	s->p += l.len;
	s->len -= l.len;
	return true;
}

static bool any_of(struct hm_str *s, const char *const *names, size_t n, unsigned *index_r)
{
	for (size_t i = 0; i < n; i++)
		if (literal(s, names[i])) {
			*index_r = (unsigned)i;
			return true;
		}
	return false;
}

static bool time_of_day(struct hm_str *s, struct date *t)
{
	return number(s, 2, &t->h) && literal(s, ":") && number(s, 2, &t->min) && literal(s, ":") &&
	       number(s, 2, &t->s);
}

static bool to_ms(const struct date *t, uint64_t *ms_r)
{
	static const unsigned char month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (t->y % 4 == 0 && t->y % 100 != 0) || t->y % 400 == 0;

	if (t->y < 1970 || t->mon < 1 || t->mon > 12 || t->d < 1 || t->d > month_days[t->mon - 1])
		return false;
	if (t->mon == 2 && t->d == 29 && !leap)
		return false;
	if (t->h > 23 || t->min > 59 || t->s > 60) /* 60: a leap second, counted as the next second */
		return false;
	*ms_r = (((days_from_civil(t->y, t->mon, t->d) * 24 + t->h) * 60 + t->min) * 60 + t->s) * 1000;
	return true;
}

bool hm_clock_parse_http_date(struct hm_str s, uint64_t *wall_ms_r)
{
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char *const tails[] = {"day", "sday", "nesday", "rsday", "urday"};
	static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	struct date t = {0};
	unsigned ignored;

	s = hm_str_trim(s);
	if (!any_of(&s, days, hm_countof(days), &ignored))
		return false;
	if (literal(&s, ", ")) { /* IMF-fixdate: Sun, 06 Nov 1994 08:49:37 GMT */
		if (!number(&s, 2, &t.d) || !literal(&s, " ") || !any_of(&s, months, 12, &t.mon) ||
		    !literal(&s, " ") || !number(&s, 4, &t.y) || !literal(&s, " ") || !time_of_day(&s, &t) ||
		    !literal(&s, " GMT"))
			return false;
	} else if (literal(&s, " ")) { /* asctime: Sun Nov  6 08:49:37 1994 */
		if (!any_of(&s, months, 12, &t.mon) || !literal(&s, " ") ||
		    !(literal(&s, " ") ? number(&s, 1, &t.d) : number(&s, 2, &t.d)) || !literal(&s, " ") ||
		    !time_of_day(&s, &t) || !literal(&s, " ") || !number(&s, 4, &t.y))
			return false;
	} else { /* RFC 850: Sunday, 06-Nov-94 08:49:37 GMT; two digits mean at most 50 years ahead */
		if (!any_of(&s, tails, hm_countof(tails), &ignored) || !literal(&s, ", ") ||
		    !number(&s, 2, &t.d) || !literal(&s, "-") || !any_of(&s, months, 12, &t.mon) ||
		    !literal(&s, "-") || !number(&s, 2, &t.y) || !literal(&s, " ") || !time_of_day(&s, &t) ||
		    !literal(&s, " GMT"))
			return false;
		t.y += t.y < 70 ? 2000 : 1900;
	}
	t.mon++;
	return s.len == 0 && to_ms(&t, wall_ms_r);
}

bool hm_clock_parse_rfc3339(struct hm_str s, uint64_t *wall_ms_r)
{
	struct date t = {0};
	uint64_t ms = 0;
	unsigned oh, om, scale = 100;

	if (!number(&s, 4, &t.y) || !literal(&s, "-") || !number(&s, 2, &t.mon) || !literal(&s, "-") ||
	    !number(&s, 2, &t.d) || !(literal(&s, "T") || literal(&s, "t") || literal(&s, " ")) ||
	    !time_of_day(&s, &t) || !to_ms(&t, &ms))
		return false;
	if (literal(&s, ".")) {
		unsigned digit;

		if (!number(&s, 1, &digit))
			return false;
		do {
			ms += digit * scale;
			scale /= 10;
		} while (number(&s, 1, &digit));
	}
	if (s.len == 1 && (s.p[0] == 'Z' || s.p[0] == 'z')) {
		*wall_ms_r = ms;
		return true;
	}
	bool east = literal(&s, "+");

	if ((!east && !literal(&s, "-")) || !number(&s, 2, &oh) || !literal(&s, ":") || !number(&s, 2, &om) ||
	    s.len || oh > 23 || om > 59)
		return false;
	uint64_t shift = (oh * 60ull + om) * 60000;

	if (east && ms < shift)
		return false;
	*wall_ms_r = east ? ms - shift : ms + shift;
	return true;
}
