/*
 * gen.h - messages for a load run: unique addresses, some data per recipient
 */
#ifndef HM_BENCH_GEN_H
#define HM_BENCH_GEN_H

#include "base/buf.h"
#include "base/ulid.h"
#include "opts.h"

struct gen {
	struct opts *o;
	uint64_t made; /* messages generated */
	uint64_t seed; /* makes addresses of two runs differ */
	size_t at;     /* mix entry in turn */
	char text[4096];
	struct hm_str *list; /* --addresses; live as long as the program */
	size_t n_list;
};
/* Reads --addresses. */
int gen_init(struct gen *g, struct opts *o, uint64_t seed, struct hm_err *e) HM_MUSTCHECK;
/* One queue entry of up to `max` recipients, all on one channel. Returns how many; 0 = all made. */
uint32_t gen_entry(struct gen *g, struct hm_buf *out, uint32_t max, struct hm_ulid *id);
/* The same as one element of POST /v1/messages/batch (JSON object with recipients). */
uint32_t gen_json(struct gen *g, struct hm_buf *out, uint32_t max);

#endif
