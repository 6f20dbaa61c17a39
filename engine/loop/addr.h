/*
 * addr.h - socket addresses: text and who can reach them
 */
#ifndef HM_LOOP_ADDR_H
#define HM_LOOP_ADDR_H

#include <sys/socket.h>

#include "base/str.h"

/* Not an address of the public Internet: loopback, private, link-local, shared (CGNAT), unique local,
 * multicast, documentation, reserved (IANA special-purpose registries, RFC 6890), also when hidden in the
 * IPv4-mapped, NAT64 and 6to4 forms of IPv6. What is neither IPv4 nor IPv6 counts as private. */
bool hm_addr_is_private(const struct sockaddr *a);
/* "192.0.2.1:443", "[2001:db8::1]:443", "unix". Returns out. */
const char *hm_addr_text(const struct sockaddr *a, char *out, size_t cap);
/* A numeric IPv4 or IPv6 address (no brackets, no port); false when it is a name. */
bool hm_addr_parse(struct hm_str host, uint16_t port, struct sockaddr_storage *a_r);

#endif
