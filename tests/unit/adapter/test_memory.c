/*
 * test_memory.c - memory ends at any point of a build: the request is whole, or there is none
 */
#include "kit.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/fault.h"
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

/* The adapter's message of the battery, and what it is built into, twice. */
static void reference_of(const struct hm_adapter *ad, struct hm_str ref[2])
{
	struct hm_origin_opts origin;
	struct hm_call call;

	kit_need_channel(&k, file_of(ad, "channel", "@VECTORS@", VECTORS).p);
	kit_need_build(&k, file_of(ad, "message", "@", "text").p);
	k.in.nonce = HM_STR("0123456789abcdef0123456789abcdef");
	for (int n = 0; n < 2; n++) {
		memset(&call, 0, sizeof(call));
		assert_int_equal(hm_channel_build(&k.in, &k.a, &call, &origin, &k.outcome, &k.err), 0);
		ref[n] = written(&call, &k.a);
	}
}

/* Whoever fails on purpose says so, which is of no interest here: -> silence until disarm(). */
static int errors = -1;
static uint64_t hits; /* allocations while armed */

static void arm(size_t n)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	char spec[40];
	struct hm_err e;

	snprintf(spec, sizeof(spec), "alloc:fail@%zu", n);
	assert_int_equal(hm_fault_init(spec, &e), 0);
	errors = dup(STDERR_FILENO);
	assert_true(errors >= 0 && null >= 0);
	dup2(null, STDERR_FILENO);
	close(null);
}

static void disarm(void)
{
	struct hm_err e;

	hits = hm_fault_hits(HM_FAULT_alloc);
	assert_int_equal(hm_fault_init(NULL, &e), 0);
	if (errors >= 0) {
		dup2(errors, STDERR_FILENO);
		close(errors);
		errors = -1;
	}
}

/* Builds in `a`; true if there was memory enough. */
static bool whole_or_nothing(const struct hm_adapter *ad, const struct hm_str ref[2], struct hm_arena *a,
			     const char *what, size_t n)
{
	struct hm_origin_opts origin;
	struct hm_call call;
	int rc;

	memset(&call, 0, sizeof(call));
	rc = hm_channel_build(&k.in, a, &call, &origin, &k.outcome, &k.err);
	disarm();
	if (rc != 0) {
		if (rc != HM_ENOMEM || k.outcome != HM_OUT_RETRY)
			fail_msg("%.*s, %s %zu: %d %s", HM_STRF(ad->name), what, n, rc, k.err.text);
		return false;
	}
	if (!same(ref[0], written(&call, &k.a), ref[1]))
		fail_msg("%.*s, %s %zu: another request:\n%.*s\n-- instead of\n%.*s", HM_STRF(ad->name), what,
			 n, HM_STRF(written(&call, &k.a)), HM_STRF(ref[0]));
	return true;
}

static void test_too_little_memory(void **state)
{
	size_t refused = 0, whole = 0;

	for (size_t i = 0; i < k.adapters->n; i++) {
		const struct hm_adapter *ad = k.adapters->v[i];
		struct hm_str ref[2];
		unsigned in_a_row = 0;

		reference_of(ad, ref);
		for (size_t limit = BLOCK; in_a_row < 4 && limit < (1u << 20); limit += BLOCK) {
			struct hm_slab pool;
			struct hm_arena a;

			hm_slab_init(&pool, "test", BLOCK, 0);
			hm_arena_init(&a, &pool, limit);
			if (whole_or_nothing(ad, ref, &a, "bytes of memory:", limit)) {
				whole++;
				in_a_row++;
			} else {
				refused++;
				in_a_row = 0;
			}
			hm_arena_fini(&a);
			hm_slab_fini(&pool);
		}
		assert_int_equal(in_a_row, 4);
	}
	printf("counted: %zu adapters, %zu builds without enough memory\n", k.adapters->n, refused);
	assert_true(refused > k.adapters->n && whole >= 4 * k.adapters->n);
}

/* One allocation fails and the next ones do not: nothing goes on with what is missing. */
static void test_one_allocation_fails(void **state)
{
	size_t failures = 0;

	for (size_t i = 0; i < k.adapters->n; i++) {
		const struct hm_adapter *ad = k.adapters->v[i];
		struct hm_str ref[2];

		reference_of(ad, ref);
		for (size_t n = 1; n == 1 || hits >= n - 1; n++) {
			struct hm_arena a;

			hm_arena_init(&a, NULL, 0);
			arm(n);
			(void)whole_or_nothing(ad, ref, &a, "without allocation", n);
			failures += hits >= n;
			hm_arena_fini(&a);
		}
	}
	printf("counted: %zu adapters, %zu builds with an allocation that failed\n", k.adapters->n, failures);
	assert_true(failures > 4 * k.adapters->n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_too_little_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_allocation_fails, setup, teardown)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
