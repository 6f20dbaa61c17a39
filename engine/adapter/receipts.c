/*
 * receipts.c - calls of providers, answers to questions, events of sessions: what they say
 *
 *   call ─▶ body read as it came (envelope) ─▶ clear ─▶ a handshake? ─▶ genuine? ─▶ body read ─▶ each event ─▶ its row
 *
 * Expressions run over what anybody on the Internet may send. One that fails while a call is being proved makes it
 * forged; one that fails for an event makes that event ignored.
 */
#include "adapter/receipts.h"

#include <stdio.h>
#include <time.h>

#include "adapter/callback_body.h"
#include "adapter/jsonscan.h"
#include "adapter/model.h"
#include "adapter/xmlscan.h"
#include "base/clock.h"
#include "base/tz.h"

#define FUTURE_MS 300000u /* clocks differ */

static const struct {
	const char *name, *suppress;
	int receipt;
} kinds[] = {
#define HM_CALLBACK_EVENT(name, text, receipt, suppress, sentence) {text, suppress, receipt},
#include "tbl/callback_events.h"
#undef HM_CALLBACK_EVENT
};

const char *hm_cb_kind_name(enum hm_cb_kind k)
{
	hm_assert((size_t)k < hm_countof(kinds));
	return kinds[k].name;
}

int hm_cb_kind_find(struct hm_str s)
{
	for (size_t i = 0; i < hm_countof(kinds); i++)
		if (hm_str_is(s, kinds[i].name))
			return (int)i;
	return -1;
}

int hm_cb_kind_receipt(enum hm_cb_kind k)
{
	hm_assert((size_t)k < hm_countof(kinds));
	return kinds[k].receipt;
}

const char *hm_cb_kind_suppress(enum hm_cb_kind k)
{
	hm_assert((size_t)k < hm_countof(kinds));
	return kinds[k].suppress;
}

const char *hm_cb_verdict_name(enum hm_cb_verdict v)
{
	static const char *const names[] = {"taken",  "challenge",  "confirm", "certificate",
					    "forged", "unreadable", "method",  "not_here"};

	hm_assert((size_t)v < hm_countof(names));
	return names[v];
}

static bool any_by_provider_id(const struct hm_cb_view *v)
{
	return v->provider_id != NULL && v->id == NULL;
}

void hm_channel_receipts(const struct hm_channel *c, struct hm_cb_info *i)
{
	const struct hm_cb_decl *d = &c->ad->receipts;
	bool pull = d->pull.present && !c->pull_off;

	HM_CHECK(c, HM_CHANNEL_MAGIC);
	*i = (struct hm_cb_info){
		.push = d->push.present,
		.pull = pull,
		.session = d->session,
		.by_provider_id = (d->push.present && any_by_provider_id(&d->push.view)) || pull ||
				  (d->session && any_by_provider_id(&d->view)),
		.batch_by_provider_id = (d->push.present && d->push.view.provider_id != NULL) ||
					(d->session && d->view.provider_id != NULL),
		.keep_ms = d->keep_ms,
		.pull_after_ms = d->pull.after_ms,
		.pull_until_ms = d->pull.until_ms,
		.pull_max = d->pull.max,
		.deadline_ms = d->push.deadline_ms,
	};
	if (i->pull && i->keep_ms < i->pull_until_ms)
		i->keep_ms = i->pull_until_ms;
}

/* -- events ----------------------------------------------------------------------- */

struct reading {
	const struct hm_channel *c;
	const struct hm_cb_view *view;
	struct hm_eval *ev;
	struct hm_cb_result *r;
	size_t cap;
	bool too_many;
};

/* Whatever bytes came: UTF-8 without control characters, or with line ends only. */
static struct hm_str tidy(struct hm_str s, size_t max, bool lines, struct hm_arena *a)
{
	char *p;
	size_t n = 0;

