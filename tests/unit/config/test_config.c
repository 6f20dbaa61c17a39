/* Loading: sources, references, every kind of mistake with its place, compare and print. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "config/config.h"

static struct hm_config *load(const char *text, const char *const *sets)
{
	struct hm_config *cfg = NULL;
	struct hm_err_list errs = {0};
	int rc = hm_config_load_text("t.yaml", hm_str_c(text), sets, &cfg, hm_err_list_add, &errs);

	for (size_t i = 0; i < errs.n; i++)
		print_message("%s:%d:%d %s\n", errs.v[i].file, errs.v[i].line, errs.v[i].col, errs.v[i].text);
	assert_int_equal(rc, 0);
	assert_int_equal(errs.n, 0);
	hm_err_list_fini(&errs);
	return cfg;
}

static void refuse(const char *text, const char *const *sets, struct hm_err_list *errs)
{
	struct hm_config *cfg = NULL;

	*errs = (struct hm_err_list){0};
	assert_int_equal(hm_config_load_text("t.yaml", hm_str_c(text), sets, &cfg, hm_err_list_add, errs),
			 HM_ECONFIG);
	assert_null(cfg);
	assert_true(errs->n > 0);
}

static void expect(const struct hm_err *e, int line, int col, const char *part)
{
	if (strstr(e->text, part) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", e->text, part);
	assert_int_equal(e->line, line);
	assert_int_equal(e->col, col);
	if (line)
		assert_string_equal(e->file, "t.yaml");
}

/* One mistake, one sentence. */
static void refuse_one(const char *text, int line, int col, const char *part)
{
	struct hm_err_list errs;

	refuse(text, NULL, &errs);
	for (size_t i = 1; i < errs.n; i++)
		print_message("also: %s\n", errs.v[i].text);
	assert_int_equal(errs.n, 1);
	expect(&errs.v[0], line, col, part);
	hm_err_list_fini(&errs);
}

static void test_defaults(void **state)
{
	struct hm_config *cfg = NULL;
	const struct hm_settings *s;

	assert_int_equal(hm_config_load(NULL, NULL, &cfg, NULL, NULL), 0);
	s = &cfg->settings;
	assert_int_equal(s->http.max_body, 8u << 20);
	assert_int_equal(s->dispatch.retry_base_ms, 500);
	assert_int_equal(s->node.shards, 0);
	assert_true(s->redis.tls_verify);
	assert_string_equal(s->redis.url.p, "embedded");
	assert_int_equal(s->http.listen.n, 1);
	assert_string_equal(s->http.listen.v[0].p, "127.0.0.1:7700");
	assert_int_equal(s->ledger.sync.index, HM_SYNC_INTERVAL);
	assert_int_equal(s->http.auth.index, HM_AUTH_REQUIRED);
	assert_int_equal(s->metrics.auth.index, HM_AUTH_OFF);
	assert_int_equal(s->wire.tls_min.index, HM_TLS_MIN_1_2);
	assert_string_equal(s->ledger.dir.p, "./data/ledger");
	assert_true(hm_str_ends(s->adapters.dir, HM_STR("/adapters")));
	assert_true(s->node.name.len > 7); /* derived */
	hm_config_unref(cfg);
}

static void test_name_follows_the_folder(void **state)
{
	struct hm_config *a = load("node: {data_dir: /tmp/a}", NULL),
			 *b = load("node: {data_dir: /tmp/b}", NULL);
	struct hm_config *again = load("node: {data_dir: /tmp/a}", NULL);

	assert_string_equal(a->settings.node.name.p, again->settings.node.name.p);
	assert_string_not_equal(a->settings.node.name.p, b->settings.node.name.p);
	hm_config_unref(a);
	hm_config_unref(b);
	hm_config_unref(again);
}

