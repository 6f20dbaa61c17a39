/*
 * runtime.c - build and share configuration snapshots
 */
#include <stdlib.h>

#include "base/obj.h"
#include "dispatch/runtime.h"
#include "facts/facts.h"

struct counter {
	hm_report_fn report;
	void *arg;
	int n;
};

static void count(void *arg, const struct hm_err *e)
{
	struct counter *c = arg;

	c->n++;
	c->report(c->arg, e);
}

int hm_runtime_build(struct hm_config *cfg, struct hm_runtime **rt_r, hm_report_fn report, void *arg)
{
	struct hm_runtime *rt = calloc(1, sizeof(*rt));
	struct counter c = {report, arg, 0};
	struct hm_err e;

	if (rt == NULL) {
		hm_err_clear(&e);
		hm_err_set(&e, HM_ENOMEM, "out of memory");
		report(arg, &e);
		hm_config_unref(cfg);
		return 1;
	}
	HM_MAGIC_SET(rt, HM_RUNTIME_MAGIC);
	rt->refs = 1;
	rt->cfg = cfg;
	if (hm_adapter_set_load(cfg->settings.adapters.dir, &rt->adapters, count, &c) == 0 && c.n == 0 &&
	    hm_channel_set_load(cfg, rt->adapters, &rt->channels, count, &c) != 0)
		rt->channels = NULL;
	hm_facts_check(cfg, count, &c);
	if (c.n > 0 || rt->channels == NULL) {
		if (c.n == 0) { /* a loader failed without a word */
			hm_err_clear(&e);
			hm_err_set(&e, HM_ECONFIG, "the configuration could not be loaded");
			count(&c, &e);
		}
		hm_runtime_unref(rt);
		return c.n;
	}
	*rt_r = rt;
	return 0;
}

struct hm_runtime *hm_runtime_ref(struct hm_runtime *rt)
{
	HM_CHECK(rt, HM_RUNTIME_MAGIC);
	__atomic_add_fetch(&rt->refs, 1, __ATOMIC_RELAXED);
	return rt;
}

void hm_runtime_unref(struct hm_runtime *rt)
{
	if (rt == NULL)
		return;
	HM_CHECK(rt, HM_RUNTIME_MAGIC);
	if (__atomic_sub_fetch(&rt->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	if (rt->channels != NULL)
		hm_channel_set_unref(rt->channels);
	if (rt->adapters != NULL)
		hm_adapter_set_unref(rt->adapters);
	hm_config_unref(rt->cfg);
	HM_MAGIC_CLEAR(rt);
	free(rt);
}
