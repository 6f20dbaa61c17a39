/*
 * test_vectors_chat_cn.c - signatures of the Chinese and other Asian chats, byte for byte
 *
 * Inputs and results are published ones, or were computed with other programs from the providers' recipes.
 */
#define KIT_VECTORS
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
	kit_counted(kit_vectors, "vectors: chats of China");
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

/* The assertion that Google's token service gets for RCS; an account without private_key_id has no kid. */
static void rcs_jwt(void **state)
{
	struct hm_str pem = kit_file(&k, VECTORS "alipay_key.pem"), token;
	struct hm_buf map;

	hm_buf_init_arena(&map, &k.a, 1 << 16);
	hm_buf_lit(&map, "    adapter: chat/rcs\n    agent_id: a\n    service_account: "
			 "'{\"client_email\":\"svc@example.iam.gserviceaccount.com\",\"private_key\":\"");
	hm_buf_json(&map, pem);
	hm_buf_lit(&map, "\"}'\n");
	kit_need_channel(&k, hm_buf_cstr(&map));
	if (hm_cred_mint(k.c, 1700000000000, &k.a, &token, &k.err) != 0)
		fail_msg("mint: %s", k.err.text);
	assert_string_equal(kit_c(&k, token), kit_c(&k, kit_file(&k, VECTORS "rcs_jwt.txt")));
}

/* The proof that some applications want beside the token. */
static void zalo_proof(void **state)
{
	kit_need_channel(&k,
			 "    adapter: chat/zalo\n    app_id: \"1234567890\"\n    app_secret: app-secret\n"
			 "    refresh_token: r\n    template: \"7\"\n    proof: yes\n");
	kit_need_build(&k,
		       "{\"to\":\"+84987654321\",\"credential\":\"access-token\",\"data\":{\"a\":\"b\"}}");
	assert_string_equal(kit_header(&k, "access_token"), "access-token");
	assert_string_equal(kit_header(&k, "appsecret_proof"),
			    "dbf9c72b4c8f56924f8e07138f6d465c69cb5c9dbca908ce1403e993e1a5f799");
	assert_string_equal(
		kit_c(&k, k.call.body),
		"{\"phone\":\"84987654321\",\"template_id\":\"7\",\"template_data\":{\"a\":\"b\"},"
		"\"tracking_id\":\"01HF7YAT00E008000000000001\"}");
}

/* LINE finds people by the hash of their number. */
static void line_phone(void **state)
{
	kit_need_channel(&k, "    adapter: chat/line\n    token: t\n    reach: phones\n");
	kit_need_build(&k, "{\"to\":\"+819012345678\",\"body\":\"b\"}");
	assert_string_equal(kit_c(&k, k.call.path), "/bot/pnp/push");
	assert_true(hm_str_starts(k.call.body,
				  HM_STR("{\"to\":\"3d06a39d40790f11761295e053029378ae28c4b4f6f30169300"
					 "5e079f3d4ca64\",")));
	assert_string_equal(kit_header(&k, "x-line-delivery-tag"), "01HF7YAT00E008000000000001");
	assert_int_equal(kit_build(&k, "{\"to\":\"U0123456789abcdef0123456789abcdef\",\"body\":\"b\"}"),
			 HM_EINVAL);
	assert_int_equal(k.outcome, HM_OUT_INVALID_RECIPIENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(alipay),
		cmocka_unit_test(rcs_jwt),
		cmocka_unit_test(zalo_proof),
		cmocka_unit_test(line_phone),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
