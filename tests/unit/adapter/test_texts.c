/*
 * test_texts.c - one content on one medium: dialect, places, limits, parts, reports
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

#define HEAD                                          \
	"adapter: {name: sms/test, title: T}\n"       \
	"settings:\n"                                 \
	"  sign: {doc: d}\n"                          \
	"  max: {type: int, default: 100, doc: d}\n"  \
	"endpoint: {url: https://api.example.com/}\n" \
	"answer: {success: status == 200}\n"
#define BODY "request: {path: /, json: {b: '${body}'}}\n"

static void use(const char *adapter, const char *channel)
{
	kit_use(&k, adapter, channel);
}

static void expect(const char *json, const char *body)
{
	kit_need_build(&k, json);
	assert_string_equal(kit_c(&k, k.call.body), body);
}

/* A second build of the message at hand, with a report. */
static struct hm_build_report reported(void)
{
	struct hm_build_report r = {0};
	struct hm_str before = k.call.body;

	k.in.report = &r;
	hm_err_clear(&k.err);
	if (hm_channel_build(&k.in, &k.a, &k.call, &k.origin, &k.outcome, &k.err) != 0)
		fail_msg("build: %s", k.err.text);
	k.in.report = NULL;
	if (!hm_str_eq(before, k.call.body))
		fail_msg("with a report it is another request: %.*s, not %.*s", HM_STRF(k.call.body),
			 HM_STRF(before));
	return r;
}

static const struct hm_build_field *field_of(const struct hm_build_report *r, const char *name)
{
	for (size_t i = 0; i < r->n_fields; i++)
		if (hm_str_is(r->field[i].name, name))
			return &r->field[i];
	fail_msg("no field %s", name);
	return NULL;
}

static void warned(const struct hm_build_report *r, const char *const *want)
{
	size_t n = 0;

	for (; want[n]; n++)
		if (n >= r->n_warnings || !hm_str_is(r->warning[n], want[n]))
			fail_msg("warning %zu: %s, not %s", n,
				 n < r->n_warnings ? kit_c(&k, r->warning[n]) : "(none)", want[n]);
	if (r->n_warnings > n)
		fail_msg("one warning too many: %s", kit_c(&k, r->warning[n]));
}
#define assert_warned(r, ...) warned(&(r), (const char *const[]){__VA_ARGS__, NULL})

#define MD "\"format\":\"markdown\",\"to\":\"a\""

static void notations(void **state)
{
	use(HEAD "dialect: slack-mrkdwn\n"
		 "request: {path: /, json: {b: '${body}', s: '${short}', t: '${text}', title: '${title}'}}\n",
	    NULL);
	expect("{\"to\":\"a\",\"body\":\"1 < 2 & *no*\",\"title\":\"<t>\"}",
	       "{\"b\":\"1 &lt; 2 &amp; \u2217no\u2217\",\"t\":\"1 < 2 & *no*\",\"title\":\"<t>\"}");
	expect("{" MD ",\"body\":\"**b** [t](https://x.example)\",\"short\":\"*s*\"}",
	       "{\"b\":\"*b* <https://x.example|t>\",\"s\":\"_s_\",\"t\":\"b t: https://x.example\"}");
	expect("{\"format\":\"html\",\"to\":\"a\",\"body\":\"<p>a<br><b>c</b> &amp; d</p>\"}",
	       "{\"b\":\"a\\n*c* &amp; d\",\"t\":\"a\\nc & d\"}");
	expect("{\"to\":\"a\"}", "{}");
}

static void control_characters(void **state)
{
	use(HEAD BODY, NULL);
	expect("{\"to\":\"x\",\"body\":\"a\\u0000b\\u001b[31m\\u0085c\\td\\ne\"}",
	       "{\"b\":\"ab[31mc\\td\\ne\"}");
	expect("{\"to\":\"x\",\"body\":\"a\\u0007\",\"format\":\"markdown\"}", "{\"b\":\"a\"}");
}

