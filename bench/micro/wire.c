/*
 * wire.c - requests per second through the wire, one thread, against any HTTP server
 *
 *   micro_wire URL-PREFIX [requests] [in flight] [connections] [body bytes]
 *
 * Every request has a path of its own (as APNs' /3/device/TOKEN has), a bearer token that is
 * never indexed and a body; the answer is parsed and checked. The first tenth warms up
 * and is not measured. Compare with
 *   h2load -n N -c CONNECTIONS -m STREAMS -t1 -d BODY URL
 * CPU is this thread's, so that a server on the same machine does not blur the picture.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/log.h"
#include "wire/wire.h"

struct slot {
	struct hm_call call;
	struct hm_arena arena;
	char path[96];
};

static uv_loop_t loop;
static uv_async_t awake;
static struct hm_tick tick;
static struct hm_wire *wire;
static struct hm_origin *origin;
static struct hm_hist latency;
static uint64_t total = 2000000, started, answered, failed, not_2xx, warm;
static uint64_t t0_ns, cpu0_us, t1_ns, cpu1_us;
static bool closed;

static uint64_t cpu_us(void)
{
	struct rusage ru;

	getrusage(RUSAGE_THREAD, &ru);
	return (uint64_t)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000u +
	       (uint64_t)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec);
}

static struct hm_header headers[] = {
	{HM_STR_INIT("authorization"),
	 HM_STR_INIT("bearer "
		     "eyJhbGciOiJFUzI1NiIsImtpZCI6IkFCQzEyM0RFRkcifQ.eyJpc3MiOiJERUYxMjNHSElKIiwiaWF0IjoxNDM3"
		     "MTc5MDM2fQ.0123456789012345678901234567890123456789012345678901234567890123456789"),
	 0},
	{HM_STR_INIT("apns-topic"), HM_STR_INIT("com.example.app"), 0},
	{HM_STR_INIT("apns-push-type"), HM_STR_INIT("alert"), 0},
	{HM_STR_INIT("content-type"), HM_STR_INIT("application/json"), 0},
};
static char *body;
static size_t body_len = 300;
static struct hm_str prefix;

static void fire(struct slot *s)
{
	struct hm_err e = {0};

	snprintf(s->path, sizeof(s->path), "/3/device/%016llx%016llx%016llx%016llx",
		 (unsigned long long)started, (unsigned long long)started * 0x9e3779b97f4a7c15u,
		 (unsigned long long)started ^ 0x5555555555555555u, (unsigned long long)~started);
	started++;
	hm_arena_reset(&s->arena);
	s->call.path = hm_str_c(s->path);
	if (hm_wire_submit(&s->call, &e) < 0) {
		fprintf(stderr, "submit: %s\n", e.text);
		exit(1);
	}
}

static void on_done(struct hm_call *c)
{
	struct slot *s = hm_container_of(c, struct slot, call);

	answered++;
	if (c->fate != HM_FATE_ANSWERED) {
		if (failed++ == 0)
			fprintf(stderr, "first failure: %s\n", c->err.text);
	} else if (c->status / 100 != 2) {
		if (not_2xx++ == 0)
			fprintf(stderr, "first refusal: %d %.*s\n", c->status, HM_STRF(c->answer));
	}
	if (answered == warm) {
		t0_ns = hm_clock_mono_ns();
		cpu0_us = cpu_us();
		memset(&latency, 0, sizeof(latency));
	}
	hm_hist_record(&latency, (c->done_ns - c->started_ns) / 1000);
	if (started < total)
		fire(s);
	if (answered == total) {
		t1_ns = hm_clock_mono_ns();
		cpu1_us = cpu_us();
		uv_stop(&loop);
	}
}

static void on_closed(void *arg)
{
	closed = true;
	uv_stop(&loop);
}

int main(int argc, char **argv)
{
	struct hm_wire_opts wo = {.queue_max = 1000000, .max_streams = 1000};
	struct hm_origin_opts oo = {.verify = false, .version = HM_HTTP_2};
	struct hm_err e = {0};
	unsigned in_flight = 400, connections = 1;
	struct slot *slots;
	double secs;

	if (argc < 2 || hm_log_set_levels(HM_STR("warn"), &e) < 0) {
		fprintf(stderr,
			"usage: micro_wire URL-PREFIX [requests] [in flight] [connections] [body bytes]\n");
		return 2;
	}
	if (argc > 2)
		total = strtoull(argv[2], NULL, 10);
	if (argc > 3)
		in_flight = (unsigned)strtoul(argv[3], NULL, 10);
	if (argc > 4)
		connections = (unsigned)strtoul(argv[4], NULL, 10);
	if (argc > 5)
		body_len = strtoul(argv[5], NULL, 10);
	warm = total / 10;
	body = malloc(body_len + 1);
	memset(body, 'b', body_len);
	if (body_len > 24) { /* JSON, for servers that look */
		memcpy(body, "{\"aps\":{\"alert\":\"", 18);
		memcpy(body + body_len - 3, "\"}}", 3);
	}
	uv_loop_init(&loop);
	uv_async_init(&loop, &awake, NULL);
	if (hm_tick_init(&tick, &loop) < 0 || hm_wire_parse_url(hm_str_c(argv[1]), &oo, &prefix, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		return 2;
	}
	if (!oo.tls)
		oo.version = HM_HTTP_2_PRIOR;
	if (getenv("WIRE_HTTP1"))
		oo.version = HM_HTTP_1;
	wo.max_connections = connections;
	headers[0].flags = HM_HDR_NEVER_INDEX * (getenv("WIRE_NEVER_INDEX") != NULL);
	if (hm_wire_new(&tick, &wo, &wire, &e) < 0 || hm_wire_origin(wire, &oo, &origin, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		return 2;
	}
	slots = calloc(in_flight, sizeof(*slots));
	for (unsigned i = 0; i < in_flight; i++) {
		struct slot *s = &slots[i];

		hm_arena_init(&s->arena, &tick.blocks, 0);
		s->call = (struct hm_call){
			.magic = HM_CALL_MAGIC,
			.origin = origin,
			.method = HM_STR("POST"),
			.headers = headers,
			.n_headers = hm_countof(headers),
			.body = hm_str_n(body, body_len),
			.timeout_ms = 30000,
			.arena = &s->arena,
			.on_done = on_done,
		};
		fire(s);
	}
	while (answered < total)
		uv_run(&loop, UV_RUN_ONCE);
	secs = (double)(t1_ns - t0_ns) / 1e9;
	printf("%.0f requests/s, %.2f us CPU each, %llu failed, %llu not 2xx, p50 %llu us, p99 %llu us\n",
	       (double)(total - warm) / secs, (double)(cpu1_us - cpu0_us) / (double)(total - warm),
	       (unsigned long long)failed, (unsigned long long)not_2xx,
	       (unsigned long long)hm_hist_quantile(&latency, 0.5),
	       (unsigned long long)hm_hist_quantile(&latency, 0.99));
	for (unsigned i = 0; i < in_flight; i++)
		hm_arena_fini(&slots[i].arena);
	hm_wire_close(wire, on_closed, NULL);
	while (!closed)
		uv_run(&loop, UV_RUN_ONCE);
	hm_tick_close(&tick);
	uv_close((uv_handle_t *)&awake, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	hm_tick_fini(&tick);
	free(slots);
	free(body);
	return failed != 0;
}
