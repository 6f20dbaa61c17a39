/*
 * inbox_int.h - what the files of the inbox share
 */
#ifndef HM_INBOX_INBOX_INT_H
#define HM_INBOX_INBOX_INT_H

#include "base/fault.h"
#include "config/config.h"
#include "inbox/inbox.h"
#include "inbox/store.h"
#include "inbox/token.h"

#define INBOX_MAGIC 0x696e6278u

struct inbox_live;
struct hm_inbox {
	uint32_t magic;
	struct hm_inbox_deps deps;
	const struct hm_settings *settings; /* those of now */
	struct hm_redis *redis;		    /* NULL until open */
	struct hm_receipts *receipts;
	struct hm_token_keys *keys;
	struct hm_slab jobs[2]; /* driver.c */
	bool closed;
	/* report.c */
	struct hm_list reads; /* in the order they are due */
	struct hm_timer read_later;
	struct hm_list reports; /* waiting */
	struct hm_flush reporting;
	struct hm_timer report_again;
	size_t report_batches;
	struct inbox_live *live;
};

/* Of now. */
struct hm_inbox_ref inbox_ref(const struct hm_inbox *ib, struct hm_str user);

/* driver.c */
void inbox_jobs_init(struct hm_inbox *ib);

/* -- report.c: receipts, many at a time --------------------------------------------------------------- */

struct inbox_report { /* its owner's until done */
	struct hm_node node;
	struct hm_ulid *ids;
	size_t n; /* at most HM_INBOX_IDS_MAX */
	uint8_t event;
	uint64_t at_ms, due_ms;
	void (*done)(struct inbox_report *r, bool ok);
};
void inbox_reports_init(struct hm_inbox *ib);
/* done comes once, from the loop or, when too much waits, from inside: ok when every one of them is in the stream of receipts. */
void inbox_report(struct hm_inbox *ib, struct inbox_report *r, enum hm_receipt event,
		  void (*done)(struct inbox_report *r, bool ok));
void inbox_reports_close(struct hm_inbox *ib);

/* -- access.c: who asks, and from which page ------------------------------------------------------------ */

struct inbox_who {
	struct hm_str user; /* in the request's arena */
	uint64_t until_ms;  /* end of the token; 0: an API key asks */
};
/* A user's request: by its token. False: answered. */
bool inbox_user(struct hm_http_req *r, struct inbox_who *who) HM_MUSTCHECK;
/* A backend's: by the path, whose first parameter is the user. False: answered. */
bool inbox_named_user(struct hm_http_req *r, struct inbox_who *who) HM_MUSTCHECK;
/* Header lines that let the page's script read the answer; empty when it has no Origin, or one that is not listed. */
struct hm_str inbox_cors(struct hm_http_req *r);
void inbox_preflight(struct hm_http_req *r);
struct hm_str inbox_header(const struct hm_http_req *r, const char *name); /* p == NULL: absent */
/* Answers, with the lines of inbox_cors. */
void inbox_json(struct hm_http_req *r, struct hm_str body);
void inbox_problem(struct hm_http_req *r, enum hm_problem p, const char *field, const char *fmt, ...)
	HM_PRINTF(4, 5);
void inbox_problem_redis(struct hm_http_req *r, const struct hm_err *e);
struct hm_inbox *inbox_of(const struct hm_http_req *r);

/* -- handlers ------------------------------------------------------------------------------------------- */

void inbox_get_list(struct hm_http_req *r), inbox_get_counts(struct hm_http_req *r),
	inbox_get_item(struct hm_http_req *r);
void inbox_post_read(struct hm_http_req *r), inbox_post_unread(struct hm_http_req *r),
	inbox_post_archive(struct hm_http_req *r), inbox_post_unarchive(struct hm_http_req *r),
	inbox_post_delete(struct hm_http_req *r), inbox_delete_item(struct hm_http_req *r),
	inbox_erase(struct hm_http_req *r), inbox_post_ticket(struct hm_http_req *r),
	inbox_get_stream(struct hm_http_req *r);
/* Reports what was read and is not on record as such (again); no matter when it fails: what asks next does it. */
void inbox_report_again(struct hm_inbox *ib, struct hm_str user, const struct hm_str *ids, size_t n);

#endif