	s = hm_str_trim(s);
	s = hm_str_n(s.p, hm_utf8_cut(s, max));
	if (s.len == 0)
		return HM_STR("");
	if (!hm_utf8_valid(s)) {
		struct hm_buf b;

		hm_buf_init_arena(&b, a, s.len * 6 + 16);
		hm_buf_json(&b, s);
		s = hm_buf_str(&b);
	}
	p = hm_arena_alloc(a, s.len);
	if (p == NULL)
		return HM_STR("");
	for (size_t i = 0; i < s.len; i++) {
		unsigned char ch = (unsigned char)s.p[i];

		if (ch >= 0x20 && ch != 0x7f)
			p[n++] = s.p[i];
		else if (lines && (ch == '\n' || ch == '\t'))
			p[n++] = s.p[i];
		else if (ch != '\r')
			p[n++] = ' ';
	}
	return hm_str_n(p, n);
}

static struct hm_str text_of(struct hm_eval *ev, const struct hm_expr *e, size_t max)
{
	struct hm_val v;

	if (e == NULL)
		return HM_STR("");
	v = hm_eval(ev, e);
	return tidy(hm_val_text(&v, ev->a), max, false, ev->a);
}

static bool uuid(struct hm_str s, struct hm_ulid *id)
{
	int n = 0;

	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i], l = (char)(c | 0x20);
		int v = c >= '0' && c <= '9' ? c - '0' : l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;

		if (c == '-')
			continue;
		if (v < 0 || n == 32)
			return false;
		id->b[n / 2] = (uint8_t)(n % 2 ? id->b[n / 2] | v : v << 4);
		n++;
	}
	return n == 32;
}

/* "2024-01-02 03:04:05" by a pattern of strptime, in the zone of the section unless the pattern reads one (%z). */
static bool by_pattern(const struct hm_cb_view *v, struct hm_str s, uint64_t *ms_r)
{
	char text[80], pattern[64];
	struct tm tm = {.tm_mday = 1};
	int64_t at;

	if (s.len >= sizeof(text) || v->time_pattern.len >= sizeof(pattern))
		return false;
	memcpy(text, s.p, s.len);
	text[s.len] = '\0';
	memcpy(pattern, v->time_pattern.p, v->time_pattern.len);
	pattern[v->time_pattern.len] = '\0';
	tm.tm_gmtoff = v->time_zone;
	if (strptime(text, pattern, &tm) == NULL)
		return false;
	at = hm_civil_seconds((struct hm_civil){.year = tm.tm_year + 1900,
						.month = tm.tm_mon + 1,
						.day = tm.tm_mday,
						.hour = tm.tm_hour,
						.minute = tm.tm_min,
						.second = tm.tm_sec}) -
	     tm.tm_gmtoff;
	if (at < 0)
		return false;
	*ms_r = (uint64_t)at * 1000;
	return true;
}

static uint64_t time_of(struct hm_eval *ev, const struct hm_cb_view *v)
{
	uint64_t ms = 0;
	struct hm_val t;
	struct hm_str s;
	bool ok = false;

	if (v->time == NULL)
		return ev->wall_ms;
	t = hm_eval(ev, v->time);
	s = hm_str_trim(hm_val_text(&t, ev->a));
	switch (v->time_as) {
	case HM_CBT_EPOCH: ok = hm_time_of(&t, HM_TIME_EPOCH, 0, &ms); break;
	case HM_CBT_EPOCH_MS: ok = hm_time_of(&t, HM_TIME_EPOCH_MS, 0, &ms); break;
	case HM_CBT_HTTP: ok = hm_clock_parse_http_date(s, &ms); break;
	case HM_CBT_RFC3339: ok = hm_clock_parse_rfc3339(s, &ms); break;
	case HM_CBT_TEXT: ok = by_pattern(v, s, &ms); break;
	}
	/* A clock that runs ahead must not date things into the future. */
	return ok && ms > 0 && ms <= ev->wall_ms + FUTURE_MS ? ms : ev->wall_ms;
}

static const struct hm_cb_row *row_of(struct hm_eval *ev, const struct hm_cb_view *v,
				      const struct hm_cb_event *x)
{
	for (uint32_t i = 0; i < v->n_rows; i++) {
		const struct hm_cb_row *r = &v->rows[i];
		struct hm_val yes;

		if (!hm_pats_match(&r->code, x->code) || !hm_pats_match(&r->sub, x->sub) ||
		    !hm_pats_match(&r->message, x->detail))
			continue;
		if (r->when == NULL)
			return r;
		yes = hm_eval(ev, r->when);
		if (ev->rc == 0 && hm_val_true(&yes))
			return r;
	}
	return NULL;
}

