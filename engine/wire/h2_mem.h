/*
 * h2_mem.h - the allocator given to nghttp2: size classes with free lists
 *
 * nghttp2 allocates a stream, a frame and a header array for each request and
 * frees them with the answer. Recycling them here keeps the steady state away
 * from malloc. Blocks are kept up to a ceiling; above it they go back to malloc.
 *
 * Lifetime: embedded in the wire, shared by its sessions; fini after the last
 * session is gone. Threads: owner shard only.
 */
#ifndef HM_WIRE_H2_MEM_H
#define HM_WIRE_H2_MEM_H

#include <nghttp2/nghttp2.h>

#include "base/defs.h"

#define H2_MEM_CLASSES 12 /* 32 bytes .. 64 KiB */

struct h2_mem {
	nghttp2_mem ng;
	void *free_list[H2_MEM_CLASSES];
	size_t kept_bytes;
	uint64_t mallocs; /* times malloc was asked; flat in steady state */
	size_t live;
};
void h2_mem_init(struct h2_mem *m);
void h2_mem_fini(struct h2_mem *m); /* asserts that nothing is live */

#endif
