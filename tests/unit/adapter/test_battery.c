/*
 * test_battery.c - what every adapter must survive (tests/battery/README.md)
 */
#include "adapter/xmlscan.h"
#include "webpush_open.h"

#define BATTERY HM_TEST_DIR "/battery/adapters/"

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

static struct hm_str replaced(struct hm_str text, const char *from, const char *to)
{
	struct hm_buf b;
	ptrdiff_t at;

	hm_buf_init_arena(&b, &k.a, 1 << 24);
	while ((at = hm_str_find(text, hm_str_c(from))) >= 0) {
		hm_buf_put(&b, text.p, (size_t)at);
		hm_buf_puts(&b, hm_str_c(to));
		text.p += (size_t)at + strlen(from);
		text.len -= (size_t)at + strlen(from);
	}
	hm_buf_puts(&b, text);
	return hm_str_n(hm_buf_cstr(&b), b.len);
}

static struct hm_str file_of(const struct hm_adapter *ad, const char *ending)
{
	char path[600];

	snprintf(path, sizeof(path), BATTERY "%.*s.%s", HM_STRF(ad->name), ending);
	return kit_file(&k, path);
}

static void channel_of(const struct hm_adapter *ad)
{
	struct hm_str map = replaced(file_of(ad, "channel"), "@VECTORS@", VECTORS);

	kit_need_channel(&k, map.p);
}

static struct hm_str message_of(const struct hm_adapter *ad, const char *text)
{
	return replaced(file_of(ad, "message"), "@", text);
}

/* -- answers ---------------------------------------------------------------------- */

static struct hm_str field(struct hm_str *line)
{
	ptrdiff_t at = hm_str_find(*line, HM_STR(" | "));
	struct hm_str f;

	if (at < 0 && hm_str_ends(*line, HM_STR(" |")))
		at = (ptrdiff_t)line->len - 2;
	f = at < 0 ? *line : hm_str_n(line->p, (size_t)at);
	if (at < 0)
		*line = HM_STR("");
	else
		*line = hm_str_n(line->p + at + 2, line->len - (size_t)at - 2);
	return hm_str_trim(f);
}

static void headers_of(struct hm_str s, const char **list)
{
	struct hm_str one;
	size_t n = 0;

	while (hm_str_split(&s, ';', &one)) {
		ptrdiff_t colon = hm_str_chr(one, ':');

		if (colon < 0)
			continue;
		list[n++] = kit_c(&k, hm_str_trim(hm_str_n(one.p, (size_t)colon)));
		list[n++] = kit_c(&k, hm_str_trim(hm_str_n(one.p + colon + 1, one.len - (size_t)colon - 1)));
	}
	list[n] = NULL;
}

struct marks {
	bool refresh, operator_needed, suspect, split, has_scope;
	enum hm_scope scope;
	uint64_t wait, gone, count;
	struct hm_str id, reason, partial;
};

static struct marks marks_of(struct hm_str s)
{
	struct marks m = {0};
	struct hm_str one;

	while (hm_str_split(&s, ' ', &one)) {
		ptrdiff_t eq = hm_str_chr(one, '=');
		struct hm_str value = eq < 0 ? HM_STR("")
					     : hm_str_n(one.p + eq + 1, one.len - (size_t)eq - 1);

		if (one.len == 0)
			continue;
		if (hm_str_is(one, "refresh"))
			m.refresh = true;
		else if (hm_str_is(one, "operator"))
			m.operator_needed = true;
		else if (hm_str_is(one, "suspect"))
			m.suspect = true;
		else if (hm_str_is(one, "split"))
			m.split = true;
		else if (hm_str_starts(one, HM_STR("scope="))) {
			m.has_scope = true;
			m.scope = hm_str_is(value, "recipient")	   ? HM_SCOPE_RECIPIENT
				  : hm_str_is(value, "credential") ? HM_SCOPE_CREDENTIAL
								   : HM_SCOPE_CHANNEL;
		} else if (hm_str_starts(one, HM_STR("wait=")))
			assert_true(hm_str_u64(value, &m.wait));
		else if (hm_str_starts(one, HM_STR("count=")))
			assert_true(hm_str_u64(value, &m.count));
		else if (hm_str_starts(one, HM_STR("gone=")))
			assert_true(hm_str_u64(value, &m.gone));
		else if (hm_str_starts(one, HM_STR("id=")))
			m.id = value;
		else if (hm_str_starts(one, HM_STR("reason=")))
			m.reason = replaced(value, "_4", " 4"); /* HTTP_404 */
		else if (hm_str_starts(one, HM_STR("partial=")))
			m.partial = value;
		else
			fail_msg("mark %.*s", HM_STRF(one));
	}
	return m;
}

