/* Buckets, adaptive rates, the breaker, the retry budget and leases: pure machines, time is a number. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "shape/aimd.h"
#include "shape/breaker.h"
#include "shape/bucket.h"
#include "shape/budget.h"
#include "shape/lease.h"

/* -- buckets -- */

static void test_twenty_a_minute_are_twenty(void **state)
{
	struct hm_bucket b;
	unsigned n = 0;

	hm_bucket_init(&b, 20, 60000, 20, 1000);
	while (hm_bucket_take(&b, 1, 1000))
		n++;
	assert_int_equal(n, 20);
	/* Looked at every 7 ms, which divides nothing: in ten minutes exactly 200 come. */
	n = 0;
	for (uint64_t t = 1000; t <= 1000 + 600000; t += 7)
		while (hm_bucket_take(&b, 1, t))
			n++;
	assert_in_range(n, 199, 200);
	assert_int_equal(hm_bucket_wait_ms(&b, 1, 1000 + 600000), 3000 - (n == 200 ? 0 : 3000));
}

static void test_fractions_are_kept(void **state)
{
	/* 7 in 3 s has no whole number of ms per token. */
	struct hm_bucket b;
	uint64_t n = 0;

	hm_bucket_init(&b, 7, 3000, 1, 0);
	for (uint64_t t = 0; t <= 3000000; t++)
		while (hm_bucket_take(&b, 1, t))
			n++;
	assert_int_equal(n, 7001); /* the one saved, and 7000 */
}

static void test_bucket_waits_gives_back_and_changes(void **state)
{
	struct hm_bucket b;

	hm_bucket_init(&b, 10, 1000, 5, 0);
	assert_false(hm_bucket_take(&b, 6, 0));
	assert_true(hm_bucket_take(&b, 5, 0));
	assert_int_equal(hm_bucket_wait_ms(&b, 1, 0), 100);
	assert_int_equal(hm_bucket_wait_ms(&b, 3, 50), 250);
	assert_int_equal(hm_bucket_wait_ms(&b, 6, 50), UINT64_MAX);
	hm_bucket_give(&b, 2);
	assert_int_equal(hm_bucket_tokens(&b, 50), 2);
	hm_bucket_give(&b, 100);
	assert_int_equal(hm_bucket_tokens(&b, 50), 5);
	hm_bucket_drain(&b, 100, 50);
	assert_int_equal(hm_bucket_tokens(&b, 50), 0);
	/* Time that runs backwards earns nothing, and nothing twice. */
	assert_int_equal(hm_bucket_tokens(&b, 10), 0);
	assert_int_equal(hm_bucket_tokens(&b, 150), 1);
	hm_bucket_rate(&b, 1000, 1000, 100, 150);
	assert_int_equal(hm_bucket_tokens(&b, 160), 11);
	/* A year later it is full, not overflown. */
	assert_int_equal(hm_bucket_tokens(&b, 31536000000ull), 100);
}

/* -- adaptive rate -- */

static void test_rate_falls_and_recovers(void **state)
{
	struct hm_aimd a;
	uint64_t t = 0, seconds = 0;

	hm_aimd_init(&a, 0, 0);
	assert_int_equal(hm_aimd_room(&a, 0), UINT64_MAX);
	for (; t < 5000; t += 10) /* 100 a second */
		hm_aimd_sent(&a, 1, t);
	assert_true(hm_aimd_complaint(&a, t));
	assert_true(a.active);
	assert_in_range(a.base, 99000, 101000);
	assert_in_range(a.allowed, 49000, 51000);
	/* The answers of one burst count once. */
	assert_false(hm_aimd_complaint(&a, t + 500));
	assert_in_range(a.allowed, 49000, 51000);
	/* What is allowed is what leaves. */
	{
		unsigned n = 0;

		for (uint64_t end = t + 1000; t < end; t++)
			while (hm_aimd_room(&a, t) > 0) {
				hm_aimd_sent(&a, 1, t);
				n++;
			}
		assert_in_range(n, 44, 58);
	}
	assert_true(hm_aimd_complaint(&a, t));
	assert_in_range(a.allowed, 24000, 29000);
	while (a.active && seconds < 100) {
		t += 1000;
		seconds++;
		(void)hm_aimd_room(&a, t);
	}
	/* 5 % of the base a second: from a quarter back to all in some fifteen. */
	assert_in_range(seconds, 13, 18);
	assert_int_equal(hm_aimd_room(&a, t), UINT64_MAX);
}

