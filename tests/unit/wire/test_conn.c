/*
 * test_conn.c - the byte stream under everything: both sides in one loop, over TCP, a unix socket and TLS
 */
#include "harness.h"

struct end { /* one side of a connection */
	struct hm_conn conn;
	struct hm_buf got;
	struct hm_err why;
	int opened, closed, drained, eof;
	bool echo, half_open, close_on_read, finish_on_eof;
};

static struct hm_listener listener;
static struct end server, client;
static struct hm_tls *server_tls, *client_tls;
static struct hm_conn_opts server_opts, client_opts;
static char unix_path[128];
static bool listener_closed;
static unsigned accepted;

static void on_open(struct hm_conn *c)
{
	struct end *e = c->arg;

	e->opened++;
	assert_true(hm_conn_usable(c));
	uv_stop(&loop);
}

static void on_read(struct hm_conn *c, const uint8_t *p, size_t n)
{
	struct end *e = c->arg;

	assert_int_equal(e->opened, 1);
	assert_int_equal(e->closed, 0);
	hm_buf_put(&e->got, p, n);
	if (e->echo)
		hm_conn_write(c, p, n);
	if (e->close_on_read)
		hm_conn_close(c, NULL);
	uv_stop(&loop);
}

static void on_eof(struct hm_conn *c)
{
	struct end *e = c->arg;

	e->eof++;
	if (e->finish_on_eof)
		hm_conn_finish(c);
	uv_stop(&loop);
}

static void on_drain(struct hm_conn *c)
{
	((struct end *)c->arg)->drained++;
	uv_stop(&loop);
}

static void on_close(struct hm_conn *c, const struct hm_err *why)
{
	struct end *e = c->arg;

	e->closed++;
	e->why = *why;
	assert_int_equal(e->closed, 1);
	uv_stop(&loop);
}

static const struct hm_conn_ops plain_ops = {
	.on_open = on_open, .on_read = on_read, .on_drain = on_drain, .on_close = on_close};
static const struct hm_conn_ops half_ops = {
	.on_open = on_open, .on_read = on_read, .on_eof = on_eof, .on_drain = on_drain, .on_close = on_close};

static void on_accept(struct hm_listener *l)
{
	struct hm_err e = {0};

	accepted++;
	if (server.conn.magic == HM_CONN_MAGIC) { /* one at a time is enough here */
		hm_listener_drop(l);
		return;
	}
	if (hm_conn_accept(&server.conn, l, &server_opts, server.half_open ? &half_ops : &plain_ops, &server,
			   &e) < 0)
		fail_msg("%s", e.text);
}

static void on_listener_closed(struct hm_listener *l)
{
	listener_closed = true;
	uv_stop(&loop);
}

static void end_init(struct end *e)
{
	memset(e, 0, sizeof(*e));
	hm_buf_init(&e->got, 1 << 26);
}

static void start(bool use_unix, bool use_tls)
{
	struct hm_listen_opts lo = {.host = HM_STR("127.0.0.1")};
	struct hm_err e = {0};

	end_init(&server);
	end_init(&client);
	server_opts = (struct hm_conn_opts){.linger_ms = 300};
	client_opts = (struct hm_conn_opts){.linger_ms = 300, .host = HM_STR("127.0.0.1")};
	accepted = 0;
	if (use_unix) {
		snprintf(unix_path, sizeof(unix_path), "%s/sock", certs.dir);
		lo.unix_path = client_opts.unix_path = hm_str_c(unix_path);
	}
	if (use_tls) {
		struct hm_tls_opts so = {
			.server = true, .cert_file = hm_str_c(certs.server), .alpn = HM_STR("h2,http/1.1")};
		struct hm_tls_opts co = {
			.verify = true, .ca_file = hm_str_c(certs.ca), .alpn = HM_STR("http/1.1,h2")};

		assert_int_equal(hm_tls_new(&so, &server_tls, &e), 0);
		assert_int_equal(hm_tls_new(&co, &client_tls, &e), 0);
		server_opts.tls = server_tls;
		client_opts.tls = client_tls;
		client_opts.server_name = HM_STR("localhost");
	}
	if (hm_listener_open(&listener, &tick, &lo, on_accept, NULL, &e) < 0)
		fail_msg("%s", e.text);
	client_opts.port = hm_listener_port(&listener);
}

