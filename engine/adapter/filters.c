/*
 * filters.c - what may stand behind | in an expression (tbl_filters.h)
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "adapter/expr.h"
#include "adapter/jsonscan.h"
#include "adapter/texts.h"
#include "adapter/webpush.h"
#include "base/json.h"

static struct hm_val no_memory(struct hm_eval *ev)
{
	return hm_eval_fail(ev, HM_ENOMEM, "out of memory");
}

static struct hm_val buf_val(struct hm_eval *ev, const struct hm_buf *b)
{
	if (b->err)
		return hm_eval_fail(ev, b->err, "a text grew over %u bytes", HM_VAL_MAX_TEXT);
	return hm_val_str(hm_buf_str(b));
}

static struct hm_str arg_text(struct hm_eval *ev, const struct hm_expr *e, uint32_t i)
{
	struct hm_val v = hm_eval(ev, e->a[i]);

	return hm_val_text(&v, ev->a);
}

/* -- text ---------------------------------------------------------------------- */

static struct hm_val escaped(struct hm_eval *ev, struct hm_str s, hm_escape_fn fn)
{
	struct hm_buf b;

	hm_buf_init_arena(&b, ev->a, HM_VAL_MAX_TEXT);
	fn(&b, s);
	return buf_val(ev, &b);
}

static void put_hex(struct hm_buf *b, struct hm_str s)
{
	hm_buf_hex(b, s.p, s.len);
}
static void put_base64(struct hm_buf *b, struct hm_str s)
{
	hm_buf_base64(b, s.p, s.len);
}
static void put_base64url(struct hm_buf *b, struct hm_str s)
{
	hm_buf_base64url(b, s.p, s.len);
}

/* The last character of base64 holds more bits than there are bytes. Not everybody leaves them zero: WeCom's EncodingAESKey
 * is 43 random characters. */
static struct hm_str without_spare_bits(struct hm_eval *ev, struct hm_str s)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = s.len;
	unsigned spare, v;
	const char *at;
	char *p;

	while (n > 0 && s.p[n - 1] == '=')
		n--;
	spare = n % 4 == 2 ? 15 : n % 4 == 3 ? 3 : 0;
	if (spare == 0)
		return s;
	at = s.p[n - 1] == '-'	 ? digits + 62
	     : s.p[n - 1] == '_' ? digits + 63
				 : memchr(digits, s.p[n - 1], 64);
	v = at ? (unsigned)(at - digits) : 0;
	if ((v & spare) == 0 || (p = hm_arena_alloc(ev->a, s.len)) == NULL)
		return s;
	memcpy(p, s.p, s.len);
	p[n - 1] = digits[v & ~spare];
	return hm_str_n(p, s.len);
}

static struct hm_val decoded(struct hm_eval *ev, struct hm_str s, bool hex)
{
	struct hm_buf b;

	if (!hex)
		s = without_spare_bits(ev, s);
	hm_buf_init_arena(&b, ev->a, HM_VAL_MAX_TEXT);
	if (hex ? !hm_buf_unhex(&b, s) : !hm_buf_unbase64(&b, s))
		return hm_eval_fail(ev, HM_EINVAL, "expected %s", hex ? "hex digits" : "base64");
	return buf_val(ev, &b);
}

static struct hm_val mapped(struct hm_eval *ev, struct hm_str s, char (*fn)(char))
{
	char *p = hm_arena_alloc(ev->a, s.len + 1);

	if (p == NULL)
		return no_memory(ev);
	for (size_t i = 0; i < s.len; i++)
		p[i] = fn(s.p[i]);
	return hm_val_str(hm_str_n(p, s.len));
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}
static char upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c & ~0x20) : c;
}
static char oneline(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f ? ' ' : c;
}

static struct hm_val clean(struct hm_eval *ev, struct hm_str s)
{
	char *p;
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++)
		n += ((unsigned char)s.p[i] < 0x20 && s.p[i] != '\n' && s.p[i] != '\t') || s.p[i] == 0x7f;
	if (n == 0)
		return hm_val_str(s);
	p = hm_arena_alloc(ev->a, s.len);
	if (p == NULL)
		return no_memory(ev);
	n = 0;
	for (size_t i = 0; i < s.len; i++)
		if (((unsigned char)s.p[i] >= 0x20 && s.p[i] != 0x7f) || s.p[i] == '\n' || s.p[i] == '\t')
			p[n++] = s.p[i];
	return hm_val_str(hm_str_n(p, n));
}

/* RFC 2047 encoded words of at most 75 characters: 45 bytes each, never cutting a code point. */
static struct hm_val rfc2047(struct hm_eval *ev, struct hm_str s)
{
	struct hm_buf b;
	size_t i;

	for (i = 0; i < s.len && (unsigned char)s.p[i] >= 0x20 && (unsigned char)s.p[i] < 0x7f; i++)
		;
	if (i == s.len)
		return hm_val_str(s);
	hm_buf_init_arena(&b, ev->a, HM_VAL_MAX_TEXT);
	while (s.len) {
		size_t n = hm_utf8_cut(s, 45);

		if (n == 0)
			n = hm_min(s.len, 45u);
		if (b.len)
			hm_buf_putc(&b, ' ');
		hm_buf_lit(&b, "=?UTF-8?B?");
		hm_buf_base64(&b, s.p, n);
		hm_buf_lit(&b, "?=");
		s.p += n;
		s.len -= n;
	}
	return buf_val(ev, &b);
}

