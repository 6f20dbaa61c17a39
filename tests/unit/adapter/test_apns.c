/*
 * test_apns.c - adapters/push/apns.yaml: exact requests, tokens, verdicts
 */
#include "kit.h"

#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#define TOKEN "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0"
#define CHANNEL                                                                         \
	"    adapter: push/apns\n    topic: com.example.app\n    team_id: DEF123GHIJ\n" \
	"    key_id: ABC123DEFG\n    key_file: " VECTORS "apns_key.p8\n"

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

static void a_text(void **state)
{
	uint8_t flags;

	kit_need_channel(&k, CHANNEL);
	assert_true(hm_channel_info(k.c)->needs_credential);
	assert_string_equal(kit_c(&k, hm_channel_info(k.c)->origin.host), "api.push.apple.com");
	assert_int_equal(hm_channel_info(k.c)->origin.port, 443);
	assert_int_equal(hm_channel_info(k.c)->origin.version, HM_HTTP_2);
	assert_int_equal(hm_channel_info(k.c)->batch_max, 1);
	kit_need_build(&k, "{\"to\":\"" TOKEN "\",\"body\":\"Build 41 finished\",\"credential\":\"JWT\"}");
	assert_string_equal(kit_c(&k, k.call.method), "POST");
	assert_string_equal(kit_c(&k, k.call.path), "/3/device/" TOKEN);
	assert_string_equal(kit_c(&k, k.call.body), "{\"aps\":{\"alert\":\"Build 41 finished\"}}");
	assert_string_equal(kit_header_flags(&k, "authorization", &flags), "bearer JWT");
	assert_int_equal(flags, HM_HDR_NEVER_INDEX);
	assert_string_equal(kit_header_flags(&k, "apns-topic", &flags), "com.example.app");
	assert_int_equal(flags, 0);
	assert_string_equal(kit_header(&k, "apns-push-type"), "alert");
	assert_string_equal(kit_header_flags(&k, "apns-id", &flags), "018bcfe5-6800-7000-8000-000000000001");
	assert_int_equal(flags, HM_HDR_NO_INDEX);
	assert_string_equal(kit_header(&k, "content-type"), "application/json");
	assert_null(kit_header(&k, "apns-priority"));
	assert_null(kit_header(&k, "apns-expiration"));
	assert_null(kit_header(&k, "apns-collapse-id"));
	assert_int_equal(k.call.n_headers, 5);
}

static void everything(void **state)
{
	kit_need_channel(&k, CHANNEL "    id_key: mid\n    url_key: deeplink\n");
	kit_need_build(
		&k,
		"{\"to\":\"" TOKEN "\",\"title\":\"Order shipped\",\"body\":\"Arrives Friday\","
		"\"url\":\"app://orders/8841\",\"image\":\"https://x.example/i.png\","
		"\"data\":{\"order\":8841,\"aps\":{\"evil\":1},\"deeplink\":\"no\",\"list\":[1,\"a\",{\"b\":"
		"null}]},"
		"\"expires\":1700086400,\"options\":{\"subtitle\":\"No. 8841\",\"loc_key\":\"ORDER_FMT\","
		"\"loc_args\":[\"8841\"],\"badge\":3,\"sound\":\"ding.caf\",\"critical\":true,\"volume\":0.8,"
		"\"thread\":\"orders\",\"category\":\"ORDER\",\"content_available\":true,"
		"\"interruption_level\":\"time-sensitive\",\"relevance\":0.7,\"target_content\":\"order-"
		"8841\","
		"\"collapse\":\"order-8841\",\"priority\":\"normal\",\"unknown_option\":1}}");
	assert_string_equal(
		kit_c(&k, k.call.body),
		"{\"aps\":{\"alert\":{\"title\":\"Order shipped\",\"subtitle\":\"No. "
		"8841\",\"body\":\"Arrives Friday\","
		"\"loc-key\":\"ORDER_FMT\",\"loc-args\":[\"8841\"]},\"badge\":3,"
		"\"sound\":{\"critical\":1,\"name\":\"ding.caf\",\"volume\":0.8},\"thread-id\":\"orders\","
		"\"category\":\"ORDER\",\"content-available\":1,\"mutable-content\":1,"
		"\"interruption-level\":\"time-sensitive\",\"relevance-score\":0.7,"
		"\"target-content-id\":\"order-8841\"},\"deeplink\":\"app://orders/8841\","
		"\"image\":\"https://x.example/i.png\",\"mid\":\"01HF7YAT00E008000000000001\","
		"\"order\":8841,\"list\":[1,\"a\",{\"b\":null}]}");
	assert_string_equal(kit_header(&k, "apns-priority"), "5");
	assert_string_equal(kit_header(&k, "apns-expiration"), "1700086400");
	assert_string_equal(kit_header(&k, "apns-collapse-id"), "order-8841");
}

