/*
 * pauses.h - which channels are paused by hand: the process' copy of `{<prefix>:ctl}:channels`
 *
 * That hash has a field per paused channel, whose value says since when (Unix ms) and by whom, as JSON. The control thread
 * loads it at start and after every reconnect and follows the control stream; shards get mail. The copy is for what
 * comes later: a channel that is first seen must not send a message before somebody tells it.
 *
 * Threads: any. Memory: the heap, one entry per paused channel.
 */
#ifndef HM_SHAPE_PAUSES_H
#define HM_SHAPE_PAUSES_H

#include "redis/redis.h"

struct hm_pauses;
struct hm_pauses *hm_pauses_new(void);
void hm_pauses_free(struct hm_pauses *p);
/* One channel; true: that is news. note: the field's value, may be empty. */
bool hm_pauses_set(struct hm_pauses *p, struct hm_str channel, bool paused, struct hm_str note);
bool hm_pauses_has(struct hm_pauses *p, struct hm_str channel);
/* Calls fn for each, under the lock: it must not call back. */
void hm_pauses_each(struct hm_pauses *p, void (*fn)(void *arg, struct hm_str channel, struct hm_str note),
		    void *arg);
bool hm_pauses_loaded(struct hm_pauses *p);
void hm_pauses_set_loaded(struct hm_pauses *p);

/* -- in Redis: threads that of the client -- */
#define HM_PAUSE_REASON_MAX 200
/* Pauses or resumes for every process, now and after restarts: the hash and the control stream change in one script. by: as in
 * templates/store.h. The answer is 1, or 0 when it was so already. */
void hm_pauses_store(struct hm_redis *r, struct hm_str prefix, struct hm_str channel, bool paused,
		     struct hm_str by, struct hm_str reason, uint64_t at_ms, hm_reply_fn fn, void *arg);

#endif
