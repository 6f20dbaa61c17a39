/*
 * snap.h - the engine seen from outside: its metrics, its report, the result of a run
 */
#ifndef HM_BENCH_SNAP_H
#define HM_BENCH_SNAP_H

#include <stdio.h>

#include "base/err.h"
#include "base/stats.h"
#include "opts.h"

#define SNAP_BUCKETS 1024

/* What is read from /metrics (Prometheus text). */
struct snap {
	double cpu_s, rss_bytes, attempts, retries, h2_requests;
	double le[SNAP_BUCKETS], count[SNAP_BUCKETS]; /* hermod_queue_to_accepted_seconds, cumulative */
	size_t n;
};
void snap_parse(struct snap *s, struct hm_str text);
/* Quantile of what happened between two snapshots, in seconds; interpolated inside a bucket. */
double snap_quantile(const struct snap *a, const struct snap *b, double q);

/* GET /v1/report?campaign= */
struct report {
	uint64_t accepted, final, pending, unknown, state[HM_ST_COUNT];
};
int report_parse(struct report *r, struct hm_str json, struct hm_err *e);

struct result {
	const struct opts *o;
	const struct snap *first, *last;
	const struct report *report;
	uint64_t load_ns, total_ns, submitted;
};
void result_print(const struct result *r, FILE *f);

#endif
