/*
 * cert.c - a small certificate authority for one server
 *
 * The CA lives 10 years and is reused when the folder has one, so that clients
 * which trust it survive a restart; the server's certificate is made anew each
 * time. Private keys are written with mode 0600.
 */
#include "cert.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

static char temp_dir[64];
static const char *const temp_files[] = {"ca.pem", "ca.key", "server.pem", "server.key"};

static FILE *create(const char *dir, const char *name, mode_t mode, struct hm_err *e)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0) {
		hm_err_set(e, HM_EIO, "cannot write %s: %s", path, strerror(errno));
		return NULL;
	}
	return fdopen(fd, "w");
}

static int save(const char *dir, const char *stem, X509 *crt, EVP_PKEY *key, struct hm_err *e)
{
	char name[32];
	FILE *f;
	int ok;

	snprintf(name, sizeof(name), "%s.pem", stem);
	f = create(dir, name, 0644, e);
	if (!f)
		return HM_EIO;
	ok = PEM_write_X509(f, crt);
	ok &= fclose(f) == 0;
	snprintf(name, sizeof(name), "%s.key", stem);
	f = create(dir, name, 0600, e);
	if (!f)
		return HM_EIO;
	ok &= PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	ok &= fclose(f) == 0;
	return ok ? 0 : hm_err_set(e, HM_EIO, "cannot write the certificate to %s", dir);
}

static bool extension(X509 *crt, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *x;
	int ok;

	X509V3_set_ctx(&ctx, issuer, crt, NULL, NULL, 0);
	x = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = x && X509_add_ext(crt, x, -1);
	X509_EXTENSION_free(x);
	return ok;
}

static X509 *new_cert(const char *cn, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, const char *san,
		      long days)
{
	X509 *crt = X509_new();
	X509_NAME *name;
	uint64_t serial = 0;
	bool ok;

	if (!crt)
		return NULL;
	RAND_bytes((unsigned char *)&serial, sizeof(serial));
	X509_set_version(crt, 2);
	ASN1_INTEGER_set_uint64(X509_get_serialNumber(crt), serial >> 1);
	X509_gmtime_adj(X509_getm_notBefore(crt), -86400);
	X509_gmtime_adj(X509_getm_notAfter(crt), days * 86400L);
	X509_set_pubkey(crt, key);
	name = X509_get_subject_name(crt);
	X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const unsigned char *)"hermod-sink", -1, -1, 0);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(crt, issuer ? X509_get_subject_name(issuer) : name);
	ok = extension(crt, crt, NID_subject_key_identifier, "hash");
	if (issuer) {
		ok = ok && extension(crt, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
		     extension(crt, issuer, NID_key_usage, "critical,digitalSignature") &&
		     extension(crt, issuer, NID_ext_key_usage, "serverAuth") &&
		     extension(crt, issuer, NID_subject_alt_name, san) &&
		     extension(crt, issuer, NID_authority_key_identifier, "keyid:always");
	} else {
		ok = ok && extension(crt, crt, NID_basic_constraints, "critical,CA:TRUE") &&
		     extension(crt, crt, NID_key_usage, "critical,keyCertSign,cRLSign");
	}
	if (ok && X509_sign(crt, issuer_key, EVP_sha256()))
		return crt;
	X509_free(crt);
	return NULL;
}

static void load_ca(const char *dir, X509 **crt, EVP_PKEY **key)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/ca.pem", dir);
	f = fopen(path, "re");
	if (f) {
		*crt = PEM_read_X509(f, NULL, NULL, NULL);
		fclose(f);
	}
	snprintf(path, sizeof(path), "%s/ca.key", dir);
	f = fopen(path, "re");
	if (f) {
		*key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
		fclose(f);
	}
	if (*crt && *key && X509_check_private_key(*crt, *key) == 1)
		return;
	X509_free(*crt);
	EVP_PKEY_free(*key);
	*crt = NULL;
	*key = NULL;
}

static int put_san(char *out, size_t cap, const struct sink_options *o, struct hm_err *e)
{
	size_t n = (size_t)snprintf(out, cap, "DNS:localhost,DNS:sink.test,IP:127.0.0.1,IP:::1");

	for (size_t i = 0; i < o->san.n; i++) {
		unsigned char bin[16];
		const char *v = o->san.v[i];
		bool ip = inet_pton(AF_INET, v, bin) == 1 || inet_pton(AF_INET6, v, bin) == 1;

		if (!*v || v[strcspn(v, ", \t\n")])
			return hm_err_set(e, HM_EINVAL, "--san '%s' is not a name or an address", v);
		n += (size_t)snprintf(out + n, cap - n, ",%s:%s", ip ? "IP" : "DNS", v);
		if (n >= cap)
			return hm_err_set(e, HM_ELIMIT, "the names given with --san are too long");
	}
	return 0;
}

