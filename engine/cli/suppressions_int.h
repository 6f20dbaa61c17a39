/*
 * suppressions_int.h - what the files of hermod suppressions share
 */
#ifndef HM_CLI_SUPPRESSIONS_INT_H
#define HM_CLI_SUPPRESSIONS_INT_H

#include <stdio.h>

#include "cli/lines.h"
#include "cli/queue_link.h"
#include "gates/supp_text.h"

/* The keys of an entry that may be given as options, in the order of hm_suppress_keys. */
#define SCLI_KEYS 10
struct scli_args {
	struct hm_conf_args conf;
	const char *redis, *format, *rejects, *limit, *kind, *file;
	const char *value[SCLI_KEYS]; /* --address, --user, --medium ... as given */
	bool consents, json, all, remove, no_progress, total;
};
enum {
	SCLI_ADDRESS,
	SCLI_USER,
	SCLI_MEDIUM,
	SCLI_CATEGORY,
	SCLI_REASON,
	SCLI_PROOF,
	SCLI_BY,
	SCLI_AT,
	SCLI_UNTIL,
	SCLI_SINCE
};

struct scli {
	struct hm_queue_link q;
	const struct scli_args *a;
	struct hm_str prefix;
	char by[HM_QUEUE_WHO_MAX];
};
int scli_open(struct scli *c, const struct scli_args *a) HM_MUSTCHECK; /* 0, or the exit code */
void scli_close(struct scli *c);
int scli_failed(const struct hm_err *e); /* prints it; 1 */
/* The options as a filter. 0, or 2 after a sentence. */
int scli_filter(const struct scli_args *a, struct hm_suppress_filter *f) HM_MUSTCHECK;
/* Every entry the filter finds, until fn returns false. */
typedef bool (*scli_entry_fn)(void *arg, const struct hm_suppress_entry *x);
int scli_walk(struct scli *c, const struct hm_suppress_filter *f, uint32_t page, scli_entry_fn fn, void *arg,
	      struct hm_err *e) HM_MUSTCHECK;

/* suppressions_import.c, suppressions_export.c */
int scli_import(const struct scli_args *a), scli_export(const struct scli_args *a);

#endif
