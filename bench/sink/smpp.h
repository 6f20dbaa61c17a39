/*
 * smpp.h - a connection of --smpp (smpp.c says how it behaves)
 */
#ifndef HM_SINK_SMPP_H
#define HM_SINK_SMPP_H

#include "conn.h"

enum { /* command_status, beside those the codec names */
       SINK_SMPP_RSYSERR = 0x08,
       SINK_SMPP_RINVSRCADR = 0x0A,
       SINK_SMPP_RINVDSTADR = 0x0B,
       SINK_SMPP_RINVPASWD = 0x0E,
       SINK_SMPP_RINVSYSID = 0x0F,
       SINK_SMPP_RSUBMITFAIL = 0x45,
};

bool smpp_start(struct sink_conn *c); /* false when out of memory */
void smpp_free(struct sink_conn *c);
bool smpp_input(struct sink_conn *c, const char *p, size_t n);
size_t smpp_fill(struct sink_conn *c, char *buf, size_t cap);
void smpp_answer(struct sink_req *r);
#endif
