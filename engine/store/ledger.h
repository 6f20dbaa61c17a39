/*
 * ledger.h - what happened to every message, on local disk
 *
 * Two kinds of records. A JOB record says "n messages were accepted" (one per queue
 * entry; message i of job j has the id j + i). A MESSAGE record says where one
 * message stands, with its attempts; it is written when the message reaches a
 * final state, and in between when it has to wait (retry). A message without a
 * record is pending: its job's record covers it.
 * Counters per campaign and state follow from the records themselves (README.md),
 * so that the balance (DESIGN.md section 1) is exact at any moment and after a crash:
 *   accepted = sent + failed + suppressed + capped + expired + cancelled + pending
 * Counters are of all time; records live for ttl_s. A campaign whose last record
 * has expired leaves the table of campaigns, its counts stay in the total.
 *
 * Threads: each thread writes through its own hm_ledger_writer (no locks on the
 * way in); one ledger thread collects all batches into one sequential write.
 * Look-ups are thread-safe and may block on disk: run them off the loop
 * (uv_queue_work).
 * Durability: a ticket is reported durable when its records survive kill -9
 * (sync: off | interval) or power loss (sync: always).
 * Idempotence: a final record is never replaced by another final one; the ledger
 * thread counts such repeats (they show as `repeats` in the report) and keeps the
 * first. The one step a final state may take is sent -> delivered. A non-final
 * record behind a final one is dropped without a word. What a receipt adds to a message
 * that was sent (`amends`) replaces its record without a change of any count; where there is nothing to add to it is dropped.
 * Errors: a write that fails (disk full, I/O) is tried again for ever, in order;
 * meanwhile nothing becomes durable, backlogs grow, hm_ledger_health() says why.
 */
#ifndef HM_STORE_LEDGER_H
#define HM_STORE_LEDGER_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/ulid.h"
#include "base/vocab.h"
#include "loop/mailbox.h"

struct hm_ledger_opts {
	struct hm_str dir;
	enum { HM_LEDGER_SYNC_OFF, HM_LEDGER_SYNC_INTERVAL, HM_LEDGER_SYNC_ALWAYS } sync;
	uint32_t sync_interval_ms; /* between two fdatasync, sync: interval; 0 = 1000 */
	uint32_t ttl_s;		   /* records older than this go, within ttl/32; 0 = kept for ever */
	uint32_t batch_wait_us;	   /* wait for more batches before a write; 0 = write at once */
	uint64_t cache_bytes;	   /* most memory for the index of what is not yet sealed; 0 = 24 MiB */
	uint64_t queue_max_bytes;  /* hm_ledger_full() says true above; 0 = 64 MiB */
	uint32_t segment_bytes;	   /* size at which a log segment is sealed; 0 = 32 MiB */
};
struct hm_ledger_job {
	struct hm_ulid id;
	uint32_t n0, n; /* messages [id, id + n) of the job id - n0 */
	uint8_t lane;
	uint64_t accepted_ms;
	struct hm_str campaign, category, tenant, template_ref, channel; /* any may be empty */
	bool has_of; /* it sends a failed message once more: */
	struct hm_ulid of;
	bool if_absent; /* count only what no record covers yet: redelivered entries, and those HTTP ingest may record as well */
};
struct hm_ledger_attempt {
	struct hm_str channel;
	uint8_t outcome; /* enum hm_outcome */
	uint16_t status; /* HTTP or protocol status, 0 = none */
	uint64_t at_ms;
	uint32_t took_us;
	struct hm_str reason, provider_id; /* short texts, cut at 200 bytes */
};
/* Messages [id, id + n) of the job id - n0 have another owner since their `hop`-th change of hands (owner.h): their acceptance
 * and what became of them here leaves the counters, so that over all nodes a message counts once. back: this node
 * is the owner, they count here. Each message for itself: what is older news about it, or the same once more, changes
 * nothing, in whatever order it comes; an acceptance that is recorded only after its messages moved does not count. What
 * is recorded of a message that is another node's is kept, and counts when it comes back. */
