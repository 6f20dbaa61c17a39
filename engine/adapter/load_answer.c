/*
 * load_answer.c - the sections answer, outcomes, partial, retry_after
 *
 * The same reader serves the answers of token requests. Rows are tried in order; the
 * first that matches decides, so special cases stand above general ones.
 */
#include <stdio.h>

#include "adapter/model.h"

static const char *const outcome_names[] = {
#define HM_OUTCOME(name, text, retryable, health, sentence) text,
#include "tbl/outcomes.h"
#undef HM_OUTCOME
	NULL};

static bool number_at(struct hm_str s, int64_t *v_r)
{
	return hm_str_i64(s, v_r);
}

/* "40014" "Foo*" "42027..42051" "*" */
static void load_pat(struct hm_loader *l, const struct hm_yaml *y, bool contains, struct hm_pat *p)
{
	ptrdiff_t dots;

	if (y->type != HM_YAML_SCALAR) {
		hm_load_fail(l, y, "outcomes: expected a text or number");
		return;
	}
	p->text = y->text;
	if (contains) {
		p->kind = HM_PAT_CONTAINS;
		return;
	}
	p->kind = HM_PAT_EXACT;
	if (hm_str_is(y->text, "*")) {
		p->kind = HM_PAT_ANY;
		return;
	}
	if (hm_str_ends(y->text, HM_STR("*"))) {
		p->kind = HM_PAT_PREFIX;
		p->text.len--;
		return;
	}
	dots = hm_str_find(y->text, HM_STR(".."));
	if (dots > 0 && number_at(hm_str_n(y->text.p, (size_t)dots), &p->lo) &&
	    number_at(hm_str_n(y->text.p + dots + 2, y->text.len - (size_t)dots - 2), &p->hi)) {
		p->kind = HM_PAT_RANGE;
		if (p->lo > p->hi)
			hm_load_fail(l, y, "outcomes: the range is empty");
	}
}

struct hm_pats hm_load_pats(struct hm_loader *l, const struct hm_yaml *row, const char *key, bool contains)
{
	const struct hm_yaml *y = hm_yaml_get(row, key), *c;
	struct hm_pats p = {0};

	if (y == NULL)
		return p;
	p.v = hm_load_alloc(l, (y->type == HM_YAML_SEQ ? y->len : 1) * sizeof(*p.v));
	if (p.v == NULL)
		return p;
	if (y->type != HM_YAML_SEQ) {
		load_pat(l, y, contains, &p.v[p.n++]);
		return p;
	}
	for (c = y->first; c; c = c->next)
		load_pat(l, c, contains, &p.v[p.n++]);
	return p;
}

/* Statuses: 410, "5xx", 500..599. */
static void fix_status(struct hm_loader *l, const struct hm_yaml *row, struct hm_pats *p)
{
	for (uint32_t i = 0; i < p->n; i++) {
		struct hm_pat *s = &p->v[i];

		if (s->kind == HM_PAT_RANGE)
			continue;
		if (s->text.len == 3 && s->text.p[0] >= '1' && s->text.p[0] <= '5' && s->text.p[1] == 'x' &&
		    s->text.p[2] == 'x') {
			s->lo = (s->text.p[0] - '0') * 100;
			s->hi = s->lo + 99;
		} else if (number_at(s->text, &s->lo) && s->lo >= 100 && s->lo <= 599) {
			s->hi = s->lo;
		} else {
			hm_load_fail(l, row, "outcomes: \"%.*s\" is no status; expected 410, 5xx or 500..504",
				     HM_STRF(s->text));
		}
		s->kind = HM_PAT_RANGE;
	}
}

static void load_wait(struct hm_loader *l, const struct hm_yaml *row, struct hm_row *r)
{
	const struct hm_yaml *y = hm_yaml_get(row, "wait");

	if (y == NULL)
		return;
	if (y->type == HM_YAML_SCALAR && hm_str_is(y->text, "next_day")) {
		r->wait = HM_WAIT_NEXT_DAY;
	} else if (y->type == HM_YAML_SCALAR && hm_str_is(y->text, "next_month")) {
		r->wait = HM_WAIT_NEXT_MONTH;
	} else {
		r->wait = HM_WAIT_MS;
		r->wait_ms = hm_load_duration(l, row, "wait", 0);
	}
}

