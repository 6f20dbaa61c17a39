/*
 * test_fcm.c - adapters/push/fcm.yaml: assertion, token request, exact bodies, verdicts
 */
#include "kit.h"

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

#define CHANNEL "    adapter: push/fcm\n    service_account_file: " VECTORS "fcm_service_account.json\n"

/* RS256 is deterministic: the published assertion, byte for byte. */
static void assertion(void **state)
{
	struct hm_str want = kit_file(&k, VECTORS "fcm_jwt.txt"), token;
	struct hm_err e;

	kit_need_channel(&k, CHANNEL);
	assert_true(hm_cred_exchanges(k.c));
	assert_int_equal(hm_cred_mint(k.c, WALL_MS, &k.a, &token, &e), 0);
	assert_string_equal(kit_c(&k, token), kit_c(&k, want));
}

static void token_request(void **state)
{
	struct hm_str jwt = kit_file(&k, VECTORS "fcm_jwt.txt");
	struct hm_origin_opts o;
	struct hm_call call = {0};
	struct hm_err e;
	char want[1024];

	kit_need_channel(&k, CHANNEL);
	assert_int_equal(hm_cred_request(k.c, WALL_MS, HM_STR(""), &k.a, &call, &o, &e), 0);
	assert_string_equal(kit_c(&k, call.method), "POST");
	assert_string_equal(kit_c(&k, o.host), "oauth2.googleapis.com");
	assert_int_equal(o.port, 443);
	assert_true(o.tls);
	assert_string_equal(kit_c(&k, call.path), "/token");
	snprintf(want, sizeof(want),
		 "grant_type=urn%%3Aietf%%3Aparams%%3Aoauth%%3Agrant-type%%3Ajwt-bearer&assertion=%.*s",
		 HM_STRF(jwt));
	assert_string_equal(kit_c(&k, call.body), want);
	assert_int_equal(call.n_headers, 1);
	assert_string_equal(kit_c(&k, call.headers[0].value), "application/x-www-form-urlencoded");
	/* A gateway for tests: the address changes, the audience that Google checks does not. */
	kit_need_channel(&k, CHANNEL "    token_url: http://127.0.0.1:9/token\n    endpoint: {url: "
				     "\"http://127.0.0.1:9\", http: h2c}\n");
	assert_int_equal(hm_cred_request(k.c, WALL_MS, HM_STR(""), &k.a, &call, &o, &e), 0);
	assert_string_equal(kit_c(&k, o.host), "127.0.0.1");
	assert_int_equal(o.version, HM_HTTP_2_PRIOR);
	assert_string_equal(kit_c(&k, call.body), want);
}

static struct hm_cred_result token_answer(int status, const char *body)
{
	struct hm_call call = {.fate = HM_FATE_ANSWERED, .status = status, .answer = hm_str_c(body)};
	struct hm_cred_result r;

	hm_cred_judge(k.c, &call, WALL_MS, &k.a, &r);
	return r;
}

static void token_answers(void **state)
{
	struct hm_cred_result r;

	kit_need_channel(&k, CHANNEL);
	r = token_answer(200, "{\"access_token\":\"ya29.x\",\"expires_in\":3599,\"token_type\":\"Bearer\"}");
	assert_outcome(r, "ok");
	assert_string_equal(kit_c(&k, r.token), "ya29.x");
	assert_int_equal(r.expires_at_ms, WALL_MS + 3599000);
	assert_int_equal(r.refresh_at_ms, WALL_MS + 3299000);
	r = token_answer(
		200, "{\"access_token\":\"a\\/b\",\"expires_in\":\"60\"}"); /* escapes, a number as text */
	assert_string_equal(kit_c(&k, r.token), "a/b");
	assert_int_equal(r.refresh_at_ms, WALL_MS + 30000);
	r = token_answer(400,
			 "{\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT Signature.\"}");
	assert_outcome(r, "auth");
	assert_true(r.operator_needed);
	assert_string_equal(kit_c(&k, r.detail), "Invalid JWT Signature.");
	assert_outcome(token_answer(503, "<html>"), "provider_down");
	assert_outcome(token_answer(200, "{\"access_token\":\"ya29"), "unknown");
	assert_outcome(token_answer(200, "{}"), "unknown");
	assert_outcome(token_answer(200, "{\"access_token\":12}"), "unknown");
	assert_outcome(token_answer(200, ""), "unknown");
}

