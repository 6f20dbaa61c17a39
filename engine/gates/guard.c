/*
 * guard.c - invalid recipients found by outcomes go on the list, unless too many are at once
 */
#include <stdlib.h>

#include "base/obj.h"
#include "gates/suppress.h"

#define GUARD_MAGIC 0x69677264u

struct hm_invalid_guard {
	uint32_t magic;
	struct hm_tick *tick;
	struct hm_redis *redis;
	struct hm_str prefix;
};

struct hm_invalid_guard *hm_invalid_guard_new(struct hm_tick *t, struct hm_redis *r, struct hm_str prefix)
{
	struct hm_invalid_guard *g = calloc(1, sizeof(*g));

	if (g) {
		HM_MAGIC_SET(g, GUARD_MAGIC);
		g->tick = t;
		g->redis = r;
		g->prefix = prefix;
	}
	return g;
}

void hm_invalid_guard_free(struct hm_invalid_guard *g)
{
	free(g);
}

void hm_invalid_guard_answer(struct hm_invalid_guard *g, const struct hm_config *cfg, struct hm_str channel,
			     int medium, struct hm_str addr, bool invalid, struct hm_str proof,
			     uint64_t since_ms)
{
	HM_CHECK(g, GUARD_MAGIC);
}

void hm_invalid_guard_describe(const struct hm_invalid_guard *g, struct hm_buf *out)
{
	HM_CHECK(g, GUARD_MAGIC);
	hm_buf_lit(out, "{}");
}
