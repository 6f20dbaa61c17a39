/*
 * ledger_args.h - finding and opening the ledger for a look
 *
 * --data-dir D (the ledger is D/ledger), or the configuration (--config, --set:
 * ledger.dir, node.data_dir). The ledger is opened read-only, so the engine may be
 * running on it.
 */
#ifndef HM_CLI_LEDGER_ARGS_H
#define HM_CLI_LEDGER_ARGS_H

#include "cli/conf_args.h"
#include "store/ledger.h"

struct hm_ledger_args {
	struct hm_conf_args conf;
	const char *data_dir;
};
void hm_ledger_args_init(struct hm_ledger_args *a);
/* As hm_conf_args_take, with --data-dir. */
bool hm_ledger_args_take(struct hm_ledger_args *a, int argc, char **argv, int *i, bool *bad);
/* Prints what is wrong and returns the exit code, or 0. */
int hm_ledger_args_open(const struct hm_ledger_args *a, struct hm_ledger **l_r);
#define HM_LEDGER_ARGS_HELP \
	"  --data-dir D        the engine's folder; its ledger is D/ledger\n" HM_CONF_ARGS_HELP

/* Columns a text takes on a terminal (Chinese characters take two). */
size_t hm_text_width(struct hm_str s);
void hm_print_padded(struct hm_str s, size_t width); /* left, cut with an ellipsis when longer */
void hm_print_number(uint64_t v, size_t width);	     /* right, thousands separated by commas */
size_t hm_number_text(uint64_t v, char out[32]);     /* "1,234,567"; its length */

#endif
