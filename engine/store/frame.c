/*
 * frame.c - seal and check frames
 */
#include "store/frame.h"
#include "store/record.h"

#define FRAME_MAGIC 0x31464c48u /* "HLF1" */

static uint64_t checksum(const char *frame, size_t payload_len)
{
	/* magic .. wall_ms seed the sum of the payload */
	return hm_hash64(frame + HM_FRAME_HEAD, payload_len,
			 hm_hash64(frame, HM_FRAME_HEAD - 8, FRAME_MAGIC));
}

void hm_frame_seal(char *frame, size_t payload_len, uint32_t n, enum hm_frame_kind kind, uint64_t wall_ms)
{
	hm_assert(payload_len <= HM_FRAME_MAX);
	hm_le32_put(frame, FRAME_MAGIC);
	hm_le32_put(frame + 4, (uint32_t)payload_len);
	hm_le32_put(frame + 8, n);
	hm_le32_put(frame + 12, (uint32_t)kind);
	hm_le64_put(frame + 16, wall_ms);
	hm_le64_put(frame + 24, checksum(frame, payload_len));
}

size_t hm_frame_read(struct hm_str bytes, struct hm_frame *f)
{
	uint32_t len;

	if (bytes.len < HM_FRAME_HEAD || hm_le32(bytes.p) != FRAME_MAGIC)
		return 0;
	len = hm_le32(bytes.p + 4);
	if (len > HM_FRAME_MAX || len > bytes.len - HM_FRAME_HEAD ||
	    hm_le64(bytes.p + 24) != checksum(bytes.p, len))
		return 0;
	f->n = hm_le32(bytes.p + 8);
	f->kind = hm_le32(bytes.p + 12);
	f->wall_ms = hm_le64(bytes.p + 16);
	f->payload = hm_str_n(bytes.p + HM_FRAME_HEAD, len);
	return HM_FRAME_HEAD + (size_t)len;
}
