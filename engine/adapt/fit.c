/*
 * fit.c - cutting and splitting of marked-up text
 *
 * The nodes are laid out flat first: the visible text, one byte string, with the place of every node in it.
 * breaks.h says for each byte what ends there, so that "the last sentence before byte 900" is a look
 * backwards over an array. Whether a beginning fits is found out by writing it; which one is the longest
 * by halving, since more text is never shorter but for a sign or two that a dialect spares at an end. A result is
 * only ever one that was written and measured.
 */
#include "adapt/fit.h"

#include <stdio.h>

#include "adapt/breaks.h"

#define MAX_TEXT  (8u << 20)
#define MAX_OPEN  (2 * HM_RICH_MAX_DEPTH + 4)
#define OBJECT	  "\xef\xbf\xbc" /* U+FFFC stands for an image in the flat text */
#define MAX_TRIES 64

/* A place in the text, and what is open there. */
struct place {
	size_t node, off; /* off: bytes into a TEXT or CODE */
	uint32_t n_open;
	uint32_t open[MAX_OPEN]; /* indexes of nodes */
};

struct fit {
	const struct hm_dialect *d;
	const struct hm_fit_limit *l;
	struct hm_arena *a;
	struct hm_err *e;
	int rc;
	/* the text */
	struct hm_rich_node *v; /* own copy: a link that cannot be sent loses its markup */
	size_t n;
	char *flat;
	size_t len;
	size_t *start;	/* n + 1 */
	uint8_t *level; /* len + 1 */
	/* one try */
	struct hm_rich_node *made;
	size_t made_cap;
	struct hm_buf text;
	size_t units;
	bool lost; /* a link's target, an image */
};

static int no_memory(struct fit *f)
{
	return f->rc = hm_err_set(f->e, HM_ENOMEM, "out of memory");
}

/* -- the flat text ----------------------------------------------------------------------- */

static bool is_span(const struct hm_rich_node *n)
{
	return n->kind == HM_RICH_BOLD || n->kind == HM_RICH_ITALIC || n->kind == HM_RICH_LINK ||
	       n->kind == HM_RICH_HEADING || n->kind == HM_RICH_ITEM;
}

static bool is_block(const struct hm_rich_node *n)
{
	return n->kind == HM_RICH_HEADING || n->kind == HM_RICH_ITEM;
}

static struct hm_str flat_of(const struct fit *f, const struct hm_rich_node *n)
{
	switch ((enum hm_rich_kind)n->kind) {
	case HM_RICH_TEXT:
	case HM_RICH_CODE: return n->text;
	case HM_RICH_BREAK: return HM_STR("\n");
	case HM_RICH_PARA: return HM_STR("\n\n");
	case HM_RICH_IMAGE: return HM_STR(OBJECT);
	case HM_RICH_HEADING:
	case HM_RICH_ITEM: /* on lines of their own */
		return f->len && f->flat[f->len - 1] != '\n' ? HM_STR("\n") : HM_STR("");
	default: return HM_STR("");
	}
}

static const struct hm_rich *tail_of(const struct fit *f)
{
	static const struct hm_rich none;

	return f->l->tail ? f->l->tail : &none;
}

