/*
 * crypto.c - what signing and encrypting a message cost, the rest of a send left out
 *
 *   micro_crypto [seconds]
 *
 * One thread. Lines "NAME NANOSECONDS": processor time of one operation.
 *   webpush_openssl   RFC 8291 by OpenSSL's own interface: a key pair, the receiver's point, ECDH, HKDF, AES-128-GCM
 *   webpush_hermod    hm_webpush_encrypt
 *   hmac_sha1         HMAC-SHA1 by OpenSSL over a canonical request of an Aliyun SMS (700 bytes)
 * Texts have 180 bytes; receivers are 256 different ones in turn.
 */
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "adapter/webpush.h"

#define RECEIVERS 256
#define TEXT	  180
#define CANONICAL 700

static uint8_t points[RECEIVERS][HM_WEBPUSH_POINT], auths[RECEIVERS][HM_WEBPUSH_AUTH];
static uint8_t text[CANONICAL];

static uint64_t cpu_ns(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000000u +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000u;
}

static void must(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "micro_crypto: %s failed\n", what);
		exit(1);
	}
}

static void hkdf(const uint8_t *salt, size_t salt_len, const uint8_t *ikm, size_t ikm_len, const void *info,
		 size_t info_len, uint8_t *out, size_t n)
{
	uint8_t prk[32], block[256], t[32];

	must(HMAC(EVP_sha256(), salt, (int)salt_len, ikm, ikm_len, prk, NULL) != NULL, "HMAC");
	memcpy(block, info, info_len);
	block[info_len] = 1;
	must(HMAC(EVP_sha256(), prk, 32, block, info_len + 1, t, NULL) != NULL, "HMAC");
	memcpy(out, t, n);
}

static void by_openssl(size_t i)
{
	uint8_t own[HM_WEBPUSH_POINT], shared[32], info[160], ikm[32], salt[16], cek[16], nonce[12],
		out[TEXT + 32];
	EVP_PKEY *key = EVP_EC_gen("P-256"), *peer = EVP_PKEY_new();
	EVP_PKEY_CTX *derive;
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	size_t n = 0, len = sizeof(shared);
	int m = 0;

	must(key && peer && c && EVP_PKEY_copy_parameters(peer, key) == 1 &&
		     EVP_PKEY_set1_encoded_public_key(peer, points[i], HM_WEBPUSH_POINT) == 1 &&
		     EVP_PKEY_get_octet_string_param(key, "pub", own, sizeof(own), &n) == 1,
	     "a key");
	derive = EVP_PKEY_CTX_new(key, NULL);
	must(derive && EVP_PKEY_derive_init(derive) == 1 && EVP_PKEY_derive_set_peer(derive, peer) == 1 &&
		     EVP_PKEY_derive(derive, shared, &len) == 1 && RAND_bytes(salt, 16) == 1,
	     "ECDH");
	memcpy(info, "WebPush: info", 14);
	memcpy(info + 14, points[i], HM_WEBPUSH_POINT);
	memcpy(info + 14 + HM_WEBPUSH_POINT, own, HM_WEBPUSH_POINT);
	hkdf(auths[i], HM_WEBPUSH_AUTH, shared, 32, info, 14 + 2 * HM_WEBPUSH_POINT, ikm, 32);
	hkdf(salt, 16, ikm, 32, "Content-Encoding: aes128gcm", 28, cek, 16);
	hkdf(salt, 16, ikm, 32, "Content-Encoding: nonce", 24, nonce, 12);
	must(EVP_EncryptInit_ex(c, EVP_aes_128_gcm(), NULL, cek, nonce) == 1 &&
		     EVP_EncryptUpdate(c, out, &m, text, TEXT) == 1 &&
		     EVP_EncryptFinal_ex(c, out + m, &m) == 1 &&
		     EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, 16, out + TEXT) == 1,
	     "AES-GCM");
	EVP_PKEY_CTX_free(derive);
	EVP_PKEY_free(key);
	EVP_PKEY_free(peer);
	EVP_CIPHER_CTX_free(c);
}

static void by_hermod(size_t i)
{
	static struct hm_buf out;
	struct hm_err e = {0};

	if (out.p == NULL)
		hm_buf_init(&out, 8192);
	hm_buf_reset(&out);
	must(hm_webpush_encrypt(hm_str_n((const char *)points[i], HM_WEBPUSH_POINT),
				hm_str_n((const char *)auths[i], HM_WEBPUSH_AUTH), HM_STR(""), HM_STR(""),
				hm_str_n((const char *)text, TEXT), &out, &e) == 0,
	     "hm_webpush_encrypt");
}

static void by_hmac(size_t i)
{
	uint8_t mac[20];

	text[0] = (uint8_t)i;
	must(HMAC(EVP_sha1(), auths[i], HM_WEBPUSH_AUTH, text, CANONICAL, mac, NULL) != NULL, "HMAC");
}

static void measure(const char *name, void (*one)(size_t), double seconds)
{
	uint64_t start, now, n = 0;

	for (size_t i = 0; i < RECEIVERS; i++)
		one(i);
	start = cpu_ns();
	do {
		for (size_t i = 0; i < RECEIVERS; i++)
			one(i);
		n += RECEIVERS;
		now = cpu_ns();
	} while ((double)(now - start) < seconds * 1e9);
	printf("%s %.0f\n", name, (double)(now - start) / (double)n);
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? strtod(argv[1], NULL) : 0.5;
	size_t n;

	for (size_t i = 0; i < RECEIVERS; i++) {
		EVP_PKEY *k = EVP_EC_gen("P-256");

		must(k && EVP_PKEY_get_octet_string_param(k, "pub", points[i], HM_WEBPUSH_POINT, &n) == 1 &&
			     RAND_bytes(auths[i], HM_WEBPUSH_AUTH) == 1,
		     "a receiver");
		EVP_PKEY_free(k);
	}
	memset(text, 'x', sizeof(text));
	measure("webpush_openssl", by_openssl, seconds);
	measure("webpush_hermod", by_hermod, seconds);
	measure("hmac_sha1", by_hmac, seconds);
	return 0;
}
