/*
 * tz.c - TZif files, the POSIX rule behind them, and civil time
 *
 * The cache is a hash of atomic pointers that only ever fills up: a reader follows it with acquire loads, a
 * writer holds the lock and publishes a finished zone with a release store.
 */
#include "base/tz.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/obj.h"

#define TZ_MAGIC      0x3c11d5a9u
#define TZ_FILE_BYTES (256u << 10) /* largest file read; the largest of the database has 4 kB */
#define TZ_TIMES      65536u	   /* most transitions in one */
#define DAY_S	      86400

struct rule_day {  /* when in a year clocks are turned */
	char kind; /* 'J' day 1..365 without 29 February, 'N' day 0..365, 'M' month.week.weekday */
	int16_t day, month, week;
	int32_t at; /* seconds into that day, local time before the change; may be negative or beyond it */
};

struct hm_tz {
	uint32_t magic;
	uint32_t ntimes;
	int64_t *time;	 /* transitions, ascending */
	int32_t *offset; /* from time[i] on */
	uint8_t *dst;
	int32_t first_offset; /* before the first */
	bool first_dst;
	bool has_rule, rule_dst; /* after the last; without rule_dst always std */
	int32_t std, summer;
	struct rule_day on, off; /* beginning and end of summer */
	size_t name_len;
	char name[HM_TZ_NAME_MAX + 1];
};

/* -- civil time ---------------------------------------------------------------------------- */

