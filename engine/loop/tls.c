/*
 * tls.c - one side's TLS description, session tickets, and why a handshake failed
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/obj.h"
#include "loop/tls.h"

struct hm_tls {
	uint32_t magic;
	unsigned refs; /* atomic */
	bool server;
	SSL_CTX *ctx;
	uint8_t alpn[64]; /* wire form: length-prefixed names */
	unsigned alpn_len;
};

static int sink_index;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_once(void)
{
	sink_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	hm_assert(sink_index >= 0);
}

/* -- building a context -------------------------------------------------------- */

static int fail(struct hm_err *e, const char *what, struct hm_str file)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason;
	char text[96];

	if (ERR_SYSTEM_ERROR(code)) {
		reason = strerror_r(ERR_GET_REASON(code), text, sizeof(text));
	} else {
		reason = ERR_reason_error_string(code);
	}
	ERR_clear_error();
	return hm_err_set(e, HM_ETLS, "%s '%.*s': %s", what, HM_STRF(file), reason ? reason : "unusable");
}

/* OpenSSL reports a missing file as the BIO's failure on top of the system's; the first one says why. */
static int fail_file(struct hm_err *e, const char *what, struct hm_str file)
{
	unsigned long code = ERR_peek_error();

	if (ERR_SYSTEM_ERROR(code)) {
		char text[96];

		ERR_clear_error();
		return hm_err_set(e, HM_ETLS, "%s '%.*s': %s", what, HM_STRF(file),
				  strerror_r(ERR_GET_REASON(code), text, sizeof(text)));
	}
	if (ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE) {
		ERR_clear_error();
		return hm_err_set(e, HM_ETLS, "%s '%.*s': it is not PEM (-----BEGIN ...)", what,
				  HM_STRF(file));
	}
	return fail(e, what, file);
}

static bool path_of(struct hm_str s, char *out, size_t cap)
{
	if (s.len >= cap)
		return false;
	memcpy(out, s.p, s.len);
	out[s.len] = '\0';
	return true;
}

static int load_trust(struct hm_tls *t, const struct hm_tls_opts *o, struct hm_err *e)
{
	char path[512];

	if (o->ca_file.len) {
		if (!path_of(o->ca_file, path, sizeof(path)))
			return hm_err_set(e, HM_EINVAL, "the path of the CA file is too long");
		if (SSL_CTX_load_verify_file(t->ctx, path) != 1)
			return fail_file(e, "cannot read CA file", o->ca_file);
	} else if (!o->server && o->verify) {
		if (SSL_CTX_set_default_verify_paths(t->ctx) != 1)
			return fail(e, "cannot read the system's CA store", HM_STR_NULL);
	}
	if (o->server && o->verify && o->ca_file.len == 0)
		return hm_err_set(e, HM_EINVAL, "checking client certificates needs a CA file");
	return 0;
}

