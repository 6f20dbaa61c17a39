/*
 * gates_int.h - what the files of this folder share
 *
 * local.c reads clocks of the recipient's zone; quiet.c and caps.c use it. caps.c turns the rules a message is under into a
 * plan, and what the script says about a plan into an answer; batch.c packs messages into calls; gates.c sends them and tells
 * the answers; script.c is the other end.
 */
#ifndef HM_GATES_GATES_INT_H
#define HM_GATES_GATES_INT_H

#include "base/tz.h"
#include "base/list.h"
#include "base/obj.h"
#include "gates/gates.h"
#include "gates/suppress.h"
#include "redis/redis.h"

/* -- local.c ------------------------------------------------------------------------------------------ */

/* s->tz, or gates.default_tz when it is empty or unknown. */
const struct hm_tz *gates_zone(const struct hm_gate_subject *s);
/* The first moment (seconds, UTC) at which clocks of the zone show that reading or have passed it. */
int64_t gates_first_instant(const struct hm_tz *tz, int64_t local_s);
/* The day, week or month of the zone's calendar that now is in: from <= now < to. */
void gates_calendar(const struct hm_tz *tz, enum hm_cap_per per, uint64_t now_ms, uint64_t *from_ms,
		    uint64_t *to_ms);

/* -- caps.c ------------------------------------------------------------------------------------------- */

#define GATES_RULE_BYTES 17 /* of a rule in a plan, its id included */
#define GATES_PLAN_MAX	 (7 + HM_CAPS_TOGETHER * GATES_RULE_BYTES)

struct gates_rules { /* what a message is under, in the order of the configuration */
	size_t n;
	const struct hm_cap *v[HM_CAPS_TOGETHER];
};
void gates_rules_of(const struct hm_gate_subject *s, struct gates_rules *r);
/* The plan of script.c. windows false: for settling, where it matters only which rules they are. */
void gates_plan(const struct hm_gate_subject *s, const struct gates_rules *r, bool windows,
		struct hm_buf *out);
/* Fills in policy, route, free_at_ms and reason from what the script says about the refusing rules. False: cannot be read. */
bool gates_refused(struct hm_gate_ask *a, struct hm_str said);

/* -- script.c ----------------------------------------------------------------------------------------- */

/* Flags of a record; the numbers stand in the scripts. */
enum {
	GATES_DEAD = 1,	    /* nobody waits for it any more: its keys are skipped */
	GATES_COUNT = 2,    /* reserve a slot */
	GATES_ASK = 4,	    /* refuse when a rule is full */
	GATES_DEDUPE = 8,   /* has a key for the job's dedupe key ... */
	GATES_CONTENT = 16, /* ... and for its content */
	GATES_OPT_IN = 32,  /* refuse without a consent among the fields given */
	GATES_COMMIT = 128, /* settle: else release */
};
#define GATES_ASK_BYTES	   36 /* a record; the layout stands in script.c */
#define GATES_SETTLE_BYTES 36
#define GATES_FIELDS \
	4 /* of a subject in one list: medium and category, each also as *; half of it without category */
extern struct hm_redis_script gates_ask_script, gates_settle_script;

/* -- batch.c: what one call carries -------------------------------------------------------------------- */

#define GATE_CALL_MAGIC 0x67636c6cu
#define GATE_CALL_MAX	128 /* messages: Redis serves others after a millisecond or two */
#define GATE_BULK_MAX \
	32 /* of calls of all but critical messages: what an answer lets go is sent in one pass of the loop */
#define GATE_KEYS_MAX	236 /* so that the arguments of a call fit a block of the tick's arena */
#define GATE_PLANS_MAX	128
#define GATE_PERSON_MAX 96 /* bytes of a person in a key; longer ones are hashed */
#define GATE_SLOT_KEY	HM_SUPPRESS_KEY_MAX

enum { GATES_BULK, GATES_URGENT, GATES_QUEUES };

struct gates_slot { /* "{hm:u7}:" and "{hm:u7}:supp" */
	char base[GATE_SLOT_KEY], supp[GATE_SLOT_KEY];
	uint8_t base_len, supp_len;
};

