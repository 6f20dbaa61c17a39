/*
 * link.c - a document against the others: its fragments, and with them what its texts use
 *
 * One walk: from each text to the fragments it includes, from those to theirs. On the way it is seen
 * whether they exist, whether their format is that of the text they go into, whether the walk comes round to
 * where it was, and which names all of them ask the data for.
 */
#include "content/content_int.h"

struct seen {
	struct seen *next;
	const struct hm_template *t;
};
struct linking {
	struct reading *r;
	const struct hm_template_set *with;
	bool *used, *fact_used;
	bool incomplete; /* a fragment could not be looked into */
	const struct place *at;
	struct {
		struct hm_str name;
		const struct hm_template *t;
	} stack[INCLUDE_MAX_PATH];
	size_t depth;
	struct seen *seen; /* fragments looked through from this text */
};

struct hm_str hm_include_resolve(struct hm_str base, struct hm_str name, struct hm_arena *a)
{
	struct hm_str rest, part;
	char *out = hm_arena_alloc(a, base.len + name.len + 1), *end = out;

	if (out == NULL)
		return HM_STR("");
	if (!hm_str_starts(name, HM_STR("/")))
		for (size_t i = base.len; i > 0; i--)
			if (base.p[i - 1] == '/') {
				memcpy(out, base.p, i - 1);
				end = out + i - 1;
				break;
			}
	rest = name;
	while (hm_str_split(&rest, '/', &part)) {
		if (part.len == 0 || hm_str_is(part, "."))
			continue;
		if (hm_str_is(part, "..")) {
			if (end == out)
				return HM_STR("");
			while (end > out && end[-1] != '/')
				end--;
			if (end > out)
				end--;
			continue;
		}
		if (end > out)
			*end++ = '/';
		memcpy(end, part.p, part.len);
		end += part.len;
	}
	return hm_str_n(out, (size_t)(end - out));
}

/* -- names -------------------------------------------------------------------------------------------------- */

static void use_fact(struct linking *l, struct hm_str path, int line, const char *whose)
{
	const struct hm_template *t = l->r->t;
	struct hm_str rest = path, root, name = HM_STR("");

	(void)hm_str_split(&rest, '.', &root);
	(void)hm_str_split(&rest, '.', &name);
	for (size_t i = 0; i < t->n_facts; i++) {
		if (name.len > 0 && !hm_str_eq(name, t->facts[i].name))
			continue;
		l->fact_used[i] = true;
		if (name.len > 0)
			return;
	}
	if (name.len > 0)
		hm_doc_fail_in(l->r, l->at->n, line, l->at->path,
			       "%s\"%.*s\" is used, but there is no \"%.*s\" under facts", whose,
			       HM_STRF(path), HM_STRF(name));
}

/* of: the fragment that uses it, NULL: the document's own text. */
static void use(struct linking *l, const struct hm_template *of, const struct hm_tmpl_field *f)
{
	const struct hm_template *t = l->r->t;
	struct hm_str whose = HM_STR("");
	enum field_match m;
	const char *near;
	size_t at = 0;
	int line = of == NULL ? f->line : 0;

	if (of != NULL)
		whose = hm_arena_printf(&l->r->tmp, "the fragment \"%.*s\": ", HM_STRF(of->name));
	if (t->n_facts > 0 && hm_str_starts(f->path, HM_STR("facts")) &&
	    (f->path.len == 5 || f->path.p[5] == '.')) {
		use_fact(l, f->path, line, whose.p ? whose.p : "");
		return;
	}
	if (!t->declares)
		return;
	m = hm_fields_match(t, f->path, l->used, &at);
	if (m == FIELD_KNOWN ||
	    (of != NULL && of->declares && hm_fields_match(of, f->path, NULL, &at) == FIELD_KNOWN))
		return;
	if (m == FIELD_NO_MAP) {
		hm_doc_fail_in(l->r, l->at->n, line, l->at->path,
			       "%.*s\"%.*s\" is used, but the field \"%.*s\" is %s", HM_STRF(whose),
			       HM_STRF(f->path), HM_STRF(t->fields[at].name),
			       hm_field_type_text(t->fields[at].type));
		return;
	}
	near = hm_field_nearest(t, f->path, &l->r->tmp);
	hm_doc_fail_in(l->r, l->at->n, line, l->at->path,
		       "%.*s\"%.*s\" is used, but not declared under fields%s%s%s", HM_STRF(whose),
		       HM_STRF(f->path), near ? "; did you mean \"" : "", near ? near : "",
		       near ? "\"?" : "");
}

static const char *format_name(enum hm_tmpl_format f)
{
	switch (f) {
	case HM_TMPL_PLAIN: return "plain";
	case HM_TMPL_HTML: return "html";
	case HM_TMPL_XML: return "xml";
	case HM_TMPL_JSON: return "json";
	case HM_TMPL_MARKDOWN: return "markdown";
	}
	return "?";
}

/* -- the walk -------------------------------------------------------------------------------------------------- */

static void walk(struct linking *l, const struct hm_template *of, const struct hm_tmpl *t,
		 struct hm_str base);

static bool going_round(struct linking *l, struct hm_str name, const struct hm_template *t)
{
	struct hm_buf b;
	size_t i = 0;

	while (i < l->depth && l->stack[i].t != t)
		i++;
	if (i == l->depth)
		return false;
	hm_buf_init_arena(&b, &l->r->tmp, 4096);
	for (; i < l->depth; i++) {
		hm_buf_puts(&b, l->stack[i].name);
		hm_buf_lit(&b, " -> ");
	}
	hm_buf_puts(&b, name);
	hm_doc_fail(l->r, l->at->n, false, l->at->path, "the includes go round in a circle: %.*s",
		    HM_STRF(hm_buf_str(&b)));
	return true;
}