static struct hm_val cut(struct hm_eval *ev, const struct hm_expr *e, struct hm_str s)
{
	struct hm_val max = hm_eval(ev, e->a[1]);
	int unit = e->n > 2 ? hm_unit_find(arg_text(ev, e, 2)) : HM_UNIT_BYTES;
	struct hm_str mark = e->n > 3 ? arg_text(ev, e, 3) : HM_STR("");
	int64_t n;

	if (unit < 0 || !hm_val_int_of(&max, &n) || n < 0)
		return hm_eval_fail(ev, HM_EINVAL, "cut(N, 'bytes'|'chars'|'utf16'|'segments', mark)");
	return hm_val_str(hm_cut(s, (size_t)n, (enum hm_unit)unit, mark, ev->a));
}

static struct hm_val replace(struct hm_eval *ev, const struct hm_expr *e, struct hm_str s)
{
	struct hm_str from = arg_text(ev, e, 1), to = arg_text(ev, e, 2);
	struct hm_buf b;
	ptrdiff_t at;

	if (from.len == 0 || hm_str_find(s, from) < 0)
		return hm_val_str(s);
	hm_buf_init_arena(&b, ev->a, HM_VAL_MAX_TEXT);
	while ((at = hm_str_find(s, from)) >= 0) {
		hm_buf_put(&b, s.p, (size_t)at);
		hm_buf_puts(&b, to);
		s.p += (size_t)at + from.len;
		s.len -= (size_t)at + from.len;
	}
	hm_buf_puts(&b, s);
	return buf_val(ev, &b);
}

static bool contains(struct hm_str s, struct hm_str what)
{
	for (size_t i = 0; what.len <= s.len && i <= s.len - what.len; i++)
		if (hm_str_ieq(hm_str_n(s.p + i, what.len), what))
			return true;
	return false;
}

bool hm_contains(struct hm_str s, struct hm_str what)
{
	return contains(s, what);
}

static struct hm_val with_prefix(struct hm_eval *ev, struct hm_str s, struct hm_str prefix)
{
	char *p;

	if (hm_str_starts(s, prefix))
		return hm_val_str(s);
	p = hm_arena_alloc(ev->a, s.len + prefix.len + 1);
	if (p == NULL)
		return no_memory(ev);
	memcpy(p, prefix.p, prefix.len);
	if (s.len)
		memcpy(p + prefix.len, s.p, s.len);
	return hm_val_str(hm_str_n(p, s.len + prefix.len));
}

static struct hm_val as_uuid(struct hm_eval *ev, struct hm_str s)
{
	static const uint8_t groups[] = {8, 4, 4, 4, 12};
	char *p = hm_arena_alloc(ev->a, 36);
	size_t o = 0, i = 0;

	if (s.len != 32)
		return hm_eval_fail(ev, HM_EINVAL, "as_uuid expects 32 hex digits");
	if (p == NULL)
		return no_memory(ev);
	for (size_t g = 0; g < hm_countof(groups); g++) {
		if (g)
			p[o++] = '-';
		memcpy(p + o, s.p + i, groups[g]);
		o += groups[g];
		i += groups[g];
	}
	return hm_val_str(hm_str_n(p, 36));
}

bool hm_parse_offset(struct hm_str s, int *seconds_r)
{
	if (hm_str_is(s, "Z") || s.len == 0) {
		*seconds_r = 0;
		return true;
	}
	if (s.len != 6 || (s.p[0] != '+' && s.p[0] != '-') || s.p[3] != ':')
		return false;
	for (size_t i = 1; i < 6; i++)
		if (i != 3 && (s.p[i] < '0' || s.p[i] > '9'))
			return false;
	*seconds_r = ((s.p[1] - '0') * 10 + (s.p[2] - '0')) * 3600 +
		     ((s.p[4] - '0') * 10 + (s.p[5] - '0')) * 60;
	if (s.p[0] == '-')
		*seconds_r = -*seconds_r;
	return true;
}

struct hm_val hm_time_text(struct hm_eval *ev, struct hm_str pattern, struct hm_str zone, int64_t ms)
{
	char fmt[96], out[160];
	int64_t s = ms >= 0 ? ms / 1000 : -((-ms + 999) / 1000);
	struct tm tm;
	time_t when;
	int offset = 0;
	size_t n = 0;

