/*
 * report_all.h - hermod report over several nodes: each of them, and the sum
 *
 * Over the nodes listed in Redis (core/nodes.h), asked through their APIs; or over ledgers of this machine. A node that does
 * not answer is named, the sum is then not whole, and the exit code 1.
 */
#ifndef HM_CLI_REPORT_ALL_H
#define HM_CLI_REPORT_ALL_H

#include "cli/conf_args.h"
#include "store/ledger.h"

#define HM_REPORT_LEDGERS 64

struct hm_report_all {
	const struct hm_conf_args *conf;
	const char *redis, *key, *campaign; /* NULL: none given */
	const char *const *dirs;
	size_t n_dirs; /* 0: all nodes */
	bool json, verify;
};
int hm_report_all(const struct hm_report_all *r); /* the exit code */

#endif
