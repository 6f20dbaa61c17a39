/*
 * measure.c - lengths in a provider's unit, and cutting by them
 */
#include "adapt/measure.h"

/* Bytes of the longest prefix with at most `max` units. */
static size_t cut_at(struct hm_str s, size_t max, bool utf16)
{
	size_t i = 0, units = 0, n;

	while (i < s.len) {
		uint32_t cp = hm_utf8_decode(hm_str_n(s.p + i, s.len - i), &n);

		units += utf16 && cp >= 0x10000 ? 2 : 1;
		if (units > max)
			break;
		i += n;
	}
	return i;
}

struct hm_str hm_cut(struct hm_str s, size_t max, enum hm_unit unit, struct hm_str mark, struct hm_arena *a)
{
	size_t room, n, mark_units;
	char *p;

	if (hm_units(s, unit) <= max)
		return s;
	mark_units = hm_units(mark, unit);
	room = mark_units <= max ? max - mark_units : 0;
	n = unit == HM_UNIT_BYTES ? hm_utf8_cut(s, room) : cut_at(s, room, unit == HM_UNIT_UTF16);
	if (mark_units == 0 || mark_units > max)
		return hm_str_n(s.p, n);
	p = hm_arena_alloc(a, n + mark.len);
	if (p == NULL)
		return hm_str_n(s.p, n);
	memcpy(p, s.p, n);
	memcpy(p + n, mark.p, mark.len);
	return hm_str_n(p, n + mark.len);
}

size_t hm_units(struct hm_str s, enum hm_unit unit)
{
	switch (unit) {
	case HM_UNIT_CHARS: return hm_utf8_codepoints(s);
	case HM_UNIT_UTF16: return hm_utf8_utf16_units(s);
	default: return s.len;
	}
}

int hm_unit_find(struct hm_str name)
{
	if (hm_str_is(name, "bytes"))
		return HM_UNIT_BYTES;
	if (hm_str_is(name, "chars"))
		return HM_UNIT_CHARS;
	return hm_str_is(name, "utf16") ? HM_UNIT_UTF16 : -1;
}

const char *hm_unit_name(enum hm_unit unit)
{
	static const char *const names[] = {"bytes", "characters", "UTF-16 units", "segments"};

	return names[unit];
}
