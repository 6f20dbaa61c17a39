/*
 * compile_expr.c - expressions to instructions
 *
 * Every expression leaves one value on the stack, a missing one included: who cannot
 * use a missing value says so. What may be missing on purpose (x!, x??, x?has_content)
 * is compiled by hm_compile_guarded: a parenthesised path by instructions that pass
 * missing steps on, anything else in parentheses between OP_GUARD and OP_UNGUARD.
 */
#include "tmpl/compile.h"

static void expr(struct hm_compiler *c, const struct hm_ex *x, bool soft);

/* -- names ---------------------------------------------------------------------------- */

/* The locals of this name, innermost first. final: the search ends with the last of them. */
static uint32_t find_locals(struct hm_compiler *c, struct hm_str name, struct hm_ref **refs_r, bool *final)
{
	uint32_t n = 0, cap = 0;
	struct hm_ref *r;

	*refs_r = NULL;
	*final = false;
	for (const struct hm_cscope *s = c->scope; s && !*final; s = s->outer) {
		struct hm_ref found = {.name = name};
		bool hit = false;

		if (s->kind == CS_LOCALS) {
			for (uint32_t i = 0; i < s->nlocals && !hit; i++) {
				hit = hm_str_eq(s->locals[i], name);
				found.idx = i;
				found.local = true;
			}
		} else if (s->var.p && hm_str_eq(s->var, name)) {
			hit = true;
			found.idx = s->slot;
			*final = s->kind == CS_VAR && s->final;
		} else if (s->var2.p && hm_str_eq(s->var2, name)) {
			hit = true;
			found.idx = s->slot2;
		} else if (s->kind == CS_LOOP && s->var.p && hm_str_starts(name, s->var)) {
			struct hm_str rest = hm_str_n(name.p + s->var.len, name.len - s->var.len);

			hit = hm_str_is(rest, "_index") || hm_str_is(rest, "_has_next");
			found.kind = hm_str_is(rest, "_index") ? REF_INDEX : REF_HAS_NEXT;
			found.idx = s->loop;
			*final = hit;
		}
		if (!hit)
			continue;
		r = hm_code_push(c, refs_r, &n, &cap, sizeof(*r));
		if (!r)
			return 0;
		*r = found;
		if (found.kind == REF_SLOT && *final)
			break;
	}
	return n;
}

/* + 1 of a new entry, 0 after a failure */
static uint32_t nameref(struct hm_compiler *c, struct hm_str name, const struct hm_ref *refs, uint32_t n,
			bool no_global)
{
	struct hm_nameref *nr;
	uint32_t id = hm_name(c, name);

	for (uint32_t i = 0; i < c->t->nnamerefs; i++) { /* the same list was often made just before */
		nr = &c->t->nameref[i];
		if (nr->n == n && nr->name == id && nr->no_global == no_global && n &&
		    nr->ref[0].idx == refs[0].idx && nr->ref[0].kind == refs[0].kind && n == 1)
			return i + 1;
	}
	nr = hm_code_push(c, &c->t->nameref, &c->t->nnamerefs, &c->cap_namerefs, sizeof(*nr));
	if (!nr)
		return 0;
	*nr = (struct hm_nameref){.n = n, .no_global = no_global, .ref = refs, .name = id};
	if (c->t->nnamerefs > 60000)
		hm_code_fail(c, HM_ELIMIT, c->span.pos, "the template has too many variables");
	return c->t->nnamerefs;
}

static void load_name(struct hm_compiler *c, struct hm_str name)
{
	struct hm_ref *refs;
	bool final;
	uint32_t n = find_locals(c, name, &refs, &final);

	if (n == 0) {
		hm_emit(c, OP_LOADG, 0, 0, hm_name(c, name));
		return;
	}
	if (refs[0].kind != REF_SLOT) {
		hm_emit(c, OP_LOOPVAR,
			(refs[0].kind == REF_INDEX ? BI_ID_index : BI_ID_has_next) - BI_ID_index, 0,
			refs[0].idx);
		return;
	}
	if (n == 1 && final)
		hm_emit(c, OP_LOADL, 0, 0, refs[0].idx);
	else
		hm_emit(c, OP_LOADL, 0, nameref(c, name, refs, n, final), refs[0].idx);
}

