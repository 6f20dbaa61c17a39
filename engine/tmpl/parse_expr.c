/*
 * parse_expr.c - tokens to expressions, by recursive descent; one function per level of precedence
 *
 * Besides the grammar it applies the checks FreeMarker makes on literals while
 * parsing (1 < "x" does not compile), because those errors do not depend on data.
 */
#include "tmpl/ast.h"

#include <stdarg.h>
#include <stdio.h>

#include "tmpl/lang.h"

static struct hm_ex *expression(struct hm_parser *p);
static struct hm_ex *additive(struct hm_parser *p);

/* -- helpers ----------------------------------------------------------------------- */

static const struct hm_tok *cur(const struct hm_parser *p)
{
	return &p->tok[p->at];
}

static enum hm_tok_kind kind(const struct hm_parser *p)
{
	return p->tok[p->at].kind;
}

static enum hm_tok_kind kind_at(const struct hm_parser *p, uint32_t ahead)
{
	uint32_t i = p->at + ahead;

	return p->tok[hm_min(i, p->ntok - 1)].kind;
}

static void next(struct hm_parser *p) /* never moves past the end token */
{
	if (p->at + 1 < p->ntok)
		p->at++;
}

static bool take(struct hm_parser *p, enum hm_tok_kind k)
{
	if (kind(p) != k)
		return false;
	next(p);
	return true;
}

static struct hm_str image(const struct hm_parser *p, const struct hm_tok *t)
{
	return hm_str_n(p->src->text.p + t->pos, t->end - t->pos);
}

static struct hm_ex *unexpected(struct hm_parser *p, const char *wanted)
{
	const struct hm_tok *t = cur(p);
	struct hm_str s = image(p, t);

	if (t->kind == T_END)
		hm_parse_error(p, t->pos, "%s is expected here, but the tag ends", wanted);
	else
		hm_parse_error(p, t->pos, "%s is expected here, not \"%.*s\"", wanted,
			       HM_STRF(hm_str_n(s.p, hm_utf8_cut(s, 40))));
	return NULL;
}

static bool expect(struct hm_parser *p, enum hm_tok_kind k)
{
	if (take(p, k))
		return true;
	unexpected(p, hm_tok_text(k));
	return false;
}

static uint16_t height_of(const struct hm_ex *x)
{
	return x ? x->height : 0;
}

/* Sets the height from the operands; NULL when the tree gets too high. */
static struct hm_ex *seal(struct hm_parser *p, struct hm_ex *x)
{
	uint16_t h;
	uint32_t i;

	if (!x)
		return NULL;
	h = hm_max(height_of(x->a), height_of(x->b));
	for (i = 0; i < x->nargs; i++)
		h = hm_max(h, height_of(x->args[i]));
	x->height = (uint16_t)(h + 1);
	if (x->height > HM_EX_HEIGHT) {
		hm_parse_error(p, x->pos, "the expression is nested too deeply");
		return NULL;
	}
	return x;
}

static struct hm_ex *node(struct hm_parser *p, enum hm_ex_kind k, uint32_t pos, uint32_t end)
{
	struct hm_ex *x = hm_parse_alloc(p, sizeof(*x));

	if (!x)
		return NULL;
	x->kind = (uint8_t)k;
	x->pos = pos;
	x->end = end;
	x->height = 1;
	return x;
}

static struct hm_ex *binary(struct hm_parser *p, enum hm_ex_kind k, struct hm_ex *a, struct hm_ex *b)
{
	struct hm_ex *x = node(p, k, a->pos, b->end);

	if (!x)
		return NULL;
	x->a = a;
	x->b = b;
	return seal(p, x);
}

/* -- literals that cannot be what is wanted ------------------------------------------- */

enum { LIT_STRING = 1, LIT_NUMBER = 2, LIT_BOOL = 4, LIT_LIST = 8, LIT_HASH = 16 };

