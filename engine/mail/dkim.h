/*
 * dkim.h - DKIM signatures, relaxed/relaxed (RFC 6376), RSA and Ed25519 (RFC 8463)
 *
 * Takes the message exactly as it is going to be sent and gives the header to put in front of it. Signed are those of the
 * fields below that are there, each once, and From, To, Subject, Date and Message-ID once more (oversigning), so that nobody adds a second.
 * List-Unsubscribe and its Post are among them, as RFC 8058 wants.
 *
 * Signing is the caller's: the key stays where it is (adapter/sign.h). Threads: any.
 */
#ifndef HM_MAIL_DKIM_H
#define HM_MAIL_DKIM_H

#include "base/buf.h"
#include "base/err.h"

struct hm_dkim {
	struct hm_str domain, selector;
	bool ed25519;		   /* else rsa-sha256 */
	uint64_t time_s, expire_s; /* t= and x=; 0: without */
	const char *const *fields; /* names to sign, NULL-terminated; NULL: the usual ones */
	/* Appends the raw signature: RSA of `data` with SHA-256, Ed25519 of its SHA-256 digest, which is given. */
	int (*sign)(void *arg, struct hm_str data, struct hm_str digest, struct hm_buf *out,
		    struct hm_err *e);
	void *arg;
};
/* Appends "DKIM-Signature: ...\r\n". */
int hm_dkim_sign(const struct hm_dkim *k, struct hm_str message, struct hm_buf *out,
		 struct hm_err *e) HM_MUSTCHECK;

/* The parts of it, for tests: SHA-256 of the relaxed body, and one relaxed header line ("name:value", without CRLF). */
void hm_dkim_body_hash(struct hm_str body, uint8_t out[32]);
void hm_dkim_relaxed(struct hm_buf *out, struct hm_str name, struct hm_str value);

#endif
