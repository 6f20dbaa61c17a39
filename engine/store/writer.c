/*
 * writer.c - the way in: encode now, hand over when the tick ends, hear when it is durable
 *
 * A batch travels in a circle: filled here, written by the ledger thread, mailed
 * back, reported, emptied, filled again. After a few ticks nothing is allocated.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "store/ledger_int.h"

#define SPARE_KEEP (256u << 10) /* a batch that grew beyond this gives its memory back */

static void batch_free(struct hm_batch *b)
{
	hm_buf_fini(&b->frame);
	free(b->recs);
	HM_MAGIC_CLEAR(b);
	free(b);
}

static struct hm_batch *batch_take(struct hm_ledger_writer *w)
{
	struct hm_batch *b = w->spare;

	if (b) {
		w->spare = b->next;
	} else {
		b = calloc(1, sizeof(*b));
		if (b == NULL)
			return NULL;
		HM_MAGIC_SET(b, HM_BATCH_MAGIC);
		hm_buf_init(&b->frame, HM_FRAME_MAX);
		b->w = w;
	}
	b->next = NULL;
	hm_buf_reset(&b->frame);
	b->n = b->n_jobs = 0;
	if (!hm_buf_reserve(&b->frame, HM_FRAME_HEAD)) {
		batch_free(b);
		return NULL;
	}
	b->frame.len = HM_FRAME_HEAD;
	return b;
}

/* On the writer's thread: the records are durable. */
static void on_written(struct hm_mail *m, void *owner)
{
	struct hm_batch *b = hm_container_of(m, struct hm_batch, mail);
	struct hm_ledger_writer *w = b->w;
	uint64_t ticket = b->ticket;

	HM_CHECK(b, HM_BATCH_MAGIC);
	HM_CHECK(w, HM_WRITER_MAGIC);
	hm_assert(w->backlog >= b->frame.len);
	w->backlog -= b->frame.len;
	if (b->frame.cap > SPARE_KEEP) {
		batch_free(b);
	} else {
		b->next = w->spare;
		w->spare = b;
	}
	w->on_durable(w->arg, ticket);
}

static void submit(struct hm_ledger_writer *w)
{
	struct hm_ledger *l = w->l;
	struct hm_batch *b = w->cur;
	bool wake;

	w->cur = NULL;
	b->mail.deliver = on_written;
	b->submitted_ns = hm_clock_mono_ns();
	uv_mutex_lock(&l->q_mu);
	if (l->q_tail)
		l->q_tail->next = b;
	else
		l->q_head = b;
	l->q_tail = b;
	__atomic_add_fetch(&l->q_bytes, b->frame.len, __ATOMIC_RELAXED);
	wake = l->q_sleeping;
	l->q_sleeping = false;
	uv_mutex_unlock(&l->q_mu);
	if (wake)
		uv_cond_signal(&l->q_cond);
}

static void on_flush(struct hm_flush *f)
{
	struct hm_ledger_writer *w = hm_container_of(f, struct hm_ledger_writer, flush);

	HM_CHECK(w, HM_WRITER_MAGIC);
	if (w->cur)
		submit(w);
}

struct hm_ledger_writer *hm_ledger_writer_new(struct hm_ledger *l, struct hm_tick *t, struct hm_mailbox *mb,
					      void (*on_durable)(void *arg, uint64_t ticket), void *arg)
{
	struct hm_ledger_writer *w = calloc(1, sizeof(*w));

	HM_CHECK(l, HM_LEDGER_MAGIC);
	hm_assert(!l->readonly);
	if (w == NULL)
		return NULL;
	HM_MAGIC_SET(w, HM_WRITER_MAGIC);
	w->l = l;
	w->t = t;
	w->mb = mb;
	w->on_durable = on_durable;
	w->arg = arg;
	hm_flush_init(&w->flush, on_flush);
	return w;
}

void hm_ledger_writer_close(struct hm_ledger_writer *w)
{
	HM_CHECK(w, HM_WRITER_MAGIC);
	hm_assert(w->cur == NULL && w->backlog == 0);
	hm_flush_cancel(w->t, &w->flush);
	while (w->spare) {
		struct hm_batch *b = w->spare;

		w->spare = b->next;
		batch_free(b);
	}
	HM_MAGIC_CLEAR(w);
	free(w);
}

/* The batch of this tick with room for one more record in its list. */
static struct hm_batch *open_batch(struct hm_ledger_writer *w)
{
	struct hm_batch *b;

	HM_CHECK(w, HM_WRITER_MAGIC);
	if (w->cur == NULL) {
		w->cur = batch_take(w);
		if (w->cur == NULL)
			return NULL;
		w->cur->ticket = ++w->ticket;
		w->backlog += HM_FRAME_HEAD;
		hm_flush_later(w->t, &w->flush);
	}
	b = w->cur;
	if (b->n == b->cap) {
		uint32_t cap = b->cap ? b->cap * 2 : 64;
		struct hm_rec *p = realloc(b->recs, cap * sizeof(*p));

		if (p == NULL)
			return NULL;
		b->recs = p;
		b->cap = cap;
	}
	return b;
}

static uint64_t appended(struct hm_ledger_writer *w, struct hm_batch *b, size_t before)
{
	uint64_t ticket = b->ticket;

	w->backlog += b->frame.len - before;
	b->n++;
	if (b->frame.len >= HM_LEDGER_BATCH)
		submit(w);
	return ticket;
}

uint64_t hm_ledger_put_job(struct hm_ledger_writer *w, const struct hm_ledger_job *j)
{
	struct hm_batch *b = open_batch(w);
	size_t before = b ? b->frame.len : 0;

	if (b == NULL || hm_rec_put_job(&b->frame, HM_FRAME_HEAD, j, &b->recs[b->n]) < 0)
		return 0;
	b->n_jobs++;
	return appended(w, b, before);
}

uint64_t hm_ledger_put_msg(struct hm_ledger_writer *w, const struct hm_ledger_msg *m)
{
	struct hm_batch *b = open_batch(w);
	size_t before = b ? b->frame.len : 0;

	if (b == NULL || hm_rec_put_msg(&b->frame, HM_FRAME_HEAD, m, &b->recs[b->n]) < 0)
		return 0;
	return appended(w, b, before);
}

uint64_t hm_ledger_put_moved(struct hm_ledger_writer *w, const struct hm_ledger_moved *m)
{
	struct hm_batch *b = open_batch(w);
	size_t before = b ? b->frame.len : 0;

	if (b == NULL || hm_rec_put_moved(&b->frame, HM_FRAME_HEAD, m, &b->recs[b->n]) < 0)
		return 0;
	b->n_jobs++;
	return appended(w, b, before);
}

size_t hm_ledger_backlog(const struct hm_ledger_writer *w)
{
	HM_CHECK(w, HM_WRITER_MAGIC);
	return w->backlog;
}

bool hm_ledger_full(const struct hm_ledger *l)
{
	HM_CHECK(l, HM_LEDGER_MAGIC);
	return __atomic_load_n(&l->q_bytes, __ATOMIC_RELAXED) > l->o.queue_max_bytes;
}