static bool refuse_literal(struct hm_parser *p, const struct hm_ex *x, int which, const char *wanted)
{
	static const struct {
		uint8_t kind, bit;
		const char *name;
	} lits[] = {
		{EX_STR, LIT_STRING, "a string"},  {EX_STRI, LIT_STRING, "a string"},
		{EX_NUM, LIT_NUMBER, "a number"},  {EX_BOOL, LIT_BOOL, "a boolean"},
		{EX_LIST, LIT_LIST, "a sequence"}, {EX_HASH, LIT_HASH, "a hash"},
	};

	for (size_t i = 0; i < hm_countof(lits); i++)
		if (x->kind == lits[i].kind && (which & lits[i].bit)) {
			hm_parse_error(p, x->pos, "%s is wanted here, but this is %s", wanted, lits[i].name);
			return false;
		}
	return true;
}

#define NOT_NUMBER  (LIT_STRING | LIT_LIST | LIT_HASH | LIT_BOOL)
#define NOT_BOOLEAN (LIT_STRING | LIT_LIST | LIT_HASH | LIT_NUMBER)
#define NOT_STRING  (LIT_NUMBER | LIT_LIST | LIT_HASH | LIT_BOOL)

static bool both_numbers(struct hm_parser *p, const struct hm_ex *a, const struct hm_ex *b)
{
	return refuse_literal(p, a, NOT_NUMBER, "a number") && refuse_literal(p, b, NOT_NUMBER, "a number");
}

/* -- primary expressions ------------------------------------------------------------------ */

static bool starts_expression(enum hm_tok_kind k)
{
	switch (k) {
	case T_INTEGER:
	case T_DECIMAL:
	case T_STRING:
	case T_RAW_STRING:
	case T_TRUE:
	case T_FALSE:
	case T_ID:
	case T_DOT:
	case T_OPEN_PAREN:
	case T_OPEN_BRACKET:
	case T_OPEN_BRACE:
	case T_PLUS:
	case T_MINUS:
	case T_EXCLAM: return true;
	default: return false;
	}
}

static bool push_arg(struct hm_parser *p, struct hm_ex ***v, uint32_t *n, uint32_t *cap, struct hm_ex *x)
{
	if (!x || !hm_parse_push(p, v, n, cap, sizeof(**v)))
		return false;
	(*v)[*n - 1] = x;
	return true;
}

bool hm_parse_positional(struct hm_parser *p, struct hm_ex ***args_r, uint32_t *n_r)
{
	uint32_t cap = 0;

	*args_r = NULL;
	*n_r = 0;
	if (!starts_expression(kind(p)))
		return true;
	do {
		if (!push_arg(p, args_r, n_r, &cap, expression(p)))
			return false;
	} while (take(p, T_COMMA) || starts_expression(kind(p)));
	return true;
}

static struct hm_ex *number(struct hm_parser *p)
{
	const struct hm_tok *t = cur(p);
	struct hm_ex *x = node(p, EX_NUM, t->pos, t->end);

	if (!x)
		return NULL;
	if (!hm_dec_parse(image(p, t), &x->num)) {
		hm_parse_error(p, t->pos, "the number has more than 38 digits");
		return NULL;
	}
	next(p);
	return x;
}

/* The parts of "text ${x} text": parsed as a text of its own, after unescaping, as FreeMarker does. */
static struct hm_ex *interpolated(struct hm_parser *p, const struct hm_tok *t, struct hm_str value)
{
	struct hm_src src;
	struct hm_parser sub = *p;
	struct hm_ex *x = node(p, EX_STRI, t->pos, t->end), *part;
	size_t pos = 0, start = 0;
	uint32_t cap = 0;