static void read_event(struct reading *g, struct hm_cb_event *x)
{
	const struct hm_cb_view *v = g->view;
	struct hm_eval *ev = g->ev;
	const struct hm_cb_row *row;
	struct hm_str id;

	memset(x, 0, sizeof(*x));
	x->code = text_of(ev, v->code, 100);
	x->sub = text_of(ev, v->sub, 100);
	x->detail = text_of(ev, v->detail, HM_CB_DETAIL_MAX);
	row = row_of(ev, v, x);
	x->kind = row ? row->event : HM_CB_EV_IGNORED;
	x->final = row == NULL || row->final;
	x->row_line = row ? row->line : 0;
	if (ev->rc != 0 || row == NULL)
		return;
	id = text_of(ev, v->id, 64);
	x->has_id = id.len == HM_ULID_TEXT ? hm_ulid_parse(id, &x->id) : uuid(id, &x->id);
	x->provider_id = text_of(ev, v->provider_id, HM_CB_DETAIL_MAX);
	x->recipient = text_of(ev, v->recipient, 2048);
	x->dedupe = text_of(ev, v->dedupe, 256);
	if (v->text != NULL) {
		struct hm_val t = hm_eval(ev, v->text);

		x->text = tidy(hm_val_text(&t, ev->a), HM_CB_TEXT_MAX, true, ev->a);
	}
	x->at_ms = time_of(ev, v);
}

static void one_event(struct reading *g, const struct hm_val *it, struct hm_str key, uint32_t index)
{
	struct hm_eval *ev = g->ev;
	struct hm_cb_result *r = g->r;
	struct hm_cb_event x;

	if (index >= HM_CB_EVENTS_MAX) {
		g->too_many = true;
		return;
	}
	ev->it = it;
	ev->key = key;
	ev->index = index;
	ev->rc = 0;
	if (g->view->when != NULL) {
		struct hm_val yes = hm_eval(ev, g->view->when);

		if (ev->rc != 0 || !hm_val_true(&yes)) {
			r->ignored++;
			return;
		}
	}
	read_event(g, &x);
	if (ev->rc != 0 || x.kind == HM_CB_EV_IGNORED) {
		r->ignored++;
		return;
	}
	if (r->n == g->cap) {
		size_t cap = g->cap ? g->cap * 2 : 8;
		struct hm_cb_event *more = hm_arena_alloc(ev->a, cap * sizeof(*more));

		if (more == NULL) {
			g->too_many = true;
			return;
		}
		if (r->n > 0)
			memcpy(more, r->events, r->n * sizeof(*more));
		r->events = more;
		g->cap = cap;
	}
	r->events[r->n++] = x;
}

/* false: more than can be taken at once, or out of memory. */
static bool read_events(struct reading *g)
{
	struct hm_eval *ev = g->ev;
	struct hm_val list = g->view->each ? hm_eval(ev, g->view->each) : ev->cb->event, el;
	struct hm_str key, piece;
	struct hm_json_iter it;
	uint32_t i = 0;

	if (ev->rc != 0)
		list = HM_NONE;
	if (g->view->each == NULL) {
		one_event(g, &list, HM_STR(""), 0);
	} else if (list.t == HM_V_JSON && hm_json_iter(list.s, &it)) {
		while (hm_json_next(&it, &key, &piece) && !g->too_many) {
			el = hm_val_of_json(piece, ev->a);
			one_event(g, &el, key, i++);
		}
	} else {
		size_t n = hm_val_len(&list);

		for (size_t k = 0; k < n && !g->too_many; k++) {
			el = hm_val_at(&list, k, &key, ev->a);
			one_event(g, &el, key, i++);
		}
	}
	ev->it = NULL;
	ev->rc = 0;
	return !g->too_many;
}

/* -- a call ------------------------------------------------------------------------ */

