/*
 * vm.c - runs compiled templates
 *
 * One loop over the instructions, a value stack, records for what is being run (the text,
 * macros, bodies of macro calls, included fragments) and a list of open captures and
 * handlers. No recursion in C: macros and fragments are records, so depth is a number that
 * is checked. The verifier has proved stack heights and operands; here only values are.
 *
 * When something fails, vm->rc holds the code and *vm->e the sentence; recover() looks for
 * an <#attempt> or a guarded expression to go on with.
 */
#include "tmpl/vm.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/json.h"
#include "base/obj.h"
#include "tmpl/compress.h"
#include "tmpl/numfmt.h"
#include "tmpl/put.h"

/* Not inline: what is rare, or long anyway, leaves the registers of run() to what is not. */
#define APART __attribute__((noinline))

/* -- failing ----------------------------------------------------------------------------- */

static struct hm_str source_of(const struct hm_tmpl *t, uint32_t pc)
{
	const struct hm_span *s = &t->span[pc];
	struct hm_str text = hm_str_n(t->src.text.p + s->pos, s->end - s->pos);

	return hm_str_n(text.p, hm_utf8_cut(text, 80));
}

/* Data may hold bytes that are no UTF-8; sentences may not. */
static void clean(char *text)
{
	size_t len = strlen(text), i, n;

	for (i = 0; i < len; i += n)
		if (hm_utf8_decode(hm_str_n(text + i, len - i), &n) == 0xFFFD && n == 1)
			text[i] = '?';
}

static int fail_at(struct hm_vm *vm, const struct hm_tmpl *t, uint32_t pc, int code, char *text)
{
	int line = hm_src_line(&t->src, t->span[pc].pos), col = hm_src_col(&t->src, t->span[pc].pos);
	char file[160];

	snprintf(file, sizeof(file), "%.*s", (int)hm_min(t->src.name.len, sizeof(file) - 1),
		 t->src.name.p ? t->src.name.p : "");
	vm->rc = code;
	clean(text);
	return hm_err_at(vm->e, code, file, line, col, "%s (line %d)", text, line);
}

int hm_vm_fail(struct hm_vm *vm, int code, const char *fmt, ...)
{
	const struct hm_tmpl *t = vm->link->tmpl;
	struct hm_str src = source_of(t, vm->pc);
	char text[280];
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	n = strlen(text);
	snprintf(text + n, sizeof(text) - n, ", in `%.*s`", HM_STRF(src));
	return fail_at(vm, t, vm->pc, code, text);
}

int hm_vm_missing(struct hm_vm *vm)
{
	const struct hm_tmpl *t = vm->null_tmpl ? vm->null_tmpl : vm->link->tmpl;
	uint32_t pc = vm->null_tmpl ? vm->null_pc : vm->pc;
	struct hm_str src = source_of(t, pc);
	char text[160];

	snprintf(text, sizeof(text), "`%.*s` is missing", HM_STRF(src));
	return fail_at(vm, t, pc, HM_EUNDEF, text);
}

int hm_vm_wrong(struct hm_vm *vm, struct hm_val v, const char *wanted)
{
	return hm_vm_fail(vm, HM_ETYPE, "%s is wanted, but this is %s", wanted, hm_v_kind_name(v));
}

/* -- memory ----------------------------------------------------------------------------------- */

static bool charge(struct hm_vm *vm, size_t n)
{
	if (n <= vm->max_memory - vm->memory) {
		vm->memory += n;
		return true;
	}
	hm_vm_fail(vm, HM_ELIMIT, "the template needs more than %zu bytes of memory", vm->max_memory);
	return false;
}

static void *no_memory(struct hm_vm *vm)
{
	hm_vm_fail(vm, HM_ENOMEM, "out of memory while rendering");
	return NULL;
}

void *hm_vm_alloc(struct hm_vm *vm, size_t n)
{
	void *p;

	if (!charge(vm, n + 16))
		return NULL;
	p = hm_arena_alloc(vm->arena, n);
	return p ? p : no_memory(vm);
}

bool hm_text_room(struct hm_text *t, size_t more)
{
	size_t cap;
	char *p;

	if (t->cap - t->len >= more)
		return true;
	cap = t->cap ? t->cap * 2 : 64;
	if (cap < t->len + more)
		cap = t->len + more;
	if (!charge(t->vm, cap - t->cap))
		return false;
	p = hm_arena_grow(t->vm->arena, t->p, t->cap, cap);
	if (!p) {
		no_memory(t->vm);
		return false;
	}
	t->p = p;
	t->cap = cap;
	return true;
}

/* -- names --------------------------------------------------------------------------------------- */

/* hm_v_from_mp with the usual kinds inline */
static inline int from_mp(struct hm_vm *vm, const msgpack_object *o, struct hm_val *r)
{
	switch (o->type) {
	case MSGPACK_OBJECT_STR: *r = hm_vstr(hm_str_n(o->via.str.ptr, o->via.str.size)); return 0;
	case MSGPACK_OBJECT_MAP: *r = (struct hm_val){.kind = V_MPMAP, .u.mp = o}; return 0;
	case MSGPACK_OBJECT_ARRAY: *r = (struct hm_val){.kind = V_MPSEQ, .u.mp = o}; return 0;
	case MSGPACK_OBJECT_BOOLEAN: *r = hm_vbool(o->via.boolean); return 0;
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
		if (hm_likely(o->via.u64 <= INT64_MAX)) {
			*r = hm_vint((int64_t)o->via.u64);
			return 0;
		}
		return hm_v_from_mp(vm, o, r);
	default: return hm_v_from_mp(vm, o, r);
	}
}

static APART const msgpack_object *root_find(const struct hm_vm *vm, struct hm_str name)
{
	for (size_t i = 0; i < vm->ctx->nroots; i++) {
		const msgpack_object *map = vm->ctx->roots[i], *o;

		if (!map || map->type != MSGPACK_OBJECT_MAP)
			continue;
		o = hm_mp_find(map, name);
		if (o && o->type != MSGPACK_OBJECT_NIL)
			return o;
	}
	return NULL;
}

static struct hm_val root_value(struct hm_vm *vm, struct hm_str name)
{
	const msgpack_object *o = root_find(vm, name);
	struct hm_val v;

	return o && from_mp(vm, o, &v) == 0 ? v : HM_VNULL; /* if it failed, vm->rc is set */
}

static struct hm_val gvar_value(struct hm_vm *vm, struct hm_gvar *g)
{
	if (g->ns.kind != V_NULL)
		return g->ns;
	if (g->global.kind != V_NULL)
		return g->global;
	if (!g->looked_up) {
		g->data = root_value(vm, g->name);
		g->looked_up = true;
	}
	return g->data;
}

static struct hm_gvar **var_place(const struct hm_vm *vm, struct hm_str name)
{
	uint32_t mask = vm->vars_size - 1, i = (uint32_t)hm_hash64(name.p, name.len, 0) & mask;

	while (vm->vars[i] && !hm_str_eq(vm->vars[i]->name, name))
		i = (i + 1) & mask;
	return &vm->vars[i];
}

/* Makes the hash larger; made for the first time, it takes in the names of the main text. */
static int vars_grow(struct hm_vm *vm)
{
	struct hm_gvar **old = vm->vars;
	uint32_t old_size = vm->vars_size, size = old_size ? old_size * 2 : 64, k;
	const struct hm_link *main = vm->links;

	while (main->next)
		main = main->next;
	while (size < main->tmpl->nnames * 4)
		size *= 2;
	vm->vars = hm_vm_alloc(vm, size * sizeof(struct hm_gvar *));
	if (!vm->vars)
		return vm->rc;
	memset(vm->vars, 0, size * sizeof(struct hm_gvar *));
	vm->vars_size = size;
	for (k = 0; k < old_size; k++)
		if (old[k])
			*var_place(vm, old[k]->name) = old[k];
	if (old_size)
		return 0;
	for (k = 0; k < main->tmpl->nnames; k++)
		*var_place(vm, main->gvar[k]->name) = main->gvar[k];
	vm->nvars = main->tmpl->nnames;
	return 0;
}

/* The variable of this name, made when it is new; used only once several templates take part, or for .vars. */
static struct hm_gvar *gvar_by_name(struct hm_vm *vm, struct hm_str name)
{
	struct hm_gvar **g;

