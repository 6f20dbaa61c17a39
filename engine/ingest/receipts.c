/*
 * receipts.c - receipts to records, waits and other nodes
 *
 *   take ─▶ LOOK (pool: the record, amended) ─▶ put into the ledger ─▶ done
 *                  │ not final, or not here
 *                  ▼
 *                 ASK (a script per message) ─▶ done;  its entry is due ─▶ released
 *                  └── not final: looked at again later;  not here: passed on
 *
 * Two receipts of one message may be under way at once, each with the record as it was: what the last few
 * thousand looks have decided is remembered in one table for the whole process, so that the second record has both.
 */
#include "ingest/receipts.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "ingest/cancel_mark.h"

#define RECEIPTS_MAGIC 0x72637074u
#define BATCH_MAGIC    0x72636261u
#define ASK_MAGIC      0x72636173u
#define LATER_MAGIC    0x72636c74u
#define DURABLE_MAGIC  0x72636475u
#define SAVE_EVERY_MS  1000
#define SAVE_BEHIND    32 /* of these: longer than the last look at what is under way takes */
#define BATCHES_MAX    64
#define LATER_MAX      50000
#define LATER_TRIES    8 /* 0.1 s, 0.2 s ... 12.8 s */
#define LATER_FIRST_MS 100
#define LATER_PAGE     500
#define EARLY_MS       "60000"
#define STREAM_MAX     "100000"
#define RECENT	       4096
#define REASON_MAX     1000

enum batch_kind {
	BATCH_NEW,     /* somebody waits for the answer */
	BATCH_AGAIN,   /* a second look */
	BATCH_FOLLOWED /* passed on by another node (or this one) */
};

struct look {			 /* beside each item of a batch */
	struct hm_ledger_msg *m; /* to be put into the ledger; NULL: nothing is */
	bool pending, here;
	uint8_t tries; /* looks before this one */
};

struct batch {
	uint32_t magic;
	struct hm_node node;
	struct hm_receipts *r;
	uv_work_t work;
	enum batch_kind kind;
	size_t n, open; /* scripts under way */
	struct hm_receipt_item *v;
	struct look *look;
	struct hm_arena arena;
	hm_receipts_fn fn;
	void *arg;
};

struct ask {
	uint32_t magic;
	struct batch *b;
	size_t i;
};

struct later { /* looked at, or released, again */
	uint32_t magic;
	struct hm_node node; /* r.later, soonest first within a try */
	struct hm_receipt_item item;
	uint64_t due_ms; /* monotonic */
	uint8_t tries;
	bool followed;
	bool release; /* its entry was not among the delayed ones yet */
	uint32_t partition, lane;
};

struct hm_receipts {
	uint32_t magic;
	struct hm_receipts_deps deps;
	struct hm_list batches, later;
	struct hm_slab later_slab, ask_slab;
	struct hm_timer again, retry;
	size_t looks; /* batches in the pool */
	bool stopped;
	void (*on_closed)(void *arg);
	void *closed_arg;
	/* following */
	struct hm_redis_line *line;
	char key[HM_CTL_KEY_MAX], last[48];
	size_t key_len;
	bool busy, known_last;
	char behind[SAVE_BEHIND][48]; /* ring: where it stood, second by second */
	unsigned behind_at;
	struct hm_timer save;
};

static struct hm_redis_script receipt_script = {
	.name = "wait_receipt",
	/* KEYS: wait; ARGV: level, at, ms to keep an early mark. Returns "r <partition> <lane>" (the wait ends, or has
	 * ended), "n" (it waits for more), "g" (it has gone on), "e" (nobody waits yet). dispatch/escalate.c has the
	 * values. */
	.source =
		"local v = redis.call('GET', KEYS[1])\n"
		"local mine = tonumber(ARGV[1])\n"
		"local what, level, a, b, c\n"
		"if v then what, level, a, b, c = string.match(v, '^(%a) ?(%d*) ?(%d*) ?(%d*) ?(%d*)') end\n"
		"if what == 'w' then\n"
		"  if mine > 0 and mine < tonumber(level) then return 'n' end\n"
		"  redis.call('SET', KEYS[1], 'r ' .. mine .. ' ' .. ARGV[2] .. ' ' .. a .. ' ' .. b, "
		"'KEEPTTL')\n"
		"  return 'r ' .. a .. ' ' .. b\n"
		"end\n"
		"if what == 'r' then return 'r ' .. b .. ' ' .. c end\n"
		"if what == 'g' then return 'g' end\n"
		"if what ~= 'e' or mine > tonumber(level) then\n"
		"  redis.call('SET', KEYS[1], 'e ' .. mine .. ' ' .. ARGV[2], 'PX', ARGV[3])\n"
		"end\n"
		"return 'e'\n",
};
static struct hm_redis_script release_script = {
	.name = "wait_release",
	/* KEYS: delayed; ARGV: member. Due at once; 0: it is not there. */
	.source = "if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end\n"
		  "redis.call('ZADD', KEYS[1], 0, ARGV[1])\n"
		  "return 1\n",
};

