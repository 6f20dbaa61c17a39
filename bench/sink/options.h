/*
 * options.h - the command line, read once into one struct
 */
#ifndef HM_SINK_OPTIONS_H
#define HM_SINK_OPTIONS_H

#include "base/err.h"
#include "base/str.h"

#define OPT_MAX_LIST 32

struct opt_list {
	const char *v[OPT_MAX_LIST];
	size_t n;
};

struct sink_options {
#define OPT_TEXT(field, flag, arg, def, doc)	      const char *field;
#define OPT_LIST(field, flag, arg, doc)		      struct opt_list field;
#define OPT_NUM(field, flag, arg, def, min, max, doc) uint64_t field;
#define OPT_BYTES(field, flag, arg, def, doc)	      uint64_t field;
#define OPT_TIME(field, flag, arg, def, doc)	      uint64_t field; /* ms */
#define OPT_BOOL(field, flag, doc)		      bool field;
#define OPT_GROUP(title)
#include "tbl_options.h"
};

enum options_verdict { OPTIONS_RUN, OPTIONS_EXIT_0, OPTIONS_EXIT_2 };
/* Prints help or the one sentence that says what is wrong. */
enum options_verdict options_parse(struct sink_options *o, int argc, char **argv);
/* "127.0.0.1:8080", "[::1]:0", ":8080" (loopback), "8080". */
struct addr {
	char host[64];
	uint16_t port;
};
int addr_parse(const char *text, struct addr *a_r, struct hm_err *e) HM_MUSTCHECK;

#endif
