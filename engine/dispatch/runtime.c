/*
 * runtime.c - build and share configuration snapshots
 */
#include <stdlib.h>
#include <unistd.h>

#include "base/obj.h"
#include "dispatch/content.h"
#include "dispatch/runtime.h"

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

/* adapters.dir, or the folder installed with the program, or the one of a source tree. */
static struct hm_str adapters_dir(const struct hm_config *cfg, char *buf, size_t cap)
{
	static const char *const tries[] = {"%s/../share/hermod/adapters", "%s/adapters",
					    "%s/../../adapters"};
	char exe[2048];
	ssize_t n;

	if (cfg->settings.adapters.dir.len > 0)
		return cfg->settings.adapters.dir;
	n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	if (n <= 0)
		return HM_STR("adapters");
	exe[n] = '\0';
	*strrchr(exe, '/') = '\0';
	for (size_t i = 0; i < hm_countof(tries); i++) {
		struct hm_buf b;
		bool there;

		hm_buf_init(&b, cap - 1);
		for (const char *f = tries[i]; *f != '\0'; f++) {
			if (f[0] == '%' && f[1] == 's') {
				hm_buf_puts(&b, hm_str_c(exe));
				f++;
			} else {
				hm_buf_putc(&b, *f);
			}
		}
		there = b.err == 0 && access(hm_buf_cstr(&b), R_OK) == 0;
		if (there)
			memcpy(buf, b.p, b.len + 1);
		hm_buf_fini(&b);
		if (there)
			return hm_str_c(buf);
	}
	return HM_STR("adapters");
}

int hm_runtime_build(struct hm_config *cfg, struct hm_runtime **rt_r, hm_report_fn report, void *arg)
{
	struct hm_runtime *rt = calloc(1, sizeof(*rt));
	struct counter c = {report, arg, 0};
	struct hm_err e;
	char dir[2200];

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
	if (hm_adapter_set_load(adapters_dir(cfg, dir, sizeof(dir)), &rt->adapters, count, &c) == 0 &&
	    c.n == 0) {
		if (hm_channel_set_load(cfg, rt->adapters, &rt->channels, count, &c) == 0)
			(void)hm_template_set_load(cfg->settings.templates.dir, cfg, &rt->templates, count,
						   &c);
	}
	if (c.n > 0 || rt->templates == NULL) {
		if (c.n ==
		    0) { /* a loader failed without a word: that is a bug of the loader, not a reason to go on */
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
	if (rt->templates != NULL)
		hm_template_set_free(rt->templates);
	if (rt->channels != NULL)
		hm_channel_set_unref(rt->channels);
	if (rt->adapters != NULL)
		hm_adapter_set_unref(rt->adapters);
	hm_config_unref(rt->cfg);
	HM_MAGIC_CLEAR(rt);
	free(rt);
}
