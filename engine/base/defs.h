/*
 * defs.h - what every file may use: attributes, container_of, assertions
 *
 * Assertions (hm_assert, HM_CHECK in obj.h) stay on in release builds: a broken
 * invariant ends the process with a report (panic.c) instead of a wrong send.
 */
#ifndef HM_BASE_DEFS_H
#define HM_BASE_DEFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HM_PRINTF(fmt, args)		   __attribute__((format(printf, fmt, args)))
#define HM_MUSTCHECK			   __attribute__((warn_unused_result))
#define HM_NORETURN			   __attribute__((noreturn))
#define HM_COLD				   __attribute__((cold))
#define hm_likely(x)			   __builtin_expect(!!(x), 1)
#define hm_unlikely(x)			   __builtin_expect(!!(x), 0)
#define hm_countof(a)			   (sizeof(a) / sizeof((a)[0]))
#define hm_container_of(ptr, type, member) ((type *)(void *)((char *)(uintptr_t)(ptr)-offsetof(type, member)))
#define hm_min(a, b)			   ((a) < (b) ? (a) : (b))
#define hm_max(a, b)			   ((a) > (b) ? (a) : (b))

/* Ends the process with a report; never returns. See panic.c. */
void hm_panic(const char *file, int line, const char *func, const char *fmt, ...)
	HM_PRINTF(4, 5) HM_NORETURN HM_COLD;

#define hm_assert(cond)                                                                        \
	do {                                                                                   \
		if (hm_unlikely(!(cond)))                                                      \
			hm_panic(__FILE__, __LINE__, __func__, "assertion failed: %s", #cond); \
	} while (0)
#define hm_unreachable() hm_panic(__FILE__, __LINE__, __func__, "unreachable")

#endif
