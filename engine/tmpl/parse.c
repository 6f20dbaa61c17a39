/*
 * parse.c - text, tags and interpolations to elements; expressions are parse_expr.c
 *
 * content() reads elements until a tag that does not start one: an end tag, or <#else>
 * <#elseif> <#case> <#default> <#recover>. That tag is left in p->tag for the directive
 * whose content it was; whoever cannot use it reports it.
 */
#include "tmpl/ast.h"

#include <stdarg.h>
#include <stdio.h>

#include "tmpl/lang.h"

static bool content(struct hm_parser *p, struct hm_el *el);

/* -- errors, memory ------------------------------------------------------------------ */

int hm_parse_error(struct hm_parser *p, uint32_t pos, const char *fmt, ...)
{
	char text[280];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return hm_err_at(p->e, HM_EPARSE, NULL, hm_src_line(p->src, pos), hm_src_col(p->src, pos), "%s",
			 text);
}

void *hm_parse_alloc(struct hm_parser *p, size_t n)
{
	void *m = hm_arena_zalloc(p->arena, n);

	if (!m)
		hm_err_set(p->e, HM_ENOMEM, "out of memory while compiling the template");
	return m;
}

bool hm_parse_push(struct hm_parser *p, void *vec, uint32_t *n, uint32_t *cap, size_t size)
{
	if (*n == *cap) {
		uint32_t c = *cap ? *cap * 2 : 4;
		void *old, *m;

		memcpy(&old, vec, sizeof(old));
		m = hm_arena_grow(p->arena, old, *cap * size, c * size);
		if (!m) {
			hm_err_set(p->e, HM_ENOMEM, "out of memory while compiling the template");
			return false;
		}
		memcpy(vec, &m, sizeof(m));
		*cap = c;
	}
	++*n;
	return true;
}

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

static bool take(struct hm_parser *p, enum hm_tok_kind k)
{
	if (kind(p) != k)
		return false;
	if (p->at + 1 < p->ntok)
		p->at++;
	return true;
}

static struct hm_str image(const struct hm_parser *p)
{
	return hm_str_n(p->src->text.p + cur(p)->pos, cur(p)->end - cur(p)->pos);
}

static bool unexpected(struct hm_parser *p, const char *wanted)
{
	struct hm_str s = image(p);

	if (kind(p) == T_END)
		hm_parse_error(p, cur(p)->pos, "%s is expected here, but the tag ends", wanted);
	else
		hm_parse_error(p, cur(p)->pos, "%s is expected here, not \"%.*s\"", wanted,
			       HM_STRF(hm_str_n(s.p, hm_utf8_cut(s, 40))));
	return false;
}

static bool name(struct hm_parser *p, struct hm_str *name_r)
{
	if (kind(p) != T_ID)
		return unexpected(p, "a name");
	*name_r = hm_lex_name(p->arena, image(p));
	take(p, T_ID);
	return name_r->p != NULL;
}

/* -- elements --------------------------------------------------------------------------- */

static void place(struct hm_parser *p, struct hm_el *el, uint32_t pos, uint32_t end)
{
	el->pos = pos;
	el->end = end;
	el->line = hm_src_line(p->src, pos);
	el->end_line = hm_src_line(p->src, end > pos ? end - 1 : pos);
	/* FreeMarker counts columns by tab stops: a tab in the first column ends in the eighth */
	el->begins_line = p->src->line_start[el->line - 1] == pos && pos < p->src->text.len &&
			  p->src->text.p[pos] != '\t';
}

static struct hm_el *element(struct hm_parser *p, enum hm_el_kind k, uint32_t pos, uint32_t end)
{
	struct hm_el *el = hm_parse_alloc(p, sizeof(*el));

	if (!el)
		return NULL;
	el->kind = (uint8_t)k;
	el->fmt = (uint8_t)p->fmt;
	el->autoesc = p->autoesc && hm_fmt_is_markup(p->fmt);
	place(p, el, pos, end);
	return el;
}

static bool add_child(struct hm_parser *p, struct hm_el *el, struct hm_el *child)
{
	if (!child || !hm_parse_push(p, &el->child, &el->nchild, &el->cap, sizeof(*el->child)))
		return false;
	el->child[el->nchild - 1] = child;
	child->parent = el;
	child->index = el->nchild - 1;
	return true;
}

/* -- tags ----------------------------------------------------------------------------------- */

static bool params(struct hm_parser *p, const struct hm_tag *t, enum hm_lex_mode mode)
{
	p->at = 0;
	return hm_lex_expr(p->src, mode, t->end, p->arena, &p->tok, &p->ntok, p->e) == 0;
}

/* The current token must end the tag; slash: it may end with /> */
static bool tag_end(struct hm_parser *p, bool slash)
{
	if (kind(p) != T_END && !(slash && kind(p) == T_EMPTY_END))
		return unexpected(p, "the end of the tag");
	p->pos = cur(p)->end;
	return true;
}

static bool tag_is(const struct hm_parser *p, uint8_t dir, bool closing)
{
	return p->has_tag && p->tag.kind == TAG_DIR && p->tag.dir == dir && p->tag.closing == closing;
}

static const char *dir_name(uint8_t dir)
{
	static const char *const names[] = {
#define HM_DIR(id, text, shape, end_shape) text,
#include "tmpl/directives.h"
#undef HM_DIR
	};

	return names[dir];
}