void hm_compile_local(struct hm_compiler *c, struct hm_str name)
{
	struct hm_ref *refs;
	bool final;
	uint32_t n = find_locals(c, name, &refs, &final);

	if (n == 0) /* not possible inside a macro that has a <#local> of this name */
		hm_emit(c, OP_NULL, 0, 0, 0);
	else if (refs[0].kind != REF_SLOT)
		load_name(c, name);
	else
		hm_emit(c, OP_LOADL, 0, nameref(c, name, refs, n, true), refs[0].idx);
}

static const struct hm_subst *subst_of(const struct hm_compiler *c, const struct hm_ex *x)
{
	const struct hm_subst *s = c->env;

	return x->kind == EX_ID && s && hm_str_eq(s->name, x->str) ? s : NULL;
}

/* -- paths ------------------------------------------------------------------------------- */

/* name.key.key as one instruction; false when x is something else. */
static bool path(struct hm_compiler *c, const struct hm_ex *x, bool soft, struct hm_path *p)
{
	const struct hm_ex *r;
	struct hm_ref *refs;
	struct hm_str *keys;
	bool final;
	uint32_t n = 0, i;

	if (x->kind != EX_DOT)
		return false;
	for (r = x; r->kind == EX_DOT; r = r->a)
		n++;
	if (r->kind != EX_ID || subst_of(c, r) || n > 32)
		return false;
	*p = (struct hm_path){.soft = soft, .nkeys = n};
	i = find_locals(c, r->str, &refs, &final);
	if (i > 0) {
		if (refs[0].kind != REF_SLOT)
			return false;
		p->local = true;
		p->root = refs[0].idx;
		p->nameref = (uint16_t)(i == 1 && final ? 0 : nameref(c, r->str, refs, i, final));
	} else {
		p->root = hm_name(c, r->str);
	}
	keys = hm_arena_alloc(&c->t->mem, n * sizeof(*keys));
	if (!keys) {
		hm_code_fail(c, HM_ENOMEM, 0, "out of memory while compiling the template");
		return false;
	}
	p->key = keys;
	for (r = x, i = n; i > 0; r = r->a)
		keys[--i] = hm_arena_str(&c->t->mem, r->str);
	return true;
}

static uint32_t add_path(struct hm_compiler *c, const struct hm_path *p)
{
	struct hm_path *q = hm_code_push(c, &c->t->path, &c->t->npaths, &c->cap_paths, sizeof(*q));

	if (!q)
		return 0;
	*q = *p;
	return c->t->npaths - 1;
}

/* -- missing on purpose ----------------------------------------------------------------------- */

/* Only names, .x and [x] of such: can be compiled so that a missing step passes on. */
static bool soft_path(const struct hm_compiler *c, const struct hm_ex *x)
{
	switch (x->kind) {
	case EX_ID: return !subst_of(c, x);
	case EX_STR:
	case EX_NUM: return true;
	case EX_PAREN:
	case EX_DOT: return soft_path(c, x->a);
	case EX_KEY: return soft_path(c, x->a) && soft_path(c, x->b);
	default: return false;
	}
}

void hm_compile_guarded(struct hm_compiler *c, const struct hm_ex *x)
{
	const struct hm_subst *env = c->env, *s = subst_of(c, x);
	bool guarded = c->guarded;
	uint32_t pc;

	if (s) {
		c->env = s->env;
		hm_compile_guarded(c, s->ex);
		c->env = env;
		return;
	}
	c->guarded = true;
	if (x->kind != EX_PAREN) {
		expr(c, x, false);
	} else if (soft_path(c, x)) {
		expr(c, x->a, true);
	} else {
		pc = hm_emit(c, OP_GUARD, 0, 0, 0);
		expr(c, x->a, false);
		hm_emit(c, OP_UNGUARD, 0, 0, 0);
		hm_patch(c, pc);
	}
	c->guarded = guarded;
}

/* -- literals ------------------------------------------------------------------------------------ */

