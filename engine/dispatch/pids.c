/*
 * pids.c - the provider's id of a message, noted for its receipts
 *
 * Only for channels whose adapter reads receipts that know nothing else (receipts.h, by_provider_id); all others pay one
 * comparison. The note leaves with the tick in which the message is settled, long before its entry is acknowledged, and the
 * job waits for the answer (job.owed): while Redis is away it is tried again, and after a crash the redelivered job writes
 * what its ledger record says (hm_pids_recall). Storing twice does no harm.
 */
#include "adapter/receipts.h"
#include "base/fault.h"
#include "base/log.h"
#include "dispatch/dispatch_int.h"
#include "ingest/provider_id.h"

#define PID_MAGIC    0x70696421u
#define PID_TEXT_MAX 256
#define RETRY_MS     500
/* Notes Redis has not confirmed. More would only stand in line there; when that line is full all of them failed and were made anew. */
#define NOTES_OPEN 1024u

struct pid_note {
	uint32_t magic;
	struct hm_node node; /* d.pid_wait until there is room; d.pid_again while it waits for another try */
	struct job *job;
	const struct hm_channel_info *info; /* the job's snapshot lives as long as the job */
	struct hm_cb_info receipts;
	struct hm_str recipient; /* in the job's payload, or its records */
	struct hm_ulid id;
	uint64_t sent_ms;
	bool shared;
	uint16_t len;
	char text[PID_TEXT_MAX];
};

static void pump(struct hm_dispatch *d);

static void on_stored(void *arg, const struct hm_err *err)
{
	struct pid_note *x = arg;
	struct job *j = x->job;
	struct hm_dispatch *d = j->d;

	HM_CHECK(x, PID_MAGIC);
	d->pids_open--;
	if (err != NULL && !d->closed) {
		if (err->code == HM_EREDIS)
			HM_ERROR(DISPATCH, "the provider's id of a message cannot be stored; tried again",
				 HM_E(err));
		hm_list_push(&d->pid_again, &x->node);
		if (!hm_timer_armed(&d->pid_timer))
			hm_timer_start(d->t, &d->pid_timer, RETRY_MS);
		return;
	}
	HM_MAGIC_CLEAR(x);
	hm_slab_free(&d->pid_slab, x);
	if (d->closed)
		return;
	hm_assert(j->owed > 0);
	j->owed--;
	hm_job_maybe_done(j);
	pump(d);
	hm_dispatch_check_drained(d);
}

static void send_note(struct pid_note *x)
{
	struct hm_dispatch *d = x->job->d;
	struct hm_pid pid = {d->o.prefix, x->info->name, d->o.partitions};
	struct hm_pid_note n = {
		.provider_id = hm_str_n(x->text, x->len),
		.recipient = x->recipient,
		.shared = x->shared,
		.id = x->id,
		.sent_ms = x->sent_ms,
		.keep_ms = x->receipts.keep_ms,
		.pull_ms = x->receipts.pull ? x->sent_ms + x->receipts.pull_after_ms : 0,
	};

	d->pids_open++;
	hm_pid_store(d->deps.redis, &pid, &n, on_stored, x);
}

/* While the timer runs Redis does not take them. Whoever waits is sent when another is stored, or by the timer. */
static void pump(struct hm_dispatch *d)
{
	while (d->pids_open < NOTES_OPEN && !hm_list_empty(&d->pid_wait) && !hm_timer_armed(&d->pid_timer))
		send_note(hm_container_of(hm_list_pop(&d->pid_wait), struct pid_note, node));
}

static void on_again(struct hm_timer *t)
{
	struct hm_dispatch *d = hm_container_of(t, struct hm_dispatch, pid_timer);

	if (!d->redis_up) {
		hm_timer_start(d->t, t, RETRY_MS);
		return;
	}
	hm_list_splice(&d->pid_wait, &d->pid_again);
	pump(d);
}

static void note_one(struct job *j, const struct chan *c, const struct hm_ulid *id, struct hm_str recipient,
		     struct hm_str provider_id, uint64_t sent_ms, bool shared)
{
	struct hm_dispatch *d = j->d;
	struct pid_note *x = hm_slab_alloc(&d->pid_slab);

