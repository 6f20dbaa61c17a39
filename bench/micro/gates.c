/*
 * gates.c - what it costs to ask the gates and to settle
 *
 *   micro_gates redis-url [ticks]
 *
 * Ticks of 1,000 messages to different users, asked in one go and committed when the answers are there; users come again every
 * ten ticks, so that most have a list to look at. For each set of rules: wall time per message (with Redis on the same machine),
 * processor time of this program and of Redis (INFO), and mallocs, asking and settling together.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "gates/gates.h"
#include "redis/redis.h"

#define PER_TICK 1000
#define USERS	 10000
#define WARM	 30 /* ticks before anything is counted */

static uv_loop_t loop;
static struct hm_tick tick;
static struct hm_redis *redis;
static struct hm_gates *gates;
static size_t waiting;
static char users[USERS][12], addrs[USERS][16];
static struct hm_gate_ask asks[PER_TICK];

static uint64_t mallocs; /* this program has one thread */
extern void *__libc_malloc(size_t n);
void *malloc(size_t n);
void *malloc(size_t n)
{
	mallocs++;
	return __libc_malloc(n);
}

static void on_answer(struct hm_gate_ask *a)
{
	waiting--;
}

static uint64_t cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000u +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void die(void *arg, const struct hm_err *e)
{
	fprintf(stderr, "micro_gates: %s\n", e->text);
	exit(1);
}

static bool answered;
static double redis_cpu_s;

static double number_after(struct hm_str s, const char *what)
{
	ptrdiff_t at = hm_str_find(s, hm_str_c(what));

	return at < 0 ? 0 : strtod(s.p + at + strlen(what), NULL);
}

static void on_info(void *arg, const struct hm_reply *r, const struct hm_err *err)
{
	if (err)
		die(NULL, err);
	answered = true;
	if (r->type == HM_REPLY_STR)
		redis_cpu_s = number_after(r->s, "used_cpu_sys:") + number_after(r->s, "used_cpu_user:");
}

static void command(const char *name, const char *arg)
{
	struct hm_str argv[2] = {hm_str_c(name), hm_str_c(arg)};

	answered = false;
	hm_redis_send(redis, HM_STR_NULL, argv, arg[0] ? 2 : 1, on_info, NULL);
	while (!answered)
		uv_run(&loop, UV_RUN_ONCE);
}

static void one_tick(const struct hm_config *cfg, unsigned t, bool dedupe)
{
	static char keys[PER_TICK][16];
	uint64_t now = 1763899200000 + (uint64_t)t * 1000;

	for (unsigned i = 0; i < PER_TICK; i++) {
		struct hm_gate_ask *a = &asks[i];
		unsigned u = (t * PER_TICK + i) % USERS;

		a->s = (struct hm_gate_subject){.cfg = cfg,
						.user = hm_str_c(users[u]),
						.addr = hm_str_c(addrs[u]),
						.channel = HM_STR("sms"),
						.category = HM_STR("news"),
						.medium = HM_MED_SMS,
						.lane = HM_LANE_BULK,
						.count_caps = true,
						.now_ms = now,
						.expires_ms = now + 86400000};
		hm_ulid_new(&a->s.msg, now);
		if (dedupe) {
			snprintf(keys[i], sizeof(keys[i]), "%u", t);
			a->s.dedupe = hm_str_c(keys[i]);
		}
		a->on_answer = on_answer;
		waiting += !hm_gates_ask(gates, a);
	}
	while (waiting > 0)
		uv_run(&loop, UV_RUN_ONCE);
	for (unsigned i = 0; i < PER_TICK; i++) {
		if (asks[i].answer != HM_GATE_PASS) {
			fprintf(stderr, "micro_gates: %s\n", asks[i].reason);
			exit(1);
		}
		if (asks[i].reserved)
			hm_gates_commit(gates, &asks[i].s);
	}
	while (hm_gates_unsettled(gates) > 0)
		uv_run(&loop, UV_RUN_ONCE);
}

static void run(const char *what, const char *text, unsigned ticks, bool dedupe)
{
	struct hm_config *cfg = NULL;
	uint64_t wall, cpu, m;
	double n = (double)ticks * PER_TICK, server;

	if (hm_config_load_text("bench", hm_str_c(text), NULL, &cfg, die, NULL) != 0)
		exit(1);
	command("FLUSHALL", "");
	for (unsigned t = 0; t < WARM; t++)
		one_tick(cfg, t, dedupe);
	command("INFO", "cpu");
	server = redis_cpu_s;
	wall = hm_clock_mono_ns();
	cpu = cpu_us();
	m = mallocs;
	for (unsigned t = WARM; t < WARM + ticks; t++)
		one_tick(cfg, t, dedupe);
	wall = hm_clock_mono_ns() - wall;
	cpu = cpu_us() - cpu;
	m = mallocs - m;
	command("INFO", "cpu");
	printf("%-34s %6.2f us  engine %5.2f us  redis %5.2f us  %.4f mallocs\n", what,
	       (double)wall / 1000 / n, (double)cpu / n, (redis_cpu_s - server) * 1e6 / n, (double)m / n);
	hm_config_unref(cfg);
}

int main(int argc, char **argv)
{
	static const char channels[] = "channels: {sms: {adapter: sms/twilio}}\n";
	unsigned ticks = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 100;
	struct hm_redis_opts o = {
		.connect_timeout_ms = 1000, .command_timeout_ms = 5000, .max_pending = 1000000};
	struct hm_gates_deps d = {.tick = &tick, .prefix = HM_STR("bench")};
	char text[4096];
	struct hm_err e;
	size_t len;

	if (argc < 2) {
		fprintf(stderr, "usage: micro_gates redis-url [ticks]\n");
		return 2;
	}
	for (unsigned i = 0; i < USERS; i++) {
		snprintf(users[i], sizeof(users[i]), "user%u", i);
		snprintf(addrs[i], sizeof(addrs[i]), "+8613%08u", i);
	}
	o.url = hm_str_c(argv[1]);
	if (uv_loop_init(&loop) || hm_tick_init(&tick, &loop) || hm_redis_new(&tick, &o, &redis, &e) != 0)
		die(NULL, &e);
	while (!hm_redis_up(redis))
		uv_run(&loop, UV_RUN_ONCE);
	d.redis = redis;
	gates = hm_gates_new(&d, &e);
	if (gates == NULL)
		die(NULL, &e);
	run("lists only (no rules, no keys)", channels, ticks, false);
	snprintf(text, sizeof(text), "%scategories: {\"*\": {suppression: false}}\n", channels);
	run("a dedupe key", text, ticks, true);
	snprintf(text, sizeof(text),
		 "%scategories: {\"*\": {suppression: false}}\ncaps: {a: {max: 1000, per: 24h}}\n", channels);
	run("1 rule", text, ticks, false);
	len = (size_t)snprintf(text, sizeof(text), "%scategories: {\"*\": {suppression: false}}\ncaps:\n",
			       channels);
	for (int i = 0; i < 10; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
					"  r%d: {max: %d, per: %dh, min_gap: 1s}\n", i, 500 + i, 24 + i);
	run("10 rules", text, ticks, false);
	snprintf(text + strlen(channels), sizeof(text) - strlen(channels), "caps:\n");
	len = strlen(text);
	for (int i = 0; i < 10; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
					"  r%d: {max: %d, per: %dh, min_gap: 1s}\n", i, 500 + i, 24 + i);
	run("10 rules, lists, a dedupe key", text, ticks, true);
	return 0;
}
