/*
 * escalate.c - sent, but not delivered or read in time: the next step of the route
 *
 *   accepted ─▶ interim record ─▶ PUT: Redis knows that it waits ─▶ aside (aside.c) until `after`
 *                                  │ the receipt was faster            │ due, or released by a receipt
 *                                  ▼                                   ▼
 *                               settled                  CLAIM: has a receipt come?
 *                                                          │ yes: settled    │ no: gone on with the next step
 *
 * `{hm:p}:wait:<message id>`, p the partition of the message id, is where receipts and the wait meet, whatever stream,
 * node or shard the message waits in. Its value:
 *
 *   w <level> <partition> <lane>               it waits for a receipt of at least that level; where its entry is
 *   r <level> <at> <partition> <lane>          a receipt has come that ends the wait (level 0: it did not arrive)
 *   g                                          nothing came in time; it has gone on
 *   e <level> <at>                             a receipt that was here before the wait
 *
 * Whichever of CLAIM and the receipt (ingest/receipts.c) is first decides, because each is one script: after `g` a
 * receipt only adds to the record, after `r` nothing more is sent. CLAIM gives the same answer when it is asked again, so
 * that it may be repeated after a crash. The key goes some time after the message must be final.
 *
 * A crash between the provider's yes and the record: the message is among those in flight, its attempt `unknown`. After
 * the record: the timeline of the redelivered message says that it waits, since when, and it goes on waiting.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "dispatch/dispatch_int.h"
#include "ingest/receipts.h"

#define ESCALATE_MAGIC 0x6573636cu
#define RETRY_MS       200
#define LEAST_MS       1500	/* a shorter wait would be spent in memory, where no receipt finds it */
#define KEEP_MS	       3600000u /* the key, behind the message's expiry */

struct msg_wait {
	uint32_t magic;
	struct hm_dispatch *d;
	struct msg *m; /* NULL: it was dropped while the command was under way */
	bool claim, asked;
	uint64_t due_ms;
	struct hm_timer again;
};

static struct hm_redis_script put_script = {
	.name = "wait_put",
	/* KEYS: wait; ARGV: level, partition, lane, ms to keep. Returns what is known already: "" or "r ..." or "g". */
	.source = "local v = redis.call('GET', KEYS[1])\n"
		  "if v then\n"
		  "  local what, level, at = string.match(v, '^(%a) ?(%d*) ?(%d*)')\n"
		  "  if what == 'r' or what == 'g' then return v end\n"
		  "  if what == 'e' and (level == '0' or tonumber(level) >= tonumber(ARGV[1])) then\n"
		  "    v = 'r ' .. level .. ' ' .. at .. ' ' .. ARGV[2] .. ' ' .. ARGV[3]\n"
		  "    redis.call('SET', KEYS[1], v, 'PX', ARGV[4])\n"
		  "    return v\n"
		  "  end\n"
		  "end\n"
		  "redis.call('SET', KEYS[1], 'w ' .. ARGV[1] .. ' ' .. ARGV[2] .. ' ' .. ARGV[3], 'PX', "
		  "ARGV[4])\n"
		  "return ''\n",
};
static struct hm_redis_script claim_script = {
	.name = "wait_claim",
	/* KEYS: wait; ARGV: level, ms to keep. Returns "" (nobody waits), "g", or "r ...". */
	.source = "local v = redis.call('GET', KEYS[1])\n"
		  "if not v then return '' end\n"
		  "local what, level, at = string.match(v, '^(%a) ?(%d*) ?(%d*)')\n"
		  "if what == 'r' or what == 'g' then return v end\n"
		  "if what == 'e' and (level == '0' or tonumber(level) >= tonumber(ARGV[1])) then\n"
		  "  return 'r ' .. level .. ' ' .. at .. ' 0 0'\n"
		  "end\n"
		  "redis.call('SET', KEYS[1], 'g', 'PX', ARGV[2])\n"
		  "return 'g'\n",
};

static void ask(struct msg_wait *w);

static void on_again(struct hm_timer *t)
{
	ask(hm_container_of(t, struct msg_wait, again));
}

void hm_escalate_init(struct hm_dispatch *d)
{
	hm_list_init(&d->escalating);
	hm_slab_init(&d->wait_slab, "waits for receipts", sizeof(struct msg_wait), 0);
}

