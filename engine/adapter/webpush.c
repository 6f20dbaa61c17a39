/*
 * webpush.c - RFC 8188, 8291 and 8292
 *
 * The curve is used through EC_POINT: EVP would build two key objects per message and fetch its algorithms for each,
 * on top of the two multiplications (bench/micro/webpush.c measures what is left).
 */
#include "adapter/webpush.h"

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>

#define CEK	    16
#define NONCE	    12
#define VAPID_SLOTS 64	/* per thread; a browser maker has one or two origins */
#define VAPID_TEXT  900 /* origin, subject and header together; longer ones are signed each time */

static EC_GROUP *group;
static EVP_CIPHER *aes;
static pthread_key_t tls_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

struct vapid_slot {
	uint64_t key, made_s, used;
	uint16_t n_name, n_text; /* text: origin, NUL, subject; then the header's value */
	char text[VAPID_TEXT];
};
struct thread_ctx {
	EVP_CIPHER_CTX *cipher;
	BN_CTX *bn;
	BIGNUM *scalar, *x;
	EC_POINT *theirs, *ours;
	struct vapid_slot *vapid; /* VAPID_SLOTS */
	uint64_t clock;
};

static void thread_free(void *p)
{
	struct thread_ctx *t = p;

	EVP_CIPHER_CTX_free(t->cipher);
	BN_clear_free(t->scalar);
	BN_clear_free(t->x);
	EC_POINT_free(t->theirs);
	EC_POINT_free(t->ours);
	BN_CTX_free(t->bn);
	free(t->vapid);
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
	EC_GROUP_free(group);
	EVP_CIPHER_free(aes);
}

static void setup(void)
{
	OPENSSL_init_crypto(0, NULL); /* its exit handler must be older than ours */
	group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	aes = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
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
	if (t == NULL || group == NULL || aes == NULL) {
		free(t);
		return NULL;
	}
	t->cipher = EVP_CIPHER_CTX_new();
	t->bn = BN_CTX_new();
	t->scalar = BN_secure_new();
	t->x = BN_secure_new();
	t->theirs = EC_POINT_new(group);
	t->ours = EC_POINT_new(group);
	t->vapid = calloc(VAPID_SLOTS, sizeof(*t->vapid));
	if (!t->cipher || !t->bn || !t->scalar || !t->x || !t->theirs || !t->ours || !t->vapid ||
	    pthread_setspecific(tls_key, t) != 0) {
		thread_free(t);
		return NULL;
	}
	BN_set_flags(t->scalar, BN_FLG_CONSTTIME);
	return t;
}

static int broken(struct hm_err *e)
{
	ERR_clear_error();
	return hm_err_set(e, HM_EINVAL, "encrypting failed");
}

/* -- RFC 8188 ------------------------------------------------------------------------- */

static bool hmac256(const void *key, size_t n_key, struct hm_str data, uint8_t out[HM_MD_MAX])
{
	return hm_hmac(HM_MD_SHA256, hm_str_n(key, n_key), 0, data, out) == 32;
}

static bool seal(struct thread_ctx *t, const uint8_t *nonce, struct hm_str data, uint8_t delimiter,
		 size_t pad, struct hm_buf *out)
{
	uint8_t tag[HM_ECE_TAG];
	size_t at = out->len;
	int n;

	hm_buf_puts(out, data);
	hm_buf_putc(out, (char)delimiter);
	for (size_t i = 0; i < pad; i++)
		hm_buf_putc(out, '\0');
	if (out->err || EVP_EncryptInit_ex2(t->cipher, NULL, NULL, nonce, NULL) != 1 ||
	    EVP_EncryptUpdate(t->cipher, (uint8_t *)out->p + at, &n, (const uint8_t *)out->p + at,
			      (int)(data.len + 1 + pad)) != 1 ||
	    EVP_EncryptFinal_ex(t->cipher, tag, &n) != 1 ||
	    EVP_CIPHER_CTX_ctrl(t->cipher, EVP_CTRL_AEAD_GET_TAG, HM_ECE_TAG, tag) != 1)
		return false;
	hm_buf_put(out, tag, sizeof(tag));
	return true;
}

