/* The queue contract: every key, every rule, every error names its key. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "ingest/job.h"

struct fixture {
	msgpack_zone zone;
	struct hm_buf buf;
	struct hm_job_spec spec;
	struct hm_err err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_true(msgpack_zone_init(&f->zone, 8192));
	hm_buf_init(&f->buf, 1 << 20);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	msgpack_zone_destroy(&f->zone);
	hm_buf_fini(&f->buf);
	free(f);
	return 0;
}

static int decode_json(struct fixture *f, const char *json)
{
	hm_buf_reset(&f->buf);
	msgpack_zone_clear(&f->zone);
	assert_int_equal(hm_json_to_msgpack(hm_str_c(json), &f->buf, &f->err), 0);
	return hm_job_decode(hm_buf_str(&f->buf), &f->zone, &f->spec, &f->err);
}

static int read_json(struct fixture *f, const char *json)
{
	msgpack_object root;

	hm_buf_reset(&f->buf);
	msgpack_zone_clear(&f->zone);
	assert_int_equal(hm_json_to_msgpack(hm_str_c(json), &f->buf, &f->err), 0);
	assert_int_equal(hm_msgpack_decode(&f->zone, hm_buf_str(&f->buf), &root, &f->err), 0);
	return hm_job_read_message(&root, &f->spec, &f->err);
}

#define assert_str(v, text) assert_true(hm_str_is((v), (text)))

static void test_every_key(void **state)
{
	struct fixture *f = *state;
	struct hm_rcpt r;
	struct hm_ulid id;

	assert_int_equal(
		decode_json(
			f,
			"{\"v\":1,\"id\":\"01ARZ3NDEKTSV4RRFFQ69G5FAV\",\"rs\":[\"tok1\","
			"{\"addr\":{\"push\":\"p\",\"sms\":\"+86138\",\"apns-main\":\"a\"},\"user\":\"u1\","
			"\"data\":{\"n\":1},\"locale\":\"zh-CN\",\"tz\":\"Asia/Shanghai\"}],"
			"\"channel\":\"apns-main\",\"template\":\"order@3\",\"data\":{\"x\":1.50},"
			"\"campaign\":\"c\",\"category\":\"k\",\"tenant\":\"t\",\"tags\":[\"a\",\"b\"],"
			"\"at\":1767323045000,\"expires\":1767323046000,\"dedupe\":\"d\",\"caps\":{"
			"\"bypass\":true,\"count\":false},\"n0\":5,\"att\":"
			"2}"),
		0);
	assert_true(f->spec.has_id);
	assert_true(hm_ulid_parse(HM_STR("01ARZ3NDEKTSV4RRFFQ69G5FAV"), &id));
	assert_true(hm_ulid_eq(&id, &f->spec.id));
	assert_str(f->spec.channel, "apns-main");
	assert_str(f->spec.template_ref, "order@3");
	assert_str(f->spec.campaign, "c");
	assert_str(f->spec.category, "k");
	assert_str(f->spec.tenant, "t");
	assert_str(f->spec.dedupe, "d");
	assert_true(f->spec.bypass_caps && f->spec.uncounted);
	assert_int_equal(f->spec.tags->via.array.size, 2);
	assert_int_equal(f->spec.at_ms, 1767323045000);
	assert_int_equal(f->spec.expires_ms, 1767323046000);
	assert_int_equal(f->spec.n0, 5);
	assert_int_equal(f->spec.attempts, 2);
	assert_int_equal(f->spec.n_rcpts, 2);
	hm_job_rcpt(&f->spec, 0, &r);
	assert_str(r.addr, "tok1");
	assert_null(r.addrs);
	assert_str(hm_rcpt_address(&r, HM_STR("any"), HM_MED_SMS), "tok1");
	hm_job_rcpt(&f->spec, 1, &r);
	assert_str(r.user, "u1");
	assert_str(r.locale, "zh-CN");
	assert_str(r.tz, "Asia/Shanghai");
	assert_non_null(r.data);
	assert_str(hm_rcpt_address(&r, HM_STR("apns-main"), HM_MED_PUSH), "a");
	assert_str(hm_rcpt_address(&r, HM_STR("fcm"), HM_MED_PUSH), "p");
	assert_str(hm_rcpt_address(&r, HM_STR("ali"), HM_MED_SMS), "+86138");
	assert_null(hm_rcpt_address(&r, HM_STR("mail"), HM_MED_EMAIL).p);
}

static void test_binary_id_and_acc(void **state)
{
	struct fixture *f = *state;
	char raw[16];

	for (size_t i = 0; i < sizeof(raw); i++)
		raw[i] = (char)i;
	hm_mp_put_map(&f->buf, 5);
	hm_mp_key(&f->buf, "id");
	hm_mp_put_bin(&f->buf, hm_str_n(raw, 16));
	hm_mp_key(&f->buf, "acc");
	hm_mp_put_bin(&f->buf, hm_str_n(raw, 8));
	hm_mp_key(&f->buf, "to");
	hm_mp_key(&f->buf, "x");
	hm_mp_key(&f->buf, "route");
	hm_mp_key(&f->buf, "r");
	hm_mp_key(&f->buf, "template");
	hm_mp_key(&f->buf, "t");
	assert_int_equal(hm_job_decode(hm_buf_str(&f->buf), &f->zone, &f->spec, &f->err), 0);
	assert_memory_equal(f->spec.id.b, raw, 16);
	assert_int_equal(f->spec.acc.len, 8);
	assert_str(f->spec.route, "r");
}

static void test_nil_and_empty_are_absent(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(
		decode_json(
			f,
			"{\"to\":{\"addr\":\"a\",\"user\":null,\"data\":null},\"rs\":null,\"channel\":\"c\","
			"\"route\":\"\",\"template\":null,\"content\":{\"body\":\"b\",\"title\":null},"
			"\"campaign\":\"\",\"at\":0,\"expires\":null}"),
		0);
	assert_int_equal(f->spec.campaign.len, 0);
	assert_int_equal(f->spec.route.len, 0);
	assert_int_equal(f->spec.expires_ms, 0);
	assert_int_equal(f->spec.n_rcpts, 1);
}

struct bad_case {
	const char *json, *field, *says;
};

static void run_bad(struct fixture *f, const struct bad_case *c, int (*fn)(struct fixture *, const char *))
{
	int rc = fn(f, c->json);

	if (rc >= 0 || strcmp(f->err.field, c->field) != 0 || strstr(f->err.text, c->says) == NULL)
		fail_msg("%s: rc %d field \"%s\" text \"%s\"", c->json, rc, f->err.field, f->err.text);
	if (c->field[0])
		assert_ptr_equal(strstr(f->err.text, c->field), f->err.text);
}

#define OK_REST "\"channel\":\"c\",\"template\":\"t\""

static void test_errors_name_the_key(void **state)
{
	static const struct bad_case cases[] = {
		{"[]", "", "must be a map"},
		{"{\"chanel\":\"c\"}", "chanel", "did you mean \"channel\""},
		{"{\"zzzzzzzzzzzzzz\":1}", "zzzzzzzzzzzzzz", "unknown key"},
		{"{\"lane\":\"high\"}", "lane", "unknown key"},
		{"{\"v\":2}", "v", "version 1"},
		{"{\"id\":\"short\"}", "id", "ULID"},
		{"{\"id\":7}", "id", "ULID"},
		{"{\"acc\":\"12345678\"}", "acc", "8 bytes"},
		{"{\"to\":\"\"," OK_REST "}", "to", "is empty"},
		{"{\"to\":7," OK_REST "}", "to", "must be an address or a map, not"},
		{"{\"to\":{}," OK_REST "}", "to", "needs addr or user"},
		{"{\"to\":{\"user\":\"\"}," OK_REST "}", "to", "needs addr or user"},
		{"{\"to\":{\"adr\":\"x\"}," OK_REST "}", "to.adr", "did you mean \"addr\""},
		{"{\"to\":{\"addr\":\"a\\nb\"}," OK_REST "}", "to.addr", "control character"},
		{"{\"to\":{\"addr\":{}}," OK_REST "}", "to.addr", "empty map"},
		{"{\"to\":{\"addr\":{\"\":\"x\"}}," OK_REST "}", "to.addr", "empty key"},
		{"{\"to\":{\"addr\":{\"sms\":1}}," OK_REST "}", "to.addr", "must be a string"},
		{"{\"to\":{\"addr\":\"a\",\"data\":[]}," OK_REST "}", "to.data", "must be a map"},
		{"{\"to\":{\"addr\":\"a\",\"locale\":\"zh CN\"}," OK_REST "}", "to.locale", "language tag"},
		{"{\"to\":{\"addr\":\"a\",\"tz\":\"a b\"}," OK_REST "}", "to.tz", "zone"},
		{"{\"rs\":[]," OK_REST "}", "rs", "is empty"},
		{"{\"rs\":\"a\"," OK_REST "}", "rs", "must be an array"},
		{"{\"rs\":[\"a\",{\"addr\":3}]," OK_REST "}", "rs[1].addr", "must be a string"},
		{"{\"rs\":[\"a\",\"b\",5]," OK_REST "}", "rs[2]", "must be an address or a map"},
		{"{\"to\":\"a\",\"rs\":[\"b\"]," OK_REST "}", "to", "not both"},
		{"{" OK_REST "}", "to", "is missing"},
		{"{\"to\":\"a\",\"to\":\"b\"," OK_REST "}", "to", "given twice"},
		{"{\"to\":\"a\",\"template\":\"t\"}", "channel", "is missing"},
		{"{\"to\":\"a\",\"route\":\"r\"," OK_REST "}", "channel", "not both"},
		{"{\"to\":\"a\",\"channel\":\"c\"}", "template", "is missing"},
		{"{\"to\":\"a\",\"content\":{\"body\":\"x\"}," OK_REST "}", "template", "not both"},
		{"{\"to\":\"a\",\"render\":true," OK_REST "}", "render", "belongs to content"},
		{"{\"to\":\"a\",\"render\":1," OK_REST "}", "render", "true or false"},
		{"{\"to\":\"a\",\"channel\":\"c\",\"content\":\"x\"}", "content", "must be a map"},
		{"{\"to\":\"a\",\"channel\":\"c\",\"content\":{}}", "content", "nothing to send"},
		{"{\"to\":\"a\",\"channel\":\"c\",\"content\":{\"format\":\"html\"}}", "content",
		 "nothing to send"},
		{"{\"to\":\"a\",\"channel\":\"c\",\"content\":{\"body\":\"x\",\"format\":\"pdf\"}}",
		 "content.format", "must be plain, markdown or html"},
		{"{\"to\":\"a\",\"channel\":\"c\",\"content\":{\"body\":\"x\",\"buttons\":{}}}",
		 "content.buttons", "must be a list"},
		{"{\"to\":\"a\",\"channel\":\"c\",\"content\":{\"body\":\"x\",\"buttons\":[1]}}",
		 "content.buttons[0]", "must be a map"},
		{"{\"to\":\"a\",\"channel\":\"c\",\"content\":{\"body\":\"x\",\"buttons\":[{\"text\":\"a\"}]}"
		 "}",
		 "content.buttons[0]", "exactly one of url and action"},
		{"{\"to\":\"a\",\"channel\":\"c\",\"content\":{\"body\":\"x\",\"buttons\":[{\"url\":\"a\"}]}"
		 "}",
		 "content.buttons[0]", "text is missing"},
		{"{\"to\":\"a\",\"channel\":\"c\",\"content\":{\"body\":\"x\",\"buttons\":[{\"text\":1}]}}",
		 "content.buttons[0].text", "must be a string"},
		{"{\"to\":\"a\",\"channel\":\"c\",\"content\":{\"body\":\"x\",\"buttons\":[{\"text\":\"\"}]}"
		 "}",
		 "content.buttons[0].text", "is empty"},
		{"{\"to\":\"a\",\"channel\":\"c\",\"content\":{\"body\":\"x\",\"buttons\":[{\"txt\":\"a\"}]}"
		 "}",
		 "content.buttons[0]", "unknown key"},
		{"{\"to\":\"a\",\"channel\":\"c\",\"content\":{\"bdy\":\"x\"}}", "content.bdy",
		 "did you mean \"body\""},
		{"{\"to\":\"a\",\"channel\":\"c\",\"content\":{\"body\":1}}", "content.body",
		 "must be a string"},
		{"{\"to\":\"a\",\"channel\":\"c\",\"content\":{\"body\":\"x\",\"options\":1}}",
		 "content.options", "must be a map"},
		{"{\"to\":\"a\",\"data\":[]," OK_REST "}", "data", "must be a map"},
		{"{\"to\":\"a\",\"tags\":\"x\"," OK_REST "}", "tags", "array"},
		{"{\"to\":\"a\",\"tags\":[\"x\",\"\"]," OK_REST "}", "tags[1]", "is empty"},
		{"{\"to\":\"a\",\"tags\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]," OK_REST "}", "tags",
		 "more than 16"},
		{"{\"to\":\"a\",\"at\":1767323045," OK_REST "}", "at", "looks like seconds"},
		{"{\"to\":\"a\",\"at\":-1," OK_REST "}", "at", "milliseconds"},
		{"{\"to\":\"a\",\"at\":\"2026-01-02T03:04:05Z\"," OK_REST "}", "at", "milliseconds"},
		{"{\"to\":\"a\",\"at\":9007199254740993," OK_REST "}", "at", "too far"},
		{"{\"to\":\"a\",\"at\":1767323045000,\"expires\":1767323045000," OK_REST "}", "expires",
		 "later than at"},
		{"{\"to\":\"a\",\"n0\":1000," OK_REST "}", "n0", "out of range"},
		{"{\"rs\":[\"a\",\"b\"],\"n0\":999," OK_REST "}", "rs", "beyond 1000"},
	};

	for (size_t i = 0; i < hm_countof(cases); i++)
		run_bad(*state, &cases[i], decode_json);
}

/* A key may come once: where the row under test brings it, something harmless takes its place. */
static const char *other(const char *key, const char *usual, const char *instead)
{
	return strcmp(key, usual) == 0 ? instead : usual;
}

