/*
 * stats.h - counters and latency histograms, one set per thread, summed on read
 *
 * The owner thread adds without locks (relaxed stores); anyone may sum. Rows live
 * in tbl/counters.h and appear by themselves in /metrics with their help text.
 * Histograms are log-linear: 16 linear steps per power of two of microseconds,
 * 1 us .. 2^32 us, error below 6.25 %.
 */
#ifndef HM_BASE_STATS_H
#define HM_BASE_STATS_H

#include "base/defs.h"

enum hm_counter {
#define HM_COUNTER(name, metric, type, help) HM_CT_##name,
#include "tbl/counters.h"
#undef HM_COUNTER
	HM_CT_COUNT
};
enum hm_histogram {
#define HM_HISTOGRAM(name, metric, help) HM_HG_##name,
#include "tbl/histograms.h"
#undef HM_HISTOGRAM
	HM_HG_COUNT
};
#define HM_HIST_BUCKETS (16 * 33)
struct hm_hist {
	uint64_t n, sum_us;
	uint64_t b[HM_HIST_BUCKETS];
};
struct hm_stats {
	uint64_t c[HM_CT_COUNT];
	struct hm_hist h[HM_HG_COUNT];
	struct hm_stats *next; /* registry */
};
struct hm_stats *hm_stats_new(void); /* registered for summing; lives until hm_stats_free_all */
void hm_stats_free_all(void);
static inline void hm_stats_add(struct hm_stats *s, enum hm_counter c, uint64_t n)
{
	__atomic_store_n(&s->c[c], s->c[c] + n, __ATOMIC_RELAXED);
}
#define hm_stats_inc(s, c) hm_stats_add((s), (c), 1)
static inline void hm_stats_sub(struct hm_stats *s, enum hm_counter c, uint64_t n) /* gauges */
{
	__atomic_store_n(&s->c[c], s->c[c] - n, __ATOMIC_RELAXED);
}
void hm_stats_record_us(struct hm_stats *s, enum hm_histogram h, uint64_t us);
uint64_t hm_stats_sum(enum hm_counter c);
void hm_stats_sum_hist(enum hm_histogram h, struct hm_hist *out);
/* Also usable alone (hermod-bench): */
void hm_hist_record(struct hm_hist *h, uint64_t us);
void hm_hist_merge(struct hm_hist *dst, const struct hm_hist *src);
uint64_t hm_hist_quantile(const struct hm_hist *h, double q); /* us, middle of the bucket; 0 when empty */
uint64_t hm_hist_count_le(const struct hm_hist *h,
			  uint64_t us);	      /* records in buckets that end at or below us */
uint64_t hm_hist_bucket_end(unsigned bucket); /* largest us the bucket holds */
const char *hm_counter_metric(enum hm_counter c), *hm_counter_help(enum hm_counter c),
	*hm_counter_type(enum hm_counter c);
const char *hm_histogram_metric(enum hm_histogram h), *hm_histogram_help(enum hm_histogram h);

#endif
