/*
 * model.h - an adapter file and a channel, compiled
 *
 * Private to engine/adapter. `struct hm_adapter` is the file: everything parsed,
 * checked, position-tagged, shared by all its channels. `struct hm_channel` is the
 * file folded with one account's settings: what a request of this channel needs and
 * nothing else. Both are read-only after load.
 *
 * The description of a request is a tree of `hm_tree`: the shape of the YAML with
 * texts and expressions at the leaves. The same tree serves JSON bodies, form and
 * query parameters, headers, multipart parts and JWT claims.
 */
#ifndef HM_ADAPTER_MODEL_H
#define HM_ADAPTER_MODEL_H

#include <pthread.h>

#include "adapter/adapter.h"
#include "adapter/canonical.h"
#include "adapter/expr.h"
#include "base/obj.h"
#include "base/yaml.h"

/* -- description of a request -------------------------------------------------- */

enum hm_tree_kind {
	HM_TREE_ABSENT,	 /* folded away */
	HM_TREE_TEXT,	 /* tpl */
	HM_TREE_LITERAL, /* json: ready JSON text; val: the same as a value */
	HM_TREE_MAP,
	HM_TREE_SEQ,
	HM_TREE_EACH,	/* $each: list; $key, $value */
	HM_TREE_JSON,	/* $json: child[0] as a text that holds JSON */
	HM_TREE_CHOOSE, /* $choose: first child whose condition holds */
};
struct hm_tree {
	enum hm_tree_kind kind;
	bool keep;		 /* $keep: stays when empty */
	bool seq;		 /* written as a list, also when folded to a literal */
	struct hm_str name;	 /* as a member: raw name */
	struct hm_str key;	 /* as a member: `"name":` ready to write */
	struct hm_tpl *name_tpl; /* name with inserts */
	struct hm_expr *cond;	 /* $if */
	struct hm_tpl *tpl;
	struct hm_str json;
	struct hm_val val;
	struct hm_tree **child;
	uint32_t n;
	struct hm_expr **merge; /* $merge: maps whose members follow */
	uint32_t n_merge;
	struct hm_str *except; /* $except: names $merge leaves out */
	uint32_t n_except;
	struct hm_expr *list;	    /* $each */
	struct hm_tpl *each_key;    /* $key */
	struct hm_tpl *file, *mime; /* $file, $type: multipart */
	bool secret;
	bool vary; /* a header of a new value each time: $index: false, or found out */
};

enum hm_body_kind {
	HM_BODY_NONE,
	HM_BODY_JSON,
	HM_BODY_FORM,
	HM_BODY_XML,
	HM_BODY_TEXT,
	HM_BODY_MULTIPART,
	HM_BODY_MIME
};
struct hm_request {
	struct hm_str method;
	struct hm_tpl *url;  /* whole URL (credential requests) or NULL */
	struct hm_tpl *path; /* behind the endpoint's own path */
	struct hm_tree *query, *headers;
	enum hm_body_kind body_kind;
	struct hm_tree *body;	  /* JSON, FORM, MULTIPART, MIME */
	struct hm_tpl *body_text; /* XML, TEXT */
	struct hm_tpl *wrap;	  /* what goes out instead, made from request.body */
	hm_escape_fn encode;	  /* of form and query values */
	struct hm_tree *sign_query, *sign_form, *sign_headers; /* added last */
	enum hm_canon_scheme scheme;			       /* sign.scheme, and what it asks for */
	struct hm_tpl *sign_id, *sign_secret, *sign_region, *sign_service, *sign_token;
	/* made by folding */
	struct hm_header *fixed; /* one per child of headers; value.p == NULL: computed */
	bool typed;		 /* there is a content-type among them */
};

/* -- sections ------------------------------------------------------------------- */

