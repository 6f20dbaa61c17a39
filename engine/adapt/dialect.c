/*
 * dialect.c - the table, and writing nodes in line-oriented dialects
 *
 * Spans are written when the first visible sign inside them comes and closed when the first one outside them
 * does: so blanks at their edges fall outside, empty ones leave no trace, neighbours of one kind merge, and
 * where a line must end them they go on in the next.
 */
#include "adapt/dialect_int.h"

static const char *const everyone[] = {"everyone", "here", "channel", "group", NULL};
static const char *const room[] = {"room", NULL};

/* clang-format off */
#define NONE {{"", 0}, {"", 0}}
#define MARK(o, c) {{o, sizeof(o) - 1}, {c, sizeof(c) - 1}}
#define BIT(kind) (1u << HM_RICH_##kind)
static const struct hm_dialect dialects[] = {
#define HM_DIALECT(id, nm, lay, b, i, c, lnk, br, sch, head, h0, h1, lst, img, eol, flk, fl, txt, ctxt, nms, st, sl, used) \
	{.name = nm, .layout = LAYOUT_##lay, .bold = b, .italic = i, .code = c, .link = LINK_##lnk, .bare = BARE_##br, \
	 .schemes = SCHEMES_##sch, .heading = HEADING_##head, .hmin = h0, .hmax = h1, .list = LIST_##lst, .image = IMAGE_##img, \
	 .brk = HM_STR_INIT(eol), .flank = FLANK_##flk, .flags = fl, .text = txt, .code_text = ctxt, .names = nms, .start = st, \
	 .start_slash = sl},
#include "tbl/dialects.h"
#undef HM_DIALECT
};
/* clang-format on */

const struct hm_dialect *hm_dialect_at(size_t i)
{
	return i < hm_countof(dialects) ? &dialects[i] : NULL;
}

const struct hm_dialect *hm_dialect_find(struct hm_str name)
{
	for (size_t i = 0; i < hm_countof(dialects); i++)
		if (hm_str_is(name, dialects[i].name))
			return &dialects[i];
	return NULL;
}

const struct hm_dialect *hm_dialect_plain(void)
{
	return &dialects[0];
}

const char *hm_dialect_name(const struct hm_dialect *d)
{
	return d->name;
}

uint32_t hm_dialect_shows(const struct hm_dialect *d)
{
	uint32_t s = BIT(TEXT) | BIT(BREAK) | BIT(PARA);

	s |= d->bold.open.len ? BIT(BOLD) : 0;
	s |= d->italic.open.len ? BIT(ITALIC) : 0;
	s |= d->code.open.len ? BIT(CODE) : 0;
	s |= d->link != LINK_WORDS ? BIT(LINK) : 0;
	s |= d->image != IMAGE_LINK ? BIT(IMAGE) : 0;
	s |= d->heading >= HEADING_HASH ? BIT(HEADING) : 0;
	s |= d->list != LIST_DOT ? BIT(ITEM) : 0;
	return s;
}

/* -- spans ---------------------------------------------------------------------------------- */

static const struct hm_marker *marker(const struct hm_dialect *d, uint8_t kind)
{
	return kind == HM_RICH_ITALIC ? &d->italic : &d->bold; /* a heading may be bold */
}

static bool same(const struct hm_open *a, const struct hm_open *b)
{
	return a->kind == b->kind && a->link == b->link;
}

/* The code point before the end of what is written; 0 at the start of a line. */
static uint32_t last_sign(const struct hm_writer *w)
{
	size_t n = w->out->len, k = 1, used;

	if (w->fresh || n <= w->line || w->out->err)
		return 0;
	while (k < 4 && n - k > w->line && ((unsigned char)w->out->p[n - k] & 0xc0) == 0x80)
		k++;
	return hm_utf8_decode(hm_str_n(w->out->p + n - k, k), &used);
}

static bool space_sign(uint32_t c)
{
	return c == ' ' || c == '\t' || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
	       c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}
