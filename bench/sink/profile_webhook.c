/*
 * profile_webhook.c - signed webhooks, Standard Webhooks: any path under /hook/<name>
 *
 * Verifies webhook-signature with every configured secret of the name (v1: HMAC-SHA256,
 * v1a: Ed25519) and the timestamp's tolerance; 401 says what is wrong. A name
 * "status-NNN..." answers NNN once the signature is right.
 * Source: github.com/standard-webhooks/standard-webhooks, spec version 1.0.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#include "scan.h"
#include "worker.h"

#define MAX_SECRET 128

struct secret {
	struct hm_str name; /* empty = all hooks */
	unsigned char key[MAX_SECRET];
	size_t len;
	EVP_PKEY *pub; /* Ed25519 */
};

static struct secret secrets[OPT_MAX_LIST];
static size_t n_secrets;
static const struct sink_options *options;

static int read_secret(const char *text, struct secret *s, struct hm_err *e)
{
	const char *at = strstr(text, "whsec_"), *pub = strstr(text, "whpk_");
	const char *start = at ? at : pub;
	struct hm_buf raw;

	if (!start || (start != text && start[-1] != '='))
		return hm_err_set(e, HM_EINVAL,
				  "--webhook-secret must be [NAME=]whsec_BASE64 or [NAME=]whpk_BASE64");
	s->name = start == text ? HM_STR_NULL : hm_str_n(text, (size_t)(start - text) - 1);
	hm_buf_init(&raw, MAX_SECRET);
	if (!hm_buf_unbase64(&raw, hm_str_c(strchr(start, '_') + 1)) || raw.len == 0 || raw.err) {
		hm_buf_fini(&raw);
		return hm_err_set(e, HM_EINVAL,
				  "the base64 of a --webhook-secret is wrong, empty or too long");
	}
	memcpy(s->key, raw.p, raw.len);
	s->len = raw.len;
	hm_buf_fini(&raw);
	if (at)
		return 0;
	s->pub = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, s->key, s->len);
	return s->pub ? 0 : hm_err_set(e, HM_EINVAL, "a whpk_ key must be 32 bytes (Ed25519)");
}

static int init(const struct sink_options *o, struct hm_err *e)
{
	options = o;
	for (n_secrets = 0; n_secrets < o->webhook_secret.n; n_secrets++) {
		int rc = read_secret(o->webhook_secret.v[n_secrets], &secrets[n_secrets], e);

		if (rc)
			return rc;
	}
	return 0;
}

static void fini(void)
{
	for (size_t i = 0; i < n_secrets; i++)
		EVP_PKEY_free(secrets[i].pub);
	memset(secrets, 0, sizeof(secrets));
	n_secrets = 0;
}

static bool match(struct hm_str method, struct hm_str path)
{
	return hm_str_starts(path, HM_STR("/hook/"));
}

static void ids(struct sink_req *r, struct sink_worker *w, struct sink_ids *list)
{
	struct hm_str path = req_path(r), id = req_header(r, "webhook-id");
	struct hm_str name = hm_str_n(path.p + 6, path.len - 6);
	ptrdiff_t slash = hm_str_chr(name, '/');

	r->target = slash < 0 ? name : hm_str_n(name.p, (size_t)slash);
	if (id.len)
		sink_ids_add(list, id, false);
}

static bool sig_v1(const struct secret *s, struct hm_str content, struct hm_str sig)
{
	unsigned char mac[32];
	unsigned n = 0;
	struct hm_buf want;
	bool ok;

	if (!HMAC(EVP_sha256(), s->key, (int)s->len, (const unsigned char *)content.p, content.len, mac, &n))
		return false;
	hm_buf_init(&want, 64);
	hm_buf_base64(&want, mac, n);
	ok = want.len == sig.len && CRYPTO_memcmp(want.p, sig.p, sig.len) == 0;
	hm_buf_fini(&want);
	return ok;
}

static bool sig_v1a(const struct secret *s, struct hm_str content, struct hm_str sig)
{
	struct hm_buf raw;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok;

	hm_buf_init(&raw, 128);
	ok = ctx && hm_buf_unbase64(&raw, sig) && raw.len == 64 &&
	     EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, s->pub) == 1 &&
	     EVP_DigestVerify(ctx, (const unsigned char *)raw.p, 64, (const unsigned char *)content.p,
			      content.len) == 1;
	hm_buf_fini(&raw);
	EVP_MD_CTX_free(ctx);
	return ok;
}

