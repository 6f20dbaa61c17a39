/*
 * content.c - one content: strings compiled, value trees mirrored
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/log.h"
#include "base/obj.h"
#include "dispatch/content.h"
#include "tmpl/tmpl.h"

#define CONTENT_MAGIC	   0x636f6e74u
#define TREE_MAX_DEPTH	   16
#define TEMPLATE_DIR_DEPTH 8
#define TEXT_MAX	   (1u << 20)

enum text_field { F_TITLE, F_BODY, F_SHORT, F_URL, F_IMAGE, F_COUNT };
static const char *const text_names[F_COUNT] = {"title", "body", "short", "url", "image"};

/* One string: a literal, or a program. */
struct text {
	bool given;
	struct hm_str literal;
	struct hm_tmpl *tmpl; /* NULL: literal */
};

/* A value tree: the object as it is, with the strings below it that are programs. */
struct tree {
	const msgpack_object *o; /* NULL: not given */
	bool literal;
	struct tree_text *texts; /* in the order a depth-first walk meets the strings */
	size_t n_texts;
};
struct tree_text {
	const msgpack_object *at;
	struct hm_tmpl *tmpl; /* NULL: a literal whose text differs from the source (escapes) */
	struct hm_str literal;
};

struct variant {
	struct text text[F_COUNT];
	struct tree options, data;
	bool literal;
};

struct content_source {
	uint32_t magic;
	char *name;
	struct hm_arena arena;		/* managed templates: owns the trees */
	struct variant v[HM_MED_COUNT]; /* merged: base plus the medium's overrides */
	struct hm_tmpl **owned;		/* every program once */
	size_t n_owned, cap_owned;
	bool on_job_arena;
};

struct hm_template_set {
	struct content_source **v; /* sorted by name */
	size_t n, cap;
};

/* -- compile ---------------------------------------------------------------------------------- */

static int own(struct content_source *s, struct hm_tmpl *t, struct hm_err *e)
{
	if (s->n_owned == s->cap_owned) {
		size_t cap = s->cap_owned ? s->cap_owned * 2 : 8;
		struct hm_tmpl **v = realloc(s->owned, cap * sizeof(*v));

		if (v == NULL) {
			hm_tmpl_free(t);
			return hm_err_set(e, HM_ENOMEM, "out of memory");
		}
		s->owned = v;
		s->cap_owned = cap;
	}
	s->owned[s->n_owned++] = t;
	return 0;
}

static int compile(struct content_source *s, struct hm_str text, const struct hm_tmpl_opts *o,
		   struct hm_tmpl **t_r, struct hm_str *lit_r, struct hm_err *e)
{
	struct hm_tmpl *t;
	int r = hm_tmpl_compile(text, o, &t, e);

	if (r != 0)
		return r;
	if (own(s, t, e) != 0)
		return HM_ENOMEM;
	*t_r = hm_tmpl_is_literal(t, lit_r) ? NULL : t;
	return 0;
}

static int add_text(struct content_source *s, struct text *x, struct hm_str text,
		    const struct hm_tmpl_opts *o, struct hm_err *e)
{
	x->given = true;
	if (o == NULL) {
		x->literal = text;
		return 0;
	}
	return compile(s, text, o, &x->tmpl, &x->literal, e);
}

static int tree_walk(struct content_source *s, struct tree *t, size_t *cap, const msgpack_object *o,
		     const struct hm_tmpl_opts *opts, int depth, struct hm_err *e)
{
	if (depth > TREE_MAX_DEPTH)
		return hm_err_set(e, HM_ELIMIT, "values are nested deeper than %d", TREE_MAX_DEPTH);
	if (o->type == MSGPACK_OBJECT_MAP) {
		for (uint32_t i = 0; i < o->via.map.size; i++) {
			int r = tree_walk(s, t, cap, &o->via.map.ptr[i].val, opts, depth + 1, e);

			if (r != 0)
				return r;
		}
	} else if (o->type == MSGPACK_OBJECT_ARRAY) {
		for (uint32_t i = 0; i < o->via.array.size; i++) {
			int r = tree_walk(s, t, cap, &o->via.array.ptr[i], opts, depth + 1, e);

			if (r != 0)
				return r;
		}
	} else if (o->type == MSGPACK_OBJECT_STR) {
		struct hm_str lit = hm_str_n(o->via.str.ptr, o->via.str.size);
		struct hm_tmpl *p;
		int r;

		if (hm_str_chr(lit, '{') < 0 && hm_str_chr(lit, '<') < 0)
			return 0;
		r = compile(s, lit, opts, &p, &lit, e);
		if (r != 0)
			return r;
		if (p == NULL && hm_str_eq(lit, hm_str_n(o->via.str.ptr, o->via.str.size)))
			return 0;
		if (t->n_texts == *cap) {
			size_t c = *cap ? *cap * 2 : 8;
			struct tree_text *v = realloc(t->texts, c * sizeof(*v));

			if (v == NULL)
				return hm_err_set(e, HM_ENOMEM, "out of memory");
			t->texts = v;
			*cap = c;
		}
		t->texts[t->n_texts++] = (struct tree_text){o, p, lit};
		t->literal = false;
	}
	return 0;
}