	if (!x)
		return NULL;
	if (!hm_src_init(&src, p->arena, value, p->src->name)) {
		hm_err_set(p->e, HM_ENOMEM, "out of memory while compiling");
		return NULL;
	}
	src.outer = p->src;
	src.outer_pos = t->pos;
	sub.src = &src;
	sub.depth = p->depth + 1;
	sub.esc = NULL;
	if (sub.depth > HM_PARSE_DEPTH) {
		hm_parse_error(p, t->pos, "the expression is nested too deeply");
		return NULL;
	}
	while (pos <= value.len) {
		bool hole = pos + 1 < value.len && value.p[pos] == '$' && value.p[pos + 1] == '{';

		if (!hole && pos < value.len) {
			pos++;
			continue;
		}
		if (pos > start) {
			part = node(p, EX_STR, t->pos, t->end);
			if (!part)
				return NULL;
			part->str = hm_str_n(value.p + start, pos - start);
			if (!push_arg(p, &x->args, &x->nargs, &cap, part))
				return NULL;
		}
		if (!hole)
			break;
		if (hm_lex_expr(&src, LEX_INTERP, pos + 2, p->arena, &sub.tok, &sub.ntok, p->e))
			return NULL;
		sub.at = 0;
		part = hm_parse_expr(&sub);
		if (!part || !refuse_literal(&sub, part, LIT_LIST | LIT_HASH, "text"))
			return NULL;
		if (kind(&sub) != T_END) {
			unexpected(&sub, "}");
			return NULL;
		}
		pos = start = cur(&sub)->end;
		part->pos = t->pos; /* places inside the literal mean nothing outside */
		part->end = t->end;
		if (!push_arg(p, &x->args, &x->nargs, &cap, part))
			return NULL;
	}
	return seal(p, x);
}

struct hm_ex *hm_parse_string(struct hm_parser *p, bool interpolate)
{
	const struct hm_tok *t = cur(p);
	bool raw = t->kind == T_RAW_STRING;
	struct hm_str im = image(p, t), value = hm_lex_unquote(p->arena, im, raw);
	struct hm_ex *x;

	if (!value.p) {
		hm_err_set(p->e, HM_ENOMEM, "out of memory while compiling");
		return NULL;
	}
	next(p);
	/* FreeMarker does not look into literals of up to three characters */
	if (interpolate && !raw && value.len > 3 && hm_utf8_utf16_units(value) > 3 &&
	    hm_str_find(im, HM_STR("${")) >= 0 && hm_str_find(value, HM_STR("${")) >= 0)
		return interpolated(p, t, value);
	x = node(p, EX_STR, t->pos, t->end);
	if (x)
		x->str = value;
	return x;
}

static struct hm_ex *hash_literal(struct hm_parser *p)
{
	struct hm_ex *x = node(p, EX_HASH, cur(p)->pos, cur(p)->end), *k, *v;
	uint32_t cap = 0;

	next(p);
	if (!x)
		return NULL;
	if (kind(p) != T_CLOSE_BRACE) {
		do {
			k = expression(p);
			if (!k || !refuse_literal(p, k, NOT_STRING, "a string"))
				return NULL;
			if (!take(p, T_COLON) && !take(p, T_COMMA)) {
				unexpected(p, "\":\"");
				return NULL;
			}
			v = expression(p);
			if (!push_arg(p, &x->args, &x->nargs, &cap, k) ||
			    !push_arg(p, &x->args, &x->nargs, &cap, v))
				return NULL;
		} while (take(p, T_COMMA));
	}
	x->end = cur(p)->end;
	return expect(p, T_CLOSE_BRACE) ? seal(p, x) : NULL;
}

static struct hm_ex *special(struct hm_parser *p)
{
	uint32_t pos = cur(p)->pos;
	struct hm_str name;
	struct hm_ex *x;
	int id;

	next(p);
	if (kind(p) != T_ID)
		return unexpected(p, "a name");
	name = image(p, cur(p));
	id = hm_special_find(name);
	if (id < 0) {
		hm_parse_error(p, pos, "there is no special variable .%.*s", HM_STRF(name));
		return NULL;
	}
	x = node(p, EX_SPECIAL, pos, cur(p)->end);
	if (!x)
		return NULL;
	x->op = (uint8_t)id;
	x->fmt = (uint8_t)p->fmt;
	x->has_args = p->autoesc;
	next(p);
	return x;
}

