/*
 * h2_mem.c - size classes for nghttp2
 *
 *   block: [ class | pad ][ payload ... ]     free: [ class | pad ][ next | poisoned ]
 */
#include <sanitizer/asan_interface.h>
#include <stdlib.h>

#include "base/fault.h"
#include "wire/h2_mem.h"

#define HEAD	   16 /* keeps the payload 16-byte aligned */
#define KEEP_BYTES (64u << 20)
#define HUGE_CLASS UINT32_MAX

struct head {
	uint32_t class;
	uint32_t size; /* of a huge block */
};

static size_t class_bytes(uint32_t class)
{
	return (size_t)32 << class;
}

static uint32_t class_of(size_t n)
{
	if (n <= 32)
		return 0;
	return (uint32_t)(64 - __builtin_clzll((unsigned long long)n - 1)) - 5;
}

static struct head *head_of(void *p)
{
	return (struct head *)(void *)((char *)p - HEAD);
}

static void *fresh(struct h2_mem *m, size_t payload, uint32_t class)
{
	struct head *h;

	if (payload > UINT32_MAX || hm_fault(HM_FAULT_alloc) == HM_FAULT_FAIL)
		return NULL;
	h = malloc(HEAD + payload);
	if (h == NULL)
		return NULL;
	m->mallocs++;
	h->class = class;
	h->size = (uint32_t)payload;
	return (char *)h + HEAD;
}

static void *mem_malloc(size_t n, void *arg)
{
	struct h2_mem *m = arg;
	uint32_t class = class_of(n);
	void *p;

	if (class >= H2_MEM_CLASSES) {
		p = fresh(m, n, HUGE_CLASS);
	} else if (m->free_list[class]) {
		p = m->free_list[class];
		ASAN_UNPOISON_MEMORY_REGION(p, class_bytes(class));
		memcpy(&m->free_list[class], p, sizeof(void *));
		m->kept_bytes -= class_bytes(class);
	} else {
		p = fresh(m, class_bytes(class), class);
	}
	if (p)
		m->live++;
	return p;
}

static void mem_free(void *p, void *arg)
{
	struct h2_mem *m = arg;
	struct head *h;

	if (p == NULL)
		return;
	hm_assert(m->live > 0);
	m->live--;
	h = head_of(p);
	if (h->class == HUGE_CLASS || m->kept_bytes > KEEP_BYTES) {
		free(h);
		return;
	}
	memcpy(p, &m->free_list[h->class], sizeof(void *));
	m->free_list[h->class] = p;
	m->kept_bytes += class_bytes(h->class);
	ASAN_POISON_MEMORY_REGION(p, class_bytes(h->class));
}

static void *mem_calloc(size_t n, size_t size, void *arg)
{
	size_t total;
	void *p;

	if (__builtin_mul_overflow(n, size, &total))
		return NULL;
	p = mem_malloc(total, arg);
	if (p)
		memset(p, 0, total);
	return p;
}

static void *mem_realloc(void *p, size_t n, void *arg)
{
	size_t have;
	void *q;

	if (p == NULL)
		return mem_malloc(n, arg);
	have = head_of(p)->size;
	if (n <= have)
		return p;
	q = mem_malloc(n, arg);
	if (q == NULL)
		return NULL;
	memcpy(q, p, have);
	mem_free(p, arg);
	return q;
}

void h2_mem_init(struct h2_mem *m)
{
	memset(m, 0, sizeof(*m));
	m->ng = (nghttp2_mem){m, mem_malloc, mem_free, mem_calloc, mem_realloc};
}

void h2_mem_fini(struct h2_mem *m)
{
	hm_assert(m->live == 0);
	for (uint32_t i = 0; i < H2_MEM_CLASSES; i++) {
		while (m->free_list[i]) {
			void *p = m->free_list[i];

			ASAN_UNPOISON_MEMORY_REGION(p, class_bytes(i));
			memcpy(&m->free_list[i], p, sizeof(void *));
			free(head_of(p));
		}
	}
}
