/*
 * preflight.h - what can be known to be wrong before anything is opened
 *
 * For `hermod check` and the start of `hermod run`: files that cannot be read, folders
 * that cannot be written to, certificates that are none, a Redis URL that leads
 * nowhere. Each problem is reported at the line that sets the option.
 * Threads: any. Errors: reported, counted.
 */
#ifndef HM_CORE_PREFLIGHT_H
#define HM_CORE_PREFLIGHT_H

#include "config/config.h"

size_t hm_preflight(const struct hm_config *cfg, hm_report_fn report, void *arg);

#endif
