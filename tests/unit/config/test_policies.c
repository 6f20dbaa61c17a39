/* caps, quiet_hours, categories: what they say, what they must not say, which messages a rule is about. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "config/config.h"

#define CHANNELS                              \
	"channels:\n"                         \
	"  apns-main: {adapter: push/apns}\n" \
	"  sms-cn: {adapter: sms/twilio}\n"   \
	"routes:\n"                           \
	"  plain: [apns-main, sms-cn]\n"

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
	assert_int_equal(errs.v[0].line, line + 5);
	assert_int_equal(errs.v[0].col, col);
	hm_err_list_fini(&errs);
	hm_buf_fini(&b);
}

static void test_caps(void **state)
{
	struct hm_config *cfg = load(
		CHANNELS "caps:\n"
			 "  a: {medium: sms, category: [marketing, news], max: 3, per: 24h, min_gap: 10m, "
			 "when: defer}\n"
			 "  b: {channel: apns-main, tag: promo, tenant: t1, max: 1000, per: week}\n"
			 "  c: {min_gap: 1s, when: {route: plain}}\n"
			 "  d: {max: 1, per: month, when: next}\n");
	const struct hm_cap *c = cfg->caps;

	assert_int_equal(cfg->n_caps, 4);
	assert_int_equal(c[0].match.media, 1u << HM_MED_SMS);
	assert_int_equal(c[0].match.categories.n, 2);
	assert_true(hm_str_is(c[0].match.categories.v[1], "news"));
	assert_int_equal(c[0].max, 3);
	assert_int_equal(c[0].per, HM_PER_ROLLING);
	assert_int_equal(c[0].per_ms, 24 * 3600000);
	assert_int_equal(c[0].min_gap_ms, 600000);
	assert_int_equal(c[0].when, HM_POLICY_DEFER);
	assert_int_equal(c[1].per, HM_PER_WEEK);
	assert_int_equal(c[1].when, HM_POLICY_DROP);
	assert_int_equal(c[2].max, 0);
	assert_int_equal(c[2].when, HM_POLICY_ROUTE);
	assert_true(hm_str_is(c[2].route, "plain"));
	assert_int_equal(c[3].per, HM_PER_MONTH);
	assert_int_equal(c[3].when, HM_POLICY_NEXT);
	assert_int_not_equal(c[0].id, c[1].id);
	hm_config_unref(cfg);
}

static void test_match(void **state)
{
	struct hm_config *cfg = load(
		CHANNELS
		"caps:\n"
		"  all: {max: 1, per: day}\n"
		"  sms: {medium: [sms, voice], max: 1, per: day}\n"
		"  one: {channel: apns-main, category: [x, y], tag: [p, q], tenant: t, max: 1, per: day}\n");
	msgpack_object tags[2] = {{.type = MSGPACK_OBJECT_STR}, {.type = MSGPACK_OBJECT_STR}};
	msgpack_object list = {.type = MSGPACK_OBJECT_ARRAY, .via.array = {.size = 2, .ptr = tags}};
	struct hm_match_subject s = {.channel = HM_STR("apns-main"),
				     .category = HM_STR("y"),
				     .tenant = HM_STR("t"),
				     .tags = &list,
				     .medium = HM_MED_PUSH};

	tags[0].via.str.ptr = "a";
	tags[1].via.str.ptr = "q";
	tags[0].via.str.size = tags[1].via.str.size = 1;
	assert_true(hm_match_fits(&cfg->caps[0].match, &s));
	assert_false(hm_match_fits(&cfg->caps[1].match, &s));
	assert_true(hm_match_fits(&cfg->caps[2].match, &s));
	s.category = HM_STR("z");
	assert_false(hm_match_fits(&cfg->caps[2].match, &s));
	s.category = HM_STR("x");
	s.tenant = HM_STR("");
	assert_false(hm_match_fits(&cfg->caps[2].match, &s));
	s.tenant = HM_STR("t");
	s.channel = HM_STR("sms-cn");
	assert_false(hm_match_fits(&cfg->caps[2].match, &s));
	s.channel = HM_STR("apns-main");
	tags[1].via.str.ptr = "b";
	assert_false(hm_match_fits(&cfg->caps[2].match, &s));
	s.tags = NULL;
	assert_false(hm_match_fits(&cfg->caps[2].match, &s));
	s.medium = HM_MED_VOICE;
	assert_true(hm_match_fits(&cfg->caps[1].match, &s));
	hm_config_unref(cfg);
}

static void test_quiet(void **state)
{
	struct hm_config *cfg = load(
		CHANNELS
		"quiet_hours:\n"
		"  night:\n"
		"    medium: [push, sms]\n"
		"    windows: [\"22:00-08:00\", {days: [sat, sun], from: \"21:00\", to: \"24:00\"},\n"
		"              {days: fri-mon, from: \"00:30\", to: \"00:30\"}]\n"
		"  all: {windows: \"01:00-02:00\", when: {route: plain}, except_lanes: []}\n"
		"  some: {windows: {from: \"01:00\", to: \"02:00\"}, when: drop, except_lanes: [critical, "
		"high]}\n");
	const struct hm_quiet *q = cfg->quiet;

	assert_int_equal(cfg->n_quiet, 3);
	assert_int_equal(q[0].n, 3);
	assert_int_equal(q[0].windows[0].days, 0x7f);
	assert_int_equal(q[0].windows[0].from, 22 * 60);
	assert_int_equal(q[0].windows[0].to, 8 * 60);
	assert_int_equal(q[0].windows[1].days, 0x60);
	assert_int_equal(q[0].windows[1].to, 1440);
	assert_int_equal(q[0].windows[2].days, 0x71);
	assert_int_equal(q[0].when, HM_POLICY_DEFER);
	assert_int_equal(q[0].except_lanes, 1u << HM_LANE_CRITICAL);
	assert_int_equal(q[1].except_lanes, 0);
	assert_int_equal(q[1].when, HM_POLICY_ROUTE);
	assert_int_equal(q[2].except_lanes, 1u << HM_LANE_CRITICAL | 1u << HM_LANE_HIGH);
	hm_config_unref(cfg);
}

static void test_categories(void **state)
{
	struct hm_config *cfg = load("categories:\n"
				     "  otp: {caps: false, quiet_hours: false, dedupe: false}\n"
				     "  news: {consent: opt_in, content_dedupe: 10m}\n"
				     "  \"*\": {suppression: false}\n");
	const struct hm_category *c = hm_config_category(cfg, HM_STR("otp"));

	assert_false(c->caps || c->quiet_hours || c->dedupe || c->opt_in);
	assert_true(c->suppression); /* nothing comes from "*" */
	c = hm_config_category(cfg, HM_STR("news"));
	assert_true(c->caps && c->opt_in);
	assert_int_equal(c->content_dedupe_ms, 600000);
	c = hm_config_category(cfg, HM_STR("other"));
	assert_false(c->suppression);
	assert_ptr_equal(c, hm_config_category(cfg, HM_STR("")));
	hm_config_unref(cfg);
	cfg = load("");
	c = hm_config_category(cfg, HM_STR("other"));
	assert_true(c->caps && c->quiet_hours && c->suppression && c->dedupe && !c->opt_in);
	assert_int_equal(c->content_dedupe_ms, 0);
	hm_config_unref(cfg);
}

