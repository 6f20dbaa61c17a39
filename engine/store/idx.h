/*
 * idx.h - the index of a sealed segment: one immutable file, read through mmap
 *
 * Written once from a frozen hm_mem, under another name, then renamed. A "rank" is
 * a place in the order of (id, offset); every other section speaks in ranks, so
 * 45 bytes per record find it by id, by recipient and by campaign:
 *   header                      counts, ranges, section places, checksum of itself
 *   ids     n x 16              sorted; versions of one message lie side by side, oldest first
 *   offs    n x u32             rank -> offset of the record in the segment
 *   states  n x u8              rank -> state + 16 * unknown attempts
 *   recips  m x (u32 hash, u32 rank)   sorted; address and user of every message
 *   camps   c x 24              sorted by hash: hash u64, name offset u32, length u32, first posting u32, count u32
 *   posts   n x u32             per campaign, ranks ascending
 *   jobs    j x 16, j x 16      sorted ids of the jobs records are about; of each record hm_job_at (mem.h)
 *   names                       bytes
 * The file is ours, but a disk may lie: every access is held inside its section,
 * so a damaged file gives wrong places (caught when the record is read), never a
 * crash. Without the file the index is built again from the log.
 */
#ifndef HM_STORE_IDX_H
#define HM_STORE_IDX_H

#include "store/mem.h"

#define HM_IDX_MAGIC 0x69647831u
struct hm_idx {
	uint32_t magic;
	uint32_t n, n_recips, n_camps, n_jobs, n_moved /* of these */;
	struct hm_ulid min_msg, max_msg, min_job, max_job;
	uint64_t end, last_ms; /* of the segment: its length, its last write */
	/* private */
	const char *map;
	size_t size;
	const struct hm_ulid *ids, *job_ids;
	const char *offs, *states, *recips, *camps, *posts, *jobs, *names;
	size_t names_len;
};
/* Builds `path` from a frozen mem. sync: fdatasync before the rename. */
int hm_idx_build(const char *path, const struct hm_mem *m, uint64_t seq, uint64_t end, uint64_t last_ms,
		 bool sync, struct hm_err *e) HM_MUSTCHECK;
/* HM_ENOENT when there is none, HM_ESTORE when it is not whole: build it again. */
int hm_idx_open(const char *path, uint64_t seq, struct hm_idx **x_r, struct hm_err *e) HM_MUSTCHECK;
/* The same on bytes in memory, which must outlive it (fuzzing, tests). seq 0 = any. */
int hm_idx_parse(struct hm_idx *x, const void *bytes, size_t size, uint64_t seq) HM_MUSTCHECK;
void hm_idx_free(struct hm_idx *x);

/* First rank with id >= `id` (n when none). */
uint32_t hm_idx_lower(const struct hm_idx *x, const struct hm_ulid *id);
/* Newest version of an id: its rank, or -1. */
int64_t hm_idx_find(const struct hm_idx *x, const struct hm_ulid *id);
static inline uint32_t hm_idx_off(const struct hm_idx *x, uint32_t rank)
{
	return hm_le32(x->offs + 4 * (size_t)rank);
}
static inline uint8_t hm_idx_state(const struct hm_idx *x, uint32_t rank) /* state + 16 * unknown */
{
	return (uint8_t)x->states[rank];
}
/* [*lo_r, *hi_r) of the recipients with that hash; hm_idx_recip gives the rank of one. */
void hm_idx_recip_range(const struct hm_idx *x, uint32_t hash, uint32_t *lo_r, uint32_t *hi_r);
uint32_t hm_idx_recip(const struct hm_idx *x, uint32_t pos);
/* [*lo_r, *hi_r) of the postings of a campaign; hm_idx_post gives the rank of one. */
void hm_idx_camp_range(const struct hm_idx *x, uint64_t hash, struct hm_str name, uint32_t *lo_r,
		       uint32_t *hi_r);
uint32_t hm_idx_post(const struct hm_idx *x, uint32_t pos);
/* [*lo_r, *hi_r) of the records of one job, oldest first; hm_idx_job gives one. */
void hm_idx_job_range(const struct hm_idx *x, const struct hm_ulid *id, uint32_t *lo_r, uint32_t *hi_r);
struct hm_job_at hm_idx_job(const struct hm_idx *x, uint32_t pos);
/* The greatest job <= `id`; false when there is none. */
bool hm_idx_job_before(const struct hm_idx *x, const struct hm_ulid *id, struct hm_ulid *job_r);

/* Places 0..n-1 of ids `stride` bytes apart, sorted by id, equal ones in the order they stand. order_r: n places.
 * False when out of memory. */
bool hm_sort_ids(const void *ids, size_t stride, uint32_t n, uint32_t *order_r) HM_MUSTCHECK;

#endif
