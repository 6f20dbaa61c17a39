/*
 * value.h - what an expression yields at render time
 *
 * A struct hm_val is 16 bytes and is copied freely. Whatever it points to lives in
 * the compiled template (constants), in the data (msgpack objects, strings inside
 * them) or in the render's arena; nothing is freed before the render ends.
 */
#ifndef HM_TMPL_VALUE_H
#define HM_TMPL_VALUE_H

#include <msgpack.h>

#include "base/str.h"
#include "tmpl/decimal.h"

enum hm_vkind {
	V_NULL,	  /* missing */
	V_BOOL,	  /* i */
	V_INT,	  /* i */
	V_DEC,	  /* dec */
	V_STR,	  /* s, len */
	V_EMPTY,  /* what `x!` yields: an empty string, sequence and hash at once */
	V_MARKUP, /* markup: text that is markup of a format already */
	V_DATE,	  /* i: ms since the epoch, aux: enum hm_date_kind */
	V_SEQ,	  /* seq */
	V_MPSEQ,  /* mp, a msgpack array */
	V_RANGE,  /* range */
	V_HASH,	  /* hash */
	V_MPMAP,  /* mp, a msgpack map */
	V_MACRO,  /* macro */
	V_METHOD, /* a built-in whose parentheses are missing: usable for nothing */
	V_SCOPE,  /* scope: .vars and its kin; aux: enum hm_scope */
};

/* aux of V_STR: what ?string makes of a number, date or boolean counts as a method, and as a hash of formats */
enum { STR_CALLABLE = 1, STR_KEYED = 2 };
enum hm_date_kind { DATE_DATE = 1, DATE_TIME, DATE_DATETIME };

/* Output formats, also the escape argument of emitting instructions. */
enum hm_fmt {
	FMT_PLAIN,
	FMT_HTML,
	FMT_XHTML,
	FMT_XML,
	FMT_JSON,
	FMT_JS,
	FMT_CSS,
	FMT_MARKDOWN,
	FMT_UNDEFINED,
	FMT_COUNT
};
static inline bool hm_fmt_is_markup(unsigned f)
{
	return f == FMT_HTML || f == FMT_XHTML || f == FMT_XML || f == FMT_MARKDOWN;
}

struct hm_val;
struct hm_seqbuf { /* storage that several sequences may share a prefix of */
	uint32_t used, cap;
	struct hm_val *v;
};
struct hm_seq {
	uint32_t n;
	struct hm_seqbuf *buf;
	const struct hm_val *v;
};
struct hm_range {
	int64_t begin, size; /* size is meaningless when unbounded */
	int8_t step;
	bool unbounded, adaptive, inclusive;
};
struct hm_markup {
	uint8_t fmt;
	bool plain; /* text is still unescaped plain text */
	struct hm_str text;
};
struct hm_hash;
struct hm_macro_ref;
struct hm_scope_ref;

struct hm_val {
	uint8_t kind, aux;
	uint16_t pad;
	uint32_t len;
	union {
		int64_t i;
		const char *s;
		const struct hm_dec *dec;
		const struct hm_markup *markup;
		struct hm_seq *seq; /* not changed once it is a value others can see */
		const struct hm_range *range;
		struct hm_hash *hash;
		const msgpack_object *mp;
		const struct hm_macro_ref *macro;
		const struct hm_scope_ref *scope;
	} u;
};

struct hm_ent {
	struct hm_str key;
	struct hm_val val;
};
struct hm_hash { /* insertion order; index is built when it pays */
	uint32_t n, cap;
	struct hm_ent *e;
	uint32_t *index; /* slots of entry number + 1, 0 is free; size is a power of two */
	uint32_t index_size;
};

#define HM_VNULL ((struct hm_val){.kind = V_NULL})
static inline struct hm_val hm_vbool(bool b)
{
	return (struct hm_val){.kind = V_BOOL, .u.i = b};
}
static inline struct hm_val hm_vint(int64_t i)
{
	return (struct hm_val){.kind = V_INT, .u.i = i};
}
static inline struct hm_val hm_vstr(struct hm_str s)
{
	return (struct hm_val){.kind = V_STR, .len = (uint32_t)s.len, .u.s = s.p ? s.p : ""};
}
static inline struct hm_str hm_vstr_of(struct hm_val v)
{
	return hm_str_n(v.u.s, v.len);
}
static inline bool hm_v_is_num(struct hm_val v)
{
	return v.kind == V_INT || v.kind == V_DEC;
}
static inline bool hm_v_is_seq(struct hm_val v)
{
	return v.kind == V_SEQ || v.kind == V_MPSEQ || v.kind == V_RANGE || v.kind == V_EMPTY;
}
static inline bool hm_v_is_hash(struct hm_val v)
{
	return v.kind == V_HASH || v.kind == V_MPMAP || v.kind == V_EMPTY || v.kind == V_SCOPE;
}
static inline struct hm_dec hm_v_dec(struct hm_val v)
{
	return v.kind == V_INT ? hm_dec_i64(v.u.i) : *v.u.dec;
}
/* "a number", "a sequence": for error sentences */
const char *hm_v_kind_name(struct hm_val v);

#endif
