/*
 * moves.c - the books of several nodes: who tells whom that a job is no longer his
 *
 * Every node has a ledger of its own. A job is recorded where it is accepted (`acc` in the entry says where), and again
 * where it is worked on. So that it counts once over all nodes, whoever takes an entry that another node has in its
 * books tells that node: over HTTP accepted there, put aside by it, or taken over from its consumer.
 *
 *   here, entry taken ─▶ recorded: it counts here ─▶ durable ─▶ note ─▶ one XADD per tick, partition and node:
 *                        {hm:p}:moved:<node> ─▶ confirmed (job.owed, job.untold)
 *   taken over: {hm:p}:taken says who had the entry, since the script that took it (recover.c)
 *   there, every POLL_MS: XRANGE ─▶ record in the ledger (hm_ledger_put_moved) ─▶ durable ─▶ XDEL
 *
 * The invariant. Redis has a message in one entry at a time, and an entry under one consumer: that is its holder. Each change of
 * hands has a number, and nobody else has the same one for that message:
 *
 *   hop = `res.hop` of the entry (0: nobody has worked on it) + how often it was taken over ({hm:p}:taken) + 1
 *
 * `res.hop` is the hop of the holder that wrote the entry (aside.c, handback.c). What is recorded, and told, is about a
 * message *since hop h*, and each ledger believes the greatest hop it has heard of (store/owner.h). So
 *
 *   1. who accepts a message (hop 0) counts it from its record on: an answer to HTTP, an entry put aside for later;
 *   2. the holder with hop h counts it from when its own record is durable, and nobody is told before that;
 *   3. whoever counted it before stops with the record of what it was told: hop h is more than its own. A word that
 *      comes late, of a node that stood still or died and came back, has a smaller one, and changes nothing;
 *   4. the holder lets go of it (acknowledges, puts aside, gives back) only when all it had to tell are told: those are
 *      `acc` and everybody in `taken`, and the next holder has to tell it alone.
 *
 * At every moment at least one node counts it; where all inboxes {hm:p}:moved:* are empty, exactly one: the last holder. A kill
 * leaves the entry pending, whoever gets it then does it all again, and a repeat counts nothing. What left an entry
 * (aside.c: `away`) is no part of it any more, and not told with it. A node that is down reads what it was told when it
 * is back; while it was taken for dead and works on, what it records of such messages is kept and counts nothing.
 * A Redis that loses what it had confirmed gives numbers twice: then a message may count at the wrong one of two nodes.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/log.h"
#include "dispatch/dispatch_int.h"

#define NOTE_MAGIC 0x6e6f7465u
#define TELL_MAGIC 0x74656c6cu
#define PAGE	   "100"
#define TELL_MAX   200 /* notes of one entry */
#define ITEM_HEAD  (16 + 4 + 4 + 1 + 1 + 8 + 1)
#define KEEP_MS	   "2592000000" /* 30 days for a node that does not come back */
#define STREAM_MAX "1000000"
#define POLL_MS	   250
#define RETRY_MS   200

struct note { /* a job whose other node is to be told */
	uint32_t magic;
	struct hm_node node; /* moves.notes, or its tell */
	struct job *job;
	struct hm_str to;  /* in the job's arena */
	uint32_t first, n; /* which of its recipients */
	uint64_t ticket;   /* that they are here is durable with it */
};

struct tell {
	uint32_t magic;
	struct hm_dispatch *d;
	struct hm_list notes;
};

/* What this node is told, per partition of this shard. */
struct inbox {
	struct hm_dispatch *d;
	uint32_t partition;
	bool busy;	   /* asked, or waiting for the disk */
	uint64_t ticket;   /* of what was written down, 0 = nothing is */
	struct hm_buf ids; /* entries written down: length byte and text */
	uint32_t n;
	bool more;
};

struct hm_moves {
	struct hm_slab notes_slab, tells;
	struct hm_list notes;
	uint32_t n, tells_open, reads_open;
	struct hm_flush flush;
	struct hm_timer retry, poll;
	struct hm_dispatch *d;
	struct inbox *in; /* per partition */
};

static struct hm_redis_script tell_script = {
	.name = "moved_tell",
	/* KEYS: the node's stream; ARGV: most entries, ms to keep, who tells, items, their hops. */
	.source = "redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'by', ARGV[3], 'jobs', ARGV[4], "
		  "'hops', ARGV[5])\n"
		  "redis.call('PEXPIRE', KEYS[1], ARGV[2])\n"
		  "return 1\n",
};

