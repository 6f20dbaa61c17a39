/* What receipts write into a record's reason: each event once, readable, whatever stood there before. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "ingest/receipts.h"

#define AT 1767323045678 /* 2026-01-02T03:04:05.678Z */

static void is(const char *reason, enum hm_receipt event, const char *channel, bool new_,
	       const char *expected)
{
	struct hm_buf b;

	hm_buf_init(&b, 4096);
	assert_int_equal(hm_receipt_add_note(&b, hm_str_c(reason), event, AT, hm_str_c(channel)), new_);
	assert_string_equal(hm_buf_cstr(&b), expected);
	hm_buf_fini(&b);
}

static void test_notes(void **state)
{
	is("", HM_RC_DELIVERED, "push-main", true, "delivered 2026-01-02T03:04:05.678Z by push-main");
	is("", HM_RC_READ, "", true, "read 2026-01-02T03:04:05.678Z");
	is("delivered 2026-01-01T00:00:00.000Z by a", HM_RC_READ, "b", true,
	   "delivered 2026-01-01T00:00:00.000Z by a; read 2026-01-02T03:04:05.678Z by b");
	is("sent by a; then: no address", HM_RC_FAILED, "a", true,
	   "sent by a; then: no address; failed 2026-01-02T03:04:05.678Z by a");
}

static void test_an_event_stands_there_once(void **state)
{
	const char *both = "delivered 2026-01-01T00:00:00.000Z by a; read 2026-01-01T00:00:01.000Z";

	is(both, HM_RC_DELIVERED, "b", false, both);
	is(both, HM_RC_READ, "b", false, both);
	is(both, HM_RC_CLICKED, "", true,
	   "delivered 2026-01-01T00:00:00.000Z by a; read 2026-01-01T00:00:01.000Z; clicked "
	   "2026-01-02T03:04:05.678Z");
}

/* A sentence that begins like a note is none. */
static void test_what_is_no_note(void **state)
{
	is("read the manual", HM_RC_READ, "", true, "read the manual; read 2026-01-02T03:04:05.678Z");
	is("failed", HM_RC_FAILED, "", true, "failed; failed 2026-01-02T03:04:05.678Z");
	is("delivered 2026", HM_RC_DELIVERED, "", true, "delivered 2026; delivered 2026-01-02T03:04:05.678Z");
}

static void test_levels(void **state)
{
	assert_true(hm_receipt_level(HM_RC_FAILED) == 0);
	assert_true(hm_receipt_level(HM_RC_DELIVERED) < hm_receipt_level(HM_RC_READ));
	assert_true(hm_receipt_level(HM_RC_READ) < hm_receipt_level(HM_RC_CLICKED));
	for (int r = 0; r < HM_RC_COUNT; r++)
		assert_int_equal(hm_receipt_find(hm_str_c(hm_receipt_name((enum hm_receipt)r))), r);
	assert_int_equal(hm_receipt_find(HM_STR("opened")), -1);
}

static void test_where_waits_and_receipts_meet(void **state)
{
	struct hm_ulid id;
	char key[160], same[160];
	size_t n;

	assert_true(hm_ulid_parse(HM_STR("01KB00000000000000000000A0"), &id));
	n = hm_receipt_wait_key(HM_STR("hm"), &id, 16, key, sizeof(key));
	assert_int_equal(n, strlen(key));
	(void)hm_receipt_wait_key(HM_STR("hm"), &id, 16, same, sizeof(same));
	assert_string_equal(key, same);
	assert_non_null(strstr(key, "}:wait:01KB00000000000000000000A0"));
	assert_memory_equal(key, "{hm:", 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_notes),
		cmocka_unit_test(test_an_event_stands_there_once),
		cmocka_unit_test(test_what_is_no_note),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_where_waits_and_receipts_meet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