static struct hm_ex *atomic(struct hm_parser *p)
{
	const struct hm_tok *t = cur(p);
	struct hm_ex *x;

	switch (t->kind) {
	case T_INTEGER:
	case T_DECIMAL: return number(p);
	case T_STRING:
	case T_RAW_STRING: return hm_parse_string(p, true);
	case T_TRUE:
	case T_FALSE:
		x = node(p, EX_BOOL, t->pos, t->end);
		if (x)
			x->op = t->kind == T_TRUE;
		next(p);
		return x;
	case T_ID:
		x = node(p, EX_ID, t->pos, t->end);
		if (x)
			x->str = hm_lex_name(p->arena, image(p, t));
		next(p);
		return x;
	case T_OPEN_PAREN:
		x = node(p, EX_PAREN, t->pos, t->end);
		next(p);
		if (!x || !(x->a = expression(p)))
			return NULL;
		x->end = cur(p)->end;
		return expect(p, T_CLOSE_PAREN) ? seal(p, x) : NULL;
	case T_OPEN_BRACKET:
		x = node(p, EX_LIST, t->pos, t->end);
		next(p);
		if (!x || !hm_parse_positional(p, &x->args, &x->nargs))
			return NULL;
		x->end = cur(p)->end;
		return expect(p, T_CLOSE_BRACKET) ? seal(p, x) : NULL;
	case T_OPEN_BRACE: return hash_literal(p);
	case T_DOT: return special(p);
	default: return unexpected(p, "an expression");
	}
}

/* -- what may follow an expression: .x [x] (x) ?x !x ?? ---------------------------------------- */

static bool keyed(const struct hm_ex *x)
{
	return x->kind == EX_BI && !x->has_args && (hm_bi_def[x->bi].flags & BI_KEYED);
}

/* x?string.name and x?string["..."] are x?string("...") */
static struct hm_ex *give_key(struct hm_parser *p, struct hm_ex *bi, struct hm_ex *key)
{
	uint32_t cap = 0;

	if (!push_arg(p, &bi->args, &bi->nargs, &cap, key))
		return NULL;
	bi->has_args = true;
	bi->op = 1; /* by key: the argument must be text, and there is one */
	bi->end = key->end;
	return seal(p, bi);
}

static struct hm_ex *dot(struct hm_parser *p, struct hm_ex *a)
{
	const struct hm_tok *t;
	struct hm_ex *x;
	struct hm_str name;

	next(p);
	t = cur(p);
	name = image(p, t);
	switch (t->kind) {
	case T_ID: name = hm_lex_name(p->arena, name); break;
	case T_TRUE:
	case T_FALSE:
	case T_IN:
	case T_AS:
	case T_USING:
	case T_LT:
	case T_LTE:
	case T_GT:
	case T_GTE: /* reserved words are fine as keys, signs are not */
		if (name.p[0] >= 'a' && name.p[0] <= 'z')
			break;
		/* fall through */
	default: return unexpected(p, "a name");
	}
	if (!refuse_literal(p, a, LIT_STRING | LIT_LIST | LIT_BOOL, "a hash"))
		return NULL;
	x = node(p, keyed(a) ? EX_STR : EX_DOT, a->pos, t->end);
	if (!x)
		return NULL;
	x->str = name;
	next(p);
	if (x->kind == EX_STR)
		return give_key(p, a, x);
	x->a = a;
	return seal(p, x);
}

static struct hm_ex *dynamic_key(struct hm_parser *p, struct hm_ex *a)
{
	struct hm_ex *k, *x;

	next(p);
	k = expression(p);
	if (!k)
		return NULL;
	x = node(p, EX_KEY, a->pos, cur(p)->end);
	if (!x || !expect(p, T_CLOSE_BRACKET))
		return NULL;
	if (!refuse_literal(p, a, LIT_BOOL | LIT_NUMBER, "a sequence or hash"))
		return NULL;
	if (keyed(a))
		return give_key(p, a, k);
	x->a = a;
	x->b = k;
	return seal(p, x);
}

