/*
 * control.c - following the control stream
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "core/control.h"
#include "gates/lists.h"
#include "ingest/cancel_mark.h"
#include "schedule/schedule.h"
#include "shape/pauses.h"

#define CONTROL_MAGIC 0x6374726cu
#define BLOCK_MS      "1000"
#define RETRY_MS      500
#define LOOK_MS	      900
#define KEEP_MS	      (7u * 86400000ull) /* a mark older than any message can be */

struct hm_control {
	uint32_t magic;
	struct hm_engine *en;
	struct hm_redis_line *line;
	struct hm_timer retry;
	struct hm_schedule_clock *schedules; /* recurring ones: fired from here */
	char key[HM_CTL_KEY_MAX], last[48];
	size_t key_len;
	/* What providers told other processes (shape/share.c): short-lived, so in a stream of its own, on the same slot. */
	char flow[HM_CTL_KEY_MAX], flow_last[48];
	char channels[HM_CTL_KEY_MAX];
	char marks_upto[48]; /* the event up to which the hash of pauses was read */
	char last_pause[48]; /* the latest event about pauses that was heard */
	bool marks_loading, marks_read, stream_broken;
	uint64_t looked_ms; /* at the suppression lists, last */
	bool busy, stopped;
	bool loading; /* HGETALL of the paused channels is under way */
};

static void follow(struct hm_control *c);

static void take(struct hm_control *c, const struct hm_reply *entry)
{
	struct hm_engine *en = c->en;
	struct hm_ctl_event ev;
	struct hm_err e = {0};
	struct hm_str id;
	bool ok = true;

	if (hm_ctl_parse(entry, &id, &ev, &e) != 0) {
		const struct hm_reply *raw = hm_reply_at(entry, 0);

		HM_WARN(CORE, "a control mark was not understood", HM_E(&e));
		id = raw != NULL ? raw->s : HM_STR_NULL;
		ev.type = HM_CTL_OTHER;
	}
	switch (ev.type) {
	case HM_CTL_CANCEL:
		ok = hm_cancel_add(en->cancels, (enum hm_mark_kind)hm_mark_kind_find(ev.kind), ev.what,
				   ev.at_ms);
		break;
	case HM_CTL_PAUSE:
	case HM_CTL_RESUME:
		snprintf(c->last_pause, sizeof(c->last_pause), "%.*s", HM_STRF(id));
		/* What the hash said when it was read comes after all events up to then. */
		if (!hm_ctl_id_upto(id, hm_str_c(c->marks_upto)))
			ok = hm_pause_set(en->cancels, (enum hm_mark_kind)hm_mark_kind_find(ev.kind), ev.what,
					  ev.type == HM_CTL_PAUSE);
		break;
	case HM_CTL_KEYS: hm_http_keys_changed(en->http_shared); break;
	case HM_CTL_TEMPLATE: hm_templates_event(en->templates, ev.name, ev.etag); break;
	case HM_CTL_CHANNEL:
		if (hm_pauses_set(en->pauses, ev.name, ev.paused, ev.note))
			hm_engine_pauses(en);
		break;
	case HM_CTL_LISTS: hm_lists_used(); break;
	case HM_CTL_OTHER: break;
	}
	if (!ok)
		HM_ERROR(CORE, "a mark to cancel, pause or resume was lost: out of memory");
	if (id.len > 0 && id.len < sizeof(c->last)) {
		memcpy(c->last, id.p, id.len);
		c->last[id.len] = '\0';
	}
}

static struct hm_str flow_field(const struct hm_reply *fields, const char *name)
{
	for (size_t i = 0; fields != NULL && i + 1 < fields->n; i += 2)
		if (hm_str_is(fields->v[i].s, name))
			return fields->v[i + 1].s;
	return HM_STR_NULL;
}

/* A provider asked some process to wait; what is over by now (read at start) is left out. */
static void take_flow(struct hm_control *c, const struct hm_reply *entry)
{
	const struct hm_reply *id = hm_reply_at(entry, 0), *fields = hm_reply_at(entry, 1);
	uint64_t account, ms, at, now = c->en->tick.wall_ms;
	struct hm_str rest, first;

	if (id == NULL || id->s.len == 0 || id->s.len >= sizeof(c->flow_last))
		return;
	memcpy(c->flow_last, id->s.p, id->s.len);
	c->flow_last[id->s.len] = '\0';
	rest = id->s;
	if (!hm_str_split(&rest, '-', &first) || !hm_str_u64(first, &at) ||
	    !hm_str_u64(flow_field(fields, "for"), &ms) ||
	    !hm_str_u64(flow_field(fields, "account"), &account))
		return;
	/* Clocks differ a little; a test's by far. What came just now has its full time. */
	if (now > at + 2000)
		ms -= hm_min(ms, now - at);
	if (ms > 0)
		hm_engine_stop(c->en, flow_field(fields, "channel"), account, ms);
}

