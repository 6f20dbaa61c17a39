/*
 * report.h - what became of the messages
 *
 * hermod report [--campaign C] [--json] [--verify]     the balance
 *        ... --all | --ledger DIR ...                  over several nodes (report_all.h)
 * hermod ledger get ID | find --to A | list --campaign C [--state S] | dump
 * Both also take --data-dir D, --config F, --set S.KEY=VALUE. Exit codes: 0 done; 1 the
 * ledger cannot be read, nothing was found, or the books do not balance; 2 wrong use.
 */
#ifndef HM_CLI_REPORT_H
#define HM_CLI_REPORT_H

int hm_cli_report(int argc, char **argv);
int hm_cli_ledger(int argc, char **argv);

#endif
