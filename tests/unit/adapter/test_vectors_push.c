/*
 * test_vectors_push.c - signatures, tokens and headers of the push providers, byte for byte
 *
 * Inputs and results are published ones, or were computed with other programs from the providers' recipes.
 */
#define KIT_VECTORS
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
	kit_counted(kit_vectors, "vectors: push");
	return 0;
}

/* The token request of the channel at WALL_MS. */
static struct hm_call token_request(void)
{
	struct hm_call call = {0};
	struct hm_origin_opts origin;
	struct hm_err e;

	hm_err_clear(&e);
	if (hm_cred_request(k.c, WALL_MS, HM_STR(""), &k.a, &call, &origin, &e) != 0)
		fail_msg("token request: %s", e.text);
	return call;
}

/* app_key + timestamp + master secret. */
static void oppo(void **state)
{
	kit_need_channel(&k, "    adapter: push/oppo\n    app_key: oppoAppKey01\n    master_secret: "
			     "oppoMasterSecret01\n");
	assert_string_equal(kit_c(&k, token_request().body),
			    "app_key=oppoAppKey01&timestamp=1700000000000&sign="
			    "ec7995450317d5c90659bd9e2fd0a4d97360647942923b8a994b2bfdee624780");
}

/* A token lives for a day from its creation, and is renewed when it is 20 hours old. */
static void oppo_token(void **state)
{
	struct hm_call call = token_request();
	struct hm_cred_result r;

	call.fate = HM_FATE_ANSWERED;
	call.status = 200;
	call.answer = HM_STR(
		"{\"code\":0,\"message\":\"success\",\"data\":{\"auth_token\":\"t0ken\",\"create_"
		"time\":1700000000000}}");
	hm_cred_judge(k.c, &call, WALL_MS, &k.a, &r);
	assert_int_equal(r.outcome, HM_OUT_OK);
	assert_string_equal(kit_c(&k, r.token), "t0ken");
	assert_int_equal(r.expires_at_ms - WALL_MS, 24ull * 3600 * 1000);
	assert_int_equal(r.refresh_at_ms - WALL_MS, 20ull * 3600 * 1000);
	call.answer = HM_STR("{\"code\":16,\"message\":\"Invalid sign\"}");
	hm_cred_judge(k.c, &call, WALL_MS, &k.a, &r);
	assert_int_equal(r.outcome, HM_OUT_AUTH);
	assert_true(r.operator_needed);
}

/* appId + appKey + timestamp + secret. */
static void vivo(void **state)
{
	kit_need_channel(&k, "    adapter: push/vivo\n    app_id: 10004\n    app_key: "
			     "fd6a3b2c-9d1e-4c7f-8a11-0f2e3d4c5b6a\n    app_secret: "
			     "b1f0c2d3-e4a5-4b6c-9d7e-8f9a0b1c2d3e\n");
	assert_string_equal(kit_c(&k, token_request().body),
			    "{\"appId\":10004,\"appKey\":\"fd6a3b2c-9d1e-4c7f-8a11-0f2e3d4c5b6a\","
			    "\"timestamp\":1700000000000,\"sign\":\"cd27699f52749ca22d2f74f2964ea5a0\"}");
	kit_need_build(&k, "{\"to\":\"v2-1\",\"title\":\"t\",\"body\":\"b\",\"credential\":\"T\"}");
	assert_string_equal(kit_header(&k, "authtoken"), "T");
}

/* name=value of all fields, sorted, and the secret. */
static void meizu(void **state)
{
	kit_need_channel(&k, "    adapter: push/meizu\n    app_id: \"100999\"\n    app_secret: "
			     "meizuAppSecret01\n    message_type: public\n");
	kit_need_build(&k, "{\"to\":[\"pid_a\",\"pid_b\"],\"title\":\"Hi\",\"body\":\"Build 41 finished\"}");
	assert_string_equal(
		kit_c(&k, k.call.body),
		"appId=100999&pushIds=pid_a%2Cpid_b&messageJson=%7B%22noticeBarInfo%22%3A%7B%22title%22%3A%"
		"22Hi%22%2C%22content%22%3A%22Build+41+finished%22%7D%7D&sign="
		"a4b438aaec9a6f66f6ba55ce30e815c7");
}

