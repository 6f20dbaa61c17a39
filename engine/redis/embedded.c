/*
 * embedded.c - redis-server as a child: spawn, wait, watch, start again, stop
 *
 *   spawn ─▶ running ── exits ──▶ waiting (backoff) ─▶ spawn ...
 *               │ stop                 │ stop
 *               ▼                      ▼
 *            SIGTERM ─▶ reaped ────▶ on_stopped
 *
 * The child's end is seen through a pidfd in the loop, so no SIGCHLD handler is
 * needed and no pid can be confused with a later one.
 */
#include "redis/embedded.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "redis/redis.h"

#define EMBEDDED_MAGIC	 0x656d6264u
#define NS_PER_MS	 1000000u
#define BACKOFF_MIN_MS	 100
#define BACKOFF_MAX_MS	 5000
#define STABLE_NS	 (10000ull * NS_PER_MS) /* alive this long: the next death starts at BACKOFF_MIN_MS */
#define DEFAULT_START_MS 60000
#define DEFAULT_STOP_MS	 10000
#define LOG_KEEP_BYTES	 (16 << 20)
#define SOCKET_WAIT_MS	 10
#define LOCK_WAIT_MS	 50
#define LOCK_TRIES	 200 /* 10 s: more than a server needs to write out and end */
#define EXIT_LOCKED	 111 /* the child found the lock taken */

struct hm_embedded {
	uint32_t magic;
	struct hm_tick *tick;
	char dir[4096], binary[4096], appendfsync[16];
	char sock[108], url[128];
	uint64_t maxmemory;
	pid_t pid; /* 0 while down */
	int pidfd;
	uv_poll_t poll; /* on pidfd; open from spawn until the child is reaped */
	bool poll_open, starting, stopping;
	int status; /* of the last child, as waitpid gives it */
	bool died;
	uint64_t spawned_ns, restarts;
	uint32_t backoff_ms;
	struct hm_timer timer; /* start limit, restart, or SIGKILL while stopping */
	struct hm_timer beat;  /* looks at the lock again */
	void (*on_stopped)(void *arg);
	void *stopped_arg;
	/* while starting */
	bool up, timed_out, pinger_closed;
};

/* -- files --------------------------------------------------------------- */

static int make_dir(const char *path, struct hm_err *e)
{
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return 0;
	return hm_err_set(e, HM_EIO, "cannot make the directory %s: %s", path, strerror(errno));
}

static void rotate_log(const struct hm_embedded *em)
{
	char path[sizeof(em->dir) + 16], old[sizeof(em->dir) + 16];
	struct stat st;

	snprintf(path, sizeof(path), "%s/redis.log", em->dir);
	snprintf(old, sizeof(old), "%s/redis.log.1", em->dir);
	if (stat(path, &st) == 0 && st.st_size > LOG_KEEP_BYTES)
		rename(path, old);
}

