/*
 * shape.c - the shapes of a shard and what dispatch asks them
 */
#include "shape/shape.h"

#include <stdlib.h>

#include "base/list.h"
#include "base/obj.h"

#define SHAPER_MAGIC 0x73687072u
#define SHAPE_MAGIC  0x73686170u

struct hm_shaper {
	uint32_t magic;
	struct hm_shaper_deps deps;
	struct hm_list shapes;
	struct hm_flush closed;
	void (*on_closed)(void *arg);
	void *closed_arg;
};

struct hm_shape {
	uint32_t magic;
	struct hm_node node; /* shaper.shapes */
	struct hm_shaper *s;
	char name[65];
	uint8_t name_len;
	bool paused;
	uint64_t on_wire;
	void (*on_change)(void *arg);
	void *arg;
};

static void on_close(struct hm_flush *f)
{
	struct hm_shaper *s = hm_container_of(f, struct hm_shaper, closed);
	void (*fn)(void *arg) = s->on_closed;
	void *arg = s->closed_arg;
	struct hm_node *n;

	while ((n = hm_list_pop(&s->shapes)) != NULL) {
		struct hm_shape *sh = hm_container_of(n, struct hm_shape, node);

		HM_MAGIC_CLEAR(sh);
		free(sh);
	}
	HM_MAGIC_CLEAR(s);
	free(s);
	if (fn != NULL)
		fn(arg);
}

struct hm_shaper *hm_shaper_new(const struct hm_shaper_deps *d, struct hm_err *e)
{
	struct hm_shaper *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		hm_err_set(e, HM_ENOMEM, "out of memory");
		return NULL;
	}
	HM_MAGIC_SET(s, SHAPER_MAGIC);
	s->deps = *d;
	hm_list_init(&s->shapes);
	hm_flush_init(&s->closed, on_close);
	return s;
}

void hm_shaper_close(struct hm_shaper *s, void (*on_closed)(void *arg), void *arg)
{
	HM_CHECK(s, SHAPER_MAGIC);
	s->on_closed = on_closed;
	s->closed_arg = arg;
	hm_flush_later(s->deps.tick, &s->closed);
}

static struct hm_shape *find(struct hm_shaper *s, struct hm_str name)
{
	hm_list_foreach (&s->shapes, n) {
		struct hm_shape *sh = hm_container_of(n, struct hm_shape, node);

		if (hm_str_eq(hm_str_n(sh->name, sh->name_len), name))
			return sh;
	}
	return NULL;
}

struct hm_shape *hm_shaper_channel(struct hm_shaper *s, const struct hm_channel_info *info,
				   const struct hm_config *cfg, void (*on_change)(void *arg), void *arg)
{
	struct hm_shape *sh;

	HM_CHECK(s, SHAPER_MAGIC);
	sh = find(s, info->name);
	if (sh == NULL) {
		sh = calloc(1, sizeof(*sh));
		if (sh == NULL)
			return NULL;
		HM_MAGIC_SET(sh, SHAPE_MAGIC);
		sh->s = s;
		sh->name_len = (uint8_t)hm_min(info->name.len, sizeof(sh->name) - 1);
		memcpy(sh->name, info->name.p, sh->name_len);
		hm_list_push(&s->shapes, &sh->node);
	}
	sh->on_change = on_change;
	sh->arg = arg;
	return sh;
}

void hm_shaper_pause(struct hm_shaper *s, struct hm_str channel, bool paused)
{
	struct hm_shape *sh;

	HM_CHECK(s, SHAPER_MAGIC);
	sh = find(s, channel);
	if (sh == NULL || sh->paused == paused)
		return;
	sh->paused = paused;
	if (sh->on_change != NULL)
		sh->on_change(sh->arg);
}

uint32_t hm_shape_room(struct hm_shape *s, bool urgent)
{
	return s->paused ? 0 : UINT32_MAX;
}

void hm_shape_take(struct hm_shape *s, uint32_t requests, uint32_t messages)
{
	s->on_wire += requests;
}

void hm_shape_untake(struct hm_shape *s, uint32_t requests, uint32_t messages)
{
	s->on_wire -= requests;
}

void hm_shape_answered(struct hm_shape *s, const struct hm_shape_answer *a)
{
	s->on_wire--;
}

bool hm_shape_usable(const struct hm_shape *s)
{
	return !s->paused;
}

bool hm_shape_may_retry(struct hm_shape *s)
{
	return true;
}

enum hm_breaker hm_shape_breaker(const struct hm_shape *s)
{
	return HM_BREAKER_CLOSED;
}

const char *hm_shape_why(const struct hm_shape *s)
{
	return s->paused ? "paused by hand" : "";
}

void hm_shape_describe(const struct hm_shape *s, struct hm_buf *out)
{
	hm_buf_printf(out, "{\"channel\":\"%.*s\"}", s->name_len, s->name);
}
