/*
 * drivers.c - which drivers there are
 */
#include "core/drivers.h"

void hm_drivers_fill(struct hm_wire_opts *o)
{
	static const struct hm_driver_ops *const drivers[HM_PROTO_COUNT] = {NULL};

	for (int p = 0; p < HM_PROTO_COUNT; p++)
		o->drivers[p].ops = drivers[p];
}
