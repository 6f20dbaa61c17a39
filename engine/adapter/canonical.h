/*
 * canonical.h - the signatures of request.sign.scheme: one builder, a table of dialects (tbl_dialects.h)
 *
 *   sign: {scheme: sigv4, id: "${settings.key_id}", secret: "${settings.secret}", region: "${settings.region}", service: sns}
 *
 * What is signed is what goes out: the path and query as they are written, the headers
 * that are there, the bytes of the body. Memory: the caller's arena.
 */
#ifndef HM_ADAPTER_CANONICAL_H
#define HM_ADAPTER_CANONICAL_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum hm_canon_flags {
	HM_CANON_TWICE = 1,   /* path segments are encoded once more */
	HM_CANON_LOWER = 2,   /* header values in lower case */
	HM_CANON_NO_DATE = 4, /* the text to sign has no line with the date */
	HM_CANON_SLASH = 8,   /* the path ends with / */
	HM_CANON_ACCESS = 16, /* Access= instead of Credential= */
	HM_CANON_PREFIX =
		32, /* bce-auth-v1: a prefix, a derived key in hex, the canonical request itself is signed */
};
enum hm_canon_scheme {
	HM_CANON_NONE,
#define HM_DIALECT(name, ...) HM_CANON_##name,
#include "adapter/tbl_dialects.h"
#undef HM_DIALECT
	HM_CANON_COUNT
};
enum hm_canon_scheme hm_canon_find(struct hm_str name); /* NONE: unknown */
const char *const *hm_canon_names(void);		/* NULL-terminated, for sentences */
bool hm_canon_scoped(enum hm_canon_scheme s);		/* asks for a service (and perhaps a region) */
bool hm_canon_region(enum hm_canon_scheme s);

struct hm_canon_header {
	struct hm_str name, value; /* name in lower case */
};
struct hm_canon_in {
	enum hm_canon_scheme scheme;
	struct hm_str id, secret, region, service, token, nonce;
	struct hm_str method, host, target; /* target: path and query as they go out */
	struct hm_str body;
	uint64_t wall_ms;
	const struct hm_canon_header *headers; /* without host */
	size_t n_headers;
};
#define HM_CANON_ADDS 6
struct hm_canon_out {
	struct hm_canon_header add[HM_CANON_ADDS]; /* the last one is authorization */
	size_t n;
	struct hm_str request, to_sign; /* what was signed, for tests and explanations */
};
int hm_canon_sign(const struct hm_canon_in *in, struct hm_arena *a, struct hm_canon_out *out,
		  struct hm_err *e) HM_MUSTCHECK;

#endif
