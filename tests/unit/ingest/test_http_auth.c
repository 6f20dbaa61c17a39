/* API keys: made, asked for, scoped, limited, revoked. And the same server behind TLS. */
#include "serve.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static struct serve srv;
static char send_key[HM_API_KEY_TEXT + 1], read_key[HM_API_KEY_TEXT + 1], admin_key[HM_API_KEY_TEXT + 1];
static struct hm_api_key send_rec;

static const char msg[] = "{\"to\":\"tok\",\"channel\":\"c\",\"template\":\"t\"}";

static void store(const struct hm_api_key *k)
{
	struct hm_buf b;

	hm_buf_init(&b, 4096);
	hm_api_key_put_record(&b, k);
	freeReplyObject(redis(&srv, "HSET {hm:ctl}:keys %s %s", k->id, hm_buf_cstr(&b)));
	hm_buf_fini(&b);
}

static void make(struct hm_api_key *k, uint8_t scopes, uint32_t rate, char text[HM_API_KEY_TEXT + 1])
{
	struct hm_err e;

	memset(k, 0, sizeof(*k));
	k->scopes = scopes;
	k->rate = rate;
	k->created_ms = 1767323045000;
	(void)snprintf(k->name, sizeof(k->name), "test \"key\"");
	assert_int_equal(hm_api_key_make(k, text, &e), 0);
	store(k);
}

static int start(void **state)
{
	static const char *const sets[] = {"http.auth=required", "metrics.auth=required", NULL};
	struct hm_api_key k;

	serve_start(&srv, sets);
	make(&send_rec, 1, 0, send_key);
	make(&k, 2, 0, read_key);
	make(&k, 4, 0, admin_key);
	return 0;
}

static int stop(void **state)
{
	serve_stop(&srv);
	return 0;
}

static struct answer *with_key(struct client *c, const char *method, const char *path, const char *key,
			       const char *body)
{
	char headers[300];

	(void)snprintf(headers, sizeof(headers), "Authorization: Bearer %s\r\n%s", key,
		       body ? JSON_TYPE : "");
	return call(c, method, path, headers, body);
}

static void test_text_and_record(void **state)
{
	char text[HM_API_KEY_TEXT + 1], id[HM_API_KEY_ID + 1];
	struct hm_api_key k, again;
	struct hm_buf b;
	struct hm_err e;
	uint8_t hash[32], scopes;

	memset(&k, 0, sizeof(k));
	k.scopes = 5;
	k.rate = 70;
	k.created_ms = 1767323045000;
	k.revoked_ms = 1767323046000;
	(void)snprintf(k.name, sizeof(k.name), "a \"b\" \xe4\xb8\xad");
	assert_int_equal(hm_api_key_make(&k, text, &e), 0);
	assert_int_equal(strlen(text), HM_API_KEY_TEXT);
	assert_true(hm_api_key_parse(hm_str_c(text), id, hash));
	assert_string_equal(id, k.id);
	assert_memory_equal(hash, k.hash, 32);
	hm_buf_init(&b, 4096);
	hm_api_key_put_record(&b, &k);
	assert_null(strstr(hm_buf_cstr(&b), text + 14)); /* the secret is not in it */
	assert_int_equal(hm_api_key_read_record(hm_str_c(k.id), hm_buf_str(&b), &again, &e), 0);
	assert_memory_equal(again.hash, k.hash, 32);
	assert_int_equal(again.scopes, 5);
	assert_int_equal(again.rate, 70);
	assert_int_equal(again.revoked_ms, k.revoked_ms);
	assert_string_equal(again.name, k.name);
	assert_int_equal(hm_api_key_read_record(hm_str_c(k.id), HM_STR("{\"hash\":\"00\"}"), &again, &e),
			 HM_EINVAL);
	hm_buf_fini(&b);
	assert_false(hm_api_key_parse(HM_STR("hk_short"), id, hash));
	text[0] = 'x';
	assert_false(hm_api_key_parse(hm_str_c(text), id, hash));
	assert_int_equal(hm_api_key_scopes_parse(HM_STR("send, read"), &scopes, &e), 0);
	assert_int_equal(scopes, 3);
	assert_int_equal(hm_api_key_scopes_parse(HM_STR("send,write"), &scopes, &e), HM_EINVAL);
	assert_int_equal(hm_api_key_scopes_parse(HM_STR(""), &scopes, &e), HM_EINVAL);
}

