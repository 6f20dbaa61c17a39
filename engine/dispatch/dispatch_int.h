/*
 * dispatch_int.h - the objects of the dispatch folder and where they live
 *
 *   job   one stream entry being worked on. On lanes[lane].runnable while it still has
 *         recipients to expand, on its channel's parked list while that channel is full,
 *         on no list when all its recipients are out; freed when its acknowledgement is
 *         handed to ack.c.
 *   msg   one recipient of a job, from expansion to its final state. In exactly one place:
 *           WAITING  chan.waiting[lane]    has no room on its channel yet, or comes back from a hold
 *           GATING   d.gating              waits for the gates all processes share (gates.c); chan.asking counts it
 *           ASKING   d.asking              waits for values its template needs (facts.c); chan.asking counts it
 *           SENDING  send.msgs             part of an attempt
 *           HELD     d.held                its timer says when it is tried again
 *           ESCALATING d.escalating        accepted; asks Redis about its receipt (escalate.c)
 *   send  one attempt: a request and the messages it carries (1, or up to batch_max that
 *         share one content). On chan.sends from first message to settle; while it may take
 *         more messages also chan.open.
 *   chan  a channel as this shard sees it: origin, what waits for it, what is open.
 *
 * All of it belongs to one shard's thread.
 */
#ifndef HM_DISPATCH_INT_H
#define HM_DISPATCH_INT_H

#include "adapter/cred.h"
#include "content/content.h"
#include "dispatch/dispatch.h"
#include "dispatch/fair.h"
#include "dispatch/inflight.h"
#include "dispatch/runtime.h"
#include "gates/gates.h"
#include "ingest/job.h"
#include "ingest/job_encode.h"
#include "shape/shape.h"

#define HM_DISPATCH_MAGIC  0x64697370u
#define HM_JOB_MAGIC	   0x6a6f6221u
#define HM_MSG_MAGIC	   0x6d736721u
#define HM_SEND_MAGIC	   0x73656e64u
#define HM_CHAN_MAGIC	   0x63686e6cu
#define HM_READER_MAGIC	   0x72656164u
#define HM_MSG_FACTS_MAGIC 0x6d666374u
#define HM_MSG_GATE_MAGIC  0x6d676174u
#define HM_MSG_TURN_MAGIC  0x6d747572u

#define ENTRY_ID_MAX 44

struct chan;

/* A finished attempt of a message that is not final yet. */
struct past_attempt {
	struct past_attempt *next; /* newest first */
	struct chan *chan;
	uint8_t outcome;
	uint16_t status;
	uint64_t at_ms;
	uint32_t took_us;
	uint8_t reason_len, provider_id_len;
	char channel[64], reason[120], provider_id[64];
};

