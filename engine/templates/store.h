/*
 * store.h - templates in Redis: the keys, the one script that changes them, the ways to read them
 *
 * All on the slot of {<prefix>:ctl}, so that every change is one script, event included: there is no moment in which a
 * change is stored and nobody is told.
 *
 *   {hm:ctl}:templates             hash    name -> JSON of the index, below
 *   {hm:ctl}:templates:names       zset    the names, score 0: listed in order, by prefix
 *   {hm:ctl}:templates:token       string  changes with every change: one GET tells whether anything is new
 *   {hm:ctl}:template:<name>       hash    "draft", "v<n>" -> the document byte for byte; "m:draft", "m:v<n>" -> JSON
 *                                          {at, by, tok, note}
 *   {hm:ctl}:template-log:<name>   list    JSON {at, by, op, version, note}, oldest first, the last 1,000
 *   {hm:ctl}:events                stream  type template name <name> etag <etag> at <ms>
 *
 *   index: {"id": <token of its creation>, "etag": <token of its last change>, "at": ms, "by": who, "latest": 3, "current": 3,
 *           "archived": {"1": true}, "draft": {"at": ms, "by": who}, "kind": "message", "about": "description"}
 *
 * Versions run from 1 to `latest` and are never changed or removed. `current` is what jobs without @version get: publishing
 * sets it, hm_tstore CURRENT moves it back and forth, archiving it hands it to the highest version that is not archived (0:
 * none is left, jobs without @version fail).
 *
 * Who: "key:<id of the API key>", "cli:<user>@<host>", "http" where the API asks for no key.
 *
 * Threads: that of the hm_redis. Callbacks come from the loop, never from inside the call; what they point to is valid
 * during the call only. Errors are those of redis.h.
 */
#ifndef HM_TEMPLATES_STORE_H
#define HM_TEMPLATES_STORE_H

#include "base/arena.h"
#include "base/buf.h"
#include "redis/redis.h"

#define HM_TSTORE_NAME_MAX  100 /* bytes; with @version it still fits a job's `template` */
#define HM_TSTORE_DOC_MAX   (1u << 20)
#define HM_TSTORE_VERSIONS  1000 /* of one template */
#define HM_TSTORE_NOTE_MAX  500
#define HM_TSTORE_ABOUT_MAX 200 /* of the description, in lists */
#define HM_TSTORE_TAG	    26	/* a ULID */

/* Letters of any script, digits, . _ - in segments with / between them. Not: empty or dotted segments, "x.test" (the
 * fixtures of x). */
int hm_tstore_check_name(struct hm_str name, struct hm_err *e) HM_MUSTCHECK;

/* -- changes ----------------------------------------------------------------------------- */

enum hm_tstore_op {
	HM_TSTORE_SAVE,	   /* doc becomes the draft; the template is created when there is none */
	HM_TSTORE_PUBLISH, /* doc, or the draft when doc is empty, becomes the next version */
	HM_TSTORE_ARCHIVE, /* version; 0: all */
	HM_TSTORE_RESTORE, /* version, from the archive */
	HM_TSTORE_CURRENT, /* version becomes the one jobs get */
	HM_TSTORE_DISCARD, /* the draft goes; the template with it when it has no version */
	HM_TSTORE_DELETE,  /* the template goes; only one that was never published */
	HM_TSTORE_OPS
};
struct hm_tstore_change {
	enum hm_tstore_op op;
	struct hm_str name;
	/* What the caller has seen: an etag; "*" anything, but it must exist; "-" it must not exist; "" no matter. A draft
	 * is never overwritten without one. */
	struct hm_str match;
	struct hm_str by;
	uint64_t at_ms;
	uint32_t version;
	struct hm_str doc, kind, about; /* SAVE and PUBLISH; kind and about as compiled from what is saved */
	struct hm_str note;
	uint32_t max_templates;
};
enum hm_tstore_result {
	HM_TSTORE_OK,
	HM_TSTORE_SAME,	     /* it is so already; nothing was written */
	HM_TSTORE_STALE,     /* match does not fit; etag is the present one, or empty */
	HM_TSTORE_UNMATCHED, /* there is a draft, and match is empty */
	HM_TSTORE_EXISTS,    /* match "-" */
	HM_TSTORE_MISSING,   /* no such template */
	HM_TSTORE_NO_DRAFT,
	HM_TSTORE_NO_VERSION,
	HM_TSTORE_ARCHIVED,  /* an archived version cannot become current */
	HM_TSTORE_PUBLISHED, /* DELETE: it has versions */
	HM_TSTORE_FULL,	     /* max_templates */
	HM_TSTORE_MANY,	     /* HM_TSTORE_VERSIONS */
	HM_TSTORE_RESULTS
};
struct hm_tstore_answer {
	enum hm_tstore_result result;
	struct hm_str etag;
	uint32_t version, current; /* the one written; what jobs get now */
};
typedef void (*hm_tstore_fn)(void *arg, const struct hm_tstore_answer *a, const struct hm_err *err);
void hm_tstore_change(struct hm_redis *r, struct hm_str prefix, const struct hm_tstore_change *c,
		      hm_tstore_fn fn, void *arg);
