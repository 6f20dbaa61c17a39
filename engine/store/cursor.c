/*
 * cursor.c - the merge behind every list of records
 */
#include <stdlib.h>

#include "store/cursor.h"

struct entry { /* copied out of a memory index */
	struct hm_ulid id;
	uint32_t off;
	uint8_t state;
};
enum source { FROM_COPY, FROM_IDS, FROM_RECIPS, FROM_POSTS };
struct hm_cursor {
	const struct hm_seg *seg;
	enum source from;
	struct entry *copy;
	uint32_t lo, hi; /* what is left, ascending by (id, offset) */
};

static uint32_t rank_at(const struct hm_cursor *c, uint32_t pos)
{
	return c->from == FROM_RECIPS  ? hm_idx_recip(c->seg->idx, pos)
	       : c->from == FROM_POSTS ? hm_idx_post(c->seg->idx, pos)
				       : pos;
}

static const struct hm_ulid *id_at(const struct hm_cursor *c, uint32_t pos)
{
	return c->from == FROM_COPY ? &c->copy[pos].id : &c->seg->idx->ids[rank_at(c, pos)];
}

/* -- one segment ------------------------------------------------------------------------ */

static bool wanted(const struct hm_walk_query *q, const struct hm_mem_msg *m, uint32_t hash,
		   uint32_t campaign)
{
	if (q->after && hm_ulid_cmp(&m->id, q->after) >= 0)
		return false;
	if (q->kind == HM_WALK_RECIPIENT)
		return m->address_hash == hash || m->user_hash == hash;
	return q->kind == HM_WALK_ALL || m->campaign == campaign;
}

static uint32_t campaign_place(const struct hm_ledger *l, const struct hm_mem *m, struct hm_str name)
{
	const struct hm_counts_row *row = hm_counts_find(&l->counts, hm_rec_campaign_hash(name), name);

	for (uint32_t i = 0; row && i < m->n_campaigns; i++)
		if (m->campaigns[i] == row)
			return i;
	return UINT32_MAX;
}

/* The caller holds the lock. Entries come out in the order of the log. */
static int copy_entries(const struct hm_walk *w, const struct hm_seg *s, struct hm_cursor *c)
{
	const struct hm_mem *m = s->mem;
	uint64_t end = __atomic_load_n(&s->end, __ATOMIC_ACQUIRE);
	uint32_t hash = w->q.kind == HM_WALK_RECIPIENT ? hm_rec_text_hash(w->q.text) : 0;
	uint32_t camp = w->q.kind == HM_WALK_CAMPAIGN ? campaign_place(w->l, m, w->q.text) : 0;
	uint32_t n = 0;

	for (uint32_t i = 0; i < m->n_msgs; i++)
		n += wanted(&w->q, &m->msgs[i], hash, camp) && m->msgs[i].off < end;
	if (n == 0)
		return 0;
	c->copy = malloc(n * sizeof(*c->copy));
	if (c->copy == NULL)
		return HM_ENOMEM;
	for (uint32_t i = 0; i < m->n_msgs; i++)
		if (wanted(&w->q, &m->msgs[i], hash, camp) && m->msgs[i].off < end)
			c->copy[c->hi++] = (struct entry){m->msgs[i].id, m->msgs[i].off, m->msgs[i].state};
	return 0;
}

static int sort_entries(struct hm_cursor *c)
{
	uint32_t *order = malloc((size_t)c->hi * sizeof(*order) + 1);
	struct entry *sorted = malloc((size_t)c->hi * sizeof(*sorted) + 1);
	bool ok = order && sorted && hm_sort_ids(c->copy, sizeof(*c->copy), c->hi, order);

	for (uint32_t i = 0; ok && i < c->hi; i++)
		sorted[i] = c->copy[order[i]];
	free(order);
	free(ok ? c->copy : sorted);
	if (ok)
		c->copy = sorted;
	return ok ? 0 : HM_ENOMEM;
}