static void bodies(void **state)
{
	static const struct {
		const char *message, *body;
	} rows[] = {
		{"{\"to\":\"fcm-token\",\"title\":\"Order\",\"body\":\"Arrives Friday\"}",
		 "{\"message\":{\"token\":\"fcm-token\",\"notification\":{\"title\":\"Order\",\"body\":"
		 "\"Arrives Friday\"}}}"},
		{"{\"to\":\"topic:news\",\"body\":\"b\"}",
		 "{\"message\":{\"topic\":\"news\",\"notification\":{\"body\":\"b\"}}}"},
		{"{\"to\":\"condition:'a' in topics\",\"body\":\"b\"}",
		 "{\"message\":{\"condition\":\"'a' in topics\",\"notification\":{\"body\":\"b\"}}}"},
		{"{\"to\":\"fcm-token\",\"title\":\"Order\",\"body\":\"Arrives "
		 "Friday\",\"image\":\"https://x.example/i.png\","
		 "\"url\":\"https://x.example/"
		 "8841\",\"data\":{\"order\":8841,\"ok\":true,\"deep\":{\"a\":[1,null]},\"price\":12.50},"
		 "\"options\":{\"collapse\":\"order-8841\",\"priority\":\"high\",\"ttl\":86400,\"channel\":"
		 "\"orders\","
		 "\"tag\":\"order-8841\",\"icon\":\"ic\",\"color\":\"#FF8800\",\"sound\":\"default\","
		 "\"badge\":2,\"label\":\"ship\","
		 "\"visibility\":\"private\",\"web\":true}}",
		 "{\"message\":{\"token\":\"fcm-token\","
		 "\"notification\":{\"title\":\"Order\",\"body\":\"Arrives "
		 "Friday\",\"image\":\"https://x.example/i.png\"},"
		 "\"data\":{\"url\":\"https://x.example/"
		 "8841\",\"order\":\"8841\",\"ok\":\"true\",\"deep\":\"{\\\"a\\\":[1,null]}\",\"price\":\"12."
		 "50\"},"
		 "\"android\":{\"collapse_key\":\"order-8841\",\"priority\":\"high\",\"ttl\":\"86400s\","
		 "\"notification\":{\"channel_id\":\"orders\",\"tag\":\"order-8841\",\"icon\":\"ic\","
		 "\"color\":\"#FF8800\","
		 "\"sound\":\"default\",\"visibility\":\"PRIVATE\",\"notification_count\":2}},"
		 "\"apns\":{\"headers\":{\"apns-priority\":\"10\",\"apns-collapse-id\":\"order-8841\",\"apns-"
		 "expiration\":\"1700086400\"},"
		 "\"payload\":{\"aps\":{\"badge\":2,\"sound\":\"default\"}}},"
		 "\"webpush\":{\"headers\":{\"TTL\":\"86400\",\"Urgency\":\"high\",\"Topic\":\"order-8841\"},"
		 "\"notification\":{\"icon\":\"ic\"},\"fcm_options\":{\"link\":\"https://x.example/8841\"}},"
		 "\"fcm_options\":{\"analytics_label\":\"ship\"}}}"},
		{"{\"to\":\"t1\",\"data\":{\"k\":\"v\"},\"expires\":1700000060,\"options\":{\"background\":"
		 "true}}",
		 "{\"message\":{\"token\":\"t1\",\"data\":{\"k\":\"v\"},\"android\":{\"ttl\":\"60s\"},"
		 "\"apns\":{\"headers\":{\"apns-priority\":\"5\",\"apns-expiration\":\"1700000060\",\"apns-"
		 "push-type\":\"background\"},"
		 "\"payload\":{\"aps\":{\"content-available\":1}}}}}"},
	};

	kit_need_channel(&k, CHANNEL);
	for (size_t i = 0; i < hm_countof(rows); i++) {
		kit_need_build(&k, rows[i].message);
		assert_string_equal(kit_c(&k, k.call.body), rows[i].body);
		assert_string_equal(kit_c(&k, k.call.path), "/v1/projects/demo-project/messages:send");
		assert_string_equal(kit_header(&k, "content-type"), "application/json; charset=UTF-8");
	}
	kit_need_channel(&k, CHANNEL "    send_id: true\n    project_id: other\n    android_channel: def\n   "
				     " validate_only: true\n");
	kit_need_build(
		&k,
		"{\"to\":\"t1\",\"body\":\"b\",\"data\":{\"hermod_id\":\"forged\"},\"credential\":\"TOK\"}");
	assert_string_equal(kit_c(&k, k.call.path), "/v1/projects/other/messages:send");
	assert_string_equal(kit_header(&k, "authorization"), "Bearer TOK");
	assert_string_equal(
		kit_c(&k, k.call.body),
		"{\"validate_only\":true,\"message\":{\"token\":\"t1\",\"notification\":{\"body\":\"b\"},"
		"\"data\":{\"hermod_id\":\"01HF7YAT00E008000000000001\"},"
		"\"android\":{\"notification\":{\"channel_id\":\"def\"}}}}");
}

