/*
 * eval.c - expressions: values and constant folding
 *
 * A tree walk: after folding, what is left of a typical request are a dozen nodes of
 * one or two levels, and a walk over them costs less than decoding bytecode would.
 */
#include "adapter/expr.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "adapter/jsonscan.h"
#include "adapter/texts.h"
#include "adapter/xmlscan.h"
#include "base/json.h"

struct hm_val hm_eval_fail(struct hm_eval *ev, int code, const char *fmt, ...)
{
	va_list ap;

	if (ev->rc == 0) {
		ev->rc = code;
		if (ev->err != NULL) {
			char text[256];

			va_start(ap, fmt);
			vsnprintf(text, sizeof(text), fmt, ap);
			va_end(ap);
			hm_err_set(ev->err, code, "%s", text);
		}
	}
	return HM_NONE;
}

static struct hm_val seg_search(struct hm_eval *ev, const struct hm_val *v, const struct hm_seg *seg)
{
	size_t n = hm_val_len(v);

	for (size_t i = 0; i < n; i++) {
		struct hm_val el = hm_val_at(v, i, NULL, ev->a);
		struct hm_val m = hm_val_get(&el, seg->name, ev->a);
		struct hm_str text = hm_val_text(&m, ev->a);

		if (seg->kind == HM_SEG_IS ? hm_str_eq(text, seg->text) : hm_str_find(text, seg->text) >= 0)
			return el;
	}
	return HM_NONE;
}

struct hm_val hm_eval_path(struct hm_eval *ev, struct hm_val v, const struct hm_seg *seg, uint32_t n)
{
	struct hm_str piece;

	for (uint32_t i = 0; i < n && v.t != HM_V_NONE; i++, seg++) {
		switch (seg->kind) {
		case HM_SEG_NAME: v = hm_val_get(&v, seg->name, ev->a); break;
		case HM_SEG_INDEX:
			if (v.t == HM_V_JSON) {
				v = hm_json_element(v.s, seg->index, &piece) ? hm_val_of_json(piece, ev->a)
									     : HM_NONE;
			} else {
				int64_t at = seg->index < 0 ? (int64_t)hm_val_len(&v) + seg->index
							    : seg->index;

				v = at < 0 ? HM_NONE : hm_val_at(&v, (size_t)at, NULL, ev->a);
			}
			break;
		case HM_SEG_IS:
		case HM_SEG_HAS: v = seg_search(ev, &v, seg); break;
		case HM_SEG_PARSE:
			piece = hm_val_text(&v, ev->a);
			v = hm_json_check(piece) ? hm_val_of_json(piece, ev->a) : HM_NONE;
			break;
		}
	}
	return v;
}

/* A provider drops what it has seen: each further part of a message has an id of its own, the same at every attempt. */
static struct hm_ulid part_id(const struct hm_build_in *in)
{
	struct hm_ulid id = in->rcpts[0].id;
	uint8_t seed[20];

	if (in->part == 0)
		return id;
	memcpy(seed, id.b, 16);
	for (size_t i = 0; i < 4; i++)
		seed[16 + i] = (uint8_t)(in->part >> 8 * i);
	hm_ulid_derive(&id, hm_ulid_ms(&id), seed, sizeof(seed));
	return id;
}

/* Writes 26 or 36 characters. */
static struct hm_val id_text(const struct hm_ulid *id, bool uuid, char *p)
{
	static const char hex[] = "0123456789abcdef";

	if (!uuid) {
		hm_ulid_text(id, p);
		return hm_val_str(hm_str_n(p, HM_ULID_TEXT));
	}
	for (int i = 0, o = 0; i < 16; i++) {
		uint8_t b = id->b[i];

		if (i == 4 || i == 6 || i == 8 || i == 10)
			p[o++] = '-';
		p[o++] = hex[b >> 4];
		p[o++] = hex[b & 15];
	}
	return hm_val_str(hm_str_n(p, 36));
}

static struct hm_val ulid_text(struct hm_eval *ev, bool uuid, bool part)
{
	struct hm_ulid id;
	char *p;

	if (ev->in == NULL || ev->in->n_rcpts == 0)
		return HM_NONE;
	p = hm_arena_alloc(ev->a, 40);
	if (p == NULL)
		return hm_eval_fail(ev, HM_ENOMEM, "out of memory");
	id = part ? part_id(ev->in) : ev->in->rcpts[0].id;
	return id_text(&id, uuid, p);
}

struct hm_str hm_eval_rcpt_id(struct hm_arena *a, const struct hm_ulid *id, bool uuid)
{
	char *p = hm_arena_alloc(a, 40);