static int add_tree(struct content_source *s, struct tree *t, const msgpack_object *o,
		    const struct hm_tmpl_opts *opts, struct hm_err *e)
{
	size_t cap = 0;

	t->o = o;
	t->literal = true;
	return opts == NULL ? 0 : tree_walk(s, t, &cap, o, opts, 0, e);
}

static void finish(struct content_source *s)
{
	for (int m = 0; m < HM_MED_COUNT; m++) {
		struct variant *v = &s->v[m];

		v->literal = (v->options.o == NULL || v->options.literal) &&
			     (v->data.o == NULL || v->data.literal);
		for (int f = 0; f < F_COUNT; f++)
			v->literal = v->literal && v->text[f].tmpl == NULL;
	}
}

static void source_clear(struct content_source *s)
{
	for (size_t i = 0; i < s->n_owned; i++)
		hm_tmpl_free(s->owned[i]);
	free(s->owned);
	/* Media share trees: each array once. */
	for (int m = 0; m < HM_MED_COUNT; m++) {
		struct tree_text *o = s->v[m].options.texts, *d = s->v[m].data.texts;

		for (int k = m + 1; k < HM_MED_COUNT; k++) {
			if (s->v[k].options.texts == o)
				s->v[k].options.texts = NULL;
			if (s->v[k].data.texts == d)
				s->v[k].data.texts = NULL;
		}
		free(o);
		free(d);
	}
}

/* -- inline content ------------------------------------------------------------------------------ */

int hm_content_inline(const struct hm_job_spec *spec, struct hm_arena *a, struct content_source **src_r,
		      struct hm_err *e)
{
	struct content_source *s = hm_arena_zalloc(a, sizeof(*s));
	const struct hm_tmpl_opts opts = {
		.format = HM_TMPL_PLAIN, .single_brace = true, .name = HM_STR_INIT("content")};
	const struct hm_tmpl_opts *o = spec->render ? &opts : NULL;
	const msgpack_object *x;
	struct variant *v;
	struct hm_str str;
	int r = 0;

	if (s == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	HM_MAGIC_SET(s, CONTENT_MAGIC);
	s->on_job_arena = true;
	v = &s->v[0];
	for (int f = 0; f < F_COUNT && r == 0; f++) {
		x = hm_mp_get(spec->content, hm_str_c(text_names[f]));
		if (x != NULL && hm_mp_str(x, &str) && (r = add_text(s, &v->text[f], str, o, e)) != 0)
			hm_err_wrap(e, "content.%s", text_names[f]);
	}
	x = hm_mp_get(spec->content, HM_STR("options"));
	if (r == 0 && x != NULL && (r = add_tree(s, &v->options, x, o, e)) != 0)
		hm_err_wrap(e, "content.options");
	x = hm_mp_get(spec->content, HM_STR("data"));
	if (r == 0 && x != NULL && (r = add_tree(s, &v->data, x, o, e)) != 0)
		hm_err_wrap(e, "content.data");
	for (int m = 1; m < HM_MED_COUNT; m++)
		s->v[m] = s->v[0];
	if (r != 0) {
		source_clear(s);
		return r;
	}
	finish(s);
	*src_r = s;
	return 0;
}

void hm_content_free(struct content_source *s)
{
	HM_CHECK(s, CONTENT_MAGIC);
	hm_assert(s->on_job_arena);
	source_clear(s);
	HM_MAGIC_CLEAR(s); /* memory: the job's arena */
}

/* -- template files ---------------------------------------------------------------------------- */

static const char *const formats[] = {
	[HM_TMPL_PLAIN] = "plain", [HM_TMPL_HTML] = "html", [HM_TMPL_XML] = "xml", [HM_TMPL_JSON] = "json"};

/* YAML value -> msgpack object in the arena; unquoted scalars get their natural type. */
static int yaml_to_mp(const struct hm_yaml *n, struct hm_arena *a, msgpack_object *o, int depth,
		      struct hm_err *e)
{
	int64_t i;
	size_t k = 0;