/* The JWT is the token: PS256 over what the service account says. */
static void harmonyos(void **state)
{
	struct hm_str token, header, claims, rest;
	struct hm_buf b;
	struct hm_err e;

	kit_need_channel(&k, "    adapter: push/harmonyos\n    service_account_file: " VECTORS
			     "huawei_service_account.json\n");
	hm_err_clear(&e);
	assert_int_equal(hm_cred_mint(k.c, WALL_MS, &k.a, &token, &e), 0);
	rest = token;
	assert_true(hm_str_split(&rest, '.', &header));
	assert_true(hm_str_split(&rest, '.', &claims));
	hm_buf_init_arena(&b, &k.a, 4096);
	assert_true(hm_buf_unbase64(&b, header));
	hm_buf_putc(&b, ' ');
	assert_true(hm_buf_unbase64(&b, claims));
	assert_string_equal(
		hm_buf_cstr(&b),
		"{\"kid\":\"0123456789abcdef\",\"typ\":\"JWT\",\"alg\":\"PS256\"} "
		"{\"iss\":\"100000001\",\"aud\":\"https://oauth-login.cloud.huawei.com/oauth2/v3/token\","
		"\"iat\":1700000000,\"exp\":1700003600}");
	kit_need_build(&k, "{\"to\":\"IQAAAACy0tE1\",\"title\":\"t\",\"body\":\"b\",\"credential\":\"T\"}");
	assert_string_equal(kit_header(&k, "push-type"), "0");
	assert_string_equal(kit_header(&k, "authorization"), "Bearer T");
	assert_string_equal(kit_c(&k, k.call.path), "/v3/101653523863781234/messages:send");
}

/* App key and secret as Basic authentication. */
static void jpush(void **state)
{
	kit_need_channel(&k, "    adapter: push/jpush\n    app_key: dev_app_key\n    master_secret: "
			     "dev_master_secret\n    send_cid: yes\n");
	kit_need_build(&k, "{\"to\":[\"1507bfd3f7c1234567\",\"2\"],\"body\":\"Build 41 finished\"}");
	assert_string_equal(kit_header(&k, "authorization"),
			    "Basic ZGV2X2FwcF9rZXk6ZGV2X21hc3Rlcl9zZWNyZXQ=");
	struct hm_str first = k.call.body;

	assert_true(hm_str_starts(first, HM_STR("{\"cid\":\"dev_app_key-")));
	/* The same message in another company is another call. */
	kit_need_build(&k, "{\"to\":[\"1507bfd3f7c1234567\",\"3\"],\"body\":\"Build 41 finished\"}");
	assert_false(hm_str_eq(hm_str_n(first.p, 60), hm_str_n(k.call.body.p, 60)));
}

/* appkey + timestamp + master secret; the answer tells when the token ends. */
static void getui(void **state)
{
	struct hm_cred_result r;
	struct hm_call call;

	kit_need_channel(&k, "    adapter: push/getui\n    app_id: app\n    app_key: gtAppKey01\n    "
			     "master_secret: gtMasterSecret01\n");
	call = token_request();
	assert_string_equal(kit_c(&k, call.path), "/v2/app/auth");
	assert_string_equal(kit_c(&k, call.body),
			    "{\"sign\":\"2723734e3a6731b24eb327585f0a3d1c6f0e08ee3f792619df4f93d6ad770caa\","
			    "\"timestamp\":\"1700000000000\",\"appkey\":\"gtAppKey01\"}");
	call.fate = HM_FATE_ANSWERED;
	call.status = 200;
	call.answer = HM_STR("{\"code\":0,\"msg\":\"success\",\"data\":{\"expire_time\":\"1700086400000\","
			     "\"token\":\"t0ken\"}}");
	hm_cred_judge(k.c, &call, WALL_MS, &k.a, &r);
	assert_int_equal(r.outcome, HM_OUT_OK);
	assert_int_equal(r.expires_at_ms - WALL_MS, 24ull * 3600 * 1000);
	assert_int_equal(r.refresh_at_ms - WALL_MS, 23ull * 3600 * 1000);
}

