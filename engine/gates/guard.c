/*
 * guard.c - invalid recipients found by outcomes go on the list, unless too many are at once
 *
 *   answer -> window of its channel -> calm:    item -> (once a tick) Redis
 *                                   -> tripped: counted
 *
 * An item waits in `filling`; a tick's items become `flying` and stay there until Redis has them. One batch is under way
 * at a time, so that memory has two fixed halves and a repeat is the same batch.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/obj.h"
#include "gates/suppress.h"

#define GUARD_MAGIC    0x69677264u
#define BUCKETS	       10 /* of a window */
#define TEXT_MAX       (1u << 20)
#define RETRY_MIN_MS   500
#define RETRY_MAX_MS   10000
#define CHANNEL_MAX    64
#define SUSPECT_PROOF  ", said again on another day"
#define PROOF_ROOM_MAX (HM_SUPPRESS_PROOF_MAX - sizeof(SUSPECT_PROOF))

/* Of one channel, for all shards of the process; never freed, so that its counters outlive reloads. Atomic. */
struct shared {
	struct shared *next;
	char name[CHANNEL_MAX + 1];
	uint32_t tripped; /* shards that hold it */
	uint64_t added, held, suspects, lost;
};
static struct shared *all_shared;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* the list; numbers need none */

struct channel {
	struct channel *next;
	struct shared *shared;
	struct hm_str name;
	char by[CHANNEL_MAX + 10];
	bool tripped;
	uint64_t window_ms;
	uint64_t bucket; /* number of the newest: time / length of one */
	uint32_t answers[BUCKETS], invalid[BUCKETS];
	uint64_t sum_answers, sum_invalid;
	uint64_t calm_since_ms; /* tripped: since when the share is low, 0 = it is not */
	uint64_t held;		/* since it tripped */
};

struct item {
	struct channel *c;
	uint32_t off; /* of the address in the text; the proof follows */
	uint16_t addr_len, proof_len;
	int8_t medium;
	bool suspect, dropped;
	uint64_t since_ms, at_ms;
};
struct half {
	struct item v[HM_GUARD_PENDING];
	size_t n;
	struct hm_buf text;
};

struct hm_invalid_guard {
	uint32_t magic;
	struct hm_tick *tick;
	struct hm_redis *redis;
	struct hm_str prefix;
	struct channel *channels, *last;
	size_t n_channels;
	struct half halves[2], *filling, *flying;
	struct hm_suppress_entry entries[HM_GUARD_PENDING];
	uint32_t open; /* calls under way */
	bool failed, dead;
	uint32_t retry_ms;
	struct hm_flush flush;
	struct hm_timer retry;
};

static void count(uint64_t *n, uint64_t more)
{
	__atomic_fetch_add(n, more, __ATOMIC_RELAXED);
}

/* -- channels ------------------------------------------------------------------------------------------ */

static struct shared *shared_of(struct hm_str name)
{
	struct shared *s;

	pthread_mutex_lock(&lock);
	for (s = all_shared; s && !hm_str_is(name, s->name); s = s->next)
		;
	if (s == NULL && (s = calloc(1, sizeof(*s))) != NULL) {
		(void)snprintf(s->name, sizeof(s->name), "%.*s", HM_STRF(name));
		s->next = all_shared;
		all_shared = s;
	}
	pthread_mutex_unlock(&lock);
	return s;
}

/* NULL: too many, or no memory: then nothing is known about it. */
static struct channel *channel_of(struct hm_invalid_guard *g, struct hm_str name)
{
	struct channel *c;

	if (g->last && hm_str_eq(g->last->name, name))
		return g->last;
	for (c = g->channels; c && !hm_str_eq(c->name, name); c = c->next)
		;
	if (c == NULL) {
		if (name.len == 0 || name.len > CHANNEL_MAX || g->n_channels == HM_GUARD_CHANNELS)
			return NULL;
		c = calloc(1, sizeof(*c));
		if (c == NULL || (c->shared = shared_of(name)) == NULL) {
			free(c);
			return NULL;
		}
		c->name = hm_str_c(c->shared->name);
		(void)snprintf(c->by, sizeof(c->by), "channel:%s", c->shared->name);
		c->next = g->channels;
		g->channels = c;
		g->n_channels++;
	}
	g->last = c;
	return c;
}

