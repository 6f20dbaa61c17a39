/*
 * document.c - a document from its text to a template
 */
#include <stdio.h>
#include <stdlib.h>

#include "content/content_int.h"

#define LOCALES_MAX 200

/* What one place of the document gives: the base, a locale, a medium of either. */
struct layer {
	struct hm_template_text text[T_COUNT];
	struct tree tree[V_COUNT];
};
struct layers {
	struct layers *next; /* locales, in the order of the document */
	const struct hm_yaml *n;
	struct hm_str tag;
	struct layer own, *media[HM_MED_COUNT];
	bool anything;
};

/* -- the object -------------------------------------------------------------------------------------- */

static struct hm_template *template_new(struct hm_str name, uint32_t version, struct hm_str source)
{
	struct hm_template *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	HM_MAGIC_SET(t, HM_TEMPLATE_MAGIC);
	atomic_init(&t->refs, 1);
	hm_arena_init(&t->own, NULL, 0);
	t->mem = &t->own;
	t->version = version;
	t->checked = true;
	t->name = name.len ? hm_arena_str(t->mem, name) : HM_STR("");
	t->source = source.len ? hm_arena_str(t->mem, source) : HM_STR("");
	if (t->name.p == NULL || t->source.p == NULL) {
		hm_template_unref(t);
		return NULL;
	}
	return t;
}

