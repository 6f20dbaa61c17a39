/*
 * aside.c - messages that wait long, in Redis instead of in memory
 *
 *   hm_aside_msg ▶ interim record ▶ durable ▶ one script per partition ▶ the message is an entry of its own
 *
 * The script writes the entry into `{hm:p}:delayed` (delay.c brings it back when it is due) and, in the same step,
 * notes in `{hm:p}:away` that these recipients have left the entry they came with: field "<lane>:<entry id>", value
 * " first+n first+n ...". Both lie on the slot of that entry, so a message is in exactly one place whatever dies when:
 * an entry that is delivered again is worked on without those who are away (hm_aside_look). When the message was the last
 * of its entry, the entry is acknowledged by the script instead. The script does nothing for an entry that is
 * no longer pending under a name of this consumer (another node has taken it over), and nothing twice: an answer that was lost
 * is asked for again.
 *
 * The entry of a message carries `res` (ingest/job.h): what the ledger does not know, or may not know on
 * the node it comes back to. Its id is the message's, its acceptance is the first entry's.
 *
 * Recipients of one job that follow each other, wait for the same moment and have nothing behind them share an entry.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/log.h"
#include "dispatch/cancel.h"
#include "dispatch/dispatch_int.h"

#define ASIDE_MAGIC	0x61736964u
#define ASIDE_CMD_MAGIC 0x61736363u
#define ITEMS_MAX	100	   /* per script */
#define BYTES_MAX	(4u << 20) /* of payloads per script, and one more */
#define ITEM_ARGS	7
#define RETRY_MS	200
#define SHORT_MS	1000 /* a wait that is not worth a way to Redis and back */

struct aside { /* recipients on their way out */
	uint32_t magic;
	struct hm_node
		node; /* asides.undurable in the order of tickets, .untold, .ready[partition], or cmd.items */
	struct job *job;
	uint32_t index, n;
	uint64_t ticket, due_ms, expires_ms;
	uint32_t attempts;
	struct hm_job_resume res;
	char mark[HM_MARK_TEXT]; /* the pause it waits for, or empty */
	bool plain;		 /* nothing behind it */
};

struct cmd { /* one script under way */
	uint32_t magic;
	struct hm_dispatch *d;
	uint32_t partition;
	struct hm_list items;
	uint64_t whole; /* bit i: the entry of item i is acknowledged with it */
	uint64_t whole2;
};
_Static_assert(ITEMS_MAX <= 128, "cmd.whole");

struct hm_asides {
	struct hm_dispatch *d;
	struct hm_slab slab;
	struct hm_list undurable;
	struct hm_list
		untold; /* durable; another node is to be told first that their job is here (moves.c) */
	struct hm_list *ready;	/* by partition */
	uint32_t open, waiting; /* scripts under way; items not confirmed */
	struct hm_flush flush;
	struct hm_timer retry;
};

