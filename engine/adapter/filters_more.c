/*
 * filters_more.c - filters that need more than the text at hand: patterns, encodings of text messages, times, encryption
 */
#include <stdlib.h>
#include <time.h>
#include <zlib.h>

#include "adapt/measure.h"
#include "adapter/cipher.h"
#include "adapter/expr.h"
#include "adapter/xmlscan.h"
#include "base/clock.h"

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

static bool arg_int(struct hm_eval *ev, const struct hm_expr *e, uint32_t i, int64_t *n_r)
{
	struct hm_val v = hm_eval(ev, e->a[i]);

	if (hm_val_int_of(&v, n_r))
		return true;
	hm_eval_fail(ev, HM_EINVAL, "%s expects a whole number", hm_fn_name((enum hm_fn)e->id));
	return false;
}

/* -- text ------------------------------------------------------------------------- */

static struct hm_val hex_upper(struct hm_eval *ev, struct hm_str s)
{
	static const char digits[] = "0123456789ABCDEF";
	char *p = hm_arena_alloc(ev->a, 2 * s.len + 1);

	if (p == NULL)
		return no_memory(ev);
	for (size_t i = 0; i < s.len; i++) {
		p[2 * i] = digits[(unsigned char)s.p[i] >> 4];
		p[2 * i + 1] = digits[(unsigned char)s.p[i] & 15];
	}
	return hm_val_str(hm_str_n(p, 2 * s.len));
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What is no escape stays as it is. */
static struct hm_val unurl(struct hm_eval *ev, struct hm_str s)
{
	char *p = hm_arena_alloc(ev->a, s.len + 1);
	size_t n = 0;

	if (p == NULL)
		return no_memory(ev);
	for (size_t i = 0; i < s.len; i++) {
		int hi = s.p[i] == '%' && i + 2 < s.len ? nibble(s.p[i + 1]) : -1;
		int lo = hi >= 0 ? nibble(s.p[i + 2]) : -1;

		if (lo >= 0) {
			p[n++] = (char)(hi << 4 | lo);
			i += 2;
		} else {
			p[n++] = s.p[i];
		}
	}
	return hm_val_str(hm_str_n(p, n));
}

static struct hm_val pad(struct hm_eval *ev, const struct hm_expr *e, struct hm_str s)
{
	struct hm_str fill = e->n > 2 ? arg_text(ev, e, 2) : HM_STR(" ");
	size_t have = hm_utf8_codepoints(s);
	struct hm_buf b;
	int64_t n;

	if (!arg_int(ev, e, 1, &n))
		return HM_NONE;
	if (n > 10000 || hm_utf8_codepoints(fill) != 1)
		return hm_eval_fail(ev, HM_EINVAL, "pad(N, 'x'): at most 10000, with one character");
	hm_buf_init_arena(&b, ev->a, HM_VAL_MAX_TEXT);
	for (; (int64_t)have < n; have++)
		hm_buf_puts(&b, fill);
	hm_buf_puts(&b, s);
	return buf_val(ev, &b);
}

/* -- patterns ------------------------------------------------------------------------ */

static struct hm_val pattern(struct hm_eval *ev, const struct hm_expr *e, struct hm_str s)
{
	uint32_t group = hm_regex_groups(e->regex) > 0;
	struct hm_str text = HM_STR_NULL;
	int64_t n;
	int rc;

	if (e->n > 2 && arg_int(ev, e, 2, &n))
		group = (uint32_t)n;
	rc = hm_regex_match(e->regex, s, group, ev->a, &text);
	if (rc < 0)
		return hm_eval_fail(ev, rc,
				    rc == HM_ENOMEM ? "out of memory"
						    : "a pattern of the adapter takes too long");
	if (e->id == HM_FN_MATCHES)
		return hm_val_bool(rc == 1);
	return rc == 1 && text.p != NULL ? hm_val_str(text) : HM_NONE;
}

/* -- text messages --------------------------------------------------------------------- */

static bool is_gsm(struct hm_str s)
{
	size_t n;

	for (; s.len; s.p += n, s.len -= n)
		if (hm_gsm_septets(hm_utf8_decode(s, &n)) == 0)
			return false;
	return true;
}

static struct hm_val ucs2(struct hm_eval *ev, struct hm_str s)
{
	struct hm_buf b;
	size_t n;

