/*
 * main.c - hermod-bench: make load, watch it to the end, say what came of it
 *
 * One loop. The loader keeps `window` submissions under way (XADDs pipelined on one
 * connection, or batch calls over HTTP) at the rate asked for; the watcher asks the
 * engine's report for the campaign and its metrics a few times a second. What is printed
 * at the end is the difference of the engine's own counters and histograms between
 * start and end, so that the numbers are those of this run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "gen.h"
#include "ingest/job.h"
#include "redis/redis.h"
#include "snap.h"
#include "wire/wire.h"

#define POLL_MS	       200
#define BENCH_MAGIC    0x62656e63u
#define MAX_BATCH_HTTP 1000

struct submit { /* one HTTP batch under way */
	struct hm_call call;
	struct hm_arena arena;
	struct hm_buf body;
	struct bench *b;
	uint32_t n;
};

struct bench {
	uint32_t magic;
	struct opts o;
	struct gen gen;
	uv_loop_t loop;
	struct hm_tick tick;
	struct hm_redis *redis;
	struct hm_wire *wire;
	struct hm_origin *api;
	struct hm_str api_path;
	char auth[300], campaign[80], redis_url[1100];
	uint32_t under_way;
	uint64_t submitted, rejected, start_ns, loaded_ns, end_ns, last_progress_ns, last_final;
	struct hm_timer pace, poll;
	struct snap first, last; /* engine's counters at start and now */
	bool started, loading, done, polling, tty, have_first;
	struct hm_call get;
	struct hm_arena get_arena;
	enum { GET_METRICS, GET_REPORT } getting;
	struct report report;
	int exit_code;
	struct hm_err why;
};

static void load_more(struct bench *b);
static void poll_now(struct bench *b);

static void stop(struct bench *b, int code)
{
	b->done = true;
	b->loading = false;
	b->exit_code = code;
	uv_stop(&b->loop);
}

static void fail(struct bench *b, const char *what, const struct hm_err *e)
{
	fprintf(stderr, "hermod-bench: %s: %s\n", what, e->text);
	stop(b, 1);
}

/* -- loading -------------------------------------------------------------------------------------- */

/* How many messages the rate allows by now. */
static uint64_t allowed(const struct bench *b)
{
	if (b->o.rate == 0)
		return UINT64_MAX;
	return (uint64_t)((double)(hm_clock_mono_ns() - b->start_ns) * (double)b->o.rate / 1e9) + 1;
}

static void one_done(struct bench *b, uint32_t n)
{
	b->under_way--;
	b->submitted += n;
	if (b->loading && b->gen.made == b->o.messages && b->under_way == 0) {
		b->loading = false;
		b->loaded_ns = hm_clock_mono_ns();
		if (b->o.no_wait)
			stop(b, 0);
	}
}

static void on_added(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct submit *s = arg;
	struct bench *b = s->b;
	uint32_t n = s->n;

	free(s);
	if (reply == NULL) {
		fail(b, "a queue entry could not be added", err);
		return;
	}
	one_done(b, n);
	load_more(b);
}

static void add_entry(struct bench *b, uint32_t max)
{
	struct submit *s = calloc(1, sizeof(*s));
	struct hm_buf entry;
	struct hm_ulid id;
	char key[96];

	if (s == NULL)
		return;
	hm_buf_init(&entry, 16u << 20);
	s->b = b;
	s->n = gen_entry(&b->gen, &entry, max, &id);
	{
		uint32_t p = hm_job_partition(&id, b->o.partitions);
		size_t len = hm_job_stream_key(hm_str_c(b->o.prefix), p, b->o.lane, key, sizeof(key));
		const struct hm_str argv[] = {HM_STR("XADD"), hm_str_n(key, len), HM_STR("*"), HM_STR("j"),
					      hm_buf_str(&entry)};

		b->under_way++;
		hm_redis_send(b->redis, argv[1], argv, hm_countof(argv), on_added, s);
	}
	hm_buf_fini(&entry);
}

