/*
 * readers.h - what a person sees: every dialect read back, independently of the code that writes it
 *
 * A reader turns what is sent into signs with a style (bold, in a link, in code, ...). It is as generous as the most
 * generous client: where providers do not say how they read, it takes any pair of markers for markup. So
 * "the signs are those of the data and their style is that of the template" means no client makes more of it.
 */
#ifndef TEST_ADAPT_READERS_H
#define TEST_ADAPT_READERS_H

#include <stdio.h>
#include <stdlib.h>

#include "adapt/dialect.h"

enum {
	ST_BOLD = 1,
	ST_ITALIC = 2,
	ST_CODE = 4,
	ST_HEADING = 8,
	ST_LINK = 16,
	ST_STRIKE = 32,
	ST_MENTION = 64,
	ST_QUOTE = 128,
	ST_OTHER =
		256, /* markup nobody asked for: an image, a tag, a rule, a code block, an emoji, a syntax error */
};
#define CP_BULLET 0xf0000u /* the sign of a list item */
#define VIS_MAX	  65536

struct vis {
	uint32_t cp[VIS_MAX];
	uint16_t st[VIS_MAX];
	size_t n;
	char link[16][4096];
	size_t nlinks;
};

static void vis_put(struct vis *v, uint32_t cp, unsigned st)
{
	if (v->n == VIS_MAX)
		abort();
	v->cp[v->n] = cp;
	v->st[v->n++] = (uint16_t)st;
}

static void vis_puts(struct vis *v, struct hm_str s, unsigned st)
{
	while (s.len) {
		size_t n;

		vis_put(v, hm_utf8_decode(s, &n), st);
		s.p += n;
		s.len -= n;
	}
}

static void vis_link(struct vis *v, struct hm_str url)
{
	if (v->nlinks < 16 && url.len < sizeof(v->link[0])) {
		memcpy(v->link[v->nlinks], url.p, url.len);
		v->link[v->nlinks][url.len] = '\0';
		v->nlinks++;
	}
}

