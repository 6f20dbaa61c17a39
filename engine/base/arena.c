/*
 * arena.c - bump memory
 *
 *   blocks -> [head|used....|pos      end] -> [head|full] -> [head|full]   (oldest last)
 *   big    -> [head|one allocation] -> [head|one allocation]
 *
 * Big allocations stand on a list of their own, so that one of them neither wastes
 * the rest of the current block nor hides from a rewind. Under ASan everything not
 * handed out is poisoned: a pointer kept past a rewind shows at once.
 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sanitizer/asan_interface.h>

#include "base/fault.h"

struct hm_arena_block {
	struct hm_arena_block *next;
	size_t bytes; /* with this head */
	bool pooled;
};
#define HEAD	  ((sizeof(struct hm_arena_block) + 15) & ~(size_t)15)
#define BLOCK_MAX (64u * 1024u) /* blocks without a pool double up to this */

static uint64_t big_count;

static char *block_data(struct hm_arena_block *b)
{
	return (char *)b + HEAD;
}

static size_t round16(size_t n)
{
	return (n + 15) & ~(size_t)15;
}

static void block_free(struct hm_arena *a, struct hm_arena_block *b)
{
	a->used -= b->bytes;
	ASAN_UNPOISON_MEMORY_REGION(b, b->bytes);
	if (b->pooled)
		hm_slab_free(a->pool, b);
	else
		free(b);
}

static struct hm_arena_block *block_new(struct hm_arena *a, size_t bytes, bool pooled)
{
	struct hm_arena_block *b;

	if (a->limit && (bytes > a->limit || a->used > a->limit - bytes))
		return NULL;
	if (pooled) {
		b = hm_slab_alloc(a->pool);
	} else {
		if (hm_fault(HM_FAULT_alloc) == HM_FAULT_FAIL)
			return NULL;
		b = malloc(bytes);
	}
	if (b == NULL)
		return NULL;
	*b = (struct hm_arena_block){.bytes = bytes, .pooled = pooled};
	a->used += bytes;
	ASAN_POISON_MEMORY_REGION(block_data(b), bytes - HEAD);
	return b;
}

static void use_block(struct hm_arena *a, struct hm_arena_block *b)
{
	a->blocks = b;
	a->pos = b ? block_data(b) : NULL;
	a->end = b ? (char *)b + b->bytes : NULL;
}

void hm_arena_init(struct hm_arena *a, struct hm_slab *pool, size_t limit)
{
	hm_assert(pool == NULL || pool->size > 2 * HEAD);
	*a = (struct hm_arena){.pool = pool, .limit = limit};
}

void hm_arena_fini(struct hm_arena *a)
{
	struct hm_arena_mark nothing = {0};

	hm_arena_rewind(a, nothing);
	a->failed = false;
}

void hm_arena_reset(struct hm_arena *a)
{
	struct hm_arena_block *first = a->blocks;
	struct hm_arena_mark m = {0};

	if (first == NULL) {
		hm_arena_fini(a);
		return;
	}
	while (first->next)
		first = first->next;
	m.block = first;
	m.pos = block_data(first);
	hm_arena_rewind(a, m);
	a->failed = false;
}

static void *alloc_big(struct hm_arena *a, size_t n)
{
	struct hm_arena_block *b;

	b = n > SIZE_MAX - HEAD ? NULL : block_new(a, HEAD + n, false);
	if (b == NULL) {
		a->failed = true;
		return NULL;
	}
	__atomic_add_fetch(&big_count, 1, __ATOMIC_RELAXED);
	b->next = a->big;
	a->big = b;
	ASAN_UNPOISON_MEMORY_REGION(block_data(b), n);
	return block_data(b);
}

