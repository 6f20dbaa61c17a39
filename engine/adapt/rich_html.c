/*
 * rich_html.c - an author's HTML as nodes
 *
 * A reader, not a browser: tags it knows become spans and blocks, others vanish. Everything is written late: a
 * blank, a break, a paragraph, an opened span wait until something visible comes, and what has ended by then
 * is never written. So every list is well nested whatever the source was, and there is no empty node.
 */
#include "adapt/rich_int.h"

enum tag { /* what a tag is to us */
	   TAG_OTHER,
	   TAG_A,
	   TAG_BOLD,
	   TAG_BR,
	   TAG_CELL,
	   TAG_CODE,
	   TAG_HEADING,
	   TAG_IMG,
	   TAG_ITALIC,
	   TAG_LI,
	   TAG_LINE, /* starts and ends on a line of its own */
	   TAG_OL,
	   TAG_PARA, /* blank lines around it */
	   TAG_PRE,
	   TAG_SKIP, /* vanishes with all it holds */
	   TAG_UL,
};

static const struct {
	const char *name;
	enum tag tag;
} tags[] = {
	{"a", TAG_A},		{"address", TAG_LINE},	  {"article", TAG_LINE}, {"aside", TAG_LINE},
	{"b", TAG_BOLD},	{"blockquote", TAG_PARA}, {"body", TAG_LINE},	 {"br", TAG_BR},
	{"caption", TAG_LINE},	{"center", TAG_LINE},	  {"code", TAG_CODE},	 {"dd", TAG_LINE},
	{"div", TAG_LINE},	{"dl", TAG_PARA},	  {"dt", TAG_LINE},	 {"em", TAG_ITALIC},
	{"fieldset", TAG_LINE}, {"figcaption", TAG_LINE}, {"figure", TAG_LINE},	 {"footer", TAG_LINE},
	{"form", TAG_LINE},	{"h1", TAG_HEADING},	  {"h2", TAG_HEADING},	 {"h3", TAG_HEADING},
	{"h4", TAG_HEADING},	{"h5", TAG_HEADING},	  {"h6", TAG_HEADING},	 {"header", TAG_LINE},
	{"hr", TAG_PARA},	{"i", TAG_ITALIC},	  {"img", TAG_IMG},	 {"li", TAG_LI},
	{"main", TAG_LINE},	{"nav", TAG_LINE},	  {"ol", TAG_OL},	 {"option", TAG_LINE},
	{"p", TAG_PARA},	{"pre", TAG_PRE},	  {"script", TAG_SKIP},	 {"section", TAG_LINE},
	{"strong", TAG_BOLD},	{"style", TAG_SKIP},	  {"table", TAG_PARA},	 {"tbody", TAG_LINE},
	{"td", TAG_CELL},	{"template", TAG_SKIP},	  {"tfoot", TAG_LINE},	 {"th", TAG_CELL},
	{"thead", TAG_LINE},	{"title", TAG_SKIP},	  {"tr", TAG_LINE},	 {"ul", TAG_UL},
};

/* Named characters; a no-break blank is a blank here: media put their own where they need one. */
static const struct {
	const char *name, *text;
} names[] = {
	{"amp", "&"},
	{"apos", "'"},
	{"bull", "\xe2\x80\xa2"},
	{"cent", "\xc2\xa2"},
	{"copy", "\xc2\xa9"},
	{"darr", "\xe2\x86\x93"},
	{"deg", "\xc2\xb0"},
	{"divide", "\xc3\xb7"},
	{"emsp", "\xe2\x80\x83"},
	{"ensp", "\xe2\x80\x82"},
	{"euro", "\xe2\x82\xac"},
	{"gt", ">"},
	{"hellip", "\xe2\x80\xa6"},
	{"iexcl", "\xc2\xa1"},
	{"iquest", "\xc2\xbf"},
	{"laquo", "\xc2\xab"},
	{"larr", "\xe2\x86\x90"},
	{"ldquo", "\xe2\x80\x9c"},
	{"lsquo", "\xe2\x80\x98"},
	{"lt", "<"},
	{"mdash", "\xe2\x80\x94"},
	{"middot", "\xc2\xb7"},
	{"nbsp", " "},
	{"ndash", "\xe2\x80\x93"},
	{"para", "\xc2\xb6"},
	{"plusmn", "\xc2\xb1"},
	{"pound", "\xc2\xa3"},
	{"quot", "\""},
	{"raquo", "\xc2\xbb"},
	{"rarr", "\xe2\x86\x92"},
	{"rdquo", "\xe2\x80\x9d"},
	{"reg", "\xc2\xae"},
	{"rsquo", "\xe2\x80\x99"},
	{"sect", "\xc2\xa7"},
	{"shy", ""},
	{"thinsp", "\xe2\x80\x89"},
	{"times", "\xc3\x97"},
	{"trade", "\xe2\x84\xa2"},
	{"uarr", "\xe2\x86\x91"},
	{"yen", "\xc2\xa5"},
	{"zwj", "\xe2\x80\x8d"},
	{"zwnj", "\xe2\x80\x8c"},
};

