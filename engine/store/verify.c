/*
 * verify.c - count everything again and compare
 *
 * Three questions, each answered from the files alone:
 *   are all bytes there (checksums, no torn end but where writing goes on)
 *   oldest snapshot + every record since = the counters now, and the snapshots in between
 *   did every message take only legal steps (one final state, sent -> delivered at most)
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/cursor.h"

struct recount {
	struct hm_counts base, delta; /* oldest snapshot; what living records say */
	uint64_t msgs;		      /* indexed ones of this segment */
};

static int on_record(void *arg, const struct hm_rec *r, uint32_t off, struct hm_str payload)
{
	struct recount *c = arg;
	struct hm_counts_row *row = hm_counts_row(&c->delta, r->campaign_hash,
						  hm_str_n(payload.p + r->campaign_off, r->campaign_len));

	if (row == NULL)
		return HM_ENOMEM;
	hm_counts_apply(row, r, payload.p + r->off);
	c->msgs += r->kind == HM_REC_MSG && !(r->flags & HM_REC_DEAD);
	return 0;
}

static void sum_of(const struct hm_counts *t, struct hm_counts_row *sum)
{
	struct hm_counts_row *row;
	size_t pos = 0;

	while (hm_counts_next(t, &pos, &row))
		hm_counts_add(sum, row);
}

/* The first number in which two rows differ; NULL when they agree. */
static const char *difference(const struct hm_counts_row *a, const struct hm_counts_row *b, uint64_t *x_r,
			      uint64_t *y_r)
{
	const char *what = NULL;

#define COMPARE(name, p, q)                       \
	do {                                      \
		if (what == NULL && (p) != (q)) { \
			what = (name);            \
			*x_r = (p);               \
			*y_r = (q);               \
		}                                 \
	} while (0)
	COMPARE("accepted", a->accepted, b->accepted);
	for (size_t s = 0; s < HM_ST_COUNT; s++)
		COMPARE(hm_state_name((enum hm_state)s), a->state[s], b->state[s]);
	COMPARE("unknown attempts", a->unknown, b->unknown);
	COMPARE("repeats", a->repeats, b->repeats);
	COMPARE("replays", a->replays, b->replays);
	COMPARE("moved", a->moved, b->moved);
#undef COMPARE
	return what;
}

static int compare_sums(const struct recount *c, const struct hm_counts_row *said, const char *where,
			struct hm_err *e)
{
	struct hm_counts_row sum = {.accepted = 0};
	uint64_t x = 0, y = 0;
	const char *what;

	sum_of(&c->base, &sum);
	sum_of(&c->delta, &sum);
	what = difference(said, &sum, &x, &y);
	if (what)
		return hm_err_set(e, HM_ESTORE,
				  "%s: the counter of %s says %" PRIu64 ", the records say %" PRIu64, where,
				  what, x, y);
	return 0;
}

/* A campaign that came back after all its records had expired counts from there: both readings are right. */
static int compare_rows(const struct recount *c, const struct hm_counts *live, struct hm_err *e)
{
	const struct hm_counts *tables[] = {live, &c->delta};

	for (size_t t = 0; t < 2; t++) {
		struct hm_counts_row *row;
		size_t pos = 0;

		while (hm_counts_next(tables[t], &pos, &row)) {
			struct hm_counts_row now = {.accepted = 0}, since = {.accepted = 0}, all;
			const struct hm_counts_row *p;
			const char *what;
			uint64_t x = 0, y = 0;

			if (row->forgotten)
				continue;
			if ((p = hm_counts_find(live, row->hash, hm_counts_name(row))) != NULL)
				now = *p;
			if ((p = hm_counts_find(&c->delta, row->hash, hm_counts_name(row))) != NULL)
				since = *p;
			all = since;
			if ((p = hm_counts_find(&c->base, row->hash, hm_counts_name(row))) != NULL)
				hm_counts_add(&all, p);
			what = difference(&now, &all, &x, &y);
			if (what && difference(&now, &since, &x, &y) != NULL)
				return hm_err_set(e, HM_ESTORE,
						  "campaign \"%.*s\": the counter of %s says %" PRIu64
						  ", the records say %" PRIu64,
						  HM_STRF(hm_counts_name(row)), what, x, y);
		}
	}
	return 0;
}

static int check_snapshot(struct recount *c, const struct hm_seg *s, struct hm_str image, bool oldest,
			  struct hm_err *e)
{
	uint64_t seq = 0, created_ms;
	struct hm_counts_row said = {.accepted = 0};
	struct hm_counts t;
	struct hm_frame f;
	char where[64];
	int rc = HM_ESTORE;

	hm_counts_init(&t);
	if (hm_frame_read(image, &f) && f.kind == HM_FRAME_SNAPSHOT)
		rc = hm_counts_read(oldest ? &c->base : &t, f.payload, &seq, &created_ms);
	if (rc == 0 && seq != s->seq)
		rc = HM_ESTORE;
	if (rc < 0) {
		hm_err_set(e, rc, "ledger segment %" PRIu64 " has no readable beginning", s->seq);
	} else if (!oldest) {
		sum_of(&t, &said);
		snprintf(where, sizeof(where), "at the start of segment %" PRIu64, s->seq);
		rc = compare_sums(c, &said, where, e);
	}
	hm_counts_fini(&t);
	return rc;
}

