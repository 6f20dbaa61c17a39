/*
 * kit.h - what the adapter tests share: channels from YAML text, messages from JSON text
 *
 * Each including file uses a part of it, hence the inline functions.
 */
#ifndef TESTS_ADAPTER_KIT_H
#define TESTS_ADAPTER_KIT_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "adapter/cred.h"
#include "adapter/model.h"
#include "base/json.h"

#define VECTORS HM_TEST_DIR "/unit/adapter/vectors/"
#define WALL_MS 1700000000000ull

/* Programs of vectors count what they compared with a text of a document, and say it at their end: ./dev test shows lines that begin so. */
static inline void kit_counted(size_t n, const char *what)
{
	printf("counted: %zu %s\n", n, what);
}
#ifdef KIT_VECTORS
static size_t kit_vectors;
#undef assert_string_equal
#define assert_string_equal(a, b) (kit_vectors++, _assert_string_equal((a), (b), __FILE__, __LINE__))
#endif

struct kit {
	struct hm_adapter_set *adapters;
	struct hm_channel_set *channels;
	struct hm_channel *c;
	struct hm_config *cfg;
	struct hm_arena a;
	msgpack_zone zone;
	struct hm_buf bytes;
	char errors[8192]; /* of the last load, one a line */
	/* the last message */
	struct hm_content content;
	struct hm_build_rcpt *rcpts;
	struct hm_build_in in;
	struct hm_call call;
	struct hm_origin_opts origin;
	enum hm_outcome outcome;
	struct hm_err err;
};

static inline void kit_report(void *arg, const struct hm_err *e)
{
	struct kit *k = arg;
	size_t n = strlen(k->errors);

	if (n + 2 < sizeof(k->errors)) {
		n += hm_err_format(e, k->errors + n, sizeof(k->errors) - n - 2);
		k->errors[n] = '\n';
		k->errors[n + 1] = '\0';
	}
}

static inline void kit_init(struct kit *k)
{
	memset(k, 0, sizeof(*k));
	hm_arena_init(&k->a, NULL, 0);
	msgpack_zone_init(&k->zone, 4096);
	hm_buf_init(&k->bytes, 1 << 24);
	if (hm_adapter_set_load(HM_STR(HM_ROOT_DIR "/adapters"), &k->adapters, kit_report, k) != 0) {
		fprintf(stderr, "%s", k->errors);
		fail();
	}
}

/* For tests of one file: the set holds this adapter only. */
static inline struct hm_adapter *kit_adapter_text(struct kit *k, const char *text)
{
	k->errors[0] = '\0';
	return hm_adapter_load("test.yaml", hm_str_c(text), kit_report, k);
}

static inline void kit_use_adapter(struct kit *k, struct hm_adapter *ad)
{
	struct hm_adapter_set *s = calloc(1, sizeof(*s));

	s->refs = 1;
	s->v = calloc(1, sizeof(*s->v));
	s->v[s->n++] = ad;
	hm_adapter_set_unref(k->adapters);
	k->adapters = s;
}

static inline void kit_drop_channel(struct kit *k)
{
	hm_channel_set_unref(k->channels);
	hm_config_unref(k->cfg);
	k->channels = NULL;
	k->cfg = NULL;
	k->c = NULL;
}

/* `map`: lines of the channel, indented by four blanks. NULL return: k->errors says why. */
static inline struct hm_channel *kit_channel(struct kit *k, const char *map)
{
	struct hm_buf b;

	kit_drop_channel(k);
	k->errors[0] = '\0';
	hm_buf_init(&b, 1 << 20);
	hm_buf_lit(&b, "channels:\n  c:\n");
	hm_buf_puts(&b, hm_str_c(map));
	if (hm_config_load_text("hermod.yaml", hm_buf_str(&b), NULL, &k->cfg, kit_report, k) == 0 &&
	    hm_channel_set_load(k->cfg, k->adapters, &k->channels, kit_report, k) == 0)
		k->c = hm_channel_find(k->channels, HM_STR("c"));
	hm_buf_fini(&b);
	return k->c;
}

static inline void kit_need_channel(struct kit *k, const char *map)
{
	if (kit_channel(k, map) == NULL) {
		fprintf(stderr, "%s", k->errors);
		fail();
	}
}

/* A channel on an adapter made up for the purpose; NULL: one without settings on sms/test. */
static inline void kit_use(struct kit *k, const char *adapter, const char *channel)
{
	struct hm_adapter *ad = kit_adapter_text(k, adapter);

	if (ad == NULL) {
		fprintf(stderr, "%s", k->errors);
		fail();
	}
	kit_drop_channel(k);
	kit_use_adapter(k, ad);
	kit_need_channel(k, channel ? channel : "    adapter: sms/test\n");
}

static inline void kit_fini(struct kit *k)
{
	kit_drop_channel(k);
	hm_adapter_set_unref(k->adapters);
	hm_buf_fini(&k->bytes);
	msgpack_zone_destroy(&k->zone);
	hm_arena_fini(&k->a);
}

static inline struct hm_str kit_str(const msgpack_object *o, const char *name)
{
	struct hm_str s = HM_STR("");

	(void)!hm_mp_str(hm_mp_get(o, hm_str_c(name)), &s);
	return s;
}

/* {"to": "a" | ["a","b"], "user", "title", "body", "short", "url", "image", "format", "buttons", "data", "options", "expires": s,
 *  "credential", "nonce"}; ids count up from 018bcfe5-6800-7000-8000-000000000001 (WALL_MS). */
