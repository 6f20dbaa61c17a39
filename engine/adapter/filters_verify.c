/*
 * filters_verify.c - filters for what providers send: comparing, verifying, decrypting
 *
 * What does not decrypt is none, what does not verify is false: bad input from the network is no failure of the file.
 */
#include <openssl/rand.h>

#include "adapter/expr.h"

static struct hm_str arg(struct hm_eval *ev, const struct hm_expr *e, uint32_t i)
{
	struct hm_val v = hm_eval(ev, e->a[i]);

	return hm_val_text(&v, ev->a);
}

static struct hm_val same(struct hm_eval *ev, const struct hm_expr *e, struct hm_str s)
{
	struct hm_str x = arg(ev, e, 1);

	return hm_val_bool(ev->rc == 0 && hm_same_secret(s, x));
}

static struct hm_val verified(struct hm_eval *ev, const struct hm_expr *e, struct hm_str s)
{
	struct hm_str name = arg(ev, e, 1), sig = arg(ev, e, 3);
	enum hm_sig_alg alg = hm_sig_alg_find(name);
	struct hm_val key = hm_eval(ev, e->a[2]);

	if (alg == HM_SIG_NONE || alg == HM_SIG_HS256)
		return hm_eval_fail(ev, HM_EINVAL,
				    "verify knows RS256, RS1, PS256, ES256 and EdDSA, not \"%.*s\"",
				    HM_STRF(name));
	if (ev->rc != 0)
		return HM_NONE;
	if (key.t == HM_V_KEY)
		return hm_val_bool(hm_verify_with(key.key, alg, s, sig));
	return hm_val_bool(hm_verify(hm_val_text(&key, ev->a), alg, s, sig));
}

static struct hm_val cbc(struct hm_eval *ev, const struct hm_expr *e, struct hm_str s, bool encrypt)
{
	struct hm_str key = arg(ev, e, 1), iv = arg(ev, e, 2);
	struct hm_val b = e->n > 3 ? hm_eval(ev, e->a[3]) : hm_val_int(16);
	struct hm_buf out;
	int64_t block;

	if (!hm_val_int_of(&b, &block) || block < 16 || block > 240 || block % 16 != 0)
		return hm_eval_fail(ev, HM_EINVAL, "aes_cbc: padding goes to 16, 32 ... bytes");
	if (ev->rc != 0)
		return HM_NONE;
	hm_buf_init_arena(&out, ev->a, HM_VAL_MAX_TEXT);
	if (!(encrypt ? hm_aes_cbc_encrypt : hm_aes_cbc_decrypt)(key, iv, (unsigned)block, s, &out))
		return HM_NONE;
	return hm_val_str(hm_buf_str(&out));
}

static struct hm_val gcm(struct hm_eval *ev, const struct hm_expr *e, struct hm_str s)
{
	struct hm_str key = arg(ev, e, 1), nonce = arg(ev, e, 2),
		      more = e->n > 3 ? arg(ev, e, 3) : HM_STR("");
	struct hm_buf out;

	if (ev->rc != 0)
		return HM_NONE;
	hm_buf_init_arena(&out, ev->a, HM_VAL_MAX_TEXT);
	return hm_aes_gcm_decrypt(key, nonce, more, s, &out) ? hm_val_str(hm_buf_str(&out)) : HM_NONE;
}

/* 16 random bytes, length of the text (4 bytes, big-endian), text, receiver: WeCom and DingTalk. */
static struct hm_val open_envelope(struct hm_eval *ev, const struct hm_expr *e, struct hm_str s)
{
	struct hm_str receiver = arg(ev, e, 1);
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n;

	if (ev->rc != 0 || s.len < 20)
		return HM_NONE;
	n = (size_t)p[16] << 24 | (size_t)p[17] << 16 | (size_t)p[18] << 8 | p[19];
	if (n > s.len - 20 || !hm_same_secret(hm_str_n(s.p + 20 + n, s.len - 20 - n), receiver))
		return HM_NONE;
	return hm_val_str(hm_str_n(s.p + 20, n));
}