	if (x == NULL) {
		j->unrecorded = true; /* redelivered, it is noted then */
		return;
	}
	HM_MAGIC_SET(x, PID_MAGIC);
	x->node = (struct hm_node){0};
	x->job = j;
	x->info = c->info;
	hm_channel_receipts(c->ch, &x->receipts);
	x->recipient = recipient;
	x->id = *id;
	x->sent_ms = sent_ms;
	x->shared = shared;
	x->len = (uint16_t)hm_min(provider_id.len, (size_t)PID_TEXT_MAX);
	memcpy(x->text, provider_id.p, x->len);
	j->owed++;
	hm_list_push(&d->pid_wait, &x->node);
	pump(d);
}

/* A driver's session tells of each part of a text by itself (SMPP): its ids come joined by commas, and each is noted. */
static void note(struct job *j, const struct chan *c, const struct hm_ulid *id, struct hm_str recipient,
		 struct hm_str provider_id, uint64_t sent_ms, bool shared)
{
	struct hm_cb_info i;
	struct hm_str one;

	hm_channel_receipts(c->ch, &i);
	if (!i.session) {
		note_one(j, c, id, recipient, provider_id, sent_ms, shared);
		return;
	}
	while (hm_str_split(&provider_id, ',', &one))
		if (one.len)
			note_one(j, c, id, recipient, one, sent_ms, shared);
}

void hm_pids_sent(const struct msg *m, struct hm_str provider_id, bool shared)
{
	const struct chan *c = m->chan;

	if (hm_likely(!c->notes_pid) || provider_id.len == 0 || (c->notes_shared_only && !shared))
		return;
	note(m->job, c, &m->id, m->addr, provider_id, m->job->d->t->wall_ms, shared);
}

void hm_pids_recall(struct job *j)
{
	for (uint32_t i = 0; j->prior != NULL && i < j->spec.n_rcpts; i++) {
		const struct hm_ledger_msg *r = j->prior[i];
		const struct hm_ledger_attempt *last;

		if (r == NULL || (r->state != HM_ST_SENT && r->state != HM_ST_DELIVERED))
			continue;
		j->prior[i] = NULL; /* it is done: nothing else is to be known of it */
		last = &r->attempts[r->n_attempts - 1];
		for (size_t k = 0; k < j->rt->n_chans; k++) {
			const struct chan *c = &j->rt->chans[k];

			/* Whether the id was shared is not on record: both ways are noted. */
			if (!hm_str_eq(c->info->name, last->channel) || !c->notes_pid)
				continue;
			if (!c->notes_shared_only)
				note(j, c, &r->id, r->address, last->provider_id, last->at_ms, false);
			if (c->info->batch_max > 1)
				note(j, c, &r->id, r->address, last->provider_id, last->at_ms, true);
		}
	}
}

void hm_pids_chan(struct chan *c)
{
	struct hm_cb_info i;

	hm_channel_receipts(c->ch, &i);
	c->notes_pid = i.by_provider_id || i.batch_by_provider_id;
	c->notes_shared_only = !i.by_provider_id;
}

void hm_pids_init(struct hm_dispatch *d)
{
	hm_slab_init(&d->pid_slab, "provider ids to be noted", sizeof(struct pid_note), 0);
	hm_list_init(&d->pid_wait);
	hm_list_init(&d->pid_again);
	hm_timer_init(&d->pid_timer, on_again);
}

bool hm_pids_idle(const struct hm_dispatch *d)
{
	return d->pids_open == 0 && hm_list_empty(&d->pid_wait) && hm_list_empty(&d->pid_again);
}

void hm_pids_fini(struct hm_dispatch *d)
{
	struct hm_node *n;

	hm_timer_stop(d->t, &d->pid_timer);
	hm_list_splice(&d->pid_again, &d->pid_wait);
	while ((n = hm_list_pop(&d->pid_again)) != NULL)
		hm_slab_free(&d->pid_slab, hm_container_of(n, struct pid_note, node));
	hm_slab_fini(&d->pid_slab);
}
