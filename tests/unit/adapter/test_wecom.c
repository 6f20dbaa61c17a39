/*
 * test_wecom.c - adapters/chat/wecom-app.yaml: token request, exact bodies, limits, batches, partial results
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
	kit_counted(kit_vectors, "vectors: WeCom");
	return 0;
}

#define CHANNEL \
	"    adapter: chat/wecom-app\n    corp_id: ww1\n    agent_id: 1000002\n    secret: \"s+/ &\"\n"

static void token(void **state)
{
	struct hm_origin_opts o;
	struct hm_call call = {0};
	struct hm_cred_result r;
	struct hm_err e;

	kit_need_channel(&k, CHANNEL);
	assert_int_equal(hm_cred_request(k.c, WALL_MS, HM_STR(""), &k.a, &call, &o, &e), 0);
	assert_string_equal(kit_c(&k, call.method), "GET");
	assert_string_equal(kit_c(&k, o.host), "qyapi.weixin.qq.com");
	assert_string_equal(kit_c(&k, call.path), "/cgi-bin/gettoken?corpid=ww1&corpsecret=s%2B%2F%20%26");
	assert_int_equal(call.body.len, 0);
	assert_int_equal(call.n_headers, 0);
	call.fate = HM_FATE_ANSWERED;
	call.status = 200;
	call.answer = HM_STR("{\"errcode\":0,\"errmsg\":\"ok\",\"access_token\":\"T\",\"expires_in\":7200}");
	hm_cred_judge(k.c, &call, WALL_MS, &k.a, &r);
	assert_outcome(r, "ok");
	assert_int_equal(r.refresh_at_ms, WALL_MS + 6900000);
	call.answer = HM_STR("{\"errcode\":40001,\"errmsg\":\"invalid credential\"}");
	hm_cred_judge(k.c, &call, WALL_MS, &k.a, &r);
	assert_outcome(r, "auth");
	assert_true(r.operator_needed);
	call.answer = HM_STR("{\"errcode\":-1,\"errmsg\":\"busy\"}");
	hm_cred_judge(k.c, &call, WALL_MS, &k.a, &r);
	assert_outcome(r, "retry");
	call.answer = HM_STR("{\"errcode\":45009}");
	hm_cred_judge(k.c, &call, WALL_MS, &k.a, &r);
	assert_outcome(r, "rate_limited");
	assert_int_equal(r.retry_after_ms, 60000);
	/* Two applications never share a token; the same one under two names does. */
	uint64_t id = k.c->cred_id;

	kit_need_channel(
		&k,
		"    adapter: chat/wecom-app\n    corp_id: ww1\n    agent_id: 1000002\n    secret: other\n");
	assert_true(k.c->cred_id != id);
}

