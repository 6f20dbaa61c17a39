/* fuzz_content_doc.c - any bytes as a document; what compiles is rendered for every medium, with its own examples as data */
#include <stdlib.h>

#include "content/content.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void count(void *arg, const struct hm_err *e)
{
	if (e->code == 0 || e->text[0] == '\0')
		abort(); /* a report says something */
	++*(size_t *)arg;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct hm_settings settings;
	struct hm_book *book = hm_book_new();
	struct hm_template_opts o = {.settings = &settings};
	struct hm_template *t = NULL;
	struct hm_arena a, scratch;
	size_t reports = 0;
	int rc;

	if (book == NULL || size > 64u << 10) {
		hm_book_free(book);
		return 0;
	}
	settings.templates.max_steps = 2000;
	settings.templates.max_depth = 10;
	settings.templates.max_output = 1u << 16;
	settings.templates.single_brace = true;
	settings.templates.default_locale = HM_STR("");
	o.with = hm_book_take(book);
	rc = hm_template_compile(HM_STR("fuzz"), 1, hm_str_n((const char *)data, size), "fuzz.yaml", &o,
				 count, &reports, &t);
	if ((rc == 0) != (t != NULL) || (rc == 0) != (reports == 0))
		abort();
	hm_arena_init(&a, NULL, 64u << 20);
	hm_arena_init(&scratch, NULL, 64u << 20);
	if (t != NULL && !hm_template_is_fragment(t)) {
		msgpack_object example;
		const struct hm_template_fact *f;
		size_t n = hm_template_facts(t, &f);
		struct hm_render_env env = {
			.locale = HM_STR("en-GB"),
			.tz = HM_STR("Asia/Shanghai"),
			.now_ms = 1700000000000u,
			.arena = &a,
			.scratch = &scratch,
			.settings = &settings,
			.set = o.with,
		};
		struct hm_content c;
		struct hm_str key;
		struct hm_err e;

		if (hm_template_example(t, &a, &example, NULL) == 0)
			env.roots[1] = &example;
		for (int m = 0; m < HM_MED_COUNT; m++)
			(void)!hm_template_render(t, (enum hm_medium)m, &env, &c, &e);
		for (size_t i = 0; i < n; i++)
			(void)!hm_template_fact_key(t, i, &env, &key, &e);
	}
	hm_template_unref(t);
	hm_template_set_unref((struct hm_template_set *)(uintptr_t)o.with);
	hm_book_free(book);
	hm_arena_fini(&a);
	hm_arena_fini(&scratch);
	return 0;
}