static void test_rate_never_stops(void **state)
{
	struct hm_aimd a;
	uint64_t t = 0;

	hm_aimd_init(&a, 0, 0);
	for (; t < 2000; t += 100)
		hm_aimd_sent(&a, 1, t);
	for (int i = 0; i < 50; i++, t += 1000)
		(void)hm_aimd_complaint(&a, t);
	assert_int_equal(a.allowed, HM_AIMD_FLOOR);
	t += hm_aimd_wait_ms(&a, t);
	assert_true(hm_aimd_room(&a, t) > 0);
}

static void test_declared_rate_is_the_ceiling(void **state)
{
	struct hm_aimd a;
	uint64_t t = 0;

	hm_aimd_init(&a, 40000, 0);
	for (; t < 3000; t += 10)
		hm_aimd_sent(&a, 1, t);
	assert_true(hm_aimd_complaint(&a, t));
	assert_int_equal(a.base, 40000);
	assert_int_equal(a.allowed, 20000);
}

/* -- breaker -- */

static const struct hm_breaker_opts opts = {
	.share = 50, .min = 10, .window_ms = 1000, .latency_ms = 0, .open_ms = 200, .probes = 3};

/* A hundred requests on a connection that breaks are one event; a hundred connections that break are a provider that fails. */
static void test_breaker_counts_broken_connections_once(void **state)
{
	struct hm_breaker_opts o = {.share = 50, .min = 20, .window_ms = 10000, .open_ms = 1000, .probes = 3};
	struct hm_breaker_state b;

	hm_breaker_init(&b, &o, 0);
	for (unsigned i = 0; i < 30; i++)
		assert_false(hm_breaker_answer(&b, false, 1000, 100));
	for (unsigned i = 0; i < 500; i++)
		assert_false(hm_breaker_lost(&b, 1000, 200 + i / 100));
	assert_int_equal(b.state, HM_BREAKER_CLOSED);
	for (unsigned i = 0; i < 24; i++)
		assert_false(hm_breaker_lost(&b, 1000, 300 + i));
	assert_true(hm_breaker_lost(&b, 1000, 400));
	assert_int_equal(b.state, HM_BREAKER_OPEN);
	assert_int_equal(b.failed, 30);
}

static void test_breaker_opens_on_share(void **state)
{
	struct hm_breaker_state b;

	hm_breaker_init(&b, &opts, 0);
	for (int i = 0; i < 9; i++) /* too few to judge */
		assert_false(hm_breaker_answer(&b, true, 1000, 10));
	assert_int_equal(hm_breaker_room(&b), UINT32_MAX);
	assert_true(hm_breaker_answer(&b, true, 1000, 10));
	assert_int_equal(b.state, HM_BREAKER_OPEN);
	assert_int_equal(hm_breaker_room(&b), 0);
	assert_int_equal(b.seen, 10);
	assert_int_equal(b.failed, 10);
	assert_int_equal(hm_breaker_wait_ms(&b, 110), 100);
	assert_false(hm_breaker_tick(&b, 209));
	assert_true(hm_breaker_tick(&b, 210));
	assert_int_equal(b.state, HM_BREAKER_HALF_OPEN);
}

static void test_breaker_needs_its_share(void **state)
{
	struct hm_breaker_state b;

	hm_breaker_init(&b, &opts, 0);
	for (int i = 0; i < 1000; i++) /* 33 % */
		assert_false(hm_breaker_answer(&b, i % 3 == 0, 1000, (uint64_t)i));
	/* What is older than the window is forgotten. */
	hm_breaker_init(&b, &opts, 0);
	for (int i = 0; i < 9; i++)
		(void)hm_breaker_answer(&b, true, 1000, 0);
	assert_false(hm_breaker_answer(&b, true, 1000, 1100));
	assert_int_equal(b.state, HM_BREAKER_CLOSED);
}

