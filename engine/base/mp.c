/*
 * mp.c - msgpack: checking and decoding, look-ups, packing
 *
 * Decoding is two passes. The first walks the bytes without recursion and without
 * memory and proves that they are one whole value: every length fits in what is
 * left, depth and number of values are bounded, text is UTF-8, decimals are
 * decimals. Only then msgpack-c builds its objects, which by itself allocates
 * whatever a header claims (24 bytes for each of four billion members).
 */
#include "base/json.h"

#include <math.h>
#include <stdio.h>

/* -- checking -------------------------------------------------------------- */

bool hm_decimal_valid(struct hm_str s)
{
	size_t i = 0, start;

#define DIGITS                                                      \
	do {                                                        \
		start = i;                                          \
		while (i < s.len && s.p[i] >= '0' && s.p[i] <= '9') \
			i++;                                        \
		if (i == start)                                     \
			return false;                               \
	} while (0)
	if (s.len > HM_DECIMAL_MAX)
		return false;
	if (i < s.len && s.p[i] == '-')
		i++;
	DIGITS;
	if (i - start > 1 && s.p[start] == '0')
		return false;
	if (i < s.len && s.p[i] == '.') {
		i++;
		DIGITS;
	}
	if (i < s.len && (s.p[i] == 'e' || s.p[i] == 'E')) {
		i++;
		if (i < s.len && (s.p[i] == '+' || s.p[i] == '-'))
			i++;
		DIGITS;
	}
#undef DIGITS
	return i == s.len;
}

struct cursor {
	const unsigned char *p;
	size_t left;
};

static bool take(struct cursor *c, size_t n, const unsigned char **at_r)
{
	if (c->left < n)
		return false;
	*at_r = c->p;
	c->p += n;
	c->left -= n;
	return true;
}

static bool take_be(struct cursor *c, size_t n, uint32_t *v_r)
{
	const unsigned char *at;
	uint32_t v = 0;

	if (!take(c, n, &at))
		return false;
	for (size_t i = 0; i < n; i++)
		v = v << 8 | at[i];
	*v_r = v;
	return true;
}

enum kind { FIXED, STR, BIN, EXT, ARRAY, MAP, BAD };

/* What a type byte announces: n is the payload, or when len_bytes > 0, found in that many bytes. */
static enum kind classify(unsigned char t, uint32_t *n, size_t *len_bytes)
{
	static const unsigned char sizes[] = {4, 8, 1, 2, 4, 8, 1, 2, 4, 8}; /* 0xca..0xd3 */

	*n = 0;
	*len_bytes = 0;
	if (t <= 0x7f || t >= 0xe0)
		return FIXED;
	if (t <= 0x8f) {
		*n = t & 15;
		return MAP;
	}
	if (t <= 0x9f) {
		*n = t & 15;
		return ARRAY;
	}
	if (t <= 0xbf) {
		*n = t & 31;
		return STR;
	}
	switch (t) {
	case 0xc0:
	case 0xc2:
	case 0xc3: return FIXED;
	case 0xc1: return BAD;
	case 0xc4:
	case 0xc5:
	case 0xc6: *len_bytes = (size_t)1 << (t - 0xc4); return BIN;
	case 0xc7:
	case 0xc8:
	case 0xc9: *len_bytes = (size_t)1 << (t - 0xc7); return EXT;
	case 0xd4:
	case 0xd5:
	case 0xd6:
	case 0xd7:
	case 0xd8: *n = 1u << (t - 0xd4); return EXT;
	case 0xd9:
	case 0xda:
	case 0xdb: *len_bytes = (size_t)1 << (t - 0xd9); return STR;
	case 0xdc:
	case 0xdd: *len_bytes = (size_t)2 << (t - 0xdc); return ARRAY;
	case 0xde:
	case 0xdf: *len_bytes = (size_t)2 << (t - 0xde); return MAP;
	default: *n = sizes[t - 0xca]; return FIXED;
	}
}