static bool verify(struct hm_str name, struct hm_str content, struct hm_str list, bool *known_r)
{
	struct hm_str one;

	*known_r = false;
	while (hm_str_split(&list, ' ', &one)) {
		bool v1 = hm_str_starts(one, HM_STR("v1,")), v1a = hm_str_starts(one, HM_STR("v1a,"));
		struct hm_str sig = v1	  ? hm_str_n(one.p + 3, one.len - 3)
				    : v1a ? hm_str_n(one.p + 4, one.len - 4)
					  : one;

		for (size_t i = 0; i < n_secrets; i++) {
			const struct secret *s = &secrets[i];

			if (s->name.len && !hm_str_eq(s->name, name))
				continue;
			*known_r = true;
			if ((v1 && !s->pub && sig_v1(s, content, sig)) ||
			    (v1a && s->pub && sig_v1a(s, content, sig)))
				return true;
		}
	}
	return false;
}

/* NULL or why the request is not authentic. */
static const char *check(struct sink_req *r, struct sink_worker *w)
{
	struct hm_str id = req_header(r, "webhook-id"), ts = req_header(r, "webhook-timestamp");
	struct hm_str sig = req_header(r, "webhook-signature"), body = req_body(r);
	struct hm_buf *b = &w->scratch;
	size_t at = b->len;
	uint64_t when, now = w->now_ms / 1000, off;
	bool known;

	if (id.len == 0 || ts.len == 0 || sig.len == 0)
		return "webhook-id, webhook-timestamp or webhook-signature is missing";
	if (!hm_str_u64(ts, &when))
		return "webhook-timestamp is not a Unix time";
	off = when > now ? when - now : now - when;
	if (off * 1000 > options->webhook_tolerance)
		return "webhook-timestamp is outside the tolerance";
	if (n_secrets == 0)
		return NULL;
	hm_buf_puts(b, id);
	hm_buf_putc(b, '.');
	hm_buf_puts(b, ts);
	hm_buf_putc(b, '.');
	hm_buf_puts(b, body);
	if (b->err)
		return "the body is too large to check";
	if (verify(r->target, hm_str_n(b->p + at, b->len - at), sig, &known))
		return NULL;
	return known ? "webhook-signature does not match" : "there is no secret for this hook";
}

static void error(struct sink_req *r, int status)
{
	hm_buf_reset(&r->out);
	hm_buf_printf(&r->out, "{\"error\":\"status %d\"}", status);
	reply_out(r, status, TYPE_JSON);
}

static void handle(struct sink_req *r, struct sink_worker *w, const struct sink_special *sp,
		   struct sink_ids *list)
{
	const char *bad;
	uint64_t status;

	if (!hm_str_is(req_method(r), "POST")) {
		error(r, 405);
		return;
	}
	bad = check(r, w);
	if (bad) {
		hm_buf_printf(&r->out, "{\"error\":\"%s\"}", bad);
		reply_out(r, 401, TYPE_JSON);
		return;
	}
	if (!options->no_special && hm_str_starts(r->target, HM_STR("status-")) && r->target.len >= 10 &&
	    hm_str_u64(hm_str_n(r->target.p + 7, 3), &status) && status >= 200 && status < 600) {
		error(r, (int)status);
		if (status == 429 || status == 503)
			reply_header(r, HM_STR("retry-after"), HM_STR("1"));
		if (status >= 300 && status < 400)
			reply_header(r, HM_STR("location"), HM_STR("/hook/elsewhere"));
		r->reply.accepted = status < 300;
		return;
	}
	reply_static(r, 200, TYPE_JSON, HM_STR("{\"ok\":true}"));
	r->reply.accepted = true;
}

const struct sink_profile sink_webhook = {
	.name = "webhook",
	.what = "Standard Webhooks: POST /hook/<name>, signature and timestamp checked; id = webhook-id",
	.target = "hook name",
	.init = init,
	.fini = fini,
	.match = match,
	.ids = ids,
	.handle = handle,
	.error = error,
};