static void drop_waiting(struct hm_invalid_guard *g, struct channel *c)
{
	for (size_t i = 0; i < g->filling->n; i++) {
		struct item *x = &g->filling->v[i];

		if (x->c != c || x->dropped)
			continue;
		x->dropped = true;
		c->held++;
		count(&c->shared->held, 1);
	}
}

static void trip(struct hm_invalid_guard *g, struct channel *c, const struct hm_config *cfg)
{
	c->tripped = true;
	c->calm_since_ms = 0;
	c->held = 0;
	drop_waiting(g, c);
	/* one alarm for the process; the other shards follow */
	if (__atomic_fetch_add(&c->shared->tripped, 1, __ATOMIC_RELAXED) == 0)
		HM_ERROR(DISPATCH, "too many invalid recipients at once, none is put on the list",
			 HM_SV("channel", c->name), HM_U("answers", c->sum_answers),
			 HM_U("invalid", c->sum_invalid),
			 HM_I("limit_percent", cfg->settings.gates.invalid_share),
			 HM_S("look_at", "environment and credential of the channel, the provider's status, "
					 "the age of the "
					 "addresses"));
}

static void recover(struct channel *c)
{
	c->tripped = false;
	if (__atomic_fetch_sub(&c->shared->tripped, 1, __ATOMIC_RELAXED) == 1)
		HM_WARN(DISPATCH, "invalid recipients are put on the list again", HM_SV("channel", c->name),
			HM_U("held_back", __atomic_load_n(&c->shared->held, __ATOMIC_RELAXED)));
}

/* Moves the window to now. A window of another length begins empty. */
static void roll(struct channel *c, uint64_t window_ms, uint64_t now_ms)
{
	uint64_t bucket = now_ms / hm_max(window_ms / BUCKETS, (uint64_t)1), steps;

	if (c->window_ms != window_ms) {
		c->window_ms = window_ms;
		steps = BUCKETS;
	} else {
		steps = hm_min(bucket - c->bucket, (uint64_t)BUCKETS);
	}
	for (uint64_t i = 0; i < steps; i++) {
		size_t at = (size_t)((bucket - i) % BUCKETS);

		c->sum_answers -= c->answers[at];
		c->sum_invalid -= c->invalid[at];
		c->answers[at] = c->invalid[at] = 0;
	}
	c->bucket = bucket;
}

static void judge(struct hm_invalid_guard *g, struct channel *c, const struct hm_config *cfg, uint64_t now_ms)
{
	uint64_t share = (uint64_t)cfg->settings.gates.invalid_share;

	if (!c->tripped) {
		if (c->sum_answers >= (uint64_t)cfg->settings.gates.invalid_min &&
		    c->sum_invalid * 100 > share * c->sum_answers)
			trip(g, c, cfg);
		return;
	}
	if (c->sum_invalid * 200 >= share * c->sum_answers)
		c->calm_since_ms = 0;
	else if (c->calm_since_ms == 0)
		c->calm_since_ms = hm_max(now_ms, (uint64_t)1);
	else if (now_ms - c->calm_since_ms >= c->window_ms)
		recover(c);
}

/* Counts an answer. True: the channel is calm, and its word counts. */
static bool counted(struct hm_invalid_guard *g, const struct hm_config *cfg, struct channel *c, bool invalid)
{
	uint64_t now_ms = hm_tick_ms(g->tick);
	size_t at;

	roll(c, cfg->settings.gates.invalid_window_ms, now_ms);
	at = (size_t)(c->bucket % BUCKETS);
	c->answers[at]++;
	c->sum_answers++;
	c->invalid[at] += invalid;
	c->sum_invalid += invalid;
	judge(g, c, cfg, now_ms);
	if (!invalid)
		return true;
	if (c->tripped || __atomic_load_n(&c->shared->tripped, __ATOMIC_RELAXED)) {
		c->held++;
		count(&c->shared->held, 1);
		return false;
	}
	return cfg->settings.gates.add_invalid;
}

