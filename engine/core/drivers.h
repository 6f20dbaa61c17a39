/*
 * drivers.h - the drivers of protocols other than HTTP that this program has
 *
 * Threads: any.
 */
#ifndef HM_CORE_DRIVERS_H
#define HM_CORE_DRIVERS_H

#include "wire/driver.h"

/* Fills o->drivers. */
void hm_drivers_fill(struct hm_wire_opts *o);

#endif