/* The tag that ended a content is not one that fits there. */
static bool stray_tag(struct hm_parser *p, const struct hm_tag *open, const char *open_name)
{
	const struct hm_tag *t = &p->tag;

	if (!p->has_tag) {
		hm_parse_error(p, open->pos, "%s is opened here and never closed", open_name);
	} else {
		struct hm_str s = hm_str_n(p->src->text.p + t->pos, t->end - t->pos);

		hm_parse_error(p, t->pos, "%.*s does not fit here: %s of line %d is still open",
			       HM_STRF(hm_str_n(s.p, hm_utf8_cut(s, 40))), open_name,
			       hm_src_line(p->src, open->pos));
	}
	return false;
}

/* Content, then the end tag </#dir>; places el over the whole. */
static bool content_to_end(struct hm_parser *p, struct hm_el *el, const struct hm_tag *open)
{
	char what[40];

	if (!content(p, el))
		return false;
	if (!tag_is(p, open->dir, true)) {
		snprintf(what, sizeof(what), "<#%s>", dir_name(open->dir));
		return stray_tag(p, open, what);
	}
	p->pos = p->tag.end;
	place(p, el, open->pos, p->tag.end);
	return true;
}

/* -- branches ------------------------------------------------------------------------------------ */

/* One branch: its content, ending before the next tag of the <#if>. */
static struct hm_el *branch(struct hm_parser *p, struct hm_ex *cond, uint32_t pos)
{
	uint32_t tag_end_pos = (uint32_t)p->pos;
	struct hm_el *el = element(p, EL_COND, pos, tag_end_pos);

	if (!el)
		return NULL;
	el->ex = cond;
	if (!content(p, el))
		return NULL;
	place(p, el, pos, el->nchild ? el->child[el->nchild - 1]->end : tag_end_pos);
	return el;
}

static struct hm_el *parse_if(struct hm_parser *p, struct hm_tag open)
{
	struct hm_el *el = element(p, EL_IF, open.pos, open.end), *b;
	struct hm_tag t = open;
	bool has_else = false;

	if (!el)
		return NULL;
	for (;;) {
		struct hm_ex *cond = NULL;

		if (t.dir == DIR_ELSE) {
			has_else = true;
			p->pos = t.end;
		} else {
			if (!params(p, &t, LEX_IF) || !(cond = hm_parse_expr(p)) ||
			    !tag_end(p, t.dir == DIR_ELSEIF))
				return NULL;
		}
		b = branch(p, cond, t.pos);
		if (!b || !add_child(p, el, b))
			return NULL;
		if (tag_is(p, DIR_IF, true))
			break;
		if (has_else || !(tag_is(p, DIR_ELSE, false) || tag_is(p, DIR_ELSEIF, false))) {
			stray_tag(p, &open, has_else ? "<#else>" : "<#if>");
			return NULL;
		}
		t = p->tag;
	}
	p->pos = p->tag.end;
	place(p, el, open.pos, p->tag.end);
	return el;
}

static struct hm_el *parse_switch(struct hm_parser *p, struct hm_tag open)
{
	struct hm_el *el = element(p, EL_SWITCH, open.pos, open.end), *c;
	struct hm_el before = {0};
	bool has_default = false;

	if (!el || !params(p, &open, LEX_TAG) || !(el->ex = hm_parse_expr(p)) || !tag_end(p, false))
		return NULL;
	p->breakable++;
	if (!content(p, &before))
		return NULL;
	for (uint32_t i = 0; i < before.nchild; i++) { /* only blanks and comments; they vanish */
		struct hm_el *b = before.child[i];
		bool blank = b->kind == EL_COMMENT || b->kind == EL_TEXT;

		for (size_t k = 0; b->kind == EL_TEXT && k < b->text.len; k++)
			if (!hm_lex_is_blank(b->text.p[k]))
				blank = false;
		if (!blank || b->unparsed) {
			hm_parse_error(p, b->pos,
				       "only blanks may stand between <#switch> and its first <#case>");
			return NULL;
		}
	}
	while (tag_is(p, DIR_CASE, false) || tag_is(p, DIR_DEFAULT, false)) {
		struct hm_tag t = p->tag;

		c = element(p, EL_CASE, t.pos, t.end);
		if (!c)
			return NULL;
		if (t.dir == DIR_CASE) {
			if (!params(p, &t, LEX_TAG) || !(c->ex = hm_parse_expr(p)) || !tag_end(p, false))
				return NULL;
		} else {
			if (has_default) {
				hm_parse_error(p, t.pos, "a <#switch> can have only one <#default>");
				return NULL;
			}
			has_default = true;
			p->pos = t.end;
		}
		place(p, c, t.pos, (uint32_t)p->pos);
		if (!content(p, c) || !add_child(p, el, c))
			return NULL;
		if (c->nchild)
			place(p, c, t.pos, c->child[c->nchild - 1]->end);
	}
	p->breakable--;
	if (!tag_is(p, DIR_SWITCH, true)) {
		stray_tag(p, &open, "<#switch>");
		return NULL;
	}
	p->pos = p->tag.end;
	place(p, el, open.pos, p->tag.end);
	return el;
}

/* -- lists ---------------------------------------------------------------------------------------------- */

static bool loop_vars(struct hm_parser *p, struct hm_el *el)
{
	if (!name(p, &el->var))
		return false;
	if (take(p, T_COMMA)) {
		if (!name(p, &el->var2))
			return false;
		if (hm_str_eq(el->var, el->var2)) {
			hm_parse_error(p, el->pos, "the two loop variables must have different names");
			return false;
		}
	}
	return true;
}

