/*
 * stats.c - sets of counters, one per thread, and their sums
 */
#include "base/stats.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/arena.h"

static struct hm_stats *sets;
static pthread_mutex_t sets_lock = PTHREAD_MUTEX_INITIALIZER; /* registration only; readers follow ->next */

static const struct {
	const char *metric, *type, *help;
} counters[] = {
#define HM_COUNTER(name, metric, type, help) {metric, type, help},
#include "tbl/counters.h"
#undef HM_COUNTER
};
static const struct {
	const char *metric, *help;
} histograms[] = {
#define HM_HISTOGRAM(name, metric, help) {metric, help},
#include "tbl/histograms.h"
#undef HM_HISTOGRAM
};

struct hm_stats *hm_stats_new(void)
{
	size_t size = (sizeof(struct hm_stats) + 127) & ~(size_t)127;
	struct hm_stats *s = aligned_alloc(128,
					   size); /* own cache lines: neighbours must not slow each other */

	if (s == NULL)
		return NULL;
	memset(s, 0, size);
	pthread_mutex_lock(&sets_lock);
	s->next = sets;
	__atomic_store_n(&sets, s, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&sets_lock);
	return s;
}

void hm_stats_free_all(void)
{
	pthread_mutex_lock(&sets_lock);
	while (sets) {
		struct hm_stats *s = sets;

		sets = s->next;
		free(s);
	}
	pthread_mutex_unlock(&sets_lock);
}

uint64_t hm_stats_sum(enum hm_counter c)
{
	uint64_t sum = c == HM_CT_ARENA_BIG ? hm_arena_big() : 0; /* arenas know no thread's set */

	for (struct hm_stats *s = __atomic_load_n(&sets, __ATOMIC_ACQUIRE); s; s = s->next)
		sum += __atomic_load_n(&s->c[c], __ATOMIC_RELAXED);
	return sum;
}

/*
 * Buckets 0..15 hold one microsecond each; from there every power of two is cut in
 * 16 equal steps, so a bucket is never wider than a sixteenth of what it holds.
 */
static unsigned bucket_of(uint64_t us)
{
	unsigned e;

	us = hm_min(us, ((uint64_t)1 << 33) - 1);
	if (us < 16)
		return (unsigned)us;
	e = 63 - (unsigned)__builtin_clzll(us);
	return (e - 3) * 16 + (unsigned)(us >> (e - 4) & 15);
}

static uint64_t bucket_start(unsigned i)
{
	return i < 16 ? i : (uint64_t)(16 + i % 16) << (i / 16 - 1);
}

uint64_t hm_hist_bucket_end(unsigned i)
{
	return bucket_start(i + 1) - 1;
}

static void bump(uint64_t *at, uint64_t n)
{
	__atomic_store_n(at, *at + n, __ATOMIC_RELAXED);
}

void hm_hist_record(struct hm_hist *h, uint64_t us)
{
	bump(&h->b[bucket_of(us)], 1);
	bump(&h->sum_us, us);
	bump(&h->n, 1);
}

void hm_stats_record_us(struct hm_stats *s, enum hm_histogram h, uint64_t us)
{
	hm_hist_record(&s->h[h], us);
}

void hm_hist_merge(struct hm_hist *dst, const struct hm_hist *src)
{
	uint64_t n = 0;

	for (size_t i = 0; i < HM_HIST_BUCKETS; i++) {
		uint64_t b = __atomic_load_n(&src->b[i], __ATOMIC_RELAXED);

		dst->b[i] += b;
		n += b;
	}
	dst->n += n; /* counted from the buckets, so that a reader's total always matches them */
	dst->sum_us += __atomic_load_n(&src->sum_us, __ATOMIC_RELAXED);
}

void hm_stats_sum_hist(enum hm_histogram h, struct hm_hist *out)
{
	memset(out, 0, sizeof(*out));
	for (struct hm_stats *s = __atomic_load_n(&sets, __ATOMIC_ACQUIRE); s; s = s->next)
		hm_hist_merge(out, &s->h[h]);
}

uint64_t hm_hist_quantile(const struct hm_hist *h, double q)
{
	uint64_t rank, seen = 0;

	if (h->n == 0)
		return 0;
	q = q < 0 ? 0 : q > 1 ? 1 : q;
	rank = (uint64_t)((double)h->n * q);
	if (rank >= h->n)
		rank = h->n - 1;
	for (unsigned i = 0; i < HM_HIST_BUCKETS; i++) {
		seen += h->b[i];
		if (seen > rank)
			return bucket_start(i) + (hm_hist_bucket_end(i) - bucket_start(i)) / 2;
	}
	return hm_hist_bucket_end(HM_HIST_BUCKETS - 1);
}

uint64_t hm_hist_count_le(const struct hm_hist *h, uint64_t us)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < HM_HIST_BUCKETS && hm_hist_bucket_end(i) <= us; i++)
		n += h->b[i];
	return n;
}

const char *hm_counter_metric(enum hm_counter c)
{
	return counters[c].metric;
}

const char *hm_counter_help(enum hm_counter c)
{
	return counters[c].help;
}

const char *hm_counter_type(enum hm_counter c)
{
	return counters[c].type;
}

const char *hm_histogram_metric(enum hm_histogram h)
{
	return histograms[h].metric;
}

const char *hm_histogram_help(enum hm_histogram h)
{
	return histograms[h].help;
}
