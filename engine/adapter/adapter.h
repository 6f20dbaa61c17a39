/*
 * adapter.h - providers as data: what dispatch asks of them
 *
 * An adapter is a compiled `adapters/<medium>/<name>.yaml`; a channel is an account
 * on it (config section `channels`). Both are immutable after load, refcounted and
 * shared by all threads; a reload builds new ones. Three questions are asked:
 *
 *   hm_channel_build     this content for these recipients -> the request (hm_call)
 *   hm_channel_classify  this answer -> outcome, per recipient where it is partial
 *   hm_cred_*            the credential to build with (cred.h)
 *
 * No YAML and no malloc on that path: loading compiles everything into tables, and
 * build and classify allocate from the caller's arena only.
 */
#ifndef HM_ADAPTER_ADAPTER_H
#define HM_ADAPTER_ADAPTER_H

#include <msgpack.h>

#include "adapt/fit.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/ulid.h"
#include "base/vocab.h"
#include "config/config.h"
#include "wire/wire.h"

#define HM_ADAPTER_MAGIC 0x61647074u
#define HM_CHANNEL_MAGIC 0x6368616eu

struct hm_adapter;     /* one provider's protocol */
struct hm_adapter_set; /* all adapter files of a folder */
struct hm_channel;     /* one account; see the accessors */

/* Loads every <dir>/<medium>/<name>.yaml; an empty dir is the folder that came with the program.
 * Collects several errors (file:line:col) through report(). */
int hm_adapter_set_load(struct hm_str dir, struct hm_adapter_set **set_r, hm_report_fn report,
			void *arg) HM_MUSTCHECK;
void hm_adapter_set_unref(struct hm_adapter_set *s);
/* The channels of a configuration, compiled against the adapters. */
struct hm_channel_set {
	struct hm_channel **v;
	size_t n;
	/* private */
	uint32_t refs;
	struct hm_str public_url; /* callbacks.public_url without a slash at its end; may be empty */
	struct hm_adapter_set *adapters;
	struct hm_arena arena;
};
int hm_channel_set_load(const struct hm_config *cfg, struct hm_adapter_set *set, struct hm_channel_set **r,
			hm_report_fn report, void *arg) HM_MUSTCHECK;
struct hm_channel_set *hm_channel_set_ref(struct hm_channel_set *s); /* atomic */
void hm_channel_set_unref(struct hm_channel_set *s);
struct hm_channel_set *hm_channel_set_of(const struct hm_channel *c); /* the one it belongs to */
struct hm_channel *hm_channel_find(const struct hm_channel_set *s, struct hm_str name);

/* At most `max` in any `window_ms`; all of a list hold. What is more waits. Several of one window: the smallest. */
#define HM_QUOTAS_MAX 6
struct hm_quota {
	uint32_t max;
	uint32_t burst; /* at once; 0: a tenth of max, where the window is ten seconds or longer all of it */
	uint64_t window_ms;
};
struct hm_quotas {
	struct hm_quota v[HM_QUOTAS_MAX];
	uint32_t n;
};
/* What a channel says of its breaker; a member that is -1 is as in section breaker. */
struct hm_breaker_conf {
	int64_t share, min, window_ms, latency_ms, open_ms;
};
/* What dispatch needs to know of a channel. */
struct hm_channel_info {
	struct hm_str name, adapter; /* "apns-main", "push/apns" */
	struct hm_str
		dialect; /* how text is marked up there: "plain", "wecom-md", ...; "" = depends on the message */
	uint32_t index; /* place in the set: per-shard tables use it */
	enum hm_medium medium;
	struct hm_origin_opts origin; /* where calls go; unused when recipient_is_url */
	bool recipient_is_url; /* the address is the URL (webhook), or holds it (Web Push): origin per host */
	struct hm_str sample;  /* an address as it could be, for previews; empty: any of the medium */
	bool needs_credential; /* a token must be got before building */
	bool prepares;	       /* a request may have to be made before the send: hm_channel_prepare */
	uint32_t batch_max;    /* recipients per call sharing one content; 1 = no batching */
	uint32_t batch_max_bytes;   /* of the joined recipients, 0 = no limit */
	uint32_t timeout_ms;	    /* per request */
	uint32_t max_attempts;	    /* on this channel; 0 = dispatch default */
	bool resend_unknown;	    /* send again when the answer was lost */
	bool idempotent;	    /* the provider drops repeats of the same id: resending is safe */
	struct hm_quotas rate;	    /* requests, of all processes together */
	struct hm_quotas recipient; /* messages to one address, likewise */
	uint32_t max_concurrency;   /* requests on the wire, likewise; 0 = no limit */
	uint64_t account; /* equal for channels that share a credential; 0: it has none of its own */
	struct hm_breaker_conf breaker;
	const uint64_t *retry_waits_ms; /* its own schedule: the waits before attempt 2, 3, ... */
	uint32_t n_retry_waits;		/* 0: waits grow as dispatch says */
};
const struct hm_channel_info *hm_channel_info(const struct hm_channel *c);