static void test_lengths(void **state)
{
	static const struct {
		const char *key;
		size_t max;
	} rows[] = {{"campaign", 64}, {"category", 64}, {"tenant", 64},	   {"channel", 128},
		    {"route", 128},   {"dedupe", 128},	{"template", 128}, {"to", 2048}};
	struct fixture *f = *state;

	for (size_t i = 0; i < hm_countof(rows); i++)
		for (size_t over = 0; over < 2; over++) {
			size_t len = rows[i].max + over;
			char *text = malloc(len);
			struct hm_buf b;
			int rc;

			assert_non_null(text);
			memset(text, 'a', len);
			hm_buf_init(&b, 1 << 16);
			hm_mp_put_map(&b, 4);
			hm_mp_put_str(&b, hm_str_c(other(rows[i].key, "to", "dedupe")));
			hm_mp_key(&b, "x");
			hm_mp_put_str(&b, hm_str_c(strcmp(rows[i].key, "route") == 0
							   ? "tenant"
							   : other(rows[i].key, "channel", "tenant")));
			hm_mp_key(&b, "c");
			hm_mp_put_str(&b, hm_str_c(other(rows[i].key, "template", "category")));
			hm_mp_key(&b, "t");
			hm_mp_put_str(&b, hm_str_c(rows[i].key));
			hm_mp_put_str(&b, hm_str_n(text, len));
			msgpack_zone_clear(&f->zone);
			rc = hm_job_decode(hm_buf_str(&b), &f->zone, &f->spec, &f->err);
			if (rc != (over ? HM_EINVAL : 0))
				fail_msg("%s of %zu bytes: %d %s", rows[i].key, len, rc, f->err.text);
			if (over)
				assert_string_equal(f->err.field, rows[i].key);
			hm_buf_fini(&b);
			free(text);
		}
}

