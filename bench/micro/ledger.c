/*
 * ledger.c - what one message record costs
 *
 * One writer thread puts message records in ticks of 1..1000 and waits when 64 ticks are on their way; the
 * ledger thread, the indexer and the packer run as in the engine. Printed per row: records per second, and
 * processor time per record by thread. "seal" is the indexer, "pack" the compression, both finished when the row ends.
 * usage: micro_ledger [records per row] [directory]
 */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/ledger_int.h"

struct bench {
	uv_loop_t loop;
	struct hm_tick tick;
	struct hm_mailbox mb;
	struct hm_ledger_writer *w;
	uint64_t durable;
};

static double cpu_of(clockid_t c)
{
	struct timespec t;

	clock_gettime(c, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double thread_cpu(uv_thread_t t)
{
	clockid_t c;

	return pthread_getcpuclockid(t, &c) == 0 ? cpu_of(c) : 0;
}

static void on_durable(void *arg, uint64_t ticket)
{
	struct bench *b = arg;

	b->durable = ticket;
}

static int rm_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
	return remove(path);
}

static void fill(struct hm_ledger_msg *m, struct hm_ledger_attempt *t, struct hm_ulid *job, uint64_t i,
		 char *user, char *address)
{
	static const char hex[] = "0123456789abcdef";
	uint64_t h = hm_hash64(&i, sizeof(i), 0), v = h;

	if (i % 1000 == 0)
		hm_ulid_new(job, 1700000000000u + i / 166);
	for (int k = 0; k < 12; k++, v /= 10)
		user[k] = (char)('0' + v % 10);
	for (int k = 0; k < 64; k++) /* a device token: 32 random bytes in hex */
		address[k] = hex[(h = h * 6364136223846793005u + 1442695040888963407u) >> 60];
	*t = (struct hm_ledger_attempt){.channel = HM_STR("apns-main"),
					.outcome = HM_OUT_OK,
					.status = 200,
					.at_ms = 1700000000000u + i / 166 + 3,
					.took_us = 1800 + (uint32_t)(h >> 55)};
	*m = (struct hm_ledger_msg){.id = *job,
				    .job = *job,
				    .state = HM_ST_SENT,
				    .lane = HM_LANE_NORMAL,
				    .accepted_ms = 1700000000000u + i / 166,
				    .updated_ms = 1700000000000u + i / 166 + 5,
				    .user = {user, 12},
				    .address = {address, 64},
				    .campaign = HM_STR("spring-sale"),
				    .channel = HM_STR("apns-main"),
				    .template_ref = HM_STR("price-drop@3"),
				    .attempts = t,
				    .n_attempts = 1};
	hm_ulid_add(&m->id, (uint32_t)(i % 1000));
}

static int run(const char *dir, uint32_t per_tick, uint64_t n, uint32_t batch_wait_us)
{
	const struct hm_ledger_opts o = {
		.dir = hm_str_c(dir), .sync = HM_LEDGER_SYNC_INTERVAL, .batch_wait_us = batch_wait_us};
	double t0, put0, put, commit, seal, pack, wall, encode = 0;
	struct hm_ledger_health h;
	struct hm_ledger *l;
	struct hm_ulid job;
	struct bench b = {.durable = 0};
	struct hm_err e;
	uint64_t ticket = 0;

	nftw(dir, rm_one, 16, FTW_DEPTH | FTW_PHYS);
	if (hm_ledger_open(&o, &l, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	hm_assert(uv_loop_init(&b.loop) == 0 && hm_tick_init(&b.tick, &b.loop) == 0 &&
		  hm_mailbox_init(&b.mb, &b.tick, &b) == 0);
	b.w = hm_ledger_writer_new(l, &b.tick, &b.mb, on_durable, &b);
	hm_assert(b.w != NULL);
	t0 = cpu_of(CLOCK_MONOTONIC);
	put0 = cpu_of(CLOCK_THREAD_CPUTIME_ID);
	for (uint64_t i = 0; i < n;) {
		struct hm_ledger_msg m[1000];
		struct hm_ledger_attempt t[1000];
		char user[1000][16], address[1000][64];
		double before;

		for (uint32_t k = 0; k < per_tick; k++)
			fill(&m[k], &t[k], &job, i++, user[k], address[k]);
		before = cpu_of(CLOCK_THREAD_CPUTIME_ID);
		for (uint32_t k = 0; k < per_tick; k++)
			ticket = hm_ledger_put_msg(b.w, &m[k]);
		encode += cpu_of(CLOCK_THREAD_CPUTIME_ID) - before;
		uv_run(&b.loop, UV_RUN_NOWAIT);
		while (b.durable + 64 < ticket)
			uv_run(&b.loop, UV_RUN_ONCE);
	}
	while (b.durable < ticket)
		uv_run(&b.loop, UV_RUN_ONCE);
	wall = cpu_of(CLOCK_MONOTONIC) - t0;
	put = cpu_of(CLOCK_THREAD_CPUTIME_ID) - put0;
	hm_ledger_health(l, &h);
	hm_ledger_settle(l);
	commit = thread_cpu(l->thread);
	seal = thread_cpu(l->indexer);
	pack = thread_cpu(l->packer);
	printf("%6u %8u %12.0f %9.0f %9.0f %9.0f %9.0f %9.0f %9.0f", per_tick, batch_wait_us,
	       (double)n * 1e9 / wall, encode / (double)n, put / (double)n, commit / (double)n,
	       seal / (double)n, pack / (double)n, (encode + commit + seal + pack) / (double)n);
	printf(" %9.1f", (double)h.disk_bytes / (double)n);
	hm_ledger_health(l, &h);
	printf(" %9.1f\n", (double)h.disk_bytes / (double)n);
	hm_ledger_writer_close(b.w);
	hm_mailbox_close(&b.mb);
	hm_tick_close(&b.tick);
	uv_run(&b.loop, UV_RUN_DEFAULT);
	hm_tick_fini(&b.tick);
	uv_loop_close(&b.loop);
	hm_ledger_close(l);
	nftw(dir, rm_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		uint32_t per_tick, wait_us;
	} rows[] = {{1, 0}, {1, 1000}, {10, 0}, {10, 1000}, {100, 0}, {100, 1000}, {1000, 0}, {1000, 1000}};
	uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
	const char *dir = argc > 2 ? argv[2] : "/tmp/hermod-micro-ledger";

	if (n < 1000) {
		fprintf(stderr, "usage: %s [records per row, at least 1000] [directory]\n", argv[0]);
		return 2;
	}
	printf("%6s %8s %12s %9s %9s %9s %9s %9s %9s %9s %9s\n", "", "", "", "put", "writer", "commit",
	       "seal", "pack", "sum", "bytes", "packed");
	printf("%6s %8s %12s %9s %9s %9s %9s %9s %9s %9s %9s\n", "batch", "wait us", "records/s", "ns",
	       "thread ns", "ns", "ns", "ns", "ns", "/record", "/record");
	for (size_t i = 0; i < hm_countof(rows); i++)
		if (run(dir, rows[i].per_tick, n - n % rows[i].per_tick, rows[i].wait_us))
			return 1;
	return 0;
}
