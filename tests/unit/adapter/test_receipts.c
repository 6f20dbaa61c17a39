/*
 * test_receipts.c - what providers report: every adapter's section receipts against its battery file (tests/battery/README.md)
 */
#include "adapter/receipts.h"
#include "kit.h"

#define BATTERY HM_TEST_DIR "/battery/adapters/"
#define CONFIG	"callbacks:\n  public_url: %s\nchannels:\n  c:\n"

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

/* -- lines of a file -------------------------------------------------------------------- */

static struct hm_str field(struct hm_str *line)
{
	ptrdiff_t at = hm_str_find(*line, HM_STR(" | "));
	struct hm_str f;

	if (at < 0 && hm_str_ends(*line, HM_STR(" |")))
		at = (ptrdiff_t)line->len - 2;
	f = at < 0 ? *line : hm_str_n(line->p, (size_t)at);
	*line = at < 0 ? HM_STR("") : hm_str_n(line->p + at + 2, line->len - (size_t)at - 2);
	return hm_str_trim(f);
}

static int hex(char c)
{
	c = (char)(c | 0x20);
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* \r \n \t \\ \xHH; everything else stands for itself, so that JSON may be written as it is: \" and \u too. */
static struct hm_str bytes(struct hm_str s)
{
	char *p = hm_arena_alloc(&k.a, s.len + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i], d = i + 1 < s.len ? s.p[i + 1] : '\0';

		if (c != '\\') {
			p[n++] = c;
		} else if (d == 'r' || d == 'n' || d == 't' || d == '\\') {
			p[n++] = d == 'r' ? '\r' : d == 'n' ? '\n' : d == 't' ? '\t' : '\\';
			i++;
		} else if (d == 'x' && i + 3 < s.len && hex(s.p[i + 2]) >= 0 && hex(s.p[i + 3]) >= 0) {
			p[n++] = (char)(hex(s.p[i + 2]) * 16 + hex(s.p[i + 3]));
			i += 3;
		} else {
			p[n++] = c;
		}
	}
	return hm_str_n(p, n);
}

struct place { /* what the lines with + and ! have said so far */
	const struct hm_adapter *ad;
	struct hm_buf map; /* lines of the channel */
	char url[300];
	uint64_t wall_ms;
	struct hm_str certificate; /* PEM, as if it had been fetched */
	bool changed;
	char at[700];
	bool *reached;
	size_t cases, refused;
};

static bool same_key(struct hm_str line, struct hm_str other)
{
	ptrdiff_t a = hm_str_chr(line, ':'), b = hm_str_chr(other, ':');

	return a > 0 && b > 0 &&
	       hm_str_eq(hm_str_trim(hm_str_n(line.p, (size_t)a)), hm_str_trim(hm_str_n(other.p, (size_t)b)));
}

/* "key: value": replaces the line of that key. */
static void set_line(struct place *w, struct hm_str line)
{
	struct hm_str rest = hm_arena_str(&k.a, hm_buf_str(&w->map)), one;

	hm_buf_reset(&w->map);
	while (hm_str_split(&rest, '\n', &one)) {
		if (one.len == 0 || same_key(one, line))
			continue;
		hm_buf_puts(&w->map, one);
		hm_buf_putc(&w->map, '\n');
	}
	hm_buf_printf(&w->map, "    %.*s\n", HM_STRF(line));
	w->changed = true;
}

static void need_channel(struct place *w)
{
	struct hm_buf b;

	if (!w->changed)
		return;
	w->changed = false;
	kit_drop_channel(&k);
	k.errors[0] = '\0';
	hm_buf_init(&b, 1 << 20);
	hm_buf_printf(&b, CONFIG, w->url);
	hm_buf_puts(&b, hm_buf_str(&w->map));
	if (hm_config_load_text("hermod.yaml", hm_buf_str(&b), NULL, &k.cfg, kit_report, &k) == 0 &&
	    hm_channel_set_load(k.cfg, k.adapters, &k.channels, kit_report, &k) == 0)
		k.c = hm_channel_find(k.channels, HM_STR("c"));
	if (k.c == NULL)
		fail_msg("%s: %s", w->at, k.errors);
	hm_buf_fini(&b);
}

/* -- what came out ----------------------------------------------------------------------- */

static void put_quoted(struct hm_buf *b, const char *name, struct hm_str s)
{
	if (s.len > 0)
		hm_buf_printf(b, " %s=%.*s", name, HM_STRF(s));
}

