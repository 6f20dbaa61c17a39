/*
 * test_record.c - records, frames and snapshots as bytes; damaged ones are refused, never believed
 */
#include "shard.h"

static struct hm_buf b;
static struct hm_arena a;

static int setup(void **state)
{
	hm_buf_init(&b, 16u << 20);
	hm_arena_init(&a, NULL, 0);
	return 0;
}

static int teardown(void **state)
{
	hm_buf_fini(&b);
	hm_arena_fini(&a);
	return 0;
}

static void test_extremes_come_back(void **state)
{
	static char big[5000];
	struct hm_ledger_attempt t[300];
	struct hm_ledger_msg m, got;
	struct hm_rec r, scanned;
	struct hm_err e;

	memset(big, 'x', sizeof(big));
	memset(&m, 0, sizeof(m));
	for (size_t i = 0; i < 300; i++)
		t[i] = (struct hm_ledger_attempt){.channel = {big, sizeof(big)},
						  .outcome = HM_OUT_UNKNOWN,
						  .status = UINT16_MAX,
						  .at_ms = i,
						  .took_us = UINT32_MAX,
						  .reason = {big, sizeof(big)},
						  .provider_id = {big, sizeof(big)}};
	memset(m.id.b, 0xff, 16);
	m.state = HM_ST_CANCELLED;
	m.lane = HM_LANE_COUNT - 1;
	m.accepted_ms = UINT64_MAX;
	m.updated_ms = 0;
	m.user = m.address = m.campaign = m.channel = m.template_ref = m.reason = hm_str_n(big, sizeof(big));
	m.attempts = t;
	m.n_attempts = 300;
	assert_int_equal(hm_rec_put_msg(&b, 0, &m, &r), 0);
	assert_true(b.len <= HM_REC_MAX);
	assert_int_equal(r.unknown, HM_REC_UNKNOWN_MAX);
	assert_int_equal(hm_rec_get_msg(hm_buf_str(&b), &a, &got, &e), 0);
	assert_true(hm_ulid_eq(&got.id, &m.id) &&
		    hm_ulid_eq(&got.job, &m.job)); /* far apart: written in full */
	assert_true(got.accepted_ms == UINT64_MAX && got.updated_ms == 0);
	assert_int_equal(got.user.len, HM_REC_TEXT_MAX);
	assert_int_equal(got.n_attempts, 255);
	assert_int_equal(got.attempts[0].at_ms, 0);
	assert_int_equal(got.attempts[1].at_ms, 46); /* the first and the latest 254 */
	assert_int_equal(got.attempts[254].at_ms, 299);
	assert_int_equal(got.attempts[254].reason.len, 200);
	assert_int_equal(got.attempts[254].took_us, UINT32_MAX);
	/* the index entry made by the encoder is the one made by reading back */
	assert_int_equal(hm_rec_scan(hm_buf_str(&b), 0, &scanned), 0);
	assert_memory_equal(&scanned, &r, sizeof(r));
	/* and the look-up by the full text finds the one that was cut */
	assert_int_equal(hm_rec_text_hash(m.address), r.address_hash);
}

static void test_facts(void **state)
{
	static char big[HM_LEDGER_FACTS_MAX + 2];
	struct hm_ledger_msg m = {.state = HM_ST_SENT,
				  .campaign = HM_STR_INIT("c"),
				  .facts = HM_STR_INIT("{\"left\":3,\"price\":12.50}")},
			     got;
	struct hm_rec r, scanned;
	struct hm_buf json;
	struct hm_err e;
	size_t with;

	assert_int_equal(hm_rec_put_msg(&b, 0, &m, &r), 0);
	with = b.len;
	assert_int_equal(hm_rec_get_msg(hm_buf_str(&b), &a, &got, &e), 0);
	assert_true(hm_str_eq(got.facts, m.facts));
	assert_int_equal(hm_rec_scan(hm_buf_str(&b), 0, &scanned), 0);
	assert_memory_equal(&scanned, &r, sizeof(r));
	hm_buf_init(&json, 1 << 16);
	hm_ledger_msg_json(&got, &json);
	assert_non_null(strstr(hm_buf_cstr(&json), ",\"facts\":{\"left\":3,\"price\":12.50},\"attempts\""));
	hm_buf_reset(&json);
	got.facts = HM_STR("{\"left\":");
	hm_ledger_msg_json(&got, &json); /* never a document that does not parse */
	assert_non_null(strstr(hm_buf_cstr(&json), ",\"facts\":\"{\\\"left\\\":\",\"attempts\""));
	hm_buf_fini(&json);
	/* without: not a byte more than before there were facts, and those records read on */
	m.facts = HM_STR_NULL;
	hm_buf_reset(&b);
	assert_int_equal(hm_rec_put_msg(&b, 0, &m, &r), 0);
	assert_int_equal(with - b.len, 1 + strlen("{\"left\":3,\"price\":12.50}"));
	assert_int_equal(hm_rec_get_msg(hm_buf_str(&b), &a, &got, &e), 0);
	assert_int_equal(got.facts.len, 0);
	memset(big, 'x', sizeof(big));
	m.facts = hm_str_n(big, HM_LEDGER_FACTS_MAX + 1);
	hm_buf_reset(&b);
	assert_int_equal(hm_rec_put_msg(&b, 0, &m, &r), 0);
	assert_int_equal(hm_rec_get_msg(hm_buf_str(&b), &a, &got, &e), 0);
	assert_int_equal(got.facts.len, 0);
}