static void lists(void **state)
{
	use(HEAD "request: {path: /, json: {links: '${links}', images: '${images}', buttons: '${buttons}', "
		 "n: '${links | "
		 "len}', first: '${buttons[0].text}', urls: '${buttons | map(it.url) | join(\",\")}'}}\n",
	    NULL);
	expect("{" MD ",\"body\":\"[a **b**](https://x.example/1) https://x.example/2 "
	       "![alt](https://x.example/i.png)\","
	       "\"buttons\":[{\"text\":\"Open\",\"url\":\"https://x.example/o\",\"style\":\"primary\"},"
	       "{\"text\":\"Stop\",\"action\":\"stop\"},{\"text\":\"Bad\",\"url\":\"javascript:alert(1)\"},"
	       "{\"url\":\"https://no.text/\"}]}",
	       "{\"links\":[{\"text\":\"a b\",\"url\":\"https://x.example/1\"},"
	       "{\"text\":\"https://x.example/2\",\"url\":\"https://x.example/2\"}],"
	       "\"images\":[{\"text\":\"alt\",\"url\":\"https://x.example/i.png\"}],"
	       "\"buttons\":[{\"text\":\"Open\",\"url\":\"https://x.example/o\",\"style\":\"primary\"},"
	       "{\"text\":\"Stop\",\"action\":\"stop\"},{\"text\":\"Bad\"}],\"n\":2,\"first\":\"Open\","
	       "\"urls\":\"https://x.example/o\"}");
	expect("{\"to\":\"a\",\"body\":\"plain\"}", "{\"n\":0}");
}

static void filters(void **state)
{
	use(HEAD "dialect: '${options.d ?? \"plain\"}'\n"
		 "request: {path: /, json: {e: '${title | escape}', b: '${title | bold}', l: '${title | "
		 "link(url)}', "
		 "c: '${\"x.y\" | escape}'}}\n",
	    NULL);
	assert_int_equal(hm_channel_info(k.c)->dialect.len, 0);
#define T "{\"to\":\"a\",\"title\":\"a.b <c>\",\"url\":\"https://x.example/\""
	expect(T "}",
	       "{\"e\":\"a.b <c>\",\"b\":\"a.b <c>\",\"l\":\"a.b <c>: https://x.example/\",\"c\":\"x.y\"}");
	expect(T ",\"options\":{\"d\":\"tg-html\"}}",
	       "{\"e\":\"a.b &lt;c&gt;\",\"b\":\"<b>a.b &lt;c&gt;</b>\",\"l\":\"<a "
	       "href=\\\"https://x.example/\\\">a.b "
	       "&lt;c&gt;</a>\",\"c\":\"x.y\"}");
	expect(T ",\"options\":{\"d\":\"tg-mdv2\"}}",
	       "{\"e\":\"a\\\\.b <c\\\\>\",\"b\":\"*a\\\\.b <c\\\\>*\",\"l\":\"[a\\\\.b "
	       "<c\\\\>](https://x.example/)\",\"c\":"
	       "\"x\\\\.y\"}");
	assert_int_equal(kit_build(&k, T ",\"options\":{\"d\":\"morse\"}}"), HM_EINVAL);
	assert_non_null(strstr(k.err.text, "morse"));
}

