/*
 * fault.h - named fault points, armed only from the environment of the process
 *
 * HERMOD_FAULTS="settle_before_ack:kill@100,redis_write:short,alloc:fail@7"
 * action: fail (the point reports failure), kill (SIGKILL to self), stop (SIGSTOP),
 * short (I/O points: one byte at a time), delay=MS; @N = at the Nth hit (default 1),
 * @N+ = from the Nth on. Names are rows of tbl/faults.h; an unknown name is an
 * error at start. Unarmed, a point costs one predictable branch.
 */
#ifndef HM_BASE_FAULT_H
#define HM_BASE_FAULT_H

#include "base/defs.h"
#include "base/err.h"

enum hm_fault {
#define HM_FAULT(name, text) HM_FAULT_##name,
#include "tbl/faults.h"
#undef HM_FAULT
	HM_FAULT_COUNT
};
enum hm_fault_action { HM_FAULT_NONE, HM_FAULT_FAIL, HM_FAULT_SHORT };

extern bool hm_faults_armed;
int hm_fault_init(const char *spec, struct hm_err *e) HM_MUSTCHECK; /* spec NULL or "" = none */
enum hm_fault_action hm_fault_hit(enum hm_fault f);
static inline enum hm_fault_action hm_fault(enum hm_fault f)
{
	return hm_unlikely(hm_faults_armed) ? hm_fault_hit(f) : HM_FAULT_NONE;
}
uint64_t hm_fault_hits(enum hm_fault f); /* counted only while armed */

#endif