struct job {
	uint32_t magic;
	struct hm_node node;
	struct hm_node all; /* d.jobs */
	struct hm_dispatch *d;
	struct runtime_ref *rt; /* configuration this job runs under */
	struct hm_arena arena;	/* payload copy, inline content */
	msgpack_zone zone;
	struct hm_job_spec spec;
	struct hm_ulid id;
	uint32_t partition;
	uint8_t lane;
	uint8_t entry_len;
	bool redelivered; /* an earlier run may have worked on it */
	bool foreign;	  /* taken over from another node: its in-flight table cannot be read */
	char entry[ENTRY_ID_MAX];
	uint32_t bytes;		      /* of the payload */
	struct chan *fixed;	      /* the job names a channel ... */
	const struct hm_route *route; /* ... or a route */
	uint64_t entry_ms;	      /* when it entered the stream */
	uint64_t accepted_ms;	      /* the same, or when the first entry did (res) */
	struct hm_ulid origin;	      /* its id, or that of the job it was accepted with (res) */
	uint64_t expires_ms;	      /* of every message */
	uint32_t cursor;	      /* next recipient to expand */
	uint32_t open;		      /* expanded, not final */
	uint32_t leaving;	      /* counted in owed: put aside, not confirmed by Redis (aside.c) */
	struct aside *last_aside;     /* may be joined by the next recipient */
	bool has_away;		      /* recipients of it are noted as away */
	uint8_t *away;		      /* bitmap of those that left in an earlier run, or NULL */
	uint32_t hop;	    /* how often its messages have changed hands, with this time (moves.c) */
	uint32_t untold;    /* counted in owed: nodes that have not been told yet; before that none leaves */
	bool covered;	    /* the ledger has the acceptance of its messages (res) */
	uint64_t marks_gen; /* of the set of marks cancelled_ms and paused are true for (marks.c) */
	uint64_t cancelled_ms; /* its messages accepted up to then are cancelled; 0: none */
	bool paused;
	bool taken;		  /* its entry is another consumer's now: not to be acknowledged here */
	bool spilled;		  /* its entry was put aside and came back (spill.c) */
	struct hm_tenant *tenant; /* of its lane, until all recipients are out */
	uint64_t ticket;	  /* ledger ticket everything of this job waits for */
	uint8_t *done;		  /* bitmap of recipients that are final already (redelivered jobs) */
	struct hm_ledger_msg **
		prior; /* records of an earlier run by recipient: interim, or failed. NULL: none (redelivered jobs) */
	struct hm_arena prior_arena;	   /* they live here; malloc'ed blocks, filled by a pool thread */
	struct hm_template_set *templates; /* those of when the job began; NULL: it needs none */
	const struct hm_template *source;  /* of that snapshot, or inline */
	struct hm_template *own;	   /* compiled inline content */
	bool unrecorded;		   /* a final record could not be written: stays pending */
	struct hm_str from;		   /* foreign: nodes that had its entry, separated by commas */
	bool handed_back;   /* messages of it were dropped while draining: ends with handback.c */
	struct back *backs; /* those (handback.c) */
	bool stays;	    /* cannot be written anew: stays pending */
	bool lent; /* a script of delay.c or spill.c decides where its entry is; its answer frees it */
	uint32_t
		owed; /* letters Redis has not confirmed: before that the entry is not acknowledged (dead.c) */
	uint8_t *buried; /* bitmap of recipients that have a dead letter already (taken over jobs), or NULL */
	uint8_t n_facts; /* values to fetch per message; 0: most templates */
	struct hm_err broken; /* code != 0: every message of this job fails with this */
};

enum msg_where { MSG_NOWHERE, MSG_WAITING, MSG_GATING, MSG_ASKING, MSG_SENDING, MSG_HELD, MSG_ESCALATING };

struct msg_facts; /* facts.c */
struct msg_gate;  /* gates.c */
struct msg_turn;  /* turn.c */
struct msg_wait;  /* escalate.c */

struct msg {
	uint32_t magic;
	struct hm_node node;
	uint8_t where; /* enum msg_where */
	uint8_t lane;
	uint8_t route_pos;     /* place in the route's order (route.c) */
	uint8_t attempts;      /* in total */
	uint8_t chan_attempts; /* on the current channel */
	bool auth_retried, interim, maybe_repeat;
	bool alone; /* a call with others was refused because of one of them: it shares none on this channel */
	bool gates_open; /* the shared gates let it pass to this channel, since it last waited */
	bool reserved;	 /* in caps or for its dedupe key: to be committed or released (gates.c) */
	bool rerouted;	 /* a cap or quiet hours sent it to another route: once */
	uint8_t part,
		parts; /* of a content its channel splits: the next to send; how many, 0 or 1: it does not */
	uint32_t index;
	uint32_t slot;	   /* in-flight table */
	uint8_t lost_here; /* attempts of this run whose end could not be recorded */
	struct job *job;
	struct chan *chan;
	uint32_t passed;  /* bit per position of the route: tried and left */
	bool reached;	  /* a provider has accepted it on an earlier step: it cannot fail any more */
	bool unclaimed;	  /* waited for a receipt: before anything is sent it is asked whether one came */
	bool out_of_time; /* its step's `within` is over */
	uint64_t step_until_ms; /* monotonic: the end of that; 0: there is none */
	struct hm_timer step_timer;
	struct msg_wait *wait;	      /* while ESCALATING */
	const struct hm_route *route; /* the job's, or another it was sent to; NULL: a fixed channel */
	struct hm_ulid id;
	struct hm_str addr, user;
	struct hm_timer timer;
	struct past_attempt *past;
	struct msg_facts *facts; /* fetched, or being fetched; NULL: nothing was asked */
	struct msg_gate *gate;	 /* while GATING */
	struct msg_turn *turn;	 /* while it stands in line for its recipient (turn.c); it is HELD then */
	struct chan *turn_at;	 /* its turn has come on this channel */
	bool retrying;		 /* held for another attempt: within the retry budget when it is due */
};

