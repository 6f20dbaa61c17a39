/*
 * fault.c - the table of armed fault points
 *
 * Armed once at start, before threads; afterwards only the hit counters change.
 */
#include "base/fault.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum action { FAIL, KILL, STOP, SHORT, DELAY };

struct point {
	bool armed, from_on;
	enum action action;
	uint64_t at, delay_ms;
	uint64_t hits;
};

bool hm_faults_armed;
static struct point points[HM_FAULT_COUNT];

static const char *const names[] = {
#define HM_FAULT(name, text) #name,
#include "tbl/faults.h"
#undef HM_FAULT
	NULL,
};

static int parse_action(struct hm_str text, struct point *p, struct hm_err *e)
{
	if (hm_str_is(text, "fail"))
		p->action = FAIL;
	else if (hm_str_is(text, "kill"))
		p->action = KILL;
	else if (hm_str_is(text, "stop"))
		p->action = STOP;
	else if (hm_str_is(text, "short"))
		p->action = SHORT;
	else if (hm_str_starts(text, HM_STR("delay="))) {
		p->action = DELAY;
		if (!hm_str_u64(hm_str_n(text.p + 6, text.len - 6), &p->delay_ms) || p->delay_ms > 3600000)
			return hm_err_set(e, HM_EINVAL,
					  "HERMOD_FAULTS: \"%.*s\" wants milliseconds, at most 3600000",
					  HM_STRF(text));
	} else {
		return hm_err_set(
			e, HM_EINVAL,
			"HERMOD_FAULTS: unknown action \"%.*s\"; there are fail, kill, stop, short, delay=MS",
			HM_STRF(text));
	}
	return 0;
}

static int parse_one(struct hm_str item, struct hm_err *e)
{
	ptrdiff_t colon = hm_str_chr(item, ':'), at;
	struct hm_str name, action;
	struct point p = {.armed = true, .at = 1};
	size_t i = 0;
	int rc;

	if (colon <= 0)
		return hm_err_set(e, HM_EINVAL, "HERMOD_FAULTS: \"%.*s\" is not point:action[@N[+]]",
				  HM_STRF(item));
	name = hm_str_n(item.p, (size_t)colon);
	action = hm_str_n(item.p + colon + 1, item.len - (size_t)colon - 1);
	while (i < HM_FAULT_COUNT && !hm_str_is(name, names[i]))
		i++;
	if (i == HM_FAULT_COUNT) {
		const char *near = hm_str_nearest(name, names);

		return hm_err_set(e, HM_EINVAL, "HERMOD_FAULTS: no fault point is called \"%.*s\"%s%s%s",
				  HM_STRF(name), near ? "; did you mean \"" : "", near ? near : "",
				  near ? "\"?" : "");
	}
	at = hm_str_chr(action, '@');
	if (at >= 0) {
		struct hm_str n = hm_str_n(action.p + at + 1, action.len - (size_t)at - 1);

		if (hm_str_ends(n, HM_STR("+"))) {
			p.from_on = true;
			n.len--;
		}
		if (!hm_str_u64(n, &p.at) || p.at == 0)
			return hm_err_set(e, HM_EINVAL,
					  "HERMOD_FAULTS: in \"%.*s\" the hit after @ must be 1 or more",
					  HM_STRF(item));
		action.len = (size_t)at;
	}
	rc = parse_action(action, &p, e);
	if (rc == 0)
		points[i] = p;
	return rc;
}

int hm_fault_init(const char *spec, struct hm_err *e)
{
	struct hm_str rest = hm_str_c(spec), item;

	memset(points, 0, sizeof(points));
	hm_faults_armed = false;
	while (hm_str_split(&rest, ',', &item)) {
		int rc;

		item = hm_str_trim(item);
		if (item.len == 0)
			continue;
		rc = parse_one(item, e);
		if (rc < 0) {
			memset(points, 0, sizeof(points));
			hm_faults_armed = false;
			return rc;
		}
		hm_faults_armed = true;
	}
	return 0;
}

enum hm_fault_action hm_fault_hit(enum hm_fault f)
{
	struct point *p = &points[f];
	uint64_t hit = __atomic_add_fetch(&p->hits, 1, __ATOMIC_RELAXED);
	struct timespec nap;

	if (!p->armed || (p->from_on ? hit < p->at : hit != p->at))
		return HM_FAULT_NONE;
	switch (p->action) {
	case FAIL:
		if (!p->from_on) /* once: whoever sweeps wants to know when; no allocation here, it may be the one that fails */
			dprintf(STDERR_FILENO, "fault: %s fails, hit %llu\n", names[f],
				(unsigned long long)hit);
		return HM_FAULT_FAIL;
	case SHORT: return HM_FAULT_SHORT;
	case KILL: kill(getpid(), SIGKILL); break;
	case STOP: kill(getpid(), SIGSTOP); break;
	case DELAY:
		nap.tv_sec = (time_t)(p->delay_ms / 1000);
		nap.tv_nsec = (long)(p->delay_ms % 1000) * 1000000;
		nanosleep(&nap, NULL);
		break;
	}
	return HM_FAULT_NONE;
}

uint64_t hm_fault_hits(enum hm_fault f)
{
	return __atomic_load_n(&points[f].hits, __ATOMIC_RELAXED);
}
