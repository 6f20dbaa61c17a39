/*
 * test_bodies.c - one content on every medium: what goes out, byte for byte; who is called; what is cut
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

static void channel(const char *adapter, const char *settings)
{
	char map[1000];

	snprintf(map, sizeof(map), "    adapter: %s\n%s", adapter, settings);
	kit_need_channel(&k, map);
}

static bool has(const char *part)
{
	return hm_str_find(k.call.body, hm_str_c(part)) >= 0;
}

#define CONTENT                                                            \
	"\"format\":\"markdown\",\"title\":\"Price drop & more\","         \
	"\"body\":\"Only **3** left of [this](https://x.example.com/a)\"," \
	"\"url\":\"https://x.example.com/p?a=1&b=2\",\"image\":\"https://x.example.com/i.png\""

/* An operator's one message, as each provider documents its own. */
static void one_content(void **state)
{
	static const struct {
		const char *adapter, *settings, *to, *path, *body;
	} rows[] = {
		{"chat/slack", "    token: xoxb-secret\n", "C0123456789", "/api/chat.postMessage",
		 "{\"channel\":\"C0123456789\",\"text\":\"Price drop &amp; more\\nOnly *3* left of <https:"
		 "//x.example.com/a|this>\\nhttps://x.example.com/p?a=1&amp;b=2\",\"blocks\":[{\"type\":\""
		 "header\",\"text\":{\"type\":\"plain_text\",\"text\":\"Price drop & more\"}},{\"type\":\""
		 "section\",\"text\":{\"type\":\"mrkdwn\",\"text\":\"Only *3* left of <https://x.example.c"
		 "om/a|this>\"}},{\"type\":\"image\",\"image_url\":\"https://x.example.com/i.png\",\"alt_t"
		 "ext\":\"Price drop & more\"},{\"type\":\"actions\",\"elements\":[{\"type\":\"button\",\""
		 "text\":{\"type\":\"plain_text\",\"text\":\"Open\"},\"url\":\"https://x.example.com/p?a=1"
		 "&b=2\"}]}],\"unfurl_links\":false,\"unfurl_media\":false}"},
		{"chat/slack", "    token: xoxb-secret\n    format: text\n", "C0123456789",
		 "/api/chat.postMessage",
		 "{\"channel\":\"C0123456789\",\"text\":\"*Price drop &amp; more*\\nOnly *3* left of <http"
		 "s://x.example.com/a|this>\\n<https://x.example.com/p?a=1&amp;b=2|https://x.example.com/p"
		 "?a=1&amp;b=2>\",\"unfurl_links\":false,\"unfurl_media\":false}"},
		{"chat/slack-webhook", "    url: https://hooks.slack.com/services/T0/B0/XXXX\n", "ops",
		 "/services/T0/B0/XXXX",
		 "{\"text\":\"Price drop &amp; more\\nOnly *3* left of <https://x.example.com/a|this>\\nht"
		 "tps://x.example.com/p?a=1&amp;b=2\",\"blocks\":[{\"type\":\"header\",\"text\":{\"type\":"
		 "\"plain_text\",\"text\":\"Price drop & more\"}},{\"type\":\"section\",\"text\":{\"type\""
		 ":\"mrkdwn\",\"text\":\"Only *3* left of <https://x.example.com/a|this>\"}},{\"type\":\"i"
		 "mage\",\"image_url\":\"https://x.example.com/i.png\",\"alt_text\":\"Price drop & more\"}"
		 ",{\"type\":\"actions\",\"elements\":[{\"type\":\"button\",\"text\":{\"type\":\"plain_tex"
		 "t\",\"text\":\"Open\"},\"url\":\"https://x.example.com/p?a=1&b=2\"}]}],\"unfurl_links\":"
		 "false,\"unfurl_media\":false}"},
		{"chat/telegram", "    token: \"123456789:AAsecret\"\n", "-1001234567890",
		 "/bot123456789:AAsecret/sendPhoto",
		 "{\"chat_id\":\"-1001234567890\",\"photo\":\"https://x.example.com/i.png\",\"caption\":\""
		 "<b>Price drop &amp; more</b>\\nOnly <b>3</b> left of <a href=\\\"https://x.example.com/a"
		 "\\\">this</a>\\n<a href=\\\"https://x.example.com/p?a=1&amp;b=2\\\">Open</a>\",\"parse_m"
		 "ode\":\"HTML\"}"},
		{"chat/dingtalk-robot", "    access_token: T\n", "ops", "/robot/send?access_token=T",
		 "{\"msgtype\":\"actionCard\",\"actionCard\":{\"title\":\"Price drop & more\",\"text\":\"#"
		 "## Price drop & more\\n\\nOnly **3** left of [this](https://x.example.com/a)\\n\\n![](ht"
		 "tps://x.example.com/i.png)\",\"singleTitle\":\"查看详情\",\"singleURL\":\"https://x."
		 "example.com/p?a=1&b=2\"}}"},
		{"chat/dingtalk-robot", "    access_token: T\n    format: markdown\n", "ops",
		 "/robot/send?access_token=T",
		 "{\"msgtype\":\"markdown\",\"markdown\":{\"title\":\"Price drop & more\",\"text\":\"### P"
		 "rice drop & more\\n\\nOnly **3** left of [this](https://x.example.com/a)  \\n[查看详"
		 "情](https://x.example.com/p?a=1&b=2)\\n\\n![](https://x.example.com/i.png)\"}}"},
		{"chat/dingtalk-robot", "    access_token: T\n    format: text\n", "ops",
		 "/robot/send?access_token=T",
		 "{\"msgtype\":\"text\",\"text\":{\"content\":\"Price drop & more\\nOnly 3 left of this: h"
		 "ttps://x.example.com/a\\n查看详情: https://x.example.com/p?a=1&b=2\"}}"},
		{"chat/feishu-robot", "    token: T\n", "ops", "/open-apis/bot/v2/hook/T",
		 "{\"msg_type\":\"interactive\",\"card\":{\"config\":{\"wide_screen_mode\":true},\"header"
		 "\":{\"title\":{\"tag\":\"plain_text\",\"content\":\"Price drop & more\"},\"template\":\""
		 "blue\"},\"elements\":[{\"tag\":\"div\",\"text\":{\"tag\":\"lark_md\",\"content\":\"Only "
		 "**3** left of [this](https://x.example.com/a)\"}},{\"tag\":\"action\",\"actions\":[{\"ta"
		 "g\":\"button\",\"type\":\"primary\",\"text\":{\"tag\":\"plain_text\",\"content\":\"查"
		 "看详情\"},\"url\":\"https://x.example.com/p?a=1&b=2\"}]}]}}"},
		{"chat/feishu-robot", "    token: T\n    format: text\n", "ops", "/open-apis/bot/v2/hook/T",
		 "{\"msg_type\":\"text\",\"content\":{\"text\":\"Price drop & more\\nOnly 3 left of this: "
		 "https://x.example.com/a\\n查看详情: https://x.example.com/p?a=1&b=2\"}}"},
		{"chat/wecom-robot", "    key: K\n", "ops", "/cgi-bin/webhook/send?key=K",
		 "{\"msgtype\":\"news\",\"news\":{\"articles\":[{\"title\":\"Price drop & more\",\"descrip"
		 "tion\":\"Only 3 left of this: https://x.example.com/a\",\"url\":\"https://x.example.com/"
		 "p?a=1&b=2\",\"picurl\":\"https://x.example.com/i.png\"}]}}"},
		{"chat/wecom-robot", "    key: K\n    format: markdown\n", "ops",
		 "/cgi-bin/webhook/send?key=K",
		 "{\"msgtype\":\"markdown\",\"markdown\":{\"content\":\"**Price drop & more**\\nOnly **3**"
		 " left of [this](https://x.example.com/a)\\n[查看详情](https://x.example.com/p?a=1&b="
		 "2)\"}}"},
		{"chat/wecom-robot", "    key: K\n    format: markdown_v2\n", "ops",
		 "/cgi-bin/webhook/send?key=K",
		 "{\"msgtype\":\"markdown_v2\",\"markdown_v2\":{\"content\":\"**Price drop & more**\\nOnly"
		 " **3** left of [this](https://x.example.com/a)\\n[查看详情](https://x.example.com/p?"
		 "a=1&b=2)\"}}"},
		{"chat/wecom-robot", "    key: K\n    format: text\n", "ops", "/cgi-bin/webhook/send?key=K",
		 "{\"msgtype\":\"text\",\"text\":{\"content\":\"Price drop & more\\nOnly 3 left of this: h"
		 "ttps://x.example.com/a\\n查看详情: https://x.example.com/p?a=1&b=2\"}}"},
		{"chat/discord", "    url: https://discord.com/api/v10/webhooks/1/T\n", "ops",
		 "/api/v10/webhooks/1/T?wait=true",
		 "{\"embeds\":[{\"title\":\"Price drop & more\",\"url\":\"https://x.example.com/p?a=1&b=2"
		 "\",\"description\":\"Only **3** left of [this](https://x.example.com/a)\",\"image\":{\"u"
		 "rl\":\"https://x.example.com/i.png\"}}],\"allowed_mentions\":{\"parse\":[]}}"},
		{"chat/discord", "    url: https://discord.com/api/v10/webhooks/1/T\n    format: text\n",
		 "ops", "/api/v10/webhooks/1/T?wait=true",
		 "{\"content\":\"**Price drop & more**\\nOnly **3** left of [this](https://x.example.com/a"
		 ")\\nhttps://x.example.com/p?a=1&b=2\",\"allowed_mentions\":{\"parse\":[]}}"},
		{"chat/teams", "    url: https://x.example.com/wf?sig=S\n", "ops", "/wf?sig=S",
		 "{\"type\":\"message\",\"attachments\":[{\"contentType\":\"application/vnd.microsoft.card"
		 ".adaptive\",\"contentUrl\":null,\"content\":{\"$schema\":\"http://adaptivecards.io/schem"
		 "as/adaptive-card.json\",\"type\":\"AdaptiveCard\",\"version\":\"1.4\",\"msteams\":{\"wid"
		 "th\":\"Full\"},\"body\":[{\"type\":\"TextBlock\",\"size\":\"Medium\",\"weight\":\"Bolder"
		 "\",\"text\":\"Price drop & more\",\"wrap\":true},{\"type\":\"TextBlock\",\"text\":\"Only"
		 " **3** left of [this](https://x.example.com/a)\",\"wrap\":true},{\"type\":\"Image\",\"ur"
		 "l\":\"https://x.example.com/i.png\"}],\"actions\":[{\"type\":\"Action.OpenUrl\",\"title"
		 "\":\"Open\",\"url\":\"https://x.example.com/p?a=1&b=2\"}]}}]}"},
		{"chat/google-chat",
		 "    url: https://chat.googleapis.com/v1/spaces/S/messages?key=K&token=T\n", "ops",
		 "/v1/spaces/S/messages?key=K&token=T",
		 "{\"text\":\"*Price drop &amp; more*\\nOnly *3* left of <https://x.example.com/a|this>\","
		 "\"cardsV2\":[{\"cardId\":\"content\",\"card\":{\"sections\":[{\"widgets\":[{\"image\":{"
		 "\"imageUrl\":\"https://x.example.com/i.png\"}},{\"buttonList\":{\"buttons\":[{\"text\":"
		 "\"Open\",\"onClick\":{\"openLink\":{\"url\":\"https://x.example.com/p?a=1&b=2\"}}}]}}]}]"
		 "}}]}"},
		{"chat/mattermost", "    server: https://mm.example.com\n    key: K\n", "ops", "/hooks/K",
		 "{\"text\":\"**Price drop & more**  \\nOnly **3** left of [this](https://x.example.com/a)"
		 "  \\n[Open](https://x.example.com/p?a=1&b=2)\",\"attachments\":[{\"fallback\":\"Price dr"
		 "op & more\",\"image_url\":\"https://x.example.com/i.png\"}]}"},
		{"chat/line", "    token: T\n", "U0123456789abcdef0123456789abcdef", "/v2/bot/message/push",
		 "{\"to\":\"U0123456789abcdef0123456789abcdef\",\"messages\":[{\"type\":\"text\",\"text\":"
		 "\"Price drop & more\\nOnly 3 left of this: https://x.example.com/a\\nhttps://x.example.c"
		 "om/p?a=1&b=2\"},{\"type\":\"image\",\"originalContentUrl\":\"https://x.example.com/i.png"
		 "\",\"previewImageUrl\":\"https://x.example.com/i.png\"}]}"},
		{"chat/line", "    token: T\n    format: card\n", "U0123456789abcdef0123456789abcdef",
		 "/v2/bot/message/push",
		 "{\"to\":\"U0123456789abcdef0123456789abcdef\",\"messages\":[{\"type\":\"template\",\"alt"
		 "Text\":\"Price drop & more\",\"template\":{\"type\":\"buttons\",\"thumbnailImageUrl\":\""
		 "https://x.example.com/i.png\",\"title\":\"Price drop & more\",\"text\":\"Only 3 left of "
		 "this: https://x.example.com/a\",\"actions\":[{\"type\":\"uri\",\"label\":\"Open\",\"uri"
		 "\":\"https://x.example.com/p?a=1&b=2\"}]}}]}"},
		{"chat/whatsapp-cloud", "    token: T\n    phone_number_id: \"1\"\n", "+8613800001111",
		 "/v21.0/1/messages",
		 "{\"messaging_product\":\"whatsapp\",\"recipient_type\":\"individual\",\"to\":\"861380000"
		 "1111\",\"type\":\"image\",\"image\":{\"link\":\"https://x.example.com/i.png\",\"caption"
		 "\":\"*Price drop & more*\\nOnly *3* left of this: https://x.example.com/a\\nhttps://x.ex"
		 "ample.com/p?a=1&b=2\"},\"biz_opaque_callback_data\":\"01HF7YAT000000000000000001\"}"},
		{"alert/pagerduty", "    routing_key: R\n", "ops", "/v2/enqueue",
		 "{\"routing_key\":\"R\",\"event_action\":\"trigger\",\"dedup_key\":\"01HF7YAT000000000000"
		 "000001\",\"client\":\"Hermod\",\"client_url\":\"https://x.example.com/p?a=1&b=2\",\"payl"
		 "oad\":{\"summary\":\"Price drop & more\",\"source\":\"hermod\",\"severity\":\"error\",\""
		 "timestamp\":\"2023-11-14T22:13:20Z\",\"custom_details\":{\"text\":\"Only 3 left of this:"
		 " https://x.example.com/a\"}},\"links\":[{\"href\":\"https://x.example.com/p?a=1&b=2\"}],"
		 "\"images\":[{\"src\":\"https://x.example.com/i.png\",\"alt\":\"Price drop & more\"}]}"},
		{"chat/serverchan", "    send_key: SCT1\n", "me", "/SCT1.send",
		 "title=Price+drop+%26+more&desp=%21%5B%5D%28https%3A%2F%2Fx.example.com%2Fi.png%29%0A%0AO"
		 "nly+**3**+left+of+%5Bthis%5D%28https%3A%2F%2Fx.example.com%2Fa%29++%0A%5B%E6%9F%A5%E7%9C"
		 "%8B%E8%AF%A6%E6%83%85%5D%28https%3A%2F%2Fx.example.com%2Fp%3Fa%3D1%26b%3D2%29"},
		{"chat/pushplus", "    token: T\n", "me", "/send",
		 "{\"token\":\"T\",\"title\":\"Price drop & more\",\"content\":\"![](https://x.example.com"
		 "/i.png)\\n\\nOnly **3** left of [this](https://x.example.com/a)  \\n[查看详情](https"
		 "://x.example.com/p?a=1&b=2)\",\"template\":\"markdown\",\"channel\":\"wechat\"}"},
		{"push/ntfy", "    markdown: yes\n", "ci", "/",
		 "{\"topic\":\"ci\",\"title\":\"Price drop & more\",\"message\":\"Only **3** left of [this"
		 "](https://x.example.com/a)\",\"click\":\"https://x.example.com/p?a=1&b=2\",\"attach\":\""
		 "https://x.example.com/i.png\",\"markdown\":true,\"actions\":[{\"action\":\"view\",\"labe"
		 "l\":\"Open\",\"url\":\"https://x.example.com/p?a=1&b=2\"}]}"},
		{"push/gotify", "    server: https://g.example.com\n    token: T\n", "ci", "/message",
		 "{\"title\":\"Price drop & more\",\"message\":\"Only **3** left of [this](https://x.examp"
		 "le.com/a)\",\"priority\":5,\"extras\":{\"client::display\":{\"contentType\":\"text/markd"
		 "own\"},\"client::notification\":{\"click\":{\"url\":\"https://x.example.com/p?a=1&b=2\"}"
		 "}}}"},
		{"push/bark", "", "devicekey01", "/push",
		 "{\"device_key\":\"devicekey01\",\"title\":\"Price drop & more\",\"body\":\"Only 3 left o"
		 "f this\",\"url\":\"https://x.example.com/p?a=1&b=2\"}"},
		{"sms/twilio", "    account_sid: AC1\n    auth_token: T\n    from: \"+14155550101\"\n",
		 "+8613800000000", "/2010-04-01/Accounts/AC1/Messages.json",
		 "To=%2B8613800000000&From=%2B14155550101&Body=Only+3+left+of+this%3A+https%3A%2F%2Fx.exam"
		 "ple.com%2Fa%0Ahttps%3A%2F%2Fx.example.com%2Fp%3Fa%3D1%26b%3D2"},
	};

	for (size_t i = 0; i < hm_countof(rows); i++) {
		char message[600];

		channel(rows[i].adapter, rows[i].settings);
		snprintf(message, sizeof(message), "{\"to\":\"%s\"," CONTENT "}", rows[i].to);
		kit_message(&k, message);
		/* 01HF7YAT000000000000000001 */
		memset(k.rcpts[0].id.b + 6, 0, 10);
		k.rcpts[0].id.b[15] = 1;
		memset(&k.call, 0, sizeof(k.call));
		if (hm_channel_build(&k.in, &k.a, &k.call, &k.origin, &k.outcome, &k.err) != 0)
			fail_msg("%s: %s", rows[i].adapter, k.err.text);
		assert_string_equal(kit_c(&k, k.call.path), rows[i].path);
		assert_string_equal(kit_c(&k, k.call.body), rows[i].body);
	}
}

