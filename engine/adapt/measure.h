/*
 * measure.h - how long a text is, in a provider's own unit
 *
 * bytes      of UTF-8
 * chars      code points
 * utf16      UTF-16 code units (a character outside the BMP counts 2)
 * segments   parts of a text message on the radio path: GSM 03.38 default alphabet with its extension table
 *            (3GPP TS 23.038: 160 septets, 153 in each part of several; ^ { } \ [ ~ ] | euro and form feed cost two
 *            and are never torn apart), or UCS-2 when one sign is not in it (70 units, 67 in each of several; a surrogate
 *            pair is never torn apart)
 * Pure functions, any thread.
 */
#ifndef HM_ADAPT_MEASURE_H
#define HM_ADAPT_MEASURE_H

#include "base/arena.h"
#include "base/str.h"

enum hm_unit { HM_UNIT_BYTES, HM_UNIT_CHARS, HM_UNIT_UTF16, HM_UNIT_SEGMENTS };
int hm_unit_find(struct hm_str name); /* -1: unknown */
const char *
hm_unit_name(enum hm_unit unit); /* "bytes", "characters", "UTF-16 units", "segments": for sentences */
size_t hm_units(struct hm_str s, enum hm_unit unit);

/* Measures a text that comes in pieces; a piece ends between two code points. */
struct hm_meter {
	enum hm_unit unit;
	size_t n; /* not segments */
	/* private: segments, counted both ways until the end tells which holds */
	struct hm_layout {
		uint32_t units, parts, fill;
	} gsm, ucs2;
	bool forced;
};
void hm_meter_init(struct hm_meter *m, enum hm_unit unit);
void hm_meter_add(struct hm_meter *m, struct hm_str s);
size_t hm_meter_units(const struct hm_meter *m);

/* Septets a character costs in GSM 03.38: 1, 2, or 0 when it is not in it. */
uint32_t hm_gsm_septets(uint32_t cp);

struct hm_sms {
	bool ucs2;
	uint32_t units;	       /* septets (escapes counted) or UTF-16 units */
	uint32_t segments;     /* 0 for an empty text */
	uint32_t room;	       /* units still free in the last segment */
	struct hm_str forced;  /* the first character that is not in the GSM alphabet: why it is UCS-2 */
	uint32_t segments_gsm; /* what it would be if characters outside the alphabet were left out */
};
void hm_sms_measure(struct hm_str text, struct hm_sms *m);

/* At most max units, cut between characters, with `mark` (its length counted) when something was cut. At a word's end
 * when there is one in the last third; never inside a surrogate pair, an emoji sequence joined by U+200D, a flag, or
 * before a combining mark or variation selector (breaks.h). Blanks at the cut go. s itself when it fits. A mark longer than
 * max is left out. The copy is in the arena; one pass. */
struct hm_str hm_cut(struct hm_str s, size_t max, enum hm_unit unit, struct hm_str mark, struct hm_arena *a);

#endif
