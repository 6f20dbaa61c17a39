/* A steady stream of answers allocates nothing, a batch of additions only a few blocks. Not under sanitizers. */
#include "supp.h"

#if defined(HM_ASAN) || defined(HM_TSAN) || !defined(__GLIBC__)
int main(void)
{
	return 0; /* the sanitizers have a malloc of their own */
}
#else
#include "../malloc_count.h"

static void fail_report(void *arg, const struct hm_err *e)
{
	fail_msg("%s", e->text);
}

static void test_no_malloc_per_answer(void **state)
{
	static const char *const sets[] = {"gates.invalid_share=100", NULL};
	struct hm_invalid_guard *g = hm_invalid_guard_new(&w.env.tick, w.client.r, PREFIX);
	struct hm_config *cfg;
	uint64_t before;
	char text[32];
	size_t n = 0;

	assert_int_equal(hm_config_load(NULL, sets, &cfg, fail_report, NULL), 0);
	for (int round = 0; round < 10; round++) {
		before = __atomic_load_n(&mallocs, __ATOMIC_RELAXED);
		for (int i = 0; i < 3000; i++) {
			bool invalid = i % 2;
			size_t len = (size_t)snprintf(text, sizeof(text), "token-%zu", n);

			n += invalid;
			hm_invalid_guard_answer(g, cfg, HM_STR("c"), HM_MED_PUSH, hm_str_n(text, len),
						invalid, HM_STR("Unregistered"), 0);
		}
		if (round >= 4) /* both halves have the memory they need */
			assert_int_equal(__atomic_load_n(&mallocs, __ATOMIC_RELAXED) - before, 0);
		while (total(w.env.tick.wall_ms) != n)
			;
	}
	hm_invalid_guard_free(g);
	hm_config_unref(cfg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_malloc_per_answer)};

	return cmocka_run_group_tests(tests, supp_setup, supp_teardown);
}
#endif
