/*
 * packet.c - control packets of MQTT 3.1.1
 */
#include "mqtt/packet.h"

#include <stdio.h>

const char *mqtt_connack_name(unsigned code, char hex[5])
{
	switch (code) {
#define HM_MQTT_CONNACK(value, text, sentence) \
	case value:                            \
		return text;
#include "tbl/mqtt_connack.h"
#undef HM_MQTT_CONNACK
	default: snprintf(hex, 5, "0x%02x", code & 0xff); return hex;
	}
}

const char *mqtt_connack_sentence(unsigned code)
{
	switch (code) {
#define HM_MQTT_CONNACK(value, text, sentence) \
	case value:                            \
		return sentence;
#include "tbl/mqtt_connack.h"
#undef HM_MQTT_CONNACK
	default: return "refuses the connection for a reason the standard does not know";
	}
}

/* -- reading ---------------------------------------------------------------------- */

/* What a broker sends, and the flags it must have; PUBLISH has flags of its own (section 2.2.2). */
static bool head_ok(unsigned type, unsigned flags)
{
	switch (type) {
	case MQTT_PUBLISH: return (flags >> 1 & 3) != 3;
	case MQTT_PUBREL: return flags == 2;
	case MQTT_CONNACK:
	case MQTT_PUBACK:
	case MQTT_PUBREC:
	case MQTT_PUBCOMP:
	case MQTT_PINGRESP: return flags == 0;
	default: return false;
	}
}

enum mqtt_read mqtt_packet_read(const uint8_t *p, size_t n, size_t max, struct mqtt_packet *k,
				size_t *eaten_r)
{
	size_t len = 0, at = 1;

	if (n == 0)
		return MQTT_READ_MORE;
	if (!head_ok(p[0] >> 4, p[0] & 15u))
		return MQTT_READ_BAD;
	for (unsigned shift = 0;; shift += 7) {
		if (shift > 21)
			return MQTT_READ_BAD;
		if (at == n)
			return MQTT_READ_MORE;
		len |= (size_t)(p[at] & 0x7f) << shift;
		if ((p[at++] & 0x80) == 0)
			break;
	}
	if (at + len > max)
		return MQTT_READ_LONG;
	if (n - at < len)
		return MQTT_READ_MORE;
	*k = (struct mqtt_packet){.type = (enum mqtt_type)(p[0] >> 4),
				  .flags = p[0] & 15u,
				  .body = hm_str_n((const char *)p + at, len)};
	*eaten_r = at + len;
	return MQTT_READ_WHOLE;
}

static uint16_t be16(const char *p)
{
	return (uint16_t)((uint8_t)p[0] << 8 | (uint8_t)p[1]);
}

bool mqtt_connack_read(const struct mqtt_packet *k, unsigned *code_r)
{
	if (k->type != MQTT_CONNACK || k->body.len != 2 || (k->body.p[0] & 0xfe) != 0)
		return false;
	*code_r = (uint8_t)k->body.p[1];
	/* A clean session has nothing from before (section 3.2.2.2), and a refused one neither. */
	return (k->body.p[0] & 1) == 0;
}

bool mqtt_ack_read(const struct mqtt_packet *k, uint16_t *id_r)
{
	if (k->body.len != 2)
		return false;
	*id_r = be16(k->body.p);
	return *id_r != 0;
}

bool mqtt_publish_read(const struct mqtt_packet *k, struct mqtt_publish *v)
{
	struct hm_str s = k->body;
	size_t n;

	*v = (struct mqtt_publish){
		.qos = k->flags >> 1 & 3, .dup = (k->flags & 8) != 0, .retain = (k->flags & 1) != 0};
	if (s.len < 2 || (n = be16(s.p)) > s.len - 2)
		return false;
	v->topic = hm_str_n(s.p + 2, n);
	s = hm_str_n(s.p + 2 + n, s.len - 2 - n);
	if (v->qos) {
		if (s.len < 2 || (v->id = be16(s.p)) == 0)
			return false;
		s = hm_str_n(s.p + 2, s.len - 2);
	}
	v->payload = s;
	return mqtt_topic_problem(v->topic) == NULL;
}

