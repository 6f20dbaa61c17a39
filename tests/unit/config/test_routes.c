/* routes: what they say, what they must not say, conditions with their places. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "config/config.h"
#include "tmpl/tmpl.h"

#define CHANNELS                                        \
	"channels:\n"                                   \
	"  push: {adapter: push/apns, cost: 0.002}\n"   \
	"  sms-a: {adapter: sms/twilio, cost: 0.045}\n" \
	"  sms-b: {adapter: sms/twilio, cost: 0.03}\n"  \
	"routes:\n"

static void show_error(void *arg, const struct hm_err *e)
{
	print_message("%d:%d %s\n", e->line, e->col, e->text);
}

static struct hm_config *load(const char *text)
{
	struct hm_config *cfg = NULL;

	assert_int_equal(hm_config_load_text("t.yaml", hm_str_c(text), NULL, &cfg, show_error, NULL), 0);
	return cfg;
}

/* One mistake, one sentence, at its place (lines count from the first below CHANNELS). */
static void refuse(const char *text, int line, int col, const char *part)
{
	struct hm_config *cfg = NULL;
	struct hm_err_list errs = {0};
	struct hm_buf b;

	hm_buf_init(&b, 1 << 20);
	hm_buf_puts(&b, hm_str_c(CHANNELS));
	hm_buf_puts(&b, hm_str_c(text));
	assert_int_equal(hm_config_load_text("t.yaml", hm_buf_str(&b), NULL, &cfg, hm_err_list_add, &errs),
			 HM_ECONFIG);
	for (size_t i = 1; i < errs.n; i++)
		print_message("also: %s\n", errs.v[i].text);
	assert_int_equal(errs.n, 1);
	if (!strstr(errs.v[0].text, part))
		fail_msg("\"%s\" does not say \"%s\"", errs.v[0].text, part);
	if (errs.v[0].line != line + 5 || errs.v[0].col != col)
		fail_msg("%d:%d instead of %d:%d: %s", errs.v[0].line - 5, errs.v[0].col, line, col,
			 errs.v[0].text);
	hm_err_list_fini(&errs);
	hm_buf_fini(&b);
}

static const struct hm_route *route(const struct hm_config *cfg, const char *name)
{
	const struct hm_route *r = hm_config_route(cfg, hm_str_c(name));

	assert_non_null(r);
	return r;
}

static void is_channel(const struct hm_route *r, size_t i, const char *name)
{
	assert_true(i < r->n);
	assert_string_equal(r->steps[i].channel.p, name);
}

static void test_forms(void **state)
{
	struct hm_config *cfg = load(CHANNELS
				     "  short: [push, sms-a]\n"
				     "  long:\n"
				     "    deadline: 10m\n"
				     "    steps:\n"
				     "      - {channel: push, on: [unknown], unless: read, after: 10m}\n"
				     "      - {channel: sms-a, within: 30s}\n"
				     "  spread: {choose: weighted, steps: [{channel: sms-a, weight: 3}, "
				     "{channel: sms-b, weight: 0}, push]}\n"
				     "  cheap: {choose: cheapest, steps: [sms-a, sms-b, push]}\n"
				     "  both: {mode: all, steps: [push, sms-a]}\n");
	const struct hm_route *r = route(cfg, "short");

	assert_int_equal(r->n, 2);
	assert_int_equal(r->choose, HM_CHOOSE_ORDERED);
	assert_false(r->all);
	assert_int_equal(r->steps[0].after_ms, 0);
	r = route(cfg, "long");
	assert_int_equal(r->deadline_ms, 600000);
	assert_int_equal(r->steps[0].on_mask, 1u << HM_OUT_UNKNOWN);
	assert_int_equal(r->steps[0].unless, HM_RC_READ);
	assert_int_equal(r->steps[0].after_ms, 600000);
	assert_int_equal(r->steps[1].within_ms, 30000);
	r = route(cfg, "spread");
	assert_int_equal(r->choose, HM_CHOOSE_WEIGHTED);
	assert_int_equal(r->steps[0].weight, 3);
	assert_int_equal(r->steps[1].weight, 0);
	assert_int_equal(r->steps[2].weight, 1);
	r = route(cfg, "cheap");
	is_channel(r, 0, "push");
	is_channel(r, 1, "sms-b");
	is_channel(r, 2, "sms-a");
	assert_true(route(cfg, "both")->all);
	hm_config_unref(cfg);
}

