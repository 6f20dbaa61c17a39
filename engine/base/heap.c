/*
 * heap.c - binary min-heap; v[1] is the least, children of i are 2i and 2i+1
 */
#include "base/heap.h"

#include <stdlib.h>

void hm_heap_init(struct hm_heap *h)
{
	*h = (struct hm_heap){0};
}

void hm_heap_fini(struct hm_heap *h)
{
	for (uint32_t i = 1; i <= h->len; i++)
		h->v[i]->pos = 0;
	free(h->v);
	hm_heap_init(h);
}

static void place(struct hm_heap *h, struct hm_heap_node *n, uint32_t at)
{
	h->v[at] = n;
	n->pos = at;
}

static void sift_up(struct hm_heap *h, struct hm_heap_node *n, uint32_t at)
{
	while (at > 1 && n->key < h->v[at / 2]->key) {
		place(h, h->v[at / 2], at);
		at /= 2;
	}
	place(h, n, at);
}

static void sift_down(struct hm_heap *h, struct hm_heap_node *n, uint32_t at)
{
	for (;;) {
		uint32_t child = at * 2;

		if (child > h->len)
			break;
		if (child < h->len && h->v[child + 1]->key < h->v[child]->key)
			child++;
		if (n->key <= h->v[child]->key)
			break;
		place(h, h->v[child], at);
		at = child;
	}
	place(h, n, at);
}

bool hm_heap_push(struct hm_heap *h, struct hm_heap_node *n, uint64_t key)
{
	hm_assert(n->pos == 0);
	if (h->len + 1 >= h->cap) {
		uint32_t cap = h->cap ? h->cap * 2 : 64;
		struct hm_heap_node **v;

		if (cap > UINT32_MAX / 4)
			return false;
		v = realloc(h->v, cap * sizeof(struct hm_heap_node *));
		if (v == NULL)
			return false;
		h->v = v;
		h->cap = cap;
	}
	n->key = key;
	sift_up(h, n, ++h->len);
	return true;
}

void hm_heap_remove(struct hm_heap *h, struct hm_heap_node *n)
{
	uint32_t at = n->pos;
	struct hm_heap_node *last;

	if (at == 0)
		return;
	hm_assert(at <= h->len && h->v[at] == n);
	last = h->v[h->len--];
	n->pos = 0;
	if (last == n)
		return;
	if (at > 1 && last->key < h->v[at / 2]->key)
		sift_up(h, last, at);
	else
		sift_down(h, last, at);
}