static void places(void **state)
{
	use(HEAD BODY "dialect: discord-md\n"
		      "limits: {fields: [{field: body, max: settings.max, unit: chars}]}\n"
		      "text:\n  title: '${options.card ? \"separate\" : \"body\"}'\n  url: body\n"
		      "  link_text: ${options.button}\n  buttons: body\n",
	    NULL);
#define C "{\"to\":\"a\",\"title\":\"T*\",\"body\":\"words\",\"url\":\"https://x.example/\""
	expect(C "}", "{\"b\":\"**T\\\\***\\nwords\\nhttps://x.example/\"}");
	expect(C ",\"options\":{\"card\":true,\"button\":\"Go\"}}",
	       "{\"b\":\"words\\n[Go](https://x.example/)\"}");
	expect(C ",\"buttons\":[{\"text\":\"B\",\"url\":\"https://b.example/"
		 "\"},{\"text\":\"A\",\"action\":\"a\"}]}",
	       "{\"b\":\"**T\\\\***\\nwords\\n[B](https://b.example/)\\nhttps://x.example/\"}");
	expect("{\"to\":\"a\",\"title\":\"only\"}", "{\"b\":\"**only**\"}");
	/* The words give way, the link stays. */
	kit_need_channel(&k, "    adapter: sms/test\n    max: 45\n");
	expect("{\"to\":\"a\",\"title\":\"T\",\"body\":\"more words than there is any room for in "
	       "this\",\"url\":\"https://x.example/\"}",
	       "{\"b\":\"**T**\\nmore words than…\\nhttps://x.example/\"}");
}

static void no_links(void **state)
{
	struct hm_build_report r;

	use(HEAD BODY "text: {links: no, images: no, title: none}\n", NULL);
	expect("{" MD
	       ",\"title\":\"t\",\"image\":\"https://x.example/p\",\"body\":\"[t](https://x.example/1) "
	       "https://x.example/2 ![pic](https://x.example/3)![](https://x.example/4)\"}",
	       "{\"b\":\"t https://x.example/2 pic\"}");
	r = reported();
	assert_warned(r, "links are not allowed here: \"https://x.example/1\" is left out",
		      "links are not allowed here: \"https://x.example/2\" is sent as text",
		      "images are not shown here: \"pic\" is sent as text",
		      "images are not shown here: \"https://x.example/4\" is left out",
		      "title is not shown by this medium", "image is not shown by this medium");
	/* Also where nothing was marked up. */
	expect("{\"to\":\"a\",\"body\":\"see https://x.example/2.\"}",
	       "{\"b\":\"see https://x.example/2.\"}");
	r = reported();
	assert_warned(r, "links are not allowed here: \"https://x.example/2\" is sent as text");
}

static void limits(void **state)
{
	/* Title first; what it left is the body's. */
	use(HEAD "request: {path: /, json: {t: '${title}', b: '${body}'}}\n"
		 "limits:\n  fields:\n"
		 "    - {field: title, max: 8, unit: chars}\n"
		 "    - {field: body, max: 20 - (title | len), unit: bytes, mark: '..'}\n"
		 "    - {field: body, max: 6, unit: chars, when: options.tight, mark: ''}\n",
	    NULL);
	expect("{\"to\":\"a\",\"title\":\"abcdefghij\",\"body\":\"one two three four\"}",
	       "{\"t\":\"abcdefg…\",\"b\":\"one two..\"}");
	expect("{" MD ",\"title\":\"abcdefghij\",\"body\":\"**one two** three four\"}",
	       "{\"t\":\"abcdefg…\",\"b\":\"one two..\"}");
	expect("{" MD ",\"title\":\"a\",\"body\":\"**one two** three four\",\"options\":{\"tight\":1}}",
	       "{\"t\":\"a\",\"b\":\"one\"}");
	use(HEAD BODY
	    "dialect: html\nlimits: {fields: [{field: body, max: 10, unit: chars, over: refuse}]}\n",
	    NULL);
	assert_int_equal(kit_build(&k, "{\"to\":\"a\",\"body\":\"<<<<\"}"), HM_EINVAL);
	assert_string_equal(k.err.text, "body: 23 characters, at most 10 are allowed"); /* <p>&lt;... */
	assert_string_equal(k.err.field, "body");
	assert_string_equal(hm_outcome_name(k.outcome), "bad_request");
	/* No room at all. */
	use(HEAD BODY "limits: {fields: [{field: body, max: 3 - (title | len), unit: chars}]}\n", NULL);
	expect("{\"to\":\"a\",\"body\":\"abc\",\"title\":\"long\"}", "{}");
	expect("{" MD ",\"body\":\"abc\",\"title\":\"long\"}", "{}");
	/* The short text. */
	use(HEAD BODY "limits: {fields: [{field: body, max: 8, unit: chars, over: short}]}\n", NULL);
	expect("{\"to\":\"a\",\"body\":\"too many words\",\"short\":\"few\"}", "{\"b\":\"few\"}");
	expect("{\"to\":\"a\",\"body\":\"too many words\"}", "{\"b\":\"too man…\"}");
	expect("{\"to\":\"a\",\"body\":\"enough\",\"short\":\"few\"}", "{\"b\":\"enough\"}");
	/* What stands beside it. */
	use(HEAD "request: {path: /, json: {b: '${settings.sign}${body}'}}\n"
		 "limits: {fields: [{field: body, max: 10, unit: chars, beside: settings.sign, mark: ''}]}\n",
	    "    adapter: sms/test\n    sign: '[Shop]'\n");
	expect("{\"to\":\"a\",\"body\":\"abcd\"}", "{\"b\":\"[Shop]abcd\"}");
	expect("{\"to\":\"a\",\"body\":\"abcde\"}", "{\"b\":\"[Shop]abcd\"}");
	expect("{" MD ",\"body\":\"abcde\"}", "{\"b\":\"[Shop]abcd\"}");
}

