/*
 * facts.c - what the facts of a message cost
 *
 *   micro_facts [redis-url]
 *
 * Remembered values: nanoseconds and mallocs per look-up, for 1, 3 and 10 facts a message and for strings and numbers.
 * With a Redis: keys per second when nothing is remembered, in ticks of 1,000 different keys.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "facts/facts.h"
#include "redis/redis.h"
#include "wire/wire.h"

#define KEYS 10000

static uv_loop_t loop;
static struct hm_tick tick;
static struct hm_redis *redis;
static struct hm_facts *facts;
static size_t waiting;
static char keys[KEYS][8];

static void on_ready(struct hm_facts_waiter *w)
{
	waiting--;
}

/* Processor time of this program: other work on the machine does not count. */
static uint64_t cpu_ns(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000000u +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000u;
}

static void die(void *arg, const struct hm_err *e)
{
	fprintf(stderr, "micro_facts: %s\n", e->text);
	exit(1);
}

static struct hm_config *config(const char *text)
{
	struct hm_config *cfg = NULL;

	if (hm_config_load_text("bench", hm_str_c(text), NULL, &cfg, die, NULL) != 0)
		exit(1);
	return cfg;
}

struct asked {
	struct hm_facts_waiter w;
	struct hm_fact_want want[HM_FACTS_MAX];
};

/* Asks for n facts with keys from `first`; the arena is the caller's to reset. */
static bool ask(struct asked *a, struct hm_arena *arena, const char *fact, size_t n, unsigned first)
{
	for (size_t i = 0; i < n; i++) {
		const char *key = keys[(first + (unsigned)i) % KEYS];

		a->want[i] = (struct hm_fact_want){.fact = hm_str_c(fact), .key = hm_str_c(key)};
	}
	a->w = (struct hm_facts_waiter){.on_ready = on_ready, .want = a->want, .n = n, .arena = arena};
	return hm_facts_get(facts, &a->w);
}

static void wait_all(void)
{
	while (waiting > 0)
		uv_run(&loop, UV_RUN_ONCE);
}

static void fill(const char *fact, struct hm_arena *arena)
{
	static struct asked a[KEYS];

	for (unsigned i = 0; i < KEYS; i++)
		if (!ask(&a[i], arena, fact, 1, i))
			waiting++;
	wait_all();
	hm_arena_reset(arena);
}

static void remembered(const char *fact, size_t n, struct hm_arena *arena)
{
	static struct asked a;
	enum { ROUNDS = 2000000 };
	struct mallinfo2 before;
	uint64_t start, ns;

	for (unsigned i = 0; i < 10000; i++) { /* warm */
		if (!ask(&a, arena, fact, n, i * 7919))
			abort();
		hm_arena_reset(arena);
	}
	before = mallinfo2();
	start = cpu_ns();
	for (unsigned i = 0; i < ROUNDS / n; i++) {
		if (!ask(&a, arena, fact, n, i * 7919))
			abort();
		hm_arena_reset(arena);
	}
	ns = cpu_ns() - start;
	printf("%-8s %2zu a message   %6.0f ns a message, %5.0f ns a value, %zd bytes of heap more\n", fact,
	       n, (double)ns / (double)(ROUNDS / n), (double)ns / (double)(ROUNDS / n * n),
	       (ssize_t)(mallinfo2().uordblks - before.uordblks));
}

static void fetched(struct hm_arena *arena)
{
	static struct asked a[1000];
	uint64_t start = hm_clock_mono_ns(), ns;
	unsigned rounds = 200;

	for (unsigned r = 0; r < rounds; r++) {
		for (unsigned i = 0; i < 1000; i++)
			if (!ask(&a[i], arena, "fresh", 1, r * 1000 + i))
				waiting++;
		wait_all();
		hm_arena_reset(arena);
	}
	ns = hm_clock_mono_ns() - start;
	printf("fetched  %.0f keys/s, %.0f ns a key, 1,000 keys a tick in requests of 100\n",
	       rounds * 1000 * 1e9 / (double)ns, (double)ns / (rounds * 1000));
}

static const char section[] =
	"facts:\n"
	"  string: {from: redis, key: \"bench:fact:{key}\", cache: 1h, timeout: 60s}\n"
	"  number: {from: redis, key: \"bench:fact:{key}\", cache: 1h, timeout: 60s, type: number}\n"
	"  fresh: {from: redis, key: \"bench:fact:{key}\", cache: 0, timeout: 60s, type: number}\n";

int main(int argc, char **argv)
{
	struct hm_redis_opts ro = {.url = hm_str_c(argc > 1 ? argv[1] : "redis://127.0.0.1:6379"),
				   .max_pending = 100000};
	struct hm_facts_deps d = {.tick = &tick};
	struct hm_wire_opts wo = {0};
	struct hm_arena arena;
	struct hm_err e = {0};

	if (uv_loop_init(&loop) != 0 || hm_tick_init(&tick, &loop) != 0 ||
	    hm_redis_new(&tick, &ro, &redis, &e) != 0 || hm_wire_new(&tick, &wo, &d.wire, &e) != 0)
		die(NULL, &e);
	while (!hm_redis_up(redis))
		uv_run(&loop, UV_RUN_ONCE);
	d.redis = redis;
	hm_arena_init(&arena, &tick.blocks, 0);
	for (unsigned i = 0; i < KEYS; i++) {
		snprintf(keys[i], sizeof(keys[i]), "%u", i);
		hm_redis_sendf(redis, HM_STR("x"), NULL, NULL, "SET bench:fact:%d %d.50", (int64_t)i,
			       (int64_t)i);
	}
	facts = hm_facts_new(&d, config(section), &e);
	if (facts == NULL)
		die(NULL, &e);
	fill("string", &arena);
	fill("number", &arena);
	for (size_t i = 0; i < 3; i++) {
		static const size_t n[] = {1, 3, 10};

		remembered("string", n[i], &arena);
		remembered("number", n[i], &arena);
	}
	fetched(&arena);
	return 0;
}
