/*
 * heap.h - intrusive binary min-heap ordered by a 64-bit key (timers)
 *
 * The heap keeps an array of pointers; each node remembers its place, so removal
 * is O(log n). Memory: one pointer per node, grown by doubling; hm_heap_push
 * returns false only when that growth fails.
 */
#ifndef HM_BASE_HEAP_H
#define HM_BASE_HEAP_H

#include "base/defs.h"

struct hm_heap_node {
	uint64_t key;
	uint32_t pos; /* 1-based place, 0 when not in a heap */
};
struct hm_heap {
	struct hm_heap_node **v;
	uint32_t len, cap;
};
void hm_heap_init(struct hm_heap *h);
void hm_heap_fini(struct hm_heap *h);
bool hm_heap_push(struct hm_heap *h, struct hm_heap_node *n, uint64_t key) HM_MUSTCHECK;
void hm_heap_remove(struct hm_heap *h, struct hm_heap_node *n); /* harmless when not in */
static inline struct hm_heap_node *hm_heap_min(const struct hm_heap *h)
{
	return h->len ? h->v[1] : NULL;
}

#endif
