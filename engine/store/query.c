/*
 * query.c - look-ups and the balance
 */
#include <stdlib.h>

#include "store/cursor.h"
#include "store/owner.h"

struct hm_seglist *hm_ledger_segs(struct hm_ledger *l)
{
	struct hm_seglist *s;

	HM_CHECK(l, HM_LEDGER_MAGIC);
	pthread_rwlock_rdlock(&l->lock);
	s = l->segs;
	__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
	pthread_rwlock_unlock(&l->lock);
	return s;
}

static int none(struct hm_err *e, const char *what, const struct hm_ulid *id)
{
	char text[HM_ULID_TEXT + 1];

	hm_ulid_text(id, text);
	return hm_err_set(e, HM_ENOENT, "the ledger has no %s %s", what, text);
}

/* -- by id ---------------------------------------------------------------------------------- */

int hm_ledger_get_msg(struct hm_ledger *l, const struct hm_ulid *id, struct hm_arena *a,
		      struct hm_ledger_msg *m_r, struct hm_err *e)
{
	struct hm_seglist *segs = hm_ledger_segs(l);
	struct hm_seg_reader r;
	struct hm_str rec;
	struct hm_hit hit;
	int rc;

	hm_seg_reader_init(&r, l->dir);
	if (!hm_find_msg(l, segs, id, &hit)) {
		rc = none(e, "record of message", id);
	} else {
		rc = hm_seg_reader_get(&r, hit.seg, hit.off, a, &rec, e);
		if (rc == 0)
			rc = hm_rec_get_msg(rec, a, m_r, e);
		if (rc == HM_ENOENT)
			rc = none(e, "record of message", id);
	}
	hm_seg_reader_fini(&r);
	hm_seglist_unref(segs);
	return rc;
}

/* The job with the greatest id <= `id`. */
static bool job_before(struct hm_ledger *l, const struct hm_seglist *segs, const struct hm_ulid *id,
		       struct hm_ulid *job_r)
{
	bool any = false;

	for (size_t i = segs->n; i-- > 0;) {
		const struct hm_seg *s = segs->v[i];
		const struct hm_idx *x;
		struct hm_ulid job;

		pthread_rwlock_rdlock(&l->lock);
		x = s->idx;
		if (x == NULL && s->mem)
			for (uint32_t k = 0; k < s->mem->n_jobs; k++) {
				const struct hm_mem_job *j = &s->mem->jobs[k];

				if (hm_ulid_cmp(&j->id, id) <= 0 &&
				    (!any || hm_ulid_cmp(&j->id, job_r) > 0)) {
					*job_r = j->id;
					any = true;
				}
			}
		pthread_rwlock_unlock(&l->lock);
		if (x && (!any || hm_ulid_cmp(&x->max_job, job_r) > 0) && hm_idx_job_before(x, id, &job) &&
		    (!any || hm_ulid_cmp(&job, job_r) > 0)) {
			*job_r = job;
			any = true;
		}
	}
	return any;
}

/* Of a record of its acceptance, or, without labels, of one that says who has it. */
static int read_job(struct hm_ledger *l, const struct hm_ulid *job, const struct hm_owner_rec *where,
		    struct hm_arena *a, struct hm_ledger_job *j_r, struct hm_ledger_moved *m_r,
		    struct hm_err *e)
{
	struct hm_seg_reader r;
	struct hm_str rec;
	int rc;

	hm_seg_reader_init(&r, l->dir);
	rc = hm_seg_reader_get(&r, where->seg, where->off, a, &rec, e);
	if (rc == 0 && hm_rec_get_job(rec, j_r, e) < 0) {
		rc = hm_rec_get_moved(rec, m_r, e);
		*j_r = (struct hm_ledger_job){.n0 = m_r->n0,
					      .n = m_r->n,
					      .lane = m_r->lane,
					      .accepted_ms = m_r->accepted_ms,
					      .campaign = m_r->campaign};
	}
	j_r->id = *job;
	hm_seg_reader_fini(&r);
	return rc;
}

/* Whose message `id` is, and what is known of its job: that it was accepted here, else who has it. exact: it is a job's first. */
static int find_job(struct hm_ledger *l, const struct hm_ulid *id, bool exact, struct hm_arena *a,
		    struct hm_ledger_job *j_r, enum hm_own *own_r, struct hm_str *node_r, struct hm_err *e)
{
	struct hm_seglist *segs = hm_ledger_segs(l);
	struct hm_ledger_moved m;
	struct hm_owner o = {.own = HM_OWN_NONE};
	struct hm_ulid job = *id;
	int rc = HM_ENOENT;