static inline void kit_message(struct kit *k, const char *json)
{
	msgpack_object *o = hm_arena_alloc(&k->a, sizeof(*o));
	const msgpack_object *to;
	struct hm_err e;
	uint64_t s;
	size_t start = k->bytes.len;

	hm_buf_reset(&k->bytes);
	start = 0;
	hm_err_clear(&e);
	if (hm_json_to_msgpack(hm_str_c(json), &k->bytes, &e) != 0)
		fail_msg("%s", e.text);
	/* The bytes must outlive the buffer's next use. */
	struct hm_str copy = hm_arena_str(&k->a, hm_str_n(k->bytes.p + start, k->bytes.len - start));

	if (hm_msgpack_decode(&k->zone, copy, o, &e) != 0)
		fail_msg("%s", e.text);
	memset(&k->content, 0, sizeof(k->content));
	k->content.title = kit_str(o, "title");
	k->content.body = kit_str(o, "body");
	k->content.short_text = kit_str(o, "short");
	k->content.url = kit_str(o, "url");
	k->content.image = kit_str(o, "image");
	if (hm_str_is(kit_str(o, "format"), "markdown"))
		k->content.format = HM_TEXT_MARKDOWN;
	else if (hm_str_is(kit_str(o, "format"), "html"))
		k->content.format = HM_TEXT_HTML;
	k->content.buttons = hm_mp_get(o, HM_STR("buttons"));
	k->content.data = hm_mp_get(o, HM_STR("data"));
	k->content.options = hm_mp_get(o, HM_STR("options"));
	to = hm_mp_get(o, HM_STR("to"));
	k->in = (struct hm_build_in){.channel = k->c, .content = &k->content, .wall_ms = WALL_MS};
	k->in.n_rcpts = to && to->type == MSGPACK_OBJECT_ARRAY ? to->via.array.size : 1;
	k->rcpts = hm_arena_zalloc(&k->a, k->in.n_rcpts * sizeof(*k->rcpts));
	k->in.rcpts = k->rcpts;
	for (size_t i = 0; i < k->in.n_rcpts; i++) {
		const msgpack_object *one = to && to->type == MSGPACK_OBJECT_ARRAY ? &to->via.array.ptr[i]
										   : to;

		(void)!hm_mp_str(one, &k->rcpts[i].addr);
		k->rcpts[i].user = kit_str(o, "user");
		memcpy(k->rcpts[i].id.b, "\x01\x8b\xcf\xe5\x68\x00\x70\x00\x80\x00\x00\x00\x00\x00\x00\x00",
		       16);
		k->rcpts[i].id.b[15] = (uint8_t)(i + 1);
	}
	k->in.credential = kit_str(o, "credential");
	k->in.nonce = kit_str(o, "nonce");
	if (hm_mp_u64(hm_mp_get(o, HM_STR("expires")), &s))
		k->in.expires_ms = s * 1000;
	k->in.lane = HM_LANE_NORMAL;
}

static inline int kit_build(struct kit *k, const char *json)
{
	kit_message(k, json);
	memset(&k->call, 0, sizeof(k->call));
	memset(&k->origin, 0, sizeof(k->origin));
	hm_err_clear(&k->err);
	return hm_channel_build(&k->in, &k->a, &k->call, &k->origin, &k->outcome, &k->err);
}

static inline void kit_need_build(struct kit *k, const char *json)
{
	if (kit_build(k, json) != 0)
		fail_msg("build: %s", k->err.text);
}

static inline const char *kit_c(struct kit *k, struct hm_str s)
{
	return s.p ? hm_arena_strdup(&k->a, s) : "(none)";
}

static inline const char *kit_header_flags(struct kit *k, const char *name, uint8_t *flags)
{
	for (size_t i = 0; i < k->call.n_headers; i++)
		if (hm_str_is(k->call.headers[i].name, name)) {
			if (flags)
				*flags = k->call.headers[i].flags;
			return kit_c(k, k->call.headers[i].value);
		}
	return NULL;
}
static inline const char *kit_header(struct kit *k, const char *name)
{
	return kit_header_flags(k, name, NULL);
}

/* Gives the call an answer and judges it; headers: name, value, ..., NULL or NULL. */
static inline struct hm_verdict kit_answer_n(struct kit *k, int status, const char *const *headers,
					     struct hm_str body)
{
	struct hm_verdict v;
	size_t n = 0;

	k->call.fate = HM_FATE_ANSWERED;
	k->call.status = status;
	k->call.answer = body;
	k->call.answer_headers = hm_arena_zalloc(&k->a, 16 * sizeof(struct hm_header));
	for (; headers && headers[2 * n]; n++) {
		k->call.answer_headers[n].name = hm_str_c(headers[2 * n]);
		k->call.answer_headers[n].value = hm_str_c(headers[2 * n + 1]);
	}
	k->call.n_answer_headers = n;
	hm_channel_classify(k->c, &k->in, &k->call, &k->a, &v);
	return v;
}
/* The same, of a body that is longer than what was read. */
static inline struct hm_verdict kit_answer_cut(struct kit *k, int status, const char *begins)
{
	struct hm_verdict v;

	k->call.answer_cut = true;
	v = kit_answer_n(k, status, NULL, hm_str_c(begins));
	k->call.answer_cut = false;
	return v;
}
static inline struct hm_verdict kit_answer(struct kit *k, int status, const char *body)
{
	return kit_answer_n(k, status, NULL, hm_str_c(body));
}

#define assert_outcome(v, o) assert_string_equal(hm_outcome_name((v).outcome), (o))

static inline struct hm_str kit_file(struct kit *k, const char *path)
{
	FILE *f = fopen(path, "rb");
	char *p = hm_arena_alloc(&k->a, 1 << 16);
	size_t n;

	if (f == NULL)
		fail_msg("cannot open %s", path);
	n = fread(p, 1, (1 << 16) - 1, f);
	fclose(f);
	p[n] = '\0';
	return hm_str_n(p, n);
}

#endif