static struct hm_str header(const struct hm_cb_call *call, const char *name)
{
	for (size_t i = 0; i < call->n_headers; i++)
		if (hm_str_ieq(call->headers[i].name, hm_str_c(name)))
			return call->headers[i].value;
	return HM_STR("");
}

static struct hm_val parsed(enum hm_cb_format f, struct hm_str field, struct hm_str text, struct hm_str type,
			    struct hm_arena *a)
{
	struct hm_val v = HM_NONE, inner;

	switch (f) {
	case HM_CB_JSON: return hm_json_check(text) ? hm_val_of_json(text, a) : HM_NONE;
	case HM_CB_XML: return hm_cb_xml(text, a);
	case HM_CB_TEXT: return hm_val_str(text);
	case HM_CB_DSN: return hm_cb_dsn(text, a);
	case HM_CB_FORM: v = hm_cb_form(text, a); break;
	case HM_CB_MULTIPART: /* some send a small form unwrapped */
		v = hm_str_find(type, HM_STR("multipart/")) >= 0 ? hm_cb_multipart(text, type, a)
								 : hm_cb_form(text, a);
		break;
	}
	if (field.len == 0 || v.t != HM_V_MAP)
		return v;
	inner = hm_val_get(&v, field, a);
	text = hm_val_text(&inner, a);
	return hm_json_check(text) ? hm_val_of_json(text, a) : HM_NONE;
}

static bool method_known(const struct hm_cb_push *p, struct hm_str m)
{
	return hm_str_is(m, "POST")   ? p->post
	       : hm_str_is(m, "GET")  ? p->get
	       : hm_str_is(m, "HEAD") ? p->head || p->get
				      : false;
}

static void say(struct hm_cb_result *r, const char *text)
{
	snprintf(r->why, sizeof(r->why), "%.*s", (int)sizeof(r->why) - 1, text); /* cut */
}

static struct hm_str put_text(struct hm_eval *ev, const struct hm_tpl *t)
{
	struct hm_val v;

	if (t == NULL)
		return HM_STR("");
	v = hm_eval_tpl(ev, t);
	return hm_val_text(&v, ev->a);
}

/* A handshake that cannot be computed is none. */
static bool challenged(struct hm_eval *ev, const struct hm_cb_push *p, struct hm_cb_result *r)
{
	for (uint32_t i = 0; i < p->n_challenge; i++) {
		const struct hm_cb_challenge *c = &p->challenge[i];
		struct hm_val yes;

		ev->rc = 0;
		yes = hm_eval(ev, c->when);
		if (ev->rc != 0 || !hm_val_true(&yes))
			continue;
		r->body = put_text(ev, c->body);
		r->type = put_text(ev, c->type);
		if (ev->rc != 0)
			continue;
		r->verdict = HM_CB_CHALLENGE;
		r->status = c->status;
		return true;
	}
	ev->rc = 0;
	return false;
}

static bool label_matches(struct hm_str pattern, struct hm_str host)
{
	while (pattern.len > 0 && host.len > 0) {
		struct hm_str p, h;

		(void)hm_str_split(&pattern, '.', &p);
		(void)hm_str_split(&host, '.', &h);
		if (h.len == 0 || !(hm_str_is(p, "*") || hm_str_ieq(p, h)))
			return false;
	}
	return pattern.len == 0 && host.len == 0;
}

