/*
 * runtime.h - what a configuration load produces: one immutable snapshot
 *
 * Settings, adapters and channels that belong together. Built by the control thread at
 * start and at SIGHUP; a snapshot that fails to build changes nothing. Threads hold
 * references; the last one frees it. References are atomic. Templates change at any time
 * and have snapshots of their own (content/content.h).
 */
#ifndef HM_DISPATCH_RUNTIME_H
#define HM_DISPATCH_RUNTIME_H

#include "adapter/adapter.h"
#include "config/config.h"

#define HM_RUNTIME_MAGIC 0x72756e74u

struct hm_runtime {
	uint32_t magic;
	uint32_t refs;
	struct hm_config *cfg;
	struct hm_adapter_set *adapters;
	struct hm_channel_set *channels;
};
/* Every problem goes to report(); returns the number of problems, *rt_r is set only when there is none.
 * Takes over the reference to cfg in either case. */
int hm_runtime_build(struct hm_config *cfg, struct hm_runtime **rt_r, hm_report_fn report,
		     void *arg) HM_MUSTCHECK;
struct hm_runtime *hm_runtime_ref(struct hm_runtime *rt);
void hm_runtime_unref(struct hm_runtime *rt);

#endif
