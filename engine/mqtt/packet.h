/*
 * packet.h - control packets of MQTT 3.1.1 (OASIS standard, chapters 2 and 3), what a client that publishes needs
 *
 * A packet is a type byte, its length (one to four bytes, seven bits each, the low ones first) and that many bytes. Reading takes one
 * whole packet off the front of what has come; texts point into it. Writing appends to a buffer that may already hold others.
 *
 * Memory: none. Threads: any. Errors: a packet that breaks the standard is BAD, and what comes behind it cannot be trusted either.
 */
#ifndef HM_MQTT_PACKET_H
#define HM_MQTT_PACKET_H

#include "base/buf.h"

enum mqtt_type {
	MQTT_CONNECT = 1,
	MQTT_CONNACK = 2,
	MQTT_PUBLISH = 3,
	MQTT_PUBACK = 4,
	MQTT_PUBREC = 5,
	MQTT_PUBREL = 6,
	MQTT_PUBCOMP = 7,
	MQTT_PINGREQ = 12,
	MQTT_PINGRESP = 13,
	MQTT_DISCONNECT = 14,
};

#define MQTT_MAX_REMAINING 268435455u /* of the length field */
#define MQTT_MAX_TEXT	   65535u

enum mqtt_connack {
#define HM_MQTT_CONNACK(value, text, sentence) MQTT_CONNACK_##value = value,
#include "tbl/mqtt_connack.h"
#undef HM_MQTT_CONNACK
};
/* "not-authorized"; one without a row as "0x06", in hex. */
const char *mqtt_connack_name(unsigned code, char hex[5]);
const char *mqtt_connack_sentence(unsigned code);

/* -- reading ---------------------------------------------------------------------- */

struct mqtt_packet {
	enum mqtt_type type;
	uint8_t flags; /* the low four bits of the first byte */
	struct hm_str body;
};
enum mqtt_read {
	MQTT_READ_MORE,	 /* not whole yet */
	MQTT_READ_WHOLE, /* *k is filled, *eaten_r the bytes it took */
	MQTT_READ_LONG,	 /* longer than max: not worth waiting for */
	MQTT_READ_BAD,	 /* no packet: a length of five bytes, a type or flags that do not exist */
};
enum mqtt_read mqtt_packet_read(const uint8_t *p, size_t n, size_t max, struct mqtt_packet *k,
				size_t *eaten_r) HM_MUSTCHECK;

/* Each is false when the body is not what the type wants. */
bool mqtt_connack_read(const struct mqtt_packet *k, unsigned *code_r) HM_MUSTCHECK;
bool mqtt_ack_read(const struct mqtt_packet *k, uint16_t *id_r) HM_MUSTCHECK; /* PUBACK to PUBCOMP */

struct mqtt_publish {
	struct hm_str topic, payload;
	uint8_t qos;
	uint16_t id; /* 0 with QoS 0 */
	bool dup, retain;
};
bool mqtt_publish_read(const struct mqtt_packet *k, struct mqtt_publish *v) HM_MUSTCHECK;

/* -- writing ------------------------------------------------------------------------ */

struct mqtt_connect {
	struct hm_str client_id;
	struct hm_str user, password; /* p NULL: none */
	uint16_t keep_alive_s;
};
/* Clean session, no will. */
void mqtt_put_connect(struct hm_buf *b, const struct mqtt_connect *v);
void mqtt_put_publish(struct hm_buf *b, const struct mqtt_publish *v);
void mqtt_put_ack(struct hm_buf *b, enum mqtt_type type, uint16_t id);
void mqtt_put_empty(struct hm_buf *b, enum mqtt_type type); /* PINGREQ, DISCONNECT */
/* Length of the whole packet. */
size_t mqtt_publish_size(const struct mqtt_publish *v);

/* -- texts ---------------------------------------------------------------------------- */

/* Whether this may stand where the standard wants a UTF-8 string. Brokers hang up on what it only advises against (control characters
 * and noncharacters, section 1.5.3), and everything else in flight would be lost with the connection: so that is refused here too. */
bool mqtt_text_ok(struct hm_str s);
/* What keeps this from being a topic to publish to ("holds a wildcard, + or #"); NULL: nothing does. */
const char *mqtt_topic_problem(struct hm_str topic);

#endif
