/*
 * channels.h - /v1/channels: what channels do at this moment, pause and resume by hand
 *
 * The list is this process' view (all its shards); pausing is stored in Redis and told to every process (shape/pauses.h).
 */
#ifndef HM_CORE_CHANNELS_H
#define HM_CORE_CHANNELS_H

#include "ingest/http_req.h"

extern const struct hm_http_route hm_channels_routes[];
extern const size_t hm_channels_routes_n;

#endif