/* Howard Hinnant's algorithm. */
int64_t hm_civil_days(int64_t y, int m, int64_t d)
{
	int64_t era, yoe, doy;

	y -= m <= 2;
	era = hm_floor_div(y, 400);
	yoe = y - era * 400;
	doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

int64_t hm_civil_seconds(struct hm_civil c)
{
	int64_t months = (int64_t)c.month - 1;
	int64_t year = c.year + hm_floor_div(months, 12);

	return hm_civil_days(year, (int)(months - hm_floor_div(months, 12) * 12) + 1, c.day) * DAY_S +
	       c.hour * 3600ll + c.minute * 60ll + c.second;
}

struct hm_civil hm_civil_of(int64_t s)
{
	int64_t days = hm_floor_div(s, DAY_S), t = s - days * DAY_S;
	int64_t z = days + 719468, era = hm_floor_div(z, 146097), doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
	struct hm_civil c;

	c.day = (int)(doy - (153 * mp + 2) / 5 + 1);
	c.month = (int)(mp < 10 ? mp + 3 : mp - 9);
	c.year = yoe + era * 400 + (c.month <= 2);
	c.hour = (int)(t / 3600);
	c.minute = (int)(t / 60 % 60);
	c.second = (int)(t % 60);
	return c;
}

/* -- the rule in the footer (POSIX TZ, with the extensions of RFC 8536) ------------------------ */

struct reader {
	const char *p, *end;
};

static bool next_is(struct reader *r, char c)
{
	if (r->p == r->end || *r->p != c)
		return false;
	r->p++;
	return true;
}

static bool number(struct reader *r, int max, int *v)
{
	const char *start = r->p;

	for (*v = 0; r->p < r->end && *r->p >= '0' && *r->p <= '9'; r->p++) {
		*v = *v * 10 + (*r->p - '0');
		if (*v > max)
			return false;
	}
	return r->p > start;
}

/* EST or <-03> */
static bool abbreviation(struct reader *r)
{
	const char *start;
	bool quoted = next_is(r, '<');

	for (start = r->p; r->p < r->end; r->p++) {
		char c = *r->p;
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

		if (!(letter || (quoted && ((c >= '0' && c <= '9') || c == '+' || c == '-'))))
			break;
	}
	return r->p - start >= 3 && (!quoted || next_is(r, '>'));
}

/* [+-]hh[:mm[:ss]] in seconds; up to 167 hours in a rule */
static bool clock_time(struct reader *r, int max_hours, int32_t *v)
{
	bool neg = next_is(r, '-');
	int h, m = 0, s = 0;

	if (!neg)
		next_is(r, '+');
	if (!number(r, max_hours, &h))
		return false;
	if (next_is(r, ':') && (!number(r, 59, &m) || (next_is(r, ':') && !number(r, 59, &s))))
		return false;
	*v = (h * 3600 + m * 60 + s) * (neg ? -1 : 1);
	return true;
}

static bool turning_day(struct reader *r, struct rule_day *d)
{
	int m = 0, w = 0, day;

	if (!next_is(r, ','))
		return false;
	d->kind = 'N';
	if (next_is(r, 'M')) {
		d->kind = 'M';
		if (!number(r, 12, &m) || m < 1 || !next_is(r, '.') || !number(r, 5, &w) || w < 1 ||
		    !next_is(r, '.') || !number(r, 6, &day))
			return false;
	} else {
		if (next_is(r, 'J'))
			d->kind = 'J';
		if (!number(r, 365, &day) || (d->kind == 'J' && day < 1))
			return false;
	}
	d->month = (int16_t)m;
	d->week = (int16_t)w;
	d->day = (int16_t)day;
	d->at = 2 * 3600;
	return !next_is(r, '/') || clock_time(r, 167, &d->at);
}

static bool read_rule(struct hm_tz *tz, struct hm_str s)
{
	struct reader r = {s.p, s.p + s.len};

	if (s.len == 0)
		return true; /* nothing is known: the last offset stays */
	if (!abbreviation(&r) || !clock_time(&r, 24, &tz->std))
		return false;
	tz->std = -tz->std; /* POSIX counts west */
	tz->has_rule = true;
	if (r.p == r.end)
		return true;
	tz->summer = tz->std + 3600;
	if (!abbreviation(&r))
		return false;
	if (r.p < r.end && *r.p != ',') {
		if (!clock_time(&r, 24, &tz->summer))
			return false;
		tz->summer = -tz->summer;
	}
	tz->rule_dst = true;
	return turning_day(&r, &tz->on) && turning_day(&r, &tz->off) && r.p == r.end;
}

/* Seconds since 1970 of the change in a year, as local time before the change. */
static int64_t change(const struct rule_day *d, int64_t year)
{
	static const int16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
	int64_t day;

	if (d->kind == 'M') {
		int64_t first = hm_civil_days(year, d->month, 1);
		int weekday = (int)(((first + 4) % 7 + 7) % 7);
		int length = (d->month == 12 ? 31 : before[d->month] - before[d->month - 1]) +
			     (d->month == 2 && hm_leap_year(year));
		int n = (d->day - weekday + 7) % 7 + (d->week - 1) * 7;

		day = first + (n < length ? n : n - 7);
	} else {
		day = hm_civil_days(year, 1, 1) + d->day;
		if (d->kind == 'J' && !(hm_leap_year(year) && d->day >= 60))
			day--;
	}
	return day * DAY_S + d->at;
}

static int32_t rule_offset(const struct hm_tz *tz, int64_t t, bool *dst)
{
	int64_t year, on, off;

	*dst = false;
	if (!tz->rule_dst)
		return tz->std;
	year = hm_civil_of(t + tz->std).year;
	on = change(&tz->on, year) - tz->std;
	off = change(&tz->off, year) - tz->summer;
	*dst = on < off ? t >= on && t < off : t >= on || t < off;
	return *dst ? tz->summer : tz->std;
}

/* -- TZif ------------------------------------------------------------------------------------------ */

static int64_t big_endian(const uint8_t *p, int n)
{
	uint64_t v = 0;

	for (int i = 0; i < n; i++)
		v = v << 8 | p[i];
	return n == 4 ? (int32_t)(uint32_t)v : (int64_t)v;
}

struct header {
	uint32_t isut, isstd, leap, time, type, chars;
};

static bool read_header(const uint8_t *p, size_t n, struct header *h)
{
	if (n < 44 || memcmp(p, "TZif", 4) != 0)
		return false;
	h->isut = (uint32_t)big_endian(p + 20, 4);
	h->isstd = (uint32_t)big_endian(p + 24, 4);
	h->leap = (uint32_t)big_endian(p + 28, 4);
	h->time = (uint32_t)big_endian(p + 32, 4);
	h->type = (uint32_t)big_endian(p + 36, 4);
	h->chars = (uint32_t)big_endian(p + 40, 4);
	return h->isut <= 256 && h->isstd <= 256 && h->leap <= TZ_TIMES && h->time <= TZ_TIMES &&
	       h->type >= 1 && h->type <= 256 && h->chars <= 65536;
}

static size_t body_size(const struct header *h, size_t wide)
{
	return h->time * wide + h->time + h->type * 6 + h->chars + h->leap * (wide + 4) + h->isstd + h->isut;
}

static bool read_body(struct hm_tz *tz, const uint8_t *p, const struct header *h)
{
	const uint8_t *which = p + h->time * 8, *types = which + h->time;

	for (uint32_t i = 0; i < h->type; i++) {
		int64_t offset = big_endian(types + i * 6, 4);

		if (offset < -26 * 3600 || offset > 26 * 3600 || types[i * 6 + 4] > 1)
			return false;
	}
	tz->ntimes = h->time;
	tz->time = calloc(h->time + 1u, sizeof(*tz->time));
	tz->offset = calloc(h->time + 1u, sizeof(*tz->offset));
	tz->dst = calloc(h->time + 1u, 1);
	if (!tz->time || !tz->offset || !tz->dst)
		return false;
	tz->first_offset = (int32_t)big_endian(types, 4);
	tz->first_dst = types[4];
	for (uint32_t i = 0; i < h->time; i++) {
		if (which[i] >= h->type)
			return false;
		tz->time[i] = big_endian(p + i * 8, 8);
		tz->offset[i] = (int32_t)big_endian(types + which[i] * 6, 4);
		tz->dst[i] = types[which[i] * 6 + 4];
		if (i > 0 && tz->time[i] <= tz->time[i - 1])
			return false;
	}
	return true;
}

static bool read_tzif(struct hm_tz *tz, const uint8_t *p, size_t n)
{
	const uint8_t *end = p + n, *footer;
	struct header h;
	size_t size;

	if (!read_header(p, n, &h) || p[4] < '2')
		return false;
	size = 44 + body_size(&h, 4); /* what readers of 32-bit times get */
	if ((size_t)(end - p) < size)
		return false;
	p += size;
	if (!read_header(p, (size_t)(end - p), &h) ||
	    h.leap > 0) /* the "right" files, whose seconds are not Unix' */
		return false;
	p += 44;
	size = body_size(&h, 8);
	if ((size_t)(end - p) < size || !read_body(tz, p, &h))
		return false;
	p += size;
	if (p == end || *p++ != '\n')
		return false;
	footer = memchr(p, '\n', (size_t)(end - p));
	return footer && read_rule(tz, hm_str_n((const char *)p, (size_t)(footer - p)));
}

/* The bytes of a regular file, at most TZ_FILE_BYTES; NULL when it cannot be had. */
static uint8_t *slurp(const char *path, size_t *n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	uint8_t *p = NULL;
	ssize_t got;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
	    (uint64_t)st.st_size <= TZ_FILE_BYTES)
		p = malloc((size_t)st.st_size);
	for (*n = 0; p && *n < (size_t)st.st_size; *n += (size_t)got) {
		got = read(fd, p + *n, (size_t)st.st_size - *n);
		if (got <= 0) {
			free(p);
			p = NULL;
		}
	}
	close(fd);
	return p;
}

