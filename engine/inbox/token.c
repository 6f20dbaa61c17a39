/*
 * token.c - keys and tokens
 *
 *   text ─▶ three parts ─▶ header: alg, kid ─▶ a key whose signature fits ─▶ claims
 *
 * Claims are looked at only when the signature fits: what a stranger writes is worth one hash.
 */
#include "inbox/token.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "adapter/jsonscan.h"
#include "adapter/sign.h"
#include "base/buf.h"
#include "base/obj.h"
#include "inbox/store.h"

#define KEYS_MAGIC   0x746f6b73u
#define SECRET_MIN   32u /* bytes of an HS256 key */
#define RSA_BITS_MIN 2048
#define KID_MAX	     128u
#define KEY_MAX	     (16u << 10)
#define NUMBER_MAX   UINT64_C(99999999999) /* seconds: beyond the year 5000 nobody means a date */

struct token_key {
	enum hm_sig_alg alg;
	struct hm_str kid, key; /* key: secret, or PEM */
	uint64_t cache_id;	/* HS256 */
};
struct hm_token_keys {
	uint32_t magic;
	struct hm_arena arena;
	size_t n;
	struct token_key v[HM_TOKEN_KEYS_MAX];
};

/* -- keys -------------------------------------------------------------------------------------------- */

static EVP_PKEY *parse_public(struct hm_str text)
{
	EVP_PKEY *k = NULL;
	struct hm_buf packed, der;

	if (hm_str_find(text, HM_STR("-----BEGIN PUBLIC KEY-----")) >= 0) {
		BIO *bio = BIO_new_mem_buf(text.p, (int)text.len);

		if (bio != NULL)
			k = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
		BIO_free(bio);
		return k;
	}
	hm_buf_init(&packed, KEY_MAX);
	hm_buf_init(&der, KEY_MAX);
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.p[i] > ' ')
			hm_buf_putc(&packed, text.p[i]);
	if (packed.err == 0 && hm_buf_unbase64(&der, hm_buf_str(&packed))) {
		const unsigned char *p = (const unsigned char *)der.p;

		k = d2i_PUBKEY(NULL, &p, (long)der.len);
	}
	hm_buf_fini(&packed);
	hm_buf_fini(&der);
	return k;
}

static int check_public(const struct token_key *k, size_t i, struct hm_err *e)
{
	EVP_PKEY *pkey = parse_public(k->key);
	int rc = 0;

	if (pkey == NULL)
		rc = hm_err_set(
			e, HM_ECONFIG,
			"key %zu: %s needs a public key, as PEM (BEGIN PUBLIC KEY) or base64 of its DER",
			i + 1, hm_sig_alg_name(k->alg));
	else if (k->alg == HM_SIG_RS256 &&
		 (EVP_PKEY_is_a(pkey, "RSA") != 1 || EVP_PKEY_get_bits(pkey) < RSA_BITS_MIN))
		rc = hm_err_set(e, HM_ECONFIG, "key %zu: RS256 needs an RSA key of %d bits or more", i + 1,
				RSA_BITS_MIN);
	else if (k->alg == HM_SIG_ES256 && (EVP_PKEY_is_a(pkey, "EC") != 1 || EVP_PKEY_get_bits(pkey) != 256))
		rc = hm_err_set(e, HM_ECONFIG, "key %zu: ES256 needs a key on the curve P-256", i + 1);
	EVP_PKEY_free(pkey);
	ERR_clear_error();
	return rc;
}

