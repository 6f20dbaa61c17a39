/*
 * test_expr.c - the expression language and the signing primitives
 *
 * The signature vectors are those of providers whose adapters come later: the format must be able to say them all.
 */
#include "kit.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "adapter/cipher.h"

static struct hm_arena a;
static struct hm_names names;
static msgpack_zone zone;
static struct hm_content content;
static struct hm_build_rcpt rcpts[3];
static struct hm_build_in in;
static struct hm_err err;
static struct hm_val slots[64];

static const char *const setting_names[] = {"key", "list", "doc", "unset"};
static struct hm_str setting_str[4];
static bool setting_secret[4];
static struct hm_val setting_val[4];

static int setup(void **state)
{
	static struct hm_val list[2];

	hm_arena_init(&a, NULL, 0);
	msgpack_zone_init(&zone, 1024);
	for (int i = 0; i < 4; i++)
		setting_str[i] = hm_str_c(setting_names[i]);
	names.settings = setting_str;
	names.setting_secret = setting_secret;
	names.n_settings = 4;
	setting_secret[0] = true;
	setting_val[0] = hm_val_str(HM_STR("the-key"));
	list[0] = hm_val_str(HM_STR("x"));
	list[1] = hm_val_str(HM_STR("y"));
	setting_val[1] = (struct hm_val){.t = HM_V_LIST, .n = 2, .list = list};
	setting_val[2] = hm_val_of_json(HM_STR("{\"a\":{\"b\":[1,{\"c\":\"deep\"}]}}"), &a);
	setting_val[3] = HM_NONE;
	in.content = &content;
	in.rcpts = rcpts;
	in.n_rcpts = 3;
	rcpts[0].addr = HM_STR("a");
	rcpts[1].addr = HM_STR("b");
	rcpts[2].addr = HM_STR("c");
	return 0;
}
static int teardown(void **state)
{
	msgpack_zone_destroy(&zone);
	hm_arena_fini(&a);
	return 0;
}

/* Evaluates folded and unfolded: both must say the same. "!..." is an error. */
static const char *run(const char *text)
{
	struct hm_parse p = {.a = &a, .names = &names, .allowed = HM_AT_M | HM_AT_R | HM_AT_A};
	struct hm_call call = {.status = 200};
	struct hm_expr *e, *folded;
	struct hm_eval ev = {.a = &a,
			     .settings = setting_val,
			     .in = &in,
			     .wall_ms = 1700000000000ull,
			     .opt = slots,
			     .n_opt = 64,
			     .err = &err};
	struct hm_eval fold = {.a = &a, .settings = setting_val, .err = &err};
	struct hm_val v, w;
	struct hm_buf b;

	hm_err_clear(&err);
	if (hm_expr_parse_text(&p, hm_str_c(text), &e, &err) != 0)
		return hm_arena_printf(&a, "!%s", err.text).p;
	call.answer = HM_STR("{\"n\":12,\"s\":\"t\\u0041\\n\",\"neg\":-3,\"f\":1.5,\"no\":null,\"yes\":true,"
			     "\"list\":[{\"id\":\"p\",\"code\":0},{\"id\":\"q\",\"code\":7}],"
			     "\"inner\":\"{\\\"bad\\\":[\\\"t1\\\"]}\",\"a-b\":{\"@type\":\"x.FcmError\"}}");
	ev.call = &call;
	ev.answer = call.answer;
	ev.answer_ok = true;
	v = hm_eval(&ev, e);
	if (ev.rc)
		return hm_arena_printf(&a, "!%s", err.text).p;
	folded = hm_expr_fold(&fold, &a, e);
	if (folded == NULL)
		fail_msg("%s does not fold: %s", text, err.text);
	w = hm_eval(&ev, folded);
	hm_buf_init_arena(&b, &a, 1 << 20);
	hm_val_json(&v, &b);
	const char *r = hm_buf_cstr(&b);

	hm_buf_init_arena(&b, &a, 1 << 20);
	hm_val_json(&w, &b);
	assert_string_equal(r, hm_buf_cstr(&b));
	return r;
}

