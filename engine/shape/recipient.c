/*
 * recipient.c - lines of messages to one address
 *
 *   first to an address ──▶ a line, asked for with others of this pass in one command
 *                             │ granted                │ not now
 *                             ▼                        ▼
 *                        turn of the first       the line waits as long as Redis said, then asks again
 *
 * One hash per address, `{<prefix>:ch:<channel>}:to:<hash>`, in the form of share.c; it lapses after twice the longest window.
 * A line asks for as many tokens as messages stand in it (at most ASK_MAX), so that an address with a backlog costs one
 * command per token at worst, and addresses nobody limits (their first message) cost one command for LINES_BATCH of them.
 *
 * Large quotas (a device that may have hundreds a minute) would be asked for in vain for nearly every message. Of those
 * from CREDIT_FROM on each shard may use a sixteenth by itself, counted per hash of an address; Redis then shares half of the
 * quota. With up to eight shards the sum stays below what is declared; with more only if all of them
 * write to the same address at once.
 *
 * Without Redis nobody's turn comes: lines are asked for again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "shape/shape_int.h"

#define ASK_MAX	     16
#define RETRY_MS     200
#define LINES_MAX    1000000 /* per shard; beyond, messages pass unasked rather than fail */
#define BUCKETS	     256
#define CREDIT_FROM  100
#define CREDIT_SLOTS 16384 /* of uint16_t; addresses that share one only ask sooner */

struct hm_shape_line {
	uint32_t magic;
	bool asking, resting; /* resting: until its timer */
	struct hm_shape *shape;
	struct hm_shape_line *chain;
	uint64_t hash;
	struct hm_list turns;
	struct hm_node node; /* shape.to_ask */
	struct hm_timer timer;
	struct line_ask *ask;
	uint32_t place; /* in ask */
};

struct line_ask {
	uint32_t magic;
	struct hm_shaper *s;
	uint32_t n;
	struct hm_shape_line *lines[HM_SHAPE_LINES_BATCH]; /* NULL: gone */
};
#define LINE_ASK_MAGIC 0x736c6173u

static const char lines_lua[] = "local qs, out = {}, {} "
				"local first = 3 + #KEYS "
				"local longest = 1000 "
				"for i = first, #ARGV, 3 do "
				"  qs[#qs+1] = {tonumber(ARGV[i]), tonumber(ARGV[i+1]), tonumber(ARGV[i+2])} "
				"  longest = math.max(longest, tonumber(ARGV[i+1])) "
				"end "
				"for k = 1, #KEYS do "
				"  local key, n, wait, h = KEYS[k], tonumber(ARGV[2+k]), 0, {} "
				"  local all = redis.call('HGETALL', key) "
				"  for i = 1, #all, 2 do h[all[i]] = all[i+1] end "
				"  if h.s and tonumber(h.s) > now then n, wait = 0, tonumber(h.s) - now "
				"  else "
				"    local got = {} "
				"    for i = 1, #qs do "
				"      local q = look(h, qs[i][1], qs[i][2], qs[i][3], 0, 0, 0) "
				"      got[i] = q n = math.min(n, q.free) "
				"    end "
				"    n = math.max(n, 0) "
				"    for i = 1, #got do wait = math.max(wait, take(key, got[i], n)) end "
				"    redis.call('PEXPIRE', key, string.format('%.0f', longest * 2)) "
				"  end "
				"  out[#out+1] = n out[#out+1] = wait "
				"end "
				"return out";

static struct hm_redis_script *lines_script(void)
{
	static char *text;
	static struct hm_redis_script script = {.name = "recipients"};
	static bool made;

	if (!__atomic_load_n(&made, __ATOMIC_ACQUIRE)) {
		static char room[16384];
		size_t n = strlen(share_lua);

		/* As in share.c: everybody writes the same. */
		hm_assert(n + sizeof(lines_lua) <= sizeof(room));
		memcpy(room, share_lua, n);
		memcpy(room + n, lines_lua, sizeof(lines_lua));
		text = room;
		script.source = text;
		__atomic_store_n(&made, true, __ATOMIC_RELEASE);
	}
	return &script;
}