/* &#128; to &#159; mean Windows-1252 on the web. */
static const uint16_t cp1252[32] = {0x20ac, 0xfffd, 0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021,
				    0x2c6,  0x2030, 0x160,  0x2039, 0x152,  0xfffd, 0x17d,  0xfffd,
				    0xfffd, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
				    0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0xfffd, 0x17e,  0x178};

enum { GAP_NONE, GAP_LINE, GAP_PARA };
enum { IN_FLOW, IN_ITEM, IN_HEADING };

struct want {
	uint8_t kind;	/* BOLD ITALIC LINK */
	uint32_t count; /* how often it is open */
	struct hm_str url;
	uint32_t n; /* of a link: where its target stands, + 1 */
};
struct list {
	bool numbered;
	uint32_t next;
};
struct html {
	struct hm_rich_b *b;
	const char *start, *p, *e;
	bool text_only;	   /* no tag ends any more: the rest is text */
	uint8_t gap;	   /* the end of a line or paragraph that waits */
	uint32_t breaks;   /* <br> that wait */
	const char *blank; /* a blank that waits, where it stands; NULL: none */
	bool line;	   /* something is on this line */
	uint8_t in;	   /* container asked for */
	bool in_written;   /* its opening node is in the list */
	uint8_t lead;	   /* the gap in front of it */
	uint32_t level;	   /* of the heading; number of the item */
	uint8_t depth;	   /* of the item */
	struct want want[3], have[3];
	uint32_t nwant, nhave;
	struct list lists[HM_RICH_MAX_DEPTH];
	uint32_t nlists, deep; /* lists too deep to count */
	uint32_t pre;
	bool code;
	struct hm_buf code_text;
	bool link_image; /* the open link holds a picture without words */
	bool link_shown;
};

/* -- characters ------------------------------------------------------------------------------ */

