/* Fixtures: any text runs; what --update writes passes, and changes nothing else about the file. */
#include <stdlib.h>

#include "templates/fixture.h"

static struct hm_config *cfg;
static struct hm_book *book;

static void fail(void *arg, const struct hm_err *e)
{
	hm_panic(__FILE__, __LINE__, __func__, "%s", e->text);
}

static void begin(void)
{
	static const char doc[] =
		"fields: {name: {type: string, required: true}, n: {type: number, default: 1.5}}\n"
		"title: Hi ${name}\nbody: |\n  Dear ${name}\n\n  ${n}, ${facts.left} left\n"
		"facts: {left: {fact: stock, key: x, fallback: few}}\noptions: {a: [\"${name}\", 1], b: {}}\n"
		"media: {sms: {body: ' ${name} ', title: \"${n}\"}}\nlocales: {de: {title: Hallo}}\n";
	struct hm_template_opts o = {.settings = NULL};
	struct hm_template *t;

	hm_assert(hm_config_load(NULL, NULL, &cfg, fail, NULL) == 0);
	o.settings = &cfg->settings;
	book = hm_book_new();
	hm_assert(book && hm_template_compile(HM_STR("t"), 1, hm_str_c(doc), "", &o, fail, NULL, &t) == 0);
	hm_assert(hm_book_put(book, HM_STR("t"), &t, 1, 1) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hm_fixture_opts o = {.update = true};
	struct hm_fixture_result first, again;
	struct hm_template_set *set;
	struct hm_buf out, text, none;

	if (!cfg)
		begin();
	set = hm_book_take(book);
	o.cfg = cfg;
	o.set = set;
	hm_buf_init(&out, 64u << 20);
	hm_buf_init(&text, 64u << 20);
	hm_buf_init(&none, 64u << 20);
	hm_fixture_run(HM_STR("t"), "t.test.yaml", hm_str_n((const char *)data, size), &o, &out, &text,
		       &first);
	hm_assert((first.failed > 0) == (out.len > 0));
	if (first.updated) {
		hm_buf_reset(&out);
		o.update = false;
		hm_fixture_run(HM_STR("t"), "t.test.yaml", hm_buf_str(&text), &o, &out, &none, &again);
		if (again.passed != first.passed + first.updated || again.failed != first.failed)
			hm_panic(__FILE__, __LINE__, __func__, "updated to what fails:\n%.*s\n%.*s",
				 HM_STRF(hm_buf_str(&text)), HM_STRF(hm_buf_str(&out)));
	}
	hm_buf_fini(&out);
	hm_buf_fini(&text);
	hm_buf_fini(&none);
	hm_template_set_unref(set);
	return 0;
}
