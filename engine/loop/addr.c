/*
 * addr.c - the address ranges that are not the public Internet
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

#include "loop/addr.h"

static const struct range4 {
	uint32_t net;
	uint8_t bits;
} ranges4[] = {
	{0x00000000u, 8},  /* 0.0.0.0/8 this network */
	{0x0a000000u, 8},  /* 10.0.0.0/8 private */
	{0x64400000u, 10}, /* 100.64.0.0/10 shared, CGNAT; also the metadata servers of some clouds */
	{0x7f000000u, 8},  /* 127.0.0.0/8 loopback */
	{0xa9fe0000u, 16}, /* 169.254.0.0/16 link-local, cloud metadata */
	{0xac100000u, 12}, /* 172.16.0.0/12 private */
	{0xc0000000u, 24}, /* 192.0.0.0/24 protocol assignments */
	{0xc0000200u, 24}, /* 192.0.2.0/24 documentation */
	{0xc0586300u, 24}, /* 192.88.99.0/24 6to4 relay */
	{0xc0a80000u, 16}, /* 192.168.0.0/16 private */
	{0xc6120000u, 15}, /* 198.18.0.0/15 benchmarking */
	{0xc6336400u, 24}, /* 198.51.100.0/24 documentation */
	{0xcb007100u, 24}, /* 203.0.113.0/24 documentation */
	{0xe0000000u, 4},  /* 224.0.0.0/4 multicast */
	{0xf0000000u, 4},  /* 240.0.0.0/4 reserved, broadcast */
};

static const struct range6 {
	uint8_t net[4];
	uint8_t bits; /* at most 32 */
} ranges6[] = {
	{{0x01, 0x00}, 16},		/* 100::/64 discard, and what surrounds it */
	{{0x20, 0x01, 0x00, 0x00}, 23}, /* 2001::/23 protocol assignments: Teredo, ORCHID ... */
	{{0x20, 0x01, 0x0d, 0xb8}, 32}, /* 2001:db8::/32 documentation */
	{{0x3f, 0xff, 0x00}, 20},	/* 3fff::/20 documentation */
	{{0x5f, 0x00}, 16},		/* 5f00::/16 segment routing */
	{{0xfc}, 7},			/* fc00::/7 unique local */
	{{0xfe, 0x80}, 10},		/* fe80::/10 link-local */
	{{0xfe, 0xc0}, 10},		/* fec0::/10 site-local, deprecated */
	{{0xff}, 8},			/* ff00::/8 multicast */
};

static uint32_t be32(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static bool private4(uint32_t ip)
{
	for (size_t i = 0; i < hm_countof(ranges4); i++)
		if ((ip ^ ranges4[i].net) >> (32 - ranges4[i].bits) == 0)
			return true;
	return false;
}

static bool private6(const uint8_t *b)
{
	static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
	static const uint8_t nat64_local[6] = {0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}; /* RFC 8215 */
	static const uint8_t zero[12];

	if (memcmp(b, zero, 10) == 0) {
		/* ::, ::1 and the deprecated ::a.b.c.d are never public; ::ffff:a.b.c.d is as the IPv4 in it. */
		if (b[10] == 0xff && b[11] == 0xff)
			return private4(be32(b + 12));
		return true;
	}
	if (memcmp(b, nat64, sizeof(nat64)) == 0)
		return private4(be32(b + 12));
	if (memcmp(b, nat64_local, sizeof(nat64_local)) == 0)
		return true;
	if (b[0] == 0x20 && b[1] == 0x02) /* 6to4, RFC 3056 */
		return private4(be32(b + 2));
	for (size_t i = 0; i < hm_countof(ranges6); i++)
		if ((be32(b) ^ be32(ranges6[i].net)) >> (32 - ranges6[i].bits) == 0)
			return true;
	return false;
}

bool hm_addr_is_private(const struct sockaddr *a)
{
	if (a->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, a, sizeof(in));
		return private4(ntohl(in.sin_addr.s_addr));
	}
	if (a->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, a, sizeof(in6));
		return private6(in6.sin6_addr.s6_addr);
	}
	return true;
}

const char *hm_addr_text(const struct sockaddr *a, char *out, size_t cap)
{
	char ip[INET6_ADDRSTRLEN] = "?";

	if (a->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, a, sizeof(in));
		inet_ntop(AF_INET, &in.sin_addr, ip, sizeof(ip));
		snprintf(out, cap, "%s:%u", ip, ntohs(in.sin_port));
	} else if (a->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, a, sizeof(in6));
		inet_ntop(AF_INET6, &in6.sin6_addr, ip, sizeof(ip));
		snprintf(out, cap, "[%s]:%u", ip, ntohs(in6.sin6_port));
	} else {
		snprintf(out, cap, "unix");
	}
	return out;
}

bool hm_addr_parse(struct hm_str host, uint16_t port, struct sockaddr_storage *a_r)
{
	char text[INET6_ADDRSTRLEN];
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	if (host.len == 0 || host.len >= sizeof(text))
		return false;
	memcpy(text, host.p, host.len);
	text[host.len] = '\0';
	memset(a_r, 0, sizeof(*a_r));
	if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
		memcpy(a_r, &in, sizeof(in));
		return true;
	}
	if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1) {
		memcpy(a_r, &in6, sizeof(in6));
		return true;
	}
	return false;
}
