/*
 * test_ledger.c - records in, look-ups and the balance out; repeats; sealing; reopening
 */
#include "shard.h"

#include <sys/stat.h>

static struct hm_ledger *l;
static struct shard s;
static const char *dir;

static int setup(void **state)
{
	dir = temp_dir();
	l = open_ledger(dir, 0, 0);
	shard_init(&s, l);
	return 0;
}

static int teardown(void **state)
{
	shard_fini(&s);
	assert_verified(l);
	hm_ledger_close(l);
	rm_rf(dir);
	return 0;
}

static void reopen(uint32_t segment_bytes)
{
	shard_fini(&s);
	hm_ledger_close(l);
	l = open_ledger(dir, segment_bytes, 0);
	shard_init(&s, l);
}

static void test_a_message_comes_back_whole(void **state)
{
	const struct hm_ledger_attempt attempts[] = {
		{.channel = HM_STR("apns-eu"),
		 .outcome = HM_OUT_UNKNOWN,
		 .at_ms = 1700000000100,
		 .took_us = 5000000,
		 .reason = HM_STR("no answer in 5000 ms")},
		{.channel = HM_STR("apns-main"),
		 .outcome = HM_OUT_OK,
		 .status = 200,
		 .at_ms = 1700000006000,
		 .took_us = 812,
		 .provider_id = HM_STR("0E9F-1")},
	};
	struct hm_ulid job = id_at_ms(1700000000000);
	struct hm_ledger_msg m = a_msg(&job, 7, HM_ST_SENT, "spring"), got;
	struct hm_ledger_job j;
	struct hm_arena a;
	struct hm_err e;

	m.user = HM_STR("u-1001");
	m.address = HM_STR("a1b2c3");
	m.reason = HM_STR("accepted");
	m.attempts = attempts;
	m.n_attempts = 2;
	put_job(&s, &job, 10, "spring");
	shard_wait(&s, hm_ledger_put_msg(s.w, &m));
	hm_arena_init(&a, NULL, 0);
	assert_int_equal(hm_ledger_get_msg(l, &m.id, &a, &got, &e), 0);
	assert_true(hm_ulid_eq(&got.id, &m.id) && hm_ulid_eq(&got.job, &job));
	assert_int_equal(got.state, HM_ST_SENT);
	assert_int_equal(got.lane, HM_LANE_NORMAL);
	assert_int_equal(got.accepted_ms, 1700000000000);
	assert_int_equal(got.updated_ms, 1700000000020);
	assert_true(hm_str_is(got.user, "u-1001") && hm_str_is(got.address, "a1b2c3"));
	assert_true(hm_str_is(got.campaign, "spring") && hm_str_is(got.channel, "apns-main"));
	assert_true(hm_str_is(got.template_ref, "price@3") && hm_str_is(got.reason, "accepted"));
	assert_int_equal(got.n_attempts, 2);
	assert_true(hm_str_is(got.attempts[0].channel, "apns-eu"));
	assert_int_equal(got.attempts[0].outcome, HM_OUT_UNKNOWN);
	assert_int_equal(got.attempts[0].took_us, 5000000);
	assert_true(hm_str_is(got.attempts[0].reason, "no answer in 5000 ms"));
	assert_true(hm_str_is(got.attempts[1].channel, "apns-main"));
	assert_int_equal(got.attempts[1].status, 200);
	assert_int_equal(got.attempts[1].at_ms, 1700000006000);
	assert_true(hm_str_is(got.attempts[1].provider_id, "0E9F-1"));
	assert_int_equal(hm_ledger_get_job(l, &job, &a, &j, &e), 0);
	assert_int_equal(j.n, 10);
	assert_true(hm_str_is(j.campaign, "spring") && hm_str_is(j.template_ref, "price@3"));
	assert_int_equal(hm_ledger_get_job(l, &m.id, &a, &j, &e), HM_ENOENT);
	assert_int_equal(total(l).unknown_attempts, 1);
	hm_arena_fini(&a);
}

