/* HTTP as bytes: keep-alive, pipelining, chunks, continue, limits, timeouts, nonsense. */
#include "serve.h"

static struct serve srv;

static const char msg[] = "{\"to\":\"tok\",\"channel\":\"c\",\"template\":\"t\"}";

static int start(void **state)
{
	static const char *const sets[] = {"http.max_header=4KiB",
					   "http.max_body=64KiB",
					   "http.header_timeout=400ms",
					   "http.body_timeout=400ms",
					   "http.idle_timeout=2s",
					   "http.max_connections=20",
					   NULL};

	serve_start(&srv, sets);
	return 0;
}

static int stop(void **state)
{
	serve_stop(&srv);
	return 0;
}

static void test_keep_alive(void **state)
{
	struct client *c = dial(&srv);

	for (int i = 0; i < 3; i++) {
		struct answer *a = call(c, "GET", "/healthz", NULL, NULL);

		expect(a, 200, "\"status\":\"ok\"");
		assert_string_equal(header(a, "Content-Type"), "application/json");
		assert_null(header(a, "Connection"));
		assert_non_null(header(a, "Date"));
		assert_int_equal(strlen(header(a, "Date")), 29);
	}
	expect(call(c, "GET", "/healthz", "Connection: close\r\n", NULL), 200, NULL);
	assert_false(more(c));
	hang_up(c);
	c = dial(&srv);
	say(c, "GET /healthz HTTP/1.0\r\n\r\n");
	expect(hear(c), 200, NULL);
	assert_false(more(c));
	hang_up(c);
	c = dial(&srv);
	say(c, "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	assert_string_equal(header(hear(c), "Connection"), "keep-alive");
	expect(call(c, "GET", "/healthz", NULL, NULL), 200, NULL);
	hang_up(c);
}

static void test_head(void **state)
{
	struct client *c = dial(&srv);
	struct answer *a = call(c, "HEAD", "/healthz", NULL, NULL);

	assert_int_equal(a->status, 200);
	assert_true(strtoul(header(a, "Content-Length"), NULL, 10) > 10);
	expect(call(c, "GET", "/healthz", NULL, NULL), 200, "ok"); /* no body came with HEAD */
	a = call(c, "HEAD", "/nothing", NULL, NULL);
	assert_int_equal(a->status, 404);
	expect(call(c, "GET", "/healthz", NULL, NULL), 200, "ok");
	hang_up(c);
}

static void test_not_there_not_allowed(void **state)
{
	struct client *c = dial(&srv);
	struct answer *a = call(c, "GET", "/nothing?x=1", NULL, NULL);

	expect(a, 404, "urn:hermod:problem:not-found");
	assert_non_null(strstr(a->body, "/nothing"));
	a = call(c, "DELETE", "/v1/messages", NULL, NULL);
	expect(a, 405, "method-not-allowed");
	assert_string_equal(header(a, "Allow"), "GET, HEAD, POST");
	a = call(c, "GET", "/v1/messages/batch", NULL, NULL);
	expect(a, 405, NULL);
	assert_string_equal(header(a, "Allow"), "POST");
	a = call(c, "POST", "/healthz", NULL, "{}");
	expect(a, 405, NULL);
	assert_string_equal(header(a, "Allow"), "GET, HEAD");
	expect(call(c, "GET", "/healthz", NULL, NULL), 200, NULL); /* the connection survived all of it */
	hang_up(c);
}

/* Whole stories, one byte at a time. */
static void test_byte_by_byte(void **state)
{
	char text[600];
	struct client *c = dial(&srv);

	(void)snprintf(text, sizeof(text),
		       "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: "
		       "application/json\r\nX-Long-Header-Nobody-Knows: 1\r\n"
		       "Content-Length: %zu\r\n\r\n%sGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
		       strlen(msg), msg);
	for (size_t i = 0; text[i]; i++)
		say_n(c, text + i, 1);
	expect(hear(c), 202, "\"state\":\"queued\"");
	expect(hear(c), 200, "ok");
	/* chunked, with an extension and a trailer */
	(void)snprintf(text, sizeof(text),
		       "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: "
		       "application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
		       "1;a=b\r\n{\r\n%zx\r\n%s\r\n0\r\nX: y\r\n\r\n",
		       strlen(msg) - 1, msg + 1);
	for (size_t i = 0; text[i]; i++)
		say_n(c, text + i, 1);
	expect(hear(c), 202, NULL);
	hang_up(c);
}

/* Cut at every offset: the server must neither answer nor fall. */
static void test_cut_everywhere(void **state)
{
	char text[600];
	struct client *c;

	(void)snprintf(text, sizeof(text),
		       "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: "
		       "application/json\r\nContent-Length: %zu\r\n\r\n%s",
		       strlen(msg), msg);
	for (size_t cut = 0; cut < strlen(text); cut += 3) {
		c = dial(&srv);
		say_n(c, text, cut);
		shutdown(c->fd, SHUT_WR);
		assert_int_equal(hear(c)->status, 0);
		hang_up(c);
	}
	c = dial(&srv);
	expect(call(c, "GET", "/healthz", NULL, NULL), 200, NULL);
	hang_up(c);
}

static void test_pipelining(void **state)
{
	struct client *c = dial(&srv);
	char text[400];

	empty_queues(&srv);
	/* slow (Redis) and quick requests mixed, more than may be under way at once: answers in order */
	(void)snprintf(text, sizeof(text),
		       "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: "
		       "application/json\r\nContent-Length: %zu\r\n\r\n%s"
		       "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n",
		       strlen(msg), msg);
	for (int i = 0; i < 300; i++)
		say_n(c, text, strlen(text));
	for (int i = 0; i < 300; i++) {
		expect(hear(c), 202, "queued");
		expect(hear(c), 404, NULL);
	}
	assert_int_equal(queued(&srv, "normal", NULL, 0), 300);
	/* after an error that closes, later requests of the pipeline are not answered */
	say(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\n\r\nGET /healthz "
	       "HTTP/1.1\r\nHost: x\r\n\r\n");
	expect(hear(c), 200, NULL);
	expect(hear(c), 400, "Host");
	assert_int_equal(hear(c)->status, 0);
	hang_up(c);
	/* half-closed right after the request: the answer still comes */
	c = dial(&srv);
	say(c,
	    "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
	    "%zu\r\n\r\n%s",
	    strlen(msg), msg);
	shutdown(c->fd, SHUT_WR);
	expect(hear(c), 202, NULL);
	assert_false(more(c));
	hang_up(c);
}

static void test_expect_continue(void **state)
{
	struct client *c = dial(&srv);
	struct answer *a;

	say(c,
	    "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: "
	    "100-continue\r\nContent-Length: %zu\r\n\r\n",
	    strlen(msg));
	assert_int_equal(hear(c)->status, 100);
	say_n(c, msg, strlen(msg));
	expect(hear(c), 202, NULL);
	/* refused before the body: no 100, and the connection ends because nobody knows whether the body comes */
	say(c, "POST /nothing HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n");
	a = hear(c);
	expect(a, 404, NULL);
	hang_up(c);
	c = dial(&srv);
	say(c, "POST /v1/messages HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
	       "99999999\r\n\r\n");
	expect(hear(c), 413, "http.max_body");
	assert_false(more(c));
	hang_up(c);
	c = dial(&srv);
	say(c, "POST /v1/messages HTTP/1.1\r\nHost: x\r\nExpect: wonders\r\nContent-Length: 2\r\n\r\n{}");
	expect(hear(c), 417, NULL);
	hang_up(c);
}

static void test_body_limits(void **state)
{
	struct client *c = dial(&srv);
	char big[3000];
	bool heard = false;

	say(c, "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
	       "10485760\r\n\r\n");
	expect(hear(c), 413, "10485760 bytes");
	hang_up(c);
	/* chunked: nobody says beforehand how much it will be */
	c = dial(&srv);
	say(c, "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: "
	       "application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
	memset(big, 'x', sizeof(big));
	for (int i = 0; i < 40 && !heard; i++) {
		struct pollfd p = {.fd = c->fd, .events = POLLIN};

		say(c, "%zx\r\n", sizeof(big));
		say_n(c, big, sizeof(big));
		say(c, "\r\n");
		heard = poll(&p, 1, 0) > 0;
	}
	expect(hear(c), 413, "http.max_body");
	hang_up(c);
	/* a small body nobody wants is read and dropped */
	c = dial(&srv);
	expect(call(c, "POST", "/nothing", NULL, "0123456789"), 404, NULL);
	expect(call(c, "GET", "/healthz", NULL, NULL), 200, NULL);
	hang_up(c);
}

static void test_head_limits(void **state)
{
	char big[6000];
	struct client *c = dial(&srv);

	memset(big, 'a', sizeof(big));
	say(c, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Big: ");
	say_n(c, big, 5000);
	say(c, "\r\n\r\n");
	expect(hear(c), 431, "http.max_header");
	assert_false(more(c));
	hang_up(c);
	c = dial(&srv);
	say(c, "GET /");
	say_n(c, big, 5000);
	say(c, " HTTP/1.1\r\nHost: x\r\n\r\n");
	expect(hear(c), 414, NULL);
	hang_up(c);
	c = dial(&srv);
	say(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n");
	for (int i = 0; i < 120; i++)
		say(c, "a%d: b\r\n", i);
	say(c, "\r\n");
	expect(hear(c), 431, "100 headers");
	hang_up(c);
	/* empty names and values are no reason to fall */
	c = dial(&srv);
	expect(call(c, "GET", "/healthz", "X-Empty:\r\nAuthorization:\r\nContent-Type: \r\n", NULL), 200,
	       NULL);
	hang_up(c);
}

static void test_nonsense(void **state)
{
	static const struct {
		const char *text;
		int status;
	} rows[] = {
		{"\x16\x03\x01\x02\x01\x01hello tls", 400},
		{"HELLO\r\n\r\n", 400},
		{"GET /healthz HTTP/1.1\r\n\r\n", 400},
		{"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
		{"GET /healthz HTTP/3.7\r\nHost: a\r\n\r\n", 505},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		{"GET /healthz HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n", 400},
		{"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
		 400},
		{"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: "
		 "chunked\r\n\r\n0\r\n\r\n",
		 400},
		{"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Type: "
		 "application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		 400},
		{"POST /v1/messages HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n",
		 400},
		{"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405},
	};

	for (size_t i = 0; i < hm_countof(rows); i++) {
		struct client *c = dial(&srv);
		struct answer *a;

		say_n(c, rows[i].text, strlen(rows[i].text));
		a = hear(c);
		if (a->status != rows[i].status)
			fail_msg("%s: %d %s", rows[i].text, a->status, a->body);
		expect(a, rows[i].status, "urn:hermod:problem:");
		assert_string_equal(header(a, "Connection"), "close");
		assert_false(more(c));
		hang_up(c);
	}
}

static void test_upgrade_is_ignored(void **state)
{
	struct client *c = dial(&srv);

	expect(call(c, "GET", "/healthz", "Connection: Upgrade\r\nUpgrade: websocket\r\n", NULL), 200, NULL);
	expect(call(c, "GET", "/healthz",
		    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n", NULL),
	       200, NULL);
	expect(call(c, "GET", "/healthz", NULL, NULL), 200, NULL);
	hang_up(c);
}

static void test_slow_head(void **state)
{
	struct client *c = dial(&srv);

	say(c, "GET /healthz HTTP/1.1\r\nHost:");
	expect(hear(c), 408, "head did not arrive within 400 ms");
	assert_false(more(c));
	hang_up(c);
	/* bytes that trickle do not extend it */
	c = dial(&srv);
	say(c, "GET /healthz HTTP/1.1\r\n");
	for (;;) {
		struct pollfd p = {.fd = c->fd, .events = POLLIN};

		say(c, "a: b\r\n");
		if (poll(&p, 1, 20) > 0)
			break;
	}
	expect(hear(c), 408, NULL);
	hang_up(c);
}

static void test_slow_body(void **state)
{
	struct client *c = dial(&srv);

	say(c, "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
	       "100\r\n\r\n{");
	expect(hear(c), 408, "body did not arrive");
	assert_false(more(c));
	hang_up(c);
	c = dial(&srv);
	say(c,
	    "POST /v1/messages/batch HTTP/1.1\r\nHost: x\r\nContent-Type: "
	    "application/x-ndjson\r\nContent-Length: 1000\r\n\r\n%s\n",
	    msg);
	expect(hear(c), 408, "body did not arrive");
	hang_up(c);
}

static void test_silent_connections_are_closed(void **state)
{
	struct client *c = dial(&srv);

	assert_false(more(c)); /* nothing was ever said */
	hang_up(c);
	c = dial(&srv);
	expect(call(c, "GET", "/healthz", NULL, NULL), 200, NULL);
	assert_false(more(c)); /* idle */
	hang_up(c);
}

static void test_connection_limit(void **state)
{
	struct client *v[21];

	for (int i = 0; i < 20; i++) {
		v[i] = dial(&srv);
		expect(call(v[i], "GET", "/healthz", NULL, NULL), 200, NULL);
	}
	v[20] = dial(&srv);
	expect(hear(v[20]), 503, "http.max_connections");
	assert_false(more(v[20]));
	for (int i = 0; i < 21; i++)
		hang_up(v[i]);
	/* and there is room again, as soon as the server has seen them go */
	for (;;) {
		struct client *c = dial(&srv);
		int status = call(c, "GET", "/healthz", NULL, NULL)->status;

		hang_up(c);
		if (status == 200)
			break;
		assert_true(status == 503 || status == 0);
	}
}

static void test_clients_that_leave(void **state)
{
	/* gone between request and answer: the answer goes nowhere, the message stays */
	empty_queues(&srv);
	for (int i = 0; i < 10; i++) {
		struct client *c = dial(&srv);
		struct linger now = {1, 0};

		for (int k = 0; k < 5; k++)
			say(c,
			    "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: "
			    "application/json\r\nContent-Length: %zu\r\n\r\n%s",
			    strlen(msg), msg);
		if (i % 2)
			setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		hang_up(c);
	}
	for (;;) { /* until all are gone */
		struct client *c = dial(&srv);
		int status = call(c, "GET", "/healthz", NULL, NULL)->status;

		hang_up(c);
		if (status == 200)
			break;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keep_alive),
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_not_there_not_allowed),
		cmocka_unit_test(test_byte_by_byte),
		cmocka_unit_test(test_cut_everywhere),
		cmocka_unit_test(test_pipelining),
		cmocka_unit_test(test_expect_continue),
		cmocka_unit_test(test_body_limits),
		cmocka_unit_test(test_head_limits),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_upgrade_is_ignored),
		cmocka_unit_test(test_slow_head),
		cmocka_unit_test(test_slow_body),
		cmocka_unit_test(test_silent_connections_are_closed),
		cmocka_unit_test(test_connection_limit),
		cmocka_unit_test(test_clients_that_leave),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
