/*
 * suppress.h - suppression and consent lists: the keys, how they are changed, read, walked
 *
 * One hash per slot, `{<prefix>:u<k>}:supp`, k = hash of the subject (an address, or a user id) modulo gates.slots.
 *
 *   field   "<kind>\x1f<medium or *>\x1f<category or *>\x1f<subject>"
 *           kind: a address, u user, c consent of an address, C consent of a user
 *   value   JSON {"reason": "unsubscribe|hard_bounce|complaint|invalid_token|manual", "at": ms, "by": "...", "proof": "...",
 *           "until": ms or absent, "since": ms of the provider's own timestamp}
 *
 * A message to (medium, category) is suppressed by a field for its address or its user with that medium or *, and that
 * category or *. A category with `consent: opt_in` (config.h) also needs a consent field the same way.
 *
 * An invalid token carries the provider's timestamp where there is one (APNs 410: "since"): an address that was registered
 * again later (POST /v1/suppressions/…/restore, or removed) is not held down by an older proof; adding with a `since` older
 * than the field's removal mark changes nothing (the mark is kept a week).
 *
 * Threads: that of the hm_redis. Callbacks from the loop.
 */
#ifndef HM_GATES_SUPPRESS_H
#define HM_GATES_SUPPRESS_H

#include "base/buf.h"
#include "config/config.h"
#include "redis/redis.h"

#define HM_SUPPRESS_SLOTS 64 /* k of {hm:u<k>}; the same in every process for ever */

/* "{hm:u<k>}:<what>" into out. */
size_t hm_person_key(struct hm_str prefix, uint32_t k, const char *what, char *out, size_t cap);
uint32_t hm_person_slot(struct hm_str subject); /* k */

enum hm_suppress_kind { HM_SUPPRESS_ADDRESS, HM_SUPPRESS_USER, HM_CONSENT_ADDRESS, HM_CONSENT_USER };
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
int hm_suppress_parse(struct hm_str field, struct hm_str value, struct hm_arena *a,
		      struct hm_suppress_entry *x_r, struct hm_err *e) HM_MUSTCHECK;
/* Many at once: one script per slot. fn once, with the number that changed (reply == NULL: err). */
typedef void (*hm_suppress_fn)(void *arg, size_t changed, const struct hm_err *err);
void hm_suppress_add(struct hm_redis *r, struct hm_str prefix, const struct hm_suppress_entry *v, size_t n,
		     hm_suppress_fn fn, void *arg);
void hm_suppress_remove(struct hm_redis *r, struct hm_str prefix, const struct hm_suppress_entry *v, size_t n,
			hm_suppress_fn fn, void *arg);

/* -- invalid recipients found by outcomes, under a guard (guard.c) ----------------------------------- */
/*
 * When more than gates.invalid_share of a channel's latest answers (window gates.invalid_window, at least
 * gates.invalid_min of them) say invalid_recipient, the fault is more likely ours (wrong environment, revoked
 * credential, provider bug): nothing is added, an alarm is logged once, the gauge hermod_invalid_guard shows the channel until
 * the share is below half of it for a whole window. What would have been added meanwhile is only counted.
 */
struct hm_invalid_guard; /* per shard */
struct hm_invalid_guard *hm_invalid_guard_new(struct hm_tick *t, struct hm_redis *r, struct hm_str prefix);
void hm_invalid_guard_free(struct hm_invalid_guard *g);
/* Every answer of a channel is told. invalid: the address is added to its medium's list with `proof` and since_ms. */
void hm_invalid_guard_answer(struct hm_invalid_guard *g, const struct hm_config *cfg, struct hm_str channel,
			     int medium, struct hm_str addr, bool invalid, struct hm_str proof,
			     uint64_t since_ms);
/* One JSON object: {"channel": {"answers", "invalid", "tripped"}} */
void hm_invalid_guard_describe(const struct hm_invalid_guard *g, struct hm_buf *out);

#endif