static bool holds(const struct hm_tmpl *t, int64_t n)
{
	msgpack_object_kv amount = {0}, data = {0};
	msgpack_object inner = {.type = MSGPACK_OBJECT_MAP, .via.map = {1, &amount}}, root;
	const msgpack_object *roots[1] = {&root};
	struct hm_arena a;
	struct hm_buf out;
	struct hm_err e;
	bool yes;

	amount.key.type = MSGPACK_OBJECT_STR;
	amount.key.via.str.ptr = "amount";
	amount.key.via.str.size = 6;
	amount.val.type = MSGPACK_OBJECT_POSITIVE_INTEGER;
	amount.val.via.i64 = n;
	data.key.type = MSGPACK_OBJECT_STR;
	data.key.via.str.ptr = "data";
	data.key.via.str.size = 4;
	data.val = inner;
	root = (msgpack_object){.type = MSGPACK_OBJECT_MAP, .via.map = {1, &data}};
	hm_arena_init(&a, NULL, 0);
	hm_buf_init(&out, 64);
	if (hm_tmpl_render(t, &(struct hm_tmpl_ctx){.roots = roots, .nroots = 1, .arena = &a}, &out, &e) != 0)
		fail_msg("%s", e.text);
	yes = out.len > 0;
	hm_buf_fini(&out);
	hm_arena_fini(&a);
	return yes;
}

static void test_conditions(void **state)
{
	struct hm_config *cfg = load(CHANNELS "  r:\n"
					      "    - {channel: push, if: data.amount > 100}\n"
					      "    - {channel: sms-a, if: \"(data.amount!0) >= 7\"}\n"
					      "    - channel: sms-b\n"
					      "      if: |\n"
					      "        data.amount < 5 &&\n"
					      "        data.amount != 3\n");
	const struct hm_route *r = route(cfg, "r");

	assert_true(holds(r->steps[0].cond, 101));
	assert_false(holds(r->steps[0].cond, 100));
	assert_true(holds(r->steps[1].cond, 7));
	assert_false(holds(r->steps[1].cond, 6));
	assert_true(holds(r->steps[2].cond, 4));
	assert_false(holds(r->steps[2].cond, 3));
	assert_string_equal(r->steps[0].condition.p, "data.amount > 100");
	hm_config_unref(cfg);
}

static void test_wrong_conditions(void **state)
{
	refuse("  r: [{channel: push, if: lane == }]\n", 1, 34, "if: ");
	refuse("  r: [{channel: push, if: vip}]\n", 1, 27, "data.NAME");
	refuse("  r: [{channel: push, if: campain == \"x\"}]\n", 1, 27, "did you mean \"campaign\"?");
	refuse("  r: [{channel: push, if: lane == \"a\") || (true}]\n", 1, 38, "no counterpart");
	refuse("  r: [{channel: push, if: '(lane'}]\n", 1, 28, "no counterpart");
	refuse("  r: [{channel: push, if: 'lane == \"x'}]\n", 1, 36, "does not end");
	refuse("  r: [{channel: push, if: true </#if> true}]\n", 1, 32, "no tags");
	refuse("  r: [{channel: push, if: }]\n", 1, 27, "expected an expression");
	refuse("  r: [{channel: push, if: [a]}]\n", 1, 27, "expected an expression");
	refuse("  r:\n"
	       "    - channel: push\n"
	       "      if: |\n"
	       "        true &&\n"
	       "        nonsense\n",
	       5, 1, "\"nonsense\"");
}