static void test_file_values(void **state)
{
	struct hm_config *cfg = load("http:\n"
				     "  listen: [127.0.0.1:1, '[::1]:2']\n"
				     "  max_body: 64KiB\n"
				     "  idle_timeout: 2m\n"
				     "node: {shards: 3, pin_cpus: yes, name: \"a b\"}\n"
				     "log: {format: json, file: }\n"
				     "queue:\n",
				     NULL);
	const struct hm_settings *s = &cfg->settings;

	assert_int_equal(s->http.listen.n, 2);
	assert_string_equal(s->http.listen.v[1].p, "[::1]:2");
	assert_int_equal(s->http.max_body, 65536);
	assert_int_equal(s->http.idle_timeout_ms, 120000);
	assert_int_equal(s->node.shards, 3);
	assert_true(s->node.pin_cpus);
	assert_string_equal(s->node.name.p, "a b");
	assert_int_equal(s->log.format.index, HM_LOG_JSON);
	assert_string_equal(s->log.file.p, "");
	hm_config_unref(cfg);
	cfg = load("http: {listen: []}", NULL);
	assert_int_equal(cfg->settings.http.listen.n, 0);
	hm_config_unref(cfg);
	cfg = load("http: {listen: '127.0.0.1:1, 127.0.0.1:2'}", NULL);
	assert_int_equal(cfg->settings.http.listen.n, 2);
	hm_config_unref(cfg);
}

static void test_environment_and_command_line_win(void **state)
{
	static const char *const sets[] = {"http.max_batch=7", "http.listen=127.0.0.1:0,127.0.0.2:0", NULL};
	struct hm_config *cfg;

	setenv("HERMOD_HTTP_MAX_BATCH", "5", 1);
	setenv("HERMOD_DISPATCH_MAX_ATTEMPTS", "9", 1);
	cfg = load("http: {max_batch: 3}\ndispatch: {max_attempts: 2}", sets);
	unsetenv("HERMOD_HTTP_MAX_BATCH");
	unsetenv("HERMOD_DISPATCH_MAX_ATTEMPTS");
	assert_int_equal(cfg->settings.http.max_batch, 7);
	assert_int_equal(cfg->settings.http.listen.n, 2);
	assert_int_equal(cfg->settings.dispatch.max_attempts, 9);
	hm_config_unref(cfg);
}

static void test_wrong_environment_and_command_line(void **state)
{
	static const char *const sets[] = {"http.max_batch=none", "http.nope=1", "http.max_batch", "bare=1",
					   NULL};
	struct hm_err_list errs;

	setenv("HERMOD_HTTP_MAX_BODY", "huge", 1);
	setenv("HERMOD_REDIS_ULR", "x", 1);
	refuse("", sets, &errs);
	unsetenv("HERMOD_HTTP_MAX_BODY");
	unsetenv("HERMOD_REDIS_ULR");
	assert_int_equal(errs.n, 6);
	expect(&errs.v[0], 0, 0,
	       "environment HERMOD_HTTP_MAX_BODY: http.max_body: expected a size from 1KiB to 1GiB");
	expect(&errs.v[1], 0, 0, "environment HERMOD_REDIS_ULR: there is no such option");
	expect(&errs.v[2], 0, 0, "--set http.max_batch: expected a whole number from 1 to 1000000");
	expect(&errs.v[3], 0, 0, "--set http.nope: there is no such option");
	expect(&errs.v[4], 0, 0, "--set http.max_batch: expected section.key=value");
	expect(&errs.v[5], 0, 0, "--set bare: there is no such option");
	hm_err_list_fini(&errs);
}

