/*
 * test_vectors_sms.c - signatures and requests of the text-message and voice adapters
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
	kit_counted(kit_vectors, "vectors: text messages");
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

#define JAN_2024 1704164645000ull /* 2024-01-02T03:04:05Z */

/* SigV4 over the form; the text holds a comma and an exclamation mark. */
static void sns(void **state)
{
	kit_need_channel(&k, "    adapter: sms/sns\n    access_key_id: AKIDEXAMPLE\n"
			     "    secret_access_key: wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\n");
	build_at("{\"to\":\"+14155550100\",\"body\":\"Hello, 123!\"}", JAN_2024, "");
	assert_string_equal(
		kit_c(&k, k.call.body),
		"Action=Publish&Message=Hello%2C%20123%21&MessageAttributes.entry.1.Name=AWS.SNS.SMS.SMSType&"
		"MessageAttributes.entry.1.Value.DataType=String&MessageAttributes.entry.1.Value.StringValue="
		"Transactional&PhoneNumber=%2B14155550100&Version=2010-03-31");
	assert_string_equal(kit_header(&k, "x-amz-date"), "20240102T030405Z");
	assert_string_equal(kit_header(&k, "content-type"),
			    "application/x-www-form-urlencoded; charset=utf-8");
	assert_string_equal(kit_header(&k, "authorization"),
			    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20240102/us-east-1/sns/aws4_request, "
			    "SignedHeaders=content-type;host;x-amz-date, "
			    "Signature=ce0d0fb1917566053227765fa1534ecd1f9bc8dd7ce3911c4d7a652c1640f8b8");
}

/* Attributes are numbered without gaps, whichever there are; temporary keys sign their token; China has a host of its own. */
static void sns_attributes(void **state)
{
	kit_need_channel(&k, "    adapter: sms/sns\n    access_key_id: a\n    secret_access_key: b\n"
			     "    session_token: tok\n    region: cn-north-1\n    max_price: \"0.50\"\n    "
			     "entity_id: e\n");
	build_at("{\"to\":\"+14155550100\",\"body\":\"b\"}", JAN_2024, "");
	assert_true(
		hm_str_find(k.call.body,
			    HM_STR("MessageAttributes.entry.2.Name=AWS.SNS.SMS.MaxPrice&MessageAttributes."
				   "entry.2.Value.DataType=Number&MessageAttributes.entry.2.Value."
				   "StringValue=0.50&MessageAttributes.entry.3.Name=AWS.MM.SMS.EntityId&")) >
		0);
	assert_true(hm_str_find(k.call.body, HM_STR("entry.4")) < 0);
	assert_string_equal(kit_header(&k, "x-amz-security-token"), "tok");
	assert_true(hm_str_find(hm_str_c(kit_header(&k, "authorization")),
				HM_STR("SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, ")) >
		    0);
	assert_string_equal(kit_c(&k, hm_channel_info(k.c)->origin.host), "sns.cn-north-1.amazonaws.com.cn");
}

/* SigV4's sibling: another label, an unprefixed secret, and the hash of the body as a header. */
static void volcengine(void **state)
{
	kit_need_channel(&k,
			 "    adapter: sms/volcengine\n    access_key_id: AKEXAMPLE\n"
			 "    secret_access_key: SKEXAMPLE\n    sms_account: 77da1acf\n    sign_name: test\n"
			 "    template: ST_1\n    send_id: no\n");
	build_at("{\"to\":\"+8613800000000\",\"data\":{\"code\":\"1234\"}}", JAN_2024, "");
	assert_string_equal(kit_c(&k, k.call.path), "/?Action=SendSms&Version=2020-01-01");
	assert_string_equal(
		kit_c(&k, k.call.body),
		"{\"SmsAccount\":\"77da1acf\",\"Sign\":\"test\",\"TemplateID\":\"ST_1\","
		"\"TemplateParam\":\"{\\\"code\\\":\\\"1234\\\"}\",\"PhoneNumbers\":\"13800000000\"}");
	assert_string_equal(kit_header(&k, "x-date"), "20240102T030405Z");
	assert_string_equal(kit_header(&k, "x-content-sha256"),
			    "de1d97793222e0fc15bae2771c096372ca067c3e28a862451f340bd07321a500");
	assert_string_equal(kit_header(&k, "authorization"),
			    "HMAC-SHA256 Credential=AKEXAMPLE/20240102/cn-north-1/volcSMS/request, "
			    "SignedHeaders=content-type;host;x-content-sha256;x-date, "
			    "Signature=d246f1f2b6a6d18f39f0835d65c79b6ab94e264b69f2456bfaf266aa5d6e247c");
}

