/*
 * slab.c - pages of equal objects and a free list through them
 *
 *   page:  [ next page | object | object | ... ]      free object: [ next free | ... ]
 */
#include "base/slab.h"

#include <stdlib.h>
#include <sanitizer/asan_interface.h>

#include "base/fault.h"

#define PAGE_HEAD    16		   /* keeps objects 16-byte aligned behind malloc's own alignment */
#define PAGE_BYTES   (64u * 1024u) /* aimed at; large objects get at least MIN_PER_PAGE */
#define MIN_PER_PAGE 8

void hm_slab_init(struct hm_slab *s, const char *name, size_t size, size_t max)
{
	hm_assert(size > 0);
	size = (size + 15) & ~(size_t)15;
	*s = (struct hm_slab){.name = name, .size = size, .max = max};
	s->per_page = hm_max((size_t)MIN_PER_PAGE, (PAGE_BYTES - PAGE_HEAD) / size);
}

void hm_slab_fini(struct hm_slab *s)
{
	if (s->live != 0)
		hm_panic(__FILE__, __LINE__, __func__, "slab %s: %zu objects never came home", s->name,
			 s->live);
	while (s->pages) {
		void *page = s->pages;

		memcpy(&s->pages, page, sizeof(void *));
		ASAN_UNPOISON_MEMORY_REGION(page, PAGE_HEAD + s->per_page * s->size);
		free(page);
	}
	s->free_list = NULL;
	s->total = 0;
}

static void push_free(struct hm_slab *s, void *p)
{
	memcpy(p, &s->free_list, sizeof(void *));
	s->free_list = p;
	ASAN_POISON_MEMORY_REGION(p, s->size);
}

static bool add_page(struct hm_slab *s)
{
	size_t n = s->per_page;
	char *page;

	if (s->max) {
		if (s->total >= s->max)
			return false;
		n = hm_min(n, s->max - s->total);
	}
	if (hm_fault(HM_FAULT_alloc) == HM_FAULT_FAIL)
		return false;
	page = malloc(PAGE_HEAD + s->per_page * s->size);
	if (page == NULL)
		return false;
	memcpy(page, &s->pages, sizeof(void *));
	s->pages = page;
	s->total += n;
	while (n-- > 0) /* backwards, so that objects are handed out in address order */
		push_free(s, page + PAGE_HEAD + n * s->size);
	return true;
}

void *hm_slab_alloc(struct hm_slab *s)
{
	void *p;

	if (hm_unlikely(s->free_list == NULL) && !add_page(s))
		return NULL;
	p = s->free_list;
	ASAN_UNPOISON_MEMORY_REGION(p, s->size);
	memcpy(&s->free_list, p, sizeof(void *));
	s->live++;
	return p;
}

void hm_slab_free(struct hm_slab *s, void *p)
{
	if (p == NULL)
		return;
	hm_assert(s->live > 0);
#ifdef HM_ASAN
	if (__asan_address_is_poisoned(p))
		hm_panic(__FILE__, __LINE__, __func__, "slab %s: object %p freed twice", s->name, p);
#endif
	s->live--;
	push_free(s, p);
}
