/*
 * handback.c - the end of a drain: what has not been sent becomes new entries, so that another node goes on at once
 *
 * An entry that stays pending under the name of a process that is gone can be taken over, but whoever does so cannot read this
 * node's ledger or its in-flight table, and has to call every message of it unknown. So when all requests have their answers, all
 * records are durable and nothing is on its way to Redis any more, each job that is left is written anew:
 *
 *   recipients that are final, or away (aside.c)           left out
 *   runs of recipients nobody has begun with               an entry each
 *   one that has attempts, a place in its route, a
 *   reservation behind it                                  an entry of its own; `res` says where it goes on (ingest/job.h)
 *
 * The entries of a job are added, and the old one acknowledged and deleted, in one script: a crash at any point leaves either
 * the old entry or the new ones. The script does nothing for an entry that is not pending under a name of this consumer, so
 * that its repetition after a lost answer does no harm.
 *
 * An entry nobody has looked into (it came while reading stopped) goes back as it is; field `s` keeps its first id, as for entries
 * that spill.c brings back.
 *
 * What stays pending, as after a crash: everything when Redis is away; jobs that carry what only this node knows and their entry
 * cannot say (taken over from another node, compared with an earlier run and not begun again, out of memory).
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/log.h"
#include "dispatch/dispatch_int.h"

#define HANDBACK_MAGIC 0x68626163u
#define BATCH_ITEMS    64
#define BATCH_BYTES    (1u << 20)  /* of payloads: reached, the batch is closed */
#define JOB_BYTES      (24u << 20) /* what one job may become; a command has at most 32 MiB */
#define OPEN_MAX       8
#define RETRY_MS       200

struct back {		   /* a message that was dropped while draining */
	struct back *next; /* of its job */
	uint32_t index, attempts;
	bool plain; /* nothing behind it */
	struct hm_job_resume res;
};

struct raw { /* an entry nobody has looked into */
	uint32_t partition;
	uint8_t lane, len;
	char entry[ENTRY_ID_MAX];
};

struct cmd { /* one script under way */
	uint32_t magic;
	struct hm_dispatch *d;
	uint32_t partition, n;
	struct job *jobs[BATCH_ITEMS]; /* NULL: a raw one */
	struct raw raws[BATCH_ITEMS];
};

struct hm_handback {
	struct hm_dispatch *d;
	struct hm_arena arena; /* backs */
	struct raw *raws;
	size_t n_raws, cap_raws;
	struct job **todo; /* in the order they came, while it runs */
	size_t n_todo;
	uint32_t open;
	bool running;
	uint64_t entries; /* given back */
	struct hm_timer retry;
};

static struct hm_redis_script back_script = {
	.name = "handback",
	/* KEYS: away, one stream per lane; ARGV: group, me, then per item: lane, entry, number of payloads (-1: as it is),
	 * payloads. Returns per item 1, or 0: the entry is not ours. */
	.source = "local out = {}\n"
		  "local i = 3\n"
		  "while i <= #ARGV do\n"
		  "  local l, id, n = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])\n"
		  "  local s = KEYS[2 + tonumber(l)]\n"
		  "  local p = redis.pcall('XPENDING', s, ARGV[1], id, id, 1)\n"
		  "  if p.err or not p[1] or (p[1][2] ~= ARGV[2] and p[1][2] ~= ARGV[2] .. '+') then\n"
		  "    out[#out + 1] = 0\n"
		  "  else\n"
		  "    if n < 0 then\n"
		  "      local e = redis.call('XRANGE', s, id, id)\n"
		  "      if e[1] then\n"
		  "        local f, first = e[1][2], false\n"
		  "        for k = 1, #f, 2 do first = first or f[k] == 's' end\n"
		  "        if not first then f[#f + 1] = 's' f[#f + 1] = id end\n"
		  "        redis.call('XADD', s, '*', unpack(f))\n"
		  "      end\n"
		  "    end\n"
		  "    for k = 1, n do redis.call('XADD', s, '*', 'j', ARGV[i + 2 + k]) end\n"
		  "    redis.call('XACK', s, ARGV[1], id)\n"
		  "    redis.call('XDEL', s, id)\n"
		  "    redis.call('HDEL', KEYS[1], l .. ':' .. id)\n"
		  "    out[#out + 1] = 1\n"
		  "  end\n"
		  "  i = i + 3 + math.max(n, 0)\n"
		  "end\n"
		  "return out\n",
};

/* -- what is to go back ---------------------------------------------------------------------------- */

