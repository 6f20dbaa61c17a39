/* check.h - hermod check [--config FILE] [--set section.key=value]... [--options | --show] */
#ifndef HM_CLI_CHECK_H
#define HM_CLI_CHECK_H
int hm_cli_check(int argc, char **argv);
#endif
