/*
 * receipt.h - the text of a delivery receipt
 *
 *   id:IIIIIIIIII sub:SSS dlvrd:DDD submit date:YYMMDDhhmm done date:YYMMDDhhmm stat:DDDDDDD err:E text:....
 *
 * SMPP 3.4 appendix B calls this "vendor specific, this is typical", so it is read by the names it knows: in any order and case,
 * with or without blanks behind the colon, whatever stands between. Two names hold a blank; text: takes the rest.
 *
 * Ids: what a submit_sm_resp calls 7A3F01 may be 0008011521 in its receipt. Which radix each side writes is the account's; both are
 * turned into decimal without leading zeros, and an id that is no such number stays as it is.
 * Pure functions, any thread; results point into the text.
 */
#ifndef HM_SMPP_RECEIPT_H
#define HM_SMPP_RECEIPT_H

#include "base/str.h"

struct smpp_receipt {
	struct hm_str id, sub, dlvrd, submit_date, done_date, stat, err, text; /* empty when not told */
};
/* Whether the text is one: it has an id and a stat. */
bool smpp_receipt_read(struct hm_str text, struct smpp_receipt *r);

/* message_state (TLV) as the word stat would have: "DELIVRD"; NULL: none of those. */
const char *smpp_state_name(int state);

enum smpp_radix { SMPP_RADIX_NONE, SMPP_RADIX_DEC, SMPP_RADIX_HEX };
#define SMPP_ID_CAP 65u
/* `out` has room for SMPP_ID_CAP; longer ids, and what a text should not hold (control characters, commas), are cut out. */
struct hm_str smpp_id_canonical(struct hm_str id, enum smpp_radix radix, char *out);

#endif
