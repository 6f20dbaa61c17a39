/*
 * drivers.c - which drivers there are
 */
#include "core/drivers.h"

#include "inbox/inbox.h"
#include "mqtt/mqtt.h"
#include "smpp/smpp.h"
#include "smtp/smtp.h"

void hm_drivers_fill(struct hm_wire_opts *o)
{
	static const struct hm_driver_ops *const drivers[HM_PROTO_COUNT] = {
		[HM_PROTO_SMTP] = &hm_smtp_driver,
		[HM_PROTO_SMPP] = &hm_smpp_driver,
		[HM_PROTO_INBOX] = &hm_inbox_driver,
		[HM_PROTO_MQTT] = &hm_mqtt_driver,
	};

	for (int p = 0; p < HM_PROTO_COUNT; p++)
		o->drivers[p].ops = drivers[p];
}