static void bodies(void **state)
{
	static const struct {
		const char *message, *body;
	} rows[] = {
		{"{\"to\":[\"zhangsan\",\"lisi\"],\"body\":\"工单 8841 已关闭\"}",
		 "{\"touser\":\"zhangsan|lisi\",\"msgtype\":\"text\",\"agentid\":1000002,\"text\":{"
		 "\"content\":\"工单 8841 已关闭\"}}"},
		{"{\"to\":\"a\",\"title\":\"T\",\"body\":\"b\\n\\\"q\\\"\",\"options\":{\"format\":\"text\"},"
		 "\"url\":\"https://x.example/\"}",
		 "{\"touser\":\"a\",\"msgtype\":\"text\",\"agentid\":1000002,"
		 "\"text\":{\"content\":\"T\\nb\\n\\\"q\\\"\\nhttps://x.example/\"}}"},
		{"{\"to\":\"a\",\"title\":\"磁盘告警\",\"body\":\"> 主机: "
		 "db-3\",\"options\":{\"format\":\"markdown\"}}",
		 "{\"touser\":\"a\",\"msgtype\":\"markdown\",\"agentid\":1000002,"
		 "\"markdown\":{\"content\":\"**磁盘告警**\\n\u200b> 主机: db-3\"}}"},
		{"{\"to\":\"a\",\"title\":\"a**b\",\"body\":\"**x** "
		 "[y](https://y.example)\",\"format\":\"markdown\","
		 "\"url\":\"https://x.example/\",\"options\":{\"format\":\"markdown\",\"button\":\"open\"}}",
		 "{\"touser\":\"a\",\"msgtype\":\"markdown\",\"agentid\":1000002,\"markdown\":{\"content\":"
		 "\"**a*\u200b*b**\\n**x** [y](https://y.example)\\n[open](https://x.example/)\"}}"},
		{"{\"to\":\"a\",\"title\":\"审批待办\",\"body\":\"金额 320 "
		 "元\",\"url\":\"https://oa.example.com/t/9\","
		 "\"options\":{\"button\":\"去处理吧现在\"}}",
		 "{\"touser\":\"a\",\"msgtype\":\"textcard\",\"agentid\":1000002,\"textcard\":{\"title\":"
		 "\"审批待办\","
		 "\"description\":\"金额 320 "
		 "元\",\"url\":\"https://oa.example.com/t/9\",\"btntxt\":\"去处理吧\"}}"},
		{"{\"to\":\"a\",\"title\":\"月报\",\"body\":\"三月\",\"url\":\"https://x.example.com/r\","
		 "\"image\":\"https://x.example.com/r.png\",\"options\":{\"format\":\"news\"}}",
		 "{\"touser\":\"a\",\"msgtype\":\"news\",\"agentid\":1000002,\"news\":{\"articles\":[{"
		 "\"title\":\"月报\","
		 "\"description\":\"三月\",\"url\":\"https://x.example.com/r\",\"picurl\":\"https://"
		 "x.example.com/r.png\"}]}}"},
		{"{\"to\":\"a\",\"body\":\"x\\u0001\\u001fy\\tz\\r\\n\"}",
		 "{\"touser\":\"a\",\"msgtype\":\"text\",\"agentid\":1000002,\"text\":{\"content\":"
		 "\"xy\\tz\"}}"},
	};
	uint8_t flags = 0;

	kit_need_channel(&k, CHANNEL);
	assert_int_equal(hm_channel_info(k.c)->batch_max, 1000);
	for (size_t i = 0; i < hm_countof(rows); i++) {
		kit_need_build(&k, rows[i].message);
		assert_string_equal(kit_c(&k, k.call.body), rows[i].body);
	}
	kit_need_build(&k, "{\"to\":\"a\",\"body\":\"b\",\"credential\":\"T&x\"}");
	assert_string_equal(kit_c(&k, k.call.path), "/cgi-bin/message/send?access_token=T%26x");
	assert_string_equal(kit_header_flags(&k, "content-type", &flags), "application/json");
	kit_need_channel(&k, CHANNEL "    safe: 1\n    duplicate_check: 30m\n    format: markdown\n");
	kit_need_build(&k, "{\"to\":\"a\",\"body\":\"b\"}");
	assert_string_equal(kit_c(&k, k.call.body),
			    "{\"touser\":\"a\",\"msgtype\":\"markdown\",\"agentid\":1000002,\"markdown\":{"
			    "\"content\":\"b\"},"
			    "\"safe\":1,\"enable_duplicate_check\":1,\"duplicate_check_interval\":1800}");
}

