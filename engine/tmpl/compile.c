/*
 * compile.c - elements to instructions; the driver hm_tmpl_compile is in tmpl.c
 *
 * Control flow is compiled to jumps. <#break> and <#continue> know what they leave
 * (c->jump): captures and attempts are unwound, the body of a macro call is left through
 * the frames of the macros in between (OP_LEAVE).
 */
#include "tmpl/compile.h"

#include "tmpl/put.h"

static void elements(struct hm_compiler *c, const struct hm_el *el);

/* -- tables -------------------------------------------------------------------------- */

void hm_code_fail(struct hm_compiler *c, int code, uint32_t pos, const char *text)
{
	if (!c->failed)
		hm_err_at(c->e, code, NULL, hm_src_line(&c->t->src, pos), hm_src_col(&c->t->src, pos), "%s",
			  text);
	c->failed = true;
}

/* Room for one more; returns it, or NULL after a failure. vec: the address of the array's pointer. */
void *hm_code_push(struct hm_compiler *c, void *vec, uint32_t *n, uint32_t *cap, size_t size)
{
	void *p;

	if (c->failed)
		return NULL;
	memcpy(&p, vec, sizeof(p));
	if (*n == *cap) {
		uint32_t more = *cap ? *cap * 2 : 16;

		p = hm_arena_grow(&c->t->mem, p, *cap * size, more * size);
		if (!p) {
			hm_code_fail(c, HM_ENOMEM, 0, "out of memory while compiling the template");
			return NULL;
		}
		memcpy(vec, &p, sizeof(p));
		*cap = more;
	}
	p = (char *)p + (size_t)*n * size;
	memset(p, 0, size);
	++*n;
	return p;
}

uint32_t hm_here(struct hm_compiler *c)
{
	c->label = c->t->ncode;
	return c->t->ncode;
}

/* A placeholder takes the text in front of it along, where nothing jumps in between. */
static bool join_text(struct hm_compiler *c, enum hm_op op, unsigned a, uint32_t operand)
{
	struct hm_insn *i;

	if ((op != OP_EMITG && op != OP_EMITPATH) || c->t->ncode == 0 || c->label == c->t->ncode)
		return false;
	i = &c->t->code[c->t->ncode - 1];
	if (i->op != OP_LIT || i->c > EMIT_LIT_MAX)
		return false;
	*i = (struct hm_insn){(uint8_t)op, (uint8_t)a, (uint16_t)i->c, operand};
	c->t->span[c->t->ncode - 1] = c->span;
	return true;
}

uint32_t hm_emit(struct hm_compiler *c, enum hm_op op, unsigned a, unsigned b, uint32_t operand)
{
	uint32_t n = c->t->ncode, cap = c->cap_code;
	struct hm_insn *i;
	struct hm_span *s;

	if (c->failed)
		return 0;
	if (join_text(c, op, a, operand))
		return n - 1;
	if (n >= HM_MAX_CODE) {
		hm_code_fail(c, HM_ELIMIT, c->span.pos, "the template is too large");
		return 0;
	}
	i = hm_code_push(c, &c->t->code, &c->t->ncode, &c->cap_code, sizeof(*i));
	s = i ? hm_code_push(c, &c->t->span, &n, &cap, sizeof(*s)) : NULL;
	if (!s)
		return 0;
	*i = (struct hm_insn){(uint8_t)op, (uint8_t)a, (uint16_t)b, operand};
	*s = c->span;
	return n - 1;
}

void hm_patch(struct hm_compiler *c, uint32_t pc)
{
	if (!c->failed)
		c->t->code[pc].c = hm_here(c);
}

void hm_patch_list(struct hm_compiler *c, struct hm_plist *list)
{
	for (uint32_t i = 0; i < list->n; i++)
		hm_patch(c, list->pc[i]);
	list->n = 0;
}

uint32_t hm_name(struct hm_compiler *c, struct hm_str name)
{
	uint32_t mask, i;
	struct hm_str *s;

	if (c->failed)
		return 0;
	if (c->t->nnames * 2 >= c->name_index_size) {
		uint32_t size = c->name_index_size ? c->name_index_size * 2 : 64, k;
		uint32_t *idx = hm_arena_zalloc(c->tmp, size * sizeof(*idx));

		if (!idx) {
			hm_code_fail(c, HM_ENOMEM, 0, "out of memory while compiling the template");
			return 0;
		}
		for (k = 0; k < c->t->nnames; k++) {
			struct hm_str n = c->t->name[k];

			for (i = (uint32_t)hm_hash64(n.p, n.len, 0) & (size - 1); idx[i];
			     i = (i + 1) & (size - 1))
				;
			idx[i] = k + 1;
		}
		c->name_index = idx;
		c->name_index_size = size;
	}
	mask = c->name_index_size - 1;
	for (i = (uint32_t)hm_hash64(name.p, name.len, 0) & mask; c->name_index[i]; i = (i + 1) & mask)
		if (hm_str_eq(c->t->name[c->name_index[i] - 1], name))
			return c->name_index[i] - 1;
	s = hm_code_push(c, &c->t->name, &c->t->nnames, &c->cap_names, sizeof(*s));
	if (!s)
		return 0;
	*s = hm_arena_str(&c->t->mem, name);
	if (!s->p && name.len)
		hm_code_fail(c, HM_ENOMEM, 0, "out of memory while compiling the template");
	c->name_index[i] = c->t->nnames;
	return c->t->nnames - 1;
}