/* WSSE: base64 of the hash in hex, or of its bytes. */
static void huawei(void **state)
{
	static const char *const want[][2] = {
		{"hex",
		 "ZjYwZDQxOGY1OTNjNjIwNDBlNTE3ZTQ2NDcxODhiNjdmNjkyZmY1NmJiM2JiODI3MjQ4NzkyYzk5NzQ1MjVmZg=="},
		{"raw", "9g1Bj1k8YgQOUX5GRxiLZ/aS/1a7O7gnJIeSyZdFJf8="}};

	for (size_t i = 0; i < hm_countof(want); i++) {
		char map[400], header[400];

		snprintf(map, sizeof(map),
			 "    adapter: sms/huawei\n    app_key: key\n    app_secret: app_secret_example\n"
			 "    channel_number: \"8800000000001\"\n    template: t\n    digest: %s\n",
			 want[i][0]);
		kit_need_channel(&k, map);
		build_at("{\"to\":[\"+8613800000000\",\"13900000000\",\"8613700000000\"],\"options\":{"
			 "\"params\":["
			 "\"369751\",\"a b\"],\"sign\":\"s\"}}",
			 1518449420000, "66C92B11FF8A425FB8D4CCFE0ED9ED1F");
		snprintf(header, sizeof(header),
			 "UsernameToken Username=\"key\",PasswordDigest=\"%s\",Nonce="
			 "\"66C92B11FF8A425FB8D4CCFE0ED9ED1F\",Created=\"2018-02-12T15:30:20Z\"",
			 want[i][1]);
		assert_string_equal(kit_header(&k, "x-wsse"), header);
		assert_string_equal(kit_header(&k, "authorization"),
				    "WSSE realm=\"SDP\",profile=\"UsernameToken\",type=\"Appkey\"");
		assert_string_equal(
			kit_c(&k, k.call.body),
			"from=8800000000001&to=%2B8613800000000%2C%2B8613900000000%2C%2B8613700000000&"
			"templateId=t&templateParas=%5B%22369751%22%2C%22a+b%22%5D&signature=s&"
			"extend=01HF7YAT00E008000000000001");
	}
}

/* Names and values without separators, then the key; the numbers are numbered. */
static void ucloud(void **state)
{
	kit_need_channel(&k, "    adapter: sms/ucloud\n    public_key: pub\n    private_key: priv\n"
			     "    region: \"\"\n    sign_name: test\n    template: UTA1\n");
	build_at("{\"to\":\"+8613800000000\",\"options\":{\"params\":[\"1234\"]}}", JAN_2024, "");
	assert_string_equal(
		kit_c(&k, k.call.body),
		"Action=SendUSMSMessage&PublicKey=pub&SigContent=test&TemplateId=UTA1&PhoneNumbers.0="
		"13800000000&TemplateParams.0=1234&Signature=fa2428f69f7813fe37e17dd50ec20960d6814da3");
}

