/*
 * shape.c - the shapes of a shard and what dispatch asks them
 */
#include "shape/shape.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "shape/pauses.h"
#include "shape/shape_int.h"

/* -- telling -------------------------------------------------------------------------------------- */

static void on_change_flush(struct hm_flush *f)
{
	struct hm_shape *sh = hm_container_of(f, struct hm_shape, change);

	HM_CHECK(sh, HM_SHAPE_MAGIC);
	sh->wanted = false;
	hm_list_foreach_safe (&sh->listeners, n, tmp) {
		struct hm_shape_listener *l = hm_container_of(n, struct hm_shape_listener, node);

		l->on_change(l);
	}
}

void shape_changed(struct hm_shape *sh)
{
	hm_flush_later(sh->s->deps.tick, &sh->change);
}

static enum shape_state state_of(const struct hm_shape *sh)
{
	if (sh->paused)
		return SHAPE_PAUSED;
	if (sh->breaker.state == HM_BREAKER_OPEN)
		return SHAPE_BROKEN;
	if (sh->breaker.state == HM_BREAKER_HALF_OPEN)
		return SHAPE_HALF_OPEN;
	if (sh->stop_until_ms > shape_now(sh) || sh->quota_until_ms > shape_now(sh))
		return SHAPE_STOPPED;
	return sh->aimd.active ? SHAPE_LIMITED : SHAPE_OPEN;
}

static void number_set(uint64_t *to, uint64_t v)
{
	__atomic_store_n(to, v, __ATOMIC_RELAXED);
}

void shape_refresh(struct hm_shape *sh)
{
	uint64_t now = shape_now(sh), wait;
	bool usable = hm_shape_usable(sh), was_limited = sh->limited;
	struct hm_shape_stats *st = sh->stats;
	enum shape_state state;

	(void)hm_breaker_tick(&sh->breaker, now);
	(void)hm_aimd_room(&sh->aimd, now);
	wait = hm_max(sh->stop_until_ms, sh->quota_until_ms);
	sh->spilled = wait > now && wait - now >= sh->spill_after_ms;
	sh->limited = sh->paused || sh->breaker.state != HM_BREAKER_CLOSED || sh->aimd.active ||
		      sh->lease.quotas || sh->lease.concurrency > 0 || sh->stop_until_ms > now;
	state = state_of(sh);
	number_set(&st->allowed, sh->aimd.active ? sh->aimd.allowed : 0);
	number_set(&st->tokens, sh->lease.tokens);
	number_set(&st->permits, sh->lease.permits);
	number_set(&st->on_wire, sh->lease.used);
	number_set(&st->lines, sh->n_lines);
	number_set(&st->opened, sh->breaker.opened);
	if (state != sh->state || state == SHAPE_STOPPED)
		shape_stats_why(st, hm_shape_why(sh));
	if (state == sh->state && usable == hm_shape_usable(sh) && was_limited == sh->limited)
		return;
	if (state != sh->state) {
		number_set(&st->state, state);
		share_tell_state(sh, state);
		if (state == SHAPE_BROKEN)
			HM_WARN(DISPATCH, "channel is not used: its provider fails",
				HM_S("channel", sh->name), HM_S("why", hm_shape_why(sh)));
		else if (sh->state == SHAPE_BROKEN || sh->state == SHAPE_HALF_OPEN)
			HM_INFO(DISPATCH,
				state == SHAPE_HALF_OPEN ? "channel is tried again" : "channel works again",
				HM_S("channel", sh->name));
		else if (state == SHAPE_STOPPED && sh->spilled)
			HM_WARN(DISPATCH, "channel has to wait", HM_S("channel", sh->name),
				HM_S("why", hm_shape_why(sh)));
		sh->state = (uint8_t)state;
	}
	shape_changed(sh);
}

/* -- time ----------------------------------------------------------------------------------------- */

static void on_timer(struct hm_timer *t)
{
	struct hm_shape *sh = hm_container_of(t, struct hm_shape, timer);

	HM_CHECK(sh, HM_SHAPE_MAGIC);
	shape_refresh(sh);
	if (hm_lease_due_ms(&sh->lease, shape_now(sh)) == 0)
		share_ask(sh);
	if (sh->wanted)
		shape_changed(sh);
	shape_schedule(sh);
}

