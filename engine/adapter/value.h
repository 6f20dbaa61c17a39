/*
 * value.h - what an expression of an adapter file evaluates to
 *
 * A value is 24 bytes passed by copy; it owns nothing. Texts, lists and maps point
 * into the message, the channel, the answer or the evaluation's arena. NONE is
 * "missing": it makes a JSON member, header or query parameter disappear, which is
 * how "omit when empty" works without a word in the adapter file.
 *
 *   NONE          no such option, member, header
 *   BOOL INT STR  scalars; STR is any bytes
 *   OBJ           a msgpack map, array or decimal of the message
 *   JSON          a span of an answer's JSON text: an object or array, checked
 *   LIST          values (recipients, results of map)
 *   MAP           ordered pairs (form parameters, results of string_values)
 *   KEY           a parsed private key
 */
#ifndef HM_ADAPTER_VALUE_H
#define HM_ADAPTER_VALUE_H

#include <msgpack.h>

#include "base/arena.h"
#include "base/buf.h"

enum hm_vt { HM_V_NONE, HM_V_BOOL, HM_V_INT, HM_V_STR, HM_V_OBJ, HM_V_JSON, HM_V_LIST, HM_V_MAP, HM_V_KEY };

#define HM_VAL_MAX_TEXT (4u << 20) /* of any text an expression makes */

struct hm_key; /* sign.h */
struct hm_pair;
struct hm_val {
	enum hm_vt t;
	uint32_t n; /* elements of LIST and MAP */
	union {
		bool b;
		int64_t i;
		struct hm_str s; /* STR, JSON */
		const msgpack_object *o;
		const struct hm_val *list;
		const struct hm_pair *map;
		const struct hm_key *key;
	};
};
struct hm_pair {
	struct hm_str name;
	struct hm_val v;
};

#define HM_NONE ((struct hm_val){.t = HM_V_NONE})
static inline struct hm_val hm_val_str(struct hm_str s)
{
	return (struct hm_val){.t = HM_V_STR, .s = s};
}
static inline struct hm_val hm_val_int(int64_t i)
{
	return (struct hm_val){.t = HM_V_INT, .i = i};
}
static inline struct hm_val hm_val_bool(bool b)
{
	return (struct hm_val){.t = HM_V_BOOL, .b = b};
}
static inline bool hm_val_none(const struct hm_val *v)
{
	return v->t == HM_V_NONE;
}
/* Empty text becomes NONE: content fields that were not given. */
static inline struct hm_val hm_val_given(struct hm_str s)
{
	return s.len ? hm_val_str(s) : HM_NONE;
}

/* A msgpack object as a value: scalars become scalars. */
struct hm_val hm_val_of_object(const msgpack_object *o);
/* A JSON value as a value: scalars are decoded into the arena, containers stay text. */
struct hm_val hm_val_of_json(struct hm_str json, struct hm_arena *a);
/* false: NONE, false, 0, "", empty containers. */
bool hm_val_true(const struct hm_val *v);
/* Scalars compare by their text, so that 0 equals "0" (providers are not strict either). */
bool hm_val_eq(const struct hm_val *a, const struct hm_val *b);
/* <0 0 >0; numbers when both are whole numbers, texts otherwise. */
int hm_val_cmp(const struct hm_val *a, const struct hm_val *b);
/* The text of a scalar (NONE: empty); containers as compact JSON. Views where possible, else arena. */
struct hm_str hm_val_text(const struct hm_val *v, struct hm_arena *a);
bool hm_val_int_of(const struct hm_val *v, int64_t *i_r) HM_MUSTCHECK; /* INT, BOOL or decimal text */
/* Appends as JSON; binary garbage becomes U+FFFD. */
void hm_val_json(const struct hm_val *v, struct hm_buf *out);
/* Appends as text. */
void hm_val_put(const struct hm_val *v, struct hm_buf *out, struct hm_arena *a);
/* Number of elements, and the i-th element (with its key for maps; NULL is fine). */
size_t hm_val_len(const struct hm_val *v);
struct hm_val hm_val_at(const struct hm_val *v, size_t i, struct hm_str *key_r, struct hm_arena *a);
/* A member of a map by name; NONE when absent. */
struct hm_val hm_val_get(const struct hm_val *v, struct hm_str name, struct hm_arena *a);

#endif
