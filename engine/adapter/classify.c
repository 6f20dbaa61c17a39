/*
 * classify.c - an answer becomes an outcome
 *
 * Order: did anything come back at all; does the success rule hold; the first row
 * that matches; what the HTTP status means by itself. An answer that nobody described
 * ends as a failure by its status or as `unknown`, never as ok. A body is looked into
 * only when it is complete and well formed (jsonscan.h), so half an answer cannot
 * pass for a whole one.
 */
#include <stdio.h>
#include <stdlib.h>

#include "adapter/jsonscan.h"
#include "adapter/model.h"
#include "adapter/xmlscan.h"
#include "base/clock.h"

#define MAX_DETAIL 200
#define MAX_REASON 100
#define DAY_MS	   86400000u
#define MAX_WAIT_MS \
	(31ull * DAY_MS) /* no provider means more; a garbled number must not park a message for ever */

static struct hm_str short_text(struct hm_str s, size_t max, struct hm_arena *a)
{
	struct hm_str cut = hm_str_n(s.p, hm_utf8_cut(s, max));

	if (cut.len == 0)
		return HM_STR("");
	if (!hm_utf8_valid(cut)) { /* gateways answer in any encoding; logs and the ledger are UTF-8 */
		struct hm_buf b;

		hm_buf_init_arena(&b, a, max * 6 + 16);
		hm_buf_json(&b, cut);
		return hm_buf_str(&b);
	}
	return hm_arena_str(a, cut);
}

static struct hm_str text_of(struct hm_eval *ev, const struct hm_expr *e)
{
	struct hm_val v;

	if (e == NULL)
		return HM_STR("");
	v = hm_eval(ev, e);
	return hm_val_text(&v, ev->a);
}

static bool pat_matches(const struct hm_pat *p, struct hm_str s)
{
	int64_t i;

	switch (p->kind) {
	case HM_PAT_EXACT: return hm_str_eq(s, p->text);
	case HM_PAT_PREFIX: return hm_str_starts(s, p->text);
	case HM_PAT_RANGE: return hm_str_i64(s, &i) && i >= p->lo && i <= p->hi;
	case HM_PAT_ANY: return s.len > 0;
	case HM_PAT_CONTAINS: return hm_contains(s, p->text);
	}
	return false;
}

bool hm_pats_match(const struct hm_pats *p, struct hm_str s)
{
	if (p->n == 0)
		return true;
	for (uint32_t i = 0; i < p->n; i++)
		if (pat_matches(&p->v[i], s))
			return true;
	return false;
}

struct judged { /* what rows compare with, looked up once */
	int status;
	struct hm_str code, sub, message;
};

static bool row_matches(struct hm_eval *ev, const struct hm_row *r, const struct judged *j)
{
	if (r->status.n) {
		bool any = false;

		for (uint32_t i = 0; i < r->status.n; i++)
			any = any || (j->status >= r->status.v[i].lo && j->status <= r->status.v[i].hi);
		if (!any)
			return false;
	}
	if (!hm_pats_match(&r->code, j->code) || !hm_pats_match(&r->sub, j->sub) ||
	    !hm_pats_match(&r->message, j->message))
		return false;
	if (r->header.len) {
		struct hm_str v = HM_STR_NULL;

		for (size_t i = 0; ev->call && i < ev->call->n_answer_headers; i++)
			if (hm_str_ieq(ev->call->answer_headers[i].name, r->header))
				v = ev->call->answer_headers[i].value;
		if (v.p == NULL || !(hm_str_is(r->header_value, "*") || hm_str_ieq(v, r->header_value)))
			return false;
	}
	if (r->when) {
		struct hm_val v = hm_eval(ev, r->when);

		return hm_val_true(&v);
	}
	return true;
}

static const struct hm_row *find_row(struct hm_eval *ev, const struct hm_rows *rows, const struct judged *j)
{
	for (uint32_t i = 0; i < rows->n; i++)
		if (row_matches(ev, &rows->v[i], j))
			return &rows->v[i];
	return NULL;
}

/* -- waiting ------------------------------------------------------------------------ */

