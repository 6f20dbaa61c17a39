/* Any text as a URL: parsed, or refused with a sentence; what is parsed is sane. */
#include <stddef.h>
#include <stdint.h>

#include "redis/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hm_redis_url u;
	struct hm_err e = {0};

	if (hm_redis_url_parse(hm_str_n((const char *)data, size), &u, &e) < 0) {
		hm_assert(e.code == HM_ECONFIG && e.text[0]);
		return 0;
	}
	hm_assert((u.unix_path[0] == '/') != (u.nseeds > 0));
	for (size_t i = 0; i < u.nseeds; i++)
		hm_assert(u.seeds[i].port > 0 && u.seeds[i].host[0] &&
			  strlen(u.seeds[i].host) < sizeof(u.seeds[i].host));
	return 0;
}
