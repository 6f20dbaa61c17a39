/*
 * rich_int.h - what the three readers of rich text share: the list being built, and finding markup fast
 */
#ifndef HM_ADAPT_RICH_INT_H
#define HM_ADAPT_RICH_INT_H

#include "adapt/rich.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Nodes as they are found. Later ones may still change earlier ones (a bracket that turns out to be a link);
 * hm_rich_finish makes the list what rich.h promises. */
struct hm_rich_b {
	struct hm_arena *arena;
	struct hm_rich_node *v;
	size_t n, cap, first; /* first: nodes to begin with */
	size_t seal; /* nodes before this one are not made longer: they stand for a sign that may become markup */
	int err;
	bool loose; /* texts side by side, spans to check: finish has work to do */
	struct hm_rich_node spare;
};

int hm_rich_grow(struct hm_rich_b *b);
static inline struct hm_rich_node *hm_rich_push(struct hm_rich_b *b, enum hm_rich_kind kind)
{
	struct hm_rich_node *node;

	if (hm_unlikely(b->n == b->cap) && hm_rich_grow(b))
		node = &b->spare; /* err is set; what is written here is nobody's */
	else
		node = &b->v[b->n++];
	*node = (struct hm_rich_node){.kind = (uint8_t)kind};
	return node;
}
/* Text without line breaks and control characters; joined to the text before it when it follows that in memory. */
static inline void hm_rich_text(struct hm_rich_b *b, const char *p, size_t len)
{
	struct hm_rich_node *last = b->n ? &b->v[b->n - 1] : NULL;

	if (len == 0)
		return;
	if (last && last->kind == HM_RICH_TEXT) {
		if (b->n > b->seal && last->text.p + last->text.len == p) {
			last->text.len += len;
			return;
		}
		b->loose = true;
	}
	hm_rich_push(b, HM_RICH_TEXT)->text = hm_str_n(p, len);
}
int hm_rich_finish(struct hm_rich_b *b, struct hm_rich *out, struct hm_err *e);

int hm_rich_read_markdown(struct hm_rich_b *b, struct hm_str s);
int hm_rich_read_html(struct hm_rich_b *b, struct hm_str s);
/* Text with line breaks and maybe control characters, nothing in it is markup. */
void hm_rich_verbatim(struct hm_rich_b *b, struct hm_str s);

/* Where the value of the attribute that starts at html[at] ends, and whether it is in quotes (rich_html.c). */
size_t hm_rich_attr_end(struct hm_str html, size_t at, bool *quoted);

static inline bool hm_is_punct(unsigned char c)
{
	return (c > 0x20 && c < 0x30) || (c > 0x39 && c < 0x41) || (c > 0x5a && c < 0x61) ||
	       (c > 0x7a && c < 0x7f);
}
static inline bool hm_is_alnum(unsigned char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}
static inline bool hm_is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}
static inline bool hm_is_blank(unsigned char c)
{
	return c == ' ' || c == '\t';
}
/* Length of the control character at p (C0 but tab and line breaks, DEL, C1), else 0. */
static inline size_t hm_control(const char *p, const char *e)
{
	unsigned char c = (unsigned char)*p;

	if (c < 0x20)
		return c != '\t' && c != '\n' && c != '\r';
	if (c == 0x7f)
		return 1;
	return c == 0xc2 && e - p > 1 && (unsigned char)p[1] >= 0x80 && (unsigned char)p[1] < 0xa0 ? 2 : 0;
}

/* Bytes that may matter to markdown: all below 0x20, * : [ \ ] ^ _ ` DEL and 0xc2 (C1 controls). The test is
 * for quick passing over the rest; it may stop at a byte that means nothing. */
static inline bool hm_rich_stops(unsigned char c)
{
	return c < 0x20 || (c & 0xef) == '*' || (unsigned char)(c - 0x5b) <= 5 || c == 0x7f || c == 0xc2;
}
static inline const char *hm_rich_skip_scalar(const char *p, const char *e)
{
	while (p < e && !hm_rich_stops((unsigned char)*p))
		p++;
	return p;
}
static inline const char *hm_rich_skip(const char *p, const char *e)
{
#ifdef __SSE2__
	const __m128i low = _mm_set1_epi8(0x1f), star = _mm_set1_epi8('*'), fold = _mm_set1_epi8((char)0xef),
		      from = _mm_set1_epi8(0x5b), span = _mm_set1_epi8(5), del = _mm_set1_epi8(0x7f),
		      c2 = _mm_set1_epi8((char)0xc2);

	for (; e - p >= 16; p += 16) {
		__m128i x = _mm_loadu_si128((const __m128i *)(const void *)p), y = _mm_sub_epi8(x, from);
		__m128i hit = _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(x, low), x),
					   _mm_cmpeq_epi8(_mm_and_si128(x, fold), star));
		int mask;

		hit = _mm_or_si128(hit, _mm_cmpeq_epi8(_mm_min_epu8(y, span), y));
		hit = _mm_or_si128(hit, _mm_or_si128(_mm_cmpeq_epi8(x, del), _mm_cmpeq_epi8(x, c2)));
		mask = _mm_movemask_epi8(hit);
		if (mask)
			return p + __builtin_ctz((unsigned)mask);
	}
#endif
	return hm_rich_skip_scalar(p, e);
}

#endif
