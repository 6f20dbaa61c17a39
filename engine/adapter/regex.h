/*
 * regex.h - patterns of adapter files: PCRE2, compiled when the file is read
 *
 * Only what an adapter's author wrote is a pattern; what is matched comes from users
 * and providers. So a match has limits on steps, depth and memory, and one that
 * reaches them is an error, never a yes. Texts that are not UTF-8 match nothing
 * beyond their bad bytes. Memory: the arenas given; nothing to free.
 * Threads: a compiled pattern may be shared.
 */
#ifndef HM_ADAPTER_REGEX_H
#define HM_ADAPTER_REGEX_H

#include "base/arena.h"
#include "base/err.h"

struct hm_regex;
#define HM_REGEX_MAX_PATTERN 1000 /* bytes */

/* HM_ECONFIG with the reason and where in the pattern. */
int hm_regex_compile(struct hm_str pattern, struct hm_arena *a, struct hm_regex **r,
		     struct hm_err *e) HM_MUSTCHECK;
uint32_t hm_regex_groups(const struct hm_regex *r); /* ( ) in the pattern */
/* 1: found, and *text_r (NULL is fine) is that group (0: all of it), with p == NULL when it took no part; 0: not found;
 * HM_ELIMIT, HM_ENOMEM. */
int hm_regex_match(const struct hm_regex *r, struct hm_str s, uint32_t group, struct hm_arena *a,
		   struct hm_str *text_r) HM_MUSTCHECK;

#endif