bool hm_handback_msg(struct msg *m)
{
	struct job *j = m->job;
	struct hm_handback *h = j->d->handback;
	struct back *b = hm_arena_alloc(&h->arena, sizeof(*b));
	struct hm_str chan = m->chan != NULL ? m->chan->info->name : HM_STR_NULL;

	if (b == NULL)
		return false;
	memset(b, 0, sizeof(*b));
	b->index = m->index;
	b->attempts = m->attempts;
	b->plain = m->attempts == 0 && m->passed == 0 && m->part == 0 && !m->rerouted && !m->reached &&
		   !m->reserved;
	b->res = (struct hm_job_resume){
		.there = true,
		.job = j->origin,
		.accepted_ms = j->accepted_ms,
		.hop = j->hop,
	};
	if (!b->plain) {
		/* The channel may go with its configuration, the job stays. */
		b->res.held = m->reserved;
		b->res.sent = m->reached;
		b->res.chan = hm_arena_str(&j->arena, chan);
		b->res.route = m->rerouted && m->route != NULL ? hm_arena_str(&j->arena, m->route->name)
							       : HM_STR_NULL;
		b->res.pos = m->route_pos;
		b->res.chan_attempts = m->chan_attempts;
		b->res.parts = m->part;
		if (chan.len > 0 && b->res.chan.p == NULL)
			return false;
	}
	b->next = j->backs;
	j->backs = b;
	return true;
}

void hm_handback_entry(struct hm_dispatch *d, uint32_t partition, enum hm_lane lane, struct hm_str entry)
{
	struct hm_handback *h = d->handback;
	struct raw *r;

	if (entry.len == 0 || entry.len >= ENTRY_ID_MAX)
		return;
	if (h->n_raws == h->cap_raws) {
		size_t cap = h->cap_raws ? h->cap_raws * 2 : 256;
		struct raw *v = realloc(h->raws, cap * sizeof(*v));

		if (v == NULL)
			return; /* stays pending */
		h->raws = v;
		h->cap_raws = cap;
	}
	r = &h->raws[h->n_raws++];
	r->partition = partition;
	r->lane = (uint8_t)lane;
	r->len = (uint8_t)entry.len;
	memcpy(r->entry, entry.p, entry.len);
}

/* -- a job as entries ------------------------------------------------------------------------------- */

enum { GONE, FRESH, PLAIN, OWN }; /* of a recipient */

/* Says of each recipient what becomes of it; false: the entry stays as it is. */
static bool sort_out(struct job *j, uint8_t *what, struct back **own)
{
	const struct hm_job_spec *s = &j->spec;

	if (j->foreign || j->taken || j->unrecorded || j->stays || j->lent || j->open > 0 || j->owed > 0 ||
	    j->ticket > j->d->durable)
		return false;
	for (uint32_t i = j->cursor; i < s->n_rcpts; i++) {
		struct hm_ulid id = j->id;

		if (j->done != NULL && (j->done[i >> 3] & (1u << (i & 7))))
			continue;
		hm_ulid_add(&id, s->n0 + i);
		if (j->redelivered &&
		    ((j->prior != NULL && j->prior[i] != NULL) || hm_inflight_runs(j->d->deps.old, &id) > 0))
			return false;
		what[i] = FRESH;
	}
	for (struct back *b = j->backs; b != NULL; b = b->next) {
		what[b->index] = b->plain ? PLAIN : OWN;
		own[b->index] = b;
	}
	return true;
}

static bool put_run(struct job *j, uint32_t first, uint32_t n, uint8_t what, const struct back *b,
		    struct hm_buf *out)
{
	struct hm_dispatch *d = j->d;
	struct hm_job_spec s = j->spec;
	struct hm_ulid id = j->id;

	hm_ulid_add(&id, j->spec.n0 + first);
	s.n0 = 0;
	s.expires_ms = j->expires_ms; /* as it was reckoned: its time does not begin again */
	if (s.at_ms >= s.expires_ms)
		s.at_ms = 0;
	if (what == FRESH && !s.res.there) {
		s.res = (struct hm_job_resume){
			.there = true, .job = j->origin, .accepted_ms = j->accepted_ms};
	} else if (what != FRESH) { /* it has been due */
		s.at_local = HM_STR_NULL;
		s.local_past = HM_LOCAL_NOW;
		s.over_ms = 0;
		s.attempts = b->attempts;
		s.res = b->res;
	}
	s.res.hop = j->hop;
	hm_buf_init_arena(out, &d->t->scratch, HM_JOB_MAX_BYTES);
	/* It is in this node's books, whoever accepted it: who works on it next tells this node. */
	hm_job_put_entry(out, &s, &id, hm_str_n(d->acc, d->acc_len), first, n);
	return out->err == 0 && out->len <= d->o.max_entry_bytes + 512;
}