static void test_mistakes(void **state)
{
	refuse("caps:\n  a: {medium: smss, max: 1, per: day}\n", 2, 15,
	       "there is no medium \"smss\"; did you mean \"sms\"?");
	refuse("caps:\n  a: {channel: [sms-cn, apns-man], max: 1, per: day}\n", 2, 25,
	       "did you mean \"apns-main\"?");
	refuse("caps:\n  a: {max: 1}\n", 2, 6, "max and per go together");
	refuse("caps:\n  a: {per: day}\n", 2, 6, "max and per go together");
	refuse("caps:\n  a: {medium: sms}\n", 2, 6, "says nothing");
	refuse("caps:\n  a: {max: 1, per: year}\n", 2, 20, "per: expected a duration");
	refuse("caps:\n  a: {max: 1, per: 500ms}\n", 2, 20, "from 1s");
	refuse("caps:\n  a: {max: 1, per: 400d}\n", 2, 20, "366d");
	refuse("caps:\n  a: {max: 0, per: day}\n", 2, 12, "1");
	refuse("caps:\n  a: {max: 1001, per: day}\n", 2, 12, "1000");
	refuse("caps:\n  a: {max: 1, per: day, when: later}\n", 2, 31, "drop, defer, next or {route: name}");
	refuse("caps:\n  a: {max: 1, per: day, when: {route: plan}}\n", 2, 39,
	       "there is no route \"plan\"; did you mean \"plain\"?");
	refuse("caps:\n  a: {mediun: sms, max: 1, per: day}\n", 2, 7, "did you mean \"medium\"?");
	refuse("caps:\n  a: {category: [], max: 1, per: day}\n", 2, 17,
	       "category: expected a text, or a list");
	refuse("caps:\n  a b: {max: 1, per: day}\n", 2, 3, "not a good name");
	refuse("caps:\n  a: 5\n", 2, 6, "expected a map");
	refuse("caps: [a]\n", 1, 7, "expected a map from name to rule");
	refuse("quiet_hours:\n  a: {windows: \"22:00\"}\n", 2, 16, "windows: expected");
	refuse("quiet_hours:\n  a: {windows: [\"22:00-25:00\"]}\n", 2, 17, "windows: expected");
	refuse("quiet_hours:\n  a: {windows: [{days: [sat, son], from: \"01:00\", to: \"02:00\"}]}\n", 2, 30,
	       "days: expected");
	refuse("quiet_hours:\n  a: {when: drop}\n", 2, 6, "windows: expected 1 to 32");
	refuse("quiet_hours:\n  a: {windows: \"22:00-08:00\", except_lanes: [critcal]}\n", 2, 46,
	       "did you mean \"critical\"?");
	refuse("categories:\n  a: {consent: maybe}\n", 2, 16, "opt_out or opt_in");
	refuse("categories:\n  a: {cap: false}\n", 2, 7, "did you mean \"caps\"?");
	refuse("quiet_hour: {}\n", 1, 1, "did you mean \"quiet_hours\"?");
	refuse("gates:\n  default_tz: Europe/Berln\n", 2, 3, "no such time zone");
}

