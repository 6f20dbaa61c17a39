/*
 * breaker.c - slices of answers, and the three states
 */
#include "shape/breaker.h"

#define LONGEST	    10u	   /* times the first open time */
#define PROBE_LIMIT 60000u /* ms: no request lives longer by default; its probe is given up */

static bool off(const struct hm_breaker_opts *o)
{
	return o->share == 0 && o->latency_ms == 0;
}

static void forget(struct hm_breaker_state *b, uint64_t now_ms)
{
	memset(b->answers, 0, sizeof(b->answers));
	memset(b->bad, 0, sizeof(b->bad));
	memset(b->latency, 0, sizeof(b->latency));
	b->slice = 0;
	b->slice_ms = now_ms;
}

void hm_breaker_init(struct hm_breaker_state *b, const struct hm_breaker_opts *o, uint64_t now_ms)
{
	memset(b, 0, sizeof(*b));
	b->o = *o;
	b->open_ms = o->open_ms;
	b->closed_ms = now_ms;
	forget(b, now_ms);
}

void hm_breaker_opts(struct hm_breaker_state *b, const struct hm_breaker_opts *o, uint64_t now_ms)
{
	if (memcmp(&b->o, o, sizeof(*o)) == 0)
		return;
	if (b->o.window_ms != o->window_ms)
		forget(b, now_ms);
	b->o = *o;
	b->open_ms = o->open_ms;
	if (off(o))
		b->state = HM_BREAKER_CLOSED;
}

static void advance(struct hm_breaker_state *b, uint64_t now_ms)
{
	uint64_t width = hm_max(b->o.window_ms / HM_BREAKER_SLICES, 1u);

	if (hm_likely(now_ms < b->slice_ms + width))
		return;
	if (now_ms >= b->slice_ms + width * HM_BREAKER_SLICES) {
		forget(b, now_ms);
		return;
	}
	do {
		b->slice = (b->slice + 1) % HM_BREAKER_SLICES;
		b->answers[b->slice] = b->bad[b->slice] = 0;
		memset(b->latency[b->slice], 0, sizeof(b->latency[0]));
		b->slice_ms += width;
	} while (now_ms >= b->slice_ms + width);
}

static void open_it(struct hm_breaker_state *b, uint64_t now_ms)
{
	b->state = HM_BREAKER_OPEN;
	b->until_ms = now_ms + b->open_ms;
	b->opened++;
	b->open_ms = (uint32_t)hm_min((uint64_t)b->open_ms * 2u, (uint64_t)b->o.open_ms * LONGEST);
	forget(b, now_ms);
}

static void close_it(struct hm_breaker_state *b, uint64_t now_ms)
{
	b->state = HM_BREAKER_CLOSED;
	b->closed_ms = now_ms;
	forget(b, now_ms);
}

/* What the tenth slowest of a hundred took at least. */
static uint64_t p90_us(const struct hm_breaker_state *b, uint32_t seen)
{
	uint64_t below = 0;

	for (unsigned i = 0; i < HM_BREAKER_LAT; i++) {
		for (unsigned s = 0; s < HM_BREAKER_SLICES; s++)
			below += b->latency[s][i];
		if (below * 10u >= (uint64_t)seen * 9u)
			return i == HM_BREAKER_LAT - 1 ? b->o.latency_ms * (uint64_t)1000 : (uint64_t)1 << i;
	}
	return 0;
}

static bool judge(struct hm_breaker_state *b, uint64_t now_ms)
{
	uint32_t seen = 0, failed = 0;
	uint64_t p90 = 0;
	bool slow;

	for (unsigned i = 0; i < HM_BREAKER_SLICES; i++) {
		seen += b->answers[i];
		failed += b->bad[i];
	}
	if (seen < b->o.min)
		return false;
	if (b->o.latency_ms > 0)
		p90 = p90_us(b, seen) / 1000u;
	slow = b->o.latency_ms > 0 && p90 >= b->o.latency_ms;
	if (!slow && (b->o.share == 0 || (uint64_t)failed * 100u < (uint64_t)seen * b->o.share))
		return false;
	b->by_latency = slow;
	b->seen = seen;
	b->failed = failed;
	b->p90_ms = (uint32_t)p90;
	open_it(b, now_ms);
	return true;
}

