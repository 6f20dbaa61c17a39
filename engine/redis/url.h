/*
 * url.h - where Redis is, as one line of text
 *
 *   redis://[user[:password]@]host[:port][/db]          clear text
 *   rediss://[user[:password]@]host[:port][/db]         TLS
 *   unix://[user[:password]@]/path/to/socket[?db=N]     unix socket
 *   redis+cluster://[user[:password]@]h1[:p1],h2[:p2]   cluster, any of its nodes
 *   rediss+cluster://...                                the same over TLS
 *
 * Port 6379 when none is given; IPv6 in brackets; user and password may be
 * percent-encoded (RFC 3986). Error texts never repeat the part before '@'.
 *
 * Threads: any. Memory: none. Errors: HM_ECONFIG with one sentence.
 */
#ifndef HM_REDIS_URL_H
#define HM_REDIS_URL_H

#include "base/err.h"
#include "base/str.h"

#define HM_REDIS_SEEDS	  16
#define HM_REDIS_PORT	  6379
#define HM_REDIS_HOST_MAX 254 /* RFC 1035: 253 characters and the NUL */

struct hm_redis_addr {
	char host[HM_REDIS_HOST_MAX];
	uint16_t port;
};
struct hm_redis_url {
	bool tls, cluster;
	char unix_path[108]; /* "" unless a unix socket; sun_path's size */
	struct hm_redis_addr seeds[HM_REDIS_SEEDS];
	size_t nseeds;
	uint32_t db;
	char username[128], password[512]; /* decoded; "" when absent */
};
int hm_redis_url_parse(struct hm_str text, struct hm_redis_url *u, struct hm_err *e) HM_MUSTCHECK;

#endif
