/*
 * test_webpush.c - Web Push: the vectors of RFC 8188, 8291 and 8292, and what the adapter makes of them
 */
#include "adapter/webpush.h"
#define KIT_VECTORS
#include "webpush_open.h"

#define AS_PRIVATE "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
#define AS_PUBLIC  "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"
#define SUBSCRIPTION                                           \
	"{\\\"endpoint\\\":\\\"https://push.example.net/push/" \
	"JzLQ\\\",\\\"keys\\\":{\\\"p256dh\\\":\\\"" UA_PUBLIC "\\\",\\\"auth\\\":\\\"" UA_AUTH "\\\"}}"
#define CHANNEL \
	"    adapter: push/webpush\n    vapid_key: " AS_PRIVATE "\n    contact: mailto:ops@example.com\n"

static struct kit k;

static int setup(void **state)
{
	kit_init(&k);
	return 0;
}
static int teardown(void **state)
{
	kit_fini(&k);
	kit_counted(kit_vectors, "vectors: Web Push");
	return 0;
}

static const char *b64(struct hm_str s)
{
	struct hm_buf b;

	hm_buf_init_arena(&b, &k.a, 1 << 16);
	hm_buf_base64url(&b, s.p, s.len);
	return hm_buf_cstr(&b);
}

static const char *encoded(const char *key, const char *salt, uint32_t rs, const char *keyid, size_t pad,
			   const char *text)
{
	struct hm_buf b;
	struct hm_err e;

	hm_err_clear(&e);
	hm_buf_init_arena(&b, &k.a, 1 << 16);
	if (hm_ece_encrypt(unb64(&k, key), unb64(&k, salt), rs, hm_str_c(keyid), pad, hm_str_c(text), &b,
			   &e) != 0)
		fail_msg("%s", e.text);
	return b64(hm_buf_str(&b));
}

/* RFC 8188, 3.1 and 3.2: one record, and two. */
static void content_encoding(void **state)
{
	assert_string_equal(
		encoded("yqdlZ-tYemfogSmv7Ws5PQ", "I1BsxtFttlv3u_Oo94xnmw", 4096, "", 0, "I am the walrus"),
		"I1BsxtFttlv3u_Oo94xnmwAAEAAA-NAVub2qFgBEuQKRapoZu-IxkIva3MEB1PD-ly8Thjg");
	assert_string_equal(
		encoded("BO3ZVPxUlnLORbVGMpbT1Q", "uNCkWiNYzKTnBN9ji3-qWA", 25, "a1", 1, "I am the walrus"),
		"uNCkWiNYzKTnBN9ji3-qWAAAABkCYTHOG8chz_"
		"gnvgOqdGYovxyjuqRyJFjEDyoF1Fvkj6hQPdPHI51OEUKEpgz3SsLWIqS_uA");
	/* Not padded, and without any text: computed with http_ece. */
	assert_string_equal(
		encoded("BO3ZVPxUlnLORbVGMpbT1Q", "uNCkWiNYzKTnBN9ji3-qWA", 25, "a1", 0, "I am the walrus"),
		"uNCkWiNYzKTnBN9ji3-qWAAAABkCYTHOG8chz_gn2gI0ofGmv5f-6AkiuXzlWpUMkQzygrZXO6L-z5uKh9iiBcajZ_"
		"n9e5IG");
	assert_string_equal(encoded("yqdlZ-tYemfogSmv7Ws5PQ", "I1BsxtFttlv3u_Oo94xnmw", 4096, "", 0, ""),
			    "I1BsxtFttlv3u_Oo94xnmwAAEAAAs1Y1et58Ydku5sB2RHZoWdo");
}

static void impossible(void **state)
{
	struct hm_str key = unb64(&k, "yqdlZ-tYemfogSmv7Ws5PQ"), salt = unb64(&k, "I1BsxtFttlv3u_Oo94xnmw");
	char id[300] = {0};
	struct hm_buf b;
	struct hm_err e;

	hm_err_clear(&e);
	hm_buf_init_arena(&b, &k.a, 1 << 16);
	assert_int_equal(hm_ece_encrypt(key, HM_STR("short"), 4096, HM_STR(""), 0, HM_STR("t"), &b, &e),
			 HM_EINVAL);
	assert_int_equal(hm_ece_encrypt(key, salt, 17, HM_STR(""), 0, HM_STR("t"), &b, &e), HM_EINVAL);
	assert_int_equal(hm_ece_encrypt(key, salt, 4096, hm_str_n(id, 256), 0, HM_STR("t"), &b, &e),
			 HM_EINVAL);
	assert_int_equal(hm_ece_encrypt(key, salt, 18, hm_str_n(id, 255), 0, HM_STR("t"), &b, &e), 0);
}

