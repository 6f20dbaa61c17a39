/*
 * dialect_int.h - a row of the dialect table, and the state of one writing
 */
#ifndef HM_ADAPT_DIALECT_INT_H
#define HM_ADAPT_DIALECT_INT_H

#include "adapt/dialect.h"
#include "adapt/rich_int.h"

enum { LAYOUT_LINES, LAYOUT_BLOCKS };
enum { LINK_WORDS, LINK_MARKDOWN, LINK_ANGLE, LINK_TAG };
enum { BARE_RAW, BARE_MARKED };
enum { SCHEMES_ANY, SCHEMES_WEB, SCHEMES_MAIL };
enum { HEADING_LINE, HEADING_BOLD, HEADING_HASH, HEADING_TAG };
enum { LIST_DOT, LIST_SIGN, LIST_TAG };
enum { IMAGE_LINK, IMAGE_SIGN, IMAGE_TAG };
enum { FLANK_FREE, FLANK_MARKS, FLANK_EDGES };
enum { SPANS_LINE = 1, FLAT = 2, DOC = 4, NO_P = 8, URL_FIRST = 16 };

struct hm_marker {
	struct hm_str open, close; /* empty: the dialect has none */
};

/* What a byte of text asks for (dialect_text.c). */
enum hm_care {
	CARE_NONE,
	CARE_DROP,   /* a control character */
	CARE_C2,     /* the first byte of U+0080..U+00BF: a C1 control? */
	CARE_SLASH,  /* a backslash before it */
	CARE_ENTITY, /* &amp; &lt; &gt; */
	CARE_NUMBER, /* &#42; */
	CARE_TWIN,   /* a sign that looks like it */
	CARE_EDGE,   /* that too, where it is at the edge of a word */
	CARE_MARK,   /* that too, unless blanks are on both sides */
	CARE_PAIR,   /* two in a row are markup: U+200B between them */
	CARE_TAG,    /* "<": U+200B behind it when a tag could start */
	CARE_AT,     /* "@": U+200B behind it when a name follows */
	CARE_AMP,    /* "&": U+200B behind it when an entity could start */
	CARE_EMOJI,  /* ":": U+200B behind it when ":name:" follows */
	CARE_LEFT,   /* "[": a twin in a link's text, or when nothing closes it */
	CARE_RIGHT,  /* "]": a twin in a link's text, U+200B behind it before "(" */
	CARE_BANG,   /* "!": kept away from a "[" behind it */
	CARE_ESCAPE, /* "\": U+200B behind it before punctuation */
	CARE_SPACE,  /* HTML: blanks that would fall together */
};

struct hm_dialect {
	const char *name;
	uint8_t layout, link, bare, schemes, heading, hmin, hmax, list, image, flank, flags;
	struct hm_marker bold, italic, code;
	struct hm_str brk;
	const uint8_t *text;	  /* enum hm_care for every byte */
	const uint8_t *code_text; /* inside code */
	const char *const *names; /* after "@"; NULL: any name */
	const char *start;	  /* signs that make a block at the start of a line */
	bool start_slash;	  /* a backslash disarms # > + - and the dot of a number, U+200B the others */
};

extern const uint8_t hm_text_plain[256], hm_text_plain_chat[256], hm_text_html[256], hm_text_matrix[256],
	hm_text_tg_html[256], hm_text_tg_mdv2[256], hm_text_wecom_md[256], hm_text_wecom_md2[256],
	hm_text_ding_md[256], hm_text_feishu_md[256], hm_text_slack[256], hm_text_gchat[256],
	hm_text_discord[256], hm_text_adaptive[256], hm_text_commonmark[256], hm_text_wa[256],
	hm_text_signal[256];
extern const uint8_t hm_code_html[256], hm_code_tg_mdv2[256], hm_code_slack[256], hm_code_twin[256];

#define HM_ZWSP "\xe2\x80\x8b"

struct hm_open {
	uint8_t kind;
	const struct hm_rich_node *link;
};

struct hm_writer {
	const struct hm_dialect *d;
	struct hm_buf *out;
	const struct hm_rich *r;
	size_t at; /* the node being written */
	size_t line; /* offset in out where the line's text starts; text has been written when out->len is behind it */
	bool fresh;	/* nothing on this line yet */
	bool space;	/* the last thing written is a plain blank (HTML) */
	bool label;	/* inside a link's text */
	bool bold_line; /* a heading that is a bold line */
	bool one_line;	/* a heading or link: breaks are blanks */
	bool code;
	bool in_p, in_heading; /* BLOCKS */
	uint32_t nheld, nwant, nhave, nlists;
	/* below: only as far as the counts above say */
	struct hm_str held[4]; /* blanks at the end of what was written: out when it is known what follows */
	/* spans asked for, and those written; the written ones are at the outside */
	struct hm_open want[HM_RICH_MAX_DEPTH], have[HM_RICH_MAX_DEPTH];
	struct {
		bool numbered;
		uint32_t next;
	} lists[HM_RICH_MAX_DEPTH];
};

/* Text of users, without line breaks: dialect_text.c. `more`: something follows right behind it. */
void hm_write_text(struct hm_writer *w, struct hm_str s, bool more);
#define HM_URL_MARKUP 16 /* in hm_url_signs: may be markup where a URL stands in text */
extern const uint8_t hm_url_signs[256];
/* The target of a link, inside its markup. */
void hm_write_url(struct hm_writer *w, struct hm_str url);
bool hm_dialect_links_to(const struct hm_dialect *d, struct hm_str url);
/* Nodes inside a line: dialect.c. */
void hm_write_inline(struct hm_writer *w);
void hm_write_sync(struct hm_writer *w);     /* opens and closes spans before something visible */
void hm_write_end_line(struct hm_writer *w); /* closes them all */
/* BLOCKS: dialect_html.c */
void hm_write_blocks(struct hm_writer *w);

#endif
