/*
 * spread.c - when is a message of a job due?
 *
 * `at` is one moment for all. Entries wait for it as a whole (delay.c); only those of an entry that could not be moved come
 * here.
 */
#include "dispatch/dispatch_int.h"

bool hm_spread_pass(struct msg *m)
{
	const struct job *j = m->job;

	if (hm_likely(j->spec.at_ms <= j->d->t->wall_ms))
		return true;
	hm_aside_msg(m, j->spec.at_ms, HM_STR("scheduled"));
	return false;
}
