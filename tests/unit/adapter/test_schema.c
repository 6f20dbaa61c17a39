/*
 * test_schema.c - adapters/schema.json and the loader know the same words
 *
 * The loader tells which section it reads with which keys while it reads every file of the tree and one made up for the
 * sections that none has; the schema has an object of that title with those properties.
 */
#include "kit.h"

static struct kit k;
static const msgpack_object *schema;

struct seen {
	const char *what;
	const char *const *keys;
};
static struct seen seen[128];
static size_t n_seen;
static char odd[4096];

static void complain(const char *fmt, const char *what, struct hm_str key)
{
	size_t n = strlen(odd);

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(odd + n, sizeof(odd) - n, fmt, what, HM_STRF(key));
#pragma GCC diagnostic pop
}

/* The object with this title, anywhere below. */
static const msgpack_object *titled(const msgpack_object *o, const char *title)
{
	const msgpack_object *r;
	struct hm_str s;

	if (o == NULL || (o->type != MSGPACK_OBJECT_MAP && o->type != MSGPACK_OBJECT_ARRAY))
		return NULL;
	if (o->type == MSGPACK_OBJECT_MAP && hm_mp_str(hm_mp_get(o, HM_STR("title")), &s) &&
	    hm_str_is(s, title))
		return hm_mp_get(o, HM_STR("properties"));
	for (uint32_t i = 0; i < o->via.array.size; i++) {
		r = titled(o->type == MSGPACK_OBJECT_MAP ? &o->via.map.ptr[i].val : &o->via.array.ptr[i],
			   title);
		if (r != NULL)
			return r;
	}
	return NULL;
}

static void on_section(void *arg, const char *what, const char *const *keys)
{
	if (strstr(what, "request") != NULL && strncmp(what, "request.", 8) != 0)
		what = "request"; /* of a token, of a pull: the same section */
	for (size_t i = 0; i < n_seen; i++)
		if (strcmp(seen[i].what, what) == 0 && seen[i].keys == keys)
			return;
	assert_true(n_seen < hm_countof(seen));
	seen[n_seen++] = (struct seen){what, keys};
}

static void compare(const struct seen *s)
{
	const msgpack_object *props = titled(schema, s->what);

	if (props == NULL) {
		complain("the schema has no section %s%.*s\n", s->what, HM_STR(""));
		return;
	}
	for (size_t i = 0; s->keys[i]; i++)
		if (hm_mp_get(props, hm_str_c(s->keys[i])) == NULL)
			complain("%s: the schema does not know \"%.*s\"\n", s->what, hm_str_c(s->keys[i]));
	for (uint32_t i = 0; i < props->via.map.size; i++) {
		struct hm_str name;
		bool known = false;

		assert_true(hm_mp_str(&props->via.map.ptr[i].key, &name));
		for (size_t j = 0; s->keys[j]; j++)
			known = known || hm_str_is(name, s->keys[j]);
		if (!known)
			complain("%s: the loader does not know \"%.*s\"\n", s->what, name);
	}
}

/* Objects of the schema with fixed properties that the loader has never read. */
static void unread(const msgpack_object *o)
{
	struct hm_str title;
	bool known = false;

	if (o->type != MSGPACK_OBJECT_MAP && o->type != MSGPACK_OBJECT_ARRAY)
		return;
	if (o->type == MSGPACK_OBJECT_MAP && hm_mp_get(o, HM_STR("additionalProperties")) &&
	    hm_mp_str(hm_mp_get(o, HM_STR("title")), &title)) {
		for (size_t i = 0; i < n_seen; i++)
			known = known || hm_str_is(title, seen[i].what);
		if (!known)
			complain("%s section \"%.*s\"\n", "nothing reads the", title);
	}
	for (uint32_t i = 0; i < o->via.array.size; i++)
		unread(o->type == MSGPACK_OBJECT_MAP ? &o->via.map.ptr[i].val : &o->via.array.ptr[i]);
}

static const char made_up[] =
	"adapter: {name: sms/all, title: T}\nsettings: {key: {doc: d, secret: true}, pem: {type: key, doc: "
	"d}}\n"
	"endpoint: {url: https://x.example}\naddress: {what: a}\n"
	"credential:\n  key: k\n  jwt: {alg: RS256, key: settings.pem, header: {a: b}, claims: {a: b}}\n"
	"  exchange:\n    request: {path: /, sign: {headers: {a: b}}}\n    answer: {success: status == 200}\n"
	"    token: answer.t\n    expires: {from: answer.e}\n"
	"request: {path: /, mime: {from: a, dkim: {domain: a, selector: b, key: c}}}\n"
	"prepare: {key: k, request: {path: /p}, answer: {success: status == 200}, value: answer.id}\n"
	"batch: {max: 1}\nlimits: {payload_bytes: 1, fields: [{field: body, max: 1, unit: bytes}]}\ntext: "
	"{links: yes}\n"
	"answer: {success: status == 200, gone_since: {from: answer.t}}\noutcomes: [{status: 400, outcome: "
	"retry}]\n"
	"partial: [{from: answer.x, shape: order, code: it}]\nretry_after: [{default: 1s}]\nrates: [{max: "
	"1}]\n"
	"checks: [{when: '!to', say: no}]\n"
	"receipts:\n  push:\n    challenge: [{when: 'true', body: x}]\n    acknowledge: {status: 200}\n"
	"    verify: 'true'\n    certificate: {when: 'true', url: event.u, hosts: [x.example]}\n"
	"    confirm: {when: 'true', url: event.u, hosts: [x.example]}\n"
	"  pull: {request: {path: /}, answer: {success: status == 200}}\n"
	"  provider_id: it.id\n  time: {from: it.t}\n  code: it.c\n  events: [{code: a, event: delivered}]\n";

static void the_same_words(void **state)
{
	struct hm_adapter *ad;

	hm_load_watch(on_section, NULL);
	kit_init(&k);
	ad = kit_adapter_text(&k, made_up);
	if (ad == NULL)
		fail_msg("%s", k.errors);
	hm_adapter_unref(ad);
	hm_load_watch(NULL, NULL);
	{
		FILE *f = fopen(HM_ROOT_DIR "/adapters/schema.json", "rb");
		msgpack_object *o = hm_arena_alloc(&k.a, sizeof(*o));
		char *text = hm_arena_alloc(&k.a, 1 << 20);
		struct hm_err e;
		size_t n;

		assert_non_null(f);
		n = fread(text, 1, 1 << 20, f);
		fclose(f);
		assert_int_equal(hm_json_to_msgpack(hm_str_n(text, n), &k.bytes, &e), 0);
		assert_int_equal(hm_msgpack_decode(&k.zone, hm_buf_str(&k.bytes), o, &e), 0);
		schema = o;
	}
	for (size_t i = 0; i < n_seen; i++)
		compare(&seen[i]);
	unread(schema);
	if (odd[0])
		fail_msg("%s", odd);
	for (size_t i = 0; i < n_seen; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(seen[i].what, seen[j].what) == 0)
				fail_msg("two sections are called %s", seen[i].what);
	kit_fini(&k);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {cmocka_unit_test(the_same_words)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
