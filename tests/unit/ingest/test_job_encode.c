/* Messages become entries: what goes in comes out, equal policies share chunks, limits hold. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "ingest/job_encode.h"

#define MAX_OUT 4000
struct out {
	uint64_t run;
	enum hm_lane lane;
	uint32_t n;
	struct hm_ulid id;
	char campaign[80];
	char *json; /* of the entry, without the id */
};
struct fixture {
	msgpack_zone zone;
	struct hm_buf buf;
	struct hm_packer *packer;
	struct out out[MAX_OUT];
	size_t n_out;
	struct hm_packed_at at[MAX_OUT];
	size_t n_at;
	struct hm_err err;
};

static void on_emit(void *arg, const struct hm_packed *p)
{
	struct fixture *f = arg;
	struct out *o = &f->out[f->n_out++];
	struct hm_job_spec spec;
	msgpack_zone zone;
	struct hm_buf b;
	struct hm_err e;

	assert_true(f->n_out <= MAX_OUT);
	assert_true(msgpack_zone_init(&zone, 8192));
	/* whatever is emitted obeys the public contract */
	if (hm_job_decode(p->entry, &zone, &spec, &e) != 0)
		fail_msg("emitted entry: %s", e.text);
	assert_true(spec.has_id && hm_ulid_eq(&spec.id, &p->id));
	assert_int_equal(spec.acc.len, 8);
	assert_int_equal(spec.n_rcpts, p->n);
	hm_buf_init(&b, 1 << 20);
	for (uint32_t i = 0; i < spec.n_rcpts; i++) {
		hm_msgpack_to_json(&spec.rcpts[i], &b);
		hm_buf_putc(&b, '\n');
	}
	hm_job_put_policy(&b, &spec, true);
	o->json = strdup(hm_buf_cstr(&b));
	hm_buf_fini(&b);
	msgpack_zone_destroy(&zone);
	o->run = p->run;
	o->lane = p->lane;
	o->n = p->n;
	o->id = p->id;
	(void)snprintf(o->campaign, sizeof(o->campaign), "%.*s", HM_STRF(p->campaign));
}

static void on_placed(void *arg, const struct hm_packed_at *at)
{
	struct fixture *f = arg;

	assert_true(f->n_at < MAX_OUT);
	for (size_t i = 0; i < f->n_out; i++)
		assert_true(f->out[i].run != at->run); /* told before it is emitted */
	f->at[f->n_at++] = *at;
}

static void start(struct fixture *f, uint32_t max_rcpts, size_t max_entry, size_t max_held)
{
	struct hm_packer_opts o = {.max_rcpts = max_rcpts,
				   .max_entry_bytes = max_entry,
				   .max_held_bytes = max_held,
				   .acc = HM_STR("12345678"),
				   .emit = on_emit,
				   .arg = f};

	f->packer = hm_packer_new(&o);
	assert_non_null(f->packer);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_true(msgpack_zone_init(&f->zone, 8192));
	hm_buf_init(&f->buf, 1 << 22);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < f->n_out; i++)
		free(f->out[i].json);
	hm_packer_free(f->packer);
	msgpack_zone_destroy(&f->zone);
	hm_buf_fini(&f->buf);
	free(f);
	return 0;
}

static int put(struct fixture *f, const char *json)
{
	struct hm_job_spec spec;
	msgpack_object root;

	hm_buf_reset(&f->buf);
	msgpack_zone_clear(&f->zone);
	assert_int_equal(hm_json_to_msgpack(hm_str_c(json), &f->buf, &f->err), 0);
	assert_int_equal(hm_msgpack_decode(&f->zone, hm_buf_str(&f->buf), &root, &f->err), 0);
	if (hm_job_read_message(&root, &spec, &f->err))
		fail_msg("%s: %s", json, f->err.text);
	return hm_packer_put(f->packer, &spec, 1767323045000, on_placed, f, &f->err);
}

