/*
 * callbacks.h - what providers report becomes state of messages, suppressions, replies
 *
 *   call | answer to a question | session ─▶ adapter/receipts.h: events ─▶ take ─┬▶ whose? (id, or ingest/provider_id.h)
 *                                                                                ├▶ ingest/receipts.h (stream first)
 *                                                                                ├▶ gates/suppress.h
 *                                                                                └▶ {<prefix>:ctl}:replies
 *
 * Taken means: in Redis. Until then nothing is answered with yes, and 503 makes the provider send it again; all of it may come
 * twice. What must not happen twice has a mark `{<prefix>:ctl}:cb:<hash>` for a while (KEEP_MS): removals from a list, replies.
 * A suppression carries the event's time, so that an old report does not undo a newer removal; a removal looks at the
 * entry's time first.
 *
 * The address that goes on a list is the one the message was sent to, where the ledger here or the note of the provider's id
 * knows it, else the one the provider names.
 *
 * One per shard; owner's thread. At most TAKES_MAX at once.
 */
#ifndef HM_RECEIPTS_CALLBACKS_H
#define HM_RECEIPTS_CALLBACKS_H

#include "adapter/cred.h"
#include "adapter/receipts.h"
#include "ingest/http_req.h"
#include "ingest/receipts.h"
#include "wire/wire.h"

struct hm_callbacks_now { /* the configuration in use: asked whenever something begins */
	const struct hm_settings *settings;
	struct hm_channel_set *channels;
};
struct hm_callbacks_deps { /* all outlive it */
	struct hm_tick *tick;
	struct hm_redis *redis;
	struct hm_ledger *ledger;
	struct hm_receipts *receipts;
	struct hm_wire *wire;
	struct hm_cred_shard *creds;
	struct hm_str prefix;
	uint32_t partitions;
	bool poll; /* asks providers that tell nothing by themselves: one per process */
	void (*now)(void *arg, struct hm_callbacks_now *n);
	void *arg;
};
struct hm_callbacks;
struct hm_callbacks *hm_callbacks_new(const struct hm_callbacks_deps *deps); /* NULL: out of memory */
/* Nothing new begins; on_closed when nothing of it is in the thread pool or on the wire. Before receipts, wire and Redis are closed. */
void hm_callbacks_close(struct hm_callbacks *cb, void (*on_closed)(void *arg), void *arg);
void hm_callbacks_free(struct hm_callbacks *cb); /* after the Redis client; NULL is fine */

struct hm_callbacks_sum { /* what became of the events of one take */
	size_t taken, repeated, unknown;
	bool failed; /* something is not in Redis: to be sent again */
};
typedef void (*hm_callbacks_fn)(void *arg, const struct hm_callbacks_sum *s);
/* Events of a channel (copied). fn once, from the loop or from inside. false: too many under way, or out of memory; fn will not come. */
bool hm_callbacks_take(struct hm_callbacks *cb, const struct hm_channel *c, const struct hm_cb_event *v,
		       size_t n, hm_callbacks_fn fn, void *arg) HM_MUSTCHECK;
/* For drivers of sessions (SMPP deliver_sm): the fields of one event. fn(arg, s) as above; s->failed: answer so that the
 * provider sends it again. false: busy, the same. */
bool hm_receipts_session_event(struct hm_callbacks *cb, const struct hm_channel *c,
			       const struct hm_cb_field *fields, size_t n, hm_callbacks_fn fn,
			       void *arg) HM_MUSTCHECK;

/* The same for hm_wire_opts.on_event: the channel is that of the session; the event's body is the field `body`. */
struct hm_driver_event;
void hm_receipts_driver_event(struct hm_callbacks *cb, struct hm_driver_event *ev);

/* /v1/callbacks/{channel}, GET /v1/replies (routes.c) */
extern const struct hm_http_route hm_callbacks_routes[];
extern const size_t hm_callbacks_routes_n;

#endif