static void language(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"1 + 2 * 3 - 4 / 2 % 3", "5"},
		{"-5 + 2", "-3"},
		{"(1 + 2) * 3", "9"},
		{"9223372036854775807 + 1", "!a number is out of range"},
		{"1 / 0", "!a number is out of range"},
		{"'a' ~ 1 ~ true ~ none ~ \"\\n\\\"\"", "\"a1true\\n\\\"\""},
		{"none ?? 'x'", "\"x\""},
		{"'' ?? 'x'", "\"\""},
		{"'' || 'x'", "\"x\""},
		{"'a' && 'b'", "\"b\""},
		{"0 && 1", "0"},
		{"!none && !0 && !''", "true"},
		{"1 == '1' && 'a' != 'b' && none == none && !(none == 0)", "true"},
		{"2 < 10 && '2' < '10' && 'b' > 'a' && !(none < 1) && 3 >= 3 && 3 <= 3", "true"},
		{"true ? 'y' : 'n'", "\"y\""},
		{"0 ? 1 : 0 ? 2 : 3", "3"},
		{"recipients | join('|')", "\"a|b|c\""},
		{"recipients | map(it ~ index) | join(',')", "\"a0,b1,c2\""},
		{"settings.list | map(it | upper) | join('')", "\"XY\""},
		{"settings.list | map(settings.list | map(it ~ 1) | join('')) | join(' ')", "\"x1y1 x1y1\""},
		{"recipients | map(settings.list | map(it) | join('')) | first", "\"xy\""},
		{"recipients | where(it != 'b') | len", "2"},
		{"recipients | any(it == 'c')", "true"},
		{"recipients | every(it == 'c')", "false"},
		{"settings.unset | any(it)", "false"},
		{"settings.unset | every(it)", "false"},
		{"settings.doc.a.b[1].c", "\"deep\""},
		{"settings.doc.a.b[-1].c", "\"deep\""},
		{"settings.doc.a.b[9].c", "null"},
		{"settings.doc['a'].x.y", "null"},
		{"settings.unset.x", "null"},
		{"answer.n == 12 && answer.neg == -3 && answer.yes", "true"},
		{"answer.s", "\"tA\\n\""},
		{"answer.f", "\"1.5\""},
		{"answer.no", "null"},
		{"answer.list[id=q].code", "7"},
		{"answer.list[id~p].code", "0"},
		{"answer.list | every(it.code == 0)", "false"},
		{"answer.inner.$json.bad[0]", "\"t1\""},
		{"answer.s.$json.bad", "null"},
		{"answer.a-b[@type~Fcm]", "null"},
		{"answer.a-b['@type']", "\"x.FcmError\""},
		{"status", "200"},
		{"count - 1", "2"},
		{"now | time('%Y-%m-%dT%H:%M:%SZ')", "\"2023-11-14T22:13:20Z\""},
		{"now | time('%Y-%m-%d %H:%M:%S', '+08:00')", "\"2023-11-15 06:13:20\""},
		{"now_ms", "1700000000000"},
		{"nonce | len", "32"},
		{"'0123456789abcdef0123456789abcdef' | as_uuid", "\"01234567-89ab-cdef-0123-456789abcdef\""},
		{"'Grüße, 世界' | cut(8)", "\"Grüße,\""},
		{"'Grüße, 世界' | cut(8, 'chars')", "\"Grüße, 世\""},
		{"'a😀b' | cut(2, 'utf16')", "\"a\""},
		{"'a😀b' | cut(3, 'utf16')", "\"a😀\""},
		{"'abcdef' | cut(5, 'bytes', '…')", "\"ab…\""},
		{"'abc' | cut(0)", "\"\""},
		{"'世界' | chars", "2"},
		{"'世界' | len", "6"},
		{"' a b ' | trim | replace(' ', '+')", "\"a+b\""},
		{"'+8613800000000' | unprefix('+') | unprefix('86')", "\"13800000000\""},
		{"'138' | prefix('+86')", "\"+86138\""},
		{"'+86138' | prefix('+86')", "\"+86138\""},
		{"'Too FAST' | contains('too fast')", "true"},
		{"none | contains('x')", "false"},
		{"'a,b,,c' | split(',') | nonempty | len", "3"},
		{"none | with('a', 1) | with('b', 'x') | with('a', 2)", "{\"a\":2,\"b\":\"x\"}"},
		{"none | with('', 1) | with('b', none)", "{}"},
		{"'x' | with('a', 1)", "!with expects a map"},
		{"'' | split(',') | len", "0"},
		{"'a b&c=d/ü~*' | url", "\"a%20b%26c%3Dd%2F%C3%BC~%2A\""},
		{"'a b*~' | form", "\"a+b*%7E\""},
		{"'<a href=\\\"x\\\">&' | xml", "\"&lt;a href=&quot;x&quot;&gt;&amp;\""},
		{"'a\"b' | json", "\"\\\"a\\\\\\\"b\\\"\""},
		{"'{\"k\": [1, 2]}' | from_json", "{\"k\": [1, 2]}"},
		{"'{\"k\":' | from_json", "null"},
		{"('{\"k\": [1, 2]}' | from_json).k[1]", "2"},
		{"settings.doc.a | string_values", "{\"b\":\"[1,{\\\"c\\\":\\\"deep\\\"}]\"}"},
		{"settings.doc | keys | first", "\"a\""},
		{"'line\\nbreak' | oneline", "\"line break\""},
		{"'plain' | rfc2047", "\"plain\""},
		{"'Grüße' | rfc2047", "\"=?UTF-8?B?R3LDvMOfZQ==?=\""},
		{"'12' | int + 1", "13"},
		{"'x' | int", "!\"x\" is not a whole number"},
		{"none | int", "null"},
		{"'' | require('the name')", "!the name is missing"},
		{"0 | require('the name')", "0"},
		{"'!' | unbase64", "!expected base64"},
		{"'0' | unhex", "!expected hex digits"},
		{"title ?? 'no title'", "\"no title\""},
		/* mistakes */
		{"titel", "!\"titel\" is not known here, did you mean \"title\"?"},
		{"title | uper", "!no filter is called \"uper\", did you mean \"upper\"?"},
		{"settings.kee", "!no setting is called \"kee\"; declare it in the section settings"},
		{"title |", "!no filter is called \"\""},
		{"(title", "!) is missing"},
		{"'abc", "!the text that starts here has no closing '"},
		{"title title", "!unexpected 't'"},
		{"", "!a value is missing at the end"},
		{"it", "!\"it\" (the element at hand) is not known here"},
		{"jwt",
		 "!\"jwt\" (the assertion made by credential.jwt, in credential.exchange) is not known here"},
		{"answer.list[", "!] is missing"},
		{"header", "!header needs a name: header.retry-after"},
		{"'a' | replace('b')", NULL},
		{"'\\q'", NULL},
		{"((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((1", NULL},
	};

	for (size_t i = 0; i < hm_countof(rows); i++) {
		const char *got = run(rows[i].in);

		if (rows[i].out ? strcmp(got, rows[i].out) != 0 : got[0] != '!')
			fail_msg("%s\n  gives    %s\n  expected %s", rows[i].in, got,
				 rows[i].out ? rows[i].out : "an error");
	}
}

