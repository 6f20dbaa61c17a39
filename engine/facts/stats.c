/*
 * stats.c - counters per fact, summed over the shards when somebody looks
 *
 * A shard takes the set of a name when it first sees that fact and gives it back when it closes; sets are never freed,
 * so that a counter outlives reloads. A set has one writer at a time.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "facts/facts_int.h"

static struct fact_stats *sets;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* the list; readers of numbers need none */

struct fact_stats *fact_stats_take(struct hm_str name)
{
	struct fact_stats *s;

	pthread_mutex_lock(&lock);
	for (s = sets; s; s = s->next)
		if (!s->taken && hm_str_is(name, s->name))
			break;
	if (s == NULL && (s = calloc(1, sizeof(*s))) != NULL) {
		snprintf(s->name, sizeof(s->name), "%.*s", HM_STRF(name));
		s->next = sets;
		sets = s;
	}
	if (s)
		s->taken = true;
	pthread_mutex_unlock(&lock);
	return s;
}

void fact_stats_leave(struct fact_stats *s)
{
	pthread_mutex_lock(&lock);
	s->taken = false;
	pthread_mutex_unlock(&lock);
}

static bool first_of_its_name(const struct fact_stats *s)
{
	for (const struct fact_stats *o = sets; o != s; o = o->next)
		if (strcmp(o->name, s->name) == 0)
			return false;
	return true;
}

static uint64_t sum(const struct fact_stats *s, int c)
{
	uint64_t n = 0;

	for (const struct fact_stats *o = s; o; o = o->next)
		if (strcmp(o->name, s->name) == 0)
			n += __atomic_load_n(&o->c[c], __ATOMIC_RELAXED);
	return n;
}

static void seconds(struct hm_buf *b, uint64_t us)
{
	hm_buf_printf(b, "%llu.%06llu", (unsigned long long)(us / 1000000),
		      (unsigned long long)(us % 1000000));
}

static void latency(struct hm_buf *b, const struct fact_stats *s)
{
	static const struct {
		double q;
		const char *text;
	} q[] = {{0.5, "0.5"}, {0.9, "0.9"}, {0.99, "0.99"}};
	static _Thread_local struct hm_hist all; /* 4 KiB: not for every stack */

	memset(&all, 0, sizeof(all));
	for (const struct fact_stats *o = s; o; o = o->next)
		if (strcmp(o->name, s->name) == 0)
			hm_hist_merge(&all, &o->latency);
	for (size_t i = 0; i < hm_countof(q); i++) {
		hm_buf_printf(b, "hermod_fact_request_seconds{fact=\"%s\",quantile=\"%s\"} ", s->name,
			      q[i].text);
		seconds(b, hm_hist_quantile(&all, q[i].q));
		hm_buf_putc(b, '\n');
	}
	hm_buf_printf(b, "hermod_fact_request_seconds_sum{fact=\"%s\"} ", s->name);
	seconds(b, all.sum_us);
	hm_buf_printf(b, "\nhermod_fact_request_seconds_count{fact=\"%s\"} %llu\n", s->name,
		      (unsigned long long)all.n);
}

void hm_facts_metrics(struct hm_buf *b)
{
	static const struct {
		const char *metric, *help;
	} rows[] = {
#define HM_FACT_COUNTER(name, metric, help) {metric, help},
#include "tbl/fact_counters.h"
#undef HM_FACT_COUNTER
	};

	pthread_mutex_lock(&lock);
	if (sets == NULL) {
		pthread_mutex_unlock(&lock);
		return;
	}
	for (int c = 0; c < FACT_CT_COUNT; c++) {
		hm_buf_printf(b, "# HELP %s %s\n# TYPE %s counter\n", rows[c].metric, rows[c].help,
			      rows[c].metric);
		for (const struct fact_stats *s = sets; s; s = s->next)
			if (first_of_its_name(s))
				hm_buf_printf(b, "%s{fact=\"%s\"} %llu\n", rows[c].metric, s->name,
					      (unsigned long long)sum(s, c));
	}
	hm_buf_lit(b, "# HELP hermod_fact_request_seconds One request for values, sent to answered\n"
		      "# TYPE hermod_fact_request_seconds summary\n");
	for (const struct fact_stats *s = sets; s; s = s->next)
		if (first_of_its_name(s))
			latency(b, s);
	pthread_mutex_unlock(&lock);
}
