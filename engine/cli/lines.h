/*
 * lines.h - records from a file: JSON Lines, CSV or plain lines, one at a time
 *
 * A reader gives one record per call as msgpack, with the defaults of the command line
 * merged in, and knows the line it began on. CSV is RFC 4180: quoted fields may hold
 * commas, line breaks and doubled quotes; a byte order mark is skipped.
 *
 * The records are messages (hm_lines_open), or flat: a map of texts under keys the caller lists (hm_lines_open_flat); those may
 * also be plain lines, each the value of one key.
 *
 * Memory: one buffer of HM_LINES_MAX bytes and the record. Errors: per record, in err; the
 * reader goes on with the next one.
 */
#ifndef HM_CLI_LINES_H
#define HM_CLI_LINES_H

#include <msgpack.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"

#define HM_LINES_MAX	  (16u << 20) /* of one record */
#define HM_LINES_COLUMNS  256
#define HM_LINES_DEFAULTS 16

enum hm_lines_format { HM_LINES_JSON, HM_LINES_CSV, HM_LINES_PLAIN };

struct hm_lines_column { /* of a CSV file */
	enum { COL_KEY, COL_RCPT, COL_ADDR, COL_DATA } where;
	enum { COL_TEXT, COL_NUMBER, COL_BOOL, COL_JSON, COL_LIST } type;
	struct hm_str name; /* inside its map */
};
struct hm_lines {
	FILE *f;
	enum hm_lines_format format;
	const char *const *flat; /* NULL-terminated: what columns may be called; NULL: messages */
	const char *plain_key;
	uint64_t line; /* the record given last began here, 1-based */
	uint64_t next_line;
	uint64_t bytes;	   /* read so far */
	struct hm_buf raw; /* the record as it stands in the file, without its line end */
	struct hm_buf mp;
	struct hm_buf fields; /* CSV: unquoted fields */
	size_t field_off[HM_LINES_COLUMNS + 1];
	struct hm_lines_column columns[HM_LINES_COLUMNS];
	size_t n_columns;
	struct hm_buf header_text;
	/* keys a record gets when it does not have them; value: msgpack */
	struct hm_lines_default {
		struct hm_str key, value;
	} defaults[HM_LINES_DEFAULTS];
	size_t n_defaults;
};
/* f stays the caller's. For CSV reads the header row. */
int hm_lines_open(struct hm_lines *l, FILE *f, enum hm_lines_format format, struct hm_err *e) HM_MUSTCHECK;
/* keys outlive it. plain_key: HM_LINES_PLAIN only. */
int hm_lines_open_flat(struct hm_lines *l, FILE *f, enum hm_lines_format format, const char *const *keys,
		       const char *plain_key, struct hm_err *e) HM_MUSTCHECK;
void hm_lines_close(struct hm_lines *l);
/* 1: a record, *root_r in zone (cleared first) and l's buffers until the next call. 0: the end.
 * < 0: this record is no good (err says why); call again for the next. HM_EIO: reading failed, it is over. */
int hm_lines_next(struct hm_lines *l, msgpack_zone *zone, msgpack_object *root_r,
		  struct hm_err *e) HM_MUSTCHECK;

/* Tells of the nth refused record: the first ones on standard error (after clearing the progress line when bar), all of them to
 * rejects, as JSON, unless it is NULL. */
void hm_lines_refused(const struct hm_lines *l, const char *file, uint64_t nth, bool bar, FILE *rejects,
		      const struct hm_err *e);

#endif
