/* compile.h - shared by compile.c (elements) and compile_expr.c (expressions); private to engine/tmpl */
#ifndef HM_TMPL_COMPILE_H
#define HM_TMPL_COMPILE_H

#include "tmpl/code.h"

struct hm_subst { /* inside <#escape name as ...>: the name stands for an expression */
	struct hm_str name;
	const struct hm_ex *ex;
	const struct hm_subst *env;
};

enum hm_cscope_kind { CS_LOOP, CS_VAR, CS_LOCALS };
struct hm_cscope { /* names visible while compiling, innermost first */
	enum hm_cscope_kind kind;
	struct hm_cscope *outer;
	struct hm_str var, var2; /* CS_LOOP, CS_VAR */
	uint32_t slot, slot2, loop;
	bool final; /* CS_VAR: a lambda's parameter hides what is outside even when it is missing */
	const struct hm_str *locals; /* CS_LOCALS: slot i has name i */
	uint32_t nlocals;
};

/* What <#break>, <#continue> and <#return> have to leave on their way. */
enum hm_jump_kind { J_LOOP, J_SWITCH, J_OUT, J_BODY };
struct hm_cjump {
	enum hm_jump_kind
		kind; /* J_OUT: a capture, attempt or compression; J_BODY: the body of a macro call */
	struct hm_cjump *outer;
	uint32_t loop, next_pc;
	uint32_t *breaks; /* instructions to be patched with the end */
	uint32_t nbreaks, capbreaks;
};

struct hm_compiler {
	struct hm_tmpl *t;
	struct hm_arena *tmp;
	struct hm_err *e;
	struct hm_parser *p;
	bool failed;
	const struct hm_subst *env;
	struct hm_cscope *scope;
	struct hm_cjump *jump;
	struct hm_unit *unit;
	uint32_t slots, loops; /* in use now; the unit keeps the most */
	uint32_t name_base;
	struct hm_span span;
	uint32_t label; /* the last place that is jumped to */
	uint32_t cap_code, cap_lits, cap_consts, cap_names, cap_paths, cap_namerefs, cap_scopes, cap_loops,
		cap_calls, cap_fields, cap_includes;
	uint32_t *name_index; /* hash of the names */
	uint32_t name_index_size;
	uint8_t *assigned; /* by name number: given by the text itself, before this place */
	uint32_t cap_assigned;
	bool guarded; /* what is being compiled may be missing: fields are not needed */
};

#define HM_MAX_CODE (1u << 20)

/* emit; all keep quiet after the first failure and return 0 */
uint32_t hm_emit(struct hm_compiler *c, enum hm_op op, unsigned a, unsigned b, uint32_t operand);
uint32_t hm_here(struct hm_compiler *c);	   /* for jumps */
void hm_patch(struct hm_compiler *c, uint32_t pc); /* its target is here */
void *hm_code_push(struct hm_compiler *c, void *vec, uint32_t *n, uint32_t *cap, size_t size);
void hm_code_fail(struct hm_compiler *c, int code, uint32_t pos, const char *text);
uint32_t hm_name(struct hm_compiler *c, struct hm_str name);
uint32_t hm_const(struct hm_compiler *c, struct hm_val v);
uint32_t hm_const_str(struct hm_compiler *c, struct hm_str s);
uint32_t hm_slot(struct hm_compiler *c);
uint32_t hm_loop(struct hm_compiler *c, struct hm_loop_info info);
uint32_t hm_scope_here(struct hm_compiler *c);
void hm_field(struct hm_compiler *c, const struct hm_ex *x);

/* compile_expr.c */
enum hm_want { WANT_ANY, WANT_TEXT, WANT_SEQ, WANT_DATE, WANT_MACRO }; /* b of OP_METHOD and OP_NEEDV */
/*
 * x?map(...)?map(...) keeps the size of x, so that ?size needs no round, and <#list> makes each item when its
 * turn comes. hm_compile_maps: x without parentheses if it is such a chain, or NULL. The others leave x on the
 * stack, and turn the item of x in a slot into that of the chain.
 */
const struct hm_ex *hm_compile_maps(const struct hm_ex *x);
void hm_compile_map_source(struct hm_compiler *c, const struct hm_ex *maps);
void hm_compile_mapped(struct hm_compiler *c, const struct hm_ex *maps, uint32_t slot);
bool hm_compile_is_plain(const struct hm_ex *x);
void hm_compile_expr(struct hm_compiler *c, const struct hm_ex *x); /* leaves one value */
void hm_compile_guarded(struct hm_compiler *c,
			const struct hm_ex *x); /* what ! ?? ?has_content stand behind */
/* Jumps when x is `sense`; returns through *list the instructions to patch. */
struct hm_plist {
	uint32_t *pc;
	uint32_t n, cap;
};
void hm_compile_cond(struct hm_compiler *c, const struct hm_ex *x, struct hm_plist *list, bool sense);
void hm_patch_list(struct hm_compiler *c, struct hm_plist *list);
void hm_compile_emit(struct hm_compiler *c, const struct hm_el *el); /* an interpolation */
/* A name that <#local> or a macro sees: value of the innermost local, never the global. */
void hm_compile_local(struct hm_compiler *c, struct hm_str name);

#endif
