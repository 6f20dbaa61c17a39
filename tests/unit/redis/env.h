/*
 * env.h - what the Redis tests share: a loop, a temporary directory, real servers
 *
 * Servers are started on free ports or unix sockets below the directory and die
 * with the test program (PDEATHSIG) or at env_fini, whichever comes first. Nothing
 * sleeps: RUN_UNTIL turns the loop until a condition holds or a limit passed.
 * Header only, because a test is one program of one file.
 */
#ifndef HM_TEST_REDIS_ENV_H
#define HM_TEST_REDIS_ENV_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "redis/redis.h"

#define ENV_SERVERS 8
#define UNUSED_FN   __attribute__((unused)) static

struct server {
	pid_t pid;
	int port;
	char sock[108], dir[96];
	const char *extra[40];
};
struct env {
	uv_loop_t loop;
	struct hm_tick tick;
	uv_timer_t beat; /* wakes the loop, so that RUN_UNTIL can look at its clock */
	char dir[64];
	struct server servers[ENV_SERVERS];
	unsigned n;
};

static void on_beat(uv_timer_t *t)
{
}

UNUSED_FN void env_init(struct env *e)
{
	struct hm_err err = {0};
	const char *level = getenv("HM_TEST_LOG");

	memset(e, 0, sizeof(*e));
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(hm_log_set_levels(hm_str_c(level ? level : "error"), &err), 0);
	snprintf(e->dir, sizeof(e->dir), "/tmp/hm-redis-XXXXXX");
	assert_non_null(mkdtemp(e->dir));
	assert_int_equal(uv_loop_init(&e->loop), 0);
	assert_int_equal(hm_tick_init(&e->tick, &e->loop), 0);
	uv_timer_init(&e->loop, &e->beat);
	uv_timer_start(&e->beat, on_beat, 5, 5);
}

