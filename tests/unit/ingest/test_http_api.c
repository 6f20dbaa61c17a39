/* The API: submit, batch, idempotency, keys, look-ups, cancel, report, the description against the routes. */
#include "serve.h"

#include "ingest/cancel_mark.h"
#include "ingest/http_req.h"

static struct serve srv;

static int start(void **state)
{
	static const char *const sets[] = {"http.max_batch=50", "http.max_body=64KiB",
					   "queue.max_entry_bytes=32KiB", NULL};

	serve_start(&srv, sets);
	return 0;
}

static int stop(void **state)
{
	serve_stop(&srv);
	return 0;
}

static int fresh(void **state)
{
	if (srv.rc)
		empty_queues(&srv);
	return 0;
}

static void copy(char *out, size_t cap, const char *text)
{
	size_t n = strlen(text);

	assert_true(n < cap);
	memcpy(out, text, n + 1);
}

static struct answer *post(struct client *c, const char *path, const char *body)
{
	return call(c, "POST", path, JSON_TYPE, body);
}

static void test_submit(void **state)
{
	struct client *c = dial(&srv);
	char id[40], got[40], entry[2000], path[100];
	struct answer *a = post(
		c, "/v1/messages",
		"{\"to\":{\"addr\":\"tok\",\"user\":\"u1\"},\"channel\":\"apns\",\"template\":\"t\",\"data\":"
		"{\"n\":1.50},"
		"\"lane\":\"critical\",\"campaign\":\"spring\",\"at\":\"2026-01-02T03:04:05Z\"}");

	expect(a, 202, "\"state\":\"queued\"");
	member(a, "id", id, sizeof(id));
	assert_int_equal(queued(&srv, "critical", entry, sizeof(entry)), 1);
	assert_int_equal(queued(&srv, "normal", NULL, 0), 0);
	assert_non_null(strstr(entry, "\"to\":{\"addr\":\"tok\",\"user\":\"u1\"}"));
	assert_non_null(strstr(entry, "\"data\":{\"n\":1.50}"));
	assert_non_null(strstr(entry, "\"at\":1767323045000"));
	assert_non_null(
		strstr(entry, "\"acc\":\"ESIzRFVmd4h0ZXN0LW5vZGU=\"")); /* boot id and node, as base64 */
	/* at once, though the ledger writes in batches */
	(void)snprintf(path, sizeof(path), "/v1/messages/%s", id);
	a = call(c, "GET", path, NULL, NULL);
	expect(a, 200, "\"state\":\"queued\"");
	member(a, "id", got, sizeof(got));
	assert_string_equal(got, id);
	assert_non_null(strstr(a->body, "\"campaign\":\"spring\""));
	assert_non_null(strstr(a->body, "\"attempts\":[]"));
	expect(call(c, "GET", "/v1/report?campaign=spring", NULL, NULL), 200, "\"accepted\":1");
	expect(call(c, "GET", "/v1/report", NULL, NULL), 200, "\"balanced\":true");
	expect(call(c, "GET", "/v1/report?campaign=winter", NULL, NULL), 404, "winter");
	hang_up(c);
}

