/*
 * shard.h - one thread, one loop, one of everything
 *
 * A shard owns a tick, a mailbox, a Redis client, a wire, a ledger writer, its view of
 * the credentials, an HTTP listener (SO_REUSEPORT) and a dispatcher. Nothing of it is
 * touched by another thread; the control thread (engine.c) speaks to it by mail.
 *
 *   new ──▶ thread: opens everything ──▶ ready | failed ──▶ runs ──▶ drain ──▶ closes
 *   in reverse order ──▶ ended ──▶ joined by the control thread
 */
#ifndef HM_CORE_SHARD_H
#define HM_CORE_SHARD_H

#include "core/engine.h"
#include "dispatch/dispatch.h"
#include "loop/mailbox.h"

struct hm_shard;
/* Starts the thread. `ready` mail arrives in the engine's mailbox (hm_engine_shard_ready). */
int hm_shard_start(struct hm_engine *en, uint32_t index, struct hm_shard **s_r,
		   struct hm_err *e) HM_MUSTCHECK;
/* Control thread; all of these are mail. */
void hm_shard_reload(struct hm_shard *s, struct hm_runtime *rt);
void hm_shard_drain(struct hm_shard *s, uint64_t limit_ms);
void hm_shard_clock(struct hm_shard *s);  /* the test clock moved */
void hm_shard_loaded(struct hm_shard *s); /* templates or pauses were loaded: perhaps jobs may be taken */
void hm_shard_pauses(struct hm_shard *s); /* what is paused by hand changed */
void hm_shard_stop(struct hm_shard *s, struct hm_str channel, uint64_t account,
		   uint64_t ms); /* a provider asked another process to wait */
/* Its `ready` mail has come. Only then does it take mail; one that failed closes by itself and never does. */
void hm_shard_opened(struct hm_shard *s, bool ok);
void hm_shard_join(struct hm_shard *s); /* after it ended; frees it */

/* Owner thread (handlers of its HTTP server). */
void hm_shard_describe(const struct hm_shard *s, struct hm_buf *out);
void hm_shard_ask_reload(struct hm_shard *s);
void hm_shard_ask_clock(struct hm_shard *s); /* every thread re-reads its clock */
struct hm_engine *hm_shard_engine(const struct hm_shard *s);
struct hm_redis *hm_shard_redis(const struct hm_shard *s);
const struct hm_runtime *hm_shard_runtime(const struct hm_shard *s);

#endif
