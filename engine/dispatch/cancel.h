/*
 * cancel.h - what has been cancelled, and what is paused, known to every shard
 *
 * The control thread follows the stream of marks in Redis (format: ingest/cancel_mark.h) and writes them into this set;
 * shards look without a lock. A mark names a message or job by its id, a campaign, a tag or a tenant.
 * Empty sets, the normal case, cost one load: hm_marks_gen() is 0.
 *
 * Cancelled is what was accepted up to the time of the mark (a campaign's name may be used again); such marks are
 * dropped when they are older than the longest possible life of a message. Paused is everything that matches until the
 * pause is taken back, whenever it was accepted.
 *
 * A set is ready when the control thread has read all there was at its start: before that nothing may be sent, for it
 * might be paused or cancelled.
 */
#ifndef HM_DISPATCH_CANCEL_H
#define HM_DISPATCH_CANCEL_H

#include <msgpack.h>

#include "base/ulid.h"

#define HM_MARK_TEXT 80 /* "campaign:spring" and the like, with the end */

/* HM_MARK_ID: a message or a job, the name is its ULID. */
enum hm_mark_kind { HM_MARK_ID, HM_MARK_CAMPAIGN, HM_MARK_TAG, HM_MARK_TENANT, HM_MARK_KINDS };
const char *hm_mark_kind_name(enum hm_mark_kind kind); /* "id", "campaign", "tag", "tenant" */
int hm_mark_kind_find(struct hm_str name);	       /* -1: none */

struct hm_cancel_set;
struct hm_cancel_set *hm_cancel_new(void);
void hm_cancel_free(struct hm_cancel_set *s); /* no shard looks any more */

/* -- control thread only. false: out of memory -- */
bool hm_cancel_add_id(struct hm_cancel_set *s, const struct hm_ulid *id, uint64_t since_ms);
bool hm_cancel_add(struct hm_cancel_set *s, enum hm_mark_kind kind, struct hm_str name, uint64_t since_ms);
void hm_cancel_prune(struct hm_cancel_set *s, uint64_t older_than_ms);
bool hm_pause_set(struct hm_cancel_set *s, enum hm_mark_kind kind, struct hm_str name, bool on);
/* All pauses are told anew: those not set between the two calls are over. */
void hm_pause_begin(struct hm_cancel_set *s);
bool hm_pause_end(struct hm_cancel_set *s);
void hm_marks_ready(struct hm_cancel_set *s);

/* -- any thread -- */
bool hm_marks_are_ready(const struct hm_cancel_set *s);
uint64_t hm_marks_gen(const struct hm_cancel_set *s);  /* goes up with every change; 0: there has been none */
uint64_t hm_cancel_gen(const struct hm_cancel_set *s); /* the same, of cancels alone */
bool hm_cancel_by_id(const struct hm_cancel_set *s);   /* is any of them an id? */
/* What the messages of a job share. */
struct hm_mark_labels {
	struct hm_ulid job;
	struct hm_str campaign, tenant;
	const msgpack_object *tags; /* array of texts, or NULL */
};
/* Messages of these labels accepted up to this time are cancelled; 0: none. */
uint64_t hm_cancel_since(const struct hm_cancel_set *s, const struct hm_mark_labels *l);
bool hm_cancel_id(const struct hm_cancel_set *s, const struct hm_ulid *id);
/* The first pause that concerns these labels, as text. false: none. */
bool hm_pause_find(const struct hm_cancel_set *s, const struct hm_mark_labels *l, char mark_r[HM_MARK_TEXT]);
bool hm_pause_id(const struct hm_cancel_set *s, const struct hm_ulid *id, char mark_r[HM_MARK_TEXT]);
bool hm_pause_is(const struct hm_cancel_set *s, struct hm_str mark); /* "campaign:spring" */

#endif
