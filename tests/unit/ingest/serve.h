/*
 * serve.h - the HTTP server on a thread of its own, with a real Redis and a real ledger,
 * and a blocking client that sends exactly the bytes it is given
 *
 * Header only, because a test is one program of one file.
 */
#ifndef HM_TEST_INGEST_SERVE_H
#define HM_TEST_INGEST_SERVE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "ingest/api_key.h"
#include "ingest/http_server.h"
#include "ingest/job.h"

#define UNUSED_FN __attribute__((unused)) static

struct serve {
	char dir[64], sock[100], url[128];
	pid_t redis_pid;
	struct hm_config *cfg;
	pthread_t thread;
	sem_t up, done;
	bool ready;
	uint16_t port;
	/* the thread's */
	uv_loop_t loop;
	struct hm_tick tick;
	struct hm_mailbox mb;
	uv_async_t stop;
	struct hm_redis *redis;
	struct hm_ledger *ledger;
	struct hm_ledger_writer *writer;
	struct hm_http_shared *shared;
	struct hm_http_server *server;
	uv_timer_t wait;
	int closing_handles;
	int drain_first; /* the stop signal drains only */
	redisContext *rc;
};

static void report_fail(void *arg, const struct hm_err *e)
{
	fail_msg("configuration: %s", e->text);
}

UNUSED_FN int remove_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
	return remove(path);
}

/* -- Redis ---------------------------------------------------------------------- */

UNUSED_FN void redis_start(struct serve *s)
{
	pid_t parent = getpid();

	unlink(s->sock);
	s->redis_pid = fork();
	assert_true(s->redis_pid >= 0);
	if (s->redis_pid == 0) {
		int null = open("/dev/null", O_WRONLY);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		dup2(null, 1);
		dup2(null, 2);
		execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", s->sock, "--save", "",
		       "--appendonly", "no", "--dir", s->dir, (char *)NULL);
		_exit(127);
	}
	for (int i = 0; i < 1000; i++) {
		s->rc = redisConnectUnix(s->sock);
		if (s->rc && !s->rc->err)
			return;
		redisFree(s->rc);
		s->rc = NULL;
		poll(NULL, 0, 10); /* until the child listens */
	}
	fail_msg("redis-server does not start");
}

UNUSED_FN void redis_stop(struct serve *s)
{
	redisFree(s->rc);
	s->rc = NULL;
	kill(s->redis_pid, SIGKILL);
	waitpid(s->redis_pid, NULL, 0);
	s->redis_pid = 0;
}

UNUSED_FN redisReply *redis(struct serve *s, const char *fmt, ...)
{
	redisReply *r;
	va_list ap;

	va_start(ap, fmt);
	r = redisvCommand(s->rc, fmt, ap);
	va_end(ap);
	assert_non_null(r);
	if (r->type == REDIS_REPLY_ERROR)
		fail_msg("redis: %s", r->str);
	return r;
}

/* -- the server's thread ----------------------------------------------------------- */

static bool known(void *arg, enum hm_http_name what, struct hm_str name, struct hm_err *e)
{
	return what == HM_HTTP_TEMPLATE ? !hm_str_is(name, "missing") : !hm_str_starts(name, HM_STR("no"));
}

static void metrics(void *arg, struct hm_buf *out)
{
	hm_buf_lit(out, "# HELP x_total Numbers.\n# TYPE x_total counter\nx_total 1\n");
}

static void on_mail_durable(void *arg, uint64_t ticket)
{
}

static void on_redis_closed(void *arg)
{
	struct serve *s = arg;

	hm_mailbox_close(&s->mb);
	hm_tick_close(&s->tick);
}

static void on_wait(uv_timer_t *t)
{
	struct serve *s = t->data;

	if (s->writer && hm_ledger_backlog(s->writer))
		return;
	uv_close((uv_handle_t *)&s->wait, NULL);
	uv_close((uv_handle_t *)&s->stop, NULL);
	if (s->writer)
		hm_ledger_writer_close(s->writer);
	hm_redis_close(s->redis, on_redis_closed, s);
}

static void on_server_closed(void *arg)
{
	struct serve *s = arg;

	s->server = NULL;
	uv_timer_start(&s->wait, on_wait, 0, 2);
}

static void on_stop(uv_async_t *a)
{
	struct serve *s = a->data;

	if (s->drain_first) {
		s->drain_first = 0;
		hm_http_server_drain(s->server);
		sem_post(&s->done);
		return;
	}
	hm_http_server_close(s->server, 2000, on_server_closed, s);
}

static void on_redis_state(void *arg, bool up, const struct hm_err *why)
{
	struct serve *s = arg;

	if (up && !s->ready) {
		s->ready = true;
		sem_post(&s->up);
	}
}