/* RFC 8291, section 5. */
static void subscription(void **state)
{
	struct hm_buf b;
	struct hm_err e;

	hm_err_clear(&e);
	hm_buf_init_arena(&b, &k.a, 1 << 16);
	assert_int_equal(hm_webpush_encrypt(unb64(&k, UA_PUBLIC), unb64(&k, UA_AUTH),
					    unb64(&k, "DGv6ra1nlYgDCS1FRnbzlw"), unb64(&k, AS_PRIVATE),
					    HM_STR("When I grow up, I want to be a watermelon"), &b, &e),
			 0);
	assert_string_equal(b64(hm_buf_str(&b)),
			    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_"
			    "c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6"
			    "TlzAC8wEqKK6PBru3jl7A_"
			    "yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulc"
			    "y4a-fN");
	assert_string_equal(kit_c(&k, webpush_open(&k, hm_buf_str(&b))),
			    "When I grow up, I want to be a watermelon");
}

/* The same, asked for in an adapter file. */
static void in_a_file(void **state)
{
	kit_use(&k,
		"adapter: {name: sms/test, title: T, docs: https://x.example}\n"
		"endpoint: {url: https://x.example}\n"
		"request:\n  path: /\n  headers: {content-type: application/octet-stream}\n  text: ${body}\n"
		"  wrap: '${request.body | webpush_encrypt(\"" UA_PUBLIC "\", \"" UA_AUTH
		"\", \"DGv6ra1nlYgDCS1FRnbzlw\", \"" AS_PRIVATE "\")}'\n"
		"answer: {success: status == 200}\n",
		NULL);
	kit_need_build(&k, "{\"to\":\"1\",\"body\":\"When I grow up, I want to be a watermelon\"}");
	assert_int_equal(k.call.body.len, 144);
	assert_true(hm_str_ends(hm_str_c(b64(k.call.body)), HM_STR("Sxsj_Qulcy4a-fN")));
	kit_fini(&k);
	kit_init(&k);
}

static int refused(const char *p256dh, const char *auth, size_t len)
{
	char *text = hm_arena_zalloc(&k.a, len + 1);
	struct hm_buf b;
	struct hm_err e;
	int rc;

	hm_err_clear(&e);
	hm_buf_init_arena(&b, &k.a, 1 << 21);
	rc = hm_webpush_encrypt(unb64(&k, p256dh), unb64(&k, auth), HM_STR(""), HM_STR(""),
				hm_str_n(text, len), &b, &e);
	assert_true(rc == 0 || strlen(e.text) > 10);
	return rc;
}

/* Points beside the curve, at infinity, compressed, cut; secrets of another length; texts of any length a body can have. */
static void foreign_keys(void **state)
{
	char off[100];

	strcpy(off, UA_PUBLIC);
	off[80] = off[80] == 'A' ? 'B' : 'A';
	assert_int_equal(refused(UA_PUBLIC, UA_AUTH, 10), 0);
	assert_int_equal(refused(off, UA_AUTH, 10), HM_EINVAL);
	assert_int_equal(refused("AA", UA_AUTH, 10), HM_EINVAL);
	assert_int_equal(refused("AiVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcx", UA_AUTH, 10), HM_EINVAL);
	assert_int_equal(
		refused("BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
			"AAAAAA",
			UA_AUTH, 10),
		HM_EINVAL);
	assert_int_equal(refused(UA_PUBLIC, "BTBZMqHH6r4Tts7J_aSI", 10), HM_EINVAL);
	assert_int_equal(refused(UA_PUBLIC, UA_AUTH, 4079), 0);
	assert_int_equal(refused(UA_PUBLIC, UA_AUTH, 4080), 0);
	assert_int_equal(refused(UA_PUBLIC, UA_AUTH, (1 << 20) + 1), HM_EINVAL);
}

