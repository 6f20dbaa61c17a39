/*
 * vocab.c - names and properties of outcomes, states, lanes and media
 */
#include "base/vocab.h"

static const struct {
	const char *name, *sentence;
	bool retryable, health;
} outcomes[] = {
#define HM_OUTCOME(name, text, retryable, health, sentence) {text, sentence, retryable, health},
#include "tbl/outcomes.h"
#undef HM_OUTCOME
};
static const struct {
	const char *name, *balance;
	bool final;
} states[] = {
#define HM_STATE(name, text, final, balance) {text, balance, final},
#include "tbl/states.h"
#undef HM_STATE
};
static const struct {
	const char *name;
	unsigned weight;
} lanes[] = {
#define HM_LANE(name, text, weight) {text, weight},
#include "tbl/lanes.h"
#undef HM_LANE
};
static const struct {
	const char *name;
} media[] = {
#define HM_MEDIUM(name, text) {text},
#include "tbl/media.h"
#undef HM_MEDIUM
};
static const char media_list[] =
#define HM_MEDIUM(name, text) ", " text
#include "tbl/media.h"
#undef HM_MEDIUM
	;
static const struct {
	const char *name;
	unsigned level;
} receipts[] = {
#define HM_RECEIPT(name, text, level, sentence) {text, level},
#include "tbl/receipts.h"
#undef HM_RECEIPT
};

#define ROW(table, i) (hm_assert_index((size_t)(i), hm_countof(table)), &(table)[i])
static void hm_assert_index(size_t i, size_t n)
{
	hm_assert(i < n);
}

const char *hm_outcome_name(enum hm_outcome o)
{
	return ROW(outcomes, o)->name;
}

const char *hm_outcome_sentence(enum hm_outcome o)
{
	return ROW(outcomes, o)->sentence;
}

bool hm_outcome_retryable(enum hm_outcome o)
{
	return ROW(outcomes, o)->retryable;
}

bool hm_outcome_health(enum hm_outcome o)
{
	return ROW(outcomes, o)->health;
}

const char *hm_state_name(enum hm_state s)
{
	return ROW(states, s)->name;
}

const char *hm_state_balance(enum hm_state s)
{
	return ROW(states, s)->balance;
}

bool hm_state_final(enum hm_state s)
{
	return ROW(states, s)->final;
}

const char *hm_lane_name(enum hm_lane l)
{
	return ROW(lanes, l)->name;
}

unsigned hm_lane_weight(enum hm_lane l)
{
	return ROW(lanes, l)->weight;
}

const char *hm_medium_name(enum hm_medium m)
{
	return ROW(media, m)->name;
}

const char *hm_media_list(void)
{
	return media_list + 2; /* the first comma */
}

const char *hm_receipt_name(enum hm_receipt r)
{
	return ROW(receipts, r)->name;
}

unsigned hm_receipt_level(enum hm_receipt r)
{
	return ROW(receipts, r)->level;
}

#define FIND(table)                                    \
	for (size_t i = 0; i < hm_countof(table); i++) \
		if (hm_str_is(s, (table)[i].name))     \
			return (int)i;                 \
	return -1

int hm_outcome_find(struct hm_str s)
{
	FIND(outcomes);
}

int hm_state_find(struct hm_str s)
{
	FIND(states);
}

int hm_lane_find(struct hm_str s)
{
	FIND(lanes);
}

int hm_medium_find(struct hm_str s)
{
	FIND(media);
}

int hm_receipt_find(struct hm_str s)
{
	FIND(receipts);
}