static void test_json_names_state_and_attempts(void **state)
{
	const struct hm_ledger_attempt t = {.channel = HM_STR("apns-main"),
					    .outcome = HM_OUT_BAD_REQUEST,
					    .status = 400,
					    .at_ms = 1700000000100,
					    .took_us = 900,
					    .reason = HM_STR("say \"hi\"")};
	struct hm_ulid job;
	struct hm_ledger_msg m;
	struct hm_buf b;

	assert_true(hm_ulid_parse(HM_STR("01HF7YAT00000000000000000A"), &job));
	m = a_msg(&job, 0, HM_ST_FAILED, "spring");
	m.attempts = &t;
	m.n_attempts = 1;
	hm_buf_init(&b, 4096);
	hm_ledger_msg_json(&m, &b);
	assert_string_equal(
		hm_buf_cstr(&b),
		"{\"id\":\"01HF7YAT00000000000000000A\",\"job\":\"01HF7YAT00000000000000000A\","
		"\"state\":\"failed\",\"lane\":\"normal\",\"accepted_at\":\"2023-11-14T22:13:20.000Z\","
		"\"updated_at\":\"2023-11-14T22:13:20.020Z\",\"campaign\":\"spring\","
		"\"channel\":\"apns-main\",\"template\":\"price@3\",\"attempts\":[{\"at\":"
		"\"2023-11-14T22:13:20.100Z\",\"channel\":\"apns-main\",\"outcome\":\"bad_request\","
		"\"status\":400,\"took_us\":900,\"reason\":\"say \\\"hi\\\"\"}]}");
	hm_buf_fini(&b);
}

static void test_balance_counts_every_state(void **state)
{
	static const enum hm_state finals[] = {HM_ST_SENT,    HM_ST_SENT,	HM_ST_SENT,
					       HM_ST_FAILED,  HM_ST_SUPPRESSED, HM_ST_CAPPED,
					       HM_ST_EXPIRED, HM_ST_CANCELLED};
	struct hm_ulid job = id_at_ms(1700000000000), other = id_at_ms(1700000000001);
	struct hm_ledger_balance b;

	put_job(&s, &job, 10, "spring");
	put_job(&s, &other, 3, "");
	for (uint32_t i = 0; i < hm_countof(finals); i++)
		put_state(&s, &job, i, finals[i], "spring", false);
	shard_wait(&s, put_state(&s, &job, 8, HM_ST_HELD, "spring", false));
	b = total(l);
	assert_int_equal(b.accepted, 13);
	assert_int_equal(hm_ledger_balance_of(&b, HM_ST_SENT), 3);
	assert_int_equal(b.by_state[HM_ST_FAILED], 1);
	assert_int_equal(b.by_state[HM_ST_SUPPRESSED], 1);
	assert_int_equal(b.by_state[HM_ST_CAPPED], 1);
	assert_int_equal(b.by_state[HM_ST_EXPIRED], 1);
	assert_int_equal(b.by_state[HM_ST_CANCELLED], 1);
	assert_int_equal(b.by_state[HM_ST_HELD], 0);
	assert_int_equal(b.pending, 5); /* 8 and 9 of spring, all 3 of the other */
	assert_true(hm_ledger_balanced(&b));
}

struct rows {
	size_t n;
	char name[8][16];
	uint64_t accepted[8];
};
static bool on_row(void *arg, const struct hm_ledger_balance *b)
{
	struct rows *r = arg;

	snprintf(r->name[r->n], sizeof(r->name[0]), "%.*s", HM_STRF(b->campaign));
	r->accepted[r->n++] = b->accepted;
	return true;
}

static void test_campaigns_come_in_order(void **state)
{
	struct hm_ulid a = id_at_ms(1), b = id_at_ms(2), c = id_at_ms(3);
	struct rows r = {.n = 0};
	struct hm_err e;

	put_job(&s, &a, 5, "winter");
	put_job(&s, &b, 2, "autumn");
	shard_wait(&s, put_job(&s, &c, 1, ""));
	assert_int_equal(hm_ledger_each_campaign(l, on_row, &r, &e), 0);
	assert_int_equal(r.n, 3);
	assert_string_equal(r.name[0], "");
	assert_string_equal(r.name[1], "autumn");
	assert_string_equal(r.name[2], "winter");
	assert_int_equal(r.accepted[2], 5);
}