#define RUN_UNTIL(e, cond, ms)                                                                         \
	do {                                                                                           \
		uint64_t until_ = hm_clock_mono_ns() + (uint64_t)(ms)*1000000u;                        \
		while (!(cond)) {                                                                      \
			if (hm_clock_mono_ns() > until_)                                               \
				fail_msg("%s:%d: not within %d ms: %s", __FILE__, __LINE__, (int)(ms), \
					 #cond);                                                       \
			uv_run(&(e)->loop, UV_RUN_ONCE);                                               \
		}                                                                                      \
	} while (0)
/* The opposite: cond must keep holding for ms. */
#define RUN_WHILE(e, cond, ms)                                                  \
	do {                                                                    \
		uint64_t until_ = hm_clock_mono_ns() + (uint64_t)(ms)*1000000u; \
		while (hm_clock_mono_ns() < until_) {                           \
			assert_true(cond);                                      \
			uv_run(&(e)->loop, UV_RUN_ONCE);                        \
		}                                                               \
	} while (0)

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

UNUSED_FN void server_signal(struct server *s, int sig)
{
	if (s->pid > 0)
		kill(s->pid, sig);
}

UNUSED_FN void server_kill(struct server *s)
{
	if (s->pid <= 0)
		return;
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	s->pid = 0;
}

UNUSED_FN void env_fini(struct env *e)
{
	for (unsigned i = 0; i < e->n; i++)
		server_kill(&e->servers[i]);
	uv_close((uv_handle_t *)&e->beat, NULL);
	hm_tick_close(&e->tick);
	while (uv_run(&e->loop, UV_RUN_DEFAULT))
		;
	hm_tick_fini(&e->tick);
	assert_int_equal(uv_loop_close(&e->loop), 0);
	nftw(e->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static bool bind_port(int port, int *port_r)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	bool ok;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	ok = bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
	     getsockname(fd, (struct sockaddr *)&a, &len) == 0;
	*port_r = ntohs(a.sin_port);
	close(fd);
	return ok;
}

/* A port that is free, and with it the cluster bus port 10,000 above. */
UNUSED_FN int free_port(void)
{
	static unsigned seed;
	int got;

	if (seed == 0)
		seed = (unsigned)getpid() ^ (unsigned)hm_clock_mono_ns();
	for (int i = 0; i < 1000; i++) {
		int port = 11000 + rand_r(&seed) % 11000; /* below the ephemeral range, also +10000 */

		if (bind_port(port, &got) && bind_port(port + 10000, &got))
			return port;
	}
	fail_msg("no free port");
	return 0;
}

/* (Re)starts the server with its own directory, port and socket. */
UNUSED_FN void server_run(struct server *s)
{
	char port[8], log[128];
	const char *argv[64] = {"redis-server",
				"--port",
				port,
				"--unixsocket",
				s->sock,
				"--dir",
				s->dir,
				"--save",
				"",
				"--logfile",
				log,
				"--bind",
				"127.0.0.1",
				"--enable-debug-command",
				"yes",
				"--protected-mode",
				"no"};
	size_t n = 17;

	snprintf(port, sizeof(port), "%d", s->port);
	snprintf(log, sizeof(log), "%s/log", s->dir);
	for (size_t i = 0; s->extra[i]; i++)
		argv[n++] = s->extra[i];
	argv[n] = NULL;
	s->pid = fork();
	assert_true(s->pid >= 0);
	if (s->pid == 0) {
		union {
			const char **c;
			char *const *v;
		} u = {.c = argv};
		int null = open("/dev/null", O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, 1);
		dup2(null, 2);
		execvp("redis-server", u.v);
		_exit(127);
	}
}

/* Until it listens; a server that loads still answers LOADING after this. False when it ended instead. */
UNUSED_FN bool server_wait(struct server *s)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool up = false;

	memcpy(a.sun_path, s->sock, sizeof(s->sock));
	for (int i = 0; !up && i < 10000; i++) {
		up = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
		if (!up && waitpid(s->pid, NULL, WNOHANG) != 0) {
			s->pid = 0;
			break;
		}
		if (!up)
			poll(NULL, 0, 2);
	}
	close(fd);
	return up;
}

/* extra: NULL-terminated options, e.g. "--requirepass", "x". */
UNUSED_FN struct server *server_start(struct env *e, ...)
{
	struct server *s = &e->servers[e->n];
	va_list ap;
	size_t n = 0;

	assert_true(e->n < ENV_SERVERS);
	snprintf(s->dir, sizeof(s->dir), "%s/s%u", e->dir, e->n);
	snprintf(s->sock, sizeof(s->sock), "%s/s%u/s", e->dir, e->n);
	assert_int_equal(mkdir(s->dir, 0700), 0);
	va_start(ap, e);
	while (n + 1 < hm_countof(s->extra) && (s->extra[n] = va_arg(ap, const char *)) != NULL)
		n++;
	va_end(ap);
	e->n++;
	for (int i = 0; i < 5; i++) { /* somebody else may take the port between our look and its bind */
		s->port = free_port();
		server_run(s);
		if (server_wait(s))
			return s;
	}
	fail_msg("redis-server did not start, see %s/log", s->dir);
	return s;
}

/* -- a client and its answers ---------------------------------------------- */

struct client {
	struct env *e;
	struct hm_redis *r;
	char url[300];
	bool up, closed;
	unsigned told;
	struct hm_err why;
};

static void on_client_state(void *arg, bool up, const struct hm_err *why)
{
	struct client *c = arg;

	c->up = up;
	c->told++;
	if (why)
		c->why = *why;
}

static void on_client_closed(void *arg)
{
	struct client *c = arg;

	c->closed = true;
}

/* o may carry anything but the url. */
UNUSED_FN void client_open(struct client *c, struct env *e, struct hm_redis_opts o, const char *fmt, ...)
	HM_PRINTF(4, 5);
UNUSED_FN void client_open(struct client *c, struct env *e, struct hm_redis_opts o, const char *fmt, ...)
{
	struct hm_err err = {0};
	va_list ap;

	memset(c, 0, sizeof(*c));
	c->e = e;
	va_start(ap, fmt);
	vsnprintf(c->url, sizeof(c->url), fmt, ap);
	va_end(ap);
	o.url = hm_str_c(c->url);
	if (hm_redis_new(&e->tick, &o, &c->r, &err) != 0)
		fail_msg("hm_redis_new: %s", err.text);
	hm_redis_on_state(c->r, on_client_state, c);
}

UNUSED_FN void client_close(struct client *c)
{
	hm_redis_close(c->r, on_client_closed, c);
	RUN_UNTIL(c->e, c->closed, 5000);
}

struct answer {
	unsigned calls;
	int code; /* hm_err */
	char text[400];
	enum hm_reply_type type;
	int64_t i;
	size_t n, len;
};

static void on_answer(void *arg, const struct hm_reply *r, const struct hm_err *err)
{
	struct answer *a = arg;

	a->calls++;
	a->text[0] = '\0';
	assert_true((r == NULL) == (err != NULL));
	if (err) {
		a->code = err->code;
		snprintf(a->text, sizeof(a->text), "%s", err->text);
		return;
	}
	a->code = 0;
	a->type = r->type;
	a->i = r->i;
	a->n = r->n;
	a->len = r->s.len;
	snprintf(a->text, sizeof(a->text), "%.*s", HM_STRF(r->s));
}

/* Words end with NULL; the second is the key. Does not wait. */
UNUSED_FN void ask(struct client *c, struct answer *a, ...)
{
	struct hm_str argv[32];
	const char *w;
	size_t n = 0;
	va_list ap;

	memset(a, 0, sizeof(*a));
	va_start(ap, a);
	while ((w = va_arg(ap, const char *)) != NULL)
		argv[n++] = hm_str_c(w);
	va_end(ap);
	hm_redis_send(c->r, n > 1 ? argv[1] : HM_STR_NULL, argv, n, on_answer, a);
	assert_int_equal(a->calls, 0); /* never from inside send */
}

#define ASK(c, a, ...)                                    \
	do {                                              \
		ask((c), (a), __VA_ARGS__, NULL);         \
		RUN_UNTIL((c)->e, (a)->calls > 0, 15000); \
	} while (0)

#endif
