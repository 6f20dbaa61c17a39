/*
 * knobs.h - how the sink misbehaves: latency, error mix, limits, connection faults
 *
 * One struct holds everything. The main thread owns the current one; a change
 * parses into a copy, the copy is handed to every worker (worker_call_all), then
 * the old one is freed, so a worker may use its pointer without locks.
 * The same reader takes the YAML scenario file and the JSON of the control API
 * (JSON is YAML), so errors name line, column and the nearest known key.
 *
 * Profile "*" (index 0) holds defaults; a profile that sets a group itself
 * (latency, mix, rate_limit, fault, special, token_ttl) overrides that group.
 */
#ifndef HM_SINK_KNOBS_H
#define HM_SINK_KNOBS_H

#include "base/yaml.h"
#include "sink.h"

#define KNOBS_MIX     16
#define KNOBS_SPECIAL 32

enum latency_kind { LATENCY_NONE, LATENCY_FIXED, LATENCY_UNIFORM, LATENCY_LOGNORMAL, LATENCY_EXPONENTIAL };

struct knobs_latency {
	enum latency_kind kind;
	double a, b; /* fixed: a. uniform: a..b. lognormal: median a, sigma b. exponential: mean a. All ms */
	double cap_ms; /* never longer than this, 0 = 10 min */
};

struct knobs_mix {
	double percent;
	int status;	 /* 0 when fault is set */
	int retry_after; /* seconds, -1 = no header */
	enum sink_fault fault;
	bool accept; /* count the message as accepted all the same (a lost answer) */
	bool accept_set;
};

struct knobs_special {
	char prefix[64]; /* of the target */
	char row[48];	 /* name of the profile's special row */
};

enum knobs_set { SET_LATENCY = 1, SET_MIX = 2, SET_RATE = 4, SET_FAULT = 8, SET_SPECIAL = 16, SET_TTL = 32 };

struct knobs_profile {
	unsigned set; /* enum knobs_set: groups set here, not inherited */
	struct knobs_latency latency;
	struct knobs_mix mix[KNOBS_MIX];
	size_t n_mix;
	double rate_per_s, rate_burst; /* 0 = no limit */
	int rate_retry_after;
	enum sink_fault fault; /* for every request */
	struct knobs_special special[KNOBS_SPECIAL];
	size_t n_special;
	int64_t token_ttl_s; /* of access tokens the profile hands out; 0 = the provider's own */
};

struct knobs_conn {
	int64_t max_streams;   /* SETTINGS_MAX_CONCURRENT_STREAMS */
	int64_t first_streams; /* the same until the first accepted request; 0 = max_streams at once */
	int64_t stream_window, window; /* bytes */
	int64_t max_frame;
	int64_t goaway_after;	   /* requests on one connection, 0 = never */
	int64_t close_after;	   /* requests on one connection, then close without a word; 0 = never */
	int64_t close_after_bytes; /* received, then close mid-request; 0 = never */
	int64_t huge_bytes;	   /* body of fault "huge" */
	int64_t trickle_ms;	   /* pace of fault "slow" */
	char goaway_debug[128];	   /* debug data of GOAWAY */
};

struct sink_knobs {
	struct knobs_profile own[SINK_MAX_PROFILES]; /* as set */
	struct knobs_profile p[SINK_MAX_PROFILES];   /* with "*" filled in: what workers read */
	struct knobs_conn conn;
	/* Rate limits: theoretical arrival time of the next request, shared by the workers (GCRA). */
	_Atomic uint64_t rate_tat_ns[SINK_MAX_PROFILES];
};

void knobs_init(struct sink_knobs *k);
/* Applies a document {profiles: {...}, connection: {...}}; on error k is unusable (it was a copy). */
int knobs_apply(struct sink_knobs *k, const struct hm_yaml *doc, struct hm_err *e) HM_MUSTCHECK;
void knobs_json(const struct sink_knobs *k, struct hm_buf *out);
/* Milliseconds to wait, drawn from the distribution. */
uint32_t knobs_latency_draw(const struct knobs_latency *l, struct sink_worker *w);
/* True when the request is within the rate limit. */
bool knobs_rate_take(struct sink_knobs *k, unsigned profile, uint64_t now_ns);
/* Reads a fault name at a node. */
int knobs_fault(const struct hm_yaml *n, enum sink_fault *f_r, struct hm_err *e) HM_MUSTCHECK;
int knobs_double(const struct hm_yaml *n, double min, double max, double *v_r, struct hm_err *e) HM_MUSTCHECK;

#endif
