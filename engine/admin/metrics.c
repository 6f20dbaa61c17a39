/*
 * metrics.c - Prometheus text from the counters
 */
#include "admin/metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/stats.h"

/* Upper bounds shown, in microseconds: seven a decade from a fast local answer to 100 s, then what a backlog takes. */
static const uint64_t bounds_us[] = {
	100,	  150,	    200,       300,	  400,	      500,	 750,	   1000,
	1500,	  2000,	    3000,      4000,	  5000,	      7500,	 10000,	   15000,
	20000,	  30000,    40000,     50000,	  75000,      100000,	 150000,   200000,
	300000,	  400000,   500000,    750000,	  1000000,    1500000,	 2000000,  3000000,
	4000000,  5000000,  7500000,   10000000,  15000000,   20000000,	 30000000, 40000000,
	50000000, 75000000, 100000000, 300000000, 1000000000, 3600000000};

static void head(struct hm_buf *b, const char *name, const char *help, const char *type)
{
	hm_buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* 2500 -> 0.0025, exactly and without a float. */
static void seconds(struct hm_buf *b, uint64_t us)
{
	char text[40];
	int n = snprintf(text, sizeof(text), "%llu.%06llu", (unsigned long long)(us / 1000000),
			 (unsigned long long)(us % 1000000));

	while (n > 0 && text[n - 1] == '0')
		n--;
	if (n > 0 && text[n - 1] == '.')
		n--;
	hm_buf_put(b, text, (size_t)n);
}

static void histogram(struct hm_buf *b, enum hm_histogram h)
{
	const char *name = hm_histogram_metric(h);
	static _Thread_local struct hm_hist sum; /* 4 KiB: not for every stack */

	hm_stats_sum_hist(h, &sum);
	head(b, name, hm_histogram_help(h), "histogram");
	for (size_t i = 0; i < hm_countof(bounds_us); i++) {
		hm_buf_printf(b, "%s_bucket{le=\"", name);
		seconds(b, bounds_us[i]);
		hm_buf_printf(b, "\"} %llu\n",
			      (unsigned long long)hm_min(hm_hist_count_le(&sum, bounds_us[i]), sum.n));
	}
	hm_buf_printf(b, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum ", name, (unsigned long long)sum.n, name);
	seconds(b, sum.sum_us);
	hm_buf_printf(b, "\n%s_count %llu\n", name, (unsigned long long)sum.n);
}

static void gauge(struct hm_buf *b, const char *name, const char *help, uint64_t v)
{
	head(b, name, help, "gauge");
	hm_buf_printf(b, "%s %llu\n", name, (unsigned long long)v);
}

static uint64_t resident_bytes(void)
{
	unsigned long long size, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f)
		return 0;
	if (fscanf(f, "%llu %llu", &size, &resident) != 2)
		resident = 0;
	(void)fclose(f);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	uint64_t n = 0;

	if (!d)
		return 0;
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n > 3 ? n - 3 : 0; /* ".", ".." and the folder itself */
}

static void process(struct hm_buf *b)
{
	struct rusage ru;
	struct rlimit fds;

	head(b, "hermod_build_info", "Version of the running program, as a label", "gauge");
	hm_buf_lit(b, "hermod_build_info{version=\"" HM_VERSION "\"} 1\n");
	if (getrusage(RUSAGE_SELF, &ru) == 0) {
		head(b, "process_cpu_seconds_total", "Processor time used, user and system", "counter");
		hm_buf_lit(b, "process_cpu_seconds_total ");
		seconds(b, (uint64_t)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000 +
				   (uint64_t)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec));
		hm_buf_putc(b, '\n');
	}
	gauge(b, "process_resident_memory_bytes", "Memory held in RAM", resident_bytes());
	gauge(b, "process_open_fds", "Open file descriptors", open_fds());
	if (getrlimit(RLIMIT_NOFILE, &fds) == 0)
		gauge(b, "process_max_fds", "Most file descriptors that may be open", fds.rlim_cur);
}

void hm_metrics_write(struct hm_buf *b)
{
	for (int c = 0; c < HM_CT_COUNT; c++) {
		const char *name = hm_counter_metric((enum hm_counter)c);

		head(b, name, hm_counter_help((enum hm_counter)c), hm_counter_type((enum hm_counter)c));
		hm_buf_printf(b, "%s %llu\n", name, (unsigned long long)hm_stats_sum((enum hm_counter)c));
	}
	for (int h = 0; h < HM_HG_COUNT; h++)
		histogram(b, (enum hm_histogram)h);
	process(b);
}