static struct hm_el *parse_list(struct hm_parser *p, struct hm_tag open)
{
	struct hm_el *el = element(p, EL_LIST, open.pos, open.end), *other, *both;
	struct hm_loopctx ctx = {.kind = LOOP_LIST, .el = el, .outer = p->loops};
	bool as;

	if (!el || !params(p, &open, LEX_TAG) || !(el->ex = hm_parse_expr(p)))
		return NULL;
	as = take(p, T_AS);
	if ((as && !loop_vars(p, el)) || !tag_end(p, false))
		return NULL;
	ctx.var = el->var;
	ctx.var2 = el->var2;
	p->loops = &ctx;
	p->breakable += as;
	p->continuable += as;
	if (!content(p, el))
		return NULL;
	p->breakable -= as;
	p->continuable -= as;
	p->loops = ctx.outer;
	if (!as && ctx.kind != LOOP_ITEMS) {
		hm_parse_error(p, open.pos, "<#list> needs \"as name\", or an <#items as name> inside");
		return NULL;
	}
	el->bit = !as;
	if (tag_is(p, DIR_LIST, true)) {
		p->pos = p->tag.end;
		place(p, el, open.pos, p->tag.end);
		return el;
	}
	if (!tag_is(p, DIR_ELSE, false)) {
		stray_tag(p, &open, "<#list>");
		return NULL;
	}
	place(p, el, open.pos, p->tag.pos);
	other = element(p, EL_ELSELIST, p->tag.pos, p->tag.end);
	both = element(p, EL_LISTELSE, open.pos, p->tag.end);
	p->pos = p->tag.end;
	if (!other || !both || !content(p, other))
		return NULL;
	if (!tag_is(p, DIR_LIST, true)) {
		stray_tag(p, &open, "<#list>");
		return NULL;
	}
	p->pos = p->tag.end;
	if (other->nchild)
		place(p, other, other->pos, other->child[other->nchild - 1]->end);
	place(p, both, open.pos, p->tag.end);
	place(p, el, open.pos, p->tag.end); /* it counts as reaching to the end tag */
	if (!add_child(p, both, el) || !add_child(p, both, other))
		return NULL;
	return both;
}

static struct hm_loopctx *list_around(struct hm_parser *p)
{
	struct hm_loopctx *l = p->loops;

	while (l && l->kind == LOOP_USER)
		l = l->outer;
	return l;
}

static struct hm_el *parse_items(struct hm_parser *p, struct hm_tag open)
{
	struct hm_el *el = element(p, EL_ITEMS, open.pos, open.end);
	struct hm_loopctx *l = list_around(p);

	if (!el || !params(p, &open, LEX_TAG))
		return NULL;
	if (!take(p, T_AS)) {
		unexpected(p, "\"as\"");
		return NULL;
	}
	if (!loop_vars(p, el) || !tag_end(p, false))
		return NULL;
	if (!l || l->var.p) {
		hm_parse_error(p, open.pos, "<#items> must be inside a <#list xs> that has no \"as name\"");
		return NULL;
	}
	l->kind = LOOP_ITEMS;
	l->var = el->var;
	l->var2 = el->var2;
	p->breakable++;
	p->continuable++;
	if (!content_to_end(p, el, &open))
		return NULL;
	p->breakable--;
	p->continuable--;
	l->var = l->var2 = HM_STR_NULL;
	return el;
}

static struct hm_el *parse_sep(struct hm_parser *p, struct hm_tag open)
{
	struct hm_el *el = element(p, EL_SEP, open.pos, open.end);

	if (!el)
		return NULL;
	if (!list_around(p)) {
		hm_parse_error(p, open.pos, "<#sep> must be inside a <#list>");
		return NULL;
	}
	p->pos = open.end;
	if (!content(p, el))
		return NULL;
	if (tag_is(p, DIR_SEP, true)) {
		p->pos = p->tag.end;
		place(p, el, open.pos, p->tag.end);
		p->has_tag = false;
	} else if (el->nchild) { /* the tag that ended it belongs to whatever is around */
		place(p, el, open.pos, el->child[el->nchild - 1]->end);
	}
	return el;
}

/* -- variables --------------------------------------------------------------------------------------------- */

static bool is_assign_op(enum hm_tok_kind k)
{
	return k == T_EQUALS || k == T_PLUS_EQUALS || k == T_MINUS_EQUALS || k == T_TIMES_EQUALS ||
	       k == T_DIV_EQUALS || k == T_MOD_EQUALS || k == T_PLUS_PLUS || k == T_MINUS_MINUS;
}

/* A name, bare or in quotes */
static bool name_or_string(struct hm_parser *p, struct hm_str *name_r)
{
	struct hm_ex *x;

	if (kind(p) != T_STRING && kind(p) != T_RAW_STRING)
		return name(p, name_r);
	x = hm_parse_string(p, false);
	if (!x)
		return false;
	*name_r = x->str;
	return true;
}

static bool note_local(struct hm_parser *p, struct hm_str n)
{
	struct hm_el *m = p->macro;

	for (uint32_t i = 0; i < m->nlocal; i++)
		if (hm_str_eq(m->local[i], n))
			return true;
	if (!hm_parse_push(p, &m->local, &m->nlocal, &m->caplocal, sizeof(*m->local)))
		return false;
	m->local[m->nlocal - 1] = n;
	return true;
}

