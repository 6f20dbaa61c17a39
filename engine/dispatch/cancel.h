/*
 * cancel.h - what has been cancelled, known to every shard
 *
 * The control thread follows the stream of cancel marks in Redis (format:
 * ingest/cancel_mark.h) and publishes an immutable set; shards look into the current
 * one with a single atomic load. Empty sets, the normal case, cost one branch.
 * Marks older than the longest possible life of a message are dropped.
 */
#ifndef HM_DISPATCH_CANCEL_H
#define HM_DISPATCH_CANCEL_H

#include "base/ulid.h"

struct hm_cancel_set;
struct hm_cancel_set *hm_cancel_new(void);
void hm_cancel_free(struct hm_cancel_set *s); /* no shard looks any more */
/* Control thread only. `since_ms`: only messages accepted before it are meant (a campaign name may be used again). */
bool hm_cancel_add_id(struct hm_cancel_set *s, const struct hm_ulid *id, uint64_t since_ms);
bool hm_cancel_add_campaign(struct hm_cancel_set *s, struct hm_str campaign, uint64_t since_ms);
void hm_cancel_prune(struct hm_cancel_set *s, uint64_t older_than_ms);
/* Any thread. */
bool hm_cancel_has(const struct hm_cancel_set *s, const struct hm_ulid *msg, const struct hm_ulid *job,
		   struct hm_str campaign);

#endif