static void test_equal_policies_share_a_chunk(void **state)
{
	struct fixture *f = *state;
	struct hm_ulid id;

	start(f, 1000, 1 << 20, 1 << 22);
	assert_int_equal(put(f, "{\"to\":\"a\",\"channel\":\"c\",\"template\":\"t\",\"data\":{\"n\":1}}"), 0);
	assert_int_equal(put(f, "{\"template\":\"t\",\"channel\":\"c\",\"to\":{\"user\":\"b\",\"locale\":"
				"null},\"data\":{\"n\":2}}"),
			 0);
	assert_int_equal(put(f, "{\"to\":\"c\",\"channel\":\"c\",\"template\":\"t\",\"campaign\":\"other\"}"),
			 0);
	assert_int_equal(put(f, "{\"to\":\"d\",\"channel\":\"c\",\"template\":\"t\",\"lane\":\"bulk\"}"), 0);
	assert_int_equal(put(f, "{\"to\":\"e\",\"channel\":\"c\",\"template\":\"t\"}"), 0);
	assert_int_equal(f->n_out, 0);
	hm_packer_flush(f->packer);
	assert_int_equal(f->n_out, 3);
	assert_int_equal(f->out[0].n, 3);
	assert_non_null(
		strstr(f->out[0].json,
		       "{\"addr\":\"a\",\"data\":{\"n\":1}}\n{\"user\":\"b\",\"data\":{\"n\":2}}\n\"e\"\n"));
	assert_string_equal(f->out[1].campaign, "other");
	assert_int_equal(f->out[2].lane, HM_LANE_BULK);
	/* ids told when placed are those of the chunk plus the place */
	assert_int_equal(f->n_at, 5);
	id = f->out[0].id;
	assert_true(hm_ulid_eq(&f->at[0].id, &id));
	hm_ulid_add(&id, 2);
	assert_true(hm_ulid_eq(&f->at[4].id, &id));
	assert_int_equal(f->at[4].index, 2);
}

static void test_own_data_wins(void **state)
{
	struct fixture *f = *state;

	start(f, 1000, 1 << 20, 1 << 22);
	assert_int_equal(put(f, "{\"to\":{\"addr\":\"a\",\"data\":{\"n\":9}},\"channel\":\"c\",\"template\":"
				"\"t\",\"data\":{\"n\":1}}"),
			 0);
	hm_packer_flush(f->packer);
	assert_non_null(strstr(f->out[0].json, "{\"addr\":\"a\",\"data\":{\"n\":9}}\n"));
	assert_non_null(strstr(f->out[0].json, "data")); /* and the shared data stays below it */
}

static void test_long_lists_span_chunks(void **state)
{
	struct fixture *f = *state;
	struct hm_buf b;
	uint32_t sum = 0;

	start(f, 1000, 1 << 20, 1 << 22);
	hm_buf_init(&b, 1 << 20);
	hm_buf_lit(&b, "{\"channel\":\"c\",\"template\":\"t\",\"data\":{\"x\":1},\"recipients\":[");
	for (int i = 0; i < 2500; i++)
		hm_buf_printf(&b, "%s\"u%d\"", i ? "," : "", i);
	hm_buf_lit(&b, "]}");
	assert_int_equal(put(f, "{\"to\":\"first\",\"channel\":\"c\",\"template\":\"t\"}"), 0);
	assert_int_equal(put(f, hm_buf_cstr(&b)), 0);
	hm_packer_flush(f->packer);
	hm_buf_fini(&b);
	for (size_t i = 0; i < f->n_out; i++)
		sum += f->out[i].n;
	assert_int_equal(sum, 2501);
	assert_int_equal(f->n_out, 4); /* 1000 1000 500, and "first" has another policy */
	sum = 0;
	for (size_t i = 0; i < f->n_at; i++)
		sum += f->at[i].n;
	assert_int_equal(sum, 2501);
}

