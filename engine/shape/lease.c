/*
 * lease.c - asking, keeping and giving back
 */
#include "shape/lease.h"

#define HUNGER_MS 1000 /* so long after work last found no room it is asked for more than is used */

void hm_lease_init(struct hm_lease *l, uint64_t now_ms)
{
	memset(l, 0, sizeof(*l));
	l->want = 1;
	l->got_ms = l->used_ms = l->asked_ms = l->next_ms = now_ms;
}

void hm_lease_limits(struct hm_lease *l, bool quotas, uint32_t concurrency, uint32_t share)
{
	l->quotas = quotas;
	l->concurrency = concurrency;
	l->share = share;
	if (!quotas)
		l->tokens = l->debt = 0;
	l->permits = hm_min(l->permits, concurrency);
}

/* Of n, for messages that are not critical. Of two, one can be kept; of one, none. */
static uint64_t common(const struct hm_lease *l, uint64_t n, uint64_t kept)
{
	return l->critical ? n - hm_min(n, kept) : n;
}

uint64_t hm_lease_room(const struct hm_lease *l, bool urgent, uint64_t now_ms)
{
	uint64_t room = UINT64_MAX;

	if (l->quotas) {
		room = now_ms < l->got_ms + HM_LEASE_TTL_MS ? l->tokens : 0;
		if (!urgent)
			room = common(l, room, l->kept);
	}
	if (l->concurrency > 0) {
		uint64_t permits = now_ms < l->permits_until_ms ? l->permits : 0;

		if (!urgent && permits > 1)
			permits = common(l, permits,
					 hm_max((uint64_t)permits * l->share / 100u, (uint64_t)1));
		room = hm_min(room, permits - hm_min(permits, (uint64_t)l->used));
	}
	return room;
}

void hm_lease_take(struct hm_lease *l, uint32_t n, uint64_t now_ms)
{
	l->used += n;
	l->used_ms = now_ms;
	if (!l->quotas)
		return;
	if (l->tokens < n)
		l->debt += n - l->tokens;
	l->tokens -= hm_min(l->tokens, (uint64_t)n);
}

void hm_lease_untake(struct hm_lease *l, uint32_t n)
{
	uint64_t paid = hm_min(l->debt, (uint64_t)n);

	l->used -= hm_min(l->used, n);
	if (!l->quotas)
		return;
	l->debt -= paid;
	l->tokens += n - paid;
}

void hm_lease_done(struct hm_lease *l, uint32_t n, uint64_t now_ms)
{
	l->used -= hm_min(l->used, n);
	l->used_ms = now_ms;
}

void hm_lease_hungry(struct hm_lease *l, bool urgent, uint64_t now_ms)
{
	l->hungry = true;
	l->hungry_ms = now_ms;
	if (urgent)
		l->hungry_urgent = true;
}

static bool idle(const struct hm_lease *l, uint64_t now_ms)
{
	return l->used == 0 && now_ms >= hm_max(l->used_ms, l->got_ms) + HM_LEASE_IDLE_MS;
}

uint64_t hm_lease_due_ms(const struct hm_lease *l, uint64_t now_ms)
{
	uint64_t at = UINT64_MAX;

	if (l->asking || (!l->quotas && l->concurrency == 0))
		return UINT64_MAX;
	if (l->hungry)
		at = l->next_ms;
	if (l->hungry_urgent)
		at = hm_min(at, hm_max(l->asked_ms + HM_LEASE_URGENT_MS, now_ms));
	/* Renew permits while they are used, so that others can have what we do not need, and we what they do not. */
	if (l->concurrency > 0 && l->used > 0)
		at = hm_min(at, l->asked_ms + HM_LEASE_BEAT_MS);
	if (l->tokens > 0) /* worth nothing any more here, but counted in Redis until it has them back */
		at = hm_min(at, l->got_ms + HM_LEASE_TTL_MS);
	if (l->told && !l->hungry)
		at = hm_min(at, hm_max(l->used_ms, l->got_ms) + HM_LEASE_IDLE_MS);
	if (at == UINT64_MAX)
		return at;
	/* Nothing but hunger speeds it up: an answer that said "later" holds for every reason but urgent ones. */
	return at > now_ms ? at - now_ms : 0;
}

void hm_lease_ask(struct hm_lease *l, struct hm_lease_ask *a, uint64_t now_ms)
{
	bool old = now_ms >= l->got_ms + HM_LEASE_TTL_MS / 2;

	memset(a, 0, sizeof(*a));
	if (l->quotas && (l->hungry || l->hungry_urgent))
		a->want = l->want + l->debt;
	if (l->quotas && l->tokens > 0 && (old || idle(l, now_ms))) {
		a->back = l->tokens;
		if (l->tokens > l->asked_want / 2)
			l->want = hm_max(l->want / 2, (uint64_t)1);
		l->tokens = 0;
	}
	a->stamp = l->stamp;
	a->urgent = l->hungry_urgent;
	if (l->concurrency > 0) {
		a->permits_used = l->used;
		a->permits_want = l->hungry || l->hungry_urgent ||
						  (l->used > 0 && now_ms < l->hungry_ms + HUNGER_MS)
					  ? l->concurrency
				  : l->used > 0 ? l->used + 1
						: 0;
	}
	l->asked_want = a->want;
	l->asked_permits = a->permits_want;
	l->told = a->want > 0 || a->permits_want > 0;
	l->hungry = l->hungry_urgent = false;
	l->asking = true;
	l->asked_ms = now_ms;
}

void hm_lease_granted(struct hm_lease *l, const struct hm_lease_grant *g, uint64_t now_ms)
{
	uint64_t paid = hm_min(l->debt, g->tokens);

	l->asking = false;
	l->critical = g->critical && l->share > 0;
	l->debt -= paid;
	if (g->tokens > paid) {
		if (l->tokens == 0) {
			l->got_ms = now_ms;
			l->stamp = g->stamp;
		}
		l->tokens += g->tokens - paid;
		l->kept = l->tokens * l->share / 100u;
	}
	if (l->asked_want > 0 && g->tokens >= l->asked_want)
		l->want = hm_min(l->want * 2, (uint64_t)HM_LEASE_WANT_MAX);
	if (g->tokens > 0 || g->permits > l->permits)
		l->used_ms = now_ms; /* time to use it */
	l->permits = g->permits;
	l->permits_until_ms = now_ms + HM_LEASE_PERMIT_MS - HM_LEASE_PERMIT_MS / 4;
	l->next_ms = now_ms + g->wait_ms;
	if (l->tokens == 0 && g->tokens == 0 && l->asked_want > 0)
		l->hungry = true; /* nobody could take anything, so nobody will say it again */
	if (l->concurrency > 0 && l->permits <= l->used && l->asked_permits > l->used)
		l->hungry = true;
	if (l->concurrency > 0 && (!l->quotas || l->hungry))
		l->next_ms = hm_max(l->next_ms, now_ms + HM_LEASE_BEAT_MS / 2);
}

void hm_lease_failed(struct hm_lease *l, uint64_t now_ms)
{
	l->asking = false;
	l->hungry = l->hungry || l->asked_want > 0 || l->concurrency > 0;
	l->next_ms = now_ms + HM_LEASE_RETRY_MS;
}

void hm_lease_leave(struct hm_lease *l)
{
	l->hungry = l->hungry_urgent = false;
	l->used = 0;
	l->got_ms = l->used_ms = 0;
}