/* INDEX:OUTCOME@ID, where @ID, the provider's id of this recipient, may be left out. */
static void check_partial(const struct hm_verdict *v, struct hm_str want, const char *at)
{
	struct hm_str one;
	size_t n = 0;

	while (hm_str_split(&want, ',', &one)) {
		ptrdiff_t colon = hm_str_chr(one, ':'), id_at = hm_str_chr(one, '@');
		struct hm_str id = HM_STR("");
		uint64_t index;
		bool found = false;

		if (one.len == 0)
			continue;
		if (id_at >= 0) {
			id = hm_str_n(one.p + id_at + 1, one.len - (size_t)id_at - 1);
			one.len = (size_t)id_at;
		}
		assert_true(colon > 0 && hm_str_u64(hm_str_n(one.p, (size_t)colon), &index));
		for (size_t i = 0; i < v->n_partial; i++)
			if (v->partial[i].index == index)
				found = hm_str_is(hm_str_n(one.p + colon + 1, one.len - (size_t)colon - 1),
						  hm_outcome_name(v->partial[i].outcome)) &&
					(id.len == 0 || hm_str_eq(v->partial[i].provider_id, id));
		if (!found)
			fail_msg("%s: recipient %d", at, (int)index);
		n++;
	}
	assert_int_equal(v->n_partial, n);
}

/* The same call with n recipients: the first one, again and again. */
static void recipients(uint64_t n)
{
	struct hm_build_rcpt *v = hm_arena_zalloc(&k.a, n * sizeof(*v));

	for (uint64_t i = 0; i < n; i++)
		v[i] = k.rcpts[0];
	k.in.rcpts = v;
	k.in.n_rcpts = n;
}

static void one_case(const struct hm_adapter *ad, struct hm_str line, bool *reached)
{
	struct hm_str status = field(&line), headers = field(&line), body = field(&line),
		      outcome = field(&line);
	struct marks m = marks_of(field(&line));
	const char *list[16];
	struct hm_verdict v;
	char at[700];
	uint64_t s;

	assert_true(hm_str_u64(status, &s));
	headers_of(headers, list);
	if (m.count)
		recipients(m.count);
	v = kit_answer_n(&k, (int)s, list, body);
	snprintf(at, sizeof(at), "%.*s: %d %.*s", HM_STRF(ad->name), (int)s, (int)hm_min(body.len, 300u),
		 body.p ? body.p : "");
	if (!hm_str_is(outcome, hm_outcome_name(v.outcome)))
		fail_msg("%s is %s, expected %.*s", at, hm_outcome_name(v.outcome), HM_STRF(outcome));
	if (v.outcome == HM_OUT_AUTH && (m.refresh || m.operator_needed) &&
	    (v.refresh_credential != m.refresh || v.operator_needed != m.operator_needed))
		fail_msg("%s: refresh %d operator %d", at, v.refresh_credential, v.operator_needed);
	if (v.outcome != HM_OUT_AUTH && v.operator_needed != m.operator_needed)
		fail_msg("%s: operator %d", at, v.operator_needed);
	if (m.suspect != v.suspect && (m.suspect || s != 200))
		fail_msg("%s: suspect %d", at, v.suspect);
	if (m.split && !v.split)
		fail_msg("%s: the call is not taken apart", at);
	if (m.has_scope && v.scope != m.scope)
		fail_msg("%s: scope %d", at, (int)v.scope);
	if (v.retry_after_ms != m.wait)
		fail_msg("%s: wait %d", at, (int)v.retry_after_ms);
	if (v.gone_since_ms != m.gone)
		fail_msg("%s: gone since", at);
	if (m.id.len && !hm_str_eq(v.provider_id, m.id))
		fail_msg("%s: id %.*s", at, HM_STRF(v.provider_id));
	if (m.reason.len && !hm_str_eq(v.reason, m.reason))
		fail_msg("%s: reason %.*s", at, HM_STRF(v.reason));
	assert_true(v.reason.len > 0);
	check_partial(&v, m.partial, at);
	for (uint32_t i = 0; i < ad->answer.rows.n; i++)
		reached[i] = reached[i] || ad->answer.rows.v[i].line == v.row_line;
}