	hm_buf_init_arena(&b, ev->a, HM_VAL_MAX_TEXT);
	for (; s.len; s.p += n, s.len -= n) {
		uint32_t cp = hm_utf8_decode(s, &n);
		uint32_t unit[2] = {cp, 0};
		int units = 1;

		if (cp >= 0x10000) {
			unit[0] = 0xd800 + ((cp - 0x10000) >> 10);
			unit[1] = 0xdc00 + ((cp - 0x10000) & 0x3ff);
			units = 2;
		}
		for (int i = 0; i < units; i++) {
			hm_buf_putc(&b, (char)(unit[i] >> 8));
			hm_buf_putc(&b, (char)(unit[i] & 0xff));
		}
	}
	return buf_val(ev, &b);
}

/* -- containers ------------------------------------------------------------------------- */

static bool is_map(const struct hm_val *v)
{
	return v->t == HM_V_MAP || (v->t == HM_V_OBJ && v->o->type == MSGPACK_OBJECT_MAP) ||
	       (v->t == HM_V_JSON && v->s.len && v->s.p[0] == '{');
}

static struct hm_val concat(struct hm_eval *ev, const struct hm_expr *e, const struct hm_val *in)
{
	struct hm_val part[9] = {*in}, *v;
	struct hm_pair *p;
	bool maps = false, lists = false;
	size_t total = 0;
	uint32_t m = 0;

	for (uint32_t i = 1; i < e->n; i++)
		part[i] = hm_eval(ev, e->a[i]);
	for (uint32_t i = 0; i < e->n; i++) {
		maps |= is_map(&part[i]);
		lists |= part[i].t != HM_V_NONE && !is_map(&part[i]);
		total += hm_val_len(&part[i]) + 1;
	}
	if (maps && lists)
		return hm_eval_fail(ev, HM_EINVAL, "concat: lists and maps cannot be joined");
	if (!maps && !lists)
		return HM_NONE;
	p = hm_arena_alloc(ev->a, total * sizeof(*p));
	v = hm_arena_alloc(ev->a, total * sizeof(*v));
	if (p == NULL || v == NULL)
		return no_memory(ev);
	for (uint32_t i = 0; i < e->n; i++) {
		size_t n = hm_val_len(&part[i]);

		if (part[i].t != HM_V_NONE && part[i].t <= HM_V_STR) { /* a single value is a list of one */
			v[m++] = part[i];
			continue;
		}
		for (size_t k = 0; k < n; k++, m++)
			p[m].v = v[m] = hm_val_at(&part[i], k, &p[m].name, ev->a);
	}
	if (maps)
		return (struct hm_val){.t = HM_V_MAP, .n = m, .map = p};
	return (struct hm_val){.t = HM_V_LIST, .n = m, .list = v};
}

static struct hm_val slice(struct hm_eval *ev, const struct hm_expr *e, const struct hm_val *in)
{
	bool text = in->t <= HM_V_STR;
	struct hm_str s = text ? hm_val_text(in, ev->a) : HM_STR("");
	int64_t len = text ? (int64_t)s.len : (int64_t)hm_val_len(in), from, count = INT64_MAX;
	struct hm_val *v;

