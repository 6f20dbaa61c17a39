/*
 * jwt.h - compact JWS as providers check it: ES256, RS256 (RFC 7515, 7518)
 */
#ifndef HM_SINK_JWT_H
#define HM_SINK_JWT_H

#include <openssl/evp.h>

#include "base/buf.h"
#include "base/err.h"

enum jwt_verdict { JWT_OK, JWT_MALFORMED, JWT_WRONG_ALG, JWT_BAD_SIGNATURE };

struct jwt {
	struct hm_str header, claims; /* decoded JSON, in the caller's buffer */
	int64_t iat, exp;	      /* 0 when absent */
};

/* key NULL: the form is checked, the signature is not. out keeps the decoded parts and must not grow meanwhile. */
enum jwt_verdict jwt_check(struct hm_str token, const char *alg, EVP_PKEY *key, struct hm_buf *out,
			   struct jwt *j_r);
/* PEM: private key, public key or certificate. */
int key_load(const char *path, const char *type, EVP_PKEY **key_r, struct hm_err *e) HM_MUSTCHECK;

#endif
