/*
 * test_format.c - what the adapter format can say, on adapters made up for the purpose
 *
 * Shapes of requests and answers that the four adapters in the tree do not use yet, but the providers'
 * documentation asks for: forms, repeated and numbered parameters, JSON inside JSON inside a form, multipart, XML,
 * signatures in query, form and headers, every shape of partial result, every source of waiting.
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

#define HEAD                                                              \
	"adapter: {name: sms/test, title: T}\n"                           \
	"settings:\n"                                                     \
	"  key: {type: string, secret: true, default: the-key, doc: d}\n" \
	"  extra: {type: map, doc: d}\n"                                  \
	"  names: {type: list, doc: d}\n"                                 \
	"  n: {type: int, doc: d}\n"                                      \
	"endpoint: {url: https://api.example.com/v1/}\n"
#define ANSWER "answer: {success: status == 200}\n"

static void use(const char *adapter, const char *channel)
{
	kit_use(&k, adapter, channel);
}

static void forms(void **state)
{
	use(HEAD "let:\n  vars: data\n"
		 "request:\n"
		 "  path: /send/${to}\n"
		 "  query: {Action: Send, empty: '', none: '${options.x}', to: '${recipients}'}\n"
		 "  form:\n"
		 "    To: ${recipients}\n"
		 "    Body: ${body}\n"
		 "    joined: ${recipients | join(\",\")}\n"
		 "    kept: {$value: '', $keep: true}\n"
		 "    numbered: {$each: recipients, $key: 'PhoneNumbers.${index + 1}', $value: '${it}'}\n"
		 "    attr: {$each: vars, $key: 'v:${key}', $value: '${it}'}\n"
		 "    fixed: [a, b]\n"
		 "    vars: {$json: {$merge: vars, deep: {$json: {a: '${body}'}}}}\n"
		 "    only_if: {$if: count > 5, $value: x}\n"
		 "    $merge: settings.extra\n"
		 "batch: {max: 10}\n" ANSWER,
	    "    adapter: sms/test\n    extra: {tag: \"a b\", Body: no}\n");
	kit_need_build(
		&k, "{\"to\":[\"+861\",\"+862\"],\"body\":\"a&b \\\"c\\\"\",\"data\":{\"k\":1,\"n\":null}}");
	assert_string_equal(kit_c(&k, k.call.path), "/v1/send/%2B861?Action=Send&to=%2B861&to=%2B862");
	assert_string_equal(kit_c(&k, k.call.body), "To=%2B861&To=%2B862&Body=a%26b+%22c%22&joined=%2B861%2C%"
						    "2B862&kept=&PhoneNumbers.1=%2B861&PhoneNumbers.2=%2B862"
						    "&v%3Ak=1&fixed=a&fixed=b"
						    "&vars=%7B%22deep%22%3A%22%7B%5C%22a%5C%22%3A%5C%22a%26b+"
						    "%5C%5C%5C%22c%5C%5C%5C%22%5C%22%7D%22%2C%22k%22%3A1%7D"
						    "&tag=a+b");
	assert_string_equal(kit_header(&k, "content-type"), "application/x-www-form-urlencoded");
	use(HEAD "request: {path: /, encoding: rfc3986, form: {a: '${body}'}}\n" ANSWER, NULL);
	kit_need_build(&k, "{\"to\":\"x\",\"body\":\"a b*~\"}");
	assert_string_equal(kit_c(&k, k.call.body), "a=a%20b%2A~");
}

static void json_trees(void **state)
{
	use(HEAD
	    "request:\n  path: /\n  json:\n"
	    "    s: ${body}\n    n: 5\n    f: 1.50\n    t: true\n    z: null\n    text: \"5\"\n    mixed: a "
	    "${count} b\n"
	    "    none: ${options.x}\n    empty: {a: '${options.x}'}\n    kept: {$keep: true, a: "
	    "'${options.x}'}\n"
	    "    braces: {}\n    brackets: []\n    list: ['${options.x}', '${body}', {a: '${options.x}'}]\n"
	    "    num: ${options.num}\n    bool: ${options.flag}\n    obj: ${options.obj}\n"
	    "    to: {$each: recipients, $value: {email: '${it}', i: '${index}'}}\n"
	    "    byname: {$each: recipients, $key: '${it}', $value: {i: '${index}'}}\n"
	    "    pick: {$choose: [{$if: count == 1, one: 1}, {$if: count == 2, two: 2}, {$value: other}]}\n"
	    "    pick2: {$choose: [{$if: count == 9, one: 1}, {$value: '${body}'}]}\n"
	    "    \"$$schema\": x\n    \"${settings.key}\": dyn\n    \"${to}\": dyn2\n"
	    "    literal: $${x}\n    wrapped: {$json: [1, {a: '${body}'}]}\n"
	    "    merged: {a: 1, $merge: [data, options.obj], $except: [secret]}\n"
	    "batch: {max: 10}\n" ANSWER,
	    NULL);
	kit_need_build(&k, "{\"to\":[\"p\",\"q\"],\"body\":\"B\\\"\",\"data\":{\"a\":2,\"b\":3,\"secret\":4},"
			   "\"options\":{\"num\":7,\"flag\":false,\"obj\":{\"k\":[1.25,null,\"x\"]}}}");
	assert_string_equal(
		kit_c(&k, k.call.body),
		"{\"s\":\"B\\\"\",\"n\":5,\"f\":1.50,\"t\":true,\"z\":null,\"text\":\"5\",\"mixed\":\"a 2 "
		"b\","
		"\"kept\":{},\"braces\":{},\"brackets\":[],\"list\":[\"B\\\"\"],\"num\":7,\"bool\":false,"
		"\"obj\":{\"k\":[1.25,null,\"x\"]},"
		"\"to\":[{\"email\":\"p\",\"i\":0},{\"email\":\"q\",\"i\":1}],"
		"\"byname\":{\"p\":{\"i\":0},\"q\":{\"i\":1}},\"pick\":{\"two\":2},\"pick2\":\"B\\\"\","
		"\"$schema\":\"x\",\"the-key\":\"dyn\",\"p\":\"dyn2\",\"literal\":\"${x}\","
		"\"wrapped\":\"[1,{\\\"a\\\":\\\"B\\\\\\\"\\\"}]\","
		"\"merged\":{\"a\":1,\"b\":3,\"k\":[1.25,null,\"x\"]}}");
	/* A body of one list: one object per recipient. */
	use(HEAD "request: {path: /, json: {$each: recipients, $value: {to: '${it}', id: '${id}'}}}\nbatch: "
		 "{max: 3}\n" ANSWER,
	    NULL);
	kit_need_build(&k, "{\"to\":[\"p\",\"q\"]}");
	assert_string_equal(kit_c(&k, k.call.body), "[{\"to\":\"p\",\"id\":\"01HF7YAT00E008000000000001\"},"
						    "{\"to\":\"q\",\"id\":\"01HF7YAT00E008000000000001\"}]");
}

