/*
 * lists.h - is there anything on the suppression and consent lists of this installation?
 *
 * Most installations begin without, and a message then needs no question to Redis. What this process knows is one of three:
 *
 *   UNKNOWN   nobody has looked yet, or Redis cannot be reached: lists are asked
 *   EMPTY     a look found nothing, and no change was announced since: lists are not asked
 *   USED      there is, or was, an entry: lists are asked
 *
 * Who adds entries (suppress.c) first writes the key `{<prefix>:ctl}:lists` and, when it was not there, an event of type lists
 * (ingest/cancel_mark.h): every process hears it at once. A look (hm_lists_look, at start, after each reconnect, and about
 * once a second while EMPTY) asks for that key and for the lists themselves, so that a restored backup, and lists written
 * before that key was known, are found without it; then it writes the key.
 *
 * Whoever is answered that a first entry was added knows it is announced, not that each process has read that: some ms later it has.
 *
 * Threads: hm_lists_may_have, hm_lists_used: any. The others: that of the control stream. One state for the process.
 */
#ifndef HM_GATES_LISTS_H
#define HM_GATES_LISTS_H

#include "redis/redis.h"

bool hm_lists_may_have(void); /* false only while EMPTY */
/* The process adds an entry, or heard of one. */
void hm_lists_used(void);
/* Redis may be another one now, or is gone: UNKNOWN until the next look, whatever was known. */
void hm_lists_forget(void);
/* Writes key and event; the answer is 1 when there was none. */
void hm_lists_announce(struct hm_redis *r, struct hm_str prefix, hm_reply_fn fn, void *arg);
/* Asks Redis; harmless while one is under way or when it is known that they are used. The client must outlive the process' use
 * of it: its close ends what is under way. */
void hm_lists_look(struct hm_redis *r, struct hm_str prefix);

#endif
