/*
 * datetime.h - moments as text: ISO 8601 and the patterns of java.text.SimpleDateFormat
 *
 * A moment is milliseconds since the epoch, UTC. What clocks show then is told by a struct hm_zone.
 * Calendar: proleptic Gregorian. Private to engine/tmpl. Pure functions.
 */
#ifndef HM_TMPL_DATETIME_H
#define HM_TMPL_DATETIME_H

#include "base/buf.h"
#include "base/tz.h"
#include "tmpl/value.h"

struct hm_zone {
	const struct hm_tz *tz; /* NULL: offset_s holds always */
	int32_t offset_s;	/* east */
};
/* A zone by its name; without the system's database those with a fixed offset. false: unknown */
bool hm_zone_find(struct hm_str name, struct hm_zone *z_r) HM_MUSTCHECK;
int32_t hm_zone_at(struct hm_zone z, int64_t ms); /* seconds east */

struct hm_iso_opts {
	/* AUTO: seconds, with a fraction if there is one; SECONDS: never one; MS: as AUTO; MS_FORCED: three digits */
	enum { ISO_AUTO, ISO_SECONDS, ISO_MS, ISO_MS_FORCED, ISO_MINUTES, ISO_HOURS } accuracy;
	bool no_zone, force_zone, utc;
	bool xs; /* XML Schema: dates have a zone, too */
};
/* "iso", "iso_nz", "iso_ms_u" ...; false when the name is something else */
bool hm_iso_name(struct hm_str name, struct hm_iso_opts *o);

void hm_date_put_iso(struct hm_buf *out, enum hm_date_kind kind, int64_t ms, struct hm_zone zone,
		     struct hm_iso_opts o);
/* What the empty pattern stands for: Java's medium form. */
struct hm_str hm_date_medium(enum hm_date_kind kind, bool zh);
/* false: the pattern has an unknown letter or an open quote */
bool hm_date_put_pattern(struct hm_buf *out, struct hm_str pattern, int64_t ms, struct hm_zone zone,
			 bool zh) HM_MUSTCHECK;

bool hm_date_parse_iso(struct hm_str text, enum hm_date_kind kind, struct hm_iso_opts o, struct hm_zone zone,
		       int64_t *ms_r) HM_MUSTCHECK;
/* *bad_pattern tells a wrong pattern from a text that does not fit it */
bool hm_date_parse_pattern(struct hm_str text, struct hm_str pattern, struct hm_zone zone, bool zh,
			   int64_t *ms_r, bool *bad_pattern) HM_MUSTCHECK;

#endif
