/*
 * cases.h - rows of the conformance files (tests/conformance/templates/README.md), one JSON object each
 *
 * `hermod render --cases` and the conformance test are this function in a loop. Fields read:
 * id template data format locale timezone fragments braces; anything else is ignored.
 */
#ifndef HM_TMPL_CASES_H
#define HM_TMPL_CASES_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

/*
 * Compiles and renders one row and appends {"id":..,"ok":true,"output":..} or {"id":..,"ok":false,"error":
 * "parse|undefined|type|other","message":..} without a line break. False when the row itself is unusable; the
 * answer then says so with the error "other". `arena` is for temporaries of the render.
 */
bool hm_tmpl_case(struct hm_str row, struct hm_arena *arena, struct hm_buf *out);
/* The class of an error code of tmpl.h, as the rows call it. */
const char *hm_tmpl_error_class(int code);

#endif
