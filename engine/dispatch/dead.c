/*
 * dead.c - failed messages, kept for an operator
 */
#include "dispatch/dispatch_int.h"

void hm_dead_message(struct msg *m, struct hm_str why)
{
	(void)m;
	(void)why;
}
