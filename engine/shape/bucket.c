/*
 * bucket.c - credits earned and spent
 */
#include "shape/bucket.h"

/* What one millisecond earns may lie above the burst: cutting it off would lose a fraction of a token each time. */
static uint64_t cap_of(const struct hm_bucket *b)
{
	return b->burst * b->window_ms + (b->max > 0 ? b->max - 1 : 0);
}

static void earn(struct hm_bucket *b, uint64_t now_ms)
{
	uint64_t cap = cap_of(b), passed;

	if (now_ms <= b->last_ms)
		return;
	passed = now_ms - b->last_ms;
	b->last_ms = now_ms;
	/* After so long it is full, whatever it was; and the product below stays small. */
	if (b->max > 0 && passed > cap / b->max) {
		b->credit = cap;
		return;
	}
	b->credit = hm_min(b->credit + passed * b->max, cap);
}

void hm_bucket_init(struct hm_bucket *b, uint64_t max, uint64_t window_ms, uint64_t burst, uint64_t now_ms)
{
	hm_assert(window_ms > 0);
	b->max = max;
	b->window_ms = window_ms;
	b->burst = burst;
	b->credit = burst * window_ms;
	b->last_ms = now_ms;
}

void hm_bucket_rate(struct hm_bucket *b, uint64_t max, uint64_t window_ms, uint64_t burst, uint64_t now_ms)
{
	uint64_t saved;

	hm_assert(window_ms > 0);
	earn(b, now_ms);
	/* A part of a token is carried over only where the units stay the same. */
	saved = b->window_ms == window_ms ? b->credit : b->credit / b->window_ms * window_ms;
	b->max = max;
	b->window_ms = window_ms;
	b->burst = burst;
	b->credit = hm_min(saved, burst * window_ms);
}

uint64_t hm_bucket_tokens(struct hm_bucket *b, uint64_t now_ms)
{
	earn(b, now_ms);
	return hm_min(b->credit / b->window_ms, b->burst);
}

bool hm_bucket_take(struct hm_bucket *b, uint64_t n, uint64_t now_ms)
{
	if (hm_bucket_tokens(b, now_ms) < n)
		return false;
	b->credit -= n * b->window_ms;
	return true;
}

void hm_bucket_drain(struct hm_bucket *b, uint64_t n, uint64_t now_ms)
{
	uint64_t have = hm_bucket_tokens(b, now_ms);

	b->credit -= hm_min(n, have) * b->window_ms;
}

void hm_bucket_give(struct hm_bucket *b, uint64_t n)
{
	uint64_t room = b->burst - hm_min(b->credit / b->window_ms, b->burst);

	b->credit = hm_min(b->credit + hm_min(n, room) * b->window_ms, cap_of(b));
}

uint64_t hm_bucket_wait_ms(struct hm_bucket *b, uint64_t n, uint64_t now_ms)
{
	uint64_t missing;

	if (hm_bucket_tokens(b, now_ms) >= n)
		return 0;
	if (n > b->burst || b->max == 0)
		return UINT64_MAX;
	missing = n * b->window_ms - b->credit;
	return (missing + b->max - 1) / b->max;
}
