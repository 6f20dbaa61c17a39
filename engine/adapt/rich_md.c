/*
 * rich_md.c - the markdown subset: blocks line by line, then the markup inside a block
 *
 * Spans are found the way CommonMark does it: a first pass writes every possible delimiter as a text node of
 * its own (one sign each) and remembers it; at a block's end delimiters are paired from the inside out and
 * the paired nodes change their kind. What stays unpaired already is the text it has to be. Unlike CommonMark
 * a delimiter only needs a visible sign on its inner side, because Chinese has no blanks around words; _
 * also needs the end of a word on its outer side.
 */
#include "adapt/rich_int.h"

#define MAX_DELIMS   512 /* of a block; further ones are text */
#define MAX_BRACKETS 64
#define MAX_TARGET   4096 /* bytes of a link's target, escaped */
#define MAX_RUN	     3	  /* "****" is a row of stars: masked digits, a line */

struct delim {
	uint32_t node;	/* of the first sign that is left */
	uint8_t n, run; /* signs left, signs it had */
	char c;
	bool open, close;
};
struct bracket {
	uint32_t node, delims; /* delimiters before it */
	const char *text;      /* what follows it in the source */
	bool image, live;
};
struct md {
	struct hm_rich_b *b;
	const char *p, *e; /* the block: where we are, its end */
	const char *run;   /* text not yet pushed starts here */
	const char *solid; /* blanks before this one are data and stay at the end of a line */
	const char *block;
	uint32_t ndelims, nbrackets;
	struct delim delims[MAX_DELIMS];
	struct bracket brackets[MAX_BRACKETS];
};

static void flush(struct md *m, const char *to)
{
	if (to > m->run)
		hm_rich_text(m->b, m->run, (size_t)(to - m->run));
	m->run = to;
}

/* -- texts with escapes ------------------------------------------------------------- */

static bool escapable(const char *p, const char *e) /* p: after the backslash */
{
	return p < e && (hm_is_punct((unsigned char)*p) || hm_is_blank((unsigned char)*p));
}

/* [p, e) with backslashes taken off; the text itself when there are none. Line breaks stay ("\n"). */
static struct hm_str unescape(struct hm_rich_b *b, const char *p, const char *e)
{
	char *out, *q;

	if (p == e || !memchr(p, '\\', (size_t)(e - p)))
		return hm_str_n(p, (size_t)(e - p));
	q = out = hm_arena_alloc(b->arena, (size_t)(e - p));
	if (!out) {
		b->err = HM_ENOMEM;
		return HM_STR("");
	}
	while (p < e) {
		if (*p == '\\' && (escapable(p + 1, e) || (e - p > 1 && p[1] == '\n')))
			p++;
		*q++ = *p++;
	}
	return hm_str_n(out, (size_t)(q - out));
}

/* -- spans ------------------------------------------------------------------------------ */

/* The byte before p decides what a delimiter may do. An escaped blank is a sign like any other. */
static bool blank_before(const struct md *m, const char *p)
{
	if (p == m->block)
		return true;
	return p > m->solid && (hm_is_blank((unsigned char)p[-1]) || p[-1] == '\n' || p[-1] == '\r');
}
static bool blank_after(const struct md *m, const char *p)
{
	return p == m->e || hm_is_blank((unsigned char)*p) || *p == '\n' || *p == '\r';
}

static void delimiter(struct md *m)
{
	const char *p = m->p, *q = p;
	bool before, after;
	struct delim *d;

	while (q < m->e && *q == *p)
		q++;
	before = blank_before(m, p);
	after = blank_after(m, q);
	if (q - p > MAX_RUN || m->ndelims == MAX_DELIMS || (before && after)) {
		m->p = q;
		return;
	}
	d = &m->delims[m->ndelims];
	*d = (struct delim){
		.n = (uint8_t)(q - p), .run = (uint8_t)(q - p), .c = *p, .open = !after, .close = !before};
	if (*p == '_') {
		if (p > m->block && (hm_is_alnum((unsigned char)p[-1])))
			d->open = false;
		if (q < m->e && hm_is_alnum((unsigned char)*q))
			d->close = false;
	}
	if (!d->open && !d->close) {
		m->p = q;
		return;
	}
	flush(m, p);
	m->ndelims++;
	d->node = (uint32_t)m->b->n;
	m->b->loose = true;
	for (; p < q; p++)
		hm_rich_push(m->b, HM_RICH_TEXT)->text = hm_str_n(p, 1);
	m->b->seal = m->b->n;
	m->p = m->run = q;
}