static size_t stream_of(const struct hm_dispatch *d, uint32_t partition, struct hm_str node, char *out,
			size_t cap)
{
	char what[96];

	snprintf(what, sizeof(what), "moved:%.*s", (int)hm_min(node.len, (size_t)64), node.p);
	return hm_job_key(d->o.prefix, partition, what, out, cap);
}

/* -- telling -------------------------------------------------------------------------------------- */

static bool add_note(struct job *j, struct hm_str to, uint32_t first, uint32_t n_rcpts)
{
	struct hm_moves *x = j->d->moves;
	struct note *n;

	if (to.len == 0 || hm_str_eq(to, j->d->deps.node_id))
		return true;
	n = hm_slab_alloc(&x->notes_slab);
	if (n == NULL)
		return false;
	HM_MAGIC_SET(n, NOTE_MAGIC);
	n->node = (struct hm_node){0};
	n->job = j;
	n->to = to;
	n->first = first;
	n->n = n_rcpts;
	n->ticket = j->ticket;
	j->owed++;
	j->untold++;
	x->n++;
	hm_list_push(&x->notes, &n->node);
	hm_flush_later(j->d->t, &x->flush);
	return true;
}

static void note_free(struct hm_moves *x, struct note *n)
{
	struct job *j = n->job;

	HM_MAGIC_CLEAR(n);
	hm_slab_free(&x->notes_slab, n);
	x->n--;
	hm_assert(j->owed > 0 && j->untold > 0);
	j->owed--;
	j->untold--;
}

/* Everybody who may have these recipients in his books. */
static bool note_all(struct job *j, struct hm_str by, uint32_t first, uint32_t n)
{
	struct hm_str rest = j->from, node;
	bool ok = add_note(j, by, first, n);

	while (ok && hm_str_split(&rest, ',', &node)) {
		struct hm_str before = hm_str_n(j->from.p, (size_t)(node.p - j->from.p)), one;
		bool told = hm_str_eq(node, by);

		while (!told && hm_str_split(&before, ',', &one))
			told = hm_str_eq(one, node);
		ok = told || add_note(j, node, first, n);
	}
	return ok;
}

static uint32_t hop_of(const struct job *j)
{
	uint32_t hop = 1 + (j->spec.res.there ? j->spec.res.hop : 0), taken = 0;
	struct hm_str rest = j->from, node;

	while (hm_str_split(&rest, ',', &node))
		taken++;
	return hop + (j->foreign && taken == 0 ? 1 : taken);
}

static bool record_back(struct job *j, uint32_t first, uint32_t n)
{
	struct hm_ulid id = j->id;
	uint64_t ticket;

	hm_ulid_add(&id, j->spec.n0 + first);
	ticket = hm_ledger_put_moved(j->d->writer, &(struct hm_ledger_moved){
							   .id = id,
							   .n0 = hm_ulid_diff(&id, &j->origin),
							   .n = n,
							   .hop = j->hop,
							   .back = true,
							   .replay = j->spec.of.len > 0,
							   .lane = j->lane,
							   .accepted_ms = j->accepted_ms,
							   .campaign = j->spec.campaign,
							   .node = j->d->deps.node_id,
						   });
	j->ticket = hm_max(j->ticket, ticket);
	return ticket != 0;
}

bool hm_moves_take(struct job *j)
{
	struct hm_moves *x = j->d->moves;
	struct hm_str by = hm_job_acc_node(&j->spec);
	/* Another node had it: perhaps it was here before, and had left. */
	bool back = j->foreign || (j->spec.res.there && !hm_str_eq(by, j->d->deps.node_id));
	bool ok = true;

	j->hop = hop_of(j);
	for (uint32_t first = 0, n; ok && hm_aside_run(j, &first, &n); first += n)
		ok = !back || record_back(j, first, n);
	for (uint32_t first = 0, n; ok && hm_aside_run(j, &first, &n); first += n)
		ok = note_all(j, by, first, n);
	if (ok)
		return true;
	hm_list_foreach_safe (&x->notes, node, tmp) {
		struct note *n = hm_container_of(node, struct note, node);

		if (n->job != j)
			continue;
		hm_list_remove(&x->notes, node);
		note_free(x, n);
	}
	return false;
}

size_t hm_moves_field(const struct job *j, char *out, size_t cap)
{
	return (size_t)snprintf(out, cap, "%u:%.*s", j->lane, j->entry_len, j->entry);
}

static void put_u32(struct hm_buf *b, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		hm_buf_putc(b, (char)(v >> (8 * i)));
}