static void test_submit_refused(void **state)
{
	static const struct {
		const char *body;
		int status;
		const char *field, *says;
	} rows[] = {
		{"{", 400, NULL, "bad-syntax"},
		{"{\"to\":\"a\"\n,\n!}", 400, NULL, "\"line\":3"},
		{"[]", 422, NULL, "/v1/messages/batch"},
		{"7", 422, NULL, "must be a map"},
		{"{\"channel\":\"c\",\"template\":\"t\"}", 422, "to", "is missing"},
		{"{\"to\":\"a\",\"template\":\"t\"}", 422, "channel", "is missing"},
		{"{\"to\":\"a\",\"channel\":\"nope\",\"template\":\"t\"}", 422, "channel",
		 "there is no channel \\\"nope\\\""},
		{"{\"to\":\"a\",\"route\":\"nope\",\"template\":\"t\"}", 422, "route", "there is no route"},
		{"{\"to\":\"a\",\"channel\":\"c\",\"template\":\"missing\"}", 422, "template",
		 "there is no template"},
		{"{\"to\":\"a\",\"chanel\":\"c\",\"template\":\"t\"}", 422, "chanel", "did you mean"},
		{"{\"to\":\"a\",\"channel\":\"c\",\"template\":\"t\",\"expires\":1600000000000}", 422,
		 "expires", "passed"},
		{"{\"to\":\"a\",\"channel\":\"c\",\"template\":\"t\",\"lane\":\"fast\"}", 422, "lane",
		 "critical, high"},
		{"{\"recipients\":[\"a\"],\"channel\":\"c\",\"template\":\"t\"}", 422, "recipients", "batch"},
		{"{\"to\":\"a\",\"channel\":\"c\",\"template\":\"t\",\"id\":\"01ARZ3NDEKTSV4RRFFQ69G5FAV\"}",
		 422, "id", "unknown key"},
		{"", 400, NULL, "empty"},
	};
	struct client *c = dial(&srv);
	char big[50000], want[100];

	for (size_t i = 0; i < hm_countof(rows); i++) {
		struct answer *a = post(c, "/v1/messages", rows[i].body);

		if (a->status != rows[i].status)
			fail_msg("%s: %d %s", rows[i].body, a->status, a->body);
		expect(a, rows[i].status, rows[i].says);
		if (rows[i].field) {
			(void)snprintf(want, sizeof(want), "\"field\":\"%s\"", rows[i].field);
			expect(a, rows[i].status, want);
		}
	}
	expect(call(c, "POST", "/v1/messages", "Content-Type: application/x-www-form-urlencoded\r\n", "to=a"),
	       415, "application/json");
	expect(call(c, "POST", "/v1/messages", NULL, "{}"), 415, "missing");
	(void)snprintf(big, sizeof(big),
		       "{\"to\":\"a\",\"channel\":\"c\",\"content\":{\"body\":\"%040000d\"}}", 1);
	expect(post(c, "/v1/messages", big), 413, "queue.max_entry_bytes");
	assert_int_equal(queued(&srv, "normal", NULL, 0), 0);
	hang_up(c);
}

static void test_msgpack_message(void **state)
{
	static const char body[] = "\x83\xa2to\xa1x\xa7"
				   "channel\xa1"
				   "c\xa8"
				   "template\xa1t";
	struct client *c = dial(&srv);

	say(c,
	    "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/msgpack\r\nContent-Length: "
	    "%zu\r\n\r\n",
	    sizeof(body) - 1);
	say_n(c, body, sizeof(body) - 1);
	expect(hear(c), 202, NULL);
	say(c, "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: "
	       "application/msgpack\r\nContent-Length: 5\r\n\r\n");
	say_n(c, "\xdd\xff\xff\xff\xff", 5);
	expect(hear(c), 400, "msgpack");
	hang_up(c);
}

static void test_batch_array(void **state)
{
	struct client *c = dial(&srv);
	char entry[4000];
	struct answer *a = post(c, "/v1/messages/batch",
				"[{\"to\":\"a\",\"channel\":\"c\",\"template\":\"t\",\"data\":{\"i\":1}},"
				"{\"to\":\"\",\"channel\":\"c\",\"template\":\"t\"},"
				"{\"to\":\"b\",\"channel\":\"c\",\"template\":\"t\"},"
				"{\"to\":\"c\",\"channel\":\"nope\",\"template\":\"t\"},"
				"{\"to\":\"d\",\"channel\":\"c\",\"template\":\"t\"}]");

	expect(a, 202, "\"accepted\":3,\"rejected\":2");
	expect(a, 202,
	       "{\"index\":1,\"status\":422,\"type\":\"urn:hermod:problem:invalid-message\",\"field\":"
	       "\"to\"");
	expect(a, 202, "{\"index\":3,\"status\":422,");
	expect(a, 202, "\",null,\"");
	/* three messages, one entry */
	assert_int_equal(queued(&srv, "normal", entry, sizeof(entry)), 1);
	assert_non_null(strstr(entry, "\"rs\":[{\"addr\":\"a\",\"data\":{\"i\":1}},\"b\",\"d\"]"));
	a = post(c, "/v1/messages/batch",
		 "{\"messages\":[{\"to\":\"a\",\"channel\":\"c\",\"template\":\"t\"}]}");
	expect(a, 202, "\"accepted\":1,\"rejected\":0");
	a = post(c, "/v1/messages/batch",
		 "{\"recipients\":[\"a\",{\"user\":\"u\"},\"c\"],\"route\":\"r\",\"content\":{\"body\":\"x\"}"
		 ",\"lane\":\"bulk\"}");
	expect(a, 202, "\"accepted\":3,\"rejected\":0");
	assert_int_equal(queued(&srv, "bulk", entry, sizeof(entry)), 1);
	hang_up(c);
}

