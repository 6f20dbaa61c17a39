/*
 * vm.h - one render: its state, and what the built-ins may use of it
 *
 * Private to engine/tmpl. Nothing here outlives hm_tmpl_render(). Functions that can fail
 * return 0 or the negative code that hm_vm_fail() recorded.
 */
#ifndef HM_TMPL_VM_H
#define HM_TMPL_VM_H

#include "tmpl/code.h"
#include "tmpl/datetime.h"

struct hm_gvar { /* a name outside of local scopes: what <#assign>, <#global> and the data know of it */
	struct hm_str name;
	struct hm_val ns, global, data;
	bool looked_up; /* data is filled in */
};

struct hm_link { /* a template taking part in this render */
	const struct hm_tmpl *tmpl;
	struct hm_gvar **gvar; /* by name number; NULL when the template is pure: then only data counts */
	struct hm_val *data;   /* pure: what the names stand for; V_UNREAD: not looked up yet */
	struct hm_str name;    /* as fragment */
	struct hm_link *next;
};

struct hm_loopstate {
	struct hm_val src;
	int64_t index, size; /* index -1: before the first; size INT64_MAX: unbounded */
	bool active;
	bool entered; /* by an <#items> */
};

struct hm_frame { /* the variables of one run of a unit */
	const struct hm_link *link;
	const struct hm_unit *unit;
	struct hm_val *slot;
	struct hm_loopstate *loop;
	/* what <#nested> runs: code of another frame, inside the call at site */
	const struct hm_callsite *site;
	struct hm_frame *site_frame;
	uint32_t site_rec; /* the record that made the call */
	/* an included text sees the local names of where it is included */
	struct hm_frame *dyn;
	const struct hm_scope *dyn_scope;
	struct hm_frame *free_next;
};

#define V_UNREAD 0xff /* kind of a place in hm_link.data */

enum hm_rec_kind { REC_MAIN, REC_MACRO, REC_BODY, REC_INCLUDE };
struct hm_rec { /* what is being run, innermost last */
	uint8_t kind;
	struct hm_frame *frame;
	uint32_t ret;  /* where to go on, in the record below */
	uint32_t base; /* stack below it */
	uint32_t outs; /* number of open captures when it began */
	uint32_t lex;  /* REC_BODY: the record that holds the call */
};

enum hm_out_kind { OUT_CAPTURE, OUT_COMPRESS, OUT_ATTEMPT, OUT_GUARD };
struct hm_out {
	uint8_t kind;
	uint32_t handler, sp, rec;
	size_t len; /* of the output when it was opened */
};

struct hm_numfmt;

struct hm_vm {
	const struct hm_tmpl_ctx *ctx;
	struct hm_arena *arena;
	struct hm_buf *out;
	struct hm_strip *strip; /* the short way through what is simple; NULL when there is none */
	struct hm_err *e;
	int rc;
	uint64_t steps, max_steps;
	uint32_t max_depth;
	size_t memory, max_memory;

	struct hm_link *links;	    /* the main text is the last */
	const struct hm_link *link; /* being run */
	struct hm_gvar **vars;	    /* hash by name, made when a second template joins */
	uint32_t nvars, vars_size;
	struct hm_frame *free_frames;

	struct hm_rec *rec;
	uint32_t nrec, cap_rec;
	struct hm_out *outs;
	uint32_t nouts, cap_outs;
	struct hm_val *stack;
	uint32_t sp, cap_stack;
	uint32_t pc;	  /* being run */
	uint32_t null_pc; /* made the last missing value */
	const struct hm_tmpl *null_tmpl;

	/* settings */
	struct hm_str locale;
	bool zh;
	struct hm_zone zone;
	struct hm_str number_format;	/* p == NULL: computer */
	const struct hm_numfmt *number; /* parsed, or NULL */
	bool has_boolean;
	struct hm_str yes, no;
	struct hm_str date_format[3]; /* by enum hm_date_kind - 1; p == NULL: iso */

	char *tail; /* end of the text made by the last concatenation: it can grow in place */
	size_t tail_room;
};

/* -- for the built-ins ------------------------------------------------------------------- */

int hm_vm_fail(struct hm_vm *vm, int code, const char *fmt, ...) HM_PRINTF(3, 4) HM_COLD;
/* A missing value was used where one is needed. */
int hm_vm_missing(struct hm_vm *vm) HM_COLD;
/* "`expr` is a string, but a number is wanted here" */
int hm_vm_wrong(struct hm_vm *vm, struct hm_val v, const char *wanted) HM_COLD;
void *hm_vm_alloc(struct hm_vm *vm, size_t n); /* NULL: failed, vm->rc says how */
static inline int hm_vm_step(struct hm_vm *vm, uint64_t n)
{
	vm->steps += n;
	if (hm_likely(vm->steps <= vm->max_steps))
		return 0;
	return hm_vm_fail(vm, HM_ELIMIT, "the template takes more than %llu steps",
			  (unsigned long long)vm->max_steps);
}
/* Text under construction; room is kept in the arena. */
struct hm_text {
	struct hm_vm *vm;
	char *p;
	size_t len, cap;
};
bool hm_text_room(struct hm_text *t, size_t more);
static inline bool hm_text_put(struct hm_text *t, struct hm_str s)
{
	if (s.len && !hm_text_room(t, s.len))
		return false;
	if (s.len)
		memcpy(t->p + t->len, s.p, s.len);
	t->len += s.len;
	return true;
}
static inline bool hm_text_putc(struct hm_text *t, char c)
{
	if (!hm_text_room(t, 1))
		return false;
	t->p[t->len++] = c;
	return true;
}
static inline struct hm_val hm_text_val(const struct hm_text *t)
{
	return hm_vstr(hm_str_n(t->p ? t->p : "", t->len));
}