uint32_t hm_const(struct hm_compiler *c, struct hm_val v)
{
	struct hm_val *p = hm_code_push(c, &c->t->constant, &c->t->nconsts, &c->cap_consts, sizeof(*p));

	if (!p)
		return 0;
	*p = v;
	return c->t->nconsts - 1;
}

uint32_t hm_const_str(struct hm_compiler *c, struct hm_str s)
{
	struct hm_str copy = hm_arena_str(&c->t->mem, s);

	if (!copy.p && s.len) {
		hm_code_fail(c, HM_ENOMEM, 0, "out of memory while compiling the template");
		return 0;
	}
	for (uint32_t i = c->t->nconsts; i > 0 && i + 8 > c->t->nconsts; i--) /* often the one just made */
		if (c->t->constant[i - 1].kind == V_STR && hm_str_eq(hm_vstr_of(c->t->constant[i - 1]), s))
			return i - 1;
	return hm_const(c, hm_vstr(copy));
}

uint32_t hm_slot(struct hm_compiler *c)
{
	uint32_t s = c->slots++;

	if (c->slots > 60000)
		hm_code_fail(c, HM_ELIMIT, c->span.pos, "the template has too many variables in one place");
	c->unit->nslots = hm_max(c->unit->nslots, c->slots);
	return s;
}

/* A loop; the caller gives its state back by restoring c->loops. */
uint32_t hm_loop(struct hm_compiler *c, struct hm_loop_info info)
{
	struct hm_loop_info *l = hm_code_push(c, &c->t->loop, &c->t->nloops, &c->cap_loops, sizeof(*l));

	if (!l)
		return 0;
	*l = info;
	l->state = c->loops++;
	c->unit->nloops = hm_max(c->unit->nloops, c->loops);
	if (c->t->nloops > 60000)
		hm_code_fail(c, HM_ELIMIT, c->span.pos, "the template has too many loops");
	return c->t->nloops - 1;
}

/* The names visible here, for code that looks them up while running. */
uint32_t hm_scope_here(struct hm_compiler *c)
{
	struct hm_scope *s = hm_code_push(c, &c->t->scope, &c->t->nscopes, &c->cap_scopes, sizeof(*s));
	uint32_t n = 0, cap = 0;
	struct hm_ref *refs = NULL, *r;

	if (!s)
		return 0;
	for (struct hm_cscope *sc = c->scope; sc; sc = sc->outer) {
		if (sc->kind == CS_LOCALS) {
			s->in_macro = true;
			for (uint32_t i = 0; i < sc->nlocals; i++) {
				r = hm_code_push(c, &refs, &n, &cap, sizeof(*r));
				if (!r)
					return 0;
				*r = (struct hm_ref){REF_SLOT, true, i, sc->locals[i]};
			}
			continue;
		}
		if (sc->var.p) {
			r = hm_code_push(c, &refs, &n, &cap, sizeof(*r));
			if (!r)
				return 0;
			*r = (struct hm_ref){REF_SLOT, false, sc->slot, sc->var};
		}
		if (sc->var2.p) {
			r = hm_code_push(c, &refs, &n, &cap, sizeof(*r));
			if (!r)
				return 0;
			*r = (struct hm_ref){REF_SLOT, false, sc->slot2, sc->var2};
		}
		if (sc->kind == CS_LOOP && sc->var.p) {
			static const struct {
				const char *suffix;
				uint8_t kind;
			} extra[] = {{"_index", REF_INDEX}, {"_has_next", REF_HAS_NEXT}};

			for (size_t k = 0; k < 2; k++) {
				r = hm_code_push(c, &refs, &n, &cap, sizeof(*r));
				if (!r)
					return 0;
				*r = (struct hm_ref){extra[k].kind, false, sc->loop, HM_STR_NULL};
				r->name = hm_arena_printf(&c->t->mem, "%.*s%s", HM_STRF(sc->var),
							  extra[k].suffix);
			}
		}
	}
	for (uint32_t i = 0; i < n; i++)
		if (refs[i].kind == REF_SLOT)
			refs[i].name = hm_arena_str(&c->t->mem, refs[i].name);
	c->t->scope[c->t->nscopes - 1].n = n;
	c->t->scope[c->t->nscopes - 1].ref = refs;
	return c->t->nscopes - 1;
}