/* The sentence for a result that is not OK or SAME. */
void hm_tstore_explain(const struct hm_tstore_change *c, const struct hm_tstore_answer *a, struct hm_err *e);

/* -- reading ------------------------------------------------------------------------------ */

struct hm_tstore_info { /* texts in the arena */
	struct hm_str id, etag, by, kind, about, draft_by;
	uint64_t at_ms, draft_at_ms;
	uint32_t latest, current;
	bool draft;
	uint64_t archived[HM_TSTORE_VERSIONS / 64 + 1]; /* bit per version */
};
static inline bool hm_tstore_archived(const struct hm_tstore_info *t, uint32_t v)
{
	return v <= HM_TSTORE_VERSIONS && (t->archived[v / 64] >> (v % 64) & 1);
}
int hm_tstore_read_info(struct hm_str json, struct hm_arena *a, struct hm_tstore_info *t,
			struct hm_err *e) HM_MUSTCHECK;

struct hm_tstore_meta { /* of a draft or version, or a row of the log */
	struct hm_str by, tok, note, op;
	uint64_t at_ms;
	uint32_t version;
};
int hm_tstore_read_meta(struct hm_str json, struct hm_arena *a, struct hm_tstore_meta *m,
			struct hm_err *e) HM_MUSTCHECK;

/* A page of the index: names beginning with `begin` and coming after `after`. Reply: [name, JSON, name, JSON ...]. */
void hm_tstore_list(struct hm_redis *r, struct hm_str prefix, struct hm_str begin, struct hm_str after,
		    uint32_t limit, hm_reply_fn fn, void *arg);
/* One template as of one moment. Reply: nil, or [index JSON, m:draft, m:v1 ... m:v<latest>, then for each of the fields
 * asked for its value]. Fields: "draft", "v<n>", and "current" for the version jobs get. */
#define HM_TSTORE_FIELDS_MAX 4
void hm_tstore_get(struct hm_redis *r, struct hm_str prefix, struct hm_str name, const struct hm_str *fields,
		   size_t n, hm_reply_fn fn, void *arg);
/* The documents of versions v[0] .. v[n-1]; reply: an array of them, nil where there is none. */
#define HM_TSTORE_DOCS_MAX 16
void hm_tstore_docs(struct hm_redis *r, struct hm_str prefix, struct hm_str name, const uint32_t *v, size_t n,
		    hm_reply_fn fn, void *arg);
void hm_tstore_token(struct hm_redis *r, struct hm_str prefix, hm_reply_fn fn, void *arg);
void hm_tstore_index(struct hm_redis *r, struct hm_str prefix, hm_reply_fn fn,
		     void *arg); /* [name, JSON, ...] of all, in no order */
void hm_tstore_log(struct hm_redis *r, struct hm_str prefix, struct hm_str name, uint32_t limit,
		   hm_reply_fn fn, void *arg); /* the last rows, newest last */

#endif
