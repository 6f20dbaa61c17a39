/* store_int.h - what the clock asks of the store */
#ifndef HM_SCHEDULE_STORE_INT_H
#define HM_SCHEDULE_STORE_INT_H

#include "schedule/schedule.h"

/* Rows as hm_schedule_list, due up to now_ms. */
void hm_schedule_ask_due(struct hm_redis *r, struct hm_str prefix, uint64_t now_ms, uint32_t limit,
			 hm_reply_fn fn, void *arg);
/* From due_ms to next_ms, unless somebody has done so; fired_ms 0: it was left out. */
void hm_schedule_moved(struct hm_redis *r, struct hm_str prefix, struct hm_str name, struct hm_str id,
		       uint64_t due_ms, uint64_t next_ms, uint64_t fired_ms, hm_reply_fn fn, void *arg);

#endif
