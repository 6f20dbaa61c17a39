/*
 * inline.c - the content a job brings itself
 *
 * One variant for all media. ingest/job.c has checked the shape; what is checked here is what only compiling shows.
 */
#include "content/content_int.h"

static enum hm_tmpl_format read_format(const msgpack_object *content, enum hm_text_format *f_r)
{
	const msgpack_object *o = hm_mp_get(content, HM_STR("format"));
	enum hm_tmpl_format f = HM_TMPL_PLAIN;
	struct hm_str name;

	*f_r = HM_TEXT_PLAIN;
	if (o == NULL || !hm_mp_str(o, &name) || !hm_tmpl_format_by_name(name, &f))
		return HM_TMPL_PLAIN;
	if (f == HM_TMPL_HTML)
		*f_r = HM_TEXT_HTML;
	else if (f == HM_TMPL_MARKDOWN)
		*f_r = HM_TEXT_MARKDOWN;
	return f;
}

int hm_template_inline(const msgpack_object *content, bool render, const struct hm_template_opts *o,
		       struct hm_arena *a, struct hm_template **out, struct hm_err *e)
{
	struct {
		struct hm_template t;
		struct locale loc;
		struct variant v;
	} *x = hm_arena_zalloc(a, sizeof(*x));
	struct hm_tmpl_opts plain, body;
	const msgpack_object *m;
	struct hm_template *t;
	struct hm_str s;
	int rc = 0;

	*out = NULL;
	if (x == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	t = &x->t;
	HM_MAGIC_SET(t, HM_TEMPLATE_MAGIC);
	atomic_init(&t->refs, 1);
	t->on_arena = true;
	t->mem = a;
	t->name = HM_STR("content");
	t->loc = &x->loc;
	t->n_loc = 1;
	t->single_brace = o->settings->templates.single_brace;
	t->wrap = o->wrap;
	x->loc.tag = HM_STR("");
	plain = (struct hm_tmpl_opts){.single_brace = t->single_brace, .name = t->name};
	body = plain;
	body.format = read_format(content, &t->format);
	for (int i = 0; i < T_COUNT && rc == 0; i++) {
		m = hm_mp_get(content, hm_str_c(hm_text_names[i]));
		if (m == NULL || !hm_mp_str(m, &s))
			continue;
		rc = hm_text_add(t, &x->v.text[i], s,
				 !render		       ? NULL
				 : i == T_BODY || i == T_SHORT ? &body
							       : &plain,
				 e);
		if (rc != 0)
			hm_err_wrap(e, "content.%s", hm_text_names[i]);
	}
	for (int i = 0; i < V_COUNT && rc == 0; i++) {
		m = hm_mp_get(content, hm_str_c(hm_tree_names[i]));
		if (m == NULL || m->type == MSGPACK_OBJECT_NIL)
			continue;
		rc = i == V_BUTTONS ? hm_buttons_check(m, e) : 0;
		if (rc == 0)
			rc = hm_tree_add(t, &x->v.tree[i], m, render ? &plain : NULL, e);
		if (rc != 0)
			hm_err_wrap(e, "content.%s", hm_tree_names[i]);
	}
	if (rc != 0) {
		hm_template_unref(t);
		return rc;
	}
	x->v.literal = hm_variant_literal(&x->v);
	for (int i = 0; i < HM_MED_COUNT; i++)
		x->loc.v[i] = &x->v;
	*out = t;
	return 0;
}
