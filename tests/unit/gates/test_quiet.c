/* Quiet hours: against a table of Python's zoneinfo, and minute by minute; calendars of caps in the same zones. */
#include "stage.h"

#include "gates/gates_int.h"

static struct hm_quiet_answer check(const char *tz, uint64_t ms, enum hm_lane lane)
{
	struct hm_gate_subject s = message(1, "u");
	struct hm_quiet_answer q;

	s.tz = hm_str_c(tz);
	s.now_ms = ms;
	s.lane = (uint8_t)lane;
	hm_quiet_check(&s, &q);
	return q;
}

static const struct row {
	const char *zone, *window, *day;
	int64_t begin, end;
} rows[] = {
#include "quiet_table.h"
};

/* Just before, first and last moment, just after, of a window that begins on one weekday. */
static void test_table(void **state)
{
	for (size_t i = 0; i < hm_countof(rows); i++) {
		const struct row *r = &rows[i];
		uint64_t begin = (uint64_t)r->begin * 1000, end = (uint64_t)r->end * 1000, in;

		configure(CHANNELS "quiet_hours: {q: {windows: {days: %s, from: \"%.5s\", to: \"%.5s\"}}}\n",
			  r->day, r->window, r->window + 6);
		in = check(r->zone, begin, HM_LANE_BULK).until_ms;
		if (check(r->zone, begin - 1, HM_LANE_BULK).until_ms || in != (begin < end ? end : 0) ||
		    (begin < end && check(r->zone, end - 1, HM_LANE_BULK).until_ms != end) ||
		    check(r->zone, end, HM_LANE_BULK).until_ms)
			fail_msg("%s %s %s: %llu..%llu, at its begin until %llu, at its end %llu", r->zone,
				 r->window, r->day, (unsigned long long)begin, (unsigned long long)end,
				 (unsigned long long)in,
				 (unsigned long long)check(r->zone, end, HM_LANE_BULK).until_ms);
	}
}

/* A second opinion, from the readings of the clock alone: a window of a day has begun when some earlier minute showed its
 * begin or more. Walks once, so what is asked must ascend. */
struct walk {
	const struct hm_tz *tz;
	int64_t t, furthest; /* latest reading shown so far */
};

static int64_t walk_to(struct walk *w, int64_t t)
{
	for (; w->t <= t; w->t += 60)
		w->furthest = hm_max(w->furthest, w->t + hm_tz_offset(w->tz, w->t, NULL));
	return w->furthest;
}

static void test_by_minutes(void **state)
{
	static const struct {
		const char *zone;
		int64_t from;
	} t[] = {{"Europe/Berlin", 1743206400},
		 {"Europe/Berlin", 1761350400},
		 {"America/New_York", 1772841600},
		 {"America/New_York", 1793404800},
		 {"Australia/Lord_Howe", 1775260800},
		 {"Australia/Lord_Howe", 1790985600},
		 {"Asia/Shanghai", 1771200000},
		 {"Asia/Beirut", 1761350400},
		 {"+05:45", 1771200000}};
	static const struct {
		int days, from, to; /* as in the configuration below */
	} w[] = {{0x7f, 22 * 60, 8 * 60}, {0x60, 21 * 60, 10 * 60}, {0x40, 90, 150}};

	configure(CHANNELS
		  "quiet_hours:\n"
		  "  q:\n"
		  "    windows: [\"22:00-08:00\", {days: [sat, sun], from: \"21:00\", to: \"10:00\"},\n"
		  "              {days: sun, from: \"01:30\", to: \"02:30\"}]\n");
	for (size_t i = 0; i < hm_countof(t); i++) {
		struct walk walk = {
			.tz = hm_tz_find(hm_str_c(t[i].zone)), .t = t[i].from - 3 * 86400, .furthest = 0};
		int64_t quiet_until = 0;

		for (int64_t at = t[i].from; at < t[i].from + 4 * 86400; at += 60) {
			int64_t local = walk_to(&walk, at), day = hm_floor_div(local, 86400);
			struct hm_quiet_answer q = check(t[i].zone, (uint64_t)at * 1000, HM_LANE_NORMAL);
			bool quiet = false;

			for (size_t k = 0; k < hm_countof(w); k++)
				for (int64_t d = day - 2; d <= day; d++) {
					int64_t end = d + (w[k].to <= w[k].from);

					quiet = quiet || ((w[k].days >> (d + 3) % 7 & 1) &&
							  local >= d * 86400 + w[k].from * 60 &&
							  local < end * 86400 + w[k].to * 60);
				}
			if (quiet != (q.until_ms > 0))
				fail_msg("%s at %lld: %squiet expected", t[i].zone, (long long)at,
					 quiet ? "" : "not ");
			if (quiet_until && at < quiet_until && q.until_ms != (uint64_t)quiet_until * 1000)
				fail_msg("%s at %lld: the end moved", t[i].zone, (long long)at);
			assert_true(q.until_ms == 0 || q.until_ms > (uint64_t)at * 1000);
			if (quiet_until && at >= quiet_until && at - 60 < quiet_until)
				assert_false(quiet); /* it ends where it said */
			quiet_until = (int64_t)(q.until_ms / 1000);
		}
	}
}