static void wait_free(struct msg_wait *w)
{
	struct hm_dispatch *d = w->d;

	HM_CHECK(w, ESCALATE_MAGIC);
	hm_timer_stop(d->t, &w->again);
	HM_MAGIC_CLEAR(w);
	hm_slab_free(&d->wait_slab, w);
}

/* Off the list; the message is nowhere then. */
static void let_go(struct msg_wait *w)
{
	struct msg *m = w->m;

	hm_assert(m->where == MSG_ESCALATING);
	hm_list_remove(&w->d->escalating, &m->node);
	m->where = MSG_NOWHERE;
	m->wait = NULL;
	w->m = NULL;
}

void hm_escalate_drop(struct hm_dispatch *d)
{
	struct hm_node *n;

	while ((n = hm_list_first(&d->escalating)) != NULL) {
		struct msg *m = hm_container_of(n, struct msg, node);
		struct msg_wait *w = m->wait;

		let_go(w);
		if (!w->asked) /* else its answer frees it */
			wait_free(w);
		m->job->stays = true; /* its wait may not be noted in Redis */
		hm_msg_drop(m);
	}
}

/* The step whose receipt it waits for. */
static const struct hm_route_step *waited_for(const struct msg *m)
{
	hm_assert(m->route_pos > 0);
	return &m->route->steps[m->route_pos - 1];
}

/* -- what has come ---------------------------------------------------------------------------------- */

static void settled(struct msg *m, unsigned level, uint64_t at_ms)
{
	const struct hm_route_step *s = waited_for(m);
	struct hm_str why = HM_STR_NULL;
	struct hm_buf b;

	hm_buf_init_arena(&b, &m->job->d->t->scratch, 256);
	for (int r = 0; r < HM_RC_COUNT; r++)
		if (hm_receipt_level((enum hm_receipt)r) == level)
			hm_receipt_note(&b, (enum hm_receipt)r, at_ms, s->channel);
	m->unclaimed = false;
	(void)hm_route_reached(m, &why, false);
	hm_settle_final(m, HM_ST_DELIVERED, hm_buf_str(&b));
}

static void go_on(struct msg *m)
{
	struct hm_dispatch *d = m->job->d;
	const struct hm_route_step *s = waited_for(m);
	struct hm_str why = HM_STR_NULL;

	(void)hm_fault(HM_FAULT_escalate_go_on);
	m->unclaimed = false;
	if (!hm_route_resume(m, &why)) {
		hm_settle_final(m, HM_ST_FAILED, /* sent it is: hm_route_reached */
				hm_arena_printf(&d->t->scratch,
						"not %s in time, and no further step is possible",
						hm_receipt_name(s->unless)));
		return;
	}
	if (m->job->spec.res.there)
		hm_aside_chosen(m);
	if (hm_pump_goes_on(m) && hm_gates_pass(m))
		hm_msg_go(m);
}

/* -- asking ----------------------------------------------------------------------------------------- */

static void answered(struct msg_wait *w, struct hm_str v)
{
	struct hm_dispatch *d = w->d;
	struct msg *m = w->m;
	struct hm_str word, level_text, at_text;
	uint64_t level = 0, at = 0, due = w->due_ms;
	bool claim = w->claim, come = false, gone;

	(void)hm_str_split(&v, ' ', &word);
	gone = hm_str_is(word, "g");
	if (hm_str_is(word, "r")) {
		come = hm_str_split(&v, ' ', &level_text) && hm_str_u64(level_text, &level);
		if (!hm_str_split(&v, ' ', &at_text) || !hm_str_u64(at_text, &at))
			at = d->t->wall_ms;
	}
	let_go(w);
	wait_free(w);
	m->reached |= come || gone;
	if (come && level > 0) {
		settled(m, (unsigned)level, at);
	} else if (claim || come || gone) {
		if (come || gone)
			hm_stats_inc(d->t->stats, HM_CT_ESCALATED);
		go_on(m);
	} else {
		struct hm_str next = m->chan->info->name;
		char until[25];

		(void)hm_fault(HM_FAULT_escalate_put);
		hm_clock_rfc3339(due, until);
		hm_aside_msg(m, hm_max(due, d->t->wall_ms + LEAST_MS),
			     hm_arena_printf(&d->t->scratch,
					     "sent by %.*s; %.*s follows unless it is %s by %s",
					     HM_STRF(waited_for(m)->channel), HM_STRF(next),
					     hm_receipt_name(waited_for(m)->unless), until));
	}
	hm_pump_later(d);
	hm_dispatch_check_drained(d);
}

