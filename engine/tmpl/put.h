/*
 * put.h - the few copies and look-ups that every placeholder of every message goes through, inline
 *
 * Most pieces of a message are shorter than a call of memcpy or memcmp is worth. Private to engine/tmpl.
 */
#ifndef HM_TMPL_PUT_H
#define HM_TMPL_PUT_H

#include <msgpack.h>

#include "base/buf.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* memcpy; reads and writes exactly n bytes. */
static inline void hm_copy(char *d, const char *s, size_t n)
{
	if (n >= 16) {
		if (n > 64) {
			memcpy(d, s, n);
			return;
		}
		memcpy(d, s, 16);
		if (n > 32) {
			memcpy(d + 16, s + 16, 16);
			memcpy(d + n - 32, s + n - 32, 16);
		}
		memcpy(d + n - 16, s + n - 16, 16);
	} else if (n >= 8) {
		memcpy(d, s, 8);
		memcpy(d + n - 8, s + n - 8, 8);
	} else if (n >= 4) {
		memcpy(d, s, 4);
		memcpy(d + n - 4, s + n - 4, 4);
	} else if (n > 0) {
		d[0] = s[0];
		d[n / 2] = s[n / 2];
		d[n - 1] = s[n - 1];
	}
}

static inline void hm_put(struct hm_buf *b, const char *p, size_t n)
{
	if (n && hm_likely(hm_buf_reserve(b, n))) { /* b->p may still be NULL */
		hm_copy(b->p + b->len, p, n);
		b->len += n;
	}
}

/* The same for literals, which are followed by HM_LIT_PAD bytes; writes up to that much more than n. */
#define HM_LIT_PAD 32
static inline void hm_copy_padded(char *d, const char *s, size_t n)
{
	memcpy(d, s, 16);
	memcpy(d + 16, s + 16, 16);
	if (n > 32)
		memcpy(d + 32, s + 32, n - 32);
}

static inline bool hm_differ64(const char *a, const char *b)
{
	uint64_t x, y;

	memcpy(&x, a, 8);
	memcpy(&y, b, 8);
	return x != y;
}

static inline bool hm_differ32(const char *a, const char *b)
{
	uint32_t x, y;

	memcpy(&x, a, 4);
	memcpy(&y, b, 4);
	return x != y;
}

/* memcmp(a, b, n) == 0 for names */
static inline bool hm_same(const char *a, const char *b, size_t n)
{
	if (n >= 8) {
		if (hm_unlikely(n > 16))
			return memcmp(a, b, n) == 0;
		return !hm_differ64(a, b) && !hm_differ64(a + n - 8, b + n - 8);
	}
	if (n >= 4)
		return !hm_differ32(a, b) && !hm_differ32(a + n - 4, b + n - 4);
	return n == 0 || (a[0] == b[0] && a[n / 2] == b[n / 2] && a[n - 1] == b[n - 1]);
}

/* Spreads short names; n > 0 */
static inline uint32_t hm_name_hash(const char *p, uint32_t n)
{
	return n * 5u + (unsigned char)p[0] * 3u + (unsigned char)p[n - 1];
}

static inline bool hm_mp_key_is(const msgpack_object_kv *kv, struct hm_str name)
{
	return kv->key.via.str.size == name.len && kv->key.type == MSGPACK_OBJECT_STR &&
	       hm_same(kv->key.via.str.ptr, name.p, name.len);
}

/* The value under a key of a msgpack map, or NULL; of two with one name the last counts. */
static inline const msgpack_object *hm_mp_find(const msgpack_object *map, struct hm_str key)
{
	const msgpack_object_kv *first = map->via.map.ptr;
	/* not first + size: an empty map may have no memory, and NULL + 0 is undefined */
	const msgpack_object_kv *kv = (const msgpack_object_kv *)((uintptr_t)first +
								  map->via.map.size * sizeof(*kv));

	while (kv != first) {
		kv--;
		if (hm_mp_key_is(kv, key))
			return &kv->val;
	}
	return NULL;
}

