/*
 * Tokens of users: the ones that hold, and every way in which one does not. RFC 7515 A.1's structure, RFC 8725's attacks.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>

#include "adapter/sign.h"
#include "inbox/store.h"
#include "inbox/token.h"

#define SECRET "0123456789abcdef0123456789abcdef"
#define NOW    UINT64_C(1700000000)

static struct hm_arena arena;
static struct hm_token_keys *keys;
static char pem_private[2][4096], pem_public[2][4096]; /* RSA, EC */
static struct hm_key *private_keys[2];

static void key_pair(int i, EVP_PKEY *k)
{
	struct hm_err e = {0};
	BIO *b = BIO_new(BIO_s_mem());
	int n;

	assert_non_null(k);
	assert_int_equal(PEM_write_bio_PrivateKey(b, k, NULL, NULL, 0, NULL, NULL), 1);
	n = BIO_read(b, pem_private[i], sizeof(pem_private[i]) - 1);
	assert_true(n > 0);
	BIO_free(b);
	b = BIO_new(BIO_s_mem());
	assert_int_equal(PEM_write_bio_PUBKEY(b, k), 1);
	n = BIO_read(b, pem_public[i], sizeof(pem_public[i]) - 1);
	assert_true(n > 0);
	BIO_free(b);
	EVP_PKEY_free(k);
	if (hm_key_parse(hm_str_c(pem_private[i]), "key", &private_keys[i], &e) != 0)
		fail_msg("%s", e.text);
}

static struct hm_token_keys *make(const char *const *texts, struct hm_err *e)
{
	struct hm_token_keys *k;
	struct hm_str v[20];
	size_t n = 0;

	for (; texts[n] != NULL; n++)
		v[n] = hm_str_c(texts[n]);
	hm_err_clear(e);
	(void)!hm_token_keys_new(v, n, &k, e);
	return k;
}

static int setup(void **state)
{
	static char rsa[4200], ec[4200];
	const char *texts[] = {"k1 HS256 " SECRET, "k2 HS256 another-secret-of-thirty-two-bytes!", rsa, ec,
			       NULL};
	struct hm_err e;

	hm_arena_init(&arena, NULL, 0);
	key_pair(0, EVP_RSA_gen(2048));
	key_pair(1, EVP_EC_gen("P-256"));
	snprintf(rsa, sizeof(rsa), "r1 RS256 %s", pem_public[0]);
	snprintf(ec, sizeof(ec), "e1 ES256 %s", pem_public[1]);
	keys = make(texts, &e);
	if (keys == NULL)
		fail_msg("%s", e.text);
	assert_int_equal(hm_token_keys_count(keys), 4);
	return 0;
}

static int teardown(void **state)
{
	hm_token_keys_free(keys);
	hm_key_free(private_keys[0]);
	hm_key_free(private_keys[1]);
	hm_arena_fini(&arena);
	return 0;
}

static const char *sign_with(const char *header, const char *claims, enum hm_sig_alg alg, const char *secret)
{
	static char text[8][8192];
	static unsigned turn;
	char *out = text[turn++ % 8];
	struct hm_err e = {0};
	struct hm_buf b;

	hm_buf_init(&b, 8000);
	if (hm_jwt(alg == HM_SIG_RS256	 ? private_keys[0]
		   : alg == HM_SIG_ES256 ? private_keys[1]
					 : NULL,
		   hm_str_c(secret), alg, hm_str_c(header), hm_str_c(claims), &b, &e) != 0)
		fail_msg("%s", e.text);
	snprintf(out, 8192, "%.*s", (int)b.len, b.p);
	hm_buf_fini(&b);
	return out;
}

static const char *hs(const char *header, const char *claims)
{
	return sign_with(header, claims, HM_SIG_HS256, SECRET);
}

static struct hm_token got;
static struct hm_err why;

static bool holds(const char *text)
{
	struct hm_token_rules r = {.keys = keys,
				   .audience = HM_STR("hermod-inbox"),
				   .now_ms = NOW * 1000,
				   .longest_ms = 3600000,
				   .leeway_ms = 30000};

	hm_err_clear(&why);
	return hm_token_check(&r, hm_str_c(text), &arena, &got, &why) == 0;
}

static void refused(int line, const char *text, const char *sentence)
{
	if (holds(text))
		fail_msg("%d: it holds", line);
	assert_int_equal(why.code, HM_EPERM);
	if (strstr(why.text, sentence) == NULL)
		fail_msg("%d: said: %s, expected: %s", line, why.text, sentence);
}
#define REFUSED(token, sentence) refused(__LINE__, token, sentence)

#define H	"{\"alg\":\"HS256\"}"
#define C(more) "{\"sub\":\"u-1\",\"aud\":\"hermod-inbox\",\"exp\":1700000600" more "}"

