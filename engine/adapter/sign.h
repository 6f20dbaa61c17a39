/*
 * sign.h - digests, HMAC and signatures for adapters, all OpenSSL EVP
 *
 * Names are those of the expression language ("sha256", "es256", ...). HMAC keys
 * that are constant for a channel keep their keyed context per thread
 * (cache_id != 0), so that a signed webhook costs no key schedule and no malloc.
 * Threads: all functions from any thread; a hm_key may be shared.
 */
#ifndef HM_ADAPTER_SIGN_H
#define HM_ADAPTER_SIGN_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum hm_md { HM_MD_MD5, HM_MD_SHA1, HM_MD_SHA256, HM_MD_SHA512, HM_MD_COUNT };
#define HM_MD_MAX 64
/* Writes the digest, returns its length (0 when OpenSSL refuses, e.g. MD5 under FIPS). */
size_t hm_digest(enum hm_md md, struct hm_str data, uint8_t out[HM_MD_MAX]);
size_t hm_hmac(enum hm_md md, struct hm_str key, uint64_t cache_id, struct hm_str data,
	       uint8_t out[HM_MD_MAX]);
uint64_t hm_hmac_cache_id(void); /* a new one, never 0 */

enum hm_sig_alg {
	HM_SIG_NONE,
	HM_SIG_RS256, /* RSASSA-PKCS1-v1_5 with SHA-256 */
	HM_SIG_RS1,   /* the same with SHA-1 (legacy Alipay "RSA") */
	HM_SIG_PS256, /* RSASSA-PSS, salt as long as the digest (RFC 7518) */
	HM_SIG_ES256, /* ECDSA P-256, raw r || s (RFC 7518 section 3.4) */
	HM_SIG_EDDSA, /* Ed25519 */
	HM_SIG_HS256, /* HMAC: key is bytes, not a hm_key */
};
enum hm_sig_alg hm_sig_alg_find(struct hm_str name); /* "RS256" in either case; NONE when unknown */
const char *hm_sig_alg_name(enum hm_sig_alg alg);    /* as a JOSE header says it: "ES256" */

#define HM_KEY_MAGIC 0x6b657920u
struct hm_key;
/* A private key in PEM (PKCS#8 or traditional, not encrypted); also one line of base64 DER, as consoles
 * copy it, or the 32 bytes of a P-256 key in base64url, as tools for Web Push print them. `what` names it in the error; the key itself never appears there. */
int hm_key_parse(struct hm_str pem, const char *what, struct hm_key **r, struct hm_err *e) HM_MUSTCHECK;
/* An Ed25519 key from its 32-byte seed (64 bytes: seed and public key, NaCl style). */
int hm_key_ed25519(struct hm_str seed, struct hm_key **r, struct hm_err *e) HM_MUSTCHECK;
void hm_key_free(struct hm_key *k);
uint64_t hm_key_serial(const struct hm_key *k); /* its number in this process, never 0, never used again */
bool hm_key_fits(const struct hm_key *k, enum hm_sig_alg alg);
/* SHA-256 over the private key: makes other secrets of it, shows nothing of it. */
bool hm_key_digest(const struct hm_key *k, uint8_t out[HM_MD_MAX]);
/* The raw public key: Ed25519 32 bytes, P-256 65 bytes (uncompressed point). */
bool hm_key_public(const struct hm_key *k, struct hm_buf *out);
/* Appends the raw signature. */
int hm_sign(const struct hm_key *k, enum hm_sig_alg alg, struct hm_str data, struct hm_buf *out,
	    struct hm_err *e) HM_MUSTCHECK;
/*
 * The other direction (verify.c): what providers send. A public key is a text: PEM of a key or a certificate, base64 of
 * SubjectPublicKeyInfo or certificate DER, or an Ed25519 key as 32 bytes, 64 hex digits or base64. ES256 signatures
 * may be raw r || s or DER. All parsed anew at each call: callbacks are few beside messages.
 */
bool hm_verify(struct hm_str key, enum hm_sig_alg alg, struct hm_str data,
	       struct hm_str signature) HM_MUSTCHECK;
bool hm_verify_with(const struct hm_key *k, enum hm_sig_alg alg, struct hm_str data,
		    struct hm_str signature) HM_MUSTCHECK;
/* Constant-time in the contents (not the lengths). False when either is empty. */
bool hm_same_secret(struct hm_str a, struct hm_str b) HM_MUSTCHECK;
/* AES-128, -192 or -256 by the length of the key, CBC; iv of 16 bytes. PKCS#7 padding to `block` bytes, 1 to 255 (16 is
 * the standard, WeCom pads to 32). False: wrong lengths or padding. */
bool hm_aes_cbc_decrypt(struct hm_str key, struct hm_str iv, unsigned block, struct hm_str data,
			struct hm_buf *out) HM_MUSTCHECK;
bool hm_aes_cbc_encrypt(struct hm_str key, struct hm_str iv, unsigned block, struct hm_str data,
			struct hm_buf *out) HM_MUSTCHECK;
/* data ends with the tag of 16 bytes; nonce of 1 to 64 bytes. */
bool hm_aes_gcm_decrypt(struct hm_str key, struct hm_str nonce, struct hm_str additional, struct hm_str data,
			struct hm_buf *out) HM_MUSTCHECK;
/* Appends the compact JWT of two JSON texts; hmac_key for HS256, key for the others. */
int hm_jwt(const struct hm_key *k, struct hm_str hmac_key, enum hm_sig_alg alg, struct hm_str header,
	   struct hm_str claims, struct hm_buf *out, struct hm_err *e) HM_MUSTCHECK;

#endif