/* -- to Redis -------------------------------------------------------------------------------------------- */

static void send_flying(struct hm_invalid_guard *g);

static void begin_flight(struct hm_invalid_guard *g)
{
	struct half *h = g->filling;

	if (g->flying || h->n == 0)
		return;
	g->flying = h;
	g->filling = h == &g->halves[0] ? &g->halves[1] : &g->halves[0];
	send_flying(g);
}

static void land(struct hm_invalid_guard *g)
{
	g->flying->n = 0;
	hm_buf_reset(&g->flying->text);
	g->flying = NULL;
	g->retry_ms = 0;
	begin_flight(g);
}

static void release(struct hm_invalid_guard *g)
{
	for (struct channel *c = g->channels, *next; c; c = next) {
		next = c->next;
		if (c->tripped)
			__atomic_fetch_sub(&c->shared->tripped, 1, __ATOMIC_RELAXED);
		free(c);
	}
	hm_buf_fini(&g->halves[0].text);
	hm_buf_fini(&g->halves[1].text);
	HM_MAGIC_CLEAR(g);
	free(g);
}

static void on_added(void *arg, size_t changed, const struct hm_err *err)
{
	struct hm_invalid_guard *g = arg;

	HM_CHECK(g, GUARD_MAGIC);
	if (err) {
		g->failed = true;
		if (!g->dead)
			HM_WARN(DISPATCH, "invalid recipients cannot be put on the list now",
				HM_U("waiting", g->flying->n), HM_E(err));
	}
	hm_assert(g->open > 0);
	if (--g->open > 0)
		return;
	if (g->dead) {
		release(g);
		return;
	}
	if (!g->failed) {
		for (size_t i = 0; i < g->flying->n; i++)
			if (!g->flying->v[i].dropped && !g->flying->v[i].suspect)
				count(&g->flying->v[i].c->shared->added, 1);
		land(g);
		return;
	}
	g->retry_ms = hm_min(hm_max(2 * g->retry_ms, (uint32_t)RETRY_MIN_MS), (uint32_t)RETRY_MAX_MS);
	hm_timer_start(g->tick, &g->retry, g->retry_ms);
}

static struct hm_str reason_of(int medium)
{
	bool bounce = medium == HM_MED_EMAIL || medium == HM_MED_SMS || medium == HM_MED_VOICE;

	return hm_str_c(
		hm_suppress_reason_name(bounce ? HM_SUPPRESS_HARD_BOUNCE : HM_SUPPRESS_INVALID_TOKEN));
}

static size_t gather(struct hm_invalid_guard *g, bool suspect, size_t at)
{
	const struct half *h = g->flying;
	size_t n = 0;

	for (size_t i = 0; i < h->n; i++) {
		const struct item *x = &h->v[i];

		if (x->dropped || x->suspect != suspect)
			continue;
		g->entries[at + n++] = (struct hm_suppress_entry){
			.kind = HM_SUPPRESS_ADDRESS,
			.subject = hm_str_n(h->text.p + x->off, x->addr_len),
			.medium = x->medium,
			.reason = reason_of(x->medium),
			.by = hm_str_c(x->c->by),
			.proof = hm_str_n(h->text.p + x->off + x->addr_len, x->proof_len),
			.at_ms = x->at_ms,
			.since_ms = x->since_ms,
		};
	}
	return n;
}

static void send_flying(struct hm_invalid_guard *g)
{
	size_t sure = gather(g, false, 0), doubtful = gather(g, true, sure);

	g->failed = false;
	g->open = (sure ? 1u : 0u) + (doubtful ? 1u : 0u);
	if (g->open == 0) {
		land(g);
		return;
	}
	if (sure)
		hm_suppress_add_new(g->redis, g->prefix, g->tick->wall_ms, g->entries, sure, on_added, g);
	if (doubtful)
		hm_suppress_suspect(g->redis, g->prefix, g->tick->wall_ms, g->entries + sure, doubtful,
				    on_added, g);
}