/* Vectors of the provider sheets, said in the language. */
static void signatures(void **state)
{
	static const struct {
		const char *what, *in, *out;
	} rows[] = {
		{"md5", "'abc' | md5 | hex", "\"900150983cd24fb0d6963f7d28e17f72\""},
		{"sha1", "'abc' | sha1 | hex", "\"a9993e364706816aba3e25717850c26c9cd0d89d\""},
		{"sha512", "('abc' | sha512 | hex) | cut(16)", "\"ddaf35a193617aba\""},
		{"oppo", "('oppoAppKey01' ~ '1700000000000' ~ 'oppoMasterSecret01') | sha256 | hex",
		 "\"ec7995450317d5c90659bd9e2fd0a4d97360647942923b8a994b2bfdee624780\""},
		{"getui", "('gtAppKey01' ~ 1700000000000 ~ 'gtMasterSecret01') | sha256 | hex",
		 "\"2723734e3a6731b24eb327585f0a3d1c6f0e08ee3f792619df4f93d6ad770caa\""},
		{"vivo",
		 "(10004 ~ 'fd6a3b2c-9d1e-4c7f-8a11-0f2e3d4c5b6a' ~ 1700000000000 ~ "
		 "'b1f0c2d3-e4a5-4b6c-9d7e-8f9a0b1c2d3e') | md5 | hex",
		 "\"cd27699f52749ca22d2f74f2964ea5a0\""},
		{"meizu",
		 "((('{\"pushIds\":\"pid_a,pid_b\",\"appId\":\"100999\",\"messageJson\":\"{"
		 "\\\\\"noticeBarInfo\\\\\":{\\\\\"title\\\\\":\\\\\"Hi\\\\\",\\\\\"content\\\\\":"
		 "\\\\\"Build 41 finished\\\\\"}}\"}' "
		 "| from_json) | string_values | sort | pairs('=', '')) ~ 'meizuAppSecret01') | md5 | hex",
		 "\"a4b438aaec9a6f66f6ba55ce30e815c7\""},
		{"umeng",
		 "('POST' ~ 'https://msgapi.umeng.com/api/send' ~ "
		 "'{\"appkey\":\"umAppKey01\",\"timestamp\":\"1700000000\",\"type\":\"unicast\",\"device_"
		 "tokens\":\"AuDeviceToken01\",\"payload\":{\"display_type\":\"notification\",\"body\":{"
		 "\"ticker\":\"Order\",\"title\":\"Order\",\"text\":\"Arrives "
		 "Friday\",\"after_open\":\"go_app\"}}}' ~ 'umMasterSecret01') | md5 | hex",
		 "\"fe7d1ca9c39dc67e468b8b1d4f2000da\""},
		{"jpush", "('dev_app_key' ~ ':' ~ 'dev_master_secret') | base64",
		 "\"ZGV2X2FwcF9rZXk6ZGV2X21hc3Rlcl9zZWNyZXQ=\""},
		{"huawei callback",
		 "('1563105451261' ~ 'a07bfa17-6d82-4b53-a9a2-07cfef5ceef1' ~ 'cbUser') | "
		 "hmac_sha256('cbKey01') | base64",
		 "\"zFJ+FP0onOBowy3GFCQskrHWG0y2rsD2/RLlMHxKdXA=\""},
		{"dingtalk",
		 "('1700000000000' ~ '\\n' ~ 'SECabcdef0123456789') | hmac_sha256('SECabcdef0123456789') | "
		 "base64 | url",
		 "\"dV0RXHUD72d0VKcnHrBhJ9jhSbDS3HUiduucxO%2Bizso%3D\""},
		{"feishu: the text is the key, the message empty",
		 "'' | hmac_sha256('100' ~ '\\n' ~ 'demo') | base64",
		 "\"jquNHnVOwmDRfw+vqTIrY5dooJAgi5EcRtLsQE4wfXg=\""},
		{"zalo proof", "'access-token' | hmac_sha256('app-secret') | hex",
		 "\"dbf9c72b4c8f56924f8e07138f6d465c69cb5c9dbca908ce1403e993e1a5f799\""},
		{"slack",
		 "'v0=' ~ (('v0:' ~ 1700000000 ~ ':' ~ '{\"type\":\"event_callback\"}') | "
		 "hmac_sha256('slack-signing-secret') | hex)",
		 "\"v0=f6ed4dbc0e8ee27dd798c085bcb865f8fe1452031682c585347c0e08674d5c39\""},
		{"huawei wsse, base64 of hex",
		 "('66C92B11FF8A425FB8D4CCFE0ED9ED1F' ~ '2018-02-12T15:30:20Z' ~ 'app_secret_example') | "
		 "sha256 | hex | base64",
		 "\"ZjYwZDQxOGY1OTNjNjIwNDBlNTE3ZTQ2NDcxODhiNjdmNjkyZmY1NmJiM2JiODI3MjQ4NzkyYzk5NzQ1MjVmZg=="
		 "\""},
		{"aliyun rpc: sorted, encoded twice",
		 "('POST&%2F&' ~ "
		 "(('{\"AccessKeyId\":\"testid\",\"Format\":\"JSON\",\"SignatureMethod\":\"HMAC-SHA1\","
		 "\"SignatureVersion\":\"1.0\",\"SignatureNonce\":\"nonce-0001\",\"Timestamp\":\"2024-01-"
		 "02T03:04:05Z\",\"Action\":\"SendSms\",\"Version\":\"2017-05-25\",\"RegionId\":\"cn-"
		 "hangzhou\",\"PhoneNumbers\":\"13800000000\",\"SignName\":\"测试\",\"TemplateCode\":\"SMS_"
		 "1\",\"TemplateParam\":\"{\\\\\"code\\\\\":\\\\\"1 2*3~4\\\\\"}\"}' "
		 "| from_json | string_values | sort | pairs('=', '&', 'url')) | url)) | "
		 "hmac_sha1('testsecret' ~ '&') | base64",
		 "\"n1T4gpDP7rUbpWMZ9/EddYoevHI=\""},
		{"sigv4 key chain",
		 "'aws4_request' | hmac_sha256('iam' | hmac_sha256('us-east-1' | hmac_sha256('20150830' | "
		 "hmac_sha256('AWS4' ~ 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY')))) | hex",
		 "\"c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9\""},
		{"sigv4, published get-vanilla",
		 "('AWS4-HMAC-SHA256\\n20150830T123600Z\\n20150830/us-east-1/service/"
		 "aws4_request\\nbb579772317eb040ac9ed261061d46c1f17a8133879d6129b6e1c25292927e63') "
		 "| hmac_sha256('aws4_request' | hmac_sha256('service' | hmac_sha256('us-east-1' | "
		 "hmac_sha256('20150830' | hmac_sha256('AWS4' ~ "
		 "'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'))))) | hex",
		 "\"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31\""},
		{"tc3, published",
		 "('TC3-HMAC-SHA256\\n1551113065\\n2019-02-25/cvm/"
		 "tc3_request\\n5ffe6a04c0664d6b969fab9a13bdab201d63ee709638e2749d62a09ca18d7031') "
		 "| hmac_sha256('tc3_request' | hmac_sha256('cvm' | hmac_sha256('2019-02-25' | "
		 "hmac_sha256('TC3' ~ 'Gu5t9xGARNpq86cd98joQYCN3EXAMPLE')))) | hex",
		 "\"72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168\""},
		{"vonage messages, hash of the body",
		 "'{\"message_uuid\":\"aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab\",\"status\":\"delivered\"}' | "
		 "sha256 | hex",
		 "\"d5ecbc7ab77b376b2cf635a6869d4dbb15322175f95b5c19260a27f6217e4eff\""},
		{"vonage messages, token of a webhook",
		 "('eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9' ~ '.' ~ "
		 "'eyJpYXQiOjE3MDAwMDAwMDAsImp0aSI6Imp0aS0xIiwiaXNzIjoiVm9uYWdlIiwicGF5bG9hZF9oYXNoIjoiZDVlY2"
		 "JjN2FiNzdiMzc2YjJjZjYzNWE2ODY5ZDRkYmIxNTMyMjE3NWY5NWI1YzE5MjYwYTI3ZjYyMTdlNGVmZiIsImFwaV9rZ"
		 "XkiOiJhYmNkMTIzNCJ9') | hmac_sha256('my_signature_secret') | base64url",
		 "\"_eujg52f4QNBjWXQ0VZ-iTESCxj0vLMJFthUY-Dhk5g\""},
		{"vonage messages, token of a request",
		 "('eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9' ~ '.' ~ "
		 "'eyJhcHBsaWNhdGlvbl9pZCI6ImFhYWFhYWFhLWJiYmItY2NjYy1kZGRkLTAxMjM0NTY3ODlhYiIsImlhdCI6MTcwMD"
		 "AwMDAwMCwiZXhwIjoxNzAwMDAwOTAwLCJqdGkiOiJqdGktMyJ9') | verify('RS256', "
		 "'MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAlbdvt1Z2JouvBJieomCQ8WxrgwKT0oeBJcn6JB0dYfDg8D"
		 "PaYVTWibzWREswX3Z88YcuVDgLIXe9Qx1U4G6X7mCQ13VoClLawTG1fr+8p3aW9YZqdeVLP4QxNU25Bp+"
		 "iWuO7ILD94DCS1OSWRf8pL2v7jQa2MAxvxdgt8nnIVxDSsBj1KXmkT7KsUbHZN3edl1KN54a9Rg79VeYGO/6/4tbfr/"
		 "Oqiwqagvj/"
		 "yzdvxRMTPnQFGbb5bE4RLjQpAvhSt63drCwQt7uj5OGJkQVkgTU3RrajTGtjzpx0ocOnTp5NZPZLOF5rwfd0OPj9IcZ"
		 "znO/YcgVKvCLw8/GFF54JJQIDAQAB', "
		 "'aHnoivbon5EgXM7OF8oxRzcxIVkEMKfcoKMTp9CpMdsxhDGe-XtPNc2vAAvZUlpFNJPGMdpYOY4bZ_"
		 "Mi9Jn8CiOG0tmgclN7uWYXwqZTjl8qp6O1rtueSgqz-s0ObbtkdYWtbjaPhYlLqA-"
		 "0DdNlk6ftIwmCfKqJtXXXoU1lqbUQil9mbCNrrAJkqcgEWK5x6j_VDym8DdSRayf9lur8yEiRD0kG4OjKcC-"
		 "JdBSMyHtSF9KXIxMmX6ZzpkHVxTbb4utvJxAkqs1mvez0SbznEg_YRFx24bxzrkR-gw3lT9UyVL3w00KKTpqA-"
		 "PWAz37dDz1e_UeUfq8EHDBwpnc5ew' | unbase64)",
		 "true"},
		{"the same, changed",
		 "('eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9' ~ ',' ~ "
		 "'eyJhcHBsaWNhdGlvbl9pZCI6ImFhYWFhYWFhLWJiYmItY2NjYy1kZGRkLTAxMjM0NTY3ODlhYiIsImlhdCI6MTcwMD"
		 "AwMDAwMCwiZXhwIjoxNzAwMDAwOTAwLCJqdGkiOiJqdGktMyJ9') | verify('RS256', "
		 "'MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAlbdvt1Z2JouvBJieomCQ8WxrgwKT0oeBJcn6JB0dYfDg8D"
		 "PaYVTWibzWREswX3Z88YcuVDgLIXe9Qx1U4G6X7mCQ13VoClLawTG1fr+8p3aW9YZqdeVLP4QxNU25Bp+"
		 "iWuO7ILD94DCS1OSWRf8pL2v7jQa2MAxvxdgt8nnIVxDSsBj1KXmkT7KsUbHZN3edl1KN54a9Rg79VeYGO/6/4tbfr/"
		 "Oqiwqagvj/"
		 "yzdvxRMTPnQFGbb5bE4RLjQpAvhSt63drCwQt7uj5OGJkQVkgTU3RrajTGtjzpx0ocOnTp5NZPZLOF5rwfd0OPj9IcZ"
		 "znO/YcgVKvCLw8/GFF54JJQIDAQAB', "
		 "'aHnoivbon5EgXM7OF8oxRzcxIVkEMKfcoKMTp9CpMdsxhDGe-XtPNc2vAAvZUlpFNJPGMdpYOY4bZ_"
		 "Mi9Jn8CiOG0tmgclN7uWYXwqZTjl8qp6O1rtueSgqz-s0ObbtkdYWtbjaPhYlLqA-"
		 "0DdNlk6ftIwmCfKqJtXXXoU1lqbUQil9mbCNrrAJkqcgEWK5x6j_VDym8DdSRayf9lur8yEiRD0kG4OjKcC-"
		 "JdBSMyHtSF9KXIxMmX6ZzpkHVxTbb4utvJxAkqs1mvez0SbznEg_YRFx24bxzrkR-gw3lT9UyVL3w00KKTpqA-"
		 "PWAz37dDz1e_UeUfq8EHDBwpnc5ew' | unbase64)",
		 "false"},
		{"postal",
		 "'{\"event\":\"MessageSent\",\"uuid\":\"u-1\"}' | verify('RS1', "
		 "'MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAlbdvt1Z2JouvBJieomCQ8WxrgwKT0oeBJcn6JB0dYfDg8D"
		 "PaYVTWibzWREswX3Z88YcuVDgLIXe9Qx1U4G6X7mCQ13VoClLawTG1fr+8p3aW9YZqdeVLP4QxNU25Bp+"
		 "iWuO7ILD94DCS1OSWRf8pL2v7jQa2MAxvxdgt8nnIVxDSsBj1KXmkT7KsUbHZN3edl1KN54a9Rg79VeYGO/6/4tbfr/"
		 "Oqiwqagvj/"
		 "yzdvxRMTPnQFGbb5bE4RLjQpAvhSt63drCwQt7uj5OGJkQVkgTU3RrajTGtjzpx0ocOnTp5NZPZLOF5rwfd0OPj9IcZ"
		 "znO/YcgVKvCLw8/GFF54JJQIDAQAB', "
		 "'eD+xaxVtEvnfb4N0UwAU2MZJiTDgQAcSWAuxoocsK8aLCmnE8lJvMpoeS+"
		 "W6DzgNQpLzJIzdcUOXf0lU01M7tMUrRKWFC/vt3siVSB8fP4XbugpuV/"
		 "UENPXzK57aj1JW0qev9VZja+RSi0ZSNBJzp20PjMOBO12LgvG6uyJUIxU+XhsQjB5hbfTFGuLqIwNIn+"
		 "KpDrCDnQfvxs1IPt9mxqDxNcnPrY4FPCWDLBmcCkDg4fTsVQXGFEDT2G3ObQVe1phX2l02Zak+"
		 "DJBP3hzPTzcn8f8Rx6Vm596ZW6xEU2wiMM7TF43QhA+Ap1puSevksvKwGNrZ5wrmytkPGI0SLg==' | unbase64)",
		 "true"},
		{"postal, another digest",
		 "'{\"event\":\"MessageSent\",\"uuid\":\"u-1\"}' | verify('RS256', "
		 "'MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAlbdvt1Z2JouvBJieomCQ8WxrgwKT0oeBJcn6JB0dYfDg8D"
		 "PaYVTWibzWREswX3Z88YcuVDgLIXe9Qx1U4G6X7mCQ13VoClLawTG1fr+8p3aW9YZqdeVLP4QxNU25Bp+"
		 "iWuO7ILD94DCS1OSWRf8pL2v7jQa2MAxvxdgt8nnIVxDSsBj1KXmkT7KsUbHZN3edl1KN54a9Rg79VeYGO/6/4tbfr/"
		 "Oqiwqagvj/"
		 "yzdvxRMTPnQFGbb5bE4RLjQpAvhSt63drCwQt7uj5OGJkQVkgTU3RrajTGtjzpx0ocOnTp5NZPZLOF5rwfd0OPj9IcZ"
		 "znO/YcgVKvCLw8/GFF54JJQIDAQAB', "
		 "'eD+xaxVtEvnfb4N0UwAU2MZJiTDgQAcSWAuxoocsK8aLCmnE8lJvMpoeS+"
		 "W6DzgNQpLzJIzdcUOXf0lU01M7tMUrRKWFC/vt3siVSB8fP4XbugpuV/"
		 "UENPXzK57aj1JW0qev9VZja+RSi0ZSNBJzp20PjMOBO12LgvG6uyJUIxU+XhsQjB5hbfTFGuLqIwNIn+"
		 "KpDrCDnQfvxs1IPt9mxqDxNcnPrY4FPCWDLBmcCkDg4fTsVQXGFEDT2G3ObQVe1phX2l02Zak+"
		 "DJBP3hzPTzcn8f8Rx6Vm596ZW6xEU2wiMM7TF43QhA+Ap1puSevksvKwGNrZ5wrmytkPGI0SLg==' | unbase64)",
		 "false"},
		{"plivo, second version",
		 "('https://example.com/plivo/dlr' ~ '12345678901234567890') | hmac_sha256('my_auth_token') "
		 "| base64",
		 "\"m+eEWpBQw/Rlmd6YGYcEB31KiBXWMelZAhcWLSpS06w=\""},
		{"messagebird, address",
		 "'https://example.com/hooks/mb?id=abc&status=delivered' | sha256 | hex",
		 "\"4f6e7e13951d5417d00d9ab0280b136ccef90f109d261dc20c5ce7cb8ffa7be9\""},
		{"messagebird, first version",
		 "('1544544948\\n' ~ (('{\"xyz\":\"bar\",\"abc\":\"foo\"}' | from_json | string_values) | "
		 "sort | pairs('=', '&', 'form')) ~ '\\n' ~ ('' | sha256)) | hmac_sha256('mb_signing_key') | "
		 "base64",
		 "\"o+NiglQ4Jzki2xMu82hKXs5aazbGPQlBr2oNybSnvqY=\""},
		{"naver",
		 "('POST' ~ ' ' ~ '/alimtalk/v2/services/ncp:kkobizmsg:kr:1:svc/messages' ~ '\\n' ~ "
		 "'1700000000000' ~ '\\n' ~ 'ACCESSKEY') | hmac_sha256('SECRETKEY') | base64",
		 "\"TZhuHnQ/eXX4jPe9FkUHYQrmrEM3ZLFYxSyFhKutU3U=\""},
		{"solapi",
		 "('2023-11-14T22:13:20.000Z' ~ '0123456789abcdef0123456789abcdef') | "
		 "hmac_sha256('APISECRET') | hex",
		 "\"029112599bd716a14703bbf6ef4339c4623f44c1ca64564c180b900e97d240bb\""},
		{"qiniu",
		 "(('POST /v1/message/single\\nHost: sms.qiniuapi.com\\nContent-Type: "
		 "application/json\\n\\n' ~ '{\"template_id\":\"1\",\"mobile\":\"13800000000\"}') | "
		 "hmac_sha1('SK') | base64url) ~ '='",
		 "\"-234GKrVGu5cryR1b_J8E5u0Tqc=\""},
		{"bce, signing key",
		 "'bce-auth-v1/AKEXAMPLE/2024-01-02T03:04:05Z/1800' | hmac_sha256('SKEXAMPLE') | hex",
		 "\"b175b1a9a9a2749b7c67ba0da559be0af6d5ccce4900d2c5943b7c01d2defda0\""},
		{"dingtalk, as it is",
		 "('1700000000000' ~ '\\n' ~ 'SECabcdef0123456789') | hmac_sha256('SECabcdef0123456789') | "
		 "base64",
		 "\"dV0RXHUD72d0VKcnHrBhJ9jhSbDS3HUiduucxO+izso=\""},
		{"sns, signing key",
		 "'aws4_request' | hmac_sha256('sns' | hmac_sha256('us-east-1' | hmac_sha256('20231114' | "
		 "hmac_sha256('AWS4' ~ 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY')))) | hex",
		 "\"862ed4e960f19a5a9b9b3ac21b4eea73d8703302cd06939e24e99abe71cca228\""},
		{"ses, password for SMTP",
		 "(('04' | unhex) ~ ('SendRawEmail' | hmac_sha256('aws4_request' | hmac_sha256('ses' | "
		 "hmac_sha256('us-east-1' | hmac_sha256('11111111' | hmac_sha256('AWS4' ~ "
		 "'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'))))))) | base64",
		 "\"BOntiZFm/r+5s3psZ/RpsjB+aSGsj2J0rXdiLuO0cQL7\""},
		{"sendgrid, what is signed",
		 "('1600112502' ~ "
		 "'[{\"email\":\"hello@world.com\",\"event\":\"dropped\",\"reason\":\"Bounced "
		 "Address\",\"sg_event_id\":\"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA\",\"sg_"
		 "message_id\":\"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9."
		 "0\",\"smtp-id\":\"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>\",\"timestamp\":"
		 "1600112492}]' ~ ('0d0a' | unhex)) | sha256 | hex",
		 "\"d42fd42f9a2ff2ac684950bcd351d3cd6e0f60d4e944637cf97c2226bc224548\""},
		{"qq, public key of a secret",
		 "'1725442341{ \"op\": 0,\"d\": {}, \"t\": \"GATEWAY_EVENT_NAME\"}' | verify('EdDSA', "
		 "'d7c362fe78aef81ff23287b493628b5db02a3c4fe30b215e4d19609b5d76673a' | unhex, "
		 "'2eb9983ebb8bb209e78fd095942f58e442656656e7975d01e64f9023a84b7c964290fdd40e5500c33867ccfe95"
		 "63b7e0b6bac0e1d42c13e787b304fd51f71102' | unhex)",
		 "true"},
		{"RFC 8291, PRK_key",
		 "'kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs' | unbase64 | "
		 "hmac_sha256('BTBZMqHH6r4Tts7J_aSIgg' | unbase64) | base64url",
		 "\"Snr3JMxaHVDXHWJn5wdC52WjpCtd2EIEGBykDcZW32k\""},
		{"RFC 8291, IKM",
		 "(('V2ViUHVzaDogaW5mbwAEJXGyvs3942BVGq8e0PTNNmwRzr5VX4m8t7GGpTM5FzFo7OLr4BhZe9MEebhuPI-"
		 "OztV3ylkYfpJGmQ22ggCLDgT-M_"
		 "SrDepxkU21WCP3O1SUj0EwbZIHMtu5pZpTKGSCIA5Zent7wmC6HCJ5mFgJkuk5cwAvMBKiiujwa7t45ewP' | "
		 "unbase64) ~ ('01' | unhex)) | hmac_sha256('Snr3JMxaHVDXHWJn5wdC52WjpCtd2EIEGBykDcZW32k' | "
		 "unbase64) | base64url",
		 "\"S4lYMb_L0FxCeq0WhDx813KgSYqU26kOyzWUdsXYyrg\""},
		{"RFC 8291, PRK",
		 "'S4lYMb_L0FxCeq0WhDx813KgSYqU26kOyzWUdsXYyrg' | unbase64 | "
		 "hmac_sha256('DGv6ra1nlYgDCS1FRnbzlw' | unbase64) | base64url",
		 "\"09_eUZGrsvxChDCGRCdkLiDXrReGOEVeSCdCcPBSJSc\""},
		{"RFC 8291, CEK",
		 "(('Content-Encoding: aes128gcm' ~ ('0001' | unhex)) | "
		 "hmac_sha256('09_eUZGrsvxChDCGRCdkLiDXrReGOEVeSCdCcPBSJSc' | unbase64) | slice(0, 16)) | "
		 "base64url",
		 "\"oIhVW04MRdy2XN9CiKLxTg\""},
		{"RFC 8291, NONCE",
		 "(('Content-Encoding: nonce' ~ ('0001' | unhex)) | "
		 "hmac_sha256('09_eUZGrsvxChDCGRCdkLiDXrReGOEVeSCdCcPBSJSc' | unbase64) | slice(0, 12)) | "
		 "base64url",
		 "\"4h_95klXJ5E_qnoN\""},
		{"RFC 8188 3.1, PRK",
		 "'yqdlZ-tYemfogSmv7Ws5PQ' | unbase64 | hmac_sha256('I1BsxtFttlv3u_Oo94xnmw' | unbase64) | "
		 "base64url",
		 "\"zyeH5phsIsgUyd4oiSEIy35x-gIi4aM7y0hCF8mwn9g\""},
		{"RFC 8188 3.1, CEK",
		 "(('Content-Encoding: aes128gcm' ~ ('0001' | unhex)) | "
		 "hmac_sha256('zyeH5phsIsgUyd4oiSEIy35x-gIi4aM7y0hCF8mwn9g' | unbase64) | slice(0, 16)) | "
		 "base64url",
		 "\"_wniytB-ofscZDh4tbSjHw\""},
		{"RFC 8188 3.1, NONCE",
		 "(('Content-Encoding: nonce' ~ ('0001' | unhex)) | "
		 "hmac_sha256('zyeH5phsIsgUyd4oiSEIy35x-gIi4aM7y0hCF8mwn9g' | unbase64) | slice(0, 12)) | "
		 "base64url",
		 "\"Bcs8gkIRKLI8GeI8\""},
		{"RFC 8188 3.2, PRK",
		 "'BO3ZVPxUlnLORbVGMpbT1Q' | unbase64 | hmac_sha256('uNCkWiNYzKTnBN9ji3-qWA' | unbase64) | "
		 "base64url",
		 "\"mNHRBFh-eOCdAdmmuVtym8Hf44ov7FPsQZ3f4knYjHE\""},
		{"RFC 8188 3.2, CEK",
		 "(('Content-Encoding: aes128gcm' ~ ('0001' | unhex)) | "
		 "hmac_sha256('mNHRBFh-eOCdAdmmuVtym8Hf44ov7FPsQZ3f4knYjHE' | unbase64) | slice(0, 16)) | "
		 "base64url",
		 "\"u_eEOTjjVWUVrH82pQNwpw\""},
		{"RFC 8188 3.2, NONCE",
		 "(('Content-Encoding: nonce' ~ ('0001' | unhex)) | "
		 "hmac_sha256('mNHRBFh-eOCdAdmmuVtym8Hf44ov7FPsQZ3f4knYjHE' | unbase64) | slice(0, 12)) | "
		 "base64url",
		 "\"VqylG1rdt-mJrNgP\""},
		{"hmac of an empty key", "'x' | hmac_sha256('') | hex | len", "64"},
		{"hmac_md5", "'what do ya want for nothing?' | hmac_md5('Jefe') | hex",
		 "\"750c783e6ab0b503eaa86e310a5db738\""},
		{"hmac_sha512 rfc 4231",
		 "'what do ya want for nothing?' | hmac_sha512('Jefe') | hex | cut(16)",
		 "\"164b7a7bfcf819e2\""},
	};

	for (size_t i = 0; i < hm_countof(rows); i++) {
		const char *got = run(rows[i].in);

		if (strcmp(got, rows[i].out) != 0)
			fail_msg("%s: %s, expected %s", rows[i].what, got, rows[i].out);
	}
}

