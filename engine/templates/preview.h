/*
 * preview.h - what would be sent: one template and one set of data, on every channel of a route
 *
 * Nothing leaves. The request is built as for a real message (adapter/adapter.h), with a report of what was measured,
 * cut and noticed, and written as JSON:
 *
 *   {"template": "welcome", "version": 3, "data": {...}, "channels": [
 *     {"channel": "apns-main", "adapter": "push/apns", "medium": "push", "ok": true, "dialect": "plain",
 *      "content": {"title": ..., "body": ..., "short": ..., "url": ..., "image": ..., "buttons": [...], "options": {...}, "data": {...}},
 *      "lengths": [{"field": "body", "length": 215, "sent": 178, "limit": 200, "unit": "bytes", "action": "cut", "parts": 1}],
 *      "sms": {"encoding": "UCS-2", "units": 82, "segments": 2, "room": 52, "because": "林"},
 *      "payloads": [{"type": "application/json", "bytes": 312, "limit": 4096, "json": {...}}],
 *      "warnings": ["body: cut at 178 of 200 bytes"]},
 *     {"channel": "sms-2", ..., "ok": false, "error": "the field user.name is missing"}]}
 *
 * `content` is what the template gives, before the medium's limits; `payloads` is what goes out, one per part, with the
 * channel's secrets masked. Tokens are placeholders.
 * Threads: any; channels, set and config are immutable, memory is the caller's arena (and a scratch one of its own).
 */
#ifndef HM_TEMPLATES_PREVIEW_H
#define HM_TEMPLATES_PREVIEW_H

#include "base/buf.h"
#include "content/content.h"

#define HM_PREVIEW_MAX_BYTES (8u << 20) /* of the answer */

struct hm_preview {
	const struct hm_template *tmpl;
	const struct hm_template_set *set; /* fragments */
	const struct hm_config *cfg;
	const struct hm_channel_set *channels;
	/* which of them: the channels of a route, named ones, those of some media; all of these empty: every channel */
	const struct hm_route *route;
	const struct hm_str *names;
	size_t n_names;
	uint32_t media;		     /* bit per enum hm_medium; 0: all */
	const msgpack_object *data;  /* NULL: the examples of the declared fields */
	const msgpack_object *facts; /* values of facts by name; NULL: fallbacks */
	struct hm_str locale, tz;
	const msgpack_object *to; /* an address, or a map of them by medium or channel; NULL: a sample */
	uint64_t now_ms;
};
/* HM_ENOENT for an unknown channel name, HM_EINVAL for an address of nobody; what a single channel cannot do stands in its row. */
int hm_preview_write(const struct hm_preview *p, struct hm_arena *a, struct hm_buf *out,
		     struct hm_err *e) HM_MUSTCHECK;

#endif
