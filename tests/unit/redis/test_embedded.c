/* redis-server as a child: start, death and return, stop, orphans, locks. */
#include "env.h"

#include "redis/embedded.h"

static struct env env;
static struct client cl;
static struct answer an;
static struct hm_embedded *em;
static bool stopped;

static int setup(void **state)
{
	env_init(&env);
	stopped = false;
	return 0;
}

static int teardown(void **state)
{
	env_fini(&env);
	return 0;
}

static struct hm_embedded_opts opts(void)
{
	return (struct hm_embedded_opts){.data_dir = hm_str_c(env.dir), .appendfsync = HM_STR("always")};
}

static void start(void)
{
	struct hm_embedded_opts o = opts();
	struct hm_err e = {0};

	if (hm_embedded_start(&env.tick, &o, 10000, &em, &e) != 0)
		fail_msg("%s", e.text);
	assert_true(hm_embedded_pid(em) > 0);
}

static void on_stopped(void *arg)
{
	stopped = true;
}

static void stop(void)
{
	stopped = false;
	hm_embedded_stop(em, 5000, on_stopped, NULL);
	RUN_UNTIL(&env, stopped, 10000);
}

static void open_client(void)
{
	client_open(&cl, &env, (struct hm_redis_opts){0}, "%.*s", HM_STRF(hm_embedded_url(em)));
}

static bool in_log(const char *text)
{
	char path[200], buf[32768];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/redis/redis.log", env.dir);
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(buf, 1, sizeof(buf) - 1, f);
	buf[n] = '\0';
	fclose(f);
	return strstr(buf, text) != NULL;
}

static void test_start_stop_data_survives(void **state)
{
	int pid;

	start();
	pid = hm_embedded_pid(em);
	open_client();
	ASK(&cl, &an, "SET", "k", "kept");
	assert_string_equal(an.text, "OK");
	ASK(&cl, &an, "CONFIG", "GET", "port");
	assert_int_equal(an.n, 2);
	client_close(&cl);
	stop();
	assert_int_equal(kill(pid, 0), -1);
	assert_true(in_log("ready to accept connections"));
	assert_true(in_log("bye bye")); /* ended in order, not killed */
	start();
	open_client();
	ASK(&cl, &an, "GET", "k");
	assert_string_equal(an.text, "kept");
	client_close(&cl);
	stop();
}

static void test_killed_comes_back(void **state)
{
	int pid;

	start();
	open_client();
	ASK(&cl, &an, "SET", "k", "1");
	for (int i = 1; i <= 2; i++) {
		pid = hm_embedded_pid(em);
		kill(pid, SIGKILL);
		RUN_UNTIL(&env, hm_embedded_pid(em) > 0 && hm_embedded_pid(em) != pid, 10000);
		assert_int_equal(hm_embedded_restarts(em), i);
		RUN_UNTIL(&env, hm_redis_up(cl.r), 10000);
		ASK(&cl, &an, "INCR", "k");
		assert_int_equal(an.i, 1 + i); /* what was acknowledged is there */
	}
	client_close(&cl);
	stop();
}

static void test_stop_between_two_lives(void **state)
{
	start();
	kill(hm_embedded_pid(em), SIGKILL);
	RUN_UNTIL(&env, hm_embedded_pid(em) == 0, 5000);
	stop();
	start();
	kill(hm_embedded_pid(em), SIGKILL);
	stop(); /* before the death was noticed */
}

static void test_stop_kills_what_hangs(void **state)
{
	start();
	kill(hm_embedded_pid(em), SIGSTOP);
	stopped = false;
	hm_embedded_stop(em, 100, on_stopped, NULL);
	RUN_UNTIL(&env, stopped, 5000);
}

static void test_two_on_one_directory(void **state)
{
	struct hm_embedded_opts o = opts();
	struct hm_embedded *second;
	struct hm_err e = {0};

	start();
	open_client();
	assert_int_equal(hm_embedded_start(&env.tick, &o, 300, &second, &e), HM_EEXIST);
	assert_non_null(strstr(e.text, "still uses"));
	ASK(&cl, &an, "PING"); /* the first one was not disturbed */
	assert_string_equal(an.text, "PONG");
	assert_int_equal(hm_embedded_restarts(em), 0);
	client_close(&cl);
	stop();
}

/* kill -9 of the owner: its server writes out and ends; the next one finds everything. */
static void test_no_orphan(void **state)
{
	int fds[2], status;
	pid_t owner, server, got;
	ssize_t n;

	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	assert_int_equal(pipe(fds), 0);
	owner = fork();
	if (owner == 0) {
		struct env mine;
		struct hm_embedded_opts o = opts();
		struct hm_err e = {0};

		memset(&mine, 0, sizeof(mine));
		uv_loop_init(&mine.loop);
		if (hm_tick_init(&mine.tick, &mine.loop) != 0 ||
		    hm_embedded_start(&mine.tick, &o, 10000, &em, &e) != 0)
			_exit(1);
		server = hm_embedded_pid(em);
		n = write(fds[1], &server, sizeof(server));
		for (;;)
			pause();
	}
	n = read(fds[0], &server, sizeof(server));
	assert_int_equal(n, sizeof(server));
	assert_int_equal(kill(server, 0), 0);
	kill(owner, SIGKILL);
	assert_int_equal(waitpid(owner, &status, 0), owner);
	got = waitpid(server, &status, 0); /* now our child; does not return if it lived on */
	assert_int_equal(got, server);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close(fds[0]);
	close(fds[1]);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
	start();
	stop();
}

static void refused(struct hm_embedded_opts o, int code, const char *words)
{
	struct hm_err e = {0};

	assert_int_equal(hm_embedded_start(&env.tick, &o, 3000, &em, &e), code);
	if (!strstr(e.text, words))
		fail_msg("\"%s\" lacks \"%s\"", e.text, words);
}

static void test_sentences(void **state)
{
	struct hm_embedded_opts o = opts();
	char deep[200], path[300];
	int fd;

	o.binary = HM_STR("no-such-redis");
	refused(o, HM_ECONFIG, "install Debian's package redis-server");
	o.binary = HM_STR("/no/such/redis");
	refused(o, HM_ECONFIG, "cannot run /no/such/redis");
	o.binary = HM_STR("/etc/passwd");
	refused(o, HM_ECONFIG, "cannot run /etc/passwd");
	o = opts();
	o.appendfsync = HM_STR("sometimes");
	refused(o, HM_ECONFIG, "everysec, always or no");
	o = opts();
	snprintf(deep, sizeof(deep), "%s/%090d", env.dir, 1);
	o.data_dir = hm_str_c(deep);
	refused(o, HM_ECONFIG, "too deep");
	o.data_dir = HM_STR("/proc/hermod");
	refused(o, HM_EIO, "cannot make the directory");
	/* a damaged AOF: the server says why it ends, and so do we */
	start();
	stop();
	snprintf(path, sizeof(path), "%s/redis/appendonlydir/appendonly.aof.manifest", env.dir);
	fd = open(path, O_WRONLY | O_TRUNC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "nonsense\n", 9), 9);
	close(fd);
	refused(opts(), HM_EDOWN, "exited with status 1: ");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_start_stop_data_survives),
		T(test_killed_comes_back),
		T(test_stop_between_two_lives),
		T(test_stop_kills_what_hangs),
		T(test_two_on_one_directory),
		T(test_no_orphan),
		T(test_sentences),
	};

	return cmocka_run_group_tests_name("redis/embedded", tests, NULL, NULL);
}
