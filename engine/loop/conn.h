/*
 * conn.h - a byte stream on libuv: TCP or unix socket, client or server, clear or TLS
 *
 *            hm_conn_connect                       hm_conn_accept
 *                  |                                     |
 *   RESOLVING -> CONNECTING -> HANDSHAKE (TLS only) -> OPEN -> FINISHING -> CLOSING -> on_close
 *
 * Reading:  bytes arrive in one 64 KiB buffer shared by all connections of the
 *           thread; what on_read is given is valid until it returns. A read may be
 *           followed by more on_read calls in the same pass; closing inside on_read
 *           is allowed and no further call but on_close follows.
 * Writing:  append to hm_conn_out() (or hm_conn_write). Nothing leaves at once: once
 *           per tick, before the loop blocks, on_flush (optional) may add more, then all
 *           is encrypted and written with one system call; what the kernel does not
 *           take waits and is written when it does. Buffers belong to the thread and
 *           are lent to a connection only while it has something to say, so an idle
 *           connection costs its struct (plus OpenSSL's state).
 * Pressure: hm_conn_pending() counts unsent bytes. When a flush leaves more than
 *           high_bytes, on_drain comes after it fell below half of that. More than max_bytes
 *           closes the connection (HM_ELIMIT). hm_conn_read_stop/start hold the peer.
 * Closing:  two phases. hm_conn_close stops everything now, on_close comes from
 *           the loop, exactly once per successful connect/accept, and only then may
 *           the memory go (also after a failed connect: on_close with the reason is
 *           the only call). hm_conn_finish first writes what is pending, says
 *           close_notify and FIN, waits for the peer's end or linger_ms, then closes.
 * Time:     connect_timeout_ms covers resolving, connecting and the handshake.
 *           Nothing else times out here: idle and header timeouts are the user's timers.
 *
 * Signals:  the first connection of the process sets SIGPIPE to be ignored, unless somebody handles it.
 *
 * Lifetime: embedded in its owner. Threads: the tick's. Memory in steady state: none.
 * Errors:   reach the owner as the `why` of on_close: HM_ECONN (refused, unresolvable),
 *           HM_ETLS (with the reason: expired, wrong host, untrusted ...), HM_ETIMEDOUT,
 *           HM_ECLOSED (peer closed), HM_EIO, HM_EPERM (deny_private), HM_ELIMIT, HM_ECANCELLED
 *           (closed by the owner without a reason of its own).
 */
#ifndef HM_LOOP_CONN_H
#define HM_LOOP_CONN_H

#include "base/buf.h"
#include "base/err.h"
#include "loop/addr.h"
#include "loop/listen.h"
#include "loop/tick.h"
#include "loop/tls.h"

#define HM_CONN_MAGIC 0x636f6e6eu

enum hm_conn_state {
	HM_CONN_NONE, /* not started, or closed */
	HM_CONN_RESOLVING,
	HM_CONN_CONNECTING,
	HM_CONN_HANDSHAKE,
	HM_CONN_OPEN,
	HM_CONN_FINISHING, /* writing what is left, then FIN; reads are dropped */
	HM_CONN_CLOSING,   /* uv handles are closing; on_close is next */
};

struct hm_conn;
struct hm_conn_ops {
	void (*on_open)(struct hm_conn *c); /* usable; for TLS after the handshake. Optional */
	void (*on_read)(struct hm_conn *c, const uint8_t *p, size_t n);
	void (*on_eof)(struct hm_conn *
			       c); /* peer will send no more; writing still works. NULL: closes, HM_ECLOSED */
	void (*on_flush)(struct hm_conn *c); /* last chance to add output in this tick. Optional */
	void (*on_drain)(struct hm_conn *c); /* pending fell below half of high_bytes. Optional */
	void (*on_close)(struct hm_conn *c, const struct hm_err *why);
};