const char *hm_receipt_result_name(enum hm_receipt_result r)
{
	static const char *const names[] = {"noted",   "repeat",    "ends_wait", "under_way",
					    "refused", "passed_on", "lost"};

	hm_assert((size_t)r < hm_countof(names));
	return names[r];
}

size_t hm_receipt_wait_key(struct hm_str prefix, const struct hm_ulid *id, uint32_t partitions, char *out,
			   size_t cap)
{
	char what[8 + HM_ULID_TEXT] = "wait:";

	hm_ulid_text(id, what + 5);
	return hm_job_key(prefix, hm_job_partition(id, partitions), what, out, cap);
}

/* -- notes ------------------------------------------------------------------------------------------ */

void hm_receipt_note(struct hm_buf *b, enum hm_receipt event, uint64_t at_ms, struct hm_str channel)
{
	char at[25];

	hm_clock_rfc3339(at_ms, at);
	hm_buf_printf(b, "%s %s", hm_receipt_name(event), at);
	if (channel.len > 0)
		hm_buf_printf(b, " by %.*s", HM_STRF(channel));
}

/* Which events a reason tells of. */
static unsigned notes_in(struct hm_str reason)
{
	unsigned mask = 0;

	while (reason.len > 0) {
		const char *at = memmem(reason.p, reason.len, "; ", 2);
		struct hm_str one = hm_str_n(reason.p, at ? (size_t)(at - reason.p) : reason.len), word;
		size_t used = at ? one.len + 2 : one.len;
		int event;

		reason = hm_str_n(reason.p + used, reason.len - used);
		if (!hm_str_split(&one, ' ', &word) || one.len < 24 || one.p[4] != '-' || one.p[23] != 'Z')
			continue;
		event = hm_receipt_find(word);
		if (event >= 0)
			mask |= 1u << event;
	}
	return mask;
}

bool hm_receipt_add_note(struct hm_buf *b, struct hm_str reason, enum hm_receipt event, uint64_t at_ms,
			 struct hm_str channel)
{
	hm_buf_puts(b, reason);
	if (notes_in(reason) >> event & 1)
		return false;
	if (reason.len > 0)
		hm_buf_lit(b, "; ");
	hm_receipt_note(b, event, at_ms, channel);
	return true;
}

/* -- looking (pool) --------------------------------------------------------------------------------- */

static struct {
	pthread_mutex_t mu;
	struct recent {
		struct hm_ulid id;
		unsigned mask;
		uint64_t at_ms[HM_RC_COUNT];
		char channel[HM_RC_COUNT][HM_RECEIPT_CHANNEL_MAX + 1];
	} v[RECENT];
} recent = {.mu = PTHREAD_MUTEX_INITIALIZER};

/* Adds the event, and what others have decided a moment ago, to the reason. false: it is known. */
static bool amend(struct batch *b, const struct hm_receipt_item *x, struct hm_ledger_msg *m)
{
	struct recent *e = &recent.v[hm_hash64(x->id.b, sizeof(x->id.b), 0) % RECENT];
	struct hm_str reason = m->reason;
	struct hm_buf out;
	bool is_new;

	pthread_mutex_lock(&recent.mu);
	if (!hm_ulid_eq(&e->id, &x->id)) {
		memset(e, 0, sizeof(*e));
		e->id = x->id;
	}
	is_new = !((notes_in(reason) | e->mask) >> x->event & 1);
	if (is_new) {
		e->mask |= 1u << x->event;
		e->at_ms[x->event] = x->at_ms;
		memcpy(e->channel[x->event], x->channel, sizeof(x->channel));
	}
	for (int r = 0; is_new && r < HM_RC_COUNT; r++) {
		if (!(e->mask >> r & 1))
			continue;
		hm_buf_init_arena(&out, &b->arena, REASON_MAX + 200);
		(void)hm_receipt_add_note(&out, reason, (enum hm_receipt)r, e->at_ms[r],
					  e->channel[r][0] ? hm_str_c(e->channel[r]) : m->channel);
		if (out.err == 0)
			reason = hm_buf_str(&out);
		if (hm_receipt_level((enum hm_receipt)r) > 0)
			m->state = HM_ST_DELIVERED;
	}
	pthread_mutex_unlock(&recent.mu);
	m->reason = reason;
	return is_new;
}

