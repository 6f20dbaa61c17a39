/*
 * obj.h - every long-lived object carries its magic
 *
 * The first member is `uint32_t magic`. HM_MAGIC_SET at birth, HM_MAGIC_CLEAR at
 * death, HM_CHECK wherever a pointer arrives from outside (callbacks, void *).
 * Magic values are unique in the tree (tests/lint checks it) and declared next
 * to their struct as `#define HM_FOO_MAGIC 0x...u`.
 */
#ifndef HM_BASE_OBJ_H
#define HM_BASE_OBJ_H

#include "base/defs.h"

#define HM_MAGIC_SET(o, m) ((o)->magic = (m))
#define HM_MAGIC_CLEAR(o)  ((o)->magic = 0xdeadbeefu)
#define HM_CHECK(o, m)                                                                                      \
	do {                                                                                                \
		if (hm_unlikely((o) == NULL || (o)->magic != (m)))                                          \
			hm_panic(__FILE__, __LINE__, __func__, "bad object %s: %p magic %08x, expected %s", \
				 #o, (const void *)(o), (o) ? (o)->magic : 0u, #m);                         \
	} while (0)

/*
 * What the panic report says besides the stack. A thread registers printers for
 * the objects it is working on; they are called from the panic, newest first,
 * and must only read and format (no locks, no allocation).
 */
struct hm_panic_printer {
	const char *what;
	void (*print)(const void *obj, char *out, size_t cap);
	const void *obj;
	struct hm_panic_printer *prev;
};
void hm_panic_push(struct hm_panic_printer *p); /* per thread; p lives on the caller's stack or object */
void hm_panic_pop(struct hm_panic_printer *p);
/* Installs handlers for SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT that write the same report. */
void hm_panic_install(const char *program);
/* Gives the calling thread a signal stack, so that even a stack overflow is reported.
 * Threads other than the one that installed call it once at their start. */
void hm_panic_thread(void);

#endif
