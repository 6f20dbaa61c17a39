/*
 * test_canonical.c - the dialects of request.sign.scheme, byte for byte
 *
 * Vectors marked "published" are the providers'; the others were computed from their recipes with other programs.
 */
#define KIT_VECTORS
#include "kit.h"

#include "adapter/canonical.h"
#include "adapter/sign.h"

static struct hm_arena a;

#define AWS_ID	   HM_STR("AKIDEXAMPLE")
#define AWS_SECRET HM_STR("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
#define FORM                                                                                       \
	{                                                                                          \
		HM_STR("content-type"), HM_STR("application/x-www-form-urlencoded; charset=utf-8") \
	}

static int setup(void **state)
{
	hm_arena_init(&a, NULL, 0);
	return 0;
}
static int teardown(void **state)
{
	hm_arena_fini(&a);
	kit_counted(kit_vectors, "vectors: canonical requests");
	return 0;
}

static const char *sha256(struct hm_str s)
{
	uint8_t d[HM_MD_MAX];
	struct hm_buf b;

	hm_buf_init_arena(&b, &a, 200);
	hm_buf_hex(&b, d, hm_digest(HM_MD_SHA256, s, d));
	return hm_buf_cstr(&b);
}

/* NULL: not known. */
static void check(const char *name, const struct hm_canon_in *in, const char *body_hash,
		  const char *request_hash, const char *signature)
{
	struct hm_canon_out out;
	struct hm_str auth;
	struct hm_err e;

	hm_err_clear(&e);
	if (hm_canon_sign(in, &a, &out, &e) != 0)
		fail_msg("%s: %s", name, e.text);
	auth = out.add[out.n - 1].value;
	if (body_hash)
		assert_string_equal(sha256(in->body), body_hash);
	if (request_hash && strcmp(sha256(out.request), request_hash) != 0)
		fail_msg("%s: the canonical request is\n%.*s", name, HM_STRF(out.request));
	if (!hm_str_ends(auth, hm_str_c(signature)))
		fail_msg("%s: %.*s", name, HM_STRF(auth));
}

