/* fuzz_adapter_answer.c - any bytes as an answer: the first choose adapter form and status, the rest is the body */
#include <stdlib.h>

#include "adapter/jsonscan.h"
#include "adapter/model.h"
#include "adapter/xmlscan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEAD                                                                                                \
	"adapter: {name: sms/f, title: F}\nendpoint: {url: https://x.example}\nrequest: {path: /}\nbatch: " \
	"{max: 3}\n"
static const char *const files[] = {
	HEAD
	"answer: {success: 'status == 200 && answer.errcode == 0', code: "
	"'answer.error.details[@type~Fcm].code ?? answer.errcode', "
	"message: answer.errmsg, provider_id: answer.id, gone_since: {from: answer.timestamp, as: epoch_ms}, "
	"new_address: answer.to}\n"
	"outcomes: [{code: 1..9, outcome: retry}, {code: Bad*, outcome: invalid_recipient}, {message: slow, "
	"outcome: rate_limited}]\n"
	"partial:\n  - {from: answer.bad, shape: joined, by: '|', ignore_case: true, outcome: "
	"invalid_recipient}\n"
	"  - {from: answer.items, shape: order, code: it.code}\n  - {from: answer.objs, shape: objects, id: "
	"it.id, code: it.code}\n"
	"  - {from: answer.msg.$json.list, shape: list, outcome: invalid_recipient}\n"
	"  - {from: answer.map, shape: by_code}\n  - {from: answer.ids, shape: by_id}\n"
	"retry_after: [{from: answer.retry, as: seconds}, {from: answer.at, as: epoch}, {default: 5s}]\n",
	HEAD "answer: {format: xml, success: status == 200 && answer.R.Id, code: answer.E.Code, message: "
	     "answer.E.Message}\n"
	     "outcomes: [{code: Bad*, outcome: invalid_recipient}]\n",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct hm_channel_set *sets[2];
	static struct hm_content content;
	struct hm_build_rcpt rcpts[3] = {{.addr = HM_STR("a")}, {.addr = HM_STR("b")}, {.addr = HM_STR("C")}};
	struct hm_build_in in = {
		.rcpts = rcpts, .n_rcpts = 3, .content = &content, .wall_ms = 1700000000000ull};
	struct hm_yaml empty = {.type = HM_YAML_MAP, .file = "channel", .line = 1, .col = 1};
	struct hm_call call = {.fate = HM_FATE_ANSWERED};
	struct hm_verdict v;
	struct hm_arena a;
	char *body;

	for (int i = 0; i < 2; i++)
		if (sets[i] == NULL) {
			sets[i] = hm_channel_set_new(NULL, 1);
			sets[i]->v[0] = hm_channel_load(sets[i], HM_STR("c"),
							hm_adapter_load("f", hm_str_c(files[i]), NULL, NULL),
							&empty, NULL, NULL);
			hm_assert(sets[i]->v[0] != NULL);
		}
	if (size < 2)
		return 0;
	hm_arena_init(&a, NULL, 64u << 20);
	in.channel = sets[data[0] & 1]->v[0];
	call.status = 200 + (data[1] & 7) * 50;
	body = malloc(size - 2 + 1); /* its end is where the sanitizer looks */
	memcpy(body, data + 2, size - 2);
	call.answer = hm_str_n(body, size - 2);
	hm_channel_classify(in.channel, &in, &call, &a, &v);
	hm_assert(v.n_partial <= 3 && hm_utf8_valid(v.detail) && hm_utf8_valid(v.reason));
	/* ok asks for a whole document. */
	if (v.outcome == HM_OUT_OK)
		hm_assert((data[0] & 1) ? hm_xml_check(call.answer) : hm_json_check(call.answer));
	free(body);
	hm_arena_fini(&a);
	return 0;
}
