/*
 * listen.h - a listening socket (TCP or unix) on a tick's loop
 *
 * TCP sockets get SO_REUSEADDR and, when asked, SO_REUSEPORT, so every shard can
 * listen on the same port and the kernel spreads connections.
 * on_accept runs once per waiting connection; call hm_conn_accept(conn, l, ...)
 * from inside it, or hm_listener_drop(l) to refuse (accepts and closes).
 *
 * Lifetime: embedded in its owner; memory may go after on_closed.
 * Errors:   one sentence: address in use, no permission, bad address.
 */
#ifndef HM_LOOP_LISTEN_H
#define HM_LOOP_LISTEN_H

#include "base/err.h"
#include "base/str.h"
#include "loop/tick.h"

#define HM_LISTENER_MAGIC 0x6c69736eu

struct hm_listen_opts {
	struct hm_str host;	 /* numeric address, "localhost", or "*" for all */
	uint16_t port;		 /* 0 = ephemeral, see hm_listener_port */
	struct hm_str unix_path; /* instead of host and port; a stale socket file is replaced */
	bool reuse_port;
	int backlog; /* 0 = 1024 */
};

struct hm_listener {
	uint32_t magic;
	struct hm_tick *tick;
	void *arg;
	void (*on_accept)(struct hm_listener *l);
	void (*on_closed)(struct hm_listener *l); /* may be NULL */
	/* private */
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} u;
	bool is_unix, closing;
	uint16_t port;
	char unix_path[108];
};
int hm_listener_open(struct hm_listener *l, struct hm_tick *t, const struct hm_listen_opts *o,
		     void (*on_accept)(struct hm_listener *), void *arg, struct hm_err *e) HM_MUSTCHECK;
uint16_t hm_listener_port(const struct hm_listener *l);
void hm_listener_drop(struct hm_listener *l);
/* Stops listening at once; on_closed comes from the loop. Only for a listener that was opened. */
void hm_listener_close(struct hm_listener *l, void (*on_closed)(struct hm_listener *));

#endif