static struct hm_redis_script put_script = {
	.name = "aside_put",
	/* KEYS: delayed, payloads, away, one stream per lane; ARGV: group, me, then per item: lane, entry, "first+n" or
	 * empty (acknowledge the entry), due, member, payload, mark it is paused by or empty.
	 * Returns per item 1, or 0: the entry is not ours. */
	.source = "local base = string.sub(KEYS[1], 1, -8)\n"
		  "local out = {}\n"
		  "for i = 3, #ARGV, 7 do\n"
		  "  local l, id, tok = ARGV[i], ARGV[i + 1], ARGV[i + 2]\n"
		  "  local s, f = KEYS[4 + tonumber(l)], l .. ':' .. id\n"
		  "  local p = redis.pcall('XPENDING', s, ARGV[1], id, id, 1)\n"
		  "  local marks = redis.call('HGET', KEYS[3], f) or ' '\n"
		  "  if p.err or not p[1] or (p[1][2] ~= ARGV[2] and p[1][2] ~= ARGV[2] .. '+') then\n"
		  "    out[#out + 1] = 0\n"
		  "  else\n"
		  "    out[#out + 1] = 1\n"
		  "    if tok == '' or not string.find(marks, ' ' .. tok .. ' ', 1, true) then\n"
		  "      redis.call('HSET', KEYS[2], ARGV[i + 4], ARGV[i + 5])\n"
		  "      redis.call('ZADD', KEYS[1], ARGV[i + 3], ARGV[i + 4])\n"
		  "      local mark = ARGV[i + 6]\n"
		  "      if mark ~= '' then\n"
		  "        redis.call('ZADD', base .. 'paused:' .. mark, ARGV[i + 3], ARGV[i + 4])\n"
		  "        redis.call('SADD', base .. 'paused', mark)\n"
		  "      end\n"
		  "      if tok == '' then\n"
		  "        redis.call('XACK', s, ARGV[1], id)\n"
		  "        redis.call('XDEL', s, id)\n"
		  "        redis.call('HDEL', KEYS[3], f)\n"
		  "        redis.call('HDEL', base .. 'taken', f)\n"
		  "      else\n"
		  "        redis.call('HSET', KEYS[3], f, marks .. tok .. ' ')\n"
		  "      end\n"
		  "    end\n"
		  "  end\n"
		  "end\n"
		  "return out\n",
};

/* -- life ------------------------------------------------------------------------------------------ */

static void send_ready(struct hm_flush *f);

static void on_retry(struct hm_timer *t)
{
	struct hm_asides *a = hm_container_of(t, struct hm_asides, retry);

	hm_flush_later(a->d->t, &a->flush);
}

bool hm_aside_init(struct hm_dispatch *d)
{
	struct hm_asides *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return false;
	a->ready = calloc(d->o.partitions, sizeof(*a->ready));
	if (a->ready == NULL) {
		free(a);
		return false;
	}
	a->d = d;
	hm_slab_init(&a->slab, "messages put aside", sizeof(struct aside), 0);
	hm_list_init(&a->undurable);
	hm_list_init(&a->untold);
	for (uint32_t p = 0; p < d->o.partitions; p++)
		hm_list_init(&a->ready[p]);
	hm_flush_init(&a->flush, send_ready);
	hm_timer_init(&a->retry, on_retry);
	d->aside = a;
	return true;
}

void hm_aside_fini(struct hm_dispatch *d)
{
	struct hm_asides *a = d->aside;

	if (a == NULL)
		return;
	hm_flush_cancel(d->t, &a->flush);
	hm_timer_stop(d->t, &a->retry);
	hm_aside_drop(d);
	hm_slab_fini(&a->slab);
	free(a->ready);
	free(a);
	d->aside = NULL;
}

static void item_free(struct hm_asides *a, struct aside *x)
{
	HM_CHECK(x, ASIDE_MAGIC);
	if (x->job->last_aside == x)
		x->job->last_aside = NULL;
	HM_MAGIC_CLEAR(x);
	a->waiting--;
	hm_slab_free(&a->slab, x);
}

static void drop_list(struct hm_asides *a, struct hm_list *l)
{
	struct hm_node *n;

	while ((n = hm_list_pop(l)) != NULL)
		item_free(a, hm_container_of(n, struct aside, node));
}

/* Their entries stay pending and come back; what they have behind them is recorded. */
void hm_aside_drop(struct hm_dispatch *d)
{
	drop_list(d->aside, &d->aside->undurable);
	drop_list(d->aside, &d->aside->untold);
	for (uint32_t p = 0; p < d->o.partitions; p++)
		drop_list(d->aside, &d->aside->ready[p]);
}

bool hm_aside_idle(const struct hm_dispatch *d)
{
	return d->aside->open == 0;
}

bool hm_aside_room(const struct hm_dispatch *d)
{
	return d->aside->waiting < d->o.max_in_flight;
}

size_t hm_aside_count(const struct hm_dispatch *d)
{
	return d->aside->waiting;
}

