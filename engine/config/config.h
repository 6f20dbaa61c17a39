/*
 * config.h - one immutable configuration: settings, channels, routes, facts, policies
 *
 * Built from, later wins: the defaults of tbl/settings.h, the file, the environment
 * (HERMOD_<SECTION>_<KEY>), and "section.key=value" from the command line. Any
 * scalar of the file may contain ${env:NAME} or ${file:PATH} (one trailing newline is
 * cut; $${ stands for ${ itself); what came from there is secret and is never printed.
 * Relative paths are relative to the working directory of the process.
 *
 * Loading collects all problems, not only the first. A configuration never changes
 * after load; a reload builds a new one. All threads may read; references are atomic.
 *
 *   struct hm_config *cfg;
 *   if (hm_config_load("hermod.yaml", NULL, &cfg, print_error, NULL) < 0)
 *           return 1;
 *   timeout = cfg->settings.http.header_timeout_ms;
 */
#ifndef HM_CONFIG_CONFIG_H
#define HM_CONFIG_CONFIG_H

#include <msgpack.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/vocab.h"
#include "base/yaml.h"

#define HM_CONFIG_MAGIC 0x636f6e66u

/* -- settings: cfg->settings.<section>.<key>, durations as <key>_ms ---------- */

struct hm_choice {
	int index;	    /* place in the row's choices, from 0 */
	struct hm_str text; /* also NUL-terminated */
};
struct hm_strs {
	size_t n;
	const struct hm_str *v; /* each also NUL-terminated */
};
#define HM_FIELD_DURATION(key) uint64_t key##_ms;
#define HM_FIELD_BYTES(key)    uint64_t key;
#define HM_FIELD_INT(key)      int64_t key;
#define HM_FIELD_AUTO(key)     int64_t key; /* 0 = auto */
#define HM_FIELD_BOOL(key)     bool key;
#define HM_FIELD_STR(key)      struct hm_str key; /* also NUL-terminated; never NULL, maybe empty */
#define HM_FIELD_SECRET(key)   struct hm_str key;
#define HM_FIELD_ENUM(key)     struct hm_choice key;
#define HM_FIELD_LIST(key)     struct hm_strs key;
#define HM_FIELD_SECRETS(key)  struct hm_strs key;
struct hm_settings {
#define HM_SECTION(section, doc)					    struct {
#define HM_SETTING(section, key, type, def, min, max, reload, choices, doc) HM_FIELD_##type(key)
#define HM_SECTION_END(section) \
	}                       \
	section;
#include "tbl/settings.h"
#undef HM_SECTION
#undef HM_SETTING
#undef HM_SECTION_END
};
/* Places in the choices of ENUM rows. */
enum { HM_SYNC_OFF, HM_SYNC_INTERVAL, HM_SYNC_ALWAYS }; /* ledger.sync */
enum { HM_AUTH_REQUIRED, HM_AUTH_OFF };			/* http.auth, metrics.auth */
enum { HM_TLS_MIN_1_2, HM_TLS_MIN_1_3 };		/* wire.tls_min */
/* log.format has the order of enum hm_log_format. */

/* -- channels and routes ----------------------------------------------------- */

struct hm_channel_conf { /* channels.<name> */
	struct hm_str name;
	struct hm_str adapter;	    /* "push/apns" */
	const struct hm_yaml *node; /* the channel's whole map, `adapter` included; references resolved */
	const char *file;
	int line;
	double cost; /* of a message, in whatever unit all of them use; 0 = nothing */
};
struct hm_tmpl;
struct hm_route_step {
	struct hm_str channel;
	uint32_t on_mask;   /* 1 << HM_OUT_...: move on to the next step after these; 0 = after any failure */
	uint32_t weight;    /* HM_CHOOSE_WEIGHTED: its share; 0 = only when no other is left */
	uint64_t within_ms; /* not accepted by then: left for the next; 0 = no limit */
	uint64_t
		after_ms; /* accepted, but so long without the receipt `unless`: on to the next; 0 = it is done */
	uint8_t unless;		    /* enum hm_receipt */
	struct hm_str condition;    /* as written, or empty */
	const struct hm_tmpl *cond; /* prints something when it holds; NULL: always (condition.c) */
	int line;
};
#define HM_ROUTE_STEPS_MAX 32
enum hm_choose {
	HM_CHOOSE_ORDERED,
	HM_CHOOSE_WEIGHTED, /* by share, the same for a user every time */
	HM_CHOOSE_CHEAPEST, /* the steps stand in the order of their channels' cost */
};
struct hm_route { /* routes.<name> */
	struct hm_str name;
	uint64_t deadline_ms; /* of the whole route, from acceptance; 0 = dispatch.deadline */
	uint8_t choose;	      /* enum hm_choose */
	bool all;	      /* every step is sent, not only the first that succeeds */
	size_t n;	      /* at least 1, at most HM_ROUTE_STEPS_MAX */
	const struct hm_route_step *steps;
	const struct hm_yaml *node;
	int line;
};
/* Names a condition may begin with; `doc` in config/hermod.yaml. NULL-terminated. */
extern const char *const hm_condition_names[];

