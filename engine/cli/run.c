/*
 * run.c - hermod run
 */
#include <stdio.h>
#include <string.h>

#include "cli/conf_args.h"
#include "cli/run.h"
#include "core/engine.h"

int hm_cli_run(int argc, char **argv)
{
	struct hm_conf_args c;
	bool bad = false;

	hm_conf_args_init(&c);
	for (int i = 1; i < argc; i++) {
		if (hm_wants_help(argv[i])) {
			printf("usage: hermod run [options]\n\nStarts the engine. SIGTERM drains and ends "
			       "it, SIGHUP reloads the configuration.\n\n" HM_CONF_ARGS_HELP);
			return 0;
		}
		if (!hm_conf_args_take(&c, argc, argv, &i, &bad)) {
			fprintf(stderr,
				"hermod: run does not know \"%s\"; hermod run --help lists its options\n",
				argv[i]);
			return 2;
		}
		if (bad)
			return 2;
	}
	return hm_engine_run(c.path, c.sets);
}
