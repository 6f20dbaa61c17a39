/*
 * dead.c - failed messages, kept for an operator
 *
 *   failed ─▶ fresh: its record is not durable yet ─▶ ready, per partition ─▶ one script per batch ─▶ confirmed
 *                                                       ▲                        │ Redis away, full, no answer
 *                                                       └────────────────────────┘
 *
 * `{hm:p}:dead` is a stream of letters (format, reading, replaying: ingest/dead_letter.h), `{hm:p}:dead:ids` a hash
 * from message id to the entry of its letter. The record comes first, so that a letter in Redis means: the ledger of
 * that node says failed. The job's entry is acknowledged only when every letter of it is confirmed (job.owed), so that
 * a crash in between finds the job again; hm_dead_recall then writes what is missing. The script puts a letter only
 * if there is none of the message, and none that an operator has replayed or dropped while the job's entry was still
 * there (`{hm:p}:dead:gone`, written by ingest/dead_letter.c): any letter may be sent twice.
 *
 * A letter waiting here is a short note; the payload is encoded from its job when it leaves. At most WAITING_MAX of
 * them wait: beyond, the pump stops.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/log.h"
#include "dispatch/dispatch_int.h"

#define LETTER_MAGIC 0x6c657474u
#define PUT_MAGIC    0x6c707574u
#define ENTRY_MAGIC  0x64656164u
#define ASK_MAGIC    0x6c61736bu
#define WAITING_MAX  20000
#define BATCH_MAX    64		  /* letters of one script */
#define BATCH_BYTES  (256u << 10) /* of their payloads: reached, the batch is closed */
#define PUTS_MAX     8		  /* scripts under way */
#define RETRY_MS     200
#define NO_ATTEMPT   HM_OUT_COUNT

/* Fields of a letter in the order of the script; the first is the message id. */
#define LETTER_ARGS 16

struct letter {
	uint32_t magic;
	struct hm_node node; /* fresh, the partition's ready list, or its put */
	struct job *job;
	uint64_t ticket;
	uint32_t index;
	uint16_t status;
	uint8_t outcome, attempts;
	uint8_t channel_len;
	uint16_t reason_len;
	char channel[HM_JOB_MAX_NAME], reason[400];
};

struct put {
	uint32_t magic;
	struct hm_dispatch *d;
	uint32_t partition;
	struct hm_list letters;
};

struct hm_dead {
	struct hm_slab letters, puts;
	struct hm_list fresh;
	struct hm_list *ready; /* per partition */
	uint32_t n, n_ready, puts_open;
	struct hm_flush flush;
	struct hm_timer retry;
	struct hm_dispatch *d;
	struct hm_buf buf; /* scratch */
};

#define DROP_OLDEST                                                                                         \
	"local over = redis.call('XLEN', KEYS[1]) - tonumber(ARGV[1])\n"                                    \
	"if over > 0 then\n"                                                                                \
	"  for _, e in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', math.min(over, 1000))) do\n" \
	"    redis.call('XDEL', KEYS[1], e[1])\n"                                                           \
	"    cut = cut + 1\n"                                                                               \
	"    for f = 1, #e[2], 2 do\n"                                                                      \
	"      if e[2][f] == 'id' then redis.call('HDEL', KEYS[2], e[2][f + 1]) end\n"                      \
	"    end\n"                                                                                         \
	"  end\n"                                                                                           \
	"end\n"                                                                                             \
	"return {put, cut}\n"

static struct hm_redis_script put_script = {
	.name = "dead_put",
	/* KEYS: dead, ids, gone; ARGV: max, then per letter its id and its fields. Returns {put, oldest dropped}. */
	.source = "local put, cut = 0, 0\n"
		  "local gone = redis.call('ZCARD', KEYS[3]) > 0\n"
		  "for i = 2, #ARGV, 16 do\n"
		  "  local id = ARGV[i]\n"
		  "  if redis.call('HEXISTS', KEYS[2], id) == 0 and\n"
		  "     not (gone and redis.call('ZSCORE', KEYS[3], id)) then\n"
		  "    local e = redis.call('XADD', KEYS[1], '*', 'reason', ARGV[i + 1], 'field', '',\n"
		  "      'lane', ARGV[i + 2], 'entry', ARGV[i + 3], 'j', ARGV[i + 4], 'id', id,\n"
		  "      'job', ARGV[i + 5], 'channel', ARGV[i + 6], 'route', ARGV[i + 7],\n"
		  "      'campaign', ARGV[i + 8], 'category', ARGV[i + 9], 'tenant', ARGV[i + 10],\n"
		  "      'outcome', ARGV[i + 11], 'status', ARGV[i + 12], 'attempts', ARGV[i + 13],\n"
		  "      'accepted', ARGV[i + 14], 'node', ARGV[i + 15])\n"
		  "    redis.call('HSET', KEYS[2], id, e)\n"
		  "    put = put + 1\n"
		  "  end\n"
		  "end\n" DROP_OLDEST,
};