/* "1.25" as milliseconds; Discord and Zulip answer with fractions. */
static bool decimal_ms(struct hm_str s, uint64_t unit_ms, uint64_t *ms_r)
{
	ptrdiff_t dot = hm_str_chr(s, '.');
	struct hm_str whole = dot < 0 ? s : hm_str_n(s.p, (size_t)dot);
	uint64_t v, frac = 0, scale = 1;

	if (!hm_str_u64(whole, &v) || v > 10000000000000ull)
		return false;
	for (size_t i = (size_t)dot + 1; dot >= 0 && i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		if (scale < 1000000) {
			frac = frac * 10 + (uint64_t)(s.p[i] - '0');
			scale *= 10;
		}
	}
	*ms_r = v * unit_ms + (frac * unit_ms + scale - 1) / scale;
	return true;
}

bool hm_time_of(const struct hm_val *v, enum hm_time_kind as, uint64_t wall_ms, uint64_t *delay_ms_r)
{
	char digits[24];
	struct hm_str s;
	uint64_t ms;

	if (v->t == HM_V_INT) {
		if (v->i < 0)
			return false;
		s = hm_str_n(digits, (size_t)snprintf(digits, sizeof(digits), "%lld", (long long)v->i));
	} else if (v->t == HM_V_STR) {
		s = hm_str_trim(v->s);
	} else {
		return false;
	}
	switch (as) {
	case HM_TIME_SECONDS:
		if (!decimal_ms(s, 1000, delay_ms_r))
			return false;
		return true;
	case HM_TIME_MS: return decimal_ms(s, 1, delay_ms_r);
	case HM_TIME_EPOCH:
		if (!decimal_ms(s, 1000, &ms))
			return false;
		break;
	case HM_TIME_EPOCH_MS:
		if (!decimal_ms(s, 1, &ms))
			return false;
		break;
	case HM_TIME_HTTP: /* Retry-After: seconds or a date (RFC 9110 section 10.2.3) */
		if (decimal_ms(s, 1000, delay_ms_r))
			return true;
		if (!hm_clock_parse_http_date(s, &ms))
			return false;
		break;
	default: return false;
	}
	*delay_ms_r = ms > wall_ms ? ms - wall_ms : 0;
	return true;
}

static uint64_t hinted(const struct hm_answer *an, struct hm_eval *ev)
{
	uint64_t ms;

	for (uint32_t i = 0; i < an->n_retry; i++) {
		struct hm_val v = hm_eval(ev, an->retry[i].from);

		if (hm_time_of(&v, an->retry[i].as, ev->wall_ms, &ms))
			return hm_min(ms, MAX_WAIT_MS);
	}
	if (an->n_retry == 0 &&
	    ev->call) { /* the standard header counts even when the file is silent about it */
		for (size_t i = 0; i < ev->call->n_answer_headers; i++) {
			struct hm_val v = hm_val_str(ev->call->answer_headers[i].value);

			if (hm_str_ieq(ev->call->answer_headers[i].name, HM_STR("retry-after")) &&
			    hm_time_of(&v, HM_TIME_HTTP, ev->wall_ms, &ms))
				return hm_min(ms, MAX_WAIT_MS);
		}
	}
	return 0;
}

/* Milliseconds until midnight (of the month's first day) at the provider. */
static uint64_t until(enum hm_wait_kind kind, uint64_t wall_ms, int offset_s)
{
	int64_t local = (int64_t)wall_ms + (int64_t)offset_s * 1000;
	uint64_t in_day = (uint64_t)(local % (int64_t)DAY_MS), wait = DAY_MS - in_day;
	time_t t = (time_t)(local / 1000);
	struct tm tm;

	if (kind == HM_WAIT_NEXT_MONTH && gmtime_r(&t, &tm) != NULL) {
		static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
		int year = tm.tm_year + 1900, n = days[tm.tm_mon];

		if (tm.tm_mon == 1 && (year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)))
			n++;
		wait += (uint64_t)(n - tm.tm_mday) * DAY_MS;
	}
	return wait;
}

static uint64_t wait_of(const struct hm_answer *an, struct hm_eval *ev, const struct hm_row *row,
			enum hm_outcome o)
{
	uint64_t ms;

