/*
 * slot.c - which of the 16,384 slots a key lives in
 *
 * CRC16-CCITT/XMODEM of the key, or of what stands between the first '{' and the
 * first '}' after it when that is not empty (Redis Cluster specification, "Hash tags").
 */
#include "redis/redis.h"

static uint16_t crc_table[256];

__attribute__((constructor)) static void make_table(void)
{
	for (unsigned i = 0; i < 256; i++) {
		unsigned crc = i << 8;

		for (int bit = 0; bit < 8; bit++)
			crc = crc & 0x8000u ? (crc << 1) ^ 0x1021u : crc << 1;
		crc_table[i] = (uint16_t)crc;
	}
}

uint16_t hm_redis_slot(struct hm_str key)
{
	ptrdiff_t open = hm_str_chr(key, '{');
	unsigned crc = 0;

	if (open >= 0) {
		struct hm_str rest = hm_str_n(key.p + open + 1, key.len - (size_t)open - 1);
		ptrdiff_t close = hm_str_chr(rest, '}');

		if (close > 0)
			key = hm_str_n(rest.p, (size_t)close);
	}
	for (size_t i = 0; i < key.len; i++)
		crc = ((crc << 8) & 0xffffu) ^ crc_table[((crc >> 8) ^ (uint8_t)key.p[i]) & 0xffu];
	return (uint16_t)(crc & 16383u);
}