static void pair(struct hm_rich_b *b, struct delim *open, struct delim *close)
{
	unsigned n = open->n >= 2 && close->n >= 2 ? 2 : 1;
	enum hm_rich_kind kind = n == 2 ? HM_RICH_BOLD : HM_RICH_ITALIC;
	struct hm_rich_node *v = b->v;

	/* The signs on the inner side pair; a bold's second sign becomes an empty text. */
	open->n = (uint8_t)(open->n - n);
	for (unsigned i = 0; i < n; i++)
		v[open->node + open->n + i] = (struct hm_rich_node){.kind = HM_RICH_TEXT};
	v[open->node + open->n + n - 1] = (struct hm_rich_node){.kind = (uint8_t)kind};
	for (unsigned i = 0; i < n; i++)
		v[close->node + i] = (struct hm_rich_node){.kind = HM_RICH_TEXT};
	v[close->node] = (struct hm_rich_node){.kind = (uint8_t)kind, .close = true};
	close->node += n;
	close->n = (uint8_t)(close->n - n);
}

/* Pairs what was found since `from` and forgets it. */
static void pair_all(struct md *m, uint32_t from)
{
	uint32_t bottom[2][2]
		       [3]; /* of *, _; closers that may open; by length: nothing opens for them below */

	if (m->b->err) { /* nodes may be missing */
		m->ndelims = from;
		return;
	}
	for (size_t i = 0; i < 12; i++)
		((uint32_t *)bottom)[i] = from;
	for (uint32_t i = from; i < m->ndelims; i++) {
		struct delim *close = &m->delims[i];

		while (close->close && close->n) {
			uint32_t *floor = &bottom[close->c == '_'][close->open][close->run % 3], k = i;
			struct delim *open = NULL;

			while (k-- > *floor) {
				struct delim *d = &m->delims[k];

				if (!d->n || !d->open || d->c != close->c)
					continue;
				/* "*a**b*": the two in the middle are not a pair with those outside */
				if ((d->close || close->open) && (d->run + close->run) % 3 == 0 &&
				    (d->run % 3 || close->run % 3))
					continue;
				open = d;
				break;
			}
			if (!open) {
				*floor = i;
				break;
			}
			for (struct delim *d = open + 1; d < close; d++)
				d->n = 0; /* inside the pair and alone: text */
			pair(m->b, open, close);
		}
	}
	m->ndelims = from;
}

/* -- code ------------------------------------------------------------------------------- */

static void code(struct md *m)
{
	const char *p = m->p, *q = p, *end;
	size_t ticks;
	struct hm_rich_node *node;

	while (q < m->e && *q == '`')
		q++;
	ticks = (size_t)(q - p);
	for (end = q; end < m->e; end++) {
		const char *t = end;

		if (*end == '\\' && (escapable(end + 1, m->e) || (m->e - end > 1 && end[1] == '\n'))) {
			end++;
			continue;
		}
		if (*end == '\n' || *end == '\r')
			break;
		while (t < m->e && *t == '`')
			t++;
		if ((size_t)(t - end) == ticks)
			break;
		if (t > end)
			end = t - 1;
	}
	if (end >= m->e || *end != '`') {
		m->p = q; /* never closed */
		return;
	}
	flush(m, p);
	m->p = m->run = end + ticks;
	if (end - q > 2 && *q == ' ' && end[-1] == ' ' && end - 1 > m->solid) { /* "`` `a` ``" */
		q++;
		end--;
	}
	node = hm_rich_push(m->b, HM_RICH_CODE);
	node->text = unescape(m->b, q, end);
	if (node->text.len &&
	    (memchr(node->text.p, '\n', node->text.len) ||
	     hm_rich_skip(node->text.p, node->text.p + node->text.len) != node->text.p + node->text.len)) {
		/* one line, and nothing that cannot be seen */
		char *t = hm_arena_alloc(m->b->arena, node->text.len);
		const char *s = node->text.p, *se = s + node->text.len;
		size_t n = 0;

		if (!t) {
			m->b->err = HM_ENOMEM;
			return;
		}
		while (s < se) {
			size_t ctl = hm_control(s, se);

			if (!ctl)
				t[n++] = *s == '\n' || *s == '\r' ? ' ' : *s;
			s += ctl ? ctl : 1;
		}
		node->text = hm_str_n(t, n);
	}
	if (node->text.len == 0)
		m->b->n--;
}

