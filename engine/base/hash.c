/*
 * hash.c - hm_hash64: fast, stable, not cryptographic
 *
 * Two input words at a time go through a full 64x64 -> 128 bit multiplication
 * whose halves are folded together; three independent lanes for long input keep
 * the multiplier busy. Input is read little-endian, so the value is the same on
 * every machine: partitions and stored keys depend on it. Do not change it; the
 * unit test pins values.
 */
#include "base/str.h"

/* Odd constants with 32 set bits, from the fractional digits of sqrt(2), sqrt(3), sqrt(5), sqrt(7). */
static const uint64_t K0 = 0x6a09e667f3bcc909u, K1 = 0xbb67ae8584caa73bu, K2 = 0x3c6ef372fe94f82bu,
		      K3 = 0xa54ff53a5f1d36f1u;

static uint64_t fold(uint64_t a, uint64_t b)
{
	__extension__ unsigned __int128 m = (unsigned __int128)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint64_t le64(const unsigned char *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	v = __builtin_bswap64(v);
#endif
	return v;
}

static uint64_t le_tail(const unsigned char *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

uint64_t hm_hash64(const void *data, size_t len, uint64_t seed)
{
	const unsigned char *p = data;
	size_t n = len;
	uint64_t h = seed ^ fold(seed ^ K0, (uint64_t)len ^ K1);

	if (n >= 48) {
		uint64_t a = h, b = h;

		do {
			h = fold(le64(p) ^ K1, le64(p + 8) ^ h);
			a = fold(le64(p + 16) ^ K2, le64(p + 24) ^ a);
			b = fold(le64(p + 32) ^ K3, le64(p + 40) ^ b);
			p += 48;
			n -= 48;
		} while (n >= 48);
		h ^= a ^ b;
	}
	while (n >= 16) {
		h = fold(le64(p) ^ K1, le64(p + 8) ^ h);
		p += 16;
		n -= 16;
	}
	if (n > 8)
		h = fold(le64(p) ^ K2, le_tail(p + 8, n - 8) ^ h);
	else
		h = fold(le_tail(p, n) ^ K3, h ^ K2);
	return fold(h ^ K0, (uint64_t)len ^ K3);
}
