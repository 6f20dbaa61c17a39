/*
 * cipher.c - AES and RSA encryption
 */
#include "adapter/cipher.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#define TAG 16

static const EVP_CIPHER *cipher_of(enum hm_aes mode, size_t key_len)
{
	switch (key_len) {
	case 16:
		return mode == HM_AES_CBC   ? EVP_aes_128_cbc()
		       : mode == HM_AES_ECB ? EVP_aes_128_ecb()
					    : EVP_aes_128_gcm();
	case 24:
		return mode == HM_AES_CBC   ? EVP_aes_192_cbc()
		       : mode == HM_AES_ECB ? EVP_aes_192_ecb()
					    : EVP_aes_192_gcm();
	case 32:
		return mode == HM_AES_CBC   ? EVP_aes_256_cbc()
		       : mode == HM_AES_ECB ? EVP_aes_256_ecb()
					    : EVP_aes_256_gcm();
	default: return NULL;
	}
}

static bool encrypt(EVP_CIPHER_CTX *ctx, const EVP_CIPHER *c, enum hm_aes mode, struct hm_str key,
		    struct hm_str iv, struct hm_str aad, struct hm_str text, unsigned char *out, int *n_r)
{
	int n = 0, more = 0;

	if (EVP_EncryptInit_ex2(ctx, c, NULL, NULL, NULL) != 1)
		return false;
	if (mode == HM_AES_GCM && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, (int)iv.len, NULL) != 1)
		return false;
	if (EVP_EncryptInit_ex2(ctx, NULL, (const unsigned char *)key.p,
				mode == HM_AES_ECB ? NULL : (const unsigned char *)iv.p, NULL) != 1)
		return false;
	if (aad.len && EVP_EncryptUpdate(ctx, NULL, &n, (const unsigned char *)aad.p, (int)aad.len) != 1)
		return false;
	n = 0;
	if (text.len && EVP_EncryptUpdate(ctx, out, &n, (const unsigned char *)text.p, (int)text.len) != 1)
		return false;
	if (EVP_EncryptFinal_ex(ctx, out + n, &more) != 1)
		return false;
	n += more;
	if (mode == HM_AES_GCM) {
		if (EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG, out + n) != 1)
			return false;
		n += TAG;
	}
	*n_r = n;
	return true;
}

int hm_aes_encrypt(enum hm_aes mode, struct hm_str key, struct hm_str iv, struct hm_str aad,
		   struct hm_str text, struct hm_buf *out, struct hm_err *e)
{
	const EVP_CIPHER *c = cipher_of(mode, key.len);
	EVP_CIPHER_CTX *ctx;
	int n = 0;
	bool ok;

	if (c == NULL)
		return hm_err_set(e, HM_EINVAL, "an AES key has 16, 24 or 32 bytes, not %zu", key.len);
	if (mode == HM_AES_CBC && iv.len != 16)
		return hm_err_set(e, HM_EINVAL, "the initialisation vector of AES-CBC has 16 bytes, not %zu",
				  iv.len);
	if (mode == HM_AES_GCM && (iv.len == 0 || iv.len > 64))
		return hm_err_set(e, HM_EINVAL, "the initialisation vector of AES-GCM has 12 bytes, not %zu",
				  iv.len);
	if (text.len > (16u << 20) || aad.len > (16u << 20))
		return hm_err_set(e, HM_ELIMIT, "the text is too long to be encrypted");
	if (!hm_buf_reserve(out, text.len + 2 * TAG))
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	ctx = EVP_CIPHER_CTX_new();
	ok = ctx != NULL && encrypt(ctx, c, mode, key, iv, aad, text, (unsigned char *)out->p + out->len, &n);
	EVP_CIPHER_CTX_free(ctx);
	ERR_clear_error();
	if (!ok)
		return hm_err_set(e, HM_EINVAL, "OpenSSL refuses to encrypt");
	out->len += (size_t)n;
	return 0;
}

static EVP_PKEY *public_key(struct hm_str text)
{
	BIO *bio = BIO_new_mem_buf(text.p, (int)text.len);
	EVP_PKEY *k = NULL;
	struct hm_buf der;
	X509 *cert;

	if (hm_str_find(text, HM_STR("-----BEGIN CERTIFICATE")) >= 0) {
		cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
		k = cert ? X509_get_pubkey(cert) : NULL;
		X509_free(cert);
	} else if (hm_str_find(text, HM_STR("-----BEGIN")) >= 0) {
		k = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
	} else {
		hm_buf_init(&der, 64 << 10);
		if (hm_buf_unbase64(&der, hm_str_trim(text)) && der.len) {
			const unsigned char *p = (const unsigned char *)der.p;

			k = d2i_PUBKEY(NULL, &p, (long)der.len);
		}
		hm_buf_fini(&der);
	}
	BIO_free(bio);
	return k;
}