/* -- links ------------------------------------------------------------------------------ */

static void bracket(struct md *m)
{
	const char *p = m->p;
	bool image = p > m->run && p[-1] == '!' && p - 1 >= m->solid;

	m->p++;
	if (m->nbrackets == MAX_BRACKETS)
		return;
	flush(m, p - image);
	m->brackets[m->nbrackets++] = (struct bracket){
		.node = (uint32_t)m->b->n, .delims = m->ndelims, .text = m->p, .image = image, .live = true};
	m->b->loose = true;
	hm_rich_push(m->b, HM_RICH_TEXT)->text = hm_str_n(p - image, 1 + (size_t)image);
	m->b->seal = m->b->n;
	m->run = m->p;
}

/* "(target)" at p: where it ends, or NULL. */
static const char *target(struct md *m, const char *p, struct hm_str *out, bool *blanks)
{
	const char *from = ++p, *to;
	unsigned depth = 0;

	for (;; p++) {
		if (p >= m->e || *p == '\n' || *p == '\r' || p - from > MAX_TARGET)
			return NULL;
		if (*p == '\\' && (escapable(p + 1, m->e) || (m->e - p > 1 && p[1] == '\n')))
			p++;
		else if (*p == '(')
			depth++;
		else if (*p == ')' && depth-- == 0)
			break;
	}
	to = p;
	while (from < to && hm_is_blank((unsigned char)*from))
		from++;
	while (to > from && hm_is_blank((unsigned char)to[-1]) && (to - from < 2 || to[-2] != '\\'))
		to--;
	*blanks = false;
	for (const char *q = from; q < to; q++)
		*blanks |= hm_is_blank((unsigned char)*q);
	*out = unescape(m->b, from, to);
	return p + 1;
}

/* The words between an image's bracket and its end. */
static struct hm_str words(struct hm_rich_b *b, uint32_t from)
{
	size_t len = 0, at = 0;
	char *p;

	for (size_t i = from; i < b->n; i++)
		len += b->v[i].kind == HM_RICH_BREAK  ? 1
		       : b->v[i].kind == HM_RICH_LINK ? 0
						      : b->v[i].text.len;
	if (len == 0)
		return HM_STR("");
	p = hm_arena_alloc(b->arena, len);
	if (!p) {
		b->err = HM_ENOMEM;
		return HM_STR("");
	}
	for (size_t i = from; i < b->n; i++) {
		struct hm_str t = b->v[i].kind == HM_RICH_BREAK ? HM_STR(" ") : b->v[i].text;

		if (b->v[i].kind != HM_RICH_LINK && t.len) {
			memcpy(p + at, t.p, t.len);
			at += t.len;
		}
	}
	return hm_str_n(p, len);
}

static void image(struct md *m, const struct bracket *k, struct hm_str url)
{
	struct hm_str alt = words(m->b, k->node + 1);
	struct hm_rich_node *node;

	if (m->b->err)
		return;
	m->b->n = k->node;
	if (hm_rich_url_ok(url)) {
		node = hm_rich_push(m->b, HM_RICH_IMAGE);
		node->text = url;
		node->alt = alt;
	} else {
		hm_rich_push(m->b, HM_RICH_TEXT)->text = alt;
	}
}