/* What a message wants to know, or to have settled. */
struct gates_want {
	const struct hm_category *cat;
	struct hm_str person;
	uint32_t slot, addr_slot;	      /* of the person; of the address, for the lists */
	bool caps, ask, count;		      /* caps: ask or count, and there are rules for it */
	bool dedupe, content, lists, is_user; /* is_user: the person is the user */
	struct gates_rules rules;
};
void gates_want(const struct hm_gate_subject *s, struct gates_want *w);

/*
 * A call being filled, on its way, or waiting to be sent again. It owns everything it needs: the bytes are made as messages
 * join it, so that settling needs nothing of the subject later.
 */
struct gate_call {
	uint32_t magic;
	struct hm_node node; /* gates.idle or .sent, or the .asks, .settles or .again of its queue */
	struct hm_gates *g;  /* NULL: closed meanwhile, nobody is told */
	bool settle, left;   /* left: sent */
	uint8_t queue;	     /* GATES_URGENT, GATES_BULK */
	uint32_t group;	     /* slot, or 0 when one server has them all */
	uint64_t since_ms;   /* settle: failed first; 0: never */
	uint32_t n, n_keys, n_plans, n_runs, n_lists;
	struct hm_buf keys, fields, plans, recs;
	struct {
		uint32_t off, len;
	} key[GATE_KEYS_MAX];
	uint64_t plan_hash[GATE_PLANS_MAX];
	struct gate_run { /* the fields of one subject in one list */
		uint32_t off, len;
		uint16_t next; /* of the same slot, + 1 */
		uint16_t rec;
		uint8_t n;
		bool user;
	} run[2 * GATE_CALL_MAX];
	uint16_t run_head[HM_SUPPRESS_SLOTS], run_tail[HM_SUPPRESS_SLOTS]; /* + 1 */
	struct gate_list {
		struct gate_call *c;
	} list[HM_SUPPRESS_SLOTS]; /* of a call that asks for nothing but lists: each slot's answer comes by itself */
	uint32_t lists_open;
	struct hm_err lists_err;
	struct hm_gate_ask *ask[GATE_CALL_MAX];
	uint8_t part[GATE_CALL_MAX]; /* which of the ask's */
};
struct gate_call *gates_call_new(void);
void gates_call_reset(struct gate_call *c, struct hm_gates *g, bool settle, uint32_t group);
void gates_call_free(struct gate_call *c);
bool gates_call_full(const struct gate_call *c);
/* A record; person: with caps and dedupe; user, addr: with the lists of that subject. Returns its number. */
uint32_t gates_call_ask(struct gate_call *c, const struct gates_slot *slots, const struct hm_gate_subject *s,
			const struct gates_want *w, bool person, bool user, bool addr);
void gates_call_settle(struct gate_call *c, const struct gates_slot *slots, const struct hm_gate_subject *s,
		       const struct gates_want *w, bool commit);
void gates_call_dead(struct gate_call *c, uint32_t record); /* before it is sent */
/* Does it ask for nothing but lists? Then plain HMGETs do, at a fraction of the script's cost. */
bool gates_call_lists_only(const struct gate_call *c);
/* For those: fn for each list, with its gate_list. False: as below. */
bool gates_call_send_lists(struct gate_call *c, struct hm_redis *r, const struct gates_slot *slots,
			   hm_reply_fn fn);
/* How many fields of the lists the record asks for, of them and of the consents. */
void gates_call_fields(const struct gate_call *c, uint32_t record, unsigned *lists, unsigned *consents);
bool gates_call_needs_consent(const struct gate_call *c, uint32_t record);
/* `blob` is scratch of the caller. False: there was no memory for it; nothing was sent. */
bool gates_call_send(struct gate_call *c, struct hm_redis *r, const struct gates_slot *slots,
		     struct hm_buf *blob, hm_reply_fn fn);

static inline void gates_put_int(struct hm_buf *b, uint64_t v, unsigned bytes) /* little endian */
{
	char c[8];

	for (unsigned i = 0; i < bytes; i++)
		c[i] = (char)(v >> (8 * i));
	hm_buf_put(b, c, bytes);
}

#endif
