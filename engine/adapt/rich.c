/*
 * rich.c - the node list: building, putting in order, plain text, rewriting of links
 */
#include "adapt/rich_int.h"

int hm_rich_grow(struct hm_rich_b *b)
{
	size_t cap = b->cap ? b->cap * 2 : b->first;
	struct hm_rich_node *v;

	if (b->err)
		return b->err;
	if (b->cap >= HM_RICH_MAX_NODES)
		return b->err = HM_ELIMIT;
	v = b->v ? hm_arena_grow(b->arena, b->v, b->cap * sizeof(*v), cap * sizeof(*v))
		 : hm_arena_alloc(b->arena, cap * sizeof(*v));
	if (!v)
		return b->err = HM_ENOMEM;
	b->v = v;
	b->cap = cap;
	return 0;
}

/* -- putting in order ------------------------------------------------------------ */

/* One text of a run of them. */
static struct hm_str join(struct hm_rich_b *b, const struct hm_rich_node *v, size_t n)
{
	struct hm_str first = HM_STR("");
	size_t len = 0, at = 0;
	bool apart = false; /* they do not follow each other in memory */
	char *p;

	for (size_t i = 0; i < n; i++) {
		if (v[i].text.len == 0)
			continue;
		if (len == 0)
			first = v[i].text;
		else
			apart |= first.p + len != v[i].text.p;
		len += v[i].text.len;
	}
	if (!apart)
		return hm_str_n(first.p, len);
	p = hm_arena_alloc(b->arena, len);
	if (!p) {
		b->err = HM_ENOMEM;
		return HM_STR("");
	}
	for (size_t i = 0; i < n; i++) {
		if (v[i].text.len)
			memcpy(p + at, v[i].text.p, v[i].text.len);
		at += v[i].text.len;
	}
	return hm_str_n(p, len);
}

static bool blank_text(struct hm_str s)
{
	return hm_str_trim(s).len == 0;
}

/* A link nobody could see shows its target. */
static bool shows_something(const struct hm_rich_node *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].kind == HM_RICH_IMAGE ||
		    ((v[i].kind == HM_RICH_TEXT || v[i].kind == HM_RICH_CODE) && !blank_text(v[i].text)))
			return true;
	return false;
}

struct open_span {
	size_t at; /* its node in the new list */
	uint8_t kind;
	bool silent; /* inside one of its kind: says nothing new */
};

/* Texts side by side become one, spans inside a span of their kind and empty ones vanish. In place: the new
 * list is never longer than what was read, but for targets shown in empty links, which replace two nodes. */
static void settle(struct hm_rich_b *b)
{
	struct open_span stack[HM_RICH_MAX_DEPTH];
	struct hm_rich_node *v = b->v;
	size_t n = 0, depth = 0, over = 0;

	for (size_t i = 0; i < b->n; i++) {
		struct hm_rich_node node = v[i];

		if (node.kind == HM_RICH_TEXT) {
			size_t run = 1;

			while (i + run < b->n && v[i + run].kind == HM_RICH_TEXT)
				run++;
			node.text = run > 1 ? join(b, v + i, run) : node.text;
			i += run - 1;
			if (node.text.len == 0)
				continue;
			if (n && v[n - 1].kind == HM_RICH_TEXT) { /* what stood between them vanished */
				struct hm_rich_node two[2] = {v[n - 1], node};

				v[n - 1].text = join(b, two, 2);
			} else {
				v[n++] = node;
			}
			continue;
		}
		if (node.kind < HM_RICH_BOLD || node.kind == HM_RICH_CODE || node.kind == HM_RICH_IMAGE) {
			v[n++] = node;
			continue;
		}
		if (!node.close) {
			bool silent = false;

			if (depth == HM_RICH_MAX_DEPTH) {
				over++;
				continue;
			}
			for (size_t k = 0; k < depth; k++)
				silent |= stack[k].kind == node.kind;
			stack[depth++] = (struct open_span){n, node.kind, silent};
			if (!silent)
				v[n++] = node;
			continue;
		}
		if (over) {
			over--;
			continue;
		}
		if (depth == 0 || stack[depth - 1].kind != node.kind)
			hm_unreachable(); /* the readers nest well */
		depth--;
		if (stack[depth].silent)
			continue;
		if (node.kind == HM_RICH_LINK && !shows_something(v + stack[depth].at, n - stack[depth].at)) {
			struct hm_str target = v[stack[depth].at].text;

			n = stack[depth].at + 1;
			v[n - 1].bare = true;
			if (n < i) { /* room: something stood between; else the link held nothing at all */
				v[n++] = (struct hm_rich_node){.kind = HM_RICH_TEXT, .text = target};
				v[n++] = node;
			} else {
				n--;
			}
			continue;
		}
		if (n == stack[depth].at + 1 && node.kind != HM_RICH_ITEM) {
			n--; /* nothing in it */
			continue;
		}
		v[n++] = node;
	}
	b->n = n;
}

