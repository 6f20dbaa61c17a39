/*
 * api_int.h - what the handlers of the lists share
 */
#ifndef HM_GATES_API_INT_H
#define HM_GATES_API_INT_H

#include "gates/api.h"
#include "gates/supp_text.h"

bool hm_sapi_consents(const struct hm_http_req *r); /* which list the path names */
/* address, user, kind, medium, category, reason of the query. False: answered. */
bool hm_sapi_filter(struct hm_http_req *r, struct hm_suppress_filter *f) HM_MUSTCHECK;
void hm_sapi_problem(struct hm_http_req *r, enum hm_problem p, const char *field, const char *text);
void hm_sapi_problem_redis(struct hm_http_req *r, const struct hm_err *e);
void hm_sapi_no_memory(struct hm_http_req *r);

#endif
