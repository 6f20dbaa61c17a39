/* Redis Cluster of real servers: routing, redirects, migration, failover. */
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

/* -- a cluster ----------------------------------------------------------------- */

/* Runs redis-cli against one node; returns its output, trimmed. */
static const char *cli(const struct server *s, const char *fmt, ...) HM_PRINTF(2, 3);
static const char *cli(const struct server *s, const char *fmt, ...)
{
	static char out[8192];
	char cmd[1024], args[900];
	size_t n;
	va_list ap;
	FILE *f;

	va_start(ap, fmt);
	vsnprintf(args, sizeof(args), fmt, ap);
	va_end(ap);
	snprintf(cmd, sizeof(cmd), "redis-cli -p %d %s 2>&1", s->port, args);
	f = popen(cmd, "r");
	assert_non_null(f);
	n = fread(out, 1, sizeof(out) - 1, f);
	while (n > 0 && (out[n - 1] == '\n' || out[n - 1] == '\r'))
		n--;
	out[n] = '\0';
	pclose(f);
	return out;
}

static bool all_say(unsigned n, const char *cmd, const char *expected)
{
	for (unsigned i = 0; i < n; i++)
		if (env.servers[i].pid > 0 && !strstr(cli(&env.servers[i], "%s", cmd), expected))
			return false;
	return true;
}

static bool replicas_in_step(unsigned n)
{
	unsigned in_step = 0;

	for (unsigned i = 0; i < n; i++)
		in_step += strstr(cli(&env.servers[i], "info replication"), "master_link_status:up") != NULL;
	return in_step == n / 2;
}

static void cluster_start(unsigned nodes, unsigned replicas)
{
	char cmd[600];
	size_t len = 0;

	for (unsigned i = 0; i < nodes; i++)
		server_start(&env, "--cluster-enabled", "yes", "--cluster-node-timeout", "1000",
			     "--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0",
			     NULL);
	len = (size_t)snprintf(cmd, sizeof(cmd), "redis-cli --cluster create");
	for (unsigned i = 0; i < nodes; i++)
		len += (size_t)snprintf(cmd + len, sizeof(cmd) - len, " 127.0.0.1:%d", env.servers[i].port);
	snprintf(cmd + len, sizeof(cmd) - len, " --cluster-replicas %u --cluster-yes > %s/create.log",
		 replicas, env.dir);
	assert_int_equal(system(cmd), 0);
	RUN_UNTIL(&env, all_say(nodes, "cluster info", "cluster_state:ok"), 20000);
	if (replicas) /* every replica in step, so that any of them may take over */
		RUN_UNTIL(&env, replicas_in_step(nodes), 20000);
}

static void open_client(uint32_t limit_ms)
{
	client_open(&cl, &env, (struct hm_redis_opts){.command_timeout_ms = limit_ms, .max_pending = 10000},
		    "redis+cluster://127.0.0.1:%d,127.0.0.1:%d", env.servers[0].port, env.servers[1].port);
}

static bool is_master(const struct server *s)
{
	return s->pid > 0 && strstr(cli(s, "role"), "master") != NULL;
}

static struct server *owner_of(const char *key)
{
	for (unsigned i = 0; i < env.n; i++) {
		struct server *s = &env.servers[i];

		if (s->pid > 0 && !strstr(cli(s, "get %s", key), "MOVED") && is_master(s))
			return s;
	}
	fail_msg("nobody owns %s", key);
	return NULL;
}

static struct server *another_master(const struct server *than)
{
	for (unsigned i = 0; i < env.n; i++)
		if (&env.servers[i] != than && is_master(&env.servers[i]))
			return &env.servers[i];
	fail_msg("no other master");
	return NULL;
}

/* -- tests ---------------------------------------------------------------------- */