static void mark_gone(void *arg, struct hm_str channel, struct hm_str note)
{
	struct hm_buf *gone = arg;

	(void)note;
	hm_buf_puts(gone, channel);
	hm_buf_putc(gone, '\n');
}

static bool listed(const struct hm_reply *reply, struct hm_str channel)
{
	for (size_t i = 0; i + 1 < reply->n; i += 2)
		if (hm_str_eq(reply->v[i].s, channel))
			return true;
	return false;
}

static void on_channels(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_control *c = arg;
	struct hm_pauses *p = c->en->pauses;
	struct hm_buf known;
	struct hm_str rest, name;

	HM_CHECK(c, CONTROL_MAGIC);
	c->loading = false;
	if (c->stopped)
		return;
	if (reply == NULL) {
		if (err->code == HM_EREDIS)
			HM_ERROR(CORE, "which channels are paused cannot be read", HM_E(err));
		hm_timer_start(&c->en->tick, &c->retry, RETRY_MS);
		return;
	}
	hm_buf_init(&known, 1u << 20);
	hm_pauses_each(p, mark_gone, &known);
	rest = hm_buf_str(&known);
	while (hm_str_split(&rest, '\n', &name))
		if (name.len > 0 && !listed(reply, name))
			(void)hm_pauses_set(p, name, false, HM_STR_NULL);
	hm_buf_fini(&known);
	for (size_t i = 0; i + 1 < reply->n; i += 2)
		(void)hm_pauses_set(p, reply->v[i].s, true, reply->v[i + 1].s);
	hm_pauses_set_loaded(p);
	hm_engine_pauses(c->en);
}

static void load_channels(struct hm_control *c)
{
	const struct hm_str argv[] = {HM_STR("HGETALL"), hm_str_c(c->channels)};

	if (c->loading || c->stopped)
		return;
	c->loading = true;
	hm_redis_send(c->en->redis, argv[1], argv, hm_countof(argv), on_channels, c);
}

/* Everything there was at the start has been heard? Until then nothing is sent (dispatch/cancel.h). */
static void maybe_ready(struct hm_control *c)
{
	if (c->marks_read &&
	    (c->stream_broken || hm_ctl_id_upto(hm_str_c(c->marks_upto), hm_str_c(c->last)) ||
	     hm_str_is(hm_str_c(c->marks_upto), "0-0")))
		hm_marks_ready(c->en->cancels);
}

static void load_marks(struct hm_control *c);

static void on_marks(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_control *c = arg;
	struct hm_cancel_set *s = c->en->cancels;
	const struct hm_reply *last = hm_reply_at(reply, 0), *list = hm_reply_at(reply, 1);
	bool ok = true;

	HM_CHECK(c, CONTROL_MAGIC);
	c->marks_loading = false;
	if (c->stopped)
		return;
	if (last == NULL || list == NULL || last->s.len >= sizeof(c->marks_upto)) {
		if (reply == NULL && err->code == HM_EREDIS)
			HM_ERROR(CORE, "what is paused cannot be read", HM_E(err));
		hm_timer_start(&c->en->tick, &c->retry, RETRY_MS);
		return;
	}
	if (!hm_ctl_id_upto(hm_str_c(c->last_pause), last->s)) { /* the stream was faster */
		load_marks(c);
		return;
	}
	hm_pause_begin(s);
	for (size_t i = 0; i + 1 < list->n; i += 2) {
		struct hm_str what = list->v[i].s, kind;
		int k = hm_str_split(&what, ':', &kind) ? hm_mark_kind_find(kind) : -1;

		if (k >= 0 && hm_ctl_name_ok(kind, what))
			ok = hm_pause_set(s, (enum hm_mark_kind)k, what, true) && ok;
	}
	if (!ok) { /* nothing is released, nothing begins */
		HM_ERROR(CORE, "what is paused cannot be kept: out of memory");
		hm_timer_start(&c->en->tick, &c->retry, RETRY_MS);
		return;
	}
	hm_pause_end(s);
	memcpy(c->marks_upto, last->s.p, last->s.len);
	c->marks_upto[last->s.len] = '\0';
	c->marks_read = true;
	maybe_ready(c);
}

static void load_marks(struct hm_control *c)
{
	if (c->marks_loading || c->stopped)
		return;
	c->marks_loading = true;
	hm_ctl_pauses(c->en->redis, c->en->first_cfg->settings.queue.prefix, on_marks, c);
}

/* At most once a second: this is called after each reading. What was restored into a running Redis announces nothing. */
static void look_at_lists(struct hm_control *c)
{
	uint64_t now = hm_tick_ms(&c->en->tick);

	if (c->looked_ms != 0 && now - c->looked_ms < LOOK_MS)
		return;
	c->looked_ms = now;
	hm_lists_look(c->en->redis, c->en->first_cfg->settings.queue.prefix);
}

