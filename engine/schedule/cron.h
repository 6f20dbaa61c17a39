/*
 * cron.h - recurring times: "0 9 * * mon-fri" in a time zone
 *
 * Five fields: minute (0-59), hour (0-23), day of the month (1-31), month (1-12 or jan-dec), day of the week (0-7 or sun-sat; 0
 * and 7 are Sunday). A field is a list with commas of: * (all, also ?), a number or name, a range a-b, each with /step (every 15th: star,
 * slash, 15; 8-18/2, and 5/15 which begins at 5). When both days are restricted, either will do, as in Vixie cron; a field
 * that begins with * does not restrict. Also @hourly, @daily (@midnight), @weekly, @monthly, @yearly (@annually). No seconds,
 * no years, no L, W or #. Case does not matter.
 *
 * Daylight saving: a reading the zone leaves out counts at the first moment after the gap (several such make one); of readings that
 * come twice the first counts, so nothing fires twice. (What fires every quarter of an hour
 * therefore pauses in the repeated hour; what must be even in time is `every`, not cron.)
 *
 * Pure functions, any thread.
 */
#ifndef HM_SCHEDULE_CRON_H
#define HM_SCHEDULE_CRON_H

#include "base/err.h"
#include "base/tz.h"

struct hm_cron {
	uint64_t minutes; /* bit per value */
	uint32_t hours, days, months;
	uint8_t weekdays;
	bool any_day, any_weekday; /* the field began with * */
};
/* HM_EINVAL with a sentence that names the field; also for dates that never come (30 February). */
int hm_cron_parse(struct hm_str text, struct hm_cron *c_r, struct hm_err *e) HM_MUSTCHECK;
/* The first moment later than after_s (Unix time); INT64_MAX: none within nine years. */
int64_t hm_cron_next(const struct hm_cron *c, const struct hm_tz *tz, int64_t after_s);

#endif
