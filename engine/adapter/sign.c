/*
 * sign.c - digests, HMAC, signatures; beside cipher.c, verify.c and webpush.c the only file of the adapters that knows OpenSSL
 *
 * Algorithms are fetched once per process: in OpenSSL 3 an implicit fetch costs more
 * than the digest of a short text. Contexts are kept per thread and freed when the
 * thread ends.
 */
#include "adapter/sign.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdlib.h>

#include "adapter/sign_int.h"

#define HMAC_CACHE 8 /* keyed contexts per thread; a rotation keeps two or three per channel */

static const char *const md_names[HM_MD_COUNT] = {"MD5", "SHA1", "SHA256", "SHA512"};
static EVP_MD *mds[HM_MD_COUNT];
static EVP_MAC *hmac_mac;
static pthread_key_t tls_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

struct hmac_slot {
	uint64_t id, used;
	EVP_MAC_CTX *ctx;
};
struct thread_ctx {
	EVP_MD_CTX *md;
	EVP_MAC_CTX *mac; /* for keys that change */
	struct hmac_slot slots[HMAC_CACHE];
	uint64_t clock;
};

static void thread_free(void *p)
{
	struct thread_ctx *t = p;

	EVP_MD_CTX_free(t->md);
	EVP_MAC_CTX_free(t->mac);
	for (size_t i = 0; i < HMAC_CACHE; i++)
		EVP_MAC_CTX_free(t->slots[i].ctx);
	free(t);
}

/* The main thread ends without running its key destructors. */
static void process_end(void)
{
	struct thread_ctx *t = pthread_getspecific(tls_key);

	if (t != NULL) {
		pthread_setspecific(tls_key, NULL);
		thread_free(t);
	}
	for (size_t i = 0; i < HM_MD_COUNT; i++)
		EVP_MD_free(mds[i]);
	EVP_MAC_free(hmac_mac);
}

static void setup(void)
{
	OPENSSL_init_crypto(0, NULL); /* its exit handler must be older than ours */
	for (size_t i = 0; i < HM_MD_COUNT; i++)
		mds[i] = EVP_MD_fetch(NULL, md_names[i], NULL);
	hmac_mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	if (pthread_key_create(&tls_key, thread_free) != 0)
		hm_panic(__FILE__, __LINE__, __func__, "no thread-local storage left");
	atexit(process_end);
	ERR_clear_error();
}

static struct thread_ctx *thread_ctx(void)
{
	struct thread_ctx *t;

	pthread_once(&once, setup);
	t = pthread_getspecific(tls_key);
	if (t != NULL)
		return t;
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return NULL;
	t->md = EVP_MD_CTX_new();
	t->mac = hmac_mac ? EVP_MAC_CTX_new(hmac_mac) : NULL;
	if (t->md == NULL || t->mac == NULL || pthread_setspecific(tls_key, t) != 0) {
		thread_free(t);
		return NULL;
	}
	return t;
}

size_t hm_digest(enum hm_md md, struct hm_str data, uint8_t out[HM_MD_MAX])
{
	struct thread_ctx *t = thread_ctx();
	unsigned n = 0;

	if (t == NULL || mds[md] == NULL || EVP_DigestInit_ex2(t->md, mds[md], NULL) != 1 ||
	    EVP_DigestUpdate(t->md, data.p, data.len) != 1 || EVP_DigestFinal_ex(t->md, out, &n) != 1) {
		ERR_clear_error();
		return 0;
	}
	return n;
}

uint64_t hm_hmac_cache_id(void)
{
	static uint64_t last;

	return __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
}

static bool mac_key(EVP_MAC_CTX *ctx, enum hm_md md, struct hm_str key)
{
	char name[8];
	OSSL_PARAM params[2];

	strcpy(name, md_names[md]);
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0);
	params[1] = OSSL_PARAM_construct_end();
	/* OpenSSL takes a NULL key for "keep the old one": an empty key still needs an address. */
	return EVP_MAC_init(ctx, key.len ? (const unsigned char *)key.p : (const unsigned char *)"", key.len,
			    params) == 1;
}

