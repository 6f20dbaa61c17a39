/*
 * pdu.h - the bytes of SMPP 3.4: reading and writing PDUs
 *
 * A PDU is command_length, command_id, command_status, sequence_number (four octets each, big-endian) and a body. A C-octet string
 * is bytes and a NUL. Optional parameters (TLV: tag, length, value) follow the fields; unknown ones are skipped, and what comes
 * after the last whole one is ignored. Reading is lenient about the lengths of texts, which a PDU bounds anyway, and strict about
 * the end of the PDU: a field that is not there makes the whole body bad.
 *
 * What is read points into the PDU. Writing appends to a buffer. Pure functions, any thread.
 */
#ifndef HM_SMPP_PDU_H
#define HM_SMPP_PDU_H

#include "base/buf.h"
#include "base/str.h"

#define SMPP_HEAD    16u
#define SMPP_MAX_PDU (72u * 1024) /* a message_payload of 64 KiB and what stands around it */

enum smpp_command {
	SMPP_BIND_RECEIVER = 0x01,
	SMPP_BIND_TRANSMITTER = 0x02,
	SMPP_QUERY_SM = 0x03,
	SMPP_SUBMIT_SM = 0x04,
	SMPP_DELIVER_SM = 0x05,
	SMPP_UNBIND = 0x06,
	SMPP_BIND_TRANSCEIVER = 0x09,
	SMPP_OUTBIND = 0x0B,
	SMPP_ENQUIRE_LINK = 0x15,
	SMPP_ALERT_NOTIFICATION = 0x102,
	SMPP_DATA_SM = 0x103,
};
#define SMPP_RESP	  0x80000000u /* of a command: its id with this bit */
#define SMPP_GENERIC_NACK 0x80000000u
#define SMPP_MAX_SEQUENCE 0x7fffffffu

enum smpp_status {
	SMPP_ROK = 0x00,
	SMPP_RINVCMDLEN = 0x02,
	SMPP_RINVCMDID = 0x03,
	SMPP_RINVBNDSTS = 0x04,
	SMPP_RALYBND = 0x05,
	SMPP_RMSGQFUL = 0x14,
	SMPP_RTHROTTLED = 0x58,
	SMPP_RX_T_APPN = 0x64, /* not taken now: send it again */
	SMPP_RX_P_APPN = 0x65, /* never */
};
/* "ESME_RTHROTTLED", or "0x00000411" in `hex` for what has no name. */
const char *smpp_status_name(uint32_t status, char hex[11]);

enum smpp_tag {
	SMPP_TAG_ADDITIONAL_STATUS = 0x001D,
	SMPP_TAG_RECEIPTED_ID = 0x001E,
	SMPP_TAG_SAR_REF = 0x020C,
	SMPP_TAG_SAR_TOTAL = 0x020E,
	SMPP_TAG_SAR_SEQNUM = 0x020F,
	SMPP_TAG_NETWORK_ERROR = 0x0423,
	SMPP_TAG_PAYLOAD = 0x0424,
	SMPP_TAG_MESSAGE_STATE = 0x0427,
};

#define SMPP_ESM_TYPE	  0x3Cu /* bits of esm_class: what kind of message */
#define SMPP_ESM_RECEIPT  0x04u
#define SMPP_ESM_PROGRESS 0x20u /* intermediate notification */
#define SMPP_ESM_UDHI	  0x40u
#define SMPP_MAX_MESSAGE  254u /* octets of short_message */

/* -- reading ---------------------------------------------------------------- */

struct smpp_head {
	uint32_t length, id, status, sequence;
};
void smpp_head_read(const uint8_t *p, struct smpp_head *h); /* of 16 bytes */

struct smpp_sm { /* submit_sm, deliver_sm, data_sm */
	struct hm_str service_type, source, dest, schedule, validity,
		message; /* message: from the payload when there is none */
	uint8_t source_ton, source_npi, dest_ton, dest_npi, esm_class, protocol_id, priority, registered,
		replace, data_coding, default_id;
	/* optional parameters; a length of 0, or -1, when absent */
	struct hm_str receipted_id;
	int message_state;
	struct hm_str network_error; /* three octets */
	int sar_ref, sar_total, sar_seqnum;
};
bool smpp_sm_read(struct hm_str body, struct smpp_sm *m) HM_MUSTCHECK;	    /* submit_sm, deliver_sm */
bool smpp_data_sm_read(struct hm_str body, struct smpp_sm *m) HM_MUSTCHECK; /* data_sm */

/* Of a submit_sm_resp: message_id, and additional_status_info_text when it says more. Both may be missing. */
void smpp_submit_resp_read(struct hm_str body, struct hm_str *id_r, struct hm_str *text_r);
/* Of a bind response. */
struct hm_str smpp_bind_resp_read(struct hm_str body);

/* -- writing ------------------------------------------------------------------ */

/* Begins a PDU; end sets its length. One at a time in a buffer. */
size_t smpp_begin(struct hm_buf *b, uint32_t id, uint32_t status, uint32_t sequence);
void smpp_end(struct hm_buf *b, size_t at);
void smpp_put8(struct hm_buf *b, unsigned v);
void smpp_put16(struct hm_buf *b, unsigned v);
void smpp_put32(struct hm_buf *b, uint32_t v);
void smpp_put_text(struct hm_buf *b, struct hm_str s); /* and its NUL; s must hold none */
void smpp_put_tlv(struct hm_buf *b, enum smpp_tag tag, const void *p, size_t n);
/* A PDU without a body. */
void smpp_put_empty(struct hm_buf *b, uint32_t id, uint32_t status, uint32_t sequence);

struct smpp_bind {
	uint32_t id; /* SMPP_BIND_... */
	struct hm_str system_id, password, system_type, address_range;
	uint8_t ton, npi;
};
void smpp_put_bind(struct hm_buf *b, uint32_t sequence, const struct smpp_bind *v);
/* m->message: at most 254 octets; with sar_total > 0 the sar_* parameters; with `payload` the message goes into message_payload. */
void smpp_put_submit(struct hm_buf *b, uint32_t sequence, const struct smpp_sm *m, struct hm_str header,
		     bool payload);

#endif
