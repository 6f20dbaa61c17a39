/*
 * test_vectors_chat_cn.c - signatures of the Chinese and other Asian chats, byte for byte
 *
 * Inputs and results are published ones, or were computed with other programs from the providers' recipes.
 */
#include "kit.h"

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

static void build_at(const char *message, uint64_t wall_ms)
{
	kit_message(&k, message);
	memset(&k.call, 0, sizeof(k.call));
	k.in.wall_ms = wall_ms;
	if (hm_channel_build(&k.in, &k.a, &k.call, &k.origin, &k.outcome, &k.err) != 0)
		fail_msg("build: %s", k.err.text);
}

/* The value of `name` in the form that goes out, decoded. */
static const char *form_value(const char *name)
{
	struct hm_str rest = k.call.body, pair;
	struct hm_buf out;

	hm_buf_init_arena(&out, &k.a, 1 << 20);
	while (hm_str_split(&rest, '&', &pair)) {
		ptrdiff_t eq = hm_str_chr(pair, '=');

		if (eq < 0 || !hm_str_eq(hm_str_n(pair.p, (size_t)eq), hm_str_c(name)))
			continue;
		for (size_t i = (size_t)eq + 1; i < pair.len; i++) {
			unsigned byte = (unsigned char)pair.p[i];

			if (byte == '+')
				byte = ' ';
			else if (byte == '%' && i + 2 < pair.len) {
				char hex[3] = {pair.p[i + 1], pair.p[i + 2], '\0'};

				byte = (unsigned)strtoul(hex, NULL, 16);
				i += 2;
			}
			hm_buf_putc(&out, (char)byte);
		}
		return hm_buf_cstr(&out);
	}
	return "(none)";
}

/* RSA2 over all parameters but the signature, sorted, as they are before they are encoded. */
static void alipay(void **state)
{
	kit_need_channel(&k, "    adapter: chat/alipay-miniprogram\n    app_id: \"2014072300007148\"\n"
			     "    template: tpl1\n    page: pages/index\n"
			     "    private_key_file: " VECTORS "alipay_key.pem\n");
	build_at("{\"to\":\"2088102122458832\",\"data\":{\"keyword1\":\"12:00\"}}", 1704135845000);
	assert_string_equal(form_value("biz_content"),
			    "{\"to_user_id\":\"2088102122458832\",\"user_template_id\":\"tpl1\",\"page\":"
			    "\"pages/index\",\"data\":\"{\\\"keyword1\\\":{\\\"value\\\":\\\"12:00\\\"}}\"}");
	assert_string_equal(form_value("timestamp"), "2024-01-02 03:04:05");
	assert_string_equal(form_value("sign"), kit_c(&k, kit_file(&k, VECTORS "alipay_sign.txt")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(alipay),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
