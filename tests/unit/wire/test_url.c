/* test_url.c - URLs of providers: what is taken, what is refused and why */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "wire/wire.h"

static const struct {
	const char *url;
	bool tls;
	const char *host;
	uint16_t port;
	const char *path;
} good[] = {
	{"https://api.push.apple.com", true, "api.push.apple.com", 443, "/"},
	{"https://api.push.apple.com/", true, "api.push.apple.com", 443, "/"},
	{"https://api.push.apple.com/3/device/abc?x=1&y=%20", true, "api.push.apple.com", 443,
	 "/3/device/abc?x=1&y=%20"},
	{"http://127.0.0.1:8080/hook", false, "127.0.0.1", 8080, "/hook"},
	{"HTTPS://Example.COM:65535/a", true, "Example.COM", 65535, "/a"},
	{"http://[::1]:9/x", false, "::1", 9, "/x"},
	{"https://[2001:db8::1]/x", true, "2001:db8::1", 443, "/x"},
	{"https://a_b.example/x#top", true, "a_b.example", 443, "/x"},
	{"https://h#top", true, "h", 443, "/"},
	{"https://h/@:?/#", true, "h", 443, "/@:?/"},
};

static const struct {
	const char *url, *says;
} bad[] = {
	{"", "http"},
	{"ftp://h/", "http"},
	{"https:/h/", "http"},
	{"//h/", "http"},
	{"https://", "no host"},
	{"https:///path", "no host"},
	{"https://:443/", "no host"},
	{"https://h:0/", "port"},
	{"https://h:65536/", "port"},
	{"https://h:/", "port"},
	{"https://h:80a/", "port"},
	{"https://h:-1/", "port"},
	{"https://user@h/", "'@'"},
	{"https://user:pw@h:1/", "'@'"},
	{"https://h?x=1", "no path"},
	{"https://h h/", "forbidden"},
	{"https://h\\evil/", "forbidden"},
	{"https://b\xc3\xbc"
	 "cher.example/",
	 "xn--"},
	{"https://[::1/", "']'"},
	{"https://[::1]x/", "followed"},
	{"https://[hello]/", "IPv6"},
	{"https://[]/", "IPv6"},
	{"https://h/a b", "percent"},
	{"https://h/\xc3\xbc", "percent"},
	{"https://h/\r\nx", "percent"},
};

static void test_good(void **state)
{
	for (size_t i = 0; i < hm_countof(good); i++) {
		struct hm_origin_opts o = {0};
		struct hm_str path;
		struct hm_err e = {0};

		if (hm_wire_parse_url(hm_str_c(good[i].url), &o, &path, &e) < 0)
			fail_msg("%s: %s", good[i].url, e.text);
		assert_int_equal(o.tls, good[i].tls);
		assert_true(hm_str_is(o.host, good[i].host));
		assert_int_equal(o.port, good[i].port);
		assert_true(hm_str_is(path, good[i].path));
		assert_int_equal(hm_wire_parse_url(hm_str_c(good[i].url), &o, NULL, NULL), 0);
	}
}

static void test_bad(void **state)
{
	for (size_t i = 0; i < hm_countof(bad); i++) {
		struct hm_origin_opts o = {0};
		struct hm_str path;
		struct hm_err e = {0};

		if (hm_wire_parse_url(hm_str_c(bad[i].url), &o, &path, &e) != HM_EINVAL)
			fail_msg("'%s' was taken", bad[i].url);
		if (strstr(e.text, bad[i].says) == NULL)
			fail_msg("'%s': '%s' does not say '%s'", bad[i].url, e.text, bad[i].says);
	}
}

static void test_long_host(void **state)
{
	struct hm_origin_opts o = {0};
	char url[600] = "https://";
	struct hm_err e = {0};

	memset(url + 8, 'a', 254);
	assert_int_equal(hm_wire_parse_url(hm_str_c(url), &o, NULL, &e), HM_EINVAL);
	url[8 + 253] = '\0';
	assert_int_equal(hm_wire_parse_url(hm_str_c(url), &o, NULL, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_long_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