/* -- fields the text asks for ------------------------------------------------------------- */

static bool is_local_name(const struct hm_compiler *c, struct hm_str n)
{
	for (const struct hm_cscope *s = c->scope; s; s = s->outer) {
		if (s->kind == CS_LOCALS) {
			for (uint32_t i = 0; i < s->nlocals; i++)
				if (hm_str_eq(s->locals[i], n))
					return true;
			continue;
		}
		if ((s->var.p && hm_str_eq(s->var, n)) || (s->var2.p && hm_str_eq(s->var2, n)))
			return true;
		if (s->kind == CS_LOOP && s->var.p && hm_str_starts(n, s->var)) {
			struct hm_str rest = hm_str_n(n.p + s->var.len, n.len - s->var.len);

			if (hm_str_is(rest, "_index") || hm_str_is(rest, "_has_next"))
				return true;
		}
	}
	return false;
}

/* x is an EX_ID or a chain of EX_DOT above one. */
void hm_field(struct hm_compiler *c, const struct hm_ex *x)
{
	struct hm_buf path;
	const struct hm_ex *part[64];
	uint32_t n = 0, k;
	struct hm_tmpl_field *f;

	if (c->failed)
		return;
	for (; x->kind == EX_DOT; x = x->a)
		if (n < hm_countof(part) - 1)
			part[n++] = x;
	if (x->kind != EX_ID || is_local_name(c, x->str))
		return;
	part[n++] = x;
	k = hm_name(c, x->str);
	if (k < c->cap_assigned && c->assigned[k])
		return;
	hm_buf_init_arena(&path, c->tmp, 4096);
	while (n > 0) {
		hm_buf_puts(&path, part[--n]->str);
		if (n)
			hm_buf_putc(&path, '.');
	}
	for (uint32_t i = 0; i < c->t->nfields; i++)
		if (hm_str_eq(c->t->field[i].path, hm_buf_str(&path))) {
			c->t->field[i].needed = c->t->field[i].needed || !c->guarded;
			return;
		}
	if (c->t->nfields >= 4096)
		return;
	f = hm_code_push(c, &c->t->field, &c->t->nfields, &c->cap_fields, sizeof(*f));
	if (!f)
		return;
	f->path = hm_arena_str(&c->t->mem, hm_buf_str(&path));
	f->needed = !c->guarded;
	f->line = hm_src_line(&c->t->src, x->pos);
}

/* -- what is left by a jump ----------------------------------------------------------------- */

static void enter(struct hm_compiler *c, struct hm_cjump *j, enum hm_jump_kind kind)
{
	*j = (struct hm_cjump){.kind = kind, .outer = c->jump};
	c->jump = j;
}

static void leave(struct hm_compiler *c)
{
	c->jump = c->jump->outer;
}

static void patch_breaks(struct hm_compiler *c, struct hm_cjump *j)
{
	for (uint32_t i = 0; i < j->nbreaks; i++)
		hm_patch(c, j->breaks[i]);
}

/* <#break>, <#continue>: unwind what is in between, then jump. In a <#switch> both mean the same. */
static void jump_out(struct hm_compiler *c, bool cont)
{
	struct hm_cjump *j;
	uint32_t outs = 0, bodies = 0, pc;

	for (j = c->jump; j && j->kind != J_LOOP && j->kind != J_SWITCH; j = j->outer) {
		if (j->kind == J_BODY) {
			bodies++;
			outs = 0; /* leaving the body unwinds all that was opened in it */
		} else {
			outs++;
		}
	}
	hm_assert(j != NULL); /* the parser made sure */
	if (bodies) {
		/* after OP_LEAVE, captures opened between the target and the call remain */
		uint32_t after = 0;

		for (struct hm_cjump *k = c->jump; k != j; k = k->outer)
			after = k->kind == J_BODY ? 0 : after + 1;
		pc = hm_emit(c, OP_LEAVE, bodies, 0, 0);
		hm_patch(c, pc);
		outs = after;
	}
	if (outs)
		hm_emit(c, OP_UNWIND, 0, 0, outs);
	if (cont && j->kind == J_LOOP) {
		hm_emit(c, OP_JMP, 0, 0, j->next_pc);
		return;
	}
	pc = hm_emit(c, OP_JMP, 0, 0, 0);
	if (hm_code_push(c, &j->breaks, &j->nbreaks, &j->capbreaks, sizeof(pc)))
		j->breaks[j->nbreaks - 1] = pc;
}