	return p ? id_text(id, uuid, p).s : HM_STR("");
}

static struct hm_val targets(struct hm_eval *ev)
{
	enum { MEMBERS = 5, TEXTS = 64 };
	const struct hm_build_in *in = ev->in;
	struct hm_pair *p;
	struct hm_val *v;
	char *text;

	if (in == NULL)
		return HM_NONE;
	v = hm_arena_alloc(ev->a, in->n_rcpts * sizeof(*v) + 1);
	p = hm_arena_alloc(ev->a, in->n_rcpts * MEMBERS * sizeof(*p) + 1);
	text = hm_arena_alloc(ev->a, in->n_rcpts * TEXTS + 1);
	if (v == NULL || p == NULL || text == NULL)
		return hm_eval_fail(ev, HM_ENOMEM, "out of memory");
	for (size_t i = 0; i < in->n_rcpts; i++, p += MEMBERS, text += TEXTS) {
		const struct hm_build_rcpt *r = &in->rcpts[i];
		struct hm_ulid id = i == 0 ? part_id(in) : r->id;

		p[0] = (struct hm_pair){HM_STR("to"), hm_val_given(r->addr)};
		p[1] = (struct hm_pair){HM_STR("user"), hm_val_given(r->user)};
		p[2] = (struct hm_pair){HM_STR("id"), id_text(&id, false, text)};
		p[3] = (struct hm_pair){HM_STR("uuid"), id_text(&id, true, text + HM_ULID_TEXT + 2)};
		p[4] = (struct hm_pair){HM_STR("index"), hm_val_int((int64_t)i)};
		v[i] = (struct hm_val){.t = HM_V_MAP, .n = MEMBERS, .map = p};
	}
	return (struct hm_val){.t = HM_V_LIST, .n = (uint32_t)in->n_rcpts, .list = v};
}

static struct hm_val recipients(struct hm_eval *ev)
{
	struct hm_val *v;
	size_t n;

	if (ev->in == NULL)
		return HM_NONE;
	n = ev->in->n_rcpts;
	v = hm_arena_alloc(ev->a, n * sizeof(*v) + 1);
	if (v == NULL)
		return hm_eval_fail(ev, HM_ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		v[i] = hm_val_str(ev->in->rcpts[i].addr);
	return (struct hm_val){.t = HM_V_LIST, .n = (uint32_t)n, .list = v};
}

static struct hm_val nonce(struct hm_eval *ev)
{
	struct hm_ulid a, b;
	struct hm_buf text;

	if (ev->nonce.len == 0) {
		/* 80 random bits each; the time halves are cut away. */
		hm_ulid_new(&a, ev->wall_ms);
		hm_ulid_new(&b, ev->wall_ms);
		memcpy(b.b, a.b + 8, 8);
		hm_buf_init_arena(&text, ev->a, 64);
		hm_buf_hex(&text, b.b, sizeof(b.b));
		ev->nonce = hm_buf_str(&text);
	}
	return hm_val_given(ev->nonce);
}

static struct hm_val endpoint_url(struct hm_eval *ev)
{
	struct hm_buf b;

	hm_buf_init_arena(&b, ev->a, 16 << 10);
	hm_buf_puts(&b, ev->scheme);
	hm_buf_lit(&b, "://");
	hm_buf_puts(&b, ev->host);
	hm_buf_puts(&b, ev->path);
	return hm_val_str(hm_buf_str(&b));
}

static struct hm_val answer(struct hm_eval *ev, const struct hm_expr *e)
{
	struct hm_val v;

	ev->cut_read |= ev->call != NULL && ev->call->answer_cut;
	if (!ev->answer_ok)
		return HM_NONE;
	if (ev->answer_xml) {
		struct hm_str s = ev->answer;

		for (uint32_t i = 0; i < e->n_seg; i++)
			if (e->seg[i].kind != HM_SEG_NAME || !hm_xml_element(s, e->seg[i].name, &s))
				return HM_NONE;
		return hm_val_str(hm_xml_text(s, ev->a));
	}
	v = hm_val_of_json(ev->answer, ev->a);
	return hm_eval_path(ev, v, e->seg, e->n_seg);
}

/* Names of answer headers are in lower case. */
static __attribute__((noinline)) struct hm_val answer_header(struct hm_eval *ev, const struct hm_expr *e)
{
	for (size_t i = 0; ev->cb != NULL && i < ev->cb->n_headers; i++)
		if (hm_str_ieq(ev->cb->headers[i].name, e->seg[0].name))
			return hm_val_str(ev->cb->headers[i].value);
	if (ev->call == NULL || ev->cb != NULL)
		return HM_NONE;
	for (size_t i = 0; i < ev->call->n_answer_headers; i++)
		if (hm_str_ieq(ev->call->answer_headers[i].name, e->seg[0].name))
			return hm_val_str(ev->call->answer_headers[i].value);
	return HM_NONE;
}

static struct hm_val callback_name(struct hm_eval *ev, enum hm_var v)
{
	const struct hm_cb_names *cb = ev->cb;