/* -- out ------------------------------------------------------------------------------------------- */

static bool joins(const struct aside *x, const struct msg *m, uint64_t due_ms, struct hm_str mark)
{
	return x != NULL && x->plain && x->due_ms == due_ms && x->index + x->n == m->index &&
	       hm_str_is(mark, x->mark);
}

static void put_aside(struct msg *m, uint64_t until_ms, uint64_t expires_ms, struct hm_str mark,
		      struct hm_str why)
{
	struct job *j = m->job;
	struct hm_dispatch *d = j->d;
	struct hm_asides *a = d->aside;
	struct aside *x = j->last_aside;
	bool plain = m->attempts == 0 && m->route_pos == 0 && m->part == 0 && !m->rerouted && !m->reached &&
		     !m->reserved;
	uint64_t due = expires_ms != 0 ? hm_min(until_ms, expires_ms) : until_ms;
	uint64_t ticket;

	HM_CHECK(m, HM_MSG_MAGIC);
	hm_assert(m->where == MSG_NOWHERE && !hm_node_linked(&m->node));
	if (!plain || !joins(x, m, due, mark)) {
		x = hm_slab_alloc(&a->slab);
		if (x == NULL) { /* the entry stays pending; it comes back to this consumer or another */
			HM_ERROR(DISPATCH, "a message cannot be put aside: out of memory");
			if (d->draining) {
				hm_msg_drop(m);
				return;
			}
			j->unrecorded = true; /* read again, when the others have ended */
			(void)hm_settle_interim(m, why);
			hm_msg_free(m);
			hm_job_maybe_done(j);
			return;
		}
		memset(x, 0, sizeof(*x));
		HM_MAGIC_SET(x, ASIDE_MAGIC);
		x->job = j;
		x->index = m->index;
		x->due_ms = due;
		x->expires_ms = expires_ms;
		x->plain = plain;
		x->attempts = m->attempts;
		x->res = (struct hm_job_resume){
			.there = true,
			.held = m->reserved,
			.sent = m->reached,
			.job = j->origin,
			.accepted_ms = j->accepted_ms,
			.hop = j->hop,
			.chan = m->chan != NULL && !plain ? m->chan->info->name : HM_STR_NULL,
			.route = m->rerouted && m->route != NULL ? m->route->name : HM_STR_NULL,
			.pos = m->route_pos,
			.chan_attempts = m->chan_attempts,
			.parts = m->part,
		};
		snprintf(x->mark, sizeof(x->mark), "%.*s", HM_STRF(mark));
		a->waiting++;
	} else {
		hm_list_remove(&a->undurable, &x->node);
	}
	ticket = hm_settle_interim(m, why);
	x->ticket = ticket ? ticket : d->durable;
	x->n++;
	j->last_aside = x;
	j->owed++;
	j->leaving++;
	hm_list_push(&a->undurable, &x->node);
	hm_msg_free(m);
	(void)hm_fault(HM_FAULT_aside_before);
	if (d->draining && !d->redis_up) { /* it comes back with its entry */
		j->handed_back = j->stays = true;
		hm_list_remove(&a->undurable, &x->node);
		item_free(a, x);
	} else if (x->ticket <= d->durable) {
		hm_flush_later(d->t, &a->flush);
	}
	hm_dispatch_check_drained(d);
	hm_pump_later(d);
}

void hm_aside_msg(struct msg *m, uint64_t until_ms, struct hm_str why)
{
	uint64_t now = m->job->d->t->wall_ms;

	if (until_ms <= now + SHORT_MS && m->chan != NULL)
		hm_settle_hold(m, until_ms > now ? until_ms - now : 1, why);
	else
		put_aside(m, until_ms, m->job->expires_ms, HM_STR_NULL, why);
}

void hm_aside_scheduled(struct msg *m, uint64_t due_ms)
{
	const struct job *j = m->job;

	put_aside(m, due_ms, j->spec.expires_ms ? j->spec.expires_ms : due_ms + j->d->o.default_deadline_ms,
		  HM_STR_NULL, HM_STR("scheduled"));
}

