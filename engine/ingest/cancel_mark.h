/*
 * cancel_mark.h - the control stream: what every Hermod process must hear of
 *
 * One stream for an installation, `{<prefix>:ctl}:events`, read by the control thread
 * of every process: all of it at start (XRANGE - +), then from the last id on (XREAD).
 * Entries are plain fields, so that any client can write them:
 *
 *   XADD {hm:ctl}:events MAXLEN ~ 1000000 * type cancel id 01J...      at 1767323045000 [by KEYID]
 *   XADD {hm:ctl}:events MAXLEN ~ 1000000 * type cancel campaign spring at 1767323045000 [by KEYID]
 *   ... the same with tag or tenant in place of campaign
 *   XADD {hm:ctl}:events MAXLEN ~ 1000000 * type pause  campaign spring at 1767323045000 [by KEYID]
 *   XADD {hm:ctl}:events MAXLEN ~ 1000000 * type resume campaign spring at 1767323045000 [by KEYID]
 *   XADD {hm:ctl}:events MAXLEN ~ 1000000 * type keys   id KEYID       at 1767323045000
 *   XADD {hm:ctl}:events MAXLEN ~ 1000000 * type template name NAME etag ETAG at 1767323045000
 *   XADD {hm:ctl}:events MAXLEN ~ 1000000 * type channel name NAME action pause note JSON
 *   XADD {hm:ctl}:events MAXLEN ~ 1000000 * type lists
 *
 * cancel id        a message, or a job (all messages of its chunk), by its ULID
 * cancel campaign  every message of the campaign accepted up to `at`; likewise tag, tenant
 * pause, resume    what they name (id, campaign, tag or tenant) waits, or goes on. What is paused is also a hash,
 *                  `{<prefix>:ctl}:pauses`: field "campaign:spring", value {"at": ms, "by": "..."}. The script of
 *                  hm_ctl_pause changes both; who writes the event alone pauses until the next reconnect
 * keys             API key KEYID was created or revoked: caches must ask again
 * template         a managed template changed (templates/store.h; written by its script, not by hm_ctl_send)
 * channel          a channel was paused or resumed by hand (shape/pauses.h; written by its script)
 * lists            the suppression and consent lists have their first entry (gates/lists.h; written by its script)
 *
 * A mark is a wish: what is already being sent is sent. Types nobody knows are skipped,
 * so that newer processes may write them.
 *
 * Threads: that of the redis client; parsing: any.
 */
#ifndef HM_INGEST_CANCEL_MARK_H
#define HM_INGEST_CANCEL_MARK_H

#include "base/ulid.h"
#include "redis/redis.h"

#define HM_CTL_KEY_MAX 80

enum hm_ctl_type {
	HM_CTL_CANCEL,
	HM_CTL_PAUSE,
	HM_CTL_RESUME,
	HM_CTL_KEYS,
	HM_CTL_TEMPLATE,
	HM_CTL_CHANNEL,
	HM_CTL_LISTS,
	HM_CTL_OTHER
};
struct hm_ctl_event { /* texts point into the reply */
	enum hm_ctl_type type;
	struct hm_str kind,
		what; /* CANCEL, PAUSE, RESUME: "campaign" and "spring"; kind is id, campaign, tag or tenant */
	struct hm_str by;	  /* API key that asked, or empty; KEYS: the key meant */
	struct hm_str name, etag; /* TEMPLATE; name also CHANNEL */
	struct hm_str note;	  /* CHANNEL: the value of its field in the hash */
	bool paused;		  /* CHANNEL */
	uint64_t at_ms;
};

/* "{hm:ctl}:<what>" into out. */
size_t hm_ctl_key(struct hm_str prefix, const char *what, char *out, size_t cap);
/* One entry as XRANGE and XREAD give it: [id, [field, value, ...]]. Broken marks: HM_EINVAL with a sentence. */
int hm_ctl_parse(const struct hm_reply *entry, struct hm_str *entry_id_r, struct hm_ctl_event *ev_r,
		 struct hm_err *e) HM_MUSTCHECK;
/* Writes a mark: CANCEL or KEYS. fn as in redis.h. */
void hm_ctl_send(struct hm_redis *r, struct hm_str prefix, const struct hm_ctl_event *ev, hm_reply_fn fn,
		 void *arg);
/* Pauses or resumes what ev names. The reply is 1, or 0 when it was so already. */
void hm_ctl_pause(struct hm_redis *r, struct hm_str prefix, const struct hm_ctl_event *ev, hm_reply_fn fn,
		  void *arg);
/* [last id of the stream, [mark, note, ...]]: what is paused, and up to which event that is known. */
void hm_ctl_pauses(struct hm_redis *r, struct hm_str prefix, hm_reply_fn fn, void *arg);
/* Is it a ULID, or a label of at most 64 bytes? kind: as in ev. */
bool hm_ctl_name_ok(struct hm_str kind, struct hm_str what);
/* Is stream id a at or before b? */
bool hm_ctl_id_upto(struct hm_str a, struct hm_str b);

#endif
