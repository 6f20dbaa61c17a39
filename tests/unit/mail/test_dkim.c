/*
 * test_dkim.c - the published example of RFC 8463 appendix A, canonical forms, and signatures that OpenSSL verifies
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "mail/dkim.h"

#define FROM "Joe SixPack <joe@football.example.com>"
#define BODY "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"
#define SIGNATURE                                                                                       \
	"v=1; a=ed25519-sha256; c=relaxed/relaxed; d=football.example.com; i=@football.example.com; "   \
	"q=dns/txt; "                                                                                   \
	"s=brisbane; t=1528637909; h=from : to : subject : date : message-id : from : subject : date; " \
	"bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b="

#define RSA_SIGNATURE                                                                               \
	"v=1; a=rsa-sha256; c=relaxed/relaxed; d=football.example.com; i=@football.example.com; "   \
	"q=dns/txt; "                                                                               \
	"s=test; t=1528637909; h=from : to : subject : date : message-id : from : subject : date; " \
	"bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b="

static void body_hash(const char *body, const char *expected)
{
	uint8_t hash[32];
	struct hm_buf b;

	hm_buf_init(&b, 100);
	hm_dkim_body_hash(hm_str_c(body), hash);
	hm_buf_base64(&b, hash, sizeof(hash));
	assert_string_equal(hm_buf_cstr(&b), expected);
	hm_buf_fini(&b);
}

static void test_body(void **state)
{
	const char *published = "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=";

	body_hash(BODY, published);
	body_hash("", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
	body_hash("\r\n \r\n\t\r\n", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
	/* relaxed: these are the same body */
	body_hash(BODY "\r\n\r\n", published);
	body_hash("Hi. \t\r\n\r\nWe lost the \t game. Are you hungry yet?\r\n \r\nJoe.", published);
	body_hash("Hi.\n\nWe lost the game. Are you hungry yet?\n\nJoe.\n", published);
}

static void relaxed(const char *name, const char *value, const char *expected)
{
	struct hm_buf b;

	hm_buf_init(&b, 1000);
	hm_dkim_relaxed(&b, hm_str_c(name), hm_str_c(value));
	assert_string_equal(hm_buf_cstr(&b), expected);
	hm_buf_fini(&b);
}

static void test_relaxed_header(void **state)
{
	relaxed("A", " X\r\n", "a:X"); /* RFC 6376 section 3.4.5 */
	relaxed("B ", " Y\t\r\n\tZ  \r\n", "b:Y Z");
	relaxed("Subject", "\r\n  two\r\n  lines \t \r\n", "subject:two lines");
	relaxed("Empty", "", "empty:");
}

/* What is hashed, put together from the published header fields: the hash and the signature are published too. */
static void test_rfc8463(void **state)
{
	static const char *const lines[][2] = {
		{"From", FROM},
		{"To", "Suzie Q <suzie@shopping.example.net>"},
		{"Subject", "Is dinner ready?"},
		{"Date", "Fri, 11 Jul 2003 21:00:37 -0700 (PDT)"},
		{"Message-ID", "<20030712040037.46341.5F8J@football.example.com>"},
	};
	struct hm_buf input, seed, sig, b;
	uint8_t digest[32], out[64];
	size_t n = sizeof(out);
	unsigned len;
	EVP_PKEY *key;
	EVP_MD_CTX *md = EVP_MD_CTX_new();

	hm_buf_init(&input, 4096);
	hm_buf_init(&seed, 100);
	hm_buf_init(&sig, 200);
	hm_buf_init(&b, 200);
	for (size_t i = 0; i < hm_countof(lines); i++) {
		hm_dkim_relaxed(&input, hm_str_c(lines[i][0]), hm_str_c(lines[i][1]));
		hm_buf_lit(&input, "\r\n");
	}
	hm_dkim_relaxed(&input, HM_STR("DKIM-Signature"), HM_STR(SIGNATURE));
	assert_int_equal(EVP_Digest(input.p, input.len, digest, &len, EVP_sha256(), NULL), 1);
	hm_buf_hex(&b, digest, 32);
	assert_string_equal(hm_buf_cstr(&b),
			    "48ce9a2c710ece1710ff156996b836a7f45470e43efe5643074d6e1690ed62e7");
	assert_true(hm_buf_unbase64(&seed, HM_STR("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")));
	key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, (const uint8_t *)seed.p, seed.len);
	assert_non_null(key);
	assert_int_equal(EVP_DigestSignInit(md, NULL, NULL, NULL, key), 1);
	assert_int_equal(EVP_DigestSign(md, out, &n, digest, 32), 1);
	hm_buf_base64(&sig, out, n);
	assert_string_equal(
		hm_buf_cstr(&sig),
		"/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==");
	EVP_PKEY_free(key);
	EVP_MD_CTX_free(md);
	hm_buf_fini(&input);
	hm_buf_fini(&seed);
	hm_buf_fini(&sig);
	hm_buf_fini(&b);
}

