/* fuzz_store_idx.c - an index file with any content behind a header that is right */
#include <stdlib.h>

#include "store/idx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_up(const struct hm_idx *x, const uint8_t *key)
{
	struct hm_ulid id, job;
	uint32_t lo, hi;
	int64_t rank;

	memcpy(id.b, key, 16);
	rank = hm_idx_find(x, &id);
	if (rank >= 0)
		(void)(hm_idx_off(x, (uint32_t)rank) + hm_idx_state(x, (uint32_t)rank));
	hm_idx_job_range(x, &id, &lo, &hi);
	for (; lo < hi; lo++)
		(void)hm_idx_job(x, lo);
	(void)hm_idx_job_before(x, &id, &job);
	hm_idx_recip_range(x, hm_le32(key), &lo, &hi);
	for (; lo < hi; lo++)
		hm_assert(x->n == 0 || hm_idx_recip(x, lo) < x->n);
	hm_idx_camp_range(x, hm_le64(key), hm_str_n((const char *)key, key[8] % 16), &lo, &hi);
	for (; lo < hi; lo++)
		hm_assert(hm_idx_post(x, lo) < x->n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hm_idx x;
	char *copy;

	if (size < 256 + 32)
		return 0;
	copy = malloc(size);
	if (copy == NULL)
		return 0;
	memcpy(copy, data, size);
	/* what the writer of the file would have put there: magic, version, size, checksum */
	hm_le32_put(copy, 0x31584948u);
	hm_le32_put(copy + 4, 2);
	hm_le64_put(copy + 32, size);
	hm_le64_put(copy + 248, hm_hash64(copy, 248, 0x31584948u));
	if (hm_idx_parse(&x, copy, size, 0) == 0)
		for (size_t i = 0; i + 32 <= size && i < 4096; i += 8)
			look_up(&x, data + i);
	free(copy);
	return 0;
}