static void put_item(struct hm_buf *b, const struct note *note)
{
	const struct job *j = note->job;
	struct hm_ulid id = j->id;
	uint64_t ms = j->accepted_ms;
	uint32_t n0;
	struct hm_str campaign = j->spec.campaign;

	hm_ulid_add(&id, j->spec.n0 + note->first);
	n0 = hm_ulid_diff(&id, &j->origin);
	hm_buf_put(b, id.b, sizeof(id.b));
	put_u32(b, n0);
	put_u32(b, note->n);
	hm_buf_putc(b, j->spec.of.len > 0);
	hm_buf_putc(b, (char)j->lane);
	for (int i = 0; i < 8; i++)
		hm_buf_putc(b, (char)(ms >> (8 * i)));
	hm_buf_putc(b, (char)campaign.len);
	hm_buf_puts(b, campaign);
}

static void on_told(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct tell *t = arg;
	struct hm_dispatch *d = t->d;
	struct hm_moves *x = d->moves;
	struct hm_node *n;

	HM_CHECK(t, TELL_MAGIC);
	x->tells_open--;
	(void)hm_fault(HM_FAULT_moved_told);
	if (reply == NULL) {
		if (err->code == HM_EREDIS)
			HM_ERROR(DISPATCH, "another node cannot be told that its messages moved; tried again",
				 HM_E(err));
		hm_list_splice(&x->notes, &t->notes);
		if (!d->closed && !hm_timer_armed(&x->retry))
			hm_timer_start(d->t, &x->retry, RETRY_MS);
	}
	while ((n = hm_list_pop(&t->notes)) != NULL) {
		struct note *note = hm_container_of(n, struct note, node);
		struct job *j = note->job;

		note_free(x, note);
		if (j->untold == 0)
			hm_aside_told(d);
		hm_job_maybe_done(j);
	}
	HM_MAGIC_CLEAR(t);
	hm_slab_free(&x->tells, t);
	hm_dispatch_check_drained(d);
}

/* The first one about messages that are here for certain. */
static struct note *next_note(const struct hm_moves *x)
{
	hm_list_foreach (&x->notes, node) {
		struct note *n = hm_container_of(node, struct note, node);

		HM_CHECK(n, NOTE_MAGIC);
		if (n->ticket <= x->d->durable)
			return n;
	}
	return NULL;
}

/* All such notes for the node and partition of this one. */
static bool tell_one(struct hm_moves *x, const struct note *first)
{
	struct hm_dispatch *d = x->d;
	uint32_t partition = first->job->partition;
	struct tell *t = hm_slab_alloc(&x->tells);
	struct hm_str key, args[5];
	struct hm_str to = first->to;
	struct hm_buf b, hops;
	char k[192];

	if (t == NULL)
		return false;
	HM_MAGIC_SET(t, TELL_MAGIC);
	t->d = d;
	hm_list_init(&t->notes);
	hm_buf_init(&b, TELL_MAX * (ITEM_HEAD + 256));
	hm_buf_init(&hops, TELL_MAX * 4);
	hm_list_foreach_safe (&x->notes, node, tmp) {
		struct note *n = hm_container_of(node, struct note, node);

		HM_CHECK(n, NOTE_MAGIC);
		if (n->job->partition != partition || n->ticket > d->durable || !hm_str_eq(n->to, to))
			continue;
		put_item(&b, n);
		put_u32(&hops, n->job->hop);
		hm_list_remove(&x->notes, node);
		hm_list_push(&t->notes, node);
		if (t->notes.len == TELL_MAX)
			break;
	}
	if (b.err || hops.err) {
		hm_list_splice(&x->notes, &t->notes);
		HM_MAGIC_CLEAR(t);
		hm_slab_free(&x->tells, t);
		hm_buf_fini(&b);
		hm_buf_fini(&hops);
		return false;
	}
	key = hm_str_n(k, stream_of(d, partition, to, k, sizeof(k)));
	args[0] = HM_STR(STREAM_MAX);
	args[1] = HM_STR(KEEP_MS);
	args[2] = d->deps.node_id;
	args[3] = hm_buf_str(&b);
	args[4] = hm_buf_str(&hops);
	x->tells_open++;
	(void)hm_fault(HM_FAULT_moved_tell);
	hm_redis_eval(d->deps.redis, &tell_script, &key, 1, args, hm_countof(args), on_told, t);
	hm_buf_fini(&b);
	hm_buf_fini(&hops);
	return true;
}

