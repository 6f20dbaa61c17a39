/*
 * content.h - templates: a document, compiled once, rendered per message and medium
 *
 * A document is YAML or JSON (JSON is read as it is: base/json.h, then the same tree):
 *
 *   kind: message             # message (default) | fragment (only format, description, fields, text)
 *   format: markdown          # of body and short: plain (default) | markdown | html; json | xml for payload texts
 *   description: "..."
 *   fields:                   # what a job has to bring; see below
 *     user.name: {type: string, required: true, example: 林小满, description: "How we call them"}
 *     points: {type: number, default: 0}
 *     city: string            # short for {type: string}; without a type: any
 *   facts:                    # fetched when the message is sent (facts/facts.h): ${facts.left}
 *     left: {fact: stock, key: "${product.sku}", fallback: "few"}
 *   title: "..."              # any of title body short url image: template text (title, url, image: plain text)
 *   body: |
 *     ...
 *   buttons: [{text: "...", url: "..."}]
 *   options: {badge: 1}       # standard names, adapters/README.md; strings are templates
 *   data: {order: "${order.id}"}
 *   media:                    # per medium; what is given here replaces the above
 *     sms: {body: "..."}
 *   locales:                  # per locale; the same members and `media` once more
 *     en: {title: "...", body: "...", media: {...}}
 *   default_locale: zh-CN     # the locale of the members above; default: templates.default_locale
 *
 * An empty text (title: "") takes the member away. Title, url, image, options, data and buttons are plain text whatever
 * the format is. A document that begins with {" is JSON. Unquoted values have the type they look like (5, 1.50, true).
 *
 * Which text a message gets: the recipient's locale by RFC 4647 look-up (zh-Hant-TW, zh-Hant, zh), then the
 * same language in another region (zh-Hans-CN reads zh-CN), then
 * default_locale; in each locale the medium's override, then the locale's own. Members not given in a locale come from those
 * it is a part of (en-GB: en), then from the base. Merged when compiled: rendering picks a variant, it does not merge.
 * The language gets the recipient's locale (zh-Hant-TW as zh_TW) and time zone; without them the text's locale, and UTC.
 *
 * Fields: type string number integer boolean date list map any. A document that declares fields is checked when
 * saved: a name used in a text and not declared, a field declared and used nowhere, an `example` or `default` of the wrong
 * type (errors); and when a message is rendered: missing, empty or of the wrong type fails that message with the field's
 * name; a default fills in for what is missing or null, also inside a map that is there. Empty: nothing but white space,
 * or a list or map of nothing; only required fields mind. Names used by included fragments count; those the fragment
 * declares itself need not be declared again. Without a `fields` section nothing is checked but what the language checks.
 * A result with a leftover ${...} (or {name} where that notation is on), or a title, body, short or button that is blank
 * although the template gives it, fails the message: it never leaves. A blank url or image is none.
 *
 * Fragments are documents too: <#include "footer"> or "footer@3". The name is looked up in the same book when the
 * document is saved (unknown: error; cycles: error that shows the way round) and when it is rendered
 *
 * (relative names are looked up beside the including document, /footer from the top, as in FreeMarker), and its
 * format must be that of the text it goes into.
 *
 * Objects: hm_template is one compiled version, immutable, atomically counted. hm_template_set is an immutable snapshot of all
 * of them. hm_book holds the current snapshot of a process; taking it is one atomic operation, changes make a new one.
 * Threads: book functions any thread; rendering any thread, with the caller's arenas.
 * Rendering never calls malloc. Errors name the member and, for files, file:line.
 */
#ifndef HM_CONTENT_CONTENT_H
#define HM_CONTENT_CONTENT_H

#include "adapter/adapter.h"
#include "base/vocab.h"
#include "config/config.h"

struct hm_template;
struct hm_template_set;
struct hm_book;

enum hm_template_field_type {
#define HM_FIELD_TYPE(name, text, sentence) HM_FIELD_##name,
#include "tbl/field_types.h"
#undef HM_FIELD_TYPE
	HM_FIELD_TYPE_COUNT
};
#define HM_BUTTONS_MAX	      12 /* of one content */
#define HM_TEMPLATE_MAX_FACTS 16
#define HM_TEMPLATE_MAX_NAME  120
#define HM_TEMPLATE_NAME_RULE                                                                                \
	"1 to 120 bytes without @, blanks and control characters; parts between / are not empty and do not " \
	"begin with a dot"
bool hm_template_name_ok(struct hm_str name);

/* -- one document ------------------------------------------------------------------------ */

struct hm_template_opts {
	const struct hm_settings *settings; /* limits, single_brace, default locale */
	const struct hm_link_wrap *wrap;    /* click tracking: compiled in, NULL costs nothing */
	const struct hm_template_set
		*with; /* fragments are looked up there; NULL: includes are not checked */
	/* Is there such a fact in the configuration? NULL: not checked. */
	bool (*fact_known)(void *arg, struct hm_str name);
	void *arg;
};
/* Every mistake goes to report(), with its line. `file` is used in positions ("welcome.yaml"). version 0: a file, not managed. */
int hm_template_compile(struct hm_str name, uint32_t version, struct hm_str text, const char *file,
			const struct hm_template_opts *o, hm_report_fn report, void *arg,
			struct hm_template **out) HM_MUSTCHECK;