/* Alipay's RSA2 over the canonical string; RSA PKCS#1 v1.5 is deterministic. */
static void rsa(void **state)
{
	static const char text[] = "app_id=2014072300007148&biz_content={\"to_user_id\":\"2088102122458832\","
				   "\"user_template_id\":\"tpl1\","
				   "\"page\":\"pages/"
				   "index\",\"data\":\"{\\\"keyword1\\\":{\\\"value\\\":\\\"12:00\\\"}}\"}&"
				   "charset=utf-8&format=JSON&"
				   "method=alipay.open.app.mini.templatemessage.send&sign_type=RSA2&"
				   "timestamp=2024-01-02 03:04:05&version=1.0";
	struct kit k;
	struct hm_key *key;
	struct hm_buf sig, b64;
	struct hm_err e;

	memset(&k, 0, sizeof(k));
	hm_arena_init(&k.a, NULL, 0);
	assert_int_equal(hm_key_parse(kit_file(&k, VECTORS "alipay_key.pem"), "key", &key, &e), 0);
	hm_buf_init(&sig, 4096);
	hm_buf_init(&b64, 4096);
	assert_int_equal(hm_sign(key, HM_SIG_RS256, hm_str_c(text), &sig, &e), 0);
	hm_buf_base64(&b64, sig.p, sig.len);
	assert_string_equal(hm_buf_cstr(&b64), kit_c(&k, kit_file(&k, VECTORS "alipay_sign.txt")));
	hm_buf_reset(&sig);
	assert_int_equal(hm_sign(key, HM_SIG_PS256, hm_str_c(text), &sig, &e), 0);
	assert_int_equal(sig.len, 256);
	hm_buf_reset(&sig);
	assert_int_equal(hm_sign(key, HM_SIG_ES256, hm_str_c(text), &sig, &e), HM_EINVAL);
	hm_key_free(key);
	hm_buf_fini(&sig);
	hm_buf_fini(&b64);
	hm_arena_fini(&k.a);
}