/* -- gates: caps, quiet hours, categories (policies.c) ------------------------ */

/* What becomes of a message a cap or quiet hours hold back (config/policies.c). */
enum hm_policy {
	HM_POLICY_DROP,	 /* it ends: capped, or suppressed */
	HM_POLICY_DEFER, /* it waits for the first free moment */
	HM_POLICY_NEXT,	 /* the next channel of its route; without one: drop */
	HM_POLICY_ROUTE	 /* it goes on under another route */
};

/* Which messages a rule is about: everything given must fit, of a list one of its texts. */
struct hm_match {
	uint32_t media;					    /* 1 << HM_MED_...; 0: any */
	struct hm_strs channels, categories, tags, tenants; /* n == 0: any */
};
struct hm_match_subject {
	struct hm_str channel, category, tenant;
	const msgpack_object *tags; /* array of str, or NULL */
	uint8_t medium;
};
bool hm_match_fits(const struct hm_match *m, const struct hm_match_subject *s);

#define HM_CAPS_MAX	 256  /* rules */
#define HM_CAPS_TOGETHER 20   /* rules a message may be under at a time */
#define HM_CAP_MOST	 1000 /* messages a rule can count to: each is remembered */
enum hm_cap_per {
	HM_PER_ROLLING,
	HM_PER_DAY,
	HM_PER_WEEK,
	HM_PER_MONTH
};		/* calendar: of the recipient's zone */
struct hm_cap { /* caps.<name> */
	struct hm_str name;
	uint32_t id; /* of the name, among the rules of a configuration unique; what Redis knows it by */
	struct hm_match match;
	uint32_t max;	     /* messages per window; 0: only min_gap */
	uint8_t per, when;   /* enum hm_cap_per, enum hm_policy */
	uint64_t per_ms;     /* HM_PER_ROLLING */
	uint64_t min_gap_ms; /* between two messages; 0: any */
	struct hm_str route; /* HM_POLICY_ROUTE */
	const struct hm_yaml *node;
	int line;
};

#define HM_QUIET_MAX	     256 /* rules */
#define HM_QUIET_WINDOWS_MAX 32	 /* of a rule */
struct hm_quiet_window {
	uint8_t days; /* on which it begins: bit 0 is Monday */
	uint16_t from,
		to; /* minutes of the local day, to at most 1440; to <= from: it ends on the next day */
};
struct hm_quiet { /* quiet_hours.<name> */
	struct hm_str name;
	struct hm_match match;
	uint32_t except_lanes; /* 1 << HM_LANE_... */
	size_t n;	       /* at least 1 */
	const struct hm_quiet_window *windows;
	uint8_t when; /* enum hm_policy */
	struct hm_str route;
	const struct hm_yaml *node;
	int line;
};

struct hm_category { /* categories.<name>, "*" for those not named; each says all: nothing comes from "*" */
	struct hm_str name;
	bool caps, quiet_hours, suppression, dedupe; /* gates that are asked; usual: all */
	bool opt_in;				     /* needs a consent */
	uint64_t content_dedupe_ms; /* the same content again within this is a duplicate; 0: off */
	const struct hm_yaml *node;
	int line;
};

/* facts.<name>: what a message may ask for when it is sent. facts/facts.h tells what the members mean. */
enum hm_fact_source { HM_FACT_REDIS, HM_FACT_HTTP };
enum hm_fact_type { HM_FACT_STRING, HM_FACT_NUMBER, HM_FACT_BOOLEAN, HM_FACT_JSON };
struct hm_fact_header {
	struct hm_str name, value; /* name in lower case; the value may be a secret */
};
struct hm_fact_conf {
	struct hm_str name;
	uint8_t from, type;	  /* enums above */
	uint8_t http;		  /* auto 1.1 2 h2c, in the order of enum hm_http_version */
	bool per_key;		  /* http: {key} stands in the url */
	int8_t tls_verify;	  /* -1: as redis.tls_verify or wire.tls_verify say */
	struct hm_str redis, key; /* redis: URL, "" = the hub's own; "stock:{key}" */
	struct hm_str url;	  /* http */
	const struct hm_fact_header *headers;
	size_t n_headers;
	struct hm_str ca_file, cert_file, key_file;
	struct hm_strs path; /* where in a JSON value; none: the value itself */
	uint32_t batch, max_in_flight, timeout_ms;
	uint64_t cache_ms;
	const msgpack_object *fallback; /* NULL: none */
	const struct hm_yaml *node;
	const char *file;
	int line;
};

struct hm_tenant_conf { /* tenants.<name>, the label of a job */
	struct hm_str name;
	uint32_t weight; /* share of a lane beside other tenants; 1 for those not named */
	const struct hm_yaml *node;
};