static void test_probes_decide(void **state)
{
	struct hm_breaker_state b;
	uint64_t t = 0;

	hm_breaker_init(&b, &opts, 0);
	for (int i = 0; i < 10; i++)
		(void)hm_breaker_answer(&b, true, 1000, t);
	t = 200;
	assert_true(hm_breaker_tick(&b, t));
	assert_int_equal(hm_breaker_room(&b), 3);
	hm_breaker_sent(&b, 3);
	assert_int_equal(hm_breaker_room(&b), 0);
	/* An answer to what was sent before says nothing about now. */
	assert_false(hm_breaker_answer(&b, true, 500000, t + 5));
	assert_int_equal(b.state, HM_BREAKER_HALF_OPEN);
	assert_false(hm_breaker_answer(&b, false, 1000, t + 5));
	assert_true(hm_breaker_answer(&b, true, 1000, t + 5));
	assert_int_equal(b.state, HM_BREAKER_OPEN);
	/* Twice as long now. */
	assert_int_equal(hm_breaker_wait_ms(&b, t + 5), 400);
	t += 405;
	assert_true(hm_breaker_tick(&b, t));
	hm_breaker_sent(&b, 3);
	assert_false(hm_breaker_answer(&b, false, 1000, t + 2));
	assert_false(hm_breaker_answer(&b, false, 1000, t + 2));
	assert_true(hm_breaker_answer(&b, false, 1000, t + 2));
	assert_int_equal(b.state, HM_BREAKER_CLOSED);
	/* Well for a whole window: the next time is short again. */
	t += 2000;
	(void)hm_breaker_answer(&b, false, 1000, t);
	for (int i = 0; i < 20; i++)
		(void)hm_breaker_answer(&b, true, 1000, t);
	assert_int_equal(b.state, HM_BREAKER_OPEN);
	assert_int_equal(hm_breaker_wait_ms(&b, t), 200);
}

static void test_open_time_has_a_ceiling(void **state)
{
	struct hm_breaker_state b;
	uint64_t t = 0;

	hm_breaker_init(&b, &opts, 0);
	for (int i = 0; i < 10; i++)
		(void)hm_breaker_answer(&b, true, 1000, t);
	for (int i = 0; i < 20; i++) {
		t += hm_breaker_wait_ms(&b, t);
		assert_true(hm_breaker_tick(&b, t));
		hm_breaker_sent(&b, 1);
		t += 2;
		assert_true(hm_breaker_answer(&b, true, 1000, t));
	}
	assert_int_equal(hm_breaker_wait_ms(&b, t), 2000);
}

static void test_breaker_opens_on_latency(void **state)
{
	struct hm_breaker_opts o = opts;
	struct hm_breaker_state b;

	o.share = 0;
	o.latency_ms = 100;
	hm_breaker_init(&b, &o, 0);
	for (int i = 0; i < 100; i++) /* one in twenty is slow */
		assert_false(hm_breaker_answer(&b, false, i % 20 == 0 ? 150000 : 5000, 10));
	hm_breaker_init(&b, &o, 0);
	for (int i = 0; i < 100 && b.state == HM_BREAKER_CLOSED; i++) /* one in five */
		(void)hm_breaker_answer(&b, false, i % 5 == 0 ? 100000 : 99999, 10);
	assert_int_equal(b.state, HM_BREAKER_OPEN);
	assert_true(b.by_latency);
	assert_true(b.p90_ms >= 100);
	/* Failures alone do not open one whose share is off. */
	hm_breaker_init(&b, &o, 0);
	for (int i = 0; i < 100; i++)
		assert_false(hm_breaker_answer(&b, true, 5000, 10));
}