/* Punctuation for certain, and perhaps (any symbol): each question takes the answer that is safe for it. */
static bool outside_ok(uint32_t c)
{
	return c == 0 || space_sign(c) || (c < 0x80 && hm_is_punct((unsigned char)c));
}
static bool inside_doubtful(uint32_t c)
{
	return (c < 0x80 && !hm_is_alnum((unsigned char)c)) || (c >= 0x80 && c < 0xc0) ||
	       (c >= 0x2b0 && c < 0x300) || (c >= 0x2000 && c < 0x3041 && c != 0x200b) ||
	       (c >= 0xfe10 && c < 0xff10) || (c >= 0xff1a && c < 0xff21) || (c >= 0xff3b && c < 0xff41) ||
	       (c >= 0xff5b && c < 0xff66) || c >= 0x1f000 || c == 0xfffd;
}

/* Would a marker between these two not count? A blank of any kind inside never lets it; punctuation inside only
 * when a letter is outside. */
static bool bad_edge(const struct hm_dialect *d, uint32_t inside, uint32_t outside)
{
	return space_sign(inside) ||
	       (d->flank == FLANK_MARKS && !outside_ok(outside) && inside_doubtful(inside));
}

static void close_one(struct hm_writer *w)
{
	const struct hm_open *o = &w->have[--w->nhave];

	if (o->kind != HM_RICH_LINK) {
		hm_buf_puts(w->out, marker(w->d, o->kind)->close);
		return;
	}
	w->label = false;
	switch (w->d->link) {
	case LINK_MARKDOWN:
		hm_buf_lit(w->out, "](");
		hm_write_url(w, o->link->text);
		hm_buf_putc(w->out, ')');
		break;
	case LINK_ANGLE: hm_buf_putc(w->out, '>'); break;
	case LINK_TAG: hm_buf_lit(w->out, "</a>"); break;
	default: hm_unreachable();
	}
}

static void open_one(struct hm_writer *w, const struct hm_open *o)
{
	w->have[w->nhave++] = *o;
	if (o->kind != HM_RICH_LINK) {
		hm_buf_puts(w->out, marker(w->d, o->kind)->open);
		return;
	}
	w->label = true;
	switch (w->d->link) {
	case LINK_MARKDOWN: hm_buf_putc(w->out, '['); break;
	case LINK_ANGLE:
		hm_buf_putc(w->out, '<');
		hm_write_url(w, o->link->text);
		hm_buf_putc(w->out, '|');
		break;
	case LINK_TAG:
		hm_buf_lit(w->out, "<a href=\"");
		hm_write_url(w, o->link->text);
		hm_buf_lit(w->out, "\">");
		break;
	default: hm_unreachable();
	}
}

static bool is_mark(const struct hm_open *o)
{
	return o->kind != HM_RICH_LINK;
}

/* Closes down to `keep`; next is the sign that will follow (0: the line's end). */
static void close_to(struct hm_writer *w, uint32_t keep, uint32_t next)
{
	bool marks = false;

	while (w->nhave > keep) {
		const struct hm_open *o = &w->have[w->nhave - 1];

		if (w->d->flank != FLANK_FREE && is_mark(o) && !marks && bad_edge(w->d, last_sign(w), next))
			hm_buf_lit(w->out, HM_ZWSP);
		marks = is_mark(o);
		close_one(w);
	}
	if (marks && w->d->flank == FLANK_EDGES && !outside_ok(next))
		hm_buf_lit(w->out, HM_ZWSP);
}

/* How many of the open spans should stay open. */
static uint32_t wanted(const struct hm_writer *w)
{
	uint32_t keep = 0;

	while (keep < w->nhave && keep < w->nwant && same(&w->have[keep], &w->want[keep]))
		keep++;
	return keep;
}

static void flush_held(struct hm_writer *w)
{
	uint32_t n = w->nheld;

	w->nheld = 0;
	for (uint32_t i = 0; i < n; i++)
		hm_write_text(w, w->held[i], true);
}