static void kinds_of_push(void **state)
{
	static const struct {
		const char *options, *type, *topic, *priority, *body;
	} rows[] = {
		{"{\"background\":true}", "background", "com.example.app", "5",
		 "{\"aps\":{\"content-available\":1}}"},
		{"{\"push_type\":\"background\",\"priority\":\"high\"}", "background", "com.example.app", "5",
		 "{\"aps\":{\"content-available\":1}}"},
		{"{\"push_type\":\"voip\"}", "voip", "com.example.app.voip", NULL,
		 "{\"aps\":{\"alert\":\"t\"}}"},
		{"{\"push_type\":\"complication\"}", "complication", "com.example.app.complication", NULL,
		 NULL},
		{"{\"push_type\":\"fileprovider\"}", "fileprovider", "com.example.app.pushkit.fileprovider",
		 NULL, NULL},
		{"{\"push_type\":\"location\"}", "location", "com.example.app.location-query", NULL, NULL},
		{"{\"push_type\":\"pushtotalk\"}", "pushtotalk", "com.example.app.voip-ptt", NULL, NULL},
		{"{\"push_type\":\"liveactivity\",\"priority\":10,\"aps\":{\"event\":\"update\","
		 "\"timestamp\":1700000000,"
		 "\"content-state\":{\"eta\":5}}}",
		 "liveactivity", "com.example.app.push-type.liveactivity", "10",
		 "{\"aps\":{\"alert\":\"t\",\"event\":\"update\",\"timestamp\":1700000000,\"content-state\":{"
		 "\"eta\":5}}}"},
		{"{\"push_type\":\"mdm\"}", "mdm", "com.example.mdm.uid", NULL, NULL},
		{"{\"topic\":\"com.other\",\"ttl\":0,\"priority\":\"high\"}", "alert", "com.other", "10",
		 NULL},
	};

	kit_need_channel(&k, CHANNEL "    mdm_topic: com.example.mdm.uid\n");
	for (size_t i = 0; i < hm_countof(rows); i++) {
		char json[1024];

		snprintf(json, sizeof(json), "{\"to\":\"" TOKEN "\",\"body\":\"t\",\"options\":%s}",
			 rows[i].options);
		kit_need_build(&k, json);
		assert_string_equal(kit_header(&k, "apns-push-type"), rows[i].type);
		assert_string_equal(kit_header(&k, "apns-topic"), rows[i].topic);
		if (rows[i].priority)
			assert_string_equal(kit_header(&k, "apns-priority"), rows[i].priority);
		else
			assert_null(kit_header(&k, "apns-priority"));
		if (rows[i].body)
			assert_string_equal(kit_c(&k, k.call.body), rows[i].body);
	}
	assert_string_equal(kit_header(&k, "apns-expiration"), "0"); /* ttl 0 of the last row */
}

static const char *const one_option[] = {
	"\"badge\":3",	      "\"sound\":\"s\"",    "\"critical\":true", "\"thread\":\"t\"",
	"\"collapse\":\"c\"", "\"ttl\":60",	    "\"priority\":10",	 "\"background\":true",
	"\"mutable\":false",  "\"subtitle\":\"u\"", "\"aps\":{\"x\":1}", "\"topic\":\"p\"",
};

static const char *some_options(uint32_t set, char *out, size_t cap)
{
	size_t n = (size_t)snprintf(out, cap,
				    "{\"to\":\"" TOKEN "\",\"title\":\"T\",\"body\":\"b\",\"options\":{");

	for (size_t i = 0; i < hm_countof(one_option); i++)
		if (set >> i & 1)
			n += (size_t)snprintf(out + n, cap - n, "%s%s", out[n - 1] == '{' ? "" : ",",
					      one_option[i]);
	snprintf(out + n, cap - n, "}}");
	return out;
}