void hm_aside_paused(struct msg *m, struct hm_str mark)
{
	put_aside(m, UINT64_MAX >> 16, m->job->expires_ms, mark,
		  hm_arena_printf(&m->job->d->t->scratch, "paused: %.*s", HM_STRF(mark)));
}

/* -- to Redis -------------------------------------------------------------------------------------- */

static void put_back(struct cmd *c)
{
	struct hm_asides *a = c->d->aside;
	struct hm_list *to = &a->ready[c->partition];

	hm_list_splice(&c->items, to);
	hm_list_splice(to, &c->items);
	if (c->d->draining && !c->d->redis_up)
		drop_list(a, to);
	else if (!hm_timer_armed(&a->retry))
		hm_timer_start(c->d->t, &a->retry, RETRY_MS);
}

static void confirmed(struct hm_asides *a, struct aside *x, bool whole, bool ours)
{
	struct job *j = x->job;

	j->leaving -= x->n;
	j->owed -= x->n;
	item_free(a, x);
	if (whole) {
		hm_job_free(j); /* its entry is acknowledged, or somebody else's */
		return;
	}
	if (ours)
		j->has_away = true;
	else
		j->taken = true;
	hm_job_maybe_done(j);
}

static bool is_whole(const struct cmd *c, uint32_t i)
{
	return ((i < 64 ? c->whole >> i : c->whole2 >> (i - 64)) & 1) != 0;
}

static void on_put(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct cmd *c = arg;
	struct hm_dispatch *d = c->d;
	struct hm_asides *a = d->aside;
	struct hm_node *n;
	uint32_t i = 0;

	HM_CHECK(c, ASIDE_CMD_MAGIC);
	(void)hm_fault(HM_FAULT_aside_after);
	a->open--;
	if (reply == NULL || reply->type != HM_REPLY_ARRAY || reply->n != c->items.len) {
		if (err != NULL && err->code == HM_EREDIS)
			HM_ERROR(DISPATCH, "messages cannot be put aside; tried again", HM_E(err));
		put_back(c);
	} else {
		while ((n = hm_list_pop(&c->items)) != NULL) {
			confirmed(a, hm_container_of(n, struct aside, node), is_whole(c, i),
				  reply->v[i].i == 1);
			i++;
		}
	}
	HM_MAGIC_CLEAR(c);
	free(c);
	hm_pump_later(d);
	hm_dispatch_check_drained(d);
}

static bool encode(const struct aside *x, struct hm_buf *b, struct hm_ulid *id)
{
	const struct job *j = x->job;
	struct hm_dispatch *d = j->d;
	struct hm_job_spec s = j->spec;

	*id = j->id;
	hm_ulid_add(id, j->spec.n0 + x->index);
	s.n0 = 0;
	s.attempts = x->attempts;
	s.expires_ms = x->expires_ms; /* as it was reckoned: its time does not begin again */
	s.at_local = HM_STR_NULL;     /* they have been reckoned into the time it is due */
	s.local_past = HM_LOCAL_NOW;
	s.over_ms = 0;
	if (s.at_ms >= s.expires_ms)
		s.at_ms = 0;
	s.res = x->res;
	hm_buf_init_arena(b, &d->t->scratch, HM_JOB_MAX_BYTES);
	/* It is in this node's books, whoever accepted it: who works on it next tells this node. */
	hm_job_put_entry(b, &s, id,
			 hm_str_eq(hm_job_acc_node(&j->spec), d->deps.node_id) ? s.acc
									       : hm_str_n(d->acc, d->acc_len),
			 x->index, x->n);
	return b->err == 0;
}

/* All of the entry that is left leaves with this item, and the rest is final and durable: nothing of it is to be handed back. */
static bool leaves_whole(const struct aside *x)
{
	const struct job *j = x->job;

	return j->cursor == j->spec.n_rcpts && j->open == 0 && j->leaving == x->n && j->owed == j->leaving &&
	       j->ticket <= j->d->durable && !j->unrecorded && !j->taken && !j->handed_back;
}