static void *alloc_slow(struct hm_arena *a, size_t n)
{
	size_t bytes = a->pool ? a->pool->size : HM_ARENA_BLOCK;
	struct hm_arena_block *b;

	if (n > bytes - HEAD) /* larger than a block */
		return alloc_big(a, n);
	if (a->pool == NULL && a->blocks)
		bytes = hm_min(a->blocks->bytes * 2, (size_t)BLOCK_MAX);
	b = block_new(a, bytes, a->pool != NULL);
	if (b == NULL && a->pool == NULL && bytes > HM_ARENA_BLOCK)
		b = block_new(a, HM_ARENA_BLOCK, false); /* near the limit a small block may still fit */
	if (b == NULL) {
		a->failed = true;
		return NULL;
	}
	b->next = a->blocks;
	use_block(a, b);
	a->pos += n;
	ASAN_UNPOISON_MEMORY_REGION(block_data(b), n);
	return block_data(b);
}

void *hm_arena_alloc(struct hm_arena *a, size_t n)
{
	size_t size;
	char *p = a->pos;

	if (hm_unlikely(n > SIZE_MAX - 64)) {
		a->failed = true;
		return NULL;
	}
	size = round16(n ? n : 1);
	if (hm_unlikely(size > (size_t)(a->end - a->pos)))
		return alloc_slow(a, size);
	a->pos += size;
	ASAN_UNPOISON_MEMORY_REGION(p, n);
	return p;
}

void *hm_arena_zalloc(struct hm_arena *a, size_t n)
{
	void *p = hm_arena_alloc(a, n);

	if (p)
		memset(p, 0, n);
	return p;
}

void *hm_arena_grow(struct hm_arena *a, void *p, size_t old_n, size_t new_n)
{
	size_t old_size = round16(old_n ? old_n : 1);
	void *q;

	if (p == NULL)
		return hm_arena_alloc(a, new_n);
	if (new_n <= old_n)
		return p;
	if (new_n > SIZE_MAX - 64) {
		a->failed = true;
		return NULL;
	}
	if ((char *)p + old_size == a->pos && round16(new_n) - old_size <= (size_t)(a->end - a->pos)) {
		a->pos += round16(new_n) - old_size;
		ASAN_UNPOISON_MEMORY_REGION(p, new_n);
		return p;
	}
	q = hm_arena_alloc(a, new_n);
	if (q)
		memcpy(q, p, old_n);
	return q;
}

char *hm_arena_strdup(struct hm_arena *a, struct hm_str s)
{
	char *p = hm_arena_alloc(a, s.len + 1);

	if (p == NULL)
		return NULL;
	if (s.len)
		memcpy(p, s.p, s.len);
	p[s.len] = '\0';
	return p;
}

struct hm_str hm_arena_str(struct hm_arena *a, struct hm_str s)
{
	char *p = hm_arena_strdup(a, s);

	return p ? hm_str_n(p, s.len) : HM_STR_NULL;
}

struct hm_str hm_arena_printf(struct hm_arena *a, const char *fmt, ...)
{
	va_list ap;
	int n;
	char *p;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	p = n < 0 ? NULL : hm_arena_alloc(a, (size_t)n + 1);
	if (p == NULL)
		return HM_STR_NULL;
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return hm_str_n(p, (size_t)n);
}

uint64_t hm_arena_big(void)
{
	return __atomic_load_n(&big_count, __ATOMIC_RELAXED);
}

void hm_arena_rewind(struct hm_arena *a, struct hm_arena_mark m)
{
	while (a->big != m.big) {
		struct hm_arena_block *b = a->big;

		hm_assert(b !=
			  NULL); /* else the mark is from another arena, or from a part rewound already */
		a->big = b->next;
		block_free(a, b);
	}
	while (a->blocks != m.block) {
		struct hm_arena_block *b = a->blocks;

		hm_assert(b != NULL);
		use_block(a, b->next);
		block_free(a, b);
	}
	if (m.block) {
		a->pos = m.pos;
		ASAN_POISON_MEMORY_REGION(a->pos, (size_t)(a->end - a->pos));
	}
}
