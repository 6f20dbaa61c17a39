/*
 * measure.c - lengths in a provider's unit, and cutting by them
 */
#include "adapt/measure.h"

#include "adapt/breaks.h"

#define GSM_ONE	  160u
#define GSM_PART  153u /* six octets of user data header take seven septets */
#define UCS2_ONE  70u
#define UCS2_PART 67u

uint32_t hm_gsm_septets(uint32_t cp)
{
	if ((cp >= 'a' && cp <= 'z') || (cp >= 'A' && cp <= 'Z') || (cp >= '0' && cp <= '9'))
		return 1;
	switch (cp) {
#define HM_GSM(cp, septets) \
	case cp:            \
		return septets;
#include "tbl/gsm.h"
#undef HM_GSM
	default: return 0;
	}
}

/* One more character of `size` units, never torn between two parts. */
static void lay(struct hm_layout *l, uint32_t size, uint32_t part)
{
	l->units += size;
	if (l->parts == 0 || l->fill + size > part) {
		l->parts++;
		l->fill = 0;
	}
	l->fill += size;
}

static uint32_t parts_of(const struct hm_layout *l, uint32_t one)
{
	return l->units == 0 ? 0 : l->units <= one ? 1 : l->parts;
}

static void lay_char(struct hm_meter *m, uint32_t cp)
{
	uint32_t septets = hm_gsm_septets(cp);

	if (septets)
		lay(&m->gsm, septets, GSM_PART);
	else
		m->forced = true;
	lay(&m->ucs2, cp >= 0x10000 ? 2 : 1, UCS2_PART);
}

void hm_meter_init(struct hm_meter *m, enum hm_unit unit)
{
	memset(m, 0, sizeof(*m));
	m->unit = unit;
}

void hm_meter_add(struct hm_meter *m, struct hm_str s)
{
	size_t n;

	switch (m->unit) {
	case HM_UNIT_BYTES: m->n += s.len; return;
	case HM_UNIT_CHARS: m->n += hm_utf8_codepoints(s); return;
	case HM_UNIT_UTF16: m->n += hm_utf8_utf16_units(s); return;
	case HM_UNIT_SEGMENTS: break;
	}
	for (size_t i = 0; i < s.len; i += n)
		lay_char(m, hm_utf8_decode(hm_str_n(s.p + i, s.len - i), &n));
}

size_t hm_meter_units(const struct hm_meter *m)
{
	if (m->unit != HM_UNIT_SEGMENTS)
		return m->n;
	return m->forced ? parts_of(&m->ucs2, UCS2_ONE) : parts_of(&m->gsm, GSM_ONE);
}

size_t hm_units(struct hm_str s, enum hm_unit unit)
{
	struct hm_meter m;

	if (unit == HM_UNIT_BYTES)
		return s.len;
	hm_meter_init(&m, unit);
	hm_meter_add(&m, s);
	return hm_meter_units(&m);
}

void hm_sms_measure(struct hm_str text, struct hm_sms *r)
{
	struct hm_meter m;
	const struct hm_layout *l;
	size_t n;

	memset(r, 0, sizeof(*r));
	hm_meter_init(&m, HM_UNIT_SEGMENTS);
	for (size_t i = 0; i < text.len; i += n) {
		struct hm_str rest = hm_str_n(text.p + i, text.len - i);

		lay_char(&m, hm_utf8_decode(rest, &n));
		if (m.forced && r->forced.len == 0)
			r->forced = hm_str_n(rest.p, hm_grapheme(rest));
	}
	r->ucs2 = m.forced;
	l = r->ucs2 ? &m.ucs2 : &m.gsm;
	r->units = l->units;
	r->segments = parts_of(l, r->ucs2 ? UCS2_ONE : GSM_ONE);
	r->segments_gsm = parts_of(&m.gsm, GSM_ONE);
	if (r->segments == 1)
		r->room = (r->ucs2 ? UCS2_ONE : GSM_ONE) - l->units;
	else if (r->segments > 1)
		r->room = (r->ucs2 ? UCS2_PART : GSM_PART) - l->fill;
}

/* Would the text so far, with the mark behind it, be within max? */
static bool fits(const struct hm_meter *m, struct hm_str mark, size_t mark_units, size_t max)
{
	struct hm_meter with;

	if (m->unit != HM_UNIT_SEGMENTS)
		return m->n + mark_units <= max;
	with = *m;
	hm_meter_add(&with, mark);
	return hm_meter_units(&with) <= max;
}

/* Back to a word's end within the last third, if there is one. */
static size_t word_end(struct hm_str s, size_t at)
{
	for (size_t i = at; i && i >= at - at / 3; i--)
		if (((unsigned char)s.p[i] & 0xc0) != 0x80 && hm_break_at(s, i) >= HM_BREAK_WORD)
			return i;
	return at;
}

struct hm_str hm_cut(struct hm_str s, size_t max, enum hm_unit unit, struct hm_str mark, struct hm_arena *a)
{
	size_t mark_units, at = 0, n;
	struct hm_meter m;
	char *p;

	if (s.len <= max && unit != HM_UNIT_SEGMENTS) /* bytes are never fewer than units */
		return s;
	if (hm_units(s, unit) <= max)
		return s;
	mark_units = hm_units(mark, unit);
	if (mark_units > max) {
		mark = HM_STR("");
		mark_units = 0;
	}
	hm_meter_init(&m, unit);
	for (size_t i = 0; i < s.len; i += n) {
		n = hm_grapheme(hm_str_n(s.p + i, s.len - i));
		hm_meter_add(&m, hm_str_n(s.p + i, n));
		if (!fits(&m, mark, mark_units, max))
			break;
		at = i + n;
	}
	at = word_end(s, at);
	s = hm_trim_end(hm_str_n(s.p, at));
	if (mark.len == 0)
		return s;
	p = hm_arena_alloc(a, s.len + mark.len);
	if (p == NULL)
		return s;
	memcpy(p, s.p, s.len);
	memcpy(p + s.len, mark.p, mark.len);
	return hm_str_n(p, s.len + mark.len);
}

int hm_unit_find(struct hm_str name)
{
	static const char *const names[] = {"bytes", "chars", "utf16", "segments"};

	for (size_t i = 0; i < hm_countof(names); i++)
		if (hm_str_is(name, names[i]))
			return (int)i;
	return -1;
}

const char *hm_unit_name(enum hm_unit unit)
{
	static const char *const names[] = {"bytes", "characters", "UTF-16 units", "segments"};

	return names[unit];
}