/* Requests are the same through a form made for exactly these options and through the full one. */
static void forms_agree(void **state)
{
	char json[1000];
	struct kit full;

	kit_init(&full);
	kit_need_channel(&full, CHANNEL);
	for (uint32_t i = 0; i < HM_CHANNEL_MAX_VARIANTS; i++) /* now its table is full of others */
		(void)hm_channel_variant(full.c, 1ull << (63 - i));
	for (uint32_t set = 0; set < 1u << hm_countof(one_option); set += 3) {
		if (set % 24 == 0)
			kit_need_channel(&k, CHANNEL);
		some_options(set, json, sizeof(json));
		kit_need_build(&k, json);
		kit_need_build(&full, json);
		assert_string_equal(kit_c(&k, k.call.body), kit_c(&full, full.call.body));
		assert_int_equal(k.call.n_headers, full.call.n_headers);
		for (size_t h = 0; h < k.call.n_headers; h++) {
			assert_string_equal(kit_c(&k, k.call.headers[h].name),
					    kit_c(&full, full.call.headers[h].name));
			assert_string_equal(kit_c(&k, k.call.headers[h].value),
					    kit_c(&full, full.call.headers[h].value));
			assert_int_equal(k.call.headers[h].flags, full.call.headers[h].flags);
		}
		hm_arena_reset(&full.a);
		if (set % 24 == 21)
			hm_arena_reset(&k.a);
	}
	kit_fini(&full);
}

static void *builder(void *arg)
{
	const struct hm_channel *c = arg;
	struct kit own = {0};
	char json[1000];

	hm_arena_init(&own.a, NULL, 0);
	msgpack_zone_init(&own.zone, 4096);
	hm_buf_init(&own.bytes, 1 << 20);
	own.c = (struct hm_channel *)(uintptr_t)c;
	for (uint32_t i = 0; i < 400; i++) {
		if (kit_build(&own, some_options(1u << (i % 12), json, sizeof(json))) != 0)
			return "failed";
		hm_arena_reset(&own.a);
	}
	hm_buf_fini(&own.bytes);
	msgpack_zone_destroy(&own.zone);
	hm_arena_fini(&own.a);
	return NULL;
}

static void forms_from_many_threads(void **state)
{
	pthread_t t[4];
	void *r;

	kit_need_channel(&k, CHANNEL);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, builder, k.c), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &r);
		assert_null(r);
	}
}

static void ttl_counts_from_now(void **state)
{
	kit_need_channel(&k, CHANNEL);
	kit_need_build(&k, "{\"to\":\"" TOKEN "\",\"body\":\"t\",\"options\":{\"ttl\":60}}");
	assert_string_equal(kit_header(&k, "apns-expiration"), "1700000060");
}

static void refused_before_sending(void **state)
{
	static const struct {
		const char *json, *outcome, *text;
	} rows[] = {
		{"{\"to\":\"xyz\",\"body\":\"t\"}", "invalid_recipient", "device token"},
		{"{\"to\":\"" TOKEN "/../x\",\"body\":\"t\"}", "invalid_recipient", "device token"},
		{"{\"to\":\"" TOKEN "\"}", "bad_request", "title or a body"},
		{"{\"to\":\"" TOKEN "\",\"body\":\"t\",\"options\":{\"priority\":\"urgent\"}}", "bad_request",
		 "priority"},
		{"{\"to\":\"" TOKEN "\",\"body\":\"t\",\"options\":{\"badge\":\"many\"}}", "bad_request",
		 "number"},
		{"{\"to\":\"" TOKEN "\",\"body\":\"t\",\"options\":{\"collapse\":\"a\\r\\nx-evil: 1\"}}",
		 "bad_request", "control character"},
		{"{\"to\":\"" TOKEN "\",\"body\":\"t\",\"options\":{\"collapse\":"
		 "\"0123456789012345678901234567890123456789012345678901234567890123456789\"}}",
		 "bad_request", "64 bytes"},
		{"{\"to\":\"" TOKEN "\",\"body\":\"t\",\"options\":{\"topic\":\"a\\nb\"}}", "bad_request",
		 "control"},
	};

	kit_need_channel(&k, CHANNEL);
	for (size_t i = 0; i < hm_countof(rows); i++) {
		assert_int_equal(kit_build(&k, rows[i].json), HM_EINVAL);
		assert_string_equal(hm_outcome_name(k.outcome), rows[i].outcome);
		assert_non_null(strstr(k.err.text, rows[i].text));
	}
}