static void test_chunks_stay_below_the_entry_limit(void **state)
{
	struct fixture *f = *state;
	char json[400], big[900];

	start(f, 1000, 1024, 1 << 20);
	for (int i = 0; i < 40; i++) {
		(void)snprintf(json, sizeof(json), "{\"to\":\"%0100d\",\"channel\":\"c\",\"template\":\"t\"}",
			       i);
		assert_int_equal(put(f, json), 0);
	}
	hm_packer_flush(f->packer);
	assert_true(f->n_out >= 5 && f->n_out <= 6);
	(void)snprintf(big, sizeof(big), "{\"to\":\"%0800d\",\"channel\":\"c\",\"template\":\"t\"}", 1);
	assert_int_equal(put(f, big), 0);
	(void)snprintf(big, sizeof(big), "{\"to\":\"x\",\"channel\":\"c\",\"content\":{\"body\":\"%0850d\"}}",
		       1);
	assert_int_equal(put(f, big), 0);
	hm_packer_free(f->packer);
	start(f, 1000, 512, 1 << 20);
	assert_int_equal(put(f, big), HM_ELIMIT);
	assert_non_null(strstr(f->err.text, "512 bytes"));
}

static void test_many_policies(void **state)
{
	struct fixture *f = *state;
	char json[200];

	start(f, 1000, 1 << 16, 1 << 20);
	for (int i = 0; i < 3000; i++) {
		(void)snprintf(json, sizeof(json),
			       "{\"to\":\"a\",\"channel\":\"c\",\"content\":{\"body\":\"%d\"}}", i);
		assert_int_equal(put(f, json), 0);
	}
	hm_packer_flush(f->packer);
	assert_int_equal(f->n_out, 3000);
	for (size_t i = 1; i < f->n_out; i++)
		assert_true(f->out[i].run > f->out[i - 1].run); /* oldest first */
}

static void test_held_bytes_are_bounded(void **state)
{
	struct fixture *f = *state;
	char json[500];

	start(f, 1000, 1 << 16, 2000);
	for (int i = 0; i < 100; i++) {
		(void)snprintf(json, sizeof(json),
			       "{\"to\":\"%0300d\",\"channel\":\"c\",\"template\":\"t%d\"}", i, i % 3);
		assert_int_equal(put(f, json), 0);
	}
	assert_true(f->n_out > 10);
}

static void test_single_entry(void **state)
{
	struct fixture *f = *state;
	struct hm_job_spec spec, again;
	struct hm_ulid id;
	struct hm_buf b;
	msgpack_object root;
	struct hm_rcpt r;

	assert_int_equal(
		hm_json_to_msgpack(
			HM_STR("{\"to\":\"a\",\"route\":\"r\",\"content\":{\"title\":\"t\",\"body\":\"${x}\"}"
			       ","
			       "\"render\":true,\"data\":{\"x\":\"y\"},\"campaign\":\"c\",\"category\":\"k\","
			       "\"tenant\":\"n\",\"tags\":[\"a\"],\"at\":1767323045000,"
			       "\"expires\":1767323046000,\"dedupe\":\"d\",\"caps\":{\"bypass\":true}}"),
			&f->buf, &f->err),
		0);
	assert_int_equal(hm_msgpack_decode(&f->zone, hm_buf_str(&f->buf), &root, &f->err), 0);
	assert_int_equal(hm_job_read_message(&root, &spec, &f->err), 0);
	hm_buf_init(&b, 1 << 16);
	hm_ulid_new(&id, 1767323045000);
	hm_job_put_entry(&b, &spec, &id, HM_STR("abcdefgh"), 0, 1);
	assert_int_equal(hm_job_decode(hm_buf_str(&b), &f->zone, &again, &f->err), 0);
	assert_true(hm_ulid_eq(&again.id, &id));
	assert_true(hm_str_is(again.acc, "abcdefgh") && hm_str_is(again.route, "r") && again.render);
	assert_true(hm_str_is(again.campaign, "c") && hm_str_is(again.category, "k") &&
		    hm_str_is(again.tenant, "n"));
	assert_true(hm_str_is(again.dedupe, "d") && again.tags->via.array.size == 1);
	assert_true(again.bypass_caps && !again.uncounted);
	assert_int_equal(again.at_ms, spec.at_ms);
	assert_int_equal(again.expires_ms, spec.expires_ms);
	hm_job_rcpt(&again, 0, &r);
	assert_true(hm_str_is(r.addr, "a"));
	hm_buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_equal_policies_share_a_chunk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_own_data_wins, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_lists_span_chunks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_chunks_stay_below_the_entry_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_policies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_held_bytes_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_single_entry, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
