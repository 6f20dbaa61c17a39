/*
 * space.c - white-space stripping at compile time, exactly as FreeMarker does it
 *
 * Each text run looks at its neighbours on the same line, before and after, in the tree
 * of elements (README.md, "White space", says the same in words). Runs are treated in
 * document order and in place: what an earlier run lost is gone when a later one looks.
 */
#include "tmpl/ast.h"
#include "tmpl/compress.h"

/* -- characters: "blank" is up to U+0020; "white" is Java's Character.isWhitespace -------- */

static bool is_blank(struct hm_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] > ' ')
			return false;
	return true;
}

/* White characters at the front, or at the back: their length in bytes. */
static size_t white_front(struct hm_str s)
{
	size_t i = 0, n;

	while (i < s.len && hm_is_white(hm_utf8_decode(hm_str_n(s.p + i, s.len - i), &n)))
		i += n;
	return i;
}

static size_t last_char(struct hm_str s) /* offset of the last character; s is not empty */
{
	size_t i = s.len - 1;

	while (i > 0 && ((unsigned char)s.p[i] & 0xC0) == 0x80)
		i--;
	return i;
}

static size_t white_back(struct hm_str s)
{
	size_t len = s.len, n;

	while (len > 0) {
		size_t i = last_char(hm_str_n(s.p, len));

		if (!hm_is_white(hm_utf8_decode(hm_str_n(s.p + i, len - i), &n)))
			break;
		len = i;
	}
	return s.len - len;
}

static bool is_break(char c)
{
	return c == '\n' || c == '\r';
}

static ptrdiff_t first_break(struct hm_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (is_break(s.p[i]))
			return (ptrdiff_t)i;
	return -1;
}

static ptrdiff_t last_break(struct hm_str s)
{
	for (size_t i = s.len; i > 0; i--)
		if (is_break(s.p[i - 1]))
			return (ptrdiff_t)i - 1;
	return -1;
}

static struct hm_str tail(struct hm_str s, size_t from)
{
	return hm_str_n(s.p + from, s.len - from);
}

/* -- neighbours ------------------------------------------------------------------------------ */

static struct hm_el *prev_sibling(const struct hm_el *el)
{
	return el->parent && el->index > 0 ? el->parent->child[el->index - 1] : NULL;
}

static struct hm_el *next_sibling(const struct hm_el *el)
{
	return el->parent && el->index + 1 < el->parent->nchild ? el->parent->child[el->index + 1] : NULL;
}

static struct hm_el *leaf(struct hm_el *el, bool last)
{
	while (el->nchild && el->kind != EL_MACRO && el->kind != EL_BLOCKASSIGN)
		el = el->child[last ? el->nchild - 1 : 0];
	return el;
}

static struct hm_el *prev_leaf(struct hm_el *el)
{
	for (; el; el = el->parent)
		if (prev_sibling(el))
			return leaf(prev_sibling(el), true);
	return NULL;
}

static struct hm_el *next_leaf(struct hm_el *el)
{
	for (; el; el = el->parent)
		if (next_sibling(el))
			return leaf(next_sibling(el), false);
	return NULL;
}

static bool top_level(const struct hm_el *el)
{
	return !el->parent || (!el->parent->parent && el->parent->kind == EL_MIXED);
}

static bool prints_nothing(const struct hm_el *el)
{
	return el && (el->kind == EL_MACRO || el->kind == EL_ASSIGN || el->kind == EL_ASSIGNS ||
		      el->kind == EL_SETTING || el->kind == EL_COMMENT);
}

static bool ignorable_between(const struct hm_el *el, const struct hm_el *prev, const struct hm_el *next)
{
	switch (el->kind) {
	case EL_TRIM: return true;
	case EL_MIXED:
	case EL_COMPRESS:
	case EL_AUTOESC:
	case EL_NOAUTOESC:
	case EL_OUTPUTFORMAT: return el->nchild == 0;
	case EL_TEXT: break;
	default: return false;
	}
	if (el->text.len == 0)
		return true;
	if (!is_blank(el->text))
		return false;
	return ((!prev && top_level(el)) || prints_nothing(prev)) &&
	       ((!next && top_level(el)) || prints_nothing(next));
}

