/*
 * load_receipts.c - the section receipts
 *
 * What is said of events may stand in the section itself, or inside push or pull where these differ: the inner one counts.
 */
#include "adapter/model.h"
#include "adapter/receipts.h"

#define VIEW_KEYS                                                                                            \
	"each", "when", "id", "provider_id", "recipient", "code", "sub", "detail", "text", "time", "dedupe", \
		"events"

static const char *const kinds[] = {
#define HM_CALLBACK_EVENT(name, text, receipt, suppress, sentence) text,
#include "tbl/callback_events.h"
#undef HM_CALLBACK_EVENT
	NULL};

struct source {
	struct hm_loader *l;
	const struct hm_yaml *inner, *outer; /* inner may be NULL */
	struct hm_parse p;		     /* of a whole call */
	struct hm_parse el;		     /* of one event */
};

static const struct hm_yaml *holder(const struct source *s, const char *key)
{
	return s->inner != NULL && hm_yaml_get(s->inner, key) != NULL ? s->inner : s->outer;
}

static struct hm_expr *of_event(const struct source *s, const char *key)
{
	return hm_load_expr(s->l, holder(s, key), key, &s->el);
}

static void load_time(const struct source *s, struct hm_cb_view *v)
{
	static const char *const keys[] = {"from", "as", "zone", NULL};
	static const char *const names[] = {"epoch", "epoch_ms", "http", "rfc3339", NULL};
	const struct hm_yaml *y = hm_yaml_get(holder(s, "time"), "time"), *as;
	int i;

	if (y == NULL || !hm_load_known(s->l, y, "receipts.time", keys))
		return;
	v->time = hm_load_expr(s->l, y, "from", &s->el);
	if (v->time == NULL)
		hm_load_fail(s->l, y,
			     "receipts.time: from is missing (time: {from: it.timestamp, as: epoch})");
	as = hm_yaml_get(y, "as");
	if (as != NULL && as->type == HM_YAML_SCALAR && hm_str_starts(as->text, HM_STR("text:"))) {
		v->time_as = HM_CBT_TEXT;
		v->time_pattern = hm_str_n(as->text.p + 5, as->text.len - 5);
		if (v->time_pattern.len == 0 || v->time_pattern.len > 60)
			hm_load_fail(
				s->l, as,
				"receipts.time: expected a pattern such as text:%%Y-%%m-%%d %%H:%%M:%%S");
	} else {
		i = as ? hm_load_choice(s->l, as, "as", names) : 0;
		v->time_as = (enum hm_cb_time)(i < 0 ? 0 : i);
	}
	if (!hm_parse_offset(hm_load_str(s->l, y, "zone", "Z"), &v->time_zone))
		hm_load_fail(s->l, y, "receipts.time.zone: expected an offset such as \"+08:00\"");
}

static void load_row(const struct source *s, const struct hm_yaml *y, struct hm_cb_row *r)
{
	static const char *const keys[] = {"code", "sub", "message", "when", "event", "final", NULL};
	const struct hm_yaml *c;
	int i;

	if (!hm_load_known(s->l, y, "receipts.events", keys))
		return;
	r->line = y->line;
	r->code = hm_load_pats(s->l, y, "code", false);
	r->sub = hm_load_pats(s->l, y, "sub", false);
	r->message = hm_load_pats(s->l, y, "message", true);
	r->when = hm_load_expr(s->l, y, "when", &s->el);
	r->final = hm_load_bool(s->l, y, "final", true);
	c = hm_yaml_get(y, "event");
	i = c ? hm_load_choice(s->l, c, "event", kinds) : -1;
	if (c == NULL)
		hm_load_fail(s->l, y, "receipts.events: a row without event");
	r->event = (uint8_t)(i < 0 ? HM_CB_EV_IGNORED : i);
}

