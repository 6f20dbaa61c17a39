/*
 * err.h - environment errors: code, sentence, where
 *
 * Three roads (engine/README.md): a bug panics; the environment returns a
 * negative HM_E code and fills the caller's struct hm_err; what a provider said
 * is an outcome (tbl/outcomes.h) and never an hm_err.
 * Texts are one sentence for the person who can repair it, and never carry secrets.
 */
#ifndef HM_BASE_ERR_H
#define HM_BASE_ERR_H

#include "base/defs.h"
#include "base/str.h"

enum hm_err_code {
	HM_OK = 0,
#define HM_ERR(name, code, http, text) HM_##name = code,
#include "tbl/errors.h"
#undef HM_ERR
};

struct hm_err {
	int code;	/* 0 or HM_E... */
	char text[320]; /* NUL-terminated sentence, UTF-8 */
	char file[160]; /* input file the error is about, or "" */
	int line, col;	/* 1-based, 0 when unknown */
	char field[96]; /* dotted path of the offending field, or "" */
};

void hm_err_clear(struct hm_err *e);
/* Both accept e == NULL, and return `code`, so that `return hm_err_set(...)` reads well. */
int hm_err_set(struct hm_err *e, int code, const char *fmt, ...) HM_PRINTF(3, 4);
int hm_err_at(struct hm_err *e, int code, const char *file, int line, int col, const char *fmt, ...)
	HM_PRINTF(6, 7);
/* Puts "<fmt>: " in front of the text: context added on the way up. Returns e->code. */
int hm_err_wrap(struct hm_err *e, const char *fmt, ...) HM_PRINTF(2, 3);
void hm_err_field(struct hm_err *e, const char *field);
/* "file:line:col: text" or "text". Returns length written (cut to cap). */
size_t hm_err_format(const struct hm_err *e, char *out, size_t cap);

/* Takes the problems of a text or a set of files: called once for each, with file, line and column where there are any. */
typedef void (*hm_report_fn)(void *arg, const struct hm_err *e);
/* A hm_report_fn that keeps the first; arg is a struct hm_err, cleared before. */
void hm_err_keep_first(void *arg, const struct hm_err *e);

const char *hm_err_name(int code); /* "ETIMEDOUT" */
int hm_err_http(int code);	   /* the HTTP status an API answer uses */

#endif