static void on_read(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_control *c = arg;
	const struct hm_reply *list;

	HM_CHECK(c, CONTROL_MAGIC);
	c->busy = false;
	if (c->stopped)
		return;
	if (reply == NULL) {
		if (err->code == HM_EREDIS) {
			HM_ERROR(CORE, "the control stream cannot be read", HM_E(err));
			c->stream_broken = true; /* not a reason to send nothing at all */
			maybe_ready(c);
		}
		hm_lists_forget();
		hm_timer_start(&c->en->tick, &c->retry, RETRY_MS);
		return;
	}
	look_at_lists(c);
	for (size_t k = 0; k < reply->n; k++) {
		const struct hm_reply *name = hm_reply_at(&reply->v[k], 0);
		bool flow = name != NULL && hm_str_is(name->s, c->flow);

		list = hm_reply_at(&reply->v[k], 1);
		for (size_t i = 0; list != NULL && i < list->n; i++) {
			if (flow)
				take_flow(c, &list->v[i]);
			else
				take(c, &list->v[i]);
		}
	}
	if (!hm_marks_are_ready(c->en->cancels))
		maybe_ready(c);
	if (c->en->tick.wall_ms > KEEP_MS)
		hm_cancel_prune(c->en->cancels, c->en->tick.wall_ms - KEEP_MS);
	follow(c);
}

static void follow(struct hm_control *c)
{
	const struct hm_str argv[] = {HM_STR("XREAD"),
				      HM_STR("COUNT"),
				      HM_STR("1000"),
				      HM_STR("BLOCK"),
				      HM_STR(BLOCK_MS),
				      HM_STR("STREAMS"),
				      hm_str_n(c->key, c->key_len),
				      hm_str_c(c->flow),
				      hm_str_c(c->last),
				      hm_str_c(c->flow_last)};

	if (c->busy || c->stopped || !hm_redis_line_up(c->line))
		return;
	c->busy = true;
	hm_redis_line_send(c->line, argv, hm_countof(argv), 15000, on_read, c);
}

static void on_up(void *arg)
{
	struct hm_control *c = arg;

	HM_CHECK(c, CONTROL_MAGIC);
	hm_templates_look(c->en->templates); /* the Redis that came back may be another one's backup */
	hm_lists_forget();
	c->looked_ms = 0;
	look_at_lists(c);
	load_channels(c);
	load_marks(c);
	follow(c);
}

static void on_retry(struct hm_timer *t)
{
	struct hm_control *c = hm_container_of(t, struct hm_control, retry);

	if (!hm_pauses_loaded(c->en->pauses))
		load_channels(c);
	if (!c->marks_read)
		load_marks(c);
	follow(c);
}

int hm_control_start(struct hm_engine *en, struct hm_control **c_r, struct hm_err *e)
{
	struct hm_control *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	HM_MAGIC_SET(c, CONTROL_MAGIC);
	c->en = en;
	c->key_len = hm_ctl_key(en->first_cfg->settings.queue.prefix, "events", c->key, sizeof(c->key));
	hm_ctl_key(en->first_cfg->settings.queue.prefix, "flow", c->flow, sizeof(c->flow));
	hm_ctl_key(en->first_cfg->settings.queue.prefix, "channels", c->channels, sizeof(c->channels));
	strcpy(c->last_pause, "0-0");
	strcpy(c->marks_upto, "0-0");
	strcpy(c->last, "0-0");
	strcpy(c->flow_last, "0-0");
	hm_timer_init(&c->retry, on_retry);
	c->line = hm_redis_line_open(en->redis, hm_str_n(c->key, c->key_len));
	if (c->line == NULL) {
		free(c);
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	}
	c->schedules = hm_schedule_clock_start(&en->tick, en->redis, en->first_cfg->settings.queue.prefix,
					       (uint32_t)en->first_cfg->settings.queue.partitions);
	if (c->schedules == NULL) {
		hm_redis_line_close(c->line);
		free(c);
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	}
	hm_redis_line_on_up(c->line, on_up, c);
	*c_r = c;
	follow(c);
	return 0;
}

void hm_control_stop(struct hm_control *c)
{
	HM_CHECK(c, CONTROL_MAGIC);
	c->stopped = true;
	hm_schedule_clock_stop(c->schedules);
	hm_timer_stop(&c->en->tick, &c->retry);
	hm_redis_line_close(c->line);
}

void hm_control_free(struct hm_control *c)
{
	if (c == NULL)
		return;
	HM_CHECK(c, CONTROL_MAGIC);
	hm_schedule_clock_free(c->schedules);
	HM_MAGIC_CLEAR(c);
	free(c);
}
