/*
 * breaks.h - where a text may be cut
 *
 * What people see as one character may be several code points: a letter with its marks, a flag, a family of emoji
 * joined by U+200D. Between two of those a text may be cut if it must; better between words, and so on up.
 * The rules are those of UAX #29 for what occurs in messages, without its tables for Indic conjuncts; words end at
 * blanks, and between any two ideographs, as nothing else marks them (but not in front of closing punctuation or behind
 * an opening one).
 *
 * Pure functions, any thread. Any bytes; one that is not UTF-8 is a character of its own.
 */
#ifndef HM_ADAPT_BREAKS_H
#define HM_ADAPT_BREAKS_H

#include "base/str.h"

enum hm_break {
	HM_BREAK_NEVER,	   /* inside a character */
	HM_BREAK_CHAR,	   /* between two of them */
	HM_BREAK_WORD,	   /* a word ends */
	HM_BREAK_SENTENCE, /* . ! ? and their like */
	HM_BREAK_LINE,
	HM_BREAK_PARA, /* a blank line; the text's end */
};

#define HM_GRAPHEME_MAX 32 /* code points; a pile of marks higher than that may be cut */

/* Bytes of the first visible character; s.len > 0. */
size_t hm_grapheme(struct hm_str s);
/* What ends at byte i, which is between two code points; CHAR also when it is not known to be between two characters. */
enum hm_break hm_break_at(struct hm_str s, size_t i);
/* level[i] (i <= s.len) is what ends at byte i. Linear. */
void hm_breaks(struct hm_str s, uint8_t *level);
/* Space, tab, line end, ideographic space. */
bool hm_blank(uint32_t cp);
/* Without blanks at the end. */
struct hm_str hm_trim_end(struct hm_str s);

#endif
