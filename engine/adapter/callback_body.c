/*
 * callback_body.c - forms, multipart, XML
 */
#include "adapter/callback_body.h"

#include "adapter/xmlscan.h"

#define XML_DEPTH 32

void hm_cb_map_add(struct hm_cb_map *m, struct hm_str name, struct hm_val v)
{
	if (m->n == m->cap) {
		uint32_t cap = m->cap ? m->cap * 2 : 16;
		struct hm_pair *more = m->full || cap > HM_CB_FIELDS_MAX
					       ? NULL
					       : hm_arena_alloc(m->a, cap * sizeof(*more));

		if (more == NULL) {
			m->full = true;
			return;
		}
		if (m->n > 0)
			memcpy(more, m->v, m->n * sizeof(*more));
		m->v = more;
		m->cap = cap;
	}
	m->v[m->n++] = (struct hm_pair){.name = name, .v = v};
}

struct hm_val hm_cb_map_val(const struct hm_cb_map *m)
{
	return m->full ? HM_NONE : (struct hm_val){.t = HM_V_MAP, .n = m->n, .map = m->v};
}

/* -- forms ------------------------------------------------------------------------ */

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A percent sign that begins no escape stays what it is, as everywhere on the web. */
static struct hm_str decoded(struct hm_str s, struct hm_arena *a)
{
	char *p;
	size_t n = 0;

	if (hm_str_chr(s, '%') < 0 && hm_str_chr(s, '+') < 0)
		return s;
	p = hm_arena_alloc(a, s.len + 1);
	if (p == NULL)
		return HM_STR("");
	for (size_t i = 0; i < s.len; i++) {
		int hi = s.p[i] == '%' && i + 2 < s.len ? digit(s.p[i + 1]) : -1,
		    lo = hi >= 0 ? digit(s.p[i + 2]) : -1;

		if (lo >= 0) {
			p[n++] = (char)(hi * 16 + lo);
			i += 2;
		} else {
			p[n++] = s.p[i] == '+' ? ' ' : s.p[i];
		}
	}
	return hm_str_n(p, n);
}

struct hm_val hm_cb_form(struct hm_str text, struct hm_arena *a)
{
	struct hm_cb_map m = {.a = a};
	struct hm_str one;

	while (hm_str_split(&text, '&', &one)) {
		ptrdiff_t eq = hm_str_chr(one, '=');
		struct hm_str name = eq < 0 ? one : hm_str_n(one.p, (size_t)eq),
			      value = eq < 0 ? HM_STR("")
					     : hm_str_n(one.p + eq + 1, one.len - (size_t)eq - 1);

		if (one.len > 0)
			hm_cb_map_add(&m, decoded(name, a), hm_val_str(decoded(value, a)));
	}
	return hm_cb_map_val(&m);
}

/* -- MIME ------------------------------------------------------------------------- */

void hm_cb_split_head(struct hm_str text, struct hm_str *head_r, struct hm_str *body_r)
{
	size_t at = 0;

	while (at < text.len) {
		const char *nl = memchr(text.p + at, '\n', text.len - at);
		size_t end = nl ? (size_t)(nl - text.p) : text.len, len = end - at;

		if (len == 0 || (len == 1 && text.p[at] == '\r')) {
			*head_r = hm_str_n(text.p, at);
			*body_r = nl ? hm_str_n(nl + 1, text.len - end - 1) : HM_STR("");
			return;
		}
		at = nl ? end + 1 : text.len;
	}
	*head_r = text;
	*body_r = HM_STR("");
}

static struct hm_str line_of(struct hm_str *rest)
{
	struct hm_str line;

	(void)hm_str_split(rest, '\n', &line);
	if (line.len > 0 && line.p[line.len - 1] == '\r')
		line.len--;
	return line;
}

bool hm_cb_header(struct hm_str *rest, struct hm_str *name_r, struct hm_str *value_r, struct hm_arena *a)
{
	while (rest->len > 0) {
		struct hm_str line = line_of(rest);
		ptrdiff_t colon = hm_str_chr(line, ':');
		struct hm_buf b;

		if (colon <= 0 || line.p[0] == ' ' || line.p[0] == '\t')
			continue;
		*name_r = hm_str_trim(hm_str_n(line.p, (size_t)colon));
		*value_r = hm_str_trim(hm_str_n(line.p + colon + 1, line.len - (size_t)colon - 1));
		if (rest->len == 0 || (rest->p[0] != ' ' && rest->p[0] != '\t'))
			return true;
		hm_buf_init_arena(&b, a, 64u << 10);
		hm_buf_puts(&b, *value_r);
		while (rest->len > 0 && (rest->p[0] == ' ' || rest->p[0] == '\t')) {
			hm_buf_putc(&b, ' ');
			hm_buf_puts(&b, hm_str_trim(line_of(rest)));
		}
		if (b.err == 0)
			*value_r = hm_buf_str(&b);
		return true;
	}
	return false;
}

struct hm_str hm_cb_param(struct hm_str header, const char *name)
{
	ptrdiff_t semi = hm_str_chr(header, ';');