static struct hm_redis_script entry_script = {
	.name = "dead_entry",
	/* KEYS: dead, ids, stream; ARGV: max, group, entry, reason, field, lane, payload, node. An entry that is not pending
	 * any more has been moved before. */
	.source = "local put, cut = 0, 0\n"
		  "if redis.call('XACK', KEYS[3], ARGV[2], ARGV[3]) == 0 then return {0, 0} end\n"
		  "redis.call('XADD', KEYS[1], '*', 'reason', ARGV[4], 'field', ARGV[5], 'lane', ARGV[6],\n"
		  "  'entry', ARGV[3], 'j', ARGV[7], 'node', ARGV[8])\n"
		  "redis.call('XDEL', KEYS[3], ARGV[3])\n"
		  "put = 1\n" DROP_OLDEST,
};

static size_t keys_of(const struct hm_dispatch *d, uint32_t p, char k[3][128], struct hm_str keys[3])
{
	static const char *const what[] = {"dead", "dead:ids", "dead:gone"};

	for (size_t i = 0; i < hm_countof(what); i++)
		keys[i] = hm_str_n(k[i], hm_job_key(d->o.prefix, p, what[i], k[i], 128));
	return hm_countof(what);
}

static void count_dropped(struct hm_dispatch *d, uint32_t partition, const struct hm_reply *reply)
{
	const struct hm_reply *cut = hm_reply_at(reply, 1);

	if (cut == NULL || cut->i <= 0)
		return;
	hm_stats_add(d->t->stats, HM_CT_DEAD_DROPPED, (uint64_t)cut->i);
	HM_WARN(DISPATCH, "the oldest dead letters were dropped: more than queue.dead_letter_max",
		HM_U("partition", partition), HM_U("dropped", cut->i));
}

/* -- entries that are no jobs ------------------------------------------------------------------- */

struct dead_entry {
	uint32_t magic;
	struct hm_dispatch *d;
	uint32_t partition;
	enum hm_lane lane;
};

static void on_entry(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct dead_entry *x = arg;

	HM_CHECK(x, ENTRY_MAGIC);
	(void)hm_fault(HM_FAULT_dead_after);
	/* Without an answer the entry is moved, or pending still: then it is read again. */
	if (reply != NULL) {
		hm_stats_inc(x->d->t->stats, HM_CT_ACKED_ENTRIES);
		count_dropped(x->d, x->partition, reply);
	} else if (err->code == HM_EREDIS) {
		HM_ERROR(INGEST, "a dead letter cannot be written; the entry stays pending", HM_E(err));
	}
	if (reply == NULL)
		hm_pull_again(x->d, x->partition, x->lane);
	HM_MAGIC_CLEAR(x);
	free(x);
}

void hm_dead_entry(struct hm_dispatch *d, uint32_t partition, enum hm_lane lane, struct hm_str entry,
		   struct hm_str payload, const struct hm_err *why)
{
	char k[3][128], max[24];
	struct hm_str keys[3], args[8];
	struct dead_entry *x = calloc(1, sizeof(*x));

	if (x == NULL) {
		hm_pull_again(d, partition, lane); /* it stays pending */
		return;
	}
	HM_MAGIC_SET(x, ENTRY_MAGIC);
	x->d = d;
	x->partition = partition;
	x->lane = lane;
	keys_of(d, partition, k, keys);
	keys[2] = hm_str_n(k[2], hm_job_stream_key(d->o.prefix, partition, lane, k[2], sizeof(k[2])));
	snprintf(max, sizeof(max), "%u", d->o.dead_letter_max);
	args[0] = hm_str_c(max);
	args[1] = d->o.group;
	args[2] = entry;
	args[3] = hm_str_c(why->text);
	args[4] = hm_str_c(why->field);
	args[5] = hm_str_c(hm_lane_name(lane));
	args[6] = payload;
	args[7] = d->deps.node_id;
	hm_stats_inc(d->t->stats, HM_CT_DEAD_ENTRIES);
	HM_WARN(INGEST, "entry moved to the dead-letter stream", HM_U("partition", partition),
		HM_S("lane", hm_lane_name(lane)), HM_SV("entry", entry), HM_E(why));
	(void)hm_fault(HM_FAULT_dead_before);
	hm_redis_eval(d->deps.redis, &entry_script, keys, 3, args, hm_countof(args), on_entry, x);
}

