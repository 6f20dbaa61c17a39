/*
 * How fast, and with how many allocations: pipelined XADD of 200 bytes, XREADGROUP
 * COUNT 250, against a real server on a unix socket.
 *
 * The rates are printed, and held against a floor only when HM_RATES names one
 * factor (1 = the targets), because a test machine may be busy; what always
 * must hold is that the steady state takes no memory from the heap per command.
 */
#include "env.h"

#include <time.h>

/* Every malloc of the process is counted; glibc's own entry points do the work. */
static size_t mallocs;
#if !defined(HM_ASAN) && !defined(HM_TSAN) /* the sanitizers bring their own malloc */
extern void *__libc_malloc(size_t n);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_calloc(size_t n, size_t m);
void *malloc(size_t n)
{
	mallocs++;
	return __libc_malloc(n);
}
void *realloc(void *p, size_t n)
{
	mallocs++;
	return __libc_realloc(p, n);
}
void *calloc(size_t n, size_t m)
{
	mallocs++;
	return __libc_calloc(n, m);
}
#define N_ENTRIES 1000000u
#else
#define N_ENTRIES 20000u
#endif
#define WINDOW 4000u
#define COUNT  250u

static struct env env;
static struct client cl;

static double now_s(void)
{
	return (double)hm_clock_mono_ns() / 1e9;
}

static double cpu_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double floor_factor(void)
{
	const char *f = getenv("HM_RATES");

	return f ? atof(f) : 0;
}

static struct {
	unsigned sent, done, bad;
	char payload[200];
} w;

static void xadd(void);

static void on_added(void *arg, const struct hm_reply *r, const struct hm_err *err)
{
	w.done++;
	if (err)
		w.bad++;
	if (w.sent < N_ENTRIES)
		xadd();
}

static void xadd(void)
{
	const struct hm_str argv[5] = {HM_STR("XADD"), HM_STR("{hm:0}:q:bulk"), HM_STR("*"), HM_STR("j"),
				       hm_str_n(w.payload, sizeof(w.payload))};

	w.sent++;
	hm_redis_send(cl.r, argv[1], argv, 5, on_added, NULL);
}

static struct {
	struct hm_redis_line *line;
	unsigned entries, calls, bad;
	size_t bytes;
	bool end;
} rd;

static void xread(void);

static void on_entries(void *arg, const struct hm_reply *r, const struct hm_err *err)
{
	const struct hm_reply *entries;

	rd.calls++;
	if (err) {
		rd.bad++;
		return;
	}
	entries = hm_reply_at(hm_reply_at(r, 0), 1);
	if (entries == NULL) {
		rd.end = true;
		return;
	}
	for (size_t i = 0; i < entries->n; i++)
		rd.bytes += hm_reply_at(hm_reply_at(&entries->v[i], 1), 1)->s.len;
	rd.entries += (unsigned)entries->n;
	if (!rd.end)
		xread();
}

static void xread(void)
{
	static const struct hm_str argv[] = {
		HM_STR_INIT("XREADGROUP"), HM_STR_INIT("GROUP"),	 HM_STR_INIT("g"),
		HM_STR_INIT("c"),	   HM_STR_INIT("COUNT"),	 HM_STR_INIT("250"),
		HM_STR_INIT("STREAMS"),	   HM_STR_INIT("{hm:0}:q:bulk"), HM_STR_INIT(">")};

	hm_redis_line_send(rd.line, argv, hm_countof(argv), 10000, on_entries, NULL);
}

static void test_rates(void **state)
{
	struct server *s;
	double t, c, rate;
	struct answer an;
	size_t before = 0;

	env_init(&env);
	s = server_start(&env, NULL);
	client_open(&cl, &env, (struct hm_redis_opts){.command_timeout_ms = 20000}, "unix://%s", s->sock);
	ASK(&cl, &an, "XGROUP", "CREATE", "{hm:0}:q:bulk", "g", "0", "MKSTREAM");
	memset(w.payload, 'p', sizeof(w.payload));
	t = now_s();
	c = cpu_s();
	for (unsigned i = 0; i < WINDOW; i++)
		xadd();
	RUN_UNTIL(&env, w.done > N_ENTRIES / 4, 60000);
	before = mallocs;
	RUN_UNTIL(&env, w.done >= N_ENTRIES / 2, 60000);
	assert_true(mallocs - before <
		    20); /* a slab page or a buffer growing to its peak, nothing per command */
	RUN_UNTIL(&env, w.done == N_ENTRIES, 60000);
	t = now_s() - t;
	rate = N_ENTRIES / t;
	print_message("XADD 200 bytes:       %9.0f /s   client cpu %.2f us each\n", rate,
		      (cpu_s() - c) / N_ENTRIES * 1e6);
	assert_int_equal(w.bad, 0);
	assert_true(rate >= 500000 * floor_factor());

	rd.line = hm_redis_line_open(cl.r, HM_STR("{hm:0}:q:bulk"));
	RUN_UNTIL(&env, hm_redis_line_up(rd.line), 5000);
	t = now_s();
	c = cpu_s();
	for (unsigned i = 0; i < 4; i++)
		xread();
	RUN_UNTIL(&env, rd.entries > N_ENTRIES / 4, 60000);
	before = mallocs;
	RUN_UNTIL(&env, rd.entries >= N_ENTRIES / 2, 60000);
	assert_true(mallocs - before <
		    20); /* a slab page or a buffer growing to its peak, nothing per command */
	RUN_UNTIL(&env, rd.end, 60000);
	t = now_s() - t;
	rate = N_ENTRIES / t;
	print_message("XREADGROUP COUNT 250: %9.0f /s   client cpu %.2f us each\n", rate,
		      (cpu_s() - c) / N_ENTRIES * 1e6);
	assert_int_equal(rd.entries, N_ENTRIES);
	assert_int_equal(rd.bytes, (size_t)N_ENTRIES * sizeof(w.payload));
	assert_int_equal(rd.bad, 0);
	assert_true(rate >= 700000 * floor_factor());
	client_close(&cl);
	env_fini(&env);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rates)};

	return cmocka_run_group_tests_name("redis/rate", tests, NULL, NULL);
}