/* A template's values are encoded twice; several numbers go to another address of the API. */
static void yunpian(void **state)
{
	kit_need_channel(&k, "    adapter: sms/yunpian\n    apikey: K\n    sign_name: 云片网\n");
	build_at("{\"to\":\"+8613800000000\",\"body\":\"x\"}", JAN_2024, "");
	assert_string_equal(kit_c(&k, k.call.path), "/v2/sms/single_send.json");
	assert_string_equal(kit_c(&k, k.call.body),
			    "apikey=K&mobile=13800000000&text=%E3%80%90%E4%BA%91%E7%89%87%E7%BD%91%E3%80%91x&"
			    "uid=01HF7YAT00E008000000000001");
	build_at("{\"to\":[\"+8613800000000\",\"+14155550100\"],\"options\":{\"template\":1},\"data\":{"
		 "\"code\":"
		 "\"1 2\"}}",
		 JAN_2024, "");
	assert_string_equal(kit_c(&k, k.call.path), "/v2/sms/tpl_batch_send.json");
	assert_string_equal(
		kit_c(&k, k.call.body),
		"apikey=K&mobile=13800000000%2C%2B14155550100&tpl_id=1&tpl_value=%2523code%2523%3D1%"
		"25202");
}

/* Plivo joins its numbers, tells the callback which message it was, and names the wrong ones in its own way. */
static void plivo(void **state)
{
	struct hm_verdict v;

	kit_need_channel(
		&k,
		"    adapter: sms/plivo\n    auth_id: MA1\n    auth_token: tok\n    from: \"+14155550101\"\n"
		"    callback: https://hooks.example.com/p?a=1\n");
	build_at("{\"to\":\"+14155550100\",\"body\":\"x\"}", JAN_2024, "");
	assert_string_equal(
		kit_c(&k, k.call.body),
		"{\"src\":\"+14155550101\",\"dst\":\"14155550100\",\"text\":\"x\",\"type\":\"sms\",\"url\":"
		"\"https://hooks.example.com/p?a=1&id=01HF7YAT00E008000000000001\",\"method\":\"POST\"}");
	assert_string_equal(kit_header(&k, "authorization"), "Basic TUExOnRvaw==");
	build_at("{\"to\":[\"+14155550100\",\"0014155550102\",\"14155550103\"],\"body\":\"x\"}", JAN_2024,
		 "");
	assert_true(hm_str_find(k.call.body, HM_STR("\"url\":\"https://hooks.example.com/p?a=1\"")) > 0);
	v = kit_answer(
		&k, 202,
		"{\"message_uuid\":[\"u\"],\"invalid_number\":[\"14155550102\",\"+14155550103\",\"999\"]}");
	assert_outcome(v, "ok");
	assert_int_equal(v.n_partial, 3);
	assert_int_equal(v.partial[0].index, 1);
	assert_int_equal(v.partial[1].index, 2);
	assert_int_equal(v.partial[2].index, 0);
	assert_outcome(v.partial[2], "ok");
	assert_string_equal(kit_c(&k, v.partial[2].provider_id), "u");
}

/* Two platforms, one adapter. */
static void messagebird(void **state)
{
	kit_need_channel(&k, "    adapter: sms/messagebird\n    access_key: K\n    from: Acme\n");
	assert_int_equal(hm_channel_info(k.c)->batch_max, 50);
	build_at("{\"to\":[\"+31612345678\",\"31687654321\"],\"body\":\"Hello\",\"options\":{\"ttl\":3600}}",
		 JAN_2024, "");
	assert_string_equal(kit_c(&k, k.call.body),
			    "{\"originator\":\"Acme\",\"recipients\":[\"31612345678\",\"31687654321\"],"
			    "\"body\":\"Hello\","
			    "\"type\":\"sms\",\"datacoding\":\"auto\",\"validity\":3600,\"reference\":"
			    "\"01HF7YAT00E008000000000001\"}");
	kit_need_channel(&k,
			 "    adapter: sms/messagebird\n    api: bird\n    access_key: K\n    workspace: w\n"
			 "    channel_id: c\n");
	assert_int_equal(hm_channel_info(k.c)->batch_max, 1);
	build_at("{\"to\":\"31612345678\",\"body\":\"Hello\"}", JAN_2024, "");
	assert_string_equal(kit_c(&k, k.call.path), "/workspaces/w/channels/c/messages");
	assert_string_equal(
		kit_c(&k, k.call.body),
		"{\"receiver\":{\"contacts\":[{\"identifierKey\":\"phonenumber\",\"identifierValue\":"
		"\"+31612345678\"}]},\"body\":{\"type\":\"text\",\"text\":{\"text\":\"Hello\"}},"
		"\"reference\":"
		"\"01HF7YAT00E008000000000001\"}");
	assert_string_equal(kit_c(&k, hm_channel_info(k.c)->origin.host), "api.bird.com");
	assert_outcome(kit_answer(&k, 202, "{\"id\":\"a\",\"status\":\"accepted\"}"), "ok");
	assert_outcome(kit_answer(&k, 201, "{\"id\":\"a\",\"status\":\"accepted\"}"), "unknown");
}