static void look_up(struct batch *b, size_t i)
{
	struct hm_receipt_item *x = &b->v[i];
	struct look *l = &b->look[i];
	struct hm_ledger_msg *m = hm_arena_alloc(&b->arena, sizeof(*m));
	struct hm_ledger_job j;
	struct hm_err e = {0};
	int rc;

	x->result = HM_RECEIPT_LOST;
	if (m == NULL)
		return;
	rc = hm_ledger_get_msg(b->r->deps.ledger, &x->id, &b->arena, m, &e);
	if (rc == HM_ENOENT) {
		rc = hm_ledger_job_of(b->r->deps.ledger, &x->id, &b->arena, &j, &e);
		l->pending = true;
		l->here = rc == 0 || x->young;
		x->result = l->here ? HM_RECEIPT_UNDER_WAY : HM_RECEIPT_PASSED_ON;
		if (rc == 0 || rc == HM_ENOENT)
			return;
		x->result = HM_RECEIPT_LOST;
		l->pending = false;
	}
	if (rc != 0) {
		HM_ERROR(INGEST, "a receipt cannot be compared with the ledger", HM_E(&e));
		return;
	}
	if (!hm_state_final((enum hm_state)m->state)) {
		l->pending = l->here = true;
		x->result = HM_RECEIPT_UNDER_WAY;
		return;
	}
	if (m->state != HM_ST_SENT && m->state != HM_ST_DELIVERED) {
		x->result = HM_RECEIPT_REFUSED;
		return;
	}
	if (!amend(b, x, m)) {
		x->result = HM_RECEIPT_REPEAT;
		return;
	}
	x->result = HM_RECEIPT_NOTED;
	l->m = m;
}

static void on_pool(uv_work_t *w)
{
	struct batch *b = hm_container_of(w, struct batch, work);

	for (size_t i = 0; i < b->n; i++)
		look_up(b, i);
}

/* -- second looks ------------------------------------------------------------------------------------ */

static void arm_later(struct hm_receipts *r)
{
	const struct hm_node *n = hm_list_first(&r->later);
	uint64_t now = hm_tick_ms(r->deps.tick), due;

	if (n == NULL || r->stopped || hm_timer_armed(&r->again))
		return;
	due = hm_container_of(n, struct later, node)->due_ms;
	hm_timer_start(r->deps.tick, &r->again, due > now ? due - now : 1);
}

static struct later *later_new(struct hm_receipts *r, const struct hm_receipt_item *x, uint8_t tries)
{
	struct later *l;

	if (r->stopped)
		return NULL;
	if (r->later.len >= LATER_MAX) {
		l = hm_container_of(hm_list_pop(&r->later), struct later, node);
		hm_slab_free(&r->later_slab, l);
	}
	l = hm_slab_alloc(&r->later_slab);
	if (l == NULL)
		return NULL;
	memset(l, 0, sizeof(*l));
	HM_MAGIC_SET(l, LATER_MAGIC);
	l->item = *x;
	l->tries = tries;
	l->due_ms = hm_tick_ms(r->deps.tick) + ((uint64_t)LATER_FIRST_MS << tries);
	hm_list_push(&r->later, &l->node);
	arm_later(r);
	return l;
}

static void on_sent(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	(void)arg;
	(void)reply;
	(void)err; /* the receipt is lost as one is that was never sent; Redis says why elsewhere */
}

/* A name for this process from its start to its end. */
static const char *this_run(void)
{
	static char name[HM_ULID_TEXT + 1];
	static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
	struct hm_ulid id;

	pthread_mutex_lock(&mu);
	if (name[0] == '\0') {
		hm_ulid_new(&id, hm_clock_wall_ms());
		hm_ulid_text(&id, name);
	}
	pthread_mutex_unlock(&mu);
	return name;
}

