/*
 * suppress.h - suppression and consent lists: the keys, how they are changed, read, walked
 *
 * One hash per slot, `{<prefix>:u<k>}:supp`, k = hash of the subject (an address, or a user id), HM_SUPPRESS_SLOTS of them.
 *
 *   field   "<kind>\x1f<medium or *>\x1f<category or *>\x1f<subject>"
 *           kind: a address, u user, c consent of an address, C consent of a user
 *   value   JSON {"reason": "unsubscribe|hard_bounce|complaint|invalid_token|manual", "proof": "...", "until": ms or absent,
 *           "since": ms of the provider's own timestamp, "at": ms, "by": "..."}; a consent has no reason
 *
 * Beside it, in the same slot, `{<prefix>:u<k>}:supp:until`, a sorted set of the fields that end (score = ms),
 * `{<prefix>:u<k>}:supp:gone`, a sorted set of removal marks (score = ms), and `{<prefix>:u<k>}:supp:suspect`, one of the fields
 * that a doubtful answer was given about (score = ms of the first). An entry past its `until` counts as absent,
 * whoever reads it; the next change of its slot deletes it.
 *
 * A message to (medium, category) is suppressed by a field for its address or its user with that medium or *, and that
 * category or *. A category with `consent: opt_in` (config.h) also needs a consent field the same way.
 *
 * Subjects are compared byte for byte, but for e-mail addresses: an address with an @ is written in lower case (ASCII), by
 * hm_suppress_field, and hm_person_slot does not see the difference. User ids stay as they are.
 *
 * An invalid token carries the provider's timestamp where there is one (APNs 410: "since"): an address that was registered
 * again later is not held down by an older proof. Whoever registers it says so by removing it from the list, whether it is on
 * it or not (DELETE /v1/suppressions): that leaves a mark for a week, and adding with a `since` older than the mark of the
 * same field changes nothing.
 *
 * What adds an entry says first, in Redis, that there are entries (lists.h).
 *
 * Threads: that of the hm_redis. Callbacks from the loop, never from inside the call.
 */
#ifndef HM_GATES_SUPPRESS_H
#define HM_GATES_SUPPRESS_H

#include "base/buf.h"
#include "config/config.h"
#include "loop/tick.h"
#include "redis/redis.h"

#define HM_SUPPRESS_SLOTS	 64 /* k of {hm:u<k>}; the same in every process for ever */
#define HM_SUPPRESS_SUBJECT_MAX	 2048
#define HM_SUPPRESS_CATEGORY_MAX 128
#define HM_SUPPRESS_PROOF_MAX	 500
#define HM_SUPPRESS_BY_MAX	 128
#define HM_SUPPRESS_KEY_MAX	 80 /* bytes of a key of ours; queue.prefix has at most 32 */

/* "{hm:u<k>}:<what>" into out. Returns its length; out has a NUL. */
size_t hm_person_key(struct hm_str prefix, uint32_t k, const char *what, char *out, size_t cap);
uint32_t hm_person_slot(struct hm_str subject); /* k */

enum hm_suppress_kind { HM_SUPPRESS_ADDRESS, HM_SUPPRESS_USER, HM_CONSENT_ADDRESS, HM_CONSENT_USER };
enum hm_suppress_reason {
#define HM_SUPPRESS_REASON(name, text, sentence) HM_SUPPRESS_##name,
#include "tbl/suppress_reasons.h"
#undef HM_SUPPRESS_REASON
	HM_SUPPRESS_REASONS
};
const char *hm_suppress_reason_name(enum hm_suppress_reason r),
	*hm_suppress_reason_sentence(enum hm_suppress_reason r);
int hm_suppress_reason_find(struct hm_str s); /* -1 when there is none */

struct hm_suppress_entry {
	enum hm_suppress_kind kind;
	struct hm_str subject;
	int medium;		/* enum hm_medium, or -1: all */
	struct hm_str category; /* empty: all */
	struct hm_str reason, by, proof;
	uint64_t at_ms, until_ms, since_ms; /* until, since: 0 = none */
};
/* Appends the hash field / the value of an entry; reads them back. */
void hm_suppress_field(const struct hm_suppress_entry *x, struct hm_buf *out);
void hm_suppress_value(const struct hm_suppress_entry *x, struct hm_buf *out);
/* Texts are views of `field` or live in the arena. */
int hm_suppress_parse(struct hm_str field, struct hm_str value, struct hm_arena *a,
		      struct hm_suppress_entry *x_r, struct hm_err *e) HM_MUSTCHECK;
/* Limits above, no control characters, a known reason (none for a consent), until after at. HM_EINVAL with the field. */
int hm_suppress_check(const struct hm_suppress_entry *x, struct hm_err *e) HM_MUSTCHECK;

/* Many at once (n > 0): one script per slot and 500 entries. fn once, with the number that changed; on err some may have.
 * Both are harmless to repeat: what is there with the same reason, proof, until and since is left as it is; any other
 * present entry is replaced. Texts are copied before the call returns. */
typedef void (*hm_suppress_fn)(void *arg, size_t changed, const struct hm_err *err);
void hm_suppress_add(struct hm_redis *r, struct hm_str prefix, uint64_t now_ms,
		     const struct hm_suppress_entry *v, size_t n, hm_suppress_fn fn, void *arg);
