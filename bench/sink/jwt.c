/*
 * jwt.c - checking tokens
 */
#include "jwt.h"

#include <errno.h>
#include <openssl/ecdsa.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

#include "scan.h"

static bool decode_part(struct hm_str part, struct hm_buf *out, struct hm_str *v_r)
{
	size_t at = out->len;

	if (part.len == 0 || memchr(part.p, '=', part.len) || memchr(part.p, '+', part.len) ||
	    memchr(part.p, '/', part.len))
		return false; /* base64url without padding only */
	if (!hm_buf_unbase64(out, part))
		return false;
	*v_r = hm_str_n(out->p + at, out->len - at);
	return true;
}

/* JWS carries r || s, OpenSSL wants DER. */
static bool verify_es256(EVP_PKEY *key, struct hm_str input, struct hm_str sig)
{
	const unsigned char *raw = (const unsigned char *)sig.p;
	ECDSA_SIG *es = ECDSA_SIG_new();
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char *der = NULL;
	BIGNUM *r = BN_bin2bn(raw, 32, NULL), *s = BN_bin2bn(raw + 32, 32, NULL);
	bool ok = false;
	int n;

	if (es && ctx && r && s && ECDSA_SIG_set0(es, r, s) == 1) {
		r = s = NULL; /* owned by es now */
		n = i2d_ECDSA_SIG(es, &der);
		ok = n > 0 && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
		     EVP_DigestVerify(ctx, der, (size_t)n, (const unsigned char *)input.p, input.len) == 1;
	}
	BN_free(r);
	BN_free(s);
	OPENSSL_free(der);
	EVP_MD_CTX_free(ctx);
	ECDSA_SIG_free(es);
	return ok;
}

static bool verify_rs256(EVP_PKEY *key, struct hm_str input, struct hm_str sig)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = ctx && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
		  EVP_DigestVerify(ctx, (const unsigned char *)sig.p, sig.len, (const unsigned char *)input.p,
				   input.len) == 1;

	EVP_MD_CTX_free(ctx);
	return ok;
}

enum jwt_verdict jwt_check(struct hm_str token, const char *alg, EVP_PKEY *key, struct hm_buf *out,
			   struct jwt *j)
{
	bool es = strcmp(alg, "ES256") == 0;
	struct hm_str rest = token, h, c, s, a, sig, input;

	memset(j, 0, sizeof(*j));
	if (!hm_str_split(&rest, '.', &h) || !hm_str_split(&rest, '.', &c) || rest.len == 0)
		return JWT_MALFORMED;
	s = rest;
	input = hm_str_n(token.p, (size_t)(s.p - token.p) - 1);
	if (!hm_buf_reserve(out, token.len + 16) || !decode_part(h, out, &j->header) ||
	    !decode_part(c, out, &j->claims) || !decode_part(s, out, &sig))
		return JWT_MALFORMED;
	if (!scan_valid(j->header) || !scan_valid(j->claims) || scan_type(j->claims) != '{')
		return JWT_MALFORMED;
	a = scan_get(j->header, "alg");
	if (scan_type(a) != '"' || !hm_str_is(hm_str_n(a.p + 1, a.len - 2), alg))
		return JWT_WRONG_ALG;
	if (!scan_i64(scan_get(j->claims, "iat"), &j->iat))
		j->iat = 0;
	if (!scan_i64(scan_get(j->claims, "exp"), &j->exp))
		j->exp = 0;
	if (es && sig.len != 64)
		return JWT_BAD_SIGNATURE;
	if (!key)
		return JWT_OK;
	return (es ? verify_es256(key, input, sig) : verify_rs256(key, input, sig)) ? JWT_OK
										    : JWT_BAD_SIGNATURE;
}

static EVP_PKEY *try_read(const char *path, int what)
{
	FILE *f = fopen(path, "re");
	EVP_PKEY *key = NULL;
	X509 *crt;

	if (!f)
		return NULL;
	if (what == 0) {
		key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
	} else if (what == 1) {
		key = PEM_read_PUBKEY(f, NULL, NULL, NULL);
	} else if ((crt = PEM_read_X509(f, NULL, NULL, NULL))) {
		key = X509_get_pubkey(crt);
		X509_free(crt);
	}
	fclose(f);
	return key;
}

int key_load(const char *path, const char *type, EVP_PKEY **key_r, struct hm_err *e)
{
	FILE *f = fopen(path, "re");
	EVP_PKEY *key = NULL;

	if (!f)
		return hm_err_set(e, HM_ENOENT, "cannot read the key file %s: %s", path, strerror(errno));
	fclose(f);
	for (int what = 0; what < 3 && !key; what++)
		key = try_read(path, what);
	if (!key)
		return hm_err_set(e, HM_EINVAL, "%s holds no PEM private key, public key or certificate",
				  path);
	if (!EVP_PKEY_is_a(key, type)) {
		hm_err_set(e, HM_EINVAL, "%s holds a key of type %s, expected %s", path,
			   EVP_PKEY_get0_type_name(key), type);
		EVP_PKEY_free(key);
		return HM_EINVAL;
	}
	*key_r = key;
	return 0;
}