static void segments(void **state)
{
	struct hm_build_report r;
	char json[1000];

	use(HEAD BODY "limits: {fields: [{field: body, max: 2, unit: segments}]}\n", NULL);
	snprintf(json, sizeof(json), "{\"to\":\"a\",\"body\":\"%0100d%0100d%0100d%03d\xf0\x9f\x98\x80 %d\"}",
		 0, 0, 0, 0, 7);
	kit_need_build(&k, json);
	r = reported();
	assert_true(r.sms);
	assert_false(r.sms_size.ucs2); /* what forced it is cut away */
	assert_int_equal(field_of(&r, "body")->before, 5);
	assert_int_equal(field_of(&r, "body")->after, 2);
	assert_warned(r, "body: cut at 2 of 5 segments");
	snprintf(json, sizeof(json), "{\"to\":\"a\",\"body\":\"%0120d \xf0\x9f\x98\x80\"}", 0);
	kit_need_build(&k, json);
	r = reported();
	assert_int_equal(r.sms_size.segments, 2);
	assert_int_equal(r.sms_size.units, 123);
	assert_int_equal(r.sms_size.room, 2 * 67 - 123);
	assert_warned(r, "emoji \xf0\x9f\x98\x80 forces UCS-2: 2 segments instead of 1");
	kit_need_build(&k, "{\"to\":\"a\",\"body\":\"it\xe2\x80\x99s ready\"}");
	r = reported();
	assert_warned(r,
		      "character \xe2\x80\x99 forces UCS-2: 70 characters fit into a segment instead of 160");
	kit_need_build(&k, "{\"to\":\"a\",\"body\":\"您的订单已发货\"}");
	r = reported();
	assert_int_equal(r.n_warnings, 0); /* nothing could be done about it */
	assert_int_equal(r.sms_size.segments, 1);
}

static const char *part(uint32_t i, uint32_t *parts_r)
{
	k.in.part = i;
	k.in.parts_r = parts_r;
	hm_err_clear(&k.err);
	if (hm_channel_build(&k.in, &k.a, &k.call, &k.origin, &k.outcome, &k.err) != 0)
		return NULL;
	return kit_c(&k, k.call.body);
}

