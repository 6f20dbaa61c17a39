/*
 * test_vectors_work.c - what chats of organizations and alerts put into their requests, against computed vectors
 *
 * Signatures of callbacks have their vectors in tests/battery/adapters (.receipts).
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
	kit_counted(kit_vectors, "vectors: chats at work");
	return 0;
}

static void zulip_basic(void **state)
{
	kit_need_channel(
		&k, "    adapter: chat/zulip\n    server: https://z.example.com\n    email: bot@example.com\n"
		    "    api_key: abc123\n");
	kit_need_build(&k, "{\"to\":\"#orders\",\"title\":\"Parcel SF123\",\"body\":\"is on its way\"}");
	assert_string_equal(kit_header(&k, "authorization"), "Basic Ym90QGV4YW1wbGUuY29tOmFiYzEyMw==");
	assert_string_equal(kit_c(&k, k.call.body),
			    "type=stream&to=orders&topic=Parcel+SF123&content=is+on+its+way");
	/* Persons: a list as JSON, by address or by number; no topic, so the title is said in the text. */
	kit_need_build(&k, "{\"to\":\"a@example.com\",\"title\":\"T\",\"body\":\"Hi\"}");
	assert_string_equal(kit_c(&k, k.call.body),
			    "type=direct&to=%5B%22a%40example.com%22%5D&content=**T**++%0AHi");
	kit_need_build(&k, "{\"to\":\"42\",\"body\":\"Hi\"}");
	assert_string_equal(kit_c(&k, k.call.body), "type=direct&to=%5B42%5D&content=Hi");
	kit_need_build(&k, "{\"to\":\"orders\",\"body\":\"Hi\",\"options\":{\"thread\":\"t\"}}");
	assert_string_equal(kit_c(&k, k.call.body), "type=stream&to=orders&topic=t&content=Hi");
}

static void whatsapp_proof(void **state)
{
	kit_need_channel(
		&k, "    adapter: chat/whatsapp-cloud\n    token: access-token\n    app_secret: app-secret\n"
		    "    phone_number_id: \"1\"\n");
	kit_need_build(&k, "{\"to\":\"+8613800001111\",\"body\":\"b\"}");
	assert_string_equal(kit_c(&k, k.call.path),
			    "/v21.0/1/messages?appsecret_proof="
			    "dbf9c72b4c8f56924f8e07138f6d465c69cb5c9dbca908ce1403e993e1a5f799");
}

/* Header, variables by name and by place, address behind a button: the sheet's whole template. */
static void whatsapp_template(void **state)
{
	kit_need_channel(&k, "    adapter: chat/whatsapp-cloud\n    token: t\n    phone_number_id: \"1\"\n");
	kit_need_build(&k,
		       "{\"to\":\"+8613800001111\",\"image\":\"https://x.example.com/h.png\",\"options\":{"
		       "\"template\":\"order_shipped\",\"params\":[\"SF123\",\"Friday\"],"
		       "\"button_params\":[\"SF123\"]}}");
	assert_string_equal(
		kit_c(&k, k.call.body),
		"{\"messaging_product\":\"whatsapp\",\"recipient_type\":\"individual\",\"to\":"
		"\"8613800001111\","
		"\"type\":\"template\",\"template\":{\"name\":\"order_shipped\",\"language\":{\"code\":\"zh_"
		"CN\"},"
		"\"components\":[{\"type\":\"header\",\"parameters\":[{\"type\":\"image\",\"image\":{"
		"\"link\":"
		"\"https://x.example.com/h.png\"}}]},{\"type\":\"body\",\"parameters\":[{\"type\":\"text\","
		"\"text\":\"SF123\"},{\"type\":\"text\",\"text\":\"Friday\"}]},{\"type\":\"button\","
		"\"sub_type\":\"url\",\"index\":\"0\",\"parameters\":[{\"type\":\"text\",\"text\":\"SF123\"}]"
		"}]},"
		"\"biz_opaque_callback_data\":\"01HF7YAT00E008000000000001\"}");
	/* A code stands in the text and behind the button. */
	kit_need_channel(&k, "    adapter: chat/whatsapp-cloud\n    token: t\n    phone_number_id: \"1\"\n"
			     "    template: code\n    otp: yes\n");
	kit_need_build(&k, "{\"to\":\"+8613800001111\",\"options\":{\"params\":[\"4711\"]}}");
	assert_non_null(strstr(
		kit_c(&k, k.call.body),
		"\"components\":[{\"type\":\"body\",\"parameters\":[{\"type\":\"text\",\"text\":\"4711\"}]},"
		"{\"type\":\"button\",\"sub_type\":\"url\",\"index\":\"0\",\"parameters\":[{\"type\":"
		"\"text\",\"text\":\"4711\"}]}]"));
}