/* escape.c: where the first & < > " ' of s stands; s.len when there is none. The plain one is the measure of the other. */
extern const uint8_t hm_markup_special[256];
static inline size_t hm_markup_find_plain(struct hm_str s)
{
	size_t i;

	for (i = 0; i < s.len && !hm_markup_special[(unsigned char)s.p[i]]; i++)
		;
	return i;
}

#ifdef __SSE2__
/* Bit i is set when byte i is special: 26 and 27 differ in bit 0, 3c and 3e in bit 1. */
static inline unsigned hm_markup_mask(__m128i v)
{
	__m128i m = _mm_cmpeq_epi8(_mm_or_si128(v, _mm_set1_epi8(1)), _mm_set1_epi8(0x27));

	m = _mm_or_si128(m, _mm_cmpeq_epi8(_mm_or_si128(v, _mm_set1_epi8(2)), _mm_set1_epi8(0x3e)));
	m = _mm_or_si128(m, _mm_cmpeq_epi8(v, _mm_set1_epi8(0x22)));
	return (unsigned)_mm_movemask_epi8(m);
}

static inline size_t hm_markup_find(struct hm_str s)
{
	unsigned m;

	if (s.len >= 16) {
		size_t i = 0;

		for (; i + 16 <= s.len; i += 16) {
			m = hm_markup_mask(_mm_loadu_si128((const __m128i *)(const void *)(s.p + i)));
			if (m)
				return i + (size_t)__builtin_ctz(m);
		}
		if (i == s.len)
			return i;
		i = s.len - 16;
		m = hm_markup_mask(_mm_loadu_si128((const __m128i *)(const void *)(s.p + i)));
		return m ? i + (size_t)__builtin_ctz(m) : s.len;
	}
	if (s.len >= 4) { /* the first half of it and the last, which may overlap */
		size_t half = s.len >= 8 ? 8 : 4, at;
		uint64_t lo = 0, hi = 0;

		if (half == 8) {
			memcpy(&lo, s.p, 8);
			memcpy(&hi, s.p + s.len - 8, 8);
			m = hm_markup_mask(_mm_set_epi64x((long long)hi, (long long)lo));
		} else {
			uint32_t l, h;

			memcpy(&l, s.p, 4);
			memcpy(&h, s.p + s.len - 4, 4);
			m = hm_markup_mask(_mm_cvtsi64_si128((long long)((uint64_t)h << 32 | l)));
		}
		if (m == 0)
			return s.len;
		at = (size_t)__builtin_ctz(m);
		return at < half ? at : s.len - 2 * half + at;
	}
	return hm_markup_find_plain(s);
}
#else
#define hm_markup_find hm_markup_find_plain
#endif

/* The decimal number v >= 0; returns where it begins in front of `end`. */
static inline char *hm_digits_before(char *end, uint64_t v)
{
	do {
		*--end = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	return end;
}

static inline void hm_put_i64(struct hm_buf *b, int64_t v)
{
	char text[24], *end = text + sizeof(text), *p;

	p = hm_digits_before(end, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
	if (v < 0)
		*--p = '-';
	hm_put(b, p, (size_t)(end - p));
}

/*
 * Length of the part of a decimal's text that number_format "computer" prints: all of it but zeros at the end of
 * the fraction. 0: not that simple (an exponent, more than 16 decimals, -0, many digits).
 */
static inline size_t hm_decimal_shown(struct hm_str s)
{
	size_t start = s.len > 0 && s.p[0] == '-', point = 0, i, n = s.len;

	if (n > 36)
		return 0;
	for (i = start; i < n; i++) {
		if ((unsigned char)(s.p[i] - '0') <= 9)
			continue;
		if (s.p[i] != '.' || point || i == start)
			return 0;
		point = i;
	}
	if (point == 0) /* an integer that is not one of msgpack's: no leading zero */
		return n > start && s.p[start] != '0' ? n : 0;
	if (point + 1 == n || n - point > 17 || (s.p[start] == '0' && (point != start + 1 || start)))
		return 0;
	while (s.p[n - 1] == '0')
		n--;
	return n - 1 == point ? point : n;
}

#endif