static void send_partition(struct hm_dispatch *d, uint32_t p)
{
	struct hm_asides *a = d->aside;
	char k[3 + HM_LANE_COUNT][128], (*text)[3][48] = NULL;
	struct hm_str keys[3 + HM_LANE_COUNT], *args;
	struct cmd *c = calloc(1, sizeof(*c));
	size_t bytes = 0, n = 0;

	args = hm_arena_alloc(&d->t->scratch, (2 + ITEMS_MAX * ITEM_ARGS) * sizeof(*args));
	text = hm_arena_alloc(&d->t->scratch, ITEMS_MAX * sizeof(*text));
	if (c == NULL || args == NULL || text == NULL) {
		free(c);
		hm_timer_start(d->t, &a->retry, RETRY_MS);
		return;
	}
	HM_MAGIC_SET(c, ASIDE_CMD_MAGIC);
	c->d = d;
	c->partition = p;
	hm_list_init(&c->items);
	keys[0] = hm_str_n(k[0], hm_job_key(d->o.prefix, p, "delayed", k[0], sizeof(k[0])));
	keys[1] = hm_str_n(k[1], hm_job_key(d->o.prefix, p, "delayed:j", k[1], sizeof(k[1])));
	keys[2] = hm_str_n(k[2], hm_job_key(d->o.prefix, p, "away", k[2], sizeof(k[2])));
	for (int l = 0; l < HM_LANE_COUNT; l++)
		keys[3 + l] = hm_str_n(k[3 + l], hm_job_stream_key(d->o.prefix, p, (enum hm_lane)l, k[3 + l],
								   sizeof(k[3 + l])));
	args[n++] = d->o.group;
	args[n++] = hm_str_c(d->consumer);
	while (c->items.len < ITEMS_MAX && bytes < BYTES_MAX && !hm_list_empty(&a->ready[p])) {
		struct hm_node *node = hm_list_first(&a->ready[p]);
		struct aside *x = hm_container_of(node, struct aside, node);
		size_t i = c->items.len;
		char id_text[HM_ULID_TEXT + 1];
		struct hm_ulid id;
		struct hm_buf b;
		bool whole;

		HM_CHECK(x, ASIDE_MAGIC);
		if (!encode(x, &b, &id)) {
			hm_timer_start(d->t, &a->retry, RETRY_MS); /* out of memory */
			break;
		}
		hm_list_remove(&a->ready[p], node);
		hm_list_push(&c->items, node);
		if (x->job->last_aside == x)
			x->job->last_aside = NULL; /* nobody joins any more */
		whole = leaves_whole(x);
		if (whole && i < 64)
			c->whole |= UINT64_C(1) << i;
		else if (whole)
			c->whole2 |= UINT64_C(1) << (i - 64);
		hm_ulid_text(&id, id_text);
		if (whole)
			text[i][0][0] = '\0';
		else
			snprintf(text[i][0], sizeof(text[i][0]), "%u+%u", x->index, x->n);
		snprintf(text[i][1], sizeof(text[i][1]), "%llu", (unsigned long long)x->due_ms);
		snprintf(text[i][2], sizeof(text[i][2]), "%u:%s", x->job->lane, id_text);
		args[n++] = hm_str_n(text[i][2], 1);
		args[n++] = hm_str_n(x->job->entry, x->job->entry_len);
		args[n++] = hm_str_c(text[i][0]);
		args[n++] = hm_str_c(text[i][1]);
		args[n++] = hm_str_c(text[i][2]);
		args[n++] = hm_buf_str(&b);
		args[n++] = hm_str_c(x->mark);
		bytes += b.len;
	}
	if (c->items.len == 0) {
		HM_MAGIC_CLEAR(c);
		free(c);
		return;
	}
	a->open++;
	(void)hm_fault(HM_FAULT_aside_put);
	hm_redis_eval(d->deps.redis, &put_script, keys, hm_countof(keys), args, n, on_put, c);
}

