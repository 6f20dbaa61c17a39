/*
 * store.h - items of a user, in Redis
 *
 * All keys of a user are in one slot, {<prefix>:u<k>} with k of gates/suppress.h (hm_person_slot), so that each change is one
 * script on one node of a cluster:
 *
 *   :ib:z:<user>   sorted set  id -> state * 2^40 + arrival   states 0 unread, 1 read, 2 archived; arrivals count from 1
 *   :ib:i:<user>   hash        id -> record: created, expires, first read (48 bits each, ms), category, collapse key, JSON
 *   :ib:e:<user>   sorted set  id -> expiry, ms               every item has one (inbox.keep)
 *   :ib:d:<user>   sorted set  id -> ms                       items that are gone, the last HM_INBOX_GONE: never stored again
 *   :ib:m:<user>   hash        n arrivals, v changes, k:<collapse key> -> id
 *   :ib:p:<user>   set         ids that were read and are not yet reported as read
 *   :ib:s:<user>   sorted set  listener -> end of its lease, ms
 *   :ib:live       stream      changes of users of the slot who have listeners, cut at HM_INBOX_LIVE
 *
 * Every script first removes what has expired by the time it is told (the shard's wall clock). An inbox nobody writes to or
 * changes for inbox.keep goes away.
 *
 * What has to go when there are more than inbox.max_items: the oldest archived one, else the oldest read one, else the oldest.
 *
 * Versions: v grows by one with an arrival and with a marking, by two with an arrival that pushed others out. Who knows (n, v)
 * and sees (n', v') therefore knows whether arrivals are all that he missed: v' - v == n' - n.
 *
 * Threads: that of the hm_redis. Callbacks once, from the loop, never from inside the call. Texts are copied before a call returns;
 * the struct hm_inbox_ask is the caller's until the callback, which may free it.
 */
#ifndef HM_INBOX_STORE_H
#define HM_INBOX_STORE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/ulid.h"
#include "redis/redis.h"

#define HM_INBOX_USER_MAX     128 /* bytes, as of a job's user */
#define HM_INBOX_CATEGORY_MAX 64
#define HM_INBOX_COLLAPSE_MAX 256
#define HM_INBOX_GONE	      500
#define HM_INBOX_LIVE	      1000
#define HM_INBOX_IDS_MAX      1000 /* of one marking */
#define HM_INBOX_PAGE_MAX     100
#define HM_INBOX_KEY_MAX      224

enum hm_inbox_state { HM_INBOX_UNREAD, HM_INBOX_READ, HM_INBOX_ARCHIVED, HM_INBOX_STATES };
const char *hm_inbox_state_name(unsigned state);

struct hm_inbox_ref { /* whose */
	struct hm_redis *redis;
	struct hm_str prefix, user;
	uint64_t now_ms, keep_ms;
};

struct hm_inbox_ask { /* a call under way */
	uint32_t magic;
	void (*fn)(void);
	void *arg;
};

struct hm_inbox_item {
	struct hm_str id; /* ULID text */
	uint8_t state;
	uint64_t arrival, created_ms, expires_ms, read_ms; /* read: 0 = never */
	struct hm_str category, json;			   /* json: an object, as the adapter made it */
};
/* Appends {"id":...,"state":..., and the members of the item}. */
void hm_inbox_item_json(const struct hm_inbox_item *x, struct hm_buf *out);
/* A record of the hash; views of it. False: not one of ours. */
bool hm_inbox_record(struct hm_str record, struct hm_inbox_item *x_r);

struct hm_inbox_counts {
	uint64_t n[HM_INBOX_STATES];
	uint64_t arrivals, version; /* n and v */
};
void hm_inbox_counts_json(const struct hm_inbox_counts *c, struct hm_buf *out); /* {"unread":...} */

/* -- storing ------------------------------------------------------------------------------------------ */

struct hm_inbox_add {
	struct hm_str id, category, collapse, json;
	uint64_t expires_ms; /* 0: inbox.keep only */
	uint32_t max_items;
};
enum hm_inbox_added { HM_INBOX_AGAIN, HM_INBOX_STORED, HM_INBOX_EXPIRED };
typedef void (*hm_inbox_added_fn)(void *arg, enum hm_inbox_added what, const struct hm_err *err);
void hm_inbox_add(const struct hm_inbox_ref *who, const struct hm_inbox_add *x, struct hm_inbox_ask *a,
		  hm_inbox_added_fn fn, void *arg);

/* -- reading ------------------------------------------------------------------------------------------ */

