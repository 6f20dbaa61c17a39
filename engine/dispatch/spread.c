/*
 * spread.c - when is a message of a job due?
 *
 *   at         one moment for all. A new entry waits for it as a whole (delay.c).
 *   at_local   a reading of each recipient's clock. A reading that daylight saving leaves out is the first moment after; of one
 *              that comes twice the first counts.
 *   over       spread over a span from there: the recipients of a job in STEPS steps at most, and every job at a phase of
 *              its own that follows from its id, so that many jobs together are even, and a repeat finds the same times.
 *
 * Who is not due yet is put aside when the job is expanded; recipients that follow each other with one due time share an
 * entry (aside.c). Entries that come back have neither key any more: their time has come.
 */
#include "base/tz.h"
#include "dispatch/dispatch_int.h"

#define STEPS	50u
#define STEP_MS 1000u /* shorter ones are not worth it */

static uint64_t local_due(const struct msg *m, bool *skip_r)
{
	const struct job *j = m->job;
	const struct hm_config *cfg = j->rt->rt->cfg;
	const struct hm_tz *tz = NULL;
	struct hm_rcpt r;
	int64_t s = j->spec.local_s, t, since = (int64_t)(j->accepted_ms / 1000);

	hm_job_rcpt(&j->spec, m->index, &r);
	if (r.tz.len > 0)
		tz = hm_tz_find(r.tz);
	if (tz == NULL)
		tz = hm_tz_find(cfg->settings.gates.default_tz);
	if (tz == NULL)
		tz = hm_tz_find(HM_STR("UTC"));
	t = hm_tz_first_at(tz, s);
	if (t >= since)
		return (uint64_t)t * 1000;
	switch (j->spec.local_past) {
	case HM_LOCAL_NOW: break;
	case HM_LOCAL_SKIP: *skip_r = true; break;
	case HM_LOCAL_NEXT_DAY: /* the same reading, on the first day it still lies ahead */
		s += (since - t) / 86400 * 86400;
		while ((t = hm_tz_first_at(tz, s)) < since)
			s += 86400;
		return (uint64_t)t * 1000;
	}
	return j->accepted_ms;
}

static uint64_t over_ms(const struct msg *m)
{
	const struct job *j = m->job;
	uint64_t over = j->spec.over_ms, steps, width;
	uint32_t n = j->spec.n0 + j->spec.n_rcpts, i = j->spec.n0 + m->index;

	if (over == 0)
		return 0;
	steps = hm_max(hm_min(hm_min(over / STEP_MS, (uint64_t)STEPS), (uint64_t)n), (uint64_t)1);
	width = over / steps;
	return (uint64_t)i * steps / n * width +
	       hm_hash64(j->id.b, sizeof(j->id.b), 0x6f766572) % hm_max(width, 1u);
}

bool hm_spread_pass(struct msg *m)
{
	const struct job *j = m->job;
	uint64_t now = j->d->t->wall_ms, due = j->spec.at_ms;
	bool skip = false;

	if (hm_likely(j->spec.over_ms == 0 && j->spec.at_local.len == 0 && due <= now))
		return true;
	if (j->spec.at_local.len > 0)
		due = local_due(m, &skip);
	if (skip) {
		hm_settle_final(m, HM_ST_EXPIRED,
				HM_STR("it was later than at_local where the recipient is"));
		return false;
	}
	due = hm_max(due, j->spec.over_ms > 0 ? j->accepted_ms : 0) + over_ms(m);
	if (due <= now)
		return true;
	hm_aside_scheduled(m, due);
	return false;
}
