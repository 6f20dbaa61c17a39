/*
 * opts.h - what a load run is asked to do
 */
#ifndef HM_BENCH_OPTS_H
#define HM_BENCH_OPTS_H

#include "base/err.h"
#include "base/str.h"
#include "base/vocab.h"

#define MIX_MAX 16

enum addr_kind {
	ADDR_APNS,
	ADDR_FCM,
	ADDR_WECOM,
	ADDR_WEBHOOK,
	ADDR_PHONE,
	ADDR_EMAIL,
	ADDR_PLAIN,
	ADDR_LIST
};

struct mix {
	enum addr_kind kind;
	char channel[64];
	unsigned share;
	uint64_t made; /* messages made so far */
};

struct opts {
	const char *redis, *http, *key, *campaign, *template_ref, *hook_url, *prefix, *addresses;
	bool via_http, json, quiet, no_wait, same;
	uint64_t messages, rate, timeout_s;
	uint32_t chunk, partitions, window;
	enum hm_lane lane;
	struct mix mix[MIX_MAX];
	size_t n_mix;
	unsigned shares;
	uint32_t body_bytes;
};

/* 0 = go on, 1 = done (help printed), 2 = wrong use (sentence printed). */
int opts_parse(struct opts *o, int argc, char **argv);

#endif