/* name op expr, the name being read already */
static struct hm_el *assignment(struct hm_parser *p, struct hm_str n, uint32_t pos, uint8_t scope)
{
	struct hm_el *el = element(p, EL_ASSIGN, pos, cur(p)->end);

	if (!el)
		return NULL;
	el->text = n;
	el->op = (uint8_t)kind(p);
	el->bit = false;
	el->index = 0;
	el->nlocal = scope; /* its scope: see compile.c */
	take(p, kind(p));
	if (el->op != T_PLUS_PLUS && el->op != T_MINUS_MINUS) {
		el->ex = hm_parse_expr(p);
		if (!el->ex)
			return NULL;
		place(p, el, pos, el->ex->end);
	}
	return el;
}

static struct hm_el *block_assignment(struct hm_parser *p, struct hm_tag open, struct hm_str n, uint8_t scope)
{
	struct hm_el *el = element(p, EL_BLOCKASSIGN, open.pos, open.end);

	if (!el || !tag_end(p, false))
		return NULL;
	el->text = n;
	el->nlocal = scope;
	if (!content(p, el))
		return NULL;
	if (!(tag_is(p, DIR_ASSIGN, true) || tag_is(p, DIR_GLOBAL, true) || tag_is(p, DIR_LOCAL, true)) ||
	    (open.dir == DIR_LOCAL) != (p->tag.dir == DIR_LOCAL)) {
		stray_tag(p, &open, dir_name(open.dir));
		return NULL;
	}
	p->pos = p->tag.end;
	place(p, el, open.pos, p->tag.end);
	return el;
}

static struct hm_el *parse_assign(struct hm_parser *p, struct hm_tag open)
{
	uint8_t scope = open.dir == DIR_ASSIGN	 ? SCOPE_NS
			: open.dir == DIR_GLOBAL ? SCOPE_GLOBAL
						 : SCOPE_LOCAL;
	struct hm_el *many = NULL, *one;
	struct hm_str n;
	uint32_t pos;

	if (scope == SCOPE_LOCAL && !p->macro) {
		hm_parse_error(p, open.pos, "<#local> can be used only inside a <#macro>");
		return NULL;
	}
	if (!params(p, &open, LEX_TAG))
		return NULL;
	for (;;) {
		pos = cur(p)->pos;
		if (!name_or_string(p, &n) || (scope == SCOPE_LOCAL && !note_local(p, n)))
			return NULL;
		if (!many && (kind(p) == T_END))
			return block_assignment(p, open, n, scope);
		if (!is_assign_op(kind(p))) {
			unexpected(p, "\"=\"");
			return NULL;
		}
		one = assignment(p, n, pos, scope);
		if (!one)
			return NULL;
		if (kind(p) == T_END || kind(p) == T_EMPTY_END) {
			if (!tag_end(p, true))
				return NULL;
			if (!many) {
				place(p, one, open.pos, (uint32_t)p->pos);
				return one;
			}
			if (!add_child(p, many, one))
				return NULL;
			place(p, many, open.pos, (uint32_t)p->pos);
			return many;
		}
		if (!many)
			many = element(p, EL_ASSIGNS, open.pos, open.end);
		if (!many || !add_child(p, many, one))
			return NULL;
		if (kind(p) == T_IN) {
			hm_parse_error(p, cur(p)->pos, "namespaces are not part of this template language");
			return NULL;
		}
		take(p, T_COMMA);
	}
}

static struct hm_el *parse_setting(struct hm_parser *p, struct hm_tag open)
{
	struct hm_el *el = element(p, EL_SETTING, open.pos, open.end);
	struct hm_str n;
	int id;

	if (!el || !params(p, &open, LEX_TAG) || !name(p, &n))
		return NULL;
	id = hm_tmpl_setting_find(n);
	if (id < 0) {
		hm_parse_error(p, open.pos, "there is no setting \"%.*s\"", HM_STRF(n));
		return NULL;
	}
	el->op = (uint8_t)id;
	if (!take(p, T_EQUALS)) {
		unexpected(p, "\"=\"");
		return NULL;
	}
	if (!(el->ex = hm_parse_expr(p)) || !tag_end(p, true))
		return NULL;
	place(p, el, open.pos, (uint32_t)p->pos);
	return el;
}

/* -- macros ----------------------------------------------------------------------------------------------------- */

static bool macro_params(struct hm_parser *p, struct hm_el *el)
{
	bool defaults = false;
	uint32_t cap = 0;

	take(p, T_OPEN_PAREN);

	while (kind(p) == T_ID) {
		struct hm_str n;
		uint32_t pos = cur(p)->pos;
		bool rest;
		struct hm_ex *def = NULL;

		if (!name(p, &n))
			return false;
		rest = take(p, T_ELLIPSIS);
		if (take(p, T_EQUALS)) {
			def = hm_parse_expr(p);
			if (!def)
				return false;
			defaults = true;
		}
		take(p, T_COMMA);
		if (el->catchall.p || (rest && def)) {
			hm_parse_error(p, pos,
				       "a \"name...\" parameter must be the last one, without a default");
			return false;
		}
		if (rest) {
			el->catchall = n;
			continue;
		}
		if (defaults && !def) {
			hm_parse_error(p, pos,
				       "parameters without a default must stand before those with one");
			return false;
		}
		if (!hm_parse_push(p, &el->param, &el->nparam, &cap, sizeof(*el->param)))
			return false;
		el->param[el->nparam - 1] = (struct hm_param){n, def};
	}
	take(p, T_CLOSE_PAREN); /* either of them may stand alone in FreeMarker */
	return true;
}