void shape_schedule(struct hm_shape *sh)
{
	uint64_t now = shape_now(sh), in, at;

	if (sh->s->closing)
		return;
	in = hm_lease_due_ms(&sh->lease, now);
	in = hm_min(in, hm_breaker_wait_ms(&sh->breaker, now));
	if (sh->stop_until_ms > now)
		in = hm_min(in, sh->stop_until_ms - now);
	if (sh->aimd.active) {
		in = hm_min(in, (uint64_t)1000); /* it recovers */
		if (sh->wanted)
			in = hm_min(in, hm_max(hm_aimd_wait_ms(&sh->aimd, now), (uint64_t)1));
	}
	if (in == UINT64_MAX)
		return;
	at = sh->s->deps.tick->now_ns + in * 1000000u;
	if (hm_timer_armed(&sh->timer) && sh->timer.node.key <= at)
		return;
	hm_timer_start(sh->s->deps.tick, &sh->timer, in);
}

/* -- by hand, and by others -------------------------------------------------------------------------- */

static struct hm_shape *find(const struct hm_shaper *s, struct hm_str name)
{
	hm_list_foreach (&s->shapes, n) {
		struct hm_shape *sh = hm_container_of(n, struct hm_shape, node);

		if (hm_str_is(name, sh->name))
			return sh;
	}
	return NULL;
}

void hm_shaper_pause(struct hm_shaper *s, struct hm_str channel, bool paused)
{
	struct hm_shape *sh;

	HM_CHECK(s, HM_SHAPER_MAGIC);
	sh = find(s, channel);
	if (sh == NULL || sh->paused == paused)
		return;
	sh->paused = paused;
	HM_INFO(DISPATCH, paused ? "channel is paused by hand" : "channel is resumed by hand",
		HM_S("channel", sh->name));
	shape_refresh(sh);
	shape_changed(sh);
}

void hm_shaper_look(struct hm_shaper *s)
{
	HM_CHECK(s, HM_SHAPER_MAGIC);
	hm_list_foreach (&s->shapes, n) {
		struct hm_shape *sh = hm_container_of(n, struct hm_shape, node);

		hm_shaper_pause(s, shape_name(sh),
				s->deps.pauses && hm_pauses_has(s->deps.pauses, shape_name(sh)));
	}
}

static void stop(struct hm_shape *sh, uint64_t ms)
{
	uint64_t now = shape_now(sh), until = now + hm_min(ms, (uint64_t)86400000 * 2);

	if (until <= sh->stop_until_ms)
		return;
	if (sh->stop_until_ms <= now)
		HM_INFO(DISPATCH, "channel waits as the provider asked", HM_S("channel", sh->name),
			HM_U("ms", ms));
	sh->stop_until_ms = until;
	shape_refresh(sh);
	shape_schedule(sh);
}

void hm_shaper_stop(struct hm_shaper *s, struct hm_str channel, uint64_t account, uint64_t ms)
{
	HM_CHECK(s, HM_SHAPER_MAGIC);
	hm_list_foreach (&s->shapes, n) {
		struct hm_shape *sh = hm_container_of(n, struct hm_shape, node);

		if (hm_str_is(channel, sh->name) || (account != 0 && sh->account == account)) {
			sh->told_until_ms = hm_max(sh->told_until_ms, shape_now(sh) + ms);
			stop(sh, ms);
		}
	}
}

/* -- life ------------------------------------------------------------------------------------------ */

struct hm_shaper *hm_shaper_new(const struct hm_shaper_deps *d, struct hm_err *e)
{
	struct hm_shaper *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		hm_err_set(e, HM_ENOMEM, "out of memory");
		return NULL;
	}
	HM_MAGIC_SET(s, HM_SHAPER_MAGIC);
	s->deps = *d;
	snprintf(s->prefix, sizeof(s->prefix), "%.*s", HM_STRF(d->prefix));
	snprintf(s->node, sizeof(s->node), "%.*s", HM_STRF(d->node));
	hm_list_init(&s->shapes);
	recipient_slabs_init(s);
	return s;
}

