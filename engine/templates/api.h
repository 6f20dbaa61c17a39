/*
 * api.h - /v1/templates: managed templates over HTTP
 *
 * The rows are in routes.c, described in ingest/openapi.json. A name with folders is one segment of the path: its / is
 * written %2F (order%2Fshipped). Every change may carry If-Match; every answer about one template carries its ETag.
 *
 * Reading asks Redis, so that what one process stored every process shows at once. A change is checked against the
 * book of this process (check.h), stored by one script, and answered when this process uses it: who published a
 * template can send it with the next request.
 *
 * One hm_templates_api per shard; it must live as long as the HTTP server. Threads: the shard's.
 */
#ifndef HM_TEMPLATES_API_H
#define HM_TEMPLATES_API_H

#include "adapter/adapter.h"
#include "ingest/http_req.h"
#include "templates/templates.h"

/* What is in effect at this moment; valid until the handler returns. */
struct hm_templates_now {
	const struct hm_config *cfg;
	const struct hm_channel_set *channels;
	struct hm_template_opts opts; /* without `with` */
};
struct hm_templates_api {
	struct hm_templates *templates; /* NULL: answers wait for nobody */
	struct hm_tick *tick;		/* the shard's */
	struct hm_mailbox *mailbox;
	struct hm_book *book;
	struct hm_str prefix; /* queue.prefix */
	void (*now)(void *arg, struct hm_templates_now *n);
	void *arg;
	/* private */
	uint32_t checks; /* under way on the pool */
};
extern const struct hm_http_route hm_templates_routes[];
extern const size_t hm_templates_routes_n;

#endif