static void test_thousand_recipients(void **state)
{
	struct fixture *f = *state;

	for (uint32_t n = 1000; n <= 1001; n++) {
		hm_buf_reset(&f->buf);
		msgpack_zone_clear(&f->zone);
		hm_mp_put_map(&f->buf, 3);
		hm_mp_key(&f->buf, "channel");
		hm_mp_key(&f->buf, "c");
		hm_mp_key(&f->buf, "template");
		hm_mp_key(&f->buf, "t");
		hm_mp_key(&f->buf, "rs");
		hm_mp_put_array(&f->buf, n);
		for (uint32_t i = 0; i < n; i++)
			hm_mp_key(&f->buf, "token");
		assert_int_equal(hm_job_decode(hm_buf_str(&f->buf), &f->zone, &f->spec, &f->err),
				 n == 1000 ? 0 : HM_EINVAL);
	}
	assert_string_equal(f->err.field, "rs");
}

static void test_foreign_types(void **state)
{
	struct fixture *f = *state;
	static const char ext[] = "\x83\xa2to\xa1x\xa7"
				  "channel\xa1"
				  "c\xa4"
				  "data\x81\xa1k\xd6\xff"
				  "1234";
	static const char int_key[] = "\x81\x01\xa1x";
	static const char data_key[] = "\x82\xa2to\xa1x\xa4"
				       "data\x81\x05\x06";
	static const char cut[] = "\x83\xa2to\xa1";

	assert_int_equal(hm_job_decode(hm_str_n(ext, sizeof(ext) - 1), &f->zone, &f->spec, &f->err),
			 HM_ETYPE);
	assert_string_equal(f->err.field, "data");
	assert_int_equal(hm_job_decode(hm_str_n(int_key, sizeof(int_key) - 1), &f->zone, &f->spec, &f->err),
			 HM_ETYPE);
	assert_int_equal(hm_job_decode(hm_str_n(data_key, sizeof(data_key) - 1), &f->zone, &f->spec, &f->err),
			 HM_ETYPE);
	assert_string_equal(f->err.field, "data");
	assert_int_equal(hm_job_decode(hm_str_n(cut, sizeof(cut) - 1), &f->zone, &f->spec, &f->err),
			 HM_EPARSE);
	assert_int_equal(hm_job_decode(HM_STR(""), &f->zone, &f->spec, &f->err), HM_EPARSE);
}

