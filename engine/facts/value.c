/*
 * value.c - from what a source says to what a template sees
 */
#include <stdio.h>

#include "facts/facts_int.h"
#include "tmpl/decimal.h"

#define SAY(...) snprintf(why, HM_FACT_REASON_MAX, __VA_ARGS__)

/* NULL: there is nothing at that place. */
static const msgpack_object *walk(const struct hm_fact_conf *c, const msgpack_object *o)
{
	for (size_t i = 0; i < c->path.n && o; i++) {
		uint64_t at;

		if (o->type == MSGPACK_OBJECT_ARRAY)
			o = hm_str_u64(c->path.v[i], &at) && at < o->via.array.size ? &o->via.array.ptr[at]
										    : NULL;
		else
			o = hm_mp_get(o, c->path.v[i]);
	}
	return o;
}

static int to_string(const msgpack_object *o, struct hm_arena *a, msgpack_object *o_r, char *why)
{
	struct hm_str s;

	switch (o->type) {
	case MSGPACK_OBJECT_STR: *o_r = *o; return 0;
	case MSGPACK_OBJECT_BOOLEAN: s = o->via.boolean ? HM_STR("true") : HM_STR("false"); break;
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
		s = hm_arena_printf(a, "%llu", (unsigned long long)o->via.u64);
		break;
	case MSGPACK_OBJECT_NEGATIVE_INTEGER: s = hm_arena_printf(a, "%lld", (long long)o->via.i64); break;
	default:
		if (!hm_mp_decimal(o, &s)) {
			SAY("it is an %s, not a string", hm_mp_type_name(o));
			return HM_ETYPE;
		}
	}
	if (s.p == NULL) {
		SAY("out of memory");
		return HM_ENOMEM;
	}
	hm_fact_text_value(s, false, o_r);
	return 0;
}

/* A number that the language cannot hold would fail the message: better the fallback. */
static int fits(struct hm_str s, char *why)
{
	struct hm_dec d;

	if (hm_dec_parse(s, &d))
		return 0;
	SAY("the number %.*s is too large", (int)hm_utf8_cut(s, 40), s.p);
	return HM_ELIMIT;
}

static int to_number(const msgpack_object *o, msgpack_object *o_r, char *why)
{
	struct hm_str s;

	if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER || o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER) {
		*o_r = *o;
		return 0;
	}
	if (hm_mp_decimal(o, &s)) {
		*o_r = *o;
		return fits(s, why);
	}
	if (o->type == MSGPACK_OBJECT_STR) {
		s = hm_str_trim(hm_str_n(o->via.str.ptr, o->via.str.size));
		if (hm_decimal_valid(s)) {
			hm_fact_text_value(s, true, o_r);
			return fits(s, why);
		}
		SAY("\"%.*s\" is not a number", (int)hm_utf8_cut(s, 40), s.p);
		return HM_ETYPE;
	}
	SAY("it is a%s %s, not a number",
	    o->type == MSGPACK_OBJECT_ARRAY || o->type == MSGPACK_OBJECT_MAP ? "n" : "", hm_mp_type_name(o));
	return HM_ETYPE;
}

static int to_boolean(const msgpack_object *o, msgpack_object *o_r, char *why)
{
	static const char *const words[] = {"false", "true", "0", "1"};
	struct hm_str s;

	memset(o_r, 0, sizeof(*o_r));
	o_r->type = MSGPACK_OBJECT_BOOLEAN;
	if (o->type == MSGPACK_OBJECT_BOOLEAN) {
		o_r->via.boolean = o->via.boolean;
		return 0;
	}
	if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER && o->via.u64 <= 1) {
		o_r->via.boolean = o->via.u64 == 1;
		return 0;
	}
	if (o->type == MSGPACK_OBJECT_STR) {
		s = hm_str_trim(hm_str_n(o->via.str.ptr, o->via.str.size));
		for (size_t i = 0; i < hm_countof(words); i++)
			if (hm_str_is(s, words[i])) {
				o_r->via.boolean = i % 2;
				return 0;
			}
		SAY("\"%.*s\" is not true, false, 1 or 0", (int)hm_utf8_cut(s, 40), s.p);
		return HM_ETYPE;
	}
	SAY("it is not true, false, 1 or 0");
	return HM_ETYPE;
}