enum hm_setting_kind {
	HM_SET_K_STRING,
	HM_SET_K_INT,
	HM_SET_K_BOOL,
	HM_SET_K_ENUM,
	HM_SET_K_DURATION, /* value: milliseconds */
	HM_SET_K_URL,
	HM_SET_K_PATH, /* file name, relative to the configuration's folder */
	HM_SET_K_KEY,  /* private key: NAME (text) or NAME_file */
	HM_SET_K_JSON, /* document: NAME (text) or NAME_file */
	HM_SET_K_LIST, /* of texts */
	HM_SET_K_MAP,  /* of texts */
};
struct hm_setting_decl {
	struct hm_str name, doc, example;
	enum hm_setting_kind kind;
	bool required, secret, verified;
	struct hm_val def;
	struct hm_str *choices;
	uint32_t n_choices;
	int64_t min, max;
	struct hm_expr *required_when; /* over settings */
	int line, col;
};

struct hm_limit {
	enum hm_var field; /* TITLE, BODY, TEXT, HTML, SHORT, URL, IMAGE */
	struct hm_expr *max, *when, *beside;
	enum hm_unit unit;
	enum hm_over over;
	struct hm_str mark;
	uint32_t max_parts;
	bool numbered;
};
/* Where a member of the content goes: a text in the file, so that it may depend on the message. */
enum hm_place_of { HM_PLACE_SEPARATE, HM_PLACE_BODY, HM_PLACE_NONE };
enum hm_placed { HM_PLACED_TITLE, HM_PLACED_URL, HM_PLACED_BUTTONS, HM_PLACED_COUNT };
struct hm_check {
	struct hm_expr *when;
	struct hm_tpl *say;
	enum hm_outcome outcome;
};
struct hm_address {
	bool any;
	uint8_t chars[32]; /* allowed bytes */
	uint32_t min, max;
	struct hm_str what;   /* "64 to 200 hex digits" */
	struct hm_str sample; /* one, for previews */
};
struct hm_rate {
	enum hm_scope per;
	uint32_t max;
	uint64_t window_ms;
};

enum hm_pat_kind { HM_PAT_EXACT, HM_PAT_PREFIX, HM_PAT_RANGE, HM_PAT_ANY, HM_PAT_CONTAINS };
struct hm_pat {
	enum hm_pat_kind kind;
	struct hm_str text;
	int64_t lo, hi;
};
struct hm_pats {
	struct hm_pat *v;
	uint32_t n;
};
enum hm_wait_kind { HM_WAIT_NONE, HM_WAIT_MS, HM_WAIT_NEXT_DAY, HM_WAIT_NEXT_MONTH };
struct hm_row {
	struct hm_pats status, code, sub, message;
	struct hm_str header, header_value;
	struct hm_expr *when;
	enum hm_outcome outcome;
	enum hm_wait_kind wait;
	uint64_t wait_ms;
	enum hm_scope scope;
	bool has_scope, refresh, operator_needed, suspect, partial, split, prepare_again;
	struct hm_str say;
	int line;
};
struct hm_rows {
	struct hm_row *v;
	uint32_t n;
};

enum hm_time_kind { HM_TIME_SECONDS, HM_TIME_MS, HM_TIME_EPOCH, HM_TIME_EPOCH_MS, HM_TIME_HTTP };
struct hm_retry_source {
	struct hm_expr *from;
	enum hm_time_kind as;
};
enum hm_partial_shape {
	HM_PARTIAL_JOINED,  /* "a|b": failed ones */
	HM_PARTIAL_LIST,    /* ["a","b"]: failed ones */
	HM_PARTIAL_OBJECTS, /* [{id, code}]: by id */
	HM_PARTIAL_ORDER,   /* [{code}, ...]: by place */
	HM_PARTIAL_BY_CODE, /* {code: ["a"]} or {code: "a,b"} */
	HM_PARTIAL_BY_ID,   /* {id: code} */
	HM_PARTIAL_REST,    /* [id, ...]: by place among those no earlier rule has named */
};
/* What of a recipient an answer names it by. */
enum hm_match_by { HM_MATCH_TO, HM_MATCH_USER, HM_MATCH_ID, HM_MATCH_UUID, HM_MATCH_PHONE };
struct hm_partial_rule {
	struct hm_expr *from, *id, *code, *message, *when, *provider_id;
	enum hm_partial_shape shape;
	enum hm_match_by match;
	char by;
	bool ignore_case;
	struct hm_str reason;
	enum hm_outcome outcome; /* without rows */
	bool has_outcome;
	struct hm_rows rows; /* empty: the adapter's own */
};
enum hm_answer_format { HM_ANSWER_JSON, HM_ANSWER_XML, HM_ANSWER_TEXT, HM_ANSWER_NONE };
struct hm_answer {
	enum hm_answer_format format;
	struct hm_expr *success, *code, *sub, *message, *provider_id, *gone_since, *new_address;
	enum hm_time_kind gone_as;
	struct hm_rows rows;
	struct hm_retry_source *retry;
	uint32_t n_retry;
	uint64_t retry_default_ms;
	int tz_offset; /* of "next day" */
	struct hm_partial_rule *partial;
	uint32_t n_partial;
};