static void test_routing(void **state)
{
	struct answer a[300];
	char key[300][16];
	static struct hm_redis_script get = {.name = "get", .source = "return redis.call('GET', KEYS[1])"};
	struct hm_str k = HM_STR("{tag}x");
	unsigned spread = 0;

	cluster_start(3, 0);
	open_client(5000);
	assert_true(hm_redis_is_cluster(cl.r));
	for (unsigned i = 0; i < 300; i++) { /* before anything is known */
		snprintf(key[i], sizeof(key[i]), "k%u", i);
		ask(&cl, &a[i], "SET", key[i], key[i], NULL);
	}
	for (unsigned i = 0; i < 300; i++) {
		RUN_UNTIL(&env, a[i].calls, 5000);
		assert_int_equal(a[i].code, 0);
	}
	RUN_UNTIL(&env, cl.up, 1000);
	for (unsigned i = 0; i < 300; i++) {
		ASK(&cl, &an, "GET", key[i]);
		assert_string_equal(an.text, key[i]);
	}
	for (unsigned i = 0; i < 3; i++)
		spread += atoi(cli(&env.servers[i], "dbsize")) > 50;
	assert_int_equal(spread, 3);
	ASK(&cl, &an, "MSET", "{tag}x", "1", "{tag}y", "2");
	assert_string_equal(an.text, "OK");
	memset(&an, 0, sizeof(an));
	hm_redis_eval(cl.r, &get, &k, 1, NULL, 0, on_answer, &an);
	RUN_UNTIL(&env, an.calls, 5000);
	assert_string_equal(an.text, "1");
	memset(&an, 0, sizeof(an));
	hm_redis_sendf(cl.r, HM_STR_NULL, on_answer, &an, "PING"); /* any node */
	RUN_UNTIL(&env, an.calls, 5000);
	assert_string_equal(an.text, "PONG");
	ASK(&cl, &an, "MGET", "a", "b");
	assert_int_equal(an.code, HM_EREDIS);
	assert_non_null(strstr(an.text, "CROSSSLOT"));
	client_close(&cl);
	/* the first seed is dead: the second will do */
	server_kill(&env.servers[0]);
	open_client(5000);
	RUN_UNTIL(&env, cl.told, 10000);
	server_run(&env.servers[0]);
	RUN_UNTIL(&env, cl.up, 10000);
	ASK(&cl, &an, "SET", "back", "1");
	assert_string_equal(an.text, "OK");
	client_close(&cl);
}

static char id_a[64], id_b[64];

static void test_migration(void **state)
{
	struct server *a, *b;
	struct answer x, y;
	struct hm_redis_line *l;
	int slot = hm_redis_slot(HM_STR("{m}"));

	cluster_start(3, 0);
	open_client(8000);
	ASK(&cl, &an, "SET", "{m}1", "one");
	ASK(&cl, &an, "SET", "{m}2", "two");
	a = owner_of("{m}1");
	b = another_master(a);
	snprintf(id_a, sizeof(id_a), "%s", cli(a, "cluster myid"));
	snprintf(id_b, sizeof(id_b), "%s", cli(b, "cluster myid"));
	l = hm_redis_line_open(cl.r, HM_STR("{m}q"));
	RUN_UNTIL(&env, hm_redis_line_up(l), 5000);
	assert_string_equal(cli(b, "cluster setslot %d importing %s", slot, id_a), "OK");
	assert_string_equal(cli(a, "cluster setslot %d migrating %s", slot, id_b), "OK");
	/* what is there is served, what is not is asked of the importing node */
	ASK(&cl, &an, "GET", "{m}1");
	assert_string_equal(an.text, "one");
	ASK(&cl, &an, "SET", "{m}3", "three");
	assert_string_equal(an.text, "OK");
	assert_string_equal(cli(b, "cluster countkeysinslot %d", slot), "1");
	ASK(&cl, &an, "GET", "{m}3");
	assert_string_equal(an.text, "three");
	/* a line follows ASK: it is told, reconnects, and then its answer comes from there */
	{
		const struct hm_str argv[] = {HM_STR_INIT("BLPOP"), HM_STR_INIT("{m}q"), HM_STR_INIT("5")};

		memset(&x, 0, sizeof(x));
		hm_redis_line_send(l, argv, 3, 6000, on_answer, &x);
		RUN_UNTIL(&env, x.calls, 2000);
		assert_int_equal(x.code, HM_EDOWN);
		RUN_UNTIL(&env, hm_redis_line_up(l), 5000);
		memset(&x, 0, sizeof(x));
		hm_redis_line_send(l, argv, 3, 6000, on_answer, &x);
		RUN_WHILE(&env, x.calls == 0, 50);
		ASK(&cl, &an, "RPUSH", "{m}q", "job");
		assert_int_equal(an.i, 1);
		RUN_UNTIL(&env, x.calls, 2000);
		assert_int_equal(x.code, 0);
		assert_int_equal(x.n, 2);
	}
	/* keys on both sides: TRYAGAIN goes round until they are together */
	cli(a, "migrate 127.0.0.1 %d {m}1 0 1000", b->port);
	ask(&cl, &y, "MGET", "{m}1", "{m}2", NULL);
	RUN_WHILE(&env, y.calls == 0, 200);
	cli(a, "migrate 127.0.0.1 %d {m}2 0 1000", b->port);
	RUN_UNTIL(&env, y.calls, 5000);
	assert_int_equal(y.code, 0);
	assert_int_equal(y.n, 2);
	for (unsigned i = 0; i < 3; i++)
		cli(&env.servers[i], "cluster setslot %d node %s", slot, id_b);
	/* MOVED */
	ASK(&cl, &an, "GET", "{m}1");
	assert_string_equal(an.text, "one");
	ASK(&cl, &an, "SET", "{m}4", "four");
	assert_string_equal(an.text, "OK");
	assert_true(owner_of("{m}4") == b);
	assert_true(hm_stats_sum(HM_CT_REDIS_REDIRECTS) > 0);
	assert_true(hm_redis_up(cl.r));
	hm_redis_line_close(l);
	client_close(&cl);
}

