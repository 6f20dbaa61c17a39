/*
 * code.h - compiled templates: instructions and tables
 *
 * A template is a list of 8-byte instructions for a stack machine, plus tables the
 * instructions point into by number. All of it sits in the template's own arena. After
 * hm_code_verify() every number in an instruction is known to be in range and the stack
 * depth at every instruction is fixed, so the machine (vm.c) checks neither.
 * Units are the main text (0) and the macros; each has local slots (loop variables,
 * parameters, temporaries) and loop states, numbered at compile time.
 */
#ifndef HM_TMPL_CODE_H
#define HM_TMPL_CODE_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "tmpl/ast.h"
#include "tmpl/lang.h"
#include "tmpl/tmpl.h"
#include "tmpl/value.h"

enum hm_op {
#define HM_OP(name, c, pops, pushes) OP_##name,
#include "tmpl/ops.h"
#undef HM_OP
	OP_COUNT
};

struct hm_insn {
	uint8_t op, a;
	uint16_t b;
	uint32_t c;
};
struct hm_span { /* source text an instruction stands for */
	uint32_t pos, end;
};

struct hm_path {	  /* name.key.key, looked up in one go */
	uint32_t root;	  /* name, or slot when local */
	bool local, soft; /* soft: a missing step yields a missing value */
	uint16_t nameref; /* local: + 1, 0 is none */
	uint32_t nkeys;
	const struct hm_str *key;
};

enum hm_ref_kind { REF_SLOT, REF_INDEX, REF_HAS_NEXT };
struct hm_ref {
	uint8_t kind;
	bool local;   /* a macro's parameter or <#local>, seen by .locals */
	uint32_t idx; /* slot or loop */
	struct hm_str name;
};
struct hm_nameref { /* variables of one name, innermost first, then the global one */
	uint32_t n;
	bool no_global;
	const struct hm_ref *ref;
	uint32_t name;
};
struct hm_scope { /* local names visible at one place, innermost first */
	uint32_t n;
	bool in_macro;
	const struct hm_ref *ref;
};

struct hm_loop_info {
	uint32_t state;	      /* place in the frame's loop states */
	uint32_t slot, slot2; /* of the loop variables */
	bool has2;
};

struct hm_callsite {
	uint32_t nargs;
	const struct hm_str *names; /* NULL: positional */
	uint32_t body;		    /* code address, or 0 */
	uint32_t nvars;
	const uint32_t *var_slot;
};

struct hm_unit {
	uint32_t entry;
	uint32_t nslots, nloops;
	uint32_t stack; /* values on the stack at most; by the verifier */
	uint32_t name;	/* macro: name number */
	uint32_t nparams, nrequired;
	const struct hm_str *param; /* parameter i is slot i */
	bool catchall;		    /* slot nparams */
	uint32_t nlocals;	    /* slots 0..nlocals-1 are parameters and <#local> names */
};

#define HM_TMPL_MAGIC 0x7e3a11c5u

struct hm_tmpl {
	uint32_t magic;
	atomic_uint refs;
	struct hm_arena mem;
	enum hm_tmpl_format format;
	bool single_brace;
	bool pure; /* by the verifier: assigns nothing, includes nothing, lists no variables: a name is what the data says */
	bool line;	   /* pure, and nothing but text and names of the data, unescaped: hm_strip_line() */
	struct hm_src src; /* text and lines, for messages */
	uint32_t ncode;
	struct hm_insn *code;
	struct hm_span *span;
	uint32_t nlits, nconsts, nnames, npaths, nnamerefs, nscopes, nloops, ncalls, nunits;
	/* names by hm_name_hash() & name_mask: number + 1, 0 ends; NULL: too many names */
	uint16_t *name_first, *name_next;
	uint32_t name_mask;
	struct hm_str *lit, *name; /* behind each literal stand HM_LIT_PAD bytes more */
	struct hm_val *constant;
	struct hm_path *path;
	struct hm_nameref *nameref;
	struct hm_scope *scope;
	struct hm_loop_info *loop;
	struct hm_callsite *call;
	struct hm_unit *unit;	    /* 0: the text; macros in document order */
	struct hm_macro_ref *macro; /* by unit; what a V_MACRO value points at */
	uint32_t nfields, nincludes;
	struct hm_tmpl_field *field;
	struct hm_str *include;
};

struct hm_macro_ref {
	const struct hm_tmpl *tmpl;
	uint32_t unit;
};

/* compile.c */
int hm_code_make(struct hm_tmpl *t, struct hm_parser *p, struct hm_el *root, struct hm_err *e);
#define EMIT_ESC     0x80u /* in a of EMITG and EMITPATH, beside the format */
#define EMIT_FMT     0x7fu
#define EMIT_LIT_MAX UINT16_MAX /* literals their b can name; 0 is empty */
/* verify.c: HM_EINVAL names the broken instruction; sets the units' stack */
int hm_code_verify(struct hm_tmpl *t, struct hm_err *e);

#endif