	switch (v) {
	case HM_VAR_CB_METHOD: return hm_val_given(cb->method);
	case HM_VAR_CB_PATH: return hm_val_given(cb->path);
	case HM_VAR_CB_URL: return hm_val_given(cb->url);
	case HM_VAR_CB_QUERY: return cb->query;
	case HM_VAR_CB_BODY: return hm_val_str(cb->body);
	case HM_VAR_CB_FORM: return cb->form;
	case HM_VAR_CB_EVENT: return cb->event;
	case HM_VAR_CB_CLEAR: return cb->clear;
	case HM_VAR_CB_CERT: return hm_val_given(cb->certificate);
	case HM_VAR_CHANNEL: return hm_val_given(cb->channel);
	case HM_VAR_PULL_ID: return hm_val_at(&cb->ids, 0, NULL, ev->a);
	default: return cb->ids;
	}
}

static struct hm_val variable(struct hm_eval *ev, const struct hm_expr *e)
{
	const struct hm_build_in *in = ev->in;
	const struct hm_content *content = in ? in->content : NULL;

	switch ((enum hm_var)e->id) {
	case HM_VAR_TITLE: return hm_val_given(ev->title);
	case HM_VAR_URL: return hm_val_given(ev->url);
	case HM_VAR_IMAGE: return hm_val_given(ev->image);
	case HM_VAR_BODY:
	case HM_VAR_SHORT:
	case HM_VAR_TEXT:
	case HM_VAR_HTML:
	case HM_VAR_BUTTONS:
	case HM_VAR_LINKS:
	case HM_VAR_IMAGES:
	case HM_VAR_PART:
	case HM_VAR_PARTS: return hm_texts_var(ev, (enum hm_var)e->id);
	case HM_VAR_DATA: return hm_val_of_object(content ? content->data : NULL);
	case HM_VAR_OPTIONS: return hm_val_of_object(content ? content->options : NULL);
	case HM_VAR_TO: return in && in->n_rcpts ? hm_val_given(in->rcpts[0].addr) : HM_NONE;
	case HM_VAR_USER: return in && in->n_rcpts ? hm_val_given(in->rcpts[0].user) : HM_NONE;
	case HM_VAR_RECIPIENTS: return recipients(ev);
	case HM_VAR_TARGETS: return targets(ev);
	case HM_VAR_COUNT: return hm_val_int(in ? (int64_t)in->n_rcpts : 0);
	case HM_VAR_ID: return ulid_text(ev, false, true);
	case HM_VAR_UUID: return ulid_text(ev, true, true);
	case HM_VAR_MESSAGE_ID: return ulid_text(ev, false, false);
	case HM_VAR_CREATED:
		return in && in->n_rcpts ? hm_val_int((int64_t)(hm_ulid_ms(&in->rcpts[0].id) / 1000))
					 : HM_NONE;
	case HM_VAR_LANE: return in ? hm_val_str(hm_str_c(hm_lane_name(in->lane))) : HM_NONE;
	case HM_VAR_EXPIRES:
		return in && in->expires_ms ? hm_val_int((int64_t)(in->expires_ms / 1000)) : HM_NONE;
	case HM_VAR_TTL:
		if (in == NULL || in->expires_ms == 0)
			return HM_NONE;
		return hm_val_int(
			in->expires_ms > ev->wall_ms ? (int64_t)((in->expires_ms - ev->wall_ms) / 1000) : 0);
	case HM_VAR_CREDENTIAL: return hm_val_given(ev->credential);
	case HM_VAR_PREPARED: return in ? hm_val_given(in->prepared) : HM_NONE;
	case HM_VAR_JWT: return hm_val_given(ev->jwt);
	case HM_VAR_REFRESH_TOKEN: return hm_val_given(ev->refresh_token);
	case HM_VAR_NOW: return hm_val_int((int64_t)(ev->wall_ms / 1000));
	case HM_VAR_NOW_MS: return hm_val_int((int64_t)ev->wall_ms);
	case HM_VAR_NONCE: return nonce(ev);
	case HM_VAR_METHOD: return hm_val_given(ev->method);
	case HM_VAR_HOST: return hm_val_given(ev->host);
	case HM_VAR_REQ_PATH: return hm_val_given(ev->path);
	case HM_VAR_REQ_URL: return endpoint_url(ev);
	case HM_VAR_REQ_QUERY: return ev->query;
	case HM_VAR_REQ_FORM: return ev->form;
	case HM_VAR_REQ_HEADERS: return ev->headers;
	case HM_VAR_REQ_BODY: return hm_val_str(ev->req_body);
	case HM_VAR_STATUS: return hm_val_int(ev->call ? ev->call->status : 0);
	case HM_VAR_HEADER: return answer_header(ev, e);
	case HM_VAR_ANSWER: return answer(ev, e);
	case HM_VAR_ANSWER_TEXT:
		ev->cut_read |= ev->call != NULL && ev->call->answer_cut;
		return ev->call ? hm_val_str(ev->call->answer) : HM_NONE;
	case HM_VAR_IT: return ev->it ? *ev->it : HM_NONE;
	case HM_VAR_INDEX: return hm_val_int(ev->index);
	case HM_VAR_KEY: return hm_val_given(ev->key);
	case HM_VAR_CALLBACK_URL: return hm_val_given(ev->callback_url);
	case HM_VAR_CB_METHOD:
	case HM_VAR_CB_PATH:
	case HM_VAR_CB_URL:
	case HM_VAR_CB_QUERY:
	case HM_VAR_CB_BODY:
	case HM_VAR_CB_FORM:
	case HM_VAR_CB_EVENT:
	case HM_VAR_CB_CLEAR:
	case HM_VAR_CB_CERT:
	case HM_VAR_CHANNEL:
	case HM_VAR_PULL_ID:
	case HM_VAR_PULL_IDS: return ev->cb ? callback_name(ev, (enum hm_var)e->id) : HM_NONE;
	case HM_VAR_SETTINGS:
	case HM_VAR_TOTAL: break;
	}
	return HM_NONE;
}

static struct hm_val let(struct hm_eval *ev, const struct hm_expr *e)
{
	uint32_t i = e->id;

