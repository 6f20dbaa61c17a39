/*
 * receipts.h - what became of a message behind the provider: delivered, read, clicked, failed
 *
 * A receipt comes from a customer's app (POST /v1/receipts) or a provider's callback, in any order, more than once, to any
 * node. What it does:
 *
 *   its ledger record is here and final   the record is amended: sent becomes delivered, the reason says
 *                                         "delivered 2026-01-02T03:04:05.678Z by push-main"; each event once
 *   the message waits for a receipt       the wait ends when this one is what it waits for, or says that it failed
 *   (dispatch/escalate.c)                 (`{hm:p}:wait:<id>`, one script); its entry is due at once, and whoever takes
 *                                         it, on whatever node, settles it
 *   it is still under way                 a mark for a wait that may begin a moment later; and the ledger is looked at
 *                                         again for half a minute
 *   it is not in this ledger              passed on: stream `{hm:ctl}:receipts`, followed by every node from where it
 *                                         stopped, so that the one with the record finds it
 *
 * What comes from a provider is in the stream before anything else happens with it, with the name of the run that put it there:
 * that run looks at it at once and not again, every other one, also the next on this node, when it reads it.
 * A node's place in the stream is written down half a minute behind what it has read: what was under way, or not yet
 * on disk, when it died is read again.
 *
 * An id that no node knows is therefore no error; it is forgotten when the stream is cut (100,000 entries).
 *
 * Threads:  one per shard, owner's thread; ledger look-ups run in the thread pool.
 * Limits:   RECEIPTS_MAX per call; 50,000 waiting for a second look, beyond which the oldest are forgotten.
 */
#ifndef HM_INGEST_RECEIPTS_H
#define HM_INGEST_RECEIPTS_H

#include "base/ulid.h"
#include "base/vocab.h"
#include "ingest/job.h"
#include "loop/tick.h"
#include "redis/redis.h"
#include "store/ledger.h"

#define HM_RECEIPTS_MAX	       10000 /* of one call */
#define HM_RECEIPT_CHANNEL_MAX 64

enum hm_receipt_result {
	HM_RECEIPT_NOTED,  /* the record says so now */
	HM_RECEIPT_REPEAT, /* it said so already */
	HM_RECEIPT_ENDS_WAIT, /* what the message waited for: nothing more of it is sent, or, failed, the next step is */
	HM_RECEIPT_UNDER_WAY, /* the message is not final yet; noted as soon as it is */
	HM_RECEIPT_REFUSED,   /* the message has ended in another way, which a receipt does not change */
	HM_RECEIPT_PASSED_ON, /* not known here */
	HM_RECEIPT_LOST	      /* out of memory, ledger or Redis failed: to be sent again */
};
const char *hm_receipt_result_name(enum hm_receipt_result r);

struct hm_receipt_item {
	struct hm_ulid id;
	uint8_t event;				  /* enum hm_receipt */
	uint8_t result;				  /* enum hm_receipt_result, when it is done */
	uint64_t at_ms;				  /* when it happened */
	char channel[HM_RECEIPT_CHANNEL_MAX + 1]; /* may be empty: that of the record */
	bool passed;				  /* the stream has it already: not passed on again */
	bool young; /* of a message this node sends just now: that the ledger does not know it yet is looked at again */
};

struct hm_receipts_deps { /* all outlive it */
	struct hm_tick *tick;
	struct hm_redis *redis;
	struct hm_ledger *ledger;
	struct hm_ledger_writer *writer;
	struct hm_str prefix, node_id;
	uint32_t partitions;
	bool follow; /* what others pass on: one per process */
};
struct hm_receipts;
struct hm_receipts *hm_receipts_new(const struct hm_receipts_deps *deps); /* NULL: out of memory */
typedef void (*hm_receipts_fn)(void *arg, const struct hm_receipt_item *v, size_t n);
/* Takes n receipts (copied), at most HM_RECEIPTS_MAX. fn comes once, from the loop, with a result for each.
 * false: too many calls under way or out of memory, fn will not come. */
bool hm_receipts_take(struct hm_receipts *r, const struct hm_receipt_item *v, size_t n, hm_receipts_fn fn,
		      void *arg) HM_MUSTCHECK;
/* The same, but each is in the stream before it is taken: whatever dies after fn has come, a node that has the record, or will
 * have it, hears of it (again). A result of HM_RECEIPT_LOST means that the stream does not have it. */
bool hm_receipts_take_durable(struct hm_receipts *r, const struct hm_receipt_item *v, size_t n,
			      hm_receipts_fn fn, void *arg) HM_MUSTCHECK;
/* Nothing new is begun. on_closed comes, now or from the loop, when the ledger is not used any more; before Redis is closed.
 * Redis may still answer until then, so that the memory goes later. */
void hm_receipts_close(struct hm_receipts *r, void (*on_closed)(void *arg), void *arg);
void hm_receipts_free(struct hm_receipts *r); /* after the Redis client; NULL is fine */

/* One event as the reason of a record says it: "delivered 2026-01-02T03:04:05.678Z by push-main". */
void hm_receipt_note(struct hm_buf *b, enum hm_receipt event, uint64_t at_ms, struct hm_str channel);
/* `reason` with the note added unless there is one of the event already (false then). */
bool hm_receipt_add_note(struct hm_buf *b, struct hm_str reason, enum hm_receipt event, uint64_t at_ms,
			 struct hm_str channel);
/* "{hm:7}:wait:<id>", where a wait and its receipts meet. */
size_t hm_receipt_wait_key(struct hm_str prefix, const struct hm_ulid *id, uint32_t partitions, char *out,
			   size_t cap);

#endif