static void load_view(const struct source *s, struct hm_cb_view *v)
{
	const struct hm_yaml *rows = hm_yaml_get(holder(s, "events"), "events");

	v->each = hm_load_expr(s->l, holder(s, "each"), "each", &s->p);
	v->when = of_event(s, "when");
	v->id = of_event(s, "id");
	v->provider_id = of_event(s, "provider_id");
	v->recipient = of_event(s, "recipient");
	v->code = of_event(s, "code");
	v->sub = of_event(s, "sub");
	v->detail = of_event(s, "detail");
	v->text = of_event(s, "text");
	v->dedupe = of_event(s, "dedupe");
	load_time(s, v);
	if (rows == NULL || rows->type != HM_YAML_SEQ || rows->len == 0) {
		hm_load_fail(s->l, rows ? rows : s->outer,
			     "receipts.events: expected a list of rows such as - {code: delivered, event: "
			     "delivered}");
		return;
	}
	v->rows = hm_load_alloc(s->l, rows->len * sizeof(*v->rows));
	for (const struct hm_yaml *c = rows->first; c && v->rows; c = c->next) {
		struct hm_cb_row *r = &v->rows[v->n_rows++];

		load_row(s, c, r);
		if ((r->code.n && v->code == NULL) || (r->sub.n && v->sub == NULL) ||
		    (r->message.n && v->detail == NULL))
			hm_load_fail(s->l, c,
				     "receipts.events: this row compares with %s, and the section does not "
				     "say what that is",
				     r->code.n && v->code == NULL ? "code"
				     : r->sub.n && v->sub == NULL ? "sub"
								  : "detail");
		if (r->event == HM_CB_EV_REPLIED && v->text == NULL)
			hm_load_fail(s->l, c, "receipts.text is missing: what the person wrote");
	}
	if (v->id == NULL && v->provider_id == NULL && v->recipient == NULL)
		hm_load_fail(s->l, s->outer,
			     "receipts: id, provider_id or recipient is needed: whom an event is about");
}

/* Hosts the hub may be sent to by a call: without them it could be sent anywhere. */
static void load_fetch(struct hm_loader *l, const struct hm_yaml *push, const char *key,
		       const struct hm_parse *p, bool asks, struct hm_cb_fetch *f)
{
	static const char *const keys[] = {"when", "url", "hosts", NULL};
	const struct hm_yaml *y = hm_yaml_get(push, key), *hosts;

	if (y == NULL || !hm_load_known(l, y, "receipts.push.fetch", keys))
		return;
	f->when = hm_load_expr(l, y, "when", p);
	f->url = hm_load_expr(l, y, "url", p);
	hosts = hm_yaml_get(y, "hosts");
	if (f->url == NULL || hosts == NULL || hosts->type != HM_YAML_SEQ || hosts->len == 0 ||
	    hosts->len > HM_CB_HOSTS || (asks && f->when == NULL)) {
		hm_load_fail(l, y,
			     "receipts.push.%s: expected %surl and hosts, such as [\"sns.*.amazonaws.com\"]",
			     key, asks ? "when, " : "");
		return;
	}
	for (const struct hm_yaml *c = hosts->first; c; c = c->next) {
		if (c->type != HM_YAML_SCALAR || hm_str_chr(c->text, '.') < 0 || hm_str_is(c->text, "*") ||
		    hm_str_starts(c->text, HM_STR("*.*")))
			hm_load_fail(l, c,
				     "receipts.push.%s: expected a host, in which * stands for one label",
				     key);
		else
			f->hosts[f->n_hosts++] = c->text;
	}
}

static int load_status(struct hm_loader *l, const struct hm_yaml *y)
{
	return (int)hm_load_int(l, y, "status", 200, 499, 200);
}

static void load_challenges(struct hm_loader *l, const struct hm_yaml *push, const struct hm_parse *p,
			    struct hm_cb_push *to)
{
	static const char *const keys[] = {"when", "status", "type", "body", NULL};
	const struct hm_yaml *list = hm_yaml_get(push, "challenge");

