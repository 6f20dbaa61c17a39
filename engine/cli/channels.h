/*
 * channels.h - `hermod channels`
 *
 * hermod channels list [--json]            channels of the configuration and what Redis knows of them
 * hermod channels pause NAME [--reason T]  every process stops sending there, within a second and after restarts
 * hermod channels resume NAME
 * All also take --redis URL, --config F, --set S.KEY=VALUE. Exit codes: 0 done; 1 it
 * could not be done; 2 wrong use.
 */
#ifndef HM_CLI_CHANNELS_H
#define HM_CLI_CHANNELS_H

int hm_cli_channels(int argc, char **argv);

#endif