struct hm_template *hm_template_ref(struct hm_template *t)
{
	HM_CHECK(t, HM_TEMPLATE_MAGIC);
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

void hm_template_unref(struct hm_template *t)
{
	if (t == NULL)
		return;
	HM_CHECK(t, HM_TEMPLATE_MAGIC);
	if (atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
		return;
	hm_programs_free(t);
	HM_MAGIC_CLEAR(t);
	if (t->on_arena)
		return;
	hm_arena_fini(&t->own);
	free(t);
}

struct hm_str hm_template_name(const struct hm_template *t)
{
	return t->name;
}

uint32_t hm_template_version(const struct hm_template *t)
{
	return t->version;
}

struct hm_str hm_template_source(const struct hm_template *t)
{
	return t->source;
}

struct hm_str hm_template_description(const struct hm_template *t)
{
	return t->description;
}

bool hm_template_is_fragment(const struct hm_template *t)
{
	return t->fragment;
}

bool hm_template_name_ok(struct hm_str name)
{
	bool first = true; /* of a part */

	if (name.len == 0 || name.len > HM_TEMPLATE_MAX_NAME || !hm_utf8_valid(name))
		return false;
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.p[i];

		if (c <= ' ' || c == 0x7f || c == '@' || (first && (c == '/' || c == '.')))
			return false;
		first = c == '/';
	}
	return !first;
}

/* -- reading ----------------------------------------------------------------------------------------- */

static void remember(struct reading *r, const struct hm_tmpl *t, const struct hm_yaml *n, const char *path)
{
	struct place *p, **at = &r->places;

	if (t == NULL)
		return;
	p = hm_arena_zalloc(&r->tmp, sizeof(*p));
	if (p == NULL) {
		hm_doc_fail(r, n, false, path, "out of memory");
		return;
	}
	*p = (struct place){.t = t, .n = n, .path = path};
	while (*at != NULL)
		at = &(*at)->next;
	*at = p;
}

/* What the compiler found wrong, at the line of the file where that is known. */
static void fail_compile(struct reading *r, const struct hm_yaml *n, const char *path, const struct hm_err *e)
{
	if (e->line > 1 && !n->literal)
		hm_doc_fail_in(r, n, e->line, path, "%s (line %d of the text)", e->text, e->line);
	else
		hm_doc_fail_in(r, n, e->line, path, "%s", e->text);
}

void hm_doc_read_text(struct reading *r, const struct hm_yaml *n, const char *path,
		      const struct hm_tmpl_opts *o, struct hm_template_text *x)
{
	struct hm_err e = {0};
	struct hm_str hole;

	if (n->type != HM_YAML_SCALAR) {
		hm_doc_fail(r, n, false, path, "expected text, found %s", hm_yaml_type_name(n));
		return;
	}
	if (hm_text_add(r->t, x, n->text, o, &e) != 0) {
		fail_compile(r, n, path, &e);
		return;
	}
	remember(r, x->tmpl, n, path);
	if (x->tmpl != NULL)
		return;
	if (x->literal.len > 0 && hm_text_blank(x->literal))
		hm_doc_fail(r, n, false, path, "there is nothing but white space in it");
	else if (hm_hole_find(x->literal, o->single_brace, &hole))
		hm_doc_fail(r, n, false, path, "a placeholder would be left over: %.*s", HM_STRF(hole));
}

static void read_tree(struct reading *r, const struct hm_yaml *n, const char *path,
		      const struct hm_tmpl_opts *o, enum tree_member m, struct tree *tree)
{
	const msgpack_object *v;
	struct hm_err e = {0};

	if (n->type != (m == V_BUTTONS ? HM_YAML_SEQ : HM_YAML_MAP)) {
		hm_doc_fail(r, n, false, path, "expected %s, found %s", m == V_BUTTONS ? "a list" : "a map",
			    hm_yaml_type_name(n));
		return;
	}
	v = hm_doc_value(r, n, path);
	if (v == NULL)
		return;
	if (m == V_BUTTONS && hm_buttons_check(v, &e) != 0) {
		hm_doc_fail(r, n, false, path, "%s", e.text);
		return;
	}
	if (hm_tree_add(r->t, tree, v, o, &e) != 0) {
		hm_doc_fail(r, n, false, path, "%s", e.text);
		return;
	}
	for (size_t i = 0; i < tree->n_texts; i++) {
		struct hm_str hole;

		remember(r, tree->texts[i].text.tmpl, n, path);
		if (tree->texts[i].text.tmpl == NULL &&
		    hm_hole_find(tree->texts[i].text.literal, o->single_brace, &hole))
			hm_doc_fail(r, n, false, path, "a placeholder would be left over: %.*s",
				    HM_STRF(hole));
	}
}

struct formats { /* of the texts, and of everything else */
	struct hm_tmpl_opts text, plain;
};

static void read_members(struct reading *r, const struct hm_yaml *map, const char *path,
			 const struct formats *f, struct layers *ls, struct layer *l)
{
	for (int i = 0; i < T_COUNT; i++) {
		const struct hm_yaml *n = hm_yaml_get(map, hm_text_names[i]);

		if (n == NULL)
			continue;
		ls->anything = true;
		hm_doc_read_text(r, n, hm_doc_path(r, path, n->key),
				 i == T_BODY || i == T_SHORT ? &f->text : &f->plain, &l->text[i]);
	}
	for (int i = 0; i < V_COUNT; i++) {
		const struct hm_yaml *n = hm_yaml_get(map, hm_tree_names[i]);

		if (n == NULL)
			continue;
		ls->anything |= i == V_DATA;
		read_tree(r, n, hm_doc_path(r, path, n->key), &f->plain, (enum tree_member)i, &l->tree[i]);
	}
}

static bool is_map(struct reading *r, const struct hm_yaml *n, const char *path)
{
	if (n->type == HM_YAML_MAP)
		return true;
	hm_doc_fail(r, n, false, path, "expected a map, found %s", hm_yaml_type_name(n));
	return false;
}

static void read_media(struct reading *r, const struct hm_yaml *map, const char *path,
		       const struct formats *f, struct layers *ls)
{
	static const char *const keys[] = {"title",   "body", "short",	 "url", "image",
					   "options", "data", "buttons", NULL};
	const char *names[HM_MED_COUNT + 1] = {NULL};

	if (!is_map(r, map, path))
		return;
	for (int m = 0; m < HM_MED_COUNT; m++)
		names[m] = hm_medium_name((enum hm_medium)m);
	for (const struct hm_yaml *c = map->first; c != NULL; c = c->next) {
		const char *sub = hm_doc_path(r, path, c->key), *near;
		int m = hm_medium_find(c->key);

		if (m < 0) {
			near = hm_str_nearest(c->key, names);
			hm_doc_fail(r, c, true, path, "\"%.*s\" is not a medium%s%s%s", HM_STRF(c->key),
				    near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
			continue;
		}
		if (!is_map(r, c, sub))
			continue;
		hm_doc_known(r, c, sub, keys);
		ls->media[m] = hm_arena_zalloc(&r->tmp, sizeof(*ls->media[m]));
		if (ls->media[m] == NULL) {
			hm_doc_fail(r, c, false, sub, "out of memory");
			return;
		}
		read_members(r, c, sub, f, ls, ls->media[m]);
	}
}

static void read_layers(struct reading *r, const struct hm_yaml *map, const char *path,
			const struct formats *f, struct layers *ls)
{
	const struct hm_yaml *media = hm_yaml_get(map, "media");

	ls->n = map;
	read_members(r, map, path, f, ls, &ls->own);
	if (media != NULL)
		read_media(r, media, hm_doc_path(r, path, media->key), f, ls);
}

static void read_locales(struct reading *r, const struct hm_yaml *map, const struct formats *f,
			 struct layers *base)
{
	static const char *const keys[] = {"title",   "body", "short",	 "url",	  "image",
					   "options", "data", "buttons", "media", NULL};
	struct layers **at = &base->next;

	if (!is_map(r, map, "locales"))
		return;
	if (map->len > LOCALES_MAX) {
		hm_doc_fail(r, map, false, "locales", "%zu locales; at most %d are possible", map->len,
			    LOCALES_MAX);
		return;
	}
	for (const struct hm_yaml *c = map->first; c != NULL; c = c->next) {
		const char *path = hm_doc_path(r, "locales", c->key);
		struct layers *ls;

		if (!hm_locale_ok(c->key)) {
			hm_doc_fail(r, c, true, path, "this is not a locale, such as en or zh-CN");
			continue;
		}
		for (ls = base->next; ls != NULL && !hm_locale_eq(ls->tag, c->key); ls = ls->next)
			;
		if (ls != NULL) {
			hm_doc_fail(r, c, true, path, "this locale stands here twice");
			continue;
		}
		if (!is_map(r, c, path))
			continue;
		hm_doc_known(r, c, path, keys);
		ls = hm_arena_zalloc(&r->tmp, sizeof(*ls));
		if (ls == NULL) {
			hm_doc_fail(r, c, false, path, "out of memory");
			return;
		}
		ls->tag = c->key;
		read_layers(r, c, path, f, ls);
		*at = ls;
		at = &ls->next;
	}
}

/* -- merging ------------------------------------------------------------------------------------------ */

static const struct layers *find_layers(const struct layers *base, struct hm_str tag)
{
	for (const struct layers *l = base; l != NULL; l = l->next)
		if (l->tag.len > 0 && hm_locale_eq(l->tag, tag))
			return l;
	return NULL;
}

/* The locale, those it is a part of (en-GB: en), the base. */
static size_t chain_of(const struct layers *base, const struct layers *l, const struct layers *v[],
		       size_t max)
{
	size_t n = 0;

	v[n++] = l;
	for (struct hm_str tag = hm_locale_parent(l->tag); tag.len > 0 && n + 1 < max;
	     tag = hm_locale_parent(tag)) {
		const struct layers *p = find_layers(base, tag);

		if (p != NULL && p != base)
			v[n++] = p;
	}
	if (l != base)
		v[n++] = base;
	return n;
}

static void merge(const struct layers *const *chain, size_t n, int medium, struct variant *v)
{
	for (size_t c = n; c > 0; c--) { /* the weakest first */
		const struct layer *l[2] = {&chain[c - 1]->own,
					    medium < 0 ? NULL : chain[c - 1]->media[medium]};

		for (int k = 0; k < 2; k++) {
			for (int i = 0; l[k] != NULL && i < T_COUNT; i++)
				if (l[k]->text[i].given)
					v->text[i] = l[k]->text[i];
			for (int i = 0; l[k] != NULL && i < V_COUNT; i++)
				if (l[k]->tree[i].o != NULL)
					v->tree[i] = l[k]->tree[i];
		}
	}
	for (int i = 0; i < T_COUNT; i++) /* "" takes a member away */
		if (v->text[i].tmpl == NULL && v->text[i].literal.len == 0)
			v->text[i].given = false;
	v->literal = hm_variant_literal(v);
}

static bool merge_locale(struct reading *r, const struct layers *base, const struct layers *l,
			 struct locale *out)
{
	const struct layers *chain[12];
	size_t n = chain_of(base, l, chain, hm_countof(chain));
	struct variant *shared = hm_arena_zalloc(r->t->mem, sizeof(*shared));

	out->tag = l->tag.len ? hm_arena_str(r->t->mem, l->tag) : HM_STR("");
	if (shared == NULL || out->tag.p == NULL)
		return false;
	merge(chain, n, -1, shared);
	for (int m = 0; m < HM_MED_COUNT; m++) {
		bool differs = false;
		struct variant *v;

		out->v[m] = shared;
		for (size_t i = 0; i < n; i++)
			differs |= chain[i]->media[m] != NULL;
		if (!differs)
			continue;
		v = hm_arena_zalloc(r->t->mem, sizeof(*v));
		if (v == NULL)
			return false;
		merge(chain, n, m, v);
		out->v[m] = v;
	}
	return true;
}

static void merge_all(struct reading *r, const struct layers *base)
{
	struct hm_template *t = r->t;
	size_t n = 0;

	for (const struct layers *l = base; l != NULL; l = l->next)
		n++;
	t->loc = hm_arena_zalloc(t->mem, n * sizeof(*t->loc));
	for (const struct layers *l = base; l != NULL && t->loc != NULL; l = l->next)
		if (!merge_locale(r, base, l, &t->loc[t->n_loc++]))
			t->loc = NULL;
	if (t->loc == NULL)
		hm_doc_fail(r, NULL, false, "", "out of memory");
}

/* -- the document ------------------------------------------------------------------------------------- */

static void read_format(struct reading *r, const struct hm_yaml *root, struct formats *f)
{
	const struct hm_yaml *n = hm_yaml_get(root, "format");

	f->plain = (struct hm_tmpl_opts){
		.format = HM_TMPL_PLAIN, .single_brace = r->t->single_brace, .name = r->t->name};
	f->text = f->plain;
	if (n == NULL)
		return;
	if (n->type != HM_YAML_SCALAR || !hm_tmpl_format_by_name(n->text, &f->text.format)) {
		hm_doc_fail(r, n, false, "format", "must be plain, markdown, html, json or xml");
		return;
	}
	if (f->text.format == HM_TMPL_HTML)
		r->t->format = HM_TEXT_HTML;
	else if (f->text.format == HM_TMPL_MARKDOWN)
		r->t->format = HM_TEXT_MARKDOWN;
}

static void read_description(struct reading *r, const struct hm_yaml *root)
{
	const struct hm_yaml *n = hm_yaml_get(root, "description");

	if (n == NULL || n->type == HM_YAML_NULL)
		return;
	if (n->type != HM_YAML_SCALAR)
		hm_doc_fail(r, n, false, "description", "expected text, found %s", hm_yaml_type_name(n));
	else if (n->text.len > 0)
		r->t->description = hm_arena_str(r->t->mem, n->text);
}

static void read_default_locale(struct reading *r, const struct hm_yaml *root, struct layers *base)
{
	const struct hm_yaml *n = hm_yaml_get(root, "default_locale");
	const struct layers *same = NULL;

	if (n == NULL) {
		base->tag = r->o->settings->templates.default_locale;
		for (const struct layers *l = base->next; l != NULL; l = l->next)
			if (hm_locale_eq(l->tag,
					 base->tag)) /* given under locales: then the base is in another */
				base->tag = HM_STR("");
		return;
	}
	if (n->type != HM_YAML_SCALAR || !hm_locale_ok(n->text)) {
		hm_doc_fail(r, n, false, "default_locale", "expected a locale, such as en or zh-CN");
		return;
	}
	for (const struct layers *l = base->next; l != NULL; l = l->next)
		if (hm_locale_eq(l->tag, n->text))
			same = l;
	if (same != NULL)
		hm_doc_fail(r, same->n, true, "locales",
			    "%.*s is the default_locale: its texts stand outside of locales",
			    HM_STRF(same->tag));
	base->tag = n->text;
}

static void read_message(struct reading *r, const struct hm_yaml *root)
{
	static const char *const keys[] = {"kind",	     "format", "description", "fields", "facts",
					   "title",	     "body",   "short",	      "url",	"image",
					   "options",	     "data",   "buttons",     "media",	"locales",
					   "default_locale", NULL};
	const struct hm_yaml *locales = hm_yaml_get(root, "locales"), *n;
	struct layers base = {.tag = HM_STR_INIT("")};
	struct formats f;

	hm_doc_known(r, root, "", keys);
	read_format(r, root, &f);
	read_layers(r, root, "", &f, &base);
	if (locales != NULL)
		read_locales(r, locales, &f, &base);
	read_default_locale(r, root, &base);
	if ((n = hm_yaml_get(root, "fields")) != NULL)
		hm_fields_read(r, n);
	if ((n = hm_yaml_get(root, "facts")) != NULL)
		hm_facts_read(r, n, &f.plain);
	if (r->errors == 0 && !base.anything)
		hm_doc_fail(r, root, false, "",
			    "has nothing to send: give title, body, short, url, image or data");
	if (r->errors == 0)
		merge_all(r, &base);
}

static void read_fragment(struct reading *r, const struct hm_yaml *root)
{
	static const char *const keys[] = {"kind", "format", "description", "fields", "text", NULL};
	const struct hm_yaml *n = hm_yaml_get(root, "text");
	struct formats f;

	hm_doc_known(r, root, "", keys);
	read_format(r, root, &f);
	if (n == NULL)
		hm_doc_fail(r, root, false, "", "a fragment needs a text");
	else if (n->type != HM_YAML_SCALAR)
		hm_doc_fail(r, n, false, "text", "expected text, found %s", hm_yaml_type_name(n));
	else {
		struct hm_err e = {0};

		if (hm_text_add(r->t, &r->t->text, n->text, &f.text, &e) != 0) {
			fail_compile(r, n, "text", &e);
		} else if (r->t->programs == NULL) {
			hm_doc_fail(r, n, false, "text", "is empty");
		} else {
			r->t->text.tmpl = r->t->programs
						  ->t; /* included as a program even when it is all text */
			remember(r, r->t->text.tmpl, n, "text");
		}
	}
	if ((n = hm_yaml_get(root, "fields")) != NULL)
		hm_fields_read(r, n);
}

int hm_doc_open(struct hm_str name, uint32_t version, struct hm_str text, const char *file,
		const struct hm_template_opts *o, hm_report_fn report, void *arg, struct reading **r_r)
{
	struct reading *r = calloc(1, sizeof(*r));
	const struct hm_yaml *kind;
	struct hm_yaml *root;
	struct hm_err e = {0};

	if (r == NULL || (r->t = template_new(name, version, text)) == NULL) {
		free(r);
		hm_err_set(&e, HM_ENOMEM, "out of memory");
		report(arg, &e);
		return HM_ENOMEM;
	}
	r->o = o;
	r->report = report;
	r->arg = arg;
	hm_arena_init(&r->tmp, NULL, 0);
	r->file = hm_arena_strdup(&r->tmp, hm_str_c(file));
	if (r->file == NULL)
		r->file = "";
	r->t->single_brace = o->settings->templates.single_brace;
	r->t->wrap = o->wrap;
	*r_r = r;
	if (!hm_template_name_ok(name)) {
		hm_doc_fail(r, NULL, false, "",
			    "\"%.*s\" cannot be the name of a template: " HM_TEMPLATE_NAME_RULE,
			    HM_STRF(name));
		return 0;
	}
	if (hm_doc_parse(r, text, &root) != 0)
		return 0;
	r->root = root;
	if (root->type != HM_YAML_MAP) {
		hm_doc_fail(r, root, false, "", "a template is a map with title, body, ...; found %s",
			    hm_yaml_type_name(root));
		return 0;
	}
	kind = hm_yaml_get(root, "kind");
	if (kind != NULL && !(kind->type == HM_YAML_SCALAR &&
			      (hm_str_is(kind->text, "message") || hm_str_is(kind->text, "fragment")))) {
		hm_doc_fail(r, kind, false, "kind", "must be message or fragment");
		return 0;
	}
	read_description(r, root);
	r->t->fragment = kind != NULL && hm_str_is(kind->text, "fragment");
	if (r->t->fragment)
		read_fragment(r, root);
	else
		read_message(r, root);
	return 0;
}

struct hm_template *hm_doc_close(struct reading *r)
{
	struct hm_template *t = r->t;

	if (r->errors > 0) {
		hm_template_unref(t);
		t = NULL;
	}
	hm_arena_fini(&r->tmp);
	free(r);
	return t;
}

int hm_template_compile(struct hm_str name, uint32_t version, struct hm_str text, const char *file,
			const struct hm_template_opts *o, hm_report_fn report, void *arg,
			struct hm_template **out)
{
	struct reading *r;
	int rc = hm_doc_open(name, version, text, file, o, report, arg, &r);

	*out = NULL;
	if (rc != 0)
		return rc;
	hm_doc_link(r, o->with);
	*out = hm_doc_close(r);
	return *out == NULL ? HM_ECONFIG : 0;
}
