/*
 * ack.c - from durable to acknowledged
 *
 * The ledger hands out rising tickets; what waits for one stands in a ring in ticket
 * order: in-flight slots to clear, jobs to acknowledge. When a ticket is durable,
 * everything up to it is released: slots are zeroed, entries are collected per stream
 * and leave as one XACK and one XDEL per stream and tick. An acknowledgement whose
 * answer was lost is sent again: both commands may be repeated.
 */
#include <stdlib.h>

#include "base/fault.h"
#include "base/log.h"
#include "dispatch/dispatch_int.h"

#define ACK_MAGIC    0x61636b21u
#define MAX_IDS	     1000 /* per command */
#define ACK_RETRY_MS 200

struct ack_cmd { /* one XACK + XDEL under way */
	uint32_t magic;
	struct ack_key *key;
	struct hm_buf ids;
	uint32_t n;
	uint8_t answers;
	bool lost, has_away, has_taken;
};

static void release_job(struct job *j)
{
	struct hm_dispatch *d = j->d;

	hm_ack_entry(d, j->partition, (enum hm_lane)j->lane, j->entry, j->entry_len);
	d->acks[j->partition * HM_LANE_COUNT + j->lane].has_away |= j->has_away;
	d->acks[j->partition * HM_LANE_COUNT + j->lane].has_taken |= j->foreign;
	hm_job_free(j);
}

void hm_ack_wait(struct hm_dispatch *d, uint64_t ticket, struct job *j, uint32_t slot)
{
	struct fifo_item *it;

	if (ticket <= d->durable) {
		if (slot != HM_INFLIGHT_NONE)
			hm_inflight_clear(d->inflight, slot);
		if (j != NULL)
			release_job(j);
		return;
	}
	if (d->fifo_len == d->fifo_cap) {
		uint32_t cap = d->fifo_cap * 2;
		struct fifo_item *v = malloc(cap * sizeof(*v));

		if (v == NULL)
			hm_panic(__FILE__, __LINE__, __func__, "no memory for %u acknowledgements", cap);
		for (uint32_t i = 0; i < d->fifo_len; i++)
			v[i] = d->fifo[(d->fifo_head + i) & (d->fifo_cap - 1)];
		free(d->fifo);
		d->fifo = v;
		d->fifo_cap = cap;
		d->fifo_head = 0;
	}
	it = &d->fifo[(d->fifo_head + d->fifo_len++) & (d->fifo_cap - 1)];
	it->ticket = ticket;
	it->job = j;
	it->slot = slot;
}

void hm_ack_durable(void *arg, uint64_t ticket)
{
	struct hm_dispatch *d = arg;

	HM_CHECK(d, HM_DISPATCH_MAGIC);
	if (ticket > d->durable)
		d->durable = ticket;
	(void)hm_fault(HM_FAULT_settle_durable);
	while (d->fifo_len > 0) {
		struct fifo_item it = d->fifo[d->fifo_head & (d->fifo_cap - 1)];

		if (it.ticket > d->durable)
			break;
		d->fifo_head = (d->fifo_head + 1) & (d->fifo_cap - 1);
		d->fifo_len--;
		if (it.slot != HM_INFLIGHT_NONE)
			hm_inflight_clear(d->inflight, it.slot);
		if (it.job != NULL)
			release_job(it.job);
	}
	hm_dead_durable(d);
	hm_moves_durable(d);
	hm_aside_durable(d);
	hm_pump_later(d);
	hm_dispatch_check_drained(d);
}

void hm_ack_entry(struct hm_dispatch *d, uint32_t partition, enum hm_lane lane, const char *entry, size_t len)
{
	struct ack_key *k = &d->acks[partition * HM_LANE_COUNT + (uint32_t)lane];
	size_t before = k->ids.len;

	hm_assert(len > 0 && len < ENTRY_ID_MAX);
	hm_buf_putc(&k->ids, (char)len);
	hm_buf_put(&k->ids, entry, len);
	if (k->ids.err != 0) { /* stays pending; read again, it is found to be done */
		k->ids.len = before;
		k->ids.err = 0;
		hm_pull_again(d, partition, lane);
		return;
	}
	k->n++;
	hm_flush_later(d->t, &d->ack_flush);
}

static void on_retry(struct hm_timer *t)
{
	struct hm_dispatch *d = hm_container_of(t, struct hm_dispatch, ack_retry);

	hm_flush_later(d->t, &d->ack_flush);
}

