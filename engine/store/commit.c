/*
 * commit.c - the ledger thread
 *
 *   take all batches -> new segment when this one is full -> apply them in memory
 *   (repeats found, counters moved, index entries made) -> one write -> tell the writers
 *
 * Applying comes before writing, because what a record replaces is written into it.
 * A write that fails is tried again with the same bytes at the same place, so the
 * file never holds half a frame in its middle and never another order.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "store/owner.h"

#define IDLE_NS	       1000000000ull
#define BACKOFF_MAX_MS 1000
#define GROUP_BATCHES  512

void hm_ledger_failed(struct hm_ledger *l, const struct hm_err *e)
{
	bool first;

	uv_mutex_lock(&l->h_mu);
	first = !l->h.failing;
	if (first)
		l->h.since_ms = hm_clock_wall_ms();
	l->h.failing = true;
	l->h.err = *e;
	l->h.retries++;
	uv_mutex_unlock(&l->h_mu);
	if (first)
		HM_ERROR(LEDGER, "write_failed", HM_E(e), HM_S("doing", "trying again until it succeeds"));
}

void hm_ledger_recovered(struct hm_ledger *l)
{
	bool was;

	uv_mutex_lock(&l->h_mu);
	was = l->h.failing;
	l->h.failing = false;
	uv_mutex_unlock(&l->h_mu);
	if (was)
		HM_INFO(LEDGER, "write_recovered");
}

/* -- what a record means ------------------------------------------------------------ */

static bool outside(const struct hm_ulid *id, const struct hm_ulid *min, const struct hm_ulid *max)
{
	return hm_ulid_cmp(id, min) < 0 || hm_ulid_cmp(id, max) > 0;
}

/* The newest record of a message in the sealed segments: state + 16 * unknown, or -1. Only the writers of `lock`
 * change what is read here, and the caller holds it. */
static int older_state(const struct hm_ledger *l, const struct hm_ulid *id)
{
	for (size_t i = l->segs->n - 1; i-- > 0;) {
		const struct hm_seg *s = l->segs->v[i];

		if (s->idx) {
			int64_t rank = hm_idx_find(s->idx, id);

			if (rank >= 0)
				return hm_idx_state(s->idx, (uint32_t)rank);
		} else if (s->mem && s->mem->n_msgs && !outside(id, &s->mem->min_msg, &s->mem->max_msg)) {
			const struct hm_mem_msg *m = hm_mem_find_msg(s->mem, id);

			if (m)
				return m->state | m->unknown << 4;
		}
	}
	return -1;
}

static int state_now(const struct hm_ledger *l, const struct hm_ulid *id)
{
	const struct hm_mem_msg *m = hm_mem_find_msg(l->active->mem, id);

	return m ? m->state | m->unknown << 4 : older_state(l, id);
}

/* Is the message of this record another node's? */
static bool is_away(struct hm_ledger *l, const struct hm_rec *r)
{
	const struct hm_mem_job *j;
	struct hm_ulid job;
	struct hm_owners o;

	if (!l->any_moved)
		return false;
	job = hm_rec_origin(r);
	j = hm_mem_find_job(l->active->mem, &job);
	if (j != NULL && j->prev == 0 && j->at.hop == 0 && j->at.n0 == 0 && r->n0 < j->at.n)
		return false; /* accepted a moment ago, and nothing else: most messages */
	hm_owners_find(l, &job, r->n0, 1, &o);
	return o.own[0] == HM_OWN_AWAY;
}

static void judge_msg(struct hm_ledger *l, struct hm_rec *r)
{
	const struct hm_mem_msg *m = hm_mem_find_msg(l->active->mem, &r->id);
	int prior = m ? m->state | m->unknown << 4 : -1;
	bool amends = r->flags & HM_REC_AMENDS;
	uint8_t state;

	if (prior < 0 && r->flags & HM_REC_SEARCH)
		prior = older_state(l, &r->id);
	r->flags = 0;
	if (prior < 0) {
		r->flags = amends ? HM_REC_DEAD : is_away(l, r) ? HM_REC_AWAY : 0;
		return;
	}
	state = (uint8_t)prior & 15;
	if (amends) {
		if (!hm_state_amendable(state, r->state)) {
			r->flags = HM_REC_DEAD;
			return;
		}
	} else if (hm_state_final(state) && !(state == HM_ST_SENT && r->state == HM_ST_DELIVERED)) {
		r->flags = HM_REC_DEAD | (hm_state_final(r->state) ? HM_REC_REPEAT : 0);
		return;
	}
	r->prev = (uint8_t)(state + 1);
	r->prev_unknown = (uint8_t)(prior >> 4);
	if (is_away(l, r))
		r->flags = HM_REC_AWAY;
}

