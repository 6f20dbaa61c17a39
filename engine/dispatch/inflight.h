/*
 * inflight.h - which messages had left when the process died
 *
 * A file of 16-byte slots mapped shared into memory (<data_dir>/inflight.<shard>): a
 * message's id is stored when its first request is handed to a driver and zeroed
 * when its final record is durable. Costs two stores a message; survives kill -9
 * because the pages belong to the kernel. After a power loss the file is not to be
 * trusted: a torn boot mark makes every redelivered message count as possibly sent.
 *
 * After a restart a redelivered message that is in the old table may have been
 * delivered: its lost attempt is recorded as `unknown`, and it is sent again only
 * if the channel says so. One that is not in the table certainly never left.
 */
#ifndef HM_DISPATCH_INFLIGHT_H
#define HM_DISPATCH_INFLIGHT_H

#include "base/err.h"
#include "base/ulid.h"

#define HM_INFLIGHT_NONE UINT32_MAX

/* What the last run left: read once at start by the control thread, then read-only and shared. */
struct hm_inflight_old;
int hm_inflight_load(struct hm_str data_dir, struct hm_inflight_old **old_r, struct hm_err *e) HM_MUSTCHECK;
/* In how many runs it had left when the process died (16 at most are counted); 0: it certainly never left. */
unsigned hm_inflight_runs(const struct hm_inflight_old *old, const struct hm_ulid *id);
size_t hm_inflight_old_count(const struct hm_inflight_old *old);
/* The old ids are also kept in <data_dir>/inflight.old (pruned by age), so that a second crash forgets nothing. A crash between
 * writing that file and the first message counts a run twice: too many attempts are called unknown then, never too few. */
void hm_inflight_old_free(struct hm_inflight_old *old);

struct hm_inflight; /* one shard's table */
int hm_inflight_open(struct hm_str data_dir, uint32_t shard, uint32_t slots, struct hm_inflight **r,
		     struct hm_err *e) HM_MUSTCHECK;
void hm_inflight_close(struct hm_inflight *f);
uint32_t hm_inflight_put(struct hm_inflight *f, const struct hm_ulid *id); /* HM_INFLIGHT_NONE when full */
void hm_inflight_clear(struct hm_inflight *f, uint32_t slot);
uint32_t hm_inflight_free_slots(const struct hm_inflight *f);

#endif
