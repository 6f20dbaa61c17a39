/*
 * list.h - intrusive doubly linked list with a length
 *
 * The node is embedded in the object; hm_list_node_linked() tells whether it is
 * on a list. A list knows its length, so counts per state cost nothing.
 */
#ifndef HM_BASE_LIST_H
#define HM_BASE_LIST_H

#include "base/defs.h"

struct hm_node {
	struct hm_node *next, *prev; /* NULL when on no list */
};
struct hm_list {
	struct hm_node head;
	size_t len;
};

static inline void hm_list_init(struct hm_list *l)
{
	l->head.next = l->head.prev = &l->head;
	l->len = 0;
}
static inline void hm_node_init(struct hm_node *n)
{
	n->next = n->prev = NULL;
}
static inline bool hm_node_linked(const struct hm_node *n)
{
	return n->next != NULL;
}
static inline bool hm_list_empty(const struct hm_list *l)
{
	return l->len == 0;
}
static inline void hm_list_insert_before(struct hm_list *l, struct hm_node *at, struct hm_node *n)
{
	hm_assert(!hm_node_linked(n));
	n->next = at;
	n->prev = at->prev;
	at->prev->next = n;
	at->prev = n;
	l->len++;
}
static inline void hm_list_push(struct hm_list *l, struct hm_node *n) /* at the tail */
{
	hm_list_insert_before(l, &l->head, n);
}
static inline void hm_list_push_front(struct hm_list *l, struct hm_node *n)
{
	hm_list_insert_before(l, l->head.next, n);
}
static inline void hm_list_remove(struct hm_list *l, struct hm_node *n)
{
	hm_assert(hm_node_linked(n) && l->len > 0);
	n->prev->next = n->next;
	n->next->prev = n->prev;
	n->next = n->prev = NULL;
	l->len--;
}
static inline struct hm_node *hm_list_first(const struct hm_list *l)
{
	return l->len ? l->head.next : NULL;
}
static inline struct hm_node *hm_list_pop(struct hm_list *l) /* from the head, or NULL */
{
	struct hm_node *n = hm_list_first(l);

	if (n)
		hm_list_remove(l, n);
	return n;
}
/* Moves everything of src to the tail of dst. */
static inline void hm_list_splice(struct hm_list *dst, struct hm_list *src)
{
	if (src->len == 0)
		return;
	src->head.next->prev = dst->head.prev;
	dst->head.prev->next = src->head.next;
	src->head.prev->next = &dst->head;
	dst->head.prev = src->head.prev;
	dst->len += src->len;
	hm_list_init(src);
}
#define hm_list_foreach(l, n) for (struct hm_node *n = (l)->head.next; n != &(l)->head; n = n->next)
#define hm_list_foreach_safe(l, n, tmp) \
	for (struct hm_node *n = (l)->head.next, *tmp = n->next; n != &(l)->head; n = tmp, tmp = n->next)

#endif
