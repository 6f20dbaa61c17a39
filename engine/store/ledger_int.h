/*
 * ledger_int.h - what the files of the ledger share
 *
 *   writer.c   encodes on the caller's thread, hands a tick's batch over, tells when it is durable
 *   commit.c   the ledger thread: one write for all batches, repeats, sealing, expiry
 *   keeper.c   two background threads: index sealed segments, compress them
 *   open.c     start, recovery, read-only view, close
 *   owner.c    whose a message is         query.c   look-ups and reports       verify.c  the recount
 *
 * Locks, in the order they may be taken:
 *   commit   held by the ledger thread from "applied in memory" to "written"; verify takes it to see both equal
 *   lock     segments list, mem indexes, counters. Written by the ledger thread (a batch applied, the list
 *            changed) and by the indexer (mem replaced by idx); read by every look-up
 *   q_mu     the queue of batches          k_mu   the queue of segments to index, the active descriptor
 * The packer runs at idle priority and takes none of them: a thread that gets no
 * time must not hold what others wait for.
 */
#ifndef HM_STORE_LEDGER_INT_H
#define HM_STORE_LEDGER_INT_H

#include <pthread.h>

#include "base/obj.h"
#include "loop/mailbox.h"
#include "store/counts.h"
#include "store/ledger.h"
#include "store/seg.h"

#define HM_LEDGER_MAGIC 0x6c656467u
#define HM_WRITER_MAGIC 0x6c777274u
#define HM_BATCH_MAGIC	0x6c626174u

#define HM_LEDGER_SEGMENT  (32u << 20)
#define HM_LEDGER_CACHE	   (24u << 20)
#define HM_LEDGER_QUEUE	   (64u << 20)
#define HM_LEDGER_GROUP	   (4u << 20)	/* most bytes of one write */
#define HM_LEDGER_BATCH	   (1u << 20)	/* a batch this big does not wait for the tick's end */
#define HM_LEDGER_UNPACKED (1ull << 30) /* above this the indexer compresses too: the disk must not fill up */

/* One writer's records of one tick: a frame ready to be written, and what the index needs. */
struct hm_batch {
	uint32_t magic;
	struct hm_mail mail; /* carries it home when durable */
	struct hm_batch *next;
	struct hm_ledger_writer *w;
	uint64_t ticket, submitted_ns;
	struct hm_buf frame; /* HM_FRAME_HEAD bytes for the header, then records */
	struct hm_rec *recs;
	uint32_t n, cap, n_jobs;
};

struct hm_ledger {
	uint32_t magic;
	struct hm_ledger_opts o;
	char dir[4096];
	bool readonly;
	int lock_fd;
	struct hm_stats *stats; /* of the ledger thread */

	uv_mutex_t commit;
	pthread_rwlock_t lock;
	struct hm_seglist *segs; /* oldest first; the last is the active one */
	struct hm_counts counts;
	bool unwritten; /* under commit: memory is ahead of the file */
	bool any_moved; /* ledger thread: there are records of messages that moved */

	/* ledger thread */
	uv_thread_t thread;
	struct hm_seg *active;
	int active_fd;		  /* changes under k_mu */
	uint64_t active_first_ms; /* first record of the active segment, 0 = none yet */

	uv_mutex_t q_mu;
	uv_cond_t q_cond;
	struct hm_batch *q_head, *q_tail;
	uint64_t q_bytes; /* queued and being written; atomic */
	bool q_sleeping, stop;
	uint64_t settle_want, settle_done; /* atomic */
	bool started;

	uv_mutex_t k_mu;
	uv_cond_t k_cond;
	uv_thread_t indexer, packer;
	struct hm_seg *k_head, *k_tail; /* to index */
	struct hm_seg *k_busy;		/* of them, the one being indexed right now */
	bool k_stop, dirty;		/* atomic */
	uint32_t unindexed, unpacked;	/* atomic */
	uint64_t unpacked_bytes;	/* atomic */
	uint32_t pack_failing;		/* atomic */
	uv_sem_t p_sem;
	struct hm_seg *p_stack; /* atomic: to compress, newest first */

	uv_mutex_t h_mu;
	struct hm_ledger_health h;
	uint64_t disk_bytes, records; /* atomic */
};

struct hm_ledger_writer {
	uint32_t magic;
	struct hm_ledger *l;
	struct hm_tick *t;
	struct hm_mailbox *mb;
	void (*on_durable)(void *arg, uint64_t ticket);
	void *arg;
	struct hm_flush flush;
	struct hm_batch *cur, *spare; /* being filled, NULL = none; empty ones */
	uint64_t ticket;	      /* of cur, or the latest one */
	size_t backlog;
};

/* open.c */
int hm_ledger_new_segment(struct hm_ledger *l, uint64_t seq, struct hm_seg **s_r, int *fd_r,
			  struct hm_err *e) HM_MUSTCHECK;
/* commit.c */
void hm_ledger_thread(void *arg);
void hm_ledger_failed(struct hm_ledger *l, const struct hm_err *e); /* notes it for health, logs once a row */
void hm_ledger_recovered(struct hm_ledger *l);
/* keeper.c */
int hm_keepers_start(struct hm_ledger *l, struct hm_err *e) HM_MUSTCHECK;
void hm_keepers_stop(struct hm_ledger *l);
/* Both hand the segment to the background (a reference of their own is taken), and never block for long. */
void hm_keepers_index(struct hm_ledger *l, struct hm_seg *s);
void hm_keepers_pack(struct hm_ledger *l, struct hm_seg *s);
/* The segment expires before it was indexed: false when it is being indexed right now. */
bool hm_keepers_cancel(struct hm_ledger *l, struct hm_seg *s);
/* query.c */
struct hm_seglist *hm_ledger_segs(struct hm_ledger *l); /* the current list, with a reference */

#endif
