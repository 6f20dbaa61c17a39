/* quiet.c - quiet hours; see gates.h */
#include "gates/gates.h"

void hm_quiet_check(const struct hm_gate_subject *s, struct hm_quiet_answer *q)
{
	*q = (struct hm_quiet_answer){0};
}