void recipient_slabs_init(struct hm_shaper *s)
{
	hm_slab_init(&s->lines, "recipient lines", sizeof(struct hm_shape_line), LINES_MAX);
	hm_slab_init(&s->line_asks, "recipient askings", sizeof(struct line_ask), 0);
}

void recipient_slabs_fini(struct hm_shaper *s)
{
	hm_slab_fini(&s->lines);
	hm_slab_fini(&s->line_asks);
}

/* -- the table ------------------------------------------------------------------------------------ */

static struct hm_shape_line *find(const struct hm_shape *sh, uint64_t hash)
{
	struct hm_shape_line *l = sh->table ? sh->table[hash & (sh->n_buckets - 1)] : NULL;

	while (l != NULL && l->hash != hash)
		l = l->chain;
	return l;
}

static bool grow(struct hm_shape *sh)
{
	size_t n = sh->n_buckets ? sh->n_buckets * 4 : BUCKETS;
	struct hm_shape_line **v = calloc(n, sizeof(*v));

	if (v == NULL)
		return sh->table != NULL; /* longer chains, nothing worse */
	for (size_t i = 0; i < sh->n_buckets; i++)
		for (struct hm_shape_line *l = sh->table[i], *next; l != NULL; l = next) {
			next = l->chain;
			l->chain = v[l->hash & (n - 1)];
			v[l->hash & (n - 1)] = l;
		}
	free(sh->table);
	sh->table = v;
	sh->n_buckets = n;
	return true;
}

static void line_free(struct hm_shape_line *l)
{
	struct hm_shape *sh = l->shape;
	struct hm_shape_line **at = &sh->table[l->hash & (sh->n_buckets - 1)];

	HM_CHECK(l, HM_SHAPE_LINE_MAGIC);
	while (*at != l)
		at = &(*at)->chain;
	*at = l->chain;
	sh->n_lines--;
	if (hm_node_linked(&l->node))
		hm_list_remove(&sh->to_ask, &l->node);
	if (l->ask != NULL)
		l->ask->lines[l->place] = NULL;
	hm_timer_stop(sh->s->deps.tick, &l->timer);
	HM_MAGIC_CLEAR(l);
	hm_slab_free(&sh->s->lines, l);
}

static void ask_soon(struct hm_shape_line *l)
{
	if (l->asking || hm_node_linked(&l->node))
		return;
	hm_list_push(&l->shape->to_ask, &l->node);
	hm_flush_later(l->shape->s->deps.tick, &l->shape->ask_lines);
}

/* Up to n messages may leave; each may join other lines, or this one again. */
static void turns(struct hm_shape_line *l, uint64_t n)
{
	struct hm_node *x;

	for (n = hm_min(n, (uint64_t)l->turns.len); n > 0 && (x = hm_list_pop(&l->turns)) != NULL; n--) {
		struct hm_shape_turn *t = hm_container_of(x, struct hm_shape_turn, node);

		t->line = NULL;
		t->on_turn(t);
	}
}

static void on_line_timer(struct hm_timer *tm)
{
	struct hm_shape_line *l = hm_container_of(tm, struct hm_shape_line, timer);

	HM_CHECK(l, HM_SHAPE_LINE_MAGIC);
	l->resting = false;
	if (hm_list_empty(&l->turns)) {
		line_free(l);
		return;
	}
	if (l->shape->recipient.n > 0) {
		ask_soon(l);
		return;
	}
	/* No quota, only the provider's word: it is over for all of them. */
	turns(l, UINT64_MAX);
	if (hm_list_empty(&l->turns) && !l->resting)
		line_free(l);
}

static struct hm_shape_line *line_new(struct hm_shape *sh, uint64_t hash)
{
	struct hm_shape_line *l;

	if (sh->n_lines >= sh->n_buckets && !grow(sh))
		return NULL;
	l = hm_slab_alloc(&sh->s->lines);
	if (l == NULL)
		return NULL;
	memset(l, 0, sizeof(*l));
	HM_MAGIC_SET(l, HM_SHAPE_LINE_MAGIC);
	l->shape = sh;
	l->hash = hash;
	hm_list_init(&l->turns);
	hm_timer_init(&l->timer, on_line_timer);
	l->chain = sh->table[hash & (sh->n_buckets - 1)];
	sh->table[hash & (sh->n_buckets - 1)] = l;
	sh->n_lines++;
	return l;
}