int fact_value(const struct hm_fact_conf *c, const msgpack_object *o, struct hm_arena *a, msgpack_object *o_r,
	       char why[HM_FACT_REASON_MAX])
{
	o = walk(c, o);
	if (o == NULL || o->type == MSGPACK_OBJECT_NIL)
		return 1;
	switch ((enum hm_fact_type)c->type) {
	case HM_FACT_STRING: return to_string(o, a, o_r, why);
	case HM_FACT_NUMBER: return to_number(o, o_r, why);
	case HM_FACT_BOOLEAN: return to_boolean(o, o_r, why);
	case HM_FACT_JSON: *o_r = *o; return 0;
	}
	hm_unreachable();
}

int fact_value_text(const struct hm_fact_conf *c, struct hm_str text, size_t max, msgpack_zone *zone,
		    struct hm_arena *a, msgpack_object *o_r, char why[HM_FACT_REASON_MAX])
{
	msgpack_object o;
	struct hm_buf b;
	struct hm_err e;

	if (text.len > max) {
		SAY("its %zu bytes are more than facts.max_value", text.len);
		return HM_ELIMIT;
	}
	if (c->path.n == 0 && c->type != HM_FACT_JSON) {
		if (!hm_utf8_valid(text)) {
			SAY("it is not UTF-8 text");
			return HM_EPARSE;
		}
		hm_fact_text_value(text, false, &o);
		return fact_value(c, &o, a, o_r, why);
	}
	hm_err_clear(&e);
	hm_buf_init_arena(
		&b, a, 4 * max + 64); /* a number of one digit is a byte in either form; nothing grows more */
	if (hm_json_to_msgpack(text, &b, &e) != 0 || hm_msgpack_decode(zone, hm_buf_str(&b), &o, &e) != 0) {
		SAY("it is not JSON: %.*s", (int)hm_utf8_cut(hm_str_c(e.text), 160), e.text);
		return HM_EPARSE;
	}
	return fact_value(c, &o, a, o_r, why);
}

/* -- a value in one piece of memory ------------------------------------------------------------------ */

static size_t round_up(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

/* Depth is bounded by HM_JSON_MAX_DEPTH, or by the configuration's own limit for fallbacks. */
size_t fact_object_size(const msgpack_object *o)
{
	size_t n = 0;

	switch (o->type) {
	case MSGPACK_OBJECT_STR: return round_up(o->via.str.size);
	case MSGPACK_OBJECT_BIN: return round_up(o->via.bin.size);
	case MSGPACK_OBJECT_EXT: return round_up(o->via.ext.size);
	case MSGPACK_OBJECT_ARRAY:
		n = o->via.array.size * sizeof(msgpack_object);
		for (uint32_t i = 0; i < o->via.array.size; i++)
			n += fact_object_size(&o->via.array.ptr[i]);
		return n;
	case MSGPACK_OBJECT_MAP:
		n = o->via.map.size * sizeof(msgpack_object_kv);
		for (uint32_t i = 0; i < o->via.map.size; i++)
			n += fact_object_size(&o->via.map.ptr[i].key) +
			     fact_object_size(&o->via.map.ptr[i].val);
		return n;
	default: return 0;
	}
}

static const char *copy_bytes(const char *p, size_t n, char **at)
{
	char *to = *at;

	if (n)
		memcpy(to, p, n);
	*at += round_up(n);
	return to;
}

msgpack_object fact_object_copy(const msgpack_object *o, char **at)
{
	msgpack_object c = *o;

	switch (o->type) {
	case MSGPACK_OBJECT_STR: c.via.str.ptr = copy_bytes(o->via.str.ptr, o->via.str.size, at); break;
	case MSGPACK_OBJECT_BIN: c.via.bin.ptr = copy_bytes(o->via.bin.ptr, o->via.bin.size, at); break;
	case MSGPACK_OBJECT_EXT: c.via.ext.ptr = copy_bytes(o->via.ext.ptr, o->via.ext.size, at); break;
	case MSGPACK_OBJECT_ARRAY:
		c.via.array.ptr = (void *)*at;
		*at += o->via.array.size * sizeof(msgpack_object);
		for (uint32_t i = 0; i < o->via.array.size; i++)
			c.via.array.ptr[i] = fact_object_copy(&o->via.array.ptr[i], at);
		break;
	case MSGPACK_OBJECT_MAP:
		c.via.map.ptr = (void *)*at;
		*at += o->via.map.size * sizeof(msgpack_object_kv);
		for (uint32_t i = 0; i < o->via.map.size; i++) {
			c.via.map.ptr[i].key = fact_object_copy(&o->via.map.ptr[i].key, at);
			c.via.map.ptr[i].val = fact_object_copy(&o->via.map.ptr[i].val, at);
		}
		break;
	default: break;
	}
	return c;
}