static void end_bracket(struct md *m)
{
	const char *p = m->p, *end = NULL;
	struct bracket *k;
	struct hm_str url = HM_STR("");
	bool blanks = false, ok;

	m->p++;
	if (m->nbrackets == 0)
		return;
	k = &m->brackets[m->nbrackets - 1];
	if (k->live && m->p < m->e && *m->p == '(')
		end = target(m, m->p, &url, &blanks);
	ok = end && hm_rich_url_ok(url);
	if (!end || (blanks && !ok)) { /* "[1](see below)" */
		m->nbrackets--;
		return;
	}
	flush(m, p);
	pair_all(m, k->delims);
	m->p = m->run = end;
	m->nbrackets--;
	if (m->b->err)
		return;
	if (k->image) {
		image(m, k, url);
		return;
	}
	for (size_t i = k->node; i < m->b->n; i++)
		if (m->b->v[i].kind == HM_RICH_LINK) /* a bare URL in a link's text is text */
			m->b->v[i] = (struct hm_rich_node){.kind = HM_RICH_TEXT};
	m->b->v[k->node] = (struct hm_rich_node){.kind = ok ? HM_RICH_LINK : HM_RICH_TEXT,
						 .text = ok ? url : HM_STR("")};
	if (ok) {
		if (m->b->n == (size_t)k->node + 1)
			hm_rich_push(m->b, HM_RICH_TEXT)->text = url;
		hm_rich_push(m->b, HM_RICH_LINK)->close = true;
	}
	for (uint32_t i = 0; i < m->nbrackets; i++)
		m->brackets[i].live &= m->brackets[i].image || !ok; /* links never nest */
}

/* -- bare URLs -------------------------------------------------------------------------- */

static bool url_byte(unsigned char c)
{
	return c > 0x20 && c < 0x7f && c != '<' && c != '>' && c != '"' && c != '`' && c != '[' && c != ']' &&
	       c != '{' && c != '}' && c != '|' && c != '^' && c != '\\';
}

/* m->p is at a colon. */
static void bare_url(struct md *m)
{
	const char *colon = m->p++, *from, *q, *to;
	size_t scheme = 0, open = 0;
	struct hm_str url;
	struct hm_rich_node *node;

	if (m->e - colon < 4 || colon[1] != '/' || colon[2] != '/')
		return;
	while (scheme < 6 && colon - scheme > m->run &&
	       hm_is_alnum((unsigned char)colon[-1 - (ptrdiff_t)scheme]))
		scheme++;
	from = colon - scheme;
	if (from < m->solid || !(hm_str_ieq(hm_str_n(from, scheme), HM_STR("http")) ||
				 hm_str_ieq(hm_str_n(from, scheme), HM_STR("https"))))
		return;
	if (from > m->block && from == m->run && hm_is_alnum((unsigned char)from[-1]))
		return;
	if (!hm_is_alnum((unsigned char)colon[3]) &&
	    !((unsigned char)colon[3] == '\\' && escapable(colon + 4, m->e)) && colon[3] != '[')
		return;
	to = q = colon + 3;
	while (q < m->e) {
		size_t n = 1;

		if (*q == '\\') {
			if (!escapable(q + 1, m->e) || !url_byte((unsigned char)q[1]))
				break;
			n = 2;
		} else if (!url_byte((unsigned char)*q) || (*q == '*' && m->e - q > 1 && q[1] == '*')) {
			break;
		}
		if (n == 2 || !strchr("?!.,:;*_~'\"()", *q)) {
			to = q + n;
		} else if (*q == '(') {
			open++;
		} else if (*q == ')') {
			if (!open)
				break;
			open--;
			to = q + 1;
		}
		q += n;
	}
	if (to <= colon + 3)
		return;
	flush(m, from);
	url = unescape(m->b, from, to);
	m->p = m->run = to;
	node = hm_rich_push(m->b, HM_RICH_LINK);
	node->text = url;
	node->bare = true;
	hm_rich_push(m->b, HM_RICH_TEXT)->text = url;
	hm_rich_push(m->b, HM_RICH_LINK)->close = true;
}

/* -- a block ---------------------------------------------------------------------------- */

static void line_break(struct md *m)
{
	const char *p = m->p, *to = p;

	while (to > m->run && to > m->solid && hm_is_blank((unsigned char)to[-1]))
		to--;
	flush(m, to);
	hm_rich_push(m->b, HM_RICH_BREAK);
	p += *p == '\r' && m->e - p > 1 && p[1] == '\n' ? 2 : 1;
	while (p < m->e && hm_is_blank((unsigned char)*p))
		p++;
	m->p = m->run = p;
}

