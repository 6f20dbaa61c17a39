/*
 * verify.c - proves the code sound before it is ever run
 *
 * Follows every path through the code once with the height of the value stack. A
 * template passes when each operand is in range for its table and unit, no path runs off
 * the end or below the stack, and two paths that meet agree on the height. The machine
 * relies on this and checks nothing of it. Only a fault of the compiler can fail here.
 */
#include "tmpl/put.h"
#include "tmpl/vm.h"

enum operand {
	C_NONE,
	C_INT,
	C_TARGET,
	C_LIT,
	C_CONST,
	C_NAME,
	C_PATH,
	C_SLOT,
	C_LOOP,
	C_CALL,
	C_MACRO,
	C_SCOPE,
	C_BI,
};
#define VAR -1

static const struct {
	const char *name;
	uint8_t operand;
	int8_t pops, pushes;
} ops[OP_COUNT] = {
#define HM_OP(name, c, pops, pushes) [OP_##name] = {#name, C_##c, pops, pushes},
#include "tmpl/ops.h"
#undef HM_OP
};

struct verifier {
	struct hm_tmpl *t;
	struct hm_err *e;
	int32_t *height; /* by instruction; -1: not reached yet */
	uint32_t *unit;
	uint32_t *todo, ntodo;
};

static int broken(struct verifier *v, uint32_t pc, const char *what)
{
	return hm_err_set(v->e, HM_EINVAL, "compiled template is broken at %u (%s): %s", pc,
			  v->t->code[pc].op < OP_COUNT ? ops[v->t->code[pc].op].name : "?", what);
}

static int pops_of(const struct hm_tmpl *t, const struct hm_insn *i)
{
	if (ops[i->op].pops != VAR)
		return ops[i->op].pops;
	switch (i->op) {
	case OP_RANGE: return i->a == RANGE_UNBOUND ? 1 : 2;
	case OP_MKSEQ:
	case OP_STRCAT:
	case OP_NESTED: return (int)i->c;
	case OP_MKHASH: return (int)i->c * 2;
	case OP_BI: return 1 + i->a;
	case OP_CALLFN: return 1 + (int)i->c;
	case OP_CYCLE:
	case OP_STOP: return i->a;
	case OP_CALL: return 1 + (int)t->call[i->c].nargs;
	case OP_INCLUDE: return 1 + i->a;
	default: return 0;
	}
}

static bool loop_ok(const struct hm_tmpl *t, const struct hm_unit *u, uint32_t loop)
{
	const struct hm_loop_info *l;

	if (loop >= t->nloops)
		return false;
	l = &t->loop[loop];
	return l->state < u->nloops && l->slot < u->nslots && (!l->has2 || l->slot2 < u->nslots);
}

static bool ref_ok(const struct hm_tmpl *t, const struct hm_unit *u, const struct hm_ref *r)
{
	return r->kind == REF_SLOT ? r->idx < u->nslots : r->kind <= REF_HAS_NEXT && loop_ok(t, u, r->idx);
}

static bool nameref_ok(const struct hm_tmpl *t, const struct hm_unit *u, uint32_t n)
{
	if (n >= t->nnamerefs || t->nameref[n].name >= t->nnames)
		return false;
	for (uint32_t i = 0; i < t->nameref[n].n; i++)
		if (!ref_ok(t, u, &t->nameref[n].ref[i]))
			return false;
	return true;
}

static bool operand_ok(const struct hm_tmpl *t, const struct hm_unit *u, const struct hm_insn *i)
{
	const struct hm_path *p;

	switch (ops[i->op].operand) {
	case C_TARGET: return i->c < t->ncode;
	case C_LIT: return i->c < t->nlits;
	case C_CONST: return i->c < t->nconsts;
	case C_NAME: return i->c < t->nnames;
	case C_SLOT: return i->c < u->nslots;
	case C_LOOP: return loop_ok(t, u, i->c);
	case C_CALL: return i->c < t->ncalls;
	case C_MACRO: return i->c > 0 && i->c < t->nunits;
	case C_BI: return i->c < BI_COUNT;
	case C_PATH:
		if (i->c >= t->npaths)
			return false;
		p = &t->path[i->c];
		return p->local ? p->root < u->nslots && (!p->nameref || nameref_ok(t, u, p->nameref - 1u))
				: p->root < t->nnames;
	case C_SCOPE:
		if (i->c >= t->nscopes)
			return false;
		for (uint32_t k = 0; k < t->scope[i->c].n; k++)
			if (!ref_ok(t, u, &t->scope[i->c].ref[k]))
				return false;
		return true;
	default: return true;
	}
}