/* -- Redis ---------------------------------------------------------------------------------------- */

static void rest(struct hm_shape_line *l, uint64_t ms)
{
	l->resting = true;
	hm_timer_start(l->shape->s->deps.tick, &l->timer, ms);
}

static void line_answer(struct hm_shape_line *l, uint64_t granted, uint64_t wait_ms)
{
	l->asking = false;
	l->ask = NULL;
	if (granted > 0)
		turns(l, granted);
	if (hm_list_empty(&l->turns)) {
		/* The next message of this address may come at once; without the line it only asks again. */
		if (!l->resting && !hm_node_linked(&l->node))
			line_free(l);
	} else if (wait_ms > 0) {
		l->shape->stats->recipient_waits++;
		if (!l->resting)
			rest(l, wait_ms);
	} else if (!l->resting) {
		ask_soon(l);
	}
}

static void on_lines(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct line_ask *a = arg;
	struct hm_shaper *s = a->s;

	HM_CHECK(a, LINE_ASK_MAGIC);
	if (reply == NULL && err->code == HM_EREDIS)
		HM_ERROR(DISPATCH, "quotas per recipient cannot be shared", HM_E(err));
	for (uint32_t i = 0; i < a->n; i++) {
		struct hm_shape_line *l = a->lines[i];
		const struct hm_reply *n = hm_reply_at(reply, 2 * i), *wait = hm_reply_at(reply, 2 * i + 1);

		if (l == NULL)
			continue;
		HM_CHECK(l, HM_SHAPE_LINE_MAGIC);
		if (n == NULL || wait == NULL)
			line_answer(l, 0, RETRY_MS);
		else
			line_answer(l, n->i > 0 ? (uint64_t)n->i : 0,
				    wait->i > 0 ? hm_min((uint64_t)wait->i, (uint64_t)HM_SHAPE_WAIT_MAX_MS)
						: 0);
	}
	HM_MAGIC_CLEAR(a);
	hm_slab_free(&s->line_asks, a);
	shape_command_done(s);
}

/* A single large quota: see above. */
static bool has_credit(const struct hm_quotas *q)
{
	return q->n == 1 && q->v[0].max >= CREDIT_FROM;
}

static void credited(const struct hm_quotas *q, struct hm_quotas *out)
{
	*out = *q;
	if (!has_credit(q))
		return;
	out->v[0].max /= 2;
	out->v[0].burst = (out->v[0].burst + 1) / 2;
}

static void send_batch(struct hm_shape *sh)
{
	struct hm_shaper *s = sh->s;
	struct hm_arena *arena = &s->deps.tick->scratch;
	struct hm_arena_mark mark = hm_arena_mark(arena);
	struct line_ask *a = hm_slab_alloc(&s->line_asks);
	struct hm_str keys[HM_SHAPE_LINES_BATCH], args[2 + HM_SHAPE_LINES_BATCH + 3 * HM_QUOTAS_MAX];
	struct hm_quotas q;
	struct hm_node *n;
	size_t k;

	if (a == NULL) {
		while ((n = hm_list_pop(&sh->to_ask)) != NULL)
			rest(hm_container_of(n, struct hm_shape_line, node), RETRY_MS);
		return;
	}
	HM_MAGIC_SET(a, LINE_ASK_MAGIC);
	a->s = s;
	a->n = 0;
	while (a->n < HM_SHAPE_LINES_BATCH && (n = hm_list_pop(&sh->to_ask)) != NULL) {
		struct hm_shape_line *l = hm_container_of(n, struct hm_shape_line, node);
		char what[24];

		snprintf(what, sizeof(what), "to:%016" PRIx64, l->hash);
		keys[a->n] = share_key(sh, what, arena);
		args[2 + a->n] = hm_arena_printf(arena, "%zu", hm_min(l->turns.len, (size_t)ASK_MAX));
		l->asking = true;
		l->ask = a;
		l->place = a->n;
		a->lines[a->n++] = l;
	}
	credited(&sh->recipient, &q);
	args[0] = hm_arena_printf(arena, "%" PRIu64, hm_clock_offset_ms());
	args[1] = HM_STR("0");
	k = 2 + a->n;
	k += share_quota_args(&q, arena, args + k);
	s->open++;
	hm_redis_eval(s->deps.redis, lines_script(), keys, a->n, args, k, on_lines, a);
	hm_arena_rewind(arena, mark);
}

