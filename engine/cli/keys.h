/*
 * keys.h - hermod keys create | list | revoke
 *
 * hermod keys create --scope send[,read][,templates][,admin] [--name N] [--rate N] [--json]
 * hermod keys list [--json]
 * hermod keys revoke ID
 * All also take --redis URL, --config F, --set S.KEY=VALUE. Exit codes: 0 done; 1 it
 * could not be done; 2 wrong use.
 */
#ifndef HM_CLI_KEYS_H
#define HM_CLI_KEYS_H

int hm_cli_keys(int argc, char **argv);

#endif