/* A mail goes out twice over: as words, and as a document with the same words. */
static void mails(void **state)
{
	static const struct {
		const char *adapter, *settings, *text, *html;
	} rows[] = {
		{"email/sendgrid", "    api_key: K\n    from: a@example.com\n",
		 "{\"type\":\"text/plain\",\"value\":\"Only 3 left of this",
		 "{\"type\":\"text/html\",\"value\":\"<!DOCTYPE html>"},
		{"email/resend", "    api_key: K\n    from: a@example.com\n",
		 "\"text\":\"Only 3 left of this", "\"html\":\"<!DOCTYPE html>"},
		{"email/postmark", "    server_token: K\n    from: a@example.com\n",
		 "\"TextBody\":\"Only 3 left of this", "\"HtmlBody\":\"<!DOCTYPE html>"},
		{"email/mailgun", "    api_key: K\n    domain: d\n    from: a@example.com\n",
		 "&text=Only+3+left+of+this", "&html=%3C%21DOCTYPE+html%3E"},
	};

	for (size_t i = 0; i < hm_countof(rows); i++) {
		channel(rows[i].adapter, rows[i].settings);
		kit_need_build(&k, "{\"to\":\"b@example.net\"," CONTENT "}");
		assert_true(has(rows[i].text));
		assert_true(has(rows[i].html));
		assert_true(has("<strong>3</strong>") || has("%3Cstrong%3E3%3C%2Fstrong%3E"));
		assert_int_equal(kit_build(&k, "{\"to\":\"b@example.net\",\"body\":\"b\"}"), HM_EINVAL);
		assert_int_equal(kit_build(&k, "{\"to\":\"nobody\",\"title\":\"t\",\"body\":\"b\"}"),
				 HM_EINVAL);
		assert_int_equal(k.outcome, HM_OUT_INVALID_RECIPIENT);
	}
	/* Each of several has a mail of his own, and nobody sees the others. */
	channel("email/sendgrid", rows[0].settings);
	kit_need_build(&k, "{\"to\":[\"b@example.net\",\"c@example.net\"],\"title\":\"t\",\"body\":\"b\"}");
	assert_true(has(
		"{\"personalizations\":[{\"to\":[{\"email\":\"b@example.net\"}],\"custom_args\":{\"hermod_"
		"id\":"
		"\"01HF7YAT00E008000000000001\"}},{\"to\":[{\"email\":\"c@example.net\"}],\"custom_args\":{"
		"\"hermod_id\":\"01HF7YAT00E008000000000002\"}}],"));
	channel("email/mailgun", rows[3].settings);
	kit_need_build(&k, "{\"to\":[\"b@example.net\",\"c@example.net\"],\"title\":\"t\",\"body\":\"b\"}");
	assert_true(has("&to=b%40example.net&to=c%40example.net&"));
	assert_true(has("&recipient-variables=%7B%22b%40example.net%22%3A%7B%22id%22%3A%"
			"2201HF7YAT00E008000000000001%22%7D%"
			"2C%22c%40example.net%22%3A%7B%22id%22%3A%2201HF7YAT00E008000000000002%22%7D%7D&"));
	assert_true(has("&v%3Ahermod_id=%25recipient.id%25"));
	/* A name in front of an address is quoted. */
	channel("email/resend", "    api_key: K\n    from: a@example.com\n    from_name: 'Ac\"me, \\ Inc'\n");
	kit_need_build(&k, "{\"to\":\"b@example.net\",\"title\":\"t\\r\\nBcc: x\",\"body\":\"b\"}");
	assert_true(has("{\"from\":\"\\\"Ac\\\\\\\"me, \\\\\\\\ Inc\\\" <a@example.com>\""));
	assert_true(has("\"subject\":\"t  Bcc: x\""));
}

