/*
 * recent.h - the last requests, exactly as they came, for tests and curious eyes
 *
 * A ring of slots whose buffers are kept, one mutex. Thread-safe.
 */
#ifndef HM_SINK_RECENT_H
#define HM_SINK_RECENT_H

#include "worker.h"

struct recent_filter {
	unsigned profile;   /* 0 = any */
	struct hm_str path; /* prefix */
	uint64_t after;	    /* only requests with a greater number */
	size_t n;	    /* at most so many, the newest */
};

/* path (may be NULL): only requests whose path begins so; must outlive the ring. */
struct recent *recent_new(size_t slots, size_t max_body, const char *path);
void recent_free(struct recent *rc);
void recent_reset(struct recent *rc);
void recent_add(struct recent *rc, const struct sink_req *r, const struct sink_worker *w);
/* JSON array, oldest first. A body that is not UTF-8 is given as "body_base64". */
void recent_json(struct recent *rc, const struct recent_filter *f, struct hm_buf *out);

#endif
