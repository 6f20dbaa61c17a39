/*
 * conf_args.h - the options by which every command finds the configuration
 *
 * --config FILE (default: $HERMOD_CONFIG, then ./hermod.yaml, then
 * /etc/hermod/hermod.yaml, then none) and --set section.key=value.
 */
#ifndef HM_CLI_CONF_ARGS_H
#define HM_CLI_CONF_ARGS_H

#include <stdbool.h>

#define HM_CONF_SETS_MAX 64
struct hm_conf_args {
	const char *path; /* NULL: no file */
	const char *sets[HM_CONF_SETS_MAX + 1];
	int n_sets;
};
void hm_conf_args_init(struct hm_conf_args *c);
/* Looks at argv[*i]; true when it was one of the options above (then *i stands on its last word). Wrong use prints
 * one sentence and sets *bad. */
bool hm_conf_args_take(struct hm_conf_args *c, int argc, char **argv, int *i, bool *bad);
/* "--name VALUE" or "--name=VALUE" at argv[*i]: true when it is there; *bad and a sentence when the value is not. */
bool hm_option_take(const char *name, const char **value_r, int argc, char **argv, int *i, bool *bad);
/* "--help" or "-h". */
bool hm_wants_help(const char *arg);
#define HM_CONF_ARGS_HELP                                                               \
	"  --config FILE       configuration (default: $HERMOD_CONFIG, ./hermod.yaml, " \
	"/etc/hermod/hermod.yaml)\n"                                                    \
	"  --set S.KEY=VALUE   one setting, over file and environment; may be given several times\n"

#endif