/* -- letters ------------------------------------------------------------------------------------ */

static void copy_cut(char *dst, size_t cap, struct hm_str s, size_t *len_r)
{
	*len_r = s.len ? hm_utf8_cut(s, cap) : 0;
	if (*len_r)
		memcpy(dst, s.p, *len_r);
}

static void letter_free(struct hm_dead *x, struct letter *l)
{
	HM_MAGIC_CLEAR(l);
	hm_slab_free(&x->letters, l);
	x->n--;
}

static bool wanted(const struct hm_dispatch *d, unsigned outcome)
{
	return d->o.dead_letter_max > 0 && d->o.dead_outcomes & (1u << outcome);
}

/* NULL: out of memory, and the job stays pending until somebody has more. */
static struct letter *letter_new(struct job *j, uint32_t index, struct hm_str channel, struct hm_str reason)
{
	struct hm_dead *x = j->d->dead;
	struct letter *l = hm_slab_alloc(&x->letters);
	size_t n;

	if (l == NULL) {
		j->unrecorded = true;
		return NULL;
	}
	HM_MAGIC_SET(l, LETTER_MAGIC);
	l->node = (struct hm_node){0};
	l->job = j;
	l->index = index;
	l->ticket = j->ticket;
	copy_cut(l->channel, sizeof(l->channel), channel, &n);
	l->channel_len = (uint8_t)n;
	copy_cut(l->reason, sizeof(l->reason), reason, &n);
	l->reason_len = (uint16_t)n;
	j->owed++;
	x->n++;
	hm_list_push(&x->fresh, &l->node);
	return l;
}

static bool bit(const uint8_t *map, uint32_t i)
{
	return map != NULL && map[i >> 3] & (1u << (i & 7));
}

bool hm_dead_before(const struct msg *m)
{
	return bit(m->job->buried, m->index);
}

void hm_dead_message(struct msg *m, struct hm_str why)
{
	struct hm_dispatch *d = m->job->d;
	unsigned outcome = m->past ? m->past->outcome : NO_ATTEMPT;
	struct letter *l;

	if (!wanted(d, outcome) || hm_dead_before(m))
		return;
	l = letter_new(m->job, m->index, m->chan ? m->chan->info->name : m->job->spec.channel, why);
	if (l == NULL)
		return;
	l->outcome = (uint8_t)outcome;
	l->status = m->past ? m->past->status : 0;
	l->attempts = m->attempts;
	hm_dead_durable(d);
}

void hm_dead_durable(struct hm_dispatch *d)
{
	struct hm_dead *x = d->dead;
	struct hm_node *n;

	while ((n = hm_list_first(&x->fresh)) != NULL) {
		struct letter *l = hm_container_of(n, struct letter, node);

		if (l->ticket > d->durable)
			break;
		hm_list_remove(&x->fresh, n);
		hm_list_push(&x->ready[l->job->partition], n);
		x->n_ready++;
	}
	if (x->n_ready > 0)
		hm_flush_later(d->t, &x->flush);
}

static void put_back(struct put *p)
{
	struct hm_dead *x = p->d->dead;

	x->n_ready += (uint32_t)p->letters.len;
	hm_list_splice(&p->letters, &x->ready[p->partition]); /* in front of the others */
	hm_list_splice(&x->ready[p->partition], &p->letters);
	if (!p->d->closed && !hm_timer_armed(&x->retry))
		hm_timer_start(p->d->t, &x->retry, RETRY_MS);
}

static void confirmed(struct put *p)
{
	struct hm_dispatch *d = p->d;
	struct hm_node *n;

	while ((n = hm_list_pop(&p->letters)) != NULL) {
		struct letter *l = hm_container_of(n, struct letter, node);
		struct job *j = l->job;

		letter_free(d->dead, l);
		hm_assert(j->owed > 0);
		j->owed--;
		hm_job_maybe_done(j);
	}
	hm_pump_later(d);
}