static void on_reply(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct msg_wait *w = arg;

	HM_CHECK(w, ESCALATE_MAGIC);
	w->asked = false;
	if (w->m == NULL) {
		wait_free(w);
		return;
	}
	if (reply != NULL && reply->type == HM_REPLY_STR) {
		answered(w, reply->s);
		return;
	}
	if (err != NULL && err->code == HM_EREDIS)
		HM_ERROR(DISPATCH, "a wait for a receipt cannot be noted; tried again", HM_E(err));
	hm_timer_start(w->d->t, &w->again, RETRY_MS);
}

static void ask(struct msg_wait *w)
{
	struct hm_dispatch *d = w->d;
	struct msg *m = w->m;
	uint64_t now = d->t->wall_ms, end = hm_max(m->job->expires_ms, w->due_ms);
	char key[160], level[16], part[16], lane[16], keep[24];
	struct hm_str k, args[4];

	if (!d->redis_up) {
		hm_timer_start(d->t, &w->again, RETRY_MS);
		return;
	}
	k = hm_str_n(key, hm_receipt_wait_key(d->o.prefix, &m->id, d->o.partitions, key, sizeof(key)));
	snprintf(level, sizeof(level), "%u", hm_receipt_level(waited_for(m)->unless));
	snprintf(part, sizeof(part), "%u", m->job->partition);
	snprintf(lane, sizeof(lane), "%u", m->job->lane);
	snprintf(keep, sizeof(keep), "%llu", (unsigned long long)((end > now ? end - now : 0) + KEEP_MS));
	args[0] = hm_str_c(level);
	w->asked = true;
	if (w->claim) {
		args[1] = hm_str_c(keep);
		hm_redis_eval(d->deps.redis, &claim_script, &k, 1, args, 2, on_reply, w);
		return;
	}
	args[1] = hm_str_c(part);
	args[2] = hm_str_c(lane);
	args[3] = hm_str_c(keep);
	hm_redis_eval(d->deps.redis, &put_script, &k, 1, args, 4, on_reply, w);
}

static struct msg_wait *wait_new(struct msg *m, bool claim, uint64_t due_ms)
{
	struct hm_dispatch *d = m->job->d;
	struct msg_wait *w = hm_slab_alloc(&d->wait_slab);

	if (w == NULL)
		return NULL;
	memset(w, 0, sizeof(*w));
	HM_MAGIC_SET(w, ESCALATE_MAGIC);
	w->d = d;
	w->m = m;
	w->claim = claim;
	w->due_ms = due_ms;
	hm_timer_init(&w->again, on_again);
	m->wait = w;
	m->where = MSG_ESCALATING;
	hm_list_push(&d->escalating, &m->node);
	return w;
}

void hm_escalate_begin(struct msg *m, uint64_t due_ms)
{
	struct hm_dispatch *d = m->job->d;
	uint8_t pos = m->route_pos;
	struct hm_str why = HM_STR_NULL;
	struct msg_wait *w;

	hm_assert(m->where == MSG_NOWHERE && m->reached);
	if (m->interim == false || m->slot != HM_INFLIGHT_NONE) /* else its record says so already */
		(void)hm_settle_interim(m, hm_arena_printf(&d->t->scratch, "sent; waits until it is %s",
							   hm_receipt_name(m->route->steps[pos].unless)));
	m->interim = true;
	(void)hm_fault(HM_FAULT_escalate_recorded);
	/* It stands before the next channel while it waits: whatever brings it back asks for the receipt first. */
	if (!hm_route_resume(m, &why)) {
		hm_settle_final(m, HM_ST_SENT, HM_STR_NULL);
		return;
	}
	hm_route_msg_fini(m); /* the next step's time has not begun */
	m->step_until_ms = 0;
	m->route_pos = (uint8_t)(pos + 1);
	m->unclaimed = true;
	w = wait_new(m, false, due_ms);
	if (w == NULL) {
		hm_settle_final(m, HM_ST_SENT, HM_STR("out of memory: nobody waits for its receipt"));
		return;
	}
	ask(w);
}

void hm_escalate_claim(struct msg *m)
{
	struct msg_wait *w;

	hm_assert(m->where == MSG_NOWHERE);
	w = wait_new(m, true, 0);
	if (w == NULL) {
		m->where = MSG_NOWHERE;
		hm_settle_final(m, HM_ST_FAILED, HM_STR("out of memory"));
		return;
	}
	ask(w);
}
