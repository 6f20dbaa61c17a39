/*
 * keeper.c - the two background threads
 *
 * The indexer turns the memory index of a sealed segment into a file; that must
 * keep up with writing, or memory grows, so it runs at normal priority. The
 * packer compresses; that can wait for quiet hours, so it runs only when nothing
 * else wants the processor (SCHED_IDLE), until so much is uncompressed that the
 * indexer does it on the spot.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "store/ledger_int.h"
#include "store/pack.h"

#define RETRY_NS 1000000000ull

static uint64_t file_size(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void add_disk(struct hm_ledger *l, struct hm_seg *s, uint64_t plus, uint64_t minus)
{
	__atomic_add_fetch(&s->disk, plus - minus, __ATOMIC_RELAXED);
	__atomic_add_fetch(&l->disk_bytes, plus - minus, __ATOMIC_RELAXED);
}

/* -- compressing ---------------------------------------------------------------------- */

/* 0 when the segment needs no more work: compressed, or gone. */
static int pack(struct hm_ledger *l, struct hm_seg *s)
{
	char log[HM_SEG_PATH], packed[HM_SEG_PATH];
	uint64_t size = 0, raw;
	struct hm_err e;
	int rc;

	hm_seg_path(l->dir, s->seq, HM_SEG_LOG, log);
	hm_seg_path(l->dir, s->seq, HM_SEG_PACK, packed);
	if (__atomic_load_n(&s->dropped, __ATOMIC_SEQ_CST))
		return 0;
	rc = hm_pack_build(log, packed, s->seq, &l->k_stop, &size, &e);
	if (rc < 0) {
		if (__atomic_load_n(&s->dropped, __ATOMIC_SEQ_CST))
			return 0;
		if (rc != HM_ECANCELLED)
			HM_WARN(LEDGER, "compress_failed", HM_U("segment", s->seq), HM_E(&e));
		return rc;
	}
	raw = file_size(log);
	(void)hm_fault(HM_FAULT_ledger_pack);
	unlink(log);
	/* Expiry may have removed the files while the new one was not there yet. */
	if (__atomic_load_n(&s->dropped, __ATOMIC_SEQ_CST)) {
		unlink(packed);
	} else {
		add_disk(l, s, size, raw);
		__atomic_store_n(&s->packed, true, __ATOMIC_RELEASE);
	}
	return 0;
}

static void pack_done(struct hm_ledger *l, struct hm_seg *s)
{
	__atomic_sub_fetch(&l->unpacked_bytes, s->end, __ATOMIC_RELAXED);
	__atomic_sub_fetch(&l->unpacked, 1, __ATOMIC_RELEASE);
	hm_seg_unref(s);
}

void hm_keepers_pack(struct hm_ledger *l, struct hm_seg *s)
{
	struct hm_seg *head;

	hm_seg_ref(s);
	__atomic_add_fetch(&l->unpacked, 1, __ATOMIC_RELAXED);
	if (__atomic_add_fetch(&l->unpacked_bytes, s->end, __ATOMIC_RELAXED) > HM_LEDGER_UNPACKED &&
	    l->started && pack(l, s) == 0) {
		pack_done(l, s);
		return;
	}
	head = __atomic_load_n(&l->p_stack, __ATOMIC_RELAXED);
	do {
		s->next = head;
	} while (!__atomic_compare_exchange_n(&l->p_stack, &head, s, true, __ATOMIC_RELEASE,
					      __ATOMIC_RELAXED));
	uv_sem_post(&l->p_sem);
}

