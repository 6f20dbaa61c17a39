/* fuzz_facts_value.c - any answer as a value of every type, with and without a path; what comes out can be copied */
#include <stdlib.h>

#include "facts/facts_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct hm_str parts[] = {HM_STR_INIT("a"), HM_STR_INIT("0"), HM_STR_INIT("b")};
	struct hm_fact_conf c = {0};
	char why[HM_FACT_REASON_MAX];
	msgpack_object o, copy;
	msgpack_zone zone;
	struct hm_arena a;

	if (size < 1 || !msgpack_zone_init(&zone, 1024))
		return 0;
	hm_arena_init(&a, NULL, 1u << 20);
	c.type = data[0] & 3;
	c.path = (struct hm_strs){(data[0] >> 2) & 3, parts};
	if (fact_value_text(&c, hm_str_n((const char *)data + 1, size - 1), 4096, &zone, &a, &o, why) == 0) {
		size_t n = fact_object_size(&o);
		char *mem = malloc(n + 1), *at = mem;
		struct hm_buf b;

		hm_assert(mem != NULL);
		copy = fact_object_copy(&o, &at);
		hm_assert(at == mem + n);
		hm_buf_init(&b, 1u << 20);
		hm_msgpack_to_json(&copy, &b);
		hm_buf_fini(&b);
		free(mem);
	}
	hm_arena_fini(&a);
	msgpack_zone_destroy(&zone);
	return 0;
}