/* -- elements -------------------------------------------------------------------------------- */

static void literal(struct hm_compiler *c, struct hm_str text)
{
	struct hm_str *l = hm_code_push(c, &c->t->lit, &c->t->nlits, &c->cap_lits, sizeof(*l));
	char *p = l ? hm_arena_zalloc(&c->t->mem, text.len + HM_LIT_PAD) : NULL;

	if (!p) {
		hm_code_fail(c, HM_ENOMEM, 0, "out of memory while compiling the template");
		return;
	}
	if (text.len)
		memcpy(p, text.p, text.len);
	*l = hm_str_n(p, text.len);
}

static void text(struct hm_compiler *c, const struct hm_el *el)
{
	if (el->text.len == 0)
		return;
	literal(c, el->text);
	hm_emit(c, OP_LIT, 0, 0, c->t->nlits - 1);
}

static void branches(struct hm_compiler *c, const struct hm_el *el)
{
	struct hm_plist no = {0}, ends = {0};

	for (uint32_t i = 0; i < el->nchild; i++) {
		const struct hm_el *b = el->child[i];

		if (b->ex)
			hm_compile_cond(c, b->ex, &no, false);
		elements(c, b);
		if (i + 1 < el->nchild) {
			uint32_t pc = hm_emit(c, OP_JMP, 0, 0, 0), *slot;

			slot = hm_code_push(c, &ends.pc, &ends.n, &ends.cap, sizeof(*slot));
			if (slot)
				*slot = pc;
		}
		hm_patch_list(c, &no);
	}
	hm_patch_list(c, &ends);
}

static void lone_branch(struct hm_compiler *c, const struct hm_el *b)
{
	struct hm_plist no = {0};

	hm_compile_cond(c, b->ex, &no, false);
	elements(c, b);
	hm_patch_list(c, &no);
}

/* The rounds of a list: NEXT, body, back. maps: what makes the item, see compile.h; or NULL */
static void rounds(struct hm_compiler *c, const struct hm_el *el, uint32_t loop, struct hm_str var,
		   struct hm_str var2, const struct hm_ex *maps)
{
	struct hm_cjump j;
	struct hm_cscope sc = {.kind = CS_LOOP, .outer = c->scope, .loop = loop, .var = var, .var2 = var2};
	uint32_t next;

	if (!c->failed) {
		sc.slot = c->t->loop[loop].slot;
		sc.slot2 = c->t->loop[loop].slot2;
	}
	enter(c, &j, J_LOOP);
	next = hm_emit(c, OP_NEXT, 0, loop, 0);
	if (maps)
		hm_compile_mapped(c, maps, sc.slot);
	c->scope = &sc;
	j.next_pc = next;
	elements(c, el);
	hm_emit(c, OP_JMP, 0, 0, next);
	hm_patch(c, next);
	patch_breaks(c, &j);
	hm_emit(c, OP_ENDITER, 0, 0, loop);
	c->scope = sc.outer;
	leave(c);
}

static void list(struct hm_compiler *c, const struct hm_el *el, const struct hm_el *other)
{
	uint32_t slots = c->slots, loops = c->loops, loop, none, end;
	struct hm_loop_info info = {0};
	struct hm_cscope sc = {.kind = CS_LOOP, .outer = c->scope};
	bool hash = el->var2.p != NULL;
	const struct hm_ex *maps = el->bit || hash ? NULL : hm_compile_maps(el->ex);

	if (maps)
		hm_compile_map_source(c, maps);
	else
		hm_compile_expr(c, el->ex);
	info.has2 = true;
	info.slot = hm_slot(c);
	info.slot2 = hm_slot(c);
	loop = hm_loop(c, info);
	if (!el->bit) {
		if (!c->failed)
			c->t->loop[loop].has2 = hash;
		hm_emit(c, OP_ITER, hash, 0, loop);
		none = hm_emit(c, OP_JNONE, 0, loop, 0);
		rounds(c, el, loop, el->var, el->var2, maps);
	} else { /* <#list xs> ... <#items as x>: a hash or a sequence; the items decide */
		hm_emit(c, OP_ITER, 2, 0, loop);
		none = hm_emit(c, OP_JNONE, 0, loop, 0);
		sc.loop = loop;
		c->scope = &sc;
		elements(c, el);
		c->scope = sc.outer;
		hm_emit(c, OP_ENDITER, 0, 0, loop);
	}
	if (other) {
		end = hm_emit(c, OP_JMP, 0, 0, 0);
		hm_patch(c, none);
		elements(c, other);
		hm_patch(c, end);
	} else {
		hm_patch(c, none);
	}
	c->slots = slots;
	c->loops = loops;
}