struct hm_ledger_moved {
	struct hm_ulid id;
	uint32_t n0, n;
	uint32_t hop;	   /* from 1 */
	bool back, replay; /* replay: the job has `of` */
	uint8_t lane;
	uint64_t accepted_ms;
	struct hm_str campaign; /* as in the job's record */
	struct hm_str node;	/* who has them */
};
#define HM_LEDGER_FACTS_MAX 2048
struct hm_ledger_msg {
	struct hm_ulid id, job;
	uint8_t state; /* enum hm_state */
	uint8_t lane;
	uint64_t accepted_ms, updated_ms;
	/* address as sent, for look-up by recipient; these five are cut at 1024 bytes */
	struct hm_str user, address, campaign, channel, template_ref;
	struct hm_str reason; /* why it ended so, one sentence or code; cut at 1000 bytes */
	/* The values fetched for it (facts/facts.h), as it was sent: a JSON object of at most HM_LEDGER_FACTS_MAX bytes,
	 * or empty. A longer one is left out: who writes it cuts it (dispatch/facts.c). */
	struct hm_str facts;
	/* All of them so far: a record replaces the one before. At most 255 are kept, the first and the latest. */
	const struct hm_ledger_attempt *attempts;
	size_t n_attempts;
	bool has_of; /* it sends a failed message once more: */
	struct hm_ulid of;
	/* There may be a record of this id already: a redelivered entry, or a message that had
	 * an interim record. Without it only the segment being written is searched. */
	bool maybe_repeat;
	/* It is the record of a message that was sent, with more to say: sent or delivered as before, or now delivered. */
	bool amends;
};

struct hm_ledger;
struct hm_ledger_writer;
int hm_ledger_open(const struct hm_ledger_opts *o, struct hm_ledger **l_r, struct hm_err *e) HM_MUSTCHECK;
/* For the CLI, also beside a running engine: sees what was written when it was opened. */
int hm_ledger_open_readonly(struct hm_str dir, struct hm_ledger **l_r, struct hm_err *e) HM_MUSTCHECK;
void hm_ledger_close(struct hm_ledger *l); /* all writers closed before; flushes */

/* on_durable(arg, ticket): every record appended under a ticket <= ticket is durable. Runs on mb's thread.
 * While the store fails (disk full, I/O) nothing after the last durable ticket is safe; the ledger keeps
 * retrying and calls on_durable when it succeeded. */
struct hm_ledger_writer *hm_ledger_writer_new(struct hm_ledger *l, struct hm_tick *t, struct hm_mailbox *mb,
					      void (*on_durable)(void *arg, uint64_t ticket), void *arg);
void hm_ledger_writer_close(struct hm_ledger_writer *w); /* only when nothing is pending */
/* Append to the batch of this tick (encoded at once, nothing kept); the batch leaves when the tick ends.
 * Return the ticket to wait for (one per tick, from 1); 0 = out of memory, nothing was recorded. */
uint64_t hm_ledger_put_job(struct hm_ledger_writer *w, const struct hm_ledger_job *j);
uint64_t hm_ledger_put_msg(struct hm_ledger_writer *w, const struct hm_ledger_msg *m);
uint64_t hm_ledger_put_moved(struct hm_ledger_writer *w, const struct hm_ledger_moved *m);
/* Bytes not yet durable: stop pulling above a limit. */
size_t hm_ledger_backlog(const struct hm_ledger_writer *w);
/* All writers together wait with more than queue_max_bytes: stop pulling. Putting still works (what is in
 * flight must be recorded). Any thread. */
bool hm_ledger_full(const struct hm_ledger *l);

struct hm_ledger_health {
	bool failing;				    /* the latest write failed and is being tried again */
	struct hm_err err;			    /* why; when it is over, the last error */
	uint64_t since_ms;			    /* wall time of the first failure in a row */
	uint64_t retries;			    /* failed tries since open */
	uint64_t queued_bytes, disk_bytes, records; /* waiting; on disk; written since open */
	uint32_t segments, unindexed, unpacked; /* of the log; of them not yet indexed; not yet compressed */
};
void hm_ledger_health(struct hm_ledger *l, struct hm_ledger_health *h_r); /* any thread, no disk */
/* Sees to all that is due (expiry, sealing by age) and waits until the background work (indexing,
 * compression) is done. Any thread but a loop's. */