struct hm_conn_opts {
	struct hm_tls *tls;	     /* NULL = clear; the connection takes a reference */
	uint32_t connect_timeout_ms; /* until on_open; 0 = 10,000 */
	uint32_t linger_ms;	     /* hm_conn_finish: longest time without progress; 0 = 1,000 */
	size_t high_bytes;	     /* 0 = 256 KiB */
	size_t max_bytes;	     /* 0 = 64 MiB */
	bool faults; /* fault points wire_read and wire_write apply (connections to providers) */
	/* client only */
	struct hm_str host; /* name or numeric address (IPv6 without brackets) */
	uint16_t port;
	struct hm_str unix_path;	  /* instead of host and port */
	struct hm_str server_name;	  /* SNI and verified name; empty = host */
	struct hm_tls_sessions *sessions; /* tickets to use and fill; must outlive the connection. Optional */
	bool deny_private;		  /* refuse addresses that are not public (checked after resolving) */
};

struct hm_conn {
	uint32_t magic;
	enum hm_conn_state state;
	struct hm_tick *tick;
	const struct hm_conn_ops *ops;
	void *arg;
	uint64_t rx_bytes, tx_bytes; /* on the wire */
	/* private */
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} u;
	struct ssl_st *ssl;
	struct hm_tls *tls;
	struct hm_tls_sessions *sessions;
	struct hm_conn_dial *dial;  /* while connecting */
	struct hm_buf out, enc, tx; /* clear text; encrypted, not yet handed over; being written */
	size_t tx_off, tx_busy;
	uint64_t taken;
	uv_write_t write_req;
	uv_shutdown_t shutdown_req;
	struct hm_flush flush;
	struct hm_timer timer;
	struct hm_err why;
	const uint8_t *tls_in; /* ciphertext of the current read, not yet eaten by OpenSSL */
	size_t tls_in_len;
	size_t high_bytes, max_bytes;
	uint64_t linger_tx; /* tx_bytes when the linger was last looked at */
	uint32_t linger_ms;
	bool is_unix, is_server, handle_open, announced, writing, above_high, eof, faults, notify_sent,
		fin_sent;
	char peer[64];
};

/* Starts connecting; on_open or on_close follows from the loop. Fails at once only for bad arguments or memory. */
int hm_conn_connect(struct hm_conn *c, struct hm_tick *t, const struct hm_conn_opts *o,
		    const struct hm_conn_ops *ops, void *arg, struct hm_err *e) HM_MUSTCHECK;
/* From inside on_accept. on_open follows from the loop (clear text: in the same tick; TLS: after the handshake).
 * On failure the waiting connection has been dropped and on_close does not come. */
int hm_conn_accept(struct hm_conn *c, struct hm_listener *l, const struct hm_conn_opts *o,
		   const struct hm_conn_ops *ops, void *arg, struct hm_err *e) HM_MUSTCHECK;

/* The output of this tick: append to it. Valid until the current callback returns; schedules the flush.
 * After close or finish it is a bin: appends are dropped with the connection. */
struct hm_buf *hm_conn_out(struct hm_conn *c);
void hm_conn_write(struct hm_conn *c, const void *p, size_t n); /* the same, copying */
void hm_conn_kick(struct hm_conn *c);				/* on_flush will be called in this tick */
void hm_conn_kick_soon(struct hm_conn *c);			/* ... before what else waits for its end */
size_t hm_conn_pending(const struct hm_conn *c);
/* How many bytes put into hm_conn_out() since birth may have reached the kernel; what lies beyond has
 * certainly not left this process. */
uint64_t hm_conn_taken(const struct hm_conn *c);

void hm_conn_read_stop(struct hm_conn *c);
void hm_conn_read_start(struct hm_conn *c);

void hm_conn_finish(struct hm_conn *c); /* write the rest, then close */
void hm_conn_close(struct hm_conn *c,
		   const struct hm_err *why); /* why NULL = HM_ECANCELLED; copied; repeats are harmless */
static inline bool hm_conn_usable(const struct hm_conn *c)
{
	return c->state == HM_CONN_OPEN;
}

/* What ALPN chose ("h2", "http/1.1"), or empty. */
struct hm_str hm_conn_alpn(const struct hm_conn *c);
const char *hm_conn_peer(const struct hm_conn *c); /* "192.0.2.1:443", "unix:/run/x", for logs */
bool hm_conn_peer_addr(const struct hm_conn *c, struct sockaddr_storage *a_r); /* false for unix sockets */
const char *hm_conn_tls_version(const struct hm_conn *c);		       /* "TLSv1.3", or "" */

#endif