static void number(struct hm_compiler *c, struct hm_dec d)
{
	struct hm_dec *copy;

	if (d.scale == 0 && d.coef >= 0 && d.coef <= INT32_MAX) {
		hm_emit(c, OP_INT, 0, 0, (uint32_t)d.coef);
		return;
	}
	if (d.scale == 0 && d.coef <= INT64_MAX && d.coef >= INT64_MIN) {
		hm_emit(c, OP_CONST, 0, 0, hm_const(c, hm_vint((int64_t)d.coef)));
		return;
	}
	copy = hm_arena_alloc(&c->t->mem, sizeof(*copy));
	if (!copy) {
		hm_code_fail(c, HM_ENOMEM, 0, "out of memory while compiling the template");
		return;
	}
	*copy = d;
	hm_emit(c, OP_CONST, 0, 0, hm_const(c, (struct hm_val){.kind = V_DEC, .u.dec = copy}));
}

static void args(struct hm_compiler *c, const struct hm_ex *x)
{
	for (uint32_t i = 0; i < x->nargs; i++)
		expr(c, x->args[i], false);
}

/* -- x?map(y -> ...) and its kin: one loop for a whole chain of them ---------------------------------- */

static bool is_stage(const struct hm_ex *x)
{
	return x->kind == EX_BI && (hm_bi_def[x->bi].flags & BI_LAMBDA) && x->args[0]->kind == EX_LAMBDA;
}

static const struct hm_ex *bare(const struct hm_ex *x)
{
	while (x->kind == EX_PAREN)
		x = x->a;
	return x;
}

const struct hm_ex *hm_compile_maps(const struct hm_ex *x)
{
	const struct hm_ex *s = x = bare(x);

	if (!is_stage(x))
		return NULL;
	for (; is_stage(s); s = s->a)
		if (s->bi != BI_ID_map)
			return NULL;
	return x;
}

void hm_compile_map_source(struct hm_compiler *c, const struct hm_ex *x)
{
	while (is_stage(x))
		x = x->a;
	expr(c, x, false);
	hm_emit(c, OP_NEEDV, 1, WANT_SEQ, 0);
}

static void note(struct hm_compiler *c, struct hm_plist *l, uint32_t pc)
{
	uint32_t *p = hm_code_push(c, &l->pc, &l->n, &l->cap, sizeof(*p));

	if (p)
		*p = pc;
}

static void stage(struct hm_compiler *c, const struct hm_ex *x, uint32_t *cur, uint32_t flag, uint32_t next,
		  struct hm_plist *end)
{
	const struct hm_ex *l = x->args[0];
	struct hm_cscope sc = {.kind = CS_VAR, .outer = c->scope, .var = l->str, .slot = *cur, .final = true};
	struct hm_plist on = {0};
	struct hm_span span = c->span;

	c->span = (struct hm_span){x->pos, x->end};
	if (x->bi == BI_ID_drop_while) {
		note(c, &on, hm_emit(c, OP_JSET, 0, flag, 0));
		c->scope = &sc;
		expr(c, l->a, false);
		hm_emit(c, OP_NEEDV, 0, 0, 0);
		c->scope = sc.outer;
		hm_emit(c, OP_JT, 0, 0, next);
		hm_emit(c, OP_TRUE, 0, 0, 0);
		hm_emit(c, OP_SETL, 0, 0, flag);
		hm_patch_list(c, &on);
		c->span = span;
		return;
	}
	c->scope = &sc;
	expr(c, l->a, false);
	hm_emit(c, OP_NEEDV, 0, 0, 0);
	c->scope = sc.outer;
	switch (x->bi) {
	case BI_ID_filter: hm_emit(c, OP_JF, 0, 0, next); break;
	case BI_ID_take_while: note(c, end, hm_emit(c, OP_JF, 0, 0, 0)); break;
	default: /* map */
		*cur = hm_slot(c);
		hm_emit(c, OP_SETL, 0, 0, *cur);
		break;
	}
	c->span = span;
}

static void mapped(struct hm_compiler *c, const struct hm_ex *x, uint32_t *cur)
{
	if (!is_stage(x))
		return;
	mapped(c, x->a, cur);
	stage(c, x, cur, 0, 0, NULL);
}

