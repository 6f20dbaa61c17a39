/* URLs, slots, and the reply parser on bytes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "redis/redis.h"
#include "redis/reply.h"
#include "redis/url.h"

static struct hm_redis_url u;

static void good(const char *text)
{
	struct hm_err e = {0};

	if (hm_redis_url_parse(hm_str_c(text), &u, &e) != 0)
		fail_msg("%s: %s", text, e.text);
}

static void bad(const char *text, const char *words)
{
	struct hm_err e = {0};

	assert_int_equal(hm_redis_url_parse(hm_str_c(text), &u, &e), HM_ECONFIG);
	if (!strstr(e.text, words))
		fail_msg("%s: \"%s\" lacks \"%s\"", text, e.text, words);
	assert_null(strstr(e.text, "hunter2"));
}

static void test_url(void **state)
{
	good("redis://localhost");
	assert_string_equal(u.seeds[0].host, "localhost");
	assert_int_equal(u.seeds[0].port, 6379);
	assert_false(u.tls || u.cluster);
	good("redis://u%73er:p%40ss%3A@10.0.0.1:7000/5");
	assert_string_equal(u.username, "user");
	assert_string_equal(u.password, "p@ss:");
	assert_int_equal(u.seeds[0].port, 7000);
	assert_int_equal(u.db, 5);
	good("redis://:only@h/");
	assert_string_equal(u.username, "");
	assert_string_equal(u.password, "only");
	good("redis://user:a@b@h"); /* a raw '@' is understood */
	assert_string_equal(u.password, "a@b");
	good("rediss://[2001:db8::1]:7001");
	assert_true(u.tls);
	assert_string_equal(u.seeds[0].host, "2001:db8::1");
	assert_int_equal(u.seeds[0].port, 7001);
	good("unix:///run/redis/a@b.sock?db=2");
	assert_string_equal(u.unix_path, "/run/redis/a@b.sock");
	assert_int_equal(u.db, 2);
	good("unix://user:pass@/run/r.sock");
	assert_string_equal(u.unix_path, "/run/r.sock");
	assert_string_equal(u.password, "pass");
	good("redis+cluster://a,b:7001,[::1]:7002");
	assert_true(u.cluster);
	assert_int_equal(u.nseeds, 3);
	assert_int_equal(u.seeds[1].port, 7001);
	assert_string_equal(u.seeds[2].host, "::1");
	good("rediss+cluster://x:hunter2@a/0");
	assert_true(u.cluster && u.tls);
}

static void test_bad_url(void **state)
{
	bad("", "must start with");
	bad("localhost:6379", "must start with");
	bad("http://x", "must start with");
	bad("redis://", "host name is missing");
	bad("redis://:7000", "host name is missing");
	bad("redis://u:hunter2@", "host name is missing");
	bad("redis://h:0", "not a port");
	bad("redis://h:65536", "not a port");
	bad("redis://h:x", "not a port");
	bad("redis://h:", "not a port");
	bad("redis://::1:7000", "[brackets]");
	bad("redis://[::1", "without ']'");
	bad("redis://[::1]7", "expected ':'");
	bad("redis://h/x", "not a database");
	bad("redis://h/-1", "not a database");
	bad("redis://a b", "not a host name");
	bad("redis://a,b", "redis+cluster://");
	bad("rediss://a,b", "rediss+cluster://");
	bad("redis+cluster://a,b/1", "only database 0");
	bad("redis+cluster://a,,b", "host name is missing");
	bad("redis+cluster://a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", "more than 16");
	bad("redis://u:hunter2%@h", "percent-encoded");
	bad("redis://u:hunter2%0@h", "percent-encoded");
	bad("redis://u:hunter2%00@h", "percent-encoded");
	bad("redis://u:hunter2/x@h", "%2F");
	bad("unix://run/redis.sock", "absolute path");
	bad("unix://", "absolute path");
	bad("unix:///s?db=x", "not a database");
	bad("unix:///"
	    "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345"
	    "6789"
	    "01234567890",
	    "the system allows 107");
}

static void test_slot(void **state)
{
	assert_int_equal(hm_redis_slot(HM_STR("123456789")), 0x31c3 % 16384); /* cluster specification */
	assert_int_equal(hm_redis_slot(HM_STR("")), 0);
	assert_int_equal(hm_redis_slot(HM_STR("foo")), 12182);
	assert_int_equal(hm_redis_slot(HM_STR("{user1000}.following")), hm_redis_slot(HM_STR("user1000")));
	assert_int_equal(hm_redis_slot(HM_STR("{user1000}.followers")), hm_redis_slot(HM_STR("user1000")));
	assert_int_equal(hm_redis_slot(HM_STR("foo{{bar}}zap")), hm_redis_slot(HM_STR("{bar")));
	assert_int_equal(hm_redis_slot(HM_STR("foo{bar}{zap}")), hm_redis_slot(HM_STR("bar")));
	/* empty or unclosed braces are no tag: known values of the whole key */
	assert_int_not_equal(hm_redis_slot(HM_STR("foo{}{bar}")), hm_redis_slot(HM_STR("bar")));
	assert_int_not_equal(hm_redis_slot(HM_STR("foo{bar")), hm_redis_slot(HM_STR("bar")));
}

/* -- parser ---------------------------------------------------------------------- */

static const char mixed[] = "*5\r\n$3\r\nabc\r\n:-42\r\n$-1\r\n*0\r\n*2\r\n+fine\r\n-ERR bad\r\n";