static void answers(void **state)
{
	size_t cases = 0;

	for (size_t i = 0; i < k.adapters->n; i++) {
		const struct hm_adapter *ad = k.adapters->v[i];
		bool reached[512] = {false};
		struct hm_str text, line;
		size_t n = 0;

		channel_of(ad);
		kit_need_build(&k, message_of(ad, "t").p);
		text = file_of(ad, "cases");
		while (hm_str_split(&text, '\n', &line)) {
			if (line.len == 0 || line.p[0] == '#')
				continue;
			struct hm_build_in in = k.in;

			one_case(ad, line, reached);
			k.in = in;
			n++;
		}
		assert_true(n >= 10);
		cases += n;
		for (uint32_t r = 0; r < ad->answer.rows.n; r++)
			if (!reached[r])
				fail_msg("%.*s: no case reaches the row of line %d", HM_STRF(ad->name),
					 ad->answer.rows.v[r].line);
	}
	printf("counted: battery of %zu adapters, %zu answers judged\n", k.adapters->n, cases);
}

/* -- broken answers ------------------------------------------------------------------ */

/* Every success of the cases, cut at every length: only the whole may be ok, unless the status alone decides. */
static void cut_answers(void **state)
{
	for (size_t i = 0; i < k.adapters->n; i++) {
		const struct hm_adapter *ad = k.adapters->v[i];
		struct hm_str text, line;

		if (ad->answer.format == HM_ANSWER_NONE)
			continue;
		channel_of(ad);
		kit_need_build(&k, message_of(ad, "t").p);
		text = file_of(ad, "cases");
		while (hm_str_split(&text, '\n', &line)) {
			struct hm_str status, body, outcome;
			uint64_t s;

			if (line.len == 0 || line.p[0] == '#')
				continue;
			status = field(&line);
			(void)field(&line);
			body = field(&line);
			outcome = field(&line);
			if (!hm_str_is(outcome, "ok") || body.len == 0 || !hm_str_u64(status, &s))
				continue;
			for (size_t n = 0; n < body.len; n++) {
				char *exact = malloc(n ? n : 1); /* the end is where ASan sees it */

				memcpy(exact, body.p, n);
				struct hm_verdict v = kit_answer_n(&k, (int)s, NULL, hm_str_n(exact, n));

				free(exact);
				if (v.outcome == HM_OUT_OK)
					fail_msg("%.*s: ok after %zu of %zu bytes", HM_STRF(ad->name), n,
						 body.len);
			}
		}
	}
}

/* Does the documentation (the cases) call just this answer a success? "ok" is one at Slack, nothing at all at APNs. */
static bool described_ok(const struct hm_adapter *ad, int status, struct hm_str body)
{
	struct hm_str text = file_of(ad, "cases"), line;
	uint64_t s;

	while (hm_str_split(&text, '\n', &line)) {
		struct hm_str first, given;

		if (line.len == 0 || line.p[0] == '#')
			continue;
		first = field(&line);
		(void)field(&line);
		given = field(&line);
		if (hm_str_is(field(&line), "ok") && hm_str_u64(first, &s) && s == (uint64_t)status &&
		    hm_str_eq(given, body))
			return true;
	}
	return false;
}

static void garbage(void **state)
{
	static const char *const bodies[] = {"",
					     " ",
					     "ok",
					     "OK",
					     "null",
					     "true",
					     "0",
					     "[]",
					     "{}",
					     "{",
					     "}",
					     "\"",
					     "{\"",
					     "[[[[[[[[",
					     "<html><body>200 OK</body></html>",
					     "\xff\xfe\x00",
					     "\xef\xbb\xbf{}",
					     "{\"a\":\"\xc3\x28\"}"};
	static char deep[4000], huge[300000];

	memset(deep, '[', sizeof(deep));
	memset(huge, 'z', sizeof(huge));
	for (size_t i = 0; i < k.adapters->n; i++) {
		const struct hm_adapter *ad = k.adapters->v[i];

		if (ad->answer.format == HM_ANSWER_NONE)
			continue;
		channel_of(ad);
		kit_need_build(&k, message_of(ad, "t").p);
		for (int status = 200; status < 210; status++) {
			struct hm_verdict v;

			for (size_t b = 0; b < hm_countof(bodies); b++) {
				v = kit_answer(&k, status, bodies[b]);
				if (v.outcome == HM_OUT_OK && !described_ok(ad, status, hm_str_c(bodies[b])))
					fail_msg("%.*s: %d %s is ok", HM_STRF(ad->name), status, bodies[b]);
				assert_true(hm_utf8_valid(v.reason) && hm_utf8_valid(v.detail));
			}
			v = kit_answer_n(&k, status, NULL, hm_str_n(deep, sizeof(deep)));
			assert_true(v.outcome != HM_OUT_OK);
			v = kit_answer_n(&k, status, NULL, hm_str_n(huge, sizeof(huge)));
			assert_true(v.outcome != HM_OUT_OK);
			assert_true(v.detail.len <= 200 * 3);
		}
	}
}

