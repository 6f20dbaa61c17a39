/* One server: answers, errors, loss and return, limits. */
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
	struct hm_err e = {0};

	assert_int_equal(hm_fault_init("", &e), 0);
	env_fini(&env);
	return 0;
}

static void up(struct client *c)
{
	RUN_UNTIL(&env, c->up, 10000);
}

static void some_commands(struct client *c)
{
	struct answer a;

	ASK(c, &a, "SET", "k", "v1");
	assert_int_equal(a.code, 0);
	assert_int_equal(a.type, HM_REPLY_STATUS);
	assert_string_equal(a.text, "OK");
	ASK(c, &a, "GET", "k");
	assert_int_equal(a.type, HM_REPLY_STR);
	assert_string_equal(a.text, "v1");
	ASK(c, &a, "GET", "none");
	assert_int_equal(a.type, HM_REPLY_NIL);
	ASK(c, &a, "DEL", "n");
	ASK(c, &a, "INCRBY", "n", "-7");
	assert_int_equal(a.type, HM_REPLY_INT);
	assert_int_equal(a.i, -7);
	ASK(c, &a, "DEL", "l");
	ASK(c, &a, "RPUSH", "l", "a", "", "c");
	ASK(c, &a, "LRANGE", "l", "0", "-1");
	assert_int_equal(a.type, HM_REPLY_ARRAY);
	assert_int_equal(a.n, 3);
	ASK(c, &a, "LPUSH", "k", "x");
	assert_int_equal(a.code, HM_EREDIS);
	assert_non_null(strstr(a.text, "WRONGTYPE"));
	ASK(c, &a, "NOSUCH");
	assert_int_equal(a.code, HM_EREDIS);
}

static void test_tcp_and_unix(void **state)
{
	struct server *s = server_start(&env, NULL);

	client_open(&cl, &env, (struct hm_redis_opts){.client_name = HM_STR("hermod-test")},
		    "redis://127.0.0.1:%d", s->port);
	assert_false(hm_redis_is_cluster(cl.r));
	some_commands(&cl); /* sent before the connection is up: they wait for it */
	assert_true(hm_redis_up(cl.r));
	ASK(&cl, &an, "CLIENT", "GETNAME");
	assert_string_equal(an.text, "hermod-test");
	client_close(&cl);
	client_open(&cl, &env, (struct hm_redis_opts){0}, "unix://%s", s->sock);
	some_commands(&cl);
	client_close(&cl);
	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://localhost:%d/", s->port);
	some_commands(&cl);
	client_close(&cl);
}

static void test_sendf(void **state)
{
	struct server *s = server_start(&env, NULL);
	struct hm_str bin = hm_str_n("a b\0c", 5);

	client_open(&cl, &env, (struct hm_redis_opts){0}, "unix://%s", s->sock);
	memset(&an, 0, sizeof(an));
	hm_redis_sendf(cl.r, HM_STR("x"), on_answer, &an, "SET {hm:%d}:%s   %b", (int64_t)-3, "q", bin);
	RUN_UNTIL(&env, an.calls, 5000);
	assert_string_equal(an.text, "OK");
	ASK(&cl, &an, "STRLEN", "{hm:-3}:q");
	assert_int_equal(an.i, 5);
	memset(&an, 0, sizeof(an));
	hm_redis_sendf(cl.r, HM_STR("x"), on_answer, &an, "ECHO 100%%%s", "");
	RUN_UNTIL(&env, an.calls, 5000);
	assert_string_equal(an.text, "100%");
	client_close(&cl);
}

static void test_database(void **state)
{
	struct server *s = server_start(&env, NULL);

	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%d/3", s->port);
	ASK(&cl, &an, "SET", "k", "three");
	client_close(&cl);
	client_open(&cl, &env, (struct hm_redis_opts){0}, "unix://%s?db=3", s->sock);
	ASK(&cl, &an, "GET", "k");
	assert_string_equal(an.text, "three");
	client_close(&cl);
	client_open(&cl, &env, (struct hm_redis_opts){0}, "unix://%s", s->sock);
	ASK(&cl, &an, "GET", "k");
	assert_int_equal(an.type, HM_REPLY_NIL);
	client_close(&cl);
	client_open(&cl, &env, (struct hm_redis_opts){0}, "unix://%s?db=99", s->sock);
	ASK(&cl, &an, "GET", "k");
	assert_int_equal(an.code, HM_EDOWN);
	assert_non_null(strstr(an.text, "cannot use database 99"));
	client_close(&cl);
}