static bool load_file(struct hm_tz *tz)
{
	const char *dir = getenv("TZDIR");
	char path[512];
	uint8_t *bytes;
	size_t n;
	bool ok;
	int len = snprintf(path, sizeof(path), "%s/%s", dir && dir[0] == '/' ? dir : "/usr/share/zoneinfo",
			   tz->name);

	if (len < 0 || (size_t)len >= sizeof(path))
		return false;
	bytes = slurp(path, &n);
	ok = bytes && read_tzif(tz, bytes, n);
	free(bytes);
	return ok;
}

/* -- names -------------------------------------------------------------------------------------------- */

/* "America/Argentina/Buenos_Aires": parts of letters, digits, _ + -, that begin with a letter */
static bool name_ok(struct hm_str s)
{
	bool begin = true;

	if (s.len == 0 || s.len > HM_TZ_NAME_MAX)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

		if (c == '/') {
			if (begin)
				return false;
			begin = true;
			continue;
		}
		if (!letter && (begin || !((c >= '0' && c <= '9') || c == '_' || c == '+' || c == '-')))
			return false;
		begin = false;
	}
	return !begin;
}

/* Z, UTC, GMT, [UTC|GMT](+|-)h, hh, hhmm, hh:mm; at most 18 hours */
static bool fixed_offset(struct hm_str s, int32_t *r)
{
	struct reader in;
	const char *start;
	int h, m = 0;
	bool neg;

	if (hm_str_is(s, "Z") || hm_str_is(s, "UTC") || hm_str_is(s, "GMT")) {
		*r = 0;
		return true;
	}
	if (hm_str_starts(s, HM_STR("GMT")) || hm_str_starts(s, HM_STR("UTC")))
		s = hm_str_n(s.p + 3, s.len - 3);
	in = (struct reader){s.p, s.p + s.len};
	neg = next_is(&in, '-');
	if (!neg && !next_is(&in, '+'))
		return false;
	start = in.p;
	if (!number(&in, 2359, &h) || in.p - start > 4)
		return false;
	if (in.p - start > 2) { /* hhmm */
		m = h % 100;
		h /= 100;
	} else if (next_is(&in, ':') && (in.end - in.p != 2 || !number(&in, 59, &m))) {
		return false;
	}
	if (in.p != in.end || m > 59 || h * 60 + m > 18 * 60)
		return false;
	*r = (h * 3600 + m * 60) * (neg ? -1 : 1);
	return true;
}