/* -- writing ------------------------------------------------------------------------ */

static void put8(struct hm_buf *b, unsigned v)
{
	hm_buf_putc(b, (char)(v & 0xff));
}

static void put16(struct hm_buf *b, unsigned v)
{
	put8(b, v >> 8);
	put8(b, v);
}

static void put_text(struct hm_buf *b, struct hm_str s)
{
	hm_assert(s.len <= MQTT_MAX_TEXT);
	put16(b, (unsigned)s.len);
	hm_buf_puts(b, s);
}

static void put_head(struct hm_buf *b, enum mqtt_type type, unsigned flags, size_t len)
{
	hm_assert(len <= MQTT_MAX_REMAINING);
	put8(b, (unsigned)type << 4 | flags);
	do {
		put8(b, (unsigned)(len & 0x7f) | (len > 0x7f ? 0x80u : 0));
		len >>= 7;
	} while (len);
}

void mqtt_put_connect(struct hm_buf *b, const struct mqtt_connect *v)
{
	size_t len = 10 + 2 + v->client_id.len;
	unsigned flags = 0x02; /* clean session */

	hm_assert(v->user.p || !v->password.p); /* section 3.1.2.9 */
	if (v->user.p) {
		flags |= 0x80;
		len += 2 + v->user.len;
	}
	if (v->password.p) {
		flags |= 0x40;
		len += 2 + v->password.len;
	}
	put_head(b, MQTT_CONNECT, 0, len);
	put_text(b, HM_STR("MQTT"));
	put8(b, 4);
	put8(b, flags);
	put16(b, v->keep_alive_s);
	put_text(b, v->client_id);
	if (v->user.p)
		put_text(b, v->user);
	if (v->password.p)
		put_text(b, v->password);
}

static size_t publish_len(const struct mqtt_publish *v)
{
	return 2 + v->topic.len + (v->qos ? 2u : 0) + v->payload.len;
}

size_t mqtt_publish_size(const struct mqtt_publish *v)
{
	size_t len = publish_len(v), size = 2 + len;

	for (size_t more = len >> 7; more; more >>= 7)
		size++;
	return size;
}

void mqtt_put_publish(struct hm_buf *b, const struct mqtt_publish *v)
{
	hm_assert(v->qos <= 2 && (v->qos == 0) == (v->id == 0));
	put_head(b, MQTT_PUBLISH, (v->dup ? 8u : 0) | (unsigned)v->qos << 1 | (v->retain ? 1u : 0),
		 publish_len(v));
	put_text(b, v->topic);
	if (v->qos)
		put16(b, v->id);
	hm_buf_puts(b, v->payload);
}

void mqtt_put_ack(struct hm_buf *b, enum mqtt_type type, uint16_t id)
{
	put_head(b, type, type == MQTT_PUBREL ? 2 : 0, 2);
	put16(b, id);
}

void mqtt_put_empty(struct hm_buf *b, enum mqtt_type type)
{
	put_head(b, type, 0, 0);
}

/* -- texts ---------------------------------------------------------------------------- */

bool mqtt_text_ok(struct hm_str s)
{
	size_t n;

	if (s.len > MQTT_MAX_TEXT || !hm_utf8_valid(s))
		return false;
	for (size_t i = 0; i < s.len; i += n) {
		uint32_t cp = hm_utf8_decode(hm_str_n(s.p + i, s.len - i), &n);

		if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || (cp >= 0xfdd0 && cp <= 0xfdef) ||
		    (cp & 0xfffe) == 0xfffe)
			return false;
	}
	return true;
}

const char *mqtt_topic_problem(struct hm_str topic)
{
	if (topic.len == 0)
		return "is empty";
	if (topic.len > MQTT_MAX_TEXT)
		return "is longer than 65535 bytes";
	if (hm_str_chr(topic, '+') >= 0 || hm_str_chr(topic, '#') >= 0)
		return "holds a wildcard, + or #";
	return mqtt_text_ok(topic) ? NULL : "holds a character that no topic may hold";
}
