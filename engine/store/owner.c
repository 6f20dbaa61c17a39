/*
 * owner.c - whose a message is
 */
#include "store/owner.h"

/* Newest first; false = stop. */
typedef bool (*visit_fn)(void *arg, const struct hm_job_at *at, const struct hm_seg *s);

static bool walk_mem(const struct hm_seg *s, const struct hm_ulid *job, uint64_t end, visit_fn fn, void *arg)
{
	const struct hm_mem_job *j = hm_mem_find_job(s->mem, job);

	for (; j != NULL; j = j->prev ? &s->mem->jobs[j->prev - 1] : NULL)
		if ((j->at.off & ~HM_JOB_AWAY) < end && !fn(arg, &j->at, s))
			return false;
	return true;
}

static bool walk_idx(const struct hm_seg *s, const struct hm_ulid *job, visit_fn fn, void *arg)
{
	uint32_t lo, hi;

	for (hm_idx_job_range(s->idx, job, &lo, &hi); hi > lo; hi--) {
		const struct hm_job_at at = hm_idx_job(s->idx, hi - 1);

		if (!fn(arg, &at, s))
			return false;
	}
	return true;
}

/* committing: the caller holds the lock, and what is not written yet counts too. */
static void walk(struct hm_ledger *l, const struct hm_seglist *segs, const struct hm_ulid *job,
		 bool committing, visit_fn fn, void *arg)
{
	bool on = true;

	for (size_t i = segs->n; on && i-- > 0;) {
		const struct hm_seg *s = segs->v[i];
		uint64_t end = committing ? UINT64_MAX : __atomic_load_n(&s->end, __ATOMIC_ACQUIRE);
		bool indexed;

		if (!committing)
			pthread_rwlock_rdlock(&l->lock);
		indexed = s->idx != NULL;
		if (!indexed && s->mem != NULL)
			on = walk_mem(s, job, end, fn, arg);
		if (!committing)
			pthread_rwlock_unlock(&l->lock);
		if (indexed) /* once there it stays */
			on = walk_idx(s, job, fn, arg);
	}
}

static bool on_range(void *arg, const struct hm_job_at *at, const struct hm_seg *s)
{
	struct hm_owners *o = arg;
	uint64_t n0 = at->n0 & ~HM_JOB_PARTLY;
	uint64_t from = hm_max(n0, (uint64_t)o->n0), to = hm_min(n0 + at->n, (uint64_t)o->n0 + o->n);

	for (uint64_t nth = from; nth < to; nth++) {
		uint64_t i = nth - o->n0;

		if (at->hop > o->hop[i]) {
			o->hop[i] = at->hop;
			o->own[i] = at->off & HM_JOB_AWAY ? HM_OWN_AWAY : HM_OWN_HERE;
		} else if (at->hop == 0 && o->own[i] == HM_OWN_NONE) {
			o->own[i] = HM_OWN_HERE;
		}
		/* When it was accepted nothing covered it: nothing older does. */
		if (at->hop == 0 && !(at->n0 & HM_JOB_PARTLY) && !o->accepted[i]) {
			o->accepted[i] = true;
			o->open--;
		}
	}
	return o->open > 0;
}

void hm_owners_find(struct hm_ledger *l, const struct hm_ulid *job, uint32_t n0, uint32_t n,
		    struct hm_owners *o)
{
	hm_assert(n <= HM_OWNERS_MAX);
	o->n0 = n0;
	o->n = o->open = n;
	memset(o->own, HM_OWN_NONE, n);
	memset(o->hop, 0, n * sizeof(o->hop[0]));
	memset(o->accepted, 0, n * sizeof(o->accepted[0]));
	if (n > 0)
		walk(l, l->segs, job, true, on_range, o);
}

struct one {
	uint32_t nth;
	struct hm_owner *o;
};

static bool on_one(void *arg, const struct hm_job_at *at, const struct hm_seg *s)
{
	struct one *x = arg;
	struct hm_owner *o = x->o;
	const struct hm_owner_rec rec = {s, at->off & ~HM_JOB_AWAY};
	uint32_t n0 = at->n0 & ~HM_JOB_PARTLY;

	if (x->nth < n0 || x->nth - n0 >= at->n)
		return true;
	if (at->hop > o->hop || (at->hop == 0 && o->own == HM_OWN_NONE)) {
		o->own = at->off & HM_JOB_AWAY ? HM_OWN_AWAY : HM_OWN_HERE;
		o->hop = at->hop;
		o->by = rec;
	}
	if (at->hop == 0)
		o->job = rec;
	return at->hop != 0 || at->n0 & HM_JOB_PARTLY;
}

void hm_owner_find(struct hm_ledger *l, const struct hm_seglist *segs, const struct hm_ulid *job,
		   uint32_t nth, struct hm_owner *o)
{
	memset(o, 0, sizeof(*o));
	walk(l, segs, job, false, on_one, &(struct one){nth, o});
}