	if (row && (row->wait == HM_WAIT_NEXT_DAY || row->wait == HM_WAIT_NEXT_MONTH))
		return until(row->wait, ev->wall_ms, an->tz_offset);
	if (o != HM_OUT_RATE_LIMITED && o != HM_OUT_RETRY && o != HM_OUT_PROVIDER_DOWN && o != HM_OUT_AUTH)
		return 0;
	ms = hinted(an, ev);
	if (ms)
		return ms;
	if (row && row->wait == HM_WAIT_MS)
		return row->wait_ms;
	return o == HM_OUT_RATE_LIMITED ? an->retry_default_ms : 0;
}

/* -- partial results ------------------------------------------------------------------ */

#define NOBODY UINT32_MAX

struct partials {
	struct hm_eval *ev;
	const struct hm_answer *an;
	const struct hm_partial_rule *rule;
	struct hm_verdict *v;
	uint32_t *at; /* by recipient: place in v->partial, or NOBODY */
	/* what an answer names recipients by, hashed: one answer names a thousand of them */
	struct hm_str *name;
	uint32_t *head, *next; /* chains of recipients, in their order */
	uint32_t mask;
	enum hm_match_by named_by;
	bool named, ignore_case;
	uint32_t rest; /* shape rest: the next that may be unnamed */
};

static void add_partial(struct partials *ps, size_t index, enum hm_outcome o, struct hm_str reason,
			struct hm_str provider_id)
{
	struct hm_partial *p;

	if (ps->at[index] !=
	    NOBODY) { /* the first rule that names a recipient decides; a later one may know its id */
		p = &ps->v->partial[ps->at[index]];
		if (p->provider_id.len == 0)
			p->provider_id = short_text(provider_id, MAX_DETAIL, ps->ev->a);
		return;
	}
	ps->at[index] = (uint32_t)ps->v->n_partial;
	ps->v->partial[ps->v->n_partial++] = (struct hm_partial){
		.index = (uint32_t)index,
		.outcome = o,
		.reason = short_text(reason, MAX_REASON, ps->ev->a),
		.provider_id = short_text(provider_id, MAX_DETAIL, ps->ev->a)};
}

/* A phone number without sign, zeros of dialling abroad, and the code of mainland China: +86 138..., 0086138... and 138... are
 * the same. */
static struct hm_str bare_phone(struct hm_str s)
{
	s = hm_str_trim(s);
	if (s.len && s.p[0] == '+')
		s = hm_str_n(s.p + 1, s.len - 1);
	else if (hm_str_starts(s, HM_STR("00")))
		s = hm_str_n(s.p + 2, s.len - 2);
	if (s.len == 13 && hm_str_starts(s, HM_STR("861")))
		s = hm_str_n(s.p + 2, s.len - 2);
	return s;
}

static uint64_t name_hash(struct hm_str s, bool ignore_case)
{
	uint64_t h = 14695981039346656037u;

	if (!ignore_case)
		return hm_hash64(s.p, s.len, 0);
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		h = (h ^ (c >= 'A' && c <= 'Z' ? c | 0x20u : c)) * 1099511628211u;
	}
	return h ^ h >> 32;
}

