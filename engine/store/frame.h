/*
 * frame.h - what a log segment is made of
 *
 * A segment is a row of frames; the first is a snapshot of all counters as they
 * were when the segment began, every other one is the batch of one writer.
 *   u32 magic | u32 payload length | u32 records | u32 kind | u64 wall ms | u64 checksum | payload
 * The checksum covers header and payload, so a frame is either whole or not there:
 * reading stops at the first that is not, which is how a torn end is found.
 * Reading is safe on any bytes.
 */
#ifndef HM_STORE_FRAME_H
#define HM_STORE_FRAME_H

#include "base/defs.h"
#include "base/str.h"

#define HM_FRAME_HEAD 32
#define HM_FRAME_MAX  (256u << 20)

enum hm_frame_kind { HM_FRAME_SNAPSHOT = 1, HM_FRAME_RECORDS = 2 };

struct hm_frame {
	uint32_t n, kind;
	uint64_t wall_ms;
	struct hm_str payload;
};
/* Fills the header in front of a payload that starts at frame + HM_FRAME_HEAD. */
void hm_frame_seal(char *frame, size_t payload_len, uint32_t n, enum hm_frame_kind kind, uint64_t wall_ms);
/* The frame at the start of `bytes`: its whole length, or 0 when there is none. */
size_t hm_frame_read(struct hm_str bytes, struct hm_frame *f_r);

#endif
