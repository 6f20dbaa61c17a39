/*
 * tree.c - description trees: folded for a channel, written as JSON or as pairs
 *
 * Folding turns every part that depends on nothing but settings into JSON text, so
 * that writing a typical body is a few memcpy with escaped inserts between them.
 * A member whose value is missing is written and taken back: cheaper than asking
 * twice, since the value is needed anyway when it is there.
 */
#include "adapter/model.h"

#define MAX_PAIRS 4096

static struct hm_tree *absent(struct hm_tree *n)
{
	n->kind = HM_TREE_ABSENT;
	return n;
}

/* A leaf's constant as JSON and as value. */
static bool literal(struct hm_eval *ev, struct hm_arena *a, struct hm_tree *n, struct hm_val v)
{
	struct hm_buf b;

	n->kind = HM_TREE_LITERAL;
	n->val = v;
	if (v.t == HM_V_NONE) {
		n->kind = HM_TREE_ABSENT;
		return true;
	}
	hm_buf_init_arena(&b, a, HM_VAL_MAX_TEXT);
	hm_val_json(&v, &b);
	n->json = hm_buf_str(&b);
	if (b.err)
		hm_eval_fail(ev, b.err, "out of memory");
	return b.err == 0;
}

/* A name that depends only on settings is a plain name. */
static bool settle_name(struct hm_eval *ev, struct hm_arena *a, struct hm_tree *n)
{
	struct hm_buf b;
	struct hm_val v;

	if (n->name_tpl == NULL || !hm_tpl_const(n->name_tpl, &v))
		return true;
	n->name = hm_val_text(&v, a);
	n->name_tpl = NULL;
	hm_buf_init_arena(&b, a, 64 << 10);
	hm_buf_putc(&b, '"');
	hm_buf_json(&b, n->name);
	hm_buf_lit(&b, "\":");
	n->key = hm_buf_str(&b);
	if (b.err)
		hm_eval_fail(ev, b.err, "out of memory");
	return b.err == 0;
}

static bool fold_exprs(struct hm_eval *ev, struct hm_arena *a, struct hm_tree *n, const struct hm_tree *from)
{
	if (from->cond && (n->cond = hm_expr_fold(ev, a, from->cond)) == NULL)
		return false;
	if (from->list && (n->list = hm_expr_fold(ev, a, from->list)) == NULL)
		return false;
	if (from->each_key && (n->each_key = hm_tpl_fold(ev, a, from->each_key)) == NULL)
		return false;
	if (from->name_tpl &&
	    ((n->name_tpl = hm_tpl_fold(ev, a, from->name_tpl)) == NULL || !settle_name(ev, a, n)))
		return false;
	if (from->file && (n->file = hm_tpl_fold(ev, a, from->file)) == NULL)
		return false;
	if (from->mime && (n->mime = hm_tpl_fold(ev, a, from->mime)) == NULL)
		return false;
	if (from->n_merge) {
		n->merge = hm_arena_zalloc(a, from->n_merge * sizeof(*n->merge));
		for (uint32_t i = 0; n->merge && i < from->n_merge; i++)
			if ((n->merge[i] = hm_expr_fold(ev, a, from->merge[i])) == NULL)
				return false;
	}
	return true;
}

/* A container in which nothing is left to compute is text. */
static bool settle(struct hm_eval *ev, struct hm_arena *a, struct hm_tree *n)
{
	struct hm_buf b;

	if (n->kind != HM_TREE_MAP && n->kind != HM_TREE_SEQ)
		return true;
	if (n->n_merge)
		return true;
	for (uint32_t i = 0; i < n->n; i++)
		if (n->child[i]->kind != HM_TREE_LITERAL || n->child[i]->cond || n->child[i]->name_tpl)
			return true;
	if (n->n == 0 && !n->keep) {
		absent(n);
		return true;
	}
	hm_buf_init_arena(&b, a, HM_VAL_MAX_TEXT);
	hm_tree_json(ev, n, &b);
	if (b.err) {
		hm_eval_fail(ev, b.err, "out of memory");
		return false;
	}
	n->json = hm_buf_str(&b);
	n->val = (struct hm_val){.t = HM_V_JSON, .s = n->json};
	n->kind = HM_TREE_LITERAL;
	return true;
}

struct hm_tree *hm_tree_fold(struct hm_eval *ev, struct hm_arena *a, const struct hm_tree *from)
{
	struct hm_tree *n = hm_arena_alloc(a, sizeof(*n));
	struct hm_val v;