/* Made for the first rule that names recipients, and again for one that names them otherwise. */
static bool need_names(struct partials *ps)
{
	const struct hm_partial_rule *r = ps->rule;
	const struct hm_build_in *in = ps->ev->in;
	uint32_t cap = 16, n = (uint32_t)in->n_rcpts;

	if (ps->named && ps->named_by == r->match && ps->ignore_case == r->ignore_case)
		return true;
	while (cap < 2 * n)
		cap *= 2;
	if (ps->name == NULL) {
		ps->name = hm_arena_alloc(ps->ev->a, n * sizeof(*ps->name));
		ps->head = hm_arena_alloc(ps->ev->a, cap * sizeof(*ps->head));
		ps->next = hm_arena_alloc(ps->ev->a, n * sizeof(*ps->next));
	}
	if (ps->name == NULL || ps->head == NULL || ps->next == NULL) {
		ps->name = NULL;
		return hm_eval_fail(ps->ev, HM_ENOMEM, "out of memory"), false;
	}
	ps->mask = cap - 1;
	memset(ps->head, 0xff, cap * sizeof(*ps->head));
	for (uint32_t i = n; i-- > 0;) { /* backwards, so that a chain runs forwards */
		const struct hm_build_rcpt *to = &in->rcpts[i];
		uint32_t h;

		switch (r->match) {
		case HM_MATCH_TO: ps->name[i] = to->addr; break;
		case HM_MATCH_USER: ps->name[i] = to->user; break;
		case HM_MATCH_PHONE: ps->name[i] = bare_phone(to->addr); break;
		case HM_MATCH_ID:
		case HM_MATCH_UUID:
			ps->name[i] = hm_eval_rcpt_id(ps->ev->a, &to->id, r->match == HM_MATCH_UUID);
			break;
		}
		h = (uint32_t)name_hash(ps->name[i], r->ignore_case) & ps->mask;
		ps->next[i] = ps->head[h];
		ps->head[h] = i;
	}
	ps->named = true;
	ps->named_by = r->match;
	ps->ignore_case = r->ignore_case;
	return true;
}

/* All recipients of this name (an address may stand in a batch twice). */
static void add_by_id(struct partials *ps, struct hm_str id, enum hm_outcome o, struct hm_str reason,
		      struct hm_str provider_id)
{
	bool any_case = ps->rule->ignore_case;

	if (ps->rule->match == HM_MATCH_PHONE)
		id = bare_phone(id);
	if (id.len == 0 || !need_names(ps))
		return;
	for (uint32_t i = ps->head[(uint32_t)name_hash(id, any_case) & ps->mask]; i != NOBODY;
	     i = ps->next[i])
		if (any_case ? hm_str_ieq(ps->name[i], id) : hm_str_eq(ps->name[i], id))
			add_partial(ps, i, o, reason, provider_id);
}

/* Judges one element by its code. */
static enum hm_outcome element_outcome(struct partials *ps, struct hm_str code, struct hm_str message)
{
	const struct hm_partial_rule *r = ps->rule;
	const struct hm_rows *rows = r->rows.n ? &r->rows : &ps->an->rows;
	struct judged j = {.status = ps->ev->call->status, .code = code, .message = message};
	const struct hm_row *row;

	if (r->has_outcome && r->rows.n == 0)
		return r->outcome;
	/* A rule that knows ids and asks for no code tells who was taken. */
	if (r->provider_id && r->code == NULL && r->rows.n == 0)
		return HM_OUT_OK;
	row = find_row(ps->ev, rows, &j);
	if (row)
		return row->outcome;
	return r->has_outcome ? r->outcome : HM_OUT_UNKNOWN;
}

static void element(struct partials *ps, struct hm_val *el, struct hm_str key, uint32_t index)
{
	const struct hm_partial_rule *r = ps->rule;
	struct hm_eval *ev = ps->ev;
	struct hm_str code, message, reason, provider_id;
	enum hm_outcome o;
	struct hm_val v;

	ev->it = el;
	ev->key = key;
	ev->index = index;
	if (r->when) {
		v = hm_eval(ev, r->when);
		if (!hm_val_true(&v))
			return;
	}
	code = text_of(ev, r->code);
	message = text_of(ev, r->message);
	provider_id = text_of(ev, r->provider_id);
	if (r->shape == HM_PARTIAL_BY_ID && r->code == NULL && r->provider_id == NULL)
		code = hm_val_text(el, ev->a);
	o = element_outcome(ps, code, message);
	if (o == HM_OUT_OK && provider_id.len == 0)
		return; /* as the call says */
	reason = code.len ? code : r->reason;
	if (r->shape == HM_PARTIAL_OBJECTS) {
		add_by_id(ps, text_of(ev, r->id), o, reason, provider_id);
	} else if (r->shape == HM_PARTIAL_BY_ID) {
		add_by_id(ps, key, o, reason, provider_id);
	} else if (r->shape == HM_PARTIAL_REST) {
		while (ps->rest < ev->in->n_rcpts && ps->at[ps->rest] != NOBODY)
			ps->rest++;
		if (ps->rest < ev->in->n_rcpts)
			add_partial(ps, ps->rest, o, reason, provider_id);
	} else if (index < ev->in->n_rcpts) {
		add_partial(ps, index, o, reason, provider_id);
	}
}