/* run: of this process, which looks at it itself. Empty: whoever reads it does. */
static void put_stream(struct hm_receipts *r, const struct hm_receipt_item *x, const char *run,
		       hm_reply_fn fn, void *arg)
{
	char id[HM_ULID_TEXT + 1], at[24];
	struct hm_str argv[16];
	size_t n = 0;

	hm_ulid_text(&x->id, id);
	snprintf(at, sizeof(at), "%llu", (unsigned long long)x->at_ms);
	argv[n++] = HM_STR("XADD");
	argv[n++] = hm_str_n(r->key, r->key_len);
	argv[n++] = HM_STR("MAXLEN");
	argv[n++] = HM_STR("~");
	argv[n++] = HM_STR(STREAM_MAX);
	argv[n++] = HM_STR("*");
	argv[n++] = HM_STR("id");
	argv[n++] = hm_str_c(id);
	argv[n++] = HM_STR("event");
	argv[n++] = hm_str_c(hm_receipt_name(x->event));
	argv[n++] = HM_STR("at");
	argv[n++] = hm_str_c(at);
	argv[n++] = HM_STR("channel");
	argv[n++] = hm_str_c(x->channel);
	argv[n++] = HM_STR("run");
	argv[n++] = hm_str_c(run);
	hm_redis_send(r->deps.redis, argv[1], argv, n, fn, arg);
}

static void pass_on(struct hm_receipts *r, const struct hm_receipt_item *x)
{
	if (!x->passed)
		put_stream(r, x, "", on_sent, NULL);
}

static void release(struct hm_receipts *r, const struct hm_receipt_item *x, uint32_t partition, uint32_t lane,
		    uint8_t tries);

struct rel {
	struct hm_receipts *r;
	struct hm_receipt_item item;
	uint32_t partition, lane;
	uint8_t tries;
};

static void on_released(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct rel *x = arg;
	struct later *l;

	(void)err;
	if (!x->r->stopped && (reply == NULL || reply->i == 0) && x->tries < LATER_TRIES) {
		/* On its way there, or back already: then nothing is to be done, and trying does no harm. */
		l = later_new(x->r, &x->item, (uint8_t)(x->tries + 1));
		if (l != NULL) {
			l->release = true;
			l->partition = x->partition;
			l->lane = x->lane;
		}
	}
	free(x);
}

static void release(struct hm_receipts *r, const struct hm_receipt_item *item, uint32_t partition,
		    uint32_t lane, uint8_t tries)
{
	struct rel *x = calloc(1, sizeof(*x));
	char key[128], member[40], id[HM_ULID_TEXT + 1];
	struct hm_str k, arg;

	if (x == NULL)
		return; /* the wait ends when it is due */
	*x = (struct rel){.r = r, .item = *item, .partition = partition, .lane = lane, .tries = tries};
	hm_ulid_text(&item->id, id);
	k = hm_str_n(key, hm_job_key(r->deps.prefix, partition, "delayed", key, sizeof(key)));
	arg = hm_str_n(member, (size_t)snprintf(member, sizeof(member), "%u:%s", lane, id));
	hm_redis_eval(r->deps.redis, &release_script, &k, 1, &arg, 1, on_released, x);
}

/* -- asking ------------------------------------------------------------------------------------------ */

static void batch_free(struct batch *b)
{
	HM_CHECK(b, BATCH_MAGIC);
	hm_list_remove(&b->r->batches, &b->node);
	hm_arena_fini(&b->arena);
	free(b->v);
	free(b->look);
	HM_MAGIC_CLEAR(b);
	free(b);
}

static void batch_done(struct batch *b)
{
	(void)hm_fault(HM_FAULT_receipt_noted);
	if (b->fn != NULL)
		b->fn(b->arg, b->v, b->n);
	batch_free(b);
}

/* Not final: the ledger is looked at again; after the last look, or when it is not here, others hear of it. */
static void look_again(struct batch *b, size_t i)
{
	struct hm_receipts *r = b->r;
	bool others = b->kind != BATCH_FOLLOWED;
	struct later *l;

	if (b->look[i].here && b->look[i].tries < LATER_TRIES) {
		l = later_new(r, &b->v[i], b->look[i].tries);
		if (l != NULL)
			l->followed = !others;
		return;
	}
	if (others && !r->stopped)
		pass_on(r, &b->v[i]);
}

