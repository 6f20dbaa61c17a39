/* A steady stream of submissions allocates nothing: counts malloc in the whole process. Not under sanitizers. */
#include "serve.h"

#if defined(HM_ASAN) || defined(HM_TSAN) || !defined(__GLIBC__)
int main(void)
{
	return 0; /* the sanitizers have a malloc of their own */
}
#else
#include "../malloc_count.h"

static struct serve srv;

#define DEPTH 16 /* pipelined */

static void rounds(struct client *c, const char *text, size_t n, int count)
{
	for (int i = 0; i < count; i++) {
		for (int k = 0; k < DEPTH; k++)
			say_n(c, text, n);
		for (int k = 0; k < DEPTH; k++)
			assert_int_equal(hear(c)->status, 202);
	}
}

static void test_no_malloc_per_message(void **state)
{
	static const char msg[] =
		"{\"to\":\"device-token-0123456789abcdef\",\"channel\":\"apns-main\",\"template\":\"order\","
		"\"data\":{\"order\":\"A-17\",\"total\":12.50},\"campaign\":\"spring\",\"lane\":\"high\"}";
	struct client *c;
	char text[1000];
	uint64_t before;
	int n;

	serve_start(&srv, NULL);
	c = dial(&srv);
	n = snprintf(text, sizeof(text),
		     "POST /v1/messages HTTP/1.1\r\nHost: x\r\n" JSON_TYPE "Content-Length: %zu\r\n\r\n%s",
		     strlen(msg), msg);
	rounds(c, text, (size_t)n, 300); /* slabs and buffers find their size */
	before = __atomic_load_n(&mallocs, __ATOMIC_RELAXED);
	rounds(c, text, (size_t)n, 500);
	/* 8000 messages in 500 rounds; the ledger's thread may turn a page with a batch, and how many batches there are
	 * depends on how fast the machine is: at most one a round. A malloc per message would be 8000. */
	assert_in_range(__atomic_load_n(&mallocs, __ATOMIC_RELAXED) - before, 0, 600);
	hang_up(c);
	serve_stop(&srv);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_malloc_per_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
