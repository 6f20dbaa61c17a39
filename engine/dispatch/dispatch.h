/*
 * dispatch.h - the heart of a shard: from stream entry to settled message
 *
 *   pull.c -> job.c -> pump.c (lanes) -> gates.c -> route.c -> send.c (render, build,
 *   transmit, classify) -> settle.c -> ledger -> ack.c
 *
 * One per shard; owner thread only. Other threads speak to it through the shard's mailbox.
 * Promise kept here: an entry is acknowledged only after every message of it is final and
 * that is durable in the ledger.
 */
#ifndef HM_DISPATCH_DISPATCH_H
#define HM_DISPATCH_DISPATCH_H

#include "adapter/cred.h"
#include "dispatch/runtime.h"
#include "redis/redis.h"
#include "store/ledger.h"
#include "wire/wire.h"

struct hm_book;
struct hm_cancel_set;
struct hm_facts;
struct hm_gates;
struct hm_invalid_guard;
struct hm_shaper;
struct hm_inflight_old;

struct hm_dispatch_deps { /* all outlive the dispatcher */
	struct hm_tick *tick;
	struct hm_mailbox *mailbox;
	struct hm_redis *redis;
	struct hm_wire *wire;
	struct hm_ledger *ledger;
	struct hm_ledger_writer *writer; /* made by the shard; its on_durable must call hm_dispatch_durable */
	struct hm_cred_shard *creds;
	struct hm_book *book;	/* templates */
	struct hm_facts *facts; /* closed after the dispatcher has drained */
	struct hm_gates *gates; /* the same */
	struct hm_invalid_guard *guard;
	struct hm_shaper *shaper;
	struct hm_cancel_set *cancels;	   /* may be NULL */
	const struct hm_inflight_old *old; /* ids in flight when the last run ended */
	uint32_t shard, shards;
	struct hm_str node_id; /* stable name of this data directory */
	struct hm_str data_dir;
	uint8_t boot_id[8]; /* of this run, as HTTP ingest writes it into `acc` */
};

struct hm_dispatch;
int hm_dispatch_new(const struct hm_dispatch_deps *deps, struct hm_runtime *rt, struct hm_dispatch **d_r,
		    struct hm_err *e) HM_MUSTCHECK;
int hm_dispatch_start(struct hm_dispatch *d, struct hm_err *e) HM_MUSTCHECK;
/* New configuration: what is under way ends under the old one. Takes a reference. */
void hm_dispatch_reload(struct hm_dispatch *d, struct hm_runtime *rt);
void hm_dispatch_durable(void *d, uint64_t ticket);
void hm_dispatch_redis_state(struct hm_dispatch *d, bool up);
/* Stops pulling, finishes what is under way for at most limit_ms, hands the rest back. on_drained from the loop. */
void hm_dispatch_drain(struct hm_dispatch *d, uint64_t limit_ms, void (*on_drained)(void *arg), void *arg);
/* After on_drained: lets go of Redis and the wire, which are closed next. */
void hm_dispatch_close(struct hm_dispatch *d);
/* When those are closed: until then their callbacks may still come. */
void hm_dispatch_free(struct hm_dispatch *d);

/* A look at the inside for /v1/admin and tests: JSON object. */
void hm_dispatch_describe(const struct hm_dispatch *d, struct hm_buf *out);

#endif
