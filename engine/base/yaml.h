/*
 * yaml.h - a YAML document as a tree that remembers where each value stood
 *
 * For configuration and adapter files: small, trusted in size (limit below), with
 * errors that name file, line and column. Built on libyaml; anchors are refused,
 * duplicate keys are an error. All memory in the caller's arena.
 */
#ifndef HM_BASE_YAML_H
#define HM_BASE_YAML_H

#include "base/arena.h"
#include "base/err.h"

#define HM_YAML_MAX_BYTES (4u << 20)
#define HM_YAML_MAX_DEPTH 64
#define HM_YAML_MAX_KEYS  10000 /* in one map */

enum hm_yaml_type { HM_YAML_NULL, HM_YAML_SCALAR, HM_YAML_SEQ, HM_YAML_MAP };
struct hm_yaml {
	enum hm_yaml_type type;
	bool secret;		      /* text came from a reference (config): errors do not quote it */
	bool quoted;		      /* scalar was quoted: "5" is text, 5 may be a number */
	bool literal;		      /* scalar is a block (|): its line n stands on line `line` + n */
	int line, col;		      /* 1-based */
	struct hm_str text;	      /* scalar; also NUL-terminated */
	struct hm_yaml *first, *next; /* children of a seq or map, in order */
	struct hm_str key;	      /* when a child of a map */
	int key_line, key_col;
	const char *file;
	size_t len; /* number of children */
};
int hm_yaml_parse(struct hm_arena *a, const char *file, struct hm_str text, struct hm_yaml **root_r,
		  struct hm_err *e) HM_MUSTCHECK;
int hm_yaml_read_file(struct hm_arena *a, const char *path, struct hm_yaml **root_r,
		      struct hm_err *e) HM_MUSTCHECK;
struct hm_yaml *hm_yaml_get(const struct hm_yaml *map, const char *key); /* NULL when absent or not a map */
const char *hm_yaml_type_name(const struct hm_yaml *n);			 /* "a list", for error texts */
/* Error at a node; returns code. The key of the node becomes e->field. */
int hm_yaml_err(const struct hm_yaml *n, struct hm_err *e, int code, const char *fmt, ...) HM_PRINTF(4, 5);
/* Typed reads; a wrong type is an error at the node that says what is expected. */
int hm_yaml_str(const struct hm_yaml *n, struct hm_str *v_r, struct hm_err *e) HM_MUSTCHECK;
int hm_yaml_i64(const struct hm_yaml *n, int64_t min, int64_t max, int64_t *v_r,
		struct hm_err *e) HM_MUSTCHECK;
int hm_yaml_bool(const struct hm_yaml *n, bool *v_r, struct hm_err *e) HM_MUSTCHECK;
int hm_yaml_duration(const struct hm_yaml *n, uint64_t *ms_r, struct hm_err *e) HM_MUSTCHECK;
/* Every key of `map` must be in the NULL-terminated list; otherwise an error at the
 * key that names it and the nearest allowed one ("did you mean ..."). */
int hm_yaml_known(const struct hm_yaml *map, const char *const *keys, struct hm_err *e) HM_MUSTCHECK;

#endif