	if (!hm_parse_offset(zone, &offset))
		return hm_eval_fail(ev, HM_EINVAL, "time: an offset is written '+08:00'");
	if (s < -62135596800 || s > 253402300799 || pattern.len > 80)
		return hm_eval_fail(ev, HM_EINVAL,
				    "time expects a moment between the years 1 and 9999 and a pattern");
	for (size_t i = 0; i < pattern.len && n + 4 < sizeof(fmt); i++) {
		if (pattern.p[i] != '%' || i + 1 >= pattern.len) {
			fmt[n++] = pattern.p[i];
		} else if (pattern.p[++i] == 'L') {
			n += (size_t)snprintf(fmt + n, sizeof(fmt) - n, "%03d", (int)(ms - s * 1000));
		} else {
			fmt[n++] = '%';
			fmt[n++] = pattern.p[i];
		}
	}
	fmt[n] = '\0';
	when = (time_t)(s + offset);
	if (gmtime_r(&when, &tm) == NULL)
		return HM_NONE;
	n = strftime(out, sizeof(out), fmt, &tm);
	return hm_val_str(hm_arena_str(ev->a, hm_str_n(out, n)));
}

/* Providers that want a number where everybody else takes a name: notification ids, groups. */
static struct hm_val number(struct hm_eval *ev, const struct hm_expr *e, struct hm_str s)
{
	struct hm_val max = hm_eval(ev, e->a[1]);
	int64_t n, i;

	if (!hm_val_int_of(&max, &n) || n < 1)
		return hm_eval_fail(ev, HM_EINVAL, "number(N) expects a number, 1 at least");
	if (s.len == 0)
		return HM_NONE;
	if (hm_str_i64(s, &i) && i >= 1 && i <= n)
		return hm_val_int(i);
	return hm_val_int(1 + (int64_t)(hm_hash64(s.p, s.len, 0) % (uint64_t)n));
}

static struct hm_val time_text(struct hm_eval *ev, const struct hm_expr *e, const struct hm_val *in)
{
	bool ms = e->id == HM_FN_TIME_MS;
	struct hm_str pattern = arg_text(ev, e, 1), zone = e->n > 2 ? arg_text(ev, e, 2) : HM_STR("");
	int64_t t;

	if (!hm_val_int_of(in, &t) || (!ms && (t > INT64_MAX / 1000 || t < INT64_MIN / 1000)))
		return hm_eval_fail(ev, HM_EINVAL, "time expects a Unix second and a pattern");
	return hm_time_text(ev, pattern, zone, ms ? t : t * 1000);
}

/* -- digests -------------------------------------------------------------------- */

static struct hm_val bytes(struct hm_eval *ev, const uint8_t *p, size_t n)
{
	struct hm_str s = n ? hm_arena_str(ev->a, hm_str_n((const char *)p, n)) : HM_STR_NULL;

	return s.p ? hm_val_str(s) : hm_eval_fail(ev, HM_EINVAL, "the digest is not available");
}

static struct hm_val digest(struct hm_eval *ev, enum hm_md md, struct hm_str s)
{
	uint8_t out[HM_MD_MAX];

	return bytes(ev, out, hm_digest(md, s, out));
}

static struct hm_val hmac(struct hm_eval *ev, const struct hm_expr *e, enum hm_md md, struct hm_str s)
{
	struct hm_str key = arg_text(ev, e, 1);
	uint8_t out[HM_MD_MAX];

	if (ev->cb != NULL && key.len == 0) /* anybody can sign with that */
		return hm_eval_fail(ev, HM_EPERM, "the key of the signature is empty");
	return bytes(ev, out, hm_hmac(md, key, e->cache_id, s, out));
}

static struct hm_val sign(struct hm_eval *ev, const struct hm_expr *e, struct hm_str s)
{
	struct hm_str name = arg_text(ev, e, 1);
	enum hm_sig_alg alg = hm_sig_alg_find(name);
	struct hm_val key = hm_eval(ev, e->a[2]);
	struct hm_key *own = NULL;
	struct hm_buf b;
	int rc = 0;

	if (alg == HM_SIG_NONE || alg == HM_SIG_HS256)
		return hm_eval_fail(ev, HM_EINVAL,
				    "sign knows RS256, RS1, PS256, ES256 and EdDSA, not \"%.*s\"",
				    HM_STRF(name));
	/* Sections that answer calls are not folded: there the key is made anew, calls are few beside messages. */
	if (key.t == HM_V_STR && ev->cb != NULL) {
		if (alg == HM_SIG_EDDSA && key.s.len == 32)
			rc = hm_key_ed25519(key.s, &own, ev->err);
		else
			rc = hm_key_parse(key.s, "key", &own, ev->err);
		key = (struct hm_val){.t = HM_V_KEY, .key = own};
	}
	if (key.t != HM_V_KEY)
		return hm_eval_fail(ev, HM_EINVAL, "sign needs a private key");
	hm_buf_init_arena(&b, ev->a, 2048);
	if (rc == 0)
		rc = hm_sign(key.key, alg, s, &b, ev->err);
	if (own != NULL)
		hm_key_free(own);
	if (rc != 0) {
		ev->rc = ev->rc ? ev->rc : HM_EINVAL;
		return HM_NONE;
	}
	return buf_val(ev, &b);
}

static struct hm_str unbase64_arg(struct hm_eval *ev, const struct hm_expr *e, uint32_t i)
{
	struct hm_val v = e->n > i ? decoded(ev, arg_text(ev, e, i), false) : HM_NONE;

