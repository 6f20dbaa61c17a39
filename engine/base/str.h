/*
 * str.h - a view of bytes: pointer and length, owns nothing, needs no NUL
 */
#ifndef HM_BASE_STR_H
#define HM_BASE_STR_H

#include "base/defs.h"

struct hm_str {
	const char *p;
	size_t len;
};

#define HM_STR(lit) ((struct hm_str){"" lit, sizeof(lit) - 1})
#define HM_STR_INIT(lit)                \
	{                               \
		"" lit, sizeof(lit) - 1 \
	}
#define HM_STR_NULL ((struct hm_str){NULL, 0})
#define HM_STRF(s)  (int)(s).len, (s).p ? (s).p : "" /* for "%.*s" */

static inline struct hm_str hm_str_n(const char *p, size_t len)
{
	return (struct hm_str){p, len};
}
static inline struct hm_str hm_str_c(const char *cstr)
{
	return (struct hm_str){cstr, cstr ? strlen(cstr) : 0};
}
static inline bool hm_str_eq(struct hm_str a, struct hm_str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}
static inline bool hm_str_is(struct hm_str a, const char *cstr)
{
	return hm_str_eq(a, hm_str_c(cstr));
}
int hm_str_cmp(struct hm_str a, struct hm_str b);  /* bytewise, <0 0 >0 */
bool hm_str_ieq(struct hm_str a, struct hm_str b); /* ASCII case-insensitive */
bool hm_str_starts(struct hm_str s, struct hm_str prefix);
bool hm_str_ends(struct hm_str s, struct hm_str suffix);
struct hm_str hm_str_trim(struct hm_str s); /* ASCII blanks on both sides */
/* Index of the first needle, or -1. */
ptrdiff_t hm_str_find(struct hm_str s, struct hm_str needle);
ptrdiff_t hm_str_chr(struct hm_str s, char c);
/* Cuts at the first `sep`: returns the part before it and advances *rest_r; false when *rest_r is empty. */
bool hm_str_split(struct hm_str *rest_r, char sep, struct hm_str *part_r);
/* Whole string as decimal; false on overflow, sign, blanks or junk. */
bool hm_str_u64(struct hm_str s, uint64_t *v_r) HM_MUSTCHECK;
bool hm_str_i64(struct hm_str s, int64_t *v_r) HM_MUSTCHECK;
/* "500ms" "3s" "5m" "2h" "7d"; a bare number is refused unless it is 0. Result in ms. */
bool hm_str_duration_ms(struct hm_str s, uint64_t *ms_r) HM_MUSTCHECK;
/* "64KiB" "10MB" "4096". Result in bytes. */
bool hm_str_bytes(struct hm_str s, uint64_t *bytes_r) HM_MUSTCHECK;
/* Edits (insert, delete, replace, swap neighbours) that turn a into b. */
size_t hm_str_distance(struct hm_str a, struct hm_str b);
/* The most similar of a NULL-terminated list, or NULL when none is near: for "did you mean". */
const char *hm_str_nearest(struct hm_str s, const char *const *names);
uint64_t hm_hash64(const void *p, size_t len,
		   uint64_t seed); /* fast, not cryptographic, stable across versions */

/* UTF-8. All take any bytes and never read past the end. */
bool hm_utf8_valid(struct hm_str s);
size_t hm_utf8_valid_prefix(struct hm_str s); /* bytes before the first bad one */
size_t hm_utf8_codepoints(struct hm_str s);
size_t hm_utf8_utf16_units(struct hm_str s);
/* Decodes one code point at s.p (s.len > 0); *len_r = bytes used. Returns U+FFFD and 1 on bad bytes. */
uint32_t hm_utf8_decode(struct hm_str s, size_t *len_r);
size_t hm_utf8_encode(uint32_t cp, char out[4]);
/* Longest prefix of at most `max` bytes that does not cut a code point. */
size_t hm_utf8_cut(struct hm_str s, size_t max);

#endif
