/*
 * jsonscan.h - reads a few values out of a JSON answer without a tree
 *
 * Answers are small and asked for two or three members, so a scan over the text is
 * cheaper than building anything. hm_json_check walks the whole text once: only a
 * complete, well-formed, UTF-8 document may be looked into; a truncated answer must
 * never pass for a success. After that the look-ups need not check again, but they
 * never read past the end whatever they are given.
 * No memory is used except for texts with escapes (caller's arena).
 */
#ifndef HM_ADAPTER_JSONSCAN_H
#define HM_ADAPTER_JSONSCAN_H

#include "base/arena.h"
#include "base/str.h"

#define HM_JSONSCAN_DEPTH 64

/* True when `json` is exactly one JSON value (blanks around it allowed). */
bool hm_json_check(struct hm_str json) HM_MUSTCHECK;
/* The value without blanks around it. */
struct hm_str hm_json_trim(struct hm_str json);
/* A cursor over the members of an object or the elements of an array. */
struct hm_json_iter {
	const char *p, *end;
	bool object;
};
bool hm_json_iter(struct hm_str container, struct hm_json_iter *it); /* false: not a container */
/* Next value; key_r is the raw text between the quotes of the name (empty in arrays). */
bool hm_json_next(struct hm_json_iter *it, struct hm_str *key_r, struct hm_str *value_r);
/* Member by name (names with escapes are compared decoded), element by index (negative: from the end). */
bool hm_json_member(struct hm_str object, struct hm_str name, struct hm_str *value_r);
bool hm_json_element(struct hm_str array, int32_t index, struct hm_str *value_r);
/* The text of a string value, quotes removed, escapes decoded (arena only when there are any). */
struct hm_str hm_json_text(struct hm_str value, struct hm_arena *a);

#endif