static bool probe_answer(struct hm_breaker_state *b, bool failed, uint64_t took_us, uint64_t now_ms)
{
	if (now_ms < b->half_ms + took_us / 1000u)
		return false; /* began before: nothing new */
	if (b->probes_out > 0)
		b->probes_out--;
	if (failed || (b->o.latency_ms > 0 && took_us / 1000u >= b->o.latency_ms)) {
		open_it(b, now_ms);
		return true;
	}
	if (++b->probes_ok < b->o.probes)
		return false;
	close_it(b, now_ms);
	return true;
}

/* Powers of two, and the last for what reaches the limit: the one comparison that decides is exact. */
static unsigned bucket_of(const struct hm_breaker_state *b, uint64_t took_us)
{
	uint64_t v = took_us;
	unsigned i = 0;

	if (b->o.latency_ms > 0 && took_us >= (uint64_t)b->o.latency_ms * 1000u)
		return HM_BREAKER_LAT - 1;
	while (v > 1 && i < HM_BREAKER_LAT - 2) {
		v >>= 1;
		i++;
	}
	return i;
}

bool hm_breaker_answer(struct hm_breaker_state *b, bool failed, uint64_t took_us, uint64_t now_ms)
{
	if (off(&b->o))
		return false;
	if (b->state == HM_BREAKER_HALF_OPEN)
		return probe_answer(b, failed, took_us, now_ms);
	if (b->state == HM_BREAKER_OPEN)
		return false;
	advance(b, now_ms);
	b->answers[b->slice]++;
	b->bad[b->slice] += failed;
	if (b->o.latency_ms > 0)
		b->latency[b->slice][bucket_of(b, took_us)]++;
	if (b->open_ms != b->o.open_ms && now_ms >= b->closed_ms + b->o.window_ms)
		b->open_ms = b->o.open_ms; /* well for a whole window: begin small again */
	/* Only what speaks against the channel can open it. */
	if (!failed && (b->o.latency_ms == 0 || took_us / 1000u < b->o.latency_ms))
		return false;
	return judge(b, now_ms);
}

bool hm_breaker_lost(struct hm_breaker_state *b, uint64_t took_us, uint64_t now_ms)
{
	if (b->lost_ms == now_ms && now_ms != 0)
		return false;
	b->lost_ms = now_ms;
	return hm_breaker_answer(b, true, took_us, now_ms);
}

bool hm_breaker_tick(struct hm_breaker_state *b, uint64_t now_ms)
{
	if (b->state == HM_BREAKER_OPEN && now_ms >= b->until_ms) {
		b->state = HM_BREAKER_HALF_OPEN;
		b->half_ms = now_ms;
		b->probes_out = b->probes_ok = 0;
		return true;
	}
	if (b->state == HM_BREAKER_HALF_OPEN && b->probes_out > 0 && now_ms >= b->half_ms + PROBE_LIMIT) {
		b->half_ms = now_ms;
		b->probes_out = b->probes_ok = 0;
		return true;
	}
	return false;
}

uint32_t hm_breaker_room(const struct hm_breaker_state *b)
{
	uint32_t used = b->probes_out + b->probes_ok;

	switch (b->state) {
	case HM_BREAKER_CLOSED: return UINT32_MAX;
	case HM_BREAKER_OPEN: return 0;
	case HM_BREAKER_HALF_OPEN: return used < b->o.probes ? b->o.probes - used : 0;
	}
	return 0;
}

void hm_breaker_sent(struct hm_breaker_state *b, uint32_t n)
{
	if (b->state == HM_BREAKER_HALF_OPEN)
		b->probes_out += n;
}

void hm_breaker_unsent(struct hm_breaker_state *b, uint32_t n)
{
	if (b->state == HM_BREAKER_HALF_OPEN)
		b->probes_out -= hm_min(n, b->probes_out);
}

uint64_t hm_breaker_wait_ms(const struct hm_breaker_state *b, uint64_t now_ms)
{
	uint64_t at = b->state == HM_BREAKER_OPEN			      ? b->until_ms
		      : b->state == HM_BREAKER_HALF_OPEN && b->probes_out > 0 ? b->half_ms + PROBE_LIMIT
									      : UINT64_MAX;

	return at == UINT64_MAX ? at : at > now_ms ? at - now_ms : 0;
}
