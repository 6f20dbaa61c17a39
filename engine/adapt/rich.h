/*
 * rich.h - text with inline markup, parsed into a flat list of nodes
 *
 * An operator writes one text. Whatever its notation (plain, the markdown subset below,
 * or HTML), it becomes the same list of nodes, and dialect.h writes that list the way a
 * medium wants it. Structure and words are separate from here on: a word is never looked at
 * for markup again, so data that looks like markup stays text in every dialect.
 *
 * The markdown subset (a line break in the source is a line break in the message):
 *   **bold**  *italic* _italic_  `code`  [text](url)  ![alternative](url)
 *   "- item" "* item" "1. item" at the start of a line, "# " to "###### " headings
 *   a blank line is a new paragraph; a backslash makes the next punctuation sign text
 * What does not close is text as it stands ("2 * 3", "a_b", "[1]"). Bare http(s) URLs are links.
 *
 * Delimiters need a visible sign on their inner side (so "2 * 3" is text and 中**粗**文 is bold); _ also needs the
 * end of a word outside. Runs of more than three are text ("138****1234"). Backslashes work inside code too. An
 * item is one line; two blanks more than the item above put it inside that.
 *
 * HTML: b strong i em a[href] br p div li ol ul h1-h6 code img[src,alt]; other tags vanish and
 * leave their text (blocks their line, cells a blank), style, script and title vanish whole, entities are decoded. A
 * picture without alt is decoration and vanishes. The source is kept (hm_rich.html): the dialects html and html-doc
 * send it as the author wrote it, all others what its nodes say, which also is the text part of a mail. Whoever
 * changes the nodes of such a text sets html to HM_STR_NULL.
 *
 * Links go to http, https, mailto, tel, sms and schemes of apps (letters, digits, + - . before "://"); never
 * to javascript, data, vbscript, file, blob: such a link is its text. (With a blank in the bad target nothing
 * was meant as a link: "[1](see below)" stays as it is.)
 *
 * Values put into markdown by a template are escaped with hm_rich_escape (the output format
 * "markdown" of tmpl does it); hm_rich_parse(escape(x)) is always exactly the text x, for
 * every x, wherever it stands: in running text, at the start of a line, in a link's text or target. "Exactly": line
 * breaks are BREAK nodes whatever bytes they were; control characters no medium shows (C0 but tab, DEL, C1)
 * are dropped by every notation. An empty value between markers leaves the markers as text ("****").
 *
 * The list: texts are never empty and never side by side; spans (BOLD ITALIC LINK) are never empty, never inside one
 * of their kind, and inside one paragraph, heading or item. HEADING and ITEM imply the line breaks around
 * them: there is a BREAK node only where a line ends for another reason.
 *
 * Memory: nodes and decoded texts in the caller's arena; texts that needed no change point into the source.
 * Threads: pure functions. Errors: HM_ELIMIT (too many nodes, too deep), HM_ENOMEM. Any bytes that
 * are UTF-8 parse; there is no syntax error.
 */
#ifndef HM_ADAPT_RICH_H
#define HM_ADAPT_RICH_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum hm_text_format { HM_TEXT_PLAIN, HM_TEXT_MARKDOWN, HM_TEXT_HTML };

#define HM_RICH_MAX_NODES 65536
#define HM_RICH_MAX_DEPTH 16 /* of lists and spans inside each other; deeper ones are text */

enum hm_rich_kind {
	HM_RICH_TEXT,	 /* text: words, without line breaks */
	HM_RICH_BREAK,	 /* line break */
	HM_RICH_PARA,	 /* a blank line between two blocks; never first, last or twice */
	HM_RICH_BOLD,	 /* open / close */
	HM_RICH_ITALIC,	 /* open / close */
	HM_RICH_CODE,	 /* text: verbatim, one line */
	HM_RICH_LINK,	 /* open (text: target) / close; links never nest */
	HM_RICH_IMAGE,	 /* text: source, alt */
	HM_RICH_HEADING, /* open (n: level 1..6) / close; stands on lines of its own */
	HM_RICH_ITEM, /* open (n: its number, 0 = bullet; depth from 0) / close; stands on lines of its own */
};
struct hm_rich_node {
	uint8_t kind; /* enum hm_rich_kind */
	bool close;   /* of BOLD ITALIC LINK HEADING ITEM: well nested always */
	uint8_t depth;
	bool bare;  /* LINK: the text is the target itself */
	uint32_t n; /* HEADING, ITEM: see above; LINK of HTML: where its target stands in the source, + 1 */
	struct hm_str text, alt;
};
struct hm_rich {
	struct hm_rich_node *v;
	size_t n;
	uint32_t kinds;	    /* bit per enum hm_rich_kind that occurs */
	struct hm_str html; /* HM_TEXT_HTML: the source as its author wrote it, else p == NULL */
};

int hm_rich_parse(struct hm_str text, enum hm_text_format f, struct hm_arena *a, struct hm_rich *out,
		  struct hm_err *e) HM_MUSTCHECK;
/* Appends text so that markdown reads it as exactly that text. Looks at the end of *out: a backslash that stands there
 * alone is made text first, or it would take the value's own. */
int hm_rich_escape(struct hm_str text, struct hm_buf *out) HM_MUSTCHECK;
/* No control character that a parse would drop: such a plain text is what it would become, and needs no parse. */
bool hm_rich_clean(struct hm_str text);
/* May this be the target of a link? */
bool hm_rich_url_ok(struct hm_str url);

/* Rewrites the targets of links (click tracking). wrap appends the new target of `url`; it may
 * leave *out as it was to keep the old one. Called once per link, in order, n from 0. The HTML source of a text is
 * rewritten at the same places; a bare URL keeps its text where a medium can show both. */
struct hm_link_wrap {
	int (*wrap)(void *arg, struct hm_str url, uint32_t n, struct hm_buf *out, struct hm_err *e);
	void *arg;
};
int hm_rich_wrap_links(struct hm_rich *r, const struct hm_link_wrap *w, struct hm_arena *a,
		       struct hm_err *e) HM_MUSTCHECK;

#endif