static void on_asked(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct ask *a = arg;
	struct batch *b = a->b;
	struct hm_receipts *r = b->r;
	size_t i = a->i;
	struct hm_str v, word, part;
	uint64_t p = 0, lane = 0;

	HM_CHECK(a, ASK_MAGIC);
	HM_MAGIC_CLEAR(a);
	hm_slab_free(&r->ask_slab, a);
	v = reply != NULL && reply->type == HM_REPLY_STR ? reply->s : HM_STR_NULL;
	if (v.len == 0) {
		if (err != NULL && err->code == HM_EREDIS)
			HM_ERROR(INGEST, "a receipt cannot be compared with what waits", HM_E(err));
		b->v[i].result = HM_RECEIPT_LOST;
	} else if (v.p[0] == 'r') {
		(void)hm_str_split(&v, ' ', &word);
		if (hm_str_split(&v, ' ', &part) && hm_str_u64(part, &p) && hm_str_u64(v, &lane) &&
		    p < r->deps.partitions && lane < HM_LANE_COUNT && !r->stopped)
			release(r, &b->v[i], (uint32_t)p, (uint32_t)lane, 0);
		b->v[i].result = HM_RECEIPT_ENDS_WAIT;
	} else {
		if (v.p[0] != 'e')
			b->v[i].result = HM_RECEIPT_UNDER_WAY;
		look_again(b, i);
	}
	if (--b->open == 0)
		batch_done(b);
}

static void ask(struct batch *b, size_t i)
{
	struct hm_receipts *r = b->r;
	const struct hm_receipt_item *x = &b->v[i];
	struct ask *a = hm_slab_alloc(&r->ask_slab);
	char key[160], level[12], at[24];
	struct hm_str k, args[3];

	if (a == NULL) {
		b->v[i].result = HM_RECEIPT_LOST;
		return;
	}
	HM_MAGIC_SET(a, ASK_MAGIC);
	a->b = b;
	a->i = i;
	k = hm_str_n(key, hm_receipt_wait_key(r->deps.prefix, &x->id, r->deps.partitions, key, sizeof(key)));
	snprintf(level, sizeof(level), "%u", hm_receipt_level(x->event));
	snprintf(at, sizeof(at), "%llu", (unsigned long long)x->at_ms);
	args[0] = hm_str_c(level);
	args[1] = hm_str_c(at);
	args[2] = HM_STR(EARLY_MS);
	b->open++;
	hm_redis_eval(r->deps.redis, &receipt_script, &k, 1, args, 3, on_asked, a);
}

static void closed(struct hm_receipts *r)
{
	void (*fn)(void *) = r->on_closed;

	if (fn == NULL || r->looks > 0)
		return;
	r->on_closed = NULL;
	fn(r->closed_arg);
}

static void on_looked(uv_work_t *w, int status)
{
	struct batch *b = hm_container_of(w, struct batch, work);
	struct hm_receipts *r = b->r;

	(void)status;
	HM_CHECK(b, BATCH_MAGIC);
	r->looks--;
	b->open = 1; /* this one */
	for (size_t i = 0; i < b->n; i++) {
		struct look *l = &b->look[i];

		if (l->m != NULL) {
			l->m->updated_ms = r->deps.tick->wall_ms;
			l->m->amends = true;
			if (hm_ledger_put_msg(r->deps.writer, l->m) == 0)
				b->v[i].result = HM_RECEIPT_LOST;
		} else if (l->pending && !r->stopped) {
			if (b->kind == BATCH_NEW)
				ask(b, i);
			else
				look_again(b, i);
		}
	}
	if (--b->open == 0)
		batch_done(b);
	closed(r);
}

static struct batch *batch_new(struct hm_receipts *r, enum batch_kind kind, size_t n)
{
	struct batch *b = r->batches.len < BATCHES_MAX || kind != BATCH_NEW ? calloc(1, sizeof(*b)) : NULL;

	if (b == NULL)
		return NULL;
	b->v = calloc(n ? n : 1, sizeof(*b->v));
	b->look = calloc(n ? n : 1, sizeof(*b->look));
	if (b->v == NULL || b->look == NULL) {
		free(b->v);
		free(b->look);
		free(b);
		return NULL;
	}
	HM_MAGIC_SET(b, BATCH_MAGIC);
	b->r = r;
	b->kind = kind;
	hm_arena_init(&b->arena, NULL, 0); /* pool thread: not the loop's blocks */
	hm_list_push(&r->batches, &b->node);
	return b;
}