/* HMAC contexts are cached per thread: more keys than places, used in turn, must not mix. */
static void hmac_cache(void **state)
{
	uint64_t ids[40];
	uint8_t want[40][HM_MD_MAX], got[HM_MD_MAX];
	char key[40][8];

	for (int i = 0; i < 40; i++) {
		snprintf(key[i], sizeof(key[i]), "k%d", i);
		ids[i] = hm_hmac_cache_id();
		assert_int_equal(hm_hmac(HM_MD_SHA256, hm_str_c(key[i]), 0, HM_STR("text"), want[i]), 32);
	}
	for (int r = 0; r < 200; r++) {
		int i = (r * 7) % 40;

		assert_int_equal(hm_hmac(HM_MD_SHA256, hm_str_c(key[i]), ids[i], HM_STR("text"), got), 32);
		assert_memory_equal(got, want[i], 32);
	}
}

static void jwt_hs256(void **state)
{
	struct hm_buf b;
	struct hm_err e;

	hm_buf_init(&b, 4096);
	/* RFC 7515 appendix A.1 uses these bytes as header and claims. */
	assert_int_equal(hm_jwt(NULL, HM_STR("secret"), HM_SIG_HS256, HM_STR("{\"alg\":\"HS256\"}"),
				HM_STR("{\"a\":1}"), &b, &e),
			 0);
	assert_true(hm_str_starts(hm_buf_str(&b), HM_STR("eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.")));
	hm_buf_fini(&b);
}