static void on_flush(struct hm_flush *f)
{
	struct hm_moves *x = hm_container_of(f, struct hm_moves, flush);
	const struct note *first;

	while ((first = next_note(x)) != NULL)
		if (!x->d->redis_up || !tell_one(x, first)) {
			if (!hm_timer_armed(&x->retry))
				hm_timer_start(x->d->t, &x->retry, RETRY_MS);
			return;
		}
}

static void on_retry(struct hm_timer *t)
{
	struct hm_moves *x = hm_container_of(t, struct hm_moves, retry);

	hm_flush_later(x->d->t, &x->flush);
}

/* -- being told ------------------------------------------------------------------------------------ */

static uint64_t le(const char *p, int n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | (uint8_t)p[n];
	return v;
}

/* One item; false: the rest is not understood. */
static bool read_item(struct hm_str *rest, struct hm_ledger_moved *m)
{
	const char *p = rest->p;
	size_t clen;

	if (rest->len < ITEM_HEAD)
		return false;
	clen = (uint8_t)p[ITEM_HEAD - 1];
	if (rest->len < ITEM_HEAD + clen || (uint8_t)p[25] >= HM_LANE_COUNT)
		return false;
	memset(m, 0, sizeof(*m));
	memcpy(m->id.b, p, sizeof(m->id.b));
	m->n0 = (uint32_t)le(p + 16, 4);
	m->n = (uint32_t)hm_min(le(p + 20, 4), (uint64_t)HM_JOB_MAX_RECIPIENTS);
	m->replay = p[24] != 0;
	m->lane = (uint8_t)p[25];
	m->accepted_ms = le(p + 26, 8);
	m->campaign = hm_str_n(p + ITEM_HEAD, clen);
	*rest = hm_str_n(p + ITEM_HEAD + clen, rest->len - ITEM_HEAD - clen);
	return true;
}

/* Writes an entry's moves down; false: out of memory, later. */
static bool write_down(struct inbox *in, const struct hm_reply *fields)
{
	struct hm_dispatch *d = in->d;
	struct hm_str by = HM_STR(""), items = HM_STR(""), hops = HM_STR(""), rest;
	struct hm_ledger_moved m;

	for (size_t i = 0; i + 1 < fields->n; i += 2) {
		if (hm_str_is(fields->v[i].s, "by"))
			by = fields->v[i + 1].s;
		if (hm_str_is(fields->v[i].s, "jobs"))
			items = fields->v[i + 1].s;
		if (hm_str_is(fields->v[i].s, "hops"))
			hops = fields->v[i + 1].s;
	}
	for (rest = items; read_item(&rest, &m);) {
		uint64_t ticket;

		m.node = by;
		m.hop = 1; /* told by a node that knows of none */
		if (hops.len >= 4) {
			m.hop = (uint32_t)hm_max(le(hops.p, 4), (uint64_t)1);
			hops = hm_str_n(hops.p + 4, hops.len - 4);
		}
		ticket = hm_ledger_put_moved(d->writer, &m);
		if (ticket == 0)
			return false;
		in->ticket = hm_max(in->ticket, ticket);
		hm_stats_add(d->t->stats, HM_CT_MOVED, m.n);
	}
	return true;
}

static void ask(struct inbox *in);

static void on_deleted(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct inbox *in = arg;
	struct hm_dispatch *d = in->d;

	d->moves->reads_open--;
	in->busy = false; /* without an answer they are read, and written down, once more */
	if (reply != NULL && in->more)
		ask(in);
	hm_dispatch_check_drained(d);
}

static void forget(struct inbox *in)
{
	struct hm_dispatch *d = in->d;
	struct hm_str argv[2 + 100];
	size_t n = 0, off = 0;
	char k[192];

	argv[n++] = HM_STR("XDEL");
	argv[n++] = hm_str_n(k, stream_of(d, in->partition, d->deps.node_id, k, sizeof(k)));
	while (off < in->ids.len && n < hm_countof(argv)) {
		size_t len = (uint8_t)in->ids.p[off];

		argv[n++] = hm_str_n(in->ids.p + off + 1, len);
		off += 1 + len;
	}
	in->ticket = 0;
	(void)hm_fault(HM_FAULT_moved_written);
	d->moves->reads_open++;
	hm_redis_send(d->deps.redis, argv[1], argv, n, on_deleted, in);
}