static void batch_go(struct batch *b)
{
	int rc;

	b->r->looks++;
	rc = uv_queue_work(b->r->deps.tick->loop, &b->work, on_pool, on_looked);
	hm_assert(rc == 0); /* fails only for a NULL callback */
}

static void on_again(struct hm_timer *t)
{
	struct hm_receipts *r = hm_container_of(t, struct hm_receipts, again);
	uint64_t now = hm_tick_ms(r->deps.tick);
	struct batch *b[2] = {NULL, NULL}; /* own, followed */
	size_t left = r->later.len, page = LATER_PAGE;

	for (; left > 0 && page > 0; left--) {
		struct later *l = hm_container_of(hm_list_pop(&r->later), struct later, node);
		struct batch **to = &b[l->followed];

		HM_CHECK(l, LATER_MAGIC);
		if (l->due_ms > now) { /* tries differ: the list is only nearly in order */
			hm_list_push(&r->later, &l->node);
			continue;
		}
		page--;
		if (l->release) {
			release(r, &l->item, l->partition, l->lane, l->tries);
		} else {
			if (*to == NULL)
				*to = batch_new(r, l->followed ? BATCH_FOLLOWED : BATCH_AGAIN, LATER_PAGE);
			if (*to == NULL) {
				l->due_ms = now + 1000;
				hm_list_push(&r->later, &l->node);
				break;
			}
			(*to)->look[(*to)->n].tries = (uint8_t)(l->tries + 1);
			(*to)->v[(*to)->n++] = l->item;
		}
		HM_MAGIC_CLEAR(l);
		hm_slab_free(&r->later_slab, l);
	}
	for (int i = 0; i < 2; i++)
		if (b[i] != NULL)
			batch_go(b[i]);
	if (!hm_list_empty(&r->later) && !r->stopped)
		hm_timer_start(r->deps.tick, &r->again, LATER_FIRST_MS);
}

bool hm_receipts_take(struct hm_receipts *r, const struct hm_receipt_item *v, size_t n, hm_receipts_fn fn,
		      void *arg)
{
	struct batch *b;

	HM_CHECK(r, RECEIPTS_MAGIC);
	hm_assert(n <= HM_RECEIPTS_MAX);
	if (r->stopped || (b = batch_new(r, BATCH_NEW, n)) == NULL)
		return false;
	if (n > 0)
		memcpy(b->v, v, n * sizeof(*v));
	b->n = n;
	b->fn = fn;
	b->arg = arg;
	hm_stats_add(r->deps.tick->stats, HM_CT_RECEIPTS, n);
	batch_go(b);
	return true;
}

/* -- durable: the stream first ------------------------------------------------------------------------ */

struct durable {
	uint32_t magic;
	struct hm_receipts *r;
	struct hm_receipt_item *v;
	size_t n, open;
	bool lost;
	hm_receipts_fn fn;
	void *arg;
};

static void durable_done(struct durable *x)
{
	for (size_t i = 0; i < x->n; i++)
		x->v[i].result = HM_RECEIPT_LOST;
	x->fn(x->arg, x->v, x->n);
	HM_MAGIC_CLEAR(x);
	free(x->v);
	free(x);
}

static void on_durable_taken(void *arg, const struct hm_receipt_item *v, size_t n)
{
	struct durable *x = arg;

	HM_CHECK(x, DURABLE_MAGIC);
	x->fn(x->arg, v, n);
	HM_MAGIC_CLEAR(x);
	free(x->v);
	free(x);
}

static void on_durable_put(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct durable *x = arg;

	HM_CHECK(x, DURABLE_MAGIC);
	(void)err;
	x->lost |= reply == NULL;
	if (--x->open > 0)
		return;
	(void)hm_fault(HM_FAULT_callback_stored);
	if (!x->lost && !x->r->stopped && hm_receipts_take(x->r, x->v, x->n, on_durable_taken, x))
		return;
	if (x->r->stopped && !x->lost) { /* the next run reads them */
		for (size_t i = 0; i < x->n; i++)
			x->v[i].result = HM_RECEIPT_PASSED_ON;
		on_durable_taken(x, x->v, x->n);
		return;
	}
	durable_done(x); /* too much to do, or not stored: they will be sent again */
}