	if (i >= ev->n_lets)
		return HM_NONE;
	if (!ev->let_done[i]) {
		/* A let is evaluated outside of any loop: its element must not leak in. */
		const struct hm_val *it = ev->it;

		ev->it = NULL;
		ev->let_val[i] = hm_eval(ev, ev->let[i]);
		ev->it = it;
		ev->let_done[i] = 1;
	}
	return ev->let_val[i];
}

static struct hm_val arithmetic(struct hm_eval *ev, const struct hm_expr *e)
{
	struct hm_val a = hm_eval(ev, e->a[0]), b = hm_eval(ev, e->a[1]);
	int64_t i, j, r;
	bool bad = false;

	if (a.t == HM_V_NONE || b.t == HM_V_NONE)
		return HM_NONE;
	if (!hm_val_int_of(&a, &i) || !hm_val_int_of(&b, &j))
		return hm_eval_fail(ev, HM_EINVAL, "a number is expected");
	switch ((enum hm_op)e->op) {
	case HM_EX_ADD: bad = __builtin_add_overflow(i, j, &r); break;
	case HM_EX_SUB: bad = __builtin_sub_overflow(i, j, &r); break;
	case HM_EX_MUL: bad = __builtin_mul_overflow(i, j, &r); break;
	default:
		bad = j == 0 || (i == INT64_MIN && j == -1);
		r = bad ? 0 : e->op == HM_EX_DIV ? i / j : i % j;
	}
	return bad ? hm_eval_fail(ev, HM_EINVAL, "a number is out of range") : hm_val_int(r);
}

static struct hm_val concat(struct hm_eval *ev, const struct hm_expr *e)
{
	struct hm_val a = hm_eval(ev, e->a[0]), b = hm_eval(ev, e->a[1]);
	struct hm_str x = hm_val_text(&a, ev->a), y = hm_val_text(&b, ev->a);
	char *p;

	if (x.len + y.len > HM_VAL_MAX_TEXT)
		return hm_eval_fail(ev, HM_ELIMIT, "a text grew over %u bytes", HM_VAL_MAX_TEXT);
	p = hm_arena_alloc(ev->a, x.len + y.len + 1);
	if (p == NULL)
		return hm_eval_fail(ev, HM_ENOMEM, "out of memory");
	if (x.len)
		memcpy(p, x.p, x.len);
	if (y.len)
		memcpy(p + x.len, y.p, y.len);
	return hm_val_str(hm_str_n(p, x.len + y.len));
}

static struct hm_val list(struct hm_eval *ev, const struct hm_expr *e)
{
	struct hm_val *v = hm_arena_alloc(ev->a, e->n * sizeof(*v) + 1);
	uint32_t n = 0;