static bool ignorable(const struct hm_el *el)
{
	return ignorable_between(el, prev_sibling(el), next_sibling(el));
}

/* Does a leaf keep the white space in front of it (or, behind: after it) on its line? */
static bool resists(const struct hm_el *el, bool behind)
{
	struct hm_str s = el->text;

	if (el->kind == EL_INTERP)
		return true;
	if (el->kind != EL_TEXT || ignorable(el))
		return false;
	if (!behind) {
		size_t n = white_front(s);
		ptrdiff_t b = first_break(s);

		return b < 0 || (size_t)b > n;
	} else {
		size_t n = s.len - white_back(s);
		ptrdiff_t b = last_break(s);

		return b < 0 || (size_t)b < n;
	}
}

struct space {
	struct hm_arena *arena;
	uint8_t *trims; /* by line: a trim tag is on it */
	uint64_t looks; /* at neighbours */
};
#define MAX_LOOKS 50000000u /* a line of very many tags costs their number squared */

/* -- one run ------------------------------------------------------------------------------------ */

/* A <#t> <#lt> <#nt> later on the line. */
static bool left_trim(struct space *sp, struct hm_el *el)
{
	bool found = false;

	if (!sp->trims[el->end_line])
		return false;
	for (struct hm_el *l = next_leaf(el); l && l->line == el->end_line; sp->looks++, l = next_leaf(l)) {
		ptrdiff_t b;
		struct hm_str line;
		size_t n;
		char *p;

		if (l->kind != EL_TRIM || l->op == TRIM_RIGHT)
			continue;
		found = true;
		if (!(l->op & TRIM_LEFT))
			continue;
		b = last_break(el->text);
		if (b < 0 && !el->begins_line)
			continue;
		line = tail(el->text, (size_t)(b + 1));
		if (is_blank(line)) {
			el->text.len = (size_t)(b + 1);
			continue;
		}
		n = white_front(line);
		p = hm_arena_alloc(sp->arena, el->text.len + 1);
		if (!p)
			continue;
		memcpy(p, el->text.p, (size_t)(b + 1));
		memcpy(p + b + 1, line.p + n, line.len - n);
		el->text = hm_str_n(p, (size_t)(b + 1) + line.len - n);
	}
	return found;
}

/* Is the rest of the line behind the run, after a right trim, to go as well? */
static bool drop_rest(struct space *sp, struct hm_el *el)
{
	bool drop = true;

	for (struct hm_el *l = next_leaf(el); l && l->line == el->end_line; sp->looks++, l = next_leaf(l)) {
		if (resists(l, true))
			drop = false;
		if (l->kind == EL_TRIM && (l->op & TRIM_LEFT))
			return true;
	}
	return drop;
}

/* A <#t> <#rt> <#nt> earlier on the line. */
static bool right_trim(struct space *sp, struct hm_el *el)
{
	bool found = false;

	if (!sp->trims[el->line])
		return false;
	for (struct hm_el *l = prev_leaf(el); l && l->end_line == el->line; sp->looks++, l = prev_leaf(l)) {
		struct hm_str rest, head;
		size_t n;
		char *p;

		if (l->kind != EL_TRIM || l->op == TRIM_LEFT)
			continue;
		found = true;
		if (!(l->op & TRIM_RIGHT))
			continue;
		n = (size_t)(first_break(el->text) + 1);
		if (n == 0)
			return false;
		if (el->text.len > n && el->text.p[n - 1] == '\r' && el->text.p[n] == '\n')
			n++;
		head = hm_str_n(el->text.p, n);
		rest = tail(el->text, n);
		if (is_blank(head)) {
			el->text = rest;
			el->line++;
			el->begins_line = true;
			continue;
		}
		head.len -= white_back(head);
		if (is_blank(rest) && drop_rest(sp, el))
			rest.len = 0;
		p = hm_arena_alloc(sp->arena, head.len + rest.len + 1);
		if (!p)
			continue;
		memcpy(p, head.p, head.len);
		if (rest.len)
			memcpy(p + head.len, rest.p, rest.len);
		el->text = hm_str_n(p, head.len + rest.len);
	}
	return found;
}

