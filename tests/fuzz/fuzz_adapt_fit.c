/* fuzz_adapt_fit.c - any text in any notation, made to fit any limit in any dialect */
#include <stdlib.h>

#include "adapt/breaks.h"
#include "adapt/fit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t length(const struct hm_fit_limit *l, struct hm_str s)
{
	struct hm_meter m;

	hm_meter_init(&m, l->unit);
	hm_meter_add(&m, l->beside);
	hm_meter_add(&m, s);
	return hm_meter_units(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const marks[] = {"", "...", "\xe2\x80\xa6", " [more]"};
	struct hm_fit_limit l = {0};
	const struct hm_dialect *d;
	struct hm_rich r, tail;
	struct hm_arena a;
	struct hm_fit f;
	struct hm_str s, c;
	size_t n = 0;

	if (size < 8 || size > 20000)
		return 0;
	hm_arena_init(&a, NULL, 256u << 20);
	while (hm_dialect_at(n) != NULL)
		n++;
	d = hm_dialect_at(data[0] % n);
	l.max = (size_t)data[1] + 1 + (data[2] & 7 ? 0 : 1000);
	l.unit = (enum hm_unit)(data[3] & 3);
	l.over = (enum hm_over)(data[3] >> 2 & 3);
	l.numbered = data[3] >> 4 & 1;
	l.max_parts = data[4] % (HM_FIT_MAX_PARTS + 1);
	l.mark = hm_str_c(marks[data[5] & 3]);
	if (data[5] & 4)
		l.beside = HM_STR("[x] ");
	if (l.unit == HM_UNIT_SEGMENTS)
		l.max = l.max % 5 + 1;
	s = hm_str_n((const char *)data + 8, size - 8);
	if (hm_rich_parse(s, (enum hm_text_format)(data[6] % 3), &a, &r, NULL) == 0 &&
	    hm_rich_parse(HM_STR("[t](https://x.example/)"), HM_TEXT_MARKDOWN, &a, &tail, NULL) == 0) {
		l.tail = data[5] & 8 ? &tail : NULL;
		if (hm_fit_rich(&r, data[5] & 16 ? &tail : NULL, d, &l, &a, &f, NULL) == 0) {
			if (f.n == 0 || f.n > HM_FIT_MAX_PARTS)
				abort();
			for (uint32_t i = 0; i < f.n; i++)
				if (f.part[i].len && length(&l, f.part[i]) > l.max)
					abort();
		}
	}
	c = hm_cut(s, l.max, l.unit, l.mark, &a);
	if (hm_units(c, l.unit) > l.max)
		abort();
	hm_arena_fini(&a);
	return 0;
}