static void test_batch_refused(void **state)
{
	struct client *c = dial(&srv);
	struct hm_buf b;

	expect(post(c, "/v1/messages/batch", "[]"), 422, "no messages");
	expect(post(c, "/v1/messages/batch", "[1,2"), 400, "bad-syntax");
	expect(post(c, "/v1/messages/batch", "\"x\""), 422, "must be an array");
	expect(post(c, "/v1/messages/batch", "{\"messages\":1}"), 422, "\"field\":\"messages\"");
	expect(post(c, "/v1/messages/batch", "[1,{\"to\":\"a\"}]"), 422,
	       "\"rejected\":2,\"errors\":[{\"index\":0,");
	hm_buf_init(&b, 1 << 20);
	hm_buf_lit(&b, "{\"channel\":\"c\",\"template\":\"t\",\"recipients\":[\"0\"");
	for (int i = 1; i < 51; i++)
		hm_buf_printf(&b, ",\"%d\"", i);
	hm_buf_lit(&b, "]}");
	expect(post(c, "/v1/messages/batch", hm_buf_cstr(&b)), 413, "http.max_batch");
	hm_buf_fini(&b);
	expect(call(c, "POST", "/v1/messages/batch", "Content-Type: text/csv\r\n", "a,b"), 415, "x-ndjson");
	assert_int_equal(queued(&srv, "normal", NULL, 0), 0);
	/* the connection is still in step */
	expect(call(c, "GET", "/healthz", NULL, NULL), 200, NULL);
	hang_up(c);
}

static void test_batch_lines(void **state)
{
	struct client *c = dial(&srv);
	struct answer *a = call(c, "POST", "/v1/messages/batch", "Content-Type: application/x-ndjson\r\n",
				"{\"to\":\"a\",\"channel\":\"c\",\"template\":\"t\"}\n"
				"\n"
				"{\"to\":\"b\",\"channel\":\"c\",\n"
				"{\"to\":\"c\",\"channel\":\"c\",\"template\":\"t\"}\r\n"
				"{\"to\":7,\"channel\":\"c\",\"template\":\"t\"}\n"
				"{\"to\":\"d\",\"channel\":\"c\",\"template\":\"t\"}");

	expect(a, 202, "\"accepted\":3,\"rejected\":2");
	expect(a, 202, "{\"index\":1,\"line\":3,\"status\":400,\"type\":\"urn:hermod:problem:bad-syntax\"");
	expect(a, 202, "{\"index\":3,\"line\":5,\"status\":422,");
	assert_int_equal(queued(&srv, "normal", NULL, 0), 1);
	hang_up(c);
}

/* A stream far larger than max_body, in odd pieces; memory stays bounded, nothing is lost. */
static void test_batch_long_stream(void **state)
{
	struct client *c = dial(&srv);
	struct hm_buf b;
	size_t off = 0, step = 1;
	char line[200];

	hm_buf_init(&b, 16 << 20);
	for (int i = 0; i < 20000; i++)
		hm_buf_printf(&b, "{\"to\":\"token-%d\",\"channel\":\"c\",\"template\":\"t%d\"}\n", i, i % 3);
	/* one line that is too long by itself */
	hm_buf_lit(&b, "{\"to\":\"");
	for (int i = 0; i < 70000; i++)
		hm_buf_putc(&b, 'x');
	hm_buf_lit(&b, "\"}\n{\"to\":\"last\",\"channel\":\"c\",\"template\":\"t\"}\n");
	say(c, "POST /v1/messages/batch HTTP/1.1\r\nHost: x\r\nContent-Type: "
	       "application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n");
	while (off < b.len) {
		size_t n = hm_min(step, b.len - off);

		(void)snprintf(line, sizeof(line), "%zx\r\n", n);
		say_n(c, line, strlen(line));
		say_n(c, b.p + off, n);
		say_n(c, "\r\n", 2);
		off += n;
		step = step * 7 % 60001 + 1;
	}
	say(c, "0\r\n\r\n");
	hm_buf_fini(&b);
	{
		struct answer *a = hear(c);

		expect(a, 202, "\"accepted\":20001,\"rejected\":1,\"ids_omitted\":true");
		expect(a, 202, "\"line\":20001,\"status\":413");
	}
	{
		uint64_t n = 0;

		for (int p = 0; p < 4; p++) {
			redisReply *r = redis(&srv, "XRANGE {hm:%d}:q:normal - +", p);

			for (size_t i = 0; i < r->elements; i++) {
				const redisReply *v = r->element[i]->element[1]->element[1];
				struct hm_job_spec spec;
				msgpack_zone zone;
				struct hm_err e;

				assert_true(msgpack_zone_init(&zone, 4096));
				assert_int_equal(hm_job_decode(hm_str_n(v->str, v->len), &zone, &spec, &e),
						 0);
				n += spec.n_rcpts;
				msgpack_zone_destroy(&zone);
			}
			freeReplyObject(r);
		}
		assert_int_equal(n, 20001);
	}
	hang_up(c);
}

