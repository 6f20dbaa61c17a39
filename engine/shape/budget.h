/*
 * budget.h - retries as a share of first attempts, so that a failing provider is not stormed
 *
 * Over the last ten seconds retries may be `share` percent of the first attempts, plus `floor` per second. What goes
 * beyond waits; it is not lost. A retry that succeeds gives its place back: only those that fail storm a provider, and when it is
 * well again what piled up leaves at once. Pure: time is a parameter. No memory, no errors.
 */
#ifndef HM_SHAPE_BUDGET_H
#define HM_SHAPE_BUDGET_H

#include "base/defs.h"

#define HM_BUDGET_SECONDS 10

struct hm_budget {
	uint32_t share, floor;
	/* private */
	uint64_t second_ms;
	uint32_t at;
	uint64_t attempts[HM_BUDGET_SECONDS], retries[HM_BUDGET_SECONDS];
	uint64_t sum_attempts, sum_retries;
};
void hm_budget_init(struct hm_budget *b, uint32_t share, uint32_t floor, uint64_t now_ms);
void hm_budget_attempts(struct hm_budget *b, uint64_t n, uint64_t now_ms); /* all, retries included */
void hm_budget_unattempt(struct hm_budget *b, uint64_t n);		   /* of the current second */
/* One more? true: it counts. */
bool hm_budget_retry(struct hm_budget *b, uint64_t now_ms) HM_MUSTCHECK;
void hm_budget_succeeded(struct hm_budget *b, uint64_t n, uint64_t now_ms); /* so many of the retries */
uint64_t hm_budget_left(struct hm_budget *b, uint64_t now_ms);

#endif