static void parts(void **state)
{
	const char *first, *second, *again;
	uint32_t n = 0;

	use(HEAD "request: {path: /, headers: {x-id: '${uuid}'}, json: {b: '${body}', p: '${part}', of: "
		 "'${parts}', id: "
		 "'${id}', m: '${message_id}', u: '${uuid}'}}\n"
		 "limits: {fields: [{field: body, max: 20, unit: chars, over: split, numbered: true, "
		 "max_parts: 3}]}\n",
	    NULL);
	for (int rich = 0; rich < 2; rich++) {
		kit_message(&k, rich ? "{" MD ",\"body\":\"one two three **four five** six seven\"}"
				     : "{\"to\":\"a\",\"body\":\"one two three four five six seven\"}");
		memset(&k.call, 0, sizeof(k.call));
		first = part(0, &n);
		assert_non_null(first);
		assert_int_equal(n, 3);
		assert_string_equal(
			first, "{\"b\":\"(1/3) one two three\",\"p\":1,\"of\":3,"
			       "\"id\":\"01HF7YAT00E008000000000001\",\"m\":\"01HF7YAT00E008000000000001\","
			       "\"u\":\"018bcfe5-6800-7000-8000-000000000001\"}");
		second = part(1, &n);
		assert_non_null(strstr(second, "\"b\":\"(2/3) four five six\",\"p\":2,\"of\":3"));
		assert_non_null(strstr(second, "\"m\":\"01HF7YAT00E008000000000001\""));
		assert_null(strstr(second, "\"id\":\"01HF7YAT00E008000000000001\""));
		assert_non_null(strstr(second, "\"id\":\"01HF7YAT00")); /* of the same moment */
		assert_null(strstr(second, "018bcfe5-6800-7000-8000-000000000001"));
		again = part(1, &n);
		assert_string_equal(second, again);
		assert_non_null(strstr(part(2, &n), "(3/3) seven"));
		assert_null(strstr(part(2, &n), strstr(second, "\"u\":")));
		assert_null(part(3, &n));
		assert_string_equal(k.err.text, "there is no part 4, the text has 3");
		/* Who cannot send several is told. */
		assert_null(part(0, NULL));
		assert_string_equal(k.err.text,
				    rich ? "body: 33 characters, at most 20 are allowed in one message"
					 : "body: 33 characters, at most 20 are allowed in one message");
		kit_message(&k, "{\"to\":\"a\",\"body\":\"short\"}");
		assert_non_null(strstr(part(0, &n), "\"b\":\"short\",\"p\":1,\"of\":1"));
		assert_int_equal(n, 1);
		assert_non_null(part(0, NULL));
	}
	kit_need_build(&k, "{\"to\":\"a\",\"body\":\"short\"}");
	kit_message(&k, "{\"to\":\"a\",\"body\":\"one two three four five six seven\"}");
	first = part(0, &n);
	{
		struct hm_build_report r = reported();

		assert_int_equal(field_of(&r, "body")->parts, 3);
		assert_int_equal(field_of(&r, "body")->action, HM_FIT_SPLIT);
		assert_int_equal(r.sms_size.segments, 1);
		assert_warned(r, "body: 3 messages, as 33 characters are more than the 20 of one");
	}
}

