/*
 * diff.h - two texts, line by line, in the unified format of diff -u
 *
 * The shortest edit (Myers 1986) after common lines at both ends are put aside; texts that differ in more than
 * HM_DIFF_EDITS lines are shown as one block taken out and one put in.
 * Threads: pure function. Memory: the heap, given back before return.
 */
#ifndef HM_TEMPLATES_DIFF_H
#define HM_TEMPLATES_DIFF_H

#include "base/buf.h"
#include "base/err.h"

#define HM_DIFF_EDITS	1000
#define HM_DIFF_CONTEXT 3

/* Appends nothing and returns false when the texts are equal. */
bool hm_diff(struct hm_buf *out, const char *a_label, struct hm_str a, const char *b_label, struct hm_str b);

#endif
