/*
 * test_signatures.c - signatures of the adapters, byte for byte
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
	kit_counted(kit_vectors, "vectors: signatures");
	return 0;
}

/* The request for `message` at this time, with this nonce. */
static void build_at(const char *message, uint64_t wall_ms, const char *nonce)
{
	kit_message(&k, message);
	memset(&k.call, 0, sizeof(k.call));
	k.in.wall_ms = wall_ms;
	k.in.nonce = hm_str_c(nonce);
	if (hm_channel_build(&k.in, &k.a, &k.call, &k.origin, &k.outcome, &k.err) != 0)
		fail_msg("build: %s", k.err.text);
}

/* RPC signature; the parameters hold a blank, a star, a tilde and UTF-8. */
static void aliyun(void **state)
{
	kit_need_channel(
		&k, "    adapter: sms/aliyun\n    access_key_id: testid\n    access_key_secret: testsecret\n"
		    "    sign_name: 测试\n    send_id: no\n");
	build_at("{\"to\":\"+8613800000000\",\"options\":{\"template\":\"SMS_1\"},\"data\":{\"code\":\"1 "
		 "2*3~4\"}}",
		 1704164645000, "nonce-0001");
	assert_string_equal(
		kit_c(&k, k.call.body),
		"AccessKeyId=testid&Action=SendSms&Version=2017-05-25&Format=JSON&RegionId=cn-hangzhou&"
		"SignatureMethod=HMAC-SHA1&SignatureVersion=1.0&SignatureNonce=nonce-0001&Timestamp=2024-01-"
		"02T03%3A04%3A05Z&"
		"PhoneNumbers=13800000000&SignName=%E6%B5%8B%E8%AF%95&TemplateCode=SMS_1&"
		"TemplateParam=%7B%22code%22%3A%221%202%2A3~4%22%7D&Signature=n1T4gpDP7rUbpWMZ9%2FEddYoevHI%"
		"3D");
}

/* Several numbers, national and foreign, in the form that is wanted there. */
static void aliyun_numbers(void **state)
{
	kit_need_channel(
		&k, "    adapter: sms/aliyun\n    access_key_id: testid\n    access_key_secret: testsecret\n"
		    "    sign_name: s\n    template: SMS_1\n    body_param: content\n");
	assert_int_equal(hm_channel_info(k.c)->batch_max, 1000);
	kit_need_build(&k, "{\"to\":[\"+8613800000000\",\"+14155550100\",\"13800000001\"],\"body\":\"b\"}");
	assert_true(hm_str_find(k.call.body,
				HM_STR("PhoneNumbers=13800000000%2C14155550100%2C13800000001&")) > 0);
	assert_true(hm_str_find(k.call.body, HM_STR("TemplateParam=%7B%22content%22%3A%22b%22%7D&")) > 0);
	assert_int_equal(kit_build(&k, "{\"to\":\"tel:1\",\"body\":\"b\"}"), HM_EINVAL);
	assert_int_equal(k.outcome, HM_OUT_INVALID_RECIPIENT);
}

/* TC3-HMAC-SHA256 with content-type, host and x-tc-action. */
static void tencent(void **state)
{
	kit_need_channel(&k,
			 "    adapter: sms/tencent\n    secret_id: AKIDEXAMPLE\n    secret_key: SKEXAMPLE\n"
			 "    app_id: \"1400000000\"\n    sign_name: test\n    send_id: no\n");
	build_at("{\"to\":\"+8613800000000\",\"options\":{\"template\":\"1234\",\"params\":[\"5678\"]}}",
		 1700000000000, "");
	assert_string_equal(kit_c(&k, k.call.body),
			    "{\"PhoneNumberSet\":[\"+8613800000000\"],\"SmsSdkAppId\":\"1400000000\","
			    "\"SignName\":\"test\",\"TemplateId\":\"1234\",\"TemplateParamSet\":[\"5678\"]}");
	assert_string_equal(kit_header(&k, "authorization"),
			    "TC3-HMAC-SHA256 Credential=AKIDEXAMPLE/2023-11-14/sms/tc3_request, "
			    "SignedHeaders=content-type;host;x-tc-action, "
			    "Signature=84f26754e5ada4b28d5e7b70accc1af881d0b37e6f42daf951ea26ca2bc645d6");
	assert_string_equal(kit_header(&k, "x-tc-timestamp"), "1700000000");
	assert_string_equal(kit_header(&k, "x-tc-action"), "SendSms");
	assert_string_equal(kit_header(&k, "content-type"), "application/json; charset=utf-8");
}