static struct hm_cscope *list_scope(struct hm_compiler *c)
{
	struct hm_cscope *s = c->scope;

	while (s && s->kind != CS_LOOP)
		s = s->outer;
	return s;
}

static void items(struct hm_compiler *c, const struct hm_el *el)
{
	struct hm_cscope *s = list_scope(c);

	hm_assert(s != NULL);
	if (!c->failed)
		c->t->loop[s->loop].has2 = el->var2.p != NULL;
	hm_emit(c, OP_ITEMS, el->var2.p != NULL, 0, s->loop);
	rounds(c, el, s->loop, el->var, el->var2, NULL);
}

static void sep(struct hm_compiler *c, const struct hm_el *el)
{
	struct hm_cscope *s = list_scope(c);
	uint32_t pc;

	hm_assert(s != NULL);
	pc = hm_emit(c, OP_JLAST, 0, s->loop, 0);
	elements(c, el);
	hm_patch(c, pc);
}

static void switch_(struct hm_compiler *c, const struct hm_el *el)
{
	struct hm_cjump j;
	struct hm_plist to = {0};
	uint32_t slots = c->slots, slot = hm_slot(c), i, k, *pc, end = 0;
	bool any = false;
	uint32_t to_def = 0;
	const struct hm_el *def = NULL;

	enter(c, &j, J_SWITCH);
	for (i = 0; i < el->nchild; i++) {
		if (!el->child[i]->ex) {
			def = el->child[i];
			continue;
		}
		if (!any) {
			hm_compile_expr(c, el->ex);
			hm_emit(c, OP_SETL, 0, 0, slot);
			any = true;
		}
		hm_emit(c, OP_LOADL, 0, 0, slot);
		hm_compile_expr(c, el->child[i]->ex);
		pc = hm_code_push(c, &to.pc, &to.n, &to.cap, sizeof(*pc));
		if (pc)
			*pc = hm_emit(c, OP_JCMP, CMP_EQ, 1, 0);
	}
	if (def) { /* no case fits: the default runs alone; the empty slot says so at its end */
		hm_emit(c, OP_CLEARL, 0, 0, slot);
		to_def = hm_emit(c, OP_JMP, 0, 0, 0);
	} else {
		end = hm_emit(c, OP_JMP, 0, 0, 0);
	}
	for (i = k = 0; i < el->nchild; i++) {
		uint32_t on;

		if (el->child[i] == def)
			hm_patch(c, to_def);
		else if (k < to.n)
			hm_patch(c, to.pc[k++]);
		elements(c, el->child[i]);
		if (el->child[i] != def)
			continue;
		on = hm_emit(c, OP_JSET, 0, slot, 0);
		end = hm_emit(c, OP_JMP, 0, 0, 0);
		hm_patch(c, on);
	}
	hm_patch(c, end);
	patch_breaks(c, &j);
	leave(c);
	c->slots = slots;
}

static uint32_t local_slot(struct hm_compiler *c, struct hm_str n)
{
	for (struct hm_cscope *s = c->scope; s; s = s->outer) {
		if (s->kind != CS_LOCALS)
			continue;
		for (uint32_t i = 0; i < s->nlocals; i++)
			if (hm_str_eq(s->locals[i], n))
				return i;
	}
	hm_unreachable(); /* the parser noted every <#local> */
}

static uint32_t mark_assigned(struct hm_compiler *c, uint32_t name)
{
	if (name >= c->cap_assigned) {
		uint32_t cap = (name + 1) * 2;
		uint8_t *p = hm_arena_zalloc(c->tmp, cap);

		if (!p) {
			hm_code_fail(c, HM_ENOMEM, 0, "out of memory while compiling the template");
			return name;
		}
		if (c->cap_assigned)
			memcpy(p, c->assigned, c->cap_assigned);
		c->assigned = p;
		c->cap_assigned = cap;
	}
	c->assigned[name] = 1;
	return name;
}

static void store(struct hm_compiler *c, struct hm_str n, uint32_t scope)
{
	if (scope == SCOPE_LOCAL)
		hm_emit(c, OP_SETL, 1, 0, local_slot(c, n));
	else
		hm_emit(c, OP_SETV, scope, 0, mark_assigned(c, hm_name(c, n)));
}