static void test_final_record_is_never_replaced(void **state)
{
	struct hm_ulid job = id_at_ms(1700000000000);
	struct hm_ledger_balance b;

	put_job(&s, &job, 3, "c");
	put_state(&s, &job, 0, HM_ST_SENT, "c", false);
	shard_wait(&s, put_state(&s, &job, 0, HM_ST_FAILED, "c", true)); /* the same tick */
	assert_int_equal(state_of(l, &job, 0), HM_ST_SENT);
	shard_wait(&s, put_state(&s, &job, 0, HM_ST_FAILED, "c", true)); /* a later one */
	shard_wait(&s, put_state(&s, &job, 0, HM_ST_HELD, "c", true));	 /* dropped, not a repeat */
	assert_int_equal(state_of(l, &job, 0), HM_ST_SENT);
	b = total(l);
	assert_int_equal(b.repeats, 2);
	assert_int_equal(b.by_state[HM_ST_SENT], 1);
	assert_int_equal(b.by_state[HM_ST_FAILED], 0);
	assert_int_equal(b.pending, 2);
	reopen(0);
	assert_int_equal(total(l).repeats, 2);
	assert_int_equal(state_of(l, &job, 0), HM_ST_SENT);
	shard_wait(&s, put_state(&s, &job, 0, HM_ST_EXPIRED, "c", true)); /* known after a restart too */
	assert_int_equal(total(l).repeats, 3);
}

static void test_repeat_is_found_in_older_segments(void **state)
{
	struct hm_ulid job = id_at_ms(1700000000000), more = id_at_ms(1700000000500);

	reopen(16384);
	put_job(&s, &job, 2, "c");
	put_state(&s, &job, 1, HM_ST_HELD, "c", false);
	shard_wait(&s, put_state(&s, &job, 0, HM_ST_SENT, "c", false));
	put_job(&s, &more, 2000, "c");
	for (uint32_t i = 0; i < 2000; i++) {
		uint64_t t = put_state(&s, &more, i, HM_ST_SENT, "c", false);

		if (i % 50 == 49)
			shard_wait(&s, t);
	}
	hm_ledger_settle(l);
	assert_true(l->segs->n > 5);
	assert_null(l->segs->v[0]->mem); /* on disk, and compressed */
	shard_wait(&s, put_state(&s, &job, 0, HM_ST_SENT, "c", true));
	assert_int_equal(total(l).repeats, 1);
	shard_wait(&s, put_state(&s, &job, 1, HM_ST_SENT, "c", true)); /* the interim one may end */
	assert_int_equal(total(l).repeats, 1);
	assert_int_equal(state_of(l, &job, 1), HM_ST_SENT);
	assert_int_equal(total(l).by_state[HM_ST_SENT], 2002);
	assert_int_equal(total(l).pending, 0);
}

static void test_interim_then_final_then_delivered(void **state)
{
	const struct hm_ledger_attempt t = {
		.channel = HM_STR("x"), .outcome = HM_OUT_UNKNOWN, .at_ms = 1700000000100};
	struct hm_ulid job = id_at_ms(1700000000000);
	struct hm_ledger_msg m = a_msg(&job, 0, HM_ST_HELD, "c");
	struct hm_ledger_balance b;
	struct seen seen = {.n = 0};
	struct hm_err e;

	put_job(&s, &job, 1, "c");
	m.attempts = &t;
	m.n_attempts = 1;
	m.address = HM_STR("a");
	shard_wait(&s, hm_ledger_put_msg(s.w, &m));
	assert_int_equal(total(l).pending, 1);
	assert_int_equal(total(l).unknown_attempts, 1);
	assert_int_equal(hm_ledger_by_campaign(l, HM_STR("c"), HM_ST_HELD, NULL, 10, on_seen, &seen, &e), 0);
	assert_int_equal(seen.n, 1);
	m.state = HM_ST_SENT;
	m.maybe_repeat = true;
	shard_wait(&s, hm_ledger_put_msg(s.w, &m));
	b = total(l);
	assert_int_equal(b.pending, 0);
	assert_int_equal(b.unknown_attempts, 1); /* the same attempt, not another */
	m.state = HM_ST_DELIVERED;
	shard_wait(&s, hm_ledger_put_msg(s.w, &m));
	b = total(l);
	assert_int_equal(b.by_state[HM_ST_SENT], 0);
	assert_int_equal(b.by_state[HM_ST_DELIVERED], 1);
	assert_int_equal(hm_ledger_balance_of(&b, HM_ST_SENT), 1);
	assert_true(hm_ledger_balanced(&b));
	/* shown once, as it is now */
	seen = (struct seen){.n = 0};
	assert_int_equal(hm_ledger_by_campaign(l, HM_STR("c"), -1, NULL, 10, on_seen, &seen, &e), 0);
	assert_int_equal(hm_ledger_by_campaign(l, HM_STR("c"), HM_ST_HELD, NULL, 10, on_seen, &seen, &e), 0);
	assert_int_equal(hm_ledger_by_recipient(l, HM_STR("a"), NULL, 10, on_seen, &seen, &e), 0);
	assert_int_equal(seen.n, 2);
	assert_int_equal(seen.state[0], HM_ST_DELIVERED);
	assert_int_equal(seen.state[1], HM_ST_DELIVERED);
}

