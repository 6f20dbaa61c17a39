/*
 * fields.c - what a message has to bring: declared, checked, filled in
 *
 * Names are paths into the data ("user.name"), cut into their parts when the document is compiled. The first
 * root that has the first part wins, as in the language (tmpl.h), and the rest is looked up in that one.
 */
#include <stdio.h>

#include "content/content_int.h"

#define FIELDS_MAX 200

static const struct {
	const char *name, *text;
} types[] = {
#define HM_FIELD_TYPE(name, text, sentence) [HM_FIELD_##name] = {text, sentence},
#include "tbl/field_types.h"
#undef HM_FIELD_TYPE
};

const char *hm_field_type_name(enum hm_template_field_type type)
{
	return types[type].name;
}

const char *hm_field_type_text(unsigned type)
{
	return types[type].text;
}

/* -- values of a type ----------------------------------------------------------------------------------- */

static bool digits(struct hm_str s, size_t at, size_t n, unsigned *v_r)
{
	*v_r = 0;
	if (at + n > s.len)
		return false;
	for (size_t i = at; i < at + n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		*v_r = *v_r * 10 + (unsigned)(s.p[i] - '0');
	}
	return true;
}

static bool is_day(struct hm_str s)
{
	static const unsigned char days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	unsigned y, m, d;

	if (!digits(s, 0, 4, &y) || s.p[4] != '-' || !digits(s, 5, 2, &m) || s.p[7] != '-' ||
	    !digits(s, 8, 2, &d))
		return false;
	if (m < 1 || m > 12 || d < 1 || d > days[m - 1])
		return false;
	return m != 2 || d < 29 || (y % 4 == 0 && (y % 100 != 0 || y % 400 == 0));
}

/* hh:mm[:ss[.fraction]][Z|+hh[:]mm] */
static bool is_time(struct hm_str s)
{
	unsigned h, m, sec;
	size_t at = 5;

	if (!digits(s, 0, 2, &h) || s.len < 5 || s.p[2] != ':' || !digits(s, 3, 2, &m) || h > 24 || m > 59)
		return false;
	if (at < s.len && s.p[at] == ':') {
		if (!digits(s, at + 1, 2, &sec) || sec > 60)
			return false;
		at += 3;
		if (at < s.len && (s.p[at] == '.' || s.p[at] == ',')) {
			size_t start = ++at;

			while (at < s.len && s.p[at] >= '0' && s.p[at] <= '9')
				at++;
			if (at == start)
				return false;
		}
	}
	if (at == s.len)
		return true;
	if (s.p[at] == 'Z' || s.p[at] == 'z')
		return at + 1 == s.len;
	if ((s.p[at] != '+' && s.p[at] != '-') || !digits(s, at + 1, 2, &h) || h > 15)
		return false;
	at += 3;
	if (at == s.len)
		return true;
	if (s.p[at] == ':')
		at++;
	return digits(s, at, 2, &m) && m < 60 && at + 2 == s.len;
}

static bool is_date(struct hm_str s)
{
	if (s.len >= 10 && is_day(hm_str_n(s.p, 10)))
		return s.len == 10 ||
		       ((s.p[10] == 'T' || s.p[10] == ' ') && is_time(hm_str_n(s.p + 11, s.len - 11)));
	return is_time(s);
}

static bool is_number(const msgpack_object *o)
{
	struct hm_str text;

	return o->type == MSGPACK_OBJECT_POSITIVE_INTEGER || o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER ||
	       o->type == MSGPACK_OBJECT_FLOAT32 || o->type == MSGPACK_OBJECT_FLOAT64 ||
	       hm_mp_decimal(o, &text);
}

/* 3, 3.0, 3e0 are no different to the language; a fraction is. */
static bool is_whole(const msgpack_object *o)
{
	struct hm_str s;
	ptrdiff_t dot;

	if (o->type == MSGPACK_OBJECT_FLOAT32 || o->type == MSGPACK_OBJECT_FLOAT64)
		return o->via.f64 >= -9e15 && o->via.f64 <= 9e15 &&
		       o->via.f64 - (double)(int64_t)o->via.f64 == 0;
	if (!hm_mp_decimal(o, &s))
		return o->type == MSGPACK_OBJECT_POSITIVE_INTEGER ||
		       o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER;
	if (hm_str_chr(s, 'e') >= 0 || hm_str_chr(s, 'E') >= 0)
		return false;
	dot = hm_str_chr(s, '.');
	for (size_t i = dot < 0 ? s.len : (size_t)dot + 1; i < s.len; i++)
		if (s.p[i] != '0')
			return false;
	return true;
}

