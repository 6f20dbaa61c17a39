/*
 * xmlscan.c - a tag scanner
 */
#include "adapter/xmlscan.h"

#define MAX_DEPTH 32

enum tag_kind { TAG_OPEN, TAG_CLOSE, TAG_EMPTY, TAG_OTHER };
struct tag {
	enum tag_kind kind;
	struct hm_str name;
	const char *start, *end; /* '<' and behind '>' */
};

static const char *find(const char *p, const char *end, const char *what)
{
	ptrdiff_t at = hm_str_find(hm_str_n(p, (size_t)(end - p)), hm_str_c(what));

	return at < 0 ? NULL : p + at + strlen(what);
}

/* The next tag at or behind p: 1 found, 0 none left, -1 broken. */
static int next_tag(const char *p, const char *end, struct tag *t)
{
	const char *name;
	char quote = 0;

	while (p < end && *p != '<')
		p++;
	if (p >= end)
		return 0;
	t->start = p++;
	t->kind = TAG_OTHER;
	t->name = HM_STR("");
	if (p < end && *p == '!') {
		const char *close = ">";

		if (end - p >= 3 && memcmp(p, "!--", 3) == 0)
			close = "-->";
		else if (end - p >= 8 && memcmp(p, "![CDATA[", 8) == 0)
			close = "]]>";
		t->end = find(p, end, close);
		return t->end ? 1 : -1;
	}
	if (p < end && *p == '?') {
		t->end = find(p, end, "?>");
		return t->end ? 1 : -1;
	}
	t->kind = TAG_OPEN;
	if (p < end && *p == '/') {
		t->kind = TAG_CLOSE;
		p++;
	}
	name = p;
	while (p < end && *p != '>' && *p != '/' && *p != ' ' && *p != '\t' && *p != '\n' && *p != '\r')
		p++;
	t->name = hm_str_n(name, (size_t)(p - name));
	if (t->name.len == 0)
		return -1;
	for (; p < end; p++) {
		if (quote) {
			if (*p == quote)
				quote = 0;
		} else if (*p == '"' || *p == '\'') {
			quote = *p;
		} else if (*p == '>') {
			if (t->kind == TAG_OPEN && p[-1] == '/')
				t->kind = TAG_EMPTY;
			t->end = p + 1;
			return 1;
		}
	}
	return -1;
}

bool hm_xml_check(struct hm_str xml)
{
	struct hm_str open[MAX_DEPTH];
	const char *p = xml.p, *end = xml.p + xml.len;
	size_t depth = 0, roots = 0;
	struct tag t;
	int rc;

	if (xml.p == NULL || !hm_utf8_valid(xml))
		return false;
	while ((rc = next_tag(p, end, &t)) > 0) {
		p = t.end;
		if (t.kind == TAG_OPEN) {
			roots += depth == 0;
			if (depth == MAX_DEPTH)
				return false;
			open[depth++] = t.name;
		} else if (t.kind == TAG_EMPTY) {
			roots += depth == 0;
		} else if (t.kind == TAG_CLOSE && (depth == 0 || !hm_str_eq(open[--depth], t.name))) {
			return false;
		}
	}
	return rc == 0 && depth == 0 && roots == 1;
}

bool hm_xml_element(struct hm_str content, struct hm_str name, struct hm_str *content_r)
{
	const char *p = content.p, *end = content.p + content.len, *start = NULL;
	size_t depth = 0;
	struct tag t;

	while (next_tag(p, end, &t) > 0) {
		p = t.end;
		if (t.kind == TAG_EMPTY && depth == 0 && hm_str_eq(t.name, name)) {
			*content_r = HM_STR("");
			return true;
		}
		if (t.kind == TAG_OPEN) {
			if (depth++ == 0 && hm_str_eq(t.name, name))
				start = t.end;
		} else if (t.kind == TAG_CLOSE) {
			if (depth == 0)
				return false;
			if (--depth == 0 && start != NULL) {
				*content_r = hm_str_n(start, (size_t)(t.start - start));
				return true;
			}
		}
	}
	return false;
}

bool hm_xml_next(struct hm_str *content, struct hm_str *name_r, struct hm_str *inner_r)
{
	const char *p = content->p, *end = content->p + content->len, *start = NULL;
	size_t depth = 0;
	struct tag t;

	while (next_tag(p, end, &t) > 0) {
		p = t.end;
		if (depth == 0 && t.kind == TAG_EMPTY) {
			*name_r = t.name.p[t.name.len - 1] == '/' ? hm_str_n(t.name.p, t.name.len - 1)
								  : t.name;
			*inner_r = HM_STR("");
			*content = hm_str_n(p, (size_t)(end - p));
			return true;
		}
		if (t.kind == TAG_OPEN && depth++ == 0) {
			*name_r = t.name;
			start = t.end;
		} else if (t.kind == TAG_CLOSE && depth > 0 && --depth == 0) {
			*inner_r = hm_str_n(start, (size_t)(t.start - start));
			*content = hm_str_n(p, (size_t)(end - p));
			return true;
		}
	}
	*content = HM_STR("");
	return false;
}

static size_t entity(const char *p, const char *end, char *out, size_t *used)
{
	static const struct {
		const char *text;
		char c;
	} known[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};

	for (size_t i = 0; i < hm_countof(known); i++) {
		size_t n = strlen(known[i].text);

		if ((size_t)(end - p) >= n && memcmp(p, known[i].text, n) == 0) {
			*out = known[i].c;
			*used = n;
			return 1;
		}
	}
	*out = *p;
	*used = 1;
	return 1;
}

struct hm_str hm_xml_text(struct hm_str content, struct hm_arena *a)
{
	const char *p = content.p, *end = content.p + content.len;
	char *out, *o;
	struct tag t;

	if (content.len == 0 || (memchr(p, '&', content.len) == NULL && memchr(p, '<', content.len) == NULL))
		return content;
	out = o = hm_arena_alloc(a, content.len);
	if (out == NULL)
		return HM_STR("");
	while (p < end) {
		size_t used = 1;

		if (*p == '<' && next_tag(p, end, &t) > 0) {
			if (t.end - t.start >= 12 && memcmp(t.start, "<![CDATA[", 9) == 0) {
				memcpy(o, t.start + 9, (size_t)(t.end - t.start) - 12);
				o += t.end - t.start - 12;
			}
			p = t.end;
			continue;
		}
		if (*p == '&')
			o += entity(p, end, o, &used);
		else
			*o++ = *p;
		p += used;
	}
	return hm_str_n(out, (size_t)(o - out));
}
