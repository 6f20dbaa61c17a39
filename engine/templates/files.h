/*
 * files.h - a folder of templates: DIR/order/shipped.yaml is "order/shipped"
 *
 * Sub-folders at most HM_TFILES_DEPTH deep; names beginning with a dot are left out. *.test.yaml are fixtures (fixture.h): the
 * list of them is asked for with `fixtures`, the templates without. Sorted by name.
 * Memory: the list's own arena. Errors: each problem goes to report, with its file; the rest is read nevertheless.
 */
#ifndef HM_TEMPLATES_FILES_H
#define HM_TEMPLATES_FILES_H

#include "config/config.h"

#define HM_TFILES_DEPTH 8
#define HM_TFILES_MAX	100000

struct hm_tfile {
	struct hm_str name; /* of the template; of a fixture: what stands before .test.yaml */
	const char *path;
	struct hm_str text; /* byte for byte */
};
struct hm_tfiles {
	struct hm_tfile *v;
	size_t n;
	/* private */
	size_t cap;
	struct hm_arena arena;
};
/* Returns the number of problems. In any case hm_tfiles_free is to be called. */
size_t hm_tfiles_read(struct hm_tfiles *f, const char *dir, bool fixtures, hm_report_fn report, void *arg);
void hm_tfiles_free(struct hm_tfiles *f);
const struct hm_tfile *hm_tfiles_find(const struct hm_tfiles *f, struct hm_str name);
/* A file put in place whole (a new one beside it, then renamed), with the folders it needs. */
int hm_tfile_write(const char *path, struct hm_str text, struct hm_err *e) HM_MUSTCHECK;

#endif
