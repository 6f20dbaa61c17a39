/*
 * mem.h - the index of a segment that is not sealed yet, in memory
 *
 * Flat arrays in the order of the log, and two hash tables over ids (of messages,
 * of jobs). Ids are looked up often (was there an earlier record?) and must be
 * fast; recipients and campaigns are looked up by people and are found by walking
 * the arrays, at most some hundred thousand entries. This is also what sealing
 * sorts into a file (idx.h).
 *
 * 40 to 50 bytes per record. Threads: the ledger's lock; a frozen one (sealed)
 * does not change any more.
 */
#ifndef HM_STORE_MEM_H
#define HM_STORE_MEM_H

#include "store/counts.h"
#include "store/record.h"

struct hm_mem_msg {
	struct hm_ulid id;
	uint32_t off; /* of the record in the segment */
	uint32_t address_hash, user_hash;
	uint32_t campaign : 24; /* place in the dictionary */
	uint32_t state : 4, unknown : 4;
};
/* A record about messages [n0, n0 + n) of a job: they were accepted, or have another owner (owner.h). */
#define HM_JOB_AWAY \
	(1u << 31) /* in its offset, as segments are smaller than 2 GiB: that owner is another node */
#define HM_JOB_PARTLY (1u << 31) /* in n0, accepted: an older record covers some of them */
struct hm_job_at {
	uint32_t off, n0, n, hop; /* hop 0: accepted */
};
struct hm_mem_job {
	struct hm_ulid id; /* of the job */
	struct hm_job_at at;
	uint32_t prev; /* place + 1 of the record of this job before it; 0: there is none here */
};
struct hm_mem_table { /* open addressing; a slot holds place + 1 in the array */
	uint32_t *slot;
	uint32_t mask;
};
struct hm_mem {
	struct hm_mem_msg *msgs;
	struct hm_mem_job *jobs;
	uint32_t n_msgs, cap_msgs, n_jobs, cap_jobs, n_moved; /* of the jobs: hop > 0 */
	struct hm_mem_table msg_ids, job_ids;		      /* the newest record of an id */
	const struct hm_counts_row **campaigns;
	uint32_t n_campaigns, cap_campaigns;
	struct hm_ulid min_msg, max_msg, min_job, max_job;
};
#define HM_MEM_CAMPAIGNS_MAX ((1u << 24) - 1)

struct hm_mem *hm_mem_new(void); /* NULL when out of memory */
void hm_mem_free(struct hm_mem *m);
size_t hm_mem_bytes(const struct hm_mem *m); /* in use; as much again may be allocated and untouched */
/* Room for that many more entries; afterwards adding cannot fail. */
bool hm_mem_reserve(struct hm_mem *m, uint32_t msgs, uint32_t jobs) HM_MUSTCHECK;
/* seq = the segment's; off = of the record in the segment. DEAD records are not for the index. */
void hm_mem_add(struct hm_mem *m, const struct hm_rec *r, uint32_t off, uint64_t seq,
		struct hm_counts_row *row);
/* The newest entry of an id, NULL when there is none. */
const struct hm_mem_msg *hm_mem_find_msg(const struct hm_mem *m, const struct hm_ulid *id);
const struct hm_mem_job *hm_mem_find_job(const struct hm_mem *m, const struct hm_ulid *id);
static inline int hm_ulid_cmp(const struct hm_ulid *a, const struct hm_ulid *b)
{
	return memcmp(a->b, b->b, 16);
}
void hm_mem_prefetch(const struct hm_mem *m, const struct hm_rec *r);

#endif