static void hold(struct hm_writer *w, struct hm_str blanks)
{
	if (w->nheld == hm_countof(w->held))
		flush_held(w); /* spread over so many nodes: let them be where they are */
	w->held[w->nheld++] = blanks;
}

/* Closes what should not be open, and with `next` opens what should, for a text that starts with that sign. */
static void sync(struct hm_writer *w, struct hm_str lead, uint32_t next)
{
	uint32_t keep = wanted(w);
	bool closed = w->nhave > keep, blanks = w->nheld || lead.len;

	if (closed)
		close_to(w, keep, blanks ? ' ' : w->nwant > keep ? 'a' : next);
	flush_held(w);
	if (lead.len)
		hm_write_text(w, lead, true);
	if (closed && !blanks && w->nwant > keep && w->d->flank != FLANK_FREE)
		hm_buf_lit(w->out, HM_ZWSP); /* "**a***b*" could be read otherwise */
	while (w->nhave < w->nwant) {
		const struct hm_open *o = &w->want[w->nhave];
		uint32_t prev = last_sign(w), inner = next;

		if (w->nwant - w->nhave > 1)
			inner = is_mark(o + 1) ? '*' : '[';
		if (is_mark(o) && w->d->flank == FLANK_EDGES && !outside_ok(prev))
			hm_buf_lit(w->out, HM_ZWSP);
		open_one(w, o);
		if (is_mark(o) && w->d->flank != FLANK_FREE && bad_edge(w->d, inner, prev))
			hm_buf_lit(w->out, HM_ZWSP);
		w->fresh = false;
	}
}

static void want(struct hm_writer *w, uint8_t kind, const struct hm_rich_node *link)
{
	if (w->nwant < HM_RICH_MAX_DEPTH)
		w->want[w->nwant++] = (struct hm_open){kind, link};
}
static void unwant(struct hm_writer *w, uint8_t kind)
{
	if (w->nwant && w->want[w->nwant - 1].kind == kind)
		w->nwant--;
}

/* -- lines ---------------------------------------------------------------------------------- */

/* Does something stand behind the node being written, in its line? */
static bool more_follows(const struct hm_writer *w)
{
	const struct hm_rich_node *n;

	if (w->at + 1 >= w->r->n)
		return false;
	n = &w->r->v[w->at + 1];
	if (n->kind == HM_RICH_BREAK)
		return w->one_line;
	return n->kind != HM_RICH_PARA && n->kind != HM_RICH_HEADING && n->kind != HM_RICH_ITEM;
}

/* Do words follow in the line? */
static bool goes_on(const struct hm_writer *w)
{
	for (size_t i = w->at + 1; i < w->r->n; i++) {
		uint8_t kind = w->r->v[i].kind;

		if (kind != HM_RICH_BOLD && kind != HM_RICH_ITALIC && kind != HM_RICH_LINK)
			return kind == HM_RICH_BREAK ? w->one_line
						     : kind != HM_RICH_PARA && kind != HM_RICH_HEADING &&
							       kind != HM_RICH_ITEM;
	}
	return false;
}

static void words(struct hm_writer *w, struct hm_str s, bool more)
{
	size_t a = 0, b = s.len, used;

	while (a < b && hm_is_blank((unsigned char)s.p[a]))
		a++;
	if (a == b) {
		if (w->nhave > w->nwant)
			sync(w, HM_STR(""), ' ');
		hold(w, s);
		return;
	}
	while (hm_is_blank((unsigned char)s.p[b - 1]))
		b--;
	if (w->nhave == w->nwant && w->nheld == 0 && wanted(w) == w->nhave)
		a = 0; /* nothing to open or close: blanks in front are text */
	else
		sync(w, hm_str_n(s.p, a), hm_utf8_decode(hm_str_n(s.p + a, b - a), &used));
	/* a marker that closes at the line's end follows too */
	more |= b < s.len || (w->nhave && w->d->layout == LAYOUT_LINES);
	hm_write_text(w, hm_str_n(s.p + a, b - a), more);
	if (b < s.len)
		hold(w, hm_str_n(s.p + b, s.len - b));
}