static void payload_limit(void **state)
{
	char json[8192], body[5200];
	int overhead = (int)strlen("{\"aps\":{\"alert\":\"\"}}");

	kit_need_channel(&k, CHANNEL);
	for (int voip = 0; voip < 2; voip++) {
		int max = voip ? 5120 : 4096;

		for (int over = 0; over < 2; over++) {
			memset(body, 'x', sizeof(body));
			body[max - overhead + over] = '\0';
			snprintf(json, sizeof(json),
				 "{\"to\":\"" TOKEN "\",\"body\":\"%s\",\"options\":{%s}}", body,
				 voip ? "\"push_type\":\"voip\"" : "");
			kit_need_build(&k, json);
			assert_int_equal(k.call.body.len, max); /* the text gives way, to the byte */
			assert_int_equal(hm_str_ends(k.call.body, HM_STR("x\xe2\x80\xa6\"}}")), over);
		}
	}
	/* Escapes count as what they become, and characters stay whole. */
	for (int n = 1800; n < 2300; n += 7) {
		struct hm_buf b;

		hm_buf_init(&b, sizeof(json));
		for (int i = 0; i < n; i++)
			hm_buf_puts(&b, i % 3 ? HM_STR("\\\"") : HM_STR("值"));
		snprintf(json, sizeof(json), "{\"to\":\"" TOKEN "\",\"title\":\"t\",\"body\":\"%s\"}",
			 hm_buf_cstr(&b));
		hm_buf_fini(&b);
		kit_need_build(&k, json);
		assert_true(k.call.body.len <= 4096 && k.call.body.len > 4096 - 8);
		assert_true(hm_utf8_valid(k.call.body));
	}
	/* What is not text is never cut; and a notification without a word of its text is none. */
	memset(body, 'd', sizeof(body));
	body[4090] = '\0';
	snprintf(json, sizeof(json), "{\"to\":\"" TOKEN "\",\"body\":\"words\",\"data\":{\"k\":\"%s\"}}",
		 body);
	assert_int_equal(kit_build(&k, json), HM_EINVAL);
	assert_string_equal(hm_outcome_name(k.outcome), "bad_request");
	assert_string_equal(k.err.field, "body");
	assert_non_null(strstr(k.err.text, "4096"));
}

/* All of it but control characters, which no medium shows (adapt/rich.h). */
static void hostile_text_stays_text(void **state)
{
	kit_need_channel(&k, CHANNEL);
	kit_need_build(&k, "{\"to\":\"" TOKEN
			   "\",\"title\":\"\\\"},\\\"x\\\":{\\\"\",\"body\":\"a\\r\\nb\\u0000\\u001f${id}"
			   "\\\\\",\"data\":{\"k\\\"\\n\":\"v\\\"\"}}");
	assert_string_equal(kit_c(&k, k.call.body),
			    "{\"aps\":{\"alert\":{\"title\":\"\\\"},\\\"x\\\":{\\\"\","
			    "\"body\":\"a\\nb${id}\\\\\"}},\"k\\\"\\n\":\"v\\\"\"}");
	assert_true(hm_json_to_msgpack(k.call.body, &k.bytes, NULL) == 0);
}