/* What receipts add to a message that was sent, and only to one. */
static void test_receipts_amend(void **state)
{
	const struct {
		uint8_t from, to; /* from: HM_ST_COUNT: no record */
		bool taken;
	} v[] = {
		{HM_ST_SENT, HM_ST_SENT, true},		  {HM_ST_SENT, HM_ST_DELIVERED, true},
		{HM_ST_DELIVERED, HM_ST_DELIVERED, true}, {HM_ST_DELIVERED, HM_ST_SENT, false},
		{HM_ST_FAILED, HM_ST_DELIVERED, false},	  {HM_ST_HELD, HM_ST_DELIVERED, false},
		{HM_ST_COUNT, HM_ST_DELIVERED, false},
	};
	struct hm_ulid job = id_at_ms(1700000000000);
	struct hm_ledger_balance before, after;
	struct hm_arena a;
	struct hm_err e;

	put_job(&s, &job, hm_countof(v), "c");
	hm_arena_init(&a, NULL, 0);
	for (uint32_t i = 0; i < hm_countof(v); i++) {
		struct hm_ledger_msg m = {
			.id = job, .job = job, .campaign = HM_STR("c"), .reason = HM_STR("first")};
		struct hm_ledger_msg got;

		hm_ulid_add(&m.id, i);
		m.state = v[i].from;
		if (v[i].from != HM_ST_COUNT)
			shard_wait(&s, hm_ledger_put_msg(s.w, &m));
		before = total(l);
		m.state = v[i].to;
		m.reason = HM_STR("second");
		m.amends = true;
		shard_wait(&s, hm_ledger_put_msg(s.w, &m));
		after = total(l);
		assert_true(hm_ledger_balanced(&after));
		assert_int_equal(after.repeats, 0);
		assert_int_equal(after.pending, before.pending);
		if (v[i].from == HM_ST_COUNT) {
			assert_int_equal(hm_ledger_get_msg(l, &m.id, &a, &got, &e), HM_ENOENT);
			continue;
		}
		assert_int_equal(hm_ledger_get_msg(l, &m.id, &a, &got, &e), 0);
		assert_int_equal(got.state, v[i].taken ? v[i].to : v[i].from);
		assert_true(hm_str_is(got.reason, v[i].taken ? "second" : "first"));
	}
	hm_arena_fini(&a);
	reopen(0); /* counted again from the log */
	after = total(l);
	assert_int_equal(after.by_state[HM_ST_SENT], 1);
	assert_int_equal(after.by_state[HM_ST_DELIVERED], 3);
	assert_int_equal(after.by_state[HM_ST_FAILED], 1);
	assert_int_equal(after.pending, 2);
	assert_int_equal(hm_ledger_verify(l, &e), 0);
}

static void test_redelivered_job_counts_once(void **state)
{
	struct hm_ulid job = id_at_ms(1700000000000);
	struct hm_ledger_job j = {.id = job, .n = 100, .campaign = HM_STR("c"), .if_absent = true};

	shard_wait(&s, hm_ledger_put_job(s.w, &j));
	hm_ledger_put_job(s.w, &j);
	shard_wait(&s, hm_ledger_put_job(s.w, &j));
	assert_int_equal(total(l).accepted, 100);
	reopen(0);
	shard_wait(&s, hm_ledger_put_job(s.w, &j));
	assert_int_equal(total(l).accepted, 100);
}

