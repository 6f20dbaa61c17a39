/*
 * expr.h - the expressions and ${...} texts of adapter files
 *
 *   ${options.sound ?? "default"}      ${recipients | join("|")}
 *   status == 200 && answer.errcode == 0
 *
 * Why not the template language (engine/tmpl): an adapter needs typed results (a
 * JSON number stays one, a missing value removes its member), bytes (digests),
 * look-ups in answers, and above all constant folding: when a channel is loaded,
 * everything that depends only on its settings is computed once, so a request is
 * literal runs with a few escaped inserts. Templates stay what people write
 * messages in.
 *
 * Grammar, loosest first (README of adapters/ explains it with examples):
 *   c ? a : b    a || b    a && b    == != < <= > >=    a ?? b    ~ + -    * / %
 *   value | filter(args)    ! -    literal, name.path[0], (expr)
 * `||` and `&&` give the deciding operand; `??` replaces only a missing value; `~`
 * joins texts. Filters bind tighter than any operator.
 *
 * Two forms: parsed (adapter's arena, shared by all its channels) and folded
 * (channel's arena). Evaluation allocates from ev->a only, never fails halfway:
 * the first error is kept in ev->rc and ev->err, and NONE goes on.
 */
#ifndef HM_ADAPTER_EXPR_H
#define HM_ADAPTER_EXPR_H

#include "adapter/adapter.h"
#include "adapter/regex.h"
#include "adapter/sign.h"
#include "adapter/value.h"
#include "adapt/measure.h"
#include "base/yaml.h"

enum hm_place {		       /* bits: who may be used where (tbl_vars.h) */
		HM_AT_M = 1,   /* message */
		HM_AT_C = 2,   /* credential request */
		HM_AT_R = 4,   /* request as serialised */
		HM_AT_A = 8,   /* answer */
		HM_AT_L = 16,  /* element of a loop */
		HM_AT_K = 32,  /* constants: endpoint, defaults */
		HM_AT_P = 64,  /* section receipts: a call of the provider, its events */
		HM_AT_Q = 128, /* request of receipts.pull */
};
enum hm_var {
#define HM_VAR(name, text, where, doc) HM_VAR_##name,
#include "adapter/tbl_vars.h"
#undef HM_VAR
	HM_VAR_TOTAL
};
enum hm_fn {
#define HM_FILTER(name, text, least, most, doc) HM_FN_##name,
#define HM_LAMBDA(name, text, least, most, doc) HM_FN_##name,
#include "adapter/tbl_filters.h"
#undef HM_FILTER
#undef HM_LAMBDA
	HM_FN_COUNT
};

enum hm_seg_kind {
	HM_SEG_NAME,  /* .name ["name"] */
	HM_SEG_INDEX, /* [0] [-1] */
	HM_SEG_IS,    /* [name=text]: first element whose member is that */
	HM_SEG_HAS,   /* [name~text]: first element whose member contains that */
	HM_SEG_PARSE, /* .$json: the text here is JSON, go on inside */
};
struct hm_seg {
	enum hm_seg_kind kind;
	int32_t index;
	struct hm_str name, text;
};

enum hm_op {
	HM_EX_CONST,
	HM_EX_VAR,
	HM_EX_OPTION, /* options.NAME, by slot */
	HM_EX_LET,
	HM_EX_SETTING, /* gone after folding */
	HM_EX_CALL,
	HM_EX_LIST, /* a list of expressions: an unrolled map */
	HM_EX_COALESCE,
	HM_EX_COND,
	HM_EX_AND,
	HM_EX_OR,
	HM_EX_NOT,
	HM_EX_NEG,
	HM_EX_EQ,
	HM_EX_NE,
	HM_EX_LT,
	HM_EX_LE,
	HM_EX_GT,
	HM_EX_GE,
	HM_EX_CAT,
	HM_EX_ADD,
	HM_EX_SUB,
	HM_EX_MUL,
	HM_EX_DIV,
	HM_EX_MOD,
	HM_EX_PATH, /* a[0] with path: (expr).name */
};
struct hm_expr {
	uint8_t op;
	bool secret;	/* shows a secret when printed */
	bool written;	/* its value stands in the file as it is, whatever a condition says */
	uint16_t id;	/* hm_var, hm_fn, let index, setting index, option slot */
	uint32_t needs; /* HM_AT_R when anything below waits for the serialised request */
	uint16_t depth; /* nodes below on the longest way, lets included */
	uint32_t n, n_seg;
	struct hm_expr **a;
	const struct hm_seg *seg;
	struct hm_val k;
	uint64_t cache_id;	      /* HMAC with a constant key */
	const struct hm_regex *regex; /* matches, capture */
	int line, col;
};
/* Text with inserts: "literal ${expr} literal". One part that is an expression keeps its type. */
struct hm_part {
	struct hm_str lit;
	struct hm_expr *e; /* NULL: literal */
};
struct hm_tpl {
	struct hm_part *part;
	uint32_t n;
	bool secret;
	uint32_t needs;
};

/* The names an expression may refer to; grows while a file is read. */
struct hm_names {
	const struct hm_str *settings;
	const bool *setting_secret;
	bool *setting_used; /* NULL, or marked when an expression asks for it */
	uint32_t n_settings;
	const struct hm_str *lets;
	const struct hm_expr *const *let_expr;
	uint32_t n_lets; /* those defined so far: a let sees only earlier ones */
	uint64_t used;	 /* bit per hm_var of the first 64 some expression asks for: those of a message */
	struct hm_str options[64];
	uint32_t n_options;
};
struct hm_parse {
	struct hm_arena *a;
	struct hm_names *names;
	uint32_t allowed;
	const char *where; /* "request.body": for errors */
};
/* `node` gives the text and the position for errors. */
int hm_expr_parse(const struct hm_parse *p, const struct hm_yaml *node, struct hm_expr **r,
		  struct hm_err *e) HM_MUSTCHECK;
