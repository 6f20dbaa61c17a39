/*
 * schedules.h - `hermod schedules`
 *
 * hermod schedules list [--json]     recurring schedules, when they fire next
 * hermod schedules show NAME         one as JSON
 * hermod schedules create FILE|-     from a JSON document (schedule/schedule.h)
 * hermod schedules delete|pause|resume|run NAME
 * All also take --redis URL, --config F, --set S.KEY=VALUE. Exit codes: 0 done; 1 it could not be done; 2 wrong use.
 */
#ifndef HM_CLI_SCHEDULES_H
#define HM_CLI_SCHEDULES_H

int hm_cli_schedules(int argc, char **argv);

#endif
