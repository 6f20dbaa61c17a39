/*
 * templates.h - managed templates: versions in Redis, the same in every process
 *
 * A template has a name, at most one draft, and numbered versions that never change:
 *
 *   draft --publish--> version n --archive--> archived --restore--> version n
 *
 * One version is current: what jobs without @version get. Publishing makes the new one current, an earlier one can be made
 * current again. Archived versions serve the jobs that pin them and nobody else. What is stored where: store.h.
 *
 * A change is checked before it is stored (check.h): the document compiles, its fields agree, its fragments and facts exist,
 * no cycle, and no template that uses a fragment breaks by a change of it. Two editors: every write may carry the etag it was
 * based on; a stale one is refused, and a draft is never overwritten without one.
 *
 * hm_templates is the process's copy. It lives on one loop (the control thread's), is loaded at start, and feeds the book
 * (content/content.h), which every thread reads. It hears of changes twice: by the control stream (ingest/cancel_mark.h) at
 * once, and by a look at the store's token every interval, for what no event told (a Redis put back from a backup). While
 * Redis is away everything loaded stays in use. Versions are fetched and compiled once; only those that are new or not the
 * ones seen before are fetched again. A document that does not compile here (written by a newer or older program) is logged and
 * left out; when it is the current one, the version used before stays in use.
 *
 * Lifetime: new, (event, look, configure)*, stop, then the Redis client is closed, then free.
 * Threads:  the tick's, but hm_templates_wait.
 * Memory:   one object per template and version; documents are kept by content/.
 */
#ifndef HM_TEMPLATES_TEMPLATES_H
#define HM_TEMPLATES_TEMPLATES_H

#include "content/content.h"
#include "loop/mailbox.h"
#include "redis/redis.h"
#include "templates/store.h"

struct hm_templates;
struct hm_templates_deps {
	struct hm_tick *tick;
	struct hm_redis *redis;
	struct hm_mailbox *mailbox; /* of the same loop; NULL: nobody waits */
	struct hm_book *book;
	struct hm_str prefix; /* queue.prefix; must outlive it */
	struct hm_template_opts
		opts;	      /* `with` is not used: includes were checked when the document was stored */
	uint64_t interval_ms; /* templates.sync_interval; 0: only when told */
	void (*on_loaded)(void *arg);  /* once: everything there was at first is in the book. May be NULL */
	void (*on_changed)(void *arg); /* after each change of the book. May be NULL */
	void *arg;
};
struct hm_templates *hm_templates_new(const struct hm_templates_deps *d); /* NULL: out of memory */
bool hm_templates_loaded(const struct hm_templates *t);			  /* any thread */
void hm_templates_event(struct hm_templates *t, struct hm_str name, struct hm_str etag);
void hm_templates_look(struct hm_templates *t); /* now, not only when the interval is over */
/* Other settings: everything is compiled again from the sources kept. */
void hm_templates_configure(struct hm_templates *t, const struct hm_template_opts *opts,
			    uint64_t interval_ms);
void hm_templates_stop(struct hm_templates *t);
void hm_templates_free(struct hm_templates *t); /* after the Redis client; NULL is fine */

struct hm_templates_stats {
	size_t names, versions, broken; /* broken: do not compile here */
	uint64_t compiled, looks, fetches;
};
void hm_templates_stats(const struct hm_templates *t, struct hm_templates_stats *s);

/* Any thread with a mailbox: on_done comes there when the state that `name` has in Redis now is in the book, or when that
 * cannot be had (Redis is away). The answer to a change waits for it, so that who changed a template can use it. */
struct hm_templates_wait {
	struct hm_mail mail;
	void (*on_done)(struct hm_templates_wait *w);
	struct hm_mailbox *back;
	/* private */
	struct hm_templates *t;
	struct hm_templates_wait *next;
	size_t len;
	char name[HM_TSTORE_NAME_MAX];
};
void hm_templates_wait(struct hm_templates *t, struct hm_templates_wait *w, struct hm_str name);

#endif
