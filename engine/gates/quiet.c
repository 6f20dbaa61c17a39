/*
 * quiet.c - quiet hours: is it night where the recipient is, and until when?
 *
 * A window is a span of readings of a local clock; where clocks are turned meanwhile it begins and ends at the first
 * moment they show or have passed its times. Asked for every message, so the usual day, on which nothing is turned, is
 * done with a few additions.
 */
#include "gates/gates_int.h"

#define DAY_S	    86400
#define LOOK_S	    (60 * 3600) /* no window that may hold now reaches farther than this from it */
#define UNTIL_STEPS 64 /* windows that follow each other; rules that are quiet for ever end somewhere */

struct sky { /* the zone about now */
	const struct hm_tz *tz;
	int64_t day; /* local, since 1970 */
	int32_t off;
	bool still; /* nothing is turned about now: off holds (nobody turns clocks twice in five days) */
};

static void look(struct sky *k, int64_t now)
{
	k->off = hm_tz_offset(k->tz, now, NULL);
	k->still = hm_tz_offset(k->tz, now - LOOK_S, NULL) == k->off &&
		   hm_tz_offset(k->tz, now + LOOK_S, NULL) == k->off;
	k->day = hm_floor_div(now + k->off, DAY_S);
}

static int64_t instant(const struct sky *k, int64_t local)
{
	return k->still ? local - k->off : gates_first_instant(k->tz, local);
}

/* The end of the window if now is inside it, else 0. */
static int64_t window_end(const struct sky *k, const struct hm_quiet_window *w, int64_t now)
{
	int64_t end = 0;

	/* Begun yesterday or today; where clocks go back over midnight, tomorrow has begun already. */
	for (int64_t day = k->day - 1; day <= k->day + (k->still ? 0 : 1); day++) {
		unsigned weekday = (unsigned)(((day + 3) % 7 + 7) % 7);
		int64_t from, to;

		if (!(w->days >> weekday & 1))
			continue;
		from = instant(k, day * DAY_S + w->from * 60);
		if (now < from)
			continue;
		to = instant(k, (day + (w->to <= w->from)) * DAY_S + w->to * 60);
		if (now < to)
			end = hm_max(end, to);
	}
	return end;
}

static bool concerns(const struct hm_quiet *q, const struct hm_gate_subject *s)
{
	const struct hm_match_subject m = {.channel = s->channel,
					   .category = s->category,
					   .tenant = s->tenant,
					   .tags = s->tags,
					   .medium = s->medium};

	return !(q->except_lanes >> s->lane & 1) && hm_match_fits(&q->match, &m);
}

/* The first rule that is quiet at `now`; *end_r is the latest end of all that are. */
static const struct hm_quiet *quiet_at(const struct hm_gate_subject *s, struct sky *k, int64_t now,
				       int64_t *end_r)
{
	const struct hm_quiet *first = NULL;

	*end_r = 0;
	look(k, now);
	for (size_t i = 0; i < s->cfg->n_quiet; i++) {
		const struct hm_quiet *q = &s->cfg->quiet[i];

		if (!concerns(q, s))
			continue;
		for (size_t j = 0; j < q->n; j++) {
			int64_t end = window_end(k, &q->windows[j], now);

			if (end > 0 && first == NULL)
				first = q;
			*end_r = hm_max(*end_r, end);
		}
	}
	return first;
}

void hm_quiet_check(const struct hm_gate_subject *s, struct hm_quiet_answer *q)
{
	int64_t now = (int64_t)(s->now_ms / 1000), end;
	const struct hm_quiet *rule;
	struct sky k;

	*q = (struct hm_quiet_answer){0};
	if (s->cfg->n_quiet == 0 || !hm_config_category(s->cfg, s->category)->quiet_hours)
		return;
	k.tz = gates_zone(s);
	rule = quiet_at(s, &k, now, &end);
	if (rule == NULL)
		return;
	for (int i = 0; i < UNTIL_STEPS; i++) { /* others may go on where these end */
		int64_t later;

		if (quiet_at(s, &k, end, &later) == NULL)
			break;
		end = later;
	}
	*q = (struct hm_quiet_answer){.until_ms = (uint64_t)end * 1000,
				      .policy = (enum hm_policy)rule->when,
				      .route = rule->route,
				      .name = rule->name};
}