void hm_compile_mapped(struct hm_compiler *c, const struct hm_ex *x, uint32_t slot)
{
	uint32_t cur = slot;

	mapped(c, x, &cur);
	hm_emit(c, OP_LOADL, 0, 0, cur);
	hm_emit(c, OP_SETL, 0, 0, slot);
}

#define EVERY (-1)

/* nth: only that item is wanted, and the loop ends there; or EVERY */
static void chain(struct hm_compiler *c, const struct hm_ex *x, int32_t nth)
{
	const struct hm_ex *st[64], *src = x;
	struct hm_loop_info info = {0};
	struct hm_plist end = {0};
	uint32_t n = 0, i, loop, next, done, cur, flags, left = 0, slots = c->slots, loops = c->loops;

	while (is_stage(src) && n < hm_countof(st)) {
		st[n++] = src;
		src = src->a;
	}
	if (nth == EVERY)
		hm_emit(c, OP_MKSEQ, 0, 0, 0);
	expr(c, src, false);
	if (nth > 0) { /* items to pass over */
		left = hm_slot(c);
		hm_emit(c, OP_INT, 0, 0, (uint32_t)nth);
		hm_emit(c, OP_SETL, 0, 0, left);
	}
	info.slot = hm_slot(c);
	cur = info.slot;
	flags = c->slots;
	for (i = 0; i < n; i++)
		if (st[i]->bi == BI_ID_drop_while)
			hm_emit(c, OP_CLEARL, 0, 0, hm_slot(c));
	loop = hm_loop(c, info);
	hm_emit(c, OP_ITER, 0, 0, loop);
	next = hm_emit(c, OP_NEXT, 0, loop, 0);
	note(c, &end, next);
	for (i = n; i > 0; i--) {
		stage(c, st[i - 1], &cur, flags, next, &end);
		if (st[i - 1]->bi == BI_ID_drop_while)
			flags++;
	}
	if (nth > 0) {
		hm_emit(c, OP_LOADL, 0, 0, left);
		hm_emit(c, OP_INT, 0, 0, 0);
		done = hm_emit(c, OP_JCMP, CMP_EQ, 1, 0);
		hm_emit(c, OP_LOADL, 0, 0, left);
		hm_emit(c, OP_INT, 0, 0, 1);
		hm_emit(c, OP_SUB, 0, 0, 0);
		hm_emit(c, OP_SETL, 0, 0, left);
		hm_emit(c, OP_JMP, 0, 0, next);
		hm_patch(c, done);
	}
	hm_emit(c, OP_LOADL, 0, 0, cur);
	if (nth != EVERY) {
		hm_emit(c, OP_ENDITER, 0, 0, loop);
		done = hm_emit(c, OP_JMP, 0, 0, 0);
		hm_patch_list(c, &end);
		hm_emit(c, OP_NULL, 0, 0, 0);
		hm_patch(c, done);
	} else {
		hm_emit(c, OP_APPEND, 0, 0, 0);
		hm_emit(c, OP_JMP, 0, 0, next);
		hm_patch_list(c, &end);
		hm_emit(c, OP_ENDITER, 0, 0, loop);
	}
	c->slots = slots;
	c->loops = loops;
}

/* -- built-ins -------------------------------------------------------------------------------------------- */

/* One of the values to choose from: it must not be missing, which literals never are. */
static void chosen(struct hm_compiler *c, const struct hm_ex *x)
{
	expr(c, x, false);
	if (x->kind != EX_STR && x->kind != EX_STRI && x->kind != EX_NUM)
		hm_emit(c, OP_NEEDV, 1, 0, 0);
}

static void then(struct hm_compiler *c, const struct hm_ex *x)
{
	struct hm_plist no = {0};
	uint32_t end;

	hm_compile_cond(c, x->a, &no, false);
	chosen(c, x->args[0]);
	end = hm_emit(c, OP_JMP, 0, 0, 0);
	hm_patch_list(c, &no);
	chosen(c, x->args[1]);
	hm_patch(c, end);
}