static void test_lost_probes_are_given_up(void **state)
{
	struct hm_breaker_state b;
	uint64_t t;

	hm_breaker_init(&b, &opts, 0);
	for (int i = 0; i < 10; i++)
		(void)hm_breaker_answer(&b, true, 1000, 0);
	(void)hm_breaker_tick(&b, 200);
	hm_breaker_sent(&b, 3);
	t = 200 + hm_breaker_wait_ms(&b, 200);
	assert_true(hm_breaker_tick(&b, t));
	assert_int_equal(hm_breaker_room(&b), 3);
	/* One that did not leave after all. */
	hm_breaker_sent(&b, 1);
	hm_breaker_unsent(&b, 1);
	assert_int_equal(hm_breaker_room(&b), 3);
}

static void test_breaker_off(void **state)
{
	struct hm_breaker_opts o = opts;
	struct hm_breaker_state b;

	hm_breaker_init(&b, &opts, 0);
	for (int i = 0; i < 10; i++)
		(void)hm_breaker_answer(&b, true, 1000, 0);
	assert_int_equal(b.state, HM_BREAKER_OPEN);
	o.share = 0;
	hm_breaker_opts(&b, &o, 10);
	assert_int_equal(b.state, HM_BREAKER_CLOSED);
	for (int i = 0; i < 1000; i++)
		assert_false(hm_breaker_answer(&b, true, 1000, 20));
}

/* -- budget -- */

static void test_retries_are_a_share(void **state)
{
	struct hm_budget b;
	unsigned granted = 0;
	uint64_t t = 0;

	hm_budget_init(&b, 20, 0, 0);
	assert_false(hm_budget_retry(&b, 0));
	/* Everything fails and would be tried again: 1000 first attempts a second, as many retries wished for. */
	for (; t < 20000; t++) {
		hm_budget_attempts(&b, 1, t);
		if (hm_budget_retry(&b, t)) {
			hm_budget_attempts(&b, 1, t);
			granted++;
		}
	}
	assert_in_range(granted, 3600, 4000);
	/* The first attempts stop: nothing is left when they are older than ten seconds. */
	t += 11000;
	assert_false(hm_budget_retry(&b, t));
}

/* What piled up while the provider failed leaves at once when it is well again. */
static void test_retries_that_succeed_are_free(void **state)
{
	struct hm_budget b;
	unsigned granted = 0;

	hm_budget_init(&b, 20, 5, 0);
	for (unsigned i = 0; i < 50; i++)
		assert_true(hm_budget_retry(&b, 500 * i / 10));
	assert_false(hm_budget_retry(&b, 2500));
	hm_budget_succeeded(&b, 30, 2600); /* of this second and of those before */
	assert_int_equal(hm_budget_left(&b, 2600), 30);
	for (unsigned i = 0; i < 1000; i++) {
		granted += hm_budget_retry(&b, 2700);
		hm_budget_succeeded(&b, 1, 2700);
	}
	assert_int_equal(granted, 1000);
	hm_budget_succeeded(&b, UINT64_MAX, 2700);
	assert_int_equal(hm_budget_left(&b, 2700), 50);
	assert_int_equal(hm_budget_left(&b, 60000), 50);
}

static void test_floor_of_the_budget(void **state)
{
	struct hm_budget b;
	unsigned granted = 0;

	hm_budget_init(&b, 20, 10, 0);
	for (uint64_t t = 0; t < 60000; t++)
		granted += hm_budget_retry(&b, t);
	assert_in_range(granted, 590, 700); /* ten a second */
}

/* -- leases -- */

static struct hm_lease_ask ask(struct hm_lease *l, uint64_t now)
{
	struct hm_lease_ask a;

	assert_int_equal(hm_lease_due_ms(l, now), 0);
	hm_lease_ask(l, &a, now);
	assert_true(l->asking);
	assert_int_equal(hm_lease_due_ms(l, now), UINT64_MAX);
	return a;
}

static void grant(struct hm_lease *l, uint64_t tokens, uint64_t wait, uint32_t permits, uint64_t now)
{
	struct hm_lease_grant g = {.tokens = tokens, .wait_ms = wait, .stamp = now, .permits = permits};

	hm_lease_granted(l, &g, now);
}

