/* compress.h - what <#compress> does to its text: runs of white space become one space or line break */
#ifndef HM_TMPL_COMPRESS_H
#define HM_TMPL_COMPRESS_H

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

/* In place; returns the new length, which is never larger. White space at both ends goes. */
size_t hm_compress(char *p, size_t len);
/* Java's Character.isWhitespace */
bool hm_is_white(uint32_t cp);

#endif