	return v.t == HM_V_STR ? v.s : HM_STR("");
}

/* A request that is made for show has a given nonce: then key and salt come from it, so that it is the same each time. */
static struct hm_val webpush(struct hm_eval *ev, const struct hm_expr *e, struct hm_str s)
{
	struct hm_str p256dh = unbase64_arg(ev, e, 1), auth = unbase64_arg(ev, e, 2);
	struct hm_str salt = unbase64_arg(ev, e, 3), scalar = unbase64_arg(ev, e, 4);
	uint8_t seed[HM_MD_MAX];
	struct hm_buf b;

	if (ev->rc) {
		hm_err_field(ev->err, "to"); /* the keys are the recipient's */
		return HM_NONE;
	}
	if (scalar.len == 0 && ev->in && ev->in->nonce.len && hm_digest(HM_MD_SHA512, ev->in->nonce, seed)) {
		scalar = hm_arena_str(ev->a, hm_str_n((const char *)seed, HM_WEBPUSH_SCALAR));
		salt = hm_arena_str(ev->a, hm_str_n((const char *)seed + HM_WEBPUSH_SCALAR, HM_ECE_SALT));
	}
	hm_buf_init_arena(&b, ev->a, HM_VAL_MAX_TEXT);
	if (hm_webpush_encrypt(p256dh, auth, salt, scalar, s, &b, ev->err) != 0) {
		ev->rc = ev->rc ? ev->rc : HM_EINVAL;
		hm_err_field(ev->err, s.len > HM_WEBPUSH_MAX ? "body" : "to");
		return HM_NONE;
	}
	return buf_val(ev, &b);
}

static struct hm_val vapid(struct hm_eval *ev, const struct hm_expr *e, struct hm_str url)
{
	struct hm_val key = hm_eval(ev, e->a[1]);
	struct hm_buf b;

	if (key.t != HM_V_KEY)
		return hm_eval_fail(ev, HM_EINVAL, "vapid needs a private key");
	hm_buf_init_arena(&b, ev->a, 4096);
	if (hm_vapid(key.key, url, e->n > 2 ? arg_text(ev, e, 2) : HM_STR(""), ev->wall_ms / 1000, &b,
		     ev->err) != 0) {
		ev->rc = ev->rc ? ev->rc : HM_EINVAL;
		return HM_NONE;
	}
	return buf_val(ev, &b);
}

/* -- containers ------------------------------------------------------------------ */

static struct hm_val split(struct hm_eval *ev, struct hm_str s, struct hm_str sep)
{
	struct hm_val *v;
	uint32_t n = 0;
	size_t count = 1;

	if (s.len == 0)
		return (struct hm_val){.t = HM_V_LIST};
	if (sep.len != 1)
		return hm_eval_fail(ev, HM_EINVAL, "split expects one character");
	for (size_t i = 0; i < s.len; i++)
		count += s.p[i] == sep.p[0];
	v = hm_arena_alloc(ev->a, count * sizeof(*v));
	if (v == NULL)
		return no_memory(ev);
	for (;;) {
		ptrdiff_t at = hm_str_chr(s, sep.p[0]);

		v[n++] = hm_val_str(at < 0 ? s : hm_str_n(s.p, (size_t)at));
		if (at < 0)
			break;
		s.p += at + 1;
		s.len -= (size_t)at + 1;
	}
	return (struct hm_val){.t = HM_V_LIST, .n = n, .list = v};
}

static struct hm_val join(struct hm_eval *ev, const struct hm_val *in, struct hm_str sep)
{
	struct hm_buf b;
	size_t n = hm_val_len(in);

	hm_buf_init_arena(&b, ev->a, HM_VAL_MAX_TEXT);
	for (size_t i = 0; i < n; i++) {
		struct hm_val el = hm_val_at(in, i, NULL, ev->a);

		if (i)
			hm_buf_puts(&b, sep);
		hm_val_put(&el, &b, ev->a);
	}
	return buf_val(ev, &b);
}

static struct hm_val string_values(struct hm_eval *ev, const struct hm_val *in)
{
	size_t n = hm_val_len(in);
	struct hm_pair *p = hm_arena_alloc(ev->a, n * sizeof(*p) + 1);

	if (p == NULL)
		return no_memory(ev);
	for (size_t i = 0; i < n; i++) {
		struct hm_val v = hm_val_at(in, i, &p[i].name, ev->a);

		p[i].v = hm_val_str(hm_val_text(&v, ev->a));
	}
	return (struct hm_val){.t = HM_V_MAP, .n = (uint32_t)n, .map = p};
}

static struct hm_val names_or_values(struct hm_eval *ev, const struct hm_val *in, bool names)
{
	size_t n = hm_val_len(in);
	struct hm_val *v = hm_arena_alloc(ev->a, n * sizeof(*v) + 1);
	struct hm_str key;

	if (v == NULL)
		return no_memory(ev);
	for (size_t i = 0; i < n; i++) {
		v[i] = hm_val_at(in, i, &key, ev->a);
		if (names)
			v[i] = hm_val_str(key);
	}
	return (struct hm_val){.t = HM_V_LIST, .n = (uint32_t)n, .list = v};
}

