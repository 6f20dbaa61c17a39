/* Any bytes as a queue entry: decoded or refused with a sentence; what is decoded can be read and written again. */
#include "base/json.h"
#include "ingest/job.h"
#include "ingest/job_encode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hm_job_spec spec, again;
	struct hm_err e;
	struct hm_buf out;
	msgpack_zone zone, zone2;

	if (!msgpack_zone_init(&zone, 4096))
		return 0;
	if (hm_job_decode(hm_str_n((const char *)data, size), &zone, &spec, &e) != 0) {
		hm_assert(e.code < 0 && e.text[0]);
		goto out;
	}
	for (uint32_t i = 0; i < spec.n_rcpts; i++) {
		struct hm_rcpt r;

		hm_job_rcpt(&spec, i, &r);
		hm_assert(r.addr.len || r.addrs || r.user.len);
		(void)hm_rcpt_address(&r, HM_STR("c"), HM_MED_SMS);
	}
	/* id, acc, n0 and att aside, an encoded job decodes to the same policy */
	hm_buf_init(&out, 1u << 24);
	hm_job_put_entry(&out, &spec, &spec.id, HM_STR_NULL, 0, spec.n_rcpts);
	hm_assert(out.err == 0);
	hm_assert(msgpack_zone_init(&zone2, 4096));
	hm_assert(hm_job_decode(hm_buf_str(&out), &zone2, &again, &e) == 0);
	hm_assert(again.n_rcpts == spec.n_rcpts && hm_str_eq(again.channel, spec.channel));
	hm_assert(again.at_ms == spec.at_ms && again.render == spec.render);
	msgpack_zone_destroy(&zone2);
	hm_buf_fini(&out);
out:
	msgpack_zone_destroy(&zone);
	return 0;
}