/* The places of an index that match; newer than `after` cut off. */
static void range_of(const struct hm_walk *w, struct hm_cursor *c)
{
	const struct hm_idx *x = c->seg->idx;
	uint32_t lo, hi;

	c->lo = 0;
	if (w->q.kind == HM_WALK_ALL) {
		c->from = FROM_IDS;
		c->hi = x->n;
	} else if (w->q.kind == HM_WALK_RECIPIENT) {
		c->from = FROM_RECIPS;
		hm_idx_recip_range(x, hm_rec_text_hash(w->q.text), &c->lo, &c->hi);
	} else {
		c->from = FROM_POSTS;
		hm_idx_camp_range(x, hm_rec_campaign_hash(w->q.text), w->q.text, &c->lo, &c->hi);
	}
	if (x->n == 0)
		c->hi = c->lo;
	if (w->q.after == NULL)
		return;
	for (lo = c->lo, hi = c->hi; lo < hi;) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (hm_ulid_cmp(id_at(c, mid), w->q.after) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	c->hi = lo;
}

static int cursor_open(const struct hm_walk *w, const struct hm_seg *s, struct hm_cursor *c)
{
	bool in_memory;
	int rc = 0;

	memset(c, 0, sizeof(*c));
	c->seg = s;
	pthread_rwlock_rdlock(&w->l->lock);
	in_memory = s->idx == NULL;
	if (in_memory)
		rc = copy_entries(w, s, c);
	pthread_rwlock_unlock(&w->l->lock);
	if (!in_memory)
		range_of(w, c);
	else if (rc == 0 && c->hi)
		rc = sort_entries(c);
	return rc;
}

/* -- the heap ---------------------------------------------------------------------------- */

static uint32_t pos_of(const struct hm_walk *w, const struct hm_cursor *c)
{
	return w->q.newest_first ? c->hi - 1 : c->lo;
}

static bool before(const struct hm_walk *w, const struct hm_cursor *a, const struct hm_cursor *b)
{
	int d = hm_ulid_cmp(id_at(a, pos_of(w, a)), id_at(b, pos_of(w, b)));

	if (d == 0)
		d = a->seg->seq < b->seg->seq ? -1 : 1;
	return w->q.newest_first ? d > 0 : d < 0;
}

static void sift(struct hm_walk *w, size_t i)
{
	for (;;) {
		size_t best = i;
		struct hm_cursor *swap = w->heap[i];

		for (size_t k = 2 * i + 1; k <= 2 * i + 2 && k < w->n; k++)
			if (before(w, w->heap[k], w->heap[best]))
				best = k;
		if (best == i)
			return;
		w->heap[i] = w->heap[best];
		w->heap[best] = swap;
		i = best;
	}
}

int hm_walk_init(struct hm_walk *w, struct hm_ledger *l, const struct hm_walk_query *q, struct hm_err *e)
{
	size_t n;

	memset(w, 0, sizeof(*w));
	HM_CHECK(l, HM_LEDGER_MAGIC);
	w->l = l;
	w->q = *q;
	if (w->q.text.len > HM_REC_TEXT_MAX) /* as the records have it */
		w->q.text.len = hm_utf8_cut(w->q.text, HM_REC_TEXT_MAX);
	w->segs = hm_ledger_segs(l);
	n = w->segs->n;
	w->cursors = calloc(n + 1, sizeof(*w->cursors));
	w->heap = calloc(n + 1, sizeof(struct hm_cursor *));
	if (w->cursors == NULL || w->heap == NULL)
		goto oom;
	for (size_t i = 0; i < n; i++) {
		struct hm_cursor *c = &w->cursors[i];

		if (cursor_open(w, w->segs->v[i], c) < 0)
			goto oom;
		if (c->lo < c->hi)
			w->heap[w->n++] = c;
	}
	for (size_t i = w->n / 2 + 1; i-- > 0;)
		if (i < w->n)
			sift(w, i);
	return 0;
oom:
	hm_walk_fini(w);
	return hm_err_set(e, HM_ENOMEM, "out of memory searching the ledger");
}

bool hm_walk_next(struct hm_walk *w, struct hm_hit *hit)
{
	struct hm_cursor *c;
	uint32_t pos;

	if (w->n == 0)
		return false;
	c = w->heap[0];
	pos = pos_of(w, c);
	hit->seg = c->seg;
	hit->id = *id_at(c, pos);
	if (c->from == FROM_COPY) {
		hit->off = c->copy[pos].off;
		hit->state = c->copy[pos].state;
	} else {
		uint32_t rank = rank_at(c, pos);

		hit->off = hm_idx_off(c->seg->idx, rank);
		hit->state = hm_idx_state(c->seg->idx, rank) & 15;
	}
	if (w->q.newest_first)
		c->hi--;
	else
		c->lo++;
	if (c->lo == c->hi)
		w->heap[0] = w->heap[--w->n];
	sift(w, 0);
	return true;
}

void hm_walk_fini(struct hm_walk *w)
{
	for (size_t i = 0; w->cursors && i < w->segs->n; i++)
		free(w->cursors[i].copy);
	free(w->cursors);
	free(w->heap);
	hm_seglist_unref(w->segs);
	memset(w, 0, sizeof(*w));
}

/* -- one message --------------------------------------------------------------------------- */

/* An entry is made before its bytes are written: until then the one before it counts, if there is one. */
static const struct hm_mem_msg *written_entry(const struct hm_mem *m, const struct hm_ulid *id, uint64_t end)
{
	const struct hm_mem_msg *found = hm_mem_find_msg(m, id);

	if (found == NULL || found->off < end)
		return found;
	for (uint32_t i = m->n_msgs; i-- > 0;)
		if (m->msgs[i].off < end && hm_ulid_eq(&m->msgs[i].id, id))
			return &m->msgs[i];
	return NULL;
}

bool hm_find_msg(struct hm_ledger *l, const struct hm_seglist *segs, const struct hm_ulid *id,
		 struct hm_hit *hit)
{
	for (size_t i = segs->n; i-- > 0;) {
		const struct hm_seg *s = segs->v[i];
		const struct hm_mem_msg *m = NULL;
		const struct hm_idx *x;
		int64_t rank;

		pthread_rwlock_rdlock(&l->lock);
		x = s->idx;
		if (x == NULL && s->mem)
			m = written_entry(s->mem, id, __atomic_load_n(&s->end, __ATOMIC_ACQUIRE));
		if (m)
			*hit = (struct hm_hit){*id, s, m->off, m->state};
		pthread_rwlock_unlock(&l->lock);
		if (m)
			return true;
		rank = x ? hm_idx_find(x, id) : -1;
		if (rank >= 0) {
			*hit = (struct hm_hit){*id, s, hm_idx_off(x, (uint32_t)rank),
					       hm_idx_state(x, (uint32_t)rank) & 15};
			return true;
		}
	}
	return false;
}
