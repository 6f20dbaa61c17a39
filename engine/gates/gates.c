/* gates.c - see gates.h */
#include "gates/gates.h"

#include <stdlib.h>

#include "base/obj.h"
#include "redis/redis.h"

#define GATES_MAGIC 0x67617465u

struct hm_gates {
	uint32_t magic;
	struct hm_gates_deps d;
	struct hm_flush flush;
	void (*on_closed)(void *arg);
	void *closed_arg;
};

static void on_flush(struct hm_flush *f)
{
	struct hm_gates *g = hm_container_of(f, struct hm_gates, flush);
	void (*fn)(void *arg) = g->on_closed;
	void *arg = g->closed_arg;

	HM_CHECK(g, GATES_MAGIC);
	HM_MAGIC_CLEAR(g);
	free(g);
	if (fn)
		fn(arg);
}

struct hm_gates *hm_gates_new(const struct hm_gates_deps *d, struct hm_err *e)
{
	struct hm_gates *g = calloc(1, sizeof(*g));

	if (g == NULL) {
		hm_err_set(e, HM_ENOMEM, "out of memory");
		return NULL;
	}
	HM_MAGIC_SET(g, GATES_MAGIC);
	g->d = *d;
	hm_flush_init(&g->flush, on_flush);
	return g;
}

void hm_gates_close(struct hm_gates *g, void (*on_closed)(void *arg), void *arg)
{
	HM_CHECK(g, GATES_MAGIC);
	g->on_closed = on_closed;
	g->closed_arg = arg;
	hm_flush_later(g->d.tick, &g->flush);
}

size_t hm_gates_unsettled(const struct hm_gates *g)
{
	HM_CHECK(g, GATES_MAGIC);
	return 0;
}

bool hm_gates_ask(struct hm_gates *g, struct hm_gate_ask *a)
{
	HM_CHECK(g, GATES_MAGIC);
	a->answer = HM_GATE_PASS;
	a->reserved = false;
	a->reason[0] = '\0';
	a->g = NULL;
	return true;
}

void hm_gates_cancel(struct hm_gate_ask *a)
{
	a->g = NULL;
}

void hm_gates_commit(struct hm_gates *g, const struct hm_gate_subject *s)
{
	HM_CHECK(g, GATES_MAGIC);
}

void hm_gates_release(struct hm_gates *g, const struct hm_gate_subject *s)
{
	HM_CHECK(g, GATES_MAGIC);
}

void hm_gates_describe(const struct hm_gates *g, struct hm_buf *out)
{
	HM_CHECK(g, GATES_MAGIC);
	hm_buf_lit(out, "{}");
}