static void switch_(struct hm_compiler *c, const struct hm_ex *x)
{
	struct hm_plist ends = {0};
	uint32_t slots = c->slots, slot = hm_slot(c), i, no;

	expr(c, x->a, false);
	hm_emit(c, OP_SETL, 0, 0, slot);
	for (i = 0; i + 1 < x->nargs; i += 2) {
		hm_emit(c, OP_LOADL, 0, 0, slot);
		expr(c, x->args[i], false);
		no = hm_emit(c, OP_JCMP, CMP_EQ, 0, 0);
		chosen(c, x->args[i + 1]);
		note(c, &ends, hm_emit(c, OP_JMP, 0, 0, 0));
		hm_patch(c, no);
	}
	if (i < x->nargs)
		chosen(c, x->args[i]);
	else
		hm_emit(c, OP_FAIL, 0, 0,
			hm_const_str(c, HM_STR("?switch has no case for the value, and no default")));
	hm_patch_list(c, &ends);
	c->slots = slots;
}

/* What a built-in with parentheses wants on its left, where that is one kind of value */
static unsigned target_of(enum hm_bi bi)
{
	if (bi <= BI_ID_chop_linebreak || bi == BI_ID_url || bi == BI_ID_url_path)
		return WANT_TEXT;
	if (bi >= BI_ID_size && bi <= BI_ID_chunk)
		return WANT_SEQ;
	return bi >= BI_ID_iso && bi <= BI_ID_iso_h_nz ? WANT_DATE : WANT_ANY;
}

/* Literals and names: if they fail then by being missing, and whoever uses them says so. */
bool hm_compile_is_plain(const struct hm_ex *x)
{
	switch (x->kind) {
	case EX_STR:
	case EX_NUM:
	case EX_BOOL:
	case EX_ID: return true;
	case EX_PAREN: return hm_compile_is_plain(x->a);
	case EX_RANGE: return hm_compile_is_plain(x->a) && (!x->b || hm_compile_is_plain(x->b));
	default: return false;
	}
}

/* The left side of a built-in with arguments is looked at before they are worked out. */
static void check_target(struct hm_compiler *c, const struct hm_ex *x)
{
	uint32_t i = 0;

	while (i < x->nargs && hm_compile_is_plain(x->args[i]))
		i++;
	if (i < x->nargs)
		hm_emit(c, OP_NEEDV, 1, target_of(x->bi), 0);
}

static void built_in(struct hm_compiler *c, const struct hm_ex *x)
{
	const struct hm_bi_def *d = &hm_bi_def[x->bi];

	if (x->bi == BI_ID_then) {
		then(c, x);
		return;
	}
	if (x->bi == BI_ID_switch) {
		switch_(c, x);
		return;
	}
	if (is_stage(x)) {
		chain(c, x, EVERY);
		return;
	}
	if (d->flags & BI_LAMBDA) { /* the argument is no x -> ..., and there are no functions */
		expr(c, x->a, false);
		hm_emit(c, OP_NEEDV, 1, WANT_SEQ, 0);
		hm_emit(c, OP_POP, 0, 0, 0);
		expr(c, x->args[0], false);
		hm_emit(c, OP_CALLFN, 0, 0, 0);
		return;
	}
	if (x->bi == BI_ID_first && is_stage(bare(x->a))) {
		chain(c, bare(x->a), 0);
		return;
	}
	if (x->bi == BI_ID_size && hm_compile_maps(x->a)) {
		hm_compile_map_source(c, hm_compile_maps(x->a));
		hm_emit(c, OP_BI, 0, 0, x->bi);
		return;
	}
	if (d->flags & BI_NULL)
		hm_compile_guarded(c, x->a);
	else
		expr(c, x->a, false);
	if ((d->flags & BI_METHOD) && !(d->flags & BI_OPT) && !x->has_args) {
		hm_emit(c, OP_METHOD, d->flags & BI_NULL ? 1 : 0, target_of(x->bi), 0);
		return;
	}
	if (x->nargs > 250) {
		hm_code_fail(c, HM_EPARSE, x->pos, "a built-in can have at most 250 arguments");
		return;
	}
	if ((d->flags & BI_OPT) && x->has_args && x->nargs == 0 && x->bi != BI_ID_date &&
	    x->bi != BI_ID_time &&
	    x->bi != BI_ID_datetime) { /* x?url(): the parentheses ask for an argument */
		hm_emit(c, OP_METHOD, 0, 0, 0);
		hm_emit(c, OP_CALLFN, 0, 0, 0);
		return;
	}
	if (!(d->flags & BI_NULL))
		check_target(c, x);
	args(c, x);
	hm_emit(c, OP_BI, x->nargs, d->flags & BI_FORMAT ? x->fmt : x->op, x->bi);
}

