/*
 * lang.h - the tables of the language as enums: built-ins, special variables, settings
 */
#ifndef HM_TMPL_LANG_H
#define HM_TMPL_LANG_H

#include "base/str.h"

enum {
	BI_METHOD = 1,
	BI_OPT = 2,
	BI_KEYED = 4,
	BI_NULL = 8,
	BI_LOOP = 16,
	BI_PARSE = 32,
	BI_LAMBDA = 64,
	BI_ESCAPES = 128,
	BI_FORMAT = 256,
	BI_OUT = 512,
	BI_ARGNULL = 1024,
	BI_ARGTEXT = 2048,
};
enum hm_bi {
#define HM_BI(id, name, min, max, flags) BI_ID_##id,
#define HM_BI_X				 HM_BI
#include "tmpl/builtins.h"
#undef HM_BI
#undef HM_BI_X
	BI_COUNT
};
struct hm_bi_def {
	struct hm_str name;
	uint8_t min, max;
	uint16_t flags;
};
extern const struct hm_bi_def hm_bi_def[BI_COUNT];
int hm_bi_find(struct hm_str name); /* -1: there is none */

enum hm_special {
#define HM_SPECIAL(id, name) SPECIAL_##id,
#include "tmpl/specials.h"
#undef HM_SPECIAL
	SPECIAL_COUNT
};
int hm_special_find(struct hm_str name);

enum hm_setting {
#define HM_SETTING(id, name) SETTING_##id,
#include "tmpl/settings.h"
#undef HM_SETTING
	SETTING_COUNT
};
int hm_tmpl_setting_find(struct hm_str name);

int hm_fmt_find(struct hm_str name); /* output format by FreeMarker's name: "HTML", "plainText" */
struct hm_str hm_fmt_name(unsigned fmt);

#endif
