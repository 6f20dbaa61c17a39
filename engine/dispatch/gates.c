/*
 * gates.c - may this message leave now?
 *
 * Asked when a message is expanded and again whenever it comes back from waiting.
 * A gate ends the message with a final state and a reason, or lets it pass.
 */
#include "base/fault.h"
#include "dispatch/cancel.h"
#include "dispatch/dispatch_int.h"

bool hm_gates_pass(struct msg *m)
{
	struct job *j = m->job;
	struct hm_dispatch *d = j->d;

	if (j->broken.code != 0) {
		hm_settle_final(m, HM_ST_FAILED, hm_str_c(j->broken.text));
		return false;
	}
	if (j->expires_ms != 0 && d->t->wall_ms >= j->expires_ms) {
		hm_settle_final(m, HM_ST_EXPIRED,
				j->spec.expires_ms ? HM_STR("past its expiry")
						   : HM_STR("past the default deadline"));
		return false;
	}
	if (d->deps.cancels != NULL && hm_cancel_has(d->deps.cancels, &m->id, &j->id, j->spec.campaign)) {
		hm_settle_final(m, HM_ST_CANCELLED, HM_STR("cancelled on request"));
		return false;
	}
	(void)hm_fault(HM_FAULT_gates_after);
	return true;
}
