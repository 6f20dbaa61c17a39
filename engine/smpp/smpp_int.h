/*
 * smpp_int.h - what the driver's files share
 *
 *   CONNECTING --on_open--> BINDING --bind_resp ok--> BOUND --unbind, of whom ever--> LEAVING --> (closed)
 *
 * A message is on one list of its session: `sending` while parts of it have not gone out, `waiting` for the rest of its life. Each
 * part that has gone out holds a slot of the session's window, found by its sequence number.
 */
#ifndef HM_SMPP_INT_H
#define HM_SMPP_INT_H

#include "smpp/pdu.h"
#include "smpp/receipt.h"
#include "smpp/smpp.h"
#include "smpp/text.h"
#include "wire/wire_int.h"

#define SMPP_DRIVER_MAGIC  0x736d7064u
#define SMPP_SESSION_MAGIC 0x736d7073u
#define SMPP_MESSAGE_MAGIC 0x736d706du
#define SMPP_EVENT_MAGIC   0x736d7065u

#define SMPP_MAX_WINDOW 1000u
#define SMPP_MAX_EVENTS 256u /* of a session, not yet taken */
#define SMPP_NS_PER_MS	UINT64_C(1000000)
#define SMPP_NS_PER_S	UINT64_C(1000000000)

enum smpp_kind { SMPP_TRANSCEIVER, SMPP_TRANSMITTER, SMPP_RECEIVER };
enum smpp_binds { SMPP_BINDS_TRANSCEIVER, SMPP_BINDS_TRANSMITTER, SMPP_BINDS_PAIR };

struct smpp_config { /* of an account; texts live as long as the origin */
	struct hm_str system_id, password, system_type, address_range;
	enum smpp_binds binds;
	uint8_t addr_ton, addr_npi;
	uint32_t window, pace, enquire_s, enquire_timeout_s, bind_timeout_s, rebind_s;
	enum smpp_radix id_radix, receipt_radix;
	enum smpp_alphabet default_alphabet;
};
int smpp_config_read(const struct hm_origin_opts *o, struct smpp_config *c, struct hm_err *e) HM_MUSTCHECK;

enum smpp_part_state {
	SMPP_PART_TODO,
	SMPP_PART_SENT,
	SMPP_PART_TAKEN,
	SMPP_PART_THROTTLED,
	SMPP_PART_REFUSED
};
struct smpp_part {
	enum smpp_part_state state;
	uint32_t sequence; /* SENT */
	struct hm_str id;
};

/* A call while the driver has it; in the call's arena. */
struct smpp_message {
	uint32_t magic;
	struct hm_call *call;
	struct smpp_session *session;
	struct smpp_sm sm; /* what all parts have in common */
	struct smpp_text text;
	enum smpp_long how;
	uint8_t registered_but_last;
	uint16_t ref;
	struct smpp_part *parts; /* text.n_parts */
	uint32_t todo, sent, taken, throttled, refused;
	uint32_t status;     /* the first refusal's */
	struct hm_str words; /* of it */
	bool went;	     /* a part of it is in the connection's output, or was */
};
/* Reads the fields. HM_EINVAL, HM_ELIMIT: nothing that could be sent; HM_ENOMEM. */
int smpp_message_new(struct hm_call *c, struct smpp_message **m_r, struct hm_err *e) HM_MUSTCHECK;
void smpp_message_put(const struct smpp_message *m, uint32_t part, uint32_t sequence, struct hm_buf *out);
/* All parts have their answer: the call's. */
void smpp_message_answer(struct smpp_message *m);
/* The bind was refused; nothing went out. */
void smpp_answer_bind(struct hm_call *c, uint32_t status);

enum smpp_session_state { SMPP_S_CONNECTING, SMPP_S_BINDING, SMPP_S_BOUND, SMPP_S_LEAVING, SMPP_S_CLOSING };

struct smpp_slot {
	uint32_t sequence; /* 0: free */
	uint32_t part;
	struct smpp_message *message;
};

struct smpp_session {
	uint32_t magic;
	enum smpp_session_state state;
	enum smpp_kind kind;
	struct smpp *d;
	struct hm_node node; /* d->sessions */
	uint64_t serial;     /* events remember it, not the pointer */
	struct hm_conn conn;
	struct hm_buf in; /* the beginning of a PDU */
	/* the window */
	struct smpp_slot *slots; /* by sequence number modulo their count, a power of two */
	uint32_t n_slots, in_flight;
	uint32_t window, accepted_since; /* what it is now; acceptances since it last grew */
	struct hm_list sending, waiting; /* calls */
	uint32_t todo;			 /* parts of `sending` that have not gone out */
	uint32_t sequence, bind_sequence;
	uint64_t produced; /* bytes put into the connection's output */
	uint64_t pause_until_ns, pace_ns;
	/* the link */
	struct hm_timer health;
	uint64_t last_rx_ns, enquire_ns, used_ns, bound_ns;
	uint32_t enquiries; /* sent since the peer last said anything */
	uint64_t tx_seen, rx_seen;
	uint64_t submitted, answered, received;
	uint32_t events; /* not yet taken */
	uint32_t bind_status;
	bool peer_unbinds, unbound, wake; /* wake: something above the window changed in this read */
	struct hm_err why;
};

struct smpp { /* an origin's; o->driver */
	uint32_t magic;
	struct hm_origin *origin;
	struct smpp_config config;
	struct hm_list sessions; /* smpp_session.node */
	uint64_t serials;
	uint32_t refusals; /* binds in a row; failed connections are counted by the origin */
	uint32_t refused;  /* the status of the last bind when it was refused, 0: it was not */
	bool wanted, closing;
	uint16_t refs[64];   /* of long messages, by who writes to whom */
	struct hm_list free; /* smpp_event.node */
	uint32_t events;     /* not yet taken, of all sessions, also those that are gone */
	uint64_t n_receipts, n_inbound, n_refused_events;
};
uint16_t smpp_ref_next(struct smpp *d, const struct smpp_sm *sm);

/* session.c */
int smpp_session_new(struct smpp *d, enum smpp_kind kind, struct hm_err *e) HM_MUSTCHECK;
/* Parts that could go out now. */
uint32_t smpp_session_room(const struct smpp_session *s, bool urgent);
/* Takes a call that came from the queue. */
void smpp_session_take(struct smpp_session *s, struct smpp_message *m);
void smpp_session_push(struct smpp_session *s); /* sends parts while the window and the pace allow */
bool smpp_session_drop(struct smpp_message *m);
void smpp_session_leave(struct smpp_session *s); /* unbind, then close */
/* When something could go out that cannot now; UINT64_MAX: nothing but an answer helps. */
uint64_t smpp_session_wake_ns(const struct smpp_session *s);
void smpp_session_reply(struct smpp_session *s, uint32_t id, uint32_t status, uint32_t sequence);

/* pool.c */
void smpp_session_ended(struct smpp *d, enum smpp_session_state was, bool served, uint32_t bind_status,
			const struct hm_err *why);
void smpp_session_is_bound(struct smpp_session *s);

/* event.c */
void smpp_event_in(struct smpp_session *s, const struct smpp_head *h, struct hm_str body);
void smpp_events_free(struct smpp *d);

#endif
