/* What stands in Redis about templates: any JSON is read or refused with a sentence; names that pass make no odd paths. */
#include "templates/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hm_str s = hm_str_n((const char *)data, size);
	struct hm_tstore_info t;
	struct hm_tstore_meta m;
	struct hm_arena a;
	struct hm_err e = {0};

	hm_arena_init(&a, NULL, 0);
	if (hm_tstore_read_info(s, &a, &t, &e) == 0)
		hm_assert(t.etag.len && t.id.len && t.current <= t.latest && t.latest <= HM_TSTORE_VERSIONS);
	else
		hm_assert(e.text[0]);
	if (hm_tstore_read_meta(s, &a, &m, &e) == 0)
		hm_assert(m.version <= HM_TSTORE_VERSIONS && m.by.p && m.tok.p);
	hm_err_clear(&e);
	if (hm_tstore_check_name(s, &e) == 0)
		hm_assert(size <= HM_TSTORE_NAME_MAX && hm_utf8_valid(s) &&
			  hm_str_find(s, HM_STR("..")) != 0 && hm_str_find(s, HM_STR("/.")) < 0 &&
			  hm_str_find(s, HM_STR("//")) < 0 && s.p[0] != '/' && hm_str_chr(s, '@') < 0 &&
			  hm_str_chr(s, '\0') < 0);
	hm_arena_fini(&a);
	return 0;
}