static void judge_job(struct hm_ledger *l, struct hm_rec *r)
{
	struct hm_ulid job = hm_rec_origin(r);
	bool search = r->flags & HM_REC_SEARCH || hm_mem_find_job(l->active->mem, &job) != NULL;
	uint32_t covered = 0;

	r->flags = 0;
	for (uint32_t i = 0; search && i < r->n; i += HM_OWNERS_MAX) {
		struct hm_owners o;

		hm_owners_find(l, &job, r->n0 + i, hm_min(r->n - i, (uint32_t)HM_OWNERS_MAX), &o);
		for (uint32_t k = 0; k < o.n; k++)
			covered += o.own[k] != HM_OWN_NONE;
	}
	if (covered > 0 && covered == r->n) {
		r->flags = HM_REC_DEAD;
		return;
	}
	covered = hm_min(covered, (uint32_t)UINT16_MAX);
	r->prev = (uint8_t)covered;
	r->prev_unknown = (uint8_t)(covered >> 8);
}

/* What it changes in the counters: written into it, as nobody could tell later. It concerns those of its messages whose
 * owner is not known from a later change of hands. */
static void judge_moved(struct hm_ledger *l, struct hm_rec *r, char *rec)
{
	uint32_t v[HM_REC_SUMS] = {0};
	struct hm_ulid job = hm_rec_origin(r), id = r->id;
	bool news = false;
	struct hm_owners o;

	for (uint32_t i = 0; i < r->n; i++, hm_ulid_add(&id, 1)) {
		uint32_t k = i % HM_OWNERS_MAX;
		int state;

		if (k == 0)
			hm_owners_find(l, &job, r->n0 + i, hm_min(r->n - i, (uint32_t)HM_OWNERS_MAX), &o);
		if (o.hop[k] >= r->hop)
			continue;
		news = true;
		if (o.own[k] == (r->back ? HM_OWN_HERE : HM_OWN_AWAY) ||
		    (o.own[k] == HM_OWN_NONE && !r->back))
			continue;
		state = state_now(l, &id);
		if (o.own[k] == HM_OWN_NONE && state >= 0)
			continue; /* it counts already: its acceptance has expired */
		v[HM_REC_SUM_ACCEPTED]++;
		v[HM_REC_SUM_REPLAYS] += r->replay;
		if (state < 0)
			continue;
		v[HM_REC_SUM_UNKNOWN] += (uint32_t)state >> 4;
		if (hm_state_final((enum hm_state)(state & 15)))
			v[HM_REC_SUM_STATES + (state & 15)]++;
	}
	r->flags = news ? 0 : HM_REC_DEAD;
	l->any_moved |= news && !r->back;
	for (unsigned i = 0; i < HM_REC_SUMS; i++)
		hm_le32_put(rec + HM_REC_SUMS_OFF + 4 * i, v[i]);
}

static void apply(struct hm_ledger *l, struct hm_batch *b, uint64_t frame_off)
{
	char *payload = b->frame.p + HM_FRAME_HEAD;

	for (uint32_t i = 0; i < b->n; i++) {
		struct hm_rec *r = &b->recs[i];
		struct hm_counts_row *row;

		if (i + 8 < b->n)
			hm_mem_prefetch(l->active->mem, &b->recs[i + 8]);
		if (r->kind == HM_REC_MSG)
			judge_msg(l, r);
		else if (r->kind == HM_REC_JOB)
			judge_job(l, r);
		else
			judge_moved(l, r, payload + r->off);
		if (r->flags || r->prev || r->prev_unknown)
			hm_rec_mark(payload + r->off, r->flags, r->prev, r->prev_unknown);
		row = hm_counts_row(&l->counts, r->campaign_hash,
				    hm_str_n(payload + r->campaign_off, r->campaign_len));
		hm_assert(row != NULL); /* reserve_rows made it */
		row->last_seq = l->active->seq;
		hm_counts_apply(row, r, payload + r->off);
		if (!(r->flags & HM_REC_DEAD))
			hm_mem_add(l->active->mem, r, (uint32_t)(frame_off + HM_FRAME_HEAD + r->off),
				   l->active->seq, row);
	}
}

