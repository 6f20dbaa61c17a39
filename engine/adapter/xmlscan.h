/*
 * xmlscan.h - finds the text of an element in a small XML answer
 *
 * Enough for the query protocols that answer XML (Amazon SNS): nested elements,
 * attributes skipped, comments, CDATA and the five entities. Not a validator: an
 * answer is taken as XML when its tags balance; namespaces are part of the name.
 */
#ifndef HM_ADAPTER_XMLSCAN_H
#define HM_ADAPTER_XMLSCAN_H

#include "base/arena.h"
#include "base/str.h"

bool hm_xml_check(struct hm_str xml) HM_MUSTCHECK; /* tags balance, one root, UTF-8 */
/* Content of the first child element called `name` of `content` (markup included). */
bool hm_xml_element(struct hm_str content, struct hm_str name, struct hm_str *content_r);
/* The next child element behind what was read; content advances. Of a text that hm_xml_check has seen. */
bool hm_xml_next(struct hm_str *content, struct hm_str *name_r, struct hm_str *inner_r);
struct hm_str hm_xml_text(struct hm_str content, struct hm_arena *a); /* without tags, entities decoded */

#endif