/* One content, already rendered for the medium. The adapter's profile (dialect, limits) makes it fit. */
struct hm_content {
	struct hm_str title, body, short_text, url, image; /* title: always plain text */
	enum hm_text_format format;			   /* of body and short_text */
	/* Click tracking; NULL: links stay as they are. Links of the body count from 0 in their order, those of buttons
	 * from 1000 by their place, the url is 2000. */
	const struct hm_link_wrap *wrap;
	const msgpack_object *buttons; /* [{text, url | action, style}], or NULL */
	const msgpack_object *data;    /* key-value payload for the app, or NULL */
	const msgpack_object *
		options; /* standard names, see adapters/README.md (badge, sound, collapse, ttl, ...), or NULL */
};
struct hm_build_rcpt {
	struct hm_str addr, user;
	struct hm_ulid id; /* message id: idempotency keys, apns-id, webhook-id */
};
struct hm_build_in {
	const struct hm_channel *channel;
	const struct hm_build_rcpt *rcpts;
	size_t n_rcpts; /* 1 .. batch_max */
	const struct hm_content *content;
	struct hm_str credential; /* empty when none is needed */
	struct hm_str prepared;	  /* what the request before this one gave, where there is one */
	uint64_t wall_ms;	  /* time of this attempt */
	uint64_t expires_ms;	  /* of the message, 0 = none */
	enum hm_lane lane;
	struct hm_str nonce; /* test override; empty = random */
	bool sample;	     /* the addresses are made up, for a preview: not looked at */
	/* Of a content that is split: which one, from 0; each is a request of its own, with ids of its own but for the first.
	 * HM_EINVAL when there are not so many. */
	uint32_t part;
	uint32_t *parts_r; /* how many there are; NULL: a content that needs several is refused */
	struct hm_build_report *report; /* NULL but in previews: what was measured, cut and noticed */
};
/* What a build did to the texts, for previews. Memory: the arena given to the build. */
struct hm_build_field {
	struct hm_str name;   /* title, body, text, html, short, url, image: those that are sent */
	size_t before, after; /* in `unit`, as written in the dialect; of a split, the longest part */
	size_t max;	      /* 0 = no limit */
	enum hm_unit unit;
	enum hm_fit_action action;
	uint32_t parts;
};
#define HM_BUILD_FIELDS	  8
#define HM_BUILD_WARNINGS 16
struct hm_build_report {
	struct hm_str dialect;
	struct hm_build_field field[HM_BUILD_FIELDS];
	size_t n_fields;
	size_t payload, payload_max; /* bytes of the body; 0 = no limit declared */
	bool sms;		     /* the body is a text message: */
	struct hm_sms sms_size;
	struct hm_str warning[HM_BUILD_WARNINGS]; /* sentences: "body: cut at 178 of 200 bytes" */
	size_t n_warnings;
};
/* Fills method, path, headers, body of *call (arena memory). For recipient_is_url also *origin_r.
 * HM_EINVAL with a sentence naming the field when the content cannot be sent there (too long, bad address):
 * that is outcome bad_request or invalid_recipient (*outcome_r) without a request. */
int hm_channel_build(const struct hm_build_in *in, struct hm_arena *a, struct hm_call *call,
		     struct hm_origin_opts *origin_r, enum hm_outcome *outcome_r,
		     struct hm_err *e) HM_MUSTCHECK;

/* Two-step sends (section prepare): what must be asked of the provider before in can be built. *key_r names the result: the same text
 * is asked once and kept for *keep_ms_r. Empty: nothing is needed. call NULL: only the key is wanted. Errors as hm_channel_build. */
int hm_channel_prepare(const struct hm_build_in *in, struct hm_arena *a, struct hm_call *call,
		       struct hm_str *key_r, uint64_t *keep_ms_r, enum hm_outcome *outcome_r,
		       struct hm_err *e) HM_MUSTCHECK;
enum hm_scope { HM_SCOPE_RECIPIENT, HM_SCOPE_CREDENTIAL, HM_SCOPE_CHANNEL };
struct hm_partial {
	uint32_t index; /* into rcpts */
	enum hm_outcome outcome;
	struct hm_str reason;
	struct hm_str provider_id; /* of this recipient; empty: as the call's */
};
struct hm_verdict {
	enum hm_outcome outcome; /* of every recipient not in partial[] */
	struct hm_str reason;	 /* provider's word: "Unregistered", "40014", "HTTP 503" */
	struct hm_str detail;	 /* provider's message, cut at 200 bytes; may be empty */
	struct hm_str provider_id;
	uint64_t retry_after_ms; /* 0 = no hint */
	enum hm_scope scope;	 /* whom a rate limit concerns */
	bool refresh_credential; /* auth: get a new one, then one more try */
	bool operator_needed;	 /* auth/config: stop the channel, a human must act */
	bool prepare_again;	 /* what was prepared is not good any more */
	bool split;   /* the call failed as a whole because of one recipient: each goes alone now */
	bool suspect; /* invalid_recipient that a wrong setting gives to every address: look before deleting */
	uint64_t gone_since_ms;	   /* invalid_recipient: provider's timestamp (APNs 410), 0 = none */
	struct hm_str new_address; /* the provider's replacement for the address (ADM, Telegram), or empty */
	struct hm_partial *partial;
	size_t n_partial;
	int row_line; /* line of the adapter file whose row decided, 0 = none did */
};
/* Never fails: an answer no row describes is `unknown` or a failure by HTTP class, never ok. Also judges calls without
 * an answer (fate != ANSWERED): NOT_SENT -> provider_down/retry, MAYBE -> unknown. */
void hm_channel_classify(const struct hm_channel *c, const struct hm_build_in *in, const struct hm_call *call,
			 struct hm_arena *a, struct hm_verdict *v);

/* Judges the answer of that request. v->outcome ok: *value_r (arena) is hm_build_in.prepared of the send. */
void hm_channel_prepared(const struct hm_channel *c, const struct hm_build_in *in, const struct hm_call *call,
			 struct hm_arena *a, struct hm_verdict *v, struct hm_str *value_r);

#endif
