/*
 * api.h - /v1/schedules: recurring schedules over HTTP (schedule/schedule.h)
 */
#ifndef HM_SCHEDULE_API_H
#define HM_SCHEDULE_API_H

#include "ingest/http_req.h"

extern const struct hm_http_route hm_schedules_routes[];
extern const size_t hm_schedules_routes_n;

#endif
