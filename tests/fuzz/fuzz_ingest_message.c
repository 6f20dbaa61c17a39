/* Any JSON lines as API messages: refused with a sentence, or packed into entries that decode again. */
#include "base/json.h"
#include "ingest/job_encode.h"

static uint64_t placed, packed;

static void on_packed(void *arg, const struct hm_packed *p)
{
	struct hm_job_spec spec;
	msgpack_zone zone;
	struct hm_err e;

	hm_assert(p->entry.p && msgpack_zone_init(&zone, 4096));
	if (hm_job_decode(p->entry, &zone, &spec, &e))
		hm_panic(__FILE__, __LINE__, __func__, "%s", e.text);
	hm_assert(spec.n_rcpts == p->n && hm_ulid_eq(&spec.id, &p->id));
	packed += p->n;
	msgpack_zone_destroy(&zone);
}

static void on_placed(void *arg, const struct hm_packed_at *at)
{
	placed += at->n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hm_packer_opts o = {
		.max_rcpts = 3, .max_entry_bytes = 600, .max_held_bytes = 1500, .emit = on_packed};
	struct hm_str rest = hm_str_n((const char *)data, size), line;
	struct hm_packer *p = hm_packer_new(&o);
	msgpack_zone zone;
	struct hm_buf mp;

	if (!p || !msgpack_zone_init(&zone, 4096))
		return 0;
	hm_buf_init(&mp, 1u << 20);
	placed = packed = 0;
	while (hm_str_split(&rest, '\n', &line)) {
		struct hm_job_spec spec;
		msgpack_object root;
		struct hm_err e = {0};

		hm_buf_reset(&mp);
		msgpack_zone_clear(&zone);
		if (hm_json_to_msgpack(line, &mp, &e) ||
		    hm_msgpack_decode(&zone, hm_buf_str(&mp), &root, &e) ||
		    hm_job_read_message(&root, &spec, &e) ||
		    hm_packer_put(p, &spec, 1767323045000, on_placed, NULL, &e))
			hm_assert(e.code < 0 && e.text[0]);
	}
	hm_packer_flush(p);
	hm_assert(placed == packed);
	hm_packer_free(p);
	hm_buf_fini(&mp);
	msgpack_zone_destroy(&zone);
	return 0;
}