struct hm_lets {
	struct hm_str *names;
	const struct hm_expr **e;
	uint32_t n;
};
struct hm_credential {
	bool present;
	struct hm_expr *when;
	struct hm_tpl *key;
	struct hm_lets lets;
	/* jwt */
	bool jwt;
	struct hm_tpl *alg;
	struct hm_expr *jwt_key;
	struct hm_tree *jwt_header, *jwt_claims;
	/* exchange */
	bool exchange;
	struct hm_request request;
	struct hm_answer answer;
	struct hm_expr *token, *expires;
	struct hm_expr *refresh_token; /* of the answer: for the next exchange */
	struct hm_tpl *first_refresh;  /* before there was one */
	enum hm_time_kind expires_as;
	uint64_t lifetime_ms, refresh_ms, margin_ms, min_age_ms, max_age_ms;
	bool share; /* one for all processes */
	bool *uses; /* by setting: does the credential depend on it? */
};

/* -- section receipts (load_receipts.c) ------------------------------------------ */

enum hm_cb_format { HM_CB_JSON, HM_CB_FORM, HM_CB_XML, HM_CB_TEXT, HM_CB_MULTIPART, HM_CB_DSN };
enum hm_cb_time { HM_CBT_EPOCH, HM_CBT_EPOCH_MS, HM_CBT_HTTP, HM_CBT_RFC3339, HM_CBT_TEXT };
struct hm_cb_row {
	struct hm_pats code, sub, message;
	struct hm_expr *when;
	uint8_t event; /* enum hm_cb_kind (receipts.h) */
	bool final;
	int line;
};
struct hm_cb_view { /* what a call, an answer or a session says */
	struct hm_expr *each, *when, *id, *provider_id, *recipient, *code, *sub, *detail, *text, *dedupe,
		*time;
	enum hm_cb_time time_as;
	struct hm_str time_pattern;
	int time_zone; /* seconds east, for patterns without one */
	struct hm_cb_row *rows;
	uint32_t n_rows;
};
struct hm_cb_challenge {
	struct hm_expr *when;
	int status;
	struct hm_tpl *type, *body;
};
#define HM_CB_HOSTS 8
struct hm_cb_fetch { /* something of the provider's to be got by the hub */
	struct hm_expr *when, *url;
	struct hm_str hosts[HM_CB_HOSTS]; /* a * stands for one label */
	uint32_t n_hosts;
};
struct hm_cb_push {
	bool present, get, post, head;
	enum hm_cb_format format, envelope;
	struct hm_str field;
	struct hm_expr *decrypt, *verify;
	struct hm_cb_challenge *challenge;
	uint32_t n_challenge;
	int ack_status;
	struct hm_tpl *ack_type, *ack_body;
	uint64_t deadline_ms;
	struct hm_cb_fetch certificate, confirm;
	struct hm_cb_view view;
};
struct hm_cb_pull {
	bool present;
	uint64_t after_ms, until_ms;
	uint32_t max;
	struct hm_expr *enabled; /* of the settings; NULL: always */
	struct hm_expr *group;	 /* ids of one request give the same */
	struct hm_request request;
	struct hm_answer answer;
	struct hm_cb_view view;
};
struct hm_cb_decl {
	bool present, session;
	uint64_t keep_ms;
	struct hm_cb_push push;
	struct hm_cb_pull pull;
	struct hm_cb_view view; /* of sessions */
};