static void loop_variable(struct hm_compiler *c, const struct hm_ex *x)
{
	const struct hm_cscope *s;

	for (s = c->scope; s; s = s->outer)
		if (s->kind == CS_LOOP && ((s->var.p && hm_str_eq(s->var, x->a->str)) ||
					   (s->var2.p && hm_str_eq(s->var2, x->a->str))))
			break;
	if (!s) { /* the name was found while parsing, but stands for something else inside an <#escape> */
		hm_code_fail(c, HM_EPARSE, x->pos, "there is no loop variable of this name here");
		return;
	}
	if (x->bi == BI_ID_item_cycle && x->has_args) {
		if (x->nargs == 0 || x->nargs > 250) {
			hm_emit(c, OP_FAIL, 0, 0,
				hm_const_str(c, HM_STR("?item_cycle needs at least one argument")));
			hm_emit(c, OP_NULL, 0, 0, 0);
			return;
		}
		args(c, x);
		hm_emit(c, OP_CYCLE, x->nargs, 0, s->loop);
		return;
	}
	if (x->bi == BI_ID_item_cycle) {
		hm_emit(c, OP_TRUE, 0, 0, 0);
		hm_emit(c, OP_METHOD, 0, 0, 0);
		return;
	}
	hm_emit(c, OP_LOOPVAR, (unsigned)(x->bi - BI_ID_index), 0, s->loop);
}

static void special(struct hm_compiler *c, const struct hm_ex *x)
{
	switch (x->op) {
	case SPECIAL_OUTPUT_FORMAT: hm_emit(c, OP_CONST, 0, 0, hm_const_str(c, hm_fmt_name(x->fmt))); return;
	case SPECIAL_AUTO_ESC: hm_emit(c, x->has_args ? OP_TRUE : OP_FALSE, 0, 0, 0); return;
	default: hm_emit(c, OP_SPECIAL, x->op, 0, hm_scope_here(c));
	}
}

/* -- operators ------------------------------------------------------------------------------------------------- */

static void choice(struct hm_compiler *c, const struct hm_ex *x) /* && || as values */
{
	struct hm_plist no = {0};
	uint32_t end;

	hm_compile_cond(c, x, &no, false);
	hm_emit(c, OP_TRUE, 0, 0, 0);
	end = hm_emit(c, OP_JMP, 0, 0, 0);
	hm_patch_list(c, &no);
	hm_emit(c, OP_FALSE, 0, 0, 0);
	hm_patch(c, end);
}

static void binary(struct hm_compiler *c, const struct hm_ex *x, enum hm_op op)
{
	expr(c, x->a, false);
	expr(c, x->b, false);
	hm_emit(c, op, x->op, 0, 0);
}

/* - * / %: the left side must be a number before the right one is worked out */
static void arithmetic(struct hm_compiler *c, const struct hm_ex *x, enum hm_op op)
{
	expr(c, x->a, false);
	if (!hm_compile_is_plain(x->b) && x->a->kind != EX_NUM &&
	    !(x->a->kind >= EX_SUB && x->a->kind <= EX_MOD))
		hm_emit(c, OP_POS, 0, 0, 0);
	expr(c, x->b, false);
	hm_emit(c, op, x->op, 0, 0);
}

static void unary(struct hm_compiler *c, const struct hm_ex *x, enum hm_op op)
{
	expr(c, x->a, false);
	hm_emit(c, op, 0, 0, 0);
}

static void default_to(struct hm_compiler *c, const struct hm_ex *x)
{
	uint32_t pc;

	hm_compile_guarded(c, x->a);
	pc = hm_emit(c, OP_ORJ, 0, 0, 0);
	if (x->b)
		expr(c, x->b, false);
	else
		hm_emit(c, OP_EMPTY, 0, 0, 0);
	hm_patch(c, pc);
}