static void *serve_thread(void *arg)
{
	struct serve *s = arg;
	struct hm_redis_opts ro = {.url = hm_str_c(s->url),
				   .connect_timeout_ms = 2000,
				   .command_timeout_ms = 2000,
				   .max_pending = 100000,
				   .client_name = HM_STR("http-test")};
	struct hm_ledger_opts lo = {.batch_wait_us = 500};
	struct hm_http_deps deps = {0};
	struct hm_err e = {0};
	char ledger[100];

	(void)snprintf(ledger, sizeof(ledger), "%s/ledger", s->dir);
	lo.dir = hm_str_c(ledger);
	hm_assert(uv_loop_init(&s->loop) == 0 && hm_tick_init(&s->tick, &s->loop) == 0);
	hm_assert(hm_mailbox_init(&s->mb, &s->tick, s) == 0);
	uv_async_init(&s->loop, &s->stop, on_stop);
	uv_timer_init(&s->loop, &s->wait);
	s->stop.data = s->wait.data = s;
	if (hm_redis_new(&s->tick, &ro, &s->redis, &e) || hm_ledger_open(&lo, &s->ledger, &e))
		hm_panic(__FILE__, __LINE__, __func__, "%s", e.text);
	hm_redis_on_state(s->redis, on_redis_state, s);
	s->writer = hm_ledger_writer_new(s->ledger, &s->tick, &s->mb, on_mail_durable, s);
	deps.tick = &s->tick;
	deps.settings = &s->cfg->settings;
	deps.shared = s->shared;
	deps.redis = s->redis;
	deps.ledger = s->ledger;
	deps.writer = s->writer;
	deps.boot_id = 0x1122334455667788u;
	deps.node_id = HM_STR("test-node");
	deps.known = known;
	deps.metrics = metrics;
	if (hm_http_server_new(&deps, &s->server, &e) || hm_http_server_listen(s->server, NULL, &e))
		hm_panic(__FILE__, __LINE__, __func__, "%s", e.text);
	s->port = hm_http_server_port(s->server, 0);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	hm_tick_fini(&s->tick);
	hm_assert(uv_loop_close(&s->loop) == 0);
	hm_ledger_close(s->ledger);
	return NULL;
}

