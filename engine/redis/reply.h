/*
 * reply.h - bytes from a Redis server to struct hm_reply trees
 *
 * hiredis' reader parses (RESP2); its object functions are ours and build the
 * tree in an arena: an element costs its slot in the parent's array, a string a
 * copy in the arena, nothing a malloc. The blocks are large enough that the array
 * of a thousand entries still fits one. When a reply was unusually big its memory
 * goes back to the heap with it.
 *
 * Limits: bytes of one reply, nesting (hiredis: 8 levels), a line without an end.
 * Beyond them, or when the bytes are not RESP2, next() returns HM_ELIMIT or
 * HM_EPROTO and the connection must be dropped: a parser cannot find its place again.
 *
 *   hm_reader_feed(&rd, p, n, e);
 *   while ((rc = hm_reader_next(&rd, &reply, e)) > 0) use(reply);   // until the next call
 *
 * Lifetime: embedded in its owner (link.c). Threads: owner only.
 */
#ifndef HM_REDIS_REPLY_H
#define HM_REDIS_REPLY_H

#include "base/arena.h"
#include "redis/redis.h"

#define HM_READER_MAGIC	    0x72657072u
#define HM_REPLY_MAX_BYTES  (64u << 20) /* one reply, as it arrives and as a tree */
#define HM_REPLY_MAX_LINE   (64u << 10) /* status, error, length lines */
#define HM_REPLY_BLOCK	    (64u << 10)
#define HM_REPLY_KEEP_BYTES (2u << 20) /* larger memory is given back after the reply */

struct redisReader; /* hiredis */
struct hm_reader {
	uint32_t magic;
	size_t max_bytes;
	/* private */
	struct redisReader *r;
	struct hm_slab blocks;
	struct hm_arena arena;
	struct hm_reply root;
	size_t fed; /* bytes of the reply being read */
	bool dirty; /* arena holds the reply handed out last */
	bool too_big;
};
int hm_reader_init(struct hm_reader *rd, size_t max_bytes) HM_MUSTCHECK; /* 0 = HM_REPLY_MAX_BYTES */
void hm_reader_fini(struct hm_reader *rd);
/* Forgets everything read so far: for a new connection. */
int hm_reader_reset(struct hm_reader *rd) HM_MUSTCHECK;
int hm_reader_feed(struct hm_reader *rd, const void *p, size_t n, struct hm_err *e) HM_MUSTCHECK;
/* 1 = a reply, valid until the next call; 0 = more bytes are needed; < 0 = broken. */
int hm_reader_next(struct hm_reader *rd, const struct hm_reply **reply_r, struct hm_err *e) HM_MUSTCHECK;

#endif
