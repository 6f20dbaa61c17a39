/*
 * cron.c - recurring times
 */
#include "schedule/cron.h"

#include <string.h>

#define YEARS 9 /* 29 February is at most 8 years away */

struct field {
	const char *name;
	int min, max;
	const char *const *names; /* of min, min + 1 ... */
};
static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun",
					  "jul", "aug", "sep", "oct", "nov", "dec"};
static const char *const day_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
static const struct field fields[5] = {
	{"minute", 0, 59, NULL},
	{"hour", 0, 23, NULL},
	{"day of the month", 1, 31, NULL},
	{"month", 1, 12, month_names},
	{"day of the week", 0, 7, day_names},
};
static const struct {
	const char *name, *means;
} macros[] = {
	{"@hourly", "0 * * * *"},   {"@daily", "0 0 * * *"},   {"@midnight", "0 0 * * *"},
	{"@weekly", "0 0 * * 0"},   {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"},
	{"@annually", "0 0 1 1 *"},
};

static bool same(struct hm_str s, const char *lower)
{
	if (s.len != strlen(lower))
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if (c != lower[i])
			return false;
	}
	return true;
}

/* A number or a name of the field. */
static bool value(const struct field *f, struct hm_str s, int *v_r)
{
	uint64_t v;

	if (hm_str_u64(s, &v)) {
		*v_r = (int)hm_min(v, (uint64_t)1000);
		return *v_r >= f->min && *v_r <= f->max;
	}
	for (int i = 0; f->names != NULL && i < (f->min == 1 ? 12 : 7); i++)
		if (same(s, f->names[i])) {
			*v_r = f->min + i;
			return true;
		}
	return false;
}

static int wrong(const struct field *f, struct hm_str part, struct hm_err *e)
{
	return hm_err_set(e, HM_EINVAL, "cron: \"%.*s\" is no %s (%d-%d)", (int)hm_min(part.len, (size_t)40),
			  part.p, f->name, f->min, f->max);
}

static int parse_part(const struct field *f, struct hm_str part, uint64_t *bits, struct hm_err *e)
{
	struct hm_str rest = part, range, from;
	int a = f->min, b = f->min == 0 && f->max == 7 ? 6 : f->max;
	uint64_t step = 1;
	bool stepped = hm_str_chr(part, '/') >= 0;

	if (!hm_str_split(&rest, '/', &range))
		return wrong(f, part, e);
	if (stepped && (!hm_str_u64(rest, &step) || step < 1 || step > 59))
		return hm_err_set(e, HM_EINVAL, "cron: the step of \"%.*s\" must be a number from 1 to 59",
				  (int)hm_min(part.len, (size_t)40), part.p);
	if (!hm_str_is(range, "*") && !hm_str_is(range, "?")) {
		bool ranged = hm_str_chr(range, '-') >= 0;
		struct hm_str to = range;

		if (!hm_str_split(&to, '-', &from) || !value(f, from, &a))
			return wrong(f, part, e);
		if (ranged) {
			if (!value(f, to, &b))
				return wrong(f, part, e);
		} else if (!stepped) {
			b = a;
		}
		if (a > b)
			return hm_err_set(e, HM_EINVAL, "cron: the %s range \"%.*s\" ends before it begins",
					  f->name, (int)hm_min(part.len, (size_t)40), part.p);
	}
	for (int v = a; v <= b; v += (int)step)
		*bits |= UINT64_C(1) << v;
	return 0;
}

static int parse_field(const struct field *f, struct hm_str text, uint64_t *bits, struct hm_err *e)
{
	struct hm_str part;

	*bits = 0;
	if (text.p[text.len - 1] == ',')
		return wrong(f, text, e);
	while (hm_str_split(&text, ',', &part))
		if (parse_part(f, part, bits, e))
			return HM_EINVAL;
	return 0;
}

static bool comes(const struct hm_cron *c)
{
	static const uint8_t longest[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	if (!c->any_weekday)
		return true; /* either will do, or only the weekday counts */
	for (int m = 1; m <= 12; m++)
		for (int d = 1; (c->months >> m & 1) && d <= longest[m - 1]; d++)
			if (c->days >> d & 1)
				return true;
	return false;
}

int hm_cron_parse(struct hm_str text, struct hm_cron *c, struct hm_err *e)
{
	uint64_t bits[5];
	struct hm_str part;
	size_t n = 0;

	memset(c, 0, sizeof(*c));
	text = hm_str_trim(text);
	for (size_t i = 0; i < hm_countof(macros); i++)
		if (same(text, macros[i].name))
			text = hm_str_c(macros[i].means);
	while (hm_str_split(&text, ' ', &part)) {
		part = hm_str_trim(part);
		if (part.len == 0)
			continue;
		if (n == 5) {
			n++;
			break;
		}
		if (parse_field(&fields[n], part, &bits[n], e))
			return HM_EINVAL;
		if (n == 2)
			c->any_day = part.p[0] == '*' || part.p[0] == '?';
		if (n == 4)
			c->any_weekday = part.p[0] == '*' || part.p[0] == '?';
		n++;
	}
	if (n != 5)
		return hm_err_set(
			e, HM_EINVAL,
			"cron: needs five fields: minute hour day month weekday, like \"0 9 * * mon-fri\"");
	c->minutes = bits[0];
	c->hours = (uint32_t)bits[1];
	c->days = (uint32_t)bits[2];
	c->months = (uint32_t)bits[3];
	c->weekdays = (uint8_t)((bits[4] | bits[4] >> 7) & 0x7f);
	if (!comes(c))
		return hm_err_set(e, HM_EINVAL, "cron: this date never comes");
	return 0;
}

static bool day_matches(const struct hm_cron *c, int64_t day, const struct hm_civil *d)
{
	int weekday = (int)(day + 4 - hm_floor_div(day + 4, 7) * 7); /* 1970-01-01 was a Thursday */
	bool by_day = c->days >> d->day & 1, by_weekday = c->weekdays >> weekday & 1;

	if (!(c->months >> d->month & 1))
		return false;
	return c->any_day || c->any_weekday ? by_day && by_weekday : by_day || by_weekday;
}

int64_t hm_cron_next(const struct hm_cron *c, const struct hm_tz *tz, int64_t after_s)
{
	int64_t local = after_s + hm_tz_offset(tz, after_s, NULL), first = hm_floor_div(local, 86400);

	for (int64_t day = first; day < first + YEARS * 366; day++) {
		struct hm_civil d = hm_civil_of(day * 86400);

		if (!day_matches(c, day, &d))
			continue;
		for (int h = 0; h < 24; h++) {
			for (int m = 0; (c->hours >> h & 1) && m < 60; m++) {
				int64_t at = day * 86400 + h * 3600 + m * 60, t;

				if (!(c->minutes >> m & 1) || at < local - 60)
					continue;
				t = hm_tz_first_at(tz, at);
				if (t > after_s)
					return t;
			}
		}
	}
	return INT64_MAX;
}