/* -- the adapter ------------------------------------------------------------------------ */

static void message(void **state)
{
	struct hm_str first;

	kit_need_channel(&k, CHANNEL);
	kit_need_build(
		&k,
		"{\"to\":\"" SUBSCRIPTION
		"\",\"title\":\"Order\",\"body\":\"Arrives Friday\",\"url\":\"https://x.example/1\","
		"\"data\":{\"order\":8841},\"options\":{\"collapse\":\"order-8841\",\"priority\":\"high\"}}");
	assert_string_equal(kit_c(&k, k.call.path), "/push/JzLQ");
	assert_string_equal(kit_c(&k, k.origin.host), "push.example.net");
	assert_true(k.origin.tls && k.origin.deny_private);
	assert_string_equal(kit_header(&k, "ttl"), "2419200");
	assert_string_equal(kit_header(&k, "urgency"), "high");
	assert_int_equal(strlen(kit_header(&k, "topic")), 32);
	assert_string_equal(kit_header(&k, "content-encoding"), "aes128gcm");
	assert_string_equal(kit_c(&k, webpush_open(&k, k.call.body)),
			    "{\"title\":\"Order\",\"body\":\"Arrives "
			    "Friday\",\"tag\":\"order-8841\",\"url\":\"https://x.example/1\","
			    "\"id\":\"01HF7YAT00E008000000000001\",\"data\":{\"order\":8841}}");
	first = hm_arena_str(&k.a, k.call.body);
	/* A fresh key and salt for each; with a given nonce, for previews, the same. */
	kit_need_build(&k, "{\"to\":\"" SUBSCRIPTION "\",\"body\":\"b\"}");
	assert_true(memcmp(first.p, k.call.body.p, 86) != 0);
	kit_need_build(&k, "{\"to\":\"" SUBSCRIPTION
			   "\",\"body\":\"b\",\"nonce\":\"0123456789abcdef0123456789abcdef\"}");
	first = hm_arena_str(&k.a, k.call.body);
	kit_need_build(&k, "{\"to\":\"" SUBSCRIPTION
			   "\",\"body\":\"b\",\"nonce\":\"0123456789abcdef0123456789abcdef\"}");
	assert_true(hm_str_eq(first, k.call.body));
	assert_string_equal(kit_c(&k, webpush_open(&k, k.call.body)),
			    "{\"body\":\"b\",\"id\":\"01HF7YAT00E008000000000001\"}");
}

static void as_text(void **state)
{
	kit_need_channel(&k, CHANNEL "    payload: text\n    ttl: 60\n");
	kit_need_build(&k, "{\"to\":\"" SUBSCRIPTION "\",\"body\":\"Grüße, \\\"you\\\"\"}");
	assert_string_equal(kit_c(&k, webpush_open(&k, k.call.body)), "Grüße, \"you\"");
	assert_string_equal(kit_header(&k, "ttl"), "60");
}

/* What is no subscription is the recipient's fault, and said. */
static void addresses(void **state)
{
	static const char *const bad[] = {
		"https://push.example.net/push/JzLQ",
		"{\\\"endpoint\\\":\\\"https://push.example.net/push/JzLQ\\\",\\\"expirationTime\\\":null}",
		"{\\\"endpoint\\\":\\\"http://push.example.net/"
		"p\\\",\\\"keys\\\":{\\\"p256dh\\\":\\\"" UA_PUBLIC "\\\",\\\"auth\\\":\\\"" UA_AUTH "\\\"}}",
		"{\\\"endpoint\\\":\\\"https://push.example.net/"
		"p\\\",\\\"keys\\\":{\\\"p256dh\\\":\\\"" AS_PRIVATE "\\\",\\\"auth\\\":\\\"" UA_AUTH
		"\\\"}}",
		"{\\\"endpoint\\\":\\\"https://push.example.net/"
		"p\\\",\\\"keys\\\":{\\\"p256dh\\\":\\\"" UA_PUBLIC "\\\",\\\"auth\\\":\\\"AAAA\\\"}}",
		"{\\\"endpoint\\\":\\\"https://push.example.net/"
		"p\\\",\\\"keys\\\":{\\\"p256dh\\\":\\\"" UA_PUBLIC
		"\\\",\\\"auth\\\":\\\"!!no base64!!\\\"}}",
		"{\\\"endpoint\\\":[1],\\\"keys\\\":{\\\"p256dh\\\":\\\"" UA_PUBLIC
		"\\\",\\\"auth\\\":\\\"" UA_AUTH "\\\"}}",
	};

	kit_need_channel(&k, CHANNEL);
	for (size_t i = 0; i < hm_countof(bad); i++) {
		char text[700];

		snprintf(text, sizeof(text), "{\"to\":\"%s\",\"body\":\"b\"}", bad[i]);
		if (kit_build(&k, text) == 0)
			fail_msg("taken: %s", bad[i]);
		if (k.outcome != HM_OUT_INVALID_RECIPIENT)
			fail_msg("%s: %s", bad[i], k.err.text);
	}
	assert_int_equal(
		kit_build(&k, "{\"to\":\"" SUBSCRIPTION "\",\"body\":\"b\",\"options\":{\"ttl\":-1}}"),
		HM_EINVAL);
	assert_int_equal(k.outcome, HM_OUT_BAD_REQUEST);
}