static void test_good_ones(void **state)
{
	assert_true(holds(hs(H, C(""))));
	assert_true(hm_str_is(got.user, "u-1") && got.expires_ms == UINT64_C(1700000600000));
	assert_true(holds(hs("{\"alg\":\"HS256\",\"kid\":\"k1\",\"typ\":\"JWT\"}",
			     C(",\"nbf\":1700000000,\"iat\":1699999999.5"))));
	assert_true(holds(sign_with("{\"alg\":\"HS256\",\"kid\":\"k2\"}", C(""), HM_SIG_HS256,
				    "another-secret-of-thirty-two-bytes!")));
	assert_true(holds(
		sign_with(H, C(""), HM_SIG_HS256, "another-secret-of-thirty-two-bytes!"))); /* rotation */
	assert_true(holds(sign_with("{\"alg\":\"RS256\",\"kid\":\"r1\"}", C(""), HM_SIG_RS256, "")));
	assert_true(holds(sign_with("{\"alg\":\"ES256\"}", C(""), HM_SIG_ES256, "")));
	assert_true(holds(
		hs(H, "{\"sub\":\"\\u7528\\u6237 1\",\"aud\":[\"x\",\"hermod-inbox\"],\"exp\":1700000001}")));
	assert_true(hm_str_is(got.user, "用户 1"));
	/* clocks apart by the leeway */
	assert_true(holds(hs(H, "{\"sub\":\"u\",\"aud\":\"hermod-inbox\",\"exp\":1699999971}")));
	assert_true(holds(hs(H, C(",\"nbf\":1700000030"))));
}

static void test_forged_ones(void **state)
{
	char cut[8192];
	const char *good = hs(H, C(""));
	size_t n = strlen(good);

	REFUSED(sign_with(H, C(""), HM_SIG_HS256, "wrong-secret-wrong-secret-wrong-!!"),
		"signature does not fit");
	REFUSED(sign_with("{\"alg\":\"HS256\",\"kid\":\"k2\"}", C(""), HM_SIG_HS256, SECRET),
		"signature does not fit");
	REFUSED(hs("{\"alg\":\"HS256\",\"kid\":\"k9\"}", C("")), "no key for the token's alg and kid");
	/* the public key as an HMAC secret: CVE-2015-9235 */
	REFUSED(sign_with(H, C(""), HM_SIG_HS256, pem_public[0]), "signature does not fit");
	REFUSED(sign_with("{\"alg\":\"HS256\",\"kid\":\"r1\"}", C(""), HM_SIG_HS256, pem_public[0]),
		"no key for the token's alg and kid");
	REFUSED(sign_with("{\"alg\":\"RS256\"}", C(""), HM_SIG_HS256, SECRET), "signature does not fit");
	REFUSED(sign_with("{\"alg\":\"ES256\"}", C(""), HM_SIG_RS256, ""), "signature does not fit");
	/* alg none, in every spelling */
	REFUSED(hs("{\"alg\":\"none\"}", C("")), "alg is not one of");
	REFUSED(hs("{\"alg\":\"None\"}", C("")), "alg is not one of");
	REFUSED(hs("{\"alg\":\"hs256\"}", C("")), "alg is not one of");
	REFUSED(hs("{\"alg\":\"HS512\"}", C("")), "alg is not one of");
	REFUSED(hs("{}", C("")), "alg is not one of");
	REFUSED(hs("{\"alg\":[\"HS256\"]}", C("")), "alg or kid that is no text");
	REFUSED(hs("{\"alg\":\"HS256\",\"crit\":[\"exp\"]}", C("")), "crit");
	REFUSED("eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1LTEifQ.", "not a signed JWT");
	/* each bit of it matters, and nothing can be left out or added */
	for (size_t i = 0; i < n; i++) {
		snprintf(cut, sizeof(cut), "%s", good);
		cut[i] = cut[i] == 'A' ? 'B' : 'A';
		assert_false(holds(cut));
		cut[i] = '\0';
		assert_false(holds(cut));
	}
	snprintf(cut, sizeof(cut), "%s=", good);
	assert_false(holds(cut));
	snprintf(cut, sizeof(cut), "%s.x", good);
	REFUSED(cut, "three parts");
	REFUSED("", "three parts");
	REFUSED("..", "three parts");
	REFUSED("a.b.c", "not a signed JWT");
	memset(cut, 'a', 5000);
	cut[5000] = '\0';
	REFUSED(cut, "longer than 4096");
}

