/* Rendering allocates nothing, whatever the template has: counts malloc in the whole process. Not under sanitizers. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/json.h"
#include "base/slab.h"
#include "content/content.h"

#if defined(HM_ASAN) || defined(HM_TSAN) || !defined(__GLIBC__)
int main(void)
{
	return 0; /* the sanitizers have a malloc of their own */
}
#else
#include "../malloc_count.h"
#include "content_help.h"

static const char document[] =
	"format: markdown\n"
	"default_locale: zh-CN\n"
	"fields:\n"
	"  user: {type: map}\n"
	"  user.name: {type: string, required: true, example: Ann}\n"
	"  total: {type: number, required: true, example: 12.5}\n"
	"  items: {type: list, required: true, example: []}\n"
	"  due: {type: date, default: \"2026-11-23T10:00:00Z\"}\n"
	"  note: {type: string, default: none}\n"
	"title: '${user.name}: ${items?size}'\n"
	"body: |\n"
	"  **${user.name}** ${total?string['#,##0.00']} ${due?date('yyyy-MM-dd')?string['EEEE']} ${note}\n"
	"  <#list items as x>- [${x.name?upper_case}](https://x.example/${x.id?url}) ${x.price}\n"
	"  </#list>\n"
	"short: '${user.name?truncate(8)} ${total}'\n"
	"url: 'https://x.example/${user.name?url}'\n"
	"buttons: [{text: 'Go ${user.name}', url: 'https://x.example/b'}]\n"
	"data: {who: '${user.name}', n: '${total?c}'}\n"
	"media: {sms: {body: '${user.name} ${total}'}}\n"
	"locales:\n"
	"  en: {title: 'Hello ${user.name}', media: {sms: {body: 'en ${user.name} ${total}'}}}\n"
	"  de:\n"
	"    body: \"**${user.name}** ${total} ${note?cap_first} ${.now?string('dd. MMMM yyyy HH:mm')}\"\n";
static const char data[] =
	"{\"user\":{\"name\":\"A*nn & [Co]\"},\"total\":1234567.891,\"due\":\"2026-01-31\","
	"\"items\":[{\"name\":\"lamp\",\"id\":\"a "
	"b\",\"price\":1.25},{\"name\":\"sofa_bed\",\"id\":\"ü\",\"price\":99}]}";

static struct hm_slab blocks; /* as in a shard */
static struct hm_arena result, scratch;

static void render_all(const struct hm_template *t, const msgpack_object *root, unsigned rounds)
{
	static const char *const locales[] = {"zh-CN", "en-GB", "de-AT", "zh-Hant-TW", "fr", "pt_BR", ""};
	static const char *const zones[] = {"Asia/Shanghai", "Europe/Berlin", "America/New_York", "UTC", ""};
	static const enum hm_medium media[] = {HM_MED_CHAT, HM_MED_SMS, HM_MED_EMAIL, HM_MED_PUSH};

	for (unsigned i = 0; i < rounds; i++) {
		struct hm_render_env env = {
			.roots = {root},
			.locale = hm_str_c(locales[i % hm_countof(locales)]),
			.tz = hm_str_c(zones[i % hm_countof(zones)]),
			.now_ms = 1800000000000 + 60000ull * i,
			.arena = &result,
			.scratch = &scratch,
			.settings = &H.settings,
		};
		struct hm_content c;
		struct hm_err e = {0};

		if (hm_template_render(t, media[i % hm_countof(media)], &env, &c, &e) != 0)
			fail_msg("%s", e.text);
		hm_arena_reset(&result);
		hm_arena_reset(&scratch);
	}
}

static void nothing_is_allocated_per_message(void **state)
{
	struct hm_template *t = good(document);
	const msgpack_object *root = object(data);
	uint64_t before;

	hm_slab_init(&blocks, "blocks", HM_ARENA_BLOCK, 0);
	hm_arena_init(&result, &blocks, 0);
	hm_arena_init(&scratch, &blocks, 0);
	render_all(t, root,
		   2 * 7 * 5 * 4); /* every locale, zone and medium once: zones are read when first seen */
	before = __atomic_load_n(&mallocs, __ATOMIC_RELAXED);
	render_all(t, root, 10000);
	assert_int_equal(__atomic_load_n(&mallocs, __ATOMIC_RELAXED) - before, 0);
	hm_template_unref(t);
	hm_arena_fini(&result);
	hm_arena_fini(&scratch);
	hm_slab_fini(&blocks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_allocated_per_message),
	};

	return cmocka_run_group_tests(tests, help_setup, help_teardown);
}
#endif