	if (vm->nvars * 2 >= vm->vars_size && vars_grow(vm))
		return NULL;
	g = var_place(vm, name);
	if (*g)
		return *g;
	*g = hm_vm_alloc(vm, sizeof(**g));
	if (!*g)
		return NULL;
	**g = (struct hm_gvar){.name = name};
	vm->nvars++;
	return *g;
}

static struct hm_val loop_value(const struct hm_frame *f, const struct hm_tmpl *t, uint32_t loop,
				enum hm_bi what)
{
	const struct hm_loopstate *l = &f->loop[t->loop[loop].state];
	int64_t i = hm_max(l->index, (int64_t)0);

	switch (what) {
	case BI_ID_index: return hm_vint(i);
	case BI_ID_counter: return hm_vint(i + 1);
	case BI_ID_has_next: return hm_vbool(i + 1 < l->size);
	case BI_ID_is_first: return hm_vbool(i == 0);
	case BI_ID_is_last: return hm_vbool(i + 1 >= l->size);
	case BI_ID_is_odd_item: return hm_vbool(i % 2 == 0);
	case BI_ID_is_even_item: return hm_vbool(i % 2 != 0);
	case BI_ID_item_parity: return hm_vstr(i % 2 == 0 ? HM_STR("odd") : HM_STR("even"));
	default: return hm_vstr(i % 2 == 0 ? HM_STR("Odd") : HM_STR("Even"));
	}
}

static struct hm_val ref_value(const struct hm_frame *f, const struct hm_ref *r)
{
	if (r->kind == REF_SLOT)
		return f->slot[r->idx];
	return loop_value(f, f->link->tmpl, r->idx, r->kind == REF_INDEX ? BI_ID_index : BI_ID_has_next);
}

/* Local names of the place a fragment was included from, and of the place that was, and so on. */
static struct hm_val dyn_value(const struct hm_frame *f, const struct hm_scope *scope, struct hm_str name,
			       bool only_locals)
{
	while (f && scope) {
		for (uint32_t i = 0; i < scope->n; i++) {
			struct hm_val v;

			if ((only_locals && !scope->ref[i].local) || !hm_str_eq(scope->ref[i].name, name))
				continue;
			v = ref_value(f, &scope->ref[i]);
			if (v.kind != V_NULL)
				return v;
		}
		scope = f->dyn_scope;
		f = f->dyn;
	}
	return HM_VNULL;
}

/* Of a template that assigns, or that others are joined with. */
static APART struct hm_val load_shared(struct hm_vm *vm, const struct hm_frame *f, uint32_t name)
{
	if (hm_unlikely(f->dyn != NULL)) {
		struct hm_val v = dyn_value(f->dyn, f->dyn_scope, f->link->tmpl->name[name], false);

		if (v.kind != V_NULL)
			return v;
	}
	return gvar_value(vm, f->link->gvar[name]);
}

static inline struct hm_val load_global(struct hm_vm *vm, const struct hm_frame *f, uint32_t name)
{
	struct hm_val *d;

	if (hm_likely(f->link->data != NULL)) {
		d = &f->link->data[name];
		if (d->kind == V_UNREAD)
			*d = root_value(vm, f->link->tmpl->name[name]);
		return *d;
	}
	return load_shared(vm, f, name);
}

/* The slot is empty: other locals of the name, then the global one. */
static APART struct hm_val load_fallback(struct hm_vm *vm, const struct hm_frame *f, uint32_t nameref)
{
	const struct hm_nameref *nr = &f->link->tmpl->nameref[nameref];

	for (uint32_t i = 0; i < nr->n; i++) {
		struct hm_val v = ref_value(f, &nr->ref[i]);

		if (v.kind != V_NULL)
			return v;
	}
	return nr->no_global ? HM_VNULL : load_global(vm, f, nr->name);
}

int hm_vm_scope_get(struct hm_vm *vm, struct hm_val scope, struct hm_str name, struct hm_val *r)
{
	const struct hm_scope_ref *s = scope.u.scope;
	struct hm_gvar *g;

	*r = HM_VNULL;
	if (scope.aux == SPECIAL_VARS || scope.aux == SPECIAL_LOCALS)
		*r = dyn_value(s->frame, s->scope, name, scope.aux == SPECIAL_LOCALS);
	if (r->kind != V_NULL || scope.aux == SPECIAL_LOCALS)
		return 0;
	g = gvar_by_name(vm, name);
	if (!g)
		return vm->rc;
	switch (scope.aux) {
	case SPECIAL_DATA_MODEL: *r = root_value(vm, name); break;
	case SPECIAL_GLOBALS:
		*r = g->global;
		if (r->kind == V_NULL)
			*r = root_value(vm, name);
		break;
	case SPECIAL_MAIN:
	case SPECIAL_NAMESPACE: *r = g->ns; break;
	default: *r = gvar_value(vm, g);
	}
	return vm->rc;
}

/* -- records and frames ------------------------------------------------------------------------------ */

static struct hm_frame *frame_new(struct hm_vm *vm, const struct hm_link *link, const struct hm_unit *unit)
{
	struct hm_frame *f = vm->free_frames;
	size_t slots = unit->nslots * sizeof(struct hm_val),
	       loops = unit->nloops * sizeof(struct hm_loopstate);

	if (f && f->unit == unit) {
		vm->free_frames = f->free_next;
	} else {
		f = hm_vm_alloc(vm, sizeof(*f) + slots + loops);
		if (!f)
			return NULL;
		f->slot = (struct hm_val *)(f + 1);
		f->loop = (struct hm_loopstate *)(f->slot + unit->nslots);
		f->unit = unit;
	}
	f->link = link;
	f->site = NULL;
	f->site_frame = f->dyn = NULL;
	f->dyn_scope = NULL;
	if (slots + loops)
		memset(f->slot, 0, slots + loops);
	return f;
}

static int stack_room(struct hm_vm *vm, uint32_t more)
{
	uint32_t cap;
	struct hm_val *s;

	if (vm->cap_stack - vm->sp >= more)
		return 0;
	cap = hm_max(vm->cap_stack * 2, vm->sp + more);
	s = hm_vm_alloc(vm, cap * sizeof(*s));
	if (!s)
		return vm->rc;
	if (vm->sp)
		memcpy(s, vm->stack, vm->sp * sizeof(*s));
	vm->stack = s;
	vm->cap_stack = cap;
	return 0;
}

static int rec_push(struct hm_vm *vm, const struct hm_rec *r)
{
	int rc = stack_room(vm, r->frame->unit->stack);

	if (rc)
		return rc;
	if (vm->nrec > vm->max_depth)
		return hm_vm_fail(vm, HM_ELIMIT, "macros and fragments are nested deeper than %u",
				  vm->max_depth);
	if (vm->nrec == vm->cap_rec) {
		uint32_t cap = vm->cap_rec ? vm->cap_rec * 2 : 8;
		struct hm_rec *p = hm_vm_alloc(vm, cap * sizeof(*p));

		if (!p)
			return vm->rc;
		if (vm->nrec)
			memcpy(p, vm->rec, vm->nrec * sizeof(*p));
		vm->rec = p;
		vm->cap_rec = cap;
	}
	vm->rec[vm->nrec++] = *r;
	return 0;
}

/* Takes the innermost record off. Its frame can be used again, unless it belongs to another record. */
static void rec_pop(struct hm_vm *vm)
{
	struct hm_rec *r = &vm->rec[--vm->nrec];

	if (r->kind != REC_BODY) {
		r->frame->free_next = vm->free_frames;
		vm->free_frames = r->frame;
	}
}

/* -- captured output ------------------------------------------------------------------------------------ */

static APART int out_push(struct hm_vm *vm, struct hm_out o)
{
	if (vm->nouts == vm->cap_outs) {
		uint32_t cap = vm->cap_outs ? vm->cap_outs * 2 : 8;
		struct hm_out *p = hm_vm_alloc(vm, cap * sizeof(*p));

		if (!p)
			return vm->rc;
		if (vm->nouts)
			memcpy(p, vm->outs, vm->nouts * sizeof(*p));
		vm->outs = p;
		vm->cap_outs = cap;
	}
	o.len = vm->out->len;
	o.sp = vm->sp;
	o.rec = vm->nrec;
	vm->outs[vm->nouts++] = o;
	return 0;
}

static void out_close_compress(struct hm_vm *vm, const struct hm_out *o)
{
	if (vm->out->len > o->len)
		vm->out->len = o->len + hm_compress(vm->out->p + o->len, vm->out->len - o->len);
}

