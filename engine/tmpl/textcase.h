/* textcase.h - upper and lower case by Unicode, without a locale */
#ifndef HM_TMPL_TEXTCASE_H
#define HM_TMPL_TEXTCASE_H

#include "base/str.h"

#define HM_CASE_MAX 12 /* bytes one character may become */

/* Both write UTF-8 and return its length. */
size_t hm_upper(uint32_t cp, char out[HM_CASE_MAX]);
size_t hm_lower(uint32_t cp, char out[HM_CASE_MAX]);
uint32_t hm_lower_cp(uint32_t cp); /* simple mappings: one character */
uint32_t hm_upper_cp(uint32_t cp);
bool hm_is_cased(uint32_t cp);

#endif
