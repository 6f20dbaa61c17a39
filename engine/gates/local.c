/* local.c - clocks and calendars of the recipient's zone */
#include "gates/gates_int.h"

#define DAY_S 86400

/* An unknown name costs opens of files; recipients with the same wrong one come in their thousands. */
struct known {
	char name[HM_TZ_NAME_MAX];
	size_t len;
	const struct hm_tz *tz;
};
static _Thread_local struct known remembered[16];

const struct hm_tz *gates_zone(const struct hm_gate_subject *s)
{
	const struct hm_tz *tz = NULL;

	if (s->tz.len > 0 && s->tz.len <= HM_TZ_NAME_MAX) {
		struct known *k = &remembered[hm_hash64(s->tz.p, s->tz.len, 0) % hm_countof(remembered)];

		if (k->len != s->tz.len || memcmp(k->name, s->tz.p, s->tz.len) != 0) {
			k->tz = hm_tz_find(s->tz);
			memcpy(k->name, s->tz.p, s->tz.len);
			k->len = s->tz.len;
		}
		tz = k->tz;
	}
	if (tz == NULL)
		tz = hm_tz_find(s->cfg->settings.gates.default_tz);
	if (tz == NULL) /* the configuration was loaded with it; the database has gone since */
		tz = hm_tz_find(HM_STR("UTC"));
	hm_assert(tz != NULL);
	return tz;
}

int64_t gates_first_instant(const struct hm_tz *tz, int64_t local)
{
	enum hm_tz_fit fit;
	int64_t hi = hm_tz_seconds_to_utc(tz, local, HM_TZ_FIRST, &fit), lo;

	if (fit != HM_TZ_GAP)
		return hi;
	/* Clocks jump over it: the moment of the jump. hi is after that, by less than the jump (a day at most). */
	for (lo = hi - DAY_S - 1; hi - lo > 1;) {
		int64_t mid = lo + (hi - lo) / 2;

		if (mid + hm_tz_offset(tz, mid, NULL) < local)
			lo = mid;
		else
			hi = mid;
	}
	return hi;
}

/* The first day of the period with that day, or of the n-th after it, in days since 1970. */
static int64_t first_day(enum hm_cap_per per, int64_t day, int n)
{
	struct hm_civil c;

	switch (per) {
	case HM_PER_WEEK: return day - ((day + 3) % 7 + 7) % 7 + 7 * n; /* 1970-01-01 was a Thursday */
	case HM_PER_MONTH:
		c = hm_civil_of(day * DAY_S);
		c = (struct hm_civil){.year = c.year, .month = c.month + n, .day = 1};
		return hm_floor_div(hm_civil_seconds(c), DAY_S);
	default: return day + n;
	}
}

void gates_calendar(const struct hm_tz *tz, enum hm_cap_per per, uint64_t now_ms, uint64_t *from_ms,
		    uint64_t *to_ms)
{
	int64_t now = (int64_t)(now_ms / 1000);
	int64_t day = hm_floor_div(now + hm_tz_offset(tz, now, NULL), DAY_S);
	int64_t from, to;
	int n = 0;

	/* Clocks turned back over midnight show the old day again, which has ended all the same. */
	while ((to = gates_first_instant(tz, first_day(per, day, n + 1) * DAY_S)) <= now)
		n++;
	while ((from = gates_first_instant(tz, first_day(per, day, n) * DAY_S)) > now)
		n--;
	*from_ms = (uint64_t)hm_max(from, (int64_t)0) * 1000;
	*to_ms = (uint64_t)to * 1000;
}