void hm_ledger_settle(struct hm_ledger *l);

/* Look-ups (thread-safe, may block). Texts of the result live in the arena. HM_ENOENT when there is none. */
int hm_ledger_get_msg(struct hm_ledger *l, const struct hm_ulid *id, struct hm_arena *a,
		      struct hm_ledger_msg *m_r, struct hm_err *e) HM_MUSTCHECK;
int hm_ledger_get_job(struct hm_ledger *l, const struct hm_ulid *id, struct hm_arena *a,
		      struct hm_ledger_job *j_r, struct hm_err *e) HM_MUSTCHECK;
/* The job (its id; n0 and n as recorded, labels only when it was accepted here) that covers message `id` (id in [job, job + n)), even when the message has no record yet. HM_ENOENT also when it
 * has moved to another node. */
int hm_ledger_job_of(struct hm_ledger *l, const struct hm_ulid *id, struct hm_arena *a,
		     struct hm_ledger_job *j_r, struct hm_err *e) HM_MUSTCHECK;
/* The node that has message `id`, which was accepted here. HM_ENOENT: it is this one's, or was never here. */
int hm_ledger_moved_to(struct hm_ledger *l, const struct hm_ulid *id, struct hm_arena *a,
		       struct hm_str *node_r, struct hm_err *e) HM_MUSTCHECK;
typedef bool (*hm_ledger_visit_fn)(void *arg, const struct hm_ledger_msg *m); /* false = stop */
/* Newest first. `after` (may be NULL) resumes behind that id. */
int hm_ledger_by_recipient(struct hm_ledger *l, struct hm_str address_or_user, const struct hm_ulid *after,
			   size_t limit, hm_ledger_visit_fn fn, void *arg, struct hm_err *e) HM_MUSTCHECK;
int hm_ledger_by_campaign(struct hm_ledger *l, struct hm_str campaign, int state /* -1 any */,
			  const struct hm_ulid *after, size_t limit, hm_ledger_visit_fn fn, void *arg,
			  struct hm_err *e) HM_MUSTCHECK;
/* Every message's latest record, in the order of ids (hermod ledger dump). */
int hm_ledger_each(struct hm_ledger *l, hm_ledger_visit_fn fn, void *arg, struct hm_err *e) HM_MUSTCHECK;

struct hm_ledger_balance {
	struct hm_str
		campaign; /* "" = messages without one; good inside the callback. The total is a row of its own */
	uint64_t accepted, by_state[HM_ST_COUNT] /* final states */, pending, unknown_attempts, repeats;
	uint64_t replays; /* of the accepted: dead letters sent once more */
	uint64_t moved;	  /* accepted here and left to other nodes: in none of the numbers above */
};
int hm_ledger_total(struct hm_ledger *l, struct hm_ledger_balance *b_r, struct hm_err *e) HM_MUSTCHECK;
typedef bool (*hm_ledger_balance_fn)(void *arg, const struct hm_ledger_balance *b);
int hm_ledger_each_campaign(struct hm_ledger *l, hm_ledger_balance_fn fn, void *arg,
			    struct hm_err *e) HM_MUSTCHECK;
/* accepted = sent (delivered included) + failed + ... + pending, with pending >= 0 */
bool hm_ledger_balanced(const struct hm_ledger_balance *b);
uint64_t hm_ledger_balance_of(const struct hm_ledger_balance *b, enum hm_state s); /* SENT: with DELIVERED */
/* Recounts from the records, checks every checksum and every message's history, and compares with the
 * counters: 0 when all agree, HM_ESTORE with the first difference otherwise. */
int hm_ledger_verify(struct hm_ledger *l, struct hm_err *e) HM_MUSTCHECK;
/* JSON of a balance as GET /v1/report shows it; the row of the total has no campaign. */
void hm_ledger_balance_json(const struct hm_ledger_balance *b, bool is_total, struct hm_buf *out);
/* JSON of a message as GET /v1/messages/{id} shows it. */
void hm_ledger_msg_json(const struct hm_ledger_msg *m, struct hm_buf *out);

#endif
