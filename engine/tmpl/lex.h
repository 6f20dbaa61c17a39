/*
 * lex.h - characters to tokens: text runs and tags outside, expression tokens inside
 *
 * Follows FreeMarker's token definitions (angle-bracket tags, dollar interpolations,
 * legacy names), plus the two extensions: `>` as an operator in <#if> and <#elseif>,
 * and {name} placeholders. Private to engine/tmpl.
 */
#ifndef HM_TMPL_LEX_H
#define HM_TMPL_LEX_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

enum hm_tok_kind {
#define HM_TOK(name, text) T_##name,
#include "tmpl/tokens.h"
#undef HM_TOK
};

struct hm_tok {
	uint8_t kind;
	bool gap;     /* preceded by white space or a comment */
	uint8_t dead; /* of the parser: what is known not to begin here, see maybe() */
	uint32_t pos, end;
};

/* A text being compiled, with its lines. For the inside of a string literal, base is the literal's place in the
 * text around it. */
struct hm_src {
	struct hm_str text;
	struct hm_str name;
	uint32_t *line_start; /* offsets; nlines entries */
	uint32_t nlines;
	const struct hm_src *outer;
	uint32_t outer_pos;
};
bool hm_src_init(struct hm_src *s, struct hm_arena *a, struct hm_str text, struct hm_str name);
int hm_src_line(const struct hm_src *s, size_t pos); /* 1-based; a line break belongs to the line it ends */
int hm_src_col(const struct hm_src *s, size_t pos);  /* 1-based, in code points */

enum hm_lex_mode {
	LEX_INTERP, /* ends at } */
	LEX_TAG,    /* ends at > or />, unless in parentheses */
	LEX_IF,	    /* the same, with `>` as an operator where it can be nothing else */
	LEX_CALL,   /* <@: white space after the callee is a token */
};

/* Tokens from pos to the end of the tag or interpolation; the last is T_END or T_EMPTY_END. */
int hm_lex_expr(const struct hm_src *s, enum hm_lex_mode mode, size_t pos, struct hm_arena *a,
		struct hm_tok **tok_r, uint32_t *n_r, struct hm_err *e);

/* The literal's value: quotes taken off, escapes decoded (unless raw). p == NULL when out of memory. */
struct hm_str hm_lex_unquote(struct hm_arena *a, struct hm_str image, bool raw);
/* An identifier's name: backslashes removed. */
struct hm_str hm_lex_name(struct hm_arena *a, struct hm_str image);
const char *hm_tok_text(enum hm_tok_kind k);

/* May start / continue a name (FreeMarker's table, which is of the BMP only). */
bool hm_lex_id_start(uint32_t cp);
bool hm_lex_is_blank(char c); /* space, tab, LF, CR */

/* What begins at text[pos], pos being at '<' '$' or '{'. */
enum hm_tag_kind { TAG_NONE, TAG_INTERP, TAG_BRACE, TAG_COMMENT, TAG_DIR, TAG_CALL, TAG_CALL_END };
struct hm_tag {
	enum hm_tag_kind kind;
	uint8_t dir;	    /* TAG_DIR: enum hm_dir */
	bool closing;	    /* </#...> */
	bool complete;	    /* the tag has no parameters and ends at `end` */
	uint32_t pos, end;  /* end: first byte after what was recognised */
	struct hm_str name; /* TAG_CALL_END, directive name */
};
/* TAG_NONE: it is text. HM_EPARSE for an unknown or malformed directive. */
int hm_lex_tag(const struct hm_src *s, size_t pos, bool single_brace, struct hm_tag *t, struct hm_err *e);

enum hm_dir {
#define HM_DIR(id, name, shape, end_shape) DIR_##id,
#include "tmpl/directives.h"
#undef HM_DIR
	DIR_COUNT
};

#endif