static void test_pending_message_is_known_by_its_job(void **state)
{
	struct hm_ulid jobs[3], id;
	struct hm_ledger_msg m;
	struct hm_ledger_job j;
	struct hm_arena a;
	struct hm_err e;

	reopen(8192);
	for (int i = 0; i < 3; i++) {
		jobs[i] = id_at_ms(1700000000000 + (uint64_t)i);
		put_job(&s, &jobs[i], 10, "c");
		for (uint32_t k = 0; k < 60; k++) { /* pushes each job into a segment of its own */
			struct hm_ulid noise = id_at_ms(1800000000000);

			put_state(&s, &noise, k, HM_ST_SENT, "noise", false);
			if (k == 0)
				put_job(&s, &noise, 1, "noise");
			else
				put_job(&s, &noise, 1, "noise");
		}
		shard_wait(&s, put_job(&s, &(struct hm_ulid){{1}}, 1, "first"));
	}
	hm_ledger_settle(l);
	hm_arena_init(&a, NULL, 0);
	for (int i = 0; i < 3; i++) {
		id = jobs[i];
		hm_ulid_add(&id, 9);
		assert_int_equal(hm_ledger_job_of(l, &id, &a, &j, &e), 0);
		assert_true(hm_ulid_eq(&j.id, &jobs[i]));
		assert_int_equal(hm_ledger_get_msg(l, &id, &a, &m, &e), HM_ENOENT);
		hm_ulid_add(&id, 1);
		assert_int_equal(hm_ledger_job_of(l, &id, &a, &j, &e), HM_ENOENT);
		assert_non_null(strstr(e.text, "no job of message"));
	}
	assert_int_equal(hm_ledger_job_of(l, &(struct hm_ulid){{0}}, &a, &j, &e), HM_ENOENT);
	hm_arena_fini(&a);
}

/* Messages of one recipient over many segments, some still in memory, written out of order. */
static void test_recipient_newest_first_over_segments(void **state)
{
	struct hm_ulid ids[30];
	struct seen seen = {.n = 0}, rest = {.n = 0};
	struct hm_err e;

	reopen(8192);
	for (uint32_t i = 0; i < 30; i++) {
		struct hm_ledger_msg m;
		uint32_t at = i * 7 % 30;

		ids[at] = id_at_ms(1700000000000 + at);
		put_job(&s, &ids[at], 1, "c");
		m = a_msg(&ids[at], 0, HM_ST_SENT, "c");
		m.address = HM_STR("+8613800000000");
		m.user = at % 2 ? HM_STR("u-1") : HM_STR("u-2");
		hm_ledger_put_msg(s.w, &m);
		for (uint32_t k = 0; k < 30; k++) {
			struct hm_ulid noise = id_at_ms(1700000000000 + at);

			put_job(&s, &noise, 1, "noise");
			put_state(&s, &noise, k, HM_ST_SENT, "noise", false);
		}
		shard_wait(&s, put_state(&s, &(struct hm_ulid){{0, 1}}, i, HM_ST_SENT, "first", false));
		if (i == 0)
			put_job(&s, &(struct hm_ulid){{0, 1}}, 30, "first");
		if (i == 20)
			hm_ledger_settle(l);
	}
	assert_int_equal(hm_ledger_by_recipient(l, HM_STR("+8613800000000"), NULL, 12, on_seen, &seen, &e),
			 0);
	assert_int_equal(seen.n, 12);
	assert_int_equal(
		hm_ledger_by_recipient(l, HM_STR("+8613800000000"), &seen.id[11], 100, on_seen, &rest, &e),
		0);
	assert_int_equal(rest.n, 18);
	for (uint32_t i = 0; i < 30; i++)
		assert_true(hm_ulid_eq(i < 12 ? &seen.id[i] : &rest.id[i - 12], &ids[29 - i]));
	seen = (struct seen){.n = 0};
	assert_int_equal(hm_ledger_by_recipient(l, HM_STR("u-1"), NULL, 100, on_seen, &seen, &e), 0);
	assert_int_equal(seen.n, 15);
	seen = (struct seen){.n = 0, .stop_at = 4};
	assert_int_equal(hm_ledger_by_recipient(l, HM_STR("u-1"), NULL, 100, on_seen, &seen, &e), 0);
	assert_int_equal(seen.n, 4); /* the visitor said stop */
	assert_int_equal(hm_ledger_by_recipient(l, HM_STR("nobody"), NULL, 100, on_seen, &rest, &e), 0);
	assert_int_equal(rest.n, 18);
	assert_int_equal(hm_ledger_by_recipient(l, HM_STR(""), NULL, 100, on_seen, &rest, &e), HM_EINVAL);
}

