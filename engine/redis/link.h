/*
 * link.h - one connection to one Redis server, for as long as its owner wants one
 *
 *                    start                                     answers in order
 *   IDLE ─────────────────▶ WAITING ─▶ CONNECTING ─▶ HANDSHAKE ─▶ UP
 *    ▲                         ▲           │             │         │
 *    └──── stop ── CLOSING ────┴───────────┴── lost ─────┴─────────┘
 *
 * Handshake: HELLO 2 [AUTH user password] [SETNAME name], [SELECT db], PING, sent
 * together. It fails when the server is of the wrong kind (cluster or not), a
 * replica where a master is needed, still loading, or refuses the credentials.
 * Lost connections come back by themselves: 50 ms doubling to 3 s, with jitter;
 * after a refused credential or a wrong configuration 3 s from the start.
 *
 * Commands: hm_link_send() takes a command while the link is up. It stands in
 * `queue` until the next flush, which hands the bytes of all of them to the
 * connection (one write), and then in `pending` until its answer comes. The owner
 * gets every command back exactly once: on_reply with its answer, or on_lost,
 * which says whether the server may have seen it.
 *
 * Time: a command past its deadline is told to its caller (HM_ETIMEDOUT, or
 * HM_EDOWN if it never left) but keeps its place in the order of answers. A
 * connection on which nothing arrived for the whole time limit is given up.
 *
 * Lifetime: embedded in its owner; memory may go in or after on_closed.
 * Threads: the tick's. All callbacks come from the loop, none from inside a call.
 */
#ifndef HM_REDIS_LINK_H
#define HM_REDIS_LINK_H

#include "loop/conn.h"
#include "redis/cmd.h"
#include "redis/reply.h"
#include "redis/url.h"

#define HM_LINK_MAGIC	     0x6c696e6bu
#define HM_LINK_RETRY_MIN_MS 50
#define HM_LINK_RETRY_MAX_MS 3000
#define HM_LINK_LOADING_MS   100	  /* a loading server is asked again this often */
#define HM_LINK_HIGH_BYTES   (256u << 10) /* handed to the connection and not yet taken by the kernel */

enum hm_link_state {
	HM_LINK_IDLE,
	HM_LINK_WAITING,
	HM_LINK_CONNECTING,
	HM_LINK_HANDSHAKE,
	HM_LINK_UP,
	HM_LINK_CLOSING,
};

struct hm_link_opts { /* shared by the links of a client */
	struct hm_tick *tick;
	struct hm_cmds *cmds;
	struct hm_tls *tls;
	struct hm_tls_sessions *sessions;
	struct hm_str server_name, username, password, client_name;
	uint32_t db, connect_timeout_ms, command_timeout_ms;
	bool cluster;
};

struct hm_link;
struct hm_link_ops {
	/* Before each attempt: may set the address. False: there is none yet, try later. Optional. */
	bool (*on_dial)(struct hm_link *l);
	void (*on_up)(struct hm_link *l);
	/* An attempt failed or the connection was lost; on_lost of its commands comes after this. */
	void (*on_down)(struct hm_link *l, const struct hm_err *why);
	void (*on_reply)(struct hm_link *l, struct hm_cmd *c, const struct hm_reply *reply);
	void (*on_lost)(struct hm_link *l, struct hm_cmd *c, bool sent, const struct hm_err *why);
	void (*on_closed)(struct hm_link *l);
};

struct hm_link {
	uint32_t magic;
	enum hm_link_state state;
	const struct hm_link_opts *o;
	const struct hm_link_ops *ops;
	void *arg;
	struct hm_redis_addr addr;
	char unix_path[108];
	char name[HM_REDIS_HOST_MAX + 16]; /* "host:port" or the socket's path */
	bool need_master;		   /* a replica will not do */
	bool line;			   /* its commands may block: each brings its own limit */
	struct hm_err why;		   /* of the last failure; code 0 before the first */
	uint32_t failures;		   /* attempts since it was up last */
	uint64_t ups;
	struct hm_list queue, pending;
	bool draining; /* takes no commands; breaks when pending is empty */
	/* private */
	bool wanted, closed, reader_open;
	struct hm_conn conn;
	struct hm_reader reader;
	struct hm_flush flush;
	struct hm_timer timer; /* WAITING: next attempt; HANDSHAKE: its limit; UP: the nearest deadline */
	uint64_t timer_due_ns, last_rx_ns;
	size_t head_off; /* bytes of the first queued command already handed over (fault redis_write:short) */
	uint32_t retry_floor_ms;
	uint8_t step; /* of the handshake */
};

void hm_link_init(struct hm_link *l, const struct hm_link_opts *o, const struct hm_link_ops *ops, void *arg);
void hm_link_set_tcp(struct hm_link *l, const struct hm_redis_addr *a);
void hm_link_set_unix(struct hm_link *l, const char *path);
void hm_link_start(struct hm_link *l); /* harmless when started */
void hm_link_stop(struct hm_link *l);  /* back to IDLE; its commands are lost */
void hm_link_close(struct hm_link *l); /* for good; on_closed comes from the loop */
/* Gives the connection up (and tries again while wanted). */
void hm_link_break(struct hm_link *l, const struct hm_err *why);
/* No further commands; when the pending ones are answered, as hm_link_break. */
void hm_link_drain(struct hm_link *l, const struct hm_err *why);
void hm_link_send(struct hm_link *l, struct hm_cmd *c); /* only while hm_link_up */
static inline bool hm_link_up(const struct hm_link *l)
{
	return l->state == HM_LINK_UP && !l->draining;
}
static inline size_t hm_link_load(const struct hm_link *l)
{
	return l->queue.len + l->pending.len;
}

#endif