static void test_acl_user(void **state)
{
	struct server *s = server_start(&env, "--user", "hermod", "on", ">s3cret/@", "~*", "&*", "+@all",
					"--user", "default", "off", NULL);
	struct hm_redis_opts o = {.username = HM_STR("hermod"), .password = HM_STR("s3cret/@")};

	client_open(&cl, &env, o, "redis://127.0.0.1:%d", s->port);
	some_commands(&cl);
	ASK(&cl, &an, "ACL", "WHOAMI");
	assert_string_equal(an.text, "hermod");
	client_close(&cl);
	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://hermod:s3cret%%2F%%40@127.0.0.1:%d",
		    s->port);
	some_commands(&cl);
	client_close(&cl);
}

static void test_wrong_password_then_right(void **state)
{
	struct server *s = server_start(&env, "--requirepass", "right", NULL);
	struct client admin;

	client_open(&cl, &env, (struct hm_redis_opts){.password = HM_STR("s3cr3t")}, "redis://127.0.0.1:%d",
		    s->port);
	ASK(&cl, &an, "GET", "k");
	assert_int_equal(an.code, HM_EDOWN);
	assert_non_null(strstr(an.text, "refused user 'default'"));
	assert_null(strstr(an.text, "s3cr3t"));
	RUN_UNTIL(&env, cl.told > 0, 1000);
	assert_false(cl.up);
	assert_int_equal(cl.why.code, HM_EAUTH);
	assert_non_null(strstr(cl.why.text, "wrong password"));
	/* no password at all has its own sentence */
	client_open(&admin, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%d", s->port);
	ASK(&admin, &an, "GET", "k");
	assert_non_null(strstr(an.text, "wants a password"));
	client_close(&admin);
	/* it keeps trying: once the server agrees, it is up */
	client_open(&admin, &env, (struct hm_redis_opts){.password = HM_STR("right")}, "redis://127.0.0.1:%d",
		    s->port);
	ASK(&admin, &an, "CONFIG", "SET", "requirepass", "s3cr3t");
	assert_string_equal(an.text, "OK");
	up(&cl);
	some_commands(&cl);
	client_close(&admin);
	client_close(&cl);
}

static void test_password_withdrawn_while_up(void **state)
{
	struct server *s = server_start(&env, NULL);
	struct client admin;

	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%d", s->port);
	client_open(&admin, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%d", s->port);
	up(&cl);
	up(&admin);
	ASK(&admin, &an, "CONFIG", "SET", "requirepass", "now");
	ASK(&admin, &an, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
	RUN_UNTIL(&env, cl.why.code == HM_EAUTH, 5000);
	assert_non_null(strstr(cl.why.text, "wants a password"));
	ASK(&admin, &an, "CONFIG", "SET", "requirepass", "");
	up(&cl);
	client_close(&admin);
	client_close(&cl);
}

/* -- loss and return ------------------------------------------------------- */

struct tally {
	unsigned ok, lost, down, other, calls;
};

static void on_tally(void *arg, const struct hm_reply *r, const struct hm_err *err)
{
	struct tally *t = arg;

	t->calls++;
	if (r)
		t->ok++;
	else if (err->code == HM_ELOST)
		t->lost++;
	else if (err->code == HM_EDOWN)
		t->down++;
	else
		t->other++;
}

static void send_set(struct client *c, struct tally *t, unsigned i)
{
	char key[32] = "";
	struct hm_str argv[3] = {HM_STR("SET"), hm_str_c(key), HM_STR("value")};

	argv[1].len = (size_t)snprintf(key, sizeof(key), "key:%u", i);
	hm_redis_send(c->r, argv[1], argv, 3, on_tally, t);
}

static void test_killed_and_restarted(void **state)
{
	struct server *s = server_start(&env, NULL);
	struct tally t = {0}, later = {0};

	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%d", s->port);
	up(&cl);
	server_signal(s, SIGSTOP); /* takes what is sent, answers nothing */
	for (unsigned i = 0; i < 1000; i++)
		send_set(&cl, &t, i);
	assert_int_equal(t.calls, 0);
	RUN_WHILE(&env, t.calls == 0, 50);
	server_kill(s);
	RUN_UNTIL(&env, t.calls == 1000, 5000);
	assert_int_equal(t.lost, 1000);
	/* one attempt's worth of hope, then a quick no */
	for (unsigned i = 0; i < 10; i++)
		send_set(&cl, &later, i);
	assert_int_equal(later.calls, 0);
	RUN_UNTIL(&env, later.calls == 10, 2000);
	assert_int_equal(later.down, 10);
	RUN_UNTIL(&env, !cl.up, 1000);
	assert_non_null(strstr(cl.why.text, "connection refused"));
	server_run(s);
	up(&cl);
	some_commands(&cl);
	assert_int_equal(t.calls, 1000);
	client_close(&cl);
}

static void test_short_loss_is_bridged(void **state)
{
	struct server *s = server_start(&env, NULL);
	struct client admin;
	struct tally t = {0};

	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%d", s->port);
	client_open(&admin, &env, (struct hm_redis_opts){0}, "unix://%s", s->sock);
	up(&cl);
	up(&admin);
	ASK(&admin, &an, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
	RUN_UNTIL(&env, !hm_redis_up(cl.r), 1000);
	for (unsigned i = 0; i < 100; i++)
		send_set(&cl, &t, i); /* the server is there: they wait for the new connection */
	RUN_UNTIL(&env, t.calls == 100, 2000);
	assert_int_equal(t.ok, 100);
	client_close(&admin);
	client_close(&cl);
}

static void test_nobody_there(void **state)
{
	uint64_t from = hm_clock_mono_ns();

	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%d", free_port());
	ASK(&cl, &an, "PING");
	assert_int_equal(an.code, HM_EDOWN);
	assert_true(hm_clock_mono_ns() - from < 1000000000u);
	ASK(&cl, &an, "PING");
	assert_int_equal(an.code, HM_EDOWN);
	client_close(&cl);
	client_open(&cl, &env, (struct hm_redis_opts){0}, "unix://%s/none.sock", env.dir);
	ASK(&cl, &an, "PING");
	assert_int_equal(an.code, HM_EDOWN);
	assert_non_null(strstr(an.text, "no such file"));
	client_close(&cl);
}

static void test_timeout_unanswered(void **state)
{
	struct server *s = server_start(&env, NULL);
	struct tally t = {0};

	client_open(&cl, &env, (struct hm_redis_opts){.command_timeout_ms = 200}, "redis://127.0.0.1:%d",
		    s->port);
	up(&cl);
	server_signal(s, SIGSTOP);
	ASK(&cl, &an, "PING");
	assert_int_equal(an.code, HM_ETIMEDOUT);
	RUN_UNTIL(&env, !hm_redis_up(cl.r), 1000); /* silent for the whole limit: given up */
	server_signal(s, SIGCONT);
	up(&cl);
	some_commands(&cl);
	for (unsigned i = 0; i < 10; i++)
		send_set(&cl, &t, i);
	RUN_UNTIL(&env, t.calls == 10, 2000);
	assert_int_equal(t.ok, 10);
	client_close(&cl);
}

/* A late answer goes to nobody, and the next one to the right one. */
static void test_timeout_keeps_order(void **state)
{
	struct server *s = server_start(&env, NULL);
	struct client admin;
	struct answer a[3];

	client_open(&cl, &env, (struct hm_redis_opts){.command_timeout_ms = 300}, "redis://127.0.0.1:%d",
		    s->port);
	client_open(&admin, &env, (struct hm_redis_opts){0}, "unix://%s", s->sock);
	up(&cl);
	up(&admin);
	ASK(&cl, &an, "SET", "r", "read");
	/* writes wait 600 ms, reads are answered: the connection is alive while the write is late */
	ASK(&admin, &an, "CLIENT", "PAUSE", "500", "WRITE");
	ask(&cl, &a[0], "SET", "k", "late", NULL);
	ask(&cl, &a[1], "GET", "r", NULL);
	RUN_UNTIL(&env, a[0].calls && a[1].calls, 5000);
	assert_int_equal(a[0].code, HM_ETIMEDOUT);
	assert_int_equal(a[1].code, HM_ETIMEDOUT);
	ask(&cl, &a[2], "GET", "r", NULL);
	RUN_UNTIL(&env, a[2].calls, 5000);
	ASK(&cl, &an, "GET", "r");
	assert_string_equal(an.text, "read");
	assert_int_equal(a[0].calls, 1);
	assert_int_equal(a[1].calls, 1);
	client_close(&admin);
	client_close(&cl);
}

static void test_close_fails_what_is_pending(void **state)
{
	struct server *s = server_start(&env, NULL);
	struct tally sent = {0}, unsent = {0};

	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%d", s->port);
	up(&cl);
	server_signal(s, SIGSTOP);
	for (unsigned i = 0; i < 100; i++)
		send_set(&cl, &sent, i);
	RUN_WHILE(&env, sent.calls == 0, 20);
	for (unsigned i = 0; i < 100; i++)
		send_set(&cl, &unsent, i);
	hm_redis_close(cl.r, on_client_closed, &cl);
	assert_int_equal(sent.calls + unsent.calls, 0);
	send_set(&cl, &unsent, 0); /* refused, but told */
	RUN_UNTIL(&env, cl.closed, 2000);
	assert_int_equal(sent.lost, 100);
	assert_int_equal(unsent.down, 100);
	assert_int_equal(unsent.other, 1);
}

static void test_close_at_once(void **state)
{
	struct tally t = {0};

	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%d", free_port());
	send_set(&cl, &t, 0);
	client_close(&cl);
	assert_int_equal(t.down, 1);
	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://no.such.host.invalid:%d", 1);
	send_set(&cl, &t, 0);
	RUN_WHILE(&env, true, 20);
	client_close(&cl);
	assert_int_equal(t.down, 2);
}

static void close_inside(void *arg, const struct hm_reply *r, const struct hm_err *err)
{
	struct client *c = arg;

	if (c->told < 1000) {
		c->told = 1000;
		hm_redis_close(c->r, on_client_closed, c);
	}
}

static void test_close_from_a_callback(void **state)
{
	struct server *s = server_start(&env, NULL);
	struct tally t = {0};

	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%d", s->port);
	up(&cl);
	hm_redis_sendf(cl.r, HM_STR_NULL, close_inside, &cl, "PING");
	for (unsigned i = 0; i < 100; i++)
		send_set(&cl, &t, i);
	RUN_UNTIL(&env, cl.closed, 2000);
	assert_int_equal(t.calls, 100);
	/* and from the failure of a lost connection */
	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%d", s->port);
	up(&cl);
	server_signal(s, SIGSTOP);
	hm_redis_sendf(cl.r, HM_STR_NULL, close_inside, &cl, "PING");
	RUN_WHILE(&env, true, 20);
	server_kill(s);
	RUN_UNTIL(&env, cl.closed, 2000);
}

/* -- limits ------------------------------------------------------------------ */

static void test_max_pending(void **state)
{
	struct server *s = server_start(&env, NULL);
	struct tally t = {0};

	client_open(&cl, &env, (struct hm_redis_opts){.max_pending = 10}, "redis://127.0.0.1:%d", s->port);
	for (unsigned i = 0; i < 30; i++)
		send_set(&cl, &t, i); /* while connecting */
	RUN_UNTIL(&env, t.calls == 30, 5000);
	assert_int_equal(t.ok, 10);
	assert_int_equal(t.other, 20);
	memset(&t, 0, sizeof(t));
	for (unsigned i = 0; i < 30; i++)
		send_set(&cl, &t, i);
	RUN_UNTIL(&env, t.calls == 30, 5000);
	assert_int_equal(t.ok, 10);
	client_close(&cl);
}

static char *big(size_t n, char c)
{
	char *p = malloc(n);

	assert_non_null(p);
	memset(p, c, n);
	return p;
}

static void test_big_replies(void **state)
{
	struct server *s = server_start(&env, NULL);
	size_t n = 20u << 20;
	char *p = big(n, 'b');
	struct hm_str argv[3] = {HM_STR("SET"), HM_STR("big"), hm_str_n(p, n)};

	/* megabytes are slow under sanitizers; time limits are not what is tested here */
	client_open(&cl, &env, (struct hm_redis_opts){.command_timeout_ms = 60000}, "redis://127.0.0.1:%d",
		    s->port);
	memset(&an, 0, sizeof(an));
	hm_redis_send(cl.r, argv[1], argv, 3, on_answer, &an);
	RUN_UNTIL(&env, an.calls, 10000);
	assert_string_equal(an.text, "OK");
	ASK(&cl, &an, "GET", "big");
	assert_int_equal(an.len, n);
	ASK(&cl, &an, "EVAL", "local t = {} for i = 1, 200000 do t[i] = {i, tostring(i)} end return t", "0");
	assert_int_equal(an.n, 200000);
	/* a command and a reply beyond the limits */
	argv[2].len = n;
	free(p);
	p = big(33u << 20, 'c');
	argv[2] = hm_str_n(p, 33u << 20);
	memset(&an, 0, sizeof(an));
	hm_redis_send(cl.r, argv[1], argv, 3, on_answer, &an);
	RUN_UNTIL(&env, an.calls, 10000);
	assert_int_equal(an.code, HM_ELIMIT);
	ASK(&cl, &an, "SETRANGE", "big", "67200000", "x");
	ASK(&cl, &an, "GET", "big");
	assert_int_equal(an.code, HM_ELOST);
	assert_non_null(strstr(an.text, "larger than"));
	up(&cl);
	some_commands(&cl);
	free(p);
	client_close(&cl);
}

static void test_deep_reply(void **state)
{
	struct server *s = server_start(&env, NULL);

	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%d", s->port);
	ASK(&cl, &an, "EVAL", "return {{{{{{1}}}}}}", "0");
	assert_int_equal(an.type, HM_REPLY_ARRAY);
	ASK(&cl, &an, "EVAL", "return {{{{{{{{{{1}}}}}}}}}}", "0");
	assert_int_equal(an.code, HM_ELOST);
	assert_non_null(strstr(an.text, "nested"));
	some_commands(&cl);
	client_close(&cl);
}

/* More than the kernel takes at once: the queue drains through back-pressure. */
static void test_megabytes_out(void **state)
{
	struct server *s = server_start(&env, NULL);
	struct tally t = {0};
	char *p = big(100000, 'v');
	struct hm_str argv[3] = {HM_STR("SET"), HM_STR("k"), hm_str_n(p, 100000)};

	client_open(&cl, &env, (struct hm_redis_opts){.command_timeout_ms = 60000}, "unix://%s", s->sock);
	up(&cl);
	server_signal(s, SIGSTOP);
	for (unsigned i = 0; i < 1000; i++)
		hm_redis_send(cl.r, argv[1], argv, 3, on_tally, &t);
	RUN_WHILE(&env, t.calls == 0, 50);
	server_signal(s, SIGCONT);
	RUN_UNTIL(&env, t.calls == 1000, 20000);
	assert_int_equal(t.ok, 1000);
	/* and beyond what a client may hold */
	memset(&t, 0, sizeof(t));
	server_signal(s, SIGSTOP);
	for (unsigned i = 0; i < 3000; i++)
		hm_redis_send(cl.r, argv[1], argv, 3, on_tally, &t);
	RUN_UNTIL(&env, t.other > 100, 2000); /* HM_EAGAIN */
	server_signal(s, SIGCONT);
	RUN_UNTIL(&env, t.calls == 3000, 30000);
	assert_int_equal(t.ok + t.other, 3000);
	assert_true(t.ok > 2500);
	free(p);
	client_close(&cl);
}

static void test_byte_by_byte(void **state)
{
	struct server *s = server_start(&env, NULL);
	struct hm_err e = {0};

	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%d/1", s->port);
	assert_int_equal(hm_fault_init("redis_read:short@1+,redis_write:short@1+", &e), 0);
	some_commands(&cl);
	ASK(&cl, &an, "EVAL", "return {1, {'two', 'three', {}}, false, {ok='fine'}}", "0");
	assert_int_equal(an.n, 4);
	client_close(&cl);
}

static void test_faults_break_the_connection(void **state)
{
	struct server *s = server_start(&env, NULL);
	struct hm_err e = {0};
	struct tally t = {0};

	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%d", s->port);
	up(&cl);
	assert_int_equal(hm_fault_init("redis_read:fail@1", &e), 0);
	send_set(&cl, &t, 1);
	RUN_UNTIL(&env, t.calls == 1, 2000);
	assert_int_equal(t.lost, 1);
	up(&cl);
	assert_int_equal(hm_fault_init("redis_write:fail@1", &e), 0);
	send_set(&cl, &t, 1);
	RUN_UNTIL(&env, t.calls == 2, 2000);
	assert_int_equal(t.ok, 1); /* it had not left: sent on the next connection */
	client_close(&cl);
}

/* -- servers that are not ready --------------------------------------------- */

static void test_loading(void **state)
{
	struct server *s = server_start(&env, "--loading-process-events-interval-bytes", "1024", NULL);
	struct tally t = {0};

	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%d", s->port);
	up(&cl);
	for (unsigned i = 0; i < 2000; i++)
		send_set(&cl, &t, i);
	RUN_UNTIL(&env, t.ok == 2000, 5000);
	ASK(&cl, &an, "SAVE");
	assert_string_equal(an.text, "OK");
	server_kill(s);
	s->extra[2] = "--key-load-delay";
	s->extra[3] = "300";
	s->extra[4] = NULL;
	server_run(s);
	RUN_UNTIL(&env, cl.why.code && strstr(cl.why.text, "is loading its data set"), 5000);
	up(&cl);
	ASK(&cl, &an, "DBSIZE");
	assert_int_equal(an.i, 2000);
	client_close(&cl);
}

static void test_replica_and_promotion(void **state)
{
	struct server *m = server_start(&env, NULL);
	struct server *s = server_start(&env, NULL);
	char port[8];
	struct client admin, mc;

	snprintf(port, sizeof(port), "%d", m->port);
	client_open(&mc, &env, (struct hm_redis_opts){0}, "unix://%s", m->sock);
	up(&mc);
	client_open(&cl, &env, (struct hm_redis_opts){.command_timeout_ms = 10000}, "redis://127.0.0.1:%d",
		    s->port);
	up(&cl);
	ASK(&cl, &an, "REPLICAOF", "127.0.0.1", port);
	assert_string_equal(an.text, "OK");
	/* the next write meets READONLY, the one after a server that says it is a replica */
	ASK(&cl, &an, "SET", "k", "v");
	assert_int_equal(an.code, HM_EDOWN);
	assert_non_null(strstr(an.text, "read-only replica"));
	RUN_UNTIL(&env, !cl.up, 1000);
	client_open(&admin, &env, (struct hm_redis_opts){0}, "unix://%s", s->sock);
	ASK(&admin, &an, "PING");
	assert_int_equal(an.code, HM_EDOWN);
	client_close(&admin);
	/* promoted by its operator: up again */
	{
		char cmd[300];

		snprintf(cmd, sizeof(cmd), "redis-cli -s %s replicaof no one > /dev/null", s->sock);
		assert_int_equal(system(cmd), 0);
	}
	up(&cl);
	ASK(&cl, &an, "SET", "k", "v");
	assert_string_equal(an.text, "OK");
	client_close(&mc);
	client_close(&cl);
}

static void test_wrong_kind_of_server(void **state)
{
	struct server *s = server_start(&env, "--cluster-enabled", "yes", NULL);
	struct server *p = server_start(&env, NULL);

	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%d", s->port);
	ASK(&cl, &an, "PING");
	assert_int_equal(an.code, HM_EDOWN);
	assert_non_null(strstr(an.text, "write redis+cluster://"));
	client_close(&cl);
	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis+cluster://127.0.0.1:%d", p->port);
	RUN_UNTIL(&env, cl.told, 5000);
	assert_int_equal(cl.why.code, HM_ECONFIG);
	assert_non_null(strstr(cl.why.text, "is not part of a cluster"));
	client_close(&cl);
}

static void test_out_of_memory_error(void **state)
{
	struct server *s = server_start(&env, "--maxmemory", "1mb", "--maxmemory-policy", "noeviction", NULL);
	char *p = big(2u << 20, 'x');
	struct hm_str argv[3] = {HM_STR("SET"), HM_STR("k"), hm_str_n(p, 2u << 20)};

	client_open(&cl, &env, (struct hm_redis_opts){0}, "unix://%s", s->sock);
	memset(&an, 0, sizeof(an));
	hm_redis_send(cl.r, argv[1], argv, 3, on_answer, &an);
	RUN_UNTIL(&env, an.calls, 5000);
	ASK(&cl, &an, "SET", "k2", "v");
	assert_int_equal(an.code, HM_EREDIS);
	assert_true(strncmp(an.text, "OOM ", 4) == 0);
	assert_true(hm_redis_up(cl.r));
	free(p);
	client_close(&cl);
}

static void test_too_many_clients(void **state)
{
	struct server *s = server_start(&env, "--maxclients", "1", NULL);
	struct client second;

	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%d", s->port);
	up(&cl);
	client_open(&second, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%d", s->port);
	ASK(&second, &an, "PING");
	assert_int_equal(an.code, HM_EDOWN);
	assert_non_null(strstr(an.text, "max number of clients"));
	client_close(&cl);
	up(&second);
	client_close(&second);
}

/* Memory fails once, at each place in turn: everything is still told, nothing leaks, the client goes on. */
static void test_allocations_fail(void **state)
{
	struct server *s = server_start(&env, NULL);
	struct hm_redis_opts o = {.command_timeout_ms = 2000};
	struct hm_err e = {0};
	char url[128], spec[32];
	unsigned failed = 0;

	snprintf(url, sizeof(url), "unix://%s", s->sock);
	o.url = hm_str_c(url);
	for (unsigned n = 1; n <= 40; n++) {
		struct tally t = {0};
		struct hm_redis_line *l;

		snprintf(spec, sizeof(spec), "alloc:fail@%u", n);
		assert_int_equal(hm_fault_init(spec, &e), 0);
		memset(&cl, 0, sizeof(cl));
		cl.e = &env;
		if (hm_redis_new(&env.tick, &o, &cl.r, &e) != 0) {
			assert_int_equal(e.code, HM_ENOMEM);
			failed++;
			continue;
		}
		hm_redis_on_state(cl.r, on_client_state, &cl);
		l = hm_redis_line_open(cl.r, HM_STR("k"));
		for (unsigned i = 0; i < 500; i++)
			send_set(&cl, &t, i);
		RUN_UNTIL(&env, t.calls == 500, 8000);
		failed += t.ok < 500;
		up(&cl);
		assert_int_equal(hm_fault_init("", &e), 0);
		some_commands(&cl);
		if (l)
			hm_redis_line_close(l);
		client_close(&cl);
	}
	assert_true(failed > 0);
}

static void test_bad_options(void **state)
{
	struct hm_redis_opts o = {.url = HM_STR("http://x")};
	struct hm_redis *r;
	struct hm_err e = {0};

	assert_int_equal(hm_redis_new(&env.tick, &o, &r, &e), HM_ECONFIG);
	assert_non_null(strstr(e.text, "must start with redis://"));
	o = (struct hm_redis_opts){.url = HM_STR("redis://x"), .client_name = HM_STR("a b")};
	assert_int_equal(hm_redis_new(&env.tick, &o, &r, &e), HM_ECONFIG);
	o = (struct hm_redis_opts){
		.url = HM_STR("rediss://x"), .ca_file = HM_STR("/none.pem"), .tls_verify = true};
	assert_true(hm_redis_new(&env.tick, &o, &r, &e) < 0);
	assert_non_null(strstr(e.text, "/none.pem"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_tcp_and_unix),
		T(test_sendf),
		T(test_database),
		T(test_acl_user),
		T(test_wrong_password_then_right),
		T(test_password_withdrawn_while_up),
		T(test_killed_and_restarted),
		T(test_short_loss_is_bridged),
		T(test_nobody_there),
		T(test_timeout_unanswered),
		T(test_timeout_keeps_order),
		T(test_close_fails_what_is_pending),
		T(test_close_at_once),
		T(test_close_from_a_callback),
		T(test_max_pending),
		T(test_big_replies),
		T(test_deep_reply),
		T(test_megabytes_out),
		T(test_byte_by_byte),
		T(test_faults_break_the_connection),
		T(test_loading),
		T(test_replica_and_promotion),
		T(test_wrong_kind_of_server),
		T(test_out_of_memory_error),
		T(test_too_many_clients),
		T(test_allocations_fail),
		T(test_bad_options),
	};

	return cmocka_run_group_tests_name("redis/single", tests, NULL, NULL);
}