void hm_moves_durable(struct hm_dispatch *d)
{
	if (!hm_list_empty(&d->moves->notes))
		hm_flush_later(d->t, &d->moves->flush);
	for (uint32_t p = 0; p < d->o.partitions; p++) {
		struct inbox *in = &d->moves->in[p];

		if (in->ticket != 0 && in->ticket <= d->durable && !d->closed)
			forget(in);
	}
}

static void on_read(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct inbox *in = arg;
	struct hm_dispatch *d = in->d;
	size_t n = reply ? reply->n : 0;

	d->moves->reads_open--;
	in->busy = false;
	if (n > 0 && !d->draining) {
		hm_buf_reset(&in->ids);
		in->n = 0;
		for (size_t i = 0; i < n; i++) {
			const struct hm_reply *id = hm_reply_at(&reply->v[i], 0),
					      *f = hm_reply_at(&reply->v[i], 1);

			if (id == NULL || f == NULL || id->s.len > 40 || !write_down(in, f))
				break;
			hm_buf_putc(&in->ids, (char)id->s.len);
			hm_buf_puts(&in->ids, id->s);
			in->n++;
		}
		in->more = in->n == n && n == 100;
		if (in->n > 0 && in->ids.err == 0) {
			in->busy = true;
			if (in->ticket <= d->durable) /* also when it held nothing that was understood */
				forget(in);
		}
	}
	hm_dispatch_check_drained(d);
}

static void ask(struct inbox *in)
{
	struct hm_dispatch *d = in->d;
	struct hm_str argv[] = {HM_STR("XRANGE"), HM_STR_NULL,	   HM_STR("-"),
				HM_STR("+"),	  HM_STR("COUNT"), HM_STR(PAGE)};
	char k[192];

	if (in->busy || d->draining || !d->redis_up)
		return;
	in->busy = true;
	d->moves->reads_open++;
	argv[1] = hm_str_n(k, stream_of(d, in->partition, d->deps.node_id, k, sizeof(k)));
	hm_redis_send(d->deps.redis, argv[1], argv, hm_countof(argv), on_read, in);
}

static void on_poll(struct hm_timer *t)
{
	struct hm_moves *x = hm_container_of(t, struct hm_moves, poll);
	struct hm_dispatch *d = x->d;

	if (d->draining)
		return;
	for (uint32_t p = 0; p < d->o.partitions; p++)
		if (hm_pull_owns(d, p))
			ask(&x->in[p]);
	hm_timer_start(d->t, &x->poll, POLL_MS);
}

/* -- life ------------------------------------------------------------------------------------------- */

bool hm_moves_idle(const struct hm_dispatch *d)
{
	return d->moves->n == 0 && d->moves->tells_open == 0 && d->moves->reads_open == 0;
}

void hm_moves_start(struct hm_dispatch *d)
{
	hm_timer_start(d->t, &d->moves->poll, 0);
}

bool hm_moves_init(struct hm_dispatch *d)
{
	struct hm_moves *x = calloc(1, sizeof(*x));

	if (x == NULL)
		return false;
	d->moves = x;
	x->d = d;
	hm_slab_init(&x->notes_slab, "moved jobs", sizeof(struct note), 0);
	hm_slab_init(&x->tells, "tellings of moved jobs", sizeof(struct tell), 0);
	hm_list_init(&x->notes);
	hm_flush_init(&x->flush, on_flush);
	hm_timer_init(&x->retry, on_retry);
	hm_timer_init(&x->poll, on_poll);
	x->in = calloc(d->o.partitions, sizeof(*x->in));
	if (x->in == NULL)
		return false;
	for (uint32_t p = 0; p < d->o.partitions; p++) {
		x->in[p] = (struct inbox){.d = d, .partition = p};
		hm_buf_init(&x->in[p].ids, 8192);
	}
	return true;
}

void hm_moves_fini(struct hm_dispatch *d)
{
	struct hm_moves *x = d->moves;
	struct hm_node *n;

	if (x == NULL)
		return;
	hm_flush_cancel(d->t, &x->flush);
	hm_timer_stop(d->t, &x->retry);
	hm_timer_stop(d->t, &x->poll);
	while ((n = hm_list_pop(&x->notes)) != NULL) {
		struct note *note = hm_container_of(n, struct note, node);

		HM_MAGIC_CLEAR(note);
		hm_slab_free(&x->notes_slab, note);
	}
	for (uint32_t p = 0; x->in != NULL && p < d->o.partitions; p++)
		hm_buf_fini(&x->in[p].ids);
	free(x->in);
	hm_slab_fini(&x->notes_slab);
	hm_slab_fini(&x->tells);
	free(x);
	d->moves = NULL;
}