static void hostile(void **state)
{
	kit_need_channel(&k, CHANNEL);
	kit_need_build(&k,
		       "{\"to\":\"a\\\"b\",\"title\":\"\\u0001\\\"}]\\n\",\"data\":{\"\\\"k\":\"\\\\\"}}");
	assert_string_equal(
		kit_c(&k, k.call.body),
		"{\"message\":{\"token\":\"a\\\"b\",\"notification\":{\"title\":\"\\u0001\\\"}]\\n\"},"
		"\"data\":{\"\\\"k\":\"\\\\\"}}}");
	assert_int_equal(kit_build(&k, "{\"to\":\"a\\nb\",\"body\":\"x\"}"), HM_EINVAL);
	assert_string_equal(hm_outcome_name(k.outcome), "invalid_recipient");
	assert_int_equal(kit_build(&k, "{\"to\":\"tok\",\"data\":{\"from\":\"x\"}}"), HM_EINVAL);
	assert_string_equal(hm_outcome_name(k.outcome), "bad_request");
	assert_int_equal(kit_build(&k, "{\"to\":\"tok\",\"data\":{\"google.x\":\"x\"}}"), HM_EINVAL);
	assert_int_equal(kit_build(&k, "{\"to\":\"tok\",\"body\":\"b\",\"options\":{\"ttl\":-1}}"),
			 HM_EINVAL);
	kit_need_build(&k, "{\"to\":\"tok\",\"body\":\"b\",\"options\":{\"ttl\":99999999}}");
	assert_non_null(strstr(kit_c(&k, k.call.body), "\"ttl\":\"2419200s\""));
}