static void on_posted(struct hm_call *c)
{
	struct submit *s = hm_container_of(c, struct submit, call);
	struct bench *b = s->b;
	struct hm_err e = {0};
	uint32_t n = s->n;
	int status = c->status;

	if (c->fate != HM_FATE_ANSWERED)
		e = c->err;
	else if (status != 202)
		hm_err_set(&e, HM_EINVAL, "HTTP %d: %.*s", status, (int)hm_min(c->answer.len, (size_t)200),
			   c->answer.p);
	hm_buf_fini(&s->body);
	hm_arena_fini(&s->arena);
	free(s);
	if (e.code != 0) {
		fail(b, "a batch was not accepted", &e);
		return;
	}
	one_done(b, n);
	load_more(b);
}

static void post_batch(struct bench *b, uint32_t max)
{
	struct submit *s = calloc(1, sizeof(*s));
	static struct hm_header headers[2];
	struct hm_err e = {0};

	if (s == NULL)
		return;
	HM_MAGIC_SET(&s->call, HM_CALL_MAGIC);
	hm_arena_init(&s->arena, NULL, 0);
	hm_buf_init(&s->body, 64u << 20);
	s->b = b;
	hm_buf_putc(&s->body, '[');
	s->n = gen_json(&b->gen, &s->body, max);
	hm_buf_putc(&s->body, ']');
	headers[0] = (struct hm_header){HM_STR("content-type"), HM_STR("application/json"), 0};
	headers[1] = (struct hm_header){HM_STR("authorization"), hm_str_c(b->auth), HM_HDR_NEVER_INDEX};
	s->call.origin = b->api;
	s->call.method = HM_STR("POST");
	s->call.path = HM_STR("/v1/messages/batch");
	s->call.headers = headers;
	s->call.n_headers = b->auth[0] ? 2 : 1;
	s->call.body = hm_buf_str(&s->body);
	s->call.timeout_ms = 30000;
	s->call.arena = &s->arena;
	s->call.on_done = on_posted;
	b->under_way++;
	if (hm_wire_submit(&s->call, &e) != 0)
		fail(b, "the API cannot be called", &e);
}

static void load_more(struct bench *b)
{
	while (b->loading && !b->done && b->under_way < b->o.window && b->gen.made < b->o.messages) {
		uint64_t may = allowed(b), room = may > b->gen.made ? may - b->gen.made : 0;
		uint32_t n = (uint32_t)hm_min((uint64_t)b->o.chunk, room);

		/* At a rate, a chunk waits until it is due as a whole; the last one is as big as it is. */
		if (n < b->o.chunk && b->gen.made + n < b->o.messages) {
			hm_timer_start(&b->tick, &b->pace, 1);
			return;
		}
		if (b->o.via_http)
			post_batch(b, n);
		else
			add_entry(b, n);
	}
}

static void on_pace(struct hm_timer *t)
{
	load_more(hm_container_of(t, struct bench, pace));
}

static void start(struct bench *b)
{
	if (b->started)
		return;
	b->started = b->loading = true;
	b->start_ns = b->last_progress_ns = hm_clock_mono_ns();
	load_more(b);
}

/* -- watching ------------------------------------------------------------------------------------- */

static void progress(struct bench *b, bool last)
{
	static uint64_t prev_ns, prev_final;
	static int lines;
	uint64_t now = hm_clock_mono_ns(), final = b->report.final;
	double rate = prev_ns ? (double)(final - prev_final) * 1e9 / (double)(now - prev_ns) : 0;
	double share = (double) final / (double)b->o.messages;
	char bar[41];
	int full = (int)(share * 40);

	if (b->o.quiet)
		return;
	if (!b->tty && !last && lines++ % 15 != 0)
		return;
	memset(bar, '.', 40);
	memset(bar, '#', (size_t)hm_min(full, 40));
	bar[40] = '\0';
	fprintf(stderr, "%s[%s] %5.1f%%  %llu of %llu  %.0f/s  queued %llu  failed %llu   %s",
		b->tty ? "\r" : "", bar, share * 100, (unsigned long long) final,
		(unsigned long long)b->o.messages, rate,
		(unsigned long long)(b->submitted > final ? b->submitted - final : 0),
		(unsigned long long)b->report.state[HM_ST_FAILED], b->tty && !last ? "" : "\n");
	prev_ns = now;
	prev_final = final;
}