/* Results of the ciphers: Python's cryptography; of the others: by hand. */
static void more_filters(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"'\\$1' | hex_upper", "\"2431\""},
		{"'/~' | hex_upper", "\"2F7E\""},
		{"'a &lt;b&gt; <i>c</i>&amp;' | unxml", "\"a <b> c&\""},
		{"'%41%2b+%zz%4' | unurl", "\"A++%zz%4\""},
		{"'invalid token: abc' | matches('^Invalid')", "false"},
		{"'invalid token: abc' | matches('(?i)^Invalid')", "true"},
		{"none | matches('x')", "false"},
		{"'code=31002, retry' | capture('code=([0-9]+)') | int", "31002"},
		{"'code=31002' | capture('[0-9]{2}')", "\"31\""},
		{"'a-b' | capture('(.)-(.)', 2)", "\"b\""},
		{"'a-b' | capture('(.)-(.)', 0)", "\"a-b\""},
		{"'a' | capture('a(b)?') ?? 'none'", "\"none\""},
		{"'x' | capture('y') ?? 'none'", "\"none\""},
		{"'号码13800000000错误' | capture('号码(\\d+)')",
		 "!\\d is not an escape; known are \\n \\t \\r \\\\ \\\" \\' \\$"},
		{"'号码13800000000错误' | capture('号码(\\\\d+)')", "\"13800000000\""},
		{"'x' | matches('(')",
		 "!the pattern is wrong behind its character 1: missing closing parenthesis"},
		{"'x' | matches(title)", "!matches expects a pattern in quotes"},
		{"'x' | capture('(a)', 2)", "!capture: the pattern has 1 groups"},
		{"'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab' | matches('^(a+)+$')",
		 "!a pattern of the adapter takes too long"},
		{"'Grüße {€} @' | is_gsm", "true"},
		{"'你好' | is_gsm", "false"},
		{"none | is_gsm", "true"},
		{"'A你\U0001f600' | ucs2 | hex_upper", "\"00414F60D83DDE00\""},
		{"7 | pad(4, '0')", "\"0007\""},
		{"'12345' | pad(4)", "\"12345\""},
		{"settings.list | concat(recipients) | join('')", "\"xyabc\""},
		{"none | concat(recipients, 'd') | join('')", "\"abcd\""},
		{"none | concat(none) ?? 0", "0"},
		{"settings.doc | concat(settings.doc.a) | keys | join(',')", "\"a,b\""},
		{"settings.doc | concat(recipients)", "!concat: lists and maps cannot be joined"},
		{"recipients | slice(1) | join('')", "\"bc\""},
		{"recipients | slice(-2, 1) | join('')", "\"b\""},
		{"recipients | slice(9) | len", "0"},
		{"'abcdef' | slice(0, 3)", "\"abc\""},
		{"'abcdef' | slice(-2)", "\"ef\""},
		{"90000 | at_most(86400)", "86400"},
		{"(-5) | at_least(0) | at_most(10)", "0"},
		{"now_ms | time_ms('%Y-%m-%dT%H:%M:%S.%LZ')", "\"2023-11-14T22:13:20.000Z\""},
		{"1700000000123 | time_ms('%H:%M:%S.%L', '+08:00')", "\"06:13:20.123\""},
		{"(-1) | time_ms('%Y %L')", "\"1969 999\""},
		{"'2023-11-14T22:13:20Z' | unix", "1700000000"},
		{"'2023-11-15T06:13:20.5+08:00' | unix", "1700000000"},
		{"'2000-02-29 00:00:00Z' | unix", "951782400"},
		{"'1969-12-31T23:59:59Z' | unix", "-1"},
		{"'2023-11-15 06:13:20' | unix('%Y-%m-%d %H:%M:%S', '+08:00')", "1700000000"},
		{"'20231114221320' | unix('%Y%m%d%H%M%S')", "1700000000"},
		{"'yesterday' | unix ?? 0", "0"},
		{"'2023-13-14T22:13:20Z' | unix ?? 0", "0"},
		{"'00112233445566778899aabbccddeeff' | uuid4", "\"00112233-4455-4677-8899-aabbccddeeff\""},
		{"'https://push.example.com:8443/a/b?c' | url_origin", "\"https://push.example.com:8443\""},
		{"'mailto:x' | url_origin ?? 'none'", "\"none\""},
		{"'123456789' | crc32", "3421780262"},
		{"'hello world' | aes_cbc('000102030405060708090a0b0c0d0e0f' | unhex, "
		 "'101112131415161718191a1b1c1d1e1f' | unhex) | hex",
		 "\"cda122e671f0f91095f426334e422b2b\""},
		{"'hello world' | aes_ecb('000102030405060708090a0b0c0d0e0f' | unhex) | hex",
		 "\"9276fdf384f38518fa6c8310f191678d\""},
		{"'hello world' | aes_gcm('000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f' "
		 "| unhex, "
		 "'101112131415161718191a1b' | unhex, 'aad') | hex",
		 "\"f19bc427dd55ec97af385fe2147a4fd87c790c14ecb70d0d639940\""},
		{"'x' | aes_cbc('short', 'iv')", "!an AES key has 16, 24 or 32 bytes, not 5"},
		{"'x' | aes_cbc('0123456789abcdef', 'iv')",
		 "!the initialisation vector of AES-CBC has 16 bytes, not 2"},
		{"'x' | rsa_encrypt('nonsense')",
		 "!not an RSA public key; expected PEM or base64 of its DER"},
	};

	for (size_t i = 0; i < hm_countof(rows); i++) {
		const char *out = run(rows[i].in);

		if (strcmp(out, rows[i].out) != 0)
			fail_msg("%s gave %s, not %s", rows[i].in, out, rows[i].out);
	}
}