static void other_bodies(void **state)
{
	use(HEAD "request: {path: /, xml: '<a b=\"${title}\">${body}</a>'}\n" ANSWER, NULL);
	kit_need_build(&k, "{\"to\":\"x\",\"title\":\"\\\"<\\u0001\",\"body\":\"a<b>&\\u0001\"}");
	assert_string_equal(kit_c(&k, k.call.body), "<a b=\"&quot;&lt;\xef\xbf\xbd\">a&lt;b&gt;&amp;</a>");
	assert_string_equal(kit_header(&k, "content-type"), "text/xml; charset=utf-8");
	use(HEAD "request: {path: /, method: PUT, headers: {X-Title: '${title | rfc2047}'}, text: "
		 "'${body}'}\n" ANSWER,
	    NULL);
	kit_need_build(&k, "{\"to\":\"x\",\"title\":\"Grüße\",\"body\":\"a<b\"}");
	assert_string_equal(kit_c(&k, k.call.body), "a<b");
	assert_string_equal(kit_c(&k, k.call.method), "PUT");
	assert_string_equal(kit_header(&k, "x-title"), "=?UTF-8?B?R3LDvMOfZQ==?=");
	use(HEAD "request:\n  path: /\n  multipart:\n    to: ${recipients}\n"
		 "    payload: {$value: '${body}', $file: '${title}', $type: text/plain}\nbatch: {max: "
		 "2}\n" ANSWER,
	    NULL);
	kit_need_build(
		&k, "{\"to\":[\"x\",\"y\"],\"title\":\"a\\\"b\\r\\n.txt\",\"body\":\"B\",\"nonce\":\"N\"}");
	assert_string_equal(kit_c(&k, k.call.body),
			    "--hermod-N\r\nContent-Disposition: form-data; name=\"to\"\r\n\r\nx\r\n"
			    "--hermod-N\r\nContent-Disposition: form-data; name=\"to\"\r\n\r\ny\r\n"
			    "--hermod-N\r\nContent-Disposition: form-data; name=\"payload\"; "
			    "filename=\"a%22b%0D%0A.txt\"\r\n"
			    "Content-Type: text/plain\r\n\r\nB\r\n--hermod-N--\r\n");
	assert_string_equal(kit_header(&k, "content-type"), "multipart/form-data; boundary=hermod-N");
	use(HEAD "request: {method: GET, path: /p, query: {q: '${body}'}}\n" ANSWER, NULL);
	kit_need_build(&k, "{\"to\":\"x\",\"body\":\"a b\"}");
	assert_int_equal(k.call.body.len, 0);
	assert_null(kit_header(&k, "content-type"));
	assert_string_equal(kit_c(&k, k.call.path), "/v1/p?q=a%20b");
}