static void on_put(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct put *p = arg;
	struct hm_dispatch *d;

	HM_CHECK(p, PUT_MAGIC);
	d = p->d;
	d->dead->puts_open--;
	(void)hm_fault(HM_FAULT_dead_put_after);
	if (reply == NULL) {
		if (err->code == HM_EREDIS)
			HM_ERROR(DISPATCH, "dead letters cannot be written; tried again", HM_E(err));
		put_back(p);
	} else {
		const struct hm_reply *n = hm_reply_at(reply, 0);

		hm_stats_add(d->t->stats, HM_CT_DEAD_LETTERS, n && n->i > 0 ? (uint64_t)n->i : 0);
		count_dropped(d, p->partition, reply);
		confirmed(p);
	}
	HM_MAGIC_CLEAR(p);
	hm_slab_free(&d->dead->puts, p);
	if (d->dead->n_ready > 0 && !hm_timer_armed(&d->dead->retry))
		hm_flush_later(d->t, &d->dead->flush);
	hm_dispatch_check_drained(d);
}

/* Appends a text to the scratch; it may still move, so the place is kept as an offset. */
static struct hm_str keep(struct hm_buf *b, struct hm_str s)
{
	size_t at = b->len;

	hm_buf_puts(b, s);
	return hm_str_n((const char *)(uintptr_t)at, s.len);
}

static struct hm_str keep_number(struct hm_buf *b, uint64_t v)
{
	size_t at = b->len;

	hm_buf_u64(b, v);
	return hm_str_n((const char *)(uintptr_t)at, b->len - at);
}

static struct hm_str keep_id(struct hm_buf *b, const struct hm_ulid *id)
{
	char text[HM_ULID_TEXT + 1];

	hm_ulid_text(id, text);
	return keep(b, hm_str_c(text));
}

/* Arguments of one letter, as offsets into the scratch. */
static void encode(struct hm_buf *b, const struct letter *l, struct hm_str v[LETTER_ARGS])
{
	struct job *j = l->job;
	struct hm_job_spec spec = j->spec;
	struct hm_ulid id = j->id;
	size_t at;

	/* A message of its own, that nobody has worked on. */
	spec.n0 = spec.attempts = 0;
	spec.at_ms = 0;
	spec.res.there = false;
	hm_ulid_add(&id, j->spec.n0 + l->index);
	v[0] = keep_id(b, &id);
	v[1] = keep(b, hm_str_n(l->reason, l->reason_len));
	v[2] = keep(b, hm_str_c(hm_lane_name((enum hm_lane)j->lane)));
	v[3] = keep(b, hm_str_n(j->entry, j->entry_len));
	at = b->len;
	hm_job_put_entry(b, &spec, &id, HM_STR_NULL, l->index, 1);
	v[4] = hm_str_n((const char *)(uintptr_t)at, b->len - at);
	v[5] = keep_id(b, &j->id);
	v[6] = keep(b, hm_str_n(l->channel, l->channel_len));
	v[7] = keep(b, j->spec.route);
	v[8] = keep(b, j->spec.campaign);
	v[9] = keep(b, j->spec.category);
	v[10] = keep(b, j->spec.tenant);
	v[11] = keep(b, l->outcome == NO_ATTEMPT ? HM_STR("none")
						 : hm_str_c(hm_outcome_name((enum hm_outcome)l->outcome)));
	v[12] = keep_number(b, l->status);
	v[13] = keep_number(b, l->attempts);
	v[14] = keep_number(b, j->entry_ms);
	v[15] = keep(b, j->d->deps.node_id);
}

