/*
 * mqtt.h - the driver for MQTT 3.1.1: publishing to a broker
 *
 * An origin is an account at a broker. It holds up to max_connections sessions, one at first, further ones while the windows of those
 * are full; without calls they leave after the wire's idle time. One call is one PUBLISH; nothing is ever subscribed to.
 *
 * What logs in (hm_origin_opts.session; numbers are decimal):
 *   user password        as the broker knows them; a password needs a user
 *   client_id            how client ids begin (hermod); behind it come 12 random letters and digits, new ones for each session: of
 *   unique               two clients with one id a broker ends the older one. unique = no: the id as it is, for brokers that tie
 *                        rights to it; then one process, one shard and one connection may use it
 *   window               publishes without an answer at most, per session (20)
 *   keep_alive           seconds; the broker is asked for a sign of life when three quarters of that were silent (60; 0: never)
 *   ping_timeout         seconds to wait for that sign (10)
 *   connack_timeout      seconds to wait for the answer to CONNECT (15)
 *   reconnect            seconds after a refusal, doubled up to five minutes (5)
 *   max_packet           bytes of a packet at most (262144): brokers hang up on larger ones, and all in flight is lost with that
 *
 * A call (PUBLISH): the body is the payload; fields
 *   topic                required: UTF-8, no wildcard, no control character, at most 65535 bytes
 *   qos                  0 | 1 (default) | 2
 *   retain               yes | no (default)
 *
 * The answer: `status` is CONNACK's return code when the broker lets nobody in (phase: connect), 0 when it took the message, and the headers
 *   phase                connect | publish
 *   reason               the return code's name (tbl/mqtt_connack.h)          (connect)
 *   qos                  as sent                                              (publish)
 *   proof                by what it was told: pingresp (QoS 0) | puback | pubcomp    (publish)
 * QoS 0 has no answer. A PINGREQ goes behind such publishes (one at a time, for all that wait), and its PINGRESP shows that the broker
 * has read what stands before it. MQTT 3.1.1 has no way to refuse a publish: a broker acknowledges and drops it, or hangs up.
 *
 * A session lost: calls whose bytes never left go again; all others are MAYBE, also after PUBREC, because a clean session ends the
 * exchange with the connection. After a deadline or a cancel the packet id stays taken until the broker is through with it.
 *
 * Threads: the wire's. Memory: a session's window and buffers, in steady state nothing; what a publish needs lives in its call's arena.
 */
#ifndef HM_MQTT_MQTT_H
#define HM_MQTT_MQTT_H

#include "wire/driver.h"

extern const struct hm_driver_ops hm_mqtt_driver;

#endif