/* What was encrypted with the public half comes back with the private one. */
static void rsa_encryption(void **state)
{
	EVP_PKEY *k = EVP_RSA_gen(2048);
	EVP_PKEY_CTX *ctx;
	unsigned char *der = NULL, out[256];
	struct hm_buf text, sealed;
	size_t n = sizeof(out);
	int len = i2d_PUBKEY(k, &der);

	hm_buf_init(&text, 4096);
	hm_buf_init(&sealed, 4096);
	hm_buf_base64(&text, der, (size_t)len);
	for (int oaep = 0; oaep < 2; oaep++) {
		hm_buf_reset(&sealed);
		n = sizeof(out);
		assert_int_equal(hm_rsa_encrypt(hm_buf_str(&text), oaep, HM_STR("a code"), &sealed, &err), 0);
		assert_int_equal(sealed.len, 256);
		ctx = EVP_PKEY_CTX_new(k, NULL);
		assert_int_equal(EVP_PKEY_decrypt_init(ctx), 1);
		assert_int_equal(
			EVP_PKEY_CTX_set_rsa_padding(ctx, oaep ? RSA_PKCS1_OAEP_PADDING : RSA_PKCS1_PADDING),
			1);
		if (oaep)
			assert_int_equal(EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha256()), 1);
		assert_int_equal(EVP_PKEY_decrypt(ctx, out, &n, (unsigned char *)sealed.p, sealed.len), 1);
		assert_int_equal(n, 6);
		assert_memory_equal(out, "a code", 6);
		EVP_PKEY_CTX_free(ctx);
	}
	hm_buf_fini(&text);
	hm_buf_fini(&sealed);
	OPENSSL_free(der);
	EVP_PKEY_free(k);
}

