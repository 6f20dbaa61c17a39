/*
 * job.h - the queue contract: what a stream entry holds, encoded and decoded
 *
 * An entry of `{<prefix>:<p>}:q:<lane>` has one field `j`: a msgpack map. It is one
 * message (`to`) or a chunk (`rs`: 1..1000 recipients sharing everything else).
 * engine/ingest/README.md documents every key for producers in other languages;
 * the table JOB_KEYS in job.c is the same list for the decoder. Unknown keys are
 * an error that names the key (a typo must not silently change a message).
 *
 *   key        type          meaning
 *   v          int           contract version, 1 (may be absent)
 *   id         str(26)|bin16 ULID of the job; absent: derived from the entry id
 *   to         str|map       one recipient (see below); exactly one of to, rs
 *   rs         array         recipients of a chunk
 *   channel    str           send through this channel; exactly one of channel, route
 *   route      str           or plan over several channels
 *   template   str           "name" or "name@version"; exactly one of template, content
 *   content    map           {title, body, url, image, short, options{...}, data{...}, buttons[...], format}: inline
 *                            content; its strings are templates when `render` is true. format is plain
 *                            (default), markdown (adapt/rich.h) or html and concerns body and short; a button is
 *                            {text, url | action, style}
 *   render     bool          content strings are templates (default false: literal text)
 *   data       map           template data shared by all recipients
 *   campaign category tenant str     labels, at most 64 bytes each
 *   tags       array of str  at most 16
 *   at         int           ms, Unix time: not before (0/absent: now)
 *   at_local   str           "2026-12-01T09:00" (or with seconds): not before this reading of the recipient's clock
 *                            (recipient's tz, else gates.default_tz); not together with at
 *   local_past str           for whom that is over at acceptance: now (default), skip (ends as expired), next_day
 *   over       int           ms, at most 7 days: spread evenly over a span that begins at acceptance, at or at_local
 *   expires    int           ms, Unix time: never sent later
 *   dedupe     str           content key for the dedupe window
 *   caps       map           {bypass: bool, count: bool}: frequency caps are not asked (default false); it counts in
 *                            them (default true)
 *   acc        bin           written by Hermod: boot id (8 bytes) and name of the node whose ledger has it already
 *   n0         int           written by Hermod: index of rs[0] within the job (requeued rest of a chunk)
 *   att        int           written by Hermod: attempts already made (requeued message)
 *   of         bin16         written by Hermod: the failed message this one sends once more (dead letters)
 *   res        map           written by Hermod: where a message that was put aside goes on (below)
 *
 *   recipient: a string = the address; or a map
 *   addr       str|map       address on the channel's medium; a map gives one per medium or channel
 *                            {"push": "...", "sms": "+86...", "apns-main": "..."}
 *   user       str           user id, at most 128 bytes
 *   data       map           template data of this recipient, before the shared data
 *   locale tz  str           BCP 47 tag; IANA zone or "+08:00"
 *
 *   res (dispatch/aside.c): what an entry of messages that were put aside goes on with
 *   job        bin16         the job that was accepted: its record covers them
 *   t          int           ms: when it was accepted
 *   hop        int           how often they had changed hands when they were put aside (dispatch/moves.c)
 *   chan       str           the channel it stood before, and
 *   catt       int           attempts made there
 *   pos        int           position in its route
 *   route      str           the route a cap or quiet hours sent it to
 *   held       bool          it holds a reservation in caps
 *   sent       bool          a provider has accepted it on an earlier step of its route
 *   parts      int           parts of its text that chan has accepted
 *
 * A key whose value is nil counts as absent, and so does an empty text for every label
 * and name. Texts are UTF-8; names, labels, users and addresses hold no control characters.
 *
 * The same table also reads a message of the HTTP API (job_encode.h): there `lane` is a
 * key too, `recipients` stands for `rs`, `at` and `expires` may be RFC 3339 texts, `over` a duration like "2h", and
 * what Hermod writes itself (v, id, acc, n0, att, of, res) is refused.
 *
 * Decoding copies nothing: all texts point into the entry's bytes.
 * Threads: pure functions, any thread. Errors: HM_EPARSE (not msgpack), HM_ETYPE,
 * HM_EINVAL, HM_ELIMIT (entry too large), each with the key in err->field.
 */
#ifndef HM_INGEST_JOB_H
#define HM_INGEST_JOB_H

#include <msgpack.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/ulid.h"
#include "base/vocab.h"