	if (n == NULL) {
		hm_eval_fail(ev, HM_ENOMEM, "out of memory");
		return NULL;
	}
	*n = *from;
	if (!fold_exprs(ev, a, n, from))
		return NULL;
	n->cond = hm_expr_truth(n->cond);
	if (n->cond && n->cond->op == HM_EX_CONST) {
		if (!hm_val_true(&n->cond->k))
			return absent(n);
		n->cond = NULL;
	}
	if (from->tpl) {
		if ((n->tpl = hm_tpl_fold(ev, a, from->tpl)) == NULL)
			return NULL;
		if (hm_tpl_const(n->tpl, &v) && v.t != HM_V_KEY && !literal(ev, a, n, v))
			return NULL;
	}
	if (from->n) {
		uint32_t kept = 0;

		n->child = hm_arena_zalloc(a, from->n * sizeof(*n->child));
		for (uint32_t i = 0; n->child && i < from->n; i++) {
			struct hm_tree *c = hm_tree_fold(ev, a, from->child[i]);

			if (c == NULL)
				return NULL;
			if (c->kind != HM_TREE_ABSENT)
				n->child[kept++] = c;
		}
		n->n = kept;
		if ((n->kind == HM_TREE_EACH || n->kind == HM_TREE_JSON || n->kind == HM_TREE_CHOOSE) &&
		    kept == 0)
			return absent(n);
		if (n->kind == HM_TREE_CHOOSE && n->child[0]->cond == NULL) {
			struct hm_tree *only = n->child[0];

			only->name = n->name;
			only->key = n->key;
			only->name_tpl = n->name_tpl;
			only->cond = n->cond;
			return only;
		}
	}
	return settle(ev, a, n) ? n : NULL;
}

/* -- JSON --------------------------------------------------------------------------- */

static bool wanted(struct hm_eval *ev, const struct hm_tree *n)
{
	struct hm_val v;

	if (n->cond == NULL)
		return true;
	v = hm_eval(ev, n->cond);
	return hm_val_true(&v);
}

static void comma(struct hm_buf *out)
{
	char last = out->len ? out->p[out->len - 1] : '{';

	/* Behind a value never stands an opening bracket, so the last byte tells whether we are first. */
	if (last != '{' && last != '[')
		hm_buf_putc(out, ',');
}

static void put_key(struct hm_eval *ev, const struct hm_tree *n, struct hm_buf *out)
{
	struct hm_val v;

	if (n->name_tpl == NULL) {
		hm_buf_puts(out, n->key);
		return;
	}
	v = hm_eval_tpl(ev, n->name_tpl);
	hm_buf_putc(out, '"');
	hm_buf_json(out, hm_val_text(&v, ev->a));
	hm_buf_lit(out, "\":");
}

static bool excluded(const struct hm_tree *n, struct hm_str name)
{
	for (uint32_t i = 0; i < n->n; i++)
		if (hm_str_eq(n->child[i]->name, name))
			return true;
	for (uint32_t i = 0; i < n->n_except; i++)
		if (hm_str_eq(n->except[i], name))
			return true;
	return false;
}

static bool json_map(struct hm_eval *ev, const struct hm_tree *n, struct hm_buf *out)
{
	size_t start = out->len, mark;
	struct hm_str key;

	hm_buf_putc(out, '{');
	for (uint32_t i = 0; i < n->n && !out->err; i++) {
		const struct hm_tree *c = n->child[i];

		if (c->cond && !wanted(ev, c))
			continue;
		if (c->kind == HM_TREE_TEXT && c->tpl->n == 1 && c->tpl->part[0].e) {
			/* The commonest member, an insert: asked first, so that missing ones cost nothing. */
			struct hm_val v = hm_eval(ev, c->tpl->part[0].e);

			if (v.t == HM_V_NONE)
				continue;
			comma(out);
			put_key(ev, c, out);
			hm_val_json(&v, out);
			continue;
		}
		mark = out->len;
		comma(out);
		put_key(ev, c, out);
		if (!hm_tree_json(ev, c, out))
			out->len = mark;
	}
	for (uint32_t i = 0; i < n->n_merge && !out->err; i++) {
		struct hm_val map = hm_eval(ev, n->merge[i]);
		size_t len = hm_val_len(&map);

		for (size_t k = 0; k < len && !out->err; k++) {
			struct hm_val v = hm_val_at(&map, k, &key, ev->a);

			if (v.t == HM_V_NONE || excluded(n, key))
				continue;
			comma(out);
			hm_buf_putc(out, '"');
			hm_buf_json(out, key);
			hm_buf_lit(out, "\":");
			hm_val_json(&v, out);
		}
	}
	if (out->len == start + 1 && !n->keep) {
		out->len = start;
		return false;
	}
	hm_buf_putc(out, '}');
	return true;
}