static void packer_main(void *arg)
{
	const struct sched_param none = {.sched_priority = 0};
	struct hm_ledger *l = arg;
	struct hm_seg *waiting = NULL; /* in the order they are tried */

	sched_setscheduler(0, SCHED_IDLE, &none); /* refused: then it runs like the others, and yields less */
	hm_log_thread("thread", "ledger-packer");
	for (;;) {
		struct hm_seg *fresh, *failed = NULL, **tail = &failed, *s;
		uint32_t n_failed = 0;

		uv_sem_wait(&l->p_sem);
		fresh = __atomic_exchange_n(&l->p_stack, NULL, __ATOMIC_ACQUIRE);
		while ((s = fresh) != NULL) { /* newest first: what waits longest ends up in front */
			fresh = s->next;
			s->next = waiting;
			waiting = s;
		}
		while ((s = waiting) != NULL) {
			waiting = s->next;
			if (__atomic_load_n(&l->k_stop, __ATOMIC_RELAXED)) {
				pack_done(l, s);
			} else if (pack(l, s) == 0) {
				pack_done(l, s);
			} else {
				s->next = NULL;
				*tail = s;
				tail = &s->next;
				n_failed++;
			}
		}
		waiting = failed; /* again with the next one */
		__atomic_store_n(&l->pack_failing, n_failed, __ATOMIC_RELEASE);
		if (__atomic_load_n(&l->k_stop, __ATOMIC_ACQUIRE) && waiting == NULL &&
		    __atomic_load_n(&l->p_stack, __ATOMIC_ACQUIRE) == NULL)
			return;
	}
}

/* -- indexing ------------------------------------------------------------------------- */

static int index_segment(struct hm_ledger *l, struct hm_seg *s, struct hm_err *e)
{
	char path[HM_SEG_PATH];
	struct hm_idx *x = NULL;
	struct hm_mem *mem = s->mem; /* frozen; only this thread replaces it */
	int rc;

	if (s->log_fd >= 0) {
		if (l->o.sync == HM_LEDGER_SYNC_INTERVAL && fdatasync(s->log_fd) < 0)
			HM_WARN(LEDGER, "sync_failed", HM_U("segment", s->seq),
				HM_S("errno", strerror(errno)));
		close(s->log_fd);
		s->log_fd = -1;
	}
	hm_seg_path(l->dir, s->seq, HM_SEG_IDX, path);
	rc = hm_idx_build(path, mem, s->seq, __atomic_load_n(&s->end, __ATOMIC_ACQUIRE),
			  __atomic_load_n(&s->last_ms, __ATOMIC_RELAXED), l->o.sync != HM_LEDGER_SYNC_OFF, e);
	(void)hm_fault(HM_FAULT_ledger_index);
	if (rc == 0)
		rc = hm_idx_open(path, s->seq, &x, e);
	if (rc < 0)
		return rc;
	add_disk(l, s, file_size(path), 0); /* before it can expire */
	pthread_rwlock_wrlock(&l->lock);
	s->idx = x;
	s->mem = NULL;
	pthread_rwlock_unlock(&l->lock);
	hm_mem_free(mem);
	return 0;
}

void hm_keepers_index(struct hm_ledger *l, struct hm_seg *s)
{
	hm_seg_ref(s);
	__atomic_add_fetch(&l->unindexed, 1, __ATOMIC_RELAXED);
	uv_mutex_lock(&l->k_mu);
	s->next = NULL;
	if (l->k_tail)
		l->k_tail->next = s;
	else
		l->k_head = s;
	l->k_tail = s;
	uv_mutex_unlock(&l->k_mu);
	uv_cond_signal(&l->k_cond);
}

bool hm_keepers_cancel(struct hm_ledger *l, struct hm_seg *s)
{
	struct hm_seg **at = &l->k_head, *last = NULL;
	bool found = false;

	uv_mutex_lock(&l->k_mu);
	if (l->k_busy != s) {
		while (*at && *at != s) {
			last = *at;
			at = &last->next;
		}
		found = *at == s;
		if (found) {
			*at = s->next;
			if (l->k_tail == s)
				l->k_tail = last;
		}
	}
	uv_mutex_unlock(&l->k_mu);
	if (found) {
		__atomic_sub_fetch(&l->unindexed, 1, __ATOMIC_RELEASE);
		hm_seg_unref(s);
	}
	return found;
}

static void sync_active(struct hm_ledger *l)
{
	int fd;

	if (!__atomic_exchange_n(&l->dirty, false, __ATOMIC_RELAXED))
		return;
	uv_mutex_lock(&l->k_mu);
	fd = dup(l->active_fd); /* it may be sealed and closed while we wait for the disk */
	uv_mutex_unlock(&l->k_mu);
	if (fd < 0)
		return;
	if (fdatasync(fd) < 0) {
		HM_WARN(LEDGER, "sync_failed", HM_S("errno", strerror(errno)));
		__atomic_store_n(&l->dirty, true, __ATOMIC_RELAXED);
	}
	close(fd);
}