/* A call never mixes mainland and foreign numbers. */
static void tencent_numbers(void **state)
{
	static const char *const map = "    adapter: sms/tencent\n    secret_id: a\n    secret_key: b\n"
				       "    app_id: \"1\"\n    template: \"1\"\n    numbers: ";
	char text[300];

	snprintf(text, sizeof(text), "%sany\n", map);
	kit_need_channel(&k, text);
	assert_int_equal(hm_channel_info(k.c)->batch_max, 1);
	snprintf(text, sizeof(text), "%smainland\n", map);
	kit_need_channel(&k, text);
	assert_int_equal(hm_channel_info(k.c)->batch_max, 200);
	assert_int_equal(kit_build(&k, "{\"to\":[\"+8613800000000\",\"+14155550100\"],\"body\":\"b\"}"),
			 HM_EINVAL);
	assert_int_equal(k.outcome, HM_OUT_INVALID_RECIPIENT);
	snprintf(text, sizeof(text), "%sforeign\n", map);
	kit_need_channel(&k, text);
	assert_int_equal(kit_build(&k, "{\"to\":[\"+8613800000000\"],\"body\":\"b\"}"), HM_EINVAL);
	kit_need_build(&k, "{\"to\":[\"+14155550100\",\"+447700900000\"],\"body\":\"b\"}");
}

static void vonage(void **state)
{
	static const char *const rows[][2] = {
		{"md5hash", "0aa9fb489e9500f553065d55b72afca2"},
		{"md5", "dc2eb19ec9c3f5451fd351429aa43081"},
		{"sha1", "da850bde997706d21d62ebde596124889e25fa0d"},
		{"sha256", "018645a582514e9436841544389e07ff33a6776b3e1a37ea59a241295358b3a0"},
		{"sha512", "f5101c5f3228b31ed9c281c54f4fb81ffe41da8d04052ae4a2ed111c1a66f01d2d387754790fedbf4"
			   "cbebb2969bf5e4a"
			   "d070475b03bd81b6df74fb8f9a729486"},
	};

	for (size_t i = 0; i < hm_countof(rows); i++) {
		char map[300], want[400];

		snprintf(map, sizeof(map),
			 "    adapter: sms/vonage\n    api_key: abcd1234\n    signature: %s\n"
			 "    signature_secret: my_signature_secret\n    from: VonageTest\n    send_id: no\n",
			 rows[i][0]);
		kit_need_channel(&k, map);
		build_at("{\"to\":\"447700900000\",\"body\":\"a&b=c hello\"}", 1700000000000, "");
		snprintf(want, sizeof(want),
			 "api_key=abcd1234&timestamp=1700000000&from=VonageTest&to=447700900000&type=text&"
			 "text=a%%26b%%3Dc+hello&sig=%s",
			 rows[i][1]);
		assert_string_equal(kit_c(&k, k.call.body), want);
	}
	/* The secret and a signature exclude each other; a text beyond ASCII says so. */
	kit_need_channel(&k, "    adapter: sms/vonage\n    api_key: abcd1234\n    api_secret: s\n    from: "
			     "A\n    send_id: no\n");
	kit_need_build(&k, "{\"to\":\"+447700900000\",\"body\":\"价\"}");
	assert_string_equal(
		kit_c(&k, k.call.body),
		"api_key=abcd1234&api_secret=s&from=A&to=447700900000&type=unicode&text=%E4%BB%B7");
}

