/*
 * config_int.h - what the files of this folder share
 *
 * settings.c knows the types of single values, refs.c resolves ${env:} and ${file:},
 * config.c builds a configuration from its sources, check.c judges the whole,
 * show.c prints and compares.
 */
#ifndef HM_CONFIG_CONFIG_INT_H
#define HM_CONFIG_CONFIG_INT_H

#include "config/config.h"

/* hm_config.marks: who set it, and whether its text came from a reference. */
enum config_source {
	CONFIG_DEFAULT,
	CONFIG_FILE,
	CONFIG_ENV,
	CONFIG_CLI,
	CONFIG_SOURCE_MASK = 7,
	CONFIG_SECRET = 8
};

/* One load in progress: problems go out through report and are counted. */
struct config_load {
	struct hm_config *cfg;
	hm_report_fn report;
	void *arg;
	size_t problems;
};
/* Where the file sets an option, for problems found later; line 0 = not in the file. */
struct hm_config_at {
	int line, col;
};
void config_problem(struct config_load *l, const struct hm_err *e);
void config_problem_at(struct config_load *l, const struct hm_yaml *n, const char *fmt, ...) HM_PRINTF(3, 4);

/* settings.c. Setting returns 0, HM_ECONFIG (does not fit) or HM_ENOMEM. */
int config_set(struct hm_arena *a, const struct hm_setting_info *i, struct hm_str text,
	       struct hm_settings *s);
int config_set_list(struct hm_arena *a, const struct hm_setting_info *i, const struct hm_str *items, size_t n,
		    struct hm_settings *s);
int config_defaults(struct hm_arena *a, struct hm_settings *s);
void config_expectation(const struct hm_setting_info *i, struct hm_buf *b);
void config_put_value(const struct hm_settings *s, const struct hm_setting_info *i, bool secret,
		      struct hm_buf *b);
bool config_same_value(const struct hm_settings *a, const struct hm_settings *b,
		       const struct hm_setting_info *i);
const char *config_section_name(size_t i); /* NULL past the last */
const char *config_section_doc(size_t i);

/* refs.c. Replaces references in one text; *secret_r tells whether there were any. */
int config_resolve(struct hm_arena *a, struct hm_str text, struct hm_str *out_r, bool *secret_r,
		   struct hm_err *e);
/* The same for every scalar of a tree; problems are reported at their node. */
void config_resolve_tree(struct config_load *l, struct hm_yaml *n);

/* routes.c: channels and routes of the file, into cfg. */
void config_load_channels(struct config_load *l, const struct hm_yaml *map);
void config_load_routes(struct config_load *l, const struct hm_yaml *map);

/* condition.c: an expression of the template language that says yes or no. NULL: it was reported. It lives as long as the
 * configuration. */
const struct hm_tmpl *config_condition(struct config_load *l, const struct hm_yaml *n, const char *what);
void config_free_conditions(struct hm_config *cfg);

/* Names of channels, routes and facts go into keys, metrics and URLs. */
bool config_good_name(struct hm_str s);

/* facts.c: what is a map in the section `facts`, and no option of it */
bool config_is_fact(const struct hm_yaml *n);
void config_load_facts(struct config_load *l, const struct hm_yaml *map);

/* policies.c: caps, quiet hours and categories, after the channels and routes they name. NULL: not in the file */
void config_load_policies(struct config_load *l, const struct hm_yaml *caps, const struct hm_yaml *quiet,
			  const struct hm_yaml *categories);
void config_check_policies(struct config_load *l); /* once every value is right */

/* tenants.c; NULL: not in the file */
void config_load_tenants(struct config_load *l, const struct hm_yaml *map);

/* show.c */
bool config_same_node(const struct hm_yaml *a, const struct hm_yaml *b);

/* check.c: settings that contradict each other. */
void config_check_settings(struct config_load *l);

#endif