enum send_step {
#define HM_SEND_STEP(fn, name, waits) SEND_##name,
#include "tbl/send_steps.h"
#undef HM_SEND_STEP
	SEND_STEP_COUNT
};

struct send {
	uint32_t magic;
	struct hm_node node; /* chan.sends */
	struct chan *chan;
	struct runtime_ref *rt;
	enum send_step step;
	bool running, again, answered, submitted, cred_waiting;
	uint8_t lane;
	struct hm_list msgs;
	struct hm_arena arena;
	struct hm_content content;
	uint64_t content_hash;
	const struct job *content_job; /* literal content of this job: equal without comparing */
	struct hm_build_rcpt *rcpts;
	struct hm_build_in in;
	uint32_t parts; /* what the build made of the content; several: one message, one part */
	struct hm_call call;
	struct hm_cred_waiter cred;
	struct send_prepare {		/* prepare.c */
		struct hm_node node;	/* prepared.waiters */
		struct prepared *entry; /* this one asks for it */
		uint64_t id;		/* of what it is built with; 0: nothing */
		bool waiting, answered, done;
	} prepare;
	struct hm_verdict verdict;
	uint64_t started_ms;
};

struct chan {
	uint32_t magic;
	struct hm_dispatch *d;
	struct hm_channel *ch;
	const struct hm_channel_info *info;
	struct hm_origin *origin; /* NULL when the recipient is the URL */
	struct hm_list waiting[HM_LANE_COUNT];
	struct hm_list parked[HM_LANE_COUNT]; /* jobs */
	struct hm_list sends;
	struct send *open;     /* takes more messages until it is full or the tick ends */
	struct hm_flush flush; /* closes `open` */
	struct runtime_ref *rt;
	bool notes_pid,
		notes_shared_only; /* provider's ids are noted for receipts; only of calls with several messages (pids.c) */
	uint32_t asking;	  /* messages in d.gating and d.asking that will leave here */
	uint32_t unsubmitted;	  /* sends that have not reached the driver */
	uint64_t paused_until_ms; /* monotonic; provider said slow down */
	struct hm_timer pause;
	struct hm_flush wake;
	struct hm_shape *shape; /* rates, breaker; shared with this channel under other snapshots */
	struct hm_shape_listener on_shape;
};

/* The runtime as this shard uses it: configuration snapshot and its channels' shard state. */
struct runtime_ref {
	struct hm_node node; /* d.runtimes */
	struct hm_runtime *rt;
	uint32_t refs; /* jobs, sends and the dispatcher itself */
	struct hm_dispatch *d;
	struct chan *chans;
	size_t n_chans;
};

struct lane {
	struct hm_fair runnable; /* jobs */
	uint32_t weight;
	int32_t credit;
	uint64_t buffered_msgs, buffered_bytes; /* read, not yet expanded */
	uint64_t pulled;			/* messages of all entries decoded */
	uint32_t per_entry_x16;			/* messages per entry, times 16: up at once, down slowly */
};

struct ack_key { /* one stream */
	struct hm_dispatch *d;
	uint32_t partition;
	uint8_t lane;
	bool has_away;	   /* of some entry recipients are away (aside.c) */
	bool has_taken;	   /* some were taken over (moves.c) */
	struct hm_buf ids; /* length byte + text, repeated: to acknowledge in this flush */
	uint32_t n;
	uint64_t seen_ms, seen_seq; /* the newest entry read from it */
};

struct fifo_item {
	uint64_t ticket;
	struct job *job; /* NULL: only the slot */
	uint32_t slot;
};

struct reader; /* pull.c */

