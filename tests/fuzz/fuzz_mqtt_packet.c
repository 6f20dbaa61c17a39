/* fuzz_mqtt_packet.c - any bytes as what a broker sends: whole packets are found wherever it is cut, and written back the same */
#include "mqtt/packet.h"

static void again(const struct mqtt_packet *k, const struct mqtt_publish *v)
{
	struct mqtt_publish back;
	struct mqtt_packet once;
	struct hm_buf b;
	size_t eaten;

	hm_buf_init(&b, 1 << 20);
	mqtt_put_publish(&b, v);
	hm_assert(b.len == mqtt_publish_size(v));
	hm_assert(mqtt_packet_read((const uint8_t *)b.p, b.len, 1 << 20, &once, &eaten) == MQTT_READ_WHOLE);
	hm_assert(eaten == b.len && once.flags == k->flags && hm_str_eq(once.body, k->body));
	hm_assert(mqtt_publish_read(&once, &back) && hm_str_eq(back.payload, v->payload));
	hm_buf_fini(&b);
}

/* The first `cut` bytes of a packet of n are never a packet. */
static void cut(const uint8_t *p, size_t n)
{
	struct mqtt_packet k;
	size_t eaten;

	for (size_t i = 0; i < n && i < 8; i++)
		hm_assert(mqtt_packet_read(p, i, 1 << 20, &k, &eaten) == MQTT_READ_MORE);
	hm_assert(mqtt_packet_read(p, n - 1, 1 << 20, &k, &eaten) == MQTT_READ_MORE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hm_str s = hm_str_n((const char *)data, size);
	struct mqtt_packet k;
	struct mqtt_publish v;
	size_t at = 0, eaten;
	unsigned code;
	uint16_t id;

	if (size > 65000)
		return 0;
	while (mqtt_packet_read(data + at, size - at, 1 << 20, &k, &eaten) == MQTT_READ_WHOLE) {
		hm_assert(eaten >= 2 && eaten <= size - at && k.body.len < eaten);
		cut(data + at, eaten);
		if (mqtt_connack_read(&k, &code))
			hm_assert(k.body.len == 2 && code <= 255);
		if (mqtt_ack_read(&k, &id))
			hm_assert(id != 0);
		if (k.type == MQTT_PUBLISH && mqtt_publish_read(&k, &v))
			again(&k, &v);
		at += eaten;
	}
	if (mqtt_topic_problem(s) == NULL)
		hm_assert(size && hm_utf8_valid(s) && hm_str_chr(s, '#') < 0 && hm_str_chr(s, '\0') < 0);
	return 0;
}
