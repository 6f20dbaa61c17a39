/*
 * token.h - who asks: JSON Web Tokens of users (RFC 7515, 7519, and the advice of RFC 8725)
 *
 * The customer's backend signs, when its user opens the app:
 *
 *   {"alg": "HS256", "kid": "2026-05"} . {"sub": "u-1001", "aud": "hermod-inbox", "exp": 1780000000}
 *
 * A key is a text "<kid> <alg> <key>" of the setting inbox.token_keys. alg: HS256 (the key is a secret of 32 bytes or more,
 * RFC 7518 section 3.2), RS256 (2048 bits or more), ES256 (the public key: PEM, or base64 of its DER). A key is used with its own
 * alg only, whatever a token says, so that nobody passes a public key off as a secret. A kid in the token picks the keys of that
 * name; without one every key of its alg is tried. For a rotation list both for as long as old tokens live.
 *
 * Refused: alg none, other algs, `crit`, no sub or exp, exp in the past or further ahead than `longest`, nbf or iat in the future,
 * an aud that does not name `audience` (unless that is empty), sub of more than HM_INBOX_USER_MAX bytes, texts of more than
 * HM_TOKEN_MAX bytes, anything that is not strict base64url and JSON. Clocks may differ by `leeway`.
 *
 * Threads: keys are immutable. Memory: the arena's.
 */
#ifndef HM_INBOX_TOKEN_H
#define HM_INBOX_TOKEN_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#define HM_TOKEN_MAX	  4096
#define HM_TOKEN_KEYS_MAX 16

struct hm_token_keys;
/* `texts` are copied. HM_ECONFIG: a sentence with the number of the key that is none, never its text. n == 0: no keys, every token
 * is refused. */
int hm_token_keys_new(const struct hm_str *texts, size_t n, struct hm_token_keys **r,
		      struct hm_err *e) HM_MUSTCHECK;
void hm_token_keys_free(struct hm_token_keys *k); /* NULL is fine */
size_t hm_token_keys_count(const struct hm_token_keys *k);

struct hm_token_rules {
	const struct hm_token_keys *keys;
	struct hm_str audience;
	uint64_t now_ms, longest_ms, leeway_ms;
};
struct hm_token {
	struct hm_str user; /* in the arena */
	uint64_t expires_ms;
};
/* 0, or HM_EPERM with a sentence for the developer who made the token; it tells nothing of keys. */
int hm_token_check(const struct hm_token_rules *t, struct hm_str text, struct hm_arena *a, struct hm_token *r,
		   struct hm_err *e) HM_MUSTCHECK;
/* A user id as paths and tokens may name it: 1 to HM_INBOX_USER_MAX bytes, UTF-8, no control characters. */
bool hm_inbox_user_ok(struct hm_str user);

#endif