/* -- no answer -------------------------------------------------------------------------- */

static void transport(void **state)
{
	static const int codes[] = {HM_ECONN,  HM_ETLS,	    HM_ETIMEDOUT,  HM_ECLOSED,
				    HM_EPROTO, HM_EREFUSED, HM_ECANCELLED, HM_EAGAIN};

	for (size_t i = 0; i < k.adapters->n; i++) {
		channel_of(k.adapters->v[i]);
		kit_need_build(&k, message_of(k.adapters->v[i], "t").p);
		for (size_t c = 0; c < hm_countof(codes); c++)
			for (int fate = HM_FATE_NOT_SENT; fate <= HM_FATE_MAYBE; fate++) {
				struct hm_verdict v;

				k.call.fate = (enum hm_fate)fate;
				k.call.status = 200; /* leftovers must not count */
				k.call.answer = HM_STR("{\"errcode\":0,\"name\":\"x\"}");
				hm_err_set(&k.call.err, codes[c], "text");
				hm_channel_classify(k.c, &k.in, &k.call, &k.a, &v);
				if (fate == HM_FATE_MAYBE)
					assert_outcome(v, "unknown");
				else
					assert_true(v.outcome == HM_OUT_RETRY ||
						    v.outcome == HM_OUT_PROVIDER_DOWN);
			}
	}
}

/* -- hostile texts ------------------------------------------------------------------------ */

/* As JSON source text; what arrives must decode to the same, or the message must be refused. */
static const char *const hostile[] = {
	"\\\"},{\\\"x\\\":1",
	"\\\\",
	"\\r\\nX-Evil: 1\\r\\n\\r\\n",
	"\\u0000\\u0001\\u001f\\u007f",
	"${credential}",
	"$${body}",
	"<script>&amp;'\\\"",
	"\\ud83d\\ude00\\u202e",
	"%00%0d%0a",
	"|;,&=?#/..",
	"\\u2028\\u2029",
	"{\\\"$merge\\\":1}",
};

static struct hm_str header_value(const char *name)
{
	for (size_t n = 0; n < k.call.n_headers; n++)
		if (hm_str_is(k.call.headers[n].name, name))
			return k.call.headers[n].value;
	return HM_STR("");
}

/* A form's names, one a line, sorted by place; every byte must be one that a form may hold. */
static struct hm_str form_names(void)
{
	struct hm_str rest = k.call.body, pair;
	struct hm_buf names;

	hm_buf_init_arena(&names, &k.a, 1 << 20);
	for (size_t i = 0; i < rest.len; i++) {
		char c = rest.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) &&
		    (c == '\0' || strchr("-._~*+%=&", c) == NULL))
			fail_msg("byte %d in a form", c);
	}
	while (hm_str_split(&rest, '&', &pair)) {
		ptrdiff_t eq = hm_str_chr(pair, '=');

		assert_true(eq > 0);
		assert_true(hm_str_chr(hm_str_n(pair.p + eq + 1, pair.len - (size_t)eq - 1), '=') < 0);
		hm_buf_put(&names, pair.p, (size_t)eq);
		hm_buf_putc(&names, '\n');
	}
	return hm_buf_str(&names);
}

/* A mail: ASCII, whole line ends, no line that a text has added to its head. */
static void check_mail(const struct hm_adapter *ad)
{
	struct hm_str mail = k.call.body;

	for (size_t i = 0; i < mail.len; i++) {
		uint8_t c = (uint8_t)mail.p[i];

		if (c >= 0x7f || (c < 0x20 && c != '\r' && c != '\n' && c != '\t') ||
		    (c == '\n' && (i == 0 || mail.p[i - 1] != '\r')) ||
		    (c == '\r' && (i + 1 == mail.len || mail.p[i + 1] != '\n')))
			fail_msg("%.*s: byte %d in a mail", HM_STRF(ad->name), c);
	}
	mail.len = (size_t)hm_str_find(mail, HM_STR("\r\n\r\n"));
	assert_true(hm_str_find(mail, HM_STR("\r\nX-Evil")) < 0);
}

