/*
 * report.c - delivered and read, as receipts
 *
 *   inbox_report ─▶ waiting ─(once a tick)▶ one hm_receipts_take_durable for all ─▶ done of each
 *
 * Readings wait READ_MS first: an item may be read before the record of its message is on disk, on whatever node that is, and a receipt
 * of a message nobody knows finds nobody. Until it is reported a reading stands beside the item (store.h).
 *
 * Receipts that could not be taken wait a moment; what closes meanwhile ends as not reported, and is reported by what asks next.
 */
#include <stdlib.h>

#include "inbox/inbox_int.h"

#define BATCH_MAGIC 0x69627270u
#define BATCH_ITEMS 2000
#define BATCHES_MAX 16 /* under way */
#define READ_MS	    2000
#define READS_MAX   10000 /* waiting; further ones are reported by what asks next */
#define AGAIN_MS    50

struct batch {
	uint32_t magic;
	struct hm_inbox *ib;
	struct hm_list reports;
};

static void end(struct hm_list *reports, const struct hm_receipt_item *v, bool ok)
{
	struct hm_node *n;
	size_t at = 0;

	while ((n = hm_list_pop(reports)) != NULL) {
		struct inbox_report *r = hm_container_of(n, struct inbox_report, node);
		bool mine = ok;

		for (size_t i = 0; v != NULL && i < r->n; i++)
			mine &= v[at++].result != HM_RECEIPT_LOST;
		r->done(r, mine);
	}
}

static void on_taken(void *arg, const struct hm_receipt_item *v, size_t n)
{
	struct batch *b = arg;
	struct hm_inbox *ib = b->ib;

	HM_CHECK(b, BATCH_MAGIC);
	ib->report_batches--;
	end(&b->reports, v, true);
	HM_MAGIC_CLEAR(b);
	free(b);
	if (!hm_list_empty(&ib->reports) && !ib->closed)
		hm_flush_later(ib->deps.tick, &ib->reporting);
}

/* Takes waiting reports off the list, as receipts. */
static size_t collect(struct hm_inbox *ib, struct batch *b, struct hm_receipt_item *v)
{
	size_t n = 0;

	while (!hm_list_empty(&ib->reports)) {
		struct inbox_report *r = hm_container_of(hm_list_first(&ib->reports), struct inbox_report,
							 node);

		if (n + r->n > BATCH_ITEMS)
			break;
		hm_list_remove(&ib->reports, &r->node);
		hm_list_push(&b->reports, &r->node);
		for (size_t i = 0; i < r->n; i++)
			v[n++] = (struct hm_receipt_item){.id = r->ids[i],
							  .event = r->event,
							  .at_ms = r->at_ms,
							  .young = r->event == HM_RC_DELIVERED};
	}
	return n;
}

static void later(struct hm_inbox *ib, struct batch *b)
{
	hm_list_splice(&b->reports, &ib->reports);
	hm_list_splice(&ib->reports, &b->reports);
	free(b);
	hm_timer_start(ib->deps.tick, &ib->report_again, AGAIN_MS);
}

static void report_some(struct hm_inbox *ib)
{
	struct batch *b = malloc(sizeof(*b));
	struct hm_receipt_item *v = malloc(BATCH_ITEMS * sizeof(*v));
	size_t n;

	if (b == NULL || v == NULL) {
		free(b);
		free(v);
		hm_timer_start(ib->deps.tick, &ib->report_again, AGAIN_MS);
		return;
	}
	HM_MAGIC_SET(b, BATCH_MAGIC);
	b->ib = ib;
	hm_list_init(&b->reports);
	n = collect(ib, b, v);
	ib->report_batches++;
	if (!hm_receipts_take_durable(ib->receipts, v, n, on_taken, b)) {
		ib->report_batches--;
		later(ib, b);
	}
	free(v);
}

static void on_flush(struct hm_flush *f)
{
	struct hm_inbox *ib = hm_container_of(f, struct hm_inbox, reporting);

	HM_CHECK(ib, INBOX_MAGIC);
	if (ib->receipts == NULL) {
		end(&ib->reports, NULL, true);
		return;
	}
	while (!hm_list_empty(&ib->reports) && ib->report_batches < BATCHES_MAX &&
	       !hm_timer_armed(&ib->report_again))
		report_some(ib);
}

static void on_again(struct hm_timer *t)
{
	struct hm_inbox *ib = hm_container_of(t, struct hm_inbox, report_again);

	HM_CHECK(ib, INBOX_MAGIC);
	hm_flush_later(ib->deps.tick, &ib->reporting);
}

static void on_reads(struct hm_timer *t)
{
	struct hm_inbox *ib = hm_container_of(t, struct hm_inbox, read_later);
	uint64_t now = hm_tick_ms(ib->deps.tick);

	HM_CHECK(ib, INBOX_MAGIC);
	while (!hm_list_empty(&ib->reads)) {
		struct inbox_report *r = hm_container_of(hm_list_first(&ib->reads), struct inbox_report,
							 node);

		if (r->due_ms > now) {
			hm_timer_start(ib->deps.tick, t, r->due_ms - now);
			break;
		}
		hm_list_remove(&ib->reads, &r->node);
		hm_list_push(&ib->reports, &r->node);
	}
	hm_flush_later(ib->deps.tick, &ib->reporting);
}

void inbox_reports_init(struct hm_inbox *ib)
{
	hm_list_init(&ib->reads);
	hm_timer_init(&ib->read_later, on_reads);
	hm_list_init(&ib->reports);
	hm_flush_init(&ib->reporting, on_flush);
	hm_timer_init(&ib->report_again, on_again);
}

void inbox_report(struct hm_inbox *ib, struct inbox_report *r, enum hm_receipt event,
		  void (*done)(struct inbox_report *r, bool ok))
{
	hm_assert(r->n > 0 && r->n <= HM_INBOX_IDS_MAX);
	r->event = (uint8_t)event;
	r->at_ms = ib->deps.tick->wall_ms;
	r->done = done;
	hm_node_init(&r->node);
	if (ib->closed || (event == HM_RC_READ && ib->reads.len >= READS_MAX)) {
		done(r, false);
		return;
	}
	if (event == HM_RC_READ) {
		r->due_ms = hm_tick_ms(ib->deps.tick) + READ_MS;
		hm_list_push(&ib->reads, &r->node);
		if (!hm_timer_armed(&ib->read_later))
			hm_timer_start(ib->deps.tick, &ib->read_later, READ_MS);
		return;
	}
	hm_list_push(&ib->reports, &r->node);
	hm_flush_later(ib->deps.tick, &ib->reporting);
}

void inbox_reports_close(struct hm_inbox *ib)
{
	hm_timer_stop(ib->deps.tick, &ib->report_again);
	hm_flush_cancel(ib->deps.tick, &ib->reporting);
	hm_timer_stop(ib->deps.tick, &ib->read_later);
	end(&ib->reads, NULL, false);
	end(&ib->reports, NULL, false);
}
