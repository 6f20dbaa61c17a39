/*
 * callback_body.h - bodies of calls as values: forms, multipart forms, XML, delivery status notifications
 *
 * What cannot be read is NONE. Everything lives in the arena or in the body. Limits: FIELDS fields or elements, 32 levels.
 */
#ifndef HM_ADAPTER_CALLBACK_BODY_H
#define HM_ADAPTER_CALLBACK_BODY_H

#include "adapter/value.h"

#define HM_CB_FIELDS_MAX 4096
/* Names and values decoded, in their order; a repeated name stands there again. */
struct hm_val hm_cb_form(struct hm_str text, struct hm_arena *a);
/* multipart/form-data; content_type says the boundary. Files too, by their field's name. */
struct hm_val hm_cb_multipart(struct hm_str body, struct hm_str content_type, struct hm_arena *a);
/* The children of the root element: {name: text | map | list of them}. */
struct hm_val hm_cb_xml(struct hm_str text, struct hm_arena *a);
/*
 * A mail that reports about another one: RFC 3464 (delivery status) or RFC 5965 (abuse feedback).
 *   {kind: "delivery" | "feedback" | "guess" | "other", head: {to, ...}, report: {reporting_mta, ...},
 *    recipients: [{final_recipient, action, status, diagnostic_code, ...}], original: {message_id, to, ...}}
 * Names in lower case with _; "rfc822;" and the like before an address or a diagnostic is taken off. guess: a bounce written for
 * people, of which recipients says what could be read. other: none of these (an answer of somebody, out of office).
 */
struct hm_val hm_cb_dsn(struct hm_str mail, struct hm_arena *a);

/* -- shared by the two files -- */
struct hm_cb_map { /* grows in the arena */
	struct hm_arena *a;
	struct hm_pair *v;
	uint32_t n, cap;
	bool full;
};
void hm_cb_map_add(struct hm_cb_map *m, struct hm_str name, struct hm_val v);
struct hm_val hm_cb_map_val(const struct hm_cb_map *m); /* NONE when it grew too large */
/* Next part between boundaries; rest begins as the whole body. false: none left. */
bool hm_cb_part(struct hm_str *rest, struct hm_str boundary, struct hm_str *part_r);
/* Splits at the first empty line. */
void hm_cb_split_head(struct hm_str text, struct hm_str *head_r, struct hm_str *body_r);
/* Next header, unfolded into the arena. false: none left. */
bool hm_cb_header(struct hm_str *rest, struct hm_str *name_r, struct hm_str *value_r, struct hm_arena *a);
/* `name=value` or `name="value"` behind a semicolon of a header; empty when absent. */
struct hm_str hm_cb_param(struct hm_str header, const char *name);

#endif