/* The payloads of its entries; -1: it stays as it is. */
static int encode(struct job *j, struct hm_str **v_r, size_t *bytes_r)
{
	struct hm_arena *a = &j->d->t->scratch;
	uint32_t n = j->spec.n_rcpts, i = 0;
	uint8_t *what = hm_arena_alloc(a, n);
	struct back **own = hm_arena_alloc(a, n * sizeof(struct back *));
	struct hm_str *v = hm_arena_alloc(a, n * sizeof(struct hm_str));
	size_t bytes = 0;
	int k = 0;

	if (what == NULL || own == NULL || v == NULL)
		return -1;
	memset(what, GONE, n);
	memset((void *)own, 0, n * sizeof(struct back *));
	if (!sort_out(j, what, own))
		return -1;
	while (i < n) {
		uint32_t first = i++;
		struct hm_buf b;

		if (what[first] == GONE)
			continue;
		while (i < n && what[first] != OWN && what[i] == what[first])
			i++;
		if (!put_run(j, first, i - first, what[first], own[first], &b) || bytes + b.len > JOB_BYTES)
			return -1;
		v[k++] = hm_buf_str(&b);
		bytes += b.len;
	}
	*v_r = v;
	*bytes_r = bytes;
	return k;
}

/* -- out -------------------------------------------------------------------------------------------- */

static void go_on(struct hm_handback *h);

static void on_back(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct cmd *c = arg;
	struct hm_dispatch *d;
	struct hm_handback *h;

	HM_CHECK(c, HANDBACK_MAGIC);
	d = c->d;
	h = d->handback;
	(void)hm_fault(HM_FAULT_handback_after);
	h->open--;
	for (uint32_t i = 0; i < c->n; i++) {
		struct job *j = c->jobs[i];
		const struct hm_reply *one = hm_reply_at(reply, i);

		if (reply != NULL)
			h->entries += one != NULL && one->i == 1;
		else if (j != NULL)
			h->todo[h->n_todo++] = j; /* once more */
		else
			hm_handback_entry(d, c->partition, (enum hm_lane)c->raws[i].lane,
					  hm_str_n(c->raws[i].entry, c->raws[i].len));
		if (reply != NULL && j != NULL)
			hm_job_free(j);
	}
	if (reply == NULL) {
		HM_WARN(DISPATCH, "entries could not be handed back; tried again", HM_E(err));
		if (!d->closed && !hm_timer_armed(&h->retry))
			hm_timer_start(d->t, &h->retry, RETRY_MS);
	}
	HM_MAGIC_CLEAR(c);
	free(c);
	go_on(h);
	hm_dispatch_check_drained(d);
}

static void on_retry(struct hm_timer *t)
{
	struct hm_handback *h = hm_container_of(t, struct hm_handback, retry);

	go_on(h);
	hm_dispatch_check_drained(h->d);
}

struct batch {
	struct cmd *c;
	struct hm_str *args;
	size_t n, cap, bytes;
};

static bool add(struct batch *b, struct hm_arena *a, struct hm_str s)
{
	if (b->n == b->cap) {
		size_t cap = b->cap ? b->cap * 2 : 512;
		struct hm_str *v = hm_arena_alloc(a, cap * sizeof(*v));

		if (v == NULL)
			return false;
		if (b->n)
			memcpy(v, b->args, b->n * sizeof(*v));
		b->args = v;
		b->cap = cap;
	}
	b->args[b->n++] = s;
	b->bytes += s.len;
	return true;
}

/* false: out of memory; what the item has put there so far does not count. */
static bool add_item(struct batch *b, struct hm_arena *a, uint8_t lane, struct hm_str entry,
		     const struct hm_str *v, int n)
{
	size_t before = b->n;
	bool ok = add(b, a, hm_arena_printf(a, "%u", lane)) && add(b, a, entry) &&
		  add(b, a, hm_arena_printf(a, "%d", n));

	for (int i = 0; i < n && ok; i++)
		ok = add(b, a, v[i]);
	if (!ok)
		b->n = before;
	return ok;
}

static void send_batch(struct hm_handback *h, struct batch *b)
{
	struct hm_dispatch *d = h->d;
	char k[1 + HM_LANE_COUNT][128];
	struct hm_str keys[1 + HM_LANE_COUNT];
	uint32_t p = b->c->partition;

	keys[0] = hm_str_n(k[0], hm_job_key(d->o.prefix, p, "away", k[0], sizeof(k[0])));
	for (int l = 0; l < HM_LANE_COUNT; l++)
		keys[1 + l] = hm_str_n(k[1 + l], hm_job_stream_key(d->o.prefix, p, (enum hm_lane)l, k[1 + l],
								   sizeof(k[1 + l])));
	h->open++;
	(void)hm_fault(HM_FAULT_handback_before);
	hm_redis_eval(d->deps.redis, &back_script, keys, hm_countof(keys), b->args, b->n, on_back, b->c);
}