static void test_idempotency(void **state)
{
	static const char one[] = "{\"to\":\"a\",\"channel\":\"c\",\"template\":\"t\"}";
	static const char two[] = "{\"to\":\"b\",\"channel\":\"c\",\"template\":\"t\"}";
	struct client *c = dial(&srv);
	char first[200];
	struct answer *a = call(c, "POST", "/v1/messages", JSON_TYPE "Idempotency-Key: k1\r\n", one);

	expect(a, 202, "queued");
	assert_null(header(a, "Idempotent-Replayed"));
	copy(first, sizeof(first), a->body);
	a = call(c, "POST", "/v1/messages", JSON_TYPE "Idempotency-Key: k1\r\n", one);
	expect(a, 202, first);
	assert_string_equal(header(a, "Idempotent-Replayed"), "true");
	a = call(c, "POST", "/v1/messages", JSON_TYPE "Idempotency-Key: k1\r\n", two);
	expect(a, 422, "idempotency-key-reused");
	assert_int_equal(queued(&srv, "normal", NULL, 0), 1);
	expect(call(c, "POST", "/v1/messages", JSON_TYPE "Idempotency-Key: k2\r\n", two), 202, NULL);
	assert_int_equal(queued(&srv, "normal", NULL, 0), 2);
	/* a refused request leaves no trace: corrected, the key is good */
	expect(call(c, "POST", "/v1/messages", JSON_TYPE "Idempotency-Key: k3\r\n", "{}"), 422, NULL);
	expect(call(c, "POST", "/v1/messages", JSON_TYPE "Idempotency-Key: k3\r\n", one), 202, NULL);
	/* it expires by itself */
	{
		redisReply *r = redis(
			&srv, "EVAL %s 0",
			"local n=0 for p=0,3 do for _,k in ipairs(redis.call('KEYS','{hm:'..p..'}:idem:*')) "
			"do local t=redis.call('PTTL',k) "
			"if t>86000000 and t<=86400000 then n=n+1 end end end return n");

		assert_int_equal(r->integer, 3);
		freeReplyObject(r);
	}
	expect(call(c, "POST", "/v1/messages", JSON_TYPE "Idempotency-Key:\r\n", one), 400,
	       "Idempotency-Key");
	/* two at the same time, pipelined: one is the other's echo */
	for (int i = 0; i < 2; i++)
		say(c,
		    "POST /v1/messages HTTP/1.1\r\nHost: x\r\n" JSON_TYPE
		    "Idempotency-Key: k4\r\nContent-Length: %zu\r\n\r\n%s",
		    strlen(one), one);
	a = hear(c);
	expect(a, 202, NULL);
	copy(first, sizeof(first), a->body);
	a = hear(c);
	expect(a, 202, first);
	assert_string_equal(header(a, "Idempotent-Replayed"), "true");
	hang_up(c);
}