static void reports(void **state)
{
	struct hm_build_report r;

	use(HEAD "request: {path: /, json: {t: '${title}', b: '${body}', u: '${url}'}}\n"
		 "limits:\n  payload_bytes: 500\n  fields:\n    - {field: body, max: 20, unit: bytes}\n"
		 "    - {field: url, max: 100, unit: chars, over: refuse}\n"
		 "dialect: wecom-md\ntext: {sms: no}\n",
	    NULL);
	kit_need_build(
		&k, "{" MD ",\"title\":\"tïtle\",\"body\":\"**some** words that are too "
		    "many\",\"url\":\"https://x.example/\",\"buttons\":[{\"text\":\"b\",\"action\":\"a\"}]}");
	r = reported();
	assert_true(hm_str_is(r.dialect, "wecom-md"));
	assert_int_equal(r.n_fields, 3);
	assert_int_equal(field_of(&r, "title")->before, 5);
	assert_int_equal(field_of(&r, "title")->max, 0);
	assert_int_equal(field_of(&r, "title")->unit, HM_UNIT_CHARS);
	assert_int_equal(field_of(&r, "body")->before, 32);
	assert_int_equal(field_of(&r, "body")->after, 17);
	assert_int_equal(field_of(&r, "body")->max, 20);
	assert_int_equal(field_of(&r, "body")->unit, HM_UNIT_BYTES);
	assert_int_equal(field_of(&r, "body")->action, HM_FIT_CUT);
	assert_int_equal(field_of(&r, "url")->before, 18);
	assert_int_equal(field_of(&r, "url")->max, 100);
	assert_int_equal(r.payload, k.call.body.len);
	assert_int_equal(r.payload_max, 500);
	assert_false(r.sms);
	assert_warned(r, "body: cut at 17 of 32 bytes", "buttons are not shown by this medium");
}

/* A payload is what goes out: escapes, nesting, other fields. */
static void payloads(void **state)
{
	static const char *const adapters[] = {
		HEAD BODY "limits: {payload_bytes: settings.max, payload_over: cut}\n",
		HEAD BODY "dialect: tg-html\nlimits: {payload_bytes: settings.max, payload_over: cut}\n",
		HEAD "request: {path: /, json: {m: {$json: {x: {$json: {b: '${body}'}}}}}}\n"
		     "limits: {payload_bytes: settings.max, payload_over: cut}\n",
		HEAD "request: {path: /, form: {b: '${body}', d: '${data.x}'}}\n"
		     "limits: {payload_bytes: settings.max, payload_over: cut, fields: [{field: body, max: "
		     "90, unit: "
		     "chars}]}\n"};
	static const char *const texts[] = {
		"plain words again and again and again and again and again and again and again "
		"and again, it never ends",
		"\\\"quotes\\\" \\\\ and \\n lines \\\"quotes\\\" \\\\ and \\n lines "
		"\\\"quotes\\\" \\\\ and \\n lines \\\"quotes\\\" \\\\ and \\n",
		"中文的一段话，中文的一段话，中文的一段话，中文的一段话，中文的一段话，中文的一段话",
		"<b> & <i> & <b> & <i> & <b> & <i> & <b> & <i> & <b> & <i> & <b> & <i>"};
	char json[1000];

	for (size_t i = 0; i < hm_countof(adapters); i++)
		for (size_t t = 0; t < hm_countof(texts); t++)
			for (int markdown = 0; markdown < 2; markdown++) {
				use(adapters[i], NULL);
				snprintf(json, sizeof(json),
					 "{\"to\":\"a\",\"format\":\"%s\",\"body\":\"%s\"}",
					 markdown ? "markdown" : "plain", texts[t]);
				kit_need_build(&k, json);
				if (k.call.body.len > 100 || k.call.body.len < (i == 2 ? 40 : 60))
					fail_msg("%zu bytes: %s", k.call.body.len, kit_c(&k, k.call.body));
				(void)reported();
			}
	use(adapters[3], NULL);
	snprintf(json, sizeof(json), "{\"to\":\"a\",\"body\":\"short\",\"data\":{\"x\":\"%0100d\"}}", 0);
	assert_int_equal(kit_build(&k, json), HM_EINVAL);
	assert_non_null(strstr(k.err.text, "at most 100 are allowed"));
	use(HEAD BODY "limits: {payload_bytes: 20}\n", NULL);
	assert_int_equal(kit_build(&k, "{\"to\":\"a\",\"body\":\"0123456789abc\"}"), HM_EINVAL);
	assert_string_equal(k.err.text, "the payload has 21 bytes, at most 20 are allowed");
}

