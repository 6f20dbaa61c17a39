/* Facts from a Redis Cluster, and over TLS. */
#include "../redis/env.h"

#include "../wire/certs.h"
#include "../wire/peer.h"

#include "facts/facts.h"
#include "wire/wire.h"

static struct env env;
static struct client hub;
static struct hm_wire *wire;
static struct hm_facts *facts;
static struct hm_config *cfg;
static struct certs certs;
static bool closed;

static void complain(void *arg, const struct hm_err *e)
{
	print_message("%s:%d: %s\n", e->file, e->line, e->text);
}

static void on_closed(void *arg)
{
	closed = true;
}

static void begin(const char *fmt, ...) HM_PRINTF(1, 2);
static void begin(const char *fmt, ...)
{
	struct hm_facts_deps d = {&env.tick, hub.r, wire};
	struct hm_err e = {0};
	char text[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	assert_int_equal(hm_config_load_text("t.yaml", hm_str_c(text), NULL, &cfg, complain, NULL), 0);
	assert_int_equal(hm_facts_check(cfg, complain, NULL), 0);
	facts = hm_facts_new(&d, cfg, &e);
	assert_non_null(facts);
}

static void end(void)
{
	closed = false;
	hm_facts_close(facts, on_closed, NULL);
	RUN_UNTIL(&env, closed, 5000);
	hm_config_unref(cfg);
}

static int setup(void **state)
{
	struct hm_wire_opts wo = {.max_response_bytes = 64 << 10, .connect_timeout_ms = 2000, .verify = true};
	struct hm_err e = {0};

	certs_init(&certs);
	env_init(&env);
	assert_int_equal(hm_wire_new(&env.tick, &wo, &wire, &e), 0);
	return 0;
}

static int teardown(void **state)
{
	closed = false;
	hm_wire_close(wire, on_closed, NULL);
	RUN_UNTIL(&env, closed, 5000);
	env_fini(&env);
	certs_fini(&certs);
	return 0;
}

struct ask {
	struct hm_facts_waiter w;
	struct hm_fact_want want;
	struct hm_arena arena;
	bool ready;
	char key[16];
};

static void on_ready(struct hm_facts_waiter *w)
{
	hm_container_of(w, struct ask, w)->ready = true;
}

static void start(struct ask *a, const char *fact, const char *key)
{
	memset(a, 0, sizeof(*a));
	snprintf(a->key, sizeof(a->key), "%s", key);
	hm_arena_init(&a->arena, &env.tick.blocks, 0);
	a->want = (struct hm_fact_want){.fact = hm_str_c(fact), .key = hm_str_c(a->key)};
	a->w = (struct hm_facts_waiter){.on_ready = on_ready, .want = &a->want, .n = 1, .arena = &a->arena};
	a->ready = hm_facts_get(facts, &a->w);
}

static void finish(struct ask *a, const char *value, const char *reason)
{
	RUN_UNTIL(&env, a->ready, 10000);
	if (value) {
		if (a->want.reason.len)
			fail_msg("%.*s", HM_STRF(a->want.reason));
		assert_int_equal(a->want.value.type, MSGPACK_OBJECT_STR);
		assert_true(
			hm_str_is(hm_str_n(a->want.value.via.str.ptr, a->want.value.via.str.size), value));
	} else {
		char text[400];

		snprintf(text, sizeof(text), "%.*s", HM_STRF(a->want.reason));
		if (strstr(text, reason) == NULL)
			fail_msg("\"%s\" does not say \"%s\"", text, reason);
	}
	hm_arena_fini(&a->arena);
}

/* -- a cluster ------------------------------------------------------------------------------------- */

static bool cluster_ok(void)
{
	for (unsigned i = 0; i < 3; i++) {
		char cmd[128], out[4096];
		size_t n;
		FILE *f;

		snprintf(cmd, sizeof(cmd), "redis-cli -p %d cluster info 2>&1", env.servers[i].port);
		f = popen(cmd, "r");
		assert_non_null(f);
		n = fread(out, 1, sizeof(out) - 1, f);
		out[n] = '\0';
		pclose(f);
		if (strstr(out, "cluster_state:ok") == NULL)
			return false;
	}
	return true;
}

static void test_cluster(void **state)
{
	static struct ask a[300];
	struct answer an;
	char cmd[600];
	int len = snprintf(cmd, sizeof(cmd), "redis-cli --cluster create");

	for (unsigned i = 0; i < 3; i++) {
		server_start(&env, "--cluster-enabled", "yes", NULL);
		len += snprintf(cmd + len, sizeof(cmd) - (size_t)len, " 127.0.0.1:%d", env.servers[i].port);
	}
	snprintf(cmd + len, sizeof(cmd) - (size_t)len, " --cluster-yes > %s/create.log", env.dir);
	assert_int_equal(system(cmd), 0);
	RUN_UNTIL(&env, cluster_ok(), 20000);
	client_open(&hub, &env, (struct hm_redis_opts){0}, "redis+cluster://127.0.0.1:%d",
		    env.servers[0].port);
	RUN_UNTIL(&env, hub.up, 10000);
	begin("facts:\n  own: {from: redis, key: \"s:{key}\", batch: 100, timeout: 5s}\n"
	      "  given: {from: redis, key: \"s:{key}\", redis: \"redis+cluster://127.0.0.1:%d\", timeout: "
	      "5s}\n",
	      env.servers[1].port);
	for (int i = 0; i < 300; i++) {
		char key[16];

		snprintf(key, sizeof(key), "s:%d", i);
		if (i == 7)
			ASK(&hub, &an, "LPUSH", key, "x");
		else if (i % 10)
			ASK(&hub, &an, "SET", key, key + 2);
	}
	for (int i = 0; i < 300; i++) { /* on all nodes, in one go */
		char key[16];

		snprintf(key, sizeof(key), "%d", i);
		start(&a[i], i % 2 ? "own" : "given", key);
		assert_false(a[i].ready);
	}
	for (int i = 0; i < 300; i++)
		finish(&a[i], i == 7 || i % 10 == 0 ? NULL : a[i].key,
		       i == 7 ? "WRONGTYPE" : "there is no value");
	end();
	client_close(&hub);
}

/* -- TLS -------------------------------------------------------------------------------------------- */

static void test_tls(void **state)
{
	struct peer h1 = {.kind = PEER_HTTP1, .cert = certs.server},
		    h2 = {.kind = PEER_H2, .cert = certs.server};
	struct peer stranger = {.kind = PEER_HTTP1, .cert = certs.stranger};
	struct ask a;

	peer_start(&h1);
	peer_start(&h2);
	peer_start(&stranger);
	server_start(&env, NULL);
	client_open(&hub, &env, (struct hm_redis_opts){0}, "unix://%s", env.servers[0].sock);
	RUN_UNTIL(&env, hub.up, 5000);
	begin("facts:\n"
	      "  h1: {from: http, url: \"https://localhost:%d/{key}\", ca_file: \"%s\", timeout: 5s}\n"
	      "  h2: {from: http, url: \"https://localhost:%d/{key}\", ca_file: \"%s\", timeout: 5s}\n"
	      "  unknown: {from: http, url: \"https://localhost:%d/{key}\", timeout: 5s}\n"
	      "  wrong: {from: http, url: \"https://localhost:%d/{key}\", ca_file: \"%s\", timeout: 5s}\n"
	      "  trusting: {from: http, url: \"https://localhost:%d/{key}\", tls_verify: false, timeout: "
	      "5s}\n",
	      h1.port, certs.ca, h2.port, certs.ca, h1.port, stranger.port, certs.ca, stranger.port);
	start(&a, "h1", "ok");
	finish(&a, "ok", NULL);
	start(&a, "h2", "ok");
	finish(&a, "ok", NULL);
	start(&a, "unknown", "ok");
	finish(&a, NULL, "certificate");
	start(&a, "wrong", "ok");
	finish(&a, NULL, "certificate");
	start(&a, "trusting", "ok");
	finish(&a, "ok", NULL);
	start(&a, "h2", "kill");
	finish(&a, NULL, "fact h2: ");
	end();
	client_close(&hub);
	peer_stop(&h1);
	peer_stop(&h2);
	peer_stop(&stranger);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_cluster, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tls, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
