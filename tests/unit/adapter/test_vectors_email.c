/*
 * test_vectors_email.c - signatures and requests of the mail and voice adapters
 *
 * The canonical-request signatures (SigV4, ACS3, TC3) are computed here a second time, in C; that second way is held against
 * published and independently computed vectors, the adapters against it.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>

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
	kit_counted(kit_vectors, "vectors: mail");
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

static bool has(const char *what)
{
	return hm_str_find(k.call.body, hm_str_c(what)) >= 0;
}

#define JAN_2024 1704164645000ull /* 2024-01-02T03:04:05Z */

/* -- the second way ------------------------------------------------------------------ */

struct mac {
	unsigned char b[32];
};

static struct mac hmac(const void *key, size_t key_len, const char *text)
{
	struct mac m;
	unsigned int n = sizeof(m.b);

	assert_non_null(
		HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)text, strlen(text), m.b, &n));
	return m;
}

static struct mac sha(struct hm_str s)
{
	struct mac m;
	unsigned int n = sizeof(m.b);

	assert_int_equal(EVP_Digest(s.p, s.len, m.b, &n, EVP_sha256(), NULL), 1);
	return m;
}

static const char *hex(struct mac m)
{
	char *s = hm_arena_alloc(&k.a, 65);

	for (size_t i = 0; i < 32; i++)
		snprintf(s + 2 * i, 3, "%02x", m.b[i]);
	return s;
}

/* head: method to header names, each line ended; the hash of the body follows. */
static const char *canonical_hash(const char *head, struct hm_str body)
{
	size_t n = strlen(head) + 65;
	char *cr = hm_arena_alloc(&k.a, n);

	snprintf(cr, n, "%s%s", head, hex(sha(body)));
	return hex(sha(hm_str_c(cr)));
}

/* prefix: of the secret; steps: what the key is led through; label and stamp begin the text that is signed. */
static const char *derived(const char *prefix, const char *secret, const char *const *steps,
			   const char *label, const char *stamp, const char *scope, const char *hash)
{
	char first[200], text[600];
	struct mac key;

	snprintf(first, sizeof(first), "%s%s", prefix, secret);
	key = hmac(first, strlen(first), steps[0]);
	for (size_t i = 1; steps[i]; i++)
		key = hmac(key.b, sizeof(key.b), steps[i]);
	snprintf(text, sizeof(text), "%s\n%s\n%s\n%s", label, stamp, scope, hash);
	return hex(hmac(key.b, sizeof(key.b), text));
}

#define AWS_SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

static const char *aws(const char *stamp, const char *region, const char *service, const char *hash)
{
	char day[9], scope[100];
	const char *const steps[] = {day, region, service, "aws4_request", NULL};

	snprintf(day, sizeof(day), "%.8s", stamp);
	snprintf(scope, sizeof(scope), "%s/%s/%s/aws4_request", day, region, service);
	return derived("AWS4", AWS_SECRET, steps, "AWS4-HMAC-SHA256", stamp, scope, hash);
}