static void test_campaign_and_state_over_segments(void **state)
{
	struct hm_ulid job = id_at_ms(1700000000000);
	struct seen seen = {.n = 0};
	struct hm_err e;

	reopen(8192);
	put_job(&s, &job, 1000, "c");
	for (uint32_t i = 0; i < 1000; i++) {
		uint64_t t = put_state(&s, &job, i, i % 100 == 0 ? HM_ST_HELD : HM_ST_SENT, "c", false);

		if (i % 25 == 24)
			shard_wait(&s, t);
	}
	/* half of those on hold fail later, in other segments */
	for (uint32_t i = 0; i < 1000; i += 200)
		shard_wait(&s, put_state(&s, &job, i, HM_ST_FAILED, "c", true));
	assert_int_equal(hm_ledger_by_campaign(l, HM_STR("c"), HM_ST_HELD, NULL, 100, on_seen, &seen, &e), 0);
	assert_int_equal(seen.n, 5);
	assert_int_equal(hm_ulid_diff(&seen.id[0], &job), 900);
	assert_int_equal(hm_ulid_diff(&seen.id[4], &job), 100);
	hm_ledger_settle(l); /* the same answers when all is sealed and compressed */
	seen = (struct seen){.n = 0};
	assert_int_equal(hm_ledger_by_campaign(l, HM_STR("c"), HM_ST_FAILED, NULL, 100, on_seen, &seen, &e),
			 0);
	assert_int_equal(seen.n, 5);
	assert_int_equal(hm_ulid_diff(&seen.id[0], &job), 800);
	seen = (struct seen){.n = 0};
	assert_int_equal(hm_ledger_by_campaign(l, HM_STR("c"), -1, NULL, 5000, on_seen, &seen, &e), 0);
	assert_int_equal(seen.n, 1000);
	seen = (struct seen){.n = 0};
	assert_int_equal(hm_ledger_each(l, on_seen, &seen, &e), 0);
	assert_int_equal(seen.n, 1000);
	assert_int_equal(hm_ulid_diff(&seen.id[63], &job), 63); /* in the order of ids */
	seen = (struct seen){.n = 0};
	assert_int_equal(hm_ledger_by_campaign(l, HM_STR("other"), -1, NULL, 5000, on_seen, &seen, &e), 0);
	assert_int_equal(seen.n, 0);
}

static bool there(uint64_t seq, enum hm_seg_file f)
{
	char path[HM_SEG_PATH];

	return access(hm_seg_path(dir, seq, f, path), F_OK) == 0;
}

static void test_sealed_segments_are_indexed_and_compressed(void **state)
{
	struct hm_ulid job = id_at_ms(1700000000000);
	struct hm_ledger_health before, h;

	reopen(256u << 10);
	put_job(&s, &job, 10000, "c");
	for (uint32_t i = 0; i < 10000; i++) {
		uint64_t t = put_state(&s, &job, i, HM_ST_SENT, "c", false);

		if (i % 500 == 499)
			shard_wait(&s, t);
	}
	hm_ledger_settle(l);
	hm_ledger_health(l, &h);
	assert_true(h.segments >= 3);
	assert_int_equal(h.unindexed, 0);
	assert_int_equal(h.unpacked, 0);
	assert_int_equal(h.queued_bytes, 0);
	assert_int_equal(h.records, 10001);
	for (uint64_t seq = 1; seq < h.segments; seq++) {
		assert_true(there(seq, HM_SEG_PACK) && there(seq, HM_SEG_IDX));
		assert_false(there(seq, HM_SEG_LOG));
	}
	assert_true(there(h.segments, HM_SEG_LOG));
	for (uint32_t i = 0; i < 10000; i += 37)
		assert_int_equal(state_of(l, &job, i), HM_ST_SENT);
	before = h;
	reopen(256u << 10);
	hm_ledger_settle(l);
	hm_ledger_health(l, &h);
	assert_int_equal(h.disk_bytes, before.disk_bytes);
	assert_int_equal(h.segments, before.segments);
	assert_int_equal(total(l).by_state[HM_ST_SENT], 10000);
}