/* Twenty together are fine; one more is not, and only where they meet. */
static void test_too_many(void **state)
{
	struct hm_buf b;
	struct hm_config *cfg;

	hm_buf_init(&b, 1 << 20);
	hm_buf_lit(&b, CHANNELS "caps:\n");
	for (int i = 0; i < 20; i++)
		hm_buf_printf(&b, "  a%d: {medium: sms, max: 1, per: day}\n", i);
	for (int i = 0; i < 20; i++)
		hm_buf_printf(&b, "  b%d: {medium: push, max: 1, per: day}\n", i);
	cfg = load(hm_buf_cstr(&b));
	assert_int_equal(cfg->n_caps, 40);
	hm_config_unref(cfg);
	hm_buf_consume(&b, sizeof(CHANNELS) - 1);
	hm_buf_lit(&b, "  c: {tenant: t, category: [k], max: 1, per: day}\n");
	refuse(hm_buf_cstr(&b), 42, 6,
	       "a message through apns-main of category k would be under more than 20 caps");
	hm_buf_fini(&b);
}

struct changes {
	char text[400];
};

static void on_change(void *arg, const char *what, bool in_effect)
{
	struct changes *c = arg;

	assert_true(in_effect);
	strncat(c->text, what, sizeof(c->text) - strlen(c->text) - 2);
	strncat(c->text, " ", 2);
}

static void test_diff_and_print(void **state)
{
	struct hm_config *a = load(
		"caps: {x: {max: 1, per: day}, y: {min_gap: 1s}}\n"
		"quiet_hours: {q: {windows: \"22:00-08:00\"}}\ncategories: {k: {caps: false}}\n");
	struct hm_config *b = load("caps: {x: {max: 2, per: day}}\n"
				   "quiet_hours: {q: {windows: \"22:00-09:00\"}}\ncategories: {k: {caps: "
				   "false}, l: {}}\n"),
			 *c;
	struct changes ch = {""};
	struct hm_buf out;

	assert_int_equal(hm_config_diff(a, b, on_change, &ch), 4);
	assert_string_equal(ch.text, "caps.x quiet_hours.q categories.l caps.y ");
	hm_buf_init(&out, 1 << 16);
	hm_config_print(a, false, &out);
	c = load(hm_buf_cstr(&out));
	assert_int_equal(c->caps[0].max, 1);
	assert_int_equal(c->caps[1].min_gap_ms, 1000);
	assert_int_equal(c->quiet[0].windows[0].from, 22 * 60);
	assert_false(c->categories[0].caps);
	hm_config_unref(a);
	hm_config_unref(b);
	hm_config_unref(c);
	hm_buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_caps),	       cmocka_unit_test(test_match),
		cmocka_unit_test(test_quiet),	       cmocka_unit_test(test_categories),
		cmocka_unit_test(test_mistakes),       cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_diff_and_print),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