static void sigv4_vectors(void **state)
{
	const char *hash = canonical_hash(
		"GET\n/\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n\n"
		"host;x-amz-date\n",
		HM_STR(""));

	assert_string_equal(hash, "bb579772317eb040ac9ed261061d46c1f17a8133879d6129b6e1c25292927e63");
	assert_string_equal(aws("20150830T123600Z", "us-east-1", "service", hash),
			    "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
	hash = canonical_hash("GET\n/\nAction=ListUsers&Version=2010-05-08\ncontent-type:application/"
			      "x-www-form-urlencoded; charset=utf-8\nhost:iam.amazonaws.com\nx-amz-date:"
			      "20150830T123600Z\n\ncontent-type;host;x-amz-date\n",
			      HM_STR(""));
	assert_string_equal(hash, "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59");
	assert_string_equal(aws("20150830T123600Z", "us-east-1", "iam", hash),
			    "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
	hash = canonical_hash(
		"POST\n/v2/email/outbound-emails\n\ncontent-type:application/json\nhost:email.us-east-1."
		"amazonaws.com\nx-amz-date:20240102T030405Z\n\ncontent-type;host;x-amz-date\n",
		HM_STR("{\"FromEmailAddress\":\"a@example.com\",\"Destination\":{\"ToAddresses\":[\"b@"
		       "example.net\"]},\"Content\":{\"Simple\":{\"Subject\":{\"Data\":\"Hi\","
		       "\"Charset\":\"UTF-8\"},\"Body\":{\"Text\":{\"Data\":\"Hello\",\"Charset\":"
		       "\"UTF-8\"}}}}}"));
	assert_string_equal(hash, "125afd35319e808da8c9ffb799316f8a72b35c12a391625f5095f4e47275c4ed");
	assert_string_equal(aws("20240102T030405Z", "us-east-1", "ses", hash),
			    "d3bb3f3d595717b4f19d1801d816c7711e45dd34c9ce9ff6200482e3324b2923");
}

static const char *tc3(const char *secret, const char *stamp, const char *day, const char *service,
		       const char *hash)
{
	char scope[60];
	const char *const steps[] = {day, service, "tc3_request", NULL};

	snprintf(scope, sizeof(scope), "%s/%s/tc3_request", day, service);
	return derived("TC3", secret, steps, "TC3-HMAC-SHA256", stamp, scope, hash);
}

static void tc3_vectors(void **state)
{
	static const char *const secret = "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE";
	struct hm_str body = HM_STR(
		"{\"Limit\": 1, \"Filters\": [{\"Values\": [\"\\u672a\\u547d\\u540d\"], \"Name\": "
		"\"instance-name\"}]}");
	const char *hash;

	assert_string_equal(hex(sha(body)),
			    "35e9c5b0e3ae67532d3c9f17ead6c90222632e5b1ff7f6e89887f1398934f064");
	hash = canonical_hash(
		"POST\n/\n\ncontent-type:application/json; charset=utf-8\nhost:cvm.tencentcloudapi.com\n\n"
		"content-type;host\n",
		body);
	assert_string_equal(hash, "5ffe6a04c0664d6b969fab9a13bdab201d63ee709638e2749d62a09ca18d7031");
	assert_string_equal(tc3(secret, "1551113065", "2019-02-25", "cvm", hash),
			    "72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168");
	hash = canonical_hash(
		"POST\n/\n\ncontent-type:application/json; charset=utf-8\nhost:cvm.tencentcloudapi.com\n"
		"x-tc-action:describeinstances\n\ncontent-type;host;x-tc-action\n",
		body);
	assert_string_equal(hash, "7019a55be8395899b900fb5564e4200d984910f34794a27cb3fb7d10ff6a1e84");
	assert_string_equal(tc3(secret, "1551113065", "2019-02-25", "cvm", hash),
			    "644be983de9a8a3f00db8eadaba61467c3b429e2215758ba897b738ca469fd26");
}

static const char *acs3(const char *secret, const char *hash)
{
	char text[100];

	snprintf(text, sizeof(text), "ACS3-HMAC-SHA256\n%s", hash);
	return hex(hmac(secret, strlen(secret), text));
}

#define EMPTY_SHA "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void acs3_vectors(void **state)
{
	const char *hash = canonical_hash(
		"POST\n/"
		"\nImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai\nhost:"
		"ecs."
		"cn-shanghai.aliyuncs.com\nx-acs-action:RunInstances\nx-acs-content-sha256:" EMPTY_SHA
		"\nx-acs-date:2023-10-26T10:22:32Z\nx-acs-signature-nonce:3156853299f313e23d1673dc12e1703d\n"
		"x-acs-version:2014-05-26\n\nhost;x-acs-action;x-acs-content-sha256;x-acs-date;"
		"x-acs-signature-nonce;x-acs-version\n",
		HM_STR(""));

	assert_string_equal(hash, "7ea06492da5221eba5297e897ce16e55f964061054b7695beedaac1145b1e259");
	assert_string_equal(acs3("YourAccessKeySecret", hash),
			    "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0");
	hash = canonical_hash(
		"POST\n/\nPhoneNumbers=13800000000&SignName=%E6%B5%8B%E8%AF%95&TemplateCode=SMS_1&"
		"TemplateParam=%7B%22code%22%3A%221234%22%7D\nhost:dysmsapi.aliyuncs.com\n"
		"x-acs-action:SendSms\nx-acs-content-sha256:" EMPTY_SHA
		"\nx-acs-date:2024-01-02T03:04:05Z\nx-acs-signature-nonce:nonce-0001\nx-acs-version:"
		"2017-05-25\n\nhost;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;"
		"x-acs-version\n",
		HM_STR(""));
	assert_string_equal(hash, "b8c6070fb10ecbab4f9b0d8e3a579888fe14ed979c6f8f4e8ceae6f2eaeaeff9");
	assert_string_equal(acs3("testsecret", hash),
			    "21eca1387292f7ab808d88f9921d2999c13d2ae3ef2677cbc40564ddb7d117cb");
}

/* -- the adapters ----------------------------------------------------------------------- */

static void ends_with(const char *header, const char *signature)
{
	assert_non_null(header);
	if (!hm_str_ends(hm_str_c(header), hm_str_c(signature)))
		fail_msg("%s does not end with %s", header, signature);
}

static void ses(void **state)
{
	static const char *const maps[] = {
		"    adapter: email/ses\n    access_key_id: AKIDEXAMPLE\n    secret_access_key: " AWS_SECRET
		"\n    from: a@example.com\n",
		"    adapter: email/ses\n    access_key_id: AKIDEXAMPLE\n    secret_access_key: " AWS_SECRET
		"\n    from: a@example.com\n    template: t\n    region: eu-west-1\n    session_token: "
		"a/b+c=\n"};

	kit_need_channel(&k, maps[0]);
	assert_int_equal(hm_channel_info(k.c)->batch_max, 1);
	build_at("{\"to\":\"b@example.net\",\"title\":\"Hi\",\"body\":\"Hello\",\"options\":{\"unsubscribe\":"
		 "\"https://example.com/u\",\"label\":\"otp\"}}",
		 JAN_2024, "");
	assert_string_equal(kit_c(&k, k.call.path), "/v2/email/outbound-emails");
	assert_true(has("{\"FromEmailAddress\":\"a@example.com\",\"Destination\":{\"ToAddresses\":[\"b@"
			"example.net\"]},"
			"\"Content\":{\"Simple\":{\"Subject\":{\"Data\":\"Hi\",\"Charset\":\"UTF-8\"},"
			"\"Body\":{\"Text\":{"
			"\"Data\":\"Hello\",\"Charset\":\"UTF-8\"},\"Html\":{\"Data\":\"<!DOCTYPE html>"));
	assert_true(has("\"Headers\":[{\"Name\":\"List-Unsubscribe\",\"Value\":\"<https://example.com/"
			"u>\"},{\"Name\":"
			"\"List-Unsubscribe-Post\",\"Value\":\"List-Unsubscribe=One-Click\"}]"));
	assert_true(has(
		"\"EmailTags\":[{\"Name\":\"hermod_id\",\"Value\":\"01HF7YAT00E008000000000001\"},{\"Name\":"
		"\"label\",\"Value\":\"otp\"}]"));
	ends_with(kit_header(&k, "authorization"),
		  aws("20240102T030405Z", "us-east-1", "ses",
		      canonical_hash(
			      "POST\n/v2/email/outbound-emails\n\ncontent-type:application/json\nhost:email."
			      "us-east-1.amazonaws.com\nx-amz-date:20240102T030405Z\n\ncontent-type;host;"
			      "x-amz-date\n",
			      k.call.body)));
	/* A stored template lets many share a call. */
	kit_need_channel(&k, maps[1]);
	assert_int_equal(hm_channel_info(k.c)->batch_max, 50);
	build_at("{\"to\":[\"b@example.net\",\"c@example.net\"],\"data\":{\"code\":\"42\"}}", JAN_2024, "");
	assert_string_equal(kit_c(&k, k.call.path), "/v2/email/outbound-bulk-emails");
	assert_string_equal(
		kit_c(&k, k.call.body),
		"{\"FromEmailAddress\":\"a@example.com\",\"DefaultContent\":{\"Template\":{\"TemplateName\":"
		"\"t\",\"TemplateData\":\"{\\\"code\\\":\\\"42\\\"}\"}},\"BulkEmailEntries\":[{"
		"\"Destination\":{"
		"\"ToAddresses\":[\"b@example.net\"]}},{\"Destination\":{\"ToAddresses\":[\"c@example.net\"]}"
		"}]}");
	assert_string_equal(kit_header(&k, "x-amz-security-token"), "a/b+c=");
	ends_with(kit_header(&k, "authorization"),
		  aws("20240102T030405Z", "eu-west-1", "ses",
		      canonical_hash(
			      "POST\n/v2/email/outbound-bulk-emails\n\ncontent-type:application/"
			      "json\nhost:email."
			      "eu-west-1.amazonaws.com\nx-amz-date:20240102T030405Z\nx-amz-security-token:"
			      "a/b+c=\n\ncontent-type;host;x-amz-date;x-amz-security-token\n",
			      k.call.body)));
	build_at("{\"to\":\"b@example.net\"}", JAN_2024, "");
	assert_true(has("\"Content\":{\"Template\":{\"TemplateName\":\"t\",\"TemplateData\":\"{}\"}}"));
}

static void tencent(void **state)
{
	kit_need_channel(&k,
			 "    adapter: email/tencent\n    secret_id: AKIDEXAMPLE\n    secret_key: SKEXAMPLE\n"
			 "    from: a@mail.example.com\n    from_name: Acme\n    template: 7000\n");
	build_at("{\"to\":\"b@example.net\",\"title\":\"Hi\",\"data\":{\"code\":1234}}", 1700000000000ull,
		 "");
	assert_string_equal(kit_c(&k, k.call.body),
			    "{\"FromEmailAddress\":\"\\\"Acme\\\" "
			    "<a@mail.example.com>\",\"Destination\":[\"b@example.net\"],"
			    "\"Subject\":\"Hi\",\"Template\":{\"TemplateID\":7000,\"TemplateData\":\"{"
			    "\\\"code\\\":\\\"1234\\\"}\"},"
			    "\"TriggerType\":1,\"Unsubscribe\":\"0\"}");
	ends_with(kit_header(&k, "authorization"),
		  tc3("SKEXAMPLE", "1700000000", "2023-11-14", "ses",
		      canonical_hash("POST\n/\n\ncontent-type:application/json; "
				     "charset=utf-8\nhost:ses.tencentcloudapi.com\n"
				     "x-tc-action:sendemail\n\ncontent-type;host;x-tc-action\n",
				     k.call.body)));
	/* The content itself, for accounts that may. */
	kit_need_channel(
		&k,
		"    adapter: email/tencent\n    secret_id: a\n    secret_key: b\n    from: a@example.com\n"
		"    simple: yes\n");
	build_at("{\"to\":\"b@example.net\",\"title\":\"Hi\",\"body\":\"Hello\"}", JAN_2024, "");
	assert_true(has("\"Text\":\"SGVsbG8=\""));
	assert_true(has("\"Simple\":{\"Html\":\"PCFET0NUWVBFIGh0bWw+"));
}

/* RPC signature over a form that holds two texts; the signature itself has vectors in test_signatures.c. */
static void aliyun(void **state)
{
	kit_need_channel(
		&k,
		"    adapter: email/aliyun\n    access_key_id: testid\n    access_key_secret: testsecret\n"
		"    from: a@mail.example.com\n    from_name: Acme Incorporated\n    unsubscribe_header: "
		"yes\n");
	assert_int_equal(hm_channel_info(k.c)->batch_max, 1);
	build_at("{\"to\":\"b@example.net\",\"title\":\"Hi\",\"body\":\"a "
		 "b\",\"options\":{\"unsubscribe\":\"mailto:u@"
		 "example.com\"}}",
		 JAN_2024, "nonce-0001");
	assert_true(has("&AccountName=a%40mail.example.com&FromAlias=Acme%20Incorpora&AddressType=1&"
			"ReplyToAddress=false&"
			"ToAddress=b%40example.net&Subject=Hi&TextBody=a%20b&HtmlBody=%3C%21DOCTYPE"));
	assert_true(has(
		"&Headers=%7B%22List-Unsubscribe%22%3A%22%3Cmailto%3Au%40example.com%3E%22%7D&Signature="));
}

/* The same words twice, one-click unsubscribing, and our id in what events bring back. */
static void mails(void **state)
{
	static const char message[] =
		"{\"to\":[\"b@example.net\",\"c@example.net\"],\"title\":\"T {{x}}\",\"body\":\"a "
		"{{y}}\",\"options\":{\"unsubscribe\":\"https://example.com/u\",\"label\":\"otp\"}}";

	kit_need_channel(&k, "    adapter: email/sparkpost\n    api_key: K\n    from: a@example.com\n");
	build_at(message, JAN_2024, "");
	assert_string_equal(kit_header(&k, "authorization"), "K");
	assert_true(has("{\"options\":{\"transactional\":true},\"campaign_id\":\"otp\",\"recipients\":[{"
			"\"address\":{\"email\":"
			"\"b@example.net\"},\"metadata\":{\"hermod_id\":\"01HF7YAT00E008000000000001\"}},{"
			"\"address\":{"
			"\"email\":\"c@example.net\"},\"metadata\":{\"hermod_id\":"
			"\"01HF7YAT00E008000000000002\"}}]"));
	assert_true(has("\"subject\":\"T {{opening_double_curly()}}x}}\""));
	assert_true(has("\"text\":\"a {{opening_double_curly()}}y}}\""));
	assert_true(
		has("\"headers\":{\"List-Unsubscribe\":\"<https://example.com/u>\",\"List-Unsubscribe-Post\":"
		    "\"List-Unsubscribe=One-Click\"}"));

	kit_need_channel(&k, "    adapter: email/brevo\n    api_key: K\n    from: a@example.com\n");
	build_at(message, JAN_2024, "");
	assert_true(has("{\"sender\":{\"email\":\"a@example.com\"},\"messageVersions\":[{\"to\":[{\"email\":"
			"\"b@example.net\"}]},"
			"{\"to\":[{\"email\":\"c@example.net\"}]}],\"subject\":\"T "
			"{{x}}\",\"textContent\":\"a {{y}}\","
			"\"htmlContent\":\"<!DOCTYPE"));
	assert_true(
		has("\"headers\":{\"List-Unsubscribe\":\"<https://example.com/u>\",\"List-Unsubscribe-Post\":"
		    "\"List-Unsubscribe=One-Click\",\"idempotencyKey\":\""));
	assert_true(has("\"tags\":[\"otp\"]"));
	build_at("{\"to\":\"b@example.net\",\"options\":{\"template\":12},\"data\":{\"code\":\"42\"}}",
		 JAN_2024, "");
	assert_string_equal(
		kit_c(&k, k.call.body),
		"{\"sender\":{\"email\":\"a@example.com\"},\"to\":[{\"email\":\"b@example.net\"}],"
		"\"templateId\":12,"
		"\"params\":{\"code\":\"42\"},\"headers\":{\"X-Mailin-custom\":\"{\\\"hermod_id\\\":"
		"\\\"01HF7YAT00E008000000000001\\\"}\"}}");

	kit_need_channel(&k, "    adapter: email/mandrill\n    api_key: K\n    from: a@example.com\n    "
			     "reply_to: r@example.com\n");
	build_at(message, JAN_2024, "");
	assert_string_equal(kit_c(&k, k.call.path), "/api/1.0/messages/send.json");
	assert_true(has("{\"key\":\"K\",\"async\":false,\"message\":{\"from_email\":\"a@example.com\",\"to\":"
			"[{\"email\":\"b@example."
			"net\",\"type\":\"to\"},{\"email\":\"c@example.net\",\"type\":\"to\"}],\"subject\":"
			"\"T {{x}}\",\"text\":"
			"\"a {{y}}\",\"html\":\"<!DOCTYPE"));
	assert_true(
		has("\"headers\":{\"Reply-To\":\"r@example.com\",\"List-Unsubscribe\":\"<https://example.com/"
		    "u>\","
		    "\"List-Unsubscribe-Post\":\"List-Unsubscribe=One-Click\"},\"preserve_recipients\":false,"
		    "\"recipient_metadata\":[{\"rcpt\":\"b@example.net\",\"values\":{\"hermod_id\":"
		    "\"01HF7YAT00E008000000000001\"}},"));
	build_at("{\"to\":\"b@example.net\",\"options\":{\"template\":\"t\"},\"data\":{\"code\":\"42\"}}",
		 JAN_2024, "");
	assert_string_equal(kit_c(&k, k.call.path), "/api/1.0/messages/send-template.json");
	assert_true(has("\"template_name\":\"t\",\"template_content\":[],"));
	assert_true(has("\"global_merge_vars\":[{\"name\":\"code\",\"content\":\"42\"}]"));
}

/* A file and a picture of the HTML, as each provider wants them. */
static void attachments(void **state)
{
	static const struct {
		const char *adapter, *settings, *want[2];
	} rows[] = {
		{"email/sendgrid",
		 "    api_key: K\n",
		 {"\"attachments\":[{\"content\":\"QQ==\",\"type\":\"application/"
		  "pdf\",\"filename\":\"a.pdf\"},{\"content\":"
		  "\"Qg==\",\"type\":\"image/"
		  "png\",\"filename\":\"b.png\",\"disposition\":\"inline\",\"content_id\":\"c1\"}]"}},
		{"email/postmark",
		 "    server_token: K\n",
		 {"\"Attachments\":[{\"Name\":\"a.pdf\",\"Content\":\"QQ==\",\"ContentType\":\"application/"
		  "pdf\"},{\"Name\":"
		  "\"b.png\",\"Content\":\"Qg==\",\"ContentType\":\"image/png\",\"ContentID\":\"cid:c1\"}]"}},
		{"email/resend",
		 "    api_key: K\n",
		 {"\"attachments\":[{\"filename\":\"a.pdf\",\"content\":\"QQ==\",\"content_type\":"
		  "\"application/pdf\"},{"
		  "\"filename\":\"b.png\",\"content\":\"Qg==\",\"content_type\":\"image/"
		  "png\",\"content_id\":\"c1\"}]"}},
		{"email/sparkpost",
		 "    api_key: K\n",
		 {"\"attachments\":[{\"name\":\"a.pdf\",\"type\":\"application/pdf\",\"data\":\"QQ==\"}]",
		  "\"inline_images\":[{\"name\":\"c1\",\"type\":\"image/png\",\"data\":\"Qg==\"}]"}},
		{"email/brevo",
		 "    api_key: K\n",
		 {"\"attachment\":[{\"name\":\"a.pdf\",\"content\":\"QQ==\"},{\"name\":\"b.png\",\"content\":"
		  "\"Qg==\"}]"}},
		{"email/mandrill",
		 "    api_key: K\n",
		 {"\"attachments\":[{\"type\":\"application/pdf\",\"name\":\"a.pdf\",\"content\":\"QQ==\"}]",
		  "\"images\":[{\"type\":\"image/png\",\"name\":\"c1\",\"content\":\"Qg==\"}]"}},
		{"email/tencent",
		 "    secret_id: a\n    secret_key: b\n    simple: yes\n",
		 {"\"Attachments\":[{\"FileName\":\"a.pdf\",\"Content\":\"QQ==\"},{\"FileName\":\"b.png\","
		  "\"Content\":\"Qg==\"}]"}},
	};
	char map[300];

	for (size_t i = 0; i < hm_countof(rows); i++) {
		snprintf(map, sizeof(map), "    adapter: %s\n%s    from: a@example.com\n", rows[i].adapter,
			 rows[i].settings);
		kit_need_channel(&k, map);
		build_at("{\"to\":\"b@example.net\",\"title\":\"t\",\"body\":\"b\",\"options\":{"
			 "\"attachments\":[{\"name\":"
			 "\"a.pdf\",\"type\":\"application/"
			 "pdf\",\"data\":\"QQ==\"},{\"name\":\"b.png\",\"type\":\"image/png\","
			 "\"data\":\"Qg==\",\"cid\":\"c1\"}]}}",
			 JAN_2024, "n");
		for (size_t n = 0; n < hm_countof(rows[i].want) && rows[i].want[n]; n++)
			if (!has(rows[i].want[n]))
				fail_msg("%s: %s", rows[i].adapter, kit_c(&k, k.call.body));
	}
}

/* -- voice -------------------------------------------------------------------------------- */

static void calls(void **state)
{
	const char *head;

	kit_need_channel(&k, "    adapter: voice/twilio\n    account_sid: AC1\n    auth_token: tok\n    "
			     "from: \"+14155550101\"\n"
			     "    language: zh-CN\n");
	build_at("{\"to\":\"8613800000000\",\"body\":\"1 < 2 & 3\"}", JAN_2024, "");
	assert_string_equal(kit_c(&k, k.call.path), "/2010-04-01/Accounts/AC1/Calls.json");
	assert_string_equal(kit_c(&k, k.call.body),
			    "To=%2B8613800000000&From=%2B14155550101&Twiml=%3CResponse%3E%3CSay+language%3D%"
			    "22zh-CN%22+loop%3D%22"
			    "2%22%3E1+%26lt%3B+2+%26amp%3B+3%3C%2FSay%3E%3C%2FResponse%3E&Timeout=60");

	kit_need_channel(
		&k,
		"    adapter: voice/aliyun\n    access_key_id: testid\n    access_key_secret: testsecret\n"
		"    template: TTS_1\n");
	build_at("{\"to\":\"+8613800000000\",\"data\":{\"code\":1234}}", JAN_2024, "nonce-0001");
	assert_string_equal(kit_c(&k, k.call.body), "CalledNumber=13800000000&TtsCode=TTS_1&TtsParam=%7B%"
						    "22code%22%3A%221234%22%7D&PlayTimes=3&Volume="
						    "100&Speed=0&OutId=01HF7YAT00E008000000000001");
	head = hm_arena_alloc(&k.a, 1000);
	snprintf((char *)(uintptr_t)head, 1000,
		 "POST\n/\n\ncontent-type:application/"
		 "x-www-form-urlencoded\nhost:dyvmsapi.aliyuncs.com\nx-acs-action:"
		 "SingleCallByTts\nx-acs-content-sha256:%s\nx-acs-date:2024-01-02T03:04:05Z\nx-acs-signature-"
		 "nonce:nonce-"
		 "0001\nx-acs-version:2017-05-25\n\ncontent-type;host;x-acs-action;x-acs-content-sha256;x-"
		 "acs-date;"
		 "x-acs-signature-nonce;x-acs-version\n",
		 hex(sha(k.call.body)));
	assert_string_equal(kit_header(&k, "x-acs-content-sha256"), hex(sha(k.call.body)));
	ends_with(kit_header(&k, "authorization"), acs3("testsecret", canonical_hash(head, k.call.body)));
	/* A file instead of a template. */
	kit_need_channel(&k, "    adapter: voice/aliyun\n    access_key_id: a\n    access_key_secret: b\n    "
			     "voice_file: f.wav\n");
	build_at("{\"to\":\"+8613800000000\"}", JAN_2024, "n");
	assert_string_equal(kit_header(&k, "x-acs-action"), "SingleCallByVoice");
	assert_true(has("&VoiceCode=f.wav&") && !has("Tts"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sigv4_vectors), cmocka_unit_test(tc3_vectors),
		cmocka_unit_test(acs3_vectors),	 cmocka_unit_test(ses),
		cmocka_unit_test(tencent),	 cmocka_unit_test(aliyun),
		cmocka_unit_test(mails),	 cmocka_unit_test(attachments),
		cmocka_unit_test(calls),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
