/*
 * receipts.h - what a provider says after it took a message: the section `receipts` of an adapter file, evaluated
 *
 *   a call of the provider   hm_channel_callback      genuine? a handshake? which events, and what to answer
 *   an answer to a question  hm_channel_pull_build, hm_channel_pull_events
 *   a driver's session       hm_channel_session_events (SMPP deliver_sm: a map of its fields)
 *
 * Pure: no network, no Redis, no clock but wall_ms. What becomes of the events is engine/receipts.
 *
 * A call that cannot be proved genuine is FORGED and has no events, whatever the reason: no signature, a wrong one, an
 * expression that fails on bad input, a secret that is not configured. The proof is the adapter's `verify`; where it has
 * none, the channel's setting callback_token must be set and come as query.token. A callback_token that is set is always
 * compared.
 *
 * Memory: everything in a result lives in the arena or in the call. Threads: any; channels are read-only.
 */
#ifndef HM_ADAPTER_RECEIPTS_H
#define HM_ADAPTER_RECEIPTS_H

#include "adapter/adapter.h"

enum hm_cb_kind {
#define HM_CALLBACK_EVENT(name, text, receipt, suppress, sentence) HM_CB_EV_##name,
#include "tbl/callback_events.h"
#undef HM_CALLBACK_EVENT
	HM_CB_EV_COUNT
};
const char *hm_cb_kind_name(enum hm_cb_kind k);
int hm_cb_kind_find(struct hm_str s);		    /* -1: there is none */
int hm_cb_kind_receipt(enum hm_cb_kind k);	    /* enum hm_receipt, -1: none */
const char *hm_cb_kind_suppress(enum hm_cb_kind k); /* reason of a suppression, "" for none */

#define HM_CB_EVENTS_MAX 10000 /* of one call or answer */
#define HM_CB_DETAIL_MAX 200
#define HM_CB_TEXT_MAX	 10000 /* of a reply */
struct hm_cb_event {
	uint8_t kind; /* enum hm_cb_kind */
	bool final;   /* false: on its way, nothing to change */
	bool has_id;
	struct hm_ulid id;
	struct hm_str provider_id, recipient, code, sub, detail, text,
		dedupe; /* may be empty; UTF-8, no control characters
										  but in text */
	uint64_t at_ms;
	int row_line; /* of the adapter file; 0: no row, ignored */
};

/* What a channel's receipts need of the rest of the engine. */
struct hm_cb_info {
	bool push, pull, session;
	bool by_provider_id;	   /* no `id`: sending has to remember which message has which provider id */
	bool batch_by_provider_id; /* `id` may be missing, in calls with several recipients: the same, for those */
	uint64_t keep_ms;	   /* how long */
	uint64_t pull_after_ms, pull_until_ms;
	uint32_t pull_max;
	uint64_t deadline_ms;
};
void hm_channel_receipts(const struct hm_channel *c, struct hm_cb_info *i);

struct hm_cb_call {
	struct hm_str method, path;	 /* "POST", "/v1/callbacks/twilio-main" */
	struct hm_str query;		 /* as it came, without ? */
	struct hm_str url;		 /* as the provider knows it */
	const struct hm_header *headers; /* names in any case */
	size_t n_headers;
	struct hm_str body;
	struct hm_str certificate; /* PEM, after HM_CB_CERTIFICATE */
	uint64_t wall_ms;
};
enum hm_cb_verdict {
	HM_CB_TAKEN,	   /* genuine: take the events, then answer as `status` says; there may be none */
	HM_CB_CHALLENGE,   /* a handshake: answer, nothing else */
	HM_CB_CONFIRM,	   /* genuine: get `fetch` once, then answer */
	HM_CB_CERTIFICATE, /* `fetch` has the certificate it is signed with: get it, and ask again with it */
	HM_CB_FORGED,	   /* 403 */
	HM_CB_UNREADABLE,  /* genuine, but not what the adapter describes: 400 */
	HM_CB_METHOD,	   /* 405 */
	HM_CB_NOT_HERE	   /* the adapter has no receipts.push: 404 */
};
const char *hm_cb_verdict_name(enum hm_cb_verdict v);
struct hm_cb_result {
	enum hm_cb_verdict verdict;
	int status;
	struct hm_str type, body; /* of the answer */
	struct hm_str fetch;	  /* https URL whose host the adapter allows */
	struct hm_cb_event *events;
	size_t n, ignored; /* ignored: events that `when` or no row wants; not among the n */
	char why[160];	   /* FORGED, UNREADABLE: one sentence, nothing secret */
};
void hm_channel_callback(const struct hm_channel *c, const struct hm_cb_call *call, struct hm_arena *a,
			 struct hm_cb_result *r);

/* Only ids that give the same may be asked about in one request; empty where there is no such condition. */
struct hm_str hm_channel_pull_group(const struct hm_channel *c, struct hm_str id, uint64_t wall_ms,
				    struct hm_arena *a);
/*
 * Asks about n provider ids (1 .. pull_max, of one group). *origin_r: whom, the channel's own unless the request has a
 * URL. HM_EINVAL: the request cannot be built.
 */
int hm_channel_pull_build(const struct hm_channel *c, const struct hm_str *ids, size_t n,
			  struct hm_str credential, uint64_t wall_ms, struct hm_arena *a,
			  struct hm_call *call, struct hm_origin_opts *origin_r,
			  struct hm_err *e) HM_MUSTCHECK;
/* *v judges the answer as a sending is judged; only of an ok one there are events. */
void hm_channel_pull_events(const struct hm_channel *c, const struct hm_str *ids, size_t n,
			    const struct hm_call *call, uint64_t wall_ms, struct hm_arena *a,
			    struct hm_verdict *v, struct hm_cb_result *r);

struct hm_cb_field {
	struct hm_str name, value;
};
void hm_channel_session_events(const struct hm_channel *c, const struct hm_cb_field *v, size_t n,
			       uint64_t wall_ms, struct hm_arena *a, struct hm_cb_result *r);

#endif