	while (semi >= 0) {
		struct hm_str v;
		ptrdiff_t eq;
		size_t end = 0;

		header = hm_str_n(header.p + semi + 1, header.len - (size_t)semi - 1);
		eq = hm_str_chr(header, '=');
		if (eq < 0)
			return HM_STR("");
		v = hm_str_n(header.p + eq + 1, header.len - (size_t)eq - 1);
		if (hm_str_ieq(hm_str_trim(hm_str_n(header.p, (size_t)eq)), hm_str_c(name))) {
			v = hm_str_trim(v);
			if (v.len > 0 && v.p[0] == '"') {
				v = hm_str_n(v.p + 1, v.len - 1);
				semi = hm_str_chr(v, '"');
				return semi < 0 ? HM_STR("") : hm_str_n(v.p, (size_t)semi);
			}
			while (end < v.len && v.p[end] != ';' && v.p[end] != ' ')
				end++;
			return hm_str_n(v.p, end);
		}
		semi = hm_str_chr(header, ';');
	}
	return HM_STR("");
}

/* Where a line "--boundary" begins; -1: nowhere. *after_r: behind it, *last_r: it ends the body. */
static ptrdiff_t boundary_at(struct hm_str s, struct hm_str boundary, size_t *after_r, bool *last_r)
{
	for (size_t at = 0; at < s.len;) {
		const char *nl = memchr(s.p + at, '\n', s.len - at);
		size_t end = nl ? (size_t)(nl - s.p) : s.len;
		struct hm_str line = hm_str_n(s.p + at, end - at);

		if (line.len >= boundary.len + 2 && line.p[0] == '-' && line.p[1] == '-' &&
		    memcmp(line.p + 2, boundary.p, boundary.len) == 0) {
			struct hm_str tail = hm_str_trim(
				hm_str_n(line.p + 2 + boundary.len, line.len - 2 - boundary.len));

			if (tail.len == 0 || hm_str_is(tail, "--")) {
				*after_r = nl ? end + 1 : s.len;
				*last_r = tail.len > 0;
				return (ptrdiff_t)at;
			}
		}
		at = nl ? end + 1 : s.len;
	}
	return -1;
}

bool hm_cb_part(struct hm_str *rest, struct hm_str boundary, struct hm_str *part_r)
{
	size_t after, behind;
	bool last;
	ptrdiff_t at, end;

	if (boundary.len == 0 || boundary.len > 70)
		return false;
	at = boundary_at(*rest, boundary, &after, &last);
	if (at < 0 || last)
		return false;
	*rest = hm_str_n(rest->p + after, rest->len - after);
	end = boundary_at(*rest, boundary, &behind, &last);
	*part_r = end < 0 ? *rest : hm_str_n(rest->p, (size_t)end);
	if (end > 0 && part_r->p[part_r->len - 1] == '\n')
		part_r->len--;
	if (end > 0 && part_r->len > 0 && part_r->p[part_r->len - 1] == '\r')
		part_r->len--;
	*rest = end < 0 ? HM_STR("") : hm_str_n(rest->p + end, rest->len - (size_t)end);
	return true;
}

struct hm_val hm_cb_multipart(struct hm_str body, struct hm_str content_type, struct hm_arena *a)
{
	struct hm_str boundary = hm_cb_param(content_type, "boundary"), part;
	struct hm_cb_map m = {.a = a};
	bool any = false;

	while (hm_cb_part(&body, boundary, &part)) {
		struct hm_str head, text, name, value, field = HM_STR("");

		any = true;
		hm_cb_split_head(part, &head, &text);
		while (hm_cb_header(&head, &name, &value, a))
			if (hm_str_ieq(name, HM_STR("content-disposition")))
				field = hm_cb_param(value, "name");
		if (field.len > 0)
			hm_cb_map_add(&m, field, hm_val_str(text));
	}
	return any ? hm_cb_map_val(&m) : HM_NONE;
}

/* -- XML -------------------------------------------------------------------------- */

struct xml {
	struct hm_arena *a;
	uint32_t elements;
};

/* A name that is there already: its value becomes a list. */
static void add_child(struct xml *x, struct hm_cb_map *m, struct hm_str name, struct hm_val v)
{
	struct hm_val *list;

	for (uint32_t i = 0; i < m->n; i++) {
		struct hm_val *old = &m->v[i].v;
		uint32_t n = old->t == HM_V_LIST ? old->n : 1;

		if (!hm_str_eq(m->v[i].name, name))
			continue;
		if (old->t == HM_V_LIST && (n & (n - 1)) != 0) { /* room for the next power of two */
			list = (struct hm_val *)(uintptr_t)old->list;
		} else {
			list = hm_arena_alloc(x->a, 2 * (size_t)n * sizeof(*list));
			if (list == NULL) {
				m->full = true;
				return;
			}
			memcpy(list, old->t == HM_V_LIST ? old->list : old, n * sizeof(*list));
		}
		list[n] = v;
		*old = (struct hm_val){.t = HM_V_LIST, .n = n + 1, .list = list};
		return;
	}
	hm_cb_map_add(m, name, v);
}

static struct hm_val xml_value(struct xml *x, struct hm_str content, int depth)
{
	struct hm_cb_map m = {.a = x->a};
	struct hm_str rest = content, name, inner;
	bool any = false;

	while (hm_xml_next(&rest, &name, &inner)) {
		if (x->elements++ >= HM_CB_FIELDS_MAX || depth >= XML_DEPTH)
			return HM_NONE;
		any = true;
		add_child(x, &m, name, xml_value(x, inner, depth + 1));
	}
	return any ? hm_cb_map_val(&m) : hm_val_str(hm_xml_text(content, x->a));
}

struct hm_val hm_cb_xml(struct hm_str text, struct hm_arena *a)
{
	struct xml x = {.a = a};
	struct hm_str name, inner;

	if (!hm_xml_check(text) || !hm_xml_next(&text, &name, &inner))
		return HM_NONE;
	return xml_value(&x, inner, 0);
}