static void certificate_auth(void **state)
{
	kit_need_channel(
		&k, "    adapter: push/apns\n    topic: com.example.app\n    auth: certificate\n"
		    "    cert_file: /etc/c.pem\n    cert_key_file: /etc/k.pem\n    environment: sandbox\n"
		    "    alternative_port: true\n");
	assert_false(hm_channel_info(k.c)->needs_credential);
	assert_string_equal(kit_c(&k, hm_channel_info(k.c)->origin.cert_file), "/etc/c.pem");
	assert_string_equal(kit_c(&k, hm_channel_info(k.c)->origin.key_file), "/etc/k.pem");
	assert_string_equal(kit_c(&k, hm_channel_info(k.c)->origin.host), "api.sandbox.push.apple.com");
	assert_int_equal(hm_channel_info(k.c)->origin.port, 2197);
	kit_need_build(&k, "{\"to\":\"" TOKEN "\",\"body\":\"t\"}");
	assert_null(kit_header(&k, "authorization"));
	assert_int_equal(kit_build(&k, "{\"to\":\"" TOKEN
				       "\",\"body\":\"t\",\"options\":{\"push_type\":\"location\"}}"),
			 HM_EINVAL);
}

static void endpoint_override(void **state)
{
	const struct hm_origin_opts *o;

	kit_need_channel(&k, CHANNEL "    endpoint: {url: \"https://127.0.0.1:8443/base/\", ca_file: "
				     "/tmp/ca.pem, verify: no, http: auto}\n"
				     "    timeout: 3s\n    rate: 600/m\n    concurrency: 50\n    "
				     "max_attempts: 4\n    resend_unknown: yes\n");
	o = &hm_channel_info(k.c)->origin;
	assert_string_equal(kit_c(&k, o->host), "127.0.0.1");
	assert_int_equal(o->port, 8443);
	assert_false(o->verify);
	assert_true(o->tls);
	assert_int_equal(o->version, HM_HTTP_AUTO);
	assert_string_equal(kit_c(&k, o->ca_file), "/tmp/ca.pem");
	assert_int_equal(hm_channel_info(k.c)->timeout_ms, 3000);
	assert_int_equal(hm_channel_info(k.c)->rate.n, 1);
	assert_int_equal(hm_channel_info(k.c)->rate.v[0].max, 600);
	assert_int_equal(hm_channel_info(k.c)->rate.v[0].window_ms, 60000);
	assert_int_equal(hm_channel_info(k.c)->max_concurrency, 50);
	assert_int_equal(hm_channel_info(k.c)->max_attempts, 4);
	assert_true(hm_channel_info(k.c)->resend_unknown);
	kit_need_build(&k, "{\"to\":\"" TOKEN "\",\"body\":\"t\"}");
	assert_string_equal(kit_c(&k, k.call.path), "/base/3/device/" TOKEN);
	kit_need_channel(&k, CHANNEL "    endpoint: {url: \"http://127.0.0.1:8080\", http: h2c}\n");
	assert_false(hm_channel_info(k.c)->origin.tls);
	assert_int_equal(hm_channel_info(k.c)->origin.version, HM_HTTP_2_PRIOR);
}

static bool verify_es256(struct hm_str input, struct hm_str raw)
{
	struct hm_str pem = kit_file(&k, VECTORS "apns_key.p8");
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.len);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	ECDSA_SIG *sig = ECDSA_SIG_new();
	unsigned char *der = NULL;
	int n;
	bool ok;

	assert_int_equal(raw.len, 64);
	ECDSA_SIG_set0(sig, BN_bin2bn((const unsigned char *)raw.p, 32, NULL),
		       BN_bin2bn((const unsigned char *)raw.p + 32, 32, NULL));
	n = i2d_ECDSA_SIG(sig, &der);
	ok = EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
	     EVP_DigestVerify(ctx, der, (size_t)n, (const unsigned char *)input.p, input.len) == 1;
	OPENSSL_free(der);
	ECDSA_SIG_free(sig);
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	BIO_free(bio);
	return ok;
}

/* The published signing input, byte for byte; signatures are random, so ours and the published one are verified. */
static void provider_token(void **state)
{
	struct hm_str want = kit_file(&k, VECTORS "apns_signing_input.txt"), token, published;
	struct hm_buf sig;
	struct hm_err e;

	kit_need_channel(&k, CHANNEL);
	hm_err_clear(&e);
	assert_int_equal(hm_cred_mint(k.c, WALL_MS, &k.a, &token, &e), 0);
	assert_true(hm_str_starts(token, want));
	assert_int_equal(token.p[want.len], '.');
	hm_buf_init(&sig, 1024);
	assert_true(hm_buf_unbase64(&sig, hm_str_n(token.p + want.len + 1, token.len - want.len - 1)));
	assert_true(verify_es256(want, hm_buf_str(&sig)));
	((char *)(uintptr_t)sig.p)[3] ^= 1;
	assert_false(verify_es256(want, hm_buf_str(&sig)));
	published = kit_file(&k, VECTORS "apns_jwt.txt");
	hm_buf_reset(&sig);
	assert_true(
		hm_buf_unbase64(&sig, hm_str_n(published.p + want.len + 1, published.len - want.len - 1)));
	assert_true(verify_es256(want, hm_buf_str(&sig)));
	hm_buf_fini(&sig);
}