static void dial(void)
{
	struct hm_err e = {0};

	if (hm_conn_connect(&client.conn, &tick, &client_opts, client.half_open ? &half_ops : &plain_ops,
			    &client, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(client.opened + client.closed, 0);
}

static void stop(void)
{
	if (client.conn.magic == HM_CONN_MAGIC)
		hm_conn_close(&client.conn, NULL);
	if (server.conn.magic == HM_CONN_MAGIC)
		hm_conn_close(&server.conn, NULL);
	listener_closed = false;
	hm_listener_close(&listener, on_listener_closed);
	run_until(listener_closed && client.conn.magic != HM_CONN_MAGIC &&
		  server.conn.magic != HM_CONN_MAGIC);
	hm_tls_unref(server_tls);
	hm_tls_unref(client_tls);
	server_tls = client_tls = NULL;
	hm_buf_fini(&server.got);
	hm_buf_fini(&client.got);
}

/* Each of the four kinds of road. */
#define FOREACH_ROAD for (int road = 0; road < 4; stop(), road++)
static void start_road(int road)
{
	start(road & 1, road & 2);
}

static void test_echo(void **state)
{
	FOREACH_ROAD
	{
		start_road(road);
		server.echo = true;
		dial();
		hm_conn_write(&client.conn, "before ", 7); /* kept until there is somebody */
		run_until(client.opened);
		hm_conn_write(&client.conn, "after", 5);
		run_until(client.got.len == 12);
		assert_string_equal(hm_buf_cstr(&client.got), "before after");
		assert_true(hm_str_is(hm_conn_alpn(&client.conn), road & 2 ? "h2" : ""));
		assert_string_equal(hm_conn_tls_version(&client.conn), road & 2 ? "TLSv1.3" : "");
		assert_true(client.conn.tx_bytes >= 12 && client.conn.rx_bytes >= 12);
		assert_int_equal(hm_conn_taken(&client.conn), 12);
	}
}

/* More than any socket buffer, both ways at once. */
static void test_bulk(void **state)
{
	enum { BULK = 8 << 20 };
	static char out[BULK];

	for (size_t i = 0; i < BULK; i++)
		out[i] = (char)(i * 2654435761u >> 13);
	FOREACH_ROAD
	{
		start_road(road);
		server.echo = true;
		dial();
		run_until(client.opened);
		hm_conn_write(&client.conn, out, BULK);
		run_until(client.got.len == BULK);
		assert_memory_equal(client.got.p, out, BULK);
		assert_true(client.drained >= 1);
	}
}

static void test_byte_by_byte(void **state)
{
	struct hm_err e = {0};

	FOREACH_ROAD
	{
		start_road(road);
		client_opts.faults = server_opts.faults = true;
		assert_int_equal(hm_fault_init("wire_read:short@1+,wire_write:short@1+", &e), 0);
		server.echo = true;
		dial();
		run_until(client.opened);
		hm_conn_write(&client.conn, "one at a time", 13);
		run_until(client.got.len == 13);
		assert_string_equal(hm_buf_cstr(&client.got), "one at a time");
		hm_conn_finish(&client.conn);
		run_until(client.closed && server.closed);
		assert_int_equal(server.why.code, HM_ECLOSED);
		assert_int_equal(hm_fault_init(NULL, &e), 0);
	}
}

static void test_finish_delivers_everything(void **state)
{
	static char out[4 << 20];

	FOREACH_ROAD
	{
		start_road(road);
		client_opts.linger_ms = 10000;
		dial();
		run_until(client.opened && server.opened);
		hm_conn_write(&client.conn, out, sizeof(out));
		hm_conn_finish(&client.conn);
		run_until(server.closed && client.closed);
		assert_int_equal(server.got.len, sizeof(out));
		assert_int_equal(server.why.code, HM_ECLOSED);
		assert_int_equal(client.why.code, HM_ECANCELLED);
	}
}

/* The peer says it is done, and still gets its answer. */
static void test_half_closed(void **state)
{
	FOREACH_ROAD
	{
		start_road(road);
		server.half_open = server.echo = server.finish_on_eof = true;
		client.half_open = true;
		dial();
		run_until(client.opened);
		hm_conn_write(&client.conn, "request", 7);
		run_until(server.got.len == 7);
		hm_conn_finish(&client.conn);
		run_until(server.closed && client.closed);
		assert_int_equal(server.eof, 1);
		assert_int_equal(server.why.code, HM_ECANCELLED); /* finished by itself */
	}
}

static void test_finish_does_not_wait_for_ever(void **state)
{
	start(false, false);
	server.half_open = true; /* sees the end and does nothing about it */
	client_opts.linger_ms = 100;
	dial();
	run_until(client.opened && server.opened);
	hm_conn_finish(&client.conn);
	run_until(client.closed);
	assert_int_equal(server.eof, 1);
	assert_int_equal(server.closed, 0);
	stop();
}

static void test_close_inside_read(void **state)
{
	FOREACH_ROAD
	{
		start_road(road);
		server.close_on_read = true;
		dial();
		run_until(client.opened);
		hm_conn_write(&client.conn, "x", 1);
		run_until(server.closed && client.closed);
		assert_int_equal(server.got.len, 1);
		assert_int_equal(server.why.code, HM_ECANCELLED);
		assert_int_equal(client.why.code, HM_ECLOSED);
	}
}

/* In every state; on_close comes once, from the loop. */
static void test_close_any_time(void **state)
{
	for (int steps = 0; steps < 12; steps++) {
		for (int road = 0; road < 4; road++) {
			start_road(road);
			if (road == 0)
				client_opts.host = HM_STR("localhost"); /* through the resolver */
			dial();
			for (int i = 0; i < steps; i++)
				uv_run(&loop, UV_RUN_NOWAIT);
			hm_conn_close(&client.conn, NULL);
			hm_conn_close(&client.conn, NULL);
			assert_int_equal(client.closed, 0);
			run_until(client.closed);
			assert_int_equal(client.why.code, HM_ECANCELLED);
			stop();
		}
	}
}

static void test_limit_of_pending_output(void **state)
{
	static char out[3 << 20];

	start(false, false);
	client_opts.max_bytes = 1 << 20;
	dial();
	run_until(client.opened);
	hm_conn_write(&client.conn, out, sizeof(out));
	run_until(client.closed);
	assert_int_equal(client.why.code, HM_ELIMIT);
	stop();
}

static void test_read_stop(void **state)
{
	start(false, false);
	dial();
	run_until(client.opened && server.opened);
	hm_conn_read_stop(&server.conn);
	hm_conn_write(&client.conn, "held", 4);
	for (int i = 0; i < 20; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(server.got.len, 0);
	hm_conn_read_start(&server.conn);
	run_until(server.got.len == 4);
	stop();
}

static void test_refused_and_unknown(void **state)
{
	start(false, false);
	client_opts.port = 1;
	dial();
	run_until(client.closed);
	assert_int_equal(client.why.code, HM_ECONN);
	assert_non_null(strstr(client.why.text, "127.0.0.1:1: connection refused"));
	end_init(&client);
	client_opts.host = HM_STR("no-such-host.invalid");
	dial();
	run_until(client.closed);
	assert_int_equal(client.why.code, HM_ECONN);
	assert_non_null(strstr(client.why.text, "cannot resolve 'no-such-host.invalid'"));
	end_init(&client);
	client_opts.unix_path = HM_STR("/nonexistent/socket");
	dial();
	run_until(client.closed);
	assert_int_equal(client.why.code, HM_ECONN);
	assert_non_null(strstr(client.why.text, "no such file"));
	stop();
}

/* A host with several addresses: the next one is tried. */
static void test_next_address(void **state)
{
	start(false, false);
	client_opts.host = HM_STR(
		"localhost"); /* ::1 first where /etc/hosts says so; we listen on 127.0.0.1 */
	dial();
	run_until(client.opened);
	assert_non_null(strstr(hm_conn_peer(&client.conn), "127.0.0.1:"));
	stop();
}

static void test_deny_private(void **state)
{
	start(false, false);
	client_opts.deny_private = true;
	dial();
	run_until(client.closed);
	assert_int_equal(client.why.code, HM_EPERM);
	end_init(&client);
	client_opts.host = HM_STR("localhost");
	dial();
	run_until(client.closed);
	assert_int_equal(client.why.code, HM_EPERM);
	assert_int_equal(accepted, 0);
	stop();
}

static void test_handshake_timeout(void **state)
{
	start(false, true);
	server_opts.tls = NULL; /* accepts, but says nothing of TLS */
	client_opts.connect_timeout_ms = 120;
	dial();
	run_until(client.closed);
	assert_int_equal(client.why.code, HM_ETIMEDOUT);
	assert_int_equal(client.opened, 0);
	stop();
}

static void test_server_handshake_timeout(void **state)
{
	start(false, true);
	server_opts.connect_timeout_ms = 120;
	client_opts.tls = NULL;
	dial();
	run_until(server.closed);
	assert_int_equal(server.why.code, HM_ETIMEDOUT);
	stop();
}

static void test_not_tls(void **state)
{
	start(false, true);
	client_opts.tls = NULL;
	dial();
	run_until(client.opened);
	hm_conn_write(&client.conn, "GET / HTTP/1.1\r\n\r\n", 18);
	run_until(server.closed);
	assert_int_equal(server.why.code, HM_ETLS);
	assert_non_null(strstr(server.why.text, "clear-text HTTP"));
	stop();
}

static void tls_refused(struct hm_tls_opts co, const char *server_cert, struct hm_str name, const char *says)
{
	struct hm_tls_opts so = {.server = true, .cert_file = hm_str_c(server_cert)};
	struct hm_err e = {0};

	start(false, false);
	assert_int_equal(hm_tls_new(&so, &server_tls, &e), 0);
	assert_int_equal(hm_tls_new(&co, &client_tls, &e), 0);
	server_opts.tls = server_tls;
	client_opts.tls = client_tls;
	client_opts.server_name = name;
	dial();
	run_until(client.closed && server.closed);
	assert_int_equal(client.opened, 0);
	assert_int_equal(client.why.code, HM_ETLS);
	if (strstr(client.why.text, says) == NULL)
		fail_msg("'%s' does not say '%s'", client.why.text, says);
	assert_int_equal(server.why.code, HM_ETLS); /* it was told by an alert, not by silence */
	stop();
}

static void test_verification(void **state)
{
	struct hm_tls_opts co = {.verify = true, .ca_file = hm_str_c(certs.ca)};

	tls_refused(co, certs.expired, HM_STR("localhost"), "certificate has expired");
	tls_refused(co, certs.wrong, HM_STR("localhost"), "wrong host");
	tls_refused(co, certs.server, HM_STR("10.0.0.1"), "wrong host");
	tls_refused(co, certs.stranger, HM_STR("localhost"), "untrusted CA");
	co.min_version = HM_STR("1.3");
	co.ca_file = hm_str_c(certs.other_ca);
	tls_refused(co, certs.server, HM_STR("localhost"), "untrusted CA");
}

static void test_resumption(void **state)
{
	struct hm_tls_sessions tickets;

	hm_tls_sessions_init(&tickets);
	for (int i = 0; i < 3; i++) {
		start(false, true);
		client_opts.sessions = &tickets;
		/* One server context for all, as a server has; tickets are sealed with its key. */
		if (i > 0) {
			hm_tls_unref(server_tls);
			server_tls = NULL;
		}
		static struct hm_tls *kept;
		if (i == 0)
			kept = hm_tls_ref(server_tls);
		server_opts.tls = kept;
		server.echo = true;
		dial();
		run_until(client.opened);
		hm_conn_write(&client.conn, "x", 1);
		run_until(client.got.len == 1); /* the tickets have come with or before it */
		stop();
		if (i == 2)
			hm_tls_unref(kept);
	}
	assert_int_equal(tickets.full, 1);
	assert_int_equal(tickets.resumed, 2);
	hm_tls_sessions_fini(&tickets);
}

static void test_tls_files(void **state)
{
	struct hm_tls_opts o = {.verify = true};
	struct hm_tls *t;
	struct hm_err e = {0};

	o.ca_file = HM_STR("/nonexistent.pem");
	assert_int_equal(hm_tls_new(&o, &t, &e), HM_ETLS);
	assert_non_null(strstr(e.text, "'/nonexistent.pem': No such file"));
	o.ca_file = HM_STR("/etc/passwd");
	assert_int_equal(hm_tls_new(&o, &t, &e), HM_ETLS);
	assert_non_null(strstr(e.text, "/etc/passwd"));
	o = (struct hm_tls_opts){.server = true};
	assert_int_equal(hm_tls_new(&o, &t, &e), HM_EINVAL);
	o.cert_file = hm_str_c(certs.server);
	o.key_file = hm_str_c(certs.ca); /* no key in there */
	assert_int_equal(hm_tls_new(&o, &t, &e), HM_ETLS);
	o = (struct hm_tls_opts){.min_version = HM_STR("1.1")};
	assert_int_equal(hm_tls_new(&o, &t, &e), HM_EINVAL);
	assert_null(t);
}

static void test_listener_errors(void **state)
{
	struct hm_listener l;
	struct hm_listen_opts o = {.host = HM_STR("127.0.0.1")};
	struct hm_err e = {0};

	start(false, false);
	o.port = hm_listener_port(&listener);
	assert_int_equal(hm_listener_open(&l, &tick, &o, on_accept, NULL, &e), HM_EEXIST);
	assert_non_null(strstr(e.text, "in use"));
	o.host = HM_STR("192.0.2.1");
	assert_int_equal(hm_listener_open(&l, &tick, &o, on_accept, NULL, &e), HM_EINVAL);
	assert_non_null(strstr(e.text, "not an address of this machine"));
	o.host = HM_STR("example.com");
	assert_int_equal(hm_listener_open(&l, &tick, &o, on_accept, NULL, &e), HM_EINVAL);
	o.unix_path = HM_STR("/nonexistent/dir/sock");
	assert_int_equal(hm_listener_open(&l, &tick, &o, on_accept, NULL, &e), HM_EIO);
	stop();
}

static void test_reuse_port_and_stale_socket(void **state)
{
	struct hm_listener a, b;
	struct hm_listen_opts o = {.host = HM_STR("127.0.0.1"), .reuse_port = true};
	struct hm_err e = {0};
	FILE *f;

	assert_int_equal(hm_listener_open(&a, &tick, &o, on_accept, NULL, &e), 0);
	o.port = hm_listener_port(&a);
	assert_int_equal(hm_listener_open(&b, &tick, &o, on_accept, NULL, &e), 0);
	hm_listener_close(&a, NULL);
	hm_listener_close(&b, NULL);
	uv_run(&loop, UV_RUN_NOWAIT);
	/* A file that is no socket is never removed. */
	snprintf(unix_path, sizeof(unix_path), "%s/file", certs.dir);
	f = fopen(unix_path, "w");
	fclose(f);
	o = (struct hm_listen_opts){.unix_path = hm_str_c(unix_path)};
	assert_int_equal(hm_listener_open(&a, &tick, &o, on_accept, NULL, &e), HM_EEXIST);
	unlink(unix_path);
	assert_int_equal(hm_listener_open(&a, &tick, &o, on_accept, NULL, &e), 0);
	assert_int_equal(hm_listener_open(&b, &tick, &o, on_accept, NULL, &e), HM_EEXIST); /* alive */
	hm_listener_close(&a, NULL);
	uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(access(unix_path, F_OK), -1);
}

static void test_private_addresses(void **state)
{
	static const char *const private[] = {
		"0.0.0.0",
		"10.1.2.3",
		"100.64.0.1",
		"100.127.255.255",
		"127.0.0.1",
		"127.255.255.255",
		"169.254.169.254",
		"172.16.0.1",
		"172.31.255.255",
		"192.0.0.8",
		"192.168.1.1",
		"198.18.0.1",
		"203.0.113.5",
		"224.0.0.1",
		"240.0.0.1",
		"255.255.255.255",
		"::",
		"::1",
		"::ffff:10.0.0.1",
		"::ffff:127.0.0.1",
		"::127.0.0.1",
		"64:ff9b::7f00:1",
		"64:ff9b::a9fe:a9fe",
		"64:ff9b:1::1",
		"2002:7f00:1::",
		"2002:c0a8:101::1",
		"2001::1",
		"2001:db8::1",
		"fc00::1",
		"fd12:3456::1",
		"fe80::1",
		"fec0::1",
		"ff02::1",
		"100::1",
	};
	static const char *const public[] = {
		"1.1.1.1",	   "8.8.8.8",	       "17.188.143.1",
		"100.63.255.255",  "100.128.0.1",      "126.255.255.255",
		"128.0.0.1",	   "172.15.255.255",   "172.32.0.1",
		"192.169.0.1",	   "198.20.0.1",       "223.255.255.255",
		"2606:4700::1111", "2a00:1450::1",     "2001:4860:4860::8888",
		"::ffff:8.8.8.8",  "64:ff9b::808:808", "2002:808:808::1",
	};
	struct sockaddr_storage a;

	for (size_t i = 0; i < hm_countof(private); i++) {
		assert_true(hm_addr_parse(hm_str_c(private[i]), 1, &a));
		if (!hm_addr_is_private((struct sockaddr *)&a))
			fail_msg("%s counts as public", private[i]);
	}
	for (size_t i = 0; i < hm_countof(public); i++) {
		assert_true(hm_addr_parse(hm_str_c(public[i]), 1, &a));
		if (hm_addr_is_private((struct sockaddr *)&a))
			fail_msg("%s counts as private", public[i]);
	}
	assert_false(hm_addr_parse(HM_STR("example.com"), 1, &a));
	assert_false(hm_addr_parse(HM_STR("1.2.3"), 1, &a));
	a.ss_family = AF_UNIX;
	assert_true(hm_addr_is_private((struct sockaddr *)&a));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_echo),
		T(test_bulk),
		T(test_byte_by_byte),
		T(test_finish_delivers_everything),
		T(test_half_closed),
		T(test_finish_does_not_wait_for_ever),
		T(test_close_inside_read),
		T(test_close_any_time),
		T(test_limit_of_pending_output),
		T(test_read_stop),
		T(test_refused_and_unknown),
		T(test_next_address),
		T(test_deny_private),
		T(test_handshake_timeout),
		T(test_server_handshake_timeout),
		T(test_not_tls),
		T(test_verification),
		T(test_resumption),
		T(test_tls_files),
		T(test_listener_errors),
		T(test_reuse_port_and_stale_socket),
		T(test_private_addresses),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