/* Published examples of other calls, signed with the expressions that the adapters of these providers use. Last: the set of
 * adapters is another one after it. */
static void published(void **state)
{
#define HEAD                                                                                                 \
	"adapter: {name: sms/test, title: T}\nendpoint: {url: https://h.example}\nanswer: {success: status " \
	"== 200}\nrequest:\n  path: /\n"
#define RPC(secret)                                                                                        \
	"  method: GET\n  sign:\n    query:\n      Signature: '${(\"GET&%2F&\" ~ (request.query | sort | " \
	"pairs(\"=\", \"&\", "                                                                             \
	"\"url\") | url)) | hmac_sha1(\"" secret "&\") | base64}'\n"
	static const struct {
		const char *adapter, *want;
	} rows[] = {
		{HEAD RPC("testsecret") "  query: {Timestamp: '2016-02-23T12:46:24Z', Format: XML, "
					"AccessKeyId: testid, Action: DescribeRegions, "
					"SignatureMethod: HMAC-SHA1, SignatureNonce: "
					"3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf, Version: '2014-05-26', "
					"SignatureVersion: '1.0'}\n",
		 "Signature=OLeaidS1JvxuMvnyHOwuJ%2BuX5qY%3D"},
		{HEAD RPC("testSecret") "  query: {AccessKeyId: testId, Action: SendSms, Format: XML, OutId: "
					"'123', PhoneNumbers: '15300000001', RegionId: "
					"cn-hangzhou, SignName: 阿里云短信测试专用, SignatureMethod: "
					"HMAC-SHA1, SignatureNonce: "
					"45e25e9b-0a6f-4070-8c85-2956eda1b466, SignatureVersion: '1.0', "
					"TemplateCode: SMS_71390007, TemplateParam: "
					"'{\"customer\":\"test\"}', Timestamp: '2017-07-12T02:42:19Z', "
					"Version: '2017-05-25'}\n",
		 "Signature=zJDF%2BLrzhj%2FThnlvIToysFRq6t4%3D"},
		{HEAD "  method: GET\n  sign:\n    query: {Signature: '${((request.query | sort | "
		      "pairs(\"\", \"\")) ~ "
		      "\"46f09bb9fab4f12dfc160dae12273d5332b5debe\") | sha1 | hex}'}\n"
		      "  query: {Action: CreateUHostInstance, CPU: '2', ChargeType: Month, DiskSpace: '10', "
		      "ImageId: "
		      "f43736e1-65a5-4bea-ad2e-8a46e18883c2, LoginMode: Password, Memory: '2048', Name: "
		      "Host01, Password: "
		      "VUNsb3VkLmNu, PublicKey: ucloudsomeone@example.com1296235120854146120, Quantity: '1', "
		      "Region: cn-bj2, "
		      "Zone: cn-bj2-04}\n",
		 "Signature=4f9ef5df2abab2c6fccd1e9515cb7e2df8c6bb65"},
	};

	for (size_t i = 0; i < hm_countof(rows); i++) {
		kit_use(&k, rows[i].adapter, NULL);
		kit_need_build(&k, "{\"to\":\"a\"}");
		if (!hm_str_ends(k.call.path, hm_str_c(rows[i].want)))
			fail_msg("%s", kit_c(&k, k.call.path));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sns),	  cmocka_unit_test(sns_attributes), cmocka_unit_test(volcengine),
		cmocka_unit_test(huawei), cmocka_unit_test(ucloud),	    cmocka_unit_test(yunpian),
		cmocka_unit_test(plivo),  cmocka_unit_test(messagebird),    cmocka_unit_test(published),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