	if (depth > TREE_MAX_DEPTH)
		return hm_yaml_err(n, e, HM_ELIMIT, "values are nested deeper than %d", TREE_MAX_DEPTH);
	memset(o, 0, sizeof(*o));
	switch (n->type) {
	case HM_YAML_NULL: o->type = MSGPACK_OBJECT_NIL; return 0;
	case HM_YAML_SEQ:
		o->type = MSGPACK_OBJECT_ARRAY;
		o->via.array.size = (uint32_t)n->len;
		o->via.array.ptr = hm_arena_zalloc(a, (n->len + 1) * sizeof(msgpack_object));
		if (o->via.array.ptr == NULL)
			return hm_err_set(e, HM_ENOMEM, "out of memory");
		for (const struct hm_yaml *c = n->first; c != NULL; c = c->next) {
			int r = yaml_to_mp(c, a, &o->via.array.ptr[k++], depth + 1, e);

			if (r != 0)
				return r;
		}
		return 0;
	case HM_YAML_MAP:
		o->type = MSGPACK_OBJECT_MAP;
		o->via.map.size = (uint32_t)n->len;
		o->via.map.ptr = hm_arena_zalloc(a, (n->len + 1) * sizeof(msgpack_object_kv));
		if (o->via.map.ptr == NULL)
			return hm_err_set(e, HM_ENOMEM, "out of memory");
		for (const struct hm_yaml *c = n->first; c != NULL; c = c->next, k++) {
			msgpack_object_kv *kv = &o->via.map.ptr[k];
			int r;

			kv->key.type = MSGPACK_OBJECT_STR;
			kv->key.via.str.ptr = c->key.p;
			kv->key.via.str.size = (uint32_t)c->key.len;
			r = yaml_to_mp(c, a, &kv->val, depth + 1, e);
			if (r != 0)
				return r;
		}
		return 0;
	case HM_YAML_SCALAR: break;
	}
	if (!n->quoted && (hm_str_is(n->text, "true") || hm_str_is(n->text, "false"))) {
		o->type = MSGPACK_OBJECT_BOOLEAN;
		o->via.boolean = hm_str_is(n->text, "true");
	} else if (!n->quoted && hm_str_i64(n->text, &i)) {
		if (i < 0) {
			o->type = MSGPACK_OBJECT_NEGATIVE_INTEGER;
			o->via.i64 = i;
		} else {
			o->type = MSGPACK_OBJECT_POSITIVE_INTEGER;
			o->via.u64 = (uint64_t)i;
		}
	} else {
		o->type = MSGPACK_OBJECT_STR;
		o->via.str.ptr = n->text.p;
		o->via.str.size = (uint32_t)n->text.len;
	}
	return 0;
}

static int load_variant(struct content_source *s, const struct hm_yaml *map, struct variant *v,
			const struct hm_tmpl_opts *o, struct hm_err *e)
{
	static const char *const trees[] = {"options", "data"};

	for (int f = 0; f < F_COUNT; f++) {
		const struct hm_yaml *n = hm_yaml_get(map, text_names[f]);
		struct hm_err te = {0};
		struct hm_str text;

		if (n == NULL)
			continue;
		if (hm_yaml_str(n, &text, e) != 0)
			return e->code;
		memset(&v->text[f], 0, sizeof(v->text[f]));
		if (add_text(s, &v->text[f], text, o, &te) == 0)
			continue;
		if (n->literal)
			return hm_err_at(e, te.code, n->file, n->line + te.line, 0, "%s: %s", text_names[f],
					 te.text);
		if (te.line > 1)
			return hm_yaml_err(n, e, te.code, "%s: %s (line %d of the text)", text_names[f],
					   te.text, te.line);
		return hm_yaml_err(n, e, te.code, "%s: %s", text_names[f], te.text);
	}
	for (int i = 0; i < 2; i++) {
		const struct hm_yaml *n = hm_yaml_get(map, trees[i]);
		struct tree *t = i == 0 ? &v->options : &v->data;
		struct hm_err te = {0};
		msgpack_object *x;

		if (n == NULL)
			continue;
		if (n->type != HM_YAML_MAP)
			return hm_yaml_err(n, e, HM_ETYPE, "%s must be a map", trees[i]);
		x = hm_arena_alloc(&s->arena, sizeof(*x));
		if (x == NULL)
			return hm_err_set(e, HM_ENOMEM, "out of memory");
		if (yaml_to_mp(n, &s->arena, x, 0, e) != 0)
			return e->code;
		memset(t, 0, sizeof(*t));
		if (add_tree(s, t, x, o, &te) != 0)
			return hm_yaml_err(n, e, te.code, "%s: %s", trees[i], te.text);
	}
	return 0;
}

static int load_file(struct content_source *s, const char *path, const struct hm_config *cfg,
		     struct hm_err *e)
{
	static const char *const keys[] = {"format", "description", "title", "body",  "short", "url",
					   "image",  "options",	    "data",  "media", NULL};
	static const char *const sub_keys[] = {"title", "body",	   "short", "url",
					       "image", "options", "data",  NULL};
	struct hm_tmpl_opts o = {.format = HM_TMPL_PLAIN,
				 .single_brace = cfg->settings.templates.single_brace,
				 .name = hm_str_c(s->name)};
	const struct hm_yaml *n;
	struct hm_yaml *root;

