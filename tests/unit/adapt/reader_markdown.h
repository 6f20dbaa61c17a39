/*
 * reader_markdown.h - a reader of the markdown family, by CommonMark's rules and then some
 *
 * Blocks: headings of both kinds, items, quotes, rules, code by indentation and by fence, tables, HTML. Spans: stars and
 * underscores with the rules for their edges, ~~, code, links, images, <...>. What a client may or may not do
 * (backslash escapes, entities) is a flag; where nobody says, a text is read both ways.
 */
#ifndef TEST_ADAPT_READER_MARKDOWN_H
#define TEST_ADAPT_READER_MARKDOWN_H

#include "readers.h"

enum { MD_SLASH = 1, MD_ENTITY = 2, MD_NO_CODE = 4, MD_SPOILER = 8, MD_EMOJI = 16, MD_NO_TABLE = 32 };

struct tok {
	uint32_t cp;
	char mark; /* * _ ~ [ ! ] or 0: a sign */
	bool escaped;
	unsigned st;
	/* a run's first mark */
	size_t run;
	bool open, close;
	size_t src, first; /* where it stands; the run's first */
};

static bool md_space(uint32_t c)
{
	return c == 0 || c == ' ' || c == '\n' || c == '\t' || c == 0xa0 || c == 0x3000 ||
	       (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f;
}
/* Unicode's P and S classes as far as the data of the tests goes. */
static bool md_punct(uint32_t c)
{
	return rd_punct(c) || (c >= 0xa1 && c <= 0xbf && c != 0xaa && c != 0xb5 && c != 0xba) ||
	       (c >= 0x2010 && c <= 0x2027) || (c >= 0x2030 && c <= 0x205e) || (c >= 0x20a0 && c <= 0x2bff) ||
	       (c >= 0x3001 && c <= 0x3020) || (c >= 0xff01 && c <= 0xff0f) || (c >= 0xff1a && c <= 0xff20) ||
	       (c >= 0xff3b && c <= 0xff40) || (c >= 0xff5b && c <= 0xff65) || (c >= 0x1f000 && c <= 0x1faff);
}

static void style(struct tok *t, size_t a, size_t b, unsigned st)
{
	for (; a < b; a++)
		t[a].st |= st;
}

/* Pairs the marks among t[a..b): innermost first, as the specification tells it. */
static void md_pair(struct tok *t, size_t a, size_t b)
{
	for (size_t c = a; c < b; c++) {
		size_t o;
		bool found = false;

		if (!t[c].mark || !strchr("*_~", t[c].mark) || !t[c].close)
			continue;
		for (o = c; o-- > a;) {
			if (t[o].mark != t[c].mark || !t[o].open || t[o].first == t[c].first)
				continue;
			if (t[c].mark != '~' && (t[o].close || t[c].open) && (t[o].run + t[c].run) % 3 == 0 &&
			    (t[o].run % 3 || t[c].run % 3))
				continue;
			found = true;
			break;
		}
		if (!found)
			continue;
		/* two signs on each side are strong */
		bool strong = o > a && t[o - 1].mark == t[o].mark && t[o - 1].open &&
			      t[o - 1].src + 1 == t[o].src && c + 1 < b && t[c + 1].mark == t[c].mark &&
			      t[c + 1].close && t[c + 1].src == t[c].src + 1;

		for (size_t k = o + 1; k < c; k++)
			if (t[k].mark && strchr("*_~", t[k].mark))
				t[k].mark = 0; /* between the two and alone */
		style(t, o + 1, c, t[c].mark == '~' ? ST_STRIKE : strong ? ST_BOLD : ST_ITALIC);
		t[o].cp = t[c].cp = 0;
		t[o].mark = t[c].mark = 0;
		if (strong) {
			t[o - 1].cp = t[c + 1].cp = 0;
			t[o - 1].mark = t[c + 1].mark = 0;
			c++;
		}
	}
}

static void md_inlines(struct vis *v, struct hm_str s, unsigned flags, unsigned base)
{
	struct tok *t = calloc(s.len + 1, sizeof(*t));
	size_t n = 0, brackets[64], nb = 0;

	for (size_t i = 0; i < s.len;) {
		size_t used = 1, at = i;
		char c = s.p[i];

		if (c == '\\' && flags & MD_SLASH && i + 1 < s.len && rd_punct((unsigned char)s.p[i + 1])) {
			t[n++] = (struct tok){.cp = (unsigned char)s.p[i + 1], .escaped = true, .src = at};
			i += 2;
			continue;
		}
		if (c == '&' && flags & MD_ENTITY) {
			uint32_t cp = rd_entity(s, &i);

			t[n++] = (struct tok){.cp = cp, .escaped = true, .src = at};
			continue;
		}
		if (c == '`' && !(flags & MD_NO_CODE)) {
			size_t run = 0, j, k;

			while (i + run < s.len && s.p[i + run] == '`')
				run++;
			for (j = i + run; j < s.len; j = k) {
				for (k = j; k < s.len && s.p[k] == '`'; k++)
					;
				if (k - j == run)
					break;
				k += k == j;
			}
			if (j < s.len) {
				struct hm_str code = hm_str_n(s.p + i + run, j - i - run);

				if (code.len > 2 && code.p[0] == ' ' && code.p[code.len - 1] == ' ')
					code = hm_str_n(code.p + 1, code.len - 2);
				while (code.len) {
					t[n++] = (struct tok){.cp = hm_utf8_decode(code, &used),
							      .escaped = true,
							      .st = ST_CODE,
							      .src = at};
					code.p += used;
					code.len -= used;
				}
				i = j + run;
				continue;
			}
			while (run--)
				t[n++] = (struct tok){.cp = '`', .src = at};
			while (i < s.len && s.p[i] == '`')
				i++;
			continue;
		}
		if (c == '[' && nb < 64) {
			brackets[nb++] = n;
			t[n++] = (struct tok){.cp = '[', .mark = '[', .src = at};
			i++;
			continue;
		}
		if (c == ']' && nb) {
			size_t o = brackets[--nb], j = i + 2, depth = 0;

			if (rd_at(s, i, "](")) {
				for (; j < s.len && !md_space((unsigned char)s.p[j]); j++) {
					if (s.p[j] == '(')
						depth++;
					else if (s.p[j] == ')' && depth-- == 0)
						break;
				}
				if (j < s.len && s.p[j] == ')') {
					bool image = o && t[o - 1].cp == '!' && !t[o - 1].escaped &&
						     t[o - 1].src + 1 == t[o].src;

					md_pair(t, o + 1, n);
					style(t, o + 1, n, image ? ST_OTHER : ST_LINK);
					t[o].cp = 0;
					t[o].mark = 0;
					if (image)
						t[o - 1].cp = 0;
					vis_link(v, hm_str_n(s.p + i + 2, j - i - 2));
					if (!image)
						nb = 0; /* links do not nest */
					i = j + 1;
					continue;
				}
			}
			t[n++] = (struct tok){.cp = ']', .src = at};
			i++;
			continue;
		}
		if (c == '<' && i + 1 < s.len && (rd_alnum(s.p[i + 1]) || strchr("/!?@#:", s.p[i + 1])) &&
		    !(s.p[i + 1] >= '0' && s.p[i + 1] <= '9')) {
			t[n++] = (struct tok){.cp = '<', .st = ST_OTHER, .src = at};
			i++;
			continue;
		}
		if (c == '*' || c == '_' || (c == '~' && i + 1 < s.len && s.p[i + 1] == '~') ||
		    (c == '|' && flags & MD_SPOILER && i + 1 < s.len && s.p[i + 1] == '|')) {
			size_t run = 0, k = i;
			uint32_t prev = 0, next;
			bool left, right;

			if (c == '|') {
				t[n++] = (struct tok){.cp = '|', .st = ST_OTHER, .src = at};
				i++;
				continue;
			}
			while (i + run < s.len && s.p[i + run] == c)
				run++;
			while (k > 0 && ((unsigned char)s.p[k - 1] & 0xc0) == 0x80)
				k--;
			if (k)
				prev = hm_utf8_decode(hm_str_n(s.p + k - 1, s.len - k + 1), &used);
			next = i + run < s.len
				       ? hm_utf8_decode(hm_str_n(s.p + i + run, s.len - i - run), &used)
				       : 0;
			left = !md_space(next) && (!md_punct(next) || md_space(prev) || md_punct(prev));
			right = !md_space(prev) && (!md_punct(prev) || md_space(next) || md_punct(next));
			for (k = 0; k < run; k++)
				t[n++] = (struct tok){.cp = (unsigned char)c,
						      .mark = c,
						      .run = run,
						      .open = left && (c != '_' || !right || md_punct(prev)),
						      .close = right && (c != '_' || !left || md_punct(next)),
						      .src = at + k,
						      .first = at};
			i += run;
			continue;
		}
		t[n++] = (struct tok){.cp = hm_utf8_decode(hm_str_n(s.p + i, s.len - i), &used), .src = at};
		i += used;
	}
	for (size_t i = 0; flags & MD_EMOJI && i < n; i++) { /* ":name:", not in code */
		size_t j = i + 1;
		bool letter = false;

		if (t[i].cp != ':' || t[i].escaped || (i && t[i - 1].cp < 0x80 && rd_alnum((int)t[i - 1].cp)))
			continue;
		for (; j < n && !(t[j].st & ST_CODE) && t[j].cp < 0x80 &&
		       (rd_alnum((int)t[j].cp) || t[j].cp == '_' || t[j].cp == '+' || t[j].cp == '-');
		     j++)
			letter |= t[j].cp > '9' || t[j].cp < '0';
		if (j > i + 1 && letter && j < n && t[j].cp == ':')
			t[i].st |= ST_OTHER;
	}
	md_pair(t, 0, n);
	for (size_t i = 0; i < n; i++)
		if (t[i].cp)
			vis_put(v, t[i].cp, t[i].st | base);
	free(t);
}

static struct hm_str md_line(struct hm_str s, size_t at)
{
	size_t e = at;

	while (e < s.len && s.p[e] != '\n')
		e++;
	return hm_str_n(s.p + at, e - at);
}

static bool md_blank(struct hm_str l)
{
	for (size_t i = 0; i < l.len; i++)
		if (l.p[i] != ' ' && l.p[i] != '\t')
			return false;
	return true;
}

/* The sign of a block at the start of a line: how long it is, 0 for none; *what is how it shows. */
static size_t md_block(struct hm_str l, bool after_text, unsigned flags, uint32_t *what, unsigned *base)
{
	size_t i = 0, j;

	*base = 0;
	*what = 0;
	if (l.len == 0)
		return 0;
	for (j = 0; j < l.len && l.p[j] == '#'; j++)
		;
	if (j >= 1 && j <= 6 && (j == l.len || l.p[j] == ' ')) {
		*base = ST_HEADING;
		return j + 1;
	}
	if (l.p[0] == '>') {
		*base = ST_QUOTE;
		return 1;
	}
	if (rd_at(l, 0, "```") || rd_at(l, 0, "~~~")) {
		*base = ST_OTHER;
		return 3;
	}
	if (strchr("-*_=", l.p[0])) { /* a rule, or what makes the line before a heading */
		size_t marks = 0;

		for (j = 0; j < l.len && (l.p[j] == l.p[0] || l.p[j] == ' '); j++)
			marks += l.p[j] == l.p[0];
		if (j == l.len && ((l.p[0] != '=' && marks >= 3) || (after_text && !(flags & MD_NO_TABLE) &&
								     (l.p[0] == '-' || l.p[0] == '=')))) {
			*base = ST_OTHER;
			*what = '?';
			return l.len;
		}
	}
	if (strchr("-*+", l.p[0]) && l.len > 1 && l.p[1] == ' ') {
		*what = CP_BULLET;
		return 2;
	}
	for (i = 0; i < l.len && i < 9 && l.p[i] >= '0' && l.p[i] <= '9'; i++)
		;
	if (i && i + 1 < l.len && (l.p[i] == '.' || l.p[i] == ')') && l.p[i + 1] == ' ') {
		*what = CP_BULLET;
		return i + 2;
	}
	if (!(flags & MD_NO_TABLE) && (l.p[0] == '|' || (l.p[0] == ':' && l.len > 1 && l.p[1] == '-'))) {
		*base = ST_OTHER; /* a table, perhaps */
		return 0;
	}
	return 0;
}

static void read_markdown(struct vis *v, struct hm_str s, unsigned flags)
{
	char *para = malloc(s.len + 1);
	size_t n = 0, at = 0;
	bool text = false;
	unsigned base = 0;

	while (at < s.len) {
		struct hm_str l = md_line(s, at);
		size_t indent = 0, sign, from = 0;
		uint32_t what;
		unsigned b;
		bool end;

		at += l.len + 1;
		end = at > s.len;
		if (md_blank(l)) {
			md_inlines(v, hm_str_n(para, n), flags, base);
			n = 0;
			base = 0;
			text = false;
			if (!end)
				vis_put(v, '\n', 0);
			continue;
		}
		while (indent < l.len && (l.p[indent] == ' ' || l.p[indent] == '\t'))
			indent++;
		if (!text && (indent >= 4 || memchr(l.p, '\t', indent)))
			base |= ST_OTHER; /* code by indentation */
		l.p += indent;
		l.len -= indent;
		/* items hold blocks again */
		while ((sign = md_block(hm_str_n(l.p + from, l.len - from), text && !from, flags, &what,
					&b)) ||
		       b) {
			md_inlines(v, hm_str_n(para, n), flags, base);
			n = 0;
			base = b;
			text = false;
			if (what)
				vis_put(v, what, b & ST_OTHER);
			from += sign;
			if (from > l.len)
				from = l.len;
			if (!sign || b & ST_HEADING)
				break; /* a heading holds only words */
		}
		l.p += from;
		l.len -= from;
		if (base & ST_HEADING) { /* "# text ##" */
			size_t k = l.len;

			while (k > 0 && l.p[k - 1] == '#')
				k--;
			if (k < l.len && (k == 0 || l.p[k - 1] == ' '))
				l.len = k;
		}
		while (l.len && (l.p[l.len - 1] == ' ' || l.p[l.len - 1] == '\t'))
			l.len--;
		memcpy(para + n, l.p, l.len);
		n += l.len;
		text = !(base & (ST_HEADING | ST_OTHER));
		if (base & ST_HEADING || end) {
			md_inlines(v, hm_str_n(para, n), flags, base);
			n = 0;
			base = 0;
			if (!end)
				vis_put(v, '\n', 0);
		} else {
			para[n++] = '\n';
		}
	}
	md_inlines(v, hm_str_n(para, n), flags, base);
	free(para);
}

#endif