	if (v == NULL)
		return hm_eval_fail(ev, HM_ENOMEM, "out of memory");
	for (uint32_t i = 0; i < e->n; i++) {
		v[n] = hm_eval(ev, e->a[i]);
		n += v[n].t != HM_V_NONE;
	}
	return (struct hm_val){.t = HM_V_LIST, .n = n, .list = v};
}

static struct hm_val compare(struct hm_eval *ev, const struct hm_expr *e)
{
	struct hm_val a = hm_eval(ev, e->a[0]), b = hm_eval(ev, e->a[1]);

	switch ((enum hm_op)e->op) {
	case HM_EX_EQ: return hm_val_bool(hm_val_eq(&a, &b));
	case HM_EX_NE: return hm_val_bool(!hm_val_eq(&a, &b));
	default: break;
	}
	if (a.t == HM_V_NONE || b.t == HM_V_NONE)
		return hm_val_bool(false); /* nothing is neither less nor more */
	switch ((enum hm_op)e->op) {
	case HM_EX_LT: return hm_val_bool(hm_val_cmp(&a, &b) < 0);
	case HM_EX_LE: return hm_val_bool(hm_val_cmp(&a, &b) <= 0);
	case HM_EX_GT: return hm_val_bool(hm_val_cmp(&a, &b) > 0);
	default: return hm_val_bool(hm_val_cmp(&a, &b) >= 0);
	}
}

/* A forger must not gain from a key that was never set: in a section receipts only a question whether it is there goes on
 * without it. */
static struct hm_val setting(struct hm_eval *ev, const struct hm_expr *e)
{
	struct hm_val v = ev->settings ? ev->settings[e->id] : HM_NONE;

	if (ev->cb != NULL && e->secret && !hm_val_true(&v))
		return hm_eval_fail(ev, HM_EPERM, "a secret setting this asks for is not set");
	return v;
}

static struct hm_val asked(struct hm_eval *ev, const struct hm_expr *e)
{
	if (ev->cb != NULL && e->op == HM_EX_SETTING && e->n_seg == 0)
		return ev->settings ? ev->settings[e->id] : HM_NONE;
	return hm_eval(ev, e);
}

/* Values are returned, never copied on the way: a copy right behind its stores waits for them. How deep this may
 * go was checked when the file was read (expr.c). */
static struct hm_val eval_node(struct hm_eval *ev, const struct hm_expr *e)
{
	struct hm_val v;
	int64_t i;

	switch ((enum hm_op)e->op) {
	case HM_EX_CONST: return e->k;
	case HM_EX_VAR:
		if (e->n_seg == 0 || e->id == HM_VAR_ANSWER || e->id == HM_VAR_HEADER)
			return variable(ev, e); /* the last two walk their path themselves */
		v = variable(ev, e);
		break;
	case HM_EX_OPTION: v = e->id < ev->n_opt ? ev->opt[e->id] : HM_NONE; break;
	case HM_EX_LET: v = let(ev, e); break;
	case HM_EX_SETTING: v = setting(ev, e); break;
	case HM_EX_CALL: return hm_eval_filter(ev, e);
	case HM_EX_LIST: return list(ev, e);
	case HM_EX_COALESCE: v = asked(ev, e->a[0]); return v.t == HM_V_NONE ? hm_eval(ev, e->a[1]) : v;
	case HM_EX_COND: v = asked(ev, e->a[0]); return hm_eval(ev, e->a[hm_val_true(&v) ? 1 : 2]);
	case HM_EX_AND: v = asked(ev, e->a[0]); return hm_val_true(&v) ? hm_eval(ev, e->a[1]) : v;
	case HM_EX_OR: v = asked(ev, e->a[0]); return hm_val_true(&v) ? v : hm_eval(ev, e->a[1]);
	case HM_EX_NOT: v = asked(ev, e->a[0]); return hm_val_bool(!hm_val_true(&v));
	case HM_EX_NEG:
		v = hm_eval(ev, e->a[0]);
		if (v.t == HM_V_NONE)
			return v;
		if (!hm_val_int_of(&v, &i) || i == INT64_MIN)
			return hm_eval_fail(ev, HM_EINVAL, "a number is expected");
		return hm_val_int(-i);
	case HM_EX_EQ:
	case HM_EX_NE:
	case HM_EX_LT:
	case HM_EX_LE:
	case HM_EX_GT:
	case HM_EX_GE: return compare(ev, e);
	case HM_EX_CAT: return concat(ev, e);
	case HM_EX_ADD:
	case HM_EX_SUB:
	case HM_EX_MUL:
	case HM_EX_DIV:
	case HM_EX_MOD: return arithmetic(ev, e);
	case HM_EX_PATH: v = hm_eval(ev, e->a[0]); break;
	default: hm_unreachable();
	}
	return e->n_seg ? hm_eval_path(ev, v, e->seg, e->n_seg) : v;
}

/* What is one load away is answered here; it is most of what folding leaves. */
struct hm_val hm_eval(struct hm_eval *ev, const struct hm_expr *e)
{
	if (e->op == HM_EX_CONST)
		return e->k;
	if (e->n_seg == 0) {
		if (e->op == HM_EX_OPTION)
			return e->id < ev->n_opt ? ev->opt[e->id] : HM_NONE;
		if (e->op == HM_EX_LET && e->id < ev->n_lets && ev->let_done[e->id])
			return ev->let_val[e->id];
		if (e->op == HM_EX_VAR && e->id < ev->n_ready)
			return hm_val_given((&ev->title)[e->id]);
	}
	return eval_node(ev, e);
}

struct hm_val hm_eval_tpl(struct hm_eval *ev, const struct hm_tpl *t)
{
	struct hm_buf b;

