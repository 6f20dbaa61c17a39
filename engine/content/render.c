/*
 * render.c - one message: pick the variant, check the fields, run the programs, look for holes
 *
 * A literal variant costs a copy of a few pointers. What the programs need is put together once per
 * message, not once per text.
 */
#include "base/json.h"
#include "content/content_int.h"
#include "tmpl/gt.h"

#define HOLE_MAX 200 /* a placeholder longer than this is none */

/* -- holes ----------------------------------------------------------------------------------------------------- */

/* The length of {name.name} at s.p[0] == '{', as the language reads it; 0: it is something else. */
static size_t braced(struct hm_str s)
{
	size_t i = 1, start = 1;

	for (; i < s.len && i < HOLE_MAX; i++) {
		char c = s.p[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
			      (unsigned char)c >= 0x80;

		if (c == '\\' && i + 1 < s.len && s.p[i + 1] == '_') /* escaped for markdown */
			continue;
		if (letter || (i > start && c >= '0' && c <= '9'))
			continue;
		if (i == start || (start == 1 && hm_gt_is_reserved(hm_str_n(s.p + 1, i - 1))))
			return 0;
		if (c == '}')
			return i + 1;
		if (c != '.')
			return 0;
		start = i + 1;
	}
	return 0;
}

bool hm_hole_find(struct hm_str s, bool single_brace, struct hm_str *what_r)
{
	const char *end = s.p + s.len, *p = s.len ? memchr(s.p, '{', s.len) : NULL;

	for (; p != NULL; p = memchr(p + 1, '{', (size_t)(end - p - 1))) {
		struct hm_str rest = hm_str_n(p, (size_t)(end - p));

		if (p > s.p && p[-1] == '$') {
			const char *close = memchr(p, '}', hm_min(rest.len, (size_t)HOLE_MAX));

			if (close != NULL) {
				*what_r = hm_str_n(p - 1, (size_t)(close + 2 - p));
				return true;
			}
		} else if (single_brace) {
			size_t n = braced(rest);

			if (n > 0) {
				*what_r = hm_str_n(p, n);
				return true;
			}
		}
	}
	return false;
}

/* Nothing to see: white space, no-break and ideographic spaces, zero-width ones. */
bool hm_text_blank(struct hm_str s)
{
	while (s.len > 0) {
		unsigned char c = (unsigned char)s.p[0];
		size_t n = 1;

		if (c > ' ') {
			uint32_t cp;

			if (c < 0x80)
				return false;
			cp = hm_utf8_decode(s, &n);
			if (cp != 0xa0 && cp != 0x3000 && cp != 0xfeff && !(cp >= 0x2000 && cp <= 0x200d) &&
			    cp != 0x2060)
				return false;
		}
		s.p += n;
		s.len -= n;
	}
	return true;
}

/* -- one message ------------------------------------------------------------------------------------------------- */

struct run {
	const struct hm_template *t;
	const struct hm_render_env *env;
	struct hm_tmpl_ctx ctx;
	const msgpack_object *roots[ROOTS_MAX];
	enum hm_tmpl_format format; /* of the text that runs */
	char locale[LOCALE_MAX];
};

static int fragment(void *arg, struct hm_str name, const struct hm_tmpl **out, struct hm_err *e)
{
	const struct run *r = arg;
	const struct hm_template *t;

	if (r->env->set == NULL)
		return HM_ENOENT;
	t = hm_template_find(r->env->set, name, e);
	if (t == NULL)
		return HM_ENOENT;
	if (!t->fragment)
		return hm_err_set(e, HM_EINVAL, "it is a message, not a fragment");
	if (hm_tmpl_format(t->text.tmpl) != r->format)
		return hm_err_set(e, HM_EINVAL, "its format is not that of the text it goes into");
	*out = t->text.tmpl;
	return 0;
}

static int start(struct run *r, const struct hm_template *t, const struct locale *l,
		 const struct hm_render_env *env, struct hm_err *e)
{
	const struct hm_settings *s = env->settings;
	size_t n = 0;
	int rc;

	r->t = t;
	r->env = env;
	for (size_t i = 0; i < hm_countof(env->roots); i++)
		if (env->roots[i] != NULL)
			r->roots[n++] = env->roots[i];
	if (t->n_fields > 0 && (rc = hm_fields_apply(t, r->roots, &n, env->arena, e)) != 0)
		return rc;
	r->ctx = (struct hm_tmpl_ctx){
		.roots = r->roots,
		.nroots = n,
		.arena = env->scratch,
		.now_ms = (int64_t)env->now_ms,
		.limits = {.steps = (uint64_t)s->templates.max_steps,
			   .depth = (uint32_t)s->templates.max_depth,
			   .output = s->templates.max_output},
		.fragment = fragment,
		.fragment_arg = r,
	};
	if (env->locale.len > 0)
		r->ctx.locale = hm_locale_java(env->locale, r->locale);
	else if (l != NULL && l->tag.len > 0)
		r->ctx.locale = hm_locale_java(l->tag, r->locale);
	if (env->tz.len > 0 && !hm_tmpl_ctx_zone(&r->ctx, env->tz))
		return hm_err_set(e, HM_EINVAL, "the recipient's time zone \"%.*s\" is not known",
				  HM_STRF(env->tz));
	return 0;
}

static int text(struct run *r, const struct hm_template_text *x, struct hm_str *out, struct hm_err *e)
{
	struct hm_str hole;
	struct hm_buf b;
	int rc;

	if (x->tmpl == NULL) {
		*out = x->literal;
		return 0;
	}
	r->format = hm_tmpl_format(x->tmpl);
	hm_buf_init_arena(&b, r->env->arena, r->env->settings->templates.max_output);
	rc = hm_tmpl_render(x->tmpl, &r->ctx, &b, e);
	if (rc != 0)
		return rc;
	*out = hm_buf_str(&b);
	if (out->p == NULL)
		*out = HM_STR("");
	if (hm_hole_find(*out, r->t->single_brace, &hole))
		return hm_err_set(e, HM_EINVAL, "a placeholder was left over: %.*s", HM_STRF(hole));
	return 0;
}

/* Copies the tree, with programs replaced by their output. Meets strings in the order text.c did. */
static int tree(struct run *r, const msgpack_object *o, const struct tree *t, size_t *next,
		msgpack_object *out, struct hm_err *e)
{
	struct hm_arena *a = r->env->arena;
	struct hm_str s;
	int rc = 0;

	*out = *o;
	if (o->type == MSGPACK_OBJECT_MAP && o->via.map.size > 0) {
		out->via.map.ptr = hm_arena_alloc(a, o->via.map.size * sizeof(msgpack_object_kv));
		if (out->via.map.ptr == NULL)
			return hm_err_set(e, HM_ENOMEM, "out of memory");
		for (uint32_t i = 0; i < o->via.map.size && rc == 0; i++) {
			const msgpack_object_kv *kv = &o->via.map.ptr[i];

			out->via.map.ptr[i].key = kv->key;
			rc = tree(r, &kv->val, t, next, &out->via.map.ptr[i].val, e);
			if (rc != 0 && hm_mp_str(&kv->key, &s))
				hm_err_wrap(e, "%.*s", HM_STRF(s));
		}
	} else if (o->type == MSGPACK_OBJECT_ARRAY && o->via.array.size > 0) {
		out->via.array.ptr = hm_arena_alloc(a, o->via.array.size * sizeof(msgpack_object));
		if (out->via.array.ptr == NULL)
			return hm_err_set(e, HM_ENOMEM, "out of memory");
		for (uint32_t i = 0; i < o->via.array.size && rc == 0; i++)
			rc = tree(r, &o->via.array.ptr[i], t, next, &out->via.array.ptr[i], e);
	} else if (o->type == MSGPACK_OBJECT_STR && *next < t->n_texts && t->texts[*next].at == o) {
		rc = text(r, &t->texts[(*next)++].text, &s, e);
		if (rc == 0) {
			out->via.str.ptr = s.p;
			out->via.str.size = (uint32_t)s.len;
		}
	}
	return rc;
}

static int tree_value(struct run *r, const struct tree *t, const msgpack_object **out, struct hm_err *e)
{
	msgpack_object *o;
	size_t next = 0;

	*out = t->o;
	if (t->n_texts == 0)
		return 0;
	o = hm_arena_alloc(r->env->arena, sizeof(*o));
	if (o == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	*out = o;
	return tree(r, t->o, t, &next, o, e);
}

bool hm_template_is_literal(const struct hm_template *t, enum hm_medium medium)
{
	HM_CHECK(t, HM_TEMPLATE_MAGIC);
	return t->n_loc == 1 && t->n_fields == 0 && t->loc[0].v[medium]->literal;
}

/* A button without a text or a target is none. */
static int check_buttons(const msgpack_object *o, struct hm_err *e)
{
	struct hm_str s;

	for (uint32_t i = 0; o->type == MSGPACK_OBJECT_ARRAY && i < o->via.array.size; i++) {
		const msgpack_object *b = &o->via.array.ptr[i];

		for (uint32_t k = 0; b->type == MSGPACK_OBJECT_MAP && k < b->via.map.size; k++)
			if (b->via.map.ptr[k].val.type == MSGPACK_OBJECT_STR &&
			    hm_mp_str(&b->via.map.ptr[k].val, &s) && hm_text_blank(s) &&
			    hm_mp_str(&b->via.map.ptr[k].key, &s))
				return hm_err_set(e, HM_EINVAL, "[%u].%.*s: the result is blank", i,
						  HM_STRF(s));
	}
	return 0;
}

int hm_template_render(const struct hm_template *t, enum hm_medium medium, const struct hm_render_env *env,
		       struct hm_content *out, struct hm_err *e)
{
	const struct locale *l;
	const struct variant *v;
	struct hm_str s[T_COUNT];
	struct run r;
	int rc;

	HM_CHECK(t, HM_TEMPLATE_MAGIC);
	if (t->fragment)
		return hm_err_set(e, HM_EINVAL, "\"%.*s\" is a fragment: it is included, not sent",
				  HM_STRF(t->name));
	l = hm_locale_pick(t, env->locale);
	v = l->v[medium];
	if ((!v->literal || t->n_fields > 0) && (rc = start(&r, t, l, env, e)) != 0)
		return rc;
	for (int i = 0; i < T_COUNT; i++) {
		s[i] = v->text[i].literal;
		if (v->text[i].tmpl == NULL)
			continue;
		rc = text(&r, &v->text[i], &s[i], e);
		if (rc == 0 && i <= T_SHORT && hm_text_blank(s[i])) /* url and image: blank is none */
			rc = hm_err_set(e, HM_EINVAL, "the result is blank");
		if (rc != 0)
			return hm_err_wrap(e, "%s", hm_text_names[i]);
	}
	out->title = s[T_TITLE];
	out->body = s[T_BODY];
	out->short_text = s[T_SHORT];
	out->url = s[T_URL];
	out->image = s[T_IMAGE];
	out->format = t->format;
	out->wrap = t->wrap;
	out->options = v->tree[V_OPTIONS].o;
	out->data = v->tree[V_DATA].o;
	out->buttons = v->tree[V_BUTTONS].o;
	if (v->literal)
		return 0;
	if ((rc = tree_value(&r, &v->tree[V_OPTIONS], &out->options, e)) != 0)
		return hm_err_wrap(e, "options");
	if ((rc = tree_value(&r, &v->tree[V_DATA], &out->data, e)) != 0)
		return hm_err_wrap(e, "data");
	if ((rc = tree_value(&r, &v->tree[V_BUTTONS], &out->buttons, e)) != 0 ||
	    (out->buttons != v->tree[V_BUTTONS].o && (rc = check_buttons(out->buttons, e)) != 0))
		return hm_err_wrap(e, "buttons");
	return 0;
}

int hm_template_fact_key(const struct hm_template *t, size_t f, const struct hm_render_env *env,
			 struct hm_str *key_r, struct hm_err *e)
{
	const struct hm_template_text *x = t->facts[f].key;
	struct run r;
	int rc;

	HM_CHECK(t, HM_TEMPLATE_MAGIC);
	hm_assert(f < t->n_facts);
	*key_r = x->literal;
	if (x->tmpl == NULL)
		return 0;
	rc = start(&r, t, t->n_loc > 0 ? hm_locale_pick(t, env->locale) : NULL, env, e);
	if (rc == 0)
		rc = text(&r, x, key_r, e);
	if (rc == 0 && hm_text_blank(*key_r))
		rc = hm_err_set(e, HM_EINVAL, "the result is blank");
	return rc == 0 ? 0 : hm_err_wrap(e, "the key of the fact \"%.*s\"", HM_STRF(t->facts[f].name));
}