static int open_file(const struct hm_embedded *em, const char *name, int flags, struct hm_err *e)
{
	char path[sizeof(em->dir) + 16];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", em->dir, name);
	fd = open(path, flags | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return hm_err_set(e, HM_EIO, "cannot open %s: %s", path, strerror(errno));
	return fd;
}

/* The last thing the server said, without its "pid:role date" prefix. */
static void last_words(const struct hm_embedded *em, char *out, size_t cap)
{
	char tail[600];
	struct hm_err e;
	struct hm_str rest, line, last = HM_STR_NULL;
	ssize_t n;
	off_t size;
	ptrdiff_t mark;
	int fd = open_file(em, "redis.log", O_RDONLY, &e);

	out[0] = '\0';
	if (fd < 0)
		return;
	size = lseek(fd, 0, SEEK_END);
	n = pread(fd, tail, sizeof(tail), size > (off_t)sizeof(tail) ? size - (off_t)sizeof(tail) : 0);
	close(fd);
	if (n <= 0)
		return;
	rest = hm_str_n(tail, (size_t)n);
	while (hm_str_split(&rest, '\n', &line))
		if (hm_str_trim(line).len > 0)
			last = hm_str_trim(line);
	mark = hm_str_find(last, HM_STR(" # "));
	if (mark < 0)
		mark = hm_str_find(last, HM_STR(" * "));
	if (mark >= 0)
		last = hm_str_n(last.p + mark + 3, last.len - (size_t)mark - 3);
	snprintf(out, cap, "%.*s", HM_STRF(last));
}

/* PATH is searched here and not in the child, for the sake of the sentence. */
static int find_binary(struct hm_str name, char *out, size_t cap, struct hm_err *e)
{
	const char *path = getenv("PATH");
	struct hm_str dirs = hm_str_c(path ? path : "/usr/local/bin:/usr/bin:/bin"), dir;

	if (name.len == 0)
		name = HM_STR("redis-server");
	if (hm_str_chr(name, '/') >= 0) {
		snprintf(out, cap, "%.*s", HM_STRF(name));
		if (access(out, X_OK) == 0)
			return 0;
		return hm_err_set(e, HM_ECONFIG, "cannot run %s: %s", out, strerror(errno));
	}
	while (hm_str_split(&dirs, ':', &dir)) {
		snprintf(out, cap, "%.*s/%.*s", HM_STRF(dir), HM_STRF(name));
		if (access(out, X_OK) == 0)
			return 0;
	}
	return hm_err_set(
		e, HM_ECONFIG,
		"the program %.*s was not found; install Debian's package redis-server, or set redis.url "
		"to a server of yours",
		HM_STRF(name));
}

/* -- spawn --------------------------------------------------------------- */

/* Between fork and exec: async-signal-safe calls only. */
static void become_server(const struct hm_embedded *em, char *const *argv, pid_t parent, int log, int lock,
			  int report)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t none;
	int err;
	ssize_t n;

	setsid(); /* Ctrl-C in the terminal is for Hermod, which then stops its server in order */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent) /* died before prctl */
		_exit(0);
	for (int s = 1; s < NSIG; s++)
		sigaction(s, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (fcntl(lock, F_SETLK, &fl) != 0)
		_exit(EXIT_LOCKED);
	dup2(log, 1);
	dup2(log, 2);
	close_range(3, ~0u, CLOSE_RANGE_CLOEXEC); /* whatever a library left open */
	fcntl(lock, F_SETFD, 0);		  /* must survive exec: closing it would drop the lock */
	execv(em->binary, argv);
	err = errno;
	n = write(report, &err, sizeof(err));
	_exit(n > 0 ? 127 : 126);
}

static void on_exit_seen(uv_poll_t *h, int status, int events);

static int watch(struct hm_embedded *em, struct hm_err *e)
{
	em->pidfd = pidfd_open(em->pid, 0);
	if (em->pidfd < 0 || fcntl(em->pidfd, F_SETFD, FD_CLOEXEC) != 0)
		return hm_err_set(e, HM_EIO, "cannot watch the redis-server process: %s", strerror(errno));
	uv_poll_init(em->tick->loop, &em->poll, em->pidfd);
	em->poll.data = em;
	em->poll_open = true;
	uv_poll_start(&em->poll, UV_READABLE, on_exit_seen);
	return 0;
}

/* Reads what the child could not say otherwise: the errno of exec. */
static int read_report(int fd)
{
	int err = 0;
	ssize_t n;

	do {
		n = read(fd, &err, sizeof(err));
	} while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(err) ? err : 0;
}

static int fork_server(struct hm_embedded *em, int log, int lock, struct hm_err *e)
{
	char maxmemory[24];
	char dir[sizeof(em->dir)], sock[sizeof(em->sock)], fsync_mode[sizeof(em->appendfsync)],
		binary[sizeof(em->binary)];
	char *argv[] = {
		binary,	    "--port",	   "0",	      "--unixsocket",	    sock,	  "--unixsocketperm",
		"700",	    "--dir",	   dir,	      "--appendonly",	    "yes",	  "--appendfsync",
		fsync_mode, "--save",	   "",	      "--daemonize",	    "no",	  "--logfile",
		"",	    "--maxmemory", maxmemory, "--maxmemory-policy", "noeviction", NULL};
	pid_t parent = getpid();
	int report[2], err;

	/* argv is char *: copies, so that nothing const is cast away */
	memcpy(binary, em->binary, sizeof(binary));
	memcpy(dir, em->dir, sizeof(dir));
	memcpy(sock, em->sock, sizeof(sock));
	memcpy(fsync_mode, em->appendfsync, sizeof(fsync_mode));
	snprintf(maxmemory, sizeof(maxmemory), "%llu", (unsigned long long)em->maxmemory);
	if (pipe2(report, O_CLOEXEC) != 0)
		return hm_err_set(e, HM_EIO, "cannot start redis-server: %s", strerror(errno));
	em->pid = fork();
	if (em->pid < 0) {
		em->pid = 0;
		err = errno;
		close(report[0]);
		close(report[1]);
		return hm_err_set(e, HM_EIO, "cannot start redis-server: %s", strerror(err));
	}
	if (em->pid == 0)
		become_server(em, argv, parent, log, lock, report[1]);
	close(report[1]);
	err = read_report(report[0]);
	close(report[0]);
	if (err) {
		waitpid(em->pid, NULL, 0);
		em->pid = 0;
		return hm_err_set(e, HM_EIO, "cannot run %s: %s", em->binary, strerror(err));
	}
	return 0;
}

