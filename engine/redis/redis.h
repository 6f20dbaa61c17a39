/*
 * redis.h - a Redis client on a tick: one server or a cluster, TLS or not
 *
 * One hm_redis per thread. hiredis' reader parses replies (into an arena, no
 * malloc per element) and its formatter is not needed: commands are written as
 * RESP into one buffer per connection and leave with one write per tick.
 *
 * Routing: `key` decides the node in a cluster (hash tag rules of the cluster
 * specification); key.p == NULL means any node. MOVED and ASK are followed,
 * TRYAGAIN and CLUSTERDOWN retried with backoff inside the command's time limit,
 * a failed master's slots wait for the new one. One connection per node carries
 * everybody's commands: MULTI, SUBSCRIBE, blocking commands and the like do not
 * belong on it (scripts and lines are for that).
 *
 * Order: commands for one server leave and are answered in the order sent. Only
 * those that had to go round (redirected, retried) may be overtaken.
 *
 * Errors, told apart because callers must: HM_EDOWN = certainly not executed;
 * HM_ELOST = sent, connection broke, effect unknown; HM_EREDIS = the server's
 * error reply (err->text is its text: OOM, WRONGTYPE, BUSY ...; not executed, a script
 * perhaps in part); HM_ETIMEDOUT = like ELOST. HM_EAGAIN (max_pending or 256 MiB wait
 * already), HM_ELIMIT (a command of more than 32 MiB) and HM_ENOMEM = not executed.
 * on_reply comes exactly once per command, from the loop, never from inside send.
 * A reply of more than 64 MiB, nested deeper than hiredis' 8 levels, or not RESP2 ends
 * the connection (HM_ELOST for what was pending).
 *
 * While there is no connection: to one server, a command waits only while an
 * attempt runs that may still succeed (the first one, and the first after a loss), and
 * fails with HM_EDOWN at once after that; in a cluster it waits for its slot's owner up
 * to command_timeout_ms. A command the connection had not begun to write when it
 * broke goes out on the next one; one that may have left is never repeated.
 * Connections reconnect by themselves with backoff and jitter (50 ms .. 3 s); after a
 * refused password or a wrong kind of server every 1.5 .. 3 s.
 *
 * Servers: Redis 6.2 or newer (HELLO says so), a master where there is one server.
 */
#ifndef HM_REDIS_REDIS_H
#define HM_REDIS_REDIS_H

#include "base/err.h"
#include "loop/tick.h"

enum hm_reply_type {
	HM_REPLY_NIL,
	HM_REPLY_STR,
	HM_REPLY_STATUS,
	HM_REPLY_ERROR,
	HM_REPLY_INT,
	HM_REPLY_ARRAY
};
struct hm_reply {
	enum hm_reply_type type;
	int64_t i;
	struct hm_str s; /* STR, STATUS, ERROR */
	struct hm_reply *v;
	size_t n; /* ARRAY */
};
/* reply and everything below it is valid only during the call. reply == NULL when err is set. */
typedef void (*hm_reply_fn)(void *arg, const struct hm_reply *reply, const struct hm_err *err);

struct hm_redis_opts { /* from settings, section redis; strings must outlive the client */
	struct hm_str
		url; /* redis://host:port[/db] rediss:// unix:///path redis+cluster://h1:p1,h2:p2 rediss+cluster:// */
	struct hm_str username, password;
	struct hm_str ca_file, cert_file, key_file, server_name;
	bool tls_verify;
	uint32_t connect_timeout_ms, command_timeout_ms;
	uint32_t max_pending;	   /* commands waiting per connection; beyond: HM_EAGAIN */
	struct hm_str client_name; /* CLIENT SETNAME */
};

struct hm_redis;
int hm_redis_new(struct hm_tick *t, const struct hm_redis_opts *o, struct hm_redis **r_r,
		 struct hm_err *e) HM_MUSTCHECK;
/* Fails what is pending (EDOWN/ELOST), from the loop; closes, with the lines that are still open; on_closed when
 * memory is gone. Until then a send fails with HM_ECLOSED. */
void hm_redis_close(struct hm_redis *r, void (*on_closed)(void *arg), void *arg);
/* up = every slot (or the server) has a live, authenticated connection. Told from the loop at each change, and
 * while down whenever the reason changes (a refused password, LOADING ...): why->text is a sentence for people. */
void hm_redis_on_state(struct hm_redis *r, void (*fn)(void *arg, bool up, const struct hm_err *why),
		       void *arg);
bool hm_redis_up(const struct hm_redis *r);
bool hm_redis_is_cluster(const struct hm_redis *r);

/* Arguments are copied into the output buffer before the call returns. */
void hm_redis_send(struct hm_redis *r, struct hm_str key, const struct hm_str *argv, size_t argc,
		   hm_reply_fn fn, void *arg);
/* printf-like for rare commands: %s = C string, %b = struct hm_str by value, %d = int64_t; arguments split at blanks. */
void hm_redis_sendf(struct hm_redis *r, struct hm_str key, hm_reply_fn fn, void *arg, const char *fmt, ...);

/* A connection of its own for blocking commands (XREADGROUP BLOCK): follows `key` to its node, reconnects;
 * a command sent while it is down fails with EDOWN at the next pass. timeout_ms per command, 0 = none (then a
 * server that is silently gone is not noticed: give BLOCK's time and a margin). After a timeout the connection is
 * made anew. An answer that the key moved or the server was demoted is HM_EDOWN: send again when the line is up.
 * NULL when out of memory. */
struct hm_redis_line;
struct hm_redis_line *hm_redis_line_open(struct hm_redis *r, struct hm_str key);
void hm_redis_line_send(struct hm_redis_line *l, const struct hm_str *argv, size_t argc, uint32_t timeout_ms,
			hm_reply_fn fn, void *arg);
void hm_redis_line_on_up(struct hm_redis_line *l, void (*fn)(void *arg),
			 void *arg); /* each time it (re)connects */
bool hm_redis_line_up(const struct hm_redis_line *l);
void hm_redis_line_close(struct hm_redis_line *l); /* pending commands fail */

/* Lua scripts: EVALSHA, falling back to EVAL when the server does not know it (NOSCRIPT). */
struct hm_redis_script {
	const char *name, *source;
	char sha[41]; /* filled on first use */
};
void hm_redis_eval(struct hm_redis *r, struct hm_redis_script *s, const struct hm_str *keys, size_t nkeys,
		   const struct hm_str *args, size_t nargs, hm_reply_fn fn, void *arg);

uint16_t hm_redis_slot(struct hm_str key); /* CRC16 of the hash tag, mod 16384 */
/* Helpers on replies. */
const struct hm_reply *hm_reply_at(const struct hm_reply *r, size_t i); /* NULL when not there */
bool hm_reply_is(const struct hm_reply *r, const char *status);

#endif