static void list_or_hash(struct hm_compiler *c, const struct hm_ex *x)
{
	args(c, x);
	if (x->kind == EX_LIST)
		hm_emit(c, OP_MKSEQ, 0, 0, x->nargs);
	else
		hm_emit(c, OP_MKHASH, 0, 0, x->nargs / 2);
}

/* soft: a missing step of a path yields a missing value instead of an error */
static void one(struct hm_compiler *c, const struct hm_ex *x, bool soft)
{
	struct hm_path p;

	switch ((enum hm_ex_kind)x->kind) {
	case EX_NUM: number(c, x->num); break;
	case EX_STR: hm_emit(c, OP_CONST, 0, 0, hm_const_str(c, x->str)); break;
	case EX_STRI:
		args(c, x);
		hm_emit(c, OP_STRCAT, 0, 0, x->nargs);
		break;
	case EX_BOOL: hm_emit(c, x->op ? OP_TRUE : OP_FALSE, 0, 0, 0); break;
	case EX_LIST:
	case EX_HASH: list_or_hash(c, x); break;
	case EX_ID:
		hm_field(c, x);
		load_name(c, x->str);
		break;
	case EX_PAREN: expr(c, x->a, soft); break;
	case EX_SPECIAL: special(c, x); break;
	case EX_DOT:
		if (path(c, x, soft, &p)) {
			hm_field(c, x);
			hm_emit(c, OP_PATH, 0, 0, add_path(c, &p));
			break;
		}
		expr(c, x->a, soft);
		hm_emit(c, OP_GET, soft, 0, hm_const_str(c, x->str));
		break;
	case EX_KEY:
		if (is_stage(bare(x->a)) && x->b->kind == EX_NUM && hm_dec_to_i32(x->b->num) >= 0) {
			chain(c, bare(x->a), hm_dec_to_i32(x->b->num));
			break;
		}
		expr(c, x->a, soft);
		if (!soft && !hm_compile_is_plain(x->b))
			hm_emit(c, OP_NEEDV, 1, WANT_ANY, 0);
		expr(c, x->b, soft);
		hm_emit(c, OP_INDEX, soft, 0, 0);
		break;
	case EX_CALL:
		expr(c, x->a, false); /* fails before its arguments matter: there are no functions */
		hm_emit(c, OP_CALLFN, 0, 0, 0);
		break;
	case EX_BI: built_in(c, x); break;
	case EX_LOOPVAR: loop_variable(c, x); break;
	case EX_DEFAULT: default_to(c, x); break;
	case EX_EXISTS:
		hm_compile_guarded(c, x->a);
		hm_emit(c, OP_EXISTS, 0, 0, 0);
		break;
	case EX_NOT: unary(c, x, OP_NOT); break;
	case EX_NEG: unary(c, x, OP_NEG); break;
	case EX_POS: unary(c, x, OP_POS); break;
	case EX_ADD: binary(c, x, OP_ADD); break;
	case EX_SUB: arithmetic(c, x, OP_SUB); break;
	case EX_MUL: arithmetic(c, x, OP_MUL); break;
	case EX_DIV: arithmetic(c, x, OP_DIV); break;
	case EX_MOD: arithmetic(c, x, OP_MOD); break;
	case EX_CMP: binary(c, x, OP_CMP); break;
	case EX_RANGE:
		expr(c, x->a, false);
		if (x->a->kind != EX_NUM)
			hm_emit(c, OP_POS, 0, 0, 0); /* must be a number, whatever the right side is */
		if (x->b)
			expr(c, x->b, false);
		hm_emit(c, OP_RANGE, x->op, 0, 0);
		break;
	case EX_AND:
	case EX_OR: choice(c, x); break;
	case EX_LAMBDA: hm_unreachable(); /* the parser lets it stand only where chain() takes it */
	}
}