/* -- VAPID -------------------------------------------------------------------------------- */

static bool verified(struct hm_str jwt, const char *point)
{
	EVP_PKEY *key = open_key(HM_STR(""), unb64(&k, point));
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	struct hm_str rest = jwt, header, claims, raw;
	unsigned char der[80], *p = der;
	ECDSA_SIG *sig = ECDSA_SIG_new();
	int n;
	bool ok;

	assert_true(hm_str_split(&rest, '.', &header) && hm_str_split(&rest, '.', &claims));
	raw = unb64(&k, kit_c(&k, rest));
	assert_int_equal(raw.len, 64);
	ECDSA_SIG_set0(sig, BN_bin2bn((const unsigned char *)raw.p, 32, NULL),
		       BN_bin2bn((const unsigned char *)raw.p + 32, 32, NULL));
	n = i2d_ECDSA_SIG(sig, &p);
	ok = EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
	     EVP_DigestVerify(ctx, der, (size_t)n, (const unsigned char *)jwt.p,
			      header.len + 1 + claims.len) == 1;
	ECDSA_SIG_free(sig);
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	return ok;
}

/* RFC 8292, 2.4: the check itself is right. */
static void vapid_example(void **state)
{
	char jwt[] = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9."
		     "eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1"
		     "MjM3NjgsInN1YiI6Im1haWx0bzpwdXNoQGV4YW1wbGUuY29tIn0.i3CYb7t4xfxCDquptFOepC9GAu_"
		     "HLGkMlMuCGSK2rpiU"
		     "fnK9ojFwDXb1JrErtmysazNjjvW2L9OkSSHzvoD1oA";
	static const char *const point =
		"BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs";

	assert_true(verified(hm_str_c(jwt), point));
	jwt[60] = jwt[60] == 'A' ? 'B' : 'A';
	assert_false(verified(hm_str_c(jwt), point));
}

static struct hm_str jwt_of(const char *header)
{
	struct hm_str s = hm_str_c(header);
	ptrdiff_t end = hm_str_find(s, HM_STR(", k="));

	assert_true(hm_str_starts(s, HM_STR("vapid t=")) && end > 0);
	assert_true(hm_str_is(hm_str_n(s.p + end + 4, s.len - (size_t)end - 4), AS_PUBLIC));
	return hm_str_n(s.p + 8, (size_t)end - 8);
}

static const char *vapid_at(uint64_t s, const char *to)
{
	char text[700];

	snprintf(text, sizeof(text),
		 "{\"to\":\"{\\\"endpoint\\\":\\\"%s\\\",\\\"keys\\\":{\\\"p256dh\\\":\\\"" UA_PUBLIC
		 "\\\",\\\"auth\\\":\\\"" UA_AUTH "\\\"}}\",\"body\":\"b\"}",
		 to);
	kit_message(&k, text);
	memset(&k.call, 0, sizeof(k.call));
	k.in.wall_ms = s * 1000;
	if (hm_channel_build(&k.in, &k.a, &k.call, &k.origin, &k.outcome, &k.err) != 0)
		fail_msg("%s", k.err.text);
	return kit_header(&k, "authorization");
}

