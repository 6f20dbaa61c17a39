/*
 * api_int.h - what the handlers of /v1/templates share
 */
#ifndef HM_TEMPLATES_API_INT_H
#define HM_TEMPLATES_API_INT_H

#include "templates/api.h"
#include "templates/check.h"

#define TAPI_OUT_MAX	   (32u << 20) /* one answer */
#define HM_TAPI_CHECKS_MAX 32	       /* documents compiled and previewed at once, per shard */
#define TAPI_ERRORS_MAX	   50	       /* mistakes listed in one */

/* api_json.c */
/* The {name} of the path into *name_r; false: answered. */
bool hm_tapi_name(struct hm_http_req *r, struct hm_str *name_r) HM_MUSTCHECK;
/* {version} as a number; `words`: or "current", "draft" (then *v_r is 0 and *word_r it). false: answered. */
bool hm_tapi_version(struct hm_http_req *r, bool words, uint32_t *v_r, struct hm_str *word_r) HM_MUSTCHECK;
bool hm_tapi_limit(struct hm_http_req *r, uint32_t def, uint32_t most, uint32_t *v_r) HM_MUSTCHECK;
void hm_tapi_out(struct hm_http_req *r, struct hm_buf *b); /* a buffer in the request's arena */
void hm_tapi_answer(struct hm_http_req *r, int status, struct hm_buf *b, struct hm_str etag,
		    struct hm_str headers);
void hm_tapi_problem_redis(struct hm_http_req *r, const struct hm_err *e);
/* , "key": "text" and the like; every one writes its own comma but the first of an object */
void hm_tapi_str(struct hm_buf *b, const char *key, struct hm_str s);
void hm_tapi_u64(struct hm_buf *b, const char *key, uint64_t v);
void hm_tapi_time(struct hm_buf *b, const char *key, uint64_t ms);
void hm_tapi_row(struct hm_buf *b, struct hm_str name,
		 const struct hm_tstore_info *t); /* without the draft */
void hm_tapi_fields(struct hm_buf *b, const struct hm_template *t);
struct hm_str hm_tapi_syntax(struct hm_str doc);

void hm_tapi_no_memory(struct hm_http_req *r);
/* A JSON object as a body, its members all in `known`. An empty body is an empty object when `may_lack`. false: answered.
 * hm_tapi_body_end in either case. */
struct hm_tapi_body {
	msgpack_zone zone;
	msgpack_object o;
	bool open;
};
bool hm_tapi_object(struct hm_http_req *r, bool may_lack, const char *const *known,
		    struct hm_tapi_body *b) HM_MUSTCHECK;
void hm_tapi_body_end(struct hm_tapi_body *b);

/* Mistakes of a document as they are reported, for `errors`. */
struct hm_tapi_errors {
	struct hm_buf json; /* elements of the list */
	size_t n, left_out;
	struct hm_err first;
};
void hm_tapi_errors_init(struct hm_tapi_errors *x, struct hm_arena *a);
void hm_tapi_errors_add(void *x, const struct hm_err *e); /* a hm_report_fn */
void hm_tapi_errors_answer(struct hm_http_req *r, struct hm_tapi_errors *x);

/* api_read.c */
void hm_tapi_list(struct hm_http_req *r), hm_tapi_get(struct hm_http_req *r),
	hm_tapi_get_version(struct hm_http_req *r), hm_tapi_history(struct hm_http_req *r);
/* api_write.c */
void hm_tapi_create(struct hm_http_req *r), hm_tapi_save(struct hm_http_req *r),
	hm_tapi_publish(struct hm_http_req *r), hm_tapi_archive_all(struct hm_http_req *r),
	hm_tapi_archive(struct hm_http_req *r), hm_tapi_restore(struct hm_http_req *r),
	hm_tapi_current(struct hm_http_req *r), hm_tapi_discard(struct hm_http_req *r),
	hm_tapi_delete(struct hm_http_req *r), hm_tapi_validate(struct hm_http_req *r);
/* api_preview.c */
void hm_tapi_preview(struct hm_http_req *r);

#endif