/* A request made before the send, whose answer gives `prepared`. */
struct hm_prepare {
	bool present;
	struct hm_expr *when;
	struct hm_tpl *key;
	struct hm_request request;
	struct hm_answer answer;
	struct hm_expr *value;
	uint64_t keep_ms;
};

#define HM_ADAPTER_MAX_LETS 48
struct hm_adapter {
	uint32_t magic;
	uint32_t refs;
	struct hm_arena arena;
	const char *file;
	struct hm_str name, title, docs;
	enum hm_medium medium;
	struct hm_setting_decl *settings;
	uint32_t n_settings;
	/* endpoint */
	struct hm_tpl *url, *client_cert, *client_key;
	struct hm_tree *session; /* other protocols than HTTP: what logs in */
	struct hm_expr *recipient_is_url, *https_only, *deny_private;
	struct hm_expr *recipient_url; /* where in the address the URL is; NULL: the address is the URL */
	enum hm_http_version version;
	struct hm_str *allow_hosts;
	uint32_t n_allow_hosts, max_connections, max_streams;
	uint64_t timeout_ms;
	bool idempotent;
	/* request */
	struct hm_names names;
	struct hm_lets lets;
	struct hm_request send;
	struct hm_address address;
	struct hm_check *checks;
	uint32_t n_checks;
	struct hm_limit *limits;
	uint32_t n_limits;
	struct hm_expr *payload_bytes;
	bool payload_cut; /* the text gives way when it is too large; otherwise it is refused */
	struct hm_tpl *place[HM_PLACED_COUNT],
		*link_text; /* link_text: of the url, where it goes into the body */
	bool links, images, sms;
	struct hm_expr *batch_max;
	uint32_t batch_max_bytes;
	struct hm_tpl *dialect;
	struct hm_rate *rates;
	uint32_t n_rates;
	struct hm_credential cred;
	struct hm_prepare prepare;
	struct hm_answer answer;
	struct hm_cb_decl receipts;
};

struct hm_adapter_set {
	uint32_t refs;
	size_t n;
	struct hm_adapter **v;
};

#define HM_CHANNEL_MAX_KEYS 16
/*
 * The part of a channel that a message goes through, folded for messages that give
 * certain options and no others: the many expressions about absent options are gone,
 * and what is left of an adapter is a few literals with inserts (APNs: a quarter of
 * the time). `plain` is for messages without options; further ones are made when
 * their set of options is first seen, since a campaign's messages all have the same.
 * `full` knows every option and serves whatever comes after the table is full.
 */
#define HM_CHANNEL_MAX_VARIANTS 8
struct hm_variant {
	uint64_t present;     /* bit per option slot */
	struct hm_arena *own; /* memory of those made later */
	struct hm_expr **let;
	uint32_t n_lets, n_limits, n_checks;
	struct hm_limit *limits;
	struct hm_check *checks;
	struct hm_expr *payload_bytes;
	const struct hm_dialect *dialect; /* NULL: dialect_tpl tells */
	struct hm_tpl *dialect_tpl;
	struct hm_tpl *place[HM_PLACED_COUNT]; /* NULL: place_of */
	struct hm_tpl *link_text;	       /* or NULL */
	enum hm_place_of place_of[HM_PLACED_COUNT];
	bool places, into_body; /* some place is computed; some may be the body */
	struct hm_request send;
	struct hm_request prepare; /* with the adapter's section */
	struct hm_expr *prepare_when;
	struct hm_tpl *prepare_key;
};
struct hm_channel {
	uint32_t magic;
	struct hm_channel_info info;
	struct hm_channel_set *set;
	const struct hm_adapter *ad;
	struct hm_val *settings;
	struct hm_variant full, plain;
	struct hm_variants {
		pthread_mutex_t lock; /* of making one; looking needs none */
		uint32_t n;	      /* atomic */
		struct hm_variant *v[HM_CHANNEL_MAX_VARIANTS];
	} * more;
	struct hm_expr **cred_let;
	uint32_t n_cred_lets;
	struct hm_str base_path, scheme, host; /* host: with port unless it is the scheme's own */
	bool https_only;
	/* credential, folded; cred_id identifies what is shared */
	struct hm_str cred_key;
	uint64_t cred_id;
	enum hm_sig_alg alg;
	struct hm_expr *jwt_key;
	struct hm_tree *jwt_header, *jwt_claims;
	struct hm_request token_request;
	struct hm_str first_refresh;
	uint8_t seal[32]; /* key of what is kept in Redis, from the secrets it is made of */
	bool cred_jwt, cred_exchange;
	struct hm_str callback_url, callback_token; /* may be empty */
	struct hm_request pull_request;		    /* folded */
	bool pull_off;				    /* receipts.pull.enabled is not */
	struct hm_key *keys[HM_CHANNEL_MAX_KEYS];
	uint32_t n_keys;
	/* texts of secret settings, for masking */
	struct hm_str *secrets;
	uint32_t n_secrets;
};

