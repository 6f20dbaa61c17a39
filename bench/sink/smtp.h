/*
 * smtp.h - a connection of --smtp (smtp.c says how it behaves)
 */
#ifndef HM_SINK_SMTP_H
#define HM_SINK_SMTP_H

#include "conn.h"

bool smtp_start(struct sink_conn *c); /* greets; false when out of memory */
void smtp_free(struct sink_conn *c);
bool smtp_input(struct sink_conn *c, const char *p, size_t n);
size_t smtp_fill(struct sink_conn *c, char *buf, size_t cap);
void smtp_answer(struct sink_req *r);
#endif
