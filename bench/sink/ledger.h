/*
 * ledger.h - every message id the sink accepted, how often and when
 *
 * A key is (profile, id). UUID and ULID ids are stored as their 128 bits, which
 * is exact; other ids as text in an arena (or, lean, as a 128-bit hash). About 40
 * bytes an id: 10 million need some 400 MB. 64 stripes, each with its own mutex,
 * an open-addressing index of 32-bit places and entries in chunks that never move.
 * Thread-safe.
 */
#ifndef HM_SINK_LEDGER_H
#define HM_SINK_LEDGER_H

#include "sink.h"

struct ledger;
struct ledger *ledger_new(bool lean);
void ledger_free(struct ledger *l);
void ledger_reset(struct ledger *l);
/* Counts one acceptance; returns how often the id has been accepted now (0 = out of memory). */
uint32_t ledger_add(struct ledger *l, unsigned profile, struct hm_str id, uint64_t now_ms);
/* How often this id was accepted; times may be NULL. */
uint32_t ledger_get(struct ledger *l, unsigned profile, struct hm_str id, uint64_t *first_ms,
		    uint64_t *last_ms);

struct ledger_totals {
	uint64_t accepted, unique, duplicates, lost; /* lost: not stored, out of memory */
};
void ledger_totals(struct ledger *l, unsigned profile, struct ledger_totals *t); /* profile 0 = all */

/* Walks all entries; new ones may be added meanwhile. */
struct ledger_cursor {
	unsigned stripe;
	uint32_t entry;
};
/* Appends up to `max` JSON lines to out; false when the walk is over. profile 0 = all. */
bool ledger_dump(struct ledger *l, struct ledger_cursor *c, unsigned profile, uint32_t min_count, size_t max,
		 struct hm_buf *out);

#endif
