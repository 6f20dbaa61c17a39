/* datetime.c - see datetime.h */
#include "tmpl/datetime.h"

#define DAY_MS 86400000ll

struct parts {
	int64_t year;
	int month, day, hour, minute, second, ms; /* month 1..12 */
	int weekday;				  /* 0 Sunday */
	int yearday;				  /* 1.. */
};

int32_t hm_zone_at(struct hm_zone z, int64_t ms)
{
	return z.tz ? hm_tz_offset(z.tz, hm_floor_div(ms, 1000), NULL) : z.offset_s;
}

static struct parts split(int64_t ms, int32_t offset_s)
{
	int64_t local = ms + (int64_t)offset_s * 1000, at = hm_floor_div(local, 1000),
		days = hm_floor_div(at, 86400);
	struct hm_civil c = hm_civil_of(at);
	struct parts p = {.year = c.year,
			  .month = c.month,
			  .day = c.day,
			  .hour = c.hour,
			  .minute = c.minute,
			  .second = c.second,
			  .ms = (int)(local - at * 1000)};

	p.weekday = (int)(((days % 7) + 11) % 7);
	p.yearday = (int)(days - hm_civil_days(p.year, 1, 1)) + 1;
	return p;
}

static int month_days(int64_t y, int m)
{
	static const int8_t n[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return m == 2 && hm_leap_year(y) ? 29 : n[m - 1];
}

/*
 * The moment at which clocks of the zone read that. What they read twice is the later one, in standard time, and *gap_r
 * (may be NULL) tells that they never read it: both as in java.util.GregorianCalendar.
 */
static int64_t join(const struct parts *p, struct hm_zone z, bool *gap_r)
{
	int64_t local = hm_civil_days(p->year, p->month, p->day) * DAY_MS + p->hour * 3600000ll +
			p->minute * 60000ll + p->second * 1000ll + p->ms;
	int64_t s = hm_floor_div(local, 1000);
	enum hm_tz_fit fit = HM_TZ_ONCE;

	if (z.tz)
		local = hm_tz_seconds_to_utc(z.tz, s, HM_TZ_SECOND, &fit) * 1000 + (local - s * 1000);
	else
		local -= (int64_t)z.offset_s * 1000;
	if (gap_r)
		*gap_r = fit == HM_TZ_GAP;
	return local;
}

/* -- ISO 8601 ------------------------------------------------------------------------ */

bool hm_iso_name(struct hm_str s, struct hm_iso_opts *o)
{
	struct hm_str part;
	bool accuracy = false;

	*o = (struct hm_iso_opts){0};
	if (!hm_str_split(&s, '_', &part) || !(hm_str_is(part, "iso") || hm_str_is(part, "xs")))
		return false;
	o->xs = hm_str_is(part, "xs");
	while (hm_str_split(&s, '_', &part)) {
		static const struct {
			const char *name;
			uint8_t accuracy;
		} names[] = {{"s", ISO_SECONDS}, {"ms", ISO_MS_FORCED}, {"m", ISO_MINUTES}, {"h", ISO_HOURS}};
		size_t k;

		if (hm_str_is(part, "nz")) {
			o->no_zone = true;
			continue;
		}
		if (hm_str_is(part, "fz")) {
			o->force_zone = true;
			continue;
		}
		if (hm_str_is(part, "u")) {
			o->utc = true;
			continue;
		}
		for (k = 0; k < hm_countof(names) && !hm_str_is(part, names[k].name); k++)
			;
		if (k == hm_countof(names) || accuracy)
			return false;
		o->accuracy = names[k].accuracy;
		accuracy = true;
	}
	return true;
}

static void put_n(struct hm_buf *out, int64_t v, int width)
{
	char d[24];
	int n = 0;

	if (v < 0) {
		hm_buf_putc(out, '-');
		v = -v;
	}
	do {
		d[n++] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	for (int i = n; i < width; i++)
		hm_buf_putc(out, '0');
	while (n > 0)
		hm_buf_putc(out, d[--n]);
}

static void put_zone(struct hm_buf *out, int32_t offset_s, bool colon)
{
	int32_t z = (offset_s < 0 ? -offset_s : offset_s) / 60;

	hm_buf_putc(out, offset_s < 0 ? '-' : '+');
	put_n(out, z / 60, 2);
	if (colon)
		hm_buf_putc(out, ':');
	put_n(out, z % 60, 2);
}

void hm_date_put_iso(struct hm_buf *out, enum hm_date_kind kind, int64_t ms, struct hm_zone z,
		     struct hm_iso_opts o)
{
	int32_t offset;
	struct parts p;

	offset = o.utc ? 0 : hm_zone_at(z, ms);
	p = split(ms, offset);
	if (kind != DATE_TIME) {
		if (o.xs && p.year <= 0) /* which has no year 0 */
			p.year--;
		put_n(out, p.year, p.year < 0 ? 1 : 4);
		hm_buf_putc(out, '-');
		put_n(out, p.month, 2);
		hm_buf_putc(out, '-');
		put_n(out, p.day, 2);
	}
	if (kind == DATE_DATE) {
		if (!o.xs || o.no_zone)
			return;
		goto zone;
	}
	if (kind == DATE_DATETIME)
		hm_buf_putc(out, 'T');
	put_n(out, p.hour, 2);
	if (o.accuracy != ISO_HOURS) {
		hm_buf_putc(out, ':');
		put_n(out, p.minute, 2);
	}
	if (o.accuracy < ISO_MINUTES) {
		hm_buf_putc(out, ':');
		put_n(out, p.second, 2);
		if (o.accuracy == ISO_MS_FORCED || (p.ms && o.accuracy != ISO_SECONDS)) {
			int f = p.ms, w = 3;

			while (o.accuracy != ISO_MS_FORCED && f % 10 == 0) {
				f /= 10;
				w--;
			}
			hm_buf_putc(out, '.');
			put_n(out, f, w);
		}
	}
	if (o.no_zone)
		return;
zone:
	if (offset == 0)
		hm_buf_putc(out, 'Z');
	else
		put_zone(out, offset, true);
}

struct reader {
	struct hm_str s;
	size_t i;
};

static bool read_digits(struct reader *r, int min, int max, int64_t *v)
{
	int n = 0;

	*v = 0;
	while (n < max && r->i < r->s.len && r->s.p[r->i] >= '0' && r->s.p[r->i] <= '9') {
		*v = *v * 10 + (r->s.p[r->i++] - '0');
		n++;
	}
	return n >= min;
}

static bool read_char(struct reader *r, char c)
{
	if (r->i < r->s.len && r->s.p[r->i] == c) {
		r->i++;
		return true;
	}
	return false;
}

static bool read_fixed(struct reader *r, int width, int lo, int hi, int *v)
{
	int64_t n;

	if (!read_digits(r, width, width, &n) || n < lo || n > hi)
		return false;
	*v = (int)n;
	return true;
}

/* How a text is written: 2025-03-07T08:30, 20250307T0830, or W3C XML Schema's form of the first */
enum form { EXTENDED, BASIC, SCHEMA };

/* Z, +hh:mm, +hhmm, +hh, or nothing */
static bool read_zone(struct reader *r, enum form form, struct hm_zone *zone)
{
	int h, m = 0;
	bool neg;

	if (r->i == r->s.len)
		return true;
	if (read_char(r, 'Z')) {
		*zone = (struct hm_zone){0};
		return true;
	}
	neg = read_char(r, '-');
	if (!neg && !read_char(r, '+'))
		return false;
	if (!read_fixed(r, 2, 0, 23, &h))
		return false;
	if (r->i < r->s.len || form == SCHEMA)
		if ((form != BASIC && !read_char(r, ':')) || !read_fixed(r, 2, 0, 59, &m))
			return false;
	*zone = (struct hm_zone){.offset_s = (neg ? -60 : 60) * (h * 60 + m)};
	return true;
}

static bool read_date(struct reader *r, enum form form, struct parts *p)
{
	bool neg = read_char(r, '-'), dashes = form != BASIC;
	size_t n = 0;

	while (r->i + n < r->s.len && r->s.p[r->i + n] >= '0' && r->s.p[r->i + n] <= '9')
		n++;
	if (form == BASIC) /* the last four are month and day */
		n = n > 4 ? n - 4 : 0;
	if (n < (form == SCHEMA ? 1 : 4) || n > 9 || !read_digits(r, (int)n, (int)n, &p->year))
		return false;
	if (form == SCHEMA && p->year == 0)
		return false;
	if (neg) /* XML Schema has no year 0: -1 is the year before 1 */
		p->year = form == SCHEMA ? 1 - p->year : -p->year;
	return (!dashes || read_char(r, '-')) && read_fixed(r, 2, 1, 12, &p->month) &&
	       (!dashes || read_char(r, '-')) && read_fixed(r, 2, 1, month_days(p->year, p->month), &p->day);
}

static bool digit_next(const struct reader *r)
{
	return r->i < r->s.len && r->s.p[r->i] >= '0' && r->s.p[r->i] <= '9';
}

/* hh[:mm[:ss[.fff]]]; XML Schema wants minutes and seconds */
static bool read_time(struct reader *r, enum form form, struct parts *p)
{
	int n = 0;

	if (!read_fixed(r, 2, 0, 24, &p->hour))
		return false;
	if (form == BASIC ? !digit_next(r) : !read_char(r, ':'))
		return form != SCHEMA && p->hour < 24; /* hours alone */
	if (!read_fixed(r, 2, 0, 59, &p->minute))
		return false;
	if (form == BASIC ? digit_next(r) : read_char(r, ':')) {
		if (!read_fixed(r, 2, 0, 59, &p->second))
			return false;
		if (read_char(r, '.') || (form != SCHEMA && read_char(r, ','))) {
			for (; digit_next(r); r->i++, n++)
				if (n < 3)
					p->ms = p->ms * 10 + (r->s.p[r->i] - '0');
			if (n == 0)
				return false;
			for (; n < 3; n++)
				p->ms *= 10;
		}
	} else if (form == SCHEMA) {
		return false;
	}
	return p->hour < 24 || (p->minute == 0 && p->second == 0 && p->ms == 0);
}

static bool parse_form(struct hm_str text, enum hm_date_kind kind, enum form form, struct hm_zone zone,
		       int64_t *ms_r)
{
	struct reader r = {text, 0};
	struct parts p = {.year = 1970, .month = 1, .day = 1};
	bool gap;

	if (kind != DATE_TIME && !read_date(&r, form, &p))
		return false;
	if (kind == DATE_DATETIME && !read_char(&r, 'T'))
		return false;
	if (kind != DATE_DATE && !read_time(&r, form, &p))
		return false;
	if ((kind != DATE_DATE || form == SCHEMA) && !read_zone(&r, form, &zone))
		return false;
	if (r.i != text.len)
		return false;
	*ms_r = join(&p, zone, &gap);
	return !gap || kind != DATE_DATETIME; /* a day whose midnight was skipped is a day */
}

bool hm_date_parse_iso(struct hm_str text, enum hm_date_kind kind, struct hm_iso_opts o, struct hm_zone zone,
		       int64_t *ms_r)
{
	if (o.utc)
		zone = (struct hm_zone){0};
	if (o.xs)
		return parse_form(text, kind, SCHEMA, zone, ms_r);
	return parse_form(text, kind, EXTENDED, zone, ms_r) || parse_form(text, kind, BASIC, zone, ms_r);
}

/* -- patterns --------------------------------------------------------------------------------- */

static const char *const months_en[] = {"January",   "February", "March",    "April",
					"May",	     "June",	 "July",     "August",
					"September", "October",	 "November", "December"};
static const char *const months_zh[] = {"一月", "二月", "三月", "四月", "五月",	  "六月",
					"七月", "八月", "九月", "十月", "十一月", "十二月"};
static const char *const days_en[] = {"Sunday",	  "Monday", "Tuesday", "Wednesday",
				      "Thursday", "Friday", "Saturday"};
static const char *const days_zh[] = {"日", "一", "二", "三", "四", "五", "六"};

static void put_month(struct hm_buf *out, int month, int width, bool zh)
{
	if (width < 3) {
		put_n(out, month, width);
	} else if (zh && width == 3) {
		put_n(out, month, 1);
		hm_buf_puts(out, HM_STR("月"));
	} else {
		struct hm_str name = hm_str_c(zh ? months_zh[month - 1] : months_en[month - 1]);

		hm_buf_put(out, name.p, !zh && width == 3 ? 3 : name.len);
	}
}

static void put_weekday(struct hm_buf *out, int day, int width, bool zh)
{
	if (zh) {
		hm_buf_puts(out, width < 4 ? HM_STR("周") : HM_STR("星期"));
		hm_buf_puts(out, hm_str_c(days_zh[day]));
	} else {
		struct hm_str name = hm_str_c(days_en[day]);

		hm_buf_put(out, name.p, width < 4 ? 3 : name.len);
	}
}

struct hm_str hm_date_medium(enum hm_date_kind kind, bool zh)
{
	switch (kind) {
	case DATE_DATE: return zh ? HM_STR("y年M月d日") : HM_STR("MMM d, y");
	case DATE_TIME: return zh ? HM_STR("ah:mm:ss") : HM_STR("h:mm:ss a");
	case DATE_DATETIME: break;
	}
	return zh ? HM_STR("y年M月d日 ah:mm:ss") : HM_STR("MMM d, y, h:mm:ss a");
}

static bool put_field(struct hm_buf *out, char c, int w, const struct parts *p, int32_t offset, bool zh)
{
	int64_t year = p->year > 0 ? p->year : 1 - p->year; /* of its era */

	switch (c) {
	case 'y':
	case 'u': break;
	case 'M':
	case 'L': put_month(out, p->month, w, zh); return true;
	case 'd': put_n(out, p->day, w); return true;
	case 'D': put_n(out, p->yearday, w); return true;
	case 'H': put_n(out, p->hour, w); return true;
	case 'k': put_n(out, p->hour ? p->hour : 24, w); return true;
	case 'K': put_n(out, p->hour % 12, w); return true;
	case 'h': put_n(out, p->hour % 12 ? p->hour % 12 : 12, w); return true;
	case 'm': put_n(out, p->minute, w); return true;
	case 's': put_n(out, p->second, w); return true;
	case 'S': put_n(out, p->ms, w); return true;
	case 'E': put_weekday(out, p->weekday, w, zh); return true;
	case 'a':
		hm_buf_puts(out, zh ? (p->hour < 12 ? HM_STR("上午") : HM_STR("下午"))
				    : (p->hour < 12 ? HM_STR("AM") : HM_STR("PM")));
		return true;
	case 'Z': put_zone(out, offset, false); return true;
	case 'X':
		if (w > 3)
			return false;
		if (offset == 0) {
			hm_buf_putc(out, 'Z');
		} else if (w == 1) {
			hm_buf_putc(out, offset < 0 ? '-' : '+');
			put_n(out, (offset < 0 ? -offset : offset) / 3600, 2);
		} else {
			put_zone(out, offset, w == 3);
		}
		return true;
	default: return false;
	}
	if (c == 'u') /* day of the week, Monday is 1 */
		put_n(out, p->weekday ? p->weekday : 7, w);
	else if (w == 2)
		put_n(out, year % 100, 2);
	else
		put_n(out, year, w);
	return true;
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Quoted text from the ' at *i on, as it stands for; false: not closed. With out NULL it goes to *r. */
static bool quoted(struct hm_str p, size_t *i, struct hm_buf *out, struct reader *r)
{
	size_t k = *i + 1;

	if (k < p.len && p.p[k] == '\'') { /* '' */
		*i = k + 1;
		if (out)
			hm_buf_putc(out, '\'');
		return out || read_char(r, '\'');
	}
	for (; k < p.len; k++) {
		if (p.p[k] == '\'') {
			if (k + 1 >= p.len || p.p[k + 1] != '\'') {
				*i = k + 1;
				return true;
			}
			k++;
		}
		if (out)
			hm_buf_putc(out, p.p[k]);
		else if (!read_char(r, p.p[k]))
			return false;
	}
	return false;
}

bool hm_date_put_pattern(struct hm_buf *out, struct hm_str pattern, int64_t ms, struct hm_zone zone, bool zh)
{
	int32_t offset = hm_zone_at(zone, ms);
	struct parts p = split(ms, offset);
	size_t i = 0;

	while (i < pattern.len) {
		char c = pattern.p[i];
		int w = 0;

		if (c == '\'') {
			if (!quoted(pattern, &i, out, NULL))
				return false;
			continue;
		}
		if (!is_letter(c)) {
			hm_buf_putc(out, c);
			i++;
			continue;
		}
		while (i < pattern.len && pattern.p[i] == c && w < 1000) {
			i++;
			w++;
		}
		if (!put_field(out, c, w, &p, offset, zh))
			return false;
	}
	return true;
}

static bool read_name(struct reader *r, struct hm_str name)
{
	struct hm_str rest = hm_str_n(r->s.p + r->i, r->s.len - r->i);

	if (rest.len < name.len || !hm_str_ieq(hm_str_n(rest.p, name.len), name))
		return false;
	r->i += name.len;
	return true;
}

static bool read_month_name(struct reader *r, bool zh, int *month)
{
	for (int m = 12; m >= 1; m--) {
		struct hm_str en = hm_str_c(months_en[m - 1]);

		*month = m;
		if (zh) {
			char num[16];
			size_t n = 0;

			if (m >= 10)
				num[n++] = '1';
			num[n++] = (char)('0' + m % 10);
			memcpy(num + n, "月", 3);
			if (read_name(r, hm_str_c(months_zh[m - 1])) || read_name(r, hm_str_n(num, n + 3)))
				return true;
		} else if (read_name(r, en) || read_name(r, hm_str_n(en.p, 3))) {
			return true;
		}
	}
	return false;
}

static bool read_weekday_name(struct reader *r, bool zh)
{
	for (int d = 0; d < 7; d++) {
		struct hm_str en = hm_str_c(days_en[d]);
		size_t at = r->i;

		if (!zh && (read_name(r, en) || read_name(r, hm_str_n(en.p, 3))))
			return true;
		if (zh && (read_name(r, HM_STR("星期")) || read_name(r, HM_STR("周"))) &&
		    read_name(r, hm_str_c(days_zh[d])))
			return true;
		r->i = at;
	}
	return false;
}

struct half_day {
	int hour12; /* of h or K; -1: none */
	int pm;	    /* -1: not told */
};

/* SimpleDateFormat takes a sign as well: 2025-03-07 as yyyyMMdd is the year 2025, month -0, day 3. */
static bool read_number(struct reader *r, int w, bool adjacent, int *v)
{
	int64_t n;
	bool neg;

	while (r->i < r->s.len && (r->s.p[r->i] == ' ' || r->s.p[r->i] == '\t'))
		r->i++;
	neg = (!adjacent || w > 1) && read_char(r, '-');
	if (!read_digits(r, 1, adjacent ? w - neg : 9, &n))
		return false;
	*v = (int)(neg ? -n : n);
	return true;
}

/* *bad: the letter is unknown. adjacent: a number follows without anything in between. */
static bool read_field(struct reader *r, char c, int w, bool adjacent, struct parts *p, struct half_day *half,
		       struct hm_zone *zone_r, bool zh, bool *bad)
{
	int n = 0;
	size_t at = r->i;

	switch (c) {
	case 'y':
		if (!read_number(r, w, adjacent, &n))
			return false;
		p->year = n;
		if (w <= 2 && n >= 0 &&
		    r->i - at == 2) /* two digits: the nearest such year, as of the 2020s */
			p->year = n > 45 ? 1900 + n : 2000 + n;
		return true;
	case 'M':
	case 'L': return w < 3 ? read_number(r, w, adjacent, &p->month) : read_month_name(r, zh, &p->month);
	case 'd': return read_number(r, w, adjacent, &p->day);
	case 'D': return read_number(r, w, adjacent, &p->yearday);
	case 'H': return read_number(r, w, adjacent, &p->hour);
	case 'k':
		if (!read_number(r, w, adjacent, &n))
			return false;
		p->hour = n == 24 ? 0 : n;
		return true;
	case 'K':
	case 'h':
		if (!read_number(r, w, adjacent, &n))
			return false;
		half->hour12 = c == 'h' && n == 12 ? 0 : n;
		return true;
	case 'm': return read_number(r, w, adjacent, &p->minute);
	case 's': return read_number(r, w, adjacent, &p->second);
	case 'S': return read_number(r, w, adjacent, &p->ms);
	case 'u': return read_number(r, w, adjacent, &n);
	case 'E': return read_weekday_name(r, zh);
	case 'a':
		if (read_name(r, zh ? HM_STR("上午") : HM_STR("AM")))
			half->pm = 0;
		else if (read_name(r, zh ? HM_STR("下午") : HM_STR("PM")))
			half->pm = 1;
		else
			return false;
		return true;
	case 'Z':
	case 'X': {
		struct reader z = *r;
		struct hm_zone zone;
		size_t end = r->i;

		while (end < r->s.len && r->s.p[end] != ' ')
			end++;
		z.s.len = end;
		if (z.i == end ||
		    (hm_str_chr(hm_str_n(z.s.p + z.i, end - z.i), ':') < 0 ? !read_zone(&z, BASIC, &zone)
									   : !read_zone(&z, EXTENDED, &zone)))
			return false;
		r->i = z.i;
		*zone_r = zone;
		return true;
	}
	default: *bad = true; return false;
	}
}

bool hm_date_parse_pattern(struct hm_str text, struct hm_str pattern, struct hm_zone zone, bool zh,
			   int64_t *ms_r, bool *bad_pattern)
{
	struct reader r = {text, 0};
	struct parts p = {.year = 1970, .month = 1, .day = 1};
	struct half_day half = {-1, -1};
	size_t i = 0;

	*bad_pattern = false;
	while (i < pattern.len) {
		char c = pattern.p[i];
		int w = 0;

		if (c == '\'') {
			if (!quoted(pattern, &i, NULL, &r))
				return false;
			continue;
		}
		if (!is_letter(c)) {
			if (!read_char(&r, c))
				return false;
			i++;
			continue;
		}
		while (i < pattern.len && pattern.p[i] == c && w < 1000) {
			i++;
			w++;
		}
		if (!read_field(&r, c, w, i < pattern.len && is_letter(pattern.p[i]), &p, &half, &zone, zh,
				bad_pattern))
			return false;
	}
	/* lenient, as SimpleDateFormat: what is left of the text is ignored, and 30 February is 2 March */
	if (half.hour12 >= 0)
		p.hour = half.hour12 + (half.pm == 1 ? 12 : 0);
	p.year += hm_floor_div(p.month - 1, 12);
	p.month = (int)(p.month - 1 - hm_floor_div(p.month - 1, 12) * 12) + 1;
	if (p.year > 290000)
		return false;
	if (p.yearday)
		p.day += p.yearday - 1;
	*ms_r = join(&p, zone, NULL);
	return true;
}