static int load_own(struct hm_tls *t, const struct hm_tls_opts *o, struct hm_err *e)
{
	char path[512];
	struct hm_str key = o->key_file.len ? o->key_file : o->cert_file;

	if (o->cert_file.len == 0) {
		if (o->server)
			return hm_err_set(e, HM_EINVAL, "a TLS server needs a certificate file");
		return 0;
	}
	if (!path_of(o->cert_file, path, sizeof(path)))
		return hm_err_set(e, HM_EINVAL, "the path of the certificate file is too long");
	if (SSL_CTX_use_certificate_chain_file(t->ctx, path) != 1)
		return fail_file(e, "cannot read certificate file", o->cert_file);
	if (!path_of(key, path, sizeof(path)))
		return hm_err_set(e, HM_EINVAL, "the path of the key file is too long");
	if (SSL_CTX_use_PrivateKey_file(t->ctx, path, SSL_FILETYPE_PEM) != 1)
		return fail_file(e, "cannot read key file", key);
	if (SSL_CTX_check_private_key(t->ctx) != 1)
		return fail(e, "the private key does not belong to certificate", o->cert_file);
	return 0;
}

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *outlen, const unsigned char *in,
		       unsigned inlen, void *arg)
{
	struct hm_tls *t = arg;
	unsigned char *chosen;

	HM_CHECK(t, HM_TLS_MAGIC);
	if (SSL_select_next_proto(&chosen, outlen, t->alpn, t->alpn_len, in, inlen) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301 section 3.2 */
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static int set_alpn(struct hm_tls *t, struct hm_str list, struct hm_err *e)
{
	struct hm_str name;

	while (hm_str_split(&list, ',', &name)) {
		if (name.len == 0 || t->alpn_len + name.len + 1 > sizeof(t->alpn))
			return hm_err_set(e, HM_EINVAL, "bad ALPN list");
		t->alpn[t->alpn_len++] = (uint8_t)name.len;
		memcpy(t->alpn + t->alpn_len, name.p, name.len);
		t->alpn_len += (unsigned)name.len;
	}
	if (t->alpn_len == 0)
		return 0;
	if (t->server)
		SSL_CTX_set_alpn_select_cb(t->ctx, select_alpn, t);
	else if (SSL_CTX_set_alpn_protos(t->ctx, t->alpn, t->alpn_len) != 0)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	return 0;
}

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
	struct hm_tls_sessions *s = SSL_get_ex_data(ssl, sink_index);

	if (s == NULL)
		return 0;
	hm_tls_sessions_put(s, session);
	return 1; /* the reference is ours now */
}

static int set_versions(struct hm_tls *t, const struct hm_tls_opts *o, struct hm_err *e)
{
	int min;

	if (o->min_version.len == 0 || hm_str_is(o->min_version, "1.2"))
		min = TLS1_2_VERSION;
	else if (hm_str_is(o->min_version, "1.3"))
		min = TLS1_3_VERSION;
	else
		return hm_err_set(e, HM_EINVAL, "the lowest TLS version is '1.2' or '1.3', not '%.*s'",
				  HM_STRF(o->min_version));
	SSL_CTX_set_min_proto_version(t->ctx, min);
	return 0;
}

static int build(struct hm_tls *t, const struct hm_tls_opts *o, struct hm_err *e)
{
	SSL_CTX *ctx = t->ctx;
	int rc;

	SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* AES-128 before AES-256: a third less work per byte where AES is in hardware, and no known weaker. */
	SSL_CTX_set_ciphersuites(
		ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256");
	if ((rc = set_versions(t, o, e)) < 0 || (rc = load_trust(t, o, e)) < 0 ||
	    (rc = load_own(t, o, e)) < 0 || (rc = set_alpn(t, o->alpn, e)) < 0)
		return rc;
	if (o->server) {
		/* Thousands of mostly idle peers: give their record buffers back between bursts. */
		SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
		SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* stateless tickets do it */
		SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"hermod", 6);
		if (o->verify)
			SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	} else {
		SSL_CTX_set_read_ahead(ctx, 1); /* whole records per BIO read; conn.c owns the BIO */
		SSL_CTX_set_verify(ctx, o->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
		SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
		SSL_CTX_sess_set_new_cb(ctx, on_new_session);
	}
	return 0;
}

int hm_tls_new(const struct hm_tls_opts *o, struct hm_tls **t_r, struct hm_err *e)
{
	struct hm_tls *t = calloc(1, sizeof(*t));
	int rc;

	*t_r = NULL;
	pthread_once(&once, init_once);
	ERR_clear_error();
	if (t == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	HM_MAGIC_SET(t, HM_TLS_MAGIC);
	t->refs = 1;
	t->server = o->server;
	t->ctx = SSL_CTX_new(o->server ? TLS_server_method() : TLS_client_method());
	if (t->ctx == NULL)
		rc = hm_err_set(e, HM_ENOMEM, "out of memory");
	else
		rc = build(t, o, e);
	if (rc < 0)
		hm_tls_unref(t);
	else
		*t_r = t;
	return rc;
}

struct hm_tls *hm_tls_ref(struct hm_tls *t)
{
	HM_CHECK(t, HM_TLS_MAGIC);
	__atomic_add_fetch(&t->refs, 1, __ATOMIC_RELAXED);
	return t;
}

void hm_tls_unref(struct hm_tls *t)
{
	if (t == NULL)
		return;
	HM_CHECK(t, HM_TLS_MAGIC);
	if (__atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	SSL_CTX_free(t->ctx);
	HM_MAGIC_CLEAR(t);
	free(t);
}

bool hm_tls_is_server(const struct hm_tls *t)
{
	return t->server;
}

struct ssl_ctx_st *hm_tls_ctx(const struct hm_tls *t)
{
	return t->ctx;
}

/* -- sessions -------------------------------------------------------------------- */

void hm_tls_sessions_init(struct hm_tls_sessions *s)
{
	memset(s, 0, sizeof(*s));
}

void hm_tls_sessions_fini(struct hm_tls_sessions *s)
{
	while (s->n > 0)
		SSL_SESSION_free(s->v[--s->n]);
}

void hm_tls_sessions_put(struct hm_tls_sessions *s, struct ssl_session_st *session)
{
	if (s->n == HM_TLS_SESSIONS) { /* the oldest goes */
		SSL_SESSION_free(s->v[0]);
		memmove(s->v, s->v + 1, sizeof(s->v) - sizeof(s->v[0]));
		s->n--;
	}
	s->v[s->n++] = session;
}

struct ssl_session_st *hm_tls_sessions_take(struct hm_tls_sessions *s)
{
	SSL_SESSION *session;

	if (s->n == 0)
		return NULL;
	session = s->v[--s->n];
	/* TLS 1.2 sessions may be used again and again. */
	if (SSL_SESSION_get_protocol_version(session) < TLS1_3_VERSION && SSL_SESSION_up_ref(session))
		s->v[s->n++] = session;
	return session;
}

void hm_tls_set_session_sink(struct ssl_st *ssl, struct hm_tls_sessions *s)
{
	SSL_set_ex_data(ssl, sink_index, s);
}

/* -- why it failed ----------------------------------------------------------------- */

static const struct {
	long code;
	const char *text;
} verify_reasons[] = {
	{X509_V_ERR_CERT_HAS_EXPIRED, "certificate has expired"},
	{X509_V_ERR_CERT_NOT_YET_VALID, "certificate is not valid yet"},
	{X509_V_ERR_HOSTNAME_MISMATCH, "certificate is for another host name (wrong host)"},
	{X509_V_ERR_IP_ADDRESS_MISMATCH, "certificate is for another address (wrong host)"},
	{X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "certificate is self-signed and not trusted"},
	{X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
	 "certificate is signed by an unknown authority (untrusted CA)"},
	{X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
	 "certificate is signed by an unknown authority (untrusted CA)"},
	{X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
	 "certificate is signed by an unknown authority (untrusted CA)"},
	{X509_V_ERR_CERT_REVOKED, "certificate has been revoked"},
	{X509_V_ERR_INVALID_PURPOSE, "certificate is not meant for this use"},
	{X509_V_ERR_EE_KEY_TOO_SMALL, "certificate's key is too short"},
};

static const struct {
	int reason;
	const char *text;
} ssl_reasons[] = {
	{SSL_R_WRONG_VERSION_NUMBER, "the peer does not speak TLS on this port"},
	{SSL_R_HTTP_REQUEST, "the peer speaks clear-text HTTP on a TLS port"},
	{SSL_R_UNSUPPORTED_PROTOCOL, "no TLS version in common"},
	{SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "no TLS version in common"},
	{SSL_R_NO_SHARED_CIPHER, "no cipher in common"},
	{SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE,
	 "the peer refused the handshake (no cipher or parameters in common)"},
	{SSL_R_TLSV1_ALERT_UNKNOWN_CA, "the peer does not trust our certificate's authority"},
	{SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, "the peer refused our certificate"},
	{SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, "the peer says our certificate has expired"},
	{SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, "the peer says our certificate has been revoked"},
	{SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, "the peer refused our certificate"},
	{SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, "the peer demands a client certificate"},
	{SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, "the peer sent no client certificate"},
	{SSL_R_TLSV1_UNRECOGNIZED_NAME, "the peer does not know this server name"},
	{SSL_R_NO_APPLICATION_PROTOCOL, "no application protocol (ALPN) in common"},
	{SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL, "no application protocol (ALPN) in common"},
	{SSL_R_UNEXPECTED_EOF_WHILE_READING, "the peer closed the connection during the TLS handshake"},
};

static const char *verify_text(long code)
{
	for (size_t i = 0; i < hm_countof(verify_reasons); i++)
		if (verify_reasons[i].code == code)
			return verify_reasons[i].text;
	return NULL;
}

static const char *reason_text(unsigned long code)
{
	const char *text;

	for (size_t i = 0; i < hm_countof(ssl_reasons); i++)
		if (ssl_reasons[i].reason == ERR_GET_REASON(code))
			return ssl_reasons[i].text;
	text = ERR_reason_error_string(code);
	return text ? text : "handshake failed";
}

int hm_tls_error(const struct ssl_st *ssl, const char *peer, struct hm_err *e)
{
	unsigned long code = ERR_get_error();
	long verify = SSL_get_verify_result(ssl);

	ERR_clear_error();
	/* Only when verification is what failed: without verification the result stays noted all the same. */
	if (verify != X509_V_OK && ERR_GET_LIB(code) == ERR_LIB_SSL &&
	    ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
		const char *text = verify_text(verify);

		return hm_err_set(e, HM_ETLS, "TLS with %s: %s", peer,
				  text ? text : X509_verify_cert_error_string(verify));
	}
	return hm_err_set(e, HM_ETLS, "TLS with %s: %s", peer, reason_text(code));
}
