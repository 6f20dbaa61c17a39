/* The service against a real redis-server, a cluster, and an HTTP server: values, cache, batches, time, failures. */
#include "shop.h"

#include "base/stats.h"
#include "facts/facts.h"
#include "wire/wire.h"

static struct env env;
static struct client hub;
static struct server *server;
static struct shop shop;
static struct hm_wire *wire;
static struct hm_facts *facts;
static struct hm_config *cfg;
static bool facts_closed, wire_closed;

/* -- stage -------------------------------------------------------------------------------------- */

static void complain(void *arg, const struct hm_err *e)
{
	print_message("%s:%d: %s\n", e->file, e->line, e->text);
}

static struct hm_config *config(const char *fmt, ...) HM_PRINTF(1, 2);
static struct hm_config *config(const char *fmt, ...)
{
	static char text[8192];
	struct hm_config *c = NULL;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	assert_int_equal(hm_config_load_text("t.yaml", hm_str_c(text), NULL, &c, complain, NULL), 0);
	assert_int_equal(hm_facts_check(c, complain, NULL), 0);
	return c;
}

static void on_facts_closed(void *arg)
{
	facts_closed = true;
}

static void on_wire_closed(void *arg)
{
	wire_closed = true;
}

static void begin(struct hm_config *c)
{
	struct hm_facts_deps d = {&env.tick, hub.r, wire};
	struct hm_err e = {0};

	cfg = c;
	facts_closed = false;
	facts = hm_facts_new(&d, cfg, &e);
	assert_non_null(facts);
}

static void end(void)
{
	if (facts == NULL)
		return;
	hm_facts_close(facts, on_facts_closed, NULL);
	facts = NULL;
	RUN_UNTIL(&env, facts_closed, 5000);
	hm_config_unref(cfg);
	cfg = NULL;
}

static int setup(void **state)
{
	struct hm_wire_opts wo = {.max_response_bytes = 64 << 10, .connect_timeout_ms = 2000};
	struct hm_err e = {0};

	env_init(&env);
	server = server_start(&env, NULL);
	client_open(&hub, &env, (struct hm_redis_opts){0}, "unix://%s", server->sock);
	RUN_UNTIL(&env, hub.up, 5000);
	shop_open(&shop, &env.loop);
	wire_closed = false;
	assert_int_equal(hm_wire_new(&env.tick, &wo, &wire, &e), 0);
	return 0;
}

static int teardown(void **state)
{
	end();
	hm_wire_abort(wire);
	hm_wire_close(wire, on_wire_closed, NULL);
	RUN_UNTIL(&env, wire_closed, 5000);
	shop_close(&shop);
	RUN_UNTIL(&env, shop.open == 0, 5000);
	client_close(&hub);
	env_fini(&env);
	hm_stats_free_all();
	return 0;
}

/* One message's asking. */
struct ask {
	struct hm_facts_waiter w;
	struct hm_fact_want want[HM_FACTS_MAX];
	struct hm_arena arena;
	unsigned ready;
	bool at_once;
	void (*then)(struct ask *a);
	struct ask *next;
};

static void on_ready(struct hm_facts_waiter *w)
{
	struct ask *a = hm_container_of(w, struct ask, w);

	a->ready++;
	if (a->then)
		a->then(a);
}

static void ask_init(struct ask *a, const char *fact, const char *key)
{
	memset(a, 0, sizeof(*a));
	hm_arena_init(&a->arena, &env.tick.blocks, 0);
	a->w = (struct hm_facts_waiter){.on_ready = on_ready, .want = a->want, .n = 1, .arena = &a->arena};
	a->want[0] = (struct hm_fact_want){.fact = hm_str_c(fact), .key = hm_str_c(key)};
}

static void ask_go(struct ask *a)
{
	a->at_once = hm_facts_get(facts, &a->w);
	assert_int_equal(a->ready, 0); /* never from inside */
}

static void ask_wait(struct ask *a)
{
	if (!a->at_once)
		RUN_UNTIL(&env, a->ready, 5000);
	assert_int_equal(a->ready, !a->at_once);
}