/* POST + url without query + body + secret: the bytes that are sent. */
static void umeng(void **state)
{
	kit_need_channel(&k, "    adapter: push/umeng\n    app_key: umAppKey01\n    app_master_secret: "
			     "umMasterSecret01\n");
	kit_need_build(&k, "{\"to\":\"AuDeviceToken01\",\"title\":\"Order\",\"body\":\"Arrives Friday\"}");
	assert_string_equal(kit_c(&k, k.call.body),
			    "{\"appkey\":\"umAppKey01\",\"timestamp\":\"1700000000\",\"type\":\"unicast\","
			    "\"device_tokens\":"
			    "\"AuDeviceToken01\",\"payload\":{\"display_type\":\"notification\",\"body\":{"
			    "\"ticker\":\"Order\","
			    "\"title\":\"Order\",\"text\":\"Arrives Friday\",\"after_open\":\"go_app\"}}}");
	assert_string_equal(kit_c(&k, k.call.path), "/api/send?sign=fe7d1ca9c39dc67e468b8b1d4f2000da");
}

/* Signature Version 4 over the exact body. */
static void sns(void **state)
{
	kit_need_channel(
		&k,
		"    adapter: push/sns-mobile\n    access_key_id: AKIDEXAMPLE\n    secret_access_key: "
		"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\n    region: us-east-1\n    payload: default\n");
	kit_need_build(&k, "{\"to\":\"arn:aws:sns:us-east-1:123456789012:endpoint/GCM/app/"
			   "5e3e9847-3183-3f18-a7e8-671c3a57d4b3\",\"body\":\"Build 41 finished\"}");
	assert_string_equal(kit_c(&k, k.call.body), "Action=Publish&Message=%7B%22default%22%3A%22Build%2041%"
						    "20finished%22%7D&MessageStructure=json&TargetArn="
						    "arn%3Aaws%3Asns%3Aus-east-1%3A123456789012%3Aendpoint%"
						    "2FGCM%2Fapp%2F5e3e9847-3183-3f18-a7e8-671c3a57d4b3&"
						    "Version=2010-03-31");
	assert_string_equal(kit_header(&k, "x-amz-date"), "20231114T221320Z");
	assert_string_equal(kit_header(&k, "authorization"),
			    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20231114/us-east-1/sns/aws4_request, "
			    "SignedHeaders=content-type;host;x-amz-date, "
			    "Signature=0e848f76c6d4b219dc604578d201e38ccca786d1820b86c3ba429ed606848087");
}

/* JSON in JSON in a form: each platform's payload is a text there. */
static void sns_payload(void **state)
{
	kit_need_channel(&k,
			 "    adapter: push/sns-mobile\n    access_key_id: A\n    secret_access_key: B\n    "
			 "region: us-east-1\n");
	kit_need_build(
		&k,
		"{\"to\":\"arn:aws:sns:us-east-1:1:endpoint/APNS/app/1\",\"title\":\"t\",\"body\":\"b\"}");
	assert_true(hm_str_find(k.call.body, HM_STR("%22APNS%22%3A%22%7B%5C%22aps%5C%22%3A")) > 0);
	assert_true(hm_str_find(k.call.body, HM_STR("AWS.SNS.MOBILE.APNS.PUSH_TYPE")) > 0);
	kit_need_build(&k, "{\"to\":\"arn:aws:sns:us-east-1:1:news\",\"body\":\"b\"}");
	assert_true(hm_str_find(k.call.body, HM_STR("&TopicArn=arn")) > 0);
	assert_true(hm_str_find(k.call.body, HM_STR("TargetArn")) < 0);
}

