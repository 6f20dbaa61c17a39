/*
 * marks.c - what is cancelled and what is paused, for jobs and messages
 *
 *   hm_marks_pass    before a message leaves
 *   hm_marks_cancel, hm_marks_pause   when an entry is pulled: paused, it need not be expanded to be moved away (delay.c)
 *
 * Labels are compared once per job and change of the set (job.marks_gen).
 */
#include <stdlib.h>

#include "base/log.h"
#include "dispatch/cancel.h"
#include "dispatch/dispatch_int.h"

bool hm_marks_known(const struct hm_dispatch *d)
{
	return d->deps.cancels == NULL || hm_marks_are_ready(d->deps.cancels);
}

static struct hm_mark_labels labels_of(const struct job *j)
{
	return (struct hm_mark_labels){.job = j->origin,
				       .campaign = j->spec.campaign,
				       .tenant = j->spec.tenant,
				       .tags = j->spec.tags};
}

static void refresh(struct job *j)
{
	const struct hm_cancel_set *s = j->d->deps.cancels;
	uint64_t gen = hm_marks_gen(s);
	struct hm_mark_labels l;
	char mark[HM_MARK_TEXT];

	if (hm_likely(j->marks_gen == gen))
		return;
	l = labels_of(j);
	j->cancelled_ms = hm_cancel_since(s, &l);
	j->paused = hm_pause_find(s, &l, mark);
	j->marks_gen = gen;
}

static bool cancelled(const struct job *j, const struct hm_ulid *id)
{
	return hm_ulid_ms(id) <= j->cancelled_ms || hm_cancel_id(j->d->deps.cancels, id);
}

bool hm_marks_pass(struct msg *m)
{
	struct job *j = m->job;
	const struct hm_cancel_set *s = j->d->deps.cancels;
	char mark[HM_MARK_TEXT];
	struct hm_mark_labels l;

	if (hm_likely(s == NULL || hm_marks_gen(s) == 0))
		return true;
	refresh(j);
	if (cancelled(j, &m->id)) {
		hm_settle_final(m, HM_ST_CANCELLED, HM_STR("cancelled on request"));
		return false;
	}
	l = labels_of(j);
	if ((j->paused && hm_pause_find(s, &l, mark)) || hm_pause_id(s, &m->id, mark)) {
		hm_aside_paused(m, hm_str_c(mark));
		return false;
	}
	return true;
}

bool hm_marks_cancel(struct job *j)
{
	const struct hm_cancel_set *s = j->d->deps.cancels;
	struct hm_ulid id = j->id;

	if (s == NULL || hm_cancel_gen(s) == 0)
		return false;
	refresh(j);
	hm_ulid_add(&id, j->spec.n0);
	if (hm_ulid_ms(&id) <= j->cancelled_ms)
		return true;
	for (uint32_t i = 0; hm_cancel_by_id(s) && i < j->spec.n_rcpts; i++) {
		if (hm_cancel_id(s, &id))
			return true;
		hm_ulid_add(&id, 1);
	}
	return false;
}

bool hm_marks_pause(struct job *j, char *mark_r)
{
	const struct hm_cancel_set *s = j->d->deps.cancels;
	struct hm_mark_labels l = labels_of(j);

	if (s == NULL || hm_marks_gen(s) == 0)
		return false;
	refresh(j);
	return (j->paused && hm_pause_find(s, &l, mark_r)) ||
	       (j->spec.n_rcpts == 1 && hm_pause_id(s, &j->id, mark_r));
}