#define HM_JOB_MAX_RECIPIENTS 1000
#define HM_JOB_MAX_LABEL      64
#define HM_JOB_MAX_ADDRESS    2048
#define HM_JOB_MAX_USER	      128
#define HM_JOB_MAX_NAME	      128 /* channel, route, template */
#define HM_JOB_MAX_DEDUPE     128
#define HM_JOB_MAX_TAGS	      16
#define HM_JOB_MAX_BUTTONS    12
#define HM_JOB_MAX_OVER	      (7u * 86400000u)
#define HM_JOB_MAX_BYTES      (16u << 20) /* of one entry */
#define HM_JOB_ACC_BOOT	      8
#define HM_JOB_ACC_MAX	      (HM_JOB_ACC_BOOT + 64)

/* at_local, and it was that late already when the message was accepted. */
enum hm_local_past { HM_LOCAL_NOW, HM_LOCAL_SKIP, HM_LOCAL_NEXT_DAY };
const char *hm_local_past_name(enum hm_local_past p);
struct hm_job_resume { /* res */
	bool there, held, sent;
	struct hm_ulid job;
	uint64_t accepted_ms;
	struct hm_str chan, route;
	uint32_t pos, chan_attempts, parts, hop;
};
struct hm_job_spec {
	bool has_id;
	struct hm_ulid id;
	struct hm_str channel, route, template_ref, campaign, category, tenant, dedupe;
	const msgpack_object *content, *data, *tags; /* NULL when absent */
	bool render;
	uint64_t at_ms, expires_ms, over_ms;
	struct hm_str at_local; /* as given, or empty; local_s is the same as hm_civil_seconds() gives it */
	int64_t local_s;
	enum hm_local_past local_past;
	bool bypass_caps, uncounted; /* caps: {bypass, count} */
	struct hm_str acc;	     /* HM_JOB_ACC_BOOT bytes and a node's name, or empty */
	struct hm_str of;	     /* 16 bytes or empty */
	uint32_t n0, attempts;
	struct hm_job_resume res;
	/* recipients: objects of the decoded tree */
	const msgpack_object *rcpts;
	uint32_t n_rcpts;
	bool chunk; /* given as rs (recipients), not as to */
	/* only in API messages */
	bool has_lane;
	enum hm_lane lane;
};
struct hm_rcpt {
	struct hm_str user, locale, tz;
	struct hm_str addr;	     /* when given as one string */
	const msgpack_object *addrs; /* or the map */
	const msgpack_object *data;
};

/* Checks everything that can be checked without configuration: types, lengths, exactly-one-of rules, recipients'
 * shape, UTF-8. `bytes` and `zone` must outlive spec. Errors name the key ("rs[3].addr: ..."). */
int hm_job_decode(struct hm_str bytes, msgpack_zone *zone, struct hm_job_spec *spec,
		  struct hm_err *e) HM_MUSTCHECK;
/* The same for a message of the API: `root` is its decoded map. Names of channels and templates are not looked up. */
int hm_job_read_message(const msgpack_object *root, struct hm_job_spec *spec, struct hm_err *e) HM_MUSTCHECK;
/* The i-th recipient; never fails after a successful decode. */
void hm_job_rcpt(const struct hm_job_spec *spec, uint32_t i, struct hm_rcpt *r);
/* The address of r for a channel: addrs[channel], addrs[medium], or addr. p == NULL when there is none. */
struct hm_str hm_rcpt_address(const struct hm_rcpt *r, struct hm_str channel, enum hm_medium medium);
/* The id of an entry that carries none: derived from partition, lane and the stream's entry id. */
void hm_job_derive_id(struct hm_ulid *id, uint32_t partition, enum hm_lane lane, uint64_t entry_ms,
		      uint64_t entry_seq);
/* Name of the node that accepted the job, as `acc` tells; empty: nobody has, or an entry written before names were. */
struct hm_str hm_job_acc_node(const struct hm_job_spec *spec);
/* The message it sends once more; spec->of.len tells whether there is one. */
static inline struct hm_ulid hm_job_of_id(const struct hm_job_spec *spec)
{
	struct hm_ulid id = {{0}};

	if (spec->of.len == sizeof(id.b))
		memcpy(id.b, spec->of.p, sizeof(id.b));
	return id;
}
/* Partition a new job goes to. */
uint32_t hm_job_partition(const struct hm_ulid *id, uint32_t partitions);
/* Stream key "{hm:7}:q:bulk" into out. */
size_t hm_job_stream_key(struct hm_str prefix, uint32_t partition, enum hm_lane lane, char *out, size_t cap);
/* Key of any other object of a partition: "{hm:7}:<what>". */
size_t hm_job_key(struct hm_str prefix, uint32_t partition, const char *what, char *out, size_t cap);

#endif