static int spawn(struct hm_embedded *em, struct hm_err *e)
{
	int log, lock, rc;

	rotate_log(em);
	log = open_file(em, "redis.log", O_WRONLY | O_APPEND, e);
	if (log < 0)
		return log;
	lock = open_file(em, "lock", O_RDWR, e);
	if (lock < 0) {
		close(log);
		return lock;
	}
	rc = fork_server(em, log, lock, e);
	close(log);
	close(lock);
	if (rc < 0)
		return rc;
	em->died = false;
	em->spawned_ns = em->tick->now_ns;
	rc = watch(em, e);
	if (rc < 0) {
		kill(em->pid, SIGKILL);
		waitpid(em->pid, NULL, 0);
		em->pid = 0;
	}
	return rc;
}

/* The process that holds the lock, 0 when none does. */
static pid_t lock_holder(const struct hm_embedded *em)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct hm_err e;
	int fd = open_file(em, "lock", O_RDWR, &e);
	pid_t pid = 0;

	if (fd < 0)
		return 0;
	if (fcntl(fd, F_GETLK, &fl) == 0 && fl.l_type != F_UNLCK)
		pid = fl.l_pid;
	close(fd);
	return pid;
}

/* -- the child ends ------------------------------------------------------ */

static void free_embedded(struct hm_embedded *em)
{
	HM_MAGIC_CLEAR(em);
	free(em);
}

static void stopped(struct hm_embedded *em)
{
	void (*fn)(void *) = em->on_stopped;
	void *arg = em->stopped_arg;

	hm_timer_stop(em->tick, &em->timer);
	free_embedded(em);
	if (fn)
		fn(arg);
}

