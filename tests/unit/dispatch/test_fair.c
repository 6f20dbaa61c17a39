/* The order in which tenants of a lane are served. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "dispatch/fair.h"

#define N 64
static struct hm_node node[N];
static struct hm_tenant *owner[N];
static struct hm_fair f;

static void put(int i, const char *tenant, uint32_t weight)
{
	owner[i] = hm_fair_get(&f, hm_str_c(tenant), weight);
	hm_fair_push(&f, owner[i], &node[i]);
}

static int at(const struct hm_node *n)
{
	return (int)(n - node);
}

/* Sends one message of the node whose turn it is; returns the initial of its tenant. */
static char step(void)
{
	struct hm_node *n = hm_fair_first(&f);

	if (n == NULL)
		return 0;
	hm_fair_charge(&f, owner[at(n)]);
	return owner[at(n)]->name_len ? owner[at(n)]->name[0] : '-';
}

/* ... and all of it. */
static char step_out(void)
{
	struct hm_node *n = hm_fair_first(&f);
	char c = step();

	if (n != NULL) {
		hm_fair_remove(&f, owner[at(n)], n);
		hm_fair_put(&f, owner[at(n)]);
	}
	return c;
}

static const char *steps(int n)
{
	static char out[128];

	for (int i = 0; i < n; i++)
		out[i] = step();
	out[n] = '\0';
	return out;
}

static void empty(void)
{
	while (step_out())
		;
	hm_fair_fini(&f);
}

static void one_tenant_is_a_list(void **state)
{
	hm_fair_init(&f, 16);
	for (int i = 0; i < 40; i++)
		put(i, "", 1);
	for (int i = 0; i < 40; i++) {
		struct hm_node *n = hm_fair_first(&f);

		assert_int_equal(at(n), i);
		assert_int_equal(step_out(), '-');
	}
	assert_null(hm_fair_first(&f));
	hm_fair_fini(&f);
}

static void equal_tenants_take_turns(void **state)
{
	hm_fair_init(&f, 1);
	put(0, "a", 1);
	put(1, "b", 1);
	put(2, "c", 1);
	assert_string_equal(steps(9), "abcabcabc");
	empty();
	hm_fair_init(&f, 3);
	put(0, "a", 1);
	put(1, "b", 1);
	assert_string_equal(steps(12), "aaabbbaaabbb");
	empty();
}

static void weights_are_shares(void **state)
{
	int n[128] = {0};

	for (uint32_t turn = 1; turn <= 16; turn *= 4) {
		memset(n, 0, sizeof(n));
		hm_fair_init(&f, turn);
		put(0, "a", 3);
		put(1, "b", 1);
		put(2, "", 1);
		for (int i = 0; i < 1000; i++)
			n[(int)step()]++;
		assert_in_range(n['a'], 600 - turn, 600 + turn);
		assert_in_range(n['b'], 200 - turn, 200 + turn);
		assert_in_range(n['-'], 200 - turn, 200 + turn);
		empty();
	}
}

static void many_jobs_are_no_more_than_one(void **state)
{
	int b = 0;

	hm_fair_init(&f, 1);
	for (int i = 0; i < 50; i++)
		put(i, "a", 1);
	put(50, "b", 1);
	for (int i = 0; i < 20; i++)
		b += step() == 'b';
	assert_int_equal(b, 10);
	empty();
}

/* Who comes late does not wait for what others have been given, nor gets what it has missed. */
static void who_comes_late_starts_where_the_others_are(void **state)
{
	int b = 0;

	hm_fair_init(&f, 1);
	put(0, "a", 1);
	for (int i = 0; i < 1000; i++)
		(void)step();
	put(1, "b", 1);
	for (int i = 0; i < 100; i++)
		b += step() == 'b';
	assert_in_range(b, 49, 51);
	assert_non_null(strchr(steps(4), 'a'));
	empty();
}

/* A full channel: everything leaves the queues after each message and comes back when there is room for one more. */
static void parked_jobs_keep_their_place(void **state)
{
	int n[128] = {0};

	hm_fair_init(&f, 4);
	for (int i = 0; i < 10; i++)
		put(i, "a", 3);
	put(10, "b", 1);
	for (int round = 0; round < 400; round++) {
		struct hm_node *parked[12]; /* and the NULL behind them */
		int k = 0;

		n[(int)step()]++;
		while ((parked[k] = hm_fair_first(&f)) != NULL) {
			hm_fair_remove(&f, owner[at(parked[k])], parked[k]);
			k++;
		}
		assert_int_equal(k, 11);
		for (int i = 0; i < k; i++)
			hm_fair_push(&f, owner[at(parked[i])], parked[i]);
	}
	assert_in_range(n['a'], 292, 308);
	assert_in_range(n['b'], 92, 108);
	empty();
}

static void weights_change_while_they_wait(void **state)
{
	int n[128] = {0};

	hm_fair_init(&f, 1);
	put(0, "a", 1);
	put(1, "b", 1);
	for (int i = 0; i < 100; i++)
		(void)step();
	hm_fair_weight(owner[1], 4);
	for (int i = 0; i < 100; i++)
		n[(int)step()]++;
	assert_in_range(n['b'], 78, 82);
	empty();
}

static void tenants_are_bounded_and_go_with_their_jobs(void **state)
{
	static struct hm_tenant *t[HM_FAIR_MAX + 2];
	char name[20];

	hm_fair_init(&f, 1);
	for (int i = 0; i < HM_FAIR_MAX + 2; i++) {
		snprintf(name, sizeof(name), "t%d", i);
		t[i] = hm_fair_get(&f, hm_str_c(name), 1);
		assert_non_null(t[i]);
	}
	assert_int_equal(f.tenants.len, HM_FAIR_MAX);
	assert_ptr_equal(t[HM_FAIR_MAX], &f.none); /* one too many: with the nameless */
	assert_ptr_equal(hm_fair_get(&f, HM_STR("t7"), 1), t[7]);
	hm_fair_put(&f, t[7]);
	for (int i = 0; i < HM_FAIR_MAX + 2; i++)
		hm_fair_put(&f, t[i]);
	assert_int_equal(f.tenants.len, 0);
	assert_null(hm_fair_find(&f, HM_STR("t7")));
	hm_fair_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_tenant_is_a_list),
		cmocka_unit_test(equal_tenants_take_turns),
		cmocka_unit_test(weights_are_shares),
		cmocka_unit_test(many_jobs_are_no_more_than_one),
		cmocka_unit_test(who_comes_late_starts_where_the_others_are),
		cmocka_unit_test(parked_jobs_keep_their_place),
		cmocka_unit_test(weights_change_while_they_wait),
		cmocka_unit_test(tenants_are_bounded_and_go_with_their_jobs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