static int lay_flat(struct fit *f)
{
	size_t cap = 1, open = 0, most = 0;

	for (size_t i = 0; i < f->n; i++) {
		cap += f->v[i].text.len + 3;
		if (is_span(&f->v[i])) {
			open += f->v[i].close ? -(size_t)(open > 0) : 1;
			most = hm_max(most, open);
		}
	}
	f->flat = hm_arena_alloc(f->a, cap);
	f->start = hm_arena_alloc(f->a, (f->n + 1) * sizeof(*f->start));
	/* Spans opened again and closed early, the number, the mark, the break before the tail. */
	f->made_cap = f->n + tail_of(f)->n + 2 * most + 4;
	f->made = hm_arena_alloc(f->a, f->made_cap * sizeof(*f->made));
	if (f->flat == NULL || f->start == NULL || f->made == NULL)
		return no_memory(f);
	f->len = 0;
	for (size_t i = 0; i < f->n; i++) {
		struct hm_str s = flat_of(f, &f->v[i]);

		f->start[i] = f->len;
		if (s.len)
			memcpy(f->flat + f->len, s.p, s.len);
		f->len += s.len;
	}
	f->start[f->n] = f->len;
	f->level = hm_arena_alloc(f->a, f->len + 1);
	if (f->level == NULL)
		return no_memory(f);
	hm_breaks(hm_str_n(f->flat, f->len), f->level);
	for (size_t i = 0; i < f->len; i++)
		if (f->flat[i] ==
		    '\n') /* in front of a line's end is as good, and the line's mark is not left over */
			f->level[i + 1] = HM_BREAK_NEVER;
	f->level[f->len] = HM_BREAK_PARA;
	for (size_t i = 0; i + 1 < f->n; i++)
		if (f->v[i].kind == HM_RICH_LINK && !f->v[i].close && f->v[i].bare)
			for (size_t p = f->start[i + 1] + 1; p < f->start[i + 2]; p++)
				f->level[p] = HM_BREAK_NEVER;
	return 0;
}

/* -- places ------------------------------------------------------------------------------- */

static size_t offset_of(const struct fit *f, const struct place *at)
{
	return f->start[at->node] + at->off;
}

static void pass(struct fit *f, struct place *at)
{
	const struct hm_rich_node *n = &f->v[at->node];

	if (is_span(n)) {
		if (n->close && at->n_open)
			at->n_open--;
		else if (!n->close && at->n_open < MAX_OPEN)
			at->open[at->n_open++] = (uint32_t)at->node;
	}
	at->node++;
	at->off = 0;
}

/* To byte p, and over the blanks and line ends that stand there. */
static void advance(struct fit *f, struct place *at, size_t p)
{
	while (at->node < f->n) {
		const struct hm_rich_node *n = &f->v[at->node];
		size_t from = f->start[at->node], to = f->start[at->node + 1];

		if (to > p) {
			if (p > from)
				at->off = p - from;
			break;
		}
		if (from == p && is_span(n) && !n->close)
			break;
		pass(f, at);
	}
	while (at->node < f->n) {
		const struct hm_rich_node *n = &f->v[at->node];
		size_t len;

		if (n->kind == HM_RICH_TEXT) {
			while (at->off < n->text.len) {
				uint32_t cp = hm_utf8_decode(
					hm_str_n(n->text.p + at->off, n->text.len - at->off), &len);

				if (!hm_blank(cp))
					return;
				at->off += len;
			}
		} else if (n->kind != HM_RICH_BREAK && n->kind != HM_RICH_PARA && !(is_span(n) && n->close)) {
			return;
		}
		pass(f, at);
	}
}

/* -- one try ------------------------------------------------------------------------------- */

struct piece {
	const struct place *from;
	size_t to;	    /* byte of the flat text */
	struct hm_str mark; /* behind it */
	bool tail;
	uint32_t number, total; /* "(1/3) "; total 0: none */
};

struct maker {
	struct hm_rich_node *v;
	size_t n, cap;
	uint32_t n_open;
	struct {
		uint32_t node, at; /* of the text; where it was opened in what is made */
		bool ghost;	   /* an item that goes on here without its bullet */
	} open[MAX_OPEN];
	uint32_t kinds;
};

static void put(struct maker *m, const struct hm_rich_node *n)
{
	hm_assert(m->n < m->cap);
	m->v[m->n++] = *n;
	m->kinds |= 1u << n->kind;
}

static void put_text(struct maker *m, struct hm_str s)
{
	put(m, &(struct hm_rich_node){.kind = HM_RICH_TEXT, .text = s});
}

static void open_span(struct fit *f, struct maker *m, uint32_t node, bool again)
{
	if (m->n_open == MAX_OPEN)
		return;
	m->open[m->n_open].node = node;
	m->open[m->n_open].at = (uint32_t)m->n;
	m->open[m->n_open].ghost = again && f->v[node].kind == HM_RICH_ITEM;
	if (!m->open[m->n_open].ghost)
		put(m, &f->v[node]);
	m->n_open++;
}