static void each_id(struct partials *ps, const struct hm_val *ids, char by, enum hm_outcome o,
		    struct hm_str reason)
{
	struct hm_str rest, part;
	size_t n = hm_val_len(ids);

	if (ids->t == HM_V_STR || ids->t == HM_V_INT) {
		rest = hm_val_text(ids, ps->ev->a);
		while (hm_str_split(&rest, by, &part))
			add_by_id(ps, hm_str_trim(part), o, reason, HM_STR(""));
		return;
	}
	for (size_t i = 0; i < n; i++) {
		struct hm_val id = hm_val_at(ids, i, NULL, ps->ev->a);

		add_by_id(ps, hm_val_text(&id, ps->ev->a), o, reason, HM_STR(""));
	}
}

static void by_code(struct partials *ps, const struct hm_val *map)
{
	size_t n = hm_val_len(map);

	for (size_t i = 0; i < n; i++) {
		struct hm_str code;
		struct hm_val ids = hm_val_at(map, i, &code, ps->ev->a);
		enum hm_outcome o = element_outcome(ps, code, HM_STR(""));

		if (o != HM_OUT_OK)
			each_id(ps, &ids, ps->rule->by, o, code);
	}
}

/* Elements of JSON are walked once; other lists (of filters) by place. */
static void each_element(struct partials *ps, const struct hm_val *from)
{
	struct hm_eval *ev = ps->ev;
	struct hm_json_iter json;
	struct hm_str key, value;
	struct hm_val el;
	size_t n;

	if (from->t == HM_V_JSON) {
		if (!hm_json_iter(from->s, &json))
			return;
		for (uint32_t i = 0; hm_json_next(&json, &key, &value); i++) {
			el = hm_val_of_json(value, ev->a);
			element(ps, &el, key, i);
		}
		return;
	}
	n = hm_val_len(from);
	for (size_t i = 0; i < n; i++) {
		el = hm_val_at(from, i, &key, ev->a);
		element(ps, &el, key, (uint32_t)i);
	}
}

static void apply_rule(struct partials *ps)
{
	const struct hm_partial_rule *r = ps->rule;
	struct hm_eval *ev = ps->ev;
	struct hm_val from = hm_eval(ev, r->from);
	const struct hm_val *it = ev->it;
	struct hm_str key = ev->key;
	uint32_t index = ev->index;

	if (from.t == HM_V_NONE)
		return;
	switch (r->shape) {
	case HM_PARTIAL_JOINED:
	case HM_PARTIAL_LIST: each_id(ps, &from, r->by, r->outcome, r->reason); break;
	case HM_PARTIAL_BY_CODE: by_code(ps, &from); break;
	default: each_element(ps, &from);
	}
	ev->it = it;
	ev->key = key;
	ev->index = index;
}

static void partial_results(const struct hm_answer *an, struct hm_eval *ev, struct hm_verdict *v)
{
	struct partials ps = {.ev = ev, .an = an, .v = v};
	size_t n;

	if (an->n_partial == 0 || ev->in == NULL || ev->in->n_rcpts == 0)
		return;
	n = ev->in->n_rcpts;
	v->partial = hm_arena_alloc(ev->a, n * sizeof(*v->partial));
	ps.at = hm_arena_alloc(ev->a, n * sizeof(*ps.at));
	if (v->partial == NULL || ps.at == NULL) {
		v->partial = NULL;
		hm_eval_fail(ev, HM_ENOMEM, "out of memory"); /* who failed is not known: nobody is sure */
		return;
	}
	memset(ps.at, 0xff, n * sizeof(*ps.at));
	for (uint32_t i = 0; i < an->n_partial; i++) {
		ps.rule = &an->partial[i];
		apply_rule(&ps);
	}
	if (v->n_partial == 0)
		v->partial = NULL;
}

/* -- the verdict ------------------------------------------------------------------------ */