static void on_ask_lines(struct hm_flush *f)
{
	struct hm_shape *sh = hm_container_of(f, struct hm_shape, ask_lines);

	HM_CHECK(sh, HM_SHAPE_MAGIC);
	while (!hm_list_empty(&sh->to_ask))
		send_batch(sh);
}

/* -- what dispatch asks ------------------------------------------------------------------------------ */

void lines_init(struct hm_shape *sh)
{
	hm_list_init(&sh->to_ask);
	hm_flush_init(&sh->ask_lines, on_ask_lines);
}

void lines_fini(struct hm_shape *sh)
{
	hm_flush_cancel(sh->s->deps.tick, &sh->ask_lines);
	for (size_t i = 0; i < sh->n_buckets; i++)
		while (sh->table[i] != NULL) {
			struct hm_shape_line *l = sh->table[i];
			struct hm_node *n;

			while ((n = hm_list_pop(&l->turns)) != NULL)
				hm_container_of(n, struct hm_shape_turn, node)->line = NULL;
			line_free(l);
		}
	free(sh->table);
	free(sh->credit);
	sh->table = NULL;
	sh->credit = NULL;
	sh->n_buckets = 0;
}

/* true: this shard's own part of a large quota covers it. */
static bool covered(struct hm_shape *sh, uint64_t hash)
{
	const struct hm_quota *q = &sh->recipient.v[0];
	uint64_t now = shape_now(sh);
	uint32_t most = q->burst ? hm_min(q->burst, q->max) : q->max;
	uint16_t *at;

	if (hm_likely(!has_credit(&sh->recipient)))
		return false;
	if (sh->credit == NULL && (sh->credit = calloc(CREDIT_SLOTS, sizeof(*sh->credit))) == NULL)
		return false;
	if (now >= sh->credit_until_ms) {
		memset(sh->credit, 0, CREDIT_SLOTS * sizeof(*sh->credit));
		sh->credit_until_ms = now + q->window_ms;
	}
	at = &sh->credit[hash & (CREDIT_SLOTS - 1)];
	/* Two of our windows touch one of theirs: half of a sixteenth in each. */
	if (*at >= hm_min(most / 32u, (uint32_t)UINT16_MAX))
		return false;
	++*at;
	return true;
}

bool hm_shape_has_lines(const struct hm_shape *sh)
{
	return sh->recipient.n > 0 || sh->n_lines > 0;
}

bool hm_shape_turn(struct hm_shape *sh, struct hm_str addr, struct hm_shape_turn *t)
{
	uint64_t hash = hm_hash64(addr.p, addr.len, 0x746f);
	struct hm_shape_line *l = find(sh, hash);

	hm_node_init(&t->node);
	t->line = NULL;
	if (l == NULL) {
		if (sh->recipient.n == 0 || covered(sh, hash))
			return true;
		l = line_new(sh, hash);
		if (l == NULL)
			return true;
	}
	t->line = l;
	hm_list_push(&l->turns, &t->node);
	if (!l->resting)
		ask_soon(l);
	return false;
}

void hm_shape_turn_leave(struct hm_shape_turn *t)
{
	struct hm_shape_line *l = t->line;

	if (l == NULL)
		return;
	HM_CHECK(l, HM_SHAPE_LINE_MAGIC);
	hm_list_remove(&l->turns, &t->node);
	t->line = NULL;
	/* A line nobody stands in goes when its timer or its answer comes. */
}

void hm_shape_rest_recipient(struct hm_shape *sh, struct hm_str addr, uint64_t ms)
{
	uint64_t hash = hm_hash64(addr.p, addr.len, 0x746f);
	struct hm_shape_line *l = find(sh, hash);

	ms = hm_min(ms, (uint64_t)86400000);
	if (ms == 0)
		return;
	if (l == NULL && (l = line_new(sh, hash)) == NULL)
		return;
	if (l->resting && l->timer.node.key >= sh->s->deps.tick->now_ns + ms * 1000000u)
		return;
	if (hm_node_linked(&l->node))
		hm_list_remove(&sh->to_ask, &l->node);
	rest(l, ms);
}
