/*
 * driver.h - providers that do not speak HTTP: what a driver is
 *
 * wire.c keeps queues, deadlines, and the one way a call ends; a driver moves calls of its protocol. It is a table of
 * functions that the process hands to hm_wire_new (hm_wire_opts.drivers); tbl/protocols.h names the protocols.
 *
 *   hm_wire_submit ─▶ QUEUED ─▶ pump: origin_next() ─▶ CALL_DRIVER, on a list of the driver ─▶ call_answered | call_finish | call_again
 *
 * A call means for all protocols: `method` the operation, `headers` named fields (lower case, without control characters),
 * `body` what is carried. An answer: `status` the protocol's number (an SMTP reply code, an SMPP command_status), `answer` its
 * text, `answer_headers` what else it says. So the tables of an adapter file judge it like any other.
 *
 * What logs in (user, password, system_id, ...) are the pairs of hm_origin_opts.session, from endpoint.session of the adapter.
 *
 * A driver includes wire/wire_int.h. Its rules:
 *   - each connection counts in wire->sessions from when it is opened until its close callback, which calls wire_maybe_closed;
 *   - a call it takes is set to CALL_DRIVER, linked by call->node to one of its own lists, and ends exactly once through
 *     call_answered (status set, answer by call_append), call_finish with an honest fate, or call_again;
 *   - never user code from inside a library callback: those three only queue;
 *   - when room appears: origin_check_room(o);
 *   - limits of count, size and time on everything that a peer can make grow.
 * Threads: owner shard only.
 */
#ifndef HM_WIRE_DRIVER_H
#define HM_WIRE_DRIVER_H

#include "wire/wire.h"

/* What a provider sends on its own (an SMPP deliver_sm). done() is called exactly once, from the loop, perhaps at once: 0 when it is
 * durably taken, else the provider is to send it again. Ownership: the driver's until then. */
struct hm_driver_event {
	const struct hm_origin *origin;
	const struct hm_header *fields;
	size_t n_fields;
	struct hm_str body;
	void (*done)(struct hm_driver_event *ev, int rc);
};

struct hm_driver_ops {
	enum hm_protocol protocol;
	/* Of a new origin: looks at the session's pairs, sets o->driver. Connects now or when the first call comes. */
	int (*open)(struct hm_origin *o, struct hm_err *e);
	void (*pump)(struct hm_origin *o); /* calls wait: take as many as there is room for (origin_next) */
	size_t (*room)(
		const struct hm_origin *o,
		bool urgent); /* calls that would go out without waiting, those waiting not subtracted */
	bool (*drop)(struct hm_call
			     *c); /* takes a call off the driver (cancel, deadline); true: it may have left */
	void (*close)(struct hm_origin *o); /* ends sessions; no call is under way */
	void (*fini)(struct hm_origin *o);  /* all is closed: frees o->driver */
	void (*describe)(const struct hm_origin *o,
			 struct hm_buf *out); /* ,"name":value ... for /v1/admin/wire */
	/* A channel that uses the origin comes (true) or the last one goes (false): whether sessions are kept without calls. NULL: no matter. */
	void (*wanted)(struct hm_origin *o, bool yes);
};

#endif