static void signatures(void **state)
{
	/* Meizu: sorted names and values, appended to the form. The vector of its section. */
	use(HEAD "request:\n  path: /\n"
		 "  form: {appId: '100999', pushIds: '${recipients | join(\",\")}', messageJson: '${body}'}\n"
		 "  sign: {form: {sign: '${(request.form | sort | pairs(\"=\", \"\") ~ settings.key) | md5 | "
		 "hex}'}}\n"
		 "batch: {max: 2}\n" ANSWER,
	    "    adapter: sms/test\n    key: meizuAppSecret01\n");
	assert_int_equal(kit_build(&k, "{\"to\":[\"pid_a\",\"pid_b\"],\"body\":"
				       "\"{\\\"noticeBarInfo\\\":{\\\"title\\\":\\\"Hi\\\",\\\"content\\\":"
				       "\\\"Build 41 finished\\\"}}\"}"),
			 0);
	/* `~` binds looser than |, so the pipeline above signs pairs and key together only with its parentheses. */
	assert_non_null(strstr(kit_c(&k, k.call.body), "&sign=a4b438aaec9a6f66f6ba55ce30e815c7"));
	/* Umeng: method, URL and the exact body, in the query. */
	use("adapter: {name: sms/test, title: T}\nsettings: {key: {secret: true, doc: d}}\n"
	    "endpoint: {url: https://msgapi.umeng.com}\n"
	    "request:\n  path: /api/send\n  json: {appkey: umAppKey01, timestamp: \"${now | str}\", type: "
	    "unicast, "
	    "device_tokens: '${to}', payload: {display_type: notification, body: {ticker: Order, title: "
	    "Order, "
	    "text: Arrives Friday, after_open: go_app}}}\n"
	    "  sign: {query: {sign: '${(request.method ~ request.url ~ request.body ~ settings.key) | md5 | "
	    "hex}'}}\n" ANSWER,
	    "    adapter: sms/test\n    key: umMasterSecret01\n");
	kit_need_build(&k, "{\"to\":\"AuDeviceToken01\"}");
	assert_string_equal(kit_c(&k, k.call.path), "/api/send?sign=fe7d1ca9c39dc67e468b8b1d4f2000da");
	/* AWS SigV4, the published IAM request. */
	use("adapter: {name: sms/test, title: T}\nsettings: {key: {secret: true, doc: d}}\n"
	    "endpoint: {url: https://iam.amazonaws.com}\n"
	    "let:\n"
	    "  stamp: now | time('%Y%m%dT%H%M%SZ')\n  day: now | time('%Y%m%d')\n  scope: day ~ "
	    "'/us-east-1/iam/aws4_request'\n"
	    "  signed: \"'content-type;host;x-amz-date'\"\n"
	    "  head: request.headers | only('content-type', 'host', 'x-amz-date') | sort | pairs(':', "
	    "'\\n')\n"
	    "  canonical: >-\n"
	    "    request.method ~ '\\n' ~ request.path ~ '\\n' ~ (request.query | sort | pairs('=', '&', "
	    "'url')) ~ '\\n' ~ head ~\n"
	    "    '\\n\\n' ~ signed ~ '\\n' ~ (request.body | sha256 | hex)\n"
	    "  text: \"'AWS4-HMAC-SHA256\\\\n' ~ stamp ~ '\\\\n' ~ scope ~ '\\\\n' ~ (canonical | sha256 | "
	    "hex)\"\n"
	    "  derived: >-\n"
	    "    'aws4_request' | hmac_sha256('iam' | hmac_sha256('us-east-1' | hmac_sha256(day | "
	    "hmac_sha256('AWS4' ~ settings.key))))\n"
	    "request:\n  method: GET\n  path: /\n  query: {Version: '2010-05-08', Action: ListUsers}\n"
	    "  headers: {content-type: application/x-www-form-urlencoded; charset=utf-8, x-amz-date: "
	    "'${stamp}'}\n"
	    "  sign:\n    headers:\n"
	    "      authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/${scope}, SignedHeaders=${signed}, "
	    "Signature=${text | hmac_sha256(derived) | hex}\n" ANSWER,
	    "    adapter: sms/test\n    key: wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\n");
	kit_message(&k, "{\"to\":\"x\"}");
	k.in.wall_ms = 1440938160000ull; /* 20150830T123600Z */
	if (hm_channel_build(&k.in, &k.a, &k.call, &k.origin, &k.outcome, &k.err) != 0)
		fail_msg("%s", k.err.text);
	assert_string_equal(kit_header(&k, "authorization"),
			    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
			    "SignedHeaders=content-type;host;x-amz-date, "
			    "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
	/* Basic, and a secret in the path. */
	use(HEAD "request:\n  path: /bot${settings.key}/x\n  headers: {authorization: 'Basic ${(\"user:\" ~ "
		 "settings.key) | base64}'}\n" ANSWER,
	    NULL);
	uint8_t flags;

	kit_need_build(&k, "{\"to\":\"x\"}");
	assert_string_equal(kit_header_flags(&k, "authorization", &flags), "Basic dXNlcjp0aGUta2V5");
	assert_int_equal(flags, HM_HDR_NEVER_INDEX);
	assert_string_equal(kit_c(&k, k.call.path), "/v1/botthe-key/x");
}

static enum hm_outcome of(const struct hm_verdict *v, uint32_t i, const char **reason)
{
	for (size_t p = 0; p < v->n_partial; p++)
		if (v->partial[p].index == i) {
			if (reason)
				*reason = kit_c(&k, v->partial[p].reason);
			return v->partial[p].outcome;
		}
	return v->outcome;
}

#define PARTIAL(rules)                                                                                 \
	HEAD "request: {path: /}\nbatch: {max: 10}\nanswer: {success: status == 200 && answer, code: " \
	     "answer.code}\n"                                                                          \
	     "outcomes:\n  - {code: [Ok, \"0\"], outcome: ok}\n  - {code: Bad*, outcome: "             \
	     "invalid_recipient}\n"                                                                    \
	     "  - {code: [10..19, Slow], outcome: rate_limited}\npartial:\n  - " rules "\n"

static void partial_results(void **state)
{
	static const struct {
		const char *rule, *answer;
		const char *outcomes; /* of a b c: o i r u */
	} rows[] = {
		{"{from: answer.bad, shape: list, outcome: invalid_recipient}", "{\"bad\":[\"b\",\"zz\"]}",
		 "oio"},
		{"{from: answer.bad, shape: joined, by: ';', outcome: invalid_recipient}",
		 "{\"bad\":\"c; a\"}", "ioi"},
		{"{from: answer.items, shape: objects, id: it.to, code: it.code}",
		 "{\"items\":[{\"to\":\"b\",\"code\":\"BadNumber\"},{\"to\":\"a\",\"code\":\"Ok\"},{\"to\":"
		 "\"c\",\"code\":12}]}",
		 "oir"},
		{"{from: answer.items, shape: order, code: it.code}",
		 "{\"items\":[{\"code\":0},{\"code\":15},{\"code\":\"Odd\"}]}", "oru"},
		{"{from: answer.items, shape: order, code: it.code, when: it.code}",
		 "{\"items\":[{},{\"code\":\"BadX\"},{}]}", "oio"},
		{"{from: answer, shape: order, code: it.status}",
		 "[{\"status\":\"Ok\"},{\"status\":\"Ok\"},{\"status\":\"Bad\"}]", "ooi"},
		{"{from: answer.value, shape: by_code}",
		 "{\"value\":{\"Bad1\":[\"a\",\"b\"],\"Slow\":[\"c\"]}}", "iir"},
		{"{from: answer.value, shape: by_code}", "{\"value\":{\"Bad1\":\"a,b\"}}", "iio"},
		{"{from: answer.data.t1, shape: by_id}",
		 "{\"data\":{\"t1\":{\"a\":\"Ok\",\"b\":\"BadCid\",\"c\":\"Slow\"}}}", "oir"},
		{"{from: answer.msg.$json.illegal_tokens, shape: list, outcome: invalid_recipient}",
		 "{\"msg\":\"{\\\"success\\\":2,\\\"illegal_tokens\\\":[\\\"c\\\"]}\"}", "ooi"},
		{"{from: answer.items, shape: order, code: it.code, outcomes: [{code: Odd, outcome: retry}, "
		 "{code: '*', outcome: ok}]}",
		 "{\"items\":[{\"code\":\"Odd\"},{\"code\":\"Bad\"},{\"code\":7}]}", "too"},
		{"{from: answer.items, shape: order, code: it.code}",
		 "{\"items\":[1,\"x\",null,[],{\"code\":\"Bad\"}]}", "uuu"},
		{"{from: answer.items, shape: order, code: it.code}", "{\"items\":\"none\"}", "ooo"},
	};

	for (size_t i = 0; i < hm_countof(rows); i++) {
		char yaml[2048];
		struct hm_verdict v;

		snprintf(yaml, sizeof(yaml), PARTIAL("%s"), rows[i].rule);
		use(yaml, NULL);
		kit_need_build(&k, "{\"to\":[\"a\",\"b\",\"c\"]}");
		v = kit_answer(&k, 200, rows[i].answer);
		for (uint32_t r = 0; r < 3; r++) {
			static const char letters[] = {[HM_OUT_OK] = 'o',
						       [HM_OUT_RETRY] = 't',
						       [HM_OUT_RATE_LIMITED] = 'r',
						       [HM_OUT_INVALID_RECIPIENT] = 'i',
						       [HM_OUT_UNKNOWN] = 'u'};

			if (letters[of(&v, r, NULL)] != rows[i].outcomes[r])
				fail_msg("%s: recipient %u is %s", rows[i].rule, r,
					 hm_outcome_name(of(&v, r, NULL)));
		}
	}
}

static void waiting(void **state)
{
	static const struct {
		const char *source, *header, *body;
		uint64_t ms;
	} rows[] = {
		{"{from: header.x-reset, as: seconds}", "5", "{}", 5000},
		{"{from: header.x-reset, as: seconds}", "1.25", "{}", 1250},
		{"{from: header.x-reset, as: epoch}", "1700000030", "{}", 30000},
		{"{from: header.x-reset, as: epoch}", "1600000000", "{}", 0},
		{"{from: header.x-reset, as: epoch_ms}", "1700000000500", "{}", 500},
		{"{from: header.x-reset, as: http}", "Tue, 14 Nov 2023 22:13:21 GMT", "{}", 1000},
		{"{from: header.x-reset, as: http}", "soon", "{}", 9000},
		{"{from: header.x-reset, as: seconds}", "-5", "{}", 9000},
		{"{from: header.x-reset, as: seconds}", "99999999999999999999", "{}", 9000},
		{"{from: header.x-reset, as: seconds}", "999999999", "{}", 31ull * 86400000},
		{"{from: answer.parameters.retry_after, as: seconds}", NULL,
		 "{\"parameters\":{\"retry_after\":35}}", 35000},
		{"{from: answer.retry_after_ms, as: ms}", NULL, "{\"retry_after_ms\":1500}", 1500},
		{"{from: answer.retry_after, as: seconds}", NULL, "{\"retry_after\":64.57}", 64570},
		{"{from: answer.retry_after, as: seconds}", NULL, "{}", 9000},
	};

	for (size_t i = 0; i < hm_countof(rows); i++) {
		const char *headers[] = {"x-reset", rows[i].header, NULL};
		char yaml[1024];
		struct hm_verdict v;

		snprintf(yaml, sizeof(yaml),
			 HEAD "request: {path: /}\n" ANSWER "retry_after: [%s, {default: 9s}]\n",
			 rows[i].source);
		use(yaml, NULL);
		kit_need_build(&k, "{\"to\":\"a\"}");
		v = kit_answer_n(&k, 429, rows[i].header ? headers : NULL, hm_str_c(rows[i].body));
		assert_outcome(v, "rate_limited");
		if (v.retry_after_ms != rows[i].ms && !(rows[i].ms == 0 && v.retry_after_ms == 9000))
			fail_msg("%s %s: %llu", rows[i].source, rows[i].header ? rows[i].header : "",
				 (unsigned long long)v.retry_after_ms);
	}
	/* 22:13:20 UTC is 06:13:20 in Shanghai; the day ends 17:46:40 later, the month 15 days after that. */
	use(HEAD "request: {path: /}\nanswer: {success: status == 200, code: answer.c, timezone: '+08:00'}\n"
		 "outcomes:\n  - {code: D, outcome: rate_limited, wait: next_day}\n  - {code: M, outcome: "
		 "rate_limited, wait: next_month}\n"
		 "  - {code: S, outcome: rate_limited, wait: 3s}\n",
	    NULL);
	kit_need_build(&k, "{\"to\":\"a\"}");
	assert_int_equal(kit_answer(&k, 400, "{\"c\":\"D\"}").retry_after_ms,
			 (17 * 3600 + 46 * 60 + 40) * 1000ull);
	assert_int_equal(kit_answer(&k, 400, "{\"c\":\"M\"}").retry_after_ms,
			 (17 * 3600 + 46 * 60 + 40) * 1000ull + 15 * 86400000ull);
	assert_int_equal(kit_answer(&k, 400, "{\"c\":\"S\"}").retry_after_ms, 3000);
}

static void answers(void **state)
{
	static const char *const throttled[] = {"X-WNS-Status", "channelthrottled", "x-wns-continue-after",
						"60", NULL};
	static const char *const received[] = {"x-wns-status", "received", NULL};
	const char *disabled =
		"<ErrorResponse xmlns=\"x\"><Error><Type>Sender</Type><Code>EndpointDisabled</Code>"
		"<Message>a &amp; b</Message></Error></ErrorResponse>";
	struct hm_verdict v;

	/* Success in a header (WNS). */
	use(HEAD
	    "request: {path: /}\nanswer: {format: none, success: status == 200 && header.x-wns-status == "
	    "\"received\"}\n"
	    "outcomes:\n  - {status: 200, header: {x-wns-status: channelthrottled}, outcome: rate_limited}\n"
	    "  - {status: 200, header: {x-wns-status: dropped}, outcome: ok}\n"
	    "retry_after: [{from: header.x-wns-continue-after, as: seconds}]\n",
	    NULL);
	kit_need_build(&k, "{\"to\":\"a\"}");
	assert_outcome(kit_answer_n(&k, 200, received, HM_STR("")), "ok");
	v = kit_answer_n(&k, 200, throttled, HM_STR(""));
	assert_outcome(v, "rate_limited");
	assert_int_equal(v.retry_after_ms, 60000);
	assert_outcome(kit_answer(&k, 200, ""), "unknown");
	/* XML (Amazon SNS). */
	use(HEAD "request: {path: /}\nanswer: {format: xml, success: status == 200 && "
		 "answer.PublishResponse.PublishResult.MessageId, "
		 "code: answer.ErrorResponse.Error.Code, message: answer.ErrorResponse.Error.Message, "
		 "provider_id: answer.PublishResponse.PublishResult.MessageId}\n"
		 "outcomes: [{code: EndpointDisabled, outcome: invalid_recipient}]\n",
	    NULL);
	kit_need_build(&k, "{\"to\":\"a\"}");
	v = kit_answer(&k, 200,
		       "<?xml "
		       "version=\"1.0\"?><PublishResponse><PublishResult><MessageId>m-1</MessageId></"
		       "PublishResult></PublishResponse>");
	assert_outcome(v, "ok");
	assert_string_equal(kit_c(&k, v.provider_id), "m-1");
	v = kit_answer(&k, 400, disabled);
	assert_outcome(v, "invalid_recipient");
	assert_string_equal(kit_c(&k, v.detail), "a & b");
	assert_outcome(kit_answer(&k, 200, "<PublishResponse><PublishResult><MessageId>m-1</MessageId>"),
		       "unknown");
	/* Text (Slack webhooks, legacy Teams). */
	use(HEAD "request: {path: /}\nanswer: {format: text, success: status == 200 && answer_text == "
		 "\"ok\", message: answer_text}\n"
		 "outcomes: [{status: 200, message: HTTP error 429, outcome: rate_limited}, {status: 200, "
		 "outcome: bad_request}]\n",
	    NULL);
	kit_need_build(&k, "{\"to\":\"a\"}");
	assert_outcome(kit_answer(&k, 200, "ok"), "ok");
	assert_outcome(kit_answer(&k, 200, "endpoint returned http error 429 now"), "rate_limited");
	assert_outcome(kit_answer(&k, 200, "invalid_payload"), "bad_request");
	/* Code with sub code; a duplicate that counts as ok; a new address. */
	use(HEAD
	    "request: {path: /}\nanswer: {success: answer.ok == true, code: answer.code, sub: "
	    "answer.sub_code, "
	    "new_address: answer.parameters.migrate_to_chat_id}\n"
	    "outcomes:\n  - {code: 40004, sub: SYSTEM_ERROR, outcome: retry}\n  - {code: 40004, outcome: "
	    "bad_request}\n"
	    "  - {code: 32, outcome: ok}\n  - {when: answer.parameters.migrate_to_chat_id, outcome: retry}\n",
	    NULL);
	kit_need_build(&k, "{\"to\":\"a\"}");
	assert_outcome(kit_answer(&k, 200, "{\"code\":\"40004\",\"sub_code\":\"SYSTEM_ERROR\"}"), "retry");
	assert_outcome(kit_answer(&k, 200, "{\"code\":\"40004\",\"sub_code\":\"X\"}"), "bad_request");
	assert_outcome(kit_answer(&k, 200, "{\"code\":32}"), "ok");
	v = kit_answer(&k, 400, "{\"parameters\":{\"migrate_to_chat_id\":-100123}}");
	assert_outcome(v, "retry");
	assert_string_equal(kit_c(&k, v.new_address), "-100123");
}

static void limits(void **state)
{
	use(HEAD "request: {path: /, json: {t: '${title}', b: '${body}', n: '${l}'}}\nlet: {l: body | len}\n"
		 "limits:\n  payload_bytes: 200\n  fields:\n    - {field: title, max: 5, unit: chars, over: "
		 "cut, mark: ''}\n"
		 "    - {field: body, max: 'options.long ? 100 : 10', unit: bytes}\n"
		 "    - {field: url, max: 8, unit: utf16, over: refuse}\n" ANSWER,
	    NULL);
	kit_need_build(&k, "{\"to\":\"a\",\"title\":\"世界世界世界\",\"body\":\"0123456789abc\"}");
	assert_string_equal(kit_c(&k, k.call.body), "{\"t\":\"世界世界世\",\"b\":\"0123456…\",\"n\":10}");
	kit_need_build(&k, "{\"to\":\"a\",\"body\":\"0123456789abc\",\"options\":{\"long\":true}}");
	assert_string_equal(kit_c(&k, k.call.body), "{\"b\":\"0123456789abc\",\"n\":13}");
	assert_int_equal(kit_build(&k, "{\"to\":\"a\",\"url\":\"123456789\"}"), HM_EINVAL);
	assert_string_equal(k.err.field, "url");
	kit_need_build(&k, "{\"to\":\"a\",\"url\":\"12345678\"}");
}

static void exchange_with_signature(void **state)
{
	struct hm_origin_opts o;
	struct hm_call call = {0};
	struct hm_cred_result r;
	struct hm_err e;

	/* Getui: signed token request, absolute expiry as text. */
	use(HEAD "credential:\n  key: '${settings.key}'\n  let:\n    stamp: now_ms\n"
		 "    sign: \"('gtAppKey01' ~ stamp ~ settings.key) | sha256 | hex\"\n"
		 "  exchange:\n    request: {path: /auth, json: {sign: '${sign}', timestamp: '${stamp | "
		 "str}', appkey: gtAppKey01}}\n"
		 "    answer: {success: answer.code == 0, code: answer.code}\n    token: answer.data.token\n"
		 "    expires: {from: answer.data.expire_time, as: epoch_ms}\n  margin: 1h\n"
		 "request: {path: /, headers: {token: '${credential}'}}\n" ANSWER,
	    "    adapter: sms/test\n    key: gtMasterSecret01\n");
	assert_int_equal(hm_cred_request(k.c, WALL_MS, HM_STR(""), &k.a, &call, &o, &e), 0);
	assert_string_equal(kit_c(&k, call.path), "/v1/auth");
	assert_string_equal(kit_c(&k, call.body),
			    "{\"sign\":\"2723734e3a6731b24eb327585f0a3d1c6f0e08ee3f792619df4f93d6ad770caa\","
			    "\"timestamp\":\"1700000000000\",\"appkey\":\"gtAppKey01\"}");
	call.fate = HM_FATE_ANSWERED;
	call.status = 200;
	call.answer = HM_STR("{\"code\":0,\"msg\":\"success\",\"data\":{\"expire_time\":\"1700086400000\","
			     "\"token\":\"TT\"}}");
	hm_cred_judge(k.c, &call, WALL_MS, &k.a, &r);
	assert_outcome(r, "ok");
	assert_string_equal(kit_c(&k, r.token), "TT");
	assert_int_equal(r.expires_at_ms, 1700086400000ull);
	assert_int_equal(r.refresh_at_ms, 1700082800000ull);
	/* A JWT sent as it is, the algorithm from the settings (Huawei v3). */
	use("adapter: {name: sms/test, title: T}\nsettings: {alg: {type: enum, values: [PS256, RS256], "
	    "default: PS256, doc: d}, "
	    "key: {type: key, required: true, doc: d}}\nendpoint: {url: https://x.example.com}\n"
	    "credential:\n  key: k\n  jwt: {alg: '${settings.alg}', key: settings.key, header: {typ: JWT, "
	    "alg: '${settings.alg}'}, "
	    "claims: {iat: '${now}', exp: '${now + 3600}'}}\n"
	    "request: {path: /, headers: {authorization: 'Bearer ${credential}'}}\n" ANSWER,
	    "    adapter: sms/test\n    key_file: " VECTORS "alipay_key.pem\n");
	assert_int_equal(hm_cred_mint(k.c, WALL_MS, &k.a, &r.token, &e), 0);
	assert_true(hm_str_starts(r.token, HM_STR("eyJ0eXAiOiJKV1QiLCJhbGciOiJQUzI1NiJ9.")));
}

static void mistakes_in_files(void **state)
{
	static const struct {
		const char *yaml, *text;
	} rows[] = {
		{"", "expected a map"},
		{"a: [", "test.yaml:"},
		{"adaptr: {}\n", "did you mean \"adapter\"?"},
		{HEAD ANSWER, "the section request is missing"},
		{HEAD "request: {path: /}\n", "the section answer is missing"},
		{HEAD "request: {path: /}\nanswer: {}\n", "answer.success is missing"},
		{HEAD "request: {path: /, jsn: {}}\n" ANSWER, "did you mean \"json\"?"},
		{HEAD "request: {path: /, json: {}, form: {}}\n" ANSWER, "one body"},
		{HEAD "request: {path: '/${too}'}\n" ANSWER,
		 "test.yaml:8:24: request: \"too\" is not known here, did you mean"},
		{HEAD "request: {path: '/${to'}\n" ANSWER, "} is missing"},
		{HEAD "request: {path: /, json: {a: '${request.body}'}}\n" ANSWER, "is not known here"},
		{HEAD "request: {path: /, json: {a: '${l}'}}\nlet: {l: request.body}\n" ANSWER,
		 "depends on the serialised request"},
		{HEAD "request: {path: /, json: {$iff: x}}\n" ANSWER, "is no instruction"},
		{HEAD "request: {path: /, headers: {\"a b\": x}}\n" ANSWER, "is not a header name"},
		{HEAD "request: {path: /, method: SENT}\n" ANSWER, "method"},
		{HEAD "request: {path: /}\n" ANSWER "outcomes: [{code: 1}]\n", "without outcome"},
		{HEAD "request: {path: /}\n" ANSWER "outcomes: [{code: 1, outcome: invalid}]\n", "outcome"},
		{HEAD "request: {path: /}\n" ANSWER "outcomes: [{outcome: ok}]\n", "makes anything ok"},
		{HEAD "request: {path: /}\n" ANSWER "outcomes: [{status: 700, outcome: retry}]\n",
		 "is no status"},
		{HEAD "request: {path: /}\n" ANSWER "outcomes: [{code: 9..3, outcome: retry}]\n",
		 "range is empty"},
		{HEAD "request: {path: /}\n" ANSWER "partial: [{from: answer.x, shape: heap}]\n", "shape"},
		{HEAD "request: {path: /}\n" ANSWER "partial: [{from: answer.x, shape: list}]\n",
		 "needs outcome"},
		{HEAD "request: {path: /}\n" ANSWER
		      "limits: {fields: [{field: bodi, max: 1, unit: bytes}]}\n",
		 "did you mean \"body\"?"},
		{HEAD "request: {path: /}\n" ANSWER "credential: {key: x}\n", "jwt, exchange, or both"},
		{HEAD "request: {path: /}\n" ANSWER "rates: [{max: 0}]\n", "max"},
		{"adapter: {name: smss/x, title: T}\nendpoint: {url: https://x}\nrequest: {path: /}\n" ANSWER,
		 "media are"},
		{"adapter: {name: sms/x, title: T}\nrequest: {path: /}\n" ANSWER,
		 "the section endpoint is missing"},
		{"adapter: {name: sms/x, title: T}\nsettings: {timeout: {doc: d}}\nendpoint: {url: "
		 "https://x}\nrequest: {path: /}\n" ANSWER,
		 "is a name every channel has already"},
		{"adapter: {name: sms/x, title: T}\nsettings: {a: {type: strng, doc: d}}\nendpoint: {url: "
		 "https://x}\nrequest: {path: /}\n" ANSWER,
		 "did you mean \"string\"?"},
		{"adapter: {name: sms/x, title: T}\nsettings: {a: {}}\nendpoint: {url: https://x}\nrequest: "
		 "{path: /}\n" ANSWER,
		 "doc is missing"},
	};

	for (size_t i = 0; i < hm_countof(rows); i++) {
		struct hm_adapter *ad = kit_adapter_text(&k, rows[i].yaml);

		if (ad != NULL)
			fail_msg("row %zu was accepted: %s", i, rows[i].yaml);
		if (strstr(k.errors, rows[i].text) == NULL)
			fail_msg("row %zu: %s", i, k.errors);
		assert_non_null(strstr(k.errors, "test.yaml:"));
	}
	/* All mistakes of a file in one go. */
	kit_adapter_text(&k, HEAD "request: {path: /, jsn: {}}\nlimit: {}\nanswer: {success: stat == 1}\n");
	assert_non_null(strstr(k.errors, "jsn"));
	assert_non_null(strstr(k.errors, "limit"));
	assert_non_null(strstr(k.errors, "stat"));
}

/* Every variable and filter stands in the manual, and the manual's worked example loads. */
static void the_manual_is_complete(void **state)
{
	struct hm_str text = kit_file(&k, HM_ROOT_DIR "/adapters/README.md"), example;
	ptrdiff_t from, to;
	char want[80];

	for (int i = 0; i < HM_VAR_TOTAL; i++) {
		snprintf(want, sizeof(want), "| `%s` |", hm_var_name((enum hm_var)i));
		if (hm_str_find(text, hm_str_c(want)) < 0)
			fail_msg("variable %s", want);
	}
	for (int i = 0; i < HM_FN_COUNT; i++) {
		snprintf(want, sizeof(want), "| `%s` |", hm_fn_name((enum hm_fn)i));
		if (hm_str_find(text, hm_str_c(want)) < 0)
			fail_msg("filter %s", want);
	}
	for (size_t i = 0; hm_dialect_at(i); i++) {
		ptrdiff_t list = hm_str_find(text, HM_STR("**dialect**: one of `"));

		assert_true(list > 0);
		if (hm_str_find(hm_str_n(text.p + list, 400), hm_str_c(hm_dialect_name(hm_dialect_at(i)))) <
		    0)
			fail_msg("dialect %s", hm_dialect_name(hm_dialect_at(i)));
	}
	from = hm_str_find(text, HM_STR("adapter: {name: sms/example"));
	assert_true(from > 0);
	example = hm_str_n(text.p + from, text.len - (size_t)from);
	to = hm_str_find(example, HM_STR("```"));
	assert_true(to > 0);
	example.len = (size_t)to;
	use(kit_c(&k, example), "    adapter: sms/example\n    app: a1\n    secret: s1\n");
	kit_need_build(
		&k,
		"{\"to\":[\"+8613800000000\",\"+8613900000000\"],\"body\":\"hi\",\"data\":{\"code\":1234}}");
	assert_true(hm_str_starts(
		k.call.body,
		HM_STR("app=a1&time=2023-11-15+06%3A13%3A20&phones=8613800000000%2C8613900000000&text=hi&"
		       "vars=%7B%22code%22%3A%221234%22%7D&sign=")));
	/* One content: markup goes, the link comes below and is kept when the text is cut. */
	kit_need_channel(&k, "    adapter: sms/example\n    app: a1\n    secret: s1\n    sign: '[Shop]'\n");
	kit_need_build(&k, "{\"to\":\"+8613800000000\",\"format\":\"markdown\",\"title\":\"t\",\"body\":\"**"
			   "hi** [a](https://y.example)\","
			   "\"url\":\"https://x.example/o\"}");
	assert_true(hm_str_find(k.call.body, HM_STR("&text=%5BShop%5Dhi+a%3A+https%3A%2F%2Fy.example%0Ahttps%"
						    "3A%2F%2Fx.example%2Fo&sign=")) > 0);
	kit_need_channel(&k, "    adapter: sms/example\n    app: a1\n    secret: s1\n");
	kit_need_build(
		&k,
		"{\"to\":[\"+8613800000000\",\"+8613900000000\"],\"body\":\"hi\",\"data\":{\"code\":1234}}");
	struct hm_verdict v = kit_answer(
		&k, 200,
		"{\"code\":0,\"batch\":\"b\",\"results\":[{\"phone\":\"8613900000000\",\"code\":1001}]}");

	assert_outcome(v, "ok");
	assert_int_equal(v.n_partial, 1);
	assert_int_equal(v.partial[0].index, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forms),
		cmocka_unit_test(json_trees),
		cmocka_unit_test(other_bodies),
		cmocka_unit_test(signatures),
		cmocka_unit_test(partial_results),
		cmocka_unit_test(waiting),
		cmocka_unit_test(answers),
		cmocka_unit_test(limits),
		cmocka_unit_test(exchange_with_signature),
		cmocka_unit_test(mistakes_in_files),
		cmocka_unit_test(the_manual_is_complete),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