static void test_idempotent_batch(void **state)
{
	static const char body[] = "{\"to\":\"a\",\"channel\":\"c\",\"template\":\"t\"}\n{\"to\":\"\"}\n"
				   "{\"to\":\"b\",\"channel\":\"c\",\"template\":\"t\",\"lane\":\"bulk\"}\n";
	struct client *c = dial(&srv);
	char first[2000];
	struct answer *a = call(c, "POST", "/v1/messages/batch",
				"Content-Type: application/x-ndjson\r\nIdempotency-Key: \"b\"\r\n", body);

	expect(a, 202, "\"accepted\":2,\"rejected\":1");
	copy(first, sizeof(first), a->body);
	a = call(c, "POST", "/v1/messages/batch",
		 "Content-Type: application/x-ndjson\r\nIdempotency-Key: b\r\n", body);
	expect(a, 202, first);
	assert_string_equal(header(a, "Idempotent-Replayed"), "true");
	assert_int_equal(queued(&srv, "normal", NULL, 0), 1);
	assert_int_equal(queued(&srv, "bulk", NULL, 0), 1);
	expect(call(c, "POST", "/v1/messages/batch",
		    "Content-Type: application/x-ndjson\r\nIdempotency-Key: b\r\n",
		    "{\"to\":\"q\",\"channel\":\"c\",\"template\":\"t\"}"),
	       422, "idempotency-key-reused");
	hang_up(c);
}

static void test_look_ups(void **state)
{
	struct client *c = dial(&srv);

	expect(call(c, "GET", "/v1/messages/01ARZ3NDEKTSV4RRFFQ69G5FAV", NULL, NULL), 404,
	       "01ARZ3NDEKTSV4RRFFQ69G5FAV");
	expect(call(c, "GET", "/v1/messages/nonsense", NULL, NULL), 400, "no message id");
	expect(call(c, "GET", "/v1/messages", NULL, NULL), 400, "give to");
	expect(call(c, "GET", "/v1/messages?to=a&campaign=b", NULL, NULL), 400, "give to");
	expect(call(c, "GET", "/v1/messages?to=%2B86&limit=0", NULL, NULL), 400, "\"field\":\"limit\"");
	expect(call(c, "GET", "/v1/messages?to=%2B86&state=nope", NULL, NULL), 400, "\"field\":\"state\"");
	expect(call(c, "GET", "/v1/messages?to=%2B86&after=x", NULL, NULL), 400, "\"field\":\"after\"");
	expect(call(c, "GET", "/v1/messages?to=nobody", NULL, NULL), 200, "{\"messages\":[]}");
	hang_up(c);
}

static void test_cancel(void **state)
{
	struct client *c = dial(&srv);
	char id[40], path[100];
	struct answer *a = post(c, "/v1/messages", "{\"to\":\"a\",\"channel\":\"c\",\"template\":\"t\"}");
	redisReply *r;

	member(a, "id", id, sizeof(id));
	(void)snprintf(path, sizeof(path), "/v1/messages/%s/cancel", id);
	expect(call(c, "POST", path, NULL, ""), 202, "\"state\":\"cancelling\"");
	r = redis(&srv, "XRANGE {hm:ctl}:events - +");
	assert_int_equal(r->elements, 1);
	assert_string_equal(r->element[0]->element[1]->element[1]->str, "cancel");
	assert_string_equal(r->element[0]->element[1]->element[3]->str, id);
	freeReplyObject(r);
	expect(call(c, "POST", "/v1/messages/01ARZ3NDEKTSV4RRFFQ69G5FAV/cancel", NULL, ""), 404, NULL);
	hang_up(c);
}

static void test_marks_parse(void **state)
{
	struct hm_reply f[6], entry[2], whole;
	struct hm_ctl_event ev;
	struct hm_str id;
	struct hm_err e;
	static const char *const good[] = {"type", "cancel", "campaign", "spring", "at", "1767323045000"};
	static const char *const keys[] = {"type", "keys", "id", "abc", "at", "5"};
	static const char *const other[] = {"type", "later", "x", "y", "at", "5"};
	static const char *const bad[] = {"type", "cancel", "id", "abc", "at", "5"};
	const char *const *all[] = {good, keys, other, bad};

	memset(f, 0, sizeof(f));
	entry[0] = (struct hm_reply){.type = HM_REPLY_STR, .s = HM_STR("1-1")};
	entry[1] = (struct hm_reply){.type = HM_REPLY_ARRAY, .v = f, .n = 6};
	whole = (struct hm_reply){.type = HM_REPLY_ARRAY, .v = entry, .n = 2};
	for (size_t t = 0; t < 4; t++) {
		for (size_t i = 0; i < 6; i++)
			f[i] = (struct hm_reply){.type = HM_REPLY_STR, .s = hm_str_c(all[t][i])};
		assert_int_equal(hm_ctl_parse(&whole, &id, &ev, &e), t == 3 ? HM_EINVAL : 0);
		assert_true(hm_str_is(id, "1-1"));
		if (t == 0)
			assert_true(ev.type == HM_CTL_CANCEL && hm_str_is(ev.kind, "campaign") &&
				    hm_str_is(ev.what, "spring") && ev.at_ms == 1767323045000);
		else if (t == 1)
			assert_true(ev.type == HM_CTL_KEYS && hm_str_is(ev.by, "abc"));
		else if (t == 2)
			assert_int_equal(ev.type, HM_CTL_OTHER);
	}
}

