/*
 * decimal.h - the numbers of the template language: exact decimals, never binary floats
 *
 * A value is coef * 10^-scale with a 128-bit coefficient. Every stored value keeps
 * |coef| < 10^38 and 0 <= scale <= HM_DEC_MAX_SCALE. The rules of the four
 * operations are those of FreeMarker's BigDecimal engine: + and - are exact, a
 * product keeps at most 12 decimals, a quotient keeps 12 or as many as the longer
 * operand, both rounded half up; % works on the integer parts.
 * All functions return false when the result does not fit (or on division by
 * zero), and leave *r alone then. Pure functions, any thread.
 */
#ifndef HM_TMPL_DECIMAL_H
#define HM_TMPL_DECIMAL_H

#include "base/buf.h"
#include "base/str.h"

#define HM_DEC_MAX_SCALE 60
#define HM_DEC_MAX_TEXT	 112 /* room for any plain rendering: sign, 38 digits or 60 zeros, point */

struct hm_dec {
	__int128 coef;
	int32_t scale;
};

enum hm_dec_round {
	HM_ROUND_DOWN, /* toward zero */
	HM_ROUND_FLOOR,
	HM_ROUND_CEILING,
	HM_ROUND_HALF_UP, /* ties away from zero */
	HM_ROUND_HALF_EVEN,
};

static inline struct hm_dec hm_dec_i64(int64_t v)
{
	return (struct hm_dec){v, 0};
}
/* What java.math.BigDecimal(String) takes: sign, digits, point, exponent; no blanks, no grouping. */
bool hm_dec_parse(struct hm_str s, struct hm_dec *r) HM_MUSTCHECK;
/* The shortest decimal that reads back as the same double; false for NaN and infinities. */
bool hm_dec_double(double v, struct hm_dec *r) HM_MUSTCHECK;

bool hm_dec_add(struct hm_dec a, struct hm_dec b, struct hm_dec *r) HM_MUSTCHECK;
bool hm_dec_sub(struct hm_dec a, struct hm_dec b, struct hm_dec *r) HM_MUSTCHECK;
bool hm_dec_mul(struct hm_dec a, struct hm_dec b, struct hm_dec *r) HM_MUSTCHECK;
bool hm_dec_div(struct hm_dec a, struct hm_dec b, struct hm_dec *r) HM_MUSTCHECK;
bool hm_dec_mod(struct hm_dec a, struct hm_dec b, struct hm_dec *r) HM_MUSTCHECK;
int hm_dec_cmp(struct hm_dec a, struct hm_dec b);
/* Rounds to at most `scale` decimals (scale may be smaller than the value's, never pads). */
struct hm_dec hm_dec_round(struct hm_dec a, int scale, enum hm_dec_round how);
/* floor(a + 0.5), the language's ?round */
bool hm_dec_round_half(struct hm_dec a, struct hm_dec *r) HM_MUSTCHECK;
struct hm_dec hm_dec_strip(struct hm_dec a); /* drops zeros after the point */
/* Integer part; values beyond the type keep their low 64 bits, as in Java. */
int64_t hm_dec_to_i64(struct hm_dec a);
/* The low 32 bits of the integer part, as Java's intValue(): what FreeMarker takes for an index or a length. */
int32_t hm_dec_to_i32(struct hm_dec a);
/*
 * floor(a + 0.5), floor(a) or ceil(a) of the binary64 nearest to a: FreeMarker's ?round, ?floor and ?ceiling go
 * through a double. false: does not fit.
 */
bool hm_dec_round_double(struct hm_dec a, enum hm_dec_round how, struct hm_dec *r);
/* As hm_dec_to_i64, but false when the integer part does not fit. */
bool hm_dec_fits_i64(struct hm_dec a, int64_t *v_r);
/* Coefficient's digits without sign or point; returns their number. */
size_t hm_dec_digits(struct hm_dec a, char out[40]);
/* Plain text, all decimals kept: "-12.50". Returns the length; no NUL. */
size_t hm_dec_text(struct hm_dec a, char out[HM_DEC_MAX_TEXT]);

#endif