struct hm_dispatch {
	uint32_t magic;
	struct hm_dispatch_deps deps;
	struct hm_tick *t;
	struct dispatch_opts {
		uint32_t partitions, read_count, block_ms, claim_after_ms, heartbeat_ms, dead_letter_max;
		uint32_t
			dead_outcomes; /* a bit per outcome, and one for no attempt at all: these failures are kept */
		uint32_t max_in_flight, critical_reserve, max_attempts, retry_base_ms, retry_max_ms;
		uint32_t request_timeout_ms, read_ahead;
		uint64_t default_deadline_ms;
		size_t ledger_backlog_max; /* bytes not yet durable */
		size_t max_entry_bytes;
		struct hm_str prefix, group;
	} o;
	char consumer[80], taker[82]; /* the name for entries taken over from others */
	char acc[HM_JOB_ACC_MAX];     /* what entries carry that are in this node's ledger already */
	size_t acc_len;
	struct runtime_ref *rt;
	struct hm_book_eye templates;
	struct hm_ledger_writer *writer;
	struct lane lanes[HM_LANE_COUNT];
	struct hm_list prepared;   /* of prepare.c, the one unused for longest first */
	struct hm_list held;	   /* msgs */
	struct hm_list gating;	   /* msgs */
	struct hm_list asking;	   /* msgs */
	struct hm_list escalating; /* msgs */
	bool stranded; /* messages may wait on a channel that is not usable, though their route has others */
	struct hm_list free_jobs; /* kept with their zones */
	struct hm_list jobs;	  /* all live ones */
	uint64_t durable;	  /* highest durable ticket */
	struct hm_slab msg_slab, send_slab, past_slab, facts_slab, gate_slab, turn_slab, wait_slab;
	uint32_t in_flight, jobs_live, sends_live;
	struct hm_flush pump, urgent, room;
	struct hm_list runtimes; /* snapshots in use */
	/* tickets -> acknowledgements */
	struct fifo_item *fifo; /* ring */
	uint32_t fifo_cap, fifo_head, fifo_len;
	struct ack_key *acks;	 /* partitions x lanes, only this shard's */
	struct hm_moves *moves;	 /* moves.c */
	struct hm_dead *dead;	 /* dead.c */
	struct hm_slab pid_slab; /* pids.c */
	struct hm_list pid_wait, pid_again;
	struct hm_timer pid_timer;
	uint32_t pids_open;
	struct hm_spill *spill;	 /* spill.c */
	struct hm_asides *aside; /* aside.c */
	struct hm_flush ack_flush;
	uint32_t acks_waiting; /* commands sent, not answered */
	uint32_t rechecks;     /* jobs at the look-up of what is done already */
	struct hm_inflight *inflight;
	struct reader *readers;
	size_t n_readers;
	struct hm_timer heartbeat, delay_timer;
	uint32_t beats_open, delay_open; /* commands of recover.c and delay.c not answered */
	uint64_t delay_next_ms;
	uint64_t swept_gen; /* of cancels: what waits has been compared with them */
	uint32_t sweep_partition;
	char sweep_cursor[24];
	bool sweeping, tidied;
	bool draining, drained, drain_forced, closed, redis_up;
	uint32_t inflight_limit;      /* the in-flight table was sized for this at start */
	struct hm_handback *handback; /* handback.c */
	struct lost *lost; /* messages that ended in this run without a record: out of memory (settle.c) */
	uint32_t n_lost;
	struct hm_timer late; /* ends what waits beyond its expiry (chan.c) */
	bool checking, farewell;
	struct hm_timer ack_retry;
	void (*on_drained)(void *arg);
	void *drained_arg;
	struct hm_timer drain_timer;
};

/* -- pull.c: streams -> jobs -- */
int hm_pull_start(struct hm_dispatch *d, struct hm_err *e);
void hm_pull_kick(struct hm_dispatch *d); /* buffers have room again */
/* An entry was left pending for a reason that passes: it is read again in a moment. */
void hm_pull_again(struct hm_dispatch *d, uint32_t partition, enum hm_lane lane);
void hm_pull_stop(struct hm_dispatch *d);	/* what a read brings from now on goes back (handback.c) */
bool hm_pull_idle(const struct hm_dispatch *d); /* no read is under way */
void hm_pull_close(struct hm_dispatch *d);
void hm_pull_free(struct hm_dispatch *d);
bool hm_pull_owns(const struct hm_dispatch *d, uint32_t partition);
struct hm_reply;
/* Entries of one stream as XREADGROUP or XCLAIM give them: [[id, [j, payload]], ...]. */
void hm_pull_entries(struct hm_dispatch *d, uint32_t partition, enum hm_lane lane,
		     const struct hm_reply *entries, bool redelivered, bool foreign);

