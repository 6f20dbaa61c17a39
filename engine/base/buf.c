/*
 * buf.c - growable bytes with a ceiling
 *
 * One byte more than `cap` is always allocated, so that hm_buf_cstr can write its
 * NUL without growing.
 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/fault.h"

void hm_buf_init(struct hm_buf *b, size_t max)
{
	*b = (struct hm_buf){.max = max};
}

void hm_buf_init_arena(struct hm_buf *b, struct hm_arena *a, size_t max)
{
	*b = (struct hm_buf){.max = max, .arena = a};
}

void hm_buf_fini(struct hm_buf *b)
{
	if (b->arena == NULL)
		free(b->p);
	b->p = NULL;
	b->len = b->cap = 0;
	b->err = 0;
}

bool hm_buf_grow(struct hm_buf *b, size_t more)
{
	size_t cap;
	char *p;

	if (b->err)
		return false;
	if (more <= b->cap - b->len)
		return true;
	if (b->len > b->max || more > b->max - b->len) {
		b->err = HM_ELIMIT;
		return false;
	}
	cap = b->cap ? b->cap : 64;
	while (cap < b->len + more)
		cap = cap > SIZE_MAX / 4 ? b->len + more : cap * 2;
	cap = hm_min(cap, b->max);
	if (hm_fault(HM_FAULT_alloc) == HM_FAULT_FAIL)
		p = NULL;
	else if (b->arena)
		p = hm_arena_grow(b->arena, b->p, b->p ? b->cap + 1 : 0, cap + 1);
	else
		p = realloc(b->p, cap + 1);
	if (p == NULL) {
		b->err = HM_ENOMEM;
		if (b->arena)
			b->arena->failed = true; /* also where the buffer is emptied and used again */
		return false;
	}
	b->p = p;
	b->cap = cap;
	return true;
}

void hm_buf_printf(struct hm_buf *b, const char *fmt, ...)
{
	va_list ap;
	size_t room;
	int n;

	if (!hm_buf_reserve(b, 1) && b->err)
		return;
	room = b->cap - b->len + 1; /* with the NUL's byte */
	va_start(ap, fmt);
	n = vsnprintf(b->p + b->len, room, fmt, ap);
	va_end(ap);
	if (n < 0) {
		b->err = HM_EINVAL;
		return;
	}
	if ((size_t)n >= room) {
		if (!hm_buf_reserve(b, (size_t)n))
			return;
		va_start(ap, fmt);
		vsnprintf(b->p + b->len, (size_t)n + 1, fmt, ap);
		va_end(ap);
	}
	b->len += (size_t)n;
}

void hm_buf_u64(struct hm_buf *b, uint64_t v)
{
	char text[20];
	size_t at = sizeof(text);

	do {
		text[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	hm_buf_put(b, text + at, sizeof(text) - at);
}

void hm_buf_i64(struct hm_buf *b, int64_t v)
{
	if (v < 0) {
		hm_buf_putc(b, '-');
		hm_buf_u64(b, 0 - (uint64_t)v);
	} else {
		hm_buf_u64(b, (uint64_t)v);
	}
}

void hm_buf_consume(struct hm_buf *b, size_t n)
{
	hm_assert(n <= b->len);
	b->len -= n;
	if (n && b->len)
		memmove(b->p, b->p + n, b->len);
}

const char *hm_buf_cstr(struct hm_buf *b)
{
	if (b->err || b->p == NULL)
		return "";
	b->p[b->len] = '\0';
	return b->p;
}