/* A context keyed for id, or NULL. Contexts of channels that a reload threw away age out. */
static EVP_MAC_CTX *keyed(struct thread_ctx *t, enum hm_md md, struct hm_str key, uint64_t id)
{
	struct hmac_slot *oldest = &t->slots[0];

	t->clock++;
	for (size_t i = 0; i < HMAC_CACHE; i++) {
		struct hmac_slot *s = &t->slots[i];

		if (s->id == id) {
			s->used = t->clock;
			return EVP_MAC_init(s->ctx, NULL, 0, NULL) == 1 ? s->ctx : NULL;
		}
		if (s->used < oldest->used)
			oldest = s;
	}
	if (oldest->ctx == NULL && (oldest->ctx = EVP_MAC_CTX_new(hmac_mac)) == NULL)
		return NULL;
	oldest->id = 0;
	if (!mac_key(oldest->ctx, md, key))
		return NULL;
	oldest->id = id;
	oldest->used = t->clock;
	return oldest->ctx;
}

size_t hm_hmac(enum hm_md md, struct hm_str key, uint64_t cache_id, struct hm_str data,
	       uint8_t out[HM_MD_MAX])
{
	struct thread_ctx *t = thread_ctx();
	EVP_MAC_CTX *ctx;
	size_t n = 0;

	if (t == NULL)
		return 0;
	if (cache_id)
		ctx = keyed(t, md, key, cache_id);
	else
		ctx = mac_key(t->mac, md, key) ? t->mac : NULL;
	if (ctx == NULL || EVP_MAC_update(ctx, (const unsigned char *)data.p, data.len) != 1 ||
	    EVP_MAC_final(ctx, out, &n, HM_MD_MAX) != 1) {
		ERR_clear_error();
		return 0;
	}
	return n;
}

static const struct {
	const char *name;
	enum hm_sig_alg alg;
} algs[] = {{"RS256", HM_SIG_RS256}, {"RS1", HM_SIG_RS1},     {"PS256", HM_SIG_PS256},
	    {"ES256", HM_SIG_ES256}, {"EdDSA", HM_SIG_EDDSA}, {"HS256", HM_SIG_HS256}};

enum hm_sig_alg hm_sig_alg_find(struct hm_str name)
{
	for (size_t i = 0; i < hm_countof(algs); i++)
		if (hm_str_ieq(name, hm_str_c(algs[i].name)))
			return algs[i].alg;
	return HM_SIG_NONE;
}

const char *hm_sig_alg_name(enum hm_sig_alg alg)
{
	for (size_t i = 0; i < hm_countof(algs); i++)
		if (algs[i].alg == alg)
			return algs[i].name;
	return "none";
}

static int key_new(EVP_PKEY *pkey, struct hm_key **r, struct hm_err *e)
{
	struct hm_key *k = calloc(1, sizeof(*k));

	if (k == NULL) {
		EVP_PKEY_free(pkey);
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	}
	HM_MAGIC_SET(k, HM_KEY_MAGIC);
	k->serial = hm_hmac_cache_id();
	k->pkey = pkey;
	*r = k;
	return 0;
}

/* An encrypted key would make OpenSSL ask on the terminal; a server has nobody there. */
static int no_password(char *buf, int size, int rwflag, void *u)
{
	return -1;
}

static EVP_PKEY *parse_pem(struct hm_str pem)
{
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.len);
	EVP_PKEY *pkey;

	if (bio == NULL)
		return NULL;
	pkey = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
	BIO_free(bio);
	return pkey;
}

