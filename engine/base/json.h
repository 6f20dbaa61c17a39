/*
 * json.h - JSON in and out, on msgpack
 *
 * Inside the engine all user data is msgpack (zero copy, ordered, typed); JSON is
 * translated at the edge. Parsing is yajl's SAX interface feeding a packer, so
 * there is no tree. Numbers: an integer that fits 64 bits becomes int/uint; any
 * other number keeps its decimal text as ext type HM_MP_DECIMAL, because
 * templates and prices are decimal and must not pass through binary floats.
 * Depth limit 32, duplicate keys kept as they stand (last wins on look-up).
 */
#ifndef HM_BASE_JSON_H
#define HM_BASE_JSON_H

#include <msgpack.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#define HM_MP_DECIMAL	  1   /* msgpack ext type: ASCII decimal text, e.g. "12.50" */
#define HM_DECIMAL_MAX	  128 /* bytes of a decimal's text */
#define HM_JSON_MAX_DEPTH 32
#define HM_MP_MAX_VALUES  (1u << 20) /* in one document: bounds what decoding allocates */

/* Appends the msgpack form of one JSON value; trailing non-blanks are an error.
 * e gets line and col of the fault. */
int hm_json_to_msgpack(struct hm_str json, struct hm_buf *out, struct hm_err *e) HM_MUSTCHECK;
/* Appends compact JSON. Binary becomes base64 text. */
void hm_msgpack_to_json(const msgpack_object *o, struct hm_buf *out);

/* A msgpack document decoded without copying: strings point into `bytes`, which
 * must outlive the object; nodes live in the arena-like zone, reused by the owner.
 * The bytes are proved first: exactly one value, lengths that fit, depth and number
 * of values within the limits above, strings UTF-8, decimals decimal; nothing is
 * allocated for a document that fails. */
int hm_msgpack_decode(msgpack_zone *zone, struct hm_str bytes, msgpack_object *o_r,
		      struct hm_err *e) HM_MUSTCHECK;

/* Look-ups on objects; all accept any type and return NULL/false when it does not fit. */
const msgpack_object *hm_mp_get(const msgpack_object *map, struct hm_str key);
bool hm_mp_str(const msgpack_object *o, struct hm_str *v_r); /* str or bin */
bool hm_mp_u64(const msgpack_object *o, uint64_t *v_r);
bool hm_mp_i64(const msgpack_object *o, int64_t *v_r);
bool hm_mp_bool(const msgpack_object *o, bool *v_r);
bool hm_mp_decimal(const msgpack_object *o, struct hm_str *text_r); /* ext HM_MP_DECIMAL only */
bool hm_decimal_valid(struct hm_str text);	      /* a JSON number of at most HM_DECIMAL_MAX bytes */
const char *hm_mp_type_name(const msgpack_object *o); /* "string", "number", ... for error texts */

/* Packing into an hm_buf. */
void hm_mp_put_map(struct hm_buf *b, uint32_t n);
void hm_mp_put_array(struct hm_buf *b, uint32_t n);
void hm_mp_put_str(struct hm_buf *b, struct hm_str s);
void hm_mp_put_bin(struct hm_buf *b, struct hm_str s);
void hm_mp_put_u64(struct hm_buf *b, uint64_t v);
void hm_mp_put_i64(struct hm_buf *b, int64_t v);
void hm_mp_put_bool(struct hm_buf *b, bool v);
void hm_mp_put_nil(struct hm_buf *b);
void hm_mp_put_decimal(struct hm_buf *b, struct hm_str text);
void hm_mp_put_object(struct hm_buf *b, const msgpack_object *o);
#define hm_mp_key(b, lit) hm_mp_put_str((b), HM_STR(lit))

#endif