static struct hm_el *parse_macro(struct hm_parser *p, struct hm_tag open)
{
	struct hm_el *el = element(p, EL_MACRO, open.pos, open.end);
	struct hm_loopctx *loops = p->loops;
	int breakable = p->breakable, continuable = p->continuable;

	if (!el)
		return NULL;
	if (p->macro) {
		hm_parse_error(p, open.pos, "a <#macro> cannot be defined inside another");
		return NULL;
	}
	p->macro = el;
	if (!params(p, &open, LEX_TAG) || !name_or_string(p, &el->text) || !macro_params(p, el) ||
	    !tag_end(p, false))
		return NULL;
	p->loops = NULL;
	p->breakable = p->continuable = 0;
	if (!content_to_end(p, el, &open))
		return NULL;
	p->loops = loops;
	p->breakable = breakable;
	p->continuable = continuable;
	p->macro = NULL;
	if (!hm_parse_push(p, &p->macros, &p->nmacros, &p->capmacros, sizeof(*p->macros)))
		return NULL;
	p->macros[p->nmacros - 1] = el;
	return el;
}

static bool call_args(struct hm_parser *p, struct hm_el *el)
{
	uint32_t cap = 0, ncap = 0, n = 0, pcap = 0;

	if (kind(p) != T_ID || kind_at(p, 1) != T_EQUALS) {
		if (!hm_parse_positional(p, &el->args, &el->nargs))
			return false;
	} else {
		el->bit = true;
		while (kind(p) == T_ID && kind_at(p, 1) == T_EQUALS) {
			struct hm_str nm;
			struct hm_ex *x;

			if (!name(p, &nm) || !take(p, T_EQUALS) || !(x = hm_parse_expr(p)) ||
			    !hm_parse_push(p, &el->args, &el->nargs, &cap, sizeof(*el->args)) ||
			    !hm_parse_push(p, &el->argname, &n, &ncap, sizeof(*el->argname)))
				return false;
			el->args[el->nargs - 1] = x;
			el->argname[n - 1] = nm;
		}
	}
	if (el->nargs > 200) {
		hm_parse_error(p, el->pos, "a call can have at most 200 arguments");
		return false;
	}
	if (!take(p, T_SEMICOLON))
		return true;
	if (take(p, T_WS) && kind(p) != T_ID)
		return unexpected(p, "a name");
	while (kind(p) == T_ID) {
		if (!hm_parse_push(p, &el->param, &el->nparam, &pcap, sizeof(*el->param)))
			return false;
		el->param[el->nparam - 1] = (struct hm_param){0};
		if (!name(p, &el->param[el->nparam - 1].name))
			return false;
		take(p, T_WS);
		if (!take(p, T_COMMA))
			break;
		take(p, T_WS);
		if (kind(p) != T_ID)
			return unexpected(p, "a name");
	}
	return true;
}

static bool only_names(const struct hm_ex *x)
{
	while (x->kind == EX_DOT)
		x = x->a;
	return x->kind == EX_ID;
}

static struct hm_el *parse_call(struct hm_parser *p, struct hm_tag open)
{
	struct hm_el *el = element(p, EL_CALL, open.pos, open.end);
	struct hm_loopctx *loops = p->loops, *ctx;
	struct hm_str callee;

	if (!el || !params(p, &open, LEX_CALL) || !(el->ex = hm_parse_expr(p)))
		return NULL;
	take(p, T_WS);
	if (!call_args(p, el))
		return NULL;
	if (kind(p) == T_EMPTY_END) {
		if (!tag_end(p, true))
			return NULL;
		place(p, el, open.pos, (uint32_t)p->pos);
		return el;
	}
	if (!tag_end(p, false))
		return NULL;
	for (uint32_t i = 0; i < el->nparam; i++) {
		ctx = hm_parse_alloc(p, sizeof(*ctx));
		if (!ctx)
			return NULL;
		*ctx = (struct hm_loopctx){.kind = LOOP_USER, .var = el->param[i].name, .outer = p->loops};
		p->loops = ctx;
	}
	if (!content(p, el))
		return NULL;
	p->loops = loops;
	if (!p->has_tag || p->tag.kind != TAG_CALL_END) {
		stray_tag(p, &open, "<@...>");
		return NULL;
	}
	callee = hm_str_n(p->src->text.p + el->ex->pos, el->ex->end - el->ex->pos);
	if (p->tag.name.len && !(only_names(el->ex) && hm_str_eq(p->tag.name, callee))) {
		hm_parse_error(p, p->tag.pos, "</@%.*s> does not close <@%.*s>", HM_STRF(p->tag.name),
			       HM_STRF(callee));
		return NULL;
	}
	p->pos = p->tag.end;
	place(p, el, open.pos, p->tag.end);
	el->unparsed = true; /* it has a body, be it empty */
	return el;
}

static struct hm_el *parse_nested(struct hm_parser *p, struct hm_tag open)
{
	struct hm_el *el = element(p, EL_NESTED, open.pos, open.end);