static void shape_free(struct hm_shape *sh)
{
	struct hm_tick *t = sh->s->deps.tick;
	struct hm_node *n;

	while ((n = hm_list_pop(&sh->listeners)) != NULL)
		hm_container_of(n, struct hm_shape_listener, node)->shape = NULL;
	share_abandon(sh);
	lines_fini(sh);
	hm_timer_stop(t, &sh->timer);
	hm_flush_cancel(t, &sh->change);
	shape_stats_leave(sh->stats);
	HM_MAGIC_CLEAR(sh);
	free(sh);
}

static void on_done(struct hm_flush *f)
{
	struct hm_shaper *s = hm_container_of(f, struct hm_shaper, done);
	void (*fn)(void *arg) = s->on_closed;
	void *arg = s->closed_arg;

	HM_CHECK(s, HM_SHAPER_MAGIC);
	recipient_slabs_fini(s);
	HM_MAGIC_CLEAR(s);
	free(s);
	if (fn != NULL)
		fn(arg);
}

void shape_command_done(struct hm_shaper *s)
{
	HM_CHECK(s, HM_SHAPER_MAGIC);
	hm_assert(s->open > 0);
	if (--s->open == 0 && s->closing)
		hm_flush_later(s->deps.tick, &s->done);
}

/* What is leased is given back, so that others need not wait for it to lapse; the answers are waited for. */
void hm_shaper_close(struct hm_shaper *s, void (*on_closed)(void *arg), void *arg)
{
	struct hm_node *n;

	HM_CHECK(s, HM_SHAPER_MAGIC);
	s->on_closed = on_closed;
	s->closed_arg = arg;
	s->closing = true;
	hm_flush_init(&s->done, on_done);
	while ((n = hm_list_pop(&s->shapes)) != NULL) {
		struct hm_shape *sh = hm_container_of(n, struct hm_shape, node);

		if (!sh->lease.asking && (sh->lease.tokens > 0 || sh->lease.permits > 0)) {
			hm_lease_leave(&sh->lease);
			share_ask(sh);
		}
		shape_free(sh);
	}
	if (s->open == 0)
		hm_flush_later(s->deps.tick, &s->done);
}

static void breaker_opts(const struct hm_channel_info *info, const struct hm_config *cfg,
			 struct hm_breaker_opts *o)
{
	const struct hm_breaker_conf *c = &info->breaker;

	memset(o, 0, sizeof(*o)); /* compared as bytes */
	o->share = (uint32_t)(c->share >= 0 ? c->share : cfg->settings.breaker.share);
	o->min = (uint32_t)(c->min >= 0 ? c->min : cfg->settings.breaker.min);
	o->window_ms = (uint32_t)(c->window_ms >= 0 ? (uint64_t)c->window_ms
						    : cfg->settings.breaker.window_ms);
	o->latency_ms = (uint32_t)(c->latency_ms >= 0 ? (uint64_t)c->latency_ms
						      : cfg->settings.breaker.latency_ms);
	o->open_ms = (uint32_t)(c->open_ms >= 0 ? (uint64_t)c->open_ms : cfg->settings.breaker.open_ms);
	o->probes = (uint32_t)cfg->settings.breaker.probes;
}

/* The smallest declared rate, in thousandths per second: what an adaptive rate need not exceed. */
static uint64_t declared(const struct hm_quotas *q)
{
	uint64_t best = 0;

	for (uint32_t i = 0; i < q->n; i++) {
		uint64_t r = (uint64_t)q->v[i].max * 1000u * 1000u / q->v[i].window_ms;

		/* A day's quota is no rate: it may be used up in an hour. */
		if (q->v[i].window_ms <= 60000 && (best == 0 || r < best))
			best = hm_max(r, (uint64_t)1);
	}
	return best;
}

