/*
 * mqtt_int.h - what the driver's files share
 *
 *   CONNECTING --on_open--> GREETING --CONNACK 0--> OPEN --no longer needed--> LEAVING --> (closed)
 *
 * A publish is on session->calls from when it is written until its answer. With QoS 1 and 2 it holds a slot of the window, found by its
 * packet id; the slot outlives the call when that ends early, because the broker may still use the id. With QoS 0 it waits for the
 * PINGRESP of the PINGREQ that went behind it.
 */
#ifndef HM_MQTT_INT_H
#define HM_MQTT_INT_H

#include "mqtt/mqtt.h"
#include "mqtt/packet.h"
#include "wire/wire_int.h"

#define MQTT_DRIVER_MAGIC  0x6d717464u
#define MQTT_SESSION_MAGIC 0x6d717473u
#define MQTT_MESSAGE_MAGIC 0x6d71746du

#define MQTT_MAX_WINDOW 1000u
#define MQTT_RANDOM	12 /* characters behind client_id */
#define MQTT_NS_PER_MS	UINT64_C(1000000)

struct mqtt_config {				 /* of an account; texts live as long as the origin */
	struct hm_str user, password, client_id; /* p NULL: none */
	bool unique;
	uint32_t window, keep_alive_s, ping_timeout_s, connack_timeout_s, reconnect_s, max_packet;
};
int mqtt_config_read(const struct hm_origin_opts *o, struct mqtt_config *c, struct hm_err *e) HM_MUSTCHECK;

struct mqtt_session;

/* A call while the driver has it; in the call's arena. */
struct mqtt_message {
	uint32_t magic;
	struct hm_call *call;
	struct mqtt_session *session;
	struct mqtt_publish publish;
	uint64_t ping; /* QoS 0: the number of the PINGREQ behind it */
};
/* Reads the fields. HM_EINVAL: nothing that could be sent; HM_ENOMEM. */
int mqtt_message_new(struct hm_call *c, const struct mqtt_config *cfg, struct mqtt_message **m_r,
		     struct hm_err *e) HM_MUSTCHECK;
void mqtt_message_taken(struct mqtt_message *m);	    /* the call's answer: the broker has it */
void mqtt_answer_refused(struct hm_call *c, unsigned code); /* CONNACK; nothing went out */

enum mqtt_session_state {
	MQTT_S_CONNECTING,
	MQTT_S_GREETING,
	MQTT_S_OPEN,
	MQTT_S_LEAVING,
	MQTT_S_CLOSING,
};

enum mqtt_slot_state { MQTT_SLOT_FREE, MQTT_SLOT_PUBACK, MQTT_SLOT_PUBREC, MQTT_SLOT_PUBCOMP }; /* awaited */
struct mqtt_slot {
	uint16_t id;
	uint8_t state;
	struct mqtt_message *message; /* NULL: its call has ended */
};

struct mqtt_session {
	uint32_t magic;
	enum mqtt_session_state state;
	struct mqtt *d;
	struct hm_node node; /* d->sessions */
	struct hm_conn conn;
	struct hm_buf in; /* the beginning of a packet */
	char client_id[128];
	/* the window */
	struct mqtt_slot *slots;	      /* by packet id modulo their count, a power of two */
	uint32_t n_slots, in_flight, orphans; /* slots in use and QoS 0 calls; slots without a call */
	uint16_t id;			      /* the last one given */
	struct hm_list calls;		      /* hm_call.node, oldest first */
	uint64_t produced;		      /* bytes put into the connection's output */
	/* the link */
	uint64_t pings, pongs; /* sent, answered; one is under way at most */
	bool need_ping;	       /* a QoS 0 publish waits for one to be sent */
	struct hm_timer health;
	uint64_t last_rx_ns, last_tx_ns, ping_ns, used_ns, open_ns;
	uint64_t tx_seen, rx_seen;
	uint64_t published, answered;
	unsigned refused; /* CONNACK's code */
	bool wake;	  /* room appeared in this read */
	struct hm_err why;
};

struct mqtt { /* an origin's; o->driver */
	uint32_t magic;
	struct hm_origin *origin;
	struct mqtt_config config;
	struct hm_list sessions; /* mqtt_session.node */
	uint32_t refusals;	 /* in a row; failed connections are counted by the origin */
	unsigned refused;	 /* the code of the last CONNACK when it was a refusal, 0: it was not */
	bool closing;
};

/* session.c */
int mqtt_session_new(struct mqtt *d, struct hm_err *e) HM_MUSTCHECK;
/* Publishes that could go out now. */
uint32_t mqtt_session_room(const struct mqtt_session *s, bool urgent);
void mqtt_session_take(struct mqtt_session *s, struct mqtt_message *m);
void mqtt_session_drop(struct mqtt_message *m);
void mqtt_session_leave(struct mqtt_session *s); /* DISCONNECT, then close */

/* pool.c */
void mqtt_session_is_open(struct mqtt_session *s);
void mqtt_session_ended(struct mqtt *d, enum mqtt_session_state was, bool served, unsigned refused,
			const struct hm_err *why);

#endif