/* Still one document of the kind it says, and none of its names comes from the text. */
static void check_body(const struct hm_adapter *ad, struct hm_str names)
{
	struct hm_str type = header_value("content-type");
	struct hm_buf mp;
	struct hm_err e;

	if (hm_str_starts(type, HM_STR("application/x-www-form-urlencoded"))) {
		struct hm_str rest = form_names(), one;

		/* A text of control characters may leave nothing, and then its name goes too; none is added. */
		while (hm_str_split(&rest, '\n', &one)) {
			struct hm_str known = names, name;
			bool found = one.len == 0;

			while (!found && hm_str_split(&known, '\n', &name))
				found = hm_str_eq(name, one);
			if (!found)
				fail_msg("%.*s: a name of the form comes from the text: %.*s",
					 HM_STRF(ad->name), HM_STRF(k.call.body));
		}
		return;
	}
	if (hm_str_is(type, "message/rfc822")) {
		check_mail(ad);
		return;
	}
	if (hm_str_is(header_value("content-encoding"), "aes128gcm")) {
		k.call.body = webpush_open(&k, k.call.body);
		type = HM_STR("application/json");
	}
	if (hm_str_starts(type, HM_STR("text/xml"))) {
		if (!hm_xml_check(k.call.body) || hm_str_find(k.call.body, HM_STR("<script>")) >= 0)
			fail_msg("%.*s: %.*s", HM_STRF(ad->name), HM_STRF(k.call.body));
		return;
	}
	/* The text alone: a driver carries it with its length, and has tests of its own for that. */
	if (hm_str_starts(type, HM_STR("text/plain")) && k.c->info.origin.protocol != HM_PROTO_HTTP) {
		assert_true(hm_utf8_valid(k.call.body));
		return;
	}
	if (!hm_str_starts(type, HM_STR("application/json")))
		fail_msg("%.*s: how are hostile texts found in %.*s?", HM_STRF(ad->name), HM_STRF(type));
	hm_buf_init(&mp, 1 << 20);
	hm_err_clear(&e);
	if (hm_json_to_msgpack(k.call.body, &mp, &e) != 0)
		fail_msg("%.*s: %s: %.*s", HM_STRF(ad->name), e.text, HM_STRF(k.call.body));
	hm_buf_fini(&mp);
	assert_true(hm_str_find(k.call.body, HM_STR("\"x\":1")) < 0);
}

/* The same message as markdown, with buttons: other roads through the same file. */
static struct hm_str marked_up(struct hm_str message)
{
	struct hm_buf b;

	hm_buf_init_arena(&b, &k.a, 1 << 20);
	hm_buf_lit(&b,
		   "{\"format\":\"markdown\",\"buttons\":[{\"text\":\"@\",\"url\":\"https://x.example/b?@\"},"
		   "{\"text\":\"two\",\"url\":\"@\",\"style\":\"@\"},{\"text\":\"@\",\"action\":\"@\"}],");
	hm_buf_put(&b, message.p + 1, message.len - 1);
	return hm_str_n(hm_buf_cstr(&b), b.len);
}

static void check_request(const struct hm_adapter *ad, struct hm_str names)
{
	for (size_t n = 0; n < k.call.n_headers; n++)
		for (size_t c = 0; c < k.call.headers[n].value.len; c++)
			assert_true((unsigned char)k.call.headers[n].value.p[c] >= 0x20);
	for (size_t c = 0; c < k.call.path.len; c++)
		assert_true((unsigned char)k.call.path.p[c] > 0x20 && (unsigned char)k.call.path.p[c] < 0x7f);
	check_body(ad, names);
}

static void hostile_texts(void **state)
{
	for (size_t i = 0; i < k.adapters->n; i++) {
		const struct hm_adapter *ad = k.adapters->v[i];

		channel_of(ad);
		for (int pass = 0; pass < 2; pass++) {
			struct hm_str message = file_of(ad, "message"), names;

			if (pass)
				message = marked_up(message);
			kit_need_build(&k, replaced(message, "@", "t").p);
			names = hm_str_starts(header_value("content-type"),
					      HM_STR("application/x-www-form-urlencoded"))
					? form_names()
					: HM_STR("");
			check_request(ad, names);
			for (size_t h = 0; h < hm_countof(hostile); h++) {
				if (kit_build(&k, replaced(message, "@", hostile[h]).p) != 0)
					assert_true(k.outcome == HM_OUT_BAD_REQUEST ||
						    k.outcome == HM_OUT_INVALID_RECIPIENT);
				else
					check_request(ad, names);
			}
		}
	}
}

