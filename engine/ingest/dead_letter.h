/*
 * dead_letter.h - dead letters: what failed for good, looked at and replayed
 *
 * `{hm:p}:dead` is a stream per partition, written by dispatch/dead.c. Two kinds of letters:
 *
 *   a failed message   reason lane entry j id job channel route campaign category tenant outcome status attempts
 *                      accepted node; j is a queue entry of this one message, ready to be sent again
 *   a malformed entry  reason field lane entry j node; j is what the entry held
 *
 * A letter of a message is called by the message's id, one of a malformed entry by its place "<partition>:<entry>"
 * (both names work for the first kind). `{hm:p}:dead:ids` maps message ids to entries: a message has one letter.
 *
 * Replaying makes a new message with a new id, which says whose it is (key `of`, shown as replay_of). For each letter one
 * script takes it from the stream and adds the new entry to its lane: interrupted anywhere, a replay has sent a letter
 * or left it where it was, and may simply be repeated. The deadline starts anew; an expiry the message named itself
 * stays, and when it has passed the letter is refused (unless opts.renew).
 * A letter that is taken away while its own queue entry is still pending leaves a mark in `{hm:p}:dead:gone`, so that a
 * redelivered entry does not bring it back.
 *
 * hm_dead_run goes through the partitions page by page, each page filtered by a script. Callbacks come from the loop,
 * `done` exactly once and last. Ownership: texts of opts must live until done. Threads: that of the redis client.
 */
#ifndef HM_INGEST_DEAD_LETTER_H
#define HM_INGEST_DEAD_LETTER_H

#include "base/buf.h"
#include "base/err.h"
#include "base/ulid.h"
#include "base/vocab.h"
#include "redis/redis.h"

#define HM_DEAD_PLACE_MAX 64 /* "<partition>:<ms>-<seq>" */

struct hm_dead_letter { /* texts point into the reply */
	uint32_t partition;
	struct hm_str entry; /* of the stream of letters */
	uint64_t at_ms;
	struct hm_str id, job; /* ULIDs as text; empty: a malformed entry */
	struct hm_str reason, field, lane, lane_entry, payload;
	struct hm_str channel, route, campaign, category, tenant, outcome, node;
	uint64_t status, attempts, accepted_ms;
};

struct hm_dead_filter {	      /* empty and 0: any */
	struct hm_str reason; /* is part of the letter's */
	struct hm_str outcome, campaign, channel, category, tenant, lane;
	uint64_t since_ms, until_ms; /* when it became a letter */
};

enum hm_dead_kind { HM_DEAD_LIST, HM_DEAD_REPLAY, HM_DEAD_DROP };
enum hm_dead_result {
	HM_DEAD_FOUND,	  /* LIST, and anything with dry_run */
	HM_DEAD_REPLAYED, /* as new_id; a malformed entry: as it is, without one */
	HM_DEAD_DROPPED,
	HM_DEAD_REFUSED, /* stays; why says the reason */
	HM_DEAD_GONE,	 /* somebody else took it meanwhile, or there is none of this name */
};

struct hm_dead_totals {
	uint64_t found, replayed, dropped, refused, gone;
	bool more;		      /* limit reached: */
	char next[HM_DEAD_PLACE_MAX]; /* go on behind this */
};

struct hm_dead_opts {
	struct hm_tick *tick;
	struct hm_redis *redis;
	struct hm_str prefix;
	uint32_t partitions;
	enum hm_dead_kind kind;
	struct hm_dead_filter filter;
	const struct hm_str *ids; /* these letters and no others; the filter and `after` do not count */
	size_t n_ids;
	struct hm_str after; /* totals.next of the run before */
	uint64_t limit;	     /* letters; 0: all */
	bool full;	     /* LIST: with payloads */
	bool dry_run;
	/* REPLAY */
	struct hm_str channel, route, lane; /* instead of the letter's; at most one of channel, route */
	bool renew;
	uint32_t rate;		   /* letters a second, 0: as fast as possible */
	struct hm_str payload;	   /* instead of what the letter holds (one id): a whole entry ... */
	struct hm_ulid payload_id; /* ... with this id */
	void *arg;
	/* Per letter; l is good during the call (id only, for GONE by name). new_id: REPLAYED. */
	void (*letter)(void *arg, const struct hm_dead_letter *l, enum hm_dead_result result,
		       const struct hm_ulid *new_id, const struct hm_err *why);
	void (*done)(void *arg, const struct hm_dead_totals *t, const struct hm_err *err);
};

struct hm_dead_run;
/* Checks the opts and starts. HM_EINVAL with a sentence and field: done is not called. */
int hm_dead_run(const struct hm_dead_opts *o, struct hm_err *e) HM_MUSTCHECK;

/* "3:1767323045000-0" */
bool hm_dead_place_parse(struct hm_str s, uint32_t *partition_r, struct hm_str *entry_r) HM_MUSTCHECK;
/* What people call it. */
struct hm_str hm_dead_name(const struct hm_dead_letter *l, char out[HM_DEAD_PLACE_MAX]);
/* JSON as GET /v1/dead shows it; with `message`, what the payload holds, when it was read (opts.full). */
void hm_dead_json(const struct hm_dead_letter *l, struct hm_buf *out);
/* "outcome", "campaign" ...: the value of that field, for counts. false: there is no such field to count by. */
bool hm_dead_field(const struct hm_dead_letter *l, struct hm_str by, struct hm_str *v_r) HM_MUSTCHECK;

#endif