	if (t->n == 1)
		return t->part[0].e ? hm_eval(ev, t->part[0].e) : hm_val_str(t->part[0].lit);
	if (t->n == 0)
		return hm_val_str(HM_STR(""));
	hm_buf_init_arena(&b, ev->a, HM_VAL_MAX_TEXT);
	hm_eval_tpl_put(ev, t, NULL, &b);
	if (b.err)
		return hm_eval_fail(ev, b.err, "a text grew over %u bytes", HM_VAL_MAX_TEXT);
	return hm_val_str(hm_buf_str(&b));
}

void hm_eval_tpl_put(struct hm_eval *ev, const struct hm_tpl *t, hm_escape_fn escape, struct hm_buf *out)
{
	for (uint32_t i = 0; i < t->n; i++) {
		const struct hm_part *p = &t->part[i];
		struct hm_val v;

		if (p->e == NULL) {
			hm_buf_puts(out, p->lit);
			continue;
		}
		v = hm_eval(ev, p->e);
		if (v.t == HM_V_INT)
			hm_buf_i64(out, v.i);
		else if (escape)
			escape(out, hm_val_text(&v, ev->a));
		else
			hm_buf_puts(out, hm_val_text(&v, ev->a));
	}
}

/* -- folding ------------------------------------------------------------------ */

static struct hm_expr *constant(struct hm_eval *ev, struct hm_arena *a, const struct hm_expr *e,
				struct hm_val v)
{
	struct hm_expr *c = hm_arena_zalloc(a, sizeof(*c));

	if (c == NULL) {
		hm_eval_fail(ev, HM_ENOMEM, "out of memory");
		return NULL;
	}
	c->op = HM_EX_CONST;
	c->k = v;
	c->secret = e->secret;
	c->written = e->written;
	c->line = e->line;
	c->col = e->col;
	return c;
}

static bool is_const(const struct hm_expr *e)
{
	return e->op == HM_EX_CONST;
}

/* Where only yes or no counts, `x || none` is x. */
struct hm_expr *hm_expr_truth(struct hm_expr *e)
{
	while (e != NULL && e->op == HM_EX_OR && is_const(e->a[1]) && !hm_val_true(&e->a[1]->k))
		e = e->a[0];
	return e;
}

/* Evaluates a node whose operands are constants. Failures name the place in the adapter file. */
static struct hm_expr *compute(struct hm_eval *ev, struct hm_arena *a, const struct hm_expr *e)
{
	struct hm_val v = hm_eval(ev, e);