static struct hm_ex *method_args(struct hm_parser *p, struct hm_ex *a)
{
	struct hm_ex *x;
	bool mine = a->kind == EX_BI && !a->has_args && (hm_bi_def[a->bi].flags & BI_METHOD);

	if (a->kind == EX_LOOPVAR && !a->has_args && (hm_bi_def[a->bi].flags & BI_METHOD))
		mine = true;
	next(p);
	x = mine ? a : node(p, EX_CALL, a->pos, a->end);
	if (!x || !hm_parse_positional(p, &x->args, &x->nargs))
		return NULL;
	x->end = cur(p)->end;
	x->has_args = true;
	if (!mine)
		x->a = a;
	return expect(p, T_CLOSE_PAREN) ? seal(p, x) : NULL;
}

/* (x) -> expr, x -> expr; NULL without an error when it is no lambda */
static struct hm_ex *lambda(struct hm_parser *p)
{
	uint32_t at = p->at, pos = cur(p)->pos;
	bool paren = take(p, T_OPEN_PAREN);
	struct hm_str name = image(p, cur(p));
	struct hm_ex *x;

	if (kind(p) != T_ID || kind_at(p, 1) != (paren ? T_CLOSE_PAREN : T_ARROW) ||
	    (paren && kind_at(p, 2) != T_ARROW)) {
		p->at = at;
		return NULL;
	}
	next(p);
	if (paren)
		next(p);
	next(p);
	x = node(p, EX_LAMBDA, pos, pos);
	if (!x)
		return NULL;
	x->str = hm_lex_name(p->arena, name);
	x->a = expression(p);
	if (!x->a)
		return NULL;
	x->end = x->a->end;
	return seal(p, x);
}

/*
 * x?map("y") compiles in FreeMarker, as the argument could be a function; here it never is one, and fails when it
 * is used. A built-in without its parentheses would be one.
 */
static struct hm_ex *not_lambda(struct hm_parser *p, const struct hm_ex *x)
{
	uint32_t pos = cur(p)->pos;
	struct hm_ex *l = kind(p) == T_CLOSE_PAREN ? NULL : expression(p);

	if ((!l && p->e->code) ||
	    (l && !(l->kind == EX_BI && !l->has_args && (hm_bi_def[l->bi].flags & BI_METHOD))))
		return l;
	hm_parse_error(p, pos, "?%.*s needs x -> ... as its argument", HM_STRF(hm_bi_def[x->bi].name));
	return NULL;
}

static struct hm_ex *lambda_args(struct hm_parser *p, struct hm_ex *x)
{
	uint32_t cap = 0;
	struct hm_ex *l;

	if (!take(p, T_OPEN_PAREN)) {
		hm_parse_error(p, x->pos, "?%.*s needs an argument: ?%.*s(x -> ...)",
			       HM_STRF(hm_bi_def[x->bi].name), HM_STRF(hm_bi_def[x->bi].name));
		return NULL;
	}
	l = lambda(p);
	if (!l && p->e->code == 0)
		l = not_lambda(p, x);
	if (!l)
		return NULL;
	if (!push_arg(p, &x->args, &x->nargs, &cap, l))
		return NULL;
	x->has_args = true;
	x->end = cur(p)->end;
	return expect(p, T_CLOSE_PAREN) ? seal(p, x) : NULL;
}

static struct hm_ex *parse_time_args(struct hm_parser *p, struct hm_ex *x)
{
	const struct hm_bi_def *d = &hm_bi_def[x->bi];

