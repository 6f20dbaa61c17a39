/* certs.h - certificates made for one test run, in a directory that goes with it */
#ifndef TESTS_WIRE_CERTS_H
#define TESTS_WIRE_CERTS_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

struct certs {
	char dir[64];
	char ca[96], other_ca[96];
	char server
		[96]; /* localhost, provider.test, 127.0.0.1; signed by ca; certificate and key in one file */
	char expired[96];  /* the same names, valid until yesterday */
	char wrong[96];	   /* elsewhere.test */
	char stranger[96]; /* right names, signed by other_ca */
	char client[96];   /* signed by ca */
};

static EVP_PKEY *certs_key(void)
{
	return EVP_EC_gen("P-256");
}

static void certs_ext(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(ext);
	X509_add_ext(x, ext, -1);
	X509_EXTENSION_free(ext);
}

static X509 *certs_make(const char *cn, const char *san, long from_days, long to_days, EVP_PKEY *key,
			X509 *issuer, EVP_PKEY *issuer_key)
{
	static long serial = 1;
	X509 *x = X509_new();
	X509_NAME *name = X509_NAME_new();

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(x), from_days * 86400);
	X509_gmtime_adj(X509_getm_notAfter(x), to_days * 86400);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
	X509_set_subject_name(x, name);
	X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : name);
	X509_NAME_free(name);
	X509_set_pubkey(x, key);
	if (issuer == NULL) {
		certs_ext(x, x, NID_basic_constraints, "critical,CA:TRUE");
		certs_ext(x, x, NID_key_usage, "critical,keyCertSign,cRLSign");
	}
	if (san)
		certs_ext(x, issuer, NID_subject_alt_name, san);
	assert_true(X509_sign(x, issuer_key, EVP_sha256()) > 0);
	return x;
}

static void certs_write(char path[96], const char *dir, const char *name, X509 *x, EVP_PKEY *key)
{
	FILE *f;

	snprintf(path, 96, "%s/%s.pem", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	PEM_write_X509(f, x);
	if (key)
		PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
}

static void certs_init(struct certs *c)
{
	const char *names = "DNS:localhost,DNS:provider.test,IP:127.0.0.1";
	EVP_PKEY *ca_key = certs_key(), *other_key = certs_key(), *key = certs_key();
	X509 *ca, *other, *x;

	snprintf(c->dir, sizeof(c->dir), "/tmp/hm_wire_XXXXXX");
	assert_non_null(mkdtemp(c->dir));
	ca = certs_make("Hermod test CA", NULL, -30, 30, ca_key, NULL, ca_key);
	other = certs_make("Another CA", NULL, -30, 30, other_key, NULL, other_key);
	certs_write(c->ca, c->dir, "ca", ca, NULL);
	certs_write(c->other_ca, c->dir, "other", other, NULL);
	x = certs_make("localhost", names, -30, 30, key, ca, ca_key);
	certs_write(c->server, c->dir, "server", x, key);
	X509_free(x);
	x = certs_make("localhost", names, -30, -1, key, ca, ca_key);
	certs_write(c->expired, c->dir, "expired", x, key);
	X509_free(x);
	x = certs_make("elsewhere.test", "DNS:elsewhere.test", -30, 30, key, ca, ca_key);
	certs_write(c->wrong, c->dir, "wrong", x, key);
	X509_free(x);
	x = certs_make("localhost", names, -30, 30, key, other, other_key);
	certs_write(c->stranger, c->dir, "stranger", x, key);
	X509_free(x);
	x = certs_make("hermod", "DNS:client.test", -30, 30, key, ca, ca_key);
	certs_write(c->client, c->dir, "client", x, key);
	X509_free(x);
	X509_free(ca);
	X509_free(other);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(other_key);
	EVP_PKEY_free(key);
}

static void certs_fini(struct certs *c)
{
	char *const files[] = {c->ca, c->other_ca, c->server, c->expired, c->wrong, c->stranger, c->client};

	for (size_t i = 0; i < hm_countof(files); i++)
		unlink(files[i]);
	rmdir(c->dir);
}

#endif