static void fetch(struct ask *a, const char *fact, const char *key)
{
	ask_init(a, fact, key);
	ask_go(a);
	ask_wait(a);
}

static const char *shown(const struct ask *a, size_t i)
{
	static char out[4096];
	struct hm_buf b;

	hm_buf_init(&b, sizeof(out) - 1);
	hm_msgpack_to_json(&a->want[i].value, &b);
	snprintf(out, sizeof(out), "%s", hm_buf_cstr(&b));
	hm_buf_fini(&b);
	return out;
}

static void ask_fini(struct ask *a)
{
	hm_arena_fini(&a->arena);
}

/* Asks, compares the value as JSON, and whether it was known at once. */
static void expect(const char *fact, const char *key, const char *json, bool at_once)
{
	struct ask a;

	fetch(&a, fact, key);
	if (strcmp(shown(&a, 0), json) != 0)
		fail_msg("%s(%s) is %s, not %s (%.*s)", fact, key, shown(&a, 0), json,
			 HM_STRF(a.want[0].reason));
	assert_int_equal(a.at_once, at_once);
	assert_false(a.want[0].fell_back);
	assert_int_equal(a.want[0].reason.len, 0);
	ask_fini(&a);
}

/* No value: the fallback (or null), and a reason that says `part`. */
static void expect_none(const char *fact, const char *key, const char *json, const char *part)
{
	struct ask a;
	char reason[400];

	fetch(&a, fact, key);
	snprintf(reason, sizeof(reason), "%.*s", HM_STRF(a.want[0].reason));
	assert_string_equal(shown(&a, 0), json);
	assert_int_equal(a.want[0].fell_back, strcmp(json, "null") != 0);
	if (strstr(reason, part) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", reason, part);
	ask_fini(&a);
}

static void redis_do(const char *a, const char *b, const char *c)
{
	const struct hm_str argv[] = {hm_str_c(a), hm_str_c(b), hm_str_c(c)};
	struct answer an = {0};

	hm_redis_send(hub.r, argv[1], argv, 3, on_answer, &an);
	RUN_UNTIL(&env, an.calls, 5000);
	assert_int_equal(an.code, 0);
}

/* How often the server saw a command. */
static long calls_of(const char *cmd)
{
	static const struct hm_str argv[] = {HM_STR_INIT("INFO"), HM_STR_INIT("commandstats")};
	struct answer an = {0};
	char needle[64];
	const char *at;

	hm_redis_send(hub.r, HM_STR_NULL, argv, 2, on_answer, &an);
	RUN_UNTIL(&env, an.calls, 5000);
	snprintf(needle, sizeof(needle), "cmdstat_%s:calls=", cmd);
	at = strstr(an.text, needle);
	return at ? strtol(at + strlen(needle), NULL, 10) : 0;
}

static void advance(uint64_t ms)
{
	hm_clock_advance_ms(ms);
	hm_tick_refresh(&env.tick);
}

static long metric(const char *name, const char *fact)
{
	char needle[128];
	struct hm_buf b;
	const char *at;
	long v;

	hm_buf_init(&b, 1 << 20);
	hm_facts_metrics(&b);
	snprintf(needle, sizeof(needle), "\n%s{fact=\"%s\"} ", name, fact);
	at = strstr(hm_buf_cstr(&b), needle);
	v = at ? strtol(at + strlen(needle), NULL, 10) : -1;
	hm_buf_fini(&b);
	return v;
}

/* -- redis -------------------------------------------------------------------------------------- */

static void test_redis_values(void **state)
{
	begin(config("facts:\n"
		     "  s: {from: redis, key: \"s:{key}\"}\n"
		     "  n: {from: redis, key: \"s:{key}\", type: number, fallback: 7.50}\n"
		     "  b: {from: redis, type: boolean}\n"
		     "  j: {from: redis, path: a.1.price, type: number}\n"
		     "  whole: {from: redis, type: json, fallback: {x: [1, \"2\"]}}\n"));
	redis_do("SET", "s:one", "hello \"you\"");
	redis_do("SET", "s:price", "12.50");
	redis_do("SET", "s:big", "123456789012345678901234567890.10");
	redis_do("SET", "yes", "true");
	redis_do("SET", "doc", "{\"a\":[0,{\"price\":99.90}],\"b\":null}");
	redis_do("LPUSH", "list", "x");
	expect("s", "one", "\"hello \\\"you\\\"\"", false);
	expect("s", "one", "\"hello \\\"you\\\"\"", true);
	expect("n", "price", "12.50", false);
	expect("s", "price", "\"12.50\"", false);
	expect("n", "big", "123456789012345678901234567890.10", false);
	expect("b", "yes", "true", false);
	expect("j", "doc", "99.90", false);
	expect("whole", "doc", "{\"a\":[0,{\"price\":99.90}],\"b\":null}", false);
	expect("whole", "doc", "{\"a\":[0,{\"price\":99.90}],\"b\":null}", true);
	expect_none("n", "one", "7.50", "fact n: \"hello \"you\"\" is not a number");
	expect_none("n", "missing", "7.50", "fact n: there is no value");
	expect_none("s", "missing", "null", "fact s: there is no value");
	expect_none("s", "list", "null", "there is no value");
	expect_none("whole", "nothing", "{\"x\":[1,\"2\"]}", "there is no value");
	expect_none("whole", "yes2", "{\"x\":[1,\"2\"]}", "there is no value");
	expect_none("nobody", "x", "null", "fact nobody: it is not in the configuration");
	assert_non_null(hm_config_fact(cfg, HM_STR("s")));
	assert_null(hm_config_fact(cfg, HM_STR("nobody")));
}

static void test_a_templates_fallback_wins(void **state)
{
	msgpack_object few;
	struct ask a;

	begin(config("facts:\n  n: {from: redis, type: number, fallback: 7}\n"));
	hm_fact_text_value(HM_STR("few"), false, &few);
	ask_init(&a, "n", "none");
	a.want[0].fallback = &few;
	ask_go(&a);
	ask_wait(&a);
	assert_string_equal(shown(&a, 0), "\"few\"");
	assert_true(a.want[0].fell_back);
	ask_fini(&a);
}

static void test_cache_time(void **state)
{
	long before;

	begin(config("facts:\n  missing_for: 1s\n  s: {from: redis, cache: 5s}\n  fresh: {from: redis, "
		     "cache: 0}\n"));
	redis_do("SET", "k", "1");
	before = calls_of("mget");
	expect("s", "k", "\"1\"", false);
	redis_do("SET", "k", "2");
	advance(4900);
	expect("s", "k", "\"1\"", true);
	advance(200);
	expect("s", "k", "\"2\"", false);
	assert_int_equal(calls_of("mget") - before, 2);
	expect_none("s", "gone", "null", "no value");
	redis_do("SET", "gone", "back");
	expect_none("s", "gone", "null", "no value"); /* remembered, for a while */
	advance(1100);
	expect("s", "gone", "\"back\"", false);
	expect("fresh", "k", "\"2\"", false);
	expect("fresh", "k", "\"2\"", false);
}

static struct ask many[1000];

static void test_one_tick_travels_together(void **state)
{
	char key[1000][16];
	long before;

	begin(config("facts:\n  tick: {from: redis, key: \"k:{key}\", batch: 100}\n"));
	for (int i = 0; i < 1000; i++) {
		char name[24];

		snprintf(key[i], sizeof(key[i]), "%d", i);
		snprintf(name, sizeof(name), "k:%d", i);
		if (i % 10)
			redis_do("SET", name, key[i]);
	}
	before = calls_of("mget");
	for (int i = 0; i < 1000; i++) {
		ask_init(&many[i], "tick", key[i]);
		ask_go(&many[i]);
		assert_false(many[i].at_once);
	}
	for (int i = 0; i < 1000; i++) {
		char want[16];

		ask_wait(&many[i]);
		snprintf(want, sizeof(want), "\"%d\"", i);
		assert_string_equal(shown(&many[i], 0), i % 10 ? want : "null");
		ask_fini(&many[i]);
	}
	assert_int_equal(calls_of("mget") - before, 10);
	/* One key, a thousand times: one request. */
	advance(6000);
	before = calls_of("mget");
	for (int i = 0; i < 1000; i++) {
		ask_init(&many[i], "tick", "1");
		ask_go(&many[i]);
	}
	for (int i = 0; i < 1000; i++) {
		ask_wait(&many[i]);
		ask_fini(&many[i]);
	}
	assert_int_equal(calls_of("mget") - before, 1);
	assert_int_equal(metric("hermod_fact_requests_total", "tick"), 11);
	assert_int_equal(metric("hermod_fact_misses_total", "tick"), 2000);
}

static void test_several_facts_of_one_message(void **state)
{
	struct ask a;

	begin(config("facts:\n"
		     "  s: {from: redis}\n"
		     "  h: {from: http, url: \"http://127.0.0.1:%d/k/{key}\", type: number}\n",
		     shop.port));
	redis_do("SET", "k", "v");
	shop.values[0].key = "k";
	shop.values[0].json = "3";
	ask_init(&a, "s", "k");
	a.want[1] = (struct hm_fact_want){.fact = HM_STR("h"), .key = HM_STR("k")};
	a.want[2] = (struct hm_fact_want){.fact = HM_STR("s"), .key = HM_STR("k")};
	a.w.n = 3;
	ask_go(&a);
	assert_false(a.at_once);
	ask_wait(&a);
	assert_string_equal(shown(&a, 0), "\"v\"");
	assert_string_equal(shown(&a, 1), "3");
	assert_string_equal(shown(&a, 2), "\"v\"");
	ask_go(&(struct ask){.w = {.on_ready = on_ready, .want = a.want, .n = 3, .arena = &a.arena}});
	ask_fini(&a);
}

static void test_own_redis_and_its_restart(void **state)
{
	struct server *own = server_start(&env, "--requirepass", "s3cret", NULL);
	struct client c;
	struct answer an;

	client_open(&c, &env, (struct hm_redis_opts){0}, "redis://:s3cret@127.0.0.1:%d/3", own->port);
	RUN_UNTIL(&env, c.up, 5000);
	ASK(&c, &an, "SET", "k", "own");
	begin(config("redis: {command_timeout: 2s, connect_timeout: 1s}\n"
		     "queue: {block: 500ms}\n"
		     "facts:\n"
		     "  pause_after: 1000\n"
		     "  a: {from: redis, redis: \"redis://:s3cret@127.0.0.1:%d/3\", cache: 0, timeout: 2s}\n"
		     "  b: {from: redis, redis: \"redis://:s3cret@127.0.0.1:%d/3\", cache: 0, fallback: x}\n"
		     "  wrong: {from: redis, redis: \"redis://:no@127.0.0.1:%d/3\", cache: 0}\n",
		     own->port, own->port, own->port));
	expect("a", "k", "\"own\"", false);
	expect("b", "k", "\"own\"", false);
	{
		struct ask a;
		char reason[300];

		fetch(&a, "wrong", "k");
		snprintf(reason, sizeof(reason), "%.*s", HM_STRF(a.want[0].reason));
		assert_non_null(strstr(reason, "fact wrong: "));
		assert_null(strstr(reason, ":no@"));
		ask_fini(&a);
	}
	server_kill(own);
	expect_none("b", "k", "\"x\"", "fact b: ");
	server_run(own);
	assert_true(server_wait(own));
	for (bool back = false; !back;) { /* the connection comes back by itself */
		struct ask a;

		fetch(&a, "a", "other");
		back = strstr(a.want[0].reason.p, "there is no value") != NULL;
		ask_fini(&a);
	}
	client_close(&c);
}

/* -- http ----------------------------------------------------------------------------------------- */

static void test_http_get(void **state)
{
	setenv("HM_FACT_TOKEN", "t0ken", 1);
	begin(config("facts:\n"
		     "  missing_for: 0\n"
		     "  f:\n"
		     "    from: http\n"
		     "    url: http://127.0.0.1:%d/k/{key}\n"
		     "    headers: {Authorization: \"Bearer ${env:HM_FACT_TOKEN}\"}\n"
		     "    type: number\n"
		     "    path: data.amount\n"
		     "  text: {from: http, url: \"http://127.0.0.1:%d/k/{key}\", fallback: none}\n",
		     shop.port, shop.port));
	shop.values[0].key = "a%20b%2F%E4%BD%A0";
	shop.values[0].json = "{\"data\":{\"amount\":19.90,\"currency\":\"EUR\"}}";
	shop.values[1].key = "plain";
	shop.values[1].json = "as it is";
	expect("f", "a b/\xe4\xbd\xa0", "19.90", false);
	assert_non_null(strstr(shop.last, "GET /k/a%20b%2F%E4%BD%A0 HTTP/1.1"));
	assert_non_null(strcasestr(shop.last, "authorization: Bearer t0ken"));
	expect("f", "a b/\xe4\xbd\xa0", "19.90", true);
	assert_int_equal(shop.requests, 1);
	expect("text", "plain", "\"as it is\"", false);
	expect_none("f", "plain", "null", "it is not JSON");
	expect_none("f", "nix", "null", "there is no value");
	expect_none("text", "nix", "\"none\"", "there is no value");
	shop.status = 500;
	expect_none("text", "other", "\"none\"", "fact text: HTTP status 500");
	shop.status = 204;
	expect_none("text", "other", "\"none\"", "there is no value");
	shop.status = 302;
	expect_none("text", "other", "\"none\"", "HTTP status 302");
}

static void test_http_batch(void **state)
{
	begin(config(
		"facts:\n"
		"  pause_after: 100\n"
		"  f: {from: http, url: \"http://127.0.0.1:%d/prices\", batch: 40, type: number, cache: 1h}\n"
		"  j: {from: http, url: \"http://127.0.0.1:%d/prices\", path: amount, fallback: \"?\"}\n",
		shop.port, shop.port));
	shop.values[0].key = "a";
	shop.values[0].json = "1.10";
	shop.values[1].key = "b";
	shop.values[1].json = "\"2.20\"";
	shop.values[2].key = "c";
	shop.values[2].json = "{\"amount\":5}";
	shop.values[3].key = "d";
	shop.values[3].json = "null";
	for (int i = 0; i < 100; i++) {
		static char key[100][8];

		snprintf(key[i], sizeof(key[i]), i < 4 ? "%c" : "k%d", i < 4 ? 'a' + i : i);
		ask_init(&many[i], "f", key[i]);
		ask_go(&many[i]);
	}
	for (int i = 0; i < 100; i++)
		ask_wait(&many[i]);
	assert_int_equal(shop.requests, 3); /* 40 + 40 + 20 */
	assert_int_equal(shop.asked, 20);
	assert_string_equal(shown(&many[0], 0), "1.10");
	assert_string_equal(shown(&many[1], 0), "2.20");
	assert_string_equal(shown(&many[2], 0), "null");
	assert_non_null(strstr(many[2].want[0].reason.p, "it is an object, not a number"));
	assert_non_null(strstr(many[3].want[0].reason.p, "there is no value"));
	for (int i = 0; i < 100; i++)
		ask_fini(&many[i]);
	assert_non_null(strstr(shop.last, "POST /prices HTTP/1.1"));
	assert_non_null(strcasestr(shop.last, "content-type: application/json"));
	expect("j", "c", "\"5\"", false);
	expect_none("j", "a", "\"?\"", "there is no value");
	shop.body = "{\"values\":[1]}";
	expect_none("j", "x", "\"?\"", "its answer is not {\"values\": {...}}");
	shop.body = "{\"values\":{";
	expect_none("j", "x", "\"?\"", "its answer is not JSON");
	shop.body = NULL;
	shop.status = 404;
	expect_none("j", "x", "\"?\"", "HTTP status 404");
	shop.status = 0;
	expect_none("j", "quote", "\"?\"", "there is no value");
	shop.body = "{\"values\":{\"quote\\\"\\n\":{\"amount\":6}}}"; /* keys come back as they went */
	expect("j", "quote\"\n", "\"6\"", false);
	assert_non_null(strstr(shop.last, "{\"keys\":[\"quote\\\"\\n\"]}"));
}

static void test_too_long(void **state)
{
	static char big[70000];

	begin(config("facts:\n"
		     "  max_value: 64\n"
		     "  g: {from: http, url: \"http://127.0.0.1:%d/k/{key}\"}\n"
		     "  b: {from: http, url: \"http://127.0.0.1:%d/\", type: json}\n"
		     "  r: {from: redis}\n",
		     shop.port, shop.port));
	memset(big, 'x', sizeof(big) - 1);
	redis_do("SET", "k", big);
	expect_none("r", "k", "null", "facts.max_value");
	shop.body = big;
	expect_none("g", "k", "null", "wire.max_response_bytes");
	shop.body = big + 69000;
	expect_none("g", "k2", "null", "facts.max_value");
	shop.body = "{\"values\":{\"a\":[1,2,3],\"b\":[\"0123456789012345678901234567890123456789\","
		    "\"0123456789012345\",1,2,3]}}";
	expect("b", "a", "[1,2,3]", false);
	expect_none("b", "b", "null", "facts.max_value");
	memset(big, 'k', sizeof(big) - 1);
	big[513] = '\0';
	expect_none("r", big, "null", "512 bytes");
}

/* -- time, failures --------------------------------------------------------------------------------- */

static void test_no_answer_in_time(void **state)
{
	uint64_t start;

	begin(config("facts:\n"
		     "  pause_after: 100\n"
		     "  f: {from: http, url: \"http://127.0.0.1:%d/k/{key}\", timeout: 60ms, fallback: few}\n"
		     "  n: {from: http, url: \"http://127.0.0.1:%d/\", timeout: 60ms, max_in_flight: 1, "
		     "batch: 1}\n"
		     "  r: {from: redis, timeout: 60ms}\n",
		     shop.port, shop.port));
	shop.silent = true;
	start = hm_clock_mono_ns();
	expect_none("f", "a", "\"few\"", "fact f: no answer in 60 ms");
	assert_true(hm_clock_mono_ns() - start >= 59000000);
	/* The second has to wait for the first, and its time counts from when it was asked for. */
	ask_init(&many[0], "n", "a");
	ask_init(&many[1], "n", "b");
	ask_go(&many[0]);
	ask_go(&many[1]);
	ask_wait(&many[0]);
	ask_wait(&many[1]);
	assert_string_equal(many[1].want[0].reason.p, "fact n: no answer in 60 ms");
	ask_fini(&many[0]);
	ask_fini(&many[1]);
	server_signal(server, SIGSTOP);
	expect_none("r", "a", "null", "fact r: no answer in 60 ms");
	server_signal(server, SIGCONT);
	redis_do("SET", "b", "1");
	expect("r", "b", "\"1\"", false);
}

static void test_a_dead_fact_rests(void **state)
{
	unsigned seen;

	begin(config("facts:\n"
		     "  pause_after: 3\n"
		     "  pause: 2s\n"
		     "  dead: {from: http, url: \"http://127.0.0.1:%d/k/{key}\", timeout: 1s, fallback: few, "
		     "max_in_flight: 1}\n",
		     shop.port));
	shop.status = 503;
	for (int i = 0; i < 3; i++)
		expect_none("dead", "a", "\"few\"", "fact dead: HTTP status 503");
	seen = shop.requests;
	assert_int_equal(seen, 3);
	for (int i = 0; i < 100; i++) {
		struct ask a;

		fetch(&a, "dead", "a");
		assert_true(a.at_once);
		assert_true(a.want[0].fell_back);
		assert_non_null(strstr(a.want[0].reason.p,
				       "fact dead: it rests after 3 failures in a row: HTTP status 503"));
		ask_fini(&a);
	}
	assert_int_equal(shop.requests, seen);
	assert_int_equal(metric("hermod_fact_pauses_total", "dead"), 1);
	assert_int_equal(metric("hermod_fact_fallbacks_total", "dead"), 103);
	assert_int_equal(metric("hermod_fact_errors_total", "dead"), 3);
	/* Afterwards one request tries; the others that wait for it get its news at once. */
	advance(2100);
	for (int i = 0; i < 10; i++) {
		static char key[10][4];

		snprintf(key[i], sizeof(key[i]), "%d", i);
		ask_init(&many[i], "dead", key[i]);
		ask_go(&many[i]);
		assert_false(many[i].at_once);
	}
	for (int i = 0; i < 10; i++) {
		ask_wait(&many[i]);
		ask_fini(&many[i]);
	}
	assert_int_equal(shop.requests, seen + 1);
	shop.status = 0;
	shop.values[0].key = "a";
	shop.values[0].json = "back";
	advance(2100);
	expect("dead", "a", "\"back\"", false);
	expect_none("dead", "b", "\"few\"", "there is no value");
	assert_int_equal(shop.requests, seen + 3);
}

/* -- who waits no more ------------------------------------------------------------------------------- */

static void test_cancel_and_close(void **state)
{
	begin(config("facts:\n"
		     "  f: {from: http, url: \"http://127.0.0.1:%d/k/{key}\", timeout: 10s}\n"
		     "  r: {from: redis, timeout: 10s}\n",
		     shop.port));
	shop.silent = true;
	server_signal(server, SIGSTOP);
	for (int i = 0; i < 4; i++) {
		ask_init(&many[i], i % 2 ? "f" : "r", i < 2 ? "a" : "b");
		ask_go(&many[i]);
		assert_false(many[i].at_once);
	}
	hm_facts_cancel(&many[0].w);
	RUN_UNTIL(&env, shop.requests == 2, 5000);
	for (int i = 1; i < 4; i++)
		hm_facts_cancel(&many[i].w);
	hm_facts_cancel(&many[3].w); /* harmless twice */
	end();			     /* with requests still unanswered */
	server_signal(server, SIGCONT);
	redis_do("SET", "x", "y"); /* what comes for the old ones meets nobody */
	for (int i = 0; i < 4; i++) {
		assert_int_equal(many[i].ready, 0);
		ask_fini(&many[i]);
	}
}

static void cancel_next(struct ask *a)
{
	hm_facts_cancel(&a->next->w);
}

static void ask_next(struct ask *a)
{
	ask_go(a->next);
}

static void test_what_waiters_do_when_told(void **state)
{
	begin(config("facts:\n  r: {from: redis}\n"));
	redis_do("SET", "k", "v");
	for (int i = 0; i < 4; i++)
		ask_init(&many[i], "r", i < 2 ? "k" : i == 2 ? "k" : "new");
	many[0].then = cancel_next; /* the second is cancelled when it was to be told next */
	many[0].next = &many[1];
	many[2].then = ask_next; /* and the third asks again */
	many[2].next = &many[3];
	for (int i = 0; i < 3; i++)
		ask_go(&many[i]);
	RUN_UNTIL(&env, many[3].ready, 5000);
	assert_int_equal(many[0].ready, 1);
	assert_int_equal(many[1].ready, 0);
	assert_int_equal(many[2].ready, 1);
	for (int i = 0; i < 4; i++)
		ask_fini(&many[i]);
}

/* -- reload, limits ------------------------------------------------------------------------------------ */

static void test_reload(void **state)
{
	struct hm_config *next;
	struct ask a;
	long before;

	begin(config(
		"facts:\n"
		"  same: {from: redis, key: \"s:{key}\"}\n"
		"  other: {from: redis, key: \"old:{key}\"}\n"
		"  slow: {from: http, url: \"http://127.0.0.1:%d/k/{key}\", timeout: 5s, fallback: old}\n"
		"  gone: {from: redis}\n",
		shop.port));
	redis_do("SET", "s:k", "same");
	redis_do("SET", "old:k", "old");
	redis_do("SET", "new:k", "new");
	expect("same", "k", "\"same\"", false);
	expect("other", "k", "\"old\"", false);
	shop.silent = true;
	ask_init(&a, "slow", "k");
	ask_go(&a);
	RUN_UNTIL(&env, shop.requests == 1, 5000);
	next = config(
		"facts:\n"
		"  same: {from: redis, key: \"s:{key}\"}\n"
		"  other: {from: redis, key: \"new:{key}\"}\n"
		"  slow: {from: http, url: \"http://127.0.0.1:%d/k/{key}\", timeout: 4s, fallback: new}\n"
		"  fresh: {from: redis, key: \"new:{key}\"}\n",
		shop.port);
	hm_facts_reload(facts, next);
	hm_config_unref(cfg);
	cfg = next;
	before = calls_of("mget");
	expect("same", "k", "\"same\"", true); /* it still knows */
	expect("other", "k", "\"new\"", false);
	expect("fresh", "k", "\"new\"", false);
	expect_none("gone", "k", "null", "not in the configuration");
	assert_int_equal(calls_of("mget") - before, 2);
	advance(5100); /* who waited goes on under the old one */
	ask_wait(&a);
	assert_string_equal(shown(&a, 0), "\"old\"");
	ask_fini(&a);
	assert_int_equal(metric("hermod_fact_hits_total", "same"), 1);
}

static void test_the_cache_is_bounded(void **state)
{
	char key[16];
	struct hm_buf b;

	begin(config("facts:\n  cache_entries: 16\n  r: {from: redis}\n"));
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "%d", i);
		redis_do("SET", key, key);
		fetch(&many[0], "r", key);
		ask_fini(&many[0]);
		if (i >= 1)
			expect("r", "1", "\"1\"", true); /* used again and again, so it stays */
	}
	assert_int_equal(env.tick.stats->c[HM_CT_FACTS_CACHED], 16);
	expect("r", "50", "\"50\"", false);
	hm_buf_init(&b, 1 << 16);
	hm_facts_describe(facts, &b);
	assert_non_null(strstr(hm_buf_cstr(&b), "{\"cached\":16,"));
	assert_non_null(strstr(hm_buf_cstr(&b), "\"r\":{\"waiting\":0,"));
	hm_buf_fini(&b);
	hm_config_unref(cfg);
	cfg = config("facts:\n  cache_entries: 100\n  cache_bytes: 64KiB\n  r: {from: redis}\n");
	hm_facts_reload(facts, cfg);
	expect("r", "50", "\"50\"", true);
	for (int i = 0; i < 8; i++) {
		static char big[15000];

		memset(big, 'x', sizeof(big) - 1);
		snprintf(key, sizeof(key), "big%d", i);
		redis_do("SET", key, big);
		fetch(&many[0], "r", key);
		assert_int_equal(many[0].want[0].value.via.str.size, sizeof(big) - 1);
		ask_fini(&many[0]);
	}
	assert_in_range(env.tick.stats->c[HM_CT_FACTS_CACHED], 4,
			6); /* four of the big ones, and small ones in use */
}