static void twilio(void **state)
{
	kit_need_channel(&k, "    adapter: sms/twilio\n    account_sid: AC1\n    auth_token: tok\n    from: "
			     "\"+14155550101\"\n");
	kit_need_build(&k, "{\"to\":\"+8613800000000\",\"body\":\"Your code is 123456\"}");
	assert_string_equal(kit_c(&k, k.call.path), "/2010-04-01/Accounts/AC1/Messages.json");
	assert_string_equal(kit_c(&k, k.call.body),
			    "To=%2B8613800000000&From=%2B14155550101&Body=Your+code+is+123456");
	assert_string_equal(kit_header(&k, "authorization"), "Basic QUMxOnRvaw==");
	kit_need_channel(
		&k,
		"    adapter: sms/twilio\n    account_sid: AC1\n    api_key_sid: SK1\n    api_key_secret: s\n"
		"    messaging_service_sid: MG1\n");
	kit_need_build(&k, "{\"to\":\"8613800000000\",\"options\":{\"template\":\"HX1\",\"ttl\":90000},"
			   "\"data\":{\"1\":\"Ann\"}}");
	assert_string_equal(kit_c(&k, k.call.body),
			    "To=%2B8613800000000&MessagingServiceSid=MG1&ContentSid=HX1&"
			    "ContentVariables=%7B%221%22%3A%22Ann%22%7D&ValidityPeriod=36000");
	assert_string_equal(kit_header(&k, "authorization"), "Basic U0sxOnM=");
}

/* Key and text of DingTalk's HMAC: the secret, and time, line feed, secret. */
static void dingtalk(void **state)
{
	kit_need_channel(
		&k,
		"    adapter: chat/dingtalk-robot\n    access_token: T\n    secret: SECabcdef0123456789\n");
	build_at("{\"to\":\"g\",\"body\":\"b\"}", 1700000000000, "");
	assert_string_equal(kit_c(&k, k.call.path), "/robot/send?access_token=T&timestamp=1700000000000&"
						    "sign=dV0RXHUD72d0VKcnHrBhJ9jhSbDS3HUiduucxO%2Bizso%3D");
	kit_need_channel(
		&k, "    adapter: chat/dingtalk-robot\n    access_token: T\n    secret: this is secret\n");
	build_at("{\"to\":\"g\",\"body\":\"b\"}", 1700000000000, "");
	assert_true(hm_str_ends(k.call.path, HM_STR("&sign=sSFWELbV2YwjdDQhWZwTcWlX5BWUx5J6TPpsZmuPii0%3D")));
	kit_need_channel(&k, "    adapter: chat/dingtalk-robot\n    access_token: T\n");
	build_at("{\"to\":\"g\",\"body\":\"b\"}", 1700000000000, "");
	assert_string_equal(kit_c(&k, k.call.path), "/robot/send?access_token=T");
}

/* Feishu turns it round: what is signed is the key, the text is empty. */
static void feishu(void **state)
{
	kit_need_channel(&k, "    adapter: chat/feishu-robot\n    token: T\n    secret: feishu-secret\n");
	build_at("{\"to\":\"g\",\"body\":\"b\"}", 1700000000000, "");
	assert_string_equal(kit_c(&k, k.call.path), "/open-apis/bot/v2/hook/T");
	assert_string_equal(
		kit_c(&k, k.call.body),
		"{\"timestamp\":\"1700000000\",\"sign\":\"OrBzY1Y01Gq+HgJsl+7OfWcMVwc7YocohQm5iiZwjhU=\","
		"\"msg_type\":\"text\",\"content\":{\"text\":\"b\"}}");
	kit_need_channel(&k, "    adapter: chat/feishu-robot\n    token: T\n    secret: demo\n");
	build_at("{\"to\":\"g\",\"body\":\"b\"}", 100000, "");
	assert_true(hm_str_starts(
		k.call.body,
		HM_STR("{\"timestamp\":\"100\",\"sign\":\"jquNHnVOwmDRfw+vqTIrY5dooJAgi5EcRtLsQE4wfXg=\",")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(aliyun),   cmocka_unit_test(aliyun_numbers),
		cmocka_unit_test(tencent),  cmocka_unit_test(tencent_numbers),
		cmocka_unit_test(vonage),   cmocka_unit_test(twilio),
		cmocka_unit_test(dingtalk), cmocka_unit_test(feishu),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