static void test_system(void **state)
{
	struct client *c = dial(&srv);
	struct answer *a;

	expect(call(c, "GET", "/readyz", NULL, NULL), 200, "{\"ready\":true}");
	expect(call(c, "GET", "/healthz", NULL, NULL), 200, "\"node\":\"test-node\"");
	a = call(c, "GET", "/metrics", NULL, NULL);
	expect(a, 200, "x_total 1");
	assert_non_null(strstr(header(a, "Content-Type"), "text/plain"));
	expect(call(c, "GET", "/openapi.json", NULL, NULL), 200, "\"openapi\": \"3.1.0\"");
	hang_up(c);
}

/* -- the description and the routes say the same, both ways ------------------------- */

static const msgpack_object *at(const msgpack_object *o, const char *key)
{
	const msgpack_object *v = hm_mp_get(o, hm_str_c(key));

	if (!v)
		fail_msg("openapi.json has no %s", key);
	return v;
}

/* The tables of other folders. */
static bool served_elsewhere(struct hm_str path)
{
	static const char *const starts[] = {
		"/v1/admin/", "/v1/templates", "/v1/suppressions", "/v1/consents", "/v1/channels",
		"/v1/routes", "/v1/schedules", "/v1/callbacks",	   "/v1/replies",  "/v1/inbox"};

	for (size_t i = 0; i < hm_countof(starts); i++)
		if (hm_str_starts(path, hm_str_c(starts[i])))
			return true;
	return false;
}

static void test_description_and_routes(void **state)
{
	struct client *c = dial(&srv);
	struct answer *a = call(c, "GET", "/openapi.json", NULL, NULL);
	msgpack_object root;
	const msgpack_object *paths, *types;
	msgpack_zone zone;
	struct hm_buf mp;
	struct hm_err e;
	size_t described = 0;

	hm_buf_init(&mp, 1 << 20);
	assert_true(msgpack_zone_init(&zone, 65536));
	assert_int_equal(hm_json_to_msgpack(hm_str_n(a->body, a->body_len), &mp, &e), 0);
	assert_int_equal(hm_msgpack_decode(&zone, hm_buf_str(&mp), &root, &e), 0);
	paths = at(&root, "paths");
	for (size_t i = 0; i < hm_http_routes_count; i++) {
		const struct hm_http_route *r = &hm_http_routes[i];
		const msgpack_object *op = at(at(paths, r->pattern), r->method == HTTP_GET	? "get"
								     : r->method == HTTP_DELETE ? "delete"
												: "post");
		const msgpack_object *sec = hm_mp_get(op, HM_STR("security"));
		bool open = sec && sec->via.array.size == 0;

		(void)at(op, "operationId");
		(void)at(op, "responses");
		if (open != (r->scope == HM_SCOPE_NONE))
			fail_msg("%s: the route and its description disagree about keys", r->pattern);
	}
	for (uint32_t i = 0; i < paths->via.map.size; i++) {
		struct hm_str path;

		/* served through hm_http_deps.extra; a scenario looks at them */
		assert_true(hm_mp_str(&paths->via.map.ptr[i].key, &path));
		if (!served_elsewhere(path))
			described += paths->via.map.ptr[i].val.via.map.size;
	}
	assert_int_equal(described, hm_http_routes_count);
	/* every problem type is listed, and no other */
	types = at(at(at(at(at(at(&root, "components"), "schemas"), "Problem"), "properties"), "type"),
		   "enum");
	assert_int_equal(types->via.array.size, HM_PROBLEM_COUNT);
	for (uint32_t i = 0; i < types->via.array.size; i++) {
		char want[80];
		struct hm_str s;

		(void)snprintf(want, sizeof(want), "urn:hermod:problem:%s",
			       hm_problem_slug((enum hm_problem)i));
		assert_true(hm_mp_str(&types->via.array.ptr[i], &s) && hm_str_is(s, want));
	}
	msgpack_zone_destroy(&zone);
	hm_buf_fini(&mp);
	hang_up(c);
}