/* One value's own bytes, without its members; NULL when fine, else what is wrong. */
static const char *check_value(struct cursor *c, uint64_t *members_r)
{
	static const char cut[] = "the document is cut short";
	const unsigned char *at, *type;
	size_t len_bytes;
	uint32_t n;
	enum kind kind;

	*members_r = 0;
	if (!take(c, 1, &type))
		return cut;
	kind = classify(*type, &n, &len_bytes);
	if (len_bytes && !take_be(c, len_bytes, &n))
		return cut;
	switch (kind) {
	case FIXED:
	case BIN: return take(c, n, &at) ? NULL : cut;
	case STR:
		if (!take(c, n, &at))
			return cut;
		return hm_utf8_valid(hm_str_n((const char *)at, n)) ? NULL : "a string is not valid UTF-8";
	case EXT:
		if (!take(c, 1, &type) || !take(c, n, &at))
			return cut;
		if (*type == HM_MP_DECIMAL && !hm_decimal_valid(hm_str_n((const char *)at, n)))
			return "a decimal (extension type 1) is not a number in text";
		return NULL;
	case ARRAY:
	case MAP:
		*members_r = kind == MAP ? (uint64_t)n * 2 : n;
		return *members_r <= c->left ? NULL : cut; /* every member takes at least a byte */
	case BAD: return "byte 0xc1 is never used in msgpack";
	}
	hm_unreachable();
}

static int check(struct hm_str bytes, struct hm_err *e)
{
	struct cursor c = {(const unsigned char *)bytes.p, bytes.len};
	uint64_t left[HM_JSON_MAX_DEPTH], values = 0, members;
	unsigned depth = 0;

	for (;;) {
		const unsigned char *at = c.p;
		const char *problem = check_value(&c, &members);
		bool container = at < c.p && ((*at >= 0x80 && *at <= 0x9f) || (*at >= 0xdc && *at <= 0xdf));
		size_t off = (size_t)(at - (const unsigned char *)bytes.p);

		if (problem)
			return hm_err_set(e, HM_EPARSE, "msgpack, byte %zu: %s", off, problem);
		if (++values > HM_MP_MAX_VALUES)
			return hm_err_set(e, HM_ELIMIT, "msgpack: more than %u values in one document",
					  HM_MP_MAX_VALUES);
		if (container) {
			if (depth == HM_JSON_MAX_DEPTH)
				return hm_err_set(
					e, HM_ELIMIT,
					"msgpack, byte %zu: values are nested deeper than %d levels", off,
					HM_JSON_MAX_DEPTH);
			left[depth++] = members;
		} else if (depth) {
			left[depth - 1]--;
		}
		while (depth && left[depth - 1] == 0) {
			depth--;
			if (depth)
				left[depth - 1]--;
		}
		if (depth == 0)
			break;
	}
	if (c.left)
		return hm_err_set(e, HM_EPARSE, "msgpack: %zu bytes follow after the end of the document",
				  c.left);
	return 0;
}

int hm_msgpack_decode(msgpack_zone *zone, struct hm_str bytes, msgpack_object *o_r, struct hm_err *e)
{
	size_t off = 0;
	int rc = check(bytes, e);

	if (rc < 0)
		return rc;
	switch (msgpack_unpack(bytes.p, bytes.len, &off, zone, o_r)) {
	case MSGPACK_UNPACK_SUCCESS: return 0;
	case MSGPACK_UNPACK_NOMEM_ERROR: return hm_err_set(e, HM_ENOMEM, "out of memory");
	default: return hm_err_set(e, HM_EPARSE, "msgpack: the document does not parse");
	}
}

/* -- look-ups -------------------------------------------------------------- */

const msgpack_object *hm_mp_get(const msgpack_object *map, struct hm_str key)
{
	if (map == NULL || map->type != MSGPACK_OBJECT_MAP)
		return NULL;
	for (uint32_t i = map->via.map.size; i-- > 0;) { /* backwards: the last of equal keys wins */
		const msgpack_object_kv *kv = &map->via.map.ptr[i];

		if (kv->key.type == MSGPACK_OBJECT_STR &&
		    hm_str_eq(hm_str_n(kv->key.via.str.ptr, kv->key.via.str.size), key))
			return &kv->val;
	}
	return NULL;
}