static void close_span(struct fit *f, struct maker *m)
{
	struct hm_rich_node n;

	if (m->n_open == 0)
		return;
	m->n_open--;
	if (m->open[m->n_open].ghost)
		return;
	n = f->v[m->open[m->n_open].node];
	n.close = true;
	n.text = HM_STR("");
	put(m, &n);
}

/* Takes back blanks, line ends and spans with nothing in them. */
static void trim(struct fit *f, struct maker *m, size_t least)
{
	while (m->n > least) {
		struct hm_rich_node *n = &m->v[m->n - 1];

		if (n->kind == HM_RICH_TEXT) {
			n->text = hm_trim_end(n->text);
			if (n->text.len)
				return;
		} else if (is_span(n)) {
			if (n->close || m->n_open == 0)
				return;
			while (m->n_open && m->open[m->n_open - 1].ghost)
				m->n_open--;
			if (m->n_open == 0)
				return;
			m->n_open--;
		} else if (n->kind != HM_RICH_BREAK && n->kind != HM_RICH_PARA) {
			return;
		}
		m->n--;
	}
}

static void put_tail(struct fit *f, struct maker *m)
{
	const struct hm_rich *t = tail_of(f);

	if (m->n && t->n && !is_block(&m->v[m->n - 1]) && !is_block(&t->v[0]))
		put(m, &(struct hm_rich_node){.kind = HM_RICH_BREAK});
	for (size_t i = 0; i < t->n; i++)
		put(m, &t->v[i]);
}

static void make(struct fit *f, const struct piece *p, struct maker *m, struct hm_str number)
{
	size_t i = p->from->node, least;

	if (p->total) {
		bool block = i < f->n && is_block(&f->v[i]);

		for (uint32_t k = 0; k < p->from->n_open; k++)
			block = block || f->v[p->from->open[k]].kind == HM_RICH_HEADING;
		if (block)
			number.len--; /* its own line: no blank behind it */
		put_text(m, number);
	}
	least = m->n;
	for (uint32_t k = 0; k < p->from->n_open; k++)
		open_span(f, m, p->from->open[k], true);
	for (; i < f->n && (f->start[i] < p->to || p->to == f->len); i++) {
		struct hm_rich_node n = f->v[i];
		size_t off = i == p->from->node ? p->from->off : 0;

		if (is_span(&n) && n.close) {
			close_span(f, m);
			continue;
		}
		if (is_span(&n)) {
			open_span(f, m, (uint32_t)i, false);
			continue;
		}
		if (n.kind == HM_RICH_TEXT || n.kind == HM_RICH_CODE) {
			size_t end = hm_min(n.text.len, p->to - f->start[i]);

			n.text = hm_str_n(n.text.p + off, end > off ? end - off : 0);
			if (n.text.len == 0)
				continue;
		}
		put(m, &n);
	}
	if (p->to < f->len || p->from->node || p->from->off)
		trim(f, m, least);
	if (p->mark.len)
		put_text(m, p->mark);
	while (m->n_open)
		close_span(f, m);
	if (p->tail)
		put_tail(f, m);
}

/* Writes the nodes into f->text; true when they are within the limit. */
static bool written(struct fit *f, const struct hm_rich *r)
{
	struct hm_meter meter;

	hm_buf_reset(&f->text);
	f->rc = hm_dialect_write(f->d, r, &f->text);
	if (f->rc == 0)
		f->rc = f->text.err;
	if (f->rc) {
		hm_err_set(f->e, f->rc, "the text cannot be written (%s)",
			   f->rc == HM_ENOMEM ? "out of memory" : "it is too long");
		return false;
	}
	hm_meter_init(&meter, f->l->unit);
	hm_meter_add(&meter, f->l->beside);
	hm_meter_add(&meter, hm_buf_str(&f->text));
	f->units = hm_meter_units(&meter);
	return f->l->max == 0 || f->units <= f->l->max;
}

/* Nothing at all: what is sent when not even an empty text fits. */
static void write_nothing(struct fit *f)
{
	hm_buf_reset(&f->text);
	f->units = 0;
}