/* Leaves captures and attempts without their result; what <#compress> holds is still printed. */
static APART void out_unwind(struct hm_vm *vm, uint32_t to)
{
	while (vm->nouts > to) {
		const struct hm_out *o = &vm->outs[--vm->nouts];

		if (o->kind == OUT_COMPRESS)
			out_close_compress(vm, o);
		else if (o->kind != OUT_GUARD)
			vm->out->len = o->len;
	}
}

/* After a failure: the innermost handler that wants it. Returns its code address, or 0. */
static APART uint32_t recover(struct hm_vm *vm)
{
	bool undefined = vm->rc == HM_EUNDEF;
	bool any = undefined || vm->rc == HM_ETYPE || vm->rc == HM_EINVAL || vm->rc == HM_EPARSE;

	if (!any)
		return 0;
	while (vm->nouts > 0) {
		struct hm_out o = vm->outs[--vm->nouts];

		vm->out->len = o.kind == OUT_COMPRESS ? vm->out->len : o.len;
		if (!(o.kind == OUT_ATTEMPT || (o.kind == OUT_GUARD && undefined)))
			continue;
		while (vm->nrec > o.rec)
			rec_pop(vm);
		vm->sp = o.sp;
		if (o.kind == OUT_GUARD)
			vm->stack[vm->sp++] = HM_VNULL;
		vm->rc = 0;
		hm_err_clear(vm->e);
		return o.handler;
	}
	return 0;
}

/* -- output ------------------------------------------------------------------------------------------------ */

/* The value the instruction itself read is missing. */
static int note_missing(struct hm_vm *vm)
{
	vm->null_pc = vm->pc;
	vm->null_tmpl = vm->link->tmpl;
	return hm_vm_missing(vm);
}

static APART int emit_slow(struct hm_vm *vm, struct hm_val v, unsigned fmt, bool esc)
{
	struct hm_str s;
	int rc;

	if (v.kind == V_MARKUP) {
		const struct hm_markup *m = v.u.markup;

		if (m->fmt == fmt || fmt == FMT_UNDEFINED) {
			if (m->plain)
				hm_escape_markup(vm->out, m->fmt, m->text);
			else
				hm_buf_puts(vm->out, m->text);
			return 0;
		}
		if (!m->plain)
			return hm_vm_fail(vm, HM_EINVAL,
					  "markup of one format cannot be printed in another (%.*s)",
					  HM_STRF(hm_fmt_name(fmt)));
		if (hm_fmt_is_markup(fmt))
			hm_escape_markup(vm->out, fmt, m->text);
		else
			hm_buf_puts(vm->out, m->text);
		return 0;
	}
	rc = hm_v_text(vm, v, &s);
	if (rc)
		return rc;
	if (esc)
		hm_escape_markup(vm->out, fmt, s);
	else
		hm_buf_puts(vm->out, s);
	return 0;
}

static inline void put_lit(struct hm_vm *vm, const struct hm_str *s)
{
	struct hm_buf *out = vm->out;

	if (hm_likely(out->cap - out->len >= s->len + HM_LIT_PAD && !out->err)) {
		hm_copy_padded(out->p + out->len, s->p, s->len);
		out->len += s->len;
	} else {
		hm_buf_puts(out, *s);
	}
}

static inline void emit_text(struct hm_vm *vm, const char *p, uint32_t n, unsigned fmt, bool esc)
{
	vm->steps += n >> 6;
	if (esc && (fmt == FMT_MARKDOWN || hm_markup_find(hm_str_n(p, n)) < n))
		hm_escape_markup(vm->out, fmt, hm_str_n(p, n));
	else
		hm_put(vm->out, p, n);
}

static inline int emit(struct hm_vm *vm, struct hm_val v, unsigned fmt, bool esc)
{
	if (hm_likely(v.kind == V_STR)) {
		emit_text(vm, v.u.s, v.len, fmt, esc);
		return 0;
	}
	if (v.kind == V_INT && !vm->number) {
		hm_put_i64(vm->out, v.u.i);
		return 0;
	}
	return emit_slow(vm, v, fmt, esc);
}

/* A value of the data, straight from there where that makes no difference. */
static APART int emit_mp(struct hm_vm *vm, const msgpack_object *o, unsigned fmt, bool esc)
{
	struct hm_val v;
	int rc;

	if (o->type == MSGPACK_OBJECT_NIL)
		return note_missing(vm);
	if (!vm->number && o->type == MSGPACK_OBJECT_EXT && o->via.ext.type == HM_MP_DECIMAL) {
		size_t n = hm_decimal_shown(hm_str_n(o->via.ext.ptr, o->via.ext.size));

		if (n > 0) {
			hm_put(vm->out, o->via.ext.ptr, n);
			return 0;
		}
	}
	rc = hm_v_from_mp(vm, o, &v);
	return rc ? rc : emit(vm, v, fmt, esc);
}

static APART int emit_global(struct hm_vm *vm, const struct hm_frame *f, const struct hm_insn *i)
{
	const struct hm_tmpl *t = f->link->tmpl;
	const msgpack_object *o;
	struct hm_val v;

	put_lit(vm, &t->lit[i->b]);
	if (f->link->data) {
		o = root_find(vm, t->name[i->c]);
		return o ? emit_mp(vm, o, i->a & EMIT_FMT, i->a & EMIT_ESC) : note_missing(vm);
	}
	v = load_shared(vm, f, i->c);
	if (vm->rc)
		return vm->rc;
	return v.kind == V_NULL ? note_missing(vm) : emit(vm, v, i->a & EMIT_FMT, i->a & EMIT_ESC);
}

/* -- values -------------------------------------------------------------------------------------------------- */

static APART int load_path(struct hm_vm *vm, const struct hm_frame *f, const struct hm_path *p,
			   struct hm_val *r)
{
	struct hm_val v;
	int rc;

	if (p->local) {
		v = f->slot[p->root];
		if (v.kind == V_NULL && p->nameref)
			v = load_fallback(vm, f, p->nameref - 1u);
	} else {
		v = load_global(vm, f, p->root);
	}
	if (vm->rc)
		return vm->rc;
	for (uint32_t i = 0; i < p->nkeys; i++) {
		if (v.kind == V_NULL) {
			if (p->soft)
				break;
			vm->null_pc = vm->pc;
			vm->null_tmpl = f->link->tmpl;
			return hm_vm_missing(vm);
		}
		rc = hm_v_get(vm, v, p->key[i], &v);
		if (rc)
			return rc;
	}
	*r = v;
	return 0;
}

static APART int emit_path(struct hm_vm *vm, const struct hm_frame *f, const struct hm_insn *i)
{
	struct hm_val v;
	int rc = load_path(vm, f, &f->link->tmpl->path[i->c], &v);

	if (rc)
		return rc;
	put_lit(vm, &f->link->tmpl->lit[i->b]);
	return v.kind == V_NULL ? note_missing(vm) : emit(vm, v, i->a & EMIT_FMT, i->a & EMIT_ESC);
}

static APART int arith(struct hm_vm *vm, enum hm_op op, struct hm_val a, struct hm_val b, struct hm_val *r)
{
	struct hm_dec x, y, d;
	int64_t n;
	bool ok;
	int rc;

	if (a.kind == V_INT && b.kind == V_INT) {
		if ((op == OP_SUB && !__builtin_sub_overflow(a.u.i, b.u.i, &n)) ||
		    (op == OP_MUL && !__builtin_mul_overflow(a.u.i, b.u.i, &n))) {
			*r = hm_vint(n);
			return 0;
		}
	}
	rc = hm_v_number(vm, a, &x);
	if (rc == 0)
		rc = hm_v_number(vm, b, &y);
	if (rc)
		return rc;
	switch (op) {
	case OP_SUB: ok = hm_dec_sub(x, y, &d); break;
	case OP_MUL: ok = hm_dec_mul(x, y, &d); break;
	case OP_DIV: ok = hm_dec_div(x, y, &d); break;
	default: ok = hm_dec_mod(x, y, &d); break;
	}
	if (!ok) {
		if ((op == OP_DIV && y.coef == 0) || (op == OP_MOD && hm_dec_to_i64(y) == 0))
			return hm_vm_fail(vm, HM_EINVAL, "division by zero");
		return hm_vm_fail(vm, HM_EINVAL, "the result has more than 38 digits");
	}
	return hm_v_dec_new(vm, d, r);
}

static APART int negate(struct hm_vm *vm, struct hm_val a, struct hm_val *r)
{
	struct hm_dec d;
	int rc = hm_v_number(vm, a, &d);

	if (rc)
		return rc;
	d.coef = -d.coef;
	return hm_v_dec_new(vm, d, r);
}