/* Names of attributes that `want` gives are compared; others are not asked. */
static bool asked(struct hm_str want, const char *name)
{
	char text[32];

	snprintf(text, sizeof(text), " %s=", name);
	return hm_str_find(want, hm_str_c(text)) >= 0;
}

static struct hm_str told(const struct hm_cb_event *x, struct hm_str want)
{
	char id[HM_ULID_TEXT + 1];
	struct hm_buf b;

	hm_buf_init_arena(&b, &k.a, 1 << 20);
	hm_buf_puts(&b, hm_str_c(hm_cb_kind_name(x->kind)));
	if (!x->final)
		hm_buf_lit(&b, " progress");
	if (x->has_id) {
		hm_ulid_text(&x->id, id);
		put_quoted(&b, "id", hm_str_c(id));
	}
	if (x->provider_id.len > 0 && (!x->has_id || asked(want, "pid")))
		put_quoted(&b, "pid", x->provider_id);
	if (asked(want, "to") || (!x->has_id && x->provider_id.len == 0))
		put_quoted(&b, "to", x->recipient);
	if (asked(want, "code"))
		put_quoted(&b, "code", x->code);
	if (asked(want, "sub"))
		put_quoted(&b, "sub", x->sub);
	if (asked(want, "at"))
		hm_buf_printf(&b, " at=%llu", (unsigned long long)x->at_ms);
	if (asked(want, "dedupe"))
		put_quoted(&b, "dedupe", x->dedupe);
	if (asked(want, "detail"))
		put_quoted(&b, "detail", x->detail);
	if (asked(want, "text"))
		put_quoted(&b, "text", x->text);
	return hm_buf_str(&b);
}

static void mark(struct place *w, const struct hm_cb_view *v, int line)
{
	for (uint32_t i = 0; i < v->n_rows; i++)
		if (v->rows[i].line == line && line > 0)
			w->reached[i] = true;
}

static void check_events(struct place *w, const struct hm_cb_view *v, const struct hm_cb_result *r,
			 struct hm_str want)
{
	struct hm_str rest = want, one;
	size_t n = 0;

	while (rest.len > 0) {
		ptrdiff_t at = hm_str_find(rest, HM_STR(" ; "));
		struct hm_str got;

		one = hm_str_trim(at < 0 ? rest : hm_str_n(rest.p, (size_t)at));
		rest = at < 0 ? HM_STR("") : hm_str_n(rest.p + at + 3, rest.len - (size_t)at - 3);
		if (hm_str_is(one, "-"))
			continue;
		if (n >= r->n)
			fail_msg("%s: only %zu events, expected %.*s", w->at, r->n, HM_STRF(one));
		got = told(&r->events[n++], one);
		if (!hm_str_eq(got, one))
			fail_msg("%s:\n  event    %.*s\n  expected %.*s", w->at, HM_STRF(got), HM_STRF(one));
	}
	if (n != r->n)
		fail_msg("%s: %zu events, expected %zu; the next is %.*s", w->at, r->n, n,
			 HM_STRF(told(&r->events[n], HM_STR(" to= pid= code="))));
	for (size_t i = 0; i < r->n; i++) {
		assert_true(hm_utf8_valid(r->events[i].detail) && hm_utf8_valid(r->events[i].text));
		mark(w, v, r->events[i].row_line);
	}
	if (r->ignored > 0) /* which row did not take it is not told: the last one that says so counts */
		for (uint32_t i = 0; i < v->n_rows; i++)
			if (v->rows[i].event == HM_CB_EV_IGNORED)
				w->reached[i] = true;
}

static size_t headers_of(struct hm_str s, struct hm_header *v, size_t max)
{
	struct hm_str one;
	size_t n = 0;

	while (hm_str_split(&s, ';', &one)) {
		ptrdiff_t colon = hm_str_chr(one, ':');

		if (colon < 0)
			continue;
		assert_true(n < max);
		v[n].name = hm_str_trim(hm_str_n(one.p, (size_t)colon));
		v[n++].value = bytes(hm_str_trim(hm_str_n(one.p + colon + 1, one.len - (size_t)colon - 1)));
	}
	return n;
}