static void test_api_form(void **state)
{
	static const struct bad_case cases[] = {
		{"{\"to\":\"a\",\"id\":\"01ARZ3NDEKTSV4RRFFQ69G5FAV\"," OK_REST "}", "id", "unknown key"},
		{"{\"to\":\"a\",\"acc\":1," OK_REST "}", "acc", "unknown key"},
		{"{\"rs\":[\"a\"]," OK_REST "}", "rs", "unknown key"},
		{"{\"to\":\"a\",\"lane\":\"fast\"," OK_REST "}", "lane", "critical, high, normal or bulk"},
		{"{\"to\":\"a\",\"lane\":3," OK_REST "}", "lane", "must be a string"},
		{"{\"to\":\"a\",\"at\":\"tomorrow\"," OK_REST "}", "at", "RFC 3339"},
		{"{\"recipients\":[\"a\",{\"user\":1}]," OK_REST "}", "recipients[1].user",
		 "must be a string"},
		{"{\"recipients\":[\"a\"],\"to\":\"b\"," OK_REST "}", "to", "not both"},
	};
	struct fixture *f = *state;

	assert_int_equal(
		read_json(f,
			  "{\"to\":\"a\",\"lane\":\"critical\",\"at\":\"2026-01-02T03:04:05Z\"," OK_REST "}"),
		0);
	assert_true(f->spec.has_lane);
	assert_int_equal(f->spec.lane, HM_LANE_CRITICAL);
	assert_int_equal(f->spec.at_ms, 1767323045000);
	assert_int_equal(read_json(f, "{\"to\":\"a\"," OK_REST "}"), 0);
	assert_int_equal(f->spec.lane, HM_LANE_NORMAL);
	for (size_t i = 0; i < hm_countof(cases); i++)
		run_bad(f, &cases[i], read_json);
}

