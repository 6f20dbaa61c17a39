/*
 * numfmt.h - numbers as text: patterns of java.text.DecimalFormat ("#,##0.00")
 *
 * Patterns know 0 # , . % ; ' and literal text before and after; no exponents. Rounding is
 * half even on the decimal value. A parsed pattern is a value without pointers of its own.
 */
#ifndef HM_TMPL_NUMFMT_H
#define HM_TMPL_NUMFMT_H

#include "base/buf.h"
#include "tmpl/decimal.h"

#define HM_NUMFMT_AFFIX 48

struct hm_numfmt {
	char prefix[HM_NUMFMT_AFFIX], suffix[HM_NUMFMT_AFFIX];
	char neg_prefix[HM_NUMFMT_AFFIX], neg_suffix[HM_NUMFMT_AFFIX];
	uint8_t prefix_len, suffix_len, neg_prefix_len, neg_suffix_len;
	uint8_t min_int, min_frac, max_frac, group; /* group 0: none */
	bool point;				    /* printed even without decimals */
	uint8_t shift;				    /* 2 for per cent, 3 for per mille */
	bool malformed; /* of a <#setting>: an error only when a number is printed with it */
};

/* "number" "currency" "percent" "computer" or a pattern; false when it is malformed. */
bool hm_numfmt_parse(struct hm_str pattern, bool zh, struct hm_numfmt *f) HM_MUSTCHECK;
/* false: the number has too many digits for it */
bool hm_numfmt_put(const struct hm_numfmt *f, struct hm_dec v, struct hm_buf *out) HM_MUSTCHECK;
/* The "computer" format: no grouping, at most 16 decimals. Returns the length. */
size_t hm_num_computer(struct hm_dec v, char out[HM_DEC_MAX_TEXT]);

#endif
