/*
 * mailbox.h - mail between threads
 *
 * The only way from one thread's world into another's. Posting pushes onto a
 * lock-free list and wakes the owner with one uv_async_send when the list was
 * empty, so a burst costs one wake-up. Mail is delivered in the order posted by
 * each sender. Posting hands the mail over: the sender must not touch it again.
 */
#ifndef HM_LOOP_MAILBOX_H
#define HM_LOOP_MAILBOX_H

#include "loop/tick.h"

#define HM_MAILBOX_MAGIC 0x6d61696cu

struct hm_mail {
	struct hm_mail *next;
	/* Runs on the owner's thread; frees or keeps the mail. */
	void (*deliver)(struct hm_mail *m, void *owner);
};
struct hm_mailbox {
	uint32_t magic;
	void *owner;
	/* private */
	struct hm_tick *tick;
	struct hm_mail *head; /* atomic, newest first */
	uv_async_t async;
	bool closed;
};
int hm_mailbox_init(struct hm_mailbox *mb, struct hm_tick *t, void *owner) HM_MUSTCHECK;
void hm_mailbox_post(struct hm_mailbox *mb, struct hm_mail *m); /* any thread */
/* Owner: delivers what is there, then closes the handle. Nobody may post afterwards. */
void hm_mailbox_close(struct hm_mailbox *mb);

#endif
