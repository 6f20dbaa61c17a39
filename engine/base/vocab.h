/*
 * vocab.h - the words of DESIGN.md section 1 as enums: outcomes, states, lanes, media, receipts
 *
 * Each list lives once in tbl/; names and properties come from there.
 */
#ifndef HM_BASE_VOCAB_H
#define HM_BASE_VOCAB_H

#include "base/defs.h"
#include "base/str.h"

enum hm_outcome {
#define HM_OUTCOME(name, text, retryable, health, sentence) HM_OUT_##name,
#include "tbl/outcomes.h"
#undef HM_OUTCOME
	HM_OUT_COUNT
};
enum hm_state {
#define HM_STATE(name, text, final, balance) HM_ST_##name,
#include "tbl/states.h"
#undef HM_STATE
	HM_ST_COUNT
};
enum hm_lane {
#define HM_LANE(name, text, weight) HM_LANE_##name,
#include "tbl/lanes.h"
#undef HM_LANE
	HM_LANE_COUNT
};
enum hm_medium {
#define HM_MEDIUM(name, text) HM_MED_##name,
#include "tbl/media.h"
#undef HM_MEDIUM
	HM_MED_COUNT
};
enum hm_receipt {
#define HM_RECEIPT(name, text, level, sentence) HM_RC_##name,
#include "tbl/receipts.h"
#undef HM_RECEIPT
	HM_RC_COUNT
};
const char *hm_outcome_name(enum hm_outcome o), *hm_outcome_sentence(enum hm_outcome o);
bool hm_outcome_retryable(enum hm_outcome o);
bool hm_outcome_health(enum hm_outcome o); /* counts against the channel's health */
const char *hm_state_name(enum hm_state s), *hm_state_balance(enum hm_state s);
bool hm_state_final(enum hm_state s);
const char *hm_lane_name(enum hm_lane l);
unsigned hm_lane_weight(enum hm_lane l); /* default share; 0 = never waits behind another lane */
const char *hm_medium_name(enum hm_medium m);
const char *hm_media_list(void); /* "push, sms, ...": for sentences */
const char *hm_receipt_name(enum hm_receipt r);
unsigned
hm_receipt_level(enum hm_receipt r); /* a higher one says all that a lower one says; 0: it did not arrive */
/* By name; -1 when there is none. */
int hm_outcome_find(struct hm_str s), hm_state_find(struct hm_str s), hm_lane_find(struct hm_str s),
	hm_medium_find(struct hm_str s), hm_receipt_find(struct hm_str s);

#endif