int hm_tpl_parse(const struct hm_parse *p, const struct hm_yaml *node, struct hm_tpl **r,
		 struct hm_err *e) HM_MUSTCHECK;
/* For fuzzing and tests: without YAML. */
int hm_expr_parse_text(const struct hm_parse *p, struct hm_str text, struct hm_expr **r,
		       struct hm_err *e) HM_MUSTCHECK;

struct hm_texts;
struct hm_cb_names { /* what the names of section receipts stand for */
	struct hm_str method, path, url, body, channel, certificate;
	const struct hm_header *headers;
	size_t n_headers;
	struct hm_val query, form, event, clear, ids;
};
struct hm_eval {
	struct hm_arena *a;
	const struct hm_val *settings; /* folding only */
	const struct hm_build_in *in;  /* NULL for credential requests */
	uint64_t wall_ms;
	struct hm_str nonce;
	struct hm_str credential, jwt;
	struct hm_str title, url, image, body, short_text, text; /* in the order of HM_VAR_TITLE ... TEXT */
	uint32_t n_ready;	  /* of these; the others are made when asked for (texts.h) */
	struct hm_texts *texts;	  /* NULL where there is no content */
	const struct hm_val *opt; /* by slot */
	uint32_t n_opt;
	struct hm_expr *const *let; /* folded */
	struct hm_val *let_val;
	uint8_t *let_done;
	uint32_t n_lets;
	/* loop element */
	const struct hm_val *it;
	struct hm_str key;
	uint32_t index;
	bool it_const;	   /* folding an unrolled map: `it` is a constant */
	bool know_options; /* folding: the options a message gives are known, by slot */
	uint64_t present;
	/* request parts, as they become known */
	struct hm_str refresh_token;
	struct hm_str method, scheme, host, path, req_body;
	struct hm_val query, form, headers;
	/* answer */
	const struct hm_call *call;
	bool answer_ok, answer_xml;
	const struct hm_cb_names
		*cb; /* section receipts. A secret setting that is missing then fails what asks for it */
	struct hm_str callback_url;
	bool cut_read; /* the body was asked for, and only its beginning is there */
	struct hm_str answer;
	/* keys made while folding belong to the channel */
	int (*keep_key)(void *arg, struct hm_key *k);
	void *keep_arg;
	/* first failure */
	int rc;
	struct hm_err *err;
	uint32_t steps; /* elements looped over */
};
struct hm_val hm_eval(struct hm_eval *ev, const struct hm_expr *e);
/* Typed: one ${...} alone keeps its type; otherwise the joined text (missing inserts are empty). */
struct hm_val hm_eval_tpl(struct hm_eval *ev, const struct hm_tpl *t);
/* Appends the text, each insert through `escape` (NULL: as it is); literals as they are. */
typedef void (*hm_escape_fn)(struct hm_buf *b, struct hm_str s);
void hm_eval_tpl_put(struct hm_eval *ev, const struct hm_tpl *t, hm_escape_fn escape, struct hm_buf *out);
#define HM_EVAL_MAX_STEPS \
	1000000u /* per request: recipients in recipients is within, a runaway file is not */
/* Keeps the first error; returns NONE. */
struct hm_val hm_eval_fail(struct hm_eval *ev, int code, const char *fmt, ...) HM_PRINTF(3, 4);
struct hm_val hm_eval_path(struct hm_eval *ev, struct hm_val v, const struct hm_seg *seg, uint32_t n);
struct hm_str hm_eval_rcpt_id(struct hm_arena *a, const struct hm_ulid *id, bool uuid);
struct hm_val hm_eval_filter(struct hm_eval *ev, const struct hm_expr *e); /* filters.c */
/* filters_more.c: those that filters.c does not know; `in` is not NONE. */
struct hm_val hm_eval_filter_more(struct hm_eval *ev, const struct hm_expr *e, struct hm_val in);
/* A time by strftime pattern, %L its milliseconds. */
struct hm_val hm_time_text(struct hm_eval *ev, struct hm_str pattern, struct hm_str offset, int64_t ms);
struct hm_val hm_eval_verify(struct hm_eval *ev, const struct hm_expr *e,
			     struct hm_str s); /* filters_verify.c */

/* Shared with other sections of an adapter file (filters.c). */
bool hm_contains(struct hm_str s, struct hm_str what);		    /* ignoring ASCII case */
bool hm_parse_offset(struct hm_str s, int *seconds_r) HM_MUSTCHECK; /* "+08:00", "Z" */

/* Folding: a copy in `a` in which everything constant is computed. NULL: ev->err tells. */
struct hm_expr *hm_expr_fold(struct hm_eval *ev, struct hm_arena *a, const struct hm_expr *e);
struct hm_expr *hm_expr_truth(struct hm_expr *e); /* simplified for a place that asks yes or no */
struct hm_tpl *hm_tpl_fold(struct hm_eval *ev, struct hm_arena *a, const struct hm_tpl *t);
/* A folded text without inserts, or one constant. */
bool hm_tpl_const(const struct hm_tpl *t, struct hm_val *v_r);

const char *hm_var_name(enum hm_var v), *hm_var_doc(enum hm_var v);
const char *hm_fn_name(enum hm_fn f), *hm_fn_doc(enum hm_fn f);

#endif
