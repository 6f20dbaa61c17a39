/* Quotas per recipient: lines on several shapers and one Redis. */
#include "stage.h"

#define MSGS 400
struct message {
	struct hm_shape_turn turn;
	bool went, waits;
	uint64_t at;
};
static struct message msgs[MSGS];
static unsigned went;

static uint64_t now(void)
{
	return hm_tick_ms(&env.tick);
}

static void on_turn(struct hm_shape_turn *t)
{
	struct message *m = hm_container_of(t, struct message, turn);

	assert_true(m->waits && !m->went);
	m->waits = false;
	m->went = true;
	m->at = now();
	went++;
}

static void send_to(struct side *s, struct message *m, const char *addr)
{
	memset(m, 0, sizeof(*m));
	m->turn.on_turn = on_turn;
	m->waits = true;
	if (hm_shape_turn(s->shape, hm_str_c(addr), &m->turn))
		on_turn(&m->turn);
}

static void begin(const struct hm_quota *q, unsigned n)
{
	struct hm_channel_info info = channel();

	went = 0;
	info.recipient.n = q ? 1 : 0;
	if (q)
		info.recipient.v[0] = *q;
	sides_open(n, &info, NULL);
}

static void test_one_a_second_each_and_together(void **state)
{
	const struct hm_quota q = {.max = 1, .window_ms = 1000};

	begin(&q, 2);
	assert_true(hm_shape_has_lines(sides[0].shape));
	for (unsigned i = 0; i < 4; i++) /* from both processes to one address */
		send_to(&sides[i % 2], &msgs[i], "same");
	for (unsigned i = 0; i < 100; i++) { /* and to a hundred others */
		char addr[16];

		snprintf(addr, sizeof(addr), "other-%u", i);
		send_to(&sides[0], &msgs[10 + i], addr);
	}
	pass(1);
	pass(1);
	assert_int_equal(went, 101);
	for (uint64_t from = now(); now() - from < 4000;)
		pass(20);
	assert_int_equal(went, 104);
	for (unsigned k = 0; k < 2; k++) /* in order, in each process */
		assert_true(msgs[k].at < msgs[k + 2].at);
	for (unsigned i = 0; i < 4; i++) /* and never two within a second */
		for (unsigned k = 0; k < i; k++)
			assert_true(hm_max(msgs[i].at, msgs[k].at) - hm_min(msgs[i].at, msgs[k].at) >= 990);
	sides_close();
}

static void test_twenty_a_minute_to_one(void **state)
{
	const struct hm_quota q = {.max = 20, .window_ms = 60000};

	begin(&q, 1);
	for (unsigned i = 0; i < 50; i++)
		send_to(&sides[0], &msgs[i], "robot");
	for (uint64_t from = now(); now() - from < 1000;)
		pass(10);
	assert_int_equal(went, 20);
	for (uint64_t from = now(); now() - from < 58000;)
		pass(200);
	assert_int_equal(went, 20);
	for (uint64_t from = now(); now() - from < 130000;)
		pass(200);
	assert_int_equal(went, 50);
	for (unsigned i = 1; i < 50; i++)
		assert_true(msgs[i - 1].at <= msgs[i].at);
	sides_close();
}

static void test_leaving_a_line(void **state)
{
	const struct hm_quota q = {.max = 1, .window_ms = 1000};

	begin(&q, 1);
	for (unsigned i = 0; i < 3; i++)
		send_to(&sides[0], &msgs[i], "a");
	hm_shape_turn_leave(&msgs[1].turn);
	hm_shape_turn_leave(&msgs[1].turn);
	for (uint64_t from = now(); now() - from < 1500;)
		pass(20);
	assert_true(msgs[0].went && !msgs[1].went && msgs[2].went);
	/* Those who stand there when the shaper closes are let go. */
	send_to(&sides[0], &msgs[3], "a");
	sides_close();
	assert_null(msgs[3].turn.line);
	hm_shape_turn_leave(&msgs[3].turn);
}

static void test_the_provider_says_not_this_one(void **state)
{
	begin(NULL, 1);
	assert_false(hm_shape_has_lines(sides[0].shape));
	hm_shape_rest_recipient(sides[0].shape, HM_STR("a"), 3000);
	assert_true(hm_shape_has_lines(sides[0].shape));
	send_to(&sides[0], &msgs[0], "a");
	send_to(&sides[0], &msgs[1], "b");
	assert_false(msgs[0].went);
	assert_true(msgs[1].went);
	pass(2000);
	assert_false(msgs[0].went);
	pass(1100);
	assert_true(msgs[0].went);
	pass(10);
	assert_false(hm_shape_has_lines(sides[0].shape));
	sides_close();
}

static void test_large_quotas_are_not_asked_for(void **state)
{
	const struct hm_quota q = {.max = 320, .window_ms = 60000};

	begin(&q, 1);
	for (unsigned i = 0; i < 10; i++)
		send_to(&sides[0], &msgs[i], "device");
	assert_int_equal(went, 10); /* its own part: no word to Redis */
	for (unsigned i = 10; i < MSGS; i++)
		send_to(&sides[0], &msgs[i], "device");
	for (uint64_t from = now(); now() - from < 50000;)
		pass(100);
	assert_in_range(went, 150, 320);
	sides_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_one_a_second_each_and_together, fresh),
		cmocka_unit_test_setup(test_twenty_a_minute_to_one, fresh),
		cmocka_unit_test_setup(test_leaving_a_line, fresh),
		cmocka_unit_test_setup(test_the_provider_says_not_this_one, fresh),
		cmocka_unit_test_setup(test_large_quotas_are_not_asked_for, fresh),
	};

	return cmocka_run_group_tests(tests, stage_up, stage_down);
}