static void hints(void **state)
{
	static const char *const h[] = {"retry-after", "7", NULL};
	const char *quota = "{\"error\":{\"code\":429,\"message\":\"Quota\",\"status\":\"RESOURCE_"
			    "EXHAUSTED\",\"details\":["
			    "{\"@type\":\"type.googleapis.com/"
			    "google.firebase.fcm.v1.FcmError\",\"errorCode\":\"QUOTA_EXCEEDED\"}]}}";
	const char *device = "{\"error\":{\"code\":429,\"message\":\"Quota\",\"status\":\"RESOURCE_"
			     "EXHAUSTED\",\"details\":["
			     "{\"@type\":\"type.googleapis.com/"
			     "google.firebase.fcm.v1.FcmError\",\"errorCode\":\"QUOTA_EXCEEDED\"},"
			     "{\"@type\":\"type.googleapis.com/"
			     "google.rpc.QuotaFailure\",\"violations\":[{\"subject\":\"device:x\"}]}]}}";
	struct hm_verdict v;

	kit_need_channel(&k, CHANNEL);
	kit_need_build(&k, "{\"to\":\"tok\",\"body\":\"b\"}");
	v = kit_answer_n(&k, 429, h, hm_str_c(quota));
	assert_int_equal(v.retry_after_ms, 7000);
	assert_int_equal(v.scope, HM_SCOPE_CHANNEL);
	v = kit_answer(&k, 429, quota);
	assert_int_equal(v.retry_after_ms, 60000);
	v = kit_answer(&k, 429, device);
	assert_int_equal(v.scope, HM_SCOPE_RECIPIENT);
	v = kit_answer_n(&k, 503, h,
			 HM_STR("{\"error\":{\"code\":503,\"status\":\"UNAVAILABLE\",\"message\":\"m\"}}"));
	assert_outcome(v, "retry");
	assert_int_equal(v.retry_after_ms, 7000);
	v = kit_answer(&k, 200, "{\"name\":\"projects/demo-project/messages/0:1\"}");
	assert_outcome(v, "ok");
	assert_string_equal(kit_c(&k, v.provider_id), "projects/demo-project/messages/0:1");
	v = kit_answer(&k, 401, "{\"error\":{\"code\":401,\"status\":\"UNAUTHENTICATED\"}}");
	assert_true(v.refresh_credential);
}

static void malformed(void **state)
{
	static const char *const bodies_[] = {
		"",	"{}", "{\"name\":\"\"}",     "{\"name\":\"x\"",	  "{\"name\":\"x\"}}",
		"null", "[]", "{\"name\":\"\xff\"}", "<html>name</html>", "{\"name\":null}"};

	kit_need_channel(&k, CHANNEL);
	kit_need_build(&k, "{\"to\":\"tok\",\"body\":\"b\"}");
	for (size_t i = 0; i < hm_countof(bodies_); i++)
		assert_outcome(kit_answer(&k, 200, bodies_[i]), "unknown");
	k.call.answer_cut = true; /* whole as it looks, but there was more */
	assert_outcome(kit_answer(&k, 200, "{\"name\":\"x\"}"), "unknown");
}

static void mistakes(void **state)
{
	static const struct {
		const char *map, *text;
	} rows[] = {
		{"    adapter: push/fcm\n", "service_account is missing"},
		{"    adapter: push/fcm\n    service_account: \"{\"\n", "not a JSON document"},
		{"    adapter: push/fcm\n    service_account: \"{}\"\n", "the credential has no key"},
		{"    adapter: push/fcm\n    project_id: p\n    service_account: \"{}\"\n",
		 "the credential has no key"},
		{"    adapter: push/fcm\n    project_id: p\n    service_account: '{\"private_key\":\"x\"}'\n",
		 "not a private key"},
		{"    adapter: push/fcm\n    service_account_file: " VECTORS "apns_key.p8\n",
		 "not a JSON document"},
	};

	for (size_t i = 0; i < hm_countof(rows); i++) {
		if (kit_channel(&k, rows[i].map) != NULL &&
		    kit_build(&k, "{\"to\":\"tok\",\"body\":\"b\"}") == 0)
			fail_msg("row %zu was accepted", i);
		if (strstr(k.errors, rows[i].text) == NULL && strstr(k.err.text, rows[i].text) == NULL)
			fail_msg("row %zu: %s / %s", i, k.errors, k.err.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(assertion), cmocka_unit_test(token_request), cmocka_unit_test(token_answers),
		cmocka_unit_test(bodies),    cmocka_unit_test(hostile),	      cmocka_unit_test(hints),
		cmocka_unit_test(malformed), cmocka_unit_test(mistakes),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
