/*
 * stats.c - numbers per channel, summed over the shards when somebody looks
 *
 * A shard takes the set of a name when it first sees that channel and gives it back when it closes; sets are never freed,
 * so that a counter outlives reloads. A set has one writer at a time.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "shape/shape_int.h"

const char *const shape_state_words[SHAPE_STATES] = {
	[SHAPE_OPEN] = "ok",	     [SHAPE_LIMITED] = "slowed",
	[SHAPE_STOPPED] = "waiting", [SHAPE_HALF_OPEN] = "half_open",
	[SHAPE_BROKEN] = "open",     [SHAPE_PAUSED] = "paused",
};

static struct hm_shape_stats *sets;
static pthread_mutex_t lock =
	PTHREAD_MUTEX_INITIALIZER; /* the list and the sentences; readers of numbers need none */

struct hm_shape_stats *shape_stats_take(struct hm_str name)
{
	struct hm_shape_stats *s;

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

void shape_stats_leave(struct hm_shape_stats *s)
{
	pthread_mutex_lock(&lock);
	s->taken = false;
	s->why[0] = '\0';
	__atomic_store_n(&s->state, (uint64_t)SHAPE_OPEN, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&lock);
}

void shape_stats_why(struct hm_shape_stats *s, const char *why)
{
	pthread_mutex_lock(&lock);
	snprintf(s->why, sizeof(s->why), "%s", why);
	pthread_mutex_unlock(&lock);
}

static bool first_of_its_name(const struct hm_shape_stats *s)
{
	for (const struct hm_shape_stats *o = sets; o != s; o = o->next)
		if (strcmp(o->name, s->name) == 0)
			return false;
	return true;
}

static uint64_t get(const struct hm_shape_stats *s, size_t offset)
{
	return __atomic_load_n((const uint64_t *)(const void *)((const char *)s + offset), __ATOMIC_RELAXED);
}

static uint64_t sum(const struct hm_shape_stats *s, size_t offset)
{
	uint64_t n = 0;

	for (const struct hm_shape_stats *o = s; o; o = o->next)
		if (strcmp(o->name, s->name) == 0)
			n += get(o, offset);
	return n;
}

/* The worst of all shards. */
static const struct hm_shape_stats *worst(const struct hm_shape_stats *s)
{
	const struct hm_shape_stats *w = s;

	for (const struct hm_shape_stats *o = s; o; o = o->next)
		if (strcmp(o->name, s->name) == 0 && o->taken &&
		    get(o, offsetof(struct hm_shape_stats, state)) >
			    get(w, offsetof(struct hm_shape_stats, state)))
			w = o;
	return w;
}

static const struct row {
	const char *metric, *type, *help;
	size_t offset;
} rows[] = {
#define HM_CHANNEL_NUMBER(field, metric, type, help) \
	{metric, type, help, offsetof(struct hm_shape_stats, field)},
#include "tbl/channel_numbers.h"
#undef HM_CHANNEL_NUMBER
};

void hm_shape_metrics(struct hm_buf *b)
{
	pthread_mutex_lock(&lock);
	if (sets == NULL) {
		pthread_mutex_unlock(&lock);
		return;
	}
	for (size_t r = 0; r < hm_countof(rows); r++) {
		hm_buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", rows[r].metric, rows[r].help, rows[r].metric,
			      rows[r].type);
		for (const struct hm_shape_stats *s = sets; s; s = s->next) {
			uint64_t v;

			if (!first_of_its_name(s))
				continue;
			v = rows[r].offset == offsetof(struct hm_shape_stats, state)
				    ? get(worst(s), rows[r].offset)
				    : sum(s, rows[r].offset);
			hm_buf_printf(b, "%s{channel=\"%s\"} ", rows[r].metric, s->name);
			if (rows[r].offset == offsetof(struct hm_shape_stats, allowed))
				hm_buf_printf(b, "%llu.%03llu\n", (unsigned long long)(v / 1000),
					      (unsigned long long)(v % 1000));
			else
				hm_buf_printf(b, "%llu\n", (unsigned long long)v);
		}
	}
	pthread_mutex_unlock(&lock);
}

void hm_shape_summary(struct hm_str channel, struct hm_buf *out)
{
	const struct hm_shape_stats *s;
	uint64_t shards[SHAPE_STATES] = {0}, total = 0;

	pthread_mutex_lock(&lock);
	for (s = sets; s && !hm_str_is(channel, s->name); s = s->next)
		;
	for (const struct hm_shape_stats *o = s; o; o = o->next)
		if (o->taken && strcmp(o->name, s->name) == 0) {
			shards[get(o, offsetof(struct hm_shape_stats, state))]++;
			total++;
		}
	hm_buf_lit(out, "\"state\":\"");
	hm_buf_puts(out, hm_str_c(s ? shape_state_words[get(worst(s), offsetof(struct hm_shape_stats, state))]
				    : "ok"));
	hm_buf_lit(out, "\",\"why\":\"");
	if (s)
		hm_buf_json(out, hm_str_c(worst(s)->why));
	hm_buf_lit(out, "\",\"shards\":{");
	for (size_t i = 0, n = 0; i < SHAPE_STATES; i++)
		if (shards[i] > 0)
			hm_buf_printf(out, "%s\"%s\":%llu", n++ ? "," : "", shape_state_words[i],
				      (unsigned long long)shards[i]);
	hm_buf_putc(out, '}');
	for (size_t r = 0; s && r < hm_countof(rows); r++) {
		static const char prefix[] = "hermod_channel_";
		struct hm_str name = hm_str_c(rows[r].metric + sizeof(prefix) - 1);
		uint64_t v = sum(s, rows[r].offset);

		if (rows[r].offset == offsetof(struct hm_shape_stats, state))
			continue;
		if (hm_str_ends(name, HM_STR("_total")))
			name.len -= sizeof("_total") - 1;
		if (rows[r].offset == offsetof(struct hm_shape_stats, allowed)) {
			if (v == 0)
				hm_buf_lit(out, ",\"allowed_per_second\":null");
			else
				hm_buf_printf(out, ",\"allowed_per_second\":%llu.%03llu",
					      (unsigned long long)(v / 1000), (unsigned long long)(v % 1000));
			continue;
		}
		hm_buf_printf(out, ",\"%.*s\":%llu", HM_STRF(name), (unsigned long long)v);
	}
	pthread_mutex_unlock(&lock);
}