static int make(const struct sink_options *o, const char *dir, SSL_CTX *ctx, struct hm_err *e)
{
	X509 *ca = NULL, *crt = NULL;
	EVP_PKEY *ca_key = NULL, *key = EVP_EC_gen("P-256");
	char san[2048];
	int rc = put_san(san, sizeof(san), o, e);

	if (rc == 0)
		load_ca(dir, &ca, &ca_key);
	if (rc == 0 && !ca) {
		ca_key = EVP_EC_gen("P-256");
		ca = ca_key ? new_cert("hermod-sink test CA", ca_key, NULL, ca_key, NULL, 3650) : NULL;
		rc = ca ? save(dir, "ca", ca, ca_key, e)
			: hm_err_set(e, HM_EIO, "cannot make a CA certificate");
	}
	if (rc == 0) {
		crt = key ? new_cert("localhost", key, ca, ca_key, san, 825) : NULL;
		rc = crt ? save(dir, "server", crt, key, e)
			 : hm_err_set(e, HM_EIO, "cannot make a server certificate");
	}
	if (rc == 0 && (SSL_CTX_use_certificate(ctx, crt) != 1 || SSL_CTX_use_PrivateKey(ctx, key) != 1))
		rc = hm_err_set(e, HM_ETLS, "cannot use the certificate just made");
	X509_free(ca);
	X509_free(crt);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(key);
	return rc;
}

/* The server's preference: h2, then http/1.1; a client that offers neither gets no ALPN answer. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *len, const unsigned char *in,
		   unsigned in_len, void *arg)
{
	static const unsigned char ours[] = "\x02h2\x08http/1.1";
	unsigned char *sel;

	if (SSL_select_next_proto(&sel, len, ours, sizeof(ours) - 1, in, in_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_NOACK;
	*out = sel;
	return SSL_TLSEXT_ERR_OK;
}

static int pick_dir(const struct sink_options *o, const char **dir_r, struct hm_err *e)
{
	struct stat st;

	if (!o->cert_dir) {
		snprintf(temp_dir, sizeof(temp_dir), "/tmp/hermod-sink-XXXXXX");
		if (!mkdtemp(temp_dir)) {
			temp_dir[0] = '\0';
			return hm_err_set(e, HM_EIO, "cannot make a temporary folder for certificates: %s",
					  strerror(errno));
		}
		*dir_r = temp_dir;
		return 0;
	}
	*dir_r = o->cert_dir;
	if (mkdir(o->cert_dir, 0755) != 0 && errno != EEXIST)
		return hm_err_set(e, HM_EIO, "cannot make the folder %s: %s", o->cert_dir, strerror(errno));
	if (stat(o->cert_dir, &st) != 0 || !S_ISDIR(st.st_mode))
		return hm_err_set(e, HM_EIO, "--cert-dir %s is not a folder", o->cert_dir);
	return 0;
}

int cert_context(const struct sink_options *o, SSL_CTX **ctx_r, char *ca_r, size_t cap, struct hm_err *e)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	const char *dir = NULL;
	int rc = 0;

	*ca_r = '\0';
	if (!ctx)
		return hm_err_set(e, HM_ENOMEM, "cannot make a TLS context");
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					 SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"hermod-sink", 11);
	SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
	if (o->cert) {
		if (SSL_CTX_use_certificate_chain_file(ctx, o->cert) != 1)
			rc = hm_err_set(e, HM_EINVAL, "--cert %s is not a readable PEM certificate", o->cert);
		else if (SSL_CTX_use_PrivateKey_file(ctx, o->key, SSL_FILETYPE_PEM) != 1)
			rc = hm_err_set(e, HM_EINVAL, "--key %s is not the PEM key of that certificate",
					o->key);
	} else {
		rc = pick_dir(o, &dir, e);
		if (rc == 0)
			rc = make(o, dir, ctx, e);
		if (rc == 0)
			snprintf(ca_r, cap, "%s/ca.pem", dir);
	}
	if (rc) {
		SSL_CTX_free(ctx);
		return rc;
	}
	*ctx_r = ctx;
	return 0;
}

void cert_cleanup(void)
{
	char path[512];

	if (!temp_dir[0])
		return;
	for (size_t i = 0; i < hm_countof(temp_files); i++) {
		snprintf(path, sizeof(path), "%s/%s", temp_dir, temp_files[i]);
		unlink(path);
	}
	rmdir(temp_dir);
	temp_dir[0] = '\0';
}