static bool is_of_type(const msgpack_object *o, unsigned type)
{
	switch ((enum hm_template_field_type)type) {
	case HM_FIELD_STRING: return o->type == MSGPACK_OBJECT_STR;
	case HM_FIELD_NUMBER: return is_number(o);
	case HM_FIELD_INTEGER: return is_whole(o);
	case HM_FIELD_BOOLEAN: return o->type == MSGPACK_OBJECT_BOOLEAN;
	case HM_FIELD_DATE:
		if (o->type == MSGPACK_OBJECT_STR)
			return is_date(hm_str_n(o->via.str.ptr, o->via.str.size));
		return o->type == MSGPACK_OBJECT_POSITIVE_INTEGER ||
		       o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER;
	case HM_FIELD_LIST: return o->type == MSGPACK_OBJECT_ARRAY;
	case HM_FIELD_MAP: return o->type == MSGPACK_OBJECT_MAP;
	case HM_FIELD_ANY:
	case HM_FIELD_TYPE_COUNT: break;
	}
	return true;
}

static bool is_empty(const msgpack_object *o)
{
	switch (o->type) {
	case MSGPACK_OBJECT_STR: return hm_text_blank(hm_str_n(o->via.str.ptr, o->via.str.size));
	case MSGPACK_OBJECT_ARRAY: return o->via.array.size == 0;
	case MSGPACK_OBJECT_MAP: return o->via.map.size == 0;
	default: return false;
	}
}

/* -- declarations ---------------------------------------------------------------------------------------- */

static bool name_part(struct hm_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
			      (unsigned char)c >= 0x80;

		if (!letter && !(i > 0 && c >= '0' && c <= '9'))
			return false;
	}
	return s.len > 0;
}

bool hm_field_path(struct hm_str name, struct field_path *p)
{
	struct hm_str rest = name, part;

	p->n = 0;
	if (name.len == 0 || name.p[name.len - 1] == '.')
		return false;
	while (hm_str_split(&rest, '.', &part)) {
		if (p->n == FIELD_MAX_DEPTH || !name_part(part))
			return false;
		p->seg[p->n++] = part;
	}
	return true;
}

static void read_type(struct reading *r, const struct hm_yaml *n, const char *path,
		      struct hm_template_field *f)
{
	const char *names[hm_countof(types) + 1] = {NULL}, *near;

