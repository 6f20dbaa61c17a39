/*
 * aside.c - messages that wait long
 */
#include "dispatch/dispatch_int.h"

void hm_aside_msg(struct msg *m, uint64_t until_ms, struct hm_str why)
{
	uint64_t now = m->job->d->t->wall_ms;

	hm_settle_hold(m, until_ms > now ? until_ms - now : 1, why);
}