static void on_got(struct hm_call *c)
{
	struct bench *b = hm_container_of(c, struct bench, get);
	uint64_t now = hm_clock_mono_ns();
	struct hm_err e = {0};

	HM_CHECK(b, BENCH_MAGIC);
	b->polling = false;
	if (b->done)
		return;
	if (c->fate != HM_FATE_ANSWERED || c->status != 200) {
		if (c->fate != HM_FATE_ANSWERED)
			e = c->err;
		else
			hm_err_set(&e, HM_EINVAL, "HTTP %d for %.*s: %.*s", c->status, HM_STRF(c->path),
				   (int)hm_min(c->answer.len, (size_t)200), c->answer.p);
		/* The engine may be restarting under the load: that is for the time limit to judge. */
		if (!b->started || c->status == 401 || c->status == 403) {
			fail(b, "the engine does not answer", &e);
			return;
		}
	} else if (b->getting == GET_METRICS) {
		snap_parse(&b->last, c->answer);
		if (!b->have_first) {
			b->first = b->last;
			b->have_first = true;
			start(b);
		}
	} else if (report_parse(&b->report, c->answer, &e) != 0) {
		fail(b, "the engine's report was not understood", &e);
		return;
	} else {
		if (b->report.final > b->last_final || b->loading) {
			b->last_final = b->report.final;
			b->last_progress_ns = now;
		}
		progress(b, false);
		if (!b->loading && b->report.final >= b->o.messages) {
			if (b->end_ns == 0) {
				b->end_ns = now;
				b->getting = GET_REPORT; /* one more look at the metrics, then done */
			}
		}
	}
	if (b->end_ns != 0 && b->getting == GET_METRICS) {
		stop(b, 0);
		return;
	}
	if (b->started && now > b->last_progress_ns &&
	    now - b->last_progress_ns > b->o.timeout_s * 1000000000ull) {
		hm_err_set(&e, HM_ETIMEDOUT, "%llu of %llu messages are final and nothing moved for %llu s",
			   (unsigned long long)b->report.final, (unsigned long long)b->o.messages,
			   (unsigned long long)b->o.timeout_s);
		b->end_ns = now;
		fail(b, "gave up", &e);
		return;
	}
	hm_timer_start(&b->tick, &b->poll, b->end_ns ? 0 : POLL_MS);
}

static void poll_now(struct bench *b)
{
	static struct hm_header headers[1];
	static char path[200];
	struct hm_err e = {0};

	if (b->polling || b->done)
		return;
	b->getting = !b->have_first || b->getting == GET_REPORT ? GET_METRICS : GET_REPORT;
	snprintf(path, sizeof(path), "/v1/report?campaign=%s", b->campaign);
	headers[0] = (struct hm_header){HM_STR("authorization"), hm_str_c(b->auth), HM_HDR_NEVER_INDEX};
	memset(&b->get, 0, sizeof(b->get));
	HM_MAGIC_SET(&b->get, HM_CALL_MAGIC);
	hm_arena_reset(&b->get_arena);
	b->get.origin = b->api;
	b->get.method = HM_STR("GET");
	b->get.path = b->getting == GET_METRICS ? HM_STR("/metrics") : hm_str_c(path);
	b->get.headers = headers;
	b->get.n_headers = b->auth[0] ? 1 : 0;
	b->get.timeout_ms = 10000;
	b->get.arena = &b->get_arena;
	b->get.on_done = on_got;
	b->polling = true;
	if (hm_wire_submit(&b->get, &e) != 0)
		fail(b, "the engine cannot be asked", &e);
}

static void on_poll(struct hm_timer *t)
{
	poll_now(hm_container_of(t, struct bench, poll));
}

/* -- main ----------------------------------------------------------------------------------------- */

static void on_redis(void *arg, bool up, const struct hm_err *why)
{
	struct bench *b = arg;

	if (up && !b->started)
		poll_now(b);
	else if (!up && why != NULL && !b->started && !b->done)
		fail(b, "Redis", why);
}

