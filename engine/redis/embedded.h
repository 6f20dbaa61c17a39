/*
 * embedded.h - Debian's redis-server as a supervised child
 *
 * Unix socket and append-only file in the data directory; not reachable from the
 * network. Started and waited for (PING) before the shards; when it dies it is
 * started again with backoff and everything resumes from the AOF; stopped with
 * SIGTERM (which flushes the AOF) after the shards. The child dies with the
 * parent (prctl PDEATHSIG) so that kill -9 leaves no orphan writing to the AOF.
 * A second Hermod on the same data directory is refused by the data dir's lock.
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
/* Starts the child and waits (running t->loop) until it answers PING or `timeout_ms` passed. */
int hm_embedded_start(struct hm_tick *t, const struct hm_embedded_opts *o, uint32_t timeout_ms,
		      struct hm_embedded **r, struct hm_err *e) HM_MUSTCHECK;
struct hm_str hm_embedded_url(const struct hm_embedded *em); /* unix:///... */
int hm_embedded_pid(const struct hm_embedded *em);	     /* 0 while down */
uint64_t hm_embedded_restarts(const struct hm_embedded *em);
/* SIGTERM, SIGKILL after timeout; on_stopped when reaped. */
void hm_embedded_stop(struct hm_embedded *em, uint32_t timeout_ms, void (*on_stopped)(void *arg), void *arg);

#endif
