/*
 * suppressions.h - hermod suppressions list | add | remove | import | export | count
 *
 * Suppression lists and consents from the command line, straight in Redis (gates/suppress.h), so that no API key is needed.
 * Exit codes: 0 done; 1 it could not be done, or not all of it; 2 wrong use.
 */
#ifndef HM_CLI_SUPPRESSIONS_H
#define HM_CLI_SUPPRESSIONS_H

int hm_cli_suppressions(int argc, char **argv);

#endif
