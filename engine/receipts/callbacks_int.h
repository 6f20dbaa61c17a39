/*
 * callbacks_int.h - what the files of receipts/ share
 */
#ifndef HM_RECEIPTS_CALLBACKS_INT_H
#define HM_RECEIPTS_CALLBACKS_INT_H

#include "base/clock.h"
#include "base/log.h"
#include "base/obj.h"
#include "gates/suppress.h"
#include "ingest/cancel_mark.h"
#include "ingest/provider_id.h"
#include "receipts/callbacks.h"

#define CALLBACKS_MAGIC 0x63626b73u
#define TAKES_MAX	512

struct puller;

struct hm_callbacks {
	uint32_t magic;
	struct hm_callbacks_deps deps;
	struct hm_list takes;
	size_t looks, calls; /* in the thread pool, on the wire */
	bool stopped;
	void (*on_closed)(void *arg);
	void *closed_arg;
	struct puller *pull; /* pull.c; NULL: others poll */
};

void hm_callbacks_maybe_closed(struct hm_callbacks *cb);
struct hm_pid hm_callbacks_pid(const struct hm_callbacks *cb, const struct hm_channel *c);

/* replies.c */
enum reply_meaning { REPLY_TEXT, REPLY_STOP, REPLY_START };
enum reply_meaning hm_reply_meaning(const struct hm_settings *s, struct hm_str text);
/* One script: the mark, and the entry when there was none. fn's reply is 1: new, 0: known. */
void hm_reply_put(struct hm_callbacks *cb, const struct hm_channel *c, const struct hm_cb_event *e,
		  struct hm_str id, enum reply_meaning meaning, const char *mark, hm_reply_fn fn, void *arg);
void hm_replies_get(struct hm_http_req *r);

/* pull.c */
struct puller *hm_puller_new(struct hm_callbacks *cb);
void hm_puller_stop(struct puller *p);
void hm_puller_free(struct puller *p);

/* routes.c */
void hm_callback_any(struct hm_http_req *r);

#endif
