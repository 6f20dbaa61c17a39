/*
 * Any bytes as an entry of the lists: as JSON of the API and of files, and as a field and a value of the hash. What is
 * accepted comes back the same after it was written, in either form.
 */
#include "base/json.h"
#include "gates/supp_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const struct hm_suppress_entry *a, const struct hm_suppress_entry *b, bool times)
{
	hm_assert(a->kind == b->kind && a->medium == b->medium && hm_str_eq(a->category, b->category));
	hm_assert(hm_str_eq(a->reason, b->reason) && hm_str_eq(a->proof, b->proof) &&
		  hm_str_eq(a->by, b->by));
	/* an e-mail address comes back in lower case */
	hm_assert(hm_str_ieq(a->subject, b->subject) &&
		  hm_person_slot(a->subject) == hm_person_slot(b->subject));
	if (times)
		hm_assert(a->at_ms == b->at_ms && a->until_ms == b->until_ms && a->since_ms == b->since_ms);
}

static void stored(const struct hm_suppress_entry *x)
{
	struct hm_suppress_entry y;
	struct hm_arena a;
	struct hm_buf f, v;
	struct hm_err e;

	hm_arena_init(&a, NULL, 0);
	hm_buf_init(&f, 1u << 16);
	hm_buf_init(&v, 1u << 16);
	hm_suppress_field(x, &f);
	hm_suppress_value(x, &v);
	hm_assert(f.err == 0 && v.err == 0);
	hm_assert(hm_suppress_parse(hm_buf_str(&f), hm_buf_str(&v), &a, &y, &e) == 0);
	same(x, &y, true);
	hm_buf_fini(&f);
	hm_buf_fini(&v);
	hm_arena_fini(&a);
}

static void as_json(struct hm_str json, bool consents, bool again)
{
	struct hm_suppress_entry x, y;
	msgpack_zone zone;
	msgpack_object o;
	struct hm_buf mp, out;
	struct hm_err e = {0};

	hm_buf_init(&mp, 1u << 20);
	hm_buf_init(&out, 1u << 20);
	hm_assert(msgpack_zone_init(&zone, 4096));
	if (hm_json_to_msgpack(json, &mp, &e) || hm_msgpack_decode(&zone, hm_buf_str(&mp), &o, &e))
		goto out;
	if (hm_suppress_read(&o, consents, false, 1700000000000u, &x, &e)) {
		hm_assert(e.code == HM_EINVAL && e.text[0]);
		goto out;
	}
	stored(&x);
	hm_suppress_put_csv(&x, &out);
	hm_assert(out.err == 0 && hm_str_ends(hm_buf_str(&out), HM_STR("\r\n")));
	hm_buf_reset(&out);
	hm_suppress_put_json(&x, &out);
	hm_assert(out.err == 0);
	/* times beyond the year 9999 have no RFC 3339 text */
	if (again && x.at_ms < 253402300800000u && x.until_ms < 253402300800000u &&
	    x.since_ms < 253402300800000u) {
		msgpack_zone zone2;
		struct hm_buf mp2;

		hm_buf_init(&mp2, 1u << 20);
		hm_assert(msgpack_zone_init(&zone2, 4096));
		hm_assert(hm_json_to_msgpack(hm_buf_str(&out), &mp2, &e) == 0);
		hm_assert(hm_msgpack_decode(&zone2, hm_buf_str(&mp2), &o, &e) == 0);
		hm_assert(hm_suppress_read(&o, consents, false, 1, &y, &e) == 0);
		same(&x, &y, true);
		msgpack_zone_destroy(&zone2);
		hm_buf_fini(&mp2);
	}
out:
	msgpack_zone_destroy(&zone);
	hm_buf_fini(&mp);
	hm_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hm_str all = hm_str_n((const char *)data, size);
	ptrdiff_t cut = hm_str_chr(all, '\n');
	struct hm_suppress_entry x;
	struct hm_arena a;
	struct hm_err e;

	if (size > 65536)
		return 0;
	as_json(all, false, true);
	as_json(all, true, true);
	if (cut < 0)
		return 0;
	hm_arena_init(&a, NULL, 0);
	if (hm_suppress_parse(hm_str_n(all.p, (size_t)cut), hm_str_n(all.p + cut + 1, size - (size_t)cut - 1),
			      &a, &x, &e) == 0)
		hm_assert(x.subject.len > 0);
	hm_arena_fini(&a);
	return 0;
}
