/*
 * Expressions on real data: the text up to the first NUL byte is rendered with a fixed set of variables, what
 * follows is the fragment "f". The output is text, whatever the template does, and the same twice.
 */
#include <stdlib.h>

#include "base/json.h"
#include "tmpl/tmpl.h"

static const char json[] =
	"{\"s\":\"Maria "
	"Lopez\",\"e\":\"\",\"cn\":\"新用户🎁专享\",\"n\":42,\"d\":-12.375,\"big\":12345678901234567890.5,"
	"\"f\":1e-7,\"b\":true,\"no\":false,\"nul\":null,\"xs\":[3,1,2.5,null],\"ss\":[\"b\",\"A\",\"a\"],"
	"\"empty\":[],"
	"\"h\":{\"a\":1,\"b\":{\"c\":\"<x>\"},\"z\":null},\"items\":[{\"t\":\"茶\",\"p\":5.5},{\"t\":\"T&T\","
	"\"p\":12}],"
	"\"when\":\"2025-11-11T08:05:09Z\",\"day\":\"2025-03-07\",\"t\":\"18:30\"}";

static msgpack_object root;

static int load(void *arg, struct hm_str name, const struct hm_tmpl **out, struct hm_err *e)
{
	if (!hm_str_is(name, "f"))
		return hm_err_set(e, HM_ENOENT, "none");
	if (!*(struct hm_tmpl **)arg)
		return hm_err_set(e, HM_EPARSE, "does not parse");
	*out = *(struct hm_tmpl **)arg;
	return 0;
}

static void init(void)
{
	static struct hm_buf packed;
	static msgpack_zone zone;
	struct hm_err e;

	if (packed.p)
		return;
	hm_buf_init(&packed, 65536);
	msgpack_zone_init(&zone, 8192);
	if (hm_json_to_msgpack(hm_str_c(json), &packed, &e) ||
	    hm_msgpack_decode(&zone, hm_buf_str(&packed), &root, &e))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hm_str text = hm_str_n((const char *)data, size), fragment = HM_STR("");
	struct hm_tmpl_opts o = {0};
	struct hm_tmpl *t, *frag = NULL;
	struct hm_arena arena;
	struct hm_buf out, again;
	struct hm_err e;
	const msgpack_object *roots[] = {&root};
	struct hm_tmpl_ctx ctx = {.roots = roots,
				  .nroots = 1,
				  .arena = &arena,
				  .now_ms = 1735689600000,
				  .limits = {.steps = 50000, .output = 65536, .memory = 4 << 20},
				  .fragment = load,
				  .fragment_arg = &frag};
	ptrdiff_t nul;
	int rc;

	init();
	if (size < 1)
		return 0;
	o.format = (enum hm_tmpl_format)(data[0] & 3);
	o.single_brace = data[0] & 4;
	ctx.utc_offset_min = data[0] & 8 ? 480 : 0;
	ctx.locale = data[0] & 16 ? HM_STR("zh_CN") : HM_STR("en_US");
	text = hm_str_n(text.p + 1, text.len - 1);
	nul = hm_str_chr(text, 0);
	if (nul >= 0) {
		fragment = hm_str_n(text.p + nul + 1, text.len - (size_t)nul - 1);
		text.len = (size_t)nul;
	}
	if (hm_tmpl_compile(text, &o, &t, &e))
		return 0;
	o.name = HM_STR("f");
	(void)!hm_tmpl_compile(fragment, &o, &frag, &e);
	hm_arena_init(&arena, NULL, 64 << 20);
	hm_buf_init(&out, 1 << 20);
	hm_buf_init(&again, 1 << 20);
	rc = hm_tmpl_render(t, &ctx, &out, &e);
	hm_assert(hm_utf8_valid(hm_buf_str(&out)));
	if (rc)
		hm_assert(e.code == rc && e.text[0] && hm_utf8_valid(hm_str_c(e.text)) && out.len == 0);
	hm_assert(hm_tmpl_render(t, &ctx, &again, &e) == rc);
	hm_assert(hm_str_eq(hm_buf_str(&out), hm_buf_str(&again)));
	hm_tmpl_free(frag);
	hm_tmpl_free(t);
	hm_buf_fini(&again);
	hm_buf_fini(&out);
	hm_arena_fini(&arena);
	return 0;
}
