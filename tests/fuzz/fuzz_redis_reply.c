/* Any bytes through the reply parser, cut into pieces the first byte chooses. */
#include <stddef.h>
#include <stdint.h>

#include "redis/reply.h"

static size_t walk(const struct hm_reply *r, int depth)
{
	size_t sum = r->s.len + (size_t)(r->i & 1);

	hm_assert(depth < 16);
	for (size_t i = 0; i < r->s.len; i++)
		sum += (uint8_t)r->s.p[i];
	for (size_t i = 0; i < r->n; i++)
		sum += walk(&r->v[i], depth + 1);
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t sum = 0;
	const struct hm_reply *r;
	struct hm_reader rd;
	struct hm_err e = {0};
	size_t piece = size ? (size_t)data[0] + 1 : 1;
	int rc = 0;

	if (hm_reader_init(&rd, 1 << 20) < 0)
		return 0;
	for (size_t off = 1; off < size && rc >= 0; off += piece) {
		rc = hm_reader_feed(&rd, data + off, hm_min(piece, size - off), &e);
		while (rc >= 0 && (rc = hm_reader_next(&rd, &r, &e)) > 0)
			sum += walk(r, 0);
	}
	hm_assert(rc >= 0 || e.text[0]);
	hm_assert(sum < SIZE_MAX); /* every byte was looked at */
	hm_reader_fini(&rd);
	return 0;
}