/* -- pids.c: provider's ids of messages, for their receipts -- */
void hm_pids_init(struct hm_dispatch *d), hm_pids_fini(struct hm_dispatch *d);
bool hm_pids_idle(const struct hm_dispatch *d);
void hm_pids_chan(struct chan *c);
/* Accepted; shared: the id is that of a call with several messages. Before the message ends. */
void hm_pids_sent(const struct msg *m, struct hm_str provider_id, bool shared);
void hm_pids_recall(struct job *j); /* redelivered: what the ledger says was sent is noted again */

/* -- delay.c: entries that wait in Redis -- */
void hm_delay_start(struct hm_dispatch *d);
/* A new entry whose time has not come, or that is paused: true, it has been taken (with the job). */
bool hm_delay_takes(struct job *j, struct hm_str payload);

/* -- recover.c: heartbeat, taking over from dead consumers, what a redelivered job has behind it -- */
void hm_recover_start(struct hm_dispatch *d);
/* At the end of a drain, when nothing is pending here: this consumer need not be waited for. */
void hm_recover_farewell(struct hm_dispatch *d);
void hm_recover_check(struct job *j); /* looks the recipients up in the ledger, then hm_job_ready */

/* -- job.c -- */
struct job *hm_job_new(struct hm_dispatch *d);
void hm_job_ready(struct job *j);  /* onto its lane */
bool hm_job_accept(struct job *j); /* the ledger's accept record; false: out of memory */
void hm_job_free(struct job *j);
void hm_job_maybe_done(struct job *j);

/* -- pump.c: lanes by weight -> messages -- */
void hm_pump_later(struct hm_dispatch *d);
void hm_pump_run(struct hm_flush *f);
void hm_pump_urgent(struct hm_flush *f);
void hm_pump_job(struct job *j);						     /* onto its lane */
void hm_pump_back(struct hm_dispatch *d, enum hm_lane lane, struct hm_list *parked); /* from a channel */
void hm_pump_weights(struct hm_dispatch *d); /* the configuration is new */
void hm_pump_drop(struct hm_dispatch *d);    /* no job is runnable any more */
void hm_pump_forget(struct job *j);	     /* it ends before it was all out */
bool hm_pump_goes_on(
	struct msg *m); /* of an earlier run, its channel chosen: may it go again? false: it has ended */

/* -- spill.c: more than a tenant's share of a lane is put aside -- */
bool hm_spill_init(struct hm_dispatch *d);
void hm_spill_start(struct hm_dispatch *d);
void hm_spill_stop(struct hm_dispatch *d);
void hm_spill_fini(struct hm_dispatch *d);
bool hm_spill_takes(struct job *j, struct hm_str payload); /* true: the job is gone, with the next flush */
void hm_spill_flush(struct hm_dispatch *d);
void hm_spill_turn(struct hm_dispatch *d);
bool hm_spill_busy(const struct hm_dispatch *d);			 /* nothing more should be read now */
uint64_t hm_spill_count(const struct hm_dispatch *d, enum hm_lane lane); /* entries aside, as last seen */

/* -- handback.c: the end of a drain -- */
bool hm_handback_init(struct hm_dispatch *d);
void hm_handback_fini(struct hm_dispatch *d);
bool hm_handback_msg(
	struct msg *m); /* dropped, with its state on record; false: out of memory, its entry stays */
/* An entry nobody has looked into. */
void hm_handback_entry(struct hm_dispatch *d, uint32_t partition, enum hm_lane lane, struct hm_str entry);
/* Everything is settled and durable: what is left goes back. true: it has, hm_dispatch_check_drained is called until then. */
bool hm_handback_done(struct hm_dispatch *d);
uint64_t hm_handback_count(const struct hm_dispatch *d); /* entries given back */

/* -- chan.c: room, rest and who waits -- */
void hm_chan_end_late(struct hm_timer *t); /* every second: what waits beyond its expiry ends, room or not */
void hm_chan_wake(struct chan *c);	   /* room or time: waiting messages and parked jobs go on */
void hm_chan_init(struct chan *c, struct hm_dispatch *d, struct runtime_ref *rt, struct hm_channel *ch);
void hm_chan_fini(struct chan *c);
void hm_chan_wake_later(struct chan *c);
void hm_chan_rest(struct chan *c, uint64_t ms);
void hm_msg_go(struct msg *m);
bool hm_chan_has_room(const struct chan *c, enum hm_lane lane);
/* Does it take messages at all? false: its breaker is open, or it is paused by hand; a route goes on to another. */
bool hm_chan_usable(const struct chan *c);
void hm_chan_took(struct chan *c, const struct send *s);     /* the request is with the driver */
void hm_chan_answered(struct chan *c, const struct send *s); /* and has its verdict */
bool hm_chan_may_retry(struct chan *c);			     /* within the retry budget; takes one of it */

