/*
 * live.h - listeners of this shard: who is told when an inbox changes
 *
 *   change, on whatever node ─▶ stream of the slot ─▶ reader (a line per slot with listeners) ─▶ listeners of the user
 *                                                                                             └▶ text/event-stream
 *
 * A listener knows how far it has told its client: n arrivals, v changes (store.h). News that follow on that are passed on; after a
 * gap (a new connection with Last-Event-ID, a line that was down, a stream that was cut) hm_inbox_since tells what came, and
 * "reload" stands for what nobody can tell any more. The same question renews the listener's lease every TOUCH_MS: what got lost
 * on the way is found then at the latest.
 *
 * Events (WHATWG HTML section 9.2), each with the id "n.v" once it is true for all before it:
 *
 *   counts    {"counts": {...}, "at": "n.v"}                              first
 *   item      {"item": {...}, "gone": ["id"], "counts": {...}, "at": ...}  gone: pushed out or replaced by it
 *   changed   {"action": "read", "ids": [...], "counts": ..., "at": ...}
 *   reload    {"counts": ..., "at": ...}                                   list again
 *   end       {"reason": "token"}                                          come back with a new one
 *
 * and a comment every TOUCH_MS.
 *
 * Limits: inbox.max_streams per process; inbox.streams_per_user in all processes, by leases in Redis, so that those of a process that
 * died count for LEASE_MS. An event of more than EVENT_MAX is a reload. Who reads too slowly is cut off (ingest/http_req.h).
 *
 * Threads: the shard's.
 */
#ifndef HM_INBOX_LIVE_H
#define HM_INBOX_LIVE_H

#include "inbox/inbox_int.h"

#define INBOX_TOUCH_MS	15000
#define INBOX_LEASE_MS	45000
#define INBOX_EVENT_MAX (64u << 10)

struct inbox_live *inbox_live_new(struct hm_inbox *ib); /* NULL: out of memory */
void inbox_live_close(struct inbox_live *lv);		/* the HTTP server is closed: no request is left */
void inbox_live_free(struct inbox_live *lv);		/* after the Redis client; NULL is fine */
size_t inbox_live_count(const struct inbox_live *lv), inbox_live_lines(const struct inbox_live *lv);

struct inbox_at { /* what a client has been told */
	bool known;
	uint64_t n, v;
};
bool inbox_at_parse(struct hm_str s, struct inbox_at *at_r) HM_MUSTCHECK;
/* Answers r, now or later: with a stream, or a problem. */
void inbox_listen(struct inbox_live *lv, struct hm_http_req *r, const struct inbox_who *who,
		  const struct inbox_at *at);

/* -- events.c: their texts ------------------------------------------------------------------------------ */

void inbox_event_counts(struct hm_buf *b, const char *event,
			const struct hm_inbox_counts *c); /* counts, reload */
void inbox_event_news(struct hm_buf *b, const struct hm_inbox_news *x);
/* What a listener that knows `at` missed; `more`: p does not hold all of it. Nothing when it missed nothing. */
void inbox_event_missed(struct hm_buf *b, const struct inbox_at *at, const struct hm_inbox_page *p);

#endif