#define HM_STRIP_NAMES 128 /* even; a text with more names goes the long way */
/* strip.c: runs what is simple, from pc on; returns the first instruction that is not. */
struct hm_strip {
	const struct hm_tmpl *t; /* pure */
	struct hm_buf *out;
	struct hm_val *slot;
	struct hm_loopstate *loop;
	uint64_t steps, max_steps;
	const msgpack_object *value[HM_STRIP_NAMES]; /* of the names, in the data */
};
#define HM_STRIP_ROOTS 8 /* and one with more roots */
void hm_strip_begin(struct hm_strip *s, const msgpack_object *const *roots,
		    size_t nroots); /* looks the names up */
uint32_t hm_strip(struct hm_strip *s, uint32_t pc);
/* The same for a template that is `line` and data that stands in its order; otherwise nothing is done. */
uint32_t hm_strip_line(struct hm_strip *st, const msgpack_object *root, uint32_t pc);

/* value.c */
int hm_v_from_mp(struct hm_vm *vm, const msgpack_object *o, struct hm_val *r);
int hm_v_dec_new(struct hm_vm *vm, struct hm_dec d, struct hm_val *r); /* V_INT where it fits */
/* As text, the way it would be printed; markup is refused. */
int hm_v_text(struct hm_vm *vm, struct hm_val v, struct hm_str *r);
/* Same, but says what is wanted when v is neither text nor number nor date. */
int hm_v_number(struct hm_vm *vm, struct hm_val v, struct hm_dec *r);
int hm_v_int(struct hm_vm *vm, struct hm_val v, int64_t *r); /* integer part, clamped */
int hm_v_bool(struct hm_vm *vm, struct hm_val v, bool *r);
int hm_v_string_arg(struct hm_vm *vm, struct hm_val v, struct hm_str *r); /* text, no numbers */
int64_t hm_v_seq_size(struct hm_val v);
int hm_v_seq_get(struct hm_vm *vm, struct hm_val v, int64_t i, struct hm_val *r); /* i in range */
int hm_v_hash_get(struct hm_vm *vm, struct hm_val v, struct hm_str key, struct hm_val *r);
int64_t hm_v_hash_size(struct hm_val v);
int hm_v_hash_at(struct hm_vm *vm, struct hm_val v, int64_t i, struct hm_str *key, struct hm_val *r);
int hm_v_get(struct hm_vm *vm, struct hm_val base, struct hm_str key, struct hm_val *r);   /* base.key */
int hm_v_index(struct hm_vm *vm, struct hm_val base, struct hm_val key, struct hm_val *r); /* base[key] */
int hm_v_seq_new(struct hm_vm *vm, uint32_t cap, struct hm_val *r);
/* push makes a new sequence (cheaply); put changes one that nobody else has seen yet */
int hm_v_seq_push(struct hm_vm *vm, struct hm_val *seq, struct hm_val item);
int hm_v_seq_put(struct hm_vm *vm, struct hm_val seq, struct hm_val item);
int hm_v_hash_new(struct hm_vm *vm, uint32_t cap, struct hm_val *r);
int hm_v_hash_put(struct hm_vm *vm, struct hm_val hash, struct hm_str key, struct hm_val item);
int hm_v_markup(struct hm_vm *vm, unsigned fmt, bool plain, struct hm_str text, struct hm_val *r);
bool hm_v_is_empty(struct hm_val v); /* for ?has_content */
/* -1 0 1 in *r. eq: == or != is asked, for which strings and booleans will do. lenient: different types are
 * just not equal (*r = 2). */
int hm_v_compare(struct hm_vm *vm, struct hm_val a, struct hm_val b, bool eq, bool lenient, int *r);
int hm_v_add(struct hm_vm *vm, struct hm_val a, struct hm_val b, struct hm_val *r);

/* escape.c */
void hm_escape_markup(struct hm_buf *out, unsigned fmt, struct hm_str s);
int hm_escape_text(struct hm_vm *vm, unsigned fmt, struct hm_str s, struct hm_str *r); /* to the arena */
/* The text of a markup value, escaped if it still is plain. */
int hm_markup_text(struct hm_vm *vm, const struct hm_markup *m, struct hm_str *r);

/* vm.c: variables by name, for .vars and its kin */
int hm_vm_scope_get(struct hm_vm *vm, struct hm_val scope, struct hm_str name, struct hm_val *r);

/* builtins_*.c */
typedef int hm_bi_fn(struct hm_vm *vm, const struct hm_val *v, unsigned nargs, unsigned b, struct hm_val *r);
#define HM_BI(id, name, min, max, flags) hm_bi_fn hm_bi_##id;
#define HM_BI_X(id, name, min, max, flags)
#include "tmpl/builtins.h"
#undef HM_BI
#undef HM_BI_X

/* <#setting>; settings.c */
int hm_vm_setting(struct hm_vm *vm, unsigned setting, struct hm_val v);

struct hm_scope_ref { /* what a V_SCOPE value points at */
	struct hm_frame *frame;
	const struct hm_scope *scope;
};

#endif