static bool rd_alnum(int c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
static bool rd_punct(uint32_t c)
{
	return c > 0x20 && c < 0x7f && !rd_alnum((int)c);
}
static bool rd_at(struct hm_str s, size_t i, const char *what)
{
	size_t n = strlen(what);

	return s.len - i >= n && memcmp(s.p + i, what, n) == 0;
}

/* -- HTML ------------------------------------------------------------------------------------ */

static uint32_t rd_entity(struct hm_str s, size_t *i)
{
	static const struct {
		const char *name;
		uint32_t cp;
	} list[] = {{"&amp;", '&'},  {"&lt;", '<'},   {"&gt;", '>'},
		    {"&quot;", '"'}, {"&#39;", '\''}, {"&nbsp;", ' '}};
	size_t k;
	uint32_t cp = 0;

	for (k = 0; k < hm_countof(list); k++)
		if (rd_at(s, *i, list[k].name)) {
			*i += strlen(list[k].name);
			return list[k].cp;
		}
	if (rd_at(s, *i, "&#")) {
		for (k = *i + 2; k < s.len && s.p[k] >= '0' && s.p[k] <= '9'; k++)
			cp = cp * 10 + (uint32_t)(s.p[k] - '0');
		if (k > *i + 2 && k < s.len && s.p[k] == ';') {
			*i = k + 1;
			return cp;
		}
	}
	for (k = *i + 1; k < s.len && rd_alnum(s.p[k]); k++)
		;
	if (k > *i + 1 && k < s.len && s.p[k] == ';') { /* some other name: a client would know it */
		*i = k + 1;
		return 0xfffd;
	}
	++*i;
	return '&';
}

static void rd_html_url(struct vis *v, struct hm_str s)
{
	char t[4096];
	size_t n = 0;

	for (size_t i = 0; i < s.len && n < sizeof(t);)
		if (s.p[i] == '&')
			t[n++] = (char)rd_entity(s, &i);
		else
			t[n++] = s.p[i++];
	vis_link(v, hm_str_n(t, n));
}

/* blocks: HTML's white space and paragraphs; else Telegram's, where lines are lines. */
static void read_html(struct vis *v, struct hm_str s, bool blocks)
{
	unsigned bold = 0, italic = 0, code = 0, heading = 0, link = 0;
	bool blank = true; /* a blank here would be swallowed */
	int gap = 0;

	for (size_t i = 0; i < s.len;) {
		unsigned st = (bold ? ST_BOLD : 0u) | (italic ? ST_ITALIC : 0u) | (code ? ST_CODE : 0u) |
			      (heading ? ST_HEADING : 0u) | (link ? ST_LINK : 0u);

		if (s.p[i] == '<') {
			size_t j = i + 1, name;
			bool end = j < s.len && s.p[j] == '/';
			struct hm_str tag;

			j += end;
			for (name = j; j < s.len && rd_alnum(s.p[j]); j++)
				;
			tag = hm_str_n(s.p + name, j - name);
			while (j < s.len && s.p[j] != '>')
				j++;
			if (hm_str_is(tag, "b") || hm_str_is(tag, "strong")) {
				bold += end ? -1u : 1u;
			} else if (hm_str_is(tag, "i") || hm_str_is(tag, "em")) {
				italic += end ? -1u : 1u;
			} else if (hm_str_is(tag, "code")) {
				code += end ? -1u : 1u;
			} else if (hm_str_is(tag, "a")) {
				if (!end) {
					size_t from = name + 8; /* a href=" */
					struct hm_str rest = hm_str_n(s.p + from, j - 1 - from);

					if (!rd_at(s, name, "a href=\"") || s.p[j - 1] != '"' ||
					    hm_str_chr(rest, '"') >= 0)
						vis_put(v, '?', ST_OTHER);
					else
						rd_html_url(v, rest);
				}
				link += end ? -1u : 1u;
			} else if (blocks && tag.len == 2 && tag.p[0] == 'h' && tag.p[1] >= '1' &&
				   tag.p[1] <= '6') {
				heading += end ? -1u : 1u;
				gap = 2;
				blank = true;
			} else if (blocks && hm_str_is(tag, "p")) {
				gap = 2;
				blank = true;
			} else if (blocks && (hm_str_is(tag, "ul") || hm_str_is(tag, "ol"))) {
				gap = 1;
			} else if (blocks && hm_str_is(tag, "li")) {
				gap = 1;
				blank = true;
				if (!end) {
					if (v->n)
						vis_put(v, '\n', 0);
					vis_put(v, CP_BULLET, 0);
					gap = 0;
				}
			} else if (blocks && hm_str_is(tag, "br")) {
				if (gap && v->n)
					vis_put(v, '\n', 0), vis_put(v, '\n', 0);
				gap = 0;
				vis_put(v, '\n', 0);
				blank = true;
			} else {
				vis_put(v, '?', ST_OTHER);
			}
			i = j + 1;
			continue;
		}
		if (blocks && (s.p[i] == ' ' || s.p[i] == '\n' || s.p[i] == '\t')) {
			if (!blank)
				vis_put(v, ' ', st);
			blank = true;
			i++;
			continue;
		}
		while (gap > 0 && v->n && gap--)
			vis_put(v, '\n', 0);
		gap = 0;
		blank = false;
		if (s.p[i] == '&') {
			vis_put(v, rd_entity(s, &i), st);
		} else {
			size_t n;

			vis_put(v, s.p[i] == '>' ? 0xfffd : hm_utf8_decode(hm_str_n(s.p + i, s.len - i), &n),
				st);
			i += s.p[i] == '>' ? 1 : n;
		}
	}
}

/* -- Telegram MarkdownV2 --------------------------------------------------------------------------- */

static void read_mdv2(struct vis *v, struct hm_str s)
{
	unsigned st = 0;

	for (size_t i = 0; i < s.len;) {
		char c = s.p[i];
		size_t n;

		if (c == '\\' && i + 1 < s.len && rd_punct((unsigned char)s.p[i + 1])) {
			vis_put(v, (unsigned char)s.p[i + 1], st);
			i += 2;
		} else if (st & ST_CODE) {
			if (c == '`') {
				st &= ~(unsigned)ST_CODE;
				i++;
			} else {
				vis_put(v, hm_utf8_decode(hm_str_n(s.p + i, s.len - i), &n), st);
				i += n;
			}
		} else if (c == '`') {
			st |= ST_CODE;
			i++;
		} else if (c == '*') {
			st ^= ST_BOLD;
			i++;
		} else if (c == '_') {
			if (rd_at(s, i, "__"))
				vis_put(v, '?', ST_OTHER); /* underline */
			st ^= ST_ITALIC;
			i++;
		} else if (c == '[') {
			if (st & ST_LINK)
				vis_put(v, '?', ST_OTHER);
			st |= ST_LINK;
			i++;
		} else if (c == ']' && st & ST_LINK && i + 1 < s.len && s.p[i + 1] == '(') {
			char url[4096];
			size_t m = 0;

			for (i += 2; i < s.len && s.p[i] != ')' && m < sizeof(url); i++) {
				i += s.p[i] == '\\' && i + 1 < s.len;
				url[m++] = s.p[i];
			}
			i++;
			vis_link(v, hm_str_n(url, m));
			st &= ~(unsigned)ST_LINK;
		} else if (strchr("_*[]()~`>#+-=|{}.!", c)) {
			vis_put(v, '?', ST_OTHER); /* the server refuses it */
			i++;
		} else {
			vis_put(v, hm_utf8_decode(hm_str_n(s.p + i, s.len - i), &n), st);
			i += n;
		}
	}
	if (st)
		vis_put(v, '?', ST_OTHER);
}

/* -- names after @, <...> ---------------------------------------------------------------------------- */

/* Clients look for these in the text that is left; it is marked where it stands. */
static void find_mentions(struct vis *v, bool any_name)
{
	static const char *const names[] = {"everyone", "here", "channel", "room", "all"};

	for (size_t i = 0; i < v->n; i++) {
		uint32_t next = i + 1 < v->n ? v->cp[i + 1] : 0;

		if (v->cp[i] != '@' || v->st[i] & (ST_CODE | ST_LINK) ||
		    (i && v->cp[i - 1] < 0x80 && rd_alnum((int)v->cp[i - 1])))
			continue;
		if (any_name && next < 0x80 && (rd_alnum((int)next) || next == '_' || next == '*'))
			v->st[i] |= ST_MENTION;
		for (size_t k = 0; k < hm_countof(names); k++) {
			size_t n = strlen(names[k]), j = 0;

			while (j < n && i + 1 + j < v->n &&
			       (v->cp[i + 1 + j] | 0x20) == (unsigned char)names[k][j])
				j++;
			if (j == n && (any_name || k < 3))
				v->st[i] |= ST_MENTION;
		}
	}
}

static void find_tags(struct vis *v)
{
	for (size_t i = 0; i + 1 < v->n; i++) {
		uint32_t next = v->cp[i + 1];

		if (v->cp[i] == '<' && !(v->st[i] & ST_CODE) &&
		    (next == '@' || next == '!' || next == '#' || next == '/' || next == ':' ||
		     (next < 0x80 && rd_alnum((int)next) && next > '9')))
			v->st[i] |= ST_MENTION;
	}
}

static void find_emoji(struct vis *v)
{
	for (size_t i = 0; i < v->n; i++) {
		size_t j = i + 1;
		bool letter = false;

		if (v->cp[i] != ':' || v->st[i] & (ST_CODE | ST_LINK) ||
		    (i && v->cp[i - 1] < 0x80 && rd_alnum((int)v->cp[i - 1])))
			continue;
		for (;
		     j < v->n && v->cp[j] < 0x80 && (rd_alnum((int)v->cp[j]) || strchr("_+-", (int)v->cp[j]));
		     j++)
			letter |= v->cp[j] > '9' || v->cp[j] < '0';
		if (j > i + 1 && letter && j < v->n && v->cp[j] == ':')
			v->st[i] |= ST_OTHER;
	}
}

/* -- Slack, Google Chat, WhatsApp: signs at the edge of words ------------------------------------------ */

static bool edge_before(struct hm_str s, size_t i)
{
	return i == 0 || !rd_alnum(s.p[i - 1]);
}
static bool edge_after(struct hm_str s, size_t i)
{
	return i >= s.len || !rd_alnum(s.p[i]);
}
static bool blank_at(struct hm_str s, size_t i)
{
	return i >= s.len || s.p[i] == ' ' || s.p[i] == '\t' || s.p[i] == '\n';
}

/* Any opener (an edge before it, something visible behind it) with any closer in its line is a span. */
static void read_edges(struct vis *v, struct hm_str s, bool angle, bool lists)
{
	unsigned st = 0;
	bool start = true;

	for (size_t i = 0; i < s.len;) {
		static const struct {
			const char *sign;
			unsigned st;
		} marks[] = {
			{"```", ST_CODE}, {"`", ST_CODE}, {"*", ST_BOLD}, {"_", ST_ITALIC}, {"~", ST_STRIKE}};
		size_t n, k = 0;
		uint32_t cp;

		if (start) {
			start = false;
			if (rd_at(s, i, angle ? "&gt;" : ">")) {
				vis_put(v, '>', ST_QUOTE);
				i += angle ? 4 : 1;
				continue;
			}
			if (lists && (rd_at(s, i, "- ") || rd_at(s, i, "* "))) {
				vis_put(v, CP_BULLET, 0);
				i += 2;
				continue;
			}
		}
		for (; k < hm_countof(marks); k++) {
			n = strlen(marks[k].sign);
			if (!rd_at(s, i, marks[k].sign) || (st & ST_CODE && marks[k].st != ST_CODE))
				continue;
			if (st & marks[k].st) {
				if (!blank_at(s, i - 1) && edge_after(s, i + n))
					break;
			} else if (edge_before(s, i) && !blank_at(s, i + n)) {
				size_t j = i + n + 1; /* is there a closer in this line? */

				while (j < s.len && s.p[j] != '\n' &&
				       !(rd_at(s, j, marks[k].sign) && !blank_at(s, j - 1) &&
					 edge_after(s, j + n)))
					j++;
				if (j < s.len && s.p[j] != '\n')
					break;
			}
		}
		if (k < hm_countof(marks)) {
			st ^= marks[k].st;
			i += strlen(marks[k].sign);
			continue;
		}
		if (angle && s.p[i] == '<') {
			size_t j = i + 1;

			while (j < s.len && s.p[j] != '|' && s.p[j] != '>' && s.p[j] != ' ')
				j++;
			if (j == s.len || s.p[j] != '|' || s.p[i + 1] == '!' || s.p[i + 1] == '@' ||
			    s.p[i + 1] == '#' || st & ST_LINK) {
				vis_put(v, '<', ST_MENTION);
				i++;
				continue;
			}
			rd_html_url(v, hm_str_n(s.p + i + 1, j - i - 1));
			st |= ST_LINK;
			i = j + 1;
			continue;
		}
		if (angle && s.p[i] == '>') {
			if (!(st & ST_LINK))
				vis_put(v, '>', ST_OTHER);
			st &= ~(unsigned)ST_LINK;
			i++;
			continue;
		}
		if (angle && s.p[i] == '&') {
			cp = rd_entity(s, &i);
		} else {
			cp = hm_utf8_decode(hm_str_n(s.p + i, s.len - i), &n);
			i += n;
		}
		if (cp == '\n') {
			start = true;
			st &= ST_LINK;
		}
		vis_put(v, cp, st);
	}
}

/* -- signal-cli REST gateway: a machine over four signs, which never shows one of them -------------------- */

static void read_signal(struct vis *v, struct hm_str s)
{
	unsigned st = 0;

	for (size_t i = 0; i < s.len;) {
		size_t n;

		if (rd_at(s, i, "**")) {
			st ^= ST_BOLD;
			i += 2;
		} else if (s.p[i] == '*') {
			st ^= ST_ITALIC;
			i++;
		} else if (s.p[i] == '`') {
			st ^= ST_CODE;
			i++;
		} else if (strchr("~|\\", s.p[i])) {
			vis_put(v, '?', ST_OTHER);
			i++;
		} else {
			vis_put(v, hm_utf8_decode(hm_str_n(s.p + i, s.len - i), &n), st);
			i += n;
		}
	}
	if (st)
		vis_put(v, '?', ST_OTHER);
}

/* -- WeCom: pairs of signs, read by regular expressions ------------------------------------------------------ */

static void read_wecom_part(struct vis *v, struct hm_str s, unsigned outside)
{
	bool start = !outside;
	unsigned st = outside, line = 0;

	for (size_t i = 0; i < s.len;) {
		size_t n, j;

		if (start) {
			start = false;
			for (j = i; j < s.len && s.p[j] == '#'; j++)
				;
			if (j > i && j < s.len && s.p[j] == ' ') {
				line = ST_HEADING;
				i = j + 1;
				continue;
			}
			if (s.p[i] == '>') {
				vis_put(v, '>', ST_QUOTE);
				i++;
				continue;
			}
		}
		if (rd_at(s, i, "**")) {
			st ^= ST_BOLD;
			i += 2;
		} else if (s.p[i] == '`') {
			st ^= ST_CODE;
			i++;
		} else if (s.p[i] == '[') { /* \[([^\]\n]*)\]\(([^)]*)\) */
			for (j = i + 1; j < s.len && s.p[j] != ']' && s.p[j] != '\n'; j++)
				;
			if (rd_at(s, j < s.len ? j : s.len, "](") && !(st & ST_LINK)) {
				struct hm_str label = hm_str_n(s.p + i + 1, j - i - 1);
				size_t from = j + 2;

				read_wecom_part(v, label, st | line | ST_LINK);
				for (j = from; j < s.len && s.p[j] != ')'; j++)
					;
				vis_link(v, hm_str_n(s.p + from, j - from));
				i = j + 1;
			} else {
				vis_put(v, '[', st | line);
				i++;
			}
		} else if (s.p[i] == '&') {
			vis_put(v, rd_entity(s, &i), st | line);
		} else {
			uint32_t cp = hm_utf8_decode(hm_str_n(s.p + i, s.len - i), &n);

			if (cp == '\n') {
				start = true;
				line = 0;
			}
			vis_put(v, cp, st | line);
			i += n;
		}
	}
	if (st != outside)
		vis_put(v, '?', ST_OTHER);
}

static void read_wecom(struct vis *v, struct hm_str s)
{
	read_wecom_part(v, s, 0);
}

#endif
