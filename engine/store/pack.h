/*
 * pack.h - a sealed segment in compressed blocks
 *
 *   u32 magic | u32 version | u64 seq | u64 raw length | u32 block size | u32 blocks | u64 checksum of these
 *   blocks x (u64 offset | u32 length | u32 checksum of the raw bytes) | u64 checksum of the table
 *   the blocks: LZ4, or as they are when that would not be shorter
 * Every raw offset is still good: block = offset / block size. So compressing
 * changes nothing but the file, and can happen whenever there is time.
 */
#ifndef HM_STORE_PACK_H
#define HM_STORE_PACK_H

#include "base/err.h"
#include "base/str.h"

#define HM_PACK_BLOCK (64u << 10)
#define HM_PACK_HEAD  40
#define HM_PACK_ENTRY 16

struct hm_pack_info {
	uint64_t seq, raw_len;
	uint32_t n_blocks;
};
/* Compresses log_path into pack_path (through a temporary name, synced) and leaves log_path alone.
 * stop (may be NULL) is looked at between blocks: HM_ECANCELLED. */
int hm_pack_build(const char *log_path, const char *pack_path, uint64_t seq, const bool *stop,
		  uint64_t *size_r, struct hm_err *e) HM_MUSTCHECK;
int hm_pack_info(int fd, struct hm_pack_info *i_r) HM_MUSTCHECK;
/* Reads block b into out (HM_PACK_BLOCK bytes), *len_r of them are good. */
int hm_pack_block(int fd, const struct hm_pack_info *i, uint32_t b, char *out, size_t *len_r) HM_MUSTCHECK;

#endif