static struct hm_shape *shape_new(struct hm_shaper *s, const struct hm_channel_info *info,
				  const struct hm_breaker_opts *bo, const struct hm_config *cfg)
{
	struct hm_shape *sh = calloc(1, sizeof(*sh));
	uint64_t now = hm_tick_ms(s->deps.tick);

	if (sh == NULL)
		return NULL;
	sh->stats = shape_stats_take(info->name);
	if (sh->stats == NULL) {
		free(sh);
		return NULL;
	}
	HM_MAGIC_SET(sh, HM_SHAPE_MAGIC);
	sh->s = s;
	snprintf(sh->name, sizeof(sh->name), "%.*s", HM_STRF(info->name));
	sh->quota_which = -1;
	hm_list_init(&sh->listeners);
	hm_timer_init(&sh->timer, on_timer);
	hm_flush_init(&sh->change, on_change_flush);
	hm_lease_init(&sh->lease, now);
	hm_breaker_init(&sh->breaker, bo, now);
	hm_aimd_init(&sh->aimd, 0, now);
	hm_budget_init(&sh->budget, (uint32_t)cfg->settings.shape.retry_budget,
		       (uint32_t)cfg->settings.shape.retry_floor, now);
	lines_init(sh);
	sh->paused = s->deps.pauses != NULL && hm_pauses_has(s->deps.pauses, info->name);
	hm_list_push(&s->shapes, &sh->node);
	return sh;
}

struct hm_shape *hm_shaper_channel(struct hm_shaper *s, const struct hm_channel_info *info,
				   const struct hm_config *cfg, struct hm_shape_listener *l)
{
	struct hm_breaker_opts bo;
	struct hm_shape *sh;

	HM_CHECK(s, HM_SHAPER_MAGIC);
	breaker_opts(info, cfg, &bo);
	sh = find(s, info->name);
	if (sh == NULL)
		sh = shape_new(s, info, &bo, cfg);
	if (sh == NULL)
		return NULL;
	hm_breaker_opts(&sh->breaker, &bo, shape_now(sh));
	sh->budget.share = (uint32_t)cfg->settings.shape.retry_budget;
	sh->budget.floor = (uint32_t)cfg->settings.shape.retry_floor;
	sh->critical_share = (uint32_t)cfg->settings.shape.critical_share;
	sh->lease_ms = (uint32_t)cfg->settings.shape.lease_ms;
	sh->spill_after_ms = cfg->settings.shape.spill_after_ms;
	sh->rate = info->rate;
	sh->recipient = info->recipient;
	sh->account = info->account;
	sh->quota_which = -1;
	sh->quota_until_ms = 0;
	hm_lease_limits(&sh->lease, sh->rate.n > 0, info->max_concurrency, sh->critical_share);
	hm_aimd_declared(&sh->aimd, declared(&sh->rate));
	hm_node_init(&l->node);
	l->shape = sh;
	hm_list_push(&sh->listeners, &l->node);
	shape_refresh(sh);
	shape_schedule(sh);
	return sh;
}

void hm_shape_leave(struct hm_shape_listener *l)
{
	if (l->shape == NULL)
		return;
	HM_CHECK(l->shape, HM_SHAPE_MAGIC);
	hm_list_remove(&l->shape->listeners, &l->node);
	l->shape = NULL;
}

/* -- the hot path ----------------------------------------------------------------------------------- */

void hm_shape_hungry(struct hm_shape *sh, bool urgent)
{
	uint64_t now = shape_now(sh), others;

	if (!sh->limited)
		return;
	if (!sh->wanted) {
		sh->wanted = true;
		sh->stats->waits++;
	}
	/* Tokens nobody could use yet would only be missing elsewhere: asked for when they are what is short. (A breaker that lets
	 * three probes through once took a minute's whole quota for them, twice as many with each ask.) */
	others = hm_aimd_room(&sh->aimd, now);
	if (sh->breaker.state == HM_BREAKER_HALF_OPEN)
		others = hm_min(others, (uint64_t)hm_breaker_room(&sh->breaker));
	if (!sh->paused && sh->breaker.state != HM_BREAKER_OPEN && sh->stop_until_ms <= now && others > 0 &&
	    hm_lease_room(&sh->lease, urgent, now) <= others)
		hm_lease_hungry(&sh->lease, urgent, now);
	shape_schedule(sh);
}

static uint32_t limited_room(struct hm_shape *sh, bool urgent)
{
	uint64_t now = shape_now(sh), room = UINT32_MAX;

	if (sh->paused || sh->breaker.state == HM_BREAKER_OPEN || sh->stop_until_ms > now)
		room = 0;
	else if (sh->breaker.state == HM_BREAKER_HALF_OPEN)
		room = hm_breaker_room(&sh->breaker);
	if (room > 0)
		room = hm_min(room, hm_lease_room(&sh->lease, urgent, now));
	if (room > 0)
		room = hm_min(room, hm_aimd_room(&sh->aimd, now));
	if (room == 0)
		hm_shape_hungry(sh, urgent);
	return (uint32_t)room;
}