int hm_rich_finish(struct hm_rich_b *b, struct hm_rich *out, struct hm_err *e)
{
	if (b->loose && !b->err)
		settle(b);
	if (b->err == HM_ELIMIT)
		return hm_err_set(e, HM_ELIMIT, "the text has more than %d pieces of markup",
				  HM_RICH_MAX_NODES);
	if (b->err)
		return hm_err_set(e, b->err, "no memory for the markup of a text");
	out->v = b->v;
	out->n = b->n;
	out->kinds = 0;
	for (size_t i = 0; i < b->n; i++)
		out->kinds |= 1u << b->v[i].kind;
	return 0;
}

/* -- text that is only text ------------------------------------------------------- */

void hm_rich_verbatim(struct hm_rich_b *b, struct hm_str s)
{
	const char *p = s.p, *e = p + s.len, *run = p;
	size_t breaks = 0;

	while (p < e) {
		unsigned char c;
		size_t ctl;

		p = hm_rich_skip(p, e);
		if (p == e)
			break;
		c = (unsigned char)*p;
		ctl = hm_control(p, e);
		if (!ctl && c != '\n' && c != '\r') {
			p++;
			continue;
		}
		if (p > run) {
			hm_rich_text(b, run, (size_t)(p - run));
			breaks = 0;
		}
		if (ctl) {
			p += ctl;
		} else {
			p += c == '\r' && e - p > 1 && p[1] == '\n' ? 2 : 1;
			/* A blank line between two texts is a paragraph; every further one a break. */
			if (breaks == 1 && b->n > 1)
				b->v[b->n - 1].kind = HM_RICH_PARA;
			else
				hm_rich_push(b, HM_RICH_BREAK);
			breaks++;
		}
		run = p;
	}
	if (e > run)
		hm_rich_text(b, run, (size_t)(e - run));
	else if (breaks >= 2) /* the end of the text: no blank line between two blocks */
		for (size_t i = b->n;
		     i-- > 0 && (b->v[i].kind == HM_RICH_BREAK || b->v[i].kind == HM_RICH_PARA);)
			if (b->v[i].kind == HM_RICH_PARA) {
				b->v[i].kind = HM_RICH_BREAK;
				hm_rich_push(b, HM_RICH_BREAK);
				break;
			}
}

int hm_rich_parse(struct hm_str text, enum hm_text_format f, struct hm_arena *a, struct hm_rich *out,
		  struct hm_err *e)
{
	/* room for a text with a fair amount of markup, so that the list seldom moves */
	struct hm_rich_b b = {.arena = a, .first = 8 + text.len / 8};