/* The same mail signed with RSA: what we hash is what the published signature is about. */
static void test_rfc8463_rsa(void **state)
{
	static const char *const lines[][2] = {
		{"From", FROM},
		{"To", "Suzie Q <suzie@shopping.example.net>"},
		{"Subject", "Is dinner ready?"},
		{"Date", "Fri, 11 Jul 2003 21:00:37 -0700 (PDT)"},
		{"Message-ID", "<20030712040037.46341.5F8J@football.example.com>"},
	};
	struct hm_buf input, der, sig;
	const uint8_t *p;
	EVP_PKEY *key;

	(void)state;
	hm_buf_init(&input, 4096);
	hm_buf_init(&der, 1000);
	hm_buf_init(&sig, 1000);
	for (size_t i = 0; i < hm_countof(lines); i++) {
		hm_dkim_relaxed(&input, hm_str_c(lines[i][0]), hm_str_c(lines[i][1]));
		hm_buf_lit(&input, "\r\n");
	}
	hm_dkim_relaxed(&input, HM_STR("DKIM-Signature"), HM_STR(RSA_SIGNATURE));
	assert_true(hm_buf_unbase64(&der,
				    HM_STR("MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6W"
					   "k08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/"
					   "8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+"
					   "2kryOTIKT+l/K4w3QIDAQAB")));
	assert_true(hm_buf_unbase64(&sig, HM_STR("F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3DhC"
						 "VlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2JzdA+"
						 "L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=")));
	p = (const uint8_t *)der.p;
	key = d2i_PUBKEY(NULL, &p, (long)der.len);
	assert_non_null(key);
	for (int changed = 0; changed < 2; changed++) {
		EVP_MD_CTX *md = EVP_MD_CTX_new();

		input.p[0] = (char)(input.p[0] ^ changed);
		assert_int_equal(EVP_DigestVerifyInit(md, NULL, EVP_sha256(), NULL, key), 1);
		assert_int_equal(EVP_DigestVerify(md, (const uint8_t *)sig.p, sig.len,
						  (const uint8_t *)input.p, input.len) == 1,
				 !changed);
		EVP_MD_CTX_free(md);
	}
	EVP_PKEY_free(key);
	hm_buf_fini(&input);
	hm_buf_fini(&der);
	hm_buf_fini(&sig);
}

/* -- a whole signature ----------------------------------------------------------------------- */

static struct hm_buf signed_data;

static int rsa_sign(void *arg, struct hm_str data, struct hm_str digest, struct hm_buf *out, struct hm_err *e)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	uint8_t sig[512];
	size_t n = sizeof(sig);

	assert_int_equal(digest.len, 32);
	hm_buf_reset(&signed_data);
	hm_buf_puts(&signed_data, data);
	assert_int_equal(EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, arg), 1);
	assert_int_equal(EVP_DigestSign(md, sig, &n, (const uint8_t *)data.p, data.len), 1);
	EVP_MD_CTX_free(md);
	hm_buf_put(out, sig, n);
	return 0;
}

/* What a verifier does: the header's own b= emptied, the fields of h= from the bottom up. */
static void test_whole(void **state)
{
	static const char message[] =
		"From: a@example.com\r\nTo: b@example.net\r\nSubject: one\r\n two\r\nX-Other: no\r\n"
		"List-Unsubscribe: <https://u.example/1>\r\nSubject: again\r\n\r\nhello \r\n\r\n";
	EVP_PKEY *key = EVP_RSA_gen(1024);
	struct hm_dkim k = {.domain = HM_STR("example.com"),
			    .selector = HM_STR("s1"),
			    .time_s = 1700000000,
			    .sign = rsa_sign,
			    .arg = key};
	struct hm_buf out, expected;
	struct hm_err e = {0};
	const char *b;

	assert_non_null(key);
	hm_buf_init(&out, 8192);
	hm_buf_init(&expected, 8192);
	hm_buf_init(&signed_data, 8192);
	assert_int_equal(hm_dkim_sign(&k, hm_str_c(message), &out, &e), 0);
	b = hm_buf_cstr(&out);
	assert_non_null(
		strstr(b, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n\td=example.com; s=s1; "
			  "t=1700000000;\r\n\th=from:from:to:to:subject:subject:subject:date:message-id:"));
	assert_non_null(strstr(b, "list-unsubscribe;"));
	assert_string_equal(out.p + out.len - 2, "\r\n");
	for (const char *line = b; *line; line = strchr(line, '\n') + 1)
		assert_true(strchr(line, '\n') - line <= 78);
	hm_buf_lit(&expected, "from:a@example.com\r\nto:b@example.net\r\nsubject:again\r\nsubject:one "
			      "two\r\nlist-unsubscribe:<https://u.example/1>\r\n");
	hm_dkim_relaxed(&expected, HM_STR("DKIM-Signature"),
			hm_str_n(b + 15, (size_t)(strstr(b, "\r\n\tb=") + 5 - (b + 15))));
	assert_string_equal(hm_buf_cstr(&signed_data), hm_buf_cstr(&expected));
	EVP_PKEY_free(key);
	hm_buf_fini(&out);
	hm_buf_fini(&expected);
	hm_buf_fini(&signed_data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_body),	cmocka_unit_test(test_relaxed_header),
		cmocka_unit_test(test_rfc8463), cmocka_unit_test(test_rfc8463_rsa),
		cmocka_unit_test(test_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
