/*
 * fit.h - a text made to fit a limit: written in a dialect, cut or split where it is too long
 *
 * Lengths are those of what is sent, markup included. Cutting and splitting work on nodes, so that no
 * tag, escape or link is ever torn apart and every part is well formed by itself: spans open at the cut are
 * closed there, and in a split opened again in the next part. A link whose text is its target, and an image, stay whole.
 *
 *   refuse   too long is an error that says how long it is and how long it may be
 *   cut      up to a word's end, then the mark (its length counted)
 *   short    the short text takes its place (and is cut when it does not fit either); without one: cut
 *   split    several parts, each within the limit, at paragraphs if possible, else lines, sentences, words;
 *            at most max_parts, the last one cut. Parts of several carry "(1/3) " when numbered
 *
 * The tail (buttons as links, the content's url) stands behind the text, in a split behind its last part, and is
 * not cut with it; when nothing of the text would be left beside it, it goes.
 * A limit below the length of the mark gives as much of the text as there is room for, without a mark; one below
 * the markup around an empty text gives nothing at all.
 *
 * Cost: the text is written whole once, then about log2(bytes of a part) times up to the place in question; never
 * more than 64 times per part. Pure functions, any thread; memory in the caller's arena.
 */
#ifndef HM_ADAPT_FIT_H
#define HM_ADAPT_FIT_H

#include "adapt/dialect.h"
#include "adapt/measure.h"

enum hm_over { HM_OVER_CUT, HM_OVER_REFUSE, HM_OVER_SPLIT, HM_OVER_SHORT };

#define HM_FIT_MAX_PARTS 20

struct hm_fit_limit {
	size_t max; /* 0: none */
	enum hm_unit unit;
	enum hm_over over;
	struct hm_str mark;
	uint32_t max_parts; /* split; 0: HM_FIT_MAX_PARTS */
	bool numbered;
	const struct hm_rich *tail; /* NULL: none */
	struct hm_str beside; /* what the sender puts around each part (a signature): counted, not written */
};
enum hm_fit_action { HM_FIT_WHOLE, HM_FIT_CUT, HM_FIT_SPLIT, HM_FIT_SHORT };
struct hm_fit {
	struct hm_str part[HM_FIT_MAX_PARTS];
	uint32_t n;		   /* parts, at least 1 */
	size_t before, after;	   /* length of the whole; of what is sent (the longest part) */
	enum hm_fit_action action; /* the strongest that was taken */
	bool cut;		   /* something is not said: also of split and short */
};

/* short_text may be NULL. HM_ELIMIT with the sentence when refused; the caller adds the field's name. */
int hm_fit_rich(const struct hm_rich *text, const struct hm_rich *short_text, const struct hm_dialect *d,
		const struct hm_fit_limit *l, struct hm_arena *a, struct hm_fit *out,
		struct hm_err *e) HM_MUSTCHECK;

#endif
