/*
 * verify.c - what providers signed and encrypted
 */
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "adapter/sign_int.h"

#define KEY_TEXT_MAX (32u << 10)

static EVP_PKEY *of_pem(struct hm_str text)
{
	bool cert = hm_str_find(text, HM_STR("-----BEGIN CERTIFICATE")) >= 0;
	BIO *bio = BIO_new_mem_buf(text.p, (int)text.len);
	EVP_PKEY *k = NULL;
	X509 *x;

	if (bio == NULL)
		return NULL;
	if (!cert) {
		k = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
	} else if ((x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		k = X509_get_pubkey(x);
		X509_free(x);
	}
	BIO_free(bio);
	return k;
}

static EVP_PKEY *of_raw(struct hm_str raw)
{
	return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, (const unsigned char *)raw.p, raw.len);
}

static EVP_PKEY *of_der(struct hm_str der)
{
	const unsigned char *p = (const unsigned char *)der.p;
	EVP_PKEY *k = d2i_PUBKEY(NULL, &p, (long)der.len);
	X509 *x;

	if (k != NULL)
		return k;
	p = (const unsigned char *)der.p;
	x = d2i_X509(NULL, &p, (long)der.len);
	if (x != NULL)
		k = X509_get_pubkey(x);
	X509_free(x);
	return k;
}

static EVP_PKEY *of_base64(struct hm_str text)
{
	struct hm_buf packed, der;
	EVP_PKEY *k = NULL;

	hm_buf_init(&packed, KEY_TEXT_MAX);
	hm_buf_init(&der, KEY_TEXT_MAX);
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.p[i] > ' ')
			hm_buf_putc(&packed, text.p[i]);
	if (packed.err == 0 && hm_buf_unbase64(&der, hm_buf_str(&packed)))
		k = der.len == 32 ? of_raw(hm_buf_str(&der)) : of_der(hm_buf_str(&der));
	hm_buf_fini(&packed);
	hm_buf_fini(&der);
	return k;
}

static EVP_PKEY *public_key(struct hm_str text, enum hm_sig_alg alg)
{
	struct hm_buf raw;
	EVP_PKEY *k = NULL;

	if (text.len == 0 || text.len > KEY_TEXT_MAX)
		return NULL;
	if (hm_str_find(text, HM_STR("-----BEGIN")) >= 0)
		return of_pem(text);
	if (alg == HM_SIG_EDDSA && text.len == 32)
		return of_raw(text);
	if (alg == HM_SIG_EDDSA && text.len == 64) {
		hm_buf_init(&raw, 64);
		if (hm_buf_unhex(&raw, text))
			k = of_raw(hm_buf_str(&raw));
		hm_buf_fini(&raw);
		return k;
	}
	return of_base64(text);
}

/* r || s as OpenSSL wants it. Returns the length, 0 when it cannot be one. */
static size_t der_ecdsa(struct hm_str raw, unsigned char **der_r)
{
	ECDSA_SIG *sig = raw.len == 64 ? ECDSA_SIG_new() : NULL;
	BIGNUM *r, *s;
	int n = 0;

	*der_r = NULL;
	if (sig == NULL)
		return 0;
	r = BN_bin2bn((const unsigned char *)raw.p, 32, NULL);
	s = BN_bin2bn((const unsigned char *)raw.p + 32, 32, NULL);
	if (r == NULL || s == NULL || ECDSA_SIG_set0(sig, r, s) != 1) {
		BN_free(r);
		BN_free(s);
	} else {
		n = i2d_ECDSA_SIG(sig, der_r);
	}
	ECDSA_SIG_free(sig);
	return n > 0 ? (size_t)n : 0;
}

static bool fits(EVP_PKEY *k, enum hm_sig_alg alg)
{
	switch (alg) {
	case HM_SIG_RS256:
	case HM_SIG_RS1:
	case HM_SIG_PS256: return EVP_PKEY_is_a(k, "RSA") == 1 && EVP_PKEY_get_bits(k) >= 1024;
	case HM_SIG_ES256: return EVP_PKEY_is_a(k, "EC") == 1 && EVP_PKEY_get_bits(k) == 256;
	case HM_SIG_EDDSA: return EVP_PKEY_is_a(k, "ED25519") == 1;
	default: return false;
	}
}

static bool check(EVP_PKEY *k, enum hm_sig_alg alg, struct hm_str data, const unsigned char *sig, size_t n)
{
	const EVP_MD *md = alg == HM_SIG_EDDSA ? NULL : alg == HM_SIG_RS1 ? EVP_sha1() : EVP_sha256();
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx;
	bool ok = ctx != NULL && EVP_DigestVerifyInit(ctx, &pctx, md, NULL, k) == 1;

	if (ok && alg == HM_SIG_PS256)
		ok = EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
		     EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) == 1;
	ok = ok && EVP_DigestVerify(ctx, sig, n, (const unsigned char *)data.p, data.len) == 1;
	EVP_MD_CTX_free(ctx);
	return ok;
}

static bool verify(EVP_PKEY *k, enum hm_sig_alg alg, struct hm_str data, struct hm_str signature)
{
	const unsigned char *sig = (const unsigned char *)signature.p;
	unsigned char *der;
	bool ok = false;
	size_t n;

	if (k == NULL || signature.len == 0 || !fits(k, alg))
		return false;
	if (alg == HM_SIG_ES256 && (n = der_ecdsa(signature, &der)) > 0) {
		ok = check(k, alg, data, der, n);
		OPENSSL_free(der);
	}
	return ok || check(k, alg, data, sig, signature.len);
}

