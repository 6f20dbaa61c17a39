/*
 * scan.h - JSON looked at in place: is it well formed, and what is at that key?
 *
 * For request bodies at hundreds of thousands a second: no tree, no allocation.
 * scan_valid() holds the text against RFC 8259 once (depth limit 64); after that
 * the look-ups work on slices of the same text and trust it.
 */
#ifndef HM_SINK_SCAN_H
#define HM_SINK_SCAN_H

#include "base/buf.h"
#include "base/str.h"

#define SCAN_MAX_DEPTH 64

bool scan_valid(struct hm_str text);
/* Raw slice of the value at a key of an object; p == NULL when absent or not an object. */
struct hm_str scan_get(struct hm_str object, const char *key);
/* "a.b.c" */
struct hm_str scan_path(struct hm_str object, const char *path);
/* Members of an object (key_r = text between the quotes, escapes kept) or elements of an array (key_r NULL or empty). */
struct scan_it {
	const char *p, *end;
	bool object;
};
bool scan_first(struct scan_it *it, struct hm_str value); /* false when neither object nor array */
bool scan_next(struct scan_it *it, struct hm_str *key_r, struct hm_str *value_r);
/* What a raw slice is: '{' '[' '"' 'n' (null) 't' 'f' '0' (number), 0 for absent. */
char scan_type(struct hm_str raw);
/* Text of a raw string: between the quotes, or unescaped into out. p == NULL when not a string. */
struct hm_str scan_text(struct hm_str raw, struct hm_buf *out);
bool scan_i64(struct hm_str raw, int64_t *v_r) HM_MUSTCHECK;

#endif
