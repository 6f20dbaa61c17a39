/*
 * stage.h - several shapers on one loop and one real redis-server, as shards of several processes would be
 *
 * Time is the test clock's: `pass` moves it, and Redis' along with it (scripts add the offset). Header only.
 */
#ifndef HM_TEST_SHAPE_STAGE_H
#define HM_TEST_SHAPE_STAGE_H

#include "../redis/env.h"

#include "base/json.h"
#include "config/config.h"
#include "shape/pauses.h"
#include "shape/shape.h"

#define SHAPERS_MAX 8
struct side {
	struct hm_shaper *shaper;
	struct hm_shape *shape;
	struct hm_shape_listener listener;
	unsigned changes, sent, on_wire;
	bool closed;
	char name[16];
};

static struct env env;
static struct client hub;
static struct hm_config *cfg;
static struct side sides[SHAPERS_MAX];
static unsigned n_sides;

static void complain(void *arg, const struct hm_err *e)
{
	print_message("%d:%d: %s\n", e->line, e->col, e->text);
}

static void on_change(struct hm_shape_listener *l)
{
	hm_container_of(l, struct side, listener)->changes++;
}

UNUSED_FN void configure(const char *text)
{
	hm_config_unref(cfg);
	cfg = NULL;
	assert_int_equal(hm_config_load_text("t.yaml", hm_str_c(text), NULL, &cfg, complain, NULL), 0);
}

UNUSED_FN struct hm_channel_info channel(void)
{
	return (struct hm_channel_info){.name = HM_STR("c"),
					.adapter = HM_STR("push/apns"),
					.batch_max = 1,
					.breaker = {-1, -1, -1, -1, -1}};
}

UNUSED_FN void sides_open(unsigned n, const struct hm_channel_info *info, struct hm_pauses *p)
{
	struct hm_err e = {0};

	n_sides = n;
	for (unsigned i = 0; i < n; i++) {
		struct side *s = &sides[i];
		struct hm_shaper_deps d = {
			.tick = &env.tick, .redis = hub.r, .prefix = HM_STR("hm"), .pauses = p};

		memset(s, 0, sizeof(*s));
		snprintf(s->name, sizeof(s->name), "side.%u", i);
		d.node = hm_str_c(s->name);
		s->shaper = hm_shaper_new(&d, &e);
		assert_non_null(s->shaper);
		s->listener.on_change = on_change;
		s->shape = hm_shaper_channel(s->shaper, info, cfg, &s->listener);
		assert_non_null(s->shape);
	}
}

static void on_side_closed(void *arg)
{
	*(bool *)arg = true;
}

UNUSED_FN void sides_close(void)
{
	for (unsigned i = 0; i < n_sides; i++) {
		hm_shaper_close(sides[i].shaper, on_side_closed, &sides[i].closed);
		RUN_UNTIL(&env, sides[i].closed, 5000);
		assert_null(sides[i].listener.shape);
		hm_shape_leave(&sides[i].listener);
	}
	n_sides = 0;
}

/* Some milliseconds pass; whatever was asked of Redis before is answered after. */
UNUSED_FN void pass(uint64_t ms)
{
	struct answer a = {0};

	hm_clock_advance_ms(ms);
	hm_tick_refresh(&env.tick);
	uv_run(&env.loop, UV_RUN_NOWAIT);
	hm_redis_sendf(hub.r, HM_STR_NULL, on_answer, &a, "PING");
	RUN_UNTIL(&env, a.calls > 0, 5000);
	/* what the answers led to */
	a.calls = 0;
	hm_redis_sendf(hub.r, HM_STR_NULL, on_answer, &a, "PING");
	RUN_UNTIL(&env, a.calls > 0, 5000);
}

UNUSED_FN int stage_up(void **state)
{
	env_init(&env);
	client_open(&hub, &env,
		    (struct hm_redis_opts){
			    .connect_timeout_ms = 5000, .command_timeout_ms = 5000, .max_pending = 10000},
		    "unix://%s", server_start(&env, NULL)->sock);
	RUN_UNTIL(&env, hub.up, 5000);
	configure("channels: {}\n");
	return 0;
}

UNUSED_FN int stage_down(void **state)
{
	hm_config_unref(cfg);
	cfg = NULL;
	client_close(&hub);
	env_fini(&env);
	return 0;
}

UNUSED_FN int fresh(void **state)
{
	struct answer a = {0};

	hm_redis_sendf(hub.r, HM_STR_NULL, on_answer, &a, "FLUSHALL");
	RUN_UNTIL(&env, a.calls > 0, 5000);
	return 0;
}

#endif