static void mails(void **state)
{
	const char *doc = "{\"format\":\"html\",\"to\":\"a\",\"body\":\"<!DOCTYPE "
			  "html><html><body><table><tr><td>x</td></tr>"
			  "</table></body></html>\"}";

	use(HEAD "request: {path: /, json: {t: '${text}', h: '${html}'}}\n", NULL);
	expect(doc, "{\"t\":\"x\",\"h\":\"<!DOCTYPE "
		    "html><html><body><table><tr><td>x</td></tr></table></body></html>\"}");
	kit_need_build(&k, "{" MD ",\"body\":\"**a** < b\"}");
	assert_non_null(strstr(kit_c(&k, k.call.body), "\"t\":\"a < b\""));
	assert_non_null(strstr(kit_c(&k, k.call.body), "<strong>a</strong> &lt; b"));
	assert_non_null(strstr(kit_c(&k, k.call.body), "<html"));
	kit_need_build(&k, "{\"to\":\"a\",\"body\":\"a < b\"}");
	assert_non_null(strstr(kit_c(&k, k.call.body), "a &lt; b"));
	use(HEAD "request: {path: /, json: {h: '${html}'}}\nlimits: {fields: [{field: html, max: 50, unit: "
		 "bytes, over: "
		 "cut}]}\n",
	    NULL);
	assert_int_equal(kit_build(&k, doc), HM_EINVAL);
	assert_string_equal(k.err.field, "html");
}

static int tracked(void *arg, struct hm_str url, uint32_t n, struct hm_buf *out, struct hm_err *e)
{
	(void)arg;
	(void)url;
	(void)e;
	hm_buf_printf(out, "https://t.example/%u", n);
	return 0;
}

static void wrapped(void **state)
{
	static const struct hm_link_wrap w = {.wrap = tracked};

	use(HEAD "request: {path: /, json: {b: '${body}', u: '${url}', x: '${buttons[1].url}'}}\n", NULL);
	kit_message(&k,
		    "{" MD
		    ",\"body\":\"[a](https://x.example/) https://y.example/\",\"url\":\"https://z.example/\","
		    "\"buttons\":[{\"text\":\"p\",\"action\":\"q\"},{\"text\":\"b\",\"url\":\"https://"
		    "b.example/\"}]}");
	k.content.wrap = &w;
	assert_int_equal(hm_channel_build(&k.in, &k.a, &k.call, &k.origin, &k.outcome, &k.err), 0);
	assert_string_equal(kit_c(&k, k.call.body),
			    "{\"b\":\"a (https://t.example/0) "
			    "https://t.example/1\",\"u\":\"https://t.example/2000\",\"x\":"
			    "\"https://t.example/1001\"}");
}

/* A shard's arena is blocks of a pool: a build takes nothing from the heap, whatever the notation. */
static void no_malloc(void **state)
{
	struct hm_slab pool;
	struct hm_arena mine;
	uint64_t big;

	use(HEAD "dialect: tg-html\ntext: {title: body, url: body, buttons: body}\n"
		 "request: {path: /, json: {b: '${body}', t: '${text}', l: '${links}'}}\n"
		 "limits: {fields: [{field: body, max: 120, unit: chars}]}\n",
	    NULL);
	kit_message(
		&k,
		"{" MD
		",\"title\":\"T\",\"url\":\"https://x.example/\",\"body\":\"Your **order** 1234 is [on its "
		"way](https://x.example/o/1234) and arrives on *Friday*.\\n\\n- tea\\n- cake\\n\\nCall us.\","
		"\"buttons\":[{\"text\":\"B\",\"url\":\"https://b.example/\"}]}");
	hm_slab_init(&pool, "arena", HM_ARENA_BLOCK, 0);
	hm_arena_init(&mine, &pool, 0);
	big = hm_arena_big();
	for (int i = 0; i < 100; i++) {
		hm_err_clear(&k.err);
		assert_int_equal(hm_channel_build(&k.in, &mine, &k.call, &k.origin, &k.outcome, &k.err), 0);
		hm_arena_reset(&mine);
	}
	assert_int_equal(hm_arena_big() - big, 0);
	hm_arena_fini(&mine);
	hm_slab_fini(&pool);
}