static void test_tokens_are_asked_for_when_there_is_work(void **state)
{
	struct hm_lease l;
	struct hm_lease_ask a;
	uint64_t t = 5000;

	hm_lease_init(&l, t);
	hm_lease_limits(&l, true, 0, 10);
	assert_int_equal(hm_lease_room(&l, false, t), 0);
	assert_int_equal(hm_lease_due_ms(&l, t), UINT64_MAX); /* no work: no word to Redis */
	hm_lease_hungry(&l, false, t);
	a = ask(&l, t);
	assert_int_equal(a.want, 1);
	grant(&l, 1, 0, 0, t);
	assert_int_equal(hm_lease_room(&l, false, t), 1);
	hm_lease_take(&l, 1, t);
	hm_lease_hungry(&l, false, t);
	a = ask(&l, t);
	assert_int_equal(a.want, 2); /* one was not enough */
	grant(&l, 2, 50, 0, t);
	hm_lease_take(&l, 2, t);
	hm_lease_hungry(&l, false, t);
	assert_int_equal(hm_lease_due_ms(&l, t + 20), 30); /* as it was told */
	/* Nobody could take anything: it asks again by itself. */
	(void)ask(&l, t + 50);
	grant(&l, 0, 700, 0, t + 50);
	assert_int_equal(hm_lease_due_ms(&l, t + 50), 700);
}

static void test_unused_tokens_go_back(void **state)
{
	struct hm_lease l;
	struct hm_lease_ask a;
	uint64_t t = 5000;

	hm_lease_init(&l, t);
	hm_lease_limits(&l, true, 0, 0);
	hm_lease_hungry(&l, false, t);
	(void)ask(&l, t);
	grant(&l, 8, 0, 0, t);
	hm_lease_take(&l, 3, t + 1);
	hm_lease_done(&l, 3, t + 2);
	t = t + 2 + HM_LEASE_IDLE_MS;
	a = ask(&l, t);
	assert_int_equal(a.back, 5);
	assert_int_equal(a.stamp, 5000);
	assert_int_equal(a.want, 0);
	grant(&l, 0, 0, 0, t);
	assert_int_equal(hm_lease_room(&l, true, t), 0);
	assert_int_equal(hm_lease_due_ms(&l, t + 100000), UINT64_MAX);
}

static void test_old_tokens_are_worth_nothing(void **state)
{
	struct hm_lease l;
	uint64_t t = 5000;

	hm_lease_init(&l, t);
	hm_lease_limits(&l, true, 0, 0);
	hm_lease_hungry(&l, false, t);
	(void)ask(&l, t);
	grant(&l, 4, 0, 0, t);
	assert_int_equal(hm_lease_room(&l, false, t + HM_LEASE_TTL_MS - 1), 4);
	assert_int_equal(hm_lease_room(&l, false, t + HM_LEASE_TTL_MS), 0);
	/* They go back by themselves, whatever it was told about asking for more. */
	hm_lease_hungry(&l, false, t);
	l.next_ms = t + 30000;
	assert_int_equal(ask(&l, t + HM_LEASE_TTL_MS).back, 4);
}

static void test_critical_has_its_share(void **state)
{
	struct hm_lease l;
	struct hm_lease_grant g = {.tokens = 20, .stamp = 5000, .permits = 10, .critical = true};
	uint64_t t = 5000;

	hm_lease_init(&l, t);
	hm_lease_limits(&l, true, 10, 10);
	hm_lease_hungry(&l, true, t);
	assert_true(ask(&l, t).urgent);
	hm_lease_granted(&l, &g, t);
	assert_int_equal(hm_lease_room(&l, true, t), 10);
	assert_int_equal(hm_lease_room(&l, false, t), 9);
	hm_lease_take(&l, 9, t);
	assert_int_equal(hm_lease_room(&l, false, t), 0);
	assert_int_equal(hm_lease_room(&l, true, t), 1);
	hm_lease_done(&l, 9, t);
	hm_lease_take(&l, 9, t);
	hm_lease_done(&l, 9, t);
	/* 2 of 20 tokens are left, both kept. */
	assert_int_equal(hm_lease_room(&l, false, t), 0);
	assert_int_equal(hm_lease_room(&l, true, t), 2);
	/* Critical work does not wait for the time it was told. */
	g.tokens = 0;
	g.wait_ms = 5000;
	hm_lease_take(&l, 2, t);
	hm_lease_done(&l, 2, t);
	hm_lease_hungry(&l, true, t);
	t += HM_LEASE_URGENT_MS;
	(void)ask(&l, t);
	hm_lease_granted(&l, &g, t);
	hm_lease_hungry(&l, true, t);
	assert_int_equal(hm_lease_due_ms(&l, t), HM_LEASE_URGENT_MS);
}