static void assign(struct hm_compiler *c, const struct hm_el *el)
{
	uint32_t scope = el->nlocal;

	if (el->op == T_EQUALS) {
		hm_compile_expr(c, el->ex);
		store(c, el->text, scope);
		return;
	}
	if (scope == SCOPE_LOCAL)
		hm_compile_local(c, el->text);
	else
		hm_emit(c, OP_LOADNS, scope, 0, hm_name(c, el->text));
	if (el->op == T_PLUS_PLUS || el->op == T_MINUS_MINUS) {
		/* SUB, because ADD would join text */
		hm_emit(c, OP_INT, 0, 0, el->op == T_PLUS_PLUS ? (uint32_t)-1 : 1u);
		hm_emit(c, OP_SUB, 0, 0, 0);
	} else {
		hm_compile_expr(c, el->ex);
		hm_emit(c,
			el->op == T_PLUS_EQUALS	   ? OP_ADD
			: el->op == T_MINUS_EQUALS ? OP_SUB
			: el->op == T_TIMES_EQUALS ? OP_MUL
			: el->op == T_DIV_EQUALS   ? OP_DIV
						   : OP_MOD,
			0, 0, 0);
	}
	store(c, el->text, scope);
}

static void block_assign(struct hm_compiler *c, const struct hm_el *el)
{
	struct hm_cjump j;

	hm_emit(c, OP_CAPTURE, 0, 0, 0);
	enter(c, &j, J_OUT);
	elements(c, el);
	leave(c);
	hm_emit(c, OP_ENDCAP, el->fmt, 0, 0);
	store(c, el->text, el->nlocal);
}

static void compress(struct hm_compiler *c, const struct hm_el *el)
{
	struct hm_cjump j;

	hm_emit(c, OP_COMPRESS, 0, 0, 0);
	enter(c, &j, J_OUT);
	elements(c, el);
	leave(c);
	hm_emit(c, OP_ENDCOMPRESS, 0, 0, 0);
}

static void element(struct hm_compiler *c, const struct hm_el *el);

static void attempt(struct hm_compiler *c, const struct hm_el *el)
{
	struct hm_cjump j;
	uint32_t handler, end;

	handler = hm_emit(c, OP_ATTEMPT, 0, 0, 0);
	enter(c, &j, J_OUT);
	if (el->nchild == 2)
		element(c, el->child[0]);
	leave(c);
	hm_emit(c, OP_ENDATTEMPT, 0, 0, 0);
	end = hm_emit(c, OP_JMP, 0, 0, 0);
	hm_patch(c, handler);
	if (el->nchild)
		elements(c, el->child[el->nchild - 1]);
	hm_patch(c, end);
}

static void call(struct hm_compiler *c, const struct hm_el *el)
{
	struct hm_callsite *cs;
	uint32_t site, pc, i, slots = c->slots;
	struct hm_str *names = NULL;
	uint32_t *vars = NULL;

	hm_compile_expr(c, el->ex);
	for (i = 0; i < el->nargs && hm_compile_is_plain(el->args[i]); i++)
		;
	if (i < el->nargs) /* no macro is a failure that comes before those of its arguments */
		hm_emit(c, OP_NEEDV, 1, WANT_MACRO, 0);
	for (i = 0; i < el->nargs; i++)
		hm_compile_expr(c, el->args[i]);
	cs = hm_code_push(c, &c->t->call, &c->t->ncalls, &c->cap_calls, sizeof(*cs));
	if (!cs)
		return;
	site = c->t->ncalls - 1;
	cs->nargs = el->nargs;
	if (el->bit) {
		names = hm_arena_alloc(&c->t->mem, sizeof(*names) * (el->nargs + 1));
		for (i = 0; names && i < el->nargs; i++)
			names[i] = hm_arena_str(&c->t->mem, el->argname[i]);
		if (!names)
			hm_code_fail(c, HM_ENOMEM, 0, "out of memory while compiling the template");
		cs->names = names;
	}
	hm_emit(c, OP_CALL, 0, 0, site);
	if (!el->unparsed)
		return;
	{
		struct hm_cjump j;
		struct hm_cscope *outer = c->scope, *sc;

		pc = hm_emit(c, OP_JMP, 0, 0, 0);
		vars = hm_arena_alloc(&c->t->mem, sizeof(*vars) * (el->nparam + 1));
		if (!vars) {
			hm_code_fail(c, HM_ENOMEM, 0, "out of memory while compiling the template");
			return;
		}
		for (i = 0; i < el->nparam; i++) {
			sc = hm_arena_zalloc(c->tmp, sizeof(*sc));
			if (!sc) {
				hm_code_fail(c, HM_ENOMEM, 0, "out of memory while compiling the template");
				return;
			}
			vars[i] = hm_slot(c);
			*sc = (struct hm_cscope){
				.kind = CS_VAR, .outer = c->scope, .var = el->param[i].name, .slot = vars[i]};
			c->scope = sc;
		}
		if (c->failed)
			return;
		c->t->call[site].body = hm_here(c);
		c->t->call[site].nvars = el->nparam;
		c->t->call[site].var_slot = vars;
		enter(c, &j, J_BODY);
		elements(c, el);
		leave(c);
		hm_emit(c, OP_ENDBODY, 0, 0, 0);
		hm_patch(c, pc);
		c->scope = outer;
	}
	c->slots = slots;
}

