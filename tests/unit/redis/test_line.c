/* Lines (connections of their own for blocking commands) and Lua scripts. */
#include "env.h"

static struct env env;
static struct client cl;
static struct answer an;

static int setup(void **state)
{
	env_init(&env);
	return 0;
}

static int teardown(void **state)
{
	env_fini(&env);
	return 0;
}

static void count_up(void *arg)
{
	unsigned *n = arg;

	(*n)++;
}

static void line_ask(struct hm_redis_line *l, struct answer *a, uint32_t timeout_ms, ...)
{
	struct hm_str argv[16];
	const char *w;
	size_t n = 0;
	va_list ap;

	memset(a, 0, sizeof(*a));
	va_start(ap, timeout_ms);
	while ((w = va_arg(ap, const char *)) != NULL)
		argv[n++] = hm_str_c(w);
	va_end(ap);
	hm_redis_line_send(l, argv, n, timeout_ms, on_answer, a);
	assert_int_equal(a->calls, 0);
}

static void test_blocking_beside_pipeline(void **state)
{
	struct server *s = server_start(&env, NULL);
	struct hm_redis_line *l;
	unsigned ups = 0;
	struct answer b;

	client_open(&cl, &env, (struct hm_redis_opts){.command_timeout_ms = 300}, "redis://127.0.0.1:%d",
		    s->port);
	l = hm_redis_line_open(cl.r, HM_STR("q"));
	assert_non_null(l);
	assert_false(hm_redis_line_up(l));
	line_ask(l, &b, 0, "BLPOP", "q", "0", NULL);
	RUN_UNTIL(&env, b.calls, 1000);
	assert_int_equal(b.code, HM_EDOWN); /* not up yet: told, not kept */
	hm_redis_line_on_up(l, count_up, &ups);
	RUN_UNTIL(&env, ups == 1, 2000);
	assert_true(hm_redis_line_up(l));
	line_ask(l, &b, 0, "BLPOP", "q", "0", NULL);
	RUN_WHILE(&env, b.calls == 0, 600); /* longer than command_timeout: no limit was asked for */
	ASK(&cl, &an, "RPUSH", "q", "job");
	assert_int_equal(an.i, 1);
	RUN_UNTIL(&env, b.calls, 1000);
	assert_int_equal(b.n, 2);
	/* several at once keep their order */
	line_ask(l, &b, 0, "BLPOP", "q", "0.05", NULL);
	line_ask(l, &an, 0, "PING", NULL);
	RUN_UNTIL(&env, an.calls, 1000);
	assert_int_equal(b.type, HM_REPLY_NIL);
	hm_redis_line_close(l);
	client_close(&cl);
}

static void test_xreadgroup(void **state)
{
	struct server *s = server_start(&env, NULL);
	struct hm_redis_line *l;
	unsigned ups = 0;
	struct answer b;

	client_open(&cl, &env, (struct hm_redis_opts){0}, "unix://%s", s->sock);
	ASK(&cl, &an, "XGROUP", "CREATE", "{hm:0}:q:bulk", "hermod", "0", "MKSTREAM");
	assert_string_equal(an.text, "OK");
	l = hm_redis_line_open(cl.r, HM_STR("{hm:0}:q:bulk"));
	hm_redis_line_on_up(l, count_up, &ups);
	RUN_UNTIL(&env, ups, 2000);
	line_ask(l, &b, 5000, "XREADGROUP", "GROUP", "hermod", "c1", "COUNT", "10", "BLOCK", "4000",
		 "STREAMS", "{hm:0}:q:bulk", ">", NULL);
	RUN_WHILE(&env, b.calls == 0, 30);
	ASK(&cl, &an, "XADD", "{hm:0}:q:bulk", "*", "j", "payload");
	RUN_UNTIL(&env, b.calls, 1000);
	assert_int_equal(b.type, HM_REPLY_ARRAY);
	assert_int_equal(b.n, 1);
	client_close(&cl); /* closes its lines */
}