static void test_permits_are_renewed_and_shrink(void **state)
{
	struct hm_lease l;
	struct hm_lease_ask a;
	uint64_t t = 5000;

	hm_lease_init(&l, t);
	hm_lease_limits(&l, false, 10, 0);
	hm_lease_hungry(&l, false, t);
	a = ask(&l, t);
	assert_int_equal(a.permits_want, 10);
	grant(&l, 0, 0, 10, t);
	hm_lease_take(&l, 10, t);
	assert_int_equal(hm_lease_room(&l, false, t), 0);
	assert_int_equal(hm_lease_due_ms(&l, t), HM_LEASE_BEAT_MS);
	t += HM_LEASE_BEAT_MS;
	a = ask(&l, t);
	assert_int_equal(a.permits_used, 10);
	grant(&l, 0, 0, 5, t); /* another shard has come */
	hm_lease_done(&l, 4, t);
	assert_int_equal(hm_lease_room(&l, false, t), 0);
	hm_lease_done(&l, 2, t);
	assert_int_equal(hm_lease_room(&l, false, t), 1);
	/* A lease nobody renewed is over. */
	assert_int_equal(hm_lease_room(&l, false, t + HM_LEASE_PERMIT_MS), 0);
	/* All is answered: back they go. */
	hm_lease_done(&l, 4, t);
	t += HM_LEASE_IDLE_MS;
	a = ask(&l, t);
	assert_int_equal(a.permits_want, 0);
	assert_int_equal(a.permits_used, 0);
	grant(&l, 0, 0, 0, t);
	assert_int_equal(hm_lease_due_ms(&l, t), UINT64_MAX);
}

static void test_redis_away(void **state)
{
	struct hm_lease l;
	uint64_t t = 5000;

	hm_lease_init(&l, t);
	hm_lease_limits(&l, true, 0, 0);
	hm_lease_hungry(&l, false, t);
	(void)ask(&l, t);
	hm_lease_failed(&l, t);
	assert_int_equal(hm_lease_room(&l, true, t), 0);
	assert_int_equal(hm_lease_due_ms(&l, t), HM_LEASE_RETRY_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_twenty_a_minute_are_twenty),
		cmocka_unit_test(test_fractions_are_kept),
		cmocka_unit_test(test_bucket_waits_gives_back_and_changes),
		cmocka_unit_test(test_rate_falls_and_recovers),
		cmocka_unit_test(test_rate_never_stops),
		cmocka_unit_test(test_declared_rate_is_the_ceiling),
		cmocka_unit_test(test_breaker_counts_broken_connections_once),
		cmocka_unit_test(test_breaker_opens_on_share),
		cmocka_unit_test(test_breaker_needs_its_share),
		cmocka_unit_test(test_probes_decide),
		cmocka_unit_test(test_open_time_has_a_ceiling),
		cmocka_unit_test(test_breaker_opens_on_latency),
		cmocka_unit_test(test_lost_probes_are_given_up),
		cmocka_unit_test(test_breaker_off),
		cmocka_unit_test(test_retries_are_a_share),
		cmocka_unit_test(test_retries_that_succeed_are_free),
		cmocka_unit_test(test_floor_of_the_budget),
		cmocka_unit_test(test_tokens_are_asked_for_when_there_is_work),
		cmocka_unit_test(test_unused_tokens_go_back),
		cmocka_unit_test(test_old_tokens_are_worth_nothing),
		cmocka_unit_test(test_critical_has_its_share),
		cmocka_unit_test(test_permits_are_renewed_and_shrink),
		cmocka_unit_test(test_redis_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
