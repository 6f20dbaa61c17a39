/* run.h - hermod run [--config FILE] [--set section.key=value]... */
#ifndef HM_CLI_RUN_H
#define HM_CLI_RUN_H
int hm_cli_run(int argc, char **argv);
#endif