static int by_value(const void *a, const void *b)
{
	const struct hm_val *x = a, *y = b;

	/* By their bytes, also those that look like numbers: what is signed is sorted so. */
	return x->t == HM_V_STR && y->t == HM_V_STR ? hm_str_cmp(x->s, y->s) : hm_val_cmp(x, y);
}

static int by_name(const void *a, const void *b)
{
	const struct hm_pair *x = a, *y = b;
	int d = hm_str_cmp(x->name, y->name);

	return d != 0 ? d : by_value(&x->v, &y->v);
}

static struct hm_val sorted(struct hm_eval *ev, const struct hm_val *in)
{
	size_t size = in->t == HM_V_MAP ? sizeof(struct hm_pair) : sizeof(struct hm_val);
	struct hm_val r = *in;
	void *copy;

	if (in->t != HM_V_MAP && in->t != HM_V_LIST)
		return hm_eval_fail(ev, HM_EINVAL, "sort expects pairs or a list");
	copy = hm_arena_alloc(ev->a, in->n * size + 1);
	if (copy == NULL)
		return no_memory(ev);
	if (in->n) {
		memcpy(copy, in->t == HM_V_MAP ? (const void *)in->map : (const void *)in->list,
		       in->n * size);
		qsort(copy, in->n, size, in->t == HM_V_MAP ? by_name : by_value);
	}
	if (in->t == HM_V_MAP)
		r.map = copy;
	else
		r.list = copy;
	return r;
}

/* Of equal ones the first; quadratic, so that there is a limit. */
#define DISTINCT_MAX 1000
static struct hm_val distinct(struct hm_eval *ev, const struct hm_val *in)
{
	size_t n = hm_val_len(in);
	struct hm_pair *p = hm_arena_alloc(ev->a, n * sizeof(*p) + 1);
	struct hm_val *v = hm_arena_alloc(ev->a, n * sizeof(*v) + 1);
	uint32_t m = 0, k;

	if (p == NULL || v == NULL)
		return no_memory(ev);
	if (n > DISTINCT_MAX)
		return hm_eval_fail(ev, HM_ELIMIT, "distinct: more than %d elements", DISTINCT_MAX);
	for (size_t i = 0; i < n; i++) {
		p[m].v = v[m] = hm_val_at(in, i, &p[m].name, ev->a);
		for (k = 0; k < m && !(hm_str_eq(p[k].name, p[m].name) && hm_val_eq(&v[k], &v[m])); k++)
			;
		m += k == m;
	}
	if (in->t == HM_V_MAP)
		return (struct hm_val){.t = HM_V_MAP, .n = m, .map = p};
	return (struct hm_val){.t = HM_V_LIST, .n = m, .list = v};
}

struct flat {
	struct hm_val *v;
	uint32_t n, cap;
};

static bool is_list(const struct hm_val *v)
{
	return v->t == HM_V_LIST || (v->t == HM_V_JSON && v->s.len > 0 && v->s.p[0] == '[') ||
	       (v->t == HM_V_OBJ && v->o->type == MSGPACK_OBJECT_ARRAY);
}

static bool flatten(struct hm_eval *ev, const struct hm_val *in, struct flat *f, int depth)
{
	struct hm_json_iter it;
	struct hm_str key, piece;
	struct hm_val el;

	if (!is_list(in) || depth > 8) {
		if (f->n == f->cap) {
			uint32_t cap = f->cap ? f->cap * 2 : 64;
			struct hm_val *more = hm_arena_alloc(ev->a, cap * sizeof(*more));

			if (more == NULL || ev->steps + cap > HM_EVAL_MAX_STEPS)
				return false;
			if (f->n)
				memcpy(more, f->v, f->n * sizeof(*more));
			f->v = more;
			f->cap = cap;
		}
		f->v[f->n++] = *in;
		return true;
	}
	if (in->t == HM_V_JSON && hm_json_iter(in->s, &it)) {
		while (hm_json_next(&it, &key, &piece)) {
			el = hm_val_of_json(piece, ev->a);
			if (el.t != HM_V_NONE && !flatten(ev, &el, f, depth + 1))
				return false;
		}
		return true;
	}
	for (size_t i = 0, n = hm_val_len(in); i < n; i++) {
		el = hm_val_at(in, i, NULL, ev->a);
		if (el.t != HM_V_NONE && !flatten(ev, &el, f, depth + 1))
			return false;
	}
	return true;
}

static struct hm_val flat(struct hm_eval *ev, const struct hm_val *in)
{
	struct flat f = {0};

	if (!flatten(ev, in, &f, 0))
		return no_memory(ev);
	ev->steps += f.n;
	return (struct hm_val){.t = HM_V_LIST, .n = f.n, .list = f.v};
}

/* Pairs whose name is (or is not) among the arguments. */
static struct hm_val chosen(struct hm_eval *ev, const struct hm_expr *e, const struct hm_val *in, bool keep)
{
	struct hm_pair *p = hm_arena_alloc(ev->a, in->n * sizeof(*p) + 1);
	uint32_t n = 0;

