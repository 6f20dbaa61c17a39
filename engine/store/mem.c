/*
 * mem.c - the index of the segment being written
 */
#include <stdlib.h>

#include "store/mem.h"

struct hm_mem *hm_mem_new(void)
{
	return calloc(1, sizeof(struct hm_mem));
}

void hm_mem_free(struct hm_mem *m)
{
	if (m == NULL)
		return;
	free(m->msgs);
	free(m->jobs);
	free(m->msg_ids.slot);
	free(m->job_ids.slot);
	free(m->campaigns);
	free(m);
}

size_t hm_mem_bytes(const struct hm_mem *m)
{
	/* two slots per entry: the tables are at most half full */
	return m->n_msgs * (sizeof(*m->msgs) + 8) + m->n_jobs * (sizeof(*m->jobs) + 8) +
	       m->n_campaigns * sizeof(*m->campaigns);
}

/* The ids of a chunk differ in their last bytes only, and those of one millisecond in the random ones. */
static uint32_t slot_of(const struct hm_mem_table *t, const struct hm_ulid *id)
{
	uint64_t lo, hi;

	memcpy(&hi, id->b, 8);
	memcpy(&lo, id->b + 8, 8);
	lo = (lo ^ hi) * 0x9e3779b97f4a7c15u;
	lo ^= lo >> 32;
	return (uint32_t)(lo * 0x9e3779b97f4a7c15u >> 32) & t->mask;
}

/* Entries are of either array: an id at the front, `stride` bytes apart. */
static const struct hm_ulid *id_at(const void *entries, size_t stride, uint32_t i)
{
	return (const struct hm_ulid *)(const void *)((const char *)entries + stride * i);
}

static uint32_t *probe(const struct hm_mem_table *t, const void *entries, size_t stride,
		       const struct hm_ulid *id)
{
	uint32_t i = slot_of(t, id);

	while (t->slot[i] && !hm_ulid_eq(id_at(entries, stride, t->slot[i] - 1), id))
		i = (i + 1) & t->mask;
	return &t->slot[i];
}

/* Grows array and table to hold `need` entries at a load of at most one half. */
static bool grow(void **entries, uint32_t n, uint32_t *cap, uint32_t need, size_t stride,
		 struct hm_mem_table *t)
{
	uint32_t new_cap = *cap ? *cap : 256;
	struct hm_mem_table bigger;
	void *p;

	if (need <= *cap)
		return true;
	while (new_cap < need)
		new_cap *= 2;
	p = realloc(*entries, (size_t)new_cap * stride);
	if (p == NULL)
		return false;
	*entries = p;
	bigger.slot = calloc((size_t)new_cap * 2, sizeof(uint32_t));
	if (bigger.slot == NULL)
		return false;
	bigger.mask = new_cap * 2 - 1;
	for (uint32_t i = 0; i < n; i++) /* in order: the newest of an id wins */
		*probe(&bigger, p, stride, id_at(p, stride, i)) = i + 1;
	free(t->slot);
	*t = bigger;
	*cap = new_cap;
	return true;
}

bool hm_mem_reserve(struct hm_mem *m, uint32_t msgs, uint32_t jobs)
{
	void *p = m->msgs, *q = m->jobs;
	bool ok = grow(&p, m->n_msgs, &m->cap_msgs, m->n_msgs + msgs, sizeof(*m->msgs), &m->msg_ids);
	size_t need = (size_t)m->n_campaigns + msgs;

	ok = grow(&q, m->n_jobs, &m->cap_jobs, m->n_jobs + jobs, sizeof(*m->jobs), &m->job_ids) && ok;
	m->msgs = p; /* either may have moved, whatever became of the other */
	m->jobs = q;
	if (ok && need > m->cap_campaigns) {
		size_t cap = hm_max(need, (size_t)m->cap_campaigns + m->cap_campaigns / 2);
		const struct hm_counts_row **c = realloc(m->campaigns, cap * sizeof(*c));

		if (c == NULL)
			return false;
		m->campaigns = c;
		m->cap_campaigns = (uint32_t)cap;
	}
	return ok;
}