static bool try(struct fit *f, const struct piece *p)
{
	struct maker m = {.v = f->made, .cap = f->made_cap};
	char number[32];
	int n = 0;

	if (f->rc)
		return false;
	if (p->total)
		n = snprintf(number, sizeof(number), "(%u/%u) ", p->number, p->total);
	make(f, p, &m, hm_str_n(number, (size_t)n));
	return written(f, &(struct hm_rich){.v = m.v, .n = m.n, .kinds = m.kinds});
}

/* What is farther away than this is surely too long: nothing is written shorter than it is. */
static size_t reach(const struct fit *f, size_t from)
{
	static const size_t bytes[] = {1, 4, 4, 320};
	size_t most;

	if (f->l->max == 0 || __builtin_mul_overflow(f->l->max, 2 * bytes[f->l->unit], &most) ||
	    __builtin_add_overflow(most, from + 256, &most))
		return f->len;
	return hm_min(most, f->len);
}

/* An allowed place nearest to p, strictly between lo and hi; 0 when there is none. */
static size_t allowed(const struct fit *f, size_t lo, size_t p, size_t hi)
{
	for (size_t i = p; i > lo; i--)
		if (f->level[i] != HM_BREAK_NEVER)
			return i;
	for (size_t i = p + 1; i < hi; i++)
		if (f->level[i] != HM_BREAK_NEVER)
			return i;
	return 0;
}

/* The longest beginning of the rest that fits as p says; its end, or 0. */
static size_t longest(struct fit *f, struct piece *p)
{
	size_t from = offset_of(f, p->from), lo = from, hi = reach(f, from) + 1, best = 0, at;

	for (int i = 0; i < MAX_TRIES && lo + 1 < hi && f->rc == 0; i++) {
		at = allowed(f, lo, lo + (hi - lo) / 2, hi);
		if (at == 0)
			break;
		p->to = at;
		if (try(f, p))
			best = lo = at;
		else
			hi = at;
	}
	return best;
}

/* The last place in (from, end] of at least this level, not before `least`; 0 when there is none. */
static size_t last_of(const struct fit *f, size_t least, size_t end, uint8_t level)
{
	for (size_t i = end; i > least; i--)
		if (f->level[i] >= level)
			return i;
	return 0;
}

/* -- cut --------------------------------------------------------------------------------------- */

/* Cuts the rest from `from` and leaves it in f->text: up to a word's end, mark, tail, as far as the room goes. */
static void cut_rest(struct fit *f, struct piece *p)
{
	static const struct {
		bool tail, mark;
	} wish[] = {{true, true}, {false, true}, {false, false}};
	size_t from = offset_of(f, p->from), hard, word;

	for (size_t i = 0; i < hm_countof(wish) && f->rc == 0; i++) {
		if ((i == 1 && tail_of(f)->n == 0) || (i == 2 && f->l->mark.len == 0))
			continue;
		p->tail = wish[i].tail;
		p->mark = wish[i].mark ? f->l->mark : HM_STR("");
		hard = longest(f, p);
		if (hard == 0)
			continue;
		word = last_of(f, hard - (hard - from) / 3 - 1, hard, HM_BREAK_WORD);
		p->to = word ? word : hard;
		if (try(f, p))
			return;
		p->to = hard;
		if (try(f, p))
			return;
	}
	write_nothing(f);
}

/* -- split -------------------------------------------------------------------------------------- */

struct split {
	struct place from[HM_FIT_MAX_PARTS];
	size_t to[HM_FIT_MAX_PARTS];
	uint32_t n;
	bool cut; /* the last one */
};

/* Where to end a part that may go up to `hard`. */
static size_t choose(const struct fit *f, size_t from, size_t hard, bool tight)
{
	static const struct {
		uint8_t level, third; /* not before so many sixths of the room */
	} wish[] = {{HM_BREAK_PARA, 2}, {HM_BREAK_LINE, 3}, {HM_BREAK_SENTENCE, 3}, {HM_BREAK_WORD, 0}};
	size_t room = hard - from, at;

	for (size_t i = tight ? 3 : 0; i < hm_countof(wish); i++) {
		at = last_of(f, from + room * wish[i].third / 6, hard, wish[i].level);
		if (at)
			return at;
	}
	return hard;
}