/* Who is called is named by options; a text never calls anybody. */
static void mentions(void **state)
{
	static const char *const text = "hi <@all> <at user_id=\\\"all\\\"></at> @everyone <!channel>";
	char message[400];

	channel("chat/dingtalk-robot", "    access_token: T\n");
	kit_need_build(&k, "{\"to\":\"g\",\"body\":\"b\",\"options\":{\"mention\":[\"u1\"],\"mention_"
			   "mobile\":[\"13800001111\"]}}");
	assert_string_equal(kit_c(&k, k.call.body),
			    "{\"msgtype\":\"text\",\"text\":{\"content\":\"b\\n\\n@u1 @13800001111\"},"
			    "\"at\":{\"atUserIds\":[\"u1\"],\"atMobiles\":[\"13800001111\"]}}");
	assert_int_equal(kit_build(&k, "{\"to\":\"g\",\"body\":\"b\",\"options\":{\"mention_all\":true}}"),
			 HM_EINVAL);
	channel("chat/dingtalk-robot", "    access_token: T\n    allow_all: yes\n");
	kit_need_build(&k, "{\"to\":\"g\",\"body\":\"b\",\"options\":{\"mention_all\":true}}");
	assert_true(has("\"at\":{\"isAtAll\":true}"));

	channel("chat/wecom-robot", "    key: K\n");
	kit_need_build(&k, "{\"to\":\"g\",\"body\":\"b\",\"options\":{\"mention\":[\"lisi\"],\"mention_"
			   "mobile\":[\"138\"]}}");
	assert_string_equal(kit_c(&k, k.call.body),
			    "{\"msgtype\":\"text\",\"text\":{\"content\":\"b\",\"mentioned_list\":[\"lisi\"],"
			    "\"mentioned_mobile_list\":[\"138\"]}}");
	kit_need_build(&k,
		       "{\"to\":\"g\",\"title\":\"t\",\"body\":\"b\",\"options\":{\"mention\":[\"lisi\"]}}");
	assert_true(has("\\n<@lisi>\"}"));
	assert_int_equal(kit_build(&k, "{\"to\":\"g\",\"body\":\"b\",\"options\":{\"mention\":[\"@ALL\"]}}"),
			 HM_EINVAL);
	for (int kind = 0; kind < 2; kind++) {
		snprintf(message, sizeof(message),
			 "{\"to\":\"g\",\"body\":\"%s\",\"options\":{\"format\":\"%s\"}}", text,
			 kind ? "markdown" : "text");
		kit_need_build(&k, message);
		assert_false(has("<@all"));
	}

	channel("chat/feishu-robot", "    token: T\n");
	for (int kind = 0; kind < 2; kind++) {
		snprintf(message, sizeof(message),
			 "{\"to\":\"g\",\"body\":\"%s\",\"options\":{\"format\":\"%s\",\"mention\":[\"ou_1\"]"
			 "}}",
			 text, kind ? "card" : "text");
		kit_need_build(&k, message);
		assert_false(has("<at user_id=\\\"all"));
		assert_true(has(kind ? "<at id=ou_1></at>" : "<at user_id=\\\"ou_1\\\"></at>"));
	}
	assert_int_equal(
		kit_build(&k,
			  "{\"to\":\"g\",\"body\":\"b\",\"options\":{\"mention\":[\"a\\\"><at id=all>\"]}}"),
		HM_EINVAL);

	channel("chat/discord", "    url: https://discord.com/api/v10/webhooks/1/T\n");
	snprintf(message, sizeof(message),
		 "{\"to\":\"g\",\"body\":\"%s\",\"options\":{\"mention\":[\"42\"]}}", text);
	kit_need_build(&k, message);
	assert_true(has("\"content\":\"<@42>\\nhi "));
	assert_true(has("\"allowed_mentions\":{\"parse\":[],\"users\":[\"42\"]}"));
	assert_int_equal(kit_build(&k, "{\"to\":\"g\",\"body\":\"b\",\"options\":{\"mention\":[\"&1\"]}}"),
			 HM_EINVAL);

	channel("chat/slack", "    token: T\n");
	snprintf(message, sizeof(message), "{\"to\":\"C1\",\"body\":\"%s\"}", text);
	kit_need_build(&k, message);
	assert_false(has("<!channel>"));
	assert_false(has("<@all>"));
	channel("chat/mattermost", "    server: https://m.example.com\n    key: K\n");
	kit_need_build(&k, message);
	assert_false(has("@everyone"));
	assert_false(has("@all"));
}