/* What a status means when nobody described the answer (providers' common ground). */
static enum hm_outcome by_status(int status)
{
	if (status >= 500)
		return HM_OUT_PROVIDER_DOWN;
	switch (status) {
	case 401:
	case 402:
	case 403:
	case 407: return HM_OUT_AUTH;
	case 408:
	case 425: return HM_OUT_RETRY;
	case 429: return HM_OUT_RATE_LIMITED;
	default: break;
	}
	if (status >= 300 && status < 500)
		return HM_OUT_BAD_REQUEST;
	/* 2xx (or nonsense) that the success rule did not recognise: perhaps delivered, perhaps not. */
	return HM_OUT_UNKNOWN;
}

static void open_answer(const struct hm_answer *an, struct hm_eval *ev)
{
	const struct hm_call *call = ev->call;

	ev->answer_ok = false;
	ev->answer_xml = an->format == HM_ANSWER_XML;
	if (call->answer_cut || call->answer.len == 0)
		return;
	if (an->format == HM_ANSWER_JSON)
		ev->answer_ok = hm_json_check(call->answer);
	else if (an->format == HM_ANSWER_XML)
		ev->answer_ok = hm_xml_check(call->answer);
	if (ev->answer_ok)
		ev->answer = call->answer;
}

static struct hm_str status_reason(int status, struct hm_arena *a)
{
	char text[8] = {'H', 'T', 'T', 'P', ' '};

	for (int i = 7, v = status; i >= 5; i--, v /= 10)
		text[i] = (char)('0' + v % 10);
	return hm_arena_str(a, hm_str_n(text, 8));
}

static void failed(const struct hm_answer *an, struct hm_eval *ev, struct hm_verdict *v)
{
	struct judged j = {.status = ev->call->status};
	const struct hm_row *row;
	uint64_t ms;

	j.code = text_of(ev, an->code);
	j.sub = text_of(ev, an->sub);
	j.message = text_of(ev, an->message);
	row = find_row(ev, &an->rows, &j);
	v->outcome = row ? row->outcome : by_status(j.status);
	v->row_line = row ? row->line : 0;
	v->reason = j.code.len		  ? short_text(j.code, MAX_REASON, ev->a)
		    : row && row->say.len ? row->say
					  : status_reason(j.status, ev->a);
	v->detail = short_text(j.message, MAX_DETAIL, ev->a);
	if (v->detail.len == 0 && !ev->answer_ok && v->outcome != HM_OUT_OK)
		v->detail = short_text(hm_str_trim(ev->call->answer), MAX_DETAIL, ev->a);
	v->retry_after_ms = wait_of(an, ev, row, v->outcome);
	/* A rate limit that does not say whom it concerns slows the channel; that is the careful reading. */
	v->scope = row && row->has_scope ? row->scope : HM_SCOPE_CHANNEL;
	v->refresh_credential = row ? row->refresh : v->outcome == HM_OUT_AUTH && j.status == 401;
	v->operator_needed = row ? row->operator_needed : v->outcome == HM_OUT_AUTH && j.status != 401;
	v->suspect = row && row->suspect;
	v->split = row && row->split;
	v->prepare_again = row && row->prepare_again;
	if (v->outcome == HM_OUT_INVALID_RECIPIENT && an->gone_since) {
		struct hm_val t = hm_eval(ev, an->gone_since);

		/* An absolute time is asked for: the delay from the epoch is the time itself. */
		if (hm_time_of(&t, an->gone_as, 0, &ms))
			v->gone_since_ms = ms;
	}
	if (row && row->partial)
		partial_results(an, ev, v);
}

/* The status says yes, perhaps, and what would tell lies in a body of which only the beginning was read. Where the status is
 * all that the rules ask for, or says no, it decides. */
static bool cut_short(const struct hm_answer *an, const struct hm_eval *ev)
{
	const struct hm_call *call = ev->call;

	return call->answer_cut && call->status >= 200 && call->status <= 299 &&
	       (ev->cut_read || an->n_partial > 0);
}

