/*
 * value.c - conversions between the kinds of values
 */
#include "adapter/value.h"

#include "adapter/jsonscan.h"
#include "base/json.h"

/* Decimal digits at the end of out; printf is too slow for what every request does. */
static struct hm_str digits_of(int64_t i, char out[24])
{
	uint64_t v = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
	size_t at = 24;

	do {
		out[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	if (i < 0)
		out[--at] = '-';
	return hm_str_n(out + at, 24 - at);
}

struct hm_val hm_val_of_object(const msgpack_object *o)
{
	if (o == NULL)
		return HM_NONE;
	switch (o->type) {
	case MSGPACK_OBJECT_NIL: return HM_NONE;
	case MSGPACK_OBJECT_BOOLEAN: return hm_val_bool(o->via.boolean);
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
		if (o->via.u64 <= INT64_MAX)
			return hm_val_int((int64_t)o->via.u64);
		break;
	case MSGPACK_OBJECT_NEGATIVE_INTEGER: return hm_val_int(o->via.i64);
	case MSGPACK_OBJECT_STR: return hm_val_str(hm_str_n(o->via.str.ptr, o->via.str.size));
	case MSGPACK_OBJECT_BIN: return hm_val_str(hm_str_n(o->via.bin.ptr, o->via.bin.size));
	default: break;
	}
	return (struct hm_val){.t = HM_V_OBJ, .o = o};
}

struct hm_val hm_val_of_json(struct hm_str json, struct hm_arena *a)
{
	int64_t i;

	json = hm_json_trim(json);
	if (json.len == 0)
		return HM_NONE;
	switch (json.p[0]) {
	case '"': return hm_val_str(hm_json_text(json, a));
	case '{':
	case '[': return (struct hm_val){.t = HM_V_JSON, .s = json};
	case 't': return hm_val_bool(true);
	case 'f': return hm_val_bool(false);
	case 'n': return HM_NONE;
	default: break;
	}
	if (hm_str_i64(json, &i))
		return hm_val_int(i);
	return hm_val_str(json);
}

size_t hm_val_len(const struct hm_val *v)
{
	struct hm_json_iter it;
	struct hm_str key, value;
	size_t n = 0;

	switch (v->t) {
	case HM_V_LIST:
	case HM_V_MAP: return v->n;
	case HM_V_OBJ:
		if (v->o->type == MSGPACK_OBJECT_ARRAY)
			return v->o->via.array.size;
		return v->o->type == MSGPACK_OBJECT_MAP ? v->o->via.map.size : 0;
	case HM_V_JSON:
		if (!hm_json_iter(v->s, &it))
			return 0;
		while (hm_json_next(&it, &key, &value))
			n++;
		return n;
	default: return 0;
	}
}

/* Walking a JSON container by index is quadratic; answers are bounded (max_response_bytes) and lists in them
 * have at most a batch of elements, and the hot loops (partial results) use hm_json_next themselves. */
struct hm_val hm_val_at(const struct hm_val *v, size_t i, struct hm_str *key_r, struct hm_arena *a)
{
	struct hm_json_iter it;
	struct hm_str key = HM_STR(""), value;
	struct hm_val key_val;

	if (key_r == NULL)
		key_r = &key;
	*key_r = HM_STR("");
	switch (v->t) {
	case HM_V_LIST: return i < v->n ? v->list[i] : HM_NONE;
	case HM_V_MAP:
		if (i >= v->n)
			return HM_NONE;
		*key_r = v->map[i].name;
		return v->map[i].v;
	case HM_V_OBJ:
		if (v->o->type == MSGPACK_OBJECT_ARRAY && i < v->o->via.array.size)
			return hm_val_of_object(&v->o->via.array.ptr[i]);
		if (v->o->type != MSGPACK_OBJECT_MAP || i >= v->o->via.map.size)
			return HM_NONE;
		key_val = hm_val_of_object(&v->o->via.map.ptr[i].key);
		*key_r = hm_val_text(&key_val, a);
		return hm_val_of_object(&v->o->via.map.ptr[i].val);
	case HM_V_JSON:
		if (!hm_json_iter(v->s, &it))
			return HM_NONE;
		for (size_t k = 0; hm_json_next(&it, key_r, &value); k++)
			if (k == i)
				return hm_val_of_json(value, a);
		return HM_NONE;
	default: return HM_NONE;
	}
}

struct hm_val hm_val_get(const struct hm_val *v, struct hm_str name, struct hm_arena *a)
{
	struct hm_str value;

	switch (v->t) {
	case HM_V_MAP:
		for (uint32_t i = 0; i < v->n; i++)
			if (hm_str_eq(v->map[i].name, name))
				return v->map[i].v;
		return HM_NONE;
	case HM_V_OBJ: return hm_val_of_object(hm_mp_get(v->o, name));
	case HM_V_JSON: return hm_json_member(v->s, name, &value) ? hm_val_of_json(value, a) : HM_NONE;
	default: return HM_NONE;
	}
}

bool hm_val_true(const struct hm_val *v)
{
	switch (v->t) {
	case HM_V_NONE: return false;
	case HM_V_BOOL: return v->b;
	case HM_V_INT: return v->i != 0;
	case HM_V_STR: return v->s.len != 0;
	case HM_V_KEY: return true;
	case HM_V_OBJ:
		if (v->o->type != MSGPACK_OBJECT_MAP && v->o->type != MSGPACK_OBJECT_ARRAY)
			return true;
		return hm_val_len(v) != 0;
	default: return hm_val_len(v) != 0;
	}
}

struct hm_str hm_val_text(const struct hm_val *v, struct hm_arena *a)
{
	struct hm_buf b;
	char digits[24];

	switch (v->t) {
	case HM_V_STR:
	case HM_V_JSON: return v->s;
	case HM_V_BOOL: return v->b ? HM_STR("true") : HM_STR("false");
	case HM_V_INT: return hm_arena_str(a, digits_of(v->i, digits));
	case HM_V_OBJ:
		if (v->o->type == MSGPACK_OBJECT_EXT && v->o->via.ext.type == HM_MP_DECIMAL)
			return hm_str_n(v->o->via.ext.ptr, v->o->via.ext.size);
		break;
	case HM_V_NONE:
	case HM_V_KEY: return HM_STR("");
	default: break;
	}
	hm_buf_init_arena(&b, a, HM_VAL_MAX_TEXT);
	hm_val_json(v, &b);
	return b.err ? HM_STR("") : hm_buf_str(&b);
}

bool hm_val_int_of(const struct hm_val *v, int64_t *i_r)
{
	switch (v->t) {
	case HM_V_INT: *i_r = v->i; return true;
	case HM_V_BOOL: *i_r = v->b; return true;
	case HM_V_STR: return hm_str_i64(v->s, i_r);
	default: return false;
	}
}

static bool scalar(const struct hm_val *v)
{
	return v->t == HM_V_BOOL || v->t == HM_V_INT || v->t == HM_V_STR;
}

/* Text of a scalar without an arena. */
static struct hm_str scalar_text(const struct hm_val *v, char digits[24])
{
	if (v->t == HM_V_INT)
		return digits_of(v->i, digits);
	if (v->t == HM_V_BOOL)
		return v->b ? HM_STR("true") : HM_STR("false");
	return v->s;
}

bool hm_val_eq(const struct hm_val *a, const struct hm_val *b)
{
	char x[24], y[24];

	if (a->t == HM_V_INT && b->t == HM_V_INT)
		return a->i == b->i;
	if (a->t == HM_V_STR && b->t == HM_V_STR)
		return hm_str_eq(a->s, b->s);
	if (a->t == HM_V_NONE || b->t == HM_V_NONE)
		return a->t == b->t;
	if (!scalar(a) || !scalar(b))
		return false;
	return hm_str_eq(scalar_text(a, x), scalar_text(b, y));
}

int hm_val_cmp(const struct hm_val *a, const struct hm_val *b)
{
	char x[24], y[24];
	int64_t i, j;

	if (hm_val_int_of(a, &i) && hm_val_int_of(b, &j))
		return i < j ? -1 : i > j;
	if (!scalar(a) || !scalar(b))
		return scalar(b) ? -1 : scalar(a);
	return hm_str_cmp(scalar_text(a, x), scalar_text(b, y));
}

void hm_val_json(const struct hm_val *v, struct hm_buf *out)
{
	switch (v->t) {
	case HM_V_NONE:
	case HM_V_KEY: hm_buf_lit(out, "null"); return;
	case HM_V_BOOL: hm_buf_puts(out, v->b ? HM_STR("true") : HM_STR("false")); return;
	case HM_V_INT: hm_buf_i64(out, v->i); return;
	case HM_V_STR:
		hm_buf_putc(out, '"');
		hm_buf_json(out, v->s);
		hm_buf_putc(out, '"');
		return;
	case HM_V_OBJ: hm_msgpack_to_json(v->o, out); return;
	case HM_V_JSON: hm_buf_puts(out, v->s); return;
	case HM_V_LIST:
		hm_buf_putc(out, '[');
		for (uint32_t i = 0; i < v->n; i++) {
			if (i)
				hm_buf_putc(out, ',');
			hm_val_json(&v->list[i], out);
		}
		hm_buf_putc(out, ']');
		return;
	case HM_V_MAP:
		hm_buf_putc(out, '{');
		for (uint32_t i = 0; i < v->n; i++) {
			if (i)
				hm_buf_putc(out, ',');
			hm_buf_putc(out, '"');
			hm_buf_json(out, v->map[i].name);
			hm_buf_lit(out, "\":");
			hm_val_json(&v->map[i].v, out);
		}
		hm_buf_putc(out, '}');
		return;
	}
}

void hm_val_put(const struct hm_val *v, struct hm_buf *out, struct hm_arena *a)
{
	if (v->t == HM_V_INT)
		hm_buf_i64(out, v->i);
	else
		hm_buf_puts(out, hm_val_text(v, a));
}