/* -- gates.c: may this message leave now? -- */
/* What this process knows by itself: expiry, cancel. true: go on. false: the message has been ended (it is gone). */
bool hm_gates_pass(struct msg *m);
void hm_msg_gates_init(struct hm_dispatch *d);
/* Quiet hours, and what all processes share: suppression, duplicates, caps. true: it may leave on m->chan. false: it waits for
 * the answer, or has been held, put aside, sent to another channel or ended. */
bool hm_msg_gates(struct msg *m);
/* It leaves its channel, or has ended: what was reserved is used up (a provider has it, or may have) or free again. */
void hm_msg_gates_leave(struct msg *m, bool used);
void hm_msg_gates_drop(struct hm_dispatch *d); /* who still waits is handed back */
void hm_msg_gates_free(struct msg *m);

/* -- turn.c: quotas per recipient -- */
void hm_msg_turns_init(struct hm_dispatch *d);
/* true: it may leave on m->chan. false: it stands in line and is held, or has been dropped. */
bool hm_msg_turn(struct msg *m);
void hm_msg_turn_free(struct msg *m);

/* -- aside.c: messages that wait long, in Redis instead of in memory -- */
/* It comes back as an entry of its own at until_ms (wall). The message is gone; its job's entry stays pending until Redis has
 * the new one. `why` is what the ledger says meanwhile. */
void hm_aside_msg(struct msg *m, uint64_t until_ms, struct hm_str why);
/* The same while a pause holds; `mark` names it ("campaign:spring"). It comes back when that ends, or at its expiry. */
void hm_aside_paused(struct msg *m, struct hm_str mark);
/* The same until its job's schedule says that it is due; a deadline nobody has set begins then. */
void hm_aside_scheduled(struct msg *m, uint64_t due_ms);
bool hm_aside_init(struct hm_dispatch *d);
void hm_aside_fini(struct hm_dispatch *d);
void hm_aside_durable(struct hm_dispatch *d); /* d->durable went up */
void hm_aside_told(struct hm_dispatch *d);    /* a job has no untold any more */
void hm_aside_drop(struct hm_dispatch *d);    /* draining: what has not left comes back with its entry */
bool hm_aside_idle(const struct hm_dispatch *d);
bool hm_aside_room(
	const struct hm_dispatch *d); /* false: too many wait for Redis; nothing more is expanded */
size_t hm_aside_count(const struct hm_dispatch *d);
void hm_aside_restore(struct msg *m); /* of an entry with res: before its channel is chosen, */
void hm_aside_chosen(struct msg *m);  /* and after */
/* Marks as done who of a redelivered job is away, then goes on with it (dead.c). */
void hm_aside_look(struct job *j);
/* These entries (length byte and text, repeated) are deleted from their stream. */
void hm_aside_forget(struct hm_dispatch *d, uint32_t partition, uint8_t lane, struct hm_str ids,
		     const char *what);
/* Next run [*first_r, *first_r + *n_r) of recipients from *first_r on that are not away; false: there is none. */
bool hm_aside_run(const struct job *j, uint32_t *first_r, uint32_t *n_r);

/* -- spread.c: at a local time, over a span -- */
bool hm_spread_pass(struct msg *m); /* false: its time has not come, it has been put aside; or ended */

/* -- marks.c: what is cancelled and what is paused -- */
bool hm_marks_pass(struct msg *m);		  /* false: it has been ended, or put aside */
bool hm_marks_known(const struct hm_dispatch *d); /* false: nothing may leave yet */
bool hm_marks_cancel(struct job *j);		  /* are messages of it cancelled? */
bool hm_marks_pause(struct job *j, char *mark_r); /* all of it? HM_MARK_TEXT bytes */