static void test_lost_index_is_built_again(void **state)
{
	struct hm_ulid job = id_at_ms(1700000000000);
	char path[HM_SEG_PATH];

	reopen(8192);
	put_job(&s, &job, 500, "c");
	for (uint32_t i = 0; i < 500; i++) {
		uint64_t t = put_state(&s, &job, i, HM_ST_SENT, "c", false);

		if (i % 20 == 19)
			shard_wait(&s, t);
	}
	hm_ledger_settle(l);
	assert_int_equal(unlink(hm_seg_path(dir, 1, HM_SEG_IDX, path)), 0);
	assert_int_equal(truncate(hm_seg_path(dir, 2, HM_SEG_IDX, path), 100), 0);
	reopen(8192);
	assert_int_equal(state_of(l, &job, 0), HM_ST_SENT);
	hm_ledger_settle(l);
	assert_true(there(1, HM_SEG_IDX) && there(2, HM_SEG_IDX));
	for (uint32_t i = 0; i < 500; i++)
		assert_int_equal(state_of(l, &job, i), HM_ST_SENT);
}

static void test_readonly_sees_what_is_written_beside_the_engine(void **state)
{
	struct hm_ulid job = id_at_ms(1700000000000);
	struct hm_ledger *view;
	struct hm_err e;

	reopen(8192);
	put_job(&s, &job, 300, "c");
	for (uint32_t i = 0; i < 299; i++) {
		uint64_t t = put_state(&s, &job, i, HM_ST_SENT, "c", false);

		if (i % 20 == 19 || i == 298)
			shard_wait(&s, t);
		if (i == 150)
			hm_ledger_settle(l);
	}
	assert_int_equal(hm_ledger_open_readonly(hm_str_c(dir), &view, &e), 0);
	assert_int_equal(total(view).by_state[HM_ST_SENT], 299);
	assert_int_equal(total(view).pending, 1);
	assert_int_equal(state_of(view, &job, 0), HM_ST_SENT);
	assert_int_equal(state_of(view, &job, 298), HM_ST_SENT);
	shard_wait(&s, put_state(&s, &job, 299, HM_ST_SENT, "c", false));
	hm_ledger_settle(l); /* files change under the view */
	assert_int_equal(state_of(view, &job, 155), HM_ST_SENT);
	assert_verified(view);
	hm_ledger_close(view);
	assert_int_equal(hm_ledger_open_readonly(HM_STR("/nonexistent/ledger"), &view, &e), HM_ENOENT);
}

static void test_second_engine_is_refused(void **state)
{
	const struct hm_ledger_opts o = {.dir = hm_str_c(dir)};
	struct hm_ledger *other;
	struct hm_err e;

	assert_int_equal(hm_ledger_open(&o, &other, &e), HM_EEXIST);
	assert_non_null(strstr(e.text, "in use by another Hermod process"));
}

static void test_backlog_falls_to_nothing(void **state)
{
	struct hm_ulid job = id_at_ms(1700000000000);
	uint64_t t;

	assert_int_equal(hm_ledger_backlog(s.w), 0);
	t = put_job(&s, &job, 1, "c");
	assert_true(hm_ledger_backlog(s.w) > 0);
	assert_int_equal(put_state(&s, &job, 0, HM_ST_SENT, "c", false), t); /* one ticket per tick */
	shard_wait(&s, t);
	assert_int_equal(hm_ledger_backlog(s.w), 0);
	assert_false(hm_ledger_full(l));
}

static void test_huge_tick_is_split(void **state)
{
	struct hm_ulid job = id_at_ms(1700000000000);
	uint64_t t = put_job(&s, &job, 50000, "c"), last = t;

	for (uint32_t i = 0; i < 50000; i++)
		last = put_state(&s, &job, i, HM_ST_SENT, "c", false);
	assert_true(last > t); /* more than one batch, though the tick has not ended */
	shard_wait(&s, last);
	assert_int_equal(total(l).by_state[HM_ST_SENT], 50000);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_a_message_comes_back_whole),
		T(test_json_names_state_and_attempts),
		T(test_balance_counts_every_state),
		T(test_campaigns_come_in_order),
		T(test_final_record_is_never_replaced),
		T(test_repeat_is_found_in_older_segments),
		T(test_receipts_amend),
		T(test_interim_then_final_then_delivered),
		T(test_redelivered_job_counts_once),
		T(test_pending_message_is_known_by_its_job),
		T(test_recipient_newest_first_over_segments),
		T(test_campaign_and_state_over_segments),
		T(test_sealed_segments_are_indexed_and_compressed),
		T(test_lost_index_is_built_again),
		T(test_readonly_sees_what_is_written_beside_the_engine),
		T(test_second_engine_is_refused),
		T(test_backlog_falls_to_nothing),
		T(test_huge_tick_is_split),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