static inline bool holds(int cmp, enum hm_cmp op)
{
	switch (op) {
	case CMP_EQ: return cmp == 0;
	case CMP_NE: return cmp != 0;
	case CMP_LT: return cmp < 0;
	case CMP_LE: return cmp <= 0;
	case CMP_GT: return cmp > 0;
	case CMP_GE: return cmp >= 0;
	}
	hm_unreachable();
}

static inline int compare(struct hm_vm *vm, const struct hm_val *v, bool eq, int *r)
{
	if (hm_likely(v[0].kind == V_INT && v[1].kind == V_INT)) {
		*r = v[0].u.i < v[1].u.i ? -1 : v[0].u.i > v[1].u.i;
		return 0;
	}
	return hm_v_compare(vm, v[0], v[1], eq, false, r);
}

static APART int make_range(struct hm_vm *vm, enum hm_range_end end, struct hm_val a, struct hm_val b,
			    struct hm_val *r)
{
	struct hm_range *g;
	int64_t from, to = 0;
	int rc = hm_v_int(vm, a, &from);

	if (rc == 0 && end != RANGE_UNBOUND)
		rc = hm_v_int(vm, b, &to);
	if (rc)
		return rc;
	g = hm_vm_alloc(vm, sizeof(*g));
	if (!g)
		return vm->rc;
	if (end == RANGE_SIZE)
		to += from;
	*g = (struct hm_range){.begin = from,
			       .step = end == RANGE_UNBOUND || from <= to ? 1 : -1,
			       .unbounded = end == RANGE_UNBOUND,
			       .adaptive = end == RANGE_SIZE || end == RANGE_UNBOUND,
			       .inclusive = end == RANGE_INCLUSIVE};
	g->size = (to > from ? to - from : from - to) + g->inclusive;
	*r = (struct hm_val){.kind = V_RANGE, .u.range = g};
	return 0;
}

static APART int make_seq(struct hm_vm *vm, const struct hm_val *v, uint32_t n, struct hm_val *r)
{
	int rc = hm_v_seq_new(vm, n, r);

	for (uint32_t i = 0; rc == 0 && i < n; i++)
		rc = v[i].kind == V_NULL ? hm_vm_missing(vm) : hm_v_seq_put(vm, *r, v[i]);
	return rc;
}

static APART int make_hash(struct hm_vm *vm, const struct hm_val *v, uint32_t n, struct hm_val *r)
{
	struct hm_str key;
	int rc = hm_v_hash_new(vm, n, r);

	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		rc = hm_v_text(vm, v[2 * i], &key);
		if (rc == 0 && v[2 * i + 1].kind == V_NULL)
			return hm_vm_missing(vm);
		if (rc == 0)
			rc = hm_v_hash_put(vm, *r, key, v[2 * i + 1]);
	}
	return rc;
}

/* "text ${x} text": markup when one of the parts is */
static APART int strcat_parts(struct hm_vm *vm, const struct hm_val *v, uint32_t n, struct hm_val *r)
{
	struct hm_text t = {.vm = vm};
	struct hm_str s;
	uint32_t i;
	int rc;

	for (i = 0; i < n; i++)
		if (v[i].kind == V_MARKUP)
			break;
	if (i < n) {
		struct hm_val acc = hm_vstr(HM_STR(""));

		rc = 0;
		for (i = 0; rc == 0 && i < n; i++) {
			struct hm_val part = v[i];

			if (part.kind != V_MARKUP) { /* a number is text here, never added up */
				rc = hm_v_text(vm, part, &s);
				part = hm_vstr(s);
			}
			if (rc == 0)
				rc = hm_v_add(vm, acc, part, &acc);
		}
		*r = acc;
		return rc;
	}
	for (i = 0; i < n; i++) {
		rc = hm_v_text(vm, v[i], &s);
		if (rc)
			return rc;
		if (!hm_text_put(&t, s))
			return vm->rc;
	}
	*r = hm_text_val(&t);
	return hm_vm_step(vm, t.len >> 6);
}

static APART int call_built_in(struct hm_vm *vm, const struct hm_insn *i, const struct hm_val *v,
			       struct hm_val *r)
{
	static hm_bi_fn *const fn[BI_COUNT] = {
#define HM_BI(id, name, min, max, flags) [BI_ID_##id] = hm_bi_##id,
#define HM_BI_X(id, name, min, max, flags)
#include "tmpl/builtins.h"
#undef HM_BI
#undef HM_BI_X
	};
	const struct hm_bi_def *d = &hm_bi_def[i->c];
	unsigned n = i->a;

	if (v[0].kind == V_NULL && !(d->flags & BI_NULL))
		return hm_vm_missing(vm);
	for (unsigned k = 1; k <= n && !(d->flags & BI_ARGNULL); k++) {
		if (v[k].kind != V_NULL)
			continue;
		if (d->flags & BI_ARGTEXT) {
			unsigned pc = vm->null_pc;
			struct hm_str s;
			int rc = v[0].kind == V_BOOL && i->c == BI_ID_string
					 ? 0
					 : hm_v_text(vm, v[0], &s); /* the left side is looked at first */

			vm->null_pc = pc;
			return rc ? rc : hm_vm_missing(vm);
		}
		return hm_vm_fail(vm, HM_EINVAL, "argument %u of ?%.*s is missing", k, HM_STRF(d->name));
	}
	if (n < d->min || n > d->max)
		return hm_vm_fail(vm, HM_EINVAL, "?%.*s does not take %u arguments", HM_STRF(d->name), n);
	vm->steps += 1 + (v[0].kind == V_STR ? v[0].len >> 6 : 0);
	if (vm->steps > vm->max_steps)
		return hm_vm_step(vm, 0);
	return fn[i->c](vm, v, n, i->b, r);
}

static APART int method_target(struct hm_vm *vm, struct hm_val v, unsigned want)
{
	struct hm_str s;

	switch (want) {
	case 1: return hm_v_text(vm, v, &s);
	case 2: return hm_v_is_seq(v) ? 0 : hm_vm_wrong(vm, v, "a sequence");
	case 4: return v.kind == V_MACRO ? 0 : hm_vm_wrong(vm, v, "a macro");
	default: return v.kind == V_DATE ? 0 : hm_vm_wrong(vm, v, "a date");
	}
}

static APART int special(struct hm_vm *vm, struct hm_frame *f, const struct hm_insn *i, struct hm_val *r)
{
	const struct hm_scope *scope = &f->link->tmpl->scope[i->c];
	struct hm_scope_ref *ref;
	ptrdiff_t cut;

	switch (i->a) {
	case SPECIAL_LOCALE: *r = hm_vstr(vm->locale); return 0;
	case SPECIAL_LANG:
		cut = hm_str_chr(vm->locale, '_');
		if (cut < 0)
			cut = hm_str_chr(vm->locale, '-');
		*r = hm_vstr(cut < 0 ? vm->locale : hm_str_n(vm->locale.p, (size_t)cut));
		return 0;
	case SPECIAL_NOW:
		*r = (struct hm_val){.kind = V_DATE, .aux = DATE_DATETIME, .u.i = vm->ctx->now_ms};
		return 0;
	case SPECIAL_DATA_MODEL:
		if (vm->ctx->nroots == 1 && vm->ctx->roots[0] &&
		    vm->ctx->roots[0]->type == MSGPACK_OBJECT_MAP) {
			*r = (struct hm_val){.kind = V_MPMAP, .u.mp = vm->ctx->roots[0]};
			return 0;
		}
		break;
	case SPECIAL_LOCALS: {
		const struct hm_frame *d = f;
		const struct hm_scope *s = scope;

		while (d && s && !s->in_macro) {
			s = d->dyn_scope;
			d = d->dyn;
		}
		if (!d || !s) {
			*r = HM_VNULL;
			return 0;
		}
		break;
	}
	default: break;
	}
	ref = hm_vm_alloc(vm, sizeof(*ref));
	if (!ref)
		return vm->rc;
	*ref = (struct hm_scope_ref){f, scope};
	*r = (struct hm_val){.kind = V_SCOPE, .aux = i->a, .u.scope = ref};
	return 0;
}

/* -- loops ------------------------------------------------------------------------------------------------------ */