	if (!take(p, T_OPEN_PAREN)) {
		hm_parse_error(p, x->pos, "?%.*s needs arguments in parentheses", HM_STRF(d->name));
		return NULL;
	}
	if (!hm_parse_positional(p, &x->args, &x->nargs))
		return NULL;
	if (x->nargs < d->min || x->nargs > d->max) {
		hm_parse_error(p, x->pos, "?%.*s does not take %u arguments", HM_STRF(d->name), x->nargs);
		return NULL;
	}
	x->has_args = true;
	x->end = cur(p)->end;
	return expect(p, T_CLOSE_PAREN) ? seal(p, x) : NULL;
}

static bool check_loop_variable(struct hm_parser *p, const struct hm_ex *a, struct hm_str bi)
{
	struct hm_loopctx *l;

	if (a->kind != EX_ID) {
		hm_parse_error(p, a->pos, "the left side of ?%.*s must be the name of a loop variable",
			       HM_STRF(bi));
		return false;
	}
	for (l = p->loops; l; l = l->outer) {
		if (!(l->var.p && hm_str_eq(l->var, a->str)) && !(l->var2.p && hm_str_eq(l->var2, a->str)))
			continue;
		if (l->kind != LOOP_USER)
			return true;
		hm_parse_error(p, a->pos, "?%.*s does not work with a variable given by a macro",
			       HM_STRF(bi));
		return false;
	}
	hm_parse_error(p, a->pos, "there is no loop variable \"%.*s\" here for ?%.*s", HM_STRF(a->str),
		       HM_STRF(bi));
	return false;
}

static struct hm_ex *built_in(struct hm_parser *p, struct hm_ex *a)
{
	const struct hm_bi_def *d;
	struct hm_str name;
	struct hm_ex *x;
	int id;

	next(p);
	if (kind(p) != T_ID)
		return unexpected(p, "the name of a built-in");
	name = image(p, cur(p));
	id = hm_bi_find(name);
	if (id < 0) {
		hm_parse_error(p, cur(p)->pos, "there is no built-in ?%.*s", HM_STRF(name));
		return NULL;
	}
	d = &hm_bi_def[id];
	if (d->flags & BI_OUT) {
		hm_parse_error(p, cur(p)->pos, "?%.*s is not part of this template language", HM_STRF(name));
		return NULL;
	}
	x = node(p, d->flags & BI_LOOP ? EX_LOOPVAR : EX_BI, a->pos, cur(p)->end);
	if (!x)
		return NULL;
	x->a = a;
	x->bi = (uint16_t)id;
	x->fmt = (uint8_t)p->fmt;
	next(p);
	if ((d->flags & BI_LOOP) && !check_loop_variable(p, a, name))
		return NULL;
	if ((d->flags & BI_ESCAPES) && p->autoesc && hm_fmt_is_markup(p->fmt)) {
		hm_parse_error(p, x->pos,
			       "?%.*s would escape twice: the output is escaped automatically here",
			       HM_STRF(name));
		return NULL;
	}
	if ((d->flags & BI_FORMAT) && !hm_fmt_is_markup(p->fmt)) {
		hm_parse_error(p, x->pos, "?%.*s needs a markup output format (html or xml)", HM_STRF(name));
		return NULL;
	}
	if (!seal(p, x))
		return NULL;
	if (d->flags & BI_LAMBDA)
		return lambda_args(p, x);
	if (d->flags & BI_PARSE)
		return parse_time_args(p, x);
	return x;
}

/*
 * An expression, if there is one: FreeMarker looks ahead whether one can be read, as in x!! or 1..!
 * A token that begins none is remembered, or x!!!!!!!!( would be tried in 2^n ways.
 */
static struct hm_ex *maybe(struct hm_parser *p, struct hm_ex *(*read)(struct hm_parser *))
{
	uint32_t at = p->at;
	unsigned depth = p->depth;
	uint8_t dead = read == expression ? 1 : 2;
	struct hm_ex *x;