static void backslash(struct md *m)
{
	const char *p = m->p;

	if (m->e - p > 1 && p[1] == '\n') { /* a break that is data: nothing around it is trimmed */
		flush(m, p);
		hm_rich_push(m->b, HM_RICH_BREAK);
		m->p = m->run = m->solid = p + 2;
	} else if (escapable(p + 1, m->e)) {
		flush(m, p);
		m->run = p + 1;
		m->p = m->solid = p + 2;
	} else {
		m->p++;
	}
}

/* The markup inside [p, e), a block without the signs that made it one. */
static void inlines(struct md *m, const char *p, const char *e)
{
	while (p < e && hm_is_blank((unsigned char)*p))
		p++;
	m->p = m->run = m->block = m->solid = p;
	m->e = e;
	m->ndelims = m->nbrackets = 0;
	while (m->p < e && !m->b->err) {
		size_t ctl;

		m->p = hm_rich_skip(m->p, e);
		if (m->p == e)
			break;
		switch (*m->p) {
		case '\n':
		case '\r': line_break(m); break;
		case '\\': backslash(m); break;
		case '*':
		case '_': delimiter(m); break;
		case '`': code(m); break;
		case '[': bracket(m); break;
		case ']': end_bracket(m); break;
		case ':': bare_url(m); break;
		default:
			ctl = hm_control(m->p, e);
			if (ctl) {
				flush(m, m->p);
				m->run = m->p + ctl;
			}
			m->p += ctl ? ctl : 1;
		}
	}
	while (e > m->run && e > m->solid && hm_is_blank((unsigned char)e[-1]))
		e--;
	flush(m, e);
	pair_all(m, 0);
}

/* Where the line at p ends; a line break after a backslash does not end it. */
static const char *line_end(const char *p, const char *e, bool cr)
{
	const char *q = p;

	for (;;) {
		const char *slash;

		if (cr)
			while (q < e && *q != '\n' && *q != '\r')
				q++;
		else if (!(q = memchr(q, '\n', (size_t)(e - q))))
			return e;
		if (q == e)
			return e;
		for (slash = q; slash > p && slash[-1] == '\\'; slash--)
			;
		if (*q == '\r' || (q - slash) % 2 == 0)
			return q;
		q++;
		if (q == e)
			return e;
	}
}

enum block { BLOCK_TEXT, BLOCK_BLANK, BLOCK_HEADING, BLOCK_ITEM };
struct line {
	enum block block;
	const char *text; /* behind the sign */
	size_t indent;
	uint32_t n;
};

static struct line classify(const char *p, const char *e)
{
	struct line l = {.block = BLOCK_TEXT};
	const char *q;

	for (; p < e && hm_is_blank((unsigned char)*p); p++)
		l.indent += *p == '\t' ? 4 : 1;
	l.text = q = p;
	if (p == e) {
		l.block = BLOCK_BLANK;
		return l;
	}
	if (*p == '#') {
		while (q < e && *q == '#')
			q++;
		l.n = (uint32_t)(q - p);
		if (l.n <= 6)
			l.block = BLOCK_HEADING;
	} else if (*p == '-' || *p == '*') {
		q = p + 1;
		l.block = BLOCK_ITEM;
	} else if (hm_is_digit((unsigned char)*p)) {
		while (q < e && q - p < 9 && hm_is_digit((unsigned char)*q))
			l.n = l.n * 10 + (uint32_t)(*q++ - '0');
		if (q < e && *q == '.') {
			q++;
			l.block = BLOCK_ITEM;
		}
	}
	if (l.block == BLOCK_TEXT)
		return l;
	p = q;
	while (q < e && hm_is_blank((unsigned char)*q))
		q++;
	if (q == p || q == e)
		l.block = BLOCK_TEXT; /* no blank after the sign, or nothing to say */
	else
		l.text = q;
	return l;
}