/* -- any length ---------------------------------------------------------------------------- */

static struct hm_str long_body(size_t len, enum hm_text_format f)
{
	static const char *const plain[] = {"some words ", "and a \"quote\", ", "中文，", "\xf0\x9f\x98\x80 ",
					    "line\n"};
	static const char *const markdown[] = {"some **words** ", "and [a link](https://x.example/abc) ",
					       "\n\n- 中文，", "\xf0\x9f\x98\x80 *x* ", "\n# Head\n"};
	static const char *const html[] = {
		"some <b>words</b> ", "and <a href=\"https://x.example/abc\">a link</a> ",
		"<ul><li>中文，</li></ul>", "\xf0\x9f\x98\x80 &amp; <i>x</i> ", "<p>Para</p>"};
	const char *const *bits = f == HM_TEXT_PLAIN ? plain : f == HM_TEXT_MARKDOWN ? markdown : html;
	struct hm_buf b;

	hm_buf_init_arena(&b, &k.a, 1 << 20);
	for (size_t i = 0; b.len < len; i++)
		hm_buf_puts(&b, hm_str_c(bits[(i * 7 + i / 3) % 5]));
	return hm_buf_str(&b);
}

/* What the report says about the request must be true, and it must be the same request without one. */
static void check_report(const struct hm_adapter *ad, const struct hm_build_report *r, struct hm_str body)
{
	if (!hm_str_eq(k.call.body, body) && hm_str_find(k.call.body, HM_STR("boundary")) < 0)
		fail_msg("%.*s: with a report it is another request", HM_STRF(ad->name));
	assert_int_equal(r->payload, body.len);
	assert_true(r->payload_max == 0 || r->payload <= r->payload_max);
	assert_true(r->dialect.len > 0);
	for (size_t i = 0; i < r->n_fields; i++) {
		const struct hm_build_field *f = &r->field[i];

		if (f->max && f->after > f->max)
			fail_msg("%.*s: %.*s has %zu of %zu", HM_STRF(ad->name), HM_STRF(f->name), f->after,
				 f->max);
		assert_true(f->parts >= 1 && (f->action != HM_FIT_WHOLE || f->before == f->after));
	}
	for (size_t i = 0; i < r->n_warnings; i++)
		assert_true(hm_utf8_valid(r->warning[i]) && r->warning[i].len > 10);
}

/* A text of any length and notation fits, is sent in parts, or is refused in a sentence. */
static void any_length(void **state)
{
	static const size_t lengths[] = {1, 65, 700, 2100, 5000, 33000};

	for (size_t i = 0; i < k.adapters->n; i++) {
		const struct hm_adapter *ad = k.adapters->v[i];

		channel_of(ad);
		for (size_t n = 0; n < hm_countof(lengths) * 3; n++) {
			struct hm_arena_mark back = hm_arena_mark(&k.a);
			uint32_t parts = 1;

			kit_message(&k, message_of(ad, "t").p);
			k.in.nonce = HM_STR("0123456789abcdef0123456789abcdef");
			k.content.format = (enum hm_text_format)(n % 3);
			k.content.body = long_body(lengths[n / 3], k.content.format);
			k.in.parts_r = &parts;
			for (k.in.part = 0; k.in.part < parts; k.in.part++) {
				struct hm_build_report r = {0};
				struct hm_str body;

				hm_err_clear(&k.err);
				memset(&k.call, 0, sizeof(k.call));
				if (hm_channel_build(&k.in, &k.a, &k.call, &k.origin, &k.outcome, &k.err) !=
				    0) {
					assert_int_equal(k.outcome, HM_OUT_BAD_REQUEST);
					assert_true(strlen(k.err.text) > 10);
					break;
				}
				assert_in_range(parts, 1, HM_FIT_MAX_PARTS);
				body = k.call.body;
				k.in.report = &r;
				assert_int_equal(
					hm_channel_build(&k.in, &k.a, &k.call, &k.origin, &k.outcome, &k.err),
					0);
				k.in.report = NULL;
				check_report(ad, &r, body);
			}
			hm_arena_rewind(&k.a, back);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),   cmocka_unit_test(cut_answers),   cmocka_unit_test(garbage),
		cmocka_unit_test(transport), cmocka_unit_test(hostile_texts), cmocka_unit_test(any_length),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