	if (exact || job_before(l, segs, id, &job))
		hm_owner_find(l, segs, &job, hm_ulid_diff(id, &job), &o);
	if (o.own != HM_OWN_NONE)
		rc = read_job(l, &job, o.job.seg ? &o.job : &o.by, a, j_r, &m, e);
	if (rc == 0 && o.own == HM_OWN_AWAY && node_r != NULL) {
		struct hm_ledger_job unused;

		rc = read_job(l, &job, &o.by, a, &unused, &m, e);
		*node_r = rc == 0 ? m.node : HM_STR_NULL;
	}
	*own_r = o.own;
	hm_seglist_unref(segs);
	return rc == HM_ENOENT ? none(e, exact ? "job" : "job of message", id) : rc;
}

int hm_ledger_moved_to(struct hm_ledger *l, const struct hm_ulid *id, struct hm_arena *a,
		       struct hm_str *node_r, struct hm_err *e)
{
	struct hm_ledger_job j;
	enum hm_own own;
	int rc = find_job(l, id, false, a, &j, &own, node_r, e);

	return rc == 0 && own != HM_OWN_AWAY ? none(e, "other node for message", id) : rc;
}

int hm_ledger_get_job(struct hm_ledger *l, const struct hm_ulid *id, struct hm_arena *a,
		      struct hm_ledger_job *j_r, struct hm_err *e)
{
	enum hm_own own;

	return find_job(l, id, true, a, j_r, &own, NULL, e);
}

int hm_ledger_job_of(struct hm_ledger *l, const struct hm_ulid *id, struct hm_arena *a,
		     struct hm_ledger_job *j_r, struct hm_err *e)
{
	enum hm_own own;
	int rc = find_job(l, id, false, a, j_r, &own, NULL, e);

	return rc == 0 && own != HM_OWN_HERE ? none(e, "job of message", id) : rc;
}

/* -- lists ------------------------------------------------------------------------------------ */

struct list {
	struct hm_ledger *l;
	struct hm_walk walk;
	struct hm_seg_reader reader;
	struct hm_arena arena;
	hm_ledger_visit_fn fn;
	void *arg;
	int state; /* -1 any */
	size_t left;
};

static int read_hit(struct list *s, const struct hm_hit *hit, struct hm_ledger_msg *m, struct hm_err *e)
{
	struct hm_str rec;
	int rc = hm_seg_reader_get(&s->reader, hit->seg, hit->off, &s->arena, &rec, e);

	return rc < 0 ? rc : hm_rec_get_msg(rec, &s->arena, m, e);
}

/* A hash said so; the text decides. A message that went on to another address is shown as it is now. */
static bool is_recipient(struct list *s, struct hm_ledger_msg *m, struct hm_err *e)
{
	struct hm_str text = s->walk.q.text;
	struct hm_hit newest;

	if (!hm_str_eq(m->address, text) && !hm_str_eq(m->user, text))
		return false;
	return hm_state_final(m->state) || !hm_find_msg(s->l, s->walk.segs, &m->id, &newest) ||
	       read_hit(s, &newest, m, e) == 0;
}

/* One record of the walk: the newest version of its message. */
static int show(struct list *s, const struct hm_hit *hit, bool *stop_r, struct hm_err *e)
{
	struct hm_ledger_msg m;
	int rc;

	*stop_r = false;
	if (s->state >= 0 && hit->state != s->state)
		return 0;
	hm_arena_reset(&s->arena);
	rc = read_hit(s, hit, &m, e);
	if (rc == HM_ENOENT) /* expired while we were looking */
		return 0;
	if (rc < 0)
		return rc;
	if (s->walk.q.kind == HM_WALK_RECIPIENT && !is_recipient(s, &m, e))
		return 0;
	*stop_r = !s->fn(s->arg, &m) || --s->left == 0;
	return 0;
}

static int run_list(struct hm_ledger *l, const struct hm_walk_query *q, int state, size_t limit,
		    hm_ledger_visit_fn fn, void *arg, struct hm_err *e)
{
	struct list s = {.l = l, .fn = fn, .arg = arg, .state = state, .left = limit};
	struct hm_hit hit, last;
	bool any = false, stop = limit == 0;
	int rc = hm_walk_init(&s.walk, l, q, e);

	if (rc < 0)
		return rc;
	hm_seg_reader_init(&s.reader, l->dir);
	hm_arena_init(&s.arena, NULL, 0);
	while (rc == 0 && !stop && hm_walk_next(&s.walk, &hit)) {
		bool same = any && hm_ulid_eq(&hit.id, &last.id);

		/* Downwards the first of equal ids is the newest version; upwards it is the last. */
		if (q->newest_first ? !same : any && !same)
			rc = show(&s, q->newest_first ? &hit : &last, &stop, e);
		last = hit;
		any = true;
	}
	if (rc == 0 && !stop && any && !q->newest_first)
		rc = show(&s, &last, &stop, e);
	hm_arena_fini(&s.arena);
	hm_seg_reader_fini(&s.reader);
	hm_walk_fini(&s.walk);
	return rc;
}