int hm_rsa_encrypt(struct hm_str key, bool oaep, struct hm_str text, struct hm_buf *out, struct hm_err *e)
{
	EVP_PKEY *k = key.len > 0 && key.len < (64u << 10) ? public_key(key) : NULL;
	EVP_PKEY_CTX *ctx = k ? EVP_PKEY_CTX_new(k, NULL) : NULL;
	size_t n = 0;
	bool ok;

	if (k == NULL || !EVP_PKEY_is_a(k, "RSA")) {
		EVP_PKEY_CTX_free(ctx);
		EVP_PKEY_free(k);
		ERR_clear_error();
		return hm_err_set(e, HM_EINVAL, "not an RSA public key; expected PEM or base64 of its DER");
	}
	ok = ctx != NULL && EVP_PKEY_encrypt_init(ctx) == 1 &&
	     EVP_PKEY_CTX_set_rsa_padding(ctx, oaep ? RSA_PKCS1_OAEP_PADDING : RSA_PKCS1_PADDING) == 1 &&
	     (!oaep || EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha256()) == 1) &&
	     EVP_PKEY_encrypt(ctx, NULL, &n, (const unsigned char *)text.p, text.len) == 1 &&
	     hm_buf_reserve(out, n) &&
	     EVP_PKEY_encrypt(ctx, (unsigned char *)out->p + out->len, &n, (const unsigned char *)text.p,
			      text.len) == 1;
	if (ok)
		out->len += n;
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(k);
	ERR_clear_error();
	return ok ? 0 : hm_err_set(e, HM_EINVAL, "the text is too long for this RSA key");
}

#define NONCE	   12
#define SEAL_FIRST '\x01' /* the form of what follows */

int hm_seal(const uint8_t key[HM_SEAL_KEY], struct hm_str about, struct hm_str text, struct hm_buf *out,
	    struct hm_err *e)
{
	unsigned char nonce[NONCE];

	if (RAND_bytes(nonce, NONCE) != 1)
		return hm_err_set(e, HM_EIO, "no random numbers");
	hm_buf_putc(out, SEAL_FIRST);
	hm_buf_put(out, nonce, NONCE);
	return hm_aes_encrypt(HM_AES_GCM, hm_str_n((const char *)key, HM_SEAL_KEY),
			      hm_str_n((const char *)nonce, NONCE), about, text, out, e);
}

bool hm_unseal(const uint8_t key[HM_SEAL_KEY], struct hm_str about, struct hm_str sealed, struct hm_buf *out)
{
	const unsigned char *p = (const unsigned char *)sealed.p;
	EVP_CIPHER_CTX *ctx;
	size_t n;
	int got = 0, end = 0, none = 0;
	bool ok;

	if (sealed.len < 1 + NONCE + TAG || sealed.p[0] != SEAL_FIRST || sealed.len > (1u << 20))
		return false;
	n = sealed.len - 1 - NONCE - TAG;
	ctx = hm_buf_reserve(out, n + 1) ? EVP_CIPHER_CTX_new() : NULL;
	ok = ctx != NULL && EVP_DecryptInit_ex2(ctx, EVP_aes_256_gcm(), key, p + 1, NULL) == 1 &&
	     (about.len == 0 ||
	      EVP_DecryptUpdate(ctx, NULL, &none, (const unsigned char *)about.p, (int)about.len) == 1) &&
	     EVP_DecryptUpdate(ctx, (unsigned char *)out->p + out->len, &got, p + 1 + NONCE, (int)n) == 1;
	if (ok) {
		unsigned char tag[TAG];

		memcpy(tag, p + 1 + NONCE + n, TAG);
		ok = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG, tag) == 1 &&
		     EVP_DecryptFinal_ex(ctx, (unsigned char *)out->p + out->len + got, &end) == 1;
	}
	EVP_CIPHER_CTX_free(ctx);
	ERR_clear_error();
	if (ok)
		out->len += (size_t)(got + end);
	return ok;
}
