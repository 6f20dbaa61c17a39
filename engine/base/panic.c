/*
 * panic.c - the report a broken invariant or a fatal signal leaves behind
 *
 * Written straight to stderr with write(): program, version, thread, message, what
 * the thread was working on, the stack. No locks, no allocation. The first thread
 * to panic writes; others wait for the end.
 */
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/obj.h"

#define ALT_STACK (64u * 1024u)

static const char *program = "?";
static int panicking;
static _Thread_local struct hm_panic_printer *printers;

static void out(const char *s, size_t n)
{
	while (n > 0) {
		ssize_t w = write(STDERR_FILENO, s, n);

		if (w <= 0)
			return;
		s += w;
		n -= (size_t)w;
	}
}

static void outf(const char *fmt, ...) HM_PRINTF(1, 2);
static void outf(const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n > 0)
		out(line, hm_min((size_t)n, sizeof(line) - 1));
}

/* One report per process: later threads stop here, a panic within the report ends it. */
static void enter(void)
{
	static _Thread_local bool inside;

	if (inside)
		_exit(134);
	inside = true;
	if (__atomic_exchange_n(&panicking, 1, __ATOMIC_ACQ_REL))
		for (;;)
			pause();
}

static void report(const char *where, const char *message)
{
	char thread[32] = "?";
	void *frames[64];
	int n;

	pthread_getname_np(pthread_self(), thread, sizeof(thread));
	outf("\npanic: %s\n  at %s\n  %s %s, pid %d, thread %s\n", message, where, program, HM_VERSION,
	     (int)getpid(), thread);
	for (struct hm_panic_printer *p = printers; p; p = p->prev) {
		char text[768] = "";

		p->print(p->obj, text, sizeof(text));
		outf("  %s: %s\n", p->what, text);
	}
	outf("  stack:\n");
	n = backtrace(frames, (int)hm_countof(frames));
	backtrace_symbols_fd(frames, n, STDERR_FILENO);
}

static void die(void)
{
	signal(SIGABRT, SIG_DFL);
	abort();
}

void hm_panic(const char *file, int line, const char *func, const char *fmt, ...)
{
	char message[512], where[512];
	va_list ap;

	enter();
	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	snprintf(where, sizeof(where), "%s:%d %s()", file, line, func);
	report(where, message);
	die();
	_exit(134);
}

void hm_panic_push(struct hm_panic_printer *p)
{
	p->prev = printers;
	printers = p;
}

void hm_panic_pop(struct hm_panic_printer *p)
{
	hm_assert(printers == p);
	printers = p->prev;
	p->prev = NULL;
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	char message[128];

	enter();
	snprintf(message, sizeof(message), "signal %d (%s), address %p", sig, sigdescr_np(sig),
		 info->si_addr);
	report("signal handler", message);
	signal(sig, SIG_DFL);
	raise(sig); /* ends the process with the right status once the handler returns */
}

void hm_panic_thread(void)
{
#if !defined(HM_ASAN) && \
	!defined(HM_TSAN) /* sanitizers have a stack of their own and unmap what they find at the end */
	static _Thread_local char stack[ALT_STACK] __attribute__((aligned(16)));
	stack_t ss = {.ss_sp = stack, .ss_size = sizeof(stack)};

	sigaltstack(&ss, NULL);
#endif
}

void hm_panic_install(const char *name)
{
	static const int signals[] = {
#ifndef HM_ASAN /* AddressSanitizer's own report says more */
		SIGSEGV, SIGBUS, SIGFPE, SIGILL,
#endif
		SIGABRT,
	};
	void *warm[1];
	struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	program = name;
	backtrace(warm, 1); /* loads libgcc now, because it allocates when it does */
	hm_panic_thread();
	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < hm_countof(signals); i++)
		sigaction(signals[i], &sa, NULL);
}