static size_t front_to_strip(struct space *sp, struct hm_el *el)
{
	size_t n = (size_t)(first_break(el->text) + 1);

	if (n == 0 && !el->begins_line)
		return 0;
	if (n > 0 && el->text.len > n && el->text.p[n - 1] == '\r' && el->text.p[n] == '\n')
		n++;
	if (!is_blank(hm_str_n(el->text.p, n)))
		return 0;
	for (struct hm_el *l = prev_leaf(el); l && l->end_line == el->line; sp->looks++, l = prev_leaf(l))
		if (resists(l, true))
			return 0;
	return n;
}

static size_t back_to_strip(struct space *sp, struct hm_el *el)
{
	ptrdiff_t b = last_break(el->text);

	if (b < 0 && !el->begins_line)
		return 0;
	if (!is_blank(tail(el->text, (size_t)(b + 1))))
		return 0;
	for (struct hm_el *l = next_leaf(el); l && l->line == el->end_line; sp->looks++, l = next_leaf(l))
		if (resists(l, false))
			return 0;
	return el->text.len - (size_t)(b + 1);
}

static void strip_text(struct space *sp, struct hm_el *el)
{
	size_t front = 0, back = 0;
	bool left, right;

	if (el->text.len == 0 || sp->looks > MAX_LOOKS)
		return;
	left = left_trim(sp, el);
	right = right_trim(sp, el);
	if (el->text.len == 0 || (top_level(el) && !prev_sibling(el)))
		return;
	if (!left)
		back = back_to_strip(sp, el);
	if (!right)
		front = front_to_strip(sp, el);
	if (front + back > el->text.len)
		back = el->text.len - front;
	el->text = hm_str_n(el->text.p + front, el->text.len - front - back);
	if (front > 0) {
		el->line++;
		el->begins_line = true;
	}
}

/* -- the tree ------------------------------------------------------------------------------------- */

static struct hm_el *strip(struct space *sp, struct hm_el *el)
{
	uint32_t i, n;

	if (el->kind == EL_TEXT) {
		strip_text(sp, el);
		return el;
	}
	if (el->kind == EL_IF && el->nchild == 1) { /* a lone branch takes the place of its <#if> */
		struct hm_el *c = el->child[0];

		c->line = el->line;
		c->end_line = el->end_line;
		c->begins_line = el->begins_line;
		c->parent = el->parent;
		c->index = el->index;
		if (el->parent)
			el->parent->child[el->index] = c;
		el = c;
	}
	for (i = 0; i < el->nchild; i++) {
		el->child[i] = strip(sp, el->child[i]);
		el->child[i]->parent = el;
		el->child[i]->index = i;
	}
	for (i = n = 0; i < el->nchild; i++) { /* what is dropped is gone for those behind it */
		struct hm_el *c = el->child[i];

		if (ignorable_between(c, n ? el->child[n - 1] : NULL,
				      i + 1 < el->nchild ? el->child[i + 1] : NULL))
			continue;
		el->child[n] = c;
		c->index = n++;
	}
	el->nchild = n;
	return el;
}

static void note_trims(struct space *sp, const struct hm_el *el)
{
	if (el->kind == EL_TRIM)
		sp->trims[el->line] = sp->trims[el->end_line] = 1; /* a tag may hold a line break */
	for (uint32_t i = 0; i < el->nchild; i++)
		note_trims(sp, el->child[i]);
}

struct hm_el *hm_space_strip(struct hm_arena *a, struct hm_el *root, uint32_t nlines)
{
	struct space sp = {.arena = a};

	sp.trims = hm_arena_zalloc(a, (size_t)nlines + 2);
	if (!sp.trims)
		return NULL;
	note_trims(&sp, root);
	root = strip(&sp, root);
	return sp.looks > MAX_LOOKS ? NULL : root;
}
