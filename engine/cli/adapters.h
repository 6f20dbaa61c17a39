/* adapters.h - hermod adapters: list, check, dry-run */
#ifndef HM_CLI_ADAPTERS_H
#define HM_CLI_ADAPTERS_H

/* argv[0] is "adapters". Exit codes: 0 done, 1 the message cannot be sent, 2 wrong use or a broken file. */
int hm_cli_adapters(int argc, char **argv);

#endif