/* Everything that could fail for lack of memory, before anything is changed. */
static bool reserve(struct hm_ledger *l, struct hm_batch *group)
{
	uint32_t n = 0, jobs = 0;

	for (struct hm_batch *b = group; b; b = b->next) {
		const char *payload = b->frame.p + HM_FRAME_HEAD;

		n += b->n;
		jobs += b->n_jobs;
		for (uint32_t i = 0; i < b->n; i++) {
			const struct hm_rec *r = &b->recs[i];

			if (hm_counts_row(&l->counts, r->campaign_hash,
					  hm_str_n(payload + r->campaign_off, r->campaign_len)) == NULL)
				return false;
		}
	}
	return hm_mem_reserve(l->active->mem, n - jobs, jobs);
}

/* -- writing ------------------------------------------------------------------------ */

static int write_group(struct hm_ledger *l, struct hm_batch *group, struct hm_err *e)
{
	struct iovec iov[GROUP_BATCHES], *v = iov;
	uint64_t off = l->active->end;
	int n = 0;

	for (struct hm_batch *b = group; b; b = b->next)
		iov[n++] = (struct iovec){b->frame.p, b->frame.len};
	if (hm_fault(HM_FAULT_ledger_before_write) == HM_FAULT_FAIL)
		return hm_err_set(e, HM_EIO, "cannot write to %s: fault ledger_before_write", l->dir);
	while (n) {
		ssize_t w = pwritev(l->active_fd, v, n, (off_t)off);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return hm_err_set(e, HM_EIO, "cannot write to %s: %s", l->dir, strerror(errno));
		off += (uint64_t)w;
		while (n && (size_t)w >= v->iov_len) {
			w -= (ssize_t)v->iov_len;
			v++;
			n--;
		}
		if (n) {
			v->iov_base = (char *)v->iov_base + w;
			v->iov_len -= (size_t)w;
		}
	}
	if (l->o.sync == HM_LEDGER_SYNC_ALWAYS && fdatasync(l->active_fd) < 0)
		return hm_err_set(e, HM_EIO, "cannot sync %s: %s", l->dir, strerror(errno));
	return 0;
}

