/* Hostile msgpack: refused with a sentence, or printable as JSON that parses, and packable again. */
#include <stdlib.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hm_buf text, again;
	msgpack_object o, same;
	msgpack_zone zone;
	struct hm_err e;

	hm_buf_init(&text, 64 << 20);
	hm_buf_init(&again, 64 << 20);
	if (!msgpack_zone_init(&zone, 4096))
		abort();
	if (hm_msgpack_decode(&zone, hm_str_n((const char *)data, size), &o, &e) == 0) {
		hm_mp_put_object(&again, &o);
		hm_assert(again.err == 0 && hm_msgpack_decode(&zone, hm_buf_str(&again), &same, &e) == 0);
		hm_msgpack_to_json(&o, &text);
		hm_buf_reset(&again);
		hm_assert(text.err == 0 && hm_json_to_msgpack(hm_buf_str(&text), &again, &e) == 0);
	} else {
		hm_assert(e.text[0]);
	}
	msgpack_zone_destroy(&zone);
	hm_buf_fini(&text);
	hm_buf_fini(&again);
	return 0;
}