static void test_without_and_wrong(void **state)
{
	struct client *c = dial(&srv);
	char key[HM_API_KEY_TEXT + 1];
	struct answer *a = call(c, "POST", "/v1/messages", JSON_TYPE, msg);

	expect(a, 401, "hermod keys create");
	assert_non_null(strstr(header(a, "WWW-Authenticate"), "Bearer"));
	expect(call(c, "GET", "/v1/report", "Authorization: Basic dXNlcjpwYXNz\r\n", NULL), 401,
	       "Bearer hk_");
	expect(with_key(c, "GET", "/v1/report", "hk_nonsense", NULL), 401, NULL);
	/* the right id with another secret, and an id nobody has: the same answer */
	memcpy(key, read_key, sizeof(key));
	key[40] = key[40] == 'A' ? 'B' : 'A';
	expect(with_key(c, "GET", "/v1/report", key, NULL), 401, "the API key is not valid");
	memcpy(key, read_key, sizeof(key));
	memcpy(key + 3, "0000000000", 10);
	expect(with_key(c, "GET", "/v1/report", key, NULL), 401, "the API key is not valid");
	/* and the connection still works with the right one */
	expect(with_key(c, "GET", "/v1/report", read_key, NULL), 200, NULL);
	expect(call(c, "GET", "/healthz", NULL, NULL), 200, NULL);
	expect(call(c, "GET", "/metrics", NULL, NULL), 401, NULL);
	expect(with_key(c, "GET", "/metrics", read_key, NULL), 200, NULL);
	hang_up(c);
}

static void test_scopes(void **state)
{
	struct client *c = dial(&srv);

	expect(with_key(c, "POST", "/v1/messages", send_key, msg), 202, NULL);
	expect(with_key(c, "GET", "/v1/report", send_key, NULL), 403, "scope \\\"read\\\"");
	expect(with_key(c, "POST", "/v1/messages", read_key, msg), 403, "scope \\\"send\\\"");
	expect(with_key(c, "POST", "/v1/messages", admin_key, msg), 202, NULL);
	expect(with_key(c, "GET", "/v1/report", admin_key, NULL), 200, NULL);
	hang_up(c);
	/* a refused stream of lines leaves the connection in step */
	c = dial(&srv);
	expect(call(c, "POST", "/v1/messages/batch", "Content-Type: application/x-ndjson\r\n", msg), 401,
	       NULL);
	expect(call(c, "GET", "/healthz", NULL, NULL), 200, NULL);
	hang_up(c);
}

/* Many requests in one write while the key is not known yet: all wait for one look-up, in order. */
static void test_pipelined_first_use(void **state)
{
	struct hm_api_key k;
	char key[HM_API_KEY_TEXT + 1];
	struct client *c;

	make(&k, 1, 0, key);
	c = dial(&srv);
	for (int i = 0; i < 20; i++)
		say(c,
		    "POST /v1/messages HTTP/1.1\r\nHost: x\r\n" JSON_TYPE
		    "Authorization: Bearer %s\r\nContent-Length: %zu\r\n\r\n%s",
		    key, strlen(msg), msg);
	for (int i = 0; i < 20; i++)
		expect(hear(c), 202, NULL);
	hang_up(c);
	/* leaving while the look-up runs */
	make(&k, 1, 0, key);
	c = dial(&srv);
	say(c,
	    "POST /v1/messages HTTP/1.1\r\nHost: x\r\n" JSON_TYPE
	    "Authorization: Bearer %s\r\nContent-Length: %zu\r\n\r\n%s",
	    key, strlen(msg), msg);
	hang_up(c);
}

static void test_rate(void **state)
{
	struct hm_api_key k;
	char key[HM_API_KEY_TEXT + 1];
	struct client *c = dial(&srv), *d = dial(&srv);
	struct answer *a = NULL;
	int ok = 0;

	make(&k, 2, 5, key);
	for (int i = 0; i < 40; i++) {
		a = with_key(i % 2 ? c : d, "GET", "/v1/report", key, NULL);
		if (a->status != 200)
			break;
		ok++;
	}
	assert_in_range(ok, 5, 8); /* a second's worth at once, and what the test itself takes */
	expect(a, 429, "5 requests per second");
	assert_true(atoi(header(a, "Retry-After")) >= 1);
	expect(with_key(c, "GET", "/v1/report", read_key, NULL), 200, NULL); /* others are not held up */
	hang_up(c);
	hang_up(d);
}