	return ev->rc ? NULL : constant(ev, a, e, v);
}

static bool is_hmac(const struct hm_expr *e)
{
	return e->op == HM_EX_CALL && e->id >= HM_FN_HMAC_MD5 && e->id <= HM_FN_HMAC_SHA512;
}

/* sign(alg, key) with key bytes known: the key object is made once, here. */
static bool prepare_key(struct hm_eval *ev, struct hm_expr *e)
{
	struct hm_val alg = e->a[1]->k, *key = &e->a[2]->k;
	struct hm_key *k;
	int rc;

	if (key->t == HM_V_KEY || key->t == HM_V_NONE)
		return true;
	if (ev->keep_key == NULL)
		return true;
	if (hm_sig_alg_find(hm_val_text(&alg, ev->a)) == HM_SIG_EDDSA &&
	    hm_str_find(hm_val_text(key, ev->a), HM_STR("-----BEGIN")) < 0)
		rc = hm_key_ed25519(hm_val_text(key, ev->a), &k, ev->err);
	else
		rc = hm_key_parse(hm_val_text(key, ev->a), "key", &k, ev->err);
	if (rc == 0)
		rc = ev->keep_key(ev->keep_arg, k);
	if (rc != 0) {
		ev->rc = rc;
		return false;
	}
	*key = (struct hm_val){.t = HM_V_KEY, .key = k};
	return true;
}

/* map over a list known now: one expression per element, each folded with its `it`. */
static struct hm_expr *unroll(struct hm_eval *ev, struct hm_arena *a, const struct hm_expr *e,
			      const struct hm_val *v)
{
	size_t n = hm_val_len(v);
	struct hm_expr *r = hm_arena_zalloc(a, sizeof(*r));
	const struct hm_val *it = ev->it;
	struct hm_str key = ev->key;
	uint32_t index = ev->index;
	bool was_const = ev->it_const, all = true;

	if (r != NULL)
		r->a = hm_arena_zalloc(a, n * sizeof(*r->a) + 1);
	if (r == NULL || r->a == NULL) {
		hm_eval_fail(ev, HM_ENOMEM, "out of memory");
		return NULL;
	}
	r->op = HM_EX_LIST;
	r->secret = e->secret;
	r->needs = e->needs;
	for (size_t i = 0; i < n && ev->rc == 0; i++) {
		struct hm_val el = hm_val_at(v, i, &ev->key, a);

		ev->it = &el;
		ev->it_const = true;
		ev->index = (uint32_t)i;
		r->a[i] = hm_expr_fold(ev, a, e->a[1]);
		all = all && r->a[i] != NULL && is_const(r->a[i]);
	}
	ev->it = it;
	ev->key = key;
	ev->index = index;
	ev->it_const = was_const;
	r->n = (uint32_t)n;
	if (ev->rc)
		return NULL;
	return all ? compute(ev, a, r) : r;
}

static struct hm_expr *fold_call(struct hm_eval *ev, struct hm_arena *a, struct hm_expr *e,
				 const struct hm_expr *from)
{
	bool lambda = e->id == HM_FN_MAP || e->id == HM_FN_FILTER || e->id == HM_FN_ANY ||
		      e->id == HM_FN_EVERY;
	bool all = true, was = ev->it_const;

	e->a[0] = hm_expr_fold(ev, a, from->a[0]);
	if (e->a[0] == NULL)
		return NULL;
	if (lambda && e->id == HM_FN_MAP && is_const(e->a[0]))
		return unroll(ev, a, from, &e->a[0]->k);
	if (lambda)
		ev->it_const = false; /* inside, `it` is another one */
	for (uint32_t i = 1; i < e->n && ev->rc == 0; i++)
		e->a[i] = hm_expr_fold(ev, a, from->a[i]);
	ev->it_const = was;
	if (ev->rc)
		return NULL;
	for (uint32_t i = 0; i < e->n; i++)
		all = all && is_const(e->a[i]);
	if (e->id == HM_FN_SIGN && is_const(e->a[1]) && is_const(e->a[2]) && !prepare_key(ev, e))
		return NULL;
	if (is_hmac(e) && is_const(e->a[1]) && e->cache_id == 0)
		e->cache_id = hm_hmac_cache_id();
	/* require is about the message even when its operand is constant, and so is the dialect; these two are new each time. */
	if (all && !lambda && e->id != HM_FN_REQUIRE && e->id != HM_FN_ESCAPE && e->id != HM_FN_BOLD &&
	    e->id != HM_FN_LINK && e->id != HM_FN_WEBPUSH && e->id != HM_FN_VAPID)
		return compute(ev, a, e);
	return e;
}

struct hm_expr *hm_expr_fold(struct hm_eval *ev, struct hm_arena *a, const struct hm_expr *from)
{
	struct hm_expr *e;
	struct hm_val v;
	bool all = true;

