/*
 * tz.h - time zones by name, with their daylight saving
 *
 * Zones come from the system's database (Debian's tzdata): TZif files of version 2 and up
 * (RFC 8536) under $TZDIR or /usr/share/zoneinfo, with the POSIX rule in their footer for moments after the last
 * transition listed. "UTC", "Z", "+08:00", "GMT+08:00" and the like are made without a file; their + is east, as people
 * and Java write it, and not as in POSIX or Etc/GMT+8.
 *
 * A zone is read once per process and never changes or goes away: pointers may be kept, compared, and used by any
 * thread. Finding one that is loaded takes no lock; loading takes one. An unknown name costs a few failed
 * opens each time. At most HM_TZ_MAX zones are kept; beyond that hm_tz_find() says NULL.
 */
#ifndef HM_BASE_TZ_H
#define HM_BASE_TZ_H

#include "base/defs.h"
#include "base/str.h"

#define HM_TZ_NAME_MAX 64   /* bytes of a name */
#define HM_TZ_MAX      4096 /* zones; the database has about 600, fixed offsets 2,160 */

struct hm_tz;

/* NULL: no such zone, or the name is none (too long, absolute, "..", odd characters), or its file is broken. */
const struct hm_tz *hm_tz_find(struct hm_str name);
/* The name it was found by; a fixed offset is "UTC" or "+08:00", however it was written. */
struct hm_str hm_tz_name(const struct hm_tz *tz);

/* Seconds east of Greenwich at a moment (seconds since 1970, UTC). dst_r, which may be NULL: is it daylight saving? */
int32_t hm_tz_offset(const struct hm_tz *tz, int64_t unix_s, bool *dst_r);
/* Never another offset; the zone may then be treated as a number. */
bool hm_tz_is_fixed(const struct hm_tz *tz, int32_t *offset_r);

/* A reading of a calendar and a clock, anywhere. Values out of range carry over, as in mktime(). */
struct hm_civil {
	int64_t year;
	int month, day, hour, minute, second; /* month 1..12, day 1..31 */
};
/* Rounds down, also below 0. */
static inline int64_t hm_floor_div(int64_t a, int64_t b)
{
	int64_t q = a / b;

	return q - (a % b != 0 && (a < 0) != (b < 0));
}
static inline bool hm_leap_year(int64_t y)
{
	return y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
}
/* Days since 1970-01-01; the day may be out of range, the month may not. */
int64_t hm_civil_days(int64_t year, int month, int64_t day);
int64_t hm_civil_seconds(struct hm_civil c); /* as if it were UTC; proleptic Gregorian calendar */
struct hm_civil hm_civil_of(int64_t local_s);

/*
 * When clocks are turned, some readings do not exist (a gap) and some exist twice (an overlap).
 * In a gap the time moves forward by the gap's length, as in java.time: 02:30 becomes 03:30.
 */
enum hm_tz_overlap { HM_TZ_FIRST, HM_TZ_SECOND };
enum hm_tz_fit { HM_TZ_ONCE, HM_TZ_GAP, HM_TZ_TWICE };
/* The moment at which clocks of the zone read that (or, for a gap, would have); local_s is a reading as
 * hm_civil_seconds() gives it. fit_r may be NULL. */
int64_t hm_tz_seconds_to_utc(const struct hm_tz *tz, int64_t local_s, enum hm_tz_overlap which,
			     enum hm_tz_fit *fit_r);
/* The first moment at which clocks of the zone read local_s or later: in a gap, the moment they are turned. */
int64_t hm_tz_first_at(const struct hm_tz *tz, int64_t local_s);

#endif
