/*
 * test_h2.c - HTTP/2: streams, limits, refusals, drains, and what a lost connection means
 */
#include "harness.h"
#include "wire/wire_int.h"

#define N 300

static void test_ok_tls(void **state)
{
	struct peer p = {.kind = PEER_H2, .cert = certs.server};
	struct shot s;

	peer_start(&p);
	shot_go(&s, origin_for(&p, HM_HTTP_2), "/ok");
	assert_answer(&s, 200, "ok");
	assert_true(hm_str_is(hm_call_header(&s.call, "x-method"), "POST"));
	assert_true(hm_str_is(hm_call_header(&s.call, "server"), "peer"));
	assert_null(hm_call_header(&s.call, "absent").p);
	shot_free(&s);
	peer_stop(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ok_tls, setup, teardown),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