static void test_cluster_down(void **state)
{
	struct server *dead;
	struct answer p;

	cluster_start(3, 0);
	open_client(3000);
	ASK(&cl, &an, "SET", "k", "v");
	dead = owner_of("k");
	RUN_UNTIL(&env, cl.up, 5000);
	server_kill(dead);
	RUN_UNTIL(&env, !hm_redis_up(cl.r), 2000);
	ASK(&cl, &an, "GET", "k"); /* nobody takes over: told when the time is up */
	assert_int_equal(an.code, HM_EDOWN);
	RUN_UNTIL(&env, !cl.up, 1000);
	RUN_UNTIL(&env, all_say(3, "cluster info", "cluster_state:fail"), 10000);
	/* the others refuse too now (CLUSTERDOWN); what waits is served when the node is back */
	ask(&cl, &p, "GET", "other", NULL);
	RUN_WHILE(&env, p.calls == 0, 100);
	server_run(dead);
	RUN_UNTIL(&env, p.calls, 5000);
	RUN_UNTIL(&env, cl.up, 10000);
	ASK(&cl, &an, "SET", "k", "v2");
	assert_string_equal(an.text, "OK");
	client_close(&cl);
}

/* -- failover ------------------------------------------------------------------- */

#define TAGS	30u
#define BATCH	10u	 /* RPUSHes and a WAIT */
#define MAX_IDS 4000000u /* while a master is away its commands fail at once, and a fast build makes many */

enum fate { NONE, PUSHED, SAFE, LOST, DOWN };
static struct {
	uint8_t fate[MAX_IDS], told[MAX_IDS];
	unsigned tag_of[MAX_IDS];
	unsigned ids, open, other, waits;
	bool go;
} f;
struct batch {
	unsigned tag, first, left;
};
static struct batch batches[TAGS];

static void next_batch(struct batch *b);

static struct hm_str key_of(unsigned tag, char out[32])
{
	return hm_str_n(out, (size_t)snprintf(out, 32, "{t%u}:list", tag));
}

static void on_waited(void *arg, const struct hm_reply *r, const struct hm_err *err)
{
	struct batch *b = arg;

	f.open--;
	if (r && r->i >= 1) {
		f.waits++;
		for (unsigned id = b->first; id < b->first + BATCH; id++)
			if (f.fate[id] == PUSHED)
				f.fate[id] = SAFE;
	}
	if (f.go)
		next_batch(b);
}

static void on_pushed(void *arg, const struct hm_reply *r, const struct hm_err *err)
{
	uintptr_t id = (uintptr_t)arg;
	struct batch *b = &batches[f.tag_of[id]];
	char key[32];

	f.open--;
	f.told[id]++;
	if (r)
		f.fate[id] = PUSHED;
	else if (err->code == HM_ELOST || err->code == HM_ETIMEDOUT)
		f.fate[id] = LOST;
	else if (err->code == HM_EDOWN)
		f.fate[id] = DOWN;
	else {
		f.other++;
		print_message("unexpected: %d %s\n", err->code, err->text);
	}
	if (--b->left > 0)
		return;
	/* WAIT has no key, so nobody would send it on: only when every push has found its node */
	f.open++;
	hm_redis_sendf(cl.r, key_of(b->tag, key), on_waited, b, "WAIT 1 500");
}

static void next_batch(struct batch *b)
{
	char key[32];
	struct hm_str k = key_of(b->tag, key);

	if (f.ids + BATCH > MAX_IDS)
		return;
	b->first = f.ids;
	b->left = BATCH;
	for (unsigned i = 0; i < BATCH; i++) {
		f.tag_of[f.ids] = b->tag;
		f.open++;
		hm_redis_sendf(cl.r, k, on_pushed, (void *)(uintptr_t)f.ids, "RPUSH %b %d", k,
			       (int64_t)f.ids);
		f.ids++;
	}
}

static uint8_t found[MAX_IDS];

static void on_list(void *arg, const struct hm_reply *r, const struct hm_err *err)
{
	bool *done = arg;
	uint64_t id;

	*done = true;
	assert_null(err);
	for (size_t i = 0; i < r->n; i++) {
		assert_true(hm_str_u64(r->v[i].s, &id) && id < MAX_IDS);
		found[id]++;
	}
}