/* -- dead.c: failed messages, kept for an operator -- */
bool hm_dead_init(struct hm_dispatch *d);
void hm_dead_fini(struct hm_dispatch *d);
void hm_dead_message(struct msg *m, struct hm_str why); /* has ended as failed, under its job's ticket */
void hm_dead_durable(struct hm_dispatch *d);		/* d->durable went up */
/* A redelivered job, compared with the ledger: what failed before gets its letter if the last run did not come to it, and in
 * one taken over from another node what failed there is not tried again. Then hm_job_ready, perhaps later. */
void hm_dead_recall(struct job *j);
bool hm_dead_before(const struct msg *m);	/* it failed on the node its job was taken over from */
bool hm_dead_room(const struct hm_dispatch *d); /* false: too many letters wait, nothing more is started */
bool hm_dead_idle(const struct hm_dispatch *d);
/* An entry that is no job: moved to the dead letters, as it is. */
void hm_dead_entry(struct hm_dispatch *d, uint32_t partition, enum hm_lane lane, struct hm_str entry,
		   struct hm_str payload, const struct hm_err *why);

/* -- moves.c: the books of several nodes -- */
bool hm_moves_init(struct hm_dispatch *d);
void hm_moves_fini(struct hm_dispatch *d);
void hm_moves_start(struct hm_dispatch *d);
/* Worked on here from now on: it counts here, and whoever has it in his books is told. false: out of memory, nobody is. */
bool hm_moves_take(struct job *j) HM_MUSTCHECK;
void hm_moves_durable(struct hm_dispatch *d);
bool hm_moves_idle(const struct hm_dispatch *d);
size_t hm_moves_field(const struct job *j, char *out, size_t cap); /* its place in {hm:p}:taken */

/* -- route.c -- */
/* Chooses channel route_pos (or the next possible one) for m; false: ended as failed. */
bool hm_route_choose(struct msg *m);
/* After a failure on the current channel: the next of the route. false: there is none. */
bool hm_route_next(struct msg *m, enum hm_outcome why);
/* The same, whatever the step's conditions say about outcomes: a cap, quiet hours or a suppression stands before it. */
bool hm_route_skip(struct msg *m);
bool hm_route_switch(struct msg *m, struct hm_str route); /* goes on under another route; false: it cannot */
/* The channel takes nothing any more: messages waiting there go to the next of their route, where there is one. */
void hm_route_away(struct chan *c);
void hm_route_back(
	struct chan *c); /* it takes messages again: who waits on one that does not may move here */
/* A provider accepted it, and `a` are its attempts. true: its route wants more (a receipt within a time, another channel): the
 * message has been taken over. false: it is sent. */
bool hm_route_sent(struct msg *m, const struct hm_ledger_attempt *a, size_t n);
const struct hm_route_step *hm_route_step(const struct msg *m); /* where it stands; NULL: a fixed channel */
/* Takes the first step that is possible and not behind it; false: there is none, and *why_r may say more. */
bool hm_route_resume(struct msg *m, struct hm_str *why_r);
void hm_route_restore(struct msg *m); /* of an earlier run: its timeline and what its entry says are there */
void hm_route_none(struct msg *m, struct hm_str why); /* ends it for that */
/* It may be a long time since it was put on its channel. false: its step is over, it has been taken over or ended. */
bool hm_route_go_on(struct msg *m);
bool hm_route_may_wait(struct msg *m,
		       uint64_t ms); /* false: its step ends before; hm_route_next then goes on */
uint32_t hm_route_time_left(const struct msg *m); /* ms of its step, at least 1; UINT32_MAX: no limit */
/* About to end otherwise than sent, though a provider has accepted it (m->reached): the state it ends with, what to say,
 * and its channel is that provider's. `used`: what it holds in caps is used up. */
enum hm_state hm_route_reached(struct msg *m, struct hm_str *reason, bool used);
void hm_route_msg_init(struct msg *m);
void hm_route_msg_fini(struct msg *m);
int hm_route_resolve(struct job *j, struct hm_err *e); /* channel or route exists? */

/* -- escalate.c: sent, but perhaps not delivered or read in time -- */
void hm_escalate_init(struct hm_dispatch *d);
/* It stands at the step whose provider accepted it, which is behind it (m->passed); on record at once. Waits until due_ms (wall)
 * for the receipt, then goes on. Takes it. */
