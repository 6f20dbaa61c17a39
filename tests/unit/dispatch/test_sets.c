/* The cancel set and the in-flight table. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "dispatch/cancel.h"
#include "dispatch/inflight.h"

static bool hm_cancel_has(const struct hm_cancel_set *s, const struct hm_ulid *msg, const struct hm_ulid *job,
			  struct hm_str campaign)
{
	struct hm_mark_labels l = {.job = *job, .campaign = campaign};

	return hm_cancel_id(s, msg) || hm_ulid_ms(msg) <= hm_cancel_since(s, &l);
}

static void marks_hit_message_job_and_campaign(void **state)
{
	struct hm_cancel_set *s = hm_cancel_new();
	struct hm_ulid job, msg, other;
	uint64_t now = 1700000000000u;

	assert_non_null(s);
	hm_ulid_new(&job, now);
	msg = job;
	hm_ulid_add(&msg, 5);
	hm_ulid_new(&other, now + 1);
	assert_false(hm_cancel_has(s, &msg, &job, HM_STR("spring")));
	assert_true(hm_cancel_add_id(s, &job, now + 10));
	assert_true(hm_cancel_has(s, &msg, &job, HM_STR_NULL));
	assert_false(hm_cancel_has(s, &other, &other, HM_STR_NULL));
	assert_true(hm_cancel_add(s, HM_MARK_CAMPAIGN, HM_STR("spring"), now + 10));
	assert_true(hm_cancel_has(s, &other, &other, HM_STR("spring")));
	assert_false(hm_cancel_has(s, &other, &other, HM_STR("summer")));
	hm_ulid_new(&other, now + 11); /* accepted after the mark: not meant */
	assert_false(hm_cancel_has(s, &other, &other, HM_STR("spring")));
	hm_cancel_free(s);
}

#define MARKS 50000
static struct hm_ulid ids[MARKS];

static void *look(void *arg)
{
	const struct hm_cancel_set *s = arg;

	while (!hm_cancel_has(s, &ids[MARKS - 1], &ids[MARKS - 1], HM_STR_NULL))
		;
	return NULL;
}

static void readers_see_marks_while_the_table_grows(void **state)
{
	struct hm_cancel_set *s = hm_cancel_new();
	pthread_t t;

	for (int i = 0; i < MARKS; i++)
		hm_ulid_new(&ids[i], 1700000000000u);
	assert_int_equal(pthread_create(&t, NULL, look, s), 0);
	for (int i = 0; i < MARKS; i++)
		assert_true(hm_cancel_add_id(s, &ids[i], 1700000001000u));
	pthread_join(t, NULL);
	for (int i = 0; i < MARKS; i++)
		assert_true(hm_cancel_has(s, &ids[i], &ids[i], HM_STR_NULL));
	hm_cancel_prune(s, 1800000000000u);
	assert_false(hm_cancel_has(s, &ids[0], &ids[0], HM_STR_NULL));
	hm_cancel_free(s);
}

static void what_was_in_flight_is_known_after_a_crash(void **state)
{
	char dir[] = "/tmp/hm-inflight-XXXXXX", path[100];
	struct hm_inflight_old *old;
	struct hm_inflight *f;
	struct hm_ulid id[3];
	struct hm_err e = {0};
	uint32_t slot[3];

	assert_non_null(mkdtemp(dir));
	for (int run = 0; run < 2; run++) {
		assert_int_equal(hm_inflight_load(hm_str_c(dir), &old, &e), 0);
		if (run == 0) {
			assert_int_equal(hm_inflight_old_count(old), 0);
			assert_int_equal(hm_inflight_open(hm_str_c(dir), 0, 2, &f, &e), 0);
			for (int i = 0; i < 3; i++)
				hm_ulid_new(&id[i], hm_clock_wall_ms());
			slot[0] = hm_inflight_put(f, &id[0]);
			slot[1] = hm_inflight_put(f, &id[1]);
			assert_int_equal(hm_inflight_put(f, &id[2]), HM_INFLIGHT_NONE);
			hm_inflight_clear(f, slot[0]);
			slot[2] = hm_inflight_put(f, &id[2]);
			assert_int_not_equal(slot[2], HM_INFLIGHT_NONE);
			assert_int_equal(hm_inflight_free_slots(f), 0);
			hm_inflight_close(f); /* without clearing: as after kill -9 */
		} else {
			assert_int_equal(hm_inflight_old_count(old), 2);
			assert_int_equal(hm_inflight_runs(old, &id[0]), 0);
			assert_int_equal(hm_inflight_runs(old, &id[1]), 1);
			assert_int_equal(hm_inflight_runs(old, &id[2]), 1);
			/* a second crash before anything was recovered forgets nothing */
			assert_int_equal(hm_inflight_open(hm_str_c(dir), 0, 2, &f, &e), 0);
			hm_inflight_put(f, &id[2]); /* but this one is sent and lost again */
			hm_inflight_close(f);
			hm_inflight_old_free(old);
			assert_int_equal(hm_inflight_load(hm_str_c(dir), &old, &e), 0);
			assert_int_equal(hm_inflight_runs(old, &id[0]), 0);
			assert_int_equal(hm_inflight_runs(old, &id[1]), 1);
			assert_int_equal(hm_inflight_runs(old, &id[2]), 2);
		}
		hm_inflight_old_free(old);
	}
	snprintf(path, sizeof(path), "rm -r %s", dir);
	assert_int_equal(system(path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(marks_hit_message_job_and_campaign),
		cmocka_unit_test(readers_see_marks_while_the_table_grows),
		cmocka_unit_test(what_was_in_flight_is_known_after_a_crash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