static void line_break(struct hm_writer *w, struct hm_str how)
{
	close_to(w, w->d->flags & SPANS_LINE ? 0 : wanted(w), 0);
	flush_held(w);
	if (w->fresh && how.len > 1 && how.p[0] == ' ')
		how = HM_STR("\n"); /* an empty line already */
	if (w->d->layout == LAYOUT_BLOCKS || how.len)
		hm_buf_puts(w->out, how);
	w->fresh = true;
	w->space = false;
	w->line = w->out->len;
}

/* The end of a heading's or item's line becomes a line break only when something follows. */
enum { SEP_NONE, SEP_LINE, SEP_ITEM };

struct lines {
	struct hm_writer *w;
	int sep;
	size_t indent[HM_RICH_MAX_DEPTH + 1];
};

static void block_end(struct lines *l, int sep)
{
	close_to(l->w, 0, 0);
	flush_held(l->w);
	l->sep = sep;
}

/* Before anything that is not an item. */
static void begin(struct lines *l)
{
	if (l->sep == SEP_ITEM && l->w->d->list == LIST_SIGN)
		line_break(l->w, HM_STR("\n\n")); /* else it would belong to the item */
	else if (l->sep == SEP_LINE && l->w->d->heading != HEADING_HASH && l->w->d->brk.len > 1)
		line_break(l->w, HM_STR("\n\n")); /* a bold line does not end by itself */
	else if (l->sep)
		line_break(l->w, HM_STR("\n"));
	l->sep = SEP_NONE;
}

/* A block that needs a line of its own. */
static void begin_block(struct lines *l, bool item, bool numbered)
{
	struct hm_writer *w = l->w;

	if (l->sep == SEP_ITEM && item) {
		line_break(w, HM_STR("\n"));
	} else if (l->sep) {
		begin(l);
	} else if (!w->fresh || w->nhave || w->nheld) {
		close_to(w, 0, 0);
		line_break(w, numbered && w->d->list == LIST_SIGN ? HM_STR("\n\n")
			      : w->d->brk.len > 1		  ? HM_STR("\n\n")
								  : HM_STR("\n"));
	}
	l->sep = SEP_NONE;
}

