/*
 * cursor.h - walk the records of many segments in the order of their ids
 *
 * One cursor per segment with something to show, a heap over them. Versions of one
 * message meet here even when they lie in different segments: they come side by
 * side, newest first when walking down, oldest first when walking up.
 *
 * A walk holds the list of segments it began with; what is written meanwhile is not
 * seen. Any thread, one walk.
 */
#ifndef HM_STORE_CURSOR_H
#define HM_STORE_CURSOR_H

#include "store/ledger_int.h"

enum hm_walk_kind { HM_WALK_ALL, HM_WALK_RECIPIENT, HM_WALK_CAMPAIGN };
struct hm_walk_query {
	enum hm_walk_kind kind;
	struct hm_str text; /* recipient or campaign */
	bool newest_first;
	const struct hm_ulid *after; /* newest_first: only ids below; NULL = all */
};
struct hm_hit {
	struct hm_ulid id;
	const struct hm_seg *seg;
	uint32_t off;
	uint8_t state;
};
struct hm_walk {
	/* private */
	struct hm_ledger *l;
	struct hm_seglist *segs;
	struct hm_walk_query q;
	struct hm_cursor *cursors, **heap;
	size_t n;
};
int hm_walk_init(struct hm_walk *w, struct hm_ledger *l, const struct hm_walk_query *q,
		 struct hm_err *e) HM_MUSTCHECK;
bool hm_walk_next(struct hm_walk *w, struct hm_hit *hit_r);
void hm_walk_fini(struct hm_walk *w);

/* The newest record of a message that is written. */
bool hm_find_msg(struct hm_ledger *l, const struct hm_seglist *segs, const struct hm_ulid *id,
		 struct hm_hit *hit_r);

#endif