/* What a and b hold, where it is a number of something. */
static bool ab_ok(const struct hm_tmpl *t, const struct hm_unit *u, const struct hm_insn *i)
{
	switch (i->op) {
	case OP_EMITG:
	case OP_EMITPATH: return (i->a & EMIT_FMT) < FMT_COUNT && i->b < t->nlits;
	case OP_EMIT:
	case OP_ENDCAP: return i->a < FMT_COUNT;
	case OP_LOADL: return i->b == 0 || nameref_ok(t, u, i->b - 1u);
	case OP_JSET: return i->b < u->nslots;
	case OP_NEEDL: return i->b < u->nparams;
	case OP_JNONE:
	case OP_NEXT:
	case OP_JLAST: return loop_ok(t, u, i->b);
	case OP_CMP:
	case OP_JCMP: return i->a <= CMP_GE;
	case OP_RANGE: return i->a <= RANGE_UNBOUND;
	case OP_SPECIAL: return i->a < SPECIAL_COUNT;
	case OP_SETTING: return i->a < SETTING_COUNT;
	case OP_CYCLE: return i->a > 0;
	case OP_CALL: {
		const struct hm_callsite *cs = &t->call[i->c];

		for (uint32_t k = 0; cs->body && k < cs->nvars; k++)
			if (cs->var_slot[k] >= u->nslots)
				return false;
		return cs->body < t->ncode;
	}
	default: return true;
	}
}

/* Control may arrive at pc with this height. */
static int arrive(struct verifier *v, uint32_t pc, uint32_t unit, int32_t height)
{
	struct hm_unit *u = &v->t->unit[unit];

	if (pc >= v->t->ncode)
		return hm_err_set(v->e, HM_EINVAL, "compiled template is broken: code runs off its end");
	if (v->height[pc] >= 0) {
		if (v->height[pc] != height || v->unit[pc] != unit)
			return broken(v, pc, "two paths meet with different stacks");
		return 0;
	}
	v->height[pc] = height;
	v->unit[pc] = unit;
	u->stack = hm_max(u->stack, (uint32_t)height);
	v->todo[v->ntodo++] = pc;
	return 0;
}

static bool falls_through(uint8_t op)
{
	return op != OP_JMP && op != OP_RET && op != OP_RETURN && op != OP_ENDBODY && op != OP_STOP &&
	       op != OP_FAIL && op != OP_LEAVE;
}

static int step(struct verifier *v, uint32_t pc)
{
	const struct hm_tmpl *t = v->t;
	const struct hm_insn *i = &t->code[pc];
	uint32_t unit = v->unit[pc];
	struct hm_unit *u = &v->t->unit[unit];
	int32_t h = v->height[pc];
	int pops, rc = 0;

	if (i->op >= OP_COUNT)
		return broken(v, pc, "unknown instruction");
	if (!operand_ok(t, u, i))
		return broken(v, pc, "an operand is out of range");
	if (!ab_ok(t, u, i))
		return broken(v, pc, "an operand is out of range");
	pops = pops_of(t, i);
	if (pops < 0 || h < pops)
		return broken(v, pc, "the stack runs empty");
	h = h - pops + ops[i->op].pushes;
	u->stack = hm_max(u->stack, (uint32_t)h);
	if (i->op == OP_CALL && t->call[i->c].body)
		rc = arrive(v, t->call[i->c].body, unit, 0);
	if (rc)
		return rc;
	if (ops[i->op].operand == C_TARGET) {
		int32_t at = h;

		if (i->op == OP_GUARD) {
			at = h + 1;
			u->stack = hm_max(u->stack, (uint32_t)at);
		} else if (i->op == OP_LEAVE) {
			at = 0;
		}
		rc = arrive(v, i->c, unit, at);
		if (rc)
			return rc;
	}
	if (i->op == OP_ORJ)
		h--;
	return falls_through(i->op) ? arrive(v, pc + 1, unit, h) : 0;
}

/* No instruction gives a name a value, or shows the names: then they are read from the data alone. */
static bool pure(const struct hm_tmpl *t)
{
	for (uint32_t pc = 0; pc < t->ncode; pc++)
		switch (t->code[pc].op) {
		case OP_SETV:
		case OP_LOADNS:
		case OP_DEFMACRO:
		case OP_INCLUDE: return false;
		case OP_SPECIAL:
			if (t->code[pc].a != SPECIAL_LOCALE && t->code[pc].a != SPECIAL_LANG &&
			    t->code[pc].a != SPECIAL_NOW)
				return false;
			break;
		default: break;
		}
	return true;
}

/* Text and names, each name numbered by its first use, and no more names than that. */
static bool line(const struct hm_tmpl *t)
{
	const struct hm_insn *i = t->code + t->unit[0].entry;
	uint32_t seen = 0;

	for (; i->op == OP_EMITG && i->c <= seen && !(i->a & EMIT_ESC); i++)
		seen += i->c == seen;
	if (i->op == OP_LIT)
		i++;
	return i->op == OP_RET && seen > 0 && seen == t->nnames;
}

