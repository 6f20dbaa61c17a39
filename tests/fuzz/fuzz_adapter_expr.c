/* fuzz_adapter_expr.c - any bytes as an expression: parse, fold, evaluate */
#include "adapter/expr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct hm_str names[] = {HM_STR_INIT("key"), HM_STR_INIT("list")};
	static const bool secret[2];
	struct hm_val values[2] = {hm_val_str(HM_STR("k")), HM_NONE}, opt[64] = {0};
	struct hm_names n = {.settings = names, .setting_secret = secret, .n_settings = 2};
	struct hm_content content = {.title = HM_STR("title"), .body = HM_STR("b\xc3\xa4")};
	struct hm_build_rcpt rcpts[2] = {{.addr = HM_STR("x")}, {.addr = HM_STR("y")}};
	struct hm_build_in in = {.content = &content, .rcpts = rcpts, .n_rcpts = 2};
	struct hm_call call = {.status = 200, .answer = HM_STR("{\"a\":[1,{\"b\":\"c\"}],\"n\":2}")};
	struct hm_arena a;
	struct hm_parse p = {.names = &n, .allowed = HM_AT_M | HM_AT_A | HM_AT_R, .a = &a};
	struct hm_eval ev = {
		.in = &in, .settings = values, .wall_ms = 1700000000000ull, .opt = opt, .n_opt = 64};
	struct hm_eval fold = {.settings = values};
	struct hm_expr *e, *f;
	struct hm_val v;

	if (size > 2000)
		return 0;
	hm_arena_init(&a, NULL, 64u << 20);
	ev.a = fold.a = &a;
	ev.title = content.title;
	ev.body = content.body;
	ev.n_ready = HM_VAR_TEXT + 1;
	ev.call = &call;
	ev.answer = call.answer;
	ev.answer_ok = true;
	if (hm_expr_parse_text(&p, hm_str_n((const char *)data, size), &e, NULL) == 0) {
		v = hm_eval(&ev, e);
		(void)hm_val_text(&v, &a);
		f = hm_expr_fold(&fold, &a, e);
		if (f != NULL)
			v = hm_eval(&ev, f);
	}
	hm_arena_fini(&a);
	return 0;
}
