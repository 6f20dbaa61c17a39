/* fuzz_store_record.c - any bytes as a record, a frame, a segment, a snapshot */
#include <stdlib.h>

#include "store/counts.h"
#include "store/seg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_record(void *arg, const struct hm_rec *r, uint32_t off, struct hm_str payload)
{
	hm_assert(r->off + (size_t)r->len <= payload.len);
	hm_assert(r->campaign_off + (size_t)r->campaign_len <= payload.len);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hm_str in = {(const char *)data, size};
	struct hm_counts counts;
	struct hm_ledger_msg m;
	struct hm_ledger_job j;
	struct hm_arena a;
	struct hm_rec r;
	struct hm_buf b;
	struct hm_err e;
	uint64_t seq, ms = 0;
	size_t end = 0;

	hm_arena_init(&a, NULL, 1u << 20);
	if (hm_rec_scan(in, 0, &r) == 0)
		hm_assert(on_record(NULL, &r, 0, in) == 0);
	if (hm_rec_get_job(in, &j, &e) == 0)
		hm_assert(j.lane < HM_LANE_COUNT);
	if (hm_rec_get_msg(in, &a, &m, &e) == 0) {
		hm_buf_init(&b, 8u << 20);
		hm_ledger_msg_json(&m, &b); /* all it points at is readable */
		hm_buf_fini(&b);
	}
	/* as a segment: with the right checksum, so that what is behind it gets reached */
	if (size >= HM_FRAME_HEAD && size <= HM_FRAME_MAX) {
		char *copy = malloc(size);

		if (copy) {
			memcpy(copy, data, size);
			hm_frame_seal(copy, size - HM_FRAME_HEAD, hm_le32(data + 8),
				      (enum hm_frame_kind)(data[12] % 3), 0);
			if (hm_seg_walk(hm_str_n(copy, size), on_record, NULL, &end, &ms) == 0)
				hm_assert(end == size);
			free(copy);
		}
	}
	hm_counts_init(&counts);
	if (hm_counts_read(&counts, in, &seq, &ms) == 0)
		hm_counts_forget(&counts, seq);
	hm_counts_fini(&counts);
	hm_arena_fini(&a);
	return 0;
}
