/*
 * zone.c - names of time zones
 *
 * The system's database knows them all (base/tz.h); where it is not installed, a table here knows those of one offset.
 */
#include "tmpl/datetime.h"
#include "tmpl/tmpl.h"

static bool digits(struct hm_str s, size_t *i, int max, int *v)
{
	size_t start = *i;

	*v = 0;
	while (*i < s.len && *i - start < (size_t)max && s.p[*i] >= '0' && s.p[*i] <= '9')
		*v = *v * 10 + (s.p[(*i)++] - '0');
	return *i > start;
}

/* +hh:mm, +hhmm, +hh */
static bool offset(struct hm_str s, int32_t *r)
{
	size_t i = 1;
	int h, m = 0;

	if (s.len < 2 || (s.p[0] != '+' && s.p[0] != '-') || !digits(s, &i, 2, &h))
		return false;
	if (i < s.len && s.p[i] == ':')
		i++;
	if (i < s.len && !digits(s, &i, 2, &m))
		return false;
	if (i != s.len || h > 18 || m > 59)
		return false;
	*r = (s.p[0] == '-' ? -1 : 1) * (h * 60 + m);
	return true;
}

bool hm_tmpl_zone(struct hm_str name, int32_t *r)
{
	static const struct {
		struct hm_str name;
		int32_t offset;
	} zones[] = {
#define HM_ZONE(n, o) {HM_STR_INIT(n), o},
#include "tmpl/zones.h"
#undef HM_ZONE
	};

	for (size_t i = 0; i < hm_countof(zones); i++)
		if (hm_str_eq(zones[i].name, name)) {
			*r = zones[i].offset;
			return true;
		}
	if (hm_str_starts(name, HM_STR("Etc/GMT")) && offset(hm_str_n(name.p + 7, name.len - 7), r)) {
		*r = -*r; /* POSIX counts the other way */
		return true;
	}
	if (hm_str_starts(name, HM_STR("GMT")) || hm_str_starts(name, HM_STR("UTC")))
		name = hm_str_n(name.p + 3, name.len - 3);
	return offset(name, r);
}

bool hm_zone_find(struct hm_str name, struct hm_zone *z_r)
{
	const struct hm_tz *tz = hm_tz_find(name);
	struct hm_zone z = {.tz = tz};
	int32_t min;

	if (tz) {
		if (hm_tz_is_fixed(tz, &z.offset_s))
			z.tz = NULL;
	} else if (hm_tmpl_zone(name, &min)) {
		z.offset_s = min * 60;
	} else {
		return false;
	}
	*z_r = z;
	return true;
}

bool hm_tmpl_ctx_zone(struct hm_tmpl_ctx *ctx, struct hm_str name)
{
	struct hm_zone z;

	if (!hm_zone_find(name, &z))
		return false;
	ctx->tz = z.tz;
	ctx->utc_offset_min = z.offset_s / 60;
	return true;
}
