/*
 * dead.h - hermod dead: dead letters listed, shown, counted, replayed, dropped;
 *          hermod campaigns resend-failed: all of a campaign
 */
#ifndef HM_CLI_DEAD_H
#define HM_CLI_DEAD_H

int hm_cli_dead(int argc, char **argv);
int hm_cli_campaigns(int argc, char **argv);

#endif