static void test_failover_while_sending(void **state)
{
	struct server *dead = NULL;
	unsigned safe = 0, pushed = 0, lost = 0, down = 0, before;
	struct hm_redis_line *l;
	uint64_t since;

	cluster_start(6, 1);
	open_client(15000);
	RUN_UNTIL(&env, cl.up, 5000);
	for (unsigned i = 0; i < 3 && !dead; i++)
		if (is_master(&env.servers[i]))
			dead = &env.servers[i];
	l = hm_redis_line_open(cl.r, HM_STR("{t1}:list"));
	f.go = true;
	for (unsigned t = 0; t < TAGS; t++) {
		batches[t].tag = t;
		next_batch(&batches[t]);
	}
	RUN_UNTIL(&env, f.waits > 300, 20000);
	server_kill(dead);
	since = hm_clock_mono_ns();
	RUN_UNTIL(&env, !cl.up, 5000);
	RUN_UNTIL(&env, cl.up, 20000); /* the replica took over */
	print_message("failover seen after %llu ms\n",
		      (unsigned long long)(hm_clock_mono_ns() - since) / 1000000u);
	before = f.waits;
	RUN_UNTIL(&env, f.waits > before + 300, 20000);
	RUN_UNTIL(&env, hm_redis_line_up(l), 5000);
	f.go = false;
	RUN_UNTIL(&env, f.open == 0, 20000);
	for (unsigned t = 0; t < TAGS; t++) {
		char key[32];
		bool done = false;

		snprintf(key, sizeof(key), "{t%u}:list", t);
		hm_redis_sendf(cl.r, hm_str_c(key), on_list, &done, "LRANGE %s 0 -1", key);
		RUN_UNTIL(&env, done, 5000);
	}
	for (unsigned id = 0; id < f.ids; id++) {
		assert_int_equal(f.told[id], 1); /* no callback lost or doubled */
		assert_true(found[id] <= 1);	 /* nothing was sent twice */
		safe += f.fate[id] == SAFE;
		pushed += f.fate[id] == PUSHED;
		lost += f.fate[id] == LOST;
		down += f.fate[id] == DOWN;
		if (f.fate[id] == SAFE)
			assert_int_equal(found[id], 1); /* acknowledged by master and replica: there */
		if (f.fate[id] == DOWN)
			assert_int_equal(found[id], 0); /* "certainly not executed" */
	}
	print_message("%u commands: %u safe, %u answered but not replicated, %u lost, %u down\n", f.ids, safe,
		      pushed, lost, down);
	assert_int_equal(f.other, 0);
	assert_int_equal(down, 0); /* the others waited for the new master */
	assert_true(lost <= TAGS * BATCH);
	/* the old master comes back as a replica: nothing breaks */
	server_run(dead);
	RUN_UNTIL(&env, strstr(cli(dead, "role"), "slave") != NULL, 20000);
	for (unsigned t = 0; t < TAGS; t++) {
		char key[32];

		snprintf(key, sizeof(key), "{t%u}:list", t);
		ASK(&cl, &an, "LLEN", key);
		assert_int_equal(an.code, 0);
	}
	hm_redis_line_close(l);
	client_close(&cl);
}

static void test_manual_failover(void **state)
{
	struct answer a[200];
	struct server *replica = NULL;
	char key[200][16];

	cluster_start(6, 1);
	open_client(10000);
	RUN_UNTIL(&env, cl.up, 5000);
	for (unsigned i = 0; i < 6 && !replica; i++)
		if (!is_master(&env.servers[i]))
			replica = &env.servers[i];
	assert_non_null(replica);
	assert_string_equal(cli(replica, "cluster failover"), "OK");
	for (unsigned i = 0; i < 200; i++) {
		snprintf(key[i], sizeof(key[i]), "k%u", i);
		ask(&cl, &a[i], "SET", key[i], "v", NULL);
		uv_run(&env.loop, UV_RUN_ONCE);
	}
	for (unsigned i = 0; i < 200; i++) {
		RUN_UNTIL(&env, a[i].calls, 12000);
		assert_int_equal(a[i].code, 0); /* nothing lost: the old master sends them on */
	}
	/* A server gives a manual failover up after five seconds, as it may on a busy machine; then it is asked again. */
	for (unsigned tries = 0; tries < 6 && !is_master(replica); tries++) {
		uint64_t end = uv_hrtime() + UINT64_C(6000000000);

		if (tries)
			(void)cli(replica, "cluster failover");
		while (uv_hrtime() < end && !is_master(replica))
			uv_run(&env.loop, UV_RUN_NOWAIT);
	}
	assert_true(is_master(replica));
	client_close(&cl);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_routing),	 T(test_migration),
		T(test_cluster_down),	 T(test_failover_while_sending),
		T(test_manual_failover),
	};

	return cmocka_run_group_tests_name("redis/cluster", tests, NULL, NULL);
}