static APART int iter_begin(struct hm_vm *vm, struct hm_loopstate *l, struct hm_val src, unsigned mode)
{
	bool seq = hm_v_is_seq(src), hash = hm_v_is_hash(src) && src.kind != V_SCOPE;

	if (src.kind == V_NULL)
		return hm_vm_missing(vm);
	if (mode == 0 && !seq)
		return hm_vm_wrong(
			vm, src, hash ? "a sequence, or two loop variables (as key, value)," : "a sequence");
	if (mode == 1 && !hash)
		return hm_vm_wrong(vm, src, "a hash");
	if (mode == 2 && !hash && !seq)
		return hm_vm_wrong(vm, src, "a sequence or hash");
	*l = (struct hm_loopstate){.src = src, .index = -1};
	if (mode == 1 || !seq)
		l->size = hm_v_hash_size(src);
	else if (src.kind == V_RANGE && src.u.range->unbounded)
		l->size = INT64_MAX;
	else
		l->size = hm_v_seq_size(src);
	return 0;
}

static APART int iter_items(struct hm_vm *vm, struct hm_loopstate *l, unsigned hash)
{
	int rc;

	if (l->entered)
		return hm_vm_fail(vm, HM_EINVAL, "the items of a <#list> can be gone through only once");
	rc = iter_begin(vm, l, l->src, hash);
	l->entered = true;
	return rc;
}

static int iter_next(struct hm_vm *vm, struct hm_frame *f, const struct hm_loop_info *info,
		     struct hm_loopstate *l)
{
	struct hm_str key;
	int rc;

	l->active = true;
	if (info->has2) {
		rc = hm_v_hash_at(vm, l->src, l->index, &key, &f->slot[info->slot2]);
		f->slot[info->slot] = hm_vstr(key);
		return rc;
	}
	if (hm_likely(l->src.kind == V_MPSEQ))
		return from_mp(vm, &l->src.u.mp->via.array.ptr[l->index], &f->slot[info->slot]);
	return hm_v_seq_get(vm, l->src, l->index, &f->slot[info->slot]);
}

/* -- macros, fragments ------------------------------------------------------------------------------------------------ */

static int bind_args(struct hm_vm *vm, struct hm_frame *f, const struct hm_callsite *cs,
		     const struct hm_val *v, struct hm_str macro)
{
	const struct hm_unit *u = f->unit;
	struct hm_val rest = {.kind = V_EMPTY};
	int rc = 0;

	if (!cs->names && cs->nargs > u->nparams && !u->catchall)
		return hm_vm_fail(vm, HM_EINVAL, "the macro %.*s takes %u arguments, not %u", HM_STRF(macro),
				  u->nparams, cs->nargs);
	if (u->catchall && cs->names)
		rc = hm_v_hash_new(vm, cs->nargs, &rest);
	else if (u->catchall && cs->nargs > u->nparams)
		rc = hm_v_seq_new(vm, cs->nargs, &rest);
	for (uint32_t i = 0; rc == 0 && i < cs->nargs; i++) {
		uint32_t k = i;

		if (cs->names)
			for (k = 0; k < u->nparams && !hm_str_eq(u->param[k], cs->names[i]); k++)
				;
		if (k < u->nparams)
			f->slot[k] = v[i];
		else if (!u->catchall)
			return hm_vm_fail(vm, HM_EINVAL, "the macro %.*s has no parameter \"%.*s\"",
					  HM_STRF(macro), HM_STRF(cs->names[i]));
		else if (cs->names)
			rc = hm_v_hash_put(vm, rest, cs->names[i], v[i]);
		else
			rc = hm_v_seq_put(vm, rest, v[i]);
	}
	if (u->catchall)
		f->slot[u->nparams] = rest;
	return rc;
}

static struct hm_link *link_of(struct hm_vm *vm, const struct hm_tmpl *t)
{
	struct hm_link *l = vm->links;

	while (l && l->tmpl != t)
		l = l->next;
	return l;
}

static APART int op_call(struct hm_vm *vm, struct hm_frame *f, const struct hm_callsite *cs, uint32_t pc,
			 uint32_t *to)
{
	struct hm_val *v = &vm->stack[vm->sp - cs->nargs - 1];
	const struct hm_unit *u;
	struct hm_frame *nf;
	struct hm_link *link;
	int rc;

	if (v[0].kind == V_NULL)
		return hm_vm_missing(vm);
	if (v[0].kind != V_MACRO)
		return hm_vm_wrong(vm, v[0], "a macro");
	rc = hm_vm_step(vm, 1);
	if (rc)
		return rc;
	u = &v[0].u.macro->tmpl->unit[v[0].u.macro->unit];
	link = link_of(vm, v[0].u.macro->tmpl);
	hm_assert(link != NULL);
	nf = frame_new(vm, link, u);
	if (!nf)
		return vm->rc;
	rc = bind_args(vm, nf, cs, v + 1, link->tmpl->name[u->name]);
	if (rc)
		return rc;
	if (cs->body) {
		nf->site = cs;
		nf->site_frame = f;
		nf->site_rec = vm->nrec - 1;
	}
	vm->sp -= cs->nargs + 1;
	rc = rec_push(vm,
		      &(struct hm_rec){
			      .kind = REC_MACRO, .frame = nf, .ret = pc, .base = vm->sp, .outs = vm->nouts});
	*to = u->entry;
	return rc;
}

static APART int op_nested(struct hm_vm *vm, struct hm_frame *f, uint32_t nargs, uint32_t pc, uint32_t *to)
{
	const struct hm_callsite *cs = f->site;
	struct hm_val *v = &vm->stack[vm->sp - nargs];
	int rc;

	vm->sp -= nargs;
	*to = pc;
	if (!cs)
		return 0;
	rc = hm_vm_step(vm, 1);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < cs->nvars; i++)
		f->site_frame->slot[cs->var_slot[i]] = i < nargs ? v[i] : HM_VNULL;
	*to = cs->body;
	return rec_push(vm, &(struct hm_rec){.kind = REC_BODY,
					     .frame = f->site_frame,
					     .ret = pc,
					     .base = vm->sp,
					     .outs = vm->nouts,
					     .lex = f->site_rec});
}

/* <#include>: the name, made absolute; "" when it leaves the root. */
static int full_name(struct hm_vm *vm, struct hm_str base, struct hm_str name, struct hm_str *r)
{
	struct hm_str part, rest;
	struct hm_text t = {.vm = vm};
	ptrdiff_t dir = -1;

	if (!hm_text_room(&t, base.len + name.len + 2))
		return vm->rc;
	for (size_t i = base.len; i > 0 && dir < 0; i--)
		if (base.p[i - 1] == '/')
			dir = (ptrdiff_t)i;
	if (dir > 0 && !hm_str_starts(name, HM_STR("/")))
		hm_text_put(&t, hm_str_n(base.p, (size_t)dir));
	hm_text_put(&t, name);
	rest = hm_str_n(t.p, t.len);
	t = (struct hm_text){.vm = vm};
	if (!hm_text_room(&t, rest.len + 1))
		return vm->rc;
	while (hm_str_split(&rest, '/', &part)) {
		if (part.len == 0 || hm_str_is(part, "."))
			continue;
		if (hm_str_is(part, "..")) {
			if (t.len == 0)
				return hm_vm_fail(vm, HM_EINVAL, "the fragment name \"%.*s\" leaves the root",
						  HM_STRF(name));
			while (t.len > 0 && t.p[--t.len] != '/')
				;
			continue;
		}
		if (t.len)
			hm_text_putc(&t, '/');
		hm_text_put(&t, part);
	}
	*r = hm_str_n(t.p, t.len);
	return 0;
}

static int load_fragment(struct hm_vm *vm, struct hm_str name, struct hm_link **r)
{
	const struct hm_tmpl *t = NULL;
	struct hm_err e;
	struct hm_link *l;
	int rc = HM_ENOENT;

	hm_err_clear(&e);
	if (vm->ctx->fragment)
		rc = vm->ctx->fragment(vm->ctx->fragment_arg, name, &t, &e);
	if (rc == HM_ENOENT)
		return hm_vm_fail(vm, HM_ENOENT, "there is no fragment \"%.*s\"", HM_STRF(name));
	if (rc == HM_EPARSE)
		return hm_vm_fail(vm, HM_EPARSE, "the fragment \"%.*s\" does not compile: line %d: %s",
				  HM_STRF(name), e.line, e.text);
	if (rc)
		return hm_vm_fail(vm, rc, "the fragment \"%.*s\" could not be loaded: %s", HM_STRF(name),
				  e.text);
	HM_CHECK(t, HM_TMPL_MAGIC);
	l = link_of(vm, t);
	if (!l) {
		l = hm_vm_alloc(vm, sizeof(*l) + t->nnames * sizeof(struct hm_gvar *));
		if (!l)
			return vm->rc;
		*l = (struct hm_link){.tmpl = t, .gvar = (struct hm_gvar **)(l + 1), .name = name};
		for (uint32_t i = 0; i < t->nnames; i++) {
			l->gvar[i] = gvar_by_name(vm, t->name[i]);
			if (!l->gvar[i])
				return vm->rc;
		}
		l->next = vm->links; /* the main text stays last */
		vm->links = l;
	}
	*r = l;
	return 0;
}