static void whatsapp_buttons(void **state)
{
	static const char map[] =
		"    adapter: chat/whatsapp-cloud\n    token: t\n    phone_number_id: \"1\"\n";

	kit_need_channel(&k, map);
	kit_need_build(&k,
		       "{\"to\":\"+8613800001111\",\"body\":\"Is it there?\",\"buttons\":[{\"text\":\"OK\","
		       "\"action\":\"a\"},{\"text\":\"No\",\"action\":\"b\"}]}");
	assert_non_null(strstr(
		kit_c(&k, k.call.body),
		"\"type\":\"interactive\",\"interactive\":{\"type\":\"button\",\"body\":{\"text\":"
		"\"Is it there?\"},\"action\":{\"buttons\":[{\"type\":\"reply\",\"reply\":{\"id\":\"a\","
		"\"title\":\"OK\"}},{\"type\":\"reply\",\"reply\":{\"id\":\"b\",\"title\":\"No\"}}]}}"));
	assert_int_equal(kit_build(&k,
				   "{\"to\":\"+8613800001111\",\"body\":\"b\",\"buttons\":["
				   "{\"text\":\"1\",\"action\":\"1\"},{\"text\":\"2\",\"action\":\"2\"},"
				   "{\"text\":\"3\",\"action\":\"3\"},{\"text\":\"4\",\"action\":\"4\"}]}"),
			 HM_EINVAL);
	assert_non_null(strstr(k.err.text, "at most three"));
}

/* Alerts: what is done with one that is open, and who is called. */
static void opsgenie(void **state)
{
	kit_need_channel(
		&k,
		"    adapter: alert/opsgenie\n    api_key: K\n    responders: [team:ops]\n    region: eu\n");
	kit_need_build(
		&k,
		"{\"to\":\"user:a@example.com\",\"title\":\"Parcel feed is down\",\"body\":\"queue 1200\","
		"\"data\":{\"queue\":1200},\"options\":{\"collapse\":\"feed-1\",\"severity\":\"critical\"}}");
	assert_string_equal(kit_c(&k, hm_channel_info(k.c)->origin.host), "api.eu.opsgenie.com");
	assert_string_equal(kit_c(&k, k.call.path), "/v2/alerts");
	assert_string_equal(kit_header(&k, "authorization"), "GenieKey K");
	assert_string_equal(
		kit_c(&k, k.call.body),
		"{\"message\":\"Parcel feed is down\",\"alias\":\"feed-1\",\"description\":\"queue 1200\","
		"\"responders\":[{\"type\":\"team\",\"name\":\"ops\"},{\"type\":\"user\",\"username\":"
		"\"a@example.com\"}],\"details\":{\"queue\":\"1200\"},\"source\":\"hermod\",\"priority\":"
		"\"P1\"}");
	kit_need_build(&k, "{\"to\":\"ops\",\"body\":\"seen\",\"options\":{\"collapse\":\"feed/"
			   "1\",\"action\":\"resolve\"}}");
	assert_string_equal(kit_c(&k, k.call.path), "/v2/alerts/feed%2F1/close?identifierType=alias");
	assert_string_equal(kit_c(&k, k.call.body), "{\"source\":\"hermod\",\"note\":\"seen\"}");
	assert_int_equal(
		kit_build(&k, "{\"to\":\"ops\",\"body\":\"b\",\"options\":{\"action\":\"acknowledge\"}}"),
		HM_EINVAL);
}

static void discord_nonce(void **state)
{
	kit_need_channel(&k, "    adapter: chat/discord-bot\n    token: T\n");
	kit_need_build(
		&k,
		"{\"to\":\"80351110224678912\",\"body\":\"@everyone hi\",\"options\":{\"mention\":[\"1\"]}}");
	assert_string_equal(kit_c(&k, k.call.path), "/api/v10/channels/80351110224678912/messages");
	assert_string_equal(kit_header(&k, "authorization"), "Bot T");
	/* At most 25 characters. */
	assert_non_null(strstr(kit_c(&k, k.call.body),
			       "\"nonce\":\"1HF7YAT00E008000000000001\",\"enforce_nonce\":true"));
	assert_non_null(
		strstr(kit_c(&k, k.call.body), "\"allowed_mentions\":{\"parse\":[],\"users\":[\"1\"]}"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zulip_basic),	     cmocka_unit_test(whatsapp_proof),
		cmocka_unit_test(whatsapp_template), cmocka_unit_test(whatsapp_buttons),
		cmocka_unit_test(opsgenie),	     cmocka_unit_test(discord_nonce),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