static bool json_seq(struct hm_eval *ev, const struct hm_tree *n, struct hm_buf *out)
{
	size_t start = out->len, mark;

	hm_buf_putc(out, '[');
	for (uint32_t i = 0; i < n->n && !out->err; i++) {
		if (n->child[i]->cond && !wanted(ev, n->child[i]))
			continue;
		mark = out->len;
		comma(out);
		if (!hm_tree_json(ev, n->child[i], out))
			out->len = mark;
	}
	if (out->len == start + 1 && !n->keep) {
		out->len = start;
		return false;
	}
	hm_buf_putc(out, ']');
	return true;
}

/* Runs fn for each element of n->list with `it` set. */
static void each(struct hm_eval *ev, const struct hm_tree *n,
		 void (*fn)(struct hm_eval *, const struct hm_tree *, void *), void *arg)
{
	const struct hm_val *it = ev->it;
	struct hm_str key = ev->key;
	uint32_t index = ev->index;
	struct hm_val list = hm_eval(ev, n->list);
	size_t len = hm_val_len(&list);

	for (size_t i = 0; i < len && ev->rc == 0 && ev->steps++ < HM_EVAL_MAX_STEPS; i++) {
		struct hm_val el = hm_val_at(&list, i, &ev->key, ev->a);

		ev->it = &el;
		ev->index = (uint32_t)i;
		fn(ev, n, arg);
	}
	ev->it = it;
	ev->key = key;
	ev->index = index;
}

static void json_element(struct hm_eval *ev, const struct hm_tree *n, void *arg)
{
	struct hm_buf *out = arg;
	const struct hm_tree *value = n->child[0];
	size_t mark = out->len;
	struct hm_val k;

	if (value->cond && !wanted(ev, value))
		return;
	comma(out);
	if (n->each_key) {
		k = hm_eval_tpl(ev, n->each_key);
		hm_buf_putc(out, '"');
		hm_buf_json(out, hm_val_text(&k, ev->a));
		hm_buf_lit(out, "\":");
	}
	if (!hm_tree_json(ev, value, out))
		out->len = mark;
}

static bool json_each(struct hm_eval *ev, const struct hm_tree *n, struct hm_buf *out)
{
	size_t start = out->len;

	hm_buf_putc(out, n->each_key ? '{' : '[');
	each(ev, n, json_element, out);
	if (out->len == start + 1 && !n->keep) {
		out->len = start;
		return false;
	}
	hm_buf_putc(out, n->each_key ? '}' : ']');
	return true;
}

static bool json_text(struct hm_eval *ev, const struct hm_tree *n, struct hm_buf *out)
{
	struct hm_val v;

	if (n->tpl->n == 1 && n->tpl->part[0].e) {
		v = hm_eval(ev, n->tpl->part[0].e);
		if (v.t == HM_V_NONE)
			return false;
		hm_val_json(&v, out);
		return true;
	}
	hm_buf_putc(out, '"');
	for (uint32_t i = 0; i < n->tpl->n; i++) {
		const struct hm_part *p = &n->tpl->part[i];

		if (p->e == NULL) {
			hm_buf_json(out, p->lit);
			continue;
		}
		v = hm_eval(ev, p->e);
		if (v.t == HM_V_INT)
			hm_buf_i64(out, v.i);
		else
			hm_buf_json(out, hm_val_text(&v, ev->a));
	}
	hm_buf_putc(out, '"');
	return true;
}

bool hm_tree_json(struct hm_eval *ev, const struct hm_tree *n, struct hm_buf *out)
{
	struct hm_buf inner;

	switch (n->kind) {
	case HM_TREE_ABSENT: return false;
	case HM_TREE_LITERAL: hm_buf_puts(out, n->json); return true;
	case HM_TREE_TEXT: return json_text(ev, n, out);
	case HM_TREE_MAP: return json_map(ev, n, out);
	case HM_TREE_SEQ: return json_seq(ev, n, out);
	case HM_TREE_EACH: return json_each(ev, n, out);
	case HM_TREE_JSON:
		hm_buf_init_arena(&inner, ev->a, HM_VAL_MAX_TEXT);
		if (!hm_tree_json(ev, n->child[0], &inner))
			return false;
		if (inner.err)
			out->err = inner.err;
		hm_buf_putc(out, '"');
		hm_buf_json(out, hm_buf_str(&inner));
		hm_buf_putc(out, '"');
		return true;
	case HM_TREE_CHOOSE:
		for (uint32_t i = 0; i < n->n; i++)
			if (wanted(ev, n->child[i]))
				return hm_tree_json(ev, n->child[i], out);
		return false;
	}
	return false;
}

/* -- pairs ---------------------------------------------------------------------------- */