	if (in->t != HM_V_MAP)
		return hm_eval_fail(ev, HM_EINVAL, "%s expects pairs", hm_fn_name((enum hm_fn)e->id));
	if (p == NULL)
		return no_memory(ev);
	for (uint32_t i = 0; i < in->n; i++) {
		bool named = false;

		for (uint32_t k = 1; k < e->n; k++)
			named = named || hm_str_eq(in->map[i].name, arg_text(ev, e, k));
		if (named == keep)
			p[n++] = in->map[i];
	}
	return (struct hm_val){.t = HM_V_MAP, .n = n, .map = p};
}

/* The members of `in` with one more; a member of that name gets the value where it stands. */
static struct hm_val with(struct hm_eval *ev, const struct hm_expr *e, const struct hm_val *in)
{
	struct hm_val value = hm_eval(ev, e->a[2]);
	struct hm_str name = arg_text(ev, e, 1);
	size_t n = hm_val_len(in);
	struct hm_pair *p = hm_arena_alloc(ev->a, (n + 1) * sizeof(*p));
	bool there = name.len == 0 || value.t == HM_V_NONE;

	if (in->t == HM_V_STR || in->t == HM_V_LIST)
		return hm_eval_fail(ev, HM_EINVAL, "with expects a map");
	if (p == NULL)
		return no_memory(ev);
	for (size_t i = 0; i < n; i++) {
		p[i].v = hm_val_at(in, i, &p[i].name, ev->a);
		if (!there && hm_str_eq(p[i].name, name)) {
			p[i].v = value;
			there = true;
		}
	}
	if (!there)
		p[n++] = (struct hm_pair){name, value};
	return (struct hm_val){.t = HM_V_MAP, .n = (uint32_t)n, .map = p};
}

static struct hm_val nonempty(struct hm_eval *ev, const struct hm_val *in)
{
	size_t n = hm_val_len(in);
	struct hm_pair *p = hm_arena_alloc(ev->a, n * sizeof(*p) + 1);
	struct hm_val *v = hm_arena_alloc(ev->a, n * sizeof(*v) + 1);
	uint32_t m = 0;

	if (p == NULL || v == NULL)
		return no_memory(ev);
	for (size_t i = 0; i < n; i++) {
		p[m].v = v[m] = hm_val_at(in, i, &p[m].name, ev->a);
		m += v[m].t != HM_V_NONE && !(v[m].t == HM_V_STR && v[m].s.len == 0);
	}
	if (in->t == HM_V_LIST)
		return (struct hm_val){.t = HM_V_LIST, .n = m, .list = v};
	return (struct hm_val){.t = HM_V_MAP, .n = m, .map = p};
}

static struct hm_val pairs(struct hm_eval *ev, const struct hm_expr *e, const struct hm_val *in)
{
	struct hm_str eq = arg_text(ev, e, 1), sep = arg_text(ev, e, 2), how = HM_STR("");
	size_t n = hm_val_len(in);
	struct hm_buf b;

	if (e->n > 3)
		how = arg_text(ev, e, 3);
	hm_buf_init_arena(&b, ev->a, HM_VAL_MAX_TEXT);
	for (size_t i = 0; i < n; i++) {
		struct hm_str name, text;
		struct hm_val v = hm_val_at(in, i, &name, ev->a);

		text = hm_val_text(&v, ev->a);
		if (i)
			hm_buf_puts(&b, sep);
		if (hm_str_is(how, "url"))
			hm_buf_percent(&b, name);
		else if (hm_str_is(how, "form"))
			hm_buf_form(&b, name);
		else
			hm_buf_puts(&b, name);
		hm_buf_puts(&b, eq);
		if (hm_str_is(how, "url"))
			hm_buf_percent(&b, text);
		else if (hm_str_is(how, "form"))
			hm_buf_form(&b, text);
		else
			hm_buf_puts(&b, text);
	}
	return buf_val(ev, &b);
}

static struct hm_val lambda(struct hm_eval *ev, const struct hm_expr *e, const struct hm_val *in)
{
	const struct hm_val *it = ev->it;
	struct hm_str key = ev->key;
	uint32_t index = ev->index, m = 0;
	bool was_const = ev->it_const, any = false, every = true;
	size_t n = hm_val_len(in);
	struct hm_val *out = NULL, r;

	if (e->id == HM_FN_MAP || e->id == HM_FN_FILTER) {
		out = hm_arena_alloc(ev->a, n * sizeof(*out) + 1);
		if (out == NULL)
			return no_memory(ev);
	}
	ev->it_const = false;
	for (size_t i = 0; i < n && ev->rc == 0; i++) {
		struct hm_val el = hm_val_at(in, i, &ev->key, ev->a);
		bool yes;

		if (ev->steps++ >= HM_EVAL_MAX_STEPS) {
			hm_eval_fail(ev, HM_ELIMIT, "an expression of the adapter takes too long");
			break;
		}

		ev->it = &el;
		ev->index = (uint32_t)i;
		r = hm_eval(ev, e->a[1]);
		yes = hm_val_true(&r);
		any = any || yes;
		every = every && yes;
		if (e->id == HM_FN_MAP && r.t != HM_V_NONE)
			out[m++] = r;
		else if (e->id == HM_FN_FILTER && yes)
			out[m++] = el;
	}
	ev->it = it;
	ev->key = key;
	ev->index = index;
	ev->it_const = was_const;
	if (e->id == HM_FN_ANY)
		return hm_val_bool(any);
	if (e->id == HM_FN_EVERY)
		return hm_val_bool(n > 0 && every);
	return (struct hm_val){.t = HM_V_LIST, .n = m, .list = out};
}

