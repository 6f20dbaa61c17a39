/*
 * buf.h - growable bytes that declare their ceiling at birth
 *
 * Appends never need checking one by one: the first that would pass `max` (or
 * runs out of memory) sets b->err (HM_ELIMIT / HM_ENOMEM) and later appends do
 * nothing; look at b->err once at the end. Memory is the heap, or an arena (then
 * fini is optional and growth in place is cheap while nothing else allocates).
 */
#ifndef HM_BASE_BUF_H
#define HM_BASE_BUF_H

#include "base/arena.h"
#include "base/defs.h"
#include "base/str.h"

struct hm_buf {
	char *p;
	size_t len, cap, max;
	struct hm_arena *arena;
	int err;
};
void hm_buf_init(struct hm_buf *b, size_t max);
void hm_buf_init_arena(struct hm_buf *b, struct hm_arena *a, size_t max);
void hm_buf_fini(struct hm_buf *b);
static inline void hm_buf_reset(struct hm_buf *b) /* empties, keeps memory, clears err */
{
	b->len = 0;
	b->err = 0;
}
bool hm_buf_grow(struct hm_buf *b, size_t more);		 /* slow path of reserve */
static inline bool hm_buf_reserve(struct hm_buf *b, size_t more) /* room for `more` bytes at b->p + b->len */
{
	if (hm_likely(b->cap - b->len >= more && b->err == 0))
		return true;
	return hm_buf_grow(b, more);
}
static inline void hm_buf_put(struct hm_buf *b, const void *p, size_t n)
{
	if (hm_buf_reserve(b, n) && n) {
		memcpy(b->p + b->len, p, n);
		b->len += n;
	}
}
static inline void hm_buf_puts(struct hm_buf *b, struct hm_str s)
{
	hm_buf_put(b, s.p, s.len);
}
static inline void hm_buf_putc(struct hm_buf *b, char c)
{
	if (hm_buf_reserve(b, 1))
		b->p[b->len++] = c;
}
#define hm_buf_lit(b, lit) hm_buf_put((b), "" lit, sizeof(lit) - 1)
void hm_buf_printf(struct hm_buf *b, const char *fmt, ...) HM_PRINTF(2, 3);
void hm_buf_u64(struct hm_buf *b, uint64_t v);
void hm_buf_i64(struct hm_buf *b, int64_t v);
/* Removes n bytes from the front (memmove). */
void hm_buf_consume(struct hm_buf *b, size_t n);
/* NUL-terminates without counting the NUL; "" on failure. */
const char *hm_buf_cstr(struct hm_buf *b);
static inline struct hm_str hm_buf_str(const struct hm_buf *b)
{
	return hm_str_n(b->p, b->len);
}
/* Escapers used everywhere (SIMD later; scalar twin kept): the text only, no quotes around it. */
void hm_buf_json(struct hm_buf *b, struct hm_str s); /* RFC 8259; raw UTF-8 kept, bad bytes become U+FFFD */
void hm_buf_html(struct hm_buf *b, struct hm_str s);
void hm_buf_xml(struct hm_buf *b, struct hm_str s);
void hm_buf_percent(struct hm_buf *b, struct hm_str s); /* RFC 3986 unreserved kept, else %HH */
void hm_buf_form(struct hm_buf *b, struct hm_str s);	/* application/x-www-form-urlencoded: space is '+' */
void hm_buf_hex(struct hm_buf *b, const void *p, size_t n); /* lower case */
void hm_buf_base64(struct hm_buf *b, const void *p, size_t n);
void hm_buf_base64url(struct hm_buf *b, const void *p, size_t n); /* no padding */
/* Decodes either alphabet, padding optional; false on junk. */
bool hm_buf_unbase64(struct hm_buf *b, struct hm_str s) HM_MUSTCHECK;
bool hm_buf_unhex(struct hm_buf *b, struct hm_str s) HM_MUSTCHECK;

#endif
