/* fuzz_adapter_file.c - any bytes as an adapter file: read it, and if it loads, make a channel and a request */
#include <stdlib.h>

#include "adapter/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hm_content content = {
		.title = HM_STR("t"),
		.body = HM_STR(
			"**b** [l](https://x.example/1)\n\n- one, two, three, four, five, six, seven, eight"),
		.short_text = HM_STR("*s*"),
		.url = HM_STR("https://x.example/"),
		.format = (enum hm_text_format)(size % 3)};
	struct hm_build_report report = {0};
	uint32_t parts = 1;
	struct hm_build_rcpt rcpt = {.addr = HM_STR("https://a.example/")};
	struct hm_build_in in = {
		.rcpts = &rcpt, .n_rcpts = 1, .content = &content, .wall_ms = 1700000000000ull};
	struct hm_yaml empty = {.type = HM_YAML_MAP, .file = "channel", .line = 1, .col = 1};
	struct hm_adapter *ad;
	struct hm_channel_set *set;
	struct hm_origin_opts origin;
	struct hm_call call = {0};
	enum hm_outcome o;
	struct hm_arena a;

	if (size > 64 << 10)
		return 0;
	ad = hm_adapter_load("fuzz.yaml", hm_str_n((const char *)data, size), NULL, NULL);
	if (ad == NULL)
		return 0;
	hm_arena_init(&a, NULL, 64u << 20);
	set = hm_channel_set_new(NULL, 1);
	in.channel = set ? hm_channel_load(set, HM_STR("c"), ad, &empty, NULL, NULL) : NULL;
	if (in.channel != NULL) {
		struct hm_verdict v;

		set->v[set->n++] = (struct hm_channel *)(uintptr_t)in.channel;
		if (size & 4) {
			in.parts_r = &parts;
			in.report = &report;
		}
		if (hm_channel_build(&in, &a, &call, &origin, &o, NULL) == 0) {
			call.fate = HM_FATE_ANSWERED;
			call.status = 400;
			call.answer = HM_STR("{\"code\":7,\"list\":[{\"a\":1}]}");
			hm_channel_classify(in.channel, &in, &call, &a, &v);
		}
	}
	hm_channel_set_unref(set);
	hm_arena_fini(&a);
	hm_adapter_unref(ad);
	return 0;
}