static void key_inline(void **state)
{
	struct hm_str pem = kit_file(&k, VECTORS "apns_key.p8"), token;
	struct hm_buf b;
	struct hm_err e;

	hm_buf_init(&b, 4096);
	hm_buf_lit(&b, "    adapter: push/apns\n    topic: t\n    team_id: T\n    key_id: K\n    key: \"");
	for (size_t i = 0; i < pem.len; i++)
		if (pem.p[i] == '\n')
			hm_buf_lit(&b, "\\n");
		else
			hm_buf_putc(&b, pem.p[i]);
	hm_buf_lit(&b, "\"\n");
	kit_need_channel(&k, hm_buf_cstr(&b));
	assert_int_equal(hm_cred_mint(k.c, WALL_MS, &k.a, &token, &e), 0);
	hm_buf_fini(&b);
}

static void mistakes_in_the_channel(void **state)
{
	static const struct {
		const char *map, *text;
	} rows[] = {
		{"    adapter: push/apns\n    topic: t\n", "team_id is missing"},
		{"    adapter: push/apns\n    team_id: T\n    key_id: K\n    key_file: " VECTORS
		 "apns_key.p8\n",
		 "topic is missing"},
		{CHANNEL "    topik: x\n", "did you mean \"topic\"?"},
		{CHANNEL "    environment: live\n", "\"live\" is not one of its values"},
		{CHANNEL "    key: abc\n", "not both"},
		{"    adapter: push/apns\n    topic: t\n    team_id: T\n    key_id: K\n    key_file: "
		 "/nonexistent.p8\n",
		 "cannot read /nonexistent.p8"},
		{"    adapter: push/apns\n    topic: t\n    team_id: T\n    key_id: K\n    key_file: " VECTORS
		 "apns_jwt.txt\n",
		 "not a private key"},
		{"    adapter: push/apns\n    topic: t\n    team_id: T\n    key_id: K\n    key_file: " VECTORS
		 "alipay_key.pem\n",
		 "does not fit ES256"},
		{"    adapter: push/apsn\n    topic: t\n", "did you mean \"push/apns\"?"},
		{CHANNEL "    endpoint: {url: \"ftp://x\"}\n", "endpoint.url"},
		{CHANNEL "    endpoint: {urll: \"https://x\"}\n", "did you mean \"url\"?"},
		{CHANNEL "    rate: fast\n", "500/s"},
		{CHANNEL "    timeout: 0ms\n", "timeout"},
	};

	for (size_t i = 0; i < hm_countof(rows); i++) {
		assert_null(kit_channel(&k, rows[i].map));
		if (strstr(k.errors, rows[i].text) == NULL)
			fail_msg("row %zu: %s", i, k.errors);
		assert_non_null(strstr(k.errors, "hermod.yaml:"));
	}
}