/* 2048 bytes, never inside a character, the mark included. */
static void cut(void **state)
{
	char json[8192];
	struct hm_str content;
	ptrdiff_t at;

	kit_need_channel(&k, CHANNEL);
	for (int n = 680; n < 690; n++) {
		struct hm_buf b;

		hm_buf_init(&b, 8192);
		for (int i = 0; i < n; i++)
			hm_buf_lit(&b, "值");
		snprintf(json, sizeof(json), "{\"to\":\"a\",\"body\":\"%s\"}", hm_buf_cstr(&b));
		hm_buf_fini(&b);
		kit_need_build(&k, json);
		at = hm_str_find(k.call.body, HM_STR("\"content\":\""));
		content = hm_str_n(k.call.body.p + at + 11, k.call.body.len - (size_t)at - 14);
		assert_true(hm_utf8_valid(content));
		assert_true(content.len <= 2048);
		if (n * 3 > 2048)
			assert_true(hm_str_ends(content, HM_STR("…")) && content.len > 2040);
		else
			assert_int_equal(content.len, n * 3);
	}
}

static void refused(void **state)
{
	static const struct {
		const char *json, *outcome;
	} rows[] = {
		{"{\"to\":\"a|b\",\"body\":\"x\"}", "invalid_recipient"},
		{"{\"to\":[\"a\",\"b|@all\"],\"body\":\"x\"}", "invalid_recipient"},
		{"{\"to\":[\"a\",\"@all\"],\"body\":\"x\"}", "invalid_recipient"},
		{"{\"to\":\"@ALL\",\"body\":\"x\"}", "invalid_recipient"},
		{"{\"to\":\"a\"}", "bad_request"},
		{"{\"to\":\"a\",\"body\":\"\\u0001 \"}", "bad_request"},
		{"{\"to\":\"a\",\"body\":\"x\",\"options\":{\"format\":\"card\"}}", "bad_request"},
		{"{\"to\":\"a\",\"title\":\"t\",\"body\":\"x\",\"url\":\"javascript:1\",\"options\":{"
		 "\"format\":\"card\"}}",
		 "bad_request"},
		{"{\"to\":\"a\",\"body\":\"x\",\"options\":{\"format\":\"video\"}}", "bad_request"},
	};
	char json[4096], url[2200];

	kit_need_channel(&k, CHANNEL);
	for (size_t i = 0; i < hm_countof(rows); i++) {
		if (kit_build(&k, rows[i].json) != HM_EINVAL)
			fail_msg("row %zu was accepted", i);
		assert_string_equal(hm_outcome_name(k.outcome), rows[i].outcome);
	}
	memset(url, 'u', sizeof(url));
	url[2100] = '\0';
	snprintf(json, sizeof(json), "{\"to\":\"a\",\"body\":\"x\",\"url\":\"https://%s\"}", url);
	assert_int_equal(kit_build(&k, json), HM_EINVAL);
	assert_string_equal(k.err.field, "url");
	kit_need_channel(&k, CHANNEL "    allow_all: yes\n");
	kit_need_build(&k, "{\"to\":\"@all\",\"body\":\"x\"}");
}

static void batch_of_thousand(void **state)
{
	struct hm_build_rcpt *r;

	kit_need_channel(&k, CHANNEL);
	kit_message(&k, "{\"to\":\"u0\",\"body\":\"x\"}");
	r = hm_arena_zalloc(&k.a, 1001 * sizeof(*r));
	for (int i = 0; i < 1001; i++)
		r[i].addr = hm_arena_printf(&k.a, "u%d", i);
	k.in.rcpts = r;
	k.in.n_rcpts = 1001;
	assert_int_equal(hm_channel_build(&k.in, &k.a, &k.call, &k.origin, &k.outcome, &k.err), HM_EINVAL);
	k.in.n_rcpts = 1000;
	assert_int_equal(hm_channel_build(&k.in, &k.a, &k.call, &k.origin, &k.outcome, &k.err), 0);
	assert_true(hm_str_starts(k.call.body, HM_STR("{\"touser\":\"u0|u1|u2|")));
	assert_true(hm_str_find(k.call.body, HM_STR("|u998|u999\",")) > 0);
}

static enum hm_outcome of(const struct hm_verdict *v, uint32_t i)
{
	for (size_t p = 0; p < v->n_partial; p++)
		if (v->partial[p].index == i)
			return v->partial[p].outcome;
	return v->outcome;
}