/* The same, but leaves every present entry: for proofs found by machines, where the first one counts. */
void hm_suppress_add_new(struct hm_redis *r, struct hm_str prefix, uint64_t now_ms,
			 const struct hm_suppress_entry *v, size_t n, hm_suppress_fn fn, void *arg);
/* Notes that this was said of an address, and adds the entry when it was first said HM_SUSPECT_AFTER_MS or more ago. */
void hm_suppress_suspect(struct hm_redis *r, struct hm_str prefix, uint64_t now_ms,
			 const struct hm_suppress_entry *v, size_t n, hm_suppress_fn fn, void *arg);
/* kind, medium, category, subject count. Leaves removal marks for addresses. */
void hm_suppress_remove(struct hm_redis *r, struct hm_str prefix, uint64_t now_ms,
			const struct hm_suppress_entry *v, size_t n, hm_suppress_fn fn, void *arg);

/* -- walking them (supp_walk.c) ------------------------------------------------------------------------ */

#define HM_SUPPRESS_ANY -2 /* a medium nobody asked for */
struct hm_suppress_filter {
	bool consents;
	bool users, addresses;	/* kinds wanted; neither: both */
	struct hm_str subject;	/* empty: all; else exactly one of users and addresses is set */
	int medium;		/* HM_SUPPRESS_ANY, or as in an entry */
	struct hm_str category; /* p == NULL: any; empty: those for all categories */
	int reason;		/* -1: any */
};
/* v and next live during the call. next is empty at the end of the lists. */
typedef void (*hm_suppress_page_fn)(void *arg, const struct hm_suppress_entry *v, size_t n,
				    struct hm_str next, const struct hm_err *err);
#define HM_SUPPRESS_CURSOR_MAX 64
#define HM_SUPPRESS_PAGE_MAX   10000
/* At most `limit` entries from `cursor` on ("" = the beginning); a page may be short, even empty, without being the last:
 * `next` tells. An entry that is there from the first page to the last one is seen, at least once (Redis' guarantee of SCAN,
 * but for a hash that shrinks to a tenth meanwhile); in no order. The cursor must be one of ours: hm_suppress_cursor_ok. */
bool hm_suppress_cursor_ok(struct hm_str cursor);
void hm_suppress_page(struct hm_redis *r, struct hm_str prefix, uint64_t now_ms,
		      const struct hm_suppress_filter *f, struct hm_str cursor, uint32_t limit,
		      hm_suppress_page_fn fn, void *arg);
/* Entries in all lists, suppressions and consents together, expired ones of before now removed. */
void hm_suppress_total(struct hm_redis *r, struct hm_str prefix, uint64_t now_ms, hm_suppress_fn fn,
		       void *arg);

/* -- invalid recipients found by outcomes, under a guard (guard.c) ----------------------------------- */
/*
 * When more than gates.invalid_share percent of a channel's latest answers (window gates.invalid_window, at least
 * gates.invalid_min of them) say invalid_recipient, the fault is more likely ours (wrong environment, revoked
 * credential, provider bug): nothing is added, an alarm is logged once, the gauge hermod_invalid_guard shows the channel until
 * the share is below half of it for a whole window, in which there was an answer at least. What would have been added
 * meanwhile is only counted, and what waited to be added when it tripped is dropped. Shards count for themselves; a channel
 * that tripped in one of them adds nothing in any of the process.
 *
 * Additions travel once a tick; while Redis is away up to HM_GUARD_PENDING of them are kept and tried again, further ones are
 * counted as lost: the address will be called invalid again.
 *
 * The reason is hard_bounce for email, sms and voice, else invalid_token; `by` is "channel:<name>".
 */
#define HM_GUARD_PENDING  4096
#define HM_GUARD_CHANNELS 1024 /* counted; of further ones nothing is added */

struct hm_invalid_guard; /* per shard */
struct hm_invalid_guard *hm_invalid_guard_new(struct hm_tick *t, struct hm_redis *r, struct hm_str prefix);
void hm_invalid_guard_free(struct hm_invalid_guard *g); /* NULL is fine. An answer of Redis may still come */
/* Every answer of a channel is told. invalid: the address is added to its medium's list with `proof` and since_ms. */
void hm_invalid_guard_answer(struct hm_invalid_guard *g, const struct hm_config *cfg, struct hm_str channel,
			     int medium, struct hm_str addr, bool invalid, struct hm_str proof,
			     uint64_t since_ms);
/* Instead of it for invalid_recipient with verdict.suspect (adapter.h): an answer that a wrong setting gives for every
 * address. It counts as invalid, but is no proof alone. The address is added when the same is said again a day or more
 * later (within HM_SUSPECT_KEEP_MS), and the channel had good answers in the window both times. */
#define HM_SUSPECT_AFTER_MS UINT64_C(86400000)
#define HM_SUSPECT_KEEP_MS  UINT64_C(2592000000)
void hm_invalid_guard_suspect(struct hm_invalid_guard *g, const struct hm_config *cfg, struct hm_str channel,
			      int medium, struct hm_str addr, struct hm_str proof);
/* One JSON object: {"channel": {"answers", "invalid", "tripped", "added", "held", "lost"}} */
void hm_invalid_guard_describe(const struct hm_invalid_guard *g, struct hm_buf *out);
/* Prometheus text of all shards: hermod_invalid_guard and counters, by channel. Any thread. */
void hm_invalid_guard_metrics(struct hm_buf *out);

#endif