/* Takes from the lists what belongs to one partition, in order, and sends it. false: nothing is left for it. */
static bool one_batch(struct hm_handback *h, uint32_t p)
{
	struct hm_dispatch *d = h->d;
	struct hm_arena *a = &d->t->scratch;
	struct batch b = {.c = calloc(1, sizeof(*b.c))};
	size_t kept = 0;
	bool full = b.c == NULL;

	if (full)
		return false;
	HM_MAGIC_SET(b.c, HANDBACK_MAGIC);
	b.c->d = d;
	b.c->partition = p;
	full = !add(&b, a, d->o.group) || !add(&b, a, hm_str_c(d->consumer));
	for (size_t i = 0; i < h->n_todo; i++) {
		struct job *j = h->todo[i];
		struct hm_str *v = NULL;
		size_t bytes = 0;
		int n;

		if (j->partition != p || full || b.c->n == BATCH_ITEMS) {
			h->todo[kept++] = j;
			continue;
		}
		n = encode(j, &v, &bytes);
		if (n < 0 ||
		    (b.c->n == 0 && !add_item(&b, a, j->lane, hm_str_n(j->entry, j->entry_len), v, n)))
			continue; /* stays pending */
		if (b.c->n > 0 && (b.bytes + bytes > JOB_BYTES ||
				   !add_item(&b, a, j->lane, hm_str_n(j->entry, j->entry_len), v, n))) {
			full = true;
			h->todo[kept++] = j;
			continue;
		}
		b.c->jobs[b.c->n++] = j;
		full = b.bytes > BATCH_BYTES;
	}
	h->n_todo = kept;
	kept = 0;
	for (size_t i = 0; i < h->n_raws; i++) {
		struct raw *r = &h->raws[i];

		if (r->partition != p || full || b.c->n == BATCH_ITEMS) {
			h->raws[kept++] = *r;
			continue;
		}
		b.c->raws[b.c->n] = *r;
		full = !add_item(&b, a, r->lane, hm_str_n(b.c->raws[b.c->n].entry, r->len), NULL, -1);
		if (full)
			h->raws[kept++] = *r;
		else
			b.c->n++;
	}
	h->n_raws = kept;
	if (b.c->n == 0) {
		HM_MAGIC_CLEAR(b.c);
		free(b.c);
		return false;
	}
	send_batch(h, &b);
	return true;
}

static void go_on(struct hm_handback *h)
{
	struct hm_dispatch *d = h->d;

	if (!h->running || d->drained || d->closed || !d->redis_up || hm_timer_armed(&h->retry))
		return;
	for (uint32_t p = 0; p < d->o.partitions && h->open < OPEN_MAX; p++) {
		struct hm_arena_mark mark = hm_arena_mark(&d->t->scratch);

		while (h->open < OPEN_MAX && one_batch(h, p))
			hm_arena_rewind(&d->t->scratch, mark); /* the command has been written */
		hm_arena_rewind(&d->t->scratch, mark);
	}
}

static int by_entry(const void *a, const void *b)
{
	const struct job *x = *(struct job *const *)a, *y = *(struct job *const *)b;

	if (x->entry_ms != y->entry_ms)
		return x->entry_ms < y->entry_ms ? -1 : 1;
	return memcmp(x->id.b, y->id.b, sizeof(x->id.b));
}

static void begin(struct hm_handback *h)
{
	struct hm_dispatch *d = h->d;

	h->running = true;
	if (d->jobs.len == 0)
		return;
	h->todo = malloc(d->jobs.len * sizeof(struct job *));
	if (h->todo == NULL) {
		HM_ERROR(DISPATCH, "out of memory: what is left stays pending", HM_U("entries", d->jobs.len));
		return;
	}
	hm_list_foreach (&d->jobs, n)
		h->todo[h->n_todo++] = hm_container_of(n, struct job, all);
	qsort((void *)h->todo, h->n_todo, sizeof(struct job *), by_entry);
}

bool hm_handback_done(struct hm_dispatch *d)
{
	struct hm_handback *h = d->handback;

	if (!h->running) {
		begin(h);
		go_on(h);
	}
	return h->open == 0 && h->n_todo == 0 && h->n_raws == 0 && !hm_timer_armed(&h->retry);
}

uint64_t hm_handback_count(const struct hm_dispatch *d)
{
	return d->handback->entries;
}

/* -- life ------------------------------------------------------------------------------------------- */

bool hm_handback_init(struct hm_dispatch *d)
{
	struct hm_handback *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return false;
	h->d = d;
	hm_arena_init(&h->arena, NULL, 0);
	hm_timer_init(&h->retry, on_retry);
	d->handback = h;
	return true;
}

void hm_handback_fini(struct hm_dispatch *d)
{
	struct hm_handback *h = d->handback;

	if (h == NULL)
		return;
	hm_timer_stop(d->t, &h->retry);
	hm_arena_fini(&h->arena);
	free(h->raws);
	free((void *)h->todo);
	free(h);
	d->handback = NULL;
}
