/*
 * smpp.h - the driver for SMPP 3.4: short messages by an SMSC
 *
 * An origin is an account at an SMSC. It holds up to max_connections bound sessions, one at first, further ones while the windows of
 * those are full; while a channel uses it and receipts are wanted, one stays bound without calls too. One call is one message: all
 * parts of a long text go over one session, and the call is answered when each of them has its submit_sm_resp.
 *
 * What logs in (hm_origin_opts.session; numbers are decimal):
 *   system_id password system_type   as the SMSC gave them
 *   bind                 transceiver (default) | transmitter (no receipts) | pair: transmitters, and one receiver
 *   addr_ton addr_npi address_range  of the bind; which addresses a receiver serves
 *   window               PDUs without an answer at most (10); 1 is stop and wait
 *   pace                 parts a second and session at most (0: no limit)
 *   enquire_link         seconds of silence before the link is tested (30; 0: never); two tests without an answer within
 *   enquire_timeout      seconds (10) each end the session
 *   bind_timeout         seconds to wait for the answer to the bind (15)
 *   rebind               seconds after a refused bind, doubled up to five minutes (5)
 *   id_radix             none | dec | hex: how message ids are written in answers, and
 *   receipt_radix        in receipts; they meet in decimal (receipt.h)
 *   default_alphabet     gsm (default) | latin1: what data_coding 0 is in messages from the SMSC
 *
 * A call (SUBMIT): the body is the text in UTF-8; its fields, all but destination_addr optional:
 *   source_addr destination_addr     a number may begin with +; ton and npi follow from how it looks unless they are given:
 *   source_addr_ton source_addr_npi dest_addr_ton dest_addr_npi       letters 5,0; up to 6 digits 3,0; else 1,1 (destination: 1,1)
 *   alphabet             gsm (default) | gsm-packed | latin1 | ucs2: what a text goes in when all of it is in there; else UCS-2
 *   long                 udh8 (default) | udh16 | sar | payload (text.h)
 *   gsm_coding latin1_coding ucs2_coding      the data_coding of each (0, 3, 8)
 *   registered_delivery  (0) with several parts and part_receipts `last` (default) only the last one asks about success
 *   part_receipts        last | all
 *   validity             seconds, or a time of 16 characters; schedule: such a time
 *   service_type protocol_id priority_flag esm_mode replace_if_present
 *
 * The answer: `status` is command_status (0 only when every part was taken), `answer` what the SMSC says beside it, and the headers
 *   command-status       its name, or hex digits          phase       submit | bind: what was refused
 *   message-id           of the last part                 message-ids of all, joined by commas, the last part's first
 *   parts, accepted      how many there are, were taken   partial     yes: some were taken, some refused
 * A refused bind is the answer (phase: bind) of the calls that wait for it. RTHROTTLED and RMSGQFUL rest the session for a second and
 * halve its window, which grows again with what is accepted; parts so refused of a message of which others were taken go again.
 * A session lost: calls whose bytes never left go again, others are MAYBE.
 *
 * What the SMSC sends (hm_wire_opts.on_event), answered when it is durably taken; ESME_RX_T_APPN asks for it again otherwise. Fields:
 *   type                 receipt | inbound
 *   from to              of the deliver_sm, without +; a receipt's `from` is mostly the handset
 *   id stat state err    receipts: message id (canonical), DELIVRD..., TLV message_state, the text's err
 *   detail network_error final    receipts: stat as the text has it, type-code of the TLV, no: an intermediate notification
 *   submit_date done_date         receipts: as the text has them
 *   text data_coding ref part parts   inbound: the text in UTF-8 (the body too); of a long one each part comes by itself
 *
 * Threads: the wire's. Memory: a session's window and buffers, in steady state nothing; a message's parts live in its call's arena.
 */
#ifndef HM_SMPP_SMPP_H
#define HM_SMPP_SMPP_H

#include "wire/driver.h"

extern const struct hm_driver_ops hm_smpp_driver;

#endif