static void partial(void **state)
{
	struct hm_verdict v;

	kit_need_channel(&k, CHANNEL);
	kit_need_build(&k, "{\"to\":[\"ZhangSan\",\"lisi\",\"Wang.Wu\",\"zhao\",\"LISI\"],\"body\":\"x\"}");
	v = kit_answer(&k, 200,
		       "{\"errcode\":0,\"errmsg\":\"ok\",\"invaliduser\":\"zhangsan|nobody|lisi\","
		       "\"invalidparty\":\"\","
		       "\"unlicenseduser\":\"wang.wu\",\"msgid\":\"m1\"}");
	assert_outcome(v, "ok");
	assert_int_equal(v.n_partial, 4);
	assert_int_equal(of(&v, 0), HM_OUT_INVALID_RECIPIENT);
	assert_int_equal(of(&v, 1), HM_OUT_INVALID_RECIPIENT);
	assert_int_equal(of(&v, 2), HM_OUT_INVALID_RECIPIENT);
	assert_int_equal(of(&v, 3), HM_OUT_OK);
	assert_int_equal(of(&v, 4), HM_OUT_INVALID_RECIPIENT);
	assert_string_equal(kit_c(&k, v.partial[0].reason), "invaliduser");
	assert_string_equal(kit_c(&k, v.partial[3].reason), "unlicenseduser");
	assert_string_equal(kit_c(&k, v.provider_id), "m1");
	v = kit_answer(&k, 200, "{\"errcode\":0,\"invaliduser\":\"\"}");
	assert_int_equal(v.n_partial, 0);
	assert_outcome(v, "ok");
	v = kit_answer(&k, 200,
		       "{\"errcode\":81013,\"invaliduser\":\"zhangsan\",\"errmsg\":\"all invalid\"}");
	assert_outcome(v, "invalid_recipient");
	assert_int_equal(v.n_partial, 0);
	assert_string_equal(kit_c(&k, v.detail), "all invalid");
	/* Wrong types in the lists must not break anything. */
	v = kit_answer(&k, 200, "{\"errcode\":0,\"invaliduser\":[\"lisi\",7,{}],\"unlicenseduser\":12}");
	assert_outcome(v, "ok");
	assert_int_equal(of(&v, 1), HM_OUT_INVALID_RECIPIENT);
}

static void malformed(void **state)
{
	static const char *const bodies_[] = {"",
					      "{}",
					      "{\"errcode\":0",
					      "{\"errcode\":0,\"errmsg\":\"",
					      "{\"errcode\":\"\"}",
					      "0",
					      "{\"errcode\":null}",
					      "{\"errcode\":0}x",
					      "\xef\xbb\xbf{\"errcode\":0}",
					      "{\"errcode\":0.0}",
					      "{\"errcode\":false}",
					      "{\"errcode\":[0]}",
					      "{\"errcode\":99999}"};

	kit_need_channel(&k, CHANNEL);
	kit_need_build(&k, "{\"to\":\"a\",\"body\":\"b\"}");
	for (size_t i = 0; i < hm_countof(bodies_); i++) {
		struct hm_verdict v = kit_answer(&k, 200, bodies_[i]);

		if (v.outcome == HM_OUT_OK)
			fail_msg("%s is ok", bodies_[i]);
		assert_outcome(v, "unknown");
	}
	assert_outcome(kit_answer(&k, 201, "{\"errcode\":0}"), "unknown");
	assert_outcome(kit_answer(&k, 500, "{\"errcode\":0}"), "provider_down");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(token),
		cmocka_unit_test(bodies),
		cmocka_unit_test(cut),
		cmocka_unit_test(refused),
		cmocka_unit_test(batch_of_thousand),
		cmocka_unit_test(partial),
		cmocka_unit_test(malformed),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
