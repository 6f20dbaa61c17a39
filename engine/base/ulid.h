/*
 * ulid.h - message and job ids: 48-bit wall ms + 80 random bits, sortable
 *
 * A message of a chunk has the id job + index (128-bit addition), so that a
 * redelivered chunk gives every recipient the same id again.
 * Text form: 26 characters Crockford base32 (the ULID specification).
 */
#ifndef HM_BASE_ULID_H
#define HM_BASE_ULID_H

#include "base/defs.h"
#include "base/str.h"

struct hm_ulid {
	uint8_t b[16]; /* big endian */
};
#define HM_ULID_TEXT 26

void hm_ulid_new(struct hm_ulid *id,
		 uint64_t wall_ms); /* random part from a per-thread generator seeded by the OS */
/* The same inputs give the same id: used for queue entries that carry none. */
void hm_ulid_derive(struct hm_ulid *id, uint64_t wall_ms, const void *seed, size_t len);
void hm_ulid_add(struct hm_ulid *id, uint32_t n);
/* a - b if 0 <= a - b < 2^32, else UINT32_MAX. */
uint32_t hm_ulid_diff(const struct hm_ulid *a, const struct hm_ulid *b);
uint64_t hm_ulid_ms(const struct hm_ulid *id);
void hm_ulid_text(const struct hm_ulid *id, char out[HM_ULID_TEXT + 1]);
bool hm_ulid_parse(struct hm_str s, struct hm_ulid *id_r) HM_MUSTCHECK; /* either case */
static inline bool hm_ulid_eq(const struct hm_ulid *a, const struct hm_ulid *b)
{
	return memcmp(a->b, b->b, 16) == 0;
}

#endif
