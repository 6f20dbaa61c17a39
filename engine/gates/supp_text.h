/*
 * supp_text.h - entries of the lists as people and other systems write them: JSON objects and CSV rows
 *
 *   {"address": "a@example.com", "medium": "email", "category": "*", "reason": "hard_bounce",
 *    "proof": "550 5.1.1", "by": "crm", "at": "2026-01-02T03:04:05Z", "until": ..., "since": ...}
 *
 *   address,user,medium,category,reason,proof,by,at,until,since
 *
 * address or user: whom it is about, exactly one. medium, category: absent, empty or * is all of them. reason: absent means
 * manual; a consent has none. Times: RFC 3339, or milliseconds of Unix time as a number or digits; at: absent means now.
 * What is written here is what is read: an export is an import.
 *
 * Threads: pure functions.
 */
#ifndef HM_GATES_SUPP_TEXT_H
#define HM_GATES_SUPP_TEXT_H

#include "gates/suppress.h"

/* The keys, NULL-terminated, in the order of the columns. */
extern const char *const hm_suppress_keys[];
/* Texts point into o, or are constants. `by` is left empty when it is absent. HM_EINVAL with the field; the entry is checked
 * (hm_suppress_check). as_key: only what names an entry matters, for removing. */
int hm_suppress_read(const msgpack_object *o, bool consents, bool as_key, uint64_t now_ms,
		     struct hm_suppress_entry *x_r, struct hm_err *e) HM_MUSTCHECK;
/* One word of the above: "email" or "*" or "" (-1); "news" or "*". HM_EINVAL with a sentence. */
int hm_suppress_read_medium(struct hm_str s, int *medium_r, struct hm_err *e) HM_MUSTCHECK;

void hm_suppress_put_json(const struct hm_suppress_entry *x, struct hm_buf *out);
void hm_suppress_put_csv_head(struct hm_buf *out);
void hm_suppress_put_csv(const struct hm_suppress_entry *x, struct hm_buf *out); /* with CRLF (RFC 4180) */

#endif