static void widen(struct hm_ulid *min, struct hm_ulid *max, const struct hm_ulid *id, bool first)
{
	if (first || hm_ulid_cmp(id, min) < 0)
		*min = *id;
	if (first || hm_ulid_cmp(id, max) > 0)
		*max = *id;
}

static void add_job(struct hm_mem *m, const struct hm_rec *r, uint32_t off)
{
	struct hm_mem_job *j = &m->jobs[m->n_jobs];
	uint32_t *slot;

	hm_assert(m->n_jobs < m->cap_jobs && off < HM_JOB_AWAY);
	j->id = hm_rec_origin(r);
	j->at = (struct hm_job_at){off, r->n0 & ~HM_JOB_PARTLY, r->n, 0};
	if (r->kind == HM_REC_MOVED) {
		j->at.hop = r->hop;
		j->at.off |= r->back ? 0 : HM_JOB_AWAY;
		m->n_moved++;
	} else if (hm_rec_uncounted(r) > 0) {
		j->at.n0 |= HM_JOB_PARTLY;
	}
	widen(&m->min_job, &m->max_job, &j->id, m->n_jobs == 0);
	slot = probe(&m->job_ids, m->jobs, sizeof(*m->jobs), &j->id);
	j->prev = *slot;
	*slot = ++m->n_jobs;
}

void hm_mem_add(struct hm_mem *m, const struct hm_rec *r, uint32_t off, uint64_t seq,
		struct hm_counts_row *row)
{
	if (r->kind != HM_REC_MSG) {
		add_job(m, r, off);
		return;
	}
	hm_assert(m->n_msgs < m->cap_msgs);
	if (row->slot_seq != seq) {
		hm_assert(m->n_campaigns < m->cap_campaigns && m->n_campaigns < HM_MEM_CAMPAIGNS_MAX);
		row->slot_seq = seq;
		row->slot = m->n_campaigns;
		m->campaigns[m->n_campaigns++] = row;
	}
	widen(&m->min_msg, &m->max_msg, &r->id, m->n_msgs == 0);
	m->msgs[m->n_msgs] = (struct hm_mem_msg){
		.id = r->id,
		.off = off,
		.address_hash = r->address_hash,
		.user_hash = r->user_hash,
		.campaign = row->slot & HM_MEM_CAMPAIGNS_MAX,
		.state = (uint32_t)r->state & 15u,
		.unknown = (uint32_t)r->unknown & 15u,
	};
	*probe(&m->msg_ids, m->msgs, sizeof(*m->msgs), &r->id) = m->n_msgs + 1;
	m->n_msgs++;
}

const struct hm_mem_msg *hm_mem_find_msg(const struct hm_mem *m, const struct hm_ulid *id)
{
	uint32_t i = m->n_msgs ? *probe(&m->msg_ids, m->msgs, sizeof(*m->msgs), id) : 0;

	return i ? &m->msgs[i - 1] : NULL;
}

const struct hm_mem_job *hm_mem_find_job(const struct hm_mem *m, const struct hm_ulid *id)
{
	uint32_t i = m->n_jobs ? *probe(&m->job_ids, m->jobs, sizeof(*m->jobs), id) : 0;

	return i ? &m->jobs[i - 1] : NULL;
}

void hm_mem_prefetch(const struct hm_mem *m, const struct hm_rec *r)
{
	const struct hm_mem_table *t = r->kind != HM_REC_MSG ? &m->job_ids : &m->msg_ids;
	struct hm_ulid id = r->kind != HM_REC_MSG ? hm_rec_origin(r) : r->id;

	if (t->slot)
		__builtin_prefetch(&t->slot[slot_of(t, &id)], 1);
}