/* Nothing of the rest fits: the link it begins with loses its target, or goes when it is nothing else. */
static bool give_up_link(struct fit *f, struct place *at)
{
	uint32_t k = at->n_open;
	size_t i = at->node;
	bool bare;

	while (k && f->v[at->open[k - 1]].kind != HM_RICH_LINK)
		k--;
	if (k) {
		i = at->open[k - 1];
		memmove(&at->open[k - 1], &at->open[k], (at->n_open - k) * sizeof(at->open[0]));
		at->n_open--;
	} else {
		while (i < f->n && is_span(&f->v[i]) && !f->v[i].close && f->v[i].kind != HM_RICH_LINK)
			i++;
		if (i < f->n && f->v[i].kind == HM_RICH_IMAGE) {
			f->v[i] = (struct hm_rich_node){.kind = HM_RICH_TEXT};
			return true;
		}
		if (i >= f->n || f->v[i].kind != HM_RICH_LINK)
			return false;
	}
	bare = f->v[i].bare;
	f->v[i] = (struct hm_rich_node){.kind = HM_RICH_TEXT};
	for (i++; i < f->n; i++) {
		struct hm_rich_node *n = &f->v[i];

		if (n->kind == HM_RICH_LINK && n->close) {
			*n = (struct hm_rich_node){.kind = HM_RICH_TEXT};
			return true;
		}
		if (bare && (n->kind == HM_RICH_TEXT || n->kind == HM_RICH_CODE))
			n->text = HM_STR("");
	}
	return true;
}

/* Finds the parts; the numbers in them are as wide as those of `total`. */
static void plan(struct fit *f, struct split *s, uint32_t max_parts, uint32_t total, bool tight)
{
	struct place at = {0};

	s->n = 0;
	s->cut = false;
	while (f->rc == 0) {
		struct piece p = {.from = &at, .to = f->len, .tail = true, .number = total, .total = total};
		size_t from = offset_of(f, &at), hard;

		s->from[s->n] = at;
		s->to[s->n] = f->len;
		s->n++;
		if (reach(f, from) == f->len && try(f, &p))
			return;
		if (s->n == max_parts) {
			s->cut = true;
			return;
		}
		p.tail = false;
		hard = longest(f, &p);
		if (hard == 0) {
			if (!give_up_link(f, &at)) {
				s->cut = true;
				return;
			}
			f->lost = true;
			s->n--;
			advance(f, &at, from);
			continue;
		}
		s->to[s->n - 1] = choose(f, from, hard, tight);
		advance(f, &at, s->to[s->n - 1]);
		if (at.node == f->n && tail_of(f)->n == 0)
			return;
	}
}

static struct hm_str keep(struct fit *f, struct hm_fit *out)
{
	struct hm_str s = hm_buf_str(&f->text);

	out->after = hm_max(out->after, f->units);
	if (s.len == 0)
		return HM_STR("");
	s = hm_arena_str(f->a, s);
	if (s.p == NULL)
		no_memory(f);
	return s;
}

static void split(struct fit *f, struct hm_fit *out)
{
	uint32_t max_parts = f->l->max_parts ? hm_min(f->l->max_parts, (uint32_t)HM_FIT_MAX_PARTS)
					     : HM_FIT_MAX_PARTS;
	struct split *s = hm_arena_alloc(f->a, sizeof(*s));
	uint32_t total = f->l->numbered && max_parts > 1 ? 9 : 0;

	if (s == NULL) {
		no_memory(f);
		return;
	}
	plan(f, s, max_parts, total, false);
	if (total && s->n > 9)
		plan(f, s, max_parts, total = 99, false);
	if (s->cut && f->rc == 0) /* fuller parts may do */
		plan(f, s, max_parts, total, true);
	out->after = 0;
	for (uint32_t i = 0; i < s->n && f->rc == 0; i++) {
		struct piece p = {.from = &s->from[i], .to = s->to[i], .tail = i + 1 == s->n};
		bool ok;

		if (total && s->n > 1) {
			p.number = i + 1;
			p.total = s->n;
		}
		ok = try(f, &p);
		if (!ok)
			cut_rest(f, &p);
		out->cut = out->cut || !ok;
		if (f->rc)
			return;
		out->part[i] = keep(f, out);
	}
	out->n = s->n;
	out->cut = out->cut || s->cut || f->lost;
	out->action = s->n > 1 ? HM_FIT_SPLIT : HM_FIT_CUT;
}