/* An https URL without port or userinfo, of a host in the list. */
static bool may_fetch(const struct hm_cb_fetch *f, struct hm_str url)
{
	struct hm_str host;
	size_t n = 0;

	if (!hm_str_starts(url, HM_STR("https://")) || url.len > 2000)
		return false;
	for (size_t i = 0; i < url.len; i++)
		if ((unsigned char)url.p[i] <= ' ' || (unsigned char)url.p[i] >= 0x7f || url.p[i] == '\\')
			return false;
	host = hm_str_n(url.p + 8, url.len - 8);
	while (n < host.len && host.p[n] != '/' && host.p[n] != '?' && host.p[n] != '#')
		n++;
	host.len = n;
	for (size_t i = 0; i < n; i++) {
		char c = host.p[i], l = (char)(c | 0x20);

		if (!((l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-'))
			return false;
	}
	for (uint32_t i = 0; i < f->n_hosts; i++)
		if (label_matches(f->hosts[i], host))
			return true;
	return false;
}

/* true: r->fetch is what to get. */
static bool fetch_of(struct hm_eval *ev, const struct hm_cb_fetch *f, struct hm_cb_result *r)
{
	struct hm_val v;

	if (f->url == NULL)
		return false;
	v = hm_eval(ev, f->url);
	if (ev->rc != 0 || v.t != HM_V_STR || !may_fetch(f, v.s))
		return false;
	r->fetch = v.s;
	return true;
}

static bool token_fits(const struct hm_channel *c, const struct hm_cb_names *cb, struct hm_arena *a)
{
	struct hm_val v = hm_val_get(&cb->query, HM_STR("token"), a);

	return hm_same_secret(hm_val_text(&v, a), c->callback_token);
}

static bool genuine(const struct hm_channel *c, struct hm_eval *ev, const struct hm_cb_push *p,
		    struct hm_cb_result *r)
{
	struct hm_val ok;

	if (c->callback_token.len > 0 && !token_fits(c, ev->cb, ev->a)) {
		say(r, "query parameter token is not the channel's callback_token");
		return false;
	}
	if (p->verify == NULL) {
		if (c->callback_token.len > 0)
			return true;
		say(r, "this provider signs nothing: the channel needs a callback_token, and its address "
		       "?token=");
		return false;
	}
	ok = hm_eval(ev, p->verify);
	if (ev->rc != 0) {
		say(r, ev->err->text[0] ? ev->err->text : "the signature cannot be checked");
		return false;
	}
	if (hm_val_true(&ok))
		return true;
	say(r, "the signature does not fit");
	return false;
}

static void forged(struct hm_cb_result *r)
{
	r->verdict = HM_CB_FORGED;
	r->status = 403;
}

static void unreadable(struct hm_cb_result *r, const char *why)
{
	r->verdict = HM_CB_UNREADABLE;
	r->status = 400;
	say(r, why);
}

static void acknowledge(struct hm_eval *ev, const struct hm_cb_push *p, struct hm_cb_result *r)
{
	ev->rc = 0;
	r->status = p->ack_status;
	r->type = put_text(ev, p->ack_type);
	r->body = put_text(ev, p->ack_body);
	if (ev->rc != 0) /* taken all the same */
		r->body = HM_STR("");
}

static void begin(struct hm_eval *ev, const struct hm_channel *c, struct hm_arena *a, uint64_t wall_ms,
		  struct hm_cb_names *cb, struct hm_err *e, struct hm_cb_result *r)
{
	memset(r, 0, sizeof(*r));
	memset(cb, 0, sizeof(*cb));
	hm_err_clear(e);
	hm_eval_channel(ev, c, a, wall_ms, e);
	ev->settings = c->settings;
	ev->cb = cb;
	cb->channel = c->info.name;
}

static struct hm_str plain_query(struct hm_str q)
{
	return q.len > 0 && q.p[0] == '?' ? hm_str_n(q.p + 1, q.len - 1) : q;
}

void hm_channel_callback(const struct hm_channel *c, const struct hm_cb_call *call, struct hm_arena *a,
			 struct hm_cb_result *r)
{
	const struct hm_cb_push *p = &c->ad->receipts.push;
	struct hm_str type = header(call, "content-type");
	struct hm_val outer, clear;
	struct hm_cb_names cb;
	struct hm_eval ev;
	struct hm_err e;
	bool get;

	HM_CHECK(c, HM_CHANNEL_MAGIC);
	begin(&ev, c, a, call->wall_ms, &cb, &e, r);
	r->verdict = HM_CB_NOT_HERE;
	r->status = 404;
	if (!p->present)
		return;
	r->verdict = HM_CB_METHOD;
	r->status = 405;
	if (!method_known(p, call->method))
		return;
	get = hm_str_is(call->method, "GET") || hm_str_is(call->method, "HEAD");
	cb.method = call->method;
	cb.path = call->path;
	cb.url = call->url;
	cb.headers = call->headers;
	cb.n_headers = call->n_headers;
	cb.body = call->body;
	cb.certificate = call->certificate;
	cb.query = hm_cb_form(plain_query(call->query), a);
	if (p->format == HM_CB_FORM || p->envelope == HM_CB_FORM ||
	    hm_str_find(type, HM_STR("x-www-form-urlencoded")) >= 0)
		cb.form = hm_cb_form(call->body, a);
	else if (p->format == HM_CB_MULTIPART)
		cb.form = parsed(HM_CB_MULTIPART, HM_STR(""), call->body, type, a);
	outer = get ? cb.query : parsed(p->envelope, p->field, call->body, type, a);
	cb.event = outer;
	if (p->decrypt != NULL) {
		cb.clear = hm_eval(&ev, p->decrypt);
		if (ev.rc != 0 || cb.clear.t != HM_V_STR)
			cb.clear = HM_NONE;
		ev.rc = 0;
		hm_err_clear(&e);
		if (cb.clear.t == HM_V_STR)
			cb.event = parsed(p->format, HM_STR(""), cb.clear.s, type, a);
	}
	if (challenged(&ev, p, r))
		return;
	hm_err_clear(&e);
	clear = cb.event;
	cb.event = outer;
	if (p->certificate.url != NULL && call->certificate.len == 0 && fetch_of(&ev, &p->certificate, r)) {
		r->verdict = HM_CB_CERTIFICATE;
		return;
	}
	ev.rc = 0;
	hm_err_clear(&e);
	if (!genuine(c, &ev, p, r)) {
		forged(r);
		return;
	}
	if (p->decrypt != NULL && cb.clear.t != HM_V_STR) {
		say(r, "the body cannot be decrypted");
		forged(r);
		return;
	}
	cb.event = clear;
	if (p->confirm.when != NULL) {
		struct hm_val yes = hm_eval(&ev, p->confirm.when);

		if (ev.rc == 0 && hm_val_true(&yes)) {
			if (!fetch_of(&ev, &p->confirm, r)) {
				unreadable(r, "the address that confirms is not one of the provider's");
				return;
			}
			r->verdict = HM_CB_CONFIRM;
			acknowledge(&ev, p, r);
			return;
		}
		ev.rc = 0;
	}
	if (cb.event.t == HM_V_NONE) {
		unreadable(r, "the body is not what the adapter describes");
		return;
	}
	struct reading g = {.c = c, .view = &p->view, .ev = &ev, .r = r};

	if (!read_events(&g)) {
		r->n = 0;
		unreadable(r, "more events than are taken at once");
		return;
	}
	r->verdict = HM_CB_TAKEN;
	acknowledge(&ev, p, r);
}

/* -- pull, session ------------------------------------------------------------------- */

static struct hm_val id_list(const struct hm_str *ids, size_t n, struct hm_arena *a)
{
	struct hm_val *v = hm_arena_alloc(a, n * sizeof(*v) + 1);

	if (v == NULL)
		return HM_NONE;
	for (size_t i = 0; i < n; i++)
		v[i] = hm_val_str(ids[i]);
	return (struct hm_val){.t = HM_V_LIST, .n = (uint32_t)n, .list = v};
}

struct hm_str hm_channel_pull_group(const struct hm_channel *c, struct hm_str id, uint64_t wall_ms,
				    struct hm_arena *a)
{
	const struct hm_expr *group = c->ad->receipts.pull.group;
	struct hm_cb_result unused;
	struct hm_cb_names cb;
	struct hm_eval ev;
	struct hm_err e;
	struct hm_val v;

	HM_CHECK(c, HM_CHANNEL_MAGIC);
	if (group == NULL)
		return HM_STR("");
	begin(&ev, c, a, wall_ms, &cb, &e, &unused);
	cb.ids = id_list(&id, 1, a);
	v = hm_eval(&ev, group);
	return ev.rc ? HM_STR("") : hm_val_text(&v, a);
}

int hm_channel_pull_build(const struct hm_channel *c, const struct hm_str *ids, size_t n,
			  struct hm_str credential, uint64_t wall_ms, struct hm_arena *a,
			  struct hm_call *call, struct hm_origin_opts *origin_r, struct hm_err *e)
{
	struct hm_str base = c->base_path;
	struct hm_cb_result unused;
	struct hm_cb_names cb;
	struct hm_eval ev;
	int rc;

	HM_CHECK(c, HM_CHANNEL_MAGIC);
	hm_assert(c->ad->receipts.pull.present && n > 0);
	begin(&ev, c, a, wall_ms, &cb, e, &unused);
	cb.ids = id_list(ids, n, a);
	ev.credential = credential;
	*origin_r = c->info.origin;
	rc = c->pull_request.url ? hm_request_elsewhere(c, &ev, &c->pull_request, "asking for receipts",
							&base, origin_r, e)
				 : 0;
	if (rc == 0)
		rc = hm_request_build(&ev, &c->pull_request, base, call);
	return rc ? rc : ev.rc;
}

void hm_channel_pull_events(const struct hm_channel *c, const struct hm_str *ids, size_t n,
			    const struct hm_call *call, uint64_t wall_ms, struct hm_arena *a,
			    struct hm_verdict *v, struct hm_cb_result *r)
{
	const struct hm_cb_pull *p = &c->ad->receipts.pull;
	struct hm_cb_names cb;
	struct hm_eval ev;
	struct hm_err e;

	HM_CHECK(c, HM_CHANNEL_MAGIC);
	begin(&ev, c, a, wall_ms, &cb, &e, r);
	memset(v, 0, sizeof(*v));
	r->verdict = HM_CB_UNREADABLE;
	v->outcome = HM_OUT_UNKNOWN;
	v->reason = HM_STR("no answer");
	if (call->fate != HM_FATE_ANSWERED)
		return;
	ev.call = call;
	ev.cb = NULL; /* `header` is of the answer here */
	hm_answer_judge(&p->answer, &ev, v);
	if (v->outcome != HM_OUT_OK)
		return;
	ev.cb = &cb;
	ev.rc = 0;
	cb.ids = id_list(ids, n, a);
	cb.body = call->answer;
	cb.event = p->answer.format == HM_ANSWER_XML ? hm_cb_xml(call->answer, a)
		   : p->answer.format == HM_ANSWER_JSON
			   ? parsed(HM_CB_JSON, HM_STR(""), call->answer, HM_STR(""), a)
			   : hm_val_str(call->answer);
	struct reading g = {.c = c, .view = &p->view, .ev = &ev, .r = r};

	r->verdict = read_events(&g) ? HM_CB_TAKEN : HM_CB_UNREADABLE;
	/* An answer about one message seldom repeats which. */
	for (size_t i = 0; n == 1 && i < r->n; i++)
		if (!r->events[i].has_id && r->events[i].provider_id.len == 0)
			r->events[i].provider_id = ids[0];
}

void hm_channel_session_events(const struct hm_channel *c, const struct hm_cb_field *v, size_t n,
			       uint64_t wall_ms, struct hm_arena *a, struct hm_cb_result *r)
{
	struct hm_pair *pairs = hm_arena_alloc(a, n * sizeof(*pairs) + 1);
	struct hm_cb_names cb;
	struct hm_eval ev;
	struct hm_err e;

	HM_CHECK(c, HM_CHANNEL_MAGIC);
	begin(&ev, c, a, wall_ms, &cb, &e, r);
	r->verdict = HM_CB_NOT_HERE;
	if (!c->ad->receipts.session)
		return;
	r->verdict = HM_CB_UNREADABLE;
	if (pairs == NULL)
		return;
	for (size_t i = 0; i < n; i++)
		pairs[i] = (struct hm_pair){.name = v[i].name, .v = hm_val_str(v[i].value)};
	cb.event = (struct hm_val){.t = HM_V_MAP, .n = (uint32_t)n, .map = pairs};
	struct reading g = {.c = c, .view = &c->ad->receipts.view, .ev = &ev, .r = r};

	r->verdict = read_events(&g) ? HM_CB_TAKEN : HM_CB_UNREADABLE;
}