static void test_claims(void **state)
{
	char longest[600];

	REFUSED(hs(H, "{\"sub\":\"u\",\"aud\":\"hermod-inbox\"}"), "no exp");
	REFUSED(hs(H, "{\"sub\":\"u\",\"aud\":\"hermod-inbox\",\"exp\":1699999970}"), "has expired");
	REFUSED(hs(H, "{\"sub\":\"u\",\"aud\":\"hermod-inbox\",\"exp\":1700003631}"), "further ahead");
	REFUSED(hs(H, "{\"sub\":\"u\",\"aud\":\"hermod-inbox\",\"exp\":\"1700000600\"}"), "Unix seconds");
	REFUSED(hs(H, "{\"sub\":\"u\",\"aud\":\"hermod-inbox\",\"exp\":1e99}"), "Unix seconds");
	REFUSED(hs(H, "{\"sub\":\"u\",\"aud\":\"hermod-inbox\",\"exp\":-1}"), "Unix seconds");
	REFUSED(hs(H, "{\"sub\":\"u\",\"aud\":\"hermod-inbox\",\"exp\":99999999999999999999999}"),
		"Unix seconds");
	REFUSED(hs(H, C(",\"nbf\":1700000031")), "not valid yet");
	REFUSED(hs(H, C(",\"iat\":1700000031")), "from the future");
	REFUSED(hs(H, "{\"sub\":\"u\",\"exp\":1700000600}"), "aud does not name");
	REFUSED(hs(H, "{\"sub\":\"u\",\"aud\":\"other\",\"exp\":1700000600}"), "aud does not name");
	REFUSED(hs(H, "{\"sub\":\"u\",\"aud\":[],\"exp\":1700000600}"), "aud does not name");
	REFUSED(hs(H, "{\"sub\":\"u\",\"aud\":{\"hermod-inbox\":1},\"exp\":1700000600}"),
		"aud does not name");
	REFUSED(hs(H, "{\"aud\":\"hermod-inbox\",\"exp\":1700000600}"), "sub must be");
	REFUSED(hs(H, "{\"sub\":\"\",\"aud\":\"hermod-inbox\",\"exp\":1700000600}"), "sub must be");
	REFUSED(hs(H, "{\"sub\":1001,\"aud\":\"hermod-inbox\",\"exp\":1700000600}"), "sub must be");
	REFUSED(hs(H, "{\"sub\":\"a\\nb\",\"aud\":\"hermod-inbox\",\"exp\":1700000600}"), "sub must be");
	REFUSED(hs(H, "{\"sub\":\"a\\u0000b\",\"aud\":\"hermod-inbox\",\"exp\":1700000600}"), "sub must be");
	snprintf(longest, sizeof(longest), "{\"sub\":\"%0129d\",\"aud\":\"hermod-inbox\",\"exp\":1700000600}",
		 7);
	REFUSED(hs(H, longest), "sub must be");
	snprintf(longest, sizeof(longest), "{\"sub\":\"%0128d\",\"aud\":\"hermod-inbox\",\"exp\":1700000600}",
		 7);
	assert_true(holds(hs(H, longest)));
	REFUSED(hs(H, "[1]"), "claims are not a JSON object");
	REFUSED(hs(H, "{\"sub\":\"u\""), "claims are not a JSON object");
}

static void expect_bad_key(const char *text, const char *sentence)
{
	const char *texts[] = {"k1 HS256 " SECRET, text, NULL};
	struct hm_err e;
	struct hm_token_keys *k = make(texts, &e);

	assert_null(k);
	assert_int_equal(e.code, HM_ECONFIG);
	if (strstr(e.text, sentence) == NULL || strstr(e.text, "key 2") == NULL)
		fail_msg("said: %s, expected: %s", e.text, sentence);
	assert_null(strstr(e.text, "hunter2"));
}

static void test_keys(void **state)
{
	static char text[4300];
	const char *none[] = {NULL};
	struct hm_err e;
	struct hm_token_keys *k = make(none, &e);
	EVP_PKEY *small = EVP_RSA_gen(1024);
	BIO *b = BIO_new(BIO_s_mem());
	int n;

	assert_int_equal(hm_token_keys_count(k), 0);
	hm_token_keys_free(k);
	expect_bad_key("", "expected \"<kid> <alg> <key>\"");
	expect_bad_key("k2", "expected \"<kid> <alg> <key>\"");
	expect_bad_key("k2 HS256 hunter2", "at least 32 bytes");
	expect_bad_key("k2 HS512 hunter2hunter2hunter2hunter2hunter2", "one of HS256, RS256, ES256");
	expect_bad_key("k2 RS256 hunter2", "needs a public key");
	snprintf(text, sizeof(text), "k2 RS256 %s", pem_public[1]);
	expect_bad_key(text, "RSA key of 2048 bits");
	snprintf(text, sizeof(text), "k2 ES256 %s", pem_public[0]);
	expect_bad_key(text, "P-256");
	snprintf(text, sizeof(text), "k2 ES256 %s", pem_private[1]);
	expect_bad_key(text, "needs a public key");
	assert_int_equal(PEM_write_bio_PUBKEY(b, small), 1);
	n = snprintf(text, sizeof(text), "k2 RS256 ");
	n += BIO_read(b, text + n, (int)sizeof(text) - n - 1);
	text[n] = '\0';
	expect_bad_key(text, "RSA key of 2048 bits");
	BIO_free(b);
	EVP_PKEY_free(small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_ones),
		cmocka_unit_test(test_forged_ones),
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_keys),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