static struct hm_val seal_envelope(struct hm_eval *ev, const struct hm_expr *e, struct hm_str s)
{
	struct hm_str receiver = arg(ev, e, 1);
	unsigned char head[20];
	struct hm_buf b;

	if (RAND_bytes(head, 16) != 1)
		return hm_eval_fail(ev, HM_EIO, "no random bytes");
	for (int i = 0; i < 4; i++)
		head[16 + i] = (unsigned char)(s.len >> (24 - 8 * i));
	hm_buf_init_arena(&b, ev->a, HM_VAL_MAX_TEXT);
	hm_buf_put(&b, head, sizeof(head));
	hm_buf_puts(&b, s);
	hm_buf_puts(&b, receiver);
	return b.err ? hm_eval_fail(ev, b.err, "a text grew over %u bytes", HM_VAL_MAX_TEXT)
		     : hm_val_str(hm_buf_str(&b));
}

static struct hm_val with_query(struct hm_eval *ev, const struct hm_expr *e, struct hm_str s)
{
	struct hm_str name = arg(ev, e, 1);
	struct hm_val v = hm_eval(ev, e->a[2]);
	struct hm_buf b;

	if (v.t == HM_V_NONE)
		return hm_val_str(s);
	hm_buf_init_arena(&b, ev->a, HM_VAL_MAX_TEXT);
	hm_buf_puts(&b, s);
	hm_buf_putc(&b, hm_str_chr(s, '?') >= 0 ? '&' : '?');
	hm_buf_percent(&b, name);
	hm_buf_putc(&b, '=');
	hm_buf_percent(&b, hm_val_text(&v, ev->a));
	return b.err ? hm_eval_fail(ev, b.err, "a text grew over %u bytes", HM_VAL_MAX_TEXT)
		     : hm_val_str(hm_buf_str(&b));
}

/* "https://host/path" -> "https://host:443/path" */
static struct hm_val with_port(struct hm_eval *ev, struct hm_str s)
{
	bool tls = hm_str_starts(s, HM_STR("https://"));
	size_t at = tls ? 8 : 7, end, colon;
	struct hm_buf b;

	if (!tls && !hm_str_starts(s, HM_STR("http://")))
		return hm_val_str(s);
	for (end = at; end < s.len && s.p[end] != '/' && s.p[end] != '?'; end++)
		;
	for (colon = end; colon > at && s.p[colon - 1] >= '0' && s.p[colon - 1] <= '9'; colon--)
		;
	if (colon > at && colon < end && s.p[colon - 1] == ':')
		return hm_val_str(s);
	hm_buf_init_arena(&b, ev->a, HM_VAL_MAX_TEXT);
	hm_buf_put(&b, s.p, end);
	hm_buf_puts(&b, tls ? HM_STR(":443") : HM_STR(":80"));
	hm_buf_put(&b, s.p + end, s.len - end);
	return b.err ? hm_eval_fail(ev, b.err, "a text grew over %u bytes", HM_VAL_MAX_TEXT)
		     : hm_val_str(hm_buf_str(&b));
}

struct hm_val hm_eval_verify(struct hm_eval *ev, const struct hm_expr *e, struct hm_str s)
{
	switch ((enum hm_fn)e->id) {
	case HM_FN_VERIFY: return verified(ev, e, s);
	case HM_FN_EQUALS: return same(ev, e, s);
	case HM_FN_AES_CBC_DECRYPT: return cbc(ev, e, s, false);
	case HM_FN_AES_CBC_ENCRYPT: return cbc(ev, e, s, true);
	case HM_FN_AES_GCM_DECRYPT: return gcm(ev, e, s);
	case HM_FN_ENVELOPE_OPEN: return open_envelope(ev, e, s);
	case HM_FN_ENVELOPE_SEAL: return seal_envelope(ev, e, s);
	case HM_FN_WITH_PORT: return with_port(ev, s);
	case HM_FN_WITH_QUERY: return with_query(ev, e, s);
	default: hm_unreachable();
	}
}
