/*
 * clock.h - the one source of time, injectable
 *
 * Monotonic time drives timers, wall time is what goes into messages, tokens and
 * records. Tests set an offset (hm_clock_advance) that moves both; nothing else in
 * the tree may call time(), gettimeofday() or clock_gettime().
 * Thread-safe. Loop code should prefer the cached hm_tick.now_* (loop/tick.h).
 */
#ifndef HM_BASE_CLOCK_H
#define HM_BASE_CLOCK_H

#include "base/defs.h"

uint64_t hm_clock_mono_ns(void);
uint64_t hm_clock_wall_ms(void); /* Unix time in ms */
/* Test clock: adds to both clocks for all threads. */
void hm_clock_advance_ms(uint64_t ms);
/* What they were moved by so far: for scripts in Redis that ask the server for the time. */
uint64_t hm_clock_offset_ms(void);
/* Test clock: wall time stands still at `ms` (0 = runs again); mono is unaffected. */
void hm_clock_freeze_wall_ms(uint64_t ms);
/* RFC 3339 in UTC with ms, "2026-01-02T03:04:05.678Z". out needs 25 bytes. */
void hm_clock_rfc3339(uint64_t wall_ms, char out[25]);
/* RFC 9110 HTTP-date or RFC 3339 to wall ms; false when neither. */
#include "base/str.h"
bool hm_clock_parse_http_date(struct hm_str s, uint64_t *wall_ms_r) HM_MUSTCHECK;
bool hm_clock_parse_rfc3339(struct hm_str s, uint64_t *wall_ms_r) HM_MUSTCHECK;

#endif
