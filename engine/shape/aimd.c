/*
 * aimd.c - additive increase, multiplicative decrease
 */
#include "shape/aimd.h"

#define SECOND 1000u

/* A tenth of a second's worth may leave at once. */
static void limit(struct hm_aimd *a, uint64_t now_ms)
{
	hm_bucket_rate(&a->bucket, a->allowed, SECOND * 1000u, hm_max(a->allowed / 10000u, (uint64_t)1),
		       now_ms);
}

static void second_over(struct hm_aimd *a, uint64_t now_ms)
{
	bool complained = a->cut_seen && a->cut_ms >= a->second_ms;

	a->rate = a->sent * 1000u;
	a->best = hm_max(a->rate, a->best - a->best / 100u);
	a->sent = 0;
	if (!a->active || complained)
		return;
	a->allowed += hm_max(a->base / 20u, (uint64_t)HM_AIMD_FLOOR);
	if (a->allowed >= a->base) {
		a->active = false;
		return;
	}
	limit(a, now_ms);
}

static void advance(struct hm_aimd *a, uint64_t now_ms)
{
	uint64_t passed;

	if (now_ms < a->second_ms + SECOND)
		return;
	passed = (now_ms - a->second_ms) / SECOND;
	/* After some minutes of silence nothing is left to recover. */
	for (uint64_t i = 0; i < hm_min(passed, (uint64_t)600); i++) {
		second_over(a, now_ms);
		a->second_ms += SECOND;
	}
	a->second_ms += (passed - hm_min(passed, (uint64_t)600)) * SECOND;
}

void hm_aimd_init(struct hm_aimd *a, uint64_t declared, uint64_t now_ms)
{
	memset(a, 0, sizeof(*a));
	a->declared = declared;
	a->second_ms = now_ms;
	hm_bucket_init(&a->bucket, 0, SECOND * 1000u, 1, now_ms);
}

void hm_aimd_declared(struct hm_aimd *a, uint64_t declared)
{
	a->declared = declared;
}

void hm_aimd_sent(struct hm_aimd *a, uint64_t n, uint64_t now_ms)
{
	advance(a, now_ms);
	a->sent += n;
	if (a->active)
		hm_bucket_drain(&a->bucket, n, now_ms);
}

void hm_aimd_unsent(struct hm_aimd *a, uint64_t n, uint64_t now_ms)
{
	advance(a, now_ms);
	a->sent -= hm_min(n, a->sent);
	if (a->active)
		hm_bucket_give(&a->bucket, n);
}

bool hm_aimd_complaint(struct hm_aimd *a, uint64_t now_ms)
{
	uint64_t had, passed;

	advance(a, now_ms);
	if (a->cut_seen && now_ms < a->cut_ms + SECOND)
		return false;
	/* The rate it was sent with: of this second so far, or of the last. */
	passed = hm_max(now_ms - a->second_ms, (uint64_t)100);
	had = hm_max(a->rate, hm_min(a->sent * SECOND * 1000u / passed, a->sent * 1000u * 4u));
	if (a->active)
		had = a->allowed;
	else
		a->base = hm_max(hm_max(a->best, had), (uint64_t)2 * HM_AIMD_FLOOR);
	if (a->declared > 0)
		a->base = hm_min(a->base, hm_max(a->declared, (uint64_t)2 * HM_AIMD_FLOOR));
	had = hm_min(had, a->base);
	a->cut_seen = true;
	a->cut_ms = now_ms;
	a->active = true;
	a->allowed = hm_max(had / 2, (uint64_t)HM_AIMD_FLOOR);
	limit(a, now_ms);
	return true;
}

uint64_t hm_aimd_room(struct hm_aimd *a, uint64_t now_ms)
{
	if (!a->active)
		return UINT64_MAX;
	advance(a, now_ms);
	return a->active ? hm_bucket_tokens(&a->bucket, now_ms) : UINT64_MAX;
}

uint64_t hm_aimd_wait_ms(struct hm_aimd *a, uint64_t now_ms)
{
	if (hm_aimd_room(a, now_ms) > 0)
		return 0;
	return hm_bucket_wait_ms(&a->bucket, 1, now_ms);
}