static void send_ready(struct hm_flush *f)
{
	struct hm_asides *a = hm_container_of(f, struct hm_asides, flush);
	struct hm_dispatch *d = a->d;
	struct hm_node *n;

	hm_list_foreach_safe (&a->untold, node, tmp) {
		const struct job *j = hm_container_of(node, struct aside, node)->job;

		if (j->untold > 0)
			continue;
		hm_list_remove(&a->untold, node);
		hm_list_push(&a->ready[j->partition], node);
	}
	while ((n = hm_list_first(&a->undurable)) != NULL) {
		struct aside *x = hm_container_of(n, struct aside, node);

		if (x->ticket > d->durable)
			break;
		hm_list_remove(&a->undurable, n);
		if (x->job->last_aside == x)
			x->job->last_aside = NULL;
		hm_list_push(x->job->untold > 0 ? &a->untold : &a->ready[x->job->partition], n);
	}
	if (!d->redis_up) {
		hm_timer_start(d->t, &a->retry, RETRY_MS);
		return;
	}
	if (hm_timer_armed(&a->retry))
		return; /* the last try failed a moment ago */
	for (uint32_t p = 0; p < d->o.partitions; p++)
		while (!hm_list_empty(&a->ready[p]) && !hm_timer_armed(&a->retry))
			send_partition(d, p);
}

void hm_aside_durable(struct hm_dispatch *d)
{
	if (!hm_list_empty(&d->aside->undurable))
		hm_flush_later(d->t, &d->aside->flush);
}

void hm_aside_told(struct hm_dispatch *d)
{
	if (!hm_list_empty(&d->aside->untold))
		hm_flush_later(d->t, &d->aside->flush);
}

/* -- back ------------------------------------------------------------------------------------------ */

bool hm_aside_run(const struct job *j, uint32_t *first, uint32_t *n)
{
	uint32_t i = *first, end;

	while (i < j->spec.n_rcpts && j->away != NULL && (j->away[i >> 3] & (1u << (i & 7))))
		i++;
	for (end = i; end < j->spec.n_rcpts; end++)
		if (j->away != NULL && (j->away[end >> 3] & (1u << (end & 7))))
			break;
	*first = i;
	*n = end - i;
	return end > i;
}

/* What the entry says, before a channel is chosen. */
void hm_aside_restore(struct msg *m)
{
	const struct hm_job_resume *r = &m->job->spec.res;
	const struct hm_route *to;

	m->route_pos = (uint8_t)hm_min(r->pos, 255u);
	m->maybe_repeat = true;
	m->reached = r->sent;
	if (r->route.len == 0)
		return;
	m->rerouted = true;
	to = hm_config_route(m->job->rt->rt->cfg, r->route);
	if (to != NULL)
		m->route = to;
	else
		m->route_pos =
			0; /* the route is gone from the configuration: from the beginning of its own */
}

/* Parts another node has sent are not in the ledger here. */
static void restore_parts(struct msg *m, const struct hm_job_resume *r)
{
	struct hm_ledger_attempt a = {
		.channel = m->chan->info->name,
		.outcome = HM_OUT_OK,
		.at_ms = m->job->d->t->wall_ms,
		.reason = HM_STR("sent by the node that had it before"),
	};

	for (uint32_t n = hm_settle_parts_sent(m); n < r->parts; n++)
		hm_settle_remember(m, &a);
	if (r->parts > 0) {
		m->part = hm_settle_parts_sent(m);
		m->parts = (uint8_t)(m->part + 1);
	}
}

/* And after: on the same channel it goes on counting. */
void hm_aside_chosen(struct msg *m)
{
	const struct hm_job_resume *r = &m->job->spec.res;

	if (!hm_str_eq(r->chan, m->chan->info->name))
		return;
	restore_parts(m, r);
	m->chan_attempts = (uint8_t)hm_min(r->chan_attempts, 255u);
	m->reserved = r->held;
}

