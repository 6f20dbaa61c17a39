/*
 * hold.h - `hermod pause`, `hermod resume`, `hermod cancel`, `hermod pauses`
 *
 * hermod pause  --campaign X | --tag X | --tenant X | --message ID | --job ID    nothing of it leaves any more
 * hermod resume ...                                                             it goes on
 * hermod cancel ...                                                             what was accepted so far ends
 * hermod pauses [--json]                                                        what is paused, since when and by whom
 * All also take --redis URL, --config F, --set S.KEY=VALUE. Exit codes: 0 done; 1 it could not be done; 2 wrong use.
 */
#ifndef HM_CLI_HOLD_H
#define HM_CLI_HOLD_H

int hm_cli_pause(int argc, char **argv);
int hm_cli_resume(int argc, char **argv);
int hm_cli_cancel(int argc, char **argv);
int hm_cli_pauses(int argc, char **argv);

#endif
