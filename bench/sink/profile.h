/*
 * profile.h - a provider the sink can play
 *
 * Adding one: a file profile_<name>.c with a `const struct sink_profile
 * sink_<name>` and one row in tbl_profiles.h. All are active at once; the first
 * row (in table order) whose match() likes the request gets it, "echo" takes the
 * rest. handle() runs on the worker thread, must not block, and fills r->reply:
 * status, headers, body; reply.accepted says that the provider took the message.
 */
#ifndef HM_SINK_PROFILE_H
#define HM_SINK_PROFILE_H

#include "options.h"
#include "sink.h"

/* Places in the table; 0 stands for all. */
enum sink_profile_index {
	PROFILE_all,
#define SINK_PROFILE(name) PROFILE_##name,
#include "tbl_profiles.h"
#undef SINK_PROFILE
};

/* A target that makes the profile give a certain answer. */
struct sink_special {
	const char *trigger; /* prefix of the target */
	const char *name;    /* reason, error code ...: what `special` knobs refer to */
	int status;	     /* HTTP status */
	const char *detail;  /* free for the profile */
};

struct sink_ids { /* filled by ids(): the message ids of a request */
	struct sink_id *v;
	size_t n, cap;
};
bool sink_ids_add(struct sink_ids *ids, struct hm_str id, bool refused); /* false at the limit of 2000 */

struct sink_profile {
	const char *name;
	const char *what;   /* one line for --help */
	const char *target; /* what the target is, for --help */
	/* Reads keys and options; NULL when there is nothing to read. */
	int (*init)(const struct sink_options *o, struct hm_err *e);
	void (*fini)(void);
	/* Is this request for me? path has no query. */
	bool (*match)(struct hm_str method, struct hm_str path);
	/* Sets r->target and adds the message ids; runs before scripts and knobs. May be NULL. */
	void (*ids)(struct sink_req *r, struct sink_worker *w, struct sink_ids *ids);
	/* The provider's own answer. `special` is the row the target asks for, or NULL. */
	void (*handle)(struct sink_req *r, struct sink_worker *w, const struct sink_special *special,
		       struct sink_ids *ids);
	/* The provider's usual body for a status that a knob chose; NULL = none. */
	void (*error)(struct sink_req *r, int status);
	const char *special_lead; /* every trigger begins with it; NULL = no table */
	const struct sink_special *special;
	size_t n_special;
};

unsigned sink_profile_count(void);			     /* with "*" at 0 */
const struct sink_profile *sink_profile_get(unsigned index); /* index >= 1 */
const char *sink_profile_name(unsigned index);
int sink_profile_find(struct hm_str name); /* -1 when there is none */
unsigned sink_profile_match(struct hm_str method, struct hm_str path);
int sink_profiles_init(const struct sink_options *o, struct hm_err *e) HM_MUSTCHECK;
void sink_profiles_fini(void);
const struct sink_special *sink_special_named(unsigned profile, struct hm_str name);
/* The special row for a target: knobs first, then the profile's own table. */
const struct sink_special *sink_special_for(unsigned profile, struct hm_str target, struct sink_worker *w);

/* Reply helpers for handle() and error(). */
void reply_static(struct sink_req *r, int status, struct hm_str type, struct hm_str body);
void reply_out(struct sink_req *r, int status, struct hm_str type); /* body = all of r->out */
void reply_header(struct sink_req *r, struct hm_str name, struct hm_str value);
/* Copies into the request's buffer: for values that do not live as long as the request. */
void reply_header_copy(struct sink_req *r, struct hm_str name, struct hm_str value);
#define TYPE_JSON HM_STR("application/json; charset=UTF-8")
#define TYPE_TEXT HM_STR("text/plain; charset=utf-8")

#endif