/* -- Redis goes and comes back -------------------------------------------------------- */

static void test_redis_away(void **state)
{
	static const char one[] = "{\"to\":\"a\",\"channel\":\"c\",\"template\":\"t\"}";
	struct client *c = dial(&srv);
	struct answer *a;

	expect(post(c, "/v1/messages", one), 202, NULL);
	redis_stop(&srv);
	do
		a = call(c, "GET", "/readyz", NULL, NULL);
	while (a->status == 200);
	expect(a, 503, "Redis is away");
	assert_non_null(header(a, "Retry-After"));
	a = post(c, "/v1/messages", one);
	expect(a, 503, "urn:hermod:problem:queue-down");
	assert_non_null(header(a, "Retry-After"));
	a = call(c, "POST", "/v1/messages", JSON_TYPE "Idempotency-Key: z\r\n", one);
	expect(a, 503, "queue-down");
	a = call(c, "POST", "/v1/messages/batch", "Content-Type: application/x-ndjson\r\n", one);
	expect(a, 503, "queue-down");
	expect(call(c, "GET", "/healthz", NULL, NULL), 200, NULL);
	redis_start(&srv);
	do
		a = call(c, "GET", "/readyz", NULL, NULL);
	while (a->status != 200);
	expect(post(c, "/v1/messages", one), 202, NULL);
	assert_int_equal(queued(&srv, "normal", NULL, 0),
			 1); /* a new, empty server: nothing of the refused ones came later */
	hang_up(c);
}

/* Redis takes the command and says nothing: nobody knows, and the same key makes sure. */
static void test_answer_lost(void **state)
{
	static const char one[] = "{\"to\":\"a\",\"channel\":\"c\",\"template\":\"t\"}";
	struct client *c = dial(&srv);
	struct answer *a;
	int status;

	kill(srv.redis_pid, SIGSTOP);
	a = call(c, "POST", "/v1/messages", JSON_TYPE "Idempotency-Key: lost\r\n", one);
	expect(a, 503, "urn:hermod:problem:queue-unknown");
	assert_non_null(strstr(a->body, "Idempotency-Key"));
	assert_non_null(header(a, "Retry-After"));
	kill(srv.redis_pid, SIGCONT);
	do {
		a = call(c, "POST", "/v1/messages", JSON_TYPE "Idempotency-Key: lost\r\n", one);
		status = a->status;
	} while (status == 503);
	expect(a, 202, "queued");
	assert_int_equal(queued(&srv, "normal", NULL, 0), 1);
	hang_up(c);
}

static void test_drain(void **state)
{
	struct client *c = dial(&srv), *idle = dial(&srv);
	struct answer *a;

	expect(call(idle, "GET", "/healthz", NULL, NULL), 200, NULL);
	serve_drain(&srv);
	a = call(c, "GET", "/readyz", NULL, NULL);
	expect(a, 503, "draining");
	assert_string_equal(header(a, "Connection"), "close");
	assert_false(more(c));
	hang_up(c);
	a = call(idle, "GET", "/healthz", NULL, NULL);
	expect(a, 200, NULL);
	assert_string_equal(header(a, "Connection"), "close");
	hang_up(idle);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_submit, fresh),
		cmocka_unit_test_setup(test_submit_refused, fresh),
		cmocka_unit_test_setup(test_msgpack_message, fresh),
		cmocka_unit_test_setup(test_batch_array, fresh),
		cmocka_unit_test_setup(test_batch_refused, fresh),
		cmocka_unit_test_setup(test_batch_lines, fresh),
		cmocka_unit_test_setup(test_batch_long_stream, fresh),
		cmocka_unit_test_setup(test_idempotency, fresh),
		cmocka_unit_test_setup(test_idempotent_batch, fresh),
		cmocka_unit_test_setup(test_look_ups, fresh),
		cmocka_unit_test_setup(test_cancel, fresh),
		cmocka_unit_test(test_marks_parse),
		cmocka_unit_test(test_system),
		cmocka_unit_test(test_description_and_routes),
		cmocka_unit_test_setup(test_redis_away, fresh),
		cmocka_unit_test_setup(test_answer_lost, fresh),
		cmocka_unit_test(test_drain),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