static void test_line_reconnects(void **state)
{
	struct server *s = server_start(&env, NULL);
	struct hm_redis_line *l;
	unsigned ups = 0;
	struct answer b;

	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%d", s->port);
	l = hm_redis_line_open(cl.r, HM_STR("q"));
	hm_redis_line_on_up(l, count_up, &ups);
	RUN_UNTIL(&env, ups == 1, 2000);
	line_ask(l, &b, 0, "BLPOP", "q", "0", NULL);
	RUN_WHILE(&env, b.calls == 0, 30);
	ASK(&cl, &an, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
	RUN_UNTIL(&env, b.calls, 1000);
	assert_int_equal(b.code, HM_ELOST);
	RUN_UNTIL(&env, ups == 2, 2000);
	line_ask(l, &b, 0, "BLPOP", "q", "0", NULL);
	RUN_WHILE(&env, b.calls == 0, 30);
	server_kill(s);
	RUN_UNTIL(&env, b.calls, 1000);
	assert_int_equal(b.code, HM_ELOST);
	line_ask(l, &b, 0, "BLPOP", "q", "0", NULL);
	RUN_UNTIL(&env, b.calls, 1000);
	assert_int_equal(b.code, HM_EDOWN);
	server_run(s);
	RUN_UNTIL(&env, ups == 3, 5000);
	line_ask(l, &b, 1000, "PING", NULL);
	RUN_UNTIL(&env, b.calls, 1000);
	assert_string_equal(b.text, "PONG");
	hm_redis_line_close(l);
	client_close(&cl);
}

static void test_line_timeout(void **state)
{
	struct server *s = server_start(&env, NULL);
	struct hm_redis_line *l;
	unsigned ups = 0;
	struct answer b;

	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%d", s->port);
	l = hm_redis_line_open(cl.r, HM_STR("q"));
	hm_redis_line_on_up(l, count_up, &ups);
	RUN_UNTIL(&env, ups == 1, 2000);
	line_ask(l, &b, 100, "BLPOP", "q", "0", NULL);
	RUN_UNTIL(&env, b.calls, 1000);
	assert_int_equal(b.code, HM_ETIMEDOUT);
	RUN_UNTIL(&env, ups == 2, 2000); /* a fresh connection: nothing blocks on the old one */
	ASK(&cl, &an, "RPUSH", "q", "kept");
	line_ask(l, &b, 1000, "BLPOP", "q", "0", NULL);
	RUN_UNTIL(&env, b.calls, 1000);
	assert_int_equal(b.n, 2);
	line_ask(l, &b, 0, "BLPOP", "q", "0", NULL);
	RUN_WHILE(&env, b.calls == 0, 20);
	hm_redis_line_close(l);
	assert_int_equal(b.calls, 0);
	RUN_UNTIL(&env, b.calls, 1000);
	assert_int_equal(b.code, HM_ELOST);
	client_close(&cl);
}

static void test_line_demoted(void **state)
{
	struct server *s = server_start(&env, NULL);
	struct hm_redis_line *l;
	unsigned ups = 0;
	struct answer b;
	char port[8];

	snprintf(port, sizeof(port), "%d", free_port());
	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%d", s->port);
	l = hm_redis_line_open(cl.r, HM_STR("q"));
	hm_redis_line_on_up(l, count_up, &ups);
	RUN_UNTIL(&env, ups == 1, 2000);
	line_ask(l, &b, 0, "BLPOP", "q", "0", NULL);
	RUN_WHILE(&env, b.calls == 0, 30);
	ASK(&cl, &an, "REPLICAOF", "127.0.0.1", port);
	RUN_UNTIL(&env, b.calls, 1000);
	assert_int_equal(b.code, HM_EDOWN); /* UNBLOCKED: it was not executed */
	assert_non_null(strstr(b.text, "unblocked"));
	RUN_UNTIL(&env, !hm_redis_line_up(l), 1000);
	client_close(&cl);
}

/* -- scripts ------------------------------------------------------------------ */

static struct hm_redis_script add = {
	.name = "add",
	.source = "return redis.call('INCRBY', KEYS[1], ARGV[1]) + tonumber(ARGV[2])",
};

static void eval(struct answer *a, const char *key, const char *x, const char *y)
{
	struct hm_str k = hm_str_c(key), v[2] = {hm_str_c(x), hm_str_c(y)};

	memset(a, 0, sizeof(*a));
	hm_redis_eval(cl.r, &add, &k, 1, v, 2, on_answer, a);
}

static void test_script(void **state)
{
	struct server *s = server_start(&env, NULL);
	struct answer many[100];

	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%d", s->port);
	eval(&an, "n", "5", "100");
	RUN_UNTIL(&env, an.calls, 2000);
	assert_int_equal(an.code, 0);
	assert_int_equal(an.i, 105);
	assert_int_equal(strlen(add.sha), 40);
	ASK(&cl, &an, "SCRIPT", "EXISTS", add.sha);
	assert_int_equal(an.n, 1);
	ASK(&cl, &an, "SCRIPT", "FLUSH");
	/* a pipeline of them meets NOSCRIPT together; each runs exactly once */
	for (unsigned i = 0; i < 100; i++)
		eval(&many[i], "n", "1", "0");
	RUN_UNTIL(&env, many[99].calls, 2000);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(many[i].calls, 1);
		assert_int_equal(many[i].code, 0);
	}
	ASK(&cl, &an, "GET", "n");
	assert_string_equal(an.text, "105");
	client_close(&cl);
}

static void test_script_errors_and_many_keys(void **state)
{
	static struct hm_redis_script bad = {.name = "bad", .source = "return redis.call('NOSUCH')"},
				      syntax = {.name = "syntax", .source = "return ("},
				      count = {.name = "count", .source = "return #KEYS * 1000 + #ARGV"};
	struct server *s = server_start(&env, NULL);
	struct hm_str keys[50], args[60];

	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%d", s->port);
	memset(&an, 0, sizeof(an));
	hm_redis_eval(cl.r, &bad, NULL, 0, NULL, 0, on_answer, &an);
	RUN_UNTIL(&env, an.calls, 2000);
	assert_int_equal(an.code, HM_EREDIS);
	memset(&an, 0, sizeof(an));
	hm_redis_eval(cl.r, &syntax, NULL, 0, NULL, 0, on_answer, &an);
	RUN_UNTIL(&env, an.calls, 2000);
	assert_int_equal(an.code, HM_EREDIS);
	assert_non_null(strstr(an.text, "compiling script"));
	for (size_t i = 0; i < 60; i++)
		args[i] = HM_STR("a");
	for (size_t i = 0; i < 50; i++)
		keys[i] = HM_STR("k");
	memset(&an, 0, sizeof(an));
	hm_redis_eval(cl.r, &count, keys, 50, args, 60, on_answer, &an);
	RUN_UNTIL(&env, an.calls, 2000);
	assert_int_equal(an.i, 50060);
	client_close(&cl);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_blocking_beside_pipeline),
		T(test_xreadgroup),
		T(test_line_reconnects),
		T(test_line_timeout),
		T(test_line_demoted),
		T(test_script),
		T(test_script_errors_and_many_keys),
	};

	return cmocka_run_group_tests_name("redis/line", tests, NULL, NULL);
}
