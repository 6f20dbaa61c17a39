/*
 * queue_link.c - a command's own connection to Redis
 */
#include "cli/queue_link.h"

#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

static void print_problem(void *arg, const struct hm_err *e)
{
	char text[512];

	hm_err_format(e, text, sizeof(text));
	fprintf(stderr, "hermod: %s\n", text);
}

static void on_beat(uv_timer_t *t)
{
}

void hm_queue_who(char out[HM_QUEUE_WHO_MAX])
{
	const struct passwd *p = getpwuid(geteuid());
	char host[65] = "";

	if (gethostname(host, sizeof(host) - 1) != 0)
		host[0] = '\0';
	if (p && p->pw_name && hm_utf8_valid(hm_str_c(p->pw_name)))
		(void)snprintf(out, HM_QUEUE_WHO_MAX, "cli:%.64s@%s", p->pw_name, host);
	else
		(void)snprintf(out, HM_QUEUE_WHO_MAX, "cli:%u@%s", (unsigned)geteuid(), host);
}

void hm_queue_turn(struct hm_queue_link *q)
{
	uv_run(&q->loop, UV_RUN_ONCE);
}

static int find_url(struct hm_queue_link *q, const char *url)
{
	const struct hm_settings *st = &q->cfg->settings;
	char path[400], real[4096];

	if (url) {
		(void)snprintf(q->url, sizeof(q->url), "%s", url);
		return 0;
	}
	if (!hm_str_is(st->redis.url, "embedded")) {
		(void)snprintf(q->url, sizeof(q->url), "%.*s", HM_STRF(st->redis.url));
		return 0;
	}
	(void)snprintf(path, sizeof(path), "%.*s/redis/redis.sock", HM_STRF(st->node.data_dir));
	if (!realpath(path, real) || strlen(real) > 400) {
		fprintf(stderr,
			"hermod: no Redis at %s; start hermod run first (the embedded Redis lives with it), "
			"or name one with --redis URL\n",
			path);
		return HM_ECONN;
	}
	(void)snprintf(q->url, sizeof(q->url), "unix://%.400s", real);
	return 0;
}

static void on_closed(void *arg)
{
	struct hm_queue_link *q = arg;

	q->closed = true;
}

static void on_state(void *arg, bool up, const struct hm_err *why)
{
	struct hm_queue_link *q = arg;

	if (!up && why)
		q->why = *why;
}

static int wait_up(struct hm_queue_link *q)
{
	uint64_t until = hm_clock_mono_ns() + (q->cfg->settings.redis.connect_timeout_ms + 500) * 1000000u;

	hm_redis_on_state(q->redis, on_state, q);
	while (!hm_redis_up(q->redis)) {
		if (hm_clock_mono_ns() > until) {
			fprintf(stderr, "hermod: Redis cannot be reached: %s\n",
				q->why.text[0] ? q->why.text : "no answer in time");
			return HM_ECONN;
		}
		hm_queue_turn(q);
	}
	return 0;
}

int hm_queue_open(struct hm_queue_link *q, const struct hm_conf_args *conf, const char *url)
{
	struct hm_redis_opts o = {0};
	const struct hm_settings *st;
	struct hm_err e;
	int rc;

	memset(q, 0, sizeof(*q));
	hm_err_clear(&e);
	(void)signal(SIGPIPE, SIG_IGN);
	/* connection losses are told by the commands themselves */
	rc = hm_log_set_levels(HM_STR("error"), &e);
	hm_assert(rc == 0);
	rc = hm_config_load(conf->path, conf->sets, &q->cfg, print_problem, NULL);
	if (rc)
		return rc;
	st = &q->cfg->settings;
	rc = find_url(q, url);
	if (rc) {
		hm_config_unref(q->cfg);
		return rc;
	}
	hm_assert(uv_loop_init(&q->loop) == 0 && hm_tick_init(&q->tick, &q->loop) == 0);
	uv_timer_init(&q->loop, &q->beat);
	uv_timer_start(&q->beat, on_beat, 50, 50);
	o.url = hm_str_c(q->url);
	o.username = st->redis.username;
	o.password = st->redis.password;
	o.ca_file = st->redis.ca_file;
	o.cert_file = st->redis.cert_file;
	o.key_file = st->redis.key_file;
	o.tls_verify = st->redis.tls_verify;
	o.connect_timeout_ms = (uint32_t)st->redis.connect_timeout_ms;
	o.command_timeout_ms = (uint32_t)st->redis.command_timeout_ms;
	o.max_pending = 100000;
	o.client_name = HM_STR("hermod-cli");
	rc = hm_redis_new(&q->tick, &o, &q->redis, &e);
	if (rc) {
		fprintf(stderr, "hermod: %s\n", e.text);
		q->redis = NULL;
	} else {
		rc = wait_up(q);
	}
	if (rc)
		hm_queue_close(q);
	return rc;
}

void hm_queue_close(struct hm_queue_link *q)
{
	if (q->redis) {
		hm_redis_close(q->redis, on_closed, q);
		while (!q->closed)
			hm_queue_turn(q);
	}
	uv_close((uv_handle_t *)&q->beat, NULL);
	hm_tick_close(&q->tick);
	uv_run(&q->loop, UV_RUN_DEFAULT);
	hm_tick_fini(&q->tick);
	hm_assert(uv_loop_close(&q->loop) == 0);
	hm_config_unref(q->cfg);
}

/* -- one question -------------------------------------------------------------------- */

struct question {
	struct hm_arena *arena;
	struct hm_reply *out;
	struct hm_err *err;
	bool done;
};

static bool copy(struct hm_arena *a, const struct hm_reply *from, struct hm_reply *to)
{
	*to = *from;
	if (from->s.p) {
		to->s = hm_arena_str(a, from->s);
		if (!to->s.p)
			return false;
	}
	if (from->n == 0)
		return true;
	to->v = hm_arena_alloc(a, from->n * sizeof(*to->v));
	if (!to->v)
		return false;
	for (size_t i = 0; i < from->n; i++)
		if (!copy(a, &from->v[i], &to->v[i]))
			return false;
	return true;
}

static void on_reply(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct question *x = arg;

	x->done = true;
	if (err)
		*x->err = *err;
	else if (!copy(x->arena, reply, x->out))
		hm_err_set(x->err, HM_ENOMEM, "out of memory");
}

int hm_queue_ask(struct hm_queue_link *q, hm_queue_send_fn send, void *what, struct hm_arena *a,
		 struct hm_reply *reply_r, struct hm_err *e)
{
	struct question x = {.arena = a, .out = reply_r, .err = e};

	hm_err_clear(e);
	memset(reply_r, 0, sizeof(*reply_r));
	send(q, what, on_reply, &x);
	while (!x.done)
		hm_queue_turn(q);
	return e->code;
}

struct command {
	struct hm_str key;
	const struct hm_str *argv;
	size_t argc;
};

static void send_command(struct hm_queue_link *q, void *what, hm_reply_fn fn, void *arg)
{
	const struct command *c = what;

	hm_redis_send(q->redis, c->key, c->argv, c->argc, fn, arg);
}

int hm_queue_call(struct hm_queue_link *q, struct hm_str key, const struct hm_str *argv, size_t argc,
		  struct hm_arena *a, struct hm_reply *reply_r, struct hm_err *e)
{
	struct command c = {key, argv, argc};

	return hm_queue_ask(q, send_command, &c, a, reply_r, e);
}