static void check_answer(struct place *w, const struct hm_cb_result *r, struct hm_str want)
{
	struct hm_str code, body;
	uint64_t status;

	(void)hm_str_split(&want, ' ', &code);
	body = bytes(hm_str_trim(want));
	assert_true(hm_str_u64(code, &status));
	if ((uint64_t)r->status != status)
		fail_msg("%s: answered with %d (%s: %s), expected %d", w->at, r->status,
			 hm_cb_verdict_name(r->verdict), r->why, (int)status);
	if (body.len > 0 && !hm_str_eq(body, r->body))
		fail_msg("%s: answered with %.*s, expected %.*s", w->at, HM_STRF(r->body), HM_STRF(body));
}

/* Whatever is changed, nothing is believed that was not before; and the end of every buffer is where ASan sees it. */
static void tamper(struct place *w, struct hm_cb_call *call)
{
	struct hm_cb_result r;
	struct hm_str body = call->body;

	for (size_t n = 0; n < body.len; n += 1 + body.len / 40) {
		char *exact = malloc(n ? n : 1);

		memcpy(exact, body.p, n);
		call->body = hm_str_n(exact, n);
		hm_channel_callback(k.c, call, &k.a, &r);
		free(exact);
		assert_true(r.verdict != HM_CB_FORGED || (r.n == 0 && r.status == 403 && r.why[0] != '\0'));
	}
	call->body = body;
	call->headers = NULL;
	call->n_headers = 0;
	call->query = HM_STR("");
	hm_channel_callback(k.c, call, &k.a, &r);
	if (w->ad->receipts.push.verify == NULL && (r.verdict == HM_CB_TAKEN || r.n > 0))
		fail_msg("%s: taken without a token", w->at);
}

/* The bytes of a line, or of a file: "@VECTORS@dsn/postfix.eml". */
static struct hm_str body_of(struct hm_str s)
{
	char path[600];

	if (!hm_str_starts(s, HM_STR("@VECTORS@")))
		return bytes(s);
	snprintf(path, sizeof(path), VECTORS "%.*s", (int)(s.len - 9), s.p + 9);
	return kit_file(&k, path);
}

static void call_case(struct place *w, struct hm_str method, struct hm_str rest)
{
	struct hm_str target = HM_STR(""), head, body, answer, url;
	struct hm_header headers[24];
	struct hm_cb_call call = {
		.path = HM_STR("/v1/callbacks/c"), .wall_ms = w->wall_ms, .certificate = w->certificate};
	struct hm_cb_result r;
	ptrdiff_t blank = hm_str_chr(method, ' ');

	if (blank > 0) {
		target = hm_str_trim(hm_str_n(method.p + blank, method.len - (size_t)blank));
		method.len = (size_t)blank;
	}
	head = field(&rest);
	body = field(&rest);
	answer = field(&rest);
	if (hm_str_starts(target, HM_STR("http"))) { /* a published vector: the whole URL */
		url = target;
	} else {
		url = hm_arena_printf(&k.a, "%s/v1/callbacks/c%.*s", w->url, HM_STRF(target));
	}
	call.method = method;
	call.url = url;
	if (hm_str_chr(url, '?') >= 0)
		call.query = hm_str_n(url.p + hm_str_chr(url, '?') + 1,
				      url.len - (size_t)hm_str_chr(url, '?') - 1);
	call.n_headers = headers_of(head, headers, hm_countof(headers));
	call.headers = headers;
	call.body = body_of(body);
	hm_channel_callback(k.c, &call, &k.a, &r);
	check_answer(w, &r, answer);
	check_events(w, &w->ad->receipts.push.view, &r, rest);
	w->refused += r.verdict == HM_CB_FORGED;
	tamper(w, &call);
}