static void count(void *arg, const struct hm_err *e)
{
	unsigned *n = arg;

	assert_int_equal(e->line, 2 + (int)*n);
	assert_string_equal(e->file, "t.yaml");
	assert_null(strstr(e->text, "hidden"));
	*n += 1;
}

static void test_check(void **state)
{
	static const char text[] = "facts:\n"
				   "  a: {from: http, url: \"http://user:hidden@x/\"}\n"
				   "  b: {from: http, url: \"https://x{key}/\"}\n"
				   "  c: {from: redis, redis: \"redis://u:hidden@h:99999\"}\n"
				   "  d: {from: http, url: \"https://x/\", ca_file: /nowhere.pem}\n"
				   "  e: {from: http, url: \"http://x/\", ca_file: /nowhere.pem}\n"
				   "  f: {from: redis}\n";
	struct hm_config *c = NULL;
	unsigned n = 0;

	assert_int_equal(hm_config_load_text("t.yaml", hm_str_c(text), NULL, &c, complain, NULL), 0);
	assert_int_equal(hm_facts_check(c, count, &n), 5);
	assert_int_equal(n, 5);
	hm_config_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_redis_values, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_templates_fallback_wins, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cache_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_tick_travels_together, setup, teardown),
		cmocka_unit_test_setup_teardown(test_several_facts_of_one_message, setup, teardown),
		cmocka_unit_test_setup_teardown(test_own_redis_and_its_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_http_get, setup, teardown),
		cmocka_unit_test_setup_teardown(test_http_batch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_long, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_answer_in_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_dead_fact_rests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel_and_close, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_waiters_do_when_told, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reload, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_cache_is_bounded, setup, teardown),
		cmocka_unit_test(test_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