	if (!starts_expression(kind(p)) || (p->tok[at].dead & dead))
		return NULL;
	if (kind(p) == T_DOT &&
	    kind_at(p, 1) == T_ID) /* x!.name is x!(.name), and an error when there is no .name */
		return read(p);
	x = read(p);
	if (!x && p->e->code == HM_EPARSE) {
		p->tok[at].dead |= dead;
		p->at = at;
		p->depth = depth;
		hm_err_clear(p->e);
	}
	return x;
}

static struct hm_ex *default_to(struct hm_parser *p, struct hm_ex *a)
{
	struct hm_ex *x = node(p, EX_DEFAULT, a->pos, cur(p)->end);
	bool bare = kind(p) == T_TERMINATING_EXCLAM;

	next(p);
	if (!x)
		return NULL;
	x->a = a;
	if (!bare)
		x->b = maybe(p, expression);
	if (x->b)
		x->end = x->b->end;
	return p->e->code ? NULL : seal(p, x);
}

static struct hm_ex *primary(struct hm_parser *p)
{
	struct hm_ex *x = atomic(p), *e;

	while (x) {
		switch (kind(p)) {
		case T_DOT: x = dot(p, x); break;
		case T_OPEN_BRACKET: x = dynamic_key(p, x); break;
		case T_OPEN_PAREN: x = method_args(p, x); break;
		case T_BUILT_IN: x = built_in(p, x); break;
		case T_EXCLAM:
		case T_TERMINATING_EXCLAM: x = default_to(p, x); break;
		case T_EXISTS:
			e = node(p, EX_EXISTS, x->pos, cur(p)->end);
			next(p);
			if (e)
				e->a = x;
			x = seal(p, e);
			break;
		default: return x;
		}
	}
	return NULL;
}

/* -- operators --------------------------------------------------------------------------------- */

static struct hm_ex *unary(struct hm_parser *p)
{
	uint32_t pos = cur(p)->pos, n = 0;
	enum hm_tok_kind k = kind(p);
	struct hm_ex *x, *u;

	if (k == T_PLUS || k == T_MINUS) {
		next(p);
		x = primary(p);
		u = x ? node(p, k == T_MINUS ? EX_NEG : EX_POS, pos, x->end) : NULL;
		if (u)
			u->a = x;
		return seal(p, u);
	}
	while (n <= HM_EX_HEIGHT && take(p, T_EXCLAM))
		n++;
	x = primary(p);
	for (; x && n > 0; n--) {
		u = node(p, EX_NOT, pos, x->end);
		if (u)
			u->a = x;
		x = seal(p, u);
	}
	return x;
}

static struct hm_ex *multiplicative(struct hm_parser *p)
{
	struct hm_ex *x = unary(p), *b;

	while (x) {
		enum hm_tok_kind k = kind(p);

		if (k != T_TIMES && k != T_DIVIDE && k != T_PERCENT)
			break;
		next(p);
		b = unary(p);
		if (!b || !both_numbers(p, x, b))
			return NULL;
		x = binary(p, k == T_TIMES ? EX_MUL : k == T_DIVIDE ? EX_DIV : EX_MOD, x, b);
	}
	return x;
}

static struct hm_ex *additive(struct hm_parser *p)
{
	struct hm_ex *x = multiplicative(p), *b;

	while (x) {
		enum hm_tok_kind k = kind(p);

		if (k != T_PLUS && k != T_MINUS)
			break;
		next(p);
		b = multiplicative(p);
		if (!b || (k == T_MINUS && !both_numbers(p, x, b)))
			return NULL;
		x = binary(p, k == T_PLUS ? EX_ADD : EX_SUB, x, b);
	}
	return x;
}

static struct hm_ex *range(struct hm_parser *p)
{
	struct hm_ex *x = additive(p), *b = NULL, *r;
	enum hm_range_end end;

