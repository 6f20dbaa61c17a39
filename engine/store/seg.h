/*
 * seg.h - one segment of the ledger and its files
 *
 *   0000000000000042.log    frames as they were written (the newest segment, and those not compressed yet)
 *   0000000000000042.pack   the same bytes in compressed blocks: offsets stay what they were (pack.h)
 *   0000000000000042.idx    look-up tables, once the segment is sealed (idx.h)
 * A segment has a .log or a .pack (for a moment both, with the same content) and,
 * in memory, either a mem index or an idx.
 *
 * Lifetime: counted references. A list of segments (oldest first) is immutable and
 * counted too; whoever looks something up holds the list that was current.
 */
#ifndef HM_STORE_SEG_H
#define HM_STORE_SEG_H

#include "store/frame.h"
#include "store/idx.h"
#include "store/mem.h"

#define HM_SEG_MAGIC 0x6c736567u
struct hm_seg {
	uint32_t magic;
	int refs; /* atomic */
	uint64_t seq, created_ms;
	uint64_t end;	     /* atomic: bytes that are written; entries behind it cannot be read yet */
	uint64_t last_ms;    /* atomic: wall time of the last write */
	uint64_t disk;	     /* atomic: bytes of its files */
	struct hm_mem *mem;  /* the ledger's lock */
	struct hm_idx *idx;  /* set once, under the ledger's lock */
	bool dropped;	     /* atomic: expired, its files are going */
	bool packed;	     /* atomic */
	int log_fd;	     /* sealed, with the indexer: to sync and close; -1 = none */
	struct hm_seg *next; /* in the one queue of the keepers that has it */
};
struct hm_seglist {
	int refs; /* atomic */
	size_t n;
	struct hm_seg *v[];
};
#define HM_SEG_PATH 4200
enum hm_seg_file { HM_SEG_LOG, HM_SEG_PACK, HM_SEG_IDX };

struct hm_seg *hm_seg_new(uint64_t seq); /* one reference; NULL when out of memory */
struct hm_seg *hm_seg_ref(struct hm_seg *s);
void hm_seg_unref(struct hm_seg *s);
struct hm_seglist *hm_seglist_new(size_t n); /* v[] not filled */
void hm_seglist_unref(struct hm_seglist *l); /* and its segments */

const char *hm_seg_path(const char *dir, uint64_t seq, enum hm_seg_file f, char out[HM_SEG_PATH]);
/* All its bytes as they were in the log, in fresh heap memory (free it). */
int hm_seg_image(const char *dir, uint64_t seq, char **bytes_r, size_t *len_r, struct hm_err *e) HM_MUSTCHECK;
void hm_seg_unlink(const char *dir, uint64_t seq);
/* pread until all is there: 0, HM_EIO, or HM_ESTORE when the file ends before. */
int hm_pread_all(int fd, void *p, size_t n, uint64_t off);

/* Walks the frames of an image from the second on (the first is the snapshot). Ends at the first that is not
 * whole; *end_r is its place. fn returning < 0 stops, with that result. */
typedef int (*hm_seg_record_fn)(void *arg, const struct hm_rec *r, uint32_t off, struct hm_str payload);
int hm_seg_walk(struct hm_str image, hm_seg_record_fn fn, void *arg, size_t *end_r,
		uint64_t *last_ms_r) HM_MUSTCHECK;

/* Reading single records, with the last few files kept open. One thread, one look-up. */
struct hm_seg_reader {
	const char *dir;
	struct hm_seg_reader_slot {
		uint64_t seq; /* 0 = free */
		int fd;
		bool packed;
		uint32_t n_blocks, block; /* block in `bytes`, UINT32_MAX = none */
		uint64_t raw_len;
		char *bytes;
		size_t bytes_len;
	} slot[4];
	unsigned next;
};
void hm_seg_reader_init(struct hm_seg_reader *r, const char *dir);
void hm_seg_reader_fini(struct hm_seg_reader *r);
/* The record at `off`, copied into the arena. HM_ENOENT when the segment has expired meanwhile. */
int hm_seg_reader_get(struct hm_seg_reader *r, const struct hm_seg *s, uint32_t off, struct hm_arena *a,
		      struct hm_str *rec_r, struct hm_err *e) HM_MUSTCHECK;

#endif