/* settings: NULL-terminated "section.key=value" */
UNUSED_FN void serve_start(struct serve *s, const char *const *settings)
{
	const char *sets[40];
	size_t n = 0;
	struct hm_err e = {0};
	const char *level = getenv("HM_TEST_LOG");

	signal(SIGPIPE, SIG_IGN);
	memset(s, 0, sizeof(*s));
	assert_int_equal(hm_log_set_levels(hm_str_c(level ? level : "error"), &e), 0);
	(void)snprintf(s->dir, sizeof(s->dir), "/tmp/hm-http-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	(void)snprintf(s->sock, sizeof(s->sock), "%s/redis.sock", s->dir);
	(void)snprintf(s->url, sizeof(s->url), "unix://%s", s->sock);
	redis_start(s);
	sets[n++] = "http.listen=127.0.0.1:0";
	sets[n++] = "http.auth=off";
	sets[n++] = "queue.partitions=4";
	while (settings && *settings && n < 39)
		sets[n++] = *settings++;
	sets[n] = NULL;
	assert_int_equal(hm_config_load(NULL, sets, &s->cfg, report_fail, NULL), 0);
	s->shared = hm_http_shared_new();
	sem_init(&s->up, 0, 0);
	sem_init(&s->done, 0, 0);
	assert_int_equal(pthread_create(&s->thread, NULL, serve_thread, s), 0);
	sem_wait(&s->up);
}

UNUSED_FN void serve_drain(struct serve *s)
{
	s->drain_first = 1;
	uv_async_send(&s->stop);
	sem_wait(&s->done);
}

UNUSED_FN void serve_stop(struct serve *s)
{
	uv_async_send(&s->stop);
	pthread_join(s->thread, NULL);
	hm_http_shared_free(s->shared);
	hm_config_unref(s->cfg);
	if (s->redis_pid)
		redis_stop(s);
	nftw(s->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	hm_stats_free_all();
}

/* -- the client ------------------------------------------------------------------------ */

struct client {
	int fd;
	char buf[1 << 20];
	size_t len;
};
struct answer {
	int status;
	char head[4096];
	char body[1 << 20];
	size_t body_len;
};

UNUSED_FN struct client *dial(struct serve *s)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons(s->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct client *c = calloc(1, sizeof(*c));
	int one = 1;

	assert_non_null(c);
	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	assert_int_equal(connect(c->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return c;
}

UNUSED_FN void hang_up(struct client *c)
{
	close(c->fd);
	free(c);
}

UNUSED_FN void say_n(struct client *c, const char *p, size_t n)
{
	while (n) {
		ssize_t k = send(c->fd, p, n, MSG_NOSIGNAL);

		if (k < 0)
			return; /* the server has closed; what it said is still there to read */
		p += k;
		n -= (size_t)k;
	}
}

UNUSED_FN void say(struct client *c, const char *fmt, ...) HM_PRINTF(2, 3);
UNUSED_FN void say(struct client *c, const char *fmt, ...)
{
	char text[8192];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	assert_true(n >= 0 && (size_t)n < sizeof(text));
	say_n(c, text, (size_t)n);
}

/* More bytes; false at the end of the stream. Fails the test after 20 s. */
UNUSED_FN bool more(struct client *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};
	ssize_t n;

	if (poll(&p, 1, 20000) <= 0)
		fail_msg("no answer in 20 s; so far: %.*s", (int)c->len, c->buf);
	assert_true(c->len < sizeof(c->buf));
	n = recv(c->fd, c->buf + c->len, sizeof(c->buf) - c->len, 0);
	if (n <= 0)
		return false;
	c->len += (size_t)n;
	return true;
}

UNUSED_FN void drop(struct client *c, size_t n)
{
	memmove(c->buf, c->buf + n, c->len - n);
	c->len -= n;
}

UNUSED_FN const char *header(const struct answer *a, const char *name)
{
	static char value[512];
	char want[100];
	const char *p;

	(void)snprintf(want, sizeof(want), "\r\n%s: ", name);
	p = strcasestr(a->head, want);
	if (!p)
		return NULL;
	p += strlen(want);
	(void)snprintf(value, sizeof(value), "%.*s", (int)strcspn(p, "\r"), p);
	return value;
}

/* The next answer; status 0 = the connection ended. */
UNUSED_FN struct answer *hear_to(struct client *c, bool head)
{
	static struct answer a;
	char *end;
	size_t want = 0;

	memset(&a, 0, offsetof(struct answer, body));
	a.body_len = 0;
	while ((end = memmem(c->buf, c->len, "\r\n\r\n", 4)) == NULL)
		if (!more(c))
			return &a;
	assert_true((size_t)(end - c->buf) + 4 < sizeof(a.head));
	memcpy(a.head, c->buf, (size_t)(end - c->buf) + 2);
	a.head[end - c->buf + 2] = '\0';
	assert_int_equal(sscanf(a.head, "HTTP/1.1 %d ", &a.status), 1);
	drop(c, (size_t)(end - c->buf) + 4);
	if (header(&a, "Content-Length") && !head)
		want = strtoul(header(&a, "Content-Length"), NULL, 10);
	assert_true(want < sizeof(a.body));
	while (c->len < want)
		if (!more(c))
			fail_msg("body cut short: %s", a.head);
	memcpy(a.body, c->buf, want);
	a.body[want] = '\0';
	a.body_len = want;
	drop(c, want);
	return &a;
}

UNUSED_FN struct answer *hear(struct client *c)
{
	return hear_to(c, false);
}

UNUSED_FN struct answer *call(struct client *c, const char *method, const char *path, const char *headers,
			      const char *body)
{
	say(c, "%s %s HTTP/1.1\r\nHost: x\r\n%s", method, path, headers ? headers : "");
	if (body) {
		say(c, "Content-Length: %zu\r\n\r\n", strlen(body));
		say_n(c, body, strlen(body));
	} else {
		say(c, "\r\n");
	}
	return hear_to(c, strcmp(method, "HEAD") == 0);
}

#define JSON_TYPE "Content-Type: application/json\r\n"

UNUSED_FN void expect(struct answer *a, int status, const char *part)
{
	if (a->status != status || (part && !strstr(a->body, part)))
		fail_msg("wanted %d with \"%s\", got: %s\n%s", status, part ? part : "", a->head, a->body);
	if (status >= 400 &&
	    (!header(a, "Content-Type") || strcmp(header(a, "Content-Type"), "application/problem+json")))
		fail_msg("not a problem: %s\n%s", a->head, a->body);
}

/* Copies the text of a JSON string member. */
UNUSED_FN void member(const struct answer *a, const char *name, char *out, size_t cap)
{
	char want[100];
	const char *p;

	(void)snprintf(want, sizeof(want), "\"%s\":\"", name);
	p = strstr(a->body, want);
	if (!p)
		fail_msg("no member %s: %s", name, a->body);
	p += strlen(want);
	(void)snprintf(out, cap, "%.*s", (int)strcspn(p, "\""), p);
}

/* Entries in all streams of a lane; the last one decoded into JSON of its whole map. */
UNUSED_FN size_t queued(struct serve *s, const char *lane, char *last, size_t cap)
{
	size_t n = 0;

	if (last)
		last[0] = '\0';
	for (int p = 0; p < 4; p++) {
		redisReply *r = redis(s, "XRANGE {hm:%d}:q:%s - +", p, lane);

		n += r->elements;
		if (r->elements && last) {
			const redisReply *v = r->element[r->elements - 1]->element[1];
			msgpack_zone zone;
			msgpack_object o;
			struct hm_err e = {0};
			struct hm_buf b;

			assert_string_equal(v->element[0]->str, "j");
			assert_true(msgpack_zone_init(&zone, 4096));
			hm_buf_init(&b, 1 << 20);
			assert_int_equal(hm_msgpack_decode(&zone,
							   hm_str_n(v->element[1]->str, v->element[1]->len),
							   &o, &e),
					 0);
			hm_msgpack_to_json(&o, &b);
			(void)snprintf(last, cap, "%s", hm_buf_cstr(&b));
			hm_buf_fini(&b);
			msgpack_zone_destroy(&zone);
		}
		freeReplyObject(r);
	}
	return n;
}

UNUSED_FN void empty_queues(struct serve *s)
{
	freeReplyObject(redis(s, "FLUSHALL"));
}

#endif
