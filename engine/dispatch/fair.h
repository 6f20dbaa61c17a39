/*
 * fair.h - the jobs of one lane that can run, shared by tenant
 *
 * Every tenant with jobs has a queue. Time is virtual (start-time fair queueing): a message
 * moves its tenant on by 1/weight, and the one furthest behind is next. A tenant that comes
 * back starts where the others are, so that having been away is no credit. `turn` messages
 * go to a tenant in a row, because messages of one job share requests. Jobs without a
 * tenant are one tenant, which is always there; so are those beyond HM_FAIR_MAX tenants.
 *
 * A node is put on a queue by its owner, who keeps the tenant and gives it back when the node
 * will not return. With one tenant all of this is a list.
 *
 * Memory: one slab object per tenant in use, freed with its last user. Threads: one.
 */
#ifndef HM_DISPATCH_FAIR_H
#define HM_DISPATCH_FAIR_H

#include "base/list.h"
#include "base/slab.h"
#include "base/str.h"

#define HM_FAIR_MAX	1024 /* tenants per lane */
#define HM_FAIR_BUCKETS 256
#define HM_TENANT_NAME	64

struct hm_tenant {
	struct hm_node all, ready; /* fair.tenants; fair.ready while it has jobs */
	struct hm_tenant *next;	   /* hash chain */
	struct hm_list jobs;
	uint64_t hash, vtime;
	uint64_t msgs, bytes; /* of its jobs, not yet expanded: kept by the owner */
	uint32_t weight, step, users;
	uint8_t name_len;
	char name[HM_TENANT_NAME];
};
static inline struct hm_str hm_tenant_name(const struct hm_tenant *t)
{
	return hm_str_n(t->name, t->name_len);
}

struct hm_fair {
	size_t len;		/* nodes on all queues */
	struct hm_list tenants; /* in use, with a name */
	/* private */
	struct hm_list ready;
	struct hm_tenant *cur; /* whose turn it is; NULL: to be chosen */
	uint32_t left, turn;   /* of the turn */
	uint64_t vtime;
	struct hm_tenant none;
	struct hm_slab slab;
	struct hm_tenant *bucket[HM_FAIR_BUCKETS];
};
void hm_fair_init(struct hm_fair *f, uint32_t turn);
void hm_fair_fini(struct hm_fair *f); /* nobody uses a tenant any more */

/* Finds or makes it; weight counts only then. Never NULL: at the limit, or out of memory, the nameless one. */
struct hm_tenant *hm_fair_get(struct hm_fair *f, struct hm_str name, uint32_t weight);
struct hm_tenant *hm_fair_find(const struct hm_fair *f, struct hm_str name); /* NULL: not in use */
void hm_fair_put(struct hm_fair *f, struct hm_tenant *t);
void hm_fair_weight(struct hm_tenant *t, uint32_t weight);

void hm_fair_push(struct hm_fair *f, struct hm_tenant *t, struct hm_node *n);
/* The first node of the tenant whose turn it is; stays where it is. NULL: nothing can run. */
struct hm_node *hm_fair_first(struct hm_fair *f);
void hm_fair_remove(struct hm_fair *f, struct hm_tenant *t, struct hm_node *n);
void hm_fair_charge(struct hm_fair *f, struct hm_tenant *t); /* one of its messages has gone */

#endif