static int check_segment(struct hm_ledger *l, struct recount *c, const struct hm_seg *s, uint64_t end,
			 bool oldest, struct hm_err *e)
{
	uint64_t last_ms = 0, indexed;
	size_t len, good = 0;
	char *bytes;
	int rc = hm_seg_image(l->dir, s->seq, &bytes, &len, e);

	if (rc < 0)
		return rc;
	len = hm_min(len, (size_t)end); /* the active one grows while we read */
	rc = check_snapshot(c, s, hm_str_n(bytes, len), oldest, e);
	c->msgs = 0;
	if (rc == 0) {
		rc = hm_seg_walk(hm_str_n(bytes, len), on_record, c, &good, &last_ms);
		if (rc < 0 || good != end)
			rc = hm_err_set(e, rc < 0 ? rc : HM_ESTORE,
					"ledger segment %" PRIu64 " is damaged at byte %zu of %" PRIu64,
					s->seq, good, end);
	}
	free(bytes);
	pthread_rwlock_rdlock(&l->lock);
	/* The one that was active at the freeze may have grown, been sealed and indexed since. */
	indexed = s->idx && __atomic_load_n(&s->end, __ATOMIC_ACQUIRE) == end ? s->idx->n : c->msgs;
	pthread_rwlock_unlock(&l->lock);
	if (rc == 0 && indexed != c->msgs)
		rc = hm_err_set(e, HM_ESTORE,
				"the index of ledger segment %" PRIu64 " has %" PRIu64
				" messages, not %" PRIu64,
				s->seq, indexed, c->msgs);
	return rc;
}

static int check_histories(struct hm_ledger *l, struct hm_err *e)
{
	const struct hm_walk_query q = {HM_WALK_ALL, HM_STR_NULL, false, NULL};
	struct hm_hit hit, last = {.state = HM_ST_QUEUED};
	struct hm_walk w;
	bool any = false;
	int rc = hm_walk_init(&w, l, &q, e);

	if (rc < 0)
		return rc;
	while (rc == 0 && hm_walk_next(&w, &hit)) {
		if (any && hm_ulid_eq(&hit.id, &last.id) && hm_state_final(last.state) &&
		    !hm_state_amendable(last.state, hit.state)) {
			char text[HM_ULID_TEXT + 1];

			hm_ulid_text(&hit.id, text);
			rc = hm_err_set(e, HM_ESTORE, "message %s is %s after it was %s", text,
					hm_state_name(hit.state), hm_state_name(last.state));
		}
		last = hit;
		any = true;
	}
	hm_walk_fini(&w);
	return rc;
}

/* Counters, list and end of the file at one moment. */
static int freeze(struct hm_ledger *l, struct hm_counts *live, struct hm_seglist **segs_r, uint64_t *end_r,
		  struct hm_err *e)
{
	struct hm_counts_row *row, *copy;
	size_t pos = 0;
	int rc = 0;

	uv_mutex_lock(&l->commit);
	if (l->unwritten) {
		uv_mutex_unlock(&l->commit);
		return hm_err_set(e, HM_EAGAIN,
				  "the ledger has records it cannot write at the moment; verify later");
	}
	pthread_rwlock_rdlock(&l->lock);
	while (rc == 0 && hm_counts_next(&l->counts, &pos, &row)) {
		/* the forgotten row only has to be in the sum: a name no campaign has serves */
		copy = row->forgotten ? hm_counts_row(live, 1, HM_STR(""))
				      : hm_counts_row(live, row->hash, hm_counts_name(row));
		if (copy == NULL)
			rc = hm_err_set(e, HM_ENOMEM, "out of memory verifying the ledger");
		else
			hm_counts_add(copy, row);
		if (copy)
			copy->forgotten = row->forgotten;
	}
	*segs_r = l->segs;
	__atomic_add_fetch(&l->segs->refs, 1, __ATOMIC_RELAXED);
	*end_r = __atomic_load_n(&l->active->end, __ATOMIC_ACQUIRE);
	pthread_rwlock_unlock(&l->lock);
	uv_mutex_unlock(&l->commit);
	return rc;
}

static int verify_once(struct hm_ledger *l, struct hm_err *e)
{
	struct hm_counts_row said = {.accepted = 0};
	struct hm_seglist *segs = NULL;
	struct hm_counts live;
	struct recount c;
	uint64_t end = 0;
	int rc;

	hm_counts_init(&live);
	hm_counts_init(&c.base);
	hm_counts_init(&c.delta);
	rc = freeze(l, &live, &segs, &end, e);
	for (size_t i = 0; rc == 0 && i < segs->n; i++)
		rc = check_segment(l, &c, segs->v[i], i + 1 == segs->n ? end : segs->v[i]->end, i == 0, e);
	sum_of(&live, &said);
	if (rc == 0)
		rc = compare_sums(&c, &said, "in total", e);
	if (rc == 0)
		rc = compare_rows(&c, &live, e);
	if (rc == 0)
		rc = check_histories(l, e);
	hm_counts_fini(&live);
	hm_counts_fini(&c.base);
	hm_counts_fini(&c.delta);
	hm_seglist_unref(segs);
	return rc;
}

int hm_ledger_verify(struct hm_ledger *l, struct hm_err *e)
{
	int rc = HM_ENOENT;

	HM_CHECK(l, HM_LEDGER_MAGIC);
	/* Segments may expire while they are read. */
	for (int try = 0; rc == HM_ENOENT && try < 10; try++)
		rc = verify_once(l, e);
	return rc;
}
