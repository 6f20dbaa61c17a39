/*
 * webpush_open.h - what a browser does with a push message: RFC 8291 backwards, by other functions than the engine uses
 *
 * The subscription is the one of RFC 8291, section 5.
 */
#ifndef TESTS_ADAPTER_WEBPUSH_OPEN_H
#define TESTS_ADAPTER_WEBPUSH_OPEN_H

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include "kit.h"

#define UA_PRIVATE "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
#define UA_PUBLIC  "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
#define UA_AUTH	   "BTBZMqHH6r4Tts7J_aSIgg"

static inline struct hm_str unb64(struct kit *k, const char *text)
{
	struct hm_buf b;

	hm_buf_init_arena(&b, &k->a, 1 << 16);
	if (!hm_buf_unbase64(&b, hm_str_c(text)))
		fail_msg("no base64: %s", text);
	return hm_buf_str(&b);
}

/* A key of P-256 from its parts; scalar may be empty. */
static inline EVP_PKEY *open_key(struct hm_str scalar, struct hm_str point)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	char group[] = "P-256";
	unsigned char native[32];
	OSSL_PARAM p[4], *last = p;
	EVP_PKEY *key = NULL;

	*last++ = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0);
	*last++ = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)(uintptr_t)point.p,
						    point.len);
	if (scalar.len) {
		for (size_t i = 0; i < 32; i++) /* the host's order: little-endian */
			native[i] = (unsigned char)scalar.p[31 - i];
		*last++ = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, native, sizeof(native));
	}
	*last = OSSL_PARAM_construct_end();
	assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
	assert_int_equal(EVP_PKEY_fromdata(ctx, &key, scalar.len ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, p),
			 1);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

static inline void open_hkdf(struct hm_str key, struct hm_str salt, const void *info, size_t n_info,
			     void *out, size_t n)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);

	assert_int_equal(EVP_PKEY_derive_init(ctx), 1);
	assert_int_equal(EVP_PKEY_CTX_set_hkdf_md(ctx, EVP_sha256()), 1);
	assert_int_equal(EVP_PKEY_CTX_set1_hkdf_salt(ctx, (const unsigned char *)salt.p, (int)salt.len), 1);
	assert_int_equal(EVP_PKEY_CTX_set1_hkdf_key(ctx, (const unsigned char *)key.p, (int)key.len), 1);
	assert_int_equal(EVP_PKEY_CTX_add1_hkdf_info(ctx, info, (int)n_info), 1);
	assert_int_equal(EVP_PKEY_derive(ctx, out, &n), 1);
	EVP_PKEY_CTX_free(ctx);
}

/* One record, keyed for the subscription above. */
static inline struct hm_str webpush_open(struct kit *k, struct hm_str body)
{
	struct hm_str mine = unb64(k, UA_PUBLIC), theirs, salt;
	unsigned char info[14 + 65 + 65], shared[32], ikm[32], cek[16], nonce[12];
	EVP_PKEY *key = open_key(unb64(k, UA_PRIVATE), mine), *peer;
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	EVP_PKEY_CTX *ctx;
	size_t n = sizeof(shared), len;
	char *out;
	int got, more;

	if (body.len < 16 + 4 + 1 + 65 + 17 || body.p[20] != 65)
		fail_msg("%zu bytes are no push message", body.len);

	salt = hm_str_n(body.p, 16);
	theirs = hm_str_n(body.p + 21, 65);
	peer = open_key(HM_STR(""), theirs);
	ctx = EVP_PKEY_CTX_new(key, NULL);
	assert_int_equal(EVP_PKEY_derive_init(ctx), 1);
	assert_int_equal(EVP_PKEY_derive_set_peer(ctx, peer), 1);
	assert_int_equal(EVP_PKEY_derive(ctx, shared, &n), 1);
	memcpy(info, "WebPush: info", 14);
	memcpy(info + 14, mine.p, 65);
	memcpy(info + 79, theirs.p, 65);
	open_hkdf(hm_str_n((char *)shared, 32), unb64(k, UA_AUTH), info, sizeof(info), ikm, 32);
	open_hkdf(hm_str_n((char *)ikm, 32), salt, "Content-Encoding: aes128gcm", 28, cek, 16);
	open_hkdf(hm_str_n((char *)ikm, 32), salt, "Content-Encoding: nonce", 24, nonce, 12);
	len = body.len - 86 - 16;
	out = hm_arena_alloc(&k->a, len + 1);
	assert_int_equal(EVP_DecryptInit_ex(c, EVP_aes_128_gcm(), NULL, cek, nonce), 1);
	assert_int_equal(EVP_DecryptUpdate(c, (unsigned char *)out, &got, (const unsigned char *)body.p + 86,
					   (int)len),
			 1);
	assert_int_equal(
		EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, 16, (void *)(uintptr_t)(body.p + 86 + len)), 1);
	if (EVP_DecryptFinal_ex(c, (unsigned char *)out + got, &more) != 1)
		fail_msg("the push message cannot be opened");
	EVP_CIPHER_CTX_free(c);
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(peer);
	EVP_PKEY_free(key);
	while (len > 0 && out[len - 1] == 0) /* padding */
		len--;
	assert_true(len > 0 && out[len - 1] == 2);
	return hm_str_n(out, len - 1);
}

#endif
