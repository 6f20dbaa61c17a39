/*
 * jwt.c - JSON Web Tokens, compact form (RFC 7515, 7519)
 *
 * Header and claims come as the JSON text the adapter file describes; what is signed
 * is exactly what is sent. Keys of the ECDSA family give raw r || s (sign.c), never DER.
 */
#include "adapter/sign.h"

int hm_jwt(const struct hm_key *k, struct hm_str hmac_key, enum hm_sig_alg alg, struct hm_str header,
	   struct hm_str claims, struct hm_buf *out, struct hm_err *e)
{
	size_t start = out->len;
	struct hm_buf sig;
	uint8_t mac[HM_MD_MAX];
	size_t n;
	int rc = 0;

	hm_buf_base64url(out, header.p, header.len);
	hm_buf_putc(out, '.');
	hm_buf_base64url(out, claims.p, claims.len);
	if (out->err)
		return hm_err_set(e, out->err, "the JWT grew too long");
	if (alg == HM_SIG_HS256) {
		n = hm_hmac(HM_MD_SHA256, hmac_key, 0, hm_str_n(out->p + start, out->len - start), mac);
		if (n == 0)
			return hm_err_set(e, HM_EINVAL, "HMAC failed");
		hm_buf_putc(out, '.');
		hm_buf_base64url(out, mac, n);
		return out->err;
	}
	if (k == NULL)
		return hm_err_set(e, HM_EINVAL, "%s needs a private key", hm_sig_alg_name(alg));
	hm_buf_init(&sig, 2048);
	rc = hm_sign(k, alg, hm_str_n(out->p + start, out->len - start), &sig, e);
	if (rc == 0) {
		hm_buf_putc(out, '.');
		hm_buf_base64url(out, sig.p, sig.len);
		rc = out->err;
	}
	hm_buf_fini(&sig);
	return rc;
}