static void on_flush(struct hm_flush *f)
{
	struct hm_invalid_guard *g = hm_container_of(f, struct hm_invalid_guard, flush);

	HM_CHECK(g, GUARD_MAGIC);
	begin_flight(g);
}

static void on_retry(struct hm_timer *t)
{
	struct hm_invalid_guard *g = hm_container_of(t, struct hm_invalid_guard, retry);

	HM_CHECK(g, GUARD_MAGIC);
	send_flying(g);
}

static void put_item(struct hm_invalid_guard *g, struct channel *c, int medium, struct hm_str addr,
		     struct hm_str proof, uint64_t since_ms, bool suspect)
{
	struct half *h = g->filling;
	struct item *x;

	if (addr.len == 0 || addr.len > HM_SUPPRESS_SUBJECT_MAX || medium < 0 || medium >= HM_MED_COUNT)
		return;
	proof.len = hm_utf8_cut(proof, PROOF_ROOM_MAX);
	if (h->n == HM_GUARD_PENDING ||
	    h->text.len + addr.len + proof.len + sizeof(SUSPECT_PROOF) > TEXT_MAX) {
		if (c->shared->lost == 0)
			HM_WARN(DISPATCH, "invalid recipients are not put on the list, too many wait already",
				HM_SV("channel", c->name));
		count(&c->shared->lost, 1);
		return;
	}
	x = &h->v[h->n];
	*x = (struct item){
		.c = c,
		.off = (uint32_t)h->text.len,
		.addr_len = (uint16_t)addr.len,
		.medium = (int8_t)medium,
		.suspect = suspect,
		.since_ms = since_ms,
		.at_ms = g->tick->wall_ms,
	};
	hm_buf_puts(&h->text, addr);
	hm_buf_puts(&h->text, proof);
	if (suspect)
		hm_buf_puts(&h->text, HM_STR(SUSPECT_PROOF));
	x->proof_len = (uint16_t)(h->text.len - x->off - addr.len);
	if (h->text.err) { /* out of memory: what was written stays unused */
		hm_buf_reset(&h->text);
		h->n = 0;
		count(&c->shared->lost, 1);
		return;
	}
	h->n++;
	if (!g->flying)
		hm_flush_later(g->tick, &g->flush);
}

void hm_invalid_guard_answer(struct hm_invalid_guard *g, const struct hm_config *cfg, struct hm_str channel,
			     int medium, struct hm_str addr, bool invalid, struct hm_str proof,
			     uint64_t since_ms)
{
	struct channel *c;

	HM_CHECK(g, GUARD_MAGIC);
	c = channel_of(g, channel);
	if (c && counted(g, cfg, c, invalid) && invalid)
		put_item(g, c, medium, addr, proof, since_ms, false);
}

void hm_invalid_guard_suspect(struct hm_invalid_guard *g, const struct hm_config *cfg, struct hm_str channel,
			      int medium, struct hm_str addr, struct hm_str proof)
{
	struct channel *c;

	HM_CHECK(g, GUARD_MAGIC);
	c = channel_of(g, channel);
	if (c == NULL)
		return;
	count(&c->shared->suspects, 1);
	/* no good answer in the window: the setting has not shown that it is right */
	if (counted(g, cfg, c, true) && c->sum_answers > c->sum_invalid)
		put_item(g, c, medium, addr, proof, 0, true);
}

/* -- life and numbers -------------------------------------------------------------------------------------- */

struct hm_invalid_guard *hm_invalid_guard_new(struct hm_tick *t, struct hm_redis *r, struct hm_str prefix)
{
	struct hm_invalid_guard *g = calloc(1, sizeof(*g));

