/* textcase.c - see textcase.h */
#include "tmpl/textcase.h"

struct caserange {
	uint32_t first, last;
	uint32_t step;
	int32_t delta;
};

static const struct caserange uppers[] = {
#define HM_UPPER(first, last, step, delta) {first, last, step, delta},
#include "tmpl/casemap.h"
#undef HM_UPPER
};
static const struct caserange lowers[] = {
#define HM_LOWER(first, last, step, delta) {first, last, step, delta},
#include "tmpl/casemap.h"
#undef HM_LOWER
};
static const struct {
	uint32_t cp;
	const char *text;
} many[] = {
#define HM_UPPER_MANY(c, t) {c, t},
#include "tmpl/casemap.h"
#undef HM_UPPER_MANY
};

/* The ranges are sorted by their first character; ranges of step 2 may interleave with a neighbour. */
static uint32_t map(const struct caserange *r, size_t n, uint32_t cp)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (r[mid].first <= cp)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (size_t back = 0; back < 3 && lo > back; back++) {
		const struct caserange *c = &r[lo - 1 - back];

		if (cp <= c->last && (cp - c->first) % c->step == 0)
			return (uint32_t)((int32_t)cp + c->delta);
	}
	return cp;
}

size_t hm_upper(uint32_t cp, char out[HM_CASE_MAX])
{
	if (cp < 0x80) {
		out[0] = (char)(cp >= 'a' && cp <= 'z' ? cp - 32 : cp);
		return 1;
	}
	for (size_t i = 0; i < hm_countof(many); i++)
		if (many[i].cp == cp) {
			size_t n = strlen(many[i].text);

			memcpy(out, many[i].text, n);
			return n;
		}
	return hm_utf8_encode(map(uppers, hm_countof(uppers), cp), out);
}

uint32_t hm_upper_cp(uint32_t cp)
{
	if (cp < 0x80)
		return cp >= 'a' && cp <= 'z' ? cp - 32 : cp;
	return map(uppers, hm_countof(uppers), cp);
}

uint32_t hm_lower_cp(uint32_t cp)
{
	if (cp < 0x80)
		return cp >= 'A' && cp <= 'Z' ? cp + 32 : cp;
	return map(lowers, hm_countof(lowers), cp);
}

size_t hm_lower(uint32_t cp, char out[HM_CASE_MAX])
{
	if (cp == 0x130) { /* I with a dot: i and a combining dot */
		memcpy(out, "i\xcc\x87", 3);
		return 3;
	}
	return hm_utf8_encode(hm_lower_cp(cp), out);
}

bool hm_is_cased(uint32_t cp)
{
	if (cp < 0x80)
		return (cp >= 'a' && cp <= 'z') || (cp >= 'A' && cp <= 'Z');
	return map(uppers, hm_countof(uppers), cp) != cp || map(lowers, hm_countof(lowers), cp) != cp;
}
