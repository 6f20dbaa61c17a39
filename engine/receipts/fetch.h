/*
 * fetch.h - the few things of a provider's that a callback makes us get: a certificate, the address that confirms
 *
 * The host has been compared with the adapter's list (receipts.h); private addresses are refused. Certificates are
 * kept for a day, FETCH_KEPT of them per process. fn once, from the loop or from inside; body is valid during the call.
 */
#ifndef HM_RECEIPTS_FETCH_H
#define HM_RECEIPTS_FETCH_H

#include "receipts/callbacks.h"

typedef void (*hm_fetch_fn)(void *arg, struct hm_str body, const struct hm_err *err);
void hm_fetch(struct hm_callbacks *cb, const struct hm_channel *c, struct hm_str url, bool certificate,
	      hm_fetch_fn fn, void *arg);

#endif