bool hm_receipts_take_durable(struct hm_receipts *r, const struct hm_receipt_item *v, size_t n,
			      hm_receipts_fn fn, void *arg)
{
	struct durable *x = r->stopped || n == 0 || n > HM_RECEIPTS_MAX ? NULL : calloc(1, sizeof(*x));

	HM_CHECK(r, RECEIPTS_MAGIC);
	if (x == NULL || (x->v = calloc(n, sizeof(*x->v))) == NULL) {
		free(x);
		return false;
	}
	HM_MAGIC_SET(x, DURABLE_MAGIC);
	x->r = r;
	x->fn = fn;
	x->arg = arg;
	x->n = x->open = n;
	memcpy(x->v, v, n * sizeof(*v));
	for (size_t i = 0; i < n; i++) {
		x->v[i].passed = true;
		put_stream(r, &x->v[i], this_run(), on_durable_put, x);
	}
	return true;
}

/* -- following --------------------------------------------------------------------------------------- */

static void follow(struct hm_receipts *r);

static struct hm_str field(const struct hm_reply *fields, const char *name)
{
	for (size_t i = 0; i + 1 < fields->n; i += 2)
		if (hm_str_is(fields->v[i].s, name))
			return fields->v[i + 1].s;
	return HM_STR_NULL;
}

static bool read_entry(const struct hm_reply *entry, struct hm_receipt_item *x)
{
	const struct hm_reply *fields = hm_reply_at(entry, 1);
	struct hm_str channel;
	int event;

	if (fields == NULL || fields->type != HM_REPLY_ARRAY || !hm_ulid_parse(field(fields, "id"), &x->id) ||
	    !hm_str_u64(field(fields, "at"), &x->at_ms))
		return false;
	event = hm_receipt_find(field(fields, "event"));
	channel = field(fields, "channel");
	if (event < 0 || channel.len > HM_RECEIPT_CHANNEL_MAX || hm_str_is(field(fields, "run"), this_run()))
		return false; /* the last: looked at where it was put */
	x->event = (uint8_t)event;
	if (channel.len > 0)
		memcpy(x->channel, channel.p, channel.len);
	return true;
}

static void position_key(const struct hm_receipts *r, char *out, size_t cap, struct hm_str *k)
{
	*k = hm_str_n(out, hm_ctl_key(r->deps.prefix, "receipts:read", out, cap));
}

static void save_position(struct hm_receipts *r, const char *last)
{
	char key[HM_CTL_KEY_MAX];
	struct hm_str argv[4] = {HM_STR("HSET"), HM_STR_NULL, r->deps.node_id, hm_str_c(last)};

	if (last[0] == '\0')
		return;
	position_key(r, key, sizeof(key), &argv[1]);
	hm_redis_send(r->deps.redis, argv[1], argv, 4, on_sent, NULL);
}

/* What was read half a minute ago is settled: noted and on disk, or looked at for the last time. */
static void on_save(struct hm_timer *t)
{
	struct hm_receipts *r = hm_container_of(t, struct hm_receipts, save);
	char *oldest = r->behind[r->behind_at], *next = r->behind[(r->behind_at + 1) % SAVE_BEHIND];

	if (r->stopped)
		return;
	if (strcmp(oldest, next) != 0)
		save_position(r, next);
	snprintf(oldest, sizeof(r->behind[0]), "%s",
		 r->known_last && strcmp(r->last, "0-0") != 0 ? r->last : "");
	r->behind_at = (r->behind_at + 1) % SAVE_BEHIND;
	hm_timer_start(r->deps.tick, t, SAVE_EVERY_MS);
}

static void on_read(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_receipts *r = arg;
	const struct hm_reply *list;
	struct batch *b;

	HM_CHECK(r, RECEIPTS_MAGIC);
	r->busy = false;
	if (r->stopped)
		return;
	if (reply == NULL) {
		if (err->code == HM_EREDIS)
			HM_ERROR(INGEST, "the receipts of other nodes cannot be read", HM_E(err));
		hm_timer_start(r->deps.tick, &r->retry, 500);
		return;
	}
	list = hm_reply_at(hm_reply_at(reply, 0), 1);
	if (list != NULL && list->n > 0) {
		b = batch_new(r, BATCH_FOLLOWED, list->n);
		if (b == NULL) {
			hm_timer_start(r->deps.tick, &r->retry, 500);
			return;
		}
		for (size_t i = 0; i < list->n; i++) {
			const struct hm_reply *id = hm_reply_at(&list->v[i], 0);

			if (id != NULL && id->s.len < sizeof(r->last)) {
				memcpy(r->last, id->s.p, id->s.len);
				r->last[id->s.len] = '\0';
			}
			b->n += read_entry(&list->v[i], &b->v[b->n]);
		}
		batch_go(b);
	}
	follow(r);
}

