/*
 * job_encode.h - validated messages back into queue entries
 *
 * An entry is written as  map( id, acc, <policy>, to | rs ).  The policy is
 * everything recipients share, in the order of the table below, so that equal
 * policies have equal bytes: hm_packer groups the messages of a batch by them.
 *
 * hm_packer: messages go in one by one, chunks of up to max_rcpts recipients with
 * one policy come out through emit(). Message i of a chunk has the id chunk + i.
 * put() says at once where its messages went: `run` is the number of the chunk, which
 * emit() names again when the chunk is written (1, 2, 3 ... in the order of opening).
 *
 * Ownership: the packer copies what it keeps (put's spec may go at once) into buffers
 * it reuses. Threads: one. Errors: HM_ELIMIT when a message does not fit an entry.
 */
#ifndef HM_INGEST_JOB_ENCODE_H
#define HM_INGEST_JOB_ENCODE_H

#include "base/buf.h"
#include "ingest/job.h"

#define HM_PACKER_MAGIC 0x7061636bu

/* Policy pairs of spec without map header; returns how many. `with_data`: shared data is part of them. */
uint32_t hm_job_put_policy(struct hm_buf *b, const struct hm_job_spec *spec, bool with_data);
/* One recipient; data (may be NULL) joins it when it has none of its own. */
void hm_job_put_rcpt(struct hm_buf *b, const msgpack_object *rcpt, const msgpack_object *data);
/* A whole entry from a spec with at most HM_JOB_MAX_RECIPIENTS recipients from index `first`; acc may be empty. */
void hm_job_put_entry(struct hm_buf *b, const struct hm_job_spec *spec, const struct hm_ulid *id,
		      struct hm_str acc, uint32_t first, uint32_t n);

struct hm_packed { /* one entry ready for XADD; valid during emit */
	uint64_t run;
	enum hm_lane lane;
	struct hm_str entry; /* msgpack */
	uint32_t n;	     /* recipients */
	struct hm_ulid id;
	struct hm_str campaign, category, tenant, template_ref, channel; /* for the ledger's job record */
};
typedef void (*hm_packed_fn)(void *arg, const struct hm_packed *p);

struct hm_packer_opts {
	uint32_t max_rcpts;	/* per entry, at most HM_JOB_MAX_RECIPIENTS */
	size_t max_entry_bytes; /* of one entry; a chunk is closed before it would pass this */
	size_t max_held_bytes;	/* of all open chunks; beyond it the fullest are written */
	struct hm_str acc;	/* as in struct hm_job_spec, or empty */
	hm_packed_fn emit;
	void *arg;
};
struct hm_packer;
struct hm_packer *hm_packer_new(const struct hm_packer_opts *o); /* NULL: out of memory */
void hm_packer_free(struct hm_packer *p);			 /* open chunks are dropped */
/* Where recipients [0, n) of the message went. A message with many recipients may span runs. */
struct hm_packed_at {
	uint64_t run;
	struct hm_ulid id; /* of the first; the others follow by one */
	uint32_t index, n;
};
typedef void (*hm_packed_at_fn)(void *arg, const struct hm_packed_at *at);
/* placed() is called once per run used, in order, before that run can be emitted. `wall_ms` goes into new ids. */
int hm_packer_put(struct hm_packer *p, const struct hm_job_spec *spec, uint64_t wall_ms,
		  hm_packed_at_fn placed, void *arg, struct hm_err *e) HM_MUSTCHECK;
void hm_packer_flush(struct hm_packer *p); /* writes all open chunks */

#endif