static void pull_case(struct place *w, struct hm_str ids, struct hm_str rest)
{
	struct hm_str request = field(&rest), body = field(&rest), answer = field(&rest), v[64], one, code,
		      host = HM_STR("");
	struct hm_cb_result r;
	struct hm_origin_opts origin;
	struct hm_verdict verdict;
	struct hm_err e;
	uint64_t status;
	size_t n = 0;

	ids = hm_str_trim(ids);
	while (hm_str_split(&ids, ',', &one) && n < hm_countof(v))
		v[n++] = one;
	memset(&k.call, 0, sizeof(k.call));
	if (hm_channel_pull_build(k.c, v, n, HM_STR("credential"), w->wall_ms, &k.a, &k.call, &origin, &e) !=
	    0)
		fail_msg("%s: %s", w->at, e.text);
	for (size_t i = 1; i < n; i++)
		assert_true(hm_str_eq(hm_channel_pull_group(k.c, v[i], w->wall_ms, &k.a),
				      hm_channel_pull_group(k.c, v[0], w->wall_ms, &k.a)));
	if (!hm_str_eq(origin.host,
		       hm_channel_info(k.c)->origin.host)) { /* written down with the host, then */
		assert_true(origin.tls && origin.port == 443);
		host = hm_arena_printf(&k.a, "https://%.*s", HM_STRF(origin.host));
	}
	one = hm_arena_printf(&k.a, "%.*s %.*s%.*s%s%.*s", HM_STRF(k.call.method), HM_STRF(host),
			      HM_STRF(k.call.path), k.call.body.len ? " " : "", HM_STRF(k.call.body));
	if (!hm_str_eq(one, bytes(request)))
		fail_msg("%s:\n  asks     %.*s\n  expected %.*s", w->at, HM_STRF(one), HM_STRF(request));
	(void)hm_str_split(&answer, ' ', &code);
	assert_true(hm_str_u64(code, &status));
	k.call.fate = HM_FATE_ANSWERED;
	k.call.status = (int)status;
	k.call.answer = bytes(body);
	hm_channel_pull_events(k.c, v, n, &k.call, w->wall_ms, &k.a, &verdict, &r);
	if (!hm_str_is(hm_str_trim(answer), hm_outcome_name(verdict.outcome)))
		fail_msg("%s: is %s", w->at, hm_outcome_name(verdict.outcome));
	check_events(w, &w->ad->receipts.pull.view, &r, rest);
}

static void session_case(struct place *w, struct hm_str rest)
{
	struct hm_str fields = field(&rest), one;
	struct hm_cb_field v[64];
	struct hm_cb_result r;
	size_t n = 0;

	while (hm_str_split(&fields, ';', &one)) {
		ptrdiff_t eq = hm_str_chr(one, '=');

		assert_true(eq > 0 && n < hm_countof(v));
		v[n].name = hm_str_trim(hm_str_n(one.p, (size_t)eq));
		v[n++].value = bytes(hm_str_n(one.p + eq + 1, one.len - (size_t)eq - 1));
	}
	hm_channel_session_events(k.c, v, n, w->wall_ms, &k.a, &r);
	check_events(w, &w->ad->receipts.view, &r, rest);
}

static void one_line(struct place *w, struct hm_str line)
{
	uint64_t v;

	snprintf(w->at, sizeof(w->at), "%.*s: %.*s", HM_STRF(w->ad->name), (int)hm_min(line.len, (size_t)500),
		 line.p);
	if (line.p[0] == '+') {
		set_line(w, hm_str_trim(hm_str_n(line.p + 1, line.len - 1)));
		return;
	}
	if (hm_str_starts(line, HM_STR("!now "))) {
		assert_true(hm_str_u64(hm_str_trim(hm_str_n(line.p + 5, line.len - 5)), &v));
		w->wall_ms = v * 1000;
		return;
	}
	if (hm_str_starts(line, HM_STR("!certificate "))) {
		char path[600];

		snprintf(path, sizeof(path), VECTORS "%.*s",
			 HM_STRF(hm_str_trim(hm_str_n(line.p + 13, line.len - 13))));
		w->certificate = kit_file(&k, path);
		return;
	}
	if (hm_str_starts(line, HM_STR("!url "))) {
		snprintf(w->url, sizeof(w->url), "%.*s",
			 HM_STRF(hm_str_trim(hm_str_n(line.p + 5, line.len - 5))));
		w->changed = true;
		return;
	}
	need_channel(w);
	w->cases++;
	struct hm_arena_mark back = hm_arena_mark(&k.a);
	struct hm_str first = field(&line);

	if (hm_str_starts(first, HM_STR("PULL ")))
		pull_case(w, hm_str_n(first.p + 5, first.len - 5), line);
	else if (hm_str_is(first, "SESSION"))
		session_case(w, line);
	else
		call_case(w, first, line);
	hm_arena_rewind(&k.a, back);
}

static const struct hm_cb_view *main_view(const struct hm_cb_decl *d)
{
	return d->push.present ? &d->push.view : d->pull.present ? &d->pull.view : &d->view;
}