/* For finding the name a key of the data has. */
static int index_names(struct hm_tmpl *t, struct hm_err *e)
{
	uint32_t size = 8;

	while (size < t->nnames * 2)
		size *= 2;
	t->name_first = hm_arena_zalloc(&t->mem, size * sizeof(*t->name_first));
	t->name_next = hm_arena_zalloc(&t->mem, (t->nnames + 1) * sizeof(*t->name_next));
	if (!t->name_first || !t->name_next)
		return hm_err_set(e, HM_ENOMEM, "out of memory while compiling the template");
	t->name_mask = size - 1;
	for (uint32_t i = 0; i < t->nnames; i++) {
		struct hm_str n = t->name[i];
		uint16_t *place;

		if (n.len == 0)
			continue;
		place = &t->name_first[hm_name_hash(n.p, (uint32_t)n.len) & t->name_mask];
		t->name_next[i] = *place;
		*place = (uint16_t)(i + 1);
	}
	return 0;
}

int hm_code_verify(struct hm_tmpl *t, struct hm_err *e)
{
	struct hm_arena tmp;
	struct verifier v = {.t = t, .e = e};
	int rc = 0;
	uint32_t i;

	hm_arena_init(&tmp, NULL, 0);
	v.height = hm_arena_alloc(&tmp, (t->ncode + 1) * sizeof(*v.height));
	v.unit = hm_arena_alloc(&tmp, (t->ncode + 1) * sizeof(*v.unit));
	v.todo = hm_arena_alloc(&tmp, (t->ncode + 1) * sizeof(*v.todo));
	if (!v.height || !v.unit || !v.todo) {
		hm_arena_fini(&tmp);
		return hm_err_set(e, HM_ENOMEM, "out of memory while verifying the template");
	}
	memset(v.height, 0xff, t->ncode * sizeof(*v.height));
	for (i = 0; i < t->nunits && rc == 0; i++)
		rc = arrive(&v, t->unit[i].entry, i, 0);
	while (rc == 0 && v.ntodo > 0)
		rc = step(&v, v.todo[--v.ntodo]);
	t->pure = pure(t);
	if (rc == 0 && t->nnames <= HM_STRIP_NAMES)
		rc = index_names(t, e);
	t->line = rc == 0 && t->pure && line(t);
	hm_arena_fini(&tmp);
	return rc;
}

/* -- for people --------------------------------------------------------------------------- */

static void dump_str(struct hm_buf *out, struct hm_str s)
{
	size_t n = hm_utf8_cut(s, 60);

	hm_buf_putc(out, '"');
	hm_buf_json(out, hm_str_n(s.p, n));
	hm_buf_puts(out, n < s.len ? HM_STR("...\"") : HM_STR("\""));
}

static void dump_operand(const struct hm_tmpl *t, const struct hm_insn *i, struct hm_buf *out)
{
	const struct hm_path *p;

	if ((i->op == OP_EMITG || i->op == OP_EMITPATH) && i->b) {
		dump_str(out, t->lit[i->b]);
		hm_buf_putc(out, ' ');
	}
	switch (ops[i->op].operand) {
	case C_LIT: dump_str(out, t->lit[i->c]); break;
	case C_NAME: hm_buf_puts(out, t->name[i->c]); break;
	case C_BI: hm_buf_puts(out, hm_bi_def[i->c].name); break;
	case C_MACRO: hm_buf_puts(out, t->name[t->unit[i->c].name]); break;
	case C_CONST:
		if (t->constant[i->c].kind == V_STR) {
			dump_str(out, hm_vstr_of(t->constant[i->c]));
		} else if (hm_v_is_num(t->constant[i->c])) {
			char text[HM_DEC_MAX_TEXT];

			hm_buf_put(out, text, hm_dec_text(hm_v_dec(t->constant[i->c]), text));
		}
		break;
	case C_PATH:
		p = &t->path[i->c];
		if (p->local)
			hm_buf_printf(out, "slot %u", p->root);
		else
			hm_buf_puts(out, t->name[p->root]);
		for (uint32_t k = 0; k < p->nkeys; k++)
			hm_buf_printf(out, ".%.*s", HM_STRF(p->key[k]));
		break;
	case C_NONE: break;
	case C_INT: hm_buf_printf(out, "%d", (int)i->c); break;
	default: hm_buf_printf(out, "%u", i->c);
	}
}

void hm_tmpl_dump(const struct hm_tmpl *t, struct hm_buf *out)
{
	for (uint32_t pc = 0; pc < t->ncode; pc++) {
		const struct hm_insn *i = &t->code[pc];

		for (uint32_t u = 1; u < t->nunits; u++)
			if (t->unit[u].entry == pc)
				hm_buf_printf(out, "macro %.*s:\n", HM_STRF(t->name[t->unit[u].name]));
		hm_buf_printf(out, "%5u %-11s %3u %5u  ", pc, ops[i->op].name, i->a, i->b);
		dump_operand(t, i, out);
		hm_buf_printf(out, "  ; line %d\n", hm_src_line(&t->src, t->span[pc].pos));
	}
}