static void indexer_main(void *arg)
{
	struct hm_ledger *l = arg;
	bool by_time = l->o.sync == HM_LEDGER_SYNC_INTERVAL;
	uint64_t interval = by_time ? l->o.sync_interval_ms * 1000000ull : RETRY_NS;
	uint64_t synced = hm_clock_mono_ns();
	bool failed = false, stop;

	hm_log_thread("thread", "ledger-indexer");
	do {
		struct hm_seg *s;
		struct hm_err e;

		uv_mutex_lock(&l->k_mu);
		if ((l->k_head == NULL || failed) && !l->k_stop)
			uv_cond_timedwait(&l->k_cond, &l->k_mu, failed ? RETRY_NS : interval);
		s = l->k_head;
		l->k_busy = s;
		stop = l->k_stop;
		uv_mutex_unlock(&l->k_mu);
		if (by_time && hm_clock_mono_ns() - synced >= interval) {
			sync_active(l);
			synced = hm_clock_mono_ns();
		}
		if (s == NULL)
			continue;
		failed = index_segment(l, s, &e) < 0;
		if (failed) {
			HM_WARN(LEDGER, "index_failed", HM_U("segment", s->seq), HM_E(&e));
			if (!stop) { /* it stays in front; its memory index serves meanwhile */
				uv_mutex_lock(&l->k_mu);
				l->k_busy = NULL;
				uv_mutex_unlock(&l->k_mu);
				continue;
			}
		}
		uv_mutex_lock(&l->k_mu);
		l->k_busy = NULL;
		l->k_head = s->next;
		if (l->k_head == NULL)
			l->k_tail = NULL;
		stop = stop && l->k_head == NULL;
		uv_mutex_unlock(&l->k_mu);
		if (!failed && !__atomic_load_n(&s->packed, __ATOMIC_RELAXED))
			hm_keepers_pack(l, s);
		__atomic_sub_fetch(&l->unindexed, 1, __ATOMIC_RELEASE);
		hm_seg_unref(s);
	} while (!stop);
}

int hm_keepers_start(struct hm_ledger *l, struct hm_err *e)
{
	if (uv_thread_create(&l->indexer, indexer_main, l) != 0)
		return hm_err_set(e, HM_EIO, "cannot start the ledger's indexer thread");
	if (uv_thread_create(&l->packer, packer_main, l) == 0)
		return 0;
	uv_mutex_lock(&l->k_mu);
	l->k_stop = true;
	uv_mutex_unlock(&l->k_mu);
	uv_cond_signal(&l->k_cond);
	uv_thread_join(&l->indexer);
	return hm_err_set(e, HM_EIO, "cannot start the ledger's packer thread");
}

void hm_keepers_stop(struct hm_ledger *l)
{
	uv_mutex_lock(&l->k_mu);
	__atomic_store_n(&l->k_stop, true, __ATOMIC_RELEASE);
	uv_mutex_unlock(&l->k_mu);
	uv_cond_signal(&l->k_cond);
	uv_thread_join(&l->indexer);
	uv_sem_post(&l->p_sem);
	uv_thread_join(&l->packer);
}

void hm_ledger_settle(struct hm_ledger *l)
{
	HM_CHECK(l, HM_LEDGER_MAGIC);
	/* Twice: what the first round seals may be old enough to expire once it is indexed. */
	for (int round = 0; !l->readonly && round < 2; round++) {
		uint64_t want = __atomic_add_fetch(&l->settle_want, 1, __ATOMIC_ACQ_REL);

		uv_cond_signal(&l->q_cond);
		while (__atomic_load_n(&l->settle_done, __ATOMIC_ACQUIRE) < want) {
			uv_cond_signal(&l->q_cond);
			uv_sleep(1);
		}
		uv_sem_post(&l->p_sem); /* those that failed before are tried again */
		while (__atomic_load_n(&l->unindexed, __ATOMIC_ACQUIRE) > 0 ||
		       __atomic_load_n(&l->unpacked, __ATOMIC_ACQUIRE) >
			       __atomic_load_n(&l->pack_failing, __ATOMIC_ACQUIRE))
			uv_sleep(1);
	}
}
