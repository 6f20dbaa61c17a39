/*
 * test_webhook.c - adapters/webhook/standard.yaml: the three vectors, requests, addresses, verdicts
 */
#include "kit.h"

#include "base/clock.h"

static struct kit k;

static int setup(void **state)
{
	kit_init(&k);
	return 0;
}
static int teardown(void **state)
{
	kit_fini(&k);
	return 0;
}

static char *replaced(struct kit *kit, struct hm_str text, const char *from, const char *to)
{
	struct hm_buf b;
	ptrdiff_t at = hm_str_find(text, hm_str_c(from));

	assert_true(at >= 0);
	hm_buf_init_arena(&b, &kit->a, 1 << 20);
	hm_buf_put(&b, text.p, (size_t)at);
	hm_buf_puts(&b, hm_str_c(to));
	hm_buf_put(&b, text.p + at + strlen(from), text.len - (size_t)at - strlen(from));
	return (char *)(uintptr_t)hm_buf_cstr(&b);
}

/* The adapter file itself, with nothing changed but the id, which the vectors choose freely. */
static void vectors(void **state)
{
	static const struct {
		const char *id, *secrets, *body, *want;
		uint64_t s;
	} rows[] = {
		{"msg_p5jXN8AQM9LWM0D4loKWxJek", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		 "{\"test\": 2432232314}", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", 1614265330},
		{"msg_1", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "{\"a\":1}",
		 "v1,AMaOha7DUT/0J0JMycRuYOBSvbx3WtwLd2khXXbaVj4=", 1700000000},
		{"msg_1", "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "{\"a\":1}",
		 "v1a,DA+4m4VqA33Hm9Wlha/"
		 "1LaJIOTEvbTa2btJ5gtcP1KIJ83aMbtlDaDEj9gW4UzCjPd9EMUgy41eDWvfIiFddCQ==",
		 1700000000},
		{"msg_1",
		 "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=, "
		 "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
		 "{\"a\":1}",
		 "v1,AMaOha7DUT/0J0JMycRuYOBSvbx3WtwLd2khXXbaVj4= "
		 "v1a,DA+4m4VqA33Hm9Wlha/"
		 "1LaJIOTEvbTa2btJ5gtcP1KIJ83aMbtlDaDEj9gW4UzCjPd9EMUgy41eDWvfIiFddCQ==",
		 1700000000},
	};

	for (size_t i = 0; i < hm_countof(rows); i++) {
		struct hm_str text = kit_file(&k, HM_ROOT_DIR "/adapters/webhook/standard.yaml");
		char id[80], map[600], *yaml;
		struct kit one;

		snprintf(id, sizeof(id), "msg_id: '\"%s\"'", rows[i].id);
		yaml = replaced(&k, text, "msg_id: id", id);
		kit_init(&one);
		kit_use_adapter(&one, kit_adapter_text(&one, yaml));
		snprintf(map, sizeof(map),
			 "    adapter: webhook/standard\n    format: raw\n    secrets: [%s]\n",
			 rows[i].secrets);
		kit_need_channel(&one, map);
		kit_message(&one, "{\"to\":\"https://hooks.example.com/x\"}");
		one.content.body = hm_str_c(rows[i].body);
		one.in.wall_ms = rows[i].s * 1000 + 7;
		if (hm_channel_build(&one.in, &one.a, &one.call, &one.origin, &one.outcome, &one.err) != 0)
			fail_msg("%s", one.err.text);
		assert_string_equal(kit_c(&one, one.call.body), rows[i].body);
		assert_string_equal(kit_header(&one, "webhook-id"), rows[i].id);
		assert_string_equal(kit_header(&one, "webhook-signature"), rows[i].want);
		/* Again: the keyed context of the thread's cache gives the same. */
		assert_int_equal(
			hm_channel_build(&one.in, &one.a, &one.call, &one.origin, &one.outcome, &one.err), 0);
		assert_string_equal(kit_header(&one, "webhook-signature"), rows[i].want);
		kit_fini(&one);
	}
}

#define SECRET \
	"    adapter: webhook/standard\n    secrets: [whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=]\n"

static void an_event(void **state)
{
	uint8_t flags;

	kit_need_channel(&k, SECRET "    headers: {X-Tenant: acme, content-type: text/evil}\n");
	assert_true(hm_channel_info(k.c)->recipient_is_url);
	assert_true(hm_channel_info(k.c)->idempotent);
	assert_false(hm_channel_info(k.c)->needs_credential);
	kit_need_build(
		&k,
		"{\"to\":\"https://hooks.example.com:8443/in?a=1#frag\",\"user\":\"u1\",\"title\":\"Parcel\","
		"\"body\":\"It "
		"\\\"moved\\\"\\n\",\"data\":{\"n\":1,\"id\":\"forged\"},\"options\":{\"type\":\"parcel."
		"moved\"}}");
	assert_string_equal(kit_c(&k, k.call.path), "/in?a=1");
	assert_string_equal(kit_c(&k, k.origin.host), "hooks.example.com");
	assert_int_equal(k.origin.port, 8443);
	assert_true(k.origin.tls);
	assert_true(k.origin.deny_private);
	assert_string_equal(kit_c(&k, k.call.body),
			    "{\"type\":\"parcel.moved\",\"timestamp\":\"2023-11-14T22:13:20Z\",\"data\":{"
			    "\"id\":\"01HF7YAT00E008000000000001\",\"user\":\"u1\",\"title\":\"Parcel\","
			    "\"body\":\"It \\\"moved\\\"\\n\",\"n\":1}}");
	assert_string_equal(kit_header_flags(&k, "webhook-id", &flags), "01HF7YAT00E008000000000001");
	assert_int_equal(flags, HM_HDR_NO_INDEX);
	assert_string_equal(kit_header(&k, "webhook-timestamp"), "1700000000");
	assert_string_equal(kit_header(&k, "x-tenant"), "acme");
	assert_string_equal(kit_header(&k, "content-type"), "application/json");
}

static void retries_keep_the_body(void **state)
{
	const char *first;

	kit_need_channel(&k, SECRET);
	kit_need_build(&k, "{\"to\":\"https://hooks.example.com/\",\"body\":\"b\"}");
	first = kit_c(&k, k.call.body);
	k.in.wall_ms += 3600000;
	assert_int_equal(hm_channel_build(&k.in, &k.a, &k.call, &k.origin, &k.outcome, &k.err), 0);
	assert_string_equal(kit_c(&k, k.call.body), first);
	assert_string_equal(kit_header(&k, "webhook-timestamp"), "1700003600");
}

static void fixed_url(void **state)
{
	kit_need_channel(&k, SECRET "    url: https://in.example.com/hook?k=v\n");
	assert_false(hm_channel_info(k.c)->recipient_is_url);
	assert_false(hm_channel_info(k.c)->origin.deny_private);
	kit_need_build(&k, "{\"to\":\"whoever\",\"body\":\"b\"}");
	assert_string_equal(kit_c(&k, k.call.path), "/hook?k=v");
	assert_non_null(strstr(kit_c(&k, k.call.body), "\"to\":\"whoever\""));
	assert_null(kit_channel(&k, SECRET "    url: http://in.example.com/\n"));
	assert_non_null(strstr(k.errors, "https://"));
	kit_need_channel(&k, SECRET "    url: http://in.example.com/\n    allow_http: true\n");
	assert_null(kit_channel(&k, "    adapter: webhook/standard\n"));
	assert_non_null(strstr(k.errors, "secrets is missing"));
	assert_null(kit_channel(&k, "    adapter: webhook/standard\n    secrets: [whsec_!!!]\n"));
	assert_non_null(strstr(k.errors, "base64"));
}

static void bad_addresses(void **state)
{
	static const char *const urls[] = {
		"http://hooks.example.com/",
		"ftp://hooks.example.com/",
		"hooks.example.com",
		"",
		"https://",
		"https://user@hooks.example.com/",
		"https://hooks.example.com/a b",
		"https://hooks.example.com/\\r\\nX: y",
		"https://hooks.example.com:99999/",
		"https://hooks.example.com/\\u00e9",
		"javascript://x",
	};

	kit_need_channel(&k, SECRET);
	for (size_t i = 0; i < hm_countof(urls); i++) {
		char json[200];

		snprintf(json, sizeof(json), "{\"to\":\"%s\",\"body\":\"b\"}", urls[i]);
		if (kit_build(&k, json) == 0)
			fail_msg("accepted %s", urls[i]);
		assert_string_equal(hm_outcome_name(k.outcome), "invalid_recipient");
	}
}

static void raw_must_be_json(void **state)
{
	kit_need_channel(&k, SECRET "    format: raw\n");
	assert_int_equal(kit_build(&k, "{\"to\":\"https://h.example.com/\",\"body\":\"{\\\"a\\\":\"}"),
			 HM_EINVAL);
	assert_string_equal(hm_outcome_name(k.outcome), "bad_request");
	assert_non_null(strstr(k.err.text, "JSON"));
}

static void answers(void **state)
{
	static const char *const seconds[] = {"retry-after", "120", NULL};
	char http_date[] = "Tue, 14 Nov 2023 22:15:20 GMT"; /* 120 s later */
	const char *date[] = {"retry-after", http_date, NULL};
	struct hm_verdict v;

	kit_need_channel(&k, SECRET);
	kit_need_build(&k, "{\"to\":\"https://h.example.com/\",\"body\":\"b\"}");
	for (int s = 200; s < 300; s++) {
		v = kit_answer(&k, s, s % 2 ? "anything" : "");
		assert_outcome(v, "ok");
	}
	for (int s = 300; s < 600; s++) {
		const char *want = s == 410			      ? "invalid_recipient"
				   : s == 429 || s == 502 || s == 504 ? "rate_limited"
				   : s < 500			      ? "retry"
								      : "provider_down";

		v = kit_answer(&k, s, "<html>");
		assert_outcome(v, want);
	}
	v = kit_answer_n(&k, 429, seconds, HM_STR(""));
	assert_int_equal(v.retry_after_ms, 120000);
	assert_int_equal(v.scope, HM_SCOPE_RECIPIENT);
	v = kit_answer_n(&k, 504, date, HM_STR(""));
	assert_int_equal(v.retry_after_ms, 120000);
	v = kit_answer_n(&k, 503, seconds, HM_STR(""));
	assert_int_equal(v.retry_after_ms, 120000);
}

/* More than wire.max_response_bytes: the status decides where it is all that is asked for. */
static void cut_answers(void **state)
{
	static const struct {
		const char *answer;
		int status;
		enum hm_outcome want;
	} rows[] = {
		{"{format: json, success: status == 200}", 200, HM_OUT_OK},
		{"{format: json, success: status == 200}", 503, HM_OUT_PROVIDER_DOWN},
		{"{format: json, success: status == 200 && answer.code == 0}", 200, HM_OUT_UNKNOWN},
		{"{format: json, success: status == 200 && !answer.error}", 200, HM_OUT_UNKNOWN},
		{"{format: none, success: status == 200 && answer_text | contains('ok')}", 200,
		 HM_OUT_UNKNOWN},
		{"{format: json, success: status == 200 && answer.code == 0}", 400, HM_OUT_BAD_REQUEST},
		{"{format: json, success: status == 204 || answer.code == 0}", 204, HM_OUT_OK},
	};

	for (size_t i = 0; i < hm_countof(rows); i++) {
		struct hm_buf b;
		struct hm_verdict v;

		hm_buf_init(&b, 4096);
		hm_buf_printf(&b,
			      "adapter: {name: sms/test, title: t}\n"
			      "endpoint: {url: \"https://x.example\"}\n"
			      "address: {max: 100, what: a name}\n"
			      "request: {method: POST, path: /x, json: {to: \"${to}\"}}\n"
			      "answer: %s\n",
			      rows[i].answer);
		kit_use(&k, hm_buf_cstr(&b), NULL);
		kit_message(&k, "{\"content\": {\"body\": \"x\"}, \"to\": \"a\"}");
		v = kit_answer_cut(&k, rows[i].status, "{\"code\": 0, \"ok\": 1, \"more\": \"");
		if (v.outcome != rows[i].want)
			fail_msg("%s, status %d: %s", rows[i].answer, rows[i].status,
				 hm_outcome_name(v.outcome));
		hm_buf_fini(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors),
		cmocka_unit_test(an_event),
		cmocka_unit_test(retries_keep_the_body),
		cmocka_unit_test(fixed_url),
		cmocka_unit_test(bad_addresses),
		cmocka_unit_test(raw_must_be_json),
		cmocka_unit_test(answers),
		cmocka_unit_test(cut_answers),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