static bool is_self(const struct hm_template *t, struct hm_str name)
{
	ptrdiff_t at = -1;
	uint64_t v;

	for (size_t i = 0; i < name.len; i++)
		if (name.p[i] == '@')
			at = (ptrdiff_t)i;
	if (at < 0)
		return hm_str_eq(name, t->name);
	return hm_str_eq(hm_str_n(name.p, (size_t)at), t->name) &&
	       hm_str_u64(hm_str_n(name.p + at + 1, name.len - (size_t)at - 1), &v) && v == t->version;
}

static void include(struct linking *l, struct hm_str written, struct hm_str base, enum hm_tmpl_format format)
{
	struct hm_str name = hm_include_resolve(base, written, &l->r->tmp);
	const struct hm_template *t;
	struct hm_err e = {0};

	if (name.len == 0) {
		hm_doc_fail(l->r, l->at->n, false, l->at->path, "the include \"%.*s\" leads nowhere",
			    HM_STRF(written));
		return;
	}
	if (is_self(l->r->t, name)) {
		if (l->r->t->fragment || l->depth > 1) {
			(void)going_round(l, name, l->r->t);
			return;
		}
		t = l->r->t;
	} else {
		t = hm_template_find(l->with, name, &e);
	}
	if (t == NULL) {
		const char *from = l->depth > 1 ? " (included by " : "";

		hm_doc_fail(l->r, l->at->n, false, l->at->path, "the included fragment: %s%s%.*s%s", e.text,
			    from, HM_STRF(l->depth > 1 ? l->stack[l->depth - 1].name : HM_STR("")),
			    *from ? ")" : "");
		l->incomplete = true;
		return;
	}
	if (!t->fragment) {
		hm_doc_fail(l->r, l->at->n, false, l->at->path,
			    "\"%.*s\" is a message and cannot be included; fragments say kind: fragment",
			    HM_STRF(name));
		return;
	}
	if (hm_tmpl_format(t->text.tmpl) != format) {
		hm_doc_fail(l->r, l->at->n, false, l->at->path,
			    "the fragment \"%.*s\" is %s, the text it goes into is %s: their formats must be "
			    "the same",
			    HM_STRF(name), format_name(hm_tmpl_format(t->text.tmpl)), format_name(format));
		return;
	}
	if (going_round(l, name, t))
		return;
	for (const struct seen *s = l->seen; s != NULL; s = s->next)
		if (s->t == t)
			return;
	if (l->depth == INCLUDE_MAX_PATH) {
		hm_doc_fail(l->r, l->at->n, false, l->at->path, "fragments are nested deeper than %d",
			    INCLUDE_MAX_PATH);
		return;
	}
	l->stack[l->depth].name = name;
	l->stack[l->depth++].t = t;
	walk(l, t, t->text.tmpl, name);
	l->depth--;
	{
		struct seen *s = hm_arena_alloc(&l->r->tmp, sizeof(*s));

		if (s != NULL) {
			*s = (struct seen){.next = l->seen, .t = t};
			l->seen = s;
		}
	}
}

static void walk(struct linking *l, const struct hm_template *of, const struct hm_tmpl *t, struct hm_str base)
{
	const struct hm_tmpl_field *f;
	const struct hm_str *names;
	size_t n = hm_tmpl_fields(t, &f);

	for (size_t i = 0; i < n; i++)
		use(l, of, &f[i]);
	n = hm_tmpl_includes(t, &names);
	if (n > 0 && l->with == NULL) {
		l->incomplete = true;
		return;
	}
	for (size_t i = 0; i < n; i++)
		include(l, names[i], base, hm_tmpl_format(t));
}

static const struct hm_yaml *declared(struct reading *r, const char *section, struct hm_str name)
{
	const struct hm_yaml *n = hm_yaml_get(r->root, section);

	for (n = n == NULL ? NULL : n->first; n != NULL && !hm_str_eq(n->key, name); n = n->next)
		;
	return n;
}

void hm_doc_link(struct reading *r, const struct hm_template_set *with)
{
	struct linking l = {.r = r, .with = with};
	const struct hm_template *t = r->t;

	if (r->errors > 0)
		return;
	l.used = hm_arena_zalloc(&r->tmp, t->n_fields + 1);
	l.fact_used = hm_arena_zalloc(&r->tmp, t->n_facts + 1);
	if (l.used == NULL || l.fact_used == NULL) {
		hm_doc_fail(r, NULL, false, "", "out of memory");
		return;
	}
	for (const struct place *p = r->places; p != NULL; p = p->next) {
		l.at = p;
		l.seen = NULL;
		l.depth = 1;
		l.stack[0].name = t->name;
		l.stack[0].t = t;
		walk(&l, NULL, p->t, t->name);
	}
	if (l.incomplete)
		return;
	for (size_t i = 0; i < t->n_fields; i++)
		if (!l.used[i])
			hm_doc_fail(r, declared(r, "fields", t->fields[i].name), true,
				    hm_doc_path(r, "fields", t->fields[i].name),
				    "is declared, but no text uses it");
	for (size_t i = 0; i < t->n_facts; i++)
		if (!l.fact_used[i])
			hm_doc_fail(r, declared(r, "facts", t->facts[i].name), true,
				    hm_doc_path(r, "facts", t->facts[i].name),
				    "is declared, but no text uses it");
}