	if (!el)
		return NULL;
	if (!p->macro) {
		hm_parse_error(p, open.pos, "<#nested> can be used only inside a <#macro>");
		return NULL;
	}
	p->pos = open.end;
	if (!open.complete) {
		if (!params(p, &open, LEX_TAG) || !hm_parse_positional(p, &el->args, &el->nargs) ||
		    !tag_end(p, true))
			return NULL;
		if (el->nargs > 200) {
			hm_parse_error(p, open.pos, "<#nested> can have at most 200 arguments");
			return NULL;
		}
	}
	place(p, el, open.pos, (uint32_t)p->pos);
	return el;
}

static struct hm_el *parse_return(struct hm_parser *p, struct hm_tag open)
{
	struct hm_el *el = element(p, EL_RETURN, open.pos, open.end);

	if (!el)
		return NULL;
	if (!p->macro || !open.complete) {
		hm_parse_error(p, open.pos,
			       p->macro ? "a macro cannot return a value"
					: "<#return> can be used only inside a <#macro>");
		return NULL;
	}
	p->pos = open.end;
	return el;
}

/* -- fragments, stop, output formats ------------------------------------------------------------------------------- */

static struct hm_el *parse_include(struct hm_parser *p, struct hm_tag open)
{
	struct hm_el *el = element(p, EL_INCLUDE, open.pos, open.end);
	struct hm_str n;

	if (!el || !params(p, &open, LEX_TAG) || !(el->ex = hm_parse_expr(p)))
		return NULL;
	take(p, T_SEMICOLON);
	while (kind(p) == T_ID) {
		uint32_t pos = cur(p)->pos;

		if (!name(p, &n))
			return NULL;
		if (!hm_str_is(n, "ignore_missing")) {
			hm_parse_error(p, pos, "<#include> has no parameter \"%.*s\"", HM_STRF(n));
			return NULL;
		}
		if (!take(p, T_EQUALS)) {
			unexpected(p, "\"=\"");
			return NULL;
		}
		el->ex2 = hm_parse_expr(p);
		if (!el->ex2)
			return NULL;
	}
	if (!tag_end(p, true))
		return NULL;
	place(p, el, open.pos, (uint32_t)p->pos);
	return el;
}

static struct hm_el *parse_stop(struct hm_parser *p, struct hm_tag open)
{
	struct hm_el *el = element(p, EL_STOP, open.pos, open.end);

	if (!el)
		return NULL;
	p->pos = open.end;
	if (!open.complete &&
	    (!params(p, &open, LEX_TAG) || !(el->ex = hm_parse_expr(p)) || !tag_end(p, true)))
		return NULL;
	place(p, el, open.pos, (uint32_t)p->pos);
	return el;
}

static struct hm_el *parse_escape(struct hm_parser *p, struct hm_tag open)
{
	struct hm_el *el = element(p, EL_ESCAPE, open.pos, open.end);
	struct hm_escape *esc = hm_parse_alloc(p, sizeof(*esc));

	if (!el || !esc)
		return NULL;
	if (p->autoesc && hm_fmt_is_markup(p->fmt)) {
		hm_parse_error(p, open.pos,
			       "<#escape> would escape twice: the output is escaped automatically here");
		return NULL;
	}
	if (!params(p, &open, LEX_TAG) || !name(p, &esc->name))
		return NULL;
	if (!take(p, T_AS)) {
		unexpected(p, "\"as\"");
		return NULL;
	}
	if (!(esc->ex = hm_parse_expr(p)) || !tag_end(p, false))
		return NULL;
	esc->outer = p->esc;
	p->esc = esc;
	if (!content_to_end(p, el, &open))
		return NULL;
	p->esc = esc->outer;
	return el;
}

static struct hm_el *parse_noescape(struct hm_parser *p, struct hm_tag open)
{
	struct hm_el *el = element(p, EL_NOESCAPE, open.pos, open.end);
	struct hm_escape *esc = p->esc;

	if (!el)
		return NULL;
	if (!esc) {
		hm_parse_error(p, open.pos, "<#noescape> can be used only inside an <#escape>");
		return NULL;
	}
	p->esc = esc->outer;
	p->pos = open.end;
	if (!content_to_end(p, el, &open))
		return NULL;
	p->esc = esc;
	return el;
}

static struct hm_el *parse_outputformat(struct hm_parser *p, struct hm_tag open)
{
	struct hm_el *el = element(p, EL_OUTPUTFORMAT, open.pos, open.end);
	enum hm_fmt fmt = p->fmt;
	bool autoesc = p->autoesc;
	int id = -1;

	if (!el || !params(p, &open, LEX_TAG) || !(el->ex = hm_parse_expr(p)) || !tag_end(p, false))
		return NULL;
	if (el->ex->kind == EX_STR)
		id = hm_fmt_find(el->ex->str);
	if (id < 0) {
		hm_parse_error(p, open.pos,
			       "<#outputformat> needs the name of a format in quotes, such as 'HTML'");
		return NULL;
	}
	p->fmt = (enum hm_fmt)id;
	p->autoesc = !p->noauto && hm_fmt_is_markup((unsigned)id);
	if (!content_to_end(p, el, &open))
		return NULL;
	p->fmt = fmt;
	p->autoesc = autoesc;
	return el;
}

static struct hm_el *parse_autoesc(struct hm_parser *p, struct hm_tag open)
{
	bool on = open.dir == DIR_AUTOESC, autoesc = p->autoesc, noauto = p->noauto;
	struct hm_el *el = element(p, on ? EL_AUTOESC : EL_NOAUTOESC, open.pos, open.end);