/* A P-256 key from its private half. */
static EVP_PKEY *p256(const unsigned char scalar[32])
{
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EC_POINT *point = group ? EC_POINT_new(group) : NULL;
	BIGNUM *d = BN_bin2bn(scalar, 32, NULL);
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	OSSL_PARAM *params = NULL;
	EVP_PKEY *pkey = NULL;
	unsigned char raw[65];

	if (point && d && build && ctx && !BN_is_zero(d) && BN_cmp(d, EC_GROUP_get0_order(group)) < 0 &&
	    EC_POINT_mul(group, point, d, NULL, NULL, NULL) == 1 &&
	    EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, raw, sizeof(raw), NULL) ==
		    sizeof(raw) &&
	    OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) == 1 &&
	    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, d) == 1 &&
	    OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, raw, sizeof(raw)) == 1 &&
	    (params = OSSL_PARAM_BLD_to_param(build)) != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
	    EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_KEYPAIR, params) != 1)
		pkey = NULL;
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(build);
	EVP_PKEY_CTX_free(ctx);
	BN_clear_free(d);
	EC_POINT_free(point);
	EC_GROUP_free(group);
	return pkey;
}

static EVP_PKEY *parse_der(struct hm_str text)
{
	struct hm_buf packed, der;
	const unsigned char *p;
	EVP_PKEY *pkey = NULL;

	hm_buf_init(&packed, 64 << 10);
	hm_buf_init(&der, 64 << 10);
	for (size_t i = 0; i < text.len; i++)
		if (text.p[i] != '\n' && text.p[i] != '\r' && text.p[i] != ' ')
			hm_buf_putc(&packed, text.p[i]);
	if (!packed.err && hm_buf_unbase64(&der, hm_buf_str(&packed)) && der.len) {
		p = (const unsigned char *)der.p;
		pkey = der.len == 32 ? p256(p) : d2i_AutoPrivateKey(NULL, &p, (long)der.len);
	}
	if (packed.p)
		OPENSSL_cleanse(packed.p, packed.len);
	if (der.p)
		OPENSSL_cleanse(der.p, der.len);
	hm_buf_fini(&packed);
	hm_buf_fini(&der);
	return pkey;
}

int hm_key_parse(struct hm_str pem, const char *what, struct hm_key **r, struct hm_err *e)
{
	EVP_PKEY *pkey = NULL;
	bool is_pem = hm_str_find(pem, HM_STR("-----BEGIN")) >= 0;

	pthread_once(&once, setup);
	if (pem.len && pem.len < (64u << 10))
		pkey = is_pem ? parse_pem(pem) : parse_der(pem);
	ERR_clear_error();
	if (pkey == NULL && is_pem && hm_str_find(pem, HM_STR("ENCRYPTED")) >= 0)
		return hm_err_set(e, HM_EINVAL,
				  "%s: the key is encrypted; store it without a passphrase "
				  "(openssl pkcs8 -topk8 -nocrypt)",
				  what);
	if (pkey == NULL)
		return hm_err_set(
			e, HM_EINVAL,
			"%s: not a private key; expected PEM (-----BEGIN PRIVATE KEY-----) or base64 "
			"of PKCS#8 DER",
			what);
	return key_new(pkey, r, e);
}

int hm_key_ed25519(struct hm_str seed, struct hm_key **r, struct hm_err *e)
{
	EVP_PKEY *pkey;

	pthread_once(&once, setup);
	if (seed.len != 32 && seed.len != 64)
		return hm_err_set(e, HM_EINVAL,
				  "an Ed25519 key has 32 bytes (or 64 with its public half), not %zu",
				  seed.len);
	pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, (const unsigned char *)seed.p, 32);
	if (pkey == NULL) {
		ERR_clear_error();
		return hm_err_set(e, HM_EINVAL, "OpenSSL refuses the Ed25519 key");
	}
	return key_new(pkey, r, e);
}

void hm_key_free(struct hm_key *k)
{
	if (k == NULL)
		return;
	HM_CHECK(k, HM_KEY_MAGIC);
	EVP_PKEY_free(k->pkey);
	HM_MAGIC_CLEAR(k);
	free(k);
}

uint64_t hm_key_serial(const struct hm_key *k)
{
	HM_CHECK(k, HM_KEY_MAGIC);
	return k->serial;
}