static void sealing(void **state)
{
	uint8_t key[HM_SEAL_KEY] = {7}, other[HM_SEAL_KEY] = {8};
	struct hm_buf sealed, again, text;

	hm_buf_init(&sealed, 4096);
	hm_buf_init(&again, 4096);
	hm_buf_init(&text, 4096);
	assert_int_equal(hm_seal(key, HM_STR("id"), HM_STR("a token"), &sealed, &err), 0);
	assert_int_equal(hm_seal(key, HM_STR("id"), HM_STR("a token"), &again, &err), 0);
	assert_true(sealed.len == again.len && memcmp(sealed.p, again.p, sealed.len) != 0);
	assert_true(hm_unseal(key, HM_STR("id"), hm_buf_str(&sealed), &text));
	assert_true(hm_str_is(hm_buf_str(&text), "a token"));
	assert_false(hm_unseal(other, HM_STR("id"), hm_buf_str(&sealed), &text));
	assert_false(hm_unseal(key, HM_STR("if"), hm_buf_str(&sealed), &text));
	for (size_t i = 0; i < sealed.len; i++) { /* changed or cut anywhere: nothing */
		sealed.p[i] ^= 1;
		assert_false(hm_unseal(key, HM_STR("id"), hm_buf_str(&sealed), &text));
		sealed.p[i] ^= 1;
		assert_false(hm_unseal(key, HM_STR("id"), hm_str_n(sealed.p, i), &text));
	}
	assert_true(hm_str_is(hm_buf_str(&text), "a token"));
	hm_buf_fini(&sealed);
	hm_buf_fini(&again);
	hm_buf_fini(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(language),
		cmocka_unit_test(signatures),
		cmocka_unit_test(rsa),
		cmocka_unit_test(hmac_cache),
		cmocka_unit_test(jwt_hs256),
		cmocka_unit_test(more_filters),
		cmocka_unit_test(rsa_encryption),
		cmocka_unit_test(sealing),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