/* Seals the active segment and starts the next. On failure everything is as before. */
static int rotate(struct hm_ledger *l, struct hm_err *e)
{
	struct hm_seglist *old = l->segs, *list = hm_seglist_new(old->n + 1);
	struct hm_seg *s, *sealed = l->active;
	int fd, old_fd = l->active_fd, rc;

	if (list == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory starting a ledger segment");
	rc = hm_ledger_new_segment(l, sealed->seq + 1, &s, &fd, e);
	if (rc < 0) {
		free(list);
		return rc;
	}
	(void)hm_fault(HM_FAULT_ledger_rotate);
	/* As big as the last one got: growing step by step would copy and rehash all of it, several times. */
	if (!hm_mem_reserve(s->mem, sealed->mem->n_msgs, sealed->mem->n_jobs))
		HM_DEBUG(LEDGER, "no_memory_ahead");
	for (size_t i = 0; i < old->n; i++)
		list->v[i] = hm_seg_ref(old->v[i]);
	list->v[old->n] = s; /* the list's reference; `active` borrows it */
	pthread_rwlock_wrlock(&l->lock);
	l->segs = list;
	l->active = s;
	pthread_rwlock_unlock(&l->lock);
	uv_mutex_lock(&l->k_mu);
	l->active_fd = fd;
	uv_mutex_unlock(&l->k_mu);
	l->active_first_ms = 0;
	sealed->log_fd = old_fd;
	hm_keepers_index(l, sealed);
	hm_seglist_unref(old);
	return 0;
}

static bool must_rotate(const struct hm_ledger *l, uint64_t more)
{
	const struct hm_mem *m = l->active->mem;

	return m->n_msgs + m->n_jobs > 0 &&
	       (l->active->end + more > l->o.segment_bytes || hm_mem_bytes(m) > l->o.cache_bytes / 2);
}

static void retry_wait(struct hm_ledger *l, const struct hm_err *e, unsigned *ms)
{
	hm_ledger_failed(l, e);
	uv_sleep(*ms);
	*ms = hm_min(*ms * 2, (unsigned)BACKOFF_MAX_MS);
}

static void tell(struct hm_ledger *l, struct hm_batch *group)
{
	uint64_t now = hm_clock_mono_ns();

	for (struct hm_batch *b = group, *next; b; b = next) {
		next = b->next; /* b belongs to its writer again as soon as it is posted */
		__atomic_sub_fetch(&l->q_bytes, b->frame.len, __ATOMIC_RELAXED);
		hm_stats_add(l->stats, HM_CT_LEDGER_RECORDS, b->n);
		hm_stats_record_us(l->stats, HM_HG_LEDGER_WRITE, (now - b->submitted_ns) / 1000);
		__atomic_add_fetch(&l->records, b->n, __ATOMIC_RELAXED);
		hm_mailbox_post(b->w->mb, &b->mail);
	}
	hm_stats_inc(l->stats, HM_CT_LEDGER_BATCHES);
}

/* -- time ----------------------------------------------------------------------------- */

static bool expired(struct hm_ledger *l, struct hm_seg *s, uint64_t now)
{
	bool indexed;

	if (s == l->active || __atomic_load_n(&s->last_ms, __ATOMIC_RELAXED) + l->o.ttl_s * 1000ull >= now)
		return false;
	pthread_rwlock_rdlock(&l->lock); /* idx is set by the indexer */
	indexed = s->idx != NULL;
	pthread_rwlock_unlock(&l->lock);
	/* On a full disk there may be no room for an index: it must not be in the way of making some. */
	return indexed || hm_keepers_cancel(l, s);
}

/* Segments go from the oldest on, whole: that is all that expiry costs. */
static void expire(struct hm_ledger *l, uint64_t now)
{
	struct hm_seglist *old = l->segs, *list;
	size_t gone = 0;

	/* first the memory: a segment taken from the indexer has to go */
	list = hm_seglist_new(old->n);
	if (list == NULL)
		return;
	while (gone < old->n && expired(l, old->v[gone], now))
		gone++;
	list->n = old->n - gone;
	if (gone == 0) {
		free(list);
		return;
	}
	for (size_t i = gone; i < old->n; i++)
		list->v[i - gone] = hm_seg_ref(old->v[i]);
	uv_mutex_lock(&l->commit);
	pthread_rwlock_wrlock(&l->lock);
	l->segs = list;
	hm_counts_forget(&l->counts, old->v[gone - 1]->seq);
	pthread_rwlock_unlock(&l->lock);
	uv_mutex_unlock(&l->commit);
	for (size_t i = 0; i < gone; i++) {
		struct hm_seg *s = old->v[i];

		__atomic_store_n(&s->dropped, true, __ATOMIC_SEQ_CST);
		hm_seg_unlink(l->dir, s->seq);
		__atomic_sub_fetch(&l->disk_bytes, __atomic_load_n(&s->disk, __ATOMIC_RELAXED),
				   __ATOMIC_RELAXED);
	}
	HM_INFO(LEDGER, "expired", HM_U("segments", gone), HM_U("ttl_s", l->o.ttl_s));
	hm_seglist_unref(old);
}

/* -- committing ------------------------------------------------------------------------ */

static void commit_group(struct hm_ledger *l, struct hm_batch *group, uint64_t bytes)
{
	uint64_t now = hm_clock_wall_ms(), off;
	bool applied = false;
	unsigned wait_ms = 10;
	struct hm_err e;

	uv_mutex_lock(&l->commit);
	for (;;) {
		int rc = 0;

		if (!applied) {
			if (must_rotate(l, bytes))
				rc = rotate(l, &e);
			if (rc == 0) {
				off = l->active->end;
				pthread_rwlock_wrlock(&l->lock);
				if (reserve(l, group)) {
					for (struct hm_batch *b = group; b; b = b->next) {
						apply(l, b, off);
						off += b->frame.len;
					}
					applied = l->unwritten = true;
				} else {
					rc = hm_err_set(&e, HM_ENOMEM,
							"out of memory for the ledger's index");
				}
				pthread_rwlock_unlock(&l->lock);
			}
			if (applied)
				for (struct hm_batch *b = group; b; b = b->next)
					hm_frame_seal(b->frame.p, b->frame.len - HM_FRAME_HEAD, b->n,
						      HM_FRAME_RECORDS, now);
		}
		if (applied)
			rc = write_group(l, group, &e);
		if (rc == 0)
			break;
		uv_mutex_unlock(&l->commit);
		retry_wait(l, &e, &wait_ms);
		if (l->o.ttl_s)
			expire(l, hm_clock_wall_ms()); /* a full disk may get room this way */
		uv_mutex_lock(&l->commit);
	}
	l->unwritten = false;
	__atomic_store_n(&l->active->end, l->active->end + bytes, __ATOMIC_RELEASE);
	/* not the time of the frames: writing them may have waited for room for hours */
	now = hm_clock_wall_ms();
	__atomic_store_n(&l->active->last_ms, hm_max(now, l->active->last_ms), __ATOMIC_RELAXED);
	__atomic_add_fetch(&l->active->disk, bytes, __ATOMIC_RELAXED);
	__atomic_add_fetch(&l->disk_bytes, bytes, __ATOMIC_RELAXED);
	__atomic_store_n(&l->dirty, true, __ATOMIC_RELAXED);
	if (l->active_first_ms == 0)
		l->active_first_ms = now;
	uv_mutex_unlock(&l->commit);
	hm_ledger_recovered(l);
	hm_fault(HM_FAULT_ledger_after_write);
	tell(l, group);
}

/* Cuts the queue into groups that fit one write and one segment. */
static void commit_all(struct hm_ledger *l, struct hm_batch *all)
{
	while (all) {
		struct hm_batch *group = all, *last = all;
		uint64_t bytes = all->frame.len;
		unsigned n = 1;

		while (last->next && n < GROUP_BATCHES && bytes + last->next->frame.len <= HM_LEDGER_GROUP) {
			last = last->next;
			bytes += last->frame.len;
			n++;
		}
		all = last->next;
		last->next = NULL;
		commit_group(l, group, bytes);
	}
}

static void maintain(struct hm_ledger *l)
{
	uint64_t now = hm_clock_wall_ms(), age = hm_max(l->o.ttl_s * 1000ull / 32, (uint64_t)1000);
	struct hm_err e;

	if (l->o.ttl_s == 0)
		return;
	if (l->active_first_ms && l->active_first_ms + age < now) {
		int rc;

		uv_mutex_lock(&l->commit);
		rc = rotate(l, &e);
		uv_mutex_unlock(&l->commit);
		if (rc < 0)
			hm_ledger_failed(l, &e); /* it is tried again in a second */
		else
			hm_ledger_recovered(l);
	}
	expire(l, now);
}

void hm_ledger_thread(void *arg)
{
	struct hm_ledger *l = arg;
	uint64_t settle, maintained = 0;
	bool stop;

	hm_log_thread("thread", "ledger");
	do {
		struct hm_batch *all;
		uint64_t now;

		uv_mutex_lock(&l->q_mu);
		if (l->q_head == NULL && !l->stop &&
		    __atomic_load_n(&l->settle_want, __ATOMIC_ACQUIRE) == l->settle_done) {
			l->q_sleeping = true;
			uv_cond_timedwait(&l->q_cond, &l->q_mu, IDLE_NS);
			l->q_sleeping = false;
		}
		if (l->q_head && l->o.batch_wait_us && !l->stop) {
			/* not marked as sleeping: nobody spends a wake-up on us while we collect */
			uv_cond_timedwait(&l->q_cond, &l->q_mu, l->o.batch_wait_us * 1000ull);
		}
		all = l->q_head;
		l->q_head = l->q_tail = NULL;
		stop = l->stop;
		uv_mutex_unlock(&l->q_mu);
		settle = __atomic_load_n(&l->settle_want, __ATOMIC_ACQUIRE);
		commit_all(l, all);
		now = hm_clock_mono_ns();
		if (settle != l->settle_done || now - maintained >= IDLE_NS) {
			maintain(l);
			maintained = now;
		}
		__atomic_store_n(&l->settle_done, settle, __ATOMIC_RELEASE);
	} while (!stop || l->q_head);
}