	if (!arg_int(ev, e, 1, &from) || (e->n > 2 && !arg_int(ev, e, 2, &count)))
		return HM_NONE;
	from = from < 0 ? hm_max(len + from, (int64_t)0) : hm_min(from, len);
	count = hm_max(hm_min(count, len - from), (int64_t)0);
	if (text)
		return hm_val_str(hm_str_n(s.p + from, (size_t)count));
	v = hm_arena_alloc(ev->a, (size_t)count * sizeof(*v) + 1);
	if (v == NULL)
		return no_memory(ev);
	for (int64_t i = 0; i < count; i++)
		v[i] = hm_val_at(in, (size_t)(from + i), NULL, ev->a);
	return (struct hm_val){.t = HM_V_LIST, .n = (uint32_t)count, .list = v};
}

/* -- times, ids --------------------------------------------------------------------------- */

/* timegm without the C library's view of the zone. */
static int64_t seconds_of(const struct tm *tm)
{
	static const int days[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
	int64_t y = tm->tm_year + 1900, leap = y - (tm->tm_mon < 2);

	return ((y - 1970) * 365 + (leap / 4 - leap / 100 + leap / 400) -
		(1969 / 4 - 1969 / 100 + 1969 / 400) + days[tm->tm_mon] + tm->tm_mday - 1) *
		       86400 +
	       tm->tm_hour * 3600 + tm->tm_min * 60 + tm->tm_sec;
}

static bool two(const char **p, const char *end, int *v)
{
	if (end - *p < 2 || (*p)[0] < '0' || (*p)[0] > '9' || (*p)[1] < '0' || (*p)[1] > '9')
		return false;
	*v = ((*p)[0] - '0') * 10 + (*p)[1] - '0';
	*p += 2;
	return true;
}

/* 2024-01-02T03:04:05[.123](Z|+08:00), also with a blank for the T (RFC 3339 section 5.6). */
static bool rfc3339(struct hm_str s, int64_t *t_r)
{
	const char *p = s.p, *end = s.p + s.len;
	int century, year, mon, offset = 0;
	struct tm tm = {0};

	if (!two(&p, end, &century) || !two(&p, end, &year) || p >= end || *p++ != '-' ||
	    !two(&p, end, &mon) || p >= end || *p++ != '-' || !two(&p, end, &tm.tm_mday) || p >= end ||
	    (*p != 'T' && *p != 't' && *p != ' '))
		return false;
	p++;
	if (!two(&p, end, &tm.tm_hour) || p >= end || *p++ != ':' || !two(&p, end, &tm.tm_min) || p >= end ||
	    *p++ != ':' || !two(&p, end, &tm.tm_sec))
		return false;
	if (p < end && *p == '.')
		for (p++; p < end && *p >= '0' && *p <= '9'; p++)
			;
	tm.tm_year = century * 100 + year - 1900;
	tm.tm_mon = mon - 1;
	if (mon < 1 || mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 ||
	    tm.tm_sec > 60)
		return false;
	if (end - p == 1 ? (*p != 'Z' && *p != 'z')
			 : !hm_parse_offset(hm_str_n(p, (size_t)(end - p)), &offset))
		return false;
	*t_r = seconds_of(&tm) - offset;
	return p < end;
}

static struct hm_val unix_second(struct hm_eval *ev, const struct hm_expr *e, struct hm_str s)
{
	char text[64], fmt[64];
	struct tm tm = {.tm_mday = 1};
	struct hm_str p;
	const char *rest;
	int offset = 0;
	int64_t t;

	s = hm_str_trim(s);
	if (e->n == 1)
		return rfc3339(s, &t) ? hm_val_int(t) : HM_NONE;
	p = arg_text(ev, e, 1);
	if (e->n > 2 && !hm_parse_offset(arg_text(ev, e, 2), &offset))
		return hm_eval_fail(ev, HM_EINVAL, "unix: an offset is written '+08:00'");
	if (s.len >= sizeof(text) || p.len >= sizeof(fmt))
		return HM_NONE;
	memcpy(text, s.p, s.len);
	text[s.len] = '\0';
	memcpy(fmt, p.p, p.len);
	fmt[p.len] = '\0';
	rest = strptime(text, fmt, &tm);
	if (rest == NULL || *rest != '\0' || tm.tm_mon < 0 || tm.tm_mon > 11)
		return HM_NONE;
	/* A zone in the text itself (%z) wins. */
	return hm_val_int(seconds_of(&tm) - (tm.tm_gmtoff ? (int)tm.tm_gmtoff : offset));
}

/* Version and variant as RFC 9562 section 5.4 wants them; the other 122 bits are as random as what came in. */
static struct hm_val uuid4(struct hm_eval *ev, struct hm_str s)
{
	static const uint8_t groups[] = {8, 4, 4, 4, 12};
	char *p = hm_arena_alloc(ev->a, 36), hex[33];
	size_t o = 0, i = 0;

	if (s.len != 32)
		return hm_eval_fail(ev, HM_EINVAL, "uuid4 expects 32 hex digits");
	if (p == NULL)
		return no_memory(ev);
	memcpy(hex, s.p, 32);
	hex[12] = '4';
	hex[16] = "89ab"[(nibble(hex[16]) < 0 ? 0 : nibble(hex[16])) & 3];
	for (size_t g = 0; g < hm_countof(groups); g++) {
		if (g)
			p[o++] = '-';
		memcpy(p + o, hex + i, groups[g]);
		o += groups[g];
		i += groups[g];
	}
	return hm_val_str(hm_str_n(p, 36));
}

static struct hm_val url_origin(struct hm_str s)
{
	ptrdiff_t at = hm_str_find(s, HM_STR("://"));
	size_t end;

	if (at <= 0)
		return HM_NONE;
	for (end = (size_t)at + 3; end < s.len && s.p[end] != '/' && s.p[end] != '?' && s.p[end] != '#';
	     end++)
		;
	return end > (size_t)at + 3 ? hm_val_str(hm_str_n(s.p, end)) : HM_NONE;
}

/* -- encryption ------------------------------------------------------------------------------ */

static struct hm_val encrypted(struct hm_eval *ev, const struct hm_expr *e, struct hm_str s)
{
	struct hm_str key = arg_text(ev, e, 1), iv = HM_STR(""), more = HM_STR("");
	struct hm_buf b;
	int rc;

	if (e->n > 2)
		iv = arg_text(ev, e, 2);
	if (e->n > 3)
		more = arg_text(ev, e, 3);
	hm_buf_init_arena(&b, ev->a, HM_VAL_MAX_TEXT);
	switch ((enum hm_fn)e->id) {
	case HM_FN_AES_CBC: rc = hm_aes_encrypt(HM_AES_CBC, key, iv, more, s, &b, ev->err); break;
	case HM_FN_AES_ECB: rc = hm_aes_encrypt(HM_AES_ECB, key, iv, more, s, &b, ev->err); break;
	case HM_FN_AES_GCM: rc = hm_aes_encrypt(HM_AES_GCM, key, iv, more, s, &b, ev->err); break;
	default: rc = hm_rsa_encrypt(key, hm_str_is(iv, "oaep"), s, &b, ev->err); break;
	}
	if (rc != 0) {
		ev->rc = ev->rc ? ev->rc : HM_EINVAL;
		return HM_NONE;
	}
	return buf_val(ev, &b);
}

static struct hm_val limited(struct hm_eval *ev, const struct hm_expr *e, const struct hm_val *in)
{
	int64_t v, limit;

	if (!hm_val_int_of(in, &v))
		return hm_eval_fail(ev, HM_EINVAL, "%s expects a whole number",
				    hm_fn_name((enum hm_fn)e->id));
	if (!arg_int(ev, e, 1, &limit))
		return HM_NONE;
	return hm_val_int(e->id == HM_FN_AT_MOST ? hm_min(v, limit) : hm_max(v, limit));
}

struct hm_val hm_eval_filter_more(struct hm_eval *ev, const struct hm_expr *e, struct hm_val in)
{
	struct hm_str s;

	switch ((enum hm_fn)e->id) {
	case HM_FN_CONCAT: return concat(ev, e, &in);
	case HM_FN_SLICE: return slice(ev, e, &in);
	case HM_FN_AT_MOST:
	case HM_FN_AT_LEAST: return limited(ev, e, &in);
	default: break;
	}
	s = hm_val_text(&in, ev->a);
	switch ((enum hm_fn)e->id) {
	case HM_FN_HEX_UPPER: return hex_upper(ev, s);
	case HM_FN_UNXML: return hm_val_str(hm_xml_text(s, ev->a));
	case HM_FN_UNURL: return unurl(ev, s);
	case HM_FN_MATCHES:
	case HM_FN_CAPTURE: return pattern(ev, e, s);
	case HM_FN_IS_GSM: return hm_val_bool(is_gsm(s));
	case HM_FN_UCS2: return ucs2(ev, s);
	case HM_FN_PAD: return pad(ev, e, s);
	case HM_FN_UNIX: return unix_second(ev, e, s);
	case HM_FN_UUID4: return uuid4(ev, s);
	case HM_FN_URL_ORIGIN: return url_origin(s);
	case HM_FN_CRC32: return hm_val_int((int64_t)crc32(0, (const unsigned char *)s.p, (unsigned)s.len));
	case HM_FN_AES_CBC:
	case HM_FN_AES_ECB:
	case HM_FN_AES_GCM:
	case HM_FN_RSA_ENCRYPT: return encrypted(ev, e, s);
	default: hm_unreachable();
	}
}