int hm_ledger_by_recipient(struct hm_ledger *l, struct hm_str text, const struct hm_ulid *after, size_t limit,
			   hm_ledger_visit_fn fn, void *arg, struct hm_err *e)
{
	const struct hm_walk_query q = {HM_WALK_RECIPIENT, text, true, after};

	return text.len ? run_list(l, &q, -1, limit, fn, arg, e)
			: hm_err_set(e, HM_EINVAL, "the recipient to look for is empty");
}

int hm_ledger_by_campaign(struct hm_ledger *l, struct hm_str campaign, int state, const struct hm_ulid *after,
			  size_t limit, hm_ledger_visit_fn fn, void *arg, struct hm_err *e)
{
	const struct hm_walk_query q = {HM_WALK_CAMPAIGN, campaign, true, after};

	return run_list(l, &q, state, limit, fn, arg, e);
}

int hm_ledger_each(struct hm_ledger *l, hm_ledger_visit_fn fn, void *arg, struct hm_err *e)
{
	const struct hm_walk_query q = {HM_WALK_ALL, HM_STR_NULL, false, NULL};

	return run_list(l, &q, -1, SIZE_MAX, fn, arg, e);
}

/* -- the balance ------------------------------------------------------------------------------ */

uint64_t hm_ledger_balance_of(const struct hm_ledger_balance *b, enum hm_state s)
{
	return b->by_state[s] + (s == HM_ST_SENT ? b->by_state[HM_ST_DELIVERED] : 0);
}

static uint64_t ended(const struct hm_ledger_balance *b)
{
	uint64_t sum = 0;

	for (size_t s = 0; s < HM_ST_COUNT; s++)
		sum += b->by_state[s];
	return sum;
}

bool hm_ledger_balanced(const struct hm_ledger_balance *b)
{
	return b->accepted == ended(b) + b->pending;
}

static void fill_balance(struct hm_ledger_balance *b, const struct hm_counts_row *row)
{
	memset(b, 0, sizeof(*b));
	b->accepted = row->accepted;
	for (size_t s = 0; s < HM_ST_COUNT; s++)
		if (hm_state_final((enum hm_state)s))
			b->by_state[s] = row->state[s];
	b->unknown_attempts = row->unknown;
	b->repeats = row->repeats;
	b->replays = row->replays;
	/* below 0: some that had moved before they counted here have come back */
	b->moved = (int64_t)row->moved > 0 ? row->moved : 0;
	b->pending = row->accepted > ended(b) ? row->accepted - ended(b) : 0;
}

int hm_ledger_total(struct hm_ledger *l, struct hm_ledger_balance *b_r, struct hm_err *e)
{
	struct hm_counts_row sum = {.accepted = 0}, *row;
	size_t pos = 0;

	HM_CHECK(l, HM_LEDGER_MAGIC);
	pthread_rwlock_rdlock(&l->lock);
	while (hm_counts_next(&l->counts, &pos, &row))
		hm_counts_add(&sum, row);
	pthread_rwlock_unlock(&l->lock);
	fill_balance(b_r, &sum);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct hm_ledger_balance *x = a, *y = b;

	return hm_str_cmp(x->campaign, y->campaign);
}

/* Copies the rows, names into the arena, so that the callback runs without the lock. */
static int copy_rows(struct hm_ledger *l, struct hm_arena *a, struct hm_ledger_balance **v_r, size_t *n_r)
{
	struct hm_ledger_balance *v;
	struct hm_counts_row *row;
	size_t pos = 0, n = 0;
	int rc = 0;

	pthread_rwlock_rdlock(&l->lock);
	v = malloc((l->counts.n + 1) * sizeof(*v));
	while (v && rc == 0 && hm_counts_next(&l->counts, &pos, &row)) {
		if (row->forgotten)
			continue;
		fill_balance(&v[n], row);
		v[n].campaign = row->len ? hm_arena_str(a, hm_counts_name(row)) : HM_STR("");
		if (v[n++].campaign.p == NULL)
			rc = HM_ENOMEM;
	}
	pthread_rwlock_unlock(&l->lock);
	*v_r = v;
	*n_r = n;
	return v ? rc : HM_ENOMEM;
}

int hm_ledger_each_campaign(struct hm_ledger *l, hm_ledger_balance_fn fn, void *arg, struct hm_err *e)
{
	struct hm_ledger_balance *v;
	struct hm_arena a;
	size_t n = 0;
	int rc;

	HM_CHECK(l, HM_LEDGER_MAGIC);
	hm_arena_init(&a, NULL, 0);
	rc = copy_rows(l, &a, &v, &n);
	if (rc < 0)
		hm_err_set(e, rc, "out of memory reading the balance");
	else
		qsort(v, n, sizeof(*v), by_name);
	for (size_t i = 0; rc == 0 && i < n && fn(arg, &v[i]); i++)
		;
	free(v);
	hm_arena_fini(&a);
	return rc;
}