static int setup(struct bench *b, struct hm_err *e)
{
	struct hm_origin_opts oo = {.verify = true, .version = HM_HTTP_1, .max_connections = 8};
	struct hm_wire_opts wo = {.max_connections = 16,
				  .max_streams = 100,
				  .queue_max = 100000,
				  .connect_timeout_ms = 5000,
				  .idle_ping_ms = 15000,
				  .idle_close_ms = 600000,
				  .max_response_bytes = 16u << 20,
				  .max_header_bytes = 65536,
				  .verify = true};
	struct hm_redis_opts ro = {.tls_verify = true,
				   .connect_timeout_ms = 5000,
				   .command_timeout_ms = 60000,
				   .max_pending = 1000000,
				   .client_name = HM_STR("hermod-bench")};

	if (hm_wire_parse_url(hm_str_c(b->o.http), &oo, &b->api_path, e) != 0)
		return hm_err_wrap(e, "--http");
	if (hm_wire_new(&b->tick, &wo, &b->wire, e) != 0 || hm_wire_origin(b->wire, &oo, &b->api, e) != 0)
		return e->code;
	if (b->o.via_http)
		return 0;
	if (b->o.redis == NULL) {
		char cwd[1000];

		if (getcwd(cwd, sizeof(cwd)) == NULL)
			return hm_err_set(e, HM_EIO, "no working directory");
		snprintf(b->redis_url, sizeof(b->redis_url), "unix://%s/data/redis/redis.sock", cwd);
	} else {
		snprintf(b->redis_url, sizeof(b->redis_url), "%s", b->o.redis);
	}
	ro.url = hm_str_c(b->redis_url);
	if (hm_redis_new(&b->tick, &ro, &b->redis, e) != 0)
		return hm_err_wrap(e, "--redis");
	hm_redis_on_state(b->redis, on_redis, b);
	return 0;
}

int main(int argc, char **argv)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct hm_err e = {0};
	int r;

	if (b == NULL)
		return 1;
	HM_MAGIC_SET(b, BENCH_MAGIC);
	r = opts_parse(&b->o, argc, argv);
	if (r != 0)
		return r == 1 ? 0 : 2;
	if (hm_log_set_levels(HM_STR("error"), &e) != 0 || hm_log_open(NULL, HM_LOG_HUMAN, &e) != 0)
		return 1;
	if (b->o.campaign == NULL) {
		snprintf(b->campaign, sizeof(b->campaign), "bench-%llu",
			 (unsigned long long)hm_clock_wall_ms());
		b->o.campaign = b->campaign;
	} else {
		snprintf(b->campaign, sizeof(b->campaign), "%s", b->o.campaign);
	}
	if (b->o.key != NULL)
		snprintf(b->auth, sizeof(b->auth), "Bearer %s", b->o.key);
	if (b->o.via_http)
		b->o.chunk = hm_min(b->o.chunk, (uint32_t)MAX_BATCH_HTTP);
	b->tty = isatty(STDERR_FILENO) == 1;
	if (uv_loop_init(&b->loop) != 0 || hm_tick_init(&b->tick, &b->loop) != 0)
		return 1;
	hm_arena_init(&b->get_arena, NULL, 0);
	hm_timer_init(&b->pace, on_pace);
	hm_timer_init(&b->poll, on_poll);
	if (gen_init(&b->gen, &b->o, hm_clock_wall_ms(), &e) != 0 || setup(b, &e) != 0) {
		fprintf(stderr, "hermod-bench: %s\n", e.text);
		return 2;
	}
	if (b->o.via_http)
		poll_now(b);
	uv_run(&b->loop, UV_RUN_DEFAULT);
	if (b->started && !b->o.no_wait) {
		progress(b, true);
		if (b->end_ns == 0)
			b->end_ns = hm_clock_mono_ns();
		result_print(
			&(struct result){
				.o = &b->o,
				.first = &b->first,
				.last = &b->last,
				.report = &b->report,
				.load_ns = b->loaded_ns ? b->loaded_ns - b->start_ns : 0,
				.total_ns = b->end_ns - b->start_ns,
				.submitted = b->submitted,
			},
			stdout);
	} else if (b->o.no_wait && b->exit_code == 0) {
		printf("%llu messages submitted as campaign %s\n", (unsigned long long)b->submitted,
		       b->campaign);
	}
	/* The process ends here: sockets and memory go with it. */
	fflush(stdout);
	_exit(b->exit_code);
}