static bool send_batch(struct hm_dispatch *d, uint32_t partition)
{
	struct hm_dead *x = d->dead;
	struct hm_list *from = &x->ready[partition];
	struct hm_str keys[3], args[1 + BATCH_MAX * LETTER_ARGS];
	struct put *p = hm_slab_alloc(&x->puts);
	char k[3][128], max[24];
	size_t n = 1;

	if (p == NULL)
		return false;
	HM_MAGIC_SET(p, PUT_MAGIC);
	p->d = d;
	p->partition = partition;
	hm_list_init(&p->letters);
	hm_buf_reset(&x->buf);
	while (from->len > 0 && p->letters.len < BATCH_MAX && x->buf.len < BATCH_BYTES) {
		struct letter *l = hm_container_of(hm_list_first(from), struct letter, node);

		HM_CHECK(l, LETTER_MAGIC);
		encode(&x->buf, l, &args[n]);
		if (x->buf.err != 0)
			break; /* out of memory: as soon as there is some */
		n += LETTER_ARGS;
		hm_list_push(&p->letters, hm_list_pop(from));
		x->n_ready--;
	}
	if (p->letters.len == 0) {
		HM_MAGIC_CLEAR(p);
		hm_slab_free(&x->puts, p);
		return false;
	}
	for (size_t i = 1; i < n; i++)
		args[i].p = x->buf.p + (uintptr_t)args[i].p;
	snprintf(max, sizeof(max), "%u", d->o.dead_letter_max);
	args[0] = hm_str_c(max);
	keys_of(d, partition, k, keys);
	x->puts_open++;
	(void)hm_fault(HM_FAULT_dead_put_before);
	hm_redis_eval(d->deps.redis, &put_script, keys, 3, args, n, on_put, p);
	return true;
}

static void on_flush(struct hm_flush *f)
{
	struct hm_dead *x = hm_container_of(f, struct hm_dead, flush);
	struct hm_dispatch *d = x->d;

	for (uint32_t p = 0; p < d->o.partitions; p++)
		while (x->ready[p].len > 0 && x->puts_open < PUTS_MAX) {
			if (d->redis_up && send_batch(d, p))
				continue;
			if (!hm_timer_armed(&x->retry))
				hm_timer_start(d->t, &x->retry, RETRY_MS);
			return;
		}
}

static void on_retry(struct hm_timer *t)
{
	struct hm_dead *x = hm_container_of(t, struct hm_dead, retry);

	if (x->n_ready > 0)
		hm_flush_later(x->d->t, &x->flush);
}

bool hm_dead_room(const struct hm_dispatch *d)
{
	return d->dead->n < WAITING_MAX;
}

bool hm_dead_idle(const struct hm_dispatch *d)
{
	return d->dead->n == 0 && d->dead->puts_open == 0;
}

/* -- redelivered jobs ---------------------------------------------------------------------------- */

/* What the ledger says has failed gets a letter again, unless Redis knows of one. */
static void write_again(struct job *j)
{
	struct hm_dispatch *d = j->d;

	for (uint32_t i = 0; j->prior != NULL && i < j->spec.n_rcpts; i++) {
		const struct hm_ledger_msg *r = j->prior[i];
		const struct hm_ledger_attempt *last;
		struct letter *l;

		if (r == NULL || r->state != HM_ST_FAILED)
			continue;
		last = r->n_attempts ? &r->attempts[r->n_attempts - 1] : NULL;
		if (!wanted(d, last ? last->outcome : NO_ATTEMPT))
			continue;
		l = letter_new(j, i, r->channel, r->reason);
		if (l == NULL)
			return;
		l->ticket = 0; /* durable since long */
		l->outcome = (uint8_t)(last ? last->outcome : NO_ATTEMPT);
		l->status = last ? last->status : 0;
		l->attempts = (uint8_t)hm_min(r->n_attempts, (size_t)255);
	}
	hm_dead_durable(d);
}

struct ask {
	uint32_t magic;
	struct job *job;
};

static void go_on(struct job *j)
{
	struct hm_dispatch *d = j->d;

	if (d->draining) {
		hm_job_free(j);
		hm_dispatch_check_drained(d);
		return;
	}
	hm_pids_recall(j);
	write_again(j);
	hm_job_ready(j);
}

static void on_asked(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct ask *a = arg;
	struct job *j = a->job;
	struct hm_dispatch *d = j->d;

	HM_CHECK(a, ASK_MAGIC);
	HM_MAGIC_CLEAR(a);
	free(a);
	d->rechecks--;
	if (reply == NULL) {
		/* Not known: trying again what has failed elsewhere could send it after its letter was replayed. */
		HM_WARN(INGEST, "the dead letters of an entry taken over are not known; it stays pending",
			HM_E(err));
		hm_pull_again(d, j->partition, (enum hm_lane)j->lane);
		hm_job_free(j);
		hm_dispatch_check_drained(d);
		return;
	}
	for (uint32_t i = 0; i < j->spec.n_rcpts && i + 1 < reply->n; i++)
		if (reply->v[i + 1].i == 1)
			j->buried[i >> 3] = (uint8_t)(j->buried[i >> 3] | (1u << (i & 7)));
	if (reply->n > 0 && reply->v[0].s.len > 0)
		j->from = hm_arena_str(&j->arena, reply->v[0].s);
	go_on(j);
}

