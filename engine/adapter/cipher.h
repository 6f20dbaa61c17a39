/*
 * cipher.h - encryption for adapters, OpenSSL EVP
 *
 * The key's length chooses AES-128, -192 or -256. Output is appended; on failure
 * nothing is. Errors never show key or text. Threads: any.
 */
#ifndef HM_ADAPTER_CIPHER_H
#define HM_ADAPTER_CIPHER_H

#include "base/buf.h"
#include "base/err.h"

enum hm_aes { HM_AES_CBC, HM_AES_ECB, HM_AES_GCM };

/* CBC and ECB: PKCS#7 padding, iv of 16 bytes (ECB: none). GCM: any iv, the tag of 16 bytes stands behind the text. */
int hm_aes_encrypt(enum hm_aes mode, struct hm_str key, struct hm_str iv, struct hm_str aad,
		   struct hm_str text, struct hm_buf *out, struct hm_err *e) HM_MUSTCHECK;
/* With a public key: PEM (SubjectPublicKeyInfo or certificate) or one line of base64 DER. PKCS#1 v1.5, or OAEP with SHA-256. */
int hm_rsa_encrypt(struct hm_str public_key, bool oaep, struct hm_str text, struct hm_buf *out,
		   struct hm_err *e) HM_MUSTCHECK;

/* A text kept where others may read it: AES-256-GCM with a random nonce; `about` must be the same when it is opened. */
#define HM_SEAL_KEY 32
int hm_seal(const uint8_t key[HM_SEAL_KEY], struct hm_str about, struct hm_str text, struct hm_buf *out,
	    struct hm_err *e) HM_MUSTCHECK;
bool hm_unseal(const uint8_t key[HM_SEAL_KEY], struct hm_str about, struct hm_str sealed,
	       struct hm_buf *out) HM_MUSTCHECK; /* false: another key, or changed */

#endif
