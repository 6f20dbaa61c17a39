/*
 * templates.h - managed templates: versions in Redis, the same in every process
 *
 * A template has a name, at most one draft, and numbered versions that never change:
 *
 *   draft --publish--> version n (published; the highest published one is what jobs without @version get)
 *   published --archive--> archived (jobs that pin it still get it) --publish--> published again
 *
 * Redis, all on the slot of {<prefix>:ctl} so that every change is one script:
 *   {hm:ctl}:templates            hash  name -> JSON {latest, current, draft: etag|null, updated, versions: {"1": "published", ...}}
 *   {hm:ctl}:template:<name>      hash  "draft" -> document, "v<n>" -> document, "m:v<n>" / "m:draft" -> JSON {at, by, etag, syntax}
 *   {hm:ctl}:events               stream, type template, name <name>: read by every process (ingest/cancel_mark.h)
 *
 * A change is checked before it is stored: the document compiles, its fields agree, its fragments and facts exist, no cycle.
 * Two editors: every write carries the etag it was based on (If-Match); a stale one is refused (412).
 *
 * hm_templates is the process's copy: loaded at start (the engine is ready after that), kept current by events and by a
 * look at the index every templates.sync_interval; it feeds the book (content/content.h). While Redis is away what is
 * loaded stays usable.
 */
#ifndef HM_TEMPLATES_TEMPLATES_H
#define HM_TEMPLATES_TEMPLATES_H

#include "content/content.h"
#include "loop/tick.h"

struct hm_templates;
struct hm_redis;
struct hm_templates_deps {
	struct hm_tick *tick;
	struct hm_redis *redis;
	struct hm_book *book;
	struct hm_str prefix;
	struct hm_template_opts opts;
};
/* Lives on one loop (the control thread's). on_loaded once, when the first load succeeded. */
struct hm_templates *hm_templates_new(const struct hm_templates_deps *d, void (*on_loaded)(void *arg),
				      void *arg);
void hm_templates_event(struct hm_templates *t, struct hm_str name); /* from the control stream */
void hm_templates_close(struct hm_templates *t, void (*on_closed)(void *arg), void *arg);

#endif