	if (!el)
		return NULL;
	if (on && !hm_fmt_is_markup(p->fmt)) {
		hm_parse_error(p, open.pos, "<#autoesc> needs a markup output format (html or xml)");
		return NULL;
	}
	p->autoesc = on;
	p->noauto = !on;
	p->pos = open.end;
	if (!content_to_end(p, el, &open))
		return NULL;
	p->autoesc = autoesc;
	p->noauto = noauto;
	return el;
}

static struct hm_el *parse_block(struct hm_parser *p, struct hm_tag open, enum hm_el_kind k)
{
	struct hm_el *el = element(p, k, open.pos, open.end);

	p->pos = open.end;
	return el && content_to_end(p, el, &open) ? el : NULL;
}

/* Several elements in place of one: FreeMarker's MixedContent; none: an empty text without a place. */
static struct hm_el *single(struct hm_parser *p, struct hm_el *mixed)
{
	if (mixed->nchild == 1) {
		mixed->child[0]->parent = NULL;
		return mixed->child[0];
	}
	if (mixed->nchild == 0) {
		mixed->kind = EL_TEXT;
		mixed->line = mixed->end_line = 0;
		mixed->begins_line = false;
	}
	return mixed;
}

static struct hm_el *parse_attempt(struct hm_parser *p, struct hm_tag open)
{
	struct hm_el *el = element(p, EL_ATTEMPT, open.pos, open.end);
	struct hm_el *tried = element(p, EL_MIXED, open.pos, open.end), *rec;

	p->pos = open.end;
	if (!el || !tried || !content(p, tried))
		return NULL;
	if (tried->nchild)
		place(p, tried, tried->child[0]->pos, tried->child[tried->nchild - 1]->end);
	if (!tag_is(p, DIR_RECOVER, false)) {
		stray_tag(p, &open, "<#attempt>");
		return NULL;
	}
	rec = element(p, EL_RECOVER, p->tag.pos, p->tag.end);
	p->pos = p->tag.end;
	if (!rec || !content(p, rec))
		return NULL;
	if (!tag_is(p, DIR_ATTEMPT, true) && !tag_is(p, DIR_RECOVER, true)) {
		stray_tag(p, &open, "<#attempt>");
		return NULL;
	}
	if (rec->nchild)
		place(p, rec, rec->pos, rec->child[rec->nchild - 1]->end);
	place(p, el, open.pos, p->tag.end);
	p->pos = p->tag.end;
	if (!add_child(p, el, single(p, tried)) || !add_child(p, el, rec))
		return NULL;
	return el;
}

/* ("<" or "[") "/" ["#"] "noparse" blanks (">" or "]") ends it, as in FreeMarker */
static struct hm_el *parse_noparse(struct hm_parser *p, struct hm_tag open)
{
	struct hm_str t = p->src->text;
	struct hm_el *el;

	for (size_t i = open.end; i + 9 < t.len; i++) {
		size_t j = i + 2;

		if ((t.p[i] != '<' && t.p[i] != '[') || t.p[i + 1] != '/')
			continue;
		if (t.p[j] == '#')
			j++;
		if (t.len - j < 8 || memcmp(t.p + j, "noparse", 7) != 0)
			continue;
		for (j += 7; j < t.len && hm_lex_is_blank(t.p[j]); j++)
			;
		if (j >= t.len || (t.p[j] != '>' && t.p[j] != ']'))
			continue;
		el = element(p, EL_TEXT, open.pos, (uint32_t)j + 1);
		if (!el)
			return NULL;
		el->text = hm_str_n(t.p + open.end, i - open.end);
		el->unparsed = true;
		p->pos = j + 1;
		return el;
	}
	hm_parse_error(p, open.pos, "<#noparse> is opened here and never closed");
	return NULL;
}

static struct hm_el *parse_simple(struct hm_parser *p, struct hm_tag t)
{
	struct hm_el *el;
	enum hm_el_kind k = EL_FLUSH;
	uint8_t op = 0;

	switch (t.dir) {
	case DIR_T:
		k = EL_TRIM;
		op = TRIM_LEFT | TRIM_RIGHT;
		break;
	case DIR_LT:
		k = EL_TRIM;
		op = TRIM_LEFT;
		break;
	case DIR_RT:
		k = EL_TRIM;
		op = TRIM_RIGHT;
		break;
	case DIR_NT: k = EL_TRIM; break;
	case DIR_BREAK:
		k = EL_BREAK;
		if (p->breakable < 1) {
			hm_parse_error(p, t.pos, "<#break> can be used only inside a <#list> or <#switch>");
			return NULL;
		}
		break;
	case DIR_CONTINUE:
		k = EL_CONTINUE;
		if (p->continuable < 1) {
			hm_parse_error(p, t.pos, "<#continue> can be used only inside a <#list>");
			return NULL;
		}
		break;
	default: break;
	}
	p->pos = t.end;
	el = element(p, k, t.pos, t.end);
	if (el)
		el->op = op;
	return el;
}