uint32_t hm_shape_room(struct hm_shape *sh, bool urgent)
{
	return hm_likely(!sh->limited) ? UINT32_MAX : limited_room(sh, urgent);
}

void hm_shape_take(struct hm_shape *sh, uint32_t requests, uint32_t messages)
{
	uint64_t now = shape_now(sh);

	(void)messages;
	sh->stats->requests += requests;
	hm_lease_take(&sh->lease, requests, now);
	number_set(&sh->stats->on_wire, sh->lease.used);
	hm_aimd_sent(&sh->aimd, requests, now);
	hm_budget_attempts(&sh->budget, requests, now);
	if (hm_unlikely(sh->limited)) {
		hm_breaker_sent(&sh->breaker, requests);
		if (sh->spilled && sh->lease.tokens == 0)
			shape_changed(sh); /* that was the last of it */
		shape_schedule(sh);	   /* permits are renewed, tokens given back */
	}
}

void hm_shape_untake(struct hm_shape *sh, uint32_t requests, uint32_t messages)
{
	(void)messages;
	sh->stats->requests -= requests;
	hm_lease_untake(&sh->lease, requests);
	hm_aimd_unsent(&sh->aimd, requests, shape_now(sh));
	hm_budget_unattempt(&sh->budget, requests);
	hm_breaker_unsent(&sh->breaker, requests);
}

static void complained(struct hm_shape *sh, const struct hm_shape_answer *a, uint64_t now)
{
	sh->stats->rate_limited++;
	if (a->scope == HM_SCOPE_RECIPIENT)
		return; /* about one address: recipient.c */
	if (hm_aimd_complaint(&sh->aimd, now))
		HM_INFO(DISPATCH, "channel is slowed down: its provider complains", HM_S("channel", sh->name),
			HM_U("per_1000s", sh->aimd.allowed));
	if (a->retry_after_ms > 0) {
		bool account = a->scope == HM_SCOPE_CREDENTIAL && sh->account != 0;

		share_tell_stop(sh, account, a->retry_after_ms);
		hm_shaper_stop(sh->s, shape_name(sh), account ? sh->account : 0, a->retry_after_ms);
	}
	shape_refresh(sh);
	shape_schedule(sh);
}

void hm_shape_answered(struct hm_shape *sh, const struct hm_shape_answer *a)
{
	uint64_t now = shape_now(sh);
	bool bad = hm_outcome_health(a->outcome);

	hm_lease_done(&sh->lease, 1, now);
	number_set(&sh->stats->on_wire, sh->lease.used);
	if (hm_unlikely(a->retried > 0) && a->outcome == HM_OUT_OK)
		hm_budget_succeeded(&sh->budget, a->retried, now);
	if (bad && a->lost ? hm_breaker_lost(&sh->breaker, a->took_us, now)
			   : hm_breaker_answer(&sh->breaker, bad, a->took_us, now)) {
		shape_refresh(sh);
		shape_schedule(sh);
	}
	if (hm_unlikely(a->outcome == HM_OUT_RATE_LIMITED))
		complained(sh, a, now);
}

bool hm_shape_usable(const struct hm_shape *sh)
{
	if (hm_likely(!sh->limited))
		return true;
	if (sh->paused || sh->breaker.state == HM_BREAKER_OPEN || (sh->spilled && sh->lease.tokens == 0))
		return false;
	return sh->breaker.state != HM_BREAKER_HALF_OPEN || hm_breaker_room(&sh->breaker) > 0;
}

bool hm_shape_waits_long(const struct hm_shape *sh)
{
	return hm_unlikely(sh->limited) && (sh->paused || (sh->spilled && sh->lease.tokens == 0));
}

bool hm_shape_may_retry(struct hm_shape *sh)
{
	if (hm_budget_retry(&sh->budget, shape_now(sh)))
		return true;
	sh->stats->retries_refused++;
	return false;
}

enum hm_breaker hm_shape_breaker(const struct hm_shape *sh)
{
	return sh->breaker.state;
}

/* -- words ------------------------------------------------------------------------------------------ */