struct hm_template *hm_template_ref(struct hm_template *t); /* atomic */
void hm_template_unref(struct hm_template *t);
struct hm_str hm_template_name(const struct hm_template *t);
uint32_t hm_template_version(const struct hm_template *t);
struct hm_str hm_template_source(const struct hm_template *t); /* the document as it was given */
struct hm_str hm_template_description(const struct hm_template *t);
bool hm_template_is_fragment(const struct hm_template *t);

struct hm_template_field {
	struct hm_str name, description;
	uint8_t type; /* enum hm_template_field_type */
	bool required;
	const msgpack_object *def, *example; /* NULL: none */
};
const char *hm_field_type_name(enum hm_template_field_type type); /* "string" */
size_t hm_template_fields(const struct hm_template *t, const struct hm_template_field **v_r);
/* The examples and defaults of the fields as one data object: for previews without data. */
int hm_template_example(const struct hm_template *t, struct hm_arena *a, msgpack_object *o_r,
			struct hm_err *e) HM_MUSTCHECK;
/* Facts the document uses. */
struct hm_template_fact {
	struct hm_str name, fact;	    /* ${facts.<name>}; the configured fact */
	const struct hm_template_text *key; /* hm_template_fact_key() renders it */
	const msgpack_object *fallback;	    /* NULL: the configuration's */
};
size_t hm_template_facts(const struct hm_template *t, const struct hm_template_fact **v_r);

/* -- the book ---------------------------------------------------------------------------- */

struct hm_book *hm_book_new(void);
struct hm_book *hm_book_fork(struct hm_template_set *s); /* begins with that snapshot: to try a change */
void hm_book_free(struct hm_book *b);
/* The snapshot of now; give it back with hm_template_set_unref. */
struct hm_template_set *hm_book_take(struct hm_book *b);
/* A thread's own hold on the snapshot of now: looking costs one atomic read while nothing has changed. What
 * it returns stays until the next look; whoever keeps it longer takes a reference. End: hm_template_set_unref(eye.set). */
struct hm_book_eye {
	struct hm_book *book;
	struct hm_template_set *set; /* NULL before the first look */
};
struct hm_template_set *hm_book_look(struct hm_book_eye *eye);
struct hm_template_set *hm_template_set_ref(struct hm_template_set *s);
void hm_template_set_unref(struct hm_template_set *s);

/* Files <dir>/<name>.yaml (sub-folders are part of the name) as version 0 of their names: used where no managed template
 * has that name. Replaces the files of before; on any error the book is left as it was. A missing dir is empty. */
int hm_book_load_files(struct hm_book *b, struct hm_str dir, const struct hm_template_opts *o,
		       hm_report_fn report, void *arg) HM_MUSTCHECK;
/* One managed name: all versions that can be used now (published and archived ones; drafts are not in the book), and
 * which of them a job without @version gets (0: none, only pinned ones). Takes over the references in v. */
int hm_book_put(struct hm_book *b, struct hm_str name, struct hm_template *const *v, size_t n,
		uint32_t current) HM_MUSTCHECK;
void hm_book_drop(struct hm_book *b, struct hm_str name);

size_t hm_template_set_count(const struct hm_template_set *s); /* names */
struct hm_template *hm_template_set_at(const struct hm_template_set *s,
				       size_t i); /* current version, by name */
/* "name" or "name@version". NULL: *e says whether the name or the version is unknown. The set keeps it alive. */
const struct hm_template *hm_template_find(const struct hm_template_set *s, struct hm_str ref,
					   struct hm_err *e);

/* -- inline content of a job ------------------------------------------------------------------ */

/* `content` is the map of the queue contract; with `render` its strings are templates. Memory: the arena; what was compiled
 * goes with hm_template_unref (call it before the arena ends). */
int hm_template_inline(const msgpack_object *content, bool render, const struct hm_template_opts *o,
		       struct hm_arena *a, struct hm_template **out, struct hm_err *e) HM_MUSTCHECK;

/* -- rendering ---------------------------------------------------------------------------------- */

/* true when no recipient can change the result for this medium (one locale, nothing to insert). */
bool hm_template_is_literal(const struct hm_template *t, enum hm_medium medium);

struct hm_render_env {
	const msgpack_object *roots[4]; /* recipient data, job data, facts, ...; NULLs are skipped */
	struct hm_str locale, tz;
	uint64_t now_ms;
	struct hm_arena *arena;		    /* the result lives here */
	struct hm_arena *scratch;	    /* another arena, for temporaries: rewound when done */
	const struct hm_settings *settings; /* limits */
	const struct hm_template_set *set;  /* for fragments */
};
int hm_template_render(const struct hm_template *t, enum hm_medium medium, const struct hm_render_env *env,
		       struct hm_content *out, struct hm_err *e) HM_MUSTCHECK;
/* The key of fact f for this message. */
int hm_template_fact_key(const struct hm_template *t, size_t f, const struct hm_render_env *env,
			 struct hm_str *key_r, struct hm_err *e) HM_MUSTCHECK;

#endif
