/* Any text: compiles or is refused with a sentence; what compiles can be listed, and renders without data. */
#include <stdlib.h>

#include "base/buf.h"
#include "tmpl/tmpl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hm_tmpl_opts o = {0};
	struct hm_tmpl *t;
	struct hm_arena arena;
	struct hm_buf out;
	struct hm_err e;
	struct hm_tmpl_ctx ctx = {.arena = &arena,
				  .limits = {.steps = 20000, .output = 65536, .memory = 4 << 20}};
	const struct hm_tmpl_field *fields;
	int rc;

	if (size < 1)
		return 0;
	o.format = (enum hm_tmpl_format)(data[0] & 3);
	o.single_brace = data[0] & 4;
	if (hm_tmpl_compile(hm_str_n((const char *)data + 1, size - 1), &o, &t, &e)) {
		hm_assert(t == NULL && e.code < 0 && e.text[0] && hm_utf8_valid(hm_str_c(e.text)));
		hm_assert(e.code == HM_EPARSE || e.code == HM_ELIMIT);
		return 0;
	}
	hm_arena_init(&arena, NULL, 64 << 20);
	hm_buf_init(&out, 64 << 20);
	hm_tmpl_dump(t, &out);
	hm_assert(hm_tmpl_fields(t, &fields) <= 4096);
	hm_buf_reset(&out);
	hm_buf_lit(&out, "kept");
	rc = hm_tmpl_render(t, &ctx, &out, &e);
	if (rc) {
		hm_assert(hm_str_eq(hm_buf_str(&out), HM_STR("kept")));
		hm_assert(e.code == rc && e.text[0] && e.line > 0 && hm_utf8_valid(hm_str_c(e.text)));
	} else {
		hm_assert(out.len >= 4 && out.len <= 65540 && hm_utf8_valid(hm_buf_str(&out)));
	}
	hm_tmpl_free(t);
	hm_buf_fini(&out);
	hm_arena_fini(&arena);
	return 0;
}
