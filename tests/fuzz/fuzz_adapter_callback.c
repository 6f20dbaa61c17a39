/* Anything at all as a call of a provider: nothing is believed that is not signed, and nothing reads beyond its end. */
#include <stdio.h>
#include <stdlib.h>

#include "adapter/callback_body.h"
#include "adapter/model.h"
#include "adapter/receipts.h"

static const char adapter[] =
	"adapter: {name: sms/f, title: F}\n"
	"settings:\n  secret: {type: string, secret: true, doc: d}\n"
	"endpoint: {url: \"https://f.example\"}\nrequest: {path: /}\nanswer: {success: status == 200}\n"
	"receipts:\n  push:\n    methods: [GET, POST]\n    format: %s\n"
	"    decrypt: 'query.c ? (query.c | unbase64 | aes_cbc_decrypt(settings.secret | sha256, "
	"settings.secret | md5, 32) | "
	"envelope_open(\"x\")) : body'\n"
	"    challenge:\n      - {when: query.hello, body: \"${query.hello}${clear}\"}\n"
	"    verify: >-\n      [body, url, query.n] | sort | distinct | join(\"\") | "
	"hmac_sha256(settings.secret) | hex | "
	"equals(header.x-sign) ||\n      body | verify(\"ES256\", query.key, header.x-sign | unbase64)\n"
	"  each: event.recipients ?? event.list ?? event\n  id: it.id\n  provider_id: it.sid\n  recipient: "
	"it.final_recipient ?? it.to\n"
	"  code: it.action ?? it.status\n  detail: it.diagnostic_code\n  text: it.text\n"
	"  time: {from: it.at, as: \"text:%%Y-%%m-%%d %%H:%%M:%%S\", zone: \"+08:00\"}\n"
	"  events:\n    - {code: failed, event: bounced}\n    - {code: reply, event: replied}\n    - {code: "
	"\"*\", event: delivered}\n";
static const char *const formats[] = {"json", "form", "xml", "text", "multipart", "dsn"};

static struct hm_channel *channel(size_t f)
{
	static struct hm_channel *v[6];
	struct hm_arena a;
	struct hm_adapter *ad;
	struct hm_channel_set *s;
	struct hm_yaml *map = NULL;
	struct hm_err e = {0};
	char text[4096];

	if (v[f] != NULL)
		return v[f];
	snprintf(text, sizeof(text), adapter, formats[f]);
	ad = hm_adapter_load("f.yaml", hm_str_c(text), NULL, NULL);
	s = hm_channel_set_new(NULL, 1);
	hm_assert(ad != NULL && s != NULL);
	hm_arena_init(&a, NULL, 0); /* kept: the channel's texts are in it */
	hm_assert(hm_yaml_parse(&a, "c", HM_STR("secret: s3cret\n"), &map, &e) == 0);
	v[f] = hm_channel_load(s, HM_STR("c"), ad, map, NULL, NULL);
	hm_assert(v[f] != NULL);
	return v[f];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hm_str rest = hm_str_n((const char *)data, size), type = HM_STR(""), query = HM_STR("");
	struct hm_header h[2] = {{.name = HM_STR_INIT("Content-Type")}, {.name = HM_STR_INIT("X-Sign")}};
	struct hm_cb_call call = {.path = HM_STR_INIT("/v1/callbacks/c"), .wall_ms = 1700000000000};
	struct hm_cb_result r;
	struct hm_arena a;

	if (size < 2)
		return 0;
	rest = hm_str_n(rest.p + 1, rest.len - 1);
	(void)hm_str_split(&rest, '\n', &type);
	(void)hm_str_split(&rest, '\n', &query);
	h[0].value = type;
	h[1].value = query;
	call.method = data[0] & 64 ? HM_STR("GET") : HM_STR("POST");
	call.query = query;
	call.url = query;
	call.headers = h;
	call.n_headers = 2;
	call.body = rest;
	hm_arena_init(&a, NULL, 64u << 20);
	hm_channel_callback(channel(data[0] % 6), &call, &a, &r);
	hm_assert(r.verdict != HM_CB_TAKEN || r.n <= HM_CB_EVENTS_MAX);
	hm_assert(r.verdict != HM_CB_FORGED || (r.n == 0 && r.status == 403));
	/* The same bytes as a mail, a form, XML: straight into the readers. */
	struct hm_val v = data[0] & 128 ? hm_cb_dsn(rest, &a) : hm_cb_xml(rest, &a);

	(void)hm_val_text(&v, &a);
	v = hm_cb_multipart(rest, type, &a);
	(void)hm_val_text(&v, &a);
	hm_arena_fini(&a);
	return 0;
}