static void describe_exit(int status, char *out, size_t cap)
{
	if (WIFSIGNALED(status))
		snprintf(out, cap, "was killed by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(out, cap, "exited with status %d", WEXITSTATUS(status));
}

static void schedule_restart(struct hm_embedded *em)
{
	if (em->tick->now_ns - em->spawned_ns > STABLE_NS)
		em->backoff_ms = BACKOFF_MIN_MS;
	hm_timer_start(em->tick, &em->timer, em->backoff_ms);
	em->backoff_ms = hm_min(em->backoff_ms * 2, (uint32_t)BACKOFF_MAX_MS);
}

static void on_poll_closed(uv_handle_t *h)
{
	struct hm_embedded *em = h->data;
	char how[80], words[200];

	HM_CHECK(em, EMBEDDED_MAGIC);
	hm_tick_refresh(em->tick);
	em->poll_open = false;
	close(em->pidfd);
	em->pidfd = -1;
	em->died = true;
	if (em->stopping) {
		stopped(em);
		return;
	}
	if (em->starting)
		return; /* hm_embedded_start looks at died */
	describe_exit(em->status, how, sizeof(how));
	last_words(em, words, sizeof(words));
	HM_ERROR(REDIS, "embedded server died", HM_S("how", how), HM_S("last", words),
		 HM_U("retry_ms", em->backoff_ms));
	schedule_restart(em);
}

static void on_exit_seen(uv_poll_t *h, int status, int events)
{
	struct hm_embedded *em = h->data;
	pid_t pid;

	HM_CHECK(em, EMBEDDED_MAGIC);
	do {
		pid = waitpid(em->pid, &em->status, WNOHANG);
	} while (pid < 0 && errno == EINTR);
	if (pid == 0)
		return; /* not yet */
	if (pid < 0)
		em->status = 0; /* reaped by somebody else: gone all the same */
	em->pid = 0;		/* from here on the number may be somebody else's */
	uv_poll_stop(&em->poll);
	uv_close((uv_handle_t *)&em->poll, on_poll_closed);
}

static void on_timer(struct hm_timer *t)
{
	struct hm_embedded *em = hm_container_of(t, struct hm_embedded, timer);
	struct hm_err e = {0};

	HM_CHECK(em, EMBEDDED_MAGIC);
	if (em->stopping) {
		if (em->pid == 0) { /* between two lives of the server */
			if (!em->poll_open)
				stopped(em);
			return;
		}
		HM_WARN(REDIS, "embedded server does not stop, killing it", HM_I("pid", em->pid));
		kill(em->pid, SIGKILL);
		return;
	}
	if (spawn(em, &e) < 0) {
		HM_ERROR(REDIS, "embedded server cannot be started", HM_E(&e),
			 HM_U("retry_ms", em->backoff_ms));
		schedule_restart(em);
		return;
	}
	em->restarts++;
	HM_WARN(REDIS, "embedded server started again", HM_I("pid", em->pid), HM_U("restarts", em->restarts));
}

/* -- start ---------------------------------------------------------------- */

static void on_start_timeout(struct hm_timer *t)
{
	hm_container_of(t, struct hm_embedded, timer)->timed_out = true;
}

static void on_beat(struct hm_timer *t)
{
	/* its waking the loop is the point */
}

static void on_pinger_state(void *arg, bool up, const struct hm_err *why)
{
	struct hm_embedded *em = arg;

	em->up = up;
	uv_stop(em->tick->loop); /* told from a flush, after which the loop would block: run_once must return */
}

static void on_pinger_closed(void *arg)
{
	struct hm_embedded *em = arg;

	em->pinger_closed = true;
	uv_stop(em->tick->loop);
}

static int copy_options(struct hm_embedded *em, const struct hm_embedded_opts *o, struct hm_err *e)
{
	struct hm_str fsync_mode = o->appendfsync.len ? o->appendfsync : HM_STR("everysec");
	char data[sizeof(em->dir)], real[sizeof(em->dir)];
	int rc;

	if (!hm_str_is(fsync_mode, "everysec") && !hm_str_is(fsync_mode, "always") &&
	    !hm_str_is(fsync_mode, "no"))
		return hm_err_set(e, HM_ECONFIG, "appendfsync must be everysec, always or no, not \"%.*s\"",
				  HM_STRF(fsync_mode));
	snprintf(em->appendfsync, sizeof(em->appendfsync), "%.*s", HM_STRF(fsync_mode));
	em->maxmemory = o->maxmemory;
	if (o->data_dir.len == 0 || o->data_dir.len >= sizeof(data) - 8)
		return hm_err_set(e, HM_ECONFIG, "the embedded Redis needs a data directory");
	snprintf(data, sizeof(data), "%.*s", HM_STRF(o->data_dir));
	if ((rc = make_dir(data, e)) < 0)
		return rc;
	if (realpath(data, real) == NULL)
		return hm_err_set(e, HM_EIO, "cannot use %s: %s", data, strerror(errno));
	if (strlen(real) > sizeof(em->sock) - sizeof("/redis/redis.sock"))
		return hm_err_set(e, HM_ECONFIG,
				  "the data directory %s is too deep: its path may have %zu bytes, so that "
				  "the embedded "
				  "Redis can have a socket in it",
				  real, sizeof(em->sock) - sizeof("/redis/redis.sock"));
	snprintf(em->sock, sizeof(em->sock), "%.90s/redis/redis.sock", real);
	snprintf(em->dir, sizeof(em->dir), "%.90s/redis", real);
	snprintf(em->url, sizeof(em->url), "unix://%s", em->sock);
	if ((rc = make_dir(em->dir, e)) < 0)
		return rc;
	return find_binary(o->binary, em->binary, sizeof(em->binary), e);
}

static void run_once(struct hm_embedded *em)
{
	uv_run(em->tick->loop, UV_RUN_ONCE);
	hm_tick_refresh(em->tick);
}

/* A server of a process that died a moment ago may still write its AOF out: it is waited for. */
static int wait_for_lock(struct hm_embedded *em, struct hm_err *e)
{
	pid_t holder;

	hm_timer_init(&em->beat, on_beat);
	for (int i = 0; (holder = lock_holder(em)) != 0 && i < LOCK_TRIES && !em->timed_out; i++) {
		hm_timer_start(em->tick, &em->beat, LOCK_WAIT_MS);
		run_once(em);
	}
	hm_timer_stop(em->tick, &em->beat);
	if (holder)
		return hm_err_set(e, HM_EEXIST, "the redis-server with pid %d still uses %s", (int)holder,
				  em->dir);
	return 0;
}

static int wait_until_up(struct hm_embedded *em, struct hm_err *e)
{
	struct hm_redis_opts o = {.url = hm_str_c(em->url), .client_name = HM_STR("hermod-start")};
	struct hm_redis *pinger;
	char how[80], words[160];
	int rc;

	/* Knocking before there is a door would only put a warning into the log of every start. */
	for (hm_timer_init(&em->beat, on_beat); access(em->sock, F_OK) != 0 && !em->died && !em->timed_out;) {
		hm_timer_start(em->tick, &em->beat, SOCKET_WAIT_MS);
		run_once(em);
	}
	hm_timer_stop(em->tick, &em->beat);
	rc = hm_redis_new(em->tick, &o, &pinger, e);
	if (rc < 0)
		return rc;
	hm_redis_on_state(pinger, on_pinger_state, em);
	while (!em->up && !em->died && !em->timed_out)
		run_once(em);
	if (!em->up && em->died) {
		describe_exit(em->status, how, sizeof(how));
		last_words(em, words, sizeof(words));
		if (WEXITSTATUS(em->status) == EXIT_LOCKED)
			snprintf(words, sizeof(words), "another one uses its directory");
		rc = hm_err_set(e, HM_EDOWN, "the embedded redis-server %s%s%s", how, words[0] ? ": " : "",
				words);
	} else if (!em->up) {
		rc = hm_err_set(e, HM_ETIMEDOUT,
				"the embedded redis-server is not ready in time, see %s/redis.log", em->dir);
	}
	hm_redis_close(pinger, on_pinger_closed, em);
	while (!em->pinger_closed)
		run_once(em);
	return rc;
}

static void on_abandoned(void *arg)
{
	*(bool *)arg = true;
}

int hm_embedded_start(struct hm_tick *t, const struct hm_embedded_opts *o, uint32_t timeout_ms,
		      struct hm_embedded **r, struct hm_err *e)
{
	struct hm_embedded *em = calloc(1, sizeof(*em));
	uint64_t from;
	int rc;

	HM_CHECK(t, HM_TICK_MAGIC);
	if (em == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory for the embedded Redis");
	HM_MAGIC_SET(em, EMBEDDED_MAGIC);
	em->tick = t;
	em->pidfd = -1;
	em->backoff_ms = BACKOFF_MIN_MS;
	em->starting = true;
	rc = copy_options(em, o, e);
	if (rc < 0) {
		free_embedded(em);
		return rc;
	}
	hm_tick_refresh(t);
	from = t->now_ns;
	hm_timer_init(&em->timer, on_start_timeout);
	hm_timer_start(t, &em->timer, timeout_ms ? timeout_ms : DEFAULT_START_MS);
	rc = wait_for_lock(em, e);
	if (rc == 0)
		rc = spawn(em, e);
	if (rc == 0)
		rc = wait_until_up(em, e);
	hm_timer_stop(t, &em->timer);
	em->timer.fn = on_timer;
	em->starting = false;
	if (rc < 0) {
		bool gone = false;

		hm_embedded_stop(em, DEFAULT_STOP_MS, on_abandoned, &gone);
		while (!gone)
			uv_run(t->loop, UV_RUN_ONCE);
		return rc;
	}
	if (em->died) /* right after its first answer */
		schedule_restart(em);
	HM_INFO(REDIS, "embedded server up", HM_I("pid", em->pid), HM_S("socket", em->sock),
		HM_U("ms", (t->now_ns - from) / NS_PER_MS));
	*r = em;
	return 0;
}

struct hm_str hm_embedded_url(const struct hm_embedded *em)
{
	HM_CHECK(em, EMBEDDED_MAGIC);
	return hm_str_c(em->url);
}

int hm_embedded_pid(const struct hm_embedded *em)
{
	HM_CHECK(em, EMBEDDED_MAGIC);
	return em->pid;
}

uint64_t hm_embedded_restarts(const struct hm_embedded *em)
{
	HM_CHECK(em, EMBEDDED_MAGIC);
	return em->restarts;
}

void hm_embedded_stop(struct hm_embedded *em, uint32_t timeout_ms, void (*on_stopped)(void *arg), void *arg)
{
	HM_CHECK(em, EMBEDDED_MAGIC);
	hm_assert(!em->stopping);
	em->stopping = true;
	em->on_stopped = on_stopped;
	em->stopped_arg = arg;
	if (em->pid > 0)
		kill(em->pid, SIGTERM);
	hm_timer_start(em->tick, &em->timer, em->pid > 0 ? (timeout_ms ? timeout_ms : DEFAULT_STOP_MS) : 0);
}
