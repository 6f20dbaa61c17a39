/* JSON in: what is accepted must decode, print as JSON, and give the same msgpack again. */
#include <stdlib.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hm_buf mp, text, again;
	msgpack_object o;
	msgpack_zone zone;
	struct hm_err e;

	hm_buf_init(&mp, 1 << 20);
	hm_buf_init(&text, 8 << 20);
	hm_buf_init(&again, 1 << 20);
	if (!msgpack_zone_init(&zone, 4096))
		abort();
	if (hm_json_to_msgpack(hm_str_n((const char *)data, size), &mp, &e) == 0) {
		hm_assert(hm_msgpack_decode(&zone, hm_buf_str(&mp), &o, &e) == 0);
		hm_msgpack_to_json(&o, &text);
		hm_assert(text.err == 0 && hm_json_to_msgpack(hm_buf_str(&text), &again, &e) == 0);
		hm_assert(hm_str_eq(hm_buf_str(&mp), hm_buf_str(&again)));
	} else {
		hm_assert(mp.len == 0 && e.text[0] && hm_utf8_valid(hm_str_c(e.text)));
	}
	msgpack_zone_destroy(&zone);
	hm_buf_fini(&mp);
	hm_buf_fini(&text);
	hm_buf_fini(&again);
	return 0;
}