	*out = (struct hm_rich){0};
	if (!text.p)
		text = HM_STR("");
	switch (f) {
	case HM_TEXT_PLAIN: hm_rich_verbatim(&b, text); break;
	case HM_TEXT_MARKDOWN: hm_rich_read_markdown(&b, text); break;
	case HM_TEXT_HTML:
		hm_rich_read_html(&b, text);
		out->html = text;
		break;
	}
	return hm_rich_finish(&b, out, e);
}

/* -- rewriting of links ------------------------------------------------------------ */

/* The author's HTML with the targets the nodes have now; they then say where these stand. */
static struct hm_str copy_html(struct hm_rich *r, struct hm_arena *a, int *err)
{
	struct hm_buf out;
	size_t at = 0;
	uint32_t last = 0, last_new = 0;

	hm_buf_init_arena(&out, a, UINT32_MAX / 2);
	for (size_t i = 0; i < r->n; i++) {
		struct hm_rich_node *node = &r->v[i];
		size_t from;
		bool quoted;

		if (node->kind != HM_RICH_LINK || node->close || !node->n)
			continue;
		if (node->n == last) {
			node->n = last_new;
			continue;
		}
		last = node->n;
		from = node->n - 1;
		hm_buf_put(&out, r->html.p + at, from - at);
		at = hm_rich_attr_end(r->html, from, &quoted);
		if (!quoted)
			hm_buf_putc(&out, '"');
		node->n = last_new = (uint32_t)out.len + 1;
		hm_buf_html(&out, node->text);
		if (!quoted)
			hm_buf_putc(&out, '"');
	}
	hm_buf_put(&out, r->html.p + at, r->html.len - at);
	*err = out.err;
	return hm_buf_str(&out);
}

int hm_rich_wrap_links(struct hm_rich *r, const struct hm_link_wrap *w, struct hm_arena *a, struct hm_err *e)
{
	struct hm_buf out;
	uint32_t count = 0, last_n = 0;
	bool changed = false;
	struct hm_str last = HM_STR("");
	int rc = 0;

	if (!(r->kinds & 1u << HM_RICH_LINK))
		return 0;
	for (size_t i = 0; i < r->n; i++) {
		struct hm_rich_node *node = &r->v[i];

		if (node->kind != HM_RICH_LINK || node->close)
			continue;
		if (node->n && node->n == last_n) { /* one link of the source, interrupted by a block */
			node->text = last;
			continue;
		}
		hm_buf_init_arena(&out, a, 64 * 1024);
		rc = w->wrap(w->arg, node->text, count++, &out, e);
		if (rc)
			return rc;
		if (out.err)
			return hm_err_set(e, out.err, "the new target of a link is too long");
		if (out.len) {
			node->text = hm_buf_str(&out);
			changed = true;
		}
		last_n = node->n;
		last = node->text;
	}
	if (r->html.p && changed)
		r->html = copy_html(r, a, &rc);
	return rc ? hm_err_set(e, rc, "no memory for rewriting links") : 0;
}

bool hm_rich_clean(struct hm_str text)
{
	const char *p = text.p, *e = p + text.len;

#ifdef __SSE2__
	const __m128i low = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t'), lf = _mm_set1_epi8('\n'),
		      del = _mm_set1_epi8(0x7f), c2 = _mm_set1_epi8((char)0xc2);

	/* what may be one; a line break of Windows and a sign of Latin-1 are looked at below */
	for (; e - p >= 16; p += 16) {
		__m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i fine = _mm_or_si128(_mm_cmpeq_epi8(x, tab), _mm_cmpeq_epi8(x, lf));
		__m128i hit = _mm_andnot_si128(fine, _mm_cmpeq_epi8(_mm_min_epu8(x, low), x));

		hit = _mm_or_si128(hit, _mm_or_si128(_mm_cmpeq_epi8(x, del), _mm_cmpeq_epi8(x, c2)));
		if (_mm_movemask_epi8(hit))
			break;
	}
#endif
	for (; p < e; p++)
		if (hm_control(p, e))
			return false;
	return true;
}