/* -- load.c ---------------------------------------------------------------------- */

struct hm_loader {
	struct hm_adapter *ad;
	hm_report_fn report;
	void *arg;
	size_t errors;
	struct hm_names cred_names;
};
void hm_load_error(struct hm_loader *l, const struct hm_err *e);
#define hm_load_fail(l, node, ...)                                 \
	do {                                                       \
		struct hm_err e_;                                  \
		hm_err_clear(&e_);                                 \
		hm_yaml_err((node), &e_, HM_ECONFIG, __VA_ARGS__); \
		hm_load_error((l), &e_);                           \
	} while (0)
/* Adapter from a parsed file; NULL after reports. */
struct hm_adapter *hm_adapter_load(const char *file, struct hm_str text, hm_report_fn report, void *arg);
struct hm_adapter *hm_adapter_load_file(const char *path, hm_report_fn report, void *arg);
void hm_adapter_unref(struct hm_adapter *ad);

/* load_request.c, load_answer.c: sections. `names` and `where` as for expressions. */
struct hm_scope_of {
	struct hm_names *names;
	uint32_t allowed; /* in path, query, body; headers and sign also know HM_AT_R */
	const char *where;
};
void hm_load_request(struct hm_loader *l, const struct hm_yaml *map, const struct hm_scope_of *in, bool token,
		     struct hm_request *r);
struct hm_tree *hm_load_tree(struct hm_loader *l, const struct hm_yaml *y, const struct hm_parse *p);
void hm_load_answer(struct hm_loader *l, const struct hm_yaml *root, struct hm_names *names,
		    const char *where, struct hm_answer *a);
struct hm_expr *hm_load_expr(struct hm_loader *l, const struct hm_yaml *map, const char *key,
			     const struct hm_parse *p);
struct hm_tpl *hm_load_tpl(struct hm_loader *l, const struct hm_yaml *map, const char *key,
			   const struct hm_parse *p);
struct hm_str hm_load_str(struct hm_loader *l, const struct hm_yaml *map, const char *key, const char *def);
bool hm_load_bool(struct hm_loader *l, const struct hm_yaml *map, const char *key, bool def);
uint64_t hm_load_duration(struct hm_loader *l, const struct hm_yaml *map, const char *key, uint64_t def);
int64_t hm_load_int(struct hm_loader *l, const struct hm_yaml *map, const char *key, int64_t min, int64_t max,
		    int64_t def);
/* Tells which section is read with which keys; for the test that compares with schema.json. */
void hm_load_watch(void (*fn)(void *arg, const char *what, const char *const *keys), void *arg);
bool hm_load_known(struct hm_loader *l, const struct hm_yaml *map, const char *what, const char *const *keys);
/* Index of the text of `node` in a NULL-terminated list; -1 after a report with a suggestion. */
int hm_load_choice(struct hm_loader *l, const struct hm_yaml *node, const char *what,
		   const char *const *list);
void *hm_load_alloc(struct hm_loader *l, size_t n);