static void sigv4(void **state)
{
	struct hm_canon_header form[] = {FORM, {HM_STR("x-amz-date"), HM_STR("20150830T123600Z")}};
	struct hm_canon_header json[] = {{HM_STR("content-type"), HM_STR("application/json")}};
	struct hm_canon_in in = {.scheme = HM_CANON_SIGV4,
				 .id = AWS_ID,
				 .secret = AWS_SECRET,
				 .region = HM_STR("us-east-1"),
				 .service = HM_STR("service"),
				 .method = HM_STR("GET"),
				 .host = HM_STR("example.amazonaws.com"),
				 .target = HM_STR("/"),
				 .wall_ms = 1440938160000};
	struct hm_canon_out out;
	struct hm_err e;

	check("get-vanilla (published)", &in, NULL,
	      "bb579772317eb040ac9ed261061d46c1f17a8133879d6129b6e1c25292927e63",
	      "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
	      "SignedHeaders=host;x-amz-date, "
	      "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
	in.service = HM_STR("iam");
	in.host = HM_STR("iam.amazonaws.com");
	in.target = HM_STR("/?Version=2010-05-08&Action=ListUsers");
	in.headers = form;
	in.n_headers = 2;
	in.wall_ms = 1; /* the header that is there wins */
	check("IAM (published)", &in, NULL,
	      "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59",
	      "SignedHeaders=content-type;host;x-amz-date, "
	      "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
	in.method = HM_STR("POST");
	in.service = HM_STR("sns");
	in.host = HM_STR("sns.us-east-1.amazonaws.com");
	in.target = HM_STR("/");
	in.n_headers = 1;
	in.wall_ms = 1704164645000;
	in.body = HM_STR(
		"Action=Publish&Message=Hello%2C%20123%21&MessageAttributes.entry.1.Name=AWS.SNS.SMS.SMSType&"
		"MessageAttributes.entry.1.Value.DataType=String&MessageAttributes.entry.1.Value.StringValue="
		"Transactional&PhoneNumber=%2B14155550100&Version=2010-03-31");
	check("SNS Publish", &in, "217d61c75184f45417846d0397fd045acfa19d48d7dfae015c65293f6f8f584a",
	      "8afa331a8254b65c191615adcb2bc0e232234fb1ddbe6a0e9a0aea5efd973f9a",
	      "ce0d0fb1917566053227765fa1534ecd1f9bc8dd7ce3911c4d7a652c1640f8b8");
	in.wall_ms = 1700000000000;
	in.body = HM_STR("Action=Publish&Message=%7B%22default%22%3A%22Build%2041%20finished%22%7D&"
			 "MessageStructure=json&"
			 "TargetArn=arn%3Aaws%3Asns%3Aus-east-1%3A123456789012%3Aendpoint%2FGCM%2Fapp%"
			 "2F5e3e9847-3183-3f18-"
			 "a7e8-671c3a57d4b3&Version=2010-03-31");
	check("SNS mobile push", &in, "a606118a7d0a9e0eaac9029a34182a40ecc342ac746d483c5a08aa30686b95bc",
	      "0e67ddcd412e566906cccd70046613791fa376538b38e0bd4127f0dcba557b84",
	      "0e848f76c6d4b219dc604578d201e38ccca786d1820b86c3ba429ed606848087");
	in.wall_ms = 1704164645000;
	in.service = HM_STR("ses");
	in.host = HM_STR("email.us-east-1.amazonaws.com");
	in.target = HM_STR("/v2/email/outbound-emails");
	in.headers = json;
	in.body = HM_STR("{\"FromEmailAddress\":\"a@example.com\",\"Destination\":{\"ToAddresses\":[\"b@"
			 "example.net\"]},"
			 "\"Content\":{\"Simple\":{\"Subject\":{\"Data\":\"Hi\",\"Charset\":\"UTF-8\"},"
			 "\"Body\":{\"Text\":{"
			 "\"Data\":\"Hello\",\"Charset\":\"UTF-8\"}}}}}");
	check("SESv2", &in, "d7258d6e4c43efac61723b19934dbe8e7d73a6227a12714a39f5527ec0b9e624",
	      "125afd35319e808da8c9ffb799316f8a72b35c12a391625f5095f4e47275c4ed",
	      "d3bb3f3d595717b4f19d1801d816c7711e45dd34c9ce9ff6200482e3324b2923");
	/* A session's token is sent and signed; segments of the path are encoded once more; blanks are collapsed. */
	in.token = HM_STR("TOKEN");
	in.target = HM_STR("/a%2Fb/c?x&b=2&a=1&a-b=3");
	assert_int_equal(hm_canon_sign(&in, &a, &out, &e), 0);
	assert_true(hm_str_starts(
		out.request, HM_STR("POST\n/a%252Fb/c\na=1&a-b=3&b=2&x=\ncontent-type:application/json\n")));
	assert_true(hm_str_find(out.request,
				HM_STR("\nx-amz-security-token:TOKEN\n\ncontent-type;host;x-amz-date;x-amz-"
				       "security-token\n")) > 0);
	assert_int_equal(out.n, 3);
}

static void tc3(void **state)
{
	struct hm_canon_header h[] = {{HM_STR("content-type"), HM_STR("application/json; charset=utf-8")},
				      {HM_STR("x-tc-action"), HM_STR("DescribeInstances")}};
	struct hm_canon_in in = {
		.scheme = HM_CANON_TC3,
		.id = HM_STR("AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE"),
		.secret = HM_STR("Gu5t9xGARNpq86cd98joQYCN3EXAMPLE"),
		.service = HM_STR("cvm"),
		.method = HM_STR("POST"),
		.host = HM_STR("cvm.tencentcloudapi.com"),
		.target = HM_STR("/"),
		.wall_ms = 1551113065000,
		.headers = h,
		.n_headers = 1,
		.body = HM_STR(
			"{\"Limit\": 1, \"Filters\": [{\"Values\": [\"\\u672a\\u547d\\u540d\"], \"Name\": "
			"\"instance-name\"}]}")};

	check("CVM (published)", &in, "35e9c5b0e3ae67532d3c9f17ead6c90222632e5b1ff7f6e89887f1398934f064",
	      "5ffe6a04c0664d6b969fab9a13bdab201d63ee709638e2749d62a09ca18d7031",
	      "TC3-HMAC-SHA256 Credential=AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE/2019-02-25/cvm/tc3_request, "
	      "SignedHeaders=content-type;host, "
	      "Signature=72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168");
	in.n_headers = 2;
	check("CVM with its action (hash published)", &in, NULL,
	      "7019a55be8395899b900fb5564e4200d984910f34794a27cb3fb7d10ff6a1e84",
	      "644be983de9a8a3f00db8eadaba61467c3b429e2215758ba897b738ca469fd26");
	in.id = HM_STR("AKIDEXAMPLE");
	in.secret = HM_STR("SKEXAMPLE");
	in.service = HM_STR("sms");
	in.host = HM_STR("sms.tencentcloudapi.com");
	in.wall_ms = 1700000000000;
	h[1].value = HM_STR("SendSms");
	in.body = HM_STR("{\"PhoneNumberSet\":[\"+8613800000000\"],\"SmsSdkAppId\":\"1400000000\","
			 "\"SignName\":\"test\","
			 "\"TemplateId\":\"1234\",\"TemplateParamSet\":[\"5678\"]}");
	check("SMS", &in, "4c194e020d0ee106899f46e5d366f052e9018de7712836a196cab44bdbe47f8b",
	      "080b6b06f3c039e950b0a8ca54b4d7b5cda0f13186ded08905fbe269c761349f",
	      "84f26754e5ada4b28d5e7b70accc1af881d0b37e6f42daf951ea26ca2bc645d6");
}

static void acs3(void **state)
{
	struct hm_canon_header h[] = {{HM_STR("x-acs-action"), HM_STR("RunInstances")},
				      {HM_STR("x-acs-version"), HM_STR("2014-05-26")}};
	struct hm_canon_in in = {
		.scheme = HM_CANON_ACS3,
		.id = HM_STR("YourAccessKeyId"),
		.secret = HM_STR("YourAccessKeySecret"),
		.nonce = HM_STR("3156853299f313e23d1673dc12e1703d"),
		.method = HM_STR("POST"),
		.host = HM_STR("ecs.cn-shanghai.aliyuncs.com"),
		.target = HM_STR(
			"/?ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai"),
		.wall_ms = 1698315752000,
		.headers = h,
		.n_headers = 2};

	check("ECS (published)", &in, NULL,
	      "7ea06492da5221eba5297e897ce16e55f964061054b7695beedaac1145b1e259",
	      "ACS3-HMAC-SHA256 "
	      "Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-"
	      "acs-"
	      "signature-nonce;x-acs-version,Signature="
	      "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0");
	in.id = HM_STR("testid");
	in.secret = HM_STR("testsecret");
	in.nonce = HM_STR("nonce-0001");
	in.host = HM_STR("dysmsapi.aliyuncs.com");
	in.wall_ms = 1704164645000;
	h[0].value = HM_STR("SendSms");
	h[1].value = HM_STR("2017-05-25");
	in.target = HM_STR("/?PhoneNumbers=13800000000&SignName=%E6%B5%8B%E8%AF%95&TemplateCode=SMS_1&"
			   "TemplateParam=%7B%22code%"
			   "22%3A%221234%22%7D");
	check("SendSms", &in, NULL, "b8c6070fb10ecbab4f9b0d8e3a579888fe14ed979c6f8f4e8ceae6f2eaeaeff9",
	      "21eca1387292f7ab808d88f9921d2999c13d2ae3ef2677cbc40564ddb7d117cb");
}

static void volcengine(void **state)
{
	struct hm_canon_header h[] = {{HM_STR("content-type"), HM_STR("application/json; charset=utf-8")}};
	struct hm_canon_in in = {
		.scheme = HM_CANON_VOLCENGINE,
		.id = HM_STR("AKEXAMPLE"),
		.secret = HM_STR("SKEXAMPLE"),
		.region = HM_STR("cn-north-1"),
		.service = HM_STR("volcSMS"),
		.method = HM_STR("POST"),
		.host = HM_STR("sms.volcengineapi.com"),
		.target = HM_STR("/?Action=SendSms&Version=2020-01-01"),
		.wall_ms = 1704164645000,
		.headers = h,
		.n_headers = 1,
		.body = HM_STR("{\"SmsAccount\":\"77da1acf\",\"Sign\":\"test\",\"TemplateID\":\"ST_1\","
			       "\"TemplateParam\":\"{\\\"code\\\":\\\"1234\\\"}\",\"PhoneNumbers\":"
			       "\"13800000000\"}")};

	check("SendSms", &in, "de1d97793222e0fc15bae2771c096372ca067c3e28a862451f340bd07321a500",
	      "1d7bd488bb2f8a9ac666753be386fce98ce68a04fda32a94f7cd83bc6893cc3f",
	      "Credential=AKEXAMPLE/20240102/cn-north-1/volcSMS/request, "
	      "SignedHeaders=content-type;host;x-content-sha256;x-date, "
	      "Signature=d246f1f2b6a6d18f39f0835d65c79b6ab94e264b69f2456bfaf266aa5d6e247c");
}

static void bce(void **state)
{
	struct hm_canon_header h[] = {{HM_STR("content-type"), HM_STR("application/json")}};
	struct hm_canon_in in = {.scheme = HM_CANON_BCE,
				 .id = HM_STR("AKEXAMPLE"),
				 .secret = HM_STR("SKEXAMPLE"),
				 .method = HM_STR("POST"),
				 .host = HM_STR("smsv3.bj.baidubce.com"),
				 .target = HM_STR("/api/v3/sendSms"),
				 .wall_ms = 1704164645000,
				 .headers = h,
				 .n_headers = 1,
				 .body = HM_STR("{}")};

	check("sendSms", &in, NULL, NULL,
	      "bce-auth-v1/AKEXAMPLE/2024-01-02T03:04:05Z/1800/host;x-bce-date/"
	      "fe80bebbcf3c7eed71aa6f3c633c3fe50a2a593815195250d2f91168eb6f9789");
}

/* In an adapter file: query and headers as they go out, also of a channel elsewhere. */
static void in_a_file(void **state)
{
	static const char yaml[] = "adapter: {name: sms/test, title: T}\nsettings:\n  key: {doc: d, secret: "
				   "true, default: SKEXAMPLE}\n"
				   "endpoint: {url: https://sms.volcengineapi.com}\n"
				   "request:\n  path: /\n  query: {Version: '2020-01-01', Action: SendSms}\n"
				   "  headers: {content-type: application/json; charset=utf-8}\n"
				   "  json: {SmsAccount: 77da1acf, Sign: test, TemplateID: ST_1, "
				   "TemplateParam: {$json: {code: '1234'}}, "
				   "PhoneNumbers: '${to}'}\n"
				   "  sign: {scheme: volcengine, id: AKEXAMPLE, secret: '${settings.key}', "
				   "region: cn-north-1, service: volcSMS}\n"
				   "answer: {success: status == 200}\n";
	static const struct {
		const char *sign, *text;
	} rows[] = {{"{scheme: sigv5, id: a, secret: b}", "did you mean \"sigv4\"?"},
		    {"{scheme: sigv4, id: a, secret: b, service: s}", "needs region"},
		    {"{scheme: tc3, id: a, secret: b}", "needs service"},
		    {"{scheme: acs3, id: a}", "needs id and secret"},
		    {"{id: a}", "belong to a scheme"}};
	struct kit k;

	kit_init(&k);
	kit_use(&k, yaml, NULL);
	kit_message(&k, "{\"to\":\"13800000000\"}");
	k.in.wall_ms = 1704164645000;
	assert_int_equal(hm_channel_build(&k.in, &k.a, &k.call, &k.origin, &k.outcome, &k.err), 0);
	assert_string_equal(kit_c(&k, k.call.path), "/?Version=2020-01-01&Action=SendSms");
	assert_string_equal(kit_header(&k, "x-date"), "20240102T030405Z");
	assert_string_equal(kit_header(&k, "authorization"),
			    "HMAC-SHA256 Credential=AKEXAMPLE/20240102/cn-north-1/volcSMS/request, "
			    "SignedHeaders=content-type;host;x-content-sha256;x-date, "
			    "Signature=d246f1f2b6a6d18f39f0835d65c79b6ab94e264b69f2456bfaf266aa5d6e247c");
	for (size_t i = 0; i < hm_countof(rows); i++) {
		const char *text = hm_arena_printf(
					   &k.a,
					   "adapter: {name: sms/test, title: T}\nendpoint: {url: https://x}\n"
					   "request: {path: /, sign: %s}\nanswer: {success: status == 200}\n",
					   rows[i].sign)
					   .p;

		assert_null(kit_adapter_text(&k, text));
		if (strstr(k.errors, rows[i].text) == NULL)
			fail_msg("row %zu: %s", i, k.errors);
	}
	kit_fini(&k);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(sigv4),      cmocka_unit_test(tc3), cmocka_unit_test(acs3),
		cmocka_unit_test(volcengine), cmocka_unit_test(bce), cmocka_unit_test(in_a_file),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
