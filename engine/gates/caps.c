/*
 * caps.c - the rules a message is under: which, as a plan for the script, and what a refusal means
 *
 * The script knows rules by number and moments only; calendars, zones and sentences are made here.
 */
#include "gates/gates_int.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"

#define DAY_MS 86400000ull

void gates_rules_of(const struct hm_gate_subject *s, struct gates_rules *r)
{
	const struct hm_match_subject m = {.channel = s->channel,
					   .category = s->category,
					   .tenant = s->tenant,
					   .tags = s->tags,
					   .medium = s->medium};

	r->n = 0;
	for (size_t i = 0; i < s->cfg->n_caps; i++) {
		if (!hm_match_fits(&s->cfg->caps[i].match, &m))
			continue;
		if (r->n == HM_CAPS_TOGETHER) {
			HM_ERROR(DISPATCH,
				 "a message is under more caps than can be asked; the first 20 count",
				 HM_SV("left_out", s->cfg->caps[i].name), HM_SV("channel", s->channel),
				 HM_SV("category", s->category), HM_SV("tenant", s->tenant));
			return;
		}
		r->v[r->n++] = &s->cfg->caps[i];
	}
}

/* How long an event may count. Longer than a calendar window: it may have a day turned back in it, or the recipient moves. */
static uint64_t memory_of(const struct hm_cap *c)
{
	uint64_t ms = 0;

	if (c->max > 0)
		switch ((enum hm_cap_per)c->per) {
		case HM_PER_ROLLING: ms = c->per_ms; break;
		case HM_PER_DAY: ms = 2 * DAY_MS; break;
		case HM_PER_WEEK: ms = 8 * DAY_MS; break;
		case HM_PER_MONTH: ms = 33 * DAY_MS; break;
		}
	return hm_max(ms, c->min_gap_ms);
}

/* Calendar windows of one message; each is looked up once. */
struct windows {
	const struct hm_gate_subject *s;
	const struct hm_tz *tz;
	uint64_t from[HM_PER_MONTH + 1], to[HM_PER_MONTH + 1]; /* to 0: not known yet */
};

static void window(struct windows *w, const struct hm_cap *c)
{
	if (w->to[c->per])
		return;
	if (w->tz == NULL)
		w->tz = gates_zone(w->s);
	gates_calendar(w->tz, (enum hm_cap_per)c->per, w->s->now_ms, &w->from[c->per], &w->to[c->per]);
}

/* What came later than this counts. */
static uint64_t window_begin(struct windows *w, const struct hm_cap *c)
{
	if (c->max == 0)
		return 0;
	if (c->per == HM_PER_ROLLING)
		return w->s->now_ms > c->per_ms ? w->s->now_ms - c->per_ms : 0;
	window(w, c);
	return w->from[c->per] ? w->from[c->per] - 1 : 0;
}

void gates_plan(const struct hm_gate_subject *s, const struct gates_rules *r, bool windows,
		struct hm_buf *out)
{
	struct windows w = {.s = s};
	uint64_t memory = 0;

	for (size_t i = 0; i < r->n; i++)
		memory = hm_max(memory, memory_of(r->v[i]));
	gates_put_int(out, memory, 6);
	gates_put_int(out, r->n, 1);
	for (size_t i = 0; i < r->n; i++)
		gates_put_int(out, r->v[i]->id, 4);
	for (size_t i = 0; i < r->n; i++) {
		gates_put_int(out, r->v[i]->max, 2);
		gates_put_int(out, windows ? window_begin(&w, r->v[i]) : 0, 6);
		gates_put_int(out, windows ? r->v[i]->min_gap_ms : 0, 5);
	}
}

/* -- refused ------------------------------------------------------------------------------------------ */

/* "24 h", "10 min", "7 d" */
static const char *span(uint64_t ms, char out[32])
{
	if (ms % DAY_MS == 0 && ms > 2 * DAY_MS)
		snprintf(out, 32, "%llu d", (unsigned long long)(ms / DAY_MS));
	else if (ms % 3600000 == 0)
		snprintf(out, 32, "%llu h", (unsigned long long)(ms / 3600000));
	else if (ms % 60000 == 0)
		snprintf(out, 32, "%llu min", (unsigned long long)(ms / 60000));
	else if (ms % 1000 == 0)
		snprintf(out, 32, "%llu s", (unsigned long long)(ms / 1000));
	else
		snprintf(out, 32, "%llu ms", (unsigned long long)ms);
	return out;
}

static void sentence(struct hm_gate_ask *a, const struct hm_cap *c, bool gap)
{
	static const char *const names[] = {"", "a day", "a week", "a month"};
	char next[25], len[32];

	hm_clock_rfc3339(a->free_at_ms, next);
	next[19] = '\0';
	if (gap)
		snprintf(a->reason, sizeof(a->reason), "cap %.*s: %s between two, next %sZ", HM_STRF(c->name),
			 span(c->min_gap_ms, len), next);
	else if (c->per == HM_PER_ROLLING)
		snprintf(a->reason, sizeof(a->reason), "cap %.*s: %u in %s, next %sZ", HM_STRF(c->name),
			 c->max, span(c->per_ms, len), next);
	else
		snprintf(a->reason, sizeof(a->reason), "cap %.*s: %u %s, next %sZ", HM_STRF(c->name), c->max,
			 names[c->per], next);
}

bool gates_refused(struct hm_gate_ask *a, struct hm_str said)
{
	const size_t each = 8; /* number, max 0 or gap 1, moment I6 */
	const struct hm_gate_subject *s = &a->s;
	struct windows w = {.s = s};
	const struct hm_cap *first = NULL;
	struct gates_rules r;
	bool first_gap = false;

	gates_rules_of(s, &r);
	a->free_at_ms = 0;
	if (said.len == 0 || said.len % each != 0)
		return false;
	for (size_t i = 0; i < said.len; i += each) {
		const unsigned char *p = (const unsigned char *)said.p + i;
		const struct hm_cap *c = p[0] < r.n ? r.v[p[0]] : NULL;
		uint64_t t = 0, free;

		if (c == NULL)
			return false;
		for (unsigned k = 6; k-- > 0;)
			t = t << 8 | p[2 + k];
		if (p[1]) {
			free = t + c->min_gap_ms;
		} else if (c->per == HM_PER_ROLLING) {
			free = t + c->per_ms;
		} else {
			window(&w, c);
			free = w.to[c->per];
		}
		/* a place reserved long ago and still not settled: nobody knows when */
		a->free_at_ms = hm_max(a->free_at_ms, free > s->now_ms ? free : s->now_ms + 1000);
		if (first == NULL) {
			first = c;
			first_gap = p[1] != 0;
		}
	}
	a->policy = (enum hm_policy)first->when;
	a->route = first->route;
	sentence(a, first, first_gap);
	return true;
}