/* load_receipts.c: the section receipts; load_answer.c: patterns of rows, also for it */
void hm_load_receipts(struct hm_loader *l, const struct hm_yaml *root);
struct hm_pats hm_load_pats(struct hm_loader *l, const struct hm_yaml *row, const char *key, bool contains);
bool hm_pats_match(const struct hm_pats *p, struct hm_str s); /* classify.c; no patterns match everything */

/* -- tree.c ----------------------------------------------------------------------- */

/* Folds a tree for a channel; the parts that are constant become JSON text. NULL: ev tells. */
struct hm_tree *hm_tree_fold(struct hm_eval *ev, struct hm_arena *a, const struct hm_tree *n);
/* Appends the JSON; false (and nothing appended) when there is nothing to say. */
bool hm_tree_json(struct hm_eval *ev, const struct hm_tree *n, struct hm_buf *out);
/* The members of a map as pairs, repeated names for lists. */
struct hm_val hm_tree_pairs(struct hm_eval *ev, const struct hm_tree *n);
/* One leaf as a value. */
struct hm_val hm_tree_value(struct hm_eval *ev, const struct hm_tree *n);

/* -- mime_body.c -------------------------------------------------------------------- */

/* The mail that request.mime describes, with its DKIM signature. */
int hm_mime_body(struct hm_eval *ev, const struct hm_tree *map, struct hm_buf *out);

/* -- build.c ----------------------------------------------------------------------- */

/* Serialises a request whose parts are folded: fills path, headers, body of call. base_path precedes the path. */
int hm_request_build(struct hm_eval *ev, const struct hm_request *r, struct hm_str base_path,
		     struct hm_call *call);
/* Folds all parts for a channel. */
/* A request with a URL of its own goes elsewhere: TLS, proxy and trust of the channel stay, host and port are its own. */
int hm_request_elsewhere(const struct hm_channel *c, struct hm_eval *ev, const struct hm_request *r,
			 const char *what, struct hm_str *base_r, struct hm_origin_opts *o,
			 struct hm_err *e) HM_MUSTCHECK;
int hm_request_fold(struct hm_eval *ev, struct hm_arena *a, const struct hm_request *from,
		    struct hm_request *r);
/* Evaluation for a channel without message (credential) or with. */
void hm_eval_channel(struct hm_eval *ev, const struct hm_channel *c, struct hm_arena *a, uint64_t wall_ms,
		     struct hm_err *e);
/* Evaluation for a token request, with the lets of the credential. */
int hm_channel_token_eval(struct hm_eval *ev, const struct hm_channel *c, struct hm_arena *a,
			  uint64_t wall_ms, struct hm_str nonce, struct hm_err *e);

/* -- load_text.c ------------------------------------------------------------------- */

void hm_load_limits(struct hm_loader *l, const struct hm_yaml *root);
void hm_load_text(struct hm_loader *l, const struct hm_yaml *root); /* text, dialect */
int hm_place_find(struct hm_str name);				    /* enum hm_place_of; -1: unknown */
extern const char hm_place_words[];				    /* for sentences */

/* -- classify.c -------------------------------------------------------------------- */

void hm_answer_judge(const struct hm_answer *an, struct hm_eval *ev, struct hm_verdict *v);
bool hm_time_of(const struct hm_val *v, enum hm_time_kind as, uint64_t wall_ms, uint64_t *delay_ms_r);

/* -- channel.c ----------------------------------------------------------------------- */

struct hm_channel_set *hm_channel_set_new(struct hm_adapter_set *adapters, size_t n); /* empty, room for n */
/* One channel from its map; the set owns the memory. NULL after reports. */
struct hm_channel *hm_channel_load(struct hm_channel_set *set, struct hm_str name,
				   const struct hm_adapter *ad, const struct hm_yaml *map,
				   hm_report_fn report, void *arg);
void hm_channel_fini(struct hm_channel *c);
/* The form for messages with exactly these options. Any thread; never fails (full is always right). */
const struct hm_variant *hm_channel_variant(const struct hm_channel *c, uint64_t present);
const struct hm_adapter *hm_adapter_find(const struct hm_adapter_set *s, struct hm_str name);

#endif