/* The nonce of record number seq: the last bytes XORed with it. */
static void nonce_of(const uint8_t base[NONCE], uint64_t seq, uint8_t out[NONCE])
{
	memcpy(out, base, NONCE);
	for (int i = 0; i < 8; i++)
		out[NONCE - 1 - i] ^= (uint8_t)(seq >> 8 * i);
}

int hm_ece_encrypt(struct hm_str ikm, struct hm_str salt, uint32_t record_size, struct hm_str keyid,
		   size_t pad, struct hm_str plain, struct hm_buf *out, struct hm_err *e)
{
	static const char cek_info[] = "Content-Encoding: aes128gcm\0\1";
	static const char nonce_info[] = "Content-Encoding: nonce\0\1";
	uint8_t prk[HM_MD_MAX], cek[HM_MD_MAX], base[HM_MD_MAX], nonce[NONCE], head[5];
	struct thread_ctx *t = thread_ctx();
	size_t step = record_size - HM_ECE_TAG - 1;
	uint64_t seq = 0;
	bool ok;

	if (salt.len != HM_ECE_SALT || keyid.len > 255 || record_size < HM_ECE_TAG + 2)
		return hm_err_set(e, HM_EINVAL,
				  "a salt has 16 bytes, a key id at most 255, a record at least 18");
	if (t == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	for (int i = 0; i < 4; i++)
		head[i] = (uint8_t)(record_size >> (24 - 8 * i));
	head[4] = (uint8_t)keyid.len;
	hm_buf_puts(out, salt);
	hm_buf_put(out, head, sizeof(head));
	hm_buf_puts(out, keyid);
	ok = hmac256(salt.p, salt.len, ikm, prk) &&
	     hmac256(prk, 32, hm_str_n(cek_info, sizeof(cek_info) - 1), cek) &&
	     hmac256(prk, 32, hm_str_n(nonce_info, sizeof(nonce_info) - 1), base) &&
	     EVP_EncryptInit_ex2(t->cipher, aes, cek, base, NULL) == 1;
	do {
		size_t zeros = hm_min(pad, step - 1); /* each record takes some of the text */
		struct hm_str part = hm_str_n(plain.p, hm_min(plain.len, step - zeros));

		plain = hm_str_n(plain.p ? plain.p + part.len : NULL, plain.len - part.len);
		nonce_of(base, seq++, nonce);
		pad -= zeros;
		ok = ok && seal(t, nonce, part, plain.len ? 1 : 2, zeros, out);
	} while (ok && plain.len);
	OPENSSL_cleanse(prk, sizeof(prk));
	OPENSSL_cleanse(cek, sizeof(cek));
	return ok && !out->err ? 0 : out->err ? out->err : broken(e);
}

/* -- RFC 8291 ------------------------------------------------------------------------- */

static bool fresh_scalar(BIGNUM *scalar)
{
	do {
		if (BN_priv_rand_range(scalar, EC_GROUP_get0_order(group)) != 1)
			return false;
	} while (BN_is_zero(scalar));
	return true;
}

static bool given_scalar(BIGNUM *scalar, struct hm_str bytes)
{
	return bytes.len == HM_WEBPUSH_SCALAR &&
	       BN_bin2bn((const uint8_t *)bytes.p, (int)bytes.len, scalar) != NULL && !BN_is_zero(scalar) &&
	       BN_cmp(scalar, EC_GROUP_get0_order(group)) < 0;
}

/* Our point and the X coordinate of the shared one. */
static bool agree(struct thread_ctx *t, uint8_t ours[HM_WEBPUSH_POINT], uint8_t shared[32])
{
	bool ok = EC_POINT_mul(group, t->ours, t->scalar, NULL, NULL, t->bn) == 1 &&
		  EC_POINT_point2oct(group, t->ours, POINT_CONVERSION_UNCOMPRESSED, ours, HM_WEBPUSH_POINT,
				     t->bn) == HM_WEBPUSH_POINT &&
		  EC_POINT_mul(group, t->ours, NULL, t->theirs, t->scalar, t->bn) == 1 &&
		  EC_POINT_get_affine_coordinates(group, t->ours, t->x, NULL, t->bn) == 1 &&
		  BN_bn2binpad(t->x, shared, 32) == 32;

	BN_clear(t->scalar);
	BN_clear(t->x);
	return ok;
}

int hm_webpush_encrypt(struct hm_str p256dh, struct hm_str auth, struct hm_str salt, struct hm_str scalar,
		       struct hm_str plain, struct hm_buf *out, struct hm_err *e)
{
	static const char label[] = "WebPush: info"; /* with its NUL */
	uint8_t info[sizeof(label) + 2 * HM_WEBPUSH_POINT + 1], shared[32], prk[HM_MD_MAX], ikm[HM_MD_MAX];
	uint8_t *ours = info + sizeof(label) + HM_WEBPUSH_POINT, own_salt[HM_ECE_SALT];
	struct thread_ctx *t = thread_ctx();
	size_t record;
	bool ok;
	int rc;

	if (t == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	/* Reading the point checks that it lies on the curve; the order is prime, so it needs no more. */
	if (p256dh.len != HM_WEBPUSH_POINT || p256dh.p[0] != 4 ||
	    EC_POINT_oct2point(group, t->theirs, (const uint8_t *)p256dh.p, p256dh.len, t->bn) != 1) {
		ERR_clear_error();
		return hm_err_set(e, HM_EINVAL, "p256dh is not a point of P-256 (65 bytes, base64url)");
	}
	if (auth.len != HM_WEBPUSH_AUTH)
		return hm_err_set(e, HM_EINVAL, "auth has %zu bytes, expected 16 (base64url)", auth.len);
	if (plain.len > HM_WEBPUSH_MAX)
		return hm_err_set(e, HM_EINVAL, "%zu bytes are too long for a push message", plain.len);
	/* One record, however long: what is too long for a push service is the caller's to see. */
	record = hm_max((size_t)HM_WEBPUSH_RECORD, plain.len + HM_ECE_TAG + 1);
	if (scalar.len ? !given_scalar(t->scalar, scalar) : !fresh_scalar(t->scalar))
		return broken(e);
	if (salt.len == 0) {
		if (RAND_bytes(own_salt, sizeof(own_salt)) != 1)
			return broken(e);
		salt = hm_str_n((const char *)own_salt, sizeof(own_salt));
	}
	memcpy(info, label, sizeof(label));
	memcpy(info + sizeof(label), p256dh.p, HM_WEBPUSH_POINT);
	info[sizeof(info) - 1] = 1;
	ok = agree(t, ours, shared) &&
	     hmac256(auth.p, auth.len, hm_str_n((const char *)shared, sizeof(shared)), prk) &&
	     hmac256(prk, 32, hm_str_n((const char *)info, sizeof(info)), ikm);
	rc = ok ? hm_ece_encrypt(hm_str_n((const char *)ikm, 32), salt, (uint32_t)record,
				 hm_str_n((const char *)ours, HM_WEBPUSH_POINT), 0, plain, out, e)
		: broken(e);
	OPENSSL_cleanse(shared, sizeof(shared));
	OPENSSL_cleanse(prk, sizeof(prk));
	OPENSSL_cleanse(ikm, sizeof(ikm));
	return rc;
}

/* -- RFC 8292 ------------------------------------------------------------------------- */

/* scheme://host[:port] in lower case, without the port that goes without saying. */
static struct hm_str origin_of(struct hm_str url, char *out, size_t size)
{
	ptrdiff_t at = hm_str_find(url, HM_STR("://"));
	size_t n;

	if (at < 0)
		return HM_STR("");
	for (n = (size_t)at + 3; n < url.len && strchr("/?#", url.p[n]) == NULL; n++)
		;
	if (n >= size)
		return HM_STR("");
	for (size_t i = 0; i < n; i++)
		out[i] = url.p[i] >= 'A' && url.p[i] <= 'Z' ? (char)(url.p[i] | 0x20) : url.p[i];
	if (hm_str_starts(hm_str_n(out, n), HM_STR("https://")) &&
	    hm_str_ends(hm_str_n(out, n), HM_STR(":443")))
		n -= 4;
	return hm_str_n(out, n);
}

static int vapid_sign(const struct hm_key *key, struct hm_str origin, struct hm_str subject, uint64_t now_s,
		      struct hm_buf *out, struct hm_err *e)
{
	struct hm_buf claims, point; /* malloc: twice a day and origin */
	int rc = 0;

	hm_buf_init(&claims, 1024);
	hm_buf_init(&point, 2 * HM_WEBPUSH_POINT);
	hm_buf_lit(&claims, "{\"aud\":\"");
	hm_buf_json(&claims, origin);
	hm_buf_printf(&claims, "\",\"exp\":%llu", (unsigned long long)(now_s + HM_VAPID_LIFE_S));
	if (subject.len) {
		hm_buf_lit(&claims, ",\"sub\":\"");
		hm_buf_json(&claims, subject);
		hm_buf_putc(&claims, '"');
	}
	hm_buf_putc(&claims, '}');
	hm_buf_lit(out, "vapid t=");
	if (claims.err)
		rc = hm_err_set(e, HM_EINVAL, "the VAPID subject or the origin is too long");
	else if (!hm_key_public(key, &point) || point.err || point.len != HM_WEBPUSH_POINT)
		rc = hm_err_set(e, HM_EINVAL, "the VAPID key is not a P-256 key");
	else
		rc = hm_jwt(key, HM_STR(""), HM_SIG_ES256, HM_STR("{\"typ\":\"JWT\",\"alg\":\"ES256\"}"),
			    hm_buf_str(&claims), out, e);
	hm_buf_lit(out, ", k=");
	hm_buf_base64url(out, point.p, point.len);
	hm_buf_fini(&claims);
	hm_buf_fini(&point);
	return rc ? rc : out->err;
}

/* The slot of this name, or the one to use for it (n_text == 0). */
static struct vapid_slot *vapid_slot(struct thread_ctx *t, uint64_t key, struct hm_str name)
{
	struct vapid_slot *oldest = &t->vapid[0];

	t->clock++;
	for (size_t i = 0; i < VAPID_SLOTS; i++) {
		struct vapid_slot *s = &t->vapid[i];

		if (s->key == key && hm_str_eq(hm_str_n(s->text, s->n_name), name)) {
			s->used = t->clock;
			return s;
		}
		if (s->used < oldest->used)
			oldest = s;
	}
	memset(oldest, 0, sizeof(*oldest));
	oldest->used = t->clock;
	return oldest;
}

int hm_vapid(const struct hm_key *key, struct hm_str url, struct hm_str subject, uint64_t now_s,
	     struct hm_buf *out, struct hm_err *e)
{
	char name_text[VAPID_TEXT];
	struct thread_ctx *t = thread_ctx();
	struct hm_str origin = origin_of(url, name_text, sizeof(name_text) / 2), name;
	struct vapid_slot *s = NULL;
	size_t from = out->len;
	int rc;

	if (t == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	if (origin.len == 0)
		return hm_err_set(e, HM_EINVAL, "VAPID needs the URL of a subscription");
	if (subject.len < sizeof(name_text) / 2) {
		name_text[origin.len] = '\0';
		if (subject.len)
			memcpy(name_text + origin.len + 1, subject.p, subject.len);
		name = hm_str_n(name_text, origin.len + 1 + subject.len);
		s = vapid_slot(t, hm_key_serial(key), name);
		if (s->n_text && now_s >= s->made_s && now_s - s->made_s < HM_VAPID_USE_S) {
			hm_buf_put(out, s->text + s->n_name, s->n_text);
			return out->err;
		}
	}
	rc = vapid_sign(key, origin, subject, now_s, out, e);
	if (rc != 0 || s == NULL || name.len + out->len - from > sizeof(s->text)) {
		if (s != NULL)
			s->n_text = 0;
		return rc;
	}
	s->key = hm_key_serial(key);
	s->made_s = now_s;
	s->n_name = (uint16_t)name.len;
	s->n_text = (uint16_t)(out->len - from);
	memcpy(s->text, name.p, name.len);
	memcpy(s->text + name.len, out->p + from, s->n_text);
	return 0;
}
