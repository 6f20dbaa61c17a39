/*
 * fair.c - the jobs of one lane that can run, shared by tenant
 */
#include "dispatch/fair.h"

#include <string.h>

#define ONE (1u << 20) /* of virtual time: a message at weight 1 */

void hm_fair_weight(struct hm_tenant *t, uint32_t weight)
{
	t->weight = hm_max(weight, 1u);
	t->step = hm_max(ONE / t->weight, 1u);
}

static void tenant_init(struct hm_tenant *t, struct hm_str name, uint32_t weight)
{
	memset(t, 0, sizeof(*t));
	hm_list_init(&t->jobs);
	if (name.len > 0)
		memcpy(t->name, name.p, name.len);
	t->name_len = (uint8_t)name.len;
	hm_fair_weight(t, weight);
}

void hm_fair_init(struct hm_fair *f, uint32_t turn)
{
	memset(f, 0, sizeof(*f));
	hm_list_init(&f->tenants);
	hm_list_init(&f->ready);
	f->turn = turn;
	tenant_init(&f->none, HM_STR(""), 1);
	hm_slab_init(&f->slab, "tenants", sizeof(struct hm_tenant), HM_FAIR_MAX);
}

void hm_fair_fini(struct hm_fair *f)
{
	hm_assert(f->len == 0 && f->none.users == 0 && hm_list_empty(&f->tenants));
	hm_slab_fini(&f->slab);
}

static uint64_t hash_of(struct hm_str name)
{
	return hm_hash64(name.p, name.len, 0x74656e74);
}

struct hm_tenant *hm_fair_find(const struct hm_fair *f, struct hm_str name)
{
	uint64_t hash = hash_of(name);
	struct hm_tenant *t = f->bucket[hash % HM_FAIR_BUCKETS];

	while (t != NULL && (t->hash != hash || !hm_str_eq(hm_tenant_name(t), name)))
		t = t->next;
	return t;
}

struct hm_tenant *hm_fair_get(struct hm_fair *f, struct hm_str name, uint32_t weight)
{
	struct hm_tenant *t = &f->none;
	uint64_t hash;

	if (name.len > 0 && name.len <= HM_TENANT_NAME) {
		t = hm_fair_find(f, name);
		if (t == NULL && (t = hm_slab_alloc(&f->slab)) != NULL) {
			hash = hash_of(name);
			tenant_init(t, name, weight);
			t->hash = hash;
			t->next = f->bucket[hash % HM_FAIR_BUCKETS];
			f->bucket[hash % HM_FAIR_BUCKETS] = t;
			hm_list_push(&f->tenants, &t->all);
		}
		if (t == NULL)
			t = &f->none;
	}
	t->users++;
	return t;
}

void hm_fair_put(struct hm_fair *f, struct hm_tenant *t)
{
	struct hm_tenant **at = &f->bucket[t->hash % HM_FAIR_BUCKETS];

	hm_assert(t->users > 0);
	if (--t->users > 0 || t == &f->none)
		return;
	hm_assert(hm_list_empty(&t->jobs));
	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	hm_list_remove(&f->tenants, &t->all);
	hm_slab_free(&f->slab, t);
}

void hm_fair_push(struct hm_fair *f, struct hm_tenant *t, struct hm_node *n)
{
	hm_assert(t->users > 0);
	if (hm_list_empty(&t->jobs)) {
		t->vtime = hm_max(t->vtime, f->vtime);
		hm_list_push(&f->ready, &t->ready);
	}
	hm_list_push(&t->jobs, n);
	f->len++;
}

void hm_fair_remove(struct hm_fair *f, struct hm_tenant *t, struct hm_node *n)
{
	hm_list_remove(&t->jobs, n);
	f->len--;
	if (!hm_list_empty(&t->jobs))
		return;
	hm_list_remove(&f->ready, &t->ready);
	if (f->cur == t)
		f->cur = NULL;
}

/* The furthest behind; of equals the one that has been ready longest. */
static void choose(struct hm_fair *f)
{
	hm_list_foreach (&f->ready, n) {
		struct hm_tenant *t = hm_container_of(n, struct hm_tenant, ready);

		if (f->cur == NULL || t->vtime < f->cur->vtime)
			f->cur = t;
	}
	f->left = f->turn;
}

struct hm_node *hm_fair_first(struct hm_fair *f)
{
	if (f->cur == NULL)
		choose(f);
	return f->cur != NULL ? hm_list_first(&f->cur->jobs) : NULL;
}

void hm_fair_charge(struct hm_fair *f, struct hm_tenant *t)
{
	f->vtime = hm_max(f->vtime, t->vtime);
	t->vtime += t->step;
	if (f->cur == t && --f->left == 0) {
		if (f->ready.len > 1)
			f->cur = NULL;
		else
			f->left = f->turn;
	}
}