static uint32_t macro_unit(const struct hm_compiler *c, const struct hm_el *el)
{
	for (uint32_t i = 0; i < c->p->nmacros; i++)
		if (c->p->macros[i] == el)
			return i + 1;
	hm_unreachable();
}

static void include(struct hm_compiler *c, const struct hm_el *el)
{
	struct hm_str *n;

	if (el->ex2)
		hm_compile_expr(c, el->ex2);
	hm_compile_expr(c, el->ex);
	if (el->ex->kind == EX_STR) {
		n = hm_code_push(c, &c->t->include, &c->t->nincludes, &c->cap_includes, sizeof(*n));
		if (n)
			*n = hm_arena_str(&c->t->mem, el->ex->str);
	}
	hm_emit(c, OP_INCLUDE, el->ex2 != NULL, 0, hm_scope_here(c));
}

static void element(struct hm_compiler *c, const struct hm_el *el)
{
	struct hm_span span = c->span;

	if (c->failed)
		return;
	c->span = (struct hm_span){el->pos, el->end};
	switch ((enum hm_el_kind)el->kind) {
	case EL_TEXT: text(c, el); break;
	case EL_INTERP: hm_compile_emit(c, el); break;
	case EL_IF: branches(c, el); break;
	case EL_COND: lone_branch(c, el); break;
	case EL_LIST: list(c, el, NULL); break;
	case EL_LISTELSE: list(c, el->child[0], el->nchild > 1 ? el->child[1] : NULL); break;
	case EL_ITEMS: items(c, el); break;
	case EL_SEP: sep(c, el); break;
	case EL_SWITCH: switch_(c, el); break;
	case EL_ASSIGN: assign(c, el); break;
	case EL_BLOCKASSIGN: block_assign(c, el); break;
	case EL_MACRO: hm_emit(c, OP_DEFMACRO, 0, 0, macro_unit(c, el)); break;
	case EL_CALL: call(c, el); break;
	case EL_NESTED:
		for (uint32_t i = 0; i < el->nargs; i++)
			hm_compile_expr(c, el->args[i]);
		hm_emit(c, OP_NESTED, 0, 0, el->nargs);
		break;
	case EL_RETURN: hm_emit(c, OP_RETURN, 0, 0, 0); break;
	case EL_INCLUDE: include(c, el); break;
	case EL_STOP:
		if (el->ex)
			hm_compile_expr(c, el->ex);
		hm_emit(c, OP_STOP, el->ex != NULL, 0, 0);
		break;
	case EL_SETTING:
		hm_compile_expr(c, el->ex);
		hm_emit(c, OP_SETTING, el->op, 0, 0);
		break;
	case EL_COMPRESS: compress(c, el); break;
	case EL_BREAK: jump_out(c, false); break;
	case EL_CONTINUE: jump_out(c, true); break;
	case EL_ATTEMPT: attempt(c, el); break;
	case EL_MIXED:
	case EL_ASSIGNS:
	case EL_ESCAPE:
	case EL_NOESCAPE:
	case EL_OUTPUTFORMAT:
	case EL_AUTOESC:
	case EL_NOAUTOESC:
	case EL_ELSELIST:
	case EL_CASE:
	case EL_RECOVER: elements(c, el); break;
	case EL_COMMENT:
	case EL_TRIM:
	case EL_FLUSH: break;
	}
	c->span = span;
}

static void elements(struct hm_compiler *c, const struct hm_el *el)
{
	for (uint32_t i = 0; i < el->nchild && !c->failed; i++)
		element(c, el->child[i]);
}

/* -- units ------------------------------------------------------------------------------------- */

/* Does an expression mention a name that a later parameter has? Then its default waits for a second round. */
static bool mentions(const struct hm_ex *x, const struct hm_el *m, uint32_t from)
{
	if (!x)
		return false;
	if (x->kind == EX_ID)
		for (uint32_t i = from; i < m->nparam; i++)
			if (hm_str_eq(m->param[i].name, x->str))
				return true;
	if (mentions(x->a, m, from) || mentions(x->b, m, from))
		return true;
	for (uint32_t i = 0; i < x->nargs; i++)
		if (mentions(x->args[i], m, from))
			return true;
	return false;
}

static void param_default(struct hm_compiler *c, const struct hm_el *m, uint32_t i)
{
	uint32_t pc = hm_emit(c, OP_JSET, 0, i, 0);

	hm_compile_expr(c, m->param[i].def);
	hm_emit(c, OP_SETL, 0, 0, i);
	hm_patch(c, pc);
}

