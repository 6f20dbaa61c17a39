/*
 * tls.h - TLS contexts and resumable sessions (OpenSSL 3), used by conn.c
 *
 * A hm_tls is the immutable description of one side: trust, own certificate,
 * lowest version, ALPN list. Make it at start-up or reload, hand it to many
 * connections; each holds a reference, so a reload may drop the old one at once.
 * A hm_tls_sessions keeps a few session tickets of one origin (client side), so
 * that a reconnect costs one round trip less and no certificate check.
 *
 * Threads: a hm_tls may be shared (references are atomic); sessions belong to
 * one thread. Errors name file and reason, never key material.
 */
#ifndef HM_LOOP_TLS_H
#define HM_LOOP_TLS_H

#include "base/defs.h"
#include "base/err.h"
#include "base/str.h"

#define HM_TLS_MAGIC 0x746c7363u

struct ssl_ctx_st; /* OpenSSL's own tags */
struct ssl_session_st;
struct ssl_st;

struct hm_tls_opts {
	bool server;
	bool verify;	       /* client: chain and name; server: demand a client certificate of ca_file */
	struct hm_str ca_file; /* PEM; empty = system store (client) */
	struct hm_str cert_file,
		key_file;	   /* PEM; chain allowed in cert_file; key_file empty = inside cert_file */
	struct hm_str min_version; /* "1.2" (default when empty) or "1.3" */
	struct hm_str
		alpn; /* "h2,http/1.1": offered (client) or accepted (server), best first; empty = none */
};

struct hm_tls;
int hm_tls_new(const struct hm_tls_opts *o, struct hm_tls **t_r, struct hm_err *e) HM_MUSTCHECK;
struct hm_tls *hm_tls_ref(struct hm_tls *t);
void hm_tls_unref(struct hm_tls *t); /* NULL is harmless */
bool hm_tls_is_server(const struct hm_tls *t);
struct ssl_ctx_st *hm_tls_ctx(const struct hm_tls *t); /* borrowed, for libraries that want an SSL_CTX */

/* Tickets of one origin: embedded in its owner. TLS 1.3 tickets are used once (RFC 8446 appendix C.4). */
#define HM_TLS_SESSIONS 4
struct hm_tls_sessions {
	struct ssl_session_st *v[HM_TLS_SESSIONS];
	unsigned n;
	uint64_t resumed, full; /* handshakes counted by conn.c */
};
void hm_tls_sessions_init(struct hm_tls_sessions *s);
void hm_tls_sessions_fini(struct hm_tls_sessions *s);

/* For conn.c. */
void hm_tls_sessions_put(struct hm_tls_sessions *s, struct ssl_session_st *session); /* takes the reference */
struct ssl_session_st *hm_tls_sessions_take(struct hm_tls_sessions *s);		     /* NULL when none */
void hm_tls_set_session_sink(struct ssl_st *ssl, struct hm_tls_sessions *s);
/* One sentence for the failure of `ssl` (verification, alert, protocol); empties OpenSSL's error queue. */
int hm_tls_error(const struct ssl_st *ssl, const char *peer, struct hm_err *e);

#endif
