/*
 * ulid.c - 128-bit ids that sort by time
 */
#include "base/ulid.h"

#include <errno.h>
#include <sys/random.h>

/* Random bytes straight from the OS, fetched some hundred ids at a time: nobody can
 * guess another message's id, and a system call every 400 ids costs nothing. */
static void random_bytes(uint8_t *out, size_t n)
{
	static _Thread_local uint8_t pool[4096];
	static _Thread_local size_t left;

	if (left < n) {
		size_t got = 0;

		while (got < sizeof(pool)) {
			ssize_t r = getrandom(pool + got, sizeof(pool) - got, 0);

			hm_assert(r > 0 || errno == EINTR);
			got += r > 0 ? (size_t)r : 0;
		}
		left = sizeof(pool);
	}
	left -= n;
	memcpy(out, pool + left, n);
	memset(pool + left, 0, n); /* given once, kept nowhere */
}

static void put_ms(struct hm_ulid *id, uint64_t ms)
{
	for (int i = 5; i >= 0; i--, ms >>= 8)
		id->b[i] = (uint8_t)ms;
}

void hm_ulid_new(struct hm_ulid *id, uint64_t wall_ms)
{
	put_ms(id, wall_ms);
	random_bytes(id->b + 6, 10);
}

void hm_ulid_derive(struct hm_ulid *id, uint64_t wall_ms, const void *seed, size_t len)
{
	uint64_t h[2] = {hm_hash64(seed, len, 0x756c6964u), hm_hash64(seed, len, 0x64697265u)};

	put_ms(id, wall_ms);
	for (int i = 0; i < 10; i++)
		id->b[6 + i] = (uint8_t)(h[i / 8] >> (8 * (i % 8)));
}

void hm_ulid_add(struct hm_ulid *id, uint32_t n)
{
	uint64_t carry = n;

	for (int i = 15; i >= 0 && carry; i--) {
		carry += id->b[i];
		id->b[i] = (uint8_t)carry;
		carry >>= 8;
	}
}

uint32_t hm_ulid_diff(const struct hm_ulid *a, const struct hm_ulid *b)
{
	int borrow = 0;
	uint8_t d[16];

	for (int i = 15; i >= 0; i--) {
		int v = a->b[i] - b->b[i] - borrow;

		borrow = v < 0;
		d[i] = (uint8_t)v;
	}
	if (borrow)
		return UINT32_MAX;
	for (int i = 0; i < 12; i++)
		if (d[i])
			return UINT32_MAX;
	return (uint32_t)d[12] << 24 | (uint32_t)d[13] << 16 | (uint32_t)d[14] << 8 | d[15];
}

uint64_t hm_ulid_ms(const struct hm_ulid *id)
{
	uint64_t ms = 0;

	for (int i = 0; i < 6; i++)
		ms = ms << 8 | id->b[i];
	return ms;
}

/* 26 digits of 5 bits are 130: the first digit carries only 3. */
void hm_ulid_text(const struct hm_ulid *id, char out[HM_ULID_TEXT + 1])
{
	static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	unsigned acc = 0, bits = 2; /* two zero bits in front */
	int at = 0;

	for (int i = 0; i < 16; i++) {
		acc = acc << 8 | id->b[i];
		bits += 8;
		while (bits >= 5) {
			bits -= 5;
			out[at++] = digits[acc >> bits & 31];
		}
		acc &= (1u << bits) - 1;
	}
	out[at] = '\0';
}

static int digit_value(char c)
{
	static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	const char *at;

	if (c >= 'a' && c <= 'z')
		c = (char)(c - 32);
	if (c == 'O') /* the letters people take for digits, as Crockford reads them */
		return 0;
	if (c == 'I' || c == 'L')
		return 1;
	at = c ? strchr(digits, c) : NULL;
	return at ? (int)(at - digits) : -1;
}

bool hm_ulid_parse(struct hm_str s, struct hm_ulid *id_r)
{
	unsigned acc = 0, bits = 0;
	int at = 0;

	if (s.len != HM_ULID_TEXT || digit_value(s.p[0]) > 7)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		int v = digit_value(s.p[i]);

		if (v < 0)
			return false;
		acc = acc << 5 | (unsigned)v;
		bits += i == 0 ? 3 : 5;
		if (bits >= 8) {
			bits -= 8;
			id_r->b[at++] = (uint8_t)(acc >> bits);
		}
		acc &= (1u << bits) - 1;
	}
	return at == 16;
}
