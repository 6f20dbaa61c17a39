/*
 * templates.h - hermod templates list | show | push | pull | diff | publish | archive | restore | use | test
 *
 * Managed templates from the command line, straight in Redis (templates/store.h), so that no API key is needed;
 * `test` needs no Redis at all. Exit codes: 0 done, nothing differs, all tests passed; 1 it could not be done, something
 * differs, a test failed; 2 wrong use.
 */
#ifndef HM_CLI_TEMPLATES_H
#define HM_CLI_TEMPLATES_H

int hm_cli_templates(int argc, char **argv);

#endif
