/*
 * snap.c - reading metrics and report, printing the result
 */
#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "snap.h"

static bool sample(struct hm_str line, const char *name, struct hm_str *labels, double *v)
{
	struct hm_str rest = line;
	size_t n = strlen(name);
	char num[64];

	if (!hm_str_starts(line, hm_str_c(name)))
		return false;
	rest = hm_str_n(line.p + n, line.len - n);
	*labels = HM_STR_NULL;
	if (rest.len > 0 && rest.p[0] == '{') {
		ptrdiff_t end = hm_str_chr(rest, '}');

		if (end < 0)
			return false;
		*labels = hm_str_n(rest.p + 1, (size_t)end - 1);
		rest = hm_str_n(rest.p + end + 1, rest.len - (size_t)end - 1);
	}
	if (rest.len < 2 || rest.p[0] != ' ' || rest.len >= sizeof(num))
		return false;
	memcpy(num, rest.p + 1, rest.len - 1);
	num[rest.len - 1] = '\0';
	*v = strtod(num, NULL);
	return true;
}

void snap_parse(struct snap *s, struct hm_str text)
{
	struct hm_str line, labels;
	double v;

	memset(s, 0, sizeof(*s));
	while (hm_str_split(&text, '\n', &line)) {
		if (sample(line, "process_cpu_seconds_total", &labels, &v)) {
			s->cpu_s = v;
		} else if (sample(line, "process_resident_memory_bytes", &labels, &v)) {
			s->rss_bytes = v;
		} else if (sample(line, "hermod_attempts_total", &labels, &v)) {
			s->attempts = v;
		} else if (sample(line, "hermod_attempts_retried_total", &labels, &v)) {
			s->retries = v;
		} else if (sample(line, "hermod_h2_requests_total", &labels, &v)) {
			s->h2_requests = v;
		} else if (sample(line, "hermod_queue_to_accepted_seconds_bucket", &labels, &v) &&
			   s->n < SNAP_BUCKETS) {
			ptrdiff_t at = hm_str_find(labels, HM_STR("le=\""));

			if (at < 0)
				continue;
			s->le[s->n] = labels.p[at + 4] == '+' ? INFINITY : strtod(labels.p + at + 4, NULL);
			s->count[s->n++] = v;
		}
	}
}

/* Engines print only buckets that hold something: the count at a bound is that of the nearest bound below. */
static double count_at(const struct snap *s, double le)
{
	double c = 0;

	for (size_t i = 0; i < s->n && s->le[i] <= le; i++)
		c = s->count[i];
	return c;
}

double snap_quantile(const struct snap *a, const struct snap *b, double q)
{
	double total = b->n ? b->count[b->n - 1] - (a->n ? a->count[a->n - 1] : 0) : 0, want = total * q,
	       before = 0, low = 0;

	if (total <= 0)
		return 0;
	for (size_t i = 0; i < b->n; i++) {
		double c = b->count[i] - count_at(a, b->le[i]);

		if (c >= want) {
			if (isinf(b->le[i]))
				return low;
			return c > before ? low + (b->le[i] - low) * (want - before) / (c - before)
					  : b->le[i];
		}
		before = c;
		low = b->le[i];
	}
	return low;
}

static uint64_t member(const msgpack_object *o, const char *name)
{
	uint64_t v = 0;
	const msgpack_object *x = hm_mp_get(o, hm_str_c(name));

	return x != NULL && hm_mp_u64(x, &v) ? v : 0;
}

int report_parse(struct report *r, struct hm_str json, struct hm_err *e)
{
	const msgpack_object *root, *list;
	msgpack_object o;
	msgpack_zone zone;
	struct hm_buf mp;
	int err;

	hm_buf_init(&mp, 16u << 20);
	if (!msgpack_zone_init(&zone, 4096))
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	err = hm_json_to_msgpack(json, &mp, e);
	if (err == 0)
		err = hm_msgpack_decode(&zone, hm_buf_str(&mp), &o, e);
	if (err == 0) {
		root = &o;
		list = hm_mp_get(root, HM_STR("campaign"));
		if (list != NULL && list->type == MSGPACK_OBJECT_MAP)
			root = list;
		memset(r, 0, sizeof(*r));
		r->accepted = member(root, "accepted");
		r->pending = member(root, "pending");
		r->unknown = member(root, "unknown_attempts");
		for (int s = 0; s < HM_ST_COUNT; s++) {
			if (!hm_state_final((enum hm_state)s))
				continue;
			r->state[s] = member(root, hm_state_name((enum hm_state)s));
			/* `sent` counts the delivered ones too */
			if (s != HM_ST_DELIVERED)
				r->final += r->state[s];
		}
	}
	msgpack_zone_destroy(&zone);
	hm_buf_fini(&mp);
	return err;
}