static void test_all_mistakes_at_once(void **state)
{
	struct hm_err_list errs;

	refuse("http:\n"
	       "  lisetn: x\n"
	       "  max_body: 1 TB\n"
	       "  auth: no\n"
	       "queue: [1]\n"
	       "htpt: {}\n"
	       "node:\n"
	       "  shards: 0\n"
	       "  pin_cpus: maybe\n"
	       "  drain_timeout: 30\n"
	       "  data_dir: {a: b}\n",
	       NULL, &errs);
	assert_int_equal(errs.n, 9);
	expect(&errs.v[0], 2, 3, "unknown option in section http: \"lisetn\"; did you mean \"listen\"?");
	expect(&errs.v[1], 3, 13, "http.max_body: expected a size from 1KiB to 1GiB");
	expect(&errs.v[1], 3, 13, "found \"1 TB\"");
	expect(&errs.v[2], 4, 9, "http.auth: expected one of required, off, found \"no\"");
	expect(&errs.v[3], 5, 8, "section queue: expected a map of options, found a list");
	expect(&errs.v[4], 6, 1, "unknown section \"htpt\"; did you mean \"http\"?");
	expect(&errs.v[5], 8, 11, "node.shards: expected auto or a whole number from 1 to 256, found \"0\"");
	expect(&errs.v[6], 9, 13, "node.pin_cpus: expected true or false, found \"maybe\"");
	expect(&errs.v[7], 10, 18, "node.drain_timeout: expected a duration from 0 to 1h");
	expect(&errs.v[8], 11, 13, "node.data_dir: expected text of 1 to 512 bytes, found \"a map\"");
	hm_err_list_fini(&errs);
}

static void test_yaml_mistakes(void **state)
{
	refuse_one("http:\n  max_body: [1\nlog: {}\n", 3, 4, "did not find expected");
	refuse_one("http: {}\nhttp: {}\n", 2, 1, "stands here twice; it is first on line 1");
	refuse_one("http: &a {}\n", 1, 7, "anchors");
	refuse_one("- a\n", 1, 1, "expected sections");
}