static int ignore_flag(struct hm_vm *vm, struct hm_val v, bool *r)
{
	struct hm_str s;
	int rc;

	if (v.kind == V_BOOL) {
		*r = v.u.i != 0;
		return 0;
	}
	rc = hm_v_string_arg(vm, v, &s);
	if (rc)
		return rc;
	*r = hm_str_is(s, "true") || hm_str_is(s, "yes") || hm_str_is(s, "y") || hm_str_is(s, "t");
	return 0;
}

static APART int op_include(struct hm_vm *vm, struct hm_frame *f, const struct hm_insn *i, uint32_t pc,
			    uint32_t *to)
{
	struct hm_val *v = &vm->stack[vm->sp - 1 - i->a];
	struct hm_link *link = NULL;
	struct hm_frame *nf;
	struct hm_str name;
	bool ignore = false;
	int rc;

	*to = pc;
	vm->sp -= 1u + i->a;
	if (i->a && (rc = ignore_flag(vm, v[0], &ignore)))
		return rc;
	rc = hm_v_text(vm, v[i->a], &name);
	if (rc == 0)
		rc = full_name(vm, f->link->name, name, &name);
	if (rc == 0)
		rc = hm_vm_step(vm, 1);
	if (rc)
		return rc;
	rc = load_fragment(vm, name, &link);
	if (rc == HM_ENOENT) {
		vm->rc = ignore ? 0 : HM_EINVAL;
		vm->e->code = vm->rc;
		return vm->rc;
	}
	if (rc)
		return rc;
	nf = frame_new(vm, link, &link->tmpl->unit[0]);
	if (!nf)
		return vm->rc;
	nf->dyn = f;
	nf->dyn_scope = &f->link->tmpl->scope[i->c];
	*to = link->tmpl->unit[0].entry;
	return rec_push(
		vm, &(struct hm_rec){
			    .kind = REC_INCLUDE, .frame = nf, .ret = pc, .base = vm->sp, .outs = vm->nouts});
}

/* -- the machine ------------------------------------------------------------------------------------------------------------- */

#define FAIL_IF(x)                   \
	do {                         \
		if (hm_unlikely(x))  \
			goto failed; \
	} while (0)
#define TOP	vm->stack[vm->sp - 1]
#define PUSH(x) vm->stack[vm->sp++] = (x)
/* A value was read that may be missing: remember where, for the sentence about it. */
#define NOTE_NULL(x)                                   \
	do {                                           \
		if (hm_unlikely((x).kind == V_NULL)) { \
			vm->null_pc = vm->pc;          \
			vm->null_tmpl = t;             \
		}                                      \
	} while (0)
#define RELOAD()                                 \
	do {                                     \
		f = vm->rec[vm->nrec - 1].frame; \
		vm->link = f->link;              \
		t = f->link->tmpl;               \
		code = t->code;                  \
	} while (0)

/* From here on the short way, as far as it goes. */
static uint32_t go_short(struct hm_vm *vm)
{
	uint32_t pc;

	vm->strip->steps = vm->steps;
	pc = hm_strip(vm->strip, vm->pc);
	vm->steps = vm->strip->steps;
	return pc;
}

#define STRIP()                                                    \
	do {                                                       \
		if (vm->strip && tried != vm->pc && !vm->number) { \
			tried = go_short(vm);                      \
			if (tried != vm->pc) {                     \
				pc = tried;                        \
				goto next;                         \
			}                                          \
		}                                                  \
	} while (0)