static bool white(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

/* The character at "&"; false when it is none. */
static bool entity(const char *p, const char *e, char out[4], size_t *out_n, size_t *used)
{
	const char *q = p + 1;
	uint32_t cp = 0;
	size_t i;

	if (e - q >= 2 && *q == '#') {
		bool hex = (q[1] | 0x20) == 'x';

		q += hex ? 2 : 1;
		for (i = 0; q < e && i < 8; i++, q++) {
			char c = (char)(*q | 0x20);

			if (hm_is_digit((unsigned char)*q))
				cp = cp * (hex ? 16u : 10u) + (uint32_t)(*q - '0');
			else if (hex && c >= 'a' && c <= 'f')
				cp = cp * 16u + (uint32_t)(c - 'a' + 10);
			else
				break;
		}
		if (i == 0)
			return false;
		if (q < e && *q == ';')
			q++;
		*used = (size_t)(q - p);
		if (cp >= 0x80 && cp < 0xa0)
			cp = cp1252[cp - 0x80];
		if (cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
			cp = 0xfffd;
		if (cp == 0xa0)
			cp = ' ';
		*out_n = hm_utf8_encode(cp, out);
		return true;
	}
	for (i = 0; q + i < e && i < 8 && hm_is_alnum((unsigned char)q[i]); i++)
		;
	for (size_t k = 0; i && k < hm_countof(names); k++)
		if (hm_str_is(hm_str_n(q, i), names[k].name)) {
			*out_n = strlen(names[k].text);
			memcpy(out, names[k].text, *out_n);
			*used = 1 + i + (q + i < e && q[i] == ';');
			return true;
		}
	return false;
}

/* -- what waits --------------------------------------------------------------------------------- */

static bool same(const struct want *a, const struct want *b)
{
	return a->kind == b->kind && a->n == b->n;
}

static void close_to(struct html *h, uint32_t keep)
{
	while (h->nhave > keep) {
		struct hm_rich_node *n = hm_rich_push(h->b, h->have[--h->nhave].kind);

		n->close = true;
	}
}

static void end_container(struct html *h)
{
	if (h->in != IN_FLOW && h->in_written) {
		struct hm_rich_node *n;

		close_to(h, 0);
		n = hm_rich_push(h->b, h->in == IN_ITEM ? HM_RICH_ITEM : HM_RICH_HEADING);
		n->close = true;
		n->n = h->level;
		n->depth = h->in == IN_ITEM ? h->depth : 0;
	}
	h->in = IN_FLOW;
	h->in_written = false;
}

static bool after_block(const struct hm_rich_b *b)
{
	return b->n && (b->v[b->n - 1].kind == HM_RICH_ITEM || b->v[b->n - 1].kind == HM_RICH_HEADING);
}

/* Something visible comes: everything that waits is written. */
static void content(struct html *h)
{
	struct hm_rich_b *b = h->b;
	uint32_t keep = 0;

	if (h->in != IN_FLOW && !h->in_written) {
		struct hm_rich_node *n;

		close_to(h, 0);
		if (h->lead == GAP_PARA && b->n)
			hm_rich_push(b, HM_RICH_PARA);
		n = hm_rich_push(b, h->in == IN_ITEM ? HM_RICH_ITEM : HM_RICH_HEADING);
		n->n = h->level;
		n->depth = h->in == IN_ITEM ? h->depth : 0;
		h->in_written = true;
		h->line = false;
	} else if (b->n && (h->gap || h->breaks)) {
		uint32_t breaks = h->breaks;

		if (h->in == IN_FLOW && (h->gap == GAP_PARA || breaks >= 2)) {
			close_to(h, 0);
			hm_rich_push(b, HM_RICH_PARA);
			breaks = breaks >= 2 ? breaks - 2 : 0;
		} else if (!breaks && !(h->in == IN_FLOW && after_block(b))) {
			breaks = 1;
		}
		while (breaks--)
			hm_rich_push(b, HM_RICH_BREAK);
		h->line = false;
	} else if (h->in == IN_FLOW && after_block(b)) {
		h->line = false;
	}
	h->gap = GAP_NONE;
	h->breaks = 0;
	while (keep < h->nhave && keep < h->nwant && same(&h->have[keep], &h->want[keep]))
		keep++;
	close_to(h, keep);
	if (h->blank && h->line)
		hm_rich_text(b, h->blank, 1);
	h->blank = NULL;
	for (; h->nhave < h->nwant; h->nhave++) {
		struct hm_rich_node *n = hm_rich_push(b, h->want[h->nhave].kind);

		h->have[h->nhave] = h->want[h->nhave];
		n->text = h->want[h->nhave].url;
		n->n = h->want[h->nhave].n;
	}
	h->line = true;
	h->link_shown = true;
}

static void block(struct html *h, uint8_t gap)
{
	h->gap = hm_max(h->gap, gap);
	h->breaks = 0;
	h->blank = NULL;
}

static void literal(struct html *h, const char *p, size_t n)
{
	if (n == 0)
		return;
	if (h->code) {
		hm_buf_put(&h->code_text, p, n);
		return;
	}
	content(h);
	hm_rich_text(h->b, p, n);
}

/* A copy that stays: for characters made here. */
static void made(struct html *h, const char *p, size_t n)
{
	struct hm_str s;

	if (n == 1 && *p == ' ')
		s = HM_STR(" ");
	else
		s = hm_arena_str(h->b->arena, hm_str_n(p, n));
	if (!s.p)
		h->b->err = HM_ENOMEM;
	else
		literal(h, s.p, s.len);
}

static void line_feed(struct html *h)
{
	if (h->line)
		h->breaks++;
	else if (h->b->n)
		h->gap = GAP_PARA;
	h->blank = NULL;
}

static void end_code(struct html *h)
{
	struct hm_str s = hm_str_trim(hm_buf_str(&h->code_text));

	if (!h->code)
		return;
	h->code = false;
	if (h->code_text.err)
		h->b->err = h->code_text.err;
	if (s.len == 0)
		return;
	content(h);
	hm_rich_push(h->b, HM_RICH_CODE)->text = s;
}

static void text(struct html *h, const char *p, const char *e)
{
	while (p < e) {
		const char *q = p;
		size_t n, used, ctl;
		char t[4];

		if (white(*p)) {
			if (h->pre && *p != ' ' && *p != '\t') {
				if (*p == '\n')
					line_feed(h);
				p++;
				continue;
			}
			if (h->pre)
				literal(h, p, 1);
			else if (h->code)
				hm_buf_putc(&h->code_text, ' ');
			else if (!h->blank)
				h->blank = *p == ' ' ? p : " ";
			p++;
			while (!h->pre && p < e && white(*p))
				p++;
			continue;
		}
		ctl = hm_control(p, e);
		if (ctl) {
			p += ctl;
			continue;
		}
		if (*p == '&' && entity(p, e, t, &n, &used)) {
			if (n && (unsigned char)t[0] < 0x20) {
				if (white(t[0]) && !h->blank)
					h->blank = " ";
			} else if (n && !(n == 1 && t[0] == 0x7f)) {
				made(h, t, n);
			}
			p += used;
			continue;
		}
		for (q++; q < e && !white(*q) && *q != '&' && !hm_control(q, e); q++)
			;
		literal(h, p, (size_t)(q - p));
		p = q;
	}
}

/* -- tags -------------------------------------------------------------------------------------- */

static enum tag lookup(struct hm_str name)
{
	size_t lo = 0, hi = hm_countof(tags);
	char low[16];

	if (name.len >= sizeof(low))
		return TAG_OTHER;
	for (size_t i = 0; i < name.len; i++)
		low[i] = (char)(name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] | 0x20 : name.p[i]);
	low[name.len] = '\0';
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = strcmp(low, tags[mid].name);

		if (c == 0)
			return tags[mid].tag;
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return TAG_OTHER;
}

/* The value of an attribute with its characters decoded; *at: where it stands, + 1. */
static struct hm_str value(struct html *h, const char *p, const char *e, uint32_t *at)
{
	char *out, *q, t[4];
	size_t n, used;

	while (p < e && white(*p))
		p++;
	while (e > p && white(e[-1]))
		e--;
	*at = p - h->start < UINT32_MAX - 1 ? (uint32_t)(p - h->start) + 1 : 0;
	if (p == e || !memchr(p, '&', (size_t)(e - p)))
		return hm_str_n(p, (size_t)(e - p));
	q = out = hm_arena_alloc(h->b->arena, (size_t)(e - p));
	if (!out) {
		h->b->err = HM_ENOMEM;
		return HM_STR("");
	}
	while (p < e) {
		if (*p == '&' && entity(p, e, t, &n, &used)) { /* never longer than its source */
			memcpy(q, t, n);
			q += n;
			p += used;
		} else {
			*q++ = *p++;
		}
	}
	return hm_str_n(out, (size_t)(q - out));
}

/* One attribute at *p; false at the end of the tag. */
static bool attribute(const char **p, const char *e, struct hm_str *name, const char **v, const char **ve)
{
	const char *q = *p;

	while (q < e && (white(*q) || *q == '/'))
		q++;
	if (q >= e)
		return false;
	name->p = q;
	do
		q++;
	while (q < e && !white(*q) && *q != '=' && *q != '/');
	name->len = (size_t)(q - name->p);
	*v = *ve = q;
	while (q < e && white(*q))
		q++;
	if (q < e && *q == '=') {
		for (q++; q < e && white(*q); q++)
			;
		if (q < e && (*q == '"' || *q == '\'')) {
			const char *end = memchr(q + 1, *q, (size_t)(e - q - 1));

			*v = q + 1;
			*ve = end ? end : e;
			q = end ? end + 1 : e;
		} else {
			*v = q;
			while (q < e && !white(*q))
				q++;
			*ve = q;
		}
	}
	*p = q;
	return true;
}

size_t hm_rich_attr_end(struct hm_str html, size_t at, bool *quoted)
{
	size_t i = at;

	/* back over blanks in front of the value */
	while (i > 0 && white(html.p[i - 1]))
		i--;
	*quoted = i > 0 && (html.p[i - 1] == '"' || html.p[i - 1] == '\'');
	if (*quoted) {
		const char *end = memchr(html.p + at, html.p[i - 1], html.len - at);

		return end ? (size_t)(end - html.p) : html.len;
	}
	while (at < html.len && !white(html.p[at]) && html.p[at] != '>')
		at++;
	return at;
}

static void forget(struct html *h, uint8_t kind, bool all)
{
	for (uint32_t i = 0; i < h->nwant; i++)
		if (h->want[i].kind == kind) {
			if (!all && --h->want[i].count)
				return;
			memmove(&h->want[i], &h->want[i + 1], (h->nwant - i - 1) * sizeof(h->want[0]));
			h->nwant--;
			return;
		}
}

static void span(struct html *h, uint8_t kind, bool close)
{
	if (close) {
		forget(h, kind, false);
		return;
	}
	for (uint32_t i = 0; i < h->nwant; i++)
		if (h->want[i].kind == kind) {
			h->want[i].count++;
			return;
		}
	h->want[h->nwant++] = (struct want){.kind = kind, .count = 1};
}

static void link_end(struct html *h)
{
	for (uint32_t i = 0; i < h->nwant; i++)
		if (h->want[i].kind == HM_RICH_LINK && h->link_image && !h->link_shown) {
			struct hm_str url = h->want[i].url;

			literal(h, url.p, url.len); /* a picture without words: the target says what it is */
		}
	forget(h, HM_RICH_LINK, true);
}

static void anchor(struct html *h, const char *p, const char *e)
{
	struct hm_str name, url = HM_STR("");
	const char *v, *ve;
	uint32_t at = 0;

	link_end(h); /* links do not nest */
	while (attribute(&p, e, &name, &v, &ve))
		if (hm_str_ieq(name, HM_STR("href"))) {
			url = value(h, v, ve, &at);
			break;
		}
	if (!hm_rich_url_ok(url))
		return;
	h->want[h->nwant++] = (struct want){.kind = HM_RICH_LINK, .count = 1, .url = url, .n = at};
	h->link_image = h->link_shown = false;
}

static void picture(struct html *h, const char *p, const char *e)
{
	struct hm_str name, src = HM_STR(""), alt = HM_STR("");
	const char *v, *ve;
	uint32_t at;

	while (attribute(&p, e, &name, &v, &ve)) {
		if (hm_str_ieq(name, HM_STR("src")))
			src = value(h, v, ve, &at);
		else if (hm_str_ieq(name, HM_STR("alt")))
			alt = value(h, v, ve, &at);
	}
	h->link_image = true;
	if (alt.len == 0 || h->code)
		return; /* decoration */
	if (hm_rich_url_ok(src) && !hm_str_ieq(hm_str_n(src.p, hm_min(src.len, 7)), HM_STR("mailto:"))) {
		struct hm_rich_node *n;
		struct hm_rich_b one = {.arena = h->b->arena, .first = 4};
		size_t len = 0;

		hm_rich_verbatim(&one, alt); /* its words in one line */
		for (size_t i = 0; i < one.n; i++)
			len += one.v[i].kind == HM_RICH_TEXT ? one.v[i].text.len : 0;
		content(h);
		n = hm_rich_push(h->b, HM_RICH_IMAGE);
		n->text = src;
		n->alt = one.n == 1 ? one.v[0].text : HM_STR("");
		if (one.n > 1) {
			char *t = hm_arena_alloc(h->b->arena, len + one.n), *q = t;

			if (!t) {
				h->b->err = HM_ENOMEM;
				return;
			}
			for (size_t i = 0; i < one.n; i++) {
				if (one.v[i].kind != HM_RICH_TEXT) {
					*q++ = ' ';
				} else {
					memcpy(q, one.v[i].text.p, one.v[i].text.len);
					q += one.v[i].text.len;
				}
			}
			n->alt = hm_str_n(t, (size_t)(q - t));
		}
		if (one.err)
			h->b->err = one.err;
	} else {
		text(h, alt.p, alt.p + alt.len);
	}
}

static void list(struct html *h, bool numbered, bool close)
{
	if (h->in == IN_ITEM && h->in_written)
		end_container(h);
	if (!close) {
		block(h, h->nlists ? GAP_LINE : GAP_PARA);
		if (h->nlists < HM_RICH_MAX_DEPTH)
			h->lists[h->nlists++] = (struct list){numbered, 1};
		else
			h->deep++;
		return;
	}
	end_container(h);
	if (h->deep)
		h->deep--;
	else if (h->nlists)
		h->nlists--;
	block(h, h->nlists ? GAP_LINE : GAP_PARA);
}

static void list_item(struct html *h, bool close)
{
	end_container(h);
	if (h->b->n && h->b->v[h->b->n - 1].kind == HM_RICH_ITEM)
		h->gap = GAP_NONE; /* items follow each other line by line */
	block(h, GAP_LINE);
	if (close)
		return;
	h->in = IN_ITEM;
	h->lead = h->gap;
	h->depth = (uint8_t)(h->nlists ? h->nlists - 1 : 0);
	h->level = h->nlists && h->lists[h->nlists - 1].numbered ? h->lists[h->nlists - 1].next++ : 0;
}

static void tag(struct html *h, struct hm_str name, bool close, const char *p, const char *e)
{
	enum tag t = lookup(name);

	if (h->code && t != TAG_OTHER && t != TAG_BOLD && t != TAG_ITALIC && t != TAG_IMG && t != TAG_A)
		end_code(h);
	switch (t) {
	case TAG_OTHER: break;
	case TAG_A:
		if (h->code)
			break;
		if (close)
			link_end(h);
		else
			anchor(h, p, e);
		break;
	case TAG_BOLD: span(h, HM_RICH_BOLD, close); break;
	case TAG_ITALIC: span(h, HM_RICH_ITALIC, close); break;
	case TAG_BR: line_feed(h); break;
	case TAG_CELL:
		if (close && !h->blank)
			h->blank = " ";
		break;
	case TAG_CODE:
		if (!close && !h->pre) {
			h->code = true;
			hm_buf_init_arena(&h->code_text, h->b->arena, 1 << 20);
		}
		break;
	case TAG_HEADING:
		end_container(h);
		block(h, GAP_PARA);
		if (!close) {
			h->in = IN_HEADING;
			h->lead = GAP_PARA;
			h->level = (uint32_t)(name.p[1] - '0');
		}
		break;
	case TAG_IMG:
		if (!close)
			picture(h, p, e);
		break;
	case TAG_LI: list_item(h, close); break;
	case TAG_LINE:
		if (h->in == IN_HEADING)
			end_container(h);
		block(h, GAP_LINE);
		break;
	case TAG_OL:
	case TAG_UL: list(h, t == TAG_OL, close); break;
	case TAG_PRE:
		if (close)
			h->pre -= h->pre > 0;
		else
			h->pre++;
		block(h, GAP_PARA);
		break;
	case TAG_PARA:
		if (h->in == IN_HEADING)
			end_container(h);
		block(h, GAP_PARA);
		break;
	case TAG_SKIP:
		for (; !close && h->p < h->e; h->p++) {
			const char *q = h->p;

			if (*q == '<' && (size_t)(h->e - q) >= name.len + 2 && q[1] == '/' &&
			    hm_str_ieq(hm_str_n(q + 2, name.len), name))
				break; /* the end tag itself is read next */
		}
		break;
	}
}

/* The end of the tag whose inside starts at p, past quoted ">"; NULL when it does not end. */
static const char *tag_end(const char *p, const char *e)
{
	char last = 0;

	for (; p < e; p++) {
		if (*p == '>')
			return p;
		if ((*p == '"' || *p == '\'') && last == '=') {
			const char *q = memchr(p + 1, *p, (size_t)(e - p - 1));

			if (!q)
				return NULL;
			p = q;
		}
		if (!white(*p))
			last = *p;
	}
	return NULL;
}

static bool letter(char c)
{
	return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

/* Markup at h->p, a "<". False: it is a sign like others. */
static bool markup(struct html *h)
{
	const char *p = h->p + 1, *end;
	struct hm_str name;
	bool close;

	if (p == h->e || h->text_only)
		return false;
	if (*p == '!' || *p == '?') {
		ptrdiff_t at;

		if (h->e - p >= 3 && p[1] == '-' && p[2] == '-') {
			at = hm_str_find(hm_str_n(p + 1, (size_t)(h->e - p - 1)), HM_STR("-->"));
			h->p = at < 0 ? h->e : p + 1 + at + 3;
		} else {
			end = memchr(p, '>', (size_t)(h->e - p));
			h->p = end ? end + 1 : h->e;
		}
		return true;
	}
	close = *p == '/';
	p += close;
	if (p == h->e || !letter(*p))
		return false;
	end = tag_end(p, h->e);
	if (!end) {
		h->text_only = true;
		return false;
	}
	name.p = p;
	while (p < end && !white(*p) && *p != '/')
		p++;
	name.len = (size_t)(p - name.p);
	h->p = end + 1;
	tag(h, name, close, p, end);
	return true;
}

int hm_rich_read_html(struct hm_rich_b *b, struct hm_str s)
{
	struct html h = {.b = b, .start = s.p, .p = s.p, .e = s.p + s.len};

	while (h.p < h.e && !b->err) {
		const char *lt = memchr(h.p, '<', (size_t)(h.e - h.p));

		if (!lt)
			lt = h.e;
		text(&h, h.p, lt);
		h.p = lt;
		if (h.p < h.e && !markup(&h)) {
			literal(&h, h.p, 1);
			h.p++;
		}
	}
	end_code(&h);
	link_end(&h);
	end_container(&h);
	close_to(&h, 0);
	return b->err;
}
