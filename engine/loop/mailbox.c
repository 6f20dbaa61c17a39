/*
 * mailbox.c - multi-producer stack, reversed by its one consumer
 *
 * Producers push with compare-and-swap; the one that finds the list empty rings
 * the uv_async. The consumer takes the whole list with one exchange, so there is
 * no ABA problem: nothing is ever popped singly. Reversing restores posting order.
 */
#include "base/err.h"
#include "loop/mailbox.h"

static void deliver_all(struct hm_mailbox *mb)
{
	struct hm_mail *m = __atomic_exchange_n(&mb->head, NULL, __ATOMIC_ACQUIRE);
	struct hm_mail *in_order = NULL;

	while (m != NULL) {
		struct hm_mail *next = m->next;

		m->next = in_order;
		in_order = m;
		m = next;
	}
	while (in_order != NULL) {
		m = in_order;
		in_order = m->next;
		m->deliver(m, mb->owner); /* m may be gone after this */
	}
}

static void on_async(uv_async_t *h)
{
	struct hm_mailbox *mb = h->data;

	HM_CHECK(mb, HM_MAILBOX_MAGIC);
	hm_tick_wake(mb->tick);
	deliver_all(mb);
}

int hm_mailbox_init(struct hm_mailbox *mb, struct hm_tick *t, void *owner)
{
	memset(mb, 0, sizeof(*mb));
	HM_MAGIC_SET(mb, HM_MAILBOX_MAGIC);
	mb->owner = owner;
	mb->tick = t;
	if (uv_async_init(t->loop, &mb->async, on_async) != 0) {
		HM_MAGIC_CLEAR(mb);
		return HM_EIO;
	}
	mb->async.data = mb;
	return 0;
}

void hm_mailbox_post(struct hm_mailbox *mb, struct hm_mail *m)
{
	struct hm_mail *head = __atomic_load_n(&mb->head, __ATOMIC_RELAXED);

	HM_CHECK(mb, HM_MAILBOX_MAGIC);
	do {
		m->next = head;
	} while (!__atomic_compare_exchange_n(&mb->head, &head, m, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
	if (head == NULL)
		uv_async_send(&mb->async);
}

void hm_mailbox_close(struct hm_mailbox *mb)
{
	HM_CHECK(mb, HM_MAILBOX_MAGIC);
	if (mb->closed)
		return;
	mb->closed = true;
	deliver_all(mb);
	uv_close((uv_handle_t *)&mb->async, NULL);
}