static void json(const struct result *r, FILE *f)
{
	double s = (double)r->total_ns / 1e9, per_s = (double)r->report->final / s;

	fprintf(f,
		"{\"campaign\":\"%s\",\"messages\":%llu,\"submitted\":%llu,\"accepted\":%llu,\"seconds\":%."
		"3f,\"load_seconds\":%.3f,"
		"\"sends_per_second\":%.0f,\"sends_per_minute\":%.0f,"
		"\"p50_us\":%.0f,\"p90_us\":%.0f,\"p99_us\":%.0f,\"p999_us\":%.0f,"
		"\"cpu_us_per_send\":%.3f,\"cpu_seconds\":%.2f,\"rss_bytes\":%.0f,\"attempts\":%.0f,"
		"\"retries\":%.0f,\"unknown_attempts\":%llu",
		r->o->campaign, (unsigned long long)r->o->messages, (unsigned long long)r->submitted,
		(unsigned long long)r->report->accepted, s, (double)r->load_ns / 1e9, per_s, per_s * 60,
		snap_quantile(r->first, r->last, 0.5) * 1e6, snap_quantile(r->first, r->last, 0.9) * 1e6,
		snap_quantile(r->first, r->last, 0.99) * 1e6, snap_quantile(r->first, r->last, 0.999) * 1e6,
		r->report->final ? (r->last->cpu_s - r->first->cpu_s) * 1e6 / (double)r->report->final : 0,
		r->last->cpu_s - r->first->cpu_s, r->last->rss_bytes, r->last->attempts - r->first->attempts,
		r->last->retries - r->first->retries, (unsigned long long)r->report->unknown);
	for (int i = 0; i < HM_ST_COUNT; i++)
		if (hm_state_final((enum hm_state)i) && i != HM_ST_DELIVERED)
			fprintf(f, ",\"%s\":%llu", hm_state_name((enum hm_state)i),
				(unsigned long long)r->report->state[i]);
	fprintf(f, ",\"pending\":%llu}\n", (unsigned long long)r->report->pending);
}

static void row(FILE *f, const char *name, const char *fmt, ...) HM_PRINTF(3, 4);
#include <stdarg.h>
static void row(FILE *f, const char *name, const char *fmt, ...)
{
	va_list ap;

	fprintf(f, "  %-30s ", name);
	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	fputc('\n', f);
}

void result_print(const struct result *r, FILE *f)
{
	const struct report *p = r->report;
	double s = (double)r->total_ns / 1e9, per_s = (double)p->final / s;
	uint64_t sum = p->pending;

	if (r->o->json) {
		json(r, f);
		return;
	}
	fprintf(f, "\ncampaign %s: %llu messages in %.2f s\n\n", r->o->campaign,
		(unsigned long long)r->o->messages, s);
	row(f, "sends/s", "%'14.0f", per_s);
	row(f, "sends/min", "%'14.0f", per_s * 60);
	row(f, "enqueue -> accepted, p50", "%11.2f ms", snap_quantile(r->first, r->last, 0.5) * 1e3);
	row(f, "                     p90", "%11.2f ms", snap_quantile(r->first, r->last, 0.9) * 1e3);
	row(f, "                     p99", "%11.2f ms", snap_quantile(r->first, r->last, 0.99) * 1e3);
	row(f, "                     p99.9", "%11.2f ms", snap_quantile(r->first, r->last, 0.999) * 1e3);
	row(f, "CPU per send", "%11.2f us",
	    p->final ? (r->last->cpu_s - r->first->cpu_s) * 1e6 / (double)p->final : 0);
	row(f, "engine memory (resident)", "%10.1f MiB", r->last->rss_bytes / 1048576);
	row(f, "attempts", "%'14.0f", r->last->attempts - r->first->attempts);
	row(f, "retries", "%'14.0f", r->last->retries - r->first->retries);
	row(f, "unknown attempts", "%'14llu", (unsigned long long)p->unknown);
	fprintf(f, "\n  the books\n");
	row(f, "accepted", "%'14llu", (unsigned long long)p->accepted);
	for (int i = 0; i < HM_ST_COUNT; i++) {
		if (!hm_state_final((enum hm_state)i) || i == HM_ST_DELIVERED)
			continue;
		row(f, hm_state_name((enum hm_state)i), "%'14llu", (unsigned long long)p->state[i]);
		sum += p->state[i];
	}
	row(f, "pending", "%'14llu", (unsigned long long)p->pending);
	row(f, "balance", "%14s", sum == p->accepted ? "it balances" : "DOES NOT BALANCE");
}