static void test_ids_and_keys(void **state)
{
	struct hm_ulid a, b;
	char key[64];
	uint32_t seen = 0;

	hm_job_derive_id(&a, 3, HM_LANE_BULK, 1767323045000, 7);
	hm_job_derive_id(&b, 3, HM_LANE_BULK, 1767323045000, 7);
	assert_true(hm_ulid_eq(&a, &b));
	assert_int_equal(hm_ulid_ms(&a), 1767323045000);
	hm_job_derive_id(&b, 3, HM_LANE_HIGH, 1767323045000, 7);
	assert_false(hm_ulid_eq(&a, &b));
	hm_job_derive_id(&b, 4, HM_LANE_BULK, 1767323045000, 7);
	assert_false(hm_ulid_eq(&a, &b));
	hm_job_derive_id(&b, 3, HM_LANE_BULK, 1767323045000, 8);
	assert_false(hm_ulid_eq(&a, &b));
	for (int i = 0; i < 400; i++) {
		hm_ulid_new(&a, 1767323045000);
		assert_true(hm_job_partition(&a, 16) < 16);
		assert_int_equal(hm_job_partition(&a, 1), 0);
		seen |= 1u << hm_job_partition(&a, 16);
	}
	assert_int_equal(seen, 0xffff);
	assert_int_equal(hm_job_stream_key(HM_STR("hm"), 7, HM_LANE_BULK, key, sizeof(key)), 13);
	assert_string_equal(key, "{hm:7}:q:bulk");
	hm_job_key(HM_STR("hm"), 12, "dead", key, sizeof(key));
	assert_string_equal(key, "{hm:12}:dead");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_every_key, setup, teardown),
		cmocka_unit_test_setup_teardown(test_binary_id_and_acc, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nil_and_empty_are_absent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors_name_the_key, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lengths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_thousand_recipients, setup, teardown),
		cmocka_unit_test_setup_teardown(test_foreign_types, setup, teardown),
		cmocka_unit_test_setup_teardown(test_api_form, setup, teardown),
		cmocka_unit_test(test_ids_and_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