	if (list == NULL)
		return;
	if (list->type != HM_YAML_SEQ) {
		hm_load_fail(l, list,
			     "receipts.push.challenge: expected a list such as - {when: query.echostr, body: "
			     "...}");
		return;
	}
	to->challenge = hm_load_alloc(l, list->len * sizeof(*to->challenge));
	for (const struct hm_yaml *c = list->first; c && to->challenge; c = c->next) {
		struct hm_cb_challenge *x = &to->challenge[to->n_challenge];

		if (!hm_load_known(l, c, "receipts.push.challenge", keys))
			continue;
		x->when = hm_load_expr(l, c, "when", p);
		x->status = load_status(l, c);
		x->type = hm_load_tpl(l, c, "type", p);
		x->body = hm_load_tpl(l, c, "body", p);
		if (x->when != NULL)
			to->n_challenge++;
		else
			hm_load_fail(l, c,
				     "receipts.push.challenge: when is missing: what tells a handshake");
	}
}

static void load_methods(struct hm_loader *l, const struct hm_yaml *push, struct hm_cb_push *to)
{
	static const char *const names[] = {"GET", "POST", "HEAD", NULL};
	const struct hm_yaml *list = hm_yaml_get(push, "methods");
	bool *flags[] = {&to->get, &to->post, &to->head};

	to->post = list == NULL;
	if (list != NULL && list->type != HM_YAML_SEQ) {
		hm_load_fail(l, list, "receipts.push.methods: expected a list such as [GET, POST]");
		return;
	}
	for (const struct hm_yaml *c = list ? list->first : NULL; c; c = c->next) {
		int i = hm_load_choice(l, c, "methods", names);

		if (i >= 0)
			*flags[i] = true;
	}
}

static void load_push(struct hm_loader *l, const struct hm_yaml *outer, const struct source *s)
{
	static const char *const keys[] = {"methods", "format",	   "envelope",	  "field",    "decrypt",
					   "verify",  "challenge", "acknowledge", "deadline", "certificate",
					   "confirm", VIEW_KEYS,   NULL};
	static const char *const formats[] = {"json", "form", "xml", "text", "multipart", "dsn", NULL};
	static const char *const ack_keys[] = {"status", "type", "body", NULL};
	const struct hm_yaml *y = hm_yaml_get(outer, "push"), *c;
	struct hm_cb_push *to = &l->ad->receipts.push;
	struct hm_parse p = s->p;
	struct source inner = *s;
	int i;

	to->deadline_ms = 10000;
	to->ack_status = 200;
	if (y == NULL || !hm_load_known(l, y, "receipts.push", keys))
		return;
	to->present = true;
	p.where = "receipts.push";
	load_methods(l, y, to);
	i = (c = hm_yaml_get(y, "format")) ? hm_load_choice(l, c, "format", formats) : 0;
	to->format = to->envelope = (enum hm_cb_format)(i < 0 ? 0 : i);
	if ((c = hm_yaml_get(y, "envelope")) && (i = hm_load_choice(l, c, "envelope", formats)) >= 0)
		to->envelope = (enum hm_cb_format)i;
	to->field = hm_load_str(l, y, "field", "");
	if (to->field.len > 0 && to->format != HM_CB_FORM && to->format != HM_CB_MULTIPART)
		hm_load_fail(l, y, "receipts.push.field: only a form has fields");
	to->decrypt = hm_load_expr(l, y, "decrypt", &p);
	to->verify = hm_load_expr(l, y, "verify", &p);
	load_challenges(l, y, &p, to);
	if ((c = hm_yaml_get(y, "acknowledge")) &&
	    hm_load_known(l, c, "receipts.push.acknowledge", ack_keys)) {
		to->ack_status = load_status(l, c);
		to->ack_type = hm_load_tpl(l, c, "type", &p);
		to->ack_body = hm_load_tpl(l, c, "body", &p);
	}
	to->deadline_ms = hm_load_duration(l, y, "deadline", to->deadline_ms);
	load_fetch(l, y, "certificate", &p, false, &to->certificate);
	load_fetch(l, y, "confirm", &p, true, &to->confirm);
	inner.inner = y;
	load_view(&inner, &to->view);
}