static int parse_key(struct hm_token_keys *ks, size_t i, struct hm_str text, struct hm_err *e)
{
	struct token_key *k = &ks->v[i];
	struct hm_str rest = hm_str_trim(text), kid, alg;

	if (!hm_str_split(&rest, ' ', &kid) || !hm_str_split(&rest, ' ', &alg))
		return hm_err_set(e, HM_ECONFIG, "key %zu: expected \"<kid> <alg> <key>\"", i + 1);
	rest = hm_str_trim(rest);
	k->alg = hm_str_is(alg, "HS256")   ? HM_SIG_HS256
		 : hm_str_is(alg, "RS256") ? HM_SIG_RS256
		 : hm_str_is(alg, "ES256") ? HM_SIG_ES256
					   : HM_SIG_NONE;
	if (k->alg == HM_SIG_NONE)
		return hm_err_set(e, HM_ECONFIG,
				  "key %zu: alg is one of HS256, RS256, ES256: \"<kid> <alg> <key>\"", i + 1);
	if (kid.len == 0 || kid.len > KID_MAX)
		return hm_err_set(e, HM_ECONFIG, "key %zu: a kid has 1 to %u bytes", i + 1, KID_MAX);
	if (rest.len > KEY_MAX)
		return hm_err_set(e, HM_ECONFIG, "key %zu is longer than %u bytes", i + 1, KEY_MAX);
	if (k->alg == HM_SIG_HS256 && rest.len < SECRET_MIN)
		return hm_err_set(e, HM_ECONFIG,
				  "key %zu: a secret of HS256 has at least %u bytes (RFC 7518)", i + 1,
				  SECRET_MIN);
	k->kid = hm_arena_str(&ks->arena, kid);
	k->key = hm_arena_str(&ks->arena, rest);
	if (k->kid.p == NULL || k->key.p == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	k->cache_id = hm_hmac_cache_id();
	ks->n = i + 1;
	return k->alg == HM_SIG_HS256 ? 0 : check_public(k, i, e);
}

int hm_token_keys_new(const struct hm_str *texts, size_t n, struct hm_token_keys **r, struct hm_err *e)
{
	struct hm_token_keys *ks;
	int rc = 0;

	*r = NULL;
	if (n > HM_TOKEN_KEYS_MAX)
		return hm_err_set(e, HM_ECONFIG, "there are at most %d keys", HM_TOKEN_KEYS_MAX);
	ks = calloc(1, sizeof(*ks));
	if (ks == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	HM_MAGIC_SET(ks, KEYS_MAGIC);
	hm_arena_init(&ks->arena, NULL, 0);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = parse_key(ks, i, texts[i], e);
	if (rc != 0) {
		hm_token_keys_free(ks);
		return rc;
	}
	*r = ks;
	return 0;
}

void hm_token_keys_free(struct hm_token_keys *k)
{
	if (k == NULL)
		return;
	HM_CHECK(k, KEYS_MAGIC);
	hm_arena_fini(&k->arena);
	HM_MAGIC_CLEAR(k);
	free(k);
}

size_t hm_token_keys_count(const struct hm_token_keys *k)
{
	HM_CHECK(k, KEYS_MAGIC);
	return k->n;
}

/* -- parts ------------------------------------------------------------------------------------------- */

/* RFC 7515 section 2: base64url, nothing else; one text for one value. */
static bool decode(struct hm_str part, struct hm_buf *out)
{
	for (size_t i = 0; i < part.len; i++)
		if (part.p[i] == '+' || part.p[i] == '/' || part.p[i] == '=')
			return false;
	return part.len > 0 && hm_buf_unbase64(out, part);
}

static bool object_of(struct hm_str part, struct hm_arena *a, struct hm_str *json_r)
{
	struct hm_buf b;

	hm_buf_init_arena(&b, a, HM_TOKEN_MAX);
	if (!decode(part, &b) || b.err != 0 || !hm_json_check(hm_buf_str(&b)))
		return false;
	*json_r = hm_json_trim(hm_buf_str(&b));
	return json_r->len > 0 && json_r->p[0] == '{';
}

/* A text member; false when it is there and no text. */
static bool text_member(struct hm_str object, const char *name, struct hm_arena *a, struct hm_str *r)
{
	struct hm_str v;

	*r = HM_STR_NULL;
	if (!hm_json_member(object, hm_str_c(name), &v))
		return true;
	if (v.len < 2 || v.p[0] != '"')
		return false;
	*r = hm_json_text(v, a);
	return r->p != NULL;
}

/* NumericDate: seconds, perhaps with a fraction (cut). False: there is one, but it is no date. */
static bool date_member(struct hm_str object, const char *name, bool *there_r, uint64_t *ms_r)
{
	struct hm_str v, whole;
	ptrdiff_t dot;
	uint64_t s;

	*there_r = hm_json_member(object, hm_str_c(name), &v);
	if (!*there_r)
		return true;
	dot = hm_str_chr(v, '.');
	whole = dot >= 0 ? hm_str_n(v.p, (size_t)dot) : v;
	for (size_t i = (size_t)(dot < 0 ? (ptrdiff_t)v.len : dot + 1); i < v.len; i++)
		if (v.p[i] < '0' || v.p[i] > '9')
			return false;
	if (!hm_str_u64(whole, &s) || s > NUMBER_MAX)
		return false;
	*ms_r = s * 1000;
	return true;
}

static bool names_audience(struct hm_str claims, struct hm_str audience, struct hm_arena *a)
{
	struct hm_json_iter it;
	struct hm_str v, key, one;

	if (!hm_json_member(claims, HM_STR("aud"), &v) || v.len < 2)
		return false;
	if (v.p[0] == '"')
		return hm_str_eq(hm_json_text(v, a), audience);
	if (v.p[0] != '[' || !hm_json_iter(v, &it))
		return false;
	while (hm_json_next(&it, &key, &one))
		if (one.len >= 2 && one.p[0] == '"' && hm_str_eq(hm_json_text(one, a), audience))
			return true;
	return false;
}

bool hm_inbox_user_ok(struct hm_str user)
{
	if (user.len == 0 || user.len > HM_INBOX_USER_MAX || !hm_utf8_valid(user))
		return false;
	for (size_t i = 0; i < user.len; i++)
		if ((unsigned char)user.p[i] < ' ' || user.p[i] == 0x7f)
			return false;
	return true;
}

/* -- signatures -------------------------------------------------------------------------------------- */

static bool fits(const struct token_key *k, struct hm_str signed_text, struct hm_str signature)
{
	uint8_t mac[HM_MD_MAX];
	size_t n;

	if (k->alg != HM_SIG_HS256)
		/* A DER signature is none of a JWT's: RFC 7518 section 3.4 */
		return (k->alg != HM_SIG_ES256 || signature.len == 64) &&
		       hm_verify(k->key, k->alg, signed_text, signature);
	n = hm_hmac(HM_MD_SHA256, k->key, k->cache_id, signed_text, mac);
	return n > 0 && hm_same_secret(hm_str_n((const char *)mac, n), signature);
}

static int refuse(struct hm_err *e, const char *why)
{
	return hm_err_set(e, HM_EPERM, "%s", why);
}

static int check_signature(const struct hm_token_keys *ks, struct hm_str head, struct hm_str signed_text,
			   struct hm_str signature, struct hm_arena *a, struct hm_err *e)
{
	struct hm_str alg, kid, crit;
	bool named = false;

	if (!text_member(head, "alg", a, &alg) || !text_member(head, "kid", a, &kid))
		return refuse(e, "the token's header has an alg or kid that is no text");
	if (hm_json_member(head, HM_STR("crit"), &crit))
		return refuse(e, "the token's header asks for extensions (crit) that are not known here");
	if (!hm_str_is(alg, "HS256") && !hm_str_is(alg, "RS256") && !hm_str_is(alg, "ES256"))
		return refuse(e, "the token's alg is not one of HS256, RS256, ES256");
	for (size_t i = 0; i < ks->n; i++) {
		const struct token_key *k = &ks->v[i];

		if (!hm_str_eq(hm_str_c(hm_sig_alg_name(k->alg)), alg) ||
		    (kid.p != NULL && !hm_str_eq(kid, k->kid)))
			continue;
		named = true;
		if (fits(k, signed_text, signature))
			return 0;
	}
	return refuse(e, named ? "the token's signature does not fit"
			       : "no key for the token's alg and kid is configured (inbox.token_keys)");
}

static int check_claims(const struct hm_token_rules *t, struct hm_str claims, struct hm_arena *a,
			struct hm_token *r, struct hm_err *e)
{
	uint64_t nbf = 0, iat = 0;
	bool has_exp, has_nbf, has_iat;

	if (!date_member(claims, "exp", &has_exp, &r->expires_ms) ||
	    !date_member(claims, "nbf", &has_nbf, &nbf) || !date_member(claims, "iat", &has_iat, &iat))
		return refuse(e, "exp, nbf and iat of the token are Unix seconds");
	if (!has_exp)
		return refuse(e, "the token has no exp: it would never end");
	if (r->expires_ms + t->leeway_ms <= t->now_ms)
		return refuse(e, "the token has expired");
	if (r->expires_ms > t->now_ms + t->longest_ms + t->leeway_ms)
		return refuse(e, "the token's exp is further ahead than inbox.max_token");
	if (has_nbf && nbf > t->now_ms + t->leeway_ms)
		return refuse(e, "the token is not valid yet (nbf)");
	if (has_iat && iat > t->now_ms + t->leeway_ms)
		return refuse(e, "the token is from the future (iat): is its maker's clock right?");
	if (t->audience.len && !names_audience(claims, t->audience, a))
		return refuse(e, "the token's aud does not name this inbox (inbox.audience)");
	if (!text_member(claims, "sub", a, &r->user) || !hm_inbox_user_ok(r->user))
		return refuse(e,
			      "the token's sub must be the user's id: 1 to 128 bytes, no control characters");
	return 0;
}

int hm_token_check(const struct hm_token_rules *t, struct hm_str text, struct hm_arena *a, struct hm_token *r,
		   struct hm_err *e)
{
	struct hm_str rest = text, part[2], head, claims;
	struct hm_buf signature;
	int rc;

	HM_CHECK(t->keys, KEYS_MAGIC);
	*r = (struct hm_token){.user = HM_STR_NULL};
	if (text.len > HM_TOKEN_MAX)
		return refuse(e, "the token is longer than 4096 bytes");
	if (!hm_str_split(&rest, '.', &part[0]) || !hm_str_split(&rest, '.', &part[1]) || rest.len == 0 ||
	    hm_str_chr(rest, '.') >= 0)
		return refuse(e, "the token is not a signed JWT: three parts with dots between them");
	hm_buf_init_arena(&signature, a, HM_TOKEN_MAX);
	if (!object_of(part[0], a, &head) || !decode(rest, &signature))
		return refuse(e,
			      "the token is not a signed JWT: base64url of a JSON header and of a signature");
	rc = check_signature(t->keys, head, hm_str_n(text.p, part[0].len + 1 + part[1].len),
			     hm_buf_str(&signature), a, e);
	if (rc != 0)
		return rc;
	if (!object_of(part[1], a, &claims))
		return refuse(e, "the token's claims are not a JSON object");
	return check_claims(t, claims, a, r, e);
}