/* Parameters not given: required ones fail, the others take their defaults, which may use each other. */
static void defaults(struct hm_compiler *c, const struct hm_el *m)
{
	uint32_t i, late = 0, guard;

	for (i = 0; i < m->nparam; i++) {
		if (!m->param[i].def)
			hm_emit(c, OP_NEEDL, 0, i, i);
		else if (mentions(m->param[i].def, m, i + 1))
			late++;
	}
	for (uint32_t round = 0; round < late; round++)
		for (i = 0; i < m->nparam; i++) {
			uint32_t pc;

			if (!m->param[i].def)
				continue;
			pc = hm_emit(c, OP_JSET, 0, i, 0);
			guard = hm_emit(c, OP_GUARD, 0, 0, 0);
			hm_compile_expr(c, m->param[i].def);
			hm_emit(c, OP_UNGUARD, 0, 0, 0);
			hm_patch(c, guard);
			hm_emit(c, OP_SETL, 0, 0, i);
			hm_patch(c, pc);
		}
	for (i = 0; i < m->nparam; i++) {
		if (!m->param[i].def)
			continue;
		param_default(c, m, i);
		hm_emit(c, OP_NEEDL, 1, i, i);
	}
}

static void macro(struct hm_compiler *c, const struct hm_el *m, struct hm_unit *u)
{
	uint32_t n = m->nparam + (m->catchall.p != NULL), i, k;
	struct hm_str *params = hm_arena_alloc(&c->t->mem, sizeof(*params) * (n + 1));
	struct hm_str *locals = hm_arena_alloc(c->tmp, sizeof(*locals) * (n + m->nlocal + 1));
	struct hm_cscope sc = {.kind = CS_LOCALS};

	if (!params || !locals) {
		hm_code_fail(c, HM_ENOMEM, 0, "out of memory while compiling the template");
		return;
	}
	u->name = hm_name(c, m->text);
	u->nparams = m->nparam;
	u->param = params;
	u->catchall = m->catchall.p != NULL;
	for (i = 0; i < m->nparam; i++) {
		locals[i] = m->param[i].name;
		params[i] = hm_arena_str(&c->t->mem, m->param[i].name);
		if (!m->param[i].def)
			u->nrequired++;
	}
	if (u->catchall)
		locals[m->nparam] = m->catchall;
	for (i = 0; i < m->nlocal; i++) {
		for (k = 0; k < n && !hm_str_eq(locals[k], m->local[i]); k++)
			;
		if (k == n)
			locals[n++] = m->local[i];
	}
	sc.locals = locals;
	sc.nlocals = n;
	u->nlocals = n;
	c->unit = u;
	c->scope = &sc;
	c->jump = NULL;
	c->slots = u->nslots = n;
	c->loops = 0;
	if (n > 2000)
		hm_code_fail(c, HM_ELIMIT, m->pos, "the macro has too many variables");
	u->entry = hm_here(c);
	c->span = (struct hm_span){m->pos, m->end};
	defaults(c, m);
	elements(c, m);
	hm_emit(c, OP_RET, 0, 0, 0);
	c->scope = NULL;
}

int hm_code_make(struct hm_tmpl *t, struct hm_parser *p, struct hm_el *root, struct hm_err *e)
{
	struct hm_compiler c = {.t = t, .tmp = p->arena, .e = e, .p = p};
	uint32_t i;

	t->nunits = p->nmacros + 1;
	t->unit = hm_arena_zalloc(&t->mem, t->nunits * sizeof(*t->unit));
	t->macro = hm_arena_zalloc(&t->mem, t->nunits * sizeof(*t->macro));
	if (!t->unit || !t->macro)
		return hm_err_set(e, HM_ENOMEM, "out of memory while compiling the template");
	for (i = 0; i < t->nunits; i++)
		t->macro[i] = (struct hm_macro_ref){t, i};
	c.unit = &t->unit[0];
	for (i = 1; i < t->nunits; i++) { /* macros are known from the start; of two with one name the last */
		uint32_t k;

		for (k = i + 1; k < t->nunits && !hm_str_eq(p->macros[k - 1]->text, p->macros[i - 1]->text);
		     k++)
			;
		if (k == t->nunits)
			hm_emit(&c, OP_DEFMACRO, 0, 0, i);
		mark_assigned(&c, hm_name(&c, p->macros[i - 1]->text));
	}
	literal(&c, HM_STR(""));
	element(&c, root);
	hm_emit(&c, OP_RET, 0, 0, 0);
	for (i = 1; i < t->nunits && !c.failed; i++)
		macro(&c, p->macros[i - 1], &t->unit[i]);
	return c.failed ? e->code : 0;
}