static void test_revoke(void **state)
{
	struct hm_api_key k;
	char key[HM_API_KEY_TEXT + 1];
	struct client *c = dial(&srv);

	make(&k, 2, 0, key);
	expect(with_key(c, "GET", "/v1/report", key, NULL), 200, NULL);
	k.revoked_ms = 1767323046000;
	store(&k);
	hm_http_keys_changed(srv.shared); /* what the control thread does when it hears of it */
	expect(with_key(c, "GET", "/v1/report", key, NULL), 401, "not valid");
	expect(with_key(c, "GET", "/v1/report", read_key, NULL), 200, NULL);
	/* a damaged record is no way in */
	freeReplyObject(redis(&srv, "HSET {hm:ctl}:keys %s nonsense", k.id));
	hm_http_keys_changed(srv.shared);
	expect(with_key(c, "GET", "/v1/report", key, NULL), 401, "not valid");
	hang_up(c);
}

static void test_redis_away(void **state)
{
	struct hm_api_key k;
	char key[HM_API_KEY_TEXT + 1];
	struct client *c = dial(&srv);
	struct answer *a;

	make(&k, 2, 0, key);
	expect(with_key(c, "GET", "/v1/report", read_key, NULL), 200, NULL);
	redis_stop(&srv);
	do
		a = call(c, "GET", "/readyz", NULL, NULL);
	while (a->status == 200);
	hm_http_keys_changed(srv.shared);
	/* known: still good for looking; never seen: nobody can say */
	expect(with_key(c, "GET", "/v1/report", read_key, NULL), 200, NULL);
	a = with_key(c, "GET", "/v1/report", key, NULL);
	expect(a, 503, "cannot be checked");
	assert_non_null(header(a, "Retry-After"));
	redis_start(&srv);
	store(&k);
	do
		a = call(c, "GET", "/readyz", NULL, NULL);
	while (a->status != 200);
	expect(with_key(c, "GET", "/v1/report", key, NULL), 200, NULL);
	hang_up(c);
}

/* -- TLS ------------------------------------------------------------------------- */

static void write_cert(const char *path)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
				   (const unsigned char *)"localhost", -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_sign(x, key, EVP_sha256());
	PEM_write_X509(f, x);
	PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
	X509_free(x);
	EVP_PKEY_free(key);
}

static void test_tls(void **state)
{
	struct serve tls;
	char cert[] = "/tmp/hm-http-cert-XXXXXX", set_cert[100], set_key[100], text[4096];
	const char *sets[] = {set_cert, set_key, NULL};
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct client *c;
	SSL *ssl;
	int n;

	close(mkstemp(cert));
	write_cert(cert);
	(void)snprintf(set_cert, sizeof(set_cert), "http.tls_cert=%s", cert);
	(void)snprintf(set_key, sizeof(set_key), "http.tls_key=%s", cert);
	serve_start(&tls, sets);
	c = dial(&tls);
	ssl = SSL_new(ctx);
	SSL_set_fd(ssl, c->fd);
	assert_int_equal(SSL_connect(ssl), 1);
	/* in pieces, two requests */
	n = snprintf(
		text, sizeof(text),
		"POST /v1/messages HTTP/1.1\r\nHost: x\r\n" JSON_TYPE
		"Content-Length: %zu\r\n\r\n%sGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		strlen(msg), msg);
	for (int i = 0; i < n; i += 7)
		assert_true(SSL_write(ssl, text + i, hm_min(7, n - i)) > 0);
	for (n = 0;;) {
		int k = SSL_read(ssl, text + n, (int)sizeof(text) - 1 - n);

		if (k <= 0)
			break;
		n += k;
	}
	text[n] = '\0';
	assert_ptr_equal(strstr(text, "HTTP/1.1 202 Accepted\r\n"), text);
	assert_non_null(strstr(text, "HTTP/1.1 200 OK\r\n"));
	assert_int_equal(SSL_get_error(ssl, 0), SSL_ERROR_ZERO_RETURN); /* ended with close_notify */
	SSL_free(ssl);
	hang_up(c);
	/* clear text on a TLS port: closed, and nobody else suffers */
	c = dial(&tls);
	say(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
	while (more(c))
		;
	hang_up(c);
	SSL_CTX_free(ctx);
	serve_stop(&tls);
	unlink(cert);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_and_record),
		cmocka_unit_test(test_without_and_wrong),
		cmocka_unit_test(test_scopes),
		cmocka_unit_test(test_pipelined_first_use),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_revoke),
		cmocka_unit_test(test_redis_away),
	};
	const struct CMUnitTest tls[] = {
		cmocka_unit_test(test_tls),
	};

	return cmocka_run_group_tests(tests, start, stop) + cmocka_run_group_tests(tls, NULL, NULL);
}
