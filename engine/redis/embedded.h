/*
 * embedded.h - Debian's redis-server as a supervised child
 *
 * Unix socket and append-only file in the data directory; not reachable from the
 * network. Started and waited for (PING) before the shards; when it dies it is
 * started again with backoff and everything resumes from the AOF; stopped with
 * SIGTERM (which flushes the AOF) after the shards. The child dies with the
 * parent (prctl PDEATHSIG) so that kill -9 leaves no orphan writing to the AOF.
 * A second Hermod on the same data directory is refused by the data dir's lock;
 * should it be missing, the server's own lock (fcntl on redis/lock, taken by the
 * child before it becomes redis-server) keeps two servers off one AOF all the same.
 *
 * Start it from a thread that lives as long as the process: PDEATHSIG means the
 * death of the thread that forked. Files: <data_dir>/redis/{redis.sock,redis.log,
 * redis.log.1,lock,appendonlydir/}. Strings of the options are copied.
 * Errors: one sentence; when the server ends early, with the last line it logged.
 */
#ifndef HM_REDIS_EMBEDDED_H
#define HM_REDIS_EMBEDDED_H

#include "base/err.h"
#include "loop/tick.h"

struct hm_embedded_opts {
	struct hm_str binary;	   /* "redis-server" looked up in PATH, or a path */
	struct hm_str data_dir;	   /* <data_dir>/redis/ holds socket, AOF, log */
	struct hm_str appendfsync; /* everysec | always | no */
	uint64_t maxmemory;	   /* bytes, 0 = no limit; policy noeviction */
};
struct hm_embedded;
/* Starts the child and waits (running t->loop) until it answers PING or `timeout_ms` passed (0 = 60 s: a large
 * AOF takes a while to load). On failure the child is gone again. */
int hm_embedded_start(struct hm_tick *t, const struct hm_embedded_opts *o, uint32_t timeout_ms,
		      struct hm_embedded **r, struct hm_err *e) HM_MUSTCHECK;
struct hm_str hm_embedded_url(const struct hm_embedded *em); /* unix:///... */
int hm_embedded_pid(const struct hm_embedded *em);	     /* 0 while down */
uint64_t hm_embedded_restarts(const struct hm_embedded *em);
/* SIGTERM, SIGKILL after timeout; on_stopped when reaped, em is gone then. */
void hm_embedded_stop(struct hm_embedded *em, uint32_t timeout_ms, void (*on_stopped)(void *arg), void *arg);

#endif