static void expr(struct hm_compiler *c, const struct hm_ex *x, bool soft)
{
	struct hm_span span = c->span;
	const struct hm_subst *env = c->env, *s = subst_of(c, x);

	if (c->failed)
		return;
	c->span = (struct hm_span){x->pos, x->end};
	if (s) {
		c->env = s->env;
		expr(c, s->ex, soft);
		c->env = env;
	} else {
		one(c, x, soft);
	}
	c->span = span;
}

void hm_compile_expr(struct hm_compiler *c, const struct hm_ex *x)
{
	expr(c, x, false);
}

/* -- conditions --------------------------------------------------------------------------------------------------- */

static void cond_one(struct hm_compiler *c, const struct hm_ex *x, struct hm_plist *list, bool sense)
{
	struct hm_plist past = {0};

	switch ((enum hm_ex_kind)x->kind) {
	case EX_PAREN: hm_compile_cond(c, x->a, list, sense); return;
	case EX_NOT: hm_compile_cond(c, x->a, list, !sense); return;
	case EX_BOOL:
		if ((x->op != 0) == sense)
			note(c, list, hm_emit(c, OP_JMP, 0, 0, 0));
		return;
	case EX_AND:
	case EX_OR:
		if ((x->kind == EX_OR) == sense) { /* one of them is enough to jump */
			hm_compile_cond(c, x->a, list, sense);
			hm_compile_cond(c, x->b, list, sense);
		} else {
			hm_compile_cond(c, x->a, &past, !sense);
			hm_compile_cond(c, x->b, list, sense);
			hm_patch_list(c, &past);
		}
		return;
	case EX_CMP:
		expr(c, x->a, false);
		expr(c, x->b, false);
		note(c, list, hm_emit(c, OP_JCMP, x->op, sense, 0));
		return;
	case EX_EXISTS:
		hm_compile_guarded(c, x->a);
		note(c, list, hm_emit(c, sense ? OP_JNNULL : OP_JNULL, 0, 0, 0));
		return;
	default: expr(c, x, false); note(c, list, hm_emit(c, sense ? OP_JT : OP_JF, 0, 0, 0));
	}
}

void hm_compile_cond(struct hm_compiler *c, const struct hm_ex *x, struct hm_plist *list, bool sense)
{
	struct hm_span span = c->span;
	const struct hm_subst *env = c->env, *s = subst_of(c, x);

	if (c->failed)
		return;
	c->span = (struct hm_span){x->pos, x->end};
	if (s) {
		c->env = s->env;
		hm_compile_cond(c, s->ex, list, sense);
		c->env = env;
	} else {
		cond_one(c, x, list, sense);
	}
	c->span = span;
}

/* -- interpolations -------------------------------------------------------------------------------------------------- */

void hm_compile_emit(struct hm_compiler *c, const struct hm_el *el)
{
	const struct hm_ex *x = el->ex;
	struct hm_span span = c->span;
	struct hm_ref *refs;
	struct hm_path p;
	bool final;

	if (el->esc) {
		const struct hm_subst *env = NULL, *saved = c->env;

		for (const struct hm_escape *s = el->esc; s; s = s->outer) {
			struct hm_subst *sub = hm_arena_alloc(c->tmp, sizeof(*sub));

			if (!sub) {
				hm_code_fail(c, HM_ENOMEM, 0, "out of memory while compiling the template");
				return;
			}
			*sub = (struct hm_subst){s->name, x, env};
			env = sub;
			x = s->ex;
		}
		c->env = env;
		expr(c, x, false);
		c->env = saved;
		hm_emit(c, OP_EMIT, el->fmt, el->autoesc, 0);
		return;
	}
	c->span = (struct hm_span){x->pos, x->end};
	if (x->kind == EX_ID && find_locals(c, x->str, &refs, &final) == 0) {
		hm_field(c, x);
		hm_emit(c, OP_EMITG, el->fmt | (el->autoesc ? EMIT_ESC : 0), 0, hm_name(c, x->str));
	} else if (path(c, x, false, &p)) {
		hm_field(c, x);
		hm_emit(c, OP_EMITPATH, el->fmt | (el->autoesc ? EMIT_ESC : 0), 0, add_path(c, &p));
	} else {
		expr(c, x, false);
		hm_emit(c, OP_EMIT, el->fmt, el->autoesc, 0);
	}
	c->span = span;
}