static int run(struct hm_vm *vm, uint32_t pc)
{
	struct hm_frame *f = vm->rec[0].frame;
	const struct hm_tmpl *t = f->link->tmpl;
	const struct hm_insn *code = t->code;
	uint32_t tried = pc; /* where hm_strip() left off */

	for (;;) {
		const struct hm_insn *i = &code[pc];
		struct hm_val v;
		struct hm_loopstate *l;
		bool b;
		int cmp;

		vm->pc = pc++;
		switch ((enum hm_op)i->op) {
		case OP_LIT:
			STRIP();
			put_lit(vm, &t->lit[i->c]);
			break;
		case OP_EMIT:
			vm->sp--;
			FAIL_IF(emit(vm, vm->stack[vm->sp], i->a, i->b));
			break;
		case OP_EMITG:
			STRIP();
			FAIL_IF(emit_global(vm, f, i));
			break;
		case OP_EMITPATH:
			STRIP();
			FAIL_IF(emit_path(vm, f, i));
			break;
		case OP_CONST: PUSH(t->constant[i->c]); break;
		case OP_INT: PUSH(hm_vint((int32_t)i->c)); break;
		case OP_TRUE: PUSH(hm_vbool(true)); break;
		case OP_FALSE: PUSH(hm_vbool(false)); break;
		case OP_NULL: PUSH(HM_VNULL); break;
		case OP_EMPTY: PUSH(((struct hm_val){.kind = V_EMPTY})); break;
		case OP_LOADG:
			v = load_global(vm, f, i->c);
			NOTE_NULL(v);
			FAIL_IF(vm->rc);
			PUSH(v);
			break;
		case OP_LOADL:
			v = f->slot[i->c];
			if (v.kind == V_NULL && i->b) {
				v = load_fallback(vm, f, i->b - 1u);
				FAIL_IF(vm->rc);
			}
			NOTE_NULL(v);
			PUSH(v);
			break;
		case OP_LOADNS:
			v = i->a == SCOPE_GLOBAL ? f->link->gvar[i->c]->global : f->link->gvar[i->c]->ns;
			if (v.kind == V_NULL) {
				vm->null_tmpl = NULL;
				hm_vm_missing(vm);
				goto failed;
			}
			PUSH(v);
			break;
		case OP_PATH:
			FAIL_IF(load_path(vm, f, &t->path[i->c], &v));
			NOTE_NULL(v);
			PUSH(v);
			break;
		case OP_GET:
			if (TOP.kind == V_NULL && i->a)
				break;
			FAIL_IF(hm_v_get(vm, TOP, hm_vstr_of(t->constant[i->c]), &v));
			NOTE_NULL(v);
			TOP = v;
			break;
		case OP_INDEX:
			vm->sp--;
			if (i->a && (TOP.kind == V_NULL || vm->stack[vm->sp].kind == V_NULL)) {
				TOP = HM_VNULL;
				break;
			}
			FAIL_IF(hm_v_index(vm, TOP, vm->stack[vm->sp], &v));
			NOTE_NULL(v);
			TOP = v;
			break;
		case OP_POP: vm->sp--; break;
		case OP_DUP:
			v = TOP;
			PUSH(v);
			break;
		case OP_RANGE:
			vm->sp -= i->a == RANGE_UNBOUND ? 0 : 1;
			FAIL_IF(make_range(vm, i->a, TOP, vm->stack[vm->sp], &v));
			TOP = v;
			break;
		case OP_MKSEQ:
			FAIL_IF(make_seq(vm, &vm->stack[vm->sp - i->c], i->c, &v));
			vm->sp -= i->c;
			PUSH(v);
			break;
		case OP_MKHASH:
			FAIL_IF(make_hash(vm, &vm->stack[vm->sp - i->c * 2], i->c, &v));
			vm->sp -= i->c * 2;
			PUSH(v);
			break;
		case OP_APPEND:
			vm->sp--;
			FAIL_IF(hm_v_seq_put(vm, TOP, vm->stack[vm->sp]));
			break;
		case OP_STRCAT:
			FAIL_IF(strcat_parts(vm, &vm->stack[vm->sp - i->c], i->c, &v));
			vm->sp -= i->c;
			PUSH(v);
			break;
		case OP_ADD:
			vm->sp--;
			FAIL_IF(hm_v_add(vm, TOP, vm->stack[vm->sp], &v));
			TOP = v;
			break;
		case OP_SUB:
		case OP_MUL:
		case OP_DIV:
		case OP_MOD:
			vm->sp--;
			FAIL_IF(arith(vm, i->op, TOP, vm->stack[vm->sp], &v));
			TOP = v;
			break;
		case OP_NEG:
			FAIL_IF(negate(vm, TOP, &v));
			TOP = v;
			break;
		case OP_POS:
			if (!hm_v_is_num(TOP)) {
				struct hm_dec d;

				(void)hm_v_number(vm, TOP, &d);
				goto failed;
			}
			break;
		case OP_CMP:
			vm->sp--;
			FAIL_IF(hm_v_compare(vm, TOP, vm->stack[vm->sp], i->a <= CMP_NE, false, &cmp));
			TOP = hm_vbool(holds(cmp, i->a));
			break;
		case OP_NOT:
			FAIL_IF(hm_v_bool(vm, TOP, &b));
			TOP = hm_vbool(!b);
			break;
		case OP_BOOL: FAIL_IF(hm_v_bool(vm, TOP, &b)); break;
		case OP_EXISTS: TOP = hm_vbool(TOP.kind != V_NULL); break;
		case OP_BI:
			FAIL_IF(call_built_in(vm, i, &vm->stack[vm->sp - i->a - 1], &v));
			NOTE_NULL(v);
			vm->sp -= i->a;
			TOP = v;
			break;
		case OP_METHOD:
			if (TOP.kind == V_NULL && !i->a) {
				hm_vm_missing(vm);
				goto failed;
			}
			FAIL_IF(i->b && method_target(vm, TOP, i->b));
			TOP = (struct hm_val){.kind = V_METHOD};
			break;
		case OP_NEEDV:
			if (TOP.kind != V_NULL) {
				FAIL_IF(i->b && method_target(vm, TOP, i->b));
				break;
			}
			if (!i->a)
				hm_vm_fail(vm, HM_EINVAL, "the expression behind -> yields nothing");
			else
				hm_vm_missing(vm);
			goto failed;
		case OP_CALLFN:
			v = vm->stack[vm->sp - i->c - 1];
			(void)(v.kind == V_NULL ? hm_vm_missing(vm) : hm_vm_wrong(vm, v, "a function"));
			goto failed;
		case OP_SPECIAL:
			FAIL_IF(special(vm, f, i, &v));
			NOTE_NULL(v);
			PUSH(v);
			break;
		case OP_LOOPVAR: PUSH(loop_value(f, t, i->c, (enum hm_bi)(BI_ID_index + i->a))); break;
		case OP_CYCLE:
			l = &f->loop[t->loop[i->c].state];
			v = vm->stack[vm->sp - i->a + hm_max(l->index, (int64_t)0) % i->a];
			vm->sp -= i->a;
			PUSH(v);
			break;
		case OP_FAIL:
			hm_vm_fail(vm, HM_EINVAL, "%.*s", HM_STRF(hm_vstr_of(t->constant[i->c])));
			goto failed;
		case OP_JMP:
			if (i->c <= vm->pc)
				FAIL_IF(hm_vm_step(vm, 1) || vm->out->err);
			pc = i->c;
			break;
		case OP_JF:
		case OP_JT:
			vm->sp--;
			FAIL_IF(hm_v_bool(vm, vm->stack[vm->sp], &b));
			if (b == (i->op == OP_JT))
				pc = i->c;
			break;
		case OP_JCMP:
			vm->sp -= 2;
			FAIL_IF(compare(vm, &vm->stack[vm->sp], i->a <= CMP_NE, &cmp));
			if (holds(cmp, i->a) == (i->b != 0))
				pc = i->c;
			break;
		case OP_JNULL:
			if (vm->stack[--vm->sp].kind == V_NULL)
				pc = i->c;
			break;
		case OP_JNNULL:
			if (vm->stack[--vm->sp].kind != V_NULL)
				pc = i->c;
			break;
		case OP_ORJ:
			if (TOP.kind != V_NULL)
				pc = i->c;
			else
				vm->sp--;
			break;
		case OP_JSET:
			if (f->slot[i->b].kind != V_NULL)
				pc = i->c;
			break;
		case OP_GUARD:
			FAIL_IF(out_push(vm, (struct hm_out){.kind = OUT_GUARD, .handler = i->c}));
			break;
		case OP_ATTEMPT:
			FAIL_IF(out_push(vm, (struct hm_out){.kind = OUT_ATTEMPT, .handler = i->c}));
			break;
		case OP_UNGUARD:
		case OP_ENDATTEMPT: vm->nouts--; break;
		case OP_CAPTURE: FAIL_IF(out_push(vm, (struct hm_out){.kind = OUT_CAPTURE})); break;
		case OP_ENDCAP: {
			size_t from = vm->outs[--vm->nouts].len, n = vm->out->len - from;
			char *p = hm_vm_alloc(vm, n + 1);

			FAIL_IF(!p);
			if (n)
				memcpy(p, vm->out->p + from, n);
			vm->out->len = from;
			v = hm_vstr(hm_str_n(p, n));
			if (hm_fmt_is_markup(i->a))
				FAIL_IF(hm_v_markup(vm, i->a, false, hm_str_n(p, n), &v));
			PUSH(v);
			break;
		}
		case OP_COMPRESS: FAIL_IF(out_push(vm, (struct hm_out){.kind = OUT_COMPRESS})); break;
		case OP_ENDCOMPRESS: out_close_compress(vm, &vm->outs[--vm->nouts]); break;
		case OP_UNWIND: out_unwind(vm, vm->nouts - i->c); break;
		case OP_SETV:
			v = vm->stack[--vm->sp];
			if (v.kind == V_NULL) {
				hm_vm_missing(vm);
				goto failed;
			}
			if (i->a == SCOPE_GLOBAL)
				f->link->gvar[i->c]->global = v;
			else
				f->link->gvar[i->c]->ns = v;
			break;
		case OP_SETL:
			v = vm->stack[--vm->sp];
			if (v.kind == V_NULL && i->a) {
				hm_vm_missing(vm);
				goto failed;
			}
			f->slot[i->c] = v;
			break;
		case OP_CLEARL: f->slot[i->c] = HM_VNULL; break;
		case OP_NEEDL:
			if (f->slot[i->c].kind != V_NULL)
				break;
			hm_vm_fail(vm, i->a ? HM_EUNDEF : HM_EINVAL,
				   "the parameter \"%.*s\" of macro %.*s has no value",
				   HM_STRF(f->unit->param[i->b]), HM_STRF(t->name[f->unit->name]));
			goto failed;
		case OP_SETTING: FAIL_IF(hm_vm_setting(vm, i->a, vm->stack[--vm->sp])); break;
		case OP_ITER:
			vm->sp--;
			FAIL_IF(iter_begin(vm, &f->loop[t->loop[i->c].state], vm->stack[vm->sp], i->a));
			break;
		case OP_ITEMS: FAIL_IF(iter_items(vm, &f->loop[t->loop[i->c].state], i->a)); break;
		case OP_JNONE:
			if (f->loop[t->loop[i->b].state].size == 0)
				pc = i->c;
			break;
		case OP_NEXT:
			l = &f->loop[t->loop[i->b].state];
			FAIL_IF(hm_vm_step(vm, 1) || vm->out->err);
			if (++l->index >= l->size) {
				l->active = false;
				pc = i->c;
				break;
			}
			FAIL_IF(iter_next(vm, f, &t->loop[i->b], l));
			break;
		case OP_JLAST:
			l = &f->loop[t->loop[i->b].state];
			if (!l->active || l->index + 1 >= l->size)
				pc = i->c;
			break;
		case OP_ENDITER: f->loop[t->loop[i->c].state].active = false; break;
		case OP_CALL:
			FAIL_IF(op_call(vm, f, &t->call[i->c], pc, &pc) || vm->out->err);
			RELOAD();
			break;
		case OP_NESTED:
			FAIL_IF(op_nested(vm, f, i->c, pc, &pc) || vm->out->err);
			RELOAD();
			break;
		case OP_LEAVE: {
			uint32_t r = vm->nrec - 1;

			for (unsigned k = i->a; k > 0; k--)
				r = vm->rec[r].lex;
			out_unwind(vm, vm->rec[r + 1].outs);
			while (vm->nrec > r + 1)
				rec_pop(vm);
			vm->sp = vm->rec[r].base;
			pc = i->c;
			RELOAD();
			break;
		}
		case OP_RETURN: {
			uint32_t r = vm->nrec - 1;

			while (r > 0 && vm->rec[r].kind != REC_MACRO)
				r--;
			out_unwind(vm, vm->rec[r].outs);
			pc = vm->rec[r].ret;
			vm->sp = vm->rec[r].base;
			while (vm->nrec > r)
				rec_pop(vm);
			RELOAD();
			break;
		}
		case OP_RET:
		case OP_ENDBODY:
			if (vm->nrec == 1)
				return vm->out->err
					       ? hm_vm_fail(vm, HM_ELIMIT, "the text is longer than allowed")
					       : 0;
			pc = vm->rec[vm->nrec - 1].ret;
			vm->sp = vm->rec[vm->nrec - 1].base;
			rec_pop(vm);
			RELOAD();
			break;
		case OP_DEFMACRO:
			f->link->gvar[t->unit[i->c].name]->ns = (struct hm_val){.kind = V_MACRO,
										.u.macro = &t->macro[i->c]};
			break;
		case OP_INCLUDE:
			FAIL_IF(op_include(vm, f, i, pc, &pc) || vm->out->err);
			RELOAD();
			break;
		case OP_STOP: {
			struct hm_str s = HM_STR("");

			if (i->a && hm_v_text(vm, TOP, &s))
				goto failed;
			hm_vm_fail(vm, HM_EINVAL, "the template stopped%s%.*s", s.len ? ": " : "",
				   HM_STRF(hm_str_n(s.p, hm_utf8_cut(s, 120))));
			goto failed;
		}
		default: __builtin_unreachable(); /* the verifier has seen to it */
		}
	next:
		continue;
	failed:
		if (vm->rc == 0 && vm->out->err)
			return hm_vm_fail(vm, HM_ELIMIT, "the text is longer than allowed");
		hm_assert(vm->rc != 0);
		pc = recover(vm);
		if (pc == 0)
			return vm->rc;
		RELOAD();
	}
}