/* -- the cache ------------------------------------------------------------------------------------------ */

#define SLOTS (HM_TZ_MAX * 2)
static _Atomic(struct hm_tz *) cache[SLOTS];
static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;
static unsigned loaded; /* under the lock */

/* The zone, or NULL with *slot_r where it would stand. */
static const struct hm_tz *lookup(struct hm_str name, size_t *slot_r)
{
	size_t i = (size_t)hm_hash64(name.p, name.len, 0) % SLOTS;

	for (;; i = (i + 1) % SLOTS) {
		const struct hm_tz *tz = atomic_load_explicit(&cache[i], memory_order_acquire);

		if (!tz || hm_str_eq(hm_str_n(tz->name, tz->name_len), name)) {
			*slot_r = i;
			return tz;
		}
	}
}

static void tz_free(struct hm_tz *tz)
{
	free(tz->time);
	free(tz->offset);
	free(tz->dst);
	free(tz);
}

static struct hm_tz *load(struct hm_str name)
{
	struct hm_tz *tz = calloc(1, sizeof(*tz));

	if (!tz)
		return NULL;
	HM_MAGIC_SET(tz, TZ_MAGIC);
	memcpy(tz->name, name.p, name.len);
	tz->name_len = name.len;
	if (fixed_offset(name, &tz->std)) {
		tz->has_rule = true;
		return tz;
	}
	if (load_file(tz))
		return tz;
	tz_free(tz);
	return NULL;
}

const struct hm_tz *hm_tz_find(struct hm_str name)
{
	const struct hm_tz *tz;
	char canonical[16];
	int32_t offset;
	size_t slot;

	if (fixed_offset(
		    name,
		    &offset)) { /* one zone for all the ways to write it, or anybody could fill the cache */
		int32_t min = (offset < 0 ? -offset : offset) / 60;

		if (min == 0)
			name = HM_STR("UTC");
		else
			name = hm_str_n(canonical,
					(size_t)snprintf(canonical, sizeof(canonical), "%c%02d:%02d",
							 offset < 0 ? '-' : '+', min / 60, min % 60));
	} else if (!name_ok(name)) {
		return NULL;
	}
	tz = lookup(name, &slot);
	if (tz)
		return tz;
	pthread_mutex_lock(&loading);
	tz = lookup(name, &slot);
	if (!tz && loaded < HM_TZ_MAX) {
		struct hm_tz *made = load(name);

		if (made) {
			loaded++;
			atomic_store_explicit(&cache[slot], made, memory_order_release);
		}
		tz = made;
	}
	pthread_mutex_unlock(&loading);
	return tz;
}