/* Baidu's own sample, encoded as PHP does. */
static void baidu(void **state)
{
	kit_use(&k,
		"adapter: {name: sms/test, title: T, docs: https://x.example}\n"
		"endpoint: {url: \"http://api.tuisong.baidu.com\"}\n"
		"let:\n"
		"  signed: (request.method ~ request.url ~ (request.form | sort | pairs(\"=\", \"\")) ~ "
		"\"87772555E1C16715EBA5C85341684C58\") | form | replace(\"*\", \"%2A\")\n"
		"request:\n  path: /rest/3.0/test/echo\n"
		"  form: {apikey: Ljc710pzAa99GULCo8y48NvB, expires: 1313293565, timestamp: 1427180905}\n"
		"  sign: {form: {sign: \"${signed | md5 | hex}\"}}\n"
		"answer: {success: status == 200}\n",
		NULL);
	kit_need_build(&k, "{\"to\":\"1\",\"body\":\"b\"}");
	assert_true(hm_str_ends(k.call.body, HM_STR("&sign=7d14113142e2a1583b4e9dad3fba73d0")));
	kit_fini(&k);
	kit_init(&k);
}

/* Tokens go to Microsoft only. */
static void wns(void **state)
{
	kit_need_channel(&k, "    adapter: push/wns\n    client_id: ms-app://s-1\n    client_secret: x\n");
	kit_need_build(
		&k, "{\"to\":\"https://db5.notify.windows.com/?token=AwYA\",\"title\":\"<b>\",\"body\":\"a & "
		    "b\",\"credential\":\"T\"}");
	assert_string_equal(kit_c(&k, k.call.path), "/?token=AwYA");
	assert_string_equal(
		kit_c(&k, k.call.body),
		"<toast><visual><binding template=\"ToastGeneric\"><text>&lt;b&gt;</text><text>a &amp; "
		"b</text></binding></visual></toast>");
	assert_string_equal(kit_header(&k, "x-wns-type"), "wns/toast");
	assert_int_equal(kit_build(&k, "{\"to\":\"https://db5.notify.windows.com.evil.example/"
				       "?token=AwYA\",\"body\":\"b\"}"),
			 HM_EINVAL);
	assert_int_equal(k.outcome, HM_OUT_INVALID_RECIPIENT);
	kit_need_build(
		&k,
		"{\"to\":\"https://db5.notify.windows.com/?token=AwYA\",\"options\":{\"push_type\":\"badge\","
		"\"badge\":7}}");
	assert_string_equal(kit_c(&k, k.call.body), "<badge value=\"7\"/>");
}

/* A name stands for a number, the same one each time; a number stays what it is. */
static void numbers(void **state)
{
	kit_need_channel(&k, "    adapter: push/vivo\n    app_id: 1\n    app_key: a\n    app_secret: b\n");
	kit_need_build(&k,
		       "{\"to\":\"r\",\"title\":\"t\",\"body\":\"b\",\"options\":{\"collapse\":\"8841\"}}");
	assert_true(hm_str_find(k.call.body, HM_STR("\"notifyId\":8841,")) > 0);
	kit_need_build(&k,
		       "{\"to\":\"r\",\"title\":\"t\",\"body\":\"b\",\"options\":{\"collapse\":\"order\"}}");
	assert_true(hm_str_find(k.call.body, HM_STR("\"notifyId\":")) > 0);
	assert_true(hm_str_find(k.call.body, HM_STR("\"notifyId\":0,")) < 0);
	kit_need_build(
		&k,
		"{\"to\":\"r\",\"title\":\"t\",\"body\":\"b\",\"options\":{\"collapse\":\"99999999999\"}}");
	assert_true(hm_str_find(k.call.body, HM_STR("\"notifyId\":99999999999")) < 0);
	kit_need_build(&k, "{\"to\":\"r\",\"title\":\"t\",\"body\":\"b\"}");
	assert_true(hm_str_find(k.call.body, HM_STR("notifyId")) < 0);
	assert_true(hm_str_find(k.call.body, HM_STR("timeToLive")) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(oppo),	       cmocka_unit_test(oppo_token), cmocka_unit_test(vivo),
		cmocka_unit_test(meizu),       cmocka_unit_test(harmonyos),  cmocka_unit_test(jpush),
		cmocka_unit_test(getui),       cmocka_unit_test(umeng),	     cmocka_unit_test(sns),
		cmocka_unit_test(sns_payload), cmocka_unit_test(baidu),	     cmocka_unit_test(wns),
		cmocka_unit_test(numbers),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