	for (size_t i = 0; i < hm_countof(types); i++) {
		names[i] = types[i].name;
		if (n->type == HM_YAML_SCALAR && hm_str_is(n->text, names[i])) {
			f->type = (uint8_t)i;
			return;
		}
	}
	if (n->type != HM_YAML_SCALAR) {
		hm_doc_fail(r, n, false, path, "expected the name of a type, found %s", hm_yaml_type_name(n));
		return;
	}
	near = hm_str_nearest(n->text, names);
	hm_doc_fail(r, n, false, path,
		    "\"%.*s\" is not a type (string, number, integer, boolean, date, list, map, any)%s%s%s",
		    HM_STRF(n->text), near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static const msgpack_object *read_value(struct reading *r, const struct hm_yaml *map, const char *key,
					const char *path, const struct hm_template_field *f)
{
	const struct hm_yaml *n = hm_yaml_get(map, key);
	const msgpack_object *o;

	if (n == NULL || n->type == HM_YAML_NULL)
		return NULL;
	path = hm_doc_path(r, path, n->key);
	o = hm_doc_value(r, n, path);
	if (o != NULL && !is_of_type(o, f->type))
		hm_doc_fail(r, n, false, path, "must be %s, as the field's type says", types[f->type].text);
	return o;
}

static void read_field(struct reading *r, const struct hm_yaml *n, struct hm_template_field *f,
		       struct field_path *p)
{
	static const char *const keys[] = {"type", "required", "default", "example", "description", NULL};
	const char *path = hm_doc_path(r, "fields", n->key);
	const struct hm_yaml *c;
	struct hm_err e = {0};

	f->type = HM_FIELD_ANY;
	f->name = hm_arena_str(r->t->mem, n->key);
	if (f->name.p == NULL || !hm_field_path(f->name, p)) {
		hm_doc_fail(r, n, true, path,
			    "this is not the name of a field: names and dots, such as user.name (at most %d "
			    "names)",
			    FIELD_MAX_DEPTH);
		return;
	}
	if (hm_str_is(p->seg[0], "facts")) {
		hm_doc_fail(r, n, true, path, "facts are declared in their own section");
		return;
	}
	if (n->type == HM_YAML_NULL)
		return;
	if (n->type == HM_YAML_SCALAR) { /* name: type */
		read_type(r, n, path, f);
		return;
	}
	if (n->type != HM_YAML_MAP) {
		hm_doc_fail(r, n, false, path, "expected a map with type, required, ...; found %s",
			    hm_yaml_type_name(n));
		return;
	}
	hm_doc_known(r, n, path, keys);
	if ((c = hm_yaml_get(n, "type")) != NULL)
		read_type(r, c, hm_doc_path(r, path, c->key), f);
	c = hm_yaml_get(n, "required");
	if (c != NULL && hm_yaml_bool(c, &f->required, &e) != 0)
		hm_doc_fail(r, c, false, hm_doc_path(r, path, c->key), "expected true or false");
	c = hm_yaml_get(n, "description");
	if (c != NULL && c->type == HM_YAML_SCALAR)
		f->description = c->text.len ? hm_arena_str(r->t->mem, c->text) : HM_STR("");
	else if (c != NULL && c->type != HM_YAML_NULL)
		hm_doc_fail(r, c, false, hm_doc_path(r, path, c->key), "expected text");
	f->example = read_value(r, n, "example", path, f);
	f->def = read_value(r, n, "default", path, f);
	if (f->def != NULL && r->t->fragment)
		hm_doc_fail(r, hm_yaml_get(n, "default"), true, path,
			    "a fragment has no defaults: the template that includes it declares them");
	if (f->required && f->def != NULL && is_empty(f->def))
		hm_doc_fail(r, hm_yaml_get(n, "default"), true, path,
			    "is required, but its default is empty");
}

/* Sets v at the path below the map o. Maps on the way are made, or copied: v may be shared. HM_EEXIST: a value is in the way. */
static int put_path(struct hm_arena *a, msgpack_object *o, const struct field_path *p,
		    const msgpack_object *v)
{
	for (size_t i = 0; i < p->n; i++) {
		uint32_t size = o->via.map.size, k = 0;
		msgpack_object_kv *kv;

		if (o->type != MSGPACK_OBJECT_MAP)
			return HM_EEXIST;
		kv = hm_arena_alloc(a, (size + 1) * sizeof(*kv));
		if (kv == NULL)
			return HM_ENOMEM;
		if (size > 0)
			memcpy(kv, o->via.map.ptr, size * sizeof(*kv));
		while (k < size &&
		       !(kv[k].key.type == MSGPACK_OBJECT_STR &&
			 hm_str_eq(hm_str_n(kv[k].key.via.str.ptr, kv[k].key.via.str.size), p->seg[i])))
			k++;
		if (k < size && i + 1 == p->n)
			return HM_EEXIST;
		if (k == size) {
			kv[k].key = (msgpack_object){.type = MSGPACK_OBJECT_STR};
			kv[k].key.via.str.ptr = p->seg[i].p;
			kv[k].key.via.str.size = (uint32_t)p->seg[i].len;
			kv[k].val = (msgpack_object){.type = MSGPACK_OBJECT_MAP};
			o->via.map.size++;
		}
		o->via.map.ptr = kv;
		o = &kv[k].val;
	}
	*o = *v;
	return 0;
}

void hm_fields_read(struct reading *r, const struct hm_yaml *n)
{
	struct hm_template *t = r->t;
	msgpack_object *defaults = hm_arena_alloc(t->mem, sizeof(*defaults));

	if (n->type == HM_YAML_NULL)
		return;
	if (n->type != HM_YAML_MAP) {
		hm_doc_fail(r, n, false, "fields", "expected a map of names, found %s", hm_yaml_type_name(n));
		return;
	}
	if (n->len > FIELDS_MAX) {
		hm_doc_fail(r, n, false, "fields", "%zu fields; at most %d are possible", n->len, FIELDS_MAX);
		return;
	}
	t->fields = hm_arena_zalloc(t->mem, (n->len + 1) * sizeof(*t->fields));
	t->paths = hm_arena_zalloc(t->mem, (n->len + 1) * sizeof(*t->paths));
	if (defaults == NULL || t->fields == NULL || t->paths == NULL) {
		hm_doc_fail(r, n, false, "fields", "out of memory");
		return;
	}
	*defaults = (msgpack_object){.type = MSGPACK_OBJECT_MAP};
	t->declares = true;
	for (const struct hm_yaml *c = n->first; c != NULL; c = c->next) {
		size_t before = r->errors, i = t->n_fields;

		read_field(r, c, &t->fields[i], &t->paths[i]);
		if (r->errors > before)
			continue;
		t->n_fields++;
		if (t->fields[i].def != NULL &&
		    put_path(t->mem, defaults, &t->paths[i], t->fields[i].def) != 0)
			hm_doc_fail(r, c, true, hm_doc_path(r, "fields", c->key),
				    "its default and that of another field are in each other's way");
	}
	if (defaults->via.map.size > 0)
		t->defaults = defaults;
}

void hm_facts_read(struct reading *r, const struct hm_yaml *map, const struct hm_tmpl_opts *o)
{
	static const char *const keys[] = {"fact", "key", "fallback", NULL};
	struct hm_template *t = r->t;

	if (map->type == HM_YAML_NULL)
		return;
	if (map->type != HM_YAML_MAP) {
		hm_doc_fail(r, map, false, "facts", "expected a map of names, found %s",
			    hm_yaml_type_name(map));
		return;
	}
	if (map->len > HM_TEMPLATE_MAX_FACTS) {
		hm_doc_fail(r, map, false, "facts", "%zu facts; at most %d are possible", map->len,
			    HM_TEMPLATE_MAX_FACTS);
		return;
	}
	t->facts = hm_arena_zalloc(t->mem, (map->len + 1) * sizeof(*t->facts));
	for (const struct hm_yaml *c = map->first; c != NULL; c = c->next) {
		const char *path = hm_doc_path(r, "facts", c->key);
		struct hm_template_fact *f = t->facts ? &t->facts[t->n_facts] : NULL;
		struct hm_template_text *key = hm_arena_zalloc(t->mem, sizeof(*key));
		const struct hm_yaml *n;
		size_t before = r->errors;
		struct hm_err e = {0};

		if (f == NULL || key == NULL) {
			hm_doc_fail(r, c, false, path, "out of memory");
			return;
		}
		if (!name_part(c->key)) {
			hm_doc_fail(r, c, true, path, "this is not a name: letters, digits and _");
			continue;
		}
		if (c->type != HM_YAML_MAP && c->type != HM_YAML_NULL) {
			hm_doc_fail(r, c, false, path, "expected a map with fact, key and fallback; found %s",
				    hm_yaml_type_name(c));
			continue;
		}
		hm_doc_known(r, c, path, keys);
		f->name = hm_arena_str(t->mem, c->key);
		f->fact = f->name;
		f->key = key;
		key->literal = HM_STR("");
		n = hm_yaml_get(c, "fact");
		if (n != NULL && (n->type != HM_YAML_SCALAR || n->text.len == 0))
			hm_doc_fail(r, n, false, hm_doc_path(r, path, n->key), "expected the name of a fact");
		else if (n != NULL)
			f->fact = hm_arena_str(t->mem, n->text);
		if (r->o->fact_known != NULL && !r->o->fact_known(r->o->arg, f->fact))
			hm_doc_fail(r, n ? n : c, n == NULL, path,
				    "there is no fact \"%.*s\" in the configuration", HM_STRF(f->fact));
		n = hm_yaml_get(c, "key");
		if (n != NULL)
			hm_doc_read_text(r, n, hm_doc_path(r, path, n->key), o, key);
		n = hm_yaml_get(c, "fallback");
		if (n != NULL && n->type != HM_YAML_NULL)
			f->fallback = hm_doc_value(r, n, hm_doc_path(r, path, n->key));
		if (f->name.p == NULL || f->fact.p == NULL)
			hm_doc_fail(r, c, false, path, "%s",
				    hm_err_set(&e, HM_ENOMEM, "out of memory") ? e.text : "");
		if (r->errors == before)
			t->n_facts++;
	}
}

size_t hm_template_fields(const struct hm_template *t, const struct hm_template_field **v_r)
{
	*v_r = t->fields;
	return t->n_fields;
}

size_t hm_template_facts(const struct hm_template *t, const struct hm_template_fact **v_r)
{
	*v_r = t->facts;
	return t->n_facts;
}

int hm_template_example(const struct hm_template *t, struct hm_arena *a, msgpack_object *o_r,
			struct hm_err *e)
{
	*o_r = (msgpack_object){.type = MSGPACK_OBJECT_MAP};
	for (size_t i = 0; i < t->n_fields; i++) {
		const struct hm_template_field *f = &t->fields[i];
		const msgpack_object *v = f->example ? f->example : f->def;

		/* In the way: the example of a map has it already. */
		if (v != NULL && put_path(a, o_r, &t->paths[i], v) == HM_ENOMEM)
			return hm_err_set(e, HM_ENOMEM, "out of memory");
	}
	return 0;
}

/* -- names used -------------------------------------------------------------------------------------------- */

/* Is a the whole of b, or the names before a dot in it? */
static bool begins(struct hm_str b, struct hm_str a)
{
	return b.len >= a.len && memcmp(b.p, a.p, a.len) == 0 && (b.len == a.len || b.p[a.len] == '.');
}

enum field_match hm_fields_match(const struct hm_template *t, struct hm_str path, bool *used, size_t *at_r)
{
	enum field_match m = FIELD_UNKNOWN;

	for (size_t i = 0; i < t->n_fields; i++) {
		const struct hm_template_field *f = &t->fields[i];

		if (begins(f->name, path)) { /* all of it, or a map some of it is declared of */
			m = FIELD_KNOWN;
		} else if (begins(path, f->name)) {
			if (f->type != HM_FIELD_MAP && f->type != HM_FIELD_ANY && f->type != HM_FIELD_LIST) {
				if (m == FIELD_UNKNOWN) {
					m = FIELD_NO_MAP;
					*at_r = i;
				}
				continue;
			}
			m = FIELD_KNOWN;
		} else {
			continue;
		}
		if (used != NULL)
			used[i] = true;
	}
	return m;
}

const char *hm_field_nearest(const struct hm_template *t, struct hm_str path, struct hm_arena *a)
{
	const char **names = hm_arena_zalloc(a, (t->n_fields + 1) * sizeof(*names));

	for (size_t i = 0; names != NULL && i < t->n_fields; i++)
		if ((names[i] = hm_arena_strdup(a, t->fields[i].name)) == NULL)
			return NULL;
	return names == NULL ? NULL : hm_str_nearest(path, names);
}

/* -- a message's data ---------------------------------------------------------------------------------------- */

/* The language's rule for the first name: the first root that has it, not nil. */
static const msgpack_object *find_first(const msgpack_object *const *roots, size_t n, struct hm_str name)
{
	for (size_t i = 0; i < n; i++) {
		const msgpack_object *o = hm_mp_get(roots[i], name);

		if (o != NULL && o->type != MSGPACK_OBJECT_NIL)
			return o;
	}
	return NULL;
}

static int missing(const struct hm_template_field *f, struct hm_err *e)
{
	hm_err_set(e, HM_EUNDEF, "the field \"%.*s\" is missing", HM_STRF(f->name));
	hm_err_field(e, f->name.p);
	return HM_EUNDEF;
}

static const char *called(const msgpack_object *o)
{
	switch (o->type) {
	case MSGPACK_OBJECT_STR: return "a string";
	case MSGPACK_OBJECT_BOOLEAN: return "true or false";
	case MSGPACK_OBJECT_ARRAY: return "a list";
	case MSGPACK_OBJECT_MAP: return "a map";
	default: return is_number(o) ? "a number" : "none of what templates know";
	}
}

static int wrong_type(struct hm_str name, unsigned type, const msgpack_object *o, struct hm_err *e)
{
	hm_err_set(e, HM_ETYPE, "the field \"%.*s\" must be %s; it is %s", HM_STRF(name), types[type].text,
		   called(o));
	hm_err_field(e, name.p);
	return HM_ETYPE;
}

/* The message brings the map but not the member: a copy of the map with the default in it, as a root before all others. */
static int overlay(const struct hm_template *t, size_t i, const msgpack_object **roots, size_t *n,
		   msgpack_object **over, struct hm_arena *a, struct hm_err *e)
{
	const struct field_path *p = &t->paths[i];
	const msgpack_object *from = find_first(roots, *n, p->seg[0]);
	msgpack_object *to;

	if (*over == NULL) {
		hm_assert(*n < ROOTS_MAX);
		*over = hm_arena_alloc(a, sizeof(**over));
		if (*over == NULL)
			return hm_err_set(e, HM_ENOMEM, "out of memory");
		**over = (msgpack_object){.type = MSGPACK_OBJECT_MAP};
		memmove(roots + 1, roots, *n * sizeof(*roots));
		roots[0] = *over;
		++*n;
	}
	to = *over;
	for (size_t s = 0; s < p->n; s++) {
		uint32_t size = to->via.map.size, k = 0;
		msgpack_object_kv *kv = hm_arena_alloc(a, (size + 1) * sizeof(*kv));

		if (kv == NULL)
			return hm_err_set(e, HM_ENOMEM, "out of memory");
		if (size > 0)
			memcpy(kv, to->via.map.ptr, size * sizeof(*kv));
		to->via.map.ptr = kv;
		for (k = 0; k < size; k++) {
			struct hm_str key;

			if (hm_mp_str(&kv[k].key, &key) && hm_str_eq(key, p->seg[s]))
				break;
		}
		if (k == size) {
			to->via.map.size = size + 1;
			kv[k].key = (msgpack_object){.type = MSGPACK_OBJECT_STR};
			kv[k].key.via.str.ptr = p->seg[s].p;
			kv[k].key.via.str.size = (uint32_t)p->seg[s].len;
			kv[k].val = s == 0 && from != NULL ? *from
							   : (msgpack_object){.type = MSGPACK_OBJECT_NIL};
		}
		if (kv[k].val.type == MSGPACK_OBJECT_NIL && s + 1 < p->n)
			kv[k].val = (msgpack_object){.type = MSGPACK_OBJECT_MAP};
		to = &kv[k].val;
		if (s + 1 < p->n && to->type != MSGPACK_OBJECT_MAP) {
			const struct hm_str last = p->seg[s];

			return wrong_type(hm_str_n(p->seg[0].p, (size_t)(last.p + last.len - p->seg[0].p)),
					  HM_FIELD_MAP, to, e);
		}
	}
	*to = *t->fields[i].def;
	return 0;
}

int hm_fields_apply(const struct hm_template *t, const msgpack_object **roots, size_t *n, struct hm_arena *a,
		    struct hm_err *e)
{
	msgpack_object *over = NULL;
	bool defaults = false;
	int rc;

	for (size_t i = 0; i < t->n_fields; i++) {
		const struct hm_template_field *f = &t->fields[i];
		const struct field_path *p = &t->paths[i];
		const msgpack_object *first = find_first(roots, *n, p->seg[0]), *o = first;

		for (size_t s = 1; s < p->n && o != NULL; s++)
			o = hm_mp_get(o, p->seg[s]);
		if (o == NULL || o->type == MSGPACK_OBJECT_NIL) {
			if (f->def == NULL) {
				if (f->required)
					return missing(f, e);
			} else if (first == NULL) {
				defaults = true;
			} else if ((rc = overlay(t, i, roots, n, &over, a, e)) != 0) {
				return rc;
			}
			continue;
		}
		if (!is_of_type(o, f->type))
			return wrong_type(f->name, f->type, o, e);
		if (f->required && is_empty(o)) {
			hm_err_set(e, HM_EUNDEF, "the field \"%.*s\" is empty", HM_STRF(f->name));
			hm_err_field(e, f->name.p);
			return HM_EUNDEF;
		}
	}
	if (defaults)
		roots[(*n)++] = t->defaults;
	return 0;
}
