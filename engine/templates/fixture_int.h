/*
 * fixture_int.h - what the two halves of the fixtures share: running, and texts
 */
#ifndef HM_TEMPLATES_FIXTURE_INT_H
#define HM_TEMPLATES_FIXTURE_INT_H

#include "templates/fixture.h"

#define FIXTURE_BYTES_MAX (16u << 20) /* of what is printed about one file */

/* What came out for one medium. */
struct fixture_got {
	int rc; /* error text in err when not 0 */
	struct hm_err err;
	struct hm_content content;
};
/* Members in the order they are printed. */
#define FIXTURE_MEMBERS 8
extern const char *const hm_fixture_members[FIXTURE_MEMBERS + 1];
/* A member as a value; NULL: not there. */
const msgpack_object *hm_fixture_member(const struct fixture_got *g, const char *name, msgpack_object *room);

/* A YAML node as a value, in the arena; NULL: out of memory. */
const msgpack_object *hm_fixture_value(const struct hm_yaml *n, struct hm_arena *a);
bool hm_fixture_same(const msgpack_object *a, const msgpack_object *b); /* maps: in any order */
/* "key: value" as YAML, indented; texts of several lines as blocks. */
void hm_fixture_put(struct hm_buf *b, size_t indent, const char *key, const msgpack_object *v);

/* In the text of a file: the lines of `expect` of the case that begins at case_line, replaced. False when the case is
 * not written in lines of its own. */
bool hm_fixture_replace(struct hm_buf *text, const struct hm_yaml *kase, struct hm_str expect);

#endif
