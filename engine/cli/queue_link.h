/*
 * queue_link.h - Redis for commands that run beside the engine
 *
 * Opens the configuration, finds the Redis it names (for an embedded one: the socket in
 * the data directory of the running engine) and waits until it is there. Everything
 * after that is either one question at a time (hm_queue_call, hm_queue_ask) or hm_redis
 * itself with hm_queue_turn to run the loop.
 *
 * Errors are printed as one sentence to stderr; functions return 0 or an HM_E code.
 */
#ifndef HM_CLI_QUEUE_LINK_H
#define HM_CLI_QUEUE_LINK_H

#include "cli/conf_args.h"
#include "config/config.h"
#include "redis/redis.h"

struct hm_queue_link {
	uv_loop_t loop;
	struct hm_tick tick;
	uv_timer_t beat; /* wakes the loop, so that waiting can look at the clock */
	struct hm_redis *redis;
	struct hm_config *cfg;
	char url[512];
	struct hm_err why; /* Redis is or was away */
	bool closed;
};
/* url: NULL, or what --redis gave. */
int hm_queue_open(struct hm_queue_link *q, const struct hm_conf_args *conf, const char *url) HM_MUSTCHECK;
void hm_queue_close(struct hm_queue_link *q);
/* Runs the loop until something happened, at most about 50 ms. */
void hm_queue_turn(struct hm_queue_link *q);
/* One command, waited for. The reply is copied into the arena. Fails with the error's sentence in e. */
int hm_queue_call(struct hm_queue_link *q, struct hm_str key, const struct hm_str *argv, size_t argc,
		  struct hm_arena *a, struct hm_reply *reply_r, struct hm_err *e) HM_MUSTCHECK;
/* The same for whatever `send` sends; it has fn called once with arg. */
typedef void (*hm_queue_send_fn)(struct hm_queue_link *q, void *what, hm_reply_fn fn, void *arg);
int hm_queue_ask(struct hm_queue_link *q, hm_queue_send_fn send, void *what, struct hm_arena *a,
		 struct hm_reply *reply_r, struct hm_err *e) HM_MUSTCHECK;

/* Who runs the command: "cli:<user>@<host>". */
#define HM_QUEUE_WHO_MAX 160
void hm_queue_who(char out[HM_QUEUE_WHO_MAX]);

#endif