static void put_number(struct hm_writer *w, uint32_t n)
{
	char t[16];
	size_t i = sizeof(t);

	t[--i] = '.';
	do {
		t[--i] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	if (w->d->code_text == hm_code_tg_mdv2) {
		hm_buf_put(w->out, t + i, sizeof(t) - 1 - i);
		hm_buf_lit(w->out, "\\.");
	} else {
		hm_buf_put(w->out, t + i, sizeof(t) - i);
	}
}

static void item(struct lines *l, const struct hm_rich_node *n)
{
	struct hm_writer *w = l->w;
	unsigned depth = n->depth < HM_RICH_MAX_DEPTH ? n->depth : HM_RICH_MAX_DEPTH - 1;
	size_t indent, from;

	if (n->close) {
		w->nwant = 0;
		block_end(l, SEP_ITEM);
		return;
	}
	begin_block(l, true, n->n != 0);
	if (depth == 0)
		l->indent[0] = 0;
	indent = w->d->list == LIST_SIGN ? l->indent[depth] : depth * 2u;
	for (size_t i = 0; i < indent; i++)
		hm_buf_putc(w->out, ' ');
	from = w->out->len;
	if (n->n)
		put_number(w, n->n);
	else if (w->d->list == LIST_SIGN)
		hm_buf_putc(w->out, '-');
	else
		hm_buf_lit(w->out, "\xe2\x80\xa2");
	hm_buf_putc(w->out, ' ');
	for (unsigned i = depth + 1; i <= HM_RICH_MAX_DEPTH; i++)
		l->indent[i] = indent + (w->out->len - from);
	w->line = w->out->len;
	w->fresh = w->d->list == LIST_SIGN; /* "- # a" has a heading in it */
}

static void heading(struct lines *l, const struct hm_rich_node *n)
{
	struct hm_writer *w = l->w;

	if (n->close) {
		w->nwant = 0;
		close_to(w, 0, 0);
		flush_held(w);
		if (w->d->heading == HEADING_HASH && w->out->len && !w->out->err &&
		    w->out->p[w->out->len - 1] == '#')
			hm_buf_lit(w->out, HM_ZWSP); /* signs at the end would be taken for decoration */
		w->bold_line = w->one_line = false;
		l->sep = SEP_LINE;
		return;
	}
	begin_block(l, false, false);
	if (w->d->heading == HEADING_HASH) {
		uint32_t level = (n->n ? n->n : 1) + w->d->hmin - 1u;

		for (uint32_t i = 0; i < hm_min(level, w->d->hmax); i++)
			hm_buf_putc(w->out, '#');
		hm_buf_putc(w->out, ' ');
		w->line = w->out->len;
		w->fresh = false;
		w->one_line = true;
	} else if (w->d->heading == HEADING_BOLD) {
		w->bold_line = true;
		want(w, HM_RICH_HEADING, NULL);
	}
}

/* -- inline nodes ----------------------------------------------------------------------------- */

/* A URL in text, for media that find it there: as it is, or escaped where the medium takes escapes off first. */
static bool raw_url(struct hm_writer *w, struct hm_str url)
{
	const struct hm_dialect *d = w->d;

	if (d->link == LINK_TAG || d->code_text == hm_code_tg_mdv2) {
		words(w, url, more_follows(w));
		return true;
	}
	if (d->link != LINK_WORDS && !(d->flags & URL_FIRST))
		for (size_t i = 0; i < url.len; i++)
			if (hm_url_signs[(unsigned char)url.p[i]] & HM_URL_MARKUP)
				return false;
	sync(w, HM_STR(""), 'h');
	hm_write_url(w, url);
	return true;
}

static size_t skip_link(const struct hm_writer *w, size_t i)
{
	for (i++; i < w->r->n; i++)
		if (w->r->v[i].kind == HM_RICH_LINK && w->r->v[i].close)
			return i;
	return w->r->n;
}

/* Is the link's text its target? */
static bool plain_target(const struct hm_writer *w, size_t i)
{
	const struct hm_rich_node *v = w->r->v;

	return i + 2 < w->r->n && v[i + 1].kind == HM_RICH_TEXT && hm_str_eq(v[i + 1].text, v[i].text) &&
	       v[i + 2].kind == HM_RICH_LINK && v[i + 2].close;
}

static void target_in_words(struct hm_writer *w, const struct hm_rich_node *link)
{
	bool tail = goes_on(w);

	sync(w, HM_STR(""), tail ? '(' : ':');
	if (w->d->link == LINK_WORDS) {
		hm_buf_puts(w->out, tail ? HM_STR(" (") : HM_STR(": "));
		hm_write_url(w, link->text);
		if (tail)
			hm_buf_putc(w->out, ')');
	} else {
		hm_write_text(w, tail ? HM_STR(" (") : HM_STR(": "), true);
		hm_write_text(w, link->text, tail);
		if (tail)
			hm_write_text(w, HM_STR(")"), true);
	}
}

static void link_node(struct hm_writer *w)
{
	const struct hm_rich_node *n = &w->r->v[w->at];
	const struct hm_dialect *d = w->d;
	bool words_only = d->link == LINK_WORDS || !hm_dialect_links_to(d, n->text),
	     target = plain_target(w, w->at);

	if (n->close) {
		if (w->nwant && w->want[w->nwant - 1].kind == HM_RICH_LINK) {
			unwant(w, HM_RICH_LINK);
		} else {
			/* its start is the last open link before it */
			for (size_t i = w->at; i-- > 0;)
				if (w->r->v[i].kind == HM_RICH_LINK) {
					target_in_words(w, &w->r->v[i]);
					break;
				}
		}
		return;
	}
	if (words_only && (target || n->bare)) {
		if (d->link == LINK_WORDS) {
			sync(w, HM_STR(""), 'h');
			hm_write_url(w, n->text);
		} else {
			w->at = skip_link(w, w->at) - 1;
			words(w, n->text, true);
		}
		w->at = skip_link(w, (size_t)(n - w->r->v));
		return;
	}
	if (words_only)
		return;
	if ((target || n->bare) && d->bare == BARE_RAW) {
		size_t end = skip_link(w, w->at), at = w->at;

		w->at = end;
		if (raw_url(w, n->text))
			return;
		w->at = at;
	}
	want(w, HM_RICH_LINK, n);
}

static void code_node(struct hm_writer *w, const struct hm_rich_node *n)
{
	const struct hm_dialect *d = w->d;
	struct hm_str s = n->text, lead = HM_STR(""), tail = HM_STR("");

	if (d->layout ==
	    LAYOUT_LINES) { /* some readers take blanks at the edges off, some see no code then */
		s = hm_str_trim(n->text);
		lead = hm_str_n(n->text.p, s.len ? (size_t)(s.p - n->text.p) : n->text.len);
		tail = s.len ? hm_str_n(s.p + s.len, n->text.len - s.len - lead.len) : HM_STR("");
	}
	if (s.len == 0 || d->code.open.len == 0 || w->label || (d->flags & FLAT && w->nwant)) {
		words(w, n->text, more_follows(w));
		return;
	}
	sync(w, lead, '`');
	if (d->flank == FLANK_EDGES && !outside_ok(last_sign(w)))
		hm_buf_lit(w->out, HM_ZWSP);
	hm_buf_puts(w->out, d->code.open);
	if (d->layout == LAYOUT_LINES)
		w->fresh = false;
	w->code = true;
	hm_write_text(w, s, true);
	w->code = false;
	hm_buf_puts(w->out, d->code.close);
	if (tail.len)
		hold(w, tail);
	else if (d->flank == FLANK_EDGES && more_follows(w))
		hm_buf_lit(w->out, HM_ZWSP);
}

static void image_node(struct hm_writer *w, const struct hm_rich_node *n)
{
	const struct hm_dialect *d = w->d;
	struct hm_str alt = n->alt.len ? n->alt : n->text;
	bool tail = more_follows(w);

	if (w->nwant && w->want[w->nwant - 1].kind == HM_RICH_LINK) {
		words(w, alt, tail);
	} else if (d->image == IMAGE_SIGN && hm_dialect_links_to(d, n->text)) {
		sync(w, HM_STR(""), '!');
		hm_buf_lit(w->out, "![");
		w->label = true;
		w->fresh = false;
		hm_write_text(w, n->alt, true);
		w->label = false;
		hm_buf_lit(w->out, "](");
		hm_write_url(w, n->text);
		hm_buf_putc(w->out, ')');
	} else if (d->link == LINK_WORDS || !hm_dialect_links_to(d, n->text)) {
		if (n->alt.len) {
			words(w, n->alt, true);
			target_in_words(w, n);
		} else {
			sync(w, HM_STR(""), 'h');
			hm_write_url(w, n->text);
		}
	} else if (n->alt.len == 0 && d->bare == BARE_RAW && raw_url(w, n->text)) {
		;
	} else {
		want(w, HM_RICH_LINK, n);
		words(w, alt, true);
		unwant(w, HM_RICH_LINK);
	}
}

static bool in_label(const struct hm_writer *w)
{
	for (uint32_t i = 0; i < w->nwant; i++)
		if (w->want[i].kind == HM_RICH_LINK)
			return true;
	return false;
}

/* Nodes inside a line, for both layouts. */
void hm_write_inline(struct hm_writer *w)
{
	const struct hm_rich_node *n = &w->r->v[w->at];

	switch ((enum hm_rich_kind)n->kind) {
	case HM_RICH_TEXT: words(w, n->text, more_follows(w)); break;
	case HM_RICH_BOLD:
	case HM_RICH_ITALIC:
		if (n->close)
			unwant(w, n->kind);
		else if (marker(w->d, n->kind)->open.len && !(n->kind == HM_RICH_BOLD && w->bold_line) &&
			 !(w->d->flags & FLAT && w->nwant))
			want(w, n->kind, NULL);
		break;
	case HM_RICH_LINK: link_node(w); break;
	case HM_RICH_CODE: code_node(w, n); break;
	case HM_RICH_IMAGE: image_node(w, n); break;
	case HM_RICH_BREAK:
		if (w->one_line || (w->d->link != LINK_TAG && in_label(w)))
			words(w, HM_STR(" "), true);
		else
			line_break(w, w->d->brk);
		break;
	default: hm_unreachable();
	}
}

void hm_write_sync(struct hm_writer *w)
{
	sync(w, HM_STR(""), '!');
	w->fresh = w->space = false;
}

void hm_write_end_line(struct hm_writer *w)
{
	w->nwant = 0;
	close_to(w, 0, 0);
	flush_held(w);
}

static void write_lines(struct hm_writer *w)
{
	struct lines l;

	l.w = w;
	l.sep = SEP_NONE;
	if (w->r->kinds & BIT(ITEM))
		for (size_t i = 0; i <= HM_RICH_MAX_DEPTH; i++) /* a list may begin anywhere */
			l.indent[i] = i * 2;
	for (w->at = 0; w->at < w->r->n; w->at++) {
		const struct hm_rich_node *n = &w->r->v[w->at];

		if (n->kind == HM_RICH_ITEM) {
			item(&l, n);
		} else if (n->kind == HM_RICH_HEADING) {
			heading(&l, n);
		} else if (n->kind == HM_RICH_PARA) {
			hm_write_end_line(w);
			l.sep = SEP_NONE;
			line_break(w, HM_STR("\n\n"));
		} else {
			begin(&l);
			hm_write_inline(w);
		}
	}
	hm_write_end_line(w);
}

static void begin_writing(struct hm_writer *w, const struct hm_dialect *d, const struct hm_rich *r,
			  struct hm_buf *out)
{
	memset(w, 0, offsetof(struct hm_writer, held));
	w->d = d;
	w->r = r;
	w->out = out;
	w->line = out->len;
	w->fresh = true;
}

int hm_dialect_write(const struct hm_dialect *d, const struct hm_rich *r, struct hm_buf *out)
{
	struct hm_writer w;

	begin_writing(&w, d, r, out);
	if (d->layout == LAYOUT_BLOCKS)
		hm_write_blocks(&w);
	else
		write_lines(&w);
	return out->err;
}

int hm_dialect_escape(const struct hm_dialect *d, struct hm_str text, struct hm_buf *out)
{
	static const struct hm_rich none = {0};
	struct hm_writer w;
	const char *p = text.p, *e = p + text.len;

	begin_writing(&w, d, &none, out);
	while (p < e) {
		const char *q = p;
		size_t ctl = 0;

		while (q < e && *q != '\n' && *q != '\r' && !(ctl = hm_control(q, e)))
			q++;
		if (q > p) /* what comes behind it is not known */
			hm_write_text(&w, hm_str_n(p, (size_t)(q - p)), q == e || ctl);
		if (q < e && !ctl)
			line_break(&w, d->brk);
		p = q + (q == e ? 0 : ctl ? ctl : *q == '\r' && e - q > 1 && q[1] == '\n' ? 2 : 1);
	}
	return out->err;
}