static void test_marks(void **state)
{
	struct hm_ledger_msg m = {.state = HM_ST_SENT}, got;
	struct hm_rec r, scanned;
	struct hm_err e;

	assert_int_equal(hm_rec_put_msg(&b, 0, &m, &r), 0);
	hm_rec_mark(b.p, HM_REC_DEAD | HM_REC_REPEAT, HM_ST_HELD + 1, 3);
	assert_int_equal(hm_rec_scan(hm_buf_str(&b), 0, &scanned), 0);
	assert_int_equal(scanned.flags, HM_REC_DEAD | HM_REC_REPEAT);
	assert_int_equal(scanned.prev, HM_ST_HELD + 1);
	assert_int_equal(scanned.prev_unknown, 3);
	assert_int_equal(hm_rec_get_msg(hm_buf_str(&b), &a, &got, &e), 0);
}

static void test_cut_records_are_refused(void **state)
{
	const struct hm_ledger_attempt t = {
		.channel = HM_STR("other"), .outcome = HM_OUT_OK, .reason = HM_STR("r")};
	struct hm_ledger_msg m = {.state = HM_ST_SENT,
				  .campaign = HM_STR("c"),
				  .address = HM_STR("a"),
				  .attempts = &t,
				  .n_attempts = 1};
	struct hm_ledger_job j = {.n = 7, .campaign = HM_STR("c")};
	struct hm_rec r;
	struct hm_err e;

	for (int kind = 0; kind < 2; kind++) {
		hm_buf_reset(&b);
		assert_int_equal(kind ? hm_rec_put_job(&b, 0, &j, &r) : hm_rec_put_msg(&b, 0, &m, &r), 0);
		for (size_t n = 0; n < b.len; n++) {
			char *copy = malloc(n + 1); /* exact size: ASan sees any read behind it */
			struct hm_ledger_msg got;
			struct hm_ledger_job jgot;

			memcpy(copy, b.p, n);
			assert_true(hm_rec_scan(hm_str_n(copy, n), 0, &r) < 0);
			assert_true(hm_rec_get_msg(hm_str_n(copy, n), &a, &got, &e) < 0);
			assert_true(hm_rec_get_job(hm_str_n(copy, n), &jgot, &e) < 0);
			if (n >= HM_REC_HEAD) { /* with a length that fits, the texts do not */
				hm_le32_put(copy, (uint32_t)n - 4);
				assert_true(hm_rec_get_msg(hm_str_n(copy, n), &a, &got, &e) < 0);
				assert_true(hm_rec_get_job(hm_str_n(copy, n), &jgot, &e) < 0);
			}
			free(copy);
		}
	}
}

static void test_frames_are_whole_or_not_there(void **state)
{
	struct hm_frame f;

	assert_true(hm_buf_reserve(&b, 100));
	memset(b.p, 7, 100);
	hm_frame_seal(b.p, 100 - HM_FRAME_HEAD, 3, HM_FRAME_RECORDS, 1234);
	assert_int_equal(hm_frame_read(hm_str_n(b.p, 100), &f), 100);
	assert_int_equal(f.n, 3);
	assert_int_equal(f.wall_ms, 1234);
	for (size_t n = 0; n < 100; n++)
		assert_int_equal(hm_frame_read(hm_str_n(b.p, n), &f), 0);
	for (size_t i = 0; i < 100 * 8; i++) { /* any one bit */
		b.p[i / 8] = (char)(b.p[i / 8] ^ 1 << i % 8);
		assert_int_equal(hm_frame_read(hm_str_n(b.p, 100), &f), 0);
		b.p[i / 8] = (char)(b.p[i / 8] ^ 1 << i % 8);
	}
}

static void test_ids_sort_stably(void **state)
{
	enum { N = 5000 };
	static struct hm_ulid ids[N];
	static uint32_t order[N];

	for (uint32_t i = 0; i < N; i++) {
		hm_ulid_new(&ids[i], 1700000000000 + (i * 7919u) % 50);
		if (i % 3 == 0 && i)
			ids[i] = ids[i / 2]; /* versions of one message */
		if (i % 5 == 0) {	     /* a chunk: same first half */
			memset(ids[i].b, 9, 16);
			ids[i].b[15] = (uint8_t)(i * 31);
		}
	}
	assert_true(hm_sort_ids(ids, sizeof(ids[0]), N, order));
	for (uint32_t i = 1; i < N; i++) {
		int d = hm_ulid_cmp(&ids[order[i - 1]], &ids[order[i]]);

		assert_true(d < 0 || (d == 0 && order[i - 1] < order[i]));
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_extremes_come_back),
		T(test_marks),
		T(test_facts),
		T(test_cut_records_are_refused),
		T(test_frames_are_whole_or_not_there),
		T(test_ids_sort_stably),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
