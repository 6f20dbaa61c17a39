/*
 * owner.h - whose a message is: which of several nodes counts it
 *
 * Every node has a ledger of its own, and a message counts in one of them. Whose it is changes hands with the entry it
 * is in (dispatch/moves.c); each change has a number, its hop, which whoever holds the entry knows. A ledger has
 *
 *   JOB          accepted here: hop 0
 *   MOVED back   hop h: it is this node's
 *   MOVED        hop h: it is another node's, since that one took it
 *
 * each about a range of messages of one job, and ranges overlap as they like: a whole job is told away, ten of its
 * messages come back, one of these leaves again. So it is decided for each message by itself:
 *
 *   of all records that cover it the one with the greatest hop says whose it is, in whatever order they came
 *
 * which makes repeats harmless, and news that comes late (a node was told while it was down, or only seemed dead). It counts here
 * when that record is a JOB or says back. A record of it is kept also while it is another node's, marked as not counted
 * (HM_REC_AWAY); what it has become by then is added when it comes back.
 *
 * Found from the index alone: records of a job stand together in every segment, newest last. Threads: as said.
 */
#ifndef HM_STORE_OWNER_H
#define HM_STORE_OWNER_H

#include "store/ledger_int.h"

enum hm_own { HM_OWN_NONE /* no record covers it */, HM_OWN_HERE, HM_OWN_AWAY };

#define HM_OWNERS_MAX 1024
struct hm_owners { /* of messages [n0, n0 + n) of a job */
	uint32_t n0, n;
	uint8_t own[HM_OWNERS_MAX];  /* enum hm_own */
	uint32_t hop[HM_OWNERS_MAX]; /* since when; 0: since it was accepted */
	/* private */
	bool accepted[HM_OWNERS_MAX];
	uint32_t open;
};
/* As the ledger thread sees it, which holds the lock: what is applied counts. n <= HM_OWNERS_MAX. */
void hm_owners_find(struct hm_ledger *l, const struct hm_ulid *job, uint32_t n0, uint32_t n,
		    struct hm_owners *o_r);

/* One message, for a look-up: any thread, without the lock; what is written counts. */
struct hm_owner {
	enum hm_own own;
	uint32_t hop;
	struct hm_owner_rec { /* where the record is; seg NULL: there is none */
		const struct hm_seg *seg;
		uint32_t off;
	} by, job; /* the one that decides; the oldest that says it was accepted here */
};
void hm_owner_find(struct hm_ledger *l, const struct hm_seglist *segs, const struct hm_ulid *job,
		   uint32_t nth, struct hm_owner *o_r);

#endif