static void battery(void **state)
{
	size_t files = 0, cases = 0;

	for (size_t i = 0; i < k.adapters->n; i++) {
		const struct hm_adapter *ad = k.adapters->v[i];
		struct place w = {
			.ad = ad, .url = "https://hub.example.com", .wall_ms = WALL_MS, .changed = true};
		bool reached[512] = {false};
		const struct hm_cb_view *v = main_view(&ad->receipts);
		struct hm_str text, line;
		char path[600];

		if (!ad->receipts.present)
			continue;
		w.reached = reached;
		hm_buf_init(&w.map, 1 << 20);
		snprintf(path, sizeof(path), BATTERY "%.*s.channel", HM_STRF(ad->name));
		text = kit_file(&k, path);
		while (hm_str_split(&text, '\n', &line)) {
			ptrdiff_t at = hm_str_find(line, HM_STR("@VECTORS@"));

			if (at >= 0)
				hm_buf_printf(&w.map, "%.*s" VECTORS "%.*s\n", (int)at, line.p,
					      (int)(line.len - (size_t)at - 9), line.p + at + 9);
			else
				hm_buf_printf(&w.map, "%.*s\n", HM_STRF(line));
		}
		snprintf(path, sizeof(path), BATTERY "%.*s.receipts", HM_STRF(ad->name));
		text = kit_file(&k, path);
		while (hm_str_split(&text, '\n', &line))
			if (line.len > 0 && line.p[0] != '#')
				one_line(&w, line);
		if (ad->receipts.push.present && w.refused == 0)
			fail_msg("%.*s: no case is refused with 403", HM_STRF(ad->name));
		for (uint32_t r = 0; r < v->n_rows; r++)
			if (!reached[r])
				fail_msg("%.*s: no case reaches the row of line %d", HM_STRF(ad->name),
					 v->rows[r].line);
		cases += w.cases;
		files++;
		hm_buf_fini(&w.map);
	}
	printf("counted: %zu receipts of %zu adapters\n", cases, files);
	assert_true(files >= 3);
}

/* Any bytes at all, signed by nobody: never events. */
static void garbage(void **state)
{
	static const char *const bodies[] = {"",
					     "null",
					     "[]",
					     "{}",
					     "[[[[[[[[[[[[",
					     "<xml>",
					     "<xml><Encrypt>a</Encrypt></xml>",
					     "a=b&c=%zz&=&&",
					     "\xff\xfe",
					     "{\"encrypt\":\"AAAA\"}",
					     "Content-Type: multipart/report; boundary=\"\"\r\n\r\n--\r\n"};

	for (size_t i = 0; i < k.adapters->n; i++) {
		const struct hm_adapter *ad = k.adapters->v[i];
		struct hm_header h = {.name = HM_STR("content-type"),
				      .value = HM_STR("multipart/form-data; boundary=x")};
		struct hm_cb_call call = {
			.path = HM_STR("/v1/callbacks/c"), .wall_ms = WALL_MS, .headers = &h, .n_headers = 1};
		char path[600];
		struct hm_cb_result r;

		if (!ad->receipts.push.present)
			continue;
		snprintf(path, sizeof(path), BATTERY "%.*s.channel", HM_STRF(ad->name));
		struct hm_str map = kit_file(&k, path);
		ptrdiff_t at = hm_str_find(map, HM_STR("@VECTORS@"));

		if (at >= 0)
			map = hm_arena_printf(&k.a, "%.*s" VECTORS "%.*s", (int)at, map.p,
					      (int)(map.len - (size_t)at - 9), map.p + at + 9);
		kit_need_channel(&k, map.p);
		for (size_t b = 0; b < hm_countof(bodies); b++)
			for (int m = 0; m < 4; m++) {
				call.method = m & 1 ? HM_STR("POST") : HM_STR("GET");
				call.query =
					m & 2 ? HM_STR("token=&msg_signature=x&echostr=%00&hub.challenge=1")
					      : HM_STR("");
				call.body = hm_str_c(bodies[b]);
				hm_channel_callback(k.c, &call, &k.a, &r);
				if (r.verdict == HM_CB_TAKEN || r.n > 0)
					fail_msg("%.*s: %s is taken", HM_STRF(ad->name), bodies[b]);
			}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(battery), cmocka_unit_test(garbage)};

	return cmocka_run_group_tests(tests, setup, teardown);
}
