/*
 * ast.h - what the parser makes of a text: elements (directives, text runs) holding expressions
 *
 * Private to engine/tmpl. Everything lives in the compile arena and dies when the
 * bytecode is made. Elements form the tree FreeMarker would build, because its
 * white-space rules (space.c) are defined on that tree.
 */
#ifndef HM_TMPL_AST_H
#define HM_TMPL_AST_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "tmpl/decimal.h"
#include "tmpl/lex.h"
#include "tmpl/tmpl.h"
#include "tmpl/value.h"

struct hm_el;

enum hm_ex_kind {
	EX_NUM,
	EX_STR,
	EX_STRI, /* literal with ${...}: args are EX_STR and others, in turn */
	EX_BOOL,
	EX_LIST,
	EX_HASH, /* args: key, value, key, value */
	EX_ID,
	EX_PAREN,
	EX_SPECIAL, /* .name */
	EX_DOT,
	EX_KEY,
	EX_CALL,
	EX_BI,
	EX_LOOPVAR, /* x?index and its kin */
	EX_DEFAULT,
	EX_EXISTS,
	EX_NOT,
	EX_NEG,
	EX_POS,
	EX_ADD,
	EX_SUB,
	EX_MUL,
	EX_DIV,
	EX_MOD,
	EX_CMP,	  /* op: enum hm_cmp */
	EX_RANGE, /* op: enum hm_range_end */
	EX_AND,
	EX_OR,
	EX_LAMBDA, /* str: parameter, a: body */
};

enum hm_cmp { CMP_EQ, CMP_NE, CMP_LT, CMP_LE, CMP_GT, CMP_GE };
enum hm_range_end { RANGE_INCLUSIVE, RANGE_EXCLUSIVE, RANGE_SIZE, RANGE_UNBOUND };

struct hm_ex {
	uint8_t kind, op;
	uint8_t fmt;	   /* EX_BI bound to an output format */
	bool has_args;	   /* EX_BI: (...) was written */
	uint16_t bi;	   /* EX_BI, EX_LOOPVAR: number of the built-in */
	uint16_t height;   /* of the tree below, itself included */
	uint32_t pos, end; /* source text it covers */
	struct hm_ex *a, *b;
	struct hm_ex **args;
	uint32_t nargs;
	struct hm_str str; /* literal, name */
	struct hm_dec num;
};

enum hm_el_kind {
	EL_MIXED,
	EL_TEXT,
	EL_INTERP,
	EL_COMMENT,
	EL_IF,
	EL_COND, /* one branch; ex == NULL: else */
	EL_LIST,
	EL_LISTELSE, /* EL_LIST and EL_ELSELIST */
	EL_ELSELIST,
	EL_ITEMS,
	EL_SEP,
	EL_SWITCH,
	EL_CASE, /* ex == NULL: default */
	EL_ASSIGN,
	EL_ASSIGNS,
	EL_BLOCKASSIGN,
	EL_MACRO,
	EL_CALL,
	EL_NESTED,
	EL_RETURN,
	EL_INCLUDE,
	EL_STOP,
	EL_SETTING,
	EL_ESCAPE,
	EL_NOESCAPE,
	EL_OUTPUTFORMAT,
	EL_AUTOESC,
	EL_NOAUTOESC,
	EL_COMPRESS,
	EL_TRIM,
	EL_BREAK,
	EL_CONTINUE,
	EL_FLUSH,
	EL_ATTEMPT,
	EL_RECOVER,
};

enum hm_trim { TRIM_LEFT = 1, TRIM_RIGHT = 2 };
enum hm_assign_scope { SCOPE_NS, SCOPE_GLOBAL, SCOPE_LOCAL };

struct hm_escape { /* <#escape name as ex>, the innermost first */
	struct hm_str name;
	struct hm_ex *ex;
	struct hm_escape *outer;
};

struct hm_param {
	struct hm_str name;
	struct hm_ex *def; /* or NULL */
};

struct hm_el {
	uint8_t kind, op; /* op: trim bits, assignment token, setting number */
	uint8_t fmt;	  /* output format in force here */
	bool autoesc;
	bool unparsed;	  /* EL_TEXT of <#noparse> */
	bool begins_line; /* starts in column 1 */
	bool bit; /* EL_INCLUDE: has ignore_missing; EL_CALL: named arguments; EL_LIST: has <#items> */
	int line, end_line;
	uint32_t pos, end;
	struct hm_el *parent;
	uint32_t index; /* in parent */
	struct hm_el **child;
	uint32_t nchild, cap;
	struct hm_ex *ex, *ex2;
	struct hm_str text;	 /* EL_TEXT; or the name assigned, defined */
	struct hm_str var, var2; /* loop variables */
	struct hm_escape *esc;	 /* EL_INTERP: escapes in force */
	struct hm_ex **args;
	struct hm_str *argname; /* EL_CALL with named arguments */
	uint32_t nargs;
	struct hm_param *param; /* EL_MACRO; EL_CALL: the body's loop variables */
	uint32_t nparam;
	struct hm_str catchall;
	struct hm_str *local; /* EL_MACRO: names given by <#local> */
	uint32_t nlocal, caplocal;
	struct hm_macro_info *macro; /* EL_MACRO: the compiler's */
};

struct hm_loopctx { /* what ?index and <#sep> may refer to while parsing */
	enum { LOOP_LIST, LOOP_ITEMS, LOOP_USER } kind;
	struct hm_str var, var2;
	const struct hm_el *el;
	struct hm_loopctx *outer;
};

/* One compilation. */
struct hm_parser {
	struct hm_arena *arena;
	struct hm_src *src;
	struct hm_err *e;
	bool single_brace;
	enum hm_fmt fmt;
	bool autoesc;
	bool noauto; /* inside <#noautoesc> */
	struct hm_escape *esc;
	struct hm_loopctx *loops;
	int breakable, continuable;
	struct hm_el *macro;   /* being defined */
	struct hm_el **macros; /* all of the text, in order */
	uint32_t nmacros, capmacros;
	unsigned depth;

	/* tokens of the tag or interpolation being parsed */
	struct hm_tok *tok;
	uint32_t ntok, at;
	/* place in the text, and a closing or middle tag met there */
	size_t pos;
	struct hm_tag tag;
	bool has_tag;
};

#define HM_PARSE_DEPTH 160 /* nesting of brackets, and of directives */
#define HM_EX_HEIGHT   400 /* of an expression's tree; long chains of + or . count */

/* parse.c: the whole text; NULL with p->e set. */
struct hm_el *hm_parse(struct hm_parser *p);
/* parse_expr.c */
struct hm_ex *hm_parse_expr(struct hm_parser *p);
struct hm_ex *hm_parse_path(struct hm_parser *p, uint32_t pos, uint32_t end); /* the inside of {a.b} */
bool hm_parse_positional(struct hm_parser *p, struct hm_ex ***args_r, uint32_t *n_r);
struct hm_ex *hm_parse_string(struct hm_parser *p, bool interpolate);
/* space.c: FreeMarker's white-space stripping, in place. NULL: out of memory, or too many tags on one line. */
struct hm_el *hm_space_strip(struct hm_arena *a, struct hm_el *root, uint32_t nlines);

/* helpers of both parsers */
int hm_parse_error(struct hm_parser *p, uint32_t pos, const char *fmt, ...) HM_PRINTF(3, 4);
void *hm_parse_alloc(struct hm_parser *p, size_t n); /* zeroed; sets the error on failure */
bool hm_parse_push(struct hm_parser *p, void *vec, uint32_t *n, uint32_t *cap, size_t size);

#endif