static void test_mistakes(void **state)
{
	refuse("  r: [pusch]\n", 1, 7, "did you mean \"push\"?");
	refuse("  r: [{channel: push, wihtin: 1s}]\n", 1, 23, "did you mean \"within\"?");
	refuse("  r: {steps: [push], chose: weighted}\n", 1, 22, "did you mean \"choose\"?");
	refuse("  r: {steps: [push], choose: weighed}\n", 1, 30, "did you mean \"weighted\"?");
	refuse("  r: {steps: [push], mode: al}\n", 1, 28, "did you mean \"all\"?");
	refuse("  r: {steps: [push], mode: [all]}\n", 1, 28, "expected first or all");
	refuse("  r: [{channel: push, within: 10}, sms-a]\n", 1, 31, "duration");
	refuse("  r: [{channel: push, within: 10ms}, sms-a]\n", 1, 31, "between 1s and 31d");
	refuse("  r: [{channel: push, after: 10m}, sms-a]\n", 1, 7, "go together");
	refuse("  r: [{channel: push, unless: delivered}, sms-a]\n", 1, 7, "go together");
	refuse("  r: [{channel: push, unless: deliverd, after: 1m}, sms-a]\n", 1, 31,
	       "did you mean \"delivered\"?");
	refuse("  r: [sms-a, {channel: push, unless: read, after: 1m}]\n", 1, 14, "last step");
	refuse("  r: {mode: all, steps: [{channel: push, unless: read, after: 1m}, sms-a]}\n", 1, 26,
	       "sent anyway");
	refuse("  r: {choose: cheapest, steps: [{channel: push, unless: read, after: 1m}, sms-a]}\n", 1, 33,
	       "ordered");
	refuse("  r: [push, sms-a, {channel: push, within: 1m}]\n", 1, 20, "in the route already");
	refuse("  r: [{channel: push, weight: 2}, sms-a]\n", 1, 31, "needs \"choose: weighted\"");
	refuse("  r: {choose: weighted, steps: [{channel: push, weight: 0}]}\n", 1, 32, "above 0");
	refuse("  r: {choose: weighted, steps: [{channel: push, weight: -1}]}\n", 1, 57, "weight");
	refuse("  r: [push, push, push, push, push, push, push, push, push, push, push, push, push, push, "
	       "push, push,"
	       " push, push, push, push, push, push, push, push, push, push, push, push, push, push, push, "
	       "push, push]\n",
	       1, 6, "more than 32 steps");
}

static void test_wrong_costs(void **state)
{
	const char *const wrong[] = {"-1", "free", "[1]", "1e12", "0.5€"};

	for (size_t i = 0; i < hm_countof(wrong); i++) {
		struct hm_config *cfg = NULL;
		struct hm_err_list errs = {0};
		char text[128];

		snprintf(text, sizeof(text), "channels:\n  a: {adapter: push/apns, cost: %s}\n", wrong[i]);
		assert_int_equal(
			hm_config_load_text("t.yaml", hm_str_c(text), NULL, &cfg, hm_err_list_add, &errs),
			HM_ECONFIG);
		assert_int_equal(errs.n, 1);
		assert_non_null(strstr(errs.v[0].text, "cost: expected a number"));
		assert_int_equal(errs.v[0].line, 2);
		assert_int_equal(errs.v[0].col, 33);
		hm_err_list_fini(&errs);
	}
}

struct changes {
	char text[256];
};

static void on_change(void *arg, const char *what, bool in_effect)
{
	struct changes *c = arg;

	assert_true(in_effect);
	strcat(strcat(c->text, what), " ");
}

/* What is printed can be read back, and says the same; what differs is named. */
static void test_print_and_diff(void **state)
{
	struct hm_config
		*a = load(CHANNELS
			  "  a: [push, sms-a]\n"
			  "  b: {choose: weighted, steps: [{channel: sms-a, weight: 3}, sms-b]}\n"
			  "  c:\n"
			  "    - {channel: push, if: \"tags?seq_contains('x')\", unless: read, after: 1h}\n"
			  "    - sms-a\n"),
		*b = load(CHANNELS
			  "  a: [push, sms-a]\n"
			  "  b: {choose: weighted, steps: [{channel: sms-a, weight: 4}, sms-b]}\n"
			  "  c:\n"
			  "    - {channel: push, if: \"tags?seq_contains('y')\", unless: read, after: 1h}\n"
			  "    - sms-a\n"
			  "  d: [push]\n"),
		*c;
	struct changes ch = {""};
	struct hm_buf out;

	assert_int_equal(hm_config_diff(a, a, on_change, &ch), 0);
	assert_int_equal(hm_config_diff(a, b, on_change, &ch), 3);
	assert_string_equal(ch.text, "routes.b routes.c routes.d ");
	hm_buf_init(&out, 1 << 16);
	hm_config_print(a, false, &out);
	c = load(hm_buf_cstr(&out));
	assert_int_equal(route(c, "b")->steps[0].weight, 3);
	assert_int_equal(route(c, "b")->choose, HM_CHOOSE_WEIGHTED);
	hm_buf_fini(&out);
	hm_config_unref(a);
	hm_config_unref(b);
	hm_config_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_conditions),
		cmocka_unit_test(test_wrong_conditions),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_wrong_costs),
		cmocka_unit_test(test_print_and_diff),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
