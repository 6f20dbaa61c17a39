/* Log lines, levels, storms. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

static char path[] = "/tmp/hm_log_XXXXXX";
static char text[1 << 20];

static int setup(void **state)
{
	struct hm_err e;
	int fd = mkstemp(path);

	if (fd < 0)
		return -1;
	close(fd);
	hm_clock_freeze_wall_ms(1767323045678);
	return hm_log_open(path, HM_LOG_HUMAN, &e);
}

static int teardown(void **state)
{
	return unlink(path);
}

/* What was written since the last call. */
static const char *written(void)
{
	static size_t seen;
	FILE *f = fopen(path, "r");
	size_t n;

	assert_non_null(f);
	assert_int_equal(fseek(f, (long)seen, SEEK_SET), 0);
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	seen += n;
	return text;
}

static size_t lines(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += *s == '\n';
	return n;
}

static void as(enum hm_log_format fmt)
{
	struct hm_err e;

	assert_int_equal(hm_log_open(path, fmt, &e), 0);
}

static void test_human(void **state)
{
	struct hm_err e = {.text = "it broke"};

	as(HM_LOG_HUMAN);
	HM_INFO(REDIS, "connected", HM_S("addr", "127.0.0.1:1"), HM_U("ms", 3), HM_I("d", -1),
		HM_B("ok", true), HM_D("f", 0.5), HM_SECRET("password", "x"), HM_E(&e));
	assert_string_equal(written(),
			    "2026-01-02T03:04:05.678Z info  redis    connected addr=127.0.0.1:1 ms=3 d=-1 "
			    "ok=true f=0.5 password=*** error=\"it broke\"\n");
	HM_WARN(CORE, "no fields");
	assert_string_equal(written(), "2026-01-02T03:04:05.678Z warn  core     no fields\n");
	HM_INFO(CORE, "hostile", HM_S("v", "a\nlevel=error \x1b[31m\"\\\xff"), HM_S("empty", ""));
	assert_string_equal(written(), "2026-01-02T03:04:05.678Z info  core     hostile "
				       "v=\"a\\nlevel=error \\u001b[31m\\\"\\\\\xef\xbf\xbd\" empty=\"\"\n");
}

static void test_json(void **state)
{
	struct hm_buf mp;
	struct hm_err e;

	as(HM_LOG_JSON);
	HM_ERROR(LEDGER, "event", HM_S("v", "a\n\x01\"中"), HM_D("nan", 0.0 / 0.0), HM_SECRET("s", "x"));
	assert_string_equal(written(),
			    "{\"time\":\"2026-01-02T03:04:05.678Z\",\"level\":\"error\",\"sub\":\"ledger\","
			    "\"event\":\"event\",\"v\":\"a\\n\\u0001\\\"中\",\"nan\":null,\"s\":\"***\"}\n");
	/* However long and odd, a line stays one line of JSON. */
	hm_buf_init(&mp, 1 << 20);
	for (size_t len = 0; len < 9000; len += 97) {
		static char big[9000];

		memset(big, len % 2 ? '\n' : 'x', len);
		hm_clock_advance_ms(1000); /* a new second: no folding here */
		hm_clock_freeze_wall_ms(1767323045678);
		HM_ERROR(LEDGER, "event", HM_SV("a", hm_str_n(big, len)), HM_SV("b", hm_str_n(big, len)),
			 HM_SV("c", hm_str_n(big, len)), HM_SV("d", hm_str_n(big, len)),
			 HM_SV("e", hm_str_n(big, len)), HM_U("n", len));
		hm_buf_reset(&mp);
		assert_int_equal(hm_json_to_msgpack(hm_str_c(written()), &mp, &e), 0);
		assert_int_equal(lines(text), 1);
	}
	hm_buf_fini(&mp);
	as(HM_LOG_HUMAN);
}

static void test_levels(void **state)
{
	struct hm_err e;

	HM_DEBUG(HTTP, "unseen");
	assert_string_equal(written(), "");
	assert_int_equal(hm_log_set_levels(HM_STR("warn, http=trace"), &e), 0);
	HM_INFO(REDIS, "unseen");
	HM_TRACE(HTTP, "seen");
	assert_non_null(strstr(written(), "trace http     seen"));
	assert_int_equal(lines(text), 1);
	/* A mistake changes nothing. */
	assert_int_equal(hm_log_set_levels(HM_STR("error,htp=info"), &e), HM_EINVAL);
	assert_non_null(strstr(e.text, "did you mean \"http\"?"));
	assert_int_equal(hm_log_set_levels(HM_STR("loud"), &e), HM_EINVAL);
	assert_int_equal(hm_log_levels[HM_SUB_HTTP], HM_LOG_TRACE);
	assert_int_equal(hm_log_set_levels(HM_STR("info"), &e), 0);
	assert_int_equal(hm_log_levels[HM_SUB_HTTP], HM_LOG_INFO);
}

static void storm(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		HM_WARN(WIRE, "storm", HM_U("i", i));
}

static void test_storm_folds(void **state)
{
	/* Away from the edge of a second, so that the burst falls into one. */
	hm_clock_advance_ms(2000 - hm_clock_mono_ns() / 1000000u % 1000u);
	storm(500);
	assert_int_equal(lines(written()), 10);
	hm_log_flush(false);
	assert_string_equal(written(), ""); /* not yet: the second is not over */
	hm_clock_advance_ms(1000);
	hm_clock_freeze_wall_ms(1767323045678);
	HM_INFO(CORE, "something else"); /* any line settles what is owed */
	assert_string_equal(written(), "2026-01-02T03:04:05.678Z warn  wire     repeated event=storm n=490\n"
				       "2026-01-02T03:04:05.678Z info  core     something else\n");
	storm(15);
	assert_int_equal(lines(written()), 10);
	hm_log_flush(true);
	assert_non_null(strstr(written(), "repeated event=storm n=5\n"));
	hm_log_flush(true);
	assert_string_equal(written(), "");
}

static void *other_thread(void *arg)
{
	HM_INFO(LOOP, "from another thread");
	return NULL;
}

static void test_thread_context(void **state)
{
	pthread_t t;

	hm_log_thread("shard", "1");
	hm_log_thread("role", "x");
	hm_log_thread("shard", "2");
	HM_INFO(LOOP, "hello", HM_U("a", 1));
	assert_non_null(strstr(written(), "hello shard=2 role=x a=1\n"));
	assert_int_equal(pthread_create(&t, NULL, other_thread, NULL), 0);
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_non_null(strstr(written(), "from another thread\n"));
	hm_log_thread("shard", NULL);
	hm_log_thread("role", NULL);
	HM_INFO(LOOP, "bye");
	assert_non_null(strstr(written(), "bye\n"));
}

static void test_bad_file(void **state)
{
	struct hm_err e;

	assert_int_equal(hm_log_open("/no/such/folder/x.log", HM_LOG_HUMAN, &e), HM_EIO);
	assert_non_null(strstr(e.text, "/no/such/folder/x.log cannot be opened"));
	HM_INFO(CORE, "still here");
	assert_non_null(strstr(written(), "still here"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_human),	       cmocka_unit_test(test_json),
		cmocka_unit_test(test_levels),	       cmocka_unit_test(test_storm_folds),
		cmocka_unit_test(test_thread_context), cmocka_unit_test(test_bad_file),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
