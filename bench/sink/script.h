/*
 * script.h - scripted answers: the next replies to requests that match
 *
 *   {"match": {"profile": "apns", "token": "aa11", "path": "/3/device/", "id": "..."},
 *    "replies": [{"status": 429, "headers": {"retry-after": "2"}, "body": "...", "repeat": 3}]}
 *
 * Members of match are optional and all must hold; token (the profile's target),
 * path and id are prefixes. Scripts are asked in the order they were added; a
 * script whose replies are used up is gone. Thread-safe.
 */
#ifndef HM_SINK_SCRIPT_H
#define HM_SINK_SCRIPT_H

#include "worker.h"

#define SCRIPT_HEADERS 12
#define SCRIPT_MAX     1000 /* scripts alive at once */
#define SCRIPT_REPLIES 10000

struct script;
struct script_reply {
	struct script *owner; /* a taken reply holds its script */
	uint64_t repeat;      /* times left */
	int status;
	struct {
		struct hm_str name, value;
	} headers[SCRIPT_HEADERS];
	size_t n_headers;
	struct hm_str body;
	bool has_body, has_type, json, natural, accept, accept_set;
	uint32_t delay_ms, trickle_ms;
	uint64_t fill;
	enum sink_fault fault;
	struct script_reply *next;
};

struct scripts *scripts_new(void);
void scripts_free(struct scripts *s);
void scripts_reset(struct scripts *s);
/* One script document, or a list of them. */
int scripts_add(struct scripts *s, const struct hm_yaml *doc, size_t *added_r, struct hm_err *e) HM_MUSTCHECK;
/* The reply for this request, or NULL; give it back with scripts_done (NULL is fine). */
struct script_reply *scripts_take(struct scripts *s, const struct sink_req *r, const struct sink_ids *ids);
void scripts_done(struct script_reply *r);
/* A header of the reply; empty when it has none of that (lower case) name. */
struct hm_str script_header(const struct script_reply *r, const char *name);
void scripts_json(struct scripts *s, struct hm_buf *out); /* what is left */

#endif