/* -- dispatch --------------------------------------------------------------------- */

/* Those that say something about a missing value too. */
static struct hm_val of_none(struct hm_eval *ev, const struct hm_expr *e)
{
	switch ((enum hm_fn)e->id) {
	case HM_FN_STARTS:
	case HM_FN_ENDS:
	case HM_FN_CONTAINS:
	case HM_FN_BOOL:
	case HM_FN_MATCHES:
	case HM_FN_VERIFY:
	case HM_FN_EQUALS:
	case HM_FN_ANY:
	case HM_FN_EVERY: return hm_val_bool(false);
	case HM_FN_IS_GSM: return hm_val_bool(true);
	case HM_FN_CONCAT: return hm_eval_filter_more(ev, e, HM_NONE);
	case HM_FN_LEN:
	case HM_FN_CHARS: return hm_val_int(0);
	case HM_FN_WITH: {
		struct hm_val none = {.t = HM_V_MAP};

		return with(ev, e, &none);
	}
	case HM_FN_REQUIRE: {
		struct hm_str what = arg_text(ev, e, 1);

		return hm_eval_fail(ev, HM_EINVAL, "%.*s is missing", HM_STRF(what));
	}
	default: return HM_NONE;
	}
}

/* An option is what people write; they are told which. */
static struct hm_val not_whole(struct hm_eval *ev, const struct hm_expr *e, const struct hm_val *in)
{
	struct hm_str s = hm_val_text(in, ev->a), option = HM_STR("");
	char field[64];
	const struct hm_expr *from = e->a[0];
	bool first = ev->rc == 0;

	while (from->op == HM_EX_COALESCE || (from->op == HM_EX_LET && from->id < ev->n_lets))
		from = from->op == HM_EX_LET ? ev->let[from->id] : from->a[0];
	if (from->op == HM_EX_OPTION && ev->in != NULL)
		option = ev->in->channel->ad->names.options[from->id];
	(void)snprintf(field, sizeof(field), "%s%.*s", option.len ? "options." : "", HM_STRF(option));
	s = hm_cut(s, 60, HM_UNIT_BYTES, HM_STR("\xe2\x80\xa6"), ev->a);
	hm_eval_fail(ev, HM_EINVAL, "%s%s\"%.*s\" is not a whole number", field, option.len ? ": " : "",
		     HM_STRF(s));
	if (first && option.len)
		hm_err_field(ev->err, field);
	return HM_NONE;
}

struct hm_val hm_eval_filter(struct hm_eval *ev, const struct hm_expr *e)
{
	struct hm_val in = hm_eval(ev, e->a[0]);
	struct hm_str s;
	int64_t i;

