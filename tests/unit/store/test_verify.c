/*
 * test_verify.c - what hm_ledger_verify must notice
 */
#include "shard.h"

static const char *dir;
static struct hm_ledger *l;
static struct shard s;
static struct hm_ulid job;

static int setup(void **state)
{
	dir = temp_dir();
	l = open_ledger(dir, 8192, 0);
	shard_init(&s, l);
	job = id_at_ms(1700000000000);
	put_job(&s, &job, 500, "c");
	for (uint32_t i = 0; i < 500; i++) {
		uint64_t t = put_state(&s, &job, i, HM_ST_SENT, "c", false);

		if (i % 20 == 19)
			shard_wait(&s, t);
	}
	hm_ledger_settle(l);
	assert_verified(l);
	return 0;
}

static int teardown(void **state)
{
	shard_fini(&s);
	hm_ledger_close(l);
	rm_rf(dir);
	return 0;
}

static void assert_finds(const char *words)
{
	struct hm_err e;

	assert_int_equal(hm_ledger_verify(l, &e), HM_ESTORE);
	if (strstr(e.text, words) == NULL)
		fail_msg("verify said \"%s\", expected \"%s\"", e.text, words);
}

static void flip(uint64_t seq, enum hm_seg_file file, long at)
{
	char path[HM_SEG_PATH];
	FILE *f = fopen(hm_seg_path(dir, seq, file, path), "r+b");
	int c;

	assert_non_null(f);
	fseek(f, at, at < 0 ? SEEK_END : SEEK_SET);
	c = fgetc(f);
	fseek(f, -1, SEEK_CUR);
	fputc(c ^ 1, f);
	fclose(f);
}

static void test_a_flipped_bit_in_a_compressed_segment(void **state)
{
	flip(2, HM_SEG_PACK, -10);
	assert_finds("segment 2");
}

static void test_a_flipped_bit_in_the_log(void **state)
{
	flip(l->active->seq, HM_SEG_LOG, -3);
	assert_finds("is damaged at byte");
}

static void test_a_counter_that_is_off(void **state)
{
	struct hm_counts_row *row = hm_counts_find(&l->counts, hm_rec_campaign_hash(HM_STR("c")),
						   HM_STR("c"));

	row->state[HM_ST_SENT]++;
	assert_finds("the counter of sent says 501, the records say 500");
	row->state[HM_ST_SENT]--;
	row->repeats = 4;
	assert_finds("repeats");
}

/* Two campaigns whose errors cancel out in the total. */
static void test_counters_swapped_between_campaigns(void **state)
{
	struct hm_ulid other = id_at_ms(1700000000001);
	struct hm_counts_row *c, *d;

	shard_wait(&s, put_job(&s, &other, 10, "d"));
	c = hm_counts_find(&l->counts, hm_rec_campaign_hash(HM_STR("c")), HM_STR("c"));
	d = hm_counts_find(&l->counts, hm_rec_campaign_hash(HM_STR("d")), HM_STR("d"));
	c->accepted--;
	d->accepted++;
	assert_finds("campaign \"");
}

/* A second end that nobody looked for: the flag was missing and the first is in another segment. */
static void test_a_second_final_record(void **state)
{
	shard_wait(&s, put_state(&s, &job, 3, HM_ST_FAILED, "c", false));
	assert_finds("is failed after it was sent");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_a_flipped_bit_in_a_compressed_segment),
		T(test_a_flipped_bit_in_the_log),
		T(test_a_counter_that_is_off),
		T(test_counters_swapped_between_campaigns),
		T(test_a_second_final_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
