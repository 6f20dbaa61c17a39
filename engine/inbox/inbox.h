/*
 * inbox.h - an in-app inbox of Hermod's own: what a shard has of it
 *
 *   adapters/inbox/hermod.yaml ─▶ driver.c ─▶ store.h ─▶ Redis ◀─ store.h ◀─ api_*.c ◀─ /v1/inbox, with a user's token
 *                                                │                              ▲
 *                                                └─ stream of the slot ─▶ live.c ┘ (text/event-stream)
 *
 * The inbox is a medium like others: a channel on adapter inbox/hermod, whose provider is this file's Redis. An item is there
 * once, whatever is repeated: it has the id of its message. It is reported `delivered` when it is stored and `read` when its
 * user first reads it, by ingest/receipts.h, where what providers report goes too.
 *
 * Who asks is said by a token that the customer's backend signed (token.h), or, for backends, by an API key.
 *
 * One per shard; owner's thread. Life: new before the wire, open when Redis and receipts are there, close after the HTTP server,
 * before receipts; free after the Redis client.
 */
#ifndef HM_INBOX_INBOX_H
#define HM_INBOX_INBOX_H

#include "ingest/http_req.h"
#include "ingest/receipts.h"
#include "wire/driver.h"

/* What of the settings can be known to be wrong before the start: 0, or HM_ECONFIG with the option in *key_r. */
int hm_inbox_check(const struct hm_settings *s, const char **key_r, struct hm_err *e) HM_MUSTCHECK;

struct hm_inbox;
struct hm_inbox_deps { /* all outlive it */
	struct hm_tick *tick;
	struct hm_str prefix;
	struct hm_str name; /* of this shard among all of all processes */
	const struct hm_settings *settings;
};
struct hm_inbox *hm_inbox_new(const struct hm_inbox_deps *deps); /* NULL: out of memory */
/* receipts == NULL: nothing is reported. NULL-safe order: before the first call or request. */
int hm_inbox_open(struct hm_inbox *ib, struct hm_redis *redis, struct hm_receipts *receipts,
		  struct hm_err *e) HM_MUSTCHECK;
/* New settings, which must outlive it or the next reload. Keys that do not parse leave the old ones. */
void hm_inbox_reload(struct hm_inbox *ib, const struct hm_settings *settings);
/* Nothing new begins; what was stored and not reported yet is reported by the next attempt or the next reading. */
void hm_inbox_close(struct hm_inbox *ib);
void hm_inbox_free(struct hm_inbox *ib); /* after the Redis client; NULL is fine */
/* One JSON object for /v1/admin/shard. */
void hm_inbox_describe(const struct hm_inbox *ib, struct hm_buf *out);

/* inbox://local; its wire argument (hm_wire_driver.arg) is the struct hm_inbox. */
extern const struct hm_driver_ops hm_inbox_driver;

/* /v1/inbox (api_routes.c) and its preflight requests (cors.c) */
extern const struct hm_http_route hm_inbox_routes[], hm_inbox_cors_routes[];
extern const size_t hm_inbox_routes_n, hm_inbox_cors_routes_n;

#endif