static const char *duration(uint64_t ms, char out[32])
{
	static const struct {
		uint64_t ms;
		const char *unit;
	} units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}};

	for (size_t i = 0; i < hm_countof(units); i++)
		if (ms >= units[i].ms && ms % units[i].ms == 0) {
			snprintf(out, 32, "%llu%s", (unsigned long long)(ms / units[i].ms), units[i].unit);
			return out;
		}
	snprintf(out, 32, "%llums", (unsigned long long)ms);
	return out;
}

const char *hm_shape_why(const struct hm_shape *sh)
{
	static _Thread_local char text[160];
	const struct hm_breaker_state *b = &sh->breaker;
	uint64_t now = shape_now(sh);
	char window[32];

	text[0] = '\0';
	if (sh->paused)
		return "paused by hand";
	if (b->state != HM_BREAKER_CLOSED) {
		const char *what = b->state == HM_BREAKER_OPEN ? "circuit open"
							       : "circuit half-open, probing";

		if (b->by_latency)
			snprintf(text, sizeof(text), "%s: a tenth of %u answers took %u ms or longer", what,
				 b->seen, b->p90_ms);
		else
			snprintf(text, sizeof(text), "%s: %u %% of %u answers failed", what,
				 b->seen ? (uint32_t)((uint64_t)b->failed * 100 / b->seen) : 0, b->seen);
	} else if (sh->stop_until_ms > now) {
		snprintf(text, sizeof(text), "the provider asked to wait, %llu ms more",
			 (unsigned long long)(sh->stop_until_ms - now));
	} else if (sh->quota_until_ms > now && sh->quota_which >= 0 &&
		   (uint32_t)sh->quota_which < sh->rate.n) {
		const struct hm_quota *q = &sh->rate.v[sh->quota_which];

		snprintf(text, sizeof(text), "quota of %u in %s used up for %llu s", q->max,
			 duration(q->window_ms, window),
			 (unsigned long long)((sh->quota_until_ms - now + 999) / 1000));
	} else if (sh->aimd.active) {
		snprintf(text, sizeof(text),
			 "slowed down to %llu.%03llu of %llu.%03llu per second: the provider complained",
			 (unsigned long long)(sh->aimd.allowed / 1000),
			 (unsigned long long)(sh->aimd.allowed % 1000),
			 (unsigned long long)(sh->aimd.base / 1000),
			 (unsigned long long)(sh->aimd.base % 1000));
	}
	return text;
}

void hm_shape_describe(const struct hm_shape *sh, struct hm_buf *out)
{
	static const char *const names[] = {"closed", "open", "half_open"};
	uint64_t now = shape_now(sh);

	hm_buf_printf(out, "{\"usable\":%s,\"paused\":%s,\"breaker\":\"%s\",\"why\":\"",
		      hm_shape_usable(sh) ? "true" : "false", sh->paused ? "true" : "false",
		      names[sh->breaker.state]);
	hm_buf_json(out, hm_str_c(hm_shape_why(sh)));
	hm_buf_printf(out,
		      "\",\"on_wire\":%u,\"tokens\":%llu,\"permits\":%u,\"leasing\":%s,\"stopped_ms\":%llu,"
		      "\"allowed_per_1000s\":%llu,\"recipient_lines\":%zu,\"breaker_opened\":%llu}",
		      sh->lease.used, (unsigned long long)sh->lease.tokens, sh->lease.permits,
		      sh->lease.asking ? "true" : "false",
		      (unsigned long long)(sh->stop_until_ms > now ? sh->stop_until_ms - now : 0),
		      (unsigned long long)(sh->aimd.active ? sh->aimd.allowed : 0), sh->n_lines,
		      (unsigned long long)sh->breaker.opened);
}

void hm_shaper_describe(const struct hm_shaper *s, struct hm_buf *out)
{
	bool first = true;

	hm_buf_putc(out, '{');
	hm_list_foreach (&s->shapes, n) {
		const struct hm_shape *sh = hm_container_of(n, struct hm_shape, node);

		hm_buf_printf(out, "%s\"%s\":", first ? "" : ",", sh->name);
		hm_shape_describe(sh, out);
		first = false;
	}
	hm_buf_putc(out, '}');
}