int hm_rich_read_markdown(struct hm_rich_b *b, struct hm_str s)
{
	const char *p = s.p, *e = p + s.len;
	bool cr = s.len && memchr(p, '\r', s.len), para = false;
	struct md m; /* not cleared: inlines() sets what it reads */
	size_t indents[HM_RICH_MAX_DEPTH], depth = 0;

	m.b = b;
	while (p < e && !b->err) {
		const char *le = line_end(p, e, cr), *next;
		struct line l = classify(p, le);
		size_t n = b->n;

		next = le;
		if (next < e)
			next += *next == '\r' && e - next > 1 && next[1] == '\n' ? 2 : 1;
		if (l.block == BLOCK_BLANK) {
			para = b->n > 0;
			p = next;
			continue;
		}
		if (para)
			hm_rich_push(b, HM_RICH_PARA);
		if (l.block == BLOCK_ITEM) {
			struct hm_rich_node *node;

			while (depth && indents[depth - 1] > l.indent)
				depth--;
			if (depth == 0 || (l.indent >= indents[depth - 1] + 2 && depth < HM_RICH_MAX_DEPTH))
				indents[depth++] = l.indent;
			node = hm_rich_push(b, HM_RICH_ITEM);
			node->n = l.n;
			node->depth = (uint8_t)(depth - 1);
			inlines(&m, l.text, le);
			node = hm_rich_push(b, HM_RICH_ITEM);
			node->close = true;
			node->n = l.n;
			node->depth = (uint8_t)(depth - 1);
		} else if (l.block == BLOCK_HEADING) {
			hm_rich_push(b, HM_RICH_HEADING)->n = l.n;
			inlines(&m, l.text, le);
			hm_rich_push(b, HM_RICH_HEADING)->close = true;
			b->v[b->n - 1].n = l.n;
			depth = 0;
		} else {
			/* this line and those after it that are no block of their own */
			while (next < e) {
				const char *end = line_end(next, e, cr);

				if (classify(next, end).block != BLOCK_TEXT)
					break;
				le = end;
				next = end;
				if (next < e)
					next += *next == '\r' && e - next > 1 && next[1] == '\n' ? 2 : 1;
			}
			inlines(&m, p, le);
			depth = 0;
			if (b->n == n + para && para &&
			    !b->err) { /* only control characters: as if it were blank */
				b->n = n;
				p = next;
				continue;
			}
		}
		para = false;
		p = next;
	}
	return b->err;
}

/* -- the way in for values -------------------------------------------------------------- */

int hm_rich_escape(struct hm_str text, struct hm_buf *out)
{
	const char *p = text.p, *e = p + text.len, *run = p, *digits = p;
	size_t slashes = 0;

	if (text.len == 0)
		return out->err;
	/* A backslash of the template right before the value would take the value's first one. */
	while (slashes < out->len && out->p[out->len - 1 - slashes] == '\\')
		slashes++;
	if (slashes % 2)
		hm_buf_putc(out, '\\');
	while (digits < e && hm_is_digit((unsigned char)*digits))
		digits++;
	/* What makes a block at the start of a line: "# " "- " "1. "; and a blank, which would be trimmed. */
	if (digits < e &&
	    (*digits == '.' || (digits == p && (*p == '#' || *p == '-' || hm_is_blank((unsigned char)*p))))) {
		hm_buf_put(out, p, (size_t)(digits - p));
		hm_buf_putc(out, '\\');
		hm_buf_putc(out, *digits);
		p = run = digits + 1;
	}
	while (p < e) {
		while (p < e && !hm_rich_stops((unsigned char)*p) && *p != '(' && *p != ')' && *p != '!')
			p++;
		if (p == e)
			break;
		switch (*p) {
		case '\r':
		case '\n':
			hm_buf_put(out, run, (size_t)(p - run));
			hm_buf_lit(out, "\\\n");
			p += *p == '\r' && e - p > 1 && p[1] == '\n' ? 2 : 1;
			run = p;
			continue;
		case ':':
			if (p + 1 < e && p[1] != '/') {
				p++;
				continue;
			}
			break;
		case '!':
			if (p + 1 < e) {
				p++;
				continue;
			}
			break;
		case '*':
		case '\\':
		case '_':
		case '`':
		case '[':
		case ']':
		case '(':
		case ')': break;
		default: p++; continue;
		}
		hm_buf_put(out, run, (size_t)(p - run));
		hm_buf_putc(out, '\\');
		run = p++;
	}
	if (run < e && hm_is_blank((unsigned char)e[-1])) { /* the end of a line would lose it */
		hm_buf_put(out, run, (size_t)(e - 1 - run));
		hm_buf_putc(out, '\\');
		run = e - 1;
	}
	hm_buf_put(out, run, (size_t)(e - run));
	return out->err;
}