void hm_escalate_begin(struct msg *m, uint64_t due_ms);
void hm_escalate_claim(struct msg *m);	      /* the wait is over: has a receipt come? Takes it. */
void hm_escalate_drop(struct hm_dispatch *d); /* who still asks is handed back */

/* -- facts.c: values a message needs before it is rendered -- */
void hm_msg_facts_init(struct hm_dispatch *d);
/* true: they are there. false: it waits for them, or has been held or ended. */
bool hm_msg_facts(struct msg *m);
const msgpack_object *hm_msg_facts_root(const struct msg *m); /* {"facts": {...}}; NULL: none */
struct hm_str hm_msg_facts_json(const struct msg *m);	      /* for the ledger; empty: none */
void hm_msg_facts_free(struct msg *m);
void hm_msg_facts_drop(struct hm_dispatch *d); /* who still asks is handed back */

/* -- send.c: the attempt -- */
void hm_send_join(struct msg *m); /* renders, joins or starts a send on m->chan */
/* What a text of this message is rendered with; results go into the arena. */
void hm_send_env(const struct msg *m, struct hm_arena *a, struct hm_render_env *env);
void hm_send_run(struct send *s);
void hm_chan_flush_init(struct chan *c);

/* -- settle.c -- */
/* p: what is different for this message; NULL: it fared as the call did. */
void hm_settle_attempt(struct send *s, struct msg *m, const struct hm_verdict *v, const struct hm_partial *p);
enum step_next { STEP_MORE, STEP_WAIT, STEP_DONE };
/* prepare.c */
enum step_next hm_prepare_step(struct send *s);
void hm_prepare_drop(struct hm_dispatch *d, uint64_t id); /* the provider does not know it any more */
void hm_prepare_fini(struct hm_dispatch *d);
/* send.c, for it */
enum step_next hm_send_goto(struct send *s, enum send_step to);
int hm_send_fill(struct send *s, struct hm_err *e) HM_MUSTCHECK; /* s->in */
enum step_next hm_send_unfit(struct send *s, enum hm_outcome o, struct hm_str reason, const struct hm_err *e);
enum step_next hm_send_later(struct send *s); /* the driver takes nothing now */
void hm_settle_split(struct send *s);	      /* all messages of a call that failed because of one of them */
void hm_settle_final(struct msg *m, enum hm_state state, struct hm_str reason);
/* A value it needs cannot be had and has no fallback: as after an attempt that may be tried again, on this channel. */
void hm_settle_unanswered(struct msg *m, struct hm_str reason);
/* Waits in memory, no attempt counted: delay of at most some minutes (longer: hm_aside_msg). */
void hm_settle_hold(struct msg *m, uint64_t delay_ms, struct hm_str reason);
/* About to leave memory: its record as HELD, its slot free when that is durable. Returns the ticket, 0: out of memory. */
uint64_t hm_settle_interim(struct msg *m, struct hm_str reason);
void hm_msg_timer_init(struct msg *m);
struct lost { /* its end is not on record, its slot not free */
	struct hm_ulid id;
	uint32_t slot;
};
#define LOST_MAX 4096
void hm_msg_free(struct msg *m); /* off every list; the job has one open message less */
void hm_settle_remember(struct msg *m, const struct hm_ledger_attempt *a); /* one more line of the timeline */
uint8_t hm_settle_parts_sent(const struct msg *m); /* by its channel, according to its timeline */
void hm_settle_unknown_before(struct msg *m,
			      unsigned runs); /* attempts of earlier runs whose answer nobody saw */

/* -- ack.c -- */
void hm_ack_wait(struct hm_dispatch *d, uint64_t ticket, struct job *j, uint32_t slot);
void hm_ack_durable(void *arg, uint64_t ticket);
void hm_ack_entry(struct hm_dispatch *d, uint32_t partition, enum hm_lane lane, const char *entry,
		  size_t len);
void hm_ack_flush(struct hm_flush *f);
bool hm_ack_idle(const struct hm_dispatch *d);
bool hm_ack_init(struct hm_dispatch *d);
void hm_ack_fini(struct hm_dispatch *d);

void hm_dispatch_check_drained(struct hm_dispatch *d);
void hm_msg_drop(struct msg *m); /* while draining: it goes back with its entry */
struct runtime_ref *hm_runtime_ref_get(struct runtime_ref *r);
void hm_runtime_ref_put(struct runtime_ref *r);

#endif