	if (hm_yaml_read_file(&s->arena, path, &root, e) != 0)
		return e->code;
	if (root->type != HM_YAML_MAP)
		return hm_yaml_err(root, e, HM_ETYPE, "a template file is a map with title, body, ...");
	if (hm_yaml_known(root, keys, e) != 0)
		return e->code;
	n = hm_yaml_get(root, "format");
	if (n != NULL) {
		bool known = false;

		for (size_t i = 0; i < hm_countof(formats); i++) {
			if (n->type == HM_YAML_SCALAR && hm_str_is(n->text, formats[i])) {
				o.format = (enum hm_tmpl_format)i;
				known = true;
			}
		}
		if (!known)
			return hm_yaml_err(n, e, HM_EINVAL, "format must be plain, html, xml or json");
	}
	if (load_variant(s, root, &s->v[0], &o, e) != 0)
		return e->code;
	for (int m = 1; m < HM_MED_COUNT; m++)
		s->v[m] = s->v[0];
	n = hm_yaml_get(root, "media");
	if (n != NULL && n->type != HM_YAML_MAP)
		return hm_yaml_err(n, e, HM_ETYPE, "media must be a map");
	for (const struct hm_yaml *c = n ? n->first : NULL; c != NULL; c = c->next) {
		int m = hm_medium_find(c->key);

		if (m < 0)
			return hm_yaml_err(c, e, HM_EINVAL, "\"%.*s\" is not a medium", HM_STRF(c->key));
		if (c->type != HM_YAML_MAP)
			return hm_yaml_err(c, e, HM_ETYPE, "media.%.*s must be a map", HM_STRF(c->key));
		if (hm_yaml_known(c, sub_keys, e) != 0 || load_variant(s, c, &s->v[m], &o, e) != 0)
			return e->code;
	}
	finish(s);
	return 0;
}

static void source_free(struct content_source *s)
{
	source_clear(s);
	hm_arena_fini(&s->arena);
	free(s->name);
	HM_MAGIC_CLEAR(s);
	free(s);
}

static int by_name(const void *a, const void *b)
{
	const struct content_source *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

struct loading {
	struct hm_template_set *set;
	const struct hm_config *cfg;
	hm_report_fn report;
	void *arg;
	int errors;
};

static void fail(struct loading *l, const struct hm_err *e)
{
	l->errors++;
	l->report(l->arg, e);
}

static void load_one(struct loading *l, const char *path, const char *name)
{
	struct content_source *s = calloc(1, sizeof(*s));
	struct hm_template_set *set = l->set;
	struct hm_err e = {0};

	if (s == NULL || (s->name = strdup(name)) == NULL) {
		free(s);
		hm_err_set(&e, HM_ENOMEM, "out of memory");
		fail(l, &e);
		return;
	}
	HM_MAGIC_SET(s, CONTENT_MAGIC);
	hm_arena_init(&s->arena, NULL, 0);
	if (load_file(s, path, l->cfg, &e) != 0) {
		fail(l, &e);
		source_free(s);
		return;
	}
	if (set->n == set->cap) {
		size_t cap = set->cap ? set->cap * 2 : 32;
		struct content_source **v = realloc(set->v, cap * sizeof(*v));

		if (v == NULL) {
			hm_err_set(&e, HM_ENOMEM, "out of memory");
			fail(l, &e);
			source_free(s);
			return;
		}
		set->v = v;
		set->cap = cap;
	}
	set->v[set->n++] = s;
}

static void load_dir(struct loading *l, const char *dir, const char *prefix, int depth)
{
	DIR *dp = opendir(dir);
	struct hm_err e = {0};
	struct dirent *de;

	if (dp == NULL) {
		if (errno == ENOENT && depth == 0)
			return;
		hm_err_set(&e, HM_EIO, "cannot read the templates folder %s: %s", dir, strerror(errno));
		fail(l, &e);
		return;
	}
	while ((de = readdir(dp)) != NULL) {
		char path[4096], name[512];
		size_t len = strlen(de->d_name);
		struct stat st;

		if (de->d_name[0] == '.')
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", dir, de->d_name) >= (int)sizeof(path) ||
		    snprintf(name, sizeof(name), "%s%s", prefix, de->d_name) >= (int)sizeof(name) ||
		    stat(path, &st) != 0)
			continue;
		if (S_ISDIR(st.st_mode) && depth < TEMPLATE_DIR_DEPTH) {
			size_t n = strlen(name);

			if (n + 2 < sizeof(name)) {
				name[n] = '/';
				name[n + 1] = '\0';
				load_dir(l, path, name, depth + 1);
			}
		} else if (S_ISREG(st.st_mode) && len > 5 && strcmp(de->d_name + len - 5, ".yaml") == 0) {
			name[strlen(name) - 5] = '\0';
			load_one(l, path, name);
		}
	}
	closedir(dp);
}

int hm_template_set_load(struct hm_str dir, const struct hm_config *cfg, struct hm_template_set **r,
			 hm_report_fn report, void *arg)
{
	struct hm_template_set *set = calloc(1, sizeof(*set));
	struct loading l = {set, cfg, report, arg, 0};
	char path[1024];

	if (set == NULL)
		return HM_ENOMEM;
	snprintf(path, sizeof(path), "%.*s", HM_STRF(dir));
	if (dir.len > 0)
		load_dir(&l, path, "", 0);
	if (l.errors > 0) {
		hm_template_set_free(set);
		return HM_ECONFIG;
	}
	if (set->n > 1)
		qsort(set->v, set->n, sizeof(*set->v), by_name);
	HM_DEBUG(TMPL, "templates loaded", HM_SV("dir", dir), HM_U("templates", set->n));
	*r = set;
	return 0;
}

void hm_template_set_free(struct hm_template_set *set)
{
	for (size_t i = 0; i < set->n; i++)
		source_free(set->v[i]);
	free(set->v);
	free(set);
}

size_t hm_template_set_count(const struct hm_template_set *s)
{
	return s->n;
}

struct content_source *hm_template_find(const struct hm_template_set *s, struct hm_str ref)
{
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = hm_str_cmp(ref, hm_str_c(s->v[mid]->name));

