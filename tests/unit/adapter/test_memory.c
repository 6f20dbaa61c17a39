/*
 * test_memory.c - memory ends at any point of a build: the request is whole, or there is none
 */
#include "kit.h"

#include "base/slab.h"

#define BATTERY HM_TEST_DIR "/battery/adapters/"
#define BLOCK	512

static struct kit k;

static int setup(void **state)
{
	kit_init(&k);
	return 0;
}
static int teardown(void **state)
{
	kit_fini(&k);
	return 0;
}

static struct hm_str file_of(const struct hm_adapter *ad, const char *ending, const char *what,
			     const char *by)
{
	struct hm_str text;
	struct hm_buf b;
	ptrdiff_t at;
	char path[600];

	snprintf(path, sizeof(path), BATTERY "%.*s.%s", HM_STRF(ad->name), ending);
	text = kit_file(&k, path);
	hm_buf_init_arena(&b, &k.a, 1 << 20);
	while ((at = hm_str_find(text, hm_str_c(what))) >= 0) {
		hm_buf_put(&b, text.p, (size_t)at);
		hm_buf_puts(&b, hm_str_c(by));
		text = hm_str_n(text.p + at + strlen(what), text.len - (size_t)at - strlen(what));
	}
	hm_buf_puts(&b, text);
	return hm_str_n(hm_buf_cstr(&b), b.len);
}

static struct hm_str written(const struct hm_call *c, struct hm_arena *a)
{
	struct hm_buf b;

	hm_buf_init_arena(&b, a, 8 << 20);
	hm_buf_printf(&b, "%.*s %.*s\n", HM_STRF(c->method), HM_STRF(c->path));
	for (size_t i = 0; i < c->n_headers; i++)
		hm_buf_printf(&b, "%.*s: %.*s\n", HM_STRF(c->headers[i].name), HM_STRF(c->headers[i].value));
	hm_buf_puts(&b, c->body);
	return hm_buf_str(&b);
}

/* Signatures of some kinds are new each time: then lengths have to do. */
static bool same(struct hm_str a, struct hm_str b, struct hm_str again)
{
	return hm_str_eq(a, again) ? hm_str_eq(a, b) : a.len + 8 > b.len && b.len + 8 > a.len;
}

static void test_whole_or_nothing(void **state)
{
	size_t refused = 0, whole = 0;

	for (size_t i = 0; i < k.adapters->n; i++) {
		const struct hm_adapter *ad = k.adapters->v[i];
		struct hm_str reference, again;
		struct hm_origin_opts origin;
		struct hm_call call;
		unsigned in_a_row = 0;

		kit_need_channel(&k, file_of(ad, "channel", "@VECTORS@", VECTORS).p);
		kit_need_build(&k, file_of(ad, "message", "@", "text").p);
		k.in.nonce = HM_STR("0123456789abcdef0123456789abcdef");
		for (int n = 0; n < 2; n++) {
			struct hm_str *r = n ? &again : &reference;

			memset(&call, 0, sizeof(call));
			assert_int_equal(hm_channel_build(&k.in, &k.a, &call, &origin, &k.outcome, &k.err),
					 0);
			*r = written(&call, &k.a);
		}
		for (size_t limit = BLOCK; in_a_row < 4 && limit < (1u << 20); limit += BLOCK) {
			struct hm_slab pool;
			struct hm_arena a;
			int rc;

			hm_slab_init(&pool, "test", BLOCK, 0);
			hm_arena_init(&a, &pool, limit);
			memset(&call, 0, sizeof(call));
			rc = hm_channel_build(&k.in, &a, &call, &origin, &k.outcome, &k.err);
			if (rc != 0) {
				if (rc != HM_ENOMEM || k.outcome != HM_OUT_RETRY)
					fail_msg("%.*s, %zu bytes: %d %s", HM_STRF(ad->name), limit, rc,
						 k.err.text);
				refused++;
				in_a_row = 0;
			} else {
				if (!same(reference, written(&call, &k.a), again))
					fail_msg("%.*s, %zu bytes: another request:\n%.*s\n-- instead "
						 "of\n%.*s",
						 HM_STRF(ad->name), limit, HM_STRF(written(&call, &k.a)),
						 HM_STRF(reference));
				whole++;
				in_a_row++;
			}
			hm_arena_fini(&a);
			hm_slab_fini(&pool);
		}
		assert_int_equal(in_a_row, 4);
	}
	print_message("%zu adapters, %zu builds without enough memory\n", k.adapters->n, refused);
	assert_true(refused > k.adapters->n && whole >= 4 * k.adapters->n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_whole_or_nothing, setup, teardown)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