bool hm_mp_str(const msgpack_object *o, struct hm_str *v_r)
{
	if (o && o->type == MSGPACK_OBJECT_STR)
		*v_r = hm_str_n(o->via.str.ptr, o->via.str.size);
	else if (o && o->type == MSGPACK_OBJECT_BIN)
		*v_r = hm_str_n(o->via.bin.ptr, o->via.bin.size);
	else
		return false;
	return true;
}

bool hm_mp_u64(const msgpack_object *o, uint64_t *v_r)
{
	if (o == NULL || o->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
		return false;
	*v_r = o->via.u64;
	return true;
}

bool hm_mp_i64(const msgpack_object *o, int64_t *v_r)
{
	if (o == NULL)
		return false;
	if (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
		*v_r = o->via.i64;
	else if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER && o->via.u64 <= INT64_MAX)
		*v_r = (int64_t)o->via.u64;
	else
		return false;
	return true;
}

bool hm_mp_bool(const msgpack_object *o, bool *v_r)
{
	if (o == NULL || o->type != MSGPACK_OBJECT_BOOLEAN)
		return false;
	*v_r = o->via.boolean;
	return true;
}

bool hm_mp_decimal(const msgpack_object *o, struct hm_str *text_r)
{
	if (o == NULL || o->type != MSGPACK_OBJECT_EXT || o->via.ext.type != HM_MP_DECIMAL)
		return false;
	*text_r = hm_str_n(o->via.ext.ptr, o->via.ext.size);
	return true;
}

const char *hm_mp_type_name(const msgpack_object *o)
{
	if (o == NULL)
		return "nothing";
	switch (o->type) {
	case MSGPACK_OBJECT_NIL: return "null";
	case MSGPACK_OBJECT_BOOLEAN: return "boolean";
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
	case MSGPACK_OBJECT_NEGATIVE_INTEGER:
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64: return "number";
	case MSGPACK_OBJECT_STR: return "string";
	case MSGPACK_OBJECT_ARRAY: return "array";
	case MSGPACK_OBJECT_MAP: return "object";
	case MSGPACK_OBJECT_BIN: return "binary";
	case MSGPACK_OBJECT_EXT: return o->via.ext.type == HM_MP_DECIMAL ? "number" : "extension";
	}
	return "unknown";
}

/* -- packing --------------------------------------------------------------- */

static void put_head(struct hm_buf *b, unsigned type, uint64_t v, size_t bytes)
{
	unsigned char h[9];

	h[0] = (unsigned char)type;
	for (size_t i = 0; i < bytes; i++)
		h[1 + i] = (unsigned char)(v >> (8 * (bytes - 1 - i)));
	hm_buf_put(b, h, 1 + bytes);
}

void hm_mp_put_map(struct hm_buf *b, uint32_t n)
{
	if (n <= 15)
		put_head(b, 0x80 | n, 0, 0);
	else if (n <= 0xffff)
		put_head(b, 0xde, n, 2);
	else
		put_head(b, 0xdf, n, 4);
}

void hm_mp_put_array(struct hm_buf *b, uint32_t n)
{
	if (n <= 15)
		put_head(b, 0x90 | n, 0, 0);
	else if (n <= 0xffff)
		put_head(b, 0xdc, n, 2);
	else
		put_head(b, 0xdd, n, 4);
}

void hm_mp_put_str(struct hm_buf *b, struct hm_str s)
{
	if (s.len <= 31)
		put_head(b, 0xa0 | (unsigned)s.len, 0, 0);
	else if (s.len <= 0xff)
		put_head(b, 0xd9, s.len, 1);
	else if (s.len <= 0xffff)
		put_head(b, 0xda, s.len, 2);
	else if (s.len <= UINT32_MAX)
		put_head(b, 0xdb, s.len, 4);
	else if (b->err == 0)
		b->err = HM_ELIMIT;
	hm_buf_puts(b, s);
}

void hm_mp_put_bin(struct hm_buf *b, struct hm_str s)
{
	if (s.len <= 0xff)
		put_head(b, 0xc4, s.len, 1);
	else if (s.len <= 0xffff)
		put_head(b, 0xc5, s.len, 2);
	else if (s.len <= UINT32_MAX)
		put_head(b, 0xc6, s.len, 4);
	else if (b->err == 0)
		b->err = HM_ELIMIT;
	hm_buf_puts(b, s);
}

void hm_mp_put_u64(struct hm_buf *b, uint64_t v)
{
	if (v <= 0x7f)
		put_head(b, (unsigned)v, 0, 0);
	else if (v <= 0xff)
		put_head(b, 0xcc, v, 1);
	else if (v <= 0xffff)
		put_head(b, 0xcd, v, 2);
	else if (v <= UINT32_MAX)
		put_head(b, 0xce, v, 4);
	else
		put_head(b, 0xcf, v, 8);
}

void hm_mp_put_i64(struct hm_buf *b, int64_t v)
{
	if (v >= 0)
		hm_mp_put_u64(b, (uint64_t)v);
	else if (v >= -32)
		put_head(b, (unsigned)(uint8_t)v, 0, 0);
	else if (v >= INT8_MIN)
		put_head(b, 0xd0, (uint64_t)v, 1);
	else if (v >= INT16_MIN)
		put_head(b, 0xd1, (uint64_t)v, 2);
	else if (v >= INT32_MIN)
		put_head(b, 0xd2, (uint64_t)v, 4);
	else
		put_head(b, 0xd3, (uint64_t)v, 8);
}

void hm_mp_put_bool(struct hm_buf *b, bool v)
{
	put_head(b, v ? 0xc3 : 0xc2, 0, 0);
}

void hm_mp_put_nil(struct hm_buf *b)
{
	put_head(b, 0xc0, 0, 0);
}

static void put_ext(struct hm_buf *b, int8_t type, struct hm_str s)
{
	bool power = s.len <= 16 && s.len && (s.len & (s.len - 1)) == 0;

	if (power)
		put_head(b, 0xd4 + (unsigned)__builtin_ctzll(s.len), 0, 0);
	else if (s.len <= 0xff)
		put_head(b, 0xc7, s.len, 1);
	else if (s.len <= 0xffff)
		put_head(b, 0xc8, s.len, 2);
	else if (s.len <= UINT32_MAX)
		put_head(b, 0xc9, s.len, 4);
	else if (b->err == 0)
		b->err = HM_ELIMIT;
	hm_buf_putc(b, (char)type);
	hm_buf_puts(b, s);
}

void hm_mp_put_decimal(struct hm_buf *b, struct hm_str text)
{
	put_ext(b, HM_MP_DECIMAL, text);
}

static void put_double(struct hm_buf *b, double f)
{
	uint64_t bits;

	memcpy(&bits, &f, 8);
	put_head(b, 0xcb, bits, 8);
}

void hm_mp_put_object(struct hm_buf *b, const msgpack_object *o)
{
	switch (o->type) {
	case MSGPACK_OBJECT_NIL: hm_mp_put_nil(b); break;
	case MSGPACK_OBJECT_BOOLEAN: hm_mp_put_bool(b, o->via.boolean); break;
	case MSGPACK_OBJECT_POSITIVE_INTEGER: hm_mp_put_u64(b, o->via.u64); break;
	case MSGPACK_OBJECT_NEGATIVE_INTEGER: hm_mp_put_i64(b, o->via.i64); break;
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64: put_double(b, o->via.f64); break;
	case MSGPACK_OBJECT_STR: hm_mp_put_str(b, hm_str_n(o->via.str.ptr, o->via.str.size)); break;
	case MSGPACK_OBJECT_BIN: hm_mp_put_bin(b, hm_str_n(o->via.bin.ptr, o->via.bin.size)); break;
	case MSGPACK_OBJECT_EXT:
		put_ext(b, o->via.ext.type, hm_str_n(o->via.ext.ptr, o->via.ext.size));
		break;
	case MSGPACK_OBJECT_ARRAY:
		hm_mp_put_array(b, o->via.array.size);
		for (uint32_t i = 0; i < o->via.array.size; i++)
			hm_mp_put_object(b, &o->via.array.ptr[i]);
		break;
	case MSGPACK_OBJECT_MAP:
		hm_mp_put_map(b, o->via.map.size);
		for (uint32_t i = 0; i < o->via.map.size; i++) {
			hm_mp_put_object(b, &o->via.map.ptr[i].key);
			hm_mp_put_object(b, &o->via.map.ptr[i].val);
		}
		break;
	}
}

/* -- as JSON --------------------------------------------------------------- */

static void json_quoted(struct hm_buf *b, struct hm_str s)
{
	hm_buf_putc(b, '"');
	hm_buf_json(b, s);
	hm_buf_putc(b, '"');
}

/* The shortest text that reads back as the same double; JSON has no NaN and no infinity. */
static void json_double(struct hm_buf *b, double f)
{
	char text[40];

	if (!isfinite(f)) {
		hm_buf_lit(b, "null");
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		double back = 0;

		snprintf(text, sizeof(text), "%.*g", digits, f);
		if (sscanf(text, "%lf", &back) == 1 && memcmp(&back, &f, sizeof(f)) == 0)
			break;
	}
	hm_buf_puts(b, hm_str_c(text));
}

static bool json_scalar(struct hm_buf *b, const msgpack_object *o)
{
	struct hm_str s = HM_STR_NULL;

	switch (o->type) {
	case MSGPACK_OBJECT_NIL: hm_buf_lit(b, "null"); return true;
	case MSGPACK_OBJECT_BOOLEAN: hm_buf_puts(b, hm_str_c(o->via.boolean ? "true" : "false")); return true;
	case MSGPACK_OBJECT_POSITIVE_INTEGER: hm_buf_u64(b, o->via.u64); return true;
	case MSGPACK_OBJECT_NEGATIVE_INTEGER: hm_buf_i64(b, o->via.i64); return true;
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64: json_double(b, o->via.f64); return true;
	case MSGPACK_OBJECT_STR: json_quoted(b, hm_str_n(o->via.str.ptr, o->via.str.size)); return true;
	case MSGPACK_OBJECT_EXT:
		if (hm_mp_decimal(o, &s) && hm_decimal_valid(s)) {
			hm_buf_puts(b, s);
			return true;
		}
		s = hm_str_n(o->via.ext.ptr, o->via.ext.size);
		break;
	case MSGPACK_OBJECT_BIN: s = hm_str_n(o->via.bin.ptr, o->via.bin.size); break;
	default: return false;
	}
	hm_buf_putc(b, '"');
	hm_buf_base64(b, s.p, s.len);
	hm_buf_putc(b, '"');
	return true;
}

/* JSON keys are strings: a scalar key becomes its text, a container has no such form. */
static void json_key(struct hm_buf *b, const msgpack_object *key)
{
	size_t start = b->len;

	if (key->type == MSGPACK_OBJECT_STR || key->type == MSGPACK_OBJECT_BIN) {
		json_scalar(b, key);
		return;
	}
	hm_buf_putc(b, '"');
	if (!json_scalar(b, key))
		hm_buf_puts(b, hm_str_c(hm_mp_type_name(key)));
	else if (b->err == 0 && b->p[start + 1] == '"') { /* an extension, quoted already */
		memmove(b->p + start, b->p + start + 1, b->len - start - 1);
		b->len--;
		return;
	}
	hm_buf_putc(b, '"');
}

void hm_msgpack_to_json(const msgpack_object *o, struct hm_buf *out)
{
	if (json_scalar(out, o))
		return;
	if (o->type == MSGPACK_OBJECT_ARRAY) {
		hm_buf_putc(out, '[');
		for (uint32_t i = 0; i < o->via.array.size; i++) {
			if (i)
				hm_buf_putc(out, ',');
			hm_msgpack_to_json(&o->via.array.ptr[i], out);
		}
		hm_buf_putc(out, ']');
		return;
	}
	hm_buf_putc(out, '{');
	for (uint32_t i = 0; i < o->via.map.size; i++) {
		if (i)
			hm_buf_putc(out, ',');
		json_key(out, &o->via.map.ptr[i].key);
		hm_buf_putc(out, ':');
		hm_msgpack_to_json(&o->via.map.ptr[i].val, out);
	}
	hm_buf_putc(out, '}');
}