	if (in.t == HM_V_NONE)
		return of_none(ev, e);
	switch ((enum hm_fn)e->id) { /* those that look at more than text */
	case HM_FN_INT:
		if (!hm_val_int_of(&in, &i))
			return not_whole(ev, e, &in);
		return hm_val_int(i);
	case HM_FN_BOOL:
		if (in.t == HM_V_STR && (hm_str_is(in.s, "false") || hm_str_is(in.s, "0")))
			return hm_val_bool(false);
		return hm_val_bool(hm_val_true(&in));
	case HM_FN_JOIN: return join(ev, &in, arg_text(ev, e, 1));
	case HM_FN_FIRST: return hm_val_at(&in, 0, NULL, ev->a);
	case HM_FN_LAST: {
		size_t n = hm_val_len(&in);

		return n ? hm_val_at(&in, n - 1, NULL, ev->a) : HM_NONE;
	}
	case HM_FN_LEN: return hm_val_int(in.t == HM_V_STR ? (int64_t)in.s.len : (int64_t)hm_val_len(&in));
	case HM_FN_STRING_VALUES: return string_values(ev, &in);
	case HM_FN_VALUES: return names_or_values(ev, &in, false);
	case HM_FN_KEYS: return names_or_values(ev, &in, true);
	case HM_FN_TIME:
	case HM_FN_TIME_MS: return time_text(ev, e, &in);
	case HM_FN_SORT: return sorted(ev, &in);
	case HM_FN_DISTINCT: return distinct(ev, &in);
	case HM_FN_FLAT: return flat(ev, &in);
	case HM_FN_WITHOUT: return chosen(ev, e, &in, false);
	case HM_FN_ONLY: return chosen(ev, e, &in, true);
	case HM_FN_WITH: return with(ev, e, &in);
	case HM_FN_NONEMPTY: return nonempty(ev, &in);
	case HM_FN_PAIRS: return pairs(ev, e, &in);
	case HM_FN_MAP:
	case HM_FN_FILTER:
	case HM_FN_ANY:
	case HM_FN_EVERY: return lambda(ev, e, &in);
	case HM_FN_REQUIRE:
		return hm_val_true(&in) || in.t == HM_V_INT || in.t == HM_V_BOOL ? in : of_none(ev, e);
	case HM_FN_JSON: {
		struct hm_buf b;

		hm_buf_init_arena(&b, ev->a, HM_VAL_MAX_TEXT);
		hm_val_json(&in, &b);
		return buf_val(ev, &b);
	}
	default: break;
	}
	s = hm_val_text(&in, ev->a);
	switch ((enum hm_fn)e->id) {
	case HM_FN_FROM_JSON: return hm_json_check(s) ? hm_val_of_json(s, ev->a) : HM_NONE;
	case HM_FN_PCT: return escaped(ev, s, hm_buf_percent);
	case HM_FN_FORM: return escaped(ev, s, hm_buf_form);
	case HM_FN_XML: return escaped(ev, s, hm_buf_xml);
	case HM_FN_HTML: return escaped(ev, s, hm_buf_html);
	case HM_FN_ESCAPE: return hm_texts_write(ev, s, false, HM_STR(""));
	case HM_FN_BOLD: return hm_texts_write(ev, s, true, HM_STR(""));
	case HM_FN_LINK: return hm_texts_write(ev, s, false, arg_text(ev, e, 1));
	case HM_FN_BASE64: return escaped(ev, s, put_base64);
	case HM_FN_BASE64URL: return escaped(ev, s, put_base64url);
	case HM_FN_HEX: return escaped(ev, s, put_hex);
	case HM_FN_UNBASE64: return decoded(ev, s, false);
	case HM_FN_UNHEX: return decoded(ev, s, true);
	case HM_FN_LOWER: return mapped(ev, s, lower);
	case HM_FN_UPPER: return mapped(ev, s, upper);
	case HM_FN_ONELINE: return mapped(ev, s, oneline);
	case HM_FN_CLEAN: return clean(ev, s);
	case HM_FN_TRIM: return hm_val_str(hm_str_trim(s));
	case HM_FN_RFC2047: return rfc2047(ev, s);
	case HM_FN_CUT: return cut(ev, e, s);
	case HM_FN_REPLACE: return replace(ev, e, s);
	case HM_FN_UNPREFIX: {
		struct hm_str p = arg_text(ev, e, 1);

		return hm_val_str(hm_str_starts(s, p) ? hm_str_n(s.p + p.len, s.len - p.len) : s);
	}
	case HM_FN_PREFIX: return with_prefix(ev, s, arg_text(ev, e, 1));
	case HM_FN_STARTS: return hm_val_bool(hm_str_starts(s, arg_text(ev, e, 1)));
	case HM_FN_ENDS: return hm_val_bool(hm_str_ends(s, arg_text(ev, e, 1)));
	case HM_FN_CONTAINS: return hm_val_bool(contains(s, arg_text(ev, e, 1)));
	case HM_FN_SPLIT: return split(ev, s, arg_text(ev, e, 1));
	case HM_FN_CHARS: return hm_val_int((int64_t)hm_utf8_codepoints(s));
	case HM_FN_STR: return hm_val_str(s);
	case HM_FN_NUMBER: return number(ev, e, s);
	case HM_FN_UUIDF: return as_uuid(ev, s);
	case HM_FN_MD5: return digest(ev, HM_MD_MD5, s);
	case HM_FN_SHA1: return digest(ev, HM_MD_SHA1, s);
	case HM_FN_SHA256: return digest(ev, HM_MD_SHA256, s);
	case HM_FN_SHA512: return digest(ev, HM_MD_SHA512, s);
	case HM_FN_HMAC_MD5: return hmac(ev, e, HM_MD_MD5, s);
	case HM_FN_HMAC_SHA1: return hmac(ev, e, HM_MD_SHA1, s);
	case HM_FN_HMAC_SHA256: return hmac(ev, e, HM_MD_SHA256, s);
	case HM_FN_HMAC_SHA512: return hmac(ev, e, HM_MD_SHA512, s);
	case HM_FN_SIGN: return sign(ev, e, s);
	case HM_FN_WEBPUSH: return webpush(ev, e, s);
	case HM_FN_VAPID: return vapid(ev, e, s);
	case HM_FN_VERIFY:
	case HM_FN_EQUALS:
	case HM_FN_AES_CBC_DECRYPT:
	case HM_FN_AES_CBC_ENCRYPT:
	case HM_FN_AES_GCM_DECRYPT:
	case HM_FN_ENVELOPE_OPEN:
	case HM_FN_ENVELOPE_SEAL:
	case HM_FN_WITH_PORT:
	case HM_FN_WITH_QUERY: return hm_eval_verify(ev, e, s);
	default: return hm_eval_filter_more(ev, e, in);
	}
}