void hm_answer_judge(const struct hm_answer *an, struct hm_eval *ev, struct hm_verdict *v)
{
	struct hm_val ok;

	open_answer(an, ev);
	ev->cut_read = false;
	ok = hm_eval(ev, an->success);
	if (cut_short(an, ev)) {
		v->outcome = HM_OUT_UNKNOWN;
		v->scope = HM_SCOPE_CHANNEL;
		v->reason = HM_STR("the answer is longer than wire.max_response_bytes");
	} else if (hm_val_true(&ok) && ev->rc == 0) {
		v->outcome = HM_OUT_OK;
		v->reason = status_reason(ev->call->status, ev->a);
		partial_results(an, ev, v);
	} else {
		failed(an, ev, v);
	}
	v->provider_id = short_text(text_of(ev, an->provider_id), MAX_DETAIL, ev->a);
	v->new_address = text_of(ev, an->new_address);
	if (ev->rc && v->outcome == HM_OUT_OK) /* memory ran out half way: better unknown than wrongly sure */
		v->outcome = HM_OUT_UNKNOWN;
}

/* No answer: what the transport knows decides. */
static void unanswered(const struct hm_call *call, struct hm_arena *a, struct hm_verdict *v)
{
	v->scope = HM_SCOPE_CHANNEL;
	v->reason = hm_str_c(hm_err_name(call->err.code));
	v->detail = short_text(hm_str_c(call->err.text), MAX_DETAIL, a);
	if (call->fate != HM_FATE_NOT_SENT) {
		v->outcome = HM_OUT_UNKNOWN;
		return;
	}
	switch (call->err.code) {
	case HM_EREFUSED:
	case HM_EAGAIN:
	case HM_ECANCELLED:
	case HM_ECLOSED:
	case HM_ENOMEM: v->outcome = HM_OUT_RETRY; break;
	case HM_EPERM:
	case HM_EINVAL: v->outcome = HM_OUT_BAD_REQUEST; break; /* SSRF guard, unusable URL */
	default: v->outcome = HM_OUT_PROVIDER_DOWN; break;
	}
}

void hm_channel_classify(const struct hm_channel *c, const struct hm_build_in *in, const struct hm_call *call,
			 struct hm_arena *a, struct hm_verdict *v)
{
	struct hm_eval ev;

	HM_CHECK(c, HM_CHANNEL_MAGIC);
	memset(v, 0, sizeof(*v));
	v->outcome = HM_OUT_UNKNOWN;
	if (call->fate != HM_FATE_ANSWERED) {
		unanswered(call, a, v);
		return;
	}
	hm_eval_channel(&ev, c, a, in ? in->wall_ms : 0, NULL);
	ev.in = in;
	ev.call = call;
	hm_answer_judge(&c->ad->answer, &ev, v);
}

void hm_channel_prepared(const struct hm_channel *c, const struct hm_build_in *in, const struct hm_call *call,
			 struct hm_arena *a, struct hm_verdict *v, struct hm_str *value_r)
{
	const struct hm_prepare *p = &c->ad->prepare;
	struct hm_eval ev;
	struct hm_val val;

	HM_CHECK(c, HM_CHANNEL_MAGIC);
	memset(v, 0, sizeof(*v));
	*value_r = HM_STR("");
	if (call->fate != HM_FATE_ANSWERED) {
		unanswered(call, a, v);
	} else {
		hm_eval_channel(&ev, c, a, in->wall_ms, NULL);
		ev.in = in;
		ev.call = call;
		hm_answer_judge(&p->answer, &ev, v);
		if (v->outcome == HM_OUT_OK) {
			val = hm_eval(&ev, p->value);
			*value_r = hm_arena_str(a, hm_val_text(&val, a));
			if (value_r->len == 0) {
				v->outcome = HM_OUT_PROVIDER_DOWN;
				v->reason = HM_STR("nothing prepared");
			}
		}
	}
	/* Nobody has been sent anything yet: there is no perhaps. */
	if (v->outcome == HM_OUT_UNKNOWN)
		v->outcome = HM_OUT_PROVIDER_DOWN;
	v->partial = NULL;
	v->n_partial = 0;
	v->split = false;
	v->provider_id = v->new_address = HM_STR("");
}