bool hm_key_fits(const struct hm_key *k, enum hm_sig_alg alg)
{
	HM_CHECK(k, HM_KEY_MAGIC);
	switch (alg) {
	case HM_SIG_RS256:
	case HM_SIG_RS1:
	case HM_SIG_PS256: return EVP_PKEY_is_a(k->pkey, "RSA") == 1;
	case HM_SIG_ES256: return EVP_PKEY_is_a(k->pkey, "EC") == 1 && EVP_PKEY_get_bits(k->pkey) == 256;
	case HM_SIG_EDDSA: return EVP_PKEY_is_a(k->pkey, "ED25519") == 1;
	default: return false;
	}
}

bool hm_key_digest(const struct hm_key *k, uint8_t out[HM_MD_MAX])
{
	unsigned char *der = NULL;
	int n;

	HM_CHECK(k, HM_KEY_MAGIC);
	n = i2d_PrivateKey(k->pkey, &der);
	ERR_clear_error();
	if (n <= 0)
		return false;
	n = (int)hm_digest(HM_MD_SHA256, hm_str_n((const char *)der, (size_t)n), out);
	OPENSSL_clear_free(der, (size_t)i2d_PrivateKey(k->pkey, NULL));
	return n == 32;
}

bool hm_key_public(const struct hm_key *k, struct hm_buf *out)
{
	unsigned char raw[133];
	size_t n = sizeof(raw);
	bool ok;

	HM_CHECK(k, HM_KEY_MAGIC);
	if (EVP_PKEY_is_a(k->pkey, "ED25519"))
		ok = EVP_PKEY_get_raw_public_key(k->pkey, raw, &n) == 1;
	else
		ok = EVP_PKEY_get_octet_string_param(k->pkey, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, raw,
						     sizeof(raw), &n) == 1;
	ERR_clear_error();
	if (ok)
		hm_buf_put(out, raw, n);
	return ok;
}

/* DER to r || s, each left-padded to 32 bytes. */
static bool raw_ecdsa(const unsigned char *der, size_t n, struct hm_buf *out)
{
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)n);
	unsigned char raw[64];
	bool ok = sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32) == 32 &&
		  BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32) == 32;

	ECDSA_SIG_free(sig);
	if (ok)
		hm_buf_put(out, raw, sizeof(raw));
	return ok;
}

int hm_sign(const struct hm_key *k, enum hm_sig_alg alg, struct hm_str data, struct hm_buf *out,
	    struct hm_err *e)
{
	struct thread_ctx *t = thread_ctx();
	EVP_MD_CTX *ctx;
	EVP_PKEY_CTX *pctx;
	unsigned char sig[1024];
	size_t n = sizeof(sig);
	const EVP_MD *md = alg == HM_SIG_EDDSA ? NULL : mds[alg == HM_SIG_RS1 ? HM_MD_SHA1 : HM_MD_SHA256];
	bool ok;

	HM_CHECK(k, HM_KEY_MAGIC);
	if (!hm_key_fits(k, alg))
		return hm_err_set(e, HM_EINVAL, "the private key does not fit %s", hm_sig_alg_name(alg));
	ctx = t ? EVP_MD_CTX_new() : NULL;
	if (ctx == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	ok = EVP_DigestSignInit(ctx, &pctx, md, NULL, k->pkey) == 1;
	if (ok && alg == HM_SIG_PS256)
		ok = EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
		     EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) == 1;
	ok = ok && EVP_DigestSign(ctx, sig, &n, (const unsigned char *)data.p, data.len) == 1;
	EVP_MD_CTX_free(ctx);
	if (ok && alg == HM_SIG_ES256)
		ok = raw_ecdsa(sig, n, out);
	else if (ok)
		hm_buf_put(out, sig, n);
	ERR_clear_error();
	if (!ok)
		return hm_err_set(e, HM_EINVAL, "signing with %s failed", hm_sig_alg_name(alg));
	return out->err;
}