struct hm_str hm_tz_name(const struct hm_tz *tz)
{
	HM_CHECK(tz, TZ_MAGIC);
	return hm_str_n(tz->name, tz->name_len);
}

/* -- answers ------------------------------------------------------------------------------------------------ */

/* The first transition after t. */
static uint32_t after(const struct hm_tz *tz, int64_t t)
{
	uint32_t lo = 0, hi = tz->ntimes, mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (tz->time[mid] <= t)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int32_t hm_tz_offset(const struct hm_tz *tz, int64_t t, bool *dst_r)
{
	uint32_t lo;
	int32_t offset;
	bool dst;

	HM_CHECK(tz, TZ_MAGIC);
	lo = after(tz, t);
	if (lo == tz->ntimes && tz->has_rule) {
		offset = rule_offset(tz, t, &dst);
	} else if (lo == 0) {
		offset = tz->first_offset;
		dst = tz->first_dst;
	} else {
		offset = tz->offset[lo - 1];
		dst = tz->dst[lo - 1];
	}
	if (dst_r)
		*dst_r = dst;
	return offset;
}

bool hm_tz_is_fixed(const struct hm_tz *tz, int32_t *offset_r)
{
	HM_CHECK(tz, TZ_MAGIC);
	if (tz->rule_dst)
		return false;
	*offset_r = tz->has_rule ? tz->std : tz->ntimes ? tz->offset[tz->ntimes - 1] : tz->first_offset;
	for (uint32_t i = 0; i < tz->ntimes; i++)
		if (tz->offset[i] != *offset_r)
			return false;
	return tz->ntimes == 0 || tz->first_offset == *offset_r;
}

/*
 * A reading means local - offset, for each offset in use about then under which that moment really has that offset: none
 * of them is in a gap, two in an overlap. In a gap the offset before the change moves it forward.
 */
int64_t hm_tz_seconds_to_utc(const struct hm_tz *tz, int64_t local, enum hm_tz_overlap which,
			     enum hm_tz_fit *fit_r)
{
	const int64_t around = 26 * 3600;
	int32_t offset[10];
	int64_t t, first = 0, last = 0, gap;
	enum hm_tz_fit fit = HM_TZ_GAP;
	uint32_t n = 0;

	offset[n++] = hm_tz_offset(tz, local - around, NULL);
	for (uint32_t i = after(tz, local - around); i < tz->ntimes && tz->time[i] <= local + around && n < 9;
	     i++)
		offset[n++] = tz->offset[i];
	offset[n++] = hm_tz_offset(tz, local + around, NULL);
	gap = local - offset[0];
	for (uint32_t k = n; k-- > 0;) {
		t = local - offset[k];
		if (hm_tz_offset(tz, t, NULL) != offset[k]) {
			if (k + 1 < n && hm_tz_offset(tz, t, NULL) == offset[k + 1])
				gap = t;
			continue;
		}
		if (fit == HM_TZ_GAP) {
			fit = HM_TZ_ONCE;
			first = last = t;
		} else if (t != first) {
			fit = HM_TZ_TWICE;
			first = hm_min(first, t);
			last = hm_max(last, t);
		}
	}
	if (fit_r)
		*fit_r = fit;
	return fit == HM_TZ_GAP ? gap : which == HM_TZ_FIRST ? first : last;
}

#define GAP_MAX_S (48 * 3600) /* whole days have been left out */

int64_t hm_tz_first_at(const struct hm_tz *tz, int64_t local_s)
{
	enum hm_tz_fit fit;
	int64_t t = hm_tz_seconds_to_utc(tz, local_s, HM_TZ_FIRST, &fit), low, high;

	if (fit != HM_TZ_GAP)
		return t;
	for (low = t - GAP_MAX_S, high = t; high - low > 1;) {
		int64_t mid = low + (high - low) / 2;

		if (mid + hm_tz_offset(tz, mid, NULL) >= local_s)
			high = mid;
		else
			low = mid;
	}
	return high;
}
