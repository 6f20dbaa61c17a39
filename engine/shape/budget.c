/*
 * budget.c - a ring of ten seconds
 */
#include "shape/budget.h"

static void advance(struct hm_budget *b, uint64_t now_ms)
{
	uint64_t n;

	if (hm_likely(now_ms < b->second_ms + 1000u))
		return;
	n = (now_ms - b->second_ms) / 1000u;
	b->second_ms += n * 1000u;
	for (n = hm_min(n, (uint64_t)HM_BUDGET_SECONDS); n > 0; n--) {
		b->at = (b->at + 1) % HM_BUDGET_SECONDS;
		b->sum_attempts -= b->attempts[b->at];
		b->sum_retries -= b->retries[b->at];
		b->attempts[b->at] = b->retries[b->at] = 0;
	}
}

void hm_budget_init(struct hm_budget *b, uint32_t share, uint32_t floor, uint64_t now_ms)
{
	memset(b, 0, sizeof(*b));
	b->share = share;
	b->floor = floor;
	b->second_ms = now_ms;
}

void hm_budget_attempts(struct hm_budget *b, uint64_t n, uint64_t now_ms)
{
	advance(b, now_ms);
	b->attempts[b->at] += n;
	b->sum_attempts += n;
}

void hm_budget_unattempt(struct hm_budget *b, uint64_t n)
{
	n = hm_min(n, b->attempts[b->at]);
	b->attempts[b->at] -= n;
	b->sum_attempts -= n;
}

uint64_t hm_budget_left(struct hm_budget *b, uint64_t now_ms)
{
	uint64_t first, most;

	advance(b, now_ms);
	first = b->sum_attempts - hm_min(b->sum_retries, b->sum_attempts);
	most = first * b->share / 100u + (uint64_t)b->floor * HM_BUDGET_SECONDS;
	return most - hm_min(b->sum_retries, most);
}

bool hm_budget_retry(struct hm_budget *b, uint64_t now_ms)
{
	if (hm_budget_left(b, now_ms) == 0)
		return false;
	b->retries[b->at]++;
	b->sum_retries++;
	return true;
}

void hm_budget_succeeded(struct hm_budget *b, uint64_t n, uint64_t now_ms)
{
	advance(b, now_ms);
	/* The latest seconds first; one that has left the ring costs nothing any more. */
	for (uint32_t i = 0; i < HM_BUDGET_SECONDS && n > 0; i++) {
		uint64_t *r = &b->retries[(b->at + HM_BUDGET_SECONDS - i) % HM_BUDGET_SECONDS];
		uint64_t back = hm_min(n, *r);

		*r -= back;
		b->sum_retries -= back;
		n -= back;
	}
}
