/*
 * control.c - following the control stream
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "core/control.h"
#include "ingest/cancel_mark.h"

#define CONTROL_MAGIC 0x6374726cu
#define BLOCK_MS      "1000"
#define RETRY_MS      500
#define KEEP_MS	      (7u * 86400000ull) /* a mark older than any message can be */

struct hm_control {
	uint32_t magic;
	struct hm_engine *en;
	struct hm_redis_line *line;
	struct hm_timer retry;
	char key[HM_CTL_KEY_MAX], last[48];
	size_t key_len;
	bool busy, stopped;
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
	case HM_CTL_CANCEL_ID: ok = hm_cancel_add_id(en->cancels, &ev.id, ev.at_ms); break;
	case HM_CTL_CANCEL_CAMPAIGN: ok = hm_cancel_add_campaign(en->cancels, ev.campaign, ev.at_ms); break;
	case HM_CTL_KEYS: hm_http_keys_changed(en->http_shared); break;
	case HM_CTL_TEMPLATE: hm_templates_event(en->templates, ev.name, ev.etag); break;
	case HM_CTL_OTHER: break;
	}
	if (!ok)
		HM_ERROR(CORE, "a cancel mark was lost: out of memory");
	if (id.len > 0 && id.len < sizeof(c->last)) {
		memcpy(c->last, id.p, id.len);
		c->last[id.len] = '\0';
	}
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
		if (err->code == HM_EREDIS)
			HM_ERROR(CORE, "the control stream cannot be read", HM_E(err));
		hm_timer_start(&c->en->tick, &c->retry, RETRY_MS);
		return;
	}
	list = hm_reply_at(hm_reply_at(reply, 0), 1);
	for (size_t i = 0; list != NULL && i < list->n; i++)
		take(c, &list->v[i]);
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
				      hm_str_c(c->last)};

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
	follow(c);
}

static void on_retry(struct hm_timer *t)
{
	follow(hm_container_of(t, struct hm_control, retry));
}

int hm_control_start(struct hm_engine *en, struct hm_control **c_r, struct hm_err *e)
{
	struct hm_control *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	HM_MAGIC_SET(c, CONTROL_MAGIC);
	c->en = en;
	c->key_len = hm_ctl_key(en->first_cfg->settings.queue.prefix, "events", c->key, sizeof(c->key));
	strcpy(c->last, "0-0");
	hm_timer_init(&c->retry, on_retry);
	c->line = hm_redis_line_open(en->redis, hm_str_n(c->key, c->key_len));
	if (c->line == NULL) {
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
	hm_timer_stop(&c->en->tick, &c->retry);
	hm_redis_line_close(c->line);
}

void hm_control_free(struct hm_control *c)
{
	if (c == NULL)
		return;
	HM_CHECK(c, CONTROL_MAGIC);
	HM_MAGIC_CLEAR(c);
	free(c);
}