static void on_position(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_receipts *r = arg;

	(void)err;
	HM_CHECK(r, RECEIPTS_MAGIC);
	r->busy = false;
	if (r->stopped)
		return;
	if (reply == NULL) {
		hm_timer_start(r->deps.tick, &r->retry, 500);
		return;
	}
	if (reply->type == HM_REPLY_STR && reply->s.len > 0 && reply->s.len < sizeof(r->last)) {
		memcpy(r->last, reply->s.p, reply->s.len);
		r->last[reply->s.len] = '\0';
	}
	r->known_last = true;
	follow(r);
}

static void follow(struct hm_receipts *r)
{
	const struct hm_str argv[] = {HM_STR("XREAD"),
				      HM_STR("COUNT"),
				      HM_STR("1000"),
				      HM_STR("BLOCK"),
				      HM_STR("1000"),
				      HM_STR("STREAMS"),
				      hm_str_n(r->key, r->key_len),
				      hm_str_c(r->last)};
	char key[HM_CTL_KEY_MAX];
	struct hm_str ask_last[3] = {HM_STR("HGET"), HM_STR_NULL, r->deps.node_id};

	if (r->line == NULL || r->busy || r->stopped || !hm_redis_line_up(r->line))
		return;
	r->busy = true;
	if (!r->known_last) {
		position_key(r, key, sizeof(key), &ask_last[1]);
		hm_redis_line_send(r->line, ask_last, 3, 10000, on_position, r);
		return;
	}
	hm_redis_line_send(r->line, argv, hm_countof(argv), 15000, on_read, r);
}

static void on_up(void *arg)
{
	follow(arg);
}

static void on_retry(struct hm_timer *t)
{
	follow(hm_container_of(t, struct hm_receipts, retry));
}

/* -- life -------------------------------------------------------------------------------------------- */

struct hm_receipts *hm_receipts_new(const struct hm_receipts_deps *deps)
{
	struct hm_receipts *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	HM_MAGIC_SET(r, RECEIPTS_MAGIC);
	r->deps = *deps;
	r->key_len = hm_ctl_key(deps->prefix, "receipts", r->key, sizeof(r->key));
	strcpy(r->last, "0-0");
	hm_list_init(&r->batches);
	hm_list_init(&r->later);
	hm_slab_init(&r->later_slab, "receipts to look at again", sizeof(struct later), 0);
	hm_slab_init(&r->ask_slab, "receipts asked about", sizeof(struct ask), 0);
	hm_timer_init(&r->again, on_again);
	hm_timer_init(&r->retry, on_retry);
	hm_timer_init(&r->save, on_save);
	if (!deps->follow)
		return r;
	r->line = hm_redis_line_open(deps->redis, hm_str_n(r->key, r->key_len));
	if (r->line == NULL) {
		hm_receipts_free(r);
		return NULL;
	}
	hm_redis_line_on_up(r->line, on_up, r);
	hm_timer_start(deps->tick, &r->save, SAVE_EVERY_MS);
	follow(r);
	return r;
}

void hm_receipts_close(struct hm_receipts *r, void (*on_closed)(void *arg), void *arg)
{
	struct hm_node *n;

	HM_CHECK(r, RECEIPTS_MAGIC);
	hm_assert(!r->stopped);
	r->stopped = true;
	hm_timer_stop(r->deps.tick, &r->again);
	hm_timer_stop(r->deps.tick, &r->retry);
	hm_timer_stop(r->deps.tick, &r->save);
	while ((n = hm_list_pop(&r->later)) != NULL)
		hm_slab_free(&r->later_slab, hm_container_of(n, struct later, node));
	if (r->line != NULL)
		hm_redis_line_close(r->line);
	r->line = NULL;
	r->on_closed = on_closed;
	r->closed_arg = arg;
	closed(r);
}

void hm_receipts_free(struct hm_receipts *r)
{
	if (r == NULL)
		return;
	HM_CHECK(r, RECEIPTS_MAGIC);
	hm_assert(r->looks == 0 && hm_list_empty(&r->batches) && hm_list_empty(&r->later));
	hm_slab_fini(&r->later_slab);
	hm_slab_fini(&r->ask_slab);
	HM_MAGIC_CLEAR(r);
	free(r);
}
