/*
 * regex.c - the only file that knows PCRE2
 */
#include "adapter/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define MATCH_LIMIT 100000u /* steps: some milliseconds */
#define DEPTH_LIMIT 1000u
#define HEAP_KIB    512u

struct hm_regex {
	pcre2_code *code;
	uint32_t groups;
};

static void *from_arena(size_t n, void *arena)
{
	return hm_arena_alloc(arena, n);
}

static void to_nobody(void *p, void *arena)
{
}

int hm_regex_compile(struct hm_str pattern, struct hm_arena *a, struct hm_regex **r, struct hm_err *e)
{
	pcre2_general_context *memory = pcre2_general_context_create(from_arena, to_nobody, a);
	pcre2_compile_context *how = memory ? pcre2_compile_context_create(memory) : NULL;
	struct hm_regex *x = hm_arena_zalloc(a, sizeof(*x));
	PCRE2_UCHAR text[120];
	PCRE2_SIZE at = 0;
	int why = 0;

	if (how == NULL || x == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	if (pattern.len > HM_REGEX_MAX_PATTERN)
		return hm_err_set(e, HM_ECONFIG, "the pattern has more than %d bytes", HM_REGEX_MAX_PATTERN);
	pcre2_set_parens_nest_limit(how, 20);
	x->code = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.len,
				PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C, &why, &at,
				how);
	if (x->code == NULL) {
		if (pcre2_get_error_message(why, text, sizeof(text)) < 0)
			text[0] = '\0';
		return hm_err_set(e, HM_ECONFIG, "the pattern is wrong behind its character %zu: %s", at,
				  (const char *)text);
	}
	(void)pcre2_pattern_info(x->code, PCRE2_INFO_CAPTURECOUNT, &x->groups);
	*r = x;
	return 0;
}

uint32_t hm_regex_groups(const struct hm_regex *r)
{
	return r->groups;
}

int hm_regex_match(const struct hm_regex *r, struct hm_str s, uint32_t group, struct hm_arena *a,
		   struct hm_str *text_r)
{
	pcre2_general_context *memory = pcre2_general_context_create(from_arena, to_nobody, a);
	pcre2_match_context *how = memory ? pcre2_match_context_create(memory) : NULL;
	pcre2_match_data *found = memory ? pcre2_match_data_create_from_pattern(r->code, memory) : NULL;
	const PCRE2_SIZE *at;
	int rc;

	if (how == NULL || found == NULL)
		return HM_ENOMEM;
	pcre2_set_match_limit(how, MATCH_LIMIT);
	pcre2_set_depth_limit(how, DEPTH_LIMIT);
	pcre2_set_heap_limit(how, HEAP_KIB);
	rc = pcre2_match(r->code, (PCRE2_SPTR)(s.p ? s.p : ""), s.len, 0, 0, found, how);
	if (rc == PCRE2_ERROR_NOMATCH)
		return 0;
	if (rc < 0)
		return rc == PCRE2_ERROR_NOMEMORY ? HM_ENOMEM : HM_ELIMIT;
	at = pcre2_get_ovector_pointer(found);
	if (text_r != NULL)
		*text_r = group >= pcre2_get_ovector_count(found) || at[2 * group] == PCRE2_UNSET
				  ? HM_STR_NULL
				  : hm_str_n(s.p + at[2 * group], at[2 * group + 1] - at[2 * group]);
	return 1;
}