static void test_contradictions(void **state)
{
	refuse_one("http:\n  tls_cert: /c.pem\n", 2, 3, "tls_cert and tls_key go together");
	refuse_one("queue:\n  claim_after: 5s\n", 2, 3, "three times queue.heartbeat");
	refuse_one("dispatch:\n  retry_base: 2m\n", 2, 3, "must not be longer than dispatch.retry_max");
	refuse_one("redis:\n  url: localhost:6379\n", 2, 3, "expected embedded, or a URL");
	refuse_one("http:\n  listen: [7700]\n", 2, 3, "\"7700\" is not host:port");
	refuse_one("http:\n  listen: ['::1:80']\n", 2, 3, "is not host:port");
	refuse_one("http:\n  auth: off\n  listen: ['0.0.0.0:80']\n", 2, 3, "leaves loopback (0.0.0.0:80)");
	refuse_one("log:\n  level: loud\n", 2, 3, "\"loud\" is not a log level");
	refuse_one("log:\n  level: info,reddis=debug\n", 2, 3, "did you mean \"redis\"?");
	refuse_one("queue:\n  prefix: \"a{b\"\n", 2, 3, "letters, digits");
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void test_references(void **state)
{
	char path[] = "/tmp/hm_config_XXXXXX", text[512];
	struct hm_config *cfg;
	struct hm_str secret;
	struct hm_err e;
	struct hm_buf out;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	write_file(path, "s3cret\n\n");
	setenv("HM_TEST_PW", "pa:ss", 1);
	snprintf(text, sizeof(text),
		 "redis:\n  password: ${file:%s}\n  url: redis://u:${env:HM_TEST_PW}@h:1\n"
		 "node: {name: '$${env:HM_TEST_PW}'}\n"
		 "channels:\n  a: {adapter: push/x, key: '${env:HM_TEST_PW}', body: '${name}'}\n",
		 path);
	cfg = load(text, NULL);
	assert_string_equal(cfg->settings.redis.password.p, "s3cret\n"); /* one newline is cut, not all */
	assert_string_equal(cfg->settings.redis.url.p, "redis://u:pa:ss@h:1");
	assert_string_equal(cfg->settings.node.name.p, "${env:HM_TEST_PW}");
	assert_int_equal(hm_yaml_str(hm_yaml_get(cfg->channels[0].node, "key"), &secret, &e), 0);
	assert_string_equal(secret.p, "pa:ss");
	assert_true(hm_yaml_get(cfg->channels[0].node, "key")->secret);
	assert_int_equal(hm_yaml_str(hm_yaml_get(cfg->channels[0].node, "body"), &secret, &e), 0);
	assert_string_equal(secret.p, "${name}");
	assert_false(hm_yaml_get(cfg->channels[0].node, "body")->secret);

	hm_buf_init(&out, 1 << 20);
	hm_config_print(cfg, true, &out);
	assert_null(strstr(hm_buf_cstr(&out), "s3cret"));
	assert_null(strstr(hm_buf_cstr(&out), "pa:ss"));
	assert_non_null(strstr(hm_buf_cstr(&out), "password: \"***\""));
	hm_buf_fini(&out);
	hm_config_unref(cfg);
	unlink(path);
	unsetenv("HM_TEST_PW");
}

static void test_bad_references(void **state)
{
	refuse_one("redis:\n  password: ${env:HM_NOT_SET}\n", 2, 13, "the environment has no HM_NOT_SET");
	refuse_one("redis:\n  password: ${file:/does/not/exist}\n", 2, 13, "No such file");
	refuse_one("redis:\n  password: ${file:/}\n", 2, 13, "cannot be read");
	refuse_one("redis:\n  password: '${env:X'\n", 2, 13, "a reference is written");
	setenv("HM_TEST_PW", "topsecret", 1);
	refuse_one("http:\n  max_batch: ${env:HM_TEST_PW}\n", 2, 14, "expected a whole number");
	struct hm_err_list errs;

	refuse("http:\n  max_batch: ${env:HM_TEST_PW}\n  listen: ['${env:HM_TEST_PW}']\n", NULL, &errs);
	for (size_t i = 0; i < errs.n; i++)
		assert_null(strstr(errs.v[i].text, "topsecret"));
	hm_err_list_fini(&errs);
	unsetenv("HM_TEST_PW");
}

static void test_channels_and_routes(void **state)
{
	struct hm_config *cfg = load("routes:\n"
				     "  short: [a, b]\n"
				     "  long:\n"
				     "    deadline: 10m\n"
				     "    steps:\n"
				     "      - channel: a\n"
				     "        on: [invalid_recipient, provider_down]\n"
				     "      - b\n"
				     "channels:\n"
				     "  a: {adapter: push/apns, topic: x}\n"
				     "  b:\n"
				     "    adapter: sms/aliyun\n",
				     NULL);
	const struct hm_route *r = hm_config_route(cfg, HM_STR("long"));
	const struct hm_channel_conf *c = hm_config_channel(cfg, HM_STR("b"));

	assert_int_equal(cfg->n_channels, 2);
	assert_int_equal(cfg->n_routes, 2);
	assert_true(hm_str_is(c->adapter, "sms/aliyun"));
	assert_int_equal(c->line, 11);
	assert_string_equal(c->file, "t.yaml");
	assert_int_equal(r->deadline_ms, 600000);
	assert_int_equal(r->n, 2);
	assert_true(hm_str_is(r->steps[0].channel, "a"));
	assert_int_equal(r->steps[0].on_mask, 1u << HM_OUT_INVALID_RECIPIENT | 1u << HM_OUT_PROVIDER_DOWN);
	assert_int_equal(r->steps[1].on_mask, 0);
	assert_null(hm_config_route(cfg, HM_STR("none")));
	assert_null(hm_config_channel(cfg, HM_STR("none")));
	hm_config_unref(cfg);
}

static void test_wrong_channels_and_routes(void **state)
{
	refuse_one("channels:\n  a: {topic: x}\n", 2, 6, "channel a: names no adapter");
	refuse_one("channels:\n  a: {adapter: apns}\n", 2, 16, "written medium/name");
	refuse_one("channels:\n  a: {adapter: phone/apns}\n", 2, 16, "with a medium of push, sms");
	refuse_one("channels:\n  'a b': {adapter: push/apns}\n", 2, 3,
		   "\"a b\" is not a good name for a channel");
	refuse_one("channels: [a]\n", 1, 11, "channels: expected a map");
	refuse_one("channels: {apns: {adapter: push/apns}}\nroutes:\n  r: [apsn]\n", 3, 7,
		   "there is no channel \"apsn\"; did you mean \"apns\"?");
	refuse_one("channels: {a: {adapter: push/apns}}\nroutes:\n  r: []\n", 3, 6,
		   "expected a list of channels");
	refuse_one("channels: {a: {adapter: push/apns}}\nroutes:\n  r: [{channel: a, on: [timeout]}]\n", 3,
		   25, "\"timeout\" is not an outcome");
	refuse_one("channels: {a: {adapter: push/apns}}\nroutes:\n  r: [{channel: a, when: x}]\n", 3, 20,
		   "unknown option \"when\"");
	refuse_one("channels: {a: {adapter: push/apns}}\nroutes:\n  r: [{channel: a, on: [ok]}]\n", 3, 25,
		   "ok ends a route");
}

struct changes {
	char text[1024];
};

static void note_change(void *arg, const char *what, bool in_effect)
{
	struct changes *c = arg;
	size_t n = strlen(c->text);

	snprintf(c->text + n, sizeof(c->text) - n, "%s%s ", what, in_effect ? "" : "!");
}

static void test_diff(void **state)
{
	struct hm_config *a = load(
		"http: {max_batch: 3}\nchannels: {x: {adapter: push/a, k: 1}, gone: {adapter: push/a}}\n"
		"routes: {r: [x]}",
		NULL);
	struct hm_config *b = load(
		"http: {max_batch: 4, listen: ['127.0.0.1:9']}\n"
		"channels: {x: {adapter: push/a, k: 2}, y: {adapter: push/a}}\nroutes: {r: [x, y]}",
		NULL);
	struct changes c = {""};

	assert_int_equal(hm_config_diff(a, b, note_change, &c), 6);
	assert_string_equal(c.text,
			    "http.listen! http.max_batch channels.x channels.y routes.r channels.gone ");
	assert_int_equal(hm_config_diff(a, a, NULL, NULL), 0);
	hm_config_unref(a);
	hm_config_unref(b);
}

static void test_print_loads_again(void **state)
{
	struct hm_config *cfg = load("http: {max_batch: 3, listen: ['[::1]:1', '127.0.0.1:0']}\n"
				     "redis: {url: 'redis://me:pw@h:1/2'}\nnode: {name: 'true'}",
				     NULL),
			 *back;
	struct hm_buf all, changed;
	struct changes c = {""};

	hm_buf_init(&all, 1 << 20);
	hm_buf_init(&changed, 1 << 20);
	hm_config_print(cfg, true, &all);
	hm_config_print(cfg, false, &changed);
	assert_null(strstr(hm_buf_cstr(&all), "pw@"));
	assert_non_null(strstr(hm_buf_cstr(&changed), "redis://me:***@h:1/2"));
	assert_null(strstr(hm_buf_cstr(&changed), "max_body"));
	back = load(hm_buf_cstr(&all), NULL);
	hm_config_diff(cfg, back, note_change, &c);
	assert_string_equal(c.text, "redis.url! "); /* the masked password, and nothing else */
	hm_config_unref(cfg);
	hm_config_unref(back);
	hm_buf_fini(&all);
	hm_buf_fini(&changed);
}

static void test_check_looks_at_the_machine(void **state)
{
	struct hm_config *cfg = load("adapters: {dir: /no/such/dir}\nwire: {ca_file: /no/such/file}\n"
				     "node: {data_dir: /dev/null/x}",
				     NULL);
	struct hm_err_list errs = {0};

	assert_int_equal(hm_config_check(cfg, hm_err_list_add, &errs),
			 3); /* the ledger is inside data_dir: once */
	assert_int_equal(errs.n, 3);
	assert_int_equal(errs.v[0].line, 2);
	assert_non_null(strstr(errs.v[0].text, "wire.ca_file: /no/such/file cannot be read"));
	assert_non_null(strstr(errs.v[1].text, "adapters.dir: /no/such/dir"));
	assert_non_null(strstr(errs.v[2].text, "node.data_dir: /dev/null/x cannot be written to"));
	hm_err_list_fini(&errs);
	hm_config_unref(cfg);
}

static void test_missing_file(void **state)
{
	struct hm_config *cfg = NULL;
	struct hm_err_list errs = {0};

	assert_int_equal(hm_config_load("/no/such.yaml", NULL, &cfg, hm_err_list_add, &errs), HM_ECONFIG);
	assert_int_equal(errs.n, 1);
	assert_string_equal(errs.v[0].file, "/no/such.yaml");
	hm_err_list_fini(&errs);
}

static void test_facts(void **state)
{
	const struct hm_fact_conf *f;
	struct hm_config *cfg, *other;
	struct hm_buf b;

	setenv("HM_TEST_TOKEN", "s3cret", 1);
	cfg = load("facts:\n"
		   "  cache_entries: 100\n"
		   "  stock: {from: redis, key: \"stock:{key}\", type: number, fallback: 3.50}\n"
		   "  price:\n"
		   "    from: http\n"
		   "    url: https://shop.example.com/prices\n"
		   "    headers: {Authorization: \"Bearer ${env:HM_TEST_TOKEN}\"}\n"
		   "    path: data.0.amount\n"
		   "    timeout: 2s\n"
		   "    cache: 0\n"
		   "    batch: 7\n"
		   "    type: json\n"
		   "    fallback: {amount: \"5\", tags: [a, 1, true, ~]}\n"
		   "  coupon: {from: http, url: \"http://x/{key}\", fallback: \"12\"}\n",
		   NULL);
	assert_int_equal(cfg->settings.facts.cache_entries, 100);
	assert_int_equal(cfg->n_facts, 3);
	f = hm_config_fact(cfg, HM_STR("stock"));
	assert_int_equal(f->from, HM_FACT_REDIS);
	assert_int_equal(f->type, HM_FACT_NUMBER);
	assert_string_equal(f->key.p, "stock:{key}");
	assert_int_equal(f->redis.len, 0);
	assert_int_equal(f->timeout_ms, 300);
	assert_int_equal(f->cache_ms, 5000);
	assert_int_equal(f->batch, 100);
	assert_int_equal(f->tls_verify, -1);
	assert_int_equal(f->fallback->type, MSGPACK_OBJECT_EXT);
	assert_memory_equal(f->fallback->via.ext.ptr, "3.50", 4);
	f = hm_config_fact(cfg, HM_STR("price"));
	assert_int_equal(f->from, HM_FACT_HTTP);
	assert_false(f->per_key);
	assert_int_equal(f->n_headers, 1);
	assert_string_equal(f->headers[0].name.p, "authorization");
	assert_string_equal(f->headers[0].value.p, "Bearer s3cret");
	assert_int_equal(f->path.n, 3);
	assert_true(hm_str_is(f->path.v[2], "amount"));
	assert_int_equal(f->batch, 7);
	assert_int_equal(f->cache_ms, 0);
	assert_int_equal(f->fallback->type, MSGPACK_OBJECT_MAP);
	assert_int_equal(f->fallback->via.map.ptr[0].val.type, MSGPACK_OBJECT_STR);
	assert_int_equal(f->fallback->via.map.ptr[1].val.via.array.size, 4);
	assert_int_equal(f->fallback->via.map.ptr[1].val.via.array.ptr[1].type,
			 MSGPACK_OBJECT_POSITIVE_INTEGER);
	f = hm_config_fact(cfg, HM_STR("coupon"));
	assert_true(f->per_key);
	assert_int_equal(f->fallback->type, MSGPACK_OBJECT_STR); /* it was quoted */
	assert_null(hm_config_fact(cfg, HM_STR("cache_entries")));
	hm_buf_init(&b, 1 << 20);
	hm_config_print(cfg, true, &b);
	assert_non_null(strstr(hm_buf_cstr(&b), "  price: {from: http}"));
	assert_null(strstr(hm_buf_cstr(&b), "s3cret"));
	hm_buf_fini(&b);

	/* A secret that changed is a change. */
	setenv("HM_TEST_TOKEN", "other", 1);
	other = load("facts:\n  price: {from: http, url: \"http://x/p\", headers: {a: "
		     "\"${env:HM_TEST_TOKEN}\"}}\n",
		     NULL);
	hm_config_unref(cfg);
	setenv("HM_TEST_TOKEN", "s3cret", 1);
	cfg = load("facts:\n  price: {from: http, url: \"http://x/p\", headers: {a: "
		   "\"${env:HM_TEST_TOKEN}\"}}\n",
		   NULL);
	assert_int_equal(hm_config_diff(cfg, other, NULL, NULL), 1);
	assert_int_equal(hm_config_diff(cfg, cfg, NULL, NULL), 0);
	hm_config_unref(cfg);
	hm_config_unref(other);
}

static void test_wrong_facts(void **state)
{
	refuse_one("facts: {cache_entrys: 5}\n", 1, 9, "did you mean \"cache_entries\"");
	refuse_one("facts:\n  a: {key: x}\n", 2, 6, "from: redis");
	refuse_one("facts:\n  a: {from: ftp}\n", 2, 13, "redis or http");
	refuse_one("facts:\n  a: {from: redis, url: x}\n", 2, 20, "url");
	refuse_one("facts:\n  a: {from: redis, redis: \"http://x\"}\n", 2, 27, "rediss://");
	refuse_one("facts:\n  a: {from: http}\n", 2, 6, "needs a url");
	refuse_one("facts:\n  a: {from: http, url: \"ftp://x/\"}\n", 2, 24, "https://");
	refuse_one("facts:\n  a: {from: http, url: \"http://x/{key}\", batch: 3}\n", 2, 49,
		   "one key at a time");
	refuse_one("facts:\n  a: {from: redis, type: int}\n", 2, 26, "string, number, boolean or json");
	refuse_one("facts:\n  a: {from: redis, timeout: 0}\n", 2, 29, "from 1ms to 60s");
	refuse_one("facts:\n  a: {from: redis, batch: 1001}\n", 2, 27, "1000");
	refuse_one("facts:\n  a: {from: redis, path: \"a..b\"}\n", 2, 26, "dots");
	refuse_one("facts:\n  a: {from: redis, fallback: }\n", 2, 30, "leave the line out");
	refuse_one("facts:\n  a: {from: redis, cert_file: x}\n", 2, 6, "go together");
	refuse_one("facts:\n  \"a b\": {from: redis}\n", 2, 3, "not a good name");
	refuse_one("facts:\n  a: {from: http, url: \"http://x\", headers: {Host: x}}\n", 2, 52,
		   "set by the request");
	refuse_one("facts:\n  a: {from: http, url: \"http://x\", headers: {x: \"a\\nb\"}}\n", 2, 49,
		   "without line breaks");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_wrong_facts),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_name_follows_the_folder),
		cmocka_unit_test(test_file_values),
		cmocka_unit_test(test_environment_and_command_line_win),
		cmocka_unit_test(test_wrong_environment_and_command_line),
		cmocka_unit_test(test_all_mistakes_at_once),
		cmocka_unit_test(test_yaml_mistakes),
		cmocka_unit_test(test_contradictions),
		cmocka_unit_test(test_references),
		cmocka_unit_test(test_bad_references),
		cmocka_unit_test(test_channels_and_routes),
		cmocka_unit_test(test_wrong_channels_and_routes),
		cmocka_unit_test(test_diff),
		cmocka_unit_test(test_print_loads_again),
		cmocka_unit_test(test_check_looks_at_the_machine),
		cmocka_unit_test(test_missing_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
