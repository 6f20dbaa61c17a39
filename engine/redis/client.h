/*
 * client.h - the inside of a struct hm_redis, shared by the files of this folder
 *
 * What becomes of a command (a command is on one list at any time):
 *
 *   send ─▶ route ─▶ link queue ─▶ link pending ─▶ answer ─▶ caller
 *             │ ▲                        │            │
 *             ▼ │ link up, new map       │ lost       ├─ MOVED, ASK: route again
 *           parked ── too late ─▶ EDOWN  ▼            └─ TRYAGAIN ...: later, then route
 *             ▲                        ELOST
 *             └── unsent when the connection broke
 *
 * parked: no connection for it now. One server: only while an attempt that may
 *         still succeed runs; a cluster: until its deadline.
 * later:  the server asked to try again; one timer sends them all round again.
 * failed: to be told at the next pass, because callbacks never come from a call.
 */
#ifndef HM_REDIS_CLIENT_H
#define HM_REDIS_CLIENT_H

#include "redis/link.h"

#define HM_REDIS_MAGIC	      0x72656469u
#define HM_REDIS_LINE_MAGIC   0x6c6e6c6eu
#define HM_REDIS_LATER_MS     20 /* pause before TRYAGAIN, CLUSTERDOWN ... go round again; grows to LATER_MAX */
#define HM_REDIS_LATER_MAX_MS 200
#define HM_REDIS_REDIRECTS    16 /* MOVED and ASK a command may follow */

struct hm_cluster;
struct hm_redis {
	uint32_t magic;
	struct hm_tick *tick;
	struct hm_redis_url url;
	struct hm_link_opts lo;
	struct hm_tls_sessions sessions;
	uint32_t max_pending;
	struct hm_cmds cmds;
	struct hm_list parked, later, failed;
	struct hm_list lines;
	struct hm_flush flush;	      /* tells the failed, the state, and the end */
	struct hm_timer parked_timer; /* nearest deadline in parked */
	struct hm_timer later_timer;
	uint64_t parked_due_ns;
	uint32_t later_ms;
	struct hm_link *single;	    /* one server */
	struct hm_cluster *cluster; /* or a cluster */
	bool up, hopeful;	    /* hopeful: a first attempt runs; one server's commands wait for it */
	bool told_up, tell;
	bool fresh; /* the tick's clock was read in this pass */
	bool closing;
	struct hm_err why; /* last reason of not being up */
	unsigned open;	   /* links and lines whose on_closed is to come */
	void (*state_fn)(void *arg, bool up, const struct hm_err *why);
	void *state_arg;
	void (*on_closed)(void *arg);
	void *closed_arg;
};

/* client.c */
enum hm_error_kind {
	HM_REPLY_OTHER,
	HM_REPLY_MOVED,
	HM_REPLY_ASK,
	HM_REPLY_TRYAGAIN,
	HM_REPLY_CLUSTERDOWN,
	HM_REPLY_READONLY,
	HM_REPLY_LOADING,
	HM_REPLY_MASTERDOWN,
	HM_REPLY_NOAUTH,
	HM_REPLY_NOSCRIPT,
	HM_REPLY_UNBLOCKED,
};
/* What an error answer asks the client to do; *why_r (optional) names it for the caller if it never works out. */
enum hm_error_kind hm_redis_error_kind(const struct hm_reply *r, enum hm_cmd_why *why_r);
/* Sends, parks or fails it. c is on no list. */
void hm_redis_route(struct hm_redis *r, struct hm_cmd *c);
/* Everything parked is routed anew, in order. */
void hm_redis_route_parked(struct hm_redis *r);
void hm_redis_fail_later(struct hm_redis *r, struct hm_cmd *c, int code, enum hm_cmd_why why);
/* The same for a command that could not even be made. */
void hm_redis_fail(struct hm_redis *r, int code, enum hm_cmd_why why, hm_reply_fn fn, void *arg);
/* Calls the caller now and frees the command. */
void hm_redis_finish(struct hm_redis *r, struct hm_cmd *c, const struct hm_reply *reply,
		     const struct hm_err *err);
void hm_redis_set_state(struct hm_redis *r, bool up, const struct hm_err *why);
/* What all links do with answers and losses. */
void hm_redis_on_reply(struct hm_link *l, struct hm_cmd *c, const struct hm_reply *reply);
void hm_redis_on_lost(struct hm_link *l, struct hm_cmd *c, bool sent, const struct hm_err *why);
/* One of r->open came home. */
void hm_redis_unref(struct hm_redis *r);
/* A command with its deadline; the caller routes it. NULL: it is on the way to failing already. */
struct hm_cmd *hm_redis_cmd(struct hm_redis *r, struct hm_str key, const struct hm_str *argv, size_t argc,
			    hm_reply_fn fn, void *arg);

void hm_redis_send_script(struct hm_redis *r, struct hm_str key, const struct hm_str *argv, size_t argc,
			  struct hm_redis_script *s, hm_reply_fn fn, void *arg);

/* cluster.c */
int hm_cluster_open(struct hm_redis *r, struct hm_err *e) HM_MUSTCHECK;
void hm_cluster_close(struct hm_redis *r);
void hm_cluster_free(struct hm_redis *r);			    /* when every link is closed */
struct hm_link *hm_cluster_link(struct hm_redis *r, uint16_t slot); /* NULL: none that is up */
size_t hm_cluster_load(struct hm_redis *r, uint16_t slot);	    /* commands on the owner's link */
/* The address of the slot's owner; NULL when unknown. */
const struct hm_redis_addr *hm_cluster_owner(struct hm_redis *r, uint16_t slot);
/* Learns from "MOVED slot host:port"; false when it does not parse. `from` fills in an empty host. */
bool hm_cluster_moved(struct hm_redis *r, struct hm_str text, const struct hm_link *from);
bool hm_cluster_redirect_addr(struct hm_str text, const struct hm_link *from, uint16_t *slot_r,
			      struct hm_redis_addr *a_r);
/* The link to an address, started when new; NULL when out of memory. */
struct hm_link *hm_cluster_link_to(struct hm_redis *r, const struct hm_redis_addr *a);
void hm_cluster_refresh_soon(struct hm_redis *r);

/* line.c */
void hm_redis_line_abandon(struct hm_redis_line *l); /* the client closes */
struct hm_redis_line *hm_redis_line_from_node(struct hm_node *n);

#endif
