/*
 * text.c - strings and value trees, compiled
 */
#include "content/content_int.h"

const char *const hm_text_names[T_COUNT + 1] = {"title", "body", "short", "url", "image", NULL};
const char *const hm_tree_names[V_COUNT + 1] = {"options", "data", "buttons", NULL};

static int own(struct hm_template *t, struct hm_tmpl *p, struct hm_err *e)
{
	struct program *x = hm_arena_alloc(t->mem, sizeof(*x));

	if (x == NULL) {
		hm_tmpl_free(p);
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	}
	x->t = p;
	x->next = t->programs;
	t->programs = x;
	return 0;
}

void hm_programs_free(struct hm_template *t)
{
	for (struct program *p = t->programs; p != NULL; p = p->next)
		hm_tmpl_free(p->t);
	t->programs = NULL;
}

/* o NULL: the text as it is (it outlives t). */
int hm_text_add(struct hm_template *t, struct hm_template_text *x, struct hm_str text,
		const struct hm_tmpl_opts *o, struct hm_err *e)
{
	struct hm_tmpl *p;
	int r;

	x->given = true;
	x->tmpl = NULL;
	x->literal = text.len > 0 ? text : HM_STR("");
	if (o == NULL || text.len == 0)
		return 0;
	r = hm_tmpl_compile(text, o, &p, e);
	if (r != 0)
		return r;
	r = own(t, p, e);
	if (r == 0 && !hm_tmpl_is_literal(p, &x->literal))
		x->tmpl = p;
	return r;
}

static int count_strings(const msgpack_object *o, size_t *n, int depth, struct hm_err *e)
{
	int r = 0;

	if (depth > TREE_MAX_DEPTH)
		return hm_err_set(e, HM_ELIMIT, "values are nested deeper than %d", TREE_MAX_DEPTH);
	if (o->type == MSGPACK_OBJECT_MAP)
		for (uint32_t i = 0; i < o->via.map.size && r == 0; i++)
			r = count_strings(&o->via.map.ptr[i].val, n, depth + 1, e);
	else if (o->type == MSGPACK_OBJECT_ARRAY)
		for (uint32_t i = 0; i < o->via.array.size && r == 0; i++)
			r = count_strings(&o->via.array.ptr[i], n, depth + 1, e);
	else if (o->type == MSGPACK_OBJECT_STR)
		++*n;
	return r;
}

static int walk(struct hm_template *t, struct tree *tree, const msgpack_object *o,
		const struct hm_tmpl_opts *opts, struct hm_err *e)
{
	struct tree_text x = {.at = o};
	struct hm_str s;
	int r = 0;

	if (o->type == MSGPACK_OBJECT_MAP) {
		for (uint32_t i = 0; i < o->via.map.size && r == 0; i++)
			r = walk(t, tree, &o->via.map.ptr[i].val, opts, e);
		return r;
	}
	if (o->type == MSGPACK_OBJECT_ARRAY) {
		for (uint32_t i = 0; i < o->via.array.size && r == 0; i++)
			r = walk(t, tree, &o->via.array.ptr[i], opts, e);
		return r;
	}
	if (o->type != MSGPACK_OBJECT_STR)
		return 0;
	s = hm_str_n(o->via.str.ptr, o->via.str.size);
	if (hm_str_chr(s, '{') < 0 && hm_str_chr(s, '<') < 0)
		return 0;
	r = hm_text_add(t, &x.text, s, opts, e);
	/* A literal that reads as it is written needs no entry. */
	if (r == 0 && (x.text.tmpl != NULL || !hm_str_eq(x.text.literal, s)))
		tree->texts[tree->n_texts++] = x;
	return r;
}

int hm_tree_add(struct hm_template *t, struct tree *tree, const msgpack_object *o,
		const struct hm_tmpl_opts *opts, struct hm_err *e)
{
	size_t n = 0;
	int r;

	memset(tree, 0, sizeof(*tree));
	tree->o = o;
	if (opts == NULL)
		return 0;
	r = count_strings(o, &n, 0, e);
	if (r != 0 || n == 0)
		return r;
	tree->texts = hm_arena_alloc(t->mem, n * sizeof(*tree->texts));
	if (tree->texts == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	return walk(t, tree, o, opts, e);
}

bool hm_variant_literal(const struct variant *v)
{
	for (int i = 0; i < T_COUNT; i++)
		if (v->text[i].tmpl != NULL)
			return false;
	for (int i = 0; i < V_COUNT; i++)
		if (v->tree[i].n_texts > 0)
			return false;
	return true;
}

int hm_buttons_check(const msgpack_object *o, struct hm_err *e)
{
	static const char *const keys[] = {"text", "url", "action", "style", NULL};

	if (o->type != MSGPACK_OBJECT_ARRAY)
		return hm_err_set(e, HM_ETYPE, "must be a list of {text, url} or {text, action}");
	if (o->via.array.size > HM_BUTTONS_MAX)
		return hm_err_set(e, HM_ELIMIT, "%u buttons; at most %d are possible", o->via.array.size,
				  HM_BUTTONS_MAX);
	for (uint32_t i = 0; i < o->via.array.size; i++) {
		const msgpack_object *b = &o->via.array.ptr[i];
		unsigned have = 0;

		if (b->type != MSGPACK_OBJECT_MAP)
			return hm_err_set(e, HM_ETYPE, "[%u]: must be a map with text and url or action", i);
		for (uint32_t k = 0; k < b->via.map.size; k++) {
			const msgpack_object_kv *kv = &b->via.map.ptr[k];
			struct hm_str key = HM_STR_NULL;
			unsigned n = 0;

			if (hm_mp_str(&kv->key, &key))
				while (keys[n] != NULL && !hm_str_is(key, keys[n]))
					n++;
			if (key.p == NULL || keys[n] == NULL)
				return hm_err_set(e, HM_EINVAL,
						  "[%u]: \"%.*s\" is not known here; a button has text, url "
						  "or action, and style",
						  i, HM_STRF(key));
			if (kv->val.type == MSGPACK_OBJECT_NIL)
				continue;
			if (kv->val.type != MSGPACK_OBJECT_STR)
				return hm_err_set(e, HM_ETYPE, "[%u].%s: must be a string, it is a %s", i,
						  keys[n], hm_mp_type_name(&kv->val));
			if (kv->val.via.str.size == 0)
				return hm_err_set(e, HM_EINVAL, "[%u].%s: is empty", i, keys[n]);
			have |= 1u << n;
		}
		if ((have & 1) == 0)
			return hm_err_set(e, HM_EINVAL, "[%u]: text is missing", i);
		if (((have >> 1) & 3) == 0 || ((have >> 1) & 3) == 3)
			return hm_err_set(e, HM_EINVAL, "[%u]: needs exactly one of url and action", i);
	}
	return 0;
}