		if (c == 0)
			return s->v[mid];
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

/* -- render -------------------------------------------------------------------------------------- */

bool hm_content_is_literal(const struct content_source *s, enum hm_medium medium)
{
	return s->v[medium].literal;
}

static int run(const struct hm_tmpl *t, const struct hm_render_env *env, struct hm_str *out, struct hm_err *e)
{
	const msgpack_object *roots[4];
	struct hm_tmpl_ctx ctx = {0};
	struct hm_buf b;
	size_t n = 0;
	int r;

	for (size_t i = 0; i < hm_countof(env->roots); i++)
		if (env->roots[i] != NULL)
			roots[n++] = env->roots[i];
	ctx.roots = roots;
	ctx.nroots = n;
	ctx.arena = env->scratch;
	ctx.locale = env->locale;
	ctx.now_ms = (int64_t)env->now_ms;
	ctx.limits.steps = (uint64_t)env->settings->templates.max_steps;
	ctx.limits.depth = (uint32_t)env->settings->templates.max_depth;
	ctx.limits.output = env->settings->templates.max_output;
	if (env->tz.len > 0 && !hm_tmpl_zone(env->tz, &ctx.utc_offset_min))
		return hm_err_set(e, HM_EINVAL, "the recipient's time zone \"%.*s\" is not known",
				  HM_STRF(env->tz));
	hm_buf_init_arena(&b, env->arena, env->settings->templates.max_output);
	r = hm_tmpl_render(t, &ctx, &b, e);
	if (r == 0)
		*out = hm_buf_str(&b);
	return r;
}

/* Copies the tree, with programs replaced by their output. Visits strings in the order tree_walk did. */
static int render_tree(const msgpack_object *o, const struct tree *t, size_t *next,
		       const struct hm_render_env *env, msgpack_object *out, struct hm_err *e)
{
	*out = *o;
	if (o->type == MSGPACK_OBJECT_MAP && o->via.map.size > 0) {
		out->via.map.ptr = hm_arena_alloc(env->arena, o->via.map.size * sizeof(msgpack_object_kv));
		if (out->via.map.ptr == NULL)
			return hm_err_set(e, HM_ENOMEM, "out of memory");
		for (uint32_t i = 0; i < o->via.map.size; i++) {
			int r = render_tree(&o->via.map.ptr[i].val, t, next, env, &out->via.map.ptr[i].val,
					    e);

			if (r != 0)
				return r;
			out->via.map.ptr[i].key = o->via.map.ptr[i].key;
		}
	} else if (o->type == MSGPACK_OBJECT_ARRAY && o->via.array.size > 0) {
		out->via.array.ptr = hm_arena_alloc(env->arena, o->via.array.size * sizeof(msgpack_object));
		if (out->via.array.ptr == NULL)
			return hm_err_set(e, HM_ENOMEM, "out of memory");
		for (uint32_t i = 0; i < o->via.array.size; i++) {
			int r = render_tree(&o->via.array.ptr[i], t, next, env, &out->via.array.ptr[i], e);

			if (r != 0)
				return r;
		}
	} else if (o->type == MSGPACK_OBJECT_STR && *next < t->n_texts && t->texts[*next].at == o) {
		const struct tree_text *x = &t->texts[(*next)++];
		struct hm_str s = x->literal;
		int r = x->tmpl != NULL ? run(x->tmpl, env, &s, e) : 0;

		if (r != 0)
			return r;
		out->via.str.ptr = s.p;
		out->via.str.size = (uint32_t)s.len;
	}
	return 0;
}

static int tree_value(const struct tree *t, const struct hm_render_env *env, const msgpack_object **out,
		      struct hm_err *e)
{
	msgpack_object *o;
	size_t next = 0;