/* Names that look at each other, in a circle even, come to an end. */
static void circles(void **state)
{
	use(HEAD
	    "let:\n  kind: 'body | len > 10 ? \"long\" : \"short\"'\n  room: 'kind == \"long\" ? 8 : 20'\n"
	    "request: {path: /, json: {k: '${kind}', b: '${body}', t: '${text}'}}\n"
	    "dialect: '${kind == \"long\" ? \"tg-html\" : \"plain\"}'\n"
	    "limits:\n  fields:\n    - {field: body, max: 'room + (text | len) - (text | len)', unit: chars, "
	    "mark: ''}\n"
	    "    - {field: text, max: room - (body | len) + 3, unit: chars, mark: ''}\n",
	    NULL);
	expect("{" MD ",\"body\":\"**ab**\"}", "{\"k\":\"short\",\"b\":\"ab\",\"t\":\"ab\"}");
	kit_need_build(&k, "{" MD ",\"body\":\"**a** b c d e f g h\"}");
	assert_non_null(strstr(kit_c(&k, k.call.body), "\"k\":\"short\",\"b\":\"<b>a</b>\""));
}

static void mistakes(void **state)
{
	static const struct {
		const char *text, *error;
	} rows[] = {
		{"dialect: slack\n", "test.yaml:7:10: dialect: there is none called \"slack\""},
		{"dialect: '${to ? \"plian\" : \"html\"}'\n",
		 "there is none called \"plian\", did you mean \"plain\"?"},
		{"text: {title: top}\n", "text.title: \"top\" is not known; expected separate, body or none"},
		{"text: {titel: body}\n", "titel"},
		{"limits: {fields: [{field: boddy, max: 1, unit: chars}]}\n", "did you mean \"body\"?"},
		{"limits: {fields: [{field: body, max: 1, unit: char}]}\n", "did you mean \"chars\"?"},
		{"limits: {fields: [{field: body, max: 1, unit: chars, over: split, max_parts: 21}]}\n",
		 "max_parts"},
		{"limits: {fields: [{field: body, max: 1, unit: chars, numbered: yes}]}\n",
		 "max_parts and numbered belong to over: split"},
		{"limits: {fields: [{field: title, max: 1, unit: chars, over: split}]}\n",
		 "only body and text can be over: split"},
		{"limits: {fields: [{field: url, max: 1, unit: chars}]}\n", "a cut url leads nowhere"},
		{"limits: {fields: [{field: title, max: 1, unit: chars, beside: url}]}\n", "beside"},
		{"limits: {payload_over: cut}\n", "payload_over needs payload_bytes"},
		{"limits: {payload_bytes: 4, payload_over: split}\n", "payload_over"},
	};
	char text[1000];

	for (size_t i = 0; i < hm_countof(rows); i++) {
		snprintf(text, sizeof(text), HEAD "%s" BODY, rows[i].text);
		if (kit_adapter_text(&k, text) != NULL)
			fail_msg("%s is accepted", rows[i].text);
		if (strstr(k.errors, rows[i].error) == NULL || strstr(k.errors, "test.yaml:7:") == NULL)
			fail_msg("%s: %s", rows[i].text, k.errors);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(notations), cmocka_unit_test(control_characters),
		cmocka_unit_test(lists),     cmocka_unit_test(filters),
		cmocka_unit_test(places),    cmocka_unit_test(no_links),
		cmocka_unit_test(limits),    cmocka_unit_test(segments),
		cmocka_unit_test(parts),     cmocka_unit_test(reports),
		cmocka_unit_test(payloads),  cmocka_unit_test(mails),
		cmocka_unit_test(wrapped),   cmocka_unit_test(circles),
		cmocka_unit_test(no_malloc), cmocka_unit_test(mistakes),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