static void answers(void **state)
{
	static const char *const id[] = {"apns-id", "018BCFE5-6800-7000-8000-000000000001", NULL};
	struct hm_verdict v;

	kit_need_channel(&k, CHANNEL);
	kit_need_build(&k, "{\"to\":\"" TOKEN "\",\"body\":\"t\"}");
	v = kit_answer_n(&k, 200, id, HM_STR(""));
	assert_outcome(v, "ok");
	assert_string_equal(kit_c(&k, v.provider_id), id[1]);
	v = kit_answer(&k, 410, "{\"reason\":\"Unregistered\",\"timestamp\":1699999999123}");
	assert_outcome(v, "invalid_recipient");
	assert_int_equal(v.gone_since_ms, 1699999999123);
	assert_string_equal(kit_c(&k, v.reason), "Unregistered");
	v = kit_answer(&k, 403, "{\"reason\":\"ExpiredProviderToken\"}");
	assert_outcome(v, "auth");
	assert_true(v.refresh_credential);
	assert_false(v.operator_needed);
	v = kit_answer(&k, 403, "{\"reason\":\"SomethingNew\"}");
	assert_outcome(v, "auth");
	assert_true(v.operator_needed);
	v = kit_answer(&k, 429, "{\"reason\":\"TooManyRequests\"}");
	assert_outcome(v, "rate_limited");
	assert_int_equal(v.scope, HM_SCOPE_RECIPIENT);
	v = kit_answer(&k, 429, "{\"reason\":\"TooManyProviderTokenUpdates\"}");
	assert_int_equal(v.scope, HM_SCOPE_CREDENTIAL);
	/* The reason decides, not the status. */
	v = kit_answer(&k, 400, "{\"reason\":\"Unregistered\"}");
	assert_outcome(v, "invalid_recipient");
	v = kit_answer(&k, 400, "{\"reason\":\"BadDeviceToken\"}");
	assert_true(v.suspect);
}

static void malformed_answers_are_never_ok(void **state)
{
	static char huge[70000];
	static const char *const bodies[] = {"{}",     "{\"reason\":\"", "null", "[]",
					     "<html>", "\xff\xfe",	 "ok",	 " "};
	struct hm_verdict v;

	kit_need_channel(&k, CHANNEL);
	kit_need_build(&k, "{\"to\":\"" TOKEN "\",\"body\":\"t\"}");
	for (size_t i = 0; i < hm_countof(bodies); i++) {
		v = kit_answer(&k, 200, bodies[i]);
		assert_outcome(v, "unknown");
		assert_true(hm_utf8_valid(v.detail));
	}
	memset(huge, 'x', sizeof(huge));
	v = kit_answer_n(&k, 200, NULL, hm_str_n(huge, sizeof(huge)));
	assert_outcome(v, "unknown");
	assert_true(v.detail.len <= 200);
	for (int status = 201; status < 300; status++) {
		v = kit_answer(&k, status, "");
		assert_outcome(v, "unknown");
	}
}

static void no_answer(void **state)
{
	static const struct {
		enum hm_fate fate;
		int code;
		const char *outcome;
	} rows[] = {
		{HM_FATE_NOT_SENT, HM_ECONN, "provider_down"},
		{HM_FATE_NOT_SENT, HM_ETLS, "provider_down"},
		{HM_FATE_NOT_SENT, HM_EREFUSED, "retry"},
		{HM_FATE_NOT_SENT, HM_EAGAIN, "retry"},
		{HM_FATE_NOT_SENT, HM_ETIMEDOUT, "provider_down"},
		{HM_FATE_MAYBE, HM_ETIMEDOUT, "unknown"},
		{HM_FATE_MAYBE, HM_ECLOSED, "unknown"},
	};
	struct hm_verdict v;

	kit_need_channel(&k, CHANNEL);
	kit_need_build(&k, "{\"to\":\"" TOKEN "\",\"body\":\"t\"}");
	for (size_t i = 0; i < hm_countof(rows); i++) {
		k.call.fate = rows[i].fate;
		hm_err_set(&k.call.err, rows[i].code, "why");
		hm_channel_classify(k.c, &k.in, &k.call, &k.a, &v);
		assert_outcome(v, rows[i].outcome);
		assert_string_equal(kit_c(&k, v.reason), hm_err_name(rows[i].code));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_text),
		cmocka_unit_test(everything),
		cmocka_unit_test(kinds_of_push),
		cmocka_unit_test(forms_agree),
		cmocka_unit_test(forms_from_many_threads),
		cmocka_unit_test(ttl_counts_from_now),
		cmocka_unit_test(refused_before_sending),
		cmocka_unit_test(payload_limit),
		cmocka_unit_test(hostile_text_stays_text),
		cmocka_unit_test(certificate_auth),
		cmocka_unit_test(endpoint_override),
		cmocka_unit_test(provider_token),
		cmocka_unit_test(key_inline),
		cmocka_unit_test(mistakes_in_the_channel),
		cmocka_unit_test(answers),
		cmocka_unit_test(malformed_answers_are_never_ok),
		cmocka_unit_test(no_answer),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
