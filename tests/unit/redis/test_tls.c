/* rediss://: verification and its failures, client certificates, a cluster over TLS. */
#include "env.h"

static struct env env;
static struct client cl;
static struct answer an;
static char ca[128], other_ca[128], cert[128], key[128], port[16];

static void sh(const char *fmt, ...) HM_PRINTF(1, 2);
static void sh(const char *fmt, ...)
{
	char cmd[1500], args[1200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(args, sizeof(args), fmt, ap);
	va_end(ap);
	snprintf(cmd, sizeof(cmd), "cd %s && { %s; } > sh.log 2>&1", env.dir, args);
	if (system(cmd) != 0)
		fail_msg("failed: %s", cmd);
}

/* name.pem and name.key, signed by ca.pem */
static void make_cert(const char *name, const char *san, const char *dates)
{
	sh("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout %s.key -out %s.csr -subj "
	   "/CN=%s && "
	   "printf 'subjectAltName=%s' > ext && "
	   "openssl x509 -req -in %s.csr -CA ca.pem -CAkey ca.key -CAcreateserial %s -extfile ext -out "
	   "%s.pem",
	   name, name, name, san, name, dates, name);
}

static void make_ca(const char *name)
{
	sh("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout %s.key -out "
	   "%s.pem "
	   "-subj /CN=%s",
	   name, name, name);
}

static int setup(void **state)
{
	env_init(&env);
	make_ca("ca");
	make_ca("other");
	make_cert("server", "IP:127.0.0.1,DNS:localhost", "-days 2");
	snprintf(ca, sizeof(ca), "%s/ca.pem", env.dir);
	snprintf(other_ca, sizeof(other_ca), "%s/other.pem", env.dir);
	snprintf(cert, sizeof(cert), "%s/server.pem", env.dir);
	snprintf(key, sizeof(key), "%s/server.key", env.dir);
	return 0;
}

static int teardown(void **state)
{
	env_fini(&env);
	return 0;
}

/* The TLS port is given in `port`; the clear one stays as it is. */
static struct server *start(const char *auth_clients)
{
	snprintf(port, sizeof(port), "%d", free_port());
	return server_start(&env, "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key,
			    "--tls-ca-cert-file", ca, "--tls-auth-clients", auth_clients, NULL);
}

static struct hm_redis_opts verified(void)
{
	return (struct hm_redis_opts){.tls_verify = true, .ca_file = hm_str_c(ca)};
}

static void works(struct hm_redis_opts o, const char *host)
{
	client_open(&cl, &env, o, "rediss://%s:%s", host, port);
	ASK(&cl, &an, "SET", "k", "v");
	if (an.code)
		fail_msg("%s", an.text);
	ASK(&cl, &an, "GET", "k");
	assert_string_equal(an.text, "v");
	client_close(&cl);
}

static void refused(struct hm_redis_opts o, const char *host, int code, const char *words)
{
	client_open(&cl, &env, o, "rediss://%s:%s", host, port);
	ASK(&cl, &an, "PING");
	assert_int_equal(an.code, HM_EDOWN);
	RUN_UNTIL(&env, cl.told, 1000);
	assert_false(cl.up);
	if (cl.why.code != code || !strstr(cl.why.text, words))
		fail_msg("%d \"%s\" is not %d \"%s\"", cl.why.code, cl.why.text, code, words);
	client_close(&cl);
}

static void test_verified(void **state)
{
	struct hm_redis_opts o = verified();

	start("no");
	works(o, "127.0.0.1");
	works(o, "localhost");
	o.server_name = HM_STR("localhost");
	works(o, "127.0.0.1");
	works((struct hm_redis_opts){.tls_verify = false}, "127.0.0.1");
}

static void test_refused(void **state)
{
	struct hm_redis_opts o = verified();

	start("no");
	o.server_name = HM_STR("redis.example.org");
	refused(o, "127.0.0.1", HM_ETLS, "another host name");
	o = verified();
	o.ca_file = hm_str_c(other_ca);
	refused(o, "127.0.0.1", HM_ETLS, "certificate");
	o.ca_file = HM_STR_NULL; /* the system's authorities do not know ours */
	refused(o, "127.0.0.1", HM_ETLS, "certificate");
	snprintf(port, sizeof(port), "%d", env.servers[0].port); /* a server that does not speak TLS */
	o = verified();
	o.connect_timeout_ms = 300;
	refused(o, "127.0.0.1", HM_ETIMEDOUT, "no TLS handshake");
}

static void test_clear_text_to_tls_port(void **state)
{
	start("no");
	client_open(&cl, &env, (struct hm_redis_opts){0}, "redis://127.0.0.1:%s", port);
	ASK(&cl, &an, "PING");
	assert_int_equal(an.code, HM_EDOWN);
	assert_true(an.text[0]);
	client_close(&cl);
}

static void test_expired(void **state)
{
	make_cert("server", "IP:127.0.0.1", "-days -1");
	start("no");
	refused(verified(), "127.0.0.1", HM_ETLS, "expired");
}

static void test_client_certificate(void **state)
{
	struct hm_redis_opts o = verified();
	char ccert[128], ckey[128];

	make_cert("client", "DNS:hermod", "-days 2");
	snprintf(ccert, sizeof(ccert), "%s/client.pem", env.dir);
	snprintf(ckey, sizeof(ckey), "%s/client.key", env.dir);
	start("yes");
	o.cert_file = hm_str_c(ccert);
	o.key_file = hm_str_c(ckey);
	works(o, "127.0.0.1");
	client_open(&cl, &env, verified(), "rediss://127.0.0.1:%s", port);
	ASK(&cl, &an, "PING");
	assert_int_equal(an.code, HM_EDOWN);
	client_close(&cl);
}

static void test_big_lost_resumed(void **state)
{
	size_t n = 10u << 20;
	struct server *s = start("no");
	char *p = malloc(n);
	struct hm_str argv[3] = {HM_STR("SET"), HM_STR("big"), hm_str_n(p, n)};
	struct answer many[500];

	memset(p, 't', n);
	client_open(&cl, &env, verified(), "rediss://127.0.0.1:%s", port);
	memset(&an, 0, sizeof(an));
	hm_redis_send(cl.r, argv[1], argv, 3, on_answer, &an);
	RUN_UNTIL(&env, an.calls, 10000);
	assert_string_equal(an.text, "OK");
	ASK(&cl, &an, "GET", "big");
	assert_int_equal(an.len, n);
	for (unsigned i = 0; i < 500; i++)
		ask(&cl, &many[i], "INCR", "n", NULL);
	RUN_UNTIL(&env, many[499].calls, 5000);
	assert_int_equal(many[499].i, 500);
	server_kill(s);
	RUN_UNTIL(&env, !cl.up, 5000);
	server_run(s);
	RUN_UNTIL(&env, cl.up, 10000);
	ASK(&cl, &an, "PING");
	assert_string_equal(an.text, "PONG");
	free(p);
	client_close(&cl);
}

static void test_cluster(void **state)
{
	static char tls_port[3][16];
	char cmd[400];
	size_t len;

	for (unsigned i = 0; i < 3; i++) {
		snprintf(tls_port[i], sizeof(tls_port[i]), "%d", free_port());
		server_start(&env, "--port", "0", "--tls-port", tls_port[i], "--tls-cert-file", cert,
			     "--tls-key-file", key, "--tls-ca-cert-file", ca, "--tls-auth-clients", "no",
			     "--tls-cluster", "yes", "--tls-replication", "yes", "--cluster-enabled", "yes",
			     "--cluster-node-timeout", "1000", NULL);
	}
	len = (size_t)snprintf(cmd, sizeof(cmd), "redis-cli --tls --cacert %s --cluster create", ca);
	for (unsigned i = 0; i < 3; i++)
		len += (size_t)snprintf(cmd + len, sizeof(cmd) - len, " 127.0.0.1:%s", tls_port[i]);
	sh("%s --cluster-yes", cmd);
	client_open(&cl, &env, verified(), "rediss+cluster://localhost:%s", tls_port[0]);
	RUN_UNTIL(&env, cl.up, 10000);
	for (unsigned i = 0; i < 50; i++) {
		char k[16];

		snprintf(k, sizeof(k), "k%u", i);
		ASK(&cl, &an, "SET", k, "v");
		assert_string_equal(an.text, "OK");
	}
	client_close(&cl);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_verified),
		T(test_refused),
		T(test_clear_text_to_tls_port),
		T(test_expired),
		T(test_client_certificate),
		T(test_big_lost_resumed),
		T(test_cluster),
	};

	return cmocka_run_group_tests_name("redis/tls", tests, NULL, NULL);
}
