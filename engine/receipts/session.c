/*
 * session.c - what a driver's session brings: to the channel whose session it is
 */
#include <stdlib.h>

#include "receipts/callbacks_int.h"
#include "wire/driver.h"

struct event {
	struct hm_driver_event *ev;
};

static void on_taken(void *arg, const struct hm_callbacks_sum *s)
{
	struct event *x = arg;

	x->ev->done(x->ev, s->failed ? HM_EAGAIN : 0);
	free(x);
}

static const struct hm_channel *channel_of(const struct hm_callbacks_now *now, const struct hm_origin *o)
{
	for (size_t i = 0; i < now->channels->n; i++)
		if (hm_origin_is(o, &hm_channel_info(now->channels->v[i])->origin))
			return now->channels->v[i];
	return NULL;
}

/* Channels that share a session share their receipts: the first one's name is on them, the messages are found by their ids. */
void hm_receipts_driver_event(struct hm_callbacks *cb, struct hm_driver_event *ev)
{
	struct hm_callbacks_now now;
	const struct hm_channel *c;
	struct hm_cb_field *v;
	struct event *x;
	size_t n = ev->n_fields;

	HM_CHECK(cb, CALLBACKS_MAGIC);
	cb->deps.now(cb->deps.arg, &now);
	c = channel_of(&now, ev->origin);
	x = calloc(1, sizeof(*x));
	v = calloc(n + 1, sizeof(*v));
	if (c == NULL || x == NULL || v == NULL) {
		free(x);
		free(v);
		ev->done(ev, c == NULL ? HM_ENOENT : HM_ENOMEM);
		return;
	}
	for (size_t i = 0; i < n; i++)
		v[i] = (struct hm_cb_field){ev->fields[i].name, ev->fields[i].value};
	v[n] = (struct hm_cb_field){HM_STR("body"), ev->body};
	x->ev = ev;
	if (!hm_receipts_session_event(cb, c, v, n + 1, on_taken, x)) {
		free(x);
		ev->done(ev, HM_EAGAIN);
	}
	free(v);
}