static struct hm_el *directive(struct hm_parser *p, struct hm_tag t)
{
	switch (t.dir) {
	case DIR_IF: return parse_if(p, t);
	case DIR_LIST: return parse_list(p, t);
	case DIR_ITEMS: return parse_items(p, t);
	case DIR_SEP: return parse_sep(p, t);
	case DIR_SWITCH: return parse_switch(p, t);
	case DIR_ASSIGN:
	case DIR_GLOBAL:
	case DIR_LOCAL: return parse_assign(p, t);
	case DIR_MACRO: return parse_macro(p, t);
	case DIR_NESTED: return parse_nested(p, t);
	case DIR_RETURN: return parse_return(p, t);
	case DIR_INCLUDE: return parse_include(p, t);
	case DIR_STOP: return parse_stop(p, t);
	case DIR_SETTING: return parse_setting(p, t);
	case DIR_ESCAPE: return parse_escape(p, t);
	case DIR_NOESCAPE: return parse_noescape(p, t);
	case DIR_OUTPUTFORMAT: return parse_outputformat(p, t);
	case DIR_AUTOESC:
	case DIR_NOAUTOESC: return parse_autoesc(p, t);
	case DIR_COMPRESS: return parse_block(p, t, EL_COMPRESS);
	case DIR_NOPARSE: return parse_noparse(p, t);
	case DIR_ATTEMPT: return parse_attempt(p, t);
	default: return parse_simple(p, t);
	}
}

/* -- content --------------------------------------------------------------------------------------------------------- */

static struct hm_el *interpolation(struct hm_parser *p, struct hm_tag t)
{
	struct hm_el *el = element(p, EL_INTERP, t.pos, t.end);

	if (!el)
		return NULL;
	el->esc = p->esc;
	if (t.kind == TAG_BRACE) {
		el->ex = hm_parse_path(p, t.pos + 1, t.end - 1);
		p->pos = t.end;
		return el->ex ? el : NULL;
	}
	if (!params(p, &t, LEX_INTERP) || !(el->ex = hm_parse_expr(p)))
		return NULL;
	if (el->ex->kind == EX_LIST || el->ex->kind == EX_HASH) {
		hm_parse_error(p, t.pos, "a sequence or hash cannot be printed");
		return NULL;
	}
	if (kind(p) != T_END) {
		unexpected(p, "}");
		return NULL;
	}
	p->pos = cur(p)->end;
	place(p, el, t.pos, (uint32_t)p->pos);
	return el;
}

static bool ends_content(const struct hm_tag *t)
{
	if (t->kind == TAG_CALL_END)
		return true;
	if (t->kind != TAG_DIR)
		return false;
	return t->closing || t->dir == DIR_ELSE || t->dir == DIR_ELSEIF || t->dir == DIR_CASE ||
	       t->dir == DIR_DEFAULT || t->dir == DIR_RECOVER;
}

static bool text_run(struct hm_parser *p, struct hm_el *el, size_t from, size_t to)
{
	struct hm_el *text;

	if (from == to)
		return true;
	text = element(p, EL_TEXT, (uint32_t)from, (uint32_t)to);
	if (!text)
		return false;
	text->text = hm_str_n(p->src->text.p + from, to - from);
	return add_child(p, el, text);
}

/* The next tag at or after p->pos; TAG_NONE at the end of the text. *at: where it begins. */
static bool find_tag(struct hm_parser *p, struct hm_tag *t, size_t *at)
{
	struct hm_str text = p->src->text;
	size_t i;

	for (i = p->pos; i < text.len; i++) {
		char c = text.p[i];

		if (c != '<' && c != '$' && c != '{')
			continue;
		if (hm_lex_tag(p->src, i, p->single_brace, t, p->e))
			return false;
		if (t->kind != TAG_NONE) {
			*at = i;
			return true;
		}
	}
	*t = (struct hm_tag){.kind = TAG_NONE};
	*at = text.len;
	return true;
}

static bool content(struct hm_parser *p, struct hm_el *el)
{
	if (++p->depth > HM_PARSE_DEPTH) {
		hm_parse_error(p, (uint32_t)hm_min(p->pos, p->src->text.len),
			       "directives are nested too deeply");
		return false;
	}
	p->has_tag = false;
	for (;;) {
		struct hm_tag t;
		struct hm_el *child;
		size_t at;

		if (!find_tag(p, &t, &at) || !text_run(p, el, p->pos, at))
			return false;
		p->pos = at;
		if (t.kind == TAG_NONE)
			break;
		if (ends_content(&t)) {
			p->tag = t;
			p->has_tag = true;
			break;
		}
		if (t.kind == TAG_COMMENT) {
			child = element(p, EL_COMMENT, t.pos, t.end);
			p->pos = t.end;
		} else if (t.kind == TAG_DIR) {
			child = directive(p, t);
		} else if (t.kind == TAG_CALL) {
			child = parse_call(p, t);
		} else {
			child = interpolation(p, t);
		}
		if (!child || !add_child(p, el, child))
			return false;
		if (child->kind == EL_SEP && p->has_tag)
			break; /* the tag that ended an open <#sep> ends this content, too */
		p->has_tag = false;
	}
	p->depth--;
	return true;
}

struct hm_el *hm_parse(struct hm_parser *p)
{
	struct hm_el *root = element(p, EL_MIXED, 0, (uint32_t)p->src->text.len);

	if (!root || !content(p, root))
		return NULL;
	if (p->has_tag) {
		struct hm_str s = hm_str_n(p->src->text.p + p->tag.pos, p->tag.end - p->tag.pos);

		hm_parse_error(p, p->tag.pos, "%.*s has nothing to close or continue here",
			       HM_STRF(hm_str_n(s.p, hm_utf8_cut(s, 40))));
		return NULL;
	}
	return single(p, root);
}