/* Claims and header are those of the vector; the signature is another one each time and is checked. */
static void vapid_token(void **state)
{
	struct hm_str jwt;

	kit_need_channel(&k, CHANNEL);
	jwt = jwt_of(vapid_at(1700000000, "https://push.example.net/push/JzLQ"));
	assert_true(hm_str_starts(jwt, HM_STR("eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9."
					      "eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE3"
					      "MDAwNDMyMDAsInN1YiI6Im1haWx0bzpvcHNAZXhhbXBsZS5jb20ifQ.")));
	assert_true(verified(jwt, AS_PUBLIC));
	assert_true(verified(HM_STR("eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9."
				    "eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE3"
				    "MDAwNDMyMDAsInN1YiI6Im1haWx0bzpvcHNAZXhhbXBsZS5jb20ifQ._"
				    "QHdMjoKXQrHUF9qPkvzvn9xzFArant3G2bG37WC"
				    "9BsxaKDl5I05hNEacnIAD-fTS3jA2Eevok_bNfjO0npvbw"),
			     AS_PUBLIC));
}

/* One per origin, for six hours; a port that goes without saying and the case of the name make no other origin. */
static void vapid_is_kept(void **state)
{
	const char *first, *other;

	kit_need_channel(&k, CHANNEL);
	first = vapid_at(1700000000, "https://a.example/1");
	assert_string_equal(vapid_at(1700000000 + 21599, "https://a.example/2?x=y"), first);
	assert_string_equal(vapid_at(1700000100, "https://A.example:443/3"), first);
	other = vapid_at(1700000000, "https://a.example:8443/1");
	assert_string_not_equal(other, first);
	assert_string_not_equal(vapid_at(1700000000, "https://b.example/1"), first);
	assert_string_equal(vapid_at(1700000000, "https://a.example:8443/1"), other);
	assert_string_not_equal(vapid_at(1700000000 + 21600, "https://a.example/1"), first);
	/* A clock that was set back: a token from the future is not shown. */
	assert_string_not_equal(vapid_at(1600000000, "https://a.example/1"), first);
	/* More origins than are kept: the oldest is signed again. */
	first = vapid_at(1700000000, "https://a.example/1");
	for (int i = 0; i < 100; i++) {
		char url[60];

		snprintf(url, sizeof(url), "https://h%d.example/1", i);
		assert_true(verified(jwt_of(vapid_at(1700000000, url)), AS_PUBLIC));
	}
	assert_string_not_equal(vapid_at(1700000000, "https://a.example/1"), first);
	/* Another account is another token, also where the old one's memory was. */
	first = vapid_at(1700000000, "https://a.example/1");
	kit_need_channel(&k, CHANNEL);
	assert_string_not_equal(vapid_at(1700000000, "https://a.example/1"), first);
}

/* The key as PEM is the same key; other curves and kinds are refused when the channel is loaded. */
static void vapid_keys(void **state)
{
	kit_need_channel(
		&k,
		"    adapter: push/webpush\n    contact: mailto:ops@example.com\n    vapid_key_file: " VECTORS
		"apns_key.p8\n");
	assert_true(verified(jwt_of(vapid_at(1700000000, "https://push.example.net/1")), AS_PUBLIC));
	assert_null(kit_channel(
		&k, "    adapter: push/webpush\n    contact: mailto:a@b.c\n    vapid_key: AAAA\n"));
	assert_non_null(strstr(k.errors, "vapid_key"));
	/* Zero, and the order of the curve, are no keys. */
	assert_null(kit_channel(&k, "    adapter: push/webpush\n    contact: mailto:a@b.c\n    vapid_key: "
				    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"));
	assert_null(kit_channel(&k, "    adapter: push/webpush\n    contact: mailto:a@b.c\n    vapid_key: "
				    "_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(content_encoding), cmocka_unit_test(impossible),
		cmocka_unit_test(subscription),	    cmocka_unit_test(in_a_file),
		cmocka_unit_test(foreign_keys),	    cmocka_unit_test(message),
		cmocka_unit_test(as_text),	    cmocka_unit_test(addresses),
		cmocka_unit_test(vapid_example),    cmocka_unit_test(vapid_token),
		cmocka_unit_test(vapid_is_kept),    cmocka_unit_test(vapid_keys),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