static void check_mixed(const struct hm_reply *r)
{
	const struct hm_reply *in;

	assert_int_equal(r->type, HM_REPLY_ARRAY);
	assert_int_equal(r->n, 5);
	assert_true(hm_str_is(r->v[0].s, "abc"));
	assert_int_equal(r->v[1].type, HM_REPLY_INT);
	assert_int_equal(r->v[1].i, -42);
	assert_int_equal(r->v[2].type, HM_REPLY_NIL);
	assert_int_equal(r->v[3].type, HM_REPLY_ARRAY);
	assert_int_equal(r->v[3].n, 0);
	in = hm_reply_at(r, 4);
	assert_true(hm_reply_is(hm_reply_at(in, 0), "fine"));
	assert_int_equal(hm_reply_at(in, 1)->type, HM_REPLY_ERROR);
	assert_null(hm_reply_at(in, 2));
	assert_null(hm_reply_at(hm_reply_at(r, 0), 0));
	assert_null(hm_reply_at(NULL, 0));
	assert_false(hm_reply_is(NULL, "OK"));
}

static void test_reader(void **state)
{
	struct hm_reader rd;
	struct hm_err e = {0};
	const struct hm_reply *r;

	assert_int_equal(hm_reader_init(&rd, 0), 0);
	assert_int_equal(hm_reader_next(&rd, &r, &e), 0);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i + 1 < sizeof(mixed) - 1; i++) { /* byte by byte */
			assert_int_equal(hm_reader_feed(&rd, mixed + i, 1, &e), 0);
			assert_int_equal(hm_reader_next(&rd, &r, &e), 0);
		}
		assert_int_equal(hm_reader_feed(&rd, mixed + sizeof(mixed) - 2, 1, &e), 0);
		assert_int_equal(hm_reader_next(&rd, &r, &e), 1);
		check_mixed(r);
		assert_int_equal(hm_reader_next(&rd, &r, &e), 0);
	}
	/* cut at each offset, three in a row */
	for (size_t cut = 0; cut < sizeof(mixed) - 1; cut++) {
		unsigned got = 0;

		for (int i = 0; i < 3; i++) {
			assert_int_equal(hm_reader_feed(&rd, mixed, cut, &e), 0);
			while (hm_reader_next(&rd, &r, &e) > 0)
				got++;
			assert_int_equal(hm_reader_feed(&rd, mixed + cut, sizeof(mixed) - 1 - cut, &e), 0);
			while (hm_reader_next(&rd, &r, &e) > 0) {
				check_mixed(r);
				got++;
			}
		}
		assert_int_equal(got, 3);
	}
	/* a half reply is forgotten with its connection */
	assert_int_equal(hm_reader_feed(&rd, "*3\r\n:1\r\n", 8, &e), 0);
	assert_int_equal(hm_reader_next(&rd, &r, &e), 0);
	assert_int_equal(hm_reader_reset(&rd), 0);
	assert_int_equal(hm_reader_feed(&rd, ":7\r\n", 4, &e), 0);
	assert_int_equal(hm_reader_next(&rd, &r, &e), 1);
	assert_int_equal(r->i, 7);
	hm_reader_fini(&rd);
}

static int outcome_of(const char *bytes, size_t n, size_t max, struct hm_err *e)
{
	struct hm_reader rd;
	const struct hm_reply *r;
	int rc = 0;

	assert_int_equal(hm_reader_init(&rd, max), 0);
	for (size_t off = 0; off < n && rc == 0; off += 4096) {
		rc = hm_reader_feed(&rd, bytes + off, hm_min(n - off, (size_t)4096), e);
		if (rc == 0)
			rc = hm_reader_next(&rd, &r, e);
	}
	hm_reader_fini(&rd);
	return rc;
}

static void test_reader_limits(void **state)
{
	struct hm_err e = {0};
	size_t n = 300000;
	char *p = malloc(n);

	assert_non_null(p);
	assert_int_equal(outcome_of("HTTP/1.1 400 Bad Request\r\n", 26, 0, &e), HM_EPROTO);
	assert_int_equal(outcome_of("%1\r\n", 4, 0, &e), HM_EPROTO); /* RESP3 */
	assert_int_equal(outcome_of("$-2\r\n", 5, 0, &e), HM_EPROTO);
	assert_int_equal(outcome_of("*-2\r\n", 5, 0, &e), HM_EPROTO);
	assert_int_equal(outcome_of("*2147483647\r\n", 13, 0, &e), HM_ELIMIT);
	assert_int_equal(outcome_of("$99999999999999999999\r\n", 23, 0, &e), HM_EPROTO);
	memset(p, 'x', n);
	p[0] = '+'; /* a line without an end */
	assert_int_equal(outcome_of(p, n, 0, &e), HM_EPROTO);
	p[0] = '$';
	assert_true(outcome_of(p, n, 0, &e) < 0);
	memcpy(p, "$900000000\r\n", 12); /* announced, and more comes than allowed */
	assert_int_equal(outcome_of(p, n, 200000, &e), HM_ELIMIT);
	memcpy(p, "$299000\r\n", 9);
	p[9 + 299000] = '\r';
	p[9 + 299001] = '\n';
	assert_int_equal(outcome_of(p, n, 0, &e), 1);
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_url),	      cmocka_unit_test(test_bad_url),
		cmocka_unit_test(test_slot),	      cmocka_unit_test(test_reader),
		cmocka_unit_test(test_reader_limits),
	};

	return cmocka_run_group_tests_name("redis/url", tests, NULL, NULL);
}