static void load_row(struct hm_loader *l, const struct hm_yaml *y, const struct hm_parse *p, struct hm_row *r)
{
	static const char *const keys[] = {"status",  "code", "sub",   "message",	"header",   "when",
					   "outcome", "wait", "scope", "refresh",	"operator", "suspect",
					   "partial", "say",  "split", "prepare_again", NULL};
	static const char *const scopes[] = {"recipient", "credential", "channel", NULL};
	const struct hm_yaml *c;
	int i;

	if (!hm_load_known(l, y, "outcomes", keys))
		return;
	r->line = y->line;
	r->status = hm_load_pats(l, y, "status", false);
	fix_status(l, y, &r->status);
	r->code = hm_load_pats(l, y, "code", false);
	r->sub = hm_load_pats(l, y, "sub", false);
	r->message = hm_load_pats(l, y, "message", true);
	r->when = hm_load_expr(l, y, "when", p);
	if ((c = hm_yaml_get(y, "header"))) {
		if (c->type != HM_YAML_MAP || c->len != 1 || c->first->type != HM_YAML_SCALAR) {
			hm_load_fail(l, c, "outcomes: header expects {name: value}");
		} else {
			r->header = c->first->key;
			r->header_value = c->first->text;
		}
	}
	c = hm_yaml_get(y, "outcome");
	i = c ? hm_load_choice(l, c, "outcome", outcome_names) : -1;
	if (c == NULL)
		hm_load_fail(l, y, "outcomes: a row without outcome");
	r->outcome = i < 0 ? HM_OUT_UNKNOWN : (enum hm_outcome)i;
	if ((c = hm_yaml_get(y, "scope"))) {
		i = hm_load_choice(l, c, "scope", scopes);
		r->scope = (enum hm_scope)(i < 0 ? 0 : i);
		r->has_scope = true;
	}
	load_wait(l, y, r);
	r->refresh = hm_load_bool(l, y, "refresh", false);
	r->operator_needed = hm_load_bool(l, y, "operator", false);
	r->suspect = hm_load_bool(l, y, "suspect", false);
	r->partial = hm_load_bool(l, y, "partial", false);
	r->split = hm_load_bool(l, y, "split", false);
	r->prepare_again = hm_load_bool(l, y, "prepare_again", false);
	if (r->split && r->outcome == HM_OUT_OK)
		hm_load_fail(l, y, "outcomes: split is for calls that failed");
	r->say = hm_load_str(l, y, "say", "");
	if (r->outcome == HM_OUT_OK && r->status.n == 0 && r->code.n == 0 && r->header.len == 0 &&
	    r->when == NULL)
		hm_load_fail(l, y,
			     "outcomes: a row that makes anything ok needs status, code, header or when");
}

static struct hm_rows load_rows(struct hm_loader *l, const struct hm_yaml *y, const struct hm_parse *p)
{
	struct hm_rows r = {0};

	if (y == NULL)
		return r;
	if (y->type != HM_YAML_SEQ) {
		hm_load_fail(l, y,
			     "outcomes: expected a list of rows such as - {code: 40014, outcome: auth}");
		return r;
	}
	r.v = hm_load_alloc(l, y->len * sizeof(*r.v));
	for (const struct hm_yaml *c = y->first; c && r.v; c = c->next)
		load_row(l, c, p, &r.v[r.n++]);
	return r;
}

static const char *const time_kinds[] = {"seconds", "ms", "epoch", "epoch_ms", "http", NULL};

static void load_retry(struct hm_loader *l, const struct hm_yaml *y, const struct hm_parse *p,
		       struct hm_answer *a)
{
	static const char *const keys[] = {"from", "as", "default", NULL};
	const struct hm_yaml *c;

	if (y == NULL)
		return;
	if (y->type != HM_YAML_SEQ) {
		hm_load_fail(l, y,
			     "retry_after: expected a list such as [{from: header.retry-after, as: http}, "
			     "{default: 60s}]");
		return;
	}
	a->retry = hm_load_alloc(l, y->len * sizeof(*a->retry));
	for (c = y->first; c && a->retry; c = c->next) {
		struct hm_retry_source *s = &a->retry[a->n_retry];
		const struct hm_yaml *as;
		int i;

		if (!hm_load_known(l, c, "retry_after", keys))
			continue;
		if (hm_yaml_get(c, "default")) {
			a->retry_default_ms = hm_load_duration(l, c, "default", 0);
			continue;
		}
		s->from = hm_load_expr(l, c, "from", p);
		as = hm_yaml_get(c, "as");
		i = as ? hm_load_choice(l, as, "as", time_kinds) : HM_TIME_HTTP;
		s->as = (enum hm_time_kind)(i < 0 ? 0 : i);
		if (s->from)
			a->n_retry++;
		else
			hm_load_fail(l, c, "retry_after: from is missing");
	}
}

static void load_partial_rule(struct hm_loader *l, const struct hm_yaml *y, const struct hm_parse *p,
			      struct hm_partial_rule *r)
{
	static const char *const keys[] = {"from",     "shape",	      "by",	     "id",     "code",
					   "message",  "when",	      "ignore_case", "reason", "outcome",
					   "outcomes", "provider_id", "match",	     NULL};
	static const char *const shapes[] = {"joined",	"list",	 "objects", "order",
					     "by_code", "by_id", "rest",    NULL};
	static const char *const matches[] = {"to", "user", "id", "uuid", "phone", NULL};
	struct hm_parse el = *p;
	const struct hm_yaml *c;
	struct hm_str by;
	int i;