bool hm_verify(struct hm_str key, enum hm_sig_alg alg, struct hm_str data, struct hm_str signature)
{
	EVP_PKEY *k = public_key(key, alg);
	bool ok = verify(k, alg, data, signature);

	EVP_PKEY_free(k);
	ERR_clear_error();
	return ok;
}

bool hm_verify_with(const struct hm_key *k, enum hm_sig_alg alg, struct hm_str data, struct hm_str signature)
{
	bool ok;

	HM_CHECK(k, HM_KEY_MAGIC);
	ok = verify(k->pkey, alg, data, signature);
	ERR_clear_error();
	return ok;
}

bool hm_same_secret(struct hm_str a, struct hm_str b)
{
	return a.len == b.len && a.len > 0 && CRYPTO_memcmp(a.p, b.p, a.len) == 0;
}

/* -- encryption ------------------------------------------------------------------------ */

static const EVP_CIPHER *cbc(struct hm_str key)
{
	return key.len == 16   ? EVP_aes_128_cbc()
	       : key.len == 24 ? EVP_aes_192_cbc()
	       : key.len == 32 ? EVP_aes_256_cbc()
			       : NULL;
}

static const EVP_CIPHER *gcm(struct hm_str key)
{
	return key.len == 16   ? EVP_aes_128_gcm()
	       : key.len == 24 ? EVP_aes_192_gcm()
	       : key.len == 32 ? EVP_aes_256_gcm()
			       : NULL;
}

static bool run_cbc(struct hm_str key, struct hm_str iv, struct hm_str data, unsigned char *out, int encrypt)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n = 0, last = 0;
	bool ok = ctx != NULL &&
		  EVP_CipherInit_ex2(ctx, cbc(key), (const unsigned char *)key.p, (const unsigned char *)iv.p,
				     encrypt, NULL) == 1 &&
		  EVP_CIPHER_CTX_set_padding(ctx, 0) == 1 &&
		  EVP_CipherUpdate(ctx, out, &n, (const unsigned char *)data.p, (int)data.len) == 1 &&
		  EVP_CipherFinal_ex(ctx, out + n, &last) == 1 && (size_t)(n + last) == data.len;

	EVP_CIPHER_CTX_free(ctx);
	ERR_clear_error();
	return ok;
}

bool hm_aes_cbc_decrypt(struct hm_str key, struct hm_str iv, unsigned block, struct hm_str data,
			struct hm_buf *out)
{
	unsigned char *p;
	unsigned pad, wrong = 0;

	if (cbc(key) == NULL || iv.len != 16 || block == 0 || block > 255 || data.len == 0 ||
	    data.len % 16 != 0 || data.len > INT32_MAX || !hm_buf_reserve(out, data.len))
		return false;
	p = (unsigned char *)out->p + out->len;
	if (!run_cbc(key, iv, data, p, 0))
		return false;
	pad = p[data.len - 1];
	if (pad == 0 || pad > block || pad > data.len)
		return false;
	for (unsigned i = 0; i < pad; i++)
		wrong |= p[data.len - 1 - i] ^ pad;
	if (wrong != 0)
		return false;
	out->len += data.len - pad;
	return true;
}

bool hm_aes_cbc_encrypt(struct hm_str key, struct hm_str iv, unsigned block, struct hm_str data,
			struct hm_buf *out)
{
	struct hm_buf padded;
	unsigned pad;
	bool ok;

	if (cbc(key) == NULL || iv.len != 16 || block == 0 || block > 255 || block % 16 != 0 ||
	    data.len > INT32_MAX - 256)
		return false;
	pad = block - (unsigned)(data.len % block);
	hm_buf_init(&padded, data.len + 256);
	hm_buf_puts(&padded, data);
	for (unsigned i = 0; i < pad; i++)
		hm_buf_putc(&padded, (char)pad);
	ok = padded.err == 0 && hm_buf_reserve(out, padded.len) &&
	     run_cbc(key, iv, hm_buf_str(&padded), (unsigned char *)out->p + out->len, 1);
	if (ok)
		out->len += padded.len;
	hm_buf_fini(&padded);
	return ok;
}

bool hm_aes_gcm_decrypt(struct hm_str key, struct hm_str nonce, struct hm_str additional, struct hm_str data,
			struct hm_buf *out)
{
	unsigned char tag[16], *p;
	EVP_CIPHER_CTX *ctx;
	int n = 0, last = 0;
	bool ok;

	if (gcm(key) == NULL || nonce.len == 0 || nonce.len > 64 || data.len < sizeof(tag) ||
	    data.len > INT32_MAX || additional.len > INT32_MAX || !hm_buf_reserve(out, data.len))
		return false;
	data.len -= sizeof(tag);
	memcpy(tag, data.p + data.len, sizeof(tag));
	p = (unsigned char *)out->p + out->len;
	ctx = EVP_CIPHER_CTX_new();
	ok = ctx != NULL && EVP_DecryptInit_ex2(ctx, gcm(key), NULL, NULL, NULL) == 1 &&
	     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, (int)nonce.len, NULL) == 1 &&
	     EVP_DecryptInit_ex2(ctx, NULL, (const unsigned char *)key.p, (const unsigned char *)nonce.p,
				 NULL) == 1;
	if (ok && additional.len > 0)
		ok = EVP_DecryptUpdate(ctx, NULL, &n, (const unsigned char *)additional.p,
				       (int)additional.len) == 1;
	n = 0;
	ok = ok && EVP_DecryptUpdate(ctx, p, &n, (const unsigned char *)data.p, (int)data.len) == 1 &&
	     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, sizeof(tag), tag) == 1 &&
	     EVP_DecryptFinal_ex(ctx, p + n, &last) == 1;
	EVP_CIPHER_CTX_free(ctx);
	ERR_clear_error();
	if (ok)
		out->len += (size_t)(n + last);
	return ok;
}