	if (ev->rc)
		return NULL;
	if (from->op == HM_EX_CONST)
		return constant(ev, a, from, from->k);
	if (from->op == HM_EX_SETTING)
		return compute(ev, a, from);
	if (ev->know_options && from->op == HM_EX_OPTION && !(ev->present >> from->id & 1))
		return constant(ev, a, from, HM_NONE);
	if (ev->know_options && ev->present == 0 && from->op == HM_EX_VAR && from->id == HM_VAR_OPTIONS)
		return constant(ev, a, from, HM_NONE);
	if (from->op == HM_EX_LET) {
		if (from->id < ev->n_lets && is_const(ev->let[from->id])) {
			v = hm_eval_path(ev, ev->let[from->id]->k, from->seg, from->n_seg);
			return ev->rc ? NULL : constant(ev, a, from, v);
		}
		/* Another name for something that is one step away anyhow. */
		if (from->id < ev->n_lets && from->n_seg == 0 &&
		    (ev->let[from->id]->op == HM_EX_VAR || ev->let[from->id]->op == HM_EX_OPTION))
			return ev->let[from->id];
	}
	if (from->op == HM_EX_VAR && from->id == HM_VAR_CALLBACK_URL)
		return compute(ev, a, from);
	if (from->op == HM_EX_VAR && ev->it_const &&
	    (from->id == HM_VAR_IT || from->id == HM_VAR_INDEX || from->id == HM_VAR_KEY))
		return compute(ev, a, from);
	e = hm_arena_alloc(a, sizeof(*e));
	if (e != NULL) {
		*e = *from;
		if (from->n)
			e->a = hm_arena_zalloc(a, from->n * sizeof(*e->a));
	}
	if (e == NULL || (from->n && e->a == NULL)) {
		hm_eval_fail(ev, HM_ENOMEM, "out of memory");
		return NULL;
	}
	if (e->op == HM_EX_CALL)
		return fold_call(ev, a, e, from);
	for (uint32_t i = 0; i < e->n; i++) {
		e->a[i] = hm_expr_fold(ev, a, from->a[i]);
		if (e->a[i] == NULL)
			return NULL;
		all = all && is_const(e->a[i]);
		/* The first operand alone may decide; the others must then not be folded (they may be invalid for
		 * this channel: a key that another mode needs). */
		if (i == 0 && is_const(e->a[0])) {
			bool yes = hm_val_true(&e->a[0]->k);

			if (e->op == HM_EX_COND)
				return hm_expr_fold(ev, a, from->a[yes ? 1 : 2]);
			if (e->op == HM_EX_AND)
				return yes ? hm_expr_fold(ev, a, from->a[1]) : e->a[0];
			if (e->op == HM_EX_OR)
				return yes ? e->a[0] : hm_expr_fold(ev, a, from->a[1]);
			if (e->op == HM_EX_COALESCE)
				return e->a[0]->k.t != HM_V_NONE ? e->a[0] : hm_expr_fold(ev, a, from->a[1]);
		}
	}
	if (all && e->n)
		return compute(ev, a, e);
	/* A truthy left side of || is its value whatever stood behind it; ! and ? ask for yes or no. */
	if (e->op == HM_EX_OR || e->op == HM_EX_NOT || e->op == HM_EX_COND)
		e->a[0] = hm_expr_truth(e->a[0]);
	return e;
}

struct hm_tpl *hm_tpl_fold(struct hm_eval *ev, struct hm_arena *a, const struct hm_tpl *from)
{
	struct hm_tpl *t = hm_arena_zalloc(a, sizeof(*t));
	struct hm_buf lit;

	if (t != NULL)
		t->part = hm_arena_zalloc(a, (from->n + 1) * sizeof(*t->part));
	if (t == NULL || t->part == NULL) {
		hm_eval_fail(ev, HM_ENOMEM, "out of memory");
		return NULL;
	}
	t->secret = from->secret;
	t->needs = from->needs;
	for (uint32_t i = 0; i < from->n; i++) {
		struct hm_part *p = &t->part[t->n];

		if (from->part[i].e != NULL) {
			p->e = hm_expr_fold(ev, a, from->part[i].e);
			if (p->e == NULL)
				return NULL;
			if (from->n == 1 || !is_const(p->e)) {
				t->n++;
				continue;
			}
			p->lit = hm_val_text(&p->e->k, a);
			p->e = NULL;
		} else {
			p->lit = from->part[i].lit;
		}
		if (t->n > 0 && t->part[t->n - 1].e == NULL) { /* two literals in a row become one */
			hm_buf_init_arena(&lit, a, HM_VAL_MAX_TEXT);
			hm_buf_puts(&lit, t->part[t->n - 1].lit);
			hm_buf_puts(&lit, p->lit);
			if (lit.err) {
				hm_eval_fail(ev, lit.err, "out of memory");
				return NULL;
			}
			t->part[t->n - 1].lit = hm_buf_str(&lit);
			memset(p, 0, sizeof(*p));
			continue;
		}
		t->n++;
	}
	return t;
}

bool hm_tpl_const(const struct hm_tpl *t, struct hm_val *v_r)
{
	if (t->n == 0) {
		*v_r = hm_val_str(HM_STR(""));
		return true;
	}
	if (t->n != 1 || (t->part[0].e != NULL && !is_const(t->part[0].e)))
		return false;
	*v_r = t->part[0].e ? t->part[0].e->k : hm_val_str(t->part[0].lit);
	return true;
}