static void test_rules(void **state)
{
	struct hm_gate_subject s;
	struct hm_quiet_answer q;
	uint64_t night = T0 + 11 * HOUR; /* 23:00 UTC */

	configure(CHANNELS
		  "gates: {default_tz: UTC}\n"
		  "quiet_hours:\n"
		  "  sms: {medium: sms, windows: \"22:00-08:00\"}\n"
		  "  news: {category: news, windows: \"07:00-09:30\", when: drop, except_lanes: []}\n"
		  "  gold: {tenant: gold, windows: \"22:00-23:30\", when: {route: r}}\n"
		  "categories: {otp: {quiet_hours: false}}\n");
	q = check("", night, HM_LANE_NORMAL);
	assert_int_equal(q.until_ms, T0 + 20 * HOUR);
	assert_int_equal(q.policy, HM_POLICY_DEFER);
	assert_true(hm_str_is(q.name, "sms"));
	assert_int_equal(check("", night, HM_LANE_CRITICAL).until_ms, 0);
	assert_int_equal(check("Asia/Shanghai", night, HM_LANE_BULK).until_ms,
			 T0 + 12 * HOUR); /* 07:00 there */
	assert_int_equal(check("Asia/Shanghai", night + HOUR, HM_LANE_BULK).until_ms, 0);
	assert_int_equal(check("No/Where", night, HM_LANE_NORMAL).until_ms, T0 + 20 * HOUR);
	s = message(1, "u");
	s.now_ms = night;
	s.medium = HM_MED_PUSH;
	hm_quiet_check(&s, &q);
	assert_int_equal(q.until_ms, 0);
	s.tenant = HM_STR("gold");
	hm_quiet_check(&s, &q);
	assert_int_equal(q.policy, HM_POLICY_ROUTE);
	assert_true(hm_str_is(q.route, "r"));
	assert_int_equal(q.until_ms, T0 + 11 * HOUR + 30 * MINUTE);
	/* one rule goes on where the other ends: outside of both */
	s.medium = HM_MED_SMS;
	s.category = HM_STR("news");
	hm_quiet_check(&s, &q);
	assert_int_equal(q.until_ms, T0 + 21 * HOUR + 30 * MINUTE);
	assert_true(hm_str_is(q.name, "sms"));
	s.now_ms = T0 + 20 * HOUR + 30 * MINUTE;
	s.lane = HM_LANE_CRITICAL;
	hm_quiet_check(&s, &q);
	assert_true(hm_str_is(q.name, "news"));
	assert_int_equal(q.policy, HM_POLICY_DROP);
	s.category = HM_STR("otp");
	s.lane = HM_LANE_NORMAL;
	s.now_ms = night;
	hm_quiet_check(&s, &q);
	assert_int_equal(q.until_ms, 0);
	/* for ever ends somewhere */
	configure(CHANNELS "quiet_hours: {q: {windows: \"00:00-24:00\"}}\n");
	assert_in_range(check("", night, HM_LANE_NORMAL).until_ms, night + DAY, night + 100 * DAY);
}

/* Calendar spans join without gaps and hold the moment asked about. */
static void test_calendars(void **state)
{
	static const char *const zones[] = {
		"Europe/Berlin",     "America/New_York", "Australia/Lord_Howe", "Asia/Shanghai",
		"America/Sao_Paulo", "Asia/Beirut",	 "Pacific/Apia",	"-03:30"};

	for (size_t z = 0; z < hm_countof(zones); z++)
		for (int per = HM_PER_DAY; per <= HM_PER_MONTH; per++) {
			const struct hm_tz *tz = hm_tz_find(hm_str_c(zones[z]));
			uint64_t end = 1262304000000, from, to, again_from, again_to; /* 2010 */
			unsigned n = 0;

			gates_calendar(tz, (enum hm_cap_per)per, end, &from, &end);
			for (; end < 1640995200000; n++) { /* 2022 */
				int64_t s = (int64_t)(end / 1000), local = s + hm_tz_offset(tz, s, NULL);
				struct hm_civil c = hm_civil_of(local);

				gates_calendar(tz, (enum hm_cap_per)per, end, &from, &to);
				assert_int_equal(from, end);
				assert_true(to > from);
				if (per == HM_PER_MONTH)
					assert_int_equal(c.day, 1);
				if (per == HM_PER_WEEK)
					assert_int_equal((hm_floor_div(local, 86400) + 3) % 7, 0);
				assert_true(c.hour * 60 + c.minute <=
					    60); /* midnight, or where it was skipped to */
				gates_calendar(tz, (enum hm_cap_per)per, to - 1, &again_from, &again_to);
				assert_int_equal(again_from, from);
				assert_int_equal(again_to, to);
				end = to;
			}
			assert_in_range(n,
					per == HM_PER_DAY    ? 4380
					: per == HM_PER_WEEK ? 625
							     : 143,
					per == HM_PER_DAY    ? 4384
					: per == HM_PER_WEEK ? 627
							     : 145);
		}
}

static int teardown(void **state)
{
	hm_config_unref(cfg);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_by_minutes),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_calendars),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
