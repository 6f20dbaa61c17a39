/* fuzz_wire_url.c - any bytes as the URL of a provider; what is taken must be safe to use */
#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hm_origin_opts o = {0};
	struct hm_str path = HM_STR_NULL;
	struct hm_err e = {0};

	if (hm_wire_parse_url(hm_str_n((const char *)data, size), &o, &path, &e) < 0) {
		hm_assert(e.code == HM_EINVAL && e.text[0]);
		return 0;
	}
	hm_assert(o.host.len > 0 && o.host.len <= 253 && o.port > 0);
	hm_assert(path.len > 0 && path.p[0] == '/');
	for (size_t i = 0; i < path.len; i++)
		hm_assert((uint8_t)path.p[i] > 0x20 && (uint8_t)path.p[i] < 0x7f && path.p[i] != '#');
	for (size_t i = 0; i < o.host.len; i++)
		hm_assert(strchr("/?#@\\ \r\n[]", o.host.p[i]) == NULL);
	return 0;
}
