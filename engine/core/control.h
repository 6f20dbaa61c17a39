/*
 * control.h - what the control thread hears from the rest of the fleet
 *
 * Follows the control stream in Redis (ingest/cancel_mark.h): cancel marks go into the
 * cancel set, changed API keys reset the caches, changed templates are fetched, paused channels are told to the shards, and so is
 * what providers asked other processes to wait. On start and after every reconnect the
 * stream is read from the last position seen, so nothing is missed.
 */
#ifndef HM_CORE_CONTROL_H
#define HM_CORE_CONTROL_H

#include "core/engine.h"

struct hm_control;
int hm_control_start(struct hm_engine *en, struct hm_control **c_r, struct hm_err *e) HM_MUSTCHECK;
/* Before the Redis client is closed; the memory goes after that, because a failed command may still call back. */
void hm_control_stop(struct hm_control *c);
void hm_control_free(struct hm_control *c);

#endif
