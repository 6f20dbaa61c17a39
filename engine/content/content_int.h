/*
 * content_int.h - a compiled document, as the files of this folder see it
 *
 *   document ─ source.c ─▶ tree of hm_yaml ─ document.c ─▶ layers (base, media, locales) ─ merge ─▶ variants
 *
 * A variant is what one medium gets in one locale: strings (a literal or a program) and value trees. Variants
 * that come out the same are one object. Everything hangs on the template's arena, programs excepted, which
 * are reference-counted objects of tmpl/.
 */
#ifndef HM_CONTENT_INT_H
#define HM_CONTENT_INT_H

#include <stdatomic.h>

#include "base/json.h"
#include "base/obj.h"
#include "base/yaml.h"
#include "content/content.h"
#include "tmpl/tmpl.h"

#define HM_TEMPLATE_MAGIC     0x74706c61u
#define HM_TEMPLATE_SET_MAGIC 0x74736574u
#define HM_BOOK_MAGIC	      0x626f6f6bu

#define TREE_MAX_DEPTH	 16
#define FIELD_MAX_DEPTH	 8 /* names in a path: user.address.city is 3 */
#define INCLUDE_MAX_PATH 32

enum text_member { T_TITLE, T_BODY, T_SHORT, T_URL, T_IMAGE, T_COUNT };
enum tree_member { V_OPTIONS, V_DATA, V_BUTTONS, V_COUNT };
extern const char *const hm_text_names[T_COUNT + 1], *const hm_tree_names[V_COUNT + 1];

/* One string: a literal, or a program. */
struct hm_template_text {
	bool given;
	struct hm_str literal;
	const struct hm_tmpl *tmpl; /* NULL: literal */
};

/* A value tree: the object as it is, with the strings below it that are programs. */
struct tree_text {
	const msgpack_object *at;
	struct hm_template_text text;
};
struct tree {
	const msgpack_object *o; /* NULL: not given */
	struct tree_text *texts; /* in the order a depth-first walk meets the strings */
	size_t n_texts;
};

struct variant {
	struct hm_template_text text[T_COUNT];
	struct tree tree[V_COUNT];
	bool literal;
};

struct locale {
	struct hm_str tag; /* "" : the base of a document that does not say its locale */
	const struct variant *v[HM_MED_COUNT];
};

struct field_path {
	struct hm_str seg[FIELD_MAX_DEPTH];
	size_t n;
};

struct program { /* owned: one reference */
	struct program *next;
	struct hm_tmpl *t;
};

struct hm_template {
	uint32_t magic;
	atomic_uint refs;
	uint32_t version;
	bool fragment, checked; /* checked: results are looked over for holes */
	bool on_arena;		/* inline: this struct and all it has lives in the caller's arena */
	bool single_brace;
	enum hm_text_format format;
	struct hm_str name, source, description;
	const struct hm_link_wrap *wrap;
	struct hm_arena *mem, own;
	struct program *programs;
	struct locale *loc; /* [0] is the base */
	size_t n_loc;
	struct hm_template_text text; /* of a fragment */
	struct hm_template_field *fields;
	struct field_path *paths; /* of fields, in step */
	size_t n_fields;
	bool declares;			/* it has a fields section */
	const msgpack_object *defaults; /* a root with all defaults, or NULL */
	struct hm_template_fact *facts;
	size_t n_facts;
};

/* -- source.c: text -> tree -- */
struct place { /* a program and where it stands in the document */
	struct place *next;
	const struct hm_tmpl *t;
	const struct hm_yaml *n; /* the string, or the tree it is in */
	const char *path;	 /* "locales.en.body" */
};
struct reading { /* one document being compiled */
	struct hm_template *t;
	const struct hm_template_opts *o;
	const char *file;
	struct hm_arena tmp; /* the tree */
	hm_report_fn report;
	void *arg;
	size_t errors;
	struct place *places;
	const struct hm_yaml *root;
};
int hm_doc_parse(struct reading *r, struct hm_str text, struct hm_yaml **root_r);
/* Reports a mistake at a node (its key when at_key), with the path of the member in front. */
void hm_doc_fail(struct reading *r, const struct hm_yaml *n, bool at_key, const char *path, const char *fmt,
		 ...) HM_PRINTF(5, 6);