struct hm_inbox_page {
	struct hm_inbox_counts counts;
	const struct hm_inbox_item *v; /* newest first; from hm_inbox_since oldest first */
	size_t n;
	uint64_t next;			 /* arrival to go on before, 0: that was all */
	const struct hm_str *unreported; /* ids read whose receipt may be lost */
	size_t n_unreported;
	bool refused; /* hm_inbox_since: too many listeners */
};
/* p and all below it live during the call; NULL when err is set. */
typedef void (*hm_inbox_page_fn)(void *arg, const struct hm_inbox_page *p, const struct hm_err *err);

struct hm_inbox_filter {
	uint8_t states;		/* 1 << enum hm_inbox_state */
	struct hm_str category; /* p == NULL: any; empty: those without */
	uint64_t before;	/* arrival; 0: from the newest */
	uint32_t limit;		/* 0: counts only */
};
void hm_inbox_list(const struct hm_inbox_ref *who, const struct hm_inbox_filter *f, struct hm_inbox_ask *a,
		   hm_inbox_page_fn fn, void *arg);
void hm_inbox_get(const struct hm_inbox_ref *who, struct hm_str id, struct hm_inbox_ask *a,
		  hm_inbox_page_fn fn, void *arg); /* n is 0 or 1 */

/* What came after an arrival, at most `limit` items (next: there are more). With a listener also takes or renews its lease. */
struct hm_inbox_since {
	uint64_t after;
	uint32_t limit;
	struct hm_str listener; /* empty: nobody */
	uint64_t lease_ms;
	uint32_t max_listeners;
};
void hm_inbox_since(const struct hm_inbox_ref *who, const struct hm_inbox_since *q, struct hm_inbox_ask *a,
		    hm_inbox_page_fn fn, void *arg);
void hm_inbox_leave(const struct hm_inbox_ref *who, struct hm_str listener);

/* -- changing ----------------------------------------------------------------------------------------- */

enum hm_inbox_action {
	HM_INBOX_DO_READ,
	HM_INBOX_DO_UNREAD, /* a read item */
	HM_INBOX_DO_ARCHIVE,
	HM_INBOX_DO_UNARCHIVE, /* back to what it was */
	HM_INBOX_DO_DELETE,
	HM_INBOX_ACTIONS
};
const char *hm_inbox_action_name(unsigned action);
struct hm_inbox_mark {
	enum hm_inbox_action action;
	const struct hm_str *ids; /* n == 0: all that the action can change and that fit: */
	size_t n;
	uint8_t states;		/* 1 << enum hm_inbox_state */
	struct hm_str category; /* p == NULL: any */
	struct hm_str until;	/* id of an item: it and older ones; empty: all */
};
struct hm_inbox_marked {
	struct hm_inbox_counts counts;
	size_t changed, missing; /* of the ids */
	bool no_until;		 /* the item `until` is not there; nothing was changed */
	const struct hm_str *unreported;
	size_t n_unreported;
};
typedef void (*hm_inbox_marked_fn)(void *arg, const struct hm_inbox_marked *m, const struct hm_err *err);
void hm_inbox_mark(const struct hm_inbox_ref *who, const struct hm_inbox_mark *x, struct hm_inbox_ask *a,
		   hm_inbox_marked_fn fn, void *arg);
/* They have been reported. */
void hm_inbox_reported(const struct hm_inbox_ref *who, const struct hm_str *ids, size_t n);
/* Everything of the user, also what is remembered of items that are gone. */
typedef void (*hm_inbox_done_fn)(void *arg, const struct hm_err *err);
void hm_inbox_erase(const struct hm_inbox_ref *who, struct hm_inbox_ask *a, hm_inbox_done_fn fn, void *arg);

/* -- live --------------------------------------------------------------------------------------------- */

size_t hm_inbox_live_key(struct hm_str prefix, uint32_t slot, char *out, size_t cap);
struct hm_inbox_news { /* one entry of a slot's stream */
	struct hm_str user;
	struct hm_inbox_counts counts; /* after it */
	uint64_t before;	       /* version before it */
	bool arrival, reload;	       /* reload: too much to name */
	struct hm_inbox_item item;     /* arrival */
	struct hm_str action;	       /* else "read" ... */
	struct hm_str ids;	       /* changed, or pushed out by an arrival; separated by blanks */
};
bool hm_inbox_read_news(const struct hm_reply *fields, struct hm_inbox_news *x_r) HM_MUSTCHECK;

#endif
