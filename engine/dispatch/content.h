/*
 * content.h - templates as files and inline content: strings compiled once, rendered per message
 *
 * A content source is a set of compiled strings (title, body, short, url, image) plus
 * the value trees `options` and `data`, with overrides per medium. It comes from
 * templates/<name>.yaml (managed by a template set, shared by all threads) or from a
 * job's inline `content`. What has no placeholder is found at compile time, so that
 * literal content is neither rendered nor copied per message.
 *
 * Template file:
 *   format: plain            # plain | html | xml | json: how inserted values are escaped
 *   title: "..."             # any of title body short url image: template text
 *   body: |
 *     ...
 *   options: {badge: 1}      # standard names, adapters/README.md; strings are templates
 *   data: {order: "${order.id}"}
 *   media:                   # per medium; fields given here replace the ones above
 *     sms: {body: "..."}
 */
#ifndef HM_DISPATCH_CONTENT_H
#define HM_DISPATCH_CONTENT_H

#include "adapter/adapter.h"
#include "ingest/job.h"

struct content_source;
struct hm_template_set;

/* Loads <dir>/<name>.yaml for all files (sub-folders are part of the name). A missing dir is an empty set. */
int hm_template_set_load(struct hm_str dir, const struct hm_config *cfg, struct hm_template_set **r,
			 hm_report_fn report, void *arg) HM_MUSTCHECK;
void hm_template_set_free(struct hm_template_set *s);
size_t hm_template_set_count(const struct hm_template_set *s);
/* "name" or "name@version"; NULL when there is none. */
struct content_source *hm_template_find(const struct hm_template_set *s, struct hm_str ref);

/* Inline content of a job. Literal strings point into the job's bytes; with spec->render they are compiled. */
int hm_content_inline(const struct hm_job_spec *spec, struct hm_arena *a, struct content_source **src_r,
		      struct hm_err *e) HM_MUSTCHECK;
void hm_content_free(struct content_source *src); /* inline ones only */

/* true when no recipient can change the result for this medium. */
bool hm_content_is_literal(const struct content_source *src, enum hm_medium medium);

struct hm_render_env {
	const msgpack_object *roots[4]; /* recipient data, job data, built-ins; NULLs are skipped */
	struct hm_str locale, tz;
	uint64_t now_ms;
	struct hm_arena *arena;		    /* the result lives here */
	struct hm_arena *scratch;	    /* another arena, for temporaries: rewound when done */
	const struct hm_settings *settings; /* limits */
};
int hm_content_render(const struct content_source *src, enum hm_medium medium,
		      const struct hm_render_env *env, struct hm_content *out, struct hm_err *e) HM_MUSTCHECK;

#endif