	*out = t->o;
	if (t->o == NULL || t->literal)
		return 0;
	o = hm_arena_alloc(env->arena, sizeof(*o));
	if (o == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	*out = o;
	return render_tree(t->o, t, &next, env, o, e);
}

int hm_content_render(const struct content_source *s, enum hm_medium medium, const struct hm_render_env *env,
		      struct hm_content *out, struct hm_err *e)
{
	const struct variant *v = &s->v[medium];
	struct hm_str text[F_COUNT];
	int r;

	HM_CHECK(s, CONTENT_MAGIC);
	for (int f = 0; f < F_COUNT; f++) {
		text[f] = v->text[f].literal;
		if (v->text[f].tmpl != NULL && (r = run(v->text[f].tmpl, env, &text[f], e)) != 0)
			return hm_err_wrap(e, "%s", text_names[f]);
	}
	out->title = text[F_TITLE];
	out->body = text[F_BODY];
	out->short_text = text[F_SHORT];
	out->url = text[F_URL];
	out->image = text[F_IMAGE];
	if ((r = tree_value(&v->options, env, &out->options, e)) != 0)
		return hm_err_wrap(e, "options");
	if ((r = tree_value(&v->data, env, &out->data, e)) != 0)
		return hm_err_wrap(e, "data");
	return 0;
}
