/*
 * gt.h - is a `>` in <#if ...> an operator or the end of the tag?
 *
 * The rule (README.md, "A bare > in conditions"): outside brackets a `>` or `>=`
 * compares when its left side is not empty and holds no comparison yet, its right side
 * is one simple operand on the same line, and behind that comes the `>` that ends the tag,
 * or && or ||. Anything else keeps FreeMarker's reading. Private to engine/tmpl.
 */
#ifndef HM_TMPL_GT_H
#define HM_TMPL_GT_H

#include "base/str.h"

struct hm_gt { /* the left side since the tag name or the last && or || outside brackets */
	uint32_t ntok;
	uint8_t first, last;
	bool compared;
};
/* After each token of the tag; outside: it stands outside all brackets. */
void hm_gt_note(struct hm_gt *g, uint8_t kind, bool outside);
/* text[pos] is the `>`; len 2 for `>=`. */
bool hm_gt_is_operator(const struct hm_gt *g, struct hm_str text, size_t pos, size_t len);
bool hm_gt_is_reserved(struct hm_str word); /* true false gt gte lt lte as in using */

#endif
