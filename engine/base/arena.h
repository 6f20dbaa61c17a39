/*
 * arena.h - bump memory with one lifetime, mark and rollback
 *
 * Everything born for a message (or a loop tick, or a config load) dies with its
 * arena. Blocks come from a pool (a slab of blocks, per thread) or, with
 * pool == NULL, from malloc. An allocation larger than a block gets its own
 * malloc and is counted (hm_arena_big). Owner thread only.
 */
#ifndef HM_BASE_ARENA_H
#define HM_BASE_ARENA_H

#include "base/defs.h"
#include "base/slab.h"
#include "base/str.h"

struct hm_arena_block;
struct hm_arena {
	struct hm_slab *pool; /* slab of blocks, or NULL */
	size_t limit;	      /* most bytes in all blocks, 0 = no limit */
	bool failed; /* an allocation has failed since init or reset: a text may be missing somewhere, what was made is not to be used */
	/* private */
	struct hm_arena_block *blocks; /* the one in use first */
	struct hm_arena_block *big;    /* allocations with a malloc of their own, newest first */
	char *pos, *end;
	size_t used;
};
struct hm_arena_mark {
	struct hm_arena_block *block, *big;
	char *pos;
	size_t used;
};
#define HM_ARENA_BLOCK 4096 /* object size of a pool slab: hm_slab_init(&pool, "arena", HM_ARENA_BLOCK, 0) */

void hm_arena_init(struct hm_arena *a, struct hm_slab *pool, size_t limit);
void hm_arena_fini(struct hm_arena *a);	 /* frees everything */
void hm_arena_reset(struct hm_arena *a); /* frees everything but keeps the first block */
/* 16-byte aligned, not zeroed; NULL when limit or memory is exhausted. */
void *hm_arena_alloc(struct hm_arena *a, size_t n) HM_MUSTCHECK;
void *hm_arena_zalloc(struct hm_arena *a, size_t n) HM_MUSTCHECK;
/* Grows the last allocation in place when possible, else copies. */
void *hm_arena_grow(struct hm_arena *a, void *p, size_t old_n, size_t new_n) HM_MUSTCHECK;
char *hm_arena_strdup(struct hm_arena *a, struct hm_str s) HM_MUSTCHECK; /* NUL-terminated copy */
struct hm_str hm_arena_str(struct hm_arena *a, struct hm_str s);	 /* copy; p == NULL on failure */
struct hm_str hm_arena_printf(struct hm_arena *a, const char *fmt, ...) HM_PRINTF(2, 3);
uint64_t hm_arena_big(void); /* big allocations so far, all threads */
static inline struct hm_arena_mark hm_arena_mark(const struct hm_arena *a)
{
	return (struct hm_arena_mark){.block = a->blocks, .big = a->big, .pos = a->pos, .used = a->used};
}
void hm_arena_rewind(struct hm_arena *a, struct hm_arena_mark m);

#endif
