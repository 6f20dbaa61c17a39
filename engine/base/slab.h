/*
 * slab.h - fixed-size objects counted by the million
 *
 * Pages of objects from malloc, a free list through the objects, a live count.
 * Pages are returned only by fini. Owner thread only. Under ASan every object
 * is poisoned while free.
 */
#ifndef HM_BASE_SLAB_H
#define HM_BASE_SLAB_H

#include "base/defs.h"

struct hm_slab {
	const char *name;
	size_t size;	    /* bytes per object, rounded up to 16 */
	size_t live, total; /* objects handed out; objects owned */
	size_t max;	    /* most objects that may exist, 0 = no limit */
	/* private */
	void *free_list, *pages;
	size_t per_page;
};
void hm_slab_init(struct hm_slab *s, const char *name, size_t size, size_t max);
void hm_slab_fini(struct hm_slab *s);		     /* asserts live == 0 */
void *hm_slab_alloc(struct hm_slab *s) HM_MUSTCHECK; /* not zeroed; NULL at max or out of memory */
void hm_slab_free(struct hm_slab *s, void *p);

#endif
