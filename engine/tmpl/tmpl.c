/* tmpl.c - the life of a compiled template: compile, share, free; what it says about itself */
#include "tmpl/tmpl.h"

#include <stdlib.h>

#include "base/obj.h"
#include "tmpl/code.h"

static const struct hm_str format_names[] = {
	[HM_TMPL_PLAIN] = HM_STR_INIT("plain"),	      [HM_TMPL_HTML] = HM_STR_INIT("html"),
	[HM_TMPL_XML] = HM_STR_INIT("xml"),	      [HM_TMPL_JSON] = HM_STR_INIT("json"),
	[HM_TMPL_MARKDOWN] = HM_STR_INIT("markdown"),
};

bool hm_tmpl_format_by_name(struct hm_str name, enum hm_tmpl_format *f_r)
{
	for (size_t i = 0; i < hm_countof(format_names); i++)
		if (hm_str_eq(format_names[i], name)) {
			*f_r = (enum hm_tmpl_format)i;
			return true;
		}
	return false;
}

static enum hm_fmt fmt_of(enum hm_tmpl_format f)
{
	switch (f) {
	case HM_TMPL_HTML: return FMT_HTML;
	case HM_TMPL_XML: return FMT_XML;
	case HM_TMPL_JSON: return FMT_JSON;
	case HM_TMPL_MARKDOWN: return FMT_MARKDOWN;
	case HM_TMPL_PLAIN: break;
	}
	return FMT_PLAIN;
}

static int compile(struct hm_tmpl *t, struct hm_arena *tmp, struct hm_err *e)
{
	struct hm_parser p = {
		.arena = tmp,
		.src = &t->src,
		.e = e,
		.single_brace = t->single_brace,
		.fmt = fmt_of(t->format),
		.autoesc = hm_fmt_is_markup(fmt_of(t->format)),
	};
	struct hm_el *root = hm_parse(&p);
	int rc;

	if (!root)
		return e->code ? e->code : hm_err_set(e, HM_EPARSE, "the template does not parse");
	root = hm_space_strip(tmp, root, t->src.nlines);
	if (!root)
		return hm_err_set(e, HM_ELIMIT, "a line of the template has too many tags");
	rc = hm_code_make(t, &p, root, e);
	return rc ? rc : hm_code_verify(t, e);
}

int hm_tmpl_compile(struct hm_str text, const struct hm_tmpl_opts *o, struct hm_tmpl **out, struct hm_err *e)
{
	static const struct hm_tmpl_opts defaults;
	struct hm_tmpl *t;
	struct hm_arena tmp;
	struct hm_err mine;
	struct hm_str name;
	int rc = 0;

	*out = NULL;
	if (!e)
		e = &mine;
	if (!o)
		o = &defaults;
	hm_err_clear(e);
	if (text.len > HM_TMPL_MAX_TEXT)
		return hm_err_set(e, HM_ELIMIT, "the template has %zu bytes; %u are allowed", text.len,
				  HM_TMPL_MAX_TEXT);
	if (!hm_utf8_valid(text))
		return hm_err_set(e, HM_EPARSE, "the template is not valid UTF-8");
	t = calloc(1, sizeof(*t));
	if (!t)
		return hm_err_set(e, HM_ENOMEM, "out of memory while compiling the template");
	HM_MAGIC_SET(t, HM_TMPL_MAGIC);
	atomic_init(&t->refs, 1);
	t->format = o->format;
	t->single_brace = o->single_brace;
	hm_arena_init(&t->mem, NULL, 0);
	hm_arena_init(&tmp, NULL, 0);
	name = o->name.len ? hm_arena_str(&t->mem, o->name) : HM_STR("");
	text = text.len ? hm_arena_str(&t->mem, text) : HM_STR("");
	if (!name.p || !text.p || !hm_src_init(&t->src, &t->mem, text, name))
		rc = hm_err_set(e, HM_ENOMEM, "out of memory while compiling the template");
	if (rc == 0)
		rc = compile(t, &tmp, e);
	if (rc && o->name.len && !e->file[0]) {
		size_t n = hm_utf8_cut(name, sizeof(e->file) - 1);

		memcpy(e->file, name.p, n);
		e->file[n] = 0;
	}
	hm_arena_fini(&tmp);
	if (rc) {
		hm_tmpl_free(t);
		return rc;
	}
	*out = t;
	return 0;
}

struct hm_tmpl *hm_tmpl_ref(struct hm_tmpl *t)
{
	HM_CHECK(t, HM_TMPL_MAGIC);
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

void hm_tmpl_free(struct hm_tmpl *t)
{
	if (!t)
		return;
	HM_CHECK(t, HM_TMPL_MAGIC);
	if (atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
		return;
	hm_arena_fini(&t->mem);
	HM_MAGIC_CLEAR(t);
	free(t);
}

size_t hm_tmpl_fields(const struct hm_tmpl *t, const struct hm_tmpl_field **fields_r)
{
	*fields_r = t->field;
	return t->nfields;
}

size_t hm_tmpl_includes(const struct hm_tmpl *t, const struct hm_str **names_r)
{
	*names_r = t->include;
	return t->nincludes;
}

bool hm_tmpl_is_literal(const struct hm_tmpl *t, struct hm_str *text_r)
{
	if (t->ncode == 1) {
		*text_r = HM_STR("");
		return true;
	}
	if (t->ncode != 2 || t->code[0].op != OP_LIT)
		return false;
	*text_r = t->lit[t->code[0].c];
	return true;
}

enum hm_tmpl_format hm_tmpl_format(const struct hm_tmpl *t)
{
	return t->format;
}

size_t hm_tmpl_bytes(const struct hm_tmpl *t)
{
	return sizeof(*t) + t->mem.used;
}
