/*
 * gates.h - what all processes must agree on before a message leaves: suppression and consent, duplicates, caps
 *
 * One service per shard. Questions of one tick travel together: one script call per slot `{<prefix>:u<k>}`, k = hash of the
 * person (suppressions of an address: of the address), so that each call stays on one node of a cluster and the answer is
 * atomic among all processes; to a single server one call carries all slots. In that call a cap's slot and a dedupe key are
 * reserved; the caller says how it ended with hm_gates_commit (a provider accepted) or hm_gates_release (anything else). Both
 * are batched, repeated while Redis is away (the last 100,000; beyond that the lease does it), leave before the questions of
 * the same tick, and are harmless to repeat: everything is remembered by message id, so a message that asks again (a retry,
 * a redelivered entry, another process after a crash) meets its own reservation and passes. A reservation nobody settles ends
 * with its lease (the message's expiry).
 *
 *   caps       config.h struct hm_cap. A message is under every rule it fits (20 at most) and gets a slot of each, or none.
 *              A reserved slot counts until its lease ends, a committed one from the moment of acceptance for as long as
 *              the rule's window. What a message holds never stands in its own way. Accepted through two channels under
 *              different rules it counts twice
 *   dedupe     the job's key, and with content_dedupe what it says: per person. The first message has it, reserved until its
 *              lease ends, after the commit for gates.dedupe_window or content_dedupe; all others are duplicates meanwhile
 *   person     the user id, or the address where there is no user
 *   category   which of these gates are asked at all: config.h struct hm_category
 *
 * What comes first, ends it: suppression, consent, duplicates, caps. When an answer is not PASS nothing stays reserved.
 *
 * Time is the caller's now_ms, in all questions; Redis' clock only clears away what is over. Processes whose clocks differ by
 * some ms differ about windows by as much, and about nothing else.
 *
 * Critical messages travel in calls of their own and overtake the others, of which few are under way at a time. Lists that are
 * empty are not asked (lists.h), but for a category with opt_in.
 *
 * What is configured to ask nothing for a message costs no Redis call: hm_gates_ask then answers at once.
 * Errors: Redis away or not answering is HM_GATE_UNANSWERED with a reason; the caller waits and asks again. Never let through.
 * Memory: an ask is the caller's; batches are kept buffers. Threads: the shard's. on_answer never comes from inside ask.
 */
#ifndef HM_GATES_GATES_H
#define HM_GATES_GATES_H

#include <msgpack.h>

#include "base/ulid.h"
#include "config/config.h"
#include "loop/tick.h"

struct hm_redis;
struct hm_gates;
struct gate_call; /* gates.c */

struct hm_gates_deps { /* all outlive the service */
	struct hm_tick *tick;
	struct hm_redis *redis; /* the hub's own */
	struct hm_str prefix;	/* queue.prefix */
};
struct hm_gates *hm_gates_new(const struct hm_gates_deps *d, struct hm_err *e);
/* What is under way is dropped, its on_answer does not come; settlements are sent once more and not waited for. on_closed from
 * the loop. The hm_redis must outlive this, but may close right after. */
void hm_gates_close(struct hm_gates *g, void (*on_closed)(void *arg), void *arg);
/* Settlements not yet confirmed by Redis: wait for 0 in a drain. */
size_t hm_gates_unsettled(const struct hm_gates *g);

/* Who and what it is about. Texts need to live until the answer (ask) or during the call (commit, release). */
struct hm_gate_subject {
	const struct hm_config *cfg; /* of the message's snapshot: the rules it is under */
	struct hm_ulid msg;
	struct hm_str user, addr; /* user may be empty */
	struct hm_str channel, category, tenant, tz;
	const msgpack_object *tags; /* array of str, or NULL */
	uint8_t medium, lane;
	bool bypass_caps;	     /* caps are not asked ... */
	bool count_caps;	     /* ... and: it counts in them all the same. Usual: false, true */
	struct hm_str dedupe;	     /* the job's key, or empty */
	uint64_t content_hash;	     /* of what it says to this recipient; 0: not known */
	uint64_t now_ms, expires_ms; /* wall; expires 0: dispatch.deadline from now */
};

enum hm_gate_answer {
	HM_GATE_PASS,
	HM_GATE_SUPPRESSED, /* reason says which list */
	HM_GATE_NO_CONSENT,
	HM_GATE_DUPLICATE,
	HM_GATE_CAPPED,	    /* policy, free_at_ms, route */
	HM_GATE_UNANSWERED, /* Redis */
};

struct hm_gate_ask {
	struct hm_gate_subject s;
	void (*on_answer)(struct hm_gate_ask *a);
	/* answer: */
	enum hm_gate_answer answer;
	enum hm_policy policy; /* CAPPED: of the first rule that refuses */
	uint64_t free_at_ms;   /* CAPPED: when all refusing rules have a slot again */
	struct hm_str route;   /* CAPPED with HM_POLICY_ROUTE: where to; lives with cfg */
	char reason[160];      /* one sentence, names the rule or list */
	bool reserved;	       /* PASS: must be committed or released */
	/* private */
	struct hm_gates *g; /* while it is open */
	struct hm_gate_part {
		struct gate_call *call;
		uint16_t record;
	} part[2]; /* of the person; of the address where that is on another node */
	uint8_t open, state;
};
/* true: the answer is in `a` now. false: on_answer comes, within redis.command_timeout. */
bool hm_gates_ask(struct hm_gates *g, struct hm_gate_ask *a) HM_MUSTCHECK;
/* The caller goes away; what may have been reserved is released. */
void hm_gates_cancel(struct hm_gate_ask *a);
/* For a subject that got PASS with `reserved`; the same one, from the same configuration, but for now_ms: the moment of
 * acceptance. Also right for one that did not ask (bypass), and for one already settled. */
void hm_gates_commit(struct hm_gates *g, const struct hm_gate_subject *s);
void hm_gates_release(struct hm_gates *g, const struct hm_gate_subject *s);

/* -- quiet hours: no Redis, pure (quiet.c) -------------------------------------------------------- */

struct hm_quiet_answer {
	uint64_t until_ms; /* wall: first moment outside; 0: not quiet now */
	enum hm_policy policy;
	struct hm_str route; /* HM_POLICY_ROUTE */
	struct hm_str name;  /* of the rule */
};
/* In the recipient's zone (s->tz: IANA name or +08:00; empty or unknown: gates.default_tz). A local time that daylight saving
 * skips or repeats counts once: windows begin and end at the first instant the wall clock shows or has passed their time. */
void hm_quiet_check(const struct hm_gate_subject *s, struct hm_quiet_answer *q);

/* -- suppression lists: reading and writing them (suppress.c); the ask above reads them too ---------- */
/* See suppress.h. */

/* For /v1/admin: one JSON object. Metrics: tbl/counters.h. */
void hm_gates_describe(const struct hm_gates *g, struct hm_buf *out);

#endif
