/*
 * tmpl.h - the template language: compile once, render anywhere
 *
 * FreeMarker's language as described in README.md (the documented subset), plus a
 * bare `>` in <#if> and `{name}` placeholders. A text is compiled to bytecode, verified,
 * and from then on immutable: any number of threads may render the same hm_tmpl.
 *
 * Rendering never calls malloc: all temporaries come from ctx->arena, which is rewound
 * when the render ends (not so if `out` grows in that same arena); the text is appended to `out`. On any error `out` has its length
 * from before the call, and e holds one sentence with the expression and its line:
 *   HM_EUNDEF  a missing variable, key or index was used
 *   HM_ETYPE   a value of the wrong type
 *   HM_EINVAL  a bad value: index out of range, text that is no number or date, division
 *              by zero, wrong number of arguments, missing fragment, <#stop>
 *   HM_EPARSE  compile error; at render time: in an included fragment
 *   HM_ELIMIT  a limit of hm_tmpl_limits was reached; HM_ENOMEM
 *
 * Data is msgpack as base/json.h makes it: nil is a missing value, decimals are the ext
 * type HM_MP_DECIMAL, a float64 counts as its shortest decimal, maps keep their order.
 */
#ifndef HM_TMPL_TMPL_H
#define HM_TMPL_TMPL_H

#include <msgpack.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "base/tz.h"

enum hm_tmpl_format { HM_TMPL_PLAIN, HM_TMPL_HTML, HM_TMPL_XML, HM_TMPL_JSON, HM_TMPL_MARKDOWN };
/* "plain" "html" "xml" "json" "markdown"; false when it is none of them. */
bool hm_tmpl_format_by_name(struct hm_str name, enum hm_tmpl_format *f_r) HM_MUSTCHECK;

struct hm_tmpl_opts {
	enum hm_tmpl_format format; /* html, xml and markdown (adapt/rich.h) escape automatically */
	bool single_brace;	    /* {user.name} in text is a placeholder */
	struct hm_str name; /* for messages, and the base of relative <#include> names; may be empty */
};

struct hm_tmpl;

#define HM_TMPL_MAX_TEXT (4u << 20) /* longest template text accepted, bytes */

/* The text must be valid UTF-8. o may be NULL (plain). On success *out belongs to the caller. */
int hm_tmpl_compile(struct hm_str text, const struct hm_tmpl_opts *o, struct hm_tmpl **out,
		    struct hm_err *e) HM_MUSTCHECK;
/* One more owner / one less; the last hm_tmpl_free releases it. NULL is fine. Thread-safe. */
struct hm_tmpl *hm_tmpl_ref(struct hm_tmpl *t);
void hm_tmpl_free(struct hm_tmpl *t);

struct hm_tmpl_limits { /* 0: the default */
	uint64_t steps; /* loop rounds, calls, items walked; default 1,000,000 */
	uint32_t depth; /* macro calls and includes inside each other; default 100 */
	size_t output;	/* bytes of text; default 1 MiB */
	size_t memory;	/* bytes of temporaries; default 16 MiB */
};
#define HM_TMPL_DEFAULT_STEPS  1000000u
#define HM_TMPL_DEFAULT_DEPTH  100u
#define HM_TMPL_DEFAULT_OUTPUT (1u << 20)
#define HM_TMPL_DEFAULT_MEMORY (16u << 20)

struct hm_tmpl_ctx {
	/* Looked up in order: the first root that is a map with the name and a value that is not nil wins. */
	const msgpack_object *const *roots;
	size_t nroots;
	struct hm_arena *arena;
	struct hm_str locale;	/* "en_US" when empty; zh_* has its own names and currency sign */
	const struct hm_tz *tz; /* time zone; NULL: utc_offset_min */
	int32_t utc_offset_min;
	int64_t now_ms; /* .now */
	struct hm_tmpl_limits limits;
	/* <#include>: the fragment of this (absolute, normalised) name. HM_ENOENT when there is none; a fragment
	 * that does not compile gives HM_EPARSE. The fragment must live until the render ends. May be NULL. */
	int (*fragment)(void *arg, struct hm_str name, const struct hm_tmpl **out, struct hm_err *e);
	void *fragment_arg;
};
int hm_tmpl_render(const struct hm_tmpl *t, const struct hm_tmpl_ctx *ctx, struct hm_buf *out,
		   struct hm_err *e) HM_MUSTCHECK;

/* Sets ctx->tz and ctx->utc_offset_min to a zone: "America/New_York", "UTC", "GMT+08:00"; false when it is unknown. */
bool hm_tmpl_ctx_zone(struct hm_tmpl_ctx *ctx, struct hm_str name) HM_MUSTCHECK;
/* The fixed offset of "UTC", "GMT+08:00", "Asia/Shanghai" and the other zones without daylight saving; false when unknown. */
bool hm_tmpl_zone(struct hm_str name, int32_t *utc_offset_min_r) HM_MUSTCHECK;

/*
 * What the text asks of its data: dotted paths ("user.name"), in order of first use, each once. Names that the
 * text itself defines are not in it: loop variables, macros and their parameters, and whatever was assigned
 * further up. `needed` is false where the text guards the name itself (x!, x??, (x.y)!).
 */
struct hm_tmpl_field {
	struct hm_str path;
	bool needed;
	int line;
};
size_t hm_tmpl_fields(const struct hm_tmpl *t, const struct hm_tmpl_field **fields_r);
/* Names of fragments included by a literal name, as written. */
size_t hm_tmpl_includes(const struct hm_tmpl *t, const struct hm_str **names_r);
/* Nothing but text: *text_r is what every render prints. */
bool hm_tmpl_is_literal(const struct hm_tmpl *t, struct hm_str *text_r);
enum hm_tmpl_format hm_tmpl_format(const struct hm_tmpl *t);
size_t hm_tmpl_bytes(const struct hm_tmpl *t);			/* memory it holds */
void hm_tmpl_dump(const struct hm_tmpl *t, struct hm_buf *out); /* disassembly, for debugging */

#endif