/* Words of three bytes each, so that every cut is between words. */
static void long_message(char *json, size_t size, size_t words, const char *more)
{
	size_t n = (size_t)snprintf(json, size, "{\"to\":\"1234\",%s\"body\":\"", more);

	for (size_t i = 0; i < words; i++)
		n += (size_t)snprintf(json + n, size - n, "值 ");
	snprintf(json + n, size - n, "\"}");
}

static struct hm_str text_behind(const char *name)
{
	ptrdiff_t at = hm_str_find(k.call.body, hm_str_c(name));
	struct hm_str s;

	assert_true(at >= 0);
	s = hm_str_n(k.call.body.p + at + strlen(name), k.call.body.len - (size_t)at - strlen(name));
	s.len = (size_t)hm_str_chr(s, '"');
	return s;
}

static void limits(void **state)
{
	static const struct {
		const char *adapter, *settings, *name, *more;
		enum hm_unit unit;
		size_t max;
		uint32_t parts; /* 1: cut */
	} rows[] = {
		{"chat/telegram", "    token: \"1:A\"\n", "\"text\":\"", "", HM_UNIT_UTF16, 4096, 5},
		{"chat/telegram", "    token: \"1:A\"\n", "\"caption\":\"",
		 "\"image\":\"https://x.example/i.png\",", HM_UNIT_UTF16, 1024, 1},
		{"chat/discord", "    url: https://d.example/w\n", "\"content\":\"", "", HM_UNIT_CHARS, 2000,
		 5},
		{"chat/discord", "    url: https://d.example/w\n", "\"description\":\"", "\"title\":\"t\",",
		 HM_UNIT_CHARS, 4096, 1},
		{"chat/wecom-robot", "    key: K\n", "\"content\":\"", "", HM_UNIT_BYTES, 2048, 1},
		{"chat/wecom-robot", "    key: K\n", "\"content\":\"", "\"title\":\"t\",", HM_UNIT_BYTES,
		 4096, 1},
		{"chat/slack", "    token: T\n", "{\"type\":\"mrkdwn\",\"text\":\"", "\"title\":\"t\",",
		 HM_UNIT_CHARS, 3000, 5},
		{"chat/line", "    token: T\n", "\"type\":\"text\",\"text\":\"", "", HM_UNIT_UTF16, 5000, 5},
		{"push/ntfy", "    icon: https://x.example/i.png\n", "\"message\":\"", "", HM_UNIT_BYTES,
		 4096, 1},
	};
	static char json[80000];

	for (size_t i = 0; i < hm_countof(rows); i++)
		for (uint32_t part = 0; part < rows[i].parts; part++) {
			uint32_t parts = 0;
			struct hm_str s;
			size_t n;

			channel(rows[i].adapter, rows[i].settings);
			long_message(json, sizeof(json), 10000, rows[i].more);
			kit_message(&k, json);
			if (hm_str_is(hm_channel_info(k.c)->adapter, "chat/line"))
				k.rcpts[0].addr = HM_STR("U0123456789abcdef0123456789abcdef");
			k.in.part = part;
			k.in.parts_r = &parts;
			memset(&k.call, 0, sizeof(k.call));
			if (hm_channel_build(&k.in, &k.a, &k.call, &k.origin, &k.outcome, &k.err) != 0)
				fail_msg("%s: %s", rows[i].adapter, k.err.text);
			assert_int_equal(parts, rows[i].parts);
			s = text_behind(rows[i].name);
			assert_true(hm_utf8_valid(s));
			/* A line break is two bytes here and one in the limit. */
			n = hm_units(s, rows[i].unit) - (hm_str_find(s, HM_STR("\\n")) >= 0);
			if (n > rows[i].max || (parts == 1 && n + 12 < rows[i].max))
				fail_msg("%s %s: %zu of %zu", rows[i].adapter, rows[i].name, n, rows[i].max);
			if (parts == 1)
				assert_true(hm_str_ends(s, HM_STR("…")));
			else
				assert_true(
					hm_str_starts(s, hm_arena_printf(&k.a, "(%u/%u) ", part + 1, parts)));
		}
	/* What stands once stands in one part: the title in the first, buttons in the last. */
	channel("chat/slack", "    token: T\n");
	for (uint32_t part = 0; part < 5; part++) {
		uint32_t parts;

		long_message(json, sizeof(json), 10000, "\"title\":\"t\",\"url\":\"https://x.example/\",");
		kit_message(&k, json);
		k.in.part = part;
		k.in.parts_r = &parts;
		memset(&k.call, 0, sizeof(k.call));
		assert_int_equal(hm_channel_build(&k.in, &k.a, &k.call, &k.origin, &k.outcome, &k.err), 0);
		assert_int_equal(has("{\"type\":\"header\""), part == 0);
		assert_int_equal(has("{\"type\":\"button\""), part == 4);
	}
	/* Whole requests have limits too: the text gives way. */
	channel("chat/feishu-robot", "    token: T\n");
	long_message(json, sizeof(json), 10000, "\"title\":\"t\",");
	kit_need_build(&k, json);
	assert_true(k.call.body.len <= 20480 && k.call.body.len > 20000);
	channel("chat/teams", "    url: https://t.example/w\n");
	kit_need_build(&k, json);
	assert_true(k.call.body.len <= 28672 && k.call.body.len > 28000);
	/* A text message that costs too much: the short text, or as much as the money buys. */
	channel("sms/twilio", "    account_sid: A\n    auth_token: T\n    from: B\n    max_segments: 2\n");
	kit_need_build(&k, "{\"to\":\"+8613800000000\",\"body\":\"短\"}");
	long_message(json, sizeof(json), 200, "\"short\":\"短\",");
	kit_message(&k, json);
	k.rcpts[0].addr = HM_STR("+8613800000000");
	memset(&k.call, 0, sizeof(k.call));
	assert_int_equal(hm_channel_build(&k.in, &k.a, &k.call, &k.origin, &k.outcome, &k.err), 0);
	assert_true(hm_str_ends(k.call.body, HM_STR("&Body=%E7%9F%AD")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_content),
		cmocka_unit_test(mails),
		cmocka_unit_test(mentions),
		cmocka_unit_test(limits),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