	if (!hm_load_known(l, y, "partial", keys))
		return;
	el.allowed |= HM_AT_L;
	r->from = hm_load_expr(l, y, "from", p);
	if (r->from == NULL)
		hm_load_fail(l, y, "partial: from is missing");
	c = hm_yaml_get(y, "shape");
	i = c ? hm_load_choice(l, c, "shape", shapes) : HM_PARTIAL_LIST;
	r->shape = (enum hm_partial_shape)(i < 0 ? 0 : i);
	by = hm_load_str(l, y, "by", ",");
	if (by.len != 1)
		hm_load_fail(l, y, "partial: by expects one character");
	r->by = by.len ? by.p[0] : ',';
	r->id = hm_load_expr(l, y, "id", &el);
	r->code = hm_load_expr(l, y, "code", &el);
	r->message = hm_load_expr(l, y, "message", &el);
	r->when = hm_load_expr(l, y, "when", &el);
	r->provider_id = hm_load_expr(l, y, "provider_id", &el);
	c = hm_yaml_get(y, "match");
	i = c ? hm_load_choice(l, c, "match", matches) : 0;
	r->match = (enum hm_match_by)(i < 0 ? 0 : i);
	r->ignore_case = hm_load_bool(l, y, "ignore_case", false);
	r->reason = hm_load_str(l, y, "reason", "");
	if ((c = hm_yaml_get(y, "outcome"))) {
		i = hm_load_choice(l, c, "outcome", outcome_names);
		r->outcome = i < 0 ? HM_OUT_UNKNOWN : (enum hm_outcome)i;
		r->has_outcome = true;
	}
	r->rows = load_rows(l, hm_yaml_get(y, "outcomes"), &el);
	if (r->shape == HM_PARTIAL_OBJECTS && r->id == NULL)
		hm_load_fail(l, y, "partial: the shape objects needs id (id: it.phone)");
	if ((r->shape == HM_PARTIAL_JOINED || r->shape == HM_PARTIAL_LIST) && !r->has_outcome)
		hm_load_fail(l, y, "partial: this shape needs outcome");
	if (r->provider_id &&
	    (r->shape == HM_PARTIAL_JOINED || r->shape == HM_PARTIAL_LIST || r->shape == HM_PARTIAL_BY_CODE))
		hm_load_fail(l, y, "partial: provider_id belongs to objects, order, by_id and rest");
}

void hm_load_answer(struct hm_loader *l, const struct hm_yaml *root, struct hm_names *names,
		    const char *where, struct hm_answer *a)
{
	static const char *const keys[] = {"format",	  "success",	"code",	       "sub",	   "message",
					   "provider_id", "gone_since", "new_address", "timezone", NULL};
	static const char *const formats[] = {"json", "xml", "text", "none", NULL};
	struct hm_names answer_names = *names; /* lets belong to requests */
	struct hm_parse p = {
		.a = &l->ad->arena, .names = &answer_names, .allowed = HM_AT_A, .where = "answer"};
	const struct hm_yaml *y = hm_yaml_get(root, "answer"), *c;
	int i;

	answer_names.n_lets = 0;
	if (y == NULL) {
		hm_load_fail(l, root, "%s: the section answer is missing (answer: {success: status == 200})",
			     where);
		return;
	}
	if (!hm_load_known(l, y, "answer", keys))
		return;
	c = hm_yaml_get(y, "format");
	i = c ? hm_load_choice(l, c, "answer.format", formats) : HM_ANSWER_JSON;
	a->format = (enum hm_answer_format)(i < 0 ? 0 : i);
	a->success = hm_load_expr(l, y, "success", &p);
	if (a->success == NULL)
		hm_load_fail(
			l, y,
			"answer.success is missing: which answers mean that the provider took the message");
	a->code = hm_load_expr(l, y, "code", &p);
	a->sub = hm_load_expr(l, y, "sub", &p);
	a->message = hm_load_expr(l, y, "message", &p);
	a->provider_id = hm_load_expr(l, y, "provider_id", &p);
	a->new_address = hm_load_expr(l, y, "new_address", &p);
	if ((c = hm_yaml_get(y, "gone_since"))) {
		static const char *const gkeys[] = {"from", "as", NULL};

		if (hm_load_known(l, c, "answer.gone_since", gkeys)) {
			a->gone_since = hm_load_expr(l, c, "from", &p);
			i = hm_yaml_get(c, "as") ? hm_load_choice(l, hm_yaml_get(c, "as"), "as", time_kinds)
						 : HM_TIME_EPOCH_MS;
			a->gone_as = (enum hm_time_kind)(i < 0 ? 0 : i);
		}
	}
	if (!hm_parse_offset(hm_load_str(l, y, "timezone", "+08:00"), &a->tz_offset))
		hm_load_fail(l, y, "answer.timezone: expected an offset such as \"+08:00\"");
	p.where = "outcomes";
	a->rows = load_rows(l, hm_yaml_get(root, "outcomes"), &p);
	p.where = "retry_after";
	load_retry(l, hm_yaml_get(root, "retry_after"), &p, a);
	p.where = "partial";
	if ((c = hm_yaml_get(root, "partial"))) {
		if (c->type != HM_YAML_SEQ) {
			hm_load_fail(l, c, "partial: expected a list of rules");
			return;
		}
		a->partial = hm_load_alloc(l, c->len * sizeof(*a->partial));
		for (c = c->first; c && a->partial; c = c->next)
			load_partial_rule(l, c, &p, &a->partial[a->n_partial++]);
	}
}