struct hm_config {
	uint32_t magic;
	struct hm_settings settings;
	const char *file; /* "" when there is none */
	size_t n_channels, n_routes, n_facts;
	const struct hm_channel_conf *channels; /* in the order of the file */
	const struct hm_route *routes;
	const struct hm_fact_conf *facts;
	size_t n_caps, n_quiet, n_categories;
	const struct hm_cap *caps; /* in the order of the file: the first that refuses decides */
	const struct hm_quiet *quiet;
	const struct hm_category *categories;
	size_t n_tenants;
	const struct hm_tenant_conf *tenants; /* sorted by name */
	/* private */
	uint32_t refs;
	struct hm_arena arena;
	uint8_t *marks;			  /* one per setting: set by whom, secret or not */
	struct hm_config_at *at;	  /* one per setting: where the file sets it */
	struct config_compiled *compiled; /* conditions of routes, freed with it */
};

/* -- load -------------------------------------------------------------------- */

/* path NULL: no file. sets: NULL, or a NULL-terminated list of "section.key=value".
 * Returns 0 with one reference, or HM_ECONFIG after at least one report. */
int hm_config_load(const char *path, const char *const *sets, struct hm_config **cfg_r, hm_report_fn report,
		   void *arg) HM_MUSTCHECK;
/* The same from text; `name` stands for the file in errors. Tests, the admin API. */
int hm_config_load_text(const char *name, struct hm_str text, const char *const *sets,
			struct hm_config **cfg_r, hm_report_fn report, void *arg) HM_MUSTCHECK;
struct hm_config *hm_config_ref(struct hm_config *cfg);
void hm_config_unref(struct hm_config *cfg); /* NULL is fine */

/* NULL when there is none. */
const struct hm_channel_conf *hm_config_channel(const struct hm_config *cfg, struct hm_str name);
const struct hm_route *hm_config_route(const struct hm_config *cfg, struct hm_str name);
const struct hm_fact_conf *hm_config_fact(const struct hm_config *cfg, struct hm_str name);
const struct hm_tenant_conf *hm_config_tenant(const struct hm_config *cfg,
					      struct hm_str name); /* NULL: not named */
/* That of the category, else "*", else everything on; never NULL. */
const struct hm_category *hm_config_category(const struct hm_config *cfg, struct hm_str name);
bool hm_fact_conf_same(const struct hm_fact_conf *a, const struct hm_fact_conf *b); /* references included */
/* Text as a template value: a string, or, when plain, what it spells: true, false or a number, exactly. Points into s. */
void hm_fact_text_value(struct hm_str s, bool plain, msgpack_object *o_r);

/* "section.key: text" at the line that sets the option, where a file does. */
void hm_config_err(const struct hm_config *cfg, const char *section, const char *key, const char *text,
		   struct hm_err *e);

/* What a load cannot know: are files readable, folders usable? Reports each problem, returns their number. */
size_t hm_config_check(const struct hm_config *cfg, hm_report_fn report, void *arg);

/* Errors collected, for callers that want a list. Zero it first. */
struct hm_err_list {
	size_t n, lost; /* kept; beyond HM_ERR_LIST_MAX or out of memory */
	struct hm_err *v;
};
#define HM_ERR_LIST_MAX 100
void hm_err_list_add(void *list, const struct hm_err *e); /* a hm_report_fn */
void hm_err_list_fini(struct hm_err_list *l);

/* -- print, compare, document ------------------------------------------------- */

enum hm_setting_type {
	HM_SET_DURATION,
	HM_SET_BYTES,
	HM_SET_INT,
	HM_SET_AUTO,
	HM_SET_BOOL,
	HM_SET_STR,
	HM_SET_SECRET,
	HM_SET_ENUM,
	HM_SET_LIST,
	HM_SET_SECRETS
};
struct hm_setting_info {
	const char *section, *key, *def, *choices, *doc;
	enum hm_setting_type type;
	int64_t min, max;
	bool reloadable;
	size_t offset; /* in struct hm_settings */
};
extern const struct hm_setting_info hm_settings_table[];
extern const size_t hm_settings_count;
const struct hm_setting_info *hm_setting_find(struct hm_str section,
					      struct hm_str key); /* NULL when unknown */

/* The effective settings as YAML, with who set each (default, file, environment, command line).
 * all = false: only those that differ from their default. Secrets are "***". */
void hm_config_print(const struct hm_config *cfg, bool all, struct hm_buf *out);
/* What a reload changes: one call per changed setting ("section.key"), channel ("channels.x") and
 * route ("routes.x"). in_effect = false: it needs a restart. Returns the number of calls. */
typedef void (*hm_change_fn)(void *arg, const char *what, bool in_effect);
size_t hm_config_diff(const struct hm_config *old, const struct hm_config *new_, hm_change_fn fn, void *arg);
/* The whole table as text: option, type, default, range, reload, sentence. */
void hm_settings_doc(struct hm_buf *out);

#endif
