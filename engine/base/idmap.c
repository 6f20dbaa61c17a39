/*
 * idmap.c - slots with generations; id = generation << 32 | slot + 1
 *
 * A slot's generation moves on at every take, so an old id fits again only after
 * 2^32 uses of the same slot. Free slots are a list, oldest first, which spreads
 * reuse over all of them.
 */
#include "base/idmap.h"

#include <stdlib.h>

#define NONE UINT32_MAX

struct hm_idmap_slot {
	void *obj; /* NULL = free */
	uint32_t gen, next_free;
};

void hm_idmap_init(struct hm_idmap *m)
{
	*m = (struct hm_idmap){.free_head = NONE, .free_tail = NONE};
}

void hm_idmap_fini(struct hm_idmap *m)
{
	free(m->v);
	hm_idmap_init(m);
}

static void free_push(struct hm_idmap *m, uint32_t i)
{
	m->v[i].next_free = NONE;
	if (m->free_tail == NONE)
		m->free_head = i;
	else
		m->v[m->free_tail].next_free = i;
	m->free_tail = i;
}

static bool grow(struct hm_idmap *m)
{
	uint32_t cap = m->cap ? m->cap * 2 : 64;
	struct hm_idmap_slot *v;

	if (cap > UINT32_MAX / 4)
		return false;
	v = realloc(m->v, cap * sizeof(*v));
	if (v == NULL)
		return false;
	m->v = v;
	for (uint32_t i = m->cap; i < cap; i++) {
		v[i] = (struct hm_idmap_slot){0};
		free_push(m, i);
	}
	m->cap = cap;
	return true;
}

uint64_t hm_idmap_add(struct hm_idmap *m, void *obj)
{
	uint32_t i;

	hm_assert(obj != NULL);
	if (m->free_head == NONE && !grow(m))
		return 0;
	i = m->free_head;
	m->free_head = m->v[i].next_free;
	if (m->free_head == NONE)
		m->free_tail = NONE;
	m->v[i].obj = obj;
	m->len++;
	return (uint64_t)m->v[i].gen << 32 | (i + 1);
}

static struct hm_idmap_slot *slot_of(const struct hm_idmap *m, uint64_t id)
{
	uint32_t i = (uint32_t)id - 1; /* id 0 wraps past every cap */

	if (i >= m->cap || m->v[i].obj == NULL || m->v[i].gen != id >> 32)
		return NULL;
	return &m->v[i];
}

void *hm_idmap_get(const struct hm_idmap *m, uint64_t id)
{
	struct hm_idmap_slot *s = slot_of(m, id);

	return s ? s->obj : NULL;
}

void *hm_idmap_take(struct hm_idmap *m, uint64_t id)
{
	struct hm_idmap_slot *s = slot_of(m, id);
	void *obj;

	if (s == NULL)
		return NULL;
	obj = s->obj;
	s->obj = NULL;
	s->gen++;
	m->len--;
	free_push(m, (uint32_t)(s - m->v));
	return obj;
}