	if (!x)
		return NULL;
	switch (kind(p)) {
	case T_DOT_DOT: end = RANGE_INCLUSIVE; break;
	case T_DOT_DOT_LESS: end = RANGE_EXCLUSIVE; break;
	case T_DOT_DOT_STAR: end = RANGE_SIZE; break;
	default: return x;
	}
	r = node(p, EX_RANGE, x->pos, cur(p)->end);
	next(p);
	if (!r)
		return NULL;
	b = end == RANGE_INCLUSIVE ? maybe(p, additive) : additive(p);
	if (!b && p->e->code)
		return NULL;
	if (!b) {
		end = RANGE_UNBOUND;
	} else {
		if (!refuse_literal(p, b, NOT_NUMBER, "a number"))
			return NULL;
		r->end = b->end;
	}
	if (!refuse_literal(p, x, NOT_NUMBER, "a number"))
		return NULL;
	r->a = x;
	r->b = b;
	r->op = (uint8_t)end;
	return seal(p, r);
}

static struct hm_ex *compare(struct hm_parser *p, struct hm_ex *a, struct hm_ex *b, enum hm_cmp op)
{
	struct hm_ex *x = a && b ? binary(p, EX_CMP, a, b) : NULL;

	if (x)
		x->op = (uint8_t)op;
	return x;
}

static struct hm_ex *relational(struct hm_parser *p)
{
	struct hm_ex *x = range(p), *b;
	enum hm_cmp op;

	if (!x)
		return NULL;
	switch (kind(p)) {
	case T_LT: op = CMP_LT; break;
	case T_LTE: op = CMP_LE; break;
	case T_GT: op = CMP_GT; break;
	case T_GTE: op = CMP_GE; break;
	default: return x;
	}
	next(p);
	b = range(p);
	if (!b || !both_numbers(p, x, b))
		return NULL;
	return compare(p, x, b, op);
}

static struct hm_ex *equality(struct hm_parser *p)
{
	struct hm_ex *x = relational(p), *b;
	enum hm_tok_kind k;

	if (!x)
		return NULL;
	k = kind(p);
	if (k != T_EQUALS && k != T_DOUBLE_EQUALS && k != T_NOT_EQUALS)
		return x;
	next(p);
	b = relational(p);
	if (!b || !refuse_literal(p, x, LIT_HASH | LIT_LIST, "a value that can be compared") ||
	    !refuse_literal(p, b, LIT_HASH | LIT_LIST, "a value that can be compared"))
		return NULL;
	return compare(p, x, b, k == T_NOT_EQUALS ? CMP_NE : CMP_EQ);
}

static struct hm_ex *logical(struct hm_parser *p, bool or)
{
	struct hm_ex *x = or ? logical(p, false) : equality(p), *b;

	while (x && take(p, or ? T_OR : T_AND)) {
		b = or ? logical(p, false) : equality(p);
		if (!b || !refuse_literal(p, x, NOT_BOOLEAN, "a boolean") ||
		    !refuse_literal(p, b, NOT_BOOLEAN, "a boolean"))
			return NULL;
		x = binary(p, or ? EX_OR : EX_AND, x, b);
	}
	return x;
}

static struct hm_ex *expression(struct hm_parser *p)
{
	struct hm_ex *x;

	if (++p->depth > HM_PARSE_DEPTH) {
		hm_parse_error(p, cur(p)->pos, "the expression is nested too deeply");
		return NULL;
	}
	x = logical(p, true);
	p->depth--;
	return x;
}

struct hm_ex *hm_parse_expr(struct hm_parser *p)
{
	return expression(p);
}

/* {a.b}: the text between the braces is known to be names and dots */
struct hm_ex *hm_parse_path(struct hm_parser *p, uint32_t pos, uint32_t end)
{
	struct hm_ex *x = NULL, *a = NULL;
	uint32_t start = pos, i;

	for (i = pos; i <= end; i++) {
		if (i < end && p->src->text.p[i] != '.')
			continue;
		x = node(p, a ? EX_DOT : EX_ID, pos, i);
		if (!x)
			return NULL;
		x->str = hm_str_n(p->src->text.p + start, i - start);
		x->a = a;
		if (!seal(p, x))
			return NULL;
		a = x;
		start = i + 1;
	}
	return x;
}