	if (g == NULL)
		return NULL;
	HM_MAGIC_SET(g, GUARD_MAGIC);
	g->tick = t;
	g->redis = r;
	g->prefix = prefix;
	hm_buf_init(&g->halves[0].text, TEXT_MAX);
	hm_buf_init(&g->halves[1].text, TEXT_MAX);
	g->filling = &g->halves[0];
	hm_flush_init(&g->flush, on_flush);
	hm_timer_init(&g->retry, on_retry);
	return g;
}

void hm_invalid_guard_free(struct hm_invalid_guard *g)
{
	if (g == NULL)
		return;
	HM_CHECK(g, GUARD_MAGIC);
	hm_timer_stop(g->tick, &g->retry);
	hm_flush_cancel(g->tick, &g->flush);
	g->dead = true;
	if (g->open == 0)
		release(g);
}

void hm_invalid_guard_describe(const struct hm_invalid_guard *g, struct hm_buf *out)
{
	uint64_t now_ms = hm_tick_ms(g->tick);
	bool first = true;

	HM_CHECK(g, GUARD_MAGIC);
	hm_buf_putc(out, '{');
	for (struct channel *c = g->channels; c; c = c->next) {
		roll(c, c->window_ms, now_ms);
		hm_buf_puts(out, first ? HM_STR("\"") : HM_STR(",\""));
		hm_buf_json(out, c->name);
		hm_buf_printf(
			out,
			"\":{\"answers\":%llu,\"invalid\":%llu,\"tripped\":%s,\"added\":%llu,\"held\":%llu,"
			"\"lost\":%llu}",
			(unsigned long long)c->sum_answers, (unsigned long long)c->sum_invalid,
			c->tripped ? "true" : "false",
			(unsigned long long)__atomic_load_n(&c->shared->added, __ATOMIC_RELAXED),
			(unsigned long long)__atomic_load_n(&c->shared->held, __ATOMIC_RELAXED),
			(unsigned long long)__atomic_load_n(&c->shared->lost, __ATOMIC_RELAXED));
		first = false;
	}
	hm_buf_putc(out, '}');
}

void hm_invalid_guard_metrics(struct hm_buf *out)
{
	static const struct {
		const char *name, *type, *help;
		size_t off;
	} rows[] = {
		{"hermod_invalid_recipients_added_total", "counter",
		 "Addresses called invalid that were put on the suppression list",
		 offsetof(struct shared, added)},
		{"hermod_invalid_recipients_held_total", "counter",
		 "Addresses called invalid while too many were at once: not put on the list",
		 offsetof(struct shared, held)},
		{"hermod_invalid_recipients_suspect_total", "counter",
		 "Answers that call an address invalid, but may come from a wrong setting",
		 offsetof(struct shared, suspects)},
		{"hermod_invalid_recipients_lost_total", "counter",
		 "Addresses called invalid that were not put on the list for want of Redis",
		 offsetof(struct shared, lost)},
	};

	pthread_mutex_lock(&lock);
	hm_buf_lit(
		out,
		"# HELP hermod_invalid_guard 1 while so many answers of a channel call the address invalid "
		"that none is put on the list\n# TYPE hermod_invalid_guard gauge\n");
	for (const struct shared *s = all_shared; s; s = s->next)
		hm_buf_printf(out, "hermod_invalid_guard{channel=\"%s\"} %d\n", s->name,
			      __atomic_load_n(&s->tripped, __ATOMIC_RELAXED) ? 1 : 0);
	for (size_t i = 0; i < hm_countof(rows); i++) {
		hm_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", rows[i].name, rows[i].help, rows[i].name,
			      rows[i].type);
		for (const struct shared *s = all_shared; s; s = s->next) {
			const uint64_t *n = (const uint64_t *)(const void *)((const char *)s + rows[i].off);

			hm_buf_printf(out, "%s{channel=\"%s\"} %llu\n", rows[i].name, s->name,
				      (unsigned long long)__atomic_load_n(n, __ATOMIC_RELAXED));
		}
	}
	pthread_mutex_unlock(&lock);
}