static void on_away(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct job *j = arg;
	struct hm_dispatch *d = j->d;
	struct hm_str rest, tok, first;

	HM_CHECK(j, HM_JOB_MAGIC);
	d->rechecks--;
	if (reply == NULL || d->draining) {
		if (reply == NULL && err->code == HM_EREDIS)
			HM_ERROR(INGEST,
				 "a redelivered entry cannot be compared with what was put aside; it stays "
				 "pending",
				 HM_E(err));
		hm_pull_again(d, j->partition, (enum hm_lane)j->lane);
		hm_job_free(j);
		hm_dispatch_check_drained(d);
		return;
	}
	rest = reply->type == HM_REPLY_STR ? reply->s : HM_STR_NULL;
	if (rest.len > 0) {
		j->away = hm_arena_zalloc(&j->arena, (j->spec.n_rcpts + 7) / 8);
		if (j->away == NULL) {
			hm_pull_again(d, j->partition, (enum hm_lane)j->lane);
			hm_job_free(j);
			hm_dispatch_check_drained(d);
			return;
		}
	}
	while (hm_str_split(&rest, ' ', &tok)) {
		uint64_t from, n;

		if (!hm_str_split(&tok, '+', &first) || !hm_str_u64(first, &from) || !hm_str_u64(tok, &n))
			continue;
		for (uint64_t i = from; i < from + n && i < j->spec.n_rcpts; i++) {
			j->done[i >> 3] = (uint8_t)(j->done[i >> 3] | (1u << (i & 7)));
			j->away[i >> 3] = (uint8_t)(j->away[i >> 3] | (1u << (i & 7)));
		}
		j->has_away = true;
	}
	hm_dead_recall(j);
	hm_dispatch_check_drained(d);
}

/* Who of a redelivered entry is away? Then dead.c. Counted in d.rechecks. */
void hm_aside_look(struct job *j)
{
	struct hm_dispatch *d = j->d;
	char key[128], field[ENTRY_ID_MAX + 4];
	struct hm_str argv[3] = {HM_STR("HGET")};

	hm_assert(j->done != NULL);
	if (!j->redelivered) { /* new, with res */
		hm_dead_recall(j);
		return;
	}
	argv[1] = hm_str_n(key, hm_job_key(d->o.prefix, j->partition, "away", key, sizeof(key)));
	argv[2] = hm_str_n(field, (size_t)snprintf(field, sizeof(field), "%u:%.*s", j->lane,
						   (int)j->entry_len, j->entry));
	d->rechecks++;
	hm_redis_send(d->deps.redis, argv[1], argv, 3, on_away, j);
}

static void on_forgotten(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	(void)arg; /* without an answer the sweep of delay.c finds it */
	(void)reply;
	(void)err;
}

/* The entries (length byte + text, repeated) are deleted from their stream: who was away, or had them, does not matter any more. */
void hm_aside_forget(struct hm_dispatch *d, uint32_t partition, uint8_t lane, struct hm_str ids,
		     const char *what)
{
	char key[128];
	struct hm_str argv[2 + ITEMS_MAX];
	size_t at = 0;

	argv[0] = HM_STR("HDEL");
	argv[1] = hm_str_n(key, hm_job_key(d->o.prefix, partition, what, key, sizeof(key)));
	while (at < ids.len) {
		size_t n = 2;

		for (; at < ids.len && n < hm_countof(argv); n++) {
			size_t len = (uint8_t)ids.p[at];

			argv[n] = hm_arena_printf(&d->t->scratch, "%u:%.*s", lane, (int)len, ids.p + at + 1);
			at += 1 + len;
			if (argv[n].p == NULL)
				return;
		}
		hm_redis_send(d->deps.redis, argv[1], argv, n, on_forgotten, NULL);
	}
}
