/*
 * counts.h - the counters of the balance, one row per campaign
 *
 * Rows never move and their names never change while they live: the index of the
 * segment being written points at them. Every record changes its row through
 * hm_counts_apply, whether it is new, read back at start, or recounted by verify,
 * so the three cannot disagree about what a record means.
 *
 * Memory: heap, one row per campaign with a living record. Threads: the caller's
 * lock.
 */
#ifndef HM_STORE_COUNTS_H
#define HM_STORE_COUNTS_H

#include "base/buf.h"
#include "store/ledger.h"
#include "store/record.h"

struct hm_counts_row {
	uint64_t accepted, state[HM_ST_COUNT], unknown, repeats, replays, moved;
	uint64_t last_seq; /* newest segment with a record of this campaign */
	uint64_t slot_seq; /* in the dictionary of which segment ... */
	uint32_t slot;	   /* ... it has this place */
	bool forgotten;	   /* the one row that sums campaigns whose records have all expired */
	/* private */
	uint64_t hash;
	size_t len;
	char name[];
};
struct hm_counts {
	struct hm_counts_row **v;
	size_t n, cap;
	struct hm_counts_row *latest; /* most batches are of one campaign */
};
void hm_counts_init(struct hm_counts *t);
void hm_counts_fini(struct hm_counts *t);
/* The row, made when missing; NULL when out of memory. */
struct hm_counts_row *hm_counts_row(struct hm_counts *t, uint64_t hash, struct hm_str name);
struct hm_counts_row *hm_counts_find(const struct hm_counts *t, uint64_t hash, struct hm_str name);
static inline struct hm_str hm_counts_name(const struct hm_counts_row *r)
{
	return hm_str_n(r->name, r->len);
}
/* rec: the record's bytes, where the numbers of a MOVED one stand. */
void hm_counts_apply(struct hm_counts_row *row, const struct hm_rec *r, const char *rec);
/* Moves every row whose records are all in segments <= seq into the forgotten one. */
void hm_counts_forget(struct hm_counts *t, uint64_t seq);
bool hm_counts_next(const struct hm_counts *t, size_t *pos,
		    struct hm_counts_row **row_r); /* *pos = 0 to start */
void hm_counts_add(struct hm_counts_row *to, const struct hm_counts_row *from);

/* The snapshot at the start of a segment. Reading is safe on any bytes and adds to the table. */
void hm_counts_write(const struct hm_counts *t, uint64_t seq, uint64_t created_ms, struct hm_buf *out);
int hm_counts_read(struct hm_counts *t, struct hm_str payload, uint64_t *seq_r,
		   uint64_t *created_ms_r) HM_MUSTCHECK;

#endif