static void on_reply(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct ack_cmd *c = arg;
	struct hm_dispatch *d;

	HM_CHECK(c, ACK_MAGIC);
	d = c->key->d;
	if (reply == NULL)
		c->lost = true;
	if (++c->answers < 2)
		return;
	d->acks_waiting--;
	if (c->lost) {
		hm_buf_puts(&c->key->ids, hm_buf_str(&c->ids));
		c->key->n += c->n;
		c->key->has_away |= c->has_away;
		c->key->has_taken |= c->has_taken;
		if (!d->closed && !hm_timer_armed(&d->ack_retry))
			hm_timer_start(d->t, &d->ack_retry, ACK_RETRY_MS);
		HM_DEBUG(DISPATCH, "acknowledgement repeated later", HM_S("error", err ? err->text : ""),
			 HM_U("entries", c->n));
	} else {
		(void)hm_fault(HM_FAULT_settle_after_ack);
		hm_stats_add(d->t->stats, HM_CT_ACKED_ENTRIES, c->n);
		if (c->has_away && !d->closed)
			hm_aside_forget(d, c->key->partition, (uint8_t)c->key->lane, hm_buf_str(&c->ids),
					"away");
		if (c->has_taken && !d->closed) /* not before: the hops of an entry count from it (moves.c) */
			hm_aside_forget(d, c->key->partition, (uint8_t)c->key->lane, hm_buf_str(&c->ids),
					"taken");
	}
	hm_buf_fini(&c->ids);
	HM_MAGIC_CLEAR(c);
	free(c);
	hm_dispatch_check_drained(d);
}

/* false: out of memory, tried again by the timer */
static bool send_ids(struct hm_dispatch *d, struct ack_key *k)
{
	struct hm_str argv[3 + MAX_IDS];
	char key[128];
	size_t key_len = hm_job_stream_key(d->o.prefix, k->partition, (enum hm_lane)k->lane, key,
					   sizeof(key));
	struct ack_cmd *c = calloc(1, sizeof(*c));
	size_t n = 0, off = 0;

	if (c == NULL) {
		hm_timer_start(d->t, &d->ack_retry, ACK_RETRY_MS);
		return false;
	}
	HM_MAGIC_SET(c, ACK_MAGIC);
	c->key = k;
	c->has_away = k->has_away; /* of all ids waiting: a few too many are asked for */
	c->has_taken = k->has_taken;
	hm_buf_init(&c->ids, SIZE_MAX / 2);
	while (off < k->ids.len && n < MAX_IDS) {
		off += 1u + (uint8_t)k->ids.p[off];
		n++;
	}
	hm_buf_put(&c->ids, k->ids.p, off);
	if (c->ids.err != 0) {
		hm_buf_fini(&c->ids);
		HM_MAGIC_CLEAR(c);
		free(c);
		hm_timer_start(d->t, &d->ack_retry, ACK_RETRY_MS);
		return false;
	}
	hm_buf_consume(&k->ids, off);
	c->n = (uint32_t)n;
	k->n -= (uint32_t)n;
	if (k->n == 0)
		k->has_away = k->has_taken = false;
	argv[0] = HM_STR("XACK");
	argv[1] = hm_str_n(key, key_len);
	argv[2] = d->o.group;
	for (size_t i = 0, at = 0; i < n; i++) {
		size_t len = (uint8_t)c->ids.p[at];

		argv[3 + i] = hm_str_n(c->ids.p + at + 1, len);
		at += 1 + len;
	}
	(void)hm_fault(HM_FAULT_settle_before_ack);
	d->acks_waiting++;
	hm_redis_send(d->deps.redis, argv[1], argv, 3 + n, on_reply, c);
	argv[1] = HM_STR("XDEL");
	argv[2] = hm_str_n(key, key_len);
	hm_redis_send(d->deps.redis, argv[2], argv + 1, 2 + n, on_reply, c);
	return true;
}

void hm_ack_flush(struct hm_flush *f)
{
	struct hm_dispatch *d = hm_container_of(f, struct hm_dispatch, ack_flush);

	if (!d->redis_up) {
		if (!hm_timer_armed(&d->ack_retry))
			hm_timer_start(d->t, &d->ack_retry, ACK_RETRY_MS);
		return;
	}
	for (uint32_t i = 0; i < d->o.partitions * HM_LANE_COUNT; i++)
		while (d->acks[i].n > 0)
			if (!send_ids(d, &d->acks[i]))
				return;
}

bool hm_ack_init(struct hm_dispatch *d)
{
	uint32_t n = d->o.partitions * HM_LANE_COUNT;

	d->fifo_cap = 4096;
	d->fifo = malloc(d->fifo_cap * sizeof(*d->fifo));
	d->acks = calloc(n, sizeof(*d->acks));
	if (d->fifo == NULL || d->acks == NULL)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		d->acks[i].d = d;
		d->acks[i].partition = i / HM_LANE_COUNT;
		d->acks[i].lane = (uint8_t)(i % HM_LANE_COUNT);
		hm_buf_init(&d->acks[i].ids, SIZE_MAX / 2);
	}
	hm_flush_init(&d->ack_flush, hm_ack_flush);
	hm_timer_init(&d->ack_retry, on_retry);
	return true;
}

bool hm_ack_idle(const struct hm_dispatch *d)
{
	if (d->acks_waiting > 0 || d->fifo_len > 0)
		return false;
	for (uint32_t i = 0; i < d->o.partitions * HM_LANE_COUNT; i++)
		if (d->acks[i].n > 0)
			return false;
	return true;
}

void hm_ack_fini(struct hm_dispatch *d)
{
	if (d->acks != NULL)
		for (uint32_t i = 0; i < d->o.partitions * HM_LANE_COUNT; i++)
			hm_buf_fini(&d->acks[i].ids);
	free(d->acks);
	free(d->fifo);
}