static struct hm_redis_script ask_script = {
	.name = "dead_ask",
	/* KEYS: ids, gone, taken; ARGV: lane and entry, message ids. Who had the entry (moves.c), then 1 for each message that
	 * has, or had, a letter. */
	.source = "local out = {redis.call('HGET', KEYS[3], ARGV[1]) or ''}\n"
		  "for i = 2, #ARGV do\n"
		  "  local id = ARGV[i]\n"
		  "  local there = redis.call('HEXISTS', KEYS[1], id) == 1 or redis.call('ZSCORE', KEYS[2], "
		  "id)\n"
		  "  out[i] = there and 1 or 0\n"
		  "end\n"
		  "return out\n",
};

void hm_dead_recall(struct job *j)
{
	struct hm_dispatch *d = j->d;
	struct hm_str keys[4], args[1 + HM_JOB_MAX_RECIPIENTS];
	char k[4][128], field[ENTRY_ID_MAX + 8], (*text)[HM_ULID_TEXT + 1];
	struct hm_ulid id = j->id;
	struct ask *a;

	if (!j->foreign) {
		go_on(j);
		return;
	}
	a = calloc(1, sizeof(*a));
	text = hm_arena_alloc(&j->arena, j->spec.n_rcpts * sizeof(*text));
	j->buried = hm_arena_zalloc(&j->arena, (j->spec.n_rcpts + 7) / 8);
	if (a == NULL || text == NULL || j->buried == NULL) {
		free(a);
		hm_pull_again(d, j->partition, (enum hm_lane)j->lane);
		hm_job_free(j);
		return;
	}
	HM_MAGIC_SET(a, ASK_MAGIC);
	a->job = j;
	hm_ulid_add(&id, j->spec.n0);
	for (uint32_t i = 0; i < j->spec.n_rcpts; i++) {
		hm_ulid_text(&id, text[i]);
		args[1 + i] = hm_str_c(text[i]);
		hm_ulid_add(&id, 1);
	}
	keys_of(d, j->partition, k, keys);
	keys[3] = hm_str_n(k[3], hm_job_key(d->o.prefix, j->partition, "taken", k[3], sizeof(k[3])));
	args[0] = hm_str_n(field, hm_moves_field(j, field, sizeof(field)));
	d->rechecks++;
	hm_redis_eval(d->deps.redis, &ask_script, &keys[1], 3, args, 1 + j->spec.n_rcpts, on_asked, a);
}

/* -- life ----------------------------------------------------------------------------------------- */

bool hm_dead_init(struct hm_dispatch *d)
{
	struct hm_dead *x = calloc(1, sizeof(*x));

	if (x == NULL)
		return false;
	d->dead = x;
	x->d = d;
	hm_slab_init(&x->letters, "dead letters", sizeof(struct letter), 0);
	hm_slab_init(&x->puts, "batches of dead letters", sizeof(struct put), 0);
	hm_list_init(&x->fresh);
	hm_buf_init(&x->buf, HM_JOB_MAX_BYTES * 2);
	hm_flush_init(&x->flush, on_flush);
	hm_timer_init(&x->retry, on_retry);
	x->ready = calloc(d->o.partitions, sizeof(*x->ready));
	if (x->ready == NULL)
		return false;
	for (uint32_t p = 0; p < d->o.partitions; p++)
		hm_list_init(&x->ready[p]);
	return true;
}

static void drop(struct hm_dead *x, struct hm_list *l)
{
	struct hm_node *n;

	while ((n = hm_list_pop(l)) != NULL)
		letter_free(x, hm_container_of(n, struct letter, node));
}

/* Letters still here belong to jobs that were not acknowledged. */
void hm_dead_fini(struct hm_dispatch *d)
{
	struct hm_dead *x = d->dead;

	if (x == NULL)
		return;
	hm_assert(x->puts_open == 0);
	hm_flush_cancel(d->t, &x->flush);
	hm_timer_stop(d->t, &x->retry);
	drop(x, &x->fresh);
	for (uint32_t p = 0; x->ready != NULL && p < d->o.partitions; p++)
		drop(x, &x->ready[p]);
	free(x->ready);
	hm_buf_fini(&x->buf);
	hm_slab_fini(&x->letters);
	hm_slab_fini(&x->puts);
	free(x);
	d->dead = NULL;
}