/* -- entry ------------------------------------------------------------------------------------------------------------------------ */

/* A loop's state, in values. */
#define LOOP_VALS ((sizeof(struct hm_loopstate) + sizeof(struct hm_val) - 1) / sizeof(struct hm_val))

/* What a render begins with: enough for most, so that they take nothing from the arena. */
struct start {
	struct hm_link link;
	struct hm_frame frame;
	struct hm_rec rec[4];
	struct hm_val val[64];
};

/* Places for the names, in one piece with their values. */
static int make_gvars(struct hm_vm *vm, struct hm_link *l, const struct hm_tmpl *t)
{
	struct hm_gvar *g;

	l->gvar = hm_vm_alloc(vm, t->nnames * (sizeof(struct hm_gvar *) + sizeof(*g)));
	if (!l->gvar)
		return vm->rc;
	g = (struct hm_gvar *)(l->gvar + t->nnames);
	for (uint32_t i = 0; i < t->nnames; i++) {
		g[i] = (struct hm_gvar){.name = t->name[i]};
		l->gvar[i] = &g[i];
	}
	return 0;
}

/* The variables of the text: loop variables and loops, and what names stand for. They are in s->val, or the arena. */
static inline void clear_vars(const struct hm_tmpl *t, struct hm_val *val, struct hm_strip *st)
{
	const struct hm_unit *u = &t->unit[0];
	size_t n = u->nslots + u->nloops * LOOP_VALS;

	st->slot = val;
	st->loop = (struct hm_loopstate *)(void *)(val + u->nslots);
	if (n)
		memset(val, 0, n * sizeof(*val));
}

static size_t vars_of(const struct hm_tmpl *t)
{
	return t->unit[0].nslots + t->unit[0].nloops * LOOP_VALS + t->nnames;
}

/* What the whole machine needs beyond that. */
static int prepare(struct hm_vm *vm, const struct hm_tmpl *t, struct start *s, struct hm_strip *st)
{
	size_t vars = vars_of(t), stack = t->unit[0].stack;

	s->link = (struct hm_link){.tmpl = t, .name = t->src.name};
	vm->links = &s->link;
	vm->link = &s->link;
	if (!st->slot) {
		struct hm_val *val = s->val;

		if (vars > hm_countof(s->val))
			val = hm_vm_alloc(vm, vars * sizeof(*val));
		if (!val)
			return vm->rc;
		clear_vars(t, val, st);
	}
	if (t->pure) {
		s->link.data = st->slot + vars - t->nnames;
		for (size_t i = 0; i < t->nnames; i++)
			s->link.data[i].kind = V_UNREAD;
	} else if (make_gvars(vm, &s->link, t)) {
		return vm->rc;
	}
	s->frame = (struct hm_frame){
		.link = &s->link, .unit = &t->unit[0], .slot = st->slot, .loop = st->loop};
	if (st->slot == s->val && vars + stack <= hm_countof(s->val)) {
		vm->stack = s->val + vars;
		vm->cap_stack = (uint32_t)stack;
	}
	vm->rec = s->rec;
	vm->cap_rec = hm_countof(s->rec);
	return rec_push(vm, &(struct hm_rec){.kind = REC_MAIN, .frame = &s->frame});
}

/* Goes on at pc, where st has come to, if it was used. */
static APART int render_on(const struct hm_tmpl *t, const struct hm_tmpl_ctx *ctx, struct hm_buf *out,
			   struct start *s, struct hm_strip *st, bool strip, uint32_t pc, struct hm_err *e)
{
	const struct hm_tmpl_limits *lim = &ctx->limits;
	struct hm_arena_mark mark = hm_arena_mark(ctx->arena);
	struct hm_link dummy = {.tmpl = t};
	struct hm_err mine;
	struct hm_vm vm = {
		.ctx = ctx,
		.arena = ctx->arena,
		.out = out,
		.strip = strip ? st : NULL,
		.e = e ? e : &mine,
		.steps = st->steps,
		.max_steps = st->max_steps,
		.max_depth = lim->depth ? lim->depth : HM_TMPL_DEFAULT_DEPTH,
		.max_memory = lim->memory ? lim->memory : HM_TMPL_DEFAULT_MEMORY,
		.locale = ctx->locale.len ? ctx->locale : HM_STR("en_US"),
		.zone = {.tz = ctx->tz, .offset_s = ctx->utc_offset_min * 60},
		.link = &dummy,
	};
	int rc;

	hm_err_clear(vm.e);
	vm.zh = hm_str_starts(vm.locale, HM_STR("zh"));
	rc = prepare(&vm, t, s, st);
	if (rc == 0)
		rc = run(&vm, pc);
	if (out->arena != ctx->arena)
		hm_arena_rewind(ctx->arena, mark);
	return rc;
}

int hm_tmpl_render(const struct hm_tmpl *t, const struct hm_tmpl_ctx *ctx, struct hm_buf *out,
		   struct hm_err *e)
{
	size_t start = out->len, max = out->max,
	       limit = ctx->limits.output ? ctx->limits.output : HM_TMPL_DEFAULT_OUTPUT;
	uint32_t pc = t->unit[0].entry;
	struct start s;
	struct hm_strip st;
	bool strip = false;
	int rc = 0;

	HM_CHECK(t, HM_TMPL_MAGIC);
	if (out->err)
		return hm_err_set(e, out->err, "the output buffer has failed before");
	if (max == 0 || limit < max - hm_min(max, start))
		out->max = start + limit;
	st.t = t;
	st.out = out;
	st.slot = NULL;
	st.steps = 0;
	st.max_steps = ctx->limits.steps ? ctx->limits.steps : HM_TMPL_DEFAULT_STEPS;
	if (t->pure && t->name_first && ctx->nroots <= HM_STRIP_ROOTS && vars_of(t) <= hm_countof(s.val)) {
		strip = true;
		if (t->line && ctx->nroots > 0)
			pc = hm_strip_line(&st, ctx->roots[0], pc);
		if (t->code[pc].op != OP_RET) {
			clear_vars(t, s.val, &st);
			hm_strip_begin(&st, ctx->roots, ctx->nroots);
			pc = hm_strip(&st, pc);
		}
	}
	if (t->code[pc].op != OP_RET || out->err || !strip)
		rc = render_on(t, ctx, out, &s, &st, strip, pc, e);
	else
		hm_err_clear(e);
	if (rc == 0 && out->len - start > limit)
		rc = hm_err_set(e, HM_ELIMIT, "the text is longer than allowed");
	out->max = max;
	if (rc) {
		out->len = start;
		out->err = 0;
	}
	return rc;
}