/* The same at line `line` of a text. */
void hm_doc_fail_in(struct reading *r, const struct hm_yaml *n, int line, const char *path, const char *fmt,
		    ...) HM_PRINTF(5, 6);
char *hm_doc_path(struct reading *r, const char *path, struct hm_str key); /* "path.key" */
void hm_doc_known(struct reading *r, const struct hm_yaml *map, const char *path, const char *const *keys);
/* The value with the types it has by itself (5 is a number, "5" is not), in the template's arena. */
const msgpack_object *hm_doc_value(struct reading *r, const struct hm_yaml *n, const char *path);

/* -- text.c: strings and value trees -> programs -- */
int hm_text_add(struct hm_template *t, struct hm_template_text *x, struct hm_str text,
		const struct hm_tmpl_opts *o, struct hm_err *e);
int hm_tree_add(struct hm_template *t, struct tree *tree, const msgpack_object *o,
		const struct hm_tmpl_opts *opts, struct hm_err *e);
bool hm_variant_literal(const struct variant *v);
/* Buttons are a list of {text, url | action, style}; the sentence names the member. */
int hm_buttons_check(const msgpack_object *o, struct hm_err *e);
void hm_programs_free(struct hm_template *t);

/* -- document.c: a document from its text to a template -- */
int hm_doc_open(struct hm_str name, uint32_t version, struct hm_str text, const char *file,
		const struct hm_template_opts *o, hm_report_fn report, void *arg, struct reading **r_r);
/* One string of the document, compiled and remembered as a place. */
void hm_doc_read_text(struct reading *r, const struct hm_yaml *n, const char *path,
		      const struct hm_tmpl_opts *o, struct hm_template_text *x);
/* Frees what only compiling needs; the template if there were errors (then NULL). */
struct hm_template *hm_doc_close(struct reading *r);

/* -- fields.c: what a message has to bring -- */
void hm_fields_read(struct reading *r, const struct hm_yaml *n);
void hm_facts_read(struct reading *r, const struct hm_yaml *n, const struct hm_tmpl_opts *o);
bool hm_field_path(struct hm_str name, struct field_path *p);
enum field_match { FIELD_KNOWN, FIELD_UNKNOWN, FIELD_NO_MAP };
/* Is there a field for a name a text uses? Marks it (and what lies below it) in used. */
enum field_match hm_fields_match(const struct hm_template *t, struct hm_str path, bool *used, size_t *at_r);
const char *hm_field_nearest(const struct hm_template *t, struct hm_str path, struct hm_arena *a);
const char *hm_field_type_text(unsigned type); /* "a string" */
#define ROOTS_MAX 6
/* Checks what the message brought and puts the defaults among the roots (room for ROOTS_MAX, *n used). */
int hm_fields_apply(const struct hm_template *t, const msgpack_object **roots, size_t *n, struct hm_arena *a,
		    struct hm_err *e);

/* -- locale.c -- */
bool hm_locale_ok(struct hm_str tag);
bool hm_locale_eq(struct hm_str a, struct hm_str b); /* zh-CN, zh_cn */
/* Cuts the last subtag off (RFC 4647, 3.4); "" when it was the last. */
struct hm_str hm_locale_parent(struct hm_str tag);
const struct locale *hm_locale_pick(const struct hm_template *t, struct hm_str wanted);
/* zh-Hant-TW -> zh_TW, as the template language spells it. */
#define LOCALE_MAX 16
struct hm_str hm_locale_java(struct hm_str tag, char out[LOCALE_MAX]);

/* -- link.c: a document against the others -- */
/* The absolute name of an include written in `base`; "" when it leaves the root. */
struct hm_str hm_include_resolve(struct hm_str base, struct hm_str name, struct hm_arena *a);
/* Fragments exist, fit in format and do not go round; the names all texts use are declared and those declared used.
 * with NULL: what depends on fragments is left out. */
void hm_doc_link(struct reading *r, const struct hm_template_set *with);

/* -- render.c -- */
/* The first ${...} ({name}) in a result. */
bool hm_hole_find(struct hm_str s, bool single_brace, struct hm_str *what_r);
bool hm_text_blank(struct hm_str s);

#endif