/* -- all of it -------------------------------------------------------------------------------------- */

static int begin(struct fit *f, const struct hm_rich *r, bool own)
{
	f->v = r->v;
	f->n = r->n;
	f->rc = 0;
	if (own && r->n) {
		f->v = hm_arena_alloc(f->a, r->n * sizeof(*f->v));
		if (f->v == NULL)
			return no_memory(f);
		memcpy(f->v, r->v, r->n * sizeof(*f->v));
	}
	return lay_flat(f);
}

/* The whole, written without laying it out: most texts fit. */
static bool whole_fits(struct fit *f, const struct hm_rich *r)
{
	const struct hm_rich *tail = tail_of(f);
	struct maker m = {0};

	if (tail->n == 0)
		return written(f, r);
	m.cap = r->n + tail->n + 1;
	m.v = hm_arena_alloc(f->a, m.cap * sizeof(*m.v));
	if (m.v == NULL)
		return no_memory(f) == 0;
	if (r->n)
		memcpy(m.v, r->v, r->n * sizeof(*m.v));
	m.n = r->n;
	m.kinds = r->kinds;
	put_tail(f, &m);
	return written(f, &(struct hm_rich){.v = m.v, .n = m.n, .kinds = m.kinds});
}

/* A guess at what it takes to write it: growing in an arena leaves the smaller ones behind. */
static size_t room_for(const struct hm_rich *r)
{
	size_t n = 64;

	for (size_t i = 0; i < r->n; i++)
		n += r->v[i].text.len + (r->v[i].kind == HM_RICH_TEXT ? 8 : 16);
	return hm_min(n + n / 8, (size_t)MAX_TEXT);
}

static void cut(struct fit *f, struct hm_fit *out)
{
	struct place start = {0};
	struct piece p = {.from = &start};

	cut_rest(f, &p);
	if (f->rc == 0)
		out->part[0] = keep(f, out);
	out->n = 1;
	out->cut = true;
	out->action = HM_FIT_CUT;
}

int hm_fit_rich(const struct hm_rich *text, const struct hm_rich *short_text, const struct hm_dialect *d,
		const struct hm_fit_limit *l, struct hm_arena *a, struct hm_fit *out, struct hm_err *e)
{
	struct fit f = {.d = d, .l = l, .a = a, .e = e};
	bool fits, swapped = false;

	memset(out, 0, sizeof(*out));
	hm_buf_init_arena(&f.text, a, MAX_TEXT);
	hm_buf_reserve(&f.text, room_for(text));
	fits = whole_fits(&f, text);
	out->before = f.units;
	out->n = 1;
	if (f.rc == 0 && !fits && l->over == HM_OVER_REFUSE)
		return hm_err_set(e, HM_ELIMIT, "%zu %s, at most %zu are allowed", f.units,
				  hm_unit_name(l->unit), l->max);
	if (f.rc == 0 && !fits && l->over == HM_OVER_SHORT && short_text && short_text->n) {
		swapped = true;
		text = short_text;
		fits = whole_fits(&f, text);
	}
	if (f.rc == 0 && fits) { /* f.text is not written again */
		out->part[0] = f.text.len ? hm_buf_str(&f.text) : HM_STR("");
		out->after = f.units;
	}
	if (f.rc == 0 && !fits && begin(&f, text, l->over == HM_OVER_SPLIT) == 0) {
		if (l->over == HM_OVER_SPLIT)
			split(&f, out);
		else
			cut(&f, out);
	}
	if (swapped)
		out->action = HM_FIT_SHORT;
	return f.rc;
}
