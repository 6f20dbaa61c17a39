/*
 * text.h - texts of short messages: alphabets, cutting into parts, and back
 *
 * To the handset (3GPP TS 23.038, 23.040): a text goes in the wanted alphabet when all of it is in it, otherwise in UCS-2 (UTF-16
 * big-endian; what lies beyond the BMP is a surrogate pair). A text that does not fit into one message is cut into parts of equal
 * room; never between an escape and its code, never inside a surrogate pair.
 *
 *             one   part with 8-bit reference   with 16-bit reference
 *   GSM       160   153                         152     septets, one an octet (or packed)
 *   UCS-2     140   134 (67 units)              132     octets
 *   Latin-1   140   134                         133     octets
 *
 * Memory: the call's arena. Pure functions, any thread.
 */
#ifndef HM_SMPP_TEXT_H
#define HM_SMPP_TEXT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#define SMPP_MAX_PARTS 255u

enum smpp_alphabet { SMPP_GSM, SMPP_GSM_PACKED, SMPP_LATIN1, SMPP_UCS2 };
enum smpp_long { /* how a text of several parts goes */
		 SMPP_LONG_UDH8,
		 SMPP_LONG_UDH16,
		 SMPP_LONG_SAR,	    /* parameters sar_*; the SMSC writes the header */
		 SMPP_LONG_PAYLOAD, /* in one piece as message_payload; the SMSC cuts */
};

struct smpp_text {
	enum smpp_alphabet alphabet; /* what it became */
	uint32_t n_parts;	     /* 1 and more */
	struct hm_str *parts;
};
/* HM_ELIMIT: more than 255 parts, or 64 KiB of payload; HM_ENOMEM. An empty text has one empty part. */
int smpp_text_encode(struct hm_str utf8, enum smpp_alphabet want, enum smpp_long how, struct hm_arena *a,
		     struct smpp_text *t, struct hm_err *e) HM_MUSTCHECK;

/* Septets, one an octet, packed behind `fill` bits (behind a user data header). Returns the octets written; out has room for n. */
size_t smpp_gsm_pack(const uint8_t *septets, size_t n, unsigned fill, uint8_t *out);

/* GSM code of a character: below 0x80, or 0x1B00 | code of the extension table; -1 when it has none. */
int smpp_gsm_code(uint32_t cp);

/* Appends as UTF-8. Bytes that are nothing in their alphabet become U+FFFD. */
void smpp_text_decode(struct hm_str bytes, enum smpp_alphabet a, struct hm_buf *out);

#endif