static void load_pull(struct hm_loader *l, const struct hm_yaml *outer, const struct source *s)
{
	static const char *const keys[] = {"enabled",	  "after",   "until",  "max",
					   "group",	  "request", "answer", "outcomes",
					   "retry_after", VIEW_KEYS, NULL};
	const struct hm_yaml *y = hm_yaml_get(outer, "pull");
	struct hm_scope_of in = {s->p.names, HM_AT_Q, "receipts.pull.request"};
	struct hm_cb_pull *to = &l->ad->receipts.pull;
	struct hm_parse group = s->p;
	struct source inner = *s;

	if (y == NULL || !hm_load_known(l, y, "receipts.pull", keys))
		return;
	to->present = true;
	to->after_ms = hm_load_duration(l, y, "after", 900000);
	to->until_ms = hm_load_duration(l, y, "until", 86400000);
	to->max = (uint32_t)hm_load_int(l, y, "max", 1, 10000, 1);
	if (to->after_ms < 1000 || to->until_ms < to->after_ms || to->until_ms > 31 * 86400000ull)
		hm_load_fail(l, y,
			     "receipts.pull: after must be a second or more, until not less than that and at "
			     "most 31 days");
	group.allowed = HM_AT_K;
	group.where = "receipts.pull.enabled";
	to->enabled = hm_load_expr(l, y, "enabled", &group);
	group.allowed = HM_AT_Q;
	group.where = "receipts.pull.group";
	to->group = hm_load_expr(l, y, "group", &group);
	if (hm_yaml_get(y, "request"))
		hm_load_request(l, hm_yaml_get(y, "request"), &in, true, &to->request);
	else
		hm_load_fail(l, y, "receipts.pull: request is missing");
	hm_load_answer(l, y, s->p.names, "receipts.pull", &to->answer);
	inner.inner = y;
	inner.p.allowed |= HM_AT_Q; /* what was asked about */
	inner.el.allowed |= HM_AT_Q;
	load_view(&inner, &to->view);
	if (to->view.provider_id == NULL && to->max > 1)
		hm_load_fail(l, y, "receipts.pull: provider_id is missing: which message an event is about");
}

void hm_load_receipts(struct hm_loader *l, const struct hm_yaml *root)
{
	static const char *const keys[] = {"push", "pull", "session", "keep", VIEW_KEYS, NULL};
	const struct hm_yaml *y = hm_yaml_get(root, "receipts");
	struct hm_names *names = hm_load_alloc(l, sizeof(*names));
	struct hm_cb_decl *d = &l->ad->receipts;
	struct source s = {.l = l, .outer = y};

	if (y == NULL || names == NULL || !hm_load_known(l, y, "receipts", keys))
		return;
	*names = l->ad->names; /* lets belong to requests, and what is used here is none of the message */
	names->n_lets = 0;
	s.p = (struct hm_parse){.a = &l->ad->arena, .names = names, .allowed = HM_AT_P, .where = "receipts"};
	s.el = s.p;
	s.el.allowed |= HM_AT_L;
	d->present = true;
	d->keep_ms = hm_load_duration(l, y, "keep", 72 * 3600000ull);
	if (d->keep_ms < 60000 || d->keep_ms > 31 * 86400000ull)
		hm_load_fail(l, y, "receipts.keep: expected something between 1m and 31 days");
	d->session = hm_load_bool(l, y, "session", false);
	load_push(l, y, &s);
	load_pull(l, y, &s);
	if (d->session)
		load_view(&s, &d->view);
	if (!d->push.present && !d->pull.present && !d->session)
		hm_load_fail(l, y, "receipts: push, pull or session is needed: how they come");
}
