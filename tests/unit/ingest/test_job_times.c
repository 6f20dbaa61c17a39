/* Keys about time: read, written back the same, refused with a sentence that names the key. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/json.h"
#include "base/tz.h"
#include "ingest/job_encode.h"

struct row {
	const char *key, *value;
	bool good;
	const char *word; /* of the refusal */
};
static const struct row rows[] = {
	{"at_local", "\"2026-12-01T09:00\"", true, NULL},
	{"at_local", "\"2026-12-01 09:00:30\"", true, NULL},
	{"at_local", "\"2028-02-29T00:00\"", true, NULL},
	{"at_local", "\"2026-02-29T00:00\"", false, "at_local"},
	{"at_local", "\"2026-12-01T24:00\"", false, "at_local"},
	{"at_local", "\"2026-12-01T09:00Z\"", false, "at_local"},
	{"at_local", "1767323045000", false, "at_local"},
	{"local_past", "\"next_day\"", true, NULL},
	{"local_past", "\"skip\"", true, NULL},
	{"local_past", "\"yesterday\"", false, "local_past"},
	{"over", "\"2h\"", true, NULL},
	{"over", "7200000", true, NULL},
	{"over", "\"8d\"", false, "over"},
	{"over", "\"soon\"", false, "over"},
	{"res", "{}", false, "res"}, /* only Hermod writes it */
};

static void keys_are_read_and_written_back(void **state)
{
	for (size_t i = 0; i < hm_countof(rows); i++) {
		struct hm_job_spec spec, back;
		struct hm_buf json, mp, entry;
		msgpack_zone zone;
		msgpack_object root;
		struct hm_ulid id;
		struct hm_err e = {0};
		int rc;

		hm_buf_init(&json, 4096);
		hm_buf_init(&mp, 4096);
		hm_buf_init(&entry, 4096);
		assert_true(msgpack_zone_init(&zone, 8192));
		hm_buf_printf(&json,
			      "{\"channel\":\"c\",\"to\":\"x\",\"content\":{\"body\":\"b\"},\"%s\":%s}",
			      rows[i].key, rows[i].value);
		assert_int_equal(hm_json_to_msgpack(hm_buf_str(&json), &mp, &e), 0);
		assert_int_equal(hm_msgpack_decode(&zone, hm_buf_str(&mp), &root, &e), 0);
		rc = hm_job_read_message(&root, &spec, &e);
		if ((rc == 0) != rows[i].good)
			fail_msg("%s: %s: %d %s", rows[i].key, rows[i].value, rc, rc ? e.text : "");
		if (rc == 0) {
			hm_ulid_new(&id, 1700000000000u);
			spec.res = (struct hm_job_resume){.there = true,
							  .job = id,
							  .held = true,
							  .accepted_ms = 5,
							  .chan = HM_STR("c"),
							  .pos = 2,
							  .chan_attempts = 3};
			spec.attempts = 4;
			hm_job_put_entry(&entry, &spec, &id, HM_STR_NULL, 0, 1);
			assert_int_equal(hm_job_decode(hm_buf_str(&entry), &zone, &back, &e), 0);
			assert_true(hm_str_eq(back.at_local, spec.at_local) && back.local_s == spec.local_s);
			assert_int_equal(back.local_past, spec.local_past);
			assert_int_equal(back.over_ms, spec.over_ms);
			assert_int_equal(back.attempts, 4);
			assert_true(back.res.there && back.res.held && back.res.accepted_ms == 5 &&
				    back.res.pos == 2 && back.res.chan_attempts == 3 &&
				    hm_str_is(back.res.chan, "c") && hm_ulid_eq(&back.res.job, &id));
		} else {
			assert_non_null(strstr(e.text, rows[i].word));
		}
		msgpack_zone_destroy(&zone);
		hm_buf_fini(&json);
		hm_buf_fini(&mp);
		hm_buf_fini(&entry);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(keys_are_read_and_written_back)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