struct hm_val hm_tree_value(struct hm_eval *ev, const struct hm_tree *n)
{
	struct hm_buf b;

	switch (n->kind) {
	case HM_TREE_ABSENT: return HM_NONE;
	case HM_TREE_LITERAL: return n->val;
	case HM_TREE_TEXT: return hm_eval_tpl(ev, n->tpl);
	case HM_TREE_CHOOSE:
		for (uint32_t i = 0; i < n->n; i++)
			if (wanted(ev, n->child[i]))
				return hm_tree_value(ev, n->child[i]);
		return HM_NONE;
	case HM_TREE_JSON: n = n->child[0]; break;
	default: break;
	}
	hm_buf_init_arena(&b, ev->a, HM_VAL_MAX_TEXT);
	if (!hm_tree_json(ev, n, &b))
		return HM_NONE;
	if (b.err)
		return hm_eval_fail(ev, b.err, "a text grew over %u bytes", HM_VAL_MAX_TEXT);
	return hm_val_str(hm_buf_str(&b));
}

struct pair_list {
	struct hm_pair *v;
	uint32_t n, cap;
};

static void add_pair(struct hm_eval *ev, struct pair_list *l, struct hm_str name, struct hm_val v)
{
	if (l->n == l->cap) {
		uint32_t cap = l->cap ? l->cap * 2 : 16;
		struct hm_pair *more;

		if (cap > MAX_PAIRS) {
			hm_eval_fail(ev, HM_ELIMIT, "more than %d parameters", MAX_PAIRS);
			return;
		}
		more = hm_arena_alloc(ev->a, cap * sizeof(*more));
		if (more == NULL) {
			hm_eval_fail(ev, HM_ENOMEM, "out of memory");
			return;
		}
		if (l->n)
			memcpy(more, l->v, l->n * sizeof(*more));
		l->v = more;
		l->cap = cap;
	}
	l->v[l->n++] = (struct hm_pair){.name = name, .v = v};
}

static bool empty(const struct hm_val *v)
{
	return v->t == HM_V_NONE || (v->t == HM_V_STR && v->s.len == 0);
}

/* One member: lists repeat its name; nothing gives nothing. */
static void member(struct hm_eval *ev, struct pair_list *l, struct hm_str name, const struct hm_tree *n)
{
	struct hm_val v;

	if (n->cond && !wanted(ev, n))
		return;
	if (n->seq) {
		for (uint32_t i = 0; i < n->n; i++)
			member(ev, l, name, n->child[i]);
		return;
	}
	v = hm_tree_value(ev, n);
	if (v.t == HM_V_LIST) {
		for (uint32_t i = 0; i < v.n; i++)
			if (!empty(&v.list[i]))
				add_pair(ev, l, name, v.list[i]);
		return;
	}
	if (!empty(&v))
		add_pair(ev, l, name, v);
	else if (n->keep)
		add_pair(ev, l, name, hm_val_str(HM_STR("")));
}

struct each_pair {
	struct pair_list *l;
	struct hm_str name;
};

static void pair_element(struct hm_eval *ev, const struct hm_tree *n, void *arg)
{
	struct each_pair *ep = arg;
	struct hm_str name = ep->name;
	struct hm_val k;

	if (n->each_key) {
		k = hm_eval_tpl(ev, n->each_key);
		name = hm_val_text(&k, ev->a);
	}
	member(ev, ep->l, name, n->child[0]);
}

struct hm_val hm_tree_pairs(struct hm_eval *ev, const struct hm_tree *n)
{
	struct pair_list l = {0};
	struct hm_str key;

	for (uint32_t i = 0; i < n->n; i++) {
		const struct hm_tree *c = n->child[i];
		struct hm_str name = c->name;

		if (c->name_tpl) {
			struct hm_val v = hm_eval_tpl(ev, c->name_tpl);

			name = hm_val_text(&v, ev->a);
		}
		if (c->kind == HM_TREE_EACH) {
			struct each_pair ep = {&l, name};

			if (!c->cond || wanted(ev, c))
				each(ev, c, pair_element, &ep);
		} else {
			member(ev, &l, name, c);
		}
	}
	for (uint32_t i = 0; i < n->n_merge; i++) {
		struct hm_val map = hm_eval(ev, n->merge[i]);
		size_t len = hm_val_len(&map);

		for (size_t k = 0; k < len; k++) {
			struct hm_val v = hm_val_at(&map, k, &key, ev->a);

			if (!empty(&v) && !excluded(n, key))
				add_pair(ev, &l, key, v);
		}
	}
	return (struct hm_val){.t = HM_V_MAP, .n = l.n, .map = l.v};
}
